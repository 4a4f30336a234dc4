/* modules: the table of Lua modules. A new one is one file and one line in modules.c. */
#pragma once
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct sm_module {
    const char *name;   /* as in require */
    lua_CFunction open; /* pushes the module's value [-0, +1, e] */
} sm_module;

extern const sm_module sm_modules[]; /* ends with a NULL name */

/* Each binding file exports its opener. */
int sm_bind_http_open(lua_State *L);
int sm_bind_exec_open(lua_State *L);
int sm_bind_net_open(lua_State *L);
int sm_bind_host_open(lua_State *L);
int sm_bind_time_open(lua_State *L);
int sm_bind_log_open(lua_State *L);
int sm_bind_crypto_open(lua_State *L);
int sm_bind_dql_open(lua_State *L);
int sm_bind_secret_open(lua_State *L);
int sm_bind_store_open(lua_State *L);
int sm_bind_cjson_open(lua_State *L);      /* jsoncodec: cjson */
int sm_bind_cjson_safe_open(lua_State *L); /* cjson.safe */
/* Globals rather than modules: bind_monitor and bind_reporter push the values of `monitor` and
 * `EventReporter`. */
int sm_bind_monitor_open(lua_State *L);
int sm_bind_reporter_open(lua_State *L);

/* A secret's bytes when the value at idx is one of our secret userdata, else NULL. For http auth,
 * headers and bodies, and crypto.hmac only. Borrowed. */
const char *sm_bind_secret_bytes(lua_State *L, int idx, size_t *n);

/* Pushes the module `name`: one of sm_modules, the table `selfmon` of all of them, or a Lua file
 * carried in the executable (lua/selfmon/x.lua is selfmon.x). Opens it anew: caching is the
 * caller's. False, and nothing pushed, when there is none; selfmon.testing is not for scripts and
 * needs `test`. [-0, +(0|1), e] */
bool sm_modules_push(lua_State *L, const char *name, bool test);
/* Makes the module's table at the top, and with `deep` the tables in it, raise for a name they do
 * not have. */
void sm_modules_guard(lua_State *L, const char *name, bool deep);
/* Names of all modules for hints: fills out, returns how many (at most cap). Static strings. */
size_t sm_modules_names(const char **out, size_t cap);
