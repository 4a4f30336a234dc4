/* dispatcher: the pool of worker processes: spawns them (posix_spawn, early), sends texts and
 * frames, keeps each run's deadline, kills what is stuck, tells each run's end exactly once.
 * A run goes to a shared worker, to one of its own, or to the lane: one niced worker that takes one
 * run at a time.
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
    int max_processes; /* workers of all kinds; 0: no ceiling of their own */
    bool process_isolation;
    int pulse_ms; /* between two pings of a worker; 0: 3 s. After five without an answer it goes */
    /* Memory that each run, and beyond that any one of them, may need; 0: workers' address space is
     * not bounded. */
    uint64_t run_bytes, burst_bytes;
    /* A `report` frame of a run that was dispatched to that worker. The answer is given now or
     * later with sm_dispatcher_answer; events are borrowed, and valid until the answer or the run's
     * end, whichever comes first. */
    void (*report)(void *ctx, const char *run_id, int64_t seq, const json_t *events);
    void *ctx;
    /* A run that had ended as `timeout` was still in a call that does not return when its worker
     * went, although that worker was well: it, and not the machine, was the reason. May be NULL. */
    void (*stuck)(void *stuck_ctx, sm_inspection *inspection);
    void *stuck_ctx;
} sm_dispatcher_options;

/* How the sentence begins for what ends because the system gives no worker process. */
#define SM_NO_WORKER "no worker process can be started"

enum { SM_QUEUE_MAX = 20000 }; /* runs that may wait; one beyond it ends as `skipped` */

/* Why a worker was killed by us. */
typedef enum sm_kill {
    SM_KILL_STUCK,    /* a run in it did not return from a call */
    SM_KILL_SILENT,   /* it did not answer */
    SM_KILL_PROTOCOL, /* it broke the protocol, or closed its socket and stayed */
    SM_KILL_UNREAD,   /* it did not read what it was sent */
    SM_KILL_START,    /* it did not say hello */
    SM_KILL_STOP,     /* it was told to stop and did not, or the program stops */
    SM_KILL_REASONS
} sm_kill;
const char *sm_kill_name(sm_kill why); /* "stuck", "silent", …; static */

typedef struct sm_dispatcher_counts {
    int workers, running, queued, max_running, queue_max; /* queued: in the lane's queue too */
    /* since the start of the program: */
    int64_t spawned, spawn_failed;
    int64_t died; /* workers that ended without being asked or killed by us */
    int64_t killed[SM_KILL_REASONS];
    int64_t lost;    /* runs whose worker died under them */
    int64_t stuck;   /* runs that were ended without their worker */
    int64_t refused; /* runs that found the queue full */
} sm_dispatcher_counts;

/* The end of a run. outcome "lost": the worker died under it (error says how); `reported` tells
 * whether it had sent a report frame. */
typedef struct sm_run_end {
    const char *outcome;           /* ok failed timeout limit cancelled lost skipped */
    const char *error, *traceback; /* NULL when none */
    double seconds, cpu;
    double queued; /* seconds until it was handed to a worker, < 0 when it never was */
    int64_t peak;
    int events;
    bool reported;
    bool alone;   /* it had its worker for itself */
    bool stuck;   /* a timeout that its worker did not tell: perhaps a call that never returns */
    int signal;   /* of a lost worker, 0 when it exited */
    bool foreign; /* it was killed by neither itself nor us: kill -9, or the machine ran out of
                     memory */
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
    bool trace;      /* its requests show in its log */
    bool alone;      /* in a worker of its own, which ends with it */
    bool lane;       /* in the lane: niced, one at a time; with `alone` in a fresh worker there */
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
/* The numbers, the isolation and the memory of opt hold from now on; runs under way stay where they
 * are. Workers that are too many, or that were made for smaller runs, end when they are idle. */
void sm_dispatcher_configure(sm_dispatcher *d, const sm_dispatcher_options *opt);
void sm_dispatcher_cancel(sm_dispatcher *d, const char *run_id);
/* No new runs; running ones get grace_ms, then are cancelled and their workers killed (at once when
 * it is negative; an earlier call may be made more urgent); `done` of
 * every run is called, then `stopped` once. */
void sm_dispatcher_stop(sm_dispatcher *d, int grace_ms, void (*stopped)(void *ctx), void *ctx);
void sm_dispatcher_free(sm_dispatcher *d); /* after stopped */
/* {workers:[{pid,running,alone,lane,draining,state}], running, queued, max_running,
 * totals:{spawned, spawn_failed, died, killed:{reason: n}, lost, stuck, refused}} new reference. */
json_t *sm_dispatcher_status(const sm_dispatcher *d);
void sm_dispatcher_count(const sm_dispatcher *d, sm_dispatcher_counts *out);
/* What every worker is doing, one line each and one for each of its first runs, for a person. */
void sm_dispatcher_tell(const sm_dispatcher *d, void (*line)(void *ctx, const char *text),
                        void *ctx);
