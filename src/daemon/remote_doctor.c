/* remote_doctor: what `doctor` finds out about one account, one question after the other: both
 * addresses, the key, its role, the clock, and on request one marked event by each road.
 *
 * It changes nothing there but for those events. Every line is one sentence that says what is wrong
 * and what to do about it. Loop's thread.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/str.h"
#include "daemon/remote_internal.h"
#include "platform/event.h"
#include <curl/curl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SKEW_WARN_S = 60, SKEW_BAD_S = 15 * 60, SMALL_ANSWER = 1 << 20 };

typedef struct doctor {
    sm_remote *remote;
    bool send_event;
    void (*told)(void *ctx, const json_t *line);
    void (*done)(void *ctx);
    void *ctx;
    bool seen;  /* anything came back from the OpenAPI's address */
    bool json;  /* the OpenAPI's address answered as a platform does */
    bool timed; /* the clock was compared */
    int road;   /* next of the marked events */
    int http;
} doctor;

typedef enum level { BAD, WARN, GOOD } level;

static void tell(doctor *d, const char *check, level how, const char *fmt, ...) SM_PRINTF(4, 5);
static void tell(doctor *d, const char *check, level how, const char *fmt, ...) {
    char text[1200];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    char *masked = sm_mask(text, strlen(text), &(size_t){0});
    json_t *line = json_pack("{s:s, s:b, s:o}", "check", check, "ok", how != BAD, "text",
                             sm_json_text(masked, strlen(masked)));
    if (how == WARN)
        json_object_set_new(line, "warn", json_true());
    d->told(d->ctx, line);
    json_decref(line);
    free(masked);
}

static void finish(void *ctx) {
    doctor *d = ctx;
    d->done(d->ctx);
    free(d);
}

static bool is_html(const sm_http_answer *a) {
    size_t i = 0;
    while (i < a->body_n && memchr(" \t\r\n", a->body[i], 4))
        i++;
    return strncasecmp(a->content_type, "text/html", 9) == 0 ||
           (i < a->body_n && a->body[i] == '<');
}

/* What any address may get wrong. True when it was told. */
static bool address_wrong(doctor *d, const char *check, const char *url, const sm_http_answer *a) {
    if (a->failure != SM_HTTP_ANSWERED)
        tell(d, check, BAD, "%s%s", a->error,
             a->failure == SM_HTTP_TLS && !d->remote->ca
                 ? " (a private certificate authority is given with `ca` of the account)"
                 : "");
    else if (a->status >= 300 && a->status < 400)
        tell(d, check, BAD,
             "%s redirects (HTTP %d) to %s, which is not followed; give the address that answers "
             "itself",
             url, a->status, a->location);
    else if (is_html(a))
        tell(d, check, BAD,
             "%s answered with an HTML page (HTTP %d); is it the address of the console, or is a "
             "proxy in the way?",
             url, a->status);
    else if (a->status >= 500)
        tell(d, check, BAD, "%s answered HTTP %d: it has an error of its own", url, a->status);
    else
        return false;
    return true;
}

static void compare_clock(doctor *d, const sm_http_answer *a) {
    time_t theirs = a->failure == SM_HTTP_ANSWERED && a->date[0] ? curl_getdate(a->date, NULL) : -1;
    if (theirs < 0 || d->timed)
        return;
    d->timed = true;
    /* The answer was written before it came, at most as long ago as it took. */
    double off = (double)sm_wall_ns() / 1e9 - a->seconds / 2 - ((double)theirs + 0.5);
    double size = fabs(off);
    const char *way = off > 0 ? "ahead of" : "behind";
    if (size > SKEW_BAD_S)
        tell(d, "clock", BAD,
             "this host's clock is %.0f s %s the platform's: events would appear at the wrong time "
             "and signatures be refused; set the clock (NTP)",
             size, way);
    else if (size > SKEW_WARN_S)
        tell(d, "clock", WARN, "this host's clock is %.0f s %s the platform's; set the clock (NTP)",
             size, way);
    else
        tell(d, "clock", GOOD, "within %d s of the platform's", SKEW_WARN_S);
}

/* ---- one marked event by each road ---------------------------------------------------------- */

static const char *const roads[] = {"openway", "report_event", "datakit"};

static void next_road(doctor *d);

static void delivered(void *ctx, const sm_answer *answer, const char *detail) {
    doctor *d = ctx;
    const char *reason = "";
    char check[40];
    snprintf(check, sizeof check, "event by %s", roads[d->road++]);
    bool ok = sm_verdict_of(answer, &reason) == SM_DELIVERED;
    tell(d, check, ok ? GOOD : BAD, "%s%s%s",
         ok ? "accepted; look for it in the event explorer" : reason, *detail ? ": " : "", detail);
    next_road(d);
}

static json_t *marked_event(const sm_remote *r, const char *road) {
    char id[33], event_id[48];
    json_t *tags = json_pack("{s:s, s:s}", "selfmon_doctor", "test", "road", road);
    char *dimension = sm_event_dimension(tags);
    sm_id_new(sm_wall_ns(), id);
    snprintf(event_id, sizeof event_id, "event-%s", id);
    json_t *event =
        json_pack("{s:s, s:I, s:s, s:s, s:s, s:o, s:s}", "event_id", event_id, "at_ns",
                  (json_int_t)sm_wall_ns(), "title", "selfmon-lua doctor: a test event", "message",
                  "Sent by `selfmon-lua doctor --send-event`; nothing is wrong.", "status", "info",
                  "dimension_tags", tags, "dimension", dimension);
    json_t *out = json_array();
    json_array_append_new(out, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:o}", "run", id,
                                         "id", "selfmon/doctor.run", "ref_key", "", "account",
                                         r->name, "node", r->node, "checker", "", "title",
                                         "selfmon-lua doctor", "attempt", 1, "event", event));
    free(dimension);
    return out;
}

static void next_road(doctor *d) {
    sm_remote *r = d->remote;
    int last = r->datakit ? 3 : 2;
    if (!d->send_event || d->road >= last) {
        finish(d);
        return;
    }
    json_t *events = marked_event(r, roads[d->road]);
    sm_remote_deliver(r, roads[d->road], events, delivered, d);
    json_decref(events);
}

/* ---- DataKit ------------------------------------------------------------------------------- */

static void datakit_answered(void *ctx, const sm_http_answer *a) {
    doctor *d = ctx;
    if (!address_wrong(d, "datakit", d->remote->datakit, a))
        tell(d, "datakit", GOOD, "%s answers (HTTP %d)", d->remote->datakit, a->status);
    next_road(d);
}

static void check_datakit(doctor *d) {
    sm_remote *r = d->remote;
    if (!r->datakit) {
        next_road(d);
        return;
    }
    sm_http_request request;
    sm_remote_request_init(r, &request);
    char *url = sm_asprintf("%s/v1/ping", r->datakit);
    request.url = url;
    request.proxy = NULL;
    request.max_body = SMALL_ANSWER;
    sm_http_send(r->http, &request, datakit_answered, d);
    free(url);
}

/* ---- OpenWay ------------------------------------------------------------------------------- */

static void openway_answered(void *ctx, const sm_http_answer *a) {
    doctor *d = ctx;
    sm_remote *r = d->remote;
    bool wanted = strcmp(r->report_via, "openway") == 0;
    if (!address_wrong(d, "openway", r->openway, a)) {
        if (!r->token)
            tell(d, "openway", GOOD, "%s answers (HTTP %d); without a token no more can be asked",
                 r->openway, a->status);
        else if (a->status >= 200 && a->status < 300)
            tell(d, "openway", GOOD, "%s knows the workspace's token", r->openway);
        else if (a->status == 401 || a->status == 403 || a->status == 404)
            tell(d, "openway", wanted ? BAD : WARN,
                 "%s does not take the workspace's token (HTTP %d): writing through the public "
                 "OpenWay may be switched off for this workspace, or the address is another "
                 "node's; report_via = \"report_event\" is the other road",
                 r->openway, a->status);
        else
            tell(d, "openway", WARN, "%s answers the question for the token with HTTP %d",
                 r->openway, a->status);
    }
    if (!d->timed)
        compare_clock(d, a);
    check_datakit(d);
}

static void check_openway(doctor *d) {
    sm_remote *r = d->remote;
    sm_http_request request;
    sm_remote_request_init(r, &request);
    char *url = sm_asprintf(r->token ? "%s/v1/check/" : "%s/v1/ntp/", r->openway);
    request.url = url;
    request.path_secret = r->token;
    request.max_body = SMALL_ANSWER;
    sm_http_send(r->http, &request, openway_answered, d);
    free(url);
}

/* ---- OpenAPI: address, key, role ------------------------------------------------------------ */

static void openapi_seen(void *ctx, const sm_http_answer *a) {
    doctor *d = ctx;
    d->seen = true;
    d->http = a->status;
    d->json = !address_wrong(d, "openapi", d->remote->openapi, a);
    if (d->json)
        tell(d, "openapi", GOOD, "%s answers (%.0f ms)", d->remote->openapi, a->seconds * 1000);
    compare_clock(d, a);
}

static void openapi_read(void *ctx, sm_openapi_answer *a) {
    doctor *d = ctx;
    sm_remote *r = d->remote;
    sm_err err = SM_ERR_INIT;
    sm_remote_rc(r, a, &err);
    if (a->kind == SM_OPENAPI_OK) {
        tell(d, "key", GOOD, "the API key is valid on node %s", r->node);
        if (sm_remote_token_take(r, a->content))
            tell(d, "role", GOOD, "the key may read the workspace's token");
        else
            tell(d, "role", BAD, "%s", sm_remote_no_token);
        r->token_ns = sm_mono_ns();
    } else if (a->kind == SM_OPENAPI_REFUSED && d->http == 403) {
        tell(d, "role", BAD,
             "the API key may not read the workspace: it lacks the Administrator role (%s)",
             err.msg);
    } else if (d->json || !d->seen) {
        tell(d, "key", BAD, "%s", err.msg);
    }
    check_openway(d);
}

void sm_remote_doctor(sm_remote *r, bool send_event, void (*told)(void *ctx, const json_t *line),
                      void (*done)(void *ctx), void *ctx) {
    doctor *d = sm_calloc(1, sizeof *d);
    *d = (doctor){.remote = r, .send_event = send_event, .told = told, .done = done, .ctx = ctx};
    sm_remote_call *c = sm_remote_call_new(r, SM_CALL_TOKEN, sm_strdup("/api/v1/workspace/get"),
                                           NULL, openapi_read, d);
    c->peek = openapi_seen;
    c->passes_limit = true; /* a person waits: the limit is what there is to tell */
    sm_remote_call_queue(c);
}
