/* internal_fake: HTTP as a Lua function of the test answers it: the world of a run that
 * `selfmon.internal` executes.
 *
 * Redirects are followed by the same rules as the engine's (worker/fetch), so that a fake 302 does
 * what a real one does. A function that raises makes the script's call raise. Runs on the thread
 * that owns both states, the test's (outer) and the script's.
 */
#include "worker/internal.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "worker/http_opts.h"
#include "worker/vm.h"
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What one question to the function needs; on the C stack of ask(). */
typedef struct question {
    const sm_trial *trial;
    sm_run *run;
    const sm_fetch_req *req;
    sm_fetch_res *res;
} question;

static void set_string(lua_State *L, const char *key, const char *p, size_t n) {
    if (!p)
        return;
    lua_pushlstring(L, p, n);
    lua_setfield(L, -2, key);
}

static void set_text(lua_State *L, const char *key, const char *text) {
    set_string(L, key, text, text ? strlen(text) : 0);
}

/* The request as the function sees it. [-0, +1, e] */
static void push_request(lua_State *L, const question *q) {
    const sm_fetch_req *req = q->req;
    char where[320];
    lua_createtable(L, 0, 10);
    set_text(L, "method", req->method);
    set_text(L, "url", req->url);
    set_string(L, "body", req->body, req->body_n);
    set_text(L, "content_type", req->content_type);
    lua_pushnumber(L, req->timeout_s);
    lua_setfield(L, -2, "timeout");
    lua_pushboolean(L, req->verify);
    lua_setfield(L, -2, "verify");
    set_text(L, "proxy", req->proxy);
    if (req->auth != SM_AUTH_NONE) {
        set_text(L, "auth", req->auth == SM_AUTH_BASIC ? "basic" : "bearer");
        set_text(L, "user", req->user);
        set_text(L, "password", req->pass);
    }
    lua_createtable(L, 0, (int)req->n_headers);
    for (size_t i = 0; i < req->n_headers; i++)
        set_string(L, req->headers[i].name, req->headers[i].value, req->headers[i].n);
    lua_setfield(L, -2, "headers");
    sm_vm_where(atomic_load(&q->run->current), where, sizeof where);
    set_text(L, "where", where);
}

static double number_field(lua_State *L, int idx, const char *key, double def) {
    double v = def;
    if (lua_getfield(L, idx, key) == LUA_TNUMBER)
        v = lua_tonumber(L, -1);
    else if (!lua_isnil(L, -1))
        luaL_error(L, "fake answer: %s: expected a number, got %s", key, luaL_typename(L, -1));
    lua_pop(L, 1);
    return v;
}

/* malloc'd, or NULL when absent. */
static char *text_field(lua_State *L, int idx, const char *key, size_t *n) {
    size_t len = 0;
    char *copy = NULL;
    int type = lua_getfield(L, idx, key);
    if (type == LUA_TSTRING || type == LUA_TNUMBER) {
        const char *p = lua_tolstring(L, -1, &len);
        copy = sm_memdup(p, len);
    } else if (type != LUA_TNIL) {
        luaL_error(L, "fake answer: %s: expected a string, got %s", key, luaL_typename(L, -1));
    }
    lua_pop(L, 1);
    if (n)
        *n = len;
    return copy;
}

/* Pushes the table in field `key` and answers true, or pushes nothing. */
static bool push_table(lua_State *L, int idx, const char *key) {
    int type = lua_getfield(L, idx, key);
    if (type == LUA_TTABLE)
        return true;
    if (type != LUA_TNIL)
        luaL_error(L, "fake answer: %s: expected a table, got %s", key, luaL_typename(L, -1));
    lua_pop(L, 1);
    return false;
}

static void read_headers(lua_State *L, sm_fetch_res *res) {
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        size_t n;
        if (lua_type(L, -2) != LUA_TSTRING || !lua_isstring(L, -1))
            luaL_error(L, "fake answer: headers: expected names and texts");
        const char *value = luaL_tolstring(L, -1, &n);
        sm_fetch_res_header(res, lua_tostring(L, -3), lua_rawlen(L, -3), value, n);
        lua_pop(L, 2);
    }
}

static void read_tls(lua_State *L, int idx, sm_fetch_tls *tls) {
    tls->present = true;
    lua_getfield(L, idx, "verified");
    tls->verified = lua_isnil(L, -1) || lua_toboolean(L, -1);
    lua_pop(L, 1);
    tls->subject = text_field(L, idx, "subject", NULL);
    tls->issuer = text_field(L, idx, "issuer", NULL);
    tls->not_before = (int64_t)number_field(L, idx, "not_before", 0);
    tls->not_after = (int64_t)number_field(L, idx, "not_after", 0);
    tls->days_left = number_field(L, idx, "days_left", 0);
    if (!push_table(L, idx, "san"))
        return;
    size_t n = lua_rawlen(L, -1);
    tls->san = sm_calloc(n + 1, sizeof *tls->san);
    for (size_t i = 1; i <= n; i++) {
        if (lua_rawgeti(L, -1, (lua_Integer)i) == LUA_TSTRING)
            tls->san[tls->n_san++] = sm_strdup(lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_answer(lua_State *L, int idx, sm_fetch_res *res) {
    res->status = (int)number_field(L, idx, "status", 200);
    res->body = text_field(L, idx, "body", &res->body_n);
    free(res->remote_ip);
    res->remote_ip = text_field(L, idx, "remote_ip", NULL);
    if (!res->remote_ip)
        res->remote_ip = sm_strdup("192.0.2.1"); /* RFC 5737: for documentation */
    res->http_version = "1.1";
    if (push_table(L, idx, "headers")) {
        read_headers(L, res);
        lua_pop(L, 1);
    }
    if (push_table(L, idx, "timings")) {
        int t = lua_gettop(L);
        res->dns = number_field(L, t, "dns", 0);
        res->connect = number_field(L, t, "connect", 0);
        res->handshake = number_field(L, t, "tls", 0);
        res->ttfb = number_field(L, t, "ttfb", 0);
        res->total = number_field(L, t, "total", 0);
        lua_pop(L, 1);
    }
    if (push_table(L, idx, "tls")) {
        read_tls(L, lua_gettop(L), &res->tls);
        lua_pop(L, 1);
    }
}

/* The engine's own codes; another word becomes "connect". Static. */
static const char *error_code(const char *word) {
    static const char *const codes[] = {"dns",      "connect", "timeout",   "tls",
                                        "redirect", "denied",  "too_large", "partial",
                                        "protocol", "closed",  "cancelled"};
    for (size_t i = 0; i < SM_ARRAY_LEN(codes); i++)
        if (word && strcmp(codes[i], word) == 0)
            return codes[i];
    return "connect";
}

bool sm_internal_push_fake(lua_State *L, const sm_trial *t, int which) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, t);
    int type = lua_rawgeti(L, -1, which);
    lua_remove(L, -2);
    return type == LUA_TFUNCTION;
}

/* […, keep] -> nothing: asks the world instead, one hop, and shows keep() what it said: the result,
 * or nil, sentence, code. */
static void ask_world(lua_State *L, const question *q) {
    const sm_run *outer = sm_run_of(L);
    sm_fetch_req hop = *q->req;
    hop.follow = 0;
    sm_fetch_res_fini(q->res);
    sm_fetch_res_init(q->res);
    outer->host->fetch(outer->host->ctx, q->run, &hop, q->res, 1);
    if (q->res->code) {
        lua_pushnil(L);
        lua_pushstring(L, q->res->error);
        lua_pushstring(L, q->res->code);
        lua_call(L, 3, 0);
    } else {
        sm_http_result_push(L, q->res);
        lua_call(L, 1, 0);
    }
}

/* [question] -> nothing: calls the function and reads what it answers. */
static int protected_ask(lua_State *L) {
    question *q = lua_touserdata(L, 1);
    if (!sm_internal_push_fake(L, q->trial, SM_FAKE_HTTP))
        return luaL_error(L, "network call in a test: %s %s has no fake", q->req->method,
                          q->req->url);
    push_request(L, q);
    lua_call(L, 1, 3);
    int first = lua_gettop(L) - 2;
    if (lua_istable(L, first)) {
        read_answer(L, first, q->res);
    } else if (lua_isboolean(L, first) && lua_isfunction(L, first + 1)) {
        lua_settop(L, first + 1);
        ask_world(L, q);
    } else if (lua_isnil(L, first) && lua_type(L, first + 1) == LUA_TSTRING) {
        sm_fetch_res_fail(q->res, error_code(lua_tostring(L, first + 2)), "%s",
                          lua_tostring(L, first + 1));
    } else {
        return luaL_error(L, "a fake route must give a table, or nil and a message; got %s",
                          luaL_typename(L, first));
    }
    return 0;
}

/* The engine's own sentence. */
static void fail_late(const question *q) {
    sm_fetch_url url;
    bool parsed = sm_fetch_url_parse(q->req->url, strlen(q->req->url), &url, NULL) == SM_OK;
    sm_fetch_res_fail(q->res, "timeout", "%s: no answer came within %.3g s",
                      parsed ? url.name : "the server", q->req->timeout_s);
    if (parsed)
        sm_fetch_url_fini(&url);
}

/* Moves the run's clock by what the answer took; one that took too long is no answer. */
static void spend(const question *q) {
    struct sm_runclock *clock = q->trial->host.clock;
    double s = q->res->total, most = q->req->timeout_s;
    if (!clock || q->res->raise)
        return;
    if (!q->res->code && s > most)
        fail_late(q);
    if (q->res->code && strcmp(q->res->code, "timeout") == 0 && s <= 0)
        s = most;
    if (s > most)
        s = most;
    if (s > 0)
        sm_runclock_move(clock, (int64_t)(s * (double)SM_NS_PER_S));
}

static void ask(const question *q) {
    lua_State *L = q->trial->outer;
    int top = lua_gettop(L);
    if (!lua_checkstack(L, 4)) {
        sm_fetch_res_fail(q->res, "connect", "too many calls inside each other");
        return;
    }
    lua_pushcfunction(L, protected_ask);
    lua_pushlightuserdata(L, (void *)(uintptr_t)q);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        const char *msg = lua_tostring(L, -1);
        sm_fetch_res_fail(q->res, "connect", "%s", msg ? msg : "the fake route raised");
        q->res->raise = true;
    }
    lua_settop(L, top);
    spend(q);
}

static void fetch_one(const question *first) {
    question q = *first;
    sm_fetch_req next;
    bool followed = false;
    for (;;) {
        sm_fetch_req then;
        sm_err err = SM_ERR_INIT;
        q.res->url = sm_strdup(q.req->url);
        ask(&q);
        if (q.res->code)
            break;
        sm_redirect r = sm_redirect_next(q.req, q.res, &then, &err);
        if (r == SM_REDIRECT_REFUSED)
            sm_fetch_res_fail(q.res, "redirect", "%s", err.msg);
        if (r != SM_REDIRECT_FOLLOW)
            break;
        int hops = q.res->redirects + 1;
        sm_fetch_res_fini(q.res);
        sm_fetch_res_init(q.res);
        q.res->redirects = hops;
        if (followed)
            sm_fetch_req_fini(&next);
        next = then;
        followed = true;
        q.req = &next;
    }
    if (followed)
        sm_fetch_req_fini(&next);
}

void sm_internal_fetch(void *ctx, sm_run *run, const sm_fetch_req *reqs, sm_fetch_res *res,
                       size_t n) {
    const sm_trial *t = ctx;
    struct sm_runclock *clock = t->host.clock, before = {0}, after = {0};
    if (clock)
        before = after = *clock;
    for (size_t i = 0; i < n; i++) {
        if (clock) /* requests of one call begin together */
            *clock = before;
        if (atomic_load(&run->stop) != SM_STOP_NONE) {
            sm_fetch_res_fail(&res[i], "cancelled", "the run was stopped");
            continue;
        }
        question q = {.trial = ctx, .run = run, .req = &reqs[i], .res = &res[i]};
        fetch_one(&q);
        if (clock && clock->mono_ns > after.mono_ns)
            after = *clock;
    }
    if (clock)
        *clock = after;
    sm_runclock_judge(run);
}
