/* fetch: HTTP for scripts, without Lua: one engine per worker process, one thread of its own
 * (epoll + curl_multi_socket_action) whose connections, DNS and CA caches all runs share.
 *
 * It follows redirects itself by pure rules (sm_redirect_next), checks every address it connects to
 * against the policy (worker/netpolicy), and caps time, headers, body and decompression. It never
 * sends a credential to another origin, never uses a proxy, netrc, cookie or HSTS cache that the
 * request did not name.
 *
 * THREADS. sm_fetch_perform is called by a run's thread and blocks it; requests and results are the
 * caller's and are touched by the engine only until perform returns, also when the run is stopped.
 *
 * ERROR CODES of a result: dns connect timeout tls redirect denied too_large partial protocol
 * closed (the peer closed without a whole answer) cancelled.
 */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sm_run sm_run;
typedef struct sm_fetch sm_fetch;

enum {
    SM_FETCH_FOLLOW = 5,                /* hops by default */
    SM_FETCH_FOLLOW_MAX = 10,           /* hops at most */
    SM_FETCH_HEADER_MAX = 64 << 10,     /* bytes of one response's header block */
    SM_FETCH_RATIO_FREE = 1 << 20,      /* decompressed bytes before the ratio counts */
    SM_FETCH_RATIO = 100,               /* decompressed : received */
    SM_FETCH_BODY = 8 << 20,            /* body by default, decompressed */
    SM_FETCH_TIMEOUT = 10,              /* seconds by default */
    SM_FETCH_TIMEOUT_MAX = 3600,        /* seconds at most */
    SM_FETCH_URL_MAX = 8 << 10,         /* bytes of a URL */
    SM_FETCH_REQ_HEADERS_MAX = 64 << 10 /* bytes of a request's headers */
};

/* ---- a URL --------------------------------------------------------------------------------- */

typedef struct sm_fetch_url {
    char *url;    /* normalised, without fragment */
    char *host;   /* lower case, punycode, no brackets, numeric IPv4 as dotted */
    char *name;   /* for messages: host, with :port when it is not the scheme's */
    int port;     /* always filled in */
    bool https;   /* else http */
    bool literal; /* host is an IP address */
} sm_fetch_url;

/* Parses with curl_url(): http and https only, no userinfo, no control bytes, no empty host.
 * SM_INVALID: one sentence without the URL's userinfo, e.g. `has no scheme; write https://…`. */
sm_rc sm_fetch_url_parse(const char *url, size_t n, sm_fetch_url *out, sm_err *err);
void sm_fetch_url_fini(sm_fetch_url *u);

/* ---- a request ----------------------------------------------------------------------------- */

typedef struct sm_fetch_header {
    char *name;  /* request: as written; response: lower case */
    char *value; /* NUL-terminated; without CR, LF and other control bytes but tab */
    size_t n;    /* bytes of value */
} sm_fetch_header;

typedef enum sm_fetch_auth { SM_AUTH_NONE, SM_AUTH_BASIC, SM_AUTH_BEARER } sm_fetch_auth;

/* Every string is owned (malloc) and may be NULL unless said otherwise; sm_fetch_req_fini wipes
 * what may be secret. */
typedef struct sm_fetch_req {
    char *method;             /* "GET", upper case; never NULL after sm_fetch_req_init */
    char *url;                /* absolute http(s) URL; required */
    sm_fetch_header *headers; /* the script's own */
    size_t n_headers;
    char *content_type; /* of body, set by the host for `json` and `form` */
    char *body;         /* body_n bytes; NULL: none */
    size_t body_n;
    bool body_secret; /* body holds a secret: never sent to another origin */
    double timeout_s; /* of the whole request, redirects included */
    int follow;       /* redirect hops allowed; 0: a 3xx is the answer */
    int hops;         /* hops made so far (sm_redirect_next counts) */
    bool verify;      /* TLS: chain and name */
    char *ca;         /* PEM instead of the system's bundle */
    char *cert, *key; /* PEM of a client certificate and its key */
    char *proxy;      /* URL; NULL: none, whatever the environment says */
    size_t max_body;  /* bytes, decompressed */
    sm_fetch_auth auth;
    char *user, *pass; /* basic; or bearer: pass is the token */
    const json_t *net; /* address policy (worker/netpolicy.h), borrowed; NULL: the default */
} sm_fetch_req;

/* GET with the defaults above. */
void sm_fetch_req_init(sm_fetch_req *r);
void sm_fetch_req_fini(sm_fetch_req *r);
/* Appends a header (copied). The caller has checked it with sm_fetch_header_ok. */
void sm_fetch_req_header(sm_fetch_req *r, const char *name, const char *value, size_t n);
/* The rule for methods and header names (RFC 9110 token). */
bool sm_fetch_token_ok(const char *p, size_t n);
/* SM_INVALID for a name that is no token or is the host's own (Host, Content-Length,
 * Transfer-Encoding, Connection), or a value with control bytes. Never quotes the value. */
sm_rc sm_fetch_header_ok(const char *name, size_t name_n, const char *value, size_t n, sm_err *err);

/* ---- a result ------------------------------------------------------------------------------ */

typedef struct sm_fetch_tls {
    bool present;           /* the peer showed a certificate (also when it failed verification) */
    bool verified;          /* chain and name were checked and are good */
    char *subject, *issuer; /* RFC 2253 text, UTF-8 */
    int64_t not_before, not_after; /* Unix seconds */
    double days_left;              /* negative when expired */
    char **san;                    /* names and addresses, without type */
    size_t n_san;
} sm_fetch_tls;

typedef struct sm_fetch_res {
    /* A result is an answer (code NULL, status set) or an error (code and error set). */
    const char *code; /* static, one of the list above */
    char *error;      /* one sentence that names the URL's host; owned */
    bool raise;       /* the binding raises `error` at the script's line instead of returning it
                         (selfmon.testing: a call that has no fake route) */
    int status;
    sm_fetch_header *headers; /* names lower case, repeated ones joined with ", ", but each
                                 set-cookie an entry of its own */
    size_t n_headers;
    char *body; /* body_n bytes and a NUL; NULL when empty */
    size_t body_n;
    char *url;                /* the last one asked */
    char *remote_ip;          /* of the connection; NULL if there was none */
    const char *http_version; /* static: "1.0" "1.1" "2" */
    int redirects;            /* hops followed */
    /* Seconds. dns, connect and tls are the lengths of these phases of the last hop (0 on a reused
     * connection); ttfb and total count from the start of the first. */
    double dns, connect, handshake, ttfb, total;
    sm_fetch_tls tls;
} sm_fetch_res;

void sm_fetch_res_init(sm_fetch_res *r);
void sm_fetch_res_fini(sm_fetch_res *r);
/* Adds one response header by the joining rule above (name in any case; both copied). */
void sm_fetch_res_header(sm_fetch_res *r, const char *name, size_t name_n, const char *value,
                         size_t n);
/* Borrowed value of a header (lower-case name), or NULL. */
const char *sm_fetch_res_get(const sm_fetch_res *r, const char *name);
/* Turns r into an error, dropping what an answer had but url, timings and tls. code is static. */
void sm_fetch_res_fail(sm_fetch_res *r, const char *code, const char *fmt, ...) SM_PRINTF(3, 4);

/* ---- redirects (pure) ---------------------------------------------------------------------- */

typedef enum sm_redirect {
    SM_REDIRECT_NONE,   /* res is the answer */
    SM_REDIRECT_FOLLOW, /* *next is the next request (the caller's to fini) */
    SM_REDIRECT_REFUSED /* err says why; the result becomes an error with code "redirect" */
} sm_redirect;

/* What to do with an answer: 301 302 303 307 308 with Location are followed when req->follow > 0.
 * POST becomes GET on 301 and 302, everything but HEAD on 303; 307 and 308 keep method and body.
 * When scheme, host or port changes, all script headers, auth, the client certificate and a
 * switched-off verification are dropped. Refused: too many hops, https to http, other schemes, a
 * URL we would not accept from the script, a secret body to another origin. */
sm_redirect sm_redirect_next(const sm_fetch_req *req, const sm_fetch_res *res, sm_fetch_req *next,
                             sm_err *err);

/* ---- the engine ---------------------------------------------------------------------------- */

/* Starts the thread. NULL with err. One per process, started after fork/exec and sandboxing. */
sm_fetch *sm_fetch_start(sm_err *err);
/* Cancels what is under way and joins the thread. NULL is fine. */
void sm_fetch_stop(sm_fetch *f);
/* For sm_run_host.fetch, with the engine as ctx: performs n requests, at most
 * run->limits.http_parallel at once, each within its timeout and the run's deadline; fills res[i]
 * (initialised by the caller with sm_fetch_res_init). Returns when all ended, or soon after the run
 * was stopped (the rest have code "cancelled"). All bodies together stay below
 * run->limits.memory. */
void sm_fetch_perform(void *engine, sm_run *run, const sm_fetch_req *reqs, sm_fetch_res *res,
                      size_t n);
