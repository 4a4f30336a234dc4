/* json: what is refused, what is exact, and that readers never trust a type. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/mem.h"

#define ROW(name, text, rc)                                                                        \
    { name, text, sizeof text - 1, rc }

typedef struct row {
    const char *name, *text;
    size_t n;
    sm_rc rc;
} row;

static const row rows[] = {
    ROW("object", "{\"a\":1}", SM_OK),
    ROW("string at the top", "\"x\"", SM_OK),
    ROW("number at the top", "1", SM_OK),
    ROW("null at the top", " null ", SM_OK),
    ROW("largest integer", "9223372036854775807", SM_OK),
    ROW("smallest integer", "-9223372036854775808", SM_OK),
    ROW("NUL escape in a value", "\"a\\u0000b\"", SM_OK),
    ROW("surrogate pair", "\"\\ud83d\\ude00\"", SM_OK),
    ROW("DEL", "\"\x7f\"", SM_OK),
    ROW("empty", "", SM_INVALID),
    ROW("blank", "  ", SM_INVALID),
    ROW("integer too large", "9223372036854775808", SM_INVALID),
    ROW("real too large", "1e999", SM_INVALID),
    ROW("NaN", "NaN", SM_INVALID),
    ROW("Infinity", "[Infinity]", SM_INVALID),
    ROW("hex", "0x10", SM_INVALID),
    ROW("leading zero", "01", SM_INVALID),
    ROW("leading plus", "+1", SM_INVALID),
    ROW("bare point", "1.", SM_INVALID),
    ROW("duplicate key", "{\"a\":1,\"a\":2}", SM_INVALID),
    ROW("duplicate key by escape", "{\"a\":1,\"\\u0061\":2}", SM_INVALID),
    ROW("NUL escape in a key", "{\"a\\u0000b\":1}", SM_INVALID),
    ROW("trailing comma", "[1,]", SM_INVALID),
    ROW("trailing text", "{} x", SM_INVALID),
    ROW("two values", "1 2", SM_INVALID),
    ROW("comment", "[1] // x", SM_INVALID),
    ROW("single quotes", "{'a':1}", SM_INVALID),
    ROW("open string", "\"abc", SM_INVALID),
    ROW("open object", "{\"a\":", SM_INVALID),
    ROW("control in a string", "\"a\nb\"", SM_INVALID),
    ROW("raw NUL", "\"a\0b\"", SM_INVALID),
    ROW("raw NUL behind", "1\0", SM_INVALID),
    ROW("bad UTF-8", "\"\xFF\"", SM_INVALID),
    ROW("overlong UTF-8", "\"\xC0\xAF\"", SM_INVALID),
    ROW("lone surrogate", "\"\\ud800\"", SM_INVALID),
    ROW("byte order mark", "\xEF\xBB\xBF{}", SM_INVALID),
    ROW("bad escape", "\"\\x41\"", SM_INVALID),
};

static void test_strict(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        json_t *j = NULL;
        sm_err err = SM_ERR_INIT;
        char *copy = sm_malloc(rows[i].n);
        memcpy(copy, rows[i].text, rows[i].n);
        sm_rc rc = sm_json_parse(copy, rows[i].n, 1000, &j, &err);
        if (rc != rows[i].rc || (rc == SM_OK) != (j != NULL) ||
            (rc && !strstr(err.msg, "at line"))) {
            fail_msg("%s: %s %s", rows[i].name, sm_rc_name(rc), err.msg);
        }
        json_decref(j);
        free(copy);
    }
}

static sm_rc nested(size_t depth, const char *open, const char *close) {
    char text[4096] = "";
    for (size_t i = 0; i < depth; i++) {
        strcat(text, open);
    }
    strcat(text, "1");
    for (size_t i = 0; i < depth; i++) {
        strcat(text, close);
    }
    json_t *j = NULL;
    sm_rc rc = sm_json_parse(text, strlen(text), sizeof text, &j, NULL);
    json_decref(j);
    return rc;
}

static void test_limits(void **state) {
    (void)state;
    assert_int_equal(nested(64, "[", "]"), SM_OK);
    assert_int_equal(nested(65, "[", "]"), SM_LIMIT);
    assert_int_equal(nested(64, "{\"a\":", "}"), SM_OK);
    assert_int_equal(nested(65, "{\"a\":", "}"), SM_LIMIT);
    json_t *j = NULL;
    sm_err err = SM_ERR_INIT;
    assert_int_equal(sm_json_parse("[1,2]", 5, 4, &j, &err), SM_LIMIT);
    assert_non_null(strstr(err.msg, "limit of 4"));
    assert_int_equal(sm_json_parse("[1,2]", 5, 5, &j, &err), SM_OK);
    json_decref(j);
    /* Brackets inside strings are no levels. */
    char text[400];
    memset(text, '[', sizeof text);
    text[0] = '"';
    text[1] = '\\';
    text[2] = '"';
    text[399] = '"';
    assert_int_equal(sm_json_parse(text, sizeof text, sizeof text, &j, &err), SM_OK);
    json_decref(j);
    /* What stands at the place is not repeated: it may be a secret. */
    const char *bad = "{\"token\": hunter22}";
    assert_int_equal(sm_json_parse(bad, strlen(bad), 100, &j, &err), SM_INVALID);
    assert_null(strstr(err.msg, "hunter22"));
    assert_non_null(strstr(err.msg, "line 1"));
}

static void test_dump(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"{\"b\":1,\"a\":[true,null,\"x\"]}", "{\"a\":[true,null,\"x\"],\"b\":1}"},
        {"9223372036854775807", "9223372036854775807"},
        {"0.1", "0.10000000000000001"},
        {"1.0", "1.0"},
        {"1e300", "1.0000000000000001e300"},
        {"\"gr\xC3\xBC\xC3\x9F \\u0001 \\/\"", "\"gr\xC3\xBC\xC3\x9F \\u0001 /\""},
        {"\"a\\u0000b\"", "\"a\\u0000b\""},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(cases); i++) {
        json_t *j = NULL;
        assert_int_equal(sm_json_parse(cases[i].in, strlen(cases[i].in), 1000, &j, NULL), SM_OK);
        size_t n;
        char *s = sm_json_dump(j, &n);
        assert_string_equal(s, cases[i].out);
        assert_int_equal(n, strlen(s));
        free(s);
        json_decref(j);
    }
    /* Doubles come back as they went. */
    static const double reals[] = {0.1,  1.0 / 3,      5e-324, 1.7976931348623157e308,
                                   -0.0, 123456789.125};
    for (size_t i = 0; i < SM_ARRAY_LEN(reals); i++) {
        json_t *a = json_real(reals[i]), *b = NULL;
        char *s = sm_json_dump(a, NULL);
        assert_int_equal(sm_json_parse(s, strlen(s), 100, &b, NULL), SM_OK);
        double back = json_real_value(b);
        assert_memory_equal(&back, &reals[i], sizeof back);
        json_decref(a);
        json_decref(b);
        free(s);
    }
    json_t *j = json_pack("{s:i}", "a", 1);
    char *s = sm_json_pretty(j, NULL);
    assert_string_equal(s, "{\n  \"a\": 1\n}");
    free(s);
    json_decref(j);
    s = sm_json_dump(NULL, NULL);
    assert_string_equal(s, "null");
    free(s);
}

static void test_readers(void **state) {
    (void)state;
    const char *text =
        "{\"s\":\"x\",\"i\":5,\"r\":5.0,\"h\":5.5,\"big\":1e19,\"neg\":-9223372036854775808.0,"
        "\"t\":true,\"f\":false,\"n\":null,\"z\":\"a\\u0000b\",\"o\":{}}";
    json_t *j = NULL;
    assert_int_equal(sm_json_parse(text, strlen(text), 1000, &j, NULL), SM_OK);
    assert_string_equal(sm_json_str(j, "s", "d"), "x");
    assert_string_equal(sm_json_str(j, "i", "d"), "d");
    assert_string_equal(sm_json_str(j, "n", "d"), "d");
    assert_string_equal(sm_json_str(j, "z", "d"), "d");
    assert_null(sm_json_str(j, "absent", NULL));
    assert_int_equal(sm_json_int(j, "i", 7), 5);
    assert_int_equal(sm_json_int(j, "r", 7), 5);
    assert_int_equal(sm_json_int(j, "h", 7), 7);
    assert_int_equal(sm_json_int(j, "big", 7), 7);
    assert_true(sm_json_int(j, "neg", 7) == INT64_MIN);
    assert_int_equal(sm_json_int(j, "s", 7), 7);
    assert_true(sm_json_num(j, "h", 7) == 5.5);
    assert_true(sm_json_num(j, "i", 7) == 5.0);
    assert_true(sm_json_num(j, "t", 7) == 7.0);
    assert_true(sm_json_bool(j, "t", false));
    assert_false(sm_json_bool(j, "f", true));
    assert_true(sm_json_bool(j, "i", true));
    assert_true(sm_json_bool(NULL, "i", true));
    assert_int_equal(sm_json_int(json_object_get(j, "s"), "i", 7), 7);
    json_decref(j);
    j = sm_json_text("a\xFF\0b", 4);
    assert_int_equal(json_string_length(j), 6);
    assert_memory_equal(json_string_value(j), "a\xEF\xBF\xBD\0b", 7);
    json_decref(j);
}

static void *parse_many(void *arg) {
    for (int i = 0; i < 500; i++) {
        json_t *j = NULL;
        if (sm_json_parse("{\"a\":1,\"b\":2}", 13, 100, &j, NULL)) {
            return arg;
        }
        json_decref(j);
    }
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    pthread_t t[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&t[i], NULL, parse_many, t), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *bad;
        pthread_join(t[i], &bad);
        assert_null(bad);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads), cmocka_unit_test(test_strict),
        cmocka_unit_test(test_limits),  cmocka_unit_test(test_dump),
        cmocka_unit_test(test_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
