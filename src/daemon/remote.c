/* remote: a workspace of TrueWatch or Guance Cloud as a target, one per account (see remote.h).
 *
 * This room owns the account, its life and the operations on inspections; calls, questions, token,
 * budget and delivery are the rooms beside it. What it remembers across restarts, in the store: the
 * calls of the last minute, which credential worked, and (the registrar's rows) which association
 * keys were seen there. Never a credential or token. Loop's thread.
 */
#include "daemon/remote.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/remote_internal.h"
#include <stdlib.h>
#include <string.h>

#define PATIENCE_S 2.0
#define GATHER_NS (30 * SM_NS_PER_S)

typedef struct change { /* one create or modify under way */
    sm_remote *remote;
    char *ref_key;
    bool create;
    sm_target_done done;
    void *ctx;
} change;

static void changed(void *ctx, sm_openapi_answer *a) {
    change *c = ctx;
    sm_remote *r = c->remote;
    sm_err err = SM_ERR_INIT;
    sm_rc rc = sm_remote_rc(r, a, &err);
    if (c->create) /* its UUID is worth waiting for budget */
        sm_map_del(&r->known, c->ref_key);
    c->done(c->ctx, rc, &err, rc == SM_OK ? a->content : NULL);
    free(c->ref_key);
    free(c);
}

static void send_change(sm_remote *r, bool create, const char *ref_key, const json_t *body,
                        sm_target_done done, void *done_ctx) {
    change *c = sm_calloc(1, sizeof *c);
    *c = (change){.remote = r,
                  .ref_key = sm_strdup(ref_key),
                  .create = create,
                  .done = done,
                  .ctx = done_ctx};
    sm_remote_call_queue(sm_remote_call_new(r, create ? SM_CALL_CREATE : SM_CALL_MODIFY,
                                            sm_strdup(create ? "/api/v1/self_built_checker/create"
                                                             : "/api/v1/self_built_checker/modify"),
                                            sm_json_dump(body, NULL), changed, c));
}

static void create(void *ctx, const json_t *payload, sm_target_done done, void *done_ctx) {
    send_change(ctx, true, sm_json_str(payload, "refKey", ""), payload, done, done_ctx);
}

/* Never the fields of alert policies: they are settings of people there. funcId cannot change. */
static void modify(void *ctx, const char *ref_key, const json_t *payload, sm_target_done done,
                   void *done_ctx) {
    json_t *info = json_copy(json_object_get(payload, "refFuncInfo"));
    json_t *body = json_pack("{s:s, s:O*, s:o*}", "refKey", ref_key, "title",
                             json_object_get(payload, "title"), "refFuncInfo", info);
    json_object_del(info, "funcId");
    send_change(ctx, false, ref_key, body, done, done_ctx);
    json_decref(body);
}

static void deliver(void *ctx, const json_t *events, sm_target_delivered done, void *done_ctx) {
    sm_remote *r = ctx;
    sm_remote_deliver(r, r->report_via, events, done, done_ctx);
}

/* ---- what is remembered -------------------------------------------------------------------- */

static void loaded_one(sm_remote *r) {
    if (--r->loading == 0 && !r->closed)
        sm_remote_serve(r);
}

static void budget_loaded(void *ctx, sm_rc rc, const sm_err *err, const json_t *value) {
    (void)err;
    sm_remote *r = ctx;
    if (rc == SM_OK)
        sm_remote_budget_load(&r->budget, value, sm_mono_ns(), sm_wall_ns());
    loaded_one(r);
}

static void credential_loaded(void *ctx, sm_rc rc, const sm_err *err, const json_t *value) {
    (void)err;
    sm_remote *r = ctx;
    if (rc == SM_OK && json_is_string(value))
        r->use_key = strcmp(json_string_value(value), "api_key") == 0;
    loaded_one(r);
}

static void views_loaded(void *ctx, sm_rc rc, const sm_err *err, const json_t *rows) {
    (void)err;
    sm_remote *r = ctx;
    size_t i;
    json_t *row;
    if (rc == SM_OK) {
        json_array_foreach(rows, i, row) {
            const char *key = sm_json_str(row, "ref_key", "");
            if (*key)
                sm_map_put(&r->known, key, r);
        }
    }
    loaded_one(r);
}

static void load_value(sm_remote *r, char *key, sm_store_done done) {
    r->loading++;
    sm_store_call(r->store, SM_OP_KV_GET, json_pack("{s:s}", "key", key), done, r);
    free(key);
}

static void load(sm_remote *r) {
    load_value(r, sm_asprintf("remote/%s/%s/budget", r->name, r->node), budget_loaded);
    load_value(r, sm_asprintf("remote/%s/credential", r->node), credential_loaded);
    r->loading++;
    sm_store_call(r->store, SM_OP_REGISTRY_GET,
                  json_pack("{s:s, s:s}", "node", r->node, "account", r->name), views_loaded, r);
}

/* ---- life ---------------------------------------------------------------------------------- */

static char *copy(const char *s) {
    return s ? sm_strdup(s) : NULL;
}

sm_remote *sm_remote_new(uv_loop_t *loop, sm_http *http, sm_store *store,
                         const sm_remote_account *a) {
    sm_remote *r = sm_calloc(1, sizeof *r);
    r->loop = loop;
    r->http = http;
    r->store = store;
    r->name = sm_strdup(a->name);
    r->node = sm_strdup(a->node->name);
    r->brand = copy(a->node->brand);
    r->openapi = sm_strdup(a->node->openapi);
    r->openway = sm_strdup(a->node->openway);
    r->report_via = sm_strdup(a->report_via ? a->report_via : "openway");
    r->datakit = copy(a->datakit);
    r->dway = copy(a->dway);
    r->access_key = copy(a->access_key);
    r->ca = copy(a->ca);
    r->proxy = copy(a->proxy);
    r->timeout_s = a->timeout_s > 0 ? a->timeout_s : 10;
    r->key_id = a->key_id;
    r->key = a->key;
    r->secret_key = a->secret_key;
    r->ctx = a->ctx;
    r->patience_s = PATIENCE_S;
    r->gather_ns = GATHER_NS;
    r->late_end = &r->late;
    r->target = (sm_target){.ctx = r,
                            .node = r->node,
                            .account = r->name,
                            .list = sm_remote_list,
                            .create = create,
                            .modify = modify,
                            .deliver = deliver};
    sm_remote_budget_init(&r->budget, a->rate_key, a->rate_workspace);
    sm_map_init(&r->known);
    uv_timer_init(loop, &r->timer);
    r->timer.data = r;
    if (store)
        load(r);
    return r;
}

static void replace(char **at, const char *text) {
    char *former = *at;
    *at = copy(text);
    free(former);
}

void sm_remote_configure(sm_remote *r, const sm_remote_account *a) {
    replace(&r->report_via, a->report_via ? a->report_via : "openway");
    replace(&r->datakit, a->datakit);
    replace(&r->dway, a->dway);
    replace(&r->access_key, a->access_key);
    replace(&r->ca, a->ca);
    replace(&r->proxy, a->proxy);
    r->timeout_s = a->timeout_s > 0 ? a->timeout_s : 10;
    sm_remote_budget_rates(&r->budget, a->rate_key, a->rate_workspace);
    sm_remote_serve(r);
}

bool sm_remote_quiet(const sm_remote *r) {
    for (int i = 0; i < SM_CALL_COUNT_; i++)
        if (r->in_flight[i] > 0)
            return false;
    return r->loading == 0 && !r->late;
}

const sm_target *sm_remote_target(const sm_remote *r) {
    return &r->target;
}

void sm_remote_set_patience(sm_remote *r, double seconds) {
    r->patience_s = seconds > 0 ? seconds : 0;
}

json_t *sm_remote_status(const sm_remote *r) {
    sm_remote_budget budget = r->budget; /* looking forgets what is old, in place */
    budget.times = sm_calloc(SM_REMOTE_RATE_MAX, sizeof *budget.times);
    memcpy(budget.times, r->budget.times, (size_t)budget.n * sizeof *budget.times);
    int64_t now_ns = sm_mono_ns();
    size_t waiting = sm_remote_waiting(r);
    json_t *out = json_pack(
        "{s:s, s:s, s:s, s:s, s:{s:i, s:i, s:i, s:I, s:f}, s:I, s:I, s:I, s:b, s:o}", "node",
        r->node, "openapi", r->openapi, "openway", r->openway, "report_via", r->report_via,
        "budget", "key", sm_remote_budget_left(&budget, budget.key, now_ns), "workspace",
        sm_remote_budget_left(&budget, budget.workspace, now_ns), "per_minute",
        budget.key < budget.workspace ? budget.key : budget.workspace, "waiting",
        (json_int_t)waiting, "seconds_to_fill", sm_remote_budget_seconds(&budget, waiting, now_ns),
        "calls", (json_int_t)r->calls_made, "queries", (json_int_t)r->queries, "query_calls",
        (json_int_t)r->query_calls, "token_known", r->token != NULL, "last_error",
        r->last_error[0] ? sm_json_text(r->last_error, strlen(r->last_error)) : json_null());
    if (r->last_error[0])
        json_object_set_new(out, "failing_for",
                            json_real((double)(r->error_ns - r->error_since_ns) / 1e9));
    free(budget.times);
    return out;
}

void sm_remote_close(sm_remote *r) {
    if (!r || r->closed)
        return;
    r->closed = true;
    uv_close((uv_handle_t *)&r->timer, NULL);
    sm_remote_run_later(r);
    sm_remote_calls_end(r);
    sm_remote_token_end(r);
}

void sm_remote_free(sm_remote *r) {
    if (!r)
        return;
    sm_secret_free(r->token);
    sm_remote_budget_fini(&r->budget);
    sm_map_fini(&r->known);
    char *texts[] = {r->name,    r->node, r->brand, r->openapi,    r->openway, r->report_via,
                     r->datakit, r->dway, r->ca,    r->access_key, r->proxy,   r->workspace};
    for (size_t i = 0; i < SM_ARRAY_LEN(texts); i++)
        free(texts[i]);
    free(r);
}
