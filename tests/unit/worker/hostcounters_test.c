/* hostcounters and hostsockets: the parsers against texts of other machines. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/mem.h"
#include "worker/hostinfo.h"
#include "worker/hostsockets.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct proc {
    char dir[64];
} proc;

static void put(const proc *p, const char *file, const char *text) {
    char *path = sm_asprintf("%s/%s", p->dir, file);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(path);
}

static int setup(void **state) {
    proc *p = calloc(1, sizeof *p);
    snprintf(p->dir, sizeof p->dir, "/tmp/hostcounters-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    char *line = sm_asprintf("mkdir -p %s/pressure %s/sys/fs %s/sys/net/netfilter %s/net", p->dir,
                             p->dir, p->dir, p->dir);
    assert_int_equal(system(line), 0);
    free(line);
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

static json_t *reading(const proc *p, const char *what) {
    sm_err err = SM_ERR_INIT;
    json_t *o = sm_hostinfo_read_at(p->dir, what, &err);
    if (!o)
        fail_msg("%s: %s", what, err.msg);
    return o;
}

static void absent(const proc *p, const char *what, sm_rc code) {
    sm_err err = SM_ERR_INIT;
    assert_null(sm_hostinfo_read_at(p->dir, what, &err));
    if (err.code != code)
        fail_msg("%s: %s (%d)", what, err.msg, err.code);
}

static void test_pressure(void **state) {
    absent(*state, "pressure", SM_NOT_FOUND);
    put(*state, "pressure/cpu", "some avg10=1.50 avg60=2.00 avg300=3.00 total=2500000\n");
    put(*state, "pressure/memory",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
        "full avg10=9.00 avg60=8.00 avg300=7.00 total=1000000\n");
    put(*state, "pressure/io", "");
    json_t *o = reading(*state, "pressure");
    const json_t *cpu = json_object_get(o, "cpu"), *memory = json_object_get(o, "memory");
    assert_true(sm_json_num(json_object_get(cpu, "some"), "avg10", 0) == 1.5);
    assert_true(sm_json_num(json_object_get(cpu, "some"), "total", 0) == 2.5);
    assert_null(json_object_get(cpu, "full"));
    assert_true(sm_json_num(json_object_get(memory, "full"), "avg300", 0) == 7);
    assert_int_equal(json_object_size(json_object_get(o, "io")), 0);
    json_decref(o);
}

static void test_used(void **state) {
    absent(*state, "conntrack", SM_NOT_FOUND);
    absent(*state, "open_files", SM_IO);
    put(*state, "sys/fs/file-nr", "x\n");
    absent(*state, "open_files", SM_PROTO);
    put(*state, "sys/fs/file-nr", "600\t100\t1000\n");
    put(*state, "sys/net/netfilter/nf_conntrack_count", "25\n");
    put(*state, "sys/net/netfilter/nf_conntrack_max", "100\n");
    json_t *o = reading(*state, "open_files");
    assert_int_equal(sm_json_int(o, "used", 0), 500);
    assert_true(sm_json_num(o, "percent", 0) == 50);
    json_decref(o);
    o = reading(*state, "conntrack");
    assert_int_equal(sm_json_int(o, "max", 0), 100);
    assert_true(sm_json_num(o, "percent", 0) == 25);
    json_decref(o);
}

static void test_lists(void **state) {
    put(*state, "diskstats",
        "   7       0 loop0 11 0 28 0 0 0 0 0 0 0 0\n"
        " 254       0 vda 100 1 8 1500 50 2 16 2500 3 4000 9 0 0 0 0 0 0\n"
        " 254       1 vdb 0 0 0 0 0 0 0 0 0 0 0\nnonsense\n");
    put(*state, "net/dev",
        "Inter-|   Receive                |  Transmit\n face |bytes packets\n"
        "    lo: 100 2 0 0 0 0 0 0 100 2 0 0 0 0 0 0\n"
        "eth0:7 6 5 4 0 0 0 0 3 2 1 0 0 0 0 0\n");
    json_t *list = reading(*state, "disk_io");
    assert_int_equal(json_array_size(list), 1);
    const json_t *o = json_array_get(list, 0);
    assert_string_equal(sm_json_str(o, "device", ""), "vda");
    assert_int_equal(sm_json_int(o, "read_bytes", 0), 8 * 512);
    assert_int_equal(sm_json_int(o, "written_bytes", 0), 16 * 512);
    assert_true(sm_json_num(o, "read_seconds", 0) == 1.5);
    assert_true(sm_json_num(o, "busy_seconds", 0) == 4);
    assert_int_equal(sm_json_int(o, "in_flight", 0), 3);
    json_decref(list);
    list = reading(*state, "interfaces");
    assert_int_equal(json_array_size(list), 2);
    o = json_array_get(list, 1);
    assert_string_equal(sm_json_str(o, "name", ""), "eth0");
    assert_int_equal(sm_json_int(o, "rx_bytes", 0), 7);
    assert_int_equal(sm_json_int(o, "rx_dropped", 0), 4);
    assert_int_equal(sm_json_int(o, "tx_errors", 0), 1);
    json_decref(list);
    absent(*state, "nothing", SM_INVALID);
}

static const char header[] = "  sl  local_address rem_address   st tx_queue rx_queue\n";

static void test_sockets(void **state) {
    const proc *p = *state;
    json_t *list = NULL, *counts = NULL;
    sm_err err = SM_ERR_INIT;
    assert_int_equal(sm_hostsockets_read(p->dir, NULL, &list, &err), SM_IO);
    char *text = sm_asprintf("%s%s", header,
                             "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 "
                             "00:00000000 00000000  1000        0 777 1 0000000000000000 100\n"
                             "   1: 0A01A8C0:01BB 05000A0A:C350 01 00000000:00000000 "
                             "00:00000000 00000000     0        0 0 3 0000000000000000\n");
    put(p, "net/tcp", text);
    free(text);
    text = sm_asprintf("%s%s", header,
                       "   0: 0000000000000000FFFF00000100007F:0035 "
                       "00000000000000000000000000000000:0000 06 00000000:00000000 00:00000000 "
                       "00000000     0        0 0 1 0 100\n"
                       "   1: 000080FE000000000000000001000000:0050 "
                       "00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 "
                       "00000000     0        0 9 1 0 100\nbroken\n");
    put(p, "net/tcp6", text);
    free(text);
    put(p, "net/udp",
        "    0: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 5 2 0\n");
    assert_int_equal(sm_hostsockets_read(p->dir, NULL, &list, &err), SM_OK);
    assert_int_equal(json_array_size(list), 5);
    const json_t *o = json_array_get(list, 0);
    assert_string_equal(sm_json_str(o, "local_address", ""), "127.0.0.1");
    assert_int_equal(sm_json_int(o, "local_port", 0), 8080);
    assert_string_equal(sm_json_str(o, "state", ""), "listen");
    assert_int_equal(sm_json_int(o, "uid", 0), 1000);
    assert_int_equal(sm_json_int(o, "inode", 0), 777);
    o = json_array_get(list, 1);
    assert_string_equal(sm_json_str(o, "remote_address", ""), "10.10.0.5");
    assert_int_equal(sm_json_int(o, "remote_port", 0), 50000);
    assert_string_equal(sm_json_str(json_array_get(list, 2), "local_address", ""), "127.0.0.1");
    assert_string_equal(sm_json_str(json_array_get(list, 3), "local_address", ""), "fe80::1");
    assert_string_equal(sm_json_str(json_array_get(list, 4), "protocol", ""), "udp");
    assert_int_equal(sm_hostsockets_counts(p->dir, &counts, &err), SM_OK);
    const json_t *tcp = json_object_get(counts, "tcp");
    assert_int_equal(sm_json_int(tcp, "listen", -1), 2);
    assert_int_equal(sm_json_int(tcp, "time_wait", -1), 1);
    assert_int_equal(sm_json_int(tcp, "close_wait", -1), 0);
    assert_int_equal(sm_json_int(tcp, "total", -1), 4);
    assert_int_equal(sm_json_int(json_object_get(counts, "udp"), "close", -1), 1);
    json_t *same = sm_hostsockets_counts_of(list);
    assert_true(json_equal(same, counts));
    json_decref(same);
    json_decref(counts);
    json_t *filter = json_pack("{s:s, s:i}", "state", "listen", "local_port", 80);
    json_t *some = sm_hostsockets_select(list, filter), *read = NULL;
    assert_int_equal(sm_hostsockets_read(p->dir, filter, &read, &err), SM_OK);
    assert_true(json_equal(some, read));
    assert_int_equal(json_array_size(some), 1);
    json_decref(read);
    json_decref(some);
    json_decref(filter);
    json_decref(list);
}

static void test_many_sockets(void **state) {
    const proc *p = *state;
    char *path = sm_asprintf("%s/net/tcp", p->dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(header, f);
    for (int i = 0; i < SM_HOSTSOCKETS_MAX + 1; i++)
        fprintf(f,
                "%4d: 0100007F:%04X 00000000:0000 06 00000000:00000000 00:00000000 00000000 "
                "0 0 0 1 0\n",
                i, i % 65536);
    fclose(f);
    json_t *list = NULL, *counts = NULL;
    sm_err err = SM_ERR_INIT;
    assert_int_equal(sm_hostsockets_read(p->dir, NULL, &list, &err), SM_LIMIT);
    assert_null(list);
    assert_int_equal(sm_hostsockets_counts(p->dir, &counts, &err), SM_OK);
    assert_int_equal(sm_json_int(json_object_get(counts, "tcp"), "time_wait", 0),
                     SM_HOSTSOCKETS_MAX + 1);
    json_decref(counts);
    free(path);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {T(test_pressure), T(test_used), T(test_lists),
                                       T(test_sockets), T(test_many_sockets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
