/* op_query: what the command line reads: events with what became of their delivery, runs with
 * their logs, slots that had no run, the last run of each inspection.
 *
 * With a limit the newest rows are taken; rows are returned oldest first. Ids may hold wildcards.
 * Called through the table of operations, on the store's thread.
 */
#include "store/store_internal.h"

#include <string.h>

json_t *sm_rows_reverse(json_t *newest_first) {
    json_t *out = json_array();
    for (size_t i = json_array_size(newest_first); i > 0; i--)
        json_array_append(out, json_array_get(newest_first, i - 1));
    json_decref(newest_first);
    return out;
}

/* What all readers take. */
typedef struct filter {
    int64_t since_ns;
    const char *id;     /* NULL: any */
    const char *status; /* NULL: any */
    int64_t limit;      /* -1: none */
    bool exact;         /* id is a plain name */
} filter;

static filter read_filter(const json_t *args) {
    filter f = {.since_ns = sm_json_int(args, "since_ns", INT64_MIN),
                .id = sm_json_str(args, "id", NULL),
                .status = sm_json_str(args, "status", NULL),
                .limit = sm_json_int(args, "limit", 0)};
    if (f.limit <= 0)
        f.limit = -1;
    f.exact = f.id != NULL && !sm_arg_is_glob(f.id);
    return f;
}

/* Name of a column and how it is turned into JSON. */
typedef struct field {
    const char *name;
    json_t *(*read)(sqlite3_stmt *st, int i);
} field;

static json_t *col_bool(sqlite3_stmt *st, int i) {
    return json_boolean(sqlite3_column_int(st, i));
}

static sm_rc collect(sm_core *c, const char *sql, const filter *f, const field *fields, size_t n,
                     json_t **result, sm_err *err) {
    sqlite3_stmt *st;
    bool row;
    json_t *out = json_array();
    sm_rc rc = sm_sql_query(c, &st, err, sql, "itti", f->since_ns, f->id, f->status, f->limit);
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row) {
        json_t *o = json_object();
        for (size_t i = 0; i < n; i++)
            json_object_set_new_nocheck(o, fields[i].name, fields[i].read(st, (int)i));
        json_array_append_new(out, o);
    }
    if (rc == SM_OK)
        *result = sm_rows_reverse(json_incref(out));
    json_decref(out);
    return rc;
}

#define ANY_ID " AND (?2 IS NULL OR sm_glob(?2, id))"
#define ONE_ID " AND id = ?2"

#define EVENT_COLUMNS                                                                              \
    "SELECT e.event_id, e.id, e.run, e.at_ns, e.status, e.title, e.message, e.dimension_tags, "    \
    "e.account, e.node, coalesce(o.state, CASE WHEN e.policy ->> 'rule' = 'dropped' "              \
    "THEN 'dropped' WHEN e.policy ->> 'send' = 0 THEN 'held_back' ELSE 'delivered' END), "         \
    "coalesce(o.tries, (SELECT max(n) FROM attempts a WHERE a.seq = e.seq), 0), o.reason, "        \
    "e.policy "
#define EVENT_TAIL                                                                                 \
    " AND (?3 IS NULL OR status = ?3) ORDER BY at_ns DESC, seq DESC LIMIT ?4) x "                  \
    "JOIN events e ON e.seq = x.seq LEFT JOIN outbox o ON o.seq = e.seq "                          \
    "ORDER BY x.at_ns DESC, x.seq DESC"

sm_rc sm_op_query_events(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    static const char one[] = EVENT_COLUMNS
        "FROM (SELECT seq, at_ns FROM events INDEXED BY events_at WHERE at_ns >= ?1" ONE_ID
            EVENT_TAIL;
    static const char any[] = EVENT_COLUMNS
        "FROM (SELECT seq, at_ns FROM events INDEXED BY events_at WHERE at_ns >= ?1" ANY_ID
            EVENT_TAIL;
    static const field fields[] = {
        {"event_id", sm_col_text}, {"id", sm_col_text},
        {"run", sm_col_text},      {"at", sm_col_time},
        {"status", sm_col_text},   {"title", sm_col_text},
        {"message", sm_col_text},  {"dimension_tags", sm_col_doc},
        {"account", sm_col_text},  {"node", sm_col_any},
        {"delivery", sm_col_text}, {"attempts", sm_col_int},
        {"reason", sm_col_any},    {"policy", sm_col_doc},
    };
    filter f = read_filter(args);
    return collect(c, f.exact ? one : any, &f, fields, SM_ARRAY_LEN(fields), result, err);
}

#define RUN_COLUMNS                                                                                \
    "SELECT r.run, r.id, r.slot, r.trigger, r.attempt, r.outcome, r.error, r.traceback, "          \
    "r.started_ns, r.finished_ns, r.seconds, r.cpu, r.peak, r.events, r.late, r.lateness, "        \
    "r.account, r.node, l.log "
#define RUN_TAIL                                                                                   \
    " AND (?3 IS NULL OR outcome = ?3) ORDER BY started_ns DESC, seq DESC LIMIT ?4) x "            \
    "JOIN runs r ON r.seq = x.seq LEFT JOIN run_logs l ON l.seq = r.seq "                          \
    "ORDER BY x.started_ns DESC, x.seq DESC"

static sm_rc query_runs(sm_core *c, const filter *f, bool log, json_t **result, sm_err *err) {
    static const char one[] = RUN_COLUMNS
        "FROM (SELECT seq, started_ns FROM runs INDEXED BY runs_id WHERE started_ns >= ?1" ONE_ID
            RUN_TAIL;
    static const char any[] = RUN_COLUMNS "FROM (SELECT seq, started_ns FROM runs INDEXED BY "
                                          "runs_started WHERE started_ns >= ?1" ANY_ID RUN_TAIL;
    static const field fields[] = {
        {"run", sm_col_text},      {"id", sm_col_text},        {"slot", sm_col_int},
        {"trigger", sm_col_text},  {"attempt", sm_col_int},    {"outcome", sm_col_text},
        {"error", sm_col_text},    {"traceback", sm_col_text}, {"started", sm_col_time},
        {"finished", sm_col_time}, {"seconds", sm_col_real},   {"cpu", sm_col_real},
        {"peak", sm_col_int},      {"events", sm_col_int},     {"late", col_bool},
        {"lateness", sm_col_real}, {"account", sm_col_text},   {"node", sm_col_any},
        {"log", sm_col_text},
    };
    size_t n = SM_ARRAY_LEN(fields) - (log ? 0 : 1);
    return collect(c, f->exact ? one : any, f, fields, n, result, err);
}

/* Slots that had no run: since_ns is compared with the last instant of a stretch. */
static sm_rc query_gaps(sm_core *c, const filter *f, json_t **result, sm_err *err) {
    static const char sql[] =
        "SELECT id, slot, outcome, slot * 1000000000, coalesce(until, slot) * 1000000000, count, "
        "about, reason, at_ns FROM slots INDEXED BY slots_gap WHERE run IS NULL AND "
        "outcome <> 'planned' AND coalesce(until, slot) >= ?1 / 1000000000" ANY_ID
        " AND (?3 IS NULL OR outcome = ?3) ORDER BY slot DESC, id DESC LIMIT ?4";
    static const field fields[] = {
        {"id", sm_col_text},     {"slot", sm_col_int},    {"outcome", sm_col_text},
        {"from", sm_col_time},   {"to", sm_col_time},     {"count", sm_col_int},
        {"estimated", col_bool}, {"reason", sm_col_text}, {"at", sm_col_time},
    };
    return collect(c, sql, f, fields, SM_ARRAY_LEN(fields), result, err);
}

sm_rc sm_op_query_runs(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    filter f = read_filter(args);
    bool none =
        f.status != NULL && (strcmp(f.status, "missed") == 0 || strcmp(f.status, "skipped") == 0);
    if (none || sm_json_bool(args, "gaps", false))
        return query_gaps(c, &f, result, err);
    return query_runs(c, &f, sm_json_bool(args, "log", false), result, err);
}

sm_rc sm_op_query_last(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)args;
    sqlite3_stmt *st;
    bool row;
    json_t *out = json_object();
    sm_rc rc = sm_sql_query(
        c, &st, err, "SELECT id, outcome, error, finished_ns, seconds, events, run FROM last_runs",
        "");
    while (rc == SM_OK && (rc = sm_sql_next(c, st, &row, err)) == SM_OK && row)
        json_object_set_new(out, (const char *)sqlite3_column_text(st, 0),
                            json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "outcome", sm_col_text(st, 1),
                                      "error", sm_col_text(st, 2), "at", sm_col_time(st, 3),
                                      "seconds", sm_col_real(st, 4), "events", sm_col_int(st, 5),
                                      "run", sm_col_text(st, 6)));
    if (rc == SM_OK)
        *result = json_incref(out);
    json_decref(out);
    return rc;
}
