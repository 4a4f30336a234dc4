/* bind_host: the module `selfmon.host` (docs/modules/host.md): readings of this machine, read-only.
 *
 * Each function answers a table (uptime a number, name a text) or nil, sentence, code. They may not
 * be called while a script loads. The readings come from the run's host when it has its own
 * (selfmon.testing), else from hostinfo; cpu() waits for its interval, blocking only this run. What
 * is asked of the daemon is in bind_hostproc and bind_hostfile. Runs on the run's thread.
 */
#include "worker/bind_hostparts.h"
#include "worker/hostinfo.h"
#include "worker/hostopts.h"
#include "worker/luaval.h"
#include "worker/modules.h"
#include "worker/run.h"
#include "base/clock.h"
#include "base/str.h"
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const double INTERVAL_DEFAULT = 0.2, INTERVAL_MIN = 0.01, INTERVAL_MAX = 60;

static int fail(lua_State *L, const sm_err *err) {
    lua_pushnil(L);
    lua_pushstring(L, err->msg[0] ? err->msg : "this machine does not say");
    lua_pushstring(L, sm_rc_name(err->code ? err->code : SM_NOT_FOUND));
    return 3;
}

bool sm_bind_host_own(lua_State *L) {
    const sm_run *run = sm_run_of(L);
    return run && run->host && run->host->machine;
}

json_t *sm_bind_host_reading(lua_State *L, const char *what, sm_err *err) {
    sm_run *run = sm_run_of(L);
    if (sm_bind_host_own(L)) {
        return run->host->machine(run->host->ctx, run, what, err);
    }
    return sm_hostinfo_read(what, err);
}

int sm_bind_host_push(lua_State *L, const json_t *j, const sm_err *err) {
    if (!j) {
        return fail(L, err);
    }
    sm_luaval_push(L, j);
    return 1;
}

/* Readings that are a function of the same name, without arguments. */
static const char *const simple_names[] = {
    "memory",   "load",       "disks",     "mounts",  "uptime",     "name",
    "pressure", "open_files", "conntrack", "disk_io", "interfaces",
};

static int simple(lua_State *L) {
    const char *what = simple_names[lua_tointeger(L, lua_upvalueindex(1))];
    char name[40];
    luaL_argcheck(L, lua_isnone(L, 1), 1, "expected no argument");
    snprintf(name, sizeof name, "host.%s", what);
    sm_run_world(L, name);
    sm_err err = SM_ERR_INIT;
    json_t **j = sm_hostjson_push(L);
    *j = sm_bind_host_reading(L, what, &err);
    return sm_bind_host_push(L, *j, &err);
}

/* Waits inside the run; without one, plainly. */
static void wait_for(lua_State *L, double s) {
    sm_run *run = sm_run_of(L);
    int64_t until = sm_mono_ns() + (int64_t)(s * 1e9);
    if (!run || run->phase == SM_PHASE_FREE) {
        struct timespec left = {(time_t)s, (long)((s - (double)(time_t)s) * 1e9)};
        nanosleep(&left, NULL);
        return;
    }
    pthread_mutex_lock(&run->mu);
    while (sm_mono_ns() < until && sm_run_wait(run, until)) {
    }
    pthread_mutex_unlock(&run->mu);
    sm_run_check(L);
}

/* cpu([{interval = seconds}]) */
static double interval_of(lua_State *L) {
    static const char *const names[] = {"interval"};
    if (lua_isnoneornil(L, 1)) {
        return INTERVAL_DEFAULT;
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        if (strcmp(key, names[0]) != 0) {
            char hint[64];
            sm_str_hint(key, names, 1, hint, sizeof hint);
            luaL_error(L, "host.cpu: unknown option \"%s\"%s", key, hint);
        }
        lua_pop(L, 1);
    }
    lua_pushliteral(L, "interval");
    lua_rawget(L, 1);
    int isnum = 1;
    double s = lua_isnil(L, -1) ? INTERVAL_DEFAULT : lua_tonumberx(L, -1, &isnum);
    if (!isnum || !(s >= INTERVAL_MIN && s <= INTERVAL_MAX)) {
        luaL_error(L, "host.cpu: interval: expected seconds from 0.01 to 60");
    }
    lua_pop(L, 1);
    return s;
}

static int host_cpu(lua_State *L) {
    luaL_argcheck(L, lua_gettop(L) <= 1, 2, "expected at most 1 argument");
    double s = interval_of(L);
    sm_run_world(L, "host.cpu");
    sm_err err = SM_ERR_INIT;
    json_t **before = sm_hostjson_push(L);
    *before = sm_bind_host_reading(L, "cpu", &err);
    if (!*before || sm_bind_host_own(L)) {
        return sm_bind_host_push(L, *before, &err);
    }
    wait_for(L, s);
    json_t **after = sm_hostjson_push(L);
    *after = sm_hostinfo_read("cpu", &err);
    if (!*after) {
        return fail(L, &err);
    }
    json_t **usage = sm_hostjson_push(L);
    *usage = sm_hostinfo_cpu_usage(*before, *after);
    return sm_bind_host_push(L, *usage, &err);
}

int sm_bind_host_open(lua_State *L) {
    lua_newtable(L);
    lua_pushcfunction(L, host_cpu);
    lua_setfield(L, -2, "cpu");
    for (size_t i = 0; i < SM_ARRAY_LEN(simple_names); i++) {
        lua_pushinteger(L, (lua_Integer)i);
        lua_pushcclosure(L, simple, 1);
        lua_setfield(L, -2, simple_names[i]);
    }
    sm_bind_hostproc_set(L);
    sm_bind_hostfile_push(L);
    lua_setfield(L, -2, "file");
    return 1;
}
