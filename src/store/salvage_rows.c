/* salvage_rows: the rows of a damaged table, one after the other; where a page cannot be read, on
 * at the next key behind it. Called by op_salvage, on the store's thread.
 */
#include "store/salvage.h"

/* Steps to the first row with a key above `after`: SQLITE_ROW, SQLITE_DONE or an error. */
static int seek(sqlite3_stmt *st, int64_t after) {
    sqlite3_reset(st);
    sqlite3_bind_int64(st, 1, after);
    return sqlite3_step(st);
}

/* Behind `last` nothing can be read: finds the least key from which something can. False: none. */
static bool leap(sqlite3_stmt *st, int64_t last, int64_t *from) {
    int64_t bad = last, end = last;
    int got = SQLITE_ERROR;
    for (int64_t step = 1; got != SQLITE_ROW && got != SQLITE_DONE; step *= 2) {
        if (step > (int64_t)1 << 48 || last > INT64_MAX - step)
            return false;
        bad = end;
        end = last + step;
        got = seek(st, end);
    }
    bool found = got == SQLITE_ROW;
    while (end - bad > 1) {
        int64_t middle = bad + (end - bad) / 2;
        got = seek(st, middle);
        found = found || got == SQLITE_ROW;
        if (got == SQLITE_ROW || got == SQLITE_DONE)
            end = middle;
        else
            bad = middle;
    }
    *from = end;
    return found;
}

sm_rc sm_salvage_rows(sm_salvage_walk *w, sm_rc (*row)(void *ctx, sqlite3_stmt *st, sm_err *err),
                      void *ctx, sm_err *err) {
    char *sql = w->key != NULL
                    ? sqlite3_mprintf("SELECT %s, * FROM %s WHERE %s > ?1 ORDER BY %s", w->key,
                                      w->table, w->key, w->key)
                    : sqlite3_mprintf("SELECT 0, * FROM %s WHERE ?1 IS NOT NULL", w->table);
    sqlite3_stmt *st = NULL;
    sm_rc rc = SM_OK;
    int64_t last = INT64_MIN;
    bool known = sqlite3_prepare_v2(w->h, sql, -1, &st, NULL) == SQLITE_OK;
    int got = known ? seek(st, last) : SQLITE_DONE;
    w->gaps = known ? 0 : 1;
    while (rc == SM_OK && got != SQLITE_DONE) {
        if (got == SQLITE_ROW) {
            last = sqlite3_column_int64(st, 0);
            rc = row(ctx, st, err);
            got = rc == SM_OK ? sqlite3_step(st) : SQLITE_DONE;
            continue;
        }
        w->gaps++;
        if (w->key == NULL)
            break;
        int64_t from = last == INT64_MIN ? 0 : last;
        if (!leap(st, from, &from))
            break;
        got = seek(st, from);
    }
    sqlite3_finalize(st);
    sqlite3_free(sql);
    return rc;
}
