/* luacmd: a plain, unsandboxed Lua state with the host's modules, for `selfmon-lua lua` and
 * `selfmon-lua test`. */
#pragma once
#include "worker/run.h"

struct sm_fetch;

typedef struct sm_luahost {
    sm_run run; /* phase SM_PHASE_FREE: not a run, never stopped */
    sm_run_host host;
    struct sm_fetch *fetch; /* started by the first request */
    bool offline;           /* sm_luahost_offline */
    lua_State *L;
} sm_luahost;

/* Opens a state with all standard libraries and, in package.preload, every module of scripts and
 * selfmon.internal. h must not move while it is open. SM_INTERNAL when there is no memory. */
sm_rc sm_luahost_open(sm_luahost *h, sm_err *err);
/* From now on the state's own requests and connections are refused, as in specs; runs inside it are
 * the business of their hosts. */
void sm_luahost_offline(sm_luahost *h);
void sm_luahost_close(sm_luahost *h);
/* Sets the global `arg` as lua.c does: argv[script] is arg[0]. */
void sm_luahost_args(lua_State *L, int argc, char **argv, int script);
/* Calls the function below nargs arguments; a failure is told on standard error with a traceback,
 * as `program: sentence`. True when it succeeded; the stack is then without function, arguments and
 * results. */
bool sm_luahost_call(lua_State *L, int nargs);

/* Opener of selfmon.internal (internal.c). */
int sm_internal_open(lua_State *L);
/* Opener of kit.embedded (kitcmd.c): get(name) -> text or nil, names(prefix) -> sorted list. */
int sm_kit_embedded_open(lua_State *L);
/* Opener of kit.disk (kitcmd.c): kind(path), mkdir(path), create(path, text). */
int sm_kit_disk_open(lua_State *L);
