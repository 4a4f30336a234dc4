/* placing: which worker gets which waiting job.
 *
 * A worker serves one set of grants at a time: it is bound to the first run's and unbound when it
 * has no runs left. Grants to which no worker is bound, while none is free, get an extra worker
 * that goes again when it is idle. Waiting jobs are looked at in order of arrival; one that cannot
 * be placed does not hold back others with other grants. A job that asks for a worker of its own
 * gets a fresh one, which ends with it. The lane is one worker that takes one run after the other.
 * Owned by the loop; calls nobody back.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/dispatch.h"
#include <stdlib.h>
#include <string.h>

enum {
    LOOK_BEYOND = 64, /* waiting jobs looked at beyond the first that cannot be placed */
    FORGET_EVERY_S = 10
};

/* Sends a job to a ready worker. */
static void dispatch(sm_worker *w, sm_job *j) {
    sm_dispatcher *d = w->d;
    sm_err err = SM_ERR_INIT;
    bool too_long = false;
    sm_rc rc = sm_link_put_text(&w->link, j->source->script, &err);
    for (size_t i = 0; i < j->source->n_libs && rc == SM_OK; i++)
        rc = sm_link_put_text(&w->link, j->source->libs[i].blob, &err);
    if (rc == SM_OK) {
        json_t *head = sm_job_frame(j);
        rc = sm_link_put(&w->link, head, NULL, 0, &too_long, &err);
        json_decref(head);
    }
    if (too_long) {
        sm_job_end_later(j, "failed", err.msg);
        return;
    }
    if (rc != SM_OK) {
        sm_log(SM_LOG_ERROR, "worker %d does not read what it is sent and is ended: %s",
               (int)w->pid, err.msg);
        sm_pool_kill(w, SM_KILL_UNREAD, "it did not read what it was sent");
        return;
    }
    sm_job_move(j, &w->jobs);
    j->worker = w;
    j->started_ns = sm_mono_ns();
    j->deadline_ns = j->started_ns + (int64_t)(j->limit_s * (double)SM_NS_PER_S);
    if (j->is_load) {
        w->loads++;
    } else {
        d->running++;
        if (!w->key)
            w->key = sm_strdup(j->key);
    }
    sm_job_drop_secrets(j);
    sm_link_flush(&w->link);
    sm_deadline_at(d, j->deadline_ns + SM_SLACK_MS * SM_NS_PER_MS);
}

static int runs_of(const sm_worker *w) {
    return w->jobs.n - w->loads;
}

static bool open_to(const sm_worker *w, const sm_job *j) {
    if (w->state != SM_WORKER_READY || w->kind != SM_WORKER_SHARED ||
        sm_link_pending(&w->link) > SM_LINK_OUT_BUSY)
        return false;
    if (j->is_load)
        return w->loads < SM_LOADS_PER_WORKER;
    return runs_of(w) < w->d->opt.runs_per_worker && (!w->key || strcmp(w->key, j->key) == 0);
}

/* The least busy worker that may take j; NULL when there is none. */
static sm_worker *worker_for(const sm_dispatcher *d, const sm_job *j) {
    sm_worker *best = NULL;
    for (sm_worker *w = d->workers; w; w = w->next)
        if (open_to(w, j) && (!best || w->jobs.n < best->jobs.n))
            best = w;
    return best;
}

/* Whether an extra worker is due for j: nobody is bound to its grants, nobody is on the way. */
static bool wants_extra(const sm_dispatcher *d, const sm_job *j) {
    int starting;
    int n = sm_pool_count(d, SM_WORKER_SHARED, &starting);
    if (j->is_load || starting > 0 || n >= d->opt.workers + SM_WORKERS_EXTRA || d->start_fails > 0)
        return false;
    for (const sm_worker *w = d->workers; w; w = w->next)
        if (w->state == SM_WORKER_READY && w->kind == SM_WORKER_SHARED &&
            (!w->key || strcmp(w->key, j->key) == 0))
            return false;
    return true;
}

/* Whether a worker beyond the shared ones may be started. */
static bool has_room(const sm_dispatcher *d) {
    int n = 0;
    for (const sm_worker *w = d->workers; w; w = w->next)
        n++;
    return d->opt.max_processes <= 0 || n < d->opt.max_processes;
}

/* A ceiling is told where it bites, once a minute. */
static void tell_full(sm_dispatcher *d) {
    int64_t now = sm_mono_ns();
    if (d->full_ns != INT64_MIN && now - d->full_ns < SM_TELL_S * SM_NS_PER_S)
        return;
    d->full_ns = now;
    sm_log(SM_LOG_WARN, "%d runs are under way, as many as max_running allows; %d wait", d->running,
           d->shared.n);
}

static void place_shared(sm_dispatcher *d) {
    int beyond = 0;
    if (d->shared.n > 0 && d->running >= d->opt.max_running)
        tell_full(d);
    sm_job *next;
    for (sm_job *j = d->shared.first; j && beyond <= LOOK_BEYOND; j = next) {
        next = j->next;
        sm_worker *w = j->is_load || d->running < d->opt.max_running ? worker_for(d, j) : NULL;
        if (w) {
            dispatch(w, j);
            continue;
        }
        beyond++;
        if (wants_extra(d, j) && has_room(d) && sm_pool_may_spawn(d))
            (void)sm_pool_spawn(d, SM_WORKER_SHARED);
        if (d->start_fails >= SM_START_FAILS)
            return; /* what waited has been moved to `ending` */
    }
}

static void place_alone(sm_dispatcher *d) {
    int starting;
    for (sm_worker *w = d->workers; w && d->waiting_alone.first; w = w->next)
        if (w->kind == SM_WORKER_ALONE && w->state == SM_WORKER_READY && w->jobs.n == 0 &&
            (d->waiting_alone.first->is_load || d->running < d->opt.max_running))
            dispatch(w, d->waiting_alone.first);
    int most = d->opt.workers * d->opt.runs_per_worker;
    int n = sm_pool_count(d, SM_WORKER_ALONE, &starting);
    if (most > d->opt.max_running)
        most = d->opt.max_running;
    /* When a shared worker dies, all its runs come here at once: not all together, so that its
     * replacement is not the last to start. */
    while (starting < d->waiting_alone.n && starting < SM_BIRTHS_MAX && n < most && has_room(d) &&
           sm_pool_may_spawn(d)) {
        if (sm_pool_spawn(d, SM_WORKER_ALONE) != SM_OK)
            return;
        starting++;
        n++;
    }
}

/* One worker, whatever its state: while the last one dies, the next run waits. */
static void place_lane(sm_dispatcher *d) {
    sm_worker *w = d->workers;
    if (!d->lane.first)
        return;
    while (w && w->kind != SM_WORKER_LANE)
        w = w->next;
    if (!w) {
        if (has_room(d) && sm_pool_may_spawn(d))
            (void)sm_pool_spawn(d, SM_WORKER_LANE);
        return;
    }
    if (w->state != SM_WORKER_READY || w->jobs.n > 0 || d->running >= d->opt.max_running)
        return;
    sm_job *j = d->lane.first;
    if (j->alone && w->spent) {
        sm_pool_retire(w);
        return;
    }
    w->spent = true;
    w->own = j->alone;
    w->retire_ns = INT64_MAX;
    dispatch(w, j);
}

void sm_placing_all(sm_dispatcher *d) {
    if (d->stopping)
        return;
    place_shared(d);
    place_alone(d);
    place_lane(d);
}

static int holders(void *ctx, const sm_blob *b) {
    const sm_dispatcher *d = ctx;
    int n = 0;
    for (const sm_worker *w = d->workers; w; w = w->next)
        n += sm_link_has(&w->link, b);
    return n;
}

/* Now and then tells the workers which texts nobody uses any more. */
static void forget(sm_dispatcher *d) {
    int64_t now = sm_mono_ns();
    if (now - d->forgot_ns < FORGET_EVERY_S * SM_NS_PER_S)
        return;
    d->forgot_ns = now;
    for (sm_worker *w = d->workers; w; w = w->next)
        if (w->state == SM_WORKER_READY)
            sm_link_forget(&w->link, holders, d);
}

/* The lane's worker goes when the lane has been empty for a while. */
static void plan_retire(sm_worker *w) {
    w->retire_ns = sm_mono_ns() + SM_LANE_IDLE_MS * SM_NS_PER_MS;
    sm_deadline_at(w->d, w->retire_ns);
}

/* An extra worker goes when it is idle. */
static void trim(sm_worker *w) {
    int starting;
    if (w->state == SM_WORKER_READY && w->jobs.n == 0 && w->kind == SM_WORKER_SHARED &&
        sm_pool_count(w->d, SM_WORKER_SHARED, &starting) > w->d->opt.workers)
        sm_pool_retire(w);
}

void sm_placing_ready(sm_worker *w) {
    if (w->outdated) {
        sm_pool_outdated(w, NULL);
        return;
    }
    if (w->kind == SM_WORKER_ALONE && w->d->waiting_alone.n == 0)
        sm_pool_retire(w); /* what it was made for is gone */
    sm_placing_all(w->d);
    if (w->kind == SM_WORKER_LANE && w->state == SM_WORKER_READY && w->jobs.n == 0)
        plan_retire(w);
    trim(w);
}

void sm_placing_freed(sm_worker *w) {
    sm_dispatcher *d = w->d;
    if (runs_of(w) == 0) {
        free(w->key);
        w->key = NULL;
    }
    if (w->jobs.n == 0) {
        bool over = w->kind == SM_WORKER_ALONE || d->stopping || w->own;
        if (w->state == SM_WORKER_DRAINING && (w->poisoned || d->stopping))
            sm_pool_kill(w, w->plan_kind, w->plan);
        else if (w->outdated)
            sm_pool_retire(w);
        else if (w->state == SM_WORKER_DRAINING) { /* what it says within this time shows that it
                                                      only was slow */
            char why[sizeof w->plan];
            memcpy(why, w->plan, sizeof why);
            sm_pool_kill_in(w, SM_LATE_MS, w->plan_kind, why);
        } else if (w->state == SM_WORKER_READY && over)
            sm_pool_retire(w);
        else if (w->kind == SM_WORKER_LANE)
            plan_retire(w);
    }
    forget(d);
    sm_placing_all(d);
    trim(w);
}
