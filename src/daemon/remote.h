/* remote: a workspace of TrueWatch or Guance Cloud as a target (daemon/target.h), one per account.
 *
 * It owns the account's credentials rule (Key ID first, once the key, what worked is remembered),
 * the workspace token (memory only), the call budget (token buckets of key and workspace, kept in
 * the store) and the roads of delivery (openway, report_event, datakit). Owned by the loop's
 * thread.
 */
#pragma once
#include "base/secret.h"
#include "daemon/target.h"
#include "platform/http.h"
#include "platform/node.h"
#include "store/store.h"

typedef struct sm_remote sm_remote;

typedef struct sm_remote_account { /* copied by sm_remote_new */
    const char *name;              /* "default" */
    const sm_node *node;
    const char *report_via; /* openway report_event datakit */
    const char *datakit;    /* URL or NULL */
    const char *dway;       /* full, empty, or NULL: no signature */
    const char *access_key;
    const char *ca, *proxy;       /* or NULL */
    double timeout_s;             /* 10 */
    int rate_key, rate_workspace; /* calls a minute: 20, 200 */
    /* Current credentials, re-read when rotated; borrowed until the next call. NULL: missing. */
    const sm_secret *(*key_id)(void *ctx);
    const sm_secret *(*key)(void *ctx);
    const sm_secret *(*secret_key)(void *ctx); /* DWAY */
    void *ctx;
} sm_remote_account;

/* store may be NULL (doctor without a store): nothing is remembered then. */
sm_remote *sm_remote_new(uv_loop_t *loop, sm_http *http, sm_store *store,
                         const sm_remote_account *account);
/* The same account otherwise: everything but name, node and keys may differ; what is under way ends
 * as it began. The view, the token and the calls of the last minute stay. */
void sm_remote_configure(sm_remote *r, const sm_remote_account *account);
/* Nothing of it is under way: no call, no answer of the store, nothing to be told. */
bool sm_remote_quiet(const sm_remote *r);
/* Create and modify wait for budget as long as it takes. So does `list` when it asks for a key that
 * was never seen there; of known keys only it is refused with SM_LIMIT after the patience, so that
 * the last known view is used. Known and unknown keys are best asked apart. Questions that wait
 * together are asked together, so a list may show more items than were asked for. */
const sm_target *sm_remote_target(const sm_remote *r);
/* How long a question about known keys may wait for budget: 2 s unless told; `run --once`: --wait.
 */
void sm_remote_set_patience(sm_remote *r, double seconds);
/* ---- queries of the workspace's data (remote_query.c) ---- */

typedef struct sm_remote_query sm_remote_query;
/* result: {series|null, complete, cost, interval} (base/dqlask.h), borrowed; or NULL with a code
 * for scripts and a sentence. */
typedef void (*sm_remote_query_done)(void *ctx, const json_t *result, const char *code,
                                     const char *sentence);
/* Asks `query`, an element of the platform's `queries`. done is called once, later, unless it is
 * dropped. deadline_ns (monotonic): how long an answer is of use. NULL: the remote is closed. */
sm_remote_query *sm_remote_query_start(sm_remote *r, const json_t *query, int64_t deadline_ns,
                                       sm_remote_query_done done, void *ctx);
/* Its answer is awaited: it has been sent, or another's call for the same. */
bool sm_remote_query_sent(const sm_remote_query *w);
void sm_remote_query_drop(sm_remote *r, sm_remote_query *w);
/* Seconds until the budget lets a query out; 0: now, or when a call under way ends. */
double sm_remote_query_seconds(sm_remote *r);
/* Calls that the budget allows. */
int sm_remote_per_minute(const sm_remote *r);

/* {node, openapi, openway, report_via, budget:{key, workspace (calls left this minute), per_minute,
 * waiting (calls), seconds_to_fill}, calls (since the start), queries (of data), query_calls (that
 * carried them), token_known, last_error|null,
 * failing_for? (seconds between the first and the last call that failed, none went well since)} for
 * status. New reference. */
json_t *sm_remote_status(const sm_remote *r);
/* Answers what waits; then free once the loop has turned, http is closed and the store, too (or
 * has answered everything). */
void sm_remote_close(sm_remote *r);
void sm_remote_free(sm_remote *r);

/* The checks of `doctor` on this account, one after the other; each calls `told` with {check, ok,
 * text, warn (true: ok, but look at it)} and at the end `done`. send_event: also one marked event
 * by each road. */
void sm_remote_doctor(sm_remote *r, bool send_event, void (*told)(void *ctx, const json_t *line),
                      void (*done)(void *ctx), void *ctx);
