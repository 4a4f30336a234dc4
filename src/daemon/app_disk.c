/* app_disk: when a daemon looks at the disk: at once when the watch tells of a change, the whole
 * every 30 s, and every second where there is no watch.
 *
 * A walk of the whole stops the loop, so walks take at most 2 % of the time, however fast folders
 * come and go. A look at the files that were touched is cheap but for what follows from it: with
 * ten thousand inspections the list and the schedule take some 30 ms; so looks keep a distance as
 * well. Owned by the loop's thread.
 */
#include "base/clock.h"
#include "daemon/app_parts.h"

enum {
    WALK_MS = 30000,
    POLL_MS = 1000,
    SETTLE_MS = 200, /* age of a changed file of which the watch did not tell */
    WALK_SHARE = 50, /* a walk may take one part in so many of the time */
    LOOK_SHARE = 2   /* what follows a look likewise */
};

/* ---- the catalogue asks ---- */

static void take(void *ctx) {
    sm_watch_take(ctx);
}

static void begin(void *ctx) {
    sm_watch_begin(ctx);
}

static void folder(void *ctx, const char *rel) {
    sm_watch_folder(ctx, rel);
}

static void end(void *ctx, bool complete) {
    sm_watch_end(ctx, complete);
}

static int settle_ms(void *ctx) {
    return sm_watch_polling(ctx) ? POLL_MS : SETTLE_MS;
}

/* ---- timers ---- */

static void on_walk(uv_timer_t *timer);

/* Walks `ms` from now, unless that is planned earlier. */
static void plan_walk(sm_app *a, uint64_t ms) {
    if (!a->stopping &&
        (!uv_is_active((uv_handle_t *)&a->rescan) || uv_timer_get_due_in(&a->rescan) > ms))
        uv_timer_start(&a->rescan, on_walk, ms, 0);
}

/* Walks as soon as the share of the time allows. */
static void walk_soon(sm_app *a) {
    double rest = sm_catalog_walk_ms(a->catalog) * WALK_SHARE;
    double since = (double)(sm_mono_ns() - a->walked_ns) / (double)SM_NS_PER_MS;
    plan_walk(a, since >= rest ? 0 : (uint64_t)(rest - since) + 1);
}

static void on_walk(uv_timer_t *timer) {
    sm_app *a = timer->data;
    a->walked_ns = sm_mono_ns();
    sm_catalog_scan(a->catalog);
    if (sm_watch_files_differ(a->watch))
        sm_app_reconfigure(a);
    double rest = sm_catalog_walk_ms(a->catalog) * WALK_SHARE;
    double wait = sm_watch_polling(a->watch) ? POLL_MS : WALK_MS;
    plan_walk(a, (uint64_t)(wait > rest ? wait : rest));
}

static void on_look(uv_timer_t *timer);

static void plan_look(sm_app *a, uint64_t ms) {
    if (!a->stopping &&
        (!uv_is_active((uv_handle_t *)&a->look) || uv_timer_get_due_in(&a->look) > ms))
        uv_timer_start(&a->look, on_look, ms, 0);
}

/* Looks at once, unless the last look was so lately that others must have their turn. */
static void look_soon(sm_app *a) {
    double rest = sm_catalog_publish_ms(a->catalog) * LOOK_SHARE;
    double since = (double)(sm_mono_ns() - a->looked_ns) / (double)SM_NS_PER_MS;
    if (since < rest || sm_catalog_busy(a->catalog)) {
        plan_look(a, since < rest ? (uint64_t)(rest - since) + 1 : SM_WATCH_GATHER_MS);
        return;
    }
    a->looked_ns = sm_mono_ns();
    sm_catalog_look(a->catalog);
}

static void on_look(uv_timer_t *timer) {
    look_soon(timer->data);
}

/* Files are too young to be read. */
static void unsettled(void *ctx) {
    plan_look(ctx, SETTLE_MS);
}

/* ---- the watch tells ---- */

static void on_touched(void *ctx, const char *rel, sm_touch how) {
    sm_app *a = ctx;
    if (a->catalog)
        sm_catalog_touch(a->catalog, rel, how);
}

static void on_changed(void *ctx, unsigned what) {
    sm_app *a = ctx;
    if (a->stopping)
        return;
    if (what & SM_WATCH_ROOT)
        look_soon(a);
    bool links = (what & (SM_WATCH_ROOT | SM_WATCH_OTHER)) && sm_catalog_links(a->catalog);
    if ((what & SM_WATCH_FOLDERS) || links)
        walk_soon(a);
    if (what & SM_WATCH_CONFIG)
        sm_app_reconfigure(a);
}

/* ---- life ---- */

void sm_app_disk_files(sm_app *a) {
    const char *const *files = sm_app_config_files(a);
    size_t n = 0;
    while (files[n])
        n++;
    sm_watch_files(a->watch, files, n);
}

void sm_app_disk_watch(sm_app *a) {
    const sm_watch_options opt = {.loop = &a->loop,
                                  .root = a->o.config->root,
                                  .suffix = ".lua",
                                  .touched = on_touched,
                                  .changed = on_changed,
                                  .ctx = a};
    a->watch = sm_watch_new(&opt);
    sm_app_disk_files(a);
    sm_catalog_watched(a->catalog, &(sm_catalog_eyes){.take = take,
                                                      .begin = begin,
                                                      .folder = folder,
                                                      .end = end,
                                                      .settle_ms = settle_ms,
                                                      .ctx = a->watch,
                                                      .unsettled = unsettled,
                                                      .unsettled_ctx = a});
    a->walked_ns = sm_mono_ns();
}

void sm_app_disk_start(sm_app *a) {
    plan_walk(a, sm_watch_polling(a->watch) ? POLL_MS : WALK_MS);
}
