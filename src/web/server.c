/* server: see server.h. What libmicrohttpd's parser lets through is refused in the handler: bodies,
 * both lengths, two hosts (dependencies.md, 2.3). Its timeouts count inactivity, so each connection
 * has a deadline here: whoever is late is shut down, and the library notices and closes it.
 */
#include "web/server.h"
#include "base/addr.h"
#include "base/clock.h"
#include "base/mem.h"
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONNECTIONS = 64,
    SLACK = 16, /* connections that were told to go and have not gone */
    HEADER_MAX = 16 << 10,
    MEMORY = 32 << 10, /* of a connection: its header and what the library makes of it */
    REQUESTS = 100,
    BACKLOG = 128,
    ACCEPTS = 16, /* in one turn of the loop */
    SWEEP_MS = 500,
    RETRY_MS = 100 /* when no connection can be accepted */
};
#define HEADER_NS (10 * SM_NS_PER_S)
#define IDLE_NS (30 * SM_NS_PER_S)

typedef struct conn {
    struct conn *prev, *next;
    int fd; /* the library's */
    int64_t deadline_ns;
    int requests;
    bool answering, told_to_go;
} conn;

struct sm_web {
    uv_loop_t *loop;
    sm_web_handler handler;
    void *ctx;
    struct MHD_Daemon *http;
    int fd; /* listens */
    uv_poll_t listener, epoll;
    uv_timer_t timer;   /* the library's next turn, and the sweep */
    uv_timer_t reopen;  /* accepts again */
    conn *first, *last; /* whose phase began first is the first */
    size_t n;
    char address[SM_ADDR_TEXT];
    bool closed;
};

static void turn(sm_web *w);

/* ---- connections ---- */

static void conn_unlink(sm_web *w, conn *c) {
    *(c->prev ? &c->prev->next : &w->first) = c->next;
    *(c->next ? &c->next->prev : &w->last) = c->prev;
    c->prev = c->next = NULL;
}

static void conn_append(sm_web *w, conn *c) {
    c->prev = w->last;
    *(w->last ? &w->last->next : &w->first) = c;
    w->last = c;
}

/* A new phase: whoever has waited longest for a header is the first to go. */
static void conn_phase(sm_web *w, conn *c, bool answering, int64_t ns) {
    c->answering = answering;
    c->deadline_ns = sm_mono_ns() + ns;
    conn_unlink(w, c);
    conn_append(w, c);
}

static void conn_end(conn *c) {
    if (!c->told_to_go)
        shutdown(c->fd, SHUT_RDWR);
    c->told_to_go = true;
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what) {
    sm_web *w = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        conn *c = sm_calloc(1, sizeof *c);
        c->fd = info->connect_fd;
        c->deadline_ns = sm_mono_ns() + HEADER_NS;
        conn_append(w, c);
        w->n++;
        *context = c;
    } else {
        conn *c = *context;
        conn_unlink(w, c);
        w->n--;
        free(c);
        *context = NULL;
    }
}

static conn *conn_of(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info->socket_context;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode why) {
    (void)why;
    *request = NULL;
    conn *c = conn_of(connection);
    if (c)
        conn_phase(cls, c, false, IDLE_NS);
}

/* ---- a request ---- */

typedef struct headers { /* what decides whether a request is a plain one */
    int hosts, lengths, codings;
    bool body; /* a length that is not 0, or not a number */
} headers;

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                 const char *value) {
    (void)kind;
    headers *h = cls;
    h->hosts += strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0;
    h->codings += strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0;
    if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0) {
        h->lengths++;
        h->body = h->body || !value || !*value || value[strspn(value, "0")];
    }
    return MHD_YES;
}

/* The status that refuses a request before anybody looks at its path; 0: it is fine. */
static int refusal(struct MHD_Connection *connection, const char *method, const char *url) {
    headers h = {0};
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (info && info->header_size > HEADER_MAX)
        return MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, on_header, &h);
    if (h.hosts > 1 || h.lengths > 1 || (h.lengths > 0 && h.codings > 0) || url[0] != '/')
        return MHD_HTTP_BAD_REQUEST;
    if (h.codings > 0 || h.body)
        return MHD_HTTP_CONTENT_TOO_LARGE;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return MHD_HTTP_METHOD_NOT_ALLOWED;
    return 0;
}

static const char *phrase(int status) {
    switch (status) {
    case MHD_HTTP_BAD_REQUEST:
        return "bad request\n";
    case MHD_HTTP_NOT_FOUND:
        return "not found\n";
    case MHD_HTTP_METHOD_NOT_ALLOWED:
        return "only GET and HEAD\n";
    case MHD_HTTP_CONTENT_TOO_LARGE:
        return "no body is taken\n";
    default:
        return "the header is too long\n";
    }
}

static enum MHD_Result send_answer(struct MHD_Connection *connection, const sm_web_answer *a,
                                   bool close) {
    struct MHD_Response *response =
        a->body ? MHD_create_response_from_buffer(a->n, a->body, MHD_RESPMEM_MUST_FREE)
                : MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (!response) {
        free(a->body);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, a->type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (a->status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    if (close)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    enum MHD_Result queued = MHD_queue_response(connection, (unsigned)a->status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_n, void **request) {
    (void)version;
    (void)upload;
    sm_web *w = cls;
    conn *c = conn_of(connection);
    sm_web_answer a = {.type = "text/plain; charset=utf-8"};
    int refused = *request ? 0 : refusal(connection, method, url);
    *upload_n = 0;
    if (!*request && !refused) { /* an answer now would close the connection */
        *request = c;
        conn_phase(w, c, true, IDLE_NS);
        return MHD_YES;
    }
    bool close = refused != 0 || ++c->requests >= REQUESTS;
    if (!refused) {
        w->handler(w->ctx, url, &a);
        refused = a.status == 0 ? MHD_HTTP_NOT_FOUND : 0;
    }
    if (refused) {
        a.status = refused;
        a.body = sm_strdup(phrase(refused));
        a.n = strlen(a.body);
    }
    return send_answer(connection, &a, close);
}

/* Paths are compared as they were sent. */
static size_t keep_escapes(void *cls, struct MHD_Connection *connection, char *text) {
    (void)cls;
    (void)connection;
    return strlen(text);
}

/* ---- the loop ---- */

static void on_timer(uv_timer_t *timer) {
    turn(timer->data);
}

/* Ends who is late, lets the library work, and arms the timer for what either waits for. */
static void turn(sm_web *w) {
    MHD_UNSIGNED_LONG_LONG ms = SWEEP_MS;
    if (w->closed)
        return;
    int64_t now = sm_mono_ns();
    for (conn *c = w->first; c; c = c->next)
        if (c->deadline_ns <= now)
            conn_end(c);
    MHD_run(w->http);
    bool waits = MHD_get_timeout(w->http, &ms) == MHD_YES;
    if (w->first || waits)
        uv_timer_start(&w->timer, on_timer, waits && ms < SWEEP_MS ? ms : SWEEP_MS, 0);
    else
        uv_timer_stop(&w->timer);
}

static void on_epoll(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    turn(poll->data);
}

/* All connections (or descriptors) are taken: the one that makes us wait longest goes. False:
 * nobody went. */
static bool make_room(sm_web *w) {
    size_t before = w->n;
    conn *c = w->first;
    while (c && (c->answering || c->told_to_go))
        c = c->next;
    if (!c)
        return false;
    conn_end(c);
    MHD_run(w->http);
    return w->n < before;
}

static void on_connect(uv_poll_t *poll, int status, int events);

static void on_reopen(uv_timer_t *timer) {
    sm_web *w = timer->data;
    uv_poll_start(&w->listener, UV_READABLE, on_connect);
}

static void on_connect(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    sm_web *w = poll->data;
    for (int i = 0; i < ACCEPTS; i++) {
        struct sockaddr_storage from;
        socklen_t n = sizeof from;
        int fd = accept4(w->fd, (struct sockaddr *)&from, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
            if (make_room(w))
                continue;
            uv_poll_stop(poll); /* it would only say the same again, at once */
            uv_timer_start(&w->reopen, on_reopen, RETRY_MS, 0);
            break;
        }
        if (fd < 0 && errno != ECONNABORTED && errno != EINTR)
            break;
        if (fd < 0)
            continue;
        if (w->n >= CONNECTIONS)
            (void)make_room(w);
        if (w->n >= CONNECTIONS + SLACK)
            close(fd);
        else /* it closes what it does not take */
            MHD_add_connection(w->http, fd, (struct sockaddr *)&from, n);
    }
    turn(w);
}

/* ---- life ---- */

static sm_rc listen_on(const char *address, int *out, char text[SM_ADDR_TEXT], sm_err *err) {
    struct sockaddr_storage at;
    socklen_t n;
    int on = 1, off = 0, fd = -1;
    if (sm_addr_parse(address, &at, &n, err) != SM_OK)
        return SM_INVALID;
    fd = socket(at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        goto failed;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (at.ss_family == AF_INET6) /* [::] is every address */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, (struct sockaddr *)&at, n) != 0 || listen(fd, BACKLOG) != 0)
        goto failed;
    n = sizeof at;
    if (getsockname(fd, (struct sockaddr *)&at, &n) != 0)
        goto failed;
    sm_addr_text((struct sockaddr *)&at, text);
    *out = fd;
    return SM_OK;
failed:
    sm_err_sys(err, errno, "cannot listen on %s", address);
    if (fd >= 0)
        close(fd);
    if (err)
        err->code = SM_INVALID;
    return SM_INVALID;
}

sm_rc sm_web_open(uv_loop_t *loop, const char *address, sm_web_handler handler, void *ctx,
                  sm_web **out, sm_err *err) {
    int fd;
    char text[SM_ADDR_TEXT];
    *out = NULL;
    if (listen_on(address, &fd, text, err) != SM_OK)
        return SM_INVALID;
    sm_web *w = sm_calloc(1, sizeof *w);
    *w = (sm_web){.loop = loop, .handler = handler, .ctx = ctx, .fd = fd};
    memcpy(w->address, text, sizeof text);
    w->http = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_DUAL_STACK, 0, NULL, NULL, on_request, w,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)(CONNECTIONS + SLACK),
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, w, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        w, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, w, MHD_OPTION_END);
    if (!w->http) {
        close(fd);
        free(w);
        return sm_err_set(err, SM_INVALID, "cannot serve HTTP on %s: %s", address, strerror(errno));
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(w->http, MHD_DAEMON_INFO_EPOLL_FD);
    uv_poll_init(loop, &w->listener, fd);
    uv_poll_init(loop, &w->epoll, info->epoll_fd);
    uv_timer_init(loop, &w->timer);
    uv_timer_init(loop, &w->reopen);
    w->listener.data = w->epoll.data = w->timer.data = w->reopen.data = w;
    uv_poll_start(&w->listener, UV_READABLE, on_connect);
    uv_poll_start(&w->epoll, UV_READABLE, on_epoll);
    *out = w;
    return SM_OK;
}

const char *sm_web_address(const sm_web *w) {
    return w->address;
}

size_t sm_web_connections(const sm_web *w) {
    return w->n;
}

void sm_web_close(sm_web *w) {
    if (!w || w->closed)
        return;
    w->closed = true;
    uv_close((uv_handle_t *)&w->listener, NULL);
    uv_close((uv_handle_t *)&w->epoll, NULL);
    uv_close((uv_handle_t *)&w->timer, NULL);
    uv_close((uv_handle_t *)&w->reopen, NULL);
    close(w->fd);
    MHD_stop_daemon(w->http);
}

void sm_web_free(sm_web *w) {
    if (!w)
        return;
    if (!w->closed) { /* the loop was left without closing: the process ends */
        MHD_stop_daemon(w->http);
        close(w->fd);
    }
    free(w);
}
