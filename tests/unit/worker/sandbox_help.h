/* sandbox_help: runs a text in the sandbox on the test's own thread, watched, without
 * worker/script: the chunk first, in phase LOADING, then its global function `run`. Include after
 * cmocka.h. */
#pragma once
#include "base/clock.h"
#include "base/mem.h"
#include "worker/sandbox.h"
#include "worker/vm.h"
#include "worker/watchdog.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct ran {
    const char *outcome; /* "ok" "failed" "timeout" "limit" "cancelled" "none" */
    char *error;         /* owned */
    char *traceback;     /* owned */
    char *result;        /* what run returned, as text; owned */
    char *log;           /* owned */
    size_t left;         /* bytes still counted after the state was closed */
    size_t peak;
    double seconds;
} ran;

static const char *outcome_of(sm_rc rc) {
    return rc == SM_OK        ? "ok"
           : rc == SM_TIMEOUT ? "timeout"
           : rc == SM_LIMIT   ? "limit"
           : rc == SM_CLOSED  ? "cancelled"
                              : "failed";
}

static int open_and_load(lua_State *L) {
    const sm_snapshot *snap = lua_touserdata(L, 1);
    sm_sandbox_open(L, snap);
    if (sm_sandbox_load(L, snap->display, snap->script.name, snap->script.text, snap->script.n))
        return lua_error(L);
    lua_call(L, 0, 0);
    return 0;
}

static void run_snapshot(const sm_snapshot *snap, const sm_limits *limits, sm_watchdog *dog,
                         ran *out) {
    sm_run run;
    memset(out, 0, sizeof *out);
    int64_t t0 = sm_mono_ns();
    sm_run_init(&run, "demo/h.run", "0123456789abcdef0123456789abcdef", limits, NULL);
    sm_vm_watched_by(dog);
    sm_vm_enter(&run);
    out->outcome = "none";
    lua_State *L = sm_vm_new(&run);
    if (L) {
        lua_pushcfunction(L, open_and_load);
        lua_pushlightuserdata(L, (void *)(uintptr_t)snap);
        sm_rc rc = sm_vm_call(L, 1, 0, &out->error, &out->traceback);
        if (rc == SM_OK && lua_getglobal(L, "run") == LUA_TFUNCTION) {
            run.phase = SM_PHASE_RUNNING;
            rc = sm_vm_call(L, 0, 1, &out->error, &out->traceback);
            if (rc == SM_OK && lua_type(L, -1) == LUA_TSTRING)
                out->result = sm_strdup(lua_tostring(L, -1));
        }
        out->outcome = outcome_of(rc);
        out->peak = run.mem_peak;
        sm_vm_close(L);
    }
    out->left = run.mem_used;
    sm_vm_leave();
    sm_vm_watched_by(NULL);
    out->log = sm_runlog_text(&run.log, NULL);
    sm_run_fini(&run);
    out->seconds = (double)(sm_mono_ns() - t0) / 1e9;
}

static void run_text(const char *text, const sm_limits *limits, sm_watchdog *dog, ran *out) {
    sm_snapshot snap = {"inspections", {"demo/h.lua", text, strlen(text)}, NULL, 0};
    run_snapshot(&snap, limits, dog, out);
}

static void ran_fini(ran *r) {
    free(r->error);
    free(r->traceback);
    free(r->result);
    free(r->log);
}
