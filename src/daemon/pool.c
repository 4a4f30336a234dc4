/* pool: the worker processes: spawned early, replaced, told to go, killed. (Their end: grave.)
 *
 * A worker is this executable with `--worker`, one end of a socket pair as its descriptor 3, a
 * process group of its own, PATH and the places of zone and CA files as its only environment, and
 * no other descriptor of ours. A worker that dies before its hello delays the next one
 * (exponentially, at most 30 s); when very many die later, they are replaced one at a time. Owned
 * by the loop.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/dispatch.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int64_t in_ms(int64_t ms) {
    return sm_mono_ns() + ms * SM_NS_PER_MS;
}

const char *sm_kill_name(sm_kill why) {
    static const char *const names[] = {"stuck", "silent", "protocol", "unread", "start", "stop"};
    _Static_assert(SM_ARRAY_LEN(names) == SM_KILL_REASONS, "one name per reason");
    return (unsigned)why < SM_KILL_REASONS ? names[why] : "?";
}

void sm_pool_kill_in(sm_worker *w, int64_t ms, sm_kill kind, const char *why) {
    int64_t at = in_ms(ms);
    if (at < w->kill_ns) {
        w->kill_ns = at;
        w->plan_kind = kind;
        snprintf(w->plan, sizeof w->plan, "%s", why);
        sm_deadline_at(w->d, at);
    }
}

static void on_link_ended(void *ctx, const char *why) {
    sm_worker *w = ctx;
    if (why) {
        sm_log(SM_LOG_ERROR, "worker %d broke the protocol and is ended: %s", (int)w->pid, why);
        w->muted = true;
        sm_pool_kill(w, SM_KILL_PROTOCOL, "it broke the protocol");
        return;
    }
    /* It is ending, or closed its socket: its exit tells how. */
    if (w->state != SM_WORKER_RETIRING)
        w->state = SM_WORKER_DYING;
    sm_pool_kill_in(w, SM_EOF_MS, SM_KILL_PROTOCOL, "it closed its socket");
}

static void on_link_drained(void *ctx) {
    sm_placing_all(((sm_worker *)ctx)->d);
}

/* PATH, and what names files of the system; NULL-terminated, entries are freed with free_env. */
static void make_env(char *env[5]) {
    static const char *const names[] = {"TZDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"};
    int n = 0;
    env[n++] = sm_strdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    for (size_t i = 0; i < SM_ARRAY_LEN(names); i++) {
        const char *value = getenv(names[i]);
        if (value)
            env[n++] = sm_asprintf("%s=%s", names[i], value);
    }
    env[n] = NULL;
}

static void free_env(char **env) {
    for (; *env; env++)
        free(*env);
}

/* What a worker may have at most: address space for the runs that work at once and the stacks of
 * those that wait as well, descriptors for their connections. */
static void bound(const sm_dispatcher *d, sm_worker_kind kind, char bytes[24], char files[24]) {
    uint64_t runs = kind != SM_WORKER_SHARED ? 1 : (uint64_t)d->opt.runs_per_worker;
    uint64_t threads = kind != SM_WORKER_SHARED ? 1 : (uint64_t)d->opt.max_running;
    uint64_t most =
        SM_WORKER_BYTES + d->opt.burst_bytes + runs * d->opt.run_bytes + threads * SM_THREAD_BYTES;
    snprintf(bytes, 24, "%llu", d->opt.run_bytes > 0 ? (unsigned long long)most : 0);
    snprintf(files, 24, "%llu",
             (unsigned long long)(SM_WORKER_FILES + runs * SM_RUN_FILES + threads));
}

static int wire_child(pid_t *pid, const sm_dispatcher *d, sm_worker_kind kind, int fd) {
    char *env[5];
    char flag[] = "--worker", bytes[24], files[24];
    char *name = sm_strdup(d->self);
    char *argv[] = {name, flag, bytes, files, NULL};
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sigset_t none, all;
    make_env(env);
    bound(d, kind, bytes, files);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&fa);
    posix_spawnattr_init(&attr);
    /* dup2 onto the same number clears FD_CLOEXEC as well (glibc, POSIX issue 8). */
    int rc = posix_spawn_file_actions_adddup2(&fa, fd, 3);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(&fa, 4);
    if (rc == 0)
        rc = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                 POSIX_SPAWN_SETSIGDEF);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(&attr, &none);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(&attr, &all);
    if (rc == 0)
        rc = posix_spawn(pid, name, &fa, &attr, argv, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&fa);
    free(name);
    free_env(env);
    return rc;
}

void sm_pool_failed(sm_dispatcher *d, const char *how) {
    int64_t wait = SM_RESPAWN_BASE_MS;
    for (int i = 0; i < d->start_fails && wait < SM_RESPAWN_MAX_MS; i++)
        wait *= 2;
    if (wait > SM_RESPAWN_MAX_MS)
        wait = SM_RESPAWN_MAX_MS;
    d->start_fails++;
    d->respawn_ns = in_ms(wait);
    sm_deadline_at(d, d->respawn_ns);
    sm_log(d->start_fails >= SM_START_FAILS ? SM_LOG_ERROR : SM_LOG_WARN,
           "a worker process did not start: %s; next try in %.1f s", how, (double)wait / 1000);
    if (d->start_fails < SM_START_FAILS)
        return;
    char text[SM_ERR_MAX];
    snprintf(text, sizeof text, SM_NO_WORKER ": %s", how);
    bool served = false;
    for (const sm_worker *w = d->workers; w; w = w->next)
        served = served || (w->state == SM_WORKER_READY && w->kind == SM_WORKER_SHARED);
    while (d->shared.first && !served)
        sm_job_end_later(d->shared.first, "failed", text);
    while (d->waiting_alone.first)
        sm_job_end_later(d->waiting_alone.first, "failed", text);
    while (d->lane.first)
        sm_job_end_later(d->lane.first, "failed", text);
}

bool sm_pool_may_spawn(sm_dispatcher *d) {
    int64_t now = sm_mono_ns(), at = d->respawn_ns;
    d->deaths -= (double)(now - d->deaths_ns) / (double)SM_NS_PER_S * SM_DEATHS_PER_S;
    d->deaths = d->deaths < 0 ? 0 : d->deaths;
    d->deaths_ns = now;
    int64_t damped = d->spawned_ns + SM_DAMP_MS * SM_NS_PER_MS;
    if (d->deaths > SM_DEATHS_BURST && damped > at)
        at = damped;
    if (at > now)
        sm_deadline_at(d, at);
    return at <= now;
}

sm_rc sm_pool_spawn(sm_dispatcher *d, sm_worker_kind kind) {
    int pair[2] = {-1, -1};
    sm_err err = SM_ERR_INIT;
    sm_worker *w = sm_calloc(1, sizeof *w);
    w->link.fd = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        sm_err_sys(&err, errno, "socketpair");
        goto out;
    }
    if (fcntl(pair[0], F_SETFL, O_NONBLOCK) != 0) {
        sm_err_sys(&err, errno, "fcntl");
        goto out;
    }
    w->d = d;
    w->kind = kind;
    w->kill_ns = w->retire_ns = INT64_MAX;
    w->link.frame = sm_arrival_frame;
    w->link.ended = on_link_ended;
    w->link.drained = on_link_drained;
    w->link.ctx = w;
    int rc = wire_child(&w->pid, d, kind, pair[1]);
    if (rc != 0) {
        sm_err_sys(&err, rc, "%s", d->self);
        goto out;
    }
    if (kind == SM_WORKER_LANE) /* its group: it may have threads by now */
        (void)setpriority(PRIO_PGRP, (id_t)w->pid, 19);
    if (sm_link_open(&w->link, d->opt.loop, pair[0], &err) != SM_OK) {
        int status;
        kill(w->pid, SIGKILL);
        while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
            ;
        goto out;
    }
    pair[0] = -1;
    w->spawned_ns = d->spawned_ns = sm_mono_ns();
    d->counts.spawned++;
    sm_map_init(&w->ghosts);
    w->next = d->workers;
    if (d->workers)
        d->workers->prev = w;
    d->workers = w;
    sm_pool_kill_in(w, SM_START_MS, SM_KILL_START, "it did not say hello");
    w = NULL;
out:
    if (pair[0] >= 0)
        close(pair[0]);
    if (pair[1] >= 0)
        close(pair[1]);
    free(w);
    if (err.code != SM_OK) {
        d->counts.spawn_failed++;
        sm_pool_failed(d, err.msg);
    }
    return err.code;
}

int sm_pool_count(const sm_dispatcher *d, sm_worker_kind kind, int *starting) {
    int n = 0;
    *starting = 0;
    for (const sm_worker *w = d->workers; w; w = w->next)
        if (w->kind == kind && w->state <= SM_WORKER_READY) {
            n++;
            if (w->state == SM_WORKER_STARTING)
                ++*starting;
        }
    return n;
}

void sm_pool_fill(sm_dispatcher *d) {
    int starting;
    while (!d->stopping && sm_pool_count(d, SM_WORKER_SHARED, &starting) < d->opt.workers)
        if (!sm_pool_may_spawn(d) || sm_pool_spawn(d, SM_WORKER_SHARED) != SM_OK)
            return;
}

void sm_pool_kill(sm_worker *w, sm_kill kind, const char *why) {
    if (w->reaped)
        return;
    if (!w->why[0]) {
        snprintf(w->why, sizeof w->why, "%s", why);
        w->d->counts.killed[kind]++;
    }
    w->state = SM_WORKER_DYING;
    w->kill_ns = INT64_MAX;
    /* Not reaped, so the pid is still its. */
    kill(w->pid, SIGKILL);
}

void sm_pool_retire(sm_worker *w) {
    if (w->state >= SM_WORKER_RETIRING)
        return;
    json_t *head = json_pack("{s:s}", "t", "stop");
    bool too_long;
    w->state = SM_WORKER_RETIRING;
    if (sm_link_put(&w->link, head, NULL, 0, &too_long, NULL) == SM_OK)
        sm_link_flush(&w->link);
    json_decref(head);
    w->kill_ns = INT64_MAX;
    sm_pool_kill_in(w, SM_RETIRE_MS, SM_KILL_STOP, "it did not stop");
}

void sm_pool_outdated(sm_worker *w, const char *why) {
    if (w->state > SM_WORKER_READY || w->d->stopping)
        return;
    if (w->state == SM_WORKER_STARTING) { /* it goes when it has said hello */
        w->outdated = true;
        return;
    }
    if (why)
        sm_log(SM_LOG_INFO, "worker %d is replaced: %s", (int)w->pid, why);
    if (w->jobs.n == 0) {
        sm_pool_retire(w);
    } else {
        w->state = SM_WORKER_DRAINING;
        w->outdated = true;
    }
    sm_pool_fill(w->d);
}

static void on_chld(uv_signal_t *s, int signum) {
    (void)signum;
    sm_grave_reap(s->data);
}

bool sm_pool_start(sm_dispatcher *d, sm_err *err) {
    d->chld.data = d;
    int rc = uv_signal_start(&d->chld, on_chld, SIGCHLD);
    if (rc < 0) {
        sm_err_set(err, SM_IO, "cannot watch worker processes: %s", uv_strerror(rc));
        return false;
    }
    sm_pool_fill(d);
    return true;
}
