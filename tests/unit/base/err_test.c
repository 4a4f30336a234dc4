/* err and mem: sentences are cut and cleaned, codes are kept, impossible requests abort. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

static void test_set(void **state) {
    (void)state;
    sm_err err = SM_ERR_INIT;
    assert_int_equal(sm_err_set(&err, SM_INVALID, "line %d: %s", 7, "what"), SM_INVALID);
    assert_int_equal(err.code, SM_INVALID);
    assert_string_equal(err.msg, "line 7: what");
    assert_int_equal(sm_err_set(NULL, SM_LIMIT, "x"), SM_LIMIT);
    /* The arguments may point into the value itself. */
    sm_err_set(&err, SM_IO, "again %s", err.msg);
    assert_string_equal(err.msg, "again line 7: what");
}

static void test_clean(void **state) {
    (void)state;
    static const struct {
        const char *name, *in, *out;
    } rows[] = {
        {"line end", "a\n", "a"},
        {"line ends", "a\r\n\n", "a"},
        {"bad byte", "a\xFFz", "a?z"},
        {"half character at the end", "a\xC3", "a?"},
        {"good text", "gr\xC3\xBC\xC3\x9F", "gr\xC3\xBC\xC3\x9F"},
        {"empty", "", ""},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        sm_err err = SM_ERR_INIT;
        sm_err_set(&err, SM_INVALID, "%s", rows[i].in);
        if (strcmp(err.msg, rows[i].out) != 0) {
            fail_msg("%s: \"%s\"", rows[i].name, err.msg);
        }
    }
}

static void test_cut(void **state) {
    (void)state;
    /* Characters of 1 to 4 bytes at every offset to the end of the room. */
    static const char *const chars[] = {"a", "\xC3\xBC", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    for (size_t k = 0; k < SM_ARRAY_LEN(chars); k++) {
        for (size_t lead = 0; lead < 4; lead++) {
            char text[SM_ERR_MAX * 2] = "";
            size_t n = 0;
            for (; n < lead; n++) {
                text[n] = 'x';
            }
            while (n < SM_ERR_MAX + 100) {
                memcpy(text + n, chars[k], strlen(chars[k]));
                n += strlen(chars[k]);
            }
            text[n] = '\0';
            sm_err err = SM_ERR_INIT;
            sm_err_set(&err, SM_INVALID, "%s", text);
            size_t len = strlen(err.msg);
            assert_true(len <= SM_ERR_MAX - 1 && len > SM_ERR_MAX - 5);
            assert_true(sm_utf8_valid(err.msg, len));
            assert_memory_equal(err.msg, text, len - 3);
            assert_string_equal(err.msg + len - 3, "\xE2\x80\xA6");
            sm_err_wrap(&err, "%s", "context");
            assert_true(sm_utf8_valid(err.msg, strlen(err.msg)));
            assert_true(sm_str_starts(err.msg, "context: x") || lead == 0);
        }
    }
}

static void test_sys(void **state) {
    (void)state;
    sm_err err = SM_ERR_INIT;
    assert_int_equal(sm_err_sys(&err, ENOENT, "cannot open %s", "x"), SM_IO);
    assert_string_equal(err.msg, "cannot open x: No such file or directory");
    assert_int_equal(sm_err_sys(&err, ENOSPC, "cannot write"), SM_FULL);
    assert_int_equal(err.code, SM_FULL);
    assert_int_equal(sm_err_sys(NULL, EDQUOT, "cannot write"), SM_FULL);
    assert_int_equal(sm_err_wrap(&err, "saving %s", "y"), SM_FULL);
    assert_string_equal(err.msg, "saving y: cannot write: No space left on device");
    assert_int_not_equal(sm_err_wrap(NULL, "x"), SM_OK);
    assert_string_equal(sm_rc_name(SM_NOT_FOUND), "not_found");
    assert_string_equal(sm_rc_name((sm_rc)99), "unknown");
    for (int rc = SM_OK; rc <= SM_INTERNAL; rc++) {
        assert_string_not_equal(sm_rc_name((sm_rc)rc), "unknown");
    }
}

static void test_mem(void **state) {
    (void)state;
    char *s = sm_asprintf("%d-%s", 5, "x");
    assert_string_equal(s, "5-x");
    free(s);
    s = sm_memdup("a\0b", 3);
    assert_memory_equal(s, "a\0b", 4);
    free(s);
    s = sm_memdup(NULL, 0);
    assert_string_equal(s, "");
    free(s);
    free(sm_malloc(0));
    free(sm_calloc(0, 8));
    free(sm_realloc(NULL, 0));
}

#ifndef SM_SANITIZED
/* Out of memory is one sentence and SIGABRT. */
static void test_no_memory(void **state) {
    (void)state;
    int p[2];
    assert_int_equal(pipe(p), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(p[1], STDERR_FILENO);
        volatile size_t much = SIZE_MAX / 2;
        free(sm_calloc(much, 4));
        _exit(0);
    }
    close(p[1]);
    char text[200] = "";
    ssize_t n = read(p[0], text, sizeof text - 1);
    close(p[0]);
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_true(n > 0 && text[n - 1] == '\n');
    assert_non_null(strstr(text, "out of memory"));
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),       cmocka_unit_test(test_clean), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_sys),       cmocka_unit_test(test_mem),
#ifndef SM_SANITIZED
        cmocka_unit_test(test_no_memory),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
