/* remote_deliver: events of the outbox on their road to the platform: line protocol to OpenWay or
 * DataKit, or the outer function report_event of the OpenAPI.
 *
 * It fills the answer that platform/verdict judges and never judges itself, with one exception: a
 * write refused with 401 or 403 asks for the workspace's token again and is sent once more when
 * that brought another one. Loop's thread.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/remote_internal.h"
#include "platform/keyevent.h"
#include "platform/openway.h"
#include "platform/sign.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { DETAIL_MAX = 300, REPORT_MAX = 32 << 20, WRITE_ANSWER_MAX = 1 << 20 };

typedef struct delivery {
    sm_remote *remote;
    sm_target_delivered done;
    void *ctx;
    int batch;
    bool datakit;
    bool again;           /* the token was renewed once */
    sm_openway_body body; /* write roads */
    char *data;           /* report_event: the list of events as JSON */
    sm_answer answer;     /* set at the end */
    char *detail;
} delivery;

static void tell(void *ctx) {
    delivery *d = ctx;
    d->done(d->ctx, &d->answer, d->detail);
    sm_openway_body_fini(&d->body);
    free(d->detail);
    free(d->data);
    free(d);
}

/* Later: some deliveries end before anything was sent. */
static void finish(delivery *d, sm_answer answer, const char *detail) {
    d->answer = answer;
    d->answer.batch = d->batch;
    d->detail = sm_mask(detail, strlen(detail), &(size_t){0});
    sm_remote_later(d->remote, tell, d);
}

/* The workspace could not be asked for its token: that is never the events' fault, so a refusal of
 * the question must not look like one of the events. */
static sm_answer of_question(const sm_openapi_answer *a) {
    sm_answer v = a->verdict;
    v.body_ok = false;
    bool refused = v.http == 400 || v.http == 413 || v.http == 422 ||
                   (v.http >= 200 && v.http < 300 && v.body_known && !v.rate_limited);
    if (v.transport == SM_TRANSPORT_ANSWERED && refused)
        v.http = a->kind == SM_OPENAPI_BAD_KEY ? 403 : 404;
    return v;
}

static void token_failed(delivery *d, const sm_openapi_answer *a) {
    sm_err err = SM_ERR_INIT;
    sm_remote_rc(d->remote, a, &err);
    finish(d, of_question(a), err.msg);
}

/* ---- OpenWay and DataKit ------------------------------------------------------------------- */

static bool is_html(const char *type) {
    return strncasecmp(type, "text/html", 9) == 0;
}

/* "HTTP 403: what it said" without line breaks; out is cut. */
static void describe(const sm_http_answer *a, char *out, size_t cap) {
    char *masked = sm_mask(a->body, a->body_n < 4096 ? a->body_n : 4096, &(size_t){0});
    char *said = sm_str_printable(masked, strlen(masked), DETAIL_MAX);
    const char *to = a->status >= 300 && a->status < 400 && a->location[0] ? a->location : NULL;
    snprintf(out, cap, "HTTP %d%s%.400s%s%s", a->status, to ? ", to " : "", to ? to : "",
             said[0] ? ": " : "", said);
    free(said);
    free(masked);
}

static void send_write(delivery *d);

static void renewed(void *ctx, bool known, const sm_openapi_answer *a) {
    delivery *d = ctx;
    if (known)
        send_write(d);
    else
        token_failed(d, a);
}

static void written(void *ctx, const sm_http_answer *a) {
    delivery *d = ctx;
    sm_remote *r = d->remote;
    char detail[1024] = "";
    sm_answer v = {.road = SM_ROAD_WRITE,
                   .transport = a->failure == SM_HTTP_ANSWERED ? SM_TRANSPORT_ANSWERED
                                : a->failure == SM_HTTP_TLS    ? SM_TRANSPORT_TLS
                                                               : SM_TRANSPORT_FAILED,
                   .http = a->status,
                   .html = is_html(a->content_type),
                   .body_ok = a->status >= 200 && a->status < 300,
                   .body_known = true,
                   .retry_after_s = sm_retry_after(a->retry_after[0] ? a->retry_after : NULL,
                                                   sm_wall_ns() / SM_NS_PER_S)};
    if (a->failure != SM_HTTP_ANSWERED)
        snprintf(detail, sizeof detail, "%s", a->error);
    else if (a->status < 200 || a->status >= 300 || v.html)
        describe(a, detail, sizeof detail);
    bool refused = a->status == 401 || a->status == 403;
    if (v.body_ok && !v.html && !d->datakit)
        r->token_used = true;
    if (refused && !d->datakit && !d->again && !r->closed && sm_remote_token_drop(r)) {
        d->again = true;
        sm_remote_token_get(r, renewed, d);
        return;
    }
    if (refused && !d->datakit) {
        size_t n = strlen(detail);
        snprintf(
            detail + n, sizeof detail - n,
            "; it refused the workspace's token: writing through the public OpenWay may be "
            "switched off for this workspace (report_via = \"report_event\" is the other road)");
    }
    finish(d, v, detail);
}

/* "Authorization: DWAY …" over what goes over the wire, or NULL without an access key. */
static char *authorization(const delivery *d, const char *date) {
    const sm_remote *r = d->remote;
    const sm_secret *key = r->dway && r->access_key ? r->secret_key(r->ctx) : NULL;
    if (!key)
        return NULL;
    bool full = strcmp(r->dway, "empty") != 0;
    size_t n;
    const char *bytes = sm_secret_bytes(key, &n);
    char *value = sm_sign_dway(r->access_key, bytes, n, "POST", full ? "text/plain" : "",
                               full ? d->body.data : "", full ? d->body.n : 0, date);
    char *line = sm_asprintf("Authorization: %s", value);
    free(value);
    return line;
}

static void send_write(delivery *d) {
    sm_remote *r = d->remote;
    char date[32], date_line[48];
    const char *headers[5] = {"Content-Type: text/plain"};
    int n = 1;
    sm_sign_date(sm_wall_ns() / SM_NS_PER_S, date);
    snprintf(date_line, sizeof date_line, "Date: %s", date);
    char *auth = d->datakit ? NULL : authorization(d, date);
    if (d->body.gzip)
        headers[n++] = "Content-Encoding: gzip";
    if (auth) {
        headers[n++] = date_line;
        headers[n++] = auth;
    }
    sm_http_request request;
    sm_remote_request_init(r, &request);
    char *url = sm_asprintf("%s/v1/write/keyevent%s", d->datakit ? r->datakit : r->openway,
                            d->datakit ? "?input=selfmon-lua" : "");
    request.method = "POST";
    request.url = url;
    request.headers = headers;
    request.body = d->body.data;
    request.body_n = d->body.n;
    request.max_body = WRITE_ANSWER_MAX;
    if (d->datakit)
        request.proxy = NULL; /* it is on this host or beside it */
    else
        request.query_token = r->token;
    sm_http_send(r->http, &request, written, d);
    free(url);
    free(auth);
}

/* An event that makes no valid point is found by halving, as one that the platform refuses; a whole
 * batch with one in it is not sent. */
static bool encode(delivery *d, const json_t *events) {
    sm_err err = SM_ERR_INIT;
    char detail[SM_ERR_MAX] = "";
    sm_rc rc = sm_openway_encode(events, &d->body, &err);
    if (rc == SM_OK && json_array_size(d->body.bad) == 0)
        return true;
    if (rc != SM_OK) {
        snprintf(detail, sizeof detail, "%s", err.msg);
    } else {
        char *bad = sm_json_dump(json_array_get(d->body.bad, 0), NULL);
        snprintf(detail, sizeof detail, "the event cannot be written as line protocol: %.900s",
                 bad);
        free(bad);
    }
    /* Want of memory is no fault of the events: they are sent later. */
    bool theirs = rc == SM_OK || rc == SM_LIMIT;
    finish(d,
           (sm_answer){.road = SM_ROAD_WRITE,
                       .transport = theirs ? SM_TRANSPORT_ANSWERED : SM_TRANSPORT_FAILED,
                       .http = theirs ? 400 : 0,
                       .body_known = true,
                       .retry_after_s = -1},
           detail);
    return false;
}

/* ---- report_event -------------------------------------------------------------------------- */

static void reported(void *ctx, sm_openapi_answer *a) {
    delivery *d = ctx;
    sm_err err = SM_ERR_INIT;
    if (a->kind == SM_OPENAPI_OK)
        sm_openapi_inner(a);
    sm_remote_rc(d->remote, a, &err);
    sm_answer v = a->verdict;
    if (a->kind == SM_OPENAPI_LIMIT) {
        int64_t left = d->remote->budget.blocked_ns - sm_mono_ns();
        v.rate_limited = true;
        if (v.retry_after_s < 0 && left > 0)
            v.retry_after_s = left / SM_NS_PER_S + 1;
    }
    finish(d, v, err.msg);
}

/* A quoted JSON text with tail behind it, appended at once: growing the buffer must not leave a
 * token behind. */
static void add_quoted(sm_buf *b, const char *p, size_t n, const char *tail) {
    json_t *text = sm_json_text(p, n);
    char *quoted = sm_json_dump(text, NULL);
    char *whole = sm_asprintf("%s%s", quoted, tail);
    sm_buf_adds(b, whole);
    explicit_bzero(quoted, strlen(quoted));
    explicit_bzero(whole, strlen(whole));
    explicit_bzero((char *)(uintptr_t)json_string_value(text), json_string_length(text));
    free(quoted);
    free(whole);
    json_decref(text);
}

static void report_with_token(void *ctx, bool known, const sm_openapi_answer *a) {
    delivery *d = ctx;
    sm_remote *r = d->remote;
    sm_buf body;
    size_t n;
    if (!known) {
        token_failed(d, a);
        return;
    }
    const char *token = sm_secret_bytes(r->token, &n);
    sm_buf_init(&body, REPORT_MAX);
    sm_buf_adds(&body, "{\"funcId\":\"guance__openapi.report_event\",\"funcBody\":{\"kwargs\":{"
                       "\"data\":");
    sm_buf_adds(&body, d->data);
    sm_buf_adds(&body, ",\"workspace_uuid\":");
    add_quoted(&body, r->workspace, strlen(r->workspace), ",\"workspace_token\":");
    add_quoted(&body, token, n, "}}}");
    if (body.failed) {
        sm_buf_fini(&body);
        finish(d,
               (sm_answer){.road = SM_ROAD_OPENAPI,
                           .transport = SM_TRANSPORT_ANSWERED,
                           .http = 413,
                           .body_known = true,
                           .retry_after_s = -1},
               "the events are too long for one report");
        return;
    }
    sm_remote_call *c =
        sm_remote_call_new(r, SM_CALL_REPORT, sm_strdup("/api/v1/outer_function/execute"),
                           sm_buf_take(&body, NULL), reported, d);
    c->passes_limit = true;
    sm_remote_call_queue(c);
}

void sm_remote_deliver(sm_remote *r, const char *road, const json_t *events,
                       sm_target_delivered done, void *done_ctx) {
    delivery *d = sm_calloc(1, sizeof *d);
    *d = (delivery){
        .remote = r, .done = done, .ctx = done_ctx, .batch = (int)json_array_size(events)};
    if (strcmp(road, "report_event") == 0) {
        json_t *list = json_array(), *event;
        size_t i;
        json_array_foreach(events, i, event) json_array_append_new(list, sm_keyevent_report(event));
        d->data = sm_json_dump(list, NULL);
        json_decref(list);
        sm_remote_token_get(r, report_with_token, d);
        return;
    }
    d->datakit = strcmp(road, "datakit") == 0;
    if (!encode(d, events))
        return;
    if (d->datakit)
        send_write(d);
    else
        sm_remote_token_get(r, renewed, d);
}
