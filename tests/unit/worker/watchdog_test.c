/* watchdog: deadline, CPU budget, waiting runs, many runs at once, cancelling from outside, and the
 * hostile bodies that only a sticky stop ends. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "sandbox_help.h"
#include "base/fsx.h"
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static sm_watchdog *dog;

static int setup(void **state) {
    sm_err err = SM_ERR_INIT;
    (void)state;
    return sm_watchdog_new(false, &dog, &err) == SM_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    sm_watchdog_free(dog);
    return 0;
}

static void deadline_and_cpu(void **state) {
    (void)state;
    static const struct {
        const char *name, *text, *outcome, *error;
        double wall, cpu, at_least;
    } rows[] = {
        {"wall", "function run()\n while true do end\nend", "timeout",
         "inspections/demo/h.lua:2: time limit of 0.2 s reached; see timeout", 0.2, 10, 0.2},
        {"cpu", "function run()\n while true do end\nend", "limit",
         "inspections/demo/h.lua:2: CPU limit of 0.1 s reached (used 0.", 5, 0.1, 0.1},
        {"main chunk", "while true do end", "timeout",
         "inspections/demo/h.lua:1: time limit of 0.1 s reached; see timeout", 0.1, 10, 0.1},
        {"neither", "function run() for i = 1, 1e6 do end end", "ok", NULL, 5, 5, 0},
        {"no limits", "function run() for i = 1, 1e6 do end end", "ok", NULL, 0, 0, 0},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        sm_limits limits;
        ran r;
        sm_limits_default(&limits);
        limits.wall_s = rows[i].wall;
        limits.cpu_s = rows[i].cpu;
        run_text(rows[i].text, &limits, dog, &r);
        print_message("%s: %s %s\n", rows[i].name, r.outcome, r.error ? r.error : "");
        assert_string_equal(r.outcome, rows[i].outcome);
        if (rows[i].error)
            assert_int_equal(strncmp(r.error, rows[i].error, strlen(rows[i].error)), 0);
        assert_true(r.seconds >= rows[i].at_least);
        assert_true(r.seconds < rows[i].at_least + 1);
        ran_fini(&r);
    }
}

/* ---- a run that waits ---- */

typedef struct waiter {
    sm_run run;
    bool woken; /* false: sm_run_wait gave up */
    pthread_barrier_t ready;
    double seconds;
} waiter;

static void *wait_in_run(void *arg) {
    waiter *w = arg;
    int64_t t0 = sm_mono_ns();
    sm_vm_watched_by(dog);
    sm_vm_enter(&w->run);
    pthread_barrier_wait(&w->ready);
    pthread_mutex_lock(&w->run.mu);
    while ((w->woken = sm_run_wait(&w->run, INT64_MAX)))
        ;
    pthread_mutex_unlock(&w->run.mu);
    sm_vm_leave();
    w->seconds = (double)(sm_mono_ns() - t0) / 1e9;
    return NULL;
}

static void waiting_runs(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double wall;
        int cancel, stop;
    } rows[] = {
        {"deadline", 0.1, 0, SM_STOP_TIMEOUT},
        {"cancelled", 30, 1, SM_STOP_CANCELLED},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        waiter w;
        pthread_t thread;
        sm_limits limits;
        memset(&w, 0, sizeof w);
        sm_limits_default(&limits);
        limits.wall_s = rows[i].wall;
        sm_run_init(&w.run, "demo/w.run", "", &limits, NULL);
        pthread_barrier_init(&w.ready, NULL, 2);
        assert_int_equal(pthread_create(&thread, NULL, wait_in_run, &w), 0);
        pthread_barrier_wait(&w.ready);
        if (rows[i].cancel)
            sm_run_stop(&w.run, SM_STOP_CANCELLED);
        pthread_join(thread, NULL);
        print_message("%s: %.3f s\n", rows[i].name, w.seconds);
        assert_int_equal(atomic_load(&w.run.stop), rows[i].stop);
        assert_true(w.seconds < 1);
        pthread_barrier_destroy(&w.ready);
        sm_run_fini(&w.run);
    }
}

/* ---- many at once, with deadlines out of order ---- */

enum { MANY = 24 };

typedef struct one {
    pthread_t thread;
    double wall;
    int nice; /* of the thread, afterwards */
    ran r;
} one;

static void *run_one(void *arg) {
    one *o = arg;
    sm_limits limits;
    sm_limits_default(&limits);
    limits.wall_s = o->wall;
    limits.cpu_s = 0;
    run_text("function run() while true do pcall(function() while true do end end) end end",
             &limits, dog, &o->r);
    o->nice = getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));
    return NULL;
}

static void many_runs(void **state) {
    (void)state;
    one all[MANY];
    memset(all, 0, sizeof all);
    for (int i = 0; i < MANY; i++) {
        all[i].wall = 0.05 + 0.02 * ((i * 7) % MANY);
        assert_int_equal(pthread_create(&all[i].thread, NULL, run_one, &all[i]), 0);
    }
    for (int i = 0; i < MANY; i++) {
        pthread_join(all[i].thread, NULL);
        assert_string_equal(all[i].r.outcome, "timeout");
        assert_int_equal(all[i].nice, 0);
        assert_true(all[i].r.seconds >= all[i].wall);
        assert_true(all[i].r.seconds < all[i].wall + 1);
        ran_fini(&all[i].r);
    }
}

/* A run from outside that loops in Lua ends when it is cancelled, without a deadline. */
static void *cancel_soon(void *arg) {
    sm_run *run = arg;
    while (sm_mono_ns() < run->started_ns + 50 * SM_NS_PER_MS)
        usleep(5000);
    sm_run_stop(run, SM_STOP_CANCELLED);
    return NULL;
}

static void cancelled_in_lua(void **state) {
    (void)state;
    sm_run run;
    pthread_t thread;
    char *error = NULL;
    sm_run_init(&run, "demo/c.run", "", NULL, NULL);
    sm_vm_enter(&run);
    lua_State *L = sm_vm_new(&run);
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &run), 0);
    assert_int_equal(luaL_loadstring(L, "while true do end"), LUA_OK);
    assert_int_equal(sm_vm_call(L, 0, 0, &error, NULL), SM_CLOSED);
    assert_non_null(strstr(error, "cancelled"));
    free(error);
    pthread_join(thread, NULL);
    sm_vm_close(L);
    sm_vm_leave();
    sm_run_fini(&run);
}

static void busy_run_gets_nice(void **state) {
    (void)state;
    sm_watchdog *nice_dog;
    sm_err err = SM_ERR_INIT;
    /* Not on this thread: nice cannot be undone. */
    assert_int_equal(sm_watchdog_new(true, &nice_dog, &err), SM_OK);
    sm_watchdog *mine = dog;
    dog = nice_dog;
    one o;
    memset(&o, 0, sizeof o);
    o.wall = 0.1;
    assert_int_equal(pthread_create(&o.thread, NULL, run_one, &o), 0);
    pthread_join(o.thread, NULL);
    assert_string_equal(o.r.outcome, "timeout");
    assert_int_equal(o.nice, 19);
    ran_fini(&o.r);
    dog = mine;
    sm_watchdog_free(nice_dog);
}

/* ---- hostile bodies ---- */

static void hostile(void **state) {
    (void)state;
    static const struct {
        const char *file, *outcome; /* outcomes that are allowed, separated by blanks */
    } rows[] = {
        {"a01_dump_load", "ok"},
        {"a02_crafted_bytecode", "ok"},
        {"a04_load_reader_endless", "failed"},
        {"a05_load_env_real_globals", "ok"},
        {"a07_parser_depth", "ok"},
        {"a08_parser_long", "ok limit timeout"},
        {"b01_debug_registry", "ok"},
        {"b02_debug_via_loaded", "ok"},
        {"b04_os_calls", "ok"},
        {"b05_io", "ok"},
        {"b07_string_metatable", "ok"},
        {"b08_library_poison", "ok"},
        {"b10_collectgarbage", "ok"},
        {"b11_gc_stop_garbage", "timeout"},
        {"c01_while_true", "timeout"},
        {"c02_goto_loop", "timeout"},
        {"c04_tailcall", "timeout"},
        {"c05_pcall_swallow", "timeout"},
        {"c06_xpcall_handler", "timeout"},
        {"c07_coroutine_swallow", "timeout"},
        {"c08_close_loop", "timeout"},
        {"c10_metamethod_loop", "timeout"},
        {"c11_coroutine_tree", "timeout"},
        {"d01_empty_rep", "ok"},
        {"d02_table_move", "timeout"},
        {"d07_gc_loop", "failed"},
        {"d08_gc_at_close", "failed"},
        {"d10_gc_calls_api", "failed"},
        {"d11_sort_lying", "ok timeout"},
        {"e01_rep_bomb", "limit"},
        {"e02_concat_double", "limit"},
        {"e04_mem_error_swallow", "limit"},
        {"e05_coroutines_kept", "limit timeout"},
        {"e07_unpack_many", "failed"},
        {"e08_format_width", "ok"},
        {"e10_gsub_growth", "limit"},
        {"f01_lua_recursion", "failed"},
        {"f02_c_recursion", "failed"},
        {"f04_coroutine_nest", "failed"},
        {"f07_index_chain", "failed"},
        {"f08_vararg_stack", "failed timeout"},
        {"g01_error_tostring_loop", "failed"},
        {"g02_error_tostring_error", "failed"},
        {"g04_error_huge", "limit"},
        {"g05_error_forged_log", "failed"},
        {"g07_print_flood", "limit"},
        {"g08_print_tostring", "timeout"},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        char path[512];
        char *body = NULL;
        size_t n;
        sm_limits limits;
        sm_err err = SM_ERR_INIT;
        ran r;
        snprintf(path, sizeof path, "%s/hostile/%s.lua", SM_TEST_DATA, rows[i].file);
        assert_int_equal(sm_fsx_read(path, 1 << 20, &body, &n, &err), SM_OK);
        char *text = sm_asprintf("function run()\n%s\nend", body);
        sm_limits_default(&limits);
        limits.wall_s = strstr(rows[i].outcome, "timeout") ? 0.3 : 3;
        run_text(text, &limits, dog, &r);
        if (!strstr(rows[i].outcome, r.outcome))
            print_message("%s: %s %s\n", rows[i].file, r.outcome, r.error ? r.error : "");
        assert_non_null(strstr(rows[i].outcome, r.outcome));
        assert_true(r.seconds < limits.wall_s + 1);
        assert_int_equal(r.left, 0);
        if (r.error) {
            assert_null(strstr(r.error, "ESCAPE"));
            assert_true(strlen(r.error) <= 8 << 10);
            assert_null(strchr(r.error, '\n'));
            assert_null(strchr(r.error, '\033'));
        }
        ran_fini(&r);
        free(text);
        free(body);
    }
}

/* More ways to outlive a stop than the corpus has. */
static void stop_sticks(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
    } rows[] = {
        {"coroutine made before the stop", "function run()\n local co = coroutine.wrap(function() "
                                           "while true do coroutine.yield() end "
                                           "end)\n while true do pcall(co) end\nend"},
        {"close handler in a coroutine",
         "function run()\n local co = coroutine.create(function() local x <close> = "
         "setmetatable({}, {__close = function() while true do end end}) while true do end end)\n "
         "coroutine.resume(co) coroutine.close(co)\nend"},
        {"close handler through wrap",
         "function run()\n local f = coroutine.wrap(function() local x <close> = setmetatable({}, "
         "{__close = function() while true do end end}) error('now') end)\n while true do pcall(f) "
         "f "
         "= coroutine.wrap(function() end) end\nend"},
        {"xpcall in xpcall", "local function f() while true do end end\nfunction run() while true "
                             "do xpcall(f, function() "
                             "xpcall(f, f) end) end end"},
        {"C functions only",
         "function run() while true do pcall(pcall, pcall, string.rep, 'x', 1) end end"},
        {"sort with a C comparator",
         "function run() local t = setmetatable({}, {__len = function() return 1 << 30 end, "
         "__index = "
         "type, __newindex = type}) while true do pcall(table.sort, t) end end"},
        {"lying length", "function run() table.insert(setmetatable({}, {__len = function() return "
                         "math.maxinteger - 2 "
                         "end}), 1, 1) end"},
        {"lying length, remove", "function run() table.remove(setmetatable({}, {__len = function() "
                                 "return math.maxinteger - 2 "
                                 "end}), 1) end"},
        {"gsub callback", "function run() while true do pcall(string.gsub, ('x'):rep(1000), '.', "
                          "function() while true do end end) end end"},
        {"generic for", "function run() for _ in function() return 1 end do end end"},
        {"coroutine in a close handler",
         "function run() local x <close> = setmetatable({}, {__close = function() "
         "coroutine.wrap(function() while true do end end)() end}) while true do end end"},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        sm_limits limits;
        ran r;
        sm_limits_default(&limits);
        limits.wall_s = 0.1;
        run_text(rows[i].text, &limits, dog, &r);
        print_message("%s: %.3f s %s\n", rows[i].name, r.seconds, r.error ? r.error : r.outcome);
        assert_string_equal(r.outcome, "timeout");
        assert_true(r.seconds < 1.1);
        assert_int_equal(r.left, 0);
        ran_fini(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waiting_runs),
    /* The thread sanitizer holds signals back until an instrumented call, and Lua makes none. */
#ifndef __SANITIZE_THREAD__
        cmocka_unit_test(deadline_and_cpu), cmocka_unit_test(many_runs),
        cmocka_unit_test(cancelled_in_lua), cmocka_unit_test(busy_run_gets_nice),
        cmocka_unit_test(hostile),          cmocka_unit_test(stop_sticks),
#endif
    };
#ifdef __SANITIZE_THREAD__
    (void)deadline_and_cpu, (void)many_runs, (void)cancelled_in_lua, (void)busy_run_gets_nice;
    (void)hostile, (void)stop_sticks;
#endif
    return cmocka_run_group_tests(tests, setup, teardown);
}
