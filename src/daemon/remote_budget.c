/* remote_budget: how many calls of the OpenAPI may go out (platform.md, "Registration"): a limit
 * per key and one per workspace, both over any minute.
 *
 * It keeps the times of the last calls instead of a fill level: a bucket of 20 that refills 20 a
 * minute lets 40 through in its first minute. Pure: times are given; the caller keeps what
 * sm_remote_budget_save returns so that restarts and `run --once` share it.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "daemon/remote_internal.h"
#include <stdlib.h>
#include <string.h>

#define WINDOW_NS (60 * SM_NS_PER_S + 200 * SM_NS_PER_MS)
#define PAUSE_NS (60 * SM_NS_PER_S)

static int clamp_rate(int rate, int fallback) {
    if (rate <= 0)
        return fallback;
    return rate > SM_REMOTE_RATE_MAX ? SM_REMOTE_RATE_MAX : rate;
}

void sm_remote_budget_init(sm_remote_budget *b, int key, int workspace) {
    *b = (sm_remote_budget){.window_ns = WINDOW_NS,
                            .pause_ns = PAUSE_NS,
                            .key = clamp_rate(key, 20),
                            .workspace = clamp_rate(workspace, 200)};
    b->times = sm_calloc(SM_REMOTE_RATE_MAX, sizeof *b->times);
}

void sm_remote_budget_rates(sm_remote_budget *b, int key, int workspace) {
    b->key = clamp_rate(key, 20);
    b->workspace = clamp_rate(workspace, 200);
}

void sm_remote_budget_fini(sm_remote_budget *b) {
    free(b->times);
    b->times = NULL;
}

/* The limit that binds: every call counts for both. */
static int limit_of(const sm_remote_budget *b) {
    return b->key < b->workspace ? b->key : b->workspace;
}

static void forget_old(sm_remote_budget *b, int64_t now_ns) {
    int old = 0;
    while (old < b->n && b->times[old] + b->window_ns <= now_ns)
        old++;
    b->n -= old;
    memmove(b->times, b->times + old, (size_t)b->n * sizeof *b->times);
}

int64_t sm_remote_budget_at(sm_remote_budget *b, int64_t now_ns, bool paced) {
    int limit = limit_of(b);
    forget_old(b, now_ns);
    int used = b->n + b->in_flight;
    int64_t at = now_ns > b->blocked_ns ? now_ns : b->blocked_ns;
    if (used >= limit) {
        int first = used - limit; /* so many of the oldest must be forgotten, and one more */
        if (first >= b->n)
            return INT64_MAX;
        int64_t free_ns = b->times[first] + b->window_ns;
        at = free_ns > at ? free_ns : at;
    }
    if (paced && used * 2 >= limit) {
        int64_t next_ns = b->last_ns + b->window_ns / limit;
        at = next_ns > at ? next_ns : at;
    }
    return at;
}

void sm_remote_budget_take(sm_remote_budget *b, int64_t now_ns) {
    b->in_flight++;
    b->last_ns = now_ns;
}

static void add_time(sm_remote_budget *b, int64_t t) {
    if (b->n == SM_REMOTE_RATE_MAX) {
        memmove(b->times, b->times + 1, (size_t)(b->n - 1) * sizeof *b->times);
        b->n--;
    }
    b->times[b->n++] = t;
}

void sm_remote_budget_end(sm_remote_budget *b, int64_t now_ns) {
    b->in_flight--;
    forget_old(b, now_ns);
    add_time(b, now_ns);
}

void sm_remote_budget_block(sm_remote_budget *b, int64_t now_ns, int64_t retry_after_s) {
    int64_t third = b->pause_ns / 3;
    int64_t wait = third + (int64_t)sm_rand_below((uint64_t)(b->pause_ns - third) + 1);
    if (retry_after_s >= 0 && retry_after_s < b->pause_ns / SM_NS_PER_S)
        wait = retry_after_s * SM_NS_PER_S + (int64_t)sm_rand_below((uint64_t)SM_NS_PER_S);
    int64_t until = now_ns + wait;
    if (until > b->blocked_ns)
        b->blocked_ns = until;
}

int sm_remote_budget_left(sm_remote_budget *b, int limit, int64_t now_ns) {
    forget_old(b, now_ns);
    int left = limit - b->n - b->in_flight;
    return left < 0 || b->blocked_ns > now_ns ? 0 : left;
}

double sm_remote_budget_seconds(sm_remote_budget *b, size_t calls, int64_t now_ns) {
    if (calls == 0)
        return 0;
    int64_t first = sm_remote_budget_at(b, now_ns, false);
    double wait = first == INT64_MAX ? 0 : (double)(first - now_ns) / 1e9;
    int left = sm_remote_budget_left(b, limit_of(b), now_ns);
    double rest = calls > (size_t)left ? (double)(calls - (size_t)left) : 0;
    double paced = rest * (double)b->window_ns / 1e9 / limit_of(b);
    return wait > paced ? wait : paced;
}

json_t *sm_remote_budget_save(sm_remote_budget *b, int64_t now_ns, int64_t wall_ns) {
    json_t *times = json_array();
    forget_old(b, now_ns);
    for (int i = 0; i < b->n; i++)
        json_array_append_new(times,
                              json_integer((wall_ns - (now_ns - b->times[i])) / SM_NS_PER_MS));
    for (int i = 0; i < b->in_flight; i++) /* would end now at the earliest */
        json_array_append_new(times, json_integer(wall_ns / SM_NS_PER_MS));
    int64_t blocked = b->blocked_ns > now_ns ? wall_ns + (b->blocked_ns - now_ns) : 0;
    return json_pack("{s:o, s:I}", "calls_ms", times, "blocked_ms",
                     (json_int_t)(blocked / SM_NS_PER_MS));
}

void sm_remote_budget_load(sm_remote_budget *b, const json_t *saved, int64_t now_ns,
                           int64_t wall_ns) {
    size_t i;
    json_t *item;
    int64_t *own = sm_calloc(SM_REMOTE_RATE_MAX, sizeof *own);
    int own_n = b->n;
    memcpy(own, b->times, (size_t)own_n * sizeof *own);
    b->n = 0;
    int64_t wall_ms = wall_ns / SM_NS_PER_MS;
    json_array_foreach(json_object_get(saved, "calls_ms"), i, item) {
        int64_t at = json_integer_value(item);
        if (at <= wall_ms - b->window_ns / SM_NS_PER_MS || at > wall_ms + 1000)
            continue; /* too old, or from the future: the clock went back */
        add_time(b, at < wall_ms ? now_ns - (wall_ms - at) * SM_NS_PER_MS : now_ns);
    }
    for (int k = 0; k < own_n; k++)
        add_time(b, own[k]);
    free(own);
    int64_t blocked = sm_json_int(saved, "blocked_ms", 0);
    if (blocked > wall_ms && blocked <= wall_ms + b->pause_ns / SM_NS_PER_MS) {
        int64_t until = now_ns + (blocked - wall_ms) * SM_NS_PER_MS;
        b->blocked_ns = until > b->blocked_ns ? until : b->blocked_ns;
    }
}
