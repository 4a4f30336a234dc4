/* asks: the road of questions between runs and the daemon's services (asks.h).
 *
 * An `ask` frame becomes an sm_ask that its service ends; the answer goes back as an `answer`
 * frame, unless the run has ended meanwhile. Owned by the loop.
 */
#include "daemon/asks.h"
#include "base/grant.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/dispatch.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sm_asks_serve(sm_dispatcher *d, const sm_ask_service *service) {
    if (d->n_services < SM_ASK_SERVICES)
        d->services[d->n_services++] = *service;
}

static void free_ask(sm_ask *a) {
    if (a->d) {
        if (a->prev)
            a->prev->next = a->next;
        else
            a->d->asks = a->next;
        if (a->next)
            a->next->prev = a->prev;
    }
    if (a->body)
        explicit_bzero(a->body, a->body_n);
    free(a->body);
    sm_inspection_unref(a->inspection);
    json_decref(a->args);
    free(a);
}

/* Sends what `head` says; false: the worker could not be given it as it is too long. */
static bool send_answer(sm_job *j, json_t *head, const void *body, size_t n) {
    bool too_long = false;
    sm_err err = SM_ERR_INIT;
    if (sm_link_put(&j->worker->link, head, body, n, &too_long, &err) == SM_OK) {
        sm_link_flush(&j->worker->link);
        return true;
    }
    if (too_long)
        return false;
    sm_log(SM_LOG_ERROR, "worker %d does not read what it is sent and is ended: %s",
           (int)j->worker->pid, err.msg);
    sm_pool_kill(j->worker, SM_KILL_UNREAD, "it did not read what it was sent");
    return true;
}

/* Its run, when it still waits for this ask. */
static sm_job *listener(const sm_ask *a) {
    sm_job *j = a->d && !a->dropped ? sm_map_get(&a->d->runs, a->run_id) : NULL;
    return j && j->worker && j->ask == a ? j : NULL;
}

static json_t *answer_head(const sm_ask *a) {
    return json_pack("{s:s, s:s, s:I}", "t", "answer", "run", a->run_id, "n", (json_int_t)a->n);
}

void sm_ask_answer(sm_ask *a, json_t *value, const void *body, size_t n) {
    sm_job *j = listener(a);
    if (!j) {
        json_decref(value);
        free_ask(a);
        return;
    }
    json_t *head = answer_head(a);
    if (value)
        json_object_set_new(head, "value", value);
    j->ask = NULL;
    bool fits = send_answer(j, head, body, n);
    if (!fits)
        j->ask = a;
    json_decref(head);
    if (fits)
        free_ask(a);
    else
        sm_ask_fail(a, "too_large", "the answer is longer than %d MiB", SM_FRAME_BODY_MAX >> 20);
}

void sm_ask_fail(sm_ask *a, const char *code, const char *fmt, ...) {
    sm_job *j = listener(a);
    if (j) {
        va_list args;
        json_t *head = answer_head(a);
        sm_err err = SM_ERR_INIT;
        va_start(args, fmt);
        vsnprintf(err.msg, sizeof err.msg, fmt, args);
        va_end(args);
        json_object_set_new(head, "error", sm_json_text(err.msg, strlen(err.msg)));
        json_object_set_new(head, "code", json_string(code));
        j->ask = NULL;
        send_answer(j, head, NULL, 0);
        json_decref(head);
    }
    free_ask(a);
}

bool sm_ask_granted(const sm_ask *a, const char *permission) {
    return sm_grant_covers(a->inspection->grants, permission);
}

/* Gives it to its service. */
static void begin(sm_ask *a, const char *what) {
    const sm_dispatcher *d = a->d;
    size_t i = 0;
    while (i < d->n_services && strcmp(d->services[i].what, what) != 0)
        i++;
    if (i == d->n_services) {
        sm_ask_fail(a, "unavailable", "this process offers no \"%.40s\"", what);
        return;
    }
    a->service = d->services[i];
    a->what = a->service.what;
    int most = a->service.per_run ? a->service.per_run : SM_ASKS_PER_RUN;
    sm_job *j = listener(a);
    if (++j->asked_of[i] > most || a->n > SM_ASKS_PER_RUN)
        sm_ask_fail(a, "limit", "this run has asked for \"%s\" %d times: that is the most", a->what,
                    most);
    else
        a->service.begin(a->service.ctx, a);
}

sm_rc sm_asks_arrived(sm_worker *w, const sm_frame *f, sm_err *err) {
    sm_dispatcher *d = w->d;
    const char *run_id = sm_json_str(f->head, "run", "");
    const char *what = sm_json_str(f->head, "what", "");
    json_t *args = json_object_get(f->head, "args");
    const json_t *n = json_object_get(f->head, "n");
    if (sm_map_get(&w->ghosts, run_id))
        return SM_OK; /* nobody waits: its thread ends with the process */
    sm_job *j = sm_map_get(&d->runs, run_id);
    if (!j || j->worker != w)
        return sm_err_set(err, SM_PROTO, "`ask` for a run that was not dispatched to it");
    if (!json_is_object(args) || !json_is_integer(n))
        return sm_err_set(err, SM_PROTO, "`ask` without arguments or number");
    if (j->ask || json_integer_value(n) != j->asked + 1)
        return sm_err_set(err, SM_PROTO, "`ask` out of order");
    sm_ask *a = sm_calloc(1, sizeof *a);
    a->d = d;
    a->next = d->asks;
    if (a->next)
        a->next->prev = a;
    d->asks = a;
    memcpy(a->run_id, j->run_id, sizeof a->run_id);
    a->n = ++j->asked;
    a->inspection = sm_inspection_ref(j->inspection);
    a->args = json_incref(args);
    a->body = f->body ? sm_memdup(f->body, f->body_len) : NULL;
    a->body_n = f->body_len;
    a->deadline_ns = j->deadline_ns;
    j->ask = a;
    begin(a, what);
    return SM_OK;
}

static void drop(sm_ask *a) {
    a->dropped = true;
    if (a->service.drop)
        a->service.drop(a->service.ctx, a);
}

void sm_asks_run_gone(sm_job *j) {
    sm_ask *a = j->ask;
    j->ask = NULL;
    if (a)
        drop(a);
}

void sm_asks_forget(sm_dispatcher *d) {
    sm_ask *next;
    for (sm_ask *a = d->asks; a; a = next) {
        next = a->next;
        bool told = a->dropped;
        a->prev = a->next = NULL;
        a->d = NULL;
        if (!told)
            drop(a);
    }
    d->asks = NULL;
}
