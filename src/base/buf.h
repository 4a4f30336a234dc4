/* buf: a growing byte buffer with a mandatory ceiling.
 *
 * There is no buffer without a maximum. An append that would pass it changes nothing, marks the
 * buffer failed, and every later append fails too, so a writer may check once at its end.
 */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct sm_buf {
    char *data;  /* NUL-terminated when cap > 0; owned */
    size_t len;  /* bytes used, without the NUL */
    size_t cap;  /* bytes allocated */
    size_t max;  /* ceiling for len */
    bool failed; /* an append was refused */
} sm_buf;

void sm_buf_init(sm_buf *b, size_t max);
void sm_buf_fini(sm_buf *b);
/* SM_OK or SM_LIMIT. */
sm_rc sm_buf_add(sm_buf *b, const void *p, size_t n);
sm_rc sm_buf_adds(sm_buf *b, const char *s);
sm_rc sm_buf_addc(sm_buf *b, char c);
sm_rc sm_buf_addf(sm_buf *b, const char *fmt, ...) SM_PRINTF(2, 3);
/* Drops the first n bytes (n <= len), moving the rest down. */
void sm_buf_consume(sm_buf *b, size_t n);
/* Empties the buffer, keeps the memory, clears `failed`. */
void sm_buf_reset(sm_buf *b);
/* Gives the NUL-terminated bytes to the caller (never NULL), who frees them; the buffer is empty.
 */
char *sm_buf_take(sm_buf *b, size_t *len);
