/* timetext: ISO 8601 texts to instants and back (see the header). Called by bind_time on the run's
 * thread; keeps nothing; never consults the locale or the TZ variable. */
#include "worker/timetext.h"
#include "base/clock.h"
#include "base/str.h"
#include "schedule/tz.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct civil {
    int64_t year;
    int month, day, hour, minute, second;
    int64_t ns; /* fraction */
} civil;

/* Reads exactly `digits` digits at *p into *out; false when they are not there. */
static bool take(const char **p, int digits, int *out) {
    int v = 0;
    for (int i = 0; i < digits; i++) {
        char c = (*p)[i];
        if (c < '0' || c > '9') {
            return false;
        }
        v = v * 10 + (c - '0');
    }
    *p += digits;
    *out = v;
    return true;
}

static bool skip(const char **p, char c) {
    if (**p != c) {
        return false;
    }
    (*p)++;
    return true;
}

static int days_in_month(int64_t year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

static bool take_fraction(const char **p, int64_t *ns) {
    int64_t unit = SM_NS_PER_S;
    const char *from = *p;
    while (**p >= '0' && **p <= '9') {
        unit /= 10;
        *ns += (**p - '0') * unit;
        (*p)++;
    }
    return *p > from;
}

/* Zone at *p: nothing (*given false), Z, or an offset in seconds. */
static bool take_zone(const char **p, bool *given, int *offset) {
    *given = false;
    *offset = 0;
    if (skip(p, 'Z') || skip(p, 'z')) {
        *given = true;
        return true;
    }
    if (**p != '+' && **p != '-') {
        return true;
    }
    int sign = **p == '-' ? -1 : 1, hour, minute = 0;
    (*p)++;
    if (!take(p, 2, &hour)) {
        return false;
    }
    if ((skip(p, ':') || **p) && !take(p, 2, &minute)) {
        return false;
    }
    *given = true;
    *offset = sign * (hour * 3600 + minute * 60);
    return hour <= 23 && minute <= 59;
}

/* Weekday of a day since 1970, 1 is Monday. */
static int iso_weekday(int64_t days) {
    int64_t w = (days + 3) % 7; /* 1970-01-01 was a Thursday */
    return (int)(w < 0 ? w + 7 : w) + 1;
}

/* Monday of the first ISO week of a year: the week that holds the fourth of January. */
static int64_t first_monday(int64_t year) {
    int64_t fourth = sm_days_from_civil(year, 1, 4);
    return fourth - (iso_weekday(fourth) - 1);
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* What follows the year of a date: month and day, the day of the year, or week and weekday. */
static bool read_date(const char **p, bool extended, civil *c) {
    int64_t first = sm_days_from_civil(c->year, 1, 1), days;
    bool leap = days_in_month(c->year, 2) == 29;
    int week, day = 1;
    if (skip(p, 'W') || skip(p, 'w')) {
        if (!take(p, 2, &week))
            return false;
        if (extended ? skip(p, '-') : is_digit(**p)) {
            if (!take(p, 1, &day))
                return false;
        }
        days = first_monday(c->year) + 7 * (week - 1) + day - 1;
        if (week < 1 || day < 1 || day > 7 ||
            7 * week > first_monday(c->year + 1) - first_monday(c->year))
            return false;
    } else if (is_digit((*p)[0]) && is_digit((*p)[1]) && is_digit((*p)[2]) && !is_digit((*p)[3])) {
        if (!take(p, 3, &day) || day < 1 || day > (leap ? 366 : 365))
            return false;
        days = first + day - 1;
    } else {
        return take(p, 2, &c->month) && (!extended || skip(p, '-')) && take(p, 2, &c->day) &&
               c->month >= 1 && c->month <= 12 && c->day >= 1 &&
               c->day <= days_in_month(c->year, c->month);
    }
    sm_civil_from_days(days, &c->year, &c->month, &c->day);
    return true;
}

static bool read_text(const char *p, civil *c, bool *zoned, int *offset) {
    int year;
    if (!take(&p, 4, &year)) {
        return false;
    }
    c->year = year;
    bool extended = skip(&p, '-');
    if (year < 1 || !read_date(&p, extended, c)) {
        return false;
    }
    *zoned = false;
    *offset = 0;
    if (*p == 0) {
        return true;
    }
    if (!skip(&p, 'T') && !skip(&p, 't') && !skip(&p, ' ')) {
        return false;
    }
    if (!take(&p, 2, &c->hour) || (extended && !skip(&p, ':')) || !take(&p, 2, &c->minute)) {
        return false;
    }
    if (extended ? skip(&p, ':') : (*p >= '0' && *p <= '9')) {
        if (!take(&p, 2, &c->second)) {
            return false;
        }
        if ((skip(&p, '.') || skip(&p, ',')) && !take_fraction(&p, &c->ns)) {
            return false;
        }
    }
    /* 24:00 is the end of a day; second 60 is a leap second, which Unix time folds away. */
    bool midnight = c->hour == 24 && c->minute == 0 && c->second == 0 && c->ns == 0;
    if ((c->hour > 23 && !midnight) || c->minute > 59 || c->second > 60) {
        return false;
    }
    skip(&p, ' ');
    return take_zone(&p, zoned, offset) && *p == 0;
}

/* Seconds since the epoch of a local time in a zone. */
static int64_t from_local(const sm_tz *tz, int64_t local) {
    int32_t before = sm_tz_offset(tz, local - 86400, NULL, NULL);
    int32_t after = sm_tz_offset(tz, local + 86400, NULL, NULL);
    if (sm_tz_offset(tz, local - before, NULL, NULL) == before) {
        return local - before;
    }
    if (sm_tz_offset(tz, local - after, NULL, NULL) == after) {
        return local - after;
    }
    return local - before;
}

static sm_rc refuse(const char *text, const char *why, sm_err *err) {
    char *shown = sm_str_printable(text, strlen(text), 60);
    sm_err_set(err, SM_INVALID, "\"%s\" %s", shown, why);
    free(shown);
    return SM_INVALID;
}

sm_rc sm_timetext_parse(const char *text, const char *zone, int64_t *unix_ns, sm_err *err) {
    civil c = {0};
    bool zoned;
    int offset;
    if (!read_text(text, &c, &zoned, &offset)) {
        return refuse(text, "is no ISO 8601 time such as 2026-11-22T15:04:05Z", err);
    }
    int64_t local = sm_days_from_civil(c.year, c.month, c.day) * 86400 + c.hour * 3600 +
                    c.minute * 60 + c.second;
    int64_t utc = local - offset;
    if (!zoned && zone) {
        sm_tz *tz = NULL;
        if (sm_tz_load(NULL, zone, &tz, err) != SM_OK) {
            return SM_INVALID;
        }
        utc = from_local(tz, local);
        sm_tz_free(tz);
    }
    if (utc > INT64_MAX / SM_NS_PER_S - 1 || utc < INT64_MIN / SM_NS_PER_S + 1) {
        return refuse(text, "is outside of the years 1678 to 2262", err);
    }
    *unix_ns = utc * SM_NS_PER_S + c.ns;
    return SM_OK;
}

static const char *const month_names[] = {"January",   "February", "March",    "April",
                                          "May",       "June",     "July",     "August",
                                          "September", "October",  "November", "December"};
static const char *const day_names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};

/* An instant taken apart in its zone. */
typedef struct moment {
    int64_t utc; /* seconds */
    civil c;
    int weekday; /* 0 is Sunday */
    int yearday; /* 1..366 */
    int64_t week_year;
    int week; /* ISO, 1..53 */
    int32_t offset;
    char abbrev[16];
} moment;

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b < 0 ? 1 : 0);
}

static void add_offset(sm_buf *out, int32_t offset, const char *colon) {
    int32_t abs = offset < 0 ? -offset : offset;
    sm_buf_addf(out, "%c%02d%s%02d", offset < 0 ? '-' : '+', abs / 3600, colon, abs / 60 % 60);
}

static bool add_field(sm_buf *out, const moment *m, const char *letter) {
    const civil *c = &m->c;
    int year = (int)c->year, hour12 = c->hour % 12 ? c->hour % 12 : 12;
    switch (*letter) {
    case 'Y':
        return sm_buf_addf(out, "%04d", year), true;
    case 'y':
        return sm_buf_addf(out, "%02d", year % 100), true;
    case 'm':
        return sm_buf_addf(out, "%02d", c->month), true;
    case 'd':
        return sm_buf_addf(out, "%02d", c->day), true;
    case 'e':
        return sm_buf_addf(out, "%2d", c->day), true;
    case 'j':
        return sm_buf_addf(out, "%03d", m->yearday), true;
    case 'H':
        return sm_buf_addf(out, "%02d", c->hour), true;
    case 'I':
        return sm_buf_addf(out, "%02d", hour12), true;
    case 'M':
        return sm_buf_addf(out, "%02d", c->minute), true;
    case 'S':
        return sm_buf_addf(out, "%02d", c->second), true;
    case 'L':
        return sm_buf_addf(out, "%03d", (int)(c->ns / SM_NS_PER_MS)), true;
    case 'p':
        return sm_buf_adds(out, c->hour < 12 ? "AM" : "PM"), true;
    case 'a':
        return sm_buf_add(out, day_names[m->weekday], 3), true;
    case 'A':
        return sm_buf_adds(out, day_names[m->weekday]), true;
    case 'b':
        return sm_buf_add(out, month_names[c->month - 1], 3), true;
    case 'B':
        return sm_buf_adds(out, month_names[c->month - 1]), true;
    case 'G':
        return sm_buf_addf(out, "%04d", (int)m->week_year), true;
    case 'V':
        return sm_buf_addf(out, "%02d", m->week), true;
    case 'u':
        return sm_buf_addf(out, "%d", m->weekday ? m->weekday : 7), true;
    case 'w':
        return sm_buf_addf(out, "%d", m->weekday), true;
    case 'F':
        return sm_buf_addf(out, "%04d-%02d-%02d", year, c->month, c->day), true;
    case 'D':
        return sm_buf_addf(out, "%02d/%02d/%02d", c->month, c->day, year % 100), true;
    case 'T':
        return sm_buf_addf(out, "%02d:%02d:%02d", c->hour, c->minute, c->second), true;
    case 'R':
        return sm_buf_addf(out, "%02d:%02d", c->hour, c->minute), true;
    case 's':
        return sm_buf_addf(out, "%lld", (long long)m->utc), true;
    case 'z':
        return add_offset(out, m->offset, ""), true;
    case 'Z':
        return sm_buf_adds(out, m->abbrev), true;
    case 'n':
        return sm_buf_addc(out, '\n'), true;
    case 't':
        return sm_buf_addc(out, '\t'), true;
    case '%':
        return sm_buf_addc(out, '%'), true;
    default:
        return false;
    }
}

static sm_rc take_apart(int64_t unix_ns, const char *zone, moment *m, sm_err *err) {
    sm_tz *tz = NULL;
    if (zone && sm_tz_load(NULL, zone, &tz, err) != SM_OK) {
        return SM_INVALID;
    }
    const char *abbrev = NULL;
    m->utc = floor_div(unix_ns, SM_NS_PER_S);
    m->offset = sm_tz_offset(tz, m->utc, NULL, &abbrev);
    snprintf(m->abbrev, sizeof m->abbrev, "%s", zone && abbrev ? abbrev : "UTC");
    sm_tz_free(tz);
    int64_t local = m->utc + m->offset, days = floor_div(local, 86400);
    int second = (int)(local - days * 86400);
    sm_civil_from_days(days, &m->c.year, &m->c.month, &m->c.day);
    m->c.hour = second / 3600;
    m->c.minute = second / 60 % 60;
    m->c.second = second % 60;
    m->c.ns = unix_ns - m->utc * SM_NS_PER_S;
    m->weekday = (int)(days + 4 - floor_div(days + 4, 7) * 7); /* 1970-01-01 was a Thursday */
    m->yearday = (int)(days - sm_days_from_civil(m->c.year, 1, 1)) + 1;
    m->week_year = m->c.year;
    if (days < first_monday(m->week_year))
        m->week_year--;
    else if (days >= first_monday(m->week_year + 1))
        m->week_year++;
    m->week = (int)(days - first_monday(m->week_year)) / 7 + 1;
    return SM_OK;
}

sm_rc sm_timetext_format(int64_t unix_ns, const char *pattern, const char *zone, sm_buf *out,
                         sm_err *err) {
    moment m;
    if (take_apart(unix_ns, zone, &m, err) != SM_OK) {
        return SM_INVALID;
    }
    bool iso = pattern == NULL;
    for (const char *p = iso ? (m.c.ns ? "%FT%T.%L" : "%FT%T") : pattern; *p; p++) {
        if (*p != '%') {
            sm_buf_addc(out, *p);
        } else if (p[1] == ':' && p[2] == 'z') {
            add_offset(out, m.offset, ":");
            p += 2;
        } else if (!add_field(out, &m, ++p)) {
            return sm_err_set(err, SM_INVALID, "unknown conversion \"%%%.1s\" in the pattern", p);
        }
    }
    if (iso && !zone) {
        sm_buf_addc(out, 'Z');
    } else if (iso) {
        add_offset(out, m.offset, ":");
    }
    return out->failed ? sm_err_set(err, SM_LIMIT, "the formatted time is too long") : SM_OK;
}

/* PT1H30M as 1h30m: the letters before T are days and weeks, those behind it hours, minutes and
 * seconds. False for others, and for a text that does not fit. */
static bool from_iso(const char *p, char *out, size_t cap) {
    const char *letters = "WD";
    size_t n = 0;
    bool empty = true;
    for (p++; *p && n + 1 < cap; p++) {
        if (*p == 'T' && letters[0] == 'W') {
            letters = "HMS";
            empty = true;
        } else if (is_digit(*p) || *p == '.' || *p == ',') {
            out[n++] = *p == ',' ? '.' : *p;
            empty = false;
        } else if (strchr(letters, *p)) {
            out[n++] = (char)(*p - 'A' + 'a');
        } else {
            return false;
        }
    }
    out[n] = '\0';
    return *p == '\0' && !empty && !is_digit(out[n - 1]);
}

sm_rc sm_timetext_seconds(const char *text, double *seconds, sm_err *err) {
    char plain[64];
    double sign = *text == '-' ? -1 : 1;
    const char *p = text + (*text == '-' || *text == '+');
    if (*p == 'P') {
        if (!from_iso(p, plain, sizeof plain))
            return refuse(
                text, "is not a duration such as PT1H30M; years and months have no length", err);
        p = plain;
    }
    sm_rc rc = sm_duration_parse(p, seconds, err);
    if (rc != SM_OK && p == plain)
        return refuse(text, "is not a duration such as PT1H30M or P1DT12H", err);
    if (rc == SM_OK)
        *seconds *= sign;
    return rc;
}

void sm_timetext_duration(double seconds, char out[64]) {
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    int64_t left = (int64_t)llround(fmin(fabs(seconds), 1e12) * 1000);
    size_t n = 0;
    if (seconds < 0 && left) {
        out[n++] = '-';
    }
    out[n] = 0;
    for (size_t i = 0; i < SM_ARRAY_LEN(units); i++) {
        if (left >= units[i].ms) {
            n += (size_t)snprintf(out + n, 64 - n, "%lld%s", (long long)(left / units[i].ms),
                                  units[i].name);
            left %= units[i].ms;
        }
    }
    if (n == 0) {
        snprintf(out, 64, "0s");
    }
}
