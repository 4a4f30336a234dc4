/* tally: what waits, by account and inspection, kept in memory beside the outbox, so that nobody
 * has to count a million rows to say how many there are.
 *
 * Each change is counted twice: here, and in the numbers that a rollback puts back
 * (sm_counts.moves). Where the two differ something was rolled back, and the next who asks has the
 * rows counted anew. On the store's thread.
 */
#include "store/store_internal.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static char *lane_key(const char *account, const char *id) {
    return sm_asprintf("%s\n%s", account, id);
}

sm_lane *sm_tally_lane(sm_core *c, const char *account, const char *id) {
    sm_lane *l = c->tally.last;
    if (l != NULL && strcmp(l->id, id) == 0 && strcmp(l->account, account) == 0)
        return l;
    char *key = lane_key(account, id);
    l = sm_map_get(&c->tally.lanes, key);
    if (l == NULL) {
        l = sm_calloc(1, sizeof *l);
        l->account = sm_strdup(account);
        l->id = sm_strdup(id);
        sm_map_put(&c->tally.lanes, key, l);
    }
    free(key);
    c->tally.last = l;
    return l;
}

static void add(sm_core *c, sm_lane *l, sm_box_state state, int64_t n, int64_t bytes) {
    if (state == SM_BOX_STATES)
        return;
    l->rows[state] += n;
    c->counts.rows[state] += n;
    if (state != SM_BOX_REFUSED) {
        l->bytes += bytes;
        c->counts.bytes += bytes;
    }
}

void sm_tally_move(sm_core *c, sm_lane *l, sm_box_state from, sm_box_state to, int64_t bytes) {
    add(c, l, from, -1, -bytes);
    add(c, l, to, 1, bytes);
    c->counts.moves++;
    c->tally.moves++;
}

void sm_tally_fini(sm_core *c) {
    sm_lane *l;
    for (size_t at = 0; (l = sm_map_next(&c->tally.lanes, &at, NULL)) != NULL;) {
        free(l->account);
        free(l->id);
        free(l);
    }
    sm_map_fini(&c->tally.lanes);
    c->tally = (sm_tally){0};
    sm_map_init(&c->tally.lanes);
}

sm_rc sm_tally_count(sm_core *c, sm_err *err) {
    sqlite3_stmt *st;
    bool row;
    int64_t mutes = c->counts.mutes;
    sm_tally_fini(c);
    c->counts = (sm_counts){.mutes = mutes};
    sm_rc rc = sm_sql_query(c, &st, err, "SELECT account, id, state, bytes FROM outbox", "");
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row) {
        sm_box_state state = sm_box_parse((const char *)sqlite3_column_text(st, 2));
        sm_lane *l = sm_tally_lane(c, (const char *)sqlite3_column_text(st, 0),
                                   (const char *)sqlite3_column_text(st, 1));
        add(c, l, state, 1, sqlite3_column_int64(st, 3));
    }
    return rc;
}

sm_rc sm_tally_settle(sm_core *c, sm_err *err) {
    return c->tally.moves == c->counts.moves ? SM_OK : sm_tally_count(c, err);
}
