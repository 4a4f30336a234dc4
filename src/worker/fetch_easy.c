/* fetch_easy: prepares a pooled easy handle for one hop and receives its answer.
 *
 * Every option that could carry something from one request to the next is reset and set anew; what
 * the environment says (proxies, netrc) is never looked at. The callbacks enforce the caps and the
 * address policy; they only note why and stop the transfer. Runs in the engine's thread.
 */
#include "worker/fetch_internal.h"
#include "base/clock.h"
#include "base/mem.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum {
    CONNECT_TIMEOUT_MS = 30000,
    LOW_SPEED_S = 30,      /* less than 1 B/s for so long is a hang */
    DNS_CACHE_S = 300,     /* longer than the usual period of an inspection */
    CONN_LIFETIME_S = 300, /* so that a renewed certificate or moved address is seen */
    CONN_IDLE_S = 90,
    RECEIVE_BUFFER = 16 << 10 /* curl may hold one before it counts it */
};

void sm_transfer_refuse(sm_transfer *t, const char *code, const char *fmt, ...) {
    if (t->why_code)
        return;
    t->why_code = code;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(t->why, sizeof(t->why), fmt, ap);
    va_end(ap);
}

/* ---- callbacks ----------------------------------------------------------------------------- */

static void add_header_line(sm_transfer *t, const char *p, size_t n) {
    sm_fetch_res *r = t->res;
    if ((p[0] == ' ' || p[0] == '\t') && r->n_headers > 0)
        return; /* an obsolete fold: RFC 9110 lets a client drop it */
    const char *colon = memchr(p, ':', n);
    if (!colon || colon == p)
        return;
    const char *value = colon + 1, *end = p + n;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ' || end[-1] == '\t'))
        end--;
    sm_fetch_res_header(r, p, (size_t)(colon - p), value, (size_t)(end - value));
}

static void drop_headers(sm_fetch_res *r) {
    for (size_t i = 0; i < r->n_headers; i++) {
        free(r->headers[i].name);
        free(r->headers[i].value);
    }
    r->n_headers = 0;
}

static size_t on_header(char *p, size_t size, size_t count, void *arg) {
    sm_transfer *t = arg;
    size_t n = size * count;
    t->header_bytes += n;
    if (t->header_bytes > SM_FETCH_HEADER_MAX) {
        sm_transfer_refuse(t, "too_large", "its headers are longer than %d KiB",
                           (int)SM_FETCH_HEADER_MAX >> 10);
        return 0;
    }
    if (t->headers_done)
        return n;
    if (n > 9 && strncasecmp(p, "HTTP/", 5) == 0) {
        const char *blank = memchr(p, ' ', n); /* p is not NUL-terminated */
        char digits[4] = "";
        if (blank && (size_t)(p + n - blank) > 4)
            memcpy(digits, blank + 1, 3);
        t->status = (int)strtol(digits, NULL, 10);
        drop_headers(t->res); /* of a 1xx before it */
        if (t->url.https)
            sm_fetch_tls_peer(t);
    } else if (n <= 2 && (p[0] == '\r' || p[0] == '\n')) {
        t->headers_done = t->status >= 200 || t->status == 101;
    } else {
        add_header_line(t, p, n);
    }
    return n;
}

static size_t on_body(char *p, size_t size, size_t count, void *arg) {
    sm_transfer *t = arg;
    size_t n = size * count, total = t->body.len + n;
    if (total > t->req->max_body) {
        sm_transfer_refuse(t, "too_large", "its body is longer than %zu bytes (max_body)",
                           t->req->max_body);
        return 0;
    }
    if (n > *t->budget) {
        sm_transfer_refuse(t, "too_large", "all answers together are longer than the run's memory");
        return 0;
    }
    if (total > SM_FETCH_RATIO_FREE) {
        curl_off_t got = 0;
        (void)curl_easy_getinfo(t->easy, CURLINFO_SIZE_DOWNLOAD_T, &got);
        if (total / SM_FETCH_RATIO > (size_t)got + RECEIVE_BUFFER) {
            sm_transfer_refuse(t, "too_large",
                               "its body grows more than %d times when decompressed",
                               (int)SM_FETCH_RATIO);
            return 0;
        }
    }
    *t->budget -= n;
    (void)sm_buf_add(&t->body, p, n); /* cannot fail: total is below its ceiling */
    return n;
}

static bool address_ok(sm_transfer *t, const struct sockaddr *sa) {
    sm_err why = SM_ERR_INIT;
    if (sm_netpolicy_addr(t->policy, t->url.host, t->url.port, sa, &why) == SM_OK)
        return true;
    sm_transfer_refuse(t, "denied", "%s", why.msg);
    return false;
}

/* Before connecting: the address that the name really gave. */
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address) {
    sm_transfer *t = arg;
    if (purpose != CURLSOCKTYPE_IPCXN || !address_ok(t, &address->addr))
        return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Before sending: a reused connection opened no socket for this request. */
static int on_request(void *arg, char *remote, char *local, int remote_port, int local_port) {
    (void)local;
    (void)remote_port;
    (void)local_port;
    sm_transfer *t = arg;
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    const struct sockaddr *sa = NULL;
    if (inet_pton(AF_INET, remote, &in.sin_addr) == 1)
        sa = (const struct sockaddr *)&in;
    else if (inet_pton(AF_INET6, remote, &in6.sin6_addr) == 1)
        sa = (const struct sockaddr *)&in6;
    if (!sa) {
        sm_transfer_refuse(t, "denied", "the address of the connection is unknown");
        return CURL_PREREQFUNC_ABORT;
    }
    if (!address_ok(t, sa))
        return CURL_PREREQFUNC_ABORT;
    /* One of several addresses may have been refused before another was connected to. */
    t->why_code = NULL;
    t->asked = true;
    return CURL_PREREQFUNC_OK;
}

/* ---- options ------------------------------------------------------------------------------- */

/* The setters below fail only when memory is out or the build lacks the option; both end the
 * transfer as an internal error rather than go on without a guard. */
static void set_long(CURL *e, CURLoption o, long v, CURLcode *rc) {
    if (*rc == CURLE_OK)
        *rc = curl_easy_setopt(e, o, v);
}

static void set_text(CURL *e, CURLoption o, const char *v, CURLcode *rc) {
    if (*rc == CURLE_OK)
        *rc = curl_easy_setopt(e, o, v);
}

static void set_ptr(CURL *e, CURLoption o, void *v, CURLcode *rc) {
    if (*rc == CURLE_OK)
        *rc = curl_easy_setopt(e, o, v);
}

static void set_blob(CURL *e, CURLoption o, const char *pem, CURLcode *rc) {
    /* curl only reads with NOCOPY; the request outlives the transfer. */
    struct curl_blob blob = {(void *)(uintptr_t)pem, strlen(pem), CURL_BLOB_NOCOPY};
    if (*rc == CURLE_OK)
        *rc = curl_easy_setopt(e, o, &blob);
}

static void set_guards(sm_transfer *t, CURLcode *rc) {
    CURL *e = t->easy;
    set_ptr(e, CURLOPT_ERRORBUFFER, t->detail, rc);
    set_ptr(e, CURLOPT_PRIVATE, t, rc);
    set_long(e, CURLOPT_NOSIGNAL, 1, rc);
    set_long(e, CURLOPT_QUICK_EXIT, 1, rc); /* else a dead resolver outlives every timeout */
    set_text(e, CURLOPT_PROTOCOLS_STR, "http,https", rc);
    set_text(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https", rc);
    set_long(e, CURLOPT_FOLLOWLOCATION, 0, rc);
    set_long(e, CURLOPT_DISALLOW_USERNAME_IN_URL, 1, rc);
    set_long(e, CURLOPT_NETRC, CURL_NETRC_IGNORED, rc);
    set_long(e, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1, rc);
    set_long(e, CURLOPT_HTTP09_ALLOWED, 0, rc);
    set_text(e, CURLOPT_ACCEPT_ENCODING, "gzip, deflate", rc);
    set_text(e, CURLOPT_USERAGENT, "selfmon-lua/" SM_VERSION, rc);
    set_long(e, CURLOPT_LOW_SPEED_LIMIT, 1, rc);
    set_long(e, CURLOPT_LOW_SPEED_TIME, LOW_SPEED_S, rc);
    set_long(e, CURLOPT_DNS_CACHE_TIMEOUT, DNS_CACHE_S, rc);
    set_long(e, CURLOPT_MAXLIFETIME_CONN, CONN_LIFETIME_S, rc);
    set_long(e, CURLOPT_MAXAGE_CONN, CONN_IDLE_S, rc);
    set_long(e, CURLOPT_HEADEROPT, CURLHEADER_SEPARATE, rc); /* ours are not for a proxy */
    set_long(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1, rc);
    if (*rc != CURLE_OK)
        return;
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, t);
    curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_request);
    curl_easy_setopt(e, CURLOPT_PREREQDATA, t);
}

static void set_tls(sm_transfer *t, CURLcode *rc) {
    CURL *e = t->easy;
    const sm_fetch_req *r = t->req;
    const char *bundle = getenv("SSL_CERT_FILE"); /* libcurl leaves that to its callers */
    set_long(e, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2, rc);
    set_long(e, CURLOPT_SSL_VERIFYPEER, r->verify ? 1 : 0, rc);
    set_long(e, CURLOPT_SSL_VERIFYHOST, r->verify ? 2 : 0, rc);
    /* A resumed session would show the certificate of the day before. */
    set_long(e, CURLOPT_SSL_SESSIONID_CACHE, 0, rc);
    /* With a CAPATH the bundle is parsed anew for each connection (19 ms); without one the multi
     * keeps the parsed store. A CA of the request's own goes by blob and leaves that store alone.
     */
    set_text(e, CURLOPT_CAPATH, NULL, rc);
    if (r->ca) {
        set_text(e, CURLOPT_CAINFO, NULL, rc);
        set_blob(e, CURLOPT_CAINFO_BLOB, r->ca, rc);
    } else if (bundle && *bundle) {
        set_text(e, CURLOPT_CAINFO, bundle, rc);
    }
    if (r->cert)
        set_blob(e, CURLOPT_SSLCERT_BLOB, r->cert, rc);
    if (r->cert && r->key)
        set_blob(e, CURLOPT_SSLKEY_BLOB, r->key, rc);
    if (*rc == CURLE_OK)
        *rc = curl_easy_setopt(e, CURLOPT_SSL_CTX_FUNCTION, sm_fetch_tls_setup);
    set_ptr(e, CURLOPT_SSL_CTX_DATA, t, rc);
}

static void set_proxy_and_auth(sm_transfer *t, CURLcode *rc) {
    CURL *e = t->easy;
    const sm_fetch_req *r = t->req;
    set_text(e, CURLOPT_PROXY, r->proxy ? r->proxy : "", rc); /* NULL would ask the environment */
    set_text(e, CURLOPT_NOPROXY, "", rc);
    if (r->auth == SM_AUTH_BASIC) {
        set_long(e, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC, rc);
        set_text(e, CURLOPT_USERNAME, r->user, rc);
        set_text(e, CURLOPT_PASSWORD, r->pass, rc);
    } else if (r->auth == SM_AUTH_BEARER) {
        set_long(e, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER, rc);
        set_text(e, CURLOPT_XOAUTH2_BEARER, r->pass, rc);
    }
}

static void set_method(sm_transfer *t, CURLcode *rc) {
    CURL *e = t->easy;
    const sm_fetch_req *r = t->req;
    bool wants_length = strcmp(r->method, "POST") == 0 || strcmp(r->method, "PUT") == 0 ||
                        strcmp(r->method, "PATCH") == 0;
    if (strcmp(r->method, "HEAD") == 0) {
        set_long(e, CURLOPT_NOBODY, 1, rc);
    } else if (r->body || wants_length) {
        if (*rc == CURLE_OK) /* before POSTFIELDS, which is not copied: the request outlives it */
            *rc = curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_n);
        set_ptr(e, CURLOPT_POSTFIELDS, (void *)(uintptr_t)(r->body ? r->body : ""), rc);
        set_text(e, CURLOPT_CUSTOMREQUEST, r->method, rc);
    } else if (strcmp(r->method, "GET") != 0) {
        set_text(e, CURLOPT_CUSTOMREQUEST, r->method, rc);
    }
}

static void add_line(sm_transfer *t, const char *line, CURLcode *rc) {
    struct curl_slist *l = curl_slist_append(t->lines, line);
    if (l)
        t->lines = l;
    else
        *rc = CURLE_OUT_OF_MEMORY;
}

static void set_headers(sm_transfer *t, CURLcode *rc) {
    const sm_fetch_req *r = t->req;
    bool typed = false;
    sm_buf line;
    sm_buf_init(&line, SM_FETCH_REQ_HEADERS_MAX + SM_FETCH_URL_MAX);
    for (size_t i = 0; i < r->n_headers; i++) {
        const sm_fetch_header *h = &r->headers[i];
        typed = typed || strcasecmp(h->name, "content-type") == 0;
        sm_buf_reset(&line);
        sm_buf_adds(&line, h->name);
        if (h->n > 0) {
            sm_buf_adds(&line, ": ");
            sm_buf_add(&line, h->value, h->n);
        } else {
            sm_buf_addc(&line, ';'); /* curl's spelling of a header without value */
        }
        if (line.failed)
            *rc = CURLE_OUT_OF_MEMORY;
        else
            add_line(t, line.data, rc);
    }
    if (line.data)
        explicit_bzero(line.data, line.cap);
    if (!typed) { /* curl would claim application/x-www-form-urlencoded */
        sm_buf_reset(&line);
        sm_buf_addf(&line, "Content-Type:%s%s", r->content_type ? " " : "",
                    r->content_type ? r->content_type : "");
        add_line(t, line.data, rc);
    }
    add_line(t, "Expect:", rc); /* many servers never answer 100-continue */
    sm_buf_fini(&line);
    set_ptr(t->easy, CURLOPT_HTTPHEADER, t->lines, rc);
}

static bool may_start(sm_transfer *t) {
    sm_err why = SM_ERR_INIT;
    if (sm_fetch_url_parse(t->req->url, strlen(t->req->url), &t->url, &why) != SM_OK) {
        sm_fetch_res_fail(t->res, "protocol", "the URL %s", why.msg);
        return false;
    }
    if (!t->policy && sm_netpolicy_new(t->req->net, &t->policy, &why) != SM_OK) {
        sm_fetch_res_fail(t->res, "denied", "%s: %s", t->url.name, why.msg);
        return false;
    }
    if (t->req->proxy && sm_netpolicy_narrowed(t->policy)) {
        sm_fetch_res_fail(t->res, "denied",
                          "%s: a proxy cannot be used while net in the configuration narrows what "
                          "scripts may reach",
                          t->url.name);
        return false;
    }
    if (sm_netpolicy_host(t->policy, t->url.host, t->url.port, &why) != SM_OK) {
        sm_fetch_res_fail(t->res, "denied", "%s: %s", t->url.name, why.msg);
        return false;
    }
    return true;
}

void sm_transfer_clean(sm_transfer *t) {
    curl_easy_reset(t->easy); /* drops the certificate and every pointer into the request */
    for (struct curl_slist *l = t->lines; l; l = l->next)
        explicit_bzero(l->data, strlen(l->data));
    curl_slist_free_all(t->lines);
    t->lines = NULL;
    sm_fetch_url_fini(&t->url);
    sm_buf_fini(&t->body);
}

bool sm_transfer_prepare(sm_transfer *t, int64_t now_ns) {
    sm_transfer_clean(t);
    drop_headers(t->res);
    sm_buf_init(&t->body, t->req->max_body);
    t->detail[0] = '\0';
    t->header_bytes = 0;
    t->status = 0;
    t->headers_done = false;
    t->asked = false;
    t->why_code = NULL;
    t->verify_error = X509_V_OK;
    t->hop_ns = now_ns;
    if (!may_start(t))
        return false;

    int64_t left_ms = (t->deadline_ns - now_ns) / SM_NS_PER_MS;
    if (left_ms <= 0) {
        sm_fetch_res_fail(t->res, "timeout", "%s: no time was left to ask", t->url.name);
        return false;
    }
    CURLcode rc = CURLE_OK;
    set_guards(t, &rc);
    set_tls(t, &rc);
    set_proxy_and_auth(t, &rc);
    set_text(t->easy, CURLOPT_URL, t->url.url, &rc);
    set_method(t, &rc);
    set_headers(t, &rc);
    set_long(t->easy, CURLOPT_TIMEOUT_MS, (long)left_ms, &rc);
    set_long(t->easy, CURLOPT_CONNECTTIMEOUT_MS,
             (long)(left_ms < CONNECT_TIMEOUT_MS ? left_ms : CONNECT_TIMEOUT_MS), &rc);
    if (rc != CURLE_OK) {
        sm_fetch_res_fail(t->res, "protocol", "%s: the request cannot be set up: %s", t->url.name,
                          curl_easy_strerror(rc));
        return false;
    }
    return true;
}
