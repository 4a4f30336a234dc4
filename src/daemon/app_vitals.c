/* app_vitals: how the process is doing, put together from its parts: alive, ready, the snapshot
 * that metrics and `status` show. Only reads, except for what it counts. Owned by the loop's
 * thread.
 */
#include "base/log.h"
#include "daemon/app_parts.h"
#include "daemon/selfproc.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void sm_app_run_ended(void *app, const json_t *report, bool repeat) {
    sm_app *a = app;
    if (repeat)
        sm_vitals_repeat(a->vitals);
    else
        sm_vitals_run(a->vitals, report);
    const sm_inspection *p = sm_catalog_find(a->catalog, sm_json_str(report, "id", ""));
    if (!repeat && a->failures && p)
        sm_failures_run(a->failures, p, report);
}

void sm_app_slots_passed(void *app, const char *outcome, int64_t n) {
    sm_app *a = app;
    sm_vitals_slots(a->vitals, outcome, n);
}

void sm_app_reloaded(sm_app *a) {
    size_t n;
    const sm_load_error *errors = sm_catalog_errors(a->catalog, &n);
    sm_vitals_reload(a->vitals, errors, n);
}

bool sm_app_alive(const sm_app *a) {
    return !a->storewatch || sm_storewatch_alive(a->storewatch);
}

static bool has_worker(const sm_app *a) {
    size_t i;
    bool found = false;
    json_t *status = sm_dispatcher_status(a->dispatcher), *worker;
    json_array_foreach(json_object_get(status, "workers"), i, worker) {
        found = found || strcmp(sm_json_str(worker, "state", ""), "ready") == 0;
    }
    json_decref(status);
    return found;
}

const char *sm_app_unready(const sm_app *a, char *out, size_t cap) {
    const char *refuses = a->storewatch ? sm_storewatch_refuses(a->storewatch) : NULL;
    if (a->stopping)
        snprintf(out, cap, "it is stopping");
    else if (!a->started)
        snprintf(out, cap, "it is still starting");
    else if (!sm_app_alive(a))
        snprintf(out, cap, "the store has not answered for 5 s");
    else if (refuses)
        snprintf(out, cap, "%s", refuses);
    else if (!has_worker(a))
        snprintf(out, cap, "no worker process is ready");
    else
        return NULL;
    return out;
}

/* Files with a fault, of them those whose last good version runs; how the disk is watched. */
static json_t *catalog_json(const sm_app *a) {
    sm_catalog_count n;
    sm_catalog_counts(a->catalog, &n);
    return json_pack("{s:I, s:I, s:I, s:f, s:f, s:I, s:b}", "inspections",
                     (json_int_t)n.inspections, "load_errors", (json_int_t)n.errors, "stale",
                     (json_int_t)n.stale, "scan", sm_catalog_scan_ms(a->catalog) / 1000, "walk",
                     sm_catalog_walk_ms(a->catalog) / 1000, "folders",
                     (json_int_t)(a->watch ? sm_watch_count(a->watch) : 0), "polling",
                     a->watch && sm_watch_polling(a->watch));
}

static json_t *conduct_json(const sm_app *a) {
    sm_conduct_counts counts = {0};
    if (a->conduct)
        sm_conduct_count(a->conduct, &counts);
    return json_pack("{s:i, s:i, s:I, s:I}", "quarantined", counts.quarantined, "penalised",
                     counts.penalised, "held", (json_int_t)counts.held, "repeated",
                     (json_int_t)counts.repeated);
}

static json_t *oldest_view(const sm_app *a) {
    size_t n;
    double oldest = -1;
    sm_inspection *const *list = sm_catalog_list(a->catalog, &n);
    for (size_t i = 0; a->desks && i < n; i++) {
        sm_view view;
        sm_registrar_peek(sm_desks_registrar(a->desks, list[i]->account), list[i]->id, &view);
        if (view.known && view.age_s > oldest)
            oldest = view.age_s;
    }
    return oldest >= 0 ? json_real(oldest) : json_null();
}

static json_t *accounts_json(const sm_app *a) {
    json_t *out = a->accounts ? sm_accounts_status(a->accounts) : json_array();
    if (a->desks)
        sm_desks_breakers(a->desks, out);
    return out;
}

/* What a person should know of: deliveries, and the heartbeat. */
static json_t *troubles(const sm_app *a) {
    json_t *out = a->desks ? sm_desks_troubles(a->desks) : json_array();
    json_t *beat = sm_heartbeat_status(a->heartbeat);
    const char *withheld = sm_json_str(beat, "withheld", NULL);
    const char *failure = sm_json_str(beat, "failure", NULL);
    char text[SM_ERR_MAX + 64];
    if (withheld || failure) {
        snprintf(text, sizeof text, "heartbeat %s: %s", withheld ? "is withheld" : "is not reached",
                 withheld ? withheld : failure);
        json_array_append_new(out, sm_json_text(text, strlen(text)));
    }
    json_decref(beat);
    if (a->storewatch)
        sm_storewatch_troubles(a->storewatch, out);
    return out;
}

json_t *sm_app_snapshot(const sm_app *a) {
    char why[SM_ERR_MAX];
    if (!a->catalog)
        return NULL;
    return json_pack(
        "{s:s, s:i, s:b, s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o, "
        "s:o, s:o, s:o, s:o}",
        "version", SM_VERSION, "pid", (int)getpid(), "alive", sm_app_alive(a), "unready",
        sm_app_unready(a, why, sizeof why), "vitals", sm_vitals_snapshot(a->vitals), "process",
        sm_selfproc(), "pool", sm_dispatcher_status(a->dispatcher), "catalog", catalog_json(a),
        "conduct", conduct_json(a), "configuration", sm_app_configuration(a), "accounts",
        accounts_json(a), "view_age", oldest_view(a), "deliveries",
        a->desks ? sm_desks_verdicts(a->desks) : json_object(), "trouble", troubles(a), "store",
        a->storewatch ? sm_storewatch_snapshot(a->storewatch) : json_null(), "log_dropped",
        (json_int_t)sm_log_dropped(), "heartbeat", sm_heartbeat_status(a->heartbeat), "memory",
        sm_memory_status(a->memory), "dql", sm_dql_status(a->dql), "exec", sm_exec_status(a->exec),
        "files", sm_files_status(a->files));
}
