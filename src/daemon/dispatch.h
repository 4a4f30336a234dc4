/* dispatch: what the rooms of the dispatcher share: its jobs, its workers, itself. Only
 * dispatcher.c, job.c, pool.c, placing.c, arrival.c and deadline.c include it.
 *
 * A job (a run or a load) is in exactly one list: waiting (`shared` or `alone`), a worker's, or
 * `ending`. Callbacks to the outside are made only by sm_job_finish and sm_arrival_frame; whoever
 * calls these must not hold on to a neighbour in a list.
 */
#pragma once
#include "base/map.h"
#include "daemon/dispatcher.h"
#include "daemon/link.h"
#include <sys/types.h>

enum {
    SM_SLACK_MS = 200,       /* a worker ends a run itself; this is how long its word is awaited */
    SM_DRAIN_MS = 5000,      /* what the others in a worker with a stuck run get */
    SM_LOAD_MS = 3000,       /* wall time of a load */
    SM_LOADS_PER_WORKER = 2, /* at once, so that CPU hogs among them do not pass SM_LOAD_MS */
    SM_START_MS = 10000,     /* until a new worker must have said hello */
    SM_START_FAILS = 5,      /* in a row: what waits is told that no worker can be started */
    SM_RESPAWN_BASE_MS = 100,
    SM_RESPAWN_MAX_MS = 30000,
    SM_CANCEL_MS = 2000,  /* from `cancel` until the run must have ended */
    SM_RETIRE_MS = 2000,  /* from `stop` until the process must have ended */
    SM_EOF_MS = 200,      /* from the end of its stream until the process must have ended */
    SM_WORKERS_EXTRA = 32 /* workers beyond `workers` for grants that no worker is bound to */
};

typedef struct sm_job sm_job;
typedef struct sm_worker sm_worker;

typedef struct sm_job_list {
    sm_job *first, *last;
    int n;
} sm_job_list;

struct sm_job {
    sm_job *prev, *next;
    sm_job_list *in;
    sm_dispatcher *d;
    sm_worker *worker; /* NULL while it waits */
    bool is_load, alone, cancelled;
    bool reported;       /* it sent a report frame */
    int attempt;         /* of a load: 2 = repeated alone */
    int64_t started_ns;  /* monotonic, when dispatched */
    int64_t deadline_ns; /* monotonic; SM_SLACK_MS later it counts as stuck */
    double limit_s;      /* what the sentence names */
    sm_source *source;   /* referenced */
    char *end_outcome;   /* in `ending`: what its end will say */
    char *end_error;     /* malloc'd or NULL */

    /* a run */
    char run_id[33];
    sm_inspection *inspection; /* referenced */
    char *key;                 /* its grants as text */
    json_t *params, *ctx, *net, *secrets;
    sm_run_done done;
    void *done_ctx;
    int64_t seq;     /* of its last report */
    json_t *pending; /* events that wait for an answer, or NULL */

    /* a load */
    int64_t n;
    json_t *limits;
    sm_load_done load_done;
};

typedef enum sm_worker_state {
    SM_WORKER_STARTING, /* has not said hello */
    SM_WORKER_READY,
    SM_WORKER_DRAINING, /* holds a stuck run: no new work, killed when empty or late */
    SM_WORKER_RETIRING, /* was told to stop */
    SM_WORKER_DYING     /* was killed, or its stream ended; not reaped */
} sm_worker_state;

struct sm_worker {
    sm_worker *prev, *next;
    sm_dispatcher *d;
    pid_t pid;
    sm_worker_state state;
    bool alone, hello, reaped;
    bool muted; /* broke the protocol: nothing more is read from it */
    char *key;  /* grants it is bound to while it has runs, else NULL */
    sm_job_list jobs;
    int loads;          /* of them loads */
    sm_map ghosts;      /* ids of runs (and "n" of loads) that were finished without it */
    int64_t spawned_ns; /* monotonic */
    int64_t kill_ns;    /* when it is killed, INT64_MAX: not planned */
    char plan[200];     /* why it will be killed then */
    char why[200];      /* why it was killed by us; "" otherwise */
    sm_link link;
};

struct sm_dispatcher {
    sm_dispatcher_options opt;
    char *self, *display;
    uv_timer_t timer;
    uv_signal_t chld;
    int handles;        /* of these two that are not closed */
    int64_t wake_ns;    /* when the timer fires, INT64_MAX: not armed */
    sm_worker *workers; /* that are not reaped */
    int64_t respawn_ns; /* no spawn before */
    int start_fails;    /* workers in a row that died before their hello */
    int64_t forgot_ns;  /* when texts were last forgotten */
    sm_job_list shared, waiting_alone, ending;
    sm_map runs; /* run id -> sm_job */
    int running; /* runs in workers */
    int64_t loads_made;
    bool stopping;
    int64_t cancel_ns;   /* stop: when running runs are cancelled */
    int64_t kill_all_ns; /* stop: when workers are killed */
    void (*stopped)(void *ctx);
    void *stopped_ctx;
};

/* job.c */
void sm_job_move(sm_job *j, sm_job_list *to);
/* Takes what the order gives. */
sm_job *sm_job_of_run(sm_dispatcher *d, const sm_run_order *order);
sm_job *sm_job_of_load(sm_dispatcher *d, sm_source *source, const json_t *limits, sm_load_done done,
                       void *ctx);
/* Takes the job out of every list, tells its end, frees it. */
void sm_job_finish(sm_job *j, const sm_run_end *end);
void sm_job_finish_load(sm_job *j, const json_t *head, const char *log, size_t log_n);
/* Ends it soon, from the timer; never calls back from here. error may be NULL. */
void sm_job_end_later(sm_job *j, const char *outcome, const char *error);
/* Ends it now with what end_outcome and end_error, or the arguments, say. */
void sm_job_end_now(sm_job *j, const char *outcome, const char *error, int signal);
/* Wipes and frees them. */
void sm_job_drop_secrets(sm_job *j);
/* The `run` or `load` header. New reference. */
json_t *sm_job_frame(const sm_job *j);

/* pool.c */
sm_rc sm_pool_spawn(sm_dispatcher *d, bool alone);
/* Spawns what is missing of the shared workers, unless it must wait. */
void sm_pool_fill(sm_dispatcher *d);
/* SIGKILL; its jobs end when it is reaped. why: what follows "because" in their sentence. */
void sm_pool_kill(sm_worker *w, const char *why);
/* Plans that for `ms` from now, unless it is planned earlier. */
void sm_pool_kill_in(sm_worker *w, int64_t ms, const char *why);
/* Asks an idle worker to end. */
void sm_pool_retire(sm_worker *w);
/* Workers that serve everybody and are not on their way out. */
int sm_pool_shared(const sm_dispatcher *d, int *starting);
int sm_pool_alone(const sm_dispatcher *d, int *starting);
/* Waits for own children that have ended, ends their jobs. */
void sm_pool_reap(sm_dispatcher *d);
bool sm_pool_start(sm_dispatcher *d, sm_err *err);

/* placing.c */
/* Gives waiting jobs to workers. */
void sm_placing_all(sm_dispatcher *d);
/* After w said hello: gives it work, or lets it go when it is not needed. */
void sm_placing_ready(sm_worker *w);
/* After a job left w: unbinds, retires, kills; then sm_placing_all. */
void sm_placing_freed(sm_worker *w);

/* arrival.c */
sm_rc sm_arrival_frame(void *worker, const sm_frame *f, sm_err *err);

/* deadline.c */
/* Makes the timer fire at `ns` (monotonic) at the latest. */
void sm_deadline_at(sm_dispatcher *d, int64_t ns);
void sm_deadline_tick(uv_timer_t *t);
