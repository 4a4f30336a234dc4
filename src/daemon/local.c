/* local: the embedded platform. The same operations as the remote one (list, create, modify, accept
 * key events), answered by the store; only the transport is a function call.
 *
 * What a person does there (enable, disable, set parameters, delete) comes from the command line
 * straight to the store. Used by registrar and pump through sm_target; loop's thread.
 */
#include "daemon/local.h"
#include "base/clock.h"
#include "base/mem.h"
#include <stdlib.h>

struct sm_local {
    sm_store *store; /* borrowed */
    sm_target target;
};

static void list(void *ctx, const json_t *ref_keys, sm_target_done done, void *done_ctx) {
    sm_local *l = ctx;
    json_t *args = json_object();
    json_object_set_new(args, "ref_keys", json_deep_copy(ref_keys));
    sm_store_call(l->store, SM_OP_LOCAL_LIST, args, done, done_ctx);
}

static json_t *with_payload(const json_t *payload) {
    json_t *args = json_object();
    json_object_set_new(args, "payload", json_deep_copy(payload));
    json_object_set_new(args, "at_ns", json_integer(sm_wall_ns()));
    return args;
}

static void create(void *ctx, const json_t *payload, sm_target_done done, void *done_ctx) {
    sm_local *l = ctx;
    sm_store_call(l->store, SM_OP_LOCAL_CREATE, with_payload(payload), done, done_ctx);
}

static void modify(void *ctx, const char *ref_key, const json_t *payload, sm_target_done done,
                   void *done_ctx) {
    sm_local *l = ctx;
    json_t *args = with_payload(payload);
    json_object_set_new(args, "ref_key", json_string(ref_key));
    sm_store_call(l->store, SM_OP_LOCAL_MODIFY, args, done, done_ctx);
}

/* One delivery under way. */
typedef struct delivery {
    sm_target_delivered done;
    void *ctx;
    int batch;
} delivery;

static void delivered(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    (void)result;
    delivery *d = ctx;
    sm_answer answer = {.road = SM_ROAD_WRITE,
                        .transport = SM_TRANSPORT_ANSWERED,
                        .http = rc == SM_OK ? 200 : 503,
                        .body_ok = rc == SM_OK,
                        .body_known = true,
                        .retry_after_s = -1,
                        .batch = d->batch};
    d->done(d->ctx, &answer, rc == SM_OK ? "" : err->msg);
    free(d);
}

static void deliver(void *ctx, const json_t *events, sm_target_delivered done, void *done_ctx) {
    sm_local *l = ctx;
    delivery *d = sm_calloc(1, sizeof *d);
    d->done = done;
    d->ctx = done_ctx;
    d->batch = (int)json_array_size(events);
    json_t *args = json_object();
    json_object_set_new(args, "events", json_deep_copy(events));
    json_object_set_new(args, "at_ns", json_integer(sm_wall_ns()));
    sm_store_call(l->store, SM_OP_LOCAL_EVENTS_PUT, args, delivered, d);
}

sm_local *sm_local_new(sm_store *store) {
    sm_local *l = sm_calloc(1, sizeof *l);
    l->store = store;
    l->target = (sm_target){.ctx = l,
                            .node = "local",
                            .list = list,
                            .create = create,
                            .modify = modify,
                            .deliver = deliver};
    return l;
}

void sm_local_free(sm_local *l) {
    free(l);
}

const sm_target *sm_local_target(const sm_local *l) {
    return &l->target;
}
