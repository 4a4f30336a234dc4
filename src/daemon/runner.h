/* runner: takes one run from "wanted" to its recorded end: the platform's view, parameters,
 * dispatch, repeat alone when its worker died, the row in the store, the report to whoever asked.
 *
 * Owned by the loop's thread. Without a store (dry run) it asks no platform and keeps nothing.
 */
#pragma once
#include "daemon/catalog.h"
#include "daemon/conduct.h"
#include "daemon/dispatcher.h"
#include "daemon/intake.h"
#include "daemon/registrar.h"
#include "schedule/slot.h"
#include "store/store.h"

typedef struct sm_runner sm_runner;

typedef struct sm_runner_options {
    sm_dispatcher *dispatcher;
    sm_intake *intake;
    sm_store *store;         /* NULL: dry run */
    sm_registrar *registrar; /* NULL: dry run */
    sm_conduct *conduct;     /* NULL: dry run */
    const char *node;
    /* With several accounts: whose registrar, and which node (daemon/desks.h); else NULL. */
    sm_registrar *(*registrar_of)(void *desks, const char *account);
    const char *(*node_of)(void *desks, const char *account);
    void *desks;
    /* Every recorded end, before it is told to who asked; repeat: another attempt follows. NULL:
     * nobody counts. */
    void (*ended)(void *ended_ctx, const json_t *report, bool repeat);
    /* The secret of the configuration called "secrets.NAME" as it is now, borrowed; NULL: there is
     * none. */
    const sm_secret *(*secret_of)(void *ended_ctx, const char *name);
    void *ended_ctx;
} sm_runner_options;

/* done gets, once, an object (borrowed):
 * {id, run, trigger, outcome, events, seconds, cpu, error|null, traceback|null, worst|null,
 * blameless? (true: what went wrong is not the inspection's fault: the store refused a report, no
 * worker could be started), shared? (true: other runs were in its worker), override? (true: -p),
 * headline|null, log (array of {t, level, text}), slot|null, attempt, lateness|null,
 * reported:[events]} ; `reported` only in a dry run. lateness: seconds from due_ns until the run
 * (its first attempt) was handed to a worker; null when it was not, or had no due time. held: true
 * when the penalty lane kept a due run from starting. */
typedef void (*sm_runner_done)(void *ctx, const json_t *report);

typedef struct sm_run_want {
    sm_inspection *inspection; /* referenced by the runner */
    int64_t slot;              /* Unix seconds, or SM_NO_SLOT */
    const char *trigger;       /* static: schedule manual once first */
    int64_t due_ns;            /* wall time at which it was to start, 0 = none */
    bool ask;                  /* always ask the platform */
    bool late;                 /* known to be late; more than a second of lateness is late too */
    json_t *override;          /* -p values, borrowed; NULL = none */
    bool trace;                /* its requests show in its log */
    sm_runner_done done;
    void *ctx;
} sm_run_want;

sm_runner *sm_runner_new(const sm_runner_options *opt);
void sm_runner_start(sm_runner *r, const sm_run_want *want);
/* From now on a run that has not reached the dispatcher ends as cancelled. */
void sm_runner_stop(sm_runner *r);
/* Runs that have not reported their end. */
size_t sm_runner_active(const sm_runner *r);
void sm_runner_free(sm_runner *r);
/* A run log's text (runlog.h) as array of {t, level, text}; t in seconds. New reference. */
json_t *sm_runner_log_json(const char *log, size_t n);
