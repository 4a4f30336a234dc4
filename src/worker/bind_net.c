/* bind_net: `selfmon.net`: tcp open tls dns ping ntp all (script-api 7). Connections that open
 * gives are in bind_conn.c.
 *
 * A wrong call raises at the script's line; what the world does wrong is nil, sentence, code. A
 * call blocks only its run. Under selfmon.testing the host says net_asked: then each operation is
 * a question to the test. While a script loads nothing here may be called.
 */
#include "worker/bind_net.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "worker/asking.h"
#include "worker/luaval.h"
#include "worker/modules.h"
#include "worker/net_read.h"
#include "worker/runclock.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALL_MAX = 1000, ALL_BYTES = 8 << 20, ARGS_MAX = 4 };

static const char ops_type[] = "selfmon.net.ops";

typedef struct ops_box {
    sm_netop *ops;
    size_t n;
} ops_box;

static int ops_gc(lua_State *L) {
    ops_box *b = luaL_checkudata(L, 1, ops_type);
    for (size_t i = 0; i < b->n; i++)
        sm_netop_fini(&b->ops[i]);
    free(b->ops);
    memset(b, 0, sizeof *b);
    return 0;
}

sm_netop *sm_net_ops_push(lua_State *L, size_t n) {
    ops_box *b = lua_newuserdatauv(L, sizeof *b, 0);
    memset(b, 0, sizeof *b);
    if (luaL_newmetatable(L, ops_type)) {
        lua_pushcfunction(L, ops_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    b->ops = sm_calloc(n + 1, sizeof *b->ops);
    for (b->n = n; n > 0; n--)
        b->ops[n - 1].args = json_object();
    return b->ops;
}

/* ---- performing ---------------------------------------------------------------------------- */

void sm_net_ask_fake(sm_run *run, sm_netop *op) {
    sm_answer answer = {0};
    sm_err err = SM_ERR_INIT;
    json_object_set_new(op->args, "what", json_string(op->what));
    sm_rc rc =
        run->host->ask(run->host->ctx, run, "net", op->args, op->send, op->send_n, &answer, &err);
    if (rc != SM_OK) {
        sm_netop_fail(op, answer.code[0] ? answer.code : "failed", err.msg);
        op->raise = answer.raise;
    } else if (answer.body) {
        op->value = json_stringn_nocheck(answer.body, answer.body_n);
    } else {
        op->value = json_incref(answer.value);
    }
    if (!op->value)
        op->value = json_object();
    sm_answer_fini(&answer);
}

static void expire(sm_run *run) {
    if (run->deadline_ns != INT64_MAX && sm_mono_ns() >= run->deadline_ns)
        sm_run_stop(run, SM_STOP_TIMEOUT);
}

void sm_net_check(lua_State *L) {
    expire(sm_run_of(L));
    sm_run_check(L);
}

void sm_net_perform(lua_State *L, const char *where, sm_netop *ops, size_t n) {
    sm_run *run = sm_run_of(L);
    if (!run->host)
        luaL_error(L, "%s: there is no network here", where);
    run->http_count += (int)n;
    if (run->phase != SM_PHASE_FREE && run->http_count > run->limits.http_total) {
        sm_run_stop(run, SM_STOP_HTTP);
        sm_run_check(L);
    }
    if (run->host->net_asked && run->host->ask) {
        struct sm_runclock *clock = run->host->clock, before = {0}, after = {0};
        if (clock)
            before = after = *clock;
        for (size_t i = 0; i < n && !atomic_load(&run->stop); i++) {
            if (clock) /* calls of one `all` begin together */
                *clock = before;
            sm_net_ask_fake(run, &ops[i]);
            if (clock && clock->mono_ns > after.mono_ns)
                after = *clock;
        }
        if (clock)
            *clock = after;
    } else {
        sm_netops_perform(run, ops, n);
        expire(run);
    }
    if (atomic_load(&run->stop))
        for (size_t i = 0; i < n; i++)
            sm_netop_fini(&ops[i]); /* the raise may leave this state for good */
    sm_run_check(L);
    for (size_t i = 0; i < n; i++)
        if (ops[i].raise)
            luaL_error(L, "%s", ops[i].error);
}

int sm_net_push_error(lua_State *L, const sm_netop *op) {
    luaL_pushfail(L);
    lua_pushstring(L, op->error);
    lua_pushstring(L, op->code);
    return 3;
}

static const sm_net_kind *find_kind(const char *what) {
    const sm_net_kind *k = sm_net_kinds;
    while (k->what && strcmp(k->what, what) != 0)
        k++;
    return k->what ? k : NULL;
}

static int single(lua_State *L, const char *what) {
    const sm_net_kind *k = find_kind(what);
    char where[32];
    snprintf(where, sizeof where, "net.%s", what);
    sm_run_world(L, where);
    lua_settop(L, ARGS_MAX);
    sm_netop *op = sm_net_ops_push(L, 1);
    op->what = k->what;
    k->read(L, 1, where, op);
    sm_net_perform(L, where, op, 1);
    if (op->code[0])
        return sm_net_push_error(L, op);
    if (strcmp(what, "open") == 0)
        sm_net_conn_push(L, op);
    else
        sm_luaval_push(L, op->value);
    return 1;
}

static int net_tcp(lua_State *L) {
    return single(L, "tcp");
}

static int net_open(lua_State *L) {
    return single(L, "open");
}

static int net_tls(lua_State *L) {
    return single(L, "tls");
}

static int net_dns(lua_State *L) {
    return single(L, "dns");
}

static int net_ping(lua_State *L) {
    return single(L, "ping");
}

static int net_ntp(lua_State *L) {
    return single(L, "ntp");
}

/* ---- all ----------------------------------------------------------------------------------- */

/* The call {"tcp", host, port, opts} at the top, as operation i. */
static void read_entry(lua_State *L, size_t i, sm_netop *op) {
    static const char *const names[] = {"tcp", "tls", "dns", "ping", "ntp"};
    char where[40], hint[64];
    snprintf(where, sizeof where, "net.all[%zu]", i);
    if (!lua_istable(L, -1))
        luaL_error(L, "%s: expected a table such as {\"tcp\", \"db.example\", 5432}, got %s", where,
                   luaL_typename(L, -1));
    int at = lua_gettop(L);
    lua_rawgeti(L, at, 1);
    const char *what = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    const sm_net_kind *k = find_kind(what);
    if (!k || strcmp(what, "open") == 0) {
        char *shown = sm_str_printable(what, strlen(what), 40);
        lua_pushstring(L, shown);
        free(shown);
        luaL_error(L,
                   "%s: the first field says what to do: tcp, tls, dns, ping or ntp; got \"%s\"%s",
                   where, lua_tostring(L, -1),
                   sm_str_hint(what, names, SM_ARRAY_LEN(names), hint, sizeof hint));
    }
    for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING)
            luaL_error(L,
                       "%s: unexpected field \"%s\": options are a table of their own at the end",
                       where, lua_tostring(L, -2));
    }
    snprintf(where, sizeof where, "net.all[%zu]: net.%s", i, k->what);
    op->what = k->what;
    for (int n = 2; n <= ARGS_MAX + 1; n++)
        lua_rawgeti(L, at, n);
    k->read(L, at + 2, where, op);
    lua_settop(L, at);
}

/* all{ {"tcp", host, port, opts}, … } -> list in the same order: results, or {error=, code=} */
static int net_all(lua_State *L) {
    sm_run_world(L, "net.all");
    lua_settop(L, 1);
    if (!lua_istable(L, 1))
        return luaL_error(L,
                          "net.all: expected a list of calls such as {{\"tcp\", \"db.example\", "
                          "5432}}, got %s",
                          luaL_typename(L, 1));
    size_t n = (size_t)lua_rawlen(L, 1), keys = 0;
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1))
        if (!lua_isinteger(L, -2) || ++keys > n)
            return luaL_error(L, "net.all: expected a plain list of calls such as {{\"tcp\", "
                                 "\"db.example\", 5432}}");
    if (n > ALL_MAX)
        return luaL_error(L, "net.all: more than %d calls at once", (int)ALL_MAX);
    sm_netop *ops = sm_net_ops_push(L, n);
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i + 1);
        read_entry(L, i + 1, &ops[i]);
        lua_pop(L, 1);
        bytes += ops[i].send_n + (ops[i].ca ? strlen(ops[i].ca) : 0);
        if (bytes > ALL_BYTES)
            return luaL_error(L, "net.all: more than %d MiB to send, and of PEM texts, in one call",
                              (int)ALL_BYTES >> 20);
    }
    sm_net_perform(L, "net.all", ops, n);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        if (ops[i].code[0]) {
            lua_createtable(L, 0, 2);
            lua_pushstring(L, ops[i].error);
            lua_setfield(L, -2, "error");
            lua_pushstring(L, ops[i].code);
            lua_setfield(L, -2, "code");
        } else {
            sm_luaval_push(L, ops[i].value);
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static const luaL_Reg functions[] = {
    {"tcp", net_tcp},   {"open", net_open}, {"tls", net_tls}, {"dns", net_dns},
    {"ping", net_ping}, {"ntp", net_ntp},   {"all", net_all}, {NULL, NULL},
};

int sm_bind_net_open(lua_State *L) {
    luaL_newlib(L, functions);
    return 1;
}
