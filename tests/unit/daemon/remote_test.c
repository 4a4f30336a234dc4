/* remote: registration, credentials, budget and end of a workspace over HTTP against a scripted
 * server. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "remote_help.h"

/* ---- registration -------------------------------------------------------------------------- */

static void test_registration(void **state) {
    world *w = *state;
    expect_ok(list(w, "k1,k2"), 0);
    const asked *a = stand_last(&w->stand, "checker/list");
    assert_non_null(strstr(a->line, "GET /a/api/v1/self_built_checker/list?refKey=k1,k2&"));
    assert_non_null(strstr(a->line, "pageSize=100"));
    assert_non_null(strstr(a->head, "DF-API-KEY: " KEY_ID "\r\n"));
    assert_non_null(strstr(a->head, "User-Agent: selfmon-lua/"));

    result x = create(w, "k1");
    assert_int_equal(x.rc, SM_OK);
    drop(&x);
    a = stand_last(&w->stand, "checker/create");
    assert_non_null(strstr(a->head, "Content-Type: application/json\r\n"));
    json_t *body = json_loadb(a->body, a->body_n, 0, NULL);
    assert_string_equal(sm_json_str(json_object_get(body, "refFuncInfo"), "funcId", ""),
                        "demo__shop.run");
    x = list(w, "k1,k2");
    assert_int_equal(json_array_size(x.value), 1);
    assert_string_equal(sm_json_str(json_array_get(x.value, 0), "uuid", ""), "rul_k1");
    drop(&x);

    const sm_target *t = sm_remote_target(w->r);
    x = (result){0};
    json_object_set_new(body, "monitorUUID", json_string("nothing of ours"));
    t->modify(t->ctx, "k1", body, on_done, &x);
    json_decref(body);
    wait_for(w, &x);
    assert_int_equal(x.rc, SM_OK);
    drop(&x);
    a = stand_last(&w->stand, "checker/modify");
    body = json_loadb(a->body, a->body_n, 0, NULL);
    assert_string_equal(sm_json_str(body, "refKey", ""), "k1");
    assert_null(json_object_get(json_object_get(body, "refFuncInfo"), "funcId"));
    assert_non_null(json_object_get(json_object_get(body, "refFuncInfo"), "args"));
    assert_int_equal(json_object_size(body), 3);
    json_decref(body);
}

static void test_answers(void **state) {
    world *w = *state;
    static const struct {
        const char *name;
        int status;
        const char *headers, *body;
        sm_rc rc;
        const char *sentence;
    } rows[] = {
        {"an envelope that refuses", 400, "",
         "{\"code\":400,\"success\":false,\"errorCode\":\"ft.X\",\"message\":\"bad\"}", SM_INVALID,
         "ft.X"},
        {"an HTML page", 200, "Content-Type: text/html\r\n", "<html>login</html>", SM_PROTO,
         "HTML"},
        {"garbage", 200, "", "{\"code\":200,", SM_PROTO, "JSON"},
        {"nothing", 200, "", "", SM_PROTO, "empty"},
        {"an error of its own", 503, "", "{}", SM_IO, "503"},
        {"a redirect", 302, "Location: http://other.example/\r\n", "", SM_PROTO, "redirect"},
        {"no list in a list", 200, "", "{\"code\":200,\"success\":true,\"content\":{\"data\":5}}",
         SM_PROTO, "no list"},
        {"a content that is a list itself", 200, "",
         "{\"code\":200,\"success\":true,\"content\":[{\"refKey\":\"k\"}]}", SM_OK, ""},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        stand_say(&w->stand, "checker/list", 1, rows[i].status, rows[i].headers, rows[i].body);
        result x = list(w, "k");
        if (x.rc != rows[i].rc || !strcasestr(x.error, rows[i].sentence) ||
            (x.rc != SM_OK && !strstr(x.error, "truewatch/us1")))
            fail_msg("%s: %s \"%s\"", rows[i].name, sm_rc_name(x.rc), x.error);
        drop(&x);
    }
    assert_int_equal(stand_count(&w->stand, "checker/list"), (int)SM_ARRAY_LEN(rows));
}

static void test_pages(void **state) {
    world *w = *state;
    json_t *first = json_array(), *second = json_array();
    for (int i = 0; i < 100; i++)
        json_array_append_new(first, json_pack("{s:s, s:i}", "refKey", "k", "createAt", i));
    json_array_append_new(second, json_pack("{s:s, s:i}", "refKey", "k", "createAt", 100));
    json_array_append_new(second, json_pack("{s:s, s:i}", "refKey", "gone", "status", 3));
    json_array_append_new(second, json_pack("{s:s, s:i}", "refKey", "gone", "deleteAt", 17));
    json_t *pages[] = {first, second};
    for (int i = 0; i < 2; i++) {
        json_t *whole = json_pack("{s:i, s:b, s:{s:o}, s:{s:i}}", "code", 200, "success", 1,
                                  "content", "data", pages[i], "pageInfo", "totalCount", 103);
        char *text = sm_json_dump(whole, NULL);
        stand_say(&w->stand, i == 0 ? "pageIndex=1&" : "pageIndex=2&", -1, 200, "", text);
        json_decref(whole);
        free(text);
    }
    expect_ok(list(w, "k"), 101);
    assert_int_equal(stand_count(&w->stand, "checker/list"), 2);
}

/* One that does not page and shows what nobody asked for: one call, and nothing of it stays. */
static void test_no_pages(void **state) {
    world *w = *state;
    json_t *all = json_array();
    for (int i = 0; i < 5000; i++) {
        char key[16];
        snprintf(key, sizeof key, "other%d", i);
        json_array_append_new(all, json_pack("{s:s, s:s}", "refKey", key, "status", "no number"));
    }
    json_array_append_new(all, json_pack("{s:s}", "refKey", "k"));
    json_array_append_new(all, json_pack("[i]", 5));
    json_array_append_new(all, json_pack("{s:i}", "refKey", 5));
    json_t *whole = json_pack("{s:i, s:b, s:{s:o}, s:{s:i}}", "code", 200, "success", 1, "content",
                              "data", all, "pageInfo", "totalCount", 999999);
    char *text = sm_json_dump(whole, NULL);
    stand_say(&w->stand, "checker/list", -1, 200, "", text);
    expect_ok(list(w, "k,not there"), 5001);
    assert_int_equal(stand_count(&w->stand, "checker/list"), 1);
    assert_int_equal(w->r->known.len, 1);
    json_decref(whole);
    free(text);
}

static void test_questions_are_merged(void **state) {
    world *w = *state;
    result x[3];
    for (int i = 0; i < 3; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        json_object_set_new(w->registered, key, json_string("t"));
        list_start(w, key, &x[i]);
    }
    for (int i = 0; i < 3; i++) {
        wait_for(w, &x[i]);
        expect_ok(x[i], 3);
    }
    assert_int_equal(stand_count(&w->stand, "checker/list"), 1);
}

/* ---- credentials --------------------------------------------------------------------------- */

static int with_header(const world *w, const char *value) {
    int n = 0;
    for (int i = 0; i < w->stand.n; i++)
        n += strstr(w->stand.asked[i].head, value) != NULL;
    return n;
}

static void test_credentials(void **state) {
    world *w = *state;
    stand_say(&w->stand, "checker/list", 1, 401, "", BAD_KEY);
    expect_ok(list(w, "k"), 0);
    assert_int_equal(with_header(w, KEY_ID), 1);
    assert_int_equal(with_header(w, KEY), 1);
    expect_ok(list(w, "k"), 0); /* remembered */
    assert_int_equal(with_header(w, KEY), 2);
    end(w);
    begin(w);
    expect_ok(list(w, "k"), 0); /* across a restart, too */
    assert_int_equal(with_header(w, KEY_ID), 1);
    assert_int_equal(with_header(w, KEY), 3);
}

static void test_bad_key(void **state) {
    world *w = *state;
    stand_say(&w->stand, "checker/list", -1, 403, "", BAD_KEY);
    result x = list(w, "k");
    assert_int_equal(x.rc, SM_DENIED);
    assert_non_null(strstr(x.error, "ft.InvalidAPIKey"));
    assert_non_null(strstr(x.error, "Guance Cloud is refused here"));
    assert_null(strstr(x.error, KEY_ID));
    assert_int_equal(stand_count(&w->stand, "checker/list"), 2);
    json_t *status = sm_remote_status(w->r);
    assert_non_null(strstr(sm_json_str(status, "last_error", ""), "InvalidAPIKey"));
    json_decref(status);

    sm_secret_free(w->key_id);
    sm_secret_free(w->key);
    w->key_id = w->key = NULL;
    x = list(w, "k");
    assert_int_equal(x.rc, SM_DENIED);
    assert_non_null(strstr(x.error, "has no API key"));
    assert_int_equal(stand_count(&w->stand, "checker/list"), 2);
}

/* ---- budget -------------------------------------------------------------------------------- */

static void test_limit_waits(void **state) {
    world *w = *state;
    stand_say(&w->stand, "checker/", 1, 401, "", LIMIT);
    result x = create(w, "k");
    assert_int_equal(x.rc, SM_OK); /* no failure, no second credential */
    drop(&x);
    assert_int_equal(with_header(w, KEY_ID), 2);
    stand_say(&w->stand, "checker/list", 1, 401, "", LIMIT);
    expect_ok(list(w, "k"), 1); /* never seen: waits */
    assert_int_equal(stand_count(&w->stand, "checker/list"), 2);

    w->r->budget.pause_ns = 20 * SM_NS_PER_S;
    sm_remote_set_patience(w->r, 0.05);
    stand_say(&w->stand, "checker/list", 1, 401, "", LIMIT);
    x = list(w, "k"); /* known by now: refused, the last view is used */
    assert_int_equal(x.rc, SM_LIMIT);
    assert_non_null(strstr(x.error, "last known view"));
    json_t *status = sm_remote_status(w->r);
    assert_int_equal(sm_json_int(json_object_get(status, "budget"), "key", -1), 0);
    json_decref(status);
}

static void test_pace(void **state) {
    world *w = *state;
    enum { N = 8 };
    result x[N];
    end(w);
    w->account.rate_key = 3;
    begin(w);
    w->r->budget.window_ns = 300 * SM_NS_PER_MS;
    for (int i = 0; i < N; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        create_start(w, key, &x[i]);
    }
    json_t *status = sm_remote_status(w->r), *budget = json_object_get(status, "budget");
    assert_int_equal(sm_json_int(budget, "waiting", 0), N);
    assert_int_equal(sm_json_int(budget, "per_minute", 0), 3);
    assert_true(sm_json_num(budget, "seconds_to_fill", 0) > 0.4);
    json_decref(status);
    for (int i = 0; i < N; i++) {
        wait_for(w, &x[i]);
        assert_int_equal(x[i].rc, SM_OK);
        drop(&x[i]);
    }
    for (int i = 0; i + 3 < w->stand.n; i++) {
        uint64_t gap = w->stand.asked[i + 3].at_ms - w->stand.asked[i].at_ms;
        if (gap < 299)
            fail_msg("four calls within %d ms", (int)gap);
    }
}

static void test_budget_is_shared(void **state) {
    world *w = *state;
    end(w);
    w->account.rate_key = 4;
    begin(w);
    result x;
    for (int i = 0; i < 3; i++) {
        x = create(w, "k");
        drop(&x);
    }
    end(w);
    begin(w);
    settle_store(w);
    assert_int_equal(sm_remote_budget_left(&w->r->budget, 4, sm_mono_ns()), 1);
    expect_ok(list(w, "k"), 1);
    sm_remote_set_patience(w->r, 0.01);
    x = list(w, "k");
    assert_int_equal(x.rc, SM_LIMIT);
}

static void test_budget_pure(void **state) {
    (void)state;
    sm_remote_budget b, c;
    const int64_t s = SM_NS_PER_S, wall = 1700000000 * SM_NS_PER_S;
    sm_remote_budget_init(&b, 4, 200);
    b.window_ns = 60 * s;
    int64_t t = 1000 * s;
    for (int i = 0; i < 4; i++) {
        assert_true(sm_remote_budget_at(&b, t, false) == t);
        sm_remote_budget_take(&b, t);
    }
    assert_true(sm_remote_budget_at(&b, t, false) == INT64_MAX); /* all under way */
    for (int i = 0; i < 4; i++)
        sm_remote_budget_end(&b, t + i * s);
    assert_true(sm_remote_budget_at(&b, t + 5 * s, false) == t + 60 * s);
    assert_true(sm_remote_budget_at(&b, t + 61 * s, false) == t + 61 * s);
    assert_int_equal(sm_remote_budget_left(&b, 4, t + 61 * s), 2);
    /* A paced call keeps its distance once half is spent. */
    sm_remote_budget_take(&b, t + 61 * s);
    assert_true(sm_remote_budget_at(&b, t + 61 * s, true) == t + 76 * s);
    assert_true(sm_remote_budget_at(&b, t + 61 * s, false) == t + 61 * s);

    json_t *saved = sm_remote_budget_save(&b, t + 61 * s, wall);
    sm_remote_budget_init(&c, 4, 200);
    c.window_ns = 60 * s;
    sm_remote_budget_load(&c, saved, 5 * s, wall + 1 * s);
    assert_int_equal(sm_remote_budget_left(&c, 4, 5 * s), 2); /* one of three was a minute old */
    sm_remote_budget_fini(&c);
    sm_remote_budget_init(&c, 4, 200);
    sm_remote_budget_load(&c, saved, 5 * s, wall - 3600 * s); /* the clock went back */
    assert_int_equal(sm_remote_budget_left(&c, 4, 5 * s), 4);
    json_decref(saved);

    sm_remote_budget_block(&c, 5 * s, -1);
    assert_int_equal(sm_remote_budget_left(&c, 4, 6 * s), 0);
    int64_t at = sm_remote_budget_at(&c, 6 * s, false);
    assert_true(at >= 25 * s && at <= 65 * s);
    saved = sm_remote_budget_save(&c, 5 * s, wall);
    sm_remote_budget_fini(&c);
    sm_remote_budget_init(&c, 4, 200);
    sm_remote_budget_load(&c, saved, 1 * s, wall);
    assert_true(llabs(sm_remote_budget_at(&c, 1 * s, false) - (at - 4 * s)) < s / 100);
    json_decref(saved);
    sm_remote_budget_fini(&c);
    sm_remote_budget_init(&c, 4, 200);
    sm_remote_budget_block(&c, 5 * s, 7);
    at = sm_remote_budget_at(&c, 5 * s, false);
    assert_true(at >= 12 * s && at <= 13 * s);
    sm_remote_budget_fini(&c);
    sm_remote_budget_fini(&b);
}

/* ---- the end ------------------------------------------------------------------------------- */

static void test_close_answers(void **state) {
    world *w = *state;
    result x[3];
    delivered d = {0};
    findings f = {.lines = json_array()};
    json_t *events = some_events(1);
    const sm_target *t = sm_remote_target(w->r);
    w->r->budget.blocked_ns = sm_mono_ns() + 3600 * SM_NS_PER_S;
    create_start(w, "k1", &x[0]);
    list_start(w, "k2", &x[1]);
    t->deliver(t->ctx, events, on_delivered, &d);
    sm_remote_doctor(w->r, false, on_told, on_examined, &f);
    settle_store(w);
    sm_remote_close(w->r);
    t->list(t->ctx, json_object_get(json_array_get(events, 0), "none"), on_done,
            (x[2] = (result){0}, &x[2]));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(x[i].calls, 1);
        assert_int_equal(x[i].rc, SM_CLOSED);
    }
    assert_int_equal(d.calls, 1);
    assert_int_equal(verdict_of(&d), SM_RETRY);
    json_decref(events);
    sm_http_close(w->http);
    for (int i = 0; i < 20; i++)
        uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_int_equal(f.done, 1);
    json_decref(f.lines);
}

static void test_without_store(void **state) {
    world *w = *state;
    end(w);
    w->r = sm_remote_new(&w->loop, w->http, NULL, &w->account);
    expect_ok(list(w, "k"), 0);
    json_t *status = sm_remote_status(w->r);
    char *text = sm_json_dump(status, NULL);
    assert_null(strstr(text, KEY_ID));
    assert_string_equal(sm_json_str(status, "node", ""), "truewatch/us1");
    assert_true(json_is_null(json_object_get(status, "last_error")));
    free(text);
    json_decref(status);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_registration),
        T(test_answers),
        T(test_pages),
        T(test_no_pages),
        T(test_questions_are_merged),
        T(test_credentials),
        T(test_bad_key),
        T(test_limit_waits),
        T(test_pace),
        T(test_budget_is_shared),
        cmocka_unit_test(test_budget_pure),
        T(test_close_answers),
        T(test_without_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
