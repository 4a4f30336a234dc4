/* luaval: raw reading with its bounds, JSON with the path of what does not fit, and back. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "worker/luaval.h"
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

static lua_State *new_state(void) {
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    return L;
}

static void eval(lua_State *L, const char *expr) {
    lua_settop(L, 0);
    if (luaL_dostring(L, expr) != LUA_OK)
        fail_msg("%s: %s", expr, lua_tostring(L, -1));
}

typedef struct row {
    const char *name, *lua;
    const char *json;  /* expected text, or NULL */
    const char *error; /* expected sentence */
    sm_rc rc;
} row;

static const row rows[] = {
    {"nil", "return nil", "null", NULL, SM_OK},
    {"true", "return true", "true", NULL, SM_OK},
    {"integer", "return math.maxinteger", "9223372036854775807", NULL, SM_OK},
    {"float", "return 0.1", "0.10000000000000001", NULL, SM_OK},
    {"integral float", "return 2.0", "2.0", NULL, SM_OK},
    {"text", "return 'a\\0b'", "\"a\\u0000b\"", NULL, SM_OK},
    {"empty", "return {}", "[]", NULL, SM_OK},
    {"list", "return {1, 'x', {true}}", "[1,\"x\",[true]]", NULL, SM_OK},
    {"list out of order", "local t = {} t[3] = 'c' t[1] = 'a' t[2] = 'b' return t",
     "[\"a\",\"b\",\"c\"]", NULL, SM_OK},
    {"list with a gap", "return {[1] = 1, [3] = 3}", "{\"1\":1,\"3\":3}", NULL, SM_OK},
    {"from zero", "return {[0] = 1, 2}", "{\"0\":1,\"1\":2}", NULL, SM_OK},
    {"object", "return {b = 1, a = {}}", "{\"a\":[],\"b\":1}", NULL, SM_OK},
    {"float key", "return {[1.5] = 1}", "{\"1.5\":1}", NULL, SM_OK},
    {"same table twice", "local t = {1} return {t, t}", "[[1],[1]]", NULL, SM_OK},
    {"metamethods sleep",
     "return setmetatable({1}, {__index = error, __pairs = error, __len = error, __tostring = "
     "error})",
     "[1]", NULL, SM_OK},
    {"function", "return {a = {print}}", NULL,
     "value.a[1]: expected a string, number, boolean or table, got function", SM_INVALID},
    {"file", "return {io.stdout}", NULL,
     "value[1]: expected a string, number, boolean or table, got FILE*", SM_INVALID},
    {"nan", "return {x = 0/0}", NULL, "value.x: expected a finite number, got NaN", SM_INVALID},
    {"infinity", "return math.huge", NULL, "value: expected a finite number, got infinity",
     SM_INVALID},
    {"bad UTF-8", "return {a = {'ok', '\\xff'}}", NULL, "value.a[2]: expected UTF-8 text",
     SM_INVALID},
    {"bad UTF-8 key", "return {['\\xff'] = 1}", NULL,
     "value: expected UTF-8 text without NUL as key", SM_INVALID},
    {"NUL in a key", "return {['a\\0'] = 1}", NULL, "value: expected UTF-8 text without NUL as key",
     SM_INVALID},
    {"boolean key", "return {[true] = 1}", NULL,
     "value: expected a string or number as key, got boolean", SM_INVALID},
    {"table key", "return {[{}] = 1}", NULL, "value: expected a string or number as key, got table",
     SM_INVALID},
    {"two keys, one text", "return {['2'] = 1, [2] = 1}", NULL, "value.2: two keys have this text",
     SM_INVALID},
    {"cycle", "local t = {} t.t = t return t", NULL, "the table contains itself", SM_INVALID},
    {"long cycle", "local t = {} t.a = {b = {c = t}} return t", NULL, "the table contains itself",
     SM_INVALID},
    {"depth 32", "local t = {} for _ = 1, 31 do t = {t} end return t",
     "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", NULL, SM_OK},
    {"depth 33", "local t = {} for _ = 1, 32 do t = {t} end return t", NULL,
     "the table is nested more than 32 levels deep", SM_LIMIT},
    {"very deep", "local t = {} for _ = 1, 200000 do t = {t} end return t", NULL,
     "the table is nested more than 32 levels deep", SM_LIMIT},
    {"wide", "local t = {} for i = 1, 60000 do t[i] = i end return t", NULL,
     "the table has more than 100000 values", SM_LIMIT},
    {"wide by sharing",
     "local t = {1,1,1,1,1,1,1,1,1,1} for _ = 1, 9 do t = {t,t,t,t,t,t,t,t,t,t} end return t", NULL,
     "the table has more than 100000 values", SM_LIMIT},
};

static void test_to_json(void **state) {
    (void)state;
    lua_State *L = new_state();
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        const row *r = &rows[i];
        json_t *json = NULL;
        sm_err err = SM_ERR_INIT;
        eval(L, r->lua);
        int top = lua_gettop(L);
        sm_rc rc = sm_luaval_to_json(L, 1, &json, &err);
        assert_int_equal(lua_gettop(L), top);
        char *text = json ? sm_json_dump(json, NULL) : NULL;
        if (rc != r->rc || (r->json && (!text || strcmp(text, r->json) != 0)) ||
            (r->error && strcmp(err.msg, r->error) != 0))
            fail_msg("%s: got %d %s %s", r->name, rc, text ? text : "-", err.msg);
        free(text);
        json_decref(json);
    }
    lua_close(L);
}

static void test_round_trip(void **state) {
    (void)state;
    static const char *const texts[] = {
        "[1,2.5,\"x\",true,false]",
        "{\"a\":{\"b\":[[],[1]]},\"n\":9007199254740993}",
        "\"\xc3\xa9\"",
        "{\"1\":1,\"x\":2}",
    };
    lua_State *L = new_state();
    for (size_t i = 0; i < SM_ARRAY_LEN(texts); i++) {
        json_t *in = NULL, *out = NULL;
        assert_int_equal(sm_json_parse(texts[i], strlen(texts[i]), 4096, &in, NULL), SM_OK);
        lua_settop(L, 0);
        sm_luaval_push(L, in);
        assert_int_equal(lua_gettop(L), 1);
        assert_int_equal(sm_luaval_to_json(L, 1, &out, NULL), SM_OK);
        char *text = sm_json_dump(out, NULL);
        assert_string_equal(text, texts[i]);
        free(text);
        json_decref(in);
        json_decref(out);
    }
    lua_close(L);
}

static void test_push_null(void **state) {
    (void)state;
    lua_State *L = new_state();
    json_t *in = NULL;
    assert_int_equal(sm_json_parse("{\"a\":null,\"b\":1}", 16, 64, &in, NULL), SM_OK);
    sm_luaval_push(L, in);
    assert_int_equal(lua_getfield(L, 1, "a"), LUA_TNIL);
    assert_int_equal(lua_getfield(L, 1, "b"), LUA_TNUMBER);
    assert_true(lua_isinteger(L, -1));
    sm_luaval_push(L, NULL);
    assert_true(lua_isnil(L, -1));
    json_decref(in);
    lua_close(L);
}

static void test_list(void **state) {
    (void)state;
    static const struct {
        const char *lua;
        bool yes;
    } lists[] = {
        {"return {}", true},          {"return {1,2,3}", true},     {"return {1,nil,3}", false},
        {"return {a = 1}", false},    {"return {1, a = 1}", false}, {"return {[2] = 1}", false},
        {"return {[1.0] = 1}", true},
    };
    lua_State *L = new_state();
    for (size_t i = 0; i < SM_ARRAY_LEN(lists); i++) {
        sm_val v;
        const sm_val **items = NULL;
        eval(L, lists[i].lua);
        assert_int_equal(sm_luaval_read(L, -1, &v, NULL), SM_OK);
        if (sm_luaval_list(&v, &items) != lists[i].yes || sm_luaval_list(&v, NULL) != lists[i].yes)
            fail_msg("%s", lists[i].lua);
        free(items);
        sm_val_fini(&v);
    }
    lua_close(L);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_to_json),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_push_null),
        cmocka_unit_test(test_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
