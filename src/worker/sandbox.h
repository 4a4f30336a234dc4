/* sandbox: the globals a script sees (script-api 7): the safe part of the standard library,
 * text-only load, no __gc, locked metatables, the wrapped coroutine and xpcall, bounded string and
 * table functions, print into the run log, and require of host modules and of the snapshot's lib/.
 */
#pragma once
#include "worker/script.h"

/* Opens libraries and globals in a fresh state. snap is borrowed while L lives. [-0, +0, e] */
void sm_sandbox_open(lua_State *L, const sm_snapshot *snap);
/* Array of lib names that were required so far. New reference. */
json_t *sm_sandbox_required(lua_State *L);
