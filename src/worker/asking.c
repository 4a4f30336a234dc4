/* asking: one question of a run to a service of the daemon, from a binding's point of view.
 *
 * The road itself is the host's (worker_job: a frame; internal_fake: a function of the test). Here
 * its errors become what scripts see. Called by bindings on the run's thread.
 */
#include "worker/asking.h"
#include "worker/luaval.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sm_answer_fini(sm_answer *a) {
    json_decref(a->value);
    free(a->body);
    memset(a, 0, sizeof *a);
}

static int answer_gc(lua_State *L) {
    sm_answer_fini(lua_touserdata(L, 1));
    return 0;
}

sm_answer *sm_answer_push(lua_State *L) {
    sm_answer *a = lua_newuserdatauv(L, sizeof *a, 0);
    memset(a, 0, sizeof *a);
    if (luaL_newmetatable(L, "selfmon.answer")) {
        lua_pushcfunction(L, answer_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return a;
}

bool sm_asking(lua_State *L, const char *what, json_t *args, const void *body, size_t n,
               sm_answer *out) {
    sm_run *run = sm_run_of(L);
    sm_err err = SM_ERR_INIT;
    sm_rc rc;
    memset(out, 0, sizeof *out);
    if (run->host && run->host->ask) {
        rc = run->host->ask(run->host->ctx, run, what, args, body, n, out, &err);
    } else {
        snprintf(out->code, sizeof out->code, "unavailable");
        rc = sm_err_set(&err, SM_NOT_FOUND,
                        "selfmon.%s works in the run of an inspection only: there is no daemon to "
                        "ask here",
                        what);
    }
    json_decref(args);
    if (rc == SM_OK)
        return true;
    char code[sizeof out->code];
    bool raise = out->raise;
    snprintf(code, sizeof code, "%s", out->code[0] ? out->code : "failed");
    sm_answer_fini(out);
    sm_run_check(L);
    if (raise)
        luaL_error(L, "%s", err.msg);
    luaL_pushfail(L);
    lua_pushstring(L, err.msg);
    lua_pushstring(L, code);
    return false;
}

int sm_asking_value(lua_State *L, const char *what, json_t *args, const void *body, size_t n) {
    sm_answer *a = sm_answer_push(L);
    if (!sm_asking(L, what, args, body, n, a))
        return 3;
    if (a->value)
        sm_luaval_push(L, a->value);
    else
        lua_pushboolean(L, 1);
    return 1;
}
