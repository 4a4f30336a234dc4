/* tz: time zones from TZif files (RFC 8536, version 2+ with the POSIX footer). Own reader; never
 * setenv("TZ"). A zone is immutable after loading and may be shared by threads. */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sm_tz sm_tz;

/* Loads an IANA name from $dir (NULL: /usr/share/zoneinfo). "UTC" needs no file. SM_INVALID for an
 * unknown zone with the nearest name when there is one. */
sm_rc sm_tz_load(const char *dir, const char *name, sm_tz **out, sm_err *err);
/* From TZif bytes (tests, fuzzing). */
sm_rc sm_tz_parse(const void *p, size_t n, const char *name, sm_tz **out, sm_err *err);
void sm_tz_free(sm_tz *tz);
const char *sm_tz_name(const sm_tz *tz);
/* Seconds east of UTC at an instant; *is_dst and *abbrev (borrowed) may be NULL. tz NULL is UTC. */
int32_t sm_tz_offset(const sm_tz *tz, int64_t utc, int *is_dst, const char **abbrev);
/* The next change of offset after utc; false when there is none. */
bool sm_tz_next_change(const sm_tz *tz, int64_t utc, int64_t *at);
