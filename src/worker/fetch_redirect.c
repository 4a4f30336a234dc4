/* fetch_redirect: what the next request is after a 3xx answer. Pure rules (RFC 9110 15.4 and the
 * Fetch standard's method rules, stricter about credentials); libcurl never follows by itself.
 *
 * Used by the engine after every answer, and by selfmon.testing's fake, so that a spec sees what
 * production does. Every hop's URL passes the parser that the script's own URL passes; the address
 * policy is checked again by the engine.
 */
#include "worker/fetch.h"
#include "base/mem.h"
#include "base/str.h"
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_redirect(int status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static char *copy(const char *s) {
    return s ? sm_strdup(s) : NULL;
}

/* Resolves Location against the URL it came from; the caller frees. NULL when it is no URL. */
static char *resolve(const char *base, const char *location) {
    char *out = NULL, *url = NULL;
    CURLU *h = curl_url();
    /* Schemes we do not speak are let through here and refused, by name, by sm_fetch_url_parse. */
    if (h && curl_url_set(h, CURLUPART_URL, base, 0) == CURLUE_OK &&
        curl_url_set(h, CURLUPART_URL, location, CURLU_URLENCODE | CURLU_NON_SUPPORT_SCHEME) ==
            CURLUE_OK &&
        curl_url_get(h, CURLUPART_URL, &url, 0) == CURLUE_OK)
        out = sm_strdup(url);
    curl_free(url);
    curl_url_cleanup(h);
    return out;
}

static const char *next_method(const char *method, int status) {
    bool post_to_get = (status == 301 || status == 302) && strcmp(method, "POST") == 0;
    bool see_other = status == 303 && strcmp(method, "HEAD") != 0;
    return post_to_get || see_other ? "GET" : method;
}

/* What describes a body makes no sense once the body is dropped. */
static bool describes_body(const char *name) {
    return strncasecmp(name, "content-", 8) == 0;
}

static void build(const sm_fetch_req *req, const char *method, const char *url, bool same_origin,
                  sm_fetch_req *next) {
    bool keeps_body = strcmp(method, req->method) == 0;
    sm_fetch_req_init(next);
    free(next->method);
    next->method = sm_strdup(method);
    next->url = sm_strdup(url);
    next->timeout_s = req->timeout_s;
    next->follow = req->follow;
    next->hops = req->hops + 1;
    next->max_body = req->max_body;
    next->net = req->net;
    next->ca = copy(req->ca);
    next->proxy = copy(req->proxy);
    if (keeps_body && req->body) {
        next->content_type = copy(req->content_type);
        next->body = sm_memdup(req->body, req->body_n);
        next->body_n = req->body_n;
        next->body_secret = req->body_secret;
    }
    if (!same_origin)
        return;
    for (size_t i = 0; i < req->n_headers; i++)
        if (keeps_body || !describes_body(req->headers[i].name))
            sm_fetch_req_header(next, req->headers[i].name, req->headers[i].value,
                                req->headers[i].n);
    next->verify = req->verify;
    next->cert = copy(req->cert);
    next->key = copy(req->key);
    next->auth = req->auth;
    next->user = copy(req->user);
    next->pass = copy(req->pass);
}

sm_redirect sm_redirect_next(const sm_fetch_req *req, const sm_fetch_res *res, sm_fetch_req *next,
                             sm_err *err) {
    memset(next, 0, sizeof(*next));
    const char *location = sm_fetch_res_get(res, "location");
    if (res->code || req->follow <= 0 || !is_redirect(res->status) || !location)
        return SM_REDIRECT_NONE;

    sm_redirect verdict = SM_REDIRECT_REFUSED;
    sm_fetch_url from = {0}, to = {0};
    sm_err why = SM_ERR_INIT;
    char *url = NULL, *shown = sm_str_printable(location, strlen(location), 200);
    if (sm_fetch_url_parse(req->url, strlen(req->url), &from, err) != SM_OK)
        goto out;
    if (req->hops >= req->follow) {
        sm_err_set(err, SM_LIMIT, "more than %d redirects", req->follow);
        goto out;
    }
    url = resolve(from.url, location);
    if (!url) {
        sm_err_set(err, SM_INVALID, "it redirects to \"%s\", which is not a URL", shown);
        goto out;
    }
    if (sm_fetch_url_parse(url, strlen(url), &to, &why) != SM_OK) {
        sm_err_set(err, SM_INVALID, "it redirects to a URL that is refused: %s", why.msg);
        goto out;
    }
    if (from.https && !to.https) {
        sm_err_set(err, SM_DENIED, "it redirects from https to http, at %s", to.name);
        goto out;
    }
    const char *method = next_method(req->method, res->status);
    bool same = from.https == to.https && from.port == to.port && strcmp(from.host, to.host) == 0;
    if (!same && req->body_secret && strcmp(method, req->method) == 0) {
        sm_err_set(err, SM_DENIED, "it redirects a request with a secret body to %s", to.name);
        goto out;
    }
    build(req, method, to.url, same, next);
    verdict = SM_REDIRECT_FOLLOW;
out:
    sm_fetch_url_fini(&from);
    sm_fetch_url_fini(&to);
    free(url);
    free(shown);
    return verdict;
}
