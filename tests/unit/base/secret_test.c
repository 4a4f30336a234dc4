/* secret, mask and log: every spelling of a living secret is covered, nothing else is touched, and
 * a log line is one masked, escaped write. The spellings are made here by other means. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"

static void expect(const char *name, const char *in, const char *want) {
    size_t n;
    char *out = sm_mask(in, strlen(in), &n);
    bool same = strcmp(in, want) == 0;
    if (strcmp(out, want) != 0 || n != strlen(want) || sm_mask_needed(in, strlen(in)) == same) {
        fail_msg("%s: %s", name, out);
    }
    free(out);
}

static void test_raw(void **state) {
    (void)state;
    expect("no secret yet", "s3cret-value", "s3cret-value");
    sm_secret *s = sm_secret_new("s3cret-value", 12);
    size_t n;
    assert_string_equal(sm_secret_bytes(s, &n), "s3cret-value");
    assert_int_equal(n, 12);
    expect("alone", "s3cret-value", "***");
    expect("inside", "key=s3cret-value;", "key=***;");
    expect("twice", "s3cret-values3cret-value", "******");
    expect("nearly", "s3cret-valu", "s3cret-valu");
    expect("empty", "", "");
    sm_secret *again = sm_secret_new("s3cret-value", 12);
    sm_secret_free(s);
    expect("still owned by another", "s3cret-value", "***");
    sm_secret_free(again);
    expect("forgotten when freed", "s3cret-value", "s3cret-value");
    sm_secret_free(NULL);
}

static void test_short(void **state) {
    (void)state;
    sm_secret *five = sm_secret_new("abcde", 5);
    sm_secret *none = sm_secret_new(NULL, 0);
    expect("five bytes are not masked", "abcde", "abcde");
    sm_secret *six = sm_secret_new("abcdef", 6);
    expect("six bytes are", "abcdef", "***");
    sm_secret_free(five);
    sm_secret_free(none);
    sm_secret_free(six);
}

static void test_overlap(void **state) {
    (void)state;
    sm_secret *a = sm_secret_new("password1", 9);
    sm_secret *b = sm_secret_new("word1234", 8);
    sm_secret *c = sm_secret_new("password1234567", 15);
    expect("second begins inside the first", "xpassword1234x", "x***x");
    expect("longest wins", "xpassword1234567x", "x***x");
    expect("both apart", "password1 word1234", "*** ***");
    sm_secret_free(c);
    expect("longest gone", "xpassword1234567x", "x***567x");
    sm_secret_free(a);
    sm_secret_free(b);
}

static void test_spellings(void **state) {
    (void)state;
    static const char value[] = "p@ss \"w\\rd/\n+1~\xC3\xBC";
    sm_secret *s = sm_secret_new(value, sizeof value - 1);
    expect("raw", value, "***");
    expect("URL", "a=p%40ss%20%22w%5Crd%2F%0A%2B1~%C3%BC&", "a=***&");
    expect("URL in lower case", "a=p%40ss%20%22w%5crd%2f%0a%2b1~%c3%bc&", "a=***&");
    expect("form", "a=p%40ss+%22w%5Crd%2F%0A%2B1~%C3%BC&", "a=***&");
    expect("JSON of lua-cjson", "\"p@ss \\\"w\\\\rd\\/\\n+1~\xC3\xBC\"", "\"***\"");
    json_t *j = json_stringn(value, sizeof value - 1);
    char *text = sm_json_dump(j, NULL);
    expect("JSON of ours", text, "\"***\"");
    free(text);
    json_decref(j);
    sm_secret_free(s);
}

/* A base64 encoder of another shape than the one under test. */
static char *base64(const unsigned char *p, size_t n) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = sm_malloc(n * 2 + 8);
    size_t o = 0;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) |
                     (i + 2 < n ? p[i + 2] : 0);
        for (int k = 0; k < 4; k++) {
            out[o++] = i + k > n ? '=' : digits[v >> (18 - 6 * k) & 63];
        }
    }
    out[o] = '\0';
    return out;
}

static void test_base64(void **state) {
    (void)state;
    static const char *const values[] = {"secret", "secret7", "secret78", "\xFF\xFE?>~\x7F\x01z"};
    for (size_t v = 0; v < SM_ARRAY_LEN(values); v++) {
        size_t n = strlen(values[v]);
        sm_secret *s = sm_secret_new(values[v], n);
        for (size_t before = 0; before < 7; before++) {
            for (size_t after = 0; after < 4; after++) {
                for (int url = 0; url < 2; url++) {
                    char plain[64];
                    memset(plain, 'U', sizeof plain);
                    memcpy(plain + before, values[v], n);
                    char *in = base64((unsigned char *)plain, before + n + after);
                    for (char *p = in; url && *p; p++) {
                        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
                    }
                    char *out = sm_mask(in, strlen(in), NULL);
                    /* At most the characters at the two edges stay. */
                    size_t kept = strlen(out) - 3;
                    size_t foreign = (before * 8 + 5) / 6 + (strlen(in) - (before + n) * 8 / 6);
                    if (!strstr(out, "***") || kept > foreign) {
                        fail_msg("%zu bytes behind %zu: %s became %s", n, before, in, out);
                    }
                    free(out);
                    free(in);
                }
            }
        }
        sm_secret_free(s);
    }
}

static void *churn(void *arg) {
    for (int i = 0; i < 300; i++) {
        char text[32];
        int n = snprintf(text, sizeof text, "thread-%d-%d", *(int *)arg, i % 3);
        sm_secret *s = sm_secret_new(text, (size_t)n);
        size_t len;
        char *out = sm_mask(text, (size_t)n, &len);
        if (strcmp(out, "***") != 0) {
            free(out);
            return arg;
        }
        free(out);
        sm_secret_free(s);
    }
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    int numbers[4] = {0, 1, 2, 2}; /* two threads share their secrets */
    pthread_t t[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&t[i], NULL, churn, &numbers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *bad;
        pthread_join(t[i], &bad);
        assert_null(bad);
    }
    assert_false(sm_mask_needed("thread-", 7));
}

/* What one call writes to standard error. */
static char *logged(sm_level level, const char *arg) {
    static char text[40000];
    int p[2];
    assert_int_equal(pipe(p), 0);
    int saved = dup(STDERR_FILENO);
    dup2(p[1], STDERR_FILENO);
    close(p[1]);
    sm_log(level, "got %s", arg);
    dup2(saved, STDERR_FILENO);
    close(saved);
    /* The pipe holds 64 KiB, so nothing blocks; one read gets one write. */
    ssize_t n = read(p[0], text, sizeof text - 1);
    close(p[0]);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void test_log(void **state) {
    (void)state;
    sm_secret *s = sm_secret_new("hunter22", 8);
    sm_log_setup(SM_LOG_INFO, false, false);
    assert_string_equal(logged(SM_LOG_INFO, "x"), "got x\n");
    assert_string_equal(logged(SM_LOG_WARN, "x"), "warning: got x\n");
    assert_string_equal(logged(SM_LOG_ERROR, "hunter22!"), "error: got ***!\n");
    assert_string_equal(logged(SM_LOG_DEBUG, "x"), "");
    assert_string_equal(logged(SM_LOG_INFO, "a\nb\033[31m\xFF"),
                        "got a\\nb\\x1b[31m\xEF\xBF\xBD\n");
    assert_false(sm_log_enabled(SM_LOG_DEBUG));
    assert_true(sm_log_enabled(SM_LOG_WARN));
    sm_log_setup(SM_LOG_DEBUG, false, true);
    assert_string_equal(logged(SM_LOG_ERROR, "x"), "\033[31merror: \033[0mgot x\n");
    assert_string_equal(logged(SM_LOG_INFO, "x"), "got x\n");
    sm_log_setup(SM_LOG_DEBUG, true, false);
    char *line = logged(SM_LOG_WARN, "\"hunter22\"\n");
    json_t *j = NULL;
    assert_int_equal(sm_json_parse(line, strlen(line), 1000, &j, NULL), SM_OK);
    assert_string_equal(sm_json_str(j, "level", ""), "warning");
    assert_string_equal(sm_json_str(j, "msg", ""), "got \"***\"\\n");
    assert_int_equal(strlen(sm_json_str(j, "time", "")), 24);
    json_decref(j);
    sm_log_setup(SM_LOG_INFO, false, false);
    char *huge = sm_malloc(30001);
    memset(huge, 'x', 30000);
    huge[30000] = '\0';
    line = logged(SM_LOG_INFO, huge);
    assert_true(strlen(line) <= (16 << 10) + 1 && strlen(line) > 16000);
    free(huge);
    sm_secret_free(s);
    sm_level level;
    sm_err err = SM_ERR_INIT;
    assert_int_equal(sm_level_parse("warn", &level, &err), SM_OK);
    assert_int_equal(level, SM_LOG_WARN);
    assert_int_equal(sm_level_parse("erorr", &level, &err), SM_INVALID);
    assert_non_null(strstr(err.msg, "did you mean \"error\"?"));
}

static void test_hex(void **state) {
    (void)state;
    sm_secret *s = sm_secret_new("h\xFFnter2", 7);
    expect("lower case", "x68ff6e74657232x", "x***x");
    expect("upper case", "68FF6E74657232", "***");
    expect("nearly", "68ff6e746572", "68ff6e746572");
    sm_secret_free(s);
}

/* Sentences shorten what they quote: what is left of a secret there is none of the reader's. */
static void test_cut(void **state) {
    (void)state;
    sm_secret *s = sm_secret_new("correct horse battery staple", 28);
    expect("before an ellipsis", "got \"correct horse bat\u2026\"", "got \"***\u2026\"");
    expect("before three dots", "[string \"correct hor...\"]", "[string \"***...\"]");
    expect("before dots cut in turn", "got correct horse..\u2026", "got ***..\u2026");
    expect("before half a character", "correct hor\xef\xbf\xbd\u2026", "***\xef\xbf\xbd\u2026");
    expect("in hex", "636f7272656374\u2026", "***\u2026");
    expect("at the end", "correct h\u2026", "***\u2026");
    expect("too little is left", "correct\u2026", "correct\u2026");
    expect("not shortened", "correct horse bat", "correct horse bat");
    expect("not from its beginning", "horse battery\u2026", "horse battery\u2026");
    expect("whole, then an ellipsis", "correct horse battery staple\u2026", "***\u2026");
    sm_secret *dots = sm_secret_new("12345678...90", 13);
    expect("its own dots", "12345678...90", "***");
    expect("cut at its own dots", "12345678...", "***...");
    sm_secret_free(dots);
    sm_secret_free(s);
}

static void test_borrowed(void **state) {
    (void)state;
    const char *p = "no secret", *before = p;
    size_t n = strlen(p);
    assert_null(sm_mask_borrowed(&p, &n));
    assert_ptr_equal(p, before);
    sm_secret *s = sm_secret_new("hunter22", 8);
    p = "x hunter22 y";
    n = 10; /* what is borrowed need not end with a NUL */
    char *masked = sm_mask_borrowed(&p, &n);
    assert_non_null(masked);
    assert_ptr_equal(p, masked);
    assert_int_equal(n, 5);
    assert_memory_equal(p, "x ***", 5);
    free(masked);
    sm_secret_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raw),     cmocka_unit_test(test_short),
        cmocka_unit_test(test_overlap), cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_base64),  cmocka_unit_test(test_threads),
        cmocka_unit_test(test_log),     cmocka_unit_test(test_hex),
        cmocka_unit_test(test_cut),     cmocka_unit_test(test_borrowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
