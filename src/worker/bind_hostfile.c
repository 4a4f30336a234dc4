/* bind_hostfile: `host.file`: stat, list, read and tail of the files that are granted
 * (docs/modules/host.md).
 *
 * A confined worker opens no files: it checks the permission and asks the daemon's service `file`,
 * which checks it again. The plain interpreter looks itself, with its user's rights. Runs on the
 * run's thread.
 */
#include "base/mem.h"
#include "base/peek.h"
#include "worker/asking.h"
#include "worker/bind_hostparts.h"
#include "worker/hostopts.h"
#include "worker/luaval.h"
#include <lauxlib.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* The path at 1, checked; and the permission for it (for `pattern` in it, when not NULL). */
static const char *check_path(lua_State *L, const char *where, const char *pattern) {
    if (lua_type(L, 1) != LUA_TSTRING)
        luaL_error(L, "%s: path: expected a text, got %s", where, sm_luaval_typename(L, 1));
    size_t n;
    const char *path = lua_tolstring(L, 1, &n);
    const char *why = n == strlen(path) ? sm_peek_path_wrong(path) : "expected a path without NUL";
    if (why)
        luaL_error(L, "%s: path: %s", where, why);
    sm_run_world(L, where);
    if (sm_run_of(L)->phase == SM_PHASE_FREE)
        return path;
    const char *permission =
        pattern ? lua_pushfstring(L, "file:%s/%s", strcmp(path, "/") == 0 ? "" : path, pattern)
                : lua_pushfstring(L, "file:%s", path);
    sm_run_permission(L, permission);
    lua_pop(L, 1);
    return path;
}

/* Looks; true: the answer is in *out. False: nil, message, code are pushed. */
static bool look(lua_State *L, json_t *args, sm_answer *out) {
    if (sm_run_of(L)->phase != SM_PHASE_FREE)
        return sm_asking(L, "file", json_incref(args), NULL, 0, out);
    sm_peeked found;
    sm_err err = SM_ERR_INIT;
    if (sm_peek(args, NULL, &found, &err) != SM_OK) {
        lua_pushnil(L);
        lua_pushstring(L, err.msg);
        lua_pushstring(L, sm_rc_name(err.code));
        return false;
    }
    out->value = found.value;
    out->body = found.body;
    out->body_n = found.body_n;
    return true;
}

/* What one function looks like, but for what it makes of the answer. */
typedef struct call {
    const char *op, *where;
    const sm_hostopt *opts;
    size_t n_opts;
} call;

/* Checks (path[, opts]), asks, and leaves the answer on top of the stack. NULL: nil, message, code
 * were pushed. */
static sm_answer *ask(lua_State *L, const call *c) {
    int most = c->n_opts > 0 ? 2 : 1;
    luaL_argcheck(L, lua_gettop(L) <= most, most + 1,
                  most == 1 ? "expected one argument" : "expected at most 2 arguments");
    lua_settop(L, most);
    json_t **args = sm_hostjson_push(L);
    *args = json_pack("{s:s}", "op", c->op);
    if (c->n_opts > 0)
        sm_hostopts_read(L, 2, c->where, c->opts, c->n_opts, *args);
    bool list = strcmp(c->op, "list") == 0;
    const char *pattern = list ? sm_json_str(*args, "pattern", "*") : NULL;
    if (pattern && strchr(pattern, '/'))
        luaL_error(L, "%s: option \"pattern\": expected a pattern of names, without slashes",
                   c->where);
    const char *path = check_path(L, c->where, pattern);
    json_object_set_new(*args, "path", sm_json_text(path, strlen(path)));
    sm_answer *a = sm_answer_push(L);
    return look(L, *args, a) ? a : NULL;
}

static int file_stat(lua_State *L) {
    static const call stat = {"stat", "host.file.stat", NULL, 0};
    const sm_answer *a = ask(L, &stat);
    if (!a)
        return 3;
    sm_luaval_push(L, a->value);
    return 1;
}

static int file_list(lua_State *L) {
    static const sm_hostopt opts[] = {{"pattern", SM_HOSTOPT_TEXT, 0, 0}};
    static const call list = {"list", "host.file.list", opts, SM_ARRAY_LEN(opts)};
    const sm_answer *a = ask(L, &list);
    if (!a)
        return 3;
    sm_luaval_push(L, a->value);
    return 1;
}

static int file_read(lua_State *L) {
    static const sm_hostopt opts[] = {{"offset", SM_HOSTOPT_INTEGER, 0, LLONG_MAX / 2},
                                      {"max", SM_HOSTOPT_INTEGER, 1, SM_PEEK_READ_MAX}};
    static const call read = {"read", "host.file.read", opts, SM_ARRAY_LEN(opts)};
    const sm_answer *a = ask(L, &read);
    if (!a)
        return 3;
    lua_pushlstring(L, a->body ? a->body : "", a->body_n);
    lua_pushboolean(L, sm_json_bool(a->value, "more", false));
    return 2;
}

/* The lines of the body as a list. */
static void push_lines(lua_State *L, const sm_answer *a) {
    int64_t count = sm_json_int(a->value, "count", 0);
    const char *p = a->body ? a->body : "", *end = p + a->body_n;
    lua_createtable(L, (int)(count & 0xfffff), 0);
    for (int64_t i = 1; i <= count && p <= end; i++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop)
            stop = end;
        lua_pushlstring(L, p, (size_t)(stop - p));
        lua_rawseti(L, -2, i);
        p = stop + 1;
    }
}

static int file_tail(lua_State *L) {
    static const sm_hostopt opts[] = {{"lines", SM_HOSTOPT_INTEGER, 0, SM_PEEK_LINES_MAX},
                                      {"bytes", SM_HOSTOPT_INTEGER, 1024, SM_PEEK_READ_MAX},
                                      {"start", SM_HOSTOPT_BOOLEAN, 0, 0},
                                      {"cursor", SM_HOSTOPT_TABLE, 0, 0}};
    static const call tail = {"tail", "host.file.tail", opts, SM_ARRAY_LEN(opts)};
    const sm_answer *a = ask(L, &tail);
    if (!a)
        return 3;
    sm_luaval_push(L, a->value);
    push_lines(L, a);
    lua_setfield(L, -2, "lines");
    lua_pushnil(L);
    lua_setfield(L, -2, "count");
    return 1;
}

static const luaL_Reg functions[] = {{"stat", file_stat},
                                     {"list", file_list},
                                     {"read", file_read},
                                     {"tail", file_tail},
                                     {NULL, NULL}};

void sm_bind_hostfile_push(lua_State *L) {
    luaL_newlib(L, functions);
}
