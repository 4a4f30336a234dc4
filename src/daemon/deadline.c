/* deadline: the dispatcher's one timer: runs past their time, workers past theirs, jobs whose end
 * is due, respawning, and the phases of stopping.
 *
 * The timer fires at the earliest instant anybody asked for; each tick looks at everything that
 * runs (bounded by max_running) and plans the next one. Times are monotonic. Owned by the loop.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/dispatch.h"
#include <stdio.h>
#include <string.h>

void sm_deadline_at(sm_dispatcher *d, int64_t ns) {
    if (ns >= d->wake_ns || uv_is_closing((uv_handle_t *)&d->timer))
        return;
    d->wake_ns = ns;
    int64_t left = ns - sm_mono_ns();
    uv_update_time(d->opt.loop);
    (void)uv_timer_start(&d->timer, sm_deadline_tick,
                         left <= 0 ? 0 : (uint64_t)((left + SM_NS_PER_MS - 1) / SM_NS_PER_MS), 0);
}

static int64_t give_up_ns(const sm_job *j) {
    return j->deadline_ns + SM_SLACK_MS * SM_NS_PER_MS;
}

/* A job whose worker should have ended it: ends it here; the worker gets no new work. */
static void stuck(sm_worker *w, sm_job *j) {
    sm_dispatcher *d = w->d;
    char text[SM_ERR_MAX], why[sizeof w->plan];
    char ghost[40];
    const char *name = j->is_load ? j->source->file : j->inspection->id;
    snprintf(why, sizeof why, "%.150s did not return from a call", name);
    sm_log(SM_LOG_WARN, "worker %d: %s; it gets no new work", (int)w->pid, why);
    d->counts.stuck += !j->is_load;
    if (j->is_load)
        snprintf(ghost, sizeof ghost, "load %lld", (long long)j->n);
    else
        snprintf(ghost, sizeof ghost, "%s", j->run_id);
    sm_ghost *g = sm_calloc(1, sizeof *g);
    g->inspection = j->is_load || j->cancelled ? NULL : sm_inspection_ref(j->inspection);
    g->since_ns = sm_mono_ns();
    g->name = sm_strdup(name);
    g->ping = sm_pulse_ping(w);
    sm_ghost_free(sm_map_put(&w->ghosts, ghost, g));
    if (w->state == SM_WORKER_READY) {
        w->state = SM_WORKER_DRAINING;
        sm_pool_kill_in(w, SM_DRAIN_MS, SM_KILL_STUCK, why);
        if (w->kind == SM_WORKER_SHARED)
            sm_pool_fill(d); /* the replacement comes first */
    }
    if (j->is_load) {
        snprintf(text, sizeof text, "%s/%s: loading did not end within 1 s of CPU", d->display,
                 name);
        sm_job_end_now(j, "timeout", text, 0);
    } else if (j->cancelled) {
        sm_job_end_now(j, "cancelled", "it did not end when it was cancelled", 0);
    } else {
        snprintf(text, sizeof text,
                 "time limit of %g s reached in a call that does not return; see timeout",
                 j->limit_s);
        j->stuck = true;
        sm_job_end_now(j, "timeout", text, 0);
    }
    sm_placing_freed(w);
}

/* Names one that has not come back until now; the one that was named first may have. */
static void blame(sm_worker *w) {
    size_t pos = 0;
    const sm_ghost *g = sm_map_next(&w->ghosts, &pos, NULL);
    if (w->plan_kind == SM_KILL_STUCK && g)
        snprintf(w->plan, sizeof w->plan, "%.150s did not return from a call", g->name);
}

/* Ends one job or worker whose time is over; false when there is none. *next: the next instant. */
static bool one_due(sm_dispatcher *d, int64_t now, int64_t *next) {
    *next = INT64_MAX;
    if (now < d->mercy_ns) {
        *next = d->mercy_ns;
        return false;
    }
    for (sm_worker *w = d->workers; w; w = w->next) {
        if (w->kill_ns <= now) {
            blame(w);
            sm_pool_kill(w, w->plan_kind, w->plan);
            return true;
        }
        if (w->kill_ns < *next)
            *next = w->kill_ns;
        if (w->retire_ns <= now) {
            w->retire_ns = INT64_MAX;
            if (w->state == SM_WORKER_READY && w->jobs.n == 0)
                sm_pool_retire(w);
            return true;
        }
        if (w->retire_ns < *next)
            *next = w->retire_ns;
        for (sm_job *j = w->jobs.first; j; j = j->next) {
            if (give_up_ns(j) <= now && w->read_ns != now) {
                w->read_ns = now; /* its word may lie there unread */
                sm_link_drain(&w->link);
                return true;
            }
            if (give_up_ns(j) <= now) {
                stuck(w, j);
                return true;
            }
            if (give_up_ns(j) < *next)
                *next = give_up_ns(j);
        }
    }
    return false;
}

/* The phases of stopping that are due. */
static void stop_phases(sm_dispatcher *d, int64_t now) {
    if (d->cancel_ns <= now) {
        d->cancel_ns = INT64_MAX;
        for (sm_worker *w = d->workers; w; w = w->next)
            for (sm_job *j = w->jobs.first; j; j = j->next)
                if (!j->is_load)
                    sm_dispatcher_cancel(d, j->run_id);
    }
    if (d->kill_all_ns <= now) {
        d->kill_all_ns = INT64_MAX;
        for (sm_worker *w = d->workers; w; w = w->next)
            sm_pool_kill(w, SM_KILL_STOP, "the program is stopping");
    }
    if (d->cancel_ns != INT64_MAX)
        sm_deadline_at(d, d->cancel_ns);
    if (d->kill_all_ns != INT64_MAX)
        sm_deadline_at(d, d->kill_all_ns);
}

static void on_handle_closed(uv_handle_t *h) {
    sm_dispatcher *d = h->data;
    if (--d->handles == 0 && d->stopped)
        d->stopped(d->stopped_ctx);
}

void sm_deadline_tick(uv_timer_t *t) {
    sm_dispatcher *d = t->data;
    int64_t next;
    int64_t planned = d->wake_ns;
    d->wake_ns = INT64_MAX;
    int64_t now = sm_mono_ns();
    if (planned > 0 && planned < now - SM_ASLEEP_MS * SM_NS_PER_MS && !d->stopping)
        d->mercy_ns = now + SM_AWAKE_MS * SM_NS_PER_MS;
    /* What is ordered or cancelled in a callback ends in the next tick. */
    for (int n = d->ending.n; n > 0 && d->ending.first; n--) {
        sm_job *j = d->ending.first;
        sm_job_end_now(j, j->end_outcome, j->end_error, 0);
    }
    while (one_due(d, now, &next))
        ;
    if (next != INT64_MAX)
        sm_deadline_at(d, next);
    sm_pulse_tick(d, now);
    sm_grave_tell(d, now);
    sm_pool_fill(d);
    sm_placing_all(d);
    if (d->ending.n > 0)
        sm_deadline_at(d, 0);
    if (!d->stopping)
        return;
    stop_phases(d, now);
    if (!d->workers && d->ending.n == 0 && !uv_is_closing((uv_handle_t *)&d->timer)) {
        uv_close((uv_handle_t *)&d->timer, on_handle_closed);
        uv_close((uv_handle_t *)&d->chld, on_handle_closed);
    }
}
