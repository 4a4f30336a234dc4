/* lend: gives runs the PEM files they name, since their processes cannot open files.
 *
 * What is handed out is a PEM file and nothing else: of certificates only, unless the run holds the
 * permission `file:PATH`, which is checked here because a worker is not believed. Files are read on
 * libuv's threads, SM_LEND_AT_ONCE at a time, so that a dead network disk holds up neither the loop
 * nor the other users of these threads. Owned by the loop.
 */
#include "daemon/lend.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { PEM_MAX = 1 << 20, SM_LEND_AT_ONCE = 2, SM_LEND_PER_RUN = 2000 };

typedef struct sm_loan sm_loan;

struct sm_loan {
    uv_work_t work;
    sm_loan *next;
    sm_lend *lend; /* NULL: it is gone */
    sm_ask *ask;
    bool reading; /* on a thread of libuv */
    bool key;     /* private keys too */
    char *path;
    char *text; /* what was read */
    size_t len;
    sm_err err;
};

struct sm_lend {
    uv_loop_t *loop;
    sm_loan *loans; /* that are read or wait for that, oldest first */
};

static void free_loan(sm_loan *o) {
    if (o->text)
        explicit_bzero(o->text, o->len);
    free(o->text);
    free(o->path);
    free(o);
}

static sm_rc check_text(sm_loan *o) {
    if (memchr(o->text, '\0', o->len) || !strstr(o->text, "-----BEGIN"))
        return sm_err_set(&o->err, SM_INVALID, "%s is not a PEM file", o->path);
    if (!o->key && strstr(o->text, "PRIVATE KEY-----"))
        return sm_err_set(&o->err, SM_DENIED,
                          "%s holds a private key: expected a file of certificates", o->path);
    return SM_OK;
}

/* On a thread of libuv. */
static void read_it(uv_work_t *work) {
    sm_loan *o = work->data;
    if (sm_fsx_read(o->path, PEM_MAX, &o->text, &o->len, &o->err) == SM_OK)
        check_text(o);
}

static void end(sm_loan *o) {
    if (o->err.code == SM_OK)
        sm_ask_answer(o->ask, NULL, o->text, o->len);
    else
        sm_ask_fail(o->ask, "denied", "%s", o->err.msg);
    free_loan(o);
}

static void unlist(sm_loan *o) {
    sm_loan **at = &o->lend->loans;
    while (*at != o)
        at = &(*at)->next;
    *at = o->next;
}

static void next_ones(sm_lend *l);

static void after(uv_work_t *work, int status) {
    sm_loan *o = work->data;
    sm_lend *l = o->lend;
    (void)status; /* never cancelled */
    if (l)
        unlist(o);
    end(o);
    if (l)
        next_ones(l);
}

/* Begins to read what waits, oldest first. */
static void next_ones(sm_lend *l) {
    int reading = 0;
    for (sm_loan *o = l->loans; o && reading < SM_LEND_AT_ONCE; o = o->next) {
        reading++;
        if (o->reading)
            continue;
        o->reading = true;
        o->work.data = o;
        uv_queue_work(l->loop, &o->work, read_it, after);
    }
}

/* Why it is not lent, or NULL. */
static const char *refusal(const sm_ask *ask, const char *path, bool key) {
    if (path[0] != '/' || strlen(path) >= PATH_MAX)
        return "expected an absolute path";
    if (!key)
        return NULL;
    if (strstr(path, "/../") || sm_str_ends(path, "/.."))
        return "expected a path without \"..\"";
    char *permission = sm_asprintf("file:%s", path);
    bool granted = sm_ask_granted(ask, permission);
    free(permission);
    return granted ? NULL : "the permission for this file is not granted";
}

static void begin(void *ctx, sm_ask *ask) {
    sm_lend *l = ctx;
    const char *path = sm_json_str(ask->args, "path", "");
    bool key = sm_json_bool(ask->args, "key", false);
    const char *why = refusal(ask, path, key);
    if (why) {
        char *shown = sm_str_printable(path, strlen(path), 300);
        sm_ask_fail(ask, "denied", "%s: %s", shown, why);
        free(shown);
        return;
    }
    sm_loan *o = sm_calloc(1, sizeof *o), **last = &l->loans;
    o->lend = l;
    o->ask = ask;
    o->key = key;
    o->path = sm_strdup(path);
    while (*last)
        last = &(*last)->next;
    *last = o;
    ask->state = o;
    next_ones(l);
}

static void drop(void *ctx, sm_ask *ask) {
    sm_loan *o = ask->state;
    (void)ctx;
    if (o->reading)
        return; /* it ends when the thread is through */
    unlist(o);
    end(o);
}

sm_lend *sm_lend_new(uv_loop_t *loop, sm_dispatcher *d) {
    sm_lend *l = sm_calloc(1, sizeof *l);
    l->loop = loop;
    sm_asks_serve(
        d, &(sm_ask_service){
               .what = "pem", .ctx = l, .per_run = SM_LEND_PER_RUN, .begin = begin, .drop = drop});
    return l;
}

void sm_lend_free(sm_lend *l) {
    if (!l)
        return;
    for (sm_loan *o = l->loans; o; o = o->next)
        o->lend = NULL; /* only those on a thread are left */
    free(l);
}
