/* vitals: what a process counted since it started: runs by outcome, how long they took, how late
 * they began, events, reloads. Counting a run costs well under a microsecond, whatever was counted
 * before; nothing here grows. Owned by the loop's thread.
 */
#pragma once
#include "base/clock.h"
#include "base/json.h"
#include "daemon/catalog.h"

typedef struct sm_vitals sm_vitals;

sm_vitals *sm_vitals_new(const sm_clock *clock);
void sm_vitals_free(sm_vitals *v);
/* A run's recorded end (runner.h): outcome, seconds, events, and `cpu` and `lateness` in seconds
 * when there are. */
void sm_vitals_run(sm_vitals *v, const json_t *report);
/* Slots that ended without a run. outcome: missed, skipped. */
void sm_vitals_slots(sm_vitals *v, const char *outcome, int64_t n);
/* A run that will be repeated alone. */
void sm_vitals_repeat(sm_vitals *v);
/* A scan that changed something: what does not load now. */
void sm_vitals_reload(sm_vitals *v, const sm_load_error *errors, size_t n);
/* {started_ns, uptime, runs: {outcome: n}, repeats, events, cpu, seconds: HISTOGRAM,
 *  lateness: HISTOGRAM, recent: {n, seconds, p50|null, p99|null, max|null}, reloads,
 *  reload_failures}; HISTOGRAM is {le: [upper bounds in seconds], count: [not cumulative, one more
 * than bounds], sum}. recent is lateness of the last hour, or since the start; `seconds` says over
 * which time. New reference. */
json_t *sm_vitals_snapshot(sm_vitals *v);
