/* net_args: the arguments of each function of selfmon.net: hosts, ports, names and which options
 * there are (net_read.c reads those). Raises for a wrong call. Called by bind_net.c.
 */
#include "worker/net_read.h"
#include "base/mem.h"
#include "base/str.h"
#include "worker/dnsmsg.h"
#include "worker/fetch.h"
#include "worker/nettls.h"
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

/* ---- hosts --------------------------------------------------------------------------------- */

/* A host as scripts write it, made lower case and without brackets; other letters become their
 * IDNA form. Raises. New reference. */
static json_t *host_text(lua_State *L, const char *p, size_t n, const char *where,
                         const char *what) {
    static const char usual[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.:%";
    char low[SM_NET_HOST_MAX + 3];
    if (n > 2 && p[0] == '[' && p[n - 1] == ']' && memchr(p, ':', n)) {
        p++;
        n -= 2;
    }
    if (n == 0 || n > SM_NET_HOST_MAX)
        luaL_error(L, "%s: %s: expected a name or an address of 1 to %d bytes", where, what,
                   (int)SM_NET_HOST_MAX);
    bool ascii = true;
    for (size_t i = 0; i < n; i++) {
        low[i] = (char)(p[i] >= 'A' && p[i] <= 'Z' ? p[i] + 32 : p[i]);
        ascii = ascii && (unsigned char)p[i] < 0x80;
    }
    low[n] = '\0';
    const char *colon = strchr(low, ':');
    if (ascii && strspn(low, usual) == n && !(colon && !strchr(colon + 1, ':')))
        return json_string(low);
    if (!ascii && sm_utf8_valid(p, n)) {
        sm_err err = SM_ERR_INIT;
        sm_fetch_url url;
        char *text = sm_asprintf("http://%s/", low);
        sm_rc rc = sm_fetch_url_parse(text, strlen(text), &url, &err);
        free(text);
        if (rc == SM_OK) {
            json_t *out = json_string(url.host);
            sm_fetch_url_fini(&url);
            return out;
        }
    }
    char *shown = sm_str_printable(p, n, 80);
    lua_pushstring(L, shown);
    free(shown);
    if (ascii && colon)
        luaL_error(L,
                   "%s: %s \"%s\": expected a name or an address; give the port as a number of "
                   "its own",
                   where, what, lua_tostring(L, -1));
    luaL_error(L, "%s: %s \"%s\": expected a name or an address", where, what, lua_tostring(L, -1));
    return NULL;
}

static void read_host(lua_State *L, int idx, const char *where, sm_netop *op) {
    size_t n = 0;
    if (lua_type(L, idx) != LUA_TSTRING)
        luaL_error(L, "%s: host: expected a string, got %s", where, luaL_typename(L, idx));
    const char *p = lua_tolstring(L, idx, &n);
    json_object_set_new(op->args, "host", host_text(L, p, n, where, "host"));
}

/* nil is def where that is not 0. */
static void read_port(lua_State *L, int idx, const char *where, int def, sm_netop *op) {
    lua_Integer v = def;
    if (!(def && lua_isnoneornil(L, idx)) && !sm_net_whole(L, idx, 1, 65535, &v))
        luaL_error(L, "%s: port: expected a whole number from 1 to 65535, got %s", where,
                   lua_type(L, idx) == LUA_TNUMBER ? luaL_tolstring(L, idx, NULL)
                                                   : luaL_typename(L, idx));
    json_object_set_new(op->args, "port", json_integer(v));
}

static void seconds_default(sm_netop *op, double s) {
    if (!json_object_get(op->args, "timeout"))
        json_object_set_new(op->args, "timeout", json_real(s));
}

/* ---- the functions' arguments -------------------------------------------------------------- */

static void read_tcp_args(lua_State *L, int base, const char *where, sm_netop *op) {
    static const sm_net_option list[] = {{"timeout", SM_NET_SECONDS, 0, SM_FETCH_TIMEOUT_MAX, 0},
                                         {"send", SM_NET_BYTES, 0, 0, 0},
                                         {"expect", SM_NET_TEXT, 0, 0, 0},
                                         {"read", SM_NET_LINE, 0, 0, 0},
                                         {0}};
    read_host(L, base, where, op);
    read_port(L, base + 1, where, 0, op);
    sm_net_read_options(L, base + 2, where, list, op, op->args);
    if (json_object_get(op->args, "expect") && json_object_get(op->args, "read"))
        luaL_error(L, "%s: give only one of expect and read", where);
    seconds_default(op, 10);
}

static void read_open_args(lua_State *L, int base, const char *where, sm_netop *op) {
    static const sm_net_option list[] = {
        {"timeout", SM_NET_SECONDS, 0, SM_FETCH_TIMEOUT_MAX, 0}, {"tls", SM_NET_TLS, 0, 0, 0}, {0}};
    read_host(L, base, where, op);
    read_port(L, base + 1, where, 0, op);
    sm_net_read_options(L, base + 2, where, list, op, op->args);
    seconds_default(op, 10);
}

static int starttls_port(const char *protocol) {
    static const int ports[] = {25, 143, 110, 21, 5432, 3306};
    for (size_t i = 0; protocol && sm_nettls_protocols[i]; i++)
        if (strcmp(sm_nettls_protocols[i], protocol) == 0)
            return ports[i];
    return 443;
}

static void read_tls_args(lua_State *L, int base, const char *where, sm_netop *op) {
    static const sm_net_option list[] = {{"timeout", SM_NET_SECONDS, 0, SM_FETCH_TIMEOUT_MAX, 0},
                                         {"servername", SM_NET_TEXT, 0, 0, 0},
                                         {"starttls", SM_NET_WORD, 0, 0, sm_nettls_protocols},
                                         {"verify_time", SM_NET_WHOLE, 1, INT32_MAX, 0},
                                         {"ca", SM_NET_PEM, 0, 0, 0},
                                         {0}};
    read_host(L, base, where, op);
    sm_net_read_options(L, base + 2, where, list, op, op->args);
    read_port(L, base + 1, where, starttls_port(sm_json_str(op->args, "starttls", NULL)), op);
    seconds_default(op, 10);
}

/* An address is asked for by PTR in the form that name servers know. */
static void read_name(lua_State *L, int idx, const char *where, sm_netop *op) {
    uint8_t question[SM_DNS_QUESTION_MAX];
    sm_err err = SM_ERR_INIT;
    char reverse[80];
    size_t n = 0;
    if (lua_type(L, idx) != LUA_TSTRING)
        luaL_error(L, "%s: name: expected a string, got %s", where, luaL_typename(L, idx));
    const char *p = lua_tolstring(L, idx, &n);
    int type = sm_dns_type(sm_json_str(op->args, "type", "A"));
    if (type == sm_dns_type("PTR") && strlen(p) == n && sm_dns_reverse(p, reverse))
        json_object_set_new(op->args, "name", json_string(reverse));
    else if (n == 1 && p[0] == '.')
        json_object_set_new(op->args, "name", json_string("."));
    else
        json_object_set_new(op->args, "name", host_text(L, p, n, where, "name"));
    if (sm_dns_question(sm_json_str(op->args, "name", ""), type, 0, question, &n, &err) != SM_OK)
        luaL_error(L, "%s: name: %s", where, err.msg);
}

static void read_dns_args(lua_State *L, int base, const char *where, sm_netop *op) {
    static const char *const protocols[] = {"udp", "tcp", NULL};
    static const sm_net_option list[] = {{"timeout", SM_NET_SECONDS, 0, SM_FETCH_TIMEOUT_MAX, 0},
                                         {"server", SM_NET_SERVER, 0, 0, 0},
                                         {"protocol", SM_NET_WORD, 0, 0, protocols},
                                         {0}};
    const char *type = "A";
    char hint[64];
    size_t n = 0;
    if (lua_istable(L, base + 1) && lua_isnoneornil(L, base + 2))
        luaL_error(L, "%s: type: expected a string such as \"A\", got table; options come third",
                   where);
    if (!lua_isnoneornil(L, base + 1)) {
        if (lua_type(L, base + 1) != LUA_TSTRING)
            luaL_error(L, "%s: type: expected a string such as \"A\", got %s", where,
                       luaL_typename(L, base + 1));
        type = lua_tostring(L, base + 1);
        while (sm_dns_types[n])
            n++;
        if (!sm_dns_type(type)) {
            char *shown = sm_str_printable(type, strlen(type), 40);
            lua_pushstring(L, shown);
            free(shown);
            luaL_error(L, "%s: unknown type \"%s\"%s", where, lua_tostring(L, -1),
                       sm_str_hint(type, sm_dns_types, n, hint, sizeof hint));
        }
    }
    for (n = 0; sm_dns_types[n]; n++)
        if (sm_dns_type(sm_dns_types[n]) == sm_dns_type(type))
            json_object_set_new(op->args, "type", json_string(sm_dns_types[n]));
    read_name(L, base, where, op);
    sm_net_read_options(L, base + 2, where, list, op, op->args);
    seconds_default(op, 5);
}

static void read_ping_args(lua_State *L, int base, const char *where, sm_netop *op) {
    static const sm_net_option list[] = {{"count", SM_NET_WHOLE, 1, 100, 0},
                                         {"interval", SM_NET_SECONDS, 0, 60, 0},
                                         {"timeout", SM_NET_SECONDS, 0, 60, 0},
                                         {"size", SM_NET_WHOLE, 8, 65000, 0},
                                         {0}};
    read_host(L, base, where, op);
    sm_net_read_options(L, base + 1, where, list, op, op->args);
    double wait = sm_json_num(op->args, "timeout", 1);
    double interval = sm_json_num(op->args, "interval", 0.2);
    double each = wait > interval ? wait : interval;
    json_object_set_new(op->args, "wait", json_real(wait));
    json_object_set_new(op->args, "timeout",
                        json_real(5 + each * (double)sm_json_int(op->args, "count", 3)));
}

static void read_ntp_args(lua_State *L, int base, const char *where, sm_netop *op) {
    static const sm_net_option list[] = {{"timeout", SM_NET_SECONDS, 0, SM_FETCH_TIMEOUT_MAX, 0},
                                         {"port", SM_NET_WHOLE, 1, 65535, 0},
                                         {0}};
    read_host(L, base, where, op);
    sm_net_read_options(L, base + 1, where, list, op, op->args);
    seconds_default(op, 5);
}

const sm_net_kind sm_net_kinds[] = {
    {"tcp", read_tcp_args}, {"open", read_open_args}, {"tls", read_tls_args},
    {"dns", read_dns_args}, {"ping", read_ping_args}, {"ntp", read_ntp_args},
    {NULL, NULL},
};
