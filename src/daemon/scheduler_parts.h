/* scheduler_parts: what the rooms of the scheduler share. Only scheduler.c and scheduler_*.c
 * include it. Owned by the loop's thread. */
#pragma once
#include "base/map.h"
#include "daemon/heap.h"
#include "daemon/scheduler.h"
#include "schedule/slot.h"

enum {
    SM_BACKLOG = 100,      /* slots that missed = "all" runs one after the other */
    SM_CATCH_UP_S = 3600,  /* a missed slot younger than this, or than its period, is caught up */
    SM_GAP_S = 180,        /* further behind, slots were missed rather than late */
    SM_AHEAD_S = 26 * 3600 /* slots further ahead were given by a clock that was wrong */
};
#define SM_LATE_NS SM_NS_PER_S

typedef struct sm_plan { /* one inspection */
    sm_due due;          /* first: the heap's item; at_ns = slot plus spread */
    char *id;
    sm_inspection *inspection; /* NULL once removed */
    sm_scheduler *scheduler;
    int64_t rule;                  /* of its schedule (sm_slots_rule) */
    int64_t slot;                  /* next nominal slot; SM_NO_SLOT: none */
    int64_t last_slot;             /* newest slot that was answered for; SM_NO_SLOT: none */
    int64_t replay_until;          /* the clock went back: a slot up to here may have been run */
    int64_t open;                  /* at start: the oldest slot that the store has no answer for */
    int64_t open_rule, open_other; /* the largest and smallest rule among those */
    bool fresh;                    /* it has not been given its first slot yet */
    bool ever_run;                 /* the store knows a run of it */
    bool running;                  /* or asking the store whether it may */
    bool catching_up; /* `waiting` holds missed slots; what becomes due queues behind them */
    bool seen;        /* mark of update */
    int64_t *waiting; /* slots that run one after the other, when this run has ended */
    size_t n_waiting;
    int64_t skipped_from; /* first slot that passed during this run; SM_NO_SLOT: none */
    int64_t skipped;      /* how many */
    int64_t asked;        /* slot that the store is asked about */
} sm_plan;

struct sm_scheduler {
    uv_loop_t *loop;
    sm_store *store;
    sm_runner *runner;
    const sm_clock *clock;
    sm_runner_done done;
    void *ctx;
    sm_map plans;
    sm_heap heap;
    int fd;
    uv_poll_t poll;
    uv_timer_t look;
    int looks;         /* how often it has looked */
    int64_t slept_ns;  /* CLOCK_BOOTTIME - CLOCK_MONOTONIC at the last look */
    int64_t offset_ns; /* wall - CLOCK_BOOTTIME at the last look */
    int64_t insane_ns; /* when it was last said that the clock is wrong; 0: it is not */
    bool settled;      /* the first list was taken over with a clock that is right */
    bool updated;      /* there was a first list */
    bool stopped;
    bool no_first; /* what has run is not known: nothing runs as if for the first time */
    size_t gaps;   /* inspections with missed slots in this pass */
    void (*passed)(void *ctx, const char *outcome, int64_t n);
    void *passed_ctx;
    sm_map zones; /* zone -> what was told of its file */
    void (*ready)(void *ctx);
    void *ready_ctx;
    int loading;
};

/* scheduler.c */
int64_t sm_plan_wall_ns(const sm_plan *p);
sm_slots sm_plan_slots(const sm_plan *p);
/* Puts p at its next slot after `after`, commits that slot's row ahead, and takes back the row of
 * the slot that it was to have instead. */
void sm_plan_target(sm_plan *p, int64_t after);

/* scheduler_turn.c: what becomes of a slot. */
/* A slot is due: starts it, lets it wait, or counts it as skipped. */
void sm_turn_fire(sm_plan *p, int64_t slot, bool late);
void sm_turn_first(sm_plan *p);
typedef enum sm_missed {
    SM_MISSED_HERE, /* the process was there, but stood still, or the clock jumped */
    SM_MISSED_DOWN, /* no process was there */
    SM_MISSED_NONE  /* run none of them: the first run serves */
} sm_missed;
/* Slots from `from` on have passed: one gap row for those that do not run, and the runs that
 * `missed` allows. Returns the newest of them, SM_NO_SLOT when none has passed after all. */
int64_t sm_turn_catch_up(sm_plan *p, int64_t from, sm_missed how);
/* The inspection goes: what waited is skipped. */
void sm_turn_drop(sm_plan *p);

/* scheduler_ledger.c: rows of the store. */
void sm_ledger_plan(const sm_plan *p, int64_t slot);
void sm_ledger_gap(const sm_plan *p, int64_t from, int64_t to, int64_t count, bool about,
                   const char *outcome, const char *reason, bool grows);
/* Open rows from `from` on go, except `keep` (SM_NO_SLOT: none is kept). */
void sm_ledger_unplan(const sm_plan *p, int64_t from, int64_t keep);
/* Open rows that another schedule planned go; with no inspection all of them. */
void sm_ledger_unrule(const sm_plan *p);
void sm_ledger_reopen(sm_scheduler *s, int64_t now);
/* Asks whether a slot may run: its row is planned, and has no answer yet. */
void sm_ledger_ask(sm_plan *p, int64_t slot, sm_store_done done);

/* scheduler_zones.c: whether zone files changed; recomputes what depends on them. */
void sm_zones_look(sm_scheduler *s);
void sm_zones_fini(sm_scheduler *s);
