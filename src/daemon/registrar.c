/* registrar: asks the platform about inspections, registers and updates them, remembers the answers
 * (see registrar.h). It does not run anything and never guesses: without any view nothing runs.
 * One question goes through: wanted -> list -> (create -> list again | modify) -> view stored ->
 * answered. Questions about one inspection that come meanwhile join it; those that want another
 * text registered, or that must not be answered by a list already sent, are asked after it.
 */
#include "daemon/registrar.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "daemon/identity.h"
#include "platform/checker.h"
#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 100 };

typedef struct waiter {
    struct waiter *next;
    sm_inspection *inspection; /* referenced */
    bool ask;
    sm_registrar_done done;
    void *ctx;
} waiter;

typedef struct entry {  /* one inspection, by function id */
    struct entry *next; /* in `wanted` or in a batch */
    char *id;
    sm_inspection *inspection; /* referenced while a question is open */
    json_t *payload;           /* what we want registered; NULL until asked */
    json_t *registered;        /* payload that the platform is known to have */
    bool known;
    int status;
    char *uuid, *ref_key;
    json_t *params;
    int64_t seen_ns; /* wall */
    bool asking;     /* in `wanted` or under way */
    bool fresh;      /* memory answers this question */
    bool sent;       /* its list is under way, or more */
    bool created;    /* create was sent for this question: a second one would go round for ever */
    waiter *waiters; /* of this question, in order */
    waiter *later;   /* of the next one */
} entry;

struct sm_registrar {
    uv_loop_t *loop;
    sm_store *store;
    const sm_target *target;
    int64_t max_age_ns;
    sm_map entries;
    entry *wanted, **wanted_end; /* to be asked at the next turn, in order */
    sm_identity *identity;       /* guards creations, or NULL */
    uv_timer_t turn;             /* fires once the loop has collected what is wanted */
    size_t waiting;
    void (*ready)(void *ctx);
    void *ready_ctx;
};

typedef struct batch { /* one `list` under way */
    sm_registrar *registrar;
    entry *first;
    json_t *extra; /* ids that were taken along, or NULL */
} batch;

typedef struct step { /* one create or modify under way */
    sm_registrar *registrar;
    entry *entry;
} step;

static void want(sm_registrar *r, entry *e, waiter *w);

static entry *entry_get(sm_registrar *r, const char *id) {
    entry *e = sm_map_get(&r->entries, id);
    if (!e) {
        e = sm_calloc(1, sizeof *e);
        e->id = sm_strdup(id);
        e->params = json_object();
        sm_map_put(&r->entries, id, e);
    }
    return e;
}

static void waiter_free(waiter *w) {
    sm_inspection_unref(w->inspection);
    free(w);
}

static void waiters_add(waiter **list, waiter *w) {
    while (*list)
        list = &(*list)->next;
    *list = w;
}

static void waiters_free(waiter *list) {
    for (waiter *next; list; list = next) {
        next = list->next;
        waiter_free(list);
    }
}

/* What is known belongs to another association key: it says nothing about this one. */
static void forget(entry *e) {
    json_decref(e->registered);
    json_decref(e->params);
    free(e->uuid);
    free(e->ref_key);
    e->registered = NULL;
    e->params = json_object();
    e->uuid = e->ref_key = NULL;
    e->known = false;
    e->status = 0;
    e->seen_ns = 0;
}

static void entry_free(entry *e) {
    waiters_free(e->waiters);
    waiters_free(e->later);
    sm_inspection_unref(e->inspection);
    forget(e);
    json_decref(e->params);
    json_decref(e->payload);
    free(e->id);
    free(e);
}

static void view_of(const entry *e, const char *error, sm_view *v) {
    int64_t age = sm_wall_ns() - e->seen_ns;
    *v = (sm_view){.known = e->known,
                   .status = e->status,
                   .uuid = e->uuid,
                   .params = e->params,
                   .age_s = e->known && age > 0 ? (double)age / 1e9 : 0,
                   .error = error};
}

/* Ends the question about e: everybody who waits gets the view; then the next one is asked. */
static void answer(sm_registrar *r, entry *e, const char *error) {
    waiter *list = e->waiters, *later = e->later;
    sm_inspection *inspection = e->inspection;
    e->waiters = e->later = NULL;
    e->inspection = NULL;
    e->asking = false;
    while (list) {
        waiter *w = list;
        list = w->next;
        r->waiting--;
        sm_view v;
        view_of(e, error, &v);
        w->done(w->ctx, &v);
        waiter_free(w);
    }
    while (later) {
        waiter *w = later;
        later = w->next;
        w->next = NULL;
        want(r, e, w);
    }
    sm_inspection_unref(inspection);
}

static void kept(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    (void)ctx, (void)result;
    if (rc != SM_OK)
        sm_log(SM_LOG_WARN, "what the platform said could not be kept: %s", err->msg);
}

static void persist(sm_registrar *r, const entry *e) {
    const char *account = e->inspection ? e->inspection->account : r->target->account;
    json_t *args =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:o, s:o, s:I}", "node", r->target->node,
                  "account", account, "id", e->id, "ref_key", e->ref_key, "uuid", e->uuid, "title",
                  sm_json_str(e->payload, "title", ""), "status", e->status, "params",
                  json_deep_copy(e->params), "payload",
                  e->registered ? json_deep_copy(e->registered) : json_null(), "seen_ns",
                  (json_int_t)e->seen_ns);
    sm_store_call(r->store, SM_OP_REGISTRY_PUT, args, kept, NULL);
}

static void set_registered(entry *e, json_t *payload) {
    json_decref(e->registered);
    e->registered = json_incref(payload);
}

/* Takes over what the platform shows of e. */
static void take_item(entry *e, const json_t *item) {
    const char *uuid = sm_json_str(item, "uuid", "");
    const json_t *kwargs = json_object_get(json_object_get(item, "jsonScript"), "callKwargs");
    json_decref(e->params);
    e->params = json_is_object(kwargs) ? json_deep_copy(kwargs) : json_object();
    if (!e->uuid || strcmp(e->uuid, uuid) != 0) {
        free(e->uuid);
        e->uuid = sm_strdup(uuid);
    }
    char *ref_key = sm_strdup(sm_json_str(e->payload, "refKey", ""));
    free(e->ref_key);
    e->ref_key = ref_key;
    e->status = (int)sm_json_int(item, "status", 0);
    e->known = true;
    e->seen_ns = sm_wall_ns();
    set_registered(e, sm_checker_differs(e->payload, item) ? NULL : e->payload);
}

static void modified(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    (void)result;
    step *s = ctx;
    if (rc == SM_OK)
        set_registered(s->entry, s->entry->payload);
    else
        sm_log(SM_LOG_WARN, "%s: the platform did not take its new title or parameters: %s",
               s->entry->id, err->msg);
    persist(s->registrar, s->entry);
    answer(s->registrar, s->entry, rc == SM_OK ? NULL : err->msg);
    free(s);
}

static void on_turn(uv_timer_t *timer);

/* Puts e among what the next turn asks. */
static void ask(sm_registrar *r, entry *e) {
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
    entry *e = s->entry;
    if (rc == SM_OK || rc == SM_EXISTS) {
        /* create's answer is not documented to carry the UUID: list again. */
        e->created = true;
        sm_log(SM_LOG_DEBUG, "%s: registered on %s", e->id, s->registrar->target->node);
        ask(s->registrar, e);
    } else {
        answer(s->registrar, e, err->msg);
    }
    free(s);
}

/* Views of the entries that were taken along. One that is gone there is asked about when it is due.
 */
static void take_extra(sm_registrar *r, const batch *b, const json_t *items) {
    size_t i;
    json_t *id;
    json_array_foreach(items ? b->extra : NULL, i, id) {
        entry *e = sm_map_get(&r->entries, json_string_value(id));
        const json_t *item = e && e->ref_key ? sm_checker_find(items, e->ref_key) : NULL;
        if (!e || e->asking || !e->registered)
            continue;
        if (!item) {
            e->seen_ns = 0;
            continue;
        }
        take_item(e, item);
        persist(r, e);
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
    answer(r, s->entry, refused);
    free(s);
}

static void listed(void *ctx, sm_rc rc, const sm_err *err, const json_t *items) {
    batch *b = ctx;
    sm_registrar *r = b->registrar;
    entry *e = b->first;
    while (e) {
        entry *next = e->next;
        e->next = NULL;
        const json_t *item = rc == SM_OK ? sm_checker_find(items, e->inspection->ref_key) : NULL;
        step *s;
        if (rc != SM_OK) {
            answer(r, e, err->msg);
        } else if (!item && e->created) {
            answer(r, e, "the platform took the registration but does not show it");
        } else if (!item) {
            s = sm_calloc(1, sizeof *s);
            *s = (step){r, e};
            if (r->identity)
                sm_identity_ask(r->identity, e->payload, may_create, s);
            else
                may_create(s, NULL);
        } else {
            take_item(e, item);
            if (!e->registered) {
                s = sm_calloc(1, sizeof *s);
                *s = (step){r, e};
                r->target->modify(r->target->ctx, e->inspection->ref_key, e->payload, modified, s);
            } else {
                persist(r, e);
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
    entry *oldest[LIST_MAX];
    size_t n = 0, room = LIST_MAX - json_array_size(keys), pos = 0;
    int64_t before = sm_wall_ns() - r->max_age_ns;
    for (entry *e; r->max_age_ns > 0 && room > 0 && (e = sm_map_next(&r->entries, &pos, NULL));) {
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
    r->target->list(r->target->ctx, keys, listed, b);
    json_decref(keys);
}

static void on_turn(uv_timer_t *timer) {
    sm_registrar *r = timer->data;
    entry *e = r->wanted, **end = NULL;
    batch *b = NULL;
    json_t *keys = NULL;
    r->wanted = NULL; /* what is wanted from now on is another turn's */
    r->wanted_end = &r->wanted;
    while (e) {
        entry *next = e->next;
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
static void want(sm_registrar *r, entry *e, waiter *w) {
    sm_inspection *p = w->inspection;
    json_t *payload = e->inspection == p ? json_incref(e->payload) : payload_of(p);
    if (e->asking) {
        /* The payload holds the association key as well. */
        bool joins = !(w->ask && e->sent) && json_equal(e->payload, payload);
        e->fresh = e->fresh && !(joins && w->ask);
        waiters_add(joins ? &e->waiters : &e->later, w);
        json_decref(payload);
        return;
    }
    if (e->ref_key && strcmp(e->ref_key, p->ref_key) != 0)
        forget(e);
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

void sm_registrar_ensure(sm_registrar *r, sm_inspection *inspection, bool must_ask,
                         sm_registrar_done done, void *ctx) {
    waiter *w = sm_calloc(1, sizeof *w);
    *w = (waiter){
        .inspection = sm_inspection_ref(inspection), .ask = must_ask, .done = done, .ctx = ctx};
    r->waiting++;
    want(r, entry_get(r, inspection->id), w);
}

void sm_registrar_peek(const sm_registrar *r, const char *id, sm_view *out) {
    const entry *e = sm_map_get(&r->entries, id);
    if (e)
        view_of(e, NULL, out);
    else
        *out = (sm_view){.known = false};
}

size_t sm_registrar_waiting(const sm_registrar *r) {
    return r->waiting;
}

static void loaded(void *ctx, sm_rc rc, const sm_err *err, const json_t *rows) {
    sm_registrar *r = ctx;
    size_t i;
    json_t *row;
    if (rc != SM_OK)
        sm_log(SM_LOG_WARN, "the platform's last known views could not be read: %s", err->msg);
    json_array_foreach(rows, i, row) {
        const char *account = sm_json_str(row, "account", "");
        if (strcmp(sm_json_str(row, "node", ""), r->target->node) != 0 ||
            (r->target->account && strcmp(account, r->target->account) != 0))
            continue;
        entry *e = entry_get(r, sm_json_str(row, "id", ""));
        if (e->known && e->seen_ns > sm_json_int(row, "seen_ns", 0))
            continue; /* the row of a former account */
        const json_t *params = json_object_get(row, "params");
        json_decref(e->params);
        e->params = json_is_object(params) ? json_deep_copy(params) : json_object();
        free(e->uuid);
        free(e->ref_key);
        e->uuid = sm_strdup(sm_json_str(row, "uuid", ""));
        e->ref_key = sm_strdup(sm_json_str(row, "ref_key", ""));
        e->status = (int)sm_json_int(row, "status", 0);
        e->seen_ns = sm_json_int(row, "seen_ns", 0);
        e->known = true;
        const json_t *payload = json_object_get(row, "payload");
        json_decref(e->registered);
        e->registered = json_is_object(payload) ? json_deep_copy(payload) : NULL;
    }
    r->ready(r->ready_ctx);
}

void sm_registrar_guard(sm_registrar *r) {
    if (!r->identity)
        r->identity = sm_identity_new(r->target);
}

void sm_registrar_load(sm_registrar *r, void (*ready)(void *ctx), void *ctx) {
    r->ready = ready;
    r->ready_ctx = ctx;
    sm_store_call(r->store, SM_OP_REGISTRY_GET, NULL, loaded, r);
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
    for (entry *e; (e = sm_map_next(&r->entries, &pos, NULL));)
        entry_free(e);
    sm_map_fini(&r->entries);
    sm_identity_free(r->identity);
    free(r);
}
