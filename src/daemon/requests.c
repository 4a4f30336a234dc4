/* requests: see requests.h. Each request keeps what its answer needs in a struct of its own, which
 * the answer frees; a peer that went away meanwhile is control's business.
 */
#include "daemon/requests.h"
#include "base/mem.h"
#include "daemon/app.h"
#include "daemon/once.h"
#include "daemon/views.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Later than this nobody waits for a drain. */
enum { DRAIN_MS = 30000, DRAIN_MAX_MS = 3600000 };

/* ---- once ---- */

static void once_progress(void *ctx, const json_t *report) {
    sm_control_send(ctx, json_pack("{s:O}", "progress", report));
}

static void once_answer(void *ctx, const json_t *result) {
    sm_control_reply(ctx, json_pack("{s:b, s:O}", "ok", 1, "result", result));
}

/* One directory, however it is written. */
static bool same_root(const char *a, const char *b) {
    struct stat x, y;
    return strcmp(a, b) == 0 ||
           (stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

static void run_once(const sm_requests_from *from, sm_control_peer *peer, const json_t *request) {
    const char *root = sm_json_str(request, "root", "");
    sm_err err = SM_ERR_INIT;
    if (!same_root(root, from->config->root)) {
        sm_err_set(&err, SM_INVALID,
                   "the process that holds this state directory runs the inspections of %s, not "
                   "of %s; choose another --state-dir",
                   from->config->root, root);
        sm_control_reply(peer, sm_control_error(err.code, err.msg));
        return;
    }
    int64_t drain_ms = sm_json_int(request, "drain_ms", DRAIN_MS);
    drain_ms = drain_ms < 0 ? 0 : drain_ms > DRAIN_MAX_MS ? DRAIN_MAX_MS : drain_ms;
    sm_once_options once = {.catalog = from->catalog,
                            .runner = from->runner,
                            .desks = from->desks,
                            .store = from->store,
                            .select = json_object_get(request, "select"),
                            .override = json_object_get(request, "override"),
                            .drain_ms = (int)drain_ms,
                            .progress = once_progress,
                            .finished = once_answer,
                            .ctx = peer};
    if (sm_once_start(&once, &err) != SM_OK)
        sm_control_reply(peer, sm_control_error(err.code, err.msg));
}

/* ---- list ---- */

typedef struct listing {
    sm_catalog *catalog;
    sm_store *store;
    sm_conduct *conduct;
    json_t *nodes;
    sm_control_peer *peer;
    json_t *registry;
} listing;

static void listing_end(listing *l, json_t *answer) {
    sm_control_reply(l->peer, answer);
    json_decref(l->registry);
    json_decref(l->nodes);
    free(l);
}

static void list_last(void *ctx, sm_rc rc, const sm_err *err, const json_t *last) {
    listing *l = ctx;
    if (rc != SM_OK) {
        listing_end(l, sm_control_error(rc, err->msg));
        return;
    }
    json_t *list = sm_view_list(l->catalog, l->nodes, l->registry, last);
    json_t *conditions = sm_conduct_conditions(l->conduct);
    sm_conduct_mark(list, conditions);
    json_decref(conditions);
    listing_end(l, json_pack("{s:b, s:o}", "ok", 1, "result", list));
}

static void list_registry(void *ctx, sm_rc rc, const sm_err *err, const json_t *rows) {
    listing *l = ctx;
    if (rc != SM_OK) {
        listing_end(l, sm_control_error(rc, err->msg));
        return;
    }
    l->registry = json_incref((json_t *)(uintptr_t)rows); /* the answer is nobody else's any more */
    sm_store_call(l->store, SM_OP_QUERY_LAST, NULL, list_last, l);
}

/* ---- status ---- */

typedef struct asked_status {
    sm_control_peer *peer;
    sm_store *store;
    json_t *nodes; /* of the accounts there are */
    json_t *answer;
} asked_status;

static void status_end(asked_status *q, sm_rc rc, const sm_err *err) {
    sm_control_reply(q->peer, rc == SM_OK ? json_pack("{s:b, s:O}", "ok", 1, "result", q->answer)
                                          : sm_control_error(rc, err->msg));
    json_decref(q->answer);
    json_decref(q->nodes);
    free(q);
}

/* Events of an account that is no longer in the configuration wait until it is there again. */
static void status_orphans(void *ctx, sm_rc rc, const sm_err *err, const json_t *waiting) {
    asked_status *q = ctx;
    const char *account;
    json_t *n;
    json_object_foreach((json_t *)(uintptr_t)waiting, account, n) {
        if (json_object_get(q->nodes, account))
            continue;
        char *text = sm_asprintf(
            "%lld event%s of the account \"%s\", which is not in the "
            "configuration, wait%s until it is there again (`outbox drop --pending` gives "
            "them up)",
            (long long)json_integer_value(n), json_integer_value(n) == 1 ? "" : "s", account,
            json_integer_value(n) == 1 ? "s" : "");
        json_array_append_new(json_object_get(q->answer, "trouble"),
                              sm_json_text(text, strlen(text)));
        free(text);
    }
    status_end(q, rc, err);
}

static void status_outbox(void *ctx, sm_rc rc, const sm_err *err, const json_t *stats) {
    asked_status *q = ctx;
    if (rc != SM_OK) {
        status_end(q, rc, err);
        return;
    }
    json_object_set_new(q->answer, "outbox", json_deep_copy(stats));
    sm_store_call(q->store, SM_OP_OUTBOX_ACCOUNTS, NULL, status_orphans, q);
}

static void tell_status(const sm_requests_from *from, sm_control_peer *peer) {
    asked_status *q = sm_calloc(1, sizeof *q);
    q->peer = peer;
    q->store = from->store;
    q->nodes = sm_accounts_nodes(from->accounts);
    q->answer = sm_app_snapshot(from->app);
    json_object_set(q->answer, "workers", json_object_get(q->answer, "pool"));
    json_object_del(q->answer, "pool");
    sm_store_call(from->store, SM_OP_OUTBOX_STATS, NULL, status_outbox, q);
}

void sm_requests_answer(const sm_requests_from *from, sm_control_peer *peer,
                        const json_t *request) {
    const char *op = sm_json_str(request, "op", "");
    if (strcmp(op, "list") == 0) {
        listing *l = sm_calloc(1, sizeof *l);
        *l = (listing){.catalog = from->catalog,
                       .store = from->store,
                       .conduct = from->conduct,
                       .nodes = sm_accounts_nodes(from->accounts),
                       .peer = peer};
        sm_store_call(l->store, SM_OP_REGISTRY_GET, NULL, list_registry, l);
    } else if (strcmp(op, "once") == 0 && from->may_run) {
        run_once(from, peer, request);
    } else if (strcmp(op, "once") == 0) {
        sm_control_reply(peer, sm_control_error(SM_BUSY, "the state directory is held by another "
                                                         "`run --once` that has not ended"));
    } else if (strcmp(op, "deliver") == 0) { /* somebody made events due by hand */
        sm_desks_hurry(from->desks, NULL);
        sm_control_reply(peer, json_pack("{s:b}", "ok", 1));
    } else if (strcmp(op, "status") == 0) {
        tell_status(from, peer);
    } else {
        sm_control_reply(peer, sm_control_error(SM_INVALID, "this process does not answer that"));
    }
}
