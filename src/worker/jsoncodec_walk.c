/* jsoncodec_walk: the raw walk over a Lua value before it is encoded, and over one just decoded.
 *
 * Only raw reads: no metamethod runs, nothing raises, so the caller may hold C memory. Recursion is
 * bounded by the depth setting (at most 64); a table met inside itself is named as such.
 */
#include "worker/jsoncodec.h"
#include "base/str.h"
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct walk {
    lua_State *L;
    const sm_jsoncodec *c;
    size_t size;                              /* bytes the text will have, at least */
    bool own;                                 /* lua-cjson would not do */
    const void *open[SM_JSONCODEC_DEPTH + 1]; /* tables around the current value */
    char path[200];                           /* built from the inside out on failure */
    sm_err *err;
} walk;

static bool has_array_mt(lua_State *L, int idx) {
    if (!lua_getmetatable(L, idx)) {
        return false;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &sm_jsoncodec_array_mt);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

sm_rc sm_jsonwalk_shape(lua_State *L, int idx, const sm_jsoncodec *c, sm_jsonshape *out,
                        sm_err *err) {
    idx = lua_absindex(L, idx);
    out->marked = has_array_mt(L, idx);
    out->count = 0;
    out->array = true;
    lua_Integer items = 0;
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        lua_pop(L, 1);
        lua_Integer k = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        if (k >= 1) {
            items++;
            out->count = k > out->count ? k : out->count;
            continue;
        }
        out->array = false;
        int type = lua_type(L, -1);
        if (type != LUA_TSTRING && type != LUA_TNUMBER) {
            const char *name = lua_typename(L, type);
            lua_pop(L, 1);
            return sm_err_set(err, SM_INVALID, "a key must be a string or a number, got a %s",
                              name);
        }
        if (out->marked) {
            lua_pop(L, 1);
            return sm_err_set(err, SM_INVALID,
                              "a table marked with cjson.array_mt may have only the keys 1..n");
        }
    }
    if (items == 0 && !out->marked) {
        out->array = false;
    }
    if (out->array && !out->marked && c->sparse_ratio > 0 && out->count > c->sparse_safe &&
        out->count > items * c->sparse_ratio) {
        if (!c->sparse_convert) {
            return sm_err_set(err, SM_INVALID,
                              "excessively sparse array: %lld elements, the last at %lld",
                              (long long)items, (long long)out->count);
        }
        out->array = false;
    }
    return SM_OK;
}

/* Puts one step (".name" or "[3]") before the path of a failure. */
static void path_before(walk *w, const char *step) {
    char was[sizeof w->path];
    memcpy(was, w->path, sizeof was);
    snprintf(w->path, sizeof w->path, "%.70s%.129s", step, was);
}

static void path_key(walk *w, int idx) {
    char step[72];
    if (lua_isinteger(w->L, idx)) {
        snprintf(step, sizeof step, "[%lld]", (long long)lua_tointeger(w->L, idx));
    } else if (lua_type(w->L, idx) == LUA_TSTRING) {
        const char *s = lua_tostring(w->L, idx);
        snprintf(step, sizeof step, ".%.*s", (int)sm_utf8_cut(s, strlen(s), 60), s);
    } else {
        snprintf(step, sizeof step, "[number]");
    }
    path_before(w, step);
}

/* Length of the text as a JSON string; false when it is not UTF-8. */
static bool string_size(const char *p, size_t n, size_t *size) {
    size_t s = 2;
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)p[i];
        if (c < 0x80) {
            bool twice = c == '"' || c == '\\' || c == '/' || (c >= '\b' && c <= '\r' && c != 0x0b);
            s += twice ? 2 : c < 0x20 || c == 0x7f ? 6 : 1;
            i++;
        } else {
            size_t l = sm_utf8_len(p + i, n - i);
            if (l == 0) {
                return false;
            }
            s += l;
            i += l;
        }
    }
    *size = s;
    return true;
}

static sm_rc walk_string(walk *w, int idx) {
    size_t n, size;
    const char *s = lua_tolstring(w->L, idx, &n);
    if (n > SM_JSONCODEC_BYTES) {
        w->size += n;
        return SM_OK;
    }
    if (!string_size(s, n, &size)) {
        return sm_err_set(w->err, SM_INVALID, "text that is not valid UTF-8 (%s)",
                          "crypto.base64 makes bytes fit for JSON");
    }
    w->size += size;
    return SM_OK;
}

static sm_rc walk_number(walk *w, int idx) {
    w->size += 1;
    if (lua_isinteger(w->L, idx)) {
        lua_Integer i = lua_tointeger(w->L, idx);
        if (i > INT64_C(99999999999999) || i < -INT64_C(99999999999999)) {
            w->own = true;
        }
        return SM_OK;
    }
    double d = lua_tonumber(w->L, idx);
    if (!isfinite(d)) {
        w->own = true;
        if (!w->c->nan_null) {
            return sm_err_set(w->err, SM_INVALID, "%s is no JSON number",
                              isnan(d) ? "NaN" : "an infinite number");
        }
    } else if (w->c->precision != 17 || !sm_jsonwrite_short(d)) {
        w->own = true;
    }
    return SM_OK;
}

static sm_rc walk_value(walk *w, int level);

static sm_rc walk_table(walk *w, int level) {
    lua_State *L = w->L;
    const void *self = lua_topointer(L, -1);
    for (int i = 0; i < level; i++) {
        if (w->open[i] == self) {
            return sm_err_set(w->err, SM_INVALID, "a table that contains itself");
        }
    }
    if (level >= w->c->encode_depth) {
        return sm_err_set(w->err, SM_LIMIT, "more than %d levels deep", w->c->encode_depth);
    }
    w->open[level] = self;
    sm_jsonshape shape;
    sm_rc rc = sm_jsonwalk_shape(L, -1, w->c, &shape, w->err);
    if (rc != SM_OK) {
        return rc;
    }
    w->own = w->own || shape.marked;
    w->size += 2;
    if (shape.array) {
        /* Holes are written as null; a huge count is refused here, before anybody loops over it. */
        w->size +=
            (size_t)shape.count > SM_JSONCODEC_BYTES ? SM_JSONCODEC_BYTES : (size_t)shape.count;
    }
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        if (!shape.array) {
            w->size += 2;
            rc = lua_type(L, -2) == LUA_TSTRING ? walk_string(w, -2) : walk_number(w, -2);
        }
        if (rc == SM_OK) {
            rc = walk_value(w, level + 1);
        }
        if (rc != SM_OK) {
            path_key(w, -2);
            lua_pop(L, 2);
            return rc;
        }
        lua_pop(L, 1);
    }
    return SM_OK;
}

static sm_rc walk_value(walk *w, int level) {
    sm_rc rc = SM_OK;
    switch (lua_type(w->L, -1)) {
    case LUA_TNIL:
        w->size += 4;
        break;
    case LUA_TBOOLEAN:
        w->size += 4;
        break;
    case LUA_TNUMBER:
        rc = walk_number(w, -1);
        break;
    case LUA_TSTRING:
        rc = walk_string(w, -1);
        break;
    case LUA_TTABLE:
        rc = walk_table(w, level);
        break;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(w->L, -1) == &sm_jsoncodec_empty_array) {
            w->own = true;
            w->size += 2;
            break;
        }
        if (lua_touserdata(w->L, -1) == NULL) {
            w->size += 4;
            break;
        }
        /* fallthrough */
    default:
        rc = sm_err_set(w->err, SM_INVALID, "a %s has no form in JSON",
                        lua_typename(w->L, lua_type(w->L, -1)));
    }
    if (rc == SM_OK && w->size > SM_JSONCODEC_BYTES) {
        rc = sm_err_set(w->err, SM_LIMIT, "the text would have more than %d bytes",
                        SM_JSONCODEC_BYTES);
    }
    return rc;
}

sm_rc sm_jsonwalk_check(lua_State *L, const sm_jsoncodec *c, bool *own, sm_err *err) {
    walk w = {.L = L, .c = c, .err = err};
    sm_rc rc = walk_value(&w, 0);
    *own = w.own;
    if (rc != SM_OK && w.path[0]) {
        sm_err_wrap(err, "%s", w.path + (w.path[0] == '.' ? 1 : 0));
    }
    return rc;
}

/* Replaces the float at the top by its integer when it is one. */
static sm_rc integer_top(lua_State *L, bool *changed, sm_err *err) {
    *changed = false;
    if (lua_type(L, -1) != LUA_TNUMBER || lua_isinteger(L, -1)) {
        return SM_OK;
    }
    double d = lua_tonumber(L, -1);
    if (!isfinite(d)) {
        return sm_err_set(err, SM_INVALID, "a number is too large");
    }
    if (d >= -9007199254740992.0 && d <= 9007199254740992.0 && d == floor(d)) {
        lua_pop(L, 1);
        lua_pushinteger(L, (lua_Integer)d);
        *changed = true;
    }
    return SM_OK;
}

sm_rc sm_jsonwalk_integers(lua_State *L, sm_err *err) {
    bool changed;
    if (lua_type(L, -1) != LUA_TTABLE) {
        return integer_top(L, &changed, err);
    }
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        sm_rc rc;
        if (lua_type(L, -1) == LUA_TTABLE) {
            rc = sm_jsonwalk_integers(L, err);
            changed = false;
        } else {
            rc = integer_top(L, &changed, err);
        }
        if (rc != SM_OK) {
            lua_pop(L, 2);
            return rc;
        }
        if (changed) { /* assigning to an existing field is allowed during lua_next (manual 6.1) */
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, -4);
        } else {
            lua_pop(L, 1);
        }
    }
    return SM_OK;
}
