/* files: the services `file` and `processes` against workers that ask what they may not
 * (tests/fakes/fake_worker.py). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "fake_run.h"
#include "base/log.h"
#include "daemon/files.h"

typedef struct bench {
    uv_loop_t loop;
    char dir[64], self[128], place[128];
    sm_dispatcher *d;
    sm_files *files;
    int stopped, done;
} bench;

typedef struct seen {
    bench *b;
    int done;
    char run_id[33], outcome[16], error[600], log[4000];
} seen;

static void put(const bench *b, const char *name, const char *text) {
    char *path = sm_asprintf("%s/%s", b->place, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(path);
}

static void start(bench *b) {
    memset(b, 0, sizeof *b);
    fake_make(b->dir, b->self);
    snprintf(b->place, sizeof b->place, "%s/place", b->dir);
    assert_int_equal(mkdir(b->place, 0700), 0);
    put(b, "a", "hello");
    char *out = sm_asprintf("%s/out", b->place);
    assert_int_equal(symlink("/etc/passwd", out), 0);
    free(out);
    uv_loop_init(&b->loop);
    b->d = fake_dispatcher(&b->loop, b->self);
    b->files = sm_files_new(&b->loop, b->d);
}

static void on_stopped(void *ctx) {
    ((bench *)ctx)->stopped++;
}

static void finish(bench *b) {
    sm_dispatcher_stop(b->d, 0, on_stopped, b);
    assert_true(fake_wait(&b->loop, &b->stopped, 1, 20000));
    sm_dispatcher_free(b->d);
    sm_files_free(b->files);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    fake_remove(b->dir);
}

static void on_done(void *ctx, const sm_run_end *end) {
    seen *s = ctx;
    s->done++;
    s->b->done++;
    snprintf(s->outcome, sizeof s->outcome, "%s", end->outcome);
    snprintf(s->error, sizeof s->error, "%s", end->error ? end->error : "");
    snprintf(s->log, sizeof s->log, "%.*s", (int)end->log_n, end->log ? end->log : "");
}

static void order(bench *b, const char *text, const char *grant, seen *s) {
    memset(s, 0, sizeof *s);
    s->b = b;
    fake_order(b->d, text, grant, 30, on_done, s, s->run_id);
}

/* In text and grant %s is the place. */
static void test_what_workers_ask(void **state) {
    static const struct {
        const char *what, *args, *grant, *says; /* part of log or, failed, of error */
        bool ok;
    } rows[] = {
        {"file", "{\"op\": \"read\", \"path\": \"%s/a\"}", "file:%s/*", "} hello", true},
        {"file", "{\"op\": \"stat\", \"path\": \"%s/a\"}", "file:%s/a", "\"size\": 5", true},
        {"file", "{\"op\": \"list\", \"path\": \"%s\"}", "file:%s/*", "\"name\": \"out\"", true},
        {"file", "{\"op\": \"tail\", \"path\": \"%s/a\"}", "file:%s/*", "\"partial\": \"hello\"",
         true},
        {"file", "{\"op\": \"read\", \"path\": \"%s/a\"}", NULL, "denied: ", false},
        {"file", "{\"op\": \"read\", \"path\": \"%s/a\"}", "exec:%s/*", "is not granted", false},
        {"file", "{\"op\": \"read\", \"path\": \"/etc/shadow\"}", "file:%s/*",
         "denied: /etc/shadow is not granted", false},
        {"file", "{\"op\": \"read\", \"path\": \"%s/../a\"}", "file:/**", "invalid: ", false},
        {"file", "{\"op\": \"read\", \"path\": \"%s/out\"}", "file:%s/*",
         "/etc/passwd, which is not granted", false},
        {"file", "{\"op\": \"read\", \"path\": \"%s/none\"}", "file:%s/*", "not_found: ", false},
        {"file", "{\"op\": \"read\", \"path\": \"%s/a\", \"max\": 99999999}", "file:%s/*",
         "invalid: ", false},
        {"file", "{\"op\": \"write\", \"path\": \"%s/a\"}", "file:%s/*", "invalid: ", false},
        {"file", "{\"op\": \"read\", \"path\": 7}", "file:%s/*", "invalid: expected a path", false},
        {"file", "{}", "file:%s/*", "invalid: expected a path", false},
        {"processes", "{\"pid\": 1}", NULL, "\"pid\": 1,", true},
        {"processes", "{\"pid\": 1, \"cmdline\": true}", NULL,
         "denied: the permission \"processes:cmdline\" is not granted", false},
        {"processes", "{\"pid\": 1, \"match\": \"\"}", NULL, "denied: ", false},
        {"processes", "{\"pid\": 1, \"cmdline\": true}", "processes:cmdline",
         "\"cmdline\": ", true},
    };
    bench b;
    start(&b);
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        seen s;
        char args[300], grant[200], text[400];
        const char *from[2] = {rows[i].args, rows[i].grant ? rows[i].grant : ""};
        char *to[2] = {args, grant};
        for (int k = 0; k < 2; k++) {
            const char *mark = strstr(from[k], "%s");
            snprintf(to[k], k ? sizeof grant : sizeof args, "%.*s%s%s",
                     (int)(mark ? mark - from[k] : (long)strlen(from[k])), from[k],
                     mark ? b.place : "", mark ? mark + 2 : "");
        }
        snprintf(text, sizeof text, "-- run asks %s %s", rows[i].what, args);
        order(&b, text, rows[i].grant ? grant : NULL, &s);
        assert_true(fake_wait(&b.loop, &s.done, 1, 20000));
        if (strcmp(s.outcome, rows[i].ok ? "ok" : "failed") != 0 ||
            !strstr(rows[i].ok ? s.log : s.error, rows[i].says))
            fail_msg("%s: %s, %s%s", text, s.outcome, s.error, s.log);
    }
    finish(&b);
    (void)state;
}

/* Runs that end while their question waits, is read, or was answered; and one that outlives them.
 */
static void test_dropped(void **state) {
    enum { RUNS = 40 };
    bench b;
    seen *s = calloc(RUNS + 1, sizeof *s);
    start(&b);
    for (int i = 0; i < RUNS; i++)
        order(&b, "-- run asks processes {}", NULL, &s[i]);
    assert_true(fake_wait(&b.loop, &b.done, 4, 60000));
    for (int i = 0; i < RUNS; i++)
        sm_dispatcher_cancel(b.d, s[i].run_id);
    order(&b, "-- run asks processes {\"pid\": 1}", NULL, &s[RUNS]);
    assert_true(fake_wait(&b.loop, &b.done, RUNS + 1, 60000));
    for (int i = 0; i <= RUNS; i++)
        assert_int_equal(s[i].done, 1);
    assert_string_equal(s[RUNS].outcome, "ok");
    finish(&b);
    free(s);
    (void)state;
}

/* What is being read when everything ends is let go of. */
static void test_stopped(void **state) {
    bench b;
    seen s[8];
    start(&b);
    for (int i = 0; i < 8; i++)
        order(&b, "-- run asks processes {}", NULL, &s[i]);
    assert_true(fake_wait(&b.loop, &b.done, 1, 60000));
    finish(&b);
    (void)state;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_workers_ask),
        cmocka_unit_test(test_dropped),
        cmocka_unit_test(test_stopped),
    };
    sm_log_setup(SM_LOG_ERROR, false, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
