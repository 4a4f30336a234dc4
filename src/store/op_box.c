/* op_box: the outbox by hand: what waits and why, sent again, dropped.
 *
 * Numbers come from the tally and from the index of what was answered, never from all rows. What
 * is dropped leaves the outbox, the event stays and tells by whom. Called through the table of
 * operations, on the store's thread.
 */
#include "store/dims.h"

#include "base/mem.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

enum { EVENTS_DEFAULT = 100, EVENTS_MAX = 100000, LANES_MAX = 100, BATCH = 1000 };

static const char *const states[SM_BOX_STATES] = {"pending", "inflight", "held", "refused"};

/* ---- what waits ---- */

static int64_t rows_of(const sm_lane *l) {
    int64_t n = 0;
    for (int i = 0; i < SM_BOX_STATES; i++)
        n += l->rows[i];
    return n;
}

static void add_numbers(json_t *o, const sm_lane *l) {
    for (int i = 0; i < SM_BOX_STATES; i++)
        json_object_set_new(o, states[i], json_integer(sm_json_int(o, states[i], 0) + l->rows[i]));
    json_object_set_new(o, "bytes", json_integer(sm_json_int(o, "bytes", 0) + l->bytes));
}

static int by_rows(const void *a, const void *b) {
    int64_t x = rows_of(*(sm_lane *const *)a), y = rows_of(*(sm_lane *const *)b);
    return (x < y) - (x > y);
}

static void list_lanes(sm_core *c, const char *glob, json_t *accounts, json_t *inspections) {
    sm_lane **sorted = sm_calloc(c->tally.lanes.len + 1, sizeof *sorted), *l;
    json_t *by_name = json_object(), *one;
    size_t n = 0;
    for (size_t at = 0; (l = sm_map_next(&c->tally.lanes, &at, NULL)) != NULL;)
        if (rows_of(l) > 0 && (glob == NULL || sm_str_glob(glob, l->id)))
            sorted[n++] = l;
    qsort(sorted, n, sizeof *sorted, by_rows);
    for (size_t i = 0; i < n; i++) {
        one = json_object_get(by_name, sorted[i]->account);
        if (one == NULL) {
            one = json_pack("{s:s}", "account", sorted[i]->account);
            json_object_set_new(by_name, sorted[i]->account, one);
            json_array_append(accounts, one);
        }
        add_numbers(one, sorted[i]);
        if (i >= LANES_MAX)
            continue;
        one = json_pack("{s:s, s:s}", "account", sorted[i]->account, "id", sorted[i]->id);
        add_numbers(one, sorted[i]);
        json_array_append_new(inspections, one);
    }
    json_decref(by_name);
    free(sorted);
}

static sm_rc list_reasons(sm_core *c, const char *glob, json_t *out, sm_err *err) {
    static const char all[] = "SELECT account, state, reason, count(*) FROM outbox INDEXED BY "
                              "outbox_told WHERE reason IS NOT NULL GROUP BY 1, 2, 3";
    static const char some[] =
        "SELECT account, state, reason, count(*) FROM outbox INDEXED BY outbox_told WHERE reason "
        "IS NOT NULL AND sm_glob(?1, id) GROUP BY 1, 2, 3";
    sqlite3_stmt *st;
    bool row;
    sm_rc rc = glob == NULL ? sm_sql_query(c, &st, err, all, "")
                            : sm_sql_query(c, &st, err, some, "t", glob);
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row)
        json_array_append_new(out, json_pack("{s:o, s:o, s:o, s:o}", "account", sm_col_text(st, 0),
                                             "state", sm_col_text(st, 1), "reason",
                                             sm_col_any(st, 2), "events", sm_col_int(st, 3)));
    return rc;
}

static sm_rc list_events(sm_core *c, const char *glob, const char *state, int64_t limit,
                         json_t *out, sm_err *err) {
    static const char sql[] =
        "SELECT e.event_id, o.account, o.id, e.dimension, e.status, e.title, o.state, o.tries, "
        "nullif(o.due_ms, 0), o.reason, e.at_ns FROM outbox o JOIN events e ON e.seq = o.seq "
        "WHERE (?1 IS NULL OR sm_glob(?1, o.id)) AND (?2 IS NULL OR o.state = ?2) ORDER BY o.seq "
        "LIMIT ?3";
    static const char *const names[] = {"event_id", "account", "id",    "dimension",
                                        "status",   "title",   "state", "attempts",
                                        "next_ms",  "reason",  "at"};
    sqlite3_stmt *st;
    bool row;
    sm_rc rc = sm_sql_query(c, &st, err, sql, "tti", glob, state, limit);
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row) {
        json_t *o = json_object();
        for (int i = 0; i < (int)SM_ARRAY_LEN(names); i++)
            json_object_set_new(o, names[i],
                                i == 10            ? sm_col_time(st, i)
                                : i == 9           ? sm_col_any(st, i)
                                : i == 7 || i == 8 ? sm_col_int(st, i)
                                                   : sm_col_text(st, i));
        json_array_append_new(out, o);
    }
    return rc;
}

sm_rc sm_op_outbox_list(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    const char *glob = sm_json_str(args, "id", NULL), *state = sm_json_str(args, "state", NULL);
    int64_t limit = sm_json_int(args, "limit", EVENTS_DEFAULT);
    json_t *accounts = json_array(), *inspections = json_array(), *reasons = json_array();
    json_t *events = json_array();
    sm_rc rc = sm_tally_settle(c, err);
    if (rc == SM_OK)
        list_lanes(c, glob, accounts, inspections);
    if (rc == SM_OK)
        rc = list_reasons(c, glob, reasons, err);
    if (rc == SM_OK && limit > 0)
        rc = list_events(c, glob, state, limit > EVENTS_MAX ? EVENTS_MAX : limit, events, err);
    if (rc == SM_OK)
        *result = json_pack("{s:O, s:O, s:O, s:O}", "accounts", accounts, "inspections",
                            inspections, "reasons", reasons, "events", events);
    json_decref(accounts);
    json_decref(inspections);
    json_decref(reasons);
    json_decref(events);
    return rc;
}

/* ---- by hand ---- */

typedef struct hand {
    const char *by;
    bool drop, pending;
    int64_t at_ns;
    json_t *args; /* of sm_outbox_put */
    int64_t n, waiting, inflight, unknown;
} hand;

static sm_rc again(sm_core *c, hand *h, sm_box_row *r, sm_err *err) {
    if (r->state == SM_BOX_INFLIGHT) {
        h->inflight++;
        return SM_OK;
    }
    h->n++;
    sm_rc rc = sm_outbox_put(c, r, SM_BOX_PENDING, "again", h->at_ns, h->args, NULL, err);
    return rc == SM_OK ? sm_outbox_promote(c, r->dim, err) : rc;
}

static sm_rc drop(sm_core *c, hand *h, sm_box_row *r, sm_err *err) {
    static const char mark[] =
        "UPDATE events SET policy = json_set(coalesce(policy, '{}'), '$.rule', 'dropped', "
        "'$.send', json('false'), '$.why', ?2) WHERE seq = ?1";
    if (r->state == SM_BOX_INFLIGHT || (r->state != SM_BOX_REFUSED && !h->pending)) {
        h->inflight += r->state == SM_BOX_INFLIGHT;
        h->waiting += r->state != SM_BOX_INFLIGHT;
        return SM_OK;
    }
    json_t *withdrawn = json_array();
    h->n++;
    sm_rc rc = sm_sql_run(c, err, mark, "it", r->seq, h->by);
    /* For its dimension it is as if the platform had refused it: nobody will ever see it. */
    if (rc == SM_OK && r->state != SM_BOX_REFUSED)
        rc = sm_dim_refused(c, r->seq, h->at_ns, withdrawn, err);
    if (rc == SM_OK)
        rc = sm_outbox_take_out(c, r->seq, "dropped", h->by, h->at_ns, err);
    json_decref(withdrawn);
    return rc;
}

static sm_rc each_id(sm_core *c, hand *h, const json_t *ids, sm_err *err) {
    sm_rc rc = SM_OK;
    for (size_t i = 0; rc == SM_OK && i < json_array_size(ids); i++) {
        const char *event_id = json_string_value(json_array_get(ids, i));
        sm_box_row r;
        bool found;
        if (event_id == NULL)
            return sm_err_set(err, SM_INVALID, "ids[%zu]: expected a text", i + 1);
        rc = sm_outbox_find(c, event_id, &r, &found, err);
        if (rc == SM_OK && !found)
            h->unknown++;
        else if (rc == SM_OK)
            rc = h->drop ? drop(c, h, &r, err) : again(c, h, &r, err);
    }
    return rc;
}

/* Seqs of the next rows that are meant; without an id only what was answered already, and for a
 * drop of what waits every row. */
static sm_rc pick(sm_core *c, const hand *h, const json_t *args, json_t *seqs, sm_err *err) {
    static const char told[] = "SELECT seq FROM outbox INDEXED BY outbox_told WHERE reason IS NOT "
                               "NULL AND seq > ?2 AND (?1 IS NULL OR "
                               "sm_glob(?1, id)) AND state <> 'inflight' ORDER BY seq LIMIT ?3";
    static const char refused[] = "SELECT seq FROM outbox INDEXED BY outbox_told WHERE reason IS "
                                  "NOT NULL AND state = 'refused' AND seq > ?2 AND "
                                  "(?1 IS NULL OR sm_glob(?1, id)) ORDER BY seq LIMIT ?3";
    static const char any[] = "SELECT seq FROM outbox WHERE seq > ?2 AND (?1 IS NULL OR "
                              "sm_glob(?1, id)) AND state <> 'inflight' ORDER BY seq LIMIT ?3";
    sqlite3_stmt *st;
    bool row;
    int64_t after = sm_json_int(args, "after", 0), batch = sm_json_int(args, "batch", BATCH);
    const char *sql = !h->drop ? told : h->pending ? any : refused;
    sm_rc rc = sm_sql_query(c, &st, err, sql, "tii", sm_json_str(args, "id", NULL), after,
                            batch > 0 ? batch : BATCH);
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row)
        json_array_append_new(seqs, sm_col_int(st, 0));
    return rc;
}

static sm_rc by_hand(sm_core *c, const json_t *args, bool is_drop, json_t **result, sm_err *err) {
    hand h = {.drop = is_drop, .pending = sm_json_bool(args, "pending", false)};
    const json_t *ids = sm_arg_maybe(args, "ids");
    json_t *seqs = json_array(), *seq;
    size_t i;
    h.by = sm_arg_text(args, "by", err);
    sm_rc rc = h.by == NULL ? SM_INVALID : sm_arg_int(args, "at_ns", &h.at_ns, err);
    h.args = json_pack("{s:i, s:s*}", "next_ms", 0, "reason", h.by);
    if (rc == SM_OK)
        rc = ids != NULL ? each_id(c, &h, ids, err) : pick(c, &h, args, seqs, err);
    json_array_foreach(seqs, i, seq) {
        sm_box_row r;
        bool found;
        if (rc == SM_OK)
            rc = sm_outbox_at(c, json_integer_value(seq), &r, &found, err);
        if (rc == SM_OK && found)
            rc = is_drop ? drop(c, &h, &r, err) : again(c, &h, &r, err);
    }
    json_t *last = json_array_get(seqs, json_array_size(seqs) - 1);
    if (rc == SM_OK)
        *result = json_pack("{s:I, s:I, s:I, s:I, s:O?}", "n", (json_int_t)h.n, "waiting",
                            (json_int_t)h.waiting, "inflight", (json_int_t)h.inflight, "unknown",
                            (json_int_t)h.unknown, "after", last);
    json_decref(h.args);
    json_decref(seqs);
    return rc;
}

sm_rc sm_op_outbox_again(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    return by_hand(c, args, false, result, err);
}

sm_rc sm_op_outbox_drop(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    return by_hand(c, args, true, result, err);
}
