/* timetext: ISO 8601 texts to instants and back, with IANA zones. Pure but for reading the zone
 * file; no Lua. Used by bind_time. */
#pragma once
#include "base/buf.h"
#include <stdint.h>

/* `2026-11-22`, `2026-11-22T15:04`, `2026-11-22 15:04:05.25Z`, `20261122T150405+0100`; the date
 * also as week (`2026-W47-7`, `2026-W47` is its Monday) or day of the year (`2026-326`). Without
 * zone in the text: the IANA name `zone`, NULL for UTC; a time that occurs twice is its first
 * occurrence, one that does not exist is moved on by the gap. Nanoseconds since the epoch; the
 * years are 1..9999 and must fit. SM_INVALID names the text. */
sm_rc sm_timetext_parse(const char *text, const char *zone, int64_t *unix_ns, sm_err *err);
/* Appends the instant as `pattern` says: strftime's %Y %m %d %H %M %S %y %e %j %a %A %b %B %I %p %u
 * %w %G %V %F %T %D %R %s %z %Z %n %t %%, and %L (milliseconds), %:z (+01:00); English names. NULL
 * pattern is ISO 8601, `Z` for UTC. SM_INVALID for another letter or an unknown zone. */
sm_rc sm_timetext_format(int64_t unix_ns, const char *pattern, const char *zone, sm_buf *out,
                         sm_err *err);
/* What sm_duration_parse reads, with a sign before it, and ISO 8601's `PT1H30M`, `P1DT12H`, `P2W`
 * (no years and months: they have no length). SM_INVALID names the text. */
sm_rc sm_timetext_seconds(const char *text, double *seconds, sm_err *err);
/* "1h30m", "2d", "250ms", "0s": what sm_timetext_seconds reads, exact to a millisecond. */
void sm_timetext_duration(double seconds, char out[64]);
