/* dispatcher: the pool of worker processes: spawns them (posix_spawn, early), sends texts and
 * frames, keeps each run's deadline, kills what is stuck, tells each run's end exactly once.
 *
 * It knows nothing of schedules, platforms or the store. Owned by the loop's thread; the daemon's
 * side of a socket never blocks and has a bounded out buffer.
 */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include "daemon/catalog.h"
#include <uv.h>

typedef struct sm_dispatcher sm_dispatcher;

typedef struct sm_dispatcher_options {
    uv_loop_t *loop;
    const char *self;    /* path of this executable */
    const char *display; /* sm_config.display */
    int workers, runs_per_worker, max_running;
    bool process_isolation;
    /* A `report` frame of a run that was dispatched to that worker. The answer is given now or
     * later with sm_dispatcher_answer; events are borrowed, and valid until the answer or the run's
     * end, whichever comes first. */
    void (*report)(void *ctx, const char *run_id, int64_t seq, const json_t *events);
    void *ctx;
} sm_dispatcher_options;

/* The end of a run. outcome "lost": the worker died under it (error says how); `reported` tells
 * whether it had sent a report frame. */
typedef struct sm_run_end {
    const char *outcome;           /* ok failed timeout limit cancelled lost */
    const char *error, *traceback; /* NULL when none */
    double seconds, cpu;
    int64_t peak;
    int events;
    bool reported;
    bool alone; /* it had its worker for itself */
    int signal; /* of a lost worker, 0 when it exited */
    int worker_pid;
    const char *log; /* runlog text */
    size_t log_n;
} sm_run_end;
typedef void (*sm_run_done)(void *ctx, const sm_run_end *end);
/* head: `loaded` frame; or {error} when its worker died or hung; or {error, stopping: true}. */
typedef void (*sm_load_done)(void *ctx, const json_t *head, const char *log, size_t log_n);

typedef struct sm_run_order {
    char run_id[33];
    sm_inspection *inspection; /* the dispatcher takes its own reference */
    json_t *params;            /* taken */
    json_t *ctx;     /* taken: id run_id slot trigger attempt account node; the deadline is added */
    json_t *net;     /* borrowed; may be NULL */
    json_t *secrets; /* taken; object name -> text, or NULL */
    bool alone;      /* in a worker of its own, which ends with it */
    sm_run_done done;
    void *done_ctx;
} sm_run_order;

/* Begins to spawn workers; one that cannot be started is logged and tried again. An error (*out is
 * set all the same, to be stopped and freed) means that children cannot be watched. */
sm_rc sm_dispatcher_new(const sm_dispatcher_options *opt, sm_dispatcher **out, sm_err *err);
/* Queued when every worker is full (max_running bounds what runs at once). done is called once,
 * from the loop, never from inside this or any other function here. */
void sm_dispatcher_run(sm_dispatcher *d, const sm_run_order *order);
void sm_dispatcher_load(sm_dispatcher *d, sm_source *source, const json_t *limits,
                        sm_load_done done, void *ctx);
/* ids (array, borrowed) on success, or a sentence for the script. False when the run is gone. */
bool sm_dispatcher_answer(sm_dispatcher *d, const char *run_id, int64_t seq, const json_t *ids,
                          const char *error);
void sm_dispatcher_cancel(sm_dispatcher *d, const char *run_id);
/* No new runs; running ones get grace_ms, then are cancelled and their workers killed; `done` of
 * every run is called, then `stopped` once. */
void sm_dispatcher_stop(sm_dispatcher *d, int grace_ms, void (*stopped)(void *ctx), void *ctx);
void sm_dispatcher_free(sm_dispatcher *d); /* after stopped */
/* {workers:[{pid,running,alone,draining}], running, queued} new reference: for status and QUIT. */
json_t *sm_dispatcher_status(const sm_dispatcher *d);
