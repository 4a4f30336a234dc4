/* params_resolve: the values a run gets: script default < configuration < platform < override,
 * converted and checked (script-api 3, "Precedence").
 *
 * Pure. A value that does not convert ends the run as `bad_params`: the sentence names parameter,
 * rule, value and who set it. Called by the daemon before a run and by `test`.
 */
#include "platform/params.h"
#include "base/mem.h"
#include "base/str.h"
#include "platform/params_type.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct layer {
    const json_t *values; /* object, or NULL */
    const char *origin;
} layer;

/* Names of the schema, borrowed; the caller frees the array. */
static const char **names_of(const json_t *schema, size_t *n) {
    *n = json_array_size(schema);
    const char **names = sm_calloc(*n + 1, sizeof *names);
    for (size_t i = 0; i < *n; i++)
        names[i] = sm_json_str(json_array_get(schema, i), "name", "");
    return names;
}

static void note_unknown(const json_t *schema, const layer *l, json_t *notes) {
    size_t n;
    const char **names = names_of(schema, &n);
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)l->values, key, v) {
        bool known = false;
        for (size_t i = 0; i < n; i++)
            known = known || strcmp(names[i], key) == 0;
        if (known)
            continue;
        char hint[128], *shown = sm_str_printable(key, strlen(key), 60);
        char *s = sm_asprintf("parameter %s is not declared by the script and is ignored (%s)%s",
                              shown, l->origin, sm_str_hint(key, names, n, hint, sizeof hint));
        json_array_append_new(notes, sm_json_text(s, strlen(s)));
        free(s);
        free(shown);
    }
    free(names);
}

/* The value of one parameter: of the last layer that has one. *out stays NULL without any. */
static sm_rc resolve_one(const json_t *decl, const layer *layers, size_t n, json_t **out,
                         sm_err *err) {
    const char *name = sm_json_str(decl, "name", "");
    for (size_t i = n; i-- > 0;) {
        sm_err why = SM_ERR_INIT;
        sm_rc rc = sm_ptype_convert(decl, json_object_get(layers[i].values, name), out, &why);
        if (rc == SM_OK)
            return SM_OK;
        if (rc == SM_INVALID)
            return sm_err_set(err, SM_INVALID, "parameter %s: %s (%s)", name, why.msg,
                              layers[i].origin);
    }
    if (sm_ptype_convert(decl, json_object_get(decl, "default"), out, NULL) == SM_OK)
        return SM_OK;
    /* A default that is an empty text for an `any` is still what the author wrote. */
    *out = json_deep_copy(json_object_get(decl, "default"));
    if (*out || !sm_json_bool(decl, "required", false))
        return SM_OK;
    char *rule = sm_ptype_rule(decl);
    sm_err_set(err, SM_INVALID,
               "parameter %s: expected %s, got nothing (it is required: set it on the platform or "
               "in params of selfmon.conf.lua)",
               name, rule);
    free(rule);
    return SM_INVALID;
}

sm_rc sm_params_resolve(const json_t *schema, const json_t *conf, const json_t *platform,
                        const json_t *override, json_t **values, json_t *notes, sm_err *err) {
    const layer layers[] = {{conf, "set in selfmon.conf.lua"},
                            {platform, "set on the platform"},
                            {override, "set by -p"}};
    json_t *result = json_object();
    *values = NULL;
    for (size_t i = 0; i < json_array_size(schema); i++) {
        const json_t *decl = json_array_get(schema, i);
        json_t *v = NULL;
        sm_rc rc = resolve_one(decl, layers, SM_ARRAY_LEN(layers), &v, err);
        if (rc != SM_OK) {
            json_decref(result);
            return rc;
        }
        if (v)
            json_object_set_new(result, sm_json_str(decl, "name", ""), v);
    }
    for (size_t i = 0; notes && i < SM_ARRAY_LEN(layers); i++)
        note_unknown(schema, &layers[i], notes);
    *values = result;
    return SM_OK;
}
