/* tz_rule: the POSIX TZ string of a TZif footer, "CET-1CEST,M3.5.0,M10.5.0/3".
 *
 * Parses the grammar of POSIX with the extensions of RFC 8536 3.3.1 (times from -167 to 167 hours)
 * and says when DST begins and ends. Refuses DST without dates (POSIX leaves it open) and anything
 * after the end. Pure; called by tz.c only.
 */
#include "schedule/tz_internal.h"
#include "base/str.h"
#include <string.h>

typedef struct cursor {
    const char *p, *end;
} cursor;

static bool take(cursor *c, char ch) {
    if (c->p < c->end && *c->p == ch) {
        c->p++;
        return true;
    }
    return false;
}

static bool at_digit(const cursor *c) {
    return c->p < c->end && *c->p >= '0' && *c->p <= '9';
}

static bool take_number(cursor *c, int low, int high, int *out) {
    int v = 0;
    int digits = 0;
    while (at_digit(c) && digits < 4) {
        v = v * 10 + (*c->p++ - '0');
        digits++;
    }
    *out = v;
    return digits > 0 && !at_digit(c) && v >= low && v <= high;
}

static bool is_alpha(char ch) {
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z');
}

/* Three or more letters, or <letters, digits, signs>. */
static bool take_name(cursor *c, char out[TZ_ABBREV_MAX + 1]) {
    bool quoted = take(c, '<');
    size_t n = 0;
    while (c->p < c->end) {
        char ch = *c->p;
        bool good =
            is_alpha(ch) || (quoted && ((ch >= '0' && ch <= '9') || ch == '+' || ch == '-'));
        if (!good) {
            break;
        }
        if (n == TZ_ABBREV_MAX) {
            return false;
        }
        out[n++] = ch;
        c->p++;
    }
    out[n] = '\0';
    return n >= 3 && (!quoted || take(c, '>'));
}

/* [+-]hh[:mm[:ss]] in seconds. */
static bool take_time(cursor *c, int max_hours, int32_t *out) {
    int sign = 1;
    int h;
    int m = 0;
    int s = 0;
    if (take(c, '-')) {
        sign = -1;
    } else {
        take(c, '+');
    }
    if (!take_number(c, 0, max_hours, &h)) {
        return false;
    }
    if (take(c, ':')) {
        if (!take_number(c, 0, 59, &m) || (take(c, ':') && !take_number(c, 0, 59, &s))) {
            return false;
        }
    }
    *out = sign * (h * 3600 + m * 60 + s);
    return true;
}

static bool take_day(cursor *c, tz_day *out) {
    memset(out, 0, sizeof *out);
    bool good;
    if (take(c, 'M')) {
        out->kind = TZ_DAY_MONTH;
        good = take_number(c, 1, 12, &out->month) && take(c, '.') &&
               take_number(c, 1, 5, &out->week) && take(c, '.') &&
               take_number(c, 0, 6, &out->weekday);
    } else if (take(c, 'J')) {
        out->kind = TZ_DAY_JULIAN;
        good = take_number(c, 1, 365, &out->day);
    } else {
        out->kind = TZ_DAY_ZERO;
        good = take_number(c, 0, 365, &out->day);
    }
    out->time = 2 * 3600;
    return good && (!take(c, '/') || take_time(c, 167, &out->time));
}

bool tz_rule_parse(const char *p, size_t n, tz_rule *out) {
    cursor c = {p, p + n};
    memset(out, 0, sizeof *out);
    int32_t west;
    if (!take_name(&c, out->std_name) || !take_time(&c, 24, &west)) {
        return false;
    }
    out->std_offset = -west;
    if (c.p == c.end) {
        return true;
    }
    out->has_dst = true;
    out->dst_offset = out->std_offset + 3600;
    if (!take_name(&c, out->dst_name)) {
        return false;
    }
    if (c.p < c.end && *c.p != ',') {
        if (!take_time(&c, 24, &west)) {
            return false;
        }
        out->dst_offset = -west;
    }
    return take(&c, ',') && take_day(&c, &out->start) && take(&c, ',') && take_day(&c, &out->end) &&
           c.p == c.end;
}

static bool is_leap(int64_t y) {
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

/* Local seconds since the epoch at which the day's time is reached in year y. */
static int64_t day_local(const tz_day *d, int64_t y) {
    int64_t days;
    if (d->kind == TZ_DAY_MONTH) {
        static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        int length = d->month == 2 && is_leap(y) ? 29 : lengths[d->month - 1];
        int64_t first = sm_days_from_civil(y, d->month, 1);
        /* 1970-01-01 was a Thursday, weekday 4. */
        int weekday = (int)(((first + 4) % 7 + 7) % 7);
        int day = (d->weekday - weekday + 7) % 7 + 7 * (d->week - 1);
        while (day >= length) {
            day -= 7; /* week 5 means the last one */
        }
        days = first + day;
    } else {
        days = sm_days_from_civil(y, 1, 1) + d->day;
        /* Jn never counts February 29. */
        if (d->kind == TZ_DAY_JULIAN) {
            days -= is_leap(y) && d->day >= 60 ? 0 : 1;
        }
    }
    return days * 86400 + d->time;
}

size_t tz_rule_events(const tz_rule *r, int64_t utc, tz_event out[TZ_RULE_EVENTS]) {
    if (!r->has_dst) {
        return 0;
    }
    int64_t days = (utc + r->std_offset) / 86400;
    int64_t year;
    int m;
    int d;
    sm_civil_from_days(days, &year, &m, &d);
    size_t n = 0;
    /* Times reach a week over the year's ends, so two years back there is surely a change. */
    for (int64_t y = year - 2; y <= year + 2; y++) {
        out[n++] = (tz_event){day_local(&r->start, y) - r->std_offset, true};
        out[n++] = (tz_event){day_local(&r->end, y) - r->dst_offset, false};
    }
    /* Insertion sort; at one instant the end comes first: DST all year is written so. */
    for (size_t i = 1; i < n; i++) {
        tz_event e = out[i];
        size_t j = i;
        while (j > 0 &&
               (out[j - 1].at > e.at || (out[j - 1].at == e.at && out[j - 1].dst && !e.dst))) {
            out[j] = out[j - 1];
            j--;
        }
        out[j] = e;
    }
    return n;
}

bool tz_rule_is_dst(const tz_rule *r, int64_t utc) {
    tz_event events[TZ_RULE_EVENTS];
    size_t n = tz_rule_events(r, utc, events);
    bool dst = false;
    for (size_t i = 0; i < n && events[i].at <= utc; i++) {
        dst = events[i].dst;
    }
    return dst;
}
