/* hostinfo: the parsers against texts of other machines. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "worker/hostinfo.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct proc {
    char dir[64];
} proc;

static void put(const proc *p, const char *file, const char *text) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", p->dir, file);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int setup(void **state) {
    proc *p = calloc(1, sizeof *p);
    snprintf(p->dir, sizeof p->dir, "/tmp/hostinfo-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    char self[80];
    snprintf(self, sizeof self, "%s/self", p->dir);
    assert_int_equal(mkdir(self, 0700), 0);
    *state = p;
    return 0;
}

static int teardown(void **state) {
    static const char *const files[] = {"stat", "meminfo", "loadavg", "uptime", "self/mountinfo"};
    proc *p = *state;
    char path[128];
    for (size_t i = 0; i < SM_ARRAY_LEN(files); i++) {
        snprintf(path, sizeof path, "%s/%s", p->dir, files[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/self", p->dir);
    rmdir(path);
    rmdir(p->dir);
    free(p);
    return 0;
}

static void near(double got, double want) {
    if (got < want - 1e-6 || got > want + 1e-6) {
        fail_msg("got %f, want %f", got, want);
    }
}

static void test_memory(void **state) {
    put(*state, "meminfo",
        "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    250 kB\n"
        "Buffers:          10 kB\nCached:          200 kB\nSwapCached:        0 kB\n"
        "SwapTotal:       400 kB\nSwapFree:        300 kB\n");
    json_t *o = sm_hostinfo_read_at(((proc *)*state)->dir, "memory", NULL);
    assert_int_equal(sm_json_int(o, "total", 0), 1024000);
    assert_int_equal(sm_json_int(o, "available", 0), 256000);
    assert_int_equal(sm_json_int(o, "used", 0), 768000);
    near(sm_json_num(o, "percent", 0), 75);
    assert_int_equal(sm_json_int(o, "cached", 0), 204800);
    assert_int_equal(sm_json_int(o, "swap_used", 0), 102400);
    near(sm_json_num(o, "swap_percent", 0), 25);
    json_decref(o);
}

static void test_memory_without_swap(void **state) {
    put(*state, "meminfo", "MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 50 kB\n");
    json_t *o = sm_hostinfo_read_at(((proc *)*state)->dir, "memory", NULL);
    assert_int_equal(sm_json_int(o, "available", 0), 200 * 1024); /* an old kernel */
    near(sm_json_num(o, "swap_percent", -1), 0);
    json_decref(o);
}

static void test_broken(void **state) {
    sm_err err = SM_ERR_INIT;
    put(*state, "meminfo", "");
    put(*state, "stat", "");
    assert_null(sm_hostinfo_read_at(((proc *)*state)->dir, "memory", &err));
    assert_int_equal(err.code, SM_PROTO);
    assert_null(sm_hostinfo_read_at(((proc *)*state)->dir, "cpu", &err));
    assert_null(sm_hostinfo_read_at(((proc *)*state)->dir, "loadavg", &err));
    assert_int_equal(err.code, SM_INVALID);
    assert_null(sm_hostinfo_read_at("/nonexistent", "load", &err));
    assert_int_equal(err.code, SM_NOT_FOUND);
}

static void test_load(void **state) {
    put(*state, "stat", "cpu  1 2 3 4 5 6 7 8 0 0\ncpu0 1 2 3\ncpu1 1 2 3\nintr 5\nctxt 7\n");
    put(*state, "loadavg", "0.25 1.50 12.75 3/456 7890\n");
    json_t *o = sm_hostinfo_read_at(((proc *)*state)->dir, "load", NULL);
    near(sm_json_num(o, "one", 0), 0.25);
    near(sm_json_num(o, "five", 0), 1.5);
    near(sm_json_num(o, "fifteen", 0), 12.75);
    assert_int_equal(sm_json_int(o, "running", 0), 3);
    assert_int_equal(sm_json_int(o, "threads", 0), 456);
    assert_int_equal(sm_json_int(o, "cores", 0), 2);
    json_decref(o);
    put(*state, "uptime", "1234.50 99.00\n");
    o = sm_hostinfo_read_at(((proc *)*state)->dir, "uptime", NULL);
    near(json_real_value(o), 1234.5);
    json_decref(o);
}

static void test_cpu(void **state) {
    const char *dir = ((proc *)*state)->dir;
    put(*state, "stat", "cpu  1000 0 500 8000 500 0 0 0 0 0\ncpu0 1\n");
    json_t *a = sm_hostinfo_read_at(dir, "cpu", NULL);
    put(*state, "stat", "cpu  1300 100 600 8400 480 10 10 80 0 0\ncpu0 1\n");
    json_t *b = sm_hostinfo_read_at(dir, "cpu", NULL);
    json_t *u = sm_hostinfo_cpu_usage(a, b);
    /* 300+100 user, 100+10+10 system, 400 idle, iowait went back, 80 steal: 1000 ticks */
    near(sm_json_num(u, "user", -1), 40);
    near(sm_json_num(u, "system", -1), 12);
    near(sm_json_num(u, "idle", -1), 40);
    near(sm_json_num(u, "iowait", -1), 0);
    near(sm_json_num(u, "steal", -1), 8);
    near(sm_json_num(u, "percent", -1), 60);
    json_decref(u);
    u = sm_hostinfo_cpu_usage(b, b); /* no tick passed */
    near(sm_json_num(u, "percent", -1), 0);
    near(sm_json_num(u, "idle", -1), 100);
    json_decref(u);
    json_decref(a);
    json_decref(b);
}

static const char mountinfo[] =
    "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
    "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,discard\n"
    "28 27 254:0 /srv/a /mnt/bound rw,relatime - ext4 /dev/vda1 rw\n"
    "29 27 254:0 /etc/hosts /etc/hosts rw - ext4 /dev/vda1 rw\n"
    "30 27 0:30 / /media/with\\040blank ro,nosuid master:1 propagate_from:2 - nfs4 "
    "server:/a\\040b rw\n"
    "31 27 0:31 / /home/me/remote rw - fuse.sshfs me@there:/ rw\n"
    "32 27 7:0 / /snap/core/1 ro - squashfs /dev/loop0 ro\n"
    "33 27 0:33 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw\n"
    "34 27 0:34 / /run rw - tmpfs tmpfs rw\n"
    "this is no line\n"
    "35 27 8:1 / /gone/away/nowhere rw - xfs /dev/sda1 rw\n";

static const json_t *mount_at(const json_t *list, const char *where) {
    size_t i;
    json_t *o;
    json_array_foreach(list, i, o) {
        if (strcmp(sm_json_str(o, "mount", ""), where) == 0) {
            return o;
        }
    }
    return NULL;
}

static void test_mounts(void **state) {
    (void)state;
    static const struct {
        const char *mount, *kind, *device, *fstype;
        bool read_only;
    } rows[] = {
        {"/", "disk", "/dev/vda1", "ext4", false},
        {"/proc", "pseudo", "proc", "proc", false},
        {"/media/with blank", "remote", "server:/a b", "nfs4", true},
        {"/home/me/remote", "remote", "me@there:/", "fuse.sshfs", false},
        {"/snap/core/1", "pseudo", "/dev/loop0", "squashfs", true},
        {"/var/lib/docker/overlay2/x/merged", "pseudo", "overlay", "overlay", false},
        {"/run", "pseudo", "tmpfs", "tmpfs", false},
    };
    json_t *list = sm_hostdisks_mounts(mountinfo);
    assert_int_equal(json_array_size(list), 10);
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        const json_t *o = mount_at(list, rows[i].mount);
        if (!o) {
            fail_msg("%s is missing", rows[i].mount);
        }
        assert_string_equal(sm_json_str(o, "kind", ""), rows[i].kind);
        assert_string_equal(sm_json_str(o, "device", ""), rows[i].device);
        assert_string_equal(sm_json_str(o, "fstype", ""), rows[i].fstype);
        assert_int_equal(sm_json_bool(o, "read_only", !rows[i].read_only), rows[i].read_only);
    }
    json_decref(list);
}

static void test_disks(void **state) {
    (void)state;
    json_t *list = sm_hostdisks_list(mountinfo);
    /* bind mounts count once, what is not there or not local is not asked */
    assert_int_equal(json_array_size(list), 1);
    const json_t *root = mount_at(list, "/");
    assert_non_null(root);
    assert_true(sm_json_int(root, "size", 0) > 0);
    assert_true(sm_json_int(root, "used", 0) <= sm_json_int(root, "size", 0));
    assert_null(json_object_get(root, "rank"));
    json_decref(list);
    /* an overlay is a disk where it is the root */
    list = sm_hostdisks_list("27 1 0:40 / / rw - overlay overlay rw\n");
    assert_int_equal(json_array_size(list), 1);
    json_decref(list);
    /* a service may see a disk read-only that others fill; a file system that nobody fills is one
     */
    list = sm_hostdisks_list("27 1 254:0 / / ro,relatime - ext4 /dev/vda1 rw\n");
    assert_false(sm_json_bool(mount_at(list, "/"), "read_only", true));
    json_decref(list);
    list = sm_hostdisks_list("27 1 254:0 / / rw,relatime - ext4 /dev/vda1 ro\n");
    assert_true(sm_json_bool(mount_at(list, "/"), "read_only", false));
    json_decref(list);
    list = sm_hostdisks_list("");
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_without_swap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_load, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cpu, setup, teardown),
        cmocka_unit_test(test_mounts),
        cmocka_unit_test(test_disks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
