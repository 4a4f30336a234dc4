/* fake_run: what the tests of the daemon's services share: a dispatcher with one fake worker, and
 * runs whose "script" asks (tests/fakes/fake_worker.py). */
#pragma once
#include "fake_worker.h"
#include "base/mem.h"
#include "base/rand.h"

static inline void fake_no_report(void *ctx, const char *run_id, int64_t seq,
                                  const json_t *events) {
    (void)ctx, (void)run_id, (void)seq, (void)events;
    fail_msg("nobody reports here");
}

static inline sm_dispatcher *fake_dispatcher(uv_loop_t *loop, const char *self) {
    sm_dispatcher *d = NULL;
    sm_err err = SM_ERR_INIT;
    sm_dispatcher_options opt = {.loop = loop,
                                 .self = self,
                                 .display = "inspections",
                                 .workers = 1,
                                 .runs_per_worker = 64,
                                 .max_running = 64,
                                 .report = fake_no_report};
    assert_int_equal(sm_dispatcher_new(&opt, &d, &err), SM_OK);
    return d;
}

/* Orders a run of demo/x.run with this text and one permission (or NULL); its id is left in
 * run_id. */
static inline void fake_order(sm_dispatcher *d, const char *text, const char *grant,
                              double timeout_s, sm_run_done done, void *ctx, char run_id[33]) {
    sm_inspection *p = sm_calloc(1, sizeof *p);
    p->refs = 1;
    p->id = sm_strdup("demo/x.run");
    p->func_id = sm_strdup("demo__x.run");
    p->fn = sm_strdup("run");
    p->account = sm_strdup("default");
    p->source = sm_calloc(1, sizeof *p->source);
    p->source->refs = 1;
    p->source->file = sm_strdup("demo/x.lua");
    p->source->script = sm_blob_new(text, strlen(text));
    p->grants = grant ? json_pack("[s]", grant) : json_array();
    p->limits = json_pack("{s:f}", "wall", timeout_s);
    p->timeout = timeout_s;
    sm_run_order o = {.inspection = p,
                      .params = json_object(),
                      .ctx = json_pack("{s:s}", "id", p->id),
                      .done = done,
                      .done_ctx = ctx};
    sm_id_new(sm_wall_ns(), o.run_id);
    memcpy(run_id, o.run_id, sizeof o.run_id);
    sm_dispatcher_run(d, &o);
    sm_inspection_unref(p);
}
