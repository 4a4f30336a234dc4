/* The breaker by itself: when it opens, for how long, and how it closes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/clock.h"
#include "daemon/breaker.h"

#define MS SM_NS_PER_MS
enum { MOST = 1000000 };

/* Random bits with which the first opening lasts 700 ms of at most 1,000. */
static const uint64_t for_700 = UINT64_MAX / 1001 * 700 + UINT64_MAX / 2002;

static void test_five_in_a_row(void **state) {
    (void)state;
    sm_breaker b;
    sm_breaker_init(&b, 100);
    assert_int_equal(sm_breaker_allow(&b, 0), 100);
    for (int i = 0; i < 4; i++)
        assert_false(sm_breaker_failed(&b, 0, 0, for_700));
    assert_int_equal(b.state, SM_BREAKER_CLOSED);
    assert_int_equal(sm_breaker_allow(&b, 0), 1);
    assert_true(sm_breaker_failed(&b, 0, 0, for_700));
    assert_int_equal(b.state, SM_BREAKER_OPEN);
    assert_int_equal(b.failures, 5);
    assert_int_equal(sm_breaker_wait_ms(&b, 0), 700);
    assert_int_equal(sm_breaker_allow(&b, 699 * MS), 0);
    assert_int_equal(sm_breaker_allow(&b, 700 * MS), 1);
    assert_int_equal(b.state, SM_BREAKER_HALF_OPEN);
}

static void test_half_of_twenty(void **state) {
    (void)state;
    sm_breaker b;
    sm_breaker_init(&b, 100);
    bool opened = false;
    int answers = 0;
    while (!opened && answers < 100) { /* every second one fails: never two in a row */
        answers++;
        if (answers % 2)
            sm_breaker_worked(&b);
        else
            opened = sm_breaker_failed(&b, 0, 0, 1);
    }
    assert_int_equal(answers, 20);
    sm_breaker_init(&b, 100);
    for (int i = 0; i < 300; i++) { /* every third one: it goes on */
        if (i % 3)
            sm_breaker_worked(&b);
        else
            assert_false(sm_breaker_failed(&b, 0, 0, 1));
    }
    assert_int_equal(b.state, SM_BREAKER_CLOSED);
}

static void test_probe_and_ramp(void **state) {
    (void)state;
    static const int grows[] = {4, 16, 64, 100, 100};
    sm_breaker b;
    sm_breaker_init(&b, 100);
    for (int i = 0; i < 5; i++)
        sm_breaker_failed(&b, 0, 0, 0);
    assert_int_equal(sm_breaker_allow(&b, 1 * MS), 1);
    assert_true(sm_breaker_worked(&b)); /* closes */
    for (int i = 0; i < 5; i++) {
        assert_int_equal(sm_breaker_allow(&b, 2 * MS), grows[i]);
        assert_false(sm_breaker_worked(&b));
    }
    assert_int_equal(b.opened, 0);
}

static void test_opens_longer_and_longer(void **state) {
    (void)state;
    sm_breaker b;
    int64_t now = 0, bound = 1000;
    sm_breaker_init(&b, 100);
    for (int i = 0; i < 4; i++)
        sm_breaker_failed(&b, now, 0, 0);
    for (int i = 0; i < 14; i++) {
        sm_breaker_failed(&b, now, 0, UINT64_MAX);
        int64_t wait = sm_breaker_wait_ms(&b, now);
        assert_int_equal(wait, bound);
        now += wait * MS;
        assert_int_equal(sm_breaker_allow(&b, now), 1);
        bound = bound * 2 > 300000 ? 300000 : bound * 2;
    }
    /* Full jitter: any time from 0 on, whatever the random bits. */
    for (uint64_t r = 0; r < MOST; r += 997) {
        sm_breaker one = b;
        sm_breaker_failed(&one, now, 0, r * UINT64_C(0x9e3779b97f4a7c15));
        assert_in_range(sm_breaker_wait_ms(&one, now), 0, 300000);
    }
    /* It is forgotten only after whole batches went again. */
    sm_breaker_worked(&b);
    assert_int_equal(b.opened, 14);
}

static void test_retry_after(void **state) {
    (void)state;
    sm_breaker b;
    sm_breaker_init(&b, 100);
    assert_true(sm_breaker_failed(&b, 0, 90000, 0)); /* at once: it said so itself */
    assert_int_equal(sm_breaker_wait_ms(&b, 0), 90000);
    sm_breaker_allow(&b, 90000 * MS);
    assert_false(sm_breaker_failed(&b, 0, INT64_MAX, 0)); /* half open, and open again */
    assert_int_equal(b.state, SM_BREAKER_OPEN);
    assert_int_equal(sm_breaker_wait_ms(&b, 0), 3600000);
}

static void test_hold_and_hurry(void **state) {
    (void)state;
    sm_breaker b;
    sm_breaker_init(&b, 100);
    assert_true(sm_breaker_held(&b, 0, 30000, 0));
    assert_int_equal(sm_breaker_allow(&b, 29999 * MS), 0);
    sm_breaker_hurry(&b);
    assert_int_equal(sm_breaker_wait_ms(&b, 0), 0);
    assert_int_equal(sm_breaker_allow(&b, 1), 1);
    assert_true(sm_breaker_worked(&b));
    sm_breaker_hurry(&b); /* nothing to hurry */
    assert_int_equal(b.state, SM_BREAKER_CLOSED);
    sm_breaker_careful(&b);
    assert_int_equal(sm_breaker_allow(&b, 2), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_five_in_a_row),  cmocka_unit_test(test_half_of_twenty),
        cmocka_unit_test(test_probe_and_ramp), cmocka_unit_test(test_opens_longer_and_longer),
        cmocka_unit_test(test_retry_after),    cmocka_unit_test(test_hold_and_hurry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
