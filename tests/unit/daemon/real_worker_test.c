/* The dispatcher with the program itself as worker: what scripts do there comes back as it should.
 * Skipped while the program is not built. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "fake_worker.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include <libgen.h>

typedef struct bench {
    uv_loop_t loop;
    sm_dispatcher *d;
    int stopped, done, loaded;
    char self[4096];
    char outcome[16], error[600], log[600];
    double took;
    json_t *head;
} bench;

static void on_report(void *ctx, const char *run_id, int64_t seq, const json_t *events) {
    bench *b = ctx;
    json_t *ids = json_array();
    for (size_t i = 0; i < json_array_size(events); i++)
        json_array_append_new(ids, json_string("event-1"));
    assert_true(sm_dispatcher_answer(b->d, run_id, seq, ids, NULL));
    json_decref(ids);
}

static void on_done(void *ctx, const sm_run_end *end) {
    bench *b = ctx;
    b->done++;
    snprintf(b->outcome, sizeof b->outcome, "%s", end->outcome);
    snprintf(b->error, sizeof b->error, "%s", end->error ? end->error : "");
    snprintf(b->log, sizeof b->log, "%.*s", (int)end->log_n, end->log);
}

static void on_loaded(void *ctx, const json_t *head, const char *log, size_t log_n) {
    bench *b = ctx;
    b->loaded++;
    b->head = json_deep_copy(head);
    snprintf(b->log, sizeof b->log, "%.*s", (int)log_n, log);
}

static void on_stopped(void *ctx) {
    ((bench *)ctx)->stopped++;
}

static bool start(bench *b) {
    memset(b, 0, sizeof *b);
    ssize_t n = readlink("/proc/self/exe", b->self, sizeof b->self - 32);
    assert_true(n > 0);
    b->self[n] = 0;
    char *dir = dirname(dirname(b->self));
    memmove(b->self, dir, strlen(dir) + 1);
    strcat(b->self, "/selfmon-lua");
    if (access(b->self, X_OK) != 0)
        return false;
    uv_loop_init(&b->loop);
    sm_dispatcher_options opt = {.loop = &b->loop,
                                 .self = b->self,
                                 .display = "inspections",
                                 .workers = 1,
                                 .runs_per_worker = 8,
                                 .max_running = 8,
                                 .report = on_report,
                                 .ctx = b};
    assert_int_equal(sm_dispatcher_new(&opt, &b->d, NULL), SM_OK);
    return true;
}

static void finish(bench *b) {
    sm_dispatcher_stop(b->d, 0, on_stopped, b);
    assert_true(fake_wait(&b->loop, &b->stopped, 1, 5000));
    sm_dispatcher_free(b->d);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0);
}

static sm_source *source(const char *text) {
    sm_source *s = sm_calloc(1, sizeof *s);
    s->refs = 1;
    s->file = sm_strdup("demo/x.lua");
    s->script = sm_blob_new(text, strlen(text));
    return s;
}

static json_t *limits(void) {
    return json_pack("{s:i, s:f, s:f, s:i, s:i}", "memory", 32 << 20, "wall", 1.0, "cpu", 10.0,
                     "log", 10000, "events", 100);
}

static void run_text(bench *b, const char *body) {
    char text[2000];
    snprintf(text, sizeof text, "monitor{ title = \"T\" }\nfunction run(params, ctx)\n%s\nend\n",
             body);
    sm_inspection *p = sm_calloc(1, sizeof *p);
    p->refs = 1;
    p->id = sm_strdup("demo/x.run");
    p->fn = sm_strdup("run");
    p->source = source(text);
    p->grants = json_array();
    p->limits = limits();
    p->timeout = 1;
    sm_run_order o = {.inspection = p,
                      .params = json_pack("{s:i}", "x", 7),
                      .ctx = json_pack("{s:s}", "id", p->id),
                      .done = on_done,
                      .done_ctx = b};
    sm_id_new(sm_wall_ns(), o.run_id);
    b->done = 0;
    int64_t began = sm_mono_ns();
    sm_dispatcher_run(b->d, &o);
    sm_inspection_unref(p);
    assert_true(fake_wait(&b->loop, &b->done, 1, 8000));
    b->took = (double)(sm_mono_ns() - began) / 1e9;
}

static void test_runs(void **state) {
    static const struct {
        const char *name, *body, *outcome, *error; /* error: part of it */
    } rows[] = {
        {"ok", "print(params.x, ctx.id)", "ok", ""},
        {"failed", "error('oh')", "failed", "inspections/demo/x.lua:3: oh"},
        {"report", "assert(EventReporter():report{title='a', status='ok', message='m'})", "ok", ""},
        {"loops", "while true do end", "timeout", ""},
        {"memory", "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(100000) .. i end", "limit", ""},
        {"pattern", "string.find(('a'):rep(40), ('a*'):rep(40) .. 'b')", "timeout",
         "time limit of 1 s reached in a call that does not return"},
        {"after the stuck one", "print(1)", "ok", ""},
    };
    bench b;
    if (!start(&b))
        skip();
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("row: %s\n", rows[i].name);
        run_text(&b, rows[i].body);
        if (strcmp(b.outcome, rows[i].outcome) != 0)
            fail_msg("%s: %s", b.outcome, b.error);
        assert_non_null(strstr(b.error, rows[i].error));
        assert_true(b.took < 1 + 0.3 + 2);
    }
    finish(&b);
    (void)state;
}

static void test_load(void **state) {
    static const struct {
        const char *name, *text, *error;
        int n;
    } rows[] = {
        {"two", "monitor{title='a'}\nfunction one() end\nmonitor<title='b'>\nfunction two() end",
         "", 2},
        {"none", "local x = 1", "inspections/demo/x.lua", 0},
        {"syntax", "x = = 1", "inspections/demo/x.lua:1:", 0},
        {"loops", "while true do end", "inspections/demo/x.lua", 0},
    };
    bench b;
    if (!start(&b))
        skip();
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("row: %s\n", rows[i].name);
        sm_source *s = source(rows[i].text);
        json_t *l = limits();
        b.loaded = 0;
        sm_dispatcher_load(b.d, s, l, on_loaded, &b);
        json_decref(l);
        sm_source_unref(s);
        assert_true(fake_wait(&b.loop, &b.loaded, 1, 5000));
        assert_int_equal(json_array_size(json_object_get(b.head, "inspections")), rows[i].n);
        assert_non_null(strstr(sm_json_str(b.head, "error", ""), rows[i].error));
        json_decref(b.head);
    }
    finish(&b);
    (void)state;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_load),
    };
    sm_log_setup(SM_LOG_ERROR, false, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
