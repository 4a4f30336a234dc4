/* params: reads the `params` table of `monitor` into a schema (script-api 3), strictly: by example
 * or as full declarations, with one sentence for each way to get it wrong.
 *
 * Pure: no Lua; the table came as JSON. Called by the daemon when a script was loaded and by lint;
 * params_resolve.c gives a run its values.
 */
#include "platform/params.h"
#include "base/mem.h"
#include "base/str.h"
#include "platform/params_type.h"
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARAMS_MAX = 256, NAME_MAX_BYTES = 128 };

static const char *const keys[] = {"type", "default", "required", "min", "max",
                                   "enum", "items",   "order",    "doc"};

/* "params.NAME.KEY: expected WHAT, got VALUE" */
static sm_rc refuse(sm_err *err, const char *name, const char *key, const char *what,
                    const json_t *got) {
    char *shown = sm_ptype_shown(got);
    sm_err_set(err, SM_INVALID, "params.%s.%s: expected %s, got %s", name, key, what, shown);
    free(shown);
    return SM_INVALID;
}

static sm_rc check_name(const char *name, sm_err *err) {
    bool ok = *name != '\0' && strlen(name) <= NAME_MAX_BYTES;
    for (const char *p = name; *p; p++)
        ok = ok && (unsigned char)*p > 0x20 && *p != 0x7f && !strchr("=,()'\"", *p);
    if (ok)
        return SM_OK;
    char *shown = sm_str_printable(name, strlen(name), 60);
    sm_err_set(err, SM_INVALID,
               "params: \"%s\" cannot be the name of a parameter (expected 1 to %d bytes without "
               "blanks, quotes, brackets, commas and \"=\")",
               shown, NAME_MAX_BYTES);
    free(shown);
    return SM_INVALID;
}

/* An empty Lua table has no kind of its own: as a list it is [], as a table {}. */
static json_t *written(sm_ptype t, const json_t *v) {
    if (t == SM_P_LIST && json_is_object(v))
        return json_array();
    if (t == SM_P_TABLE && json_is_array(v) && json_array_size(v) == 0)
        return json_object();
    return json_deep_copy(v);
}

/* The common scalar type of a list's items, so that what a form sends becomes the same again. */
static const char *items_of(const json_t *list) {
    sm_ptype t = SM_P_UNKNOWN;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        sm_ptype now = json_is_string(v)    ? SM_P_STRING
                       : json_is_number(v)  ? SM_P_NUMBER
                       : json_is_boolean(v) ? SM_P_BOOLEAN
                                            : SM_P_ANY;
        t = i == 0 || t == now ? now : SM_P_ANY;
    }
    return t < SM_P_ANY ? sm_ptype_name(t) : NULL;
}

static sm_rc by_example(const char *name, const json_t *v, json_t **out, sm_err *err) {
    sm_ptype t;
    if (json_is_string(v))
        t = SM_P_STRING;
    else if (json_is_number(v))
        t = SM_P_NUMBER;
    else if (json_is_boolean(v))
        t = SM_P_BOOLEAN;
    else if (json_is_array(v) || (json_is_object(v) && json_object_size(v) == 0))
        t = SM_P_LIST;
    else if (json_is_object(v))
        t = SM_P_TABLE;
    else
        return sm_err_set(err, SM_INVALID, "params.%s: expected a default value or a declaration",
                          name);
    const char *items = t == SM_P_LIST ? items_of(v) : NULL;
    json_t *decl = json_object();
    json_object_set_new(decl, "name", json_string(name));
    json_object_set_new(decl, "type", json_string(sm_ptype_name(t)));
    json_object_set_new(decl, "default", written(t, v));
    if (items)
        json_object_set_new(decl, "items", json_string(items));
    *out = decl;
    return SM_OK;
}

static sm_rc check_keys(const char *name, const json_t *full, sm_err *err) {
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)full, key, v) {
        bool known = false;
        for (size_t i = 0; i < SM_ARRAY_LEN(keys); i++)
            known = known || strcmp(key, keys[i]) == 0;
        if (known)
            continue;
        char hint[128], *shown = sm_str_printable(key, strlen(key), 60);
        sm_err_set(err, SM_INVALID, "params.%s.%s: unknown key \"%s\"%s", name, shown, shown,
                   sm_str_hint(key, keys, SM_ARRAY_LEN(keys), hint, sizeof hint));
        free(shown);
        return SM_INVALID;
    }
    return SM_OK;
}

static sm_rc check_bounds(const char *name, sm_ptype t, const json_t *full, sm_err *err) {
    static const char *const names[] = {"min", "max"};
    double bound[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        const json_t *v = json_object_get(full, names[i]);
        if (!v)
            continue;
        if (t != SM_P_NUMBER && t != SM_P_INTEGER && t != SM_P_DURATION)
            return sm_err_set(err, SM_INVALID,
                              "params.%s.%s: only a number, integer or duration has a %s", name,
                              names[i], names[i]);
        if (!sm_ptype_number(t, v, &bound[i]) || !isfinite(bound[i]))
            return refuse(err, name, names[i],
                          t == SM_P_DURATION ? "a duration such as 90s or 15m" : "a number", v);
    }
    if (json_object_get(full, "min") && json_object_get(full, "max") && bound[0] > bound[1])
        return sm_err_set(err, SM_INVALID, "params.%s: min is greater than max", name);
    return SM_OK;
}

static sm_rc check_enum(const char *name, sm_ptype t, const json_t *set, sm_err *err) {
    if (!set)
        return SM_OK;
    if (t == SM_P_LIST || t == SM_P_TABLE)
        return sm_err_set(err, SM_INVALID, "params.%s.enum: a %s has no enum", name,
                          sm_ptype_name(t));
    if (!json_is_array(set) || json_array_size(set) == 0)
        return refuse(err, name, "enum", "a list of allowed values", set);
    for (size_t i = 0; i < json_array_size(set); i++) {
        char what[64];
        if (sm_ptype_is(t, json_array_get(set, i)))
            continue;
        snprintf(what, sizeof what, "values of type %s", sm_ptype_name(t));
        return refuse(err, name, "enum", what, json_array_get(set, i));
    }
    return SM_OK;
}

static sm_rc check_items(const char *name, sm_ptype t, const json_t *items, sm_err *err) {
    if (!items)
        return SM_OK;
    if (t != SM_P_LIST)
        return sm_err_set(err, SM_INVALID, "params.%s.items: only a list has items", name);
    sm_ptype it = sm_ptype_parse(json_string_value(items));
    if (it == SM_P_UNKNOWN || it == SM_P_LIST)
        return refuse(err, name, "items",
                      "one of string, number, integer, boolean, duration, table, any", items);
    return SM_OK;
}

/* The default must be as the script would write it, and keep its own rules. */
static sm_rc check_default(const char *name, sm_ptype t, const json_t *decl, sm_err *err) {
    const json_t *v = json_object_get(decl, "default");
    if (!v)
        return SM_OK;
    if (sm_ptype_is(t, v)) {
        json_t *ignored;
        sm_err why = SM_ERR_INIT;
        sm_rc rc = sm_ptype_convert(decl, v, &ignored, &why);
        json_decref(ignored);
        if (rc == SM_INVALID)
            return sm_err_set(err, SM_INVALID, "params.%s.default: %s", name, why.msg);
        return SM_OK;
    }
    char *rule = sm_ptype_rule(decl);
    sm_rc rc = refuse(err, name, "default", rule, v);
    free(rule);
    return rc;
}

static sm_rc in_full(const char *name, const json_t *full, json_t **out, sm_err *err) {
    sm_ptype t = sm_ptype_parse(sm_json_str(full, "type", NULL));
    const json_t *required = json_object_get(full, "required");
    const json_t *order = json_object_get(full, "order"), *doc = json_object_get(full, "doc");
    sm_rc rc = check_keys(name, full, err);
    if (rc == SM_OK && required && !json_is_boolean(required))
        rc = refuse(err, name, "required", "true or false", required);
    if (rc == SM_OK && order && !json_is_number(order))
        rc = refuse(err, name, "order", "a number", order);
    if (rc == SM_OK && doc && !json_is_string(doc))
        rc = refuse(err, name, "doc", "a text", doc);
    if (rc == SM_OK)
        rc = check_bounds(name, t, full, err);
    if (rc == SM_OK)
        rc = check_enum(name, t, json_object_get(full, "enum"), err);
    if (rc == SM_OK)
        rc = check_items(name, t, json_object_get(full, "items"), err);
    if (rc != SM_OK)
        return rc;
    json_t *decl = json_deep_copy(full);
    json_object_set_new(decl, "name", json_string(name));
    if (json_object_get(full, "default"))
        json_object_set_new(decl, "default", written(t, json_object_get(full, "default")));
    rc = check_default(name, t, decl, err);
    if (rc != SM_OK)
        json_decref(decl);
    else
        *out = decl;
    return rc;
}

/* Registered order: those with an `order` first, then the names in byte order. */
static int compare(const void *a, const void *b) {
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    double ox = sm_json_num(x, "order", INFINITY), oy = sm_json_num(y, "order", INFINITY);
    if (ox < oy || ox > oy)
        return ox < oy ? -1 : 1;
    return strcmp(sm_json_str(x, "name", ""), sm_json_str(y, "name", ""));
}

sm_rc sm_params_declare(const json_t *table, json_t **schema, sm_err *err) {
    *schema = NULL;
    if (json_is_array(table) && json_array_size(table) > 0)
        return sm_err_set(err, SM_INVALID,
                          "params: expected a table of named parameters, got a list");
    if (table && !json_is_null(table) && !json_is_object(table) && !json_is_array(table)) {
        char *shown = sm_ptype_shown(table);
        sm_err_set(err, SM_INVALID, "params: expected a table of named parameters, got %s", shown);
        free(shown);
        return SM_INVALID;
    }
    size_t max = json_is_object(table) ? json_object_size(table) : 0, n = 0;
    if (max > PARAMS_MAX)
        return sm_err_set(err, SM_INVALID, "params: expected at most %d parameters, got %zu",
                          PARAMS_MAX, max);
    json_t **list = sm_calloc(max + 1, sizeof(json_t *));
    sm_rc rc = SM_OK;
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)table, name, v) {
        bool full =
            json_is_object(v) && sm_ptype_parse(sm_json_str(v, "type", NULL)) != SM_P_UNKNOWN;
        rc = check_name(name, err);
        if (rc == SM_OK)
            rc = full ? in_full(name, v, &list[n], err) : by_example(name, v, &list[n], err);
        if (rc != SM_OK)
            break;
        n++;
    }
    if (rc == SM_OK) {
        qsort(list, n, sizeof *list, compare);
        *schema = json_array();
    }
    for (size_t i = 0; i < n; i++) {
        if (rc == SM_OK)
            json_array_append(*schema, list[i]);
        json_decref(list[i]);
    }
    free(list);
    return rc;
}
