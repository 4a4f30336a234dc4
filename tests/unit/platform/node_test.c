/* node: the compiled table against the data file, names of nodes, private pairs. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <jansson.h>
#include <string.h>
#include "platform/node.h"

static bool same(const char *have, const json_t *want) {
    if (!have)
        return json_is_null(want);
    return json_is_string(want) && strcmp(have, json_string_value(want)) == 0;
}

/* Every row of the data file, in its order, and nothing else. */
static void table_is_the_data_file(void **state) {
    (void)state;
    json_error_t e;
    json_t *file = json_load_file(SM_TEST_DATA "/nodes.json", 0, &e);
    if (!file)
        fail_msg("nodes.json: %s", e.text);
    const json_t *rows = json_object_get(file, "nodes");
    size_t n;
    const sm_node_row *table = sm_node_table(&n);
    assert_int_equal(n, json_array_size(rows));
    assert_true(n > 10);
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(rows, i);
        const char *status = json_string_value(json_object_get(row, "status"));
        const char *note = strcmp(status, "listed") == 0 ? NULL : status;
        const sm_node_row *t = &table[i];
        if (!same(t->brand, json_object_get(row, "brand")) ||
            !same(t->key, json_object_get(row, "key")) ||
            !same(t->name, json_object_get(row, "name_en")) ||
            !same(t->openapi, json_object_get(row, "openapi")) ||
            !same(t->openway, json_object_get(row, "openway")) ||
            !same(t->console, json_object_get(row, "console")) ||
            (t->note ? !note || strcmp(t->note, note) != 0 : note != NULL))
            fail_msg("row %zu: %s/%s differs from nodes.json", i, t->brand, t->key);
    }
    json_decref(file);
}

static const struct {
    const char *name, *shown, *brand, *openapi; /* shown NULL: refused */
    const char *word;                           /* of the refusal */
    const char *word2;
} names[] = {
    {"default", "default", "guance", "https://openapi.guance.com", NULL, NULL},
    {"aws", "aws", "guance", "https://aws-openapi.guance.com", NULL, NULL},
    {"cn3", "cn3", "guance", "https://cn3-openapi.guance.com", NULL, NULL},
    {"cn4", "cn4", "guance", "https://cn4-openapi.guance.com", NULL, NULL},
    {"cn5", "cn5", "guance", "https://cn5-openapi.guance.com", NULL, NULL},
    {"cn6", "cn6", "guance", "https://cn6-openapi.guance.one", NULL, NULL},
    {"guance/default", "default", "guance", "https://openapi.guance.com", NULL, NULL},
    {"guance/us1", "guance/us1", "guance", "https://us1-openapi.guance.com", NULL, NULL},
    {"truewatch/us1", "truewatch/us1", "truewatch", "https://us1-openapi.truewatch.com", NULL,
     NULL},
    {"truewatch/id1", "truewatch/id1", "truewatch", "https://id1-openapi.truewatch.com", NULL,
     NULL},
    {"me1", "truewatch/me1", "truewatch", "https://me1-openapi.truewatch.com", NULL, NULL},
    {"us1", NULL, NULL, NULL, "\"guance/us1\" or \"truewatch/us1\"", "both brands"},
    {"eu1", NULL, NULL, NULL, "\"guance/eu1\" or \"truewatch/eu1\"", "both brands"},
    {"ap1", NULL, NULL, NULL, "\"guance/ap1\" or \"truewatch/ap1\"", "both brands"},
    {"za1", NULL, NULL, NULL, "\"guance/za1\" or \"truewatch/za1\"", "both brands"},
    {"id1", NULL, NULL, NULL, "\"guance/id1\" or \"truewatch/id1\"", "both brands"},
    {"defualt", NULL, NULL, NULL, "unknown node \"defualt\"", "did you mean \"default\"?"},
    {"truewach/us1", NULL, NULL, NULL, "truewach/us1", "did you mean \"truewatch/us1\"?"},
    {"us2", NULL, NULL, NULL, "unknown node \"us2\"",
     "did you mean \"guance/us1\" or \"truewatch/us1\"?"},
    {"truewatch/default", NULL, NULL, NULL, "unknown node \"truewatch/default\"", "truewatch/us1"},
    {"hangzhou", NULL, NULL, NULL, "unknown node \"hangzhou\"", "default, aws, cn3"},
    {"", NULL, NULL, NULL, "unknown node \"\"", "expected"},
    {"/us1", NULL, NULL, NULL, "unknown node \"/us1\"", "us1"},
    {"guance/", NULL, NULL, NULL, "unknown node \"guance/\"", "expected"},
    {"https://openapi.example.com", NULL, NULL, NULL, "is an address", "OpenWay"},
    {"a\nb", NULL, NULL, NULL, "unknown node \"a\\nb\"", "expected"},
};

static void names_of_nodes(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(names); i++) {
        sm_node node;
        sm_err err = SM_ERR_INIT;
        sm_rc rc = sm_node_find(names[i].name, &node, &err);
        if (names[i].shown) {
            if (rc != SM_OK)
                fail_msg("%s: %s", names[i].name, err.msg);
            assert_string_equal(node.name, names[i].shown);
            assert_string_equal(node.brand, names[i].brand);
            assert_string_equal(node.openapi, names[i].openapi);
            assert_non_null(strstr(node.openway, "openway"));
        } else if (rc != SM_INVALID || !strstr(err.msg, names[i].word) ||
                   !strstr(err.msg, names[i].word2) || strchr(err.msg, '\n')) {
            fail_msg("%s: rc %d, \"%s\"", names[i].name, (int)rc, err.msg);
        }
        sm_node_fini(&node);
        sm_node_fini(&node);
    }
}

static const struct {
    const char *name, *openapi, *openway;
    bool insecure;
    const char *want_api, *want_way, *want_name; /* want_api NULL: refused */
    const char *word;
} pairs[] = {
    {"plain", "https://openapi.corp.example", "https://openway.corp.example", false,
     "https://openapi.corp.example", "https://openway.corp.example", "openapi.corp.example", NULL},
    {"trailing slashes", "https://a.example//", "https://b.example/", false, "https://a.example",
     "https://b.example", "a.example", NULL},
    {"path and port", "https://a.example:8443/open/api/", "https://b.example:9528/dw", false,
     "https://a.example:8443/open/api", "https://b.example:9528/dw", "a.example:8443", NULL},
    {"upper case", "HTTPS://A.Example/Path", "https://B.example", false, "https://a.example/Path",
     "https://b.example", "a.example", NULL},
    {"http on 127.0.0.1", "http://127.0.0.1:1234", "http://127.9.9.9:1", false,
     "http://127.0.0.1:1234", "http://127.9.9.9:1", "127.0.0.1:1234", NULL},
    {"http on localhost", "http://localhost", "http://LOCALHOST:80/", false, "http://localhost",
     "http://localhost:80", "localhost", NULL},
    {"http on ::1", "http://[::1]:80", "http://[::1]:81", false, "http://[::1]:80",
     "http://[::1]:81", "[::1]:80", NULL},
    {"http elsewhere, insecure", "http://a.example", "http://10.0.0.1:9528", true,
     "http://a.example", "http://10.0.0.1:9528", "a.example", NULL},
    {"http elsewhere", "http://a.example", "https://b.example", false, NULL, NULL, NULL,
     "insecure = true"},
    {"http elsewhere, second", "https://a.example", "http://b.example", false, NULL, NULL, NULL,
     "the OpenWay address \"http://b.example\" would send the key unencrypted"},
    {"http on a name that only looks local", "http://localhost.example", "https://b.example", false,
     NULL, NULL, NULL, "insecure"},
    {"http on a name that begins like loopback", "http://127.0.0.1.example", "https://b.example",
     false, NULL, NULL, NULL, "insecure"},
    {"http on 0.0.0.0", "http://0.0.0.0:80", "https://b.example", false, NULL, NULL, NULL,
     "insecure"},
    {"no OpenWay", "https://a.example", NULL, false, NULL, NULL, NULL,
     "the OpenWay address is missing"},
    {"empty OpenWay", "https://a.example", "", false, NULL, NULL, NULL,
     "the OpenWay address is missing"},
    {"no OpenAPI", NULL, "https://b.example", false, NULL, NULL, NULL,
     "the OpenAPI address is missing"},
    {"neither", "", NULL, false, NULL, NULL, NULL, "is missing"},
    {"ftp", "ftp://a.example", "https://b.example", false, NULL, NULL, NULL, "begin with https://"},
    {"no scheme", "a.example", "https://b.example", false, NULL, NULL, NULL, "begin with https://"},
    {"scheme later", "evil://x?https://a.example", "https://b.example", false, NULL, NULL, NULL,
     "begin with https://"},
    {"userinfo", "https://me:pa55word@a.example", "https://b.example", false, NULL, NULL, NULL,
     "user name or password"},
    {"empty userinfo", "https://@a.example", "https://b.example", false, NULL, NULL, NULL,
     "user name or password"},
    {"query", "https://a.example/?x=1", "https://b.example", false, NULL, NULL, NULL, "query"},
    {"token in the OpenWay", "https://a.example", "https://b.example?token=tkn_pa55word", false,
     NULL, NULL, NULL, "the OpenWay address \"https://b.example\" must not have a query"},
    {"fragment", "https://a.example/#x", "https://b.example", false, NULL, NULL, NULL, "fragment"},
    {"blank", "https://a.exa mple", "https://b.example", false, NULL, NULL, NULL, "blanks"},
    {"newline", "https://a.example\n", "https://b.example", false, NULL, NULL, NULL, "blanks"},
    {"no host", "https://", "https://b.example", false, NULL, NULL, NULL, "is not a URL"},
    {"bad port", "https://a.example:99999", "https://b.example", false, NULL, NULL, NULL,
     "is not a URL"},
};

static void private_pairs(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(pairs); i++) {
        sm_node node;
        sm_err err = SM_ERR_INIT;
        sm_rc rc = sm_node_pair(pairs[i].openapi, pairs[i].openway, pairs[i].insecure, &node, &err);
        if (pairs[i].want_api) {
            if (rc != SM_OK)
                fail_msg("%s: %s", pairs[i].name, err.msg);
            if (strcmp(node.openapi, pairs[i].want_api) != 0 ||
                strcmp(node.openway, pairs[i].want_way) != 0 ||
                strcmp(node.name, pairs[i].want_name) != 0 || node.brand)
                fail_msg("%s: %s %s %s", pairs[i].name, node.openapi, node.openway, node.name);
        } else if (rc != SM_INVALID || !strstr(err.msg, pairs[i].word) || node.openapi) {
            fail_msg("%s: rc %d, \"%s\"", pairs[i].name, (int)rc, err.msg);
        }
        if (strstr(err.msg, "pa55word"))
            fail_msg("%s: the sentence shows a secret: %s", pairs[i].name, err.msg);
        sm_node_fini(&node);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_the_data_file),
        cmocka_unit_test(names_of_nodes),
        cmocka_unit_test(private_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
