/* clock: the only reader of clocks.
 *
 * Wall time (CLOCK_REALTIME) is for due instants and what people read, monotonic time for
 * durations, deadlines and leases. Stateless and thread-safe. A clock that cannot be read is not a
 * state the program can go on in, so the calls do not fail: Linux always has these clocks.
 */
#include "base/clock.h"
#include <stddef.h>
#include <time.h>

static int64_t clock_read(clockid_t id) {
    struct timespec ts = {0};
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * SM_NS_PER_S + (int64_t)ts.tv_nsec;
}

int64_t sm_wall_ns(void) {
    return clock_read(CLOCK_REALTIME);
}

int64_t sm_mono_ns(void) {
    return clock_read(CLOCK_MONOTONIC);
}

int64_t sm_thread_cpu_ns(void) {
    return clock_read(CLOCK_THREAD_CPUTIME_ID);
}

static int64_t system_wall(void *ctx) {
    (void)ctx;
    return sm_wall_ns();
}

static int64_t system_mono(void *ctx) {
    (void)ctx;
    return sm_mono_ns();
}

static int64_t system_boot(void *ctx) {
    (void)ctx;
    return clock_read(CLOCK_BOOTTIME);
}

const sm_clock *sm_clock_system(void) {
    static const sm_clock clock = {system_wall, system_mono, system_boot, NULL};
    return &clock;
}
