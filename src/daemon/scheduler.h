/* scheduler: decides when an inspection is due, and starts it through the runner.
 *
 * Due times are absolute wall instants in a heap; one timerfd(CLOCK_REALTIME) that a change of the
 * clock cancels wakes the loop. Each slot has a row in the store, planned ahead. Owned by the
 * loop's thread. */
#pragma once
#include "base/clock.h"
#include "daemon/catalog.h"
#include "daemon/runner.h"
#include "store/store.h"
#include <uv.h>

typedef struct sm_scheduler sm_scheduler;

/* done gets the report of every run the scheduler started (runner.h). NULL: no timer can be had. */
sm_scheduler *sm_scheduler_new(uv_loop_t *loop, sm_store *store, sm_runner *runner,
                               const sm_clock *clock, sm_runner_done done, void *ctx, sm_err *err);
/* Reads the newest slots and last outcomes from the store, then ready(ctx). */
void sm_scheduler_load(sm_scheduler *s, void (*ready)(void *ctx), void *ctx);
/* Takes over what is loaded now: new inspections get their next slot (and their first run), changed
 * schedules are computed from now, removed ones stop. */
void sm_scheduler_update(sm_scheduler *s, sm_inspection *const *list, size_t n);
/* Looks at every due time again: the clock was set. (The timer notices by itself; a test with a
 * clock of its own calls it.) No slot runs twice, and of those that were passed over at most the
 * newest; a clock that went back by more than a day was wrong before, and schedules begin again. */
void sm_scheduler_clock_set(sm_scheduler *s);
/* Starts the first run that an inspection is still owed, unless it runs now. */
void sm_scheduler_first(sm_scheduler *s, const char *id);
/* Next nominal slot of an inspection in Unix seconds; false when it has none. */
bool sm_scheduler_next(const sm_scheduler *s, const char *id, int64_t *slot);
/* The earliest due inspection: its id (borrowed) and slot; NULL when nothing is scheduled. */
const char *sm_scheduler_earliest(const sm_scheduler *s, int64_t *slot);
void sm_scheduler_stop(sm_scheduler *s); /* nothing starts any more; closes handles */
void sm_scheduler_free(sm_scheduler *s);
