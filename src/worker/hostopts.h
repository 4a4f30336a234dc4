/* hostopts: options of selfmon.host's functions, read strictly into JSON; and JSON that hangs in a
 * userdata, so that a raise frees it. On the run's thread. */
#pragma once
#include "base/json.h"
#include <lua.h>

typedef enum sm_hostopt_kind {
    SM_HOSTOPT_TEXT,
    SM_HOSTOPT_INTEGER,
    SM_HOSTOPT_BOOLEAN,
    SM_HOSTOPT_TABLE
} sm_hostopt_kind;

typedef struct sm_hostopt {
    const char *name;
    sm_hostopt_kind kind;
    lua_Integer min, max; /* of an integer */
} sm_hostopt;

/* A place for JSON, NULL at first, that is released with its userdata. [-0, +1, m] */
json_t **sm_hostjson_push(lua_State *L);
/* Reads the table at idx (nothing when none or nil) into the object `into`. Raises for what is
 * unknown or of another type; `where` is the function's name. [-0, +0, e] */
void sm_hostopts_read(lua_State *L, int idx, const char *where, const sm_hostopt *opts, size_t n,
                      json_t *into);
