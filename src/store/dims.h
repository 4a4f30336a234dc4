/* dims: the state of dimensions in the database, and the events that come of it. Shared by the
 * rooms of the event policy (op_events, op_recover, op_mute, op_outbox); on the store's thread.
 */
#pragma once
#include "store/policy.h"
#include "store/store_internal.h"

/* What is the same for all events of a report; borrowed. */
typedef struct sm_event_head {
    const char *run, *id, *account;
    const char *who; /* association key, or the id when there is none */
    const json_t *ref_key, *node, *checker, *title, *exec_mode;
    int64_t attempt;
    int64_t bytes; /* texts of the head, counted for each event */
} sm_event_head;

typedef struct sm_dim_row {
    bool known; /* the database has it */
    sm_dim s;
    char *run;                          /* owned; NULL: none */
    int64_t seq;                        /* of its newest event, 0: none */
    json_t *fault_id, *start, *checker; /* owned; NULL: none */
} sm_dim_row;

/* From an operation's arguments; the head borrows from them. */
sm_rc sm_event_head_read(const json_t *args, sm_event_head *h, sm_err *err);

sm_rc sm_dim_load(sm_core *c, const char *who, const char *dimension, sm_dim_row *d, sm_err *err);
/* Writes the row, or removes it when nothing is left to remember. */
sm_rc sm_dim_save(sm_core *c, const char *who, const char *id, const char *dimension,
                  const sm_dim_row *d, sm_err *err);
void sm_dim_fini(sm_dim_row *d);
/* A problem begins or continues the dimension's fault, whose fields the event gets; a fault of a
 * checker that was replaced on the platform is over. */
void sm_dim_fault(const sm_event_head *h, const json_t *event, int rank, sm_dim_row *d);

/* Inserts an event ({event_id, at_ns, title, message, status, dimension_tags, dimension}) with the
 * fault of d, and its outbox row when `send`. policy: NULL, or what was decided (borrowed). *seq: 0
 * when the event_id was there already. SM_FULL. */
sm_rc sm_event_put(sm_core *c, const sm_event_head *h, const json_t *event, const sm_dim_row *d,
                   const json_t *policy, bool send, int64_t *seq, sm_err *err);
/* The decision as kept with the event. was, is: ranks. why: of a mute or window, or NULL. New
 * reference. */
json_t *sm_decision_json(const sm_decision *x, int was, int is, const char *why);
/* Makes an `ok` (or digest) event out of nothing but the dimension's newest one: same title, tags,
 * account. */
sm_rc sm_event_ok(sm_core *c, const char *who, const char *id, const char *dimension, sm_dim_row *d,
                  const char *run, int64_t now_ns, const json_t *policy, bool send, sm_err *err);
/* Puts an event that was held back into the outbox after all. */
sm_rc sm_event_release(sm_core *c, int64_t seq, const json_t *policy, sm_err *err);
/* The value by which rows of one dimension wait for each other. */
int64_t sm_outbox_dim(const char *id, const char *dimension);

/* ---- op_recover.c */
/* Which budgets still have room; rolls the window over. */
sm_rc sm_budget_room(sm_core *c, const char *who, const sm_policy *p, int64_t now_ns, sm_room *room,
                     sm_err *err);
sm_rc sm_budget_count(sm_core *c, const char *who, bool let_out, sm_err *err);
/* After a run that ended ok: recoveries and the digest. args: those of RUN_FINISH. */
sm_rc sm_run_settle(sm_core *c, const json_t *args, int64_t now_ns, sm_err *err);
/* The dimension of an inspection's digest; malloc'd. */
char *sm_digest_dimension(const char *id);

/* ---- op_mute.c */
/* Why events of this dimension are held back by hand now: malloc'd, NULL when they are not. */
sm_rc sm_mute_why(sm_core *c, const char *id, const char *dimension, int64_t now_ns, char **why,
                  sm_err *err);

/* ---- what op_outbox tells of events that left the outbox or never will. */
sm_rc sm_dim_delivered(sm_core *c, int64_t seq, sm_err *err);
/* Appends the event ids of recoveries that are not to be sent any more to withdrawn. */
sm_rc sm_dim_refused(sm_core *c, int64_t seq, int64_t at_ns, json_t *withdrawn, sm_err *err);
