/* str: text helpers of every layer: UTF-8, nearest names, durations, hex, terminal-safe output.
 * Pure; no locale is ever consulted.
 */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the valid UTF-8 sequence at p (1..4), 0 if invalid (overlong, surrogate, > U+10FFFF,
 * truncated). n > 0. */
size_t sm_utf8_len(const char *p, size_t n);
bool sm_utf8_valid(const char *p, size_t n);
/* Number of characters of valid UTF-8. */
size_t sm_utf8_count(const char *p, size_t n);
/* Copy of p with each invalid byte (maximal subpart) replaced by U+FFFD; caller frees; *out_n
 * its length. *changed (may be NULL) tells whether anything was replaced. */
char *sm_utf8_repair(const char *p, size_t n, size_t *out_n, bool *changed);
/* Largest m <= max with p[0..m) ending on a character boundary. p is valid UTF-8. */
size_t sm_utf8_cut(const char *p, size_t n, size_t max);

/* The name of `names` (n of them) nearest to `word` (Damerau-Levenshtein, case ignored), or NULL
 * when none is near enough to be a slip (distance > max(1, min(3, len/3))). Borrowed. */
const char *sm_str_nearest(const char *word, const char *const *names, size_t n);
/* "; did you mean \"x\"?" into out, or "" when nothing is near. */
const char *sm_str_hint(const char *word, const char *const *names, size_t n, char *out,
                        size_t cap);

/* `90s 15m 4h 2d 1h30m 500ms 1.5s 2w`, also a bare number = seconds. Result in seconds.
 * SM_INVALID with a sentence naming the text. No sign, no blanks; at most 10 years. */
sm_rc sm_duration_parse(const char *s, double *seconds, sm_err *err);

void sm_hex(const void *p, size_t n, char *out /* 2n+1 */);
bool sm_str_starts(const char *s, const char *prefix);
bool sm_str_ends(const char *s, const char *suffix);
/* Shell-like match of the whole of s: `*` not crossing `/`, `**` crossing it (a part that is `**`
 * also stands for no part at all), `?` one char that is not `/`. */
bool sm_str_glob(const char *pattern, const char *s);
/* One path part of a function id: [A-Za-z0-9_-][A-Za-z0-9_.-]* (script-api 1.2). */
bool sm_str_is_id_part(const char *s, size_t n);

/* Text for a terminal or a one-line log: control bytes (also C1 and ESC) as \n \t \xNN, invalid
 * UTF-8 as U+FFFD; at most max bytes with a closing "…". Caller frees. */
char *sm_str_printable(const char *p, size_t n, size_t max);

/* RFC 3339 in UTC with seconds ("2026-11-22T15:04:00Z") or milliseconds (".123Z"). */
void sm_time_rfc3339(int64_t unix_ns, bool millis, char out[32]);
/* Parses RFC 3339 with zone (Z or +hh:mm), fraction allowed; nanoseconds since the epoch. */
sm_rc sm_time_parse(const char *s, int64_t *unix_ns, sm_err *err);
/* Proleptic Gregorian, any year: days since 1970-01-01 and back. */
int64_t sm_days_from_civil(int64_t y, int m, int d);
void sm_civil_from_days(int64_t days, int64_t *y, int *m, int *d);
