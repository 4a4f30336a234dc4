/* fetch: the engine against a real nginx (http, https good and bad, redirects across origins) and a
 * server that misbehaves. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/json.h"
#include "fetch_help.h"
#include "worker/fetch.h"
#include "worker/run.h"
#include <pthread.h>

enum { HTTP, OTHER, GOOD, EXPIRED, WRONG, SELF, CLIENT, CLOSED, PORTS };

static struct {
    char dir[64];
    int port[PORTS];
    int fake;
    pid_t nginx, server;
    char *ca, *client_cert, *client_key;
    sm_fetch *engine;
    sm_run run;
} world;

static const char conf_head[] =
    "daemon off;\npid %1$s/nginx.pid;\nworker_processes 1;\nerror_log stderr crit;\n%2$s"
    "events { worker_connections 256; }\n"
    "http {\n access_log off;\n client_body_temp_path %1$s/b; proxy_temp_path %1$s/p;\n"
    " fastcgi_temp_path %1$s/f; uwsgi_temp_path %1$s/u; scgi_temp_path %1$s/s;\n"
    " ssl_session_cache off;\n";

static const char conf_servers[] =
    " server { listen 127.0.0.1:%1$d; listen 127.0.0.1:%2$d;\n"
    "  location = /ok { return 200 'ok\\n'; }\n"
    "  location = /seen { return 200 '$request_method|$http_x_token|$http_authorization|"
    "$server_port'; }\n"
    "  location = /same { return 302 /seen; }\n"
    "  location = /other { return 302 http://127.0.0.1:%2$d/seen; }\n"
    "  location = /name { return 302 http://localhost:%1$d/seen; }\n"
    "  location = /meta { return 302 http://169.254.169.254/latest/; }\n"
    "  location = /file { return 302 file:///etc/passwd; }\n"
    "  location = /loop { return 301 /loop; }\n"
    "  location = /post { return 303 /seen; }\n"
    "  location = /stay { return 307 http://127.0.0.1:%3$d/echo; }\n"
    " }\n";

static const char conf_tls[] =
    " server { listen 127.0.0.1:%1$d ssl; ssl_certificate %2$s/%3$s.crt;\n"
    "  ssl_certificate_key %2$s/%3$s.key; %4$s\n"
    "  location = /ok { return 200 '$connection $ssl_client_verify'; }\n"
    "  location = /down { return 302 http://127.0.0.1:%5$d/seen; }\n"
    "  location = /away { return 302 https://localhost:%1$d/ok; }\n"
    " }\n";

static void write_conf(char *conf, size_t cap) {
    static const char *const certs[] = {"good", "expired", "wrong", "self", "good"};
    char client[256];
    size_t n = 0;
    n += (size_t)snprintf(conf + n, cap - n, conf_head, world.dir,
                          getuid() == 0 ? "user root;\n" : "");
    n += (size_t)snprintf(conf + n, cap - n, conf_servers, world.port[HTTP], world.port[OTHER],
                          world.fake);
    snprintf(client, sizeof(client), "ssl_client_certificate %s/ca.crt; ssl_verify_client on;",
             world.dir);
    for (int i = GOOD; i <= CLIENT; i++)
        n += (size_t)snprintf(conf + n, cap - n, conf_tls, world.port[i], world.dir,
                              certs[i - GOOD], i == CLIENT ? client : "", world.port[HTTP]);
    n += (size_t)snprintf(conf + n, cap - n, "}\n");
    assert_true(n < cap);
}

static void make_certs(void) {
    static const char san[] = "DNS:localhost,DNS:shop.example,IP:127.0.0.1";
    identity ca = make_cert(world.dir, "ca", NULL, "Test CA", NULL, -10, 3650);
    identity all[] = {
        make_cert(world.dir, "good", &ca, "localhost", san, -1, 40),
        make_cert(world.dir, "expired", &ca, "localhost", san, -30, -3),
        make_cert(world.dir, "wrong", &ca, "other.example", "DNS:other.example", -1, 40),
        make_cert(world.dir, "self", NULL, "localhost", san, -1, 40),
        make_cert(world.dir, "client", &ca, "runner", NULL, -1, 40),
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(all); i++)
        free_identity(&all[i]);
    free_identity(&ca);
    world.ca = read_text(world.dir, "ca.crt");
    world.client_cert = read_text(world.dir, "client.crt");
    world.client_key = read_text(world.dir, "client.key");
}

static int group_setup(void **state) {
    (void)state;
    char *conf = sm_calloc(1, 16384);
    sm_err err = SM_ERR_INIT;
    snprintf(world.dir, sizeof(world.dir), "/tmp/selfmon-fetch-XXXXXX");
    assert_non_null(mkdtemp(world.dir));
    free_ports(world.port, PORTS);
    make_certs();
    world.server = start_fake(&world.fake);
    write_conf(conf, 16384);
    world.nginx = start_nginx(world.dir, conf, world.port[HTTP]);
    free(conf);
    /* Nobody may look at these. */
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("https_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    world.engine = sm_fetch_start(&err);
    if (!world.engine)
        fail_msg("%s", err.msg);
    return 0;
}

static int group_teardown(void **state) {
    (void)state;
    sm_fetch_stop(world.engine);
    stop_child(world.nginx);
    stop_child(world.server);
    remove_dir(world.dir);
    free(world.ca);
    free(world.client_cert);
    free(world.client_key);
    return 0;
}

static int setup(void **state) {
    (void)state;
    sm_run_init(&world.run, "demo/x.run", "", NULL, NULL);
    world.run.phase = SM_PHASE_RUNNING;
    world.run.deadline_ns = sm_mono_ns() + 20 * SM_NS_PER_S;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sm_run_fini(&world.run);
    return 0;
}

/* ---- one request --------------------------------------------------------------------------- */

typedef struct ask {
    sm_fetch_req req;
    sm_fetch_res res;
} ask;

static void set(char **slot, const char *v) {
    free(*slot);
    *slot = sm_strdup(v);
}

static void ask_init(ask *a, const char *scheme, const char *host, int port, const char *path) {
    sm_fetch_req_init(&a->req);
    sm_fetch_res_init(&a->res);
    a->req.url = sm_asprintf("%s://%s:%d%s", scheme, host, port, path);
    if (strcmp(scheme, "https") == 0)
        set(&a->req.ca, world.ca);
}

static void go(ask *a) {
    sm_fetch_perform(world.engine, &world.run, &a->req, &a->res, 1);
}

static void ask_fini(ask *a) {
    sm_fetch_req_fini(&a->req);
    sm_fetch_res_fini(&a->res);
}

static void expect_ok(const char *name, const ask *a) {
    if (a->res.code)
        fail_msg("%s: %s: %s", name, a->res.code, a->res.error);
}

static void expect_error(const char *name, const ask *a, const char *code, const char *says) {
    if (!a->res.code || strcmp(a->res.code, code) != 0 || !strstr(a->res.error, says))
        fail_msg("%s: expected %s \"%s\", got %s \"%s\" (status %d)", name, code, says,
                 a->res.code ? a->res.code : "an answer", a->res.error ? a->res.error : "",
                 a->res.status);
    if (a->res.status || a->res.body || a->res.n_headers)
        fail_msg("%s: an error with parts of an answer", name);
}

static void test_answer(void **state) {
    (void)state;
    ask a;
    ask_init(&a, "http", "127.0.0.1", world.port[HTTP], "/ok");
    go(&a);
    expect_ok("ok", &a);
    assert_int_equal(a.res.status, 200);
    assert_string_equal(a.res.body, "ok\n");
    assert_int_equal(a.res.body_n, 3);
    assert_string_equal(a.res.url, a.req.url);
    assert_string_equal(a.res.remote_ip, "127.0.0.1");
    assert_string_equal(a.res.http_version, "1.1");
    assert_string_equal(sm_fetch_res_get(&a.res, "content-length"), "3");
    assert_true(a.res.total > 0 && a.res.ttfb > 0 && a.res.ttfb <= a.res.total + 1e-3);
    assert_true(a.res.handshake == 0);
    assert_false(a.res.tls.present);
    ask_fini(&a);
    ask_init(&a, "http", "127.0.0.1", world.port[HTTP], "/ok");
    go(&a);
    expect_ok("again", &a);
    assert_true(a.res.connect == 0 && a.res.dns == 0); /* the connection was kept */
    ask_fini(&a);
}

static void test_headers_and_body(void **state) {
    (void)state;
    ask a;
    ask_init(&a, "http", "127.0.0.1", world.fake, "/headers");
    go(&a);
    expect_ok("headers", &a);
    assert_string_equal(sm_fetch_res_get(&a.res, "x-list"), "a, b");
    assert_string_equal(sm_fetch_res_get(&a.res, "x-empty"), "");
    int cookies = 0;
    for (size_t i = 0; i < a.res.n_headers; i++)
        cookies += strcmp(a.res.headers[i].name, "set-cookie") == 0;
    assert_int_equal(cookies, 2);
    ask_fini(&a);

    ask_init(&a, "http", "127.0.0.1", world.fake, "/echo");
    set(&a.req.method, "PATCH");
    set(&a.req.body, "{\"a\":1}");
    a.req.body_n = 7;
    set(&a.req.content_type, "application/json");
    sm_fetch_req_header(&a.req, "X-Token", "t0ken", 5);
    sm_fetch_req_header(&a.req, "X-Empty", "", 0);
    a.req.auth = SM_AUTH_BEARER;
    set(&a.req.pass, "bear");
    go(&a);
    expect_ok("echo", &a);
    static const char *const parts[] = {
        "\"method\": \"PATCH\"",
        "\"body\": \"{\\\"a\\\":1}\"",
        "[\"X-Token\", \"t0ken\"]",
        "[\"X-Empty\", \"\"]",
        "[\"Content-Type\", \"application/json\"]",
        "[\"Authorization\", \"Bearer bear\"]",
        "[\"User-Agent\", \"selfmon-lua/",
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(parts); i++)
        if (!strstr(a.res.body, parts[i]))
            fail_msg("no %s in %s", parts[i], a.res.body);
    assert_null(strstr(a.res.body, "Expect"));
    ask_fini(&a);

    ask_init(&a, "http", "127.0.0.1", world.fake, "/echo");
    set(&a.req.method, "POST");
    go(&a);
    expect_ok("empty post", &a);
    assert_non_null(strstr(a.res.body, "[\"Content-Length\", \"0\"]"));
    assert_null(strstr(a.res.body, "Content-Type"));
    ask_fini(&a);

    ask_init(&a, "http", "127.0.0.1", world.fake, "/gzip");
    go(&a);
    expect_ok("gzip", &a);
    assert_string_equal(a.res.body, "unpacked\n");
    ask_fini(&a);

    ask_init(&a, "http", "127.0.0.1", world.fake, "/bytes?n=100");
    set(&a.req.method, "HEAD");
    go(&a);
    expect_ok("head", &a);
    assert_int_equal(a.res.body_n, 0);
    assert_string_equal(sm_fetch_res_get(&a.res, "content-length"), "100");
    ask_fini(&a);
}

static void test_tls(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) { /* the second time on the kept connection */
        ask a;
        ask_init(&a, "https", "127.0.0.1", world.port[GOOD], "/ok");
        go(&a);
        expect_ok("good", &a);
        const sm_fetch_tls *t = &a.res.tls;
        assert_true(t->present && t->verified);
        assert_string_equal(t->subject, "CN=localhost,O=Tests");
        assert_string_equal(t->issuer, "CN=Test CA,O=Tests");
        assert_true(t->days_left > 39.9 && t->days_left < 40.1);
        assert_true(t->not_after - t->not_before == 41 * 86400);
        assert_int_equal(t->n_san, 3);
        assert_string_equal(t->san[1], "shop.example");
        assert_string_equal(t->san[2], "127.0.0.1");
        assert_true(i == 1 ? a.res.handshake == 0 : a.res.handshake > 0);
        ask_fini(&a);
    }
    static const struct {
        const char *name;
        int server;
        const char *says;
        double days;
    } bad[] = {
        {"expired", EXPIRED, "its certificate expired on ", -3},
        {"wrong name", WRONG, "its certificate is for other names: other.example", 40},
        {"self-signed", SELF, "self-signed certificate", 40},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(bad); i++) {
        ask a;
        /* First without verification, so that a kept connection could be reused by mistake. */
        ask_init(&a, "https", "127.0.0.1", world.port[bad[i].server], "/ok");
        a.req.verify = false;
        go(&a);
        expect_ok(bad[i].name, &a);
        assert_true(a.res.tls.present && !a.res.tls.verified);
        ask_fini(&a);
        ask_init(&a, "https", "127.0.0.1", world.port[bad[i].server], "/ok");
        go(&a);
        expect_error(bad[i].name, &a, "tls", bad[i].says);
        assert_non_null(strstr(a.res.error, "127.0.0.1:"));
        assert_true(a.res.tls.present && !a.res.tls.verified);
        assert_true(a.res.tls.days_left < bad[i].days + 0.1);
        ask_fini(&a);
    }
    ask a;
    ask_init(&a, "https", "127.0.0.1", world.port[GOOD], "/ok");
    free(a.req.ca);
    a.req.ca = NULL; /* the system's bundle does not know our CA */
    go(&a);
    expect_error("unknown CA", &a, "tls", "not trusted");
    ask_fini(&a);
    ask_init(&a, "https", "127.0.0.1", world.port[HTTP], "/ok");
    go(&a);
    expect_error("TLS to a plain port", &a, "tls", "TLS failed");
    ask_fini(&a);
    ask_init(&a, "http", "127.0.0.1", world.port[GOOD], "/ok");
    go(&a);
    expect_ok("plain to a TLS port", &a);
    assert_int_equal(a.res.status, 400);
    ask_fini(&a);
}

static void test_client_cert(void **state) {
    (void)state;
    ask a;
    ask_init(&a, "https", "127.0.0.1", world.port[CLIENT], "/ok");
    set(&a.req.cert, world.client_cert);
    set(&a.req.key, world.client_key);
    go(&a);
    expect_ok("with certificate", &a);
    assert_int_equal(a.res.status, 200);
    assert_non_null(strstr(a.res.body, "SUCCESS"));
    ask_fini(&a);
    ask_init(&a, "https", "127.0.0.1", world.port[CLIENT], "/ok");
    go(&a); /* must not ride on the connection of the one before */
    expect_ok("without certificate", &a);
    assert_int_equal(a.res.status, 400);
    ask_fini(&a);
    ask_init(&a, "https", "127.0.0.1", world.port[CLIENT], "/away");
    set(&a.req.cert, world.client_cert);
    set(&a.req.key, world.client_key);
    go(&a);
    expect_ok("redirected to another host", &a);
    assert_int_equal(a.res.redirects, 1);
    assert_int_equal(a.res.status, 400); /* the certificate stayed behind */
    ask_fini(&a);
}

static const struct {
    const char *name, *method, *path;
    int follow;
    const char *body, *code; /* of the last answer; or code and part of the sentence */
    int hops;
} redirects[] = {
    {"same origin keeps", "GET", "/same", 5, "GET|t0ken|Basic dTpw|", NULL, 1},
    {"other port drops", "GET", "/other", 5, "GET|||", NULL, 1},
    {"other host drops", "GET", "/name", 5, "GET|||", NULL, 1},
    {"303 of a POST", "POST", "/post", 5, "GET|t0ken|Basic dTpw|", NULL, 1},
    {"not followed", "GET", "/same", 0, "302 Found", NULL, 0},
    {"loop", "GET", "/loop", 3, "more than 3 redirects", "redirect", 0},
    {"to metadata", "GET", "/meta", 5, "link-local", "denied", 0},
    {"to a file", "GET", "/file", 5, "only http and https", "redirect", 0},
};

static void test_redirects(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(redirects); i++) {
        ask a;
        ask_init(&a, "http", "127.0.0.1", world.port[HTTP], redirects[i].path);
        set(&a.req.method, redirects[i].method);
        a.req.follow = redirects[i].follow;
        sm_fetch_req_header(&a.req, "X-Token", "t0ken", 5);
        a.req.auth = SM_AUTH_BASIC;
        set(&a.req.user, "u");
        set(&a.req.pass, "p");
        go(&a);
        if (redirects[i].code) {
            expect_error(redirects[i].name, &a, redirects[i].code, redirects[i].body);
        } else {
            expect_ok(redirects[i].name, &a);
            if (!strstr(a.res.body, redirects[i].body) || a.res.redirects != redirects[i].hops)
                fail_msg("%s: %s, %d hops", redirects[i].name, a.res.body, a.res.redirects);
        }
        ask_fini(&a);
    }
    ask a;
    ask_init(&a, "https", "127.0.0.1", world.port[GOOD], "/down");
    go(&a);
    expect_error("https to http", &a, "redirect", "https to http");
    ask_fini(&a);
    ask_init(&a, "http", "127.0.0.1", world.port[HTTP], "/stay");
    set(&a.req.method, "POST");
    set(&a.req.body, "kept");
    a.req.body_n = 4;
    sm_fetch_req_header(&a.req, "X-Token", "t0ken", 5);
    go(&a);
    expect_ok("307 keeps the body", &a);
    assert_non_null(strstr(a.res.body, "\"body\": \"kept\""));
    assert_null(strstr(a.res.body, "t0ken"));
    ask_fini(&a);
}

static const struct {
    const char *name, *path;
    double timeout;
    size_t max_body;
    const char *code, *says;
} bad_answers[] = {
    {"hang", "/hang", 0.3, 0, "timeout", "no answer came within"},
    {"drip", "/drip?s=0.05", 0.4, 0, "timeout", "the answer was not complete within"},
    {"huge header", "/huge-header", 5, 0, "too_large", "headers are longer than 64 KiB"},
    {"max_body", "/bytes?n=2000", 5, 1000, "too_large", "longer than 1000 bytes (max_body)"},
    {"bomb against the cap", "/gzipbomb?mib=2", 5, 1 << 20, "too_large",
     "longer than 1048576 bytes"},
    {"bomb against the ratio", "/gzipbomb?mib=64", 5, 1 << 30, "too_large", "more than 100 times"},
    {"short body", "/short-content-length", 5, 0, "partial", "before the body was complete"},
    {"short chunk", "/short-chunk", 5, 0, "partial", "before the body was complete"},
    {"closed", "/close", 5, 0, "closed", "without a whole answer"},
    {"garbage", "/garbage", 5, 0, "protocol", "not proper HTTP"},
};

static void test_bad_answers(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(bad_answers); i++) {
        ask a;
        int64_t before = sm_mono_ns();
        ask_init(&a, "http", "127.0.0.1", world.fake, bad_answers[i].path);
        a.req.timeout_s = bad_answers[i].timeout;
        if (bad_answers[i].max_body)
            a.req.max_body = bad_answers[i].max_body;
        go(&a);
        expect_error(bad_answers[i].name, &a, bad_answers[i].code, bad_answers[i].says);
        double took = (double)(sm_mono_ns() - before) / 1e9;
        if (took > bad_answers[i].timeout + 1.5)
            fail_msg("%s: took %.1f s", bad_answers[i].name, took);
        ask_fini(&a);
    }
    ask a;
    ask_init(&a, "http", "127.0.0.1", world.fake, "/bytes?n=1000");
    a.req.max_body = 1000;
    go(&a);
    expect_ok("exactly max_body", &a);
    ask_fini(&a);
    ask_init(&a, "http", "127.0.0.1", world.port[CLOSED], "/");
    go(&a);
    expect_error("nobody listens", &a, "connect", "Connection refused");
    ask_fini(&a);
    ask_init(&a, "http", "no-such-name.invalid", 80, "/");
    a.req.timeout_s = 3;
    go(&a);
    if (!a.res.code || (strcmp(a.res.code, "dns") != 0 && strcmp(a.res.code, "timeout") != 0))
        fail_msg("no such name: %s", a.res.code ? a.res.code : "answered");
    ask_fini(&a);
}

static void test_policy(void **state) {
    (void)state;
    static const struct {
        const char *name, *net, *host;
        const char *code, *says;
    } rows[] = {
        {"metadata", NULL, "169.254.169.254", "denied", "link-local"},
        {"metadata in v6", NULL, "[::ffff:169.254.169.254]", "denied", "link-local"},
        {"localhost by default", NULL, "localhost", NULL, ""},
        {"localhost again, narrowed", "\"public\"", "localhost", "denied", "loopback"},
        {"loopback, narrowed", "\"public\"", "127.0.0.1", "denied", "loopback"},
        {"loopback in decimal, narrowed", "\"public\"", "2130706433", "denied", "loopback"},
        {"allowed by name", "{\"allow\":[\"localhost\"]}", "localhost", NULL, ""},
        {"not in the list", "{\"allow\":[\"shop.example\"]}", "localhost", "denied", "allow list"},
        {"denied by CIDR after resolving", "{\"deny\":[\"127.0.0.0/8\",\"::1\"]}", "localhost",
         "denied", "denied by net"},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        ask a;
        json_t *net = NULL;
        if (rows[i].net)
            assert_int_equal(sm_json_parse(rows[i].net, strlen(rows[i].net), 4096, &net, NULL),
                             SM_OK);
        ask_init(&a, "http", rows[i].host, world.port[HTTP], "/ok");
        a.req.net = net;
        go(&a);
        if (rows[i].code)
            expect_error(rows[i].name, &a, rows[i].code, rows[i].says);
        else
            expect_ok(rows[i].name, &a);
        ask_fini(&a);
        json_decref(net);
    }
    ask a;
    json_t *net = json_string("public");
    ask_init(&a, "http", "localhost", world.port[CLOSED], "/");
    a.req.net = net;
    go(&a); /* refused before anything was tried, or it would be "connect" */
    expect_error("closed port while narrowed", &a, "denied", "loopback");
    ask_fini(&a);
    ask_init(&a, "http", "shop.example", 80, "/");
    a.req.net = net;
    a.req.proxy = sm_asprintf("http://127.0.0.1:%d", world.fake);
    go(&a);
    expect_error("proxy while narrowed", &a, "denied", "a proxy cannot be used");
    ask_fini(&a);
    json_decref(net);
    ask_init(&a, "http", "shop.example", 80, "/ok");
    a.req.proxy = sm_asprintf("http://127.0.0.1:%d", world.fake);
    go(&a); /* the fake takes the absolute form for a path it does not know */
    expect_ok("proxy", &a);
    ask_fini(&a);
}

/* ---- many requests, and runs that end ------------------------------------------------------ */

static void test_many(void **state) {
    (void)state;
    enum { N = 50 };
    sm_fetch_req *reqs = sm_calloc(N, sizeof(*reqs));
    sm_fetch_res *res = sm_calloc(N, sizeof(*res));
    world.run.limits.http_parallel = 4;
    for (size_t i = 0; i < N; i++) {
        sm_fetch_req_init(&reqs[i]);
        reqs[i].url = sm_asprintf("http://127.0.0.1:%d/bytes?n=%zu", world.fake, i + 1);
    }
    sm_fetch_perform(world.engine, &world.run, reqs, res, N);
    for (size_t i = 0; i < N; i++) {
        if (res[i].code || res[i].body_n != i + 1)
            fail_msg("request %zu: %s, %zu bytes", i, res[i].code ? res[i].error : "ok",
                     res[i].body_n);
        sm_fetch_res_fini(&res[i]);
        sm_fetch_res_init(&res[i]);
    }
    world.run.limits.memory = 100; /* all bodies together */
    sm_fetch_perform(world.engine, &world.run, reqs, res, N);
    size_t kept = 0, refused = 0;
    for (size_t i = 0; i < N; i++) {
        kept += res[i].body_n;
        refused += res[i].code && strcmp(res[i].code, "too_large") == 0;
        sm_fetch_res_fini(&res[i]);
        sm_fetch_req_fini(&reqs[i]);
    }
    assert_true(kept <= 100 && refused > 0);
    free(reqs);
    free(res);
}

static void *stopper(void *arg) {
    nanosleep(&(struct timespec){0, 100000000}, NULL);
    sm_run_stop(arg, SM_STOP_CANCELLED);
    return NULL;
}

static void test_stopped(void **state) {
    (void)state;
    enum { N = 10 };
    sm_fetch_req reqs[N];
    sm_fetch_res res[N];
    pthread_t thread;
    world.run.limits.http_parallel = 5; /* half of them never begin */
    for (size_t i = 0; i < N; i++) {
        sm_fetch_req_init(&reqs[i]);
        sm_fetch_res_init(&res[i]);
        reqs[i].url = sm_asprintf("http://127.0.0.1:%d/hang", world.fake);
    }
    int64_t before = sm_mono_ns();
    assert_int_equal(pthread_create(&thread, NULL, stopper, &world.run), 0);
    sm_fetch_perform(world.engine, &world.run, reqs, res, N);
    pthread_join(thread, NULL);
    assert_true(sm_mono_ns() - before < 2 * SM_NS_PER_S);
    for (size_t i = 0; i < N; i++) {
        assert_non_null(res[i].code);
        assert_string_equal(res[i].code, "cancelled");
        sm_fetch_res_fini(&res[i]);
        sm_fetch_req_fini(&reqs[i]);
    }
}

static void test_deadline(void **state) {
    (void)state;
    ask a;
    int64_t before = sm_mono_ns();
    world.run.deadline_ns = before + 300 * SM_NS_PER_MS;
    ask_init(&a, "http", "127.0.0.1", world.fake, "/hang");
    go(&a);
    assert_true(sm_mono_ns() - before < 2 * SM_NS_PER_S);
    assert_non_null(a.res.code); /* "timeout" or "cancelled", whichever came first */
    ask_fini(&a);
}

/* Runs that are stopped at any moment, beside one that is not. */
static void *churn(void *arg) {
    (void)arg;
    for (int i = 0; i < 60; i++) {
        sm_run run;
        sm_fetch_req req;
        sm_fetch_res res;
        sm_run_init(&run, "demo/y.run", "", NULL, NULL);
        run.deadline_ns = sm_mono_ns() + (int64_t)(i % 7) * SM_NS_PER_MS;
        sm_fetch_req_init(&req);
        sm_fetch_res_init(&res);
        req.url = sm_asprintf("http://127.0.0.1:%d/%s", i % 2 ? world.fake : world.port[HTTP],
                              i % 2 ? "hang" : "ok");
        sm_fetch_perform(world.engine, &run, &req, &res, 1);
        sm_fetch_req_fini(&req);
        sm_fetch_res_fini(&res);
        sm_run_fini(&run);
    }
    return NULL;
}

static void test_churn(void **state) {
    (void)state;
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, NULL), 0);
    int failed = 0; /* told after the threads have ended */
    for (int i = 0; i < 100; i++) {
        ask a;
        ask_init(&a, "http", "127.0.0.1", world.port[HTTP], "/ok");
        go(&a);
        failed += a.res.code != NULL;
        ask_fini(&a);
    }
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(failed, 0);
}

static void *hanger(void *arg) {
    ask *a = arg;
    sm_run run;
    sm_run_init(&run, "demo/z.run", "", NULL, NULL);
    sm_fetch_perform(world.engine, &run, &a->req, &a->res, 1);
    sm_run_fini(&run);
    return NULL;
}

static void test_engine_stop(void **state) {
    (void)state;
    ask a;
    pthread_t thread;
    ask_init(&a, "http", "127.0.0.1", world.fake, "/hang");
    assert_int_equal(pthread_create(&thread, NULL, hanger, &a), 0);
    nanosleep(&(struct timespec){0, 50000000}, NULL);
    sm_fetch_stop(world.engine);
    pthread_join(thread, NULL);
    expect_error("engine stopped", &a, "cancelled", "the run ended");
    ask_fini(&a);
    world.engine = sm_fetch_start(NULL);
    assert_non_null(world.engine);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_answer),    T(test_headers_and_body), T(test_tls),    T(test_client_cert),
        T(test_redirects), T(test_bad_answers),      T(test_policy), T(test_many),
        T(test_stopped),   T(test_deadline),         T(test_churn),  T(test_engine_stop),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
