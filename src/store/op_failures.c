/* op_failures: which inspections do not run, and the runner's own events about it: the memory and
 * the event change in one transaction, so that each fault is reported once and healed once, also
 * when the process is killed between two instructions.
 *
 * A fault has kinds (its runs fail, its file does not load); the event comes with the first and
 * the `ok` when the last is gone. Kept in the kv table, one key per inspection. Called through the
 * table of operations, on the store's thread.
 */
#include "store/store_internal.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static sm_rc get_row(sm_core *c, const char *key, json_t **row, sm_err *err) {
    sqlite3_stmt *st;
    bool found;
    *row = NULL;
    sm_rc rc = sm_sql_query(c, &st, err, "SELECT value FROM kv WHERE key = ?1", "t", key);
    if (rc != SM_OK || (rc = sm_sql_next(c, st, &found, err)) != SM_OK || !found)
        return rc;
    *row = sm_col_any(st, 0);
    sm_sql_end(st);
    return SM_OK;
}

static sm_rc put_row(sm_core *c, const char *key, const json_t *row, sm_err *err) {
    if (row == NULL)
        return sm_sql_run(c, err, "DELETE FROM kv WHERE key = ?1", "t", key);
    return sm_sql_run(c, err,
                      "INSERT INTO kv (key, value) VALUES (?1, ?2) "
                      "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                      "tj", key, row);
}

static bool fails(const json_t *row) {
    return sm_json_str(row, "run", NULL) != NULL || sm_json_str(row, "load", NULL) != NULL;
}

sm_rc sm_op_failure(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    const char *id = sm_arg_text(args, "id", err);
    const char *kind = id != NULL ? sm_arg_text(args, "kind", err) : NULL;
    const json_t *about = kind != NULL ? sm_arg_object(args, "about", err) : NULL;
    const json_t *report = about != NULL ? sm_arg_object(args, "report", err) : NULL;
    const json_t *what = sm_arg_maybe(args, "what");
    json_t *row = NULL, *old = NULL;
    if (report == NULL)
        return SM_INVALID;
    char *key = sm_asprintf(SM_FAILURE_PREFIX "%s", id);
    sm_rc rc = get_row(c, key, &old, err);
    if (rc != SM_OK)
        goto out;
    row = json_is_object(old) ? json_copy(old) : json_copy((json_t *)(uintptr_t)about);
    bool failed = json_is_object(old) && fails(old);
    bool had = json_is_object(old) && sm_json_str(old, kind, NULL) != NULL;
    bool has = json_is_string(what);
    if (has)
        json_object_set(row, kind, (json_t *)(uintptr_t)what);
    else
        json_object_del(row, kind);
    bool accepted = failed != fails(row);
    if (had != has)
        rc = put_row(c, key, fails(row) ? row : NULL, err);
    if (rc == SM_OK && accepted)
        rc = sm_op_events_accept(c, report, NULL, err);
    if (rc == SM_OK)
        *result = json_pack("{s:b, s:O?}", "accepted", accepted, "row", fails(row) ? row : NULL);
out:
    json_decref(old);
    json_decref(row);
    free(key);
    return rc;
}

/* The open problem itself is known by the association key, which stays. */
sm_rc sm_op_failure_move(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)result;
    const char *from = sm_arg_text(args, "from", err);
    const char *to = from != NULL ? sm_arg_text(args, "to", err) : NULL;
    if (to == NULL)
        return SM_INVALID;
    return sm_sql_run(c, err,
                      "UPDATE OR REPLACE kv SET key = '" SM_FAILURE_PREFIX "' || ?2 "
                      "WHERE key = '" SM_FAILURE_PREFIX "' || ?1",
                      "tt", from, to);
}
