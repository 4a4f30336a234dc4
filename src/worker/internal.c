/* internal: the module `selfmon.internal`, on which selfmon.testing is built: it loads a script and
 * runs a function of it in the real sandbox, with the world outside played by the test. Only in
 * `selfmon-lua lua` and `selfmon-lua test`.
 *
 *   load(text[, opts])             -> {inspections=, libs=, log=}, or nil, error, line
 *   resolve(schema, params)        -> values, or nil, error
 *   mask(text)                     -> text without the secrets of the run that is under way
 *   run(text, fn, params, opts)    -> {outcome=, error=, traceback=, events=, log=, seconds=, cpu=,
 *                                      peak=}
 *
 * opts: file ("demo/x.lua"; load takes it as a string too), display, id, ctx, libs {name = text},
 * timeout, cpu (seconds), memory, log (bytes), events, requests (counts), grants {list}, net,
 * secrets {name = text}, machine {what = reading}, clock (worker/internal_clock.c), http =
 * function(request) -> {status=, headers=, body=, timings=, tls=} or nil, err, code, or false and a
 * function: then the world is asked and the function shown what it said; ask = function(what, args,
 * body, where) -> value[, body] or nil, err, code. ctx gives single fields, the others are made up,
 * and so is an event's id. The run executes on the calling thread, under a watchdog of its own;
 * everything C holds hangs on a userdata, as any step may raise.
 */
#include "worker/internal.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/str.h"
#include "platform/params.h"
#include "worker/luacmd.h"
#include "worker/luaval.h"
#include "worker/vm.h"
#include "worker/watchdog.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char type_name[] = "selfmon.internal.trial";

static int trial_gc(lua_State *L) {
    sm_trial *t = luaL_checkudata(L, 1, type_name);
    if (t->run_made)
        sm_run_fini(&t->run);
    for (size_t i = 0; i < t->n_libs; i++) {
        free((char *)(uintptr_t)t->libs[i].name);
        free((char *)(uintptr_t)t->libs[i].text);
    }
    for (size_t i = 0; i < t->n_secrets; i++) {
        free(t->secrets[i].name);
        sm_secret_free(t->secrets[i].secret);
    }
    free(t->libs);
    free(t->secrets);
    free(t->text);
    free(t->file);
    free(t->display);
    free(t->id);
    json_decref(t->events);
    json_decref(t->machine);
    sm_loaded_fini(&t->loaded);
    sm_result_fini(&t->result);
    memset(t, 0, sizeof *t);
    return 0;
}

static sm_trial *trial_push(lua_State *L) {
    sm_trial *t = lua_newuserdatauv(L, sizeof *t, 1); /* the clock is its user value */
    memset(t, 0, sizeof *t);
    if (luaL_newmetatable(L, type_name)) {
        lua_pushcfunction(L, trial_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    t->outer = L;
    return t;
}

/* ---- options ---- */

/* The field as JSON, new reference; NULL when it is nil. Raises for what JSON cannot hold. */
static json_t *json_opt(lua_State *L, int opts, const char *key) {
    json_t *j = NULL;
    sm_err err = SM_ERR_INIT;
    if (lua_getfield(L, opts, key) != LUA_TNIL && sm_luaval_to_json(L, -1, &j, &err) != SM_OK)
        luaL_error(L, "%s: %s", key, err.msg);
    lua_pop(L, 1);
    return j;
}

static char *text_opt(lua_State *L, int opts, const char *key, const char *def) {
    lua_getfield(L, opts, key);
    char *copy = sm_strdup(luaL_optstring(L, -1, def));
    lua_pop(L, 1);
    return copy;
}

static double number_opt(lua_State *L, int opts, const char *key, double def) {
    lua_getfield(L, opts, key);
    double v = luaL_optnumber(L, -1, def);
    lua_pop(L, 1);
    return v;
}

/* Pushes the table in field `key`, an empty one when it is nil; returns how many fields it has. */
static size_t table_opt(lua_State *L, int opts, const char *key) {
    size_t n = 0;
    if (lua_getfield(L, opts, key) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
    luaL_checktype(L, -1, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        n++;
    return n;
}

static const char *pair_text(lua_State *L, const char *key, size_t *n) {
    if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "%s: expected names and texts", key);
    return lua_tolstring(L, -1, n);
}

static void read_libs(lua_State *L, int opts, sm_trial *t) {
    t->libs = sm_calloc(table_opt(L, opts, "libs") + 1, sizeof *t->libs);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        size_t n;
        const char *text = pair_text(L, "libs", &n);
        t->libs[t->n_libs++] = (sm_text){sm_strdup(lua_tostring(L, -2)), sm_memdup(text, n), n};
    }
    lua_pop(L, 1);
}

static void read_secrets(lua_State *L, int opts, sm_trial *t) {
    t->secrets = sm_calloc(table_opt(L, opts, "secrets") + 1, sizeof *t->secrets);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        size_t n;
        const char *text = pair_text(L, "secrets", &n);
        t->secrets[t->n_secrets].name = sm_strdup(lua_tostring(L, -2));
        t->secrets[t->n_secrets++].secret = sm_secret_new(text, n);
    }
    lua_pop(L, 1);
}

/* Text, file and libs of the snapshot. Texts are copied: the test's functions may run meanwhile. */
static void read_snapshot(lua_State *L, int opts, sm_trial *t) {
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    t->text = sm_memdup(text, n);
    t->file = text_opt(L, opts, "file", "test.lua");
    t->display = text_opt(L, opts, "display", "inspections");
    read_libs(L, opts, t);
    t->snap = (sm_snapshot){t->display, {t->file, t->text, n}, t->libs, t->n_libs};
}

/* Puts a table of options at index `at`, made from nil or (file) from a string. */
static void check_opts(lua_State *L, int at) {
    if (lua_isstring(L, at)) {
        lua_createtable(L, 0, 1);
        lua_pushvalue(L, at);
        lua_setfield(L, -2, "file");
        lua_replace(L, at);
    } else if (lua_isnoneornil(L, at)) {
        lua_settop(L, at - 1);
        lua_newtable(L);
    }
    luaL_checktype(L, at, LUA_TTABLE);
    lua_settop(L, at);
}

static void read_limits(lua_State *L, int opts, sm_limits *out) {
    sm_limits_default(out);
    out->wall_s = number_opt(L, opts, "timeout", out->wall_s);
    out->cpu_s = number_opt(L, opts, "cpu", out->cpu_s);
    double memory = number_opt(L, opts, "memory", (double)out->memory);
    if (memory >= 0 && memory < 1e12)
        out->memory = (size_t)memory;
    out->events = (int)number_opt(L, opts, "events", out->events);
    out->http_total = (int)number_opt(L, opts, "requests", out->http_total);
    out->log = (size_t)number_opt(L, opts, "log", (double)out->log);
}

/* ---- the run's host ---- */

static sm_rc host_report(void *ctx, sm_run *run, const json_t *events, json_t **ids, sm_err *err) {
    sm_trial *t = ctx;
    size_t i;
    json_t *event;
    (void)err;
    *ids = json_array();
    json_array_foreach((json_t *)(uintptr_t)events, i, event) {
        char hex[33], id[48];
        sm_id_new(sm_run_wall_ns(run), hex);
        snprintf(id, sizeof id, "event-%s", hex);
        json_t *copy = json_deep_copy(event);
        json_object_set_new(copy, "id", json_string(id));
        json_array_append_new(t->events, copy);
        json_array_append_new(*ids, json_string(id));
    }
    return SM_OK;
}

static json_t *host_machine(void *ctx, sm_run *run, const char *what, sm_err *err) {
    const sm_trial *t = ctx;
    (void)run;
    json_t *reading = json_object_get(t->machine, what);
    if (!reading)
        sm_err_set(err, SM_NOT_FOUND, "the test has no reading of \"%s\"; add t.machine{ %s = … }",
                   what, what);
    return json_incref(reading);
}

static sm_rc host_secret(void *ctx, sm_run *run, const char *name, const sm_secret **out,
                         sm_err *err) {
    const sm_trial *t = ctx;
    (void)run;
    for (size_t i = 0; i < t->n_secrets; i++) {
        if (strcmp(t->secrets[i].name, name) == 0) {
            *out = t->secrets[i].secret;
            return SM_OK;
        }
    }
    return sm_err_set(err, SM_NOT_FOUND,
                      "the test has no secret \"%s\"; add secrets = { [\"%s\"] = \"…\" } "
                      "to the options of t.run",
                      name, name);
}

/* ---- the module's functions ---- */

static json_t *default_ctx(const sm_trial *t) {
    json_int_t now = sm_run_wall_ns(&t->run) / SM_NS_PER_S;
    return json_pack("{s:s, s:s, s:I, s:s, s:i, s:s, s:s, s:I}", "id", t->id, "run_id",
                     "00000000000000000000000000000000", "slot", now, "trigger", "manual",
                     "attempt", 1, "account", "default", "node", "local", "deadline",
                     now + (json_int_t)t->run.limits.wall_s);
}

static void take_clock(lua_State *L, int opts, sm_trial *t) {
    if (lua_getfield(L, opts, "clock") != LUA_TNIL) {
        t->host.clock = sm_internal_clock_at(L, -1);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, opts + 1, 1); /* the trial stands behind the options */
    }
    lua_pop(L, 1);
}

static void init_run(lua_State *L, int params, int opts, const char *fn, sm_trial *t) {
    sm_limits limits;
    sm_err err = SM_ERR_INIT;
    sm_run *run = &t->run;
    read_limits(L, opts, &limits);
    size_t stem = strlen(t->file);
    if (sm_str_ends(t->file, ".lua"))
        stem -= 4;
    const char *id = lua_pushfstring(L, "%s.%s", lua_pushlstring(L, t->file, stem), fn);
    t->id = text_opt(L, opts, "id", id);
    lua_pop(L, 2);
    read_secrets(L, opts, t);
    t->machine = json_opt(L, opts, "machine");
    t->events = json_array();
    t->host = (sm_run_host){.ctx = t,
                            .report = host_report,
                            .fetch = sm_internal_fetch,
                            .ask = sm_internal_ask,
                            .net_asked = true,
                            .machine = t->machine ? host_machine : NULL,
                            .secret = host_secret};
    take_clock(L, opts, t);
    sm_run_init(run, t->id, "00000000000000000000000000000000", &limits, &t->host);
    t->run_made = true;
    if (!lua_isnoneornil(L, params) && sm_luaval_to_json(L, params, &run->params, &err) != SM_OK)
        luaL_error(L, "params: %s", err.msg);
    run->ctx = default_ctx(t);
    json_t *given = json_opt(L, opts, "ctx");
    json_object_update(run->ctx, given);
    json_decref(given);
    run->grants = json_opt(L, opts, "grants");
    run->net = json_opt(L, opts, "net");
    lua_createtable(L, 2, 0);
    lua_getfield(L, opts, "http");
    lua_rawseti(L, -2, SM_FAKE_HTTP);
    lua_getfield(L, opts, "ask");
    lua_rawseti(L, -2, SM_FAKE_ASK);
    lua_rawsetp(L, LUA_REGISTRYINDEX, t);
}

static void set_text(lua_State *L, const char *key, const char *text) {
    if (text)
        lua_pushstring(L, text);
    else
        lua_pushnil(L);
    lua_setfield(L, -2, key);
}

static void set_number(lua_State *L, const char *key, double v) {
    lua_pushnumber(L, v);
    lua_setfield(L, -2, key);
}

static int push_outcome(lua_State *L, sm_trial *t) {
    size_t n = 0;
    t->loaded.log = sm_runlog_text(&t->run.log, &n);
    lua_createtable(L, 0, 8);
    set_text(L, "outcome", t->result.outcome);
    set_text(L, "error", t->result.error);
    set_text(L, "traceback", t->result.traceback);
    set_text(L, "log", t->loaded.log);
    set_number(L, "seconds", t->result.seconds);
    set_number(L, "cpu", t->result.cpu);
    lua_pushinteger(L, (lua_Integer)t->result.peak);
    lua_setfield(L, -2, "peak");
    sm_luaval_push(L, t->events);
    lua_setfield(L, -2, "events");
    return 1;
}

/* The functions below watch what they run; nothing between new and free may raise. */
static sm_watchdog *watch(lua_State *L) {
    sm_watchdog *dog;
    sm_err err = SM_ERR_INIT;
    if (sm_watchdog_new(false, &dog, &err) != SM_OK)
        luaL_error(L, "%s", err.msg);
    sm_vm_watched_by(dog);
    return dog;
}

static void unwatch(sm_watchdog *dog) {
    sm_vm_watched_by(NULL);
    sm_watchdog_free(dog);
}

static int internal_run(lua_State *L) {
    luaL_checkstring(L, 1);
    const char *fn = luaL_checkstring(L, 2);
    lua_settop(L, 4);
    check_opts(L, 4);
    sm_trial *t = trial_push(L);
    read_snapshot(L, 4, t);
    init_run(L, 3, 4, fn, t);
    sm_watchdog *dog = watch(L);
    sm_script_run(&t->snap, fn, &t->run, &t->result);
    unwatch(dog);
    if (t->host.clock)
        t->host.clock->deadline_ns = INT64_MAX;
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, t);
    return push_outcome(L, t);
}

static int internal_load(lua_State *L) {
    sm_limits limits;
    luaL_checkstring(L, 1);
    lua_settop(L, 2);
    check_opts(L, 2);
    sm_trial *t = trial_push(L);
    read_snapshot(L, 2, t);
    read_limits(L, 2, &limits);
    sm_watchdog *dog = watch(L);
    sm_script_load(&t->snap, &limits, &t->loaded);
    unwatch(dog);
    if (t->loaded.error) {
        luaL_pushfail(L);
        lua_pushstring(L, t->loaded.error);
        lua_pushinteger(L, t->loaded.line);
        return 3;
    }
    lua_createtable(L, 0, 3);
    if (t->loaded.inspections)
        sm_luaval_push(L, t->loaded.inspections);
    else
        lua_newtable(L);
    lua_setfield(L, -2, "inspections");
    sm_luaval_push(L, t->loaded.libs);
    lua_setfield(L, -2, "libs");
    lua_pushlstring(L, t->loaded.log, t->loaded.log_n);
    lua_setfield(L, -2, "log");
    return 1;
}

static int internal_resolve(lua_State *L) {
    sm_err err = SM_ERR_INIT;
    lua_settop(L, 2);
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, 1);
    lua_setfield(L, 3, "schema");
    lua_pushvalue(L, 2);
    lua_setfield(L, 3, "params");
    sm_trial *t = trial_push(L); /* holds the JSON */
    t->events = json_opt(L, 3, "schema");
    t->machine = json_opt(L, 3, "params");
    json_t *values = NULL;
    /* An empty table is an empty list to luaval. */
    const json_t *given = json_is_object(t->machine) ? t->machine : NULL;
    if (json_array_size(t->machine) > 0)
        return luaL_error(L, "params: expected a table of named values, got a list");
    if (sm_params_resolve(t->events, given, NULL, NULL, &values, NULL, &err) != SM_OK) {
        luaL_pushfail(L);
        lua_pushstring(L, err.msg);
        return 2;
    }
    json_decref(t->machine);
    t->machine = values;
    sm_luaval_push(L, values);
    return 1;
}

/* mask(text) -> text without the secrets of the run that is under way */
static int internal_mask(lua_State *L) {
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    lua_settop(L, 1);
    if (!sm_mask_needed(text, n))
        return 1;
    char *masked = sm_mask(text, n, &n);
    lua_pushlstring(L, masked, n);
    free(masked);
    return 1;
}

int sm_internal_open(lua_State *L) {
    static const luaL_Reg functions[] = {{"clock", sm_internal_clock},
                                         {"decide", sm_internal_decide},
                                         {"load", internal_load},
                                         {"mask", internal_mask},
                                         {"resolve", internal_resolve},
                                         {"run", internal_run},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
