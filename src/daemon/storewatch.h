/* storewatch: asks the store once a second how it is, and keeps the last answer: whether the
 * process is alive (it is, when the loop turns and the store answered a read within 5 s) and what
 * waits in the outbox. Owned by the loop's thread.
 */
#pragma once
#include "store/store.h"
#include <stdbool.h>
#include <uv.h>

typedef struct sm_storewatch sm_storewatch;

/* Begins at once. */
sm_storewatch *sm_storewatch_new(uv_loop_t *loop, sm_store *store);
/* False: a read has waited for its answer for more than 5 s, or failed. */
bool sm_storewatch_alive(const sm_storewatch *p);
/* Why the store takes no events, or NULL. Borrowed until the loop turns. */
const char *sm_storewatch_refuses(const sm_storewatch *p);
/* {ping (seconds the last answer took), waited (seconds the open question has waited, 0: none),
 *  bytes, refuses|null, broken, queued, outbox: OUTBOX_STATS|null, outbox_limit,
 *  aside|null (SM_OP_HEALTH), set_aside (its count), healed}. New reference. */
json_t *sm_storewatch_snapshot(const sm_storewatch *p);
/* Adds what an operator must know of the database's files, as sentences. */
void sm_storewatch_troubles(const sm_storewatch *p, json_t *out);
void sm_storewatch_close(sm_storewatch *p); /* NULL is fine */
/* Once the loop has turned and the store is closed. */
void sm_storewatch_free(sm_storewatch *p);
