/* vm: a Lua state with a memory cap and one protected door into it. */
#pragma once
#include "worker/run.h"

/* A state whose heap counts against run->limits.memory: a refused allocation stops the run
 * (SM_STOP_MEMORY) for good. NULL when not even the empty state fits. Extra space holds run. */
lua_State *sm_vm_new(sm_run *run);
void sm_vm_close(lua_State *L);
/* The one door: calls the function below nargs arguments; on failure leaves nothing and fills
 * *error (malloc'd sentence, never metamethods, at most 8 KiB, control bytes escaped) and
 * *traceback (may be NULL). SM_OK, SM_INVALID (it raised), SM_LIMIT or SM_TIMEOUT (run->stop). */
sm_rc sm_vm_call(lua_State *L, int nargs, int nresults, char **error, char **traceback);
/* Makes the stop stick on the running coroutine (count 1, call, return). Async-signal-safe. */
void sm_vm_arm(sm_run *run);
/* Inside the thread that owns it, marks `run` as the one the watchdog's signal handler finds. */
void sm_vm_enter(sm_run *run);
void sm_vm_leave(void);
