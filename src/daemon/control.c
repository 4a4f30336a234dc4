/* control: listens on `control.sock`, reads one frame, answers, reads the next (see control.h).
 *
 * The path is bound through /proc/self/fd/N, so that a long state directory does not overflow
 * sockaddr_un. A peer that goes away while its request is under way is kept until the answer comes.
 */
#include "daemon/control.h"
#include "base/frame.h"
#include "base/log.h"
#include "base/mem.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { PEERS_MAX = 64, BACKLOG = 64, OUT_MAX = 64 << 20 };

struct sm_control {
    uv_loop_t *loop;
    sm_store *store;
    sm_control_handler handler;
    void *ctx;
    int dir_fd;
    uv_pipe_t server;
    size_t peers, peers_max;
    bool closed;
    sm_control_peer *first; /* open connections */
};

struct sm_control_peer {
    sm_control *control;
    sm_control_peer *prev, *next;
    uv_pipe_t pipe;
    sm_frame_reader reader;
    bool busy;    /* a request is under way */
    bool serving; /* serve is on the stack */
    bool gone;    /* the connection has ended */
    bool closed;  /* its handle is closed: free when not busy */
    char chunk[65536];
};

typedef struct writing {
    uv_write_t request;
    char *bytes;
} writing;

static const struct {
    const char *name;
    sm_store_op op;
} offered[] = {
    {"events", SM_OP_QUERY_EVENTS},
    {"runs", SM_OP_QUERY_RUNS},
    {"last", SM_OP_QUERY_LAST},
    {"outbox", SM_OP_OUTBOX_STATS},
    {"outbox_list", SM_OP_OUTBOX_LIST},
    {"outbox_again", SM_OP_OUTBOX_AGAIN},
    {"outbox_drop", SM_OP_OUTBOX_DROP},
    {"kv_list", SM_OP_KV_LIST},
    {"memos", SM_OP_MEMO_DUMP},
    {"registry", SM_OP_REGISTRY_GET},
    {"texts", SM_OP_TEXTS_GET},
    {"local_list", SM_OP_LOCAL_LIST},
    {"local_status", SM_OP_LOCAL_STATUS},
    {"local_params", SM_OP_LOCAL_PARAMS},
    {"local_delete", SM_OP_LOCAL_DELETE},
    {"local_events", SM_OP_LOCAL_EVENTS},
    {"why", SM_OP_WHY},
    {"mute", SM_OP_MUTE},
    {"unmute", SM_OP_UNMUTE},
    {"mutes", SM_OP_MUTES},
    {"ping", SM_OP_PING},
    {"backup_begin", SM_OP_BACKUP_BEGIN},
    {"backup_step", SM_OP_BACKUP_STEP},
    {"backup_end", SM_OP_BACKUP_END},
};

sm_store_op sm_control_op(const char *name) {
    for (size_t i = 0; i < SM_ARRAY_LEN(offered); i++)
        if (strcmp(offered[i].name, name) == 0)
            return offered[i].op;
    return SM_OP_COUNT_;
}

static void serve(sm_control_peer *p);

static void peer_free(sm_control_peer *p) {
    sm_control *c = p->control;
    if (p->prev)
        p->prev->next = p->next;
    else
        c->first = p->next;
    if (p->next)
        p->next->prev = p->prev;
    c->peers--;
    sm_frame_reader_fini(&p->reader);
    free(p);
}

static void on_closed(uv_handle_t *handle) {
    sm_control_peer *p = handle->data;
    p->closed = true;
    if (!p->busy)
        peer_free(p);
}

static void hang_up(sm_control_peer *p) {
    if (p->gone)
        return;
    p->gone = true;
    uv_close((uv_handle_t *)&p->pipe, on_closed);
}

static void on_written(uv_write_t *request, int status) {
    (void)status;
    writing *w = (writing *)request;
    free(w->bytes);
    free(w);
}

void sm_control_send(sm_control_peer *p, json_t *head) {
    sm_buf out;
    sm_buf_init(&out, OUT_MAX);
    if (!p->gone && uv_stream_get_write_queue_size((uv_stream_t *)&p->pipe) > OUT_MAX) {
        hang_up(p); /* it asks and does not read */
    } else if (!p->gone && sm_frame_encode(&out, head, NULL, 0, NULL) == SM_OK) {
        size_t n;
        writing *w = sm_calloc(1, sizeof *w);
        w->bytes = sm_buf_take(&out, &n);
        uv_buf_t buf = uv_buf_init(w->bytes, (unsigned)n);
        if (uv_write(&w->request, (uv_stream_t *)&p->pipe, &buf, 1, on_written) != 0) {
            on_written(&w->request, -1);
            hang_up(p);
        }
    } else if (!p->gone) {
        /* Too long for a frame: say so instead; that answer is short. */
        sm_control_send(p, sm_control_error(SM_LIMIT, "the answer is too long for the socket; ask "
                                                      "for less, with --since or --id"));
    }
    sm_buf_fini(&out);
    json_decref(head);
}

void sm_control_reply(sm_control_peer *p, json_t *head) {
    sm_control_send(p, head);
    p->busy = false;
    if (p->closed)
        peer_free(p);
    else if (!p->gone)
        serve(p);
}

json_t *sm_control_error(sm_rc rc, const char *sentence) {
    return json_pack("{s:b, s:i, s:o}", "ok", 0, "code", (int)rc, "error",
                     sm_json_text(sentence, strlen(sentence)));
}

static void stored(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    if (rc != SM_OK)
        sm_control_reply(ctx, sm_control_error(rc, err->msg));
    else
        sm_control_reply(
            ctx, json_pack("{s:b, s:o}", "ok", 1, "result",
                           result ? json_incref((json_t *)(uintptr_t)result) : json_null()));
}

static void answer(sm_control_peer *p, const json_t *request) {
    sm_control *c = p->control;
    if (strcmp(sm_json_str(request, "op", ""), "store") != 0) {
        c->handler(c->ctx, p, request);
        return;
    }
    const char *call = sm_json_str(request, "call", "");
    sm_store_op op = sm_control_op(call);
    if (op == SM_OP_COUNT_) {
        char text[128];
        snprintf(text, sizeof text, "unknown store call %.40s", call);
        sm_control_reply(p, sm_control_error(SM_INVALID, text));
        return;
    }
    const json_t *args = json_object_get(request, "args");
    sm_store_call(c->store, op, args ? json_deep_copy(args) : NULL, stored, p);
}

/* Takes the whole frames that are there, as long as each is answered at once. */
static void serve(sm_control_peer *p) {
    if (p->serving)
        return; /* an answer from inside the loop below, which goes on by itself */
    p->serving = true;
    while (!p->busy && !p->gone) {
        sm_frame frame = {0};
        sm_rc rc = sm_frame_reader_next(&p->reader, &frame, NULL);
        if (rc == SM_OK) {
            p->busy = true;
            answer(p, frame.head);
        }
        sm_frame_fini(&frame);
        if (rc == SM_NOT_FOUND)
            break;
        if (rc != SM_OK)
            hang_up(p);
    }
    p->serving = false;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
    (void)suggested;
    sm_control_peer *p = handle->data;
    *buf = uv_buf_init(p->chunk, sizeof p->chunk);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    sm_control_peer *p = stream->data;
    if (n < 0 || sm_frame_reader_feed(&p->reader, buf->base, (size_t)n, NULL) != SM_OK)
        hang_up(p);
    else
        serve(p);
}

static bool welcome(sm_control_peer *p) {
    struct ucred who;
    socklen_t n = sizeof who;
    uv_os_fd_t fd;
    return uv_fileno((uv_handle_t *)&p->pipe, &fd) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 &&
           (who.uid == 0 || who.uid == geteuid());
}

static void on_connection(uv_stream_t *server, int status) {
    sm_control *c = server->data;
    if (status < 0 || c->closed)
        return;
    sm_control_peer *p = sm_calloc(1, sizeof *p);
    p->control = c;
    p->next = c->first;
    if (c->first)
        c->first->prev = p;
    c->first = p;
    c->peers++;
    sm_frame_reader_init(&p->reader);
    uv_pipe_init(c->loop, &p->pipe, 0);
    p->pipe.data = p;
    if (uv_accept(server, (uv_stream_t *)&p->pipe) != 0 || !welcome(p)) {
        hang_up(p);
    } else if (c->peers > c->peers_max) {
        sm_control_send(p, sm_control_error(SM_BUSY, "too many commands ask it at once"));
        hang_up(p);
    } else {
        uv_read_start((uv_stream_t *)&p->pipe, on_alloc, on_read);
    }
}

sm_rc sm_control_open(uv_loop_t *loop, int state_dir_fd, sm_store *store,
                      sm_control_handler handler, void *ctx, sm_control **out, sm_err *err) {
    sm_control *c = sm_calloc(1, sizeof *c);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = -1, failed = 0;
    *c = (sm_control){.peers_max = PEERS_MAX,
                      .loop = loop,
                      .store = store,
                      .handler = handler,
                      .ctx = ctx,
                      .dir_fd = state_dir_fd};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/control.sock",
             state_dir_fd);
    unlinkat(state_dir_fd, "control.sock", 0);
    mode_t mask = umask(077);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, BACKLOG) != 0)
        failed = errno;
    umask(mask);
    if (failed) {
        if (fd >= 0)
            close(fd);
        free(c);
        return sm_err_sys(err, failed, "the control socket in the state directory");
    }
    uv_pipe_init(loop, &c->server, 0);
    c->server.data = c;
    uv_pipe_open(&c->server, fd);
    uv_listen((uv_stream_t *)&c->server, BACKLOG, on_connection);
    *out = c;
    return SM_OK;
}

void sm_control_limit(sm_control *c, size_t peers) {
    c->peers_max = peers;
}

void sm_control_close(sm_control *c) {
    if (!c || c->closed)
        return;
    c->closed = true;
    unlinkat(c->dir_fd, "control.sock", 0);
    uv_close((uv_handle_t *)&c->server, NULL);
    for (sm_control_peer *p = c->first; p; p = p->next)
        hang_up(p);
}

void sm_control_free(sm_control *c) {
    if (!c)
        return;
    while (c->first)
        peer_free(c->first);
    free(c);
}
