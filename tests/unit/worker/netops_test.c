/* netops: that a stopped run is rid of whatever it waits for, and that deadlines hold, against a
 * server on loopback that never answers and names that nobody resolves. */
#include "base/clock.h"
#include "base/mem.h"
#include "worker/netops.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct world {
    sm_run run;
    int listener, port;
    pthread_t stopper;
} world;

static int listen_somewhere(int *port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(fd, 128), 0); /* the kernel takes connections; nobody answers them */
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

static int setup(void **state) {
    world *w = sm_calloc(1, sizeof *w);
    sm_run_init(&w->run, "t", "", NULL, NULL);
    w->listener = listen_somewhere(&w->port);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    close(w->listener);
    sm_run_fini(&w->run);
    free(w);
    return 0;
}

static sm_netop op_of(const world *w, const char *what, double timeout) {
    sm_netop op = {.what = what};
    op.args = json_pack("{s:s, s:i, s:f, s:s, s:s}", "host", "127.0.0.1", "port", w->port,
                        "timeout", timeout, "read", "line", "name", "x.example");
    if (strcmp(what, "dns") == 0)
        json_object_set_new(op.args, "server", json_string("127.0.0.1"));
    return op;
}

static void *stop_soon(void *arg) {
    world *w = arg;
    usleep(100 * 1000);
    sm_run_stop(&w->run, SM_STOP_CANCELLED);
    return NULL;
}

static double perform(world *w, sm_netop *ops, size_t n, bool stop) {
    int64_t begin = sm_mono_ns();
    if (stop)
        assert_int_equal(pthread_create(&w->stopper, NULL, stop_soon, w), 0);
    sm_netops_perform(&w->run, ops, n);
    if (stop)
        pthread_join(w->stopper, NULL);
    return (double)(sm_mono_ns() - begin) / (double)SM_NS_PER_S;
}

static void one_is_stopped(void **state) {
    static const char *const kinds[] = {"tcp", "tls"};
    world *w = *state;
    for (size_t i = 0; i < 2; i++) {
        sm_netop op = op_of(w, kinds[i], 60);
        atomic_store(&w->run.stop, SM_STOP_NONE);
        assert_true(perform(w, &op, 1, true) < 6);
        assert_string_equal(op.code, "closed");
        sm_netop_fini(&op);
    }
}

static void many_are_stopped(void **state) {
    world *w = *state;
    sm_netop ops[100];
    for (size_t i = 0; i < 100; i++)
        ops[i] = op_of(w, i % 2 ? "tcp" : "tls", 60);
    assert_true(perform(w, ops, 100, true) < 10);
    for (size_t i = 0; i < 100; i++) {
        assert_true(ops[i].code[0] != 0);
        sm_netop_fini(&ops[i]);
    }
}

static void deadlines_hold(void **state) {
    world *w = *state;
    sm_netop ops[3] = {op_of(w, "tcp", 0.2), op_of(w, "tls", 0.2), op_of(w, "dns", 0.2)};
    double took = perform(w, ops, 3, false);
    assert_true(took < 6);
    assert_string_equal(ops[0].code, "timeout");
    assert_string_equal(ops[1].code, "timeout");
    for (size_t i = 0; i < 3; i++)
        sm_netop_fini(&ops[i]);
    w->run.deadline_ns = sm_mono_ns() + SM_NS_PER_S / 5; /* the run's own is earlier */
    sm_netop op = op_of(w, "tcp", 60);
    assert_true(perform(w, &op, 1, false) < 6);
    assert_string_equal(op.code, "timeout");
    sm_netop_fini(&op);
}

static void a_wait_for_a_name_is_left(void **state) {
    world *w = *state;
    sm_err err = SM_ERR_INIT;
    sm_netaddrs addrs;
    _Atomic int stop = 0;
    sm_netwait over = {sm_mono_ns() - 1, &stop, -1};
    assert_int_equal(
        sm_net_resolve("some.name.invalid", 80, AF_UNSPEC, NULL, "x", &over, &addrs, &err),
        SM_TIMEOUT);
    assert_string_equal(err.msg, "x: its name was not looked up in time");
    atomic_store(&stop, 1);
    sm_netwait stopped = {INT64_MAX, &stop, -1};
    assert_int_equal(
        sm_net_resolve("some.name.invalid", 80, AF_UNSPEC, NULL, "x", &stopped, &addrs, &err),
        SM_CLOSED);
    (void)w;
}

static void the_policy_holds(void **state) {
    world *w = *state;
    json_t *nets[] = {json_string("public"), json_pack("{s:[s]}", "allow", "10.0.0.0/8"),
                      json_pack("{s:[s]}", "deny", "127.0.0.1")};
    for (size_t i = 0; i < 3; i++) {
        static const char *const kinds[] = {"tcp", "tls", "open", "dns", "ping", "ntp"};
        w->run.net = nets[i];
        for (size_t k = 0; k < 6; k++) {
            sm_netop op = op_of(w, kinds[k], 5);
            json_object_set_new(op.args, "host", json_string(k % 2 ? "localhost" : "127.0.0.1"));
            perform(w, &op, 1, false);
            assert_string_equal(op.code, "denied");
            sm_netop_fini(&op);
        }
        json_decref(nets[i]);
    }
    w->run.net = NULL;
}

static void answers_have_a_ceiling(void **state) {
    world *w = *state;
    for (int small = 0; small < 2; small++) {
        sm_netop ops[4];
        for (size_t i = 0; i < 4; i++) {
            ops[i] = op_of(w, "tcp", 20);
            json_object_del(ops[i].args, "read");
        }
        w->run.limits.memory = small ? 1000 : 1 << 20;
        perform(w, ops, 4, false);
        int refused = 0;
        for (size_t i = 0; i < 4; i++) {
            refused += strcmp(ops[i].code, "too_large") == 0;
            assert_true((ops[i].value != NULL) == (ops[i].code[0] == '\0'));
            sm_netop_fini(&ops[i]);
        }
        assert_true(small ? refused > 0 && refused < 4 : refused == 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_is_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(many_are_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(deadlines_hold, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wait_for_a_name_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(the_policy_holds, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_have_a_ceiling, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
