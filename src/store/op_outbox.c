/* op_outbox: what became of claimed events: delivered, put back, held, refused; the outbox in
 * numbers; and its recovery at start.
 *
 * A delivered event leaves the outbox, its last attempt is the proof. Every other row stays until
 * it is delivered: nothing here drops one. Called through the table of operations and by db at
 * open, on the store's thread.
 */
#include "store/dims.h"

#include <string.h>

/* Rows about attempts that an event may collect before its last; a week of retries is no book. */
enum { ATTEMPT_ROWS = 20 };

static const char *const state_names[SM_BOX_STATES] = {"pending", "inflight", "held", "refused"};

sm_box_state sm_box_parse(const char *name) {
    for (int i = 0; i < SM_BOX_STATES; i++) {
        if (name != NULL && strcmp(name, state_names[i]) == 0)
            return (sm_box_state)i;
    }
    return SM_BOX_STATES;
}

sm_rc sm_outbox_promote(sm_core *c, int64_t dim, sm_err *err) {
    static const char sql[] = "SELECT seq, head FROM outbox INDEXED BY outbox_dim WHERE dim = ?1 "
                              "AND " SM_SQL_WAITS " ORDER BY seq LIMIT 1";
    sqlite3_stmt *st;
    bool row;
    sm_rc rc = sm_sql_query(c, &st, err, sql, "i", dim);
    if (rc != SM_OK || (rc = sm_sql_next(c, st, &row, err)) != SM_OK || !row)
        return rc;
    int64_t seq = sqlite3_column_int64(st, 0);
    bool head = sqlite3_column_int(st, 1) != 0;
    sm_sql_end(st);
    return head ? SM_OK : sm_sql_run(c, err, "UPDATE outbox SET head = 1 WHERE seq = ?1", "i", seq);
}

static sm_rc read_row(sm_core *c, sqlite3_stmt *st, sm_box_row *r, bool *found, sm_err *err) {
    sm_rc rc = sm_sql_next(c, st, found, err);
    if (rc != SM_OK || !*found)
        return rc;
    r->seq = sqlite3_column_int64(st, 0);
    r->dim = sqlite3_column_int64(st, 1);
    r->bytes = sqlite3_column_int64(st, 2);
    r->tries = sqlite3_column_int64(st, 3);
    r->state = sm_box_parse((const char *)sqlite3_column_text(st, 4));
    r->lane = sm_tally_lane(c, (const char *)sqlite3_column_text(st, 5),
                            (const char *)sqlite3_column_text(st, 6));
    sm_sql_end(st);
    return SM_OK;
}

sm_rc sm_outbox_find(sm_core *c, const char *event_id, sm_box_row *r, bool *found, sm_err *err) {
    static const char sql[] =
        "SELECT o.seq, o.dim, o.bytes, o.tries, o.state, o.account, o.id FROM events e "
        "JOIN outbox o ON o.seq = e.seq WHERE e.event_id = ?1";
    sqlite3_stmt *st;
    sm_rc rc = sm_sql_query(c, &st, err, sql, "t", event_id);
    return rc == SM_OK ? read_row(c, st, r, found, err) : rc;
}

sm_rc sm_outbox_at(sm_core *c, int64_t seq, sm_box_row *r, bool *found, sm_err *err) {
    sqlite3_stmt *st;
    sm_rc rc = sm_sql_query(
        c, &st, err, "SELECT seq, dim, bytes, tries, state, account, id FROM outbox WHERE seq = ?1",
        "i", seq);
    return rc == SM_OK ? read_row(c, st, r, found, err) : rc;
}

static sm_rc write_attempt(sm_core *c, const sm_box_row *r, int64_t at_ns, const char *verdict,
                           const json_t *answer, bool last, sm_err *err) {
    if (!last && r->tries >= ATTEMPT_ROWS)
        return SM_OK;
    return sm_sql_run(c, err,
                      "INSERT INTO attempts (seq, n, at_ns, verdict, answer) VALUES (?1, ?2, ?3, "
                      "?4, ?5) ON CONFLICT DO NOTHING",
                      "iiitj", r->seq, r->tries + 1, at_ns, verdict, answer);
}

sm_rc sm_outbox_take_out(sm_core *c, int64_t seq, const char *verdict, const char *why,
                         int64_t at_ns, sm_err *err) {
    sm_box_row r;
    bool found;
    json_t *answer = json_string(why);
    sm_rc rc = sm_outbox_at(c, seq, &r, &found, err);
    if (rc == SM_OK && found)
        rc = write_attempt(c, &r, at_ns, verdict, answer, true, err);
    if (rc == SM_OK && found)
        rc = sm_sql_run(c, err, "DELETE FROM outbox WHERE seq = ?1", "i", seq);
    if (rc == SM_OK && found) {
        sm_tally_move(c, r.lane, r.state, SM_BOX_STATES, r.bytes);
        rc = sm_outbox_promote(c, r.dim, err);
    }
    json_decref(answer);
    return rc;
}

static sm_rc deliver_row(sm_core *c, sm_box_row *r, int64_t at_ns, const json_t *args,
                         sm_err *err) {
    sm_rc rc = write_attempt(c, r, at_ns, "delivered", json_object_get(args, "answer"), true, err);
    if (rc == SM_OK)
        rc = sm_sql_run(c, err, "DELETE FROM outbox WHERE seq = ?1", "i", r->seq);
    if (rc == SM_OK)
        sm_tally_move(c, r->lane, r->state, SM_BOX_STATES, r->bytes);
    return rc == SM_OK ? sm_dim_delivered(c, r->seq, err) : rc;
}

/* Puts a row into a state; what was refused may stand before the head of its dimension, which
 * then is none any more. */
sm_rc sm_outbox_put(sm_core *c, sm_box_row *r, sm_box_state to, const char *verdict, int64_t at_ns,
                    const json_t *args, json_t *withdrawn, sm_err *err) {
    static const char sql[] =
        "UPDATE outbox SET state = ?2, due_ms = ?3, attempt = attempt + ?4, tries = tries + 1, "
        "changed_ns = ?5, reason = ?6, head = CASE WHEN ?2 = 'refused' THEN 0 ELSE head END, waits "
        "= ?2 <> 'refused' "
        "WHERE seq = ?1";
    const json_t *reason = json_object_get(args, "reason");
    sm_rc rc = write_attempt(c, r, at_ns, verdict, reason, to == SM_BOX_REFUSED, err);
    if (rc == SM_OK && r->state == SM_BOX_REFUSED && to != SM_BOX_REFUSED)
        rc = sm_sql_run(c, err,
                        "UPDATE outbox INDEXED BY outbox_dim SET head = 0 WHERE dim = ?1 "
                        "AND " SM_SQL_WAITS " AND head = 1",
                        "i", r->dim);
    if (rc == SM_OK)
        rc = sm_sql_run(c, err, sql, "itiiij", r->seq, state_names[to],
                        sm_json_int(args, "next_ms", 0), (int64_t)(to == SM_BOX_PENDING), at_ns,
                        reason);
    if (rc != SM_OK)
        return rc;
    sm_tally_move(c, r->lane, r->state, to, r->bytes);
    r->state = to;
    return to == SM_BOX_REFUSED ? sm_dim_refused(c, r->seq, at_ns, withdrawn, err) : SM_OK;
}

/* to: SM_BOX_STATES means delivered. */
static sm_rc settle(sm_core *c, const json_t *args, sm_box_state to, const char *verdict,
                    int64_t *n, json_t *withdrawn, sm_err *err) {
    const json_t *ids = sm_arg_array(args, "ids", err);
    int64_t at_ns, next_ms;
    sm_rc rc = ids == NULL ? SM_INVALID : sm_arg_int(args, "at_ns", &at_ns, err);
    if (rc == SM_OK && (to == SM_BOX_PENDING || to == SM_BOX_HELD))
        rc = sm_arg_int(args, "next_ms", &next_ms, err);
    *n = 0;
    for (size_t i = 0; rc == SM_OK && i < json_array_size(ids); i++) {
        const char *event_id = json_string_value(json_array_get(ids, i));
        sm_box_row r;
        bool found;
        if (event_id == NULL)
            return sm_err_set(err, SM_INVALID, "ids[%zu]: expected a text", i + 1);
        rc = sm_outbox_find(c, event_id, &r, &found, err);
        if (rc != SM_OK || !found)
            continue;
        rc = to == SM_BOX_STATES ? deliver_row(c, &r, at_ns, args, err)
                                 : sm_outbox_put(c, &r, to, verdict, at_ns, args, withdrawn, err);
        if (rc == SM_OK)
            rc = sm_outbox_promote(c, r.dim, err);
        ++*n;
    }
    return rc;
}

sm_rc sm_op_outbox_done(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    int64_t n;
    sm_rc rc = settle(c, args, SM_BOX_STATES, "delivered", &n, NULL, err);
    if (rc == SM_OK)
        *result = json_pack("{s:I}", "done", (json_int_t)n);
    return rc;
}

sm_rc sm_op_outbox_retry(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)result;
    int64_t n;
    return settle(c, args, SM_BOX_PENDING, "retry", &n, NULL, err);
}

sm_rc sm_op_outbox_hold(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)result;
    int64_t n;
    return settle(c, args, SM_BOX_HELD, "held", &n, NULL, err);
}

sm_rc sm_op_outbox_refuse(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    int64_t n;
    json_t *withdrawn = json_array();
    sm_rc rc = settle(c, args, SM_BOX_REFUSED, "refused", &n, withdrawn, err);
    if (rc == SM_OK)
        *result = json_pack("{s:O}", "withdrawn", withdrawn);
    json_decref(withdrawn);
    return rc;
}

static json_t *int_or_null(int64_t v) {
    return v == INT64_MIN ? json_null() : json_integer(v);
}

sm_rc sm_op_outbox_stats(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    const char *account = sm_json_str(args, "account", NULL);
    int64_t oldest, next;
    sm_rc rc = sm_sql_int(c, &oldest, INT64_MIN, err,
                          "SELECT at_ns FROM events WHERE seq = (SELECT seq FROM outbox "
                          "WHERE " SM_SQL_UNFINISHED " ORDER BY seq LIMIT 1)",
                          "");
    if (rc == SM_OK && account)
        rc = sm_sql_int(c, &next, INT64_MIN, err,
                        "SELECT due_ms FROM outbox INDEXED BY outbox_due "
                        "WHERE due_ms > 0 AND " SM_SQL_READY
                        " AND account = ?1 ORDER BY due_ms LIMIT 1",
                        "t", account);
    else if (rc == SM_OK)
        rc = sm_sql_int(c, &next, INT64_MIN, err,
                        "SELECT min(due_ms) FROM outbox INDEXED BY outbox_due "
                        "WHERE due_ms > 0 AND " SM_SQL_READY,
                        "");
    if (rc != SM_OK)
        return rc;
    json_t *o = json_object();
    for (int i = 0; i < SM_BOX_STATES; i++)
        json_object_set_new(o, state_names[i], json_integer(c->counts.rows[i]));
    json_object_set_new(o, "bytes", json_integer(c->counts.bytes));
    json_object_set_new(o, "oldest_ns", int_or_null(oldest));
    json_object_set_new(o, "next_ms", int_or_null(next));
    *result = o;
    return SM_OK;
}

sm_rc sm_op_outbox_accounts(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)args;
    json_t *o = json_object();
    const sm_lane *l;
    sm_rc rc = sm_tally_settle(c, err);
    for (size_t at = 0; rc == SM_OK && (l = sm_map_next(&c->tally.lanes, &at, NULL)) != NULL;) {
        int64_t n = l->rows[SM_BOX_PENDING] + l->rows[SM_BOX_INFLIGHT] + l->rows[SM_BOX_HELD];
        if (n > 0)
            json_object_set_new(o, l->account, json_integer(sm_json_int(o, l->account, 0) + n));
    }
    if (rc == SM_OK)
        *result = json_incref(o);
    json_decref(o);
    return rc;
}

sm_rc sm_outbox_recover(sm_core *c, sm_err *err) {
    sm_rc rc = sm_sql_run(c, err,
                          "UPDATE outbox SET state = 'pending', due_ms = 0 "
                          "WHERE state = 'inflight'",
                          "");
    if (rc == SM_OK)
        rc = sm_sql_run(
            c, err, "UPDATE outbox SET due_ms = 0 WHERE due_ms <> 0 AND " SM_SQL_UNFINISHED, "");
    return rc;
}

sm_rc sm_outbox_recount(sm_core *c, sm_err *err) {
    sm_rc rc = sm_tally_count(c, err);
    c->counts.mutes = -1;
    return rc;
}
