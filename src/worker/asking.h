/* asking: what a run asks of the daemon's services (file, exec, store, dql, pem), for the bindings
 * of modules whose work a confined worker cannot do itself. On the run's thread. */
#pragma once
#include "base/json.h"
#include "worker/run.h"

/* Released by sm_answer_fini; all zero is an empty one. */
typedef struct sm_answer {
    json_t *value; /* owned, or NULL */
    char *body;    /* malloc'd with a NUL, or NULL */
    size_t body_n;
    char code[32]; /* of a failure: the word that follows `nil, message` */
    bool raise;    /* of a failure: the script's call raises the sentence (a test's fake did) */
} sm_answer;

void sm_answer_fini(sm_answer *a);
/* An empty answer in a userdata that releases it, for the caller to keep on the stack while it
 * makes Lua values of it. [-0, +1, m] */
sm_answer *sm_answer_push(lua_State *L);
/* Asks the service `what` and waits. `args` (object) is taken over; the body may be NULL. True: the
 * answer is in *out. False: `nil, message, code` were pushed and *out is empty. Raises only when
 * the run was stopped, or a test's fake raised; *out is empty then. [-0, +(0|3), e] */
bool sm_asking(lua_State *L, const char *what, json_t *args, const void *body, size_t n,
               sm_answer *out);
/* The same for answers that are a value only: pushes it (true when there is none), or nil, message,
 * code; returns how many. [-0, +(1|3), e] */
int sm_asking_value(lua_State *L, const char *what, json_t *args, const void *body, size_t n);
