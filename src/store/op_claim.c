/* op_claim: which events go out next: oldest first, in order within a dimension, one inspection
 * after the other.
 *
 * A lane is an account's inspection. A claim goes round the lanes, beginning behind the one where
 * the last claim ended, and takes one event of each until the limit is reached, so that a lane
 * with a great backlog delays the others by one event. Within a lane an event may go when it is
 * the head of its dimension, or when everything before it in its dimension goes in this claim.
 * Costs a few index probes per event, whatever the size of the backlog. Called through the table
 * of operations, on the store's thread.
 */
#include "store/store_internal.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum {
    LIMIT_DEFAULT = 100,
    LIMIT_MAX = 10000,
    BYTES_DEFAULT = 4 << 20,
    /* No wait is longer. A due time further away was written before the clock went back: it counts
     * as due. */
    PARKED_MS = 3600 * 1000
};

typedef struct item {
    int64_t seq, dim, bytes;
} item;

typedef struct items {
    item *p;
    size_t n, cap;
} items;

typedef struct lane {
    char *account, *id;
    int64_t last_head; /* heads up to this seq were looked at */
    item head;         /* next head, seq 0 when there is none */
    items next;        /* followers whose predecessor is in this claim; unsorted, few */
    bool done;
} lane;

typedef struct claim {
    sm_core *c;
    const char *account; /* NULL: all accounts */
    int64_t now_ms;
    int64_t past_ns;      /* what was put back before counts as due; INT64_MIN: nothing */
    int64_t limit, bytes; /* left */
    bool full;            /* limit or bytes are used up */
    lane *lanes;
    size_t n_lanes, cap_lanes;
    items taken;
} claim;

static void items_add(items *a, item it) {
    if (a->n == a->cap) {
        a->cap = a->cap > 0 ? a->cap * 2 : 8;
        a->p = sm_realloc(a->p, a->cap * sizeof *a->p);
    }
    a->p[a->n++] = it;
}

/* Next ready head of a lane into l->head. */
static sm_rc next_head(claim *k, lane *l, sm_err *err) {
    static const char sql[] =
        "SELECT seq, dim, bytes FROM outbox INDEXED BY outbox_head WHERE " SM_SQL_READY
        " AND account = ?1 AND id = ?2 AND seq > ?3 AND (due_ms <= ?4 OR due_ms > ?5 OR changed_ns "
        "<= ?6) ORDER BY seq LIMIT 1";
    sqlite3_stmt *st;
    bool row;
    l->head.seq = 0;
    sm_rc rc = sm_sql_query(k->c, &st, err, sql, "ttiiii", l->account, l->id, l->last_head,
                            k->now_ms, k->now_ms + PARKED_MS, k->past_ns);
    if (rc != SM_OK || (rc = sm_sql_next(k->c, st, &row, err)) != SM_OK || !row)
        return rc;
    l->head.seq = l->last_head = sqlite3_column_int64(st, 0);
    l->head.dim = sqlite3_column_int64(st, 1);
    l->head.bytes = sqlite3_column_int64(st, 2);
    sm_sql_end(st);
    return SM_OK;
}

/* The row behind `it` in its dimension joins the lane when it may go too. */
static sm_rc add_follower(claim *k, lane *l, const item *it, sm_err *err) {
    static const char sql[] =
        "SELECT seq, bytes, state <> 'inflight' AND account = ?3 AND id = ?4 AND (due_ms <= ?5 OR "
        "due_ms > ?6 OR coalesce(changed_ns <= ?7, 0)) FROM outbox INDEXED BY outbox_dim WHERE dim "
        "= ?1 AND seq > ?2 "
        "AND " SM_SQL_WAITS " ORDER BY seq LIMIT 1";
    sqlite3_stmt *st;
    bool row;
    sm_rc rc = sm_sql_query(k->c, &st, err, sql, "iittiii", it->dim, it->seq, l->account, l->id,
                            k->now_ms, k->now_ms + PARKED_MS, k->past_ns);
    if (rc != SM_OK || (rc = sm_sql_next(k->c, st, &row, err)) != SM_OK || !row)
        return rc;
    if (sqlite3_column_int(st, 2) != 0)
        items_add(&l->next, (item){.seq = sqlite3_column_int64(st, 0),
                                   .dim = it->dim,
                                   .bytes = sqlite3_column_int64(st, 1)});
    sm_sql_end(st);
    return SM_OK;
}

/* Takes the oldest event that may go; marks the lane done when there is none. */
static sm_rc take_one(claim *k, lane *l, sm_err *err) {
    size_t best = l->next.n;
    for (size_t i = 0; i < l->next.n; i++) {
        if (best == l->next.n || l->next.p[i].seq < l->next.p[best].seq)
            best = i;
    }
    bool follower = best < l->next.n && (l->head.seq == 0 || l->next.p[best].seq < l->head.seq);
    item it = follower ? l->next.p[best] : l->head;
    if (it.seq == 0) {
        l->done = true;
        return SM_OK;
    }
    if (k->taken.n > 0 && it.bytes > k->bytes) {
        k->full = true;
        return SM_OK;
    }
    sm_rc rc = SM_OK;
    if (follower)
        l->next.p[best] = l->next.p[--l->next.n];
    else
        rc = next_head(k, l, err);
    if (rc == SM_OK)
        rc = add_follower(k, l, &it, err);
    items_add(&k->taken, it);
    k->bytes -= it.bytes;
    k->full = --k->limit <= 0;
    return rc;
}

/* The lane behind (account, id) in index order; *found false at the end. */
static sm_rc next_lane(claim *k, const char *account, const char *id, lane *l, bool *found,
                       sm_err *err) {
    static const char one[] =
        "SELECT account, id FROM outbox INDEXED BY outbox_head "
        "WHERE " SM_SQL_READY " AND account = ?1 AND id > ?2 ORDER BY id LIMIT 1";
    static const char all[] =
        "SELECT account, id FROM outbox INDEXED BY outbox_head "
        "WHERE " SM_SQL_READY " AND (account, id) > (?1, ?2) ORDER BY account, id LIMIT 1";
    sqlite3_stmt *st;
    sm_rc rc = k->account != NULL ? sm_sql_query(k->c, &st, err, one, "tt", k->account, id)
                                  : sm_sql_query(k->c, &st, err, all, "tt", account, id);
    if (rc != SM_OK || (rc = sm_sql_next(k->c, st, found, err)) != SM_OK || !*found)
        return rc;
    memset(l, 0, sizeof *l);
    l->account = sm_strdup((const char *)sqlite3_column_text(st, 0));
    l->id = sm_strdup((const char *)sqlite3_column_text(st, 1));
    sm_sql_end(st);
    return SM_OK;
}

static void lane_fini(lane *l) {
    free(l->account);
    free(l->id);
    free(l->next.p);
}

static int compare_place(const lane *l, const char *account, const char *id) {
    int c = strcmp(l->account, account);
    return c != 0 ? c : strcmp(l->id, id);
}

/* Goes once through the lanes from (account, id), exclusive, to the end, or to `stop` (inclusive)
 * when it is not NULL, taking one event of each and keeping those that gave one. */
static sm_rc walk(claim *k, const char *account, const char *id, const lane *stop, sm_err *err) {
    char *at_account = sm_strdup(account), *at_id = sm_strdup(id);
    sm_rc rc = SM_OK;
    while (rc == SM_OK && !k->full) {
        lane l;
        bool found;
        rc = next_lane(k, at_account, at_id, &l, &found, err);
        if (rc != SM_OK || !found)
            break;
        if (stop != NULL && compare_place(&l, stop->account, stop->id) > 0) {
            lane_fini(&l);
            break;
        }
        free(at_account);
        free(at_id);
        at_account = sm_strdup(l.account);
        at_id = sm_strdup(l.id);
        rc = next_head(k, &l, err);
        if (rc == SM_OK)
            rc = take_one(k, &l, err);
        if (rc != SM_OK || l.done) {
            lane_fini(&l);
            continue;
        }
        if (k->n_lanes == k->cap_lanes) {
            k->cap_lanes = k->cap_lanes > 0 ? k->cap_lanes * 2 : 16;
            k->lanes = sm_realloc(k->lanes, k->cap_lanes * sizeof *k->lanes);
        }
        k->lanes[k->n_lanes++] = l;
    }
    free(at_account);
    free(at_id);
    return rc;
}

static void keep_cursor(claim *k, const lane *l) {
    json_object_set_new(k->c->cursors, k->account != NULL ? k->account : "",
                        json_pack("[s,s]", l->account, l->id));
}

static sm_rc choose(claim *k, sm_err *err) {
    const json_t *at = json_object_get(k->c->cursors, k->account != NULL ? k->account : "");
    const char *account = json_string_value(json_array_get(at, 0));
    const char *id = json_string_value(json_array_get(at, 1));
    lane start = {.account = sm_strdup(account != NULL ? account : ""),
                  .id = sm_strdup(id != NULL ? id : "")};
    sm_rc rc = walk(k, start.account, start.id, NULL, err);
    if (rc == SM_OK && !k->full)
        rc = walk(k, "", "", &start, err);
    lane_fini(&start);
    size_t last = k->n_lanes > 0 ? k->n_lanes - 1 : 0;
    for (bool any = true; rc == SM_OK && any && !k->full;) {
        any = false;
        for (size_t i = 0; rc == SM_OK && i < k->n_lanes && !k->full; i++) {
            if (k->lanes[i].done)
                continue;
            size_t before = k->taken.n;
            rc = take_one(k, &k->lanes[i], err);
            if (k->taken.n > before) {
                any = true;
                last = i;
            }
        }
    }
    if (rc == SM_OK && k->n_lanes > 0)
        keep_cursor(k, &k->lanes[last]);
    return rc;
}

static int by_seq(const void *a, const void *b) {
    const item *x = a, *y = b;
    return (x->seq > y->seq) - (x->seq < y->seq);
}

static json_t *payload_of(sqlite3_stmt *st) {
    json_t *event = json_object(), *o = json_object();
    json_object_set_new_nocheck(event, "event_id", sm_col_text(st, 0));
    json_object_set_new_nocheck(event, "at_ns", sm_col_int(st, 9));
    json_object_set_new_nocheck(event, "title", sm_col_text(st, 10));
    json_object_set_new_nocheck(event, "message", sm_col_text(st, 11));
    json_object_set_new_nocheck(event, "status", sm_col_text(st, 12));
    json_object_set_new_nocheck(event, "dimension_tags", sm_col_doc(st, 13));
    json_object_set_new_nocheck(event, "dimension", sm_col_text(st, 14));
    json_object_set_new_nocheck(event, "fault_id", sm_col_text(st, 17));
    json_object_set_new_nocheck(event, "fault_start_ns", sm_col_int(st, 18));
    json_object_set_new_nocheck(o, "run", sm_col_text(st, 1));
    json_object_set_new_nocheck(o, "id", sm_col_text(st, 2));
    json_object_set_new_nocheck(o, "ref_key", sm_col_text(st, 3));
    json_object_set_new_nocheck(o, "account", sm_col_text(st, 4));
    json_object_set_new_nocheck(o, "node", sm_col_any(st, 5));
    json_object_set_new_nocheck(o, "checker", sm_col_any(st, 6));
    json_object_set_new_nocheck(o, "title", sm_col_text(st, 7));
    json_object_set_new_nocheck(o, "attempt", sm_col_int(st, 8));
    json_object_set_new_nocheck(o, "exec_mode", sm_col_text(st, 19));
    json_object_set_new_nocheck(o, "event", event);
    return o;
}

static sm_rc claim_row(sm_core *c, const item *it, json_t *out, sm_err *err) {
    static const char read[] =
        "SELECT e.event_id, e.run, e.id, e.ref_key, e.account, e.node, e.checker, "
        "e.checker_title, e.attempt, e.at_ns, e.title, e.message, e.status, e.dimension_tags, "
        "e.dimension, o.attempt, o.state, e.fault_id, e.fault_start_ns, e.exec_mode FROM events e "
        "JOIN outbox o ON o.seq = e.seq "
        "WHERE e.seq = ?1";
    sqlite3_stmt *st;
    bool row;
    sm_rc rc = sm_sql_query(c, &st, err, read, "i", it->seq);
    if (rc != SM_OK || (rc = sm_sql_next(c, st, &row, err)) != SM_OK || !row)
        return rc;
    sm_box_state from = sm_box_parse((const char *)sqlite3_column_text(st, 16));
    sm_lane *where = sm_tally_lane(c, (const char *)sqlite3_column_text(st, 4),
                                   (const char *)sqlite3_column_text(st, 2));
    json_t *o = json_object();
    json_object_set_new_nocheck(o, "event_id", sm_col_text(st, 0));
    json_object_set_new_nocheck(o, "attempt", sm_col_int(st, 15));
    json_object_set_new_nocheck(o, "payload", payload_of(st));
    sm_sql_end(st);
    json_array_append_new(out, o);
    sm_tally_move(c, where, from, SM_BOX_INFLIGHT, it->bytes);
    return sm_sql_run(c, err, "UPDATE outbox SET state = 'inflight' WHERE seq = ?1", "i", it->seq);
}

sm_rc sm_op_outbox_claim(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    claim k = {.c = c,
               .account = sm_json_str(args, "account", NULL),
               .past_ns = sm_json_int(args, "past_ns", INT64_MIN),
               .limit = sm_json_int(args, "limit", LIMIT_DEFAULT),
               .bytes = sm_json_int(args, "bytes", BYTES_DEFAULT)};
    json_t *rows = json_array();
    sm_rc rc = sm_arg_int(args, "now_ms", &k.now_ms, err);
    k.limit = k.limit > LIMIT_MAX ? LIMIT_MAX : k.limit;
    k.full = k.limit <= 0;
    if (rc == SM_OK)
        rc = choose(&k, err);
    if (rc == SM_OK && k.taken.n > 0)
        qsort(k.taken.p, k.taken.n, sizeof *k.taken.p, by_seq);
    for (size_t i = 0; rc == SM_OK && i < k.taken.n; i++)
        rc = claim_row(c, &k.taken.p[i], rows, err);
    if (rc == SM_OK)
        *result = json_incref(rows);
    json_decref(rows);
    for (size_t i = 0; i < k.n_lanes; i++)
        lane_fini(&k.lanes[i]);
    free(k.lanes);
    free(k.taken.p);
    return rc;
}
