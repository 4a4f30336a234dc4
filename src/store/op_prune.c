/* op_prune: retention: old runs with their logs, old slots, old events that were delivered, what
 * inspections remembered for a time; and the room that they leave goes back to the file system.
 *
 * Refuses to touch what is not delivered, what still runs, and the newest slot of an inspection
 * (catch-up needs it). Deletes at most `batch` rows of each kind a call, so that nobody waits long
 * behind it. Called through the table of operations, on the store's thread.
 */
#include "store/store_internal.h"

#include "base/clock.h"

enum { BATCH_DEFAULT = 1000 };

static sm_rc prune_one(sm_core *c, const char *sql, int64_t before, int64_t batch, int64_t *n,
                       sm_err *err) {
    sm_rc rc = sm_sql_run(c, err, sql, "ii", before, batch);
    if (rc == SM_OK)
        *n += sqlite3_changes64(c->h);
    return rc;
}

sm_rc sm_op_prune(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    static const char runs_sql[] =
        "DELETE FROM runs WHERE seq IN (SELECT seq FROM runs INDEXED BY runs_started WHERE "
        "started_ns < ?1 AND outcome IS NOT NULL AND finished_ns < ?1 ORDER BY started_ns "
        "LIMIT ?2)";
    static const char last_sql[] =
        "DELETE FROM last_runs WHERE id IN (SELECT id FROM last_runs WHERE finished_ns < ?1 "
        "LIMIT ?2)";
    static const char slots_sql[] =
        "DELETE FROM slots WHERE (id, slot) IN (SELECT id, slot FROM slots s INDEXED BY slots_slot "
        "WHERE s.slot < ?1 AND coalesce(s.until, s.slot) < ?1 AND s.outcome <> 'planned' AND "
        "EXISTS (SELECT 1 FROM slots n "
        "WHERE n.id = s.id AND n.slot > s.slot) ORDER BY s.slot LIMIT ?2)";
    static const char events_sql[] =
        "DELETE FROM events WHERE seq IN (SELECT e.seq FROM events e INDEXED BY events_at WHERE "
        "e.at_ns < ?1 AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.seq = e.seq) "
        "ORDER BY e.at_ns LIMIT ?2)";
    static const char local_sql[] =
        "DELETE FROM local_events WHERE seq IN (SELECT seq FROM local_events INDEXED BY "
        "local_events_at WHERE at_ns < ?1 ORDER BY at_ns LIMIT ?2)";
    int64_t runs_before, events_before, batch = sm_json_int(args, "batch", BATCH_DEFAULT);
    int64_t runs = 0, slots = 0, events = 0, last = 0, memos = 0;
    if (sm_arg_int(args, "runs_before_ns", &runs_before, err) != SM_OK ||
        sm_arg_int(args, "events_before_ns", &events_before, err) != SM_OK)
        return SM_INVALID;
    batch = batch > 0 ? batch : BATCH_DEFAULT;
    sm_rc rc = prune_one(c, runs_sql, runs_before, batch, &runs, err);
    if (rc == SM_OK)
        rc = prune_one(c, last_sql, runs_before, batch, &last, err);
    if (rc == SM_OK)
        rc = prune_one(c, slots_sql, runs_before / SM_NS_PER_S, batch, &slots, err);
    if (rc == SM_OK)
        rc = prune_one(c, events_sql, events_before, batch, &events, err);
    if (rc == SM_OK)
        rc = prune_one(c, local_sql, events_before, batch, &events, err);
    if (rc == SM_OK)
        rc = sm_memo_prune(c, args, runs_before, batch, &memos, err);
    if (rc == SM_OK)
        rc = sm_sql_run(c, err, "PRAGMA incremental_vacuum(1000)", "");
    if (rc == SM_OK)
        *result =
            json_pack("{s:I,s:I,s:I,s:I}", "runs", (json_int_t)runs, "events", (json_int_t)events,
                      "slots", (json_int_t)slots, "memos", (json_int_t)memos);
    return rc;
}
