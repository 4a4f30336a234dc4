/* openapi: reads an answer of the OpenAPI and says what it means (platform-facts 2.3, 2.4, 2.7).
 *
 * The order is the public clients': status, then JSON, then `success`; and a status says nothing
 * about a key, as a rate limit arrives as 401 too: only an errorCode does. An answer that is not
 * the platform's (a proxy's page, a wrong address) is never taken for "no such inspection". What a
 * sentence quotes of an answer is made printable, cut and masked. Pure; called by the client of the
 * platform; any thread.
 */
#include "platform/openapi.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/str.h"
#include <curl/curl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BODY_MAX = 32 << 20, QUOTE_MAX = 240 };
#define FUNC_FAILED 599.3 /* error number of EFuncFailed */

/* Sets the sentence: masked, and cut between characters. Takes `text`. */
static void say(sm_openapi_answer *a, char *text) {
    size_t n;
    char *masked = sm_mask(text, strlen(text), &n);
    if (n >= sizeof a->sentence)
        n = sm_utf8_cut(masked, n, sizeof a->sentence - 1);
    memcpy(a->sentence, masked, n);
    a->sentence[n] = '\0';
    free(masked);
    free(text);
}

/* A part of an answer for a sentence: masked before it is cut, as half a secret is not recognised
 * any more. malloc'd. */
static char *quote(const char *p, size_t n, size_t max) {
    size_t m;
    char *masked = sm_mask(p, n, &m), *out = sm_str_printable(masked, m, max);
    free(masked);
    return out;
}

static char *quote_member(const json_t *obj, const char *key, size_t max) {
    const char *s = sm_json_str(obj, key, "");
    return quote(s, strlen(s), max);
}

static bool is_html(const sm_http_answer *http) {
    size_t i = 0;
    if (http->content_type && strncasecmp(http->content_type, "text/html", 9) == 0)
        return true;
    while (i < http->body_n && strchr(" \t\r\n", http->body[i]) && http->body[i])
        i++;
    return i < http->body_n && http->body[i] == '<';
}

static void read_transport(const sm_http_answer *http, sm_openapi_answer *a) {
    a->kind = SM_OPENAPI_DOWN;
    a->timed_out = http->failure == SM_HTTP_TIMEOUT;
    a->verdict.transport = http->failure == SM_HTTP_TLS ? SM_TRANSPORT_TLS : SM_TRANSPORT_FAILED;
    say(a, sm_strdup(http->error && http->error[0] ? http->error
                                                   : "the platform could not be reached"));
}

/* Scheme and host of a redirect's target; the rest may hold what is nobody's business. malloc'd. */
static char *target_of(const char *location) {
    if (!location || !strstr(location, "://"))
        return sm_strdup("another path");
    const char *host = strstr(location, "://") + 3;
    size_t end = strcspn(host, "/?#");
    const char *at = memrchr(host, '@', end);
    size_t skip = at ? (size_t)(at + 1 - host) : 0;
    return quote(host + skip, end - skip, 100);
}

/* The envelope's own words: `ft.X: message (traceId T)`, each part only when there. malloc'd. */
static char *quote_envelope(const json_t *j) {
    char *c = quote_member(j, "errorCode", 100), *t = quote_member(j, "message", QUOTE_MAX),
         *i = quote_member(j, "traceId", 80);
    char *out = sm_asprintf("%s%s%s%s%s%s%s", c[0] || t[0] ? ": " : "", c, c[0] && t[0] ? ": " : "",
                            t, i[0] ? " (traceId " : "", i, i[0] ? ")" : "");
    free(c);
    free(t);
    free(i);
    return out;
}

/* What a status and an errorCode mean when the answer is an envelope without success. */
static sm_openapi_kind kind_of(int status, const char *code) {
    if (status == 429 || strstr(code, "CurrentLimiting"))
        return SM_OPENAPI_LIMIT;
    if (strcmp(code, "ft.InvalidAPIKey") == 0)
        return SM_OPENAPI_BAD_KEY;
    if (status >= 500 || status == 408 || status == 425)
        return SM_OPENAPI_DOWN;
    if (status == 404 || strstr(code, "NotFound"))
        return SM_OPENAPI_NOT_FOUND;
    return SM_OPENAPI_REFUSED;
}

/* An envelope that reports a failure; `status` is the worse of HTTP's and its own. */
static void read_failure(const json_t *j, int status, sm_openapi_answer *a) {
    static const char *const words[] = {
        [SM_OPENAPI_BAD_KEY] = "the API key was refused",
        [SM_OPENAPI_LIMIT] = "the platform's rate limit is reached",
        [SM_OPENAPI_NOT_FOUND] = "the platform does not know what was asked for",
        [SM_OPENAPI_REFUSED] = "the platform refused the request",
        [SM_OPENAPI_DOWN] = "the platform has an error of its own",
    };
    a->kind = kind_of(status, sm_json_str(j, "errorCode", ""));
    a->verdict.body_known = true;
    a->verdict.rate_limited = a->kind == SM_OPENAPI_LIMIT;
    /* A failure inside a 200 is judged as if its status had said so: a bad key or a wrong address
     * is our fault and must not cost an event. */
    if (a->verdict.http < 400 && a->kind == SM_OPENAPI_BAD_KEY)
        a->verdict.http = 403;
    else if (a->verdict.http < 400 && a->kind == SM_OPENAPI_NOT_FOUND)
        a->verdict.http = 404;
    else if (a->verdict.http < 400 && a->kind != SM_OPENAPI_LIMIT && status >= 400)
        a->verdict.http = status;
    char *quoted = quote_envelope(j);
    say(a, sm_asprintf("%s (HTTP %d)%s", words[a->kind], status, quoted));
    free(quoted);
}

/* Success is said twice, by `success` and by `code`, and both must say it. */
static void read_success(json_t *j, sm_openapi_answer *a) {
    json_t *content = json_object_get(j, "content"), *page = json_object_get(j, "pageInfo");
    a->kind = SM_OPENAPI_OK;
    a->verdict.body_known = a->verdict.body_ok = true;
    a->content = content ? json_incref(content) : json_null();
    if (json_is_object(page))
        a->page = json_incref(page);
}

/* An answer that is no envelope. */
static void read_stranger(const sm_http_answer *http, const char *what, sm_openapi_answer *a) {
    a->kind = SM_OPENAPI_UNKNOWN;
    if (http->status >= 500 || http->status == 408 || http->status == 425)
        a->kind = SM_OPENAPI_DOWN;
    else if (http->status == 429)
        a->kind = SM_OPENAPI_LIMIT;
    a->verdict.rate_limited = a->kind == SM_OPENAPI_LIMIT;
    say(a, sm_asprintf("HTTP %d and %s", http->status, what));
}

static void read_body(const sm_http_answer *http, sm_openapi_answer *a) {
    json_t *j = NULL;
    sm_err err = SM_ERR_INIT;
    if (http->body_n == 0) {
        read_stranger(http, "an empty answer", a);
        return;
    }
    if (is_html(http)) {
        a->verdict.html = true;
        read_stranger(http, "an HTML page instead of JSON; is a proxy in the way?", a);
        return;
    }
    if (sm_json_parse(http->body, http->body_n, BODY_MAX, &j, &err) != SM_OK) {
        char *what = sm_asprintf("an answer that is not JSON: %s", err.msg);
        read_stranger(http, what, a);
        free(what);
        return;
    }
    const json_t *success = json_object_get(j, "success");
    int code = (int)fmin(fmax(sm_json_num(j, "code", 0), 0), 9999);
    bool good = http->status >= 200 && http->status < 300;
    if (!json_is_boolean(success) && code == 0 && !sm_json_str(j, "errorCode", NULL))
        read_stranger(http, "JSON that is not an answer of the OpenAPI", a);
    else if (good && json_is_true(success) && (code == 0 || (code >= 200 && code < 300)))
        read_success(j, a);
    else if (good && json_is_true(success))
        read_stranger(http, "an answer whose `success` and `code` contradict each other", a);
    else
        read_failure(j, code > http->status ? code : http->status, a);
    json_decref(j);
}

void sm_openapi_read(const sm_http_answer *http, sm_openapi_answer *out) {
    memset(out, 0, sizeof *out);
    out->verdict = (sm_answer){.road = SM_ROAD_OPENAPI,
                               .transport = SM_TRANSPORT_ANSWERED,
                               .http = http->status,
                               .retry_after_s = -1,
                               .batch = 1};
    if (http->failure != SM_HTTP_ANSWERED) {
        read_transport(http, out);
        return;
    }
    /* A date in Retry-After is meant by the server's clock, so it is held against that one. */
    int64_t now = http->date && http->date[0] ? (int64_t)curl_getdate(http->date, NULL) : -1;
    if (now < 0)
        now = sm_wall_ns() / SM_NS_PER_S;
    if (http->retry_after && http->retry_after[0])
        out->verdict.retry_after_s = sm_retry_after(http->retry_after, now);
    if (http->status >= 300 && http->status < 400) {
        char *target = target_of(http->location);
        out->kind = SM_OPENAPI_UNKNOWN;
        say(out, sm_asprintf("the address redirects (HTTP %d) to %s, which is not followed",
                             http->status, target));
        free(target);
        return;
    }
    read_body(http, out);
}

/* A failure of the called function; `error` is a number above 200, perhaps with a fraction. */
static void inner_failure(const json_t *inner, double error, sm_openapi_answer *a) {
    int status = (int)fmin(error, 599);
    const char *reason = sm_json_str(inner, "reason", "");
    /* EFuncFailed is the function's own exception: perhaps one bad event made it. Another 5xx
     * (queue, timeout) passes by itself; a 4xx means what it means in HTTP. */
    bool raised = status < 400 || fabs(error - FUNC_FAILED) < 0.01 || strstr(reason, "EFuncFailed");
    a->kind = raised ? SM_OPENAPI_REFUSED : kind_of(status, "");
    a->verdict.body_ok = false;
    a->verdict.rate_limited = a->kind == SM_OPENAPI_LIMIT;
    a->verdict.func_failed = raised && status >= 500;
    if (!raised)
        a->verdict.http = status;
    char *t = quote_member(inner, "message", QUOTE_MAX), *r = quote_member(inner, "reason", 80),
         *i = quote_member(inner, "traceId", 80);
    say(a, sm_asprintf("the function on the platform failed (error %.10g%s%s)%s%s%s%s%s", error,
                       r[0] ? ", " : "", r, t[0] ? ": " : "", t, i[0] ? " (traceId " : "", i,
                       i[0] ? ")" : ""));
    free(t);
    free(r);
    free(i);
}

void sm_openapi_inner(sm_openapi_answer *a) {
    if (a->kind != SM_OPENAPI_OK)
        return;
    const json_t *error = json_object_get(a->content, "error");
    if (json_is_number(error) && json_number_value(error) > 200) {
        inner_failure(a->content, json_number_value(error), a);
    } else if (!json_is_number(error)) {
        a->kind = SM_OPENAPI_UNKNOWN;
        a->verdict.body_known = a->verdict.body_ok = false;
        char *shown = json_is_string(a->content) ? quote(json_string_value(a->content),
                                                         json_string_length(a->content), QUOTE_MAX)
                                                 : sm_strdup("");
        say(a, sm_asprintf("the function's answer says neither success nor failure%s%s",
                           shown[0] ? ": " : "", shown));
        free(shown);
    }
    if (a->kind != SM_OPENAPI_OK) {
        json_decref(a->content);
        a->content = NULL;
    }
}

void sm_openapi_answer_fini(sm_openapi_answer *a) {
    json_decref(a->content);
    json_decref(a->page);
    memset(a, 0, sizeof *a);
}
