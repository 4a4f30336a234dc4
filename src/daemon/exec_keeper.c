/* exec_keeper: the process that starts one program of a script, watches it and cleans up after it.
 *
 * It is a process of its own (`--exec-child`, exec_keeper.h) because only a parent that is a
 * subreaper sees every process that comes of a program, also those that left its group, and
 * because it outlives a daemon that is killed. The program gets a session of its own, limits,
 * no_new_privs and no descriptor but 0, 1 and 2. One thread; nothing of the daemon is used here.
 */
#include "daemon/exec_keeper.h"
#include "base/clock.h"
#include "base/err.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CTL = 3, FIRST_LOOK_MS = 50, LOOK_MS = 250, AGAIN_MS = 10, SEEN_MAX = 1024 };

typedef struct keeper {
    int signals; /* signalfd of CHLD and TERM */
    pid_t program;
    int64_t started_ns, ended_ns; /* ended_ns 0: it runs */
    int status;
    int left;
    bool crowded, unwanted;
} keeper;

static void tell(const sm_keeper_news *news) {
    while (send(CTL, news, sizeof *news, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

static int fail(sm_rc rc, const char *fmt, ...) SM_PRINTF(2, 3);
static int fail(sm_rc rc, const char *fmt, ...) {
    sm_keeper_news news = {.kind = SM_KEEPER_FAILED, .value = (int32_t)rc};
    va_list args;
    va_start(args, fmt);
    vsnprintf(news.text, sizeof news.text, fmt, args);
    va_end(args);
    tell(&news);
    return 1;
}

/* ---- the program's side ---- */

static void lower(__rlimit_resource_t what, rlim_t most) {
    struct rlimit now;
    if (getrlimit(what, &now) != 0)
        return;
    rlim_t hard = now.rlim_max < most ? now.rlim_max : most;
    const struct rlimit then = {hard, hard};
    setrlimit(what, &then);
}

static void limit(unsigned long cpu_s) {
    const rlim_t mb = 1 << 20;
    lower(RLIMIT_CORE, 0);
    lower(RLIMIT_CPU, cpu_s);
    lower(RLIMIT_NOFILE, SM_KEEPER_FILES);
    lower(RLIMIT_FSIZE, SM_KEEPER_FILE_MB * mb);
#ifndef SM_SANITIZED
    lower(RLIMIT_DATA, SM_KEEPER_MEMORY_MB * mb);
#endif
}

/* When memory runs out, the kernel takes it before the daemon. */
static void volunteer(void) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)!write(fd, "1000", 4);
    close(fd);
}

/* In the fork: becomes the program, or writes errno to `out` and ends. */
static void become(const char *cwd, char **argv, unsigned long cpu_s, int out) {
    sigset_t none;
    struct sigaction plain = {.sa_handler = SIG_DFL};
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int s = 1; s < NSIG; s++)
        sigaction(s, &plain, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    volunteer();
    limit(cpu_s);
    extern char **environ;
    int why = 0;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || chdir(cwd) != 0) {
        why = -errno;
    } else {
        execve(argv[0], argv, environ);
        why = errno;
    }
    (void)!write(out, &why, sizeof why);
    _exit(127);
}

/* What cannot be run is said before it is tried. */
static int unfit(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0)
        return fail(errno == ENOENT || errno == ENOTDIR ? SM_NOT_FOUND : SM_DENIED, "%.300s: %s",
                    path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return fail(SM_INVALID, "%.300s is not a program", path);
    if (st.st_mode & S_IWOTH)
        return fail(SM_DENIED, "%.300s is not run, because everybody may change it (chmod o-w)",
                    path);
    if (access(path, X_OK) != 0)
        return fail(SM_DENIED, "%.300s may not be run by this user", path);
    return 0;
}

static int start(keeper *k, const char *cwd, char **argv, unsigned long cpu_s) {
    int pipes[2], why = 0;
    int rc = unfit(argv[0]);
    if (rc != 0)
        return rc;
    if (pipe2(pipes, O_CLOEXEC) != 0)
        return fail(SM_IO, "pipe: %s", strerror(errno));
    k->started_ns = sm_mono_ns();
    k->program = fork();
    if (k->program == 0)
        become(cwd, argv, cpu_s, pipes[1]);
    int forked = errno;
    close(pipes[1]);
    if (k->program < 0) {
        close(pipes[0]);
        return fail(SM_IO, "%.300s cannot be started: %s", argv[0], strerror(forked));
    }
    ssize_t n;
    while ((n = read(pipes[0], &why, sizeof why)) < 0 && errno == EINTR)
        ;
    close(pipes[0]);
    if (n != sizeof why)
        return 0;
    waitpid(k->program, NULL, 0);
    if (why < 0)
        return fail(SM_IO, "%.300s: %s", cwd, strerror(-why));
    if (why == ENOENT) /* the file is there: its interpreter is not */
        return fail(SM_NOT_FOUND,
                    "%.300s cannot be started: its interpreter (#! or loader) is "
                    "missing",
                    argv[0]);
    return fail(SM_IO, "%.300s cannot be started: %s", argv[0], strerror(why));
}

/* ---- all that came of it ---- */

/* Adds the children of all threads of a process to `seen`, up to SEEN_MAX. */
static void children_of(pid_t pid, pid_t *seen, size_t *n) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (const struct dirent *e; (e = readdir(dir)) && *n < SEEN_MAX;) {
        int child;
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.16s/children", (int)pid, e->d_name);
        FILE *f = fopen(path, "re");
        while (f && *n < SEEN_MAX && fscanf(f, "%d", &child) == 1)
            seen[(*n)++] = child;
        if (f)
            fclose(f);
    }
    closedir(dir);
}

/* Every process that came of the program and still is, at most SEEN_MAX. */
static size_t family(pid_t seen[SEEN_MAX]) {
    size_t n = 0;
    children_of(getpid(), seen, &n);
    for (size_t i = 0; i < n; i++)
        children_of(seen[i], seen, &n);
    return n;
}

/* The program's group at once, so that it cannot outrun it by forking; then who left the group. */
static void signal_all(const keeper *k, int number) {
    pid_t seen[SEEN_MAX];
    kill(-k->program, number);
    size_t n = family(seen);
    for (size_t i = 0; i < n; i++)
        if (getpgid(seen[i]) != k->program)
            kill(seen[i], number);
}

/* Reaps who ended. False when nobody is left. */
static bool reap(keeper *k) {
    int status;
    pid_t got;
    while ((got = waitpid(-1, &status, WNOHANG)) > 0) {
        if (got != k->program)
            continue;
        k->status = status;
        k->ended_ns = sm_mono_ns();
    }
    return got == 0 || errno != ECHILD;
}

/* Waits at most ms for a signal or the daemon's word; notices both. */
static void wait_ms(keeper *k, int64_t ms) {
    struct pollfd p[2] = {{.fd = k->signals, .events = POLLIN},
                          {.fd = k->unwanted ? -1 : CTL, .events = POLLIN}};
    if (poll(p, 2, ms > 0 ? (int)ms : 0) <= 0)
        return;
    struct signalfd_siginfo info;
    while (read(k->signals, &info, sizeof info) == sizeof info)
        if (info.ssi_signo == SIGTERM)
            k->unwanted = true;
    if (p[1].revents) /* it sends nothing: this is its end */
        k->unwanted = true;
}

static int64_t ms_until(int64_t ns) {
    return (ns - sm_mono_ns()) / SM_NS_PER_MS + 1;
}

/* Until the program has ended, is unwanted, or has become too many. */
static void watch(keeper *k) {
    int64_t wait = FIRST_LOOK_MS, look = sm_mono_ns() + wait * SM_NS_PER_MS;
    pid_t seen[SEEN_MAX];
    while (reap(k) && k->ended_ns == 0 && !k->unwanted) {
        wait_ms(k, ms_until(look));
        if (sm_mono_ns() < look)
            continue;
        k->crowded = family(seen) > SM_KEEPER_PROCESSES;
        if (k->crowded)
            return;
        wait = wait * 2 < LOOK_MS ? wait * 2 : LOOK_MS;
        look = sm_mono_ns() + wait * SM_NS_PER_MS;
    }
}

/* Waits until nobody is left, at most ms. True when nobody is. `fully`: also who fell out of the
 * program's hands, not the program alone. */
static bool gone(keeper *k, int64_t ms, int again) {
    int64_t until = sm_mono_ns() + ms * SM_NS_PER_MS;
    while (reap(k)) {
        if (sm_mono_ns() >= until)
            return false;
        if (again)
            signal_all(k, again);
        wait_ms(k, again ? AGAIN_MS : ms_until(until));
    }
    return true;
}

static void clean_up(keeper *k) {
    pid_t seen[SEEN_MAX];
    if (k->ended_ns != 0) { /* by itself */
        if (gone(k, SM_KEEPER_LEFT_MS, 0))
            return;
        k->left = (int)family(seen);
    } else if (!k->crowded) {
        signal_all(k, SIGTERM);
        signal_all(k, SIGCONT);
        if (gone(k, SM_KEEPER_GRACE_MS, 0))
            return;
    }
    gone(k, SM_KEEPER_DEAD_MS, SIGKILL);
}

int sm_exec_keeper_main(int argc, char **argv) {
    keeper k = {0};
    sigset_t set;
    sigfillset(&set); /* nothing but KILL ends this process before its work is done */
    sigprocmask(SIG_SETMASK, &set, NULL);
    if (argc < 5)
        return 64;
    prctl(PR_SET_NAME, "exec-keeper");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    fcntl(CTL, F_SETFD, FD_CLOEXEC);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    k.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (k.signals < 0)
        return fail(SM_IO, "signalfd: %s", strerror(errno));
    int rc = start(&k, argv[3], argv + 4, strtoul(argv[2], NULL, 10));
    if (rc != 0)
        return rc;
    /* The ends of the pipes are the program's alone. */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < CTL; fd++)
        dup2(null, fd);
    sm_keeper_news news = {.kind = SM_KEEPER_STARTED, .value = (int32_t)k.program};
    tell(&news);
    watch(&k);
    clean_up(&k);
    news.kind = SM_KEEPER_ENDED;
    news.value = k.status;
    news.ns = (k.ended_ns ? k.ended_ns : sm_mono_ns()) - k.started_ns;
    news.left = k.left;
    news.crowded = k.crowded;
    tell(&news);
    return 0;
}
