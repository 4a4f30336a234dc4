/* runlog: lines, escaping, head and tail. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/secret.h"
#include "base/str.h"
#include "worker/runlog.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void lines(void **state) {
    (void)state;
    static const struct {
        const char *name, *level, *text;
        size_t n;
        const char *rest;
    } rows[] = {
        {"plain", "print", "hello", 5, "\tprint\thello\n"},
        {"empty", "info", "", 0, "\tinfo\t\n"},
        {"tabs stay", "print", "a\tb\t", 4, "\tprint\ta\tb\t\n"},
        {"escape", "warn", "\033[2J", 4, "\twarn\t\\x1b[2J\n"},
        {"NUL", "note", "a\0b", 3, "\tnote\ta\\x00b\n"},
        {"bad UTF-8", "debug", "\377", 1, "\tdebug\t\xEF\xBF\xBD\n"},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        sm_runlog l;
        size_t n;
        sm_runlog_init(&l, sm_mono_ns());
        sm_runlog_add(&l, rows[i].level, rows[i].text, rows[i].n);
        char *text = sm_runlog_text(&l, &n);
        print_message("%s\n", rows[i].name);
        assert_int_equal(n, strlen(text));
        assert_string_equal(strchr(text, '\t'), rows[i].rest);
        assert_true(text[0] >= '0' && text[0] <= '9');
        free(text);
        sm_runlog_fini(&l);
    }
}

/* Each line of a text is a record of its own, with the level it was given: none can be forged. */
static void lines_of_a_text(void **state) {
    (void)state;
    static const char text[] = "a\n0\terror\tb\n";
    sm_runlog l;
    size_t n = 0;
    sm_runlog_init(&l, sm_mono_ns());
    sm_runlog_add(&l, "print", text, sizeof text - 1);
    char *all = sm_runlog_text(&l, &n);
    const char *first = strstr(all, "\tprint\ta\n");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "\tprint\t0\terror\tb\n"));
    size_t count = 0;
    for (const char *p = all; (p = strchr(p, '\n')); p++)
        count++;
    assert_int_equal(count, 2);
    free(all);
    sm_runlog_fini(&l);
}

static void head_and_tail(void **state) {
    (void)state;
    sm_runlog l;
    char line[128];
    size_t n;
    sm_runlog_init(&l, sm_mono_ns());
    for (int i = 0; i < 5000; i++) {
        snprintf(line, sizeof line, "line %d", i);
        sm_runlog_add(&l, "print", line, strlen(line));
    }
    char *text = sm_runlog_text(&l, &n);
    assert_true(n <= 2 * SM_RUNLOG_KEEP + 64);
    assert_true(n > 2 * SM_RUNLOG_KEEP - 256);
    assert_non_null(strstr(text, "\tline 0\n"));
    assert_non_null(strstr(text, "\tline 4999\n"));
    assert_null(strstr(text, "\tline 2500\n"));
    size_t kept = 0, left_out = 0;
    for (char *p = text; *p; p = strchr(p, '\n') + 1) {
        if (sscanf(p, "… %zu lines left out …", &left_out) != 1)
            kept++;
    }
    assert_int_equal(kept + left_out, 5000);
    assert_true(l.total >= 5000 * strlen("0\tprint\tline 0\n"));
    free(text);
    sm_runlog_fini(&l);
}

/* Text of nothing but tabs has a ceiling too. */
static void tabs_are_cut(void **state) {
    (void)state;
    sm_runlog l;
    size_t n;
    char tabs[3 * SM_RUNLOG_LINE];
    memset(tabs, '\t', sizeof tabs);
    sm_runlog_init(&l, sm_mono_ns());
    sm_runlog_add(&l, "print", tabs, sizeof tabs);
    free(sm_runlog_text(&l, &n));
    assert_true(n < SM_RUNLOG_LINE + 64);
    sm_runlog_fini(&l);
}

static void long_line_is_cut(void **state) {
    (void)state;
    sm_runlog l;
    size_t n;
    char *big = malloc(1 << 20);
    memset(big, 'y', 1 << 20);
    sm_runlog_init(&l, sm_mono_ns());
    sm_runlog_add(&l, "print", big, 1 << 20);
    char *text = sm_runlog_text(&l, &n);
    assert_true(n < SM_RUNLOG_LINE + 64);
    assert_true(l.total >= 1 << 20);
    assert_non_null(strstr(text, "…\n"));
    free(text);
    free(big);
    sm_runlog_fini(&l);
}

static void secrets_are_masked(void **state) {
    (void)state;
    sm_runlog l;
    sm_secret *s = sm_secret_new("correct horse", 13);
    sm_runlog_init(&l, sm_mono_ns());
    sm_runlog_add(&l, "print", "the correct horse!", 18);
    char *text = sm_runlog_text(&l, NULL);
    assert_null(strstr(text, "correct horse"));
    assert_non_null(strstr(text, "the ***!"));
    free(text);
    sm_runlog_fini(&l);
    sm_secret_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),         cmocka_unit_test(lines_of_a_text),
        cmocka_unit_test(head_and_tail), cmocka_unit_test(long_line_is_cut),
        cmocka_unit_test(tabs_are_cut),  cmocka_unit_test(secrets_are_masked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
