/* cron: every row of tests/data/cron_cases.tsv, the extensions, the sentences, and the properties
 * that hold for any expression in any zone. Zones are compiled from tests/data/zones.zic. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/clock.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include "schedule/cron.h"
#include "schedule/tz.h"
#include "zones_help.h"

static const char *const zones[] = {
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "Africa/Cairo",
    "America/Santiago",
    "Antarctica/Troll",
    "Africa/Casablanca",
    "Europe/Dublin",
    "Europe/London",
    "Pacific/Chatham",
    "Pacific/Apia",
    "Asia/Pyongyang",
    "America/Caracas",
    "Europe/Volgograd",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "America/Vancouver",
    "America/St_Johns",
    "Asia/Gaza",
    "Asia/Jerusalem",
    "Europe/Chisinau",
    "America/Havana",
    "America/Nuuk",
    "Australia/Adelaide",
    "Pacific/Norfolk",
    "America/Asuncion",
    "Asia/Tokyo",
};

static sm_cron *cron(const char *expr) {
    sm_err err = SM_ERR_INIT;
    sm_cron *c = NULL;
    if (sm_cron_parse(expr, "a/b:run", false, &c, &err)) {
        fail_msg("%s: %s", expr, err.msg);
    }
    return c;
}

static int64_t instant(const char *s) {
    int64_t ns;
    sm_err err = SM_ERR_INIT;
    if (sm_time_parse(s, &ns, &err)) {
        fail_msg("%s", err.msg);
    }
    return ns / SM_NS_PER_S;
}

static void show(int64_t t, const sm_tz *tz, char out[64]) {
    int32_t o = sm_tz_offset(tz, t, NULL, NULL);
    char text[32];
    sm_time_rfc3339((t + o) * SM_NS_PER_S, false, text);
    text[strlen(text) - 1] = '\0';
    snprintf(out, 64, "%s%c%02d:%02d", text, o < 0 ? '-' : '+', abs(o) / 3600, abs(o) / 60 % 60);
}

/* Replaces \t and \n of the table by the characters. */
static void unescape(char *s) {
    char *o = s;
    for (; *s; s++) {
        if (s[0] == '\\' && (s[1] == 't' || s[1] == 'n')) {
            *o++ = *++s == 't' ? '\t' : '\n';
        } else {
            *o++ = *s;
        }
    }
    *o = '\0';
}

/* True when the row does not hold. */
static int check_row(int line, char *const f[6]) {
    sm_err err = SM_ERR_INIT;
    sm_cron *c = NULL;
    sm_rc rc = sm_cron_parse(f[0], "x", false, &c, &err);
    if (strcmp(f[3], "ERROR") == 0) {
        if (rc != SM_INVALID || err.msg[0] == '\0') {
            print_error("line %d: \"%s\" was not refused\n", line, f[0]);
            sm_cron_free(c);
            return 1;
        }
        return 0;
    }
    if (rc) {
        print_error("line %d: \"%s\": %s\n", line, f[0], err.msg);
        return 1;
    }
    sm_tz *tz = zone(f[1]);
    int64_t at = instant(f[2]);
    int bad = 0;
    if (strcmp(f[3], "NEVER") == 0) {
        int64_t next;
        bad = sm_cron_next(c, tz, at, &next);
        sm_cron *never = NULL;
        bad |= sm_cron_parse(f[0], "x", true, &never, &err) != SM_INVALID;
        sm_cron_free(never);
    } else {
        char *save = NULL;
        for (char *want = strtok_r(f[3], " ", &save); want && !bad;
             want = strtok_r(NULL, " ", &save)) {
            char got[64] = "none";
            int64_t next;
            if (sm_cron_next(c, tz, at, &next)) {
                show(next, tz, got);
                at = next;
            }
            if (strcmp(got, want) != 0) {
                bad = 1;
                print_error("line %d: \"%s\" %s from %s: expected %s, got %s\n", line, f[0], f[1],
                            f[2], want, got);
            }
        }
    }
    sm_tz_free(tz);
    sm_cron_free(c);
    return bad;
}

static void test_table(void **state) {
    (void)state;
    char *data;
    size_t n;
    sm_err err = SM_ERR_INIT;
    if (sm_fsx_read(SM_TEST_DATA "/cron_cases.tsv", 1 << 20, &data, &n, &err)) {
        fail_msg("%s", err.msg);
    }
    int rows = 0, wrong = 0, line = 0;
    char *rest = data;
    for (char *row = strsep(&rest, "\n"); row; row = strsep(&rest, "\n")) {
        if (++line == 1 || row[0] == '\0') {
            continue;
        }
        char *f[6] = {0};
        int count = 0;
        while (count < 6 && row) {
            f[count++] = strsep(&row, "\t");
        }
        assert_int_equal(count, 6);
        unescape(f[0]);
        wrong += check_row(line, f);
        rows++;
    }
    free(data);
    assert_int_equal(rows, 124);
    assert_int_equal(wrong, 0);
}

typedef struct next_row {
    const char *name, *expr, *zone, *from, *next;
} next_row;

/* Nominal instants in UTC. "-" ends with none. */
static const next_row next_rows[] = {
    {"last friday", "0 0 * * 5L", "UTC", "2026-01-01T00:00:00Z", "2026-01-30T00:00:00Z"},
    {"last sunday as 7L", "0 0 * * 7L", "UTC", "2026-02-01T00:00:00Z", "2026-02-22T00:00:00Z"},
    {"last friday by name", "0 0 * * friL", "UTC", "2026-01-01T00:00:00Z", "2026-01-30T00:00:00Z"},
    {"second friday by name", "0 0 * * fri#2", "UTC", "2026-01-01T00:00:00Z",
     "2026-01-09T00:00:00Z"},
    {"1W on a saturday goes forward", "0 0 1W * *", "UTC", "2026-07-31T12:00:00Z",
     "2026-08-03T00:00:00Z"},
    {"31W on a sunday goes back", "0 0 31W * *", "UTC", "2026-05-15T00:00:00Z",
     "2026-05-29T00:00:00Z"},
    {"31W skips a month of 30 days", "0 0 31W * *", "UTC", "2026-05-30T00:00:00Z",
     "2026-07-31T00:00:00Z"},
    {"2W on a saturday goes back", "0 0 2W * *", "UTC", "2026-04-30T00:00:00Z",
     "2026-05-01T00:00:00Z"},
    {"last friday is the last day", "0 0 * * 5L", "UTC", "2026-07-01T00:00:00Z",
     "2026-07-31T00:00:00Z"},
    {"a gap of exactly three hours moves", "30 3 * * *", "Antarctica/Casey", "2009-10-17T00:00:00Z",
     "2009-10-17T18:00:00Z"},
    {"L or 15", "0 0 L,15 * *", "UTC", "2026-02-15T00:00:00Z", "2026-02-28T00:00:00Z"},
    {"L or monday", "0 0 L * 1", "UTC", "2026-01-27T00:00:00Z", "2026-01-31T00:00:00Z"},
    {"sat-sun", "0 0 * * sat-sun", "UTC", "2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z"},
    {"sat-sun wraps to saturday", "0 0 * * sat-sun", "UTC", "2026-01-04T00:00:00Z",
     "2026-01-10T00:00:00Z"},
    {"6-0", "0 0 * * 6-0", "UTC", "2026-01-04T00:00:00Z", "2026-01-10T00:00:00Z"},
    {"5-sun/2", "0 0 * * 5-sun/2", "UTC", "2026-01-02T00:00:00Z", "2026-01-04T00:00:00Z"},
    {"0-0 is sunday alone", "0 0 * * 0-0", "UTC", "2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z"},
    {"both ?", "0 0 ? * ?", "UTC", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"},
    {"leading zeros", "05 09 * * *", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T09:05:00Z"},
    {"blanks around", "  0 0 1 1 *\t", "UTC", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
    {"seconds list", "10,40 30 2 * * *", "UTC", "2026-01-01T02:30:10Z", "2026-01-01T02:30:40Z"},
    {"seconds in a gap fall together", "10,40 30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
     "2026-03-29T01:00:00Z"},
    {"and then the next day", "10,40 30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z",
     "2026-03-30T00:30:10Z"},
    {"feb 29 over 2100", "0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
    {"every 90s: multiples since the epoch", "@every 90s", "UTC", "1970-01-01T00:00:00Z",
     "1970-01-01T00:01:30Z"},
    {"every: strictly after", "@every 1h30m", "UTC", "1970-01-01T01:30:00Z",
     "1970-01-01T03:00:00Z"},
    {"every: before the epoch", "@every 1h", "UTC", "1969-12-31T23:30:00Z", "1970-01-01T00:00:00Z"},
    {"every: no zone moves it", "@every 1d", "Asia/Tokyo", "2026-01-01T12:00:00Z",
     "2026-01-02T00:00:00Z"},
    {"every 7s", "@every 7s", "UTC", "1970-01-01T00:00:13Z", "1970-01-01T00:00:14Z"},
    {"monthly", "@monthly", "UTC", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"},
    {"never", "0 0 30 2 *", "UTC", "2026-01-01T00:00:00Z", "-"},
    {"31W of short months never", "0 0 31W 4 *", "UTC", "2026-01-01T00:00:00Z", "-"},
};

static void test_next(void **state) {
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < SM_ARRAY_LEN(next_rows); i++) {
        const next_row *r = &next_rows[i];
        sm_cron *c = cron(r->expr);
        sm_tz *tz = zone(r->zone);
        char got[32] = "-";
        int64_t next;
        if (sm_cron_next(c, tz, instant(r->from), &next)) {
            sm_time_rfc3339(next * SM_NS_PER_S, false, got);
        }
        if (strcmp(got, r->next) != 0) {
            print_error("%s: expected %s, got %s\n", r->name, r->next, got);
            wrong++;
        }
        sm_tz_free(tz);
        sm_cron_free(c);
    }
    assert_int_equal(wrong, 0);
}

typedef struct bad_row {
    const char *expr, *want1, *want2; /* both stand in the sentence */
} bad_row;

static const bad_row bad_rows[] = {
    {"60 * * * *", "invalid minute \"60\"", "expected 0 to 59"},
    {"* 24 * * *", "invalid hour \"24\"", "expected 0 to 23"},
    {"* * 32 * *", "invalid day \"32\"", "expected 1 to 31"},
    {"* * * 13 *", "invalid month \"13\"", "jan to dec"},
    {"* * * * 8", "invalid weekday \"8\"", "sun to sat"},
    {"61 * * * * *", "invalid second \"61\"", "expected 0 to 59"},
    {"1,60,3 * * * *", "invalid minute \"60\" (in \"1,60,3\")", "expected 0 to 59"},
    {"5/15 * * * *", "invalid minute \"5/15\"", "write 5-59/15, or */15"},
    {"0 22-2 * * *", "invalid hour \"22-2\"", "write 22-23,0-2"},
    {"0 0 * * monday", "invalid weekday \"monday\"", "did you mean \"mon\"?"},
    {"0 0 * juen *", "invalid month \"juen\"", "did you mean \"jun\"?"},
    {"*/61 * * * *", "invalid minute \"*/61\"", "step from 1 to 60"},
    {"*/0 * * * *", "invalid minute \"*/0\"", "step from 1 to 60"},
    {"1- * * * *", "invalid minute \"1-\"", "after \"-\""},
    {"1,,2 * * * *", "invalid minute \"1,,2\"", "between the commas"},
    {"1, * * * *", "invalid minute \"1,\"", "between the commas"},
    {"0 0 * * 1#6", "invalid weekday \"1#6\"", "second Friday"},
    {"0 0 * * 8#1", "invalid weekday \"8#1\"", "0 to 7"},
    {"0 0 * * L", "invalid weekday \"L\"", "5L"},
    {"0 0 0W * *", "invalid day \"0W\"", "1W to 31W"},
    {"0 0 32W * *", "invalid day \"32W\"", "1W to 31W"},
    {"0 0 LW * *", "invalid day \"LW\"", "1 to 31, L"},
    {"L * * * *", "invalid minute \"L\"", "0 to 59"},
    {"? * * * *", "invalid minute \"?\"", "only as day or weekday"},
    {"0 0 ?,1 * *", "invalid day \"?\"", "stands alone"},
    {"H/61 * * * *", "invalid minute \"H/61\"", "step from 1 to 60"},
    {"Hx * * * *", "invalid minute \"Hx\"", "H alone or with a step"},
    {"*5 * * * *", "invalid minute \"*5\"", "* alone or with a step"},
    {"+5 * * * *", "invalid minute \"+5\"", "0 to 59"},
    {"-5 * * * *", "invalid minute \"-5\"", "0 to 59"},
    {"0 0 * * wed-mon", "invalid weekday \"wed-mon\"", "goes backwards"},
    {"0 0 * * 7-3", "invalid weekday \"7-3\"", "goes backwards"},
    {"* * * *", "4 fields", "minute hour day month weekday"},
    {"* * * * * * *", "7 fields", "expected 5"},
    {"5", "1 field:", "expected 5"},
    {"   ", "empty", "minute hour day month weekday"},
    {"@dayly", "\"@dayly\" is not a schedule macro", "did you mean \"@daily\"?"},
    {"@reboot", "not a schedule macro", "@every"},
    {"@every", "@every", "is not a duration"},
    {"@every 500ms", "@every \"500ms\"", "at least 1s"},
    {"@every 1.5s", "@every \"1.5s\"", "whole seconds"},
    {"@every 5 m", "@every", "is not a duration"},
    {"@every 11h20", "@every", "is not a duration"},
    {"* * * * *\n", "invalid weekday \"*\\n\"", "* alone"},
};

static void test_refused(void **state) {
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < SM_ARRAY_LEN(bad_rows); i++) {
        const bad_row *r = &bad_rows[i];
        sm_err err = SM_ERR_INIT;
        sm_cron *c = NULL;
        sm_rc rc = sm_cron_parse(r->expr, NULL, false, &c, &err);
        if (rc != SM_INVALID || c || !strstr(err.msg, r->want1) || !strstr(err.msg, r->want2) ||
            strchr(err.msg, '\n')) {
            print_error("\"%s\" (%s): %s\n", r->expr, sm_rc_name(rc), err.msg);
            wrong++;
        }
        sm_cron_free(c);
    }
    char long_expr[400];
    memset(long_expr, '*', sizeof long_expr);
    long_expr[399] = '\0';
    sm_cron *c = NULL;
    assert_int_equal(sm_cron_parse(long_expr, NULL, false, &c, NULL), SM_INVALID);
    assert_int_equal(wrong, 0);
}

static void test_never(void **state) {
    (void)state;
    sm_err err = SM_ERR_INIT;
    sm_cron *c = NULL;
    assert_int_equal(sm_cron_parse("0 0 31 2 *", "x", true, &c, &err), SM_INVALID);
    assert_non_null(strstr(err.msg, "\"0 0 31 2 *\" never fires"));
    /* A fifth Monday in February needs a leap year that begins right: once in 28 years. */
    assert_int_equal(sm_cron_parse("0 0 * 2 1#5", "x", true, &c, &err), SM_OK);
    sm_cron_free(c);
}

static void test_hash(void **state) {
    (void)state;
    sm_err err = SM_ERR_INIT;
    int minutes[60] = {0};
    int different = 0;
    for (int i = 0; i < 600; i++) {
        char id[32];
        snprintf(id, sizeof id, "host/n%d:run", i);
        sm_cron *c = NULL, *again = NULL;
        assert_int_equal(sm_cron_parse("H H * * *", id, true, &c, &err), SM_OK);
        assert_int_equal(sm_cron_parse("H H * * *", id, true, &again, &err), SM_OK);
        int64_t a, b, second;
        assert_true(sm_cron_next(c, NULL, 0, &a));
        assert_true(sm_cron_next(again, NULL, 0, &b));
        assert_int_equal(a, b);
        assert_true(sm_cron_next(c, NULL, a, &second));
        assert_int_equal(second - a, 86400);
        minutes[a / 60 % 60]++;
        sm_cron_free(c);
        sm_cron_free(again);
    }
    for (int i = 0; i < 60; i++) {
        different += minutes[i] > 0;
    }
    assert_true(different >= 50);
    sm_cron *c = NULL;
    assert_int_equal(sm_cron_parse("H/15 * * * *", "x", true, &c, &err), SM_OK);
    int64_t at = 0;
    for (int i = 0; i < 10; i++) {
        int64_t next;
        assert_true(sm_cron_next(c, NULL, at, &next));
        assert_true(i == 0 ? next <= 900 : next - at == 900);
        at = next;
    }
    sm_cron_free(c);
    /* The values are part of every installation's behaviour: a change here is a change for all. */
    assert_int_equal(sm_cron_parse("H * * * *", "host/disk:run", true, &c, &err), SM_OK);
    assert_true(sm_cron_next(c, NULL, 0, &at));
    assert_int_equal(at / 60, 37);
    sm_cron_free(c);
}

static void test_spread(void **state) {
    (void)state;
    static const struct {
        const char *expr;
        int64_t below; /* 0: no delay at all */
    } rows[] = {
        {"@every 5m", 60000},      {"@every 10s", 10000},  {"@hourly", 60000},
        {"H * * * *", 60000},      {"0 * * * *", 0},       {"*/5 * * * *", 0},
        {"0 H * * *", 0},          {"H * * * * *", 60000}, {"*/10 H * * * *", 10000},
        {"0,50 H * * * *", 10000},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        int64_t max = 0;
        for (int k = 0; k < 200; k++) {
            char id[16];
            snprintf(id, sizeof id, "n%d:f", k);
            sm_cron *c = cron(rows[i].expr);
            int64_t ms = sm_cron_spread_ms(c, id);
            assert_int_equal(ms, sm_cron_spread_ms(c, id));
            assert_true(ms >= 0);
            max = ms > max ? ms : max;
            sm_cron_free(c);
        }
        if (rows[i].below == 0 ? max != 0 : max >= rows[i].below || max < rows[i].below * 3 / 4) {
            fail_msg("%s: largest delay %lld", rows[i].expr, (long long)max);
        }
    }
}

static void test_prev_and_period(void **state) {
    (void)state;
    static const char *const exprs[] = {"*/7 * * * *", "30 2 * * *", "0 0 29 2 *", "@every 90s",
                                        "0 0 * * 1#5"};
    for (size_t z = 0; z < SM_ARRAY_LEN(zones); z += 5) {
        sm_tz *tz = zone(zones[z]);
        for (size_t e = 0; e < SM_ARRAY_LEN(exprs); e++) {
            sm_cron *c = cron(exprs[e]);
            int64_t at = instant("2026-03-27T00:00:01Z");
            for (int i = 0; i < 20; i++) {
                int64_t next, prev;
                assert_true(sm_cron_next(c, tz, at, &next));
                assert_true(sm_cron_prev(c, tz, next, &prev));
                assert_int_equal(prev, next);
                if (i > 0) {
                    assert_true(sm_cron_prev(c, tz, next - 1, &prev));
                    assert_int_equal(prev, at);
                }
                at = next;
            }
            sm_cron_free(c);
        }
        sm_tz_free(tz);
    }
    sm_cron *never = cron("0 0 31 2 *");
    int64_t prev;
    assert_false(sm_cron_prev(never, NULL, 0, &prev));
    assert_int_equal(sm_cron_period(never, NULL, 0), 0);
    sm_cron_free(never);
    sm_cron *daily = cron("0 0 * * *");
    assert_int_equal(sm_cron_period(daily, NULL, 0), 86400);
    sm_cron_free(daily);
}

/* An interval job: every so many minutes of the hour and hours of the day, on the wall clock. */
static bool local_step(const sm_tz *tz, int64_t t, int minutes, int hours) {
    int64_t local = t + sm_tz_offset(tz, t, NULL, NULL);
    return local % 60 == 0 && local / 60 % 60 % minutes == 0 && local / 3600 % 24 % hours == 0;
}

/* A slow oracle for one local time: the fields are looked at second by second of the wall clock. */
static bool local_is(const sm_tz *tz, int64_t t, int minute, int hour) {
    int64_t local = t + sm_tz_offset(tz, t, NULL, NULL);
    return local % 60 == 0 && local / 60 % 60 == minute && local / 3600 % 24 == hour;
}

/* Over a year in every zone: next is later, monotone, next(next - 1) = next; no slot twice (a
 * fixed time at most once a local date); every slot matches its fields or follows a gap. */
static void test_properties(void **state) {
    (void)state;
    static const struct {
        const char *expr;
        int minute, hour;   /* of a fixed time, or -1 */
        int minutes, hours; /* steps of an interval job, or 0 */
    } rows[] = {{"30 2 * * *", 30, 2, 0, 0},      {"0 0 * * *", 0, 0, 0, 0},
                {"30 23 * * *", 30, 23, 0, 0},    {"15 1,2,3 * * *", -1, -1, 0, 0},
                {"0 */2 * * *", -1, -1, 60, 2},   {"*/20 * * * *", -1, -1, 20, 1},
                {"*/15 */6 * * *", -1, -1, 15, 6}};
    int64_t slowest = 0;
    int64_t from = instant("2026-01-01T00:00:00Z");
    int64_t to = instant("2027-01-01T00:00:00Z");
    for (size_t z = 0; z < SM_ARRAY_LEN(zones); z++) {
        sm_tz *tz = zone(zones[z]);
        for (size_t e = 0; e < SM_ARRAY_LEN(rows); e++) {
            sm_cron *c = cron(rows[e].expr);
            int64_t at = from;
            int64_t date = INT64_MIN;
            while (at < to) {
                int64_t next, again;
                int64_t begin = sm_thread_cpu_ns();
                assert_true(sm_cron_next(c, tz, at, &next));
                int64_t took = sm_thread_cpu_ns() - begin;
                slowest = took > slowest ? took : slowest;
                assert_true(next > at);
                assert_true(sm_cron_next(c, tz, next - 1, &again));
                assert_int_equal(again, next);
                assert_true(sm_cron_next(c, tz, at + (next - at) / 2, &again));
                assert_true(again >= next);
                if (at + (next - at) / 2 < next) {
                    assert_int_equal(again, next);
                }
                if (rows[e].minutes && !local_step(tz, next, rows[e].minutes, rows[e].hours)) {
                    fail_msg("%s in %s: %lld", rows[e].expr, zones[z], (long long)next);
                }
                if (rows[e].hour >= 0) {
                    bool nominal = local_is(tz, next, rows[e].minute, rows[e].hour);
                    bool moved = !nominal && sm_tz_offset(tz, next, NULL, NULL) >
                                                 sm_tz_offset(tz, next - 1, NULL, NULL);
                    /* A run that a gap moved belongs to the date on which the gap begins. */
                    int64_t local = next + sm_tz_offset(tz, next - moved, NULL, NULL);
                    if (local / 86400 <= date) {
                        fail_msg("%s twice on a date in %s: %lld", rows[e].expr, zones[z],
                                 (long long)next);
                    }
                    date = local / 86400;
                    if (!moved && !nominal) {
                        fail_msg("%s in %s: %lld", rows[e].expr, zones[z], (long long)next);
                    }
                }
                at = next;
            }
            sm_cron_free(c);
        }
        sm_tz_free(tz);
    }
    assert_true(slowest < 10 * SM_NS_PER_MS);
}

/* next against trying every minute of the days around the changes of a year. */
static void test_against_oracle(void **state) {
    (void)state;
    static const char *const names[] = {"Europe/Berlin", "Australia/Lord_Howe", "Antarctica/Troll",
                                        "Africa/Cairo",  "America/Havana",      "Pacific/Chatham"};
    int64_t to = instant("2027-06-01T00:00:00Z");
    for (size_t z = 0; z < SM_ARRAY_LEN(names); z++) {
        sm_tz *tz = zone(names[z]);
        for (int half = 0; half < 48; half++) {
            int minute = half % 2 * 30, hour = half / 2;
            char expr[32];
            snprintf(expr, sizeof expr, "%d %d * * *", minute, hour);
            sm_cron *c = cron(expr);
            int64_t change = instant("2026-06-01T00:00:00Z");
            while (sm_tz_next_change(tz, change, &change) && change < to) {
                int64_t at = change - 20 * 3600;
                /* The wall clock goes minute by minute; what it passes over in a jump forward is
                 * due at its end, what it shows again is not due again. */
                int64_t latest = at + sm_tz_offset(tz, at, NULL, NULL);
                for (int64_t t = at + 60; t < change + 20 * 3600; t += 60) {
                    int64_t local = t + sm_tz_offset(tz, t, NULL, NULL);
                    bool due = false;
                    for (int64_t l = latest + 60; l <= local; l += 60) {
                        due |= l / 60 % 60 == minute && l / 3600 % 24 == hour;
                    }
                    latest = local > latest ? local : latest;
                    int64_t next;
                    assert_true(sm_cron_next(c, tz, t - 1, &next));
                    if (due != (next == t)) {
                        fail_msg("%s in %s at %lld", expr, names[z], (long long)t);
                    }
                }
            }
            sm_cron_free(c);
        }
        sm_tz_free(tz);
    }
}

/* The expressions that search longest, also beyond the table of a zone file: 1 ms each, with a
 * ten-fold margin. */
static void test_speed(void **state) {
    (void)state;
    static const char *const exprs[] = {"0 0 31 2 *", "0 0 31W 4 *", "0 0 29 2 *", "0 0 * 2 1#5",
                                        "59 59 23 31 12 *"};
    for (size_t z = 0; z < SM_ARRAY_LEN(zones); z += 3) {
        sm_tz *tz = zone(zones[z]);
        for (size_t e = 0; e < SM_ARRAY_LEN(exprs); e++) {
            sm_cron *c = cron(exprs[e]);
            for (int64_t at = 1790000000; at < 5000000000; at += 1700000000) {
                int64_t t;
                int64_t begin = sm_thread_cpu_ns();
                sm_cron_next(c, tz, at, &t);
                assert_true(sm_thread_cpu_ns() - begin < 10 * SM_NS_PER_MS);
                begin = sm_thread_cpu_ns();
                sm_cron_prev(c, tz, at, &t);
                assert_true(sm_thread_cpu_ns() - begin < 10 * SM_NS_PER_MS);
            }
            sm_cron_free(c);
        }
        sm_tz_free(tz);
    }
}

static void test_ends_of_time(void **state) {
    (void)state;
    static const int64_t ends[] = {
        INT64_MIN,     INT64_MIN + 1,         -INT64_C(1000000000000000), INT64_MAX,
        INT64_MAX - 1, INT64_C(900000000000), -INT64_C(900000000000)};
    sm_tz *tz = zone("Europe/Berlin");
    static const char *const exprs[] = {"* * * * *", "@every 1h", "30 2 * * *"};
    for (size_t e = 0; e < SM_ARRAY_LEN(exprs); e++) {
        sm_cron *c = cron(exprs[e]);
        for (size_t i = 0; i < SM_ARRAY_LEN(ends); i++) {
            int64_t out;
            if (sm_cron_next(c, tz, ends[i], &out)) {
                assert_true(out > ends[i]);
            }
            if (sm_cron_prev(c, tz, ends[i], &out)) {
                assert_true(out <= ends[i]);
            }
            sm_cron_period(c, tz, ends[i]);
        }
        sm_cron_free(c);
    }
    sm_tz_free(tz);
}

static void test_looks_like(void **state) {
    (void)state;
    assert_true(sm_cron_looks_like("* * * * *"));
    assert_true(sm_cron_looks_like("@hourly"));
    assert_true(sm_cron_looks_like("0\t0 1 1 *"));
    assert_false(sm_cron_looks_like("host/disk:run"));
    assert_false(sm_cron_looks_like(""));
}

/* Whatever the bytes: no crash, no hang, a sentence for every refusal. */
static void test_random_text(void **state) {
    (void)state;
    static const char alphabet[] = "0123456789*,-/?#LWHlwhjanmonsun @every\t";
    uint64_t seed = 88172645463325252ULL;
    for (int i = 0; i < 20000; i++) {
        char text[24];
        size_t n = 0;
        for (; n < sizeof text - 1; n++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            text[n] = alphabet[seed % (sizeof alphabet - 1)];
        }
        text[n] = '\0';
        memcpy(text + 8, " * * * *", 9);
        sm_err err = SM_ERR_INIT;
        sm_cron *c = NULL;
        if (sm_cron_parse(text, "x", false, &c, &err)) {
            assert_true(err.msg[0] != '\0');
            assert_null(c);
        } else {
            int64_t next;
            sm_cron_next(c, NULL, 0, &next);
        }
        sm_cron_free(c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),        cmocka_unit_test(test_next),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_never),
        cmocka_unit_test(test_speed),        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_spread),       cmocka_unit_test(test_prev_and_period),
        cmocka_unit_test(test_properties),   cmocka_unit_test(test_against_oracle),
        cmocka_unit_test(test_ends_of_time), cmocka_unit_test(test_looks_like),
        cmocka_unit_test(test_random_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
