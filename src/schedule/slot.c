/* slot: what one inspection's schedules say together (see slot.h). Pure; called by the scheduler.
 */
#include "schedule/slot.h"
#include "schedule/cron_internal.h"
#include "base/clock.h"

/* Instants of several schedules that are visited one by one before their number is estimated. */
enum { STEPS_MAX = 5000 };

static int64_t delay_ns(const sm_slots *s) {
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < s->n; i++) {
        int64_t ms = sm_cron_spread_ms(s->crons[i], s->id);
        least = ms < least ? ms : least;
    }
    return s->n ? least * SM_NS_PER_MS : 0;
}

int64_t sm_slots_due_ns(const sm_slots *s, int64_t slot) {
    return slot * SM_NS_PER_S + delay_ns(s);
}

int64_t sm_slots_next(const sm_slots *s, int64_t after) {
    int64_t best = SM_NO_SLOT;
    for (size_t i = 0; i < s->n; i++) {
        int64_t next;
        if (sm_cron_next(s->crons[i], s->tz, after, &next) && (best == SM_NO_SLOT || next < best)) {
            best = next;
        }
    }
    return best;
}

int64_t sm_slots_prev(const sm_slots *s, int64_t at) {
    int64_t best = SM_NO_SLOT;
    for (size_t i = 0; i < s->n; i++) {
        int64_t prev;
        if (sm_cron_prev(s->crons[i], s->tz, at, &prev) && prev > best) {
            best = prev;
        }
    }
    return best;
}

/* The last second whose slot has started by now. */
static int64_t started_by(const sm_slots *s, int64_t now_ns) {
    int64_t at = now_ns - delay_ns(s);
    return at / SM_NS_PER_S - (at % SM_NS_PER_S < 0);
}

int64_t sm_slots_newest(const sm_slots *s, int64_t now_ns) {
    return sm_slots_prev(s, started_by(s, now_ns));
}

int64_t sm_slots_period(const sm_slots *s, int64_t at) {
    int64_t longest = 0;
    for (size_t i = 0; i < s->n; i++) {
        int64_t period = sm_cron_period(s->crons[i], s->tz, at);
        longest = period > longest ? period : longest;
    }
    return longest;
}

int64_t sm_slots_count(const sm_slots *s, int64_t after, int64_t to, bool *about) {
    int64_t sum = 0;
    *about = false;
    for (size_t i = 0; i < s->n; i++) {
        sum += sm_cron_count(s->crons[i], s->tz, after, to);
    }
    if (s->n < 2) {
        return sum;
    }
    if (sum > STEPS_MAX) {
        *about = true;
        return sum;
    }
    int64_t n = 0;
    for (int64_t at = sm_slots_next(s, after); at != SM_NO_SLOT && at <= to;
         at = sm_slots_next(s, at)) {
        n++;
    }
    return n;
}

size_t sm_slots_tail(const sm_slots *s, int64_t after, int64_t to, int64_t *out, size_t max) {
    size_t n = 0;
    for (int64_t at = sm_slots_prev(s, to); at != SM_NO_SLOT && at > after && n < max;
         at = sm_slots_prev(s, at - 1)) {
        out[n++] = at;
    }
    for (size_t i = 0; i < n / 2; i++) {
        int64_t swap = out[i];
        out[i] = out[n - 1 - i];
        out[n - 1 - i] = swap;
    }
    return n;
}

int64_t sm_slots_rule(const char *expressions, const char *zone) {
    return (int64_t)cron_stable(expressions, zone, INT64_MAX);
}
