/* bind_hostparts: what the files of selfmon.host's binding share; only they include it. */
#pragma once
#include "base/json.h"
#include "worker/run.h"

/* bind_hostfile.c: pushes the table `host.file`. [-0, +1, m] */
void sm_bind_hostfile_push(lua_State *L);
/* bind_hostproc.c: sets processes, sockets and socket_counts in the table at the top. */
void sm_bind_hostproc_set(lua_State *L);
/* bind_host.c: a reading of the machine (hostinfo.h) from where this run gets it. New reference. */
json_t *sm_bind_host_reading(lua_State *L, const char *what, sm_err *err);
/* Whether the run has a machine of its own (selfmon.testing). */
bool sm_bind_host_own(lua_State *L);
/* Pushes the JSON, or nil, message, code when it is NULL; returns how many. */
int sm_bind_host_push(lua_State *L, const json_t *j, const sm_err *err);
