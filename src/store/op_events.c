/* op_events: accepting events: what the inspection's policy decides about each, the event, its
 * outbox row and the state of its dimension, in the caller's savepoint.
 *
 * Every event is told which fault it belongs to: a problem (whatever is not `ok`) opens the fault
 * of its dimension or continues it, a confirmed `ok` ends it. Refuses the whole report when one
 * event breaks a rule or does not fit. An event_id that is there already has no effect. Called
 * through the table of operations, on the store's thread.
 */
#include "base/mem.h"
#include "store/dims.h"
#include <stdlib.h>
#include <string.h>

typedef struct accepting {
    sm_event_head head;
    sm_policy policy;
    const char *window; /* why a maintenance window holds events back, or NULL */
} accepting;

/* Must the state be written? Without a policy only what a fault or a recovery needs is kept. */
static bool worth_keeping(const accepting *a, const sm_dim_row *d, const sm_dim *before, int rank,
                          bool hold, bool had) {
    if (a->policy.given || hold || before->muted)
        return true;
    if (rank == 0)
        return d->known;
    return !d->known || before->sent != d->s.sent || before->status != d->s.status ||
           (!had && json_string_length(d->checker) > 0);
}

static sm_rc decide(sm_core *c, const accepting *a, int64_t at_ns, int rank, const char *why,
                    sm_dim_row *d, sm_decision *x, sm_err *err) {
    sm_room room = {true, true};
    sm_rc rc = SM_OK;
    bool bounded = a->policy.max_dimensions > 0 || a->policy.max_events > 0;
    if (bounded && rank > 0)
        rc = sm_budget_room(c, a->head.who, &a->policy, at_ns, &room, err);
    d->s.counted = d->run != NULL && strcmp(d->run, a->head.run) == 0;
    if (rc == SM_OK)
        sm_policy_event(&a->policy, &d->s, rank, at_ns, room, why != NULL, x);
    if (rc == SM_OK && bounded && rank > 0 && (x->send || d->s.over))
        rc = sm_budget_count(c, a->head.who, x->send, err);
    return rc;
}

static sm_rc accept_one(sm_core *c, const accepting *a, const json_t *event, sm_err *err) {
    const sm_event_head *h = &a->head;
    int64_t at_ns, seq, there;
    sm_dim_row d = {0};
    sm_decision x;
    char *mute = NULL;
    json_t *kept = NULL;
    const char *event_id = sm_arg_text(event, "event_id", err);
    const char *status = event_id != NULL ? sm_arg_text(event, "status", err) : NULL;
    if (status == NULL || sm_arg_int(event, "at_ns", &at_ns, err) != SM_OK)
        return SM_INVALID;
    const char *dimension = sm_json_str(event, "dimension", "");
    int rank = sm_policy_rank(status);
    rank = rank < 0 ? 2 : rank;
    sm_rc rc = sm_dim_load(c, h->who, dimension, &d, err);
    if (rc == SM_OK)
        rc = sm_mute_why(c, h->id, dimension, at_ns, &mute, err);
    if (rc != SM_OK)
        goto out;
    const char *why = mute != NULL ? mute : a->window;
    if (a->policy.given || why != NULL) {
        /* One that came before must not count twice; without a policy inserting it tells. */
        rc = sm_sql_int(c, &there, 0, err, "SELECT seq FROM events WHERE event_id = ?1", "t",
                        event_id);
        if (rc != SM_OK || there > 0)
            goto out;
    }
    bool had = d.fault_id != NULL && json_string_length(d.checker) > 0;
    sm_dim_fault(h, event, rank, &d);
    sm_dim before = d.s;
    rc = decide(c, a, at_ns, rank, why, &d, &x, err);
    if (rc != SM_OK)
        goto out;
    if (a->policy.given || why != NULL)
        kept = sm_decision_json(&x, before.sent, d.s.status, why);
    rc = sm_event_put(c, h, event, &d, kept, x.send, &seq, err);
    if (rc != SM_OK || seq == 0)
        goto out;
    bool keep = worth_keeping(a, &d, &before, rank, why != NULL, had);
    if (d.s.status == 0 && d.s.streak == 0) {
        json_decref(d.fault_id);
        json_decref(d.start);
        d.fault_id = d.start = NULL;
    }
    free(d.run);
    d.run = sm_strdup(h->run);
    d.seq = seq;
    if (keep)
        rc = sm_dim_save(c, h->who, h->id, dimension, &d, err);
out:
    json_decref(kept);
    free(mute);
    sm_dim_fini(&d);
    return rc;
}

sm_rc sm_op_events_accept(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)result;
    accepting a = {.window = sm_json_str(args, "hold", NULL)};
    sm_rc rc = sm_event_head_read(args, &a.head, err);
    if (rc == SM_OK)
        rc = sm_policy_read(sm_arg_maybe(args, "policy"), &a.policy, err);
    const json_t *events = rc == SM_OK ? sm_arg_array(args, "events", err) : NULL;
    if (events == NULL)
        return SM_INVALID;
    for (size_t i = 0; i < json_array_size(events); i++) {
        rc = accept_one(c, &a, json_array_get(events, i), err);
        if (rc == SM_INVALID)
            return sm_err_wrap(err, "events[%zu]", i + 1);
        if (rc != SM_OK)
            return rc;
    }
    return SM_OK;
}
