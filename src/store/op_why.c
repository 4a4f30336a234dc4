/* op_why: the whole chain of an inspection's latest decision, or of one of its dimensions': slot,
 * run, event with what the policy decided, state of the dimension, outbox row, each attempt, mutes.
 *
 * Only reads. Called through the table of operations, on the store's thread.
 */
#include "base/mem.h"
#include "store/dims.h"
#include <stdlib.h>
#include <string.h>

/* One row of a query as an object; *out is null when there is none. */
typedef struct member {
    const char *name;
    json_t *(*read)(sqlite3_stmt *st, int i);
} member;

static json_t *col_bool(sqlite3_stmt *st, int i) {
    return json_boolean(sqlite3_column_int(st, i));
}

static json_t *col_rank(sqlite3_stmt *st, int i) {
    const char *name = sqlite3_column_type(st, i) == SQLITE_NULL
                           ? NULL
                           : sm_policy_status(sqlite3_column_int(st, i));
    return name != NULL ? json_string(name) : json_null();
}

static json_t *row_json(sqlite3_stmt *st, const member *m, size_t n) {
    json_t *o = json_object();
    for (size_t i = 0; i < n; i++)
        json_object_set_new(o, m[i].name, m[i].read(st, (int)i));
    return o;
}

/* The first row, else null. Takes the statement. */
static sm_rc first_row(sm_core *c, sqlite3_stmt *st, const member *m, size_t n, json_t **out,
                       sm_err *err) {
    bool row;
    sm_rc rc = sm_sql_next(c, st, &row, err);
    *out = rc == SM_OK && row ? row_json(st, m, n) : json_null();
    if (rc == SM_OK && row)
        sm_sql_end(st);
    return rc;
}

static sm_rc read_slot(sm_core *c, const char *id, int64_t now_s, json_t **out, sm_err *err) {
    static const member m[] = {{"slot", sm_col_int},     {"until", sm_col_int},
                               {"count", sm_col_int},    {"trigger", sm_col_text},
                               {"outcome", sm_col_text}, {"run", sm_col_text},
                               {"reason", sm_col_text}};
    sqlite3_stmt *st;
    sm_rc rc = sm_sql_query(c, &st, err,
                            "SELECT slot, until, count, trigger, outcome, run, reason FROM slots "
                            "WHERE id = ?1 AND slot <= ?2 ORDER BY slot DESC LIMIT 1",
                            "ti", id, now_s);
    return rc == SM_OK ? first_row(c, st, m, SM_ARRAY_LEN(m), out, err) : rc;
}

static sm_rc read_run(sm_core *c, const char *id, const char *run, json_t **out, sm_err *err) {
    static const member m[] = {
        {"run", sm_col_text},     {"attempt", sm_col_int},  {"trigger", sm_col_text},
        {"slot", sm_col_int},     {"started", sm_col_time}, {"finished", sm_col_time},
        {"outcome", sm_col_text}, {"error", sm_col_text},   {"seconds", sm_col_any},
        {"events", sm_col_int},   {"late", col_bool}};
    static const char sql[] =
        "SELECT run, attempt, trigger, slot, started_ns, finished_ns, outcome, error, seconds, "
        "events, late FROM runs WHERE id = ?1 AND (?2 IS NULL OR run = ?2) "
        "ORDER BY started_ns DESC, seq DESC LIMIT 1";
    sqlite3_stmt *st;
    sm_rc rc = sm_sql_query(c, &st, err, sql, "tt", id, run != NULL && run[0] ? run : NULL);
    return rc == SM_OK ? first_row(c, st, m, SM_ARRAY_LEN(m), out, err) : rc;
}

static sm_rc read_event(sm_core *c, const char *id, const char *dimension, int64_t *seq,
                        json_t **out, sm_err *err) {
    static const member m[] = {
        {"event_id", sm_col_text},      {"run", sm_col_text},       {"at", sm_col_time},
        {"status", sm_col_text},        {"title", sm_col_text},     {"message", sm_col_text},
        {"dimension_tags", sm_col_doc}, {"dimension", sm_col_text}, {"policy", sm_col_doc},
        {"fault_id", sm_col_text},      {"who", sm_col_text}};
    static const char sql[] =
        "SELECT event_id, run, at_ns, status, title, message, dimension_tags, dimension, policy, "
        "fault_id, coalesce(nullif(ref_key, ''), id), seq FROM events INDEXED BY events_at "
        "WHERE at_ns >= ?3 AND id = ?1 AND (?2 IS NULL OR dimension = ?2) "
        "ORDER BY at_ns DESC, seq DESC LIMIT 1";
    sqlite3_stmt *st;
    bool row;
    *seq = 0;
    *out = json_null();
    sm_rc rc = sm_sql_query(c, &st, err, sql, "tti", id, dimension, INT64_MIN);
    if (rc != SM_OK || (rc = sm_sql_next(c, st, &row, err)) != SM_OK || !row)
        return rc;
    *out = row_json(st, m, SM_ARRAY_LEN(m));
    *seq = sqlite3_column_int64(st, 11);
    sm_sql_end(st);
    return SM_OK;
}

static sm_rc read_state(sm_core *c, const json_t *event, json_t **out, sm_err *err) {
    static const member m[] = {{"status", col_rank},    {"streak", sm_col_int},
                               {"sent", col_rank},      {"sent_at", sm_col_time},
                               {"delivered", col_rank}, {"over_budget", col_bool},
                               {"muted", col_bool},     {"since", sm_col_time}};
    sqlite3_stmt *st;
    *out = json_null();
    if (!json_is_object(event))
        return SM_OK;
    sm_rc rc = sm_sql_query(
        c, &st, err,
        "SELECT status, streak, sent, sent_ns, delivered, over, muted, start_ns FROM dims "
        "WHERE who = ?1 AND dimension = ?2",
        "tt", sm_json_str(event, "who", ""), sm_json_str(event, "dimension", ""));
    return rc == SM_OK ? first_row(c, st, m, SM_ARRAY_LEN(m), out, err) : rc;
}

static sm_rc read_outbox(sm_core *c, int64_t seq, json_t **out, sm_err *err) {
    static const member m[] = {{"state", sm_col_text}, {"tries", sm_col_int},
                               {"next", sm_col_time},  {"head", col_bool},
                               {"reason", sm_col_any}, {"ahead", sm_col_int}};
    static const char sql[] =
        "SELECT state, tries, CASE WHEN due_ms > 0 THEN due_ms * 1000000 END, head, reason, "
        "(SELECT count(*) FROM outbox b INDEXED BY outbox_dim WHERE b.dim = o.dim AND "
        "b.waits = 1 AND b.seq < o.seq) FROM outbox o WHERE seq = "
        "?1";
    sqlite3_stmt *st;
    sm_rc rc = sm_sql_query(c, &st, err, sql, "i", seq);
    return rc == SM_OK ? first_row(c, st, m, SM_ARRAY_LEN(m), out, err) : rc;
}

static sm_rc read_attempts(sm_core *c, int64_t seq, json_t **out, sm_err *err) {
    static const member m[] = {
        {"n", sm_col_int}, {"at", sm_col_time}, {"verdict", sm_col_text}, {"answer", sm_col_any}};
    sqlite3_stmt *st;
    bool row;
    *out = json_array();
    sm_rc rc = sm_sql_query(c, &st, err,
                            "SELECT n, at_ns, verdict, answer FROM attempts WHERE seq = ?1 "
                            "ORDER BY n",
                            "i", seq);
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row)
        json_array_append_new(*out, row_json(st, m, SM_ARRAY_LEN(m)));
    return rc;
}

sm_rc sm_op_why(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    const char *id = sm_arg_text(args, "id", err),
               *dimension = sm_json_str(args, "dimension", NULL);
    json_t *slot = NULL, *run = NULL, *event = NULL, *state = NULL, *outbox = NULL, *tries = NULL;
    char *mute = NULL;
    int64_t now_ns, seq = 0;
    if (id == NULL || sm_arg_int(args, "now_ns", &now_ns, err) != SM_OK)
        return SM_INVALID;
    sm_rc rc = read_slot(c, id, now_ns / 1000000000, &slot, err);
    if (rc == SM_OK)
        rc = read_event(c, id, dimension, &seq, &event, err);
    if (rc == SM_OK) /* of a dimension: the run that spoke of it last */
        rc = read_run(c, id, dimension ? sm_json_str(event, "run", NULL) : NULL, &run, err);
    if (rc == SM_OK)
        rc = read_state(c, event, &state, err);
    if (rc == SM_OK)
        rc = read_outbox(c, seq, &outbox, err);
    if (rc == SM_OK)
        rc = read_attempts(c, seq, &tries, err);
    if (rc == SM_OK)
        rc = sm_mute_why(c, id, dimension ? dimension : sm_json_str(event, "dimension", ""), now_ns,
                         &mute, err);
    json_object_del(event, "who");
    if (rc == SM_OK)
        *result = json_pack("{s:s, s:O, s:O, s:O, s:O, s:O, s:O, s:s?}", "id", id, "slot", slot,
                            "run", run, "event", event, "state", state, "outbox", outbox,
                            "attempts", tries, "mute", mute);
    json_t *mine[] = {slot, run, event, state, outbox, tries};
    for (size_t i = 0; i < SM_ARRAY_LEN(mine); i++)
        json_decref(mine[i]);
    free(mute);
    return rc;
}
