/* What fits into made-up limits, and reading them from made-up /proc and /sys trees. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/mem.h"
#include "daemon/ceilings.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const sm_room plenty = {.files = -1, .tasks = -1, .memory = -1};

static sm_ceilings wanted(void) {
    return (sm_ceilings){.workers = 8, .runs_per_worker = 64, .max_running = 4096};
}

/* The sentence about a key, or "". Borrowed. */
static const char *said_of(const json_t *said, const char *key) {
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)said, i, one) {
        if (strcmp(sm_json_str(one, "key", ""), key) == 0)
            return sm_json_str(one, "text", "");
    }
    return "";
}

static void nothing_is_lowered(void **state) {
    (void)state;
    sm_room rooms[] = {plenty, {.files = 4096, .tasks = 8000, .memory = INT64_C(8) << 30}};
    for (size_t i = 0; i < SM_ARRAY_LEN(rooms); i++) {
        sm_ceilings c = wanted();
        json_t *said;
        assert_int_equal(sm_ceilings_fit(&rooms[i], &c, &said, NULL), SM_OK);
        assert_int_equal(json_array_size(said), 0);
        assert_int_equal(c.workers, 8);
        assert_int_equal(c.runs_per_worker, 64);
        assert_int_equal(c.max_running, 4096);
        assert_int_equal(c.peers, 64);
        json_decref(said);
    }
}

static void files(void **state) {
    (void)state;
    sm_room room = plenty;
    sm_ceilings c = wanted();
    json_t *said;
    sm_err err = SM_ERR_INIT;
    room.files = 64;
    assert_int_equal(sm_ceilings_fit(&room, &c, &said, &err), SM_OK);
    assert_string_equal(said_of(said, "workers"),
                        "workers is lowered from 8 to 6: at most 64 files may be open at once "
                        "(RLIMIT_NOFILE); raise LimitNOFILE= of the service, or ulimit -n");
    assert_int_equal(c.workers, 6);
    assert_int_equal(c.runs_per_worker, 8);
    assert_true(c.peers >= 4 && c.peers < 20 && c.processes >= 8);
    json_decref(said);
    room.files = 40;
    c = wanted();
    assert_int_equal(sm_ceilings_fit(&room, &c, &said, &err), SM_LIMIT);
    assert_non_null(strstr(err.msg, "at most 40 files may be open at once, at least 56"));
    assert_null(said);
}

/* Whatever the limit: all that is given out fits into it. */
static void files_of_any_number(void **state) {
    (void)state;
    for (int64_t n = 56; n < 5000; n++) {
        sm_room room = plenty;
        sm_ceilings c = wanted();
        json_t *said;
        room.files = n;
        assert_int_equal(sm_ceilings_fit(&room, &c, &said, NULL), SM_OK);
        json_decref(said);
        assert_true(c.workers >= 1 && c.runs_per_worker >= 1 && c.max_running >= 1);
        assert_true(32 + c.runs_per_worker * 4 <= n + 4);
        assert_true(30 + c.processes + c.peers <= n);
    }
}

static void tasks_and_memory(void **state) {
    (void)state;
    sm_room room = plenty;
    sm_ceilings c = wanted();
    json_t *said;
    sm_err err = SM_ERR_INIT;
    room.tasks = 512;
    room.tasks_grouped = true;
    assert_int_equal(sm_ceilings_fit(&room, &c, &said, &err), SM_OK);
    assert_int_equal(c.max_running, (512 - 16 - 32) * 3 / 4);
    assert_non_null(strstr(said_of(said, "max_running"), "TasksMax="));
    assert_int_equal(c.workers, 8);
    json_decref(said);
    room.tasks = 10;
    assert_int_equal(sm_ceilings_fit(&room, &c, &said, &err), SM_LIMIT);
    assert_non_null(strstr(err.msg, "pids.max"));
    room = plenty;
    room.memory = INT64_C(256) << 20;
    room.memory_grouped = true;
    c = wanted();
    assert_int_equal(sm_ceilings_fit(&room, &c, &said, &err), SM_OK);
    assert_true(c.workers < 8 && c.workers >= 4 && c.max_running < 4096 && c.max_running > 500);
    assert_non_null(
        strstr(said_of(said, "max_running"), "there are 256 MiB of memory (memory.max"));
    json_decref(said);
    c = wanted();
    c.isolated = true;
    assert_int_equal(sm_ceilings_fit(&room, &c, &said, &err), SM_OK);
    assert_true(c.max_running >= 4 && c.max_running < 16);
    json_decref(said);
}

static void put(const char *root, const char *path, const char *text) {
    char command[600];
    snprintf(command, sizeof command, "mkdir -p \"$(dirname '%s/%s')\" && printf '%s' > '%s/%s'",
             root, path, text, root, path);
    assert_int_equal(system(command), 0);
}

static void measure(void **state) {
    (void)state;
    char root[] = "/tmp/sm-ceilings-XXXXXX", command[100];
    assert_non_null(mkdtemp(root));
    sm_room r;
    put(root, "proc/self/cgroup", "0::/system.slice/selfmon.service\\n");
    put(root, "sys/fs/cgroup/system.slice/selfmon.service/pids.max", "max\\n");
    put(root, "sys/fs/cgroup/system.slice/selfmon.service/memory.max", "734003200\\n");
    put(root, "sys/fs/cgroup/system.slice/pids.max", "300\\n");
    put(root, "sys/fs/cgroup/system.slice/pids.current", "100\\n");
    put(root, "sys/fs/cgroup/system.slice/memory.max", "max\\n");
    sm_ceilings_measure(root, &r);
    assert_true(r.tasks == 200 && r.tasks_grouped);
    assert_true(r.memory == 734003200 && r.memory_grouped);
    /* Version 1, and a container whose path is not visible: the mount's own files count. */
    put(root, "proc/self/cgroup", "12:pids:/docker/abc\\n4:memory:/docker/abc\\n1:name=x:/\\n");
    put(root, "sys/fs/cgroup/pids/pids.max", "500\\n");
    put(root, "sys/fs/cgroup/pids/pids.current", "20\\n");
    put(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\\n");
    sm_ceilings_measure(root, &r);
    assert_true(r.tasks == 480);
    assert_true(r.memory > 0 && !r.memory_grouped);
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(limit.rlim_cur == limit.rlim_max);
    assert_true(r.files == (int64_t)limit.rlim_cur || limit.rlim_cur == RLIM_INFINITY);
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lowered),
        cmocka_unit_test(files),
        cmocka_unit_test(files_of_any_number),
        cmocka_unit_test(tasks_and_memory),
        cmocka_unit_test(measure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
