/* modnames: what a module's table answers when a script asks for a name that it does not have: an
 * error at the script's line with the nearest right name, instead of a nil that fails elsewhere.
 *
 * Reading with rawget, pairs and setting fields are as ever. Called by worker/modules for selfmon.*
 * (not for cjson, whose table is upstream's). On the run's thread. */
#include "worker/modules.h"
#include "base/str.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES = 100 };

/* [table, key] with the table's name as upvalue */
static int missing(lua_State *L) {
    const char *names[NAMES];
    char hint[160];
    size_t n = 0;
    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    lua_settop(L, 2);
    for (lua_pushnil(L); lua_next(L, 1) && n < NAMES; lua_pop(L, 1))
        if (lua_type(L, -2) == LUA_TSTRING)
            names[n++] = lua_tostring(L, -2); /* the table keeps it */
    char *key = sm_str_printable(lua_tostring(L, 2), strlen(lua_tostring(L, 2)), 60);
    sm_str_hint(key, names, n, hint, sizeof hint);
    lua_settop(L, 2);
    char text[80];
    snprintf(text, sizeof text, "%s", key);
    free(key);
    return luaL_error(L, "%s has no \"%s\"%s", lua_tostring(L, lua_upvalueindex(1)), text, hint);
}

static void guard(lua_State *L, const char *name) {
    lua_createtable(L, 0, 2);
    lua_pushstring(L, name);
    lua_pushcclosure(L, missing, 1);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}

void sm_modules_guard(lua_State *L, const char *name, bool deep) {
    if (!lua_istable(L, -1))
        return;
    if (lua_getmetatable(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    guard(L, name);
    if (!deep)
        return;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) { /* such as host.file */
        if (!lua_istable(L, -1) || lua_type(L, -2) != LUA_TSTRING)
            continue;
        if (lua_getmetatable(L, -1)) {
            lua_pop(L, 1);
            continue;
        }
        const char *full = lua_pushfstring(L, "%s.%s", name, lua_tostring(L, -2));
        lua_pushvalue(L, -2);
        guard(L, full);
        lua_pop(L, 2);
    }
}
