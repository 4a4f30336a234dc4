/* asks: what runs ask of the daemon because their confined workers cannot do it themselves.
 *
 * A service answers one kind of question (`file`, `exec`, `store`, …). A run has at most one
 * question under way. A worker is never believed: the road checks whose run it is, a service checks
 * the arguments and the permission again. Owned by the loop's thread; only it may answer.
 */
#pragma once
#include "daemon/dispatcher.h"

enum { SM_ASKS_PER_RUN = 100000, SM_ASK_SERVICES = 16 };

typedef struct sm_ask sm_ask;

typedef struct sm_ask_service {
    const char *what; /* static */
    void *ctx;
    int per_run; /* the most asks of one run; 0: SM_ASKS_PER_RUN */
    /* Begins. It ends the ask exactly once, now or later, by sm_ask_answer or sm_ask_fail. */
    void (*begin)(void *ctx, sm_ask *ask);
    /* The run has ended, nobody listens any more: what can be stopped is stopped. The ask still has
     * to be ended (its answer goes nowhere), here or later. NULL: nothing can be stopped. */
    void (*drop)(void *ctx, sm_ask *ask);
} sm_ask_service;

struct sm_ask {
    /* for the service */
    char run_id[33];
    const char *what;
    sm_inspection *inspection; /* referenced */
    json_t *args;              /* object, owned */
    char *body;                /* owned, or NULL */
    size_t body_n;
    int64_t deadline_ns; /* the run's, monotonic */
    bool dropped;        /* nobody listens any more */
    void *state;         /* the service's own */
    /* the road's */
    sm_dispatcher *d; /* NULL: it is gone */
    sm_ask_service service;
    sm_ask *prev, *next;
    int64_t n;
};

/* Adds a service; before the first run. */
void sm_asks_serve(sm_dispatcher *d, const sm_ask_service *service);
/* Ends the ask: value (may be NULL) is taken over, the body (may be NULL) is copied. Frees it. */
void sm_ask_answer(sm_ask *ask, json_t *value, const void *body, size_t n);
/* Ends it with what the script sees as nil, message, code. Frees it. */
void sm_ask_fail(sm_ask *ask, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Whether the operator granted this permission to its inspection. */
bool sm_ask_granted(const sm_ask *ask, const char *permission);
