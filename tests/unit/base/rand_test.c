/* rand: ids grow strictly in many threads and with any clock, jitter stays in its bounds. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/rand.h"

enum { THREADS = 4, EACH = 5000 };

typedef struct maker {
    pthread_t thread;
    char ids[EACH][33];
    bool grew;
} maker;

static void *make_ids(void *arg) {
    maker *m = arg;
    m->grew = true;
    for (int i = 0; i < EACH; i++) {
        sm_id_new(sm_wall_ns(), m->ids[i]);
        if (i > 0 && strcmp(m->ids[i - 1], m->ids[i]) >= 0) {
            m->grew = false;
        }
    }
    return NULL;
}

static int by_text(const void *a, const void *b) {
    return strcmp(a, b);
}

static void test_ids_in_threads(void **state) {
    (void)state;
    maker *m = calloc(THREADS, sizeof *m);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&m[i].thread, NULL, make_ids, &m[i]), 0);
    }
    char(*all)[33] = calloc(THREADS * EACH, 33);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(m[i].thread, NULL);
        assert_true(m[i].grew);
        memcpy(all[i * EACH], m[i].ids, sizeof m[i].ids);
    }
    qsort(all, THREADS * EACH, 33, by_text);
    for (int i = 1; i < THREADS * EACH; i++) {
        assert_string_not_equal(all[i - 1], all[i]);
    }
    free(all);
    free(m);
}

static void test_id_form(void **state) {
    (void)state;
    char id[33], last[33] = "";
    int64_t now = sm_wall_ns() + 3600 * SM_NS_PER_S; /* later than the ids of the other tests */
    sm_id_new(now, id);
    assert_int_equal(strlen(id), 32);
    assert_int_equal(strspn(id, "0123456789abcdef"), 32);
    assert_int_equal(id[12], '7');
    assert_non_null(strchr("89ab", id[16]));
    char ms[13];
    memcpy(ms, id, 12);
    ms[12] = '\0';
    assert_int_equal(strtoll(ms, NULL, 16), now / SM_NS_PER_MS);
    /* One millisecond, a clock that goes back, and one that is broken: always later. */
    static const int64_t steps[] = {0, -3600 * SM_NS_PER_S, INT64_MIN / 2, 0, SM_NS_PER_MS};
    for (int i = 0; i < 20000; i++) {
        memcpy(last, id, sizeof id);
        sm_id_new(now + steps[i % 5], id);
        assert_true(strcmp(last, id) < 0);
    }
}

static void test_jitter(void **state) {
    (void)state;
    static const struct {
        int64_t base, cap;
        unsigned attempt;
        int64_t top;
    } rows[] = {
        {1000, 60000, 0, 1000},
        {1000, 60000, 1, 2000},
        {1000, 60000, 5, 32000},
        {1000, 60000, 6, 60000},
        {1000, 60000, 4000000000u, 60000},
        {5, 3, 0, 3},
        {1, INT64_MAX, 62, INT64_C(1) << 62},
        {3, INT64_MAX, 100, INT64_MAX},
        {0, 100, 3, 0},
        {-5, 100, 3, 0},
        {5, 0, 3, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(sm_jitter(rows[i].base, rows[i].cap, rows[i].attempt, 0), 0);
        int64_t top = sm_jitter(rows[i].base, rows[i].cap, rows[i].attempt, UINT64_MAX);
        assert_true(top == rows[i].top);
        int64_t mid = sm_jitter(rows[i].base, rows[i].cap, rows[i].attempt, UINT64_C(1) << 63);
        assert_true(mid >= top / 2 && mid <= top / 2 + 1);
    }
    int64_t max = 0;
    for (int i = 0; i < 2000; i++) {
        uint64_t r;
        sm_rand_bytes(&r, sizeof r);
        int64_t j = sm_jitter(100, 100, 0, r);
        assert_true(j >= 0 && j <= 100);
        max = j > max ? j : max;
    }
    assert_true(max > 90);
}

static void test_below(void **state) {
    (void)state;
    assert_int_equal(sm_rand_below(0), 0);
    assert_int_equal(sm_rand_below(1), 0);
    int seen[7] = {0};
    for (int i = 0; i < 7000; i++) {
        uint64_t v = sm_rand_below(7);
        assert_true(v < 7);
        seen[v]++;
    }
    for (int i = 0; i < 7; i++) {
        assert_true(seen[i] > 700 && seen[i] < 1300); /* some ten standard deviations */
    }
    assert_true(sm_rand_below(UINT64_MAX) < UINT64_MAX);
}

static void test_clock(void **state) {
    (void)state;
    const sm_clock *c = sm_clock_system();
    int64_t a = c->mono_ns(c->ctx);
    int64_t cpu = sm_thread_cpu_ns();
    assert_true(c->mono_ns(c->ctx) >= a);
    assert_true(sm_thread_cpu_ns() >= cpu && cpu > 0);
    assert_true(llabs(c->wall_ns(c->ctx) - sm_wall_ns()) < 10 * SM_NS_PER_S);
    assert_true(sm_wall_ns() > INT64_C(1600000000) * SM_NS_PER_S);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_in_threads), cmocka_unit_test(test_id_form),
        cmocka_unit_test(test_jitter),         cmocka_unit_test(test_below),
        cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
