/* op_registry: what a platform last said of each inspection, one row per node, account and id.
 *
 * Called through the table of operations, on the store's thread.
 */
#include "store/store_internal.h"

sm_rc sm_op_registry_put(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    static const char sql[] =
        "INSERT INTO registry (node, account, id, ref_key, uuid, title, status, params, payload, "
        "seen_ns) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) "
        "ON CONFLICT (node, account, id) DO UPDATE SET ref_key = excluded.ref_key, "
        "uuid = excluded.uuid, title = excluded.title, status = excluded.status, "
        "params = excluded.params, payload = excluded.payload, seen_ns = excluded.seen_ns";
    (void)result;
    const char *node = sm_arg_text(args, "node", err);
    const char *account = node != NULL ? sm_arg_text(args, "account", err) : NULL;
    const char *id = account != NULL ? sm_arg_text(args, "id", err) : NULL;
    if (id == NULL)
        return SM_INVALID;
    return sm_sql_run(c, err, sql, "tttjjjjjjj", node, account, id,
                      json_object_get(args, "ref_key"), json_object_get(args, "uuid"),
                      json_object_get(args, "title"), json_object_get(args, "status"),
                      json_object_get(args, "params"), json_object_get(args, "payload"),
                      json_object_get(args, "seen_ns"));
}

sm_rc sm_op_registry_get(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    static const char sql[] =
        "SELECT node, account, id, ref_key, uuid, title, status, params, payload, seen_ns "
        "FROM registry WHERE (?1 IS NULL OR node = ?1) AND (?2 IS NULL OR account = ?2) AND "
        "(?3 IS NULL OR id = ?3) ORDER BY node, account, id";
    static const char exact[] =
        "SELECT node, account, id, ref_key, uuid, title, status, params, payload, seen_ns "
        "FROM registry WHERE node = ?1 AND account = ?2 AND id = ?3";
    static const char *const names[] = {"node",  "account", "id",     "ref_key", "uuid",
                                        "title", "status",  "params", "payload", "seen_ns"};
    const char *node = sm_json_str(args, "node", NULL);
    const char *account = sm_json_str(args, "account", NULL);
    const char *id = sm_json_str(args, "id", NULL);
    sqlite3_stmt *st;
    bool row;
    json_t *out = json_array();
    sm_rc rc =
        sm_sql_query(c, &st, err, node != NULL && account != NULL && id != NULL ? exact : sql,
                     "ttt", node, account, id);
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row) {
        json_t *o = json_object();
        for (int i = 0; i < (int)SM_ARRAY_LEN(names); i++)
            json_object_set_new_nocheck(o, names[i], sm_col_any(st, i));
        json_array_append_new(out, o);
    }
    if (rc == SM_OK)
        *result = json_incref(out);
    json_decref(out);
    return rc;
}

sm_rc sm_op_registry_delete(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)result;
    const char *node = sm_arg_text(args, "node", err);
    const char *account = node != NULL ? sm_arg_text(args, "account", err) : NULL;
    const char *id = account != NULL ? sm_arg_text(args, "id", err) : NULL;
    if (id == NULL)
        return SM_INVALID;
    return sm_sql_run(c, err, "DELETE FROM registry WHERE node = ?1 AND account = ?2 AND id = ?3",
                      "ttt", node, account, id);
}
