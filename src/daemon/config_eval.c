/* config_eval: evaluates the configuration file in a process of its own.
 *
 * The file is Lua, and the daemon never runs Lua: `self --eval-config FILE` does, and writes one
 * JSON object to its descriptor 3 (worker/entry.h). The child has a deadline and its answer a
 * ceiling; what it wrote may hold secrets and is wiped here after parsing. Called by config.c
 * before the loop starts, and later on a thread beside it; blocks.
 */
#include "daemon/config_parts.h"
#include "base/buf.h"
#include "base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 50 }; /* how soon *stop is noticed */

extern char **environ;

/* The child's descriptor 3 is `out`; it reads nothing, and what it prints is for people. */
static sm_rc spawn(const char *self, const char *file, int out, pid_t *pid, sm_err *err) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    /* dup2 also clears close-on-exec when both numbers are the same (POSIX, posix_spawn). */
    posix_spawn_file_actions_adddup2(&actions, out, 3);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, 2, 1);
    posix_spawn_file_actions_addclosefrom_np(&actions, 4);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    char *const argv[] = {"selfmon-lua", "--eval-config", (char *)(uintptr_t)file, NULL};
    int rc = posix_spawn(pid, self, &actions, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    if (rc != 0)
        return sm_err_sys(err, rc, "%s: cannot start %s to evaluate it", file, self);
    return SM_OK;
}

static bool stopped(const atomic_bool *stop) {
    return stop && atomic_load(stop);
}

/* Waits until fd is readable; false at the deadline or when stopped. */
static bool readable(int fd, int64_t deadline_ns, const atomic_bool *stop) {
    for (;;) {
        int64_t left = (deadline_ns - sm_mono_ns()) / SM_NS_PER_MS + 1;
        if (deadline_ns <= sm_mono_ns() || stopped(stop))
            return false;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int n = poll(&p, 1, stop && left > LOOK_MS ? LOOK_MS : (int)left);
        if (n > 0)
            return true;
        if (n < 0 && errno != EINTR)
            return true; /* the read that follows says what is wrong */
    }
}

static sm_rc collect(int fd, const char *file, int64_t deadline_ns, int64_t timeout_ns,
                     const atomic_bool *stop, sm_buf *out, sm_err *err) {
    char chunk[8192];
    sm_rc rc = SM_OK;
    for (;;) {
        if (!readable(fd, deadline_ns, stop)) {
            rc = stopped(stop)
                     ? sm_err_set(err, SM_CLOSED, "%s: its evaluation was given up", file)
                     : sm_err_set(err, SM_TIMEOUT, "%s: its evaluation did not end within %.3g s",
                                  file, (double)timeout_ns / (double)SM_NS_PER_S);
            break;
        }
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = sm_err_sys(err, errno, "%s: cannot read what its evaluation gave", file);
        else if (n > 0 && sm_buf_add(out, chunk, (size_t)n) != SM_OK)
            rc = sm_err_set(err, SM_LIMIT, "%s: it gives more than %d MiB", file,
                            SM_CONF_JSON_MAX >> 20);
        if (rc != SM_OK || n <= 0)
            break;
    }
    explicit_bzero(chunk, sizeof chunk);
    return rc;
}

/* Ends the child, at once when the deadline has passed, and tells how it ended. */
static int reap(pid_t pid, int64_t deadline_ns, const atomic_bool *stop, bool kill_now) {
    int status = 0, fd = pidfd_open(pid, 0);
    if (kill_now || fd < 0 || !readable(fd, deadline_ns, stop))
        kill(pid, SIGKILL);
    if (fd >= 0)
        close(fd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

static sm_rc parse(const char *file, const sm_buf *answer, int status, json_t **out, sm_err *err) {
    if (answer->len == 0 && WIFSIGNALED(status))
        return sm_err_set(err, SM_PROTO, "%s: its evaluation ended by signal %d (%s)", file,
                          WTERMSIG(status), strsignal(WTERMSIG(status)));
    if (answer->len == 0)
        return sm_err_set(err, SM_PROTO, "%s: its evaluation gave nothing (exit code %d)", file,
                          WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    json_t *j = NULL;
    sm_err why = SM_ERR_INIT;
    if (sm_json_parse(answer->data, answer->len, SM_CONF_JSON_MAX, &j, &why) != SM_OK)
        return sm_err_set(err, SM_PROTO, "%s: its evaluation gave no JSON: %s", file, why.msg);
    if (!json_is_object(j)) {
        json_decref(j);
        return sm_err_set(err, SM_PROTO, "%s: its evaluation gave no JSON object", file);
    }
    *out = j;
    return SM_OK;
}

sm_rc sm_conf_eval(const char *self, const char *file, int64_t timeout_ns, const atomic_bool *stop,
                   json_t **out, sm_err *err) {
    int fds[2] = {-1, -1};
    pid_t pid = -1;
    int64_t deadline = sm_mono_ns() + timeout_ns;
    sm_buf answer;
    sm_buf_init(&answer, SM_CONF_JSON_MAX);
    *out = NULL;
    sm_rc rc = SM_OK;
    if (pipe2(fds, O_CLOEXEC) != 0) {
        rc = sm_err_sys(err, errno, "%s: cannot make a pipe to evaluate it", file);
        goto out;
    }
    if ((rc = spawn(self, file, fds[1], &pid, err)) != SM_OK)
        goto out;
    close(fds[1]);
    fds[1] = -1;
    rc = collect(fds[0], file, deadline, timeout_ns, stop, &answer, err);
    int status = reap(pid, deadline, stop, rc != SM_OK);
    if (rc == SM_OK)
        rc = parse(file, &answer, status, out, err);
out:
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    if (answer.data)
        explicit_bzero(answer.data, answer.cap);
    sm_buf_fini(&answer);
    return rc;
}
