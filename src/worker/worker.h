/* worker: what the parts of a worker process share (worker.c, worker_job.c). */
#pragma once
#include "base/frame.h"
#include "base/map.h"
#include "worker/confine.h"
#include "worker/watchdog.h"
#include "worker/worker_link.h"
#include "worker/worker_pool.h"
#include "worker/worker_text.h"
#include <pthread.h>

struct sm_fetch;

typedef struct sm_worker {
    sm_wlink *link;
    sm_texts *texts;
    sm_pool *pool;
    sm_watchdog *dog;
    struct sm_fetch *fetch;
    sm_confined confined;
    bool stale;         /* said `stale` */
    int64_t looked_ns;  /* for that, monotonic */
    pthread_mutex_t mu; /* guards live */
    sm_map live;        /* run id -> sm_wjob: runs from their frame to the end of their script */
} sm_worker;

typedef struct sm_wjob sm_wjob;

/* A job from a `load` or `run` frame, whose head it takes; a run is live from now on. Called by the
 * reader thread. Fails when a text is missing or a run id is there already: *refusal is the frame
 * (new reference) that tells the daemon. */
sm_wjob *sm_wjob_new(sm_worker *w, sm_frame *frame, json_t **refusal);
/* Executes and frees the job, and sends its frame; for sm_pool_new, ctx is the sm_worker. */
bool sm_wjob_do(void *ctx, void *job);
/* The answer to a job that no thread could take; frees it. */
void sm_wjob_refuse(sm_wjob *job, const char *sentence);
/* `ack` and `nak`; a stale or unknown one is passed over. */
void sm_wjob_answer(sm_worker *w, const json_t *head);
/* `answer`, whose head's value and body it takes. */
void sm_wjob_answered(sm_worker *w, sm_frame *frame);
/* `cancel`. */
void sm_wjob_cancel(sm_worker *w, const char *run_id);
