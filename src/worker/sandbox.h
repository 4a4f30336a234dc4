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
/* Compiles a script's text: at most 1 MiB, text only, a byte order mark and a first line that
 * begins with `#` skipped (lines stay true). The chunk is named @display/name, or @name when
 * display is "". Pushes the function
 * and returns LUA_OK, else pushes a sentence with file:line and returns an error code. [-0, +1, m]
 */
int sm_sandbox_load(lua_State *L, const char *display, const char *name, const char *text,
                    size_t n);

enum { SM_SANDBOX_TEXT_MAX = 1 << 20 };

/* Parts of the sandbox; each changes the table of globals at the top of the stack. [-0, +0, e] */
void sm_sandbox_open_basics(lua_State *L);    /* load, print, setmetatable, xpcall, … and os */
void sm_sandbox_open_coroutine(lua_State *L); /* create, wrap, resume, close, xpcall */
void sm_sandbox_open_bounded(lua_State *L);   /* string.rep, table.insert, remove, move */
