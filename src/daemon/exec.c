/* exec: see exec.h.
 *
 * A worker is not believed: paths, permission, names and lengths are checked again here. What waits
 * is begun oldest first. An ask whose run has ended is ended when its program is. Owned by the
 * loop.
 */
#include "daemon/exec.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/program.h"
#include "base/secret.h"
#include "base/str.h"
#include "daemon/exec_child.h"
#include "daemon/exec_keeper.h"
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

typedef struct task task;

struct sm_exec {
    uv_loop_t *loop;
    char *self;
    task *first, *last; /* all, oldest first */
    int running, waiting;
    uint64_t started, failed, timeouts, floods, crowds;
    bool closed;
};

struct task {
    sm_exec *e;
    sm_ask *ask; /* its state is this */
    sm_exec_child *child;
    task *prev, *next;
    const char *cmd; /* of the ask's arguments, as all that is borrowed here */
    double timeout_s;
};

static void begin_next(sm_exec *e);

static void unlist(task *t) {
    sm_exec *e = t->e;
    if (t->prev)
        t->prev->next = t->next;
    else
        e->first = t->next;
    if (t->next)
        t->next->prev = t->prev;
    else
        e->last = t->prev;
    if (t->child)
        e->running--;
    else
        e->waiting--;
    free(t);
}

/* ---- what the script is told ---- */

/* A program may print what it was given: secrets are masked, as in every answer. Adds it to out;
 * how many bytes that made. */
static size_t add_masked(sm_buf *out, const sm_buf *said) {
    size_t before = out->len, n = 0;
    if (said->len == 0)
        return 0;
    if (!sm_mask_needed(said->data, said->len)) {
        sm_buf_add(out, said->data, said->len);
        return said->len;
    }
    char *text = sm_mask(said->data, said->len, &n);
    sm_buf_add(out, text, n);
    free(text);
    return out->len - before;
}

static void tell_exit(sm_ask *ask, const sm_exec_result *r) {
    bool by_signal = WIFSIGNALED(r->status);
    sm_buf both;
    sm_buf_init(&both, (size_t)4 * SM_EXEC_OUT_MAX);
    size_t out = add_masked(&both, &r->out);
    add_masked(&both, &r->err_out);
    json_t *value = json_pack("{s:i, s:f, s:b, s:I, s:i}", by_signal ? "signal" : "code",
                              by_signal ? WTERMSIG(r->status) : WEXITSTATUS(r->status), "seconds",
                              r->seconds, "truncated", r->out_cut || r->err_cut, "stdout",
                              (json_int_t)out, "left", r->left);
    sm_ask_answer(ask, value, both.data, both.len);
    sm_buf_fini(&both);
}

static void on_ended(void *ctx, sm_exec_result *r) {
    task *t = ctx;
    sm_exec *e = t->e;
    sm_ask *ask = t->ask;
    char cmd[320];
    snprintf(cmd, sizeof cmd, "%.300s", t->cmd);
    double timeout = t->timeout_s;
    unlist(t);
    switch (r->end) {
    case SM_EXEC_EXITED:
        tell_exit(ask, r);
        break;
    case SM_EXEC_FAILED:
        e->failed++;
        sm_ask_fail(ask, sm_rc_name(r->err.code), "%s", r->err.msg);
        break;
    case SM_EXEC_TIMEOUT:
        e->timeouts++;
        sm_ask_fail(ask, "timeout", "%s did not end within %g s and was ended", cmd, timeout);
        break;
    case SM_EXEC_FLOOD:
        e->floods++;
        sm_ask_fail(ask, "too_large", "%s wrote more than %d MiB and was ended", cmd,
                    SM_EXEC_FLOOD_MAX >> 20);
        break;
    case SM_EXEC_CROWD:
        e->crowds++;
        sm_ask_fail(ask, "limit", "%s had more than %d processes and was ended", cmd,
                    SM_KEEPER_PROCESSES);
        break;
    case SM_EXEC_STOPPED:
        sm_ask_fail(ask, "cancelled", "%s was ended, as the run has", cmd);
        break;
    case SM_EXEC_LOST:
        e->failed++;
        sm_ask_fail(ask, "failed", "%s was ended: %s", cmd, r->err.msg);
        break;
    }
    begin_next(e);
}

/* ---- what is asked ---- */

typedef struct order {
    char *argv[SM_PROGRAM_ARGS_MAX + 2];      /* borrowed */
    char *env[SM_PROGRAM_ENV_MAX + 8];        /* owned */
    size_t env_bytes[SM_PROGRAM_ENV_MAX + 8]; /* to be wiped */
    size_t n_env;
    const char *cwd;
    size_t input_n;
} order;

static void order_fini(order *o) {
    for (size_t i = 0; i < o->n_env; i++) {
        explicit_bzero(o->env[i], o->env_bytes[i]);
        free(o->env[i]);
    }
}

static void add_env(order *o, const char *name, const char *value, size_t n) {
    size_t len = strlen(name);
    char *one = sm_malloc(len + n + 2);
    memcpy(one, name, len);
    one[len] = '=';
    memcpy(one + len + 1, value, n);
    one[len + 1 + n] = '\0';
    o->env_bytes[o->n_env] = len + n + 1;
    o->env[o->n_env++] = one;
}

static void base_env(order *o) {
    static const char path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    static const char lang[] = "C.UTF-8";
    const char *home = getenv("HOME"), *zone = getenv("TZ");
    add_env(o, "PATH", path, sizeof path - 1);
    add_env(o, "LANG", lang, sizeof lang - 1);
    add_env(o, "HOME", home && *home ? home : "/", strlen(home && *home ? home : "/"));
    if (zone)
        add_env(o, "TZ", zone, strlen(zone));
}

/* A name that is given takes the place of the one we would give. */
static void drop_env(order *o, const char *name) {
    size_t len = strlen(name);
    for (size_t i = 0; i < o->n_env; i++)
        if (strncmp(o->env[i], name, len) == 0 && o->env[i][len] == '=') {
            explicit_bzero(o->env[i], o->env_bytes[i]);
            free(o->env[i]);
            o->env[i] = o->env[--o->n_env];
            o->env_bytes[i] = o->env_bytes[o->n_env];
            o->env[o->n_env] = NULL;
            return;
        }
}

static const char *read_env(order *o, const sm_ask *ask) {
    const json_t *list = json_object_get(ask->args, "env");
    size_t at = o->input_n, i;
    json_t *pair;
    if (json_array_size(list) > SM_PROGRAM_ENV_MAX)
        return "env is too long";
    base_env(o);
    json_array_foreach((json_t *)(uintptr_t)list, i, pair) {
        const char *name = json_string_value(json_array_get(pair, 0));
        json_int_t n = json_integer_value(json_array_get(pair, 1));
        if (!name || sm_program_env_wrong(name, strlen(name)))
            return "a name in env";
        if (n < 0 || (uint64_t)n > ask->body_n - at || at - o->input_n > SM_PROGRAM_ENV_BYTES)
            return "a value in env";
        if (n > 0 && memchr(ask->body + at, '\0', (size_t)n))
            return "a value in env holds a NUL";
        drop_env(o, name);
        add_env(o, name, n > 0 ? ask->body + at : "", (size_t)n);
        at += (size_t)n;
    }
    return at == ask->body_n ? NULL : "bytes are left over";
}

static const char *read_order(order *o, const sm_ask *ask, const char *cmd) {
    const json_t *args = json_object_get(ask->args, "args");
    size_t bytes = strlen(cmd), n = json_array_size(args);
    int64_t input = sm_json_int(ask->args, "stdin", 0);
    o->cwd = sm_json_str(ask->args, "cwd", "/");
    if (strcmp(o->cwd, "/") != 0 && sm_program_path_wrong(o->cwd, strlen(o->cwd)))
        return "cwd";
    if (input < 0 || input > SM_PROGRAM_STDIN_BYTES || (uint64_t)input > ask->body_n)
        return "stdin";
    o->input_n = (size_t)input;
    if (n > SM_PROGRAM_ARGS_MAX)
        return "too many arguments";
    o->argv[0] = (char *)(uintptr_t)cmd;
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(args, i);
        const char *text = json_string_value(one);
        if (!text || strlen(text) != json_string_length(one))
            return "an argument";
        bytes += strlen(text) + 1;
        o->argv[i + 1] = (char *)(uintptr_t)text;
    }
    if (bytes > SM_PROGRAM_ARGS_BYTES)
        return "arguments are too long";
    return read_env(o, ask);
}

/* False: the ask has been ended. */
static bool start(task *t) {
    sm_exec *e = t->e;
    sm_ask *ask = t->ask;
    order o = {0};
    sm_err err = SM_ERR_INIT;
    const char *wrong = read_order(&o, ask, t->cmd);
    sm_exec_order child = {.loop = e->loop,
                           .self = e->self,
                           .cwd = o.cwd,
                           .argv = o.argv,
                           .env = o.env,
                           .input = ask->body,
                           .input_n = o.input_n,
                           .timeout_s = t->timeout_s,
                           .ended = on_ended,
                           .ctx = t};
    if (!wrong)
        t->child = sm_exec_child_start(&child, &err);
    order_fini(&o);
    if (t->child) {
        e->running++;
        e->waiting--;
        e->started++;
        return true;
    }
    e->failed++;
    unlist(t);
    if (wrong)
        sm_ask_fail(ask, "invalid", "exec: %s: not as selfmon.exec asks", wrong);
    else
        sm_ask_fail(ask, sm_rc_name(err.code), "%s", err.msg);
    return false;
}

static void begin_next(sm_exec *e) {
    task *next;
    for (task *t = e->first; t && e->running < SM_EXEC_CHILDREN && e->waiting > 0; t = next) {
        next = t->next;
        if (!t->child)
            start(t);
    }
}

/* Ends an ask that may not be, and answers true. */
static bool refused(sm_exec *e, sm_ask *ask, const char *cmd, double timeout) {
    if (e->closed) {
        sm_ask_fail(ask, "cancelled", "the program is stopping");
        return true;
    }
    const char *wrong = cmd ? sm_program_path_wrong(cmd, strlen(cmd)) : "expected a path";
    if (wrong || !(timeout > 0 && timeout <= SM_PROGRAM_TIMEOUT_MAX)) {
        sm_ask_fail(ask, "invalid", "exec.run: cmd: %s", wrong ? wrong : "and a timeout");
        return true;
    }
    char *permission = sm_asprintf("exec:%s", cmd);
    bool granted = sm_ask_granted(ask, permission);
    if (!granted) {
        char *shown = sm_str_printable(permission, strlen(permission), 300);
        sm_log(SM_LOG_WARN, "%s asked for a program without the permission %s", ask->inspection->id,
               shown);
        sm_ask_fail(ask, "denied",
                    "permission \"%s\" is not granted to %s: add it to grant in selfmon.conf.lua",
                    shown, ask->inspection->id);
        free(shown);
    } else if (e->waiting >= SM_EXEC_WAITING) {
        sm_ask_fail(ask, "busy", "%d programs wait to be run already: that is the most",
                    SM_EXEC_WAITING);
    }
    free(permission);
    return !granted || e->waiting >= SM_EXEC_WAITING;
}

static void on_begin(void *ctx, sm_ask *ask) {
    sm_exec *e = ctx;
    const char *cmd = sm_json_str(ask->args, "cmd", NULL);
    double timeout = sm_json_num(ask->args, "timeout", 0);
    if (refused(e, ask, cmd, timeout))
        return;
    task *t = sm_calloc(1, sizeof *t);
    t->e = e;
    t->ask = ask;
    t->cmd = cmd;
    t->timeout_s = timeout;
    t->prev = e->last;
    if (t->prev)
        t->prev->next = t;
    else
        e->first = t;
    e->last = t;
    e->waiting++;
    ask->state = t;
    begin_next(e);
}

static void on_drop(void *ctx, sm_ask *ask) {
    task *t = ask->state;
    (void)ctx;
    if (t->child) {
        sm_exec_child_stop(t->child); /* its end ends the ask */
    } else {
        unlist(t);
        sm_ask_fail(ask, "cancelled", "the run has ended");
    }
}

sm_exec *sm_exec_new(uv_loop_t *loop, sm_dispatcher *d, const char *self) {
    sm_exec *e = sm_calloc(1, sizeof *e);
    const sm_ask_service service = {.what = "exec", .ctx = e, .begin = on_begin, .drop = on_drop};
    e->loop = loop;
    e->self = sm_strdup(self);
    sm_asks_serve(d, &service);
    return e;
}

json_t *sm_exec_status(const sm_exec *e) {
    return json_pack("{s:i, s:i, s:I, s:I, s:{s:I, s:I, s:I}}", "running", e->running, "waiting",
                     e->waiting, "started", (json_int_t)e->started, "failed", (json_int_t)e->failed,
                     "ended", "timeout", (json_int_t)e->timeouts, "too_large",
                     (json_int_t)e->floods, "limit", (json_int_t)e->crowds);
}

void sm_exec_close(sm_exec *e) {
    if (!e)
        return;
    e->closed = true;
    while (e->first) {
        task *t = e->first;
        sm_ask *ask = t->ask;
        if (t->child)
            sm_exec_child_abandon(t->child);
        unlist(t);
        sm_ask_fail(ask, "cancelled", "the program is stopping");
    }
}

void sm_exec_free(sm_exec *e) {
    if (!e)
        return;
    free(e->self);
    free(e);
}
