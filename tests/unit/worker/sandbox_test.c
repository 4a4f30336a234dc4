/* sandbox: what a script sees, and what it does not. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "sandbox_help.h"

/* Bodies of run: each must end without an error. */
static void expectations(void **state) {
    (void)state;
    static const struct {
        const char *name, *body;
    } rows[] = {
        {"undefined global is nil", "assert(nosuchname == nil)"},
        {"what is not there",
         "for _, k in ipairs{'io','debug','package','dofile','loadfile','warn'} do assert(_G[k] == "
         "nil, k) end assert(string.dump == nil)"},
        {"what is there",
         "for _, k in ipairs{'string','table','math','utf8','coroutine','os'} do "
         "assert(type(_G[k]) "
         "== 'table', k) end for _, k in "
         "ipairs{'assert','error','getmetatable','ipairs','load','next','pairs','pcall','print',"
         "'rawequal','rawget','rawlen','rawset','require','select','setmetatable','tonumber',"
         "'tostring','type','xpcall'} do assert(type(_G[k]) == 'function', k) end assert(_VERSION "
         "== "
         "'Lua 5.4')"},
        {"os has four functions", "local n = 0 for k in pairs(os) do n = n + 1 end assert(n == 4 "
                                  "and os.time and os.date and "
                                  "os.clock and os.difftime)"},
        {"os.time is UTC",
         "assert(os.time{year=2026,month=1,day=1,hour=0} == 1767225600) assert(os.time{year=1970,"
         "month=1,day=1} == 43200) assert(os.time{year=2025,month=14,day=31,hour=25} == "
         "os.time{year=2026,month=3,day=4,hour=1})"},
        {"os.time sets the table right", "local t = {year=2026,month=1,day=32,hour=0} os.time(t) "
                                         "assert(t.month == 2 and t.day == 1 "
                                         "and t.wday == 1 and t.yday == 32 and t.isdst == false)"},
        {"os.time before the epoch",
         "local t = {year=1969,month=12,day=31,hour=23,min=59,sec=59} assert(os.time(t) == -1) "
         "assert(os.time{year=2026,month=-1,day=1} == os.time{year=2025,month=11,day=1})"},
        {"os.date is UTC",
         "assert(os.date('%Y-%m-%d %H:%M', 0) == '1970-01-01 00:00') assert(os.date('!%H', 0) == "
         "'00') assert(os.date('*t', 0).hour == 0) assert(not pcall(os.date, '%E'))"},
        {"os.clock is the run's own CPU", "assert(os.clock() >= 0 and os.clock() < 5)"},
        {"load text", "assert(load('return 1 + 1')() == 2)"},
        {"load with environment", "assert(load('return x', 'c', 't', {x = 5})() == 5)"},
        {"load takes no function", "assert(not pcall(load, function() end))"},
        {"load refuses bytecode",
         "local f, e = load('\\27Lua') assert(not f and e:find('binary'), e) f, e = "
         "load('\\27Lua', "
         "'x', 'b') assert(not f) f, e = load('return 1', 'x', 'b') assert(not f)"},
        {"load has a size cap",
         "local f, e = load((' '):rep(1 << 20) .. ' ') assert(not f and e:find('1048576'), e)"},
        {"load refuses forged names", "assert(not pcall(load, 'x', '@a\\nb'))"},
        {"load sees the sandbox", "assert(load('return _G')() == _G) assert(load('return io')() == "
                                  "nil)"},
        {"setmetatable refuses __gc",
         "local ok, e = pcall(setmetatable, {}, {__gc = true}) assert(not ok and e:find('__gc'), "
         "e) "
         "assert(not pcall(setmetatable, {}, setmetatable({}, {}) and {__gc = print}))"},
        {"setmetatable as usual",
         "local t = setmetatable({}, {__index = {x = 1}}) assert(t.x == 1) assert(not "
         "pcall(setmetatable, setmetatable({}, {__metatable = 1}), {})) assert(not "
         "pcall(setmetatable, 1, {})) setmetatable(t, nil) assert(t.x == nil)"},
        {"strings' metatable is locked", "assert(getmetatable('') == false)"},
        {"collectgarbage counts only",
         "assert(collectgarbage('count') > 1) assert(not pcall(collectgarbage)) assert(not "
         "pcall(collectgarbage, 'stop'))"},
        {"string.rep",
         "assert(('ab'):rep(3) == 'ababab') assert(('a'):rep(3, ',') == 'a,a,a') "
         "assert(('x'):rep(0) "
         "== '' and ('x'):rep(-1) == '') assert((''):rep(1 << 62) == '') assert((''):rep(3, '-') "
         "== "
         "'--') assert(('a'):rep(1, 'zz') == 'a') assert(not pcall(string.rep, 'xx', 1 << 62))"},
        {"table.insert",
         "local t = {1, 2} table.insert(t, 3) table.insert(t, 1, 0) assert(table.concat(t, ',') == "
         "'0,1,2,3') assert(not pcall(table.insert, t, 7, 1)) assert(not pcall(table.insert, t)) "
         "assert(not pcall(table.insert, t, 1, 2, 3))"},
        {"table.remove",
         "local t = {1, 2, 3} assert(table.remove(t, 1) == 1 and table.remove(t) == 3 and #t == 1) "
         "assert(table.remove({}) == nil and table.remove({}, 0) == nil) assert(not "
         "pcall(table.remove, t, 5))"},
        {"table.move",
         "local t = {1, 2, 3} table.move(t, 1, 3, 2) assert(table.concat(t, ',') == '1,1,2,3') "
         "table.move(t, 2, 4, 1) assert(table.concat(t, ',') == '1,2,3,3') local u = table.move(t, "
         "1, 2, 1, {}) assert(#u == 2 and u[2] == 2) assert(#table.move({}, 1, 0, 1) == 0)"},
        {"xpcall",
         "local ok, m = xpcall(error, function(e) return e .. '!' end, 'x') assert(ok == false and "
         "m "
         "== 'x!') local a, b, c = xpcall(function(...) return ... end, print, 1, 2) assert(a == "
         "true and b == 1 and c == 2) assert(not pcall(xpcall, print))"},
        {"xpcall whose handler fails", "local ok, m = xpcall(error, function() error('h', 0) end) "
                                       "assert(ok == false and m == 'h')"},
        {"xpcall across yields",
         "local co = coroutine.wrap(function() return xpcall(function() coroutine.yield(1) "
         "error('e', 0) end, function(m) return m .. '?' end) end) assert(co() == 1) local ok, m = "
         "co() assert(ok == false and m == 'e?')"},
        {"coroutines",
         "local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) return b * 2 "
         "end) "
         "local ok, v = coroutine.resume(co, 1) assert(ok and v == 2) ok, v = coroutine.resume(co, "
         "4) assert(ok and v == 8 and coroutine.status(co) == 'dead') ok, v = coroutine.resume(co) "
         "assert(not ok and v:find('dead'))"},
        {"wrap tells the error and its place",
         "local f = coroutine.wrap(function() error('boom') end) local ok, m = pcall(f) assert(not "
         "ok and m:find('boom'))"},
        {"wrap closes what failed",
         "local closed f = coroutine.wrap(function() local x <close> = setmetatable({}, {__close = "
         "function() closed = true end}) error('e') end) pcall(f) assert(closed)"},
        {"coroutine.close",
         "local closed local co = coroutine.create(function() local x <close> = setmetatable({}, "
         "{__close = function() closed = true end}) coroutine.yield() end) coroutine.resume(co) "
         "assert(coroutine.close(co) == true and closed and coroutine.status(co) == 'dead') "
         "assert(not pcall(coroutine.close, coroutine.running()))"},
        {"coroutine.close with an error",
         "local co = coroutine.create(function() local x <close> = setmetatable({}, {__close = "
         "function() error('c', 0) end}) coroutine.yield() end) coroutine.resume(co) local ok, e = "
         "coroutine.close(co) assert(ok == false and e == 'c')"},
        {"require a lib",
         "local u = require 'lib.util' assert(u.x == 42 and require 'lib.util' == u) "
         "assert(require('lib.deep.er') == true)"},
        {"require of what is not there",
         "local ok, e = pcall(require, 'lib.utli') assert(not ok and e:find('lib/utli.lua') and "
         "e:find('did you mean \"lib/util.lua\"', 1, true), e) ok, e = pcall(require, 'socket') "
         "assert(not ok and e:find('selfmon.*, cjson and lib.*', 1, true), e) ok, e = "
         "pcall(require, 'selfmon.htp') assert(e:find('selfmon.http', 1, true), e) assert(not "
         "pcall(require, 'selfmon.testing')) assert(not pcall(require, 'selfmon.internal')) "
         "assert(not pcall(require, 'lib...etc.passwd'))"},
        {"require in a circle",
         "local ok, e = pcall(require, 'lib.circle') assert(not ok and e:find('circle'), e)"},
        {"a broken lib names its line",
         "local ok, e = pcall(require, 'lib.broken') assert(not ok and "
         "e:find('inspections/lib/broken.lua:2:', 1, true), e)"},
        {"globals are the run's own", "assert(leaked == nil) leaked = 1"},
        {"globals are the run's own, again", "assert(leaked == nil) leaked = 1"},
        {"print of anything", "print() print(nil, true, 1, 1.5, 'x', {}, print)"},
    };
    static const sm_text libs[] = {
        {"lib/util.lua",
         "\xEF\xBB\xBF#!/x\nlocal name, path = ...\nassert(name == 'lib.util' and "
         "path == 'lib/util.lua')\nreturn {x = 42}",
         0},
        {"lib/deep/er.lua", "local x = 1", 0},
        {"lib/circle.lua", "require 'lib.circle'", 0},
        {"lib/broken.lua", "local x = 1\nlocal = 2", 0},
    };
    sm_text sized[SM_ARRAY_LEN(libs)];
    for (size_t i = 0; i < SM_ARRAY_LEN(libs); i++)
        sized[i] = (sm_text){libs[i].name, libs[i].text, strlen(libs[i].text)};
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        ran r;
        char *text = sm_asprintf("function run()\n%s\nend", rows[i].body);
        sm_snapshot snap = {
            "inspections", {"demo/h.lua", text, strlen(text)}, sized, SM_ARRAY_LEN(sized)};
        run_snapshot(&snap, NULL, NULL, &r);
        print_message("%s %s\n", rows[i].name, r.error ? r.error : "");
        assert_null(r.error);
        assert_string_equal(r.outcome, "ok");
        assert_int_equal(r.left, 0);
        ran_fini(&r);
        free(text);
    }
}

static void texts_that_do_not_load(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
        size_t n;
        const char *error;
    } rows[] = {
        {"bytecode", "\033LuaT", 5, "inspections/demo/h.lua: the file is not a text"},
        {"NUL", "\0x", 2, "inspections/demo/h.lua: the file is not a text"},
        {"bytecode behind a shebang", "#!x\n\033Lua", 8, "inspections/demo/h.lua:2: "},
        {"syntax after a shebang", "#!x\nlocal = 1", 13, "inspections/demo/h.lua:2: "},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        ran r;
        sm_snapshot snap = {"inspections", {"demo/h.lua", rows[i].text, rows[i].n}, NULL, 0};
        run_snapshot(&snap, NULL, NULL, &r);
        print_message("%s: %s\n", rows[i].name, r.error);
        assert_string_equal(r.outcome, "failed");
        assert_memory_equal(r.error, rows[i].error, strlen(rows[i].error));
        ran_fini(&r);
    }
    char *big = sm_malloc(SM_SANDBOX_TEXT_MAX + 1);
    memset(big, ' ', SM_SANDBOX_TEXT_MAX + 1);
    ran r;
    sm_snapshot snap = {"inspections", {"demo/h.lua", big, SM_SANDBOX_TEXT_MAX + 1}, NULL, 0};
    run_snapshot(&snap, NULL, NULL, &r);
    assert_string_equal(r.error, "inspections/demo/h.lua: the file is longer than 1048576 bytes");
    ran_fini(&r);
    free(big);
}

static void print_goes_to_the_log(void **state) {
    (void)state;
    ran r;
    run_text("print('while loading')\nfunction run() print('a', 1, nil) print(setmetatable({}, "
             "{__tostring = function() return 'T' end})) end",
             NULL, NULL, &r);
    assert_null(r.error);
    assert_null(strstr(r.log, "while loading"));
    assert_non_null(strstr(r.log, "\tprint\ta\t1\tnil\n"));
    assert_non_null(strstr(r.log, "\tprint\tT\n"));
    ran_fini(&r);
    sm_limits limits;
    sm_limits_default(&limits);
    limits.log = 10000;
    run_text("function run()\n while true do pcall(print, 'xxxxxxxxxx') end end", &limits, NULL,
             &r);
    assert_string_equal(r.outcome, "limit");
    assert_string_equal(r.error,
                        "inspections/demo/h.lua:2: log limit of 9.8 KiB reached (9.8 KiB written); "
                        "see limits.log");
    ran_fini(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expectations),
        cmocka_unit_test(texts_that_do_not_load),
        cmocka_unit_test(print_goes_to_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
