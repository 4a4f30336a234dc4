/* scheduler: when is who due: plans in a heap, one timerfd, the clock, what is loaded (see
 * scheduler.h). What becomes of a slot is in scheduler_turn.c, its rows in scheduler_ledger.c.
 *
 * It never enumerates what was missed without a bound: after a gap the newest slots are computed
 * directly, and the others are counted by the calendar.
 */
#include "daemon/scheduler.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/scheduler_parts.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    LOOK_MS = 5000,     /* the clock is looked at, whether or not the kernel said that it was set */
    LOOKS_PER_ZONE = 6, /* and zone files every so many looks */
    IDLE_S = 30 * 86400 /* the timer is armed even when nothing is due: it tells of a set clock */
};
#define SANE_S INT64_C(1735689600) /* 2025-01-01: this program is not older than that */
#define SLEEP_NS SM_NS_PER_S       /* a longer suspend is told */
#define STEP_NS SM_NS_PER_S        /* as is a longer step of the clock */
#define AGAIN_NS (3600 * SM_NS_PER_S)

/* ---- time ---- */

static int64_t wall_ns(const sm_scheduler *s) {
    return s->clock->wall_ns(s->clock->ctx);
}

static int64_t wall_s(const sm_scheduler *s) {
    return wall_ns(s) / SM_NS_PER_S;
}

int64_t sm_plan_wall_ns(const sm_plan *p) {
    return wall_ns(p->scheduler);
}

sm_slots sm_plan_slots(const sm_plan *p) {
    const sm_inspection *i = p->inspection;
    return (sm_slots){.crons = i->crons, .n = i->n_crons, .tz = i->tz, .id = p->id};
}

static bool sane(const sm_scheduler *s) {
    return wall_s(s) >= SANE_S;
}

/* False: the clock was set in between, and due times must be looked at again. */
static bool arm(sm_scheduler *s) {
    const sm_due *top = sm_heap_top(&s->heap);
    int64_t now = wall_ns(s), at = top ? top->at_ns : now + IDLE_S * SM_NS_PER_S;
    if (!sane(s))
        at = SANE_S * SM_NS_PER_S;
    struct itimerspec when = {
        .it_value = {.tv_sec = at / SM_NS_PER_S, .tv_nsec = at % SM_NS_PER_S}};
    if (at <= 0)
        when.it_value = (struct timespec){.tv_nsec = 1};
    return timerfd_settime(s->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, NULL) == 0 ||
           errno != ECANCELED;
}

void sm_plan_target(sm_plan *p, int64_t after) {
    sm_scheduler *s = p->scheduler;
    int64_t before = p->slot;
    sm_slots view = p->inspection ? sm_plan_slots(p) : (sm_slots){0};
    sm_heap_remove(&s->heap, &p->due);
    p->slot = sm_slots_next(&view, after);
    if (p->slot != SM_NO_SLOT) {
        p->due.at_ns = sm_slots_due_ns(&view, p->slot);
        sm_heap_add(&s->heap, &p->due);
    }
    /* The new row first: killed in between, the old one is known as another schedule's. */
    if (p->slot != SM_NO_SLOT && p->slot != before)
        sm_ledger_plan(p, p->slot);
    if (before != SM_NO_SLOT && before != p->slot)
        sm_ledger_unplan(p, before, p->slot);
}

/* ---- due ---- */

static void tell_gaps(sm_scheduler *s) {
    if (s->gaps > 0)
        sm_log(SM_LOG_WARN,
               "slots of %zu inspection%s were missed; `selfmon-lua runs --gaps` lists "
               "them",
               s->gaps, s->gaps == 1 ? "" : "s");
    s->gaps = 0;
}

static void due(sm_scheduler *s) {
    while (!s->stopped && sane(s)) {
        sm_plan *p = (sm_plan *)sm_heap_top(&s->heap);
        int64_t behind = p ? wall_ns(s) - p->due.at_ns : -1;
        if (behind < 0)
            break;
        int64_t slot = p->slot, newest = slot;
        sm_heap_remove(&s->heap, &p->due);
        p->slot = SM_NO_SLOT;
        if (behind > 2 * SM_LATE_NS)
            newest = sm_turn_catch_up(p, slot, SM_MISSED_HERE);
        else
            sm_turn_fire(p, slot, behind > SM_LATE_NS);
        sm_plan_target(p, newest == SM_NO_SLOT ? slot : newest);
    }
    tell_gaps(s);
}

/* A plan's first slot, once the clock is right: what is owed from before, then the next one. */
static void settle(sm_plan *p) {
    sm_scheduler *s = p->scheduler;
    const sm_inspection *i = p->inspection;
    int64_t now = wall_s(s), open = p->open, newest = SM_NO_SLOT;
    bool first = !p->ever_run && i->first_run && !s->no_first && !p->running;
    p->fresh = false;
    p->open = SM_NO_SLOT;
    if (open != SM_NO_SLOT && ((p->open_rule != SM_NO_SLOT && p->open_rule != p->rule) ||
                               (p->open_other != SM_NO_SLOT && p->open_other != p->rule))) {
        sm_ledger_unrule(p); /* the schedule changed while no process was there */
        open = SM_NO_SLOT;
    }
    if (first)
        sm_turn_first(p);
    if (open != SM_NO_SLOT && open <= now)
        newest = sm_turn_catch_up(p, open, first ? SM_MISSED_NONE : SM_MISSED_DOWN);
    if (newest != SM_NO_SLOT)
        sm_plan_target(p, newest);
    else /* what has passed by its nominal time may be yet to start */
        sm_plan_target(p, open != SM_NO_SLOT && open <= now ? open - 1 : now);
}

/* The clock shows instants again that have an answer: what had no run is planned once more. */
static void went_back(sm_scheduler *s) {
    int64_t now = wall_s(s);
    size_t pos = 0, back = 0, freed = 0;
    for (sm_plan *p; (p = sm_map_next(&s->plans, &pos, NULL));) {
        if (p->last_slot == SM_NO_SLOT || p->last_slot <= now)
            continue;
        back++;
        if (p->last_slot > p->replay_until)
            p->replay_until = p->last_slot;
        if (p->last_slot > now + SM_AHEAD_S) {
            p->replay_until = SM_NO_SLOT; /* it was wrong before */
            freed++;
        }
        p->last_slot = SM_NO_SLOT;
    }
    if (back == 0)
        return;
    sm_ledger_reopen(s, now);
    pos = 0;
    for (sm_plan *p; (p = sm_map_next(&s->plans, &pos, NULL));)
        if (p->slot != SM_NO_SLOT && p->slot > now) {
            sm_heap_remove(&s->heap, &p->due);
            p->slot = SM_NO_SLOT; /* its row is gone */
        }
    if (back > freed)
        sm_log(
            SM_LOG_WARN,
            "the system clock went back; of %zu inspections no slot that has been run runs again",
            back);
    if (freed > 0)
        sm_log(SM_LOG_WARN,
               "the system clock went back by more than a day; the schedules of %zu inspections "
               "begin again",
               freed);
}

static void complain(sm_scheduler *s) {
    int64_t mono = s->clock->mono_ns(s->clock->ctx);
    if (s->insane_ns != 0 && mono - s->insane_ns < AGAIN_NS)
        return;
    s->insane_ns = mono > 0 ? mono : 1;
    sm_log(SM_LOG_ERROR, "the system clock is wrong (before 2025); schedules begin when it is set");
}

void sm_scheduler_clock_set(sm_scheduler *s) {
    if (s->stopped)
        return;
    for (int again = 0; again < 3; again++) {
        if (!sane(s)) {
            complain(s);
        } else {
            if (s->insane_ns != 0)
                sm_log(SM_LOG_WARN, "the system clock is right; schedules begin");
            s->insane_ns = 0;
            went_back(s);
            int64_t now = wall_s(s);
            size_t pos = 0;
            for (sm_plan *p; (p = sm_map_next(&s->plans, &pos, NULL));) {
                if (p->inspection && p->fresh)
                    settle(p);
                /* What is due already stays: it is late, or its start is only delayed. */
                else if (p->inspection && (p->slot == SM_NO_SLOT || p->slot > now))
                    sm_plan_target(p, now);
            }
            due(s);
        }
        if (arm(s))
            break;
    }
}

static bool look_at_clock(sm_scheduler *s) {
    int64_t boot = s->clock->boot_ns(s->clock->ctx);
    int64_t slept = boot - s->clock->mono_ns(s->clock->ctx), offset = wall_ns(s) - boot;
    int64_t nap = slept - s->slept_ns, step = offset - s->offset_ns;
    s->slept_ns = slept;
    s->offset_ns = offset;
    if (nap > SLEEP_NS)
        sm_log(SM_LOG_WARN, "the machine slept for %.0f s; due times are looked at again",
               (double)nap / (double)SM_NS_PER_S);
    bool set = step > STEP_NS || step < -STEP_NS;
    if (set)
        sm_log(SM_LOG_WARN, "the system clock was set by %+.0f s; due times are looked at again",
               (double)step / (double)SM_NS_PER_S);
    return set || nap > SLEEP_NS;
}

static void on_timer(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    sm_scheduler *s = poll->data;
    uint64_t ticks;
    bool cancelled = read(s->fd, &ticks, sizeof ticks) < 0 && errno == ECANCELED;
    bool moved = look_at_clock(s);
    if (!cancelled && !moved) {
        due(s);
        cancelled = !arm(s);
    }
    if (cancelled || moved || !sane(s))
        sm_scheduler_clock_set(s);
}

static void on_look(uv_timer_t *timer) {
    sm_scheduler *s = timer->data;
    bool moved = look_at_clock(s);
    if (s->updated && (moved || !sane(s)))
        sm_scheduler_clock_set(s);
    if (moved || ++s->looks % LOOKS_PER_ZONE == 0)
        sm_zones_look(s);
}

/* ---- what is loaded ---- */

static sm_plan *plan_get(sm_scheduler *s, const char *id) {
    sm_plan *p = sm_map_get(&s->plans, id);
    if (!p) {
        p = sm_calloc(1, sizeof *p);
        p->id = sm_strdup(id);
        p->scheduler = s;
        p->slot = p->last_slot = p->replay_until = p->open = p->skipped_from = SM_NO_SLOT;
        p->due = (sm_due){.id = p->id, .place = SM_NOT_DUE};
        sm_map_put(&s->plans, id, p);
    }
    return p;
}

static int64_t rule_of(const sm_inspection *i) {
    char *text = sm_json_dump(json_object_get(i->spec, "schedule"), NULL);
    int64_t rule = sm_slots_rule(text ? text : "", sm_json_str(i->spec, "timezone", "UTC"));
    free(text);
    return rule;
}

/* A new list member: its plan, whatever the clock says. */
static void take(sm_plan *p, sm_inspection *i) {
    sm_inspection *old = p->inspection;
    int64_t rule = rule_of(i);
    bool changed = rule != p->rule;
    p->inspection = sm_inspection_ref(i);
    p->rule = rule;
    p->seen = true;
    if (!old) {
        p->fresh = true;
    } else if (changed && !p->fresh && sane(p->scheduler)) {
        int64_t now = wall_s(p->scheduler);
        sm_plan_target(p, now > p->last_slot ? now : p->last_slot);
    } else if (changed) {
        sm_heap_remove(&p->scheduler->heap, &p->due);
        p->fresh = true;
    }
    sm_inspection_unref(old);
}

static void leave(sm_plan *p) {
    sm_turn_drop(p);
    sm_inspection_unref(p->inspection);
    p->inspection = NULL;
    p->fresh = false;
    sm_plan_target(p, 0);
}

void sm_scheduler_update(sm_scheduler *s, sm_inspection *const *list, size_t n) {
    size_t pos = 0;
    if (s->stopped)
        return;
    for (sm_plan *p; (p = sm_map_next(&s->plans, &pos, NULL));)
        p->seen = false;
    for (size_t i = 0; i < n; i++)
        take(plan_get(s, list[i]->id), list[i]);
    pos = 0;
    for (sm_plan *p; (p = sm_map_next(&s->plans, &pos, NULL));) {
        if (p->inspection && !p->seen)
            leave(p);
        else if (!p->inspection && p->open != SM_NO_SLOT)
            sm_ledger_unrule(p); /* removed while no process was there */
        if (!p->inspection)
            p->open = SM_NO_SLOT;
    }
    bool first = !s->updated;
    s->updated = true;
    if (first && sane(s))
        went_back(s);
    if (!sane(s))
        complain(s);
    for (size_t i = 0; i < n && sane(s); i++) {
        sm_plan *p = sm_map_get(&s->plans, list[i]->id);
        if (p->fresh)
            settle(p);
    }
    tell_gaps(s);
    if (!arm(s))
        sm_scheduler_clock_set(s);
}

void sm_scheduler_first(sm_scheduler *s, const char *id) {
    sm_plan *p = sm_map_get(&s->plans, id);
    if (p && p->inspection && !p->running && !s->stopped)
        sm_turn_first(p);
}

bool sm_scheduler_next(const sm_scheduler *s, const char *id, int64_t *slot) {
    const sm_plan *p = sm_map_get(&s->plans, id);
    if (!p || p->slot == SM_NO_SLOT)
        return false;
    *slot = p->slot;
    return true;
}

int64_t sm_scheduler_behind_ns(const sm_scheduler *s) {
    const sm_plan *p = (const sm_plan *)sm_heap_top(&s->heap);
    int64_t behind = p ? wall_ns(s) - p->due.at_ns : 0;
    return behind > 0 ? behind : 0;
}

const char *sm_scheduler_earliest(const sm_scheduler *s, int64_t *slot) {
    const sm_plan *p = (const sm_plan *)sm_heap_top(&s->heap);
    if (p)
        *slot = p->slot;
    return p ? p->id : NULL;
}

/* ---- start and end ---- */

void sm_scheduler_watch(sm_scheduler *s, void (*passed)(void *ctx, const char *outcome, int64_t n),
                        void *ctx) {
    s->passed = passed;
    s->passed_ctx = ctx;
}

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
    json_object_foreach((json_t *)slots, id, row) {
        sm_plan *p = plan_get(s, id);
        p->last_slot = sm_json_int(row, "done", SM_NO_SLOT);
        p->open = sm_json_int(row, "open", SM_NO_SLOT);
        p->open_rule = sm_json_int(row, "rule", SM_NO_SLOT);
        p->open_other = sm_json_int(row, "other", SM_NO_SLOT);
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
    *s = (sm_scheduler){.loop = loop,
                        .store = store,
                        .runner = runner,
                        .clock = clock,
                        .done = done,
                        .ctx = ctx,
                        .fd = fd};
    sm_map_init(&s->plans);
    sm_map_init(&s->zones);
    int64_t boot = clock->boot_ns(clock->ctx);
    s->slept_ns = boot - clock->mono_ns(clock->ctx);
    s->offset_ns = wall_ns(s) - boot;
    uv_poll_init(loop, &s->poll, fd);
    s->poll.data = s;
    uv_poll_start(&s->poll, UV_READABLE, on_timer);
    uv_timer_init(loop, &s->look);
    s->look.data = s;
    uv_timer_start(&s->look, on_look, LOOK_MS, LOOK_MS);
    return s;
}

void sm_scheduler_stop(sm_scheduler *s) {
    if (s->stopped)
        return;
    s->stopped = true;
    uv_poll_stop(&s->poll);
    uv_close((uv_handle_t *)&s->poll, NULL);
    uv_close((uv_handle_t *)&s->look, NULL);
}

void sm_scheduler_free(sm_scheduler *s) {
    if (!s)
        return;
    size_t pos = 0;
    for (sm_plan *p; (p = sm_map_next(&s->plans, &pos, NULL));) {
        sm_inspection_unref(p->inspection);
        free(p->waiting);
        free(p->id);
        free(p);
    }
    sm_map_fini(&s->plans);
    sm_zones_fini(s);
    sm_heap_fini(&s->heap);
    close(s->fd);
    free(s);
}
