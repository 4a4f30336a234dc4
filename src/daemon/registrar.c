/* registrar: asks the platform about inspections, registers and updates them, remembers the answers
 * (see registrar.h). It does not run anything and never guesses: without any view nothing runs.
 * One question goes through: wanted -> list -> (create -> list again | modify) -> view stored ->
 * answered. Questions about one inspection that come meanwhile join it; those that want another
 * text registered, or that must not be answered by a list already sent, are asked after it.
 */
#include "daemon/registrar.h"
#include "daemon/registrar_entry.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "platform/checker.h"
#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 100, FUTILE_MAX = 3 };
/* A platform may show a creation late; a second one would make a twin. */
#define SHOWN_WITHIN_NS (600 * SM_NS_PER_S)

typedef struct batch { /* one `list` under way */
    sm_registrar *registrar;
    sm_entry *first;
    json_t *extra; /* ids that were taken along, or NULL */
} batch;

typedef struct step { /* one create or modify under way */
    sm_registrar *registrar;
    sm_entry *entry;
} step;

static void want(sm_registrar *r, sm_entry *e, sm_waiter *w);

/* Ends the question about e: everybody who waits gets the view; then the next one is asked. */
static void answer(sm_registrar *r, sm_entry *e, const char *error) {
    sm_waiter *list = e->waiters, *later = e->later;
    sm_inspection *inspection = e->inspection;
    e->waiters = e->later = NULL;
    e->inspection = NULL;
    e->asking = false;
    while (list) {
        sm_waiter *w = list;
        list = w->next;
        r->waiting--;
        sm_view v;
        sm_entry_view(e, error, &v);
        w->done(w->ctx, &v);
        sm_waiter_free(w);
    }
    while (later) {
        sm_waiter *w = later;
        later = w->next;
        w->next = NULL;
        want(r, e, w);
    }
    sm_inspection_unref(inspection);
}

static void modified(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    (void)result;
    step *s = ctx;
    s->registrar->under_way--;
    if (rc == SM_OK) {
        sm_entry_registered(s->entry, s->entry->payload);
        s->entry->futile++;
    } else
        sm_log(SM_LOG_WARN, "%s: the platform did not take its new title or parameters: %s",
               s->entry->id, err->msg);
    sm_entry_keep(s->registrar, s->entry);
    answer(s->registrar, s->entry, rc == SM_OK ? NULL : err->msg);
    free(s);
}

static void on_turn(uv_timer_t *timer);

/* Puts e among what the next turn asks. */
static void ask(sm_registrar *r, sm_entry *e) {
    *r->wanted_end = e;
    r->wanted_end = &e->next;
    e->next = NULL;
    e->sent = false;
    if (!uv_is_active((uv_handle_t *)&r->turn) && !uv_is_closing((uv_handle_t *)&r->turn))
        uv_timer_start(&r->turn, on_turn, 0, 0);
}

static void created(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    (void)result;
    step *s = ctx;
    sm_entry *e = s->entry;
    s->registrar->under_way--;
    if (rc == SM_OK || rc == SM_EXISTS) {
        /* create's answer is not documented to carry the UUID: list again. */
        e->created = true;
        e->created_ns = rc == SM_OK ? sm_mono_ns() : 0;
        sm_log(SM_LOG_DEBUG, "%s: registered on %s", e->id, s->registrar->target->node);
        ask(s->registrar, e);
    } else {
        answer(s->registrar, e, err->msg);
    }
    free(s);
}

/* Two objects with one key: the oldest counts, and a person should delete the other. */
static void warn_twins(sm_entry *e, const json_t *items) {
    size_t i, n = 0;
    json_t *item;
    json_array_foreach(items, i, item) {
        n += strcmp(sm_json_str(item, "refKey", ""), e->ref_key) == 0;
    }
    if (n > 1 && !e->twins)
        sm_log(SM_LOG_WARN,
               "%s: the platform holds %zu inspections with its association key %s; the oldest "
               "(%s) is "
               "taken, delete the others there",
               e->id, n, e->ref_key, e->uuid);
    e->twins = n > 1;
}

/* Views of the entries that were taken along. One that is gone there is asked about when it is due.
 */
static void take_extra(sm_registrar *r, const batch *b, const json_t *items) {
    size_t i;
    json_t *id;
    json_array_foreach(items ? b->extra : NULL, i, id) {
        sm_entry *e = sm_map_get(&r->entries, json_string_value(id));
        const json_t *item = e && e->ref_key ? sm_checker_find(items, e->ref_key) : NULL;
        if (!e || e->asking || !e->registered)
            continue;
        if (!item) {
            e->seen_ns = 0;
            continue;
        }
        sm_entry_take(e, item);
        sm_entry_keep(r, e);
    }
}

/* refused: why nothing is created, or NULL. */
static void may_create(void *ctx, const char *refused) {
    step *s = ctx;
    sm_registrar *r = s->registrar;
    if (!refused) {
        r->target->create(r->target->ctx, s->entry->payload, created, s);
        return;
    }
    r->under_way--;
    answer(r, s->entry, refused);
    free(s);
}

/* Was a creation accepted not long ago? */
static bool awaited(const sm_entry *e) {
    return e->created_ns > 0 && sm_mono_ns() - e->created_ns < SHOWN_WITHIN_NS;
}

/* One that shows another text however often it is modified is left as it is: each try costs a call.
 */
static void weigh(sm_entry *e) {
    if (e->registered) {
        e->futile = 0;
    } else if (e->futile >= FUTILE_MAX) {
        if (e->futile == FUTILE_MAX)
            sm_log(SM_LOG_WARN,
                   "%s: the platform took its title and parameters %d times and still shows "
                   "others; they are left as they are until the script changes",
                   e->id, FUTILE_MAX);
        e->futile = FUTILE_MAX + 1;
        sm_entry_registered(e, e->payload);
    }
}

static void listed(void *ctx, sm_rc rc, const sm_err *err, const json_t *items) {
    batch *b = ctx;
    sm_registrar *r = b->registrar;
    sm_entry *e = b->first;
    r->under_way--;
    while (e) {
        sm_entry *next = e->next;
        e->next = NULL;
        const json_t *item = rc == SM_OK ? sm_checker_find(items, e->inspection->ref_key) : NULL;
        step *s;
        if (rc != SM_OK) {
            answer(r, e, err->msg);
        } else if (!item && (e->created || awaited(e))) {
            answer(r, e, "the platform took the registration but does not show it");
        } else if (!item && r->stopped) {
            answer(r, e, r->stopped); /* nothing new for a platform that is left */
        } else if (!item) {
            s = sm_calloc(1, sizeof *s);
            *s = (step){r, e};
            r->under_way++;
            if (r->identity)
                sm_identity_ask(r->identity, e->payload, may_create, s);
            else
                may_create(s, NULL);
        } else {
            sm_entry_take(e, item);
            warn_twins(e, items);
            weigh(e);
            if (!e->registered && !r->stopped) {
                s = sm_calloc(1, sizeof *s);
                *s = (step){r, e};
                r->under_way++;
                r->target->modify(r->target->ctx, e->inspection->ref_key, e->payload, modified, s);
            } else {
                sm_entry_keep(r, e);
                answer(r, e, NULL);
            }
        }
        e = next;
    }
    take_extra(r, b, rc == SM_OK ? items : NULL);
    json_decref(b->extra);
    free(b);
}

/* A call that has room takes along what was seen longest ago, so that a spent budget still keeps
 * every view about equally old. Remote platforms only. */
static void fill_list(sm_registrar *r, batch *b, json_t *keys) {
    sm_entry *oldest[LIST_MAX];
    size_t n = 0, room = LIST_MAX - json_array_size(keys), pos = 0;
    int64_t before = sm_wall_ns() - r->max_age_ns;
    for (sm_entry *e;
         r->max_age_ns > 0 && room > 0 && (e = sm_map_next(&r->entries, &pos, NULL));) {
        if (e->asking || !e->known || !e->registered || !e->payload || e->seen_ns > before)
            continue;
        if (n == room && e->seen_ns >= oldest[n - 1]->seen_ns)
            continue;
        size_t i = n < room ? n++ : n - 1;
        for (; i > 0 && oldest[i - 1]->seen_ns > e->seen_ns; i--)
            oldest[i] = oldest[i - 1];
        oldest[i] = e;
    }
    b->extra = n ? json_array() : NULL;
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(b->extra, json_string(oldest[i]->id));
        json_array_append_new(keys, json_string(oldest[i]->ref_key));
    }
}

static void send_list(sm_registrar *r, batch *b, json_t *keys) {
    fill_list(r, b, keys);
    r->under_way++;
    r->target->list(r->target->ctx, keys, listed, b);
    json_decref(keys);
}

static void on_turn(uv_timer_t *timer) {
    sm_registrar *r = timer->data;
    if (r->stopped)
        return;
    sm_entry *e = r->wanted, **end = NULL;
    batch *b = NULL;
    json_t *keys = NULL;
    r->wanted = NULL; /* what is wanted from now on is another turn's */
    r->wanted_end = &r->wanted;
    while (e) {
        sm_entry *next = e->next;
        e->next = NULL;
        if (e->fresh) {
            answer(r, e, NULL);
            e = next;
            continue;
        }
        if (!b) {
            b = sm_calloc(1, sizeof *b);
            b->registrar = r;
            end = &b->first;
            keys = json_array();
        }
        e->sent = true;
        *end = e;
        end = &e->next;
        json_array_append_new(keys, json_string(e->inspection->ref_key));
        if (json_array_size(keys) == LIST_MAX) {
            send_list(r, b, keys);
            b = NULL;
        }
        e = next;
    }
    if (b)
        send_list(r, b, keys);
}

static json_t *payload_of(const sm_inspection *p) {
    return sm_checker_payload(p->id, p->ref_key, sm_json_str(p->spec, "title", ""),
                              sm_json_str(p->spec, "doc", ""),
                              sm_json_str(p->spec, "category", "general"), p->schema);
}

/* Begins a question, or puts w to the one that is open. Takes w. */
static void want(sm_registrar *r, sm_entry *e, sm_waiter *w) {
    sm_inspection *p = w->inspection;
    json_t *payload = e->inspection == p ? json_incref(e->payload) : payload_of(p);
    if (e->asking) {
        /* The payload holds the association key as well. */
        bool joins = !(w->ask && e->sent) && json_equal(e->payload, payload);
        e->fresh = e->fresh && !(joins && w->ask);
        sm_waiters_add(joins ? &e->waiters : &e->later, w);
        json_decref(payload);
        return;
    }
    if (e->ref_key && strcmp(e->ref_key, p->ref_key) != 0)
        sm_entry_forget(e);
    if (e->payload && !json_equal(e->payload, payload)) {
        e->futile = 0; /* what the platform did with another text says nothing about this one */
        if (strcmp(sm_json_str(e->payload, "refKey", ""), p->ref_key) != 0)
            e->created_ns = 0;
    }
    json_decref(e->payload);
    e->payload = payload;
    e->inspection = sm_inspection_ref(p);
    e->asking = true;
    e->created = false;
    e->waiters = w;
    int64_t age = sm_wall_ns() - e->seen_ns;
    e->fresh = !w->ask && e->known && e->registered && json_equal(e->registered, payload) &&
               age >= 0 && age < r->max_age_ns;
    ask(r, e);
}

/* Answers what is open; later answers of the platform find nobody waiting. */
static void abandon(sm_registrar *r, sm_entry *e, const char *why) {
    sm_waiter *lists[] = {e->waiters, e->later};
    e->waiters = e->later = NULL;
    for (size_t i = 0; i < SM_ARRAY_LEN(lists); i++) {
        while (lists[i]) {
            sm_waiter *w = lists[i];
            sm_view v;
            lists[i] = w->next;
            r->waiting--;
            sm_entry_view(e, why, &v);
            w->done(w->ctx, &v);
            sm_waiter_free(w);
        }
    }
}

void sm_registrar_ensure(sm_registrar *r, sm_inspection *inspection, bool must_ask,
                         sm_registrar_done done, void *ctx) {
    sm_waiter *w = sm_calloc(1, sizeof *w);
    *w = (sm_waiter){
        .inspection = sm_inspection_ref(inspection), .ask = must_ask, .done = done, .ctx = ctx};
    r->waiting++;
    if (r->stopped) {
        sm_entry *e = sm_entry_get(r, inspection->id);
        sm_waiters_add(&e->waiters, w);
        abandon(r, e, r->stopped);
        return;
    }
    want(r, sm_entry_get(r, inspection->id), w);
}

void sm_registrar_peek(const sm_registrar *r, const char *id, sm_view *out) {
    const sm_entry *e = sm_map_get(&r->entries, id);
    if (e)
        sm_entry_view(e, NULL, out);
    else
        *out = (sm_view){.known = false};
}

size_t sm_registrar_waiting(const sm_registrar *r) {
    return r->waiting;
}

void sm_registrar_set_max_age(sm_registrar *r, double max_age_s) {
    r->max_age_ns = (int64_t)(max_age_s * 1e9);
}

void sm_registrar_guard(sm_registrar *r) {
    if (!r->identity)
        r->identity = sm_identity_new(r->target);
}

void sm_registrar_stop(sm_registrar *r, const char *why) {
    size_t pos = 0;
    r->stopped = why;
    for (sm_entry *e; (e = sm_map_next(&r->entries, &pos, NULL));)
        abandon(r, e, why);
}

void sm_registrar_leave(sm_registrar *r, sm_registrar *to, const char *why) {
    size_t pos = 0;
    r->stopped = why;
    for (sm_entry *e; (e = sm_map_next(&r->entries, &pos, NULL));) {
        sm_waiter *lists[] = {e->waiters, e->later};
        e->waiters = e->later = NULL;
        for (size_t i = 0; i < SM_ARRAY_LEN(lists); i++) {
            while (lists[i]) {
                sm_waiter *w = lists[i];
                lists[i] = w->next;
                r->waiting--;
                sm_registrar_ensure(to, w->inspection, w->ask, w->done, w->ctx);
                sm_waiter_free(w);
            }
        }
    }
}

bool sm_registrar_idle(const sm_registrar *r) {
    return r->under_way == 0;
}

sm_registrar *sm_registrar_new(uv_loop_t *loop, sm_store *store, const sm_target *target,
                               double max_age_s) {
    sm_registrar *r = sm_calloc(1, sizeof *r);
    r->loop = loop;
    r->store = store;
    r->target = target;
    r->max_age_ns = (int64_t)(max_age_s * 1e9);
    r->wanted_end = &r->wanted;
    sm_map_init(&r->entries);
    uv_timer_init(loop, &r->turn);
    r->turn.data = r;
    return r;
}

void sm_registrar_close(sm_registrar *r) {
    if (!uv_is_closing((uv_handle_t *)&r->turn))
        uv_close((uv_handle_t *)&r->turn, NULL);
}

void sm_registrar_free(sm_registrar *r) {
    if (!r)
        return;
    size_t pos = 0;
    for (sm_entry *e; (e = sm_map_next(&r->entries, &pos, NULL));)
        sm_entry_free(e);
    sm_map_fini(&r->entries);
    sm_identity_free(r->identity);
    free(r);
}
