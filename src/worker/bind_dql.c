/* bind_dql: `selfmon.dql`: query all (script-api 7): the data of the account's workspace.
 *
 * The daemon asks the platform, within the account's budget of calls (daemon/dql): a call here is a
 * question to it (worker/asking.h) and blocks the run. A wrong call raises at the script's line;
 * what the platform refuses is nil, sentence, code. Runs on the run's thread.
 */
#include "worker/dql_result.h"
#include "base/dqlask.h"
#include "base/str.h"
#include "worker/asking.h"
#include "worker/luaval.h"
#include "worker/modules.h"
#include "worker/runclock.h"
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A number below this is a length of time, above it a time: ten years, and 1980. */
#define LENGTH_MAX_S (10 * 366 * 86400.0)

/* One query as it is read; texts are borrowed from the script's tables. */
typedef struct query {
    const char *q, *type, *tz;
    double since, until;  /* seconds since 1970; NaN: not given */
    double interval;      /* seconds; 0: not given */
    lua_Integer whole[5]; /* -1: not given */
} query;

static const char *const whole_names[] = {"limit", "offset", "slimit", "soffset", "max_points"};
static const char *const names[] = {"query", "since",  "until_", "interval", "tz",        "type",
                                    "limit", "offset", "slimit", "soffset",  "max_points"};

/* What one option of a call is read with. */
typedef struct reader {
    lua_State *L;
    const char *where, *option;
    double now;
    query *out;
} reader;

static void wrong(const reader *r, const char *expected) {
    luaL_error(r->L, "%s: option \"%s\": expected %s, got %s", r->where, r->option, expected,
               sm_luaval_typename(r->L, -1));
}

/* The text at the top, without control bytes but white space. */
static const char *text(const reader *r, size_t max, const char *expected) {
    size_t n;
    if (lua_type(r->L, -1) != LUA_TSTRING)
        wrong(r, expected);
    const char *p = lua_tolstring(r->L, -1, &n);
    if (n == 0 || n > max || strlen(p) != n || !sm_utf8_valid(p, n))
        luaL_error(r->L, "%s: option \"%s\": expected %s of 1 to %d bytes", r->where, r->option,
                   expected, (int)max);
    return p;
}

static double seconds(const reader *r, const char *expected) {
    double s = 0;
    sm_err err = SM_ERR_INIT;
    if (lua_type(r->L, -1) == LUA_TNUMBER)
        s = lua_tonumber(r->L, -1);
    else if (lua_type(r->L, -1) != LUA_TSTRING)
        wrong(r, expected);
    else if (sm_duration_parse(lua_tostring(r->L, -1), &s, &err) != SM_OK)
        luaL_error(r->L, "%s: option \"%s\": %s", r->where, r->option, err.msg);
    if (!isfinite(s))
        luaL_error(r->L, "%s: option \"%s\": expected %s", r->where, r->option, expected);
    return s;
}

/* A time: seconds since 1970, ISO 8601, or a length of time before now. */
static double point(const reader *r) {
    static const char expected[] = "a duration before now such as \"15m\", or a time";
    int64_t ns;
    const char *p = lua_type(r->L, -1) == LUA_TSTRING ? lua_tostring(r->L, -1) : NULL;
    if (p && strlen(p) > 10 && sm_time_parse(p, &ns, NULL) == SM_OK)
        return (double)ns / 1e9;
    double s = seconds(r, expected);
    if (s < 0 || s > 1e11)
        luaL_error(r->L, "%s: option \"%s\": expected %s", r->where, r->option, expected);
    return s <= LENGTH_MAX_S ? r->now - s : s;
}

static void read_option(reader *r) {
    query *q = r->out;
    if (strcmp(r->option, "query") == 0) {
        q->q = text(r, SM_DQL_QUERY_MAX, "the text of a query");
    } else if (strcmp(r->option, "since") == 0) {
        q->since = point(r);
    } else if (strcmp(r->option, "until_") == 0) {
        q->until = point(r);
    } else if (strcmp(r->option, "interval") == 0) {
        q->interval = seconds(r, "seconds or a duration such as \"1m\"");
        if (q->interval < 1 || q->interval > LENGTH_MAX_S)
            luaL_error(r->L, "%s: option \"interval\": expected at least 1 s", r->where);
    } else if (strcmp(r->option, "tz") == 0) {
        q->tz = text(r, SM_DQL_NAME_MAX, "the name of a time zone");
    } else if (strcmp(r->option, "type") == 0) {
        q->type = text(r, SM_DQL_NAME_MAX, "\"dql\" or \"promql\"");
        if (strcmp(q->type, "dql") != 0 && strcmp(q->type, "promql") != 0)
            luaL_error(r->L, "%s: option \"type\": expected \"dql\" or \"promql\", got \"%s\"",
                       r->where, q->type);
    } else {
        for (size_t i = 0; i < SM_ARRAY_LEN(whole_names); i++) {
            if (strcmp(r->option, whole_names[i]) != 0)
                continue;
            int ok = 0;
            if (lua_type(r->L, -1) != LUA_TNUMBER)
                wrong(r, "a whole number");
            q->whole[i] = lua_tointegerx(r->L, -1, &ok);
            if (!ok || q->whole[i] < 0 || q->whole[i] > SM_DQL_WHOLE_MAX)
                luaL_error(r->L, "%s: option \"%s\": expected a whole number of 0 to %d", r->where,
                           r->option, (int)SM_DQL_WHOLE_MAX);
        }
    }
}

static query blank(void) {
    query q = {.type = "dql", .since = (double)NAN, .until = (double)NAN};
    for (size_t i = 0; i < SM_ARRAY_LEN(whole_names); i++)
        q.whole[i] = -1;
    return q;
}

/* The table of options at idx; with `has_query`, the query is one of them, or its element 1. */
static void read_options(lua_State *L, int idx, const char *where, bool has_query, query *q) {
    reader r = {L, where, NULL, (double)sm_run_wall_ns(sm_run_of(L)) / 1e9, q};
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
        size_t i = 0, first = has_query ? 0 : 1, n = SM_ARRAY_LEN(names) - first;
        char hint[64];
        if (has_query && lua_isinteger(L, -2) && lua_tointeger(L, -2) == 1) {
            r.option = "query";
            read_option(&r);
            continue;
        }
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "%s: options: expected names, got %s as a key", where,
                       sm_luaval_typename(L, -2));
        const char *name = lua_tostring(L, -2);
        while (i < n && strcmp(names[first + i], name) != 0)
            i++;
        if (i == n && strcmp(name, "until") == 0)
            luaL_error(L, "%s: unknown option \"until\"; it is until_, as until is a word of Lua",
                       where);
        if (i == n)
            luaL_error(L, "%s: unknown option \"%s\"%s", where, name,
                       sm_str_hint(name, names + first, n, hint, sizeof hint));
        r.option = names[first + i];
        read_option(&r);
    }
    if (isnan(q->since) && !isnan(q->until))
        luaL_error(L, "%s: option \"until_\" needs since", where);
    if (!isnan(q->since) && isnan(q->until))
        q->until = r.now;
    if (!isnan(q->since) && q->since >= q->until)
        luaL_error(L, "%s: option \"since\": expected a time before %s", where,
                   "until_ (which is now unless told)");
}

/* ---- asking ---- */

static json_t *json_of(const query *q) {
    json_t *o = json_pack("{s:s, s:s, s:s*}", "q", q->q, "type", q->type, "tz", q->tz);
    if (!isnan(q->since)) {
        json_object_set_new(o, "from_ms", json_integer((json_int_t)llround(q->since * 1000)));
        json_object_set_new(o, "to_ms", json_integer((json_int_t)llround(q->until * 1000)));
    }
    if (q->interval > 0)
        json_object_set_new(o, "interval", json_integer((json_int_t)llround(q->interval)));
    for (size_t i = 0; i < SM_ARRAY_LEN(whole_names); i++)
        if (q->whole[i] >= 0)
            json_object_set_new(o, whole_names[i], json_integer(q->whole[i]));
    return o;
}

/* Asks n queries; the results are a->value, an array of n. False: nil, message, code pushed. */
static bool ask(lua_State *L, const query *list, size_t n, sm_answer *a) {
    json_t *queries = json_array();
    sm_err err = SM_ERR_INIT;
    for (size_t i = 0; i < n; i++)
        json_array_append_new(queries, json_of(&list[i]));
    if (!sm_asking(L, "dql", json_pack("{s:o}", "queries", queries), NULL, 0, a))
        return false;
    json_t *all = NULL;
    sm_rc rc = sm_json_parse(a->body ? a->body : "", a->body_n, SM_DQL_ANSWER_MAX, &all, &err);
    free(a->body);
    a->body = NULL;
    json_decref(a->value);
    a->value = all;
    if (rc == SM_OK && json_array_size(all) == n)
        return true;
    luaL_pushfail(L);
    lua_pushstring(L, rc == SM_OK ? "the answer does not fit the queries" : err.msg);
    lua_pushliteral(L, "protocol");
    return false;
}

/* query(q[, opts]) -> result */
static int dql_query(lua_State *L) {
    static const char where[] = "dql.query";
    query q = blank();
    sm_run_world(L, where);
    lua_settop(L, 2);
    if (lua_istable(L, 1))
        return luaL_error(L, "%s: query: expected a string, got table; write %s(text, options)",
                          where, where);
    if (lua_type(L, 1) != LUA_TSTRING)
        return luaL_error(L, "%s: query: expected a string, got %s", where,
                          sm_luaval_typename(L, 1));
    reader r = {L, where, "query", 0, &q};
    lua_pushvalue(L, 1);
    read_option(&r);
    lua_pop(L, 1);
    if (!lua_isnil(L, 2) && !lua_istable(L, 2))
        return luaL_error(L, "%s: options: expected a table such as {since = \"15m\"}, got %s",
                          where, sm_luaval_typename(L, 2));
    if (lua_istable(L, 2))
        read_options(L, 2, where, false, &q);
    sm_answer *a = sm_answer_push(L);
    if (!ask(L, &q, 1, a))
        return 3;
    const json_t *one = json_array_get(a->value, 0);
    const char *error = sm_json_str(one, "error", NULL);
    if (error) {
        luaL_pushfail(L);
        lua_pushstring(L, error);
        lua_pushstring(L, sm_json_str(one, "code", "failed"));
        return 3;
    }
    sm_dql_result_push(L, one);
    return 1;
}

/* all{ "q", {query = "q", since = …}, … } -> list in the same order: results, or {error=, code=} */
static int dql_all(lua_State *L) {
    sm_run_world(L, "dql.all");
    lua_settop(L, 1);
    if (!lua_istable(L, 1))
        return luaL_error(L, "dql.all: expected a list of queries, got %s",
                          sm_luaval_typename(L, 1));
    size_t n = (size_t)lua_rawlen(L, 1), keys = 0;
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1))
        if (!lua_isinteger(L, -2) || ++keys > n)
            return luaL_error(L, "dql.all: expected a plain list of queries (texts, or tables such "
                                 "as {query = \"…\", since = \"15m\"})");
    if (n > SM_DQL_QUERIES_MAX)
        return luaL_error(L, "dql.all: %d queries, but the most at once is %d", (int)n,
                          (int)SM_DQL_QUERIES_MAX);
    query *list = lua_newuserdatauv(L, (n + 1) * sizeof *list, 0);
    for (size_t i = 0; i < n; i++) {
        char where[32];
        snprintf(where, sizeof where, "dql.all[%zu]", i + 1);
        list[i] = blank();
        if (lua_rawgeti(L, 1, (lua_Integer)i + 1) == LUA_TTABLE) {
            read_options(L, lua_gettop(L), where, true, &list[i]);
        } else {
            reader r = {L, where, "query", 0, &list[i]};
            read_option(&r);
        }
        if (!list[i].q)
            return luaL_error(L, "%s: query is missing", where);
        lua_pop(L, 1);
    }
    sm_answer *a = sm_answer_push(L);
    if (n > 0 && !ask(L, list, n, a))
        return 3;
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(a->value, i);
        const char *error = sm_json_str(one, "error", NULL);
        if (error) {
            lua_createtable(L, 0, 2);
            lua_pushstring(L, error);
            lua_setfield(L, -2, "error");
            lua_pushstring(L, sm_json_str(one, "code", "failed"));
            lua_setfield(L, -2, "code");
        } else {
            sm_dql_result_push(L, one);
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static const luaL_Reg functions[] = {{"query", dql_query}, {"all", dql_all}, {NULL, NULL}};

int sm_bind_dql_open(lua_State *L) {
    luaL_newlib(L, functions);
    return 1;
}
