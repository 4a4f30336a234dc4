/* worker_pool: the threads of a worker's runs. A job goes to the thread that became idle last (its
 * stack is still in the caches), else to a new thread; how many jobs there are at once is the
 * dispatcher's decision. A thread that was idle for half a minute ends.
 *
 * The pool lives as long as the process: a run may hang in C for ever, so nobody joins its thread.
 * `mu` guards everything.
 */
#include "worker/worker_pool.h"
#include "base/clock.h"
#include "base/mem.h"
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { IDLE_S = 30 };

typedef struct seat { /* an idle thread, on its own stack */
    struct seat *next;
    pthread_cond_t cv; /* CLOCK_MONOTONIC */
    void *job;         /* what it is given */
} seat;

typedef struct waiting {
    struct waiting *next;
    void *job;
} waiting;

struct sm_pool {
    pthread_mutex_t mu;
    seat *idle;             /* last in, first out */
    waiting *first, **last; /* jobs without a thread */
    size_t threads;
    size_t stack;
    sm_pool_fn fn;
    void (*start)(void *ctx);
    void *ctx;
};

sm_pool *sm_pool_new(size_t stack, sm_pool_fn fn, void (*start)(void *ctx), void *ctx) {
    sm_pool *p = sm_calloc(1, sizeof *p);
    pthread_mutex_init(&p->mu, NULL);
    p->last = &p->first;
    p->stack = stack;
    p->fn = fn;
    p->start = start;
    p->ctx = ctx;
    return p;
}

static void *take_waiting(sm_pool *p) {
    waiting *w = p->first;
    if (!w)
        return NULL;
    void *job = w->job;
    p->first = w->next;
    if (!p->first)
        p->last = &p->first;
    free(w);
    return job;
}

/* With mu held: waits for a job. NULL when none came for IDLE_S seconds. */
static void *wait_for_job(sm_pool *p) {
    void *job = take_waiting(p);
    if (job)
        return job;
    seat mine = {.next = p->idle};
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&mine.cv, &attr);
    pthread_condattr_destroy(&attr);
    p->idle = &mine;
    int64_t until = sm_mono_ns() + IDLE_S * SM_NS_PER_S;
    struct timespec ts = {.tv_sec = (time_t)(until / SM_NS_PER_S),
                          .tv_nsec = (long)(until % SM_NS_PER_S)};
    while (!mine.job && sm_mono_ns() < until)
        pthread_cond_timedwait(&mine.cv, &p->mu, &ts);
    if (!mine.job) { /* a seat with a job was taken off the list by the giver */
        seat **at = &p->idle;
        while (*at != &mine)
            at = &(*at)->next;
        *at = mine.next;
    }
    pthread_cond_destroy(&mine.cv);
    return mine.job;
}

typedef struct birth {
    sm_pool *pool;
    void *job;
} birth;

static void *thread_main(void *arg) {
    birth *b = arg;
    sm_pool *p = b->pool;
    void *job = b->job;
    free(b);
    if (p->start)
        p->start(p->ctx);
    while (job) {
        bool end = p->fn(p->ctx, job);
        pthread_mutex_lock(&p->mu);
        /* A thread that must end still takes a job that waits for any thread when it is the last,
         * but it does not sit down to wait for one: it is nice. */
        job = !end ? wait_for_job(p) : p->threads > 1 ? NULL : take_waiting(p);
        if (!job)
            p->threads--;
        pthread_mutex_unlock(&p->mu);
    }
    return NULL;
}

static int thread_new(sm_pool *p, void *job) {
    pthread_t thread;
    pthread_attr_t attr;
    birth *b = sm_malloc(sizeof *b);
    *b = (birth){p, job};
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, p->stack);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int failed = pthread_create(&thread, &attr, thread_main, b);
    pthread_attr_destroy(&attr);
    if (failed)
        free(b);
    return failed;
}

sm_rc sm_pool_give(sm_pool *p, void *job, sm_err *err) {
    sm_rc rc = SM_OK;
    pthread_mutex_lock(&p->mu);
    seat *s = p->idle;
    if (s) {
        p->idle = s->next;
        s->job = job;
        pthread_cond_signal(&s->cv);
    } else {
        p->threads++;
        int failed = thread_new(p, job);
        if (failed) {
            p->threads--;
            if (p->threads == 0) {
                rc = sm_err_sys(err, failed, "cannot start a thread");
            } else {
                waiting *w = sm_malloc(sizeof *w);
                *w = (waiting){NULL, job};
                *p->last = w;
                p->last = &w->next;
            }
        }
    }
    pthread_mutex_unlock(&p->mu);
    return rc;
}
