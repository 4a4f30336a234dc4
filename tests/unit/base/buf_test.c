/* buf: the ceiling holds, a refused append changes nothing, the bytes are always NUL-terminated. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"

static void test_ceiling(void **state) {
    (void)state;
    sm_buf b;
    sm_buf_init(&b, 5);
    assert_int_equal(sm_buf_adds(&b, "abc"), SM_OK);
    assert_int_equal(sm_buf_adds(&b, "def"), SM_LIMIT);
    assert_int_equal(b.len, 3);
    assert_string_equal(b.data, "abc");
    assert_true(b.failed);
    assert_int_equal(sm_buf_addc(&b, 'x'), SM_LIMIT); /* later appends fail too */
    sm_buf_reset(&b);
    assert_false(b.failed);
    assert_int_equal(sm_buf_adds(&b, "12345"), SM_OK);
    assert_int_equal(sm_buf_add(&b, "", 0), SM_OK);
    assert_int_equal(sm_buf_addc(&b, '6'), SM_LIMIT);
    assert_string_equal(b.data, "12345");
    sm_buf_fini(&b);
    sm_buf_init(&b, 0);
    assert_int_equal(sm_buf_addc(&b, '6'), SM_LIMIT);
    sm_buf_fini(&b);
    sm_buf_init(&b, SIZE_MAX);
    assert_int_equal(sm_buf_adds(&b, "x"), SM_OK);
    assert_int_equal(sm_buf_add(&b, "x", SIZE_MAX - 1), SM_LIMIT);
    sm_buf_reset(&b);
    sm_buf_adds(&b, "x");
    assert_int_equal(sm_buf_add(&b, "x", SIZE_MAX), SM_LIMIT); /* the sum would wrap to 0 */
    sm_buf_fini(&b);
}

static void test_format(void **state) {
    (void)state;
    sm_buf b;
    sm_buf_init(&b, 8);
    assert_int_equal(sm_buf_addf(&b, "%d-%s", 12, "ab"), SM_OK);
    assert_int_equal(sm_buf_addf(&b, "%s", "1234"), SM_LIMIT);
    assert_string_equal(b.data, "12-ab");
    sm_buf_fini(&b);
}

static void test_consume_and_take(void **state) {
    (void)state;
    sm_buf b;
    sm_buf_init(&b, 100000);
    sm_buf_consume(&b, 0);
    for (int i = 0; i < 1000; i++) {
        sm_buf_addf(&b, "%06d\n", i);
    }
    assert_int_equal(b.len, 7000);
    sm_buf_consume(&b, 6993);
    assert_string_equal(b.data, "000999\n");
    sm_buf_consume(&b, 7);
    assert_int_equal(b.len, 0);
    assert_string_equal(b.data, "");
    sm_buf_add(&b, "a\0b", 3);
    size_t n;
    char *p = sm_buf_take(&b, &n);
    assert_int_equal(n, 3);
    assert_memory_equal(p, "a\0b", 4);
    free(p);
    assert_int_equal(b.len, 0);
    p = sm_buf_take(&b, NULL); /* nothing in it is an empty text, not NULL */
    assert_string_equal(p, "");
    free(p);
    sm_buf_adds(&b, "again");
    assert_string_equal(b.data, "again");
    sm_buf_fini(&b);
    sm_buf_fini(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_consume_and_take),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
