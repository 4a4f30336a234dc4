/* fetch_redirect and the URL parser: what the next request is, and what no redirect may do. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/mem.h"
#include "worker/fetch.h"
#include <stdlib.h>
#include <string.h>

static void set(char **slot, const char *v) {
    free(*slot);
    *slot = v ? sm_strdup(v) : NULL;
}

static sm_fetch_req request(const char *method, const char *url, const char *body) {
    sm_fetch_req r;
    sm_fetch_req_init(&r);
    set(&r.method, method);
    set(&r.url, url);
    if (body) {
        set(&r.body, body);
        r.body_n = strlen(body);
        set(&r.content_type, "application/json");
    }
    sm_fetch_req_header(&r, "X-Token", "t0ken", 5);
    sm_fetch_req_header(&r, "Content-Language", "de", 2);
    r.auth = SM_AUTH_BASIC;
    set(&r.user, "u");
    set(&r.pass, "p");
    set(&r.cert, "C");
    set(&r.key, "K");
    set(&r.ca, "CA");
    r.verify = false;
    return r;
}

static sm_fetch_res answer(int status, const char *location) {
    sm_fetch_res r;
    sm_fetch_res_init(&r);
    r.status = status;
    if (location)
        sm_fetch_res_header(&r, "Location", 8, location, strlen(location));
    return r;
}

#define S "https://shop.example"
static const struct {
    const char *name, *method, *url;
    int status;
    const char *location;
    sm_redirect verdict;
    const char *next_method, *next_url; /* or part of the refusal */
    bool same;                          /* origin: credentials stay */
} rows[] = {
    {"200 is none", "GET", S "/", 200, "/x", SM_REDIRECT_NONE, NULL, NULL, false},
    {"no location is none", "GET", S "/", 302, NULL, SM_REDIRECT_NONE, NULL, NULL, false},
    {"304 is none", "GET", S "/", 304, "/x", SM_REDIRECT_NONE, NULL, NULL, false},
    {"300 is none", "GET", S "/", 300, "/x", SM_REDIRECT_NONE, NULL, NULL, false},
    {"305 is none", "GET", S "/", 305, "/x", SM_REDIRECT_NONE, NULL, NULL, false},
    {"301 GET", "GET", S "/a/b", 301, "/x", SM_REDIRECT_FOLLOW, "GET", S "/x", true},
    {"relative", "GET", S "/a/b", 302, "c?d=1", SM_REDIRECT_FOLLOW, "GET", S "/a/c?d=1", true},
    {"query only", "GET", S "/a/b?x", 302, "?y", SM_REDIRECT_FOLLOW, "GET", S "/a/b?y", true},
    {"fragment is dropped", "GET", S "/", 302, "/x#y", SM_REDIRECT_FOLLOW, "GET", S "/x", true},
    {"absolute", "GET", S "/", 308, S "/z", SM_REDIRECT_FOLLOW, "GET", S "/z", true},
    {"default port written out", "GET", S "/", 302, S ":443/z", SM_REDIRECT_FOLLOW, "GET",
     S ":443/z", true},
    {"host in capitals", "GET", S "/", 302, "https://SHOP.example/z", SM_REDIRECT_FOLLOW, "GET",
     "/z", true},
    {"301 POST becomes GET", "POST", S "/", 301, "/x", SM_REDIRECT_FOLLOW, "GET", S "/x", true},
    {"302 POST becomes GET", "POST", S "/", 302, "/x", SM_REDIRECT_FOLLOW, "GET", S "/x", true},
    {"302 PUT stays", "PUT", S "/", 302, "/x", SM_REDIRECT_FOLLOW, "PUT", S "/x", true},
    {"303 PUT becomes GET", "PUT", S "/", 303, "/x", SM_REDIRECT_FOLLOW, "GET", S "/x", true},
    {"303 HEAD stays", "HEAD", S "/", 303, "/x", SM_REDIRECT_FOLLOW, "HEAD", S "/x", true},
    {"307 POST stays", "POST", S "/", 307, "/x", SM_REDIRECT_FOLLOW, "POST", S "/x", true},
    {"308 POST stays", "POST", S "/", 308, "/x", SM_REDIRECT_FOLLOW, "POST", S "/x", true},
    {"other host", "GET", S "/", 302, "https://evil.example/", SM_REDIRECT_FOLLOW, "GET",
     "https://evil.example/", false},
    {"other host, no scheme", "GET", S "/", 302, "//evil.example/", SM_REDIRECT_FOLLOW, "GET",
     "https://evil.example/", false},
    {"subdomain is another host", "GET", S "/", 302, "https://a.shop.example/", SM_REDIRECT_FOLLOW,
     "GET", "a.shop", false},
    {"other port", "GET", S "/", 302, S ":8443/", SM_REDIRECT_FOLLOW, "GET", S ":8443/", false},
    {"http to https", "GET", "http://shop.example/", 302, S "/", SM_REDIRECT_FOLLOW, "GET", S "/",
     false},
    {"307 POST to another host keeps its body", "POST", S "/", 307, "https://b.example/",
     SM_REDIRECT_FOLLOW, "POST", "https://b.example/", false},
    {"https to http", "GET", S "/", 302, "http://shop.example/", SM_REDIRECT_REFUSED, NULL,
     "https to http", false},
    {"ftp", "GET", S "/", 302, "ftp://shop.example/", SM_REDIRECT_REFUSED, NULL,
     "only http and https", false},
    {"file", "GET", S "/", 302, "file:///etc/passwd", SM_REDIRECT_REFUSED, NULL, "refused", false},
    {"javascript", "GET", S "/", 302, "javascript:alert(1)", SM_REDIRECT_REFUSED, NULL, "not a URL",
     false},
    {"userinfo", "GET", S "/", 302, "https://u:p@shop.example/", SM_REDIRECT_REFUSED, NULL,
     "user or password", false},
    {"control byte", "GET", S "/", 302,
     "/a\x01"
     "b",
     SM_REDIRECT_REFUSED, NULL, "not a URL", false},
    {"bad port", "GET", S "/", 302, "https://shop.example:99999/", SM_REDIRECT_REFUSED, NULL,
     "not a URL", false},
    {"no host", "GET", S "/", 302, "https://", SM_REDIRECT_REFUSED, NULL, "not a URL", false},
};

static void test_rules(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        const char *name = rows[i].name, *body = rows[i].method[0] == 'P' ? "{}" : NULL;
        sm_fetch_req req = request(rows[i].method, rows[i].url, body), next;
        sm_fetch_res res = answer(rows[i].status, rows[i].location);
        sm_err err = SM_ERR_INIT;
        sm_redirect v = sm_redirect_next(&req, &res, &next, &err);
        if (v != rows[i].verdict)
            fail_msg("%s: verdict %d, \"%s\"", name, (int)v, err.msg);
        if (v == SM_REDIRECT_REFUSED && !strstr(err.msg, rows[i].next_url))
            fail_msg("%s: \"%s\"", name, err.msg);
        if (v == SM_REDIRECT_FOLLOW) {
            bool keeps = strcmp(rows[i].method, rows[i].next_method) == 0;
            if (strcmp(next.method, rows[i].next_method) != 0)
                fail_msg("%s: method %s", name, next.method);
            if (!strstr(next.url, rows[i].next_url) || strchr(next.url, '#'))
                fail_msg("%s: url %s", name, next.url);
            if (next.n_headers != (!rows[i].same ? 0u : keeps ? 2u : 1u))
                fail_msg("%s: %zu headers", name, next.n_headers);
            if ((next.auth != SM_AUTH_NONE) != rows[i].same || !next.pass == rows[i].same)
                fail_msg("%s: auth", name);
            if (!next.cert == rows[i].same || !next.key == rows[i].same)
                fail_msg("%s: client certificate", name);
            if (next.verify == rows[i].same)
                fail_msg("%s: verification", name);
            if ((next.body != NULL) != (body && keeps) ||
                (next.content_type != NULL) != (body && keeps))
                fail_msg("%s: body", name);
            if (next.hops != 1 || next.follow != req.follow || strcmp(next.ca, "CA") != 0)
                fail_msg("%s: hops, follow or ca", name);
            sm_fetch_req_fini(&next);
        }
        sm_fetch_req_fini(&req);
        sm_fetch_res_fini(&res);
    }
}

static void test_counts(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int follow, hops;
        sm_redirect verdict;
    } cases[] = {
        {"off", 0, 0, SM_REDIRECT_NONE},
        {"first of one", 1, 0, SM_REDIRECT_FOLLOW},
        {"second of one", 1, 1, SM_REDIRECT_REFUSED},
        {"fifth of five", 5, 4, SM_REDIRECT_FOLLOW},
        {"sixth of five", 5, 5, SM_REDIRECT_REFUSED},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(cases); i++) {
        sm_fetch_req req = request("GET", S "/", NULL), next;
        sm_fetch_res res = answer(302, "/x");
        sm_err err = SM_ERR_INIT;
        req.follow = cases[i].follow;
        req.hops = cases[i].hops;
        sm_redirect v = sm_redirect_next(&req, &res, &next, &err);
        if (v != cases[i].verdict)
            fail_msg("%s: %d %s", cases[i].name, (int)v, err.msg);
        if (v == SM_REDIRECT_FOLLOW)
            sm_fetch_req_fini(&next);
        sm_fetch_req_fini(&req);
        sm_fetch_res_fini(&res);
    }
}

static void test_secret_body(void **state) {
    (void)state;
    sm_fetch_req req = request("POST", S "/", "s3cret"), next;
    sm_fetch_res res = answer(307, "https://other.example/");
    sm_err err = SM_ERR_INIT;
    req.body_secret = true;
    assert_int_equal(sm_redirect_next(&req, &res, &next, &err), SM_REDIRECT_REFUSED);
    assert_non_null(strstr(err.msg, "secret body"));
    res.status = 302; /* becomes a GET: nothing secret is left to send */
    assert_int_equal(sm_redirect_next(&req, &res, &next, &err), SM_REDIRECT_FOLLOW);
    assert_null(next.body);
    sm_fetch_req_fini(&next);
    sm_fetch_req_fini(&req);
    sm_fetch_res_fini(&res);
}

static void test_error_is_not_followed(void **state) {
    (void)state;
    sm_fetch_req req = request("GET", S "/", NULL), next;
    sm_fetch_res res = answer(302, "/x");
    sm_fetch_res_fail(&res, "timeout", "late");
    assert_int_equal(sm_redirect_next(&req, &res, &next, NULL), SM_REDIRECT_NONE);
    sm_fetch_req_fini(&req);
    sm_fetch_res_fini(&res);
}

static const struct {
    const char *name, *url;
    const char *host, *shown; /* NULL: refused, and shown is part of why */
    int port;
    bool literal;
} urls[] = {
    {"plain", "http://shop.example", "shop.example", "shop.example", 80, false},
    {"https", "https://shop.example/a?b#c", "shop.example", "shop.example", 443, false},
    {"port", "https://shop.example:8443/", "shop.example", "shop.example:8443", 8443, false},
    {"capitals", "HTTP://SHOP.Example/", "shop.example", "shop.example", 80, false},
    {"v4", "http://127.0.0.1:1/", "127.0.0.1", "127.0.0.1:1", 1, true},
    {"v6", "http://[::1]:81/", "::1", "[::1]:81", 81, true},
    {"hex", "http://0x7f000001/", "127.0.0.1", "127.0.0.1", 80, true},
    {"decimal", "http://2130706433/", "127.0.0.1", "127.0.0.1", 80, true},
    {"octal", "http://017700000001/", "127.0.0.1", "127.0.0.1", 80, true},
    {"short", "http://127.1/", "127.0.0.1", "127.0.0.1", 80, true},
    {"zero", "http://0/", "0.0.0.0", "0.0.0.0", 80, true},
    {"idn",
     "http://b\xc3\xbc"
     "cher.example/",
     "xn--bcher-kva.example", "xn--bcher-kva.example", 80, false},
    {"blank in the path", "http://shop.example/a b", "shop.example", "shop.example", 80, false},
    {"idn in latin-1",
     "http://b\xfc"
     "cher.example/",
     NULL, "", 0, false},
    {"empty", "", NULL, "empty", 0, false},
    {"no scheme", "shop.example/x", NULL, "no scheme", 0, false},
    {"ftp", "ftp://shop.example/", NULL, "only http", 0, false},
    {"file", "file:///etc/passwd", NULL, "only http", 0, false},
    {"userinfo", "http://user@169.254.169.254/", NULL, "auth =", 0, false},
    {"password", "http://u:p@shop.example/", NULL, "auth =", 0, false},
    {"no host", "http://", NULL, "host", 0, false},
    {"port too big", "http://shop.example:65536/", NULL, "port", 0, false},
    {"newline", "http://shop.example/\r\nX: 1", NULL, "control", 0, false},
    {"delete", "http://shop.example/\x7f", NULL, "control", 0, false},
    {"blank in the host", "http://shop example/", NULL, "", 0, false},
    {"fragment trick", "http://good.example#@127.0.0.1:1/", "good.example", "good.example", 80,
     false},
};

static void test_urls(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(urls); i++) {
        sm_fetch_url u;
        sm_err err = SM_ERR_INIT;
        sm_rc rc = sm_fetch_url_parse(urls[i].url, strlen(urls[i].url), &u, &err);
        if ((rc == SM_OK) != (urls[i].host != NULL))
            fail_msg("%s: %s \"%s\"", urls[i].name, sm_rc_name(rc), err.msg);
        if (rc != SM_OK) {
            if (!strstr(err.msg, urls[i].shown))
                fail_msg("%s: \"%s\"", urls[i].name, err.msg);
            continue;
        }
        if (strcmp(u.host, urls[i].host) != 0 || strcmp(u.name, urls[i].shown) != 0 ||
            u.port != urls[i].port || u.literal != urls[i].literal || strchr(u.url, '#') ||
            strchr(u.url, ' '))
            fail_msg("%s: host %s, name %s, port %d, url %s", urls[i].name, u.host, u.name, u.port,
                     u.url);
        sm_fetch_url_fini(&u);
    }
    sm_fetch_url u;
    assert_int_equal(sm_fetch_url_parse("http://a/\0b", 11, &u, NULL), SM_INVALID);
}

static void test_headers(void **state) {
    (void)state;
    static const struct {
        const char *name, *header, *value;
        size_t n;
        bool ok;
    } cases[] = {
        {"plain", "X-A", "1", 1, true},
        {"tab", "X-A", "a\tb", 3, true},
        {"empty value", "X-A", "", 0, true},
        {"crlf", "X-A", "1\r\nX: 1", 7, false},
        {"lf", "X-A", "1\n", 2, false},
        {"nul", "X-A", "a\0b", 3, false},
        {"delete", "X-A", "\x7f", 1, false},
        {"utf-8", "X-A", "\xc3\xbc", 2, true},
        {"name with blank", "X A", "1", 1, false},
        {"name with colon", "X:A", "1", 1, false},
        {"empty name", "", "1", 1, false},
        {"host", "hOST", "x", 1, false},
        {"content-length", "Content-Length", "1", 1, false},
        {"transfer-encoding", "transfer-encoding", "chunked", 7, false},
        {"connection", "Connection", "close", 5, false},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(cases); i++) {
        sm_err err = SM_ERR_INIT;
        bool ok = sm_fetch_header_ok(cases[i].header, strlen(cases[i].header), cases[i].value,
                                     cases[i].n, &err) == SM_OK;
        if (ok != cases[i].ok)
            fail_msg("%s: %s", cases[i].name, err.msg);
    }
}

static void test_joining(void **state) {
    (void)state;
    sm_fetch_res r;
    sm_fetch_res_init(&r);
    sm_fetch_res_header(&r, "X-List", 6, "a", 1);
    sm_fetch_res_header(&r, "Set-Cookie", 10, "a=1", 3);
    sm_fetch_res_header(&r, "x-LIST", 6, "b", 1);
    sm_fetch_res_header(&r, "set-cookie", 10, "b=2", 3);
    sm_fetch_res_header(&r, "x-list", 6, "", 0);
    assert_int_equal(r.n_headers, 3);
    assert_string_equal(sm_fetch_res_get(&r, "x-list"), "a, b, ");
    assert_string_equal(r.headers[1].value, "a=1");
    assert_string_equal(r.headers[2].value, "b=2");
    assert_null(sm_fetch_res_get(&r, "x-none"));
    sm_fetch_res_fini(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),       cmocka_unit_test(test_counts),
        cmocka_unit_test(test_secret_body), cmocka_unit_test(test_error_is_not_followed),
        cmocka_unit_test(test_urls),        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_joining),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
