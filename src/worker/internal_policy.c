/* internal_policy: `selfmon.internal.decide`: one step of the event policy, as the store takes it
 * (store/policy), so that a spec can ask what would be sent.
 *
 *   decide(events, dim, status, now[, room]) -> send, rule, count, of
 *
 * events: the inspection's policy or nil; dim: a table that keeps the dimension's state from step
 * to step (`status sent sent_at streak counted over`, empty at first, statuses as ranks); status: a
 * text, or nil when a complete run did not report the dimension; room: {dimensions=, events=},
 * false where a budget is used up. Runs on the thread of the test.
 */
#include "worker/internal.h"
#include "base/clock.h"
#include "store/policy.h"
#include "worker/luaval.h"
#include <lauxlib.h>

static int int_field(lua_State *L, const char *key, int def) {
    int v = lua_getfield(L, 2, key) == LUA_TNUMBER ? (int)lua_tointeger(L, -1) : def;
    lua_pop(L, 1);
    return v;
}

static bool flag_field(lua_State *L, int idx, const char *key, bool def) {
    bool v = lua_getfield(L, idx, key) == LUA_TNIL ? def : lua_toboolean(L, -1);
    lua_pop(L, 1);
    return v;
}

static sm_dim read_dim(lua_State *L) {
    lua_getfield(L, 2, "sent_at");
    double at = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return (sm_dim){.status = int_field(L, "status", 0),
                    .streak = int_field(L, "streak", 0),
                    .sent = int_field(L, "sent", SM_DIM_NONE),
                    .sent_ns = (int64_t)(at * (double)SM_NS_PER_S),
                    .delivered = SM_DIM_NONE,
                    .counted = flag_field(L, 2, "counted", false),
                    .over = flag_field(L, 2, "over", false)};
}

static void set_int(lua_State *L, const char *key, int v) {
    lua_pushinteger(L, v);
    lua_setfield(L, 2, key);
}

static void write_dim(lua_State *L, const sm_dim *d, double now) {
    set_int(L, "status", d->status);
    set_int(L, "streak", d->streak);
    set_int(L, "sent", d->sent);
    if (d->sent_ns == (int64_t)(now * (double)SM_NS_PER_S)) {
        lua_pushnumber(L, now);
        lua_setfield(L, 2, "sent_at");
    }
    lua_pushboolean(L, d->counted);
    lua_setfield(L, 2, "counted");
    lua_pushboolean(L, d->over);
    lua_setfield(L, 2, "over");
}

/* The policy at index 1. Raises for one that the worker would have refused. */
static sm_policy read_policy(lua_State *L) {
    json_t *events = NULL;
    sm_policy p;
    sm_err err = SM_ERR_INIT;
    sm_rc rc = sm_luaval_to_json(L, 1, &events, &err);
    if (rc == SM_OK)
        rc = sm_policy_read(events, &p, &err);
    json_decref(events);
    if (rc != SM_OK)
        luaL_error(L, "decide: %s", err.msg);
    return p;
}

int sm_internal_decide(lua_State *L) {
    lua_settop(L, 5);
    luaL_checktype(L, 2, LUA_TTABLE);
    const char *status = luaL_optstring(L, 3, NULL);
    double now = luaL_checknumber(L, 4);
    int64_t now_ns = (int64_t)(now * (double)SM_NS_PER_S);
    sm_policy policy = read_policy(L);
    sm_dim dim = read_dim(L);
    sm_decision x;
    if (status) {
        sm_room room = {true, true};
        if (lua_istable(L, 5))
            room =
                (sm_room){flag_field(L, 5, "dimensions", true), flag_field(L, 5, "events", true)};
        sm_policy_event(&policy, &dim, sm_policy_rank(status), now_ns, room, false, &x);
    } else {
        dim.counted = false;
        sm_policy_absent(&policy, &dim, now_ns, false, &x);
    }
    write_dim(L, &dim, now);
    lua_pushboolean(L, x.send);
    lua_pushstring(L, x.rule);
    lua_pushinteger(L, x.count);
    lua_pushinteger(L, x.of);
    return 4;
}
