/* run: what one run of a script is and may, and how it is stopped (see run.h for the threads).
 *
 * Stopping is a flag, a wake-up and a signal; the raise itself happens on the run's own thread, in
 * vm's hook or at the next call of a binding. Knows nothing about HTTP, events or frames.
 */
#include "worker/run.h"
#include "base/grant.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "worker/runclock.h"
#include "worker/vm.h"
#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void sm_limits_default(sm_limits *out) {
    *out = (sm_limits){.memory = (size_t)32 << 20,
                       .wall_s = 30,
                       .cpu_s = 10,
                       .log = (size_t)256 << 10,
                       .events = 1000,
                       .http_parallel = 64,
                       .http_total = 1000,
                       .http_body = (size_t)8 << 20};
}

void sm_run_init(sm_run *run, const char *id, const char *run_id, const sm_limits *limits,
                 const sm_run_host *host) {
    memset(run, 0, sizeof *run);
    run->id = sm_strdup(id);
    run->run_id = sm_strdup(run_id);
    if (limits)
        run->limits = *limits;
    else
        sm_limits_default(&run->limits);
    run->host = host;
    run->phase = SM_PHASE_LOADING;
    run->thread = pthread_self();
    run->started_ns = sm_mono_ns();
    run->deadline_ns = INT64_MAX;
    run->cpu_start_ns = sm_thread_cpu_ns();
    sm_runlog_init(&run->log, run->started_ns);
    pthread_mutex_init(&run->mu, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&run->cv, &attr);
    pthread_condattr_destroy(&attr);
}

void sm_run_fini(sm_run *run) {
    free(run->id);
    free(run->run_id);
    json_decref(run->ctx);
    json_decref(run->params);
    json_decref(run->grants);
    json_decref(run->net);
    free(run->trace);
    if (run->trust)
        run->trust_free(run->trust);
    sm_runlog_fini(&run->log);
    pthread_cond_destroy(&run->cv);
    pthread_mutex_destroy(&run->mu);
    memset(run, 0, sizeof *run);
}

sm_run *sm_run_of(lua_State *L) {
    sm_run *run;
    memcpy(&run, lua_getextraspace(L), sizeof run);
    return run;
}

void sm_run_stop(sm_run *run, sm_stop why) {
    int none = SM_STOP_NONE;
    atomic_compare_exchange_strong(&run->stop, &none, (int)why);
    pthread_mutex_lock(&run->mu);
    pthread_cond_broadcast(&run->cv);
    if (run->entered && !pthread_equal(run->thread, pthread_self()))
        pthread_kill(run->thread, SM_VM_SIGNAL);
    pthread_mutex_unlock(&run->mu);
}

void sm_run_check(lua_State *L) {
    if (atomic_load(&sm_run_of(L)->stop) != SM_STOP_NONE)
        sm_vm_raise_stop(L);
}

bool sm_run_wait(sm_run *run, int64_t until_ns) {
    if (atomic_load(&run->stop) != SM_STOP_NONE)
        return false;
    int64_t until = until_ns < run->deadline_ns ? until_ns : run->deadline_ns;
    if (until == INT64_MAX) {
        pthread_cond_wait(&run->cv, &run->mu);
    } else {
        struct timespec ts = {.tv_sec = (time_t)(until / SM_NS_PER_S),
                              .tv_nsec = (long)(until % SM_NS_PER_S)};
        pthread_cond_timedwait(&run->cv, &run->mu, &ts);
    }
    int64_t now = sm_mono_ns();
    if (now >= run->deadline_ns) {
        int none = SM_STOP_NONE;
        atomic_compare_exchange_strong(&run->stop, &none, SM_STOP_TIMEOUT);
    }
    return atomic_load(&run->stop) == SM_STOP_NONE && now < until_ns;
}

void sm_run_world(lua_State *L, const char *name) {
    if (sm_run_of(L)->phase == SM_PHASE_LOADING)
        luaL_error(L, "%s cannot be called while a script is loading; call it inside the function",
                   name);
    sm_run_check(L);
}

void sm_run_permission(lua_State *L, const char *permission) {
    const sm_run *run = sm_run_of(L);
    if (!sm_grant_covers(run->grants, permission))
        luaL_error(L, "permission \"%s\" is not granted to %s: add it to grant in selfmon.conf.lua",
                   permission, run->id);
}

void sm_run_log(lua_State *L, const char *level, const char *text, size_t n) {
    sm_run *run = sm_run_of(L);
    if (run->phase == SM_PHASE_LOADING && run->run_id[0])
        return;
    if (run->host && run->host->clock) /* the line tells the run's own time */
        run->log.started_ns =
            sm_mono_ns() - (run->host->clock->mono_ns - run->host->clock->started_ns);
    sm_runlog_add(&run->log, level, text, n);
    if (run->log.total > run->limits.log && run->phase != SM_PHASE_FREE) {
        sm_run_stop(run, SM_STOP_LOG);
        sm_run_check(L);
    }
}

/* A size as people write it: "32 MiB", "31.9 MiB", "256 KiB". */
static void size_text(size_t n, char *out, size_t cap) {
    bool mib = (double)n >= 1048576.0 - 52; /* what rounds to 1024 KiB is 1 MiB */
    const char *unit = mib ? "MiB" : "KiB";
    double v = (double)n / (mib ? 1048576.0 : 1024.0);
    double tenths = (double)(int64_t)(v * 10 + 0.5) / 10;
    snprintf(out, cap, tenths == (double)(int64_t)tenths ? "%.0f %s" : "%.1f %s", tenths, unit);
}

void sm_run_stop_text(const sm_run *run, char *out, size_t cap) {
    char a[32], b[32], c[32];
    switch ((sm_stop)atomic_load(&run->stop)) {
    case SM_STOP_NONE:
        snprintf(out, cap, "not stopped");
        return;
    case SM_STOP_TIMEOUT:
        snprintf(out, cap, "time limit of %g s reached; see timeout", run->limits.wall_s);
        return;
    case SM_STOP_CPU:
        snprintf(out, cap, "CPU limit of %g s reached (used %.2f s); see limits.cpu",
                 run->limits.cpu_s,
                 (double)(sm_thread_cpu_ns() - run->cpu_start_ns) / (double)SM_NS_PER_S);
        return;
    case SM_STOP_MEMORY:
        size_text(run->limits.memory, a, sizeof a);
        size_text(run->mem_peak, b, sizeof b);
        size_text(run->mem_asked, c, sizeof c);
        if (run->mem_asked >= (size_t)1 << 20)
            snprintf(out, cap,
                     "memory limit of %s reached (peak %s, then %s more asked for); see "
                     "limits.memory",
                     a, b, c);
        else
            snprintf(out, cap, "memory limit of %s reached (peak %s); see limits.memory", a, b);
        return;
    case SM_STOP_EVENTS:
        snprintf(out, cap, "limit of %d events reached (%d reported); see limits.events",
                 run->limits.events, run->events);
        return;
    case SM_STOP_HTTP:
        snprintf(out, cap,
                 "limit of %d requests reached (%d asked for, over HTTP and selfmon.net); see "
                 "limits.http",
                 run->limits.http_total, run->http_count);
        return;
    case SM_STOP_LOG:
        size_text(run->limits.log, a, sizeof a);
        size_text(run->log.total, b, sizeof b);
        snprintf(out, cap, "log limit of %s reached (%s written); see limits.log", a, b);
        return;
    case SM_STOP_CANCELLED:
        snprintf(out, cap, "the run was cancelled");
        return;
    }
}
