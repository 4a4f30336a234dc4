/* Which inspections do not run: the first fault is reported, the last one's end is, nothing else;
 * across a restart and a rename; and nothing is half done when the event does not fit. */
#include "store_help.h"

static json_t *step(const char *id, const char *kind, const char *what, const char *event_id) {
    json_t *event = json_pack("{s:s,s:I,s:s,s:s,s:s,s:{s:s},s:s}", "event_id", event_id, "at_ns",
                              (json_int_t)1000000000, "title", "T", "message", "m", "status",
                              what ? "error" : "ok", "dimension_tags", "selfmon_function", "a.run",
                              "dimension", "dim");
    return json_pack("{s:s, s:s, s:s?, s:{s:s, s:I}, s:o}", "id", id, "kind", kind, "what", what,
                     "about", "ref_key", "k1", "since_ns", (json_int_t)7, "report",
                     report_of(id, json_pack("[o]", event)));
}

static bool accepted(sm_store *s, const char *id, const char *kind, const char *what,
                     const char *event_id) {
    json_t *got = call_json(s, SM_OP_FAILURE, step(id, kind, what, event_id));
    bool yes = sm_json_bool(got, "accepted", false);
    json_decref(got);
    return yes;
}

static void once_and_healed(void **state) {
    (void)state;
    place p;
    place_make(&p);
    sm_store *s = open_plain(p.path);
    assert_false(accepted(s, "a.run", "run", NULL, "e0"));
    assert_true(accepted(s, "a.run", "run", "failed", "e1"));
    assert_false(accepted(s, "a.run", "run", "timeout", "e2"));
    assert_false(accepted(s, "a.run", "load", "x.lua:1", "e3"));
    assert_false(accepted(s, "a.run", "run", NULL, "e4"));
    sm_store_close(s);
    s = open_plain(p.path);
    assert_false(accepted(s, "a.run", "load", "x.lua:1", "e5"));
    expect(s, SM_OP_KV_LIST, "{'prefix':'failure:'}",
           "{'failure:a.run':{'ref_key':'k1','since_ns':7,'load':'x.lua:1'}}");
    assert_true(accepted(s, "a.run", "load", NULL, "e6"));
    expect(s, SM_OP_KV_LIST, "{'prefix':'failure:'}", "{}");
    sm_store_close(s);
    assert_int_equal(peek(p.path, "SELECT count(*) FROM events"), 2);
    assert_int_equal(peek(p.path, "SELECT count(*) FROM outbox"), 2);
    assert_int_equal(peek(p.path, "SELECT count(*) FROM dims WHERE fault_id IS NOT NULL"), 0);
    assert_int_equal(peek(p.path, "SELECT count(DISTINCT fault_id) FROM events"), 1);
    place_drop(&p);
}

static void renamed(void **state) {
    (void)state;
    place p;
    place_make(&p);
    sm_store *s = open_plain(p.path);
    assert_true(accepted(s, "a.run", "run", "failed", "e1"));
    expect(s, SM_OP_FAILURE_MOVE, "{'from':'a.run','to':'b.run'}", "null");
    assert_false(accepted(s, "b.run", "run", "failed", "e2"));
    assert_true(accepted(s, "b.run", "run", NULL, "e3"));
    sm_store_close(s);
    assert_int_equal(peek(p.path, "SELECT count(*) FROM events WHERE fault_id = 'e1'"), 2);
    assert_int_equal(peek(p.path, "SELECT count(*) FROM kv WHERE key LIKE 'failure:%'"), 0);
    place_drop(&p);
}

/* The event finds no room: it is not remembered as told either. */
static void all_or_nothing(void **state) {
    (void)state;
    place p;
    place_make(&p);
    sm_store_options opt = {.path = p.path, .outbox_bytes = 10};
    sm_store *s = open_with(&opt);
    expect_fail(s, SM_OP_FAILURE, step("a.run", "run", "failed", "e1"), SM_FULL, "outbox is full");
    expect(s, SM_OP_KV_LIST, "{'prefix':'failure:'}", "{}");
    sm_store_close(s);
    s = open_plain(p.path);
    assert_true(accepted(s, "a.run", "run", "failed", "e1"));
    sm_store_close(s);
    place_drop(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(once_and_healed),
        cmocka_unit_test(renamed),
        cmocka_unit_test(all_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
