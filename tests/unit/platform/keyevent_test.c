/* keyevent: the line of an event written out by hand, its variants, the road of report_event. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "platform/keyevent.h"

enum { MAX = 1 << 20 };

static json_t *parse(const char *text) {
    json_t *j = NULL;
    sm_err err = SM_ERR_INIT;
    if (sm_json_parse(text, strlen(text), MAX, &j, &err) != SM_OK)
        fail_msg("%s: %s", text, err.msg);
    return j;
}

#define PAYLOAD(checker, event)                                                                    \
    "{\"run\":\"r1\",\"id\":\"demo/disk.run\",\"ref_key\":\"ref-0001\",\"account\":\"default\","   \
    "\"node\":\"default\",\"checker\":\"" checker "\",\"title\":\"Disk, all\",\"attempt\":0,"      \
    "\"event\":{" event "}}"
#define ID "event-0123456789abcdef0123456789abcdef"
#define EVENT(status, more)                                                                        \
    "\"event_id\":\"" ID "\",\"at_ns\":1700000000123456789,\"title\":\"Disk \\\"sda\\\" 95%\","    \
    "\"message\":\"# Title\\n\\n1. a = `1`\\\\2\\n2. 值：95%\",\"status\":\"" status "\"" more
#define HOST                                                                                       \
    ",\"dimension_tags\":{\"host\":\"my host\"},\"dimension\":\"{\\\"host\\\":\\\"my host\\\"}\""
/* printf 'rul_0123\n{"host":"my host"}' | sha256sum */
#define REF "5fa3df15ebf9561ed5f630332afa73f8"
#define MESSAGE "df_message=\"# Title\n\n1. a = `1`\\\\2\n2. 值：95%\""
#define TAIL                                                                                       \
    "df_monitor_checker=\"self_hosted_monitor\",df_monitor_checker_name=\"Disk, all\","            \
    "df_monitor_checker_sub=\"check\",df_title=\"Disk \\\"sda\\\" 95%\" 1700000000123456789"

static const struct {
    const char *name, *payload, *line;
} lines[] = {
    {"a problem that begins its own fault", PAYLOAD("rul_0123", EVENT("error", HOST)),
     "monitor,df_event_id=" ID ",df_monitor_checker_event_ref=" REF
     ",df_monitor_checker_id=rul_0123,df_monitor_ref_key=ref-0001,df_monitor_type=bot_obs,"
     "df_source=monitor,df_status=error,host=my\\ host "
     "df_date_range=0i,df_dimension_tags=\"{\\\"host\\\":\\\"my host\\\"}\","
     "df_exec_mode=\"crontab\",df_fault_duration=0i,df_fault_id=\"" ID
     "\",df_fault_start_time=1700000000i,df_fault_status=\"fault\",df_issue_duration=0i,"
     "df_issue_start_time=1700000000i," MESSAGE "," TAIL},
    {"a problem of a known fault",
     PAYLOAD("rul_0123", EVENT("critical", HOST ",\"fault_id\":\"event-first\",\"fault_start_ns\":"
                                                "1699999000000000000")),
     "monitor,df_event_id=" ID ",df_monitor_checker_event_ref=" REF
     ",df_monitor_checker_id=rul_0123,df_monitor_ref_key=ref-0001,df_monitor_type=bot_obs,"
     "df_source=monitor,df_status=critical,host=my\\ host "
     "df_date_range=0i,df_dimension_tags=\"{\\\"host\\\":\\\"my host\\\"}\","
     "df_exec_mode=\"crontab\",df_fault_duration=1000i,df_fault_id=\"event-first\","
     "df_fault_start_time=1699999000i,df_fault_status=\"fault\",df_issue_duration=1000i,"
     "df_issue_start_time=1699999000i," MESSAGE "," TAIL},
    {"ok of a known fault",
     PAYLOAD("rul_0123", EVENT("ok", HOST ",\"fault_id\":\"event-first\",\"fault_start_ns\":"
                                          "1699999000000000000")),
     "monitor,df_event_id=" ID ",df_monitor_checker_event_ref=" REF
     ",df_monitor_checker_id=rul_0123,df_monitor_ref_key=ref-0001,df_monitor_type=bot_obs,"
     "df_source=monitor,df_status=ok,host=my\\ host "
     "df_date_range=0i,df_dimension_tags=\"{\\\"host\\\":\\\"my host\\\"}\","
     "df_exec_mode=\"crontab\",df_fault_duration=1000i,df_fault_id=\"event-first\","
     "df_fault_start_time=1699999000i,df_fault_status=\"ok\",df_issue_duration=1000i,"
     "df_issue_start_time=1699999000i," MESSAGE "," TAIL},
    {"ok without a fault, without dimension", PAYLOAD("rul_0123", EVENT("ok", "")),
     "monitor,df_event_id=" ID ",df_monitor_checker_event_ref=e67528345a0a2729c0a1d89ce6a55b88"
     ",df_monitor_checker_id=rul_0123,df_monitor_ref_key=ref-0001,df_monitor_type=bot_obs,"
     "df_source=monitor,df_status=ok "
     "df_date_range=0i,df_dimension_tags=\"{}\",df_exec_mode=\"crontab\",df_fault_status="
     "\"ok\"," MESSAGE "," TAIL},
    {"no checker: no reference either; our names stay ours",
     PAYLOAD("", EVENT("ok",
                       ",\"dimension_tags\":{\"df_source\":\"me\",\"df_title\":\"me\",\"b\":\"2\","
                       "\"a\":\"1\"}")),
     "monitor,a=1,b=2,df_event_id=" ID ",df_monitor_ref_key=ref-0001,df_monitor_type=bot_obs,"
     "df_source=monitor,df_status=ok "
     "df_date_range=0i,df_dimension_tags=\"{\\\"a\\\":\\\"1\\\",\\\"b\\\":\\\"2\\\","
     "\\\"df_source\\\":\\\"me\\\",\\\"df_title\\\":\\\"me\\\"}\",df_exec_mode=\"crontab\","
     "df_fault_status=\"ok\"," MESSAGE "," TAIL},
};

static void golden(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(lines); i++) {
        sm_buf b;
        sm_err err = SM_ERR_INIT;
        sm_buf_init(&b, MAX);
        json_t *payload = parse(lines[i].payload);
        if (sm_keyevent_line(&b, payload, &err) != SM_OK)
            fail_msg("%s: %s", lines[i].name, err.msg);
        if (strcmp(b.data, lines[i].line) != 0)
            fail_msg("%s:\nhave %s\nwant %s", lines[i].name, b.data, lines[i].line);
        json_decref(payload);
        sm_buf_fini(&b);
    }
}

static void exec_mode_and_range(void **state) {
    (void)state;
    sm_buf b;
    sm_buf_init(&b, MAX);
    json_t *payload = parse(PAYLOAD("rul_0123", EVENT("info", HOST)));
    json_object_set_new(payload, "exec_mode", json_string("manual"));
    json_object_set_new(payload, "date_range", json_integer(300));
    assert_int_equal(sm_keyevent_line(&b, payload, NULL), SM_OK);
    assert_non_null(strstr(b.data, "df_exec_mode=\"manual\""));
    assert_non_null(strstr(b.data, "df_date_range=300i"));
    json_decref(payload);
    sm_buf_fini(&b);
}

static const struct {
    const char *name, *payload, *word;
} bad[] = {
    {"no event", "{\"run\":\"r\"}", "no event_id"},
    {"event is no object", "{\"event\":[]}", "no event_id"},
    {"no title", "{\"event\":{\"event_id\":\"e\",\"message\":\"m\",\"status\":\"ok\",\"at_ns\":1}}",
     "no title"},
    {"message is no text",
     "{\"event\":{\"event_id\":\"e\",\"title\":\"t\",\"message\":1,\"status\":\"ok\",\"at_ns\":1}}",
     "no message"},
    {"no time",
     "{\"event\":{\"event_id\":\"e\",\"title\":\"t\",\"message\":\"m\",\"status\":\"ok\"}}",
     "no time"},
};

static void refused(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(bad); i++) {
        sm_buf b;
        sm_err err = SM_ERR_INIT;
        sm_buf_init(&b, MAX);
        json_t *payload = parse(bad[i].payload);
        sm_rc rc = sm_keyevent_line(&b, payload, &err);
        if (rc != SM_INVALID || !strstr(err.msg, bad[i].word) || b.len)
            fail_msg("%s: rc %d, \"%s\"", bad[i].name, (int)rc, err.msg);
        json_decref(payload);
        sm_buf_fini(&b);
    }
}

static void report(void **state) {
    (void)state;
    json_t *payload = parse(PAYLOAD("rul_0123", EVENT("error", HOST)));
    json_t *have = sm_keyevent_report(payload);
    json_t *want = parse("{\"title\":\"Disk \\\"sda\\\" 95%\",\"message\":\"# Title\\n\\n1. a = `1`"
                         "\\\\2\\n2. 值：95%\",\"status\":\"error\",\"dimension_tags\":"
                         "{\"host\":\"my host\"}}");
    assert_true(json_equal(have, want));
    json_decref(have);
    json_decref(want);
    json_decref(payload);
    payload = parse(PAYLOAD("rul_0123", EVENT("ok", "")));
    have = sm_keyevent_report(payload);
    assert_int_equal(json_object_size(json_object_get(have, "dimension_tags")), 0);
    assert_true(json_is_object(json_object_get(have, "dimension_tags")));
    json_decref(have);
    json_decref(payload);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),
        cmocka_unit_test(exec_mode_and_range),
        cmocka_unit_test(refused),
        cmocka_unit_test(report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
