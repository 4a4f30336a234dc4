/* jsoncodec: the modules `cjson` and `cjson.safe`: lua-cjson under its own names, made exact and
 * safe (docs/modules/cjson.md).
 *
 * encode: a raw walk checks UTF-8, depth, cycles and size, then lua-cjson writes; the own writer
 * takes over only for numbers that need more than 14 digits and for array markers. decode: a scan
 * checks size, UTF-8 and numbers, then lua-cjson reads, and integral numbers become integers; a
 * text with integers of 16 or more digits is read by jansson. It refuses settings that would undo
 * the guard (deeper than 64, NaN as text). Runs on the run's thread; the only state is a userdata
 * per module instance, upvalue 1 of every function; upvalue 2 is the bare lua-cjson instance;
 * upvalue 3 tells the safe flavour.
 */
#include "worker/jsoncodec.h"
#include "worker/modules.h"
#include "worker/run.h"
#include "worker/vm.h"
#include <lauxlib.h>
#include <jansson.h>
#include <lua-cjson.h>
#include <string.h>

/* Heap that decode may take beyond the run's limit for the time of one call: per value at most
 * VALUE_BYTES (slot, doubled while a table grows, and short strings). */
enum { VALUE_BYTES = 256, HEADROOM = 64 << 20, HEADROOM_LEAST = 64 << 10 };

const char sm_jsoncodec_empty_array = 0;
const char sm_jsoncodec_array_mt = 0;

/* C memory of one call, anchored so that a raise frees it. */
typedef struct holder {
    sm_buf buf;
    json_t *json;
} holder;

static const char holder_name[] = "selfmon.json buffer";

static int holder_gc(lua_State *L) {
    holder *h = lua_touserdata(L, 1);
    sm_buf_fini(&h->buf);
    json_decref(h->json);
    h->json = NULL;
    return 0;
}

static holder *holder_push(lua_State *L) {
    holder *h = lua_newuserdatauv(L, sizeof *h, 0);
    h->json = NULL;
    sm_buf_init(&h->buf, SM_JSONCODEC_BYTES + (SM_JSONCODEC_BYTES >> 1));
    if (luaL_newmetatable(L, holder_name)) {
        lua_pushcfunction(L, holder_gc);
        lua_setfield(L, -2, "__gc");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    return h;
}

static sm_jsoncodec *self(lua_State *L) {
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* Raises, or in the safe flavour returns nil, sentence, code. */
static int give_up(lua_State *L, const char *function, const sm_err *err) {
    if (lua_toboolean(L, lua_upvalueindex(3))) {
        lua_pushnil(L);
        lua_pushfstring(L, "cjson.%s: %s", function, err->msg);
        lua_pushstring(L, sm_rc_name(err->code));
        return 3;
    }
    return luaL_error(L, "cjson.%s: %s", function, err->msg);
}

/* What a pcall of lua-cjson gave, as a code: a stop of the run or the end of memory is raised on.
 * [-0, +0, e] */
static sm_rc outcome(lua_State *L, int status, sm_err *err) {
    if (status == LUA_OK) {
        return SM_OK;
    }
    sm_run_check(L);
    if (status != LUA_ERRRUN) {
        lua_error(L);
    }
    const char *text = lua_tostring(L, -1);
    return sm_err_set(err, SM_INVALID, "%s", text ? text : "lua-cjson refuses it");
}

/* Replaces the value at the top by its text. [-1, +1, e] */
static sm_rc encode_bare(lua_State *L, sm_err *err) {
    lua_getfield(L, lua_upvalueindex(2), "encode");
    lua_insert(L, -2);
    return outcome(L, lua_pcall(L, 1, 1, 0), err);
}

/* Pushes the value of the text at index 1. lua-cjson 2.1.0 loses a buffer when Lua's memory ends
 * inside it, so that is kept from happening: a text that cannot fit stops the run before, and while
 * it is read the limit is raised, to be checked again afterwards. [-0, +1, e] */
static sm_rc decode_bare(lua_State *L, const sm_jsonscan *scan, sm_err *err) {
    sm_run *run = sm_run_of(L);
    size_t limit = run->limits.memory;
    size_t head = scan->least + scan->values * VALUE_BYTES;
    sm_vm_room(L, scan->least / 2); /* it asks for twice as much */
    lua_getfield(L, lua_upvalueindex(2), "decode");
    lua_pushvalue(L, 1);
    run->limits.memory = limit + (head < HEADROOM ? head + HEADROOM_LEAST : HEADROOM);
    int status = lua_pcall(L, 1, 1, 0);
    run->limits.memory = limit;
    sm_vm_room(L, 0);
    return outcome(L, status, err);
}

static int cjson_encode(lua_State *L) {
    luaL_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
    luaL_checkstack(L, 3 * SM_JSONCODEC_DEPTH, "cjson.encode");
    const sm_jsoncodec *c = self(L);
    sm_err err = SM_ERR_INIT;
    bool own;
    if (sm_jsonwalk_check(L, c, &own, &err) != SM_OK) {
        return give_up(L, "encode", &err);
    }
    if (!own) {
        return encode_bare(L, &err) == SM_OK ? 1 : give_up(L, "encode", &err);
    }
    holder *h = holder_push(L);
    lua_insert(L, 1);
    if (sm_jsonwrite_value(L, c, &h->buf, &err) != SM_OK) {
        return give_up(L, "encode", &err);
    }
    lua_pushlstring(L, h->buf.data, h->buf.len);
    sm_buf_fini(&h->buf);
    return 1;
}

/* Pushes what jansson read; null is lua_pushlightuserdata(NULL) as in lua-cjson. [-0, +1, m] */
static void push_json(lua_State *L, const json_t *j) {
    const char *key;
    json_t *v;
    size_t i;
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        lua_createtable(L, 0, (int)json_object_size(j));
        json_object_foreach((json_t *)(uintptr_t)j, key, v) {
            lua_pushstring(L, key);
            push_json(L, v);
            lua_rawset(L, -3);
        }
        break;
    case JSON_ARRAY:
        lua_createtable(L, (int)json_array_size(j), 0);
        json_array_foreach(j, i, v) {
            push_json(L, v);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        break;
    case JSON_STRING:
        lua_pushlstring(L, json_string_value(j), json_string_length(j));
        break;
    case JSON_INTEGER:
        lua_pushinteger(L, json_integer_value(j));
        break;
    case JSON_REAL:
        lua_pushnumber(L, json_real_value(j));
        break;
    case JSON_NULL:
        lua_pushlightuserdata(L, NULL);
        break;
    default:
        lua_pushboolean(L, json_is_true(j));
    }
}

/* Reads the text by jansson and pushes the value. [-0, +2, m] */
static sm_rc decode_wide(lua_State *L, const char *p, size_t n, bool huge, sm_err *err) {
    holder *h = holder_push(L);
    if (huge) {
        /* jansson refuses integers beyond 64 bits; as floats they are what Lua itself reads. */
        if (sm_jsonscan_widen(p, n, &h->buf) != SM_OK) {
            return sm_err_set(err, SM_LIMIT, "the text is too long");
        }
        p = h->buf.data;
        n = h->buf.len;
    }
    json_error_t je;
    h->json = json_loadb(p, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &je);
    sm_buf_fini(&h->buf);
    if (!h->json) {
        return sm_err_set(err, SM_INVALID, "%s at character %d", je.text, je.position);
    }
    push_json(L, h->json);
    json_decref(h->json);
    h->json = NULL;
    return SM_OK;
}

static int cjson_decode(lua_State *L) {
    luaL_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
    size_t n;
    const char *p = luaL_checklstring(L, 1, &n);
    luaL_checkstack(L, 4 * SM_JSONCODEC_DEPTH, "cjson.decode");
    const sm_jsoncodec *c = self(L);
    sm_err err = SM_ERR_INIT;
    sm_jsonscan scan;
    sm_rc rc = sm_jsonscan_text(p, n, c->decode_depth, &scan, &err);
    if (rc == SM_OK && scan.wide && !c->bare_exact) {
        rc = decode_wide(L, p, n, scan.huge, &err);
    } else if (rc == SM_OK) {
        rc = decode_bare(L, &scan, &err);
    }
    if (rc == SM_OK) {
        rc = sm_jsonwalk_integers(L, &err);
    }
    return rc == SM_OK ? 1 : give_up(L, "decode", &err);
}

/* One integer setting: reads it when given, returns what holds now. */
static int setting(lua_State *L, int *value, int min, int max) {
    luaL_argcheck(L, lua_gettop(L) <= 1, 2, "expected at most 1 argument");
    if (!lua_isnoneornil(L, 1)) {
        lua_Integer v = luaL_checkinteger(L, 1);
        if (v < min || v > max) {
            return luaL_argerror(L, 1,
                                 lua_pushfstring(L, "expected an integer from %d to %d", min, max));
        }
        *value = (int)v;
    }
    lua_pushinteger(L, *value);
    return 1;
}

static int cjson_encode_max_depth(lua_State *L) {
    return setting(L, &self(L)->encode_depth, 1, SM_JSONCODEC_DEPTH);
}

static int cjson_decode_max_depth(lua_State *L) {
    return setting(L, &self(L)->decode_depth, 1, SM_JSONCODEC_DEPTH);
}

static int cjson_encode_number_precision(lua_State *L) {
    return setting(L, &self(L)->precision, 1, 17);
}

static int cjson_encode_keep_buffer(lua_State *L) {
    sm_jsoncodec *c = self(L);
    luaL_argcheck(L, lua_gettop(L) <= 1, 2, "expected at most 1 argument");
    if (!lua_isnoneornil(L, 1)) {
        luaL_checktype(L, 1, LUA_TBOOLEAN);
        c->keep_buffer = lua_toboolean(L, 1);
    }
    lua_pushboolean(L, c->keep_buffer);
    return 1;
}

static int cjson_encode_invalid_numbers(lua_State *L) {
    sm_jsoncodec *c = self(L);
    luaL_argcheck(L, lua_gettop(L) <= 1, 2, "expected at most 1 argument");
    if (lua_type(L, 1) == LUA_TSTRING && strcmp(lua_tostring(L, 1), "null") == 0) {
        c->nan_null = true;
    } else if (lua_isboolean(L, 1) && !lua_toboolean(L, 1)) {
        c->nan_null = false;
    } else if (!lua_isnoneornil(L, 1)) {
        return luaL_argerror(L, 1, "expected false or \"null\": NaN as text is not JSON");
    }
    if (c->nan_null) {
        lua_pushliteral(L, "null");
    } else {
        lua_pushboolean(L, 0);
    }
    return 1;
}

static int cjson_decode_invalid_numbers(lua_State *L) {
    luaL_argcheck(L, lua_gettop(L) <= 1, 2, "expected at most 1 argument");
    if (!lua_isnoneornil(L, 1) && !(lua_isboolean(L, 1) && !lua_toboolean(L, 1))) {
        return luaL_argerror(L, 1, "expected false: NaN and hexadecimal numbers are not JSON");
    }
    lua_pushboolean(L, 0);
    return 1;
}

static int cjson_encode_sparse_array(lua_State *L) {
    sm_jsoncodec *c = self(L);
    luaL_argcheck(L, lua_gettop(L) <= 3, 4, "expected at most 3 arguments");
    bool convert = c->sparse_convert;
    if (!lua_isnoneornil(L, 1)) {
        luaL_checktype(L, 1, LUA_TBOOLEAN);
        convert = lua_toboolean(L, 1);
    }
    lua_Integer ratio = luaL_optinteger(L, 2, c->sparse_ratio);
    lua_Integer safe = luaL_optinteger(L, 3, c->sparse_safe);
    luaL_argcheck(L, ratio >= 0 && ratio <= 1000 * 1000, 2,
                  "expected an integer from 0 to 1000000");
    luaL_argcheck(L, safe >= 0 && safe <= 1000 * 1000, 3, "expected an integer from 0 to 1000000");
    lua_getfield(L, lua_upvalueindex(2), "encode_sparse_array");
    lua_pushboolean(L, convert);
    lua_pushinteger(L, ratio);
    lua_pushinteger(L, safe);
    lua_call(L, 3, 3);
    c->sparse_convert = convert;
    c->sparse_ratio = (int)ratio;
    c->sparse_safe = (int)safe;
    return 3;
}

static int open_flavour(lua_State *L, bool safe);

static int cjson_new(lua_State *L) {
    return open_flavour(L, lua_toboolean(L, lua_upvalueindex(3)));
}

static const luaL_Reg functions[] = {
    {"encode", cjson_encode},
    {"decode", cjson_decode},
    {"new", cjson_new},
    {"encode_sparse_array", cjson_encode_sparse_array},
    {"encode_max_depth", cjson_encode_max_depth},
    {"decode_max_depth", cjson_decode_max_depth},
    {"encode_number_precision", cjson_encode_number_precision},
    {"encode_keep_buffer", cjson_encode_keep_buffer},
    {"encode_invalid_numbers", cjson_encode_invalid_numbers},
    {"decode_invalid_numbers", cjson_decode_invalid_numbers},
    {NULL, NULL},
};

/* Does the bare instance at the top keep 64-bit integers both ways? 2.1.0 does not. */
static bool probe(lua_State *L) {
    static const char max[] = "9223372036854775807";
    int top = lua_gettop(L);
    lua_getfield(L, top, "encode");
    lua_pushinteger(L, LUA_MAXINTEGER);
    bool exact = lua_pcall(L, 1, 1, 0) == LUA_OK && lua_type(L, -1) == LUA_TSTRING &&
                 strcmp(lua_tostring(L, -1), max) == 0;
    lua_getfield(L, top, "decode");
    lua_pushstring(L, max);
    exact = lua_pcall(L, 1, 1, 0) == LUA_OK && lua_isinteger(L, -1) && exact;
    lua_settop(L, top);
    return exact;
}

static void push_array_mt(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &sm_jsoncodec_array_mt) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &sm_jsoncodec_array_mt);
    }
}

static int open_flavour(lua_State *L, bool safe) {
    lua_newtable(L);
    sm_jsoncodec *c = lua_newuserdatauv(L, sizeof *c, 0);
    *c = (sm_jsoncodec){.encode_depth = SM_JSONCODEC_DEPTH,
                        .decode_depth = SM_JSONCODEC_DEPTH,
                        .sparse_ratio = 2,
                        .sparse_safe = 10,
                        .precision = 17,
                        .keep_buffer = true};
    lua_pushcfunction(L, luaopen_cjson);
    lua_call(L, 0, 1);
    lua_getfield(L, -1, "decode_invalid_numbers");
    lua_pushboolean(L, 0);
    lua_call(L, 1, 0);
    c->bare_exact = probe(L);
    lua_getfield(L, -1, "_VERSION");
    lua_setfield(L, -4, "_VERSION");
    lua_pushboolean(L, safe);
    luaL_setfuncs(L, functions, 3);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_pushlightuserdata(L, (void *)(uintptr_t)&sm_jsoncodec_empty_array);
    lua_setfield(L, -2, "empty_array");
    push_array_mt(L);
    lua_setfield(L, -2, "array_mt");
    lua_pushliteral(L, "cjson");
    lua_setfield(L, -2, "_NAME");
    return 1;
}

int sm_bind_cjson_open(lua_State *L) {
    return open_flavour(L, false);
}

int sm_bind_cjson_safe_open(lua_State *L) {
    return open_flavour(L, true);
}
