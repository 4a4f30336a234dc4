/* monitor: every load error of script-api 1.1 with its sentence and line, and the specs of good
 * scripts, through sm_script_load as the catalogue sees them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/mem.h"
#include "worker/script.h"
#include <stdlib.h>
#include <string.h>

static void load_file(const char *file, const char *text, size_t n, sm_loaded *out) {
    sm_snapshot snap = {.display = "inspections", .script = {file, text, n}};
    sm_script_load(&snap, NULL, out);
}

static void load(const char *text, sm_loaded *out) {
    load_file("demo/x.lua", text, strlen(text), out);
}

typedef struct error_row {
    const char *name, *text;
    const char *error; /* behind "inspections/demo/x.lua:" */
    int line;
} error_row;

#define RUN "\nfunction run() end"
#define FOLLOW                                                                                     \
    ": write `function run(params)` there, not `local function` or `function M.run`; or give "     \
    "`name =` and `run =`"

static const error_row errors[] = {
    {"unknown key", "monitor{ titel = 'x' }" RUN,
     "1: monitor: unknown key \"titel\"; did you mean \"title\"?", 1},
    {"unknown key, nothing near", "\n\nmonitor{ title = 'x', zzzzzzzz = 1 }" RUN,
     "3: monitor: unknown key \"zzzzzzzz\"", 3},
    {"unknown keys, first by name", "monitor{ title = 'x', zz9 = 1, aa9 = 1, mm9 = 1 }" RUN,
     "1: monitor: unknown key \"aa9\"", 1},
    {"unknown key in limits", "monitor{ title = 'x', limits = { memroy = 1 } }" RUN,
     "1: monitor: limits: unknown key \"memroy\"; did you mean \"memory\"?", 1},
    {"unknown key in events", "monitor{ title = 'x', events = { recovr = true } }" RUN,
     "1: monitor: events: unknown key \"recovr\"; did you mean \"recover\"?", 1},
    {"unknown key in node", "monitor{ title = 'x', node = { openap = 'u' } }" RUN,
     "1: monitor: node: unknown key \"openap\"; did you mean \"openapi\"?", 1},
    {"a value without a name", "monitor{ 'Disk' }" RUN,
     "1: monitor: expected only named values such as title = …, got one without a name", 1},
    {"a key that is no text", "monitor{ title = 'x', [true] = 1 }" RUN,
     "1: monitor: expected only named values such as title = …, got one whose name is not a text",
     1},

    {"no title", "monitor{}" RUN,
     "1: monitor: title: expected one line of 1 to 256 characters, got nothing", 1},
    {"title a number", "monitor{ title = 5 }" RUN, "1: monitor: title: expected a text, got 5", 1},
    {"title empty", "monitor{ title = '' }" RUN,
     "1: monitor: title: expected 1 to 256 characters, got an empty text", 1},
    {"title of two lines", "monitor{ title = 'a\\nb' }" RUN,
     "1: monitor: title: expected one line, got a line break", 1},
    {"title with a control byte", "monitor{ title = 'a\\27b' }" RUN,
     "1: monitor: title: expected plain text, got the control byte 0x1B", 1},
    {"title too long", "monitor{ title = ('é'):rep(257) }" RUN,
     "1: monitor: title: expected 1 to 256 characters, got 257", 1},
    {"title not UTF-8", "monitor{ title = '\\xff' }" RUN, "1: monitor: title: expected UTF-8 text",
     1},
    {"doc a table", "monitor{ title = 'x', doc = {} }" RUN,
     "1: monitor: doc: expected a text, got a table", 1},
    {"doc not UTF-8", "monitor{ title = 'x', doc = '\\xc3(' }" RUN,
     "1: monitor: doc: expected UTF-8 text", 1},
    {"schedule a number", "monitor{ title = 'x', schedule = 5 }" RUN,
     "1: monitor: schedule: expected a cron expression or a list of them, got 5", 1},
    {"schedule with a gap", "monitor{ title = 'x', schedule = { a = '* * * * *' } }" RUN,
     "1: monitor: schedule: expected a list of texts, got a table", 1},
    {"schedule with a number", "monitor{ title = 'x', schedule = { '* * * * *', 7 } }" RUN,
     "1: monitor: schedule[2]: expected a text, got 7", 1},
    {"timezone empty", "monitor{ title = 'x', timezone = '' }" RUN,
     "1: monitor: timezone: expected a text, got an empty one", 1},
    {"timeout zero", "\n\n\n\nmonitor{ title = 'x', timeout = 0 }" RUN,
     "5: monitor: timeout: expected 1 s to 3600 s, got 0", 5},
    {"timeout too long", "monitor{ title = 'x', timeout = '2h' }" RUN,
     "1: monitor: timeout: expected 1 s to 3600 s, got \"2h\"", 1},
    {"timeout NaN", "monitor{ title = 'x', timeout = 0/0 }" RUN,
     "1: monitor: timeout: expected 1 s to 3600 s, got NaN", 1},
    {"timeout a word", "monitor{ title = 'x', timeout = 'soon' }" RUN,
     "1: monitor: timeout: expected seconds or a duration such as \"30s\", got \"soon\"", 1},
    {"timeout a table", "monitor{ title = 'x', timeout = {} }" RUN,
     "1: monitor: timeout: expected seconds or a duration such as \"30s\", got a table", 1},
    {"params a text", "monitor{ title = 'x', params = 'a' }" RUN,
     "1: monitor: params: expected a table, got \"a\"", 1},
    {"params with a function", "monitor{ title = 'x', params = { f = print } }" RUN,
     "1: monitor: params.f: expected a string, number, boolean or table, got function", 1},
    {"params with itself", "local p = {} p.p = p\nmonitor{ title = 'x', params = p }" RUN,
     "2: monitor: the table contains itself", 2},
    {"account a number", "monitor{ title = 'x', account = 1 }" RUN,
     "1: monitor: account: expected a text, got 1", 1},
    {"api_key is not shown", "monitor{ title = 'x', api_key = 'sesame\\n' }" RUN,
     "1: monitor: api_key: expected one line, got a line break", 1},
    {"node a number", "monitor{ title = 'x', node = 1 }" RUN,
     "1: monitor: node: expected a node's name or {openapi = URL, openway = URL}, got 1", 1},
    {"node half", "monitor{ title = 'x', node = { openapi = 'https://a' } }" RUN,
     "1: monitor: node.openway: expected a URL, got nothing", 1},
    {"tags a text", "monitor{ title = 'x', tags = 'a' }" RUN,
     "1: monitor: tags: expected a list of texts, got \"a\"", 1},
    {"permissions with a table", "monitor{ title = 'x', permissions = { {} } }" RUN,
     "1: monitor: permissions[1]: expected a text, got a table", 1},
    {"too many tags",
     "local t = {} for i = 1, 101 do t[i] = 'a' end monitor{ title = 'x', tags = t }" RUN,
     "1: monitor: tags: expected at most 100 texts, got 101", 1},
    {"limits a number", "monitor{ title = 'x', limits = 1 }" RUN,
     "1: monitor: limits: expected a table, got 1", 1},
    {"memory a word", "monitor{ title = 'x', limits = { memory = 'much' } }" RUN,
     "1: monitor: limits.memory: expected bytes or a size such as \"32MiB\", got \"much\"", 1},
    {"memory zero", "monitor{ title = 'x', limits = { memory = 0 } }" RUN,
     "1: monitor: limits.memory: expected 1 byte to 1024 GiB, got 0", 1},
    {"cpu negative", "monitor{ title = 'x', limits = { cpu = -1 } }" RUN,
     "1: monitor: limits.cpu: expected 0.001 s to 3600 s, got -1", 1},
    {"events a fraction", "monitor{ title = 'x', limits = { events = 1.5 } }" RUN,
     "1: monitor: limits.events: expected a whole number from 0 to 1000000, got 1.5", 1},
    {"http a text", "monitor{ title = 'x', limits = { http = '5' } }" RUN,
     "1: monitor: limits.http: expected a whole number from 0 to 1000000, got \"5\"", 1},
    {"recover a text", "monitor{ title = 'x', events = { recover = 'yes' } }" RUN,
     "1: monitor: events.recover: expected true or false, got \"yes\"", 1},
    {"on_change a number", "monitor{ title = 'x', events = { on_change = 1 } }" RUN,
     "1: monitor: events.on_change: expected true or false, got 1", 1},
    {"confirm a number", "monitor{ title = 'x', events = { confirm = 3 } }" RUN,
     "1: monitor: events.confirm: expected a table such as { fail = 3, ok = 2 }, got 3", 1},
    {"confirm unknown", "monitor{ title = 'x', events = { confirm = { fial = 3 } } }" RUN,
     "1: monitor: events.confirm: unknown key \"fial\"; did you mean \"fail\"?", 1},
    {"confirm zero", "monitor{ title = 'x', events = { confirm = { ok = 0 } } }" RUN,
     "1: monitor: events.confirm.ok: expected a whole number from 1 to 1000, got 0", 1},
    {"remind too often", "monitor{ title = 'x', events = { remind = '4m' } }" RUN,
     "1: monitor: events.remind: expected 5 minutes to 366 days, got \"4m\"", 1},
    {"max_dimensions zero", "monitor{ title = 'x', events = { max_dimensions = 0 } }" RUN,
     "1: monitor: events.max_dimensions: expected a whole number from 1 to 1000000, got 0", 1},
    {"max_events a number", "monitor{ title = 'x', events = { max_events = 50 } }" RUN,
     "1: monitor: events.max_events: expected a table such as { 50, per = \"10m\" }, got 50", 1},
    {"max_events without per", "monitor{ title = 'x', events = { max_events = { 50 } } }" RUN,
     "1: monitor: events.max_events: expected a table such as { 50, per = \"10m\" }", 1},
    {"max_events per", "monitor{ title = 'x', events = { max_events = { 50, per = 'x' } } }" RUN,
     "1: monitor: events.max_events.per: expected seconds or a duration such as \"30s\", got \"x\"",
     1},
    {"overlap", "monitor{ title = 'x', overlap = 'wait' }" RUN,
     "1: monitor: overlap: expected one of skip, queue, got \"wait\"", 1},
    {"missed", "monitor{ title = 'x', missed = true }" RUN,
     "1: monitor: missed: expected one of last, skip, all, got true", 1},
    {"first_run", "monitor{ title = 'x', first_run = 'no' }" RUN,
     "1: monitor: first_run: expected true or false, got \"no\"", 1},
    {"retry", "monitor{ title = 'x', retry = 0 }" RUN,
     "1: monitor: retry: expected true or false, got 0", 1},
    {"was", "monitor{ title = 'x', was = 'demo/y.run' }" RUN,
     "1: monitor: was: expected a list of texts, got \"demo/y.run\"", 1},
    {"name with a dot", "monitor{ title = 'x', name = 'a.b', run = function() end }",
     "1: monitor: name: expected a name as of a function, at most 63 bytes, got \"a.b\"", 1},
    {"run a text", "monitor{ title = 'x', run = 'run' }",
     "1: monitor: run: expected a function, got \"run\"", 1},
    {"name without run", "monitor{ title = 'x', name = 'check' }" RUN,
     "1: monitor: name: goes with run = function; without it the name is that of the function that "
     "follows, \"run\"",
     1},

    {"local function", "monitor{ title = 'x' }\nlocal function run() end",
     "1: monitor: the function must follow directly, found `local function run`" FOLLOW, 1},
    {"member function", "local M = {}\nmonitor{ title = 'x' }\nfunction M.run() end",
     "2: monitor: the function must follow directly, found `function M.run`" FOLLOW, 2},
    {"end of file", "monitor{ title = 'x' }",
     "1: monitor: the function must follow directly, found the end of the file" FOLLOW, 1},
    {"statement between", "monitor{ title = 'x' }\nlocal y = 1" RUN,
     "1: monitor: the function must follow directly, found `local`" FOLLOW, 1},
    {"semicolon between", "monitor{ title = 'x' };" RUN,
     "1: monitor: the function must follow directly, found `;`" FOLLOW, 1},
    {"under another name", "local m = monitor\nm{ title = 'x' }" RUN,
     "2: monitor: the function must follow directly" FOLLOW, 2},
    {"slip", "monitor{ title = 'x', run = function() end }\n(print or error)('x')",
     "1: monitor: what follows begins with `(`, so Lua takes it as a call of the result; put `;` "
     "after `monitor{…}`",
     1},
    {"slip of a statement", "monitor{ title = 'x' }\n(print or error)('x')\nfunction run() end",
     "1: monitor: what follows begins with `(`, so Lua takes it as a call of the result; put `;` "
     "after `monitor{…}`",
     1},
    {"same name twice", "monitor{ title = 'x' }" RUN "\nmonitor{ title = 'y' }" RUN,
     "3: monitor: the name \"run\" is taken by the inspection in line 1; each in a file needs its "
     "own",
     3},
    {"same name twice, by value",
     "monitor{ title = 'x', run = function() end };\nmonitor{ title = 'y', run = function() end }",
     "2: monitor: the name \"run\" is taken by the inspection in line 1; each in a file needs its "
     "own",
     2},
    {"global is gone", "\nmonitor{ title = 'x' }" RUN "\nrun = nil",
     "2: monitor: once the file has run, the global \"run\" is nil, not a function", 2},
    {"the function is a local's", "local run\nmonitor{ title = 'x' }" RUN,
     "2: monitor: once the file has run, the global \"run\" is nil, not a function", 2},
    {"global is something else", "monitor{ title = 'x' }" RUN "\nrun = 5",
     "1: monitor: once the file has run, the global \"run\" is number, not a function", 1},
    {"called with a text", "monitor 'x'" RUN,
     "1: monitor: expected one table such as monitor{ title = \"…\" }, got string", 1},
    {"called with nothing", "monitor()" RUN,
     "1: monitor: expected one table such as monitor{ title = \"…\" }, got no value", 1},
    {"called with two", "monitor({ title = 'x' }, 1)" RUN,
     "1: monitor: expected one table such as monitor{ title = \"…\" }, got more", 1},
    {"in a loop", "for i = 1, 2 do\n monitor{ title = 'x' }\n function run() end\nend",
     "2: monitor: the name \"run\" is taken by the inspection in line 2; each in a file needs its "
     "own",
     2},

    {"not closed", "\nmonitor<title = 'x'" RUN, "2: monitor< opened in line 2 is not closed by >",
     2},
    {"attribute, several lines", "monitor<\n title = 'x',\n timeout = 0\n>" RUN,
     "1: monitor: timeout: expected 1 s to 3600 s, got 0", 1},
    {"statement, several lines", "local a = 1\nmonitor{\n title = 'x',\n timeout = 0\n}" RUN,
     "2: monitor: timeout: expected 1 s to 3600 s, got 0", 2},
    {"second of two on one line",
     "monitor{title='x'} function a() end monitor{title='y'} local function b() end",
     "1: monitor: the function must follow directly, found `local function b`" FOLLOW, 1},
};

static void test_errors(void **state) {
    (void)state;
    static const char prefix[] = "inspections/demo/x.lua:";
    for (size_t i = 0; i < SM_ARRAY_LEN(errors); i++) {
        sm_loaded l;
        load(errors[i].text, &l);
        if (!l.error || strncmp(l.error, prefix, sizeof prefix - 1) != 0 ||
            strcmp(l.error + sizeof prefix - 1, errors[i].error) != 0 || l.line != errors[i].line ||
            l.inspections)
            fail_msg("%s: line %d: %s", errors[i].name, l.line, l.error ? l.error : "(loaded)");
        sm_loaded_fini(&l);
    }
}

typedef struct good_row {
    const char *name, *text;
    const char *specs; /* JSON of what is expected in the specs, member by member */
} good_row;

static const good_row good[] = {
    {"defaults", "monitor{ title = 'x' }" RUN,
     "[{\"fn\":\"run\",\"line\":1,\"title\":\"x\",\"doc\":\"\",\"schedule\":[],\"timeout\":30.0,"
     "\"params\":[],\"account\":\"default\",\"category\":\"general\",\"tags\":[],\"permissions\":[]"
     ","
     "\"limits\":{},\"overlap\":\"skip\",\"missed\":\"last\",\"first_run\":true,\"retry\":true,"
     "\"was\":[]}]"},
    {"attribute",
     "\nmonitor<title = \"x\",\n  doc = [[\n    a\n      b\n  ]]>\n-- note\nfunction check() end",
     "[{\"fn\":\"check\",\"line\":2,\"doc\":\"a\\n  b\"}]"},
    {"expression", "monitor{ title = 'x', run = function() end }", "[{\"fn\":\"run\",\"line\":1}]"},
    {"expression with a name", "monitor{ title = 'x', name = 'check', run = print };\n(print)()",
     "[{\"fn\":\"check\"}]"},
    {"expression in parentheses",
     "local f = function() end\nmonitor{ title = 'x', run = f }\nlocal y = 1",
     "[{\"fn\":\"run\",\"line\":2}]"},
    {"attribute with a function", "monitor<title = 'x', run = (function() return 1 > 0 end)>",
     "[{\"fn\":\"run\"}]"},
    {"name as the function's", "monitor{ title = 'x', name = 'run' }" RUN, "[{\"fn\":\"run\"}]"},
    {"several",
     "monitor{ title = 'a' } function f() end\nmonitor<title = 'b'> function g() end\n"
     "for _, n in ipairs{'p', 'q'} do monitor{ title = n, name = n, run = print } end",
     "[{\"fn\":\"f\",\"line\":1},{\"fn\":\"g\",\"line\":2},{\"fn\":\"p\",\"line\":3},{\"fn\":\"q\"}"
     "]"},
    {"in pcall", "pcall(monitor, { title = 'x', run = print })", "[{\"fn\":\"run\"}]"},
    {"everything",
     "monitor{ title = 'x', schedule = { '* * * * *', '@hourly' }, timezone = 'Asia/Shanghai',\n"
     "  timeout = '1m30s', account = 'b', api_key_id = 'id', api_key = 'key', category = 'c',\n"
     "  node = { openapi = 'https://a', openway = 'https://b' }, tags = { 't' },\n"
     "  permissions = { 'secret:a' }, limits = { memory = '64 MiB', cpu = '2s', events = 5,\n"
     "  log = 4096, http = 7.0 }, overlap = 'queue', missed = 'all', first_run = false,\n"
     "  retry = false, was = { 'a.run' }, params = { n = 3 },\n"
     "  events = { recover = true, on_change = false, confirm = { fail = 3 }, remind = '4h',\n"
     "    max_dimensions = 9, max_events = { 50, per = '10m' } } }" RUN,
     "[{\"schedule\":[\"* * * * *\",\"@hourly\"],\"timezone\":\"Asia/Shanghai\",\"timeout\":90.0,"
     "\"account\":\"b\",\"api_key_id\":\"id\",\"api_key\":\"key\",\"category\":\"c\","
     "\"node\":{\"openapi\":\"https://a\",\"openway\":\"https://b\"},\"tags\":[\"t\"],"
     "\"permissions\":[\"secret:a\"],\"limits\":{\"memory\":67108864,\"cpu\":2.0,\"events\":5,"
     "\"log\":4096,\"http\":7},\"overlap\":\"queue\",\"missed\":\"all\",\"first_run\":false,"
     "\"retry\":false,\"was\":[\"a.run\"],\"events\":{\"recover\":true,\"on_change\":false,"
     "\"confirm\":{\"fail\":3},\"remind\":\"4h\",\"max_dimensions\":9,"
     "\"max_events\":{\"1\":50,\"per\":\"10m\"}}}]"},
    {"one schedule", "monitor{ title = 'x', schedule = '@daily' }" RUN,
     "[{\"schedule\":[\"@daily\"]}]"},
    {"node by name", "monitor{ title = 'x', node = 'us1' }" RUN, "[{\"node\":\"us1\"}]"},
    {"256 wide characters", "monitor{ title = ('é'):rep(256), timeout = 3600 }" RUN,
     "[{\"timeout\":3600.0}]"},
    {"empty events", "monitor{ title = 'x', events = {}, limits = {}, params = {} }" RUN,
     "[{\"events\":{},\"limits\":{},\"params\":[]}]"},
    {"global replaced by another function", "monitor{ title = 'x' }" RUN "\nrun = print",
     "[{\"fn\":\"run\"}]"},
    {"metatable on _G",
     "setmetatable(_G, { __index = error, __newindex = error })\n"
     "monitor{ title = 'x', run = function() end }",
     "[{\"fn\":\"run\"}]"},
    {"strings that look like it",
     "local s = 'monitor<title = 1>' --[[ monitor{} ]]\nmonitor{ title = s }" RUN,
     "[{\"title\":\"monitor<title = 1>\"}]"},
};

static void test_good(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(good); i++) {
        sm_loaded l;
        json_t *want = NULL, *spec;
        size_t k;
        load(good[i].text, &l);
        if (l.error)
            fail_msg("%s: %s", good[i].name, l.error);
        assert_int_equal(sm_json_parse(good[i].specs, strlen(good[i].specs), 1 << 16, &want, NULL),
                         SM_OK);
        if (json_array_size(want) != json_array_size(l.inspections))
            fail_msg("%s: %zu inspections", good[i].name, json_array_size(l.inspections));
        json_array_foreach(want, k, spec) {
            const char *key;
            json_t *val;
            json_object_foreach(spec, key, val) {
                json_t *got = json_object_get(json_array_get(l.inspections, k), key);
                if (!json_equal(got, val)) {
                    char *text = sm_json_dump(json_array_get(l.inspections, k), NULL);
                    fail_msg("%s: %s of %s", good[i].name, key, text);
                }
            }
        }
        json_decref(want);
        sm_loaded_fini(&l);
    }
}

/* A spec holds nothing that the frames page does not name, and leaves out what was not given. */
static void test_absent(void **state) {
    (void)state;
    static const char *const absent[] = {"timezone", "api_key_id", "api_key", "node",
                                         "events",   "name",       "run"};
    sm_loaded l;
    load("monitor{ title = 'x', name = 'run', run = print }", &l);
    assert_null(l.error);
    json_t *spec = json_array_get(l.inspections, 0);
    for (size_t i = 0; i < SM_ARRAY_LEN(absent); i++)
        if (json_object_get(spec, absent[i]))
            fail_msg("%s", absent[i]);
    assert_int_equal(json_object_size(spec), 17);
    sm_loaded_fini(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
