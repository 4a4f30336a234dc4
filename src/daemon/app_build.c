/* app_build: makes the parts of the process in the order in which they need each other. Owned by
 * the loop's thread.
 */
#include "base/clock.h"
#include "base/log.h"
#include "daemon/app_parts.h"
#include <stdlib.h>
#include <string.h>

static void store_wakes(void *ctx) {
    sm_app *a = ctx;
    uv_async_send(&a->wake);
}

static void events_stored(void *ctx) {
    sm_app *a = ctx;
    if (a->desks)
        sm_desks_poke(a->desks);
}

static void one_loaded(void *ctx) {
    sm_app *a = ctx;
    if (--a->loading == 0)
        a->store_ready = true;
    sm_app_maybe_start(a);
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

static void did_not_return(void *ctx, sm_inspection *inspection) {
    sm_app *a = ctx;
    if (a->conduct)
        sm_conduct_stuck(a->conduct, inspection, sm_wall_ns());
}

/* From here on the process can say how it is. */
static sm_rc watch_store(sm_app *a, sm_err *err) {
    const sm_app_listener *l = &a->o.listener;
    a->storewatch = sm_storewatch_new(&a->loop, a->store);
    return l->serving ? l->serving(l->ctx, a, &a->loop, err) : SM_OK;
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
    if (a->o.notify)
        sm_notify_watch(a->o.notify, a->store);
    if (a->o.mode == SM_APP_DAEMON && watch_store(a, err) != SM_OK)
        return err->code;
    if (sm_http_new(&a->loop, &a->http, err) != SM_OK)
        return err->code;
    sm_app_beat_open(a);
    if (sm_accounts_open(&a->loop, a->http, a->store, c, &a->accounts, err) != SM_OK)
        return err->code;
    a->desks = sm_desks_new(&a->loop, a->store, a->accounts, c->config_max_age);
    a->conduct = sm_conduct_new(a->store);
    a->loading = 3;
    sm_store_call(a->store, SM_OP_RUNS_RECOVER,
                  json_pack("{s:I, s:s}", "at_ns", (json_int_t)sm_wall_ns(), "reason",
                            "the process that ran it ended before the run did"),
                  recovered, a);
    sm_desks_load(a->desks, one_loaded, a);
    sm_conduct_load(a->conduct, one_loaded, a);
    if (sm_control_open(&a->loop, a->dir.dir_fd, a->store, sm_app_answer, a, &a->control, err) !=
        SM_OK)
        return err->code;
    sm_control_limit(a->control, (size_t)a->ceilings.peers);
    return SM_OK;
}

sm_rc sm_app_take_ceilings(sm_app *a, sm_err *err) {
    const sm_config *c = a->o.config;
    json_t *said = NULL, *one;
    size_t i;
    sm_ceilings fit = {.workers = c->workers,
                       .runs_per_worker = c->runs_per_worker,
                       .max_running = c->max_running,
                       .isolated = c->process_isolation};
    if (sm_ceilings_fit(&a->room, &fit, &said, err) != SM_OK)
        return err->code;
    a->ceilings = fit;
    json_array_foreach(said, i, one) {
        const char *origin = sm_json_str(c->origins, sm_json_str(one, "key", ""), "default");
        bool asked = strcmp(origin, "default") != 0;
        if (a->o.mode == SM_APP_DAEMON || asked)
            sm_log(asked ? SM_LOG_WARN : SM_LOG_INFO, "%s", sm_json_str(one, "text", ""));
    }
    json_decref(said);
    return SM_OK;
}

void sm_app_pool_options(const sm_app *a, sm_dispatcher_options *out) {
    const sm_config *c = a->o.config;
    bool load = a->o.mode == SM_APP_LOAD;
    /* A Lua heap with the holes in it, answers that are being read, and those of http.all. */
    uint64_t memory = (uint64_t)sm_json_int(c->limits, "memory", 0);
    uint64_t body = (uint64_t)sm_json_int(c->limits, "http_body", 0);
    uint64_t parallel = (uint64_t)sm_json_int(c->limits, "http_parallel", 0);
    out->workers = load ? 1 : a->ceilings.workers;
    out->runs_per_worker = load ? c->runs_per_worker : a->ceilings.runs_per_worker;
    out->max_running = load ? c->max_running : a->ceilings.max_running;
    out->max_processes = a->ceilings.processes;
    out->process_isolation = c->process_isolation;
    out->run_bytes = memory + memory / 4 + 2 * body;
    out->burst_bytes = body * parallel;
}

static const sm_secret *secret_of(void *app, const char *name) {
    const sm_app *a = app;
    return sm_config_secret(a->o.config, name);
}

sm_rc sm_app_build(sm_app *a, sm_err *err) {
    const sm_config *c = a->o.config;
    bool keeps = a->o.mode == SM_APP_DAEMON || a->o.mode == SM_APP_ONCE;
    const sm_secret *assoc = NULL;
    if (a->o.mode != SM_APP_LOAD) {
        sm_ceilings_measure("", &a->room);
        if (sm_app_take_ceilings(a, err) != SM_OK)
            return err->code;
    }
    if (keeps && open_store(a, err) != SM_OK)
        return err->code;
    bool generated = c->assoc == NULL;
    sm_err missing = SM_ERR_INIT;
    if (sm_config_assoc_secret(a->o.config, keeps, &assoc, &missing) != SM_OK && keeps)
        return sm_err_set(err, missing.code, "%s", missing.msg);
    if (a->desks && generated && !a->o.new_identity)
        sm_desks_guard(a->desks);
    a->intake = sm_intake_new(a->store, c->node, events_stored, a);
    sm_app_hush_configure(a);
    if (a->desks)
        sm_intake_nodes(a->intake, sm_desks_node, a->desks);
    sm_dispatcher_options dispatcher = {.loop = &a->loop,
                                        .self = a->o.self,
                                        .display = c->display,
                                        .report = sm_intake_report,
                                        .ctx = a->intake,
                                        .stuck = did_not_return,
                                        .stuck_ctx = a};
    sm_app_pool_options(a, &dispatcher);
    if (sm_dispatcher_new(&dispatcher, &a->dispatcher, err) != SM_OK)
        return err->code;
    sm_intake_bind(a->intake, a->dispatcher);
    sm_app_services_open(a);
    if (a->o.mode == SM_APP_DAEMON) {
        sm_failures_options failures = {.loop = &a->loop,
                                        .store = a->store,
                                        .desks = a->desks,
                                        .enabled = c->report_failures,
                                        .stored = events_stored,
                                        .ctx = a};
        a->failures = sm_failures_new(&failures);
        a->loading++;
        sm_failures_load(a->failures, one_loaded, a);
    }
    sm_runner_options runner = {.dispatcher = a->dispatcher,
                                .intake = a->intake,
                                .store = a->store,
                                .conduct = a->conduct,
                                .registrar_of = a->desks ? sm_desks_registrar : NULL,
                                .node_of = a->desks ? sm_desks_node : NULL,
                                .desks = a->desks,
                                .node = c->node,
                                .ended = sm_app_run_ended,
                                .secret_of = secret_of,
                                .ended_ctx = a};
    a->runner = sm_runner_new(&runner);
    if (a->o.mode == SM_APP_DAEMON) {
        a->scheduler = sm_scheduler_new(&a->loop, a->store, a->runner, sm_clock_system(),
                                        sm_app_reported, a, err);
        if (!a->scheduler)
            return err->code;
        sm_scheduler_watch(a->scheduler, sm_app_slots_passed, a);
        a->loading++;
        sm_scheduler_load(a->scheduler, one_loaded, a);
    }
    a->catalog = sm_catalog_new(c, assoc, a->dispatcher, a->store, sm_app_catalog_changed, a);
    if (a->o.mode == SM_APP_DAEMON)
        sm_app_disk_watch(a);
    sm_catalog_scan(a->catalog);
    return SM_OK;
}
