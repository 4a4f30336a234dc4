/* vm: a Lua state with a memory cap and one protected door into it. */
#pragma once
#include "worker/run.h"
#include <signal.h>

/* A state whose heap counts against run->limits.memory: a refused allocation stops the run
 * (SM_STOP_MEMORY) for good. NULL when not even the empty state fits. Extra space holds run. */
lua_State *sm_vm_new(sm_run *run);
void sm_vm_close(lua_State *L);
/* The one door: calls the function below nargs arguments; on failure leaves nothing and fills
 * *error (malloc'd sentence, never metamethods, at most 8 KiB, control bytes escaped) and
 * *traceback (malloc'd lines, script frames only; *traceback may become NULL, and so may the
 * pointer be). SM_OK; SM_INVALID: it raised; by run->stop: SM_TIMEOUT, SM_LIMIT, SM_CLOSED. A run
 * that was stopped never gives SM_OK, whatever the script caught. */
sm_rc sm_vm_call(lua_State *L, int nargs, int nresults, char **error, char **traceback);

/* Makes the stop stick on the running coroutine (count 1, call, return). Async-signal-safe; called
 * on the run's own thread. */
void sm_vm_arm(sm_run *run);
/* Arms the hook on L and raises the end of a stopped run. [-0, +1, e] */
_Noreturn void sm_vm_raise_stop(lua_State *L);
/* Before building a string of n bytes, which takes them twice (the buffer, then the string):
 * collects garbage when they do not fit, and stops the run when they still do not. [-0, +0, e] */
void sm_vm_room(lua_State *L, size_t n);
/* file:line of the innermost script frame of L into out, "" when there is none. No allocation. */
void sm_vm_where(lua_State *L, char *out, size_t cap);

/* Every run and every load goes through enter and leave on its own thread, nested ones (a run
 * inside `selfmon.testing`) included. Enter starts the clocks (started_ns, deadline_ns,
 * cpu_start_ns, thread), makes `run` the one that the signal handler finds, and hands it to the
 * thread's watchdog; leave undoes it for the innermost run. */
void sm_vm_enter(sm_run *run);
void sm_vm_leave(void);
/* The watchdog (or NULL) of the runs that this thread enters from now on. */
void sm_vm_watched_by(struct sm_watchdog *dog);

/* The signal that arms the hook on the thread it is sent to; harmless outside a stopped run. */
enum { SM_VM_SIGNAL = SIGUSR2 };
void sm_vm_install_signal(void);
