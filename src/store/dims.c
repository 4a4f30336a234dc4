/* dims: rows of the dimensions (see dims.h): read, written, told of deliveries. Reads nothing but
 * its own table and, when the platform refused an event, what waits behind it. On the store's
 * thread.
 */
#include "store/dims.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

static int64_t text_bytes(const json_t *v) {
    return json_is_string(v) ? (int64_t)json_string_length(v) : 0;
}

sm_rc sm_event_head_read(const json_t *args, sm_event_head *h, sm_err *err) {
    *h = (sm_event_head){0};
    if ((h->run = sm_arg_text(args, "run", err)) == NULL ||
        (h->id = sm_arg_text(args, "id", err)) == NULL ||
        (h->account = sm_arg_text(args, "account", err)) == NULL)
        return SM_INVALID;
    h->ref_key = json_object_get(args, "ref_key");
    h->node = json_object_get(args, "node");
    h->checker = json_object_get(args, "checker");
    h->title = json_object_get(args, "title");
    h->exec_mode = json_object_get(args, "exec_mode");
    h->attempt = sm_json_int(args, "attempt", 1);
    h->who = json_string_length(h->ref_key) > 0 ? json_string_value(h->ref_key) : h->id;
    h->bytes = (int64_t)(strlen(h->run) + strlen(h->id) + strlen(h->account)) +
               text_bytes(h->ref_key) + text_bytes(h->node) + text_bytes(h->checker) +
               text_bytes(h->title);
    return SM_OK;
}

static int rank_at(sqlite3_stmt *st, int i) {
    return sqlite3_column_type(st, i) == SQLITE_NULL ? SM_DIM_NONE : sqlite3_column_int(st, i);
}

sm_rc sm_dim_load(sm_core *c, const char *who, const char *dimension, sm_dim_row *d, sm_err *err) {
    static const char sql[] =
        "SELECT status, streak, sent, sent_ns, delivered, over, muted, run, seq, fault_id, "
        "start_ns, checker FROM dims WHERE who = ?1 AND dimension = ?2";
    sqlite3_stmt *st;
    bool row;
    *d = (sm_dim_row){.s = {.sent = SM_DIM_NONE, .delivered = SM_DIM_NONE}};
    sm_rc rc = sm_sql_query(c, &st, err, sql, "tt", who, dimension);
    if (rc != SM_OK || (rc = sm_sql_next(c, st, &row, err)) != SM_OK || !row)
        return rc;
    d->known = true;
    d->s.status = sqlite3_column_int(st, 0);
    d->s.streak = sqlite3_column_int(st, 1);
    d->s.sent = rank_at(st, 2);
    d->s.sent_ns = sqlite3_column_int64(st, 3);
    d->s.delivered = rank_at(st, 4);
    d->s.over = sqlite3_column_int(st, 5) != 0;
    d->s.muted = sqlite3_column_int(st, 6) != 0;
    if (sqlite3_column_type(st, 7) != SQLITE_NULL)
        d->run = sm_strdup((const char *)sqlite3_column_text(st, 7));
    d->seq = sqlite3_column_int64(st, 8);
    if (sqlite3_column_type(st, 9) != SQLITE_NULL) {
        d->fault_id = sm_col_text(st, 9);
        d->start = sm_col_int(st, 10);
    }
    if (sqlite3_column_type(st, 11) != SQLITE_NULL)
        d->checker = sm_col_text(st, 11);
    sm_sql_end(st);
    return SM_OK;
}

static json_t *rank_json(int rank) {
    return rank == SM_DIM_NONE ? json_null() : json_integer(rank);
}

sm_rc sm_dim_save(sm_core *c, const char *who, const char *id, const char *dimension,
                  const sm_dim_row *d, sm_err *err) {
    static const char keep[] =
        "INSERT OR REPLACE INTO dims (who, dimension, id, status, streak, sent, sent_ns, "
        "delivered, over, muted, run, seq, fault_id, start_ns, checker) VALUES (?1, ?2, ?3, ?4, "
        "?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    if (sm_policy_idle(&d->s))
        return !d->known ? SM_OK
                         : sm_sql_run(c, err, "DELETE FROM dims WHERE who = ?1 AND dimension = ?2",
                                      "tt", who, dimension);
    json_t *sent = rank_json(d->s.sent), *delivered = rank_json(d->s.delivered);
    sm_rc rc = sm_sql_run(c, err, keep, "tttiijijbbtisjs", who, dimension, id, (int64_t)d->s.status,
                          (int64_t)d->s.streak, sent, d->s.sent_ns, delivered, d->s.over,
                          d->s.muted, d->run, d->seq, d->fault_id, d->start, d->checker);
    json_decref(sent);
    json_decref(delivered);
    return rc;
}

void sm_dim_fini(sm_dim_row *d) {
    free(d->run);
    json_decref(d->fault_id);
    json_decref(d->start);
    json_decref(d->checker);
    *d = (sm_dim_row){0};
}

static void drop(json_t **at) {
    json_decref(*at);
    *at = NULL;
}

void sm_dim_fault(const sm_event_head *h, const json_t *event, int rank, sm_dim_row *d) {
    const char *was = json_string_value(d->checker), *is = json_string_value(h->checker);
    bool was_told = was != NULL && was[0] != '\0', is_told = is != NULL && is[0] != '\0';
    if (d->fault_id != NULL && was_told && is_told && strcmp(was, is) != 0) {
        /* Nobody can recover it where it was: what was let out there does not count here. */
        drop(&d->fault_id);
        drop(&d->start);
        d->s.sent = d->s.delivered = SM_DIM_NONE;
        d->s.status = 0;
    }
    if (is_told) {
        json_t *now = json_incref((json_t *)(uintptr_t)h->checker);
        drop(&d->checker);
        d->checker = now;
    }
    if (rank > 0 && d->fault_id == NULL) {
        d->fault_id = json_incref(json_object_get(event, "event_id"));
        d->start = json_incref(json_object_get(event, "at_ns"));
    }
}

/* ---- deliveries ---- */

typedef struct told { /* the event that a delivery was about */
    char *who, *id, *dimension, *fault;
    int rank;
} told;

static void told_fini(told *t) {
    free(t->who);
    free(t->id);
    free(t->dimension);
    free(t->fault);
}

static sm_rc find_told(sm_core *c, int64_t seq, told *t, bool *found, sm_err *err) {
    static const char sql[] = "SELECT coalesce(nullif(ref_key, ''), id), id, dimension, status, "
                              "coalesce(fault_id, '') FROM events WHERE seq = ?1";
    sqlite3_stmt *st;
    *t = (told){0};
    sm_rc rc = sm_sql_query(c, &st, err, sql, "i", seq);
    if (rc != SM_OK || (rc = sm_sql_next(c, st, found, err)) != SM_OK || !*found)
        return rc;
    t->who = sm_strdup((const char *)sqlite3_column_text(st, 0));
    t->id = sm_strdup((const char *)sqlite3_column_text(st, 1));
    t->dimension = sm_strdup((const char *)sqlite3_column_text(st, 2));
    t->rank = sm_policy_rank((const char *)sqlite3_column_text(st, 3));
    t->fault = sm_strdup((const char *)sqlite3_column_text(st, 4));
    sm_sql_end(st);
    return SM_OK;
}

/* What waits in the outbox behind seq in its dimension: the first problem (INT64_MAX: none), and
 * whether there is an `ok` before it. */
static sm_rc look_behind(sm_core *c, int64_t seq, const told *t, int64_t *problem, bool *ok,
                         sm_err *err) {
    static const char sql[] =
        "SELECT e.status, o.seq FROM outbox o JOIN events e ON e.seq = o.seq WHERE o.dim = ?4 AND "
        "o.waits = 1 AND o.seq > ?1 AND e.dimension = ?2 AND "
        "e.id = ?3 ORDER BY o.seq";
    sqlite3_stmt *st;
    bool row = true;
    *problem = INT64_MAX;
    *ok = false;
    sm_rc rc = sm_sql_query(c, &st, err, sql, "itti", seq, t->dimension, t->id,
                            sm_outbox_dim(t->id, t->dimension));
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row) {
        if (strcmp((const char *)sqlite3_column_text(st, 0), "ok") != 0) {
            *problem = sqlite3_column_int64(st, 1);
            sm_sql_end(st);
            break;
        }
        *ok = true;
    }
    return rc;
}

/* The newest `ok` that was let out is settled: there is no more to remember of it. */
static sm_rc settle_ok(sm_core *c, int64_t seq, const told *t, sm_dim_row *d, sm_err *err) {
    int64_t problem = 0;
    bool ok = false;
    sm_rc rc = d->s.sent == 0 ? look_behind(c, seq, t, &problem, &ok, err) : SM_OK;
    if (rc == SM_OK && problem == INT64_MAX && !ok)
        d->s.sent = SM_DIM_NONE;
    return rc;
}

sm_rc sm_dim_delivered(sm_core *c, int64_t seq, sm_err *err) {
    told t;
    sm_dim_row d = {0};
    bool found;
    sm_rc rc = find_told(c, seq, &t, &found, err);
    if (rc == SM_OK && found)
        rc = sm_dim_load(c, t.who, t.dimension, &d, err);
    if (rc == SM_OK && found && d.known && (d.s.delivered != t.rank || d.s.sent == 0)) {
        d.s.delivered = t.rank;
        if (t.rank == 0)
            rc = settle_ok(c, seq, &t, &d, err);
        if (rc == SM_OK)
            rc = sm_dim_save(c, t.who, t.id, t.dimension, &d, err);
    }
    sm_dim_fini(&d);
    told_fini(&t);
    return rc;
}

/* Takes the `ok` events that wait behind a problem that nobody saw out of the outbox. */
static sm_rc withdraw(sm_core *c, int64_t seq, int64_t before, const told *t, int64_t at_ns,
                      json_t *withdrawn, sm_err *err) {
    static const char pick[] =
        "SELECT o.seq, e.event_id FROM outbox o JOIN events e ON e.seq = o.seq WHERE o.dim = ?4 "
        "AND o.waits = 1 AND o.seq > ?1 AND o.seq < ?5 AND "
        "e.status = 'ok' AND e.dimension = ?2 AND e.id = ?3 AND e.policy IS NOT NULL";
    static const char mark[] =
        "UPDATE events SET policy = '{\"rule\":\"withdrawn\",\"send\":false}' WHERE seq = ?1";
    sqlite3_stmt *st;
    bool row;
    json_t *seqs = json_array(), *one;
    size_t i;
    sm_rc rc = sm_sql_query(c, &st, err, pick, "ittii", seq, t->dimension, t->id,
                            sm_outbox_dim(t->id, t->dimension), before);
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row) {
        json_array_append_new(seqs, sm_col_int(st, 0));
        json_array_append_new(withdrawn, sm_col_text(st, 1));
    }
    json_array_foreach(seqs, i, one) {
        int64_t at = json_integer_value(one);
        if (rc == SM_OK)
            rc = sm_sql_run(c, err, mark, "i", at);
        if (rc == SM_OK)
            rc = sm_outbox_take_out(c, at, "withdrawn",
                                    "the problem that it ends was refused, so nobody saw it", at_ns,
                                    err);
    }
    json_decref(seqs);
    return rc;
}

sm_rc sm_dim_refused(sm_core *c, int64_t seq, int64_t at_ns, json_t *withdrawn, sm_err *err) {
    told t;
    sm_dim_row d = {0};
    bool found, ok = false;
    int64_t problem = INT64_MAX;
    sm_rc rc = find_told(c, seq, &t, &found, err);
    if (rc == SM_OK && found)
        rc = sm_dim_load(c, t.who, t.dimension, &d, err);
    if (rc != SM_OK || !found || !d.known)
        goto out;
    if (t.rank <= 0) {
        d.s.delivered = 0; /* it is not said again: the platform will never take it */
        rc = settle_ok(c, seq, &t, &d, err);
    } else {
        bool seen = d.s.delivered > 0;
        rc = look_behind(c, seq, &t, &problem, &ok, err);
        if (rc == SM_OK && ok && !seen)
            rc = withdraw(c, seq, problem, &t, at_ns, withdrawn, err);
        /* What comes behind it decides, if there is anything left. */
        if (problem == INT64_MAX && !(ok && seen))
            d.s.sent = seen ? d.s.delivered : SM_DIM_NONE;
    }
    if (rc == SM_OK)
        rc = sm_dim_save(c, t.who, t.id, t.dimension, &d, err);
out:
    sm_dim_fini(&d);
    told_fini(&t);
    return rc;
}
