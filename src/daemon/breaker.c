/* breaker: see breaker.h. Called by a pump, on the loop's thread.
 *
 * How long it stays open: full jitter, from 1 s doubled at each opening up to 5 minutes, or what
 * the address asked for, at most an hour. After it worked again one event goes, then 4, 16, 64, a
 * whole batch, so that a great backlog does not fall upon an address that has just come back; a
 * failure on the way begins with one again, which also finds the event that an address cannot bear.
 */
#include "daemon/breaker.h"
#include "base/clock.h"
#include "base/rand.h"

enum {
    IN_A_ROW = 5,
    LOOK_BACK = 20,
    BASE_MS = 1000,
    CAP_MS = 300000,
    AFTER_CAP_MS = 3600000,
    GROWTH = 4
};

void sm_breaker_init(sm_breaker *b, int full) {
    *b = (sm_breaker){.state = SM_BREAKER_CLOSED, .full = full, .limit = full};
}

void sm_breaker_careful(sm_breaker *b) {
    b->limit = 1;
}

int64_t sm_breaker_wait_ms(const sm_breaker *b, int64_t now_ns) {
    if (b->state != SM_BREAKER_OPEN || now_ns >= b->until_ns)
        return 0;
    return (b->until_ns - now_ns + SM_NS_PER_MS - 1) / SM_NS_PER_MS;
}

int sm_breaker_allow(sm_breaker *b, int64_t now_ns) {
    if (b->state == SM_BREAKER_OPEN && now_ns >= b->until_ns) {
        b->state = SM_BREAKER_HALF_OPEN;
        b->limit = 1;
    }
    return b->state == SM_BREAKER_OPEN ? 0 : b->limit;
}

static void remember(sm_breaker *b, bool failed) {
    b->last = (b->last << 1 | failed) & ((1U << LOOK_BACK) - 1);
    b->n_last += b->n_last < LOOK_BACK;
}

static bool half_failed(const sm_breaker *b) {
    return b->n_last == LOOK_BACK && __builtin_popcount(b->last) * 2 >= LOOK_BACK;
}

static void open_for(sm_breaker *b, int64_t now_ns, int64_t least_ms, uint64_t r) {
    int64_t ms = sm_jitter(BASE_MS, CAP_MS, b->opened > 30 ? 30 : b->opened, r);
    least_ms = least_ms > AFTER_CAP_MS ? AFTER_CAP_MS : least_ms;
    b->opened++;
    b->state = SM_BREAKER_OPEN;
    b->until_ns = now_ns + (ms > least_ms ? ms : least_ms) * SM_NS_PER_MS;
}

bool sm_breaker_worked(sm_breaker *b) {
    bool closes = b->state != SM_BREAKER_CLOSED;
    if (closes) {
        b->state = SM_BREAKER_CLOSED;
        b->last = 0;
        b->n_last = 0;
    }
    b->failures = 0;
    remember(b, false);
    b->limit = b->limit >= b->full / GROWTH + 1 ? b->full : b->limit * GROWTH;
    if (b->limit == b->full)
        b->opened = 0; /* until then it may fall back into the same trouble */
    return closes;
}

bool sm_breaker_failed(sm_breaker *b, int64_t now_ns, int64_t after_ms, uint64_t r) {
    bool was_open = b->state != SM_BREAKER_CLOSED;
    b->failures++;
    remember(b, true);
    b->limit = 1;
    if (!was_open && after_ms <= 0 && b->failures < IN_A_ROW && !half_failed(b))
        return false;
    open_for(b, now_ns, after_ms, r);
    return !was_open;
}

bool sm_breaker_held(sm_breaker *b, int64_t now_ns, int64_t least_ms, uint64_t r) {
    bool was_open = b->state != SM_BREAKER_CLOSED;
    b->failures++;
    remember(b, true);
    b->limit = 1;
    open_for(b, now_ns, least_ms, r);
    return !was_open;
}

void sm_breaker_hurry(sm_breaker *b) {
    if (b->state == SM_BREAKER_OPEN)
        b->until_ns = INT64_MIN;
}

const char *sm_breaker_name(sm_breaker_state state) {
    static const char *const names[] = {"closed", "open", "half-open"};
    return names[state];
}
