/* luaval: Lua values to C and JSON and back: raw reads only (no metamethods), depth, size and
 * cycles bounded. Reading never raises, so that a caller may hold C memory meanwhile. */
#pragma once
#include "platform/event.h"
#include <lua.h>

enum { SM_LUAVAL_DEPTH = 32, SM_LUAVAL_NODES = 100000 };

/* Reads the value at idx as a tree that borrows strings from Lua (keep it on the stack while in
 * use). SM_LIMIT for depth > 32, more than 100,000 nodes; SM_INVALID for a cycle. sm_val_fini frees
 * the tree. A key that is a table is SM_VAL_OTHER. On failure *out is nil. */
sm_rc sm_luaval_read(lua_State *L, int idx, sm_val *out, sm_err *err);
/* A tree as JSON: a table whose keys are 1..n is an array, an empty one `[]`, else an object
 * (number keys as text). Bad UTF-8, NaN, infinity, functions, two keys with one text are SM_INVALID
 * and name the path below `root` (`params.hosts[2]: expected UTF-8 text`). *out new reference. */
sm_rc sm_luaval_json(const sm_val *v, const char *root, json_t **out, sm_err *err);
/* Both in one, with the root "value". *out new reference. */
sm_rc sm_luaval_to_json(lua_State *L, int idx, json_t **out, sm_err *err);
/* True when the table's keys are exactly 1..n (also for n = 0). *items (may be NULL): malloc'd
 * array of n borrowed values in order, NULL when n is 0 or the answer is false. */
bool sm_luaval_list(const sm_val *table, const sm_val ***items);
/* Pushes a JSON value; null as nil (top and members: absent). Depth is bounded by the parser. The
 * JSON must stay referenced by the caller beyond a raise. [-0, +1, m] */
void sm_luaval_push(lua_State *L, const json_t *j);
/* Name of a value's type for messages: luaL_typename, with __name of our userdata. Static, or
 * borrowed from the value's metatable. Never raises. */
const char *sm_luaval_typename(lua_State *L, int idx);
