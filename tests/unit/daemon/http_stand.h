/* http_stand: a scripted HTTP server on the test's own loop: what was asked, and the next answer
 * for a path. Include after cmocka.h. */
#pragma once
#include "base/json.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

enum { STAND_ASKED = 400, STAND_SCRIPT = 64 };

typedef struct asked { /* one request */
    char line[4096];   /* "GET /path?query" */
    char head[8192];
    char *body;
    size_t body_n;
    uint64_t at_ms;
} asked;

typedef struct scripted {
    const char *path; /* part of the request line */
    int times;        /* -1: for ever */
    int status;
    char headers[256]; /* each ends with \r\n */
    char *body;
    bool silent; /* never answered */
} scripted;

typedef struct stand {
    uv_tcp_t tcp;
    int port;
    asked asked[STAND_ASKED];
    int n;
    scripted script[STAND_SCRIPT];
    int n_script;
    /* Answers what no script line does; malloc'd body, or NULL for 404. */
    char *(*work)(void *ctx, const asked *a);
    void *ctx;
    struct peer *peers;
} stand;

typedef struct peer {
    uv_tcp_t tcp;
    stand *stand;
    char *in;
    size_t n;
    struct peer *next;
} peer;

static inline void stand_say(stand *s, const char *path, int times, int status, const char *headers,
                             const char *body) {
    assert_true(s->n_script < STAND_SCRIPT);
    scripted *x = &s->script[s->n_script++];
    *x = (scripted){.path = path, .times = times, .status = status, .body = sm_strdup(body)};
    snprintf(x->headers, sizeof x->headers, "%s", headers);
}

static inline void stand_forget(stand *s) {
    for (int i = 0; i < s->n; i++)
        free(s->asked[i].body);
    for (int i = 0; i < s->n_script; i++)
        free(s->script[i].body);
    s->n = s->n_script = 0;
}

/* Number of requests whose line holds `path`. */
static inline int stand_count(const stand *s, const char *path) {
    int n = 0;
    for (int i = 0; i < s->n; i++)
        n += strstr(s->asked[i].line, path) != NULL;
    return n;
}

static inline const asked *stand_last(const stand *s, const char *path) {
    for (int i = s->n; i-- > 0;)
        if (strstr(s->asked[i].line, path))
            return &s->asked[i];
    fail_msg("nobody asked for %s", path);
    return NULL;
}

typedef struct reply {
    uv_write_t req;
    char *text;
} reply;

static inline void reply_sent(uv_write_t *req, int status) {
    (void)status;
    reply *r = req->data;
    free(r->text);
    free(r);
}

static inline void stand_reply(peer *p, const asked *a) {
    stand *s = p->stand;
    const char *headers = "Content-Type: application/json\r\n";
    char *body = NULL;
    int status = 200;
    for (int i = 0; i < s->n_script && !body; i++) {
        scripted *x = &s->script[i];
        if (x->times == 0 || !strstr(a->line, x->path))
            continue;
        if (x->times > 0)
            x->times--;
        if (x->silent)
            return;
        status = x->status;
        headers = x->headers[0] ? x->headers : headers;
        body = sm_strdup(x->body);
    }
    if (!body && s->work)
        body = s->work(s->ctx, a);
    if (!body) {
        status = 404;
        body = sm_strdup("{}");
    }
    reply *r = sm_calloc(1, sizeof *r);
    r->text = sm_asprintf("HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%s\r\n%s", status, strlen(body),
                          headers, body);
    r->req.data = r;
    uv_buf_t buf = uv_buf_init(r->text, (unsigned)strlen(r->text));
    uv_write(&r->req, (uv_stream_t *)&p->tcp, &buf, 1, reply_sent);
    free(body);
}

static inline void peer_closed(uv_handle_t *handle) {
    peer *p = handle->data;
    free(p->in);
    free(p);
}

static inline void peer_drop(peer *p) {
    peer **at = &p->stand->peers;
    while (*at && *at != p)
        at = &(*at)->next;
    if (*at)
        *at = p->next;
    if (!uv_is_closing((uv_handle_t *)&p->tcp))
        uv_close((uv_handle_t *)&p->tcp, peer_closed);
}

/* One whole request at the front of the bytes, if there is one. */
static inline bool take_request(peer *p) {
    char *end = memmem(p->in, p->n, "\r\n\r\n", 4);
    if (!end)
        return false;
    size_t head_n = (size_t)(end - p->in) + 4, body_n = 0;
    char *head = sm_memdup(p->in, head_n);
    char *length = strcasestr(head, "\r\nContent-Length:");
    if (length)
        body_n = strtoul(length + 17, NULL, 10);
    if (p->n < head_n + body_n) {
        free(head);
        return false;
    }
    assert_true(p->stand->n < STAND_ASKED);
    asked *a = &p->stand->asked[p->stand->n++];
    memset(a, 0, sizeof *a);
    snprintf(a->line, sizeof a->line, "%.*s", (int)(strstr(head, " HTTP/1.1") - head), head);
    snprintf(a->head, sizeof a->head, "%s", head);
    a->body = sm_memdup(p->in + head_n, body_n);
    a->body_n = body_n;
    a->at_ms = uv_hrtime() / 1000000;
    free(head);
    p->n -= head_n + body_n;
    memmove(p->in, p->in + head_n + body_n, p->n);
    stand_reply(p, a);
    return true;
}

static inline void stand_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf) {
    (void)handle;
    *buf = uv_buf_init(sm_malloc(size), (unsigned)size);
}

static inline void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    peer *p = stream->data;
    if (n > 0) {
        p->in = sm_realloc(p->in, p->n + (size_t)n);
        memcpy(p->in + p->n, buf->base, (size_t)n);
        p->n += (size_t)n;
        while (take_request(p))
            ;
    } else if (n < 0) {
        peer_drop(p);
    }
    free(buf->base);
}

static inline void on_connection(uv_stream_t *server, int status) {
    stand *s = server->data;
    assert_int_equal(status, 0);
    peer *p = sm_calloc(1, sizeof *p);
    p->stand = s;
    p->next = s->peers;
    s->peers = p;
    uv_tcp_init(server->loop, &p->tcp);
    p->tcp.data = p;
    uv_accept(server, (uv_stream_t *)&p->tcp);
    uv_read_start((uv_stream_t *)&p->tcp, stand_alloc, on_read);
}

static inline void stand_open(stand *s, uv_loop_t *loop) {
    struct sockaddr_in sa;
    int len = sizeof sa;
    uv_tcp_init(loop, &s->tcp);
    s->tcp.data = s;
    uv_ip4_addr("127.0.0.1", 0, &sa);
    assert_int_equal(uv_tcp_bind(&s->tcp, (struct sockaddr *)&sa, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&s->tcp, 64, on_connection), 0);
    uv_tcp_getsockname(&s->tcp, (struct sockaddr *)&sa, &len);
    s->port = ntohs(sa.sin_port);
}

static inline void stand_close(stand *s) {
    while (s->peers)
        peer_drop(s->peers);
    uv_close((uv_handle_t *)&s->tcp, NULL);
    stand_forget(s);
}
