/* job: one run or one load on its way: waiting, in a worker, ended.
 *
 * It makes the frame, and it is the only place that calls `done`: finishing detaches the job from
 * every list and index first, so that a callback may order, cancel or stop. Owned by the loop.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "daemon/dispatch.h"
#include <stdlib.h>
#include <string.h>

static void detach(sm_job *j) {
    sm_job_list *l = j->in;
    if (!l)
        return;
    if (j->prev)
        j->prev->next = j->next;
    else
        l->first = j->next;
    if (j->next)
        j->next->prev = j->prev;
    else
        l->last = j->prev;
    l->n--;
    j->prev = j->next = NULL;
    j->in = NULL;
}

void sm_job_move(sm_job *j, sm_job_list *to) {
    detach(j);
    j->prev = to->last;
    if (to->last)
        to->last->next = j;
    else
        to->first = j;
    to->last = j;
    to->n++;
    j->in = to;
}

/* Takes the job out of its worker's books. */
static void leave_worker(sm_job *j) {
    sm_worker *w = j->worker;
    if (!w)
        return;
    if (j->is_load)
        w->loads--;
    else
        j->d->running--;
    sm_asks_run_gone(j);
    j->worker = NULL;
}

/* Secrets leave no copy here: jansson frees without wiping. */
void sm_job_drop_secrets(sm_job *j) {
    const char *name;
    json_t *v;
    if (j->secrets && j->secrets->refcount == 1)
        json_object_foreach(j->secrets, name, v) if (json_is_string(v) && v->refcount == 1)
            explicit_bzero((char *)(uintptr_t)json_string_value(v), json_string_length(v));
    json_decref(j->secrets);
    j->secrets = NULL;
}

static void free_job(sm_job *j) {
    sm_job_drop_secrets(j);
    sm_source_unref(j->source);
    if (j->inspection)
        sm_inspection_unref(j->inspection);
    json_decref(j->params);
    json_decref(j->ctx);
    json_decref(j->net);
    json_decref(j->pending);
    json_decref(j->limits);
    free(j->key);
    free(j->end_outcome);
    free(j->end_error);
    free(j);
}

sm_job *sm_job_of_run(sm_dispatcher *d, const sm_run_order *order) {
    sm_job *j = sm_calloc(1, sizeof *j);
    j->d = d;
    j->attempt = 1;
    j->trace = order->trace;
    j->alone = order->alone || d->opt.process_isolation;
    j->lane = order->lane;
    j->limit_s = order->inspection->timeout;
    memcpy(j->run_id, order->run_id, sizeof j->run_id);
    j->run_id[32] = 0;
    j->inspection = sm_inspection_ref(order->inspection);
    j->source = sm_source_ref(order->inspection->source);
    j->key = sm_json_dump(order->inspection->grants, NULL);
    j->params = order->params;
    j->ctx = order->ctx;
    j->net = json_incref(order->net);
    j->secrets = order->secrets;
    j->done = order->done;
    j->done_ctx = order->done_ctx;
    j->queued_ns = sm_mono_ns();
    sm_map_put(&d->runs, j->run_id, j);
    return j;
}

sm_job *sm_job_of_load(sm_dispatcher *d, sm_source *source, const json_t *limits, sm_load_done done,
                       void *ctx) {
    sm_job *j = sm_calloc(1, sizeof *j);
    j->d = d;
    j->is_load = true;
    j->attempt = 1;
    j->limit_s = SM_LOAD_MS / 1000.0;
    j->n = ++d->loads_made;
    j->source = sm_source_ref(source);
    j->limits = json_deep_copy(limits);
    j->load_done = done;
    j->done_ctx = ctx;
    return j;
}

void sm_job_finish(sm_job *j, const sm_run_end *end) {
    sm_worker *w = j->worker;
    sm_run_end mine = *end;
    mine.reported = j->reported;
    mine.stuck = j->stuck;
    mine.foreign = j->foreign;
    mine.alone = w ? w->kind != SM_WORKER_SHARED : j->alone;
    mine.worker_pid = w ? (int)w->pid : 0;
    mine.queued = j->started_ns ? (double)(j->started_ns - j->queued_ns) / (double)SM_NS_PER_S : -1;
    leave_worker(j);
    detach(j);
    if (sm_map_get(&j->d->runs, j->run_id) == j)
        sm_map_del(&j->d->runs, j->run_id);
    if (j->done)
        j->done(j->done_ctx, &mine);
    free_job(j);
}

void sm_job_finish_load(sm_job *j, const json_t *head, const char *log, size_t log_n) {
    leave_worker(j);
    detach(j);
    if (j->load_done)
        j->load_done(j->done_ctx, head, log, log_n);
    free_job(j);
}

void sm_job_end_later(sm_job *j, const char *outcome, const char *error) {
    free(j->end_outcome);
    free(j->end_error);
    j->end_outcome = sm_strdup(outcome);
    j->end_error = error ? sm_strdup(error) : NULL;
    leave_worker(j);
    sm_job_move(j, &j->d->ending);
    sm_deadline_at(j->d, 0);
}

void sm_job_end_now(sm_job *j, const char *outcome, const char *error, int signal) {
    if (j->is_load) {
        json_t *head = json_object();
        json_object_set_new(head, "error",
                            sm_json_text(error ? error : outcome, strlen(error ? error : outcome)));
        if (error && strncmp(error, SM_NO_WORKER, strlen(SM_NO_WORKER)) == 0)
            json_object_set_new(head, "unable", json_true());
        if (strcmp(outcome, "cancelled") == 0)
            json_object_set_new(head, "stopping", json_true());
        sm_job_finish_load(j, head, "", 0);
        json_decref(head);
        return;
    }
    sm_run_end end = {.outcome = outcome, .error = error, .signal = signal, .log = ""};
    if (j->started_ns)
        end.seconds = (double)(sm_mono_ns() - j->started_ns) / (double)SM_NS_PER_S;
    sm_job_finish(j, &end);
}

static json_t *libs_of(const sm_source *s) {
    json_t *libs = json_array();
    for (size_t i = 0; i < s->n_libs; i++)
        json_array_append_new(
            libs, json_pack("{s:s, s:s}", "name", s->libs[i].name, "hash", s->libs[i].blob->hash));
    return libs;
}

json_t *sm_job_frame(const sm_job *j) {
    json_t *head = json_pack("{s:s, s:s, s:s, s:s, s:o}", "t", j->is_load ? "load" : "run",
                             "display", j->d->display, "file", j->source->file, "hash",
                             j->source->script->hash, "libs", libs_of(j->source));
    if (j->is_load) {
        json_object_set_new(head, "n", json_integer(j->n));
        json_object_set(head, "limits", j->limits);
        return head;
    }
    const sm_inspection *p = j->inspection;
    json_t *ctx = json_copy(j->ctx);
    double at = (double)sm_wall_ns() / (double)SM_NS_PER_S + p->timeout;
    json_object_set_new(ctx, "deadline", json_real(at));
    json_object_set_new(head, "run", json_string(j->run_id));
    json_object_set_new(head, "id", json_string(p->id));
    json_object_set_new(head, "fn", json_string(p->fn));
    json_object_set(head, "params", j->params);
    json_object_set_new(head, "ctx", ctx);
    json_object_set(head, "limits", p->limits);
    json_object_set(head, "grants", p->grants);
    if (j->trace)
        json_object_set_new(head, "trace", json_true());
    json_object_set_new(head, "net", j->net ? json_incref(j->net) : json_null());
    json_object_set_new(head, "secrets", j->secrets ? json_incref(j->secrets) : json_object());
    return head;
}
