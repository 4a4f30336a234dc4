/* internal: what the parts of the module selfmon.internal share (internal.c, internal_*.c). */
#pragma once
#include "worker/asking.h"
#include "worker/fetch.h"
#include "worker/runclock.h"
#include "worker/script.h"
#include <lua.h>

/* Where the test's functions are in their table. */
enum { SM_FAKE_HTTP = 1, SM_FAKE_ASK };

/* One run inside a test; the memory of a userdata of the outer state, whose address is also the
 * registry key of the fake functions there, {http, ask}. */
typedef struct sm_trial {
    lua_State *outer; /* the test's state */
    sm_run run;
    bool run_made; /* run is initialised */
    sm_run_host host;
    sm_snapshot snap;
    char *text, *file, *display, *id; /* owned */
    sm_text *libs;                    /* names and texts owned */
    size_t n_libs;
    json_t *events;  /* array of events with "id" */
    json_t *machine; /* object of fake readings, or NULL: the real machine */
    struct sm_trial_secret {
        char *name;
        sm_secret *secret;
    } * secrets;
    size_t n_secrets;
    sm_loaded loaded;
    sm_result result;
} sm_trial;

/* internal_policy.c: the function `decide`. */
int sm_internal_decide(lua_State *L);
/* internal_clock.c: the function `clock`; the clock at idx, raises when it is none. */
int sm_internal_clock(lua_State *L);
struct sm_runclock *sm_internal_clock_at(lua_State *L, int idx);

/* For sm_run_host.fetch with the trial as ctx: asks the fake function, redirects included. */
void sm_internal_fetch(void *ctx, sm_run *run, const sm_fetch_req *reqs, sm_fetch_res *res,
                       size_t n);
/* For sm_run_host.ask with the trial as ctx: asks the fake services. */
sm_rc sm_internal_ask(void *ctx, sm_run *run, const char *what, const json_t *args,
                      const void *body, size_t n, sm_answer *out, sm_err *err);
/* Pushes one of the test's functions, or what is in its place: false then. [-0, +1, -] */
bool sm_internal_push_fake(lua_State *L, const sm_trial *t, int which);
