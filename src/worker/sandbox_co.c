/* sandbox_co: coroutine.create, wrap, resume, close and xpcall as scripts see them.
 *
 * They keep run->current true, so that the signal handler arms the hook on the coroutine that runs,
 * and they look at the stop flag on the way in and out: a new coroutine starts its instruction
 * count anew, and resume would turn the stop into `false`. A coroutine that ended by the stop is
 * never closed: its hooks are off for good, and a __close handler in it could not be stopped.
 * xpcall calls its handler after unwinding, outside the hook.
 */
#include "worker/sandbox.h"
#include "worker/vm.h"
#include "base/str.h"
#include <lauxlib.h>

static lua_State *check_thread(lua_State *L) {
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co, 1, "coroutine");
    return co;
}

static int co_create(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    sm_run_check(L);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

/* Resumes co with the narg values at the top of L. Number of results on L, or -1 and the error
 * object on L; *status is lua_resume's. */
static int resume(lua_State *L, lua_State *co, int narg, int *status) {
    sm_run *run = sm_run_of(L);
    int n = 0;
    *status = LUA_ERRRUN;
    if (!lua_checkstack(co, narg)) {
        lua_pushliteral(L, "too many arguments to resume");
        return -1;
    }
    lua_xmove(L, co, narg);
    atomic_store(&run->current, co);
    if (atomic_load(&run->stop) == SM_STOP_NONE)
        *status = lua_resume(co, L, narg, &n);
    atomic_store(&run->current, L);
    sm_run_check(L);
    if (*status != LUA_OK && *status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return -1;
    }
    if (!lua_checkstack(L, n + 1)) {
        lua_pop(co, n);
        lua_pushliteral(L, "too many results to resume");
        return -1;
    }
    lua_xmove(co, L, n);
    return n;
}

static int co_resume(lua_State *L) {
    int status;
    lua_State *co = check_thread(L);
    int n = resume(L, co, lua_gettop(L) - 1, &status);
    lua_pushboolean(L, n >= 0);
    lua_insert(L, n >= 0 ? -(n + 1) : -2);
    return n >= 0 ? n + 1 : 2;
}

/* Closes co's pending variables. True when there was no error; else the error object is on co. */
static bool close_thread(lua_State *L, lua_State *co) {
    sm_run *run = sm_run_of(L);
    atomic_store(&run->current, co);
    int status = atomic_load(&run->stop) == SM_STOP_NONE ? lua_resetthread(co) : LUA_OK;
    atomic_store(&run->current, L);
    sm_run_check(L);
    return status == LUA_OK;
}

static int wrapped(lua_State *L) {
    int status;
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int n = resume(L, co, lua_gettop(L), &status);
    if (n >= 0)
        return n;
    if (lua_status(co) != LUA_OK && lua_status(co) != LUA_YIELD && !close_thread(L, co)) {
        lua_pop(L, 1);
        lua_xmove(co, L, 1); /* the error as the close left it */
    }
    if (lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int co_wrap(lua_State *L) {
    co_create(L);
    lua_pushcclosure(L, wrapped, 1);
    return 1;
}

static int co_close(lua_State *L) {
    lua_State *co = check_thread(L);
    lua_Debug ar;
    int status = lua_status(co);
    bool started = lua_getstack(co, 0, &ar) != 0;
    if (co == L || (status == LUA_OK && started))
        return luaL_error(L, "cannot close a %s coroutine", co == L ? "running" : "normal");
    if (close_thread(L, co)) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    lua_xmove(co, L, 1);
    return 2;
}

/* After f: [f, handler, true, results...] or [f, handler, true, error]. */
static int xpcall_done(lua_State *L, int status, lua_KContext extra) {
    (void)extra;
    if (status == LUA_OK || status == LUA_YIELD)
        return lua_gettop(L) - 2;
    sm_run_check(L);
    lua_pushboolean(L, 0);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -3);
    /* A handler that fails gives its own error, as Lua's would in the end. */
    if (lua_pcall(L, 1, 1, 0) != LUA_OK)
        sm_run_check(L);
    return 2;
}

static int basic_xpcall(lua_State *L) {
    int n = lua_gettop(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushboolean(L, 1);
    lua_pushvalue(L, 1);
    lua_rotate(L, 3, 2);
    return xpcall_done(L, lua_pcallk(L, n - 2, LUA_MULTRET, 0, 0, xpcall_done), 0);
}

void sm_sandbox_open_coroutine(lua_State *L) {
    static const luaL_Reg own[] = {
        {"create", co_create}, {"resume", co_resume}, {"wrap", co_wrap}, {"close", co_close}};
    lua_pushcfunction(L, basic_xpcall);
    lua_setfield(L, -2, "xpcall");
    lua_getfield(L, -1, "coroutine");
    for (size_t i = 0; i < SM_ARRAY_LEN(own); i++) {
        lua_pushcfunction(L, own[i].func);
        lua_setfield(L, -2, own[i].name);
    }
    lua_pop(L, 1);
}
