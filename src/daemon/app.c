/* app: see app.h.
 *
 * Start: lock the state directory -> store -> last known views and slots -> workers -> first scan
 * -> listener -> schedules, control socket. Stop: no new runs -> running ones end -> one last batch
 * -> handles close -> store closes. At any instruction in between kill -9 loses nothing but time.
 */
#include "daemon/app.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/accounts.h"
#include "daemon/ahead.h"
#include "daemon/control.h"
#include "daemon/desks.h"
#include "daemon/dispatcher.h"
#include "daemon/intake.h"
#include "daemon/once.h"
#include "daemon/requests.h"
#include "daemon/runner.h"
#include "daemon/statedir.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum {
    GRACE_MS = 10000,
    LAST_BATCH_MS = 3000,
    RESCAN_MS = 1000,
    PRUNE_FIRST_MS = 60000,
    PRUNE_STEP_MS = 200,
    PRUNE_MS = 3600000
};

struct sm_app {
    sm_app_options o;
    uv_loop_t loop;
    sm_statedir dir;
    sm_store *store;
    sm_http *http;
    sm_accounts *accounts;
    sm_desks *desks;
    sm_dispatcher *dispatcher;
    sm_catalog *catalog;
    sm_intake *intake;
    sm_runner *runner;
    sm_scheduler *scheduler;
    sm_ahead *ahead; /* a daemon with a remote platform */
    sm_control *control;
    uv_async_t wake; /* the store has completions */
    uv_signal_t on_int, on_term, on_hup, on_quit;
    uv_timer_t rescan, prune, settle;
    int loading; /* what must be read before the first scan counts */
    bool scanned, started, stopping, store_ready;
    json_t *result;
    sm_rc rc;
    sm_err err;
};

static void stop(sm_app *a);
static void maybe_start(sm_app *a);

static void fail(sm_app *a, sm_rc rc, const char *sentence) {
    if (a->rc == SM_OK)
        a->rc = sm_err_set(&a->err, rc, "%s", sentence);
    stop(a);
}

/* ---- store thread -> loop ---- */

static void store_wakes(void *ctx) {
    sm_app *a = ctx;
    uv_async_send(&a->wake);
}

static void on_wake(uv_async_t *wake) {
    sm_app *a = wake->data;
    sm_store_drain(a->store);
    if (!a->stopping && sm_store_broken(a->store)) {
        a->store_ready = false; /* no last batch: nothing can be written down */
        fail(a, SM_IO, "ended, because the disk failed to sync; what was acknowledged is kept");
    }
}

static void events_stored(void *ctx) {
    sm_app *a = ctx;
    if (a->desks)
        sm_desks_poke(a->desks);
}

/* ---- the end ---- */

static void close_handle(uv_handle_t *handle) {
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void close_all(sm_app *a) {
    sm_control_close(a->control);
    sm_ahead_close(a->ahead);
    sm_desks_close(a->desks);
    sm_accounts_close(a->accounts);
    if (a->http)
        sm_http_close(a->http);
    uv_handle_t *mine[] = {(uv_handle_t *)&a->wake,    (uv_handle_t *)&a->on_int,
                           (uv_handle_t *)&a->on_term, (uv_handle_t *)&a->on_hup,
                           (uv_handle_t *)&a->on_quit, (uv_handle_t *)&a->rescan,
                           (uv_handle_t *)&a->prune,   (uv_handle_t *)&a->settle};
    for (size_t i = 0; i < SM_ARRAY_LEN(mine); i++)
        close_handle(mine[i]);
}

static void last_batch_sent(void *ctx) {
    close_all(ctx);
}

/* Runs that wait for the store's word are given the time it takes; then the last batch. */
static void on_settle(uv_timer_t *timer) {
    sm_app *a = timer->data;
    if (a->runner && sm_runner_active(a->runner) > 0)
        return;
    uv_timer_stop(timer);
    if (a->desks && a->store_ready)
        sm_desks_drain(a->desks, LAST_BATCH_MS, false, last_batch_sent, a);
    else
        close_all(a);
}

static void dispatcher_stopped(void *ctx) {
    sm_app *a = ctx;
    uv_timer_start(&a->settle, on_settle, 0, 5);
}

static void stop(sm_app *a) {
    if (a->stopping)
        return;
    a->stopping = true;
    uv_timer_stop(&a->rescan);
    if (a->scheduler)
        sm_scheduler_stop(a->scheduler);
    if (a->runner)
        sm_runner_stop(a->runner);
    if (a->desks)
        sm_desks_stop(a->desks, "the program is stopping");
    if (a->dispatcher)
        sm_dispatcher_stop(a->dispatcher, a->o.mode == SM_APP_DAEMON ? GRACE_MS : 0,
                           dispatcher_stopped, a);
    else
        dispatcher_stopped(a);
}

/* ---- signals ---- */

static void on_stop_signal(uv_signal_t *handle, int number) {
    sm_app *a = handle->data;
    if (a->stopping) {
        /* The second one stops now: workers end with us, the store is whole at any instant. */
        sm_log(SM_LOG_WARN, "stopped at once; what was running is recorded at the next start");
        uv_stop(&a->loop);
        return;
    }
    if (a->o.listener.stopping)
        a->o.listener.stopping(a->o.listener.ctx, number);
    if (a->o.mode != SM_APP_DAEMON && a->rc == SM_OK)
        a->rc = sm_err_set(&a->err, SM_CLOSED, "interrupted");
    stop(a);
}

static void on_hup_signal(uv_signal_t *handle, int number) {
    (void)number;
    sm_app *a = handle->data;
    if (a->catalog && !a->stopping)
        sm_catalog_scan(a->catalog);
}

static void on_quit_signal(uv_signal_t *handle, int number) {
    (void)number;
    sm_app *a = handle->data;
    if (!a->dispatcher)
        return;
    json_t *status = sm_dispatcher_status(a->dispatcher);
    char *text = sm_json_dump(status, NULL);
    sm_log(SM_LOG_INFO, "workers: %s", text);
    free(text);
    json_decref(status);
}

static void on_rescan(uv_timer_t *timer) {
    sm_app *a = timer->data;
    if (!sm_catalog_busy(a->catalog))
        sm_catalog_scan(a->catalog);
    /* Never more than 2 % of the time for looking. */
    double wait = sm_catalog_scan_ms(a->catalog) * 50;
    uv_timer_start(timer, on_rescan, wait > RESCAN_MS ? (uint64_t)wait : RESCAN_MS, 0);
}

static void on_prune(uv_timer_t *timer);

/* A batch went: the next one soon, until nothing old is left; then in an hour. */
static void pruned(void *ctx, sm_rc rc, const sm_err *err, const json_t *gone) {
    (void)err;
    sm_app *a = ctx;
    int64_t n = sm_json_int(gone, "runs", 0) + sm_json_int(gone, "events", 0) +
                sm_json_int(gone, "slots", 0);
    if (!a->stopping)
        uv_timer_start(&a->prune, on_prune, rc == SM_OK && n > 0 ? PRUNE_STEP_MS : PRUNE_MS, 0);
}

static void on_prune(uv_timer_t *timer) {
    sm_app *a = timer->data;
    int64_t now = sm_wall_ns();
    const sm_config *c = a->o.config;
    json_t *args = json_pack(
        "{s:I, s:I, s:i}", "runs_before_ns", (json_int_t)(now - (int64_t)(c->keep_runs_s * 1e9)),
        "events_before_ns", (json_int_t)(now - (int64_t)(c->keep_events_s * 1e9)), "batch", 1000);
    sm_store_call(a->store, SM_OP_PRUNE, args, pruned, a);
}

/* ---- requests over the socket ---- */

static const char ended[] = "the process that holds the state directory is stopping";
static const char starting[] = "the process that holds the state directory is still starting";
static void handle(void *ctx, sm_control_peer *peer, const json_t *request) {
    sm_app *a = ctx;
    if (a->stopping || !a->started) {
        sm_control_reply(peer, sm_control_error(SM_BUSY, a->stopping ? ended : starting));
        return;
    }
    sm_requests_from with = {.config = a->o.config,
                             .catalog = a->catalog,
                             .dispatcher = a->dispatcher,
                             .runner = a->runner,
                             .desks = a->desks,
                             .accounts = a->accounts,
                             .store = a->store,
                             .may_run = a->o.mode == SM_APP_DAEMON};
    sm_requests_answer(&with, peer, request);
}

/* ---- the start ---- */

static void run_reported(void *ctx, const json_t *report) {
    sm_app *a = ctx;
    if (a->ahead && strcmp(sm_json_str(report, "outcome", ""), "unregistered") == 0)
        sm_ahead_unregistered(a->ahead, sm_json_str(report, "id", ""),
                              strcmp(sm_json_str(report, "trigger", ""), "first") == 0);
    if (a->o.listener.run)
        a->o.listener.run(a->o.listener.ctx, report);
}

static void once_finished(void *ctx, const json_t *result) {
    sm_app *a = ctx;
    a->result = json_deep_copy(result);
    stop(a);
}

/* --wait is over: what the platform was not asked about yet is answered from the last known view.
 */
static void on_waited(uv_timer_t *timer) {
    sm_app *a = timer->data;
    sm_desks_stop(a->desks, "the platform could not be asked within the time of --wait (its limit "
                            "of calls, or no answer)");
}

static void start_once(sm_app *a) {
    sm_err err = SM_ERR_INIT;
    for (size_t i = 0; a->accounts && i < sm_accounts_count(a->accounts); i++) {
        sm_remote *remote = sm_accounts_remote(a->accounts, sm_accounts_name(a->accounts, i));
        if (remote)
            sm_remote_set_patience(remote, a->o.wait_ms / 1000.0);
    }
    if (a->desks && a->o.wait_ms > 0)
        uv_timer_start(&a->rescan, on_waited, (uint64_t)a->o.wait_ms, 0);
    sm_once_options once = {.catalog = a->catalog,
                            .runner = a->runner,
                            .desks = a->desks,
                            .store = a->store,
                            .select = a->o.select,
                            .override = a->o.override,
                            .drain_ms = a->o.drain_ms,
                            .progress = run_reported,
                            .finished = once_finished,
                            .ctx = a};
    if (sm_once_start(&once, &err) != SM_OK)
        fail(a, err.code, err.msg);
}

/* Keys that came with scripts make accounts of their own. */
static void learn_accounts(sm_app *a) {
    size_t n;
    sm_inspection *const *list = sm_catalog_list(a->catalog, &n);
    sm_err err = SM_ERR_INIT;
    for (size_t i = 0; a->accounts && i < n; i++)
        if (sm_accounts_learn(a->accounts, list[i], &err) != SM_OK)
            sm_log(SM_LOG_ERROR, "%s: %s", list[i]->id, err.msg);
    if (a->desks)
        sm_desks_extend(a->desks);
    if (a->o.mode == SM_APP_DAEMON && !a->ahead && sm_desks_remote(a->desks))
        a->ahead = sm_ahead_new(&a->loop, a->catalog, a->desks, a->scheduler);
}

static void update_schedules(sm_app *a) {
    size_t n;
    sm_inspection *const *list = sm_catalog_list(a->catalog, &n);
    sm_scheduler_update(a->scheduler, list, n);
}

/* Everything that must be known is known: begin. */
static void maybe_start(sm_app *a) {
    if (a->started || a->stopping || !a->scanned || a->loading > 0)
        return;
    a->started = true;
    learn_accounts(a);
    if (a->o.mode == SM_APP_DAEMON)
        update_schedules(a); /* what it starts answers later, so the listener speaks first */
    if (a->o.listener.loaded)
        a->o.listener.loaded(a->o.listener.ctx, a, true);
    if (a->o.mode == SM_APP_LOAD) {
        stop(a);
    } else if (a->o.mode == SM_APP_DAEMON) {
        sm_desks_poke(a->desks);
        uv_timer_start(&a->rescan, on_rescan, RESCAN_MS, 0);
        uv_timer_start(&a->prune, on_prune, PRUNE_FIRST_MS, 0);
    } else {
        start_once(a);
    }
}

static void catalog_changed(void *ctx) {
    sm_app *a = ctx;
    if (a->stopping)
        return;
    if (!a->started) {
        a->scanned = true;
        maybe_start(a);
        return;
    }
    learn_accounts(a);
    if (a->o.mode == SM_APP_DAEMON)
        update_schedules(a);
    if (a->o.listener.loaded)
        a->o.listener.loaded(a->o.listener.ctx, a, false);
}

static void one_loaded(void *ctx) {
    sm_app *a = ctx;
    if (--a->loading == 0)
        a->store_ready = true;
    maybe_start(a);
}

static void recovered(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    if (rc != SM_OK)
        sm_log(SM_LOG_ERROR, "runs of the last time could not be closed: %s", err->msg);
    else if (sm_json_int(result, "runs", 0) > 0)
        sm_log(SM_LOG_WARN,
               "%lld runs had not ended when the last process did; recorded as cancelled",
               (long long)sm_json_int(result, "runs", 0));
    one_loaded(ctx);
}

static sm_rc open_store(sm_app *a, sm_err *err) {
    const sm_config *c = a->o.config;
    const char *what = a->o.mode == SM_APP_DAEMON ? "run" : "run --once";
    if (sm_statedir_take(c->state_dir, what, &a->dir, err) != SM_OK)
        return err->code;
    char *path = sm_statedir_file(c->state_dir, "selfmon.db");
    sm_store_options options = {.path = path,
                                .outbox_bytes = c->outbox_bytes,
                                .min_free_bytes = c->min_free_bytes,
                                .wake = store_wakes,
                                .ctx = a};
    sm_rc rc = sm_store_open(&options, &a->store, err);
    free(path);
    if (rc != SM_OK)
        return rc;
    if (sm_http_new(&a->loop, &a->http, err) != SM_OK)
        return err->code;
    if (sm_accounts_open(&a->loop, a->http, a->store, c, &a->accounts, err) != SM_OK)
        return err->code;
    a->desks = sm_desks_new(&a->loop, a->store, a->accounts, c->config_max_age);
    a->loading = 2;
    sm_store_call(a->store, SM_OP_RUNS_RECOVER,
                  json_pack("{s:I, s:s}", "at_ns", (json_int_t)sm_wall_ns(), "reason",
                            "the process that ran it ended before the run did"),
                  recovered, a);
    sm_desks_load(a->desks, one_loaded, a);
    return sm_control_open(&a->loop, a->dir.dir_fd, a->store, handle, a, &a->control, err);
}

static sm_rc build(sm_app *a, sm_err *err) {
    const sm_config *c = a->o.config;
    bool keeps = a->o.mode == SM_APP_DAEMON || a->o.mode == SM_APP_ONCE;
    const sm_secret *assoc = NULL;
    if (keeps && open_store(a, err) != SM_OK)
        return err->code;
    bool generated = c->assoc == NULL;
    sm_err missing = SM_ERR_INIT;
    if (sm_config_assoc_secret(a->o.config, keeps, &assoc, &missing) != SM_OK && keeps)
        return sm_err_set(err, missing.code, "%s", missing.msg);
    if (a->desks && generated && !a->o.new_identity)
        sm_desks_guard(a->desks);
    a->intake = sm_intake_new(a->store, c->node, events_stored, a);
    if (a->desks)
        sm_intake_nodes(a->intake, sm_desks_node, a->desks);
    sm_dispatcher_options dispatcher = {.loop = &a->loop,
                                        .self = a->o.self,
                                        .display = c->display,
                                        .workers = a->o.mode == SM_APP_LOAD ? 1 : c->workers,
                                        .runs_per_worker = c->runs_per_worker,
                                        .max_running = c->max_running,
                                        .process_isolation = c->process_isolation,
                                        .report = sm_intake_report,
                                        .ctx = a->intake};
    if (sm_dispatcher_new(&dispatcher, &a->dispatcher, err) != SM_OK)
        return err->code;
    sm_intake_bind(a->intake, a->dispatcher);
    sm_runner_options runner = {.config = c,
                                .dispatcher = a->dispatcher,
                                .intake = a->intake,
                                .store = a->store,
                                .registrar_of = a->desks ? sm_desks_registrar : NULL,
                                .node_of = a->desks ? sm_desks_node : NULL,
                                .desks = a->desks,
                                .node = c->node};
    a->runner = sm_runner_new(&runner);
    if (a->o.mode == SM_APP_DAEMON) {
        a->scheduler = sm_scheduler_new(&a->loop, a->store, a->runner, sm_clock_system(),
                                        run_reported, a, err);
        if (!a->scheduler)
            return err->code;
        a->loading++;
        sm_scheduler_load(a->scheduler, one_loaded, a);
    }
    a->catalog = sm_catalog_new(c, assoc, a->dispatcher, a->store, catalog_changed, a);
    sm_catalog_scan(a->catalog);
    return SM_OK;
}

static void open_handles(sm_app *a) {
    uv_async_init(&a->loop, &a->wake, on_wake);
    a->wake.data = a;
    uv_signal_t *signals[] = {&a->on_int, &a->on_term, &a->on_hup, &a->on_quit};
    const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    const uv_signal_cb calls[] = {on_stop_signal, on_stop_signal, on_hup_signal, on_quit_signal};
    for (size_t i = 0; i < SM_ARRAY_LEN(signals); i++) {
        uv_signal_init(&a->loop, signals[i]);
        signals[i]->data = a;
        uv_signal_start(signals[i], calls[i], numbers[i]);
    }
    uv_timer_t *timers[] = {&a->rescan, &a->prune, &a->settle};
    for (size_t i = 0; i < SM_ARRAY_LEN(timers); i++) {
        uv_timer_init(&a->loop, timers[i]);
        timers[i]->data = a;
    }
}

sm_rc sm_app_run(const sm_app_options *opt, json_t **result, sm_err *err) {
    sm_app *a = sm_calloc(1, sizeof *a);
    a->o = *opt;
    a->dir = (sm_statedir){.dir_fd = -1, .lock_fd = -1};
    uv_loop_init(&a->loop);
    signal(SIGPIPE, SIG_IGN);
    open_handles(a);
    sm_err first = SM_ERR_INIT;
    if (build(a, &first) != SM_OK)
        fail(a, first.code, first.msg);
    uv_run(&a->loop, UV_RUN_DEFAULT);
    /* The store first: what is queued is written, and no completion comes any more. */
    if (a->store)
        sm_store_close(a->store);
    sm_catalog_free(a->catalog);
    sm_scheduler_free(a->scheduler);
    sm_runner_free(a->runner);
    sm_intake_free(a->intake);
    if (a->dispatcher)
        sm_dispatcher_free(a->dispatcher);
    sm_ahead_free(a->ahead);
    sm_desks_free(a->desks);
    sm_accounts_free(a->accounts);
    sm_http_free(a->http);
    sm_control_free(a->control);
    uv_loop_close(&a->loop);
    sm_statedir_release(&a->dir);
    sm_rc rc = a->rc;
    if (rc != SM_OK)
        sm_err_set(err, rc, "%s", a->err.msg);
    if (result)
        *result = json_incref(a->result);
    json_decref(a->result);
    free(a);
    return rc;
}

const sm_catalog *sm_app_catalog(const sm_app *app) {
    return app->catalog;
}

const sm_scheduler *sm_app_scheduler(const sm_app *app) {
    return app->scheduler;
}
