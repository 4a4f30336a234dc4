/* spec: checks the description of an inspection that came from a worker or from the store.
 *
 * The worker has checked it already, with the author's line; but a worker runs scripts and may lie,
 * so nothing here is believed: types, sizes and ranges are looked at again, and members that are
 * not known are dropped. It decides nothing about configuration. Pure; called by catalog_accept.
 */
#include "daemon/spec.h"
#include "base/str.h"
#include "platform/assoc.h"
#include "platform/params.h"
#include <math.h>
#include <string.h>

enum {
    TITLE_CHARS = 256,
    DOC_MAX = 256 << 10,
    TEXT_MAX = 1024,
    FN_MAX = 63,
    LIST_MAX = 100,
    PARAMS_MAX = 1000
};

typedef sm_rc check_fn(const char *name, const json_t *v, sm_err *err);

static sm_rc bad(const char *name, const char *expected, sm_err *err) {
    return sm_err_set(err, SM_INVALID, "%s: expected %s", name, expected);
}

static bool text_within(const json_t *v, size_t max) {
    return json_is_string(v) && json_string_length(v) <= max &&
           strlen(json_string_value(v)) == json_string_length(v);
}

static bool one_line(const char *s) {
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    return true;
}

static sm_rc check_title(const char *name, const json_t *v, sm_err *err) {
    if (!text_within(v, TITLE_CHARS * 4) || !one_line(json_string_value(v)))
        return bad(name, "one line of text", err);
    size_t n = sm_utf8_count(json_string_value(v), json_string_length(v));
    return n >= 1 && n <= TITLE_CHARS ? SM_OK : bad(name, "1 to 256 characters", err);
}

static sm_rc check_doc(const char *name, const json_t *v, sm_err *err) {
    return text_within(v, DOC_MAX) ? SM_OK : bad(name, "text of at most 256 KiB", err);
}

static sm_rc check_text(const char *name, const json_t *v, sm_err *err) {
    return text_within(v, TEXT_MAX) && one_line(json_string_value(v))
               ? SM_OK
               : bad(name, "one line of at most 1024 bytes", err);
}

static sm_rc check_fn_name(const char *name, const json_t *v, sm_err *err) {
    return text_within(v, FN_MAX) && json_string_length(v) > 0
               ? SM_OK
               : bad(name, "a function's name of at most 63 bytes", err);
}

static sm_rc check_line(const char *name, const json_t *v, sm_err *err) {
    return json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) < 1 << 24
               ? SM_OK
               : bad(name, "a line number", err);
}

static sm_rc check_timeout(const char *name, const json_t *v, sm_err *err) {
    double s = json_number_value(v);
    return json_is_number(v) && s >= 1 && s <= 3600 ? SM_OK : bad(name, "1 s to 3600 s", err);
}

static sm_rc check_texts(const char *name, const json_t *v, sm_err *err) {
    size_t i;
    json_t *item;
    if (!json_is_array(v) || json_array_size(v) > LIST_MAX)
        return bad(name, "a list of at most 100 texts", err);
    json_array_foreach(v, i, item) if (check_text(name, item, err) != SM_OK) return SM_INVALID;
    return SM_OK;
}

static sm_rc check_was(const char *name, const json_t *v, sm_err *err) {
    size_t i;
    json_t *item;
    if (check_texts(name, v, err) != SM_OK)
        return SM_INVALID;
    json_array_foreach(v, i, item) if (sm_assoc_check_id(json_string_value(item), err) !=
                                       SM_OK) return sm_err_wrap(err, "%s", name);
    return SM_OK;
}

static sm_rc check_params(const char *name, const json_t *v, sm_err *err) {
    static const char *const types[] = {"string", "number", "integer",  "boolean",
                                        "list",   "table",  "duration", "any"};
    size_t i;
    json_t *item;
    if (!json_is_array(v) || json_array_size(v) > PARAMS_MAX)
        return bad(name, "a list of parameters", err);
    json_array_foreach(v, i, item) {
        const char *type = sm_json_str(item, "type", "");
        bool known = false;
        for (size_t t = 0; t < SM_ARRAY_LEN(types); t++)
            known = known || strcmp(type, types[t]) == 0;
        if (!known || !text_within(json_object_get(item, "name"), TEXT_MAX))
            return bad(name, "parameters with a name and a known type", err);
    }
    return SM_OK;
}

static sm_rc check_object(const char *name, const json_t *v, sm_err *err) {
    return json_is_object(v) ? SM_OK : bad(name, "an object", err);
}

static sm_rc check_limits(const char *name, const json_t *v, sm_err *err) {
    const char *key;
    json_t *item;
    if (json_is_array(v) && json_array_size(v) == 0)
        return SM_OK; /* an empty Lua table */
    if (!json_is_object(v))
        return bad(name, "an object", err);
    json_object_foreach((json_t *)(uintptr_t)v, key,
                        item) if (!json_is_number(item) || !(json_number_value(item) >= 0) ||
                                  json_number_value(item) >
                                      1e15) return bad(name, "numbers that are not negative", err);
    return SM_OK;
}

static sm_rc check_overlap(const char *name, const json_t *v, sm_err *err) {
    const char *s = json_is_string(v) ? json_string_value(v) : "";
    return strcmp(s, "skip") == 0 || strcmp(s, "queue") == 0 ? SM_OK
                                                             : bad(name, "skip or queue", err);
}

static sm_rc check_missed(const char *name, const json_t *v, sm_err *err) {
    const char *s = json_is_string(v) ? json_string_value(v) : "";
    return strcmp(s, "skip") == 0 || strcmp(s, "last") == 0 || strcmp(s, "all") == 0
               ? SM_OK
               : bad(name, "skip, last or all", err);
}

static sm_rc check_bool(const char *name, const json_t *v, sm_err *err) {
    return json_is_boolean(v) ? SM_OK : bad(name, "true or false", err);
}

static sm_rc check_node(const char *name, const json_t *v, sm_err *err) {
    return json_is_object(v) ? SM_OK : check_text(name, v, err);
}

static const struct {
    const char *name;
    check_fn *check;
    bool required;
} members[] = {
    {"fn", check_fn_name, true},      {"line", check_line, true},
    {"title", check_title, true},     {"doc", check_doc, true},
    {"schedule", check_texts, true},  {"timezone", check_text, false},
    {"timeout", check_timeout, true}, {"params", check_params, true},
    {"account", check_text, true},    {"category", check_text, true},
    {"tags", check_texts, true},      {"permissions", check_texts, true},
    {"limits", check_limits, true},   {"events", check_object, false},
    {"overlap", check_overlap, true}, {"missed", check_missed, true},
    {"first_run", check_bool, true},  {"retry", check_bool, true},
    {"was", check_was, true},         {"api_key_id", check_text, false},
    {"api_key", check_text, false},   {"node", check_node, false},
};

sm_rc sm_spec_check(const json_t *spec, json_t **out, sm_err *err) {
    *out = NULL;
    if (!json_is_object(spec))
        return sm_err_set(err, SM_INVALID, "an inspection that is not an object");
    json_t *clean = json_object();
    for (size_t i = 0; i < SM_ARRAY_LEN(members); i++) {
        json_t *v = json_object_get(spec, members[i].name);
        if (!v || json_is_null(v)) {
            if (!members[i].required)
                continue;
            bad(members[i].name, "a value", err);
            goto fail;
        }
        if (members[i].check(members[i].name, v, err) != SM_OK)
            goto fail;
        json_object_set_new(clean, members[i].name, json_deep_copy(v));
    }
    *out = clean;
    return SM_OK;
fail:
    json_decref(clean);
    return SM_INVALID;
}
