/* sandbox_basics: the basic functions and the small `os` that scripts see instead of Lua's own.
 *
 * load takes text only, and strings only; setmetatable refuses __gc, as no hook can stop a
 * finalizer; print writes to the run's log; collectgarbage only counts; os knows UTC and the run's
 * own CPU time. What is not listed as safe is removed.
 */
#include "worker/sandbox.h"
#include "worker/runclock.h"
#include "base/clock.h"
#include "base/str.h"
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

static int basic_load(lua_State *L) {
    size_t n, name_n;
    if (lua_type(L, 1) != LUA_TSTRING)
        return luaL_typeerror(L, 1, "string");
    const char *text = lua_tolstring(L, 1, &n);
    const char *name = luaL_optlstring(L, 2, text, &name_n);
    const char *mode = luaL_optstring(L, 3, "t");
    bool has_env = !lua_isnone(L, 4);
    if (!lua_isnoneornil(L, 2)) {
        luaL_argcheck(L, name_n <= 200, 2, "chunk name is longer than 200 bytes");
        for (size_t i = 0; i < name_n; i++)
            luaL_argcheck(L, (unsigned char)name[i] >= 32 && name[i] != 127, 2,
                          "chunk name has control bytes");
    }
    luaL_pushfail(L);
    if (!strchr(mode, 't')) {
        lua_pushfstring(L, "attempt to load a text chunk (mode is '%s')", mode);
        return 2;
    }
    if (n > SM_SANDBOX_TEXT_MAX) {
        lua_pushfstring(L, "text is longer than %d bytes", SM_SANDBOX_TEXT_MAX);
        return 2;
    }
    if (luaL_loadbufferx(L, text, n, name, "t") != LUA_OK)
        return 2;
    if (has_env) {
        lua_pushvalue(L, 4);
        if (!lua_setupvalue(L, -2, 1))
            lua_pop(L, 1);
    }
    return 1;
}

static int basic_print(lua_State *L) {
    int n = lua_gettop(L);
    size_t len;
    luaL_checkstack(L, n + 2, "too many arguments to print");
    for (int i = 1; i <= n; i++) {
        luaL_tolstring(L, i, NULL);
        lua_replace(L, i);
    }
    for (int i = n; i > 1; i--) {
        lua_pushliteral(L, "\t");
        lua_insert(L, i);
    }
    lua_concat(L, lua_gettop(L));
    const char *text = lua_tolstring(L, -1, &len);
    sm_run_log(L, "print", text, len);
    return 0;
}

static int basic_setmetatable(lua_State *L) {
    int type = lua_type(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    if (type == LUA_TTABLE) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "__gc is not available to scripts; use a variable with <close>");
        lua_pop(L, 1);
    }
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

static int basic_collectgarbage(lua_State *L) {
    const char *what = luaL_optstring(L, 1, "collect");
    if (strcmp(what, "count") != 0)
        return luaL_error(L, "collectgarbage: scripts can only ask for \"count\"");
    lua_pushnumber(L, (lua_Number)sm_run_of(L)->mem_used / 1024.0);
    return 1;
}

/* ---- os ---- */

static int64_t time_field(lua_State *L, const char *key, int64_t def) {
    int is_int = 0;
    int type = lua_getfield(L, 1, key);
    lua_Integer v = lua_tointegerx(L, -1, &is_int);
    if (!is_int) {
        if (type != LUA_TNIL)
            luaL_error(L, "field '%s' is not an integer", key);
        if (def < 0)
            luaL_error(L, "field '%s' missing in date table", key);
        v = def;
    }
    lua_pop(L, 1);
    if (v < -1000000000 || v > 1000000000)
        luaL_error(L, "field '%s' is out-of-bound", key);
    return (int64_t)v;
}

static void set_time_field(lua_State *L, const char *key, int64_t v) {
    lua_pushinteger(L, (lua_Integer)v);
    lua_setfield(L, 1, key);
}

/* os.time([table]): as Lua's, in UTC; fields outside their ranges carry over and are set right. */
static int os_time(lua_State *L) {
    if (lua_isnoneornil(L, 1)) {
        lua_pushinteger(L, (lua_Integer)(sm_run_wall_ns(sm_run_of(L)) / SM_NS_PER_S));
        return 1;
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    int64_t year = time_field(L, "year", -1);
    int64_t month = time_field(L, "month", -1) - 1;
    int64_t day = time_field(L, "day", -1);
    int64_t hour = time_field(L, "hour", 12);
    int64_t min = time_field(L, "min", 0);
    int64_t sec = time_field(L, "sec", 0);
    int64_t over = month >= 0 ? month / 12 : -((11 - month) / 12);
    int64_t days = sm_days_from_civil(year + over, (int)(month - over * 12) + 1, 1) + day - 1;
    int64_t t = days * 86400 + hour * 3600 + min * 60 + sec;
    int64_t rest = t % 86400 < 0 ? t % 86400 + 86400 : t % 86400;
    int m, d;
    days = (t - rest) / 86400;
    sm_civil_from_days(days, &year, &m, &d);
    set_time_field(L, "year", year);
    set_time_field(L, "month", m);
    set_time_field(L, "day", d);
    set_time_field(L, "hour", rest / 3600);
    set_time_field(L, "min", rest / 60 % 60);
    set_time_field(L, "sec", rest % 60);
    set_time_field(L, "wday", ((days + 4) % 7 + 7) % 7 + 1);
    set_time_field(L, "yday", days - sm_days_from_civil(year, 1, 1) + 1);
    lua_pushboolean(L, 0);
    lua_setfield(L, 1, "isdst");
    lua_pushinteger(L, (lua_Integer)t);
    return 1;
}

/* os.date([format [, time]]): Lua's own (upvalue 1), always as if the format began with `!`. */
static int os_date(lua_State *L) {
    const char *format = luaL_optstring(L, 1, "%c");
    bool has_time = !lua_isnoneornil(L, 2);
    lua_settop(L, 2);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushfstring(L, format[0] == '!' ? "%s" : "!%s", format);
    if (has_time)
        lua_pushvalue(L, 2);
    else
        lua_pushinteger(L, (lua_Integer)(sm_run_wall_ns(sm_run_of(L)) / SM_NS_PER_S));
    lua_call(L, 2, 1);
    return 1;
}

static int os_clock(lua_State *L) {
    const sm_run *run = sm_run_of(L);
    lua_pushnumber(L, (lua_Number)(sm_thread_cpu_ns() - run->cpu_start_ns) / (double)SM_NS_PER_S);
    return 1;
}

static void open_os(lua_State *L) {
    lua_pushcfunction(L, luaopen_os);
    lua_pushliteral(L, "os");
    lua_call(L, 1, 1);
    lua_createtable(L, 0, 4);
    lua_getfield(L, -2, "date");
    lua_pushcclosure(L, os_date, 1);
    lua_setfield(L, -2, "date");
    lua_getfield(L, -2, "difftime");
    lua_setfield(L, -2, "difftime");
    lua_pushcfunction(L, os_time);
    lua_setfield(L, -2, "time");
    lua_pushcfunction(L, os_clock);
    lua_setfield(L, -2, "clock");
    lua_remove(L, -2);
}

void sm_sandbox_open_basics(lua_State *L) {
    static const luaL_Reg own[] = {
        {"load", basic_load},
        {"print", basic_print},
        {"setmetatable", basic_setmetatable},
        {"collectgarbage", basic_collectgarbage},
        {"dofile", NULL},
        {"loadfile", NULL},
        {"warn", NULL},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(own); i++) {
        if (own[i].func)
            lua_pushcfunction(L, own[i].func);
        else
            lua_pushnil(L);
        lua_setfield(L, -2, own[i].name);
    }
    open_os(L);
    lua_setfield(L, -2, "os");
    lua_getfield(L, -1, "string");
    lua_pushnil(L);
    lua_setfield(L, -2, "dump");
    lua_pop(L, 1);
    /* One metatable serves all strings: out of reach. */
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
}
