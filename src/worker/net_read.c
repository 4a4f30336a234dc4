/* net_read: the arguments and options of selfmon.net, read strictly (see net_read.h). One table of
 * options per function; unknown names raise with the nearest known one, numbers above a ceiling
 * are clamped where that is harmless, else refused. A secret is taken only for bytes to send.
 */
#include "worker/net_read.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include "worker/asking.h"
#include "worker/dnsmsg.h"
#include "worker/fetch.h"
#include "worker/http_opts.h"
#include "worker/modules.h"
#include "worker/nettls.h"
#include <arpa/inet.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 1024, SEND_MAX = 1 << 20, PEM_MAX = 1 << 20, OPTIONS_MAX = 8 };

/* What a reader of an option knows; the value is at the top of the stack. */
typedef struct reader {
    lua_State *L;
    const char *where;
    const sm_net_option *o;
    sm_netop *op;
    json_t *args; /* where it goes: op->args, or a table in it */
} reader;

static void wrong(const reader *r, const char *expected) {
    const char *got = luaL_typename(r->L, -1);
    if (lua_type(r->L, -1) == LUA_TUSERDATA)
        got = sm_bind_secret_bytes(r->L, -1, &(size_t){0}) ? "a secret" : got;
    luaL_error(r->L, "%s: option \"%s\": expected %s, got %s", r->where, r->o->name, expected, got);
}

static void set(const reader *r, json_t *value) {
    json_object_set_new(r->args, r->o->name, value);
}

static bool plain(const char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
            return false;
    return sm_utf8_valid(p, n);
}

static void read_seconds(const reader *r) {
    double s = lua_type(r->L, -1) == LUA_TNUMBER ? lua_tonumber(r->L, -1) : 0;
    if (!(isfinite(s) && s > 0))
        wrong(r, "a number of seconds above 0");
    set(r, json_real(s < r->o->max ? s : r->o->max));
}

bool sm_net_whole(lua_State *L, int idx, double min, double max, lua_Integer *v) {
    int exact = 0;
    *v = lua_type(L, idx) == LUA_TNUMBER ? lua_tointegerx(L, idx, &exact) : 0;
    return exact && (double)*v >= min && (double)*v <= max;
}

static void read_whole(const reader *r) {
    lua_Integer v;
    if (!sm_net_whole(r->L, -1, r->o->min, r->o->max, &v))
        luaL_error(r->L, "%s: option \"%s\": expected a whole number from %d to %d", r->where,
                   r->o->name, (int)r->o->min, (int)r->o->max);
    set(r, json_integer(v));
}

static void read_text(const reader *r) {
    size_t n = 0;
    const char *p = lua_type(r->L, -1) == LUA_TSTRING ? lua_tolstring(r->L, -1, &n) : NULL;
    if (!p || n == 0 || n > TEXT_MAX || !plain(p, n))
        wrong(r, "a text of one line");
    set(r, json_stringn(p, n));
}

static void read_bytes(const reader *r) {
    size_t n = 0;
    const char *p = lua_type(r->L, -1) == LUA_TSTRING ? lua_tolstring(r->L, -1, &n)
                                                      : sm_bind_secret_bytes(r->L, -1, &n);
    if (!p)
        wrong(r, "a string or a secret");
    if (n > SEND_MAX)
        luaL_error(r->L, "%s: option \"%s\": more than %d bytes", r->where, r->o->name,
                   (int)SEND_MAX);
    r->op->send = sm_memdup(p, n);
    r->op->send_n = n;
}

static void read_word(const reader *r) {
    const char *p = lua_type(r->L, -1) == LUA_TSTRING ? lua_tostring(r->L, -1) : "";
    for (size_t i = 0; r->o->words[i]; i++) {
        if (strcmp(r->o->words[i], p) == 0) {
            set(r, json_string(p));
            return;
        }
    }
    luaL_Buffer b;
    luaL_buffinit(r->L, &b);
    for (size_t i = 0; r->o->words[i]; i++) {
        luaL_addstring(&b, i ? ", " : "");
        luaL_addstring(&b, r->o->words[i]);
    }
    luaL_pushresult(&b);
    luaL_error(r->L, "%s: option \"%s\": expected one of %s", r->where, r->o->name,
               lua_tostring(r->L, -1));
}

static void read_line(const reader *r) {
    lua_Integer v;
    if (lua_type(r->L, -1) == LUA_TSTRING && strcmp(lua_tostring(r->L, -1), "line") == 0)
        set(r, json_string("line"));
    else if (sm_net_whole(r->L, -1, 1, SM_NET_RECEIVE_MAX, &v))
        set(r, json_integer(v));
    else
        luaL_error(r->L, "%s: option \"%s\": expected \"line\" or a number of bytes up to %d",
                   r->where, r->o->name, (int)SM_NET_RECEIVE_MAX);
}

/* Reads the file through the daemon, as http's `ca` does: a worker sees none of the script's. */
static void pem_file(const reader *r, const char *path) {
    sm_run *run = sm_run_of(r->L);
    sm_err err = SM_ERR_INIT;
    sm_answer answer = {0};
    size_t n = 0;
    sm_rc rc;
    if (!run->host || !run->host->ask) {
        rc = sm_fsx_read(path, PEM_MAX, &r->op->ca, &n, &err);
    } else {
        json_t *args = json_pack("{s:o, s:b}", "path", sm_json_text(path, strlen(path)), "key", 0);
        rc = run->host->ask(run->host->ctx, run, "pem", args, NULL, 0, &answer, &err);
        json_decref(args);
        r->op->ca = answer.body;
        answer.body = NULL;
        sm_answer_fini(&answer);
    }
    sm_run_check(r->L);
    if (rc != SM_OK)
        luaL_error(r->L, "%s: option \"%s\": %s", r->where, r->o->name, err.msg);
}

static void read_pem(const reader *r) {
    size_t n = 0;
    const char *p = lua_type(r->L, -1) == LUA_TSTRING ? lua_tolstring(r->L, -1, &n) : NULL;
    if (!p || n > PEM_MAX || memchr(p, '\0', n) || (p[0] != '/' && !strstr(p, "-----BEGIN")))
        wrong(r, "PEM text or the absolute path of a PEM file");
    free(r->op->ca);
    r->op->ca = NULL;
    if (strstr(p, "-----BEGIN"))
        r->op->ca = sm_memdup(p, n);
    else
        pem_file(r, p);
    if (!r->op->ca || !strstr(r->op->ca, "-----BEGIN"))
        luaL_error(r->L, "%s: option \"%s\": not a PEM file", r->where, r->o->name);
}

/* "192.0.2.1", "192.0.2.1:5353", "[::1]:53", "::1": a name server by its address. */
static void read_server(const reader *r) {
    size_t n = 0;
    char host[SM_NET_HOST_MAX + 1];
    uint8_t a[16];
    long port = 53;
    const char *p = lua_type(r->L, -1) == LUA_TSTRING ? lua_tolstring(r->L, -1, &n) : "";
    const char *close = p[0] == '[' ? strchr(p, ']') : NULL, *colon = strchr(p, ':');
    const char *end = p + n, *from = p;
    if (close) {
        from = p + 1;
        end = close;
        colon = close[1] == ':' ? close + 1 : NULL;
    } else if (colon && !strchr(colon + 1, ':')) {
        end = colon;
    } else {
        colon = NULL;
    }
    bool ok = end - from > 0 && end - from < (long)sizeof host && strlen(p) == n;
    if (ok) {
        memcpy(host, from, (size_t)(end - from));
        host[end - from] = '\0';
        ok = inet_pton(AF_INET, host, a) == 1 || inet_pton(AF_INET6, host, a) == 1;
    }
    if (ok && colon) {
        char *last = NULL;
        port = strtol(colon + 1, &last, 10);
        ok = colon[1] >= '0' && colon[1] <= '9' && *last == '\0' && port >= 1 && port <= 65535;
    }
    if (!ok)
        wrong(r, "the address of a name server such as \"192.0.2.53\" or \"127.0.0.1:5353\"");
    json_object_set_new(r->args, "server", json_string(host));
    json_object_set_new(r->args, "port", json_integer(port));
}

/* ---- options ------------------------------------------------------------------------------- */

static const sm_net_option tls_options[] = {{"servername", SM_NET_TEXT, 0, 0, 0},
                                            {"verify", SM_NET_FLAG, 0, 0, 0},
                                            {"ca", SM_NET_PEM, 0, 0, 0},
                                            {0}};

static void read_tls(const reader *r) {
    json_t *o = json_object();
    set(r, o); /* owned by args from here: what follows may raise */
    if (lua_istable(r->L, -1))
        sm_net_read_options(r->L, -1, r->where, tls_options, r->op, o);
    else if (!lua_isboolean(r->L, -1))
        wrong(r, "true or a table such as {servername = \"mail.example\"}");
    else if (!lua_toboolean(r->L, -1))
        json_object_del(r->args, r->o->name);
}

static void read_one(const reader *r) {
    switch (r->o->kind) {
    case SM_NET_SECONDS:
        read_seconds(r);
        break;
    case SM_NET_WHOLE:
        read_whole(r);
        break;
    case SM_NET_TEXT:
        read_text(r);
        break;
    case SM_NET_BYTES:
        read_bytes(r);
        break;
    case SM_NET_FLAG:
        if (!lua_isboolean(r->L, -1))
            wrong(r, "a boolean");
        set(r, json_boolean(lua_toboolean(r->L, -1)));
        break;
    case SM_NET_WORD:
        read_word(r);
        break;
    case SM_NET_LINE:
        read_line(r);
        break;
    case SM_NET_TLS:
        read_tls(r);
        break;
    case SM_NET_PEM:
        read_pem(r);
        break;
    case SM_NET_SERVER:
        read_server(r);
        break;
    }
}

static void check_known(lua_State *L, int idx, const char *where, const sm_net_option *list) {
    const char *names[OPTIONS_MAX];
    char hint[128];
    size_t n = 0, count = 0;
    for (; list[n].name; n++)
        names[n] = list[n].name;
    const sm_http_name *given = sm_http_names(L, idx, where, "(the table of options)", &count);
    for (size_t i = 0; i < count; i++) {
        bool known = false;
        for (size_t k = 0; k < n; k++)
            known = known || (strlen(names[k]) == given[i].n &&
                              memcmp(given[i].p, names[k], given[i].n) == 0);
        if (known)
            continue;
        char *shown = sm_str_printable(given[i].p, given[i].n, 64);
        lua_pushstring(L, shown);
        free(shown);
        luaL_error(L, "%s: unknown option \"%s\"%s", where, lua_tostring(L, -1),
                   sm_str_hint(given[i].p, names, n, hint, sizeof hint));
    }
    lua_pop(L, 1);
}

void sm_net_read_options(lua_State *L, int idx, const char *where, const sm_net_option *list,
                         sm_netop *op, json_t *args) {
    if (lua_isnoneornil(L, idx))
        return;
    idx = lua_absindex(L, idx);
    if (!lua_istable(L, idx))
        luaL_error(L, "%s: expected a table of options, got %s", where, luaL_typename(L, idx));
    check_known(L, idx, where, list);
    for (; list->name; list++) {
        reader r = {L, where, list, op, args};
        lua_pushstring(L, list->name);
        if (lua_rawget(L, idx) != LUA_TNIL)
            read_one(&r);
        lua_pop(L, 1);
    }
}

void sm_net_read_tls(lua_State *L, int idx, const char *where, sm_netop *op) {
    sm_net_read_options(L, idx, where, tls_options, op, op->args);
}

double sm_net_read_timeout(lua_State *L, int idx, const char *where, double def) {
    if (lua_isnoneornil(L, idx))
        return def;
    double s = lua_type(L, idx) == LUA_TNUMBER ? lua_tonumber(L, idx) : 0;
    if (!(isfinite(s) && s > 0))
        luaL_error(L, "%s: timeout: expected a number of seconds above 0", where);
    return s < SM_FETCH_TIMEOUT_MAX ? s : SM_FETCH_TIMEOUT_MAX;
}
