/* luacmd: `selfmon-lua lua`: the plain interpreter, with io, os, debug and package as Lua has them
 * and the modules of scripts in package.preload. Busted runs in it.
 *
 * There is no sandbox, no limit and no run here: modules that touch the world are free to. The
 * HTTP engine is started by the first request. One thread; ends with the exit code of lua.c.
 */
#include "worker/luacmd.h"
#include "base/embedded.h"
#include "worker/asking.h"
#include "worker/entry.h"
#include "worker/fetch.h"
#include "worker/modules.h"
#include <lauxlib.h>
#include <limits.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char program[] = "selfmon-lua";

static void host_fetch(void *ctx, sm_run *run, const sm_fetch_req *reqs, sm_fetch_res *res,
                       size_t n) {
    sm_luahost *h = ctx;
    sm_err err = SM_ERR_INIT;
    bool refused = h->offline && run == &h->run;
    if (refused)
        sm_err_set(
            &err, SM_DENIED,
            "specs reach no network: fake the request with t.http, or record it with t.record");
    else if (!h->fetch)
        h->fetch = sm_fetch_start(&err);
    if (h->fetch && !refused) {
        sm_fetch_perform(h->fetch, run, reqs, res, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        sm_fetch_res_fail(&res[i], refused ? "denied" : "connect", "%s", err.msg);
}

static sm_rc refuse(void *ctx, sm_run *run, const char *what, const json_t *args, const void *body,
                    size_t n, sm_answer *out, sm_err *err) {
    bool net = strcmp(what, "net") == 0;
    (void)ctx;
    (void)run;
    (void)args;
    (void)body;
    (void)n;
    snprintf(out->code, sizeof out->code, net ? "denied" : "unavailable");
    if (net)
        return sm_err_set(err, SM_DENIED, "specs reach no network: fake it with t.net");
    return sm_err_set(err, SM_NOT_FOUND, "selfmon.%s works in the run of an inspection only", what);
}

void sm_luahost_offline(sm_luahost *h) {
    h->offline = true;
    h->host.ask = refuse;
    h->host.net_asked = true;
}

/* package.preload's loader: the module is named by its argument. */
static int preload(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    if (!sm_modules_push(L, name, true))
        return luaL_error(L, "module \"%s\" is not there", name);
    return 1;
}

/* Stops the engine when the state closes, also by os.exit(code, true), which ends the process. */
static int fetch_gc(lua_State *L) {
    sm_luahost **box = lua_touserdata(L, 1);
    if (*box)
        sm_fetch_stop((*box)->fetch);
    if (*box)
        (*box)->fetch = NULL;
    *box = NULL;
    return 0;
}

static void guard_fetch(lua_State *L, sm_luahost *h) {
    static const char key;
    sm_luahost **box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = NULL;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, fetch_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    *box = h;
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
}

/* [h] -> nothing. */
static int open_libs(lua_State *L) {
    sm_luahost *h = lua_touserdata(L, 1);
    const char *names[64];
    size_t n = sm_modules_names(names, SM_ARRAY_LEN(names));
    luaL_openlibs(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    for (size_t i = 0; i < n; i++) {
        lua_pushcfunction(L, preload);
        lua_setfield(L, -2, names[i]);
    }
    for (const sm_embedded *e = sm_embedded_lua; e->name; e++) {
        if (strncmp(e->name, "selfmon/", 8) != 0 && strncmp(e->name, "kit/", 4) != 0)
            continue;
        luaL_gsub(L, e->name, "/", ".");
        size_t len = strlen(e->name);
        lua_pushlstring(L, lua_tostring(L, -1), len > 4 ? len - 4 : len); /* without .lua */
        lua_remove(L, -2);
        lua_pushcfunction(L, preload);
        lua_rawset(L, -3);
    }
    lua_pushcfunction(L, sm_internal_open);
    lua_setfield(L, -2, "selfmon.internal");
    lua_pushcfunction(L, sm_kit_embedded_open);
    lua_setfield(L, -2, "kit.embedded");
    lua_pushcfunction(L, sm_kit_disk_open);
    lua_setfield(L, -2, "kit.disk");
    guard_fetch(L, h);
    return 0;
}

sm_rc sm_luahost_open(sm_luahost *h, sm_err *err) {
    sm_limits limits = {.memory = (size_t)1 << 30,
                        .log = SIZE_MAX,
                        .events = INT_MAX,
                        .http_parallel = 64,
                        .http_total = INT_MAX,
                        .http_body = (size_t)256 << 20};
    sm_run *run = &h->run;
    memset(h, 0, sizeof *h);
    h->host = (sm_run_host){.ctx = h, .fetch = host_fetch};
    sm_run_init(run, "lua", "", &limits, &h->host);
    run->phase = SM_PHASE_FREE;
    h->L = luaL_newstate();
    if (!h->L) {
        sm_run_fini(run);
        return sm_err_set(err, SM_INTERNAL, "no memory for a Lua state");
    }
    memcpy(lua_getextraspace(h->L), &run, sizeof run);
    run->L = h->L;
    atomic_store(&run->current, h->L);
    lua_pushcfunction(h->L, open_libs);
    lua_pushlightuserdata(h->L, h);
    if (lua_pcall(h->L, 1, 0, 0) != LUA_OK) {
        sm_err_set(err, SM_INTERNAL, "%s", lua_tostring(h->L, -1));
        sm_luahost_close(h);
        return SM_INTERNAL;
    }
    return SM_OK;
}

void sm_luahost_close(sm_luahost *h) {
    lua_close(h->L);
    sm_fetch_stop(h->fetch);
    sm_run_fini(&h->run);
}

void sm_luahost_args(lua_State *L, int argc, char **argv, int script) {
    lua_createtable(L, argc > script ? argc - script : 0, script + 1);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i - script);
    }
    lua_setglobal(L, "arg");
}

/* As lua.c's: the message as text, with a traceback. */
static int message_handler(lua_State *L) {
    const char *msg = lua_tostring(L, 1);
    if (!msg) {
        if (luaL_callmeta(L, 1, "__tostring") && lua_type(L, -1) == LUA_TSTRING)
            return 1;
        msg = lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
    }
    luaL_traceback(L, L, msg, 1);
    return 1;
}

bool sm_luahost_call(lua_State *L, int nargs) {
    int base = lua_gettop(L) - nargs;
    lua_pushcfunction(L, message_handler);
    lua_insert(L, base);
    bool ok = lua_pcall(L, nargs, 0, base) == LUA_OK;
    if (!ok)
        fprintf(stderr, "%s: %s\n", program, lua_tostring(L, -1));
    lua_settop(L, base - 1);
    return ok;
}

static bool loaded(lua_State *L, int status) {
    if (status != LUA_OK)
        fprintf(stderr, "%s: %s\n", program, lua_tostring(L, -1));
    return status == LUA_OK;
}

/* Runs argv[script] with what follows as its arguments; NULL or "-" is standard input. */
static bool run_script(lua_State *L, int argc, char **argv, int script) {
    const char *name = script < argc && strcmp(argv[script], "-") != 0 ? argv[script] : NULL;
    int nargs = argc > script + 1 ? argc - script - 1 : 0;
    sm_luahost_args(L, argc, argv, script);
    if (!loaded(L, luaL_loadfile(L, name)))
        return false;
    luaL_checkstack(L, nargs + 3, "too many arguments to the script");
    for (int i = 0; i < nargs; i++)
        lua_pushstring(L, argv[script + 1 + i]);
    return sm_luahost_call(L, nargs);
}

/* Runs the leading `-e CODE` options. The index of the script, or -1 after a failure. */
static int run_options(lua_State *L, int argc, char **argv, bool *any) {
    int i = 1;
    for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
        if (strcmp(argv[i], "--") == 0)
            return i + 1;
        const char *code = strncmp(argv[i], "-e", 2) == 0 ? argv[i] + 2 : NULL;
        if (code && *code == '\0')
            code = i + 1 < argc ? argv[++i] : NULL;
        if (!code) {
            fprintf(stderr, "%s: lua: expected -e CODE, a script or -, got %s\n", program, argv[i]);
            return -1;
        }
        *any = true;
        if (!loaded(L, luaL_loadbuffer(L, code, strlen(code), "=(command line)")) ||
            !sm_luahost_call(L, 0))
            return -1;
    }
    return i;
}

int sm_luacmd_main(int argc, char **argv) {
    sm_luahost h;
    sm_err err = SM_ERR_INIT;
    bool had_code = false, ok = true;
    if (sm_luahost_open(&h, &err) != SM_OK) {
        fprintf(stderr, "%s: %s\n", program, err.msg);
        return 1;
    }
    sm_luahost_args(h.L, argc, argv, argc);
    int script = run_options(h.L, argc, argv, &had_code);
    if (script < 0)
        ok = false;
    else if (script < argc || !had_code)
        ok = run_script(h.L, argc, argv, script);
    sm_luahost_close(&h);
    return ok ? 0 : 1;
}
