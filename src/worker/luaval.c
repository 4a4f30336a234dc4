/* luaval: reads Lua values into C and JSON, and pushes JSON back.
 *
 * Reading is raw (lua_next on the table itself): no metamethod of a script ever runs, so a hostile
 * table can neither loop, yield nor change under the reader. It allocates nothing in Lua and never
 * raises; depth, number of nodes and cycles are bounded here, so nothing behind it recurses further
 * than SM_LUAVAL_DEPTH. Called by the bindings, on the thread that owns the state.
 */
#include "worker/luaval.h"
#include "base/mem.h"
#include "base/str.h"
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
    lua_State *L;
    const void *above[SM_LUAVAL_DEPTH]; /* the tables we are inside of */
    int depth;
    size_t nodes;
    sm_err *err;
} reader;

const char *sm_luaval_typename(lua_State *L, int idx) {
    const char *name = luaL_typename(L, idx);
    if (lua_type(L, idx) != LUA_TUSERDATA || !lua_checkstack(L, 4) || !lua_getmetatable(L, idx))
        return name;
    /* By lua_next, because looking a name up would have to make a Lua string, which may raise. */
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING &&
            strcmp(lua_tostring(L, -2), "__name") == 0) {
            name = lua_tostring(L, -1); /* kept alive by the metatable */
            lua_pop(L, 2);
            break;
        }
    }
    lua_pop(L, 1);
    return name;
}

static sm_rc read_value(reader *r, int idx, bool key, sm_val *out);

static sm_rc read_table(reader *r, int idx, sm_val *out) {
    lua_State *L = r->L;
    const void *self = lua_topointer(L, idx);
    size_t cap = 0;
    sm_rc rc = SM_OK;

    for (int i = 0; i < r->depth; i++)
        if (r->above[i] == self)
            return sm_err_set(r->err, SM_INVALID, "the table contains itself");
    if (r->depth == SM_LUAVAL_DEPTH)
        return sm_err_set(r->err, SM_LIMIT, "the table is nested more than %d levels deep",
                          SM_LUAVAL_DEPTH);
    if (!lua_checkstack(L, 4))
        return sm_err_set(r->err, SM_LIMIT, "the Lua stack is full");
    r->above[r->depth++] = self;
    out->type = SM_VAL_TABLE;
    out->u.t.p = NULL;
    out->u.t.n = 0;
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        if (out->u.t.n == cap) {
            cap = cap ? cap * 2 : 8;
            out->u.t.p = sm_realloc(out->u.t.p, cap * sizeof *out->u.t.p);
        }
        sm_pair *pair = &out->u.t.p[out->u.t.n++];
        memset(pair, 0, sizeof *pair);
        int top = lua_gettop(L);
        rc = read_value(r, top - 1, true, &pair->key);
        if (rc == SM_OK)
            rc = read_value(r, top, false, &pair->val);
        if (rc != SM_OK) {
            lua_pop(L, 2);
            break;
        }
        lua_pop(L, 1);
    }
    r->depth--;
    return rc;
}

static sm_rc read_value(reader *r, int idx, bool key, sm_val *out) {
    lua_State *L = r->L;
    if (++r->nodes > SM_LUAVAL_NODES)
        return sm_err_set(r->err, SM_LIMIT, "the table has more than %d values", SM_LUAVAL_NODES);
    switch (lua_type(L, idx)) {
    case LUA_TNIL:
    case LUA_TNONE:
        out->type = SM_VAL_NIL;
        return SM_OK;
    case LUA_TBOOLEAN:
        out->type = SM_VAL_BOOL;
        out->u.b = lua_toboolean(L, idx);
        return SM_OK;
    case LUA_TNUMBER:
        if (lua_isinteger(L, idx)) {
            out->type = SM_VAL_INT;
            out->u.i = lua_tointeger(L, idx);
        } else {
            out->type = SM_VAL_NUM;
            out->u.n = lua_tonumber(L, idx);
        }
        return SM_OK;
    case LUA_TSTRING: /* is a string already, so lua_tolstring converts and allocates nothing */
        out->type = SM_VAL_STR;
        out->u.s.p = lua_tolstring(L, idx, &out->u.s.n);
        return SM_OK;
    case LUA_TTABLE:
        if (!key)
            return read_table(r, idx, out);
        break;
    default:
        break;
    }
    out->type = SM_VAL_OTHER;
    out->u.s.p = sm_luaval_typename(L, idx);
    out->u.s.n = strlen(out->u.s.p);
    return SM_OK;
}

sm_rc sm_luaval_read(lua_State *L, int idx, sm_val *out, sm_err *err) {
    reader r = {.L = L, .err = err};
    memset(out, 0, sizeof *out);
    sm_rc rc = read_value(&r, lua_absindex(L, idx), false, out);
    if (rc != SM_OK) {
        sm_val_fini(out);
        memset(out, 0, sizeof *out);
    }
    return rc;
}

bool sm_luaval_list(const sm_val *table, const sm_val ***items) {
    size_t n = table->u.t.n;
    const sm_val **list = n ? sm_calloc(n, sizeof *list) : NULL;
    bool yes = true;
    for (size_t i = 0; i < n && yes; i++) {
        const sm_val *k = &table->u.t.p[i].key;
        /* Keys of a table are distinct, so n of them in 1..n are all of 1..n. */
        yes = k->type == SM_VAL_INT && k->u.i >= 1 && (uint64_t)k->u.i <= n;
        if (yes)
            list[k->u.i - 1] = &table->u.t.p[i].val;
    }
    if (items && yes) {
        *items = list;
        return true;
    }
    if (items)
        *items = NULL;
    free(list);
    return yes;
}

/* Path of the value at hand, for sentences; cut when it is long. */
typedef struct path {
    char text[200];
    size_t n;
} path;

static path path_member(const path *p, const char *key) {
    path q = *p;
    char *shown = sm_str_printable(key, strlen(key), 60);
    int n = snprintf(q.text + q.n, sizeof q.text - q.n, ".%s", shown);
    q.n = n < 0 || (size_t)n >= sizeof q.text - q.n ? sizeof q.text - 1 : q.n + (size_t)n;
    free(shown);
    return q;
}

static path path_index(const path *p, size_t i) {
    path q = *p;
    int n = snprintf(q.text + q.n, sizeof q.text - q.n, "[%zu]", i);
    q.n = n < 0 || (size_t)n >= sizeof q.text - q.n ? sizeof q.text - 1 : q.n + (size_t)n;
    return q;
}

static sm_rc to_json(const sm_val *v, const path *p, json_t **out, sm_err *err);

/* Text of a key into a new string. */
static sm_rc key_text(const sm_val *k, const path *p, char **out, sm_err *err) {
    if (k->type == SM_VAL_INT) {
        *out = sm_asprintf("%lld", (long long)k->u.i);
    } else if (k->type == SM_VAL_NUM) {
        *out = sm_asprintf("%.14g", k->u.n);
    } else if (k->type != SM_VAL_STR) {
        return sm_err_set(err, SM_INVALID, "%s: expected a string or number as key, got %s",
                          p->text, k->type == SM_VAL_OTHER ? k->u.s.p : "boolean");
    } else if (!sm_utf8_valid(k->u.s.p, k->u.s.n) || memchr(k->u.s.p, '\0', k->u.s.n)) {
        return sm_err_set(err, SM_INVALID, "%s: expected UTF-8 text without NUL as key", p->text);
    } else {
        *out = sm_memdup(k->u.s.p, k->u.s.n);
    }
    return SM_OK;
}

static sm_rc object_to_json(const sm_val *v, const path *p, json_t **out, sm_err *err) {
    json_t *obj = json_object();
    sm_rc rc = SM_OK;
    for (size_t i = 0; i < v->u.t.n && rc == SM_OK; i++) {
        char *key = NULL;
        json_t *val = NULL;
        rc = key_text(&v->u.t.p[i].key, p, &key, err);
        if (rc == SM_OK) {
            path q = path_member(p, key);
            if (json_object_get(obj, key))
                rc = sm_err_set(err, SM_INVALID, "%s: two keys have this text", q.text);
            else
                rc = to_json(&v->u.t.p[i].val, &q, &val, err);
        }
        if (rc == SM_OK)
            json_object_set_new(obj, key, val);
        free(key);
    }
    if (rc == SM_OK)
        *out = obj;
    else
        json_decref(obj);
    return rc;
}

static sm_rc list_to_json(const sm_val *const *items, size_t n, const path *p, json_t **out,
                          sm_err *err) {
    json_t *arr = json_array();
    sm_rc rc = SM_OK;
    for (size_t i = 0; i < n && rc == SM_OK; i++) {
        path q = path_index(p, i + 1);
        json_t *val = NULL;
        rc = to_json(items[i], &q, &val, err);
        if (rc == SM_OK)
            json_array_append_new(arr, val);
    }
    if (rc == SM_OK)
        *out = arr;
    else
        json_decref(arr);
    return rc;
}

static sm_rc to_json(const sm_val *v, const path *p, json_t **out, sm_err *err) {
    const sm_val **items = NULL;
    sm_rc rc;
    switch (v->type) {
    case SM_VAL_NIL:
        *out = json_null();
        return SM_OK;
    case SM_VAL_BOOL:
        *out = json_boolean(v->u.b);
        return SM_OK;
    case SM_VAL_INT:
        *out = json_integer(v->u.i);
        return SM_OK;
    case SM_VAL_NUM:
        if (!isfinite(v->u.n))
            return sm_err_set(err, SM_INVALID, "%s: expected a finite number, got %s", p->text,
                              isnan(v->u.n) ? "NaN" : "infinity");
        *out = json_real(v->u.n);
        return SM_OK;
    case SM_VAL_STR:
        if (!sm_utf8_valid(v->u.s.p, v->u.s.n))
            return sm_err_set(err, SM_INVALID, "%s: expected UTF-8 text", p->text);
        *out = json_stringn(v->u.s.p, v->u.s.n);
        return SM_OK;
    case SM_VAL_TABLE:
        if (!sm_luaval_list(v, &items))
            return object_to_json(v, p, out, err);
        rc = list_to_json(items, v->u.t.n, p, out, err);
        free(items);
        return rc;
    case SM_VAL_OTHER:
    default:
        return sm_err_set(err, SM_INVALID,
                          "%s: expected a string, number, boolean or table, got %s", p->text,
                          v->u.s.p);
    }
}

sm_rc sm_luaval_json(const sm_val *v, const char *root, json_t **out, sm_err *err) {
    path p;
    p.n = (size_t)snprintf(p.text, sizeof p.text, "%.60s", root);
    *out = NULL;
    return to_json(v, &p, out, err);
}

sm_rc sm_luaval_to_json(lua_State *L, int idx, json_t **out, sm_err *err) {
    sm_val v;
    *out = NULL;
    sm_rc rc = sm_luaval_read(L, idx, &v, err);
    if (rc == SM_OK)
        rc = sm_luaval_json(&v, "value", out, err);
    sm_val_fini(&v);
    return rc;
}

void sm_luaval_push(lua_State *L, const json_t *j) {
    luaL_checkstack(L, 4, "JSON is nested too deep");
    switch (j ? json_typeof(j) : JSON_NULL) {
    case JSON_OBJECT: {
        const char *key;
        json_t *val;
        json_t *obj = (json_t *)(uintptr_t)j; /* jansson's iterator takes no const */
        lua_createtable(L, 0, (int)(json_object_size(j) & 0xffff));
        json_object_foreach(obj, key, val) {
            sm_luaval_push(L, val);
            lua_pushstring(L, key);
            lua_insert(L, -2);
            lua_rawset(L, -3);
        }
        break;
    }
    case JSON_ARRAY: {
        size_t n = json_array_size(j);
        lua_createtable(L, (int)(n & 0xffffff), 0);
        for (size_t i = 0; i < n; i++) {
            sm_luaval_push(L, json_array_get(j, i));
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        break;
    }
    case JSON_STRING:
        lua_pushlstring(L, json_string_value(j), json_string_length(j));
        break;
    case JSON_INTEGER:
        lua_pushinteger(L, json_integer_value(j));
        break;
    case JSON_REAL:
        lua_pushnumber(L, json_real_value(j));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(L, json_is_true(j));
        break;
    case JSON_NULL:
    default:
        lua_pushnil(L);
        break;
    }
}
