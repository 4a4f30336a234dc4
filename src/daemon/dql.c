/* dql: the service `dql`: checks what a worker says again, puts it into the platform's words and
 * gathers the answers (see dql.h). Loop's thread.
 */
#include "daemon/dql.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/dqlask.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/remote.h"
#include <stdlib.h>
#include <string.h>

#define MARGIN_NS                                                                                  \
    (1000 * SM_NS_PER_MS) /* of the run's time, left for the script after a refusal                \
                           */

typedef struct asking asking;

typedef struct one { /* a query of an ask */
    asking *of;
    sm_remote_query *handle; /* NULL: answered */
    json_t *result;          /* owned */
} one;

struct asking { /* an ask under way */
    asking *prev, *next;
    sm_dql *q;
    sm_ask *ask;
    sm_remote *remote;
    size_t n, left;
    int64_t give_up_ns; /* monotonic */
    one list[];
};

struct sm_dql {
    uv_loop_t *loop;
    sm_accounts *accounts; /* the process's, or, in a dry run, its own */
    sm_config *config;     /* dry run */
    sm_http *http;         /* dry run */
    bool dry, closed;
    uv_timer_t timer; /* the next who gives up */
    asking *first;
    json_t *failed; /* counts */
};

/* ---- answers ---- */

static void leave(asking *a) {
    if (a->prev)
        a->prev->next = a->next;
    else
        a->q->first = a->next;
    if (a->next)
        a->next->prev = a->prev;
    for (size_t i = 0; i < a->n; i++) {
        if (a->list[i].handle)
            sm_remote_query_drop(a->remote, a->list[i].handle);
        json_decref(a->list[i].result);
    }
    free(a);
}

static json_t *failure(sm_dql *q, const char *code, const char *sentence) {
    sm_json_count(q->failed, code);
    return json_pack("{s:s, s:o}", "code", code, "error", sm_json_text(sentence, strlen(sentence)));
}

/* All have their result: one JSON text, in which what is too much is said to be so. */
static void reply(asking *a) {
    sm_buf text;
    sm_buf_init(&text, SM_DQL_ANSWER_MAX);
    sm_buf_addc(&text, '[');
    size_t room = SM_DQL_ANSWER_MAX - 256 * a->n;
    for (size_t i = 0; i < a->n; i++) {
        size_t n;
        char *said = sm_json_dump(a->list[i].result, &n);
        if (text.len + n > room) {
            free(said);
            json_t *no = failure(a->q, "too_large",
                                 "the answer is longer than 8 MiB; narrow the query, or use limit");
            said = sm_json_dump(no, &n);
            json_decref(no);
        }
        sm_buf_addf(&text, "%s", i ? "," : "");
        sm_buf_add(&text, said, n);
        free(said);
    }
    sm_buf_addc(&text, ']');
    sm_ask_answer(a->ask, json_true(), text.data, text.len);
    sm_buf_fini(&text);
    leave(a);
}

static void answered(void *ctx, const json_t *result, const char *code, const char *sentence) {
    one *o = ctx;
    asking *a = o->of;
    o->handle = NULL;
    o->result = result ? json_incref((json_t *)(uintptr_t)result) : failure(a->q, code, sentence);
    if (--a->left == 0)
        reply(a);
}

/* ---- time ---- */

static void on_timer(uv_timer_t *timer);

static void look_at(sm_dql *q) {
    int64_t next_ns = INT64_MAX, now_ns = sm_mono_ns();
    for (const asking *a = q->first; a; a = a->next)
        next_ns = a->give_up_ns < next_ns ? a->give_up_ns : next_ns;
    if (next_ns == INT64_MAX || q->closed)
        return;
    int64_t ms = next_ns > now_ns ? (next_ns - now_ns) / SM_NS_PER_MS + 1 : 0;
    uv_timer_start(&q->timer, on_timer, (uint64_t)ms, 0);
}

/* Why a query has no answer in time. */
static const char *too_late(const asking *a, bool sent, char *out, size_t cap) {
    const char *account = a->ask->inspection->account;
    double wait = sm_remote_query_seconds(a->remote);
    if (sent)
        snprintf(out, cap, "account %s: the platform gave no answer before the run's deadline",
                 account);
    else
        snprintf(out, cap,
                 "account %s: the budget of %d calls a minute is spent; a query can go out in "
                 "%.0f s, after this run's deadline",
                 account, sm_remote_per_minute(a->remote), wait > 1 ? wait : 1);
    return sent ? "timeout" : "limit";
}

static void give_up(asking *a) {
    char text[256];
    for (size_t i = 0; i < a->n; i++) {
        one *o = &a->list[i];
        if (!o->handle)
            continue;
        const char *code = too_late(a, sm_remote_query_sent(o->handle), text, sizeof text);
        sm_remote_query_drop(a->remote, o->handle);
        o->handle = NULL;
        o->result = failure(a->q, code, text);
    }
    reply(a);
}

static void on_timer(uv_timer_t *timer) {
    sm_dql *q = timer->data;
    int64_t now_ns = sm_mono_ns();
    asking *next;
    for (asking *a = q->first; a; a = next) {
        next = a->next;
        if (a->give_up_ns <= now_ns)
            give_up(a);
    }
    look_at(q);
}

/* ---- questions ---- */

static bool is_text(const json_t *v, size_t max) {
    size_t n = json_string_length(v);
    return json_is_string(v) && n > 0 && n <= max && strlen(json_string_value(v)) == n;
}

/* An element of the platform's `queries`, new reference; NULL: it is none. */
static json_t *in_its_words(const json_t *given) {
    static const struct {
        const char *ours, *theirs;
    } whole[] = {{"interval", "interval"}, {"limit", "limit"},     {"offset", "offset"},
                 {"slimit", "slimit"},     {"soffset", "soffset"}, {"max_points", "maxPointCount"}};
    const json_t *q = json_object_get(given, "q"), *tz = json_object_get(given, "tz");
    const json_t *from = json_object_get(given, "from_ms"), *to = json_object_get(given, "to_ms");
    const char *type = sm_json_str(given, "type", "");
    if (!is_text(q, SM_DQL_QUERY_MAX) || (tz && !is_text(tz, SM_DQL_NAME_MAX)) ||
        (strcmp(type, "dql") != 0 && strcmp(type, "promql") != 0) ||
        json_is_integer(from) != json_is_integer(to))
        return NULL;
    json_t *query = json_pack("{s:O, s:O*}", "q", q, "tz", tz);
    if (json_is_integer(from))
        json_object_set_new(query, "timeRange", json_pack("[O, O]", from, to));
    for (size_t i = 0; i < SM_ARRAY_LEN(whole); i++) {
        const json_t *v = json_object_get(given, whole[i].ours);
        if (v && (!json_is_integer(v) || json_integer_value(v) < 0)) {
            json_decref(query);
            return NULL;
        }
        if (v)
            json_object_set(query, whole[i].theirs, (json_t *)(uintptr_t)v);
    }
    return json_pack("{s:s, s:o}", "qtype", type, "query", query);
}

/* In a dry run there are no accounts: they are opened for the first query. */
static sm_rc open_accounts(sm_dql *q, const sm_inspection *p, sm_err *err) {
    sm_rc rc = SM_OK;
    if (!q->accounts && !q->http)
        rc = sm_http_new(q->loop, &q->http, err);
    if (rc == SM_OK && !q->accounts)
        rc = sm_accounts_open(q->loop, q->http, NULL, q->config, &q->accounts, err);
    return rc == SM_OK ? sm_accounts_learn(q->accounts, p, err) : rc;
}

/* The workspace to ask; NULL: the ask has been refused. */
static sm_remote *workspace_of(sm_dql *q, sm_ask *ask) {
    const char *account = ask->inspection->account;
    sm_err err = SM_ERR_INIT;
    if (q->closed) {
        sm_ask_fail(ask, "closed", "the program is stopping");
        return NULL;
    }
    if (q->dry && open_accounts(q, ask->inspection, &err) != SM_OK) {
        sm_ask_fail(ask, "unavailable", "%s", err.msg);
        return NULL;
    }
    sm_remote *r = q->accounts ? sm_accounts_remote(q->accounts, account) : NULL;
    if (!r) {
        sm_json_count(q->failed, "unavailable");
        sm_ask_fail(ask, "unavailable",
                    "account %s has no workspace to query: its node is local, the embedded "
                    "platform (SELFMON_API_KEY_ID, SELFMON_API_KEY and SELFMON_NODE, or accounts "
                    "in selfmon.conf.lua, name one)",
                    account);
    }
    return r;
}

static bool start(asking *a, const json_t *queries) {
    size_t i;
    json_t *given;
    json_array_foreach((json_t *)(uintptr_t)queries, i, given) {
        json_t *query = in_its_words(given);
        one *o = &a->list[i];
        o->of = a;
        if (query)
            o->handle = sm_remote_query_start(a->remote, query, a->give_up_ns, answered, o);
        json_decref(query);
        if (!o->handle)
            return false;
    }
    return true;
}

static void begin(void *ctx, sm_ask *ask) {
    sm_dql *q = ctx;
    const json_t *queries = json_object_get(ask->args, "queries");
    size_t n = json_array_size(queries);
    if (n < 1 || n > SM_DQL_QUERIES_MAX) {
        sm_ask_fail(ask, "invalid", "expected 1 to %d queries", (int)SM_DQL_QUERIES_MAX);
        return;
    }
    sm_remote *remote = workspace_of(q, ask);
    if (!remote)
        return;
    int64_t now_ns = sm_mono_ns(), left = ask->deadline_ns - now_ns;
    asking *a = sm_calloc(1, sizeof *a + n * sizeof *a->list);
    *a = (asking){.q = q, .ask = ask, .remote = remote, .n = n, .left = n, .next = q->first};
    a->give_up_ns = ask->deadline_ns - (left / 5 < MARGIN_NS ? left / 5 : MARGIN_NS);
    if (a->next)
        a->next->prev = a;
    q->first = a;
    ask->state = a;
    if (!start(a, queries)) {
        leave(a);
        sm_ask_fail(ask, "invalid", "no such query, or the account is being closed");
        return;
    }
    /* What cannot go out in time is said at once. */
    double wait = sm_remote_query_seconds(remote);
    if (!sm_remote_query_sent(a->list[0].handle) && now_ns + (int64_t)(wait * 1e9) > a->give_up_ns)
        give_up(a);
    look_at(q);
}

static void drop(void *ctx, sm_ask *ask) {
    (void)ctx;
    leave(ask->state);
    sm_ask_fail(ask, "closed", "the run has ended");
}

/* ---- life ---- */

sm_dql *sm_dql_new(uv_loop_t *loop, sm_dispatcher *d, sm_accounts *accounts, sm_config *config) {
    sm_dql *q = sm_calloc(1, sizeof *q);
    *q = (sm_dql){.loop = loop,
                  .accounts = accounts,
                  .config = config,
                  .dry = !accounts,
                  .failed = json_object()};
    uv_timer_init(loop, &q->timer);
    q->timer.data = q;
    sm_ask_service service = {.what = "dql", .ctx = q, .begin = begin, .drop = drop};
    sm_asks_serve(d, &service);
    return q;
}

void sm_dql_close(sm_dql *q) {
    if (!q || q->closed)
        return;
    q->closed = true;
    uv_close((uv_handle_t *)&q->timer, NULL);
    while (q->first) {
        sm_ask *ask = q->first->ask;
        leave(q->first);
        sm_ask_fail(ask, "closed", "the program is stopping");
    }
    if (q->dry)
        sm_accounts_close(q->accounts);
    if (q->dry && q->http)
        sm_http_close(q->http);
}

void sm_dql_free(sm_dql *q) {
    if (!q)
        return;
    if (q->dry) {
        sm_accounts_free(q->accounts);
        sm_http_free(q->http);
    }
    json_decref(q->failed);
    free(q);
}

json_t *sm_dql_status(const sm_dql *q) {
    return json_pack("{s:O}", "failed", q->failed);
}
