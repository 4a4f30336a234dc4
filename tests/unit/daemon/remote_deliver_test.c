/* remote: deliveries by every road, against a scripted server, as platform/verdict judges them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "remote_help.h"

static void test_openway(void **state) {
    world *w = *state;
    delivered d = deliver(w, 3);
    assert_int_equal(verdict_of(&d), SM_DELIVERED);
    const asked *a = stand_last(&w->stand, "/v1/write");
    assert_string_equal(a->line, "POST /way/v1/write/keyevent?token=" TOKEN);
    assert_non_null(strstr(a->head, "Content-Type: text/plain\r\n"));
    assert_null(strcasestr(a->head, "DF-API-KEY"));
    assert_null(strcasestr(a->head, "Authorization"));
    assert_null(strcasestr(a->head, "Content-Encoding"));
    assert_true(strncmp(a->body, "monitor,", 8) == 0);
    assert_non_null(strstr(a->body, "host=a\\ b"));
    deliver(w, 1);
    assert_int_equal(stand_count(&w->stand, "workspace/get"), 1); /* cached */
    d = deliver(w, 100);
    assert_int_equal(verdict_of(&d), SM_DELIVERED);
    a = stand_last(&w->stand, "/v1/write");
    assert_non_null(strstr(a->head, "Content-Encoding: gzip\r\n"));
    assert_true(a->body_n < 20480 && (unsigned char)a->body[0] == 0x1f);
}

static void test_write_verdicts(void **state) {
    world *w = *state;
    static const struct {
        const char *name;
        int status;
        const char *headers, *body;
        int batch;
        sm_verdict verdict;
        const char *detail;
    } rows[] = {
        {"204", 204, "", "", 2, SM_DELIVERED, ""},
        {"200 with any body", 200, "Content-Type: text/plain\r\n", "what", 2, SM_DELIVERED, ""},
        {"200 with HTML", 200, "Content-Type: text/html\r\n", "<html>", 2, SM_HOLD, "HTTP 200"},
        {"400 for a batch", 400, "", "bad point", 2, SM_SPLIT, "bad point"},
        {"400 for one", 400, "", "bad point", 1, SM_REFUSED, "bad point"},
        {"403", 403, "", "no", 2, SM_HOLD, "report_event"},
        {"404", 404, "", "", 2, SM_HOLD, "HTTP 404"},
        {"a redirect", 302, "Location: http://x.example/y\r\n", "", 2, SM_HOLD, "x.example"},
        {"429", 429, "Retry-After: 7\r\n", "", 2, SM_RETRY, "HTTP 429"},
        {"500", 500, "", "oops\nline", 2, SM_RETRY, "oops"},
    };
    deliver(w, 1);
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        /* A token that worked is asked for again once. */
        int times = rows[i].status == 403 ? 2 : 1;
        stand_say(&w->stand, "/v1/write", times, rows[i].status, rows[i].headers, rows[i].body);
        delivered d = deliver(w, rows[i].batch);
        if (verdict_of(&d) != rows[i].verdict || !strstr(d.detail, rows[i].detail) ||
            strchr(d.detail, '\n'))
            fail_msg("%s: %s \"%s\"", rows[i].name, sm_verdict_name(verdict_of(&d)), d.detail);
        if (rows[i].status == 429)
            assert_int_equal(d.answer.retry_after_s, 7);
    }
    assert_int_equal(stand_count(&w->stand, "workspace/get"), 2);
    end(w);
    stand_say(&w->stand, "/v1/write", 1, 200, "Content-Type: text/plain\r\n", "x");
    free(w->node.openway);
    w->node.openway = sm_strdup("http://127.0.0.1:1");
    begin(w);
    delivered d = deliver(w, 2);
    assert_int_equal(verdict_of(&d), SM_RETRY);
    assert_non_null(strstr(d.detail, "http://127.0.0.1:1"));
}

static void test_token_is_renewed(void **state) {
    world *w = *state;
    deliver(w, 1);
    stand_say(&w->stand, "/v1/write", 1, 403, "", "old token");
    delivered d = deliver(w, 1);
    assert_int_equal(verdict_of(&d), SM_DELIVERED);
    assert_int_equal(stand_count(&w->stand, "workspace/get"), 2);
    assert_int_equal(stand_count(&w->stand, "/v1/write"), 3);
    /* One that was never accepted is not asked for at each try. */
    stand_say(&w->stand, "/v1/write", -1, 403, "", "closed");
    for (int i = 0; i < 3; i++) {
        d = deliver(w, 1);
        assert_int_equal(verdict_of(&d), SM_HOLD);
    }
    assert_int_equal(stand_count(&w->stand, "workspace/get"), 3);
    assert_int_equal(stand_count(&w->stand, "/v1/write"), 7);
}

static void test_no_token(void **state) {
    world *w = *state;
    static const char no_token[] =
        "{\"code\":200,\"success\":true,\"content\":{\"uuid\":\"wksp_1\"}}";
    stand_say(&w->stand, "workspace/get", -1, 200, "", no_token);
    for (int i = 0; i < 2; i++) {
        delivered d = deliver(w, 2);
        assert_int_equal(verdict_of(&d), SM_HOLD);
        assert_non_null(strstr(d.detail, "Administrator"));
    }
    assert_int_equal(stand_count(&w->stand, "workspace/get"), 1); /* not asked at each try */
    assert_int_equal(stand_count(&w->stand, "/v1/write"), 0);
}

/* A missing role is remembered, an outage is not taken for one. */
static void test_role_then_outage(void **state) {
    world *w = *state;
    stand_say(&w->stand, "workspace/get", 1, 200, "", "{\"code\":200,\"success\":true}");
    delivered d = deliver(w, 2);
    assert_int_equal(verdict_of(&d), SM_HOLD);
    w->r->token_ns -= 60 * SM_NS_PER_S;
    stand_say(&w->stand, "workspace/get", 1, 500, "", "{}");
    d = deliver(w, 2);
    assert_int_equal(verdict_of(&d), SM_RETRY);
    d = deliver(w, 2);
    assert_int_equal(verdict_of(&d), SM_DELIVERED);
    assert_int_equal(stand_count(&w->stand, "workspace/get"), 3);
}

static json_t *unfit_event(void) {
    json_t *events = some_events(1);
    json_object_del(json_object_get(json_array_get(events, 0), "event"), "event_id");
    return events;
}

typedef struct pair {
    world *world;
    delivered second;
    bool begun;
} pair;

static void on_first(void *ctx, const sm_answer *answer, const char *detail) {
    pair *p = ctx;
    (void)answer, (void)detail;
    const sm_target *t = sm_remote_target(p->world->r);
    json_t *events = unfit_event();
    p->begun = true;
    t->deliver(t->ctx, events, on_delivered, &p->second);
    json_decref(events);
}

/* What ends without a request does not wait for the budget that others wait for. */
static void test_answer_beside_a_spent_budget(void **state) {
    world *w = *state;
    pair p = {.world = w};
    result x;
    const sm_target *t = sm_remote_target(w->r);
    settle_store(w);
    w->r->budget.blocked_ns = sm_mono_ns() + 60 * SM_NS_PER_S;
    create_start(w, "k1", &x);
    json_t *events = unfit_event();
    t->deliver(t->ctx, events, on_first, &p);
    json_decref(events);
    int64_t until = sm_mono_ns() + 5 * SM_NS_PER_S;
    while (p.second.calls == 0 && sm_mono_ns() < until)
        uv_run(&w->loop, UV_RUN_ONCE);
    assert_true(p.begun);
    assert_int_equal(p.second.calls, 1);
    assert_int_equal(verdict_of(&p.second), SM_REFUSED);
    assert_int_equal(x.calls, 0);
    end(w);
    assert_int_equal(x.calls, 1);
}

/* Whatever becomes of the question for the token is not the events' fault. */
static void test_token_question_fails(void **state) {
    world *w = *state;
    static const struct {
        const char *name;
        int status;
        const char *headers, *body;
        sm_verdict verdict;
    } rows[] = {
        {"a refused question", 400, "",
         "{\"code\":400,\"success\":false,\"errorCode\":\"ft.X\",\"message\":\"m\"}", SM_HOLD},
        {"a failure inside a 200", 200, "",
         "{\"code\":200,\"success\":false,\"errorCode\":\"ft.X\",\"message\":\"m\"}", SM_HOLD},
        {"a bad key", 200, "", BAD_KEY, SM_HOLD},
        {"a page", 200, "Content-Type: text/html\r\n", "<html>", SM_RETRY},
        {"an error", 502, "", "", SM_RETRY},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        stand_say(&w->stand, "workspace/get", i == 2 ? 2 : 1, rows[i].status, rows[i].headers,
                  rows[i].body);
        delivered d = deliver(w, 1);
        if (verdict_of(&d) != rows[i].verdict || !d.detail[0])
            fail_msg("%s: %s \"%s\"", rows[i].name, sm_verdict_name(verdict_of(&d)), d.detail);
    }
    assert_int_equal(stand_count(&w->stand, "/v1/write"), 0);
}

static void test_unfit_event(void **state) {
    world *w = *state;
    for (int n = 2; n > 0; n--) {
        delivered d = {0};
        json_t *events = some_events(n);
        json_object_del(json_object_get(json_array_get(events, n - 1), "event"), "event_id");
        const sm_target *t = sm_remote_target(w->r);
        t->deliver(t->ctx, events, on_delivered, &d);
        json_decref(events);
        while (d.calls == 0)
            uv_run(&w->loop, UV_RUN_ONCE);
        assert_int_equal(verdict_of(&d), n > 1 ? SM_SPLIT : SM_REFUSED);
        assert_non_null(strstr(d.detail, "event_id"));
    }
    assert_int_equal(w->stand.n, 0);
}

static void use_road(world *w, const char *road) {
    end(w);
    w->account.report_via = road;
    begin(w);
}

static void test_report_event(void **state) {
    world *w = *state;
    use_road(w, "report_event");
    delivered d = deliver(w, 2);
    assert_int_equal(verdict_of(&d), SM_DELIVERED);
    const asked *a = stand_last(&w->stand, "outer_function/execute");
    json_t *body = json_loadb(a->body, a->body_n, 0, NULL);
    assert_string_equal(sm_json_str(body, "funcId", ""), "guance__openapi.report_event");
    const json_t *kwargs = json_object_get(json_object_get(body, "funcBody"), "kwargs");
    assert_string_equal(sm_json_str(kwargs, "workspace_uuid", ""), "wksp_1");
    assert_string_equal(sm_json_str(kwargs, "workspace_token", ""), TOKEN);
    assert_int_equal(json_array_size(json_object_get(kwargs, "data")), 2);
    json_decref(body);

    static const struct {
        const char *name;
        int status;
        const char *body;
        int batch;
        sm_verdict verdict;
    } rows[] = {
        {"a failure inside a 200", 200,
         "{\"code\":200,\"success\":true,\"content\":{\"ok\":false,\"error\":599.3,\"reason\":"
         "\"EFuncFailed\",\"message\":\"boom\"}}",
         2, SM_SPLIT},
        {"for one event", 200,
         "{\"code\":200,\"success\":true,\"content\":{\"ok\":false,\"error\":599.3,\"reason\":"
         "\"EFuncFailed\",\"message\":\"boom\"}}",
         1, SM_RETRY},
        {"a 4xx of the function for one event", 200,
         "{\"code\":200,\"success\":true,\"content\":{\"ok\":false,\"error\":400.1,\"reason\":"
         "\"EBadArg\",\"message\":\"no such status\"}}",
         1, SM_REFUSED},
        {"a rate limit", 401, LIMIT, 2, SM_RETRY},
        {"garbage", 200, "x", 2, SM_RETRY},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        stand_say(&w->stand, "outer_function", 1, rows[i].status, "", rows[i].body);
        d = deliver(w, rows[i].batch);
        if (verdict_of(&d) != rows[i].verdict || !d.detail[0])
            fail_msg("%s: %s \"%s\"", rows[i].name, sm_verdict_name(verdict_of(&d)), d.detail);
        if (rows[i].status == 401)
            assert_true(d.answer.retry_after_s > 0);
    }
    assert_int_equal(stand_count(&w->stand, "workspace/get"), 1);
}

static void test_datakit(void **state) {
    world *w = *state;
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/way", w->stand.port);
    w->account.datakit = url;
    use_road(w, "datakit");
    delivered d = deliver(w, 1);
    assert_int_equal(verdict_of(&d), SM_DELIVERED);
    assert_string_equal(stand_last(&w->stand, "/v1/write")->line,
                        "POST /way/v1/write/keyevent?input=selfmon-lua");
    assert_int_equal(w->stand.n, 1); /* no token is needed */
}

static void test_dway(void **state) {
    world *w = *state;
    static const char *const modes[] = {"full", "empty"};
    w->secret_key = sm_secret_new("s3cr3t/+=KEY", 12);
    w->account.access_key = "AKID0001";
    for (int i = 0; i < 2; i++) {
        w->account.dway = modes[i];
        use_road(w, "openway");
        deliver(w, i == 0 ? 1 : 100);
        const asked *a = stand_last(&w->stand, "/v1/write");
        char date[32] = "";
        const char *line = strstr(a->head, "\r\nDate: ");
        assert_non_null(line);
        snprintf(date, sizeof date, "%.29s", line + 8);
        char *value =
            sm_sign_dway("AKID0001", "s3cr3t/+=KEY", 12, "POST", i == 0 ? "text/plain" : "",
                         a->body, i == 0 ? a->body_n : 0, date);
        char *wanted = sm_asprintf("\r\nAuthorization: %s\r\n", value);
        if (!strstr(a->head, wanted))
            fail_msg("%s: %s in %s", modes[i], wanted, a->head);
        free(wanted);
        free(value);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_openway),
        T(test_write_verdicts),
        T(test_token_is_renewed),
        T(test_no_token),
        T(test_role_then_outage),
        T(test_answer_beside_a_spent_budget),
        T(test_token_question_fails),
        T(test_unfit_event),
        T(test_report_event),
        T(test_datakit),
        T(test_dway),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
