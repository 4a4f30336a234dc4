/* outq: a bounded list of lines and the thread that writes them (see outq.h).
 *
 * The newest lines are dropped, so that the beginning of a trouble stays; they are taken again when
 * half of the room is free, and then one line says how many were lost. A line that cannot be
 * written (no reader, no room on the disk) counts as dropped, too. Nothing here logs.
 *
 * THREADS: everything below `lock` is guarded by it; `failed` and `torn` belong to the writer.
 */
#include "base/outq.h"
#include "base/clock.h"
#include "base/mem.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_MS = 200, NOTE_MAX = 256, STACK_BYTES = 128 << 10 };

typedef struct line {
    struct line *next;
    int fd;
    size_t n;
    char text[];
} line;

struct sm_outq {
    size_t (*note)(size_t dropped, char *out, size_t cap);
    pthread_t thread;
    size_t failed; /* lines that could not be written since the last one that could */
    bool torn;     /* the last one was written in part */
    atomic_size_t dropped;
    atomic_llong until_ns; /* monotonic; when the writer gives up */
    pthread_mutex_t lock;
    pthread_cond_t more;
    pthread_cond_t over; /* CLOCK_MONOTONIC: ended is true */
    line *head, *tail;
    size_t bytes;   /* of the list */
    size_t refused; /* lines that found no room, not told yet */
    int last_fd;
    bool stopping, ended;
};

static size_t cost(size_t n) {
    return sizeof(line) + n;
}

/* ---- the writer's side ---- */

static bool late(const sm_outq *q) {
    return sm_mono_ns() >= (int64_t)atomic_load(&q->until_ns);
}

/* One attempt that does not wait where the descriptor allows it. */
static ssize_t put_bytes(int fd, const char *p, size_t n) {
    ssize_t done = send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    return done < 0 && errno == ENOTSOCK ? write(fd, p, n) : done;
}

/* Waits, if need be for days, until all is written. False: it cannot be, or the time is over. */
static bool write_all(sm_outq *q, int fd, const char *p, size_t n) {
    while (n > 0) {
        ssize_t done = put_bytes(fd, p, n);
        if (done > 0) {
            p += done;
            n -= (size_t)done;
            q->torn = n > 0;
            continue;
        }
        if (done < 0 && errno == EINTR)
            continue;
        if (done == 0 || (errno != EAGAIN && errno != EWOULDBLOCK) || late(q))
            return false;
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        if (poll(&wait, 1, LOOK_MS) > 0 && !(wait.revents & POLLOUT))
            poll(NULL, 0, LOOK_MS); /* an error that write does not report: not in a hurry */
    }
    return true;
}

/* Tells of n lost lines first, when there are any. */
static bool tell_lost(sm_outq *q, int fd, size_t n) {
    char text[NOTE_MAX];
    if (n == 0)
        return true;
    if (q->torn && !write_all(q, fd, "\n", 1))
        return false;
    return write_all(q, fd, text, q->note(n, text, sizeof text));
}

static void write_line(sm_outq *q, int fd, const char *text, size_t n) {
    bool told = tell_lost(q, fd, q->failed);
    if (told)
        q->failed = 0;
    if (told && write_all(q, fd, text, n))
        return;
    q->failed++;
    atomic_fetch_add(&q->dropped, 1);
}

static void *run_thread(void *arg) {
    sm_outq *q = arg;
    for (;;) {
        pthread_mutex_lock(&q->lock);
        while (!q->head && q->refused == 0 && !q->stopping)
            pthread_cond_wait(&q->more, &q->lock);
        line *first = q->head;
        size_t refused = 0;
        int fd = q->last_fd;
        if (first) {
            q->head = first->next;
            if (!q->head)
                q->tail = NULL;
        } else {
            refused = q->refused; /* everything before them is written */
            q->refused = 0;
        }
        pthread_mutex_unlock(&q->lock);
        if (first) {
            write_line(q, first->fd, first->text, first->n);
            /* Its room is free only now, so that what waits is bounded. */
            pthread_mutex_lock(&q->lock);
            q->bytes -= cost(first->n);
            pthread_mutex_unlock(&q->lock);
            free(first);
        } else if (refused > 0) {
            q->failed += refused;
            if (tell_lost(q, fd, q->failed))
                q->failed = 0;
        } else {
            break;
        }
    }
    pthread_mutex_lock(&q->lock);
    q->ended = true;
    pthread_cond_signal(&q->over);
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* ---- the side of those who put lines ---- */

static void append(sm_outq *q, int fd, const char *text, size_t n) {
    line *l = sm_malloc(cost(n));
    l->next = NULL;
    l->fd = fd;
    l->n = n;
    memcpy(l->text, text, n);
    if (q->tail)
        q->tail->next = l;
    else
        q->head = l;
    q->tail = l;
    q->bytes += cost(n);
}

void sm_outq_put(sm_outq *q, int fd, const char *text, size_t n) {
    char note[NOTE_MAX];
    pthread_mutex_lock(&q->lock);
    size_t most = q->refused > 0 ? SM_OUTQ_BYTES / 2 : SM_OUTQ_BYTES;
    q->last_fd = fd;
    if (q->bytes + cost(n) > most) {
        q->refused++;
        atomic_fetch_add(&q->dropped, 1);
    } else {
        if (q->refused > 0)
            append(q, fd, note, q->note(q->refused, note, sizeof note));
        q->refused = 0;
        append(q, fd, text, n);
    }
    pthread_cond_signal(&q->more);
    pthread_mutex_unlock(&q->lock);
}

size_t sm_outq_dropped(const sm_outq *q) {
    return atomic_load(&q->dropped);
}

sm_outq *sm_outq_new(size_t (*note)(size_t dropped, char *out, size_t cap)) {
    sm_outq *q = sm_calloc(1, sizeof *q);
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_condattr_t clock;
    q->note = note;
    atomic_init(&q->until_ns, INT64_MAX);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->more, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&q->over, &clock);
    pthread_condattr_destroy(&clock);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    /* Signals are the loop's; a broken pipe must not end the process. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&q->thread, &attr, run_thread, q);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (!failed) {
        pthread_setname_np(q->thread, "log");
        return q;
    }
    pthread_cond_destroy(&q->over);
    pthread_cond_destroy(&q->more);
    pthread_mutex_destroy(&q->lock);
    free(q);
    return NULL;
}

bool sm_outq_end(sm_outq *q, int ms) {
    int64_t until = sm_mono_ns() + ms * SM_NS_PER_MS;
    atomic_store(&q->until_ns, (long long)until);
    pthread_mutex_lock(&q->lock);
    q->stopping = true;
    pthread_cond_signal(&q->more);
    until += 2 * LOOK_MS * SM_NS_PER_MS;
    struct timespec at = {.tv_sec = until / SM_NS_PER_S, .tv_nsec = until % SM_NS_PER_S};
    while (!q->ended && pthread_cond_timedwait(&q->over, &q->lock, &at) == 0)
        ;
    bool ended = q->ended;
    pthread_mutex_unlock(&q->lock);
    if (!ended) {
        pthread_detach(q->thread); /* it hangs in a write that does not return */
        return false;
    }
    pthread_join(q->thread, NULL);
    while (q->head) {
        line *next = q->head->next;
        free(q->head);
        q->head = next;
    }
    pthread_cond_destroy(&q->over);
    pthread_cond_destroy(&q->more);
    pthread_mutex_destroy(&q->lock);
    free(q);
    return true;
}
