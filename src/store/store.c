/* store: the queue in front of the database and the thread behind it: takes operations, hands
 * whatever waits to a group, gives the answers back.
 *
 * It never waits to fill a group: the next one collects itself while the last one syncs. A group
 * holds at most GROUP_OPS operations and about GROUP_ROWS events; a reader that may take long is
 * a group of its own, so that nobody waits for an acknowledgement behind it. Knows nothing of SQL.
 *
 * THREADS: `core` belongs to the store's thread from the moment it starts; everything below
 * `lock` is guarded by it.
 */
#include "store/store_internal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

enum {
    GROUP_OPS = 512,
    GROUP_ROWS = 4096,
    QUEUE_MAX = 1 << 16 /* operations that may wait; the caller hears SM_LIMIT above */
};

typedef struct queue {
    sm_request *head, *tail;
} queue;

struct sm_store {
    sm_core core;     /* of the store's thread */
    pthread_t thread; /* joined by close */
    void (*wake)(void *ctx);
    void *ctx;
    atomic_size_t pending; /* completions not delivered */
    atomic_bool broken;    /* as core.broken, for every thread */
    atomic_bool overwritten;
    pthread_mutex_t lock;
    pthread_cond_t more; /* signalled when `waiting` gets its first or `stopping` is set */
    queue waiting;       /* operations to do */
    size_t n_waiting;
    queue ready; /* operations whose completion waits for drain */
    bool stopping;
};

static void push(queue *q, sm_request *r) {
    r->next = NULL;
    if (q->tail != NULL)
        q->tail->next = r;
    else
        q->head = r;
    q->tail = r;
}

static sm_request *pop(queue *q) {
    sm_request *r = q->head;
    q->head = r->next;
    if (q->head == NULL)
        q->tail = NULL;
    return r;
}

static void request_free(sm_request *r) {
    json_decref(r->args);
    json_decref(r->result);
    free(r);
}

static size_t weight(const sm_request *r) {
    size_t events = json_array_size(json_object_get(r->args, "events"));
    return events > 0 ? events : 1;
}

/* Takes the next group off the queue; called with the lock held. */
static size_t take_group(sm_store *s, sm_request **group) {
    size_t n = 0, rows = 0;
    while (s->waiting.head != NULL && n < GROUP_OPS) {
        const sm_op *op = sm_op_find(s->waiting.head->op);
        bool slow = op != NULL && op->slow;
        rows += weight(s->waiting.head);
        if (n > 0 && (slow || rows > GROUP_ROWS))
            break;
        group[n++] = pop(&s->waiting);
        s->n_waiting--;
        if (slow)
            break;
    }
    return n;
}

/* Gives the answers: blocked callers are woken, completions queued, the rest freed. */
static void answer_group(sm_store *s, sm_request **group, size_t n) {
    queue ready = {NULL, NULL};
    for (size_t i = 0; i < n; i++) {
        sm_request *r = group[i];
        json_decref(r->args);
        r->args = NULL;
        if (r->done != NULL) {
            push(&ready, r);
            continue;
        }
        atomic_fetch_sub(&s->pending, 1);
        if (r->waiter != NULL)
            sem_post(r->waiter); /* r is the caller's again and may be gone */
        else
            request_free(r);
    }
    if (ready.head == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    bool first = s->ready.head == NULL;
    if (first)
        s->ready.head = ready.head;
    else
        s->ready.tail->next = ready.head;
    s->ready.tail = ready.tail;
    pthread_mutex_unlock(&s->lock);
    if (first && s->wake != NULL)
        s->wake(s->ctx);
}

static void *run_thread(void *arg) {
    sm_store *s = arg;
    sm_request *group[GROUP_OPS];
    for (;;) {
        pthread_mutex_lock(&s->lock);
        while (s->waiting.head == NULL && !s->stopping)
            pthread_cond_wait(&s->more, &s->lock);
        size_t n = take_group(s, group);
        pthread_mutex_unlock(&s->lock);
        if (n == 0)
            return NULL;
        sm_group_run(&s->core, group, n);
        atomic_store(&s->overwritten, s->core.overwritten);
        atomic_store(&s->broken, s->core.broken);
        answer_group(s, group, n);
    }
}

sm_rc sm_store_open(const sm_store_options *opt, sm_store **out, sm_err *err) {
    *out = NULL;
    sm_store *s = sm_calloc(1, sizeof *s);
    sm_rc rc = sm_core_open(&s->core, opt, err);
    if (rc != SM_OK) {
        free(s);
        return rc;
    }
    s->wake = opt->wake;
    s->ctx = opt->ctx;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->more, NULL);
    int failed = pthread_create(&s->thread, NULL, run_thread, s);
    if (failed != 0) {
        rc = sm_err_sys(err, failed, "cannot start the store's thread");
        sm_core_close(&s->core);
        pthread_cond_destroy(&s->more);
        pthread_mutex_destroy(&s->lock);
        free(s);
        return rc;
    }
    pthread_setname_np(s->thread, "store");
    *out = s;
    return SM_OK;
}

void sm_store_close(sm_store *s) {
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    while (s->ready.head != NULL)
        request_free(pop(&s->ready));
    sm_core_close(&s->core);
    pthread_cond_destroy(&s->more);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static sm_request *request_new(sm_store_op op, json_t *args) {
    sm_request *r = sm_malloc(sizeof *r);
    r->next = NULL;
    r->op = op;
    r->args = args != NULL ? args : json_object();
    r->result = NULL;
    r->rc = SM_OK;
    r->err.code = SM_OK;
    r->err.msg[0] = '\0';
    r->done = NULL;
    r->ctx = NULL;
    r->waiter = NULL;
    return r;
}

/* False when the queue is full; the request is then answered here and now. */
static bool enqueue(sm_store *s, sm_request *r) {
    atomic_fetch_add(&s->pending, 1);
    pthread_mutex_lock(&s->lock);
    bool taken = s->n_waiting < QUEUE_MAX;
    if (taken) {
        bool idle = s->waiting.head == NULL;
        push(&s->waiting, r);
        s->n_waiting++;
        if (idle)
            pthread_cond_signal(&s->more);
    }
    pthread_mutex_unlock(&s->lock);
    if (!taken)
        r->rc =
            sm_err_set(&r->err, SM_LIMIT, "the store is behind by %d operations", (int)QUEUE_MAX);
    return taken;
}

void sm_store_call(sm_store *s, sm_store_op op, json_t *args, sm_store_done done, void *ctx) {
    sm_request *r = request_new(op, args);
    r->done = done;
    r->ctx = ctx;
    if (!enqueue(s, r))
        answer_group(s, &r, 1);
}

int sm_store_drain(sm_store *s) {
    int n = 0;
    pthread_mutex_lock(&s->lock);
    queue ready = s->ready;
    s->ready.head = s->ready.tail = NULL;
    pthread_mutex_unlock(&s->lock);
    while (ready.head != NULL) {
        sm_request *r = pop(&ready);
        atomic_fetch_sub(&s->pending, 1);
        if (r->rc == SM_OK && r->result == NULL)
            r->result = json_null();
        r->done(r->ctx, r->rc, &r->err, r->result);
        request_free(r);
        n++;
    }
    return n;
}

size_t sm_store_pending(const sm_store *s) {
    return atomic_load(&s->pending);
}

bool sm_store_broken(const sm_store *s) {
    return atomic_load(&s->broken);
}

bool sm_store_overwritten(const sm_store *s) {
    return atomic_load(&s->overwritten);
}

sm_rc sm_store_call_sync(sm_store *s, sm_store_op op, json_t *args, json_t **result, sm_err *err) {
    sem_t answered;
    sem_init(&answered, 0, 0);
    sm_request *r = request_new(op, args);
    r->waiter = &answered;
    if (!enqueue(s, r))
        answer_group(s, &r, 1);
    while (sem_wait(&answered) != 0 && errno == EINTR)
        continue;
    sem_destroy(&answered);
    sm_rc rc = r->rc;
    if (rc != SM_OK && err != NULL)
        *err = r->err;
    if (result != NULL) {
        *result = rc != SM_OK ? NULL : r->result != NULL ? r->result : json_null();
        r->result = NULL;
    }
    request_free(r);
    return rc;
}
