/* checker: payloads, Python literals, and what counts as a difference. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "platform/checker.h"
#include "platform/params.h"

static json_t *parse(const char *text) {
    json_t *j = NULL;
    sm_err err = SM_ERR_INIT;
    if (sm_json_parse(text, strlen(text), 1 << 20, &j, &err) != SM_OK)
        fail_msg("%s: %s", text, err.msg);
    return j;
}

/* Expected texts are what python3's repr gives. */
static const char *const literals[][2] = {
    {"null", "None"},
    {"true", "True"},
    {"false", "False"},
    {"0", "0"},
    {"-9223372036854775808", "-9223372036854775808"},
    {"1.0", "1.0"},
    {"-0.0", "-0.0"},
    {"0.1", "0.1"},
    {"2.5", "2.5"},
    {"100.0", "100.0"},
    {"12345.678", "12345.678"},
    {"0.0001", "0.0001"},
    {"0.00001", "1e-05"},
    {"1e15", "1000000000000000.0"},
    {"1e16", "1e+16"},
    {"1.5e300", "1.5e+300"},
    {"0.30000000000000004", "0.30000000000000004"},
    {"123456789012345680.0", "1.2345678901234568e+17"},
    {"\"\"", "''"},
    {"\"text\"", "'text'"},
    {"\"it's\"", "\"it's\""},
    {"\"it's \\\"so\\\"\"", "'it\\'s \"so\"'"},
    {"\"a\\\\b\\n\\t\\r\\u0001\"", "'a\\\\b\\n\\t\\r\\x01'"},
    {"\"\xc3\xa4\xe4\xb8\xad\"", "'\xc3\xa4\xe4\xb8\xad'"},
    {"[]", "[]"},
    {"[1,\"a\",null]", "[1, 'a', None]"},
    {"{}", "{}"},
    {"{\"b\":[true],\"a\":1}", "{'a': 1, 'b': [True]}"},
};

static void python(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(literals); i++) {
        json_t *j = parse(literals[i][0]);
        char *s = sm_checker_python(j);
        if (strcmp(s, literals[i][1]) != 0)
            fail_msg("%s: got %s", literals[i][0], s);
        free(s);
        json_decref(j);
    }
    char *none = sm_checker_python(NULL);
    assert_string_equal(none, "None");
    free(none);
}

static json_t *schema_of(const char *params) {
    json_t *table = parse(params), *schema = NULL;
    sm_err err = SM_ERR_INIT;
    if (sm_params_declare(table, &schema, &err) != SM_OK)
        fail_msg("%s", err.msg);
    json_decref(table);
    return schema;
}

static void payload(void **state) {
    (void)state;
    json_t *schema = schema_of("{\"url\":{\"type\":\"string\",\"default\":\"https://a/\","
                               "\"doc\":\"address\\nto fetch\"},"
                               "\"max_ms\":{\"type\":\"number\",\"default\":800,\"order\":1,"
                               "\"doc\":\"limit\"},"
                               "\"since\":{\"type\":\"duration\",\"default\":\"15m\"},"
                               "\"who\":{\"type\":\"string\",\"required\":true}}");
    json_t *got = sm_checker_payload("demo/example.run@eu", "abc", "Title", "Doc.", "", schema);
    json_t *want =
        parse("{\"refKey\":\"abc\",\"title\":\"Title\",\"refFuncInfo\":{"
              "\"funcId\":\"demo__example.run@eu\","
              "\"description\":\"Doc.\\n\\n- `max_ms`: limit\\n- `url`: address to fetch\","
              "\"definition\":\"run(max_ms=800, since='15m', url='https://a/', who)\","
              "\"category\":\"general\",\"args\":[\"max_ms\",\"since\",\"url\",\"who\"],"
              "\"kwargs\":{\"max_ms\":{\"default\":800},\"since\":{\"default\":\"15m\"},"
              "\"url\":{\"default\":\"https://a/\"},\"who\":{}}}}");
    if (!json_equal(got, want))
        fail_msg("%s", sm_json_dump(got, NULL));
    json_decref(want);
    json_decref(got);
    json_decref(schema);

    schema = schema_of("[]");
    got = sm_checker_payload("x.check", "k", "T", "", "net", schema);
    want = parse("{\"refKey\":\"k\",\"title\":\"T\",\"refFuncInfo\":{\"funcId\":\"x.check\","
                 "\"description\":\"\",\"definition\":\"check()\",\"category\":\"net\",\"args\":[],"
                 "\"kwargs\":{}}}");
    assert_true(json_equal(got, want));
    json_decref(want);
    json_decref(got);
    json_decref(schema);
}

static const struct {
    const char *name;
    const char *title, *info; /* as the platform shows them */
    bool differs;
} shown[] = {
#define ARGS "\"args\":[\"a\"],\"kwargs\":{\"a\":{\"default\":1}}"
#define INFO "{\"description\":\"d\",\"definition\":\"run(a=1)\",\"category\":\"general\"," ARGS "}"
    {"the same", "T", INFO, false},
    {"another funcId is not compared", "T",
     "{\"funcId\":\"zzz\",\"description\":\"d\",\"definition\":\"run(a=1)\","
     "\"category\":\"general\"," ARGS "}",
     false},
    {"1.0 is 1", "T",
     "{\"description\":\"d\",\"definition\":\"run(a=1)\",\"category\":\"general\","
     "\"args\":[\"a\"],\"kwargs\":{\"a\":{\"default\":1.0}}}",
     false},
    {"title", "U", INFO, true},
    {"description", "T",
     "{\"description\":\"e\",\"definition\":\"run(a=1)\",\"category\":\"general\"," ARGS "}", true},
    {"definition", "T",
     "{\"description\":\"d\",\"definition\":\"run(a=2)\",\"category\":\"general\"," ARGS "}", true},
    {"category", "T",
     "{\"description\":\"d\",\"definition\":\"run(a=1)\",\"category\":\"net\"," ARGS "}", true},
    {"args", "T",
     "{\"description\":\"d\",\"definition\":\"run(a=1)\",\"category\":\"general\","
     "\"args\":[\"b\"],\"kwargs\":{\"a\":{\"default\":1}}}",
     true},
    {"default", "T",
     "{\"description\":\"d\",\"definition\":\"run(a=1)\",\"category\":\"general\","
     "\"args\":[\"a\"],\"kwargs\":{\"a\":{\"default\":\"1\"}}}",
     true},
    {"one more kwarg", "T",
     "{\"description\":\"d\",\"definition\":\"run(a=1)\",\"category\":\"general\","
     "\"args\":[\"a\"],\"kwargs\":{\"a\":{\"default\":1},\"b\":{}}}",
     true},
    {"nothing shown", "T", "null", true},
};

static void differs(void **state) {
    (void)state;
    json_t *schema = schema_of("{\"a\":1}");
    json_t *ours = sm_checker_payload("x.run", "k", "T", "d", "general", schema);
    for (size_t i = 0; i < SM_ARRAY_LEN(shown); i++) {
        json_t *item = json_pack("{s:{s:s,s:o}}", "jsonScript", "title", shown[i].title,
                                 "refFuncInfo", parse(shown[i].info));
        if (sm_checker_differs(ours, item) != shown[i].differs)
            fail_msg("%s", shown[i].name);
        json_decref(item);
    }
    json_t *empty = json_object();
    assert_true(sm_checker_differs(ours, empty));
    json_decref(empty);
    json_decref(ours);

    /* What is empty here may be absent there. */
    json_t *none = json_array();
    ours = sm_checker_payload("x.run", "k", "T", "", "general", none);
    json_t *item = parse("{\"jsonScript\":{\"title\":\"T\",\"refFuncInfo\":{"
                         "\"definition\":\"run()\",\"category\":\"general\",\"kwargs\":null}}}");
    assert_false(sm_checker_differs(ours, item));
    json_decref(item);
    /* The embedded platform's form. */
    item = parse("{\"title\":\"T\",\"jsonScript\":{\"refFuncInfo\":{"
                 "\"definition\":\"run()\",\"category\":\"general\"}}}");
    assert_false(sm_checker_differs(ours, item));
    json_object_set_new(item, "title", json_string("U"));
    assert_true(sm_checker_differs(ours, item));
    json_decref(item);
    json_decref(ours);
    json_decref(none);
    json_decref(schema);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(python), cmocka_unit_test(payload),
                                       cmocka_unit_test(differs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
