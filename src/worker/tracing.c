/* tracing: see tracing.h. A line is, for example:
 *
 *   GET https://shop.example/x?token=*** 200 1234 bytes 0.123 s (dns 0.001 connect 0.010 tls 0.031
 *   first byte 0.120) from 192.0.2.1, 1 redirect to https://shop.example/y
 *
 * Values of a query whose names sound like secrets are masked; known secrets are, as in every line
 * of a run's log. Headers and bodies are not shown.
 */
#include "worker/tracing.h"
#include "base/buf.h"
#include "base/str.h"
#include <string.h>
#include <strings.h>

enum { TRACE_LINE_MAX = 4096 };

/* Does the name of a query's value sound like a secret? */
static bool is_secret(const char *name, size_t n) {
    static const char *const words[] = {"token", "key", "secret", "pass",      "pwd",
                                        "auth",  "sig", "sign",   "credential"};
    for (size_t i = 0; i < SM_ARRAY_LEN(words); i++) {
        size_t len = strlen(words[i]);
        for (size_t at = 0; at + len <= n; at++)
            if (strncasecmp(name + at, words[i], len) == 0)
                return true;
    }
    return false;
}

static void add_url(sm_buf *b, const char *url) {
    size_t path = strcspn(url, "?#");
    sm_buf_add(b, url, path);
    const char *p = url + path;
    while (*p && *p != '#') {
        sm_buf_addc(b, *p++); /* ? or & */
        size_t n = strcspn(p, "&#"), name = strcspn(p, "=&#");
        if (name < n && is_secret(p, name)) {
            sm_buf_add(b, p, name);
            sm_buf_adds(b, "=***");
        } else {
            sm_buf_add(b, p, n);
        }
        p += n;
    }
}

static void add_line(sm_buf *b, const sm_fetch_req *req, const sm_fetch_res *res) {
    sm_buf_addf(b, "%s ", req->method);
    add_url(b, req->url);
    if (res->code)
        sm_buf_addf(b, " failed after %.3f s: %s: %s", res->total, res->code, res->error);
    else
        sm_buf_addf(b,
                    " %d %zu bytes %.3f s (dns %.3f connect %.3f tls %.3f first byte %.3f) from %s",
                    res->status, res->body_n, res->total, res->dns, res->connect, res->handshake,
                    res->ttfb, res->remote_ip ? res->remote_ip : "?");
    if (res->redirects > 0) {
        sm_buf_addf(b, ", %d redirect%s to ", res->redirects, res->redirects == 1 ? "" : "s");
        add_url(b, res->url ? res->url : "?");
    }
}

void sm_tracing_http(sm_run *run, const sm_fetch_req *reqs, const sm_fetch_res *res, size_t n) {
    sm_buf line;
    sm_buf_init(&line, TRACE_LINE_MAX);
    for (size_t i = 0; i < n; i++) {
        size_t before = run->log.total;
        sm_buf_reset(&line);
        add_line(&line, &reqs[i], &res[i]);
        sm_runlog_add(&run->log, "trace", line.data ? line.data : "", line.len);
        run->log.total = before;
    }
    sm_buf_fini(&line);
}
