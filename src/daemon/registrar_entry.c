/* registrar_entry: what the registrar remembers of each inspection, in memory and in the store
 * (registrar_entry.h). It asks nothing. Loop's thread.
 */
#include "daemon/registrar_entry.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "platform/checker.h"
#include <stdlib.h>
#include <string.h>

sm_entry *sm_entry_get(sm_registrar *r, const char *id) {
    sm_entry *e = sm_map_get(&r->entries, id);
    if (!e) {
        e = sm_calloc(1, sizeof *e);
        e->id = sm_strdup(id);
        e->params = json_object();
        sm_map_put(&r->entries, id, e);
    }
    return e;
}

void sm_waiter_free(sm_waiter *w) {
    sm_inspection_unref(w->inspection);
    free(w);
}

void sm_waiters_add(sm_waiter **list, sm_waiter *w) {
    while (*list)
        list = &(*list)->next;
    *list = w;
}

void sm_waiters_free(sm_waiter *list) {
    for (sm_waiter *next; list; list = next) {
        next = list->next;
        sm_waiter_free(list);
    }
}

/* What is known belongs to another association key: it says nothing about this one. */
void sm_entry_forget(sm_entry *e) {
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
    e->created_ns = 0;
}

void sm_entry_free(sm_entry *e) {
    sm_waiters_free(e->waiters);
    sm_waiters_free(e->later);
    sm_inspection_unref(e->inspection);
    sm_entry_forget(e);
    json_decref(e->params);
    json_decref(e->payload);
    free(e->id);
    free(e);
}

void sm_entry_view(const sm_entry *e, const char *error, sm_view *v) {
    int64_t age = sm_wall_ns() - e->seen_ns;
    *v = (sm_view){.known = e->known,
                   .status = e->status,
                   .uuid = e->uuid,
                   .params = e->params,
                   .age_s = e->known && age > 0 ? (double)age / 1e9 : 0,
                   .error = error};
}

static void kept(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    (void)ctx, (void)result;
    if (rc != SM_OK)
        sm_log(SM_LOG_WARN, "what the platform said could not be kept: %s", err->msg);
}

void sm_entry_keep(sm_registrar *r, const sm_entry *e) {
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

void sm_entry_registered(sm_entry *e, json_t *payload) {
    json_decref(e->registered);
    e->registered = json_incref(payload);
}

/* Takes over what the platform shows of e. */
void sm_entry_take(sm_entry *e, const json_t *item) {
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
    e->created_ns = 0;
    e->seen_ns = sm_wall_ns();
    sm_entry_registered(e, sm_checker_differs(e->payload, item) ? NULL : e->payload);
}

static void loaded(void *ctx, sm_rc rc, const sm_err *err, const json_t *rows) {
    sm_registrar *r = ctx;
    size_t i;
    json_t *row;
    r->under_way--;
    if (rc != SM_OK)
        sm_log(SM_LOG_WARN, "the platform's last known views could not be read: %s", err->msg);
    json_array_foreach(rows, i, row) {
        const char *account = sm_json_str(row, "account", "");
        if (strcmp(sm_json_str(row, "node", ""), r->target->node) != 0 ||
            (r->target->account && strcmp(account, r->target->account) != 0))
            continue;
        sm_entry *e = sm_entry_get(r, sm_json_str(row, "id", ""));
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

void sm_registrar_load(sm_registrar *r, void (*ready)(void *ctx), void *ctx) {
    r->ready = ready;
    r->ready_ctx = ctx;
    r->under_way++;
    sm_store_call(r->store, SM_OP_REGISTRY_GET, NULL, loaded, r);
}
