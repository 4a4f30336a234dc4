/* ops: the table of operations, and the one that only proves that the database answers.
 *
 * A new operation is a constant in store.h, a function in an op_*.c and one line here.
 */
#include "store/store_internal.h"

/* op, name, function, writes, slow */
static const sm_op ops[] = {
    {SM_OP_EVENTS_ACCEPT, "events_accept", sm_op_events_accept, true, false},
    {SM_OP_FAILURE, "failure", sm_op_failure, true, false},
    {SM_OP_FAILURE_MOVE, "failure_move", sm_op_failure_move, true, false},
    {SM_OP_OUTBOX_CLAIM, "outbox_claim", sm_op_outbox_claim, true, false},
    {SM_OP_OUTBOX_DONE, "outbox_done", sm_op_outbox_done, true, false},
    {SM_OP_OUTBOX_RETRY, "outbox_retry", sm_op_outbox_retry, true, false},
    {SM_OP_OUTBOX_HOLD, "outbox_hold", sm_op_outbox_hold, true, false},
    {SM_OP_OUTBOX_REFUSE, "outbox_refuse", sm_op_outbox_refuse, true, false},
    {SM_OP_OUTBOX_LIST, "outbox_list", sm_op_outbox_list, false, true},
    {SM_OP_OUTBOX_AGAIN, "outbox_again", sm_op_outbox_again, true, false},
    {SM_OP_OUTBOX_DROP, "outbox_drop", sm_op_outbox_drop, true, false},
    {SM_OP_OUTBOX_STATS, "outbox_stats", sm_op_outbox_stats, false, false},
    {SM_OP_SLOT_PLAN, "slot_plan", sm_op_slot_plan, true, false},
    {SM_OP_SLOT_GAP, "slot_gap", sm_op_slot_gap, true, false},
    {SM_OP_SLOT_UNPLAN, "slot_unplan", sm_op_slot_unplan, true, false},
    {SM_OP_SLOT_REOPEN, "slot_reopen", sm_op_slot_reopen, true, false},
    {SM_OP_SLOT_LAST, "slot_last", sm_op_slot_last, false, true},
    {SM_OP_RUN_START, "run_start", sm_op_run_start, true, false},
    {SM_OP_RUN_FINISH, "run_finish", sm_op_run_finish, true, false},
    {SM_OP_RUNS_RECOVER, "runs_recover", sm_op_runs_recover, true, false},
    {SM_OP_REGISTRY_PUT, "registry_put", sm_op_registry_put, true, false},
    {SM_OP_REGISTRY_GET, "registry_get", sm_op_registry_get, false, false},
    {SM_OP_REGISTRY_DELETE, "registry_delete", sm_op_registry_delete, true, false},
    {SM_OP_TEXTS_PUT, "texts_put", sm_op_texts_put, true, false},
    {SM_OP_TEXTS_GET, "texts_get", sm_op_texts_get, false, true},
    {SM_OP_TEXTS_DELETE, "texts_delete", sm_op_texts_delete, true, false},
    {SM_OP_KV_PUT, "kv_put", sm_op_kv_put, true, false},
    {SM_OP_KV_GET, "kv_get", sm_op_kv_get, false, false},
    {SM_OP_KV_LIST, "kv_list", sm_op_kv_list, false, true},
    {SM_OP_MEMO_GET, "memo_get", sm_op_memo_get, false, false},
    {SM_OP_MEMO_PUT, "memo_put", sm_op_memo_put, true, false},
    {SM_OP_MEMO_DELETE, "memo_delete", sm_op_memo_delete, true, false},
    {SM_OP_MEMO_INCR, "memo_incr", sm_op_memo_incr, true, false},
    {SM_OP_MEMO_KEYS, "memo_keys", sm_op_memo_keys, false, false},
    {SM_OP_MEMO_DUMP, "memo_dump", sm_op_memo_dump, false, false},
    {SM_OP_LOCAL_LIST, "local_list", sm_op_local_list, false, false},
    {SM_OP_LOCAL_CREATE, "local_create", sm_op_local_create, true, false},
    {SM_OP_LOCAL_MODIFY, "local_modify", sm_op_local_modify, true, false},
    {SM_OP_LOCAL_STATUS, "local_status", sm_op_local_status, true, false},
    {SM_OP_LOCAL_PARAMS, "local_params", sm_op_local_params, true, false},
    {SM_OP_LOCAL_DELETE, "local_delete", sm_op_local_delete, true, false},
    {SM_OP_LOCAL_EVENTS_PUT, "local_events_put", sm_op_local_events_put, true, false},
    {SM_OP_LOCAL_EVENTS, "local_events", sm_op_local_events, false, true},
    {SM_OP_QUERY_EVENTS, "query_events", sm_op_query_events, false, true},
    {SM_OP_QUERY_RUNS, "query_runs", sm_op_query_runs, false, true},
    {SM_OP_QUERY_LAST, "query_last", sm_op_query_last, false, true},
    {SM_OP_MUTE, "mute", sm_op_mute, true, false},
    {SM_OP_UNMUTE, "unmute", sm_op_unmute, true, false},
    {SM_OP_MUTES, "mutes", sm_op_mutes, false, false},
    {SM_OP_RECONCILE, "reconcile", sm_op_reconcile, true, false},
    {SM_OP_WHY, "why", sm_op_why, false, true},
    {SM_OP_PRUNE, "prune", sm_op_prune, true, false},
    {SM_OP_HEALTH, "health", sm_op_health, false, false},
    {SM_OP_PING, "ping", sm_op_ping, false, false},
    {SM_OP_CONFIGURE, "configure", sm_op_configure, false, false},
    {SM_OP_OUTBOX_ACCOUNTS, "outbox_accounts", sm_op_outbox_accounts, false, true},
    {SM_OP_BACKUP_BEGIN, "backup_begin", sm_op_backup_begin, false, true},
    {SM_OP_BACKUP_STEP, "backup_step", sm_op_backup_step, false, true},
    {SM_OP_BACKUP_END, "backup_end", sm_op_backup_end, false, true},
    {SM_OP_SALVAGE, "salvage", sm_op_salvage, true, true},
};
_Static_assert(SM_ARRAY_LEN(ops) == SM_OP_COUNT_, "one line per operation");

const sm_op *sm_op_find(sm_store_op op) {
    /* The table is in the order of the enumeration; a test holds it to that. */
    if ((unsigned)op >= SM_OP_COUNT_ || ops[op].op != op)
        return NULL;
    return &ops[op];
}

sm_rc sm_op_ping(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)args;
    int64_t group;
    sm_rc rc = sm_sql_int(c, &group, -1, err, "SELECT value FROM meta WHERE key = 'group'", "");
    if (rc != SM_OK)
        return rc;
    if (c->broken)
        return sm_err_set(err, SM_IO, "the database %s takes nothing more since an fsync failed",
                          c->path);
    *result = json_pack("{s:i}", "schema", c->schema);
    return SM_OK;
}

sm_rc sm_op_configure(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)result, (void)err;
    c->outbox_max = sm_json_int(args, "outbox_bytes", c->outbox_max);
    c->min_free = sm_json_int(args, "min_free_bytes", c->min_free);
    return SM_OK;
}
