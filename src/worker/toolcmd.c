/* toolcmd: calls what the program itself does in Lua: the embedded files below lua/tools.
 *
 * Opens a plain interpreter (worker/luacmd), makes the tool's files requirable as "TOOL.part", and
 * calls main of "TOOL.main" with the facts as a table and the texts as a list of strings. No script
 * can require a tool, and a tool runs no script. Called by commands on their only thread.
 */
#include "base/embedded.h"
#include "base/mem.h"
#include "base/str.h"
#include "worker/entry.h"
#include "worker/luacmd.h"
#include "worker/luaval.h"
#include <lauxlib.h>
#include <string.h>

typedef struct call {
    const char *tool;
    const json_t *facts;
    const sm_tool_text *texts;
    size_t n;
} call;

/* package.preload's loader of "lint.main": the file lint/main.lua. */
static int load_part(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    const char *path = lua_pushfstring(L, "%s.lua", luaL_gsub(L, name, ".", "/"));
    for (const sm_embedded *e = sm_embedded_tools; e->name; e++) {
        if (strcmp(e->name, path) != 0)
            continue;
        const char *chunk = lua_pushfstring(L, "=%s", name);
        if (luaL_loadbufferx(L, e->begin, (size_t)(e->end - e->begin), chunk, "t") != LUA_OK)
            return lua_error(L);
        lua_pushstring(L, name);
        lua_call(L, 1, 1);
        return 1;
    }
    return luaL_error(L, "tool \"%s\" is not there", name);
}

static void preload(lua_State *L) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    for (const sm_embedded *e = sm_embedded_tools; e->name; e++) {
        luaL_gsub(L, e->name, "/", ".");
        size_t n = strlen(e->name);
        lua_pushlstring(L, lua_tostring(L, -1), n - 4); /* without .lua */
        lua_pushcfunction(L, load_part);
        lua_settable(L, -4);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* [call] -> text */
static int call_main(lua_State *L) {
    const call *c = lua_touserdata(L, 1);
    preload(L);
    lua_getglobal(L, "require");
    lua_pushfstring(L, "%s.main", c->tool);
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "main");
    sm_luaval_push(L, c->facts);
    lua_createtable(L, (int)c->n, 0);
    for (size_t i = 0; i < c->n; i++) {
        lua_pushlstring(L, c->texts[i].text, c->texts[i].n);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_call(L, 2, 1);
    luaL_checkstring(L, -1);
    return 1;
}

sm_rc sm_tool_call(const char *tool, const json_t *facts, const sm_tool_text *texts, size_t n,
                   char **out, size_t *out_n, sm_err *err) {
    sm_luahost h;
    call c = {.tool = tool, .facts = facts, .texts = texts, .n = n};
    *out = NULL;
    sm_rc rc = sm_luahost_open(&h, err);
    if (rc != SM_OK)
        return rc;
    lua_pushcfunction(h.L, call_main);
    lua_pushlightuserdata(h.L, &c);
    if (lua_pcall(h.L, 1, 1, 0) == LUA_OK) {
        const char *text = lua_tolstring(h.L, -1, out_n);
        *out = sm_memdup(text, *out_n);
    } else {
        const char *text = lua_tostring(h.L, -1);
        rc = sm_err_set(err, SM_INTERNAL, "%s: %s", tool, text ? text : "an error that is no text");
    }
    sm_luahost_close(&h);
    return rc;
}
