/* json: jansson behind our limits.
 *
 * The host's own JSON: frames, configuration answers, the platform, `--json`. Refuses bad UTF-8,
 * duplicate keys, numbers beyond int64 or double, texts over the caller's ceiling and more than 64
 * levels (jansson itself would recurse 2048 deep). The JSON of scripts is worker/jsoncodec.
 * Thread-safe as long as one value is used by one thread.
 */
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void seed(void) {
    json_object_seed(0);
}

/* True when brackets nest deeper than SM_JSON_DEPTH. Looks only at brackets outside strings; the
 * parser judges everything else. */
static bool too_deep(const char *p, size_t n) {
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > SM_JSON_DEPTH) {
                return true;
            }
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return false;
}

sm_rc sm_json_parse(const char *text, size_t n, size_t max, json_t **out, sm_err *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, seed);
    *out = NULL;
    if (n > max) {
        return sm_err_set(err, SM_LIMIT, "the JSON text has %zu bytes, more than the limit of %zu",
                          n, max);
    }
    if (too_deep(text, n)) {
        return sm_err_set(err, SM_LIMIT, "the JSON text nests deeper than %d levels",
                          SM_JSON_DEPTH);
    }
    /* jansson takes a NUL between values for the end of the text. */
    const char *nul = n ? memchr(text, '\0', n) : NULL;
    if (nul) {
        int line = 1;
        const char *start = text;
        for (const char *p = text; p < nul; p++) {
            if (*p == '\n') {
                line++;
                start = p + 1;
            }
        }
        return sm_err_set(err, SM_INVALID, "invalid JSON at line %d, column %zu: a NUL byte", line,
                          (size_t)(nul - start) + 1);
    }
    json_error_t why;
    *out = json_loadb(n ? text : "", n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL,
                      &why);
    if (*out) {
        return SM_OK;
    }
    /* jansson quotes what stands there ("... near 'x'"); the text may be a secret, the place does.
     */
    char *near = strstr(why.text, " near '");
    if (near) {
        *near = '\0';
    }
    return sm_err_set(err, SM_INVALID, "invalid JSON at line %d, column %d: %s", why.line,
                      why.column, why.text[0] ? why.text : "unexpected text");
}

static char *dump(const json_t *j, size_t flags, size_t *len) {
    char *s = json_dumps(j, flags | JSON_SORT_KEYS | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    if (!s) {
        /* Only a value that breaks jansson's own rules (a cycle, over 2048 levels, NULL). */
        s = sm_strdup("null");
    }
    if (len) {
        *len = strlen(s);
    }
    return s;
}

char *sm_json_dump(const json_t *j, size_t *len) {
    return dump(j, JSON_COMPACT, len);
}

char *sm_json_pretty(const json_t *j, size_t *len) {
    return dump(j, JSON_INDENT(2), len);
}

const char *sm_json_str(const json_t *obj, const char *key, const char *def) {
    const json_t *v = json_object_get(obj, key);
    const char *s = json_string_value(v);
    /* A text with a NUL inside would be cut without a word. */
    return s && strlen(s) == json_string_length(v) ? s : def;
}

int64_t sm_json_int(const json_t *obj, const char *key, int64_t def) {
    const json_t *v = json_object_get(obj, key);
    if (json_is_integer(v)) {
        return json_integer_value(v);
    }
    if (json_is_real(v)) {
        double d = json_real_value(v);
        /* 2^63 itself does not fit; the compare also refuses NaN. */
        if (d >= -0x1p63 && d < 0x1p63 && d == (double)(int64_t)d) {
            return (int64_t)d;
        }
    }
    return def;
}

double sm_json_num(const json_t *obj, const char *key, double def) {
    const json_t *v = json_object_get(obj, key);
    return json_is_number(v) ? json_number_value(v) : def;
}

bool sm_json_bool(const json_t *obj, const char *key, bool def) {
    const json_t *v = json_object_get(obj, key);
    return json_is_boolean(v) ? json_is_true(v) : def;
}

void sm_json_count(json_t *counts, const char *name) {
    json_object_set_new(counts, name, json_integer(sm_json_int(counts, name, 0) + 1));
}

json_t *sm_json_text(const char *p, size_t n) {
    size_t len;
    char *s = sm_utf8_repair(p, n, &len, NULL);
    json_t *j = json_stringn_nocheck(s, len);
    free(s);
    if (!j) {
        j = json_null();
    }
    return j;
}
