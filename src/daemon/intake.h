/* intake: events of runs: checked again, given their ids, made durable, then acknowledged.
 *
 * A worker is never trusted: a report counts only for a run that was announced here, and every
 * event passes platform/event again. Owned by the loop's thread.
 */
#pragma once
#include "daemon/catalog.h"
#include "daemon/dispatcher.h"
#include "daemon/windows.h"
#include "store/store.h"

typedef struct sm_intake sm_intake;

typedef struct sm_intake_run { /* what intake knows of a run */
    int events;                /* accepted (durable, or kept in a dry run) */
    bool refused;              /* the store did not take one of its reports */
    const char *worst;         /* status of the worst event, NULL when none */
    char headline[160];        /* its title */
    json_t *kept;              /* dry run: the events, with event_id; borrowed */
} sm_intake_run;

/* store NULL: dry run, nothing is stored. stored(ctx) is called after events became durable. */
sm_intake *sm_intake_new(sm_store *store, const char *node, void (*stored)(void *ctx), void *ctx);
void sm_intake_bind(sm_intake *i, sm_dispatcher *d);
/* With several accounts: which node each talks to (daemon/desks.h). */
void sm_intake_nodes(sm_intake *i, const char *(*node_of)(void *desks, const char *account),
                     void *desks);
/* Maintenance windows (borrowed, may be NULL): events of theirs are kept and not sent. */
void sm_intake_windows(sm_intake *i, sm_windows *windows);
/* What the store must know of an inspection to apply its event policy at the end of a run, added to
 * args: ref_key, title, exec_mode, policy, hold. trigger as in sm_intake_open. */
void sm_intake_policy(sm_intake *i, const sm_inspection *p, const char *trigger, json_t *args);
/* Tells `stored` that there are events which did not come by a report. */
void sm_intake_poke(const sm_intake *i);
/* A run may report from now on. checker: UUID on the platform, "" when unknown.
 * trigger: of the run (daemon/runner.h); read now. */
void sm_intake_open(sm_intake *i, const char *run_id, sm_inspection *inspection,
                    const char *checker, int attempt, const char *trigger);
/* Calls closed(ctx, result) once, when no accept of this run is under way; then forgets the run. */
void sm_intake_close(sm_intake *i, const char *run_id,
                     void (*closed)(void *ctx, const sm_intake_run *run), void *ctx);
/* For sm_dispatcher_options.report. */
void sm_intake_report(void *intake, const char *run_id, int64_t seq, const json_t *events);
void sm_intake_free(sm_intake *i);
