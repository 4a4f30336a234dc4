/* bind_secret: `selfmon.secret`: the module's value is the function `secret "name"`.
 *
 * It answers an opaque userdata that only HTTP auth, headers and bodies and crypto.hmac accept
 * (through sm_bind_secret_bytes). Nothing turns it into text: tostring shows its name, joining it
 * raises, two of them compare by identity. Without a grant it raises the permission sentence; while
 * a script loads it may not be called. The bytes belong to the run and live as long as it does; a
 * userdata never outlives its state. Runs on the run's thread.
 */
#include "worker/modules.h"
#include "worker/run.h"
#include "base/str.h"
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

enum { NAME_MAX_BYTES = 64 };

typedef struct handle {
    const sm_secret *secret; /* borrowed until the run ends */
    char name[NAME_MAX_BYTES + 1];
} handle;

static const char type_name[] = "selfmon.secret";

static int secret_tostring(lua_State *L) {
    const handle *h = luaL_checkudata(L, 1, type_name);
    lua_pushfstring(L, "<secret %s>", h->name);
    return 1;
}

static int secret_no_text(lua_State *L) {
    return luaL_error(L, "a secret cannot become text; pass it as it is to http's auth, headers "
                         "or body, to what net sends, or to crypto.hmac");
}

static int secret_get(lua_State *L) {
    size_t n;
    const char *name = luaL_checklstring(L, 1, &n);
    luaL_argcheck(L, n <= NAME_MAX_BYTES && sm_str_is_id_part(name, n), 1,
                  "expected the name of a secret: letters, digits, _ - .");
    sm_run_world(L, "secret");
    char permission[NAME_MAX_BYTES + 16];
    snprintf(permission, sizeof permission, "secret:%s", name);
    sm_run_permission(L, permission);
    handle *h = lua_newuserdatauv(L, sizeof *h, 0);
    h->secret = NULL;
    memcpy(h->name, name, n + 1);
    luaL_setmetatable(L, type_name);
    sm_run *run = sm_run_of(L);
    sm_err err = SM_ERR_INIT;
    sm_rc rc = SM_NOT_FOUND;
    if (run && run->host && run->host->secret) {
        rc = run->host->secret(run->host->ctx, run, name, &h->secret, &err);
    }
    if (rc == SM_OK) {
        return 1;
    }
    lua_pushnil(L);
    if (err.msg[0]) {
        lua_pushstring(L, err.msg);
    } else {
        lua_pushfstring(L, "there is no secret \"%s\": add it to secrets in selfmon.conf.lua",
                        name);
    }
    lua_pushstring(L, sm_rc_name(rc));
    return 3;
}

static const luaL_Reg meta[] = {
    {"__tostring", secret_tostring},
    {"__concat", secret_no_text},
    {"__len", secret_no_text},
    {NULL, NULL},
};

int sm_bind_secret_open(lua_State *L) {
    if (luaL_newmetatable(L, type_name)) {
        luaL_setfuncs(L, meta, 0);
        lua_pushstring(L, type_name);
        lua_setfield(L, -2, "__metatable");
    }
    lua_pop(L, 1);
    lua_pushcfunction(L, secret_get);
    return 1;
}

const char *sm_bind_secret_bytes(lua_State *L, int idx, size_t *n) {
    const handle *h = luaL_testudata(L, idx, type_name);
    return h && h->secret ? sm_secret_bytes(h->secret, n) : NULL;
}
