/* internal_clock: `selfmon.internal.clock`: the clock that a test moves (worker/runclock).
 *
 *   clock(seconds)    -> a clock that stands at this instant, in seconds since 1970
 *   c:now()           -> seconds since 1970
 *   c:advance(s)      moves it; inside a run at most to the run's deadline
 *
 * A run that is given it (opts.clock) sees its time. Runs on the thread of the test.
 */
#include "worker/internal.h"
#include "base/clock.h"
#include <lauxlib.h>
#include <math.h>

static const char clock_type[] = "selfmon.internal.clock";
static const double wall_max = 9.2e9; /* seconds: what nanoseconds in 64 bits can hold */

struct sm_runclock *sm_internal_clock_at(lua_State *L, int idx) {
    return luaL_checkudata(L, idx, clock_type);
}

static int clock_now(lua_State *L) {
    const struct sm_runclock *c = sm_internal_clock_at(L, 1);
    lua_pushnumber(L, (double)c->wall_ns / 1e9);
    return 1;
}

static int clock_advance(lua_State *L) {
    struct sm_runclock *c = sm_internal_clock_at(L, 1);
    double s = luaL_checknumber(L, 2);
    luaL_argcheck(L, s >= 0 && (double)c->wall_ns / 1e9 + s <= wall_max, 2,
                  "expected seconds that lead to before the year 2261");
    sm_runclock_move(c, (int64_t)llround(s * 1e9));
    return 0;
}

int sm_internal_clock(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"now", clock_now}, {"advance", clock_advance}, {NULL, NULL}};
    double s = luaL_checknumber(L, 1);
    luaL_argcheck(L, s >= 0 && s <= wall_max, 1,
                  "expected seconds since 1970, before the year 2261");
    struct sm_runclock *c = lua_newuserdatauv(L, sizeof *c, 0);
    double whole = floor(s);
    *c = (struct sm_runclock){.wall_ns = (int64_t)whole * SM_NS_PER_S +
                                         (int64_t)llround((s - whole) * 1e6) * 1000,
                              .mono_ns = 1000 * SM_NS_PER_S,
                              .deadline_ns = INT64_MAX};
    if (luaL_newmetatable(L, clock_type)) {
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
    return 1;
}
