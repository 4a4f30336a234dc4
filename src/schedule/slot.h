/* slot: the due instants of one inspection, over all of its schedules. Pure.
 *
 * A slot is the nominal instant in Unix seconds. Its start may be delayed by a stable spread, which
 * is the same for all slots of an inspection: the smallest of its schedules. */
#pragma once
#include "schedule/cron.h"
#include <stddef.h>

#define SM_NO_SLOT INT64_MIN

typedef struct sm_slots {
    sm_cron *const *crons;
    size_t n;
    const sm_tz *tz; /* NULL = UTC */
    const char *id;  /* function id */
} sm_slots;

/* When a slot is to start, in wall nanoseconds. */
int64_t sm_slots_due_ns(const sm_slots *s, int64_t slot);
/* First slot strictly after `after`; SM_NO_SLOT when there is none. */
int64_t sm_slots_next(const sm_slots *s, int64_t after);
/* The newest slot whose start does not lie after now_ns. */
int64_t sm_slots_newest(const sm_slots *s, int64_t now_ns);
/* Last slot at or before `at`. */
int64_t sm_slots_prev(const sm_slots *s, int64_t at);
/* The longest period of its schedules, in seconds; 0 when none has two instants. */
int64_t sm_slots_period(const sm_slots *s, int64_t at);
/* How many slots lie in (after, to]. *about: several schedules have so many that instants they
 * share may be counted twice. Takes at most some milliseconds. */
int64_t sm_slots_count(const sm_slots *s, int64_t after, int64_t to, bool *about);
/* The newest `max` slots in (after, to], oldest first; returns how many. */
size_t sm_slots_tail(const sm_slots *s, int64_t after, int64_t to, int64_t *out, size_t max);
/* A number for a schedule: another one when its expressions or its zone differ. */
int64_t sm_slots_rule(const char *expressions, const char *zone);
