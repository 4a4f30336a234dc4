/* tz_internal: the POSIX rule that ends a TZif file (RFC 8536, 3.3); shared by tz.c and tz_rule.c.
 */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TZ_ABBREV_MAX = 15, TZ_RULE_EVENTS = 10 };

/* One day of the year at which the offset changes. */
typedef struct tz_day {
    enum { TZ_DAY_MONTH, TZ_DAY_JULIAN, TZ_DAY_ZERO } kind; /* Mm.w.d, Jn, n */
    int month, week, weekday;                               /* of TZ_DAY_MONTH */
    int day;                                                /* Jn: 1..365, n: 0..365 */
    int32_t time;                                           /* seconds of local time, may be < 0 */
} tz_day;

typedef struct tz_rule {
    bool has_dst;
    char std_name[TZ_ABBREV_MAX + 1], dst_name[TZ_ABBREV_MAX + 1];
    int32_t std_offset, dst_offset; /* seconds east */
    tz_day start, end;              /* of DST; in standard and in DST local time */
} tz_rule;

typedef struct tz_event {
    int64_t at; /* UTC */
    bool dst;   /* what begins */
} tz_event;

/* Parses n bytes of a TZ string; false when they break the grammar or a range. */
bool tz_rule_parse(const char *p, size_t n, tz_rule *out);
/* The changes around utc, sorted, the first of them before utc; 0 when the rule has no DST. */
size_t tz_rule_events(const tz_rule *r, int64_t utc, tz_event out[TZ_RULE_EVENTS]);
/* True when DST holds at utc. */
bool tz_rule_is_dst(const tz_rule *r, int64_t utc);
