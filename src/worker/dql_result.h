/* dql_result: answers of queries as scripts see them. */
#pragma once
#include "base/json.h"
#include <lua.h>

/* Pushes one result (base/dqlask.h) as a table {series, complete, cost, interval}, whose `rows` are
 * made when they are asked for. The JSON stays referenced by the caller beyond a raise.
 * [-0, +1, m] */
void sm_dql_result_push(lua_State *L, const json_t *result);
