/* slot: several schedules as one: next, newest, the newest few, and how many; counting against
 * visiting each instant, over a year with its changes of offset. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "schedule/slot.h"
#include "zones_help.h"

enum { CRONS = 4 };

typedef struct set {
    sm_cron *crons[CRONS];
    sm_slots s;
} set;

/* exprs: up to four, divided by "; ". */
static void set_make(set *t, const char *exprs, const sm_tz *tz) {
    char text[200], *rest = text;
    snprintf(text, sizeof text, "%s", exprs);
    *t = (set){0};
    while (rest) {
        sm_err err = SM_ERR_INIT;
        char *end = strstr(rest, "; ");
        if (end)
            *end = '\0';
        if (sm_cron_parse(rest, "a.run", false, &t->crons[t->s.n++], &err) != SM_OK)
            fail_msg("%s: %s", rest, err.msg);
        rest = end ? end + 2 : NULL;
    }
    t->s.crons = t->crons;
    t->s.tz = tz;
    t->s.id = "a.run";
}

static void set_free(set *t) {
    for (size_t i = 0; i < t->s.n; i++)
        sm_cron_free(t->crons[i]);
}

static int64_t instant(const char *s) {
    int64_t ns;
    assert_int_equal(sm_time_parse(s, &ns, NULL), SM_OK);
    return ns / SM_NS_PER_S;
}

/* Zones with every kind of change: plain DST, half an hour, at midnight, two hours, twice a year
 * around Ramadan, and one that lost a day (in 2011). */
static const char *const zones[] = {"UTC",          "Europe/Berlin",    "Australia/Lord_Howe",
                                    "Asia/Beirut",  "Antarctica/Troll", "Africa/Casablanca",
                                    "Pacific/Apia", "America/St_Johns", "America/Santiago"};

static void test_count_is_what_visiting_finds(void **state) {
    static const char *const exprs[] = {
        "30 2 * * *", "0 0 * * *",   "*/7 * * * *",      "15 1,2,3 * * *", "0 */2 * * *",
        "0 3 L * *",  "0 0 * * 5L",  "10,40 30 2 * * *", "@every 90s",     "0 0 29 2 *",
        "H H * * *",  "59 23 1 1 *", "*/5 2 * * sun",    "0 2-4 * 3,10 *"};
    (void)state;
    int64_t spans[][2] = {{instant("2026-01-01T00:00:00Z"), instant("2027-01-01T00:00:00Z")},
                          {instant("2026-03-28T13:07:11Z"), instant("2026-03-29T01:00:00Z")},
                          {instant("2026-10-25T00:30:00Z"), instant("2026-10-25T01:30:00Z")},
                          {instant("2011-12-28T00:00:00Z"), instant("2012-01-02T00:00:00Z")},
                          {instant("2026-03-29T00:59:59Z"), instant("2026-03-29T01:00:01Z")}};
    for (size_t z = 0; z < SM_ARRAY_LEN(zones); z++) {
        sm_tz *tz = zone(zones[z]);
        for (size_t e = 0; e < SM_ARRAY_LEN(exprs); e++) {
            set t;
            set_make(&t, exprs[e], tz);
            for (size_t k = 0; k < SM_ARRAY_LEN(spans); k++) {
                int64_t n = 0, next = spans[k][0];
                while (sm_cron_next(t.crons[0], tz, next, &next) && next <= spans[k][1])
                    n++;
                int64_t got = sm_cron_count(t.crons[0], tz, spans[k][0], spans[k][1]);
                if (got != n)
                    fail_msg("%s in %s, span %zu: counted %lld, visited %lld", exprs[e], zones[z],
                             k, (long long)got, (long long)n);
            }
            /* Any cut: the parts are the whole. */
            int64_t from = spans[0][0], to = spans[0][1];
            int64_t whole = sm_cron_count(t.crons[0], tz, from, to), parts = 0;
            for (int64_t at = from, end; at < to; at = end) {
                end = at + 1234567 < to ? at + 1234567 : to;
                parts += sm_cron_count(t.crons[0], tz, at, end);
            }
            assert_int_equal(parts, whole);
            assert_int_equal(sm_cron_count(t.crons[0], tz, to, from), 0);
            set_free(&t);
        }
        sm_tz_free(tz);
    }
}

/* A hundred years of seconds are counted in no time (50 ms, with a ten-fold margin). */
static void test_count_is_quick(void **state) {
    (void)state;
    set t;
    set_make(&t, "* * * * * *", NULL);
    int64_t from = instant("2026-01-01T00:00:00Z"), to = instant("2126-01-01T00:00:00Z");
    int64_t begin = sm_thread_cpu_ns();
    assert_int_equal(sm_cron_count(t.crons[0], NULL, from, to), to - from);
    assert_true(sm_thread_cpu_ns() - begin < 500 * SM_NS_PER_MS);
    set_free(&t);
}

static void test_union(void **state) {
    (void)state;
    set t;
    bool about;
    set_make(&t, "0 * * * *; */20 * * * *; 30 12 * * *", NULL);
    int64_t from = instant("2026-01-01T00:00:00Z"), day = 86400;
    assert_int_equal(sm_slots_next(&t.s, from), from + 1200);
    assert_int_equal(sm_slots_prev(&t.s, from + 12 * 3600 + 1801), from + 12 * 3600 + 1800);
    assert_int_equal(sm_slots_prev(&t.s, from + 12 * 3600 + 1800), from + 12 * 3600 + 1800);
    assert_int_equal(sm_slots_count(&t.s, from, from + day, &about), 73);
    assert_false(about);
    int64_t many = sm_slots_count(&t.s, from, from + 365 * day, &about);
    assert_true(about);
    assert_int_equal(many, 365 * (24 + 72 + 1)); /* shared instants twice: at most that */
    assert_int_equal(sm_slots_period(&t.s, from), day);
    int64_t tail[5];
    assert_int_equal(sm_slots_tail(&t.s, from, from + 13 * 3600, tail, 5), 5);
    static const int64_t want[] = {42000, 43200, 44400, 45000, 45600};
    for (int i = 0; i < 4; i++)
        assert_int_equal(tail[i] - from, want[i + 1]);
    assert_int_equal(tail[4] - from, 13 * 3600);
    assert_int_equal(sm_slots_tail(&t.s, from + 12 * 3600, from + 13 * 3600, tail, 5), 4);
    assert_int_equal(sm_slots_tail(&t.s, from, from, tail, 5), 0);
    set_free(&t);
    t = (set){0};
    assert_int_equal(sm_slots_next(&t.s, 0), SM_NO_SLOT);
    assert_int_equal(sm_slots_newest(&t.s, 0), SM_NO_SLOT);
    assert_int_equal(sm_slots_count(&t.s, 0, 100, &about), 0);
}

/* A slot has come when its delayed start has. */
static void test_delay(void **state) {
    (void)state;
    set t;
    set_make(&t, "@every 1h", NULL);
    int64_t from = instant("2026-01-01T12:00:00Z"), due = sm_slots_due_ns(&t.s, from);
    int64_t delay = due - from * SM_NS_PER_S;
    assert_int_equal(delay, sm_cron_spread_ms(t.crons[0], "a.run") * SM_NS_PER_MS);
    assert_true(delay > 0);
    assert_int_equal(sm_slots_newest(&t.s, due - 1), from - 3600);
    assert_int_equal(sm_slots_newest(&t.s, due), from);
    set_free(&t);
    /* Literal minutes beside it: nothing may overtake, so nothing is delayed. */
    set_make(&t, "@every 1h; 30 2 * * *", NULL);
    assert_int_equal(sm_slots_due_ns(&t.s, from), from * SM_NS_PER_S);
    set_free(&t);
}

static void test_rule(void **state) {
    (void)state;
    int64_t rule = sm_slots_rule("[\"* * * * *\"]", "UTC");
    assert_true(rule > 0);
    assert_int_equal(rule, sm_slots_rule("[\"* * * * *\"]", "UTC"));
    assert_int_not_equal(rule, sm_slots_rule("[\"* * * * *\"]", "Europe/Berlin"));
    assert_int_not_equal(rule, sm_slots_rule("[\"0 * * * *\"]", "UTC"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count_is_what_visiting_finds),
        cmocka_unit_test(test_count_is_quick),
        cmocka_unit_test(test_union),
        cmocka_unit_test(test_delay),
        cmocka_unit_test(test_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
