/* luaval: Lua values to C and JSON and back: raw reads only (no metamethods), depth, size and
 * cycles bounded. */
#pragma once
#include "platform/event.h"
#include <lua.h>

/* Reads the value at idx as a tree that borrows strings from Lua (keep it on the stack while in
 * use). SM_LIMIT for depth > 32, more than 100,000 nodes; SM_INVALID for a cycle. sm_val_fini frees
 * the tree. */
sm_rc sm_luaval_read(lua_State *L, int idx, sm_val *out, sm_err *err);
/* As JSON: a table whose keys are 1..n is an array, an empty one `[]`, else an object (number keys
 * as text). Bad UTF-8 is SM_INVALID naming the path. *out new reference. */
sm_rc sm_luaval_to_json(lua_State *L, int idx, json_t **out, sm_err *err);
/* Pushes a JSON value; null as nil (top and members: absent). Depth is bounded by the parser. The
 * JSON must stay referenced by the caller beyond a raise. [-0, +1, m] */
void sm_luaval_push(lua_State *L, const json_t *j);
/* Name of a value's type for messages: luaL_typename, with __name of our userdata. */
const char *sm_luaval_typename(lua_State *L, int idx);
