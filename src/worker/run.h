/* run: one run of one script inside this process: who it is, what it may use, how it is stopped.
 *
 * THREADS. A run belongs to the thread that executes it; `mu` guards what others touch: the
 * watchdog sets `stop` and wakes it, the fetch and reader threads complete what it waits for.
 * Bindings find it with sm_run_of(L) (extra space of the main state, copied to coroutines).
 *
 * What the outside offers comes through sm_run_host, so that the worker process, the dry run and
 * `selfmon.testing` differ only there.
 */
#pragma once
#include <lua.h>
#include "base/err.h"
#include "base/json.h"
#include "base/secret.h"
#include "worker/runlog.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct sm_fetch_req;
struct sm_fetch_res;
struct sm_watchdog;
struct sm_answer;
struct sm_runclock;
typedef struct sm_run sm_run;

typedef enum sm_phase {
    SM_PHASE_LOADING, /* the main chunk: modules that touch the world refuse */
    SM_PHASE_RUNNING, /* inside the inspection function */
    SM_PHASE_FREE /* `selfmon-lua lua` and busted: no run, nothing refused, report not possible */
} sm_phase;

typedef enum sm_stop {
    SM_STOP_NONE,
    SM_STOP_TIMEOUT, /* wall time */
    SM_STOP_CPU,
    SM_STOP_MEMORY,
    SM_STOP_EVENTS,
    SM_STOP_HTTP,
    SM_STOP_LOG,      /* outcome `limit` */
    SM_STOP_CANCELLED /* the daemon wants it ended, or is gone */
} sm_stop;

typedef struct sm_limits {
    size_t memory;     /* Lua heap, bytes; 32 MiB */
    double wall_s;     /* 30 */
    double cpu_s;      /* 10 */
    size_t log;        /* bytes of run log; 256 KiB */
    int events;        /* 1,000 a run */
    int http_parallel; /* 64 */
    int http_total;    /* 1,000 */
    size_t http_body;  /* 8 MiB, decompressed */
} sm_limits;

void sm_limits_default(sm_limits *out);

typedef struct sm_run_host {
    void *ctx;
    /* Blocks until the checked events (array, borrowed) are durable; *ids: new array of texts.
     * Returns early with SM_CLOSED when the run was stopped meanwhile. */
    sm_rc (*report)(void *ctx, sm_run *run, const json_t *events, json_t **ids, sm_err *err);
    /* Performs n requests at once, redirects included (worker/fetch.h); fills each result; returns
     * when all have ended or the run was stopped (then the rest are marked cancelled). */
    void (*fetch)(void *ctx, sm_run *run, const struct sm_fetch_req *reqs, struct sm_fetch_res *res,
                  size_t n);
    /* Readings of this machine for selfmon.host: "cpu" "memory" "load" "disks" "mounts" "uptime".
     * New reference or NULL with err. NULL function: the real machine (worker/hostinfo.h). */
    json_t *(*machine)(void *ctx, sm_run *run, const char *what, sm_err *err);
    /* A granted secret, borrowed until the run ends; SM_DENIED / SM_NOT_FOUND. NULL: none. */
    sm_rc (*secret)(void *ctx, sm_run *run, const char *name, const sm_secret **out, sm_err *err);
    /* Asks a service of the daemon (worker/asking.h) and waits; args and body are borrowed. On
     * failure err is the sentence and out->code its word; SM_CLOSED when the run was stopped
     * meanwhile. NULL function: there is none. */
    sm_rc (*ask)(void *ctx, sm_run *run, const char *what, const json_t *args, const void *body,
                 size_t n, struct sm_answer *out, sm_err *err);
    /* What time it is, and what waiting moves (worker/runclock.h). NULL: the machine's clock. */
    struct sm_runclock *clock;
    bool net_asked; /* selfmon.net asks `ask` as "net" instead of the network: a test's fake */
} sm_run_host;

struct sm_run {
    /* who: owned strings, constant while it runs */
    char *id;       /* function id; at load the file */
    char *run_id;   /* 32 hex, "" at load */
    json_t *ctx;    /* what the script sees as `ctx` */
    json_t *params; /* resolved values */
    json_t *grants; /* array of granted permissions, e.g. "secret:shop" */
    json_t *net;    /* address policy as in the configuration, or NULL for the default */
    sm_limits limits;
    const sm_run_host *host;

    /* state of the run's thread */
    sm_phase phase;
    lua_State *L;                 /* main state */
    _Atomic(lua_State *) current; /* coroutine that runs now (wrapped coroutine library) */
    pthread_t thread;
    int64_t started_ns, deadline_ns; /* monotonic */
    int64_t cpu_start_ns;            /* thread CPU at start */
    size_t mem_used, mem_peak;       /* kept by the allocator */
    int events, http_count;          /* used so far */
    int connections;                 /* of net.open, open now */
    size_t mem_asked;                /* what the refused allocation wanted in addition */
    const void *refused;             /* block of a refused allocation that may still be retried */
    size_t refused_size;             /* its size, 0 when none is pending */
    char where[320];                 /* script file:line at the stop, "" unknown */
    char *trace;                     /* traceback of the last error, owned, or NULL */
    char trace_where[320];           /* file:line of its first frame */
    sm_run *outer;                   /* run this thread had entered before this one */
    struct sm_watchdog *dog;         /* who watches it while entered, or NULL */
    sm_runlog log;

    void *trust; /* the system's certificates, once selfmon.net has read them; or NULL */
    void (*trust_free)(void *);

    /* owned by the watchdog's lock */
    int64_t watch_ns;  /* when it looks next */
    size_t watch_slot; /* place in its heap */
    int tid;           /* kernel's thread id */

    /* shared */
    pthread_mutex_t mu;
    pthread_cond_t cv;  /* CLOCK_MONOTONIC */
    bool entered;       /* guarded by mu: `thread` is inside sm_vm_enter .. sm_vm_leave */
    _Atomic bool niced; /* the watchdog made its thread nice: the thread ends after the run */
    _Atomic int stop;   /* sm_stop; first one wins */
};

/* Initialises with copies of what is given (params, ctx, grants, net: references taken over). */
void sm_run_init(sm_run *run, const char *id, const char *run_id, const sm_limits *limits,
                 const sm_run_host *host);
void sm_run_fini(sm_run *run);
sm_run *sm_run_of(lua_State *L);

/* Stops the run from any thread, run->mu not held: first reason wins; wakes it, and signals its
 * thread so that the sticky hook is armed there. From the run's own thread call sm_run_check next.
 */
void sm_run_stop(sm_run *run, sm_stop why);
/* Raises the uncatchable end when the run was stopped, else nothing. [-0, +0, e]
 * Bindings call it after anything that waited. */
void sm_run_check(lua_State *L);
/* With run->mu held: waits for cv until `until_ns` (monotonic; INT64_MAX: only the run's own
 * deadline). False when stopped or `until_ns` passed. The caller loops on its own condition. */
bool sm_run_wait(sm_run *run, int64_t until_ns);
/* Raises `NAME cannot be called while a script is loading; call it inside the function` in phase
 * LOADING; else sm_run_check. Every binding that touches the world begins with it. [-0, +0, e] */
void sm_run_world(lua_State *L, const char *name);
/* Raises `permission "P" is not granted to ID: add it to grant in selfmon.conf.lua` unless
 * granted. */
void sm_run_permission(lua_State *L, const char *permission);
/* Adds a line to the run log; over limits.log the run is stopped (raises). In phase LOADING of a
 * run (not of a load) the line is dropped: the load has shown it already. [-0, +0, e] */
void sm_run_log(lua_State *L, const char *level, const char *text, size_t n);
/* `limit` sentence of a stop: limit, peak, setting. On the run's own thread. */
void sm_run_stop_text(const sm_run *run, char *out, size_t cap);
