/* bind_conn: a connection that selfmon.net's open gives: send receive starttls info close.
 *
 * A userdata owns the stream; it is closed by close, by the end of a `<close>` variable, by the
 * collector or with the run. Waits end with the run. A connection of a test's fake has a number
 * instead of a stream, and every step is a question to the test.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "worker/bind_net.h"
#include "worker/luaval.h"
#include "worker/modules.h"
#include "worker/net_read.h"
#include "worker/nettls.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEND_MAX = 8 << 20 };

static const char conn_type[] = "selfmon.net.connection";

typedef struct conn {
    sm_netstream *s; /* NULL: closed, or a fake */
    sm_run *run;
    json_t *info;
    json_int_t fake; /* its number, 0: a real one */
    double timeout;
    bool open;
} conn;

static void conn_close(conn *c) {
    if (c->s)
        sm_netstream_close(c->s);
    free(c->s);
    c->s = NULL;
    if (c->open)
        c->run->connections--;
    c->open = false;
}

static int conn_gc(lua_State *L) {
    conn *c = luaL_checkudata(L, 1, conn_type);
    conn_close(c);
    json_decref(c->info);
    c->info = NULL;
    return 0;
}

static conn *conn_at(lua_State *L, const char *method) {
    conn *c = luaL_testudata(L, 1, conn_type);
    if (!c)
        luaL_error(L, "connection.%s: call it with a colon: conn:%s(…)", method, method);
    return c;
}

/* The connection of a method that talks. Raises for a closed one. */
static conn *talking(lua_State *L, const char *method) {
    conn *c = conn_at(L, method);
    char where[48];
    snprintf(where, sizeof where, "connection:%s", method);
    sm_run_world(L, where);
    if (!c->open)
        luaL_error(L, "%s: the connection is closed", where);
    return c;
}

static sm_netwait wait_of(const conn *c, double seconds) {
    sm_netwait w = {c->run->deadline_ns, &c->run->stop, -1};
    return sm_netwait_within(&w, seconds);
}

static int failed(lua_State *L, sm_rc rc, const char *sentence) {
    sm_net_check(L);
    luaL_pushfail(L);
    lua_pushstring(L, sentence);
    lua_pushstring(L, sm_net_code(rc));
    return 3;
}

/* One step of a fake conversation; `bytes` are what the script sends. Pushes the answer. */
static int ask_fake(lua_State *L, conn *c, const char *what, json_t *args, const char *bytes,
                    size_t n) {
    sm_netop *op = sm_net_ops_push(L, 1);
    op->what = what;
    json_object_set_new(op->args, "conn", json_integer(c->fake));
    json_object_update(op->args, args);
    json_decref(args);
    if (bytes) {
        op->send = sm_memdup(bytes, n);
        op->send_n = n;
    }
    sm_net_ask_fake(c->run, op);
    sm_run_check(L);
    if (op->raise)
        return luaL_error(L, "%s", op->error);
    if (op->code[0])
        return sm_net_push_error(L, op);
    if (json_is_string(op->value))
        lua_pushlstring(L, json_string_value(op->value), json_string_length(op->value));
    else
        lua_pushboolean(L, 1);
    return 1;
}

/* ---- methods ------------------------------------------------------------------------------- */

/* The bytes of one argument of send: text, secret, or {length = text or secret}, whose length in
 * digits protocols want before the bytes. */
static const char *part_bytes(lua_State *L, int idx, char digits[24], size_t *n) {
    const char *p = NULL;
    bool length = lua_istable(L, idx);
    if (length) {
        lua_pushliteral(L, "length");
        lua_rawget(L, idx);
        idx = lua_gettop(L);
    }
    if (lua_type(L, idx) == LUA_TSTRING || (lua_type(L, idx) == LUA_TNUMBER && !length))
        p = lua_tolstring(L, idx, n);
    else
        p = sm_bind_secret_bytes(L, idx, n);
    if (!p)
        luaL_error(L, "connection:send: expected strings, secrets or {length = secret}, got %s",
                   luaL_typename(L, idx));
    if (length) {
        lua_pop(L, 1);
        *n = (size_t)snprintf(digits, 24, "%zu", *n);
        return digits;
    }
    return p;
}

/* A buffer that is wiped; freed by its userdata. */
typedef struct wiped {
    sm_buf b;
} wiped;

static int wiped_gc(lua_State *L) {
    wiped *w = lua_touserdata(L, 1);
    if (w->b.data)
        explicit_bzero(w->b.data, w->b.cap);
    sm_buf_fini(&w->b);
    return 0;
}

static int conn_send(lua_State *L) {
    conn *c = talking(L, "send");
    int top = lua_gettop(L);
    wiped *w = lua_newuserdatauv(L, sizeof *w, 0);
    sm_buf_init(&w->b, SEND_MAX);
    if (luaL_newmetatable(L, "selfmon.net.wiped")) {
        lua_pushcfunction(L, wiped_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    if (top < 2)
        return luaL_error(L, "connection:send: expected something to send");
    for (int i = 2; i <= top; i++) {
        char digits[24];
        size_t n = 0;
        const char *p = part_bytes(L, i, digits, &n);
        sm_buf_add(&w->b, p, n);
    }
    if (w->b.failed)
        return luaL_error(L, "connection:send: more than %d MiB at once", (int)SEND_MAX >> 20);
    const char *p = w->b.data ? w->b.data : "";
    if (c->fake)
        return ask_fake(L, c, "send", NULL, p, w->b.len);
    sm_err err = SM_ERR_INIT;
    sm_netwait wait = wait_of(c, c->timeout);
    sm_rc rc = sm_netstream_send(c->s, p, w->b.len, &wait, &err);
    if (rc != SM_OK)
        return failed(L, rc, err.msg);
    sm_net_check(L);
    lua_pushboolean(L, 1);
    return 1;
}

/* receive(n | "line" | "available"[, timeout]) */
static int conn_receive(lua_State *L) {
    conn *c = talking(L, "receive");
    lua_settop(L, 3);
    lua_Integer want = 0;
    size_t n = 0;
    const char *how = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : NULL;
    bool line = lua_isnil(L, 2) || (how && strcmp(how, "line") == 0);
    bool available = how && strcmp(how, "available") == 0;
    if (!line && !available && !sm_net_whole(L, 2, 1, SM_NET_RECEIVE_MAX, &want))
        return luaL_error(L,
                          "connection:receive: expected \"line\", \"available\" or a number of "
                          "bytes up to %d",
                          (int)SM_NET_RECEIVE_MAX);
    double timeout = sm_net_read_timeout(L, 3, "connection:receive", c->timeout);
    if (c->fake)
        return ask_fake(L, c, "receive",
                        json_pack("{s:s, s:I, s:f}", "how",
                                  line        ? "line"
                                  : available ? "available"
                                              : "bytes",
                                  "bytes", (json_int_t)want, "timeout", timeout),
                        NULL, 0);
    sm_err err = SM_ERR_INIT;
    sm_netwait wait = wait_of(c, timeout);
    sm_rc rc = line        ? sm_netstream_line(c->s, &n, &wait, &err)
               : available ? sm_netstream_need(c->s, 1, &wait, &err)
                           : sm_netstream_need(c->s, (size_t)want, &wait, &err);
    if (rc != SM_OK)
        return failed(L, rc, err.msg);
    sm_net_check(L);
    size_t take = line ? n : available ? c->s->in.len : (size_t)want;
    n = take;
    if (line)
        n -= n > 1 && c->s->in.data[n - 2] == '\r' ? 2 : 1;
    lua_pushlstring(L, c->s->in.data, n);
    sm_buf_consume(&c->s->in, take);
    return 1;
}

static int conn_starttls(lua_State *L) {
    conn *c = talking(L, "starttls");
    lua_settop(L, 2);
    sm_netop *op = sm_net_ops_push(L, 1);
    sm_net_read_tls(L, 2, "connection:starttls", op);
    if (c->fake)
        return ask_fake(L, c, "starttls", json_incref(op->args), NULL, 0);
    if (c->s->ssl)
        return luaL_error(L, "connection:starttls: the connection has TLS already");
    sm_nettls o = {.servername = sm_json_str(op->args, "servername", c->s->host),
                   .verify = sm_json_bool(op->args, "verify", true),
                   .ca = op->ca,
                   .trust = op->ca ? NULL : sm_net_trust(c->run)};
    sm_err err = SM_ERR_INIT;
    sm_netwait wait = wait_of(c, c->timeout);
    sm_rc rc = sm_nettls_start(c->s, &o, &wait, NULL, &err);
    if (rc != SM_OK)
        return failed(L, rc, err.msg);
    sm_net_check(L);
    json_object_set_new(c->info, "protocol", json_string(SSL_get_version(c->s->ssl)));
    lua_pushboolean(L, 1);
    return 1;
}

static int conn_info(lua_State *L) {
    const conn *c = conn_at(L, "info");
    sm_luaval_push(L, c->info);
    return 1;
}

static int conn_end(lua_State *L) {
    conn_close(conn_at(L, "close"));
    return 0;
}

static int conn_tostring(lua_State *L) {
    const conn *c = luaL_checkudata(L, 1, conn_type);
    lua_pushfstring(L, "connection (%s)", c->open ? "open" : "closed");
    return 1;
}

void sm_net_conn_push(lua_State *L, sm_netop *op) {
    static const luaL_Reg methods[] = {{"send", conn_send},         {"receive", conn_receive},
                                       {"starttls", conn_starttls}, {"info", conn_info},
                                       {"close", conn_end},         {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__gc", conn_gc}, {"__close", conn_end}, {"__tostring", conn_tostring}, {NULL, NULL}};
    sm_run *run = sm_run_of(L);
    if (run->connections >= SM_NET_OPEN_MAX) {
        lua_gc(L, LUA_GCCOLLECT);
        if (run->connections >= SM_NET_OPEN_MAX)
            luaL_error(L, "net.open: more than %d connections are open; close some",
                       (int)SM_NET_OPEN_MAX);
    }
    conn *c = lua_newuserdatauv(L, sizeof *c, 0);
    memset(c, 0, sizeof *c);
    c->run = run;
    if (luaL_newmetatable(L, conn_type)) {
        luaL_setfuncs(L, meta, 0);
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
        lua_pushstring(L, conn_type);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    c->timeout = sm_json_num(op->args, "timeout", 10);
    c->fake = op->stream ? 0 : (json_int_t)sm_json_int(op->value, "conn", 1);
    c->s = op->stream;
    op->stream = NULL;
    c->info = op->value;
    op->value = NULL;
    c->open = true;
    run->connections++;
}
