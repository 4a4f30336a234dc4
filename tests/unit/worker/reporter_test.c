/* reporter: EventReporter and report through sm_script_run with a host that records: what is
 * refused at which line, what is repaired, all or nothing, budgets, ids, hostile tables. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/fsx.h"
#include "base/mem.h"
#include "platform/event.h"
#include "worker/script.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct fake { /* the outside of a run */
    json_t *events;   /* everything reported, in order */
    int calls;
    const char *refuse; /* sentence of a refusal, or NULL */
    sm_stop stop_in;    /* stops the run inside report */
} fake;

static sm_rc fake_report(void *ctx, sm_run *run, const json_t *events, json_t **ids, sm_err *err) {
    fake *f = ctx;
    size_t i;
    json_t *event;
    f->calls++;
    if (f->stop_in) {
        sm_run_stop(run, f->stop_in);
        return sm_err_set(err, SM_CLOSED, "stopped");
    }
    if (f->refuse)
        return sm_err_set(err, SM_FULL, "%s", f->refuse);
    *ids = json_array();
    json_array_foreach(events, i, event) {
        char id[40];
        json_array_append(f->events, event);
        snprintf(id, sizeof id, "event-%032zu", json_array_size(f->events));
        json_array_append_new(*ids, json_string(id));
    }
    return SM_OK;
}

typedef struct ran {
    fake f;
    sm_result r;
    char *log;
} ran;

static void run_text(const char *text, const sm_limits *limits, ran *out) {
    sm_run_host host = {.ctx = &out->f, .report = fake_report};
    sm_snapshot snap = {.display = "inspections", .script = {"demo/x.lua", text, strlen(text)}};
    sm_run run;
    if (!out->f.events)
        out->f.events = json_array();
    sm_run_init(&run, "demo/x.run", "0123456789abcdef0123456789abcdef", limits, &host);
    sm_script_run(&snap, "run", &run, &out->r);
    out->log = sm_runlog_text(&run.log, NULL);
    sm_run_fini(&run);
}

/* A body on lines 2.. of run. */
static void run_body(const char *body, const sm_limits *limits, ran *out) {
    char *text = sm_asprintf("monitor{ title = 'x' } function run(params, ctx)\n%s\nend", body);
    run_text(text, limits, out);
    free(text);
}

static void ran_fini(ran *r) {
    json_decref(r->f.events);
    sm_result_fini(&r->r);
    free(r->log);
}

typedef struct row {
    const char *name, *body;
    const char *error;  /* whole sentence, or NULL: ok */
    const char *events; /* JSON of what was reported, or NULL: not looked at */
} row;

#define EVENT "{title='t', message='m', status='info'}"
#define JSON_EVENT "{\"dimension_tags\":{},\"message\":\"m\",\"status\":\"info\",\"title\":\"t\"}"
#define AT(line) "inspections/demo/x.lua:" line ": "

static const row rows[] = {
    {"one",
     "local id = EventReporter():report" EVENT
     "\nassert(id == 'event-00000000000000000000000000000001')",
     NULL, "[" JSON_EVENT "]"},
    {"a list",
     "local ids = EventReporter():report{" EVENT ", " EVENT "}\n"
     "assert(#ids == 2 and ids[2]:sub(-2) == '02' and type(ids) == 'table')",
     NULL, "[" JSON_EVENT "," JSON_EVENT "]"},
    {"an empty list", "local ids = EventReporter():report{}\nassert(#ids == 0)", NULL, "[]"},
    {"a list of one", "assert(type(EventReporter():report{" EVENT "}) == 'table')", NULL,
     "[" JSON_EVENT "]"},
    {"tail call", "local r = EventReporter()\nreturn r:report" EVENT, NULL, "[" JSON_EVENT "]"},
    {"tags",
     "EventReporter():report{title='t', message='m', status='ok', dimension_tags={n=3, f=2.0, "
     "b=true, s='x'}}",
     NULL,
     "[{\"dimension_tags\":{\"b\":\"true\",\"f\":\"2\",\"n\":\"3\",\"s\":\"x\"},\"message\":\"m\","
     "\"status\":\"ok\",\"title\":\"t\"}]"},
    {"two reporters",
     "local a, b = EventReporter(), EventReporter() a:report" EVENT " b:report" EVENT
     "\nassert(tostring(a) == 'EventReporter (1 events reported)', tostring(a))",
     NULL, "[" JSON_EVENT "," JSON_EVENT "]"},

    {"dot for colon", "local r = EventReporter()\nr.report" EVENT,
     AT("3") "report: use reporter:report(event) with a colon instead of reporter.report(event)",
     "[]"},
    {"dot without anything", "local r = EventReporter()\nr.report()",
     AT("3") "report: use reporter:report(event) with a colon instead of reporter.report(event)",
     "[]"},
    {"wrong self", "local r = EventReporter()\nr.report('x', " EVENT ")",
     AT("3") "bad argument #1 to 'report' (selfmon.EventReporter expected, got string)", "[]"},
    {"nothing", "EventReporter():report()",
     AT("2") "report: expected an event or a list of events, got nothing", "[]"},
    {"a number", "\nEventReporter():report(5)",
     AT("3") "report: expected an event or a list of events, got number", "[]"},
    {"a reporter", "EventReporter():report(EventReporter())",
     AT("2") "report: expected an event or a list of events, got selfmon.EventReporter", "[]"},
    {"two arguments", "EventReporter():report(" EVENT ", " EVENT ")",
     AT("2") "report: expected one event or one list of events, got more arguments", "[]"},
    {"constructor with an argument", "EventReporter{}",
     AT("2") "EventReporter: expected no arguments; events go to reporter:report(event)", "[]"},
    {"list with a gap", "EventReporter():report{" EVENT ", nil, " EVENT "}",
     AT("2") "report: a list of events must have the keys 1 to n without a gap", "[]"},
    {"unknown field",
     "EventReporter():report{title='t', message='m', status='info', dimension_tag={}}",
     AT("2") "events[1].dimension_tag: unknown field \"dimension_tag\"; did you mean "
             "\"dimension_tags\"?",
     "[]"},
    {"wrong status in the second",
     "local r = EventReporter()\nr:report{" EVENT ",\n {title='t', message='m', status='crit'}}",
     AT("3") "events[2].status: expected one of info, warning, error, critical, ok; got \"crit\"",
     "[]"},
    {"all or nothing over a list",
     "local r = EventReporter() r:report" EVENT "\npcall(r.report, r, {" EVENT ", {title='t'}})",
     NULL, "[" JSON_EVENT "]"},
    {"line in pcall",
     "local ok, e = pcall(EventReporter().report, EventReporter(), 5)\nerror(e, 0)",
     AT("2") "report: expected an event or a list of events, got number", "[]"},
    {"line of the function that calls",
     "local function send(e)\n EventReporter():report(e)\nend\nsend(5)",
     AT("3") "report: expected an event or a list of events, got number", "[]"},
    {"not a number",
     "EventReporter():report{title='t', message='m', status='info', dimension_tags={n=0/0}}",
     AT("2") "events[1].dimension_tags.n: expected a finite number, got NaN", "[]"},
    {"contains itself",
     "local t = {} t.self = t\nEventReporter():report{title='t', message='m', status='info', "
     "dimension_tags=t}",
     AT("3") "report: the table contains itself", "[]"},
    {"very deep",
     "local d = {} local c = d for i = 1, 200000 do c.n = {} c = c.n "
     "end\nEventReporter():report{title='t', message='m', status='info', dimension_tags=d}",
     AT("3") "report: the table is nested more than 32 levels deep", "[]"},
    {"metamethods never run",
     "local evil = setmetatable({}, {__index = function() while true do end end, __pairs = "
     "function() while true do end end, __len = function() return 1 << 40 end})\n"
     "local r = EventReporter()\nassert(#r:report(evil) == 0)\n"
     "local ok, e = pcall(r.report, r, {title = setmetatable({}, {__tostring = function() return "
     "'x' end}), message = 'y', status = 'info', dimension_tags = evil})\n"
     "assert(not ok)\nr:report{title = 't', message = 'm', status = 'info', dimension_tags = evil}",
     NULL, "[" JSON_EVENT "]"},
    {"in odd places",
     "local function r(n) EventReporter():report{title = n, message = 'm', status = 'info'} end\n"
     "coroutine.wrap(r)('t')\n"
     "string.gsub('ab', '.', function(c) r('t') end)\n"
     "do local x <close> = setmetatable({}, {__close = function() r('t') end}) end",
     NULL, "[" JSON_EVENT "," JSON_EVENT "," JSON_EVENT "," JSON_EVENT "]"},
    {"in a comparator",
     "local n = 0 table.sort({3, 1, 2}, function(a, b) if n == 0 then n = 1 "
     "EventReporter():report" EVENT " end return a < b end)",
     NULL, "[" JSON_EVENT "]"},
    {"metatable is closed",
     "assert(getmetatable(EventReporter()) == false)\nassert(not pcall(setmetatable, "
     "EventReporter(), {}))",
     NULL, "[]"},
    {"no such method", "EventReporter():send{}",
     AT("2") "attempt to call a nil value (method 'send')", "[]"},
};

static void test_rows(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        const row *r = &rows[i];
        ran out = {0};
        run_body(r->body, NULL, &out);
        char *events = sm_json_dump(out.f.events, NULL);
        const char *outcome = r->error ? "failed" : "ok";
        if (strcmp(out.r.outcome, outcome) != 0 ||
            (r->error && strcmp(out.r.error, r->error) != 0) ||
            (r->events && strcmp(events, r->events) != 0) ||
            out.r.events != (int)json_array_size(out.f.events))
            fail_msg("%s: %s, %d events, %s\n%s", r->name, out.r.outcome, out.r.events,
                     out.r.error ? out.r.error : "-", events);
        free(events);
        ran_fini(&out);
    }
}

static void test_construction(void **state) {
    (void)state;
    static const struct {
        const char *name, *text, *error;
    } texts[] = {
        {"main chunk", "\nlocal r = EventReporter()\nmonitor{title='x'} function run() end",
         "inspections/demo/x.lua:2: EventReporter must be constructed inside the inspection "
         "function, "
         "not while the script is loading"},
        {"in a function called by the main chunk",
         "local function f()\n  return EventReporter()\nend\nf()\nmonitor{title='x'} function "
         "run() end",
         "inspections/demo/x.lua:2: EventReporter must be constructed inside the inspection "
         "function, "
         "not while the script is loading"},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(texts); i++) {
        sm_snapshot snap = {.display = "inspections",
                            .script = {"demo/x.lua", texts[i].text, strlen(texts[i].text)}};
        sm_loaded l;
        sm_script_load(&snap, NULL, &l);
        if (!l.error || strcmp(l.error, texts[i].error) != 0)
            fail_msg("%s, load: %s", texts[i].name, l.error);
        sm_loaded_fini(&l);
        ran out = {0};
        run_text(texts[i].text, NULL, &out);
        if (strcmp(out.r.outcome, "failed") != 0 || strcmp(out.r.error, texts[i].error) != 0)
            fail_msg("%s, run: %s", texts[i].name, out.r.error);
        ran_fini(&out);
    }
}

static void test_repairs_are_noted(void **state) {
    (void)state;
    ran out = {0};
    run_body(
        "EventReporter():report{title='a\\nb', message='', status='info', dimension_tags={x=''}}",
        NULL, &out);
    assert_string_equal(out.r.outcome, "ok");
    json_t *event = json_array_get(out.f.events, 0);
    assert_string_equal(sm_json_str(event, "title", ""), "a b");
    assert_string_equal(sm_json_str(event, "message", ""), "(no message)");
    assert_int_equal(json_object_size(json_object_get(event, "dimension_tags")), 0);
    if (!strstr(out.log, "\tnote\tevents[1]"))
        fail_msg("%s", out.log);
    ran_fini(&out);
    /* What is refused leaves no note of repairs that were not made. */
    memset(&out, 0, sizeof out);
    run_body("EventReporter():report{{title='a\\nb', message='m', status='info'}, {}}", NULL, &out);
    assert_string_equal(out.r.outcome, "failed");
    assert_string_equal(out.log, "");
    ran_fini(&out);
}

static void test_budget(void **state) {
    (void)state;
    sm_limits limits;
    ran out = {0};
    sm_limits_default(&limits);
    limits.events = 5;
    run_body("local r = EventReporter()\nfor i = 1, 3 do r:report" EVENT " end\n"
             "while true do pcall(r.report, r, {" EVENT ", " EVENT ", " EVENT "}) end",
             &limits, &out);
    assert_string_equal(out.r.outcome, "limit");
    if (!strstr(
            out.r.error,
            "inspections/demo/x.lua:4: limit of 5 events reached (3 reported); see limits.events"))
        fail_msg("%s", out.r.error);
    assert_int_equal(json_array_size(out.f.events), 3);
    assert_int_equal(out.r.events, 3);
    ran_fini(&out);

    memset(&out, 0, sizeof out);
    run_body("local r = EventReporter()\nfor i = 1, 5 do r:report" EVENT " end\nr:report{}",
             &limits, &out);
    assert_string_equal(out.r.outcome, "ok");
    assert_int_equal(out.r.events, 5);
    ran_fini(&out);

    memset(&out, 0, sizeof out);
    run_body("for i = 1, 1e7 do EventReporter():report" EVENT " end", NULL, &out);
    assert_string_equal(out.r.outcome, "limit");
    assert_int_equal(json_array_size(out.f.events), 1000);
    ran_fini(&out);
}

static void test_size(void **state) {
    (void)state;
    ran out = {0};
    run_body("local big = ('x'):rep(60000) local list = {}\n"
             "for i = 1, 400 do list[i] = {title='t', message=big, status='info'} end\n"
             "EventReporter():report(list)",
             NULL, &out);
    assert_string_equal(out.r.outcome, "failed");
    if (!strstr(out.r.error,
                "inspections/demo/x.lua:4: report: the events are 22.9 MiB of JSON, one "
                "call takes at most 16 MiB; report them in several calls"))
        fail_msg("%s", out.r.error);
    assert_int_equal(out.f.calls, 0);
    ran_fini(&out);

    memset(&out, 0, sizeof out);
    run_body(
        "EventReporter():report{title = ('A'):rep(1 << 20), message = ('B'):rep(16 << 20), "
        "status = 'info'}",
        &(sm_limits){
            .memory = (size_t)64 << 20, .wall_s = 30, .cpu_s = 10, .log = 1 << 18, .events = 10},
        &out);
    assert_string_equal(out.r.outcome, "ok");
    json_t *event = json_array_get(out.f.events, 0);
    assert_true(json_string_length(json_object_get(event, "message")) <= SM_EVENT_MESSAGE_BYTES);
    ran_fini(&out);
}

static void test_host_refuses(void **state) {
    (void)state;
    ran out = {.f = {.refuse = "outbox is full: 1 GiB wait for delivery"}};
    run_body("local r = EventReporter()\nr:report" EVENT, NULL, &out);
    assert_string_equal(out.r.outcome, "failed");
    assert_string_equal(out.r.error,
                        "inspections/demo/x.lua:3: outbox is full: 1 GiB wait for delivery");
    assert_int_equal(out.r.events, 0);
    ran_fini(&out);
}

static void test_stopped_meanwhile(void **state) {
    (void)state;
    static const struct {
        sm_stop stop;
        const char *outcome;
    } stops[] = {{SM_STOP_CANCELLED, "cancelled"}, {SM_STOP_TIMEOUT, "timeout"}};
    for (size_t i = 0; i < SM_ARRAY_LEN(stops); i++) {
        ran out = {.f = {.stop_in = stops[i].stop}};
        run_body("local r = EventReporter()\nwhile true do pcall(r.report, r, " EVENT ") end", NULL,
                 &out);
        assert_string_equal(out.r.outcome, stops[i].outcome);
        assert_int_equal(out.f.calls, 1);
        ran_fini(&out);
    }
}

/* The corpus' own files, as its README wraps them. */
static void test_hostile_files(void **state) {
    (void)state;
    static const struct {
        const char *file, *outcome;
        size_t events; /* reported */
    } files[] = {
        {"h01_event_flood.lua", "limit", 1000},
        {"h02_event_huge.lua", "ok", 1},
        {"h04_event_cycle.lua", "ok", 0},
        {"h05_event_metamethods.lua", "ok", 0},
    };
    sm_limits limits;
    sm_limits_default(&limits);
    limits.memory = (size_t)64 << 20; /* room for what h02 and h04 build */
    for (size_t i = 0; i < SM_ARRAY_LEN(files); i++) {
        char *path = sm_asprintf("%s/hostile/%s", SM_TEST_DATA, files[i].file), *body = NULL;
        ran out = {0};
        size_t n;
        assert_int_equal(sm_fsx_read(path, 1 << 20, &body, &n, NULL), SM_OK);
        char *text = sm_asprintf(
            "local report = function(e) return EventReporter():report(e) end\n%s", body);
        run_body(text, &limits, &out);
        if (strcmp(out.r.outcome, files[i].outcome) != 0 ||
            json_array_size(out.f.events) != files[i].events)
            fail_msg("%s: %s, %zu events, %s", files[i].file, out.r.outcome,
                     json_array_size(out.f.events), out.r.error ? out.r.error : "-");
        ran_fini(&out);
        free(text);
        free(body);
        free(path);
    }
}

/* h07: from a coroutine, a comparator, a gsub callback and a __close handler; each stored. */
static void test_hostile_places(void **state) {
    (void)state;
    char *body = NULL;
    size_t n, i, sorts = 0;
    json_t *event;
    ran out = {0};
    assert_int_equal(
        sm_fsx_read(SM_TEST_DATA "/hostile/h07_event_in_places.lua", 1 << 20, &body, &n, NULL),
        SM_OK);
    char *text =
        sm_asprintf("local report = function(e) return EventReporter():report(e) end\n%s", body);
    run_body(text, NULL, &out);
    assert_string_equal(out.r.outcome, "ok");
    json_array_foreach(out.f.events, i, event) sorts +=
        strcmp(sm_json_str(event, "title", ""), "sort") == 0;
    assert_true(sorts > 0);
    assert_int_equal(json_array_size(out.f.events), sorts + 4);
    ran_fini(&out);
    free(text);
    free(body);
}

/* Every allocation that a run makes has been the one that fails; what C holds then is freed (the
 * sanitizer says so), and an event is reported once or not at all. */
static void test_every_allocation_fails_once(void **state) {
    (void)state;
    static const char body[] =
        "local r = EventReporter()\n"
        "local ids = r:report{" EVENT ", {title='a\\nb', message='m', status='ok', "
        "dimension_tags={k=1}}}\n"
        "local ok, e = pcall(r.report, r, {title = 1})\n"
        "require('selfmon.log').info('reported', {n = #ids, e = e})";
    sm_limits limits;
    int failed = 0;
    sm_limits_default(&limits);
    for (limits.memory = 1 << 10; limits.memory < 1 << 20; limits.memory += 191) {
        ran out = {0};
        run_body(body, &limits, &out);
        bool ok = strcmp(out.r.outcome, "ok") == 0;
        size_t n = json_array_size(out.f.events);
        if ((!ok && strcmp(out.r.outcome, "limit") != 0) || (n != 0 && n != 2) || (ok && n != 2))
            fail_msg("%zu bytes: %s, %zu events, %s", limits.memory, out.r.outcome, n,
                     out.r.error ? out.r.error : "-");
        ran_fini(&out);
        failed += !ok;
        if (ok)
            break;
    }
    assert_true(failed > 50 && limits.memory < 1 << 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_construction),
        cmocka_unit_test(test_repairs_are_noted),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_host_refuses),
        cmocka_unit_test(test_stopped_meanwhile),
        cmocka_unit_test(test_hostile_files),
        cmocka_unit_test(test_hostile_places),
        cmocka_unit_test(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
