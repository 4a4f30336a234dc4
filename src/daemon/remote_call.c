/* remote_call: calls of the OpenAPI: they wait in queues by class until the budget lets them out,
 * carry the credential that works, and come back as an answer that is understood.
 *
 * The Key ID goes first; on ft.InvalidAPIKey the key itself is tried once, and what worked is
 * remembered. A rate limit is no failure: the budget pauses and the call waits on. Refreshes that
 * wait too long are refused with LIMIT: who asks has a last known view. Loop's thread.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/remote_internal.h"
#include <stdlib.h>
#include <string.h>

enum {
    QUEUE_MAX = 10000,
    IN_FLIGHT_MAX = 8,
    FAIR_EVERY = 4,        /* every fourth call is for whoever waits longest */
    GATHER_KEYS = 20,      /* a question after creations goes out at once with so many keys */
    QUERIES_IN_FLIGHT = 4, /* they may take long, and others must not wait for them */
    GATHER_MS = 100,       /* a query waits so long for company */
    ANSWER_MAX = 16 << 20
};

sm_remote_call *sm_remote_call_new(sm_remote *r, sm_remote_class class_, char *path, char *body,
                                   void (*done)(void *ctx, sm_openapi_answer *answer), void *ctx) {
    sm_remote_call *c = sm_calloc(1, sizeof *c);
    *c = (sm_remote_call){.remote = r,
                          .class_ = class_,
                          .path = path,
                          .body = body,
                          .body_n = body ? strlen(body) : 0,
                          .done = done,
                          .ctx = ctx};
    return c;
}

static void call_free(sm_remote_call *c) {
    if (c->body)
        explicit_bzero(c->body, c->body_n);
    free(c->body);
    free(c->path);
    free(c);
}

static void finish(sm_remote_call *c, sm_openapi_answer *a) {
    c->done(c->ctx, a);
    sm_openapi_answer_fini(a);
    call_free(c);
}

/* Ends a call that was not sent. */
static void refuse(sm_remote_call *c, sm_openapi_kind kind, const char *sentence) {
    sm_openapi_answer a = {.kind = kind,
                           .verdict = {.road = SM_ROAD_OPENAPI,
                                       .transport = SM_TRANSPORT_FAILED,
                                       .rate_limited = kind == SM_OPENAPI_LIMIT,
                                       .retry_after_s = -1}};
    snprintf(a.sentence, sizeof a.sentence, "%s", sentence);
    finish(c, &a);
}

static void append(sm_remote_queue *q, sm_remote_call *c) {
    c->next = NULL;
    if (q->last)
        q->last->next = c;
    else
        q->first = c;
    q->last = c;
    q->n++;
}

static void push_front(sm_remote_queue *q, sm_remote_call *c) {
    c->next = q->first;
    q->first = c;
    if (!q->last)
        q->last = c;
    q->n++;
}

static sm_remote_call *pop(sm_remote_queue *q) {
    sm_remote_call *c = q->first;
    q->first = c->next;
    if (!q->first)
        q->last = NULL;
    q->n--;
    c->next = NULL;
    return c;
}

size_t sm_remote_waiting(const sm_remote *r) {
    size_t n = 0;
    for (int i = 0; i < SM_CALL_COUNT_; i++)
        n += r->queue[i].n;
    return n;
}

static void on_timer(uv_timer_t *timer) {
    sm_remote_run_later(timer->data);
    sm_remote_serve(timer->data);
}

/* There is one timer: what waits for the next turn of the loop must not wait for the budget. */
static void wake_at(sm_remote *r, int64_t at_ns, int64_t now_ns) {
    if (r->closed || at_ns == INT64_MAX)
        return;
    int64_t ms = at_ns > now_ns && !r->late ? (at_ns - now_ns) / SM_NS_PER_MS + 1 : 0;
    uv_timer_start(&r->timer, on_timer, (uint64_t)ms, 0);
}

void sm_remote_later(sm_remote *r, void (*fn)(void *ctx), void *ctx) {
    if (r->closed) {
        fn(ctx);
        return;
    }
    sm_remote_late *l = sm_calloc(1, sizeof *l);
    *l = (sm_remote_late){.fn = fn, .ctx = ctx};
    *r->late_end = l;
    r->late_end = &l->next;
    wake_at(r, 0, 0);
}

void sm_remote_run_later(sm_remote *r) {
    sm_remote_late *list = r->late;
    r->late = NULL;
    r->late_end = &r->late;
    while (list) {
        sm_remote_late *l = list;
        list = l->next;
        l->fn(l->ctx);
        free(l);
    }
}

void sm_remote_call_queue(sm_remote_call *c) {
    sm_remote *r = c->remote;
    if (r->closed) {
        refuse(c, SM_OPENAPI_DOWN, "the program is stopping");
        return;
    }
    c->queued_ns = sm_mono_ns();
    append(&r->queue[c->class_], c);
    wake_at(r, 0, 0);
}

/* ---- sending ------------------------------------------------------------------------------- */

static void save_budget(sm_remote *r) {
    if (!r->store || r->closed)
        return;
    char *key = sm_asprintf("remote/%s/%s/budget", r->name, r->node);
    json_t *args = json_pack("{s:s, s:o}", "key", key, "value",
                             sm_remote_budget_save(&r->budget, sm_mono_ns(), sm_wall_ns()));
    sm_store_call(r->store, SM_OP_KV_PUT, args, NULL, NULL);
    free(key);
}

static void save_credential(sm_remote *r) {
    if (!r->store || r->closed)
        return;
    char *key = sm_asprintf("remote/%s/credential", r->node);
    json_t *args =
        json_pack("{s:s, s:s}", "key", key, "value", r->use_key ? "api_key" : "api_key_id");
    sm_store_call(r->store, SM_OP_KV_PUT, args, NULL, NULL);
    free(key);
}

static const sm_secret *credential(const sm_remote *r, bool key) {
    const sm_secret *s = key         ? r->key ? r->key(r->ctx) : NULL
                         : r->key_id ? r->key_id(r->ctx)
                                     : NULL;
    size_t n = 0;
    if (s)
        sm_secret_bytes(s, &n);
    return n > 0 ? s : NULL;
}

void sm_remote_request_init(const sm_remote *r, sm_http_request *out) {
    *out = (sm_http_request){.method = "GET",
                             .timeout_s = r->timeout_s,
                             .ca = r->ca,
                             .proxy = r->proxy,
                             .max_body = ANSWER_MAX};
}

void sm_remote_note_error(sm_remote *r, const char *sentence) {
    r->error_ns = sm_mono_ns();
    if (!r->last_error[0])
        r->error_since_ns = r->error_ns;
    snprintf(r->last_error, sizeof r->last_error, "%s", sentence);
}

static void remember_error(sm_remote *r, const sm_openapi_answer *a) {
    sm_err err = SM_ERR_INIT;
    if (sm_remote_rc(r, a, &err) == SM_OK)
        r->last_error[0] = '\0';
    else
        sm_remote_note_error(r, err.msg);
}

/* True when the call goes round again instead of being answered. */
static bool goes_again(sm_remote_call *c, const sm_openapi_answer *a) {
    sm_remote *r = c->remote;
    if (r->closed)
        return false;
    if (a->kind == SM_OPENAPI_BAD_KEY && !c->other_tried && credential(r, !c->used_key)) {
        c->other_tried = true;
        c->used_key = !c->used_key;
        return true;
    }
    if (a->kind == SM_OPENAPI_LIMIT) {
        sm_remote_budget_block(&r->budget, sm_mono_ns(), a->verdict.retry_after_s);
        save_budget(r);
        remember_error(r, a);
        return !c->passes_limit;
    }
    return false;
}

static void remember(sm_remote *r, const sm_remote_call *c, const sm_openapi_answer *a) {
    bool accepted = a->kind == SM_OPENAPI_OK || a->kind == SM_OPENAPI_NOT_FOUND;
    if (accepted && c->used_key != r->use_key) {
        r->use_key = c->used_key;
        sm_log(SM_LOG_DEBUG, "%s: DF-API-KEY carries the %s", r->node,
               r->use_key ? "API key" : "API key's id");
        save_credential(r);
    }
    remember_error(r, a);
}

static void answered(void *ctx, const sm_http_answer *http) {
    sm_remote_call *c = ctx;
    sm_remote *r = c->remote;
    sm_openapi_answer a = {0};
    sm_remote_budget_end(&r->budget, sm_mono_ns());
    c->under_way = false;
    r->in_flight[c->class_]--;
    sm_openapi_read(http, &a);
    if (goes_again(c, &a)) {
        push_front(&r->queue[c->class_], c);
        sm_openapi_answer_fini(&a);
    } else {
        if (c->peek)
            c->peek(c->ctx, http);
        if (!r->closed)
            remember(r, c, &a);
        finish(c, &a);
    }
    wake_at(r, 0, 0);
}

/* Questions of one class that wait together are asked together. */
static void merge_listings(sm_remote *r, sm_remote_call *c) {
    sm_remote_queue *q = &r->queue[c->class_];
    while (q->first && q->first->listing && sm_remote_listing_merge(c->listing, q->first->listing))
        call_free(pop(q));
}

static void send_call(sm_remote *r, sm_remote_call *c) {
    static const char *const json_headers[] = {"Content-Type: application/json", NULL};
    if (!c->other_tried)
        c->used_key = credential(r, r->use_key) ? r->use_key : !r->use_key;
    const sm_secret *secret = credential(r, c->used_key);
    if (!secret) {
        char text[256];
        snprintf(text, sizeof text, "account %s has no API key", r->name);
        refuse(c, SM_OPENAPI_BAD_KEY, text);
        return;
    }
    if (c->fill && !c->body && !c->fill(c)) {
        refuse(c, SM_OPENAPI_DOWN, "");
        return;
    }
    if (c->listing) {
        merge_listings(r, c);
        free(c->path);
        c->path = sm_remote_listing_path(c->listing);
    }
    sm_http_request request;
    sm_remote_request_init(r, &request);
    char *url = sm_asprintf("%s%s", r->openapi, c->path);
    request.url = url;
    if (c->timeout_s > 0)
        request.timeout_s = c->timeout_s;
    request.headers = json_headers;
    request.secret_header = "DF-API-KEY";
    request.secret = secret;
    if (c->body) {
        request.method = "POST";
        request.body = c->body;
        request.body_n = c->body_n;
    }
    r->calls_made++;
    sm_remote_budget_take(&r->budget, sm_mono_ns());
    r->in_flight[c->class_]++;
    c->under_way = true;
    r->turn++;
    save_budget(r);
    sm_http_send(r->http, &request, answered, c);
    free(url);
}

/* ---- choosing ------------------------------------------------------------------------------ */

/* A question that follows creations waits for others like it, or the budget of a fresh workspace
 * would go half into questions. */
static int64_t gathered_at(const sm_remote *r) {
    const sm_remote_queue *q = &r->queue[SM_CALL_LIST_NEW];
    if (r->queue[SM_CALL_CREATE].n == 0 && r->in_flight[SM_CALL_CREATE] == 0)
        return 0;
    size_t keys = 0;
    for (const sm_remote_call *c = q->first; c && keys < GATHER_KEYS; c = c->next)
        keys += sm_remote_listing_size(c->listing);
    return keys >= GATHER_KEYS ? 0 : q->first->queued_ns + r->gather_ns;
}

static int64_t ready_at(sm_remote *r, sm_remote_class class_, int64_t now_ns) {
    bool paced = class_ == SM_CALL_REFRESH || class_ == SM_CALL_QUERY;
    int64_t at = sm_remote_budget_at(&r->budget, now_ns, paced);
    const sm_remote_call *first = r->queue[class_].first;
    if (class_ == SM_CALL_QUERY && !first->body && r->n_asked < SM_REMOTE_QUERIES) {
        int64_t gathered = first->queued_ns + GATHER_MS * SM_NS_PER_MS;
        at = gathered > at ? gathered : at;
    }
    if (class_ == SM_CALL_LIST_NEW) {
        int64_t gathered = gathered_at(r);
        at = gathered > at ? gathered : at;
    }
    return at;
}

/* The queue whose first call may go out now, or -1 and when to look again. */
static int choose(sm_remote *r, int64_t now_ns, int64_t *next_ns) {
    int best = -1, under_way = 0;
    bool fair = r->turn % FAIR_EVERY == FAIR_EVERY - 1;
    *next_ns = INT64_MAX;
    for (int i = 0; i < SM_CALL_COUNT_; i++)
        under_way += r->in_flight[i];
    if (under_way >= IN_FLIGHT_MAX)
        return -1;
    for (int i = 0; i < SM_CALL_COUNT_; i++) {
        if (!r->queue[i].first)
            continue;
        if (i == SM_CALL_QUERY && r->in_flight[i] >= QUERIES_IN_FLIGHT)
            continue; /* looked at again when one ends */
        int64_t at = ready_at(r, (sm_remote_class)i, now_ns);
        *next_ns = at < *next_ns ? at : *next_ns;
        if (at > now_ns)
            continue;
        if (best < 0 || (fair && r->queue[i].first->queued_ns < r->queue[best].first->queued_ns))
            best = i;
    }
    return best;
}

/* Refuses refreshes that waited too long, and what is beyond the ceiling; returns when the next
 * refresh will have waited too long. */
static int64_t expire(sm_remote *r, int64_t now_ns) {
    sm_remote_queue *q = &r->queue[SM_CALL_REFRESH];
    int64_t patience_ns = (int64_t)(r->patience_s * 1e9);
    while (q->first && q->first->expires && now_ns - q->first->queued_ns >= patience_ns)
        refuse(pop(q), SM_OPENAPI_LIMIT,
               "the budget of calls is spent; the last known view is used");
    for (int i = 0; i < SM_CALL_COUNT_; i++)
        while (r->queue[i].n > QUEUE_MAX)
            refuse(pop(&r->queue[i]), SM_OPENAPI_LIMIT, "too many calls wait for the budget");
    return q->first && q->first->expires ? q->first->queued_ns + patience_ns : INT64_MAX;
}

void sm_remote_serve(sm_remote *r) {
    if (r->closed || r->loading > 0 || r->serving)
        return;
    r->serving = true;
    for (;;) {
        int64_t now_ns = sm_mono_ns(), next_ns;
        int class_ = choose(r, now_ns, &next_ns);
        if (class_ < 0) {
            int64_t expiry = expire(r, now_ns);
            if (!r->closed)
                wake_at(r, expiry < next_ns ? expiry : next_ns, now_ns);
            break;
        }
        send_call(r, pop(&r->queue[class_]));
    }
    r->serving = false;
}

void sm_remote_calls_end(sm_remote *r) {
    for (int i = 0; i < SM_CALL_COUNT_; i++)
        while (r->queue[i].first)
            refuse(pop(&r->queue[i]), SM_OPENAPI_DOWN, "the program is stopping");
}

/* ---- what an answer means to who asked ------------------------------------------------------ */

static sm_rc code_of(const sm_remote *r, const sm_openapi_answer *a) {
    switch (a->kind) {
    case SM_OPENAPI_OK:
        return SM_OK;
    case SM_OPENAPI_BAD_KEY:
        return SM_DENIED;
    case SM_OPENAPI_LIMIT:
        return SM_LIMIT;
    case SM_OPENAPI_NOT_FOUND:
        return SM_NOT_FOUND;
    case SM_OPENAPI_REFUSED:
        return SM_INVALID;
    case SM_OPENAPI_UNKNOWN:
        return SM_PROTO;
    case SM_OPENAPI_DOWN:
        break;
    }
    return r->closed ? SM_CLOSED : SM_IO;
}

sm_rc sm_remote_rc(const sm_remote *r, const sm_openapi_answer *a, sm_err *err) {
    sm_rc rc = code_of(r, a);
    if (rc == SM_OK)
        return rc;
    char *said = sm_mask(a->sentence, strlen(a->sentence), &(size_t){0});
    const char *hint = "";
    if (a->kind == SM_OPENAPI_BAD_KEY && a->verdict.transport == SM_TRANSPORT_ANSWERED)
        hint = !r->brand ? "; an API key is valid only where it was made"
               : strcmp(r->brand, "truewatch") == 0
                   ? "; an API key is valid only on the node where it was made, and one of Guance "
                     "Cloud is refused here"
                   : "; an API key is valid only on the node where it was made, and one of "
                     "TrueWatch is refused here (node = \"truewatch/us1\" and others)";
    sm_err_set(err, rc, "node %s: %s%s", r->node, said, hint);
    free(said);
    return rc;
}
