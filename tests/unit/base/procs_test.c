/* procs: a /proc of our own, and the real one with this process and a child in it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/procs.h"
#include "base/mem.h"
#include "base/secret.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct proc {
    char dir[64];
} proc;

static void put(const proc *p, const char *file, const char *text, size_t n) {
    char *path = sm_asprintf("%s/%s", p->dir, file);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    fclose(f);
    free(path);
}

static void add(const proc *p, const char *pid, const char *stat, const char *status,
                const char *cmdline, size_t n) {
    char *dir = sm_asprintf("%s/%s", p->dir, pid);
    char *file = sm_asprintf("%s/stat", pid);
    assert_int_equal(mkdir(dir, 0700), 0);
    put(p, file, stat, strlen(stat));
    free(file);
    file = sm_asprintf("%s/status", pid);
    put(p, file, status, strlen(status));
    free(file);
    file = sm_asprintf("%s/cmdline", pid);
    put(p, file, cmdline, n);
    free(file);
    free(dir);
}

static int setup(void **state) {
    proc *p = calloc(1, sizeof *p);
    snprintf(p->dir, sizeof p->dir, "/tmp/procs-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    put(p, "stat", "cpu 1\nbtime 1000\n", 17);
    static const char line[] = "/usr/sbin/nginx\0-p\0hunter2-is-secret\0";
    add(p, "12",
        "12 (a) b) (c) S 1 12 12 0 -1 4194560 0 0 0 0 250 50 0 0 20 0 7 0 500 10000 3 18446744 1\n",
        "Name:\tx\nUid:\t0\t0\t0\t0\n", line, sizeof line - 1);
    add(p, "13", "13 (kworker/0:1) I 2 0 0 0 -1 69238880 0 0 0 0 0 0 0 0 20 0 1 0 6 0 0 1 1\n",
        "Uid:\t0\n", "", 0);
    static const char longer[] = "/opt/a-very-long-program-name\0";
    add(p, "14", "14 (a-very-long-pro) Z 12 0 0 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 6 0 0 1 1\n",
        "Uid:\t4711\n", longer, sizeof longer - 1);
    add(p, "15", "nonsense", "", "", 0);
    char *empty = sm_asprintf("%s/16", p->dir);
    mkdir(empty, 0700);
    free(empty);
    *state = p;
    return 0;
}

static int teardown(void **state) {
    proc *p = *state;
    char *line = sm_asprintf("rm -rf %s", p->dir);
    assert_int_equal(system(line), 0);
    free(line);
    free(p);
    return 0;
}

static const json_t *with(const json_t *list, const char *key, int64_t v) {
    size_t i;
    json_t *o;
    json_array_foreach(list, i, o) {
        if (sm_json_int(o, key, -1) == v)
            return o;
    }
    return NULL;
}

static json_t *chosen(const proc *p, const char *filter) {
    json_t *f = filter ? json_loads(filter, 0, NULL) : NULL, *list = NULL;
    sm_err err = SM_ERR_INIT;
    assert_true(!filter || f);
    if (sm_procs_read(p->dir, f, &list, &err) != SM_OK)
        fail_msg("%s", err.msg);
    json_decref(f);
    return list;
}

static void test_fields(void **state) {
    json_t *list = chosen(*state, NULL);
    assert_int_equal(json_array_size(list), 3); /* what is broken or gone is left out */
    const json_t *o = with(list, "pid", 12);
    assert_string_equal(sm_json_str(o, "name", ""), "a) b) (c");
    assert_int_equal(sm_json_int(o, "ppid", 0), 1);
    assert_string_equal(sm_json_str(o, "user", ""), "root");
    assert_string_equal(sm_json_str(o, "state", ""), "sleeping");
    assert_int_equal(sm_json_int(o, "threads", 0), 7);
    assert_int_equal(sm_json_int(o, "rss", 0), 3 * sysconf(_SC_PAGESIZE));
    double tick = (double)sysconf(_SC_CLK_TCK);
    assert_true(sm_json_num(o, "cpu_seconds", 0) == 300 / tick);
    assert_true(sm_json_num(o, "started", 0) == 1000 + 500 / tick);
    assert_false(sm_json_bool(o, "kernel", true));
    assert_null(json_object_get(o, "cmdline"));
    assert_true(sm_json_bool(with(list, "pid", 13), "kernel", false));
    o = with(list, "pid", 14);
    assert_string_equal(sm_json_str(o, "name", ""), "a-very-long-program-name");
    assert_string_equal(sm_json_str(o, "state", ""), "zombie");
    assert_int_equal(sm_json_int(o, "uid", 0), 4711);
    json_decref(list);
}

static void test_filters(void **state) {
    static const struct {
        const char *filter;
        size_t n;
    } rows[] = {
        {"{\"name\":\"a-*\"}", 1},
        {"{\"state\":\"zombie\"}", 1},
        {"{\"ppid\":2}", 1},
        {"{\"kernel\":false}", 2},
        {"{\"user\":\"root\"}", 2},
        {"{\"user\":\"nobody here\"}", 0},
        {"{\"uid\":4711,\"pid\":14}", 1},
        {"{\"uid\":4711,\"pid\":12}", 0},
        {"{\"match\":\"sbin/nginx\"}", 1},
        {"{\"match\":\"apache\"}", 0},
    };
    json_t *all = chosen(*state, "{\"cmdline\":true}");
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        json_t *list = chosen(*state, rows[i].filter), *same = NULL;
        json_t *filter = json_loads(rows[i].filter, 0, NULL);
        assert_int_equal(json_array_size(list), rows[i].n);
        /* A list chosen from another is the same. */
        assert_int_equal(sm_procs_select(all, filter, &same, NULL), SM_OK);
        assert_int_equal(json_array_size(same), rows[i].n);
        json_decref(filter);
        json_decref(same);
        json_decref(list);
    }
    json_t *plain = NULL;
    assert_int_equal(sm_procs_select(all, NULL, &plain, NULL), SM_OK);
    assert_null(json_object_get(json_array_get(plain, 0), "cmdline"));
    json_decref(plain);
    json_decref(all);
}

static void test_cmdline_is_masked(void **state) {
    sm_secret *s = sm_secret_new("hunter2-is-secret", 17);
    json_t *list = chosen(*state, "{\"cmdline\":true,\"pid\":12}");
    assert_string_equal(sm_json_str(json_array_get(list, 0), "cmdline", ""),
                        "/usr/sbin/nginx -p ***");
    json_decref(list);
    sm_secret_free(s);
}

static void test_real(void **state) {
    (void)state;
    json_t *list = NULL;
    sm_err err = SM_ERR_INIT;
    pid_t child = fork();
    if (child == 0)
        _exit(0); /* a zombie until it is waited for */
    assert_true(child > 0);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(sm_procs_read("/proc", NULL, &list, &err), SM_OK);
    const json_t *me = with(list, "pid", getpid()), *dead = with(list, "pid", child);
    assert_non_null(me);
    assert_non_null(dead);
    assert_string_equal(sm_json_str(dead, "state", ""), "zombie");
    assert_int_equal(sm_json_int(dead, "ppid", 0), getpid());
    assert_int_equal(sm_json_int(me, "uid", -1), getuid());
    assert_true(sm_json_int(me, "rss", 0) > 100000);
    double age = (double)time(NULL) - sm_json_num(me, "started", 0);
    assert_true(age > -10 && age < 3600);
    json_decref(list);
    waitpid(child, NULL, 0);
    assert_int_equal(sm_procs_read("/nonexistent", NULL, &list, &err), SM_IO);
    assert_null(list);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {T(test_fields), T(test_filters), T(test_cmdline_is_masked),
                                       cmocka_unit_test(test_real)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
