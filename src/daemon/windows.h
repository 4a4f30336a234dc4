/* windows: maintenance windows of the configuration: whose events are held back now. Owned by the
 * loop's thread; reads zone files when it is made. */
#pragma once
#include "base/json.h"
#include <stdint.h>

typedef struct sm_windows sm_windows;

/* maintenance: as checked by the configuration (list of {match, cron, duration, timezone, reason});
 * timezone: for those that name none. An entry that cannot be used is logged and left out. */
sm_windows *sm_windows_new(const json_t *maintenance, const char *timezone);
/* Why events of this inspection are held back at that Unix second: a sentence, valid until the next
 * call; NULL when they are not. */
const char *sm_windows_hold(sm_windows *w, const char *id, int64_t now_s);
/* Is there any window at all? */
bool sm_windows_any(const sm_windows *w);
void sm_windows_free(sm_windows *w); /* NULL is fine */
