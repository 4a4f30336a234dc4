/* jsoncodec_scan: looks over a JSON text before a parser sees it.
 *
 * lua-cjson 2.1.0 accepts bad UTF-8, raw control bytes, `01`, `+1` and `1.`, takes a NUL for the
 * end of the text, reads every number as a double, and its recursion is only as safe as its depth
 * setting. This pass refuses what RFC 8259 does not allow in those places, bounds depth and size,
 * and finds integers that a double cannot hold. It is no parser: brackets, commas and words are
 * checked by the one that follows.
 */
#include "worker/jsoncodec.h"
#include "base/str.h"
#include <string.h>

/* Lower bounds of what Lua 5.4 needs: a table, a slot in one; strings up to LONG_STRING are shared.
 */
enum { TABLE_BYTES = 56, SLOT_BYTES = 16, LONG_STRING = 40 };

static bool digit(char c) {
    return c >= '0' && c <= '9';
}

/* Length of the JSON number at p; 0 when it is malformed. *whole: no fraction, no exponent. */
static size_t number_len(const char *p, size_t n, bool *whole) {
    size_t i = 0;
    *whole = true;
    if (i < n && p[i] == '-') {
        i++;
    }
    if (i >= n || !digit(p[i])) {
        return 0;
    }
    if (p[i] == '0') {
        i++;
    } else {
        while (i < n && digit(p[i])) {
            i++;
        }
    }
    if (i < n && p[i] == '.') {
        *whole = false;
        i++;
        size_t from = i;
        while (i < n && digit(p[i])) {
            i++;
        }
        if (i == from) {
            return 0;
        }
    }
    if (i < n && (p[i] == 'e' || p[i] == 'E')) {
        *whole = false;
        i++;
        if (i < n && (p[i] == '+' || p[i] == '-')) {
            i++;
        }
        size_t from = i;
        while (i < n && digit(p[i])) {
            i++;
        }
        if (i == from) {
            return 0;
        }
    }
    if (i < n && !strchr(" \t\r\n,]}", p[i])) {
        return 0;
    }
    return i;
}

/* p is a well-formed whole number. */
static bool beyond_int64(const char *p, size_t n) {
    bool minus = p[0] == '-';
    const char *limit = minus ? "9223372036854775808" : "9223372036854775807";
    size_t digits = n - (minus ? 1 : 0);
    return digits > 19 || (digits == 19 && memcmp(p + (n - digits), limit, 19) > 0);
}

/* Length of the string at p, quotes included; n + 1 when it does not end; 0 with err when a byte
 * may not stand in it. */
static size_t string_len(const char *p, size_t n, size_t at, sm_err *err) {
    size_t i = 1;
    while (i < n) {
        unsigned char c = (unsigned char)p[i];
        if (c == '"') {
            return i + 1;
        }
        if (c == '\\') {
            i += 2;
        } else if (c < 0x20) {
            sm_err_set(err, SM_INVALID,
                       "character %zu: the control byte 0x%02x in a string must be escaped",
                       at + i + 1, c);
            return 0;
        } else if (c < 0x80) {
            i++;
        } else {
            size_t l = sm_utf8_len(p + i, n - i);
            if (l == 0) {
                sm_err_set(err, SM_INVALID, "character %zu: not valid UTF-8 (byte 0x%02x)",
                           at + i + 1, c);
                return 0;
            }
            i += l;
        }
    }
    return n + 1;
}

sm_rc sm_jsonscan_text(const char *p, size_t n, int depth, sm_jsonscan *out, sm_err *err) {
    memset(out, 0, sizeof *out);
    if (n > SM_JSONCODEC_BYTES) {
        return sm_err_set(err, SM_LIMIT, "the text has %zu bytes; at most %d are decoded", n,
                          SM_JSONCODEC_BYTES);
    }
    int level = 0;
    for (size_t i = 0; i < n;) {
        char c = p[i];
        if (c == '"') {
            size_t l = string_len(p + i, n - i, i, err);
            if (l == 0) {
                return SM_INVALID;
            }
            out->least += l > LONG_STRING + 2 ? l : 0;
            i += l;
        } else if (c == '-' || digit(c)) {
            bool whole;
            size_t l = number_len(p + i, n - i, &whole);
            if (l == 0) {
                return sm_err_set(err, SM_INVALID, "character %zu: malformed number", i + 1);
            }
            if (whole && l >= 16) {
                out->wide = true;
                out->huge = out->huge || beyond_int64(p + i, l);
            }
            i += l;
        } else if (c == '[' || c == '{') {
            out->values++;
            out->least += TABLE_BYTES;
            if (++level > depth) {
                return sm_err_set(err, SM_LIMIT, "character %zu: more than %d levels deep", i + 1,
                                  depth);
            }
            i++;
        } else if (c == ']' || c == '}') {
            level--;
            i++;
        } else if (c == ',') {
            out->values++;
            out->least += SLOT_BYTES;
            i++;
        } else if ((unsigned char)c >= 0x80 && sm_utf8_len(p + i, n - i) == 0) {
            return sm_err_set(err, SM_INVALID, "character %zu: not valid UTF-8 (byte 0x%02x)",
                              i + 1, (unsigned char)c);
        } else if (c == '\0') {
            return sm_err_set(err, SM_INVALID, "character %zu: a NUL byte outside of a string",
                              i + 1);
        } else {
            i++;
        }
    }
    if (out->values > SM_JSONCODEC_VALUES) {
        return sm_err_set(err, SM_LIMIT, "the text has %zu values; at most %d are decoded",
                          out->values, SM_JSONCODEC_VALUES);
    }
    return SM_OK;
}

sm_rc sm_jsonscan_widen(const char *p, size_t n, sm_buf *out) {
    size_t from = 0;
    for (size_t i = 0; i < n;) {
        size_t l = 1;
        if (p[i] == '"') {
            l = string_len(p + i, n - i, i, NULL);
        } else if (p[i] == '-' || digit(p[i])) {
            bool whole;
            l = number_len(p + i, n - i, &whole);
            if (whole && l >= 19 && beyond_int64(p + i, l)) {
                sm_buf_add(out, p + from, i + l - from);
                sm_buf_adds(out, ".0");
                from = i + l;
            }
        }
        i += l ? l : 1;
    }
    if (from < n) {
        sm_buf_add(out, p + from, n - from);
    }
    return out->failed ? SM_LIMIT : SM_OK;
}
