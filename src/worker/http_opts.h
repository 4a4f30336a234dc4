/* http_opts: from a script's arguments to a request. Shared by bind_http.c, http_opts.c and
 * http_result.c only. All run on the run's thread; all raise for a wrong call, at the script's
 * line, with the function's and the option's name. */
#pragma once
#include "base/buf.h"
#include "worker/fetch.h"
#include <lua.h>

/* Everything of one call that C memory holds; a userdata owns it, so that a raise frees it. */
typedef struct sm_http_call {
    sm_fetch_req *reqs; /* n, initialised */
    sm_fetch_res *res;  /* n, initialised */
    size_t n;
    sm_buf scratch; /* texts being put together */
} sm_http_call;

/* Reads the table of options at idx into the initialised req (url first, when `whole`: url and
 * method are options then). `where` names the call: "http.get", "http.all[2]". [-0, +0, e] */
void sm_http_opts_read(lua_State *L, int idx, const char *where, bool whole, sm_http_call *call,
                       sm_fetch_req *req);
/* Takes the string at idx as the URL of req. [-0, +0, e] */
void sm_http_url_read(lua_State *L, int idx, const char *where, sm_fetch_req *req);
/* `query` and `form`: name=value pairs sorted by name into call->scratch. [-0, +0, e] */
void sm_http_pairs_read(lua_State *L, int idx, const char *where, const char *option, bool form,
                        sm_http_call *call);

/* A key of a script's table; borrowed from it. */
typedef struct sm_http_name {
    const char *p;
    size_t n;
} sm_http_name;

/* Sorted names (strings only) of the table at idx, as userdata at the top; n of them. Raises when a
 * key is no string. [-0, +1, e] */
sm_http_name *sm_http_names(lua_State *L, int idx, const char *where, const char *option,
                            size_t *n);
/* Bytes of a string, finite number or boolean at idx, else NULL. tmp is used for numbers. */
const char *sm_http_scalar(lua_State *L, int idx, char tmp[64], size_t *n);

/* http_result: pushes an answer as the table scripts see. [-0, +1, m] */
void sm_http_result_push(lua_State *L, const sm_fetch_res *res);
/* Pushes the module table of cjson (safe or not), opened once per state for the host. */
void sm_http_push_cjson(lua_State *L, bool safe);
