/* scheduler_turn: what becomes of a slot: it runs, waits for its turn, is skipped, or was missed.
 *
 * An inspection never runs beside itself. Skipped slots of one long run, and missed ones of one
 * standstill, are one row of the ledger and one line of the log. A slot is identified by its
 * nominal time; after the clock went back the ledger is asked before one runs. Owned by the loop's
 * thread.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/scheduler_parts.h"
#include <stdlib.h>
#include <string.h>

static const char *spec(const sm_plan *p, const char *key, const char *def) {
    return sm_json_str(p->inspection->spec, key, def);
}

/* ---- runs ---- */

static void turn(sm_plan *p, int64_t slot, const char *trigger, bool late);

/* The next slot that waits, or rest. */
static void next_waiting(sm_plan *p) {
    if (p->n_waiting == 0 || p->scheduler->stopped || !p->inspection)
        return;
    int64_t slot = p->waiting[0];
    memmove(p->waiting, p->waiting + 1, --p->n_waiting * sizeof *p->waiting);
    p->catching_up = p->catching_up && p->n_waiting > 0;
    turn(p, slot, "schedule", true);
}

static void finished(void *ctx, const json_t *report) {
    sm_plan *p = ctx;
    p->running = false;
    p->skipped_from = SM_NO_SLOT;
    p->scheduler->done(p->scheduler->ctx, report);
    if (!p->running)
        next_waiting(p);
}

static void start(sm_plan *p, int64_t slot, const char *trigger, bool late) {
    sm_slots view = sm_plan_slots(p);
    p->running = true;
    p->ever_run = true;
    p->skipped_from = SM_NO_SLOT;
    sm_run_want want = {.inspection = p->inspection,
                        .slot = slot,
                        .due_ns = slot == SM_NO_SLOT ? 0 : sm_slots_due_ns(&view, slot),
                        .trigger = trigger,
                        .ask = strcmp(trigger, "first") == 0,
                        .late = late,
                        .done = finished,
                        .ctx = p};
    sm_runner_start(p->scheduler->runner, &want);
}

/* The store said what it knows of a slot that the clock shows again. */
static void asked(void *ctx, sm_rc rc, const sm_err *err, const json_t *row) {
    (void)err;
    sm_plan *p = ctx;
    p->running = false;
    bool taken = rc == SM_OK && strcmp(sm_json_str(row, "outcome", "planned"), "planned") != 0;
    if (!taken && p->inspection && !p->scheduler->stopped)
        start(p, p->asked, "schedule", true);
    else
        next_waiting(p);
}

static void turn(sm_plan *p, int64_t slot, const char *trigger, bool late) {
    if (slot == SM_NO_SLOT || p->replay_until == SM_NO_SLOT || slot > p->replay_until) {
        start(p, slot, trigger, late);
        return;
    }
    p->running = true;
    p->asked = slot;
    sm_ledger_ask(p, slot, asked);
}

void sm_turn_first(sm_plan *p) {
    turn(p, SM_NO_SLOT, "first", false);
}

static void skip(sm_plan *p, int64_t slot) {
    bool told = p->skipped_from != SM_NO_SLOT;
    /* A slot that the clock shows again may have a row already: it stands alone. */
    bool grows = told && (p->replay_until == SM_NO_SLOT || p->skipped_from > p->replay_until);
    if (!told)
        sm_log(SM_LOG_WARN, "%s: its last run has not ended yet; slots are skipped until it has",
               p->id);
    if (!grows) {
        p->skipped_from = slot;
        p->skipped = 0;
    }
    p->skipped++;
    sm_ledger_gap(p, p->skipped_from, slot, p->skipped, false, "skipped",
                  "its last run had not ended yet (overlap)", grows);
}

static size_t room_to_wait(const sm_plan *p) {
    if (p->catching_up)
        return SM_BACKLOG;
    return strcmp(spec(p, "overlap", "skip"), "queue") == 0 ? 1 : 0;
}

void sm_turn_fire(sm_plan *p, int64_t slot, bool late) {
    if (p->last_slot == SM_NO_SLOT || slot > p->last_slot)
        p->last_slot = slot;
    if (!p->running) {
        turn(p, slot, "schedule", late);
    } else if (p->n_waiting < room_to_wait(p)) {
        p->waiting = sm_realloc(p->waiting, (p->n_waiting + 1) * sizeof *p->waiting);
        p->waiting[p->n_waiting++] = slot;
        p->skipped_from = SM_NO_SLOT;
    } else {
        skip(p, slot);
    }
}

void sm_turn_drop(sm_plan *p) {
    if (p->n_waiting > 0)
        sm_ledger_gap(p, p->waiting[0], p->waiting[p->n_waiting - 1], (int64_t)p->n_waiting, false,
                      "skipped", "the inspection was removed before its turn came", false);
    p->n_waiting = 0;
    p->catching_up = false;
}

/* ---- what was missed ---- */

/* Which of the slots from..newest run after all: into runs (room for SM_BACKLOG), oldest first. */
static size_t choose(const sm_plan *p, const sm_slots *view, int64_t from, int64_t newest,
                     sm_missed how, int64_t *runs) {
    const char *missed = spec(p, "missed", "last");
    int64_t now_ns = sm_plan_wall_ns(p), now = now_ns / SM_NS_PER_S;
    if (how == SM_MISSED_NONE)
        return 0;
    if (strcmp(missed, "all") == 0)
        return sm_slots_tail(view, from - 1, newest, runs, SM_BACKLOG);
    int64_t period = sm_slots_period(view, now);
    if (period < SM_CATCH_UP_S)
        period = SM_CATCH_UP_S;
    bool young = strcmp(missed, "last") == 0 && now - newest < period;
    bool hardly =
        how == SM_MISSED_HERE && now_ns - sm_slots_due_ns(view, from) <= SM_GAP_S * SM_NS_PER_S;
    runs[0] = newest;
    return young || hardly;
}

int64_t sm_turn_catch_up(sm_plan *p, int64_t from, sm_missed how) {
    static const char *const reasons[] = {
        "the process or the machine stood still, or the clock jumped",
        "no process was there",
        "no process was there",
    };
    sm_slots view = sm_plan_slots(p);
    int64_t runs[SM_BACKLOG];
    int64_t newest = sm_slots_newest(&view, sm_plan_wall_ns(p));
    if (newest == SM_NO_SLOT || newest < from)
        return SM_NO_SLOT;
    size_t n = choose(p, &view, from, newest, how, runs);
    /* Planned before the gap is written: killed in between, the next start looks again. */
    for (size_t i = 0; i < n; i++)
        sm_ledger_plan(p, runs[i]);
    int64_t to = n > 0 ? sm_slots_prev(&view, runs[0] - 1) : newest;
    if (to != SM_NO_SLOT && to >= from) {
        bool about;
        int64_t count = sm_slots_count(&view, from - 1, to, &about);
        sm_ledger_gap(p, from, to, count > 0 ? count : 1, about, "missed", reasons[how], false);
        p->scheduler->gaps++;
    }
    p->catching_up = n > 1 || (p->catching_up && p->n_waiting > 0);
    for (size_t i = 0; i < n; i++)
        sm_turn_fire(p, runs[i], true);
    if (p->last_slot == SM_NO_SLOT || newest > p->last_slot)
        p->last_slot = newest;
    return newest;
}
