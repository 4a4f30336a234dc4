/* worker_pool: threads that execute jobs one at a time, made on demand, the last idle one first. */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct sm_pool sm_pool;

/* Executes one job; true ends its thread afterwards (it was made nice, which cannot be undone). */
typedef bool (*sm_pool_fn)(void *ctx, void *job);

/* stack: bytes of each thread's stack. start (may be NULL) is called first on each new thread. */
sm_pool *sm_pool_new(size_t stack, sm_pool_fn fn, void (*start)(void *ctx), void *ctx);
/* Hands the job to an idle thread, or a new one; when none can be made it waits in a queue for the
 * next free one. SM_IO only when there is no thread at all; the job is then the caller's. */
sm_rc sm_pool_give(sm_pool *p, void *job, sm_err *err);
