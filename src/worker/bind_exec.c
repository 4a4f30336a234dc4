/* bind_exec: the module `selfmon.exec` (docs/modules/exec.md): programs, which the daemon runs.
 *
 * A worker cannot start programs: run() reads and checks its options and asks the service `exec`
 * (daemon/exec.h says how). nagios() is the same, and what the program said is read by
 * lua/selfmon/exec_nagios.lua. Texts on their way hang in a userdata that wipes them, as they may
 * hold secrets. Runs on the run's thread.
 */
#include "base/mem.h"
#include "base/program.h"
#include "base/str.h"
#include "worker/asking.h"
#include "worker/http_opts.h"
#include "worker/modules.h"
#include <lauxlib.h>
#include <math.h>
#include <string.h>

enum { BODY_MAX = SM_PROGRAM_STDIN_BYTES + SM_PROGRAM_ENV_BYTES };
static const double TIMEOUT_S = 10;
static const char call_type[] = "selfmon.exec.call";

typedef struct call {
    const char *where; /* "exec.run" */
    json_t *args;
    sm_buf body;
    sm_answer answer;
} call;

static int call_gc(lua_State *L) {
    call *c = luaL_checkudata(L, 1, call_type);
    json_decref(c->args);
    c->args = NULL;
    if (c->body.data)
        explicit_bzero(c->body.data, c->body.cap);
    sm_buf_fini(&c->body);
    sm_answer_fini(&c->answer);
    return 0;
}

static call *call_push(lua_State *L, const char *where) {
    call *c = lua_newuserdatauv(L, sizeof *c, 0);
    memset(c, 0, sizeof *c);
    c->where = where;
    sm_buf_init(&c->body, BODY_MAX);
    if (luaL_newmetatable(L, call_type)) {
        lua_pushcfunction(L, call_gc);
        lua_setfield(L, -2, "__gc");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    c->args = json_object();
    return c;
}

/* ---- options; the value of each is at the top of the stack ---- */

static void wrong(lua_State *L, const call *c, const char *option, const char *expected) {
    luaL_error(L, "%s: option \"%s\": expected %s, got %s", c->where, option, expected,
               luaL_typename(L, -1));
}

static void read_cmd(lua_State *L, call *c) {
    size_t n;
    if (lua_type(L, -1) != LUA_TSTRING)
        wrong(L, c, "cmd", "the absolute path of a program");
    const char *p = lua_tolstring(L, -1, &n), *why = sm_program_path_wrong(p, n);
    if (why)
        luaL_error(L, "%s: option \"cmd\": %s", c->where, why);
    json_object_set_new(c->args, "cmd", json_stringn(p, n));
}

static void read_args(lua_State *L, call *c) {
    json_t *list = json_array();
    size_t bytes = 0;
    json_object_set_new(c->args, "args", list);
    if (!lua_istable(L, -1))
        wrong(L, c, "args", "a list of texts");
    lua_Unsigned len = lua_rawlen(L, -1), keys = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        keys++;
    if (keys != len)
        luaL_error(L, "%s: option \"args\": expected a list without other keys or holes", c->where);
    if (len > SM_PROGRAM_ARGS_MAX)
        luaL_error(L, "%s: option \"args\": more than %d", c->where, SM_PROGRAM_ARGS_MAX);
    for (lua_Unsigned i = 1; i <= len; i++) {
        char tmp[64];
        size_t n = 0;
        lua_rawgeti(L, -1, (lua_Integer)i);
        if (sm_bind_secret_bytes(L, -1, &n))
            luaL_error(L,
                       "%s: args[%d]: a secret cannot be an argument, which everybody on this "
                       "machine can read: pass it by env or stdin",
                       c->where, (int)i);
        const char *p = lua_isboolean(L, -1) ? NULL : sm_http_scalar(L, -1, tmp, &n);
        if (!p)
            luaL_error(L, "%s: args[%d]: expected a text or number, got %s", c->where, (int)i,
                       luaL_typename(L, -1));
        if (memchr(p, '\0', n) || !sm_utf8_valid(p, n))
            luaL_error(L, "%s: args[%d]: expected UTF-8 text without NUL", c->where, (int)i);
        bytes += n + 1;
        json_array_append_new(list, json_stringn(p, n));
        lua_pop(L, 1);
    }
    if (bytes > SM_PROGRAM_ARGS_BYTES - 4096)
        luaL_error(L, "%s: option \"args\": longer than 60 KiB", c->where);
}

/* A text or secret at the top. */
static const char *bytes_of(lua_State *L, char tmp[64], size_t *n) {
    const char *p = sm_bind_secret_bytes(L, -1, n);
    if (p || lua_isboolean(L, -1))
        return p;
    return sm_http_scalar(L, -1, tmp, n);
}

static void read_stdin(lua_State *L, call *c) {
    char tmp[64];
    size_t n = 0;
    const char *p = bytes_of(L, tmp, &n);
    if (!p)
        wrong(L, c, "stdin", "a string or a secret");
    if (n > SM_PROGRAM_STDIN_BYTES)
        luaL_error(L, "%s: option \"stdin\": longer than 1 MiB", c->where);
    sm_buf_add(&c->body, p, n);
    json_object_set_new(c->args, "stdin", json_integer((json_int_t)n));
}

static void read_env(lua_State *L, call *c) {
    size_t count = 0, bytes = 0;
    json_t *list = json_array();
    json_object_set_new(c->args, "env", list);
    if (!lua_istable(L, -1))
        wrong(L, c, "env", "a table of names and values");
    int table = lua_absindex(L, -1);
    const sm_http_name *names = sm_http_names(L, table, c->where, "env", &count);
    if (count > SM_PROGRAM_ENV_MAX)
        luaL_error(L, "%s: option \"env\": more than %d names", c->where, SM_PROGRAM_ENV_MAX);
    for (size_t i = 0; i < count; i++) {
        char tmp[64];
        size_t n = 0;
        const char *why = sm_program_env_wrong(names[i].p, names[i].n);
        if (why) {
            char *shown = sm_str_printable(names[i].p, names[i].n, 64);
            lua_pushstring(L, shown);
            free(shown);
            luaL_error(L, "%s: option \"env\": %s: %s", c->where, lua_tostring(L, -1), why);
        }
        lua_pushlstring(L, names[i].p, names[i].n);
        lua_rawget(L, table);
        const char *p = bytes_of(L, tmp, &n);
        if (!p)
            luaL_error(L, "%s: option \"env\": %s: expected a string, number or secret, got %s",
                       c->where, names[i].p, luaL_typename(L, -1));
        bytes += n;
        if (memchr(p, '\0', n) || bytes > SM_PROGRAM_ENV_BYTES)
            luaL_error(L, "%s: option \"env\": %s: %s", c->where, names[i].p,
                       memchr(p, '\0', n) ? "expected a value without NUL"
                                          : "all values together are longer than 64 KiB");
        sm_buf_add(&c->body, p, n);
        json_array_append_new(list, json_pack("[s, I]", names[i].p, (json_int_t)n));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_timeout(lua_State *L, call *c) {
    if (lua_type(L, -1) != LUA_TNUMBER)
        wrong(L, c, "timeout", "a number of seconds");
    double s = lua_tonumber(L, -1);
    if (!isfinite(s) || s <= 0)
        luaL_error(L, "%s: option \"timeout\": expected a number of seconds above 0", c->where);
    json_object_set_new(c->args, "timeout",
                        json_real(s < SM_PROGRAM_TIMEOUT_MAX ? s : SM_PROGRAM_TIMEOUT_MAX));
}

static void read_cwd(lua_State *L, call *c) {
    size_t n;
    if (lua_type(L, -1) != LUA_TSTRING)
        wrong(L, c, "cwd", "the absolute path of a directory");
    const char *p = lua_tolstring(L, -1, &n), *why = sm_program_path_wrong(p, n);
    if (why)
        luaL_error(L, "%s: option \"cwd\": %s", c->where, why);
    json_object_set_new(c->args, "cwd", json_stringn(p, n));
}

/* In this order: standard input comes before the values of env. */
static const struct option {
    const char *name;
    void (*read)(lua_State *L, call *c);
} options[] = {{"cmd", read_cmd}, {"args", read_args},       {"stdin", read_stdin},
               {"env", read_env}, {"timeout", read_timeout}, {"cwd", read_cwd}};
enum { N_OPTIONS = SM_ARRAY_LEN(options) };

static void check_known(lua_State *L, const call *c) {
    const char *names[N_OPTIONS];
    char hint[128];
    size_t count = 0;
    for (size_t i = 0; i < N_OPTIONS; i++)
        names[i] = options[i].name;
    const sm_http_name *given = sm_http_names(L, 1, c->where, "(the table of options)", &count);
    for (size_t i = 0; i < count; i++) {
        bool known = false;
        for (size_t k = 0; k < N_OPTIONS; k++)
            known = known || (strlen(names[k]) == given[i].n &&
                              memcmp(names[k], given[i].p, given[i].n) == 0);
        if (known)
            continue;
        char *shown = sm_str_printable(given[i].p, given[i].n, 64);
        lua_pushstring(L, shown);
        free(shown);
        luaL_error(L, "%s: unknown option \"%s\"%s", c->where, lua_tostring(L, -1),
                   sm_str_hint(given[i].p, names, N_OPTIONS, hint, sizeof hint));
    }
    lua_pop(L, 1);
}

/* ---- the call ---- */

static void push_result(lua_State *L, const call *c) {
    const json_t *v = c->answer.value, *code = json_object_get(v, "code");
    int64_t said = sm_json_int(v, "stdout", 0);
    size_t n = c->answer.body_n, out = said >= 0 && (uint64_t)said <= n ? (size_t)said : n;
    const char *body = c->answer.body ? c->answer.body : "";
    lua_createtable(L, 0, 7);
    lua_pushinteger(L, json_integer_value(code ? code : json_object_get(v, "signal")));
    lua_setfield(L, -2, code ? "code" : "signal");
    lua_pushnumber(L, sm_json_num(v, "seconds", 0));
    lua_setfield(L, -2, "seconds");
    lua_pushboolean(L, sm_json_bool(v, "truncated", false));
    lua_setfield(L, -2, "truncated");
    lua_pushinteger(L, sm_json_int(v, "left", 0));
    lua_setfield(L, -2, "left");
    lua_pushlstring(L, body, out);
    lua_setfield(L, -2, "stdout");
    lua_pushlstring(L, body + out, n - out);
    lua_setfield(L, -2, "stderr");
}

/* The table at 1 -> the result, or nil, message, code; how many. */
static int run(lua_State *L, const char *where) {
    sm_run_world(L, where);
    if (!lua_istable(L, 1))
        return luaL_error(L, "%s: expected a table such as {cmd = \"/usr/bin/df\"}, got %s", where,
                          luaL_typename(L, 1));
    lua_settop(L, 1);
    call *c = call_push(L, where);
    check_known(L, c);
    for (size_t i = 0; i < N_OPTIONS; i++) {
        lua_pushstring(L, options[i].name);
        if (lua_rawget(L, 1) != LUA_TNIL)
            options[i].read(L, c);
        lua_pop(L, 1);
    }
    const char *cmd = sm_json_str(c->args, "cmd", NULL);
    if (!cmd)
        return luaL_error(L, "%s: cmd is missing", where);
    if (!json_object_get(c->args, "timeout"))
        json_object_set_new(c->args, "timeout", json_real(TIMEOUT_S));
    sm_run_permission(L, lua_pushfstring(L, "exec:%s", cmd));
    lua_pop(L, 1);
    json_t *args = c->args;
    c->args = NULL;
    if (!sm_asking(L, "exec", args, c->body.data, c->body.len, &c->answer))
        return 3;
    push_result(L, c);
    sm_answer_fini(&c->answer);
    return 1;
}

static int exec_run(lua_State *L) {
    return run(L, "exec.run");
}

/* Upvalue 1: the reader of what a plugin said, once it was needed. */
static int exec_nagios(lua_State *L) {
    int n = run(L, "exec.nagios");
    if (n != 1)
        return n;
    if (lua_isnil(L, lua_upvalueindex(1))) {
        sm_modules_push(L, "selfmon.exec_nagios", false);
        lua_getfield(L, -1, "read");
        lua_copy(L, -1, lua_upvalueindex(1));
        lua_pop(L, 2);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, -2);
    lua_call(L, 1, 1);
    return 1;
}

int sm_bind_exec_open(lua_State *L) {
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, exec_run);
    lua_setfield(L, -2, "run");
    lua_pushnil(L);
    lua_pushcclosure(L, exec_nagios, 1);
    lua_setfield(L, -2, "nagios");
    return 1;
}
