/* text: cleaned texts, row by row. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "platform/text.h"

static const struct {
    const char *name, *in, *out;
} rows[] = {
    {"empty", "", ""},
    {"one line", "hello", "hello"},
    {"only blank lines", "\n   \n\t\n", ""},
    {"blank lines around", "\n\n  \nhello\n\n", "hello"},
    {"blank lines inside stay", "a\n\nb", "a\n\nb"},
    {"margin of all lines", "    Checks\n      deep\n    end\n", "Checks\n  deep\nend"},
    {"first line right after the bracket", "Title\n    one\n      two", "Title\none\n  two"},
    {"indented first line counts", "  first\n    second", "first\n  second"},
    {"smallest margin is a later line", "    first\n  second\n   third", "  first\nsecond\n third"},
    {"blank lines do not count", "    a\n\n    b\n  \n    c", "a\n\nb\n\nc"},
    {"a tab is one column", "\ta\n\t b", "a\n b"},
    {"tab and blank mix", "\t a\n \tb", "a\nb"},
    {"trailing white space of lines", "a  \nb\t \nc", "a\nb\nc"},
    {"CRLF", "  a\r\n  b\r\n", "a\nb"},
    {"CR inside a line stays", "a\rb", "a\rb"},
    {"no newline at the end", "    a\n    b", "a\nb"},
    {"first line flush, second flush", "a\nb\n  c", "a\nb\n  c"},
    {"bytes over 127 are text", "  \xc3\xa4\n  \xff", "\xc3\xa4\n\xff"},
    {"no-break space is text",
     "\xc2\xa0"
     "a",
     "\xc2\xa0"
     "a"},
    {"the original's example",
     "\n            Event content\n            - one\n              two\n        ",
     "Event content\n- one\n  two"},
};

static void cleans(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t n;
        char *out = sm_text_clean(rows[i].in, strlen(rows[i].in), &n);
        if (strcmp(out, rows[i].out) != 0 || n != strlen(rows[i].out))
            fail_msg("%s: got \"%s\" (%zu bytes)", rows[i].name, out, n);
        free(out);
    }
}

static void keeps_nul_bytes(void **state) {
    (void)state;
    static const char in[] = "  a\0b\n  c";
    size_t n;
    char *out = sm_text_clean(in, sizeof in - 1, &n);
    assert_int_equal(n, 5);
    assert_memory_equal(out, "a\0b\nc", 6);
    free(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(cleans), cmocka_unit_test(keeps_nul_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
