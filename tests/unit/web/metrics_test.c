/* metrics: the text of a snapshot; what a snapshot lacks is left out, whatever it lacks. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "web/metrics.h"

static char *text_of(const char *quoted) {
    char *copy = sm_strdup(quoted), *text;
    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    json_t *snapshot = json_loads(copy, 0, NULL);
    if (!snapshot)
        fail_msg("test JSON: %s", quoted);
    size_t n;
    text = sm_metrics_text(snapshot, &n);
    assert_int_equal(strlen(text), n);
    json_decref(snapshot);
    free(copy);
    return text;
}

static void has(const char *text, const char *line) {
    if (!strstr(text, line))
        fail_msg("no line %s in\n%s", line, text);
}

static void test_nothing(void **state) {
    (void)state;
    char *text = text_of("{}");
    has(text, "selfmon_build_info{version=\"?\"} 1\n");
    assert_null(strstr(text, "selfmon_runs"));
    assert_null(strstr(text, "selfmon_outbox"));
    free(text);
    text = text_of("{'vitals': 3, 'pool': [], 'store': null, 'accounts': {}, 'deliveries': 'x'}");
    assert_null(strstr(text, "selfmon_workers"));
    free(text);
}

static void test_values(void **state) {
    (void)state;
    char *text = text_of(
        "{'version': '1.2.3', 'alive': true, 'unready': 'it is stopping',"
        " 'vitals': {'started_ns': 1500000000, 'uptime': 10.5, 'runs': {'ok': 7, 'failed': 0},"
        "  'lateness': {'le': [0.001, 1, 2.5], 'count': [3, 0, 2, 1], 'sum': 9.25}},"
        " 'pool': {'running': 3, 'queued': 1, 'totals': {'spawned': 12}, 'workers': [{'state': "
        "'ready'},"
        "  {'state': 'ready'}, {'state': 'dying'}, {'state': 'of the future'}]},"
        " 'view_age': null, 'deliveries': {'delivered': 5, 'hold': 2},"
        " 'store': {'ping': 0.25, 'waited': 4, 'bytes': 12345678901234, 'broken': false,"
        "  'refuses': null, 'outbox': {'pending': 4, 'bytes': 99, 'oldest_ns': 2000000000}}}");
    has(text, "# TYPE selfmon_runs_total counter\nselfmon_runs_total{outcome=\"ok\"} 7\n"
              "selfmon_runs_total{outcome=\"failed\"} 0\n");
    has(text, "selfmon_process_start_time_seconds 1.5\n");
    has(text, "selfmon_healthy 1\n");
    has(text, "selfmon_ready 0\n");
    /* Cumulative, and the total is that of the last bucket. */
    has(text, "# TYPE selfmon_run_lateness_seconds histogram\n"
              "selfmon_run_lateness_seconds_bucket{le=\"0.001\"} 3\n"
              "selfmon_run_lateness_seconds_bucket{le=\"1\"} 3\n"
              "selfmon_run_lateness_seconds_bucket{le=\"2.5\"} 5\n"
              "selfmon_run_lateness_seconds_bucket{le=\"+Inf\"} 6\n"
              "selfmon_run_lateness_seconds_sum 9.25\nselfmon_run_lateness_seconds_count 6\n");
    has(text, "selfmon_workers{state=\"ready\"} 2\n");
    has(text, "selfmon_workers{state=\"dying\"} 1\n");
    has(text, "selfmon_workers_spawned_total 12\n");
    has(text, "selfmon_outbox_events{state=\"pending\"} 4\n");
    has(text, "selfmon_outbox_events{state=\"refused\"} 0\n");
    has(text, "selfmon_outbox_oldest_age_seconds 10\n");
    has(text, "selfmon_store_healthy 1\n");
    has(text, "selfmon_store_ping_seconds 4\n"); /* an open question counts from its beginning */
    has(text, "selfmon_store_size_bytes 12345678901234\n");
    has(text, "selfmon_deliveries_total{verdict=\"hold\"} 2\n");
    assert_null(strstr(text, "platform_view_age"));
    assert_null(strstr(text, "of the future"));
    free(text);
}

static void test_accounts(void **state) {
    (void)state;
    char *text = text_of("{'accounts': [{'name': 'default', 'node': 'local'},"
                         " {'name': 'a\\\\b', 'calls': 4, 'budget': {'key': 16, 'workspace': 196,"
                         "  'waiting': 0}}, {'name': 'z', 'calls': 0, 'budget': {'key': 20}}]}");
    has(text, "# TYPE selfmon_platform_calls_total counter\n"
              "selfmon_platform_calls_total{account=\"a\\\\b\"} 4\n"
              "selfmon_platform_calls_total{account=\"z\"} 0\n");
    has(text, "selfmon_platform_budget_left{account=\"a\\\\b\"} 16\n"
              "selfmon_platform_budget_left{account=\"z\"} 20\n");
    has(text, "selfmon_platform_workspace_budget_left{account=\"a\\\\b\"} 196\n");
    assert_null(strstr(text, "default"));
    free(text);
}

static void test_store_that_refuses(void **state) {
    (void)state;
    char *text = text_of("{'store': {'broken': false, 'refuses': 'full', 'outbox': null}}");
    has(text, "selfmon_store_healthy 0\n");
    free(text);
    text = text_of("{'store': {'broken': true, 'refuses': null, 'outbox': null}}");
    has(text, "selfmon_store_healthy 0\n");
    assert_null(strstr(text, "selfmon_outbox_events"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing), cmocka_unit_test(test_values),
        cmocka_unit_test(test_accounts), cmocka_unit_test(test_store_that_refuses)};
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
