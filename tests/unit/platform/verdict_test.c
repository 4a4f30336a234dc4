/* verdict: the table of answer classes, row by row; Retry-After. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include "platform/verdict.h"

enum { WRITE = SM_ROAD_WRITE, OPEN = SM_ROAD_OPENAPI };
enum { HTML = 1, OK = 2, KNOWN = 4, RATE = 8 };

static const struct {
    const char *name;
    int road, http, flags, batch;
    sm_verdict want;
} rows[] = {
    {"write 200", WRITE, 200, 0, 1, SM_DELIVERED},
    {"write 204", WRITE, 204, 0, 100, SM_DELIVERED},
    {"write 299", WRITE, 299, 0, 1, SM_DELIVERED},
    {"write 200 html", WRITE, 200, HTML, 1, SM_HOLD},
    {"openapi success", OPEN, 200, OK | KNOWN, 1, SM_DELIVERED},
    {"openapi garbage", OPEN, 200, 0, 1, SM_RETRY},
    {"openapi html", OPEN, 200, HTML, 1, SM_RETRY},
    {"openapi partial, batch", OPEN, 200, KNOWN, 2, SM_SPLIT},
    {"openapi failure, single", OPEN, 200, KNOWN, 1, SM_REFUSED},
    {"openapi limit in a 200", OPEN, 200, KNOWN | RATE, 1, SM_RETRY},
    {"400 batch", WRITE, 400, 0, 100, SM_SPLIT},
    {"400 two", WRITE, 400, 0, 2, SM_SPLIT},
    {"400 single", WRITE, 400, 0, 1, SM_REFUSED},
    {"413 batch", WRITE, 413, 0, 2, SM_SPLIT},
    {"413 single", WRITE, 413, 0, 1, SM_REFUSED},
    {"422 batch", OPEN, 422, KNOWN, 3, SM_SPLIT},
    {"422 single", OPEN, 422, KNOWN, 1, SM_REFUSED},
    {"401", WRITE, 401, 0, 1, SM_HOLD},
    {"403", WRITE, 403, 0, 100, SM_HOLD},
    {"401 rate limit", OPEN, 401, KNOWN | RATE, 1, SM_RETRY},
    {"404", WRITE, 404, 0, 1, SM_HOLD},
    {"405", WRITE, 405, 0, 1, SM_HOLD},
    {"301", WRITE, 301, 0, 1, SM_HOLD},
    {"302", OPEN, 302, HTML, 1, SM_HOLD},
    {"501", WRITE, 501, 0, 1, SM_HOLD},
    {"408", WRITE, 408, 0, 1, SM_RETRY},
    {"425", WRITE, 425, 0, 1, SM_RETRY},
    {"429", OPEN, 429, KNOWN, 1, SM_RETRY},
    {"503", WRITE, 503, 0, 1, SM_RETRY},
    {"500", WRITE, 500, 0, 1, SM_RETRY},
    {"502", OPEN, 502, HTML, 1, SM_RETRY},
    {"504", WRITE, 504, 0, 1, SM_RETRY},
    {"not in the table is held", WRITE, 418, 0, 1, SM_HOLD},
    {"no status", WRITE, 0, 0, 1, SM_RETRY},
};

static void table(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        sm_answer a = {.road = (sm_road)rows[i].road,
                       .transport = SM_TRANSPORT_ANSWERED,
                       .http = rows[i].http,
                       .html = rows[i].flags & HTML,
                       .body_ok = rows[i].flags & OK,
                       .body_known = rows[i].flags & KNOWN,
                       .rate_limited = rows[i].flags & RATE,
                       .retry_after_s = -1,
                       .batch = rows[i].batch};
        const char *reason = NULL;
        sm_verdict v = sm_verdict_of(&a, &reason);
        if (v != rows[i].want || !reason || !*reason)
            fail_msg("%s: %s (%s)", rows[i].name, sm_verdict_name(v), reason ? reason : "-");
        assert_int_equal(sm_verdict_of(&a, NULL), v);
    }
}

static void transport(void **state) {
    (void)state;
    const char *reason;
    sm_answer a = {.transport = SM_TRANSPORT_FAILED, .http = 0, .batch = 1};
    assert_int_equal(sm_verdict_of(&a, &reason), SM_RETRY);
    a.transport = SM_TRANSPORT_TLS;
    assert_int_equal(sm_verdict_of(&a, &reason), SM_HOLD);
    assert_non_null(strstr(reason, "TLS"));
}

static const struct {
    const char *header;
    int64_t want;
} after[] = {
    {NULL, -1},
    {"", -1},
    {"0", 0},
    {"120", 120},
    {" 120 ", 120},
    {"3600", 3600},
    {"3601", 3600},
    {"99999999999999999999999", 3600},
    {"-5", -1},
    {"12 apples", -1},
    {"soon", -1},
    {"Sun, 06 Nov 1994 08:49:37 GMT", 37},   /* now is 08:49:00 */
    {"Sunday, 06-Nov-94 08:49:37 GMT", 37},  /* RFC 850 */
    {"Sun Nov  6 08:49:37 1994", 37},        /* asctime */
    {"Sun, 06 Nov 1994 08:00:00 GMT", 0},    /* past */
    {"Sun, 06 Nov 1995 08:00:00 GMT", 3600}, /* far */
};

static void retry_after(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof after / sizeof after[0]; i++) {
        int64_t got = sm_retry_after(after[i].header, 784111740);
        if (got != after[i].want)
            fail_msg("%s: %lld", after[i].header ? after[i].header : "NULL", (long long)got);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(table), cmocka_unit_test(transport),
                                       cmocka_unit_test(retry_after)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
