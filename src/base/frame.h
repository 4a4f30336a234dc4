/* frame: one message between daemon, workers and the command line: a JSON header and a raw body.
 *
 * Wire: "SMF1", u32 LE header length, u32 LE body length, header (JSON object), body bytes.
 * The reader is incremental and never trusts a length: over a ceiling is SM_PROTO at once.
 */
#pragma once
#include "base/buf.h"
#include "base/json.h"

enum { SM_FRAME_HEAD_MAX = 16 << 20, SM_FRAME_BODY_MAX = 16 << 20, SM_FRAME_PREFIX = 12 };

typedef struct sm_frame {
    json_t *head; /* object, owned */
    char *body;   /* owned, NUL-terminated, NULL when body_len == 0 */
    size_t body_len;
} sm_frame;

typedef struct sm_frame_reader {
    sm_buf buf;  /* unread bytes, from off on */
    size_t off;  /* bytes at the front of buf that were given out as frames */
    bool broken; /* a protocol error was seen; nothing more is parsed */
} sm_frame_reader;

void sm_frame_fini(sm_frame *f);
/* Appends the encoded frame to out. SM_LIMIT when header or body is too long. head is borrowed. */
sm_rc sm_frame_encode(sm_buf *out, const json_t *head, const void *body, size_t body_len,
                      sm_err *err);

void sm_frame_reader_init(sm_frame_reader *r);
void sm_frame_reader_fini(sm_frame_reader *r);
sm_rc sm_frame_reader_feed(sm_frame_reader *r, const void *p, size_t n, sm_err *err);
/* SM_OK and a frame; SM_NOT_FOUND when more bytes are needed; SM_PROTO when the stream is broken.
 */
sm_rc sm_frame_reader_next(sm_frame_reader *r, sm_frame *out, sm_err *err);

/* Blocking, for workers and the command line; EINTR is retried. SM_CLOSED at end of file. */
sm_rc sm_frame_recv(int fd, sm_frame_reader *r, sm_frame *out, sm_err *err);
sm_rc sm_frame_send(int fd, const json_t *head, const void *body, size_t body_len, sm_err *err);
