/* remote_query: queries of a workspace's data (`df/query_data_v1`), for the service `dql`.
 *
 * They come last in the budget. Queries that wait together go in one call, whoever asks; equal ones
 * are asked once. A call that the platform refuses is asked again in halves, so that a wrong query
 * spoils only its own answer. Loop's thread.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "daemon/remote_internal.h"
#include <stdlib.h>
#include <string.h>

#define CALL_MAX_S 60.0

struct sm_remote_query { /* somebody who waits for an answer */
    sm_remote_query *next;
    sm_remote_asked *asked;
    int64_t deadline_ns;
    sm_remote_query_done done;
    void *ctx;
};

struct sm_remote_asked { /* one query, as often as it is wanted */
    sm_remote_asked *next;
    char *text; /* JSON, an element of `queries` */
    sm_remote_query *waiters;
    struct bundle *bundle; /* whose call carries it; NULL: it waits for one */
};

typedef struct bundle { /* the queries of one call; none until it is sent */
    struct bundle *next;
    sm_remote *remote;
    sm_remote_call *call;
    sm_remote_asked *first;
    size_t n;
} bundle;

static void asked_free(sm_remote_asked *q) {
    free(q->text);
    free(q);
}

/* Tells everybody and forgets the query. */
static void tell(sm_remote_asked *q, const json_t *result, const char *code, const char *sentence) {
    while (q->waiters) {
        sm_remote_query *w = q->waiters;
        q->waiters = w->next;
        w->done(w->ctx, result, code, sentence);
        free(w);
    }
    asked_free(q);
}

/* ---- a call ---- */

static void take_body(sm_remote_call *c, const bundle *b) {
    sm_buf text;
    sm_buf_init(&text, SM_REMOTE_QUERY_BYTES);
    sm_buf_adds(&text, "{\"queries\":[");
    for (const sm_remote_asked *q = b->first; q; q = q->next)
        sm_buf_addf(&text, "%s%s", q == b->first ? "" : ",", q->text);
    sm_buf_adds(&text, "],\"fieldTagDescNeeded\":false}");
    c->body = sm_buf_take(&text, &c->body_n);
}

/* As long as anybody waits for. */
static double patience(const bundle *b) {
    double longest = 1;
    int64_t now_ns = sm_mono_ns();
    for (const sm_remote_asked *q = b->first; q; q = q->next) {
        for (const sm_remote_query *w = q->waiters; w; w = w->next) {
            double left = (double)(w->deadline_ns - now_ns) / 1e9;
            longest = left > longest ? left : longest;
        }
    }
    return longest < CALL_MAX_S ? longest : CALL_MAX_S;
}

/* The call has its queries. */
static void ready(sm_remote_call *c, bundle *b) {
    take_body(c, b);
    c->timeout_s = patience(b);
    b->call = c;
    b->next = b->remote->bundles;
    b->remote->bundles = b;
    b->remote->query_calls++;
}

static void answered(void *ctx, sm_openapi_answer *a);
static bool fill(sm_remote_call *c);

static bundle *bundle_new(sm_remote *r) {
    bundle *b = sm_calloc(1, sizeof *b);
    b->remote = r;
    return b;
}

static void queue(sm_remote *r) {
    sm_remote_call *c = sm_remote_call_new(r, SM_CALL_QUERY, sm_strdup("/api/v1/df/query_data_v1"),
                                           NULL, answered, bundle_new(r));
    c->fill = fill;
    r->query_called = true;
    sm_remote_call_queue(c);
}

/* The call is about to be sent: it takes what waits, as much as fits. */
static bool fill(sm_remote_call *c) {
    sm_remote *r = c->remote;
    bundle *b = c->ctx;
    sm_remote_asked **end = &b->first;
    size_t bytes = 0;
    r->query_called = false;
    while (r->asked && b->n < SM_REMOTE_QUERIES &&
           (b->n == 0 || bytes + strlen(r->asked->text) < SM_REMOTE_QUERY_BYTES - 256)) {
        sm_remote_asked *q = r->asked;
        r->asked = q->next;
        r->n_asked--;
        q->next = NULL;
        q->bundle = b;
        bytes += strlen(q->text) + 1;
        *end = q;
        end = &q->next;
        b->n++;
    }
    if (b->n == 0)
        return false;
    ready(c, b);
    if (r->asked)
        queue(r);
    return true;
}

/* Asks again for the first n queries of the list, alone; returns the rest. */
static sm_remote_asked *ask_part(sm_remote *r, sm_remote_asked *list, size_t n) {
    bundle *b = bundle_new(r);
    sm_remote_asked **end = &b->first;
    for (; b->n < n; b->n++) {
        list->bundle = b;
        *end = list;
        end = &list->next;
        list = list->next;
    }
    *end = NULL;
    sm_remote_call *c = sm_remote_call_new(r, SM_CALL_QUERY, sm_strdup("/api/v1/df/query_data_v1"),
                                           NULL, answered, b);
    ready(c, b);
    sm_remote_call_queue(c);
    return list;
}

static void leave(sm_remote *r, bundle *b) {
    for (bundle **at = &r->bundles; *at; at = &(*at)->next) {
        if (*at == b) {
            *at = b->next;
            break;
        }
    }
}

static const char *code_of(const sm_remote *r, const sm_openapi_answer *a) {
    switch (a->kind) {
    case SM_OPENAPI_BAD_KEY:
        return "denied";
    case SM_OPENAPI_LIMIT:
        return "limit";
    case SM_OPENAPI_NOT_FOUND:
    case SM_OPENAPI_REFUSED:
        return "refused";
    case SM_OPENAPI_DOWN:
        return r->closed ? "closed" : a->timed_out ? "timeout" : "connect";
    default:
        return "protocol";
    }
}

/* What one element of `data` says. */
static void tell_one(const sm_remote *r, sm_remote_asked *q, const json_t *data) {
    char text[SM_ERR_MAX];
    const char *error = sm_json_str(data, "error", "");
    const char *named = sm_json_str(data, "errorCode", sm_json_str(data, "error_code", ""));
    if (!*error && *named)
        error = sm_json_str(data, "message", "");
    if (!json_is_object(data)) {
        snprintf(text, sizeof text, "node %s: the platform's answer has no place for this query",
                 r->node);
        tell(q, NULL, "protocol", text);
    } else if (*error || *named) {
        char *said = sm_mask(error, strlen(error), &(size_t){0});
        snprintf(text, sizeof text, "node %s: the query is refused: %s%s%s", r->node, named,
                 *named && *said ? ": " : "", said);
        free(said);
        tell(q, NULL, "refused", text);
    } else {
        json_t *result =
            json_pack("{s:O?, s:b, s:O*, s:O*}", "series", json_object_get(data, "series"),
                      "complete", sm_json_bool(data, "complete", true), "cost",
                      json_object_get(data, "cost"), "interval", json_object_get(data, "interval"));
        tell(q, result, NULL, NULL);
        json_decref(result);
    }
}

static void answered(void *ctx, sm_openapi_answer *a) {
    bundle *b = ctx;
    sm_remote *r = b->remote;
    sm_remote_asked *list = b->first;
    size_t n = b->n;
    leave(r, b);
    free(b);
    if (n == 0) { /* it was not sent; whoever waited for it hears why */
        r->query_called = false;
        list = r->asked;
        r->asked = NULL;
        r->n_asked = 0;
    }
    sm_err err = SM_ERR_INIT;
    bool good = n > 0 && sm_remote_rc(r, a, &err) == SM_OK;
    bool wrong = a->kind == SM_OPENAPI_REFUSED || a->kind == SM_OPENAPI_NOT_FOUND ||
                 a->kind == SM_OPENAPI_UNKNOWN;
    if (n > 1 && wrong && !r->closed) {
        list = ask_part(r, list, n / 2);
        ask_part(r, list, n - n / 2);
        return;
    }
    if (n == 0 && a->sentence[0])
        sm_remote_rc(r, a, &err);
    for (size_t i = 0; list; i++) {
        sm_remote_asked *q = list;
        list = q->next;
        if (good)
            tell_one(r, q, json_array_get(json_object_get(a->content, "data"), i));
        else
            tell(q, NULL, code_of(r, a), err.msg);
    }
}

/* ---- who asks ---- */

static sm_remote_asked *find(sm_remote_asked *list, const char *text) {
    while (list && strcmp(list->text, text) != 0)
        list = list->next;
    return list;
}

sm_remote_query *sm_remote_query_start(sm_remote *r, const json_t *query, int64_t deadline_ns,
                                       sm_remote_query_done done, void *ctx) {
    if (r->closed)
        return NULL;
    char *text = sm_json_dump(query, NULL);
    sm_remote_asked *q = find(r->asked, text);
    for (bundle *b = r->bundles; b && !q; b = b->next)
        q = find(b->first, text);
    r->queries++;
    if (q) {
        free(text);
    } else {
        q = sm_calloc(1, sizeof *q);
        q->text = text;
        sm_remote_asked **end = &r->asked;
        while (*end)
            end = &(*end)->next;
        *end = q;
        r->n_asked++;
    }
    sm_remote_query *w = sm_calloc(1, sizeof *w);
    *w = (sm_remote_query){
        .next = q->waiters, .asked = q, .deadline_ns = deadline_ns, .done = done, .ctx = ctx};
    q->waiters = w;
    if (!q->bundle && !r->query_called)
        queue(r);
    return w;
}

bool sm_remote_query_sent(const sm_remote_query *w) {
    const bundle *b = w->asked->bundle;
    return b && b->call->under_way;
}

void sm_remote_query_drop(sm_remote *r, sm_remote_query *w) {
    sm_remote_asked *q = w->asked;
    for (sm_remote_query **at = &q->waiters; *at; at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            break;
        }
    }
    free(w);
    if (q->waiters || q->bundle)
        return; /* its answer is still to come */
    for (sm_remote_asked **at = &r->asked; *at; at = &(*at)->next) {
        if (*at == q) {
            *at = q->next;
            r->n_asked--;
            asked_free(q);
            break;
        }
    }
}

double sm_remote_query_seconds(sm_remote *r) {
    int64_t now_ns = sm_mono_ns();
    int64_t at = sm_remote_budget_at(&r->budget, now_ns, true);
    return at == INT64_MAX ? 0 : (double)(at - now_ns) / 1e9;
}

int sm_remote_per_minute(const sm_remote *r) {
    return r->budget.key < r->budget.workspace ? r->budget.key : r->budget.workspace;
}
