/* Questions of runs to services: answered, refused, dropped, and asked by workers that lie
 * (tests/fakes/fake_worker.py). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "fake_run.h"
#include "base/log.h"
#include "daemon/asks.h"

typedef struct bench {
    uv_loop_t loop;
    char dir[64], self[128];
    sm_dispatcher *d;
    int stopped;
    int begun, dropped;
    sm_ask *held; /* by the service `slow` */
} bench;

typedef struct seen {
    int done;
    char run_id[33], outcome[16], error[300], log[200];
} seen;

/* Says what it got. */
static void echo(void *ctx, sm_ask *ask) {
    ((bench *)ctx)->begun++;
    assert_string_equal(ask->inspection->id, "demo/x.run");
    assert_true(ask->deadline_ns > sm_mono_ns());
    sm_ask_answer(ask, json_incref(ask->args), ask->body, ask->body_n);
}

static void refuse(void *ctx, sm_ask *ask) {
    ((bench *)ctx)->begun++;
    sm_ask_fail(ask, "denied", "no %s for %s, %s", ask->what, ask->inspection->id,
                sm_ask_granted(ask, "exec:/bin/ls")
                    ? sm_ask_granted(ask, "exec:/bin/sh") ? "granted all" : "granted ls"
                    : "granted nothing");
}

static void hold(void *ctx, sm_ask *ask) {
    bench *b = ctx;
    b->begun++;
    b->held = ask;
}

static void let_go(void *ctx, sm_ask *ask) {
    bench *b = ctx;
    assert_ptr_equal(b->held, ask);
    assert_true(ask->dropped);
    b->dropped++;
}

static void start(bench *b) {
    memset(b, 0, sizeof *b);
    fake_make(b->dir, b->self);
    uv_loop_init(&b->loop);
    b->d = fake_dispatcher(&b->loop, b->self);
    sm_asks_serve(b->d, &(sm_ask_service){.what = "echo", .ctx = b, .begin = echo});
    sm_asks_serve(b->d, &(sm_ask_service){.what = "few", .ctx = b, .per_run = 2, .begin = echo});
    sm_asks_serve(b->d, &(sm_ask_service){.what = "refuse", .ctx = b, .begin = refuse});
    sm_asks_serve(b->d, &(sm_ask_service){.what = "slow", .ctx = b, .begin = hold, .drop = let_go});
}

static void on_stopped(void *ctx) {
    ((bench *)ctx)->stopped++;
}

static void finish(bench *b) {
    sm_dispatcher_stop(b->d, 0, on_stopped, b);
    assert_true(fake_wait(&b->loop, &b->stopped, 1, 20000));
    sm_dispatcher_free(b->d);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    fake_remove(b->dir);
}

static void on_done(void *ctx, const sm_run_end *end) {
    seen *s = ctx;
    s->done++;
    snprintf(s->outcome, sizeof s->outcome, "%s", end->outcome);
    snprintf(s->error, sizeof s->error, "%s", end->error ? end->error : "");
    snprintf(s->log, sizeof s->log, "%.*s", (int)end->log_n, end->log ? end->log : "");
}

static void order(bench *b, const char *text, const char *grant, seen *s) {
    memset(s, 0, sizeof *s);
    fake_order(b->d, text, grant, 30, on_done, s, s->run_id);
}

static void test_answers(void **state) {
    static const struct {
        const char *text, *grant, *outcome, *says;
        int begun;
    } rows[] = {
        {"-- run ask echo hello", NULL, "ok", "{\"x\": 1} hello", 1},
        {"-- run ask echo\n-- run ask echo two\n-- run ask few", NULL, "ok",
         "{\"x\": 1} ; {\"x\": 1} two; {\"x\": 1} ", 3},
        {"-- run ask few\n-- run ask few\n-- run ask few", NULL, "failed",
         "limit: this run has asked for \"few\" 2 times: that is the most", 2},
        {"-- run ask refuse", NULL, "failed", "denied: no refuse for demo/x.run, granted nothing",
         1},
        {"-- run ask refuse", "exec:/bin/ls", "failed",
         "denied: no refuse for demo/x.run, granted ls", 1},
        {"-- run ask refuse", "exec:/bin/**", "failed",
         "denied: no refuse for demo/x.run, granted all", 1},
        {"-- run ask unheard-of", NULL, "failed",
         "unavailable: this process offers no \"unheard-of\"", 0},
        {"-- run ask2 slow", NULL, "lost",
         "its worker process was ended because it broke the protocol", 1},
        {"-- run askwrong echo", NULL, "lost",
         "its worker process was ended because it broke the protocol", 0},
    };
    bench b;
    start(&b);
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        seen s;
        print_message("row: %s\n", rows[i].text);
        b.begun = 0;
        order(&b, rows[i].text, rows[i].grant, &s);
        assert_true(fake_wait(&b.loop, &s.done, 1, 20000));
        assert_string_equal(s.outcome, rows[i].outcome);
        assert_string_equal(strcmp(s.outcome, "ok") == 0 ? s.log : s.error, rows[i].says);
        assert_int_equal(b.begun, rows[i].begun);
    }
    assert_int_equal(b.dropped, 1);
    sm_ask_answer(b.held, json_true(), "late", 4); /* to nobody */
    finish(&b);
    (void)state;
}

static void test_dropped(void **state) {
    bench b;
    seen s, neighbour;
    start(&b);
    order(&b, "-- run ask slow", NULL, &s);
    assert_true(fake_wait(&b.loop, &b.begun, 1, 20000));
    sm_dispatcher_cancel(b.d, s.run_id);
    assert_true(fake_wait(&b.loop, &b.dropped, 1, 20000));
    sm_ask_fail(b.held, "late", "nobody hears this");
    order(&b, "-- run ask echo still", NULL, &neighbour);
    assert_true(fake_wait(&b.loop, &neighbour.done, 1, 20000));
    assert_string_equal(neighbour.log, "{\"x\": 1} still");
    assert_true(fake_wait(&b.loop, &s.done, 1, 20000));
    finish(&b);
    (void)state;
}

/* The dispatcher goes first: the service ends its ask afterwards. */
static void test_outlived(void **state) {
    bench b;
    seen s;
    start(&b);
    order(&b, "-- run ask slow", NULL, &s);
    assert_true(fake_wait(&b.loop, &b.begun, 1, 20000));
    finish(&b);
    assert_int_equal(s.done, 1);
    assert_int_equal(b.dropped, 1);
    sm_ask_answer(b.held, NULL, NULL, 0);
    (void)state;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_dropped),
        cmocka_unit_test(test_outlived),
    };
    sm_log_setup(SM_LOG_ERROR, false, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
