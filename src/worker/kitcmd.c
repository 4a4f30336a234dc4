/* kitcmd: the door to the commands that are written in Lua (lua/kit: types, doc, new, init), and
 * the modules kit.embedded, by which they read the files the executable carries, and kit.disk, by
 * which they look and write without ever replacing what is there.
 *
 * Opens the plain interpreter (worker/luacmd) and hands the parsed arguments to main() of the
 * command's file. Called by src/cli on its only thread; the daemon never comes here.
 */
#include "base/embedded.h"
#include "base/fsx.h"
#include "base/json.h"
#include "worker/entry.h"
#include "worker/luacmd.h"
#include "worker/luaval.h"
#include <lauxlib.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* get(name) -> text, or nil */
static int embedded_get(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    for (const sm_embedded *e = sm_embedded_lua; e->name; e++) {
        if (strcmp(e->name, name) == 0) {
            lua_pushlstring(L, e->begin, (size_t)(e->end - e->begin));
            return 1;
        }
    }
    luaL_pushfail(L);
    return 1;
}

/* names(prefix) -> list, sorted as the build found them */
static int embedded_names(lua_State *L) {
    size_t n;
    const char *prefix = luaL_checklstring(L, 1, &n);
    lua_newtable(L);
    for (const sm_embedded *e = sm_embedded_lua; e->name; e++) {
        if (strncmp(e->name, prefix, n) == 0) {
            lua_pushstring(L, e->name);
            lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
        }
    }
    return 1;
}

int sm_kit_embedded_open(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"get", embedded_get}, {"names", embedded_names}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}

/* nil, "path: why" */
static int failed(lua_State *L, const char *path) {
    luaL_pushfail(L);
    lua_pushfstring(L, "%s: %s", path, strerror(errno));
    return 2;
}

/* kind(path) -> "file", "directory", "other", or nil when nothing is there */
static int disk_kind(lua_State *L) {
    struct stat st;
    const char *path = luaL_checkstring(L, 1);
    if (stat(path, &st) == 0)
        lua_pushstring(L, S_ISREG(st.st_mode)   ? "file"
                          : S_ISDIR(st.st_mode) ? "directory"
                                                : "other");
    else if (lstat(path, &st) == 0)
        lua_pushliteral(L, "other");
    else
        luaL_pushfail(L);
    return 1;
}

/* mkdir(path) -> true; nil, sentence */
static int disk_mkdir(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    if (mkdir(path, 0777) != 0)
        return failed(L, path);
    lua_pushboolean(L, 1);
    return 1;
}

/* create(path, text) -> true; nil, sentence: also when there is something of that name. */
static int disk_create(lua_State *L) {
    size_t n;
    const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &n);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0)
        return failed(L, path);
    bool ok = sm_fsx_write_all(fd, text, n) == SM_OK;
    int code = errno;
    ok = close(fd) == 0 && ok;
    if (!ok) {
        unlink(path);
        errno = code;
        return failed(L, path);
    }
    lua_pushboolean(L, 1);
    return 1;
}

int sm_kit_disk_open(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"kind", disk_kind}, {"mkdir", disk_mkdir}, {"create", disk_create}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}

/* [module, args as a light userdata] -> exit code */
static int call_main(lua_State *L) {
    lua_getglobal(L, "require");
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "main");
    sm_luaval_push(L, lua_touserdata(L, 2));
    lua_call(L, 1, 1);
    return 1;
}

int sm_kitcmd_main(const char *module, const struct json_t *args) {
    sm_luahost h;
    sm_err err = SM_ERR_INIT;
    int code = 1;
    if (sm_luahost_open(&h, &err) != SM_OK) {
        fprintf(stderr, "selfmon-lua: %s\n", err.msg);
        return code;
    }
    lua_State *L = h.L;
    lua_pushcfunction(L, call_main);
    lua_pushstring(L, module);
    lua_pushlightuserdata(L, (void *)(uintptr_t)args);
    if (lua_pcall(L, 2, 1, 0) == LUA_OK) {
        code = (int)lua_tointeger(L, -1);
    } else {
        const char *text = lua_tostring(L, -1);
        fprintf(stderr, "selfmon-lua: %s\n", text ? text : "an error that is no text");
    }
    sm_luahost_close(&h);
    return code;
}
