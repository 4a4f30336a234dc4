/* args: strict readers of the arguments of an operation.
 *
 * A missing or ill-typed argument is a mistake of our own program, but it must not become a row:
 * it is SM_INVALID with a sentence that names the member. Called by the operations (op_*.c), on
 * the store's thread.
 */
#include "store/store_internal.h"

#include <string.h>

static const char *type_name(const json_t *v) {
    static const char *const names[] = {"an object", "an array", "a text", "an integer",
                                        "a number",  "true",     "false",  "null"};
    return v == NULL ? "nothing" : names[json_typeof(v)];
}

const char *sm_arg_text(const json_t *args, const char *key, sm_err *err) {
    const json_t *v = json_object_get(args, key);
    if (!json_is_string(v)) {
        sm_err_set(err, SM_INVALID, "%s: expected a text, got %s", key, type_name(v));
        return NULL;
    }
    return json_string_value(v);
}

sm_rc sm_arg_int(const json_t *args, const char *key, int64_t *out, sm_err *err) {
    const json_t *v = json_object_get(args, key);
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return SM_OK;
    }
    return sm_err_set(err, SM_INVALID, "%s: expected an integer, got %s", key, type_name(v));
}

const json_t *sm_arg_array(const json_t *args, const char *key, sm_err *err) {
    const json_t *v = json_object_get(args, key);
    if (!json_is_array(v)) {
        sm_err_set(err, SM_INVALID, "%s: expected an array, got %s", key, type_name(v));
        return NULL;
    }
    return v;
}

const json_t *sm_arg_object(const json_t *args, const char *key, sm_err *err) {
    const json_t *v = json_object_get(args, key);
    if (!json_is_object(v)) {
        sm_err_set(err, SM_INVALID, "%s: expected an object, got %s", key, type_name(v));
        return NULL;
    }
    return v;
}

const json_t *sm_arg_maybe(const json_t *args, const char *key) {
    const json_t *v = json_object_get(args, key);
    return json_is_null(v) ? NULL : v;
}

bool sm_arg_is_glob(const char *id) {
    return strpbrk(id, "*?") != NULL;
}
