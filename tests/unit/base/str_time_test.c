/* str_time: durations, RFC 3339 and the calendar. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>
#include <time.h>
#include "base/str.h"

static void test_durations(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double seconds; /* < 0: refused */
    } rows[] = {
        {"90s", 90},
        {"15m", 900},
        {"4h", 14400},
        {"2d", 172800},
        {"1h30m", 5400},
        {"500ms", 0.5},
        {"1.5s", 1.5},
        {"2w", 1209600},
        {"90", 90},
        {"0", 0},
        {"0s", 0},
        {"1d12h", 129600},
        {"1m1s1ms", 61.001},
        {"0.25h", 900},
        {"3650d", 315360000},
        {"1.5", 1.5},
        {"10w", 6048000},
        {"", -1},
        {"s", -1},
        {"-1s", -1},
        {"+1s", -1},
        {" 1s", -1},
        {"1s ", -1},
        {"1 s", -1},
        {"1h30", -1},
        {"30m1h", -1},
        {"1s1s", -1},
        {"1x", -1},
        {"1S", -1},
        {"1.s", -1},
        {".5s", -1},
        {"1e3s", -1},
        {"0x10", -1},
        {"1min", -1},
        {"inf", -1},
        {"nan", -1},
        {"1,5s", -1},
        {"11000d", -1},
        {"99999999999999999999s", -1},
        {"1..5s", -1},
        {"1.0000000000s", -1},
        {"\xD9\xA3s", -1},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        double got = -1;
        sm_err err = SM_ERR_INIT;
        sm_rc rc = sm_duration_parse(rows[i].text, &got, &err);
        bool good = rows[i].seconds >= 0;
        if (rc != (good ? SM_OK : SM_INVALID) || fabs(got - rows[i].seconds) > 1e-9 ||
            (!good && !strstr(err.msg, "duration"))) {
            fail_msg("\"%s\": %s %g %s", rows[i].text, sm_rc_name(rc), got, err.msg);
        }
    }
    sm_err err = SM_ERR_INIT;
    double d;
    sm_duration_parse("5 minutes", &d, &err);
    assert_string_equal(err.msg, "\"5 minutes\" is not a duration: expected one like 90s, 15m, 4h, "
                                 "2d, 1h30m or 500ms");
}

static void test_calendar(void **state) {
    (void)state;
    /* gmtime_r is an independent calendar; every 17th day of 6000 years. */
    for (int64_t days = -1200000; days < 1000000; days += 17) {
        int64_t y;
        int m, d;
        sm_civil_from_days(days, &y, &m, &d);
        time_t t = (time_t)(days * 86400);
        struct tm tm;
        gmtime_r(&t, &tm);
        assert_int_equal(y, tm.tm_year + 1900);
        assert_int_equal(m, tm.tm_mon + 1);
        assert_int_equal(d, tm.tm_mday);
        assert_int_equal(sm_days_from_civil(y, m, d), days);
    }
}

static void test_format(void **state) {
    (void)state;
    static const struct {
        int64_t ns;
        bool millis;
        const char *text;
    } rows[] = {
        {0, false, "1970-01-01T00:00:00Z"},
        {-1, true, "1969-12-31T23:59:59.999Z"},
        {1795359840123456789, true, "2026-11-22T15:04:00.123Z"},
        {1795359840999999999, false, "2026-11-22T15:04:00Z"},
        {INT64_MAX, true, "2262-04-11T23:47:16.854Z"},
        {INT64_MIN, true, "1677-09-21T00:12:43.145Z"},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        char out[32];
        sm_time_rfc3339(rows[i].ns, rows[i].millis, out);
        assert_string_equal(out, rows[i].text);
    }
}

static void test_parse(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool good;
        int64_t ns;
    } rows[] = {
        {"1970-01-01T00:00:00Z", true, 0},
        {"1970-01-01T01:00:00+01:00", true, 0},
        {"1969-12-31T19:30:00-04:30", true, 0},
        {"1970-01-01T00:00:00.5Z", true, 500000000},
        {"1970-01-01T00:00:00.123456789999Z", true, 123456789},
        {"1970-01-01t00:00:01z", true, 1000000000},
        {"1970-01-01 00:00:01Z", true, 1000000000},
        {"1969-12-31T23:59:59.999Z", true, -1000000},
        {"2016-12-31T23:59:60Z", true, 1483228800000000000},
        {"2024-02-29T00:00:00Z", true, 1709164800000000000},
        {"2023-02-29T00:00:00Z", false, 0},
        {"1970-01-01T00:00:00", false, 0},
        {"1970-01-01", false, 0},
        {"1970-13-01T00:00:00Z", false, 0},
        {"1970-00-01T00:00:00Z", false, 0},
        {"1970-01-32T00:00:00Z", false, 0},
        {"1970-01-01T24:00:00Z", false, 0},
        {"1970-01-01T00:60:00Z", false, 0},
        {"1970-01-01T00:00:61Z", false, 0},
        {"1970-01-01T00:00:00.Z", false, 0},
        {"1970-01-01T00:00:00Zx", false, 0},
        {"1970-01-01T00:00:00+0100", false, 0},
        {"1970-01-01T00:00:00+25:00", false, 0},
        {" 1970-01-01T00:00:00Z", false, 0},
        {"19700-01-01T00:00:00Z", false, 0},
        {"9999-01-01T00:00:00Z", false, 0},
        {"0001-01-01T00:00:00Z", false, 0},
        {"", false, 0},
        {"now", false, 0},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        sm_err err = SM_ERR_INIT;
        int64_t ns = 0;
        sm_rc rc = sm_time_parse(rows[i].text, &ns, &err);
        if (rc != (rows[i].good ? SM_OK : SM_INVALID) || ns != rows[i].ns || (rc && !err.msg[0])) {
            fail_msg("%s: %s %lld %s", rows[i].text, sm_rc_name(rc), (long long)ns, err.msg);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_calendar),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
