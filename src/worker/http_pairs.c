/* http_pairs: the tables of names and values among http's options: `query` and `form`.
 *
 * Names come in byte order, so that a request is the same each time; values are strings, finite
 * numbers, booleans or lists of these. Raw reads only: no metamethod of the script runs.
 */
#include "worker/http_opts.h"
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_MAX = 1000, VALUES_MAX = 1000 };

static int by_bytes(const void *a, const void *b) {
    const sm_http_name *x = a, *y = b;
    int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

sm_http_name *sm_http_names(lua_State *L, int idx, const char *where, const char *option,
                            size_t *n) {
    size_t count = 0, i = 0;
    idx = lua_absindex(L, idx);
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "%s: option \"%s\": expected names as keys, got a %s", where, option,
                       luaL_typename(L, -2));
        if (++count > NAMES_MAX)
            luaL_error(L, "%s: option \"%s\": more than %d names", where, option, NAMES_MAX);
    }
    sm_http_name *names = lua_newuserdatauv(L, (count + 1) * sizeof(*names), 0);
    for (lua_pushnil(L); lua_next(L, idx) && i < count; lua_pop(L, 1), i++)
        names[i].p = lua_tolstring(L, -2, &names[i].n);
    qsort(names, count, sizeof(*names), by_bytes);
    *n = count;
    return names;
}

const char *sm_http_scalar(lua_State *L, int idx, char tmp[64], size_t *n) {
    int exact = 0;
    lua_Integer i = 0;
    switch (lua_type(L, idx)) {
    case LUA_TSTRING:
        return lua_tolstring(L, idx, n);
    case LUA_TBOOLEAN:
        *n = lua_toboolean(L, idx) ? 4 : 5;
        return lua_toboolean(L, idx) ? "true" : "false";
    case LUA_TNUMBER:
        i = lua_tointegerx(L, idx, &exact);
        if (exact)
            *n = (size_t)snprintf(tmp, 64, "%lld", (long long)i);
        else if (isfinite(lua_tonumber(L, idx)))
            *n = (size_t)snprintf(tmp, 64, "%.14g", lua_tonumber(L, idx));
        else
            return NULL;
        return tmp;
    default:
        return NULL;
    }
}

static void add_encoded(sm_buf *b, const char *p, size_t n, bool form) {
    static const char kept[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (size_t i = 0; i < n; i++) {
        if (p[i] != '\0' && strchr(kept, p[i]))
            sm_buf_addc(b, p[i]);
        else if (form && p[i] == ' ')
            sm_buf_addc(b, '+');
        else
            sm_buf_addf(b, "%%%02X", (unsigned)(unsigned char)p[i]);
    }
}

/* The value at the top of the stack. */
static void add_pair(lua_State *L, const char *where, const char *option, const sm_http_name *name,
                     bool form, sm_buf *b) {
    char tmp[64];
    size_t n = 0;
    const char *value = sm_http_scalar(L, -1, tmp, &n);
    if (!value)
        luaL_error(L,
                   "%s: option \"%s\": \"%s\": expected a string, number, boolean or list of "
                   "these, got %s",
                   where, option, name->p,
                   lua_type(L, -1) == LUA_TNUMBER ? "NaN or infinity" : luaL_typename(L, -1));
    if (b->len > 0)
        sm_buf_addc(b, '&');
    add_encoded(b, name->p, name->n, form);
    sm_buf_addc(b, '=');
    add_encoded(b, value, n, form);
}

void sm_http_pairs_read(lua_State *L, int idx, const char *where, const char *option, bool form,
                        sm_http_call *call) {
    size_t n = 0;
    idx = lua_absindex(L, idx);
    if (!lua_istable(L, idx))
        luaL_error(L, "%s: option \"%s\": expected a table of names and values, got %s", where,
                   option, luaL_typename(L, idx));
    const sm_http_name *names = sm_http_names(L, idx, where, option, &n);
    sm_buf_reset(&call->scratch);
    for (size_t i = 0; i < n; i++) {
        lua_pushlstring(L, names[i].p, names[i].n);
        if (lua_rawget(L, idx) == LUA_TTABLE) {
            lua_Unsigned len = lua_rawlen(L, -1);
            if (len > VALUES_MAX)
                luaL_error(L, "%s: option \"%s\": \"%s\": more than %d values", where, option,
                           names[i].p, VALUES_MAX);
            for (lua_Unsigned k = 1; k <= len; k++) {
                lua_rawgeti(L, -1, (lua_Integer)k);
                add_pair(L, where, option, &names[i], form, &call->scratch);
                lua_pop(L, 1);
            }
        } else {
            add_pair(L, where, option, &names[i], form, &call->scratch);
        }
        lua_pop(L, 1);
    }
    if (call->scratch.failed)
        luaL_error(L, "%s: option \"%s\": too long", where, option);
    lua_pop(L, 1);
}
