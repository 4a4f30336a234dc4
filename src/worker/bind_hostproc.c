/* bind_hostproc: `host.processes`, `host.sockets` and `host.socket_counts`.
 *
 * Processes of others are hidden from a confined worker: the daemon's service `processes` reads
 * them. Their command lines may hold what nobody should see, so they need the permission
 * `processes:cmdline`. Sockets come from /proc/net. Runs on the run's thread.
 */
#include "base/procs.h"
#include "worker/asking.h"
#include "worker/bind_hostparts.h"
#include "worker/hostopts.h"
#include "worker/hostsockets.h"
#include "worker/luaval.h"
#include "base/str.h"
#include <lauxlib.h>
#include <string.h>

/* Raises unless the word is one of `known` (n of them); none is fine. */
static void check_word(lua_State *L, const json_t *filter, const char *where, const char *key,
                       const char *const *known, size_t n) {
    const char *word = sm_json_str(filter, key, NULL);
    if (!word)
        return;
    luaL_Buffer all;
    luaL_buffinit(L, &all);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(word, known[i]) == 0) {
            luaL_pushresult(&all);
            lua_pop(L, 1);
            return;
        }
        luaL_addstring(&all, i > 0 ? ", " : "");
        luaL_addstring(&all, known[i]);
    }
    luaL_pushresult(&all);
    char hint[80];
    sm_str_hint(word, known, n, hint, sizeof hint);
    luaL_error(L, "%s: option \"%s\": expected one of %s%s", where, key, lua_tostring(L, -1), hint);
}

static json_t **read_filter(lua_State *L, const char *where, const sm_hostopt *opts, size_t n) {
    luaL_argcheck(L, lua_gettop(L) <= 1, 2, "expected at most 1 argument");
    lua_settop(L, 1);
    json_t **filter = sm_hostjson_push(L);
    *filter = json_object();
    sm_hostopts_read(L, 1, where, opts, n, *filter);
    return filter;
}

static int host_processes(lua_State *L) {
    static const char *const states[] = {"running", "sleeping", "waiting", "stopped",
                                         "zombie",  "idle",     "dead"};
    static const sm_hostopt opts[] = {
        {"name", SM_HOSTOPT_TEXT, 0, 0},
        {"user", SM_HOSTOPT_TEXT, 0, 0},
        {"uid", SM_HOSTOPT_INTEGER, 0, 1LL << 32},
        {"pid", SM_HOSTOPT_INTEGER, 0, 1LL << 32},
        {"ppid", SM_HOSTOPT_INTEGER, 0, 1LL << 32},
        {"state", SM_HOSTOPT_TEXT, 0, 0},
        {"kernel", SM_HOSTOPT_BOOLEAN, 0, 0},
        {"cmdline", SM_HOSTOPT_BOOLEAN, 0, 0},
        {"match", SM_HOSTOPT_TEXT, 0, 0},
    };
    static const char where[] = "host.processes";
    json_t **filter = read_filter(L, where, opts, SM_ARRAY_LEN(opts));
    check_word(L, *filter, where, "state", states, SM_ARRAY_LEN(states));
    sm_run_world(L, where);
    bool lines = sm_json_bool(*filter, "cmdline", false) || json_object_get(*filter, "match");
    bool alone = sm_run_of(L)->phase == SM_PHASE_FREE;
    if (lines && !alone)
        sm_run_permission(L, "processes:cmdline");
    sm_err err = SM_ERR_INIT;
    json_t **list = sm_hostjson_push(L);
    if (sm_bind_host_own(L)) {
        json_t **all = sm_hostjson_push(L);
        *all = sm_bind_host_reading(L, "processes", &err);
        if (*all)
            sm_procs_select(*all, *filter, list, &err);
        return sm_bind_host_push(L, *list, &err);
    }
    if (alone) {
        sm_procs_read("/proc", *filter, list, &err);
        return sm_bind_host_push(L, *list, &err);
    }
    return sm_asking_value(L, "processes", json_incref(*filter), NULL, 0);
}

static int host_sockets(lua_State *L) {
    static const char *const protocols[] = {"tcp", "udp"};
    static const sm_hostopt opts[] = {{"protocol", SM_HOSTOPT_TEXT, 0, 0},
                                      {"state", SM_HOSTOPT_TEXT, 0, 0},
                                      {"local_port", SM_HOSTOPT_INTEGER, 0, 65535},
                                      {"remote_port", SM_HOSTOPT_INTEGER, 0, 65535}};
    static const char where[] = "host.sockets";
    json_t **filter = read_filter(L, where, opts, SM_ARRAY_LEN(opts));
    size_t n;
    const char *const *states = sm_hostsockets_states(&n);
    check_word(L, *filter, where, "state", states, n);
    check_word(L, *filter, where, "protocol", protocols, SM_ARRAY_LEN(protocols));
    sm_run_world(L, where);
    sm_err err = SM_ERR_INIT;
    json_t **list = sm_hostjson_push(L);
    if (sm_bind_host_own(L)) {
        json_t **all = sm_hostjson_push(L);
        *all = sm_bind_host_reading(L, "sockets", &err);
        if (*all)
            *list = sm_hostsockets_select(*all, *filter);
    } else {
        sm_hostsockets_read("/proc", *filter, list, &err);
    }
    return sm_bind_host_push(L, *list, &err);
}

static int host_socket_counts(lua_State *L) {
    luaL_argcheck(L, lua_isnone(L, 1), 1, "expected no argument");
    sm_run_world(L, "host.socket_counts");
    sm_err err = SM_ERR_INIT;
    json_t **counts = sm_hostjson_push(L);
    if (sm_bind_host_own(L)) {
        json_t **all = sm_hostjson_push(L);
        *all = sm_bind_host_reading(L, "sockets", &err);
        if (*all)
            *counts = sm_hostsockets_counts_of(*all);
    } else {
        sm_hostsockets_counts("/proc", counts, &err);
    }
    return sm_bind_host_push(L, *counts, &err);
}

void sm_bind_hostproc_set(lua_State *L) {
    static const luaL_Reg functions[] = {{"processes", host_processes},
                                         {"sockets", host_sockets},
                                         {"socket_counts", host_socket_counts},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
