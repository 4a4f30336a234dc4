/* assoc: identity of an inspection: function id, funcId and association key (script-api 1.2).
 *
 * The only place that knows how an id is made and what it may hold. It reads no file and keeps no
 * secret: the caller passes the bytes. Called by the catalogue, the configuration and `key`; any
 * thread.
 */
#include "platform/assoc.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ID_MAX = 255 };

void sm_assoc_key(const void *secret, size_t n, const char *function_id,
                  char out[SM_ASSOC_LEN + 1]) {
    static const char prefix[] = "selfmon-lua"; /* its NUL is part of the message */
    size_t id_len = strlen(function_id), len = sizeof prefix + id_len;
    char *text = sm_malloc(len + 1);
    memcpy(text, prefix, sizeof prefix);
    memcpy(text + sizeof prefix, function_id, id_len);

    unsigned char mac[EVP_MAX_MD_SIZE];
    size_t mac_len = 0;
    /* EVP_MAC_init takes a NULL key as "keep the old one", so an empty secret needs an address. */
    if (!EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, n ? secret : "", n,
                   (const unsigned char *)text, len, mac, sizeof mac, &mac_len) ||
        mac_len < SM_ASSOC_LEN / 2) {
        fputs("selfmon-lua: HMAC-SHA256 is not available in OpenSSL\n", stderr);
        abort();
    }
    free(text);
    sm_hex(mac, SM_ASSOC_LEN / 2, out);
}

static bool is_name(const char *s, size_t n) {
    if (n == 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return true;
}

/* Quotes a part of an id for a sentence; the caller frees it. */
static char *shown(const char *p, size_t n) {
    return sm_str_printable(p, n, 80);
}

static sm_rc check_parts(const char *what, const char *id, const char *path, size_t n,
                         sm_err *err) {
    for (size_t at = 0; at <= n;) {
        const char *slash = memchr(path + at, '/', n - at);
        size_t len = slash ? (size_t)(slash - (path + at)) : n - at;
        if (!sm_str_is_id_part(path + at, len)) {
            char *part = shown(path + at, len), *whole = shown(id, strlen(id));
            sm_err_set(err, SM_INVALID,
                       "%s \"%s\": part \"%s\" must be letters, digits, \"_\", \"-\" or \".\" and "
                       "not begin with \".\"",
                       what, whole, part);
            free(part);
            free(whole);
            return SM_INVALID;
        }
        at += len + 1;
    }
    return SM_OK;
}

static sm_rc check_func(const char *what, const char *id, const char *func, size_t n, sm_err *err) {
    if (is_name(func, n))
        return SM_OK;
    char *part = shown(func, n), *whole = shown(id, strlen(id));
    sm_err_set(err, SM_INVALID, "%s \"%s\": \"%s\" is not the name of a Lua function", what, whole,
               part);
    free(part);
    free(whole);
    return SM_INVALID;
}

static sm_rc check_length(const char *what, const char *id, sm_err *err) {
    if (strlen(id) <= ID_MAX)
        return SM_OK;
    char *whole = shown(id, strlen(id));
    sm_err_set(err, SM_INVALID, "%s \"%s\" is longer than %d bytes", what, whole, ID_MAX);
    free(whole);
    return SM_INVALID;
}

sm_rc sm_assoc_check_id(const char *function_id, sm_err *err) {
    static const char what[] = "function id";
    sm_rc rc = check_length(what, function_id, err);
    if (rc != SM_OK)
        return rc;
    const char *at = strchr(function_id, '@');
    size_t n = at ? (size_t)(at - function_id) : strlen(function_id);
    const char *dot = memrchr(function_id, '.', n);
    const char *slash = memrchr(function_id, '/', n);
    if (!dot || (slash && dot < slash)) {
        char *whole = shown(function_id, strlen(function_id));
        sm_err_set(err, SM_INVALID,
                   "function id \"%s\": expected path and function, such as demo/example.run",
                   whole);
        free(whole);
        return SM_INVALID;
    }
    size_t path_len = (size_t)(dot - function_id);
    rc = check_parts(what, function_id, function_id, path_len, err);
    if (rc == SM_OK)
        rc = check_func(what, function_id, dot + 1, n - path_len - 1, err);
    if (rc == SM_OK && at && !sm_str_is_id_part(at + 1, strlen(at + 1))) {
        char *part = shown(at + 1, strlen(at + 1)),
             *whole = shown(function_id, strlen(function_id));
        rc = sm_err_set(err, SM_INVALID,
                        "function id \"%s\": instance \"%s\" must be letters, digits, \"_\", \"-\" "
                        "or \".\" and not begin with \".\"",
                        whole, part);
        free(part);
        free(whole);
    }
    return rc;
}

char *sm_assoc_func_id(const char *function_id) {
    sm_buf b;
    sm_buf_init(&b, 2 * strlen(function_id) + 1);
    for (const char *p = function_id; *p; p++) {
        if (*p == '/')
            sm_buf_adds(&b, "__");
        else
            sm_buf_addc(&b, *p);
    }
    return sm_buf_take(&b, NULL);
}

sm_rc sm_assoc_make_id(const char *rel, const char *func, char **out, sm_err *err) {
    *out = NULL;
    if (!sm_str_ends(rel, ".lua")) {
        char *whole = shown(rel, strlen(rel));
        sm_err_set(err, SM_INVALID, "script \"%s\": expected a name that ends in .lua", whole);
        free(whole);
        return SM_INVALID;
    }
    size_t n = strlen(rel) - 4;
    sm_rc rc = check_parts("script", rel, rel, n, err);
    if (rc == SM_OK)
        rc = check_func("script", rel, func, strlen(func), err);
    if (rc != SM_OK)
        return rc;
    char *id = sm_asprintf("%.*s.%s", (int)n, rel, func);
    rc = check_length("function id", id, err);
    if (rc != SM_OK)
        free(id);
    else
        *out = id;
    return rc;
}
