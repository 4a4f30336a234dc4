/* worker_job: one load or one run inside a worker, from its frame to the frame that answers it.
 *
 * It holds the texts of its snapshot, owns the run, and is the run's host: report sends a frame and
 * waits for the daemon's ack, secrets are those that came with the run. It trusts the daemon and
 * decides nothing about scheduling.
 *
 * THREADS. Made by the reader thread, then owned by the pool's thread that executes it. The reader
 * finds live runs by id: `w->mu` keeps them alive meanwhile, `run.mu` guards the answer.
 */
#include "worker/worker.h"
#include "base/mem.h"
#include "base/secret.h"
#include "worker/asking.h"
#include "worker/fetch.h"
#include "worker/tracing.h"
#include "worker/script.h"
#include "worker/vm.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct granted {
    char *name;
    sm_secret *secret;
} granted;

struct sm_wjob {
    sm_worker *w;
    json_t *head; /* the frame's */
    bool is_run;
    sm_held_text *script;
    sm_held_text **held; /* of the libs */
    sm_text *libs;
    size_t n_libs;
    sm_snapshot snap; /* borrows from the above */
    sm_limits limits;
    sm_run run; /* is_run */
    sm_run_host host;
    granted *secrets;
    size_t n_secrets;
    /* guarded by run.mu: the report that waits */
    json_int_t asked;    /* sequence number of the last report */
    json_int_t answered; /* of the last answer */
    json_t *ids;         /* ack */
    char *refused;       /* nak */
    /* guarded by run.mu: the question to a service that waits */
    json_int_t questions, answers;
    sm_answer answer;
    char *answer_error; /* instead of it */
};

static void read_limits(const json_t *j, sm_limits *out) {
    sm_limits_default(out);
    if (!json_is_object(j))
        return;
    out->memory = (size_t)sm_json_int(j, "memory", (int64_t)out->memory);
    out->wall_s = sm_json_num(j, "wall", out->wall_s);
    out->cpu_s = sm_json_num(j, "cpu", out->cpu_s);
    out->log = (size_t)sm_json_int(j, "log", (int64_t)out->log);
    out->events = (int)sm_json_int(j, "events", out->events);
    out->http_parallel = (int)sm_json_int(j, "http_parallel", out->http_parallel);
    out->http_total = (int)sm_json_int(j, "http_total", out->http_total);
    out->http_body = (size_t)sm_json_int(j, "http_body", (int64_t)out->http_body);
}

static void job_free(sm_wjob *job) {
    if (job->is_run)
        sm_run_fini(&job->run);
    for (size_t i = 0; i < job->n_secrets; i++) {
        free(job->secrets[i].name);
        sm_secret_free(job->secrets[i].secret);
    }
    free(job->secrets);
    for (size_t i = 0; i < job->n_libs; i++)
        sm_texts_release(job->w->texts, job->held[i]);
    sm_texts_release(job->w->texts, job->script);
    free(job->held);
    free(job->libs);
    json_decref(job->ids);
    free(job->refused);
    sm_answer_fini(&job->answer);
    free(job->answer_error);
    json_decref(job->head);
    free(job);
}

/* ---- the run's host ---- */

static sm_rc host_report(void *ctx, sm_run *run, const json_t *events, json_t **ids, sm_err *err) {
    sm_wjob *job = ctx;
    pthread_mutex_lock(&run->mu);
    json_int_t seq = ++job->asked;
    pthread_mutex_unlock(&run->mu);
    json_t *head = json_pack("{s:s, s:s, s:I, s:O}", "t", "report", "run", run->run_id, "seq", seq,
                             "events", events);
    sm_rc rc = sm_wlink_send(job->w->link, head, NULL, 0, err);
    json_decref(head);
    if (rc != SM_OK)
        return sm_err_wrap(err, "the events could not be handed over");
    pthread_mutex_lock(&run->mu);
    while (job->answered < seq && sm_run_wait(run, INT64_MAX))
        ;
    if (job->answered < seq) {
        rc = sm_err_set(err, SM_CLOSED, "the run was stopped before the events were stored");
    } else if (job->refused) {
        rc = sm_err_set(err, SM_FULL, "%s", job->refused);
    } else {
        *ids = job->ids;
        job->ids = NULL;
    }
    free(job->refused);
    job->refused = NULL;
    pthread_mutex_unlock(&run->mu);
    return rc;
}

static void host_fetch(void *ctx, sm_run *run, const sm_fetch_req *reqs, sm_fetch_res *res,
                       size_t n) {
    const sm_wjob *job = ctx;
    sm_fetch_perform(job->w->fetch, run, reqs, res, n);
    if (sm_json_bool(job->head, "trace", false))
        sm_tracing_http(run, reqs, res, n);
}

static sm_rc host_secret(void *ctx, sm_run *run, const char *name, const sm_secret **out,
                         sm_err *err) {
    const sm_wjob *job = ctx;
    (void)run;
    for (size_t i = 0; i < job->n_secrets; i++) {
        if (strcmp(job->secrets[i].name, name) == 0) {
            *out = job->secrets[i].secret;
            return SM_OK;
        }
    }
    return sm_err_set(err, SM_NOT_FOUND, "secret \"%s\" is not in the configuration", name);
}

static sm_rc host_ask(void *ctx, sm_run *run, const char *what, const json_t *args,
                      const void *body, size_t n, sm_answer *out, sm_err *err) {
    sm_wjob *job = ctx;
    pthread_mutex_lock(&run->mu);
    json_int_t number = ++job->questions;
    pthread_mutex_unlock(&run->mu);
    json_t *head = json_pack("{s:s, s:s, s:I, s:s, s:O}", "t", "ask", "run", run->run_id, "n",
                             number, "what", what, "args", args);
    sm_rc rc = sm_wlink_send(job->w->link, head, body, n, err);
    json_decref(head);
    if (rc != SM_OK) {
        snprintf(out->code, sizeof out->code, "too_large");
        return sm_err_wrap(err, "%s could not be asked", what);
    }
    pthread_mutex_lock(&run->mu);
    while (job->answers < number && sm_run_wait(run, INT64_MAX))
        ;
    if (job->answers < number) {
        rc = sm_err_set(err, SM_CLOSED, "the run was stopped before %s answered", what);
    } else {
        *out = job->answer;
        memset(&job->answer, 0, sizeof job->answer);
        if (job->answer_error)
            rc = sm_err_set(err, SM_DENIED, "%s", job->answer_error);
    }
    free(job->answer_error);
    job->answer_error = NULL;
    pthread_mutex_unlock(&run->mu);
    return rc;
}

/* Moves the texts of secrets out of the frame: the JSON's own copies are zeroed. */
static void take_secrets(sm_wjob *job) {
    json_t *from = json_object_get(job->head, "secrets");
    const char *name;
    json_t *value;
    job->secrets = sm_calloc(json_object_size(from) + 1, sizeof *job->secrets);
    json_object_foreach(from, name, value) {
        if (!json_is_string(value))
            continue;
        size_t n = json_string_length(value);
        granted *g = &job->secrets[job->n_secrets++];
        g->name = sm_strdup(name);
        g->secret = sm_secret_new(json_string_value(value), n);
        explicit_bzero((void *)(uintptr_t)json_string_value(value), n);
    }
    json_object_del(job->head, "secrets");
}

/* ---- from the frame ---- */

/* Holds the texts that the frame names; false when one is not here. */
static bool take_texts(sm_wjob *job) {
    const json_t *libs = json_object_get(job->head, "libs");
    size_t n = json_array_size(libs);
    job->script = sm_texts_hold(job->w->texts, sm_json_str(job->head, "hash", ""));
    job->held = sm_calloc(n + 1, sizeof(sm_held_text *));
    job->libs = sm_calloc(n + 1, sizeof *job->libs);
    for (size_t i = 0; i < n; i++) {
        const json_t *lib = json_array_get(libs, i);
        sm_held_text *held = sm_texts_hold(job->w->texts, sm_json_str(lib, "hash", ""));
        if (!held)
            return false;
        job->held[job->n_libs] = held;
        job->libs[job->n_libs++] = (sm_text){sm_json_str(lib, "name", ""), held->text, held->n};
    }
    if (!job->script)
        return false;
    job->snap = (sm_snapshot){
        .display = sm_json_str(job->head, "display", "inspections"),
        .script = {sm_json_str(job->head, "file", "?"), job->script->text, job->script->n},
        .libs = job->libs,
        .n_libs = job->n_libs};
    return true;
}

static void init_run(sm_wjob *job) {
    const json_t *head = job->head;
    sm_run *run = &job->run;
    job->host = (sm_run_host){.ctx = job,
                              .report = host_report,
                              .fetch = host_fetch,
                              .secret = host_secret,
                              .ask = host_ask};
    sm_run_init(run, sm_json_str(head, "id", ""), sm_json_str(head, "run", ""), &job->limits,
                &job->host);
    run->ctx = json_incref(json_object_get(head, "ctx"));
    run->params = json_incref(json_object_get(head, "params"));
    run->grants = json_incref(json_object_get(head, "grants"));
    json_t *net = json_object_get(head, "net");
    run->net = json_is_null(net) ? NULL : json_incref(net);
    take_secrets(job);
}

/* The frame that says that a job could not even begin. */
static json_t *refusal_frame(const json_t *head, bool is_run, const char *sentence) {
    if (!is_run)
        return json_pack("{s:s, s:I, s:s, s:i, s:[]}", "t", "loaded", "n",
                         (json_int_t)sm_json_int(head, "n", 0), "error", sentence, "line", 0,
                         "libs");
    return json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:i, s:i}", "t", "result", "run",
                     sm_json_str(head, "run", ""), "outcome", "failed", "error", sentence,
                     "seconds", 0.0, "cpu", 0.0, "peak", 0, "events", 0);
}

sm_wjob *sm_wjob_new(sm_worker *w, sm_frame *frame, json_t **refusal) {
    sm_wjob *job = sm_calloc(1, sizeof *job);
    job->w = w;
    job->head = frame->head;
    frame->head = NULL;
    bool is_run = strcmp(sm_json_str(job->head, "t", ""), "run") == 0;
    const char *run_id = sm_json_str(job->head, "run", "");
    const char *why = NULL;
    read_limits(json_object_get(job->head, "limits"), &job->limits);
    if (!take_texts(job))
        why = "the worker was not given the script's text";
    pthread_mutex_lock(&w->mu);
    if (!why && is_run && sm_map_get(&w->live, run_id))
        why = "the run is already under way";
    if (!why && is_run) {
        init_run(job);
        job->is_run = true;
        sm_map_put(&w->live, run_id, job);
    }
    pthread_mutex_unlock(&w->mu);
    if (!why)
        return job;
    *refusal = refusal_frame(job->head, is_run, why);
    job_free(job);
    return NULL;
}

static void unlist(sm_wjob *job) {
    pthread_mutex_lock(&job->w->mu);
    sm_map_del(&job->w->live, job->run.run_id);
    pthread_mutex_unlock(&job->w->mu);
}

void sm_wjob_refuse(sm_wjob *job, const char *sentence) {
    if (job->is_run)
        unlist(job);
    json_t *head = refusal_frame(job->head, job->is_run, sentence);
    sm_wlink_send(job->w->link, head, NULL, 0, NULL);
    json_decref(head);
    job_free(job);
}

/* ---- executing ---- */

/* Sets a text, repaired and masked; null when there is none. */
static void set_text(json_t *head, const char *key, const char *text) {
    if (!text) {
        json_object_set_new(head, key, json_null());
        return;
    }
    size_t n = strlen(text);
    char *masked = sm_mask_needed(text, n) ? sm_mask(text, n, &n) : NULL;
    json_object_set_new(head, key, sm_json_text(masked ? masked : text, n));
    free(masked);
}

/* True when it made its thread nice. */
static bool do_load(sm_wjob *job) {
    sm_loaded loaded;
    sm_err err = SM_ERR_INIT;
    sm_script_load(&job->snap, &job->limits, &loaded);
    json_int_t n = sm_json_int(job->head, "n", 0);
    json_t *head = json_pack("{s:s, s:I, s:O?}", "t", "loaded", "n", n, "libs", loaded.libs);
    if (loaded.error) {
        set_text(head, "error", loaded.error);
        json_object_set_new(head, "line", json_integer(loaded.line));
    } else if (loaded.inspections) {
        json_object_set(head, "inspections", loaded.inspections);
    } else {
        json_object_set_new(head, "inspections", json_array());
    }
    if (sm_wlink_send(job->w->link, head, loaded.log, loaded.log_n, &err) == SM_LIMIT) {
        json_decref(head);
        head = refusal_frame(job->head, false, "what the script registers is too large");
        sm_wlink_send(job->w->link, head, NULL, 0, NULL);
    }
    json_decref(head);
    bool niced = loaded.niced;
    sm_loaded_fini(&loaded);
    return niced;
}

static void do_run(sm_wjob *job) {
    sm_result result;
    size_t n = 0;
    sm_script_run(&job->snap, sm_json_str(job->head, "fn", "run"), &job->run, &result);
    unlist(job);
    char *log = sm_runlog_text(&job->run.log, &n);
    json_t *head =
        json_pack("{s:s, s:s, s:s, s:f, s:f, s:I, s:i}", "t", "result", "run", job->run.run_id,
                  "outcome", result.outcome, "seconds", result.seconds, "cpu", result.cpu, "peak",
                  (json_int_t)result.peak, "events", result.events);
    set_text(head, "error", result.error);
    set_text(head, "traceback", result.traceback);
    sm_wlink_send(job->w->link, head, log, n, NULL);
    json_decref(head);
    free(log);
    sm_result_fini(&result);
}

bool sm_wjob_do(void *ctx, void *arg) {
    sm_worker *w = ctx;
    sm_wjob *job = arg;
    bool niced = false;
    sm_vm_watched_by(w->dog);
    if (job->is_run) {
        do_run(job);
        niced = atomic_load(&job->run.niced);
    } else {
        niced = do_load(job);
    }
    job_free(job);
    return niced;
}

/* ---- from the reader thread ---- */

void sm_wjob_answer(sm_worker *w, const json_t *head) {
    bool ack = strcmp(sm_json_str(head, "t", ""), "ack") == 0;
    pthread_mutex_lock(&w->mu);
    sm_wjob *job = sm_map_get(&w->live, sm_json_str(head, "run", ""));
    if (job) {
        pthread_mutex_lock(&job->run.mu);
        json_int_t seq = sm_json_int(head, "seq", 0);
        if (seq == job->asked && job->answered < seq) {
            job->answered = seq;
            if (ack)
                job->ids = json_incref(json_object_get(head, "ids"));
            else
                job->refused = sm_strdup(sm_json_str(head, "error", "the events were refused"));
            pthread_cond_broadcast(&job->run.cv);
        }
        pthread_mutex_unlock(&job->run.mu);
    }
    pthread_mutex_unlock(&w->mu);
}

void sm_wjob_answered(sm_worker *w, sm_frame *frame) {
    pthread_mutex_lock(&w->mu);
    sm_wjob *job = sm_map_get(&w->live, sm_json_str(frame->head, "run", ""));
    if (job) {
        pthread_mutex_lock(&job->run.mu);
        json_int_t n = sm_json_int(frame->head, "n", 0);
        if (n == job->questions && job->answers < n) {
            const char *error = sm_json_str(frame->head, "error", NULL);
            job->answers = n;
            job->answer.value = json_incref(json_object_get(frame->head, "value"));
            job->answer.body = frame->body;
            job->answer.body_n = frame->body_len;
            frame->body = NULL;
            snprintf(job->answer.code, sizeof job->answer.code, "%s",
                     sm_json_str(frame->head, "code", ""));
            job->answer_error = error ? sm_strdup(error) : NULL;
            pthread_cond_broadcast(&job->run.cv);
        }
        pthread_mutex_unlock(&job->run.mu);
    }
    pthread_mutex_unlock(&w->mu);
}

void sm_wjob_cancel(sm_worker *w, const char *run_id) {
    pthread_mutex_lock(&w->mu);
    sm_wjob *job = sm_map_get(&w->live, run_id);
    if (job)
        sm_run_stop(&job->run, SM_STOP_CANCELLED);
    pthread_mutex_unlock(&w->mu);
}
