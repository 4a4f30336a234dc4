/* cron_parse: a schedule expression to the sets of values that cron_next.c searches.
 *
 * Accepts what script-api 6 lists and refuses the rest with one sentence that names the field, the
 * text and what was expected: wrap-around ranges, steps without a range, long names and digits
 * that are not ASCII are read differently by different crons, so none of them is guessed at.
 * Called when scripts are loaded and by the command line; pure.
 */
#include "schedule/cron_internal.h"
#include "base/mem.h"
#include "base/str.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXPR_MAX = 256 };

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                          "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

typedef struct field_kind {
    const char *name;
    const char *expected; /* for sentences */
    int low, high;        /* values; a weekday may also be written 7 */
    int hash_high;        /* H stays at or below: not every month has a 31st */
    const char *const *names;
    int names_n;
} field_kind;

static const field_kind kinds[CRON_FIELDS] = {
    [CRON_SECOND] = {"second", "0 to 59", 0, 59, 59, NULL, 0},
    [CRON_MINUTE] = {"minute", "0 to 59", 0, 59, 59, NULL, 0},
    [CRON_HOUR] = {"hour", "0 to 23", 0, 23, 23, NULL, 0},
    [CRON_DAY] = {"day", "1 to 31, L or 1W to 31W", 1, 31, 28, NULL, 0},
    [CRON_MONTH] = {"month", "1 to 12 or jan to dec", 1, 12, 12, month_names, 12},
    [CRON_WEEKDAY] = {"weekday", "0 to 7 or sun to sat, 5L or 5#2", 0, 6, 6, weekday_names, 7},
};

/* What the parsing of one field needs and fills. */
typedef struct field {
    sm_cron *cron;
    int which;        /* CRON_MINUTE ... */
    const char *text; /* the whole field */
    const char *id;   /* for H */
    uint64_t set;     /* values found */
    sm_err *err;
} field;

/* One sentence about an item of the field. */
static sm_rc bad(const field *f, const char *item, size_t n, const char *expected) {
    char *shown = sm_str_printable(item, n, 60);
    char *whole = sm_str_printable(f->text, strlen(f->text), 80);
    if (n == 0 || strcmp(shown, whole) == 0) {
        sm_err_set(f->err, SM_INVALID, "invalid %s \"%s\" in the schedule: %s",
                   kinds[f->which].name, whole, expected);
    } else {
        sm_err_set(f->err, SM_INVALID, "invalid %s \"%s\" (in \"%s\") in the schedule: %s",
                   kinds[f->which].name, shown, whole, expected);
    }
    free(whole);
    free(shown);
    return SM_INVALID;
}

static sm_rc bad_value(const field *f, const char *item, size_t n) {
    const field_kind *k = &kinds[f->which];
    char word[32];
    char hint[64] = "";
    char text[160];
    if (k->names && n < sizeof word) {
        memcpy(word, item, n);
        word[n] = '\0';
        sm_str_hint(word, k->names, (size_t)k->names_n, hint, sizeof hint);
        /* A long name is no slip of the short one, but means it. */
        for (int i = 0; hint[0] == '\0' && n > 3 && i < k->names_n; i++) {
            word[3] = '\0';
            if (sm_str_nearest(word, k->names, (size_t)k->names_n) == k->names[i]) {
                sm_str_hint(k->names[i], &k->names[i], 1, hint, sizeof hint);
            }
        }
    }
    snprintf(text, sizeof text, "expected %s%s", k->expected, hint);
    return bad(f, item, n, text);
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* A number or a name at *p (before end); -1 when there is none. Ranges are checked by the caller.
 */
static int take_value(const field_kind *k, const char **p, const char *end) {
    const char *s = *p;
    if (s < end && is_digit(*s)) {
        int v = 0;
        while (s < end && is_digit(*s)) {
            v = v > 9999 ? v : v * 10 + (*s - '0');
            s++;
        }
        *p = s;
        return v;
    }
    for (int i = 0; i < k->names_n && end - s >= 3; i++) {
        const char *name = k->names[i];
        if (lower(s[0]) == name[0] && lower(s[1]) == name[1] && lower(s[2]) == name[2]) {
            *p = s + 3;
            return i + k->low;
        }
    }
    return -1;
}

/* "/n" or nothing at *p; *step is 1 without. */
static sm_rc take_step(const field *f, const char *item, size_t n, const char **p, const char *end,
                       int *step) {
    const field_kind *k = &kinds[f->which];
    *step = 1;
    if (*p == end || **p != '/') {
        return SM_OK;
    }
    (*p)++;
    int count = k->high - k->low + 1;
    int v = *p < end && is_digit(**p) ? take_value(k, p, end) : -1;
    if (v < 1 || v > count) {
        char text[64];
        snprintf(text, sizeof text, "expected a step from 1 to %d after \"/\"", count);
        return bad(f, item, n, text);
    }
    *step = v;
    return SM_OK;
}

/* Adds low, low + step, ... up to high; a weekday 7 is Sunday. */
static void add_range(field *f, int low, int high, int step) {
    for (int v = low; v <= high; v += step) {
        f->set |= UINT64_C(1) << (f->which == CRON_WEEKDAY ? v % 7 : v);
    }
}

/* `H` or `H/n`: one value, or one start for the steps, that depends only on the id. */
static sm_rc parse_hash(field *f, const char *item, size_t n) {
    const field_kind *k = &kinds[f->which];
    const char *p = item + 1;
    const char *end = item + n;
    int step;
    bool stepped = p < end && *p == '/';
    sm_rc rc = take_step(f, item, n, &p, end, &step);
    if (rc) {
        return rc;
    }
    if (p != end) {
        return bad(f, item, n, "expected H alone or with a step, as H/15");
    }
    int span = stepped ? step : k->hash_high - k->low + 1;
    int first = k->low + (int)cron_stable(f->id, k->name, (uint64_t)span);
    add_range(f, first, stepped ? k->high : first, step);
    if (f->which == CRON_MINUTE || f->which == CRON_SECOND) {
        f->cron->spread = true;
    }
    return SM_OK;
}

/* What may follow a single value: nW, nL, n#k. SM_NOT_FOUND when the item is none of them. */
static sm_rc parse_special(field *f, const char *item, size_t n, int v, const char *p) {
    const char *end = item + n;
    char c = lower(*p);
    if (f->which == CRON_DAY && c == 'w' && p + 1 == end) {
        if (v < 1 || v > 31) {
            return bad_value(f, item, n);
        }
        f->cron->near_days |= UINT32_C(1) << v;
        return SM_OK;
    }
    if (f->which != CRON_WEEKDAY || (c != 'l' && c != '#')) {
        return SM_NOT_FOUND;
    }
    if (v > 7) {
        return bad_value(f, item, n);
    }
    if (c == 'l' && p + 1 == end) {
        f->cron->last = (uint8_t)(f->cron->last | 1u << (v % 7));
        return SM_OK;
    }
    if (c == '#' && p + 2 == end && p[1] >= '1' && p[1] <= '5') {
        uint8_t *nth = &f->cron->nth[p[1] - '0'];
        *nth = (uint8_t)(*nth | 1u << (v % 7));
        return SM_OK;
    }
    return bad(f, item, n,
               "expected weekday#number with a number from 1 to 5 (5#2 is the second Friday), or "
               "weekdayL (5L is the last Friday)");
}

/* The end of a weekday range: Sunday there is 7, unless the range is Sunday alone. */
static int range_end(const field *f, int low, int high) {
    return f->which == CRON_WEEKDAY && high == 0 && low != 0 ? 7 : high;
}

/* `a`, `a-b`, `a-b/n` and the specials. */
static sm_rc parse_value(field *f, const char *item, size_t n) {
    const field_kind *k = &kinds[f->which];
    const char *p = item;
    const char *end = item + n;
    int max = f->which == CRON_WEEKDAY ? 7 : k->high;
    int a = take_value(k, &p, end);
    if (a < 0) {
        return bad_value(f, item, n);
    }
    if (p < end) {
        sm_rc rc = parse_special(f, item, n, a, p);
        if (rc != SM_NOT_FOUND) {
            return rc;
        }
    }
    if (a < k->low || a > max) {
        return bad_value(f, item, n);
    }
    if (p == end) {
        add_range(f, a, a, 1);
        return SM_OK;
    }
    char text[120];
    if (*p == '/') {
        size_t digits = strspn(p + 1, "0123456789");
        if (digits == 0 || digits > 2 || p + 1 + digits != end) {
            return bad(f, item, n, "a step needs a range and a number, as 5-59/15");
        }
        snprintf(text, sizeof text, "a step needs a range; write %d-%d%.*s, or *%.*s", a, k->high,
                 (int)(end - p), p, (int)(end - p), p);
        return bad(f, item, n, text);
    }
    if (*p != '-') {
        return bad_value(f, item, n);
    }
    p++;
    int b = take_value(k, &p, end);
    if (b < k->low || b > max) {
        return b < 0 && p == end ? bad(f, item, n, "expected a value after \"-\"")
                                 : bad_value(f, item, n);
    }
    b = range_end(f, a, b);
    int step;
    sm_rc rc = take_step(f, item, n, &p, end, &step);
    if (rc) {
        return rc;
    }
    if (p != end) {
        return bad_value(f, item, n);
    }
    if (a > b) {
        snprintf(text, sizeof text, "the range goes backwards; write %d-%d,%d-%d", a, k->high,
                 k->low, b);
        return bad(f, item, n, text);
    }
    add_range(f, a, b, step);
    return SM_OK;
}

static sm_rc parse_item(field *f, const char *item, size_t n) {
    const field_kind *k = &kinds[f->which];
    if (n == 0) {
        return bad(f, item, n, "expected a value between the commas");
    }
    if (item[0] == '*') {
        const char *p = item + 1;
        int step;
        sm_rc rc = take_step(f, item, n, &p, item + n, &step);
        if (rc == SM_OK && p != item + n) {
            rc = bad(f, item, n, "expected * alone or with a step, as */5");
        }
        if (rc == SM_OK) {
            add_range(f, k->low, k->high, step);
        }
        return rc;
    }
    if (item[0] == 'H' || item[0] == 'h') {
        return parse_hash(f, item, n);
    }
    if (f->which == CRON_DAY && n == 1 && lower(item[0]) == 'l') {
        f->cron->last_day = true;
        return SM_OK;
    }
    if (item[0] == '?') {
        return bad(f, item, n, "? stands alone, and only as day or weekday");
    }
    return parse_value(f, item, n);
}

static sm_rc parse_field(sm_cron *c, int which, const char *text, const char *id, sm_err *err) {
    field f = {.cron = c, .which = which, .text = text, .id = id, .err = err};
    bool any = (which == CRON_DAY || which == CRON_WEEKDAY) && strcmp(text, "?") == 0;
    c->star[which] = any || text[0] == '*';
    if (any) {
        text = "*";
    }
    for (const char *p = text;;) {
        size_t n = strcspn(p, ",");
        sm_rc rc = parse_item(&f, p, n);
        if (rc) {
            return rc;
        }
        if (p[n] == '\0') {
            break;
        }
        p += n + 1;
    }
    switch (which) {
    case CRON_SECOND:
        c->seconds = f.set;
        break;
    case CRON_MINUTE:
        c->minutes = f.set;
        break;
    case CRON_HOUR:
        c->hours = (uint32_t)f.set;
        break;
    case CRON_DAY:
        c->days = (uint32_t)f.set;
        break;
    case CRON_MONTH:
        c->months = (uint16_t)f.set;
        break;
    default:
        c->weekdays = (uint8_t)f.set;
    }
    return SM_OK;
}

/* Splits at blanks and tabs (in place) and parses five or six fields. */
static sm_rc parse_fields(sm_cron *c, char *expr, const char *id, sm_err *err) {
    char *parts[CRON_FIELDS + 1];
    size_t n = 0;
    for (char *p = expr; n <= CRON_FIELDS;) {
        p += strspn(p, " \t");
        if (*p == '\0') {
            break;
        }
        parts[n++] = p;
        p += strcspn(p, " \t");
        if (*p) {
            *p++ = '\0';
        }
    }
    if (n != 5 && n != 6) {
        return sm_err_set(
            err, SM_INVALID,
            "a schedule with %zu field%s: expected 5 (minute hour day month weekday), "
            "6 with seconds first, or a macro like @hourly or @every 5m",
            n, n == 1 ? "" : "s");
    }
    c->seconds = 1;
    for (size_t i = 0; i < n; i++) {
        sm_rc rc = parse_field(c, (int)(i + CRON_FIELDS - n), parts[i], id, err);
        if (rc) {
            return rc;
        }
    }
    return SM_OK;
}

static sm_rc parse_every(sm_cron *c, const char *text, sm_err *err) {
    double seconds;
    text += strspn(text, " \t");
    sm_rc rc = sm_duration_parse(text, &seconds, err);
    if (rc) {
        return sm_err_wrap(err, "@every");
    }
    if (seconds < 1 || seconds != (double)(int64_t)seconds) {
        return sm_err_set(err, SM_INVALID, "@every \"%s\": expected whole seconds and at least 1s",
                          text);
    }
    c->every = (int64_t)seconds;
    c->spread = true;
    return SM_OK;
}

static sm_rc parse_macro(sm_cron *c, const char *text, sm_err *err) {
    static const struct {
        const char *name;
        const char *fields;
    } macros[] = {
        {"@hourly", "0 * * * *"},   {"@daily", "0 0 * * *"},   {"@midnight", "0 0 * * *"},
        {"@weekly", "0 0 * * 0"},   {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
        {"@annually", "0 0 1 1 *"},
    };
    size_t n = strcspn(text, " \t");
    if (n == 6 && memcmp(text, "@every", 6) == 0) {
        return parse_every(c, text + n, err);
    }
    const char *names[SM_ARRAY_LEN(macros) + 1];
    for (size_t i = 0; i < SM_ARRAY_LEN(macros); i++) {
        names[i] = macros[i].name;
        if (strcmp(text, macros[i].name) == 0) {
            char fields[16];
            snprintf(fields, sizeof fields, "%s", macros[i].fields);
            c->spread = true;
            return parse_fields(c, fields, "", err);
        }
    }
    names[SM_ARRAY_LEN(macros)] = "@every";
    char hint[64];
    char *shown = sm_str_printable(text, strlen(text), 80);
    sm_err_set(err, SM_INVALID,
               "\"%s\" is not a schedule macro: expected @hourly, @daily, @weekly, @monthly, "
               "@yearly or @every with a duration%s",
               shown, sm_str_hint(text, names, SM_ARRAY_LEN(names), hint, sizeof hint));
    free(shown);
    return SM_INVALID;
}

/* True when no year of a full cycle of leap years and weekdays has a due instant. */
static bool never_fires(const sm_cron *c) {
    for (int64_t year = 2000; year < 2048; year += 12) {
        int64_t next;
        if (sm_cron_next(c, NULL, sm_days_from_civil(year, 1, 1) * 86400, &next)) {
            return false;
        }
    }
    return true;
}

sm_rc sm_cron_parse(const char *expr, const char *id, bool refuse_never, sm_cron **out,
                    sm_err *err) {
    *out = NULL;
    sm_cron *c = sm_calloc(1, sizeof *c);
    char *text = NULL;
    sm_rc rc = SM_OK;
    size_t n = strlen(expr);
    while (n > 0 && (expr[n - 1] == ' ' || expr[n - 1] == '\t')) {
        n--;
    }
    size_t blank = strspn(expr, " \t");
    if (n <= blank) {
        rc = sm_err_set(err, SM_INVALID,
                        "the schedule is empty: expected \"minute hour day month weekday\", or a "
                        "macro like @hourly or @every 5m");
        goto out;
    }
    if (n > EXPR_MAX) {
        rc = sm_err_set(err, SM_INVALID, "the schedule has %zu bytes: expected at most %d", n,
                        EXPR_MAX);
        goto out;
    }
    text = sm_memdup(expr + blank, n - blank);
    rc = text[0] == '@' ? parse_macro(c, text, err) : parse_fields(c, text, id ? id : "", err);
    if (rc == SM_OK && refuse_never && never_fires(c)) {
        char *shown = sm_str_printable(expr + blank, n - blank, 80);
        rc =
            sm_err_set(err, SM_INVALID,
                       "the schedule \"%s\" never fires: no such date exists in its months", shown);
        free(shown);
    }
    if (rc == SM_OK) {
        *out = c;
        c = NULL;
    }
out:
    free(text);
    sm_cron_free(c);
    return rc;
}

void sm_cron_free(sm_cron *c) {
    free(c);
}

bool sm_cron_looks_like(const char *s) {
    return s[0] == '@' || strpbrk(s, " \t") != NULL;
}
