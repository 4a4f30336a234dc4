/* openapi: what each kind of answer means, for the registrar (kind) and for deliveries (verdict).
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include "base/secret.h"
#include "base/str.h"
#include "platform/openapi.h"

#define JSON "application/json; charset=utf-8"
#define FAIL(code, error)                                                                          \
    "{\"code\":" code ",\"content\":{},\"errorCode\":\"" error "\",\"message\":\"because\","       \
    "\"success\":false,\"traceId\":\"174909\"}"
#define OUTER(content)                                                                             \
    "{\"code\":200,\"content\":" content ",\"errorCode\":\"\",\"message\":\"\",\"success\":true,"  \
    "\"traceId\":\"1\"}"

static const struct {
    const char *name;
    int status;
    const char *type, *body;
    sm_openapi_kind kind;
    sm_verdict one, many; /* verdict for a batch of 1 and of 10 */
    const char *word;     /* of the sentence */
} rows[] = {
    {"200 ok", 200, JSON, OUTER("{\"uuid\":\"wksp_x\"}"), SM_OPENAPI_OK, SM_DELIVERED, SM_DELIVERED,
     ""},
    {"200 ok, no content", 200, JSON, "{\"success\":true}", SM_OPENAPI_OK, SM_DELIVERED,
     SM_DELIVERED, ""},
    {"200 success:false", 200, JSON, FAIL("200", "ft.Other"), SM_OPENAPI_REFUSED, SM_REFUSED,
     SM_SPLIT, "the platform refused the request (HTTP 200): ft.Other: because (traceId 174909)"},
    {"200 success:false, NotFound", 200, JSON, FAIL("200", "ft.NotFoundRuleInspector"),
     SM_OPENAPI_NOT_FOUND, SM_HOLD, SM_HOLD, "does not know"},
    {"200 success:false, its own 404", 200, JSON, FAIL("404", "ft.X"), SM_OPENAPI_NOT_FOUND,
     SM_HOLD, SM_HOLD, "HTTP 404"},
    {"200 success:false, its own 500", 200, JSON, FAIL("500", "ft.X"), SM_OPENAPI_DOWN, SM_RETRY,
     SM_RETRY, "an error of its own"},
    {"200 success:false, bad key", 200, JSON, FAIL("200", "ft.InvalidAPIKey"), SM_OPENAPI_BAD_KEY,
     SM_HOLD, SM_HOLD, "the API key was refused"},
    {"200 success:false, limit", 200, JSON, FAIL("200", "ft.TriggerApiAkCurrentLimiting"),
     SM_OPENAPI_LIMIT, SM_RETRY, SM_RETRY, "rate limit"},
    {"200 success:true but code 500", 200, JSON, "{\"success\":true,\"code\":500}",
     SM_OPENAPI_UNKNOWN, SM_RETRY, SM_RETRY, "contradict"},
    {"200 success as a text", 200, JSON, "{\"success\":\"true\",\"code\":200}", SM_OPENAPI_REFUSED,
     SM_REFUSED, SM_SPLIT, "refused the request"},
    {"401 limit per key", 401, JSON, FAIL("401", "ft.TriggerApiAkCurrentLimiting"),
     SM_OPENAPI_LIMIT, SM_RETRY, SM_RETRY, "rate limit"},
    {"401 limit per workspace", 401, JSON, FAIL("401", "ft.TriggerApiWorkspaceCurrentLimiting"),
     SM_OPENAPI_LIMIT, SM_RETRY, SM_RETRY, "ft.TriggerApiWorkspaceCurrentLimiting"},
    {"401 bad key", 401, JSON, FAIL("401", "ft.InvalidAPIKey"), SM_OPENAPI_BAD_KEY, SM_HOLD,
     SM_HOLD, "the API key was refused (HTTP 401): ft.InvalidAPIKey"},
    {"403 bad key", 403, JSON, FAIL("403", "ft.InvalidAPIKey"), SM_OPENAPI_BAD_KEY, SM_HOLD,
     SM_HOLD, "(HTTP 403)"},
    {"403 another code", 403, JSON, FAIL("403", "ft.NoPermission"), SM_OPENAPI_REFUSED, SM_HOLD,
     SM_HOLD, "ft.NoPermission"},
    {"401 without a body says nothing of the key", 401, "", "", SM_OPENAPI_UNKNOWN, SM_HOLD,
     SM_HOLD, "HTTP 401 and an empty answer"},
    {"403 of a firewall", 403, "text/html", "<html>no</html>", SM_OPENAPI_UNKNOWN, SM_HOLD, SM_HOLD,
     "HTTP 403 and an HTML page"},
    {"404 of the platform", 404, JSON, FAIL("404", "ft.NotFound"), SM_OPENAPI_NOT_FOUND, SM_HOLD,
     SM_HOLD, "ft.NotFound"},
    {"404 of another server", 404, "text/html", "<html>404</html>", SM_OPENAPI_UNKNOWN, SM_HOLD,
     SM_HOLD, "HTML"},
    {"404 of another server, JSON", 404, JSON, "{\"detail\":\"Not Found\"}", SM_OPENAPI_UNKNOWN,
     SM_HOLD, SM_HOLD, "not an answer of the OpenAPI"},
    {"400", 400, JSON, FAIL("400", "ft.BadParam"), SM_OPENAPI_REFUSED, SM_REFUSED, SM_SPLIT,
     "ft.BadParam"},
    {"429", 429, "", "", SM_OPENAPI_LIMIT, SM_RETRY, SM_RETRY, "429"},
    {"408", 408, "", "", SM_OPENAPI_DOWN, SM_RETRY, SM_RETRY, "408"},
    {"500 of the platform", 500, JSON, FAIL("500", "ft.X"), SM_OPENAPI_DOWN, SM_RETRY, SM_RETRY,
     "ft.X"},
    {"500 empty", 500, "", "", SM_OPENAPI_DOWN, SM_RETRY, SM_RETRY, "HTTP 500"},
    {"500 with a limit's code", 500, JSON, FAIL("500", "ft.TriggerApiAkCurrentLimiting"),
     SM_OPENAPI_LIMIT, SM_RETRY, SM_RETRY, "rate limit"},
    {"502 HTML", 502, "text/html", "<html>bad gateway</html>", SM_OPENAPI_DOWN, SM_RETRY, SM_RETRY,
     "HTTP 502"},
    {"200 HTML", 200, "text/html; charset=utf-8", "<html>login</html>", SM_OPENAPI_UNKNOWN,
     SM_RETRY, SM_RETRY, "is a proxy in the way?"},
    {"200 HTML that says JSON", 200, JSON, "\r\n <!doctype html>", SM_OPENAPI_UNKNOWN, SM_RETRY,
     SM_RETRY, "HTML"},
    {"200 empty", 200, JSON, "", SM_OPENAPI_UNKNOWN, SM_RETRY, SM_RETRY, "an empty answer"},
    {"200 truncated", 200, JSON, "{\"code\":200,\"success\":tr", SM_OPENAPI_UNKNOWN, SM_RETRY,
     SM_RETRY, "not JSON"},
    {"200 truncated in content", 200, JSON, "{\"code\":200,\"success\":true,\"content\":{\"a\":",
     SM_OPENAPI_UNKNOWN, SM_RETRY, SM_RETRY, "not JSON"},
    {"200 garbage", 200, JSON, "\xff\xfe garbage", SM_OPENAPI_UNKNOWN, SM_RETRY, SM_RETRY,
     "not JSON"},
    {"200 JSON of somebody else", 200, JSON, "{\"hello\":\"world\"}", SM_OPENAPI_UNKNOWN, SM_RETRY,
     SM_RETRY, "not an answer of the OpenAPI"},
    {"200 a list", 200, JSON, "[1,2]", SM_OPENAPI_UNKNOWN, SM_RETRY, SM_RETRY,
     "not an answer of the OpenAPI"},
    {"200 a number", 200, JSON, "7", SM_OPENAPI_UNKNOWN, SM_RETRY, SM_RETRY, "not an answer"},
    {"a duplicate key", 200, JSON, "{\"success\":true,\"success\":true}", SM_OPENAPI_UNKNOWN,
     SM_RETRY, SM_RETRY, "not JSON"},
    {"an absurd code", 200, JSON, "{\"success\":false,\"code\":1e300}", SM_OPENAPI_DOWN, SM_RETRY,
     SM_RETRY, "own"},
    {"204", 204, "", "", SM_OPENAPI_UNKNOWN, SM_RETRY, SM_RETRY, "an empty answer"},
};

static sm_http_answer answer(int status, const char *type, const char *body) {
    return (sm_http_answer){.failure = SM_HTTP_ANSWERED,
                            .error = "",
                            .status = status,
                            .content_type = type,
                            .retry_after = "",
                            .date = "",
                            .location = "",
                            .body = body,
                            .body_n = strlen(body)};
}

static sm_verdict verdict(sm_openapi_answer *a, int batch) {
    a->verdict.batch = batch;
    return sm_verdict_of(&a->verdict, NULL);
}

static void envelopes(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        sm_http_answer http = answer(rows[i].status, rows[i].type, rows[i].body);
        sm_openapi_answer a;
        sm_openapi_read(&http, &a);
        bool ok = rows[i].kind == SM_OPENAPI_OK;
        if (a.kind != rows[i].kind || !strstr(a.sentence, rows[i].word) || ok != !a.sentence[0] ||
            ok != (a.content != NULL))
            fail_msg("%s: kind %d, \"%s\"", rows[i].name, (int)a.kind, a.sentence);
        if (verdict(&a, 1) != rows[i].one || verdict(&a, 10) != rows[i].many)
            fail_msg("%s: verdicts %s and %s", rows[i].name, sm_verdict_name(verdict(&a, 1)),
                     sm_verdict_name(verdict(&a, 10)));
        assert_int_equal(a.verdict.road, SM_ROAD_OPENAPI);
        sm_openapi_answer_fini(&a);
    }
}

static const struct {
    const char *name, *content;
    sm_openapi_kind kind;
    sm_verdict one, many;
    const char *word;
} inner[] = {
    {"200", "{\"ok\":true,\"error\":200,\"data\":{\"result\":{}}}", SM_OPENAPI_OK, SM_DELIVERED,
     SM_DELIVERED, ""},
    {"200.0", "{\"ok\":true,\"error\":200.0}", SM_OPENAPI_OK, SM_DELIVERED, SM_DELIVERED, ""},
    {"599.3",
     "{\"ok\":false,\"error\":599.3,\"reason\":\"EFuncFailed\",\"message\":\"Func failed\","
     "\"traceId\":\"t9\",\"data\":{},\"detail\":{\"einfoTEXT\":\"x\"}}",
     SM_OPENAPI_REFUSED, SM_RETRY, SM_SPLIT,
     "failed (error 599.3, EFuncFailed): Func failed (traceId t9)"},
    {"200.1", "{\"error\":200.1}", SM_OPENAPI_REFUSED, SM_REFUSED, SM_SPLIT, "error 200.1"},
    {"EFuncFailed by name", "{\"error\":599.1,\"reason\":\"EFuncFailed\"}", SM_OPENAPI_REFUSED,
     SM_RETRY, SM_SPLIT, "599.1"},
    {"a timeout", "{\"error\":599.2,\"reason\":\"EFuncTimeout\"}", SM_OPENAPI_DOWN, SM_RETRY,
     SM_RETRY, "EFuncTimeout"},
    {"500", "{\"error\":500}", SM_OPENAPI_DOWN, SM_RETRY, SM_RETRY, "error 500"},
    {"429", "{\"error\":429}", SM_OPENAPI_LIMIT, SM_RETRY, SM_RETRY, "error 429"},
    {"403", "{\"error\":403.1,\"message\":\"bad token\"}", SM_OPENAPI_REFUSED, SM_HOLD, SM_HOLD,
     "bad token"},
    {"404, no such function", "{\"error\":404}", SM_OPENAPI_NOT_FOUND, SM_HOLD, SM_HOLD,
     "error 404"},
    {"400", "{\"error\":400.2}", SM_OPENAPI_REFUSED, SM_REFUSED, SM_SPLIT, "error 400.2"},
    {"a text", "\"Internal error of the gateway\"", SM_OPENAPI_UNKNOWN, SM_RETRY, SM_RETRY,
     "neither success nor failure: Internal error of the gateway"},
    {"null", "null", SM_OPENAPI_UNKNOWN, SM_RETRY, SM_RETRY, "neither"},
    {"an empty object", "{}", SM_OPENAPI_UNKNOWN, SM_RETRY, SM_RETRY, "neither"},
    {"error as a text", "{\"error\":\"200\"}", SM_OPENAPI_UNKNOWN, SM_RETRY, SM_RETRY, "neither"},
    {"true", "true", SM_OPENAPI_UNKNOWN, SM_RETRY, SM_RETRY, "neither"},
};

static void inner_envelopes(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(inner); i++) {
        char body[600];
        snprintf(body, sizeof body, OUTER("%s"), inner[i].content);
        sm_http_answer http = answer(200, JSON, body);
        sm_openapi_answer a;
        sm_openapi_read(&http, &a);
        assert_int_equal(a.kind, SM_OPENAPI_OK);
        sm_openapi_inner(&a);
        bool ok = inner[i].kind == SM_OPENAPI_OK;
        if (a.kind != inner[i].kind || !strstr(a.sentence, inner[i].word) ||
            ok != (a.content != NULL))
            fail_msg("%s: kind %d, \"%s\"", inner[i].name, (int)a.kind, a.sentence);
        if (verdict(&a, 1) != inner[i].one || verdict(&a, 10) != inner[i].many)
            fail_msg("%s: verdicts %s and %s", inner[i].name, sm_verdict_name(verdict(&a, 1)),
                     sm_verdict_name(verdict(&a, 10)));
        sm_openapi_answer_fini(&a);
    }
}

/* A failure of the outer envelope is not looked into. */
static void inner_of_a_failure(void **state) {
    (void)state;
    sm_http_answer http = answer(500, JSON, FAIL("500", "ft.X"));
    sm_openapi_answer a;
    sm_openapi_read(&http, &a);
    sm_openapi_inner(&a);
    assert_int_equal(a.kind, SM_OPENAPI_DOWN);
    sm_openapi_answer_fini(&a);
}

static void content_and_page(void **state) {
    (void)state;
    sm_http_answer http =
        answer(200, JSON,
               "{\"success\":true,\"code\":200,\"content\":{\"data\":[{\"uuid\":\"rul_1\"}]},"
               "\"pageInfo\":{\"pageIndex\":1,\"pageSize\":100,\"count\":1,\"totalCount\":1}}");
    sm_openapi_answer a;
    sm_openapi_read(&http, &a);
    assert_int_equal(json_array_size(json_object_get(a.content, "data")), 1);
    assert_int_equal(sm_json_int(a.page, "totalCount", 0), 1);
    sm_openapi_answer_fini(&a);
    assert_null(a.content);
}

static const struct {
    const char *name, *location, *word;
} redirects[] = {
    {"elsewhere", "https://login.example/x?token=tkn_hidden#y", "to login.example, which"},
    {"with a user", "https://me:tkn_hidden@login.example", "to login.example, which"},
    {"relative", "/login?token=tkn_hidden", "to another path"},
    {"none", "", "to another path"},
};

static void redirected(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(redirects); i++) {
        sm_http_answer http = answer(302, "text/html", "<html>");
        http.location = redirects[i].location;
        sm_openapi_answer a;
        sm_openapi_read(&http, &a);
        if (a.kind != SM_OPENAPI_UNKNOWN || !strstr(a.sentence, redirects[i].word) ||
            !strstr(a.sentence, "HTTP 302") || strstr(a.sentence, "tkn_hidden"))
            fail_msg("%s: kind %d, \"%s\"", redirects[i].name, (int)a.kind, a.sentence);
        assert_int_equal(verdict(&a, 10), SM_HOLD);
        sm_openapi_answer_fini(&a);
    }
}

static void no_answer(void **state) {
    (void)state;
    static const struct {
        sm_http_failure failure;
        sm_verdict want;
    } t[] = {{SM_HTTP_DNS, SM_RETRY},
             {SM_HTTP_CONNECT, SM_RETRY},
             {SM_HTTP_TLS, SM_HOLD},
             {SM_HTTP_TIMEOUT, SM_RETRY},
             {SM_HTTP_OTHER, SM_RETRY}};
    for (size_t i = 0; i < SM_ARRAY_LEN(t); i++) {
        sm_http_answer http = {.failure = t[i].failure, .error = "nobody is there", .body = ""};
        sm_openapi_answer a;
        sm_openapi_read(&http, &a);
        assert_int_equal(a.kind, SM_OPENAPI_DOWN);
        assert_string_equal(a.sentence, "nobody is there");
        assert_int_equal(verdict(&a, 10), t[i].want);
        sm_openapi_answer_fini(&a);
    }
}

static void retry_after(void **state) {
    (void)state;
    static const struct {
        const char *header, *date;
        int64_t want;
    } t[] = {
        {"7", "", 7},
        {"", "", -1},
        {"soon", "", -1},
        {"999999", "", 3600},
        {"Wed, 20 Nov 2019 09:56:06 GMT", "", 0},
        {"Wed, 20 Nov 2019 09:56:06 GMT", "no date", 0},
        /* held against the server's own clock, however wrong that is */
        {"Wed, 20 Nov 2019 09:56:06 GMT", "Wed, 20 Nov 2019 09:55:36 GMT", 30},
        {"Wed, 20 Nov 2019 09:56:06 GMT", "Wed, 20 Nov 2019 09:57:00 GMT", 0},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(t); i++) {
        sm_http_answer http = answer(503, "", "");
        http.retry_after = t[i].header;
        http.date = t[i].date;
        sm_openapi_answer a;
        sm_openapi_read(&http, &a);
        if (a.verdict.retry_after_s != t[i].want)
            fail_msg("\"%s\" at \"%s\": %lld", t[i].header, t[i].date,
                     (long long)a.verdict.retry_after_s);
        sm_openapi_answer_fini(&a);
    }
}

/* What a platform writes is neither trusted to be short nor to be printable nor to be discreet. */
static void sentences_are_safe(void **state) {
    (void)state;
    sm_secret *key = sm_secret_new("very-secret-key-4711", 20);
    sm_http_answer http =
        answer(403, JSON,
               "{\"success\":false,\"errorCode\":\"ft.InvalidAPIKey\",\"message\":"
               "\"key very-secret-key-4711\\u001b[31m\\nis bad\"}");
    sm_openapi_answer a;
    sm_openapi_read(&http, &a);
    assert_null(strstr(a.sentence, "4711"));
    assert_null(strchr(a.sentence, '\x1b'));
    assert_null(strchr(a.sentence, '\n'));
    assert_non_null(strstr(a.sentence, "***"));
    sm_openapi_answer_fini(&a);

    /* The key lies across the place where the message is cut. */
    char across[600] = "{\"success\":false,\"message\":\"";
    for (int i = 0; i < 228; i++)
        strcat(across, "x");
    strcat(across, "very-secret-key-4711\"}");
    http = answer(400, JSON, across);
    sm_openapi_read(&http, &a);
    assert_null(strstr(a.sentence, "very"));
    sm_openapi_answer_fini(&a);

    char body[20000] = "{\"success\":false,\"errorCode\":\"ft.X\",\"traceId\":\"";
    for (int i = 0; i < 3000; i++)
        strcat(body, "值");
    strcat(body, "\",\"message\":\"");
    for (int i = 0; i < 3000; i++)
        strcat(body, "值");
    strcat(body, "\"}");
    http = answer(400, JSON, body);
    sm_openapi_read(&http, &a);
    assert_int_equal(a.kind, SM_OPENAPI_REFUSED);
    assert_true(strlen(a.sentence) < sizeof a.sentence);
    assert_true(sm_utf8_valid(a.sentence, strlen(a.sentence)));
    sm_openapi_answer_fini(&a);
    sm_secret_free(key);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(envelopes),          cmocka_unit_test(inner_envelopes),
        cmocka_unit_test(inner_of_a_failure), cmocka_unit_test(content_and_page),
        cmocka_unit_test(redirected),         cmocka_unit_test(no_answer),
        cmocka_unit_test(retry_after),        cmocka_unit_test(sentences_are_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
