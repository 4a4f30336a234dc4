/* app_upkeep: what recurs in a daemon: removing what is old; the timers of looking at the disk
 * (app_disk). Owned by the loop's thread.
 */
#include "base/clock.h"
#include "daemon/app_parts.h"
#include <stdlib.h>

enum { PRUNE_FIRST_MS = 60000, PRUNE_STEP_MS = 200, PRUNE_MS = 3600000 };

static void on_prune(uv_timer_t *timer);

/* A batch went: the next one soon, until nothing old is left; then in an hour. */
static void pruned(void *ctx, sm_rc rc, const sm_err *err, const json_t *gone) {
    (void)err;
    sm_app *a = ctx;
    int64_t n = sm_json_int(gone, "runs", 0) + sm_json_int(gone, "events", 0) +
                sm_json_int(gone, "slots", 0) + sm_json_int(gone, "memos", 0);
    if (!a->stopping)
        uv_timer_start(&a->prune, on_prune, rc == SM_OK && n > 0 ? PRUNE_STEP_MS : PRUNE_MS, 0);
}

/* Whose memory is kept however long it was not changed. */
static json_t *owners(const sm_app *a) {
    size_t n;
    sm_inspection *const *list = sm_catalog_list(a->catalog, &n);
    json_t *out = json_object();
    for (size_t i = 0; i < n; i++) {
        char *who = sm_memory_owner(list[i]);
        json_object_set_new(out, who, json_true());
        free(who);
    }
    return out;
}

static void on_prune(uv_timer_t *timer) {
    sm_app *a = timer->data;
    int64_t now = sm_wall_ns();
    const sm_config *c = a->o.config;
    json_t *args =
        json_pack("{s:I, s:I, s:i, s:I, s:o}", "runs_before_ns",
                  (json_int_t)(now - (int64_t)(c->keep_runs_s * 1e9)), "events_before_ns",
                  (json_int_t)(now - (int64_t)(c->keep_events_s * 1e9)), "batch", 1000, "now_ms",
                  (json_int_t)(now / SM_NS_PER_MS), "memos_of", owners(a));
    sm_store_call(a->store, SM_OP_PRUNE, args, pruned, a);
}

void sm_app_upkeep_open(sm_app *a) {
    uv_timer_t *timers[] = {&a->rescan, &a->look, &a->prune};
    for (size_t i = 0; i < SM_ARRAY_LEN(timers); i++) {
        uv_timer_init(&a->loop, timers[i]);
        timers[i]->data = a;
    }
}

void sm_app_upkeep_start(sm_app *a) {
    sm_app_disk_start(a);
    uv_timer_start(&a->prune, on_prune, PRUNE_FIRST_MS, 0);
}

void sm_app_upkeep_configure(sm_app *a, const sm_config *old) {
    const sm_config *c = a->o.config;
    if (c->keep_runs_s < old->keep_runs_s || c->keep_events_s < old->keep_events_s)
        uv_timer_start(&a->prune, on_prune, 0, 0);
}

void sm_app_upkeep_stop(sm_app *a) {
    uv_timer_stop(&a->rescan);
    uv_timer_stop(&a->look);
    uv_timer_stop(&a->prune);
}

void sm_app_upkeep_close(sm_app *a) {
    sm_watch_close(a->watch);
    sm_app_close_handle((uv_handle_t *)&a->rescan);
    sm_app_close_handle((uv_handle_t *)&a->look);
    sm_app_close_handle((uv_handle_t *)&a->prune);
}
