/* op_local_events: the events that the embedded platform took, as they came, once per event_id.
 *
 * Called through the table of operations, on the store's thread.
 */
#include "store/store_internal.h"

/* A member of the row itself or of the event in it: rows are payloads of a claim. */
static const json_t *pick(const json_t *row, const char *name) {
    const json_t *v = sm_arg_maybe(json_object_get(row, "event"), name);
    return v != NULL ? v : sm_arg_maybe(row, name);
}

sm_rc sm_op_local_events_put(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    static const char sql[] =
        "INSERT INTO local_events (event_id, at_ns, seen_ns, ref_key, payload) "
        "VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (event_id) DO NOTHING";
    const json_t *events = sm_arg_array(args, "events", err);
    int64_t at_ns, stored = 0;
    if (events == NULL || sm_arg_int(args, "at_ns", &at_ns, err) != SM_OK)
        return SM_INVALID;
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *row = json_array_get(events, i);
        const json_t *event_id = pick(row, "event_id"), *when = pick(row, "at_ns");
        if (!json_is_string(event_id))
            return sm_err_set(err, SM_INVALID, "events[%zu].event_id: expected a text", i + 1);
        sm_rc rc = sm_sql_run(c, err, sql, "siisd", event_id,
                              json_is_integer(when) ? json_integer_value(when) : at_ns, at_ns,
                              pick(row, "ref_key"), row);
        if (rc != SM_OK)
            return rc;
        stored += sqlite3_changes(c->h);
    }
    *result = json_pack("{s:I}", "stored", (json_int_t)stored);
    return SM_OK;
}

sm_rc sm_op_local_events(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    static const char sql[] =
        "SELECT payload FROM local_events INDEXED BY local_events_at WHERE at_ns >= ?1 AND "
        "(?2 IS NULL OR ref_key = ?2) ORDER BY at_ns DESC, seq DESC LIMIT ?3";
    int64_t limit = sm_json_int(args, "limit", 0);
    sqlite3_stmt *st;
    bool row;
    json_t *out = json_array();
    sm_rc rc = sm_sql_query(c, &st, err, sql, "iti", sm_json_int(args, "since_ns", INT64_MIN),
                            sm_json_str(args, "ref_key", NULL), limit > 0 ? limit : -1);
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row)
        json_array_append_new(out, sm_col_doc(st, 0));
    if (rc == SM_OK)
        *result = sm_rows_reverse(json_incref(out));
    json_decref(out);
    return rc;
}
