/* op_events: accepting events: the event and its outbox row in the caller's savepoint, within
 * limits.outbox and limits.min_free.
 *
 * Every event is told which fault it belongs to: a problem (whatever is not `ok`) opens the fault
 * of its dimension or continues it, `ok` ends it. Refuses the whole report when one event breaks a
 * rule or does not fit. An event_id that is there already has no effect and takes no room. Called
 * through the table of operations, on the store's thread.
 */
#include "store/store_internal.h"

#include <string.h>

/* FNV-1a: the same in every build, as the value is stored. Two dimensions that share a value only
 * wait for each other. */
static int64_t dimension_hash(const char *id, const char *dimension) {
    uint64_t h = UINT64_C(14695981039346656037);
    for (const char *p = id; *p != '\0'; p++)
        h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
    h = (h ^ 0xff) * UINT64_C(1099511628211); /* no text holds this byte */
    for (const char *p = dimension; *p != '\0'; p++)
        h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
    return (int64_t)h;
}

/* What is the same for all events of a report; borrowed. */
typedef struct report {
    const char *run, *id, *account;
    const json_t *ref_key, *node, *checker, *title, *exec_mode;
    int64_t attempt;
    int64_t bytes; /* texts of the head, counted for each event */
} report;

static int64_t text_bytes(const json_t *v) {
    return json_is_string(v) ? (int64_t)json_string_length(v) : 0;
}

static sm_rc read_report(const json_t *args, report *r, sm_err *err) {
    if ((r->run = sm_arg_text(args, "run", err)) == NULL ||
        (r->id = sm_arg_text(args, "id", err)) == NULL ||
        (r->account = sm_arg_text(args, "account", err)) == NULL)
        return SM_INVALID;
    r->ref_key = json_object_get(args, "ref_key");
    r->node = json_object_get(args, "node");
    r->checker = json_object_get(args, "checker");
    r->title = json_object_get(args, "title");
    r->exec_mode = json_object_get(args, "exec_mode");
    r->attempt = sm_json_int(args, "attempt", 1);
    r->bytes = (int64_t)(strlen(r->run) + strlen(r->id) + strlen(r->account)) +
               text_bytes(r->ref_key) + text_bytes(r->node) + text_bytes(r->checker) +
               text_bytes(r->title);
    return SM_OK;
}

sm_rc sm_outbox_room(sm_core *c, int64_t bytes, sm_err *err) {
    char has[32], must[32];
    if (c->outbox_max > 0 && c->counts.bytes + bytes > c->outbox_max)
        return sm_err_set(err, SM_FULL, "outbox is full: %s of events wait (limits.outbox)",
                          sm_place_size(c->counts.bytes, has, sizeof has));
    if (c->min_free <= 0)
        return SM_OK;
    if (c->free_left < 0) {
        sm_rc rc = sm_place_free(c->dirfd, &c->free_left, err);
        if (rc != SM_OK)
            return rc;
    }
    if (c->free_left < c->min_free)
        return sm_err_set(err, SM_FULL,
                          "outbox is full: only %s free on the file system of %s, %s must stay "
                          "free (limits.min_free)",
                          sm_place_size(c->free_left, has, sizeof has), c->dir,
                          sm_place_size(c->min_free, must, sizeof must));
    return SM_OK;
}

static sm_rc add_to_outbox(sm_core *c, const report *r, int64_t seq, const char *dimension,
                           int64_t bytes, sm_err *err) {
    static const char sql[] =
        "INSERT INTO outbox (seq, account, id, dim, state, head, bytes) "
        "VALUES (?1, ?2, ?3, ?4, 'pending', NOT EXISTS (SELECT 1 FROM outbox "
        "INDEXED BY outbox_dim WHERE dim = ?4 AND " SM_SQL_UNFINISHED "), ?5)";
    sm_rc rc = sm_outbox_room(c, bytes, err);
    if (rc != SM_OK)
        return rc;
    rc = sm_sql_run(c, err, sql, "ittii", seq, r->account, r->id, dimension_hash(r->id, dimension),
                    bytes);
    if (rc != SM_OK)
        return rc;
    c->counts.rows[SM_BOX_PENDING]++;
    c->counts.bytes += bytes;
    if (c->free_left >= 0)
        c->free_left -= 2 * bytes; /* once in the journal, once in the database */
    return SM_OK;
}

/* The fault an event belongs to, and what becomes of its row once the event is new. */
typedef struct fault {
    json_t *id, *start; /* owned; NULL: none */
    enum { FAULT_STAYS, FAULT_KEEP, FAULT_END } then;
} fault;

static void fault_fini(fault *f) {
    json_decref(f->id);
    json_decref(f->start);
}

static sm_rc find_fault(sm_core *c, const report *r, const char *dimension, fault *f,
                        json_t **checker, sm_err *err) {
    static const char sql[] =
        "SELECT fault_id, start_ns, checker FROM faults WHERE id = ?1 AND dimension = ?2";
    sqlite3_stmt *st;
    bool row;
    sm_rc rc = sm_sql_query(c, &st, err, sql, "tt", r->id, dimension);
    if (rc != SM_OK || (rc = sm_sql_next(c, st, &row, err)) != SM_OK || !row)
        return rc;
    f->id = sm_col_text(st, 0);
    f->start = sm_col_int(st, 1);
    *checker = sm_col_text(st, 2);
    sm_sql_end(st);
    return SM_OK;
}

/* Which fault the event belongs to; writes nothing. A fault of a checker that was replaced on the
 * platform is over: nobody can recover it there. An unknown checker is any checker. */
static sm_rc choose_fault(sm_core *c, const report *r, const json_t *event, const char *dimension,
                          int64_t at_ns, fault *f, sm_err *err) {
    json_t *known = NULL;
    sm_rc rc = find_fault(c, r, dimension, f, &known, err);
    if (rc != SM_OK)
        return rc;
    const char *was = json_string_value(known), *is = json_string_value(r->checker);
    bool had = f->id != NULL, was_told = was != NULL && was[0] != '\0';
    bool is_told = is != NULL && is[0] != '\0';
    if (had && was_told && is_told && strcmp(was, is) != 0) {
        fault_fini(f);
        f->id = f->start = NULL;
    }
    if (strcmp(sm_json_str(event, "status", ""), "ok") == 0) {
        f->then = had ? FAULT_END : FAULT_STAYS;
    } else if (f->id == NULL) {
        f->id = json_incref(json_object_get(event, "event_id"));
        f->start = json_integer(at_ns);
        f->then = FAULT_KEEP;
    } else {
        f->then = !was_told && is_told ? FAULT_KEEP : FAULT_STAYS;
    }
    json_decref(known);
    return SM_OK;
}

static sm_rc write_fault(sm_core *c, const report *r, const char *dimension, const fault *f,
                         sm_err *err) {
    static const char keep[] = "INSERT OR REPLACE INTO faults (id, dimension, fault_id, start_ns, "
                               "checker) VALUES (?1, ?2, ?3, ?4, ?5)";
    static const char end[] = "DELETE FROM faults WHERE id = ?1 AND dimension = ?2";
    if (f->then == FAULT_KEEP)
        return sm_sql_run(c, err, keep, "ttsjs", r->id, dimension, f->id, f->start, r->checker);
    if (f->then == FAULT_END)
        return sm_sql_run(c, err, end, "tt", r->id, dimension);
    return SM_OK;
}

static sm_rc accept_one(sm_core *c, const report *r, const json_t *event, sm_err *err) {
    static const char sql[] =
        "INSERT INTO events (event_id, id, at_ns, run, attempt, ref_key, account, node, checker, "
        "checker_title, status, title, dimension, dimension_tags, message, fault_id, "
        "fault_start_ns, exec_mode) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, "
        "?13, ?14, ?15, ?16, ?17, ?18) ON CONFLICT (event_id) DO NOTHING";
    const char *event_id = sm_arg_text(event, "event_id", err);
    const char *status = event_id != NULL ? sm_arg_text(event, "status", err) : NULL;
    const char *title = status != NULL ? sm_arg_text(event, "title", err) : NULL;
    const char *message = title != NULL ? sm_arg_text(event, "message", err) : NULL;
    int64_t at_ns;
    if (message == NULL)
        return SM_INVALID;
    sm_rc rc = sm_arg_int(event, "at_ns", &at_ns, err);
    if (rc != SM_OK)
        return rc;
    const char *dimension = sm_json_str(event, "dimension", "");
    const json_t *tags = sm_arg_maybe(event, "dimension_tags");
    fault f = {.then = FAULT_STAYS};
    json_t *none = tags == NULL ? json_object() : NULL;
    rc = choose_fault(c, r, event, dimension, at_ns, &f, err);
    if (rc != SM_OK)
        goto out;
    rc = sm_sql_run(c, err, sql, "stitistjjssstdssjs", json_object_get(event, "event_id"), r->id,
                    at_ns, r->run, r->attempt, r->ref_key, r->account, r->node, r->checker,
                    r->title, json_object_get(event, "status"), json_object_get(event, "title"),
                    dimension, tags != NULL ? tags : none, json_object_get(event, "message"), f.id,
                    f.start, r->exec_mode);
    if (rc != SM_OK || sqlite3_changes(c->h) == 0)
        goto out;
    int64_t seq = sqlite3_last_insert_rowid(c->h);
    int64_t bytes = r->bytes + (int64_t)(strlen(event_id) + strlen(status) + strlen(dimension)) +
                    text_bytes(json_object_get(event, "title")) +
                    text_bytes(json_object_get(event, "message"));
    rc = add_to_outbox(c, r, seq, dimension, bytes, err);
    if (rc == SM_OK)
        rc = write_fault(c, r, dimension, &f, err);
out:
    fault_fini(&f);
    json_decref(none);
    return rc;
}

sm_rc sm_op_events_accept(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)result;
    report r;
    sm_rc rc = read_report(args, &r, err);
    const json_t *events = rc == SM_OK ? sm_arg_array(args, "events", err) : NULL;
    if (events == NULL)
        return SM_INVALID;
    for (size_t i = 0; i < json_array_size(events); i++) {
        rc = accept_one(c, &r, json_array_get(events, i), err);
        if (rc == SM_INVALID)
            return sm_err_wrap(err, "events[%zu]", i + 1);
        if (rc != SM_OK)
            return rc;
    }
    return SM_OK;
}
