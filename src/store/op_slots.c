/* op_slots: the due instants of inspections, one row each, whatever becomes of them.
 *
 * Refuses nothing: a slot that was never planned gets its row when it is finished. Called through
 * the table of operations and by op_runs, on the store's thread.
 */
#include "store/store_internal.h"

sm_rc sm_op_slot_plan(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    const char *id = sm_arg_text(args, "id", err);
    const char *trigger = id != NULL ? sm_arg_text(args, "trigger", err) : NULL;
    int64_t slot, planned_ns;
    if (trigger == NULL || sm_arg_int(args, "slot", &slot, err) != SM_OK ||
        sm_arg_int(args, "planned_ns", &planned_ns, err) != SM_OK)
        return SM_INVALID;
    sm_rc rc = sm_sql_run(c, err,
                          "INSERT INTO slots (id, slot, trigger, planned_ns) "
                          "VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                          "titi", id, slot, trigger, planned_ns);
    if (rc == SM_OK)
        *result = json_pack("{s:b}", "created", sqlite3_changes(c->h) > 0);
    return rc;
}

sm_rc sm_slot_end(sm_core *c, const char *id, int64_t slot, const char *outcome, const char *run,
                  int64_t at_ns, int64_t count, sm_err *err) {
    return sm_sql_run(c, err,
                      "INSERT INTO slots (id, slot, trigger, planned_ns, outcome, run, at_ns, "
                      "count) VALUES (?1, ?2, 'schedule', ?5, ?3, ?4, ?5, ?6) "
                      "ON CONFLICT (id, slot) DO UPDATE SET outcome = excluded.outcome, "
                      "run = excluded.run, at_ns = excluded.at_ns, count = excluded.count",
                      "tittii", id, slot, outcome, run, at_ns, count);
}

sm_rc sm_op_slot_finish(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)result;
    const char *id = sm_arg_text(args, "id", err);
    const char *outcome = id != NULL ? sm_arg_text(args, "outcome", err) : NULL;
    int64_t slot, at_ns;
    if (outcome == NULL || sm_arg_int(args, "slot", &slot, err) != SM_OK ||
        sm_arg_int(args, "at_ns", &at_ns, err) != SM_OK)
        return SM_INVALID;
    return sm_slot_end(c, id, slot, outcome, sm_json_str(args, "run", NULL), at_ns,
                       sm_json_int(args, "count", 1), err);
}

sm_rc sm_op_slot_last(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)args;
    /* Jumps from inspection to inspection in the primary key: two probes each, and what lies behind
     * the newest slot that was done, which is little. */
    static const char sql[] =
        "WITH RECURSIVE ids (id) AS (SELECT min(id) FROM slots UNION ALL SELECT (SELECT min(s.id) "
        "FROM slots s WHERE s.id > ids.id) FROM ids WHERE ids.id IS NOT NULL), "
        "done (id, slot) AS (SELECT ids.id, (SELECT d.slot FROM slots d WHERE d.id = ids.id AND "
        "d.outcome NOT IN ('planned', 'missed') ORDER BY d.slot DESC LIMIT 1) FROM ids) "
        "SELECT s.id, s.slot, s.outcome, done.slot, (SELECT m.slot FROM slots m WHERE m.id = "
        "done.id AND m.slot > coalesce(done.slot, -9e18) AND m.outcome = 'missed' "
        "ORDER BY m.slot DESC LIMIT 1) FROM done JOIN slots s ON s.id = done.id AND s.slot = "
        "(SELECT max(n.slot) FROM slots n WHERE n.id = done.id)";
    sqlite3_stmt *st;
    bool row;
    json_t *out = json_object();
    sm_rc rc = sm_sql_query(c, &st, err, sql, "");
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row) {
        json_t *o =
            json_pack("{s:o,s:o}", "slot", sm_col_int(st, 1), "outcome", sm_col_text(st, 2));
        static const char *const names[] = {"done", "missed"};
        for (int i = 0; i < 2; i++)
            if (sqlite3_column_type(st, 3 + i) != SQLITE_NULL)
                json_object_set_new(o, names[i], sm_col_int(st, 3 + i));
        json_object_set_new(out, (const char *)sqlite3_column_text(st, 0), o);
    }
    if (rc == SM_OK)
        *result = json_incref(out);
    json_decref(out);
    return rc;
}
