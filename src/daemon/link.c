/* link: the daemon's end of one worker's socket.
 *
 * Bytes that were written are wiped, since run frames may carry secrets. A read event handles at
 * most SM_READ_TURN bytes, so that one talkative worker does not hold the loop. Callbacks may close
 * the link; every loop here looks at fd again after one.
 */
#include "daemon/link.h"
#include "base/mem.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SM_READ_PIECE = 64 << 10, SM_READ_TURN = 1 << 20 };

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(sm_link *l, int events) {
    if (l->fd >= 0 && l->events != events) {
        l->events = events;
        (void)uv_poll_start(&l->poll, events, on_poll);
    }
}

size_t sm_link_pending(const sm_link *l) {
    return l->out.len - l->out_at;
}

/* Drops (and wipes) what was written. */
static void compact(sm_link *l) {
    if (l->out_at == 0)
        return;
    explicit_bzero(l->out.data, l->out_at);
    if (l->out_at == l->out.len)
        sm_buf_reset(&l->out);
    else
        sm_buf_consume(&l->out, l->out_at);
    l->out_at = 0;
}

void sm_link_flush(sm_link *l) {
    while (l->fd >= 0 && !l->dead && sm_link_pending(l) > 0) {
        ssize_t n =
            send(l->fd, l->out.data + l->out_at, sm_link_pending(l), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0) {
            l->out_at += (size_t)n;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            break;
        } else if (errno != EINTR) {
            /* The worker is gone; its end of stream or its exit tells the rest. */
            l->dead = true;
        }
    }
    if (l->dead)
        l->out_at = l->out.len;
    if (sm_link_pending(l) == 0 || l->out_at > l->out.len / 2)
        compact(l);
    watch(l, sm_link_pending(l) > 0 ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

sm_rc sm_link_put(sm_link *l, const json_t *head, const void *body, size_t n, bool *too_long,
                  sm_err *err) {
    sm_buf one;
    *too_long = false;
    if (l->fd < 0 || l->dead)
        return SM_OK; /* as if sent to a process that is about to die */
    sm_buf_init(&one, (size_t)SM_FRAME_HEAD_MAX + SM_FRAME_BODY_MAX + SM_FRAME_PREFIX);
    sm_rc rc = sm_frame_encode(&one, head, body, n, err);
    if (rc != SM_OK) {
        *too_long = true;
        goto out;
    }
    if (l->out.len + one.len > l->out.max)
        compact(l);
    if (sm_link_pending(l) + one.len > SM_LINK_OUT_MAX)
        rc = sm_err_set(err, SM_LIMIT, "more than %d MiB wait for it", SM_LINK_OUT_MAX >> 20);
    else if ((rc = sm_buf_add(&l->out, one.data, one.len)) != SM_OK)
        sm_err_set(err, rc, "more than %d MiB wait for it", SM_LINK_OUT_MAX >> 20);
out:
    if (one.data)
        explicit_bzero(one.data, one.len);
    sm_buf_fini(&one);
    return rc;
}

bool sm_link_has(const sm_link *l, const sm_blob *b) {
    return sm_map_get(&l->texts, b->hash) == b;
}

sm_rc sm_link_put_text(sm_link *l, sm_blob *b, sm_err *err) {
    if (sm_map_get(&l->texts, b->hash))
        return SM_OK;
    json_t *head = json_pack("{s:s, s:s}", "t", "text", "hash", b->hash);
    bool too_long;
    sm_rc rc = sm_link_put(l, head, b->text, b->n, &too_long, err);
    json_decref(head);
    if (rc == SM_OK)
        sm_map_put(&l->texts, b->hash, sm_blob_ref(b));
    return rc;
}

void sm_link_forget(sm_link *l, int (*holders)(void *ctx, const sm_blob *b), void *ctx) {
    json_t *hashes = json_array();
    size_t pos = 0;
    const char *hash;
    sm_blob *b;
    while ((b = sm_map_next(&l->texts, &pos, &hash))) {
        if (b->refs > holders(ctx, b))
            continue;
        json_array_append_new(hashes, json_string(hash));
        sm_map_del(&l->texts, hash);
        sm_blob_unref(b);
    }
    if (json_array_size(hashes) > 0) {
        json_t *head = json_pack("{s:s, s:O}", "t", "forget", "hashes", hashes);
        bool too_long;
        (void)sm_link_put(l, head, NULL, 0, &too_long, NULL);
        json_decref(head);
        sm_link_flush(l);
    }
    json_decref(hashes);
}

static void ended(sm_link *l, const char *why) {
    if (l->fd < 0)
        return;
    l->dead = true;
    l->events = 0;
    (void)uv_poll_stop(&l->poll);
    void (*tell)(void *, const char *) = l->ended;
    l->ended = NULL;
    if (tell)
        tell(l->ctx, why);
}

/* Delivers the whole frames that were read. False when the stream ended. */
static bool deliver(sm_link *l) {
    for (;;) {
        sm_frame f = {0};
        sm_err err = SM_ERR_INIT;
        sm_rc rc = sm_frame_reader_next(&l->in, &f, &err);
        if (rc == SM_NOT_FOUND)
            return true;
        if (rc == SM_OK) {
            rc = l->frame(l->ctx, &f, &err);
            sm_frame_fini(&f);
        }
        if (l->fd < 0)
            return false;
        if (rc != SM_OK) {
            ended(l, err.msg);
            return false;
        }
    }
}

/* Reads until nothing is there, `most` bytes are handled or the stream ends. */
static void pull(sm_link *l, size_t most) {
    char piece[SM_READ_PIECE];
    size_t sum = 0;
    while (l->fd >= 0 && l->ended && sum < most) {
        ssize_t n = recv(l->fd, piece, sizeof piece, MSG_DONTWAIT);
        if (n > 0) {
            sm_err err = SM_ERR_INIT;
            sum += (size_t)n;
            if (sm_frame_reader_feed(&l->in, piece, (size_t)n, &err) != SM_OK)
                ended(l, err.msg);
            else if (!deliver(l))
                return;
        } else if (n == 0 || (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)) {
            ended(l, NULL); /* ECONNRESET: it died with unread frames of ours */
        } else if (errno != EINTR) {
            return;
        }
    }
}

void sm_link_drain(sm_link *l) {
    pull(l, SIZE_MAX);
}

static void on_poll(uv_poll_t *poll, int status, int events) {
    sm_link *l = poll->data;
    bool busy = sm_link_pending(l) > SM_LINK_OUT_BUSY;
    if (status < 0) {
        pull(l, SIZE_MAX); /* libuv has stopped polling; recv meets the error or the end */
        return;
    }
    if (events & UV_WRITABLE) {
        sm_link_flush(l);
        if (busy && sm_link_pending(l) <= SM_LINK_OUT_BUSY && l->fd >= 0)
            l->drained(l->ctx);
    }
    if (events & (UV_READABLE | UV_DISCONNECT))
        pull(l, SM_READ_TURN);
}

sm_rc sm_link_open(sm_link *l, uv_loop_t *loop, int fd, sm_err *err) {
    int rc = uv_poll_init(loop, &l->poll, fd);
    if (rc < 0)
        return sm_err_set(err, SM_IO, "cannot watch a worker's socket: %s", uv_strerror(rc));
    l->fd = fd;
    l->poll.data = l;
    sm_map_init(&l->texts);
    sm_frame_reader_init(&l->in);
    sm_buf_init(&l->out, (size_t)SM_LINK_OUT_MAX + SM_LINK_OUT_BUSY);
    watch(l, UV_READABLE);
    return SM_OK;
}

void sm_link_close(sm_link *l, uv_close_cb closed) {
    size_t pos = 0;
    sm_blob *b;
    while ((b = sm_map_next(&l->texts, &pos, NULL)))
        sm_blob_unref(b);
    sm_map_fini(&l->texts);
    if (l->out.data)
        explicit_bzero(l->out.data, l->out.len);
    sm_buf_fini(&l->out);
    sm_frame_reader_fini(&l->in);
    uv_close((uv_handle_t *)&l->poll, closed);
    close(l->fd);
    l->fd = -1;
    l->ended = NULL;
}
