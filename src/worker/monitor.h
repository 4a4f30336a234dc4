/* monitor: what `monitor` of one main chunk registers: the part without Lua (monitor_check.c,
 * monitor_policy.c) and the state that worker/script shares with bind_monitor.
 *
 * A sm_monitor belongs to the thread that loads the script; worker/script keeps it on its stack for
 * as long as the Lua state lives. Nothing it owns is lost when the script raises.
 */
#pragma once
#include "platform/event.h"
#include "worker/attribute.h"
#include <lua.h>

enum {
    SM_MONITOR_MAX = 1000,  /* inspections in one file */
    SM_MONITOR_NAME = 64,   /* bytes of a function name, with NUL */
    SM_MONITOR_LIST = 100,  /* texts in tags, permissions, schedule, was */
    SM_MONITOR_TEXT = 1024, /* bytes of a text other than title and doc */
    SM_MONITOR_TIMEOUT_MAX = 3600
};

typedef struct sm_monitor_fn {
    char name[SM_MONITOR_NAME];
    int line;
    bool by_name; /* statement form: the global of that name, once the chunk ran */
} sm_monitor_fn;

typedef struct sm_monitor {
    const char *chunk; /* chunk name of the script with its "@"; borrowed */
    const char *want;  /* in a run: the function to find; NULL while the catalogue loads */
    sm_follow *follows;
    bool *used; /* follows that a call has claimed */
    size_t n_follows;
    sm_monitor_fn *fns; /* registered so far; owned */
    json_t *specs;      /* array, one spec for each of fns; owned */
    size_t n_fns;
} sm_monitor;

/* Takes over follows (malloc'd, may be NULL). chunk and want are borrowed. */
void sm_monitor_init(sm_monitor *m, const char *chunk, const char *want, sm_follow *follows,
                     size_t n_follows);
void sm_monitor_fini(sm_monitor *m);

/* bind_monitor.c. Makes m the state that the global `monitor` of L works on. [-0, +0, m] */
void sm_monitor_bind(lua_State *L, sm_monitor *m);
/* After the chunk ran, at load: raises unless each registered name is a global function. */
void sm_monitor_finish(lua_State *L, const sm_monitor *m);
/* After the chunk ran, in a run: pushes the wanted function, or raises. [-0, +1, e] */
void sm_monitor_push(lua_State *L, const sm_monitor *m);

/* Registers one call's table: checks it, names it, keeps its spec. follow may be NULL (none is
 * known). SM_INVALID: a sentence that begins with "monitor: ". Pure. */
sm_rc sm_monitor_add(sm_monitor *m, const sm_val *table, const sm_follow *follow, int line,
                     sm_err *err);
/* Checks the table of one `monitor` and gives the spec of docs/internals/frames.md without `fn` and
 * `line`, defaults filled in; `name` and `run` are checked for their types only. */
sm_rc sm_monitor_check(const sm_val *table, json_t **spec, sm_err *err);
/* The raw member `key`, NULL when absent. Borrowed. */
const sm_val *sm_monitor_field(const sm_val *table, const char *key);

/* Helpers shared by the checkers; `path` is what a sentence calls the value. */
sm_rc sm_monitor_known(const sm_val *table, const char *path, const char *const *names, size_t n,
                       sm_err *err);
sm_rc sm_monitor_expected(const sm_val *v, const char *path, const char *what, sm_err *err);
/* Seconds from a number or a duration text, lo..hi; `what` names them for the sentence. */
sm_rc sm_monitor_seconds(const sm_val *v, const char *path, double lo, double hi, const char *what,
                         double *out, sm_err *err);
/* monitor_policy.c: `limits` with bytes and seconds as numbers, `events` as declared. */
sm_rc sm_monitor_limits(const sm_val *v, json_t **out, sm_err *err);
sm_rc sm_monitor_events(const sm_val *v, json_t **out, sm_err *err);
