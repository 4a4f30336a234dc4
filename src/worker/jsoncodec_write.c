/* jsoncodec_write: writes a checked Lua value as JSON where lua-cjson would lose digits or does not
 * know the value: numbers of more than 14 digits, `cjson.empty_array`, tables marked by array_mt.
 *
 * Called by jsoncodec.c after sm_jsonwalk_check accepted the value, so types, UTF-8, depth and size
 * are known to be good. Raw reads only; nothing raises. Spelling is lua-cjson's (`\/`, `\u007f`).
 */
#include "worker/jsoncodec.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool sm_jsonwrite_short(double d) {
    if (d > -1e14 && d < 1e14 && d == floor(d)) {
        return true;
    }
    char text[40];
    snprintf(text, sizeof text, "%.14g", d);
    return strtod(text, NULL) == d;
}

size_t sm_jsonwrite_number(double d, int precision, char out[40]) {
    int first = precision < 14 ? precision : 14;
    int n = 0;
    for (int digits = first; digits <= precision; digits++) {
        n = snprintf(out, 40, "%.*g", digits, d);
        if (strtod(out, NULL) == d) {
            break;
        }
    }
    return (size_t)n;
}

static void write_string(sm_buf *out, const char *p, size_t n) {
    static const char hex[] = "0123456789abcdef";
    sm_buf_addc(out, '"');
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        char esc[7] = {'\\', 0, 0, 0, 0, 0, 0};
        if (c == '"' || c == '\\' || c == '/') {
            esc[1] = (char)c;
        } else if (c >= '\b' && c <= '\r' && c != 0x0b) {
            esc[1] = "btn?fr"[c - '\b'];
        } else if (c < 0x20 || c == 0x7f) {
            snprintf(esc, sizeof esc, "\\u00%c%c", hex[c >> 4], hex[c & 15]);
        } else {
            continue;
        }
        sm_buf_add(out, p + from, i - from);
        sm_buf_adds(out, esc);
        from = i + 1;
    }
    sm_buf_add(out, p + from, n - from);
    sm_buf_addc(out, '"');
}

static void write_number(lua_State *L, int idx, const sm_jsoncodec *c, sm_buf *out) {
    if (lua_isinteger(L, idx)) {
        sm_buf_addf(out, "%lld", (long long)lua_tointeger(L, idx));
        return;
    }
    double d = lua_tonumber(L, idx);
    char text[40];
    if (!isfinite(d)) {
        sm_buf_adds(out, "null"); /* the walk let it pass: encode_invalid_numbers("null") */
    } else {
        sm_buf_add(out, text, sm_jsonwrite_number(d, c->precision, text));
    }
}

static void write_value(lua_State *L, const sm_jsoncodec *c, sm_buf *out);

static void write_array(lua_State *L, const sm_jsoncodec *c, lua_Integer count, sm_buf *out) {
    sm_buf_addc(out, '[');
    for (lua_Integer i = 1; i <= count && !out->failed; i++) {
        if (i > 1) {
            sm_buf_addc(out, ',');
        }
        lua_rawgeti(L, -1, i);
        write_value(L, c, out);
        lua_pop(L, 1);
    }
    sm_buf_addc(out, ']');
}

static void write_object(lua_State *L, const sm_jsoncodec *c, sm_buf *out) {
    bool first = true;
    sm_buf_addc(out, '{');
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        if (!first) {
            sm_buf_addc(out, ',');
        }
        first = false;
        if (lua_type(L, -2) == LUA_TSTRING) {
            size_t n;
            const char *s = lua_tolstring(L, -2, &n);
            write_string(out, s, n);
        } else {
            sm_buf_addc(out, '"');
            write_number(L, -2, c, out);
            sm_buf_addc(out, '"');
        }
        sm_buf_addc(out, ':');
        write_value(L, c, out);
        lua_pop(L, 1);
    }
    sm_buf_addc(out, '}');
}

static void write_value(lua_State *L, const sm_jsoncodec *c, sm_buf *out) {
    size_t n;
    const char *s;
    sm_jsonshape shape;
    switch (lua_type(L, -1)) {
    case LUA_TBOOLEAN:
        sm_buf_adds(out, lua_toboolean(L, -1) ? "true" : "false");
        break;
    case LUA_TNUMBER:
        write_number(L, -1, c, out);
        break;
    case LUA_TSTRING:
        s = lua_tolstring(L, -1, &n);
        write_string(out, s, n);
        break;
    case LUA_TTABLE:
        if (sm_jsonwalk_shape(L, -1, c, &shape, NULL) == SM_OK && shape.array) {
            write_array(L, c, shape.count, out);
        } else {
            write_object(L, c, out);
        }
        break;
    case LUA_TLIGHTUSERDATA:
        sm_buf_adds(out, lua_touserdata(L, -1) ? "[]" : "null");
        break;
    default:
        sm_buf_adds(out, "null");
    }
}

sm_rc sm_jsonwrite_value(lua_State *L, const sm_jsoncodec *c, sm_buf *out, sm_err *err) {
    write_value(L, c, out);
    return out->failed ? sm_err_set(err, SM_LIMIT, "the text would have more than %d bytes",
                                    SM_JSONCODEC_BYTES)
                       : SM_OK;
}
