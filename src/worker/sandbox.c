/* sandbox: the world of a script: the globals of script-api 7, and require.
 *
 * A script reaches host modules, Lua files carried in the executable, and the files below lib/ of
 * its snapshot; nothing else on disk, no bytecode, no finalizer, no debug, io or package. Opened
 * anew for every run by worker/script inside a protected call; everything here runs on the run's
 * own thread. What single functions do differently from Lua's own is in the sandbox_* files.
 */
#include "worker/sandbox.h"
#include "base/str.h"
#include "worker/lualex.h"
#include "worker/modules.h"
#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <string.h>

/* Registry keys: addresses, as no string is private. */
static const char snap_key; /* light userdata: const sm_snapshot * */
enum {
    REQUIRED_PATH = 400, /* bytes of a name that is told */
    REQUIRED_MAX = 2000  /* names that are told; there are at most 1,000 modules */
};

static const char loaded_key;   /* table: name -> value of a required module */
static const char required_key; /* list of lib names in the order of require */
static const char loading;      /* its address marks a module that is being loaded */

int sm_sandbox_load(lua_State *L, const char *display, const char *name, const char *text,
                    size_t n) {
    const char *chunk = lua_pushfstring(L, display[0] ? "@%s/%s" : "@%s%s", display, name);
    if (n > SM_SANDBOX_TEXT_MAX) {
        lua_pushfstring(L, "%s: the file is longer than %d bytes", chunk + 1, SM_SANDBOX_TEXT_MAX);
        lua_remove(L, -2);
        return LUA_ERRSYNTAX;
    }
    size_t skip = sm_lex_skip_head(text, n);
    const char *body = text + skip;
    size_t rest = n - skip;
    if (rest > 0 && (body[0] == '\0' || body[0] == '\033')) {
        lua_pushfstring(L, "%s: the file is not a text", chunk + 1);
        lua_remove(L, -2);
        return LUA_ERRSYNTAX;
    }
    int status = luaL_loadbufferx(L, body, rest, chunk, "t");
    lua_remove(L, -2);
    return status;
}

/* Raises the sentence for a name that nothing answers to. */
static int not_found(lua_State *L, const sm_snapshot *snap, const char *name, const char *path) {
    char hint[160];
    const char *names[64];
    if (!path) {
        size_t n = sm_modules_names(names, SM_ARRAY_LEN(names));
        sm_str_hint(name, names, n, hint, sizeof hint);
        return luaL_error(L,
                          "module \"%s\" not found%s: a script can require selfmon.*, cjson and "
                          "lib.*",
                          name, hint);
    }
    size_t n = 0;
    for (size_t i = 0; i < snap->n_libs && n < SM_ARRAY_LEN(names); i++)
        names[n++] = snap->libs[i].name;
    sm_str_hint(path, names, n, hint, sizeof hint);
    return luaL_error(L, "module \"%s\" not found: no file %s%s", name, path, hint);
}

/* Loads and runs the lib file of `name` ("lib.util" is lib/util.lua). [-0, +1, e] */
static void require_lib(lua_State *L, const sm_snapshot *snap, const char *name) {
    const char *path = luaL_gsub(L, name, ".", "/");
    path = lua_pushfstring(L, "%s.lua", path);
    const sm_text *lib = NULL;
    for (size_t i = 0; i < snap->n_libs && !lib; i++)
        if (strcmp(snap->libs[i].name, path) == 0)
            lib = &snap->libs[i];
    /* What was asked for and is not there counts: the script depends on its coming. */
    lua_rawgetp(L, LUA_REGISTRYINDEX, &required_key);
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    if (strlen(path) <= REQUIRED_PATH && n < REQUIRED_MAX) {
        lua_pushstring(L, path);
        lua_rawseti(L, -2, n + 1);
    }
    lua_pop(L, 1);
    if (!lib)
        not_found(L, snap, name, path);
    if (sm_sandbox_load(L, snap->display, lib->name, lib->text, lib->n) != LUA_OK)
        lua_error(L);
    lua_pushstring(L, name);
    lua_pushstring(L, path);
    lua_call(L, 2, 1);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
    }
    lua_replace(L, -3);
    lua_pop(L, 1);
}

static int sandbox_require(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &snap_key);
    const sm_snapshot *snap = lua_touserdata(L, -1);
    lua_pop(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &loaded_key);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, 2) != LUA_TNIL) {
        if (lua_touserdata(L, -1) == (const void *)&loading)
            return luaL_error(L, "require \"%s\" goes round in a circle: it is being loaded", name);
        return 1;
    }
    lua_pop(L, 1);
    lua_pushvalue(L, 1);
    lua_pushlightuserdata(L, (void *)(uintptr_t)&loading);
    lua_rawset(L, 2);
    if (strncmp(name, "lib.", 4) == 0) {
        require_lib(L, snap, name);
    } else if (!sm_modules_push(L, name, false)) {
        lua_pushvalue(L, 1);
        lua_pushnil(L);
        lua_rawset(L, 2);
        not_found(L, snap, name, NULL);
    }
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2);
    lua_rawset(L, 2);
    return 1;
}

void sm_sandbox_open(lua_State *L, const sm_snapshot *snap) {
    static const luaL_Reg libs[] = {
        {LUA_GNAME, luaopen_base},
        {LUA_STRLIBNAME, luaopen_string},
        {LUA_TABLIBNAME, luaopen_table},
        {LUA_MATHLIBNAME, luaopen_math},
        {LUA_UTF8LIBNAME, luaopen_utf8},
        {LUA_COLIBNAME, luaopen_coroutine},
        {"monitor", sm_bind_monitor_open},
        {"EventReporter", sm_bind_reporter_open},
        {"require", NULL},
    };
    lua_pushlightuserdata(L, (void *)(uintptr_t)snap);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &snap_key);
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &loaded_key);
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &required_key);

    lua_pushglobaltable(L);
    for (size_t i = 0; libs[i].func; i++) {
        lua_pushcfunction(L, libs[i].func);
        lua_pushstring(L, libs[i].name);
        lua_call(L, 1, 1);
        lua_setfield(L, -2, libs[i].name);
    }
    lua_pushcfunction(L, sandbox_require);
    lua_setfield(L, -2, "require");
    sm_sandbox_open_basics(L);
    sm_sandbox_open_coroutine(L);
    sm_sandbox_open_bounded(L);
    lua_pop(L, 1);
}

json_t *sm_sandbox_required(lua_State *L) {
    json_t *names = json_array();
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &required_key) == LUA_TTABLE) {
        lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
        for (lua_Integer i = 1; i <= n; i++) {
            lua_rawgeti(L, -1, i);
            json_array_append_new(names, json_string(lua_tostring(L, -1)));
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    return names;
}
