/* checker: what is registered on a platform for one inspection, and whether the platform still
 * shows the same (platform.md, "Registration"; script-api 3).
 *
 * Pure: builds and compares payloads. Who sends them, when, and what an answer means is the
 * registrar's business. Called by the daemon; any thread.
 */
#include "platform/checker.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "platform/assoc.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PYTHON_MAX = 1 << 20, DESCRIPTION_MAX = 4 << 20 };

static void add_text(sm_buf *b, const char *s, size_t n) {
    char quote = memchr(s, '\'', n) && !memchr(s, '"', n) ? '"' : '\'';
    sm_buf_addc(b, quote);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == (unsigned char)quote || c == '\\')
            sm_buf_addf(b, "\\%c", c);
        else if (c == '\n' || c == '\r' || c == '\t')
            sm_buf_addf(b, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (c < 0x20 || c == 0x7f)
            sm_buf_addf(b, "\\x%02x", c);
        else
            sm_buf_addc(b, (char)c);
    }
    sm_buf_addc(b, quote);
}

/* As Python's repr of a float: the shortest digits that read back, an exponent only when it is
 * below -4 or from 16 on. */
static void add_real(sm_buf *b, double x) {
    char text[48];
    int digits = 0;
    do
        snprintf(text, sizeof text, "%.*e", digits, x);
    while (digits++ < 16 && (strtod(text, NULL) < x || strtod(text, NULL) > x));
    const char *e = strchr(text, 'e');
    long exponent = e ? strtol(e + 1, NULL, 10) : 0;
    if (e && exponent >= -4 && exponent < 16) {
        long after = digits - 1 - exponent;
        snprintf(text, sizeof text, "%.*f", after > 1 ? (int)after : 1, x);
    }
    sm_buf_adds(b, text);
}

static int compare_keys(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Keys of an object in byte order, borrowed; the caller frees the array. */
static const char **sorted_keys(const json_t *obj, size_t *n) {
    const char **keys = sm_calloc(json_object_size(obj) + 1, sizeof *keys);
    const char *key;
    json_t *v;
    *n = 0;
    json_object_foreach((json_t *)(uintptr_t)obj, key, v) keys[(*n)++] = key;
    qsort(keys, *n, sizeof *keys, compare_keys);
    return keys;
}

/* Recursion is bounded by the depth that sm_json_parse and the reader of Lua tables allow. */
static void add_python(sm_buf *b, const json_t *v) {
    switch (v ? json_typeof(v) : JSON_NULL) {
    case JSON_NULL:
        sm_buf_adds(b, "None");
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        sm_buf_adds(b, json_is_true(v) ? "True" : "False");
        break;
    case JSON_INTEGER:
        sm_buf_addf(b, "%lld", (long long)json_integer_value(v));
        break;
    case JSON_REAL:
        add_real(b, json_real_value(v));
        break;
    case JSON_STRING:
        add_text(b, json_string_value(v), json_string_length(v));
        break;
    case JSON_ARRAY:
        sm_buf_addc(b, '[');
        for (size_t i = 0; i < json_array_size(v); i++) {
            sm_buf_adds(b, i > 0 ? ", " : "");
            add_python(b, json_array_get(v, i));
        }
        sm_buf_addc(b, ']');
        break;
    case JSON_OBJECT: {
        size_t n;
        const char **keys = sorted_keys(v, &n);
        sm_buf_addc(b, '{');
        for (size_t i = 0; i < n; i++) {
            sm_buf_adds(b, i > 0 ? ", " : "");
            add_text(b, keys[i], strlen(keys[i]));
            sm_buf_adds(b, ": ");
            add_python(b, json_object_get(v, keys[i]));
        }
        sm_buf_addc(b, '}');
        free(keys);
        break;
    }
    }
}

char *sm_checker_python(const json_t *v) {
    sm_buf b;
    sm_buf_init(&b, PYTHON_MAX);
    add_python(&b, v);
    bool failed = b.failed;
    char *s = sm_buf_take(&b, NULL);
    if (!failed)
        return s;
    free(s);
    return sm_strdup("..."); /* Python's own word for what is left out */
}

/* Name of the function in a function id: behind the last dot, before an instance. */
static char *function_of(const char *function_id) {
    size_t n = strcspn(function_id, "@");
    const char *dot = memrchr(function_id, '.', n);
    const char *name = dot ? dot + 1 : function_id;
    return sm_memdup(name, n - (size_t)(name - function_id));
}

static json_t *definition_of(const char *function_id, const json_t *schema) {
    sm_buf b;
    sm_buf_init(&b, PYTHON_MAX);
    char *name = function_of(function_id);
    sm_buf_addf(&b, "%s(", name);
    for (size_t i = 0; i < json_array_size(schema); i++) {
        const json_t *decl = json_array_get(schema, i), *def = json_object_get(decl, "default");
        sm_buf_addf(&b, "%s%s", i > 0 ? ", " : "", sm_json_str(decl, "name", ""));
        if (def) {
            char *s = sm_checker_python(def);
            sm_buf_addf(&b, "=%s", s);
            free(s);
        }
    }
    sm_buf_addc(&b, ')');
    bool failed = b.failed;
    char *text = sm_buf_take(&b, NULL);
    json_t *out = NULL;
    if (failed) {
        char *cut = sm_asprintf("%s(...)", name);
        out = sm_json_text(cut, strlen(cut));
        free(cut);
    } else {
        out = sm_json_text(text, strlen(text));
    }
    free(text);
    free(name);
    return out;
}

/* The doc, and one list line for each parameter that documents itself. */
static json_t *description_of(const char *doc, const json_t *schema) {
    sm_buf b;
    sm_buf_init(&b, DESCRIPTION_MAX);
    sm_buf_adds(&b, doc);
    bool first = true;
    for (size_t i = 0; i < json_array_size(schema); i++) {
        const json_t *decl = json_array_get(schema, i);
        const char *line = sm_json_str(decl, "doc", "");
        if (*line == '\0')
            continue;
        if (first)
            sm_buf_adds(&b, *doc ? "\n\n" : "");
        else
            sm_buf_adds(&b, "\n");
        first = false;
        sm_buf_addf(&b, "- `%s`: ", sm_json_str(decl, "name", ""));
        for (; *line; line++) /* a second line would end the list item */
            sm_buf_addc(&b, *line == '\n' ? ' ' : *line);
    }
    size_t n;
    char *text = sm_buf_take(&b, &n);
    json_t *out = sm_json_text(text, n);
    free(text);
    return out;
}

json_t *sm_checker_payload(const char *function_id, const char *ref_key, const char *title,
                           const char *doc, const char *category, const json_t *schema) {
    json_t *args = json_array(), *kwargs = json_object();
    for (size_t i = 0; i < json_array_size(schema); i++) {
        const json_t *decl = json_array_get(schema, i);
        const char *name = sm_json_str(decl, "name", "");
        json_t *def = json_object_get(decl, "default"), *kw = json_object();
        if (def)
            json_object_set(kw, "default", def);
        json_array_append_new(args, sm_json_text(name, strlen(name)));
        json_object_set_new(kwargs, name, kw);
    }
    char *func_id = sm_assoc_func_id(function_id);
    json_t *info = json_object(), *out = json_object();
    json_object_set_new(info, "funcId", json_string(func_id));
    json_object_set_new(info, "description", description_of(doc ? doc : "", schema));
    json_object_set_new(info, "definition", definition_of(function_id, schema));
    json_object_set_new(info, "category",
                        json_string(category && *category ? category : "general"));
    json_object_set_new(info, "args", args);
    json_object_set_new(info, "kwargs", kwargs);
    json_object_set_new(out, "refKey", json_string(ref_key));
    json_object_set_new(out, "title", sm_json_text(title, strlen(title)));
    json_object_set_new(out, "refFuncInfo", info);
    free(func_id);
    return out;
}

/* Equal, where 1 and 1.0 are: a platform may store one as the other, and asking it to change that
 * at every run would spend the rate budget on nothing. */
static bool same(const json_t *a, const json_t *b) {
    if (json_is_number(a) && json_is_number(b)) {
        double x = json_number_value(a), y = json_number_value(b);
        return json_is_integer(a) && json_is_integer(b)
                   ? json_integer_value(a) == json_integer_value(b)
                   : !(x < y) && !(x > y);
    }
    if (json_is_array(a) && json_is_array(b)) {
        bool equal = json_array_size(a) == json_array_size(b);
        for (size_t i = 0; equal && i < json_array_size(a); i++)
            equal = same(json_array_get(a, i), json_array_get(b, i));
        return equal;
    }
    if (json_is_object(a) && json_is_object(b)) {
        bool equal = json_object_size(a) == json_object_size(b);
        const char *key;
        json_t *v;
        json_object_foreach((json_t *)(uintptr_t)a, key, v) equal =
            equal && same(v, json_object_get(b, key));
        return equal;
    }
    return json_equal(a, b);
}

static bool is_empty(const json_t *v) {
    return !v || json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0);
}

bool sm_checker_differs(const json_t *payload, const json_t *item) {
    static const char *const members[] = {"description", "definition", "category", "args",
                                          "kwargs"};
    const json_t *script = json_object_get(item, "jsonScript");
    const json_t *ours = json_object_get(payload, "refFuncInfo");
    const json_t *theirs = json_object_get(script, "refFuncInfo");
    /* A workspace shows the title with the script, the embedded platform with the item. */
    const char *title = sm_json_str(script, "title", sm_json_str(item, "title", ""));
    if (strcmp(sm_json_str(payload, "title", ""), title) != 0)
        return true;
    for (size_t i = 0; i < SM_ARRAY_LEN(members); i++) {
        const json_t *a = json_object_get(ours, members[i]);
        const json_t *b = json_object_get(theirs, members[i]);
        if (!(is_empty(a) && is_empty(b)) && !same(a, b))
            return true;
    }
    return false;
}

const json_t *sm_checker_find(const json_t *items, const char *ref_key) {
    size_t i;
    json_t *item;
    const json_t *oldest = NULL;
    json_array_foreach(items, i, item) {
        if (strcmp(sm_json_str(item, "refKey", ""), ref_key) != 0)
            continue;
        if (!oldest || sm_json_int(item, "createAt", 0) < sm_json_int(oldest, "createAt", 0))
            oldest = item;
    }
    return oldest;
}
