/* What is remembered of inspections that misbehave, on a real store. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "room_help.h"
#include "daemon/conduct.h"

static const int64_t S = SM_NS_PER_S;
static const int64_t T0 = INT64_C(1790000000) * SM_NS_PER_S; /* 2026-09-21T13:46:40Z */

typedef struct bench {
    room room;
    sm_conduct *c;
    sm_inspection *p;
    int ready;
} bench;

static void on_ready(void *ctx) {
    ((bench *)ctx)->ready++;
}

static void open_conduct(bench *b) {
    int n = b->ready;
    b->c = sm_conduct_new(b->room.store);
    sm_conduct_load(b->c, on_ready, b);
    room_wait(&b->room, &b->ready, n + 1);
}

static void begin(bench *b) {
    memset(b, 0, sizeof *b);
    room_open(&b->room);
    open_conduct(b);
    b->p = room_inspection("a.run", "{'title':'T','schedule':['@every 5s']}");
}

/* As if the process had been restarted. */
static void again(bench *b) {
    room_settle(&b->room);
    sm_conduct_free(b->c);
    open_conduct(b);
}

static void end(bench *b) {
    room_settle(&b->room);
    sm_inspection_unref(b->p);
    sm_conduct_free(b->c);
    room_close_store(&b->room);
    room_turn_out(&b->room);
    room_remove(&b->room);
}

static void ended(bench *b, const char *outcome, bool alone, double cpu, int64_t now) {
    sm_conduct_end e = {.outcome = outcome,
                        .error = strcmp(outcome, "ok") == 0 ? NULL : "x.lua:7: oh",
                        .seconds = 2,
                        .cpu = cpu,
                        .alone = alone,
                        .due = true};
    sm_conduct_ended(b->c, b->p, &e, now);
}

static void edit(bench *b) {
    sm_blob_unref(b->p->source->script);
    b->p->source->script = sm_blob_new("-- mended", 9);
}

static int kept(bench *b) {
    room_settle(&b->room);
    json_t *rows = room_ask(&b->room, SM_OP_KV_LIST, json_pack("{s:s}", "prefix", "conduct:"));
    int n = (int)json_object_size(rows);
    json_decref(rows);
    return n;
}

static const char *condition(bench *b, json_t **all) {
    json_decref(*all);
    *all = sm_conduct_conditions(b->c);
    return sm_json_str(json_object_get(*all, b->p->id), "condition", "none");
}

static void test_quarantine(void **state) {
    static const struct {
        const char *name, *outcome;
        bool alone, stuck, foreign, quarantined;
    } rows[] = {
        {"crashed alone", "crashed", true, false, false, true},
        {"crashed in company", "crashed", false, false, false, false},
        {"killed from outside", "crashed", true, false, true, false},
        {"did not return", "timeout", false, true, false, true},
        {"failed", "failed", true, false, false, false},
    };
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("  %s\n", rows[i].name);
        bench b;
        json_t *all = NULL;
        begin(&b);
        assert_false(sm_conduct_alone(b.c, b.p));
        sm_conduct_end e = {.outcome = rows[i].outcome,
                            .error = "x.lua:7: oh",
                            .alone = rows[i].alone,
                            .foreign = rows[i].foreign};
        sm_conduct_ended(b.c, b.p, &e, T0);
        if (rows[i].stuck)
            sm_conduct_stuck(b.c, b.p, T0);
        assert_string_equal(condition(&b, &all), rows[i].quarantined ? "quarantined" : "none");
        assert_false(sm_conduct_penalised(b.c, b.p));
        again(&b);
        assert_int_equal(sm_conduct_alone(b.c, b.p), rows[i].quarantined);
        assert_int_equal(kept(&b), rows[i].quarantined);
        edit(&b);
        assert_false(sm_conduct_alone(b.c, b.p));
        assert_int_equal(kept(&b), 0);
        json_decref(all);
        end(&b);
    }
}

/* One that crashed in company is alone the next time: then it shows who did it. */
static void test_suspect(void **state) {
    (void)state;
    bench b;
    json_t *all = NULL;
    begin(&b);
    ended(&b, "crashed", false, 0, T0);
    assert_true(sm_conduct_alone(b.c, b.p));
    ended(&b, "ok", true, 0, T0);
    assert_false(sm_conduct_alone(b.c, b.p));
    ended(&b, "crashed", false, 0, T0);
    ended(&b, "crashed", true, 0, T0);
    assert_true(sm_conduct_alone(b.c, b.p));
    assert_string_equal(condition(&b, &all), "quarantined");
    json_decref(all);
    end(&b);
}

static void test_lane(void **state) {
    static const struct {
        const char *name, *outcomes; /* o ok, f failed, t timeout, w waiting timeout, l limit,
                                        c cancelled */
        const char *why;             /* NULL: not in the lane */
    } rows[] = {
        {"twice", "tt", NULL},
        {"three timeouts", "ttt", "hit its time limit 3 times in a row; the last: x.lua:7: oh"},
        {"three limits", "lll", "hit a limit 3 times in a row; the last: x.lua:7: oh"},
        {"both", "ltl", "hit a limit or crashed 3 times in a row; the last: x.lua:7: oh"},
        {"five", "ttttt", "hit its time limit 5 times in a row; the last: x.lua:7: oh"},
        {"a good one between", "ttott", NULL},
        {"a failed one between", "ttftt", NULL},
        {"a cancelled one between", "ttct",
         "hit its time limit 3 times in a row; the last: "
         "x.lua:7: oh"},
        {"its target hangs", "wwwwww", NULL},
        {"two good ones after", "tttoo",
         "hit its time limit 3 times in a row; the last: "
         "x.lua:7: oh"},
        {"three good ones after", "tttooo", NULL},
        {"good and bad ones after", "tttootoo",
         "hit its time limit 4 times in a row; the last: "
         "x.lua:7: oh"},
    };
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("  %s\n", rows[i].name);
        bench b;
        json_t *all = NULL;
        begin(&b);
        for (const char *o = rows[i].outcomes; *o; o++)
            ended(&b,
                  *o == 'o'   ? "ok"
                  : *o == 'f' ? "failed"
                  : *o == 'l' ? "limit"
                  : *o == 'c' ? "cancelled"
                              : "timeout",
                  false, *o == 't' ? 1.9 : 0.01, T0);
        for (int k = 0; k < 2; k++) { /* now, and after a restart */
            assert_string_equal(condition(&b, &all), rows[i].why ? "penalised" : "none");
            assert_string_equal(sm_json_str(json_object_get(all, "a.run"), "condition_why", ""),
                                rows[i].why ? rows[i].why : "");
            assert_int_equal(sm_conduct_penalised(b.c, b.p), rows[i].why != NULL);
            again(&b);
        }
        edit(&b);
        assert_false(sm_conduct_penalised(b.c, b.p));
        assert_int_equal(kept(&b), 0);
        json_decref(all);
        end(&b);
    }
}

/* 1, 2, 4 … minutes for a short period, at most an hour. */
static void test_back_off(void **state) {
    static const struct {
        const char *schedule;
        int wait[8]; /* seconds after the third hit, the fourth, … */
    } rows[] = {
        {"@every 5s", {60, 120, 240, 480, 960, 1920, 3600, 3600}},
        {"@every 5m", {600, 1200, 2400, 3600, 3600, 3600, 3600, 3600}},
        {"0 3 * * *", {3600, 3600, 3600, 3600, 3600, 3600, 3600, 3600}},
    };
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        bench b;
        char spec[100], text[300];
        print_message("  %s\n", rows[i].schedule);
        begin(&b);
        sm_inspection_unref(b.p);
        snprintf(spec, sizeof spec, "{'title':'T','schedule':['%s']}", rows[i].schedule);
        b.p = room_inspection("a.run", spec);
        ended(&b, "timeout", false, 2, T0);
        ended(&b, "timeout", false, 2, T0);
        int64_t now = T0;
        for (int k = 0; k < 8; k++) {
            assert_true(sm_conduct_may_start(b.c, b.p, now, text, sizeof text));
            ended(&b, "timeout", false, 2, now);
            int64_t until = now + rows[i].wait[k] * S;
            assert_false(sm_conduct_may_start(b.c, b.p, until - S, text, sizeof text));
            assert_true(sm_conduct_may_start(b.c, b.p, until, text, sizeof text));
            /* a clock that went back must not park it for years */
            assert_true(sm_conduct_may_start(b.c, b.p, now - 86400 * S, text, sizeof text));
            now = until;
        }
        end(&b);
    }
}

static void test_sentence(void **state) {
    (void)state;
    bench b;
    char text[300];
    sm_conduct_counts counts;
    begin(&b);
    for (int i = 0; i < 3; i++)
        ended(&b, "timeout", false, 2, T0);
    assert_false(sm_conduct_may_start(b.c, b.p, T0 + S, text, sizeof text));
    assert_string_equal(text,
                        "in the penalty lane until 14:14:20: hit its time limit 3 times in a row");
    /* A person's run neither waits nor lengthens the wait. */
    sm_conduct_end e = {.outcome = "timeout", .error = "oh", .seconds = 2, .cpu = 2};
    sm_conduct_ended(b.c, b.p, &e, T0 + 30 * S);
    assert_true(sm_conduct_may_start(b.c, b.p, T0 + 60 * S, text, sizeof text));
    sm_conduct_count(b.c, &counts);
    assert_int_equal(counts.penalised, 1);
    assert_int_equal(counts.quarantined, 0);
    assert_int_equal(counts.held, 1);
    end(&b);
}

static void test_forgets(void **state) {
    (void)state;
    bench b;
    begin(&b);
    sm_inspection *other = room_inspection("b.run", NULL);
    ended(&b, "crashed", true, 0, T0);
    sm_conduct_stuck(b.c, other, T0);
    assert_int_equal(kept(&b), 2);
    sm_inspection *both[] = {b.p, other};
    sm_conduct_update(b.c, both, 2, true);
    assert_int_equal(kept(&b), 2);
    sm_conduct_update(b.c, both, 1, false); /* a file does not load just now */
    assert_int_equal(kept(&b), 2);
    sm_conduct_update(b.c, both, 1, true);
    assert_int_equal(kept(&b), 1);
    /* higher limits are a change too */
    json_object_set_new(b.p->limits, "memory", json_integer(1));
    sm_conduct_update(b.c, both, 1, true);
    assert_int_equal(kept(&b), 0);
    assert_false(sm_conduct_alone(b.c, b.p));
    sm_inspection_unref(other);
    end(&b);
}

static void test_readers(void **state) {
    (void)state;
    bench b;
    begin(&b);
    ended(&b, "crashed", true, 0, T0);
    room_settle(&b.room);
    json_t *rows = room_ask(&b.room, SM_OP_KV_LIST, json_pack("{s:s}", "prefix", "conduct:"));
    json_t *stored = sm_conduct_conditions_of(rows, NULL, 0), *now = sm_conduct_conditions(b.c);
    assert_true(json_equal(stored, now));
    json_t *same = sm_conduct_conditions_of(rows, &b.p, 1);
    assert_true(json_equal(same, now));
    json_decref(same);
    json_t *list =
        json_pack("[{s:s}, {s:s}, {s:s}]", "id", "a.run", "id", "b.run", "file", "c.lua");
    sm_conduct_mark(list, stored);
    json_t *want =
        json_pack("[{s:s, s:s, s:s, s:s, s:n}, {s:s, s:n, s:n, s:n, s:n}, {s:s}]", "id", "a.run",
                  "condition", "quarantined", "condition_since", "2026-09-21T14:13:20Z",
                  "condition_why", "x.lua:7: oh", "condition_until", "id", "b.run", "condition",
                  "condition_since", "condition_why", "condition_until", "file", "c.lua");
    if (!json_equal(list, want))
        fail_msg("%s", json_dumps(list, JSON_SORT_KEYS));
    json_decref(rows);
    json_decref(stored);
    json_decref(now);
    json_decref(list);
    json_decref(want);
    end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quarantine), cmocka_unit_test(test_suspect),
        cmocka_unit_test(test_lane),       cmocka_unit_test(test_back_off),
        cmocka_unit_test(test_sentence),   cmocka_unit_test(test_forgets),
        cmocka_unit_test(test_readers),
    };
    sm_log_setup(SM_LOG_ERROR, false, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
