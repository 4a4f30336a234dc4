/* scheduler: heap of due instants, one timerfd, one row per slot (see scheduler.h).
 *
 * It never enumerates what was missed: after a gap the newest missed slot is computed directly, and
 * it alone may be caught up. A slot is identified by its nominal time; the spread only delays the
 * start.
 */
#include "daemon/scheduler.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    CATCH_UP_S = 3600,  /* a missed slot younger than this, or than its period, is caught up */
    GAP_S = 180,        /* further behind, slots were missed rather than late */
    AHEAD_S = 26 * 3600 /* slots further ahead were given by a clock that was wrong */
};
#define LATE_NS SM_NS_PER_S

typedef struct plan { /* one inspection */
    char *id;
    sm_inspection *inspection; /* NULL once removed */
    sm_scheduler *scheduler;
    int64_t slot;      /* next nominal slot, Unix seconds; SM_NO_SLOT: none */
    int64_t due_ns;    /* slot plus spread */
    int64_t last_slot; /* newest slot that ran or was passed over; SM_NO_SLOT: none */
    bool ever_run;     /* the store knows a run of it */
    bool missed;       /* its planned slot passed while nobody was there */
    bool running;
    bool queued; /* overlap = "queue": run again when this one ends */
    int64_t queued_slot;
    size_t at; /* index in the heap, SIZE_MAX when not in it */
    bool seen; /* mark of update */
} plan;

struct sm_scheduler {
    uv_loop_t *loop;
    sm_store *store;
    sm_runner *runner;
    const sm_clock *clock;
    sm_runner_done done;
    void *ctx;
    sm_map plans;
    plan **heap;
    size_t n, cap;
    int fd;
    uv_poll_t poll;
    bool stopped;
    bool no_first; /* what has run is not known: nothing runs as if for the first time */
    void (*ready)(void *ctx);
    void *ready_ctx;
    int loading;
};

/* ---- heap: earliest due first, ties by id so that the order is stable ---- */

static bool before(const plan *a, const plan *b) {
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : strcmp(a->id, b->id) < 0;
}

static void place(sm_scheduler *s, size_t i, plan *p) {
    s->heap[i] = p;
    p->at = i;
}

static void sift_up(sm_scheduler *s, size_t i) {
    plan *p = s->heap[i];
    while (i > 0 && before(p, s->heap[(i - 1) / 2])) {
        place(s, i, s->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(s, i, p);
}

static void sift_down(sm_scheduler *s, size_t i) {
    plan *p = s->heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->n)
            break;
        if (child + 1 < s->n && before(s->heap[child + 1], s->heap[child]))
            child++;
        if (!before(s->heap[child], p))
            break;
        place(s, i, s->heap[child]);
        i = child;
    }
    place(s, i, p);
}

static void heap_remove(sm_scheduler *s, plan *p) {
    if (p->at == SIZE_MAX)
        return;
    size_t i = p->at;
    plan *last = s->heap[--s->n];
    p->at = SIZE_MAX;
    if (last != p) {
        place(s, i, last);
        sift_up(s, i);
        sift_down(s, last->at);
    }
}

static void heap_add(sm_scheduler *s, plan *p) {
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 64;
        s->heap = sm_realloc(s->heap, s->cap * sizeof *s->heap);
    }
    s->n++;
    place(s, s->n - 1, p);
    sift_up(s, s->n - 1);
}

/* ---- time ---- */

static int64_t wall_ns(const sm_scheduler *s) {
    return s->clock->wall_ns(s->clock->ctx);
}

static void arm(sm_scheduler *s) {
    struct itimerspec when = {0};
    if (s->n > 0) {
        int64_t at = s->heap[0]->due_ns;
        when.it_value.tv_sec = at / SM_NS_PER_S;
        when.it_value.tv_nsec = at % SM_NS_PER_S;
        if (when.it_value.tv_sec <= 0 && when.it_value.tv_nsec == 0)
            when.it_value.tv_nsec = 1;
    }
    timerfd_settime(s->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, NULL);
}

/* Next nominal slot over all schedules, strictly after `after`; with its start delay. */
static bool next_slot(const sm_inspection *p, int64_t after, int64_t *slot, int64_t *due_ns) {
    bool found = false;
    for (size_t i = 0; i < p->n_crons; i++) {
        int64_t next;
        if (sm_cron_next(p->crons[i], p->tz, after, &next) && (!found || next < *slot)) {
            *slot = next;
            *due_ns = next * SM_NS_PER_S + sm_cron_spread_ms(p->crons[i], p->id) * SM_NS_PER_MS;
            found = true;
        }
    }
    return found;
}

static void plan_slot(sm_scheduler *s, const char *id, int64_t slot, const char *trigger) {
    json_t *args = json_pack("{s:s, s:I, s:s, s:I}", "id", id, "slot", (json_int_t)slot, "trigger",
                             trigger, "planned_ns", (json_int_t)wall_ns(s));
    sm_store_call(s->store, SM_OP_SLOT_PLAN, args, NULL, NULL);
}

/* The planned slot did not run, and will not. */
static void miss_slot(sm_scheduler *s, const char *id, int64_t slot) {
    json_t *args = json_pack("{s:s, s:I, s:s, s:I}", "id", id, "slot", (json_int_t)slot, "outcome",
                             "missed", "at_ns", (json_int_t)wall_ns(s));
    sm_store_call(s->store, SM_OP_SLOT_FINISH, args, NULL, NULL);
}

/* The newest slot at or before now, or SM_NO_SLOT; *young: it may be caught up. */
static int64_t newest_slot(const sm_inspection *p, int64_t now, bool *young) {
    int64_t newest = SM_NO_SLOT, period = CATCH_UP_S;
    for (size_t i = 0; i < p->n_crons; i++) {
        int64_t prev, length = sm_cron_period(p->crons[i], p->tz, now);
        if (sm_cron_prev(p->crons[i], p->tz, now, &prev) && prev > newest)
            newest = prev;
        period = length > period ? length : period;
    }
    *young = newest != SM_NO_SLOT && now - newest < period &&
             strcmp(sm_json_str(p->spec, "missed", "last"), "skip") != 0;
    return newest;
}

/* Puts p at its next slot after `after` and commits that slot's row ahead. */
static void advance(sm_scheduler *s, plan *p, int64_t after) {
    int64_t planned = p->slot;
    heap_remove(s, p);
    p->slot = SM_NO_SLOT;
    if (p->last_slot != SM_NO_SLOT && after < p->last_slot)
        after = p->last_slot; /* the clock went back: no slot twice */
    if (!p->inspection || !next_slot(p->inspection, after, &p->slot, &p->due_ns))
        return;
    heap_add(s, p);
    if (p->slot != planned)
        plan_slot(s, p->id, p->slot, "schedule");
}

/* ---- runs ---- */

static void start(plan *p, int64_t slot, const char *trigger, bool late);

static void finished(void *ctx, const json_t *report) {
    plan *p = ctx;
    sm_scheduler *s = p->scheduler;
    p->running = false;
    s->done(s->ctx, report);
    if (p->queued && !s->stopped && p->inspection) {
        p->queued = false;
        start(p, p->queued_slot, "schedule", true);
    }
}

static void start(plan *p, int64_t slot, const char *trigger, bool late) {
    p->running = true;
    p->ever_run = true;
    if (slot != SM_NO_SLOT && (p->last_slot == SM_NO_SLOT || slot > p->last_slot))
        p->last_slot = slot;
    sm_run_want want = {.inspection = p->inspection,
                        .slot = slot,
                        .trigger = trigger,
                        .ask = strcmp(trigger, "first") == 0,
                        .late = late,
                        .done = finished,
                        .ctx = p};
    sm_runner_start(p->scheduler->runner, &want);
}

/* A due slot: starts it, or says why not. */
static void fire(sm_scheduler *s, plan *p, int64_t slot, bool late) {
    if (!p->running) {
        start(p, slot, "schedule", late);
        return;
    }
    if (p->last_slot == SM_NO_SLOT || slot > p->last_slot)
        p->last_slot = slot;
    if (strcmp(sm_json_str(p->inspection->spec, "overlap", "skip"), "queue") == 0 && !p->queued) {
        p->queued = true;
        p->queued_slot = slot;
        return;
    }
    sm_runner_record(s->runner, p->inspection, slot, "schedule", "skipped",
                     "its last run has not ended yet (overlap)");
}

static void due(sm_scheduler *s) {
    while (s->n > 0 && !s->stopped) {
        plan *p = s->heap[0];
        int64_t now_ns = wall_ns(s), behind = now_ns - p->due_ns;
        if (behind < 0)
            break;
        int64_t slot = p->slot;
        bool run = true;
        /* Far behind (suspended, stopped, clock set forward): only the newest slot may run. */
        if (behind > 2 * LATE_NS) {
            bool young;
            int64_t newest = newest_slot(p->inspection, now_ns / SM_NS_PER_S, &young);
            slot = newest > slot ? newest : slot;
            run = young || behind <= GAP_S * SM_NS_PER_S;
        }
        if (!run || slot != p->slot)
            miss_slot(s, p->id, p->slot);
        if (run)
            fire(s, p, slot, behind > LATE_NS);
        else
            p->last_slot = slot;
        advance(s, p, slot);
    }
    arm(s);
}

void sm_scheduler_clock_set(sm_scheduler *s) {
    int64_t now = wall_ns(s) / SM_NS_PER_S;
    size_t pos = 0, freed = 0;
    for (plan *p; (p = sm_map_next(&s->plans, &pos, NULL));) {
        if (p->last_slot != SM_NO_SLOT && p->last_slot > now + AHEAD_S) {
            p->last_slot = SM_NO_SLOT;
            freed++;
        }
        /* What is due already stays: it is late, or its start is only delayed. */
        if (p->inspection && (p->slot == SM_NO_SLOT || p->slot > now))
            advance(s, p, now);
    }
    if (freed)
        sm_log(SM_LOG_WARN,
               "the system clock went back by more than a day; the schedules of %zu inspections "
               "begin again",
               freed);
    due(s);
}

static void on_timer(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    sm_scheduler *s = poll->data;
    uint64_t ticks;
    if (read(s->fd, &ticks, sizeof ticks) < 0 && errno == ECANCELED) {
        sm_log(SM_LOG_INFO, "the system clock was set; due times are looked at again");
        sm_scheduler_clock_set(s);
        return;
    }
    due(s);
}

/* ---- what is loaded ---- */

static plan *plan_get(sm_scheduler *s, const char *id) {
    plan *p = sm_map_get(&s->plans, id);
    if (!p) {
        p = sm_calloc(1, sizeof *p);
        p->id = sm_strdup(id);
        p->scheduler = s;
        p->slot = p->last_slot = SM_NO_SLOT;
        p->at = SIZE_MAX;
        sm_map_put(&s->plans, id, p);
    }
    return p;
}

static bool same_schedule(const sm_inspection *a, const sm_inspection *b) {
    const json_t *x = a ? json_object_get(a->spec, "schedule") : NULL;
    const json_t *y = json_object_get(b->spec, "schedule");
    return a && (x == y || json_equal(x, y)) && a->n_crons == b->n_crons &&
           strcmp(sm_json_str(a->spec, "timezone", ""), sm_json_str(b->spec, "timezone", "")) == 0;
}

/* A newly loaded inspection: first run, or one catch-up of what was missed while we were down. */
static void welcome(plan *p, int64_t now) {
    const sm_inspection *i = p->inspection;
    bool missed = p->missed, young;
    p->missed = false;
    if (!p->ever_run) {
        if (i->first_run && !p->scheduler->no_first)
            start(p, SM_NO_SLOT, "first", false);
        return;
    }
    int64_t newest = missed ? newest_slot(i, now, &young) : SM_NO_SLOT;
    if (newest != SM_NO_SLOT && young && newest > p->last_slot)
        start(p, newest, "schedule", true);
}

void sm_scheduler_update(sm_scheduler *s, sm_inspection *const *list, size_t n) {
    int64_t now = wall_ns(s) / SM_NS_PER_S;
    size_t pos = 0;
    for (plan *p; (p = sm_map_next(&s->plans, &pos, NULL));)
        p->seen = false;
    for (size_t i = 0; i < n && !s->stopped; i++) {
        plan *p = plan_get(s, list[i]->id);
        sm_inspection *old = p->inspection;
        bool fresh = !old, same = same_schedule(old, list[i]);
        p->inspection = sm_inspection_ref(list[i]);
        p->seen = true;
        if (fresh && !p->running)
            welcome(p, now);
        if (!same)
            advance(s, p, now);
        sm_inspection_unref(old);
    }
    pos = 0;
    for (plan *p; (p = sm_map_next(&s->plans, &pos, NULL));) {
        if (p->seen || !p->inspection)
            continue;
        heap_remove(s, p);
        p->slot = SM_NO_SLOT;
        if (p->queued)
            sm_runner_record(s->runner, p->inspection, p->queued_slot, "schedule", "skipped",
                             "the inspection was removed before its turn came (overlap)");
        p->queued = false;
        sm_inspection_unref(p->inspection);
        p->inspection = NULL;
    }
    arm(s);
}

void sm_scheduler_first(sm_scheduler *s, const char *id) {
    plan *p = sm_map_get(&s->plans, id);
    if (p && p->inspection && !p->running && !s->stopped)
        start(p, SM_NO_SLOT, "first", false);
}

bool sm_scheduler_next(const sm_scheduler *s, const char *id, int64_t *slot) {
    const plan *p = sm_map_get(&s->plans, id);
    if (!p || p->slot == SM_NO_SLOT)
        return false;
    *slot = p->slot;
    return true;
}

const char *sm_scheduler_earliest(const sm_scheduler *s, int64_t *slot) {
    if (s->n == 0)
        return NULL;
    *slot = s->heap[0]->slot;
    return s->heap[0]->id;
}

/* ---- start and end ---- */

static void loaded_one(sm_scheduler *s) {
    if (--s->loading == 0)
        s->ready(s->ready_ctx);
}

static void slots_loaded(void *ctx, sm_rc rc, const sm_err *err, const json_t *slots) {
    sm_scheduler *s = ctx;
    const char *id;
    json_t *row;
    if (rc != SM_OK)
        sm_log(SM_LOG_ERROR, "the slots of earlier days could not be read: %s", err->msg);
    int64_t now = wall_ns(s) / SM_NS_PER_S;
    json_object_foreach((json_t *)slots, id, row) {
        plan *p = plan_get(s, id);
        int64_t done = sm_json_int(row, "done", SM_NO_SLOT);
        p->last_slot = done != SM_NO_SLOT && done > now + AHEAD_S ? SM_NO_SLOT : done;
        p->missed = sm_json_int(row, "missed", SM_NO_SLOT) > p->last_slot;
    }
    loaded_one(s);
}

static void last_loaded(void *ctx, sm_rc rc, const sm_err *err, const json_t *last) {
    sm_scheduler *s = ctx;
    const char *id;
    json_t *row;
    s->no_first = rc != SM_OK;
    if (rc != SM_OK)
        sm_log(SM_LOG_ERROR, "what ran in earlier days could not be read: %s", err->msg);
    json_object_foreach((json_t *)last, id, row) plan_get(s, id)->ever_run = true;
    loaded_one(s);
}

void sm_scheduler_load(sm_scheduler *s, void (*ready)(void *ctx), void *ctx) {
    s->ready = ready;
    s->ready_ctx = ctx;
    s->loading = 2;
    sm_store_call(s->store, SM_OP_SLOT_LAST, NULL, slots_loaded, s);
    sm_store_call(s->store, SM_OP_QUERY_LAST, NULL, last_loaded, s);
}

sm_scheduler *sm_scheduler_new(uv_loop_t *loop, sm_store *store, sm_runner *runner,
                               const sm_clock *clock, sm_runner_done done, void *ctx, sm_err *err) {
    int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd < 0) {
        sm_err_sys(err, errno, "the timer of the schedules");
        return NULL;
    }
    sm_scheduler *s = sm_calloc(1, sizeof *s);
    s->loop = loop;
    s->store = store;
    s->runner = runner;
    s->clock = clock;
    s->done = done;
    s->ctx = ctx;
    s->fd = fd;
    sm_map_init(&s->plans);
    uv_poll_init(loop, &s->poll, fd);
    s->poll.data = s;
    uv_poll_start(&s->poll, UV_READABLE, on_timer);
    return s;
}

void sm_scheduler_stop(sm_scheduler *s) {
    if (s->stopped)
        return;
    s->stopped = true;
    uv_poll_stop(&s->poll);
    uv_close((uv_handle_t *)&s->poll, NULL);
}

void sm_scheduler_free(sm_scheduler *s) {
    if (!s)
        return;
    size_t pos = 0;
    for (plan *p; (p = sm_map_next(&s->plans, &pos, NULL));) {
        sm_inspection_unref(p->inspection);
        free(p->id);
        free(p);
    }
    sm_map_fini(&s->plans);
    free(s->heap);
    close(s->fd);
    free(s);
}
