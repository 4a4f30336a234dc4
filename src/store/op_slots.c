/* op_slots: the ledger of due instants: one row each, or one for a stretch of them that had no run.
 *
 * A row is planned ahead and answered once: by the end of its run, or as (part of) a gap. A row
 * that is planned, or that passed while no process was there, is open. Refuses nothing: a slot that
 * was never planned gets its row when it is finished. Called through the table of operations and
 * by op_runs, on the store's thread.
 */
#include "store/store_internal.h"

#include <string.h>

#define OPEN "run IS NULL AND until IS NULL AND outcome IN ('planned', 'missed')"

sm_rc sm_op_slot_plan(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    /* What passed unanswered may be planned again: it is caught up. */
    static const char sql[] =
        "INSERT INTO slots (id, slot, trigger, planned_ns, rule) VALUES (?1, ?2, ?3, ?4, ?5) "
        "ON CONFLICT (id, slot) DO UPDATE SET outcome = 'planned', planned_ns = "
        "excluded.planned_ns,"
        " rule = excluded.rule, at_ns = NULL WHERE run IS NULL AND until IS NULL AND "
        "outcome = 'missed'";
    const char *id = sm_arg_text(args, "id", err);
    const char *trigger = id != NULL ? sm_arg_text(args, "trigger", err) : NULL;
    int64_t slot, planned_ns;
    sqlite3_stmt *st;
    bool row;
    if (trigger == NULL || sm_arg_int(args, "slot", &slot, err) != SM_OK ||
        sm_arg_int(args, "planned_ns", &planned_ns, err) != SM_OK)
        return SM_INVALID;
    sm_rc rc =
        sm_sql_run(c, err, sql, "titij", id, slot, trigger, planned_ns, sm_arg_maybe(args, "rule"));
    bool created = rc == SM_OK && sqlite3_changes(c->h) > 0;
    if (rc == SM_OK)
        rc = sm_sql_query(c, &st, err, "SELECT outcome FROM slots WHERE id = ?1 AND slot = ?2",
                          "ti", id, slot);
    if (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row) {
        *result = json_pack("{s:b, s:o}", "created", created, "outcome", sm_col_text(st, 0));
        sm_sql_end(st);
    }
    return rc;
}

sm_rc sm_slot_end(sm_core *c, const char *id, int64_t slot, const char *outcome, const char *run,
                  int64_t at_ns, sm_err *err) {
    return sm_sql_run(c, err,
                      "INSERT INTO slots (id, slot, trigger, planned_ns, outcome, run, at_ns) "
                      "VALUES (?1, ?2, 'schedule', ?5, ?3, ?4, ?5) "
                      "ON CONFLICT (id, slot) DO UPDATE SET outcome = excluded.outcome, "
                      "run = excluded.run, at_ns = excluded.at_ns, count = 1, until = NULL, "
                      "about = 0, reason = NULL",
                      "titti", id, slot, outcome, run, at_ns);
}

/* Instants of the stretch that have a row of their own, because a clock that went back showed them
 * again. */
static sm_rc answered(sm_core *c, const char *id, int64_t from, int64_t to, int64_t *n,
                      sm_err *err) {
    return sm_sql_int(c, n, 0, err,
                      "SELECT sum(count) FROM slots WHERE id = ?1 AND slot >= ?2 AND slot <= ?3 "
                      "AND NOT (" OPEN ")",
                      "tii", id, from, to);
}

sm_rc sm_op_slot_gap(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    static const char sql[] =
        "INSERT INTO slots (id, slot, trigger, planned_ns, outcome, at_ns, until, count, about, "
        "reason) VALUES (?1, ?2, 'schedule', ?4, ?3, ?4, ?5, ?6, ?7, ?8) "
        "ON CONFLICT (id, slot) DO UPDATE SET outcome = excluded.outcome, at_ns = excluded.at_ns, "
        "until = excluded.until, count = excluded.count, about = excluded.about, "
        "reason = excluded.reason WHERE run IS NULL";
    (void)result;
    const char *id = sm_arg_text(args, "id", err);
    const char *outcome = id != NULL ? sm_arg_text(args, "outcome", err) : NULL;
    int64_t from, to, count, at_ns, own = 0, taken = 1;
    if (outcome == NULL || sm_arg_int(args, "from", &from, err) != SM_OK ||
        sm_arg_int(args, "to", &to, err) != SM_OK ||
        sm_arg_int(args, "count", &count, err) != SM_OK ||
        sm_arg_int(args, "at_ns", &at_ns, err) != SM_OK)
        return SM_INVALID;
    if (to < from || count < 1)
        return sm_err_set(err, SM_INVALID, "to, count: expected a stretch that is not empty");
    sm_rc rc = sm_sql_run(c, err,
                          "DELETE FROM slots WHERE id = ?1 AND slot >= ?2 AND slot <= ?3 AND " OPEN,
                          "tii", id, from, to);
    /* The same stretch again, longer: the row is only brought up to date. */
    bool grows = sm_json_bool(args, "grows", false);
    if (rc == SM_OK && !grows)
        rc = answered(c, id, from, to, &own, err);
    /* Its key must be free: the first instant may have been run before the clock went back. */
    while (rc == SM_OK && !grows && own > 0 && taken > 0) {
        rc = answered(c, id, from, from, &taken, err);
        from += taken > 0;
    }
    if (rc == SM_OK && count > own && from <= to)
        rc = sm_sql_run(c, err, sql, "titiiibs", id, from, outcome, at_ns, to, count - own,
                        (int)sm_json_bool(args, "about", false), json_object_get(args, "reason"));
    return rc;
}

sm_rc sm_slot_pass(sm_core *c, const char *id, int64_t slot, const char *outcome,
                   const json_t *reason, int64_t at_ns, sm_err *err) {
    static const char join[] =
        "UPDATE slots SET until = ?2, count = count + 1, at_ns = ?5 WHERE id = ?1 AND slot = "
        "(SELECT max(b.slot) FROM slots b WHERE b.id = ?1 AND b.slot < ?2) AND run IS NULL AND "
        "until IS NOT NULL AND outcome = ?3 AND reason IS ?4";
    static const char alone[] =
        "INSERT INTO slots (id, slot, trigger, planned_ns, outcome, reason, at_ns, until) "
        "VALUES (?1, ?2, 'schedule', ?5, ?3, ?4, ?5, ?2) ON CONFLICT (id, slot) DO UPDATE SET "
        "outcome = excluded.outcome, reason = excluded.reason, at_ns = excluded.at_ns, "
        "until = excluded.until WHERE run IS NULL";
    sm_rc rc = sm_sql_run(c, err, "DELETE FROM slots WHERE id = ?1 AND slot = ?2 AND " OPEN, "ti",
                          id, slot);
    if (rc == SM_OK)
        rc = sm_sql_run(c, err, join, "titsi", id, slot, outcome, reason, at_ns);
    if (rc == SM_OK && sqlite3_changes(c->h) == 0)
        rc = sm_sql_run(c, err, alone, "titsi", id, slot, outcome, reason, at_ns);
    return rc;
}

sm_rc sm_op_slot_unplan(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    static const char sql[] = "DELETE FROM slots WHERE id = ?1 AND slot >= ?2 AND " OPEN
                              " AND (?3 IS NULL OR slot <> ?3) AND (?4 IS NULL OR rule <> ?4)";
    const char *id = sm_arg_text(args, "id", err);
    int64_t from = sm_json_int(args, "from", INT64_MIN);
    if (id == NULL)
        return SM_INVALID;
    sm_rc rc = sm_sql_run(c, err, sql, "tijj", id, from, sm_arg_maybe(args, "keep"),
                          sm_arg_maybe(args, "rule"));
    if (rc == SM_OK)
        *result = json_pack("{s:I}", "removed", (json_int_t)sqlite3_changes64(c->h));
    return rc;
}

sm_rc sm_op_slot_reopen(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    /* Of a stretch that began before, a part by time stays. */
    static const char cut[] =
        "UPDATE slots INDEXED BY slots_gap SET count = max(1, count * (?1 - slot) / (until - "
        "slot)), about = 1, "
        "until = ?1 WHERE slot <= ?1 AND until > ?1 AND run IS NULL AND outcome <> 'planned'";
    int64_t now, cuts = 0;
    if (sm_arg_int(args, "now", &now, err) != SM_OK)
        return SM_INVALID;
    sm_rc rc = sm_sql_run(c, err, "DELETE FROM slots WHERE slot > ?1 AND run IS NULL", "i", now);
    int64_t removed = rc == SM_OK ? sqlite3_changes64(c->h) : 0;
    if (rc == SM_OK)
        rc = sm_sql_run(c, err, cut, "i", now);
    if (rc == SM_OK) {
        cuts = sqlite3_changes64(c->h);
        *result = json_pack("{s:I, s:I}", "removed", (json_int_t)removed, "cut", (json_int_t)cuts);
    }
    return rc;
}

sm_rc sm_op_slot_last(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)args;
    /* Jumps from inspection to inspection in the primary key: a few probes each, and what lies
     * behind the newest slot that was answered, which is little. */
    static const char sql[] =
        "WITH RECURSIVE ids (id) AS (SELECT min(id) FROM slots UNION ALL SELECT (SELECT min(s.id) "
        "FROM slots s WHERE s.id > ids.id) FROM ids WHERE ids.id IS NOT NULL) "
        "SELECT s.id, s.slot, s.outcome, "
        "(SELECT coalesce(d.until, d.slot) FROM slots d WHERE d.id = s.id AND NOT (d." OPEN
        ") ORDER BY d.slot DESC LIMIT 1), "
        "(SELECT min(o.slot) FROM slots o INDEXED BY slots_open WHERE o.id = s.id AND " OPEN
        "), (SELECT max(o.rule) FROM slots o INDEXED BY slots_open WHERE o.id = s.id AND " OPEN
        "), (SELECT min(o.rule) FROM slots o INDEXED BY slots_open WHERE o.id = s.id AND " OPEN
        ") FROM ids JOIN slots s ON s.id = ids.id AND s.slot = "
        "(SELECT max(n.slot) FROM slots n WHERE n.id = ids.id)";
    static const char *const names[] = {"done", "open", "rule", "other"};
    sqlite3_stmt *st;
    bool row;
    json_t *out = json_object();
    sm_rc rc = sm_sql_query(c, &st, err, sql, "");
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row) {
        json_t *o =
            json_pack("{s:o,s:o}", "slot", sm_col_int(st, 1), "outcome", sm_col_text(st, 2));
        for (int i = 0; i < 4; i++)
            if (sqlite3_column_type(st, 3 + i) != SQLITE_NULL)
                json_object_set_new(o, names[i], sm_col_int(st, 3 + i));
        json_object_set_new(out, (const char *)sqlite3_column_text(st, 0), o);
    }
    if (rc == SM_OK)
        *result = json_incref(out);
    json_decref(out);
    return rc;
}
