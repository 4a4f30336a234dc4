/* The runner between a scripted platform's view and scripted ends of runs; store and intake are
 * the real ones. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "room_help.h"
#include "daemon/runner.h"

typedef struct ending { /* how the fake dispatcher ends an attempt */
    const char *outcome, *error, *log, *traceback;
    bool reported, hang;
    double queued;
} ending;

typedef struct bench {
    room room;
    sm_intake *intake;
    sm_runner *r;
    sm_conduct *conduct;
    sm_view view;
    sm_inspection *p;
    uv_timer_t timer;
    ending ends[4];
    int orders, reports, answers;
    int64_t due_ns;
    sm_registrar_done viewed;
    void *viewed_ctx;
    bool view_open;
    sm_run_order order; /* the last one */
    bool alone[4], lane[4];
    char run_ids[4][33];
    json_t *params, *ctx, *report;
} bench;

static bench *the; /* what the fakes below belong to */

static void on_timer(uv_timer_t *t);

/* Stand in for daemon/registrar.c and daemon/dispatcher.c. */
void sm_registrar_ensure(sm_registrar *r, sm_inspection *inspection, bool ask,
                         sm_registrar_done done, void *ctx) {
    (void)r;
    (void)inspection;
    (void)ask;
    the->viewed = done;
    the->viewed_ctx = ctx;
    the->view_open = true;
    uv_timer_start(&the->timer, on_timer, 0, 0);
}

void sm_dispatcher_run(sm_dispatcher *d, const sm_run_order *order) {
    (void)d;
    assert_true(the->orders < 4);
    the->order = *order;
    the->alone[the->orders] = order->alone;
    the->lane[the->orders] = order->lane;
    snprintf(the->run_ids[the->orders], 33, "%s", order->run_id);
    the->orders++;
    json_decref(the->params);
    json_decref(the->ctx);
    the->params = order->params;
    the->ctx = order->ctx;
    uv_timer_start(&the->timer, on_timer, 0, 0);
}

bool sm_dispatcher_answer(sm_dispatcher *d, const char *run_id, int64_t seq, const json_t *ids,
                          const char *error) {
    (void)d;
    (void)run_id;
    (void)seq;
    (void)error;
    the->answers += ids != NULL;
    return true;
}

static void end_run(bench *b, const ending *e) {
    sm_run_end end = {.outcome = e->outcome,
                      .error = e->error,
                      .traceback = e->traceback,
                      .seconds = 1.5,
                      .cpu = 0.5,
                      .peak = 1000,
                      .queued = e->queued,
                      .reported = e->reported,
                      .alone = b->order.alone,
                      .worker_pid = 4711,
                      .log = e->log ? e->log : "",
                      .log_n = e->log ? strlen(e->log) : 0};
    b->order.done(b->order.done_ctx, &end);
}

static void on_timer(uv_timer_t *t) {
    (void)t;
    bench *b = the;
    if (b->view_open) {
        b->view_open = false;
        b->viewed(b->viewed_ctx, &b->view);
        return;
    }
    const ending *e = &b->ends[b->orders - 1];
    if (e->reported) {
        json_t *events = json_pack("[{s:s, s:s, s:s, s:{}}]", "title", "Disk", "message", "M",
                                   "status", "error", "dimension_tags");
        sm_intake_report(b->intake, b->order.run_id, 1, events);
        json_decref(events);
    }
    if (!e->hang)
        end_run(b, e); /* while its event is still on its way to the disk */
}

static void begin(bench *b, bool dry, const char *spec) {
    memset(b, 0, sizeof *b);
    the = b;
    room_open(&b->room);
    uv_timer_init(&b->room.loop, &b->timer);

    sm_store *store = dry ? NULL : b->room.store;
    b->intake = sm_intake_new(store, "local", NULL, NULL);
    b->conduct = dry ? NULL : sm_conduct_new(store);
    sm_runner_options opt = {.conduct = b->conduct,
                             .intake = b->intake,
                             .store = store,
                             .registrar = dry ? NULL : (sm_registrar *)(void *)b,
                             .node = "local"};
    b->r = sm_runner_new(&opt);
    b->view = (sm_view){.known = true, .uuid = "rul_1"};
    b->p = room_inspection("a.run", spec);
    for (int i = 0; i < 4; i++)
        b->ends[i] = (ending){.outcome = "ok"};
}

static void end(bench *b) {
    room_settle(&b->room);
    assert_int_equal(sm_runner_active(b->r), 0);
    uv_close((uv_handle_t *)&b->timer, NULL);
    room_close_store(&b->room);
    room_turn_out(&b->room);
    sm_runner_free(b->r);
    sm_conduct_free(b->conduct);
    sm_intake_free(b->intake);
    assert_int_equal(b->p->refs, 1);
    sm_inspection_unref(b->p);
    json_decref(b->params);
    json_decref(b->ctx);
    json_decref(b->report);
    room_remove(&b->room);
}

static void on_done(void *ctx, const json_t *report) {
    bench *b = ctx;
    b->reports++;
    json_decref(b->report);
    b->report = json_deep_copy(report);
}

static void start_slot(bench *b, int64_t slot, json_t *override) {
    sm_run_want want = {.inspection = b->p,
                        .slot = slot,
                        .due_ns = b->due_ns,
                        .trigger = slot == SM_NO_SLOT ? "once" : "schedule",
                        .override = override,
                        .done = on_done,
                        .ctx = b};
    sm_runner_start(b->r, &want);
    json_decref(override);
}

static void run(bench *b, json_t *override) {
    int n = b->reports;
    start_slot(b, 60, override);
    room_wait(&b->room, &b->reports, n + 1);
    assert_int_equal(b->reports, n + 1);
}

static const char *said(bench *b, const char *key) {
    return sm_json_str(b->report, key, "");
}

/* Rows of `runs`, newest last, as "outcome/trigger/attempt …". */
static void expect_runs(bench *b, const char *want) {
    room_settle(&b->room);
    json_t *rows = room_ask(&b->room, SM_OP_QUERY_RUNS, json_pack("{s:b}", "log", 1)), *row;
    char text[300] = "";
    size_t i;
    json_array_foreach(rows, i, row) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s%s/%s/%d", n ? " " : "",
                 sm_json_str(row, "outcome", "open"), sm_json_str(row, "trigger", ""),
                 (int)sm_json_int(row, "attempt", 0));
    }
    json_decref(rows);
    assert_string_equal(text, want);
}

static void expect_slot(bench *b, const char *outcome) {
    json_t *slots = room_ask(&b->room, SM_OP_SLOT_LAST, NULL);
    assert_string_equal(sm_json_str(json_object_get(slots, "a.run"), "outcome", "none"), outcome);
    json_decref(slots);
}

static bool logged(bench *b, const char *part) {
    size_t i;
    json_t *line;
    json_array_foreach(json_object_get(b->report, "log"), i,
                       line) if (strstr(sm_json_str(line, "text", ""), part)) return true;
    return false;
}

static void test_ends(void **state) {
    static const struct {
        const char *name;
        ending end;
        const char *outcome, *error;
    } rows[] = {
        {"ok", {.outcome = "ok", .log = "12\tinfo\thello\n"}, "ok", ""},
        {"failed",
         {.outcome = "failed", .error = "x.lua:3: oh", .traceback = "tb"},
         "failed",
         "x.lua:3: oh"},
        {"timeout", {.outcome = "timeout", .error = "too long"}, "timeout", "too long"},
        {"reported", {.outcome = "ok", .reported = true}, "ok", ""},
        {"lost after a report",
         {.outcome = "lost", .error = "signal 11", .reported = true},
         "crashed",
         "signal 11"},
    };
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("  %s\n", rows[i].name);
        bench b;
        begin(&b, false, NULL);
        b.ends[0] = rows[i].end;
        run(&b, NULL);
        assert_string_equal(said(&b, "outcome"), rows[i].outcome);
        assert_string_equal(said(&b, "error"), rows[i].error);
        assert_string_equal(said(&b, "run"), b.run_ids[0]);
        assert_int_equal(sm_json_int(b.report, "events", -1), rows[i].end.reported ? 1 : 0);
        assert_string_equal(said(&b, "headline"), rows[i].end.reported ? "Disk" : "");
        assert_int_equal(b.answers, rows[i].end.reported ? 1 : 0);
        assert_true(!rows[i].end.log || logged(&b, "hello"));
        char want[64];
        snprintf(want, sizeof want, "%s/schedule/1", rows[i].outcome);
        expect_runs(&b, want);
        expect_slot(&b, rows[i].outcome);
        assert_string_equal(sm_json_str(b.ctx, "trigger", ""), "schedule");
        assert_int_equal(sm_json_int(b.ctx, "slot", 0), 60);
        assert_int_equal(sm_json_int(b.ctx, "attempt", 0), 1);
        end(&b);
    }
}

static void test_repeated_alone(void **state) {
    static const struct {
        const char *name, *spec;
        const char *second; /* end of the second attempt; NULL: there is none */
        const char *outcome, *runs;
        bool isolated;
    } rows[] = {
        {"innocent", NULL, "ok", "ok", "cancelled/schedule/1 ok/retry/2", false},
        {"culprit", NULL, "lost", "crashed", "cancelled/schedule/1 crashed/retry/2", true},
        /* a neighbour may have done it: the next run is alone, to see */
        {"retry = false", "{'title':'T','retry':false}", NULL, "crashed", "crashed/schedule/1",
         true},
    };
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("  %s\n", rows[i].name);
        bench b;
        begin(&b, false, rows[i].spec);
        b.ends[0] = (ending){.outcome = "lost", .error = "it died", .log = "1\tinfo\tfirst\n"};
        b.ends[1] = (ending){.outcome = rows[i].second, .error = NULL};
        run(&b, NULL);
        assert_string_equal(said(&b, "outcome"), rows[i].outcome);
        assert_int_equal(b.orders, rows[i].second ? 2 : 1);
        assert_false(b.alone[0]);
        if (rows[i].second) {
            assert_true(b.alone[1]);
            assert_string_not_equal(b.run_ids[0], b.run_ids[1]);
            assert_int_equal(sm_json_int(b.report, "attempt", 0), 2);
            assert_string_equal(sm_json_str(b.ctx, "trigger", ""), "retry");
            assert_false(logged(&b, "first")); /* what the first left is not the second's */
        }
        expect_runs(&b, rows[i].runs);
        expect_slot(&b, rows[i].outcome); /* once, after the last attempt */
        assert_int_equal(sm_conduct_alone(b.conduct, b.p), rows[i].isolated);
        if (rows[i].isolated) { /* alone from now on, and not repeated */
            b.orders = 0;
            b.ends[0] = (ending){.outcome = "lost"};
            run(&b, NULL);
            assert_int_equal(b.orders, 1);
            assert_true(b.alone[0]);
            assert_string_equal(said(&b, "outcome"), "crashed");
            assert_string_equal(said(&b, "error"), "its worker died");
        }
        end(&b);
    }
}

/* Three limits in a row: due runs are held, each with its slot; a person's run goes to the lane. */
static void test_penalty(void **state) {
    (void)state;
    bench b;
    begin(&b, false, "{'title':'T','schedule':['@every 5s']}");
    for (int i = 0; i < 3; i++) {
        b.orders = 0;
        b.ends[0] = (ending){.outcome = "limit", .error = "memory limit of 32 MiB reached"};
        int n = b.reports;
        start_slot(&b, 60 + i, NULL);
        room_wait(&b.room, &b.reports, n + 1);
        assert_int_equal(b.orders, 1);
        assert_false(b.lane[0]);
    }
    b.orders = 0;
    for (int i = 0; i < 2; i++) {
        int n = b.reports;
        start_slot(&b, 70 + i, NULL);
        room_wait(&b.room, &b.reports, n + 1);
        assert_string_equal(said(&b, "outcome"), "skipped");
        assert_non_null(strstr(said(&b, "error"), "in the penalty lane until "));
        assert_non_null(strstr(said(&b, "error"), ": hit a limit 3 times in a row"));
        assert_true(sm_json_bool(b.report, "held", false));
        expect_slot(&b, "skipped");
    }
    assert_int_equal(b.orders, 0);
    b.ends[0] = (ending){.outcome = "ok"};
    int n = b.reports;
    start_slot(&b, SM_NO_SLOT, NULL);
    room_wait(&b.room, &b.reports, n + 1);
    assert_string_equal(said(&b, "outcome"), "ok");
    assert_true(b.lane[0]);
    sm_conduct_counts counts;
    sm_conduct_count(b.conduct, &counts);
    assert_int_equal(counts.penalised, 1);
    assert_int_equal(counts.held, 2);
    end(&b);
}

static void test_views(void **state) {
    (void)state;
    json_t *five = json_pack("{s:i, s:i}", "limit", 5, "odd", 1);
    json_t *text = json_pack("{s:s}", "limit", "many");
    const struct {
        const char *name;
        sm_view view;
        const char *outcome, *error, *note;
        int64_t limit; /* that the script saw; 0: it did not run */
    } rows[] = {
        {"enabled", {.known = true, .uuid = "u"}, "ok", "", NULL, 3},
        {"parameters", {.known = true, .uuid = "u", .params = five}, "ok", "", "odd", 5},
        {"outage",
         {.known = true, .uuid = "u", .params = five, .age_s = 90, .error = "no route"},
         "ok",
         "",
         "the platform's view is 90 s old: no route",
         5},
        {"disabled", {.known = true, .uuid = "u", .status = 2}, "disabled", "", NULL, 0},
        {"disabled, in an outage",
         {.known = true, .status = 2, .error = "no route"},
         "disabled",
         "",
         "no route",
         0},
        {"never known",
         {.known = false, .error = "no route"},
         "unregistered",
         "not registered, so it did not run: no route",
         NULL,
         0},
        {"bad parameters",
         {.known = true, .uuid = "u", .params = text},
         "bad_params",
         "parameter limit: ",
         NULL,
         0},
    };
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("  %s\n", rows[i].name);
        bench b;
        begin(&b, false, "{'title':'T','params':[{'name':'limit','type':'integer','default':3}]}");
        b.view = rows[i].view;
        run(&b, NULL);
        assert_string_equal(said(&b, "outcome"), rows[i].outcome);
        if (strncmp(said(&b, "error"), rows[i].error, strlen(rows[i].error)) != 0 ||
            (!*rows[i].error && *said(&b, "error")))
            fail_msg("error: %s", said(&b, "error"));
        if (rows[i].note && !logged(&b, rows[i].note))
            fail_msg("no note %s", rows[i].note);
        assert_int_equal(b.orders, rows[i].limit ? 1 : 0);
        if (rows[i].limit)
            assert_int_equal(sm_json_int(b.params, "limit", 0), rows[i].limit);
        expect_slot(&b, rows[i].outcome);
        end(&b);
    }
    json_decref(five);
    json_decref(text);
}

static void test_override(void **state) {
    (void)state;
    bench b;
    begin(&b, false, "{'title':'T','params':[{'name':'limit','type':'integer','default':3}]}");
    run(&b, json_pack("{s:s}", "limit", "9"));
    assert_int_equal(sm_json_int(b.params, "limit", 0), 9);
    end(&b);
}

static void test_dry(void **state) {
    (void)state;
    bench b;
    begin(&b, true, NULL);
    b.ends[0].reported = true;
    start_slot(&b, SM_NO_SLOT, NULL);
    room_wait(&b.room, &b.reports, 1);
    assert_string_equal(said(&b, "outcome"), "ok");
    assert_int_equal(json_array_size(json_object_get(b.report, "reported")), 1);
    expect_runs(&b, "");
    end(&b);
}

static void test_stopping(void **state) {
    (void)state;
    bench b;
    begin(&b, false, NULL);
    /* Before its view came. */
    start_slot(&b, 60, NULL);
    sm_runner_stop(b.r);
    room_wait(&b.room, &b.reports, 1);
    assert_string_equal(said(&b, "outcome"), "cancelled");
    assert_string_equal(said(&b, "error"), "the program is stopping");
    assert_int_equal(b.orders, 0);
    end(&b);
    /* Between the two attempts: the second never starts, and is no copy of the first. */
    begin(&b, false, NULL);
    b.ends[0] = (ending){.outcome = "lost", .log = "1\tinfo\tfirst\n", .hang = true};
    start_slot(&b, 60, NULL);
    room_wait(&b.room, &b.orders, 1);
    for (int i = 0; i < 5; i++)
        uv_run(&b.room.loop, UV_RUN_NOWAIT);
    sm_runner_stop(b.r);
    end_run(&b, &b.ends[0]);
    room_wait(&b.room, &b.reports, 1);
    assert_string_equal(said(&b, "outcome"), "cancelled");
    assert_false(logged(&b, "first"));
    assert_true(sm_json_num(b.report, "seconds", -1) < 0.001);
    expect_runs(&b, "cancelled/schedule/1 cancelled/retry/2");
    end(&b);
}

/* From the due instant until the run's frame went to a worker; of the first attempt. */
static void test_lateness(void **state) {
    static const struct {
        const char *name;
        double behind, queued; /* behind < 0: no due time */
        bool lost;
        double least, most; /* most < 0: null */
        bool late;
    } rows[] = {
        {"in time", 0, 0.25, false, 0.25, 30, false},
        {"due three seconds ago", 3, 0.5, false, 3.5, 33, true},
        {"the queue alone makes it late", 0, 2.5, false, 2.5, 32, true},
        {"never handed to a worker", 3, -1, false, 0, -1, false},
        {"no due time", -1, 0.5, false, 0, -1, false},
        {"a repeat has the first attempt's", 3, 0.5, true, 3.5, 33, true},
    };
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("  %s\n", rows[i].name);
        bench b;
        begin(&b, false, NULL);
        b.ends[0] = (ending){.outcome = rows[i].lost ? "lost" : "ok", .queued = rows[i].queued};
        b.ends[1] = (ending){.outcome = "ok", .queued = 70};
        if (rows[i].behind >= 0)
            b.due_ns = sm_wall_ns() - (int64_t)(rows[i].behind * 1e9);
        run(&b, NULL);
        const json_t *got = json_object_get(b.report, "lateness");
        json_t *runs = room_ask(&b.room, SM_OP_QUERY_RUNS, NULL);
        const json_t *row = json_array_get(runs, 0), *kept = json_object_get(row, "lateness");
        if (rows[i].most < 0) {
            assert_true(json_is_null(got) && json_is_null(kept));
        } else {
            assert_true(json_number_value(got) >= rows[i].least - 0.001 &&
                        json_number_value(got) < rows[i].most);
            assert_true(json_number_value(got) == json_number_value(kept));
        }
        assert_int_equal(sm_json_bool(row, "late", !rows[i].late), rows[i].late);
        if (rows[i].lost)
            assert_true(json_is_null(json_object_get(json_array_get(runs, 1), "lateness")));
        json_decref(runs);
        end(&b);
    }
}

/* What people see as the last run stays a run. */
static void test_disabled_is_no_run(void **state) {
    (void)state;
    bench b;
    begin(&b, false, NULL);
    run(&b, NULL);
    b.view.status = 2;
    start_slot(&b, 120, NULL);
    room_wait(&b.room, &b.reports, 2);
    assert_string_equal(said(&b, "outcome"), "disabled");
    expect_runs(&b, "ok/schedule/1 disabled/schedule/1");
    expect_slot(&b, "disabled");
    json_t *last = room_ask(&b.room, SM_OP_QUERY_LAST, NULL);
    assert_string_equal(sm_json_str(json_object_get(last, "a.run"), "outcome", ""), "ok");
    json_decref(last);
    end(&b);
}

static void test_log_json(void **state) {
    static const struct {
        const char *name, *log, *json;
    } rows[] = {
        {"empty", "", "[]"},
        {"lines", "1500\tinfo\thello\n2\terror\ta\tb",
         "[{\"level\":\"info\",\"t\":1.5,\"text\":\"hello\"},"
         "{\"level\":\"error\",\"t\":0.002,\"text\":\"a\\tb\"}]"},
        {"without form", "oh\n\n\t\n",
         "[{\"level\":\"note\",\"t\":0.0,\"text\":\"oh\"},"
         "{\"level\":\"note\",\"t\":0.0,\"text\":\"\\t\"}]"},
        {"bad bytes",
         "1\tin\xff"
         "fo\t\xff\n",
         "[{\"level\":\"in\xEF\xBF\xBD"
         "fo\",\"t\":0.001,\"text\":\"\xEF\xBF\xBD\"}]"},
    };
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("  %s\n", rows[i].name);
        json_t *got = sm_runner_log_json(rows[i].log, strlen(rows[i].log)), *want = NULL;
        assert_int_equal(sm_json_parse(rows[i].json, strlen(rows[i].json), 10000, &want, NULL),
                         SM_OK);
        json_t *line;
        size_t k;
        assert_int_equal(json_array_size(got), json_array_size(want));
        json_array_foreach(got, k, line) {
            const json_t *w = json_array_get(want, k);
            assert_string_equal(sm_json_str(line, "text", ""), sm_json_str(w, "text", "?"));
            assert_string_equal(sm_json_str(line, "level", ""), sm_json_str(w, "level", "?"));
            assert_true(sm_json_num(line, "t", -1) - sm_json_num(w, "t", -2) < 1e-9);
        }
        json_decref(got);
        json_decref(want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_repeated_alone),
        cmocka_unit_test(test_penalty),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_override),
        cmocka_unit_test(test_dry),
        cmocka_unit_test(test_stopping),
        cmocka_unit_test(test_lateness),
        cmocka_unit_test(test_disabled_is_no_run),
        cmocka_unit_test(test_log_json),
    };
    sm_log_setup(SM_LOG_ERROR, false, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
