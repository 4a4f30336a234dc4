/* evalconf: `selfmon-lua --eval-config FILE`: evaluates the configuration file in this short-lived
 * process and writes what it returns as one JSON object to descriptor 3 (worker/entry.h).
 *
 * The file sees env, file and secret and nothing else: no library, no bytecode, 5 s of CPU, 64 MiB.
 * It answers a table of plain values of at most 10,000 nodes. Meaning and unknown keys are the
 * reader's business (daemon/config).
 */
#include "worker/evalconf.h"
#include "base/buf.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "worker/confine.h"
#include "worker/entry.h"
#include "worker/luaval.h"
#include "worker/sandbox.h"
#include "worker/vm.h"
#include "worker/watchdog.h"
#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    OUT_FD = 3,
    FILE_MAX = 1 << 20,
    NODES_MAX = 10000,
    CPU_S = 5,
    MEMORY_MIB = 64,
    FILES_MAX = 1000 /* names of files that are told to the reader */
};

typedef struct conf {
    const char *name; /* last part of the file's path, for messages */
    char *dir;        /* what file() is relative to */
    char *text;
    size_t n;
    json_t *files; /* what file() was asked for, absolute paths */
} conf;

static const conf *conf_of(lua_State *L) {
    return lua_touserdata(L, lua_upvalueindex(1));
}

static int conf_env(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    const char *value = getenv(name);
    lua_settop(L, 2);
    if (value)
        lua_pushstring(L, value);
    return 1;
}

static int conf_secret(lua_State *L) {
    luaL_checkstring(L, 1);
    lua_settop(L, 1);
    lua_createtable(L, 0, 1);
    lua_insert(L, 1);
    lua_setfield(L, 1, "$secret");
    return 1;
}

/* The file's text in Lua, or its error sentence in err. Raises nothing but out of memory, which
 * ends the process. */
static bool push_file(lua_State *L, const conf *c, const char *path, sm_err *err) {
    char *data = NULL;
    size_t n = 0;
    char *full = path[0] == '/' ? sm_strdup(path) : sm_fsx_join(c->dir, path);
    if (json_array_size(c->files) < FILES_MAX)
        json_array_append_new(c->files, sm_json_text(full, strlen(full)));
    sm_rc rc = sm_fsx_read(full, FILE_MAX, &data, &n, err);
    if (rc == SM_OK)
        lua_pushlstring(L, data, n > 0 && data[n - 1] == '\n' ? n - 1 : n);
    free(data);
    free(full);
    return rc == SM_OK;
}

static int conf_file(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    sm_err err = SM_ERR_INIT;
    if (!push_file(L, conf_of(L), path, &err))
        return luaL_error(L, "%s", err.msg);
    return 1;
}

/* [conf] -> value of the file. */
static int evaluate(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"env", conf_env}, {"file", conf_file}, {"secret", conf_secret}};
    const conf *c = lua_touserdata(L, 1);
    lua_pushglobaltable(L);
    for (size_t i = 0; i < SM_ARRAY_LEN(functions); i++) {
        lua_pushvalue(L, 1);
        lua_pushcclosure(L, functions[i].func, 1);
        lua_setfield(L, -2, functions[i].name);
    }
    lua_settop(L, 1);
    if (sm_sandbox_load(L, "", c->name, c->text, c->n) != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 1);
    return 1;
}

static size_t count_nodes(const json_t *j) {
    size_t n = 1, i;
    const char *key;
    json_t *value;
    if (json_is_array(j)) {
        json_array_foreach(j, i, value) n += count_nodes(value);
    } else {
        json_object_foreach((json_t *)(uintptr_t)j, key, value) n += count_nodes(value);
    }
    return n;
}

/* `config.a.b: what is wrong` as `FILE:LINE: a.b: what is wrong`. malloc'd. */
static char *place_error(const conf *c, const json_t *lines, const char *msg) {
    static const char root[] = "config";
    const char *path = strncmp(msg, root, sizeof root - 1) == 0 ? msg + sizeof root - 1 : msg;
    if (*path == '.')
        path++;
    const char *colon = strstr(path, ": ");
    char key[256];
    snprintf(key, sizeof key, "%.*s", colon ? (int)(colon - path) : 0, path);
    /* An item of a list, and what a function made, stand where the nearest known key stands. */
    while (key[0] && !json_object_get(lines, key)) {
        char *cut = key + strlen(key) - 1;
        while (cut > key && *cut != '.' && *cut != '[')
            cut--;
        *cut = '\0';
    }
    int64_t line = sm_json_int(lines, key, 0);
    if (line > 0)
        return sm_asprintf("%s:%lld: %s", c->name, (long long)line, path);
    return sm_asprintf("%s: %s", c->name, path);
}

/* Reads the value at the top into *table, or says in a malloc'd sentence why it cannot. */
static char *read_table(lua_State *L, const conf *c, const json_t *lines, json_t **table) {
    sm_val value;
    sm_err err = SM_ERR_INIT;
    if (!lua_istable(L, -1))
        return sm_asprintf("%s: expected it to return a table, got %s", c->name,
                           luaL_typename(L, -1));
    sm_rc rc = sm_luaval_read(L, -1, &value, &err);
    if (rc == SM_OK) {
        rc = sm_luaval_json(&value, "config", table, &err);
        sm_val_fini(&value);
    }
    if (rc != SM_OK)
        return place_error(c, lines, err.msg);
    if (count_nodes(*table) > NODES_MAX)
        return sm_asprintf("%s: it holds more than %d values", c->name, NODES_MAX);
    if (json_is_array(*table) && json_array_size(*table) > 0)
        return sm_asprintf("%s: expected a table of named keys, got a list", c->name);
    return NULL;
}

/* Evaluates; returns NULL and *table, or a malloc'd sentence. */
static char *run_conf(const conf *c, const json_t *lines, json_t **table) {
    sm_run run;
    sm_limits limits;
    sm_watchdog *dog = NULL;
    sm_err err = SM_ERR_INIT;
    char *error = NULL;
    sm_limits_default(&limits);
    limits.memory = (size_t)MEMORY_MIB << 20;
    limits.cpu_s = CPU_S;
    limits.wall_s = 0; /* the parent's affair: file() may wait for a disk */
    if (sm_watchdog_new(false, &dog, &err) != SM_OK)
        return sm_strdup(err.msg);
    sm_run_init(&run, c->name, "", &limits, NULL);
    sm_vm_watched_by(dog);
    sm_vm_enter(&run);
    lua_State *L = sm_vm_new(&run);
    if (L) {
        lua_pushcfunction(L, evaluate);
        lua_pushlightuserdata(L, (void *)(uintptr_t)c);
        sm_rc rc = sm_vm_call(L, 1, 1, &error, NULL);
        if (rc == SM_LIMIT) {
            const char *where = run.where[0] ? run.where : c->name;
            free(error);
            error = atomic_load(&run.stop) == SM_STOP_CPU
                        ? sm_asprintf("%s: it takes more than %d s of CPU", where, CPU_S)
                        : sm_asprintf("%s: it takes more than %d MiB of memory", where, MEMORY_MIB);
        }
        if (rc == SM_OK)
            error = read_table(L, c, lines, table);
        sm_vm_close(L);
    } else {
        error = sm_strdup("out of memory");
    }
    sm_vm_leave();
    sm_vm_watched_by(NULL);
    sm_run_fini(&run);
    sm_watchdog_free(dog);
    return error;
}

int sm_evalconf_main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[argc - 1] : "";
    sm_err err = SM_ERR_INIT;
    conf c = {.name = sm_fsx_basename(path), .files = json_array()};
    json_t *table = NULL, *lines = NULL;
    char *error = NULL;
    sm_confined confined;
    signal(SIGPIPE, SIG_IGN);
    sm_confine_config(&confined);
    if (sm_fsx_read(path, SM_SANDBOX_TEXT_MAX, &c.text, &c.n, &err) == SM_OK) {
        char *absolute = sm_fsx_absolute(path);
        c.dir = sm_fsx_dirname(absolute);
        free(absolute);
        lines = sm_evalconf_lines(c.text, c.n);
        error = run_conf(&c, lines, &table);
    } else {
        error = sm_strdup(err.msg);
    }
    json_t *answer =
        error ? json_pack("{s:b, s:o}", "ok", 0, "error", sm_json_text(error, strlen(error)))
              : json_pack("{s:b, s:O, s:O}", "ok", 1, "table", table, "lines", lines);
    size_t n = 0;
    json_object_set(answer, "files", c.files);
    char *text = sm_json_dump(answer, &n);
    bool told = sm_fsx_write_all(OUT_FD, text, n) == SM_OK;
    explicit_bzero(text, n); /* env() and file() may have given secrets */
    free(text);
    json_decref(answer);
    json_decref(table);
    json_decref(lines);
    json_decref(c.files);
    free(error);
    free(c.text);
    free(c.dir);
    return told ? 0 : 1;
}
