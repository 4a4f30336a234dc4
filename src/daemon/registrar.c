/* registrar: asks the platform about inspections, registers and updates them, remembers the answers
 * (see registrar.h). It does not run anything and never guesses: without any view nothing runs.
 *
 * One question goes through: wanted -> list -> (create -> list again | modify) -> view stored ->
 * answered. Questions about one inspection that come meanwhile join it.
 */
#include "daemon/registrar.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "platform/checker.h"
#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 100 };

typedef struct waiter {
    struct waiter *next;
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
    bool created;    /* create was sent for this question: a second one would go round for ever */
    waiter *waiters;
} entry;

struct sm_registrar {
    uv_loop_t *loop;
    sm_store *store;
    const sm_target *target;
    int64_t max_age_ns;
    sm_map entries;
    entry *wanted;   /* to be asked at the next turn */
    uv_timer_t turn; /* fires once the loop has collected what is wanted */
    size_t waiting;
    void (*ready)(void *ctx);
    void *ready_ctx;
};

typedef struct batch { /* one `list` under way */
    sm_registrar *registrar;
    entry *first;
    bool again; /* second list, after creates */
} batch;

typedef struct step { /* one create or modify under way */
    sm_registrar *registrar;
    entry *entry;
} step;

static void ask_wanted(sm_registrar *r);

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

static void entry_free(entry *e) {
    sm_inspection_unref(e->inspection);
    json_decref(e->payload);
    json_decref(e->registered);
    json_decref(e->params);
    free(e->uuid);
    free(e->ref_key);
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

/* Ends the question about e: everybody who waits gets the view. */
static void answer(sm_registrar *r, entry *e, const char *error) {
    waiter *list = e->waiters;
    sm_inspection *inspection = e->inspection;
    e->waiters = NULL;
    e->inspection = NULL;
    e->asking = false;
    while (list) {
        waiter *w = list;
        list = w->next;
        r->waiting--;
        sm_view v;
        view_of(e, error, &v);
        w->done(w->ctx, &v);
        free(w);
    }
    sm_inspection_unref(inspection);
}

static void persist(sm_registrar *r, const entry *e) {
    json_t *args = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:O, s:O, s:I}", "node",
                             r->target->node, "account", e->inspection->account, "id", e->id,
                             "ref_key", e->ref_key, "uuid", e->uuid ? e->uuid : "", "title",
                             sm_json_str(e->payload, "title", ""), "status", e->status, "params",
                             e->params, "payload", e->payload, "seen_ns", (json_int_t)e->seen_ns);
    sm_store_call(r->store, SM_OP_REGISTRY_PUT, args, NULL, NULL);
}

/* Takes over what the platform shows of e. */
static void take_item(entry *e, const json_t *item) {
    const char *uuid = sm_json_str(item, "uuid", "");
    const json_t *kwargs = json_object_get(json_object_get(item, "jsonScript"), "callKwargs");
    json_t *params = json_is_object(kwargs) ? json_deep_copy(kwargs) : json_object();
    json_decref(e->params);
    e->params = params;
    if (!e->uuid || strcmp(e->uuid, uuid) != 0) {
        free(e->uuid);
        e->uuid = sm_strdup(uuid);
    }
    free(e->ref_key);
    e->ref_key = sm_strdup(e->inspection->ref_key);
    e->status = (int)sm_json_int(item, "status", 0);
    e->known = true;
    e->seen_ns = sm_wall_ns();
    json_decref(e->registered);
    e->registered = json_incref(e->payload);
}

static void modified(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    (void)result;
    step *s = ctx;
    if (rc == SM_OK)
        persist(s->registrar, s->entry);
    else
        sm_log(SM_LOG_WARN, "%s: the platform did not take its new title or parameters: %s",
               s->entry->id, err->msg);
    answer(s->registrar, s->entry, rc == SM_OK ? NULL : err->msg);
    free(s);
}

static void created(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    (void)result;
    step *s = ctx;
    entry *e = s->entry;
    if ((rc == SM_OK || rc == SM_EXISTS) && !e->created) {
        e->created = true;
        /* create's answer is not documented to carry the UUID: list again. */
        e->next = s->registrar->wanted;
        s->registrar->wanted = e;
        sm_log(SM_LOG_DEBUG, "%s: registered on %s", e->id, s->registrar->target->node);
        ask_wanted(s->registrar);
    } else {
        answer(s->registrar, e, err->msg);
    }
    free(s);
}

static const json_t *find_item(const json_t *items, const char *ref_key) {
    size_t i;
    json_t *item;
    const json_t *oldest = NULL;
    json_array_foreach(items, i, item) {
        if (strcmp(sm_json_str(item, "refKey", ""), ref_key) != 0)
            continue;
        if (!oldest || sm_json_int(item, "createAt", 0) < sm_json_int(oldest, "createAt", 0))
            oldest = item;
    }
    return oldest;
}

static void listed(void *ctx, sm_rc rc, const sm_err *err, const json_t *items) {
    batch *b = ctx;
    sm_registrar *r = b->registrar;
    entry *e = b->first;
    while (e) {
        entry *next = e->next;
        e->next = NULL;
        const json_t *item = rc == SM_OK ? find_item(items, e->inspection->ref_key) : NULL;
        step *s;
        if (rc != SM_OK) {
            answer(r, e, err->msg);
        } else if (!item && e->created) {
            answer(r, e, "the platform took the registration but does not show it");
        } else if (!item) {
            s = sm_calloc(1, sizeof *s);
            *s = (step){r, e};
            r->target->create(r->target->ctx, e->payload, created, s);
        } else {
            take_item(e, item);
            if (sm_checker_differs(e->payload, item)) {
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
    free(b);
}

static void on_turn(uv_timer_t *timer) {
    sm_registrar *r = timer->data;
    while (r->wanted) {
        batch *b = sm_calloc(1, sizeof *b);
        json_t *keys = json_array();
        b->registrar = r;
        for (int i = 0; i < LIST_MAX && r->wanted; i++) {
            entry *e = r->wanted;
            r->wanted = e->next;
            e->next = b->first;
            b->first = e;
            json_array_append_new(keys, json_string(e->inspection->ref_key));
        }
        r->target->list(r->target->ctx, keys, listed, b);
        json_decref(keys);
    }
}

static void ask_wanted(sm_registrar *r) {
    if (!uv_is_active((uv_handle_t *)&r->turn) && !uv_is_closing((uv_handle_t *)&r->turn))
        uv_timer_start(&r->turn, on_turn, 0, 0);
}

void sm_registrar_ensure(sm_registrar *r, sm_inspection *inspection, bool ask,
                         sm_registrar_done done, void *ctx) {
    entry *e = entry_get(r, inspection->id);
    waiter *w = sm_calloc(1, sizeof *w);
    *w = (waiter){.next = e->waiters, .done = done, .ctx = ctx};
    e->waiters = w;
    r->waiting++;
    if (e->asking)
        return;
    const json_t *spec = inspection->spec;
    json_t *payload = sm_checker_payload(
        inspection->id, inspection->ref_key, sm_json_str(spec, "title", ""),
        sm_json_str(spec, "doc", ""), sm_json_str(spec, "category", "general"), inspection->schema);
    json_decref(e->payload);
    e->payload = payload;
    e->asking = true;
    e->created = false;
    e->inspection = sm_inspection_ref(inspection);
    int64_t age = sm_wall_ns() - e->seen_ns;
    bool same = e->known && e->registered && json_equal(e->registered, payload) && e->ref_key &&
                strcmp(e->ref_key, inspection->ref_key) == 0;
    if (!ask && same && age >= 0 && age < r->max_age_ns) {
        answer(r, e, NULL);
        return;
    }
    e->next = r->wanted;
    r->wanted = e;
    ask_wanted(r);
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
        if (strcmp(sm_json_str(row, "node", ""), r->target->node) != 0)
            continue;
        entry *e = entry_get(r, sm_json_str(row, "id", ""));
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
        json_decref(e->registered);
        e->registered = json_deep_copy(json_object_get(row, "payload"));
    }
    r->ready(r->ready_ctx);
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
    for (entry *e; (e = sm_map_next(&r->entries, &pos, NULL));) {
        while (e->waiters) {
            waiter *w = e->waiters;
            e->waiters = w->next;
            free(w);
        }
        entry_free(e);
    }
    sm_map_fini(&r->entries);
    free(r);
}
