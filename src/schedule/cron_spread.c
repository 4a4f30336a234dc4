/* cron_spread: stable values from a function id, for H and for the delay of starts.
 *
 * The same id gives the same value on every machine and in every version: a changed value would
 * move the runs of every installation at its next upgrade. Pure.
 */
#include "schedule/cron_internal.h"

/* FNV-1a over both texts, then the finalizer of MurmurHash3, because FNV's low bits mix poorly. */
uint64_t cron_stable(const char *id, const char *tag, uint64_t n) {
    uint64_t h = UINT64_C(14695981039346656037);
    const char *texts[] = {id, tag};
    for (int i = 0; i < 2; i++) {
        for (const char *p = texts[i]; *p; p++) {
            h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
        }
        h = (h ^ 0xFF) * UINT64_C(1099511628211); /* never part of UTF-8: ends a text */
    }
    h ^= h >> 33;
    h *= UINT64_C(0xFF51AFD7ED558CCD);
    h ^= h >> 33;
    h *= UINT64_C(0xC4CEB9FE1A85EC53);
    h ^= h >> 33;
    return h % n;
}

/* Smallest distance between two due seconds within any minute, also over its end. */
static int64_t second_gap(const sm_cron *c) {
    int first = -1;
    int last = -1;
    int64_t gap = 60;
    for (int s = 0; s < 60; s++) {
        if (c->seconds >> s & 1) {
            if (last >= 0 && s - last < gap) {
                gap = s - last;
            }
            first = first < 0 ? s : first;
            last = s;
        }
    }
    return first >= 0 && first + 60 - last < gap ? first + 60 - last : gap;
}

int64_t sm_cron_spread_ms(const sm_cron *c, const char *id) {
    if (!c->spread) {
        return 0;
    }
    int64_t span = second_gap(c);
    if (c->every > 0) {
        span = c->every < 60 ? c->every : 60;
    }
    return (int64_t)cron_stable(id ? id : "", "spread", (uint64_t)span * 1000);
}
