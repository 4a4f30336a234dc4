/* str_time: durations, RFC 3339 instants and the proleptic Gregorian calendar.
 *
 * The text side of time: `90s`, `1h30m`, `2026-11-22T15:04:00Z`. Reads no clock and no zone file
 * (schedule/tz does). Pure and thread-safe; digits are ASCII digits.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Quotes a caller's text for a sentence; the caller frees. */
static char *shown(const char *s) {
    return sm_str_printable(s, strlen(s), 80);
}

typedef struct unit {
    const char *name;
    double seconds;
} unit;

/* From the longest to the shortest: parts of a duration stand in this order. */
static const unit units[] = {
    {"w", 604800}, {"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}, {"ms", 0.001},
};

#define DURATION_MAX 315576000.0 /* 10 years of 365.25 days */

/* Reads digits and an optional fraction at *s; false when there are none or too many. */
static bool read_decimal(const char **s, double *out) {
    const char *p = *s;
    uint64_t whole = 0;
    uint64_t part = 0;
    uint64_t scale = 1;
    int digits = 0;
    for (; is_digit(*p); p++) {
        if (++digits > 15) {
            return false;
        }
        whole = whole * 10 + (uint64_t)(*p - '0');
    }
    if (digits == 0) {
        return false;
    }
    if (*p == '.') {
        int places = 0;
        for (p++; is_digit(*p); p++) {
            if (++places > 9) {
                return false;
            }
            part = part * 10 + (uint64_t)(*p - '0');
            scale *= 10;
        }
        if (places == 0) {
            return false;
        }
    }
    *s = p;
    *out = (double)whole + (double)part / (double)scale;
    return true;
}

static const unit *read_unit(const char **s) {
    size_t len = 0;
    while ((*s)[len] >= 'a' && (*s)[len] <= 'z') {
        len++;
    }
    for (size_t i = 0; i < SM_ARRAY_LEN(units); i++) {
        if (strlen(units[i].name) == len && memcmp(units[i].name, *s, len) == 0) {
            *s += len;
            return &units[i];
        }
    }
    return NULL;
}

sm_rc sm_duration_parse(const char *s, double *seconds, sm_err *err) {
    const char *p = s;
    double total = 0;
    const unit *last = NULL;
    bool good = *p != '\0';
    while (good && *p) {
        double value;
        good = read_decimal(&p, &value);
        if (good && *p == '\0' && !last) {
            total = value; /* a bare number is seconds */
            break;
        }
        const unit *u = good ? read_unit(&p) : NULL;
        good = u && (!last || u > last);
        if (good) {
            total += value * u->seconds;
            last = u;
        }
    }
    if (!good) {
        char *text = shown(s);
        sm_err_set(err, SM_INVALID,
                   "\"%s\" is not a duration: expected one like 90s, 15m, 4h, 2d, 1h30m or 500ms",
                   text);
        free(text);
        return SM_INVALID;
    }
    if (total > DURATION_MAX) {
        char *text = shown(s);
        sm_err_set(err, SM_INVALID, "the duration \"%s\" is longer than 10 years", text);
        free(text);
        return SM_INVALID;
    }
    *seconds = total;
    return SM_OK;
}

/* The algorithms of the civil calendar count from 0000-03-01 in 400-year eras of 146097 days. */
int64_t sm_days_from_civil(int64_t y, int m, int d) {
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

void sm_civil_from_days(int64_t days, int64_t *y, int *m, int *d) {
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *d = (int)(doy - (153 * mp + 2) / 5 + 1);
    *m = (int)(mp < 10 ? mp + 3 : mp - 9);
    *y = yoe + era * 400 + (*m <= 2);
}

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

void sm_time_rfc3339(int64_t unix_ns, bool millis, char out[32]) {
    int64_t sec = floor_div(unix_ns, SM_NS_PER_S);
    int64_t ns = unix_ns % SM_NS_PER_S;
    ns += ns < 0 ? SM_NS_PER_S : 0;
    int64_t days = floor_div(sec, 86400);
    int rest = (int)(sec - days * 86400);
    int64_t y;
    int m;
    int d;
    sm_civil_from_days(days, &y, &m, &d);
    /* 64 bits of nanoseconds reach from 1677 to 2262: four digits always do. */
    int n = snprintf(out, 32, "%04d-%02d-%02dT%02d:%02d:%02d", (int)y, m, d, rest / 3600,
                     rest / 60 % 60, rest % 60);
    size_t len = n > 0 && n < 32 ? (size_t)n : 0;
    if (millis) {
        snprintf(out + len, 32 - len, ".%03dZ", (int)(ns / SM_NS_PER_MS));
    } else {
        snprintf(out + len, 32 - len, "Z");
    }
}

/* Reads exactly `count` digits at *s. */
static bool read_digits(const char **s, int count, int *out) {
    int v = 0;
    for (int i = 0; i < count; i++) {
        char c = (*s)[i];
        if (!is_digit(c)) {
            return false;
        }
        v = v * 10 + (c - '0');
    }
    *s += count;
    *out = v;
    return true;
}

static bool read_char(const char **s, const char *allowed) {
    if (**s == '\0' || !strchr(allowed, **s)) {
        return false;
    }
    (*s)++;
    return true;
}

static int month_days(int y, int m) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return m == 2 && leap ? 29 : days[m - 1];
}

/* Seconds since the epoch (UTC) and nanoseconds of the text; false when it breaks RFC 3339. */
static bool parse_instant(const char *p, int64_t *sec, int64_t *ns) {
    int y, mo, d, h, mi, s;
    if (!read_digits(&p, 4, &y) || !read_char(&p, "-") || !read_digits(&p, 2, &mo) ||
        !read_char(&p, "-") || !read_digits(&p, 2, &d) || !read_char(&p, "Tt ") ||
        !read_digits(&p, 2, &h) || !read_char(&p, ":") || !read_digits(&p, 2, &mi) ||
        !read_char(&p, ":") || !read_digits(&p, 2, &s)) {
        return false;
    }
    /* Second 60 is a leap second, which Unix time shows as the next one. */
    if (mo < 1 || mo > 12 || d < 1 || d > month_days(y, mo) || h > 23 || mi > 59 || s > 60) {
        return false;
    }
    *ns = 0;
    if (*p == '.') {
        int64_t scale = 100000000;
        p++;
        if (!is_digit(*p)) {
            return false;
        }
        for (; is_digit(*p); p++) {
            *ns += (*p - '0') * scale;
            scale /= 10;
        }
    }
    int64_t zone = 0;
    if (*p == 'Z' || *p == 'z') {
        p++;
    } else {
        int zh, zm;
        int sign = *p == '-' ? -1 : 1;
        if (!read_char(&p, "+-") || !read_digits(&p, 2, &zh) || !read_char(&p, ":") ||
            !read_digits(&p, 2, &zm) || zh > 23 || zm > 59) {
            return false;
        }
        zone = sign * (zh * 3600 + zm * 60);
    }
    *sec = sm_days_from_civil(y, mo, d) * 86400 + h * 3600 + mi * 60 + s - zone;
    return *p == '\0';
}

sm_rc sm_time_parse(const char *s, int64_t *unix_ns, sm_err *err) {
    int64_t sec;
    int64_t ns;
    int64_t total;
    if (!parse_instant(s, &sec, &ns)) {
        char *text = shown(s);
        sm_err_set(err, SM_INVALID,
                   "\"%s\" is not an instant: expected one like 2026-11-22T15:04:00Z or with a "
                   "zone as +01:00",
                   text);
        free(text);
        return SM_INVALID;
    }
    if (__builtin_mul_overflow(sec, SM_NS_PER_S, &total) ||
        __builtin_add_overflow(total, ns, &total)) {
        char *text = shown(s);
        sm_err_set(err, SM_INVALID, "the instant \"%s\" is outside the years 1678 to 2261", text);
        free(text);
        return SM_INVALID;
    }
    *unix_ns = total;
    return SM_OK;
}
