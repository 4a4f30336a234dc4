/* app_start: from the first scan to a process at work, and what changes later. Owned by the loop's
 * thread.
 */
#include "base/log.h"
#include "daemon/app_parts.h"
#include "daemon/once.h"
#include "daemon/requests.h"
#include <stdio.h>
#include <string.h>

static const char ended[] = "the process that holds the state directory is stopping";
static const char starting[] = "the process that holds the state directory is still starting";

void sm_app_answer(void *ctx, sm_control_peer *peer, const json_t *request) {
    sm_app *a = ctx;
    if (a->stopping || !a->started) {
        sm_control_reply(peer, sm_control_error(SM_BUSY, a->stopping ? ended : starting));
        return;
    }
    sm_requests_from with = {.config = a->o.config,
                             .catalog = a->catalog,
                             .dispatcher = a->dispatcher,
                             .runner = a->runner,
                             .conduct = a->conduct,
                             .desks = a->desks,
                             .accounts = a->accounts,
                             .store = a->store,
                             .app = a,
                             .may_run = a->o.mode == SM_APP_DAEMON};
    sm_requests_answer(&with, peer, request);
}

void sm_app_reported(void *ctx, const json_t *report) {
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
    sm_app_stop(a);
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
        uv_timer_start(&a->settle, on_waited, (uint64_t)a->o.wait_ms, 0);
    sm_once_options once = {.catalog = a->catalog,
                            .runner = a->runner,
                            .desks = a->desks,
                            .store = a->store,
                            .select = a->o.select,
                            .override = a->o.override,
                            .drain_ms = a->o.drain_ms,
                            .progress = sm_app_reported,
                            .finished = once_finished,
                            .ctx = a};
    if (sm_once_start(&once, &err) != SM_OK)
        sm_app_fail(a, err.code, err.msg);
}

/* Keys that came with scripts make accounts of their own; what misbehaved may be gone. */
static void learn(sm_app *a) {
    size_t n, errors;
    sm_inspection *const *list = sm_catalog_list(a->catalog, &n);
    const sm_load_error *error = sm_catalog_errors(a->catalog, &errors);
    if (a->failures)
        sm_failures_update(a->failures, list, n, error, errors);
    if (a->conduct)
        sm_conduct_update(a->conduct, list, n, errors == 0);
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

static void tell_ready(sm_app *a) {
    char status[64];
    size_t n;
    sm_catalog_list(a->catalog, &n);
    snprintf(status, sizeof status, "loaded %zu inspection%s", n, n == 1 ? "" : "s");
    if (a->o.notify)
        sm_notify_ready(a->o.notify, status);
}

/* Everything that must be known is known: begin. */
void sm_app_maybe_start(sm_app *a) {
    if (a->started || a->stopping || !a->scanned || a->loading > 0)
        return;
    a->started = true;
    learn(a);
    if (a->o.mode == SM_APP_DAEMON)
        update_schedules(a); /* what it starts answers later, so the listener speaks first */
    if (a->o.listener.loaded)
        a->o.listener.loaded(a->o.listener.ctx, a, true);
    if (a->o.mode == SM_APP_LOAD) {
        sm_app_stop(a);
    } else if (a->o.mode == SM_APP_DAEMON) {
        sm_desks_poke(a->desks);
        sm_app_upkeep_start(a);
        sm_app_beat_configure(a);
        tell_ready(a);
        sm_app_hush_start(a);
        sm_app_reload_started(a);
    } else {
        start_once(a);
    }
}

void sm_app_take_catalog(sm_app *a) {
    learn(a);
    if (a->o.mode == SM_APP_DAEMON) {
        update_schedules(a);
        tell_ready(a);
    }
}

void sm_app_catalog_changed(void *ctx) {
    sm_app *a = ctx;
    if (a->stopping)
        return;
    if (!a->started) {
        a->scanned = true;
        sm_app_maybe_start(a);
        return;
    }
    sm_app_reloaded(a);
    sm_app_take_catalog(a);
    if (a->o.listener.loaded)
        a->o.listener.loaded(a->o.listener.ctx, a, false);
}
