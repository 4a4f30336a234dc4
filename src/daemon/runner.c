/* runner: the road of one run (see runner.h): view -> parameters -> dispatch -> end -> row ->
 * report.
 *
 * A run whose worker died under it, and that had reported nothing, is repeated once, alone; the one
 * that dies alone is `crashed` (script-api 2.5). What follows for the inspection is conduct's.
 */
#include "daemon/runner.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/str.h"
#include "platform/params.h"
#include <stdlib.h>
#include <string.h>

#define LATE_S 1.0

struct sm_runner {
    sm_runner_options o;
    char *node;
    size_t active;
    bool stopping; /* nothing goes to the dispatcher any more */
};

typedef struct job {
    sm_runner *runner;
    sm_inspection *inspection;
    int64_t slot;
    const char *trigger;
    int64_t due_ns;   /* 0: none */
    int64_t order_ns; /* wall time when the dispatcher got it */
    double lateness;  /* of the first attempt; < 0: not known */
    bool late;
    bool ask;
    json_t *override;
    bool trace;
    sm_runner_done done;
    void *ctx;
    int attempt;
    bool alone;
    char run_id[33];
    char *checker;  /* UUID on the platform */
    json_t *params; /* resolved */
    json_t *notes;  /* remarks for the run log */
    /* the end, kept while intake and store finish */
    char *outcome, *error, *traceback, *log;
    double seconds, cpu;
    int64_t peak;
    int worker_pid;
    bool repeat; /* this attempt is to be followed by another, alone */
    bool held;   /* the penalty lane kept it from starting */
    bool shared; /* its worker had other runs, too */
    bool unable; /* the system gave it no worker */
    json_t *report;
} job;

static void dispatch(job *j);

static const char *node_of(const job *j) {
    const sm_runner *r = j->runner;
    return r->o.node_of ? r->o.node_of(r->o.desks, j->inspection->account) : r->node;
}

static void job_free(job *j) {
    sm_inspection_unref(j->inspection);
    json_decref(j->override);
    json_decref(j->params);
    json_decref(j->notes);
    json_decref(j->report);
    free(j->checker);
    free(j->outcome);
    free(j->error);
    free(j->traceback);
    free(j->log);
    free(j);
}

json_t *sm_runner_log_json(const char *log, size_t n) {
    json_t *lines = json_array();
    const char *end = log + n;
    while (log < end) {
        const char *eol = memchr(log, '\n', (size_t)(end - log));
        const char *stop = eol ? eol : end;
        const char *tab = memchr(log, '\t', (size_t)(stop - log));
        const char *second = tab ? memchr(tab + 1, '\t', (size_t)(stop - tab - 1)) : NULL;
        if (second) {
            json_t *line = json_object();
            json_object_set_new(line, "t", json_real((double)strtoll(log, NULL, 10) / 1000));
            json_object_set_new(line, "level", sm_json_text(tab + 1, (size_t)(second - tab - 1)));
            json_object_set_new(line, "text",
                                sm_json_text(second + 1, (size_t)(stop - second - 1)));
            json_array_append_new(lines, line);
        } else if (stop > log) {
            json_array_append_new(lines,
                                  json_pack("{s:f, s:s, s:o}", "t", 0.0, "level", "note", "text",
                                            sm_json_text(log, (size_t)(stop - log))));
        }
        log = eol ? eol + 1 : end;
    }
    return lines;
}

static json_t *lateness_of(const job *j) {
    return j->lateness < 0 ? json_null() : json_real(j->lateness);
}

static json_t *text_or_null(const char *s) {
    return s ? sm_json_text(s, strlen(s)) : json_null();
}

/* What the last attempt left is not the next one's. */
static void forget_end(job *j) {
    char **texts[] = {&j->outcome, &j->error, &j->traceback, &j->log};
    for (size_t i = 0; i < SM_ARRAY_LEN(texts); i++) {
        free(*texts[i]);
        *texts[i] = NULL;
    }
    j->seconds = j->cpu = 0;
    j->peak = 0;
    j->worker_pid = 0;
}

/* The row is durable (or there is none): tell who asked. */
static void recorded(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    job *j = ctx;
    if (rc == SM_OK && sm_json_int(result, "events", 0) > 0)
        sm_intake_poke(j->runner->o.intake);
    if (rc != SM_OK)
        sm_log(SM_LOG_ERROR, "%s: the run's end could not be stored: %s", j->inspection->id,
               err->msg);
    if (j->runner->o.ended)
        j->runner->o.ended(j->runner->o.ended_ctx, j->report, j->repeat);
    if (j->repeat) {
        j->repeat = false;
        j->attempt++;
        j->alone = true;
        j->trigger = "retry";
        json_decref(j->report);
        j->report = NULL;
        forget_end(j);
        dispatch(j);
        return;
    }
    j->runner->active--;
    if (j->done)
        j->done(j->ctx, j->report);
    job_free(j);
}

/* Writes the run's row; `seen` is what intake accepted of it. */
static void record(job *j, const sm_intake_run *seen) {
    sm_runner *r = j->runner;
    size_t i;
    json_t *note, *log = sm_runner_log_json(j->log ? j->log : "", j->log ? strlen(j->log) : 0);
    sm_buf text;
    sm_buf_init(&text, 1 << 20);
    json_array_foreach(j->notes, i, note) {
        json_array_insert_new(
            log, i, json_pack("{s:f, s:s, s:O}", "t", 0.0, "level", "note", "text", note));
        sm_buf_addf(&text, "0\tnote\t%s\n", json_string_value(note));
    }
    sm_buf_adds(&text, j->log ? j->log : "");
    j->report = json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:f, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:o}", "id",
        j->inspection->id, "run", j->run_id, "trigger", j->trigger, "outcome", j->outcome, "events",
        seen->events, "seconds", j->seconds, "cpu", j->cpu, "error", text_or_null(j->error),
        "traceback", text_or_null(j->traceback), "worst", text_or_null(seen->worst), "headline",
        text_or_null(seen->worst ? seen->headline : NULL), "log", log, "slot",
        j->slot == SM_NO_SLOT ? json_null() : json_integer(j->slot), "attempt", j->attempt,
        "lateness", lateness_of(j));
    if (j->held)
        json_object_set_new(j->report, "held", json_true());
    if (j->unable || seen->refused)
        json_object_set_new(j->report, "blameless", json_true());
    if (j->shared)
        json_object_set_new(j->report, "shared", json_true());
    if (j->override)
        json_object_set_new(j->report, "override", json_true());
    if (!r->o.store) {
        json_object_set(j->report, "reported", seen->kept);
        recorded(j, SM_OK, NULL, NULL);
    } else {
        json_t *args = json_pack(
            "{s:s, s:s, s:o, s:s, s:i, s:s, s:o, s:o, s:I, s:f, s:f, s:I, s:i, s:b, s:o, s:b, s:s,"
            " s:s, s:i, s:s, s:o, s:o}",
            "run", j->run_id, "id", j->inspection->id, "slot",
            j->slot == SM_NO_SLOT ? json_null() : json_integer(j->slot), "trigger", j->trigger,
            "attempt", j->attempt, "outcome", j->outcome, "error", text_or_null(j->error),
            "traceback", text_or_null(j->traceback), "finished_ns", (json_int_t)sm_wall_ns(),
            "seconds", j->seconds, "cpu", j->cpu, "peak", (json_int_t)j->peak, "events",
            seen->events, "late", j->late, "log",
            sm_json_text(text.data ? text.data : "", text.len), "final", !j->repeat, "account",
            j->inspection->account, "node", node_of(j), "worker", j->worker_pid, "hash",
            j->inspection->source->script->hash, "params",
            j->params ? json_deep_copy(j->params) : json_null(), "lateness",
            j->attempt == 1 ? lateness_of(j) : json_null());
        if (!j->repeat)
            sm_intake_policy(r->o.intake, j->inspection, j->trigger, args);
        json_object_set_new(args, "checker", j->checker ? json_string(j->checker) : json_null());
        sm_store_call(r->o.store, SM_OP_RUN_FINISH, args, recorded, j);
    }
    sm_buf_fini(&text);
}

static void closed(void *ctx, const sm_intake_run *seen) {
    record(ctx, seen);
}

/* A person who asks for a run of a penalised inspection gets it. */
static bool is_due(const job *j) {
    return strcmp(j->trigger, "manual") != 0 && strcmp(j->trigger, "once") != 0;
}

static void replace(char **at, const char *text) {
    free(*at);
    *at = text ? sm_strdup(text) : NULL;
}

/* Ends an attempt that never reached a worker. */
static void end_without_run(job *j, const char *outcome, const char *error) {
    replace(&j->outcome, outcome);
    replace(&j->error, error);
    if (!j->run_id[0] || j->attempt > 1)
        sm_id_new(sm_wall_ns(), j->run_id);
    sm_intake_run nothing = {0};
    nothing.kept = NULL;
    record(j, &nothing);
}

static void ended(void *ctx, const sm_run_end *end) {
    job *j = ctx;
    bool lost = strcmp(end->outcome, "lost") == 0;
    j->seconds = end->seconds;
    j->cpu = end->cpu;
    j->peak = end->peak;
    j->worker_pid = end->worker_pid;
    j->shared = !end->alone;
    j->unable = end->error && strncmp(end->error, SM_NO_WORKER, strlen(SM_NO_WORKER)) == 0;
    if (j->attempt == 1 && j->due_ns != 0 && end->queued >= 0) {
        double late = (double)(j->order_ns - j->due_ns) / (double)SM_NS_PER_S + end->queued;
        j->lateness = late > 0 ? late : 0;
        j->late = j->late || j->lateness > LATE_S;
    }
    replace(&j->outcome, end->outcome);
    replace(&j->error, end->error);
    replace(&j->traceback, end->traceback);
    free(j->log);
    j->log = end->log_n ? sm_memdup(end->log, end->log_n) : NULL;
    if (lost) {
        const char *how = end->error ? end->error : "its worker died";
        j->repeat = j->inspection->retry && j->attempt == 1 && !end->reported && !end->alone;
        char text[SM_ERR_MAX];
        if (j->repeat) {
            replace(&j->outcome, "cancelled");
            snprintf(text, sizeof text, "%s; repeated alone", how);
        } else {
            replace(&j->outcome, "crashed");
            snprintf(text, sizeof text, "%s", how);
        }
        replace(&j->error, text);
    }
    sm_conduct *conduct = j->runner->o.conduct;
    if (conduct && j->repeat)
        sm_conduct_repeated(conduct);
    else if (conduct)
        sm_conduct_ended(conduct, j->inspection,
                         &(sm_conduct_end){.outcome = j->outcome,
                                           .error = j->error,
                                           .seconds = j->seconds,
                                           .cpu = j->cpu,
                                           .alone = end->alone,
                                           .stuck = end->stuck,
                                           .foreign = end->foreign,
                                           .due = is_due(j)},
                         sm_wall_ns());
    sm_intake_close(j->runner->o.intake, j->run_id, closed, j);
}

static json_t *run_ctx(const job *j) {
    json_t *ctx = json_pack("{s:s, s:s, s:s, s:i, s:s, s:s}", "id", j->inspection->id, "run_id",
                            j->run_id, "trigger", j->trigger, "attempt", j->attempt, "account",
                            j->inspection->account, "node", node_of(j));
    int64_t slot = j->slot == SM_NO_SLOT ? sm_wall_ns() / SM_NS_PER_S : j->slot;
    json_object_set_new(ctx, "slot", json_integer(slot));
    return ctx;
}

/* The granted secrets that are configured, by name; NULL when there are none. */
static json_t *secrets_of(const sm_runner *r, const sm_inspection *p) {
    json_t *out = NULL, *one;
    size_t i, n;
    json_array_foreach(p->grants, i, one) {
        const char *name = json_is_string(one) ? json_string_value(one) : "";
        if (!sm_str_starts(name, "secret:"))
            continue;
        char *key = sm_asprintf("secrets.%s", name + strlen("secret:"));
        const sm_secret *secret = r->o.secret_of ? r->o.secret_of(r->o.ended_ctx, key) : NULL;
        free(key);
        if (!secret)
            continue;
        const char *bytes = sm_secret_bytes(secret, &n);
        if (!out)
            out = json_object();
        json_object_set_new(out, name + strlen("secret:"), sm_json_text(bytes, n));
    }
    return out;
}

static void dispatch(job *j) {
    sm_runner *r = j->runner;
    if (r->stopping) {
        end_without_run(j, "cancelled", "the program is stopping");
        return;
    }
    sm_id_new(sm_wall_ns(), j->run_id);
    if (r->o.store) {
        json_t *args = json_pack(
            "{s:s, s:s, s:o, s:s, s:i, s:s, s:s, s:i, s:I, s:o, s:s}", "run", j->run_id, "id",
            j->inspection->id, "slot", j->slot == SM_NO_SLOT ? json_null() : json_integer(j->slot),
            "trigger", j->trigger, "attempt", j->attempt, "account", j->inspection->account, "node",
            node_of(j), "worker", 0, "started_ns", (json_int_t)sm_wall_ns(), "params",
            json_deep_copy(j->params), "hash", j->inspection->source->script->hash);
        sm_store_call(r->o.store, SM_OP_RUN_START, args, NULL, NULL);
    }
    sm_conduct *conduct = r->o.conduct;
    bool own = conduct && sm_conduct_alone(conduct, j->inspection);
    bool lane = conduct && sm_conduct_penalised(conduct, j->inspection);
    sm_intake_open(r->o.intake, j->run_id, j->inspection, j->checker, j->attempt, j->trigger);
    sm_run_order order = {.inspection = j->inspection,
                          .params = json_incref(j->params),
                          .ctx = run_ctx(j),
                          .net = j->inspection->net,
                          .secrets = secrets_of(r, j->inspection),
                          .trace = j->trace,
                          .alone = j->alone || own,
                          .lane = lane,
                          .done = ended,
                          .done_ctx = j};
    memcpy(order.run_id, j->run_id, sizeof order.run_id);
    j->order_ns = sm_wall_ns();
    sm_dispatcher_run(r->o.dispatcher, &order);
}

static void resolve(job *j, const json_t *platform) {
    sm_err err = SM_ERR_INIT;
    const sm_inspection *p = j->inspection;
    if (sm_params_resolve(p->schema, p->conf_params, platform, j->override, &j->params, j->notes,
                          &err) != SM_OK)
        end_without_run(j, "bad_params", err.msg);
    else
        dispatch(j);
}

static void viewed(void *ctx, const sm_view *view) {
    job *j = ctx;
    char text[SM_ERR_MAX];
    if (!view->known) {
        snprintf(text, sizeof text, "not registered, so it did not run: %s",
                 view->error ? view->error : "the platform does not know it");
        end_without_run(j, "unregistered", text);
        return;
    }
    if (view->error) {
        snprintf(text, sizeof text, "the platform's view is %.0f s old: %s", view->age_s,
                 view->error);
        json_array_append_new(j->notes, sm_json_text(text, strlen(text)));
    }
    j->checker = sm_strdup(view->uuid ? view->uuid : "");
    if (view->status != 0)
        end_without_run(j, "disabled", NULL);
    else
        resolve(j, view->params);
}

void sm_runner_start(sm_runner *r, const sm_run_want *want) {
    job *j = sm_calloc(1, sizeof *j);
    *j = (job){.runner = r,
               .inspection = sm_inspection_ref(want->inspection),
               .slot = want->slot,
               .trigger = want->trigger,
               .due_ns = want->due_ns,
               .lateness = -1,
               .late = want->late,
               .ask = want->ask,
               .override = json_incref(want->override),
               .trace = want->trace,
               .done = want->done,
               .ctx = want->ctx,
               .attempt = 1,
               .notes = json_array()};
    r->active++;
    char sentence[SM_ERR_MAX];
    if (r->o.conduct && is_due(j) &&
        !sm_conduct_may_start(r->o.conduct, j->inspection, sm_wall_ns(), sentence,
                              sizeof sentence)) {
        j->held = true;
        end_without_run(j, "skipped", sentence);
        return;
    }
    sm_registrar *registrar = r->o.registrar;
    if (r->o.registrar_of)
        registrar = r->o.registrar_of(r->o.desks, j->inspection->account);
    if (registrar)
        sm_registrar_ensure(registrar, j->inspection, j->ask, viewed, j);
    else
        resolve(j, NULL);
}

void sm_runner_stop(sm_runner *r) {
    r->stopping = true;
}

size_t sm_runner_active(const sm_runner *r) {
    return r->active;
}

sm_runner *sm_runner_new(const sm_runner_options *opt) {
    sm_runner *r = sm_calloc(1, sizeof *r);
    r->o = *opt;
    r->node = sm_strdup(opt->node);
    return r;
}

void sm_runner_free(sm_runner *r) {
    if (!r)
        return;
    free(r->node);
    free(r);
}
