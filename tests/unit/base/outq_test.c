/* The queue of lines before a pipe that nobody reads, a reader that is gone, a full disk; and the
 * log through it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/outq.h"
#include "base/secret.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t note(size_t dropped, char *out, size_t cap) {
    return (size_t)snprintf(out, cap, "lost %zu\n", dropped);
}

static void make_pipe(int p[2]) {
    assert_int_equal(pipe2(p, O_NONBLOCK | O_CLOEXEC), 0);
}

/* Reads until `mark` came, or 10 s; NUL-terminated, malloc'd. */
static char *read_until(int fd, const char *mark) {
    size_t n = 0, cap = 1 << 22;
    char *text = calloc(1, cap);
    int64_t end = sm_mono_ns() + 10 * SM_NS_PER_S;
    while (!strstr(text, mark) && sm_mono_ns() < end && n + 1 < cap) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        poll(&wait, 1, 100);
        ssize_t got = read(fd, text + n, cap - 1 - n);
        n += got > 0 ? (size_t)got : 0;
    }
    return text;
}

static void lines_pass(void **state) {
    (void)state;
    int p[2];
    make_pipe(p);
    sm_outq *q = sm_outq_new(note);
    sm_outq_put(q, p[1], "one\n", 4);
    sm_outq_put(q, p[1], "two\n", 4);
    assert_true(sm_outq_end(q, 5000));
    char *text = read_until(p[0], "two\n");
    assert_string_equal(text, "one\ntwo\n");
    free(text);
    close(p[0]);
    close(p[1]);
}

/* Nobody reads: whoever puts never waits, the oldest stay, the count is exact and comes in its
 * place. */
static void too_much(void **state) {
    (void)state;
    enum { N = 60000 };
    int p[2];
    char line[64];
    make_pipe(p);
    sm_outq *q = sm_outq_new(note);
    int64_t began = sm_mono_ns();
    for (int i = 0; i < N; i++)
        sm_outq_put(q, p[1], line, (size_t)snprintf(line, sizeof line, "line %d of many\n", i));
    assert_true(sm_mono_ns() - began < 10 * SM_NS_PER_S);
    size_t dropped = sm_outq_dropped(q);
    assert_true(dropped > N / 4 && dropped < N);
    char *text = read_until(p[0], "lost ");
    int next = 0, at = 0;
    size_t lost = 0;
    for (char *s = text, *eol; (eol = strchr(s, '\n')); s = eol + 1) {
        if (sscanf(s, "lost %zu", &lost) == 1)
            break;
        assert_int_equal(sscanf(s, "line %d of", &at), 1);
        assert_int_equal(at, next);
        next++;
    }
    free(text);
    sm_outq_put(q, p[1], "after\n", 6);
    text = read_until(p[0], "after\n");
    assert_non_null(strstr(text, "after\n"));
    assert_int_equal(next + dropped, N);
    if (lost)
        assert_int_equal(lost, dropped);
    free(text);
    assert_true(sm_outq_end(q, 5000));
    close(p[0]);
    close(p[1]);
}

static void reader_gone(void **state) {
    (void)state;
    int p[2];
    make_pipe(p);
    sm_outq *q = sm_outq_new(note);
    close(p[0]);
    for (int i = 0; i < 10; i++)
        sm_outq_put(q, p[1], "x\n", 2);
    int64_t end = sm_mono_ns() + 10 * SM_NS_PER_S;
    while (sm_outq_dropped(q) < 10 && sm_mono_ns() < end)
        poll(NULL, 0, 1);
    assert_int_equal(sm_outq_dropped(q), 10);
    assert_true(sm_outq_end(q, 5000));
    close(p[1]);
}

/* A named pipe gets a new reader: the count comes before the next line. */
static void reader_comes_back(void **state) {
    (void)state;
    char name[] = "/tmp/sm-outq-XXXXXX";
    assert_non_null(mkdtemp(name));
    char path[64];
    snprintf(path, sizeof path, "%s/fifo", name);
    assert_int_equal(mkfifo(path, 0600), 0);
    int r = open(path, O_RDONLY | O_NONBLOCK), w = open(path, O_WRONLY | O_NONBLOCK);
    sm_outq *q = sm_outq_new(note);
    close(r);
    for (int i = 0; i < 3; i++)
        sm_outq_put(q, w, "x\n", 2);
    while (sm_outq_dropped(q) < 3)
        poll(NULL, 0, 1);
    r = open(path, O_RDONLY | O_NONBLOCK);
    sm_outq_put(q, w, "again\n", 6);
    char *text = read_until(r, "again\n");
    assert_string_equal(text, "lost 3\nagain\n");
    free(text);
    assert_true(sm_outq_end(q, 5000));
    close(r);
    close(w);
    unlink(path);
    rmdir(name);
}

static void end_does_not_wait(void **state) {
    (void)state;
    int p[2];
    make_pipe(p);
    sm_outq *q = sm_outq_new(note);
    char big[4096];
    memset(big, 'x', sizeof big);
    for (int i = 0; i < 100; i++)
        sm_outq_put(q, p[1], big, sizeof big);
    int64_t began = sm_mono_ns();
    assert_true(sm_outq_end(q, 300));
    assert_true(sm_mono_ns() - began < 5 * SM_NS_PER_S);
    close(p[0]);
    close(p[1]);
}

/* JSON fields, masks and the count, through the process's own log. */
static void through_the_log(void **state) {
    (void)state;
    int p[2], keep = dup(STDERR_FILENO);
    make_pipe(p);
    dup2(p[1], STDERR_FILENO);
    sm_secret *secret = sm_secret_new("geheimnis", 9);
    sm_log_setup(SM_LOG_INFO, true, false);
    sm_log_begin();
    json_t *fields = json_pack("{s:s, s:i}", "id", "a.run geheimnis", "events", 2);
    sm_log_fields(SM_LOG_INFO, fields, "said \"geheimnis\"\n");
    sm_log_fields(SM_LOG_DEBUG, fields, "not shown");
    sm_log(SM_LOG_WARN, "plain");
    sm_log_end(5000);
    sm_log_setup(SM_LOG_NONE, false, false);
    dup2(keep, STDERR_FILENO);
    char *text = read_until(p[0], "plain\"}\n");
    char *eol = strchr(text, '\n');
    assert_non_null(eol);
    json_t *first = NULL;
    assert_int_equal(sm_json_parse(text, (size_t)(eol - text), 4096, &first, NULL), SM_OK);
    assert_string_equal(sm_json_str(first, "id", ""), "a.run ***");
    assert_string_equal(sm_json_str(first, "msg", ""), "said \"***\"\\n");
    assert_int_equal(sm_json_int(first, "events", 0), 2);
    assert_null(strstr(text, "not shown"));
    assert_int_equal(sm_log_dropped(), 0);
    json_decref(first);
    json_decref(fields);
    sm_secret_free(secret);
    free(text);
    close(keep);
    close(p[0]);
    close(p[1]);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_pass),        cmocka_unit_test(too_much),
        cmocka_unit_test(reader_gone),       cmocka_unit_test(reader_comes_back),
        cmocka_unit_test(end_does_not_wait), cmocka_unit_test(through_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
