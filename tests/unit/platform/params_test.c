/* params: declarations good and bad, conversion of every type, precedence, notes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "platform/params.h"

static json_t *parse(const char *text) {
    json_t *j = NULL;
    sm_err err = SM_ERR_INIT;
    if (text && sm_json_parse(text, strlen(text), 1 << 20, &j, &err) != SM_OK)
        fail_msg("%s: %s", text, err.msg);
    return j;
}

static void same(const char *name, const json_t *got, const char *want) {
    char *s = sm_json_dump(got, NULL);
    if (strcmp(s, want) != 0)
        fail_msg("%s: got %s, want %s", name, s, want);
    free(s);
}

static const struct {
    const char *name, *table, *schema;
} declared[] = {
    {"none", "{}", "[]"},
    {"none, as an array", "[]", "[]"},
    {"null", "null", "[]"},
    {"text", "{\"a\":\"x\"}", "[{\"default\":\"x\",\"name\":\"a\",\"type\":\"string\"}]"},
    {"integer by example is a number", "{\"a\":90}",
     "[{\"default\":90,\"name\":\"a\",\"type\":\"number\"}]"},
    {"boolean", "{\"a\":false}", "[{\"default\":false,\"name\":\"a\",\"type\":\"boolean\"}]"},
    {"list of texts", "{\"a\":[\"x\",\"y\"]}",
     "[{\"default\":[\"x\",\"y\"],\"items\":\"string\",\"name\":\"a\",\"type\":\"list\"}]"},
    {"list of numbers", "{\"a\":[1,2.5]}",
     "[{\"default\":[1,2.5],\"items\":\"number\",\"name\":\"a\",\"type\":\"list\"}]"},
    {"mixed list", "{\"a\":[1,\"x\"]}",
     "[{\"default\":[1,\"x\"],\"name\":\"a\",\"type\":\"list\"}]"},
    {"empty table", "{\"a\":[]}", "[{\"default\":[],\"name\":\"a\",\"type\":\"list\"}]"},
    {"empty table as object", "{\"a\":{}}", "[{\"default\":[],\"name\":\"a\",\"type\":\"list\"}]"},
    {"table", "{\"a\":{\"k\":1}}", "[{\"default\":{\"k\":1},\"name\":\"a\",\"type\":\"table\"}]"},
    {"a type key that is no type", "{\"a\":{\"type\":\"disk\"}}",
     "[{\"default\":{\"type\":\"disk\"},\"name\":\"a\",\"type\":\"table\"}]"},
    {"in full",
     "{\"a\":{\"type\":\"number\",\"default\":90,\"min\":0,\"max\":100,\"order\":1,\"doc\":\"d\"}}",
     "[{\"default\":90,\"doc\":\"d\",\"max\":100,\"min\":0,\"name\":\"a\",\"order\":1,"
     "\"type\":\"number\"}]"},
    {"a duration stays as written", "{\"a\":{\"type\":\"duration\",\"default\":\"15m\"}}",
     "[{\"default\":\"15m\",\"name\":\"a\",\"type\":\"duration\"}]"},
    {"required", "{\"a\":{\"type\":\"string\",\"required\":true}}",
     "[{\"name\":\"a\",\"required\":true,\"type\":\"string\"}]"},
    {"table with an empty default", "{\"a\":{\"type\":\"table\",\"default\":[]}}",
     "[{\"default\":{},\"name\":\"a\",\"type\":\"table\"}]"},
    {"list with an empty default", "{\"a\":{\"type\":\"list\",\"default\":{}}}",
     "[{\"default\":[],\"name\":\"a\",\"type\":\"list\"}]"},
    {"order, then names",
     "{\"b\":true,\"a\":true,\"Z\":true,\"y\":{\"type\":\"any\",\"order\":2},"
     "\"z\":{\"type\":\"any\",\"order\":1}}",
     "[{\"name\":\"z\",\"order\":1,\"type\":\"any\"},{\"name\":\"y\",\"order\":2,\"type\":\"any\"},"
     "{\"default\":true,\"name\":\"Z\",\"type\":\"boolean\"},"
     "{\"default\":true,\"name\":\"a\",\"type\":\"boolean\"},"
     "{\"default\":true,\"name\":\"b\",\"type\":\"boolean\"}]"},
};

static void declares(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(declared); i++) {
        json_t *table = parse(declared[i].table), *schema = NULL;
        sm_err err = SM_ERR_INIT;
        if (sm_params_declare(table, &schema, &err) != SM_OK)
            fail_msg("%s: %s", declared[i].name, err.msg);
        same(declared[i].name, schema, declared[i].schema);
        json_decref(schema);
        json_decref(table);
    }
    json_t *schema = NULL;
    assert_int_equal(sm_params_declare(NULL, &schema, NULL), SM_OK);
    assert_int_equal(json_array_size(schema), 0);
    json_decref(schema);
}

static const char *const refused[][2] = {
    {"[1]", "params: expected a table of named parameters, got a list"},
    {"5", "params: expected a table of named parameters, got 5"},
    {"{\"\":1}", "params: \"\" cannot be the name of a parameter (expected 1 to 128 bytes without "
                 "blanks, quotes, brackets, commas and \"=\")"},
    {"{\"a b\":1}", "params: \"a b\" cannot be the name of a parameter (expected 1 to 128 bytes "
                    "without blanks, quotes, brackets, commas and \"=\")"},
    {"{\"t\":{\"type\":\"number\",\"mim\":1}}",
     "params.t.mim: unknown key \"mim\"; did you mean \"min\"?"},
    {"{\"t\":{\"type\":\"number\",\"min\":\"x\"}}", "params.t.min: expected a number, got \"x\""},
    {"{\"t\":{\"type\":\"duration\",\"max\":\"x\"}}",
     "params.t.max: expected a duration such as 90s or 15m, got \"x\""},
    {"{\"t\":{\"type\":\"string\",\"min\":1}}",
     "params.t.min: only a number, integer or duration has a min"},
    {"{\"t\":{\"type\":\"number\",\"min\":5,\"max\":1}}", "params.t: min is greater than max"},
    {"{\"t\":{\"type\":\"string\",\"enum\":\"a\"}}",
     "params.t.enum: expected a list of allowed values, got \"a\""},
    {"{\"t\":{\"type\":\"string\",\"enum\":[]}}",
     "params.t.enum: expected a list of allowed values, got a list"},
    {"{\"t\":{\"type\":\"string\",\"enum\":[1]}}",
     "params.t.enum: expected values of type string, got 1"},
    {"{\"t\":{\"type\":\"list\",\"enum\":[1]}}", "params.t.enum: a list has no enum"},
    {"{\"t\":{\"type\":\"string\",\"items\":\"string\"}}", "params.t.items: only a list has items"},
    {"{\"t\":{\"type\":\"list\",\"items\":\"text\"}}",
     "params.t.items: expected one of string, number, integer, boolean, duration, table, any, got "
     "\"text\""},
    {"{\"t\":{\"type\":\"number\",\"required\":1}}",
     "params.t.required: expected true or false, got 1"},
    {"{\"t\":{\"type\":\"number\",\"order\":\"1\"}}",
     "params.t.order: expected a number, got \"1\""},
    {"{\"t\":{\"type\":\"number\",\"doc\":1}}", "params.t.doc: expected a text, got 1"},
    {"{\"t\":{\"type\":\"number\",\"default\":\"90\"}}",
     "params.t.default: expected a number, got \"90\""},
    {"{\"t\":{\"type\":\"integer\",\"default\":1.5}}",
     "params.t.default: expected a whole number, got 1.5"},
    {"{\"t\":{\"type\":\"number\",\"default\":200,\"max\":100}}",
     "params.t.default: expected a number of at most 100, got 200"},
    {"{\"t\":{\"type\":\"string\",\"default\":\"c\",\"enum\":[\"a\",\"b\"]}}",
     "params.t.default: expected one of a, b, got \"c\""},
    {"{\"t\":{\"type\":\"duration\",\"default\":\"soon\"}}",
     "params.t.default: expected a duration such as 90s or 15m, got \"soon\""},
    {"{\"t\":{\"type\":\"list\",\"default\":[1,\"x\"],\"items\":\"number\"}}",
     "params.t.default: expected a list of numbers, got \"x\" (item 2)"},
    {"{\"t\":{\"type\":\"boolean\",\"default\":[]}}",
     "params.t.default: expected true or false, got a list"},
};

static void refuses(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(refused); i++) {
        json_t *table = parse(refused[i][0]), *schema = NULL;
        sm_err err = SM_ERR_INIT;
        if (sm_params_declare(table, &schema, &err) != SM_INVALID || schema)
            fail_msg("%s: accepted", refused[i][0]);
        if (strcmp(err.msg, refused[i][1]) != 0)
            fail_msg("%s:\n got %s\nwant %s", refused[i][0], err.msg, refused[i][1]);
        json_decref(table);
    }
}

#define DECL(rest) "{\"p\":{\"type\":" rest "}}"

/* One parameter p, a value of the platform, and what the script sees (or the sentence after
 * "parameter p: "). */
static const struct {
    const char *decl, *value, *want, *error;
} converted[] = {
    {DECL("\"string\""), "\"x\"", "\"x\"", NULL},
    {DECL("\"string\",\"default\":\"d\""), "\"\"", "\"\"", NULL},
    {DECL("\"string\",\"default\":\"d\""), "null", "\"d\"", NULL},
    {DECL("\"string\""), "95", "\"95\"", NULL},
    {DECL("\"string\""), "1.5", "\"1.5\"", NULL},
    {DECL("\"string\""), "true", "\"true\"", NULL},
    {DECL("\"string\""), "[1]", NULL, "expected a text, got a list"},
    {DECL("\"string\",\"enum\":[\"fast\",\"full\"]"), "\"full\"", "\"full\"", NULL},
    {DECL("\"string\",\"enum\":[\"fast\",\"full\"]"), "\"slow\"", NULL,
     "expected one of fast, full, got \"slow\""},

    {DECL("\"number\""), "\"95\"", "95", NULL},
    {DECL("\"number\""), "\" -95 \"", "-95", NULL},
    {DECL("\"number\""), "\"+5\"", "5", NULL},
    {DECL("\"number\""), "\"95.5\"", "95.5", NULL},
    {DECL("\"number\""), "\"95.0\"", "95.0", NULL},
    {DECL("\"number\""), "\"1e3\"", "1000.0", NULL},
    {DECL("\"number\""), "95", "95", NULL},
    {DECL("\"number\""), "95.5", "95.5", NULL},
    {DECL("\"number\""), "\"9223372036854775807\"", "9223372036854775807", NULL},
    {DECL("\"number\""), "\"9223372036854775808\"", "9.2233720368547758e18", NULL},
    {DECL("\"number\",\"default\":7"), "\"\"", "7", NULL},
    {DECL("\"number\",\"default\":7"), "\"  \"", "7", NULL},
    {DECL("\"number\",\"default\":7"), "null", "7", NULL},
    {DECL("\"number\""), "\"0x10\"", NULL, "expected a number, got \"0x10\""},
    {DECL("\"number\""), "\"nan\"", NULL, "expected a number, got \"nan\""},
    {DECL("\"number\""), "\"inf\"", NULL, "expected a number, got \"inf\""},
    {DECL("\"number\""), "\"1e999\"", NULL, "expected a number, got \"1e999\""},
    {DECL("\"number\""), "\"9 5\"", NULL, "expected a number, got \"9 5\""},
    {DECL("\"number\""), "\"95%\"", NULL, "expected a number, got \"95%\""},
    {DECL("\"number\""), "\".\"", NULL, "expected a number, got \".\""},
    {DECL("\"number\""), "\"1.2.3\"", NULL, "expected a number, got \"1.2.3\""},
    {DECL("\"number\""), "true", NULL, "expected a number, got true"},
    {DECL("\"number\",\"min\":0,\"max\":100"), "100", "100", NULL},
    {DECL("\"number\",\"min\":0,\"max\":100"), "0", "0", NULL},
    {DECL("\"number\",\"min\":0,\"max\":100"), "250", NULL,
     "expected a number from 0 to 100, got 250"},
    {DECL("\"number\",\"min\":1"), "\"0.5\"", NULL, "expected a number of at least 1, got \"0.5\""},
    {DECL("\"number\",\"enum\":[1,2]"), "\"2.0\"", "2.0", NULL},
    {DECL("\"number\",\"enum\":[1,2]"), "3", NULL, "expected one of 1, 2, got 3"},

    {DECL("\"integer\""), "\"95\"", "95", NULL},
    {DECL("\"integer\""), "95.0", "95", NULL},
    {DECL("\"integer\""), "95.5", NULL, "expected a whole number, got 95.5"},
    {DECL("\"integer\""), "\"x\"", NULL, "expected a whole number, got \"x\""},

    {DECL("\"boolean\""), "\"true\"", "true", NULL},
    {DECL("\"boolean\""), "\"False\"", "false", NULL},
    {DECL("\"boolean\""), "\"on\"", "true", NULL},
    {DECL("\"boolean\""), "0", "false", NULL},
    {DECL("\"boolean\""), "true", "true", NULL},
    {DECL("\"boolean\",\"default\":true"), "\"\"", "true", NULL},
    {DECL("\"boolean\""), "\"maybe\"", NULL, "expected true or false, got \"maybe\""},
    {DECL("\"boolean\""), "2", NULL, "expected true or false, got 2"},

    {DECL("\"list\""), "[1,\"a\"]", "[1,\"a\"]", NULL},
    {DECL("\"list\""), "\"a\\nb\\n\\n c \\r\\n\"", "[\"a\",\"b\",\"c\"]", NULL},
    {DECL("\"list\""), "\"a, b,,c\"", "[\"a\",\"b\",\"c\"]", NULL},
    {DECL("\"list\""), "\"a,b\\nc\"", "[\"a,b\",\"c\"]", NULL},
    {DECL("\"list\""), "\"[1, \\\"x\\\"]\"", "[1,\"x\"]", NULL},
    {DECL("\"list\""), "\"one\"", "[\"one\"]", NULL},
    {DECL("\"list\",\"default\":[\"d\"]"), "\"\"", "[\"d\"]", NULL},
    {DECL("\"list\",\"default\":[\"d\"]"), "[]", "[]", NULL},
    {DECL("\"list\""), "{}", "[]", NULL},
    {DECL("\"list\",\"items\":\"number\""), "\"80\\n8080\"", "[80,8080]", NULL},
    {DECL("\"list\",\"items\":\"integer\""), "\"80,x\"", NULL,
     "expected a list of whole numbers, got \"80,x\" (item 2)"},
    {DECL("\"list\",\"items\":\"string\""), "[\"a\",{}]", NULL,
     "expected a list of texts, got a table (item 2)"},
    {DECL("\"list\",\"items\":\"duration\""), "\"1m,2m\"", "[60,120]", NULL},
    {DECL("\"list\""), "\"[1,\"", NULL, "expected a list, got \"[1,\""},
    {DECL("\"list\""), "5", NULL, "expected a list, got 5"},
    {DECL("\"list\""), "{\"a\":1}", NULL, "expected a list, got a table"},
    {"{\"p\":[\"a\",\"b\"]}", "\"c\\nd\"", "[\"c\",\"d\"]", NULL},
    {"{\"p\":[]}", "\"1,2\"", "[\"1\",\"2\"]", NULL},
    {"{\"p\":{}}", "[1,true]", "[1,true]", NULL},

    {DECL("\"table\""), "{\"a\":1}", "{\"a\":1}", NULL},
    {DECL("\"table\""), "\"{\\\"a\\\":1}\"", "{\"a\":1}", NULL},
    {DECL("\"table\""), "[]", "{}", NULL},
    {DECL("\"table\""), "\"a=1\"", NULL, "expected a table, got \"a=1\""},
    {DECL("\"table\""), "1", NULL, "expected a table, got 1"},

    {DECL("\"duration\",\"default\":\"15m\""), "null", "900", NULL},
    {DECL("\"duration\""), "\"1h30m\"", "5400", NULL},
    {DECL("\"duration\""), "\"500ms\"", "0.5", NULL},
    {DECL("\"duration\""), "\"90\"", "90", NULL},
    {DECL("\"duration\""), "90", "90", NULL},
    {DECL("\"duration\""), "1.5", "1.5", NULL},
    {DECL("\"duration\""), "-1", NULL, "expected a duration such as 90s or 15m, got -1"},
    {DECL("\"duration\""), "\"soon\"", NULL,
     "expected a duration such as 90s or 15m, got \"soon\""},
    {DECL("\"duration\",\"min\":\"1m\",\"max\":\"1h\""), "\"2h\"", NULL,
     "expected a duration such as 90s or 15m from 1m to 1h, got \"2h\""},

    {DECL("\"any\""), "{\"a\":[1]}", "{\"a\":[1]}", NULL},
    {DECL("\"any\",\"default\":3"), "\"\"", "3", NULL},
    {DECL("\"any\""), "\"95\"", "\"95\"", NULL},
};

static void converts(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(converted); i++) {
        char name[300], want[300];
        snprintf(name, sizeof name, "%s <- %s", converted[i].decl, converted[i].value);
        json_t *table = parse(converted[i].decl), *schema = NULL, *values = NULL;
        json_t *platform = json_pack("{s:o}", "p", parse(converted[i].value));
        sm_err err = SM_ERR_INIT;
        if (sm_params_declare(table, &schema, &err) != SM_OK)
            fail_msg("%s: %s", name, err.msg);
        sm_rc rc = sm_params_resolve(schema, NULL, platform, NULL, &values, NULL, &err);
        if (converted[i].want) {
            if (rc != SM_OK)
                fail_msg("%s: %s", name, err.msg);
            same(name, json_object_get(values, "p"), converted[i].want);
        } else {
            snprintf(want, sizeof want, "parameter p: %s (set on the platform)",
                     converted[i].error);
            if (rc != SM_INVALID || values || strcmp(err.msg, want) != 0)
                fail_msg("%s:\n got %s\nwant %s", name, err.msg, want);
        }
        json_decref(values);
        json_decref(platform);
        json_decref(schema);
        json_decref(table);
    }
}

static const struct {
    const char *name, *conf, *platform, *override, *want, *error;
} merged[] = {
    {"default", NULL, NULL, NULL, "{\"p\":1}", NULL},
    {"configuration wins over the default", "{\"p\":2}", NULL, NULL, "{\"p\":2}", NULL},
    {"platform wins over the configuration", "{\"p\":2}", "{\"p\":\"3\"}", NULL, "{\"p\":3}", NULL},
    {"override wins over all", "{\"p\":2}", "{\"p\":3}", "{\"p\":\"4\"}", "{\"p\":4}", NULL},
    {"null leaves it to the layer below", "{\"p\":2}", "{\"p\":null}", NULL, "{\"p\":2}", NULL},
    {"empty text leaves it to the layer below", "{\"p\":2}", "{\"p\":\"\"}", NULL, "{\"p\":2}",
     NULL},
    {"what is overridden is not judged", "{\"p\":\"bad\"}", NULL, "{\"p\":4}", "{\"p\":4}", NULL},
    {"a bad configuration", "{\"p\":\"bad\"}", NULL, NULL, NULL,
     "parameter p: expected a number, got \"bad\" (set in selfmon.conf.lua)"},
    {"a bad override", NULL, NULL, "{\"p\":\"bad\"}", NULL,
     "parameter p: expected a number, got \"bad\" (set by -p)"},
    {"an empty array as a layer", "[]", "[]", NULL, "{\"p\":1}", NULL},
};

static void merges(void **state) {
    (void)state;
    json_t *table = parse("{\"p\":1}"), *schema = NULL;
    assert_int_equal(sm_params_declare(table, &schema, NULL), SM_OK);
    for (size_t i = 0; i < SM_ARRAY_LEN(merged); i++) {
        json_t *conf = parse(merged[i].conf), *platform = parse(merged[i].platform);
        json_t *override = parse(merged[i].override), *values = NULL;
        sm_err err = SM_ERR_INIT;
        sm_rc rc = sm_params_resolve(schema, conf, platform, override, &values, NULL, &err);
        if (merged[i].want && rc == SM_OK)
            same(merged[i].name, values, merged[i].want);
        else if (merged[i].want || rc != SM_INVALID || strcmp(err.msg, merged[i].error) != 0)
            fail_msg("%s: rc %d, %s", merged[i].name, rc, err.msg);
        json_decref(values);
        json_decref(override);
        json_decref(platform);
        json_decref(conf);
    }
    json_decref(schema);
    json_decref(table);
}

static void requires(void **state) {
    (void)state;
    json_t *table = parse("{\"url\":{\"type\":\"string\",\"required\":true},"
                          "\"n\":{\"type\":\"number\"}}");
    json_t *schema = NULL, *values = NULL, *platform = parse("{\"url\":\"x\"}");
    sm_err err = SM_ERR_INIT;
    assert_int_equal(sm_params_declare(table, &schema, NULL), SM_OK);
    assert_int_equal(sm_params_resolve(schema, NULL, NULL, NULL, &values, NULL, &err), SM_INVALID);
    assert_string_equal(err.msg, "parameter url: expected a text, got nothing (it is required: set "
                                 "it on the platform or in params of selfmon.conf.lua)");
    assert_int_equal(sm_params_resolve(schema, NULL, platform, NULL, &values, NULL, &err), SM_OK);
    same("a parameter without any value is absent", values, "{\"url\":\"x\"}");
    json_decref(values);
    json_decref(platform);
    json_decref(schema);
    json_decref(table);
}

static void notes_unknown(void **state) {
    (void)state;
    json_t *table = parse("{\"threshold\":1}"), *schema = NULL, *values = NULL;
    json_t *platform = parse("{\"treshold\":5,\"other\":1}"), *notes = json_array();
    assert_int_equal(sm_params_declare(table, &schema, NULL), SM_OK);
    assert_int_equal(sm_params_resolve(schema, NULL, platform, NULL, &values, notes, NULL), SM_OK);
    same("the default is used", values, "{\"threshold\":1}");
    assert_int_equal(json_array_size(notes), 2);
    const char *both[2] = {json_string_value(json_array_get(notes, 0)),
                           json_string_value(json_array_get(notes, 1))};
    int near = strstr(both[0], "treshold") ? 0 : 1;
    assert_string_equal(both[near],
                        "parameter treshold is not declared by the script and is ignored (set on "
                        "the platform); did you mean \"threshold\"?");
    json_decref(notes);
    json_decref(values);
    json_decref(platform);
    json_decref(schema);
    json_decref(table);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(declares), cmocka_unit_test(refuses),
                                       cmocka_unit_test(converts), cmocka_unit_test(merges),
                                       cmocka_unit_test(requires), cmocka_unit_test(notes_unknown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
