/* op_local: the items of the embedded platform: registered inspections with the parameters and the
 * status that somebody set here.
 *
 * A deleted item stays as a row, its association key is free again. Called through the table of
 * operations, on the store's thread.
 */
#include "store/store_internal.h"

#include "base/clock.h"
#include "base/rand.h"

#include <stdio.h>
#include <string.h>

enum { STATUS_ENABLED = 0, STATUS_DISABLED = 2 };

#define ITEM_COLUMNS "uuid, ref_key, title, status, func, kwargs, create_at, update_at"

static json_t *item_of(sqlite3_stmt *st) {
    return json_pack("{s:o,s:o,s:o,s:o,s:{s:o,s:o},s:o,s:o}", "uuid", sm_col_text(st, 0), "refKey",
                     sm_col_text(st, 1), "title", sm_col_text(st, 2), "status", sm_col_int(st, 3),
                     "jsonScript", "refFuncInfo", sm_col_doc(st, 4), "callKwargs",
                     sm_col_doc(st, 5), "createAt", sm_col_int(st, 6), "updateAt",
                     sm_col_int(st, 7));
}

/* Appends what the statement finds. */
static sm_rc list_into(sm_core *c, json_t *out, const char *ref_key, sm_err *err) {
    static const char all[] =
        "SELECT " ITEM_COLUMNS " FROM local_items WHERE delete_at = -1 ORDER BY seq";
    static const char one[] =
        "SELECT " ITEM_COLUMNS " FROM local_items WHERE delete_at = -1 AND ref_key = ?1";
    sqlite3_stmt *st;
    bool row;
    sm_rc rc = ref_key != NULL ? sm_sql_query(c, &st, err, one, "t", ref_key)
                               : sm_sql_query(c, &st, err, all, "");
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row)
        json_array_append_new(out, item_of(st));
    return rc;
}

sm_rc sm_op_local_list(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    const json_t *keys = sm_arg_maybe(args, "ref_keys");
    json_t *out = json_array();
    sm_rc rc = keys == NULL ? list_into(c, out, NULL, err) : SM_OK;
    for (size_t i = 0; rc == SM_OK && i < json_array_size(keys); i++) {
        const char *key = json_string_value(json_array_get(keys, i));
        rc = key != NULL ? list_into(c, out, key, err)
                         : sm_err_set(err, SM_INVALID, "ref_keys[%zu]: expected a text", i + 1);
    }
    if (rc == SM_OK)
        *result = json_incref(out);
    json_decref(out);
    return rc;
}

/* The living item of a key; new reference in *out. SM_NOT_FOUND. */
static sm_rc find_item(sm_core *c, const char *ref_key, json_t **out, sm_err *err) {
    json_t *found = json_array();
    *out = NULL;
    sm_rc rc = list_into(c, found, ref_key, err);
    if (rc == SM_OK && json_array_size(found) == 0)
        rc = sm_err_set(err, SM_NOT_FOUND, "no inspection is registered under the key %s", ref_key);
    if (rc == SM_OK)
        *out = json_incref(json_array_get(found, 0));
    json_decref(found);
    return rc;
}

/* key and at_ns, which every change needs; *at is in seconds. */
static sm_rc read_change(const json_t *args, const char **ref_key, int64_t *at, sm_err *err) {
    *ref_key = sm_arg_text(args, "ref_key", err);
    if (*ref_key == NULL || sm_arg_int(args, "at_ns", at, err) != SM_OK)
        return SM_INVALID;
    *at /= SM_NS_PER_S;
    return SM_OK;
}

sm_rc sm_op_local_create(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    static const char sql[] =
        "INSERT INTO local_items (uuid, ref_key, title, status, func, kwargs, "
        "create_at, update_at) VALUES (?1, ?2, ?3, ?4, ?5, '{}', ?6, ?6)";
    const json_t *payload = sm_arg_object(args, "payload", err);
    const char *key = payload != NULL ? sm_arg_text(payload, "refKey", err) : NULL;
    const char *title = key != NULL ? sm_arg_text(payload, "title", err) : NULL;
    const json_t *func = title != NULL ? sm_arg_object(payload, "refFuncInfo", err) : NULL;
    int64_t at_ns, alive;
    if (func == NULL || sm_arg_int(args, "at_ns", &at_ns, err) != SM_OK)
        return SM_INVALID;
    sm_rc rc = sm_sql_int(c, &alive, 0, err,
                          "SELECT count(*) FROM local_items WHERE delete_at = -1 AND ref_key = ?1",
                          "t", key);
    if (rc != SM_OK)
        return rc;
    if (alive > 0)
        return sm_err_set(err, SM_EXISTS, "an inspection is registered under the key %s already",
                          key);
    char id[33], uuid[40];
    sm_id_new(at_ns, id);
    snprintf(uuid, sizeof uuid, "rul_%s", id);
    int64_t status = sm_json_bool(payload, "isDisabled", false) ? STATUS_DISABLED : STATUS_ENABLED;
    rc = sm_sql_run(c, err, sql, "tttidi", uuid, key, title, status, func, at_ns / SM_NS_PER_S);
    if (rc == SM_OK)
        *result = json_pack("{s:s}", "uuid", uuid);
    return rc;
}

sm_rc sm_op_local_modify(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)result;
    const char *key;
    int64_t at;
    json_t *item = NULL;
    const json_t *payload = sm_arg_object(args, "payload", err);
    if (payload == NULL || read_change(args, &key, &at, err) != SM_OK)
        return SM_INVALID;
    sm_rc rc = find_item(c, key, &item, err);
    if (rc != SM_OK)
        return rc;
    json_t *func = json_object_get(json_object_get(item, "jsonScript"), "refFuncInfo");
    json_t *func_id = json_incref(json_object_get(func, "funcId"));
    const json_t *with = sm_arg_maybe(payload, "refFuncInfo");
    if (json_is_object(with))
        json_object_update(func, (json_t *)(uintptr_t)with);
    if (func_id != NULL)
        json_object_set_new(func, "funcId", func_id);
    rc = sm_sql_run(c, err,
                    "UPDATE local_items SET title = coalesce(?2, title), func = ?3, "
                    "update_at = ?4 WHERE delete_at = -1 AND ref_key = ?1",
                    "tsdi", key, json_object_get(payload, "title"), func, at);
    json_decref(item);
    return rc;
}

sm_rc sm_op_local_status(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)result;
    const char *key;
    int64_t at, status;
    if (read_change(args, &key, &at, err) != SM_OK ||
        sm_arg_int(args, "status", &status, err) != SM_OK)
        return SM_INVALID;
    if (status != STATUS_ENABLED && status != STATUS_DISABLED)
        return sm_err_set(err, SM_INVALID, "status: expected 0 (enabled) or 2 (disabled), got %lld",
                          (long long)status);
    json_t *item;
    sm_rc rc = find_item(c, key, &item, err);
    if (rc != SM_OK)
        return rc;
    json_decref(item);
    return sm_sql_run(c, err,
                      "UPDATE local_items SET status = ?2, update_at = ?3 "
                      "WHERE delete_at = -1 AND ref_key = ?1",
                      "tii", key, status, at);
}

sm_rc sm_op_local_params(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    const char *key, *name;
    int64_t at;
    json_t *item;
    const json_t *set = sm_arg_object(args, "set", err), *value;
    if (set == NULL || read_change(args, &key, &at, err) != SM_OK)
        return SM_INVALID;
    sm_rc rc = find_item(c, key, &item, err);
    if (rc != SM_OK)
        return rc;
    json_t *kwargs = json_object_get(json_object_get(item, "jsonScript"), "callKwargs");
    for (void *it = json_object_iter((json_t *)(uintptr_t)set); it != NULL;
         it = json_object_iter_next((json_t *)(uintptr_t)set, it)) {
        name = json_object_iter_key(it);
        value = json_object_iter_value(it);
        if (json_is_null(value))
            json_object_del(kwargs, name);
        else
            json_object_set_new(kwargs, name, json_deep_copy(value));
    }
    rc = sm_sql_run(c, err,
                    "UPDATE local_items SET kwargs = ?2, update_at = ?3 "
                    "WHERE delete_at = -1 AND ref_key = ?1",
                    "tdi", key, kwargs, at);
    if (rc == SM_OK)
        *result = json_pack("{s:O}", "callKwargs", kwargs);
    json_decref(item);
    return rc;
}

sm_rc sm_op_local_delete(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)result;
    const char *key;
    int64_t at;
    json_t *item;
    if (read_change(args, &key, &at, err) != SM_OK)
        return SM_INVALID;
    sm_rc rc = find_item(c, key, &item, err);
    if (rc != SM_OK)
        return rc;
    json_decref(item);
    return sm_sql_run(c, err,
                      "UPDATE local_items SET delete_at = ?2 WHERE delete_at = -1 AND ref_key = ?1",
                      "ti", key, at);
}
