/* bind_http: `selfmon.http`: get post put patch delete head request all (script-api 7).
 *
 * A wrong call raises at the script's line; what the world does wrong is nil, sentence, code. A
 * call blocks only its run. The request itself is made by run->host->fetch: the engine, or
 * selfmon.testing's fake. While a script loads nothing here may be called.
 */
#include "worker/http_opts.h"
#include "base/mem.h"
#include "worker/modules.h"
#include "worker/run.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALL_MAX = 10000, SCRATCH_MAX = 8 << 20 };

static const char call_type[] = "selfmon.http.call";

static void call_clear(sm_http_call *c) {
    for (size_t i = 0; i < c->n; i++) {
        sm_fetch_req_fini(&c->reqs[i]);
        sm_fetch_res_fini(&c->res[i]);
    }
    free(c->reqs);
    free(c->res);
    sm_buf_fini(&c->scratch);
    memset(c, 0, sizeof(*c));
}

static int call_gc(lua_State *L) {
    call_clear(luaL_checkudata(L, 1, call_type));
    return 0;
}

/* Pushes the userdata that owns n requests and results. [-0, +1, m] */
static sm_http_call *call_new(lua_State *L, size_t n) {
    sm_http_call *c = lua_newuserdatauv(L, sizeof(*c), 0);
    memset(c, 0, sizeof(*c));
    if (luaL_newmetatable(L, call_type)) {
        lua_pushcfunction(L, call_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    const sm_run *run = sm_run_of(L);
    sm_buf_init(&c->scratch, SCRATCH_MAX);
    c->reqs = sm_calloc(n + 1, sizeof(*c->reqs));
    c->res = sm_calloc(n + 1, sizeof(*c->res));
    for (; c->n < n; c->n++) {
        sm_fetch_req *r = &c->reqs[c->n];
        sm_fetch_req_init(r);
        sm_fetch_res_init(&c->res[c->n]);
        r->net = run->net;
        r->max_body = run->limits.http_body;
    }
    return c;
}

/* Counts, asks, and waits. Raises when the run was stopped. */
static void perform(lua_State *L, const char *where, sm_http_call *c) {
    sm_run *run = sm_run_of(L);
    if (!run->host || !run->host->fetch)
        luaL_error(L, "%s: there is no network here", where);
    bool counted = run->phase != SM_PHASE_FREE;
    run->http_count += (int)c->n;
    if (counted && run->http_count > run->limits.http_total) {
        sm_run_stop(run, SM_STOP_HTTP);
        sm_run_check(L);
    }
    run->host->fetch(run->host->ctx, run, c->reqs, c->res, c->n);
    for (size_t i = 0; i < c->n; i++)
        run->http_count += c->res[i].redirects;
    if (run->stop != SM_STOP_NONE)
        call_clear(c); /* the raise may leave this state for good */
    sm_run_check(L);
}

static void raise_unasked(lua_State *L, const sm_fetch_res *res) {
    if (res->code && res->raise) {
        lua_pushstring(L, res->error);
        luaL_error(L, "%s", lua_tostring(L, -1));
    }
}

static int push_one(lua_State *L, sm_http_call *c) {
    const sm_fetch_res *res = &c->res[0];
    raise_unasked(L, res);
    if (res->code) {
        lua_pushnil(L);
        lua_pushstring(L, res->error);
        lua_pushstring(L, res->code);
        call_clear(c);
        return 3;
    }
    sm_http_result_push(L, res);
    call_clear(c);
    return 1;
}

static int verb(lua_State *L, const char *where, const char *method) {
    sm_run_world(L, where);
    if (lua_istable(L, 1) && lua_type(L, 2) == LUA_TSTRING)
        return luaL_error(L, "%s: url: expected a string, got table; write %s(url), with a dot",
                          where, where);
    if (lua_type(L, 1) != LUA_TSTRING)
        return luaL_error(L, "%s: url: expected a string, got %s", where, luaL_typename(L, 1));
    sm_http_call *c = call_new(L, 1);
    sm_fetch_req *req = &c->reqs[0];
    free(req->method);
    req->method = sm_strdup(method);
    sm_http_url_read(L, 1, where, req);
    if (!lua_isnil(L, 2))
        sm_http_opts_read(L, 2, where, false, c, req);
    perform(L, where, c);
    return push_one(L, c);
}

static int http_get(lua_State *L) {
    lua_settop(L, 2);
    return verb(L, "http.get", "GET");
}

static int http_post(lua_State *L) {
    lua_settop(L, 2);
    return verb(L, "http.post", "POST");
}

static int http_put(lua_State *L) {
    lua_settop(L, 2);
    return verb(L, "http.put", "PUT");
}

static int http_patch(lua_State *L) {
    lua_settop(L, 2);
    return verb(L, "http.patch", "PATCH");
}

static int http_delete(lua_State *L) {
    lua_settop(L, 2);
    return verb(L, "http.delete", "DELETE");
}

static int http_head(lua_State *L) {
    lua_settop(L, 2);
    return verb(L, "http.head", "HEAD");
}

/* request{url = …, method = …, …} */
static int http_request(lua_State *L) {
    static const char where[] = "http.request";
    sm_run_world(L, where);
    lua_settop(L, 1);
    if (!lua_istable(L, 1))
        return luaL_error(L, "%s: expected a table of options like {url = \"https://…\"}, got %s",
                          where, luaL_typename(L, 1));
    sm_http_call *c = call_new(L, 1);
    sm_http_opts_read(L, 1, where, true, c, &c->reqs[0]);
    perform(L, where, c);
    return push_one(L, c);
}

static void push_all(lua_State *L, sm_http_call *c) {
    lua_createtable(L, (int)c->n, 0);
    for (size_t i = 0; i < c->n; i++) {
        sm_fetch_res *res = &c->res[i];
        raise_unasked(L, res);
        if (res->code) {
            lua_createtable(L, 0, 2);
            lua_pushstring(L, res->error);
            lua_setfield(L, -2, "error");
            lua_pushstring(L, res->code);
            lua_setfield(L, -2, "code");
        } else {
            sm_http_result_push(L, res);
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
        sm_fetch_res_fini(res); /* not twice in memory */
    }
}

/* all{ "https://…", {url = …, …}, … } -> list in the same order: results, or {error=, code=} */
static int http_all(lua_State *L) {
    sm_run_world(L, "http.all");
    lua_settop(L, 1);
    if (!lua_istable(L, 1))
        return luaL_error(L, "http.all: expected a list of URLs and tables of options, got %s",
                          luaL_typename(L, 1));
    size_t n = (size_t)lua_rawlen(L, 1), keys = 0;
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
        if (lua_isinteger(L, -2) && ++keys <= n)
            continue;
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "a key";
        return luaL_error(L,
                          "http.all: expected a plain list of URLs and tables of options; it "
                          "has %s (put one request in a table of its own)",
                          key);
    }
    if (n > ALL_MAX)
        return luaL_error(L, "http.all: more than %d requests at once", ALL_MAX);
    sm_http_call *c = call_new(L, n);
    for (size_t i = 0; i < n; i++) {
        char where[48];
        snprintf(where, sizeof(where), "http.all[%zu]", i + 1);
        if (lua_rawgeti(L, 1, (lua_Integer)i + 1) == LUA_TTABLE)
            sm_http_opts_read(L, -1, where, true, c, &c->reqs[i]);
        else
            sm_http_url_read(L, -1, where, &c->reqs[i]);
        lua_pop(L, 1);
    }
    if (n > 0)
        perform(L, "http.all", c);
    push_all(L, c);
    call_clear(c);
    return 1;
}

static const luaL_Reg functions[] = {
    {"get", http_get},         {"post", http_post},     {"put", http_put},
    {"patch", http_patch},     {"delete", http_delete}, {"head", http_head},
    {"request", http_request}, {"all", http_all},       {NULL, NULL},
};

int sm_bind_http_open(lua_State *L) {
    luaL_newlib(L, functions);
    return 1;
}
