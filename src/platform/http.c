/* http: drives the transfers of one libcurl multi by the loop's polls and timers (see http.h).
 *
 * libcurl says which sockets and which timeout it waits for; a uv_poll per socket and one uv_timer
 * wait in its place. What a request may do is http_call's business. Completions are called after
 * libcurl has returned, so they may send again. Owned by the loop's thread.
 */
#include "platform/http.h"
#include "base/mem.h"
#include "platform/http_internal.h"
#include <stdlib.h>

enum { CONNECTIONS_MAX = 32, CONNECTIONS_HOST_MAX = 8 };

typedef struct watch { /* one socket of libcurl's */
    uv_poll_t poll;    /* first: is closed by its handle */
    sm_http *http;
    curl_socket_t fd;
    struct watch *next, *prev;
} watch;

struct sm_http {
    uv_loop_t *loop;
    CURLM *multi;     /* NULL once closed */
    uv_timer_t timer; /* libcurl's timeout */
    uv_timer_t late;  /* answers what could not be sent */
    sm_http_call *calls, *unsent;
    watch *watches;
    int open; /* timers that are not closed yet */
};

static void put(sm_http_call **list, sm_http_call *c) {
    c->prev = NULL;
    c->next = *list;
    if (c->next)
        c->next->prev = c;
    *list = c;
}

static void take(sm_http_call **list, sm_http_call *c) {
    if (c->prev)
        c->prev->next = c->next;
    else
        *list = c->next;
    if (c->next)
        c->next->prev = c->prev;
}

static void collect(sm_http *h) {
    CURLMsg *m;
    int left;
    while (h->multi && (m = curl_multi_info_read(h->multi, &left))) {
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode code = m->data.result; /* m dies with the removal */
        char *private = NULL;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
        sm_http_call *c = (sm_http_call *)(void *)private;
        curl_multi_remove_handle(h->multi, c->easy);
        take(&h->calls, c);
        sm_http_call_finish(c, code);
        sm_http_call_free(c);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events) {
    watch *w = poll->data;
    sm_http *h = w->http;
    int flags = 0, running;
    if (status < 0)
        flags = CURL_CSELECT_ERR;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    curl_multi_socket_action(h->multi, w->fd, flags, &running);
    collect(h);
}

static void on_timeout(uv_timer_t *timer) {
    sm_http *h = timer->data;
    int running;
    curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(h);
}

static int on_curl_timer(CURLM *multi, long ms, void *arg) {
    (void)multi;
    sm_http *h = arg;
    if (uv_is_closing((uv_handle_t *)&h->timer))
        return 0;
    if (ms < 0)
        uv_timer_stop(&h->timer);
    else
        uv_timer_start(&h->timer, on_timeout, (uint64_t)ms, 0);
    return 0;
}

static void watch_closed(uv_handle_t *handle) {
    free(handle->data);
}

static void watch_drop(watch *w) {
    if (w->prev)
        w->prev->next = w->next;
    else
        w->http->watches = w->next;
    if (w->next)
        w->next->prev = w->prev;
    uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *)&w->poll, watch_closed);
}

static watch *watch_new(sm_http *h, curl_socket_t fd) {
    watch *w = sm_calloc(1, sizeof *w);
    if (uv_poll_init_socket(h->loop, &w->poll, fd) != 0) {
        free(w);
        return NULL;
    }
    w->poll.data = w;
    w->http = h;
    w->fd = fd;
    w->next = h->watches;
    if (w->next)
        w->next->prev = w;
    h->watches = w;
    curl_multi_assign(h->multi, fd, w);
    return w;
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg) {
    (void)easy;
    sm_http *h = arg;
    watch *w = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            curl_multi_assign(h->multi, fd, NULL);
            watch_drop(w);
        }
        return 0;
    }
    if (!w && !(w = watch_new(h, fd)))
        return -1; /* libcurl ends the transfers of this multi with an error */
    int events = 0;
    if (what & CURL_POLL_IN)
        events |= UV_READABLE;
    if (what & CURL_POLL_OUT)
        events |= UV_WRITABLE;
    uv_poll_start(&w->poll, events, on_poll);
    return 0;
}

static void on_late(uv_timer_t *timer) {
    sm_http *h = timer->data;
    while (h->unsent) {
        sm_http_call *c = h->unsent;
        take(&h->unsent, c);
        sm_http_call_fail(c, "the request could not be started");
        sm_http_call_free(c);
    }
}

void sm_http_send(sm_http *h, const sm_http_request *request, sm_http_done done, void *ctx) {
    sm_http_call *c = sm_http_call_new(request, done, ctx);
    if (h->multi && c->failure == SM_HTTP_ANSWERED &&
        curl_multi_add_handle(h->multi, c->easy) == CURLM_OK) {
        put(&h->calls, c);
        return;
    }
    put(&h->unsent, c);
    if (h->multi)
        uv_timer_start(&h->late, on_late, 0, 0);
}

sm_rc sm_http_new(uv_loop_t *loop, sm_http **out, sm_err *err) {
    sm_http *h = NULL;
    *out = NULL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return sm_err_set(err, SM_INTERNAL, "libcurl could not be initialised");
    h = sm_calloc(1, sizeof *h);
    h->loop = loop;
    h->multi = curl_multi_init();
    if (!h->multi) {
        free(h);
        curl_global_cleanup();
        return sm_err_set(err, SM_INTERNAL, "libcurl could not be initialised");
    }
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX);
    curl_multi_setopt(h->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)CONNECTIONS_HOST_MAX);
    uv_timer_init(loop, &h->timer);
    uv_timer_init(loop, &h->late);
    h->timer.data = h;
    h->late.data = h;
    h->open = 2;
    *out = h;
    return SM_OK;
}

static void timer_closed(uv_handle_t *handle) {
    sm_http *h = handle->data;
    h->open--;
    on_late(&h->late); /* what was sent since the end began */
}

void sm_http_close(sm_http *h) {
    if (!h || !h->multi)
        return;
    CURLM *multi = h->multi;
    for (sm_http_call *c = h->calls; c; c = c->next)
        curl_multi_remove_handle(multi, c->easy);
    curl_multi_cleanup(multi); /* closes the kept connections; may call on_curl_socket */
    h->multi = NULL;
    while (h->watches)
        watch_drop(h->watches);
    uv_close((uv_handle_t *)&h->timer, timer_closed);
    uv_close((uv_handle_t *)&h->late, timer_closed);
    while (h->calls) {
        sm_http_call *c = h->calls;
        take(&h->calls, c);
        sm_http_call_fail(c, "the program is stopping");
        sm_http_call_free(c);
    }
}

void sm_http_free(sm_http *h) {
    if (!h)
        return;
    on_late(&h->late);
    free(h);
    curl_global_cleanup();
}
