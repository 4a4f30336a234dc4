/* script: what loads and what does not, what a run sees and how it ends. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/mem.h"
#include "base/str.h"
#include "worker/script.h"
#include "worker/vm.h"
#include "worker/watchdog.h"
#include <stdlib.h>
#include <string.h>

static const sm_text libs[] = {
    {"lib/util.lua",
     "local deep = require 'lib.deep.er'\nlocal M = {}\nfunction M.twice(x) return deep(x) "
     "end\nreturn M",
     0},
    {"lib/deep/er.lua", "return function(x) return x * 2 end", 0},
    {"lib/broken.lua", "local x =\n\nthen", 0},
    {"lib/registers.lua",
     "return function(name) monitor{ title = name, name = name, run = function() end } end", 0},
    {"lib/statement.lua", "monitor{ title = 'x' }\nfunction run() end", 0},
};

static void load_file(const char *file, const char *text, size_t n, sm_loaded *out) {
    sm_text with_sizes[SM_ARRAY_LEN(libs)];
    for (size_t i = 0; i < SM_ARRAY_LEN(libs); i++) {
        with_sizes[i] = libs[i];
        with_sizes[i].n = strlen(libs[i].text);
    }
    sm_snapshot snap = {"inspections", {file, text, n}, with_sizes, SM_ARRAY_LEN(libs)};
    sm_script_load(&snap, NULL, out);
}

#define GOOD "monitor{ title = 'x' }\nfunction run() end"

typedef struct load_row {
    const char *name, *file, *text;
    const char *error; /* NULL: it loads */
    int line;
    const char *libs; /* JSON, or NULL: not looked at */
} load_row;

static const load_row loads[] = {
    {"plain", "demo/x.lua", GOOD, NULL, 0, "[]"},
    {"the guide's first example", "demo/example.lua",
     "local http = require \"selfmon.http\"\n\n"
     "monitor<title = \"Self-built inspection example\",\n"
     "  doc = [[\n    Checks that the shop answers.\n\n    Parameters:\n"
     "      url       {string}  address to fetch\n"
     "      max_ms    {number}  slower than this is a warning\n  ]],\n"
     "  schedule = \"*/5 * * * *\",\n"
     "  params   = { url = \"https://shop.example/\", max_ms = 800 }>\n"
     "function run(params)\n  local reporter = EventReporter()\n"
     "  local ms = params.max_ms > 800 and \"warning\" or \"ok\"\nend\n",
     NULL, 0, "[]"},
    {"shebang", "demo/x.lua", "#!/usr/bin/env selfmon-lua\n" GOOD, NULL, 0, NULL},
    {"byte order mark", "demo/x.lua", "\xef\xbb\xbf" GOOD, NULL, 0, NULL},
    {"bytes that are not UTF-8 in a string", "demo/x.lua", "local s = '\xff\xfe'\n" GOOD, NULL, 0,
     NULL},
    {"requires", "demo/x.lua", "local u = require 'lib.util'\nassert(u.twice(2) == 4)\n" GOOD, NULL,
     0, "[\"lib/util.lua\",\"lib/deep/er.lua\"]"},
    {"a library registers by value", "demo/x.lua", "require 'lib.registers' 'one'", NULL, 0,
     "[\"lib/registers.lua\"]"},
    {"a library registers by statement", "demo/x.lua", "require 'lib.statement'",
     "inspections/lib/statement.lua:1: monitor: the function must follow directly: write `function "
     "run(params)` there, not `local function` or `function M.run`; or give `name =` and `run =`",
     0, "[\"lib/statement.lua\"]"},
    {"a broken library", "demo/x.lua", "require 'lib.broken'\n" GOOD,
     "inspections/lib/broken.lua:3: unexpected symbol near 'then'", 0, "[\"lib/broken.lua\"]"},
    {"syntax error", "demo/x.lua", "\n\nlocal = 1",
     "inspections/demo/x.lua:3: <name> expected near '='", 3, NULL},
    {"syntax error behind an attribute", "demo/x.lua",
     "monitor<title = 'x'>\nfunction run() end\nlocal = 1",
     "inspections/demo/x.lua:3: <name> expected near '='", 3, NULL},
    {"string without end in an attribute", "demo/x.lua",
     "monitor<\n title = 'x>\nfunction run() end",
     "inspections/demo/x.lua:2: unfinished string near ''x>'", 2, NULL},
    {"comparison in an attribute", "demo/x.lua",
     "monitor<title = 'x', a = 1 > 2>\nfunction run() end",
     "inspections/demo/x.lua:1: unexpected symbol near '2'", 1, NULL},
    {"raises", "demo/x.lua", "\nerror 'no'", "inspections/demo/x.lua:2: no", 2, NULL},
    {"raises a table", "demo/x.lua", "error{}",
     "inspections/demo/x.lua:1: (error object is a table value)", 1, NULL},
    {"bytecode", "demo/x.lua", "\033Lua", "inspections/demo/x.lua: the file is not a text", 0,
     NULL},
    {"registers nothing", "demo/x.lua", "local x = 1",
     "inspections/demo/x.lua: the file registers no inspection: put monitor{ title = \"…\" } "
     "before a "
     "global function; helpers go below lib/ or into a file whose name begins with _",
     0, NULL},
    {"empty", "demo/x.lua", "",
     "inspections/demo/x.lua: the file registers no inspection: put monitor{ title = \"…\" } "
     "before a "
     "global function; helpers go below lib/ or into a file whose name begins with _",
     0, NULL},
    {"empty below lib", "lib/x.lua", "", NULL, 0, NULL},
    {"empty with an underscore", "demo/_x.lua", "", NULL, 0, NULL},
    {"empty spec", "demo/x_spec.lua", "", NULL, 0, NULL},
    {"lib is not a prefix of a name", "library/x.lua", "x = 1",
     "inspections/library/x.lua: the file registers no inspection: put monitor{ title = \"…\" } "
     "before a "
     "global function; helpers go below lib/ or into a file whose name begins with _",
     0, NULL},
    {"touches the world", "demo/x.lua", "local t = require 'selfmon.time'\nt.sleep(1)\n" GOOD,
     "inspections/demo/x.lua:2: time.sleep cannot be called while a script is loading; call it "
     "inside "
     "the function",
     2, NULL},
};

static void test_loads(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(loads); i++) {
        const load_row *r = &loads[i];
        sm_loaded l;
        load_file(r->file, r->text, strlen(r->text), &l);
        char *required = sm_json_dump(l.libs, NULL);
        if ((r->error == NULL) != (l.error == NULL) ||
            (r->error && strcmp(r->error, l.error) != 0) || l.line != r->line ||
            (l.inspections == NULL) != (l.error != NULL) ||
            (r->libs && strcmp(r->libs, required) != 0))
            fail_msg("%s: line %d, libs %s: %s", r->name, l.line, required,
                     l.error ? l.error : "-");
        free(required);
        sm_loaded_fini(&l);
    }
}

static void test_load_size(void **state) {
    (void)state;
    size_t n = (1 << 20) + 1;
    char *text = sm_malloc(n);
    sm_loaded l;
    memset(text, ' ', n);
    memcpy(text, GOOD, strlen(GOOD));
    load_file("demo/x.lua", text, n, &l);
    assert_string_equal(l.error, "inspections/demo/x.lua: the file is longer than 1048576 bytes");
    sm_loaded_fini(&l);
    load_file("demo/x.lua", text, n - 1, &l);
    assert_null(l.error);
    sm_loaded_fini(&l);
    free(text);
}

static void test_load_log(void **state) {
    (void)state;
    static const char text[] =
        "print('at load', 1)\nrequire('selfmon.log').warn('note', {b = 2, a = 'x y'})\n" GOOD;
    sm_loaded l;
    load_file("demo/x.lua", text, strlen(text), &l);
    assert_null(l.error);
    if (!strstr(l.log, "\tprint\tat load") || !strstr(l.log, "\twarn\tnote a=\"x y\" b=2"))
        fail_msg("%s", l.log);
    sm_loaded_fini(&l);
}

static void test_load_limits(void **state) {
    static const char loop[] = "local i = 0\nwhile true do i = i + 1 end";
    static const char bomb[] = "local s = 'x'\nwhile true do s = s .. s end";
    sm_loaded l;
    sm_vm_watched_by(*state);
    load_file("demo/x.lua", loop, strlen(loop), &l);
    assert_string_equal(l.error, "inspections/demo/x.lua:2: loading took more than 1 s of CPU; put "
                                 "the work inside the function");
    assert_int_equal(l.line, 2);
    sm_loaded_fini(&l);
    load_file("demo/x.lua", bomb, strlen(bomb), &l);
    if (!l.error ||
        !sm_str_starts(l.error, "inspections/demo/x.lua:2: memory limit of 32 MiB reached"))
        fail_msg("%s", l.error);
    sm_loaded_fini(&l);
    sm_vm_watched_by(NULL);
}

typedef struct run_row {
    const char *name, *text, *fn;
    const char *outcome, *error; /* error NULL: none */
} run_row;

#define RUN "monitor{ title = 'x' } function run(params, ctx)\n"

static const run_row runs[] = {
    {"ok", RUN "end", "run", "ok", NULL},
    {"params and ctx",
     RUN "assert(params.n == 3 and math.type(params.n) == 'integer' and params.list[2] == 'b')\n"
         "assert(ctx.id == 'demo/x.run' and ctx.attempt == 1 and ctx.nothing == nil) end",
     "run", "ok", NULL},
    {"params are fresh and may be written",
     RUN "params.n = 4 params.new = {} assert(params.n == 4) end", "run", "ok", NULL},
    {"ctx is read-only", RUN "\nctx.id = 'y' end", "run", "failed",
     "inspections/demo/x.lua:3: ctx is read-only"},
    {"ctx takes no new key", RUN "ctx.extra = 1 end", "run", "failed",
     "inspections/demo/x.lua:2: ctx is read-only"},
    {"ctx has pairs",
     RUN "local n = 0 for k, v in pairs(ctx) do assert(ctx[k] == v) n = n + 1 end assert(n == 2, "
         "n) end",
     "run", "ok", NULL},
    {"ctx is locked",
     RUN "assert(getmetatable(ctx) == false and not pcall(setmetatable, ctx, {})) end", "run", "ok",
     NULL},
    {"raises", RUN "\n\nerror('bad') end", "run", "failed", "inspections/demo/x.lua:4: bad"},
    {"indexes nil", RUN "local r = {} return r.json.x end", "run", "failed",
     "inspections/demo/x.lua:2: attempt to index a nil value (field 'json')"},
    {"attribute", "monitor< -- c\n title = 'x'>\nfunction check() error('there') end", "check",
     "failed", "inspections/demo/x.lua:3: there"},
    {"attribute behind a comment", "monitor --[[ c ]] <title = 'x'> function run() end", "run",
     "ok", NULL},
    {"expression", "monitor{ title = 'x', run = function(p) error('n is ' .. p.n) end }", "run",
     "failed", "inspections/demo/x.lua:1: n is 3"},
    {"expression among several",
     "for _, n in ipairs{'a', 'b'} do monitor{ title = n, name = n, run = function() error(n, 0) "
     "end } end",
     "b", "failed", "b"},
    {"no such function", RUN "end", "other", "failed",
     "inspections/demo/x.lua: registers no function \"other\""},
    {"monitor in a run", RUN "\nmonitor{ title = 'y' } end", "run", "failed",
     "inspections/demo/x.lua:3: monitor can only be called while a script is loading"},
    {"monitor kept", "local m = monitor\n" RUN "pcall(m, {}) m{ title = 'y' } end", "run", "failed",
     "inspections/demo/x.lua:3: monitor can only be called while a script is loading"},
    {"main chunk raises", "error('not today')\n" RUN "end", "run", "failed",
     "inspections/demo/x.lua:1: not today"},
    {"text broken meanwhile", "monitor<title = 'x'\nfunction run() end", "run", "failed",
     "inspections/demo/x.lua:1: monitor< opened in line 1 is not closed by >"},
    {"long path of a run",
     RUN "local function f(n) if n == 0 then error('deep') end return (f(n - 1)) end f(20) end",
     "run", "failed", "inspections/demo/x.lua:2: deep"},
};

static void run_text(const char *text, const char *fn, const sm_limits *limits, sm_run *run,
                     sm_result *out) {
    sm_snapshot snap = {"inspections", {"demo/x.lua", text, strlen(text)}, NULL, 0};
    sm_run_init(run, "demo/x.run", "0123456789abcdef0123456789abcdef", limits, NULL);
    run->params = json_pack("{s:i, s:[s,s], s:n}", "n", 3, "list", "a", "b", "none");
    run->ctx = json_pack("{s:s, s:i}", "id", "demo/x.run", "attempt", 1);
    sm_script_run(&snap, fn, run, out);
}

static void test_runs(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(runs); i++) {
        const run_row *r = &runs[i];
        sm_run run;
        sm_result out;
        run_text(r->text, r->fn, NULL, &run, &out);
        if (strcmp(out.outcome, r->outcome) != 0 || (r->error == NULL) != (out.error == NULL) ||
            (r->error && strcmp(r->error, out.error) != 0))
            fail_msg("%s: %s %s", r->name, out.outcome, out.error ? out.error : "-");
        assert_true(out.peak > 0 || out.error);
        assert_true(out.seconds >= 0 && out.seconds < 10 && out.cpu >= 0);
        assert_null(run.L);
        sm_result_fini(&out);
        sm_run_fini(&run);
    }
}

static void test_traceback(void **state) {
    (void)state;
    sm_run run;
    sm_result out;
    run_text("local function inner() error('x') end\n" RUN "inner() end", "run", NULL, &run, &out);
    assert_string_equal(out.error, "inspections/demo/x.lua:1: x");
    assert_non_null(out.traceback);
    if (!strstr(out.traceback, "inspections/demo/x.lua:3:") || strstr(out.traceback, "[C]"))
        fail_msg("%s", out.traceback);
    sm_result_fini(&out);
    sm_run_fini(&run);
}

/* What the main chunk prints shows at load, not in every run. */
static void test_run_log(void **state) {
    (void)state;
    sm_run run;
    sm_result out;
    run_text(
        "print('loading') require('selfmon.log').info('loading')\n" RUN
        "print('running')\nlocal log = require 'selfmon.log'\n"
        "log.debug('d') log.error('e', {code = 7, t = {1}, f = print, s = '', n = 'a\"b'}) end",
        "run", NULL, &run, &out);
    size_t n;
    char *log = sm_runlog_text(&run.log, &n);
    assert_string_equal(out.outcome, "ok");
    if (strstr(log, "loading") || !strstr(log, "\tprint\trunning") ||
        !strstr(log, "\tdebug\td\n") ||
        !strstr(log, "\terror\te code=7 f=(function) n=\"a\\\"b\" s=\"\" t=[1]"))
        fail_msg("%s", log);
    free(log);
    sm_result_fini(&out);
    sm_run_fini(&run);
}

static void test_log_calls(void **state) {
    (void)state;
    static const struct {
        const char *body, *error; /* NULL: ok */
    } rows[] = {
        {"log.info('x', nil)", NULL},
        {"log.info(5)", NULL},
        {"log.info('x', {})", NULL},
        {"local t = {} t.t = t log.info('x', t)", NULL},
        {"log.info('x', {a = '\\xff\\0\\n', [1] = 0/0, [true] = {}, [{}] = print})", NULL},
        {"log.info(('x'):rep(100000), {a = ('y'):rep(100000)})", NULL},
        {"log.info()",
         "inspections/demo/x.lua:2: bad argument #1 to 'info' (string expected, got no value)"},
        {"log.warn({})",
         "inspections/demo/x.lua:2: bad argument #1 to 'warn' (string expected, got table)"},
        {"log.info('x', 'y')",
         "inspections/demo/x.lua:2: bad argument #2 to 'info' (table expected, got string)"},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        char *text = sm_asprintf("local log = require 'selfmon.log' " RUN "%s end", rows[i].body);
        sm_run run;
        sm_result out;
        run_text(text, "run", NULL, &run, &out);
        if ((rows[i].error == NULL) != (out.error == NULL) ||
            (rows[i].error && strcmp(rows[i].error, out.error) != 0))
            fail_msg("%s: %s", rows[i].body, out.error ? out.error : "-");
        free(text);
        sm_result_fini(&out);
        sm_run_fini(&run);
    }
}

typedef struct end_row {
    const char *name, *body, *outcome, *error;
} end_row;

static const end_row ends[] = {
    {"loops", "while true do end", "timeout",
     "inspections/demo/x.lua:2: time limit of 0.3 s reached; see timeout"},
    {"swallows", "while true do pcall(function() while true do end end) end", "timeout",
     "inspections/demo/x.lua:2: time limit of 0.3 s reached; see timeout"},
    {"eats", "local s = 'x' while true do s = s .. s end", "limit",
     "inspections/demo/x.lua:2: memory limit of 4 MiB reached"},
    {"talks", "while true do print(('x'):rep(1000)) end", "limit",
     "inspections/demo/x.lua:2: log limit of 64 KiB reached (64 KiB written); see limits.log"},
};

static void test_ends(void **state) {
    sm_limits limits;
    sm_limits_default(&limits);
    limits.memory = 4 << 20;
    limits.log = 64 << 10;
    sm_vm_watched_by(*state);
    for (size_t i = 0; i < SM_ARRAY_LEN(ends); i++) {
        limits.wall_s = strcmp(ends[i].outcome, "timeout") == 0 ? 0.3 : 30;
        char *text = sm_asprintf(RUN "%s end", ends[i].body);
        sm_run run;
        sm_result out;
        run_text(text, "run", &limits, &run, &out);
        if (strcmp(out.outcome, ends[i].outcome) != 0 || !out.error ||
            !sm_str_starts(out.error, ends[i].error))
            fail_msg("%s: %s %s", ends[i].name, out.outcome, out.error);
        free(text);
        sm_result_fini(&out);
        sm_run_fini(&run);
    }
    sm_vm_watched_by(NULL);
}

/* A run that was cancelled before it began runs nothing. */
static void test_cancelled(void **state) {
    (void)state;
    sm_snapshot snap = {"inspections", {"demo/x.lua", RUN "end", strlen(RUN "end")}, NULL, 0};
    sm_run run;
    sm_result out;
    sm_run_init(&run, "demo/x.run", "0123456789abcdef0123456789abcdef", NULL, NULL);
    sm_run_stop(&run, SM_STOP_CANCELLED);
    sm_script_run(&snap, "run", &run, &out);
    assert_string_equal(out.outcome, "cancelled");
    assert_int_equal(run.phase, SM_PHASE_LOADING);
    sm_result_fini(&out);
    sm_run_fini(&run);
}

/* Not even an empty state fits. */
static void test_no_room(void **state) {
    (void)state;
    sm_limits limits;
    sm_run run;
    sm_result out;
    sm_limits_default(&limits);
    limits.memory = 1000;
    run_text(RUN "end", "run", &limits, &run, &out);
    assert_string_equal(out.outcome, "limit");
    assert_non_null(out.error);
    sm_result_fini(&out);
    sm_run_fini(&run);
}

/* Every allocation of a load has been the one that fails; nothing of C is lost (the sanitizer says
 * so), and a load ends with specs or with a sentence. */
static void test_load_every_allocation(void **state) {
    (void)state;
    static const char text[] = "monitor< title = 'x', params = { a = { 1, { b = 'c' } } }, tags = "
                               "{ 't' }>\nfunction run() end\n"
                               "monitor{ title = 'y', name = 'z', run = function() end }";
    sm_snapshot snap = {"inspections", {"demo/x.lua", text, strlen(text)}, NULL, 0};
    sm_limits limits;
    int failed = 0;
    sm_limits_default(&limits);
    for (limits.memory = 1 << 10; limits.memory < 1 << 20; limits.memory += 191) {
        sm_loaded l;
        sm_script_load(&snap, &limits, &l);
        bool ok = l.inspections != NULL;
        assert_true(ok == (l.error == NULL));
        assert_true(!ok || json_array_size(l.inspections) == 2);
        sm_loaded_fini(&l);
        failed += !ok;
        if (ok)
            break;
    }
    assert_true(failed > 50 && limits.memory < 1 << 20);
}

static int make_watchdog(void **state) {
    sm_watchdog *dog = NULL;
    assert_int_equal(sm_watchdog_new(false, &dog, NULL), SM_OK);
    *state = dog;
    return 0;
}

static int free_watchdog(void **state) {
    sm_watchdog_free(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loads),    cmocka_unit_test(test_load_size),
        cmocka_unit_test(test_load_log), cmocka_unit_test(test_load_limits),
        cmocka_unit_test(test_runs),     cmocka_unit_test(test_traceback),
        cmocka_unit_test(test_run_log),  cmocka_unit_test(test_log_calls),
        cmocka_unit_test(test_ends),     cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_no_room),  cmocka_unit_test(test_load_every_allocation),
    };
    return cmocka_run_group_tests(tests, make_watchdog, free_watchdog);
}
