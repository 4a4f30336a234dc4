/* exec_child: see exec_child.h.
 *
 * The child is over when its keeper is reaped and both pipes are at their end; pipes that stay open
 * (somebody who could not be killed holds them) are given up. Its record lives until its handles
 * are closed. Owned by the loop.
 */
#include "daemon/exec_child.h"
#include "base/mem.h"
#include "daemon/exec_keeper.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHUNK = 64 << 10, REAP_MS = 5 };

typedef struct stream {
    sm_exec_child *child;
    uv_pipe_t pipe;
    bool open;
    sm_buf *kept;
    bool *cut;
    uint64_t seen;
} stream;

struct sm_exec_child {
    pid_t keeper, program; /* program 0: not started */
    int ctl;
    bool polling, told_ended, reaped, finished, abandoned;
    uv_poll_t news;
    uv_timer_t timer; /* what it waits for: phase */
    enum { RUNNING, STOPPING, ENDING } phase;
    uv_pipe_t input;
    bool input_open;
    uv_write_t write;
    char *input_bytes;
    size_t input_n;
    stream out, err_out;
    int handles; /* not closed yet */
    char chunk[CHUNK];
    sm_exec_result result;
    void (*ended)(void *ctx, sm_exec_result *r);
    void *ctx;
};

/* ---- its end ---- */

static void free_child(sm_exec_child *c) {
    if (c->input_bytes)
        explicit_bzero(c->input_bytes, c->input_n);
    free(c->input_bytes);
    explicit_bzero(c->chunk, sizeof c->chunk);
    sm_buf_fini(&c->result.out);
    sm_buf_fini(&c->result.err_out);
    free(c);
}

static void on_closed(uv_handle_t *h) {
    sm_exec_child *c = h->data;
    if (--c->handles > 0)
        return;
    if (!c->abandoned)
        c->ended(c->ctx, &c->result);
    free_child(c);
}

static void close_input(sm_exec_child *c) {
    if (c->input_open)
        uv_close((uv_handle_t *)&c->input, on_closed);
    c->input_open = false;
}

static void close_stream(stream *s) {
    if (!s->open)
        return;
    s->open = false;
    s->pipe.data = s->child;
    uv_close((uv_handle_t *)&s->pipe, on_closed);
}

static void close_news(sm_exec_child *c) {
    if (c->polling)
        uv_close((uv_handle_t *)&c->news, on_closed);
    c->polling = false;
    if (c->ctl >= 0)
        close(c->ctl);
    c->ctl = -1;
}

static void close_all(sm_exec_child *c) {
    close_input(c);
    close_stream(&c->out);
    close_stream(&c->err_out);
    close_news(c);
    if (!c->finished)
        uv_close((uv_handle_t *)&c->timer, on_closed);
    c->finished = true;
}

static void maybe_over(sm_exec_child *c) {
    if (c->reaped && !c->out.open && !c->err_out.open && !c->finished)
        close_all(c);
}

static void on_time(uv_timer_t *t);

static void wait_for(sm_exec_child *c, int phase, uint64_t ms, uint64_t repeat) {
    c->phase = phase;
    uv_update_time(c->timer.loop);
    uv_timer_start(&c->timer, on_time, ms, repeat);
}

/* The keeper has closed its socket: it is ending, or is dead. */
static void reap(sm_exec_child *c) {
    int status;
    pid_t got = waitpid(c->keeper, &status, WNOHANG);
    if (got == 0 || (got < 0 && errno == EINTR))
        return;
    c->reaped = true;
    if (!c->told_ended) { /* it was killed; the kernel killed the program with it */
        if (c->program > 0)
            kill(-c->program, SIGKILL);
        if (c->result.end == SM_EXEC_EXITED) {
            c->result.end = SM_EXEC_LOST;
            sm_err_set(&c->result.err, SM_INTERNAL, "the process that watches over it ended");
        }
    }
    wait_for(c, ENDING, SM_EXEC_EOF_MS, 0);
    maybe_over(c);
}

/* Tells the keeper to end it. The first reason counts. */
static void stop(sm_exec_child *c, sm_exec_end why) {
    if (c->result.end == SM_EXEC_EXITED && !c->told_ended)
        c->result.end = why;
    if (c->phase != RUNNING)
        return;
    if (c->ctl >= 0)
        shutdown(c->ctl, SHUT_WR);
    wait_for(c, STOPPING, SM_EXEC_STOP_MS, 0);
}

static void on_time(uv_timer_t *t) {
    sm_exec_child *c = t->data;
    if (c->phase == RUNNING) {
        stop(c, SM_EXEC_TIMEOUT);
    } else if (!c->reaped && c->ctl >= 0) { /* the keeper hangs */
        kill(c->keeper, SIGKILL);
        wait_for(c, STOPPING, SM_EXEC_STOP_MS, 0);
    } else if (!c->reaped) {
        reap(c);
    } else {
        close_stream(&c->out);
        close_stream(&c->err_out);
        maybe_over(c);
    }
}

/* ---- what it says ---- */

static void take_news(sm_exec_child *c, sm_keeper_news *news) {
    news->text[sizeof news->text - 1] = '\0';
    switch ((sm_keeper_kind)news->kind) {
    case SM_KEEPER_STARTED:
        c->program = news->value;
        break;
    case SM_KEEPER_FAILED:
        c->told_ended = true;
        c->result.end = SM_EXEC_FAILED;
        sm_err_set(&c->result.err, (sm_rc)news->value, "%s", news->text);
        break;
    case SM_KEEPER_ENDED:
        c->told_ended = true;
        c->result.status = news->value;
        c->result.seconds = (double)news->ns / 1e9;
        c->result.left = news->left;
        if (news->crowded && c->result.end == SM_EXEC_EXITED)
            c->result.end = SM_EXEC_CROWD;
        break;
    }
}

static void on_news(uv_poll_t *p, int status, int events) {
    sm_exec_child *c = p->data;
    sm_keeper_news news;
    (void)events;
    ssize_t n = status < 0 ? 0 : recv(c->ctl, &news, sizeof news, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n == sizeof news) {
        take_news(c, &news);
        return;
    }
    close_news(c);
    wait_for(c, ENDING, REAP_MS, REAP_MS);
    reap(c);
}

static void on_alloc(uv_handle_t *h, size_t want, uv_buf_t *buf) {
    const stream *s = h->data;
    (void)want;
    *buf = uv_buf_init(s->child->chunk, CHUNK);
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *buf) {
    stream *s = h->data;
    sm_exec_child *c = s->child;
    if (n == 0)
        return;
    if (n < 0) {
        close_stream(s);
        maybe_over(c);
        return;
    }
    size_t room = s->kept->max - s->kept->len, take = (size_t)n < room ? (size_t)n : room;
    sm_buf_add(s->kept, buf->base, take);
    *s->cut = *s->cut || take < (size_t)n;
    s->seen += (uint64_t)n;
    if (s->seen > SM_EXEC_FLOOD_MAX) {
        uv_read_stop(h); /* it waits until it is killed */
        close_stream(s);
        stop(c, SM_EXEC_FLOOD);
        maybe_over(c);
    }
}

static void on_written(uv_write_t *w, int status) {
    (void)status; /* one that does not read it all does not want it */
    close_input(w->data);
}

/* ---- its beginning ---- */

static int spawn(const sm_exec_order *o, const int fds[4], pid_t *pid) {
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sigset_t none, all;
    char flag[] = "--exec-child", cpu[24];
    size_t n = 0;
    while (o->argv[n])
        n++;
    char **argv = sm_calloc(n + 5, sizeof *argv);
    char *self = sm_strdup(o->self), *cwd = sm_strdup(o->cwd);
    snprintf(cpu, sizeof cpu, "%.0f", ceil(o->timeout_s) * 2 + 1);
    argv[0] = self;
    argv[1] = flag;
    argv[2] = cpu;
    argv[3] = cwd;
    memcpy(argv + 4, o->argv, n * sizeof *argv);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&fa);
    posix_spawnattr_init(&attr);
    int rc = 0;
    for (int i = 0; i < 4 && rc == 0; i++) /* none of them is below 4 */
        rc = fds[i] >= 0 ? posix_spawn_file_actions_adddup2(&fa, fds[i], i)
                         : posix_spawn_file_actions_addopen(&fa, i, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(&fa, 4);
    if (rc == 0)
        rc = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                                 POSIX_SPAWN_SETSIGDEF);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(&attr, &none);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(&attr, &all);
    if (rc == 0)
        rc = posix_spawn(pid, o->self, &fa, &attr, argv, o->env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&fa);
    free(argv);
    free(self);
    free(cwd);
    return rc;
}

/* Moves a descriptor above those of a keeper, which are made from it one after the other. */
static int lift(int fd) {
    if (fd < 0 || fd > 3)
        return fd;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 4);
    close(fd);
    return high;
}

static bool make_pipe(int out[2]) {
    if (pipe2(out, O_CLOEXEC) != 0)
        return false;
    out[0] = lift(out[0]);
    out[1] = lift(out[1]);
    return out[0] >= 0 && out[1] >= 0;
}

static void open_stream(sm_exec_child *c, stream *s, uv_loop_t *loop, int fd, sm_buf *kept,
                        bool *cut) {
    s->child = c;
    s->kept = kept;
    s->cut = cut;
    uv_pipe_init(loop, &s->pipe, 0);
    s->pipe.data = s;
    c->handles++;
    s->open = true;
    uv_pipe_open(&s->pipe, fd);
    uv_read_start((uv_stream_t *)&s->pipe, on_alloc, on_read);
}

/* The parts of the loop; from here on nothing can fail but the poll. */
static void attach(sm_exec_child *c, const sm_exec_order *o, int in, int out, int err_out) {
    uv_timer_init(o->loop, &c->timer);
    c->timer.data = c;
    c->handles = 1;
    wait_for(c, RUNNING, (uint64_t)(o->timeout_s * 1000), 0);
    open_stream(c, &c->out, o->loop, out, &c->result.out, &c->result.out_cut);
    open_stream(c, &c->err_out, o->loop, err_out, &c->result.err_out, &c->result.err_cut);
    if (in >= 0) {
        uv_pipe_init(o->loop, &c->input, 0);
        c->input.data = c;
        c->handles++;
        c->input_open = true;
        uv_pipe_open(&c->input, in);
        uv_buf_t bytes = uv_buf_init(c->input_bytes, (unsigned)c->input_n);
        c->write.data = c;
        if (uv_write(&c->write, (uv_stream_t *)&c->input, &bytes, 1, on_written) < 0)
            close_input(c);
    }
    if (uv_poll_init(o->loop, &c->news, c->ctl) == 0) {
        c->news.data = c;
        c->handles++;
        c->polling = true;
        uv_poll_start(&c->news, UV_READABLE | UV_DISCONNECT, on_news);
    } else { /* nothing to hear it by: it ends at once, as lost */
        close(c->ctl);
        c->ctl = -1;
        wait_for(c, ENDING, REAP_MS, REAP_MS);
    }
}

sm_exec_child *sm_exec_child_start(const sm_exec_order *o, sm_err *err) {
    int in[2] = {-1, -1}, out[2] = {-1, -1}, eout[2] = {-1, -1}, ctl[2] = {-1, -1};
    sm_exec_child *c = sm_calloc(1, sizeof *c);
    int rc = 0;
    sm_buf_init(&c->result.out, SM_EXEC_OUT_MAX);
    sm_buf_init(&c->result.err_out, SM_EXEC_OUT_MAX);
    c->ended = o->ended;
    c->ctx = o->ctx;
    c->ctl = -1;
    if ((o->input_n > 0 && !make_pipe(in)) || !make_pipe(out) || !make_pipe(eout)) {
        rc = errno;
        goto out;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ctl) != 0) {
        rc = errno;
        goto out;
    }
    ctl[1] = lift(ctl[1]);
    if (ctl[1] < 0) {
        rc = errno;
        goto out;
    }
    const int fds[4] = {in[0], out[1], eout[1], ctl[1]};
    if ((rc = spawn(o, fds, &c->keeper)) != 0)
        goto out;
    if (o->input_n > 0) {
        c->input_bytes = sm_memdup(o->input, o->input_n);
        c->input_n = o->input_n;
    }
    c->ctl = ctl[0];
    ctl[0] = -1;
    attach(c, o, in[1], out[0], eout[0]);
    in[1] = out[0] = eout[0] = -1;
out:
    for (int i = 0; i < 2; i++) {
        const int all[] = {in[i], out[i], eout[i], ctl[i]};
        for (size_t k = 0; k < SM_ARRAY_LEN(all); k++)
            if (all[k] >= 0)
                close(all[k]);
    }
    if (rc == 0)
        return c;
    sm_err_sys(err, rc, "%s cannot be started", o->argv[0]);
    free_child(c);
    return NULL;
}

void sm_exec_child_stop(sm_exec_child *c) {
    stop(c, SM_EXEC_STOPPED);
}

void sm_exec_child_abandon(sm_exec_child *c) {
    c->abandoned = true;
    close_all(c);
}
