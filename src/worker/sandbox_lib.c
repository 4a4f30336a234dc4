/* sandbox_lib: the functions of string and table whose C loops a script could make endless
 * without any memory: string.rep, table.insert, table.remove, table.move.
 *
 * Same meaning and messages as Lua's own (manual 6.4, 6.6); the loops look at the run's stop flag,
 * as no hook fires inside a C function. Patterns are left to the worker's kill.
 */
#include "worker/sandbox.h"
#include "worker/vm.h"
#include "base/str.h"
#include <lauxlib.h>
#include <stdint.h>
#include <string.h>

enum { STEP = 1023 }; /* the flag is looked at each STEP + 1 rounds */

static int lib_rep(lua_State *L) {
    size_t n, sep_n;
    const char *text = luaL_checklstring(L, 1, &n);
    lua_Integer times = luaL_checkinteger(L, 2);
    const char *sep = luaL_optlstring(L, 3, "", &sep_n);
    if (times <= 0 || n + sep_n == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    if (n + sep_n < n || (uint64_t)times > (uint64_t)(SIZE_MAX / 4) / (n + sep_n))
        return luaL_error(L, "resulting string too large");
    size_t total = (size_t)times * n + (size_t)(times - 1) * sep_n;
    if (total == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    luaL_Buffer b;
    sm_vm_room(L, total);
    char *p = luaL_buffinitsize(L, &b, total);
    for (lua_Integer i = 0; i < times; i++) {
        memcpy(p, text, n);
        p += n;
        if (i + 1 < times) {
            memcpy(p, sep, sep_n);
            p += sep_n;
        }
    }
    luaL_pushresultsize(&b, total);
    return 1;
}

static int lib_insert(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer end = (lua_Integer)((lua_Unsigned)luaL_len(L, 1) + 1);
    lua_Integer pos = end;
    int args = lua_gettop(L);
    if (args == 3) {
        pos = luaL_checkinteger(L, 2);
        luaL_argcheck(L, (lua_Unsigned)pos - 1 < (lua_Unsigned)end, 2, "position out of bounds");
        for (lua_Integer i = end; i > pos; i--) {
            if ((i & STEP) == 0)
                sm_run_check(L);
            lua_geti(L, 1, i - 1);
            lua_seti(L, 1, i);
        }
    } else if (args != 2) {
        return luaL_error(L, "wrong number of arguments to 'insert'");
    }
    lua_seti(L, 1, pos);
    return 0;
}

static int lib_remove(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer size = luaL_len(L, 1);
    lua_Integer pos = luaL_optinteger(L, 2, size);
    if (pos != size)
        luaL_argcheck(L, (lua_Unsigned)pos - 1 <= (lua_Unsigned)size, 2, "position out of bounds");
    lua_geti(L, 1, pos);
    for (; pos < size; pos++) {
        if ((pos & STEP) == 0)
            sm_run_check(L);
        lua_geti(L, 1, pos + 1);
        lua_seti(L, 1, pos);
    }
    lua_pushnil(L);
    lua_seti(L, 1, pos);
    return 1;
}

static int lib_move(lua_State *L) {
    lua_Integer from = luaL_checkinteger(L, 2);
    lua_Integer last = luaL_checkinteger(L, 3);
    lua_Integer to = luaL_checkinteger(L, 4);
    int target = lua_isnoneornil(L, 5) ? 1 : 5;
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, target, LUA_TTABLE);
    if (last >= from) {
        luaL_argcheck(L, from > 0 || last < LUA_MAXINTEGER + from, 3, "too many elements to move");
        lua_Integer n = last - from + 1;
        luaL_argcheck(L, to <= LUA_MAXINTEGER - n + 1, 4, "destination wrap around");
        /* Downwards when the ranges of one table overlap that way. */
        bool up = to > last || to <= from || (target != 1 && !lua_compare(L, 1, target, LUA_OPEQ));
        for (lua_Integer i = 0; i < n; i++) {
            lua_Integer k = up ? i : n - 1 - i;
            if ((i & STEP) == 0)
                sm_run_check(L);
            lua_geti(L, 1, from + k);
            lua_seti(L, target, to + k);
        }
    }
    lua_pushvalue(L, target);
    return 1;
}

void sm_sandbox_open_bounded(lua_State *L) {
    static const luaL_Reg table[] = {
        {"insert", lib_insert}, {"remove", lib_remove}, {"move", lib_move}};
    lua_getfield(L, -1, "string");
    lua_pushcfunction(L, lib_rep);
    lua_setfield(L, -2, "rep");
    lua_pop(L, 1);
    lua_getfield(L, -1, "table");
    for (size_t i = 0; i < SM_ARRAY_LEN(table); i++) {
        lua_pushcfunction(L, table[i].func);
        lua_setfield(L, -2, table[i].name);
    }
    lua_pop(L, 1);
}
