/* ahead: see ahead.h.
 *
 * Once a second it looks over what is loaded. What is due within two seconds is asked about (the
 * registrar makes one question of all of them, and answers from memory what is fresh); what could
 * not be registered is asked about again after 5 s to 5 min, full jitter.
 */
#include "daemon/ahead.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rand.h"
#include <stdlib.h>
#include <string.h>

enum { LOOK_MS = 1000, AHEAD_S = 2, AGAIN_MS = 5000, AGAIN_CAP_MS = 300000 };

typedef struct item {
    char *id;
    sm_ahead *ahead;
    int64_t asked_slot; /* the slot that was last asked ahead for */
    bool unregistered;
    bool owed; /* its first run */
    bool asking;
    unsigned tries;
    int64_t again_ns; /* monotonic */
} item;

struct sm_ahead {
    const sm_catalog *catalog;
    sm_desks *desks;
    sm_scheduler *scheduler;
    uv_timer_t timer;
    sm_map items;
    bool closed;
};

static item *item_get(sm_ahead *a, const char *id) {
    item *i = sm_map_get(&a->items, id);
    if (!i) {
        i = sm_calloc(1, sizeof *i);
        i->id = sm_strdup(id);
        i->ahead = a;
        i->asked_slot = INT64_MIN;
        sm_map_put(&a->items, id, i);
    }
    return i;
}

static void nothing(void *ctx, const sm_view *view) {
    (void)ctx, (void)view;
}

static void later(item *i) {
    int64_t wait =
        sm_jitter(AGAIN_MS, AGAIN_CAP_MS, i->tries < 20 ? i->tries : 20, sm_rand_below(UINT64_MAX));
    i->again_ns = sm_mono_ns() + (wait + LOOK_MS) * SM_NS_PER_MS;
    i->tries++;
}

static void asked_again(void *ctx, const sm_view *view) {
    item *i = ctx;
    i->asking = false;
    if (i->ahead->closed)
        return;
    if (!view->known) {
        later(i);
        return;
    }
    i->unregistered = false;
    i->tries = 0;
    if (i->owed && view->status == 0)
        sm_scheduler_first(i->ahead->scheduler, i->id);
    i->owed = false;
}

static void on_look(uv_timer_t *timer) {
    sm_ahead *a = timer->data;
    size_t n;
    sm_inspection *const *list = sm_catalog_list(a->catalog, &n);
    int64_t now = sm_wall_ns() / SM_NS_PER_S, mono = sm_mono_ns(), slot;
    for (size_t k = 0; k < n; k++) {
        sm_inspection *p = list[k];
        item *i = sm_map_get(&a->items, p->id);
        sm_registrar *registrar = sm_desks_registrar(a->desks, p->account);
        if (i && i->unregistered && !i->asking && mono >= i->again_ns) {
            i->asking = true;
            sm_registrar_ensure(registrar, p, true, asked_again, i);
        }
        if (!sm_scheduler_next(a->scheduler, p->id, &slot) || slot > now + AHEAD_S || slot < now)
            continue;
        i = i ? i : item_get(a, p->id);
        if (i->asked_slot != slot)
            sm_registrar_ensure(registrar, p, false, nothing, NULL);
        i->asked_slot = slot;
    }
}

void sm_ahead_unregistered(sm_ahead *a, const char *id, bool first) {
    item *i = item_get(a, id);
    i->owed = i->owed || first;
    if (i->unregistered)
        return;
    i->unregistered = true;
    i->tries = 0;
    later(i);
}

sm_ahead *sm_ahead_new(uv_loop_t *loop, const sm_catalog *catalog, sm_desks *desks,
                       sm_scheduler *scheduler) {
    sm_ahead *a = sm_calloc(1, sizeof *a);
    a->catalog = catalog;
    a->desks = desks;
    a->scheduler = scheduler;
    sm_map_init(&a->items);
    uv_timer_init(loop, &a->timer);
    a->timer.data = a;
    uv_timer_start(&a->timer, on_look, LOOK_MS, LOOK_MS);
    return a;
}

void sm_ahead_close(sm_ahead *a) {
    if (!a || a->closed)
        return;
    a->closed = true;
    uv_close((uv_handle_t *)&a->timer, NULL);
}

void sm_ahead_free(sm_ahead *a) {
    if (!a)
        return;
    size_t pos = 0;
    for (item *i; (i = sm_map_next(&a->items, &pos, NULL));) {
        free(i->id);
        free(i);
    }
    sm_map_fini(&a->items);
    free(a);
}
