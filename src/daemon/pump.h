/* pump: delivers what waits in the outbox: claims in order, sends batches, lets `verdict` decide.
 * Owned by the loop's thread; one batch is under way at a time. It never drops anything. */
#pragma once
#include "daemon/target.h"
#include "platform/verdict.h"
#include "store/store.h"
#include <stdbool.h>
#include <uv.h>

typedef struct sm_pump sm_pump;

sm_pump *sm_pump_new(uv_loop_t *loop, sm_store *store, const sm_target *target);
/* There may be something to deliver. */
void sm_pump_poke(sm_pump *p);
/* Calls idle(ctx) once when nothing is under way and nothing is due (what waits for a later time
 * does not count), or after timeout_ms. */
void sm_pump_drain(sm_pump *p, int timeout_ms, void (*idle)(void *ctx), void *ctx);
/* The drains that wait now also wait for what is to be tried again, but not for what is held. */
void sm_pump_patient(sm_pump *p);
/* Tries at once, whatever the breaker waits for: a key changed, or somebody asked. */
void sm_pump_hurry(sm_pump *p);
/* {state("closed","open","half-open"), since, failures(in a row), next|null(when it is tried),
 * batch(events that may go at once)}; times RFC 3339. New reference. */
json_t *sm_pump_breaker(const sm_pump *p);
/* Why deliveries are held or failing, or NULL. Borrowed. */
const char *sm_pump_trouble(const sm_pump *p);
/* Events by what became of them (an event counts at each attempt), by sm_verdict. */
const uint64_t *sm_pump_verdicts(const sm_pump *p);
/* Another one takes over: what is under way ends, nothing more is claimed. Drains end with it. */
void sm_pump_leave(sm_pump *p);
bool sm_pump_idle(const sm_pump *p); /* nothing is under way */
void sm_pump_close(sm_pump *p);
void sm_pump_free(sm_pump *p); /* once the loop has turned and the store is closed */
