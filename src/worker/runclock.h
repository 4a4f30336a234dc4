/* runclock: the time that a run sees: the machine's, or a clock that stands still until something
 * moves it (selfmon.testing): sleeping, a fake answer, the test.
 *
 * A run whose host has a clock is judged by it: its timeout is reached when the clock passes the
 * deadline. The watchdog still looks after it by the machine's clock, more generously. Used on the
 * run's own thread only.
 */
#pragma once
#include "worker/run.h"

struct sm_runclock {
    int64_t wall_ns, mono_ns; /* move together */
    int64_t started_ns;       /* mono_ns when the run began */
    int64_t deadline_ns;      /* of the run, as mono_ns; INT64_MAX: none */
};

/* What time.now, os.time and os.date show, in ns since 1970. run may be NULL: the machine's. */
int64_t sm_run_wall_ns(const sm_run *run);
/* What time.monotonic shows. */
int64_t sm_run_mono_ns(const sm_run *run);
/* Blocks the run for ns nanoseconds, or moves its clock; ends early when the run is stopped, which
 * it is when that passes its deadline. The caller goes on with sm_run_check. */
void sm_run_sleep(sm_run *run, int64_t ns);
/* Moves the clock (not NULL) by ns, at most to the deadline. */
void sm_runclock_move(struct sm_runclock *clock, int64_t ns);
/* Stops the run when its clock has reached the deadline; nothing without a clock. */
void sm_runclock_judge(sm_run *run);
/* A run of wall_ns begins: sets the clock's deadline. Returns how long the watchdog lets it be by
 * the machine's clock; wall_ns without a clock. */
int64_t sm_runclock_begin(sm_run *run, int64_t wall_ns);
