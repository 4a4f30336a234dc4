/* link: the daemon's end of one worker's socket: frames in, frames out, texts it already has.
 *
 * It never blocks: what the worker does not take waits in an out buffer with a ceiling. It knows
 * nothing of runs. Owned by the loop's thread.
 */
#pragma once
#include "base/frame.h"
#include "base/map.h"
#include "daemon/catalog.h"
#include <uv.h>

enum {
    SM_LINK_OUT_MAX = 64 << 20, /* bytes that may wait; beyond it the worker counts as stuck */
    SM_LINK_OUT_BUSY = 8 << 20  /* beyond it no new work is given */
};

typedef struct sm_link {
    int fd;             /* -1 when closed */
    uv_poll_t poll;     /* the embedding struct lives until its close callback */
    int events;         /* what is polled for now */
    bool dead;          /* a write failed: nothing more is written */
    sm_frame_reader in; /* unread bytes */
    sm_buf out;         /* encoded frames; [0, out_at) has been written */
    size_t out_at;      /* bytes of out already written */
    sm_map texts;       /* hash -> sm_blob it has, referenced */
    /* A whole frame arrived; anything but SM_OK breaks the stream. */
    sm_rc (*frame)(void *ctx, const sm_frame *f, sm_err *err);
    /* The stream ended (why NULL) or broke. Called once; not after sm_link_close. */
    void (*ended)(void *ctx, const char *why);
    /* What waited fell below SM_LINK_OUT_BUSY. */
    void (*drained)(void *ctx);
    void *ctx;
} sm_link;

/* Takes fd (non-blocking socket) when it succeeds. The three callbacks and ctx are set before. */
sm_rc sm_link_open(sm_link *l, uv_loop_t *loop, int fd, sm_err *err);
/* Appends a frame. SM_LIMIT: the frame is too long (`too_long` true), or too much waits. */
sm_rc sm_link_put(sm_link *l, const json_t *head, const void *body, size_t n, bool *too_long,
                  sm_err *err);
/* Appends a `text` frame unless the worker has the text. Errors as sm_link_put. */
sm_rc sm_link_put_text(sm_link *l, sm_blob *b, sm_err *err);
/* Sends `forget` for every text that only links still refer to; `holders` counts a blob's links. */
void sm_link_forget(sm_link *l, int (*holders)(void *ctx, const sm_blob *b), void *ctx);
bool sm_link_has(const sm_link *l, const sm_blob *b);
/* Writes what the socket takes now; the rest follows when it is writable. */
void sm_link_flush(sm_link *l);
/* Bytes that wait. */
size_t sm_link_pending(const sm_link *l);
/* Reads and delivers what a dead worker left in the socket. */
void sm_link_drain(sm_link *l);
/* Closes the socket and the poll handle; `closed` is called (with l->poll) from the loop. */
void sm_link_close(sm_link *l, uv_close_cb closed);
