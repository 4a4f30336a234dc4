/* conduct: what is remembered of how each inspection behaves, and what follows from it.
 *
 * Quarantine: an inspection that crashed a worker it had for itself, or did not come back from a
 * call, runs in a worker of its own. Penalty lane: one that ran into a limit three times in a row
 * runs there, backing off to hourly. Both hold until its text, a module of lib/ or its limits
 * change; three good runs in a row also lead out of the lane. What is decided survives a restart
 * (the store's kv, one key per inspection). Owned by the loop's thread.
 */
#pragma once
#include "daemon/catalog.h"
#include "store/store.h"

typedef struct sm_conduct sm_conduct;

#define SM_CONDUCT_PREFIX "conduct:"

enum {
    SM_CONDUCT_HITS = 3,    /* in a row lead into the lane */
    SM_CONDUCT_GOOD = 3,    /* in a row lead out of it */
    SM_CONDUCT_WAIT_S = 60, /* the shortest time between two runs of one there */
    SM_CONDUCT_WAIT_MAX_S = 3600
};

typedef struct sm_conduct_end {  /* of one attempt */
    const char *outcome, *error; /* as recorded; error may be NULL */
    double seconds, cpu;
    bool alone;   /* it had its worker for itself */
    bool stuck;   /* its worker did not end it */
    bool foreign; /* its worker was killed from outside: that says nothing about it */
    bool due;     /* its schedule started it, not a person */
} sm_conduct_end;

typedef struct sm_conduct_counts {
    int quarantined, penalised;
    int64_t held;     /* due runs that did not start because of the lane, since the start */
    int64_t repeated; /* runs repeated alone, since the start */
} sm_conduct_counts;

/* store NULL: nothing is kept. */
sm_conduct *sm_conduct_new(sm_store *store);
/* Reads what earlier processes decided, then ready(ctx). */
void sm_conduct_load(sm_conduct *c, void (*ready)(void *ctx), void *ctx);
/* What is loaded now: forgets what is gone or has changed. complete: nothing failed to load. */
void sm_conduct_update(sm_conduct *c, sm_inspection *const *list, size_t n, bool complete);
/* Whether p gets a worker of its own; whether it goes to the lane. */
bool sm_conduct_alone(sm_conduct *c, const sm_inspection *p);
bool sm_conduct_penalised(sm_conduct *c, const sm_inspection *p);
/* Whether a due run of p may start; if not, the sentence says why and until when. */
bool sm_conduct_may_start(sm_conduct *c, const sm_inspection *p, int64_t now_ns, char *sentence,
                          size_t cap);
/* Takes note of an end (wall time). */
void sm_conduct_ended(sm_conduct *c, const sm_inspection *p, const sm_conduct_end *end,
                      int64_t now_ns);
/* Its worker was well and had to be killed because of it. */
void sm_conduct_stuck(sm_conduct *c, const sm_inspection *p, int64_t now_ns);
void sm_conduct_repeated(sm_conduct *c);
void sm_conduct_count(const sm_conduct *c, sm_conduct_counts *out);
void sm_conduct_free(sm_conduct *c);

/* Object id -> {condition: "quarantined"|"penalised", condition_since, condition_why,
 * condition_until|null}. One that is both is "penalised", and its condition_why says both. New
 * reference. */
json_t *sm_conduct_conditions(const sm_conduct *c);
/* The same from the store's rows (KV_LIST), for a reader without a daemon: of what is in the list
 * and has not changed since. list NULL: what is loaded is not known, all of them. */
json_t *sm_conduct_conditions_of(const json_t *rows, sm_inspection *const *list, size_t n);
/* Sets these four members in every object of a list that has an id; null where nothing is wrong. */
void sm_conduct_mark(json_t *list, const json_t *conditions);
