/* http_opts: reads the options of one HTTP call strictly: unknown names, wrong types, numbers that
 * are no numbers, and bytes that could forge a header all raise, with the option's name and never
 * with a secret's value. Numbers above the host's ceilings are clamped.
 *
 * One function per option, one table of them. Raw reads only. Called by bind_http.
 */
#include "worker/http_opts.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include "worker/asking.h"
#include "worker/modules.h"
#include "worker/run.h"
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { METHOD_MAX = 32, TEXT_MAX = 8 << 10, PEM_MAX = 1 << 20, HEADERS_MAX = 256 };

/* What a reader of an option knows; the option's value is at the top of the stack. */
typedef struct reader {
    lua_State *L;
    const char *where;  /* "http.get" */
    const char *option; /* its name */
    sm_http_call *call;
    sm_fetch_req *req;
    size_t header_bytes;
} reader;

static void wrong(const reader *r, const char *expected) {
    const char *got = luaL_typename(r->L, -1);
    if (lua_type(r->L, -1) == LUA_TUSERDATA)
        got = sm_bind_secret_bytes(r->L, -1, &(size_t){0}) ? "a secret" : got;
    luaL_error(r->L, "%s: option \"%s\": expected %s, got %s", r->where, r->option, expected, got);
}

static void refuse(const reader *r, const char *why) {
    luaL_error(r->L, "%s: option \"%s\": %s", r->where, r->option, why);
}

static void replace(char **slot, const char *p, size_t n) {
    free(*slot);
    *slot = sm_memdup(p, n);
}

/* Bytes of a string or a secret at idx, else NULL. */
static const char *bytes_at(lua_State *L, int idx, size_t *n, bool *secret) {
    *secret = false;
    if (lua_type(L, idx) == LUA_TSTRING)
        return lua_tolstring(L, idx, n);
    const char *p = sm_bind_secret_bytes(L, idx, n);
    *secret = p != NULL;
    return p;
}

static bool has_control(const char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
            return true;
    return false;
}

/* ---- url and method ------------------------------------------------------------------------ */

void sm_http_url_read(lua_State *L, int idx, const char *where, sm_fetch_req *req) {
    size_t n = 0;
    sm_err err = SM_ERR_INIT;
    sm_fetch_url url;
    if (lua_type(L, idx) != LUA_TSTRING)
        luaL_error(L, "%s: url: expected a string, got %s", where, luaL_typename(L, idx));
    const char *text = lua_tolstring(L, idx, &n);
    if (sm_fetch_url_parse(text, n, &url, &err) != SM_OK) {
        /* What stands before an @ may be a password. */
        bool shown = n <= 200 && !memchr(text, '@', n) && !has_control(text, n);
        if (shown && sm_utf8_valid(text, n))
            luaL_error(L, "%s: url \"%s\" %s", where, text, err.msg);
        luaL_error(L, "%s: the url %s", where, err.msg);
    }
    free(req->url);
    req->url = url.url;
    url.url = NULL;
    sm_fetch_url_fini(&url);
}

static void read_url(reader *r) {
    sm_http_url_read(r->L, -1, r->where, r->req);
}

static void read_method(reader *r) {
    size_t n = 0;
    if (lua_type(r->L, -1) != LUA_TSTRING)
        wrong(r, "a method like \"GET\"");
    const char *p = lua_tolstring(r->L, -1, &n);
    if (!sm_fetch_token_ok(p, n) || n > METHOD_MAX)
        refuse(r, "not an HTTP method");
    if (n == 7 && strncasecmp(p, "CONNECT", n) == 0)
        refuse(r, "CONNECT is for proxies; use the option \"proxy\"");
    replace(&r->req->method, p, n);
    for (char *c = r->req->method; *c; c++)
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 32);
}

static void read_query(reader *r) {
    sm_http_pairs_read(r->L, -1, r->where, r->option, false, r->call);
    const sm_buf *b = &r->call->scratch;
    if (b->len == 0)
        return;
    char *old = r->req->url;
    const char *mark = strchr(old, '?');
    const char *join = !mark ? "?" : mark[1] ? "&" : "";
    size_t n = strlen(old) + strlen(join) + b->len;
    if (n > SM_FETCH_URL_MAX)
        luaL_error(r->L, "%s: option \"query\": the URL becomes longer than %d bytes", r->where,
                   (int)SM_FETCH_URL_MAX);
    r->req->url = sm_asprintf("%s%s%s", old, join, b->data);
    free(old);
}

/* ---- headers and body ---------------------------------------------------------------------- */

/* The value at the top, for header `name`. */
static void add_header(reader *r, const char *name) {
    char tmp[64];
    size_t n = 0, name_n = strlen(name);
    sm_err err = SM_ERR_INIT;
    const char *p = sm_bind_secret_bytes(r->L, -1, &n);
    if (!p && !lua_isboolean(r->L, -1))
        p = sm_http_scalar(r->L, -1, tmp, &n);
    if (!p)
        luaL_error(r->L,
                   "%s: option \"headers\": %s: expected a string, number, secret or list of "
                   "these, got %s",
                   r->where, name, luaL_typename(r->L, -1));
    if (sm_fetch_header_ok(name, name_n, p, n, &err) != SM_OK)
        luaL_error(r->L, "%s: option \"headers\": %s", r->where, err.msg);
    r->header_bytes += name_n + n + 4;
    if (r->header_bytes > SM_FETCH_REQ_HEADERS_MAX || r->req->n_headers >= HEADERS_MAX)
        refuse(r, "too many or too long headers (256, 64 KiB)");
    sm_fetch_req_header(r->req, name, p, n);
}

static void read_headers(reader *r) {
    lua_State *L = r->L;
    size_t n = 0;
    if (!lua_istable(L, -1))
        wrong(r, "a table of names and values");
    int table = lua_absindex(L, -1);
    const sm_http_name *names = sm_http_names(L, table, r->where, r->option, &n);
    for (size_t i = 0; i < n; i++) {
        sm_err err = SM_ERR_INIT;
        if (sm_fetch_header_ok(names[i].p, names[i].n, "", 0, &err) != SM_OK)
            luaL_error(L, "%s: option \"headers\": %s", r->where, err.msg);
        lua_pushlstring(L, names[i].p, names[i].n); /* a token: it holds no NUL */
        if (lua_rawget(L, table) == LUA_TTABLE) {
            lua_Unsigned len = lua_rawlen(L, -1);
            for (lua_Unsigned k = 1; k <= len; k++) {
                lua_rawgeti(L, -1, (lua_Integer)k);
                add_header(r, names[i].p);
                lua_pop(L, 1);
            }
        } else {
            add_header(r, names[i].p);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void set_body(reader *r, const char *p, size_t n, const char *type) {
    if (r->req->body)
        luaL_error(r->L, "%s: give only one of body, json and form", r->where);
    r->req->body = sm_memdup(p, n);
    r->req->body_n = n;
    if (type)
        replace(&r->req->content_type, type, strlen(type));
}

static void read_body(reader *r) {
    size_t n = 0;
    bool secret = false;
    const char *p = bytes_at(r->L, -1, &n, &secret);
    if (!p)
        wrong(r, "a string or a secret");
    set_body(r, p, n, NULL);
    r->req->body_secret = secret;
}

static void read_json(reader *r) {
    lua_State *L = r->L;
    sm_http_push_cjson(L, false);
    lua_getfield(L, -1, "encode");
    lua_pushvalue(L, -3);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
        sm_run_check(L);
        const char *why =
            lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "cannot be encoded";
        luaL_error(L, "%s: option \"json\": %s", r->where, why);
    }
    size_t n = 0;
    const char *p = lua_tolstring(L, -1, &n);
    set_body(r, p, n, "application/json");
    lua_pop(L, 2);
}

static void read_form(reader *r) {
    sm_http_pairs_read(r->L, -1, r->where, r->option, true, r->call);
    const sm_buf *b = &r->call->scratch;
    set_body(r, b->data ? b->data : "", b->len, "application/x-www-form-urlencoded");
}

/* ---- numbers and switches ------------------------------------------------------------------ */

static void read_timeout(reader *r) {
    if (lua_type(r->L, -1) != LUA_TNUMBER)
        wrong(r, "a number of seconds");
    double s = lua_tonumber(r->L, -1);
    if (!isfinite(s) || s <= 0)
        refuse(r, "expected a number of seconds above 0");
    r->req->timeout_s = s < SM_FETCH_TIMEOUT_MAX ? s : SM_FETCH_TIMEOUT_MAX;
}

/* A whole number of at least min; NaN, infinity, fractions and strings raise. Clamped to max. */
static double whole(reader *r, double min, double max, const char *expected) {
    if (lua_type(r->L, -1) != LUA_TNUMBER)
        wrong(r, expected);
    double v = lua_tonumber(r->L, -1);
    if (!isfinite(v) || v < min || floor(v) != v)
        luaL_error(r->L, "%s: option \"%s\": expected %s", r->where, r->option, expected);
    return v < max ? v : max;
}

static void read_follow(reader *r) {
    if (lua_isboolean(r->L, -1))
        r->req->follow = lua_toboolean(r->L, -1) ? SM_FETCH_FOLLOW : 0;
    else
        r->req->follow = (int)whole(r, 0, SM_FETCH_FOLLOW_MAX, "a boolean or a count of redirects");
}

static void read_max_body(reader *r) {
    size_t limit = sm_run_of(r->L)->limits.http_body;
    r->req->max_body = (size_t)whole(r, 1, (double)limit, "a number of bytes, at least 1");
}

static void read_verify(reader *r) {
    if (!lua_isboolean(r->L, -1))
        wrong(r, "a boolean");
    r->req->verify = lua_toboolean(r->L, -1);
}

/* ---- credentials and TLS ------------------------------------------------------------------- */

/* Field `name` of the table at the top, or its n-th element: a string or a secret; NULL if absent.
 * Leaves the value on the stack. */
static const char *credential(reader *r, const char *name, int nth, size_t *n) {
    lua_State *L = r->L;
    bool secret = false;
    lua_pushstring(L, name);
    if (lua_rawget(L, -2) == LUA_TNIL && nth > 0) {
        lua_pop(L, 1);
        lua_rawgeti(L, -1, nth);
    }
    if (lua_isnil(L, -1))
        return NULL;
    const char *p = bytes_at(L, -1, n, &secret);
    if (!p || *n > TEXT_MAX || has_control(p, *n))
        luaL_error(L, "%s: option \"auth\": %s: expected a string or secret of one line", r->where,
                   name);
    return p;
}

static void read_auth(reader *r) {
    lua_State *L = r->L;
    static const char *const known[] = {"user", "pass", "bearer"};
    size_t n = 0;
    if (!lua_istable(L, -1))
        wrong(r, "{user, pass} or {bearer = token}");
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        bool ok = lua_isinteger(L, -2) && lua_tointeger(L, -2) >= 1 && lua_tointeger(L, -2) <= 2;
        for (size_t i = 0; i < SM_ARRAY_LEN(known); i++)
            ok = ok ||
                 (lua_type(L, -2) == LUA_TSTRING && strcmp(lua_tostring(L, -2), known[i]) == 0);
        if (!ok)
            refuse(r, "expected {user, pass} or {bearer = token}");
    }
    const char *bearer = credential(r, "bearer", 0, &n);
    if (bearer) {
        r->req->auth = SM_AUTH_BEARER;
        replace(&r->req->pass, bearer, n);
        lua_pop(L, 1);
        return;
    }
    lua_pop(L, 1);
    const char *user = credential(r, "user", 1, &n);
    if (!user || memchr(user, ':', n))
        refuse(r,
               user ? "a user cannot have a colon" : "expected {user, pass} or {bearer = token}");
    replace(&r->req->user, user, n);
    lua_pop(L, 1);
    const char *pass = credential(r, "pass", 2, &n);
    if (!pass)
        refuse(r, "the password is missing");
    replace(&r->req->pass, pass, n);
    lua_pop(L, 1);
    r->req->auth = SM_AUTH_BASIC;
}

/* From the daemon where there is one: this process may be confined. */
static sm_rc pem_file(const reader *r, const char *path, bool key, char **text, size_t *n,
                      sm_err *err) {
    sm_run *run = sm_run_of(r->L);
    sm_answer answer = {0};
    if (!run || !run->host || !run->host->ask)
        return sm_fsx_read(path, PEM_MAX, text, n, err);
    json_t *args = json_pack("{s:o, s:b}", "path", sm_json_text(path, strlen(path)), "key", key);
    sm_rc rc = run->host->ask(run->host->ctx, run, "pem", args, NULL, 0, &answer, err);
    json_decref(args);
    if (rc == SM_OK && !answer.body)
        rc = sm_err_set(err, SM_INVALID, "%s is empty", path);
    if (rc == SM_OK) {
        *text = answer.body;
        *n = answer.body_n;
        answer.body = NULL;
    }
    sm_answer_fini(&answer);
    return rc;
}

/* PEM as text or secret, or the absolute path of a PEM file, at the top of the stack. */
static void read_pem(reader *r, const char *what, bool needs_grant, char **slot) {
    lua_State *L = r->L;
    size_t n = 0;
    bool secret = false;
    sm_err err = SM_ERR_INIT;
    const char *p = bytes_at(L, -1, &n, &secret);
    if (!p)
        luaL_error(L, "%s: option \"%s\": %s: expected PEM text or the path of a PEM file, got %s",
                   r->where, r->option, what, luaL_typename(L, -1));
    if (n > PEM_MAX || memchr(p, '\0', n))
        luaL_error(L, "%s: option \"%s\": %s: not PEM text", r->where, r->option, what);
    if (strstr(p, "-----BEGIN")) {
        replace(slot, p, n);
        return;
    }
    if (secret || p[0] != '/' || has_control(p, n))
        luaL_error(L, "%s: option \"%s\": %s: expected PEM text or an absolute path", r->where,
                   r->option, what);
    if (needs_grant) {
        sm_run_permission(L, lua_pushfstring(L, "file:%s", p));
        lua_pop(L, 1);
    }
    free(*slot);
    *slot = NULL;
    sm_rc rc = pem_file(r, p, needs_grant, slot, &n, &err);
    sm_run_check(L);
    if (rc != SM_OK)
        luaL_error(L, "%s: option \"%s\": %s", r->where, r->option, err.msg);
    if (strlen(*slot) != n || !strstr(*slot, "-----BEGIN"))
        luaL_error(L, "%s: option \"%s\": %s is not a PEM file", r->where, r->option, p);
}

static void read_ca(reader *r) {
    read_pem(r, "CA", false, &r->req->ca);
}

static void read_cert(reader *r) {
    lua_State *L = r->L;
    if (!lua_istable(L, -1)) {
        read_pem(r, "certificate", true, &r->req->cert);
        replace(&r->req->key, r->req->cert, strlen(r->req->cert));
        return;
    }
    lua_pushliteral(L, "cert");
    lua_rawget(L, -2);
    read_pem(r, "cert", true, &r->req->cert);
    lua_pop(L, 1);
    lua_pushliteral(L, "key");
    lua_rawget(L, -2);
    read_pem(r, "key", true, &r->req->key);
    lua_pop(L, 1);
}

static void read_proxy(reader *r) {
    static const char *const schemes[] = {"http://", "https://", "socks5://", "socks5h://"};
    size_t n = 0;
    bool secret = false, ok = false;
    const char *p = bytes_at(r->L, -1, &n, &secret);
    if (!p)
        wrong(r, "a URL like \"http://proxy:3128\"");
    if (n == 0)
        return;
    for (size_t i = 0; i < SM_ARRAY_LEN(schemes); i++)
        ok = ok || strncasecmp(p, schemes[i], strlen(schemes[i])) == 0;
    if (!ok || n > TEXT_MAX || has_control(p, n))
        refuse(r, "expected a URL with http, https, socks5 or socks5h");
    replace(&r->req->proxy, p, n);
}

/* ---- all of them --------------------------------------------------------------------------- */

static const struct option {
    const char *name;
    void (*read)(reader *r);
    bool whole; /* only where url and method are options */
} options[] = {
    {"url", read_url, true},
    {"method", read_method, true},
    {"query", read_query, false},
    {"headers", read_headers, false},
    {"body", read_body, false},
    {"json", read_json, false},
    {"form", read_form, false},
    {"timeout", read_timeout, false},
    {"follow", read_follow, false},
    {"verify", read_verify, false},
    {"auth", read_auth, false},
    {"ca", read_ca, false},
    {"cert", read_cert, false},
    {"proxy", read_proxy, false},
    {"max_body", read_max_body, false},
};
enum { N_OPTIONS = SM_ARRAY_LEN(options) };

static void check_known(lua_State *L, int idx, const char *where, bool is_whole) {
    const char *names[N_OPTIONS];
    char hint[128];
    size_t n = 0, count = 0;
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (is_whole || !options[i].whole)
            names[n++] = options[i].name;
    const sm_http_name *given = sm_http_names(L, idx, where, "(the table of options)", &count);
    for (size_t i = 0; i < count; i++) {
        bool known = false, elsewhere = false;
        for (size_t k = 0; k < N_OPTIONS; k++) {
            bool same = strlen(options[k].name) == given[i].n &&
                        memcmp(given[i].p, options[k].name, given[i].n) == 0;
            known = known || (same && (is_whole || !options[k].whole));
            elsewhere = elsewhere || same;
        }
        if (known)
            continue;
        if (elsewhere)
            luaL_error(L, "%s: option \"%s\" is for http.request and http.all only", where,
                       given[i].p);
        char *shown = sm_str_printable(given[i].p, given[i].n, 64);
        lua_pushstring(L, shown);
        free(shown);
        luaL_error(L, "%s: unknown option \"%s\"%s", where, lua_tostring(L, -1),
                   sm_str_hint(given[i].p, names, n, hint, sizeof(hint)));
    }
    lua_pop(L, 1);
}

void sm_http_opts_read(lua_State *L, int idx, const char *where, bool is_whole, sm_http_call *call,
                       sm_fetch_req *req) {
    idx = lua_absindex(L, idx);
    if (!lua_istable(L, idx))
        luaL_error(L, "%s: expected a table of options, got %s", where, luaL_typename(L, idx));
    check_known(L, idx, where, is_whole);
    for (size_t i = 0; i < N_OPTIONS; i++) {
        reader r = {L, where, options[i].name, call, req, 0};
        if (options[i].whole && !is_whole)
            continue;
        lua_pushstring(L, options[i].name);
        if (lua_rawget(L, idx) != LUA_TNIL)
            options[i].read(&r);
        else if (options[i].read == read_url)
            luaL_error(L, "%s: url is missing", where);
        lua_pop(L, 1);
    }
    if (req->body && strcmp(req->method, "HEAD") == 0)
        luaL_error(L, "%s: a HEAD request has no body", where);
}
