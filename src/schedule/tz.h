/* tz: time zones from TZif files (RFC 8536, version 2+ with the POSIX footer). Own reader; never
 * setenv("TZ"). A zone is immutable after loading and may be shared by threads. */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sm_tz sm_tz;

/* Loads an IANA name from `dir` (NULL: the environment's TZDIR when it is an absolute path, as in
 * libc, else /usr/share/zoneinfo). "UTC" needs no file. SM_INVALID for an
 * unknown zone with the nearest name when there is one. */
sm_rc sm_tz_load(const char *dir, const char *name, sm_tz **out, sm_err *err);
/* From TZif bytes (tests, fuzzing). */
sm_rc sm_tz_parse(const void *p, size_t n, const char *name, sm_tz **out, sm_err *err);
void sm_tz_free(sm_tz *tz);
const char *sm_tz_name(const sm_tz *tz);
/* Whether the file the zone was loaded from is still the one at its path (by inode, size and time;
 * links are followed). A zone without a file is always the same. */
typedef enum sm_tz_state { SM_TZ_SAME, SM_TZ_CHANGED, SM_TZ_GONE } sm_tz_state;
sm_tz_state sm_tz_look(const sm_tz *tz);
const char *sm_tz_path(const sm_tz *tz); /* of that file; "" when there is none */
/* Seconds east of UTC at an instant; *is_dst and *abbrev (borrowed) may be NULL. tz NULL is UTC. */
int32_t sm_tz_offset(const sm_tz *tz, int64_t utc, int *is_dst, const char **abbrev);
/* The next change of offset after utc; false when there is none. */
bool sm_tz_next_change(const sm_tz *tz, int64_t utc, int64_t *at);
