/* secretsrc: see secretsrc.h.
 *
 * A command's output must not wait on the loop: the first time (start of the program) it is waited
 * for, later it runs in a thread of its own and its value is taken over by the next get.
 */
#include "daemon/secretsrc.h"
#include "base/clock.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SECRET_MAX = 64 << 10,
    ARGS_MAX = 32,
    COMMAND_S = 10,
    AGAIN_S = 300,
    REAP_MS = 5,
    LOOK_MS = 20 /* how soon a stop is noticed */
};

extern char **environ;

struct sm_secretsrc {
    char *path;               /* of a file or credential, or NULL */
    char *argv[ARGS_MAX + 1]; /* of a command; argv[0] NULL otherwise */
    sm_secret *value;
    struct stat seen;        /* of the file when it was read */
    int64_t read_ns;         /* monotonic, when the command last ran */
    pthread_t thread;        /* of a command under way */
    bool running;            /* thread is to be joined */
    atomic_bool closed;      /* ends the thread's command */
    const atomic_bool *stop; /* ends the first command; or NULL */
    pthread_mutex_t mu;      /* guards the next two */
    bool ended;
    sm_secret *fresh; /* what the thread brought */
};

static sm_rc read_file(sm_secretsrc *s, sm_secret **out, sm_err *err) {
    char *data = NULL;
    size_t n = 0;
    struct stat now;
    if (stat(s->path, &now) == 0)
        s->seen = now;
    sm_rc rc = sm_fsx_read_secret(s->path, SECRET_MAX, true, &data, &n, err);
    if (rc == SM_OK && n == 0)
        rc = sm_err_set(err, SM_INVALID, "%s is empty", s->path);
    if (rc == SM_OK)
        *out = sm_secret_new(data, n);
    if (data)
        explicit_bzero(data, n);
    free(data);
    return rc;
}

static bool stopped(const sm_secretsrc *s) {
    return atomic_load(&s->closed) || (s->stop && atomic_load(s->stop));
}

/* Reads fd to its end. */
static sm_rc read_output(const sm_secretsrc *s, int fd, int64_t until, char *text, size_t cap,
                         size_t *n, sm_err *err) {
    *n = 0;
    for (;;) {
        int64_t left = (until - sm_mono_ns()) / SM_NS_PER_MS;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (left <= 0)
            return sm_err_set(err, SM_TIMEOUT, "it did not end within %d s", COMMAND_S);
        if (stopped(s))
            return sm_err_set(err, SM_CLOSED, "it is no longer wanted");
        if (poll(&p, 1, left < LOOK_MS ? (int)left : LOOK_MS) == 0)
            continue;
        ssize_t got = read(fd, text + *n, cap - *n);
        if (got == 0)
            return SM_OK;
        if (got < 0 && errno != EINTR)
            return sm_err_sys(err, errno, "its output");
        *n += got > 0 ? (size_t)got : 0;
        if (*n == cap)
            return sm_err_set(err, SM_LIMIT, "its output is longer than %zu bytes", cap);
    }
}

/* Reaps pid; one that closed its output and stays is not waited for without end. */
static sm_rc reap(const sm_secretsrc *s, pid_t pid, int64_t until, int *status, sm_err *err) {
    sm_rc rc = SM_OK;
    int flags = WNOHANG;
    for (;;) {
        pid_t got = waitpid(pid, status, flags);
        if (got == pid || (got < 0 && errno != EINTR))
            return rc;
        if (got == 0 && flags == WNOHANG && (sm_mono_ns() > until || stopped(s))) {
            rc = sm_err_set(err, SM_TIMEOUT, "it did not end within %d s", COMMAND_S);
            kill(-pid, SIGKILL);
            flags = 0;
        } else if (got == 0) {
            poll(NULL, 0, REAP_MS);
        }
    }
}

static sm_rc run_command(const sm_secretsrc *s, sm_secret **out, sm_err *err) {
    int pipes[2] = {-1, -1}, status = 0;
    char *text = sm_malloc(SECRET_MAX);
    size_t n = 0;
    pid_t pid = -1;
    int64_t until = sm_mono_ns() + COMMAND_S * SM_NS_PER_S;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none;
    sm_err why = SM_ERR_INIT;
    sm_rc rc = SM_OK;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setpgroup(&attr, 0);
    sigemptyset(&none); /* what this program blocks is not the command's affair */
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    if (pipe2(pipes, O_CLOEXEC) != 0) {
        rc = sm_err_sys(&why, errno, "pipe");
        goto out;
    }
    posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    int failed = posix_spawnp(&pid, s->argv[0], &actions, &attr, s->argv, environ);
    close(pipes[1]);
    pipes[1] = -1;
    if (failed) {
        pid = -1;
        rc = sm_err_sys(&why, failed, "it cannot be started");
        goto out;
    }
    rc = read_output(s, pipes[0], until, text, SECRET_MAX, &n, &why);
    if (rc != SM_OK)
        kill(-pid, SIGKILL);
    sm_rc ended = reap(s, pid, until, &status, rc == SM_OK ? &why : NULL);
    rc = rc == SM_OK ? ended : rc;
    if (rc == SM_OK && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
        rc = sm_err_set(&why, SM_INVALID, "it failed (exit code %d)",
                        WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    if (n > 0 && text[n - 1] == '\n')
        n--;
    if (rc == SM_OK && n == 0)
        rc = sm_err_set(&why, SM_INVALID, "it printed nothing");
    if (rc == SM_OK)
        *out = sm_secret_new(text, n);
out:
    for (int i = 0; i < 2; i++)
        if (pipes[i] >= 0)
            close(pipes[i]);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    explicit_bzero(text, SECRET_MAX);
    free(text);
    if (rc != SM_OK)
        sm_err_set(err, rc, "the command %s: %s", s->argv[0], why.msg);
    return rc;
}

static void *refresh(void *arg) {
    sm_secretsrc *s = arg;
    sm_secret *fresh = NULL;
    sm_err err = SM_ERR_INIT;
    if (run_command(s, &fresh, &err) != SM_OK && !atomic_load(&s->closed))
        sm_log(SM_LOG_WARN, "a secret could not be read again, the former value stays: %s",
               err.msg);
    pthread_mutex_lock(&s->mu);
    s->fresh = fresh;
    s->ended = true;
    pthread_mutex_unlock(&s->mu);
    return NULL;
}

static void take_over(sm_secretsrc *s, sm_secret *fresh) {
    if (!fresh)
        return;
    sm_secret_free(s->value);
    s->value = fresh;
}

static void get_command(sm_secretsrc *s) {
    if (s->running) {
        pthread_mutex_lock(&s->mu);
        bool ended = s->ended;
        pthread_mutex_unlock(&s->mu);
        if (!ended)
            return;
        pthread_join(s->thread, NULL);
        s->running = s->ended = false;
        take_over(s, s->fresh);
        s->fresh = NULL;
    } else if (sm_mono_ns() - s->read_ns > AGAIN_S * SM_NS_PER_S) {
        s->read_ns = sm_mono_ns();
        s->running = pthread_create(&s->thread, NULL, refresh, s) == 0;
    }
}

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

const sm_secret *sm_secretsrc_get(sm_secretsrc *s) {
    struct stat now;
    if (s->argv[0])
        get_command(s);
    if (s->path && stat(s->path, &now) == 0 && !same_file(&now, &s->seen)) {
        sm_secret *fresh = NULL;
        sm_err err = SM_ERR_INIT;
        if (read_file(s, &fresh, &err) != SM_OK)
            sm_log(SM_LOG_WARN, "a secret could not be read again, the former value stays: %s",
                   err.msg);
        take_over(s, fresh);
    }
    return s->value;
}

static sm_rc from_command(sm_secretsrc *s, const json_t *words, sm_err *err) {
    size_t i;
    json_t *word;
    if (json_array_size(words) == 0 || json_array_size(words) > ARGS_MAX)
        return sm_err_set(err, SM_INVALID, "command: expected a list of 1 to %d texts", ARGS_MAX);
    json_array_foreach(words, i, word) {
        s->argv[i] = sm_strdup(json_is_string(word) ? json_string_value(word) : "");
    }
    s->read_ns = sm_mono_ns();
    return run_command(s, &s->value, err);
}

static sm_rc from_credential(sm_secretsrc *s, const char *name, sm_err *err) {
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    if (!dir || !*dir || !sm_str_is_id_part(name, strlen(name)))
        return sm_err_set(err, SM_NOT_FOUND, "there is no systemd credential \"%s\"", name);
    s->path = sm_fsx_join(dir, name);
    return read_file(s, &s->value, err);
}

sm_rc sm_secretsrc_open(const json_t *source, const char *dir, const atomic_bool *stop,
                        sm_secretsrc **out, sm_err *err) {
    sm_secretsrc *s = sm_calloc(1, sizeof *s);
    s->stop = stop;
    const char *file = sm_json_str(source, "file", NULL);
    const char *var = sm_json_str(source, "env", NULL);
    const char *credential = sm_json_str(source, "credential", NULL);
    const json_t *command = json_object_get(source, "command");
    sm_rc rc = SM_OK;
    pthread_mutex_init(&s->mu, NULL);
    *out = NULL;
    if (file) {
        s->path = *file == '/' || !dir ? sm_strdup(file) : sm_fsx_join(dir, file);
        rc = read_file(s, &s->value, err);
    } else if (var) {
        const char *text = getenv(var);
        if (text && *text)
            s->value = sm_secret_new(text, strlen(text));
        else
            rc = sm_err_set(err, SM_NOT_FOUND, "the environment variable %s is not set", var);
    } else if (credential) {
        rc = from_credential(s, credential, err);
    } else if (json_is_array(command)) {
        rc = from_command(s, command, err);
    } else {
        rc = sm_err_set(err, SM_INVALID, "it is not one of file, env, credential, command");
    }
    s->stop = NULL; /* the caller's, and only for now */
    if (rc == SM_OK)
        *out = s;
    else
        sm_secretsrc_close(s);
    return rc;
}

const char *sm_secretsrc_path(const sm_secretsrc *s) {
    return s->path;
}

void sm_secretsrc_close(sm_secretsrc *s) {
    if (!s)
        return;
    atomic_store(&s->closed, true);
    if (s->running)
        pthread_join(s->thread, NULL);
    sm_secret_free(s->fresh);
    sm_secret_free(s->value);
    pthread_mutex_destroy(&s->mu);
    for (size_t i = 0; s->argv[i]; i++)
        free(s->argv[i]);
    free(s->path);
    free(s);
}
