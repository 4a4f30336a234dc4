/* failure_event: the texts of the runner's own events about inspections that do not run. Pure. */
#pragma once
#include "base/json.h"
#include <stdint.h>

typedef struct sm_failure_told {
    const char *function; /* id it was first reported under: the dimension */
    const char *id, *title;
    const char *outcome;  /* how the run ended; "load_error"; NULL: healed */
    const char *sentence; /* what went wrong, or how it was healed; may be NULL */
    const char *run;      /* its id, or "" */
    bool stale;           /* load_error: the last good version keeps running */
    int64_t since_ns;     /* wall: when the fault began */
    int64_t now_ns;       /* wall */
} sm_failure_told;

/* {title, message, status, dimension_tags, event_id, at_ns, dimension}: as the store accepts it
 * (SM_OP_EVENTS_ACCEPT). New reference. */
json_t *sm_failure_event(const sm_failure_told *t);
