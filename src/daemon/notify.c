/* notify: one datagram a message, to the path or the abstract name in NOTIFY_SOCKET (see notify.h).
 *
 * A message that the manager's socket does not take now is sent again until it does; only the
 * newest state counts. Nothing here waits.
 */
#include "daemon/notify.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { AGAIN_MS = 100, STATE_MAX = 512 };

struct sm_notify {
    int fd; /* -1: nobody listens */
    struct sockaddr_un to;
    socklen_t to_n;
    uint64_t feed_ms; /* 0: no watchdog */
    uv_timer_t feed, again;
    bool open;
    sm_store *store;
    bool asked;            /* a read of the store is under way */
    char state[STATE_MAX]; /* not sent yet, or "" */
    char status[STATE_MAX];
    bool stopping;
    bool (*busy)(const void *ctx); /* a reload is under way */
    const void *busy_ctx;
};

static int64_t env_number(const char *name) {
    const char *text = getenv(name);
    char *end;
    int64_t n = text && *text ? strtoll(text, &end, 10) : 0;
    return text && *text && *end == '\0' ? n : 0;
}

sm_notify *sm_notify_new(void) {
    sm_notify *n = sm_calloc(1, sizeof *n);
    const char *path = getenv("NOTIFY_SOCKET");
    size_t len = path ? strlen(path) : 0;
    int64_t usec = env_number("WATCHDOG_USEC"), pid = env_number("WATCHDOG_PID");
    n->fd = -1;
    n->to.sun_family = AF_UNIX;
    if (len > 1 && (path[0] == '/' || path[0] == '@') && len < sizeof n->to.sun_path) {
        memcpy(n->to.sun_path, path, len);
        if (path[0] == '@')
            n->to.sun_path[0] = '\0';
        n->to_n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (path[0] == '/'));
        n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    } else if (len > 0) {
        sm_log(SM_LOG_WARN,
               "NOTIFY_SOCKET is neither a path nor an abstract name of a socket; the service "
               "manager is told nothing");
    }
    if (n->fd >= 0 && usec > 0 && (pid == 0 || pid == getpid()))
        n->feed_ms = usec < 2000 ? 1 : (uint64_t)usec / 2000;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return n;
}

/* False: not now. A manager that is gone is not told anything any more. */
static bool tell(sm_notify *n, const char *text) {
    while (n->fd >= 0) {
        if (sendto(n->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT,
                   (struct sockaddr *)&n->to, n->to_n) >= 0)
            return true;
        if (errno != EINTR)
            return errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS;
    }
    return true;
}

static void on_again(uv_timer_t *timer) {
    sm_notify *n = timer->data;
    if (!n->state[0] || tell(n, n->state))
        n->state[0] = '\0';
    if (!n->state[0] && n->busy && !n->busy(n->busy_ctx)) {
        n->busy = NULL;
        sm_notify_ready(n, n->status);
        return;
    }
    if (n->state[0] || n->busy)
        uv_timer_start(&n->again, on_again, AGAIN_MS, 0);
}

static void set_state(sm_notify *n, const char *text) {
    if (n->fd < 0)
        return;
    snprintf(n->state, sizeof n->state, "%s", text);
    if (n->open)
        on_again(&n->again);
    else if (tell(n, n->state))
        n->state[0] = '\0';
}

void sm_notify_ready(sm_notify *n, const char *status) {
    char text[STATE_MAX];
    if (n->stopping)
        return;
    if (status != n->status)
        snprintf(n->status, sizeof n->status, "%.200s", status);
    if (n->busy)
        return; /* told when the reload has ended */
    snprintf(text, sizeof text, "READY=1\nSTATUS=%.200s", n->status);
    set_state(n, text);
}

void sm_notify_reloading(sm_notify *n, bool (*busy)(const void *ctx), const void *ctx) {
    char text[STATE_MAX];
    if (n->stopping)
        return;
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)(sm_mono_ns() / 1000));
    n->busy = busy;
    n->busy_ctx = ctx;
    set_state(n, text);
}

void sm_notify_stopping(sm_notify *n) {
    n->stopping = true;
    n->busy = NULL;
    set_state(n, "STOPPING=1\nSTATUS=stopping");
}

/* The database answered a read, on this loop: both are alive. */
static void answered(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    (void)err;
    (void)result;
    sm_notify *n = ctx;
    n->asked = false;
    if (rc == SM_OK)
        tell(n, "WATCHDOG=1");
}

static void on_feed(uv_timer_t *timer) {
    sm_notify *n = timer->data;
    if (n->asked)
        return;
    n->asked = true;
    sm_store_call(n->store, SM_OP_PING, NULL, answered, n);
}

void sm_notify_open(sm_notify *n, uv_loop_t *loop) {
    uv_timer_init(loop, &n->feed);
    uv_timer_init(loop, &n->again);
    n->feed.data = n->again.data = n;
    n->open = true;
}

void sm_notify_watch(sm_notify *n, sm_store *store) {
    n->store = store;
    if (n->feed_ms > 0)
        uv_timer_start(&n->feed, on_feed, 0, n->feed_ms);
}

void sm_notify_close(sm_notify *n) {
    if (!n || !n->open)
        return;
    n->open = false;
    n->busy = NULL;
    uv_close((uv_handle_t *)&n->feed, NULL);
    uv_close((uv_handle_t *)&n->again, NULL);
}

void sm_notify_free(sm_notify *n) {
    if (!n)
        return;
    if (n->fd >= 0)
        close(n->fd);
    free(n);
}
