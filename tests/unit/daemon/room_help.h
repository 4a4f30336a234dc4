/* room_help: what the tests of the daemon's rooms share: a store in a private directory whose
 * completions come on a loop, inspections made by hand, waiting for a number to be reached. */
#pragma once
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/catalog.h"
#include "store/store.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

typedef struct room {
    uv_loop_t loop;
    uv_async_t wake;
    sm_store *store;
    char dir[64];
} room;

static inline void room_on_store(void *ctx) {
    uv_async_send(&((room *)ctx)->wake);
}

static inline void room_on_wake(uv_async_t *wake) {
    room *r = wake->data;
    if (r->store)
        sm_store_drain(r->store);
}

static inline void room_open_store(room *r) {
    char path[96];
    snprintf(path, sizeof path, "%s/selfmon.db", r->dir);
    sm_store_options opt = {.path = path,
                            .outbox_bytes = INT64_C(1) << 30,
                            .min_free_bytes = 0,
                            .wake = room_on_store,
                            .ctx = r};
    sm_err err = SM_ERR_INIT;
    if (sm_store_open(&opt, &r->store, &err) != SM_OK)
        fail_msg("store: %s", err.msg);
}

static inline void room_open(room *r) {
    memset(r, 0, sizeof *r);
    snprintf(r->dir, sizeof r->dir, "/tmp/sm-test-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    uv_loop_init(&r->loop);
    uv_async_init(&r->loop, &r->wake, room_on_wake);
    r->wake.data = r;
    room_open_store(r);
}

static inline void room_on_guard(uv_timer_t *t) {
    *(bool *)t->data = true;
}

/* Runs the loop until *flag >= want, at most 5 s. */
static inline void room_wait_at(room *r, const int *flag, int want, const char *file, int line) {
    uv_timer_t guard;
    bool late = false;
    uv_timer_init(&r->loop, &guard);
    guard.data = &late;
    uv_update_time(&r->loop);
    uv_timer_start(&guard, room_on_guard, 5000, 0);
    /* Not UV_RUN_ONCE: a timer that sets the flag runs before that waits for the next event. */
    while (*flag < want && !late) {
        uv_run(&r->loop, UV_RUN_NOWAIT);
        if (*flag < want)
            usleep(200);
    }
    uv_close((uv_handle_t *)&guard, NULL);
    uv_run(&r->loop, UV_RUN_NOWAIT);
    if (*flag < want)
        fail_msg("%s:%d: waited for %d, got %d", file, line, want, *flag);
}
#define room_wait(r, flag, want) room_wait_at(r, flag, want, __FILE__, __LINE__)

/* Runs the loop until the store owes nothing and some turns went by. */
static inline void room_settle(room *r) {
    for (int quiet = 0; quiet < 5;) {
        uv_run(&r->loop, UV_RUN_NOWAIT);
        quiet = sm_store_pending(r->store) ? 0 : quiet + 1;
        if (!quiet)
            usleep(500);
    }
}

/* An operation's answer, on the loop's thread while nothing else is under way. New reference. */
static inline json_t *room_ask(room *r, sm_store_op op, json_t *args) {
    json_t *out = NULL;
    sm_err err = SM_ERR_INIT;
    if (sm_store_call_sync(r->store, op, args, &out, &err) != SM_OK)
        fail_msg("store operation %d: %s", (int)op, err.msg);
    return out;
}

static inline void room_close_store(room *r) {
    sm_store *s = r->store;
    r->store = NULL;
    sm_store_close(s);
}

/* After the rooms under test closed their handles. */
static inline void room_turn_out(room *r) {
    uv_close((uv_handle_t *)&r->wake, NULL);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r->loop), 0);
}

static inline void room_remove(room *r) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", r->dir);
    assert_int_equal(system(command), 0);
}

/* spec: JSON with ' for ", or NULL. The association key is 32 characters made of the id. */
static inline sm_inspection *room_inspection(const char *id, const char *spec) {
    sm_inspection *p = sm_calloc(1, sizeof *p);
    char *text = sm_strdup(spec ? spec : "{'title':'A title'}");
    for (char *c = text; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    json_error_t e;
    p->spec = json_loads(text, 0, &e);
    if (!p->spec)
        fail_msg("spec: %s in %s", e.text, text);
    free(text);
    p->refs = 1;
    p->id = sm_strdup(id);
    p->func_id = sm_strdup(id);
    snprintf(p->ref_key, sizeof p->ref_key, "key-%s", id);
    p->fn = sm_strdup("run");
    p->account = sm_strdup("default");
    p->schema = json_object_get(p->spec, "params");
    p->grants = json_array();
    p->limits = json_object();
    p->first_run = sm_json_bool(p->spec, "first_run", false);
    p->retry = sm_json_bool(p->spec, "retry", true);
    p->source = sm_calloc(1, sizeof *p->source);
    p->source->refs = 1;
    p->source->file = sm_strdup("demo/x.lua");
    p->source->script = sm_blob_new("-- x", 4);
    size_t i;
    json_t *expr;
    json_array_foreach(json_object_get(p->spec, "schedule"), i, expr) {
        p->crons = sm_realloc(p->crons, (i + 1) * sizeof(sm_cron *));
        sm_err err = SM_ERR_INIT;
        if (sm_cron_parse(json_string_value(expr), id, true, &p->crons[i], &err) != SM_OK)
            fail_msg("%s", err.msg);
        p->n_crons = i + 1;
    }
    return p;
}
