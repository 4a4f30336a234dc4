/* modules: the table of Lua modules that scripts can require. A new one written in C is its file
 * and one line here; one written in Lua is its file below lua/selfmon/ and nothing else.
 *
 * Pushes values; does not cache them. Used by the sandbox's require and by the plain interpreter's
 * package.preload.
 */
#include "worker/modules.h"
#include "base/embedded.h"
#include <lauxlib.h>
#include <string.h>

/* clang-format off */
const sm_module sm_modules[] = {
    {"cjson", sm_bind_cjson_open},
    {"cjson.safe", sm_bind_cjson_safe_open},
    {"selfmon.crypto", sm_bind_crypto_open},
    {"selfmon.dql", sm_bind_dql_open},
    {"selfmon.exec", sm_bind_exec_open},
    {"selfmon.host", sm_bind_host_open},
    {"selfmon.http", sm_bind_http_open},
    {"selfmon.log", sm_bind_log_open},
    {"selfmon.net", sm_bind_net_open},
    {"selfmon.secret", sm_bind_secret_open},
    {"selfmon.store", sm_bind_store_open},
    {"selfmon.time", sm_bind_time_open},
    {NULL, NULL},
};
/* clang-format on */

static const char prefix[] = "selfmon.";
enum { PREFIX_N = sizeof prefix - 1 };

/* Calls the opener at `m` as require would. [-0, +1, e] */
static void open_module(lua_State *L, const sm_module *m) {
    lua_pushcfunction(L, m->open);
    lua_pushstring(L, m->name);
    lua_call(L, 1, 1);
}

/* "selfmon.stats" is the embedded file "selfmon/stats.lua"; "kit.doc", a command's and no script's,
 * "kit/doc.lua". */
static const sm_embedded *find_embedded(const char *name, bool test) {
    const char *dot = strchr(name, '.');
    size_t len = strlen(name);
    if (strncmp(name, prefix, PREFIX_N) != 0 && !(test && strncmp(name, "kit.", 4) == 0))
        return NULL;
    for (const sm_embedded *e = sm_embedded_lua; e->name; e++) {
        size_t n = (size_t)(dot - name);
        if (strncmp(e->name, name, n) == 0 && e->name[n] == '/' &&
            strncmp(e->name + n + 1, dot + 1, len - n - 1) == 0 &&
            strcmp(e->name + len, ".lua") == 0)
            return e;
    }
    return NULL;
}

/* __index of the table `selfmon`: a module in Lua is required when it is first asked for, so that
 * nobody pays for what he does not use. A name with a _ is a part of a module. */
static int lazy_module(lua_State *L) {
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    const char *name = lua_pushfstring(L, "%s%s", prefix, key);
    if (strpbrk(key, "_.") || strcmp(key, "testing") == 0 || !find_embedded(name, false))
        return 0;
    lua_getglobal(L, "require");
    lua_pushvalue(L, -2);
    lua_call(L, 1, 1);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, 1);
    return 1;
}

/* The table `selfmon`: every module by the last part of its name, and the two globals.
 * [-0, +1, e] */
static void open_all(lua_State *L) {
    lua_newtable(L);
    for (const sm_module *m = sm_modules; m->name; m++) {
        const char *name = strncmp(m->name, prefix, PREFIX_N) == 0 ? m->name + PREFIX_N : m->name;
        if (strchr(name, '.'))
            continue;
        lua_getglobal(L, "require");
        lua_pushstring(L, m->name);
        lua_call(L, 1, 1);
        lua_setfield(L, -2, name);
    }
    lua_getglobal(L, "monitor");
    lua_setfield(L, -2, "monitor");
    lua_getglobal(L, "EventReporter");
    lua_setfield(L, -2, "EventReporter");
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, lazy_module);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

bool sm_modules_push(lua_State *L, const char *name, bool test) {
    for (const sm_module *m = sm_modules; m->name; m++) {
        if (strcmp(m->name, name) == 0) {
            open_module(L, m);
            if (strncmp(name, prefix, PREFIX_N) == 0)
                sm_modules_guard(L, name, true);
            return true;
        }
    }
    if (strcmp(name, "selfmon") == 0) {
        open_all(L);
        return true;
    }
    static const char testing[] = "selfmon.testing";
    if (!test && strncmp(name, testing, sizeof testing - 1) == 0)
        return false;
    const sm_embedded *file = find_embedded(name, test);
    if (!file)
        return false;
    /* `=`: its frames are the host's and do not show in a script's traceback. */
    const char *chunk = lua_pushfstring(L, "=%s", name);
    if (luaL_loadbufferx(L, file->begin, (size_t)(file->end - file->begin), chunk, "t") != LUA_OK)
        lua_error(L);
    lua_remove(L, -2);
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
    /* A name with a _ is a part of a module; testing is put together by the specs. */
    if (strncmp(name, prefix, PREFIX_N) == 0 && !strchr(name, '_') && strcmp(name, testing) != 0)
        sm_modules_guard(L, name, false);
    return true;
}

size_t sm_modules_names(const char **out, size_t cap) {
    size_t n = 0;
    for (const sm_module *m = sm_modules; m->name && n < cap; m++)
        out[n++] = m->name;
    if (n < cap)
        out[n++] = "selfmon";
    return n;
}
