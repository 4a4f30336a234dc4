/* remote: what doctor finds out about an account, against a scripted server. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "remote_help.h"

static findings examine(world *w, bool send_event) {
    findings f = {.lines = json_array()};
    sm_remote_doctor(w->r, send_event, on_told, on_examined, &f);
    while (f.done == 0)
        uv_run(&w->loop, UV_RUN_ONCE);
    assert_int_equal(f.done, 1);
    char *text = sm_json_dump(f.lines, NULL);
    assert_null(strstr(text, KEY_ID));
    assert_null(strstr(text, TOKEN));
    free(text);
    return f;
}

static const json_t *line_of(const findings *f, const char *check) {
    size_t i;
    json_t *line;
    json_array_foreach(f->lines, i, line) {
        if (strcmp(sm_json_str(line, "check", ""), check) == 0)
            return line;
    }
    return NULL;
}

static void test_doctor_healthy(void **state) {
    world *w = *state;
    static const char *const checks[] = {
        "openapi", "key", "role", "openway", "event by openway", "event by report_event"};
    findings f = examine(w, true);
    assert_int_equal(json_array_size(f.lines), SM_ARRAY_LEN(checks));
    for (size_t i = 0; i < SM_ARRAY_LEN(checks); i++) {
        const json_t *line = line_of(&f, checks[i]);
        if (!line || !sm_json_bool(line, "ok", false))
            fail_msg("%s: %s", checks[i], line ? sm_json_str(line, "text", "") : "missing");
    }
    stand_last(&w->stand, "/way/v1/check/" TOKEN);
    assert_non_null(strstr(stand_last(&w->stand, "/v1/write")->body, "doctor"));
    json_decref(f.lines);
}

static void test_doctor_findings(void **state) {
    world *w = *state;
    char hour[64], minutes[64], date[32];
    int64_t now = sm_wall_ns() / SM_NS_PER_S;
    sm_sign_date(now - 3600, date);
    snprintf(hour, sizeof hour, "Date: %s\r\n", date);
    sm_sign_date(now + 120, date);
    snprintf(minutes, sizeof minutes, "Date: %s\r\n", date);
    const struct {
        const char *name, *path;
        int status;
        const char *headers, *body, *check;
        bool ok, warn;
        const char *text;
    } rows[] = {
        {"a key of the other brand", "workspace/get", 403, "", BAD_KEY, "key", false, false,
         "Guance Cloud is refused"},
        {"no role", "workspace/get", 200, "", "{\"code\":200,\"success\":true,\"content\":{}}",
         "role", false, false, "Administrator"},
        {"no role, said otherwise", "workspace/get", 403, "",
         "{\"code\":403,\"success\":false,\"errorCode\":\"ft.NoPermission\",\"message\":\"m\"}",
         "role", false, false, "Administrator"},
        {"the limit", "workspace/get", 200, "", LIMIT, "key", false, false, "rate limit"},
        {"a page", "workspace/get", 200, "Content-Type: text/html\r\n", "<html>", "openapi", false,
         false, "HTML"},
        {"a redirect", "workspace/get", 301, "Location: https://console.example/\r\n", "",
         "openapi", false, false, "console.example"},
        {"an hour ahead", "workspace/get", 200, hour, WORKSPACE, "clock", false, false, "ahead"},
        {"two minutes behind", "workspace/get", 200, minutes, WORKSPACE, "clock", true, true,
         "behind"},
        {"a closed OpenWay", "/v1/check", 403, "", "{}", "openway", false, false, "report_event"},
        {"an OpenWay that does not know us", "/v1/check", 404, "", "{}", "openway", false, false,
         "token"},
        {"a page at the OpenWay", "/v1/check", 200, "Content-Type: text/html\r\n", "<html>",
         "openway", false, false, "HTML"},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        stand_forget(&w->stand);
        stand_say(&w->stand, rows[i].path, -1, rows[i].status, rows[i].headers, rows[i].body);
        w->r->budget.n = 0;
        w->r->budget.blocked_ns = 0;
        findings f = examine(w, false);
        const json_t *line = line_of(&f, rows[i].check);
        if (!line || sm_json_bool(line, "ok", false) != rows[i].ok ||
            sm_json_bool(line, "warn", false) != rows[i].warn ||
            !strstr(sm_json_str(line, "text", ""), rows[i].text)) {
            char *all = sm_json_dump(f.lines, NULL);
            fail_msg("%s: %s", rows[i].name, all);
        }
        json_decref(f.lines);
    }
    end(w);
    free(w->node.openapi);
    w->node.openapi = sm_strdup("http://127.0.0.1:1");
    begin(w);
    findings f = examine(w, false);
    assert_false(sm_json_bool(line_of(&f, "openapi"), "ok", true));
    assert_null(line_of(&f, "key")); /* said once */
    assert_true(sm_json_bool(line_of(&f, "openway"), "ok", false));
    json_decref(f.lines);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_doctor_healthy),
        T(test_doctor_findings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
