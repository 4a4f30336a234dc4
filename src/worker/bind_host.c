/* bind_host: the module `selfmon.host` (docs/modules/host.md): readings of this machine, read-only.
 *
 * Each function answers a table (uptime a number, name a text) or nil, sentence, code. They may not
 * be called while a script loads. The readings come from the run's host when it has its own
 * (selfmon.testing), else from hostinfo; cpu() waits for its interval, blocking only this run. JSON
 * that is being pushed hangs in a userdata, so a raise frees it. Runs on the run's thread.
 */
#include "worker/hostinfo.h"
#include "worker/luaval.h"
#include "worker/modules.h"
#include "worker/run.h"
#include "base/clock.h"
#include "base/str.h"
#include <lauxlib.h>
#include <string.h>
#include <time.h>

static const char holder_name[] = "selfmon.host reading";
static const double INTERVAL_DEFAULT = 0.2, INTERVAL_MIN = 0.01, INTERVAL_MAX = 60;

static int holder_gc(lua_State *L) {
    json_t **j = lua_touserdata(L, 1);
    json_decref(*j);
    *j = NULL;
    return 0;
}

static json_t **holder_push(lua_State *L) {
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

static int fail(lua_State *L, const sm_err *err) {
    lua_pushnil(L);
    lua_pushstring(L, err->msg[0] ? err->msg : "this machine does not say");
    lua_pushstring(L, sm_rc_name(err->code ? err->code : SM_NOT_FOUND));
    return 3;
}

static bool own_machine(lua_State *L) {
    const sm_run *run = sm_run_of(L);
    return run && run->host && run->host->machine;
}

/* A new reading, from where this run gets them. */
static json_t *reading(lua_State *L, const char *what, sm_err *err) {
    sm_run *run = sm_run_of(L);
    if (own_machine(L)) {
        return run->host->machine(run->host->ctx, run, what, err);
    }
    return sm_hostinfo_read(what, err);
}

static int push_reading(lua_State *L, json_t **j, const sm_err *err) {
    if (!*j) {
        return fail(L, err);
    }
    sm_luaval_push(L, *j);
    json_decref(*j);
    *j = NULL;
    return 1;
}

static int simple(lua_State *L, const char *what, const char *name) {
    luaL_argcheck(L, lua_isnone(L, 1), 1, "expected no argument");
    sm_run_world(L, name);
    sm_err err = SM_ERR_INIT;
    json_t **j = holder_push(L);
    *j = reading(L, what, &err);
    return push_reading(L, j, &err);
}

static int host_memory(lua_State *L) {
    return simple(L, "memory", "host.memory");
}

static int host_load(lua_State *L) {
    return simple(L, "load", "host.load");
}

static int host_disks(lua_State *L) {
    return simple(L, "disks", "host.disks");
}

static int host_mounts(lua_State *L) {
    return simple(L, "mounts", "host.mounts");
}

static int host_uptime(lua_State *L) {
    return simple(L, "uptime", "host.uptime");
}

static int host_name(lua_State *L) {
    return simple(L, "name", "host.name");
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
    json_t **before = holder_push(L);
    *before = reading(L, "cpu", &err);
    if (!*before || own_machine(L)) {
        return push_reading(L, before, &err);
    }
    wait_for(L, s);
    json_t **after = holder_push(L);
    *after = sm_hostinfo_read("cpu", &err);
    if (!*after) {
        return fail(L, &err);
    }
    json_t **usage = holder_push(L);
    *usage = sm_hostinfo_cpu_usage(*before, *after);
    return push_reading(L, usage, &err);
}

static const luaL_Reg functions[] = {
    {"cpu", host_cpu},       {"memory", host_memory}, {"load", host_load}, {"disks", host_disks},
    {"mounts", host_mounts}, {"uptime", host_uptime}, {"name", host_name}, {NULL, NULL},
};

int sm_bind_host_open(lua_State *L) {
    luaL_newlib(L, functions);
    return 1;
}
