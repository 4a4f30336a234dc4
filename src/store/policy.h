/* policy: what an inspection's `events = {…}` makes of what was reported (script-api 5).
 *
 * Pure: a dimension's state and one word about it go in, the new state and a decision come out.
 * The rooms that read and write the state in the transaction of the event are dims and op_events.
 */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct sm_policy {
    bool given; /* the inspection declares one; else each event is let out as reported */
    bool recover, on_change;
    int confirm_fail, confirm_ok; /* runs in a row, at least 1 */
    int64_t remind_ns;            /* 0: never; with it, on_change holds as well */
    int max_dimensions;           /* open at once; 0: no bound */
    int max_events;               /* let out per per_ns; 0: no bound */
    int64_t per_ns;
} sm_policy;

enum { SM_DIM_NONE = -1 };

/* Statuses are ranks: ok 0, info 1, warning 2, error 3, critical 4. */
typedef struct sm_dim {
    int status; /* confirmed */
    int streak; /* runs in a row that said otherwise */
    int sent;   /* of the newest event that was let out; SM_DIM_NONE: none */
    int64_t sent_ns;
    int delivered; /* of the newest one that the platform confirmed; SM_DIM_NONE: none */
    bool counted;  /* the present run has spoken of it already */
    bool over;     /* a budget holds its problem back */
    bool muted;    /* something was held back by a mute or a maintenance window */
} sm_dim;

typedef struct sm_room { /* what the budgets still allow */
    bool dimensions, events;
} sm_room;

typedef struct sm_decision {
    bool send;
    const char *rule; /* static: as_reported new changed reminder recovered | confirm unchanged
                         nothing_to_recover max_dimensions max_events held */
    int count, of;    /* confirm: so many runs of so many; else 0 */
} sm_decision;

/* From the spec's `events` (checked by the worker; NULL: none). SM_INVALID: a member that does not
 * fit, which then has no effect. */
sm_rc sm_policy_read(const json_t *events, sm_policy *out, sm_err *err);
/* One reported event. hold: a mute or a maintenance window is on. */
void sm_policy_event(const sm_policy *p, sm_dim *d, int rank, int64_t now_ns, sm_room room,
                     bool hold, sm_decision *out);
/* The dimension was not reported by a run that ended ok. True: its problem is over (d->status is
 * ok), and when out->send, an `ok` event is due. */
bool sm_policy_absent(const sm_policy *p, sm_dim *d, int64_t now_ns, bool hold, sm_decision *out);
/* A mute or window ended. True: the newest event of the dimension's status is due. */
bool sm_policy_reconcile(sm_dim *d, int64_t now_ns);
/* Nothing is left to remember. */
bool sm_policy_idle(const sm_dim *d);
/* "ok" …; NULL for SM_DIM_NONE. Static. */
const char *sm_policy_status(int rank);
/* -1 when it is no status. */
int sm_policy_rank(const char *status);
