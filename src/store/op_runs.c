/* op_runs: runs: begun, ended (with their log and their slot), and what a killed daemon left
 * open.
 *
 * One row per attempt. The newest finished run of each inspection is kept beside them, so that
 * asking for it costs one row per inspection. Called through the table of operations, on the
 * store's thread.
 */
#include "store/dims.h"

#include "base/clock.h"

#include <string.h>

sm_rc sm_op_run_start(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    static const char sql[] =
        "INSERT INTO runs (run, attempt, id, slot, trigger, started_ns, account, node, worker, "
        "params, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) "
        "ON CONFLICT (run, attempt) DO UPDATE SET started_ns = excluded.started_ns, "
        "account = excluded.account, node = excluded.node, worker = excluded.worker, "
        "params = excluded.params, hash = excluded.hash";
    (void)result;
    const char *run = sm_arg_text(args, "run", err);
    const char *id = run != NULL ? sm_arg_text(args, "id", err) : NULL;
    const char *trigger = id != NULL ? sm_arg_text(args, "trigger", err) : NULL;
    int64_t started_ns;
    if (trigger == NULL || sm_arg_int(args, "started_ns", &started_ns, err) != SM_OK)
        return SM_INVALID;
    return sm_sql_run(c, err, sql, "titjtisjjds", run, sm_json_int(args, "attempt", 1), id,
                      sm_arg_maybe(args, "slot"), trigger, started_ns,
                      json_object_get(args, "account"), json_object_get(args, "node"),
                      json_object_get(args, "worker"), sm_arg_maybe(args, "params"),
                      json_object_get(args, "hash"));
}

static sm_rc keep_last(sm_core *c, const char *id, const char *run, const char *outcome,
                       const json_t *error, int64_t finished_ns, const json_t *seconds,
                       int64_t events, sm_err *err) {
    static const char sql[] =
        "INSERT INTO last_runs (id, run, outcome, error, finished_ns, seconds, events) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO UPDATE SET run = excluded.run, "
        "outcome = excluded.outcome, error = excluded.error, finished_ns = excluded.finished_ns, "
        "seconds = excluded.seconds, events = excluded.events";
    return sm_sql_run(c, err, sql, "tttsiji", id, run, outcome, error, finished_ns, seconds,
                      events);
}

/* Writes the end into the run's row, making it when it is missing; *seq is its number. */
static sm_rc end_row(sm_core *c, const json_t *args, const char *run, const char *id,
                     const char *trigger, const char *outcome, int64_t finished_ns, int64_t *seq,
                     sm_err *err) {
    static const char sql[] =
        "INSERT INTO runs (run, attempt, id, slot, trigger, started_ns, finished_ns, outcome, "
        "error, traceback, seconds, cpu, peak, events, late, account, node, worker, params, hash, "
        "lateness) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, "
        "?17, ?18, ?19, ?20, ?21) ON CONFLICT (run, attempt) DO UPDATE SET "
        "finished_ns = excluded.finished_ns, outcome = excluded.outcome, error = excluded.error, "
        "traceback = excluded.traceback, seconds = excluded.seconds, cpu = excluded.cpu, "
        "peak = excluded.peak, events = excluded.events, late = excluded.late, "
        "account = coalesce(excluded.account, account), node = coalesce(excluded.node, node), "
        "worker = coalesce(excluded.worker, worker), params = coalesce(excluded.params, params), "
        "hash = coalesce(excluded.hash, hash), lateness = excluded.lateness RETURNING seq";
    const json_t *late = json_object_get(args, "late");
    int64_t started_ns =
        finished_ns - (int64_t)(sm_json_num(args, "seconds", 0) * (double)SM_NS_PER_S);
    return sm_sql_int(c, seq, 0, err, sql, "titjtiitssjjjibsjjdsj", run,
                      sm_json_int(args, "attempt", 1), id, sm_arg_maybe(args, "slot"), trigger,
                      started_ns, finished_ns, outcome, json_object_get(args, "error"),
                      json_object_get(args, "traceback"), json_object_get(args, "seconds"),
                      json_object_get(args, "cpu"), json_object_get(args, "peak"),
                      sm_json_int(args, "events", 0),
                      json_is_true(late) || sm_json_num(args, "late", 0) > 0,
                      json_object_get(args, "account"), json_object_get(args, "node"),
                      json_object_get(args, "worker"), sm_arg_maybe(args, "params"),
                      json_object_get(args, "hash"), sm_arg_maybe(args, "lateness"));
}

/* Skipped and missed slots are no runs, whoever decided it. */
static sm_rc passed(sm_core *c, const json_t *args, const char *run, const char *id,
                    const char *outcome, int64_t slot, int64_t at_ns, sm_err *err) {
    sm_rc rc = sm_sql_run(c, err, "DELETE FROM runs WHERE run = ?1 AND outcome IS NULL", "t", run);
    if (rc == SM_OK)
        rc = sm_slot_pass(c, id, slot, outcome, json_object_get(args, "error"), at_ns, err);
    return rc;
}

sm_rc sm_op_run_finish(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    int64_t waiting = c->counts.rows[SM_BOX_PENDING];
    const char *run = sm_arg_text(args, "run", err);
    const char *id = run != NULL ? sm_arg_text(args, "id", err) : NULL;
    const char *trigger = id != NULL ? sm_arg_text(args, "trigger", err) : NULL;
    const char *outcome = trigger != NULL ? sm_arg_text(args, "outcome", err) : NULL;
    int64_t finished_ns, seq;
    if (outcome == NULL || sm_arg_int(args, "finished_ns", &finished_ns, err) != SM_OK)
        return SM_INVALID;
    bool none = strcmp(outcome, "skipped") == 0 || strcmp(outcome, "missed") == 0;
    const json_t *slot = sm_arg_maybe(args, "slot");
    if (none && json_is_integer(slot))
        return passed(c, args, run, id, outcome, json_integer_value(slot), finished_ns, err);
    sm_rc rc = end_row(c, args, run, id, trigger, outcome, finished_ns, &seq, err);
    const json_t *log = json_object_get(args, "log");
    if (rc == SM_OK && json_string_length(log) > 0)
        rc = sm_sql_run(c, err, "INSERT OR REPLACE INTO run_logs (seq, log) VALUES (?1, ?2)", "is",
                        seq, log);
    /* Where the script was not wanted, nothing ran: the outcome people see stays the last run's. */
    if (rc == SM_OK && !none && strcmp(outcome, "disabled") != 0)
        rc = keep_last(c, id, run, outcome, json_object_get(args, "error"), finished_ns,
                       json_object_get(args, "seconds"), sm_json_int(args, "events", 0), err);
    if (rc == SM_OK && sm_json_bool(args, "final", true))
        rc = sm_run_settle(c, args, finished_ns, err);
    if (rc == SM_OK && json_is_integer(slot) && sm_json_bool(args, "final", true))
        rc = sm_slot_end(c, id, json_integer_value(slot), outcome, run, finished_ns, err);
    if (rc == SM_OK && c->counts.rows[SM_BOX_PENDING] > waiting)
        *result =
            json_pack("{s:I}", "events", (json_int_t)(c->counts.rows[SM_BOX_PENDING] - waiting));
    return rc;
}

/* Every statement below reads the open runs before the last one closes them. */
sm_rc sm_op_runs_recover(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    static const char slots_of_runs[] =
        "UPDATE slots SET outcome = 'cancelled', at_ns = ?1, run = (SELECT r.run FROM runs r "
        "WHERE r.outcome IS NULL AND r.id = slots.id AND r.slot = slots.slot LIMIT 1) "
        "WHERE outcome = 'planned' AND (id, slot) IN "
        "(SELECT id, slot FROM runs INDEXED BY runs_open WHERE outcome IS NULL)";
    static const char last[] =
        "INSERT INTO last_runs (id, run, outcome, error, finished_ns, seconds, events) "
        "SELECT id, run, 'cancelled', ?2, ?1, NULL, events FROM runs INDEXED BY runs_open "
        "WHERE outcome IS NULL ORDER BY seq ON CONFLICT (id) DO UPDATE SET run = excluded.run, "
        "outcome = excluded.outcome, error = excluded.error, "
        "finished_ns = excluded.finished_ns, seconds = NULL, events = excluded.events";
    /* Behind a slot that has its answer nobody looks for one that has none: it is answered here. */
    static const char left[] =
        "UPDATE slots INDEXED BY slots_open SET outcome = 'missed', at_ns = ?1, until = CASE WHEN "
        "EXISTS (SELECT 1 FROM "
        "slots n WHERE n.id = slots.id AND n.slot > slots.slot AND (n.run IS NOT NULL OR n.until "
        "IS NOT NULL)) THEN slot END WHERE run IS NULL AND until IS NULL AND "
        "outcome IN ('planned', 'missed') AND slot < ?2";
    int64_t at_ns, runs, slots;
    const char *reason = sm_arg_text(args, "reason", err);
    if (reason == NULL || sm_arg_int(args, "at_ns", &at_ns, err) != SM_OK)
        return SM_INVALID;
    sm_rc rc = sm_sql_run(c, err, slots_of_runs, "i", at_ns);
    slots = rc == SM_OK ? sqlite3_changes64(c->h) : 0;
    if (rc == SM_OK)
        rc = sm_sql_run(c, err, last, "it", at_ns, reason);
    if (rc == SM_OK)
        rc = sm_sql_run(c, err,
                        "UPDATE runs SET outcome = 'cancelled', error = ?2, finished_ns = ?1 "
                        "WHERE outcome IS NULL",
                        "it", at_ns, reason);
    runs = rc == SM_OK ? sqlite3_changes64(c->h) : 0;
    if (rc == SM_OK)
        rc = sm_sql_run(c, err, left, "ii", at_ns, at_ns / SM_NS_PER_S);
    if (rc == SM_OK)
        *result = json_pack("{s:I,s:I}", "runs", (json_int_t)runs, "slots",
                            (json_int_t)(slots + sqlite3_changes64(c->h)));
    return rc;
}
