/* vitals: counts are exact, histograms right at their bounds, the last hour forgets what is older,
 * and counting is cheap. The clock is the test's. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include "daemon/vitals.h"

typedef struct times {
    int64_t wall, mono;
} times;

static int64_t wall_of(void *ctx) {
    return ((times *)ctx)->wall;
}

static int64_t mono_of(void *ctx) {
    return ((times *)ctx)->mono;
}

typedef struct fixture {
    times now;
    sm_clock clock;
    sm_vitals *v;
} fixture;

static int setup(void **state) {
    static fixture f;
    f.now = (times){1700000000 * SM_NS_PER_S, 5000 * SM_NS_PER_S};
    f.clock = (sm_clock){.wall_ns = wall_of, .mono_ns = mono_of, .ctx = &f.now};
    f.v = sm_vitals_new(&f.clock);
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    sm_vitals_free(((fixture *)*state)->v);
    return 0;
}

static void run(fixture *f, const char *outcome, double seconds, double late) {
    json_t *report = json_pack("{s:s, s:f, s:f, s:i}", "outcome", outcome, "seconds", seconds,
                               "cpu", seconds / 2, "events", 2);
    json_object_set_new(report, "lateness", late < 0 ? json_null() : json_real(late));
    sm_vitals_run(f->v, report);
    json_decref(report);
}

static double recent(fixture *f, const char *what) {
    json_t *s = sm_vitals_snapshot(f->v);
    const json_t *v = json_object_get(json_object_get(s, "recent"), what);
    double x = json_is_number(v) ? json_number_value(v) : -1;
    json_decref(s);
    return x;
}

static void test_counts(void **state) {
    fixture *f = *state;
    run(f, "ok", 0.005, 0.001);
    run(f, "ok", 0.0051, 0.002);
    run(f, "failed", 1000, 400);
    run(f, "disabled", 0, 0.5);
    run(f, "of the future", 0, -1);
    sm_vitals_slots(f->v, "missed", 41);
    sm_vitals_slots(f->v, "missed", 1);
    sm_vitals_slots(f->v, "nonsense", 1);
    sm_vitals_repeat(f->v);
    f->now.mono += 10 * SM_NS_PER_S;
    json_t *s = sm_vitals_snapshot(f->v), *runs = json_object_get(s, "runs");
    assert_int_equal(json_object_size(runs), 11);
    assert_int_equal(sm_json_int(runs, "ok", -1), 2);
    assert_int_equal(sm_json_int(runs, "failed", -1), 1);
    assert_int_equal(sm_json_int(runs, "disabled", -1), 1);
    assert_int_equal(sm_json_int(runs, "missed", -1), 42);
    assert_int_equal(sm_json_int(runs, "crashed", -1), 0);
    assert_int_equal(sm_json_int(s, "events", -1), 10);
    assert_int_equal(sm_json_int(s, "repeats", -1), 1);
    assert_int_equal(sm_json_int(s, "started_ns", 0), 1700000000 * SM_NS_PER_S);
    assert_float_equal(sm_json_num(s, "uptime", 0), 10, 1e-9);
    assert_float_equal(sm_json_num(s, "cpu", 0), 1000.0101 / 2, 1e-6);
    /* A value on a bound belongs below it; one above the last goes to the extra bucket. */
    const json_t *h = json_object_get(s, "seconds"), *count = json_object_get(h, "count");
    size_t n = json_array_size(json_object_get(h, "le"));
    assert_int_equal(json_array_size(count), n + 1);
    assert_int_equal(json_integer_value(json_array_get(count, 0)), 1);
    assert_int_equal(json_integer_value(json_array_get(count, 1)), 1);
    assert_int_equal(json_integer_value(json_array_get(count, n)), 1);
    assert_float_equal(sm_json_num(h, "sum", 0), 1000.0101, 1e-6);
    h = json_object_get(s, "lateness");
    count = json_object_get(h, "count");
    int64_t all = 0;
    for (size_t i = 0; i < json_array_size(count); i++)
        all += json_integer_value(json_array_get(count, i));
    assert_int_equal(all, 4);
    json_decref(s);
}

static void test_the_last_hour(void **state) {
    fixture *f = *state;
    assert_float_equal(recent(f, "p50"), -1, 0); /* null: nothing ran */
    for (int i = 1; i <= 1000; i++)
        run(f, "ok", 0.1, i / 1000.0);
    /* Known to a tenth of their value, and never below. */
    assert_in_range((int)(recent(f, "p50") * 1000), 500, 551);
    assert_in_range((int)(recent(f, "p99") * 1000), 990, 1000);
    assert_float_equal(recent(f, "max"), 1.0, 1e-9);
    assert_float_equal(recent(f, "n"), 1000, 0);
    f->now.mono += 3599 * SM_NS_PER_S;
    run(f, "ok", 0.1, 0.01);
    assert_float_equal(recent(f, "n"), 1001, 0); /* an hour is kept whole */
    assert_float_equal(recent(f, "seconds"), 3599, 1e-6);
    f->now.mono += 3900 * SM_NS_PER_S;
    assert_float_equal(recent(f, "n"), 0, 0);
    run(f, "ok", 0.1, 0);
    assert_float_equal(recent(f, "max"), 0, 0);
    assert_true(recent(f, "seconds") >= 3600 && recent(f, "seconds") <= 3900);
    run(f, "ok", 0.1, 1e9); /* beyond every bucket */
    assert_float_equal(recent(f, "max"), 1e9, 0);
}

static void test_reloads(void **state) {
    fixture *f = *state;
    sm_load_error first[] = {{.file = "a.lua", .sentence = "a.lua:1: x"},
                             {.file = "b.lua", .sentence = "b.lua:1: y"}};
    sm_load_error second[] = {{.file = "b.lua", .sentence = "b.lua:2: z"}};
    const struct {
        const sm_load_error *errors;
        size_t n;
        int failures;
    } steps[] = {{first, 2, 2}, {first, 2, 2}, {second, 1, 3}, {NULL, 0, 3}, {second, 1, 4}};
    for (size_t i = 0; i < SM_ARRAY_LEN(steps); i++) {
        sm_vitals_reload(f->v, steps[i].errors, steps[i].n);
        json_t *s = sm_vitals_snapshot(f->v);
        assert_int_equal(sm_json_int(s, "reloads", -1), i + 1);
        assert_int_equal(sm_json_int(s, "reload_failures", -1), steps[i].failures);
        json_decref(s);
    }
}

static void test_a_hundred_thousand(void **state) {
    fixture *f = *state;
    json_t *report = json_pack("{s:s, s:f, s:f, s:i, s:f}", "outcome", "cancelled", "seconds", 0.25,
                               "cpu", 0.1, "events", 1, "lateness", 0.003);
    int64_t began = sm_mono_ns();
    for (int i = 0; i < 100000; i++)
        sm_vitals_run(f->v, report);
    int64_t took_ms = (sm_mono_ns() - began) / SM_NS_PER_MS;
    json_decref(report);
    assert_float_equal(recent(f, "n"), 100000, 0);
    print_message("# 100,000 runs counted in %d ms\n", (int)took_ms);
    assert_true(took_ms < 1000); /* about 30 on a quiet machine */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_last_hour, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reloads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_hundred_thousand, setup, teardown),
    };
    return cmocka_run_group_tests_name("vitals", tests, NULL, NULL);
}
