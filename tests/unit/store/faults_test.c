/* Faults: which one an event belongs to, from the first problem of its dimension to the `ok`, and
 * the migration that brought them. */
#include "store_help.h"

#include "base/embedded.h"

typedef struct step {
    const char *id, *dimension, *status, *checker, *event_id;
    int at;            /* seconds; 0: no event, the store is closed and opened instead */
    const char *fault; /* expected; NULL: none */
    int start;         /* expected seconds */
} step;

static json_t *report_step(const step *p) {
    json_t *event = one_event(p->event_id, p->at * 1000000000LL, p->dimension, "m");
    json_object_set_new(event, "status", json_string(p->status));
    json_t *report = report_of(p->id, json_pack("[o]", event));
    json_object_set_new(report, "ref_key", json_string(p->id));
    json_object_set_new(report, "checker",
                        p->checker != NULL ? json_string(p->checker) : json_null());
    return report;
}

/* What the claim says of the event, which is then delivered. */
static void expect_fault(sm_store *s, const step *p) {
    json_t *rows = call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1}");
    assert_int_equal(json_array_size(rows), 1);
    const json_t *event =
        json_object_get(json_object_get(json_array_get(rows, 0), "payload"), "event");
    assert_string_equal(sm_json_str(event, "event_id", ""), p->event_id);
    const json_t *id = json_object_get(event, "fault_id");
    const json_t *start = json_object_get(event, "fault_start_ns");
    if (p->fault == NULL) {
        assert_true(json_is_null(id));
        assert_true(json_is_null(start));
    } else {
        assert_string_equal(json_string_value(id), p->fault);
        assert_int_equal(json_integer_value(start), p->start * 1000000000LL);
    }
    json_decref(rows);
    json_decref(
        call_json(s, SM_OP_OUTBOX_DONE, json_pack("{s:[s],s:i}", "ids", p->event_id, "at_ns", 1)));
}

enum { STEPS = 8 };
#define REOPEN                                                                                     \
    { .event_id = "" }

static void faults_go_from_problem_to_ok(void **state) {
    (void)state;
    static const struct {
        const char *name;
        step steps[STEPS];
        int open; /* rows of faults at the end */
    } rows[] = {
        {"open, continue whatever the severity, close",
         {{"a", "d", "info", "c1", "e1", 1, "e1", 1},
          {"a", "d", "critical", "c1", "e2", 2, "e1", 1},
          {"a", "d", "warning", "c1", "e3", 3, "e1", 1},
          {"a", "d", "ok", "c1", "e4", 4, "e1", 1}},
         0},
        {"an ok without a fault", {{"a", "d", "ok", "c1", "e1", 1, NULL, 0}}, 0},
        {"a second ok ends nothing",
         {{"a", "d", "error", "c1", "e1", 1, "e1", 1},
          {"a", "d", "ok", "c1", "e2", 2, "e1", 1},
          {"a", "d", "ok", "c1", "e3", 3, NULL, 0}},
         0},
        {"reopened: another fault",
         {{"a", "d", "error", "c1", "e1", 1, "e1", 1},
          {"a", "d", "ok", "c1", "e2", 2, "e1", 1},
          {"a", "d", "error", "c1", "e3", 3, "e3", 3},
          {"a", "d", "error", "c1", "e4", 4, "e3", 3}},
         1},
        {"dimensions and inspections are apart",
         {{"a", "d", "error", "c1", "e1", 1, "e1", 1},
          {"a", "x", "error", "c1", "e2", 2, "e2", 2},
          {"b", "d", "error", "c2", "e3", 3, "e3", 3},
          {"a", "x", "ok", "c1", "e4", 4, "e2", 2},
          {"a", "d", "error", "c1", "e5", 5, "e1", 1},
          {"b", "d", "ok", "c2", "e6", 6, "e3", 3}},
         1},
        {"continues after a restart, also its end",
         {{"a", "d", "error", "c1", "e1", 1, "e1", 1},
          REOPEN,
          {"a", "d", "error", "c1", "e2", 2, "e1", 1},
          REOPEN,
          {"a", "d", "ok", "c1", "e3", 3, "e1", 1},
          REOPEN,
          {"a", "d", "error", "c1", "e4", 4, "e4", 4}},
         1},
        {"made anew on the platform: the old fault is over",
         {{"a", "d", "error", "c1", "e1", 1, "e1", 1},
          {"a", "d", "error", "c2", "e2", 2, "e2", 2},
          {"a", "d", "ok", "c2", "e3", 3, "e2", 2}},
         0},
        {"made anew, then ok: nothing to end there",
         {{"a", "d", "error", "c1", "e1", 1, "e1", 1},
          {"a", "d", "ok", "c2", "e2", 2, NULL, 0},
          {"a", "d", "error", "c2", "e3", 3, "e3", 3}},
         1},
        {"an unknown checker is any, and is learned",
         {{"a", "d", "error", "", "e1", 1, "e1", 1},
          {"a", "d", "error", NULL, "e2", 2, "e1", 1},
          {"a", "d", "error", "c1", "e3", 3, "e1", 1},
          {"a", "d", "error", "", "e4", 4, "e1", 1},
          {"a", "d", "error", "c2", "e5", 5, "e5", 5}},
         1},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("  %s\n", rows[i].name);
        place at;
        place_make(&at);
        sm_store *s = open_plain(at.path);
        for (const step *p = rows[i].steps; p < rows[i].steps + STEPS && p->event_id != NULL; p++) {
            if (p->at == 0) {
                sm_store_close(s);
                s = open_plain(at.path);
                continue;
            }
            json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_step(p)));
            expect_fault(s, p);
        }
        sm_store_close(s);
        assert_int_equal(peek(at.path, "SELECT count(*) FROM dims WHERE fault_id IS NOT NULL"),
                         rows[i].open);
        place_drop(&at);
    }
}

/* The acknowledgement was lost, the report comes again: later states are not disturbed. */
static void a_repeated_accept_moves_no_fault(void **state) {
    (void)state;
    static const step bad = {"a", "d", "error", "c1", "e1", 1, "e1", 1},
                      good = {"a", "d", "ok", "c1", "e2", 2, "e1", 1},
                      again = {"a", "d", "error", "c1", "e3", 3, "e3", 3},
                      last = {"a", "d", "error", "c1", "e4", 4, "e3", 3};
    place at;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_step(&bad)));
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_step(&bad)));
    expect_fault(s, &bad);
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_step(&good)));
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_step(&bad))); /* opens nothing */
    expect_fault(s, &good);
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_step(&again)));
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_step(&good))); /* closes nothing */
    expect_fault(s, &again);
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_step(&last)));
    expect_fault(s, &last);
    sm_store_close(s);
    place_drop(&at);
}

/* A report that is refused takes its faults with it. */
static void a_refused_report_opens_no_fault(void **state) {
    (void)state;
    static const step next = {"a", "d", "error", "c1", "e9", 9, "e9", 9};
    place at;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    json_t *events = json_pack("[o,{s:s}]", one_event("e1", 1, "d", "m"), "event_id", "e2");
    expect_fail(s, SM_OP_EVENTS_ACCEPT, report_of("a", events), SM_INVALID, "events[2]: status");
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_step(&next)));
    expect_fault(s, &next);
    sm_store_close(s);
    place_drop(&at);
}

static void one_report_holds_a_whole_story(void **state) {
    (void)state;
    static const char *const status[] = {"ok", "warning", "critical", "ok", "error"};
    static const char *const fault[] = {NULL, "e1", "e1", "e1", "e4"};
    place at;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    json_t *events = json_array();
    for (int i = 0; i < (int)SM_ARRAY_LEN(status); i++) {
        char id[8];
        snprintf(id, sizeof id, "e%d", i);
        json_t *event = one_event(id, 7, "d", "m");
        json_object_set_new(event, "status", json_string(status[i]));
        json_array_append_new(events, event);
    }
    json_t *report = report_of("a", events);
    json_object_set_new(report, "exec_mode", json_string("manual"));
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report));
    json_t *rows = call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1}");
    assert_int_equal(json_array_size(rows), SM_ARRAY_LEN(status));
    for (size_t i = 0; i < SM_ARRAY_LEN(status); i++) {
        const json_t *payload = json_object_get(json_array_get(rows, i), "payload");
        assert_string_equal(sm_json_str(payload, "exec_mode", ""), "manual");
        const char *got = sm_json_str(json_object_get(payload, "event"), "fault_id", NULL);
        assert_string_equal(got != NULL ? got : "none", fault[i] != NULL ? fault[i] : "none");
    }
    json_decref(rows);
    sm_store_close(s);
    place_drop(&at);
}

/* ---- the migration ---- */

/* A database as the first schema left it, with one delivered and one waiting event. */
static void make_first_schema(const char *path) {
    assert_string_equal(sm_embedded_sql[0].name, "001_init.sql");
    poke(path, "PRAGMA journal_mode = WAL");
    char *sql = sm_asprintf(
        "BEGIN; %s; PRAGMA user_version = 1;"
        "INSERT INTO events (seq, event_id, id, at_ns, run, attempt, ref_key, account, node, "
        "checker, checker_title, status, title, dimension, dimension_tags, message) VALUES "
        "(1, 'e1', 'a', 1000000000, 'r', 1, 'k', 'default', 'local', 'c1', 'T', 'error', 't', 'd', "
        "'{\"d\":\"d\"}', 'm'), (2, 'e2', 'a', 2000000000, 'r', 1, 'k', 'default', 'local', 'c1', "
        "'T', 'error', 't', 'd', '{\"d\":\"d\"}', 'm');"
        "INSERT INTO outbox (seq, account, id, dim, state, head, bytes) VALUES "
        "(2, 'default', 'a', 5, 'pending', 1, 10);"
        "INSERT INTO attempts VALUES (1, 1, 1, 'delivered', 'x');"
        "INSERT INTO slots (id, slot, trigger, planned_ns, outcome, run) VALUES "
        "('a', 60, 'schedule', 1, 'skipped', 'r9'), ('a', 120, 'schedule', 1, 'missed', NULL), "
        "('a', 180, 'schedule', 1, 'planned', NULL), ('a', 30, 'schedule', 1, 'ok', 'r8');"
        "INSERT INTO runs (run, attempt, id, slot, trigger, started_ns, outcome) VALUES "
        "('r8', 1, 'a', 30, 'schedule', 1, 'ok'), ('r9', 1, 'a', 60, 'schedule', 1, 'skipped');"
        "INSERT INTO run_logs VALUES (1, 'x'), (2, 'y');"
        "INSERT INTO kv VALUES ('k', 'v'); COMMIT",
        sm_embedded_sql[0].begin);
    poke(path, sql);
    free(sql);
}

static void the_first_schema_is_brought_up_to_date(void **state) {
    (void)state;
    static const step next = {"a", "d", "error", "c1", "e3", 3, "e3", 3};
    place at;
    place_make(&at);
    make_first_schema(at.path);
    sm_store_options reader = {.path = at.path, .read_only = true};
    sm_store *s;
    sm_err err = SM_ERR_INIT;
    assert_int_equal(sm_store_open(&reader, &s, &err), SM_INVALID);
    assert_non_null(strstr(err.msg, "made by an older version"));
    assert_int_equal(peek(at.path, "PRAGMA user_version"), 1);
    s = open_plain(at.path);
    expect_newest_schema(s);
    expect(s, SM_OP_SLOT_LAST, NULL,
           "{'a':{'slot':180,'outcome':'planned','done':120,'open':180}}");
    json_t *gaps = call(s, SM_OP_QUERY_RUNS, "{'gaps':true}");
    assert_int_equal(json_array_size(gaps), 2);
    json_decref(gaps);
    gaps = call(s, SM_OP_QUERY_RUNS, "{}");
    assert_int_equal(json_array_size(gaps), 1);
    json_decref(gaps);
    expect(s, SM_OP_KV_GET, "{'key':'k'}", "'v'");
    json_t *rows = call(s, SM_OP_QUERY_EVENTS, "{}");
    assert_int_equal(json_array_size(rows), 2);
    assert_string_equal(sm_json_str(json_array_get(rows, 0), "delivery", ""), "delivered");
    assert_string_equal(sm_json_str(json_array_get(rows, 1), "delivery", ""), "pending");
    json_decref(rows);
    expect(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1}",
           "[{'event_id':'e2','attempt':0,'payload':{'run':'r','id':'a','ref_key':'k',"
           "'account':'default','node':'local','checker':'c1','title':'T','attempt':1,"
           "'exec_mode':null,'event':{'event_id':'e2','at_ns':2000000000,'title':'t',"
           "'message':'m','status':'error','dimension_tags':{'d':'d'},'dimension':'d',"
           "'fault_id':null,'fault_start_ns':null}}}]");
    json_decref(call(s, SM_OP_OUTBOX_DONE, "{'ids':['e2'],'at_ns':1}"));
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_step(&next)));
    expect_fault(s, &next);
    sm_store_close(s);
    expect_intact(at.path);
    assert_int_equal(place_files(at.dir, "corrupt", false), 0);
    place_drop(&at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_go_from_problem_to_ok),
        cmocka_unit_test(a_repeated_accept_moves_no_fault),
        cmocka_unit_test(a_refused_report_opens_no_fault),
        cmocka_unit_test(one_report_holds_a_whole_story),
        cmocka_unit_test(the_first_schema_is_brought_up_to_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
