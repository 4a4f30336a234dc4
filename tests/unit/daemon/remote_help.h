/* remote_help: what the tests of remote share: a scripted workspace on the test's loop, a store, an
 * account, and asking for lists, creations and deliveries. Include after cmocka.h. */
#pragma once
#include "base/clock.h"
#include "base/str.h"
#include "daemon/remote_internal.h"
#include "http_stand.h"
#include "platform/sign.h"
#include "store/store.h"
#include <math.h>
#include <unistd.h>

#define KEY_ID "wsak_0123456789abcdef"
#define KEY "sk_fedcba9876543210"
#define TOKEN "tkn_00112233445566778899aabbccddeeff"
#define BAD_KEY                                                                                    \
    "{\"code\":403,\"content\":{},\"errorCode\":\"ft.InvalidAPIKey\",\"message\":\"no\","          \
    "\"success\":false,\"traceId\":\"t1\"}"
#define LIMIT                                                                                      \
    "{\"code\":401,\"content\":{},\"errorCode\":\"ft.TriggerApiAkCurrentLimiting\","               \
    "\"message\":\"slow\",\"success\":false,\"traceId\":\"t2\"}"
#define WORKSPACE                                                                                  \
    "{\"code\":200,\"success\":true,\"errorCode\":\"\",\"content\":{\"uuid\":\"wksp_1\","          \
    "\"token\":\"" TOKEN "\"}}"

typedef struct world {
    char dir[64];
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t tick; /* UV_RUN_ONCE may wait for I/O after it ran a timer */
    sm_store *store;
    sm_http *http;
    stand stand;
    sm_node node;
    sm_secret *key_id, *key, *secret_key;
    sm_remote_account account;
    sm_remote *r;
    json_t *registered; /* refKey -> title */
} world;

/* ---- a small workspace --------------------------------------------------------------------- */

static inline char *ok_with(json_t *content) {
    json_t *whole = json_pack("{s:i, s:b, s:s, s:o}", "code", 200, "success", 1, "errorCode", "",
                              "content", content);
    char *text = sm_json_dump(whole, NULL);
    json_decref(whole);
    return text;
}

static inline char *work(void *ctx, const asked *a) {
    world *w = ctx;
    if (strstr(a->line, "/way/v1/"))
        return sm_strdup("{}");
    if (strstr(a->line, "workspace/get"))
        return sm_strdup(WORKSPACE);
    if (strstr(a->line, "checker/list")) {
        json_t *data = json_array(), *title;
        const char *key;
        json_object_foreach(w->registered, key, title) {
            if (strstr(a->line, key))
                json_array_append_new(data, json_pack("{s:s+, s:s, s:i, s:O}", "uuid", "rul_", key,
                                                      "refKey", key, "status", 0, "title", title));
        }
        return ok_with(json_pack("{s:o}", "data", data));
    }
    if (strstr(a->line, "checker/create")) {
        json_t *body = json_loadb(a->body, a->body_n, 0, NULL);
        json_object_set(w->registered, sm_json_str(body, "refKey", "?"),
                        json_object_get(body, "title"));
        json_decref(body);
        return ok_with(json_object());
    }
    if (strstr(a->line, "checker/modify"))
        return ok_with(json_true());
    if (strstr(a->line, "outer_function/execute"))
        return ok_with(json_pack("{s:b, s:i, s:{}}", "ok", 1, "error", 200, "data"));
    return NULL;
}

static inline void wake_store(void *ctx) {
    uv_async_send(ctx);
}

static inline void on_wake(uv_async_t *async) {
    world *w = async->data;
    if (w->store)
        sm_store_drain(w->store);
}

static inline void on_tick(uv_timer_t *timer) {
    (void)timer;
}

static inline const sm_secret *get_key_id(void *ctx) {
    return ((world *)ctx)->key_id;
}
static inline const sm_secret *get_key(void *ctx) {
    return ((world *)ctx)->key;
}
static inline const sm_secret *get_secret_key(void *ctx) {
    return ((world *)ctx)->secret_key;
}

static inline void begin(world *w) {
    w->r = sm_remote_new(&w->loop, w->http, w->store, &w->account);
    w->r->budget.pause_ns = 200 * SM_NS_PER_MS;
}

static inline void settle_store(world *w) {
    while (sm_store_pending(w->store) > 0) {
        sm_store_drain(w->store);
        uv_run(&w->loop, UV_RUN_NOWAIT);
    }
}

/* Ends the remote as the daemon does; http is made anew. */
static inline void end(world *w) {
    sm_err err = SM_ERR_INIT;
    if (!w->r)
        return;
    settle_store(w);
    sm_remote_close(w->r);
    sm_http_close(w->http);
    for (int i = 0; i < 20; i++)
        uv_run(&w->loop, UV_RUN_NOWAIT);
    sm_remote_free(w->r);
    sm_http_free(w->http);
    w->r = NULL;
    assert_int_equal(sm_http_new(&w->loop, &w->http, &err), SM_OK);
}

static inline int setup(void **state) {
    world *w = sm_calloc(1, sizeof *w);
    sm_err err = SM_ERR_INIT;
    char path[96], text[128];
    snprintf(w->dir, sizeof w->dir, "/tmp/selfmon-remote-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    uv_loop_init(&w->loop);
    uv_async_init(&w->loop, &w->wake, on_wake);
    w->wake.data = w;
    uv_timer_init(&w->loop, &w->tick);
    uv_timer_start(&w->tick, on_tick, 5, 5);
    snprintf(path, sizeof path, "%s/store.db", w->dir);
    sm_store_options opt = {.path = path, .wake = wake_store, .ctx = &w->wake};
    if (sm_store_open(&opt, &w->store, &err) != SM_OK)
        fail_msg("%s", err.msg);
    if (sm_http_new(&w->loop, &w->http, &err) != SM_OK)
        fail_msg("%s", err.msg);
    stand_open(&w->stand, &w->loop);
    w->stand.work = work;
    w->stand.ctx = w;
    w->registered = json_object();
    snprintf(text, sizeof text, "http://127.0.0.1:%d/a", w->stand.port);
    w->node = (sm_node){.name = sm_strdup("truewatch/us1"),
                        .brand = sm_strdup("truewatch"),
                        .openapi = sm_strdup(text)};
    snprintf(text, sizeof text, "http://127.0.0.1:%d/way", w->stand.port);
    w->node.openway = sm_strdup(text);
    w->key_id = sm_secret_new(KEY_ID, strlen(KEY_ID));
    w->key = sm_secret_new(KEY, strlen(KEY));
    w->account = (sm_remote_account){.name = "shop",
                                     .node = &w->node,
                                     .report_via = "openway",
                                     .timeout_s = 5,
                                     .rate_key = 20,
                                     .rate_workspace = 200,
                                     .key_id = get_key_id,
                                     .key = get_key,
                                     .secret_key = get_secret_key,
                                     .ctx = w};
    begin(w);
    *state = w;
    return 0;
}

static inline void remove_all(const char *dir) {
    static const char *const names[] = {"store.db", "store.db-wal", "store.db-shm",
                                        "store.db-journal"};
    char path[128];
    for (size_t i = 0; i < SM_ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

static inline int teardown(void **state) {
    world *w = *state;
    end(w);
    sm_http_close(w->http);
    stand_close(&w->stand);
    sm_store_close(w->store);
    w->store = NULL;
    uv_close((uv_handle_t *)&w->wake, NULL);
    uv_close((uv_handle_t *)&w->tick, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    sm_http_free(w->http);
    int rc = uv_loop_close(&w->loop);
    sm_node_fini(&w->node);
    sm_secret_free(w->key_id);
    sm_secret_free(w->key);
    sm_secret_free(w->secret_key);
    json_decref(w->registered);
    remove_all(w->dir);
    free(w);
    return rc;
}

/* ---- asking -------------------------------------------------------------------------------- */

typedef struct result {
    int calls;
    sm_rc rc;
    char error[SM_ERR_MAX];
    json_t *value;
} result;

static inline void on_done(void *ctx, sm_rc rc, const sm_err *err, const json_t *value) {
    result *x = ctx;
    x->calls++;
    x->rc = rc;
    snprintf(x->error, sizeof x->error, "%s", rc == SM_OK ? "" : err->msg);
    json_decref(x->value);
    x->value = value ? json_deep_copy(value) : NULL;
}

static inline void wait_for(world *w, const result *x) {
    while (x->calls == 0)
        uv_run(&w->loop, UV_RUN_ONCE);
    assert_int_equal(x->calls, 1);
}

static inline void list_start(world *w, const char *keys, result *x) {
    json_t *array = json_array();
    char *copy = sm_strdup(keys), *save = NULL;
    for (char *k = strtok_r(copy, ",", &save); k; k = strtok_r(NULL, ",", &save))
        json_array_append_new(array, json_string(k));
    *x = (result){0};
    const sm_target *t = sm_remote_target(w->r);
    t->list(t->ctx, array, on_done, x);
    assert_int_equal(x->calls, 0); /* never at once */
    json_decref(array);
    free(copy);
}

static inline result list(world *w, const char *keys) {
    result x;
    list_start(w, keys, &x);
    wait_for(w, &x);
    return x;
}

static inline void create_start(world *w, const char *key, result *x) {
    json_t *payload = json_pack("{s:s, s:s, s:{s:s, s:s, s:[s], s:{s:{s:i}}}}", "refKey", key,
                                "title", "Shop", "refFuncInfo", "funcId", "demo__shop.run",
                                "definition", "run(a=1)", "args", "a", "kwargs", "a", "default", 1);
    const sm_target *t = sm_remote_target(w->r);
    *x = (result){0};
    t->create(t->ctx, payload, on_done, x);
    json_decref(payload);
}

static inline result create(world *w, const char *key) {
    result x;
    create_start(w, key, &x);
    wait_for(w, &x);
    return x;
}

static inline void drop(result *x) {
    json_decref(x->value);
    x->value = NULL;
}

static inline void expect_ok(result x, size_t items) {
    if (x.rc != SM_OK)
        fail_msg("%s: %s", sm_rc_name(x.rc), x.error);
    assert_int_equal(json_array_size(x.value), items);
    json_decref(x.value);
}

/* ---- delivering ------------------------------------------------------------------------------ */

typedef struct delivered {
    int calls;
    sm_answer answer;
    char detail[2048];
} delivered;

static inline void on_delivered(void *ctx, const sm_answer *answer, const char *detail) {
    delivered *d = ctx;
    d->calls++;
    d->answer = *answer;
    snprintf(d->detail, sizeof d->detail, "%s", detail);
}

static inline json_t *some_events(int n) {
    json_t *out = json_array();
    for (int i = 0; i < n; i++) {
        char id[40];
        snprintf(id, sizeof id, "event-%032d", i);
        json_array_append_new(
            out, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:{s:s, s:I, s:s, s:s, s:s, "
                           "s:{s:s}, s:s}}",
                           "run", "r1", "id", "demo/shop.run", "ref_key", "k1", "account", "shop",
                           "node", "truewatch/us1", "checker", "rul_1", "title", "Shop", "attempt",
                           1, "event", "event_id", id, "at_ns", (json_int_t)1700000000000000000,
                           "title", "Shop is down", "message", "text", "status", "critical",
                           "dimension_tags", "host", "a b", "dimension", "{\"host\":\"a b\"}"));
    }
    return out;
}

static inline delivered deliver(world *w, int n) {
    delivered d = {0};
    json_t *events = some_events(n);
    const sm_target *t = sm_remote_target(w->r);
    t->deliver(t->ctx, events, on_delivered, &d);
    assert_int_equal(d.calls, 0);
    json_decref(events);
    while (d.calls == 0)
        uv_run(&w->loop, UV_RUN_ONCE);
    assert_int_equal(d.calls, 1);
    assert_int_equal(d.answer.batch, n);
    assert_null(strstr(d.detail, TOKEN));
    return d;
}

static inline sm_verdict verdict_of(const delivered *d) {
    const char *reason;
    return sm_verdict_of(&d->answer, &reason);
}

/* ---- doctor --------------------------------------------------------------------------------- */

typedef struct findings {
    json_t *lines;
    int done;
} findings;

static inline void on_told(void *ctx, const json_t *line) {
    json_array_append_new(((findings *)ctx)->lines, json_deep_copy(line));
}

static inline void on_examined(void *ctx) {
    ((findings *)ctx)->done++;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
