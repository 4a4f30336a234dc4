/* op_kv: small values by key: counters and memories of other rooms of the daemon.
 *
 * A null value removes the key. Called through the table of operations, on the store's thread.
 */
#include "store/store_internal.h"

sm_rc sm_op_kv_put(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)result;
    const char *key = sm_arg_text(args, "key", err);
    if (key == NULL)
        return SM_INVALID;
    const json_t *value = sm_arg_maybe(args, "value");
    if (value == NULL)
        return sm_sql_run(c, err, "DELETE FROM kv WHERE key = ?1", "t", key);
    return sm_sql_run(c, err,
                      "INSERT INTO kv (key, value) VALUES (?1, ?2) "
                      "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                      "tj", key, value);
}

sm_rc sm_op_kv_get(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    const char *key = sm_arg_text(args, "key", err);
    if (key == NULL)
        return SM_INVALID;
    sqlite3_stmt *st;
    bool row;
    sm_rc rc = sm_sql_query(c, &st, err, "SELECT value FROM kv WHERE key = ?1", "t", key);
    if (rc != SM_OK || (rc = sm_sql_next(c, st, &row, err)) != SM_OK || !row)
        return rc;
    *result = sm_col_any(st, 0);
    sm_sql_end(st);
    return SM_OK;
}

sm_rc sm_op_kv_list(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    /* Every key that begins with the prefix sorts before the prefix and the last character. */
    static const char sql[] = "SELECT key, value FROM kv WHERE key >= ?1 AND "
                              "key < ?1 || char(1114111) ORDER BY key LIMIT 20000";
    const char *prefix = sm_arg_text(args, "prefix", err);
    if (prefix == NULL)
        return SM_INVALID;
    sqlite3_stmt *st;
    bool row;
    json_t *out = json_object();
    sm_rc rc = sm_sql_query(c, &st, err, sql, "t", prefix);
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row)
        json_object_set_new(out, (const char *)sqlite3_column_text(st, 0), sm_col_any(st, 1));
    if (rc == SM_OK)
        *result = json_incref(out);
    json_decref(out);
    return rc;
}
