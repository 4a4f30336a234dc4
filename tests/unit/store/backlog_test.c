/* A great outbox: what retention leaves, how fast a start and the numbers are, fairness and order.
 * 100,000 events; SELFMON_LONG=1 makes it a million. */
#include "store_help.h"

#include "base/clock.h"

enum { REPORT = 500, LANES = 50, DAY_OLD = 1000 };

static int64_t total(void) {
    return getenv("SELFMON_LONG") ? 1000000 : 100000;
}

/* Events of inspection `lane`, each of its own dimension of 1,000; the first inspection has most.
 */
static void fill(sm_store *s, int64_t from) {
    char id[32];
    int64_t report = from / REPORT;
    snprintf(id, sizeof id, "lane/i%02d.run", report % 4 ? 0 : (int)(report / 4 % LANES));
    json_t *events = json_array();
    for (int64_t i = from; i < from + REPORT; i++) {
        char event_id[32], dimension[16];
        snprintf(event_id, sizeof event_id, "e%09lld", (long long)i);
        snprintf(dimension, sizeof dimension, "d%d", (int)(i % 1000));
        json_array_append_new(events, one_event(event_id, DAY_OLD, dimension, "error"));
    }
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_of(id, events)));
}

static json_t *claim(sm_store *s) {
    return call_json(s, SM_OP_OUTBOX_CLAIM, json_pack("{s:i, s:i}", "now_ms", 1, "limit", 100));
}

static json_t *ids_of(const json_t *rows) {
    json_t *ids = json_array(), *row;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)rows, i, row)
        json_array_append(ids, json_object_get(row, "event_id"));
    return ids;
}

static int64_t number(sm_store *s, const char *state) {
    json_t *stats = call(s, SM_OP_OUTBOX_STATS, NULL);
    int64_t n = sm_json_int(stats, state, -1);
    json_decref(stats);
    return n;
}

static double seconds_of(sm_store *s, sm_store_op op) {
    int64_t begin = sm_mono_ns();
    json_decref(call_json(s, op, json_object()));
    return (double)(sm_mono_ns() - begin) / 1e9;
}

static void a_great_outbox(void **state) {
    (void)state;
    static const sm_store_op ends[] = {SM_OP_OUTBOX_DONE, SM_OP_OUTBOX_RETRY, SM_OP_OUTBOX_HOLD,
                                       SM_OP_OUTBOX_REFUSE};
    place at;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    const int64_t n = total();
    for (int64_t i = 0; i < n; i += REPORT)
        fill(s, i);
    /* A batch of each kind in turn: 4,000 delivered, put back, held, refused each. */
    for (int i = 0; i < 160; i++) {
        json_t *rows = claim(s);
        assert_int_equal(json_array_size(rows), 100);
        json_decref(call_json(s, ends[i % 4],
                              json_pack("{s:o, s:i, s:I, s:s}", "ids", ids_of(rows), "at_ns", 1,
                                        "next_ms", (json_int_t)3000000, "reason", "so it is")));
        json_decref(rows);
    }
    for (int64_t gone = 1; gone > 0;) {
        json_t *pruned =
            call(s, SM_OP_PRUNE, "{'runs_before_ns':9000000000,'events_before_ns':9000000000}");
        gone = sm_json_int(pruned, "events", -1);
        json_decref(pruned);
    }
    assert_int_equal(number(s, "pending"), n - 12000);
    assert_int_equal(number(s, "held"), 4000);
    assert_int_equal(number(s, "refused"), 4000);
    sm_store_close(s);
    assert_int_equal(peek(at.path, "SELECT count(*) FROM outbox"), n - 4000);
    assert_int_equal(peek(at.path, "SELECT count(*) FROM events"), n - 4000);

    int64_t begin = sm_mono_ns();
    s = open_plain(at.path);
    double opened = (double)(sm_mono_ns() - begin) / 1e9;
    double numbers = seconds_of(s, SM_OP_OUTBOX_STATS) + seconds_of(s, SM_OP_OUTBOX_ACCOUNTS);
    double list = seconds_of(s, SM_OP_OUTBOX_LIST);
    print_message("  %lld events: open %.2f s, numbers %.1f ms, list %.1f ms\n", (long long)n,
                  opened, numbers * 1000, list * 1000);
    assert_true(opened < 50 && numbers < 1 && list < 5);
    assert_int_equal(number(s, "pending"), n - 12000);
    /* What was put back is due at once after a start; every inspection has its turn. */
    json_t *rows = claim(s), *row, *seen = json_object();
    size_t i;
    json_array_foreach(rows, i, row) {
        const char *id = sm_json_str(json_object_get(row, "payload"), "id", "");
        const char *event_id = sm_json_str(row, "event_id", "");
        const char *before = sm_json_str(seen, id, "");
        assert_true(strcmp(before, event_id) < 0); /* oldest first */
        json_object_set_new(seen, id, json_string(event_id));
    }
    assert_true(json_object_size(seen) >= 10);
    json_decref(seen);
    json_decref(rows);
    sm_store_close(s);
    expect_intact(at.path);
    place_drop(&at);
}

/* The numbers in memory are those of the rows, also after a group that was rolled back. */
static void numbers_follow_a_rollback(void **state) {
    (void)state;
    place at;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_one("a.run", "e1", "d")));
    json_t *half = parse("[{'event_id':'e2','at_ns':1,'title':'t','message':'m','status':'error',"
                         "'dimension_tags':{},'dimension':'x'},{'event_id':5}]");
    expect_fail(s, SM_OP_EVENTS_ACCEPT, report_of("b.run", half), SM_INVALID, "");
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_one("c.run", "e3", "d")));
    json_t *told = call(s, SM_OP_OUTBOX_LIST, NULL), *lane;
    const json_t *lanes = json_object_get(told, "inspections");
    size_t i;
    assert_int_equal(json_array_size(lanes), 2);
    json_array_foreach((json_t *)(uintptr_t)lanes, i, lane) {
        assert_string_not_equal(sm_json_str(lane, "id", ""), "b.run");
        assert_int_equal(sm_json_int(lane, "pending", -1), 1);
    }
    json_decref(told);
    sm_store_close(s);
    place_drop(&at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_great_outbox),
        cmocka_unit_test(numbers_follow_a_rollback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
