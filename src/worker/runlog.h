/* runlog: the log of one run: head and tail of 20 KiB kept, the middle counted; written by the
 * run's thread only. A line is `<ms since start> TAB <level> TAB <text>` with control bytes
 * but tab escaped; level is print, debug, info, warn, error, trace or note (the host's own
 * remarks). */
#pragma once
#include "base/buf.h"
#include <stdint.h>

typedef struct sm_runlog {
    sm_buf head;        /* first SM_RUNLOG_KEEP bytes, whole lines */
    sm_buf tail;        /* last SM_RUNLOG_KEEP bytes, whole lines */
    size_t total;       /* bytes offered */
    size_t dropped;     /* lines left out of the middle */
    int64_t started_ns; /* monotonic */
} sm_runlog;

enum { SM_RUNLOG_KEEP = 20 << 10, SM_RUNLOG_LINE = 4096 };

void sm_runlog_init(sm_runlog *l, int64_t started_ns);
void sm_runlog_fini(sm_runlog *l);
void sm_runlog_add(sm_runlog *l, const char *level, const char *text, size_t n);
/* Whole text with a line `… N lines left out …` in the middle when cut; masked. malloc'd. */
char *sm_runlog_text(const sm_runlog *l, size_t *n);
