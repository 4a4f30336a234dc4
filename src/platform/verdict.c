/* verdict: what an answer to a delivery means (the table "Answer classes" of the design).
 *
 * Pure. It decides nothing about time: backoff, breaker and the count of unconfirmed answers are
 * the pump's. What is not in the table is held, never refused: an answer nobody foresaw must not
 * cost an alarm.
 */
#include "platform/verdict.h"
#include <curl/curl.h>
#include <stddef.h>

enum { RETRY_AFTER_MAX = 3600 };

static sm_verdict say(sm_verdict v, const char **reason, const char *sentence) {
    if (reason)
        *reason = sentence;
    return v;
}

/* Perhaps one bad event: halve the batch down to one; the one that still fails is refused. */
static sm_verdict poison(int batch, const char **reason, const char *one) {
    if (batch > 1)
        return say(SM_SPLIT, reason, "the platform refused the batch; it is sent in halves");
    return say(SM_REFUSED, reason, one);
}

static sm_verdict of_2xx(const sm_answer *a, const char **reason) {
    if (a->road == SM_ROAD_WRITE) {
        if (a->html)
            return say(SM_HOLD, reason, "an HTML page answered; is a proxy in the way?");
        return say(SM_DELIVERED, reason, "delivered");
    }
    if (a->body_ok)
        return say(SM_DELIVERED, reason, "delivered");
    if (a->rate_limited)
        return say(SM_RETRY, reason, "the platform's rate limit is reached");
    if (!a->body_known || a->html)
        return say(SM_RETRY, reason, "unconfirmed: the platform's answer could not be read");
    return poison(a->batch, reason, "the platform did not take this event");
}

static sm_verdict of_4xx(const sm_answer *a, const char **reason) {
    switch (a->http) {
    case 400:
    case 413:
    case 422:
        return poison(a->batch, reason, "the platform refused this event");
    case 401:
    case 403:
        if (a->rate_limited)
            return say(SM_RETRY, reason, "the platform's rate limit is reached");
        return say(SM_HOLD, reason, "the API key was refused");
    case 404:
    case 405:
        return say(SM_HOLD, reason, "the address answered, but not as this platform does");
    case 407:
        return say(SM_HOLD, reason, "the proxy wants credentials");
    case 408:
    case 425:
    case 429:
        return say(SM_RETRY, reason, "the platform is busy");
    default:
        return say(SM_HOLD, reason, "the platform gave an answer that is not known");
    }
}

sm_verdict sm_verdict_of(const sm_answer *a, const char **reason) {
    if (a->transport == SM_TRANSPORT_TLS)
        return say(SM_HOLD, reason, "the platform's TLS certificate could not be verified");
    if (a->transport == SM_TRANSPORT_FAILED)
        return say(SM_RETRY, reason, "the platform could not be reached");
    if (a->func_failed)
        return say(a->batch > 1 ? SM_SPLIT : SM_RETRY, reason,
                   "the function on the platform failed");
    if (a->http >= 200 && a->http < 300)
        return of_2xx(a, reason);
    if (a->http >= 300 && a->http < 400)
        return say(SM_HOLD, reason, "the address redirects elsewhere, which is not followed");
    if (a->http >= 400 && a->http < 500)
        return of_4xx(a, reason);
    if (a->http == 501)
        return say(SM_HOLD, reason, "the address answered, but not as this platform does");
    if (a->http == 503)
        return say(SM_RETRY, reason, "the platform is busy");
    if (a->http >= 500 && a->http < 600)
        return say(SM_RETRY, reason, "the platform has an error of its own");
    return say(SM_RETRY, reason, "the answer was not HTTP");
}

int64_t sm_retry_after(const char *header, int64_t now_s) {
    if (!header)
        return -1;
    while (*header == ' ' || *header == '\t')
        header++;
    if (*header >= '0' && *header <= '9') {
        int64_t s = 0;
        for (; *header >= '0' && *header <= '9'; header++)
            s = s > RETRY_AFTER_MAX ? s : s * 10 + (*header - '0');
        while (*header == ' ' || *header == '\t' || *header == '\r')
            header++;
        if (*header != '\0')
            return -1;
        return s > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : s;
    }
    /* RFC 9110 10.2.3: the other form is an HTTP date, whose three spellings libcurl reads. */
    int64_t at = (int64_t)curl_getdate(header, NULL);
    if (at < 0)
        return -1;
    if (at <= now_s)
        return 0;
    return at - now_s > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : at - now_s;
}

const char *sm_verdict_name(sm_verdict v) {
    switch (v) {
    case SM_DELIVERED:
        return "delivered";
    case SM_RETRY:
        return "retry";
    case SM_HOLD:
        return "hold";
    case SM_SPLIT:
        return "split";
    case SM_REFUSED:
        return "refused";
    }
    return "unknown";
}
