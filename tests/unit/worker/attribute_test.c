/* attribute: the rewrite on tokens and the function that follows, by rows; then random texts for
 * what must hold for any text: same length, same line ends, nothing but < and > changed. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/mem.h"
#include "worker/attribute.h"
#include "worker/lualex.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct rewrite_row {
    const char *name, *in;
    const char *out; /* NULL: unchanged */
} rewrite_row;

static const rewrite_row rewrites[] = {
    {"plain", "monitor<title = \"x\">\nfunction run() end",
     "monitor{title = \"x\"}\nfunction run() end"},
    {"several lines", "monitor<\n title = 'a',\n doc = [[b > c]]\n>\nfunction run() end",
     "monitor{\n title = 'a',\n doc = [[b > c]]\n}\nfunction run() end"},
    {"blanks and comments", "monitor --[[ < ]] < -- > \n title --[=[]]]=] = 1 >",
     "monitor --[[ < ]] { -- > \n title --[=[]]]=] = 1 }"},
    {"comparison", "local x = monitor < title", NULL},
    {"comparison then equality", "return monitor < title == true", NULL},
    {"attribute of a local", "local monitor <const> = 1", NULL},
    {"field", "return x.monitor < 3", NULL},
    {"field, assignment after", "if x.monitor < a then a = 1 end", NULL},
    {"field that looks like one", "y = x.monitor<title = 1>", NULL},
    {"method", "x:monitor(1) y = 1 < 2", NULL},
    {"longer word", "monitors<title = 1>", NULL},
    {"word before", "my_monitor<title = 1>", NULL},
    {"in a string", "s = 'monitor<title = 1>' .. \"monitor<title = 2>\"", NULL},
    {"in a string with escapes", "s = \"\\\"monitor<title = 1>\" .. '\\'monitor<a = 1>'", NULL},
    {"in a string over lines", "s = \"a\\\nmonitor<title = 1>\\z  \n  monitor<b = 1>\"", NULL},
    {"in a long string", "s = [[monitor<title = 1>]]", NULL},
    {"in a levelled string", "s = [==[ ]] ]=] monitor<title = 1> ]==]", NULL},
    {"in a comment",
     "-- monitor<title = 1>\n--[[ monitor<title = 1> ]] --[==[\n ]] monitor<t = 1>]==]", NULL},
    {"comment that is not long", "--[ [monitor<title = 1>\nmonitor<title = 2>",
     "--[ [monitor<title = 1>\nmonitor{title = 2}"},
    {"after a shebang", "#!/usr/bin/lua monitor<title = 1>\nmonitor<title = 2>",
     "#!/usr/bin/lua monitor<title = 1>\nmonitor{title = 2}"},
    {"after a byte order mark", "\xef\xbb\xbfmonitor<title = 2>", "\xef\xbb\xbfmonitor{title = 2}"},
    {"mark and shebang", "\xef\xbb\xbf# monitor<a = 1>\nmonitor<title = 2>",
     "\xef\xbb\xbf# monitor<a = 1>\nmonitor{title = 2}"},
    {"greater in brackets", "monitor<a = (1 > 2), b = {x > y}, c = t[1 > 2]>",
     "monitor{a = (1 > 2), b = {x > y}, c = t[1 > 2]}"},
    {"units with greater", "monitor<a = 1 >= 2, b = 8 >> 1, c = 1 << 2, d = 1 <= 2, e = 1 ~= 2>",
     "monitor{a = 1 >= 2, b = 8 >> 1, c = 1 << 2, d = 1 <= 2, e = 1 ~= 2}"},
    {"first greater closes", "monitor<a = 1 > 2>", "monitor{a = 1 } 2>"},
    {"integer division", "monitor<a = 7 // 2, b = 'x' .. 'y'>",
     "monitor{a = 7 // 2, b = 'x' .. 'y'}"},
    {"allowed words", "monitor<a = not nil and true or false>",
     "monitor{a = not nil and true or false}"},
    {"function in parentheses", "monitor<a = (function() if x > 1 then return 2 end end)>",
     "monitor{a = (function() if x > 1 then return 2 end end)}"},
    {"two in one line", "monitor<a = 1> function f() end monitor<b = 2> function g() end",
     "monitor{a = 1} function f() end monitor{b = 2} function g() end"},
    {"inside a function", "function f() monitor<a = 1> end", "function f() monitor{a = 1} end"},
    {"after goto", "goto monitor ::monitor:: x = 1", NULL},
    {"numeral that swallows", "x = 3..monitor<a", NULL},
    {"statement form", "monitor{title = 1 < 2}", NULL},
    {"broken string inside", "monitor<a = 'x\n>", "monitor{a = 'x\n>"},
    {"long string without end inside", "monitor<a = [[x >", "monitor{a = [[x >"},
    {"brackets that do not match inside", "monitor<a = (1} >", "monitor{a = (1} >"},
    {"empty", "", NULL},
    {"only a shebang", "#!x", NULL},
};

static void test_rewrite(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rewrites); i++) {
        const rewrite_row *r = &rewrites[i];
        size_t n = strlen(r->in), n_follows;
        char *text = sm_memdup(r->in, n);
        sm_follow *follows;
        sm_err err = SM_ERR_INIT;
        int line;
        sm_rc rc = sm_attribute_rewrite(text, n, &follows, &n_follows, &line, &err);
        if (rc != SM_OK || strcmp(text, r->out ? r->out : r->in) != 0)
            fail_msg("%s: got %d %s\n%s", r->name, rc, err.msg, text);
        free(follows);
        free(text);
    }
}

typedef struct error_row {
    const char *name, *in, *sentence;
    int line;
} error_row;

static const error_row errors[] = {
    {"end of file", "\nmonitor<title = 'x'\n", "monitor< opened in line 2 is not closed by >", 2},
    {"next function", "monitor<title = 'x'\nfunction run() end",
     "monitor< opened in line 1 is not closed by >", 1},
    {"function literal", "\n\nmonitor<title = 'x', run = function() end>",
     "monitor< opened in line 3 is not closed by >; put a function written there in parentheses",
     3},
    {"keyword", "monitor<title = 'x' local y = 1", "monitor< opened in line 1 is not closed by >",
     1},
    {"keyword while", "monitor<title = 'x' while", "monitor< opened in line 1 is not closed by >",
     1},
    {"wrong bracket", "monitor<title = 'x'}", "monitor< opened in line 1 is not closed by >", 1},
    {"open bracket at the end", "x = 1\nmonitor<title = ('x'",
     "monitor< opened in line 2 is not closed by >", 2},
    {"only >= ", "monitor<a = 1 >= 2", "monitor< opened in line 1 is not closed by >", 1},
    {"inner of two", "monitor<a = (function()\nmonitor<b = 1 end)>",
     "monitor< opened in line 2 is not closed by >", 2},
    {"crlf lines", "\r\n\r\nmonitor<a = 1\r\n", "monitor< opened in line 3 is not closed by >", 3},
};

static void test_unclosed(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(errors); i++) {
        const error_row *r = &errors[i];
        size_t n = strlen(r->in), n_follows = 9;
        char *text = sm_memdup(r->in, n);
        sm_follow *follows;
        sm_err err = SM_ERR_INIT;
        int line;
        sm_rc rc = sm_attribute_rewrite(text, n, &follows, &n_follows, &line, &err);
        if (rc != SM_INVALID || strcmp(err.msg, r->sentence) != 0 || line != r->line || follows ||
            n_follows)
            fail_msg("%s: got %d line %d: %s", r->name, rc, line, err.msg);
        free(text);
    }
}

typedef struct follow_row {
    const char *name, *in;
    size_t n;
    sm_follow last; /* what is expected of the last one */
} follow_row;

static const follow_row follow_rows[] = {
    {"directly", "monitor{title = 'x'}\nfunction run(p) end", 1, {1, 1, "run", 2, ""}},
    {"attribute over lines",
     "\nmonitor<\ntitle = 'x'\n>\n\n-- note\n--[[ more\n]]\nfunction check(p) end",
     1,
     {2, 4, "check", 9, ""}},
    {"same line", "monitor{}function f()end", 1, {1, 1, "f", 1, ""}},
    {"with parentheses", "monitor({\n})\nfunction f() end", 1, {1, 2, "f", 3, ""}},
    {"local function",
     "monitor{}\nlocal function run() end",
     1,
     {1, 1, "", 0, "local function run"}},
    {"local value", "monitor{} local x = 1", 1, {1, 1, "", 0, "local"}},
    {"member", "monitor{} function M.run() end", 1, {1, 1, "", 0, "function M.run"}},
    {"method", "monitor{} function a.b:c() end", 1, {1, 1, "", 0, "function a.b:c"}},
    {"without a name", "monitor{} function () end", 1, {1, 1, "", 0, "function ("}},
    {"end of file", "monitor{} -- nothing\n", 1, {1, 1, "", 0, "the end of the file"}},
    {"slip", "monitor{}\n(print or error)('x')", 1, {1, 1, "", 0, "("}},
    {"semicolon", "monitor{};function f() end", 1, {1, 1, "", 0, ";"}},
    {"statement between", "monitor{}\nx = 1\nfunction run() end", 1, {1, 1, "", 0, "x"}},
    {"assigned function", "monitor{}\nrun = function() end", 1, {1, 1, "", 0, "run"}},
    {"a string", "monitor{} 'x'", 1, {1, 1, "", 0, "a string"}},
    {"two", "monitor{} function f() end\nmonitor{} function g() end", 2, {2, 2, "g", 2, ""}},
    {"nested in a table",
     "monitor{ params = { a = { 1 } }, run = f(monitor{}) }",
     2,
     {1, 1, "", 0, ")"}},
    {"definition of one", "function monitor(x) end", 0, {0, 0, "", 0, ""}},
    {"local definition", "local function monitor(x) end", 0, {0, 0, "", 0, ""}},
    {"field", "x.monitor{} function run() end", 0, {0, 0, "", 0, ""}},
    {"method call", "x:monitor{} function run() end", 0, {0, 0, "", 0, ""}},
    {"called with a string", "monitor 'x' function run() end", 0, {0, 0, "", 0, ""}},
    {"in a string", "s = 'monitor{}'", 0, {0, 0, "", 0, ""}},
    {"long name of a function",
     "monitor{} function aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa() "
     "end",
     1,
     {1, 1, "", 0, "function …"}},
};

static void test_follow(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(follow_rows); i++) {
        const follow_row *r = &follow_rows[i];
        size_t n = strlen(r->in), n_follows;
        char *text = sm_memdup(r->in, n);
        sm_follow *follows;
        sm_err err = SM_ERR_INIT;
        int line;
        assert_int_equal(sm_attribute_rewrite(text, n, &follows, &n_follows, &line, &err), SM_OK);
        if (n_follows != r->n)
            fail_msg("%s: %zu statements", r->name, n_follows);
        if (r->n > 0) {
            const sm_follow *f = &follows[n_follows - 1];
            if (f->line != r->last.line || f->end_line != r->last.end_line ||
                f->func_line != r->last.func_line || strcmp(f->func, r->last.func) != 0 ||
                strcmp(f->found, r->last.found) != 0)
                fail_msg("%s: lines %d..%d, func \"%s\" %d, found \"%s\"", r->name, f->line,
                         f->end_line, f->func, f->func_line, f->found);
        }
        free(follows);
        free(text);
    }
}

/* Deep nesting neither overflows anything nor takes more than one pass. */
static void test_deep(void **state) {
    (void)state;
    size_t n = 1 << 20, n_follows;
    char *text = sm_malloc(n + 1);
    sm_follow *follows;
    int line;
    for (size_t i = 0; i + 8 <= n; i += 8)
        memcpy(text + i, "monitor{", 8);
    text[n] = '\0';
    assert_int_equal(sm_attribute_rewrite(text, n, &follows, &n_follows, &line, NULL), SM_OK);
    assert_true(n_follows > 200);
    free(follows);
    for (size_t i = 0; i < n; i++)
        text[i] = '(';
    assert_int_equal(sm_attribute_rewrite(text, n, &follows, &n_follows, &line, NULL), SM_OK);
    assert_int_equal(n_follows, 0);
    free(follows);
    free(text);
}

static uint64_t next_random(uint64_t *s) {
    *s = *s * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *s >> 33;
}

static void test_random(void **state) {
    (void)state;
    static const char *const parts[] = {
        "monitor",
        "<",
        ">",
        "title",
        "=",
        "==",
        ">=",
        ">>",
        "<=",
        "<<",
        "//",
        "~=",
        "..",
        "...",
        "::",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        "[[",
        "]]",
        "[==[",
        "]==]",
        "--",
        "--[[",
        "'",
        "\"",
        "\\",
        "\\z",
        "\n",
        "\r\n",
        "\n\r",
        "\r",
        " ",
        "\t",
        ".",
        ":",
        ";",
        ",",
        "function",
        "local",
        "run",
        "end",
        "goto",
        "not",
        "nil",
        "0x",
        "3.",
        "1e",
        "#",
        "\xef\xbb\xbf",
        "\x80",
        "-",
        "monitor<title = ",
        "monitor{",
    };
    uint64_t seed = 20261122;
    for (int round = 0; round < 30000; round++) {
        char in[512], text[512];
        size_t n = 0, n_follows, want = 1 + next_random(&seed) % 24;
        while (want-- > 0) {
            const char *part = parts[next_random(&seed) % SM_ARRAY_LEN(parts)];
            memcpy(in + n, part, strlen(part));
            n += strlen(part);
        }
        if (next_random(&seed) % 8 == 0)
            in[n++] = '\0';
        memcpy(text, in, n);
        sm_follow *follows;
        int line;
        sm_rc rc = sm_attribute_rewrite(text, n, &follows, &n_follows, &line, NULL);
        for (size_t i = 0; i < n; i++) {
            bool same = text[i] == in[i];
            if (!same && !(in[i] == '<' && text[i] == '{') && !(in[i] == '>' && text[i] == '}'))
                fail_msg("round %d: byte %zu became %02x", round, i, (unsigned char)text[i]);
        }
        if (rc == SM_OK) { /* a second pass finds nothing more to rewrite */
            char again[512];
            sm_follow *follows2;
            memcpy(again, text, n);
            if (sm_attribute_rewrite(again, n, &follows2, &n_follows, &line, NULL) == SM_OK) {
                assert_memory_equal(again, text, n);
                free(follows2);
            }
        } else {
            assert_null(follows);
            assert_true(line >= 1);
        }
        free(follows);
    }
}

/* Tokens cover the text in order and their lines never go back. */
static void test_tokens(void **state) {
    (void)state;
    const char *text = "a=1 --[[x\n]] 'b\\\nc' [=[\r\nd]=] 0x1p-4 3..2 ... :: goto";
    static const struct {
        sm_tok_type type;
        const char *text;
        int line, end_line;
    } want[] = {
        {SM_TOK_NAME, "a", 1, 1},
        {SM_TOK_OP, "=", 1, 1},
        {SM_TOK_NUMBER, "1", 1, 1},
        {SM_TOK_STRING, "'b\\\nc'", 2, 3},
        {SM_TOK_STRING, "[=[\r\nd]=]", 3, 4},
        {SM_TOK_NUMBER, "0x1p-4", 4, 4},
        {SM_TOK_NUMBER, "3..2", 4, 4},
        {SM_TOK_OP, "...", 4, 4},
        {SM_TOK_OP, "::", 4, 4},
        {SM_TOK_WORD, "goto", 4, 4},
        {SM_TOK_END, "", 4, 4},
    };
    sm_lex lx;
    sm_lex_init(&lx, text, strlen(text));
    for (size_t i = 0; i < SM_ARRAY_LEN(want); i++) {
        sm_tok t = sm_lex_next(&lx);
        if (t.type != want[i].type || !sm_lex_is(&lx, &t, want[i].text) || t.line != want[i].line ||
            t.end_line != want[i].end_line)
            fail_msg("token %zu: type %d \"%.*s\" lines %d..%d", i, t.type, (int)t.n, text + t.at,
                     t.line, t.end_line);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),   cmocka_unit_test(test_rewrite),
        cmocka_unit_test(test_unclosed), cmocka_unit_test(test_follow),
        cmocka_unit_test(test_deep),     cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
