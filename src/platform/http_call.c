/* http_call: one request of the daemon's HTTP client: its easy handle, what it receives, and the
 * sentence about how it ended.
 *
 * Sets every guard anew: no redirects, no environment, no netrc, TLS 1.2 with verification,
 * ceilings for headers and body. Credentials are put together here and wiped when the call is
 * freed; they never reach a sentence. Called by http.c on the loop's thread.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "platform/http_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum {
    HEADER_MAX = 64 << 10, /* bytes of all headers of an answer */
    VALUE_MAX = 2048,      /* of a header that is kept */
    URL_MAX = 16 << 10,
    LINE_MAX_BYTES = 16 << 10,
    CONNECT_TIMEOUT_MS = 10000,
    LOW_SPEED_S = 30,
    DNS_CACHE_S = 60,
    CONN_LIFETIME_S = 300, /* so that a moved address or renewed certificate is seen */
    CONN_IDLE_S = 30,
    CA_CACHE_S = 300
};

/* ---- receiving ----------------------------------------------------------------------------- */

static void keep_value(char **slot, const char *p, size_t n) {
    while (n > 0 && (*p == ' ' || *p == '\t'))
        p++, n--;
    while (n > 0 && (unsigned char)p[n - 1] <= 0x20)
        n--;
    free(*slot);
    *slot = sm_str_printable(p, n, VALUE_MAX);
}

static bool is_header(const char *p, size_t n, const char *name) {
    size_t len = strlen(name);
    return n > len && p[len] == ':' && strncasecmp(p, name, len) == 0;
}

static void forget_headers(sm_http_call *c) {
    char **slots[] = {&c->content_type, &c->retry_after, &c->date, &c->location};
    for (size_t i = 0; i < SM_ARRAY_LEN(slots); i++) {
        free(*slots[i]);
        *slots[i] = NULL;
    }
}

static size_t on_header(char *p, size_t size, size_t count, void *arg) {
    sm_http_call *c = arg;
    size_t n = size * count;
    c->header_bytes += n;
    if (c->header_bytes > HEADER_MAX) {
        snprintf(c->why, sizeof c->why, "the headers of the answer are longer than %d KiB",
                 HEADER_MAX >> 10);
        return 0;
    }
    if (n > 5 && strncasecmp(p, "HTTP/", 5) == 0)
        forget_headers(c); /* of a 1xx before it */
    else if (is_header(p, n, "content-type"))
        keep_value(&c->content_type, p + 13, n - 13);
    else if (is_header(p, n, "retry-after"))
        keep_value(&c->retry_after, p + 12, n - 12);
    else if (is_header(p, n, "date"))
        keep_value(&c->date, p + 5, n - 5);
    else if (is_header(p, n, "location"))
        keep_value(&c->location, p + 9, n - 9);
    return n;
}

/* Counts what libcurl has decompressed: its own limit looks at the wire only. */
static size_t on_body(char *p, size_t size, size_t count, void *arg) {
    sm_http_call *c = arg;
    size_t n = size * count;
    if (sm_buf_add(&c->answer, p, n) == SM_OK)
        return n;
    snprintf(c->why, sizeof c->why, "the answer is longer than %zu bytes", c->max_body);
    return 0;
}

/* Workers are started by exec: no socket may come along. */
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *a) {
    (void)arg;
    (void)purpose;
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* ---- setting up ---------------------------------------------------------------------------- */

static void refuse(sm_http_call *c, const char *why) {
    if (c->failure != SM_HTTP_ANSWERED)
        return;
    c->failure = SM_HTTP_OTHER;
    snprintf(c->why, sizeof c->why, "%s", why);
}

/* The setters fail only when memory is out or the build lacks the option; the call is not sent
 * then, rather than sent without a guard. */
static void set_long(sm_http_call *c, CURLoption o, long v) {
    if (curl_easy_setopt(c->easy, o, v) != CURLE_OK)
        refuse(c, "an option of libcurl could not be set");
}

static void set_text(sm_http_call *c, CURLoption o, const char *v) {
    if (curl_easy_setopt(c->easy, o, v) != CURLE_OK)
        refuse(c, "an option of libcurl could not be set");
}

static void set_guards(sm_http_call *c, double timeout_s) {
    long ms = timeout_s > 0 && timeout_s < 3600 ? (long)(timeout_s * 1000) : 10000;
    ms = ms < 1 ? 1 : ms;
    set_long(c, CURLOPT_NOSIGNAL, 1);
    set_long(c, CURLOPT_QUICK_EXIT, 1); /* else a dead resolver outlives every timeout */
    set_text(c, CURLOPT_PROTOCOLS_STR, "http,https");
    set_text(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    set_long(c, CURLOPT_FOLLOWLOCATION, 0);
    set_long(c, CURLOPT_DISALLOW_USERNAME_IN_URL, 1);
    set_long(c, CURLOPT_NETRC, CURL_NETRC_IGNORED);
    set_long(c, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    set_long(c, CURLOPT_HTTP09_ALLOWED, 0);
    set_text(c, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
    set_text(c, CURLOPT_USERAGENT, "selfmon-lua/" SM_VERSION);
    set_long(c, CURLOPT_TIMEOUT_MS, ms);
    set_long(c, CURLOPT_CONNECTTIMEOUT_MS, ms < CONNECT_TIMEOUT_MS ? ms : CONNECT_TIMEOUT_MS);
    set_long(c, CURLOPT_LOW_SPEED_LIMIT, 1);
    set_long(c, CURLOPT_LOW_SPEED_TIME, LOW_SPEED_S);
    set_long(c, CURLOPT_DNS_CACHE_TIMEOUT, DNS_CACHE_S);
    set_long(c, CURLOPT_MAXLIFETIME_CONN, CONN_LIFETIME_S);
    set_long(c, CURLOPT_MAXAGE_CONN, CONN_IDLE_S);
    set_long(c, CURLOPT_HEADEROPT, CURLHEADER_SEPARATE); /* ours are not for a proxy */
    set_long(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1);
    curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->detail);
    curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
    curl_easy_setopt(c->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
}

static void set_tls(sm_http_call *c, const char *ca) {
    set_long(c, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
    set_long(c, CURLOPT_SSL_VERIFYPEER, 1);
    set_long(c, CURLOPT_SSL_VERIFYHOST, 2);
    set_long(c, CURLOPT_PROXY_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
    set_long(c, CURLOPT_PROXY_SSL_VERIFYPEER, 1);
    set_long(c, CURLOPT_PROXY_SSL_VERIFYHOST, 2);
    set_long(c, CURLOPT_CA_CACHE_TIMEOUT, CA_CACHE_S);
    /* With a CAPATH the bundle is parsed anew for each connection; without one the multi keeps it.
     */
    set_text(c, CURLOPT_CAPATH, NULL);
    if (ca) {
        set_text(c, CURLOPT_CAINFO, ca);
        set_text(c, CURLOPT_PROXY_CAPATH, NULL);
        set_text(c, CURLOPT_PROXY_CAINFO, ca);
    }
}

static bool has_control(const char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] < 0x20 || (unsigned char)p[i] == 0x7f)
            return true;
    return false;
}

static void add_encoded(sm_buf *b, const sm_secret *s) {
    size_t n;
    const char *p = sm_secret_bytes(s, &n);
    for (size_t i = 0; i < n; i++) {
        unsigned char x = (unsigned char)p[i];
        bool plain = (x >= '0' && x <= '9') || (x >= 'A' && x <= 'Z') || (x >= 'a' && x <= 'z') ||
                     x == '-' || x == '_' || x == '.' || x == '~';
        if (plain)
            sm_buf_addc(b, (char)x);
        else
            sm_buf_addf(b, "%%%02X", x);
    }
}

static void wipe_buf(sm_buf *b) {
    if (b->data)
        explicit_bzero(b->data, b->cap);
    sm_buf_fini(b);
}

/* "https://host:port" of the URL; also the check that it is one. */
static void read_origin(sm_http_call *c, const char *url) {
    CURLU *u = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL;
    if (!u || has_control(url, strlen(url)) ||
        curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK) {
        c->origin = sm_strdup("the address");
        refuse(c, "it is not a URL that can be asked");
    } else {
        bool has_port = curl_url_get(u, CURLUPART_PORT, &port, 0) == CURLUE_OK;
        c->origin =
            sm_asprintf("%s://%s%s%s", scheme, host, has_port ? ":" : "", has_port ? port : "");
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
}

static void set_url(sm_http_call *c, const sm_http_request *r) {
    sm_buf url;
    read_origin(c, r->url);
    sm_buf_init(&url, URL_MAX);
    sm_buf_adds(&url, r->url);
    if (r->path_secret && r->path_encoded) {
        size_t n;
        const char *bytes = sm_secret_bytes(r->path_secret, &n);
        sm_buf_add(&url, bytes, n);
    } else if (r->path_secret) {
        add_encoded(&url, r->path_secret);
    }
    if (r->query_token) {
        sm_buf_adds(&url, strchr(r->url, '?') ? "&token=" : "?token=");
        add_encoded(&url, r->query_token);
    }
    if (url.failed)
        refuse(c, "its URL is too long");
    else
        set_text(c, CURLOPT_URL, url.data);
    wipe_buf(&url);
}

static void add_line(sm_http_call *c, const char *line) {
    if (has_control(line, strlen(line))) {
        refuse(c, "a header of the request holds a line break or another control byte");
        return;
    }
    struct curl_slist *l = curl_slist_append(c->lines, line);
    if (l)
        c->lines = l;
    else
        refuse(c, "memory ran out");
}

static void add_secret_line(sm_http_call *c, const char *name, const sm_secret *secret) {
    size_t n;
    const char *p = sm_secret_bytes(secret, &n);
    sm_buf line;
    if (n == 0 || has_control(p, n)) {
        refuse(c, "its credential is empty or holds a line break or another control byte");
        return;
    }
    sm_buf_init(&line, LINE_MAX_BYTES);
    sm_buf_addf(&line, "%s: ", name);
    sm_buf_add(&line, p, n);
    if (line.failed)
        refuse(c, "its credential is too long");
    else
        add_line(c, line.data);
    wipe_buf(&line);
}

static void set_headers(sm_http_call *c, const sm_http_request *r) {
    bool typed = false;
    for (const char *const *h = r->headers; h && *h; h++) {
        typed = typed || strncasecmp(*h, "content-type:", 13) == 0;
        add_line(c, *h);
    }
    if (r->secret_header && r->secret)
        add_secret_line(c, r->secret_header, r->secret);
    if (!typed)
        add_line(c, "Content-Type:"); /* curl would claim application/x-www-form-urlencoded */
    add_line(c, "Expect:");           /* many servers never answer 100-continue */
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->lines);
}

sm_http_call *sm_http_call_new(const sm_http_request *r, sm_http_done done, void *ctx) {
    sm_http_call *c = sm_calloc(1, sizeof *c);
    c->done = done;
    c->ctx = ctx;
    c->start_ns = sm_mono_ns();
    c->timeout_s = r->timeout_s;
    c->max_body = r->max_body > 0 ? r->max_body : 1 << 20;
    sm_buf_init(&c->answer, c->max_body);
    c->easy = curl_easy_init();
    if (!c->easy) {
        c->origin = sm_strdup("the address");
        refuse(c, "memory ran out");
        return c;
    }
    set_guards(c, r->timeout_s);
    set_tls(c, r->ca);
    c->proxied = r->proxy != NULL;
    set_text(c, CURLOPT_PROXY, r->proxy ? r->proxy : ""); /* NULL would ask the environment */
    set_text(c, CURLOPT_NOPROXY, "");
    set_url(c, r);
    if (strcmp(r->method, "POST") == 0) {
        c->body = sm_memdup(r->body ? r->body : "", r->body_n);
        c->body_n = r->body_n;
        /* Before POSTFIELDS, which is not copied. */
        curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body_n);
        set_text(c, CURLOPT_POSTFIELDS, c->body);
    } else if (strcmp(r->method, "GET") != 0) {
        refuse(c, "its method is neither GET nor POST");
    }
    set_headers(c, r);
    return c;
}

void sm_http_call_free(sm_http_call *c) {
    curl_easy_cleanup(c->easy);
    for (struct curl_slist *l = c->lines; l; l = l->next)
        explicit_bzero(l->data, strlen(l->data));
    curl_slist_free_all(c->lines);
    if (c->body)
        explicit_bzero(c->body, c->body_n);
    free(c->body);
    wipe_buf(&c->answer); /* an answer may carry the workspace's token */
    forget_headers(c);
    free(c->origin);
    free(c);
}

/* ---- the end ------------------------------------------------------------------------------- */

static void tell(sm_http_call *c, sm_http_failure failure, int status, const char *sentence) {
    char *error = NULL, *location = NULL;
    if (failure != SM_HTTP_ANSWERED) {
        char *whole = sm_asprintf("%s: %s", c->origin, sentence);
        char *clean = sm_str_printable(whole, strlen(whole), 480);
        error = sm_mask(clean, strlen(clean), &(size_t){0});
        free(whole);
        free(clean);
    }
    if (c->location) /* may repeat our own URL, token and all */
        location = sm_mask(c->location, strlen(c->location), &(size_t){0});
    sm_http_answer a = {.failure = failure,
                        .error = error ? error : "",
                        .status = status,
                        .content_type = c->content_type ? c->content_type : "",
                        .retry_after = c->retry_after ? c->retry_after : "",
                        .date = c->date ? c->date : "",
                        .location = location ? location : "",
                        .body = c->answer.data ? c->answer.data : "",
                        .body_n = c->answer.len,
                        .seconds = (double)(sm_mono_ns() - c->start_ns) / (double)SM_NS_PER_S};
    c->done(c->ctx, &a);
    free(error);
    free(location);
}

void sm_http_call_fail(sm_http_call *c, const char *sentence) {
    tell(c, SM_HTTP_OTHER, 0, c->failure != SM_HTTP_ANSWERED ? c->why : sentence);
}

static void failed_tls(sm_http_call *c, const char *words) {
    char text[400];
    /* curl's words of a failed verification begin with its own preamble; what follows is OpenSSL's.
     */
    const char *reason = strstr(words, "certificate problem: ");
    snprintf(text, sizeof text, "its TLS certificate could not be verified: %s",
             reason ? reason + strlen("certificate problem: ") : words);
    tell(c, SM_HTTP_TLS, 0, text);
}

static void failed(sm_http_call *c, CURLcode code) {
    const char *words = c->detail[0] ? c->detail : curl_easy_strerror(code);
    char text[400];
    long connect = 0;
    if (curl_easy_getinfo(c->easy, CURLINFO_HTTP_CONNECTCODE, &connect) == CURLE_OK &&
        connect >= 300) {
        snprintf(text, sizeof text, "the proxy did not connect to it: HTTP %ld%s", connect,
                 connect == 407 ? ", it wants credentials" : "");
        tell(c, SM_HTTP_CONNECT, 0, text);
        return;
    }
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        tell(c, SM_HTTP_DNS, 0, "its name could not be resolved");
        return;
    case CURLE_COULDNT_RESOLVE_PROXY:
        tell(c, SM_HTTP_DNS, 0, "the name of the proxy could not be resolved");
        return;
    case CURLE_COULDNT_CONNECT:
        snprintf(text, sizeof text, "no connection%s: %s", c->proxied ? " through the proxy" : "",
                 words);
        tell(c, SM_HTTP_CONNECT, 0, text);
        return;
    case CURLE_OPERATION_TIMEDOUT:
        snprintf(text, sizeof text, "no complete answer within %g s",
                 (double)(int64_t)(c->timeout_s * 1000) / 1000.0);
        tell(c, SM_HTTP_TIMEOUT, 0, text);
        return;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CERTPROBLEM:
        failed_tls(c, words);
        return;
    case CURLE_SSL_CACERT_BADFILE:
        snprintf(text, sizeof text, "the file of certificate authorities is unfit: %s", words);
        tell(c, SM_HTTP_TLS, 0, text);
        return;
    case CURLE_SSL_CONNECT_ERROR:
        snprintf(text, sizeof text, "no TLS connection (1.2 or newer): %s", words);
        tell(c, SM_HTTP_CONNECT, 0, text);
        return;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        snprintf(text, sizeof text, "the answer was cut short: %s", words);
        tell(c, SM_HTTP_OTHER, 0, text);
        return;
    default:
        tell(c, SM_HTTP_OTHER, 0, c->why[0] ? c->why : words);
    }
}

void sm_http_call_finish(sm_http_call *c, CURLcode code) {
    long status = 0;
    if (code != CURLE_OK) {
        failed(c, code);
        return;
    }
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    tell(c, SM_HTTP_ANSWERED, (int)status, "");
}
