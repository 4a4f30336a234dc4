/* op_memo: what inspections remember (selfmon.store): values by key, with a time to live and a
 * quota for each owner.
 *
 * A value whose time is over is not there, whether its row is or not. Called through the table of
 * operations, on the store's thread.
 */
#include "store/store_internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/memo.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

/* What an owner has now. */
typedef struct holding {
    int64_t keys, bytes; /* alive */
    int64_t dead;        /* rows whose time is over */
} holding;

/* The members that every operation has; borrowed. */
typedef struct memo_args {
    const char *who, *key;
    int64_t now_ms;
} memo_args;

static sm_rc read_args(const json_t *args, const char *key, memo_args *a, sm_err *err) {
    a->who = sm_arg_text(args, "who", err);
    a->key = a->who != NULL ? sm_arg_text(args, key, err) : NULL;
    if (a->key == NULL)
        return SM_INVALID;
    return sm_arg_int(args, "now_ms", &a->now_ms, err);
}

/* The living value as text (JSON), malloc'd, and when it ends (json integer or null); *text NULL:
 * there is none. */
static sm_rc find(sm_core *c, const memo_args *a, char **text, json_t **until, sm_err *err) {
    sqlite3_stmt *st;
    bool row;
    *text = NULL;
    sm_rc rc = sm_sql_query(c, &st, err,
                            "SELECT value, until_ms FROM memos WHERE who = ?1 AND key = ?2 AND "
                            "(until_ms IS NULL OR until_ms > ?3)",
                            "tti", a->who, a->key, a->now_ms);
    if (rc != SM_OK || (rc = sm_sql_next(c, st, &row, err)) != SM_OK || !row)
        return rc;
    *text = sm_memdup(sqlite3_column_text(st, 0), (size_t)sqlite3_column_bytes(st, 0));
    if (until != NULL)
        *until = sm_col_int(st, 1);
    sm_sql_end(st);
    return SM_OK;
}

/* ---- quota ---- */

static sm_rc look(sm_core *c, const memo_args *a, holding *h, sm_err *err) {
    static const char sql[] =
        "SELECT coalesce(sum(alive), 0), coalesce(sum(alive * bytes), 0), count(*) FROM "
        "(SELECT bytes, until_ms IS NULL OR until_ms > ?3 AS alive, key FROM memos WHERE who = ?1) "
        "WHERE key <> ?2 OR NOT alive";
    sqlite3_stmt *st;
    bool row;
    sm_rc rc = sm_sql_query(c, &st, err, sql, "tti", a->who, a->key, a->now_ms);
    if (rc != SM_OK || (rc = sm_sql_next(c, st, &row, err)) != SM_OK || !row)
        return rc;
    h->keys = sqlite3_column_int64(st, 0);
    h->bytes = sqlite3_column_int64(st, 1);
    h->dead = sqlite3_column_int64(st, 2) - h->keys;
    sm_sql_end(st);
    return SM_OK;
}

static bool is_scope(const char *who) {
    return sm_str_starts(who, SM_MEMO_SCOPE);
}

/* How many others there are. Each is found by one step of the index. */
static sm_rc count_scopes(sm_core *c, const char *but, int64_t *n, sm_err *err) {
    static const char sql[] =
        "WITH RECURSIVE s (w) AS (SELECT min(who) FROM memos WHERE who >= 's/' AND who < 's0' "
        "UNION ALL SELECT (SELECT min(who) FROM memos WHERE who > s.w AND who < 's0') FROM s "
        "WHERE s.w IS NOT NULL) SELECT count(w) FROM s WHERE w <> ?1";
    return sm_sql_int(c, n, 0, err, sql, "t", but);
}

static sm_rc make_room(sm_core *c, const memo_args *a, int64_t bytes, sm_err *err) {
    holding h = {0};
    int64_t scopes = 0;
    sm_rc rc = look(c, a, &h, err);
    if (rc == SM_OK && h.dead > 0)
        rc = sm_sql_run(c, err, "DELETE FROM memos WHERE who = ?1 AND until_ms <= ?2", "ti", a->who,
                        a->now_ms);
    if (rc == SM_OK && h.keys == 0 && is_scope(a->who))
        rc = count_scopes(c, a->who, &scopes, err);
    if (rc != SM_OK)
        return rc;
    if (scopes >= SM_MEMO_SCOPES_MAX)
        return sm_err_set(err, SM_LIMIT,
                          "there are %d scopes already, the most there can be; delete the keys of "
                          "one that is not needed",
                          (int)SM_MEMO_SCOPES_MAX);
    const char *whose = is_scope(a->who) ? "this scope" : "this inspection";
    rc = sm_memo_quota(whose, h.keys, h.bytes, bytes, err);
    if (rc == SM_OK)
        rc = sm_outbox_room(c, 0, err); /* limits.min_free */
    if (rc == SM_OK && c->free_left >= 0)
        c->free_left -= 2 * bytes;
    return rc;
}

/* ---- operations ---- */

static sm_rc put(sm_core *c, const memo_args *a, const char *text, const json_t *until,
                 sm_err *err) {
    int64_t bytes = (int64_t)(strlen(a->key) + strlen(text));
    sm_rc rc = make_room(c, a, bytes, err);
    if (rc != SM_OK)
        return rc;
    return sm_sql_run(c, err,
                      "INSERT INTO memos (who, key, bytes, until_ms, changed_ms, value) "
                      "VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (who, key) DO UPDATE SET "
                      "bytes = excluded.bytes, until_ms = excluded.until_ms, "
                      "changed_ms = excluded.changed_ms, value = excluded.value",
                      "ttijit", a->who, a->key, bytes, until, a->now_ms, text);
}

sm_rc sm_op_memo_get(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    memo_args a;
    char *text = NULL;
    sm_rc rc = read_args(args, "key", &a, err);
    if (rc == SM_OK)
        rc = find(c, &a, &text, NULL, err);
    if (rc == SM_OK && text != NULL)
        *result = json_pack("{s:s}", "text", text);
    free(text);
    return rc;
}

sm_rc sm_op_memo_put(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)result;
    memo_args a;
    const char *text = sm_arg_text(args, "text", err);
    if (text == NULL || read_args(args, "key", &a, err) != SM_OK)
        return SM_INVALID;
    return put(c, &a, text, json_object_get(args, "until_ms"), err);
}

sm_rc sm_op_memo_delete(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    memo_args a;
    char *text = NULL;
    sm_rc rc = read_args(args, "key", &a, err);
    if (rc == SM_OK)
        rc = find(c, &a, &text, NULL, err);
    if (rc == SM_OK)
        rc =
            sm_sql_run(c, err, "DELETE FROM memos WHERE who = ?1 AND key = ?2", "tt", a.who, a.key);
    if (rc == SM_OK)
        *result = json_pack("{s:b}", "removed", text != NULL);
    free(text);
    return rc;
}

sm_rc sm_op_memo_incr(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    memo_args a;
    char *text = NULL;
    json_t *was = NULL, *until = NULL, *sum = NULL;
    const json_t *by = json_object_get(args, "by");
    if (!json_is_number(by))
        return sm_err_set(err, SM_INVALID, "by: expected a number");
    sm_rc rc = read_args(args, "key", &a, err);
    if (rc == SM_OK)
        rc = find(c, &a, &text, &until, err);
    if (rc != SM_OK)
        goto out;
    if (text != NULL)
        rc = sm_json_parse(text, strlen(text), SM_MEMO_VALUE_MAX, &was, err);
    if (rc == SM_OK)
        rc = sm_memo_sum(was, by, &sum, err);
    if (rc != SM_OK)
        goto out;
    /* A key that is there keeps its time. */
    const json_t *ends = text != NULL ? until : json_object_get(args, "until_ms");
    free(text);
    text = sm_json_dump(sum, NULL);
    rc = put(c, &a, text, ends, err);
    if (rc == SM_OK)
        *result = json_pack("{s:O}", "value", sum);
out:
    free(text);
    json_decref(was);
    json_decref(until);
    json_decref(sum);
    return rc;
}

sm_rc sm_op_memo_keys(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    /* Every key that begins with the prefix sorts before the prefix and the last character. */
    static const char sql[] =
        "SELECT key FROM memos WHERE who = ?1 AND key >= ?2 AND key < ?2 || char(1114111) AND "
        "(until_ms IS NULL OR until_ms > ?3) ORDER BY key";
    memo_args a;
    sqlite3_stmt *st;
    bool row;
    if (read_args(args, "prefix", &a, err) != SM_OK)
        return SM_INVALID;
    json_t *out = json_array();
    sm_rc rc = sm_sql_query(c, &st, err, sql, "tti", a.who, a.key, a.now_ms);
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row)
        json_array_append_new(out, sm_col_text(st, 0));
    if (rc == SM_OK)
        *result = json_incref(out);
    json_decref(out);
    return rc;
}

sm_rc sm_op_memo_dump(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    static const char sql[] = "SELECT key, value, until_ms FROM memos WHERE who = ?1 AND "
                              "(until_ms IS NULL OR until_ms > ?2)";
    int64_t now_ms;
    sqlite3_stmt *st;
    bool row;
    const char *who = sm_arg_text(args, "who", err);
    if (who == NULL || sm_arg_int(args, "now_ms", &now_ms, err) != SM_OK)
        return SM_INVALID;
    json_t *out = json_object();
    sm_rc rc = sm_sql_query(c, &st, err, sql, "ti", who, now_ms);
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row)
        json_object_set_new(
            out, (const char *)sqlite3_column_text(st, 0),
            json_pack("{s:o, s:o}", "text", sm_col_text(st, 1), "until_ms", sm_col_int(st, 2)));
    if (rc == SM_OK)
        *result = json_incref(out);
    json_decref(out);
    return rc;
}

/* ---- retention ---- */

/* The next owner after `who`; *who is replaced, NULL: there is none. */
static sm_rc next_owner(sm_core *c, char **who, sm_err *err) {
    sqlite3_stmt *st;
    bool row;
    sm_rc rc = sm_sql_query(c, &st, err, "SELECT min(who) FROM memos WHERE who > ?1 AND who < 'i0'",
                            "t", *who);
    if (rc == SM_OK)
        rc = sm_sql_next(c, st, &row, err);
    if (rc != SM_OK)
        return rc;
    const char *found = row ? (const char *)sqlite3_column_text(st, 0) : NULL;
    char *next = found != NULL ? sm_strdup(found) : NULL;
    if (row)
        sm_sql_end(st);
    free(*who);
    *who = next;
    return SM_OK;
}

sm_rc sm_memo_prune(sm_core *c, const json_t *args, int64_t before_ns, int64_t batch, int64_t *gone,
                    sm_err *err) {
    const json_t *keep = json_object_get(args, "memos_of");
    int64_t now_ms = sm_json_int(args, "now_ms", 0);
    sm_rc rc = sm_sql_run(c, err,
                          "DELETE FROM memos WHERE (who, key) IN (SELECT who, key FROM memos "
                          "INDEXED BY memos_until WHERE until_ms <= ?1 LIMIT ?2)",
                          "ii", now_ms, batch);
    if (rc == SM_OK)
        *gone += sqlite3_changes64(c->h);
    if (rc != SM_OK || keep == NULL)
        return rc;
    char *who = sm_strdup(SM_MEMO_INSPECTION);
    while ((rc = next_owner(c, &who, err)) == SM_OK && who != NULL && *gone < batch) {
        if (json_object_get(keep, who) != NULL)
            continue;
        rc = sm_sql_run(c, err, "DELETE FROM memos WHERE who = ?1 AND changed_ms < ?2", "ti", who,
                        before_ns / SM_NS_PER_MS);
        if (rc != SM_OK)
            break;
        *gone += sqlite3_changes64(c->h);
    }
    free(who);
    return rc;
}
