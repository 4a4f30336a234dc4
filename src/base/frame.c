/* frame: one message between daemon, workers and the command line.
 *
 * Encodes, decodes incrementally and moves frames over a blocking descriptor. Refuses a wrong
 * magic, a length over its ceiling and a header that is not a JSON object, and then parses nothing
 * more: after a protocol error the connection is to be closed. A reader belongs to one thread.
 */
#include "base/frame.h"
#include "base/mem.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char magic[4] = {'S', 'M', 'F', '1'};

enum {
    FRAME_MAX = SM_FRAME_PREFIX + SM_FRAME_HEAD_MAX + SM_FRAME_BODY_MAX,
    READER_MAX = FRAME_MAX + (1 << 20), /* one whole frame and the beginning of the next ones */
    READER_KEEP = 1 << 20,              /* an empty reader gives back more memory than this */
    READ_CHUNK = 64 << 10
};

void sm_frame_fini(sm_frame *f) {
    json_decref(f->head);
    free(f->body);
    f->head = NULL;
    f->body = NULL;
    f->body_len = 0;
}

static void put_u32(char *p, size_t v) {
    for (int i = 0; i < 4; i++) {
        p[i] = (char)((v >> (8 * i)) & 0xFF);
    }
}

static uint32_t get_u32(const char *p) {
    const unsigned char *b = (const unsigned char *)p;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

sm_rc sm_frame_encode(sm_buf *out, const json_t *head, const void *body, size_t body_len,
                      sm_err *err) {
    if (!json_is_object(head)) {
        return sm_err_set(err, SM_INTERNAL, "a message needs a JSON object as its header");
    }
    sm_rc rc = SM_OK;
    size_t head_len;
    char *text = sm_json_dump(head, &head_len);
    if (head_len > SM_FRAME_HEAD_MAX) {
        rc = sm_err_set(err, SM_LIMIT, "a message header has %zu bytes, more than the limit of %d",
                        head_len, SM_FRAME_HEAD_MAX);
        goto out;
    }
    if (body_len > SM_FRAME_BODY_MAX) {
        rc = sm_err_set(err, SM_LIMIT, "a message body has %zu bytes, more than the limit of %d",
                        body_len, SM_FRAME_BODY_MAX);
        goto out;
    }
    /* All or nothing: a refused append must not leave half a frame. */
    if (out->failed || SM_FRAME_PREFIX + head_len + body_len > out->max - out->len) {
        out->failed = true;
        rc = sm_err_set(err, SM_LIMIT, "the buffer for messages is full (%zu bytes)", out->max);
        goto out;
    }
    char prefix[SM_FRAME_PREFIX];
    memcpy(prefix, magic, sizeof magic);
    put_u32(prefix + 4, head_len);
    put_u32(prefix + 8, body_len);
    sm_buf_add(out, prefix, sizeof prefix);
    sm_buf_add(out, text, head_len);
    sm_buf_add(out, body, body_len);
out:
    free(text);
    return rc;
}

void sm_frame_reader_init(sm_frame_reader *r) {
    sm_buf_init(&r->buf, READER_MAX);
    r->off = 0;
    r->broken = false;
}

void sm_frame_reader_fini(sm_frame_reader *r) {
    sm_buf_fini(&r->buf);
    r->off = 0;
}

/* Checks as much of the first prefix as is there; SM_PROTO breaks the reader. */
static sm_rc reader_check(sm_frame_reader *r, sm_err *err) {
    if (r->broken) {
        return sm_err_set(err, SM_PROTO, "the stream of messages is broken");
    }
    const char *p = r->buf.data + r->off;
    size_t n = r->buf.len - r->off;
    if (n == 0) {
        return SM_OK;
    }
    if (memcmp(p, magic, n < sizeof magic ? n : sizeof magic) != 0) {
        r->broken = true;
        return sm_err_set(err, SM_PROTO, "the other side does not speak this program's protocol");
    }
    if (n >= 8 && get_u32(p + 4) > SM_FRAME_HEAD_MAX) {
        r->broken = true;
        return sm_err_set(err, SM_PROTO, "a message announces a header of %u bytes, over %d",
                          get_u32(p + 4), SM_FRAME_HEAD_MAX);
    }
    if (n >= SM_FRAME_PREFIX && get_u32(p + 8) > SM_FRAME_BODY_MAX) {
        r->broken = true;
        return sm_err_set(err, SM_PROTO, "a message announces a body of %u bytes, over %d",
                          get_u32(p + 8), SM_FRAME_BODY_MAX);
    }
    return SM_OK;
}

sm_rc sm_frame_reader_feed(sm_frame_reader *r, const void *p, size_t n, sm_err *err) {
    if (r->broken) {
        return reader_check(r, err);
    }
    sm_buf_consume(&r->buf, r->off);
    r->off = 0;
    if (sm_buf_add(&r->buf, p, n)) {
        r->broken = true;
        return sm_err_set(err, SM_PROTO, "more than %zu bytes of messages wait unread", r->buf.max);
    }
    return reader_check(r, err);
}

sm_rc sm_frame_reader_next(sm_frame_reader *r, sm_frame *out, sm_err *err) {
    memset(out, 0, sizeof *out);
    sm_rc rc = reader_check(r, err);
    if (rc) {
        return rc;
    }
    const char *p = r->buf.data + r->off;
    size_t n = r->buf.len - r->off;
    if (n < SM_FRAME_PREFIX) {
        return SM_NOT_FOUND;
    }
    size_t head_len = get_u32(p + 4);
    size_t body_len = get_u32(p + 8);
    if (n - SM_FRAME_PREFIX < head_len + body_len) {
        return SM_NOT_FOUND;
    }
    rc = sm_json_parse(p + SM_FRAME_PREFIX, head_len, SM_FRAME_HEAD_MAX, &out->head, err);
    if (rc == SM_OK && !json_is_object(out->head)) {
        json_decref(out->head);
        out->head = NULL;
        rc = sm_err_set(err, SM_PROTO, "the header is not a JSON object");
    }
    if (rc) {
        r->broken = true;
        sm_err_wrap(err, "a message cannot be read");
        if (err) {
            err->code = SM_PROTO;
        }
        return SM_PROTO;
    }
    if (body_len) {
        out->body = sm_memdup(p + SM_FRAME_PREFIX + head_len, body_len);
        out->body_len = body_len;
    }
    r->off += SM_FRAME_PREFIX + head_len + body_len;
    if (r->off == r->buf.len) {
        r->off = 0;
        sm_buf_reset(&r->buf);
        if (r->buf.cap > READER_KEEP) {
            sm_buf_fini(&r->buf);
        }
    }
    return SM_OK;
}

/* Waits until fd can be read or written; for descriptors that somebody made non-blocking. */
static void wait_fd(int fd, short events) {
    struct pollfd p = {.fd = fd, .events = events};
    poll(&p, 1, -1);
}

sm_rc sm_frame_recv(int fd, sm_frame_reader *r, sm_frame *out, sm_err *err) {
    char *chunk = NULL;
    sm_rc rc;
    while ((rc = sm_frame_reader_next(r, out, err)) == SM_NOT_FOUND) {
        if (!chunk) {
            chunk = sm_malloc(READ_CHUNK);
        }
        ssize_t n = read(fd, chunk, READ_CHUNK);
        if (n > 0) {
            rc = sm_frame_reader_feed(r, chunk, (size_t)n, err);
            if (rc) {
                goto out;
            }
        } else if (n == 0 || errno == ECONNRESET) {
            rc = sm_err_set(err, SM_CLOSED, "the other side closed the connection%s",
                            r->buf.len > r->off ? " in the middle of a message" : "");
            goto out;
        } else if (errno == EAGAIN) {
            wait_fd(fd, POLLIN);
        } else if (errno != EINTR) {
            rc = sm_err_sys(err, errno, "cannot read a message");
            goto out;
        }
    }
out:
    free(chunk);
    return rc;
}

/* write without SIGPIPE where fd is a socket. */
static ssize_t write_quiet(int fd, const char *p, size_t n) {
    ssize_t done = send(fd, p, n, MSG_NOSIGNAL);
    return done < 0 && errno == ENOTSOCK ? write(fd, p, n) : done;
}

sm_rc sm_frame_send(int fd, const json_t *head, const void *body, size_t body_len, sm_err *err) {
    sm_buf out;
    sm_buf_init(&out, FRAME_MAX);
    sm_rc rc = sm_frame_encode(&out, head, body, body_len, err);
    for (size_t at = 0; rc == SM_OK && at < out.len;) {
        ssize_t n = write_quiet(fd, out.data + at, out.len - at);
        if (n >= 0) {
            at += (size_t)n;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            rc = sm_err_set(err, SM_CLOSED, "the other side closed the connection");
        } else if (errno == EAGAIN) {
            wait_fd(fd, POLLOUT);
        } else if (errno != EINTR) {
            rc = sm_err_sys(err, errno, "cannot send a message");
        }
    }
    sm_buf_fini(&out);
    return rc;
}
