/* The dispatcher against workers that obey, hang, die and lie (tests/fakes/fake_worker.py). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "fake_worker.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/str.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

typedef struct bench {
    uv_loop_t loop;
    char dir[64], self[128];
    sm_dispatcher *d;
    int stopped;
    int reports, convicted;
    const char *refuse; /* answer to reports: this error, or NULL: ids */
} bench;

typedef struct seen { /* what came of one run */
    int done;
    char run_id[33];
    char outcome[16], error[300], log[100];
    bool alone, reported;
    int signal, pid, events;
    int64_t at_ns;
    int *counter;
} seen;

static void on_report(void *ctx, const char *run_id, int64_t seq, const json_t *events) {
    bench *b = ctx;
    b->reports++;
    json_t *ids = json_array();
    for (size_t i = 0; i < json_array_size(events); i++)
        json_array_append_new(ids, json_string("event-1"));
    assert_true(sm_dispatcher_answer(b->d, run_id, seq, b->refuse ? NULL : ids, b->refuse));
    assert_false(sm_dispatcher_answer(b->d, run_id, seq, ids, NULL));
    json_decref(ids);
}

static void on_stuck(void *ctx, sm_inspection *inspection) {
    assert_string_equal(inspection->id, "demo/x.run");
    ((bench *)ctx)->convicted++;
}

static void start_pulse(bench *b, int workers, int runs_per_worker, bool isolation, int pulse_ms) {
    memset(b, 0, sizeof *b);
    fake_make(b->dir, b->self);
    uv_loop_init(&b->loop);
    sm_dispatcher_options opt = {.loop = &b->loop,
                                 .self = b->self,
                                 .display = "inspections",
                                 .workers = workers,
                                 .runs_per_worker = runs_per_worker,
                                 .max_running = 4096,
                                 .process_isolation = isolation,
                                 .pulse_ms = pulse_ms,
                                 .report = on_report,
                                 .ctx = b,
                                 .stuck = on_stuck,
                                 .stuck_ctx = b};
    sm_err err = SM_ERR_INIT;
    assert_int_equal(sm_dispatcher_new(&opt, &b->d, &err), SM_OK);
}

static void start(bench *b, int workers, int runs_per_worker, bool isolation) {
    start_pulse(b, workers, runs_per_worker, isolation, 0);
}

static void on_stopped(void *ctx) {
    ((bench *)ctx)->stopped++;
}

/* Stops, and looks for what must not be left: processes, handles. */
static void finish(bench *b) {
    sm_dispatcher_stop(b->d, 0, on_stopped, b);
    assert_true(fake_wait(&b->loop, &b->stopped, 1, 5000));
    sm_dispatcher_free(b->d);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(b->stopped, 1);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* neither child nor zombie */
    assert_int_equal(errno, ECHILD);
    fake_remove(b->dir);
}

static sm_source *source(const char *text) {
    sm_source *s = sm_calloc(1, sizeof *s);
    s->refs = 1;
    s->file = sm_strdup("demo/x.lua");
    s->script = sm_blob_new(text, strlen(text));
    return s;
}

static sm_inspection *inspection(const char *text, double timeout, const char *grant) {
    sm_inspection *p = sm_calloc(1, sizeof *p);
    p->refs = 1;
    p->id = sm_strdup("demo/x.run");
    p->func_id = sm_strdup("demo__x.run");
    p->fn = sm_strdup("run");
    p->account = sm_strdup("default");
    p->source = source(text);
    p->grants = grant ? json_pack("[s]", grant) : json_array();
    p->limits = json_pack("{s:f}", "wall", timeout);
    p->timeout = timeout;
    return p;
}

static void on_done(void *ctx, const sm_run_end *end) {
    seen *s = ctx;
    s->done++;
    s->at_ns = sm_mono_ns();
    snprintf(s->outcome, sizeof s->outcome, "%s", end->outcome);
    snprintf(s->error, sizeof s->error, "%s", end->error ? end->error : "");
    snprintf(s->log, sizeof s->log, "%.*s", (int)end->log_n, end->log);
    s->alone = end->alone;
    s->reported = end->reported;
    s->signal = end->signal;
    s->pid = end->worker_pid;
    s->events = end->events;
    if (s->counter)
        ++*s->counter;
}

static void order_in(bench *b, sm_inspection *p, bool alone, bool lane, seen *s) {
    sm_run_order o = {.inspection = p,
                      .params = json_object(),
                      .ctx = json_pack("{s:s}", "id", p->id),
                      .alone = alone,
                      .lane = lane,
                      .done = on_done,
                      .done_ctx = s};
    int *counter = s->counter;
    memset(s, 0, sizeof *s);
    s->counter = counter;
    sm_id_new(sm_wall_ns(), o.run_id);
    memcpy(s->run_id, o.run_id, sizeof s->run_id);
    sm_dispatcher_run(b->d, &o);
    assert_int_equal(s->done, 0); /* never from inside */
}

static void order(bench *b, sm_inspection *p, bool alone, seen *s) {
    order_in(b, p, alone, false, s);
}

static void run_lane(bench *b, const char *text, double timeout, bool alone, seen *s) {
    sm_inspection *p = inspection(text, timeout, NULL);
    order_in(b, p, alone, true, s);
    sm_inspection_unref(p);
}

static void run_text(bench *b, const char *text, bool alone, seen *s) {
    sm_inspection *p = inspection(text, 10, NULL);
    order(b, p, alone, s);
    sm_inspection_unref(p);
}

static int count_fds(void) {
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void test_outcomes(void **state) {
    static const struct {
        const char *name, *text, *outcome, *error;
        bool alone;
        int signal, events;
        bool reported;
        const char *refuse;
    } rows[] = {
        {"ok", "-- run sleep 0", "ok", "", false, 0, 0, false, NULL},
        {"reports twice", "-- run report 2", "ok", "", false, 0, 2, true, NULL},
        {"refused report", "-- run report 2", "failed", "outbox is full", false, 0, 0, true,
         "outbox is full"},
        {"crash", "-- run die", "lost",
         "its worker process was ended by signal 11 (Segmentation fault)", false, 11, 0, false,
         NULL},
        {"crash alone", "-- run die", "lost",
         "its worker process was ended by signal 11 (Segmentation fault)", true, 11, 0, false,
         NULL},
        {"exit", "-- run exit 3", "lost", "its worker process exited with code 3", false, 0, 0,
         false, NULL},
        {"reported, then crash", "-- run report 1\n-- run die", "lost",
         "its worker process was ended by signal 11 (Segmentation fault)", false, 11, 0, true,
         NULL},
        {"foreign run", "-- run lie\n-- run hang", "lost",
         "its worker process was ended because it broke the protocol", false, 9, 0, false, NULL},
        {"garbage", "-- run garbage\n-- run hang", "lost",
         "its worker process was ended because it broke the protocol", false, 9, 0, false, NULL},
        {"forged sequence", "-- run forge\n-- run hang", "lost",
         "its worker process was ended because it broke the protocol", false, 9, 0, false, NULL},
        {"second hello", "-- run hello\n-- run hang", "lost",
         "its worker process was ended because it broke the protocol", false, 9, 0, false, NULL},
        {"unknown outcome", "-- run outcome", "lost",
         "its worker process was ended because it broke the protocol", false, 9, 0, false, NULL},
    };
    bench b;
    start(&b, 1, 64, false);
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        seen s = {0};
        print_message("row: %s\n", rows[i].name);
        b.refuse = rows[i].refuse;
        run_text(&b, rows[i].text, rows[i].alone, &s);
        assert_true(fake_wait(&b.loop, &s.done, 1, 5000));
        assert_string_equal(s.outcome, rows[i].outcome);
        assert_string_equal(s.error, rows[i].error);
        assert_int_equal(s.alone, rows[i].alone);
        assert_int_equal(s.signal, rows[i].signal);
        assert_int_equal(s.reported, rows[i].reported);
        if (strcmp(rows[i].outcome, "ok") == 0) {
            assert_int_equal(s.events, rows[i].events);
            assert_string_equal(s.log, "0\tprint\thello");
        }
    }
    finish(&b);
    (void)state;
}

static void test_stuck(void **state) {
    bench b;
    seen stuck = {0}, good = {0}, slow = {0}, later = {0};
    start(&b, 1, 64, false);
    sm_inspection *hang = inspection("-- run hang", 0.5, NULL);
    sm_inspection *short_one = inspection("-- run sleep 1.2", 20, NULL);
    sm_inspection *long_one = inspection("-- run sleep 60", 120, NULL);
    run_text(&b, "-- run sleep 0", false, &later); /* the worker is up */
    assert_true(fake_wait(&b.loop, &later.done, 1, 5000));
    int64_t began = sm_mono_ns();
    order(&b, hang, false, &stuck);
    order(&b, short_one, false, &good);
    order(&b, long_one, false, &slow);
    assert_true(fake_wait(&b.loop, &stuck.done, 1, 5000));
    double took = (double)(stuck.at_ns - began) / 1e9;
    assert_string_equal(stuck.outcome, "timeout");
    assert_string_equal(stuck.error,
                        "time limit of 0.5 s reached in a call that does not return; see timeout");
    assert_true(took >= 0.5 && took < 0.5 + 1.0);
    json_t *status = sm_dispatcher_status(b.d);
    assert_int_equal(json_array_size(json_object_get(status, "workers")), 2);
    json_decref(status);
    run_text(&b, "-- run sleep 0", false, &later);
    assert_true(fake_wait(&b.loop, &later.done, 1, 2000));
    assert_string_equal(later.outcome, "ok");
    assert_int_not_equal(later.pid, stuck.pid); /* no new work for the stuck one */
    assert_true(fake_wait(&b.loop, &good.done, 1, 3000));
    assert_string_equal(good.outcome, "ok");
    assert_int_equal(good.pid, stuck.pid);
    assert_true(fake_wait(&b.loop, &slow.done, 1, 7000));
    assert_string_equal(slow.outcome, "lost");
    assert_non_null(strstr(slow.error, "because demo/x.run did not return"));
    took = (double)(slow.at_ns - stuck.at_ns) / 1e9;
    assert_true(took > 4.5 && took < 6);
    assert_int_equal(stuck.done + good.done + slow.done, 3);
    assert_int_equal(b.convicted, 1);
    sm_inspection_unref(hang);
    sm_inspection_unref(short_one);
    sm_inspection_unref(long_one);
    finish(&b);
    (void)state;
}

/* One at a time, niced, in one worker; a run that wants it for itself gets a fresh one. */
static void test_lane(void **state) {
    bench b;
    seen s[6] = {{0}};
    int done = 0;
    start(&b, 1, 64, false);
    int64_t began = sm_mono_ns();
    for (int i = 0; i < 6; i++) {
        s[i].counter = &done;
        run_lane(&b, i == 5 ? "-- run nice" : "-- run sleep 0.2", 10, i == 2, &s[i]);
    }
    assert_true(fake_wait(&b.loop, &done, 6, 10000));
    assert_true(sm_mono_ns() - began >= INT64_C(1000000000));
    for (int i = 0; i < 6; i++) {
        if (i < 5)
            assert_string_equal(s[i].outcome, "ok");
        assert_true(s[i].alone);
        assert_true(i == 0 || s[i].at_ns - s[i - 1].at_ns >= (i == 5 ? 0 : INT64_C(190000000)));
    }
    assert_string_equal(s[5].error, "19");
    assert_int_equal(s[1].pid, s[0].pid);
    assert_int_not_equal(s[2].pid, s[1].pid);
    assert_int_not_equal(s[3].pid, s[2].pid);
    assert_int_equal(s[4].pid, s[3].pid);
    finish(&b);
    (void)state;
}

/* What hangs or dies in the lane is followed by the next one, in a new worker. */
static void test_lane_goes_on(void **state) {
    bench b;
    seen s[4] = {{0}};
    static const char *const texts[] = {"-- run hang", "-- run die", "-- run sleep 0",
                                        "-- run sleep 0"};
    static const char *const outcomes[] = {"timeout", "lost", "ok", "ok"};
    int done = 0;
    start(&b, 1, 64, false);
    for (int i = 0; i < 4; i++) {
        s[i].counter = &done;
        run_lane(&b, texts[i], i == 0 ? 0.3 : 10, i == 3, &s[i]);
    }
    assert_true(fake_wait(&b.loop, &done, 4, 15000));
    for (int i = 0; i < 4; i++) {
        assert_string_equal(s[i].outcome, outcomes[i]);
        for (int k = 0; k < i; k++)
            assert_int_not_equal(s[i].pid, s[k].pid);
    }
    finish(&b);
    (void)state;
}

/* A worker that comes back after its run was given up was only slow: it serves on. */
static void test_late(void **state) {
    bench b;
    seen late = {0}, after = {0};
    start(&b, 1, 64, false);
    sm_inspection *p = inspection("-- run sleep 0.9", 0.3, NULL);
    order(&b, p, false, &late);
    assert_true(fake_wait(&b.loop, &late.done, 1, 5000));
    assert_string_equal(late.outcome, "timeout");
    for (int i = 0; i < 50 && after.pid != late.pid; i++) {
        run_text(&b, "-- run sleep 0.05", false, &after);
        assert_true(fake_wait(&b.loop, &after.done, 1, 5000));
        assert_string_equal(after.outcome, "ok");
    }
    sm_dispatcher_counts counts;
    sm_dispatcher_count(b.d, &counts);
    assert_int_equal(counts.stuck, 1);
    assert_int_equal(counts.killed[SM_KILL_STUCK], 0);
    assert_int_equal(counts.died, 0);
    assert_int_equal(b.convicted, 0);
    sm_inspection_unref(p);
    finish(&b);
    (void)state;
}

/* A stopped worker is found out by its silence; one that works for long is left alone. */
static void test_silent(void **state) {
    bench b;
    seen s = {0}, long_one = {0}, after = {0};
    start_pulse(&b, 1, 64, false, 100);
    run_text(&b, "-- run sleep 2.5", false, &long_one);
    assert_true(fake_wait(&b.loop, &long_one.done, 1, 10000));
    assert_string_equal(long_one.outcome, "ok"); /* 25 pulses */
    sm_inspection *p = inspection("-- run sleep 60", 120, NULL);
    order(&b, p, false, &s);
    int never = 0;
    (void)fake_wait(&b.loop, &never, 1, 300);
    assert_int_equal(kill(long_one.pid, SIGSTOP), 0);
    run_text(&b, "-- run sleep 0", false, &after); /* to the silent one, or later to another */
    assert_true(fake_wait(&b.loop, &s.done, 1, 15000));
    assert_int_equal(s.pid, long_one.pid);
    assert_string_equal(s.outcome, "lost");
    assert_non_null(strstr(s.error, "because it did not answer for 0."));
    assert_true(fake_wait(&b.loop, &after.done, 1, 5000));
    run_text(&b, "-- run sleep 0", false, &after);
    assert_true(fake_wait(&b.loop, &after.done, 1, 5000));
    assert_string_equal(after.outcome, "ok");
    assert_int_not_equal(after.pid, s.pid);
    sm_dispatcher_counts counts;
    sm_dispatcher_count(b.d, &counts);
    assert_int_equal(counts.killed[SM_KILL_SILENT], 1);
    assert_int_equal(b.convicted, 0);
    sm_inspection_unref(p);
    finish(&b);
    (void)state;
}

/* The daemon itself was stopped for long: nothing that its workers did meanwhile is held against
 * them, whether they went on or were stopped with it. */
static void test_asleep(void **state) {
    static const struct {
        const char *name;
        bool both;
    } rows[] = {{"the daemon alone", false}, {"with its workers", true}};
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("row: %s\n", rows[i].name);
        bench b;
        seen s = {0}, first = {0};
        start_pulse(&b, 1, 64, false, 100);
        run_text(&b, "-- run sleep 0", false, &first);
        assert_true(fake_wait(&b.loop, &first.done, 1, 5000));
        sm_inspection *p = inspection("-- run sleep 0.3", 0.8, NULL);
        order(&b, p, false, &s);
        int never = 0;
        (void)fake_wait(&b.loop, &never, 1, 50);
        if (rows[i].both)
            assert_int_equal(kill(first.pid, SIGSTOP), 0);
        usleep(2500000);
        if (rows[i].both)
            assert_int_equal(kill(first.pid, SIGCONT), 0);
        assert_true(fake_wait(&b.loop, &s.done, 1, 5000));
        assert_string_equal(s.outcome, "ok");
        (void)fake_wait(&b.loop, &never, 1, 500);
        run_text(&b, "-- run sleep 0", false, &s);
        assert_true(fake_wait(&b.loop, &s.done, 1, 5000));
        assert_int_equal(s.pid, first.pid);
        sm_inspection_unref(p);
        finish(&b);
    }
    (void)state;
}

static void on_line(void *ctx, const char *text) {
    sm_buf *all = ctx;
    sm_buf_addf(all, "%s\n", text);
}

static void test_tell(void **state) {
    bench b;
    seen s[2] = {{0}};
    sm_buf all;
    int never = 0;
    start(&b, 1, 1, false);
    for (int i = 0; i < 2; i++)
        run_text(&b, "-- run sleep 30", false, &s[i]);
    (void)fake_wait(&b.loop, &never, 1, 500);
    sm_buf_init(&all, 10000);
    sm_dispatcher_tell(b.d, on_line, &all);
    sm_buf_addf(&all, "%c", 0);
    print_message("%s", all.data);
    assert_non_null(strstr(all.data, " (shared, ready, up "));
    assert_non_null(strstr(all.data, "s): 1 under way\n"));
    assert_non_null(strstr(all.data, "  demo/x.run (run "));
    assert_non_null(strstr(all.data, s[0].run_id));
    assert_non_null(strstr(all.data, " s of 10 s\n"));
    assert_non_null(strstr(all.data, "1 under way of at most 4096; 1 wait\n"));
    sm_buf_fini(&all);
    finish(&b);
    (void)state;
}

static void test_grants(void **state) {
    bench b;
    seen s[8] = {{0}};
    int done = 0;
    start(&b, 1, 64, false);
    sm_inspection *plain = inspection("-- run sleep 0.4", 10, NULL);
    sm_inspection *secret = inspection("-- run sleep 0.4", 10, "secret:shop");
    for (int i = 0; i < 8; i++) {
        s[i].counter = &done;
        order(&b, i % 2 ? secret : plain, false, &s[i]);
    }
    assert_true(fake_wait(&b.loop, &done, 8, 5000));
    for (int i = 0; i < 8; i++) {
        assert_string_equal(s[i].outcome, "ok");
        assert_int_equal(s[i].pid, s[i % 2].pid);
    }
    assert_int_not_equal(s[0].pid, s[1].pid);
    /* The extra worker goes when it is idle. */
    int never = 0;
    (void)fake_wait(&b.loop, &never, 1, 300);
    json_t *status = sm_dispatcher_status(b.d);
    assert_int_equal(json_array_size(json_object_get(status, "workers")), 1);
    json_decref(status);
    sm_inspection_unref(plain);
    sm_inspection_unref(secret);
    finish(&b);
    (void)state;
}

static void test_isolation(void **state) {
    bench b;
    seen s[6] = {{0}};
    int done = 0;
    start(&b, 2, 2, true);
    for (int i = 0; i < 6; i++) {
        s[i].counter = &done;
        run_text(&b, i == 3 ? "-- run die" : "-- run sleep 0.1", false, &s[i]);
    }
    assert_true(fake_wait(&b.loop, &done, 6, 5000));
    for (int i = 0; i < 6; i++) {
        assert_true(s[i].alone);
        assert_string_equal(s[i].outcome, i == 3 ? "lost" : "ok");
        for (int k = 0; k < i; k++)
            assert_int_not_equal(s[i].pid, s[k].pid);
    }
    finish(&b);
    (void)state;
}

static void test_queue_and_cancel(void **state) {
    bench b;
    seen s[3] = {{0}};
    int done = 0;
    start(&b, 1, 1, false);
    for (int i = 0; i < 3; i++) {
        s[i].counter = &done;
        run_text(&b, i == 0 ? "-- run sleep 30" : "-- run sleep 0", false, &s[i]);
    }
    sm_dispatcher_cancel(b.d, s[1].run_id);
    assert_true(fake_wait(&b.loop, &done, 1, 2000));
    assert_string_equal(s[1].outcome, "cancelled");
    int never = 0;
    (void)fake_wait(&b.loop, &never, 1, 300); /* the first is in its worker now */
    sm_dispatcher_cancel(b.d, s[0].run_id);
    assert_true(fake_wait(&b.loop, &done, 3, 2000));
    assert_string_equal(s[0].outcome, "cancelled");
    assert_string_equal(s[2].outcome, "ok");
    finish(&b);
    (void)state;
}

static void test_stop(void **state) {
    bench b;
    seen s[4] = {{0}};
    static const char *const texts[] = {"-- run sleep 0.3", "-- run sleep 60", "-- run hang",
                                        "-- run sleep 0"};
    static const char *const outcomes[] = {"ok", "cancelled", "cancelled", "cancelled"};
    start(&b, 1, 3, false);
    int never = 0;
    for (int i = 0; i < 4; i++)
        run_text(&b, texts[i], false, &s[i]);
    (void)fake_wait(&b.loop, &never, 1, 200);
    int64_t began = sm_mono_ns();
    sm_dispatcher_stop(b.d, 600, on_stopped, &b);
    assert_true(fake_wait(&b.loop, &b.stopped, 1, 3000));
    assert_true(sm_mono_ns() - began < INT64_C(2000000000));
    for (int i = 0; i < 4; i++) {
        assert_int_equal(s[i].done, 1);
        assert_string_equal(s[i].outcome, outcomes[i]);
    }
    sm_dispatcher_free(b.d);
    assert_int_equal(uv_loop_close(&b.loop), 0);
    fake_remove(b.dir);
    (void)state;
}

static void test_no_worker(void **state) {
    bench b;
    seen s = {0};
    start(&b, 1, 4, false);
    sm_dispatcher_stop(b.d, 0, on_stopped, &b);
    assert_true(fake_wait(&b.loop, &b.stopped, 1, 3000));
    sm_dispatcher_free(b.d);
    b.stopped = 0;
    sm_dispatcher_options opt = {.loop = &b.loop,
                                 .self = "/nonexistent/selfmon-lua",
                                 .display = "inspections",
                                 .workers = 1,
                                 .runs_per_worker = 1,
                                 .max_running = 1,
                                 .report = on_report,
                                 .ctx = &b};
    assert_int_equal(sm_dispatcher_new(&opt, &b.d, NULL), SM_OK);
    run_text(&b, "-- run sleep 0", false, &s);
    assert_true(fake_wait(&b.loop, &s.done, 1, 5000));
    assert_string_equal(s.outcome, "failed");
    assert_non_null(strstr(s.error, "no worker process can be started: /nonexistent/selfmon-lua"));
    finish(&b);
    (void)state;
}

typedef struct loaded {
    int done;
    char error[300];
    int inspections;
} loaded;

static void on_loaded(void *ctx, const json_t *head, const char *log, size_t log_n) {
    loaded *l = ctx;
    l->done++;
    snprintf(l->error, sizeof l->error, "%s", sm_json_str(head, "error", ""));
    l->inspections = (int)json_array_size(json_object_get(head, "inspections"));
    (void)log;
    (void)log_n;
}

static void test_loads(void **state) {
    static const struct {
        const char *name, *text, *error;
        int inspections;
    } rows[] = {
        {"good", "-- spec {}\n-- spec {\"fn\":\"two\"}", "", 2},
        {"fails", "-- error 7 oh", "inspections/demo/x.lua:7: oh", 0},
        {"crashes", "-- load die", "inspections/demo/x.lua: loading crashed its worker (signal 11)",
         0},
        {"good beside a crash", "-- spec {}", "", 1},
        {"hangs", "-- load hang", "inspections/demo/x.lua: loading did not end within 1 s of CPU",
         0},
        {"good beside a hang", "-- spec {}", "", 1},
    };
    bench b;
    loaded l[SM_ARRAY_LEN(rows)] = {{0}};
    start(&b, 1, 4, false);
    json_t *limits = json_object();
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        sm_source *s = source(rows[i].text);
        sm_dispatcher_load(b.d, s, limits, on_loaded, &l[i]);
        sm_source_unref(s);
    }
    json_decref(limits);
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("row: %s\n", rows[i].name);
        assert_true(fake_wait(&b.loop, &l[i].done, 1, 6000));
        assert_int_equal(l[i].done, 1);
        assert_string_equal(l[i].error, rows[i].error);
        assert_int_equal(l[i].inspections, rows[i].inspections);
    }
    finish(&b);
    (void)state;
}

/* Kills a random worker; false when there is none to kill. */
static bool kill_one(bench *b) {
    json_t *status = sm_dispatcher_status(b->d);
    const json_t *workers = json_object_get(status, "workers");
    size_t n = json_array_size(workers);
    int pid = 0;
    if (n > 0)
        pid = (int)sm_json_int(json_array_get(workers, (size_t)sm_rand_below(n)), "pid", 0);
    json_decref(status);
    return pid > 0 && kill(pid, SIGKILL) == 0;
}

static void test_random_kills(void **state) {
    enum { RUNS = 600 };
    bench b;
    static seen s[RUNS];
    int done = 0, ok = 0, lost = 0, kills = 0, never = 0;
    start(&b, 2, 16, false);
    for (int i = 0; i < RUNS; i++) {
        s[i].counter = &done;
        run_text(&b, i % 3 ? "-- run sleep 0.02" : "-- run report 2", i % 37 == 0, &s[i]);
    }
    int64_t until = sm_mono_ns() + 40 * SM_NS_PER_S;
    while (done < RUNS && sm_mono_ns() < until) {
        (void)fake_wait(&b.loop, &never, 1, 60);
        if (kills < 25)
            kills += kill_one(&b);
    }
    assert_int_equal(done, RUNS);
    for (int i = 0; i < RUNS; i++) {
        assert_int_equal(s[i].done, 1);
        ok += strcmp(s[i].outcome, "ok") == 0;
        lost += strcmp(s[i].outcome, "lost") == 0 && s[i].signal == SIGKILL;
    }
    print_message("%d kills: %d ok, %d lost\n", kills, ok, lost);
    assert_int_equal(ok + lost, RUNS);
    assert_true(kills >= 3 && ok > 0);
    finish(&b);
    (void)state;
}

static void test_many_deaths(void **state) {
    bench b;
    seen s = {0};
    start(&b, 2, 4, false);
    run_text(&b, "-- run sleep 0", false, &s);
    assert_true(fake_wait(&b.loop, &s.done, 1, 5000));
    int before = 0;
    for (int i = 0; i < 150; i++) {
        run_text(&b, i % 2 ? "-- run die" : "-- run exit 1", false, &s);
        assert_true(fake_wait(&b.loop, &s.done, 1, 5000));
        assert_string_equal(s.outcome, "lost");
        if (i == 10)
            before = count_fds();
    }
    run_text(&b, "-- run sleep 0", false, &s);
    assert_true(fake_wait(&b.loop, &s.done, 1, 5000));
    assert_string_equal(s.outcome, "ok");
    assert_in_range(count_fds(), before - 2, before + 2);
    finish(&b);
    (void)state;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_stuck),
        cmocka_unit_test(test_grants),
        cmocka_unit_test(test_isolation),
        cmocka_unit_test(test_queue_and_cancel),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_lane),
        cmocka_unit_test(test_lane_goes_on),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_silent),
        cmocka_unit_test(test_asleep),
        cmocka_unit_test(test_tell),
        cmocka_unit_test(test_no_worker),
        cmocka_unit_test(test_loads),
        cmocka_unit_test(test_random_kills),
        cmocka_unit_test(test_many_deaths),
    };
    setenv("SELFMON_API_KEY", "must not reach a worker", 1);
    int leak = open("/dev/null", O_RDONLY); /* without O_CLOEXEC: must not reach one either */
    if (leak < 0)
        return 1;
    sm_log_setup(SM_LOG_ERROR, false, false); /* deaths are the point here */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
