/* bind_monitor: the global `monitor` (script-api 1.1).
 *
 * Its door is open only while a main chunk runs. While the catalogue loads, it reads the table raw,
 * checks it and registers; in a run it only remembers run = function of the wanted name, since
 * everything else was checked at load. It never calls into the script. Called by scripts; set up by
 * worker/script, whose sm_monitor outlives the Lua state. On the run's thread.
 */
#include "worker/modules.h"
#include "worker/monitor.h"
#include "worker/luaval.h"
#include "worker/run.h"
#include <lauxlib.h>
#include <stdint.h>
#include <string.h>

static const char key_state;    /* registry: light userdata, the sm_monitor */
static const char key_function; /* registry: function found in a run */

static sm_monitor *state_of(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &key_state);
    sm_monitor *m = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return m;
}

/* The innermost script frame: its source (with "@") and line; false when there is none. */
static bool caller(lua_State *L, lua_Debug *ar) {
    for (int level = 1; lua_getstack(L, level, ar); level++) {
        lua_getinfo(L, "Sl", ar);
        if (ar->source[0] == '@' && ar->currentline > 0)
            return true;
    }
    return false;
}

/* The statement of the script that this call belongs to; NULL when the call stands elsewhere (a
 * library, a loaded chunk, an alias of `monitor`). Several in one line come in their order; in a
 * loop the last one comes again. */
static const sm_follow *claim_follow(sm_monitor *m, const lua_Debug *ar) {
    const sm_follow *again = NULL;
    if (strcmp(ar->source, m->chunk) != 0)
        return NULL;
    for (int exact = 1; exact >= 0; exact--) {
        for (size_t i = 0; i < m->n_follows; i++) {
            const sm_follow *f = &m->follows[i];
            /* Lua 5.4.6 and later give a call the line of its bracket, earlier ones that of the
             * word. */
            if (exact ? f->line != ar->currentline
                      : f->line > ar->currentline || f->end_line < ar->currentline)
                continue;
            if (!m->used[i]) {
                m->used[i] = true;
                return f;
            }
            again = f;
        }
    }
    return again;
}

static int raise_at(lua_State *L, const char *source, int line, const char *sentence) {
    if (source && line > 0)
        lua_pushfstring(L, "%s:%d: %s", source + 1, line, sentence);
    else
        lua_pushstring(L, sentence);
    return lua_error(L);
}

/* In a run: keeps run = function when its name is the wanted one. */
static void find_function(lua_State *L, const sm_monitor *m) {
    lua_settop(L, 1);
    lua_pushliteral(L, "run");
    lua_rawget(L, 1);
    lua_pushliteral(L, "name");
    lua_rawget(L, 1);
    const char *name = lua_type(L, 3) == LUA_TSTRING ? lua_tostring(L, 3) : "run";
    if (lua_type(L, 2) == LUA_TFUNCTION && strcmp(name, m->want) == 0) {
        lua_pushvalue(L, 2);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &key_function);
    }
}

static int monitor(lua_State *L) {
    const sm_run *run = sm_run_of(L);
    sm_monitor *m = state_of(L);
    lua_Debug ar;
    if (!m || !run || run->phase != SM_PHASE_LOADING)
        return luaL_error(L, "monitor can only be called while a script is loading");
    if (lua_type(L, 1) != LUA_TTABLE || lua_gettop(L) != 1) {
        const char *got = lua_gettop(L) > 1 ? "more" : sm_luaval_typename(L, 1);
        return luaL_error(L, "monitor: expected one table such as monitor{ title = \"…\" }, got %s",
                          got);
    }
    if (m->want) {
        find_function(L, m);
        return 0;
    }
    bool known = caller(L, &ar);
    const sm_follow *follow = known ? claim_follow(m, &ar) : NULL;
    int line = follow ? follow->line : known ? ar.currentline : 0;

    /* No call that can raise stands between reading the tree and freeing it. */
    sm_err err = SM_ERR_INIT;
    sm_val table;
    sm_rc rc = sm_luaval_read(L, 1, &table, &err);
    if (rc == SM_OK)
        rc = sm_monitor_add(m, &table, follow, line, &err);
    else
        sm_err_wrap(&err, "monitor");
    sm_val_fini(&table);
    if (rc != SM_OK)
        return raise_at(L, known ? ar.source : NULL, line, err.msg);
    return 0;
}

int sm_bind_monitor_open(lua_State *L) {
    lua_pushcfunction(L, monitor);
    return 1;
}

void sm_monitor_bind(lua_State *L, sm_monitor *m) {
    lua_pushlightuserdata(L, m);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key_state);
}

/* Pushes the raw global; a metatable on _G has no say. */
static int push_global(lua_State *L, const char *name) {
    lua_pushglobaltable(L);
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    return lua_type(L, -1);
}

void sm_monitor_finish(lua_State *L, const sm_monitor *m) {
    for (size_t i = 0; i < m->n_fns; i++) {
        const sm_monitor_fn *fn = &m->fns[i];
        if (!fn->by_name)
            continue;
        if (push_global(L, fn->name) != LUA_TFUNCTION) {
            lua_pushfstring(L,
                            "%s:%d: monitor: once the file has run, the global \"%s\" is %s, not a "
                            "function",
                            m->chunk + 1, fn->line, fn->name,
                            lua_isnil(L, -1) ? "nil" : sm_luaval_typename(L, -1));
            lua_error(L);
        }
        lua_pop(L, 1);
    }
}

void sm_monitor_push(lua_State *L, const sm_monitor *m) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key_function) == LUA_TFUNCTION)
        return;
    lua_pop(L, 1);
    if (push_global(L, m->want) != LUA_TFUNCTION)
        luaL_error(L, "%s: registers no function \"%s\"", m->chunk + 1, m->want);
}
