/* policy: the state machine of one dimension (see policy.h).
 *
 * What is let out is compared with what was let out before: a change is told once, a recovery only
 * after a problem that was let out. What the platform refuses is taken back by dims, so that the
 * comparison is with what was delivered. Pure; called on the store's thread.
 */
#include "store/policy.h"
#include "base/clock.h"
#include "base/str.h"
#include <string.h>

static const char *const statuses[] = {"ok", "info", "warning", "error", "critical"};

const char *sm_policy_status(int rank) {
    return rank < 0 || rank >= (int)SM_ARRAY_LEN(statuses) ? NULL : statuses[rank];
}

int sm_policy_rank(const char *status) {
    for (int i = 0; i < (int)SM_ARRAY_LEN(statuses); i++)
        if (status && strcmp(status, statuses[i]) == 0)
            return i;
    return SM_DIM_NONE;
}

/* A duration as written ("4h") or a number of seconds. */
static sm_rc read_ns(const json_t *v, const char *name, int64_t *out, sm_err *err) {
    double s = json_is_number(v) ? json_number_value(v) : 0;
    if (json_is_string(v) && sm_duration_parse(json_string_value(v), &s, err) != SM_OK)
        return sm_err_wrap(err, "events.%s", name);
    *out = (int64_t)(s * (double)SM_NS_PER_S);
    return SM_OK;
}

static int at_least_one(const json_t *of, const char *key) {
    int64_t n = sm_json_int(of, key, 1);
    return n < 1 ? 1 : n > 1000 ? 1000 : (int)n;
}

/* {50, per = "10m"} arrives as {"1": 50, "per": "10m"}. */
static sm_rc read_budget(const json_t *v, sm_policy *p, sm_err *err) {
    int64_t n = sm_json_int(v, "1", 0);
    sm_rc rc = read_ns(json_object_get(v, "per"), "max_events.per", &p->per_ns, err);
    if (rc == SM_OK && n > 0 && n <= INT32_MAX && p->per_ns > 0)
        p->max_events = (int)n;
    return rc;
}

sm_rc sm_policy_read(const json_t *events, sm_policy *out, sm_err *err) {
    *out = (sm_policy){.confirm_fail = 1, .confirm_ok = 1};
    if (!json_is_object(events) || json_object_size(events) == 0)
        return SM_OK;
    const json_t *confirm = json_object_get(events, "confirm");
    const json_t *remind = json_object_get(events, "remind");
    const json_t *budget = json_object_get(events, "max_events");
    int64_t dimensions = sm_json_int(events, "max_dimensions", 0);
    sm_rc rc = SM_OK;
    out->given = true;
    out->recover = sm_json_bool(events, "recover", false);
    out->on_change = sm_json_bool(events, "on_change", false) || remind != NULL;
    out->confirm_fail = at_least_one(confirm, "fail");
    out->confirm_ok = at_least_one(confirm, "ok");
    out->max_dimensions = dimensions > 0 && dimensions <= INT32_MAX ? (int)dimensions : 0;
    if (remind)
        rc = read_ns(remind, "remind", &out->remind_ns, err);
    if (rc == SM_OK && budget)
        rc = read_budget(budget, out, err);
    return rc;
}

static void hold_back(sm_decision *out, const char *rule) {
    out->send = false;
    out->rule = rule;
}

static void let_out(sm_dim *d, int rank, int64_t now_ns, sm_decision *out, const char *rule) {
    out->send = true;
    out->rule = rule;
    d->sent = rank;
    d->sent_ns = now_ns;
    d->over = false;
}

/* Takes one word about the dimension; false while its change waits for more of the same. */
static bool confirmed(const sm_policy *p, sm_dim *d, int rank, sm_decision *out) {
    bool turns = (rank > 0) != (d->status > 0);
    int need = rank > 0 ? p->confirm_fail : p->confirm_ok;
    if (turns) {
        if (!d->counted || d->streak == 0)
            d->streak++;
        d->counted = true;
        if (d->streak < need) {
            out->count = d->streak;
            out->of = need;
            hold_back(out, "confirm");
            return false;
        }
    }
    d->counted = true;
    d->streak = 0;
    d->status = rank;
    return true;
}

/* Whether there is something that an `ok` would end, in the eyes of whoever reads the events. */
static bool seen_open(const sm_dim *d) {
    return d->sent > 0;
}

static void decide_ok(const sm_policy *p, sm_dim *d, int64_t now_ns, sm_decision *out) {
    bool strict = p->recover || p->on_change || p->confirm_fail > 1 || p->confirm_ok > 1;
    d->over = false;
    if (seen_open(d))
        let_out(d, 0, now_ns, out, "recovered");
    else if (strict)
        hold_back(out, "nothing_to_recover");
    else
        let_out(d, 0, now_ns, out, "as_reported");
}

static void decide_problem(const sm_policy *p, sm_dim *d, int rank, int64_t now_ns, sm_room room,
                           sm_decision *out) {
    bool first = !seen_open(d);
    const char *rule = first ? "new" : rank != d->sent ? "changed" : NULL;
    if (!rule && !p->on_change)
        rule = "as_reported";
    if (!rule && p->remind_ns > 0 && now_ns - d->sent_ns >= p->remind_ns)
        rule = "reminder";
    if (!rule) {
        hold_back(out, "unchanged");
    } else if (first && !room.dimensions) {
        d->over = true;
        hold_back(out, "max_dimensions");
    } else if (!room.events) {
        d->over = first;
        hold_back(out, "max_events");
    } else {
        let_out(d, rank, now_ns, out, rule);
    }
}

void sm_policy_event(const sm_policy *p, sm_dim *d, int rank, int64_t now_ns, sm_room room,
                     bool hold, sm_decision *out) {
    *out = (sm_decision){.rule = "as_reported"};
    if (!confirmed(p, d, rank, out))
        return;
    if (hold) {
        d->muted = true;
        hold_back(out, "held");
    } else if (!p->given) {
        let_out(d, rank, now_ns, out, "as_reported");
    } else if (rank == 0) {
        decide_ok(p, d, now_ns, out);
    } else {
        decide_problem(p, d, rank, now_ns, room, out);
    }
}

bool sm_policy_absent(const sm_policy *p, sm_dim *d, int64_t now_ns, bool hold, sm_decision *out) {
    *out = (sm_decision){.rule = "nothing_to_recover"};
    if (d->status == 0) {
        d->streak = 0; /* what was about to be confirmed was not */
        return false;
    }
    if (!confirmed(p, d, 0, out))
        return false;
    if (hold) {
        d->muted = true;
        hold_back(out, "held");
    } else {
        sm_policy strict = *p;
        strict.recover = true;
        decide_ok(&strict, d, now_ns, out);
    }
    return true;
}

bool sm_policy_reconcile(sm_dim *d, int64_t now_ns) {
    bool due = d->status > 0 ? d->sent != d->status : seen_open(d);
    d->muted = false;
    if (due) {
        d->sent = d->status;
        d->sent_ns = now_ns;
        d->over = false;
    }
    return due;
}

bool sm_policy_idle(const sm_dim *d) {
    /* An `ok` that was let out is remembered until it is settled (sm_dim_delivered). */
    return d->status == 0 && d->streak == 0 && d->sent == SM_DIM_NONE && !d->muted;
}
