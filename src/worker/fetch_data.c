/* fetch_data: requests, results and URLs of fetch as values: made, filled, checked and freed.
 *
 * Pure but for memory; no curl handle but the URL parser, which is the only one in the program
 * (curl connects to what curl parsed). Used by the engine, by bind_http and by selfmon.testing's
 * fake. What may be secret is wiped when freed.
 */
#include "worker/fetch.h"
#include "base/mem.h"
#include "base/str.h"
#include <arpa/inet.h>
#include <curl/curl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- URL ----------------------------------------------------------------------------------- */

void sm_fetch_url_fini(sm_fetch_url *u) {
    free(u->url);
    free(u->host);
    free(u->name);
    memset(u, 0, sizeof(*u));
}

static sm_rc url_error(CURLUcode uc, sm_err *err) {
    switch (uc) {
    case CURLUE_BAD_SCHEME:
        return sm_err_set(err, SM_INVALID, "has no scheme; write https://… or http://…");
    case CURLUE_UNSUPPORTED_SCHEME:
        return sm_err_set(err, SM_INVALID, "only http and https can be asked");
    case CURLUE_USER_NOT_ALLOWED:
        return sm_err_set(err, SM_INVALID, "has a user or password in it; use auth = {user, pass}");
    case CURLUE_NO_HOST:
    case CURLUE_BAD_HOSTNAME:
    case CURLUE_BAD_IPV6:
    case CURLUE_OUT_OF_MEMORY: /* what curl answers for a name that IDN does not allow */
        return sm_err_set(err, SM_INVALID, "has no valid host");
    case CURLUE_BAD_PORT_NUMBER:
        return sm_err_set(err, SM_INVALID, "has a bad port");
    default:
        return sm_err_set(err, SM_INVALID, "is not a URL (%s)", curl_url_strerror(uc));
    }
}

/* Lower case, brackets off; a zone id stays. */
static char *clean_host(const char *host) {
    size_t n = strlen(host);
    if (n >= 2 && host[0] == '[' && host[n - 1] == ']') {
        host++;
        n -= 2;
    }
    char *out = sm_memdup(host, n);
    for (size_t i = 0; i < n; i++)
        if (out[i] >= 'A' && out[i] <= 'Z')
            out[i] = (char)(out[i] + 32);
    return out;
}

static bool is_literal(const char *host) {
    unsigned char bytes[16];
    return strchr(host, ':') != NULL || inet_pton(AF_INET, host, bytes) == 1;
}

static sm_rc read_parts(CURLU *h, sm_fetch_url *out, sm_err *err) {
    sm_rc rc = SM_OK;
    char *scheme = NULL, *host = NULL, *port = NULL, *url = NULL;
    CURLUcode uc = curl_url_get(h, CURLUPART_SCHEME, &scheme, 0);
    if (uc == CURLUE_OK && strcasecmp(scheme, "https") != 0 && strcasecmp(scheme, "http") != 0)
        uc = CURLUE_UNSUPPORTED_SCHEME;
    if (uc == CURLUE_OK)
        uc = curl_url_get(h, CURLUPART_HOST, &host, CURLU_PUNYCODE);
    if (uc == CURLUE_OK)
        uc = curl_url_get(h, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    if (uc == CURLUE_OK)
        uc = curl_url_set(h, CURLUPART_FRAGMENT, NULL, 0);
    if (uc == CURLUE_OK)
        uc = curl_url_get(h, CURLUPART_URL, &url, CURLU_PUNYCODE);
    if (uc == CURLUE_OK && host[0] == '\0')
        uc = CURLUE_NO_HOST;
    if (uc != CURLUE_OK) {
        rc = url_error(uc, err);
        goto out;
    }
    out->https = strcasecmp(scheme, "https") == 0;
    out->host = clean_host(host);
    out->port = (int)strtol(port, NULL, 10);
    out->url = sm_strdup(url);
    out->literal = is_literal(out->host);
    bool v6 = strchr(out->host, ':') != NULL;
    if (out->port == (out->https ? 443 : 80))
        out->name = sm_strdup(out->host);
    else
        out->name = sm_asprintf("%s%s%s:%d", v6 ? "[" : "", out->host, v6 ? "]" : "", out->port);
out:
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(url);
    return rc;
}

sm_rc sm_fetch_url_parse(const char *url, size_t n, sm_fetch_url *out, sm_err *err) {
    memset(out, 0, sizeof(*out));
    if (n > SM_FETCH_URL_MAX)
        return sm_err_set(err, SM_INVALID, "is longer than %d bytes", (int)SM_FETCH_URL_MAX);
    if (n == 0)
        return sm_err_set(err, SM_INVALID, "is empty");
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)url[i] < 0x20 || url[i] == 0x7f)
            return sm_err_set(err, SM_INVALID, "has a control character at byte %zu", i + 1);
    char *text = sm_memdup(url, n);
    CURLU *h = curl_url();
    sm_rc rc = SM_OK;
    /* libidn2 reads host names in the thread's charset, which is ASCII everywhere else here. */
    locale_t utf8 = (locale_t)0, before = (locale_t)0;
    for (size_t i = 0; i < n && !utf8; i++)
        if ((unsigned char)url[i] >= 0x80)
            utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (utf8)
        before = uselocale(utf8);
    if (!h) {
        rc = sm_err_set(err, SM_INTERNAL, "out of memory");
        goto out;
    }
    CURLUcode uc = curl_url_set(h, CURLUPART_URL, text,
                                CURLU_URLENCODE | CURLU_DISALLOW_USER | CURLU_NON_SUPPORT_SCHEME);
    rc = uc == CURLUE_OK ? read_parts(h, out, err) : url_error(uc, err);
out:
    if (utf8) {
        (void)uselocale(before);
        freelocale(utf8);
    }
    if (rc != SM_OK)
        sm_fetch_url_fini(out);
    curl_url_cleanup(h);
    free(text);
    return rc;
}

/* ---- request ------------------------------------------------------------------------------- */

void sm_fetch_req_init(sm_fetch_req *r) {
    memset(r, 0, sizeof(*r));
    r->method = sm_strdup("GET");
    r->timeout_s = SM_FETCH_TIMEOUT;
    r->follow = SM_FETCH_FOLLOW;
    r->verify = true;
    r->max_body = SM_FETCH_BODY;
}

static void wipe(char *p, size_t n) {
    if (p)
        explicit_bzero(p, n);
    free(p);
}

static void wipe_text(char *s) {
    wipe(s, s ? strlen(s) : 0);
}

static void headers_free(sm_fetch_header *h, size_t n, bool secret) {
    for (size_t i = 0; i < n; i++) {
        free(h[i].name);
        if (secret)
            wipe(h[i].value, h[i].n);
        else
            free(h[i].value);
    }
    free(h);
}

void sm_fetch_req_fini(sm_fetch_req *r) {
    free(r->method);
    free(r->url);
    headers_free(r->headers, r->n_headers, true);
    free(r->content_type);
    if (r->body_secret)
        wipe(r->body, r->body_n);
    else
        free(r->body);
    free(r->ca);
    free(r->cert);
    wipe_text(r->key);
    wipe_text(r->proxy);
    free(r->user);
    wipe_text(r->pass);
    memset(r, 0, sizeof(*r));
}

static void add_header(sm_fetch_header **list, size_t *count, char *name, const char *value,
                       size_t n) {
    *list = sm_realloc(*list, (*count + 1) * sizeof(**list));
    (*list)[*count] = (sm_fetch_header){name, sm_memdup(value, n), n};
    ++*count;
}

void sm_fetch_req_header(sm_fetch_req *r, const char *name, const char *value, size_t n) {
    add_header(&r->headers, &r->n_headers, sm_strdup(name), value, n);
}

bool sm_fetch_token_ok(const char *p, size_t n) {
    static const char token[] = "!#$%&'*+-.^_`|~0123456789"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (size_t i = 0; i < n; i++)
        if (p[i] == '\0' || !strchr(token, p[i]))
            return false;
    return n > 0;
}

sm_rc sm_fetch_header_ok(const char *name, size_t name_n, const char *value, size_t n,
                         sm_err *err) {
    static const char *const own[] = {"Host", "Content-Length", "Transfer-Encoding", "Connection"};
    if (!sm_fetch_token_ok(name, name_n)) {
        char *shown = sm_str_printable(name, name_n, 64);
        sm_err_set(err, SM_INVALID, "\"%s\" is not a header name", shown);
        free(shown);
        return SM_INVALID;
    }
    for (size_t i = 0; i < SM_ARRAY_LEN(own); i++)
        if (name_n == strlen(own[i]) && strncasecmp(name, own[i], name_n) == 0)
            return sm_err_set(err, SM_INVALID,
                              "header %s is set by the program and cannot be given", own[i]);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)value[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return sm_err_set(err, SM_INVALID,
                              "the value of header %.*s has a control character at byte %zu",
                              (int)(name_n > 64 ? 64 : name_n), name, i + 1);
    }
    return SM_OK;
}

/* ---- result -------------------------------------------------------------------------------- */

void sm_fetch_res_init(sm_fetch_res *r) {
    memset(r, 0, sizeof(*r));
}

static void tls_fini(sm_fetch_tls *t) {
    free(t->subject);
    free(t->issuer);
    for (size_t i = 0; i < t->n_san; i++)
        free(t->san[i]);
    free(t->san);
    memset(t, 0, sizeof(*t));
}

static void drop_answer(sm_fetch_res *r) {
    headers_free(r->headers, r->n_headers, false);
    free(r->body);
    r->headers = NULL;
    r->n_headers = 0;
    r->body = NULL;
    r->body_n = 0;
    r->status = 0;
}

void sm_fetch_res_fini(sm_fetch_res *r) {
    drop_answer(r);
    free(r->error);
    free(r->url);
    free(r->remote_ip);
    tls_fini(&r->tls);
    memset(r, 0, sizeof(*r));
}

void sm_fetch_res_header(sm_fetch_res *r, const char *name, size_t name_n, const char *value,
                         size_t n) {
    char *low = sm_memdup(name, name_n);
    for (size_t i = 0; i < name_n; i++)
        if (low[i] >= 'A' && low[i] <= 'Z')
            low[i] = (char)(low[i] + 32);
    sm_fetch_header *same = NULL;
    if (strcmp(low, "set-cookie") != 0)
        for (size_t i = 0; i < r->n_headers && !same; i++)
            if (strcmp(r->headers[i].name, low) == 0)
                same = &r->headers[i];
    if (!same) {
        add_header(&r->headers, &r->n_headers, low, value, n);
        return;
    }
    same->value = sm_realloc(same->value, same->n + 2 + n + 1);
    memcpy(same->value + same->n, ", ", 2);
    if (n > 0)
        memcpy(same->value + same->n + 2, value, n);
    same->n += 2 + n;
    same->value[same->n] = '\0';
    free(low);
}

const char *sm_fetch_res_get(const sm_fetch_res *r, const char *name) {
    for (size_t i = 0; i < r->n_headers; i++)
        if (strcmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    return NULL;
}

void sm_fetch_res_fail(sm_fetch_res *r, const char *code, const char *fmt, ...) {
    char text[SM_ERR_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    drop_answer(r);
    free(r->error);
    r->code = code;
    r->error = sm_utf8_repair(text, strlen(text), &(size_t){0}, NULL);
}
