/* evalconf: the lines of a configuration's keys. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/str.h"
#include "worker/evalconf.h"
#include <string.h>

static void lines(void **state) {
    (void)state;
    static const struct {
        const char *name, *text, *key;
        int line; /* 0: not known */
    } rows[] = {
        {"top", "return {\n  node = 1,\n}", "node", 2},
        {"nested", "return {\n a = {\n  b = {\n   c = 1 } } }", "a.b.c", 4},
        {"after a nested table", "return {\n a = { x = 1 },\n b = 2 }", "b", 3},
        {"quoted key", "return { params = {\n ['demo/x.run'] = { url = 1 } } }",
         "params.demo/x.run.url", 2},
        {"double quotes", "return { params = {\n [\"a\"] = 1 } }", "params.a", 2},
        {"semicolons", "return { a = 1;\n b = 2 }", "b", 2},
        {"comments and strings", "return { -- { x = 1\n a = \"{ y = \", --[[ b = ]]\n b = 1 }", "b",
         3},
        {"a local", "local acc = {\n default = {} }\nreturn { accounts = acc }", "acc.default", 2},
        {"list item", "return { l = {\n { a = 1 } } }", "l.a", 0},
        {"comparison is no key", "return { a = x == y }", "x", 0},
        {"inside a function", "return { a = function()\n local z = 1 end }", "a.z", 0},
        {"first one wins", "return { a = 1,\n a = 2 }", "a", 1},
        {"call with a table", "return { s = f{\n q = 1 } }", "s.q", 2},
        {"broken text", "return { a = 1, b = \"", "a", 1},
        {"too many braces", "return } } } { a = 1 }", "a", 1},
        {"shebang", "#!x\nreturn { a = 1 }", "a", 2},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        json_t *found = sm_evalconf_lines(rows[i].text, strlen(rows[i].text));
        print_message("%s\n", rows[i].name);
        assert_int_equal(sm_json_int(found, rows[i].key, 0), rows[i].line);
        json_decref(found);
    }
}

static void deep_nesting(void **state) {
    (void)state;
    char text[4096];
    memset(text, '{', sizeof text);
    json_decref(sm_evalconf_lines(text, sizeof text));
    memset(text + 2048, '}', 2048);
    json_decref(sm_evalconf_lines(text, sizeof text));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines), cmocka_unit_test(deep_nesting)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
