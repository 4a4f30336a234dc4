/* event_put: one event and its outbox row in the caller's savepoint, within limits.outbox and
 * limits.min_free; and events that the store makes itself, of a dimension's newest one.
 *
 * An event_id that is there already has no effect and takes no room. Called by the rooms of the
 * event policy, on the store's thread.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/str.h"
#include "store/dims.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a: the same in every build, as the value is stored. Two dimensions that share a value only
 * wait for each other. */
int64_t sm_outbox_dim(const char *id, const char *dimension) {
    uint64_t h = UINT64_C(14695981039346656037);
    for (const char *p = id; *p != '\0'; p++)
        h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
    h = (h ^ 0xff) * UINT64_C(1099511628211); /* no text holds this byte */
    for (const char *p = dimension; *p != '\0'; p++)
        h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
    return (int64_t)h;
}

sm_rc sm_outbox_room(sm_core *c, int64_t bytes, sm_err *err) {
    char has[32], must[32];
    if (c->adrift)
        return sm_err_set(err, SM_IO, "%s", c->alarm);
    if (c->outbox_max > 0 && c->counts.bytes + bytes > c->outbox_max)
        return sm_err_set(err, SM_FULL, "outbox is full: %s of events wait (limits.outbox)",
                          sm_place_size(c->counts.bytes, has, sizeof has));
    if (c->min_free <= 0)
        return SM_OK;
    if (c->free_left < 0) {
        sm_rc rc = sm_place_free(c->dirfd, &c->free_left, err);
        if (rc != SM_OK)
            return rc;
        c->reserve = sm_place_reserve(c->dirfd, c->min_free);
    }
    if (c->free_left < c->reserve)
        return sm_err_set(err, SM_FULL,
                          "outbox is full: only %s free on the file system of %s, %s must stay "
                          "free (limits.min_free)",
                          sm_place_size(c->free_left, has, sizeof has), c->dir,
                          sm_place_size(c->reserve, must, sizeof must));
    return SM_OK;
}

static sm_rc add_to_outbox(sm_core *c, const char *account, const char *id, int64_t seq,
                           const char *dimension, int64_t bytes, sm_err *err) {
    static const char sql[] = "INSERT INTO outbox (seq, account, id, dim, state, head, bytes) "
                              "VALUES (?1, ?2, ?3, ?4, 'pending', NOT EXISTS (SELECT 1 FROM outbox "
                              "INDEXED BY outbox_dim WHERE dim = ?4 AND " SM_SQL_WAITS "), ?5)";
    sm_rc rc = sm_outbox_room(c, bytes, err);
    if (rc != SM_OK)
        return rc;
    rc = sm_sql_run(c, err, sql, "ittii", seq, account, id, sm_outbox_dim(id, dimension), bytes);
    if (rc != SM_OK)
        return rc;
    sm_tally_move(c, sm_tally_lane(c, account, id), SM_BOX_STATES, SM_BOX_PENDING, bytes);
    if (c->free_left >= 0)
        c->free_left -= 2 * bytes; /* once in the journal, once in the database */
    return SM_OK;
}

static int64_t text_bytes(const json_t *v) {
    return json_is_string(v) ? (int64_t)json_string_length(v) : 0;
}

json_t *sm_decision_json(const sm_decision *x, int was, int is, const char *why) {
    json_t *o = json_pack("{s:b, s:s, s:s*, s:s*, s:s*}", "send", x->send, "rule", x->rule, "was",
                          sm_policy_status(was), "status", sm_policy_status(is), "why", why);
    if (x->of > 0) {
        json_object_set_new(o, "count", json_integer(x->count));
        json_object_set_new(o, "of", json_integer(x->of));
    }
    return o;
}

sm_rc sm_event_put(sm_core *c, const sm_event_head *h, const json_t *event, const sm_dim_row *d,
                   const json_t *policy, bool send, int64_t *seq, sm_err *err) {
    static const char sql[] =
        "INSERT INTO events (event_id, id, at_ns, run, attempt, ref_key, account, node, checker, "
        "checker_title, status, title, dimension, dimension_tags, message, fault_id, "
        "fault_start_ns, exec_mode, policy) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, "
        "?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19) ON CONFLICT (event_id) DO NOTHING";
    const char *event_id = sm_arg_text(event, "event_id", err);
    const char *status = event_id != NULL ? sm_arg_text(event, "status", err) : NULL;
    const char *title = status != NULL ? sm_arg_text(event, "title", err) : NULL;
    const char *message = title != NULL ? sm_arg_text(event, "message", err) : NULL;
    int64_t at_ns;
    if (message == NULL || sm_arg_int(event, "at_ns", &at_ns, err) != SM_OK)
        return SM_INVALID;
    const char *dimension = sm_json_str(event, "dimension", "");
    const json_t *tags = sm_arg_maybe(event, "dimension_tags");
    json_t *none = tags == NULL ? json_object() : NULL;
    int64_t bytes = h->bytes + (int64_t)(strlen(event_id) + strlen(status) + strlen(dimension)) +
                    text_bytes(json_object_get(event, "title")) +
                    text_bytes(json_object_get(event, "message"));
    *seq = 0;
    sm_rc rc =
        sm_sql_run(c, err, sql, "stitistjjssstdssjsd", json_object_get(event, "event_id"), h->id,
                   at_ns, h->run, h->attempt, h->ref_key, h->account, h->node, h->checker, h->title,
                   json_object_get(event, "status"), json_object_get(event, "title"), dimension,
                   tags != NULL ? tags : none, json_object_get(event, "message"), d->fault_id,
                   d->start, h->exec_mode, policy);
    if (rc == SM_OK && sqlite3_changes(c->h) > 0) {
        *seq = sqlite3_last_insert_rowid(c->h);
        if (send)
            rc = add_to_outbox(c, h->account, h->id, *seq, dimension, bytes, err);
        else
            rc = sm_outbox_room(c, bytes, err); /* what is held back takes room on the disk too */
    }
    json_decref(none);
    return rc;
}

sm_rc sm_event_release(sm_core *c, int64_t seq, const json_t *policy, sm_err *err) {
    static const char sql[] =
        "SELECT account, id, dimension, length(title) + length(message) + length(event_id) + "
        "length(dimension) + length(run) + length(account) + length(id) FROM events WHERE seq = ?1 "
        "AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.seq = events.seq)";
    sqlite3_stmt *st;
    bool row;
    sm_rc rc = sm_sql_query(c, &st, err, sql, "i", seq);
    if (rc != SM_OK || (rc = sm_sql_next(c, st, &row, err)) != SM_OK || !row)
        return rc;
    char *account = sm_strdup((const char *)sqlite3_column_text(st, 0));
    char *id = sm_strdup((const char *)sqlite3_column_text(st, 1));
    char *dimension = sm_strdup((const char *)sqlite3_column_text(st, 2));
    int64_t bytes = sqlite3_column_int64(st, 3);
    sm_sql_end(st);
    rc = add_to_outbox(c, account, id, seq, dimension, bytes, err);
    if (rc == SM_OK)
        rc = sm_sql_run(c, err, "UPDATE events SET policy = ?2 WHERE seq = ?1", "id", seq, policy);
    free(account);
    free(id);
    free(dimension);
    return rc;
}

/* "12 min 3 s" */
static void how_long(int64_t ns, char *out, size_t cap) {
    int64_t s = ns > 0 ? ns / SM_NS_PER_S : 0;
    if (s < 60)
        snprintf(out, cap, "%d s", (int)s);
    else if (s < 3600)
        snprintf(out, cap, "%d min %d s", (int)(s / 60), (int)(s % 60));
    else if (s < 86400)
        snprintf(out, cap, "%d h %d min", (int)(s / 3600), (int)(s % 3600 / 60));
    else
        snprintf(out, cap, "%lld d %d h", (long long)(s / 86400), (int)(s % 86400 / 3600));
}

static json_t *ok_event(const char *dimension, const sm_dim_row *d, int64_t now_ns,
                        sqlite3_stmt *st) {
    char id[33], event_id[40], text[256], lasted[40], since[40];
    int64_t start = json_is_integer(d->start) ? json_integer_value(d->start) : now_ns;
    sm_id_new(now_ns, id);
    snprintf(event_id, sizeof event_id, "event-%s", id);
    how_long(now_ns - start, lasted, sizeof lasted);
    sm_time_rfc3339(start, false, since);
    snprintf(text, sizeof text, "No longer reported. It began at %s and lasted %s.", since, lasted);
    return json_pack("{s:s, s:I, s:o, s:s, s:s, s:o, s:s}", "event_id", event_id, "at_ns",
                     (json_int_t)now_ns, "title", sm_col_text(st, 7), "message", text, "status",
                     "ok", "dimension_tags", sm_col_doc(st, 8), "dimension", dimension);
}

sm_rc sm_event_ok(sm_core *c, const char *who, const char *id, const char *dimension, sm_dim_row *d,
                  const char *run, int64_t now_ns, const json_t *policy, bool send, sm_err *err) {
    static const char sql[] =
        "SELECT account, ref_key, node, checker, checker_title, exec_mode, attempt, title, "
        "dimension_tags FROM events WHERE seq = ?1";
    sqlite3_stmt *st;
    bool row;
    int64_t seq;
    sm_rc rc = sm_sql_query(c, &st, err, sql, "i", d->seq);
    if (rc != SM_OK || (rc = sm_sql_next(c, st, &row, err)) != SM_OK || !row)
        return rc; /* retention took it: there is nothing to make an event of */
    json_t *account = sm_col_text(st, 0), *ref_key = sm_col_text(st, 1), *node = sm_col_any(st, 2);
    json_t *checker = d->checker != NULL ? json_incref(d->checker) : sm_col_any(st, 3);
    json_t *title = sm_col_text(st, 4), *mode = sm_col_text(st, 5);
    sm_event_head h = {.run = run,
                       .id = id,
                       .account = json_string_value(account),
                       .who = who,
                       .ref_key = ref_key,
                       .node = node,
                       .checker = checker,
                       .title = title,
                       .exec_mode = mode,
                       .attempt = sqlite3_column_int64(st, 6),
                       .bytes = 200};
    json_t *event = ok_event(dimension, d, now_ns, st);
    sm_sql_end(st);
    rc = sm_event_put(c, &h, event, d, policy, send, &seq, err);
    if (rc == SM_OK && seq > 0)
        d->seq = seq;
    json_t *mine[] = {account, ref_key, node, checker, title, mode, event};
    for (size_t i = 0; i < SM_ARRAY_LEN(mine); i++)
        json_decref(mine[i]);
    return rc;
}
