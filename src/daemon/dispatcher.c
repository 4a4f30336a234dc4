/* dispatcher: the door to the worker processes: orders, answers, cancels, stopping, status.
 *
 * The work is done next door: job (one run or load), placing (who gets it), pool (processes), grave
 * (their end), link (a socket), arrival (frames in), asks (questions to services), pulse (is a
 * worker well?), deadline (the timer). It refuses orders once it is stopping: they end as
 * cancelled. `done` is never called from inside these functions. Called by runner, catalog, intake
 * and app; owned by the loop's thread.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/dispatch.h"
#include <stdlib.h>
#include <string.h>

/* From the end of the grace until workers are killed. */
enum { STOP_KILL_MS = 500 };

/* Jobs of one worker that a person is shown. */
enum { TELL_RUNS = 20 };

static const char stopping_text[] = "the program is stopping";

static void set_size(sm_dispatcher *d, int workers, int runs_per_worker, int max_running) {
    d->opt.workers = workers < 1 ? 1 : workers;
    d->opt.runs_per_worker = runs_per_worker < 1 ? 1 : runs_per_worker;
    d->opt.max_running = max_running < 1 ? 1 : max_running;
}

sm_rc sm_dispatcher_new(const sm_dispatcher_options *opt, sm_dispatcher **out, sm_err *err) {
    *out = NULL;
    sm_dispatcher *d = sm_calloc(1, sizeof *d);
    d->opt = *opt;
    d->self = sm_strdup(opt->self);
    d->display = sm_strdup(opt->display);
    set_size(d, opt->workers, opt->runs_per_worker, opt->max_running);
    if (d->opt.pulse_ms < 1)
        d->opt.pulse_ms = SM_PULSE_MS;
    d->wake_ns = d->cancel_ns = d->kill_all_ns = INT64_MAX;
    d->told_ns = d->full_ns = d->mercy_ns = INT64_MIN;
    d->deaths_ns = d->pulsed_ns = sm_mono_ns();
    d->pulse_ns = d->pulsed_ns + d->opt.pulse_ms * SM_NS_PER_MS;
    sm_map_init(&d->runs);
    (void)uv_timer_init(opt->loop, &d->timer);
    (void)uv_signal_init(opt->loop, &d->chld);
    d->timer.data = d->chld.data = d;
    d->handles = 2;
    *out = d;
    if (sm_pool_start(d, err))
        return SM_OK;
    return err ? err->code : SM_IO; /* the caller stops and frees it */
}

static int waiting(const sm_dispatcher *d) {
    return d->shared.n + d->waiting_alone.n + d->lane.n;
}

void sm_dispatcher_run(sm_dispatcher *d, const sm_run_order *order) {
    sm_job *j = sm_job_of_run(d, order);
    if (d->stopping) {
        sm_job_end_later(j, "cancelled", stopping_text);
        return;
    }
    if (waiting(d) >= SM_QUEUE_MAX) {
        char text[160];
        snprintf(text, sizeof text, "%d runs wait already (limits: workers = %d, max_running = %d)",
                 SM_QUEUE_MAX, d->opt.workers, d->opt.max_running);
        d->counts.refused++;
        sm_job_end_later(j, "skipped", text);
        return;
    }
    sm_job_move(j, j->lane ? &d->lane : j->alone ? &d->waiting_alone : &d->shared);
    sm_placing_all(d);
}

void sm_dispatcher_load(sm_dispatcher *d, sm_source *source, const json_t *limits,
                        sm_load_done done, void *ctx) {
    sm_job *j = sm_job_of_load(d, source, limits, done, ctx);
    if (d->stopping) {
        sm_job_end_later(j, "cancelled", stopping_text);
        return;
    }
    sm_job_move(j, &d->shared);
    sm_placing_all(d);
}

bool sm_dispatcher_answer(sm_dispatcher *d, const char *run_id, int64_t seq, const json_t *ids,
                          const char *error) {
    sm_job *j = sm_map_get(&d->runs, run_id);
    if (!j || !j->worker || !j->pending || j->seq != seq)
        return false;
    json_decref(j->pending);
    j->pending = NULL;
    json_t *head = json_pack("{s:s, s:s, s:I}", "t", ids ? "ack" : "nak", "run", run_id, "seq",
                             (json_int_t)seq);
    if (ids)
        json_object_set_new(head, "ids", json_deep_copy(ids));
    else
        json_object_set_new(head, "error",
                            sm_json_text(error ? error : "", error ? strlen(error) : 0));
    bool too_long;
    sm_err err = SM_ERR_INIT;
    if (sm_link_put(&j->worker->link, head, NULL, 0, &too_long, &err) != SM_OK) {
        sm_log(SM_LOG_ERROR, "worker %d does not read what it is sent and is ended: %s",
               (int)j->worker->pid, err.msg);
        sm_pool_kill(j->worker, SM_KILL_UNREAD, "it did not read what it was sent");
    } else {
        sm_link_flush(&j->worker->link);
    }
    json_decref(head);
    return true;
}

/* A worker's limits of the system are set when it is made. */
static bool outgrown(const sm_dispatcher_options *was, const sm_dispatcher_options *now) {
    return now->runs_per_worker > was->runs_per_worker || now->max_running > was->max_running ||
           now->run_bytes > was->run_bytes || now->burst_bytes > was->burst_bytes;
}

void sm_dispatcher_configure(sm_dispatcher *d, const sm_dispatcher_options *opt) {
    int starting;
    sm_dispatcher_options was = d->opt;
    set_size(d, opt->workers, opt->runs_per_worker, opt->max_running);
    d->opt.max_processes = opt->max_processes;
    d->opt.process_isolation = opt->process_isolation;
    d->opt.run_bytes = opt->run_bytes;
    d->opt.burst_bytes = opt->burst_bytes;
    if (d->stopping)
        return;
    bool all = outgrown(&was, &d->opt);
    for (sm_worker *w = d->workers; w; w = w->next) {
        if (all && w->kind != SM_WORKER_ALONE)
            sm_pool_outdated(w, NULL);
        else if (w->state == SM_WORKER_READY && w->kind == SM_WORKER_SHARED && w->jobs.n == 0 &&
                 sm_pool_count(d, SM_WORKER_SHARED, &starting) > d->opt.workers)
            sm_pool_retire(w);
    }
    sm_pool_fill(d);
    sm_placing_all(d);
}

void sm_dispatcher_cancel(sm_dispatcher *d, const char *run_id) {
    sm_job *j = sm_map_get(&d->runs, run_id);
    if (!j || j->cancelled)
        return;
    j->cancelled = true;
    if (!j->worker) {
        if (j->in != &d->ending)
            sm_job_end_later(j, "cancelled", d->stopping ? stopping_text : "cancelled");
        return;
    }
    json_t *head = json_pack("{s:s, s:s}", "t", "cancel", "run", run_id);
    bool too_long;
    if (sm_link_put(&j->worker->link, head, NULL, 0, &too_long, NULL) == SM_OK)
        sm_link_flush(&j->worker->link);
    json_decref(head);
    int64_t latest = sm_mono_ns() + SM_CANCEL_MS * SM_NS_PER_MS;
    if (j->deadline_ns > latest)
        j->deadline_ns = latest;
    sm_deadline_at(d, j->deadline_ns + SM_SLACK_MS * SM_NS_PER_MS);
}

void sm_dispatcher_stop(sm_dispatcher *d, int grace_ms, void (*stopped)(void *ctx), void *ctx) {
    int64_t until = sm_mono_ns() + (int64_t)grace_ms * SM_NS_PER_MS;
    if (grace_ms < 0)
        until = sm_mono_ns() - STOP_KILL_MS * SM_NS_PER_MS;
    if (!d->stopping) {
        d->stopping = true;
        d->stopped = stopped;
        d->stopped_ctx = ctx;
        d->cancel_ns = until;
        d->kill_all_ns = until + STOP_KILL_MS * SM_NS_PER_MS;
        while (d->shared.first)
            sm_job_end_later(d->shared.first, "cancelled", stopping_text);
        while (d->waiting_alone.first)
            sm_job_end_later(d->waiting_alone.first, "cancelled", stopping_text);
        while (d->lane.first)
            sm_job_end_later(d->lane.first, "cancelled", stopping_text);
        for (sm_worker *w = d->workers; w; w = w->next)
            if (w->jobs.n == 0)
                sm_pool_retire(w);
    } else if (until + STOP_KILL_MS * SM_NS_PER_MS < d->kill_all_ns) {
        /* Asked again, with less patience. */
        d->cancel_ns = d->cancel_ns == INT64_MAX ? INT64_MAX : until;
        d->kill_all_ns = until + STOP_KILL_MS * SM_NS_PER_MS;
    }
    sm_deadline_at(d, 0);
}

void sm_dispatcher_free(sm_dispatcher *d) {
    if (!d)
        return;
    sm_asks_forget(d);
    sm_map_fini(&d->runs);
    free(d->self);
    free(d->display);
    free(d);
}

void sm_dispatcher_count(const sm_dispatcher *d, sm_dispatcher_counts *out) {
    *out = d->counts;
    out->workers = 0;
    for (const sm_worker *w = d->workers; w; w = w->next)
        out->workers++;
    out->running = d->running;
    out->queued = waiting(d);
    out->max_running = d->opt.max_running;
    out->queue_max = SM_QUEUE_MAX;
}

/* By sm_worker_state. */
static const char *const states[] = {"starting", "ready", "draining", "retiring", "dying"};

json_t *sm_dispatcher_status(const sm_dispatcher *d) {
    json_t *workers = json_array(), *killed = json_object();
    const sm_dispatcher_counts *c = &d->counts;
    for (const sm_worker *w = d->workers; w; w = w->next)
        json_array_append_new(workers,
                              json_pack("{s:i, s:i, s:b, s:b, s:b, s:s}", "pid", (int)w->pid,
                                        "running", w->jobs.n, "alone", w->kind != SM_WORKER_SHARED,
                                        "lane", w->kind == SM_WORKER_LANE, "draining",
                                        w->state >= SM_WORKER_DRAINING, "state", states[w->state]));
    for (sm_kill k = 0; k < SM_KILL_REASONS; k++)
        json_object_set_new(killed, sm_kill_name(k), json_integer(c->killed[k]));
    json_t *totals = json_pack(
        "{s:I, s:I, s:I, s:o, s:I, s:I, s:I}", "spawned", (json_int_t)c->spawned, "spawn_failed",
        (json_int_t)c->spawn_failed, "died", (json_int_t)c->died, "killed", killed, "lost",
        (json_int_t)c->lost, "stuck", (json_int_t)c->stuck, "refused", (json_int_t)c->refused);
    return json_pack("{s:o, s:i, s:i, s:i, s:o}", "workers", workers, "running", d->running,
                     "queued", waiting(d), "max_running", d->opt.max_running, "totals", totals);
}

static double seconds_since(int64_t ns) {
    return (double)(sm_mono_ns() - ns) / (double)SM_NS_PER_S;
}

void sm_dispatcher_tell(const sm_dispatcher *d, void (*line)(void *ctx, const char *text),
                        void *ctx) {
    static const char *const kinds[] = {"shared", "alone", "lane"};
    char text[512];
    for (const sm_worker *w = d->workers; w; w = w->next) {
        snprintf(text, sizeof text, "worker %d (%s, %s, up %.0f s): %d under way", (int)w->pid,
                 kinds[w->kind], states[w->state], seconds_since(w->spawned_ns), w->jobs.n);
        line(ctx, text);
        int left = TELL_RUNS;
        const sm_job *j = w->jobs.first;
        for (; j && left > 0; j = j->next, left--) {
            if (j->is_load)
                snprintf(text, sizeof text, "  load of %.200s for %.1f s", j->source->file,
                         seconds_since(j->started_ns));
            else
                snprintf(text, sizeof text, "  %.200s (run %s) for %.1f s of %g s%s",
                         j->inspection->id, j->run_id, seconds_since(j->started_ns), j->limit_s,
                         j->pending ? ", waits for its events to be stored" : "");
            line(ctx, text);
        }
        if (j) {
            snprintf(text, sizeof text, "  and %d more", w->jobs.n - TELL_RUNS);
            line(ctx, text);
        }
    }
    snprintf(text, sizeof text, "%d under way of at most %d; %d wait", d->running,
             d->opt.max_running, waiting(d));
    line(ctx, text);
}
