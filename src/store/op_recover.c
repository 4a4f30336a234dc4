/* op_recover: the end of a complete run for the event policy: dimensions that were open and were
 * not reported are over (`recover = true`), and what a budget held back is told in one digest.
 *
 * Only a run that ended `ok` says something by its silence. In the transaction of RUN_FINISH, on
 * the store's thread.
 */
#include "base/buf.h"
#include "base/mem.h"
#include "base/rand.h"
#include "store/dims.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOP = 10, AT_ONCE = 100000 };

/* ---- budgets ---- */

sm_rc sm_budget_room(sm_core *c, const char *who, const sm_policy *p, int64_t now_ns, sm_room *room,
                     sm_err *err) {
    static const char roll[] =
        "INSERT INTO budgets (who, from_ns, let_out) VALUES (?1, ?2, 0) ON CONFLICT (who) DO "
        "UPDATE SET from_ns = ?2, let_out = 0, held = 0 WHERE from_ns > ?2 OR from_ns + ?3 <= ?2";
    int64_t n;
    sm_rc rc = SM_OK;
    if (p->max_events > 0) {
        rc = sm_sql_run(c, err, roll, "tii", who, now_ns, p->per_ns);
        if (rc == SM_OK)
            rc = sm_sql_int(c, &n, 0, err, "SELECT let_out FROM budgets WHERE who = ?1", "t", who);
        if (rc == SM_OK)
            room->events = n < p->max_events;
    }
    if (rc == SM_OK && p->max_dimensions > 0) {
        rc = sm_sql_int(
            c, &n, 0, err,
            "SELECT count(*) FROM dims WHERE who = ?1 AND sent > 0 AND dimension NOT LIKE "
            "'{\"selfmon\\_%' ESCAPE '\\'",
            "t", who);
        if (rc == SM_OK)
            room->dimensions = n < p->max_dimensions;
    }
    return rc;
}

sm_rc sm_budget_count(sm_core *c, const char *who, bool let_out, sm_err *err) {
    return sm_sql_run(c, err,
                      "UPDATE budgets SET let_out = let_out + ?2, held = held + ?3 WHERE who = ?1",
                      "tii", who, (int64_t)let_out, (int64_t)!let_out);
}

char *sm_digest_dimension(const char *id) {
    json_t *tags = json_pack("{s:s}", "selfmon_digest", id);
    char *text = sm_json_dump(tags, NULL);
    json_decref(tags);
    return text;
}

/* ---- recoveries ---- */

typedef struct settling {
    sm_event_head head;
    sm_policy policy;
    const char *window; /* why a maintenance window holds events back, or NULL */
    int64_t now_ns;
} settling;

static sm_rc recover_one(sm_core *c, const settling *s, const char *dimension, sm_err *err) {
    const sm_event_head *h = &s->head;
    sm_dim_row d = {0};
    sm_decision x;
    char *mute = NULL;
    json_t *kept = NULL;
    sm_rc rc = sm_dim_load(c, h->who, dimension, &d, err);
    if (rc == SM_OK)
        rc = sm_mute_why(c, h->id, dimension, s->now_ns, &mute, err);
    if (rc != SM_OK)
        goto out;
    const char *why = mute != NULL ? mute : s->window;
    int was = d.s.sent;
    d.s.counted = false;
    if (sm_policy_absent(&s->policy, &d.s, s->now_ns, why != NULL, &x)) {
        kept = sm_decision_json(&x, was, 0, why);
        if (x.send || d.s.muted)
            rc = sm_event_ok(c, h->who, h->id, dimension, &d, h->run, s->now_ns, kept, x.send, err);
        json_decref(d.fault_id);
        json_decref(d.start);
        d.fault_id = d.start = NULL;
    }
    if (rc == SM_OK)
        rc = sm_dim_save(c, h->who, h->id, dimension, &d, err);
out:
    json_decref(kept);
    free(mute);
    sm_dim_fini(&d);
    return rc;
}

/* Dimensions that a run did not report and of which something is to be said, but for the runner's
 * own (digests, failures); names copied first,
 * because saying it writes the table. */
static sm_rc silent(sm_core *c, const settling *s, json_t *out, sm_err *err) {
    static const char sql[] =
        "SELECT dimension FROM dims WHERE who = ?1 AND (status > 0 OR streak > 0) AND "
        "(run IS NULL OR run <> ?2) AND dimension NOT LIKE '{\"selfmon\\_%' ESCAPE '\\' LIMIT ?3";
    sqlite3_stmt *st;
    bool row;
    sm_rc rc = sm_sql_query(c, &st, err, sql, "tti", s->head.who, s->head.run, (int64_t)AT_ONCE);
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row)
        json_array_append_new(out, sm_col_text(st, 0));
    return rc;
}

static sm_rc recover_silent(sm_core *c, const settling *s, sm_err *err) {
    json_t *names = json_array(), *name;
    size_t i;
    sm_rc rc = silent(c, s, names, err);
    json_array_foreach(names, i, name) {
        if (rc == SM_OK)
            rc = recover_one(c, s, json_string_value(name), err);
    }
    json_decref(names);
    return rc;
}

/* ---- the digest ---- */

/* Counts what budgets hold back; *worst: its rank, *text: a list of the top ten, malloc'd. */
static sm_rc held_back(sm_core *c, const char *who, int64_t *n, int *worst, char **text,
                       sm_err *err) {
    static const char sql[] =
        "SELECT d.status, e.title, d.dimension FROM dims d LEFT JOIN events e ON e.seq = d.seq "
        "WHERE d.who = ?1 AND d.over = 1 AND d.status > 0 ORDER BY d.status DESC, d.start_ns "
        "LIMIT ?2";
    sqlite3_stmt *st;
    bool row;
    sm_buf out;
    sm_buf_init(&out, 64 << 10);
    *worst = 0;
    sm_rc rc = sm_sql_int(c, n, 0, err,
                          "SELECT count(*) FROM dims WHERE who = ?1 AND over = 1 AND status > 0",
                          "t", who);
    if (rc == SM_OK && *n > 0)
        sm_buf_addf(&out, "%lld %s not sent one by one (events.max_dimensions, max_events):\n",
                    (long long)*n, *n == 1 ? "problem was" : "problems were");
    if (rc == SM_OK && *n > 0)
        rc = sm_sql_query(c, &st, err, sql, "ti", who, (int64_t)TOP);
    while (rc == SM_OK && *n > 0 && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row) {
        int rank = sqlite3_column_int(st, 0);
        const char *title = (const char *)sqlite3_column_text(st, 1);
        *worst = rank > *worst ? rank : *worst;
        sm_buf_addf(&out, "\n- %s: %s `%.200s`", sm_policy_status(rank), title ? title : "",
                    (const char *)sqlite3_column_text(st, 2));
    }
    if (rc == SM_OK && *n > TOP)
        sm_buf_addf(&out, "\n- and %lld more", (long long)(*n - TOP));
    *text = sm_strdup(out.data ? out.data : "");
    sm_buf_fini(&out);
    return rc;
}

static sm_rc put_digest(sm_core *c, const settling *s, const char *dimension, sm_dim_row *d,
                        int64_t n, int worst, const char *text, sm_err *err) {
    char id[33], event_id[40], title[300];
    int64_t seq;
    sm_id_new(s->now_ns, id);
    snprintf(event_id, sizeof event_id, "event-%s", id);
    snprintf(title, sizeof title, "%lld more: %.200s", (long long)n,
             json_is_string(s->head.title) ? json_string_value(s->head.title) : s->head.id);
    json_t *event = json_pack("{s:s, s:I, s:s, s:s, s:s, s:{s:s}, s:s}", "event_id", event_id,
                              "at_ns", (json_int_t)s->now_ns, "title", title, "message", text,
                              "status", sm_policy_status(worst), "dimension_tags", "selfmon_digest",
                              s->head.id, "dimension", dimension);
    sm_dim_fault(&s->head, event, worst, d);
    json_t *kept = json_pack("{s:b, s:s, s:s}", "send", 1, "rule", "digest", "status",
                             sm_policy_status(worst));
    sm_rc rc = sm_event_put(c, &s->head, event, d, kept, true, &seq, err);
    if (rc == SM_OK && seq > 0)
        d->seq = seq;
    d->s.status = d->s.sent = worst;
    d->s.sent_ns = s->now_ns;
    json_decref(kept);
    json_decref(event);
    return rc;
}

/* One digest a window while something is held back; an `ok` when nothing is any more. */
static sm_rc tell_digest(sm_core *c, const settling *s, const char *dimension, sm_err *err) {
    int64_t n, told, from;
    int worst;
    char *text = NULL;
    sm_dim_row d = {0};
    sm_rc rc = held_back(c, s->head.who, &n, &worst, &text, err);
    if (rc == SM_OK)
        rc = sm_dim_load(c, s->head.who, dimension, &d, err);
    if (rc == SM_OK)
        rc = sm_sql_int(c, &told, 0, err, "SELECT digest_ns FROM budgets WHERE who = ?1", "t",
                        s->head.who);
    if (rc == SM_OK)
        rc = sm_sql_int(c, &from, 0, err, "SELECT from_ns FROM budgets WHERE who = ?1", "t",
                        s->head.who);
    if (rc != SM_OK || s->window)
        goto out;
    bool windowed = s->policy.max_events > 0;
    bool due = n > 0 && (d.s.sent <= 0 || worst > d.s.sent || (windowed && told < from));
    if (due) {
        rc = put_digest(c, s, dimension, &d, n, worst, text, err);
        if (rc == SM_OK)
            rc = sm_sql_run(c, err,
                            "INSERT INTO budgets (who, from_ns, let_out, digest_ns) VALUES (?1, "
                            "?2, 0, ?2) ON CONFLICT (who) DO UPDATE SET digest_ns = ?2",
                            "ti", s->head.who, s->now_ns);
    } else if (n == 0 && d.s.sent > 0) {
        sm_decision x = {.send = true, .rule = "recovered"};
        json_t *kept = sm_decision_json(&x, d.s.sent, 0, NULL);
        rc = sm_event_ok(c, s->head.who, s->head.id, dimension, &d, s->head.run, s->now_ns, kept,
                         true, err);
        d.s.status = d.s.sent = 0;
        json_decref(kept);
    } else {
        goto out;
    }
    if (rc == SM_OK)
        rc = sm_dim_save(c, s->head.who, s->head.id, dimension, &d, err);
out:
    free(text);
    sm_dim_fini(&d);
    return rc;
}

sm_rc sm_run_settle(sm_core *c, const json_t *args, int64_t now_ns, sm_err *err) {
    settling s = {.window = sm_json_str(args, "hold", NULL), .now_ns = now_ns};
    sm_rc rc = sm_policy_read(sm_arg_maybe(args, "policy"), &s.policy, err);
    if (rc != SM_OK || !s.policy.given || strcmp(sm_json_str(args, "outcome", ""), "ok") != 0)
        return rc;
    rc = sm_event_head_read(args, &s.head, err);
    if (rc != SM_OK)
        return rc;
    char *digest = sm_digest_dimension(s.head.id);
    if (s.policy.recover)
        rc = recover_silent(c, &s, err);
    if (rc == SM_OK && (s.policy.max_dimensions > 0 || s.policy.max_events > 0))
        rc = tell_digest(c, &s, digest, err);
    free(digest);
    return rc;
}
