/* dql_result: a query's answer as Lua tables: series as the platform has them, with times in
 * seconds, s:points(), and res.rows, which are made from the series when somebody wants them.
 * Called by bind_dql, on the run's thread.
 */
#include "worker/dql_result.h"
#include "base/str.h"
#include "worker/luaval.h"
#include <lauxlib.h>
#include <string.h>

enum { NAMES_MAX = 64 };

static const char series_type[] = "selfmon.dql.Series", result_type[] = "selfmon.dql.Result";

/* null is cjson.null, so that a row has no holes. [-0, +1, m] */
static void push_value(lua_State *L, const json_t *v) {
    if (!v || json_is_null(v))
        lua_pushlightuserdata(L, NULL);
    else
        sm_luaval_push(L, v);
}

static bool has_time(const json_t *columns) {
    const char *first = json_string_value(json_array_get(columns, 0));
    return first && strcmp(first, "time") == 0;
}

/* [-0, +1, m] */
static void push_list(lua_State *L, const json_t *list) {
    size_t n = json_array_size(list);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        push_value(L, json_array_get(list, i));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* Rows of values; the first column is a time in ms when `timed`. [-0, +1, m] */
static void push_values(lua_State *L, const json_t *values, bool timed) {
    size_t n = json_array_size(values);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(values, i), *time = json_array_get(row, 0);
        push_list(L, row);
        if (timed && json_is_number(time)) {
            lua_pushnumber(L, json_number_value(time) / 1000);
            lua_rawseti(L, -2, 1);
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* ---- points ---- */

/* Index of the column `name` of the series at 1, or of its first one besides the time. */
static lua_Integer column_of(lua_State *L, const char *name) {
    const char *known[NAMES_MAX];
    char hint[128];
    size_t n_known = 0;
    lua_getfield(L, 1, "columns");
    lua_Integer n = lua_istable(L, -1) ? (lua_Integer)lua_rawlen(L, -1) : 0, found = 0;
    for (lua_Integer i = 1; i <= n && !found; i++) {
        bool is_text = lua_rawgeti(L, -1, i) == LUA_TSTRING;
        const char *column = is_text ? lua_tostring(L, -1) : "";
        if (name ? strcmp(column, name) == 0 : strcmp(column, "time") != 0)
            found = i;
        if (is_text && n_known < NAMES_MAX)
            known[n_known++] = column;
        lua_pop(L, 1); /* the table still holds it */
    }
    if (!found && name)
        luaL_error(L, "points: the series has no column \"%s\"%s", name,
                   sm_str_hint(name, known, n_known, hint, sizeof hint));
    lua_pop(L, 1);
    return found;
}

/* s:points([column]) -> values, times: two lists of numbers; what has no number is left out */
static int points(lua_State *L) {
    lua_settop(L, 2);
    if (!lua_istable(L, 1))
        return luaL_error(L,
                          "points: expected a series, got %s; write series:points(), with a "
                          "colon",
                          sm_luaval_typename(L, 1));
    if (!lua_isnil(L, 2) && lua_type(L, 2) != LUA_TSTRING)
        return luaL_error(L, "points: column: expected a string, got %s", sm_luaval_typename(L, 2));
    lua_Integer column = column_of(L, lua_tostring(L, 2)), count = 0;
    lua_newtable(L); /* 3: values */
    lua_newtable(L); /* 4: times */
    if (lua_getfield(L, 1, "values") != LUA_TTABLE)
        return luaL_error(L, "points: expected a series with values");
    lua_Integer n = (lua_Integer)lua_rawlen(L, 5);
    for (lua_Integer i = 1; i <= n && column; i++) {
        if (lua_rawgeti(L, 5, i) == LUA_TTABLE && lua_rawgeti(L, 6, column) == LUA_TNUMBER) {
            lua_rawseti(L, 3, ++count);
            lua_rawgeti(L, 6, 1);
            lua_rawseti(L, 4, count);
        }
        lua_settop(L, 5);
    }
    lua_pop(L, 1);
    return 2;
}

/* ---- rows ---- */

/* Adds the rows of the series at the top to the list at `out`. */
static void add_rows(lua_State *L, int out) {
    int s = lua_gettop(L);
    lua_Integer at = (lua_Integer)lua_rawlen(L, out);
    lua_getfield(L, s, "columns");
    lua_getfield(L, s, "tags");
    lua_getfield(L, s, "values");
    int columns = s + 1, tags = s + 2, values = s + 3;
    if (!lua_istable(L, columns) || !lua_istable(L, tags) || !lua_istable(L, values)) {
        lua_settop(L, s);
        return;
    }
    lua_Integer n = (lua_Integer)lua_rawlen(L, values), width = (lua_Integer)lua_rawlen(L, columns);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, values, i);
        lua_createtable(L, 0, (int)width + 4);
        int row = lua_gettop(L);
        for (lua_pushnil(L); lua_next(L, tags);) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, row);
        }
        for (lua_Integer c = 1; c <= width && lua_istable(L, row - 1); c++) {
            lua_rawgeti(L, columns, c);
            lua_rawgeti(L, row - 1, c);
            if (lua_type(L, -2) != LUA_TSTRING || lua_isnil(L, -1) || lua_islightuserdata(L, -1))
                lua_pop(L, 2);
            else
                lua_rawset(L, row);
        }
        lua_rawseti(L, out, ++at);
        lua_settop(L, values);
    }
    lua_settop(L, s);
}

/* __index of a result: `rows`. */
static int result_index(lua_State *L) {
    lua_settop(L, 2);
    if (lua_type(L, 2) != LUA_TSTRING || strcmp(lua_tostring(L, 2), "rows") != 0)
        return 0;
    lua_newtable(L); /* 3 */
    lua_pushliteral(L, "series");
    lua_rawget(L, 1); /* 4 */
    lua_Integer n = lua_istable(L, 4) ? (lua_Integer)lua_rawlen(L, 4) : 0;
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_rawgeti(L, 4, i) == LUA_TTABLE)
            add_rows(L, 3);
        lua_settop(L, 4);
    }
    lua_settop(L, 3);
    lua_pushvalue(L, 3);
    lua_setfield(L, 1, "rows");
    return 1;
}

/* ---- */

/* [-0, +1, m] */
static void push_series(lua_State *L, const json_t *s) {
    const json_t *columns = json_object_get(s, "columns"), *tags = json_object_get(s, "tags");
    lua_createtable(L, 0, 5);
    lua_pushstring(L, sm_json_str(s, "name", ""));
    lua_setfield(L, -2, "name");
    if (json_is_object(tags))
        sm_luaval_push(L, tags);
    else
        lua_newtable(L);
    lua_setfield(L, -2, "tags");
    push_list(L, columns);
    lua_setfield(L, -2, "columns");
    push_list(L, json_object_get(s, "units"));
    lua_setfield(L, -2, "units");
    push_values(L, json_object_get(s, "values"), has_time(columns));
    lua_setfield(L, -2, "values");
    if (luaL_newmetatable(L, series_type)) {
        lua_newtable(L);
        lua_pushcfunction(L, points);
        lua_setfield(L, -2, "points");
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
}

void sm_dql_result_push(lua_State *L, const json_t *result) {
    const json_t *series = json_object_get(result, "series"), *cost;
    size_t n = json_array_size(series);
    luaL_checkstack(L, 40, "a query's answer");
    lua_createtable(L, 0, 5);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        push_series(L, json_array_get(series, i));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "series");
    lua_pushboolean(L, sm_json_bool(result, "complete", true));
    lua_setfield(L, -2, "complete");
    if ((cost = json_object_get(result, "cost")) != NULL && !json_is_null(cost)) {
        sm_luaval_push(L, cost);
        lua_setfield(L, -2, "cost");
    }
    if (sm_json_num(result, "interval", 0) > 0) {
        lua_pushnumber(L, sm_json_num(result, "interval", 0) / 1000);
        lua_setfield(L, -2, "interval");
    }
    if (luaL_newmetatable(L, result_type)) {
        lua_pushcfunction(L, result_index);
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
}
