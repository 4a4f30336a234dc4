/* str: UTF-8, nearest names, globs, id parts and terminal-safe text. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"

typedef struct utf8_row {
    const char *name;
    const char *in;
    const char *repaired;
} utf8_row;

#define R "\xEF\xBF\xBD"
/* repaired equal to in: valid. The counts of U+FFFD are those of Unicode 15, table 3-8 to 3-11. */
static const utf8_row utf8_rows[] = {
    {"empty", "", ""},
    {"ascii", "abc", "abc"},
    {"two bytes", "\xC2\x80\xDF\xBF", "\xC2\x80\xDF\xBF"},
    {"three bytes", "\xE0\xA0\x80\xEF\xBF\xBF", "\xE0\xA0\x80\xEF\xBF\xBF"},
    {"around the surrogates", "\xED\x9F\xBF\xEE\x80\x80", "\xED\x9F\xBF\xEE\x80\x80"},
    {"four bytes", "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"},
    {"lone continuation", "a\x80z", "a" R "z"},
    {"C0 overlong", "\xC0\xAF", R R},
    {"C1 overlong", "\xC1\xBF", R R},
    {"E0 overlong", "\xE0\x80\xBF", R R R},
    {"F0 overlong", "\xF0\x80\x80\x80", R R R R},
    {"surrogate", "\xED\xA0\x80", R R R},
    {"last surrogate", "\xED\xBF\xBF", R R R},
    {"over U+10FFFF", "\xF4\x90\x80\x80", R R R R},
    {"F5", "\xF5\x80\x80\x80", R R R R},
    {"FE FF", "\xFE\xFF", R R},
    {"truncated two", "\xC3", R},
    {"truncated three", "\xE2\x82", R},
    {"truncated four", "\xF0\x9F\x98", R},
    {"truncated then ascii", "\xE2\x82z", R "z"},
    {"truncated then good", "\xF0\x9F\x98\xC3\xBC", R "\xC3\xBC"},
    {"table 3-11", "\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", R R R R "A"},
};

static void test_utf8(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(utf8_rows); i++) {
        const utf8_row *r = &utf8_rows[i];
        bool good = strcmp(r->in, r->repaired) == 0;
        /* An exact copy without the NUL: a read past the end is seen by the sanitizer. */
        size_t n = strlen(r->in);
        char *in = sm_malloc(n);
        memcpy(in, r->in, n);
        bool changed = good;
        size_t len = 99;
        char *out = sm_utf8_repair(in, n, &len, &changed);
        if (sm_utf8_valid(in, n) != good || changed == good || strcmp(out, r->repaired) != 0 ||
            len != strlen(out) || !sm_utf8_valid(out, len)) {
            fail_msg("%s", r->name);
        }
        free(out);
        free(in);
    }
    /* Every code point, encoded by hand, is accepted with its length. */
    for (uint32_t c = 0; c < 0x110000; c += c < 0x800 ? 1 : 61) {
        if (c >= 0xD800 && c <= 0xDFFF) {
            continue;
        }
        char b[4];
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        for (size_t k = n; k-- > 1;) {
            b[k] = (char)(0x80 | ((c >> (6 * (n - 1 - k))) & 0x3F));
        }
        static const unsigned lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
        b[0] = (char)(lead[n] | (c >> (6 * (n - 1))));
        assert_int_equal(sm_utf8_len(b, n), n);
        if (n > 1) {
            assert_int_equal(sm_utf8_len(b, n - 1), 0);
        }
    }
    assert_int_equal(sm_utf8_count("a\xC3\xBC\xE2\x82\xAC\xF0\x9F\x98\x80", 10), 4);
    const char *s = "a\xE2\x82\xAC";
    size_t cuts[] = {0, 1, 1, 1, 4, 4};
    for (size_t max = 0; max < SM_ARRAY_LEN(cuts); max++) {
        assert_int_equal(sm_utf8_cut(s, 4, max), cuts[max]);
    }
}

static void test_nearest(void **state) {
    (void)state;
    static const char *const names[] = {"title", "schedule", "timeout", "tags", "id", "fn", "key"};
    static const struct {
        const char *word, *want;
    } rows[] = {
        {"titel", "title"},
        {"Title", "title"},
        {"tilte", "title"},
        {"shcedule", "schedule"},
        {"scheduel", "schedule"},
        {"timeot", "timeout"},
        {"tag", "tags"},
        {"tasg", "tags"},
        {"ids", "id"},
        {"xx", NULL},
        {"f", NULL},
        {"", NULL},
        {"description", NULL},
        {"shdl", NULL},
        {"keys", "key"},
        {"titles", "title"},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        const char *got = sm_str_nearest(rows[i].word, names, SM_ARRAY_LEN(names));
        if (!rows[i].want != !got || (got && strcmp(got, rows[i].want) != 0)) {
            fail_msg("%s: %s", rows[i].word, got ? got : "none");
        }
    }
    char hint[64];
    assert_string_equal(sm_str_hint("titel", names, SM_ARRAY_LEN(names), hint, sizeof hint),
                        "; did you mean \"title\"?");
    assert_string_equal(sm_str_hint("zzz", names, SM_ARRAY_LEN(names), hint, sizeof hint), "");
    char long_word[300];
    memset(long_word, 'a', sizeof long_word);
    long_word[299] = '\0';
    assert_null(sm_str_nearest(long_word, names, SM_ARRAY_LEN(names)));
    const char *const longer[] = {long_word, NULL};
    assert_null(sm_str_nearest("aaa", longer, 2));
}

static void test_glob(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool hit;
    } rows[] = {
        {"host/disk", "host/disk", true},
        {"host/disk", "host/disk2", false},
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "abc", true},
        {"*", "a/b", false},
        {"host/*", "host/disk", true},
        {"host/*", "host/a/b", false},
        {"host/**", "host/a/b", true},
        {"**", "a/b/c", true},
        {"**/c", "a/b/c", true},
        {"**/c", "c", true},
        {"**/c", "xc", false},
        {"a/**/c", "a/c", true},
        {"a/**/c", "a/x/y/c", true},
        {"a/**/c", "ac", false},
        {"a**c", "a/b/c", true},
        {"a***c", "a/b/c", true},
        {"*.lua", "x.lua", true},
        {"*.lua", ".lua", true},
        {"*.lua", "x.lua2", false},
        {"a?c", "abc", true},
        {"a?c",
         "a\xC3\xBC"
         "c",
         true},
        {"a?c", "a/c", false},
        {"a?c", "ac", false},
        {"a*b*c", "aXbYbZc", true},
        {"a*b*c", "aXbYbZ", false},
        {"[ab]", "a", false},
        {"[ab]", "[ab]", true},
        {"*a*a*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         false},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        if (sm_str_glob(rows[i].pattern, rows[i].text) != rows[i].hit) {
            fail_msg("%s on %s", rows[i].pattern, rows[i].text);
        }
    }
}

static void test_printable(void **state) {
    (void)state;
    static const struct {
        const char *name, *in;
        size_t max;
        const char *out;
    } rows[] = {
        {"plain", "abc", 100, "abc"},
        {"controls", "a\n\t\r\x01\x7F", 100, "a\\n\\t\\r\\x01\\x7f"},
        {"escape sequence", "\033[31mred", 100, "\\x1b[31mred"},
        {"C1 CSI",
         "\xC2\x9B"
         "31m",
         100, "\\x9b31m"},
        {"invalid",
         "a\xFF"
         "b",
         100, "a" R "b"},
        {"bare C1 byte",
         "a\x9B"
         "b",
         100, "a" R "b"},
        {"direction mark",
         "a\xE2\x80\xAE"
         "b",
         100, "a\\u202eb"},
        {"line separator",
         "a\xE2\x80\xA8"
         "b",
         100, "a\\u2028b"},
        {"umlaut stays", "gr\xC3\xBC\xC3\x9F", 100, "gr\xC3\xBC\xC3\x9F"},
        {"backslash stays", "a\\b", 100, "a\\b"},
        {"fits exactly", "abcdef", 6, "abcdef"},
        {"cut", "abcdefg", 6, "abc\xE2\x80\xA6"},
        {"cut keeps escapes whole", "abc\n\n\n", 8, "abc\\n\xE2\x80\xA6"},
        {"cut keeps characters whole", "ab\xE2\x82\xAC\xE2\x82\xAC", 7, "ab\xE2\x80\xA6"},
        {"no room for dots", "abcdefg", 2, ""},
        {"nothing", "", 0, ""},
        {"no room", "abc", 0, ""},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        char *out = sm_str_printable(rows[i].in, strlen(rows[i].in), rows[i].max);
        if (strcmp(out, rows[i].out) != 0) {
            fail_msg("%s: %s", rows[i].name, out);
        }
        assert_true(strlen(out) <= rows[i].max);
        free(out);
    }
    char *nul = sm_str_printable("a\0b", 3, 100);
    assert_string_equal(nul, "a\\x00b");
    free(nul);
    /* All byte values, all ceilings: valid UTF-8 without controls, never too long. */
    char all[512];
    for (size_t i = 0; i < sizeof all; i++) {
        all[i] = (char)(i * 7);
    }
    for (size_t max = 0; max < 700; max++) {
        char *out = sm_str_printable(all, sizeof all, max);
        size_t n = strlen(out);
        assert_true(n <= max && sm_utf8_valid(out, n));
        for (size_t i = 0; i < n; i++) {
            assert_true((unsigned char)out[i] >= 0x20 && out[i] != 0x7F);
        }
        free(out);
    }
}

static void test_small(void **state) {
    (void)state;
    char hex[9];
    sm_hex("\x00\x9F\xA0\xFF", 4, hex);
    assert_string_equal(hex, "009fa0ff");
    assert_true(sm_str_starts("abc", "ab"));
    assert_true(sm_str_starts("abc", ""));
    assert_false(sm_str_starts("ab", "abc"));
    assert_true(sm_str_ends("abc", "bc"));
    assert_false(sm_str_ends("c", "bc"));
    static const struct {
        const char *part;
        bool good;
    } parts[] = {{"disk", true}, {"_x-1.2", true},   {"-a", true},
                 {"9", true},    {".hidden", false}, {"", false},
                 {"a b", false}, {"a/b", false},     {"\xC3\xBC", false}};
    for (size_t i = 0; i < SM_ARRAY_LEN(parts); i++) {
        assert_int_equal(sm_str_is_id_part(parts[i].part, strlen(parts[i].part)), parts[i].good);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8),  cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_glob),  cmocka_unit_test(test_printable),
        cmocka_unit_test(test_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
