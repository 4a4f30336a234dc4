/* app_hush: events that are held back: maintenance windows are told to intake, and every few
 * seconds the store makes up for mutes and windows that have ended. Owned by the loop's thread.
 */
#include "base/clock.h"
#include "base/log.h"
#include "daemon/app_parts.h"

enum { LOOK_MS = 2000 };

static void on_look(uv_timer_t *timer);

static void looked(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    sm_app *a = ctx;
    int64_t made = sm_json_int(result, "made", 0);
    if (rc != SM_OK)
        sm_log(SM_LOG_DEBUG, "events that are held back could not be looked at: %s", err->msg);
    if (made > 0) {
        sm_log(SM_LOG_INFO, "%lld %s sent after a mute or a maintenance window", (long long)made,
               made == 1 ? "event is" : "events are");
        if (a->desks && !a->stopping)
            sm_desks_poke(a->desks);
    }
    if (!a->stopping)
        uv_timer_start(&a->hush, on_look, sm_json_bool(result, "more", false) ? 0 : LOOK_MS, 0);
}

static void on_look(uv_timer_t *timer) {
    sm_app *a = timer->data;
    size_t n;
    int64_t now_ns = sm_wall_ns();
    sm_inspection *const *list = sm_catalog_list(a->catalog, &n);
    json_t *holding = json_array();
    for (size_t i = 0; sm_windows_any(a->windows) && i < n; i++)
        if (sm_windows_hold(a->windows, list[i]->id, now_ns / SM_NS_PER_S))
            json_array_append_new(holding, json_string(list[i]->id));
    sm_store_call(a->store, SM_OP_RECONCILE,
                  json_pack("{s:I, s:o}", "now_ns", (json_int_t)now_ns, "holding", holding), looked,
                  a);
}

void sm_app_hush_open(sm_app *a) {
    uv_timer_init(&a->loop, &a->hush);
    a->hush.data = a;
}

void sm_app_hush_configure(sm_app *a) {
    const sm_config *c = a->o.config;
    sm_windows *made = sm_windows_new(c->maintenance, c->timezone);
    sm_intake_windows(a->intake, made);
    sm_windows_free(a->windows);
    a->windows = made;
}

void sm_app_hush_start(sm_app *a) {
    uv_timer_start(&a->hush, on_look, LOOK_MS, 0);
}

void sm_app_hush_close(sm_app *a) {
    sm_app_close_handle((uv_handle_t *)&a->hush);
}
