/* vm: the memory cap, its accounting, and what becomes of errors. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "sandbox_help.h"

static void errors(void **state) {
    (void)state;
    static const struct {
        const char *name, *text, *error;
    } rows[] = {
        {"string", "function run() error('boom') end", "inspections/demo/h.lua:1: boom"},
        {"nil", "function run()\nerror() end",
         "inspections/demo/h.lua:2: (error object is a nil value)"},
        {"integer", "function run() error(42) end", "inspections/demo/h.lua:1: 42"},
        {"float", "function run() error(1.5) end", "inspections/demo/h.lua:1: 1.5"},
        {"table", "function run() error({}) end",
         "inspections/demo/h.lua:1: (error object is a table value)"},
        {"control bytes", "function run() error('a\\nb\\27[2J', 0) end", "a\\nb\\x1b[2J"},
        {"runtime", "function run()\n local x\n return x.y\nend",
         "inspections/demo/h.lua:3: attempt to index a nil value (local 'x')"},
        {"syntax", "function run( end",
         "inspections/demo/h.lua:1: <name> or '...' expected near 'end'"},
        {"main chunk", "\nerror('early')", "inspections/demo/h.lua:2: early"},
        {"hostile __tostring",
         "function run()\n error(setmetatable({}, {__tostring = function() while true do end end, "
         "__name = 'X'})) end",
         "inspections/demo/h.lua:2: (error object is a table value)"},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        ran r;
        run_text(rows[i].text, NULL, NULL, &r);
        print_message("%s\n", rows[i].name);
        assert_string_equal(r.outcome, "failed");
        assert_string_equal(r.error, rows[i].error);
        assert_int_equal(r.left, 0);
        ran_fini(&r);
    }
}

static void long_error_is_cut(void **state) {
    (void)state;
    ran r;
    run_text("function run() error(('A'):rep(1 << 20)) end", NULL, NULL, &r);
    assert_string_equal(r.outcome, "failed");
    assert_in_range(strlen(r.error), 8000, 8 << 10);
    ran_fini(&r);
}

static void traceback(void **state) {
    (void)state;
    ran r;
    run_text(
        "local function f(n) if n == 0 then error('deep') end local x = f(n - 1) return x end\n"
        "function run()\n  local t = {1, 2}\n  table.sort(t, function() f(0) end)\nend",
        NULL, NULL, &r);
    assert_string_equal(r.traceback, "inspections/demo/h.lua:1: in upvalue 'f'\n"
                                     "inspections/demo/h.lua:4: in function <line 4>\n"
                                     "inspections/demo/h.lua:4: in function <line 2>");
    ran_fini(&r);
    run_text(
        "local function f(n) if n == 0 then error('deep') end local x = f(n - 1) return x end\n"
        "function run() f(50) end",
        NULL, NULL, &r);
    int lines = 1;
    for (const char *p = r.traceback; (p = strchr(p, '\n')); p++)
        lines++;
    assert_int_equal(lines, 10);
    ran_fini(&r);
}

static void cap(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
        int line;
    } rows[] = {
        {"table", "function run()\n local t = {}\n while true do t[#t + 1] = {} end\nend", 3},
        {"one string", "function run()\n return ('x'):rep(1 << 30)\nend", 2},
        {"doubling", "function run()\n local s = 'x'\n while true do s = s .. s end\nend", 3},
        {"swallowed",
         "function run()\n local keep = {}\n while true do\n  pcall(function()\n keep[#keep + 1] = "
         "('x'):rep(1 << 20) .. #keep end)\n end\nend",
         5},
        {"swallowed in a coroutine",
         "function run()\n local keep = {}\n while true do\n  local co = "
         "coroutine.create(function()\n while true do keep[#keep + 1] = {} end end)\n  "
         "coroutine.resume(co)\n end\nend",
         5},
        {"concat buffer",
         "function run()\n local t = {} for i = 1, 40 do t[i] = ('x'):rep(100000) end\n while true "
         "do pcall(function() t[#t + 1] = table.concat(t) end) end\nend",
         3},
        {"swallowed once, then done",
         "function run()\n pcall(function() local t = {} while true do t[#t + 1] = {} end "
         "end)\nend",
         2},
    };
    sm_limits limits;
    sm_limits_default(&limits);
    limits.memory = 4 << 20;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        ran r;
        char where[64];
        run_text(rows[i].text, &limits, NULL, &r);
        print_message("%s: %s\n", rows[i].name, r.error ? r.error : r.outcome);
        assert_string_equal(r.outcome, "limit");
        snprintf(where, sizeof where,
                 "inspections/demo/h.lua:%d: memory limit of 4 MiB reached (peak ", rows[i].line);
        assert_memory_equal(r.error, where, strlen(where));
        assert_non_null(strstr(r.error, "see limits.memory"));
        assert_true(r.peak <= limits.memory);
        assert_int_equal(r.left, 0);
        ran_fini(&r);
    }
}

/* Garbage is not a reason to end a run: Lua collects before it gives up. */
static void garbage_is_free(void **state) {
    (void)state;
    sm_limits limits;
    sm_limits_default(&limits);
    limits.memory = 4 << 20;
    ran r;
    run_text("function run()\n local keep = ('k'):rep(1 << 20)\n for i = 1, 50 do local s = "
             "('x'):rep(500000) .. i end\n for i = 1, 20 do local s = ('y'):rep(600000 + i) end\n"
             "for i = 1, 1e5 do local t = {i, i, i} end return tostring(#keep) end",
             &limits, NULL, &r);
    print_message("%s\n", r.error ? r.error : "no error");
    assert_null(r.error);
    assert_string_equal(r.result, "1048576");
    assert_int_equal(r.left, 0);
    ran_fini(&r);
}

/* Every allocation of a small script fails once, as the cap rises in small steps: no crash, no
 * leak, and a sentence each time. */
static void every_allocation_fails(void **state) {
    (void)state;
    static const char text[] =
        "local t = {}\n"
        "function run()\n"
        "  for i = 1, 20 do t[i] = {i, tostring(i) .. 'x', n = i} end\n"
        "  local co = coroutine.wrap(function(a) local b = coroutine.yield(a .. 'y') return b "
        "end)\n"
        "  co('z') co(1)\n"
        "  pcall(error, {1})\n"
        "  xpcall(function() error('e') end, function(m) return m .. '!' end)\n"
        "  local s = load('return 1 + 1')()\n"
        "  print(('%d %s'):format(s, ('ab'):rep(40)), os.time{year = 2026, month = 1, day = 1})\n"
        "  return table.concat({'a', 'b'}, ',') .. ('abc'):gsub('b', function(c) return c .. c "
        "end)\n"
        "end\n";
    sm_limits limits;
    sm_limits_default(&limits);
    size_t needed = 0;
    int limited = 0;
    for (limits.memory = 1000; limits.memory < 200000; limits.memory += 7) {
        ran r;
        run_text(text, &limits, NULL, &r);
        assert_int_equal(r.left, 0);
        if (strcmp(r.outcome, "ok") == 0) {
            assert_string_equal(r.result, "a,babbc");
            needed = limits.memory;
            ran_fini(&r);
            break;
        }
        if (strcmp(r.outcome, "none") != 0) {
            assert_string_equal(r.outcome, "limit");
            assert_non_null(r.error);
            limited++;
        }
        assert_true(r.peak <= limits.memory);
        ran_fini(&r);
    }
    print_message("needs %zu bytes, %d caps refused\n", needed, limited);
    assert_true(needed > 0);
    assert_true(limited > 500);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors),          cmocka_unit_test(long_error_is_cut),
        cmocka_unit_test(traceback),       cmocka_unit_test(cap),
        cmocka_unit_test(garbage_is_free), cmocka_unit_test(every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
