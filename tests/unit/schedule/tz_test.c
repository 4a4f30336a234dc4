/* tz: the TZif reader against libc (an independent reader of the same files), files made here byte
 * by byte, every cut and every flipped byte of a real file, and the sentences for wrong names. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include "schedule/tz.h"

static const char *const names[] = {
    "Europe/Berlin",    "Europe/Dublin",       "Africa/Casablanca", "America/New_York",
    "Asia/Kathmandu",   "Australia/Lord_Howe", "Pacific/Apia",      "America/Nuuk",
    "Asia/Gaza",        "Etc/GMT+5",           "Asia/Tokyo",        "America/Santiago",
    "Antarctica/Troll", "Africa/Monrovia",     "Pacific/Chatham",   "Etc/UTC",
};

/* Every change from 1900 to 2100 and instants between, compared with localtime_r. */
static void test_against_libc(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(names); i++) {
        sm_err err = SM_ERR_INIT;
        sm_tz *tz = NULL;
        if (sm_tz_load(NULL, names[i], &tz, &err)) {
            fail_msg("%s", err.msg);
        }
        assert_string_equal(sm_tz_name(tz), names[i]);
        setenv("TZ", names[i], 1);
        tzset();
        int64_t begin = sm_days_from_civil(1900, 1, 1) * 86400;
        int64_t end = sm_days_from_civil(2100, 1, 1) * 86400;
        for (int64_t t = begin; t < end; t += 1234567) {
            int64_t probes[5] = {t, t + 1, t, t, t};
            int64_t change;
            if (sm_tz_next_change(tz, t, &change)) {
                assert_true(change > t);
                probes[2] = change - 1;
                probes[3] = change;
                probes[4] = change + 1;
                assert_int_not_equal(sm_tz_offset(tz, change, NULL, NULL),
                                     sm_tz_offset(tz, change - 1, NULL, NULL));
            }
            for (int k = 0; k < 5; k++) {
                time_t when = (time_t)probes[k];
                struct tm tm;
                localtime_r(&when, &tm);
                int dst;
                const char *abbrev;
                int32_t offset = sm_tz_offset(tz, probes[k], &dst, &abbrev);
                if (offset != tm.tm_gmtoff || dst != tm.tm_isdst || strcmp(abbrev, tm.tm_zone)) {
                    fail_msg("%s at %lld: %d %d %s, libc %ld %d %s", names[i], (long long)probes[k],
                             offset, dst, abbrev, tm.tm_gmtoff, tm.tm_isdst, tm.tm_zone);
                }
            }
        }
        sm_tz_free(tz);
    }
}

/* Between two reported changes the offset is constant. */
static void test_no_change_missed(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(names); i++) {
        sm_tz *tz = NULL;
        assert_int_equal(sm_tz_load(NULL, names[i], &tz, NULL), SM_OK);
        int64_t t = sm_days_from_civil(1990, 1, 1) * 86400;
        int64_t end = sm_days_from_civil(2060, 1, 1) * 86400;
        while (t < end) {
            int64_t change;
            int64_t stop = sm_tz_next_change(tz, t, &change) && change < end ? change : end;
            int32_t offset = sm_tz_offset(tz, t, NULL, NULL);
            for (; t < stop; t += 3 * 3600) {
                assert_int_equal(sm_tz_offset(tz, t, NULL, NULL), offset);
            }
            t = stop;
        }
        sm_tz_free(tz);
    }
}

static void add32(sm_buf *b, uint32_t v) {
    for (int i = 3; i >= 0; i--) {
        sm_buf_addc(b, (char)(v >> (8 * i)));
    }
}

static void add64(sm_buf *b, int64_t v) {
    add32(b, (uint32_t)((uint64_t)v >> 32));
    add32(b, (uint32_t)v);
}

typedef struct made {
    const char *name;
    char version;
    int leap;
    int isut;
    int order;      /* 1: ascending, 0: equal, -1: descending */
    int32_t offset; /* of the second type */
    int kind;       /* type of the second change */
    int abbrev;     /* index of the second type's name */
    int dst;        /* of the second type */
    const char *footer;
    bool good;
} made;

static void make_file(const made *m, sm_buf *b) {
    for (int block = 0; block < 2; block++) {
        sm_buf_add(b, "TZif", 4);
        sm_buf_addc(b, m->version);
        for (int i = 0; i < 15; i++) {
            sm_buf_addc(b, '\0');
        }
        add32(b, block ? (uint32_t)m->isut : 0);
        add32(b, 0);
        add32(b, block ? (uint32_t)m->leap : 0);
        add32(b, block ? 2 : 0);
        add32(b, block ? 2 : 1);
        add32(b, block ? 8 : 1);
        if (block == 0) {
            add32(b, 0);
            sm_buf_add(b, "\0\0\0", 3);
        }
    }
    add64(b, 1000);
    add64(b, 1000 + m->order * 1000);
    sm_buf_addc(b, 0);
    sm_buf_addc(b, (char)m->kind);
    add32(b, 3600);
    sm_buf_add(b, "\0\0", 2);
    add32(b, (uint32_t)m->offset);
    sm_buf_addc(b, (char)m->dst);
    sm_buf_addc(b, (char)m->abbrev);
    sm_buf_add(b, "AAA\0BBB", 8);
    for (int i = 0; i < m->leap * 12 + m->isut; i++) {
        sm_buf_addc(b, '\0');
    }
    sm_buf_adds(b, m->footer);
}

static const made made_rows[] = {
    {"plain", '2', 0, 0, 1, 7200, 1, 4, 1, "\nAAA-1\n", true},
    {"version 4", '4', 0, 0, 1, 7200, 1, 4, 1, "\nAAA-1\n", true},
    {"no rule", '2', 0, 0, 1, 7200, 1, 4, 1, "\n\n", true},
    {"marks", '2', 0, 2, 1, 7200, 1, 4, 1, "\n\n", true},
    {"rule with DST", '2', 0, 0, 1, 7200, 1, 4, 1, "\nAAA-1BBB,M3.5.0,M10.5.0/3\n", true},
    {"quoted names", '2', 0, 0, 1, 7200, 1, 4, 1, "\n<+0330>-3:30<+0430>,J79/24,J263/24\n", true},
    {"negative time", '3', 0, 0, 1, 7200, 1, 4, 1, "\n<-02>2<-01>,M3.5.0/-1,M10.5.0/0\n", true},
    {"version 1", '\0', 0, 0, 1, 7200, 1, 4, 1, "\nAAA-1\n", false},
    {"leap seconds", '2', 1, 0, 1, 7200, 1, 4, 1, "\nAAA-1\n", false},
    {"marks of another number", '2', 0, 1, 1, 7200, 1, 4, 1, "\n\n", false},
    {"equal changes", '2', 0, 0, 0, 7200, 1, 4, 1, "\nAAA-1\n", false},
    {"descending changes", '2', 0, 0, -1, 7200, 1, 4, 1, "\nAAA-1\n", false},
    {"offset of a week", '2', 0, 0, 1, 604800, 1, 4, 1, "\nAAA-1\n", false},
    {"smallest offset", '2', 0, 0, 1, INT32_MIN, 1, 4, 1, "\nAAA-1\n", false},
    {"kind that is not there", '2', 0, 0, 1, 7200, 2, 4, 1, "\nAAA-1\n", false},
    {"name that is not there", '2', 0, 0, 1, 7200, 1, 8, 1, "\nAAA-1\n", false},
    {"dst of 2", '2', 0, 0, 1, 7200, 1, 4, 2, "\nAAA-1\n", false},
    {"no footer", '2', 0, 0, 1, 7200, 1, 4, 1, "", false},
    {"footer without end", '2', 0, 0, 1, 7200, 1, 4, 1, "\nAAA-1", false},
    {"footer: short name", '2', 0, 0, 1, 7200, 1, 4, 1, "\nAA-1\n", false},
    {"footer: no offset", '2', 0, 0, 1, 7200, 1, 4, 1, "\nAAA\n", false},
    {"footer: DST without dates", '2', 0, 0, 1, 7200, 1, 4, 1, "\nAAA-1BBB\n", false},
    {"footer: month 13", '2', 0, 0, 1, 7200, 1, 4, 1, "\nAAA-1BBB,M13.5.0,M10.5.0\n", false},
    {"footer: week 0", '2', 0, 0, 1, 7200, 1, 4, 1, "\nAAA-1BBB,M3.0.0,M10.5.0\n", false},
    {"footer: J0", '2', 0, 0, 1, 7200, 1, 4, 1, "\nAAA-1BBB,J0,J100\n", false},
    {"footer: 168 hours", '2', 0, 0, 1, 7200, 1, 4, 1, "\nAAA-1BBB,J1/168,J100\n", false},
    {"footer: text behind", '2', 0, 0, 1, 7200, 1, 4, 1, "\nAAA-1x\n", false},
    {"footer: quote open", '2', 0, 0, 1, 7200, 1, 4, 1, "\n<AAA-1\n", false},
    {"footer: long name", '2', 0, 0, 1, 7200, 1, 4, 1, "\nABCDEFGHIJKLMNOPQRSTUVWXYZ-1\n", false},
};

static void test_made(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(made_rows); i++) {
        const made *m = &made_rows[i];
        sm_buf b;
        sm_buf_init(&b, 4096);
        make_file(m, &b);
        sm_err err = SM_ERR_INIT;
        sm_tz *tz = NULL;
        sm_rc rc = sm_tz_parse(b.data, b.len, "x", &tz, &err);
        if (rc != (m->good ? SM_OK : SM_INVALID) || (tz != NULL) != m->good) {
            fail_msg("%s: %s %s", m->name, sm_rc_name(rc), err.msg);
        }
        if (m->good) {
            assert_int_equal(sm_tz_offset(tz, 0, NULL, NULL), 3600);
            assert_int_equal(sm_tz_offset(tz, 1999, NULL, NULL), 3600);
        }
        sm_tz_free(tz);
        sm_buf_fini(&b);
    }
}

/* Rules at instants that are known. */
static void test_rules(void **state) {
    (void)state;
    static const struct {
        const char *footer, *at;
        int32_t offset;
        const char *abbrev;
    } rows[] = {
        {"\nEST5EDT,M3.2.0,M11.1.0\n", "2050-07-01T00:00:00Z", -14400, "EDT"},
        {"\nEST5EDT,M3.2.0,M11.1.0\n", "2050-01-01T00:00:00Z", -18000, "EST"},
        {"\nEST5EDT,M3.2.0,M11.1.0\n", "2050-03-13T06:59:59Z", -18000, "EST"},
        {"\nEST5EDT,M3.2.0,M11.1.0\n", "2050-03-13T07:00:00Z", -14400, "EDT"},
        {"\nIST-1GMT0,M10.5.0,M3.5.0/1\n", "2050-07-01T00:00:00Z", 3600, "IST"},
        {"\nIST-1GMT0,M10.5.0,M3.5.0/1\n", "2050-01-01T00:00:00Z", 0, "GMT"},
        /* DST all year, as RFC 8536 3.3.1 writes it */
        {"\nXXX3EDT4,0/0,J365/23\n", "2050-01-01T03:59:59Z", -14400, "EDT"},
        {"\nXXX3EDT4,0/0,J365/23\n", "2050-01-01T04:00:00Z", -14400, "EDT"},
        {"\nXXX3EDT4,0/0,J365/23\n", "2050-12-31T12:00:00Z", -14400, "EDT"},
        /* J60 is March 1 in every year, 59 is February 29 in a leap year */
        {"\nAAA0BBB,J60/0,J300/0\n", "2048-02-29T12:00:00Z", 0, "AAA"},
        {"\nAAA0BBB,J60/0,J300/0\n", "2048-03-01T12:00:00Z", 3600, "BBB"},
        {"\nAAA0BBB,59/0,300/0\n", "2048-02-29T12:00:00Z", 3600, "BBB"},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        made m = made_rows[0];
        m.footer = rows[i].footer;
        sm_buf b;
        sm_buf_init(&b, 4096);
        make_file(&m, &b);
        sm_tz *tz = NULL;
        int64_t ns;
        const char *abbrev;
        assert_int_equal(sm_tz_parse(b.data, b.len, "x", &tz, NULL), SM_OK);
        assert_int_equal(sm_time_parse(rows[i].at, &ns, NULL), SM_OK);
        int32_t offset = sm_tz_offset(tz, ns / 1000000000, NULL, &abbrev);
        if (offset != rows[i].offset || strcmp(abbrev, rows[i].abbrev) != 0) {
            fail_msg("%s at %s: %d %s", rows[i].footer, rows[i].at, offset, abbrev);
        }
        sm_tz_free(tz);
        sm_buf_fini(&b);
    }
}

/* Uses every entry point of a zone that came from damaged bytes. */
static void use(const char *p, size_t n) {
    sm_tz *tz = NULL;
    sm_err err = SM_ERR_INIT;
    char *copy = sm_malloc(n); /* exact size: a read past the end is seen by the sanitizer */
    if (n) {
        memcpy(copy, p, n);
    }
    if (sm_tz_parse(copy, n, "x", &tz, &err) == SM_OK) {
        static const int64_t at[] = {INT64_MIN, -1, 0, 1800000000, 9000000000, INT64_MAX};
        for (size_t i = 0; i < SM_ARRAY_LEN(at); i++) {
            int64_t change;
            sm_tz_offset(tz, at[i], NULL, NULL);
            if (sm_tz_next_change(tz, at[i], &change)) {
                assert_true(change > at[i]);
            }
        }
    } else {
        assert_true(err.msg[0] != '\0');
    }
    sm_tz_free(tz);
    free(copy);
}

static void test_damaged(void **state) {
    (void)state;
    char *data;
    size_t n;
    sm_err err = SM_ERR_INIT;
    if (sm_fsx_read("/usr/share/zoneinfo/Africa/Casablanca", 1 << 20, &data, &n, &err)) {
        fail_msg("%s", err.msg);
    }
    for (size_t cut = 0; cut < n; cut++) {
        sm_tz *tz = NULL;
        assert_int_equal(sm_tz_parse(data, cut, "x", &tz, NULL), SM_INVALID);
        assert_null(tz);
    }
    static const unsigned char flips[] = {0x01, 0x80, 0xFF};
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < sizeof flips; k++) {
            data[i] = (char)(data[i] ^ flips[k]);
            use(data, n);
            data[i] = (char)(data[i] ^ flips[k]);
        }
    }
    use("", 0);
    use("TZif", 4);
    free(data);
}

static void test_names(void **state) {
    (void)state;
    static const struct {
        const char *name, *want;
    } rows[] = {
        {"Europe/Berln", "did you mean \"Europe/Berlin\"?"},
        {"europe/berlin", "did you mean \"Europe/Berlin\"?"},
        {"Berlin", "did you mean \"Europe/Berlin\"?"},
        {"CEST", "unknown time zone \"CEST\""},
        {"Europe", "unknown time zone \"Europe\""},
        {"", "unknown time zone \"\""},
        {"../../../etc/passwd", "unknown time zone"},
        {"/etc/localtime", "unknown time zone"},
        {"Europe/Berlin\n", "unknown time zone \"Europe/Berlin\\n\""},
        {"tzdata.zi", "unknown time zone"},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        sm_err err = SM_ERR_INIT;
        sm_tz *tz = NULL;
        sm_rc rc = sm_tz_load(NULL, rows[i].name, &tz, &err);
        if (rc != SM_INVALID || tz || !strstr(err.msg, rows[i].want)) {
            fail_msg("%s: %s", rows[i].name, err.msg);
        }
    }
    sm_err err = SM_ERR_INIT;
    sm_tz *tz = NULL;
    assert_int_equal(sm_tz_load("/nonexistent", "Europe/Berlin", &tz, &err), SM_INVALID);
    assert_non_null(strstr(err.msg, "no zone files in /nonexistent"));
    assert_int_equal(sm_tz_load("/nonexistent", "UTC", &tz, &err), SM_OK);
    const char *abbrev;
    int dst = 7;
    assert_int_equal(sm_tz_offset(tz, 1, &dst, &abbrev), 0);
    assert_int_equal(dst, 0);
    assert_string_equal(abbrev, "UTC");
    int64_t at;
    assert_false(sm_tz_next_change(tz, 0, &at));
    sm_tz_free(tz);
    assert_string_equal(sm_tz_name(NULL), "UTC");
    assert_int_equal(sm_tz_offset(NULL, 1, NULL, NULL), 0);
    assert_false(sm_tz_next_change(NULL, 0, &at));
}

/* A file that is replaced, touched, removed: the zone notices, and keeps what it has. */
static void test_look(void **state) {
    (void)state;
    char dir[] = "/tmp/sm-tz-XXXXXX", path[64], other[64];
    sm_tz *tz = NULL;
    char *data;
    size_t n;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/Here", dir);
    snprintf(other, sizeof other, "%s/new", dir);
    assert_int_equal(sm_fsx_read("/usr/share/zoneinfo/Asia/Tokyo", 1 << 20, &data, &n, NULL),
                     SM_OK);
    assert_int_equal(sm_fsx_replace(path, data, n, 0600, NULL), SM_OK);
    assert_int_equal(sm_tz_load(dir, "Here", &tz, NULL), SM_OK);
    assert_string_equal(sm_tz_path(tz), path);
    assert_int_equal(sm_tz_look(tz), SM_TZ_SAME);
    assert_int_equal(sm_fsx_replace(other, data, n, 0600, NULL), SM_OK);
    assert_int_equal(rename(other, path), 0); /* the same bytes: still another file */
    assert_int_equal(sm_tz_look(tz), SM_TZ_CHANGED);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(sm_tz_look(tz), SM_TZ_GONE);
    assert_int_equal(sm_tz_offset(tz, 0, NULL, NULL), 9 * 3600);
    sm_tz_free(tz);
    assert_int_equal(sm_tz_load(dir, "UTC", &tz, NULL), SM_OK);
    assert_int_equal(sm_tz_look(tz), SM_TZ_SAME);
    assert_int_equal(sm_tz_look(NULL), SM_TZ_SAME);
    assert_string_equal(sm_tz_path(NULL), "");
    sm_tz_free(tz);
    /* As libc does: TZDIR, when it is an absolute path. */
    assert_int_equal(sm_fsx_replace(path, data, n, 0600, NULL), SM_OK);
    assert_int_equal(setenv("TZDIR", dir, 1), 0);
    assert_int_equal(sm_tz_load(NULL, "Here", &tz, NULL), SM_OK);
    sm_tz_free(tz);
    assert_int_equal(setenv("TZDIR", "tmp", 1), 0);
    assert_int_equal(sm_tz_load(NULL, "Here", &tz, NULL), SM_INVALID);
    assert_int_equal(sm_tz_load(NULL, "Asia/Tokyo", &tz, NULL), SM_OK);
    sm_tz_free(tz);
    unsetenv("TZDIR");
    free(data);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_libc), cmocka_unit_test(test_no_change_missed),
        cmocka_unit_test(test_made),         cmocka_unit_test(test_rules),
        cmocka_unit_test(test_damaged),      cmocka_unit_test(test_names),
        cmocka_unit_test(test_look),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
