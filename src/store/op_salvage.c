/* op_salvage: adds the rows of a damaged database to this one, in one transaction: events that are
 * not here yet, what of them waits for delivery, the answers to deliveries, and state that is kept
 * nowhere else. On the store's thread, through the table.
 */
#include "store/dims.h"
#include "store/salvage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COLUMNS_MAX = 40 };

/* Copies the rows of one table: the columns that both have. */
typedef struct adding {
    sm_core *c;
    const char *table, *without; /* without: a column that gets a value of its own, or NULL */
    const char *when;            /* condition on ?1 (the key) for a row to be taken; NULL: all */
    sqlite3_stmt *st;
    int from[COLUMNS_MAX], n; /* columns of the row that is read, after the key */
    int64_t added, known, bad;
} adding;

static bool has_column(sm_core *c, const char *table, const char *column) {
    return sqlite3_table_column_metadata(c->h, "main", table, column, NULL, NULL, NULL, NULL,
                                         NULL) == SQLITE_OK;
}

static sm_rc prepare_add(adding *a, sqlite3_stmt *row, sm_err *err) {
    char *names = sqlite3_mprintf(""), *marks = sqlite3_mprintf("");
    for (int i = 1; i < sqlite3_column_count(row) && a->n < COLUMNS_MAX; i++) {
        const char *column = sqlite3_column_name(row, i);
        if (!has_column(a->c, a->table, column) ||
            (a->without != NULL && strcmp(a->without, column) == 0))
            continue;
        a->from[a->n++] = i;
        names = sqlite3_mprintf("%z%s\"%w\"", names, *names ? ", " : "", column);
        marks = sqlite3_mprintf("%z%s?%d", marks, *marks ? ", " : "", a->n + 1);
    }
    char *sql = sqlite3_mprintf("INSERT OR IGNORE INTO %s (%s) SELECT %s WHERE %s", a->table, names,
                                marks, a->when != NULL ? a->when : "?1 IS NOT NULL");
    int rc = sqlite3_prepare_v2(a->c->h, sql, -1, &a->st, NULL);
    sqlite3_free(names);
    sqlite3_free(marks);
    sqlite3_free(sql);
    return rc == SQLITE_OK ? SM_OK : sm_sql_fail(a->c, err, a->table);
}

/* Garbage in a row breaks a rule of the table: then it is left out. */
static sm_rc add_row(void *ctx, sqlite3_stmt *row, sm_err *err) {
    adding *a = ctx;
    if (a->st == NULL && prepare_add(a, row, err) != SM_OK)
        return err->code;
    sqlite3_bind_value(a->st, 1, sqlite3_column_value(row, 0));
    for (int i = 0; i < a->n; i++)
        sqlite3_bind_value(a->st, i + 2, sqlite3_column_value(row, a->from[i]));
    int before = sqlite3_total_changes(a->c->h), rc = sqlite3_step(a->st);
    sqlite3_reset(a->st);
    if (rc == SQLITE_DONE && sqlite3_total_changes(a->c->h) > before)
        a->added++;
    else if (rc == SQLITE_DONE)
        a->known++;
    else if ((rc & 0xff) == SQLITE_CONSTRAINT || (rc & 0xff) == SQLITE_MISMATCH)
        a->bad++;
    else
        return sm_sql_fail(a->c, err, a->table);
    return SM_OK;
}

static sm_rc add_table(sm_core *c, sqlite3 *from, const char *key, adding *a, int64_t *gaps,
                       sm_err *err) {
    sm_salvage_walk walk = {.h = from, .table = a->table, .key = key};
    a->c = c;
    sm_rc rc = sm_salvage_rows(&walk, add_row, a, err);
    sqlite3_finalize(a->st);
    a->st = NULL;
    *gaps += walk.gaps + a->bad;
    return rc;
}

/* ---- order ---- */

static sm_rc newest(void *ctx, sqlite3_stmt *row, sm_err *err) {
    (void)err;
    int64_t seq = sqlite3_column_int64(row, 0);
    /* A number that no database of ours reaches is a damaged one. */
    if (seq > *(int64_t *)ctx && seq < (int64_t)1 << 52)
        *(int64_t *)ctx = seq;
    return SM_OK;
}

/* The greatest number of an event that any row speaks of, also of events that are lost. */
static sm_rc find_newest(sqlite3 *from, int64_t *most, sm_err *err) {
    static const char *const tables[] = {"events", "outbox", "attempts"};
    sm_rc rc = SM_OK;
    for (size_t i = 0; i < SM_ARRAY_LEN(tables) && rc == SM_OK; i++) {
        sm_salvage_walk walk = {.h = from, .table = tables[i], .key = "seq"};
        rc = sm_salvage_rows(&walk, newest, most, err);
    }
    sqlite3_stmt *st = NULL;
    sqlite3_prepare_v2(from, "SELECT seq FROM dims WHERE seq IS NOT NULL", -1, &st, NULL);
    while (st != NULL && rc == SM_OK && sqlite3_step(st) == SQLITE_ROW)
        rc = newest(most, st, err);
    sqlite3_finalize(st);
    return rc;
}

/* What is here gets numbers above `most`: it was accepted later, and goes after what is added. */
static sm_rc make_way(sm_core *c, int64_t most, sm_err *err) {
    static const char *const steps[] = {
        "UPDATE events SET seq = -seq - ?1",   "UPDATE outbox SET seq = -seq - ?1",
        "UPDATE attempts SET seq = -seq - ?1", "UPDATE dims SET seq = -seq - ?1",
        "UPDATE events SET seq = -seq",        "UPDATE outbox SET seq = -seq",
        "UPDATE attempts SET seq = -seq",      "UPDATE dims SET seq = -seq"};
    int64_t least;
    sm_rc rc = sm_sql_int(c, &least, INT64_MAX, err, "SELECT min(seq) FROM events", "");
    if (rc != SM_OK || least > most)
        return rc;
    rc = sm_sql_run(c, err, "PRAGMA defer_foreign_keys = ON", "");
    for (size_t i = 0; i < SM_ARRAY_LEN(steps) && rc == SM_OK; i++)
        rc = i < SM_ARRAY_LEN(steps) / 2 ? sm_sql_run(c, err, steps[i], "i", most)
                                         : sm_sql_run(c, err, steps[i], "");
    return rc;
}

/* ---- the outbox ---- */

static void dim_of(sqlite3_context *ctx, int n, sqlite3_value **v) {
    (void)n;
    const char *id = (const char *)sqlite3_value_text(v[0]);
    const char *dimension = (const char *)sqlite3_value_text(v[1]);
    sqlite3_result_int64(ctx,
                         sm_outbox_dim(id != NULL ? id : "", dimension != NULL ? dimension : ""));
}

/* Rows of the outbox were lost: events of which nothing says that they were delivered wait again.
 */
static sm_rc doubt(sm_core *c, int64_t most, sm_err *err) {
    static const char sql[] =
        "INSERT OR IGNORE INTO outbox (seq, account, id, dim, state, head, bytes) "
        "SELECT seq, account, id, sm_dim(id, dimension), 'pending', 0, "
        "length(CAST(title AS BLOB)) + length(CAST(message AS BLOB)) + 300 FROM events e "
        "WHERE seq <= ?1 AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.seq = e.seq AND "
        "a.verdict "
        "IN ('delivered', 'withdrawn')) AND (policy IS NULL OR (json_valid(policy) AND "
        "json_extract(policy, '$.send') IS NOT 0))";
    sqlite3_create_function(c->h, "sm_dim", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, dim_of,
                            NULL, NULL);
    return sm_sql_run(c, err, sql, "i", most);
}

static sm_rc settle_outbox(sm_core *c, int64_t most, sm_err *err) {
    sm_rc rc = sm_sql_run(c, err,
                          "UPDATE outbox SET state = 'pending', due_ms = 0 WHERE seq <= ?1 AND "
                          "state = 'inflight'",
                          "i", most);
    if (rc == SM_OK)
        rc = sm_sql_run(c, err,
                        "UPDATE outbox SET head = (seq = (SELECT min(o.seq) FROM outbox o WHERE "
                        "o.dim = outbox.dim AND o." SM_SQL_UNFINISHED ")) WHERE " SM_SQL_UNFINISHED,
                        "");
    return rc == SM_OK ? sm_outbox_recount(c, err) : rc;
}

/* ---- */

static sm_rc add_all(sm_core *c, sqlite3 *from, json_t **result, bool rebuilt, sm_err *err) {
    static const char is_added[] = "EXISTS (SELECT 1 FROM events WHERE seq = ?1)";
    static const struct {
        const char *table, *key, *without;
    } rest[] = {{"dims", NULL, NULL},          {"mutes", NULL, NULL},
                {"kv", "rowid", NULL},         {"memos", NULL, NULL},
                {"local_items", "seq", "seq"}, {"local_events", "seq", "seq"}};
    int64_t most = 0, gaps = 0, ignored = 0, waiting = 0, before, after;
    sm_rc rc = find_newest(from, &most, err);
    if (rc == SM_OK)
        rc = make_way(c, most, err);
    /* Its newest rows may be past what could be read. */
    adding events = {.table = "events", .when = "?1 BETWEEN 1 AND 4503599627370495"};
    adding outbox = {.table = "outbox", .when = is_added};
    adding attempts = {.table = "attempts", .when = is_added};
    before = c->counts.rows[SM_BOX_PENDING] + c->counts.rows[SM_BOX_HELD];
    if (rc == SM_OK)
        rc = add_table(c, from, "seq", &events, &gaps, err);
    if (rc == SM_OK)
        rc = add_table(c, from, "seq", &attempts, &gaps, err);
    int64_t doubtful = gaps;
    if (rc == SM_OK)
        rc = add_table(c, from, "seq", &outbox, &gaps, err);
    if (rc == SM_OK && gaps > doubtful)
        rc = doubt(c, most, err);
    for (size_t i = 0; i < SM_ARRAY_LEN(rest) && rc == SM_OK; i++) {
        adding a = {.table = rest[i].table, .without = rest[i].without};
        rc = add_table(c, from, rest[i].key, &a, rebuilt && i > 0 ? &ignored : &gaps, err);
    }
    if (rc == SM_OK)
        rc = settle_outbox(c, most, err);
    after = c->counts.rows[SM_BOX_PENDING] + c->counts.rows[SM_BOX_HELD];
    waiting = after - before;
    if (rc == SM_OK)
        *result = json_pack("{s:I, s:I, s:I, s:I, s:b}", "recovered", (json_int_t)events.added,
                            "waiting", (json_int_t)waiting, "known", (json_int_t)events.known,
                            "gaps", (json_int_t)gaps, "rebuilt", rebuilt);
    return rc;
}

sm_rc sm_op_salvage(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    sqlite3 *from = NULL;
    bool rebuilt;
    const char *path = sm_arg_text(args, "path", err), *work = sm_arg_text(args, "work", err);
    if (path == NULL || work == NULL)
        return SM_INVALID;
    sm_rc rc = sm_salvage_open(path, work, &from, &rebuilt, err);
    if (rc == SM_OK)
        rc = add_all(c, from, result, rebuilt, err);
    sqlite3_close(from);
    unlink(work);
    return rc;
}
