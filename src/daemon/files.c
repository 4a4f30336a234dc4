/* files: looks at files (base/peek) and processes (base/procs) for runs.
 *
 * A worker is not believed: paths and places of files are checked against the grants of the run's
 * inspection once more, and command lines are read only where `processes:cmdline` is granted. All
 * reading is done on libuv's threads (daemon/aside.h), AT_ONCE at a time; when a dead network disk
 * has stopped all of these, new questions are refused with a sentence instead of waiting for it.
 * Owned by the loop.
 */
#include "daemon/files.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/peek.h"
#include "base/procs.h"
#include "base/str.h"
#include "daemon/aside.h"
#include <stdlib.h>
#include <string.h>

enum { AT_ONCE = 2, PER_RUN = 20000, STUCK_S = 5 };

typedef struct look {
    sm_aside_task task;
    sm_files *files; /* valid while task.aside is */
    sm_ask *ask;
    bool processes;
    json_t *args, *grants; /* copies of its own: counting references is not for two threads */
    sm_peeked found;
    sm_err err;
} look;

struct sm_files {
    sm_aside aside;
    json_t *calls, *failed; /* counted by name */
};

/* On a thread of libuv. */
static void read_it(sm_aside_task *task) {
    look *o = (look *)task;
    if (o->processes)
        sm_procs_read("/proc", o->args, &o->found.value, &o->err);
    else
        sm_peek(o->args, o->grants, &o->found, &o->err);
}

static void end(sm_aside_task *task) {
    look *o = (look *)task;
    if (o->err.code == SM_OK) {
        json_t *value = o->found.value;
        o->found.value = NULL;
        sm_ask_answer(o->ask, value, o->found.body, o->found.body_n);
    } else {
        if (task->aside)
            sm_json_count(o->files->failed, sm_rc_name(o->err.code));
        sm_ask_fail(o->ask, sm_rc_name(o->err.code), "%s", o->err.msg);
    }
    sm_peeked_fini(&o->found);
    json_decref(o->args);
    json_decref(o->grants);
    free(o);
}

/* What has kept every thread for long, or NULL. */
static const look *stuck(const sm_files *f) {
    int64_t long_ago = sm_mono_ns() - STUCK_S * SM_NS_PER_S;
    int n = 0;
    for (const sm_aside_task *t = f->aside.first; t && t->reading; t = t->next)
        n += t->since_ns < long_ago;
    return n >= AT_ONCE ? (const look *)f->aside.first : NULL;
}

/* The name of a question for the counters: only what is known, as it comes from a worker. */
static const char *call_of(const sm_ask *ask) {
    static const char *const ops[] = {"stat", "list", "read", "tail"};
    const char *op = sm_json_str(ask->args, "op", "");
    for (size_t i = 0; i < SM_ARRAY_LEN(ops); i++)
        if (strcmp(ask->what, "file") == 0 && strcmp(ops[i], op) == 0)
            return ops[i];
    return ask->what;
}

static void begin(void *ctx, sm_ask *ask) {
    sm_files *f = ctx;
    sm_json_count(f->calls, call_of(ask));
    bool processes = strcmp(ask->what, "processes") == 0;
    bool lines =
        sm_json_bool(ask->args, "cmdline", false) || json_object_get(ask->args, "match") != NULL;
    if (processes && lines && !sm_ask_granted(ask, "processes:cmdline")) {
        sm_json_count(f->failed, "denied");
        sm_ask_fail(ask, "denied", "the permission \"processes:cmdline\" is not granted");
        return;
    }
    const look *slow = stuck(f);
    if (slow) {
        const char *path = sm_json_str(slow->args, "path", "/proc");
        char *shown = sm_str_printable(path, strlen(path), 200);
        sm_json_count(f->failed, "busy");
        sm_ask_fail(ask, "busy", "files cannot be read now: %s has not answered for %lld s", shown,
                    (long long)((sm_mono_ns() - slow->task.since_ns) / SM_NS_PER_S));
        free(shown);
        return;
    }
    look *o = sm_calloc(1, sizeof *o);
    o->task.read = read_it;
    o->task.end = end;
    o->files = f;
    o->ask = ask;
    o->processes = processes;
    o->args = json_deep_copy(ask->args);
    o->grants = json_deep_copy(ask->inspection->grants);
    if (!o->grants)
        o->grants = json_array(); /* nothing is granted */
    ask->state = o;
    sm_aside_put(&f->aside, &o->task);
}

static void drop(void *ctx, sm_ask *ask) {
    look *o = ask->state;
    (void)ctx;
    if (!sm_aside_drop(&o->task))
        return;
    sm_err_set(&o->err, SM_CLOSED, "the run has ended");
    end(&o->task);
}

sm_files *sm_files_new(uv_loop_t *loop, sm_dispatcher *d) {
    static const char *const names[] = {"file", "processes"};
    sm_files *f = sm_calloc(1, sizeof *f);
    f->aside = (sm_aside){.loop = loop, .at_once = AT_ONCE};
    f->calls = json_object();
    f->failed = json_object();
    for (size_t i = 0; i < SM_ARRAY_LEN(names); i++) {
        const sm_ask_service service = {
            .what = names[i], .ctx = f, .per_run = PER_RUN, .begin = begin, .drop = drop};
        sm_asks_serve(d, &service);
    }
    return f;
}

void sm_files_free(sm_files *f) {
    if (!f)
        return;
    sm_aside_forget(&f->aside);
    json_decref(f->calls);
    json_decref(f->failed);
    free(f);
}

json_t *sm_files_status(const sm_files *f) {
    int waiting = 0;
    for (const sm_aside_task *t = f->aside.first; t; t = t->next)
        waiting++;
    return json_pack("{s:o, s:o, s:i}", "calls", json_deep_copy(f->calls), "failed",
                     json_deep_copy(f->failed), "waiting", waiting);
}
