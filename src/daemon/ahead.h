/* ahead: asks the platform before an inspection is due, so that its run starts on time, and asks
 * again, with backoff, about inspections that could not be registered. Owned by the loop's thread.
 */
#pragma once
#include "daemon/catalog.h"
#include "daemon/desks.h"
#include "daemon/scheduler.h"

typedef struct sm_ahead sm_ahead;

sm_ahead *sm_ahead_new(uv_loop_t *loop, const sm_catalog *catalog, sm_desks *desks,
                       sm_scheduler *scheduler);
/* A run ended as `unregistered`; first: it was the inspection's first run, which is owed to it once
 * it is registered. */
void sm_ahead_unregistered(sm_ahead *a, const char *id, bool first);
void sm_ahead_close(sm_ahead *a); /* NULL is fine; then free once the loop has turned */
void sm_ahead_free(sm_ahead *a);
