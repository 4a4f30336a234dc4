/* bind_store: `selfmon.store`: get set delete incr keys (script-api 7): what an inspection
 * remembers from run to run.
 *
 * The store is the daemon's: each call is a question to it (worker/asking.h) and blocks the run.
 * Values travel as JSON, as cjson writes and reads it. A wrong call raises at the script's line; a
 * quota or a disk without room is nil, sentence, code, and a line in the run's log, as a value that
 * was not kept is easily overlooked. Runs on the run's thread.
 */
#include "base/memo.h"
#include "base/str.h"
#include "worker/asking.h"
#include "worker/http_opts.h"
#include "worker/luaval.h"
#include "worker/modules.h"
#include <lauxlib.h>
#include <math.h>
#include <string.h>

/* What a call may have besides key and value. */
typedef enum option { TTL = 1, SCOPE = 2, PREFIX = 4 } option;

typedef struct options {
    double ttl;         /* seconds; 0: none */
    const char *scope;  /* borrowed from the stack, or NULL */
    const char *prefix; /* the same, "" when not given */
} options;

/* The text at idx, checked as (part of) a key. */
static const char *text_at(lua_State *L, int idx, const char *where, const char *what, bool empty) {
    size_t n = 0;
    if (lua_istable(L, idx) && strcmp(what, "key") == 0)
        luaL_error(L, "%s: key: expected a string, got table; write %s(key), with a dot", where,
                   where);
    if (lua_type(L, idx) != LUA_TSTRING)
        luaL_error(L, "%s: %s: expected a string, got %s", where, what, sm_luaval_typename(L, idx));
    const char *p = lua_tolstring(L, idx, &n);
    if (n == 0 && !empty)
        luaL_error(L, "%s: %s: expected a text, got an empty one", where, what);
    if (n > SM_MEMO_KEY_MAX)
        luaL_error(L, "%s: %s: %d bytes, but the most is %d (crypto.sha256 makes any text short)",
                   where, what, (int)n, (int)SM_MEMO_KEY_MAX);
    if (n > 0 && !sm_memo_key_ok(p, n))
        luaL_error(L,
                   "%s: %s: expected UTF-8 text without control characters (crypto.sha256 makes "
                   "such text of any bytes)",
                   where, what);
    return p;
}

static double ttl_at(lua_State *L, int idx, const char *where) {
    double s = 0;
    sm_err err = SM_ERR_INIT;
    if (lua_type(L, idx) == LUA_TNUMBER)
        s = lua_tonumber(L, idx);
    else if (lua_type(L, idx) != LUA_TSTRING)
        luaL_error(L, "%s: option \"ttl\": expected seconds or a duration such as \"15m\", got %s",
                   where, sm_luaval_typename(L, idx));
    else if (sm_duration_parse(lua_tostring(L, idx), &s, &err) != SM_OK)
        luaL_error(L, "%s: option \"ttl\": %s", where, err.msg);
    if (!isfinite(s) || s <= 0 || s > SM_MEMO_TTL_MAX)
        luaL_error(L, "%s: option \"ttl\": expected more than 0 s and at most ten years", where);
    return s;
}

static const char *scope_at(lua_State *L, int idx, const char *where) {
    size_t n = 0;
    if (lua_type(L, idx) != LUA_TSTRING)
        luaL_error(L, "%s: option \"scope\": expected a name, got %s", where,
                   sm_luaval_typename(L, idx));
    const char *p = lua_tolstring(L, idx, &n);
    if (!sm_memo_scope_ok(p, n))
        luaL_error(L,
                   "%s: option \"scope\": expected a name of letters, digits, _ - . and /, at "
                   "most %d characters",
                   where, (int)SM_MEMO_SCOPE_NAME_MAX);
    return p;
}

/* Reads the options at idx, which may be nil. The texts stay in the table. */
static options options_at(lua_State *L, int idx, const char *where, int known) {
    static const char *const all[] = {"ttl", "scope", "prefix"};
    options o = {.prefix = ""};
    if (lua_isnoneornil(L, idx))
        return o;
    if (!lua_istable(L, idx))
        luaL_error(L, "%s: options: expected a table such as {scope = \"shop\"}, got %s", where,
                   sm_luaval_typename(L, idx));
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        if (name && (known & TTL) && strcmp(name, "ttl") == 0) {
            o.ttl = ttl_at(L, -1, where);
        } else if (name && (known & SCOPE) && strcmp(name, "scope") == 0) {
            o.scope = scope_at(L, -1, where);
        } else if (name && (known & PREFIX) && strcmp(name, "prefix") == 0) {
            o.prefix = text_at(L, -1, where, "option \"prefix\"", true);
        } else if (!name) {
            luaL_error(L, "%s: options: expected names, got %s as a key", where,
                       sm_luaval_typename(L, -2));
        } else {
            const char *names[3];
            char hint[64];
            size_t n = 0;
            for (int i = 0; i < 3; i++)
                if (known & (1 << i))
                    names[n++] = all[i];
            luaL_error(L, "%s: unknown option \"%s\"%s", where, name,
                       sm_str_hint(name, names, n, hint, sizeof hint));
        }
    }
    return o;
}

static json_t *args_of(const char *op, const char *key, const options *o) {
    json_t *args = json_pack("{s:s, s:s}", "op", op, "key", key);
    if (o->scope)
        json_object_set_new(args, "scope", json_string(o->scope));
    if (o->ttl > 0)
        json_object_set_new(args, "ttl", json_real(o->ttl));
    return args;
}

/* After nil, message, code of something that was not kept: a line in the log. Returns 3. */
static int not_kept(lua_State *L, const char *where) {
    size_t n;
    const char *line = lua_pushfstring(L, "%s: %s", where, lua_tostring(L, -2));
    n = strlen(line);
    sm_run_log(L, "warn", line, n);
    lua_pop(L, 1);
    return 3;
}

/* The JSON text p as a Lua value. [-0, +1, e] */
static void push_decoded(lua_State *L, const char *p, size_t n) {
    sm_http_push_cjson(L, false);
    lua_getfield(L, -1, "decode");
    lua_pushlstring(L, p, n);
    lua_call(L, 1, 1);
    lua_remove(L, -2);
}

/* get(key[, {scope=}]) -> value, or nil when there is none */
static int store_get(lua_State *L) {
    static const char where[] = "store.get";
    sm_run_world(L, where);
    lua_settop(L, 2);
    const char *key = text_at(L, 1, where, "key", false);
    options o = options_at(L, 2, where, SCOPE);
    sm_answer *a = sm_answer_push(L);
    if (!sm_asking(L, "store", args_of("get", key, &o), NULL, 0, a))
        return 3;
    if (a->body)
        push_decoded(L, a->body, a->body_n);
    else
        lua_pushnil(L);
    return 1;
}

/* Replaces the value at idx by its JSON text. */
static const char *encode_at(lua_State *L, int idx, const char *where, size_t *n) {
    if (lua_isnoneornil(L, idx))
        luaL_error(L, "%s: value: expected a value, got nil; store.delete removes a key", where);
    sm_http_push_cjson(L, false);
    lua_getfield(L, -1, "encode");
    lua_pushvalue(L, idx);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
        sm_run_check(L);
        luaL_error(L, "%s: value: %s", where,
                   lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "cannot be encoded");
    }
    lua_replace(L, idx);
    lua_pop(L, 1);
    return lua_tolstring(L, idx, n);
}

/* set(key, value[, {ttl=, scope=}]) -> true */
static int store_set(lua_State *L) {
    static const char where[] = "store.set";
    size_t n = 0;
    sm_run_world(L, where);
    lua_settop(L, 3);
    const char *key = text_at(L, 1, where, "key", false);
    options o = options_at(L, 3, where, TTL | SCOPE);
    const char *text = encode_at(L, 2, where, &n);
    sm_answer *a = sm_answer_push(L);
    if (!sm_asking(L, "store", args_of("set", key, &o), text, n, a))
        return not_kept(L, where);
    lua_pushboolean(L, true);
    return 1;
}

/* delete(key[, {scope=}]) -> whether it was there */
static int store_delete(lua_State *L) {
    static const char where[] = "store.delete";
    sm_run_world(L, where);
    lua_settop(L, 2);
    const char *key = text_at(L, 1, where, "key", false);
    options o = options_at(L, 2, where, SCOPE);
    sm_answer *a = sm_answer_push(L);
    if (!sm_asking(L, "store", args_of("delete", key, &o), NULL, 0, a))
        return not_kept(L, where);
    lua_pushboolean(L, json_is_true(a->value));
    return 1;
}

/* incr(key[, by[, {ttl=, scope=}]]) -> the sum */
static int store_incr(lua_State *L) {
    static const char where[] = "store.incr";
    sm_run_world(L, where);
    lua_settop(L, 3);
    const char *key = text_at(L, 1, where, "key", false);
    if (lua_istable(L, 2))
        return luaL_error(L, "%s: by: expected a number, got table; write store.incr(key, 1, {…})",
                          where);
    if (!lua_isnil(L, 2) && lua_type(L, 2) != LUA_TNUMBER)
        return luaL_error(L, "%s: by: expected a number, got %s", where, sm_luaval_typename(L, 2));
    if (!lua_isnil(L, 2) && !isfinite(lua_tonumber(L, 2)))
        return luaL_error(L, "%s: by: expected a finite number", where);
    options o = options_at(L, 3, where, TTL | SCOPE);
    sm_answer *a = sm_answer_push(L);
    json_t *by = lua_isnil(L, 2)       ? json_integer(1)
                 : lua_isinteger(L, 2) ? json_integer(lua_tointeger(L, 2))
                                       : json_real(lua_tonumber(L, 2));
    json_t *args = args_of("incr", key, &o);
    json_object_set_new(args, "by", by);
    if (!sm_asking(L, "store", args, NULL, 0, a))
        return not_kept(L, where);
    push_decoded(L, a->body ? a->body : "null", a->body ? a->body_n : 4);
    return 1;
}

/* keys([prefix | {prefix=, scope=}]) -> sorted list */
static int store_keys(lua_State *L) {
    static const char where[] = "store.keys";
    options o = {.prefix = ""};
    sm_run_world(L, where);
    lua_settop(L, 1);
    if (lua_type(L, 1) == LUA_TSTRING)
        o.prefix = text_at(L, 1, where, "prefix", true);
    else
        o = options_at(L, 1, where, SCOPE | PREFIX);
    sm_answer *a = sm_answer_push(L);
    if (!sm_asking(L, "store", args_of("keys", o.prefix, &o), NULL, 0, a))
        return 3;
    size_t n = json_array_size(a->value);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        const json_t *key = json_array_get(a->value, i);
        lua_pushlstring(L, json_string_value(key), json_string_length(key));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static const luaL_Reg functions[] = {
    {"get", store_get},   {"set", store_set},   {"delete", store_delete},
    {"incr", store_incr}, {"keys", store_keys}, {NULL, NULL},
};

int sm_bind_store_open(lua_State *L) {
    luaL_newlib(L, functions);
    return 1;
}
