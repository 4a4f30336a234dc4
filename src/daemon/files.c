/* files: looks at files (base/peek) and processes (base/procs) for runs.
 *
 * A worker is not believed: paths and places of files are checked against the grants of the run's
 * inspection once more, and command lines are read only where `processes:cmdline` is granted. All
 * reading is done on libuv's threads, AT_ONCE at a time, so that a dead network disk holds up
 * neither the loop nor the other users of these threads. Owned by the loop.
 */
#include "daemon/files.h"
#include "base/mem.h"
#include "base/peek.h"
#include "base/procs.h"
#include <stdlib.h>
#include <string.h>

enum { AT_ONCE = 2, PER_RUN = 20000 };

typedef struct look {
    uv_work_t work;
    struct look *next;
    sm_files *files; /* NULL: it is gone */
    sm_ask *ask;
    bool reading; /* on a thread of libuv */
    bool processes;
    json_t *args, *grants; /* copies of its own: counting references is not for two threads */
    sm_peeked found;
    sm_err err;
} look;

struct sm_files {
    uv_loop_t *loop;
    look *first; /* those that are read or wait for that, oldest first */
};

/* On a thread of libuv. */
static void read_it(uv_work_t *work) {
    look *o = work->data;
    if (o->processes)
        sm_procs_read("/proc", o->args, &o->found.value, &o->err);
    else
        sm_peek(o->args, o->grants, &o->found, &o->err);
}

static void end(look *o) {
    if (o->err.code == SM_OK) {
        json_t *value = o->found.value;
        o->found.value = NULL;
        sm_ask_answer(o->ask, value, o->found.body, o->found.body_n);
    } else {
        sm_ask_fail(o->ask, sm_rc_name(o->err.code), "%s", o->err.msg);
    }
    sm_peeked_fini(&o->found);
    json_decref(o->args);
    json_decref(o->grants);
    free(o);
}

static void unlist(look *o) {
    look **at = &o->files->first;
    while (*at != o)
        at = &(*at)->next;
    *at = o->next;
}

static void next_ones(sm_files *f);

static void after(uv_work_t *work, int status) {
    look *o = work->data;
    sm_files *f = o->files;
    (void)status; /* never cancelled */
    if (f)
        unlist(o);
    end(o);
    if (f)
        next_ones(f);
}

/* Begins to look at what waits, oldest first. */
static void next_ones(sm_files *f) {
    int reading = 0;
    for (look *o = f->first; o && reading < AT_ONCE; o = o->next) {
        reading++;
        if (o->reading)
            continue;
        o->reading = true;
        o->work.data = o;
        uv_queue_work(f->loop, &o->work, read_it, after);
    }
}

static void begin(void *ctx, sm_ask *ask) {
    sm_files *f = ctx;
    bool processes = strcmp(ask->what, "processes") == 0;
    bool lines =
        sm_json_bool(ask->args, "cmdline", false) || json_object_get(ask->args, "match") != NULL;
    if (processes && lines && !sm_ask_granted(ask, "processes:cmdline")) {
        sm_ask_fail(ask, "denied", "the permission \"processes:cmdline\" is not granted");
        return;
    }
    look *o = sm_calloc(1, sizeof *o), **last = &f->first;
    o->files = f;
    o->ask = ask;
    o->processes = processes;
    o->args = json_deep_copy(ask->args);
    o->grants = json_deep_copy(ask->inspection->grants);
    if (!o->grants)
        o->grants = json_array(); /* nothing is granted */
    while (*last)
        last = &(*last)->next;
    *last = o;
    ask->state = o;
    next_ones(f);
}

static void drop(void *ctx, sm_ask *ask) {
    look *o = ask->state;
    (void)ctx;
    if (o->reading)
        return; /* it ends when the thread is through */
    unlist(o);
    sm_err_set(&o->err, SM_CLOSED, "the run has ended");
    end(o);
}

sm_files *sm_files_new(uv_loop_t *loop, sm_dispatcher *d) {
    static const char *const names[] = {"file", "processes"};
    sm_files *f = sm_calloc(1, sizeof *f);
    f->loop = loop;
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
    for (look *o = f->first; o; o = o->next)
        o->files = NULL; /* only those on a thread are left */
    free(f);
}
