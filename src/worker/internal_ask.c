/* internal_ask: the daemon's services as a Lua function of the test answers them, for a run that
 * `selfmon.internal` executes.
 *
 * PEM files are read as they are. A function that raises makes the script's call raise. Runs on the
 * thread that owns both states, the test's (outer) and the script's.
 */
#include "base/fsx.h"
#include "worker/internal.h"
#include "base/mem.h"
#include "worker/luaval.h"
#include "worker/vm.h"
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

enum { PEM_MAX = 1 << 20 };

/* What one question needs; on the C stack of sm_internal_ask. */
typedef struct question {
    const sm_trial *trial;
    const sm_run *run;
    const char *what;
    const json_t *args;
    const void *body;
    size_t n;
    sm_answer *out;
    sm_err *err;
    bool failed;
} question;

/* [question] -> nothing: calls the function and reads what it answers. */
static int protected_ask(lua_State *L) {
    question *q = lua_touserdata(L, 1);
    char where[320];
    size_t n;
    if (!sm_internal_push_fake(L, q->trial, SM_FAKE_ASK))
        return luaL_error(L, "selfmon.%s in a test has no fake", q->what);
    lua_pushstring(L, q->what);
    sm_luaval_push(L, q->args);
    if (q->body)
        lua_pushlstring(L, q->body, q->n);
    else
        lua_pushnil(L);
    sm_vm_where(atomic_load(&q->run->current), where, sizeof where);
    lua_pushstring(L, where);
    lua_call(L, 4, 3);
    int first = lua_gettop(L) - 2;
    if (lua_isnil(L, first) && lua_type(L, first + 1) == LUA_TSTRING) {
        q->failed = true;
        sm_err_set(q->err, SM_DENIED, "%s", lua_tostring(L, first + 1));
        snprintf(q->out->code, sizeof q->out->code, "%s", luaL_optstring(L, first + 2, "failed"));
        return 0;
    }
    if (!lua_isnil(L, first) && sm_luaval_to_json(L, first, &q->out->value, q->err) != SM_OK)
        return luaL_error(L, "fake answer of selfmon.%s: %s", q->what, q->err->msg);
    if (lua_type(L, first + 1) == LUA_TSTRING) {
        const char *p = lua_tolstring(L, first + 1, &n);
        q->out->body = sm_memdup(p, n);
        q->out->body_n = n;
    }
    return 0;
}

sm_rc sm_internal_ask(void *ctx, sm_run *run, const char *what, const json_t *args,
                      const void *body, size_t n, sm_answer *out, sm_err *err) {
    const sm_trial *t = ctx;
    lua_State *L = t->outer;
    if (strcmp(what, "pem") == 0)
        return sm_fsx_read(sm_json_str(args, "path", ""), PEM_MAX, &out->body, &out->body_n, err);
    if (atomic_load(&run->stop) != SM_STOP_NONE)
        return sm_err_set(err, SM_CLOSED, "the run was stopped");
    if (!lua_checkstack(L, 8))
        return sm_err_set(err, SM_LIMIT, "too many calls inside each other");
    question q = {t, run, what, args, body, n, out, err, false};
    int top = lua_gettop(L);
    lua_pushcfunction(L, protected_ask);
    lua_pushlightuserdata(L, &q);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        const char *msg = lua_tostring(L, -1);
        sm_err_set(err, SM_INVALID, "%s", msg ? msg : "the fake raised");
        out->raise = q.failed = true;
    }
    lua_settop(L, top);
    sm_runclock_judge(run); /* the fake may have moved it */
    return q.failed ? err->code : SM_OK;
}
