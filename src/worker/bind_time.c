/* bind_time: the module `selfmon.time` (docs/modules/time.md): clocks, ISO 8601, durations, sleep.
 *
 * now() and monotonic() are seconds as floats. parse(), format() and duration() are pure and may be
 * called while a script loads; sleep() may not, blocks only this run, and ends with it. A text that
 * cannot be read is the world's failure: nil, sentence, code. Runs on the run's thread.
 */
#include "worker/modules.h"
#include "worker/run.h"
#include "worker/runclock.h"
#include "worker/timetext.h"
#include "base/clock.h"
#include "base/str.h"
#include <lauxlib.h>
#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

enum { FORMAT_MAX = 4096 };
static const double INSTANT_MAX = 9.2e9; /* seconds: what nanoseconds in 64 bits can hold */

static int fail(lua_State *L, const sm_err *err) {
    lua_pushnil(L);
    lua_pushstring(L, err->msg);
    lua_pushstring(L, sm_rc_name(err->code));
    return 3;
}

static int time_now(lua_State *L) {
    lua_pushnumber(L, (double)sm_run_wall_ns(sm_run_of(L)) / 1e9);
    return 1;
}

static int time_monotonic(lua_State *L) {
    lua_pushnumber(L, (double)sm_run_mono_ns(sm_run_of(L)) / 1e9);
    return 1;
}

/* parse(text[, zone]) */
static int time_parse(lua_State *L) {
    const char *text = luaL_checkstring(L, 1);
    const char *zone = luaL_optstring(L, 2, NULL);
    sm_err err = SM_ERR_INIT;
    int64_t ns;
    if (sm_timetext_parse(text, zone, &ns, &err) != SM_OK) {
        return fail(L, &err);
    }
    if (ns % SM_NS_PER_S == 0) {
        lua_pushinteger(L, ns / SM_NS_PER_S);
    } else {
        /* In two parts: 64 bits of nanoseconds do not fit a double. */
        lua_pushnumber(L, (double)(ns / SM_NS_PER_S) + (double)(ns % SM_NS_PER_S) / 1e9);
    }
    return 1;
}

/* format([seconds[, pattern[, zone]]]) */
static int time_format(lua_State *L) {
    int64_t ns = sm_run_wall_ns(sm_run_of(L)) / SM_NS_PER_S * SM_NS_PER_S;
    if (!lua_isnoneornil(L, 1)) {
        double t = luaL_checknumber(L, 1);
        luaL_argcheck(L, t >= -INSTANT_MAX && t <= INSTANT_MAX, 1,
                      "expected seconds since 1970, between the years 1678 and 2261");
        /* To the microsecond: a float of today has no more. */
        ns = (int64_t)floor(t) * SM_NS_PER_S + (int64_t)llround((t - floor(t)) * 1e6) * 1000;
    }
    const char *pattern = luaL_optstring(L, 2, NULL);
    const char *zone = luaL_optstring(L, 3, NULL);
    sm_err err = SM_ERR_INIT;
    sm_buf out;
    sm_buf_init(&out, FORMAT_MAX);
    if (sm_timetext_format(ns, pattern, zone, &out, &err) != SM_OK) {
        sm_buf_fini(&out);
        return fail(L, &err);
    }
    /* Into a fixed array first: pushing may raise, and the buffer must not be lost. */
    char text[FORMAT_MAX + 1];
    size_t n = out.len;
    memcpy(text, out.data ? out.data : "", n);
    sm_buf_fini(&out);
    lua_pushlstring(L, text, n);
    return 1;
}

/* duration("1h30m") -> 5400; duration(5400) -> "1h30m" */
static int time_duration(lua_State *L) {
    if (lua_type(L, 1) == LUA_TNUMBER) {
        double s = lua_tonumber(L, 1);
        luaL_argcheck(L, isfinite(s), 1, "expected a finite number of seconds");
        char text[64];
        sm_timetext_duration(s, text);
        lua_pushstring(L, text);
        return 1;
    }
    const char *text = luaL_checkstring(L, 1);
    sm_err err = SM_ERR_INIT;
    double s;
    if (sm_timetext_seconds(text, &s, &err) != SM_OK) {
        return fail(L, &err);
    }
    if (s == floor(s)) {
        lua_pushinteger(L, (lua_Integer)s);
    } else {
        lua_pushnumber(L, s);
    }
    return 1;
}

static void sleep_plain(double s) {
    struct timespec left = {(time_t)s, (long)((s - floor(s)) * 1e9)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static int time_sleep(lua_State *L) {
    double s = luaL_checknumber(L, 1);
    luaL_argcheck(L, s >= 0 && s <= 3600, 1, "expected seconds from 0 to 3600");
    sm_run_world(L, "time.sleep");
    sm_run *run = sm_run_of(L);
    if (!run || run->phase == SM_PHASE_FREE) {
        sleep_plain(s);
        return 0;
    }
    sm_run_sleep(run, (int64_t)(s * 1e9));
    sm_run_check(L);
    return 0;
}

static const luaL_Reg functions[] = {
    {"now", time_now},
    {"monotonic", time_monotonic},
    {"parse", time_parse},
    {"format", time_format},
    {"duration", time_duration},
    {"sleep", time_sleep},
    {NULL, NULL},
};

int sm_bind_time_open(lua_State *L) {
    luaL_newlib(L, functions);
    return 1;
}
