/* scheduler: decides when an inspection is due, and starts it through the runner.
 *
 * Due times are absolute wall instants in a heap; one timerfd(CLOCK_REALTIME) that a change of the
 * clock cancels wakes the loop, and every 5 s the clock is looked at besides. Each slot has a row
 * in the store, planned ahead; slots that did not run are one row a stretch. With a clock before
 * 2025 nothing starts. Owned by the loop's thread. */
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
/* passed hears of slots that ended without a run: outcome "missed" or "skipped", and how many. */
void sm_scheduler_watch(sm_scheduler *s, void (*passed)(void *ctx, const char *outcome, int64_t n),
                        void *ctx);
/* Reads the newest slots and last outcomes from the store, then ready(ctx). */
void sm_scheduler_load(sm_scheduler *s, void (*ready)(void *ctx), void *ctx);
/* Takes over what is loaded now: new inspections get their next slot (and their first run, and what
 * `missed` allows of the slots that passed since the store last heard of them), changed schedules
 * are computed from now, removed ones stop. No row of a former schedule is left to be missed. */
void sm_scheduler_update(sm_scheduler *s, sm_inspection *const *list, size_t n);
/* Looks at every due time again: the clock was set, or the machine slept. (The timer notices by
 * itself; a test with a clock of its own calls it.) No slot that was run runs again: of instants
 * that the clock shows a second time the ledger is asked. What was passed over is missed. When it
 * went back by more than a day it was wrong before, and schedules begin again. */
void sm_scheduler_clock_set(sm_scheduler *s);
/* Starts the first run that an inspection is still owed, unless it runs now. */
void sm_scheduler_first(sm_scheduler *s, const char *id);
/* Next nominal slot of an inspection in Unix seconds; false when it has none. */
bool sm_scheduler_next(const sm_scheduler *s, const char *id, int64_t *slot);
/* The earliest due inspection: its id (borrowed) and slot; NULL when nothing is scheduled. */
const char *sm_scheduler_earliest(const sm_scheduler *s, int64_t *slot);
/* For how long the earliest due run has been waiting to be started; 0 when none is. */
int64_t sm_scheduler_behind_ns(const sm_scheduler *s);
void sm_scheduler_stop(sm_scheduler *s); /* nothing starts any more; closes handles */
void sm_scheduler_free(sm_scheduler *s);
