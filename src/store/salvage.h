/* salvage: what a damaged database still holds. */
#pragma once
#include "store/store_internal.h"

/* Opens a copy `work` of the database at path, with its journal's whole transactions in it;
 * *rebuilt: its first page was lost and made anew, so that only events, outbox, attempts and dims
 * are known. The caller closes *out and removes the copy. SM_INVALID: nothing can be read. */
sm_rc sm_salvage_open(const char *path, const char *work, sqlite3 **out, bool *rebuilt,
                      sm_err *err);

typedef struct sm_salvage_walk {
    sqlite3 *h;
    const char *table;
    const char *key; /* a column of integers that the table is ordered by; NULL: none, and reading
                      * ends at the first damaged page */
    int64_t gaps;    /* stretches that could not be read */
} sm_salvage_walk;

/* Calls row for each row that can be read, in the order of the key: SELECT *, with the key first.
 * Ends early when row says something else than SM_OK. A table that is not there has no rows. */
sm_rc sm_salvage_rows(sm_salvage_walk *w, sm_rc (*row)(void *ctx, sqlite3_stmt *st, sm_err *err),
                      void *ctx, sm_err *err);
