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

sm_remote *sm_remote_new(uv_loop_t *loop, sm_http *http, sm_store *store,
                         const sm_remote_account *account);
const sm_target *sm_remote_target(const sm_remote *r);
/* {node, openapi, openway, budget:{key,workspace}, token_known, last_error|null} for status. New
 * reference. */
json_t *sm_remote_status(const sm_remote *r);
void sm_remote_close(sm_remote *r); /* then free once the loop has turned and http is closed */
void sm_remote_free(sm_remote *r);

/* The checks of `doctor` on this account, one after the other; each calls `told` with {check, ok,
 * text} and at the end `done`. send_event: also one marked event by each road. */
void sm_remote_doctor(sm_remote *r, bool send_event, void (*told)(void *ctx, const json_t *line),
                      void (*done)(void *ctx), void *ctx);
