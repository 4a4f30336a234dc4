/* The service `store` against a worker that is not to be believed, and its dry run: what is kept,
 * what is written over it, quotas. */
#include "base/memo.h"
#include "daemon/dispatch.h"
#include "daemon/memory.h"
#include "store/store.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct fixture {
    sm_dispatcher d; /* only its services are used */
    sm_inspection inspection;
    sm_memory *m;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->inspection.refs = 1000;
    f->inspection.id = "a.run";
    f->m = sm_memory_new(&f->d, NULL, NULL, NULL);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    sm_memory_free(f->m);
    free(f);
    return 0;
}

/* The answer goes nowhere: what became of the ask shows in the counts. */
static void ask(fixture *f, json_t *args, const char *body, size_t n) {
    sm_ask *a = calloc(1, sizeof *a);
    a->inspection = &f->inspection;
    f->inspection.refs++;
    a->args = args;
    a->body = body ? malloc(n + 1) : NULL;
    if (body) {
        memcpy(a->body, body, n);
        a->body[n] = '\0';
    }
    a->body_n = n;
    f->d.services[0].begin(f->d.services[0].ctx, a);
}

static int64_t refused(const fixture *f, const char *code) {
    json_t *status = sm_memory_status(f->m);
    int64_t n = sm_json_int(json_object_get(status, "refused"), code, 0);
    json_decref(status);
    return n;
}

static void nothing_is_believed(void **state) {
    static const struct {
        const char *name, *args, *body;
    } rows[] = {
        {"nothing", "{}", NULL},
        {"another operation", "{'op':'drop','key':'k'}", NULL},
        {"no key", "{'op':'get'}", NULL},
        {"an empty key", "{'op':'get','key':''}", NULL},
        {"a number for a key", "{'op':'get','key':7}", NULL},
        {"control characters", "{'op':'get','key':'a\\nb'}", NULL},
        {"a NUL", "{'op':'get','key':'a\\u0000b'}", NULL},
        {"a scope with a blank", "{'op':'get','key':'k','scope':'a b'}", NULL},
        {"no scope at all", "{'op':'get','key':'k','scope':null}", NULL},
        {"a scope that is none", "{'op':'get','key':'k','scope':['s']}", NULL},
        {"set without a value", "{'op':'set','key':'k'}", NULL},
        {"set of half a value", "{'op':'set','key':'k'}", "{\"a\":"},
        {"set of two values", "{'op':'set','key':'k'}", "1 2"},
        {"a ttl of 0", "{'op':'set','key':'k','ttl':0}", "1"},
        {"a ttl before now", "{'op':'set','key':'k','ttl':-5}", "1"},
        {"a ttl of a thousand years", "{'op':'set','key':'k','ttl':1e11}", "1"},
        {"a ttl that is no number", "{'op':'set','key':'k','ttl':'5'}", "1"},
        {"incr without a number", "{'op':'incr','key':'k'}", NULL},
        {"incr by a text", "{'op':'incr','key':'k','by':'1'}", NULL},
    };
    fixture *f = *state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        char text[256];
        snprintf(text, sizeof text, "%s", rows[i].args);
        for (char *p = text; *p; p++)
            *p = *p == '\'' ? '"' : *p;
        json_t *args = json_loads(text, JSON_ALLOW_NUL, NULL);
        assert_non_null(args);
        print_message("  %s\n", rows[i].name);
        ask(f, args, rows[i].body, rows[i].body ? strlen(rows[i].body) : 0);
        assert_int_equal(refused(f, "invalid"), i + 1);
    }
    char *key = malloc(SM_MEMO_KEY_MAX + 2);
    memset(key, 'k', SM_MEMO_KEY_MAX + 1);
    key[SM_MEMO_KEY_MAX + 1] = '\0';
    ask(f, json_pack("{s:s, s:s}", "op", "get", "key", key), NULL, 0);
    assert_int_equal(refused(f, "invalid"), SM_ARRAY_LEN(rows) + 1);
    key[SM_MEMO_KEY_MAX] = '\0';
    ask(f, json_pack("{s:s, s:s}", "op", "get", "key", key), NULL, 0);
    assert_int_equal(refused(f, "invalid"), SM_ARRAY_LEN(rows) + 1);
    free(key);
    char *body = calloc(1, SM_MEMO_VALUE_MAX + 3);
    memset(body, 'x', SM_MEMO_VALUE_MAX + 1);
    body[0] = body[SM_MEMO_VALUE_MAX] = '"';
    ask(f, json_pack("{s:s, s:s}", "op", "set", "key", "k"), body, SM_MEMO_VALUE_MAX + 1);
    assert_int_equal(refused(f, "too_large"), 1);
    body[SM_MEMO_VALUE_MAX - 1] = '"';
    ask(f, json_pack("{s:s, s:s}", "op", "set", "key", "k"), body, SM_MEMO_VALUE_MAX);
    assert_int_equal(refused(f, "too_large"), 1);
    free(body);
    ask(f, json_pack("{s:s, s:s, s:i}", "op", "incr", "key", "k", "by", 1), NULL, 0);
    assert_int_equal(refused(f, "value"), 1);
}

/* ---- the dry run ---- */

static int asked;

static sm_rc kept(void *ctx, const char *who, json_t **out, sm_err *err) {
    (void)ctx;
    asked++;
    if (strcmp(who, "i/broken") == 0)
        return sm_err_set(err, SM_IO, "the disk");
    if (strcmp(who, "i/a") != 0)
        return sm_err_set(err, SM_NOT_FOUND, "no store");
    *out = json_pack("{s:{s:s, s:n}, s:{s:s, s:i}}", "n", "text", "5", "until_ms", "old", "text",
                     "1", "until_ms", 100);
    return SM_OK;
}

static json_t *dry(sm_memory_dry *d, sm_store_op op, json_t *args, sm_rc expected) {
    json_t *result = NULL;
    sm_err err = SM_ERR_INIT;
    assert_int_equal(sm_memory_dry_call(d, op, args, &result, &err), expected);
    return result;
}

static json_t *args_of(const char *who, const char *key, int now) {
    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:s, s:n}", "who", who, "key", key, "prefix", "",
                     "now_ms", now, "by", 2, "text", "9", "until_ms");
}

static void is(json_t *result, const char *text) {
    char *shown = result ? sm_json_dump(result, NULL) : strdup("nothing");
    assert_string_equal(shown, text);
    free(shown);
    json_decref(result);
}

static void a_dry_run_writes_over_what_is_kept(void **state) {
    (void)state;
    sm_memory_dry d = {.kept = kept, .owners = json_object()};
    asked = 0;
    is(dry(&d, SM_OP_MEMO_GET, args_of("i/a", "n", 50), SM_OK), "{\"text\":\"5\"}");
    is(dry(&d, SM_OP_MEMO_KEYS, args_of("i/a", "", 99), SM_OK), "[\"n\",\"old\"]");
    is(dry(&d, SM_OP_MEMO_KEYS, args_of("i/a", "", 100), SM_OK), "[\"n\"]");
    is(dry(&d, SM_OP_MEMO_INCR, args_of("i/a", "n", 100), SM_OK), "{\"value\":7}");
    is(dry(&d, SM_OP_MEMO_INCR, args_of("i/a", "old", 100), SM_OK), "{\"value\":2}");
    is(dry(&d, SM_OP_MEMO_DELETE, args_of("i/a", "n", 100), SM_OK), "{\"removed\":true}");
    is(dry(&d, SM_OP_MEMO_DELETE, args_of("i/a", "n", 100), SM_OK), "{\"removed\":false}");
    is(dry(&d, SM_OP_MEMO_GET, args_of("i/a", "n", 100), SM_OK), "nothing");
    is(dry(&d, SM_OP_MEMO_PUT, args_of("i/a", "n", 100), SM_OK), "nothing");
    is(dry(&d, SM_OP_MEMO_GET, args_of("i/a", "n", 100), SM_OK), "{\"text\":\"9\"}");
    is(dry(&d, SM_OP_MEMO_GET, args_of("i/b", "n", 100), SM_OK), "nothing");
    assert_int_equal(asked, 2); /* once an owner */
    is(dry(&d, SM_OP_MEMO_GET, args_of("i/broken", "n", 100), SM_IO), "nothing");
    char key[16];
    for (int i = 0; i < SM_MEMO_KEYS_MAX; i++) {
        snprintf(key, sizeof key, "k%d", i);
        is(dry(&d, SM_OP_MEMO_PUT, args_of("s/x", key, 1), SM_OK), "nothing");
    }
    is(dry(&d, SM_OP_MEMO_PUT, args_of("s/x", "more", 1), SM_LIMIT), "nothing");
    is(dry(&d, SM_OP_MEMO_PUT, args_of("s/x", "k7", 1), SM_OK), "nothing");
    json_decref(d.owners);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_believed, setup, teardown),
        cmocka_unit_test(a_dry_run_writes_over_what_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
