/* hostopts: see the header. Raw reads only; called by bind_hostproc and bind_hostfile.
 */
#include "worker/hostopts.h"
#include "base/str.h"
#include "worker/luaval.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char holder_name[] = "selfmon.host options";
enum { OPTIONS_MAX = 16 };

static int holder_gc(lua_State *L) {
    json_t **j = lua_touserdata(L, 1);
    json_decref(*j);
    *j = NULL;
    return 0;
}

json_t **sm_hostjson_push(lua_State *L) {
    json_t **j = lua_newuserdatauv(L, sizeof *j, 0);
    *j = NULL;
    if (luaL_newmetatable(L, holder_name)) {
        lua_pushcfunction(L, holder_gc);
        lua_setfield(L, -2, "__gc");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    return j;
}

static void wrong(lua_State *L, const char *where, const sm_hostopt *o, const char *expected) {
    luaL_error(L, "%s: option \"%s\": expected %s, got %s", where, o->name, expected,
               sm_luaval_typename(L, -1));
}

/* The value at the top of the stack. */
static void read_one(lua_State *L, const char *where, const sm_hostopt *o, json_t *into) {
    char text[100];
    json_t *made = NULL;
    sm_err err = SM_ERR_INIT;
    switch (o->kind) {
    case SM_HOSTOPT_TEXT: {
        size_t n;
        if (lua_type(L, -1) != LUA_TSTRING)
            wrong(L, where, o, "a text");
        const char *p = lua_tolstring(L, -1, &n);
        if (n == 0 || n > 4096 || memchr(p, '\0', n) || !sm_utf8_valid(p, n))
            luaL_error(L, "%s: option \"%s\": expected 1 to 4096 bytes of UTF-8 text", where,
                       o->name);
        made = json_string(p);
        break;
    }
    case SM_HOSTOPT_INTEGER: {
        int whole = 0;
        lua_Integer v = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &whole) : 0;
        if (!whole || v < o->min || v > o->max) {
            snprintf(text, sizeof text, "an integer from %lld to %lld", (long long)o->min,
                     (long long)o->max);
            if (!whole)
                wrong(L, where, o, text);
            luaL_error(L, "%s: option \"%s\": expected %s, got %I", where, o->name, text, v);
        }
        made = json_integer(v);
        break;
    }
    case SM_HOSTOPT_BOOLEAN:
        if (!lua_isboolean(L, -1))
            wrong(L, where, o, "true or false");
        made = json_boolean(lua_toboolean(L, -1));
        break;
    case SM_HOSTOPT_TABLE:
        if (!lua_istable(L, -1))
            wrong(L, where, o, "a table");
        if (sm_luaval_to_json(L, -1, &made, &err) != SM_OK)
            luaL_error(L, "%s: option \"%s\": %s", where, o->name, err.msg);
        break;
    }
    json_object_set_new(into, o->name, made);
}

void sm_hostopts_read(lua_State *L, int idx, const char *where, const sm_hostopt *opts, size_t n,
                      json_t *into) {
    if (lua_isnoneornil(L, idx))
        return;
    if (!lua_istable(L, idx))
        luaL_error(L, "%s: expected a table of options, got %s", where, sm_luaval_typename(L, idx));
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        const sm_hostopt *found = NULL;
        const char *names[OPTIONS_MAX];
        for (size_t i = 0; i < n && i < OPTIONS_MAX; i++) {
            names[i] = opts[i].name;
            if (strcmp(key, opts[i].name) == 0)
                found = &opts[i];
        }
        if (!found) {
            char hint[100], *shown = sm_str_printable(key, strlen(key), 60);
            sm_str_hint(key, names, n < OPTIONS_MAX ? n : OPTIONS_MAX, hint, sizeof hint);
            lua_pushstring(L, shown);
            free(shown);
            luaL_error(L, "%s: unknown option \"%s\"%s", where, lua_tostring(L, -1), hint);
        }
        read_one(L, where, found, into);
        lua_pop(L, 1);
    }
}
