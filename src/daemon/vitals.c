/* vitals: see vitals.h. Outcomes are found in a table, times fall into the buckets of a histogram;
 * the lateness of the last hour is kept in slices of five minutes with narrow buckets, so that its
 * quantiles are known to a tenth of their value. Fed by the runner and the app.
 */
#include "daemon/vitals.h"
#include "base/map.h"
#include "base/mem.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLICES = 13, /* the current one and the twelve before it: the last hour is always whole */
    SLICE_S = 300,
    NARROW = 192, /* bucket i ends at 0.1 ms * 1.1^i: the last at more than two hours */
    BOUNDS_MAX = 16
};
#define NARROW_FIRST 1e-4
#define NARROW_STEP 1.1

static const char *const outcomes[] = {"ok",           "failed",  "timeout",  "limit",
                                       "disabled",     "skipped", "missed",   "bad_params",
                                       "unregistered", "crashed", "cancelled"};
enum { OUTCOMES = SM_ARRAY_LEN(outcomes) };

static const double run_bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                    1,     2.5,  5,     10,   30,  60,   300};
static const double late_bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                     0.25,  0.5,    1,     2.5,  5,     30,   300};

typedef struct histogram {
    const double *le;
    size_t n; /* bounds */
    uint64_t count[BOUNDS_MAX + 1];
    double sum;
} histogram;

typedef struct slice {
    int64_t number; /* monotonic time / SLICE_S; -1: never used */
    uint64_t n;
    double max;
    uint32_t narrow[NARROW];
} slice;

struct sm_vitals {
    const sm_clock *clock;
    int64_t started_wall_ns, started_ns;
    uint64_t runs[OUTCOMES];
    uint64_t repeats, events, reloads, reload_failures;
    double cpu;
    histogram seconds, lateness;
    slice recent[SLICES];
    sm_map broken; /* sentences of what did not load after the last scan */
};

static int64_t mono_ns(const sm_vitals *v) {
    return v->clock->mono_ns(v->clock->ctx);
}

sm_vitals *sm_vitals_new(const sm_clock *clock) {
    sm_vitals *v = sm_calloc(1, sizeof *v);
    v->clock = clock;
    v->started_wall_ns = clock->wall_ns(clock->ctx);
    v->started_ns = mono_ns(v);
    v->seconds = (histogram){.le = run_bounds, .n = SM_ARRAY_LEN(run_bounds)};
    v->lateness = (histogram){.le = late_bounds, .n = SM_ARRAY_LEN(late_bounds)};
    for (size_t i = 0; i < SLICES; i++)
        v->recent[i].number = -1;
    sm_map_init(&v->broken);
    return v;
}

void sm_vitals_free(sm_vitals *v) {
    if (!v)
        return;
    sm_map_fini(&v->broken);
    free(v);
}

/* ---- counting ---- */

static size_t outcome_of(const char *name) {
    size_t i = 0;
    while (i < OUTCOMES && strcmp(outcomes[i], name) != 0)
        i++;
    return i;
}

static void observe(histogram *h, double x) {
    size_t i = 0;
    while (i < h->n && x > h->le[i])
        i++;
    h->count[i]++;
    h->sum += x;
}

static size_t narrow_of(double x) {
    if (x <= NARROW_FIRST)
        return 0;
    double i = ceil(log(x / NARROW_FIRST) / log(NARROW_STEP));
    return i < NARROW ? (size_t)i : NARROW - 1;
}

static void observe_recent(sm_vitals *v, double x) {
    int64_t number = mono_ns(v) / (SLICE_S * SM_NS_PER_S);
    slice *s = &v->recent[number % SLICES];
    if (s->number != number)
        *s = (slice){.number = number};
    s->n++;
    s->narrow[narrow_of(x)]++;
    s->max = x > s->max ? x : s->max;
}

void sm_vitals_run(sm_vitals *v, const json_t *report) {
    size_t outcome = outcome_of(sm_json_str(report, "outcome", ""));
    double seconds = sm_json_num(report, "seconds", 0);
    const json_t *late = json_object_get(report, "lateness");
    if (outcome < OUTCOMES)
        v->runs[outcome]++;
    v->events += (uint64_t)sm_json_int(report, "events", 0);
    v->cpu += sm_json_num(report, "cpu", 0);
    if (seconds > 0) /* else it never reached a worker */
        observe(&v->seconds, seconds);
    if (!json_is_number(late))
        return;
    double x = fmax(json_number_value(late), 0);
    observe(&v->lateness, x);
    observe_recent(v, x);
}

void sm_vitals_slots(sm_vitals *v, const char *outcome, int64_t n) {
    size_t i = outcome_of(outcome);
    if (i < OUTCOMES && n > 0)
        v->runs[i] += (uint64_t)n;
}

void sm_vitals_repeat(sm_vitals *v) {
    v->repeats++;
}

void sm_vitals_reload(sm_vitals *v, const sm_load_error *errors, size_t n) {
    sm_map now;
    sm_map_init(&now);
    v->reloads++;
    for (size_t i = 0; i < n; i++) {
        if (!sm_map_get(&v->broken, errors[i].sentence))
            v->reload_failures++;
        sm_map_put(&now, errors[i].sentence, v);
    }
    sm_map_fini(&v->broken);
    v->broken = now;
}

/* ---- telling ---- */

static json_t *histogram_json(const histogram *h) {
    json_t *le = json_array(), *count = json_array();
    for (size_t i = 0; i < h->n; i++)
        json_array_append_new(le, json_real(h->le[i]));
    for (size_t i = 0; i <= h->n; i++)
        json_array_append_new(count, json_integer((json_int_t)h->count[i]));
    return json_pack("{s:o, s:o, s:f}", "le", le, "count", count, "sum", h->sum);
}

/* The upper bound of the bucket in which the q-th part of n lies, at most max. */
static double quantile(const uint64_t narrow[NARROW], uint64_t n, double q, double max) {
    uint64_t rank = (uint64_t)ceil(q * (double)n), seen = 0;
    for (size_t i = 0; i < NARROW; i++) {
        seen += narrow[i];
        if (seen >= rank)
            return fmin(NARROW_FIRST * pow(NARROW_STEP, (double)i), max);
    }
    return max;
}

static json_t *recent_json(const sm_vitals *v) {
    uint64_t narrow[NARROW] = {0}, n = 0;
    double max = 0, up = (double)(mono_ns(v) - v->started_ns) / 1e9;
    int64_t now = mono_ns(v) / (SLICE_S * SM_NS_PER_S);
    /* The present slice has just begun, or nearly ended: say which time is really covered. */
    double covers = fmod((double)mono_ns(v) / 1e9, SLICE_S) + (SLICES - 1) * SLICE_S;
    for (size_t i = 0; i < SLICES; i++) {
        const slice *s = &v->recent[i];
        if (s->number < 0 || s->number <= now - SLICES)
            continue;
        n += s->n;
        max = s->max > max ? s->max : max;
        for (size_t k = 0; k < NARROW; k++)
            narrow[k] += s->narrow[k];
    }
    json_t *out = json_pack("{s:I, s:f}", "n", (json_int_t)n, "seconds", fmin(up, covers));
    json_object_set_new(out, "p50", n ? json_real(quantile(narrow, n, 0.5, max)) : json_null());
    json_object_set_new(out, "p99", n ? json_real(quantile(narrow, n, 0.99, max)) : json_null());
    json_object_set_new(out, "max", n ? json_real(max) : json_null());
    return out;
}

json_t *sm_vitals_snapshot(sm_vitals *v) {
    json_t *runs = json_object();
    for (size_t i = 0; i < OUTCOMES; i++)
        json_object_set_new(runs, outcomes[i], json_integer((json_int_t)v->runs[i]));
    return json_pack("{s:I, s:f, s:o, s:I, s:I, s:f, s:o, s:o, s:o, s:I, s:I}", "started_ns",
                     (json_int_t)v->started_wall_ns, "uptime",
                     (double)(mono_ns(v) - v->started_ns) / 1e9, "runs", runs, "repeats",
                     (json_int_t)v->repeats, "events", (json_int_t)v->events, "cpu", v->cpu,
                     "seconds", histogram_json(&v->seconds), "lateness",
                     histogram_json(&v->lateness), "recent", recent_json(v), "reloads",
                     (json_int_t)v->reloads, "reload_failures", (json_int_t)v->reload_failures);
}
