/* app: see app.h. This room has the life of the process; its beginning is in app_build and
 * app_start, signals in app_signals, what recurs in app_upkeep.
 *
 * Start: lock the state directory -> store -> last known views and slots -> workers -> first scan
 * -> listener -> schedules, control socket. Stop: no new runs -> running ones end -> one last batch
 * -> handles close -> store closes. At any instruction in between kill -9 loses nothing but time.
 */
#include "base/clock.h"
#include "base/log.h"
#include "daemon/app_parts.h"
#include <signal.h>
#include <stdlib.h>

enum { GRACE_MS = 10000, LAST_BATCH_MS = 3000, AT_ONCE_MS = 1000 };

void sm_app_fail(sm_app *a, sm_rc rc, const char *sentence) {
    if (a->rc == SM_OK)
        a->rc = sm_err_set(&a->err, rc, "%s", sentence);
    sm_app_stop(a);
}

/* ---- store thread -> loop ---- */

static void on_wake(uv_async_t *wake) {
    sm_app *a = wake->data;
    sm_store_drain(a->store);
    if (!a->stopping && sm_store_broken(a->store)) {
        a->store_ready = false; /* no last batch: nothing can be written down */
        sm_app_fail(a, SM_IO,
                    sm_store_overwritten(a->store)
                        ? "ended, because somebody else wrote into the database"
                        : "ended, because the disk failed to sync; what was acknowledged is kept");
    }
}

/* ---- the end ---- */

void sm_app_close_handle(uv_handle_t *handle) {
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void close_all(sm_app *a) {
    if (a->closing)
        return; /* closing the pumps ends the last batch, which calls this again */
    a->closing = true;
    if (a->o.listener.closing)
        a->o.listener.closing(a->o.listener.ctx);
    sm_storewatch_close(a->storewatch);
    sm_control_close(a->control);
    sm_ahead_close(a->ahead);
    sm_desks_close(a->desks);
    sm_accounts_close(a->accounts);
    if (a->http)
        sm_http_close(a->http);
    sm_app_services_close(a);
    sm_app_signals_close(a);
    sm_app_upkeep_close(a);
    sm_app_reload_close(a);
    sm_notify_close(a->o.notify);
    sm_app_hush_close(a);
    sm_failures_close(a->failures);
    sm_heartbeat_close(a->heartbeat);
    sm_app_close_handle((uv_handle_t *)&a->wake);
    sm_app_close_handle((uv_handle_t *)&a->settle);
}

static void last_batch_sent(void *ctx) {
    close_all(ctx);
}

/* Runs that wait for the store's word are given the time it takes; then the last batch. */
static void on_settle(uv_timer_t *timer) {
    sm_app *a = timer->data;
    bool awaited = a->runner && sm_runner_active(a->runner) > 0;
    if (awaited && !(a->at_once && sm_mono_ns() >= a->give_up_ns))
        return;
    uv_timer_stop(timer);
    a->draining = true;
    if (a->desks && a->store_ready && !a->at_once)
        sm_desks_drain(a->desks, LAST_BATCH_MS, false, last_batch_sent, a);
    else
        close_all(a);
}

static void dispatcher_stopped(void *ctx) {
    sm_app *a = ctx;
    uv_timer_start(&a->settle, on_settle, 0, 5);
}

void sm_app_stop(sm_app *a) {
    if (a->stopping)
        return;
    a->stopping = true;
    if (a->o.notify)
        sm_notify_stopping(a->o.notify);
    sm_app_upkeep_stop(a);
    sm_heartbeat_stop(a->heartbeat);
    sm_app_reload_stop(a);
    uv_timer_stop(&a->settle);
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

void sm_app_stop_now(sm_app *a) {
    if (a->at_once) {
        uv_stop(&a->loop);
        return;
    }
    sm_log(SM_LOG_WARN, "stopped at once");
    a->at_once = true;
    a->give_up_ns = sm_mono_ns() + AT_ONCE_MS * SM_NS_PER_MS;
    if (a->draining)
        close_all(a);
    else if (a->dispatcher)
        sm_dispatcher_stop(a->dispatcher, -1, dispatcher_stopped, a);
}

sm_rc sm_app_run(const sm_app_options *opt, json_t **result, sm_err *err) {
    sm_app *a = sm_calloc(1, sizeof *a);
    a->o = *opt;
    a->vitals = sm_vitals_new(sm_clock_system());
    a->o.config = sm_config_ref(opt->config);
    a->dir = (sm_statedir){.dir_fd = -1, .lock_fd = -1};
    /* Before its first use: dead disks may keep two threads with files of scripts and two with PEM
     * files; the configuration has to be read all the same. */
    setenv("UV_THREADPOOL_SIZE", "6", 0);
    uv_loop_init(&a->loop);
    signal(SIGPIPE, SIG_IGN);
    uv_async_init(&a->loop, &a->wake, on_wake);
    a->wake.data = a;
    uv_timer_init(&a->loop, &a->settle);
    a->settle.data = a;
    sm_app_signals_open(a);
    sm_app_upkeep_open(a);
    if (a->o.notify)
        sm_notify_open(a->o.notify, &a->loop);
    sm_app_hush_open(a);
    if (a->o.mode == SM_APP_DAEMON)
        sm_app_reload_open(a);
    sm_err first = SM_ERR_INIT;
    if (sm_app_build(a, &first) != SM_OK)
        sm_app_fail(a, first.code, first.msg);
    uv_run(&a->loop, UV_RUN_DEFAULT);
    /* The store first: what is queued is written, and no completion comes any more. */
    if (a->store)
        sm_store_close(a->store);
    sm_watch_free(a->watch);
    sm_catalog_free(a->catalog);
    sm_scheduler_free(a->scheduler);
    sm_runner_free(a->runner);
    sm_failures_free(a->failures);
    sm_conduct_free(a->conduct);
    sm_intake_free(a->intake);
    sm_windows_free(a->windows);
    if (a->dispatcher)
        sm_dispatcher_free(a->dispatcher);
    sm_app_services_free(a);
    sm_ahead_free(a->ahead);
    sm_desks_free(a->desks);
    sm_accounts_free(a->accounts);
    sm_http_free(a->http);
    sm_heartbeat_free(a->heartbeat);
    sm_control_free(a->control);
    sm_storewatch_free(a->storewatch);
    sm_vitals_free(a->vitals);
    sm_app_reload_free(a);
    sm_config_free(a->o.config);
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
