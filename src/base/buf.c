/* buf: a growing byte buffer with a mandatory ceiling.
 *
 * Refuses to grow past its maximum: the refused append changes nothing and marks the buffer, and
 * every later append fails too. Used wherever bytes of unknown number are collected. A buffer
 * belongs to the thread that owns the struct it lies in.
 */
#include "base/buf.h"
#include "base/mem.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_FIRST = 256 };

void sm_buf_init(sm_buf *b, size_t max) {
    memset(b, 0, sizeof *b);
    /* One byte stays free for the NUL. */
    b->max = max == SIZE_MAX ? SIZE_MAX - 1 : max;
}

void sm_buf_fini(sm_buf *b) {
    free(b->data);
    b->data = NULL;
    b->len = 0;
    b->cap = 0;
    b->failed = false;
}

/* Makes room for n more bytes and the NUL; SM_LIMIT marks the buffer. */
static sm_rc buf_room(sm_buf *b, size_t n) {
    if (b->failed || n > b->max - b->len) {
        b->failed = true;
        return SM_LIMIT;
    }
    size_t need = b->len + n + 1;
    if (need > b->cap) {
        size_t cap = b->cap ? b->cap : BUF_FIRST;
        while (cap < need) {
            cap = cap > SIZE_MAX / 2 ? need : cap * 2;
        }
        if (cap > b->max + 1) {
            cap = b->max + 1;
        }
        b->data = sm_realloc(b->data, cap);
        b->cap = cap;
    }
    return SM_OK;
}

sm_rc sm_buf_add(sm_buf *b, const void *p, size_t n) {
    sm_rc rc = buf_room(b, n);
    if (rc) {
        return rc;
    }
    if (n) {
        memcpy(b->data + b->len, p, n);
    }
    b->len += n;
    b->data[b->len] = '\0';
    return SM_OK;
}

sm_rc sm_buf_adds(sm_buf *b, const char *s) {
    return sm_buf_add(b, s, strlen(s));
}

sm_rc sm_buf_addc(sm_buf *b, char c) {
    return sm_buf_add(b, &c, 1);
}

sm_rc sm_buf_addf(sm_buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->failed = true;
        return SM_LIMIT;
    }
    sm_rc rc = buf_room(b, (size_t)n);
    if (rc) {
        return rc;
    }
    va_start(ap, fmt);
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return SM_OK;
}

void sm_buf_consume(sm_buf *b, size_t n) {
    if (n == 0) {
        return;
    }
    if (n >= b->len) {
        b->len = 0;
    } else {
        memmove(b->data, b->data + n, b->len - n);
        b->len -= n;
    }
    if (b->data) {
        b->data[b->len] = '\0';
    }
}

void sm_buf_reset(sm_buf *b) {
    b->len = 0;
    b->failed = false;
    if (b->data) {
        b->data[0] = '\0';
    }
}

char *sm_buf_take(sm_buf *b, size_t *len) {
    char *data = b->data ? b->data : sm_memdup("", 0);
    if (len) {
        *len = b->len;
    }
    b->data = NULL;
    b->len = 0;
    b->cap = 0;
    b->failed = false;
    return data;
}
