/* desks: one registrar and one pump for each account, and what is asked of all of them together.
 * Owned by the loop's thread. */
#pragma once
#include "daemon/accounts.h"
#include "daemon/pump.h"
#include "daemon/registrar.h"

typedef struct sm_desks sm_desks;

/* max_age_s: of a remote platform's view; the embedded one is always asked. accounts is borrowed.
 */
sm_desks *sm_desks_new(uv_loop_t *loop, sm_store *store, sm_accounts *accounts, double max_age_s);
/* After sm_accounts_configure: closes the desks of accounts that are gone, once nothing of theirs
 * is under way, and opens those that are missing. */
void sm_desks_configure(sm_desks *d, double max_age_s);
/* Opens desks for accounts that were added since; loads their last known views. */
void sm_desks_extend(sm_desks *d);
/* ready(ctx) once, when every registrar that exists now has its last known views. */
void sm_desks_load(sm_desks *d, void (*ready)(void *ctx), void *ctx);
/* The registrar of an account; for an unknown name one that registers nothing and says so. For
 * sm_runner_options. */
sm_registrar *sm_desks_registrar(void *desks, const char *account);
/* Name of the node an account talks to. For sm_runner_options. */
const char *sm_desks_node(void *desks, const char *account);
void sm_desks_poke(sm_desks *d);
/* Tries an account's deliveries (NULL: everybody's) at once, whatever their breaker waits for. */
void sm_desks_hurry(sm_desks *d, const char *account);
/* Adds `breaker` (sm_pump_breaker) to the objects of sm_accounts_status. */
void sm_desks_breakers(const sm_desks *d, json_t *accounts);
/* done(ctx) once, when every pump has nothing due, or after timeout_ms. */
/* patient: waits for what is to be tried again as well. */
void sm_desks_drain(sm_desks *d, int timeout_ms, bool patient, void (*done)(void *ctx), void *ctx);
/* What holds deliveries up: array of sentences, new reference. */
json_t *sm_desks_troubles(const sm_desks *d);
/* Events by what became of them since the start: object of sm_verdict_name. New reference. */
json_t *sm_desks_verdicts(const sm_desks *d);
/* Is any account a remote platform? */
bool sm_desks_remote(const sm_desks *d);
/* Before its first creation each remote registrar looks for objects of another secret. */
void sm_desks_guard(sm_desks *d);
/* Answers every open question of the registrars now (registrar.h); why: for people. */
void sm_desks_stop(sm_desks *d, const char *why);
void sm_desks_close(sm_desks *d);
void sm_desks_free(sm_desks *d); /* once the loop has turned and the store is closed */
