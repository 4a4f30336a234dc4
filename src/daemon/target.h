/* target: a platform as registrar and pump see it. `local` is one; a remote node will be another.
 *
 * Every call answers exactly once, later, on the loop's thread. Arguments are borrowed for the
 * call.
 */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include "platform/verdict.h"

typedef void (*sm_target_done)(void *ctx, sm_rc rc, const sm_err *err, const json_t *result);
/* detail: what the platform said, for people (masked), may be "". */
typedef void (*sm_target_delivered)(void *ctx, const sm_answer *answer, const char *detail);

typedef struct sm_target {
    void *ctx;
    const char *node;    /* "local" */
    const char *account; /* whose views and events are its business; NULL: everybody's */
    /* Items of these association keys (array of texts; an empty one asks for all there are): array
     * as the platform's list shows them. SM_LIMIT: the budget of calls is spent. */
    void (*list)(void *ctx, const json_t *ref_keys, sm_target_done done, void *done_ctx);
    /* payload as in platform/checker.h. SM_EXISTS when the key is there already. */
    void (*create)(void *ctx, const json_t *payload, sm_target_done done, void *done_ctx);
    void (*modify)(void *ctx, const char *ref_key, const json_t *payload, sm_target_done done,
                   void *done_ctx);
    /* Events: array of outbox payloads (store.h, EVENTS_ACCEPT, one event each). */
    void (*deliver)(void *ctx, const json_t *events, sm_target_delivered done, void *done_ctx);
} sm_target;
