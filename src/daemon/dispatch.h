/* dispatch: what the rooms of the dispatcher share: its jobs, its workers, itself. Only
 * dispatcher.c, job.c, pool.c, grave.c, placing.c, arrival.c, asks.c, pulse.c and deadline.c
 * include it.
 *
 * A job (a run or a load) is in exactly one list: waiting (`shared`, `alone` or `lane`), a
 * worker's, or `ending`. Callbacks to the outside are made only by sm_job_finish and
 * sm_arrival_frame; whoever calls these must not hold on to a neighbour in a list.
 */
#pragma once
#include "base/map.h"
#include "daemon/asks.h"
#include "daemon/link.h"
#include <sys/types.h>

enum {
    SM_SLACK_MS = 200,    /* a worker ends a run itself; this is how long its word is awaited */
    SM_DRAIN_MS = 5000,   /* what the others in a worker with a stuck run get */
    SM_BIRTHS_MAX = 4,    /* workers for single jobs that start at once */
    SM_LATE_MS = 1000,    /* what a worker with nothing but a stuck run gets to prove otherwise */
    SM_PULSE_MS = 3000,   /* between two pings of a worker */
    SM_SILENT_PULSES = 5, /* that go by without an answer: it counts as poisoned */
    SM_ASLEEP_MS = 500,   /* our timer came later than this: we were stopped or starved */
    SM_AWAKE_MS = 500,    /* what workers get then before anything is held against them */
    SM_LANE_IDLE_MS = 30000, /* the lane's worker goes after so long without a run */
    SM_DEATHS_BURST = 100,   /* workers that died unasked, */
    SM_DEATHS_PER_S = 5,     /* less so many a second: beyond it they are replaced */
    SM_DAMP_MS = 200,        /* one at a time, with this between them */
    SM_TELL_S = 60,          /* deaths and a full house are told once in so long */
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

/* What a worker needs besides its runs: libraries and glibc's arenas (worker.c bounds them); of
 * each thread its stack and what belongs to it. */
#define SM_WORKER_BYTES (UINT64_C(2) << 30)
#define SM_THREAD_BYTES (UINT64_C(5) << 18)
enum { SM_WORKER_FILES = 256, SM_RUN_FILES = 66 };

typedef struct sm_job sm_job;
typedef struct sm_worker sm_worker;

/* Something that was ended without its worker, which may still speak of it. */
typedef struct sm_ghost {
    sm_inspection *inspection; /* referenced; NULL: a load, or cancelled */
    char *name;                /* who did not return */
    int64_t ping;              /* an answer to this ping came from a worker that is well */
    int64_t since_ns;
} sm_ghost;

typedef struct sm_job_list {
    sm_job *first, *last;
    int n;
} sm_job_list;

struct sm_job {
    sm_job *prev, *next;
    sm_job_list *in;
    sm_dispatcher *d;
    sm_worker *worker; /* NULL while it waits */
    bool is_load, alone, lane, cancelled, trace;
    bool reported;       /* it sent a report frame */
    bool stuck;          /* its worker did not end it in time */
    bool foreign;        /* its worker was killed from outside */
    int attempt;         /* of a load: 2 = repeated alone */
    int64_t queued_ns;   /* monotonic, when ordered */
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
    int64_t seq;                   /* of its last report */
    json_t *pending;               /* events that wait for an answer, or NULL */
    int64_t asked;                 /* questions to services, */
    int asked_of[SM_ASK_SERVICES]; /* and of them to each */
    sm_ask *ask;                   /* the one under way, or NULL */

    /* a load */
    int64_t n;
    json_t *limits;
    sm_load_done load_done;
};

typedef enum sm_worker_kind {
    SM_WORKER_SHARED,
    SM_WORKER_ALONE, /* for one job, with which it ends */
    SM_WORKER_LANE   /* niced; one run at a time */
} sm_worker_kind;

typedef enum sm_worker_state {
    SM_WORKER_STARTING, /* has not said hello */
    SM_WORKER_READY,
    SM_WORKER_DRAINING, /* holds a stuck run, or is poisoned: no new work, killed when late */
    SM_WORKER_RETIRING, /* was told to stop */
    SM_WORKER_DYING     /* was killed, or its stream ended; not reaped */
} sm_worker_state;

struct sm_worker {
    sm_worker *prev, *next;
    sm_dispatcher *d;
    pid_t pid;
    sm_worker_state state;
    sm_worker_kind kind;
    bool hello, reaped;
    bool muted;    /* broke the protocol: nothing more is read from it */
    bool poisoned; /* did not answer: it is killed, whatever it says later */
    bool outdated; /* said `stale`, or was made for smaller runs: it ends when it is empty */
    bool spent;    /* lane: it has had a run */
    bool own;      /* lane: its run wanted it for itself, so it ends with it */
    char *key;     /* grants it is bound to while it has runs, else NULL */
    sm_job_list jobs;
    int loads;          /* of them loads */
    sm_map ghosts;      /* run id or "load N" -> sm_ghost */
    int64_t spawned_ns; /* monotonic */
    int64_t kill_ns;    /* when it is killed, INT64_MAX: not planned */
    char plan[200];     /* why it will be killed then */
    sm_kill plan_kind;  /* the same as a kind */
    char why[200];      /* why it was killed by us; "" otherwise */
    int64_t retire_ns;  /* lane: when it goes if idle, INT64_MAX: not planned */
    int64_t read_ns;    /* the tick that read what it had sent before it judged it */
    int64_t ping, pong; /* numbers of the last ping and of the last answer */
    int64_t silent_ms;  /* how long the last ping has gone unanswered, of our waking time */
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
    int64_t spawned_ns; /* the last spawn */
    double deaths;      /* of late: leaks SM_DEATHS_PER_S */
    int64_t deaths_ns;  /* when that was right */
    int64_t told_ns;    /* when a death was last told, INT64_MIN: never */
    int untold, untold_jobs;
    char untold_last[240];       /* how the last of them ended */
    int64_t full_ns;             /* when a full house was last told, INT64_MIN: never */
    int64_t pulse_ns;            /* the next pulse */
    int64_t pulsed_ns;           /* the last one */
    int64_t mercy_ns;            /* we slept: nothing is held against a worker before */
    sm_dispatcher_counts counts; /* the totals */
    int64_t forgot_ns;           /* when texts were last forgotten */
    sm_job_list shared, waiting_alone, lane, ending;
    sm_map runs;  /* run id -> sm_job */
    int running;  /* runs in workers */
    sm_ask *asks; /* that were not ended by their service yet */
    sm_ask_service services[SM_ASK_SERVICES];
    size_t n_services;
    bool told_lacks; /* it was said what this kernel does not have */
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
/* Whether a worker may be spawned now; if not, the timer is set for when. */
bool sm_pool_may_spawn(sm_dispatcher *d);
sm_rc sm_pool_spawn(sm_dispatcher *d, sm_worker_kind kind);
/* Spawns what is missing of the shared workers, unless it must wait. */
void sm_pool_fill(sm_dispatcher *d);
/* SIGKILL; its jobs end when it is reaped. why: what follows "because" in their sentence. */
void sm_pool_kill(sm_worker *w, sm_kill kind, const char *why);
/* Plans that for `ms` from now, unless it is planned earlier. */
void sm_pool_kill_in(sm_worker *w, int64_t ms, sm_kill kind, const char *why);
/* A worker did not come to life: the next one waits longer, and what waits for it gives up in the
 * end. */
void sm_pool_failed(sm_dispatcher *d, const char *how);
/* Asks an idle worker to end. */
void sm_pool_retire(sm_worker *w);
/* It cannot read the machine's current files any more (`stale`): it gets no new work, and ends when
 * what it has is done. */
void sm_pool_outdated(sm_worker *w, const char *why /* for the log; NULL: not told */);
/* Workers of a kind that are not on their way out. */
int sm_pool_count(const sm_dispatcher *d, sm_worker_kind kind, int *starting);
bool sm_pool_start(sm_dispatcher *d, sm_err *err);

/* grave.c */
/* Waits for own children that have ended, ends their jobs. */
void sm_grave_reap(sm_dispatcher *d);
/* Tells, once a minute, how many died. */
void sm_grave_tell(sm_dispatcher *d, int64_t now);
void sm_ghost_free(sm_ghost *g); /* NULL is fine */

/* placing.c */
/* Gives waiting jobs to workers. */
void sm_placing_all(sm_dispatcher *d);
/* After w said hello: gives it work, or lets it go when it is not needed. */
void sm_placing_ready(sm_worker *w);
/* After a job left w: unbinds, retires, kills; then sm_placing_all. */
void sm_placing_freed(sm_worker *w);

/* pulse.c */
/* From the timer: pings the workers and judges the silent ones, when it is time. */
void sm_pulse_tick(sm_dispatcher *d, int64_t now);
/* Pings one worker now; the number of the ping. */
int64_t sm_pulse_ping(sm_worker *w);
/* A worker that was thought stuck has answered for everything: it serves again. */
void sm_pulse_recovered(sm_worker *w);

/* arrival.c */
sm_rc sm_arrival_frame(void *worker, const sm_frame *f, sm_err *err);

/* asks.c */
/* `ask`. */
sm_rc sm_asks_arrived(sm_worker *w, const sm_frame *f, sm_err *err);
/* The run has left its worker. */
void sm_asks_run_gone(sm_job *j);
/* Before d is freed: what is under way is dropped. */
void sm_asks_forget(sm_dispatcher *d);

/* deadline.c */
/* Makes the timer fire at `ns` (monotonic) at the latest. */
void sm_deadline_at(sm_dispatcher *d, int64_t ns);
void sm_deadline_tick(uv_timer_t *t);
