/* What budgets, mutes and windows hold back, and how it is told in the end: through the store. */
#include "store_help.h"

typedef struct world {
    place at;
    sm_store *s;
    const char *policy;
    int64_t now_s;
    int runs, events;
    const char *id; /* NULL: a.run */
} world;

static int setup(void **state) {
    world *w = sm_calloc(1, sizeof *w);
    place_make(&w->at);
    w->s = open_plain(w->at.path);
    w->now_s = 1000;
    *state = w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    sm_store_close(w->s);
    expect_intact(w->at.path);
    place_drop(&w->at);
    free(w);
    return 0;
}

static json_t *head(const world *w) {
    char run[24];
    snprintf(run, sizeof run, "r%d", w->runs);
    json_t *o = report_of(w->id ? w->id : "a.run", json_array());
    json_object_set_new(o, "run", json_string(run));
    if (w->policy)
        json_object_set_new(o, "policy", parse(w->policy));
    return o;
}

static void say(world *w, const char *dimension, const char *status, const char *hold) {
    char id[24];
    snprintf(id, sizeof id, "event-%d", w->events++);
    json_t *event = one_event(id, w->now_s * 1000000000LL, dimension, "m");
    json_object_set_new(event, "status", json_string(status));
    json_t *args = head(w);
    json_object_set_new(args, "events", json_pack("[o]", event));
    if (hold)
        json_object_set_new(args, "hold", json_string(hold));
    json_decref(call_json(w->s, SM_OP_EVENTS_ACCEPT, args));
}

static void end_run(world *w, const char *outcome) {
    json_t *args = head(w);
    json_object_del(args, "events");
    json_object_set_new(args, "trigger", json_string("schedule"));
    json_object_set_new(args, "outcome", json_string(outcome));
    json_object_set_new(args, "finished_ns", json_integer(w->now_s * 1000000000LL));
    json_decref(call_json(w->s, SM_OP_RUN_FINISH, args));
    w->runs++;
    w->now_s += 60;
}

/* Delivers all; what went out as "status dimension;", a digest as "digest N". malloc'd. */
static void expect_out(world *w, const char *want) {
    char got[2000] = "";
    for (;;) {
        json_t *rows = call_json(w->s, SM_OP_OUTBOX_CLAIM,
                                 json_pack("{s:I}", "now_ms", (json_int_t)(w->now_s * 1000)));
        size_t i, n = json_array_size(rows);
        json_t *row;
        json_array_foreach(rows, i, row) {
            const json_t *event = json_object_get(json_object_get(row, "payload"), "event");
            const char *digest =
                sm_json_str(json_object_get(event, "dimension_tags"), "selfmon_digest", NULL);
            size_t at = strlen(got);
            snprintf(got + at, sizeof got - at, "%s %s;", sm_json_str(event, "status", "?"),
                     digest ? sm_json_str(event, "title", "?")
                            : sm_json_str(event, "dimension", "?"));
            json_decref(call_json(
                w->s, SM_OP_OUTBOX_DONE,
                json_pack("{s:[O],s:i}", "ids", json_object_get(row, "event_id"), "at_ns", 1)));
        }
        json_decref(rows);
        if (n == 0)
            break;
    }
    assert_string_equal(got, want);
}

static void made(world *w, const char *holding, int want, int held) {
    json_t *args = json_pack("{s:I, s:o}", "now_ns", (json_int_t)(w->now_s * 1000000000LL),
                             "holding", parse(holding));
    json_t *answer = call_json(w->s, SM_OP_RECONCILE, args);
    assert_int_equal(sm_json_int(answer, "made", -1), want);
    assert_int_equal(sm_json_int(answer, "held", -1), held);
    json_decref(answer);
}

static void too_many_dimensions_become_a_digest(void **state) {
    world *w = *state;
    w->policy = "{'recover': true, 'on_change': true, 'max_dimensions': 2}";
    static const char *const names[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++)
        say(w, names[i], i == 3 ? "critical" : "warning", NULL);
    end_run(w, "ok");
    expect_out(w, "warning a;warning b;critical 2 more: Title;");
    /* The same again is no news. */
    for (int i = 0; i < 4; i++)
        say(w, names[i], i == 3 ? "critical" : "warning", NULL);
    end_run(w, "ok");
    expect_out(w, "");
    /* One ends: the next takes its place, one by one. */
    for (int i = 1; i < 4; i++)
        say(w, names[i], i == 3 ? "critical" : "warning", NULL);
    end_run(w, "ok");
    expect_out(w, "ok a;");
    for (int i = 1; i < 4; i++)
        say(w, names[i], i == 3 ? "critical" : "warning", NULL);
    end_run(w, "ok");
    expect_out(w, "warning c;");
    /* All is well: recoveries for what was told, and for the digest. */
    end_run(w, "ok");
    expect_out(w, "ok b;ok c;ok 2 more: Title;");
    end_run(w, "ok");
    expect_out(w, "");
}

static void too_many_events_wait_for_the_next_window(void **state) {
    world *w = *state;
    w->policy = "{'recover': true, 'max_events': {'1': 2, 'per': '10m'}}";
    say(w, "a", "warning", NULL);
    say(w, "b", "warning", NULL);
    say(w, "c", "error", NULL);
    end_run(w, "ok");
    expect_out(w, "warning a;warning b;error 1 more: Title;");
    w->now_s += 600;
    say(w, "c", "error", NULL);
    say(w, "b", "warning", NULL);
    end_run(w, "ok");
    expect_out(w, "error c;warning b;ok a;ok 1 more: Title;");
}

static void an_incomplete_run_recovers_nothing(void **state) {
    world *w = *state;
    w->policy = "{'recover': true}";
    static const char *const ends[] = {"failed", "timeout", "limit", "crashed", "cancelled"};
    say(w, "a", "warning", NULL);
    end_run(w, "ok");
    expect_out(w, "warning a;");
    for (size_t i = 0; i < SM_ARRAY_LEN(ends); i++) {
        end_run(w, ends[i]);
        expect_out(w, "");
    }
    end_run(w, "ok");
    expect_out(w, "ok a;");
}

static void a_mute_holds_back_and_makes_up(void **state) {
    world *w = *state;
    w->policy = "{'recover': true, 'on_change': true}";
    say(w, "gone", "warning", NULL);
    end_run(w, "ok");
    expect_out(w, "warning gone;");
    json_decref(call(w->s, SM_OP_MUTE,
                     "{'id':'a.*','until_ns':9000000000000,'reason':'release','at_ns':1}"));
    /* While it is muted one ends, one begins and ends, one begins and stays. */
    say(w, "brief", "critical", NULL);
    say(w, "stays", "error", NULL);
    end_run(w, "ok");
    say(w, "stays", "error", NULL);
    end_run(w, "ok");
    expect_out(w, "");
    json_t *rows = call(w->s, SM_OP_QUERY_EVENTS, "{}");
    assert_string_equal(sm_json_str(json_array_get(rows, 1), "delivery", ""), "held_back");
    const json_t *policy = json_object_get(json_array_get(rows, 1), "policy");
    assert_string_equal(sm_json_str(policy, "rule", ""), "held");
    assert_non_null(strstr(sm_json_str(policy, "why", ""), "release"));
    json_decref(rows);
    made(w, "[]", 0, 3);
    expect(w->s, SM_OP_UNMUTE, "{'id':'a.*'}", "{'removed':1}");
    made(w, "[]", 2, 0);
    expect_out(w, "ok gone;error stays;");
    say(w, "stays", "error", NULL);
    end_run(w, "ok");
    expect_out(w, "");
}

static void a_mute_of_one_dimension_ends_by_itself(void **state) {
    world *w = *state;
    json_decref(
        call(w->s, SM_OP_MUTE,
             "{'id':'a.run','dimension':'a','until_ns':2000000000000,'reason':'x','at_ns':1}"));
    say(w, "a", "warning", NULL);
    say(w, "b", "warning", NULL);
    expect_out(w, "warning b;");
    w->now_s = 1999;
    made(w, "[]", 0, 1);
    w->now_s = 2000;
    made(w, "[]", 1, 0);
    expect_out(w, "warning a;");
    expect(w->s, SM_OP_MUTES, "{}", "[]");
}

static void a_window_holds_by_the_daemons_word(void **state) {
    world *w = *state;
    say(w, "a", "warning", "maintenance: release");
    expect_out(w, "");
    made(w, "['a.run']", 0, 1);
    expect_out(w, "");
    made(w, "[]", 1, 0);
    expect_out(w, "warning a;");
}

/* `was` keeps the association key, and with it the state. */
static void a_renamed_inspection_keeps_its_state(void **state) {
    world *w = *state;
    w->policy = "{'recover': true, 'on_change': true}";
    say(w, "a", "warning", NULL);
    end_run(w, "ok");
    expect_out(w, "warning a;");
    w->id = "moved/b.run";
    say(w, "a", "warning", NULL);
    end_run(w, "ok");
    expect_out(w, "");
    end_run(w, "ok");
    expect_out(w, "ok a;");
}

static void what_comes_twice_counts_once(void **state) {
    world *w = *state;
    w->policy = "{'on_change': true, 'confirm': {'fail': 2}}";
    say(w, "a", "warning", NULL);
    w->events--;
    say(w, "a", "warning", NULL); /* the acknowledgement was lost */
    end_run(w, "ok");
    expect_out(w, "");
    say(w, "a", "warning", NULL);
    end_run(w, "ok");
    expect_out(w, "warning a;");
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        ROW(too_many_dimensions_become_a_digest),    ROW(too_many_events_wait_for_the_next_window),
        ROW(an_incomplete_run_recovers_nothing),     ROW(a_mute_holds_back_and_makes_up),
        ROW(a_mute_of_one_dimension_ends_by_itself), ROW(a_window_holds_by_the_daemons_word),
        ROW(what_comes_twice_counts_once),           ROW(a_renamed_inspection_keeps_its_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
