/* memory: the service `store` of runs (daemon/asks.h): what inspections remember, kept in the
 * store, or, in a dry run, over what is there in the memory of this process. Owned by the loop's
 * thread.
 *
 * args {op: get set delete incr keys, key, scope?, ttl? (seconds), by? (incr)}; the body of set is
 * the value as JSON. Answers: get true and the JSON, or nothing; set true; delete a boolean; incr
 * true and the sum as JSON; keys a list. Codes: quota, too_large, value (incr of something else
 * than a number), full, busy, failed, invalid.
 */
#pragma once
#include "daemon/asks.h"
#include "store/store.h"

typedef struct sm_memory sm_memory;

/* Values that are kept for `who`: SM_OP_MEMO_DUMP's answer in *out (new reference), SM_NOT_FOUND
 * when there is no store. */
typedef sm_rc (*sm_memory_kept)(void *ctx, const char *who, json_t **out, sm_err *err);

/* store NULL: a dry run, which reads through `kept` (NULL: nothing is kept) and writes nothing. */
sm_memory *sm_memory_new(sm_dispatcher *d, sm_store *store, sm_memory_kept kept, void *kept_ctx);
/* Once the store is closed and the dispatcher is gone: ends what is open. */
void sm_memory_free(sm_memory *m);
/* The owner of an inspection's values in the store. Caller frees. */
char *sm_memory_owner(const sm_inspection *inspection);
/* {calls: {get, set, …}, refused: {quota, …}} since the start. New reference. */
json_t *sm_memory_status(const sm_memory *m);

/* ---- memory_dry.c: the store's operations on memos, over what is kept. ---- */

typedef struct sm_memory_dry {
    sm_memory_kept kept; /* or NULL */
    void *ctx;
    json_t *owners; /* who -> {key: {text, until_ms|null}} */
} sm_memory_dry;

/* As sm_store_call for SM_OP_MEMO_GET … KEYS, at once. args is taken. */
sm_rc sm_memory_dry_call(sm_memory_dry *d, sm_store_op op, json_t *args, json_t **result,
                         sm_err *err);
