/* json: any bytes as a text for the scripts' cjson.decode.
 *
 * What must hold: what jansson takes as JSON (RFC 8259) is taken, and what it does not take is
 * refused but for what only jansson cannot hold; both read the same value, integers to the last
 * digit; and a value that was read can be written and read again without a difference.
 */
#include "fuzz.h"
#include "base/mem.h"
#include "worker/jsoncodec.h"
#include "worker/modules.h"
#include "worker/run.h"
#include "worker/vm.h"
#include <jansson.h>
#include <lauxlib.h>
#include <string.h>

enum { TEXT_MAX = 16 << 10 }; /* of an input: far from the codec's own limits of size */

typedef struct subject {
    const char *text;
    size_t n;
    bool standard; /* jansson takes it */
    bool beyond;   /* jansson refuses it for what it cannot hold, not for its grammar */
    json_t *seen;  /* what jansson read */
} subject;

static bool same_number(lua_State *L, int idx, double d) {
    double own = lua_tonumber(L, idx);
    return !(own < d) && !(own > d);
}

/* Is the Lua value at idx what jansson read? */
static bool same_json(lua_State *L, int idx, const json_t *j) {
    size_t n, i, count = 0;
    const char *key, *text;
    json_t *v;
    bool same = true;
    idx = lua_absindex(L, idx);
    switch (json_typeof(j)) {
    case JSON_NULL:
        return lua_type(L, idx) == LUA_TLIGHTUSERDATA && !lua_touserdata(L, idx);
    case JSON_TRUE:
    case JSON_FALSE:
        return lua_isboolean(L, idx) && lua_toboolean(L, idx) == json_is_true(j);
    case JSON_INTEGER:
        return lua_isinteger(L, idx) && lua_tointeger(L, idx) == json_integer_value(j);
    case JSON_REAL:
        return lua_type(L, idx) == LUA_TNUMBER && same_number(L, idx, json_real_value(j));
    case JSON_STRING:
        text = lua_type(L, idx) == LUA_TSTRING ? lua_tolstring(L, idx, &n) : NULL;
        return text && n == json_string_length(j) && memcmp(text, json_string_value(j), n) == 0;
    case JSON_ARRAY:
        if (lua_type(L, idx) != LUA_TTABLE || lua_rawlen(L, idx) != json_array_size(j))
            return false;
        json_array_foreach(j, i, v) {
            lua_rawgeti(L, idx, (lua_Integer)i + 1);
            same = same && same_json(L, -1, v);
            lua_pop(L, 1);
        }
        return same;
    default:
        if (lua_type(L, idx) != LUA_TTABLE)
            return false;
        json_object_foreach((json_t *)(uintptr_t)j, key, v) {
            lua_pushstring(L, key);
            lua_rawget(L, idx);
            same = same && same_json(L, -1, v);
            lua_pop(L, 1);
        }
        for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1))
            count++;
        return same && count == json_object_size(j);
    }
}

/* Are the two Lua values equal, tables by content? */
static bool same_lua(lua_State *L, int a, int b) {
    a = lua_absindex(L, a);
    b = lua_absindex(L, b);
    if (!lua_istable(L, a) || !lua_istable(L, b))
        return lua_rawequal(L, a, b); /* 1e16 comes back as an integer: the same number */
    size_t left = 0;
    bool same = true;
    for (lua_pushnil(L); lua_next(L, b); lua_pop(L, 1))
        left++;
    for (lua_pushnil(L); lua_next(L, a); lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        lua_rawget(L, b);
        same = same && same_lua(L, -2, -1);
        lua_pop(L, 1);
        left--;
    }
    return same && left == 0;
}

static int check(lua_State *L) {
    const subject *s = lua_touserdata(L, 1);
    luaL_checkstack(L, 400, "fuzz");
    lua_settop(L, 0);
    sm_bind_cjson_open(L);
    lua_getfield(L, 1, "decode");
    lua_pushlstring(L, s->text, s->n);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
        if (s->standard)
            fprintf(stderr, "%s\n", lua_tostring(L, -1));
        holds(!s->standard, "what is JSON is taken");
        return 0;
    }
    holds(s->standard || s->beyond, "what is not JSON is refused");
    if (s->standard)
        holds(same_json(L, 2, s->seen), "both read the same value");
    lua_getfield(L, 1, "encode");
    lua_pushvalue(L, 2);
    int status = lua_pcall(L, 1, 1, 0);
    if (status != LUA_OK)
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
    holds(status == LUA_OK, "what was read can be written");
    lua_getfield(L, 1, "decode");
    lua_pushvalue(L, 3);
    holds(lua_pcall(L, 1, 1, 0) == LUA_OK, "what was written can be read");
    if (!same_lua(L, 2, 4))
        fprintf(stderr, "written as %s\n", lua_tostring(L, 3));
    holds(same_lua(L, 2, 4), "and is the same");
    return 0;
}

/* Levels of brackets outside strings: jansson allows more than cjson's 64. */
static int depth_of(const char *p, size_t n) {
    int level = 0, most = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        if (quoted && p[i] == '\\')
            i++;
        else if (p[i] == '"')
            quoted = !quoted;
        else if (!quoted && (p[i] == '[' || p[i] == '{'))
            most = ++level > most ? level : most;
        else if (!quoted && (p[i] == ']' || p[i] == '}'))
            level--;
    }
    return most;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n > TEXT_MAX)
        return 0;
    subject s = {.text = sm_memdup(data, n), .n = n};
    json_error_t je;
    s.seen = json_loadb(s.text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &je);
    /* jansson 2.14 passes over a NUL behind a number. */
    s.standard = s.seen && depth_of(s.text, n) <= SM_JSONCODEC_DEPTH && !memchr(s.text, 0, n);
    s.beyond = !s.seen && (json_error_code(&je) == json_error_numeric_overflow ||
                           json_error_code(&je) == json_error_null_byte_in_key);
    sm_run run;
    sm_limits limits;
    sm_limits_default(&limits);
    sm_run_init(&run, "fuzz/json.run", "0123456789abcdef0123456789abcdef", &limits, NULL);
    sm_vm_enter(&run);
    lua_State *L = sm_vm_new(&run);
    holds(L != NULL, "a Lua state");
    char *error = NULL;
    lua_pushcfunction(L, check);
    lua_pushlightuserdata(L, &s);
    sm_rc rc = sm_vm_call(L, 1, 0, &error, NULL);
    if (rc != SM_OK)
        fprintf(stderr, "%s\n", error ? error : "?");
    holds(rc == SM_OK, "no text ends the run");
    sm_vm_close(L);
    sm_vm_leave();
    sm_run_fini(&run);
    json_decref(s.seen);
    free(error);
    free((char *)(uintptr_t)s.text);
    return 0;
}
