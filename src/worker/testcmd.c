/* testcmd: `selfmon-lua test`: the door to busted inside the program.
 *
 * Opens the plain interpreter (worker/luacmd) and hands the arguments to main() of selfmon.testing
 * (lua/selfmon/testing.lua), which finds the specs, runs busted and answers the exit code. Nothing
 * is decided here. Called by main on its only thread.
 */
#include "worker/entry.h"
#include "worker/luacmd.h"
#include "worker/modules.h"
#include <lauxlib.h>
#include <stdio.h>

enum { EXIT_FAILURES = 1 };

/* [root, args] -> exit code, through require so that specs meet the same instance. */
static int call_main(lua_State *L) {
    lua_getglobal(L, "require");
    lua_pushliteral(L, "selfmon.testing");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "main");
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_call(L, 2, 1);
    return 1;
}

int sm_testcmd_main(const char *root, int argc, char **argv) {
    sm_luahost h;
    sm_err err = SM_ERR_INIT;
    if (sm_luahost_open(&h, &err) != SM_OK) {
        fprintf(stderr, "selfmon-lua test: %s\n", err.msg);
        return EXIT_FAILURES;
    }
    lua_State *L = h.L;
    sm_luahost_offline(&h);
    lua_pushcfunction(L, call_main);
    lua_pushstring(L, root);
    lua_createtable(L, argc, 0);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i + 1);
    }
    int code = EXIT_FAILURES;
    if (lua_pcall(L, 2, 1, 0) == LUA_OK) {
        code = (int)lua_tointeger(L, -1);
    } else {
        const char *text = lua_tostring(L, -1);
        fprintf(stderr, "selfmon-lua test: %s\n", text ? text : "an error that is no text");
    }
    sm_luahost_close(&h);
    return code;
}
