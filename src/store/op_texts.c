/* op_texts: the last good texts of scripts and of the libraries of their snapshots. A text is kept
 * once by its hash, whoever uses it, and goes with its last user.
 *
 * Called through the table of operations, on the store's thread.
 */
#include "store/store_internal.h"

static sm_rc put_blob(sm_core *c, const char *hash, const json_t *text, sm_err *err) {
    return sm_sql_run(c, err,
                      "INSERT INTO blobs (hash, text) VALUES (?1, ?2) ON CONFLICT DO NOTHING", "ts",
                      hash, text);
}

/* Hashes that a file uses now; new reference. */
static sm_rc hashes_of(sm_core *c, const char *file, json_t **out, sm_err *err) {
    sqlite3_stmt *st;
    bool row;
    *out = json_array();
    sm_rc rc = sm_sql_query(c, &st, err,
                            "SELECT hash FROM texts WHERE file = ?1 UNION SELECT hash FROM "
                            "text_libs WHERE file = ?1",
                            "t", file);
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row)
        json_array_append_new(*out, sm_col_text(st, 0));
    return rc;
}

static sm_rc drop_unused(sm_core *c, const json_t *hashes, sm_err *err) {
    static const char sql[] = "DELETE FROM blobs WHERE hash = ?1 AND NOT EXISTS (SELECT 1 FROM "
                              "texts WHERE hash = ?1) AND NOT EXISTS (SELECT 1 FROM text_libs "
                              "WHERE hash = ?1)";
    sm_rc rc = SM_OK;
    for (size_t i = 0; rc == SM_OK && i < json_array_size(hashes); i++)
        rc = sm_sql_run(c, err, sql, "s", json_array_get(hashes, i));
    return rc;
}

static sm_rc put_libs(sm_core *c, const char *file, const json_t *libs, sm_err *err) {
    for (size_t i = 0; i < json_array_size(libs); i++) {
        const json_t *lib = json_array_get(libs, i);
        const char *name = sm_arg_text(lib, "name", err);
        const char *hash = name != NULL ? sm_arg_text(lib, "hash", err) : NULL;
        if (hash == NULL || sm_arg_text(lib, "text", err) == NULL)
            return sm_err_wrap(err, "libs[%zu]", i + 1);
        sm_rc rc = put_blob(c, hash, json_object_get(lib, "text"), err);
        if (rc == SM_OK)
            rc = sm_sql_run(c, err,
                            "INSERT OR REPLACE INTO text_libs (file, name, hash) "
                            "VALUES (?1, ?2, ?3)",
                            "ttt", file, name, hash);
        if (rc != SM_OK)
            return rc;
    }
    return SM_OK;
}

sm_rc sm_op_texts_put(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    static const char sql[] =
        "INSERT INTO texts (file, hash, specs, at_ns) VALUES (?1, ?2, ?3, ?4) "
        "ON CONFLICT (file) DO UPDATE SET hash = excluded.hash, specs = excluded.specs, "
        "at_ns = excluded.at_ns";
    (void)result;
    const char *file = sm_arg_text(args, "file", err);
    const char *hash = file != NULL ? sm_arg_text(args, "hash", err) : NULL;
    if (hash == NULL || sm_arg_text(args, "text", err) == NULL)
        return SM_INVALID;
    json_t *before;
    sm_rc rc = hashes_of(c, file, &before, err);
    if (rc == SM_OK)
        rc = put_blob(c, hash, json_object_get(args, "text"), err);
    if (rc == SM_OK)
        rc = sm_sql_run(c, err, sql, "ttjj", file, hash, json_object_get(args, "specs"),
                        json_object_get(args, "at_ns"));
    if (rc == SM_OK)
        rc = sm_sql_run(c, err, "DELETE FROM text_libs WHERE file = ?1", "t", file);
    if (rc == SM_OK)
        rc = put_libs(c, file, json_object_get(args, "libs"), err);
    if (rc == SM_OK)
        rc = drop_unused(c, before, err);
    json_decref(before);
    return rc;
}

/* The text of a hash as one shared value, so that a library of a thousand scripts is in memory
 * once. New reference. */
static sm_rc shared_text(sm_core *c, json_t *seen, const char *hash, json_t **out, sm_err *err) {
    json_t *text = json_object_get(seen, hash);
    *out = NULL;
    if (text == NULL) {
        sqlite3_stmt *st;
        bool row;
        sm_rc rc = sm_sql_query(c, &st, err, "SELECT text FROM blobs WHERE hash = ?1", "t", hash);
        if (rc != SM_OK || (rc = sm_sql_next(c, st, &row, err)) != SM_OK)
            return rc;
        text = row ? sm_col_text(st, 0) : json_null();
        if (row)
            sm_sql_end(st);
        json_object_set_new(seen, hash, text);
    }
    *out = json_incref(text);
    return SM_OK;
}

static sm_rc libs_of(sm_core *c, json_t *seen, const char *file, json_t *libs, sm_err *err) {
    sqlite3_stmt *st;
    bool row;
    sm_rc rc = sm_sql_query(
        c, &st, err, "SELECT name, hash FROM text_libs WHERE file = ?1 ORDER BY name", "t", file);
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row) {
        json_t *text;
        rc = shared_text(c, seen, (const char *)sqlite3_column_text(st, 1), &text, err);
        if (rc != SM_OK) {
            sm_sql_end(st);
            return rc;
        }
        json_array_append_new(libs, json_pack("{s:o,s:o,s:o}", "name", sm_col_text(st, 0), "hash",
                                              sm_col_text(st, 1), "text", text));
    }
    return rc;
}

sm_rc sm_op_texts_get(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)args;
    sqlite3_stmt *st;
    bool row;
    json_t *out = json_array(), *seen = json_object();
    sm_rc rc =
        sm_sql_query(c, &st, err, "SELECT file, hash, specs, at_ns FROM texts ORDER BY file", "");
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row) {
        json_t *o = json_object(), *libs = json_array(), *text = NULL;
        json_array_append_new(out, o);
        json_object_set_new(o, "file", sm_col_text(st, 0));
        json_object_set_new(o, "hash", sm_col_text(st, 1));
        json_object_set_new(o, "specs", sm_col_any(st, 2));
        json_object_set_new(o, "at_ns", sm_col_any(st, 3));
        json_object_set_new(o, "libs", libs);
        rc = shared_text(c, seen, (const char *)sqlite3_column_text(st, 1), &text, err);
        if (rc == SM_OK)
            rc = json_object_set_new(o, "text", text) == 0
                     ? libs_of(c, seen, (const char *)sqlite3_column_text(st, 0), libs, err)
                     : SM_INTERNAL;
        if (rc != SM_OK)
            sm_sql_end(st);
    }
    if (rc == SM_OK)
        *result = json_incref(out);
    json_decref(out);
    json_decref(seen);
    return rc;
}

sm_rc sm_op_texts_delete(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)result;
    const char *file = sm_arg_text(args, "file", err);
    if (file == NULL)
        return SM_INVALID;
    json_t *before;
    sm_rc rc = hashes_of(c, file, &before, err);
    if (rc == SM_OK)
        rc = sm_sql_run(c, err, "DELETE FROM texts WHERE file = ?1", "t", file);
    if (rc == SM_OK)
        rc = drop_unused(c, before, err);
    json_decref(before);
    return rc;
}
