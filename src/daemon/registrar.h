/* registrar: keeps the platform's view of each inspection: registered there, enabled, with which
 * parameters (platform.md, "Registration"). Owned by the loop's thread.
 *
 * Asking is coalesced: what is wanted within one turn of the loop goes in one `list` of at most 100
 * keys. Missing there: created, and listed again for its UUID. Different: modified.
 */
#pragma once
#include "daemon/catalog.h"
#include "daemon/target.h"
#include "store/store.h"
#include <uv.h>

typedef struct sm_registrar sm_registrar;

typedef struct sm_view {  /* what a platform last said of an inspection */
    bool known;           /* false: never registered; nothing may run */
    int status;           /* 0 = enabled */
    const char *uuid;     /* borrowed */
    const json_t *params; /* object: parameters set there; borrowed */
    double age_s;         /* how old it is */
    const char *error;    /* why it is not fresh, or NULL */
} sm_view;
typedef void (*sm_registrar_done)(void *ctx, const sm_view *view);

sm_registrar *sm_registrar_new(uv_loop_t *loop, sm_store *store, const sm_target *target,
                               double max_age_s);
void sm_registrar_set_max_age(sm_registrar *r, double max_age_s);
/* Before the first creation, looks whether the platform holds inspections with our funcIds under
 * other keys (another secret); then creates none of them and says so (script-api 1.2). */
void sm_registrar_guard(sm_registrar *r);
/* Loads last known views from the store; ready(ctx) once. */
void sm_registrar_load(sm_registrar *r, void (*ready)(void *ctx), void *ctx);
/* Answers (later, once) with a view no older than the maximum age, or the last known one with
 * `error`. ask: never from memory, nor from a list that was sent before. The inspection is
 * referenced meanwhile. */
void sm_registrar_ensure(sm_registrar *r, sm_inspection *inspection, bool ask,
                         sm_registrar_done done, void *ctx);
/* Last known view without asking; known=false when there is none. */
void sm_registrar_peek(const sm_registrar *r, const char *id, sm_view *out);
/* Unanswered questions. */
size_t sm_registrar_waiting(const sm_registrar *r);
/* Answers every open question now, with the last known view, and every later one at once: what
 * waits for the platform must not hold up the end. */
void sm_registrar_stop(sm_registrar *r, const char *why /* static */);
/* Another one takes over: it gets every open question, later ones go there. `why` as for stop. */
void sm_registrar_leave(sm_registrar *r, sm_registrar *to, const char *why /* static */);
/* Nobody owes it an answer. */
bool sm_registrar_idle(const sm_registrar *r);
/* Closes its handles; then free is allowed once the loop has turned. */
void sm_registrar_close(sm_registrar *r);
void sm_registrar_free(sm_registrar *r);
