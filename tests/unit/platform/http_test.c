/* http: the client against a server that misbehaves and an nginx with good and bad certificates. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "../worker/fetch_help.h"
#include "base/json.h"
#include "platform/http.h"

enum { GOOD, EXPIRED, WRONG, SELF, CLOSED, PORTS };

static struct {
    char dir[64], ca[96];
    int port[PORTS], fake;
    pid_t nginx, server;
    uv_loop_t loop;
    sm_http *http;
} world;

typedef struct seen {
    bool done;
    int calls;
    sm_http_failure failure;
    int status;
    char error[512], body[4096], type[128], location[256], retry[64], date[64];
    size_t body_n;
} seen;

static void on_done(void *ctx, const sm_http_answer *a) {
    seen *s = ctx;
    s->done = true;
    s->calls++;
    s->failure = a->failure;
    s->status = a->status;
    s->body_n = a->body_n;
    snprintf(s->error, sizeof s->error, "%s", a->error);
    snprintf(s->body, sizeof s->body, "%s", a->body);
    snprintf(s->type, sizeof s->type, "%s", a->content_type);
    snprintf(s->location, sizeof s->location, "%s", a->location);
    snprintf(s->retry, sizeof s->retry, "%s", a->retry_after);
    snprintf(s->date, sizeof s->date, "%s", a->date);
}

static seen ask(const sm_http_request *request) {
    seen s = {0};
    sm_http_send(world.http, request, on_done, &s);
    assert_false(s.done); /* never at once */
    while (!s.done)
        uv_run(&world.loop, UV_RUN_ONCE);
    assert_int_equal(s.calls, 1);
    return s;
}

static sm_http_request get(const char *url) {
    return (sm_http_request){.method = "GET", .url = url, .timeout_s = 10, .max_body = 1 << 20};
}

static const char *fake_url(const char *path) {
    static char url[512];
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", world.fake, path);
    return url;
}

static void test_answers(void **state) {
    (void)state;
    static const struct {
        const char *name, *path;
        size_t max_body;
        double timeout_s;
        sm_http_failure failure;
        int status;
        const char *error, *body;
    } rows[] = {
        {"an answer", "/ok", 0, 0, SM_HTTP_ANSWERED, 200, "", "ok\n"},
        {"an error status is an answer", "/status/403", 0, 0, SM_HTTP_ANSWERED, 403, "", "status"},
        {"no redirect is followed", "/redirect", 0, 0, SM_HTTP_ANSWERED, 302, "", "moved"},
        {"not to a file either", "/redirect?to=file:///etc/passwd", 0, 0, SM_HTTP_ANSWERED, 302, "",
         "moved"},
        {"gzip is unpacked", "/gzip", 0, 0, SM_HTTP_ANSWERED, 200, "", "unpacked"},
        {"a body of the ceiling", "/bytes?n=10", 10, 0, SM_HTTP_ANSWERED, 200, "", "xxxxxxxxxx"},
        {"a body above it", "/bytes?n=11", 10, 0, SM_HTTP_OTHER, 0, "longer than 10 bytes", NULL},
        {"a bomb", "/gzipbomb?mib=8", 1 << 20, 0, SM_HTTP_OTHER, 0, "longer than 1048576", NULL},
        {"huge headers", "/huge-header", 0, 0, SM_HTTP_OTHER, 0, "headers of the answer", NULL},
        {"a body cut short", "/short-content-length", 0, 0, SM_HTTP_OTHER, 0, "cut short", NULL},
        {"a chunk cut short", "/short-chunk", 0, 0, SM_HTTP_OTHER, 0, "cut short", NULL},
        {"no byte at all", "/close", 0, 0, SM_HTTP_OTHER, 0, "cut short", NULL},
        {"not HTTP", "/garbage", 0, 0, SM_HTTP_OTHER, 0, "http", NULL},
        {"a server that hangs", "/hang", 0, 0.3, SM_HTTP_TIMEOUT, 0, "within 0.3 s", NULL},
        {"a server that drips", "/drip?n=1000&s=0.05", 0, 0.3, SM_HTTP_TIMEOUT, 0, "within", NULL},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        sm_http_request request = get(fake_url(rows[i].path));
        if (rows[i].max_body > 0)
            request.max_body = rows[i].max_body;
        if (rows[i].timeout_s > 0)
            request.timeout_s = rows[i].timeout_s;
        seen s = ask(&request);
        if (s.failure != rows[i].failure || s.status != rows[i].status ||
            !strcasestr(s.error, rows[i].error) ||
            (rows[i].failure == SM_HTTP_ANSWERED && s.error[0]) ||
            (rows[i].body && strncmp(s.body, rows[i].body, strlen(rows[i].body)) != 0))
            fail_msg("%s: failure %d, status %d, error \"%s\", body \"%.40s\"", rows[i].name,
                     (int)s.failure, s.status, s.error, s.body);
    }
    seen s = ask(&(sm_http_request){
        .method = "GET", .url = fake_url("/redirect?to=/other"), .timeout_s = 5});
    assert_string_equal(s.location, "/other");
    assert_true(strstr(s.date, "GMT") != NULL);
    s = ask(&(sm_http_request){.method = "GET", .url = fake_url("/ok"), .timeout_s = 5});
    assert_string_equal(s.type, "text/plain");
}

static void test_refused_urls(void **state) {
    (void)state;
    static const char *const urls[] = {"file:///etc/passwd",
                                       "ftp://127.0.0.1/x",
                                       "gopher://127.0.0.1/",
                                       "http://user:pass@127.0.0.1/",
                                       "no url",
                                       "http://a\nb/",
                                       ""};
    for (size_t i = 0; i < SM_ARRAY_LEN(urls); i++) {
        sm_http_request request = get(urls[i]);
        seen s = ask(&request);
        if (s.failure == SM_HTTP_ANSWERED || s.error[0] == '\0' || strstr(s.error, "pass@"))
            fail_msg("\"%s\": failure %d, error \"%s\"", urls[i], (int)s.failure, s.error);
    }
    sm_http_request request = get(fake_url("/ok"));
    request.method = "DELETE";
    assert_int_equal(ask(&request).failure, SM_HTTP_OTHER);
}

static const char *header_of(const json_t *record, const char *name) {
    size_t i;
    json_t *pair;
    json_array_foreach(json_object_get(record, "headers"), i, pair) {
        if (strcasecmp(json_string_value(json_array_get(pair, 0)), name) == 0)
            return json_string_value(json_array_get(pair, 1));
    }
    return NULL;
}

static json_t *echo(sm_http_request *request) {
    sm_err err = SM_ERR_INIT;
    json_t *record = NULL;
    seen s = ask(request);
    if (s.failure != SM_HTTP_ANSWERED)
        fail_msg("%s", s.error);
    if (sm_json_parse(s.body, s.body_n, 1 << 20, &record, &err) != SM_OK)
        fail_msg("%s", err.msg);
    return record;
}

static void test_what_is_sent(void **state) {
    (void)state;
    static const char *const headers[] = {"Content-Type: text/plain", "X-A: b", NULL};
    sm_secret *token = sm_secret_new("tkn_a/b+c&d", 11), *key = sm_secret_new("wsak_secret", 11);
    sm_http_request request = get(fake_url("/echo"));
    json_t *record = echo(&request);
    assert_string_equal(sm_json_str(record, "method", ""), "GET");
    assert_string_equal(sm_json_str(record, "path", ""), "/echo");
    assert_true(strncmp(header_of(record, "User-Agent"), "selfmon-lua/", 12) == 0);
    assert_null(header_of(record, "Content-Type"));
    assert_null(header_of(record, "Expect"));
    assert_null(header_of(record, "Cookie"));
    assert_null(header_of(record, "Authorization"));
    json_decref(record);

    char body[8] = "a\0b\nc";
    request.method = "POST";
    request.headers = headers;
    request.query_token = token;
    request.secret_header = "DF-API-KEY";
    request.secret = key;
    request.body = body;
    request.body_n = 5;
    request.url = fake_url("/echo?input=x");
    record = echo(&request);
    assert_string_equal(sm_json_str(record, "method", ""), "POST");
    assert_string_equal(sm_json_str(record, "path", ""), "/echo?input=x&token=tkn_a%2Fb%2Bc%26d");
    assert_string_equal(header_of(record, "DF-API-KEY"), "wsak_secret");
    assert_string_equal(header_of(record, "Content-Type"), "text/plain");
    assert_string_equal(header_of(record, "Content-Length"), "5");
    assert_string_equal(header_of(record, "X-A"), "b");
    assert_null(header_of(record, "Expect"));
    json_decref(record);

    request.url = fake_url("/echo");
    record = echo(&request);
    assert_string_equal(sm_json_str(record, "path", ""), "/echo?token=tkn_a%2Fb%2Bc%26d");
    json_decref(record);

    request = get(fake_url("/status/200/"));
    request.url = fake_url("/v1/check/");
    request.path_secret = token;
    assert_int_equal(ask(&request).status, 404);
    sm_secret_free(token);
    sm_secret_free(key);
}

static void test_secrets_stay(void **state) {
    (void)state;
    static const char *const bad[] = {"Bad\r\nX-Injected: 1", "line\nbreak", ""};
    for (size_t i = 0; i < SM_ARRAY_LEN(bad); i++) {
        sm_secret *key = sm_secret_new(bad[i], strlen(bad[i]));
        sm_http_request request = get(fake_url("/echo"));
        request.secret_header = "DF-API-KEY";
        request.secret = key;
        seen s = ask(&request);
        assert_int_equal(s.failure, SM_HTTP_OTHER);
        assert_non_null(strstr(s.error, "credential"));
        sm_secret_free(key);
    }
    static const char *const bad_header[] = {"X-A: b\r\nX-B: c", NULL};
    sm_http_request request = get(fake_url("/echo"));
    request.headers = bad_header;
    assert_int_equal(ask(&request).failure, SM_HTTP_OTHER);

    sm_secret *token = sm_secret_new("tkn_0123456789abcdef", 20);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v1", world.port[CLOSED]);
    request = get(url);
    request.query_token = token;
    seen s = ask(&request);
    assert_int_equal(s.failure, SM_HTTP_CONNECT);
    assert_null(strstr(s.error, "tkn_"));
    assert_non_null(strstr(s.error, "127.0.0.1"));
    /* A server that sends our own URL back. */
    request = get(fake_url("/redirect?to=http://evil.example/?t=tkn_0123456789abcdef"));
    s = ask(&request);
    assert_null(strstr(s.location, "tkn_0123456789abcdef"));
    sm_secret_free(token);
}

static void test_proxy(void **state) {
    (void)state;
    char proxy[64];
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    sm_http_request request = get(fake_url("/ok"));
    assert_int_equal(ask(&request).status, 200); /* the environment is not looked at */
    setenv("NO_PROXY", "*", 1);
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", world.fake);
    request = get("http://platform.invalid/ok");
    request.proxy = proxy;
    seen s = ask(&request);
    if (s.failure != SM_HTTP_ANSWERED || s.status != 200)
        fail_msg("through the proxy: %s", s.error);
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
    unsetenv("NO_PROXY");
}

static void test_tls(void **state) {
    (void)state;
    char no_file[128];
    snprintf(no_file, sizeof no_file, "%s/none.crt", world.dir);
    const struct {
        const char *name;
        int port;
        const char *ca;
        sm_http_failure failure;
        const char *error;
    } rows[] = {
        {"a good certificate", GOOD, world.ca, SM_HTTP_ANSWERED, ""},
        {"an unknown authority", GOOD, NULL, SM_HTTP_TLS, "could not be verified"},
        {"an expired one", EXPIRED, world.ca, SM_HTTP_TLS, "expired"},
        {"of another host", WRONG, world.ca, SM_HTTP_TLS, "could not be verified"},
        {"self-signed", SELF, world.ca, SM_HTTP_TLS, "self-signed"},
        {"no such authority file", GOOD, no_file, SM_HTTP_TLS, "certificate authorities"},
        {"good again", GOOD, world.ca, SM_HTTP_ANSWERED, ""},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        char url[64];
        snprintf(url, sizeof url, "https://localhost:%d/ok", world.port[rows[i].port]);
        sm_http_request request = get(url);
        request.ca = rows[i].ca;
        seen s = ask(&request);
        if (s.failure != rows[i].failure || !strcasestr(s.error, rows[i].error) ||
            (s.failure == SM_HTTP_ANSWERED) != (s.status == 200))
            fail_msg("%s: failure %d, status %d, error \"%s\"", rows[i].name, (int)s.failure,
                     s.status, s.error);
    }
    char url[64];
    snprintf(url, sizeof url, "https://127.0.0.1:%d/ok", world.fake);
    sm_http_request request = get(url);
    seen s = ask(&request);
    assert_int_equal(s.failure, SM_HTTP_CONNECT); /* it speaks no TLS: nothing was refused */
}

static void test_many(void **state) {
    (void)state;
    seen all[40] = {{0}};
    for (size_t i = 0; i < SM_ARRAY_LEN(all); i++) {
        sm_http_request request = get(fake_url(i % 3 == 0 ? "/gzip" : "/ok"));
        sm_http_send(world.http, &request, on_done, &all[i]);
    }
    for (size_t i = 0; i < SM_ARRAY_LEN(all); i++) {
        while (!all[i].done)
            uv_run(&world.loop, UV_RUN_ONCE);
        assert_int_equal(all[i].status, 200);
    }
}

static void test_close(void **state) {
    (void)state;
    sm_err err = SM_ERR_INIT;
    uv_loop_t loop;
    sm_http *http = NULL;
    seen hanging = {0}, unfit = {0}, after = {0};
    uv_loop_init(&loop);
    assert_int_equal(sm_http_new(&loop, &http, &err), SM_OK);
    sm_http_request request = get(fake_url("/hang"));
    sm_http_send(http, &request, on_done, &hanging);
    for (int i = 0; i < 5; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    request = get("ftp://x/");
    sm_http_send(http, &request, on_done, &unfit);
    sm_http_close(http);
    assert_int_equal(hanging.calls, 1);
    assert_int_equal(hanging.failure, SM_HTTP_OTHER);
    request = get(fake_url("/ok"));
    sm_http_send(http, &request, on_done, &after);
    assert_int_equal(after.calls, 0);
    sm_http_close(http);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(unfit.calls, 1);
    assert_int_equal(after.calls, 1);
    sm_http_free(http);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- the world ----------------------------------------------------------------------------- */

static void make_certs(void) {
    static const char san[] = "DNS:localhost,IP:127.0.0.1";
    identity ca = make_cert(world.dir, "ca", NULL, "Test CA", NULL, -10, 3650);
    identity all[] = {
        make_cert(world.dir, "good", &ca, "localhost", san, -1, 40),
        make_cert(world.dir, "expired", &ca, "localhost", san, -30, -3),
        make_cert(world.dir, "wrong", &ca, "other.example", "DNS:other.example", -1, 40),
        make_cert(world.dir, "self", NULL, "localhost", san, -1, 40),
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(all); i++)
        free_identity(&all[i]);
    free_identity(&ca);
    snprintf(world.ca, sizeof world.ca, "%s/ca.crt", world.dir);
}

static void write_conf(char *conf, size_t cap) {
    static const char *const certs[] = {"good", "expired", "wrong", "self"};
    size_t n = (size_t)snprintf(
        conf, cap,
        "daemon off;\npid %1$s/nginx.pid;\nworker_processes 1;\nerror_log stderr crit;\n%2$s"
        "events { worker_connections 64; }\nhttp {\n access_log off;\n client_body_temp_path "
        "%1$s/b; proxy_temp_path %1$s/p;\n fastcgi_temp_path %1$s/f; uwsgi_temp_path %1$s/u; "
        "scgi_temp_path %1$s/s;\n",
        world.dir, getuid() == 0 ? "user root;\n" : "");
    for (int i = 0; i < 4; i++)
        n += (size_t)snprintf(conf + n, cap - n,
                              " server { listen 127.0.0.1:%d ssl; ssl_certificate %s/%s.crt; "
                              "ssl_certificate_key %s/%s.key; return 200 'ok'; }\n",
                              world.port[i], world.dir, certs[i], world.dir, certs[i]);
    n += (size_t)snprintf(conf + n, cap - n, "}\n");
    assert_true(n < cap);
}

static int group_setup(void **state) {
    (void)state;
    (void)read_text;
    char conf[4096];
    sm_err err = SM_ERR_INIT;
    snprintf(world.dir, sizeof world.dir, "/tmp/selfmon-http-XXXXXX");
    assert_non_null(mkdtemp(world.dir));
    free_ports(world.port, PORTS);
    make_certs();
    world.server = start_fake(&world.fake);
    write_conf(conf, sizeof conf);
    world.nginx = start_nginx(world.dir, conf, world.port[GOOD]);
    uv_loop_init(&world.loop);
    if (sm_http_new(&world.loop, &world.http, &err) != SM_OK)
        fail_msg("%s", err.msg);
    return 0;
}

static int group_teardown(void **state) {
    (void)state;
    sm_http_close(world.http);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    sm_http_free(world.http);
    int rc = uv_loop_close(&world.loop);
    stop_child(world.nginx);
    stop_child(world.server);
    remove_dir(world.dir);
    return rc;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),      cmocka_unit_test(test_refused_urls),
        cmocka_unit_test(test_what_is_sent), cmocka_unit_test(test_secrets_stay),
        cmocka_unit_test(test_proxy),        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_many),         cmocka_unit_test(test_close),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
