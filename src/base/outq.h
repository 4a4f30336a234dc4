/* outq: lines on their way to a descriptor whose reader may be slow, stopped or gone. Whoever puts
 * a line never waits: a thread of the queue's own writes. Used by log. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

typedef struct sm_outq sm_outq;

enum { SM_OUTQ_BYTES = 1 << 20 }; /* of lines that may wait */

/* note: writes the line (with its line feed) that says how many were dropped; returns its length.
 * Called by the queue's thread and by those that put lines. NULL when no thread can be started. */
sm_outq *sm_outq_new(size_t (*note)(size_t dropped, char *out, size_t cap));
/* Copies the line (whole lines, n bytes) for descriptor fd; drops it when too much waits already.
 * Any thread. */
void sm_outq_put(sm_outq *q, int fd, const char *line, size_t n);
/* Lines dropped so far: because too much waited, or because they could not be written. */
size_t sm_outq_dropped(const sm_outq *q);
/* Writes what waits, for at most ms, and ends the thread; the queue is gone then. What a reader did
 * not take by then is dropped. False: it did not end in time (its memory is left to it). */
bool sm_outq_end(sm_outq *q, int ms);
