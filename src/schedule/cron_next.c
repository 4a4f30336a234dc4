/* cron_next: due instants of a parsed schedule.
 *
 * The zone is walked by stretches of constant offset; inside one, local time is a straight line
 * and the search is calendar arithmetic. Daylight saving follows reliability 2.1: a fixed time in
 * a gap of up to 3 hours falls on the first instant after it, one that occurs twice counts the
 * first time; an interval job (minute or hour begins with '*') takes local time as it comes.
 * The search ends after 12 years. Pure; called by the scheduler, the catalogue and the commands.
 */
#include "schedule/cron_internal.h"
#include "base/str.h"

#define DAY INT64_C(86400)
#define HORIZON (12 * 366 * DAY)
/* Longer than any overlap, so that stretches before it cannot matter. */
#define LOOK_BACK (4 * DAY)
#define GAP_MAX (3 * INT64_C(3600))
/* Beyond this (some 30000 years) nothing is due; keeps the arithmetic far from its ends. */
#define FAR_AWAY INT64_C(1000000000000)

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

static int month_length(int64_t y, int m) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return m == 2 && leap ? 29 : days[m - 1];
}

/* The day on which nW falls: the nearest Monday to Friday within the month; 0 when there is none.
 */
static int nearest_workday(int n, int length, int weekday_of_first) {
    if (n > length) {
        return 0;
    }
    int weekday = (weekday_of_first + n - 1) % 7;
    if (weekday == 6) {
        return n > 1 ? n - 1 : n + 2;
    }
    if (weekday == 0) {
        return n < length ? n + 1 : n - 2;
    }
    return n;
}

static bool day_in_month_matches(const sm_cron *c, int d, int length, int weekday) {
    if ((c->days >> d & 1u) || (c->last_day && d == length)) {
        return true;
    }
    int first = ((weekday - (d - 1)) % 7 + 7) % 7;
    for (int n = 1; n <= 31 && c->near_days; n++) {
        if ((c->near_days >> n & 1u) && nearest_workday(n, length, first) == d) {
            return true;
        }
    }
    return false;
}

static bool weekday_matches(const sm_cron *c, int d, int length, int weekday) {
    return (c->weekdays >> weekday & 1) || (c->nth[(d - 1) / 7 + 1] >> weekday & 1) ||
           ((c->last >> weekday & 1) && d + 7 > length);
}

static bool day_matches(const sm_cron *c, int d, int length, int weekday) {
    bool by_day = day_in_month_matches(c, d, length, weekday);
    bool by_weekday = weekday_matches(c, d, length, weekday);
    /* crontab(5): either matches when both are restricted, that is, neither begins with '*'. */
    if (c->star[CRON_DAY] || c->star[CRON_WEEKDAY]) {
        return by_day && by_weekday;
    }
    return by_day || by_weekday;
}

/* Lowest set bit of `set` at or above `from`; -1 when there is none. */
static int next_bit(uint64_t set, int from) {
    uint64_t rest = from < 64 ? set >> from : 0;
    return rest ? from + __builtin_ctzll(rest) : -1;
}

/* First matching second of a day at or after `from` (0..86399); -1 when there is none. */
static int time_of_day(const sm_cron *c, int from) {
    int h0 = from / 3600;
    int m0 = from / 60 % 60;
    int s0 = from % 60;
    for (int h = next_bit(c->hours, h0); h >= 0; h = next_bit(c->hours, h + 1)) {
        int low = h == h0 ? m0 : 0;
        for (int m = next_bit(c->minutes, low); m >= 0; m = next_bit(c->minutes, m + 1)) {
            int s = next_bit(c->seconds, h == h0 && m == m0 ? s0 : 0);
            if (s >= 0) {
                return h * 3600 + m * 60 + s;
            }
        }
    }
    return -1;
}

/* First local time in [low, high) that the fields match. Local times are seconds since
 * 1970-01-01 00:00 of the wall clock. */
static bool find_local(const sm_cron *c, int64_t low, int64_t high, int64_t *out) {
    int64_t day = floor_div(low, DAY);
    int from = (int)(low - day * DAY);
    while (day * DAY < high) {
        int64_t y;
        int m;
        int d;
        sm_civil_from_days(day, &y, &m, &d);
        int length = month_length(y, m);
        if (!(c->months >> m & 1)) {
            day += length - d + 1;
            from = 0;
            continue;
        }
        int weekday = (int)(((day + 4) % 7 + 7) % 7);
        for (; d <= length && day * DAY < high; d++, day++) {
            int t = day_matches(c, d, length, weekday) ? time_of_day(c, from) : -1;
            if (t >= 0) {
                *out = day * DAY + t;
                return *out < high;
            }
            from = 0;
            weekday = weekday == 6 ? 0 : weekday + 1;
        }
    }
    return false;
}

/* The walk over stretches of constant offset. `shown` is the furthest local time that the wall
 * clock has shown: below it, local times come for the second time. */
static bool next_by_fields(const sm_cron *c, const sm_tz *tz, int64_t after, int64_t *next) {
    bool interval = c->star[CRON_MINUTE] || c->star[CRON_HOUR];
    int64_t limit = after + HORIZON;
    int64_t start = after - LOOK_BACK;
    int64_t shown = INT64_MIN;
    while (start <= limit) {
        int32_t offset = sm_tz_offset(tz, start, NULL, NULL);
        int64_t end;
        if (!sm_tz_next_change(tz, start, &end) || end > limit) {
            end = limit + 1;
        }
        int64_t low = start + offset;
        int64_t found;
        if (!interval && shown != INT64_MIN) {
            if (start > after && low > shown && low - shown <= GAP_MAX &&
                find_local(c, shown, low, &found)) {
                *next = start;
                return true;
            }
            low = low > shown ? low : shown;
        }
        if (low < after + 1 + offset) {
            low = after + 1 + offset;
        }
        int64_t high = end + offset;
        if (low < high && find_local(c, low, high, &found)) {
            *next = found - offset;
            return true;
        }
        shown = high > shown ? high : shown;
        start = end;
    }
    return false;
}

bool sm_cron_next(const sm_cron *c, const sm_tz *tz, int64_t after, int64_t *next) {
    if (after > FAR_AWAY || after < -FAR_AWAY) {
        return false;
    }
    if (c->every > 0) {
        *next = (floor_div(after, c->every) + 1) * c->every;
        return true;
    }
    return next_by_fields(c, tz, after, next);
}

bool sm_cron_prev(const sm_cron *c, const sm_tz *tz, int64_t at, int64_t *prev) {
    if (at > FAR_AWAY || at < -FAR_AWAY) {
        return false;
    }
    if (c->every > 0) {
        *prev = floor_div(at, c->every) * c->every;
        return true;
    }
    /* `next` is monotone: from x on, nothing is due up to `at` exactly when x is the last due
     * instant or later. The smallest such x is found by halving. */
    int64_t low = at - HORIZON;
    int64_t high = at;
    int64_t next;
    if (!sm_cron_next(c, tz, low, &next) || next > at) {
        return false;
    }
    low = next;
    while (low < high) {
        int64_t mid = low + (high - low) / 2;
        if (sm_cron_next(c, tz, mid, &next) && next <= at) {
            low = next;
        } else {
            high = mid;
        }
    }
    *prev = low;
    return true;
}

/* Matching seconds of a day before t (0..86400). */
static int64_t times_before(const sm_cron *c, int64_t t) {
    int h = (int)(t / 3600);
    int m = (int)(t / 60 % 60);
    int s = (int)(t % 60);
    int64_t seconds = __builtin_popcountll(c->seconds);
    int64_t minutes = __builtin_popcountll(c->minutes);
    uint64_t hours_below = c->hours & ((UINT64_C(1) << h) - 1);
    int64_t n = __builtin_popcountll(hours_below) * minutes * seconds;
    if (h < 24 && (c->hours >> h & 1)) {
        n += __builtin_popcountll(c->minutes & ((UINT64_C(1) << m) - 1)) * seconds;
        if (c->minutes >> m & 1) {
            n += __builtin_popcountll(c->seconds & ((UINT64_C(1) << s) - 1));
        }
    }
    return n;
}

/* Local times in [low, high) that the fields match. */
static int64_t count_local(const sm_cron *c, int64_t low, int64_t high) {
    int64_t day = floor_div(low, DAY);
    int64_t from = low - day * DAY;
    int64_t n = 0;
    while (day * DAY < high) {
        int64_t y;
        int m;
        int d;
        sm_civil_from_days(day, &y, &m, &d);
        int length = month_length(y, m);
        if (!(c->months >> m & 1)) {
            day += length - d + 1;
            from = 0;
            continue;
        }
        int weekday = (int)(((day + 4) % 7 + 7) % 7);
        for (; d <= length && day * DAY < high; d++, day++) {
            int64_t end = high - day * DAY;
            if (day_matches(c, d, length, weekday)) {
                n += times_before(c, end < DAY ? end : DAY) - times_before(c, from);
            }
            from = 0;
            weekday = weekday == 6 ? 0 : weekday + 1;
        }
    }
    return n;
}

/* The walk of next_by_fields, with every instant of a stretch at once. */
static int64_t count_by_fields(const sm_cron *c, const sm_tz *tz, int64_t after, int64_t to) {
    bool interval = c->star[CRON_MINUTE] || c->star[CRON_HOUR];
    int64_t start = after - LOOK_BACK;
    int64_t shown = INT64_MIN;
    int64_t n = 0;
    while (start <= to) {
        int32_t offset = sm_tz_offset(tz, start, NULL, NULL);
        int64_t end;
        if (!sm_tz_next_change(tz, start, &end) || end > to) {
            end = to + 1;
        }
        int64_t low = start + offset;
        int64_t found;
        if (!interval && shown != INT64_MIN) {
            bool moved = start > after && low > shown && low - shown <= GAP_MAX &&
                         find_local(c, shown, low, &found);
            n += moved;
            low = low > shown ? low : shown;
            low += moved; /* what is due at that instant itself falls together with it */
        }
        if (low < after + 1 + offset) {
            low = after + 1 + offset;
        }
        if (low < end + offset) {
            n += count_local(c, low, end + offset);
        }
        shown = end + offset > shown ? end + offset : shown;
        start = end;
    }
    return n;
}

int64_t sm_cron_count(const sm_cron *c, const sm_tz *tz, int64_t after, int64_t to) {
    if (to <= after || to > FAR_AWAY || after < -FAR_AWAY) {
        return 0;
    }
    if (c->every > 0) {
        return floor_div(to, c->every) - floor_div(after, c->every);
    }
    return count_by_fields(c, tz, after, to);
}

int64_t sm_cron_period(const sm_cron *c, const sm_tz *tz, int64_t at) {
    int64_t first;
    int64_t second;
    if (!sm_cron_next(c, tz, at, &first) || !sm_cron_next(c, tz, first, &second)) {
        return 0;
    }
    return second - first;
}
