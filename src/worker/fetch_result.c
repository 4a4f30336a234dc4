/* fetch_result: turns an ended hop into an answer or an error with a sentence that a person who was
 * woken up understands: which host, what happened, in which phase. Runs in the engine's thread.
 */
#include "worker/fetch_internal.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double seconds_of(CURL *e, CURLINFO what) {
    curl_off_t us = 0;
    return curl_easy_getinfo(e, what, &us) == CURLE_OK && us > 0 ? (double)us / 1e6 : 0.0;
}

static double positive(double v) {
    return v > 0 ? v : 0;
}

static void fill_timings(sm_transfer *t) {
    sm_fetch_res *r = t->res;
    double dns = seconds_of(t->easy, CURLINFO_NAMELOOKUP_TIME_T);
    double connect = seconds_of(t->easy, CURLINFO_CONNECT_TIME_T);
    double tls = seconds_of(t->easy, CURLINFO_APPCONNECT_TIME_T);
    double first = seconds_of(t->easy, CURLINFO_STARTTRANSFER_TIME_T);
    double before = (double)(t->hop_ns - t->start_ns) / (double)SM_NS_PER_S;
    long opened = 0;
    (void)curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &opened);
    bool fresh = opened > 0; /* a reused connection looked up and shook nothing */
    r->dns = fresh ? dns : 0;
    r->connect = fresh && connect > 0 ? positive(connect - dns) : 0;
    r->handshake = fresh && tls > 0 ? positive(tls - connect) : 0;
    r->ttfb = first > 0 ? before + first : 0;
    r->total = (double)(sm_mono_ns() - t->start_ns) / (double)SM_NS_PER_S;
}

static const char *version_text(CURL *e) {
    long v = 0;
    (void)curl_easy_getinfo(e, CURLINFO_HTTP_VERSION, &v);
    return v == CURL_HTTP_VERSION_1_0 ? "1.0" : v == CURL_HTTP_VERSION_2_0 ? "2" : "1.1";
}

/* ---- errors -------------------------------------------------------------------------------- */

/* " (redirected from shop.example)" when this hop is not the first. */
static void came_from(const sm_transfer *t, char *out, size_t cap) {
    out[0] = '\0';
    sm_fetch_url first = {0};
    if (t->req->hops > 0 &&
        sm_fetch_url_parse(t->first->url, strlen(t->first->url), &first, NULL) == SM_OK) {
        snprintf(out, cap, " (redirected from %s)", first.name);
        sm_fetch_url_fini(&first);
    }
}

static void fail(sm_transfer *t, const char *code, const char *sentence) {
    char from[320];
    came_from(t, from, sizeof(from));
    sm_fetch_res_fail(t->res, code, "%s: %s%s", t->url.name, sentence, from);
}

/* curl's own words, else the code's; without a trailing newline or control bytes. */
static void curl_words(const sm_transfer *t, CURLcode code, char *out, size_t cap) {
    const char *s = t->detail[0] ? t->detail : curl_easy_strerror(code);
    char *clean = sm_str_printable(s, strcspn(s, "\r\n"), cap - 1);
    snprintf(out, cap, "%s", clean);
    free(clean);
}

static void fail_timeout(sm_transfer *t) {
    const char *doing = "the answer was not complete";
    char text[160];
    double waited = (double)(sm_mono_ns() - t->start_ns) / (double)SM_NS_PER_S;
    if (!t->asked && seconds_of(t->easy, CURLINFO_NAMELOOKUP_TIME_T) <= 0)
        doing = "its name was not resolved";
    else if (!t->asked && seconds_of(t->easy, CURLINFO_CONNECT_TIME_T) <= 0)
        doing = "no connection came up";
    else if (!t->asked)
        doing = "the TLS handshake did not end";
    else if (t->status == 0)
        doing = "no answer came";
    if (strncmp(t->detail, "Operation too slow", 18) == 0)
        snprintf(text, sizeof(text),
                 "the answer stalled: less than a byte a second for half a "
                 "minute");
    else
        snprintf(text, sizeof(text), "%s within %.3g s", doing, waited);
    fail(t, "timeout", text);
}

static void fail_connect(sm_transfer *t) {
    long number = 0;
    char *ip = NULL, text[256], words[64];
    (void)curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &number);
    (void)curl_easy_getinfo(t->easy, CURLINFO_PRIMARY_IP, &ip);
    const char *reason =
        number > 0 ? strerror_r((int)number, words, sizeof(words)) : "it cannot be reached";
    if (ip && ip[0])
        snprintf(text, sizeof(text), "cannot connect: %s (%s)", reason, ip);
    else
        snprintf(text, sizeof(text), "cannot connect: %s", reason);
    fail(t, "connect", text);
}

static void day_text(int64_t unix_s, char out[11]) {
    char full[32];
    sm_time_rfc3339(unix_s * SM_NS_PER_S, false, full);
    memcpy(out, full, 10);
    out[10] = '\0';
}

static void fail_verify(sm_transfer *t, CURLcode code) {
    const sm_fetch_tls *tls = &t->res->tls;
    char text[600], day[11];
    if (t->verify_error == X509_V_ERR_CERT_HAS_EXPIRED && tls->present && tls->days_left < 0) {
        day_text(tls->not_after, day);
        snprintf(text, sizeof(text), "its certificate expired on %s, %.0f days ago", day,
                 -tls->days_left);
    } else if (t->verify_error == X509_V_ERR_CERT_NOT_YET_VALID && tls->present) {
        day_text(tls->not_before, day);
        snprintf(text, sizeof(text), "its certificate is not valid before %s", day);
    } else if (t->verify_error != X509_V_OK) {
        snprintf(text, sizeof(text), "its certificate is not trusted: %s (issuer %.200s)",
                 X509_verify_cert_error_string(t->verify_error),
                 tls->issuer ? tls->issuer : "unknown");
    } else if (tls->present) {
        char names[300] = "";
        for (size_t i = 0; i < tls->n_san && strlen(names) < 200; i++) {
            size_t at = strlen(names);
            snprintf(names + at, sizeof(names) - at, "%s%s", i ? ", " : "", tls->san[i]);
        }
        snprintf(text, sizeof(text), "its certificate is for other names: %s",
                 names[0] ? names : tls->subject);
    } else {
        char words[256];
        curl_words(t, code, words, sizeof(words));
        snprintf(text, sizeof(text), "TLS failed: %s", words);
    }
    fail(t, "tls", text);
}

/* The classes of curl's codes; the sentence is curl's own. */
static void fail_other(sm_transfer *t, CURLcode code) {
    char words[256], text[400];
    curl_words(t, code, words, sizeof(words));
    const char *cls = "protocol", *what = "the answer is not proper HTTP";
    switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
        cls = "dns", what = "the name of the proxy does not resolve";
        break;
    case CURLE_PROXY:
        cls = "connect", what = "the proxy refused";
        break;
    case CURLE_RECV_ERROR:
        if (strstr(t->detail, "CONNECT tunnel")) {
            cls = "connect", what = "the proxy refused";
            break;
        } /* fall through */
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
        cls = "closed", what = "the connection was closed without a whole answer";
        break;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_ENGINE_SETFAILED:
    case CURLE_SSL_ENGINE_INITFAILED:
        cls = "tls", what = "TLS failed";
        break;
    case CURLE_SSL_CERTPROBLEM:
        cls = "tls", what = "the client certificate cannot be used";
        break;
    case CURLE_SSL_CACERT_BADFILE:
        cls = "tls", what = "the CA certificates cannot be used";
        break;
    case CURLE_BAD_CONTENT_ENCODING:
        what = "the body cannot be decompressed";
        break;
    default:
        break;
    }
    snprintf(text, sizeof(text), "%s: %s", what, words);
    fail(t, cls, text);
}

static void collect_error(sm_transfer *t, CURLcode code) {
    if (t->why_code && (code == CURLE_WRITE_ERROR || code == CURLE_ABORTED_BY_CALLBACK ||
                        code == CURLE_COULDNT_CONNECT || code == CURLE_RECV_ERROR)) {
        fail(t, t->why_code, t->why);
        return;
    }
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        fail(t, "dns", "the name does not resolve");
        break;
    case CURLE_COULDNT_CONNECT:
        fail_connect(t);
        break;
    case CURLE_OPERATION_TIMEDOUT:
        fail_timeout(t);
        break;
    case CURLE_PEER_FAILED_VERIFICATION:
        fail_verify(t, code);
        break;
    case CURLE_PARTIAL_FILE:
        fail(t, "partial", "the connection was closed before the body was complete");
        break;
    default:
        fail_other(t, code);
        break;
    }
}

void sm_transfer_collect(sm_transfer *t, CURLcode code) {
    sm_fetch_res *r = t->res;
    char *ip = NULL;
    free(r->url);
    free(r->remote_ip);
    r->url = sm_strdup(t->url.url);
    r->remote_ip = NULL;
    if (curl_easy_getinfo(t->easy, CURLINFO_PRIMARY_IP, &ip) == CURLE_OK && ip && ip[0])
        r->remote_ip = sm_strdup(ip);
    r->redirects = t->req->hops;
    fill_timings(t);
    if (code != CURLE_OK) {
        collect_error(t, code);
        return;
    }
    if (t->status == 0) {
        fail(t, "protocol", "the answer has no status");
        return;
    }
    r->status = t->status;
    r->http_version = version_text(t->easy);
    r->tls.verified = t->url.https && r->tls.present && t->req->verify;
    free(r->body);
    r->body = sm_buf_take(&t->body, &r->body_n);
}
