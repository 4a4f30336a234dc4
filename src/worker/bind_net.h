/* bind_net: what the two files of the module selfmon.net share (bind_net.c, bind_conn.c). */
#pragma once
#include "worker/netops.h"
#include <lua.h>

/* n empty operations in a userdata that releases them. [-0, +1, m] */
sm_netop *sm_net_ops_push(lua_State *L, size_t n);
/* Counts, performs (the network, or a test's fake), and waits. Raises when the run was stopped, or
 * the fake raised. [-0, +0, e] */
void sm_net_perform(lua_State *L, const char *where, sm_netop *ops, size_t n);
/* After a wait: one that the run's own deadline ended is the run's end, also when the watchdog is
 * not there yet; raises when the run was stopped. [-0, +0, e] */
void sm_net_check(lua_State *L);
/* nil, sentence, code. */
int sm_net_push_error(lua_State *L, const sm_netop *op);
/* A connection of the operation, which gives its stream away. [-0, +1, m] */
void sm_net_conn_push(lua_State *L, sm_netop *op);
/* Asks a test's fake. */
void sm_net_ask_fake(sm_run *run, sm_netop *op);
