/* exec_child and its keeper: what a program sees of the world, and that nothing of it is left,
 * however it ends. The keeper is this test itself. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/exec_child.h"
#include "daemon/exec_keeper.h"
#include "fake_worker.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/wait.h>

typedef struct room {
    uv_loop_t loop;
    char self[PATH_MAX], dir[64];
    int ended;
    sm_exec_result r; /* its buffers are taken over */
} room;

static void clear(room *m) {
    sm_buf_fini(&m->r.out);
    sm_buf_fini(&m->r.err_out);
    memset(&m->r, 0, sizeof m->r);
    m->ended = 0;
}

static void on_ended(void *ctx, sm_exec_result *r) {
    room *m = ctx;
    m->r = *r;
    sm_buf_init(&r->out, 1);
    sm_buf_init(&r->err_out, 1);
    m->ended++;
}

static int set_up(void **state) {
    room *m = sm_calloc(1, sizeof *m);
    assert_int_equal(uv_loop_init(&m->loop), 0);
    assert_true(readlink("/proc/self/exe", m->self, sizeof m->self - 1) > 0);
    snprintf(m->dir, sizeof m->dir, "/tmp/sm-test-XXXXXX");
    assert_non_null(mkdtemp(m->dir));
    *state = m;
    return 0;
}

static int tear_down(void **state) {
    room *m = *state;
    clear(m);
    assert_int_equal(uv_loop_close(&m->loop), 0);
    fake_remove(m->dir);
    free(m);
    return 0;
}

static sm_exec_child *start(room *m, double timeout, const char *input, const char *cmd, ...) {
    static char *env[] = {"PATH=/usr/bin:/bin", "ONLY=this", NULL};
    char *argv[16] = {(char *)(uintptr_t)cmd};
    va_list args;
    va_start(args, cmd);
    for (int i = 1; (argv[i] = va_arg(args, char *)); i++)
        assert_true(i < 15);
    va_end(args);
    clear(m);
    sm_exec_order order = {.loop = &m->loop,
                           .self = m->self,
                           .cwd = "/",
                           .argv = argv,
                           .env = env,
                           .input = input,
                           .input_n = input ? strlen(input) : 0,
                           .timeout_s = timeout,
                           .ended = on_ended,
                           .ctx = m};
    sm_err err = SM_ERR_INIT;
    sm_exec_child *c = sm_exec_child_start(&order, &err);
    if (!c)
        fail_msg("%s", err.msg);
    return c;
}

static void await(room *m) {
    assert_true(fake_wait(&m->loop, &m->ended, 1, 60000));
}

static const char *out_of(const room *m) {
    return m->r.out.data ? m->r.out.data : "";
}

static const char *err_of(const room *m) {
    return m->r.err_out.data ? m->r.err_out.data : "";
}

/* The pid that a program wrote into a file of the test's directory; waits for it. */
static pid_t pid_in(room *m, const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", m->dir, name);
    for (int i = 0; i < 6000; i++) {
        FILE *f = fopen(path, "re");
        int pid = 0;
        if (f && fscanf(f, "%d", &pid) == 1) {
            fclose(f);
            return pid;
        }
        if (f)
            fclose(f);
        uv_run(&m->loop, UV_RUN_NOWAIT);
        usleep(10000);
    }
    fail_msg("%s was not written", name);
    return 0;
}

static void assert_dies(pid_t pid) {
    for (int i = 0; i < 6000; i++) {
        char path[64], state = 'X';
        snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        FILE *f = fopen(path, "re");
        if (f) {
            if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
                state = 'X';
            fclose(f);
        }
        if (state == 'X' || state == 'Z')
            return;
        usleep(10000);
    }
    fail_msg("process %d still runs", (int)pid);
}

static void test_a_program(void **state) {
    room *m = *state;
    start(m, 30, "what it reads", "/bin/sh", "-c",
          "printf '[%s]' \"$@\"; cat; pwd; env | grep -v ^_ | sort >&2; exit 7", "sh", "a b", "*",
          "", NULL);
    await(m);
    assert_int_equal(m->r.end, SM_EXEC_EXITED);
    assert_true(WIFEXITED(m->r.status));
    assert_int_equal(WEXITSTATUS(m->r.status), 7);
    assert_string_equal(out_of(m), "[a b][*][]what it reads/\n");
    assert_string_equal(err_of(m), "ONLY=this\nPATH=/usr/bin:/bin\nPWD=/\n");
    assert_false(m->r.out_cut || m->r.err_cut);
    assert_int_equal(m->r.left, 0);
    assert_true(m->r.seconds > 0 && m->r.seconds < 30);
}

static void test_what_it_has(void **state) {
    room *m = *state;
    signal(SIGPIPE, SIG_IGN);
    start(m, 30, NULL, "/bin/sh", "-c",
          "ls /proc/self/fd | tr '\\n' ' '; readlink /proc/self/fd/0; ulimit -c; ulimit -t;"
          "grep -E 'NoNewPrivs|SigBlk' /proc/self/status; cat /proc/self/oom_score_adj;"
          "read -r s < /proc/self/stat; set -- $s; [ $1 = $5 ] && [ $1 = $6 ] && echo alone",
          NULL);
    await(m);
    /* ls has its directory open as 3. */
    assert_string_equal(out_of(m), "0 1 2 3 /dev/null\n0\n61\n"
                                   "SigBlk:\t0000000000000000\n"
                                   "NoNewPrivs:\t1\n1000\nalone\n");
    start(m, 30, NULL, "/bin/sh", "-c", "kill -SEGV $$", NULL);
    await(m);
    assert_int_equal(m->r.end, SM_EXEC_EXITED);
    assert_true(WIFSIGNALED(m->r.status));
    assert_int_equal(WTERMSIG(m->r.status), SIGSEGV);
}

static void test_what_cannot_run(void **state) {
    room *m = *state;
    char path[4][128];
    static const char *const names[] = {"plain", "open", "orphan", "binary"};
    static const char *const texts[] = {"#!/bin/sh\n", "#!/bin/sh\n", "#!/no/such/shell\n", "\1\2"};
    static const mode_t modes[] = {0644, 0757, 0755, 0755};
    for (size_t i = 0; i < 4; i++) {
        snprintf(path[i], sizeof path[i], "%s/%s", m->dir, names[i]);
        assert_int_equal(sm_fsx_replace(path[i], texts[i], strlen(texts[i]), 0700, NULL), SM_OK);
        assert_int_equal(chmod(path[i], modes[i]), 0);
    }
    const struct {
        const char *cmd, *word;
        sm_rc rc;
    } rows[] = {{"/no/such/program", "No such file", SM_NOT_FOUND},
                {"/etc/passwd/x", "Not a directory", SM_NOT_FOUND},
                {"/usr", "not a program", SM_INVALID},
                {path[0], "may not be run", SM_DENIED},
                {path[1], "everybody may change it", SM_DENIED},
                {path[2], "interpreter", SM_NOT_FOUND},
                {path[3], "cannot be started", SM_IO}};
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        start(m, 30, NULL, rows[i].cmd, NULL);
        await(m);
        assert_int_equal(m->r.end, SM_EXEC_FAILED);
        if (!strstr(m->r.err.msg, rows[i].word))
            fail_msg("%s: %s", rows[i].cmd, m->r.err.msg);
        assert_int_equal(m->r.err.code, rows[i].rc);
    }
}

static void test_timeout(void **state) {
    room *m = *state;
    char script[512];
    /* A child in its group, one in a session of its own, one that is nobody's child any more. */
    snprintf(script, sizeof script,
             "cd %s; sleep 1000 & echo $! > a; setsid sleep 1000 & echo $! > b;"
             "(setsid sh -c 'echo $$ > c; exec sleep 1000' &); sleep 1000",
             m->dir);
    start(m, 1, NULL, "/bin/sh", "-c", script, NULL);
    await(m);
    assert_int_equal(m->r.end, SM_EXEC_TIMEOUT);
    assert_dies(pid_in(m, "a"));
    assert_dies(pid_in(m, "b"));
    assert_dies(pid_in(m, "c"));
}

static void test_ignores_term(void **state) {
    room *m = *state;
    start(m, 0.5, NULL, "/bin/sh", "-c",
          "trap '' TERM INT HUP; echo $$; while :; do sleep 0.1; done", NULL);
    await(m);
    assert_int_equal(m->r.end, SM_EXEC_TIMEOUT);
    assert_true(WIFSIGNALED(m->r.status));
    assert_int_equal(WTERMSIG(m->r.status), SIGKILL);
    assert_dies(atoi(out_of(m)));
    /* One that stopped itself is ended as well. */
    start(m, 0.5, NULL, "/bin/sh", "-c", "echo $$; kill -STOP $$", NULL);
    await(m);
    assert_int_equal(m->r.end, SM_EXEC_TIMEOUT);
    assert_dies(atoi(out_of(m)));
}

static void test_left_behind(void **state) {
    room *m = *state;
    start(m, 60, NULL, "/bin/sh", "-c", "(trap '' TERM; sleep 1000) & echo $!; echo done", NULL);
    await(m);
    assert_int_equal(m->r.end, SM_EXEC_EXITED);
    assert_int_equal(m->r.status, 0);
    assert_true(m->r.left >= 1);
    assert_non_null(strstr(out_of(m), "done"));
    assert_dies(atoi(out_of(m)));
    /* What ends by itself soon is waited for. */
    start(m, 60, NULL, "/bin/sh", "-c", "(sleep 0.01; echo late) & exit 3", NULL);
    await(m);
    assert_int_equal(WEXITSTATUS(m->r.status), 3);
    assert_string_equal(out_of(m), "late\n");
}

static void test_flood(void **state) {
    room *m = *state;
    start(m, 60, NULL, "/bin/sh", "-c", "head -c 3000000 /dev/zero; echo end >&2; exit 4", NULL);
    await(m);
    assert_int_equal(m->r.end, SM_EXEC_EXITED);
    assert_int_equal(WEXITSTATUS(m->r.status), 4);
    assert_int_equal(m->r.out.len, SM_EXEC_OUT_MAX);
    assert_true(m->r.out_cut);
    assert_false(m->r.err_cut);
    assert_string_equal(err_of(m), "end\n");
    start(m, 60, NULL, "/usr/bin/yes", NULL);
    await(m);
    assert_int_equal(m->r.end, SM_EXEC_FLOOD);
    assert_int_equal(m->r.out.len, SM_EXEC_OUT_MAX);
}

static void test_crowd(void **state) {
    room *m = *state;
    start(m, 60, NULL, "/bin/sh", "-c",
          "i=0; while [ $i -lt 300 ]; do sleep 1000 & i=$((i+1)); done; echo $!; wait", NULL);
    await(m);
    assert_int_equal(m->r.end, SM_EXEC_CROWD);
    if (m->r.out.len > 0)
        assert_dies(atoi(out_of(m)));
}

static void test_unread_input(void **state) {
    room *m = *state;
    char *much = sm_malloc(1 << 20);
    memset(much, 'x', (1 << 20) - 1);
    much[(1 << 20) - 1] = '\0';
    start(m, 60, much, "/bin/true", NULL);
    await(m);
    assert_int_equal(m->r.end, SM_EXEC_EXITED);
    assert_int_equal(m->r.status, 0);
    start(m, 60, much, "/usr/bin/wc", "-c", NULL);
    await(m);
    assert_string_equal(out_of(m), "1048575\n");
    free(much);
}

static void test_stopped(void **state) {
    room *m = *state;
    char script[128];
    snprintf(script, sizeof script, "echo $$ > %s/pid; exec sleep 1000", m->dir);
    sm_exec_child *c = start(m, 60, NULL, "/bin/sh", "-c", script, NULL);
    pid_t pid = pid_in(m, "pid");
    sm_exec_child_stop(c);
    sm_exec_child_stop(c);
    await(m);
    assert_int_equal(m->r.end, SM_EXEC_STOPPED);
    assert_dies(pid);
}

static void test_keeper_killed(void **state) {
    room *m = *state;
    char script[256];
    snprintf(script, sizeof script,
             "cd %s; echo $PPID > keeper; sleep 1000 & echo $! > left; echo $$ > pid; wait",
             m->dir);
    start(m, 60, NULL, "/bin/sh", "-c", script, NULL);
    pid_t pid = pid_in(m, "pid");
    /* The news of the start come before. */
    uv_run(&m->loop, UV_RUN_NOWAIT);
    assert_int_equal(kill(pid_in(m, "keeper"), SIGKILL), 0);
    await(m);
    assert_int_equal(m->r.end, SM_EXEC_LOST);
    assert_dies(pid);
    assert_dies(pid_in(m, "left"));
}

static void test_abandoned(void **state) {
    room *m = *state;
    char script[256];
    snprintf(script, sizeof script, "cd %s; sleep 1000 & echo $! > left; echo $$ > pid; wait",
             m->dir);
    sm_exec_child *c = start(m, 60, NULL, "/bin/sh", "-c", script, NULL);
    pid_t pid = pid_in(m, "pid"), left = pid_in(m, "left");
    sm_exec_child_abandon(c);
    uv_run(&m->loop, UV_RUN_DEFAULT);
    assert_int_equal(m->ended, 0);
    assert_dies(pid);
    assert_dies(left);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--exec-child") == 0)
        return sm_exec_keeper_main(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_program, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_it_has, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_cannot_run, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_timeout, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ignores_term, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_left_behind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_flood, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_crowd, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unread_input, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stopped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_keeper_killed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_abandoned, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
