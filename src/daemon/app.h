/* app: the wiring of one process: store, dispatcher, catalogue, registrar, pump, runner, scheduler,
 * control socket, signals, and the order in which they start and stop. Nothing else lives here.
 *
 * It prints nothing: what a person sees goes through the listener.
 */
#pragma once
#include "daemon/catalog.h"
#include "daemon/config.h"
#include "daemon/memory.h"
#include "daemon/notify.h"
#include "daemon/scheduler.h"
#include <stdbool.h>
#include <uv.h>

typedef enum sm_app_mode {
    SM_APP_DAEMON, /* until SIGINT or SIGTERM */
    SM_APP_ONCE,   /* every selected inspection once, drain, end */
    SM_APP_DRY,    /* the same with nothing registered, stored or sent */
    SM_APP_LOAD    /* load the catalogue, tell, end */
} sm_app_mode;

typedef struct sm_app sm_app;

typedef struct sm_app_listener {
    void *ctx;
    /* After the first scan, and (daemon) after each later one that changed something. */
    void (*loaded)(void *ctx, const sm_app *app, bool first);
    void (*run)(void *ctx, const json_t *report); /* daemon/runner.h */
    void (*stopping)(void *ctx, int signal);
    /* (Daemon) The loop and the store are there: what listens begins. Its failure ends the process.
     */
    sm_rc (*serving)(void *ctx, const sm_app *app, uv_loop_t *loop, sm_err *err);
    /* Its handles close now. Called once, also when serving was not. */
    void (*closing)(void *ctx);
    /* Daemon: the configuration changed; another one holds from now on. Borrowed. */
    void (*configured)(void *ctx, const sm_config *now);
} sm_app_listener;

typedef struct sm_app_options {
    sm_app_mode mode;
    const char *self;                /* path of this executable */
    sm_config *config;               /* referenced while it is used */
    const sm_flags *flags;           /* it was loaded with; DAEMON only, else NULL */
    const json_t *select, *override; /* daemon/once.h; ONCE and DRY */
    int drain_ms;
    int wait_ms;       /* ONCE: how long to wait for the platform's budget of calls */
    bool new_identity; /* create although the platform knows these under another secret */
    sm_app_listener listener;
    sm_notify *notify;         /* DAEMON; borrowed */
    sm_memory_kept memos_kept; /* DRY: what inspections remember, from the store; or NULL */
    void *memos_ctx;
} sm_app_options;

/* Runs to the end. result (ONCE, DRY; new reference): daemon/once.h, finished. SM_BUSY: the state
 * directory is held. */
sm_rc sm_app_run(const sm_app_options *opt, json_t **result, sm_err *err);

const sm_catalog *sm_app_catalog(const sm_app *app);
const sm_scheduler *sm_app_scheduler(const sm_app *app); /* NULL unless a daemon */

/* (Daemon) The loop turns, and the store answered a read within 5 s. */
bool sm_app_alive(const sm_app *app);
/* (Daemon) Why it is not ready, one sentence into out (cap bytes): it still starts, it stops, it is
 * not alive, the store takes no events, no worker is there. NULL when it is ready; else out. */
const char *sm_app_unready(const sm_app *app, char *out, size_t cap);
/* How the process is doing, for metrics and `status`. New reference; NULL before its parts are
 * made.
 * {version, pid, alive, unready: sentence|null, vitals: sm_vitals_snapshot, process: {rss, cpu,
 *  threads, fds, max_fds}, pool: sm_dispatcher_status, catalog: {inspections, load_errors, stale,
 *  scan, walk (seconds), folders, polling}, conduct: {quarantined, penalised, held, repeated},
 * configuration: sm_app_configuration, accounts: sm_accounts_status, view_age: seconds|null (the
 * oldest that the platform said of an inspection), deliveries: sm_desks_verdicts, trouble:
 * [sentences], store: sm_storewatch_snapshot|null, log_dropped: lines, heartbeat:
 * sm_heartbeat_status, memory: sm_memory_status, dql: sm_dql_status,
 * files: sm_files_status} */
json_t *sm_app_snapshot(const sm_app *app);

/* ---- app_reload.c ---- */

/* The configuration may have changed: it is read again soon, beside the loop. Asking often costs
 * nothing. */
void sm_app_reconfigure(sm_app *app);
/* The files to watch for that: absolute paths, ended by NULL. Borrowed until the next reading; a
 * file that is wrong or missing is among them. */
const char *const *sm_app_config_files(const sm_app *app);
/* {file|null, loaded_at, error|null, stale, reloads, failures}: error is why the file as it is now
 * does not count. New reference. */
json_t *sm_app_configuration(const sm_app *app);
