/* lend: gives runs the PEM files they name, since their processes cannot open files.
 *
 * What is handed out is a PEM file and nothing else: of certificates only, unless the run holds the
 * permission `file:PATH`, which is checked here because a worker is not believed. Files are read on
 * libuv's threads (daemon/aside.h), SM_LEND_AT_ONCE at a time. Owned by the loop.
 */
#include "daemon/lend.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/aside.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { PEM_MAX = 1 << 20, SM_LEND_AT_ONCE = 2, SM_LEND_PER_RUN = 2000 };

typedef struct sm_loan {
    sm_aside_task task;
    sm_ask *ask;
    bool key; /* private keys too */
    char *path;
    char *text; /* what was read */
    size_t len;
    sm_err err;
} sm_loan;

struct sm_lend {
    sm_aside aside;
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
static void read_it(sm_aside_task *task) {
    sm_loan *o = (sm_loan *)task;
    if (sm_fsx_read(o->path, PEM_MAX, &o->text, &o->len, &o->err) == SM_OK)
        check_text(o);
}

static void end(sm_aside_task *task) {
    sm_loan *o = (sm_loan *)task;
    if (o->err.code == SM_OK)
        sm_ask_answer(o->ask, NULL, o->text, o->len);
    else
        sm_ask_fail(o->ask, "denied", "%s", o->err.msg);
    free_loan(o);
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
    sm_loan *o = sm_calloc(1, sizeof *o);
    o->task.read = read_it;
    o->task.end = end;
    o->ask = ask;
    o->key = key;
    o->path = sm_strdup(path);
    ask->state = o;
    sm_aside_put(&l->aside, &o->task);
}

static void drop(void *ctx, sm_ask *ask) {
    sm_loan *o = ask->state;
    (void)ctx;
    if (sm_aside_drop(&o->task))
        end(&o->task);
}

sm_lend *sm_lend_new(uv_loop_t *loop, sm_dispatcher *d) {
    sm_lend *l = sm_calloc(1, sizeof *l);
    l->aside = (sm_aside){.loop = loop, .at_once = SM_LEND_AT_ONCE};
    sm_asks_serve(
        d, &(sm_ask_service){
               .what = "pem", .ctx = l, .per_run = SM_LEND_PER_RUN, .begin = begin, .drop = drop});
    return l;
}

void sm_lend_free(sm_lend *l) {
    if (!l)
        return;
    sm_aside_forget(&l->aside);
    free(l);
}
