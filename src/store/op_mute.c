/* op_mute: events held back by hand: mutes, and what is made up for when a mute or a maintenance
 * window ends: each dimension whose state differs from what was let out last gets one event.
 *
 * Runs go on and events are kept meanwhile. Called through the table of operations and by the rooms
 * of the event policy, on the store's thread.
 */
#include "base/mem.h"
#include "base/str.h"
#include "store/dims.h"
#include <stdlib.h>
#include <string.h>

enum { AT_ONCE = 1000 };

sm_rc sm_op_mute(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)result;
    const char *id = sm_arg_text(args, "id", err);
    const char *reason = id != NULL ? sm_arg_text(args, "reason", err) : NULL;
    int64_t until_ns, at_ns;
    if (reason == NULL || sm_arg_int(args, "until_ns", &until_ns, err) != SM_OK ||
        sm_arg_int(args, "at_ns", &at_ns, err) != SM_OK)
        return SM_INVALID;
    sm_rc rc = sm_sql_run(c, err,
                          "INSERT OR REPLACE INTO mutes (id, dimension, until_ns, reason, made_ns) "
                          "VALUES (?1, ?2, ?3, ?4, ?5)",
                          "ttiti", id, sm_json_str(args, "dimension", ""), until_ns, reason, at_ns);
    if (rc == SM_OK)
        c->counts.mutes = -1;
    return rc;
}

sm_rc sm_op_unmute(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    const char *id = sm_arg_text(args, "id", err);
    if (id == NULL)
        return SM_INVALID;
    sm_rc rc =
        sm_sql_run(c, err, "DELETE FROM mutes WHERE id = ?1 AND (?2 IS NULL OR dimension = ?2)",
                   "tt", id, sm_json_str(args, "dimension", NULL));
    if (rc != SM_OK)
        return rc;
    *result = json_pack("{s:I}", "removed", (json_int_t)sqlite3_changes64(c->h));
    c->counts.mutes = -1;
    return SM_OK;
}

sm_rc sm_op_mutes(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    sqlite3_stmt *st;
    bool row;
    json_t *out = json_array();
    sm_rc rc = sm_sql_query(c, &st, err,
                            "SELECT id, dimension, until_ns, reason, made_ns FROM mutes WHERE "
                            "until_ns > ?1 ORDER BY id, dimension",
                            "i", sm_json_int(args, "now_ns", INT64_MIN));
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row) {
        json_t *o = json_pack("{s:o, s:o, s:o, s:o}", "id", sm_col_text(st, 0), "until_ns",
                              sm_col_int(st, 2), "reason", sm_col_text(st, 3), "made_ns",
                              sm_col_int(st, 4));
        const char *dimension = (const char *)sqlite3_column_text(st, 1);
        json_object_set_new(o, "dimension", dimension[0] ? sm_col_text(st, 1) : json_null());
        json_array_append_new(out, o);
    }
    if (rc == SM_OK)
        *result = json_incref(out);
    json_decref(out);
    return rc;
}

sm_rc sm_mute_why(sm_core *c, const char *id, const char *dimension, int64_t now_ns, char **why,
                  sm_err *err) {
    static const char sql[] =
        "SELECT until_ns, reason FROM mutes WHERE until_ns > ?3 AND (id = ?1 OR sm_glob(id, ?1)) "
        "AND dimension IN ('', ?2) ORDER BY until_ns DESC LIMIT 1";
    sqlite3_stmt *st;
    bool row;
    *why = NULL;
    sm_rc rc = SM_OK;
    if (c->counts.mutes < 0)
        rc = sm_sql_int(c, &c->counts.mutes, 0, err, "SELECT count(*) FROM mutes", "");
    if (rc != SM_OK || c->counts.mutes == 0)
        return rc;
    rc = sm_sql_query(c, &st, err, sql, "tti", id, dimension, now_ns);
    if (rc != SM_OK || (rc = sm_sql_next(c, st, &row, err)) != SM_OK || !row)
        return rc;
    char until[32];
    sm_time_rfc3339(sqlite3_column_int64(st, 0), false, until);
    *why = sm_asprintf("muted until %s: %s", until, (const char *)sqlite3_column_text(st, 1));
    sm_sql_end(st);
    return SM_OK;
}

/* The newest event of the dimension with this status, since the fault began; 0: none. */
static sm_rc newest_of(sm_core *c, const char *id, const char *dimension, const sm_dim_row *d,
                       int64_t *seq, sm_err *err) {
    static const char sql[] =
        "SELECT seq FROM events INDEXED BY events_at WHERE at_ns >= ?1 AND id = ?2 AND status = ?3 "
        "AND dimension = ?4 ORDER BY at_ns DESC, seq DESC LIMIT 1";
    int64_t since = json_is_integer(d->start) ? json_integer_value(d->start) : d->s.sent_ns;
    return sm_sql_int(c, seq, 0, err, sql, "ittt", since, id, sm_policy_status(d->s.status),
                      dimension);
}

static sm_rc make_up(sm_core *c, const char *who, const char *id, const char *dimension,
                     int64_t now_ns, int64_t *made, sm_err *err) {
    sm_dim_row d = {0};
    int64_t seq = 0, had_ns = 0;
    sm_rc rc = sm_dim_load(c, who, dimension, &d, err);
    if (rc != SM_OK || !d.known)
        goto out;
    int was = d.s.sent;
    had_ns = d.s.sent_ns;
    if (sm_policy_reconcile(&d.s, now_ns)) {
        sm_decision x = {.send = true, .rule = "made_up"};
        json_t *kept = sm_decision_json(&x, was, d.s.status, NULL);
        int64_t let_out_ns = d.s.sent_ns;
        d.s.sent_ns = had_ns;
        rc = newest_of(c, id, dimension, &d, &seq, err);
        d.s.sent_ns = let_out_ns;
        if (rc == SM_OK && seq > 0)
            rc = sm_event_release(c, seq, kept, err);
        else if (rc == SM_OK && d.s.status == 0)
            rc = sm_event_ok(c, who, id, dimension, &d, "", now_ns, kept, true, err);
        json_decref(kept);
        ++*made;
    }
    if (rc == SM_OK)
        rc = sm_dim_save(c, who, id, dimension, &d, err);
out:
    sm_dim_fini(&d);
    return rc;
}

static bool held_now(const json_t *holding, const char *id) {
    size_t i;
    json_t *one;
    json_array_foreach(holding, i, one) {
        if (json_is_string(one) && strcmp(json_string_value(one), id) == 0)
            return true;
    }
    return false;
}

sm_rc sm_op_reconcile(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    static const char sql[] = "SELECT who, id, dimension FROM dims INDEXED BY dims_muted WHERE "
                              "muted = 1 AND who > ?1 ORDER BY who LIMIT ?2";
    const json_t *holding = json_object_get(args, "holding");
    json_t *rows = json_array(), *one;
    int64_t now_ns, made = 0, left = 0;
    size_t i;
    sqlite3_stmt *st;
    bool row;
    sm_rc rc = sm_arg_int(args, "now_ns", &now_ns, err);
    if (rc == SM_OK)
        rc = sm_sql_run(c, err, "DELETE FROM mutes WHERE until_ns <= ?1", "i", now_ns);
    if (rc == SM_OK && sqlite3_changes(c->h) > 0)
        c->counts.mutes = -1;
    if (rc == SM_OK)
        rc = sm_sql_query(c, &st, err, sql, "ti", sm_json_str(args, "after", ""), (int64_t)AT_ONCE);
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row)
        json_array_append_new(rows, json_pack("[o, o, o]", sm_col_text(st, 0), sm_col_text(st, 1),
                                              sm_col_text(st, 2)));
    json_array_foreach(rows, i, one) {
        const char *who = json_string_value(json_array_get(one, 0));
        const char *id = json_string_value(json_array_get(one, 1));
        const char *dimension = json_string_value(json_array_get(one, 2));
        char *why = NULL;
        if (rc == SM_OK)
            rc = sm_mute_why(c, id, dimension, now_ns, &why, err);
        if (rc == SM_OK && (why != NULL || held_now(holding, id)))
            left++;
        else if (rc == SM_OK)
            rc = make_up(c, who, id, dimension, now_ns, &made, err);
        free(why);
    }
    if (rc == SM_OK)
        *result = json_pack("{s:I, s:I, s:b}", "made", (json_int_t)made, "held", (json_int_t)left,
                            "more", json_array_size(rows) == AT_ONCE);
    json_decref(rows);
    return rc;
}
