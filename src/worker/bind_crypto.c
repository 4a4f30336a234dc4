/* bind_crypto: the module `selfmon.crypto` (docs/modules/crypto.md): digests, HMAC, base64, hex,
 * UUIDs and random bytes. Pure, so allowed while a script loads.
 *
 * Texts are Lua strings of any bytes. Only hmac's key may be a secret; nothing here shows one.
 * unbase64 and unhex answer nil, sentence, code for a text that is not theirs. Buffers are Lua's
 * own, so a raise loses nothing. Runs on the run's thread.
 */
#include "worker/modules.h"
#include "base/rand.h"
#include "base/str.h"
#include <lauxlib.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdint.h>
#include <string.h>

enum { RANDOM_MAX = 65536 };

static const char base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int invalid(lua_State *L, const char *sentence) {
    lua_pushnil(L);
    lua_pushstring(L, sentence);
    lua_pushliteral(L, "invalid");
    return 3;
}

/* [-0, +1, m] */
static void push_base64(lua_State *L, const unsigned char *p, size_t n) {
    luaL_Buffer b;
    size_t len = (n + 2) / 3 * 4;
    char *out = luaL_buffinitsize(L, &b, len + 1);
    size_t o = 0;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) |
                     (i + 2 < n ? p[i + 2] : 0);
        out[o++] = base64_alphabet[v >> 18];
        out[o++] = base64_alphabet[v >> 12 & 63];
        out[o++] = i + 1 < n ? base64_alphabet[v >> 6 & 63] : '=';
        out[o++] = i + 2 < n ? base64_alphabet[v & 63] : '=';
    }
    luaL_pushresultsize(&b, o);
}

/* [-0, +1, m] */
static void push_hex(lua_State *L, const void *p, size_t n) {
    luaL_Buffer b;
    char *out = luaL_buffinitsize(L, &b, 2 * n + 1);
    sm_hex(p, n, out);
    luaL_pushresultsize(&b, 2 * n);
}

static const char *const forms[] = {"hex", "raw", "base64", NULL};

/* Pushes a digest in the form argument `arg` names. [-0, +1, e] */
static int push_digest(lua_State *L, const unsigned char *p, size_t n, int form) {
    if (form == 0) {
        push_hex(L, p, n);
    } else if (form == 1) {
        lua_pushlstring(L, (const char *)p, n);
    } else {
        push_base64(L, p, n);
    }
    return 1;
}

static int digest(lua_State *L, const EVP_MD *md) {
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    int form = luaL_checkoption(L, 2, "hex", forms);
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (EVP_Digest(text, n, out, &len, md, NULL) != 1) {
        return luaL_error(L, "this digest is not available in the system's OpenSSL");
    }
    return push_digest(L, out, len, form);
}

static int crypto_sha1(lua_State *L) {
    return digest(L, EVP_sha1());
}

static int crypto_sha256(lua_State *L) {
    return digest(L, EVP_sha256());
}

static int crypto_md5(lua_State *L) {
    return digest(L, EVP_md5());
}

/* hmac(algorithm, key, text[, form]); key may be a secret. */
static int crypto_hmac(lua_State *L) {
    static const char *const names[] = {"sha256", "sha1", "md5", "sha512", NULL};
    const EVP_MD *md[] = {EVP_sha256(), EVP_sha1(), EVP_md5(), EVP_sha512()};
    int algorithm = luaL_checkoption(L, 1, NULL, names);
    size_t key_n, n;
    const char *key = sm_bind_secret_bytes(L, 2, &key_n);
    if (!key) {
        key = luaL_checklstring(L, 2, &key_n);
    }
    luaL_argcheck(L, key_n <= INT32_MAX, 2, "the key is too long");
    const char *text = luaL_checklstring(L, 3, &n);
    int form = luaL_checkoption(L, 4, "hex", forms);
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (!HMAC(md[algorithm], key, (int)key_n, (const unsigned char *)text, n, out, &len)) {
        return luaL_error(L, "this digest is not available in the system's OpenSSL");
    }
    return push_digest(L, out, len, form);
}

static int crypto_base64(lua_State *L) {
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    push_base64(L, (const unsigned char *)text, n);
    return 1;
}

static int base64_digit(char c) {
    if (c == '-' || c == '_') { /* the URL alphabet of RFC 4648 section 5 */
        return c == '-' ? 62 : 63;
    }
    const char *at = c ? strchr(base64_alphabet, c) : NULL;
    return at ? (int)(at - base64_alphabet) : -1;
}

/* Either alphabet; padding may be missing; blanks and line ends are skipped. */
static int crypto_unbase64(lua_State *L) {
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    luaL_Buffer b;
    char *out = luaL_buffinitsize(L, &b, n / 4 * 3 + 4);
    size_t o = 0, digits = 0, pads = 0;
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            continue;
        }
        if (c == '=') {
            pads++;
            continue;
        }
        int d = base64_digit(c);
        if (d < 0 || pads > 0) {
            return invalid(L, "the text is not base64");
        }
        v = (v << 6 | (uint32_t)d) & 0xffffff;
        digits++;
        if (digits % 4 == 0) {
            out[o++] = (char)(v >> 16);
            out[o++] = (char)(v >> 8 & 255);
            out[o++] = (char)(v & 255);
        }
    }
    size_t rest = digits % 4;
    if (rest == 1 || pads > 2 || (pads > 0 && (digits + pads) % 4 != 0)) {
        return invalid(L, "the text is not base64: its length is wrong");
    }
    if (rest >= 2) {
        v <<= rest == 2 ? 12 : 6;
        out[o++] = (char)(v >> 16 & 255);
        if (rest == 3) {
            out[o++] = (char)(v >> 8 & 255);
        }
    }
    luaL_pushresultsize(&b, o);
    return 1;
}

static int crypto_hex(lua_State *L) {
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    push_hex(L, text, n);
    return 1;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int crypto_unhex(lua_State *L) {
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    if (n % 2) {
        return invalid(L, "the text is not hex: it has an odd number of digits");
    }
    luaL_Buffer b;
    char *out = luaL_buffinitsize(L, &b, n / 2 + 1);
    for (size_t i = 0; i < n; i += 2) {
        int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);
        if (high < 0 || low < 0) {
            return invalid(L, "the text is not hex");
        }
        out[i / 2] = (char)(high << 4 | low);
    }
    luaL_pushresultsize(&b, n / 2);
    return 1;
}

/* A random (version 4) UUID of RFC 9562. */
static int crypto_uuid(lua_State *L) {
    unsigned char r[16];
    char hex[33], out[37];
    sm_rand_bytes(r, sizeof r);
    r[6] = (unsigned char)((r[6] & 0x0f) | 0x40);
    r[8] = (unsigned char)((r[8] & 0x3f) | 0x80);
    sm_hex(r, sizeof r, hex);
    size_t o = 0;
    for (size_t i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20) {
            out[o++] = '-';
        }
        out[o++] = hex[i];
    }
    lua_pushlstring(L, out, o);
    return 1;
}

static int crypto_random(lua_State *L) {
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n >= 0 && n <= RANDOM_MAX, 1, "expected a number of bytes from 0 to 65536");
    luaL_Buffer b;
    char *out = luaL_buffinitsize(L, &b, (size_t)n + 1);
    sm_rand_bytes(out, (size_t)n);
    luaL_pushresultsize(&b, (size_t)n);
    return 1;
}

static const luaL_Reg functions[] = {
    {"sha1", crypto_sha1},
    {"sha256", crypto_sha256},
    {"md5", crypto_md5},
    {"hmac", crypto_hmac},
    {"base64", crypto_base64},
    {"unbase64", crypto_unbase64},
    {"hex", crypto_hex},
    {"unhex", crypto_unhex},
    {"uuid", crypto_uuid},
    {"random", crypto_random},
    {NULL, NULL},
};

int sm_bind_crypto_open(lua_State *L) {
    luaL_newlib(L, functions);
    return 1;
}
