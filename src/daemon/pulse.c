/* pulse: whether a worker is well: its reader is pinged every few seconds.
 *
 * A worker's reader never runs Lua and never waits for a run, so one that does not answer is
 * stopped, poisoned or out of memory: it gets no new work, is drained and killed, and its runs are
 * repeated as after any death. Only time in which this process itself was awake counts against a
 * worker: a suspended machine or a stopped daemon kills nobody. Called by the dispatcher's timer;
 * owned by the loop.
 */
#include "base/clock.h"
#include "base/log.h"
#include "daemon/dispatch.h"
#include <stdio.h>

int64_t sm_pulse_ping(sm_worker *w) {
    json_t *head = json_pack("{s:s, s:I}", "t", "ping", "n", (json_int_t)++w->ping);
    bool too_long;
    if (sm_link_put(&w->link, head, NULL, 0, &too_long, NULL) == SM_OK)
        sm_link_flush(&w->link);
    json_decref(head);
    return w->ping;
}

/* It did not answer for too long. */
static void poison(sm_worker *w) {
    char why[sizeof w->plan];
    snprintf(why, sizeof why, "it did not answer for %g s", (double)w->silent_ms / 1000);
    sm_log(SM_LOG_WARN, "worker %d: %s; it gets no new work and is ended", (int)w->pid, why);
    w->poisoned = true;
    w->state = SM_WORKER_DRAINING;
    sm_pool_kill_in(w, w->jobs.n > 0 ? SM_DRAIN_MS : 0, SM_KILL_SILENT, why);
}

void sm_pulse_tick(sm_dispatcher *d, int64_t now) {
    if (now < d->pulse_ns) {
        sm_deadline_at(d, d->pulse_ns);
        return;
    }
    int64_t awake = (now - d->pulsed_ns) / SM_NS_PER_MS;
    if (awake > 2 * d->opt.pulse_ms)
        awake = d->opt.pulse_ms; /* we were not */
    d->pulsed_ns = now;
    d->pulse_ns = now + d->opt.pulse_ms * SM_NS_PER_MS;
    sm_deadline_at(d, d->pulse_ns);
    for (sm_worker *w = d->workers; w; w = w->next) {
        if (!w->hello || w->poisoned || w->state > SM_WORKER_DRAINING)
            continue;
        if (w->pong == w->ping) {
            w->silent_ms = 0;
            (void)sm_pulse_ping(w);
            continue;
        }
        w->silent_ms += awake;
        if (w->silent_ms >= SM_SILENT_PULSES * d->opt.pulse_ms)
            sm_link_drain(&w->link); /* its answer may lie there unread */
        if (w->silent_ms >= SM_SILENT_PULSES * d->opt.pulse_ms && w->state <= SM_WORKER_DRAINING)
            poison(w);
    }
    if (d->workers)
        sm_pool_fill(d);
}

void sm_pulse_recovered(sm_worker *w) {
    if (w->state != SM_WORKER_DRAINING || w->poisoned || w->outdated || w->d->stopping)
        return;
    sm_log(SM_LOG_DEBUG, "worker %d was only slow and serves again", (int)w->pid);
    w->state = SM_WORKER_READY;
    w->kill_ns = INT64_MAX;
    if (w->jobs.n == 0 && (w->kind == SM_WORKER_ALONE || w->own))
        sm_pool_retire(w);
    else
        sm_placing_ready(w);
}
