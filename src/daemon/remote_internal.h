/* remote_internal: what the files of remote share: the budget, calls that wait for it, the token.
 * Loop's thread. Not for other rooms. */
#pragma once
#include "daemon/remote.h"
#include "platform/openapi.h"
#include "base/map.h"

/* ---- budget: how many calls went out in the last minute (remote_budget.c) -------------------- */

enum { SM_REMOTE_RATE_MAX = 1000 };

/* A call counts from when it is sent until a minute after its answer came, so that the platform,
 * which counts when it arrives, can never see more than the limit in any minute. */
typedef struct sm_remote_budget {
    int64_t window_ns; /* a minute and a little */
    int64_t pause_ns;  /* longest wait after the platform said "limit" */
    int key, workspace;
    int64_t *times; /* monotonic times of answers, oldest first */
    int n;
    int in_flight;
    int64_t blocked_ns; /* nothing goes out before */
    int64_t last_ns;    /* of the last sent call */
} sm_remote_budget;

void sm_remote_budget_init(sm_remote_budget *b, int key, int workspace);
void sm_remote_budget_fini(sm_remote_budget *b);
/* Other limits from now on; the calls of the last minute count for them. */
void sm_remote_budget_rates(sm_remote_budget *b, int key, int workspace);
/* When a call may go out: now_ns or later; INT64_MAX: when one under way has ended. paced: for
 * calls that can do without, which leave half of the budget to others by keeping a distance. */
int64_t sm_remote_budget_at(sm_remote_budget *b, int64_t now_ns, bool paced);
void sm_remote_budget_take(sm_remote_budget *b, int64_t now_ns);
void sm_remote_budget_end(sm_remote_budget *b, int64_t now_ns);
/* The platform said "limit", and when to come back (-1: it did not say). */
void sm_remote_budget_block(sm_remote_budget *b, int64_t now_ns, int64_t retry_after_s);
/* Calls that may go out at once under this limit of the two. */
int sm_remote_budget_left(sm_remote_budget *b, int limit, int64_t now_ns);
/* Seconds until `calls` more calls have gone out. */
double sm_remote_budget_seconds(sm_remote_budget *b, size_t calls, int64_t now_ns);
/* As it is kept in the store: wall times. New reference. */
json_t *sm_remote_budget_save(sm_remote_budget *b, int64_t now_ns, int64_t wall_ns);
void sm_remote_budget_load(sm_remote_budget *b, const json_t *saved, int64_t now_ns,
                           int64_t wall_ns);

/* ---- calls of the OpenAPI (remote_call.c) --------------------------------------------------- */

/* In the order in which they are served (every fourth call goes to whoever waits longest). */
typedef enum sm_remote_class {
    SM_CALL_TOKEN,    /* without it no event leaves */
    SM_CALL_LIST_NEW, /* questions about inspections that were never seen there */
    SM_CALL_CREATE,
    SM_CALL_REFRESH, /* questions whose last answer is known */
    SM_CALL_MODIFY,
    SM_CALL_REPORT, /* events through the OpenAPI */
    SM_CALL_QUERY,  /* data for inspections */
    SM_CALL_COUNT_
} sm_remote_class;

typedef struct sm_remote_listing sm_remote_listing;

typedef struct sm_remote_call {
    struct sm_remote_call *next;
    sm_remote *remote;
    sm_remote_class class_;
    char
        *path; /* "/api/v1/…" with its query; owned; NULL for a listing, which makes it when sent */
    char *body; /* JSON to POST, owned, wiped; NULL: GET */
    size_t body_n;
    sm_remote_listing *listing; /* the list question it asks, or NULL */
    bool passes_limit;          /* the platform's "limit" is an answer, not a reason to wait */
    bool expires;               /* refused with LIMIT when it waits longer than the patience */
    bool other_tried;           /* both credentials were sent */
    bool under_way;             /* it was sent, and is not answered */
    bool used_key;              /* the credential of the last try */
    int64_t queued_ns;
    double timeout_s;                       /* of the request; 0: the account's */
    bool (*fill)(struct sm_remote_call *c); /* makes path and body when it is sent; or NULL; false:
                                               there is nothing to ask any more */
    void (*peek)(void *ctx, const sm_http_answer *answer); /* sees the raw answer first; or NULL */
    /* Once. The answer is borrowed; `content` may be taken by setting it to NULL. */
    void (*done)(void *ctx, sm_openapi_answer *answer);
    void *ctx;
} sm_remote_call;

/* Takes path and body (malloc'd). The rest of the call may be changed until sm_remote_call_queue.
 */
sm_remote_call *sm_remote_call_new(sm_remote *r, sm_remote_class class_, char *path, char *body,
                                   void (*done)(void *ctx, sm_openapi_answer *answer), void *ctx);
/* Answers later, once (at once only when the remote is closed). */
void sm_remote_call_queue(sm_remote_call *c);
/* Sends what the budget allows. */
void sm_remote_serve(sm_remote *r);
/* Answers everything that waits: closing. */
void sm_remote_calls_end(sm_remote *r);
void sm_remote_note_error(sm_remote *r, const char *sentence); /* of a call that failed */
size_t sm_remote_waiting(const sm_remote *r);
/* Fills sm_http_request's fields that every request of the account has. */
void sm_remote_request_init(const sm_remote *r, sm_http_request *out);
/* Sentence and code of an answer for sm_target_done. SM_OK when it is OK. */
sm_rc sm_remote_rc(const sm_remote *r, const sm_openapi_answer *a, sm_err *err);

/* ---- list questions (remote_list.c) --------------------------------------------------------- */

void sm_remote_list(void *remote, const json_t *ref_keys, sm_target_done done, void *done_ctx);
/* Number of keys it asks for. */
size_t sm_remote_listing_size(const sm_remote_listing *l);
/* Moves the questions of `from` (freed with its call by the caller) into `to` when both fit in one
 * call. */
bool sm_remote_listing_merge(sm_remote_listing *to, sm_remote_listing *from);
/* Path of the next page. malloc'd. */
char *sm_remote_listing_path(sm_remote_listing *l);
void sm_remote_list_done(void *listing, sm_openapi_answer *answer);

/* ---- the workspace (remote_token.c) --------------------------------------------------------- */

/* rc SM_OK: r->token and r->workspace are there. Otherwise the answer tells what became of the
 * question (never a success). */
typedef void (*sm_remote_token_done)(void *ctx, bool known, const sm_openapi_answer *answer);
void sm_remote_token_get(sm_remote *r, sm_remote_token_done done, void *ctx);
/* The token was refused: the next one who wants it asks again. False when it was asked a moment
 * ago and never accepted since, so that asking again is no use. */
bool sm_remote_token_drop(sm_remote *r);
/* Reads the content of workspace/get (and wipes its token there). False: it has no token. */
bool sm_remote_token_take(sm_remote *r, json_t *content);
void sm_remote_token_end(sm_remote *r);
/* What to say of a key that may not read the token. */
extern const char sm_remote_no_token[];

/* ---- delivery (remote_deliver.c) ------------------------------------------------------------ */

/* road: openway, report_event or datakit. */
void sm_remote_deliver(sm_remote *r, const char *road, const json_t *events,
                       sm_target_delivered done, void *done_ctx);

/* ---- the remote ----------------------------------------------------------------------------- */

/* Calls fn(ctx) when the loop turns; at once when the remote is closed. */
void sm_remote_later(sm_remote *r, void (*fn)(void *ctx), void *ctx);
void sm_remote_run_later(sm_remote *r);

enum { SM_REMOTE_QUERIES = 20, SM_REMOTE_QUERY_BYTES = 1 << 20 }; /* of one call */
typedef struct sm_remote_asked sm_remote_asked;                   /* remote_query.c */

typedef struct sm_remote_late {
    struct sm_remote_late *next;
    void (*fn)(void *ctx);
    void *ctx;
} sm_remote_late;

typedef struct sm_remote_waiter { /* somebody who wants the token */
    struct sm_remote_waiter *next;
    sm_remote_token_done done;
    void *ctx;
} sm_remote_waiter;

typedef struct sm_remote_queue {
    sm_remote_call *first, *last;
    size_t n;
} sm_remote_queue;

struct sm_remote {
    uv_loop_t *loop;
    sm_http *http;
    sm_store *store; /* NULL: nothing is remembered */
    char *name, *node, *brand, *openapi, *openway;
    char *report_via, *datakit, *dway, *access_key, *ca, *proxy; /* NULL: not set */
    double timeout_s;
    const sm_secret *(*key_id)(void *ctx);
    const sm_secret *(*key)(void *ctx);
    const sm_secret *(*secret_key)(void *ctx);
    void *ctx;
    sm_target target;

    sm_remote_budget budget;
    sm_remote_queue queue[SM_CALL_COUNT_];
    int in_flight[SM_CALL_COUNT_];
    unsigned turn;       /* counts calls, for fairness */
    uint64_t calls_made; /* since the start */
    double patience_s;   /* how long a refresh waits for budget */
    int64_t gather_ns;   /* how long a question after a creation waits for company */
    uv_timer_t timer;    /* when the budget allows the next call */
    int loading;         /* answers of the store that are still to come */
    bool use_key;        /* DF-API-KEY carries the key, not its id */
    sm_map known;        /* association keys that were seen there */
    bool serving, closed;

    sm_remote_asked *asked; /* queries of data that wait, the oldest first */
    size_t n_asked;
    struct bundle *bundles;        /* those that were sent */
    bool query_called;             /* a call for them waits */
    uint64_t queries, query_calls; /* since the start */

    sm_secret *token; /* of the workspace; NULL: not known */
    char *workspace;  /* its uuid */
    bool token_asked; /* a question is under way */
    int64_t token_ns; /* when it was last answered, monotonic; 0: never */
    bool token_none;  /* answered without a token */
    bool token_used;  /* it was accepted at least once */
    sm_remote_waiter *waiters;
    sm_remote_late *late, **late_end;

    int64_t error_since_ns, error_ns; /* first and last failure without a success between */
    char last_error[SM_ERR_MAX];      /* "" when the last call went well */
};
