/* runclock: the time that a run sees (see runclock.h). Called by the bindings that tell the time or
 * wait, by vm when a run begins, and by selfmon.internal, all on the run's thread.
 */
#include "worker/runclock.h"
#include "base/clock.h"

static const int64_t patience_ns =
    60 * SM_NS_PER_S; /* of the watchdog with a run that has a clock */

static struct sm_runclock *clock_of(const sm_run *run) {
    return run && run->host ? run->host->clock : NULL;
}

int64_t sm_run_wall_ns(const sm_run *run) {
    const struct sm_runclock *clock = clock_of(run);
    return clock ? clock->wall_ns : sm_wall_ns();
}

int64_t sm_run_mono_ns(const sm_run *run) {
    const struct sm_runclock *clock = clock_of(run);
    return clock ? clock->mono_ns : sm_mono_ns();
}

void sm_run_sleep(sm_run *run, int64_t ns) {
    struct sm_runclock *clock = clock_of(run);
    if (clock) {
        sm_runclock_move(clock, ns);
        sm_runclock_judge(run);
        return;
    }
    int64_t until = sm_mono_ns() + ns;
    pthread_mutex_lock(&run->mu);
    while (sm_mono_ns() < until && sm_run_wait(run, until)) {
    }
    pthread_mutex_unlock(&run->mu);
}

void sm_runclock_move(struct sm_runclock *clock, int64_t ns) {
    if (ns > clock->deadline_ns - clock->mono_ns)
        ns = clock->deadline_ns - clock->mono_ns;
    if (ns > 0) {
        clock->mono_ns += ns;
        clock->wall_ns += ns;
    }
}

void sm_runclock_judge(sm_run *run) {
    const struct sm_runclock *clock = clock_of(run);
    if (clock && clock->mono_ns >= clock->deadline_ns)
        sm_run_stop(run, SM_STOP_TIMEOUT);
}

int64_t sm_runclock_begin(sm_run *run, int64_t wall_ns) {
    struct sm_runclock *clock = clock_of(run);
    if (!clock)
        return wall_ns;
    clock->started_ns = clock->mono_ns;
    clock->deadline_ns = clock->mono_ns + wall_ns;
    return wall_ns > patience_ns ? wall_ns : patience_ns;
}
