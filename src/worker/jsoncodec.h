/* jsoncodec: what the rooms of the guard around lua-cjson share. Private to jsoncodec*.c.
 *
 * The guard makes lua-cjson 2.1.0 exact and safe: a walk before encoding, a scan before decoding,
 * an own writer and jansson where lua-cjson would lose digits. Every function here runs on the
 * run's thread and keeps no state.
 */
#pragma once
#include <lua.h>
#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>

enum {
    SM_JSONCODEC_DEPTH = 64,          /* levels, both ways */
    SM_JSONCODEC_BYTES = 8 << 20,     /* of JSON text, both ways */
    SM_JSONCODEC_VALUES = 1000 * 1000 /* in a text to decode */
};

typedef struct sm_jsoncodec {
    int encode_depth, decode_depth; /* 1..SM_JSONCODEC_DEPTH */
    bool sparse_convert;            /* an excessively sparse array becomes an object */
    int sparse_ratio, sparse_safe;  /* as in encode_sparse_array */
    int precision;                  /* significant digits of floats; 17 is exact */
    bool nan_null;                  /* NaN and infinities are encoded as null */
    bool keep_buffer;               /* reported only: the buffer is always kept */
    bool bare_exact;                /* this lua-cjson keeps 64-bit integers itself */
} sm_jsoncodec;

/* Addresses that mark values; never read. */
extern const char sm_jsoncodec_empty_array; /* light userdata `cjson.empty_array` */
extern const char sm_jsoncodec_array_mt;    /* registry key of `cjson.array_mt` */

/* How a table is written. */
typedef struct sm_jsonshape {
    bool array;        /* else an object */
    bool marked;       /* by array_mt */
    lua_Integer count; /* elements of an array, holes included */
} sm_jsonshape;
/* Looks at the keys of the table at idx by raw access. SM_INVALID for an excessively sparse array,
 * a marked table with other keys, or a key that JSON cannot have. [-0, +0, -] */
sm_rc sm_jsonwalk_shape(lua_State *L, int idx, const sm_jsoncodec *c, sm_jsonshape *out,
                        sm_err *err);
/* Checks the value at the top of the stack before it is encoded: UTF-8, types, depth, cycles, total
 * size. *own: lua-cjson would not write it exactly, so the own writer must. Needs about 150 free
 * stack slots. err names the path of what is wrong. [-0, +0, -] */
sm_rc sm_jsonwalk_check(lua_State *L, const sm_jsoncodec *c, bool *own, sm_err *err);
/* Turns integral floats within 2^53 of a decoded value at the top into integers, in place.
 * SM_INVALID for an infinite number. [-0, +0, -] */
sm_rc sm_jsonwalk_integers(lua_State *L, sm_err *err);

/* Writes the checked value at the top. SM_LIMIT when the buffer's ceiling is hit. [-0, +0, -] */
sm_rc sm_jsonwrite_value(lua_State *L, const sm_jsoncodec *c, sm_buf *out, sm_err *err);
/* Shortest text of at most `precision` digits that reads back as d (as near as they allow). */
size_t sm_jsonwrite_number(double d, int precision, char out[40]);
/* True when lua-cjson's 14 digits say d exactly. */
bool sm_jsonwrite_short(double d);

/* What a text needs. */
typedef struct sm_jsonscan {
    bool wide; /* has an integer of 16 or more digits: jansson must read it */
    bool huge; /* has an integer beyond 64 bits, which must be written as a float first */
    size_t values;
    size_t least; /* bytes of Lua heap that the value takes at least */
} sm_jsonscan;
/* Checks a text before it is parsed: size, UTF-8, control bytes in strings, spelling of numbers,
 * depth, number of values. What else is wrong is the parser's to say. */
sm_rc sm_jsonscan_text(const char *p, size_t n, int depth, sm_jsonscan *out, sm_err *err);
/* Copies p into out with `.0` after every integer beyond 64 bits. */
sm_rc sm_jsonscan_widen(const char *p, size_t n, sm_buf *out);
