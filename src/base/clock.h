/* clock: the only reader of clocks. Durations are monotonic, due instants wall time (UTC).
 * A room that must be tested with its own time takes a `const sm_clock *`. */
#pragma once
#include <stdint.h>

typedef struct sm_clock {
    int64_t (*wall_ns)(void *ctx); /* CLOCK_REALTIME */
    int64_t (*mono_ns)(void *ctx); /* CLOCK_MONOTONIC */
    int64_t (*boot_ns)(void *ctx); /* CLOCK_BOOTTIME: monotonic, and goes on in suspend */
    void *ctx;
} sm_clock;

#define SM_NS_PER_S INT64_C(1000000000)
#define SM_NS_PER_MS INT64_C(1000000)

const sm_clock *sm_clock_system(void);
int64_t sm_wall_ns(void);
int64_t sm_mono_ns(void);
/* CPU time of the calling thread. */
int64_t sm_thread_cpu_ns(void);
