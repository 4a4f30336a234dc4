/* lend: gives runs the PEM files they name, since their processes cannot open files.
 *
 * What is handed out is a PEM file and nothing else: of certificates only, unless the run holds the
 * permission `file:PATH`, which is checked here because a worker is not believed. Files are read on
 * libuv's threads, SM_LEND_AT_ONCE at a time, so that a dead network disk holds up neither the loop
 * nor the other users of these threads. A run asks for one file at a time. Owned by the loop.
 */
#include "base/fsx.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/dispatch.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { PEM_MAX = 1 << 20 };

struct sm_loan {
    uv_work_t work;
    sm_loan *next;
    sm_dispatcher *d; /* NULL: it is gone */
    bool reading;     /* on a thread of libuv */
    char run_id[33];
    int64_t n;
    bool key; /* private keys too */
    char *path;
    char *text; /* what was read */
    size_t len;
    sm_err err;
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

static void answer(const sm_loan *o) {
    sm_job *j = sm_map_get(&o->d->runs, o->run_id);
    if (!j || !j->worker || j->lent != o->n)
        return; /* the run has ended */
    bool ok = o->err.code == SM_OK, too_long;
    json_t *head =
        json_pack("{s:s, s:s, s:I}", "t", "pem", "run", o->run_id, "n", (json_int_t)o->n);
    sm_err err = SM_ERR_INIT;
    if (!ok)
        json_object_set_new(head, "error", sm_json_text(o->err.msg, strlen(o->err.msg)));
    j->lending = false;
    if (sm_link_put(&j->worker->link, head, ok ? o->text : NULL, ok ? o->len : 0, &too_long,
                    &err) != SM_OK) {
        sm_log(SM_LOG_ERROR, "worker %d does not read what it is sent and is ended: %s",
               (int)j->worker->pid, err.msg);
        sm_pool_kill(j->worker, SM_KILL_UNREAD, "it did not read what it was sent");
    } else {
        sm_link_flush(&j->worker->link);
    }
    json_decref(head);
}

static void unlist(sm_loan *o) {
    sm_loan **at = &o->d->loans;
    while (*at != o)
        at = &(*at)->next;
    *at = o->next;
}

static void next_ones(sm_dispatcher *d);

static void after(uv_work_t *work, int status) {
    sm_loan *o = work->data;
    sm_dispatcher *d = o->d;
    (void)status; /* never cancelled */
    if (d) {
        unlist(o);
        answer(o);
        next_ones(d);
    }
    free_loan(o);
}

/* Begins to read what waits, oldest first. */
static void next_ones(sm_dispatcher *d) {
    int reading = 0;
    for (sm_loan *o = d->loans; o && reading < SM_LEND_AT_ONCE; o = o->next) {
        reading++;
        if (o->reading)
            continue;
        o->reading = true;
        o->work.data = o;
        uv_queue_work(d->opt.loop, &o->work, read_it, after);
    }
}

static bool granted(const sm_job *j, const char *path) {
    char *permission = sm_asprintf("file:%s", path);
    bool yes = false;
    size_t i;
    json_t *grant;
    json_array_foreach(j->inspection->grants, i, grant) {
        const char *text = json_string_value(grant);
        yes = yes || (text && (strcmp(text, permission) == 0 || sm_str_glob(text, permission)));
    }
    free(permission);
    return yes;
}

/* Why it is not lent, or NULL. */
static const char *refusal(const sm_job *j, const char *path, bool key) {
    if (j->lent > SM_LEND_PER_RUN)
        return "this run has asked for too many PEM files; read them once, as text";
    if (path[0] != '/' || strlen(path) >= PATH_MAX)
        return "expected an absolute path";
    if (key && (strstr(path, "/../") || sm_str_ends(path, "/..")))
        return "expected a path without \"..\"";
    if (key && !granted(j, path))
        return "the permission for this file is not granted";
    return NULL;
}

sm_rc sm_lend_asked(sm_worker *w, const json_t *head, sm_err *err) {
    sm_dispatcher *d = w->d;
    const char *run_id = sm_json_str(head, "run", ""), *path = sm_json_str(head, "path", NULL);
    const json_t *n = json_object_get(head, "n");
    if (sm_map_get(&w->ghosts, run_id))
        return SM_OK; /* nobody waits: its thread ends with the process */
    sm_job *j = sm_map_get(&d->runs, run_id);
    if (!j || j->worker != w)
        return sm_err_set(err, SM_PROTO, "`pem` for a run that was not dispatched to it");
    if (!path || !json_is_integer(n))
        return sm_err_set(err, SM_PROTO, "`pem` without path or number");
    if (j->lending || json_integer_value(n) != j->lent + 1)
        return sm_err_set(err, SM_PROTO, "`pem` out of order");
    j->lent++;
    j->lending = true;
    sm_loan *o = sm_calloc(1, sizeof *o), **last = &d->loans;
    o->d = d;
    memcpy(o->run_id, j->run_id, sizeof o->run_id);
    o->n = j->lent;
    o->key = json_is_true(json_object_get(head, "key"));
    o->path = sm_strdup(path);
    const char *why = refusal(j, path, o->key);
    if (why) {
        char *shown = sm_str_printable(path, strlen(path), 300);
        sm_err_set(&o->err, SM_DENIED, "%s: %s", shown, why);
        free(shown);
        answer(o);
        free_loan(o);
        return SM_OK;
    }
    while (*last)
        last = &(*last)->next;
    *last = o;
    next_ones(d);
    return SM_OK;
}

void sm_lend_forget(sm_dispatcher *d) {
    sm_loan *next;
    for (sm_loan *o = d->loans; o; o = next) {
        next = o->next;
        if (o->reading)
            o->d = NULL; /* freed when the thread is through */
        else
            free_loan(o);
    }
    d->loans = NULL;
}
