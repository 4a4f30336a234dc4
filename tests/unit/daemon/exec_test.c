/* The service exec towards workers that lie (tests/fakes/fake_worker.py): nothing they send is
 * believed; how many run at once; what becomes of asks whose run ends, or whose daemon does. The
 * keeper is this test itself. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "fake_run.h"
#include "base/log.h"
#include "daemon/exec.h"
#include "daemon/exec_keeper.h"
#include <limits.h>

typedef struct bench {
    uv_loop_t loop;
    char dir[64], self[128], keeper[PATH_MAX];
    sm_dispatcher *d;
    sm_exec *e;
    int stopped;
} bench;

typedef struct seen {
    int done;
    char run_id[33], outcome[16], text[600];
} seen;

static void start(bench *b) {
    memset(b, 0, sizeof *b);
    fake_make(b->dir, b->self);
    assert_true(readlink("/proc/self/exe", b->keeper, sizeof b->keeper - 1) > 0);
    uv_loop_init(&b->loop);
    b->d = fake_dispatcher(&b->loop, b->self);
    b->e = sm_exec_new(&b->loop, b->d, b->keeper);
}

static void on_stopped(void *ctx) {
    ((bench *)ctx)->stopped++;
}

static void finish(bench *b) {
    sm_dispatcher_stop(b->d, 0, on_stopped, b);
    assert_true(fake_wait(&b->loop, &b->stopped, 1, 30000));
    sm_exec_close(b->e);
    sm_dispatcher_free(b->d);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    sm_exec_free(b->e);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    fake_remove(b->dir);
}

static void on_done(void *ctx, const sm_run_end *end) {
    seen *s = ctx;
    s->done++;
    snprintf(s->outcome, sizeof s->outcome, "%s", end->outcome);
    if (strcmp(end->outcome, "ok") == 0)
        snprintf(s->text, sizeof s->text, "%.*s", (int)end->log_n, end->log ? end->log : "");
    else
        snprintf(s->text, sizeof s->text, "%s", end->error ? end->error : "");
}

static void order(bench *b, const char *text, seen *s) {
    memset(s, 0, sizeof *s);
    fake_order(b->d, text, "exec:/bin/*", 300, on_done, s, s->run_id);
}

static int64_t count(const bench *b, const char *key) {
    json_t *status = sm_exec_status(b->e);
    int64_t n = sm_json_int(status, key, -1);
    json_decref(status);
    return n;
}

/* Turns the loop until the status has this number. */
static void await_count(bench *b, const char *key, int64_t want) {
    static const int never = 0;
    for (int i = 0; i < 6000 && count(b, key) != want; i++)
        fake_wait(&b->loop, &never, 1, 10);
    assert_int_equal(count(b, key), want);
}

static void test_nothing_is_believed(void **state) {
#define NOT "invalid: exec: "
#define CMD "-- run asks exec {\"cmd\": \"/bin/echo\", \"timeout\": 20"
    static const struct {
        const char *text, *outcome, *says;
    } rows[] = {
        {CMD ", \"args\": [\"a b\", \"$HOME\"]}", "ok", "\"code\": 0"},
        {CMD ", \"args\": [\"a b\", \"$HOME\"]}", "ok", "a b $HOME\n"},
        {"-- run asks exec {\"cmd\": \"/bin/sh\", \"timeout\": 20, \"stdin\": 3, \"args\": "
         "[\"-c\", \"cat; echo $A:$B:$PATH:$SELFMON_X\"], \"env\": [[\"A\", 2], [\"B\", 0]]}inpxy",
         "ok", "inpxy::/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:\n"},
        {"-- run asks exec {\"cmd\": \"/usr/bin/id\", \"timeout\": 20}", "failed",
         "denied: permission \"exec:/usr/bin/id\" is not granted to demo/x.run: add it to grant in "
         "selfmon.conf.lua"},
        {"-- run asks exec {\"cmd\": \"/bin/../bin/id\", \"timeout\": 20}", "failed",
         "invalid: exec.run: cmd: expected a path without"},
        {"-- run asks exec {\"cmd\": \"bin/id\", \"timeout\": 20}", "failed", "absolute path"},
        {"-- run asks exec {\"timeout\": 20}", "failed", "expected a path"},
        {"-- run asks exec {\"cmd\": \"/bin/echo\"}", "failed", "timeout"},
        {"-- run asks exec {\"cmd\": \"/bin/echo\", \"timeout\": -1}", "failed", "timeout"},
        {"-- run asks exec {\"cmd\": \"/bin/echo\", \"timeout\": 1e9}", "failed", "timeout"},
        {CMD ", \"args\": [1]}", "failed", NOT "an argument"},
        {CMD ", \"args\": [\"a\\u0000b\"]}", "failed", NOT "an argument"},
        {CMD ", \"cwd\": \"/tmp/..\"}", "failed", NOT "cwd"},
        {CMD ", \"stdin\": 5}abcd", "failed", NOT "stdin"},
        {CMD ", \"stdin\": -1}abcd", "failed", NOT "stdin"},
        {CMD ", \"stdin\": 3}abcd", "failed", NOT "bytes are left over"},
        {CMD ", \"env\": [[\"LD_PRELOAD\", 1]]}x", "failed", NOT "a name in env"},
        {CMD ", \"env\": [[\"SELFMON_SECRET\", 1]]}x", "failed", NOT "a name in env"},
        {CMD ", \"env\": [[\"A=B\", 1]]}x", "failed", NOT "a name in env"},
        {CMD ", \"env\": [[\"A\", 2]]}x", "failed", NOT "a value in env"},
        {CMD ", \"env\": [[\"A\", -1]]}x", "failed", NOT "a value in env"},
        {CMD ", \"env\": [[\"A\"], 7]}x", "failed", NOT "a name in env"},
        {"-- run asks exec {\"cmd\": \"/bin/no-such-program\", \"timeout\": 20}", "failed",
         "not_found: /bin/no-such-program: No such file"},
    };
    bench b;
    start(&b);
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        seen s;
        print_message("row: %s\n", rows[i].text);
        order(&b, rows[i].text, &s);
        assert_true(fake_wait(&b.loop, &s.done, 1, 60000));
        assert_string_equal(s.outcome, rows[i].outcome);
        if (!strstr(s.text, rows[i].says))
            fail_msg("it says: %s", s.text);
    }
    assert_int_equal(count(&b, "running"), 0);
    assert_int_equal(count(&b, "waiting"), 0);
    assert_int_equal(count(&b, "started"), 4);
    finish(&b);
    (void)state;
}

static void test_too_many(void **state) {
    char text[8192];
    size_t n = (size_t)snprintf(text, sizeof text, CMD ", \"args\": [\"0\"");
    for (int i = 0; i < 256; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, ", \"%d\"", i);
    snprintf(text + n, sizeof text - n, "]}");
    bench b;
    seen s;
    start(&b);
    order(&b, text, &s);
    assert_true(fake_wait(&b.loop, &s.done, 1, 60000));
    assert_non_null(strstr(s.text, "too many arguments"));
    finish(&b);
    (void)state;
}

static void test_how_many_at_once(void **state) {
    enum { RUNS = SM_EXEC_CHILDREN + 3 };
    static const char text[] =
        "-- run asks exec {\"cmd\": \"/bin/sleep\", \"timeout\": 200, \"args\": [\"200\"]}";
    bench b;
    seen s[RUNS];
    start(&b);
    for (int i = 0; i < RUNS; i++)
        order(&b, text, &s[i]);
    await_count(&b, "running", SM_EXEC_CHILDREN);
    await_count(&b, "waiting", 3);
    /* Which of them wait is the worker's order: of all, one after the other. */
    sm_dispatcher_cancel(b.d, s[RUNS - 1].run_id);
    sm_dispatcher_cancel(b.d, s[RUNS - 2].run_id);
    sm_dispatcher_cancel(b.d, s[0].run_id);
    await_count(&b, "waiting", 0);
    await_count(&b, "running", SM_EXEC_CHILDREN);
    finish(&b); /* with all of them running */
    for (int i = 0; i < RUNS; i++)
        assert_int_equal(s[i].done, 1);
    (void)state;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--exec-child") == 0)
        return sm_exec_keeper_main(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_believed),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_how_many_at_once),
    };
    sm_log_setup(SM_LOG_ERROR, false, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
