/* storewatch: see storewatch.h. One question is open at a time, so a stuck store is not asked more
 * and more. While the store refuses events it is also asked to write a little now and then: on an
 * idle process nothing else would notice that it can again.
 */
#include "daemon/storewatch.h"
#include "base/clock.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

enum { BEAT_MS = 1000, LATE_S = 5, TRY_BEATS = 5 };

struct sm_storewatch {
    sm_store *store;
    uv_timer_t timer;
    int64_t asked_ns; /* monotonic; 0: no question is open */
    double ping;
    bool failed;  /* the last read did not work */
    json_t *last; /* SM_OP_HEALTH; NULL before the first */
    unsigned beats;
    bool closed;
};

static void answered(void *ctx, sm_rc rc, const sm_err *err, const json_t *health) {
    sm_storewatch *p = ctx;
    (void)err;
    p->ping = (double)(sm_mono_ns() - p->asked_ns) / 1e9;
    p->asked_ns = 0;
    p->failed = rc != SM_OK;
    if (rc != SM_OK)
        return;
    json_decref(p->last);
    p->last = json_deep_copy(health);
}

static void on_beat(uv_timer_t *timer) {
    sm_storewatch *p = timer->data;
    if (p->asked_ns || sm_store_broken(p->store))
        return;
    if (sm_storewatch_refuses(p) && ++p->beats % TRY_BEATS == 0)
        sm_store_call(
            p->store, SM_OP_KV_PUT,
            json_pack("{s:s, s:I}", "key", "storewatch", "value", (json_int_t)sm_wall_ns()), NULL,
            NULL);
    p->asked_ns = sm_mono_ns();
    sm_store_call(p->store, SM_OP_HEALTH, NULL, answered, p);
}

sm_storewatch *sm_storewatch_new(uv_loop_t *loop, sm_store *store) {
    sm_storewatch *p = sm_calloc(1, sizeof *p);
    p->store = store;
    uv_timer_init(loop, &p->timer);
    p->timer.data = p;
    uv_timer_start(&p->timer, on_beat, 0, BEAT_MS);
    return p;
}

bool sm_storewatch_alive(const sm_storewatch *p) {
    bool late = p->asked_ns && sm_mono_ns() - p->asked_ns > LATE_S * SM_NS_PER_S;
    return !late && !p->failed && !sm_store_broken(p->store);
}

const char *sm_storewatch_refuses(const sm_storewatch *p) {
    return sm_json_str(p->last, "refuses", NULL);
}

json_t *sm_storewatch_snapshot(const sm_storewatch *p) {
    const char *refuses = sm_storewatch_refuses(p);
    json_t *outbox = json_object_get(p->last, "outbox"), *aside = json_object_get(p->last, "aside");
    double waited = p->asked_ns ? (double)(sm_mono_ns() - p->asked_ns) / 1e9 : 0;
    return json_pack("{s:f, s:f, s:I, s:s?, s:b, s:I, s:O?, s:I, s:O?, s:I, s:I}", "ping", p->ping,
                     "waited", waited, "bytes", (json_int_t)sm_json_int(p->last, "bytes", 0),
                     "refuses", refuses, "broken", sm_store_broken(p->store), "queued",
                     (json_int_t)sm_store_pending(p->store), "outbox", outbox, "outbox_limit",
                     (json_int_t)sm_json_int(p->last, "outbox_limit", 0), "aside", aside,
                     "set_aside", (json_int_t)sm_json_int(aside, "count", 0), "healed",
                     (json_int_t)sm_json_int(p->last, "healed", 0));
}

void sm_storewatch_troubles(const sm_storewatch *p, json_t *out) {
    const char *alarm = sm_json_str(p->last, "alarm", NULL);
    char *aside = sm_store_aside_sentence(json_object_get(p->last, "aside"));
    if (alarm)
        json_array_append_new(out, sm_json_text(alarm, strlen(alarm)));
    if (aside)
        json_array_append_new(out, sm_json_text(aside, strlen(aside)));
    free(aside);
}

void sm_storewatch_close(sm_storewatch *p) {
    if (!p || p->closed)
        return;
    p->closed = true;
    uv_close((uv_handle_t *)&p->timer, NULL);
}

void sm_storewatch_free(sm_storewatch *p) {
    if (!p)
        return;
    json_decref(p->last);
    free(p);
}
