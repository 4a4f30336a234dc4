/* What the readers show, from a catalogue made by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "room_help.h"
#include "daemon/views.h"

struct sm_catalog { /* stands in for daemon/catalog.c */
    sm_inspection *list[4];
    size_t n;
    sm_load_error errors[2];
    size_t n_errors;
};

sm_inspection *const *sm_catalog_list(const sm_catalog *c, size_t *n) {
    *n = c->n;
    return c->list;
}

const sm_load_error *sm_catalog_errors(const sm_catalog *c, size_t *n) {
    *n = c->n_errors;
    return c->errors;
}

static json_t *parse(const char *text) {
    char *copy = sm_strdup(text);
    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    json_t *v = json_loads(copy, JSON_DECODE_ANY, NULL);
    if (!v)
        fail_msg("test JSON: %s", text);
    free(copy);
    return v;
}

static void test_selected(void **state) {
    static const struct {
        const char *name, *select;
        bool taken;
    } rows[] = {
        {"nothing", "null", true},
        {"empty", "{}", true},
        {"null members", "{'k':null,'tags':[],'paths':[]}", true},
        {"part of the id", "{'k':'exam'}", true},
        {"no part", "{'k':'disk'}", false},
        {"glob", "{'k':'demo/*'}", true},
        {"glob is whole", "{'k':'dem*'}", false},
        {"one char", "{'k':'demo/example.ru?'}", true},
        {"tag", "{'tags':['shop']}", true},
        {"one of tags", "{'tags':['x','shop']}", true},
        {"other tag", "{'tags':['sho']}", false},
        {"folder", "{'paths':['demo']}", true},
        {"folder with slash", "{'paths':['demo/']}", true},
        {"half a name", "{'paths':['dem']}", false},
        {"file", "{'paths':['demo/x.lua']}", true},
        {"root", "{'paths':['']}", true},
        {"one of paths", "{'paths':['other','demo']}", true},
        {"tag and path", "{'tags':['shop'],'paths':['other']}", false},
        {"paths of a wrong type", "{'paths':[1,null,{}]}", false},
        {"members of wrong types", "{'k':7,'tags':{},'paths':'demo'}", true},
    };
    (void)state;
    sm_inspection *p = room_inspection("demo/example.run", "{'title':'T','tags':['shop']}");
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("  %s\n", rows[i].name);
        json_t *select = parse(rows[i].select);
        assert_int_equal(sm_view_selected(p, select), rows[i].taken);
        json_decref(select);
    }
    sm_inspection_unref(p);
}

static void test_selects_file(void **state) {
    static const struct {
        const char *name, *select;
        bool taken;
    } rows[] = {
        {"all", "{}", true},
        {"by name", "{'k':'x.l'}", true},
        {"other", "{'k':'y'}", false},
        {"tags are not known", "{'tags':['shop']}", false},
        {"folder", "{'paths':['demo']}", true},
    };
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("  %s\n", rows[i].name);
        json_t *select = parse(rows[i].select);
        assert_int_equal(sm_view_selects_file("demo/x.lua", select), rows[i].taken);
        json_decref(select);
    }
}

static void test_list(void **state) {
    (void)state;
    sm_catalog c = {.n = 3, .n_errors = 1};
    c.list[0] = room_inspection("a.run", "{'title':'A','tags':['x'],'schedule':['@every 1h'],"
                                         "'timezone':'Europe/Berlin'}");
    c.list[1] = room_inspection("b.run", NULL);
    c.list[2] = room_inspection("c.run", NULL);
    c.errors[0] = (sm_load_error){
        .file = (char *)"demo/x.lua", .sentence = (char *)"oh", .line = 3, .stale = true};
    /* b's row is of another node, c's of a former association key. */
    json_t *registry =
        parse("[{'node':'local','account':'default','id':'a.run','ref_key':'key-a.run',"
              "'uuid':'rul_1','status':2},"
              "{'node':'far','account':'default','id':'b.run','ref_key':'key-b.run',"
              "'uuid':'rul_2','status':0},"
              "{'node':'local','account':'default','id':'c.run','ref_key':'old',"
              "'uuid':'rul_3','status':0}]");
    json_t *last = parse("{'a.run':{'outcome':'ok'}}"), *nodes = parse("{'default':'local'}");
    json_t *out = sm_view_list(&c, nodes, registry, last);
    assert_int_equal(json_array_size(out), 4);
    const json_t *a = json_array_get(out, 0), *b = json_array_get(out, 1);
    assert_string_equal(sm_json_str(a, "id", ""), "a.run");
    assert_true(sm_json_bool(a, "registered", false));
    assert_false(sm_json_bool(a, "enabled", true));
    assert_string_equal(sm_json_str(a, "uuid", ""), "rul_1");
    assert_string_equal(sm_json_str(a, "timezone", ""), "Europe/Berlin");
    assert_string_equal(sm_json_str(json_object_get(a, "last"), "outcome", ""), "ok");
    assert_int_equal(strlen(sm_json_str(a, "next", "")), 20);
    assert_true(sm_json_bool(a, "stale", false));
    assert_false(sm_json_bool(b, "registered", true));
    assert_true(json_is_null(json_object_get(b, "enabled")));
    assert_true(json_is_null(json_object_get(b, "uuid")));
    assert_true(json_is_null(json_object_get(b, "last")));
    assert_true(json_is_null(json_object_get(b, "next")));
    assert_string_equal(sm_json_str(b, "timezone", ""), "UTC");
    assert_false(sm_json_bool(json_array_get(out, 2), "registered", true));
    const json_t *bad = json_array_get(out, 3);
    assert_string_equal(sm_json_str(bad, "outcome", ""), "load_error");
    assert_int_equal(sm_json_int(bad, "line", 0), 3);
    json_decref(out);
    out = sm_view_list(&c, nodes, NULL, NULL); /* no store yet */
    assert_int_equal(json_array_size(out), 4);
    json_decref(out);
    json_decref(registry);
    json_decref(last);
    json_decref(nodes);
    for (int i = 0; i < 3; i++)
        sm_inspection_unref(c.list[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_selected),
        cmocka_unit_test(test_selects_file),
        cmocka_unit_test(test_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
