/* http_result: an answer as scripts see it: a plain table with the methods json() and
 * raise_for_status(), whose `headers` answers names in any case.
 *
 * The table is the script's own: nothing in it points back into C. Runs on the run's thread.
 */
#include "worker/http_opts.h"
#include "base/str.h"
#include "worker/modules.h"
#include "worker/run.h"
#include <lauxlib.h>
#include <string.h>

static const char result_type[] = "selfmon.http.Result";
static const char headers_type[] = "selfmon.http.Headers";
static const char cjson_key = 0, cjson_safe_key = 0; /* their addresses are registry keys */

void sm_http_push_cjson(lua_State *L, bool safe) {
    const void *key = safe ? &cjson_safe_key : &cjson_key;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_pushcfunction(L, safe ? sm_bind_cjson_safe_open : sm_bind_cjson_open);
    lua_call(L, 0, 1);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

/* Raises unless argument 1 is one of our results. */
static void check_self(lua_State *L, const char *method) {
    bool ok = lua_istable(L, 1) && lua_getmetatable(L, 1);
    if (ok) {
        luaL_getmetatable(L, result_type);
        ok = lua_rawequal(L, -1, -2);
        lua_pop(L, 2);
    }
    if (!ok)
        luaL_error(L, "%s: expected a result of selfmon.http; write res:%s(), with a colon", method,
                   method);
}

/* Pushes the host (and port) of self.url for sentences. */
static void push_name(lua_State *L) {
    sm_fetch_url url;
    size_t n = 0;
    lua_pushliteral(L, "url");
    lua_rawget(L, 1);
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
    char name[300] = "the server";
    if (text && sm_fetch_url_parse(text, n, &url, NULL) == SM_OK) {
        size_t len = strlen(url.name);
        memcpy(name, url.name, len < sizeof(name) ? len + 1 : sizeof(name));
        name[sizeof(name) - 1] = '\0';
        sm_fetch_url_fini(&url);
    }
    lua_pop(L, 1);
    lua_pushstring(L, name);
}

/* res:json() -> value, or nil, sentence, "json" */
static int result_json(lua_State *L) {
    check_self(L, "json");
    lua_settop(L, 1);
    sm_http_push_cjson(L, true);
    lua_getfield(L, -1, "decode");
    lua_pushliteral(L, "body");
    if (lua_rawget(L, 1) != LUA_TSTRING)
        return luaL_error(L, "json: the result has no body");
    lua_call(L, 1, 2);
    if (lua_isnil(L, -2)) {
        const char *why = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "unreadable";
        lua_pushnil(L);
        push_name(L);
        lua_pushfstring(L, "%s: the body is not JSON: %s", lua_tostring(L, -1), why);
        lua_remove(L, -2);
        lua_pushliteral(L, "json");
        return 3;
    }
    lua_pop(L, 1);
    return 1;
}

/* res:raise_for_status() -> res, or raises for 400 and above */
static int result_raise_for_status(lua_State *L) {
    check_self(L, "raise_for_status");
    lua_pushliteral(L, "status");
    lua_rawget(L, 1);
    lua_Integer status = lua_tointeger(L, -1);
    if (status >= 400) {
        push_name(L);
        return luaL_error(L, "%s answered %d", lua_tostring(L, -1), (int)status);
    }
    lua_settop(L, 1);
    return 1;
}

static int result_tostring(lua_State *L) {
    lua_pushliteral(L, "status");
    bool ok = lua_istable(L, 1) && lua_rawget(L, 1) == LUA_TNUMBER;
    lua_pushfstring(L, "<http result %d>", ok ? (int)lua_tointeger(L, -1) : 0);
    return 1;
}

/* headers["Content-Type"]: names are kept lower case. */
static int headers_index(lua_State *L) {
    char low[128];
    size_t n = 0;
    if (!lua_istable(L, 1) || lua_type(L, 2) != LUA_TSTRING)
        return 0;
    const char *name = lua_tolstring(L, 2, &n);
    if (n >= sizeof(low))
        return 0;
    for (size_t i = 0; i < n; i++)
        low[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
    lua_pushlstring(L, low, n);
    lua_rawget(L, 1);
    return 1;
}

static const luaL_Reg result_methods[] = {
    {"json", result_json},
    {"raise_for_status", result_raise_for_status},
    {NULL, NULL},
};

static void set_result_meta(lua_State *L) {
    if (luaL_newmetatable(L, result_type)) {
        luaL_newlib(L, result_methods);
        lua_setfield(L, -2, "__index");
        lua_pushcfunction(L, result_tostring);
        lua_setfield(L, -2, "__tostring");
        lua_pushstring(L, result_type);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
}

static void set_headers_meta(lua_State *L) {
    if (luaL_newmetatable(L, headers_type)) {
        lua_pushcfunction(L, headers_index);
        lua_setfield(L, -2, "__index");
        lua_pushstring(L, headers_type);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
}

static void push_headers(lua_State *L, const sm_fetch_res *res) {
    lua_Integer cookies = 0;
    lua_createtable(L, 0, (int)res->n_headers);
    for (size_t i = 0; i < res->n_headers; i++) {
        const sm_fetch_header *h = &res->headers[i];
        lua_pushstring(L, h->name);
        if (strcmp(h->name, "set-cookie") != 0) {
            lua_pushlstring(L, h->value, h->n);
            lua_rawset(L, -3);
            continue;
        }
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) != LUA_TTABLE) {
            lua_pop(L, 1);
            lua_newtable(L);
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, -5);
        }
        lua_pushlstring(L, h->value, h->n);
        lua_rawseti(L, -2, ++cookies);
        lua_pop(L, 2);
    }
    set_headers_meta(L);
}

static void set_number(lua_State *L, const char *name, double v) {
    lua_pushnumber(L, v);
    lua_setfield(L, -2, name);
}

static void set_string(lua_State *L, const char *name, const char *v) {
    lua_pushstring(L, v); /* NULL is nil: the field is absent */
    lua_setfield(L, -2, name);
}

static void push_timings(lua_State *L, const sm_fetch_res *res) {
    lua_createtable(L, 0, 5);
    set_number(L, "dns", res->dns);
    set_number(L, "connect", res->connect);
    set_number(L, "tls", res->handshake);
    set_number(L, "ttfb", res->ttfb);
    set_number(L, "total", res->total);
}

static void push_tls(lua_State *L, const sm_fetch_tls *t) {
    lua_createtable(L, 0, 7);
    set_string(L, "subject", t->subject);
    set_string(L, "issuer", t->issuer);
    lua_pushinteger(L, t->not_before);
    lua_setfield(L, -2, "not_before");
    lua_pushinteger(L, t->not_after);
    lua_setfield(L, -2, "not_after");
    set_number(L, "days_left", t->days_left);
    lua_createtable(L, (int)t->n_san, 0);
    for (size_t i = 0; i < t->n_san; i++) {
        lua_pushstring(L, t->san[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "san");
    lua_pushboolean(L, t->verified);
    lua_setfield(L, -2, "verified");
}

void sm_http_result_push(lua_State *L, const sm_fetch_res *res) {
    luaL_checkstack(L, 10, NULL);
    lua_createtable(L, 0, 8);
    lua_pushinteger(L, res->status);
    lua_setfield(L, -2, "status");
    push_headers(L, res);
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, res->body ? res->body : "", res->body_n);
    lua_setfield(L, -2, "body");
    push_timings(L, res);
    lua_setfield(L, -2, "timings");
    if (res->tls.present) {
        push_tls(L, &res->tls);
        lua_setfield(L, -2, "tls");
    }
    set_string(L, "url", res->url);
    set_string(L, "remote_ip", res->remote_ip);
    set_string(L, "http_version", res->http_version);
    set_result_meta(L);
}
