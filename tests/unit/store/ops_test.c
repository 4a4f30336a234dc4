/* The contract of store.h, operation by operation, on an empty store each. */
#include "store_help.h"
#include "base/str.h"

typedef struct fixture {
    place at;
    sm_store *s;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    place_make(&f->at);
    f->s = open_plain(f->at.path);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    sm_store_close(f->s);
    place_drop(&f->at);
    free(f);
    return 0;
}

static void ping_tells_the_schema(void **state) {
    expect_newest_schema(((fixture *)*state)->s);
}

/* Every operation that needs arguments refuses to do without, and changes nothing. */
static void missing_arguments_are_named(void **state) {
    static const struct {
        const char *name;
        sm_store_op op;
        const char *args, *part;
    } rows[] = {
        {"accept without run", SM_OP_EVENTS_ACCEPT, "{}", "events_accept: run: expected a text"},
        {"accept without events", SM_OP_EVENTS_ACCEPT, "{'run':'r','id':'i','account':'a'}",
         "events: expected an array, got nothing"},
        {"accept of a number", SM_OP_EVENTS_ACCEPT,
         "{'run':'r','id':'i','account':'a','events':[7]}", "events[1]: event_id: expected a text"},
        {"claim without time", SM_OP_OUTBOX_CLAIM, "{}", "now_ms"},
        {"done without ids", SM_OP_OUTBOX_DONE, "{'at_ns':1}", "ids: expected an array"},
        {"done with a number", SM_OP_OUTBOX_DONE, "{'at_ns':1,'ids':[1]}", "ids[1]"},
        {"retry without time", SM_OP_OUTBOX_RETRY, "{'at_ns':1,'ids':[]}", "next_ms"},
        {"hold without time", SM_OP_OUTBOX_HOLD, "{'at_ns':1,'ids':[]}", "next_ms"},
        {"refuse without at", SM_OP_OUTBOX_REFUSE, "{'ids':[]}", "at_ns"},
        {"slot without id", SM_OP_SLOT_PLAN, "{}", "slot_plan: id"},
        {"gap without outcome", SM_OP_SLOT_GAP, "{'id':'a'}", "outcome"},
        {"gap without an end", SM_OP_SLOT_GAP, "{'id':'a','outcome':'missed','from':1}", "to"},
        {"empty gap", SM_OP_SLOT_GAP,
         "{'id':'a','outcome':'missed','from':2,'to':1,'count':1,'at_ns':1}", "not empty"},
        {"unplan without id", SM_OP_SLOT_UNPLAN, "{}", "id"},
        {"reopen without now", SM_OP_SLOT_REOPEN, "{}", "now"},
        {"run without id", SM_OP_RUN_START, "{'run':'r'}", "id"},
        {"run end without time", SM_OP_RUN_FINISH,
         "{'run':'r','id':'i','trigger':'once','outcome':'ok'}", "finished_ns"},
        {"recover without reason", SM_OP_RUNS_RECOVER, "{'at_ns':1}", "reason"},
        {"registry without node", SM_OP_REGISTRY_PUT, "{}", "node"},
        {"registry delete", SM_OP_REGISTRY_DELETE, "{'node':'n'}", "account"},
        {"texts without text", SM_OP_TEXTS_PUT, "{'file':'f','hash':'h'}", "text"},
        {"texts delete", SM_OP_TEXTS_DELETE, "{}", "file"},
        {"kv put", SM_OP_KV_PUT, "{}", "key"},
        {"kv get", SM_OP_KV_GET, "{'key':1}", "key: expected a text, got an integer"},
        {"kv list", SM_OP_KV_LIST, "{}", "prefix: expected a text, got nothing"},
        {"memo get", SM_OP_MEMO_GET, "{}", "who: expected a text"},
        {"memo put", SM_OP_MEMO_PUT, "{'who':'i/a','key':'k','now_ms':1}", "text"},
        {"memo put without time", SM_OP_MEMO_PUT, "{'who':'i/a','key':'k','text':'1'}", "now_ms"},
        {"memo incr", SM_OP_MEMO_INCR, "{'who':'i/a','key':'k','by':'1','now_ms':1}",
         "by: expected a number"},
        {"memo keys", SM_OP_MEMO_KEYS, "{'who':'i/a','now_ms':1}", "prefix"},
        {"memo dump", SM_OP_MEMO_DUMP, "{'who':'i/a'}", "now_ms"},
        {"local create", SM_OP_LOCAL_CREATE, "{}", "payload: expected an object"},
        {"local create without key", SM_OP_LOCAL_CREATE, "{'payload':{},'at_ns':1}", "refKey"},
        {"local status", SM_OP_LOCAL_STATUS, "{'ref_key':'k','at_ns':1}", "status"},
        {"local status 7", SM_OP_LOCAL_STATUS, "{'ref_key':'k','at_ns':1,'status':7}",
         "expected 0 (enabled) or 2 (disabled), got 7"},
        {"local params", SM_OP_LOCAL_PARAMS, "{'ref_key':'k','at_ns':1}", "set"},
        {"local delete", SM_OP_LOCAL_DELETE, "{}", "ref_key"},
        {"local events", SM_OP_LOCAL_EVENTS_PUT, "{'at_ns':1,'events':[{}]}", "events[1].event_id"},
        {"prune", SM_OP_PRUNE, "{}", "runs_before_ns"},
    };
    fixture *f = *state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("  %s\n", rows[i].name);
        expect_fail(f->s, rows[i].op, parse(rows[i].args), SM_INVALID, rows[i].part);
    }
    expect_fail(f->s, SM_OP_COUNT_, NULL, SM_INTERNAL, "no operation");
    json_t *rows_left = call(f->s, SM_OP_QUERY_EVENTS, "{}");
    assert_int_equal(json_array_size(rows_left), 0);
    json_decref(rows_left);
}

static json_t *full_report(const char *id, int from, int to) {
    json_t *events = json_array();
    for (int i = from; i <= to; i++) {
        char name[16];
        snprintf(name, sizeof name, "e%d", i);
        json_array_append_new(events, one_event(name, i * 1000000000LL, "d", "m"));
    }
    return report_of(id, events);
}

static void accepted_events_are_read_back(void **state) {
    fixture *f = *state;
    json_decref(call_json(f->s, SM_OP_EVENTS_ACCEPT, full_report("demo/a.run", 1, 2)));
    json_decref(call_json(f->s, SM_OP_EVENTS_ACCEPT, full_report("demo/b.run", 3, 3)));
    expect(f->s, SM_OP_QUERY_EVENTS, "{'limit':1}",
           "[{'event_id':'e3','id':'demo/b.run','run':'r1','at':'1970-01-01T00:00:03.000Z',"
           "'status':'warning','title':'T','message':'m','dimension_tags':{'d':'d'},"
           "'account':'default','node':'local','delivery':'pending','attempts':0,"
           "'reason':null,'policy':null}]");
    static const struct {
        const char *name, *args, *ids;
    } rows[] = {
        {"all, oldest first", "{}", "e1 e2 e3 "},
        {"newest two, oldest first", "{'limit':2}", "e2 e3 "},
        {"by id", "{'id':'demo/a.run'}", "e1 e2 "},
        {"by glob", "{'id':'demo/*'}", "e1 e2 e3 "},
        {"star does not cross /", "{'id':'*'}", ""},
        {"two stars do", "{'id':'**'}", "e1 e2 e3 "},
        {"since", "{'since_ns':2000000000}", "e2 e3 "},
        {"since and id", "{'since_ns':2000000000,'id':'demo/a.run'}", "e2 "},
        {"status", "{'status':'warning','limit':1}", "e3 "},
        {"other status", "{'status':'ok'}", ""},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("  %s\n", rows[i].name);
        json_t *got = call(f->s, SM_OP_QUERY_EVENTS, rows[i].args);
        char ids[64] = "";
        for (size_t k = 0; k < json_array_size(got); k++) {
            strcat(ids, sm_json_str(json_array_get(got, k), "event_id", "?"));
            strcat(ids, " ");
        }
        json_decref(got);
        assert_string_equal(ids, rows[i].ids);
    }
}

static void an_id_is_accepted_once(void **state) {
    fixture *f = *state;
    json_decref(call_json(f->s, SM_OP_EVENTS_ACCEPT, full_report("a.run", 1, 2)));
    json_decref(call_json(f->s, SM_OP_EVENTS_ACCEPT, full_report("a.run", 1, 3)));
    json_t *stats = call(f->s, SM_OP_OUTBOX_STATS, NULL);
    assert_int_equal(sm_json_int(stats, "pending", -1), 3);
    json_decref(stats);
    json_decref(call(f->s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1}"));
    json_decref(call(f->s, SM_OP_OUTBOX_DONE, "{'ids':['e1','e2','e3'],'at_ns':1,'answer':'x'}"));
    json_decref(call_json(f->s, SM_OP_EVENTS_ACCEPT, full_report("a.run", 1, 3)));
    expect(f->s, SM_OP_OUTBOX_STATS, NULL,
           "{'pending':0,'inflight':0,'held':0,'refused':0,'bytes':0,'oldest_ns':null,"
           "'next_ms':null}");
}

static void a_bad_event_refuses_the_whole_report(void **state) {
    fixture *f = *state;
    json_t *events = json_array();
    json_array_append_new(events, one_event("e1", 1, "d", "m"));
    json_array_append_new(events, json_pack("{s:s}", "event_id", "e2"));
    expect_fail(f->s, SM_OP_EVENTS_ACCEPT, report_of("a.run", events), SM_INVALID,
                "events[2]: status");
    expect(f->s, SM_OP_QUERY_EVENTS, "{}", "[]");
    expect(f->s, SM_OP_OUTBOX_STATS, NULL,
           "{'pending':0,'inflight':0,'held':0,'refused':0,'bytes':0,'oldest_ns':null,"
           "'next_ms':null}");
}

static void a_claim_carries_everything(void **state) {
    fixture *f = *state;
    json_t *report = report_of("a.run", json_pack("[o]", one_event("e1", 5, "d", "m\n\"ü")));
    json_object_set_new(report, "checker", json_null());
    json_object_set_new(report, "node", json_pack("{s:s}", "openapi", "https://x"));
    json_decref(call_json(f->s, SM_OP_EVENTS_ACCEPT, report));
    expect(f->s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1,'limit':10,'bytes':1000}",
           "[{'event_id':'e1','attempt':0,'payload':{'run':'r1','id':'a.run','ref_key':'k1',"
           "'account':'default','node':{'openapi':'https://x'},'checker':null,'title':'Title',"
           "'attempt':1,'exec_mode':null,'event':{'event_id':'e1','at_ns':5,'title':'T','message':'"
           "m\\n\\\"ü',"
           "'status':'warning','dimension_tags':{'d':'d'},'dimension':'d',"
           "'fault_id':'e1','fault_start_ns':5}}}]");
    expect(f->s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1}", "[]");
}

static void answers_move_a_row(void **state) {
    fixture *f = *state;
    json_decref(call_json(f->s, SM_OP_EVENTS_ACCEPT, full_report("a.run", 1, 1)));
    json_decref(call(f->s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1}"));
    expect(f->s, SM_OP_OUTBOX_RETRY, "{'ids':['e1'],'next_ms':500,'reason':'503','at_ns':1}",
           "null");
    expect(f->s, SM_OP_OUTBOX_STATS, NULL,
           "{'pending':1,'inflight':0,'held':0,'refused':0,'bytes':43,'oldest_ns':1000000000,"
           "'next_ms':500}");
    expect(f->s, SM_OP_OUTBOX_CLAIM, "{'now_ms':499}", "[]");
    json_t *got = call(f->s, SM_OP_OUTBOX_CLAIM, "{'now_ms':500}");
    assert_int_equal(sm_json_int(json_array_get(got, 0), "attempt", -1), 1);
    json_decref(got);
    expect(f->s, SM_OP_OUTBOX_HOLD, "{'ids':['e1'],'next_ms':900,'reason':'401','at_ns':2}",
           "null");
    expect(f->s, SM_OP_OUTBOX_STATS, NULL,
           "{'pending':0,'inflight':0,'held':1,'refused':0,'bytes':43,'oldest_ns':1000000000,"
           "'next_ms':900}");
    got = call(f->s, SM_OP_OUTBOX_CLAIM, "{'now_ms':900}");
    assert_int_equal(sm_json_int(json_array_get(got, 0), "attempt", -1), 1);
    json_decref(got);
    expect(f->s, SM_OP_OUTBOX_REFUSE, "{'ids':['e1'],'reason':'poison','at_ns':3}",
           "{'withdrawn':[]}");
    expect(f->s, SM_OP_OUTBOX_STATS, NULL,
           "{'pending':0,'inflight':0,'held':0,'refused':1,'bytes':0,'oldest_ns':null,"
           "'next_ms':null}");
    got = call(f->s, SM_OP_QUERY_EVENTS, "{}");
    assert_string_equal(sm_json_str(json_array_get(got, 0), "delivery", ""), "refused");
    assert_string_equal(sm_json_str(json_array_get(got, 0), "reason", ""), "poison");
    assert_int_equal(sm_json_int(json_array_get(got, 0), "attempts", 0), 3);
    json_decref(got);
    /* Sent again by hand, and taken. */
    expect(f->s, SM_OP_OUTBOX_RETRY, "{'ids':['e1'],'next_ms':0,'reason':'by hand','at_ns':4}",
           "null");
    got = call(f->s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1}");
    assert_int_equal(json_array_size(got), 1);
    json_decref(got);
    expect(f->s, SM_OP_OUTBOX_DONE, "{'ids':['e1','nobody'],'at_ns':5,'answer':{'a':1}}",
           "{'done':1}");
    expect(f->s, SM_OP_OUTBOX_DONE, "{'ids':['e1'],'at_ns':5}", "{'done':0}");
    got = call(f->s, SM_OP_QUERY_EVENTS, "{}");
    assert_string_equal(sm_json_str(json_array_get(got, 0), "delivery", ""), "delivered");
    assert_int_equal(sm_json_int(json_array_get(got, 0), "attempts", 0), 5);
    json_decref(got);
    sm_store_close(f->s);
    assert_int_equal(peek(f->at.path, "SELECT count(*) FROM attempts"), 5);
    assert_int_equal(peek(f->at.path,
                          "SELECT count(*) FROM attempts WHERE n = 5 AND verdict = 'delivered' AND "
                          "CAST(answer AS TEXT) = '{\"a\":1}'"),
                     1);
    f->s = open_plain(f->at.path);
}

static void a_week_of_retries_is_no_book(void **state) {
    fixture *f = *state;
    json_decref(call_json(f->s, SM_OP_EVENTS_ACCEPT, full_report("a.run", 1, 1)));
    for (int i = 0; i < 60; i++) {
        json_decref(call(f->s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1}"));
        json_decref(
            call(f->s, SM_OP_OUTBOX_RETRY, "{'ids':['e1'],'next_ms':1,'reason':'x','at_ns':1}"));
    }
    json_decref(call(f->s, SM_OP_OUTBOX_DONE, "{'ids':['e1'],'at_ns':9}"));
    sm_store_close(f->s);
    assert_int_equal(peek(f->at.path, "SELECT count(*) FROM attempts"), 21);
    assert_int_equal(peek(f->at.path, "SELECT max(n) FROM attempts"), 61);
    f->s = open_plain(f->at.path);
}

#define PLAN(id, slot, rule)                                                                       \
    "{'id':'" id "','slot':" #slot ",'trigger':'schedule','planned_ns':1,'rule':" #rule "}"
#define GAP(from, to, count)                                                                       \
    "{'id':'a.run','from':" #from ",'to':" #to ",'count':" #count                                  \
    ",'outcome':'missed','reason':'why','at_ns':7000000000}"
#define END(slot)                                                                                  \
    "{'run':'r" #slot "','id':'a.run','slot':" #slot                                               \
    ",'trigger':'schedule','outcome':'ok','finished_ns':1}"

/* Rows without a run, as "from-to count[~]". */
static void expect_gaps(sm_store *s, const char *want) {
    json_t *rows = call(s, SM_OP_QUERY_RUNS, "{'gaps':true}"), *row;
    char text[400] = "";
    size_t i;
    json_array_foreach(rows, i, row) {
        int64_t to;
        size_t n = strlen(text);
        assert_int_equal(sm_time_parse(sm_json_str(row, "to", ""), &to, NULL), SM_OK);
        snprintf(text + n, sizeof text - n, "%s%lld-%lld %lld%s", n ? ", " : "",
                 (long long)sm_json_int(row, "slot", 0), (long long)(to / 1000000000),
                 (long long)sm_json_int(row, "count", 0),
                 sm_json_bool(row, "estimated", false) ? "~" : "");
    }
    json_decref(rows);
    assert_string_equal(text, want);
}

static void slots_are_unique(void **state) {
    sm_store *s = ((fixture *)*state)->s;
    expect(s, SM_OP_SLOT_LAST, NULL, "{}");
    expect(s, SM_OP_SLOT_PLAN, PLAN("a.run", 60, 5), "{'created':true,'outcome':'planned'}");
    expect(s, SM_OP_SLOT_PLAN, PLAN("a.run", 60, 5), "{'created':false,'outcome':'planned'}");
    expect(s, SM_OP_SLOT_PLAN, PLAN("b.run", 60, 6), "{'created':true,'outcome':'planned'}");
    expect(s, SM_OP_RUN_FINISH, END(60), "null");
    expect(s, SM_OP_SLOT_PLAN, PLAN("a.run", 60, 5), "{'created':false,'outcome':'ok'}");
    expect(s, SM_OP_SLOT_LAST, NULL,
           "{'a.run':{'slot':60,'outcome':'ok','done':60},"
           "'b.run':{'slot':60,'outcome':'planned','open':60,'rule':6,'other':6}}");
}

static void a_gap_is_one_row(void **state) {
    sm_store *s = ((fixture *)*state)->s;
    json_decref(call(s, SM_OP_RUN_FINISH, END(60)));
    json_decref(call(s, SM_OP_SLOT_PLAN, PLAN("a.run", 120, 5)));
    json_decref(call(s, SM_OP_SLOT_PLAN, PLAN("a.run", 480, 5)));
    expect(s, SM_OP_SLOT_GAP, GAP(120, 420, 6), "null");
    expect(s, SM_OP_QUERY_RUNS, "{'gaps':true}",
           "[{'id':'a.run','slot':120,'outcome':'missed','from':'1970-01-01T00:02:00.000Z',"
           "'to':'1970-01-01T00:07:00.000Z','count':6,'estimated':false,'reason':'why',"
           "'at':'1970-01-01T00:00:07.000Z'}]");
    expect(s, SM_OP_SLOT_LAST, NULL,
           "{'a.run':{'slot':480,'outcome':'planned','done':420,'open':480,'rule':5,'other':5}}");
    /* Longer: the same row, which takes in what was planned meanwhile. */
    json_t *longer = parse(GAP(120, 480, 7));
    json_object_set_new(longer, "grows", json_true());
    json_decref(call_json(s, SM_OP_SLOT_GAP, longer));
    expect_gaps(s, "120-480 7");
    expect(s, SM_OP_QUERY_RUNS, "{'status':'missed','id':'b.run'}", "[]");
    expect(s, SM_OP_QUERY_RUNS, "{'since_ns':481000000000,'gaps':true}", "[]");
    json_t *rows = call(s, SM_OP_QUERY_RUNS, "{'since_ns':480000000000,'status':'missed'}");
    assert_int_equal(json_array_size(rows), 1);
    json_decref(rows);
    /* Neither is a run, and the last run stays the last run. */
    rows = call(s, SM_OP_QUERY_RUNS, "{}");
    assert_int_equal(json_array_size(rows), 1);
    json_decref(rows);
    rows = call(s, SM_OP_QUERY_LAST, NULL);
    assert_string_equal(sm_json_str(json_object_get(rows, "a.run"), "outcome", ""), "ok");
    json_decref(rows);
}

/* A due run that was not let start is a gap; the same reason again is the same gap. */
static void a_run_that_may_not_start_is_a_gap(void **state) {
    static const struct {
        int slot;
        const char *reason, *gaps;
    } rows[] = {
        {60, "busy", "60-60 1"},
        {120, "busy", "60-120 2"},
        {180, "other", "60-120 2, 180-180 1"},
        {240, "other", "60-120 2, 180-240 2"},
        {360, "other", "60-120 2, 180-240 2, 360-360 1"}, /* 300 was run */
    };
    sm_store *s = ((fixture *)*state)->s;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        char run[8];
        snprintf(run, sizeof run, "x%zu", i);
        if (rows[i].slot == 360)
            json_decref(call(s, SM_OP_RUN_FINISH, END(300)));
        json_decref(call_json(s, SM_OP_SLOT_PLAN,
                              json_pack("{s:s,s:i,s:s,s:i}", "id", "a.run", "slot", rows[i].slot,
                                        "trigger", "schedule", "planned_ns", 1)));
        json_decref(call_json(s, SM_OP_RUN_START,
                              json_pack("{s:s,s:s,s:i,s:s,s:i}", "run", run, "id", "a.run", "slot",
                                        rows[i].slot, "trigger", "schedule", "started_ns", 1)));
        json_decref(call_json(s, SM_OP_RUN_FINISH,
                              json_pack("{s:s,s:s,s:i,s:s,s:s,s:s,s:i}", "run", run, "id", "a.run",
                                        "slot", rows[i].slot, "trigger", "schedule", "outcome",
                                        "skipped", "error", rows[i].reason, "finished_ns", 1)));
        expect_gaps(s, rows[i].gaps);
    }
    json_t *runs = call(s, SM_OP_QUERY_RUNS, NULL), *last = call(s, SM_OP_QUERY_LAST, NULL);
    assert_int_equal(json_array_size(runs), 1);
    assert_string_equal(sm_json_str(json_object_get(last, "a.run"), "run", ""), "r300");
    json_decref(runs);
    json_decref(last);
}

/* The clock went back: what has an answer is not counted twice, and keeps its row. */
static void a_gap_leaves_what_was_run(void **state) {
    sm_store *s = ((fixture *)*state)->s;
    json_decref(call(s, SM_OP_RUN_FINISH, END(120)));
    json_decref(call(s, SM_OP_RUN_FINISH, END(240)));
    json_decref(call(s, SM_OP_SLOT_GAP, GAP(60, 300, 5)));
    expect_gaps(s, "60-300 3");
    json_decref(call(s, SM_OP_SLOT_REOPEN, "{'now':0}"));
    expect_gaps(s, "");
    json_decref(call(s, SM_OP_SLOT_GAP, GAP(120, 300, 4)));
    expect_gaps(s, "121-300 2");
    json_decref(call(s, SM_OP_SLOT_REOPEN, "{'now':0}"));
    json_decref(call(s, SM_OP_SLOT_GAP, GAP(120, 120, 1)));
    expect_gaps(s, "");
    expect(s, SM_OP_SLOT_PLAN, PLAN("a.run", 120, 5), "{'created':false,'outcome':'ok'}");
}

static void a_clock_that_went_back_opens_what_had_no_run(void **state) {
    sm_store *s = ((fixture *)*state)->s;
    json_decref(call(s, SM_OP_RUN_FINISH, END(60)));
    json_decref(call(s, SM_OP_SLOT_GAP, GAP(120, 1080, 17)));
    json_decref(call(s, SM_OP_RUN_FINISH, END(1140)));
    json_decref(call(s, SM_OP_SLOT_PLAN, PLAN("a.run", 1200, 5)));
    expect(s, SM_OP_SLOT_REOPEN, "{'now':600}", "{'removed':1,'cut':1}");
    expect_gaps(s, "120-600 8~");
    expect(s, SM_OP_SLOT_PLAN, PLAN("a.run", 660, 5), "{'created':true,'outcome':'planned'}");
    expect(s, SM_OP_SLOT_PLAN, PLAN("a.run", 1140, 5), "{'created':false,'outcome':'ok'}");
}

static void a_changed_schedule_leaves_no_plan(void **state) {
    sm_store *s = ((fixture *)*state)->s;
    json_decref(call(s, SM_OP_SLOT_PLAN, PLAN("a.run", 60, 5)));
    json_decref(call(s, SM_OP_SLOT_PLAN, PLAN("a.run", 90, 6)));
    json_decref(call(s, SM_OP_SLOT_PLAN, PLAN("b.run", 90, 5)));
    expect(s, SM_OP_SLOT_LAST, NULL,
           "{'a.run':{'slot':90,'outcome':'planned','open':60,'rule':6,'other':5},"
           "'b.run':{'slot':90,'outcome':'planned','open':90,'rule':5,'other':5}}");
    expect(s, SM_OP_SLOT_UNPLAN, "{'id':'a.run','from':61,'keep':90}", "{'removed':0}");
    expect(s, SM_OP_SLOT_UNPLAN, "{'id':'a.run','rule':6}", "{'removed':1}");
    expect(s, SM_OP_SLOT_UNPLAN, "{'id':'a.run','rule':6}", "{'removed':0}");
    expect(s, SM_OP_SLOT_UNPLAN, "{'id':'a.run','from':60,'keep':90}", "{'removed':0}");
    json_decref(call(s, SM_OP_RUN_FINISH, END(30)));
    json_decref(call(s, SM_OP_SLOT_GAP, GAP(40, 50, 2)));
    expect(s, SM_OP_SLOT_UNPLAN, "{'id':'a.run'}", "{'removed':1}");
    expect(s, SM_OP_SLOT_LAST, NULL,
           "{'a.run':{'slot':40,'outcome':'missed','done':50},"
           "'b.run':{'slot':90,'outcome':'planned','open':90,'rule':5,'other':5}}");
}

#define START                                                                                      \
    "{'run':'r1','id':'a.run','slot':60,'trigger':'schedule','attempt':1,'account':'default',"     \
    "'node':'local','worker':77,'started_ns':60000000000,'params':{'x':1},'hash':'h'}"
#define FINISH                                                                                     \
    "{'run':'r1','id':'a.run','slot':60,'trigger':'schedule','attempt':1,'outcome':'failed',"      \
    "'error':'boom','traceback':'at 1','finished_ns':62000000000,'seconds':2.0,'cpu':0.5,"         \
    "'peak':1000,'events':3,'late':true,'lateness':0.25,'log':'hello\\n'}"

static void a_run_begins_and_ends(void **state) {
    sm_store *s = ((fixture *)*state)->s;
    expect(s, SM_OP_SLOT_PLAN, "{'id':'a.run','slot':60,'trigger':'schedule','planned_ns':1}",
           "{'created':true,'outcome':'planned'}");
    expect(s, SM_OP_RUN_START, START, "null");
    expect(s, SM_OP_QUERY_LAST, NULL, "{}");
    expect(s, SM_OP_QUERY_RUNS, "{}",
           "[{'run':'r1','id':'a.run','slot':60,'trigger':'schedule','attempt':1,'outcome':null,"
           "'error':null,'traceback':null,'started':'1970-01-01T00:01:00.000Z','finished':null,"
           "'seconds':null,'cpu':null,'peak':null,'events':null,'late':false,"
           "'lateness':null,'account':'default','node':'local'}]");
    expect(s, SM_OP_RUN_FINISH, FINISH, "null");
    expect(s, SM_OP_QUERY_RUNS, "{'log':true,'id':'a.run'}",
           "[{'run':'r1','id':'a.run','slot':60,'trigger':'schedule','attempt':1,"
           "'outcome':'failed','error':'boom','traceback':'at 1',"
           "'started':'1970-01-01T00:01:00.000Z','finished':'1970-01-01T00:01:02.000Z',"
           "'seconds':2.0,'cpu':0.5,'peak':1000,'events':3,'late':true,'lateness':0.25,"
           "'account':'default','node':'local','log':'hello\\n'}]");
    expect(s, SM_OP_QUERY_LAST, NULL,
           "{'a.run':{'outcome':'failed','error':'boom','at':'1970-01-01T00:01:02.000Z',"
           "'seconds':2.0,'events':3,'run':'r1'}}");
    expect(s, SM_OP_SLOT_LAST, NULL, "{'a.run':{'slot':60,'outcome':'failed','done':60}}");
    expect(s, SM_OP_QUERY_RUNS, "{'gaps':true}", "[]");
    expect(s, SM_OP_QUERY_RUNS, "{'status':'ok'}", "[]");
    expect(s, SM_OP_QUERY_RUNS, "{'id':'b*'}", "[]");
}

static void a_run_that_never_began_has_a_row(void **state) {
    sm_store *s = ((fixture *)*state)->s;
    expect(s, SM_OP_RUN_FINISH, FINISH, "null");
    json_t *got = call(s, SM_OP_QUERY_RUNS, "{}");
    assert_int_equal(json_array_size(got), 1);
    assert_string_equal(sm_json_str(json_array_get(got, 0), "started", ""),
                        "1970-01-01T00:01:00.000Z");
    json_decref(got);
    expect(s, SM_OP_SLOT_LAST, NULL, "{'a.run':{'slot':60,'outcome':'failed','done':60}}");
}

static void an_attempt_that_is_repeated_leaves_the_slot_open(void **state) {
    sm_store *s = ((fixture *)*state)->s;
    expect(s, SM_OP_SLOT_PLAN, "{'id':'a.run','slot':60,'trigger':'schedule','planned_ns':1}",
           "{'created':true,'outcome':'planned'}");
    json_t *args = parse(FINISH);
    json_object_set_new(args, "final", json_false());
    json_decref(call_json(s, SM_OP_RUN_FINISH, args));
    expect(s, SM_OP_SLOT_LAST, NULL, "{'a.run':{'slot':60,'outcome':'planned','open':60}}");
    args = parse(FINISH);
    json_object_set_new(args, "attempt", json_integer(2));
    json_object_set_new(args, "outcome", json_string("ok"));
    json_decref(call_json(s, SM_OP_RUN_FINISH, args));
    expect(s, SM_OP_SLOT_LAST, NULL, "{'a.run':{'slot':60,'outcome':'ok','done':60}}");
    json_t *got = call(s, SM_OP_QUERY_RUNS, "{}");
    assert_int_equal(json_array_size(got), 2);
    json_decref(got);
}

static void open_runs_are_cancelled_at_start(void **state) {
    sm_store *s = ((fixture *)*state)->s;
    expect(s, SM_OP_RUN_START, START, "null");
    for (int i = 60; i <= 180; i += 60) {
        json_decref(call_json(s, SM_OP_SLOT_PLAN,
                              json_pack("{s:s,s:i,s:s,s:i}", "id", "a.run", "slot", i, "trigger",
                                        "schedule", "planned_ns", 1)));
    }
    expect(s, SM_OP_RUNS_RECOVER, "{'at_ns':150000000000,'reason':'killed'}",
           "{'runs':1,'slots':2}");
    json_t *got = call(s, SM_OP_QUERY_RUNS, "{}");
    assert_string_equal(sm_json_str(json_array_get(got, 0), "outcome", ""), "cancelled");
    assert_string_equal(sm_json_str(json_array_get(got, 0), "error", ""), "killed");
    json_decref(got);
    got = call(s, SM_OP_QUERY_RUNS, "{'gaps':true}");
    assert_int_equal(json_array_size(got), 1); /* 60 belongs to the run, 120 is missed, 180 waits */
    assert_int_equal(sm_json_int(json_array_get(got, 0), "slot", 0), 120);
    json_decref(got);
    expect(s, SM_OP_SLOT_LAST, NULL,
           "{'a.run':{'slot':180,'outcome':'planned','done':60,'open':120}}");
    expect(s, SM_OP_RUNS_RECOVER, "{'at_ns':150000000000,'reason':'killed'}",
           "{'runs':0,'slots':1}");
    /* Behind a newer answer it is answered itself. */
    json_decref(call(s, SM_OP_RUN_FINISH,
                     "{'run':'r2','id':'a.run','slot':150,'trigger':'schedule','outcome':'ok',"
                     "'finished_ns':150000000000}"));
    json_decref(call(s, SM_OP_RUNS_RECOVER, "{'at_ns':150000000000,'reason':'killed'}"));
    expect(s, SM_OP_SLOT_LAST, NULL,
           "{'a.run':{'slot':180,'outcome':'planned','done':150,'open':180}}");
    expect_gaps(s, "120-120 1");
    json_decref(call(s, SM_OP_RUN_FINISH,
                     "{'run':'r3','id':'a.run','slot':null,'trigger':'manual','outcome':'disabled',"
                     "'finished_ns':160000000000}"));
    expect(s, SM_OP_QUERY_LAST, NULL,
           "{'a.run':{'outcome':'ok','error':null,'at':'1970-01-01T00:02:30.000Z',"
           "'seconds':null,'events':0,'run':'r2'}}");
}

static void the_registry_keeps_the_last_view(void **state) {
    sm_store *s = ((fixture *)*state)->s;
    const char *row = "{'node':'n','account':'a','id':'x.run','ref_key':'k','uuid':'u','title':'t',"
                      "'status':2,'params':{'p':[1,2.5,null]},'payload':{'refKey':'k'},"
                      "'seen_ns':7}";
    char list[400];
    snprintf(list, sizeof list, "[%s]", row);
    expect(s, SM_OP_REGISTRY_PUT, row, "null");
    expect(s, SM_OP_REGISTRY_PUT, row, "null");
    expect(s, SM_OP_REGISTRY_GET, NULL, list);
    expect(s, SM_OP_REGISTRY_GET, "{'node':'n','account':'a','id':'x.run'}", list);
    expect(s, SM_OP_REGISTRY_GET, "{'id':'x.run'}", list);
    expect(s, SM_OP_REGISTRY_GET, "{'account':'b'}", "[]");
    expect(s, SM_OP_REGISTRY_DELETE, "{'node':'n','account':'a','id':'x.run'}", "null");
    expect(s, SM_OP_REGISTRY_GET, NULL, "[]");
}

static void texts_are_kept_once(void **state) {
    fixture *f = *state;
    const char *a = "{'file':'a.lua','hash':'h1','text':'one','libs':[{'name':'lib/u.lua',"
                    "'hash':'h2','text':'two'}],'specs':[{'fn':'run'}],'at_ns':1}";
    const char *b = "{'file':'b.lua','hash':'h3','text':'three','libs':[{'name':'lib/u.lua',"
                    "'hash':'h2','text':'two'}],'specs':[],'at_ns':2}";
    char both[600];
    snprintf(both, sizeof both, "[%s,%s]", a, b);
    expect(f->s, SM_OP_TEXTS_PUT, a, "null");
    expect(f->s, SM_OP_TEXTS_PUT, b, "null");
    expect(f->s, SM_OP_TEXTS_GET, NULL, both);
    expect(f->s, SM_OP_TEXTS_PUT,
           "{'file':'a.lua','hash':'h4','text':'new','libs':[],'specs':null,'at_ns':3}", "null");
    sm_store_close(f->s);
    assert_int_equal(peek(f->at.path, "SELECT count(*) FROM blobs"), 3); /* h2 h3 h4 */
    f->s = open_plain(f->at.path);
    expect(f->s, SM_OP_TEXTS_DELETE, "{'file':'b.lua'}", "null");
    expect(f->s, SM_OP_TEXTS_DELETE, "{'file':'b.lua'}", "null");
    expect(f->s, SM_OP_TEXTS_GET, NULL,
           "[{'file':'a.lua','hash':'h4','text':'new','libs':[],'specs':null,'at_ns':3}]");
    sm_store_close(f->s);
    assert_int_equal(peek(f->at.path, "SELECT count(*) FROM blobs"), 1);
    f->s = open_plain(f->at.path);
}

static void values_come_back_as_they_were(void **state) {
    static const char *const values[] = {
        "'text'",
        "''",
        "7",
        "-9223372036854775807",
        "1.5",
        "true",
        "false",
        "[]",
        "{}",
        "{'a':[1,{'b':null}]}",
        "'with \\u0000 inside'",
    };
    sm_store *s = ((fixture *)*state)->s;
    expect(s, SM_OP_KV_GET, "{'key':'k'}", "null");
    for (size_t i = 0; i < SM_ARRAY_LEN(values); i++) {
        print_message("  %s\n", values[i]);
        json_t *v =
            strstr(values[i], "\\u0000") ? json_stringn("with \0 inside", 13) : parse(values[i]);
        json_decref(call_json(s, SM_OP_KV_PUT, json_pack("{s:s,s:O}", "key", "k", "value", v)));
        json_t *got = call(s, SM_OP_KV_GET, "{'key':'k'}");
        assert_true(json_equal(got, v));
        json_decref(got);
        json_decref(v);
    }
    json_decref(call(s, SM_OP_KV_PUT, "{'key':'a:1','value':7}"));
    json_decref(call(s, SM_OP_KV_PUT, "{'key':'a:\u00e9','value':{'x':[1]}}"));
    json_decref(call(s, SM_OP_KV_PUT, "{'key':'a','value':1}"));
    json_decref(call(s, SM_OP_KV_PUT, "{'key':'b:1','value':1}"));
    expect(s, SM_OP_KV_LIST, "{'prefix':'a:'}", "{'a:1':7,'a:\u00e9':{'x':[1]}}");
    expect(s, SM_OP_KV_LIST, "{'prefix':'c'}", "{}");
    expect(s, SM_OP_KV_PUT, "{'key':'k','value':null}", "null");
    expect(s, SM_OP_KV_GET, "{'key':'k'}", "null");
}

static void the_embedded_platform_keeps_items(void **state) {
    sm_store *s = ((fixture *)*state)->s;
    const char *create = "{'payload':{'refKey':'k','title':'t','refFuncInfo':{'funcId':'a__b.run',"
                         "'description':'d','args':['x'],'kwargs':{'x':{'default':1}}}},"
                         "'at_ns':5000000000}";
    json_t *got = call(s, SM_OP_LOCAL_CREATE, create);
    char uuid[64];
    snprintf(uuid, sizeof uuid, "%s", sm_json_str(got, "uuid", ""));
    json_decref(got);
    assert_int_equal(strlen(uuid), 36);
    assert_memory_equal(uuid, "rul_", 4);
    expect_fail(s, SM_OP_LOCAL_CREATE, parse(create), SM_EXISTS, "under the key k already");
    expect(s, SM_OP_LOCAL_MODIFY,
           "{'ref_key':'k','payload':{'refKey':'other','title':'t2','refFuncInfo':{'funcId':'no',"
           "'description':'d2'}},'at_ns':6000000000}",
           "null");
    expect(s, SM_OP_LOCAL_STATUS, "{'ref_key':'k','status':2,'at_ns':7000000000}", "null");
    expect(s, SM_OP_LOCAL_PARAMS, "{'ref_key':'k','set':{'x':'95','y':[1]},'at_ns':8000000000}",
           "{'callKwargs':{'x':'95','y':[1]}}");
    expect(s, SM_OP_LOCAL_PARAMS, "{'ref_key':'k','set':{'x':null,'z':1},'at_ns':9000000000}",
           "{'callKwargs':{'y':[1],'z':1}}");
    got = call(s, SM_OP_LOCAL_LIST, "{'ref_keys':['nobody','k']}");
    json_t *want = parse("[{'refKey':'k','title':'t2','status':2,'jsonScript':{'refFuncInfo':{"
                         "'funcId':'a__b.run','description':'d2','args':['x'],'kwargs':{'x':{"
                         "'default':1}}},'callKwargs':{'y':[1],'z':1}},'createAt':5,"
                         "'updateAt':9}]");
    json_object_set_new(json_array_get(want, 0), "uuid", json_string(uuid));
    assert_true(json_equal(got, want));
    json_decref(got);
    json_decref(want);
    expect(s, SM_OP_LOCAL_DELETE, "{'ref_key':'k','at_ns':1}", "null");
    expect(s, SM_OP_LOCAL_LIST, "{'ref_keys':null}", "[]");
    static const struct {
        sm_store_op op;
        const char *args;
    } gone[] = {
        {SM_OP_LOCAL_DELETE, "{'ref_key':'k','at_ns':1}"},
        {SM_OP_LOCAL_STATUS, "{'ref_key':'k','at_ns':1,'status':0}"},
        {SM_OP_LOCAL_PARAMS, "{'ref_key':'k','at_ns':1,'set':{}}"},
        {SM_OP_LOCAL_MODIFY, "{'ref_key':'k','at_ns':1,'payload':{}}"},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(gone); i++)
        expect_fail(s, gone[i].op, parse(gone[i].args), SM_NOT_FOUND, "under the key k");
    got = call(s, SM_OP_LOCAL_CREATE, create);
    assert_string_not_equal(uuid, sm_json_str(got, "uuid", ""));
    json_decref(got);
}

static void local_events_are_kept_once(void **state) {
    sm_store *s = ((fixture *)*state)->s;
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, full_report("a.run", 1, 3)));
    json_t *rows = call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1}"), *payloads = json_array();
    for (size_t i = 0; i < json_array_size(rows); i++)
        json_array_append(payloads, json_object_get(json_array_get(rows, i), "payload"));
    for (int i = 0; i < 2; i++) {
        json_t *got = call_json(s, SM_OP_LOCAL_EVENTS_PUT,
                                json_pack("{s:O,s:I}", "events", payloads, "at_ns", (json_int_t)9));
        assert_int_equal(sm_json_int(got, "stored", -1), i == 0 ? 3 : 0);
        json_decref(got);
    }
    json_t *got = call(s, SM_OP_LOCAL_EVENTS, NULL);
    assert_true(json_equal(got, payloads));
    json_decref(got);
    got = call(s, SM_OP_LOCAL_EVENTS, "{'since_ns':2000000000,'ref_key':'k1','limit':1}");
    assert_int_equal(json_array_size(got), 1);
    assert_true(json_equal(json_array_get(got, 0), json_array_get(payloads, 2)));
    json_decref(got);
    expect(s, SM_OP_LOCAL_EVENTS, "{'ref_key':'other'}", "[]");
    json_decref(rows);
    json_decref(payloads);
}

static void retention_spares_what_matters(void **state) {
    sm_store *s = ((fixture *)*state)->s;
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, full_report("a.run", 1, 6)));
    json_decref(call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1}"));
    json_decref(call(s, SM_OP_OUTBOX_DONE, "{'ids':['e1','e2','e6'],'at_ns':1}"));
    json_decref(call(s, SM_OP_OUTBOX_HOLD, "{'ids':['e3'],'next_ms':1,'at_ns':1}"));
    json_decref(call(s, SM_OP_OUTBOX_REFUSE, "{'ids':['e4'],'at_ns':1}"));
    for (int i = 60; i <= 180; i += 60)
        json_decref(call_json(s, SM_OP_SLOT_GAP,
                              json_pack("{s:s,s:i,s:i,s:i,s:s,s:i}", "id", "a.run", "from", i, "to",
                                        i, "count", 1, "outcome", "skipped", "at_ns", 1)));
    json_decref(call(s, SM_OP_RUN_START, START));
    json_t *done = parse(FINISH);
    json_object_set_new(done, "run", json_string("r2"));
    json_object_set_new(done, "slot", json_null());
    json_decref(call_json(s, SM_OP_RUN_FINISH, done));
    /* e6 is newer than the limit; e3 e4 e5 wait; r1 still runs; slot 180 is the newest. */
    const char *all = "{'runs_before_ns':1000000000000,'events_before_ns':6000000000,'batch':1}";
    expect(s, SM_OP_PRUNE, all, "{'runs':1,'events':1,'slots':1,'memos':0}");
    expect(s, SM_OP_PRUNE, all, "{'runs':0,'events':1,'slots':1,'memos':0}");
    expect(s, SM_OP_PRUNE, all, "{'runs':0,'events':0,'slots':0,'memos':0}");
    json_t *got = call(s, SM_OP_QUERY_EVENTS, NULL);
    assert_int_equal(json_array_size(got), 4);
    json_decref(got);
    got = call(s, SM_OP_QUERY_RUNS, NULL);
    assert_int_equal(json_array_size(got), 1);
    json_decref(got);
    expect(s, SM_OP_SLOT_LAST, NULL, "{'a.run':{'slot':180,'outcome':'skipped','done':180}}");
}

int main(void) {
#define ROW(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        ROW(ping_tells_the_schema),
        ROW(missing_arguments_are_named),
        ROW(accepted_events_are_read_back),
        ROW(an_id_is_accepted_once),
        ROW(a_bad_event_refuses_the_whole_report),
        ROW(a_claim_carries_everything),
        ROW(answers_move_a_row),
        ROW(a_week_of_retries_is_no_book),
        ROW(slots_are_unique),
        ROW(a_gap_is_one_row),
        ROW(a_run_that_may_not_start_is_a_gap),
        ROW(a_gap_leaves_what_was_run),
        ROW(a_clock_that_went_back_opens_what_had_no_run),
        ROW(a_changed_schedule_leaves_no_plan),
        ROW(a_run_begins_and_ends),
        ROW(a_run_that_never_began_has_a_row),
        ROW(an_attempt_that_is_repeated_leaves_the_slot_open),
        ROW(open_runs_are_cancelled_at_start),
        ROW(the_registry_keeps_the_last_view),
        ROW(texts_are_kept_once),
        ROW(values_come_back_as_they_were),
        ROW(the_embedded_platform_keeps_items),
        ROW(local_events_are_kept_once),
        ROW(retention_spares_what_matters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
