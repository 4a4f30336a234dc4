/* cron: parses a schedule expression and computes due instants (script-api 6). Pure.
 * Five fields, six with seconds first, macros, `@every D`; L nL n#k nW ? H; DST by the rules there.
 */
#pragma once
#include "base/err.h"
#include "schedule/tz.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct sm_cron sm_cron;

/* id: the function id, from which `H` takes its stable value (NULL: as ""). SM_INVALID names the
 * field and what was expected; an expression that never fires is SM_INVALID here only with
 * `refuse_never`. */
sm_rc sm_cron_parse(const char *expr, const char *id, bool refuse_never, sm_cron **out,
                    sm_err *err);
void sm_cron_free(sm_cron *c);
/* First due instant strictly after `after` (Unix seconds); false when there is none within 12
 * years. tz NULL is UTC. */
bool sm_cron_next(const sm_cron *c, const sm_tz *tz, int64_t after, int64_t *next);
/* Last due instant at or before `at`; false when none within 12 years back. */
bool sm_cron_prev(const sm_cron *c, const sm_tz *tz, int64_t at, int64_t *prev);
/* How many due instants lie in (after, to]; exact, without visiting each of them. */
int64_t sm_cron_count(const sm_cron *c, const sm_tz *tz, int64_t after, int64_t to);
/* Distance to the instant after `at`'s next one: the period a person would name, in seconds; 0 when
 * there are no two instants within the search. */
int64_t sm_cron_period(const sm_cron *c, const sm_tz *tz, int64_t at);
/* Stable delay of the start for @every, H and macros, in ms, below min(period, 60 s); 0 when the
 * author wrote literal minutes. Never changes the nominal slot. */
int64_t sm_cron_spread_ms(const sm_cron *c, const char *id);
/* True for an argument that is an expression rather than an id: has a blank or begins with '@'. */
bool sm_cron_looks_like(const char *s);
