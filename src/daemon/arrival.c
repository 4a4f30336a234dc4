/* arrival: what comes from a worker, checked as from a stranger.
 *
 * Anything unexpected (an unknown frame, a run that was not dispatched there, a sequence out of
 * order, a member of a wrong type) breaks the stream, and the pool ends that worker. A run that was
 * finished without its worker (a ghost) may still speak: its word is dropped. Owned by the loop.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "daemon/dispatch.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LOG_MAX = 512 << 10, TEXT_MAX = 256 << 10, LACKS_MAX = 8 };

static sm_job *run_of(const sm_worker *w, const char *run_id) {
    sm_job *j = sm_map_get(&w->d->runs, run_id);
    return j && j->worker == w ? j : NULL;
}

/* A text member: absent and null are fine; *out NULL then. False: of another type. */
static bool text_of(const json_t *head, const char *key, const char **out) {
    const json_t *v = json_object_get(head, key);
    *out = json_string_value(v);
    return !v || json_is_null(v) || (json_is_string(v) && strlen(*out) <= TEXT_MAX);
}

/* A number that is not negative. */
static bool number_of(const json_t *head, const char *key, double most, double *out) {
    const json_t *v = json_object_get(head, key);
    *out = json_number_value(v);
    return json_is_number(v) && isfinite(*out) && *out >= 0 && *out <= most;
}

/* The body as text that anybody may store. *owned is freed by the caller. */
static const char *log_of(const sm_frame *f, char **owned, size_t *n) {
    const char *p = f->body ? f->body : "";
    *n = f->body_len > LOG_MAX ? LOG_MAX : f->body_len;
    *owned = NULL;
    if (!sm_utf8_valid(p, *n))
        p = *owned = sm_utf8_repair(p, *n, n, NULL);
    return p;
}

/* What this kernel does not have to confine workers: said by the first one for all. */
static void tell_lacks(sm_worker *w, const json_t *lacks) {
    size_t i;
    json_t *one;
    if (w->d->told_lacks)
        return;
    w->d->told_lacks = true;
    json_array_foreach(lacks, i, one) {
        if (i < LACKS_MAX && json_is_string(one))
            sm_log(SM_LOG_WARN, "%.200s", json_string_value(one));
    }
}

static sm_rc on_hello(sm_worker *w, const json_t *head, sm_err *err) {
    if (w->hello)
        return sm_err_set(err, SM_PROTO, "a second `hello`");
    w->hello = true;
    w->d->start_fails = 0;
    w->d->respawn_ns = 0;
    tell_lacks(w, json_object_get(head, "lacks"));
    if (w->state != SM_WORKER_STARTING)
        return SM_OK;
    w->state = SM_WORKER_READY;
    w->kill_ns = INT64_MAX;
    sm_log(SM_LOG_DEBUG, "worker %d is ready after %.1f ms (%s)", (int)w->pid,
           (double)(sm_mono_ns() - w->spawned_ns) / (double)SM_NS_PER_MS,
           sm_json_str(head, "lua", "?"));
    sm_placing_ready(w);
    return SM_OK;
}

/* The late word about something that was finished without it. */
static bool lay_ghost(sm_worker *w, const char *name) {
    sm_ghost *g = sm_map_del(&w->ghosts, name);
    if (!g)
        return false;
    sm_ghost_free(g);
    if (w->ghosts.len == 0)
        sm_pulse_recovered(w);
    return true;
}

static sm_rc on_pong(sm_worker *w, const json_t *head, sm_err *err) {
    const json_t *n = json_object_get(head, "n");
    if (!json_is_integer(n) || json_integer_value(n) <= w->pong || json_integer_value(n) > w->ping)
        return sm_err_set(err, SM_PROTO, "`pong` without a `ping`");
    w->pong = json_integer_value(n);
    w->silent_ms = 0;
    return SM_OK;
}

static sm_rc on_loaded(sm_worker *w, const sm_frame *f, sm_err *err) {
    const json_t *n = json_object_get(f->head, "n");
    char ghost[40], *owned;
    const char *error;
    size_t log_n;
    if (!json_is_integer(n))
        return sm_err_set(err, SM_PROTO, "`loaded` without a number");
    snprintf(ghost, sizeof ghost, "load %lld", (long long)json_integer_value(n));
    if (lay_ghost(w, ghost))
        return SM_OK;
    sm_job *j = w->jobs.first;
    while (j && !(j->is_load && j->n == json_integer_value(n)))
        j = j->next;
    if (!j)
        return sm_err_set(err, SM_PROTO, "`loaded` for a request it was not sent");
    if (!text_of(f->head, "error", &error))
        return sm_err_set(err, SM_PROTO, "`loaded` with a bad error");
    if (!error && !json_is_array(json_object_get(f->head, "inspections")))
        return sm_err_set(err, SM_PROTO, "`loaded` without inspections");
    const char *log = log_of(f, &owned, &log_n);
    sm_job_finish_load(j, f->head, log, log_n);
    free(owned);
    sm_placing_freed(w);
    return SM_OK;
}

static sm_rc on_report(sm_worker *w, const json_t *head, sm_err *err) {
    const char *run_id = sm_json_str(head, "run", "");
    json_t *events = json_object_get(head, "events");
    const json_t *seq = json_object_get(head, "seq");
    if (sm_map_get(&w->ghosts, run_id))
        return SM_OK; /* nobody waits: its thread ends with the process */
    sm_job *j = run_of(w, run_id);
    if (!j)
        return sm_err_set(err, SM_PROTO, "`report` for a run that was not dispatched to it");
    if (!json_is_array(events) || !json_is_integer(seq))
        return sm_err_set(err, SM_PROTO, "`report` without events or number");
    if (j->pending || json_integer_value(seq) != j->seq + 1)
        return sm_err_set(err, SM_PROTO, "`report` out of order");
    j->seq++;
    j->reported = true;
    j->pending = json_incref(events);
    w->d->opt.report(w->d->opt.ctx, run_id, j->seq, events);
    return SM_OK;
}

static sm_rc on_result(sm_worker *w, const sm_frame *f, sm_err *err) {
    static const char *const outcomes[] = {"ok", "failed", "timeout", "limit", "cancelled"};
    const char *run_id = sm_json_str(f->head, "run", "");
    const char *outcome = sm_json_str(f->head, "outcome", "");
    double peak, events;
    sm_run_end end = {0};
    char *owned;
    if (lay_ghost(w, run_id))
        return SM_OK;
    sm_job *j = run_of(w, run_id);
    if (!j)
        return sm_err_set(err, SM_PROTO, "`result` for a run that was not dispatched to it");
    for (size_t i = 0; i < SM_ARRAY_LEN(outcomes); i++)
        if (strcmp(outcome, outcomes[i]) == 0)
            end.outcome = outcomes[i];
    if (!end.outcome)
        return sm_err_set(err, SM_PROTO, "`result` with an unknown outcome");
    if (!text_of(f->head, "error", &end.error) || !text_of(f->head, "traceback", &end.traceback))
        return sm_err_set(err, SM_PROTO, "`result` with a bad error or traceback");
    if (!number_of(f->head, "seconds", 1e6, &end.seconds) ||
        !number_of(f->head, "cpu", 1e6, &end.cpu) || !number_of(f->head, "peak", 1e15, &peak) ||
        !number_of(f->head, "events", 1e6, &events))
        return sm_err_set(err, SM_PROTO, "`result` with a bad number");
    end.peak = (int64_t)peak;
    end.events = (int)events;
    end.log = log_of(f, &owned, &end.log_n);
    sm_job_finish(j, &end);
    free(owned);
    sm_placing_freed(w);
    return SM_OK;
}

sm_rc sm_arrival_frame(void *worker, const sm_frame *f, sm_err *err) {
    sm_worker *w = worker;
    const char *t = sm_json_str(f->head, "t", "");
    if (w->muted)
        return SM_OK;
    if (strcmp(t, "hello") == 0)
        return on_hello(w, f->head, err);
    if (!w->hello)
        return sm_err_set(err, SM_PROTO, "it did not begin with `hello`");
    if (strcmp(t, "pong") == 0)
        return on_pong(w, f->head, err);
    if (strcmp(t, "loaded") == 0)
        return on_loaded(w, f, err);
    if (strcmp(t, "report") == 0)
        return on_report(w, f->head, err);
    if (strcmp(t, "result") == 0)
        return on_result(w, f, err);
    if (strcmp(t, "ask") == 0)
        return sm_asks_arrived(w, f, err);
    if (strcmp(t, "stale") == 0)
        return sm_pool_outdated(w, "resolver or certificate files have changed"), SM_OK;
    return sm_err_set(err, SM_PROTO, "an unknown frame `%.40s`", t);
}
