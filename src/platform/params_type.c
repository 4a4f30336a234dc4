/* params_type: values of parameter types: conversion of what forms send, min/max/enum, and the
 * words for what was expected (script-api 3).
 *
 * Pure; knows nothing of layers or schemas as a whole. Called by params.c and params_resolve.c.
 */
#include "platform/params_type.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "platform/event_repair.h"
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { FORM_MAX = 1 << 20, RULE_MAX = 400 };

const char *const sm_ptype_names[8] = {"string", "number", "integer",  "boolean",
                                       "list",   "table",  "duration", "any"};
static const char *const one[] = {"a text",
                                  "a number",
                                  "a whole number",
                                  "true or false",
                                  "a list",
                                  "a table",
                                  "a duration such as 90s or 15m",
                                  "any value"};
static const char *const many[] = {"texts", "numbers", "whole numbers", "true or false",
                                   "lists", "tables",  "durations",     "values"};

sm_ptype sm_ptype_parse(const char *name) {
    for (size_t i = 0; name && i < SM_ARRAY_LEN(sm_ptype_names); i++)
        if (strcmp(name, sm_ptype_names[i]) == 0)
            return (sm_ptype)i;
    return SM_P_UNKNOWN;
}

const char *sm_ptype_name(sm_ptype t) {
    return t < SM_P_UNKNOWN ? sm_ptype_names[t] : "unknown";
}

char *sm_ptype_shown(const json_t *v) {
    if (json_is_array(v))
        return sm_strdup("a list");
    if (json_is_object(v))
        return sm_strdup("a table");
    if (json_is_real(v)) {
        char number[40];
        sm_event_number(json_real_value(v), number);
        return sm_strdup(number);
    }
    if (!json_is_string(v))
        return v ? sm_json_dump(v, NULL) : sm_strdup("nothing");
    char *text = sm_str_printable(json_string_value(v), json_string_length(v), 60);
    char *quoted = sm_asprintf("\"%s\"", text);
    free(text);
    return quoted;
}

static void add_value(sm_buf *b, const json_t *v) {
    char *s = json_is_string(v) ? sm_str_printable(json_string_value(v), json_string_length(v), 60)
                                : sm_ptype_shown(v);
    sm_buf_adds(b, s);
    free(s);
}

char *sm_ptype_rule(const json_t *decl) {
    sm_ptype t = sm_ptype_parse(sm_json_str(decl, "type", NULL));
    const json_t *set = json_object_get(decl, "enum");
    const json_t *min = json_object_get(decl, "min"), *max = json_object_get(decl, "max");
    sm_ptype items = sm_ptype_parse(sm_json_str(decl, "items", NULL));
    sm_buf b;
    sm_buf_init(&b, RULE_MAX);
    if (json_array_size(set) > 0) {
        sm_buf_adds(&b, "one of ");
        for (size_t i = 0; i < json_array_size(set); i++) {
            if (i > 0)
                sm_buf_adds(&b, ", ");
            add_value(&b, json_array_get(set, i));
        }
    } else if (t == SM_P_LIST && items < SM_P_ANY) {
        sm_buf_addf(&b, "a list of %s", many[items]);
    } else {
        sm_buf_adds(&b, one[t < SM_P_UNKNOWN ? t : SM_P_ANY]);
    }
    if (min) {
        sm_buf_adds(&b, max ? " from " : " of at least ");
        add_value(&b, min);
    }
    if (max) {
        sm_buf_adds(&b, min ? " to " : " of at most ");
        add_value(&b, max);
    }
    return sm_buf_take(&b, NULL);
}

bool sm_ptype_is(sm_ptype t, const json_t *v) {
    switch (t) {
    case SM_P_STRING:
        return json_is_string(v);
    case SM_P_NUMBER:
        return json_is_number(v);
    case SM_P_INTEGER:
        return json_is_integer(v) ||
               (json_is_real(v) && floor(json_real_value(v)) >= json_real_value(v));
    case SM_P_BOOLEAN:
        return json_is_boolean(v);
    case SM_P_LIST:
        return json_is_array(v) || (json_is_object(v) && json_object_size(v) == 0);
    case SM_P_TABLE:
        return json_is_object(v) || json_is_array(v);
    case SM_P_DURATION: {
        double s;
        return sm_ptype_number(t, v, &s) && s >= 0;
    }
    case SM_P_ANY:
        return !json_is_null(v);
    case SM_P_UNKNOWN:
        break;
    }
    return false;
}

bool sm_ptype_number(sm_ptype t, const json_t *v, double *out) {
    if (json_is_number(v)) {
        *out = json_number_value(v);
        return true;
    }
    return t == SM_P_DURATION && json_is_string(v) &&
           sm_duration_parse(json_string_value(v), out, NULL) == SM_OK;
}

/* The text of a form field without white space at its ends. */
static char *trimmed(const json_t *v) {
    const char *s = json_string_value(v), *end = s + json_string_length(v);
    while (s < end && strchr(" \t\r\n", *s))
        s++;
    while (end > s && strchr(" \t\r\n", end[-1]))
        end--;
    return sm_memdup(s, (size_t)(end - s));
}

/* A number as JSON has it, an optional sign before; nothing that strtod reads beyond that. */
static json_t *number_of(const char *s) {
    const char *p = s + (*s == '-' || *s == '+');
    bool whole = true;
    size_t digits = 0;
    for (; (*p >= '0' && *p <= '9') || *p == '.'; p++) {
        digits += *p != '.';
        whole = whole && *p != '.';
    }
    if (digits == 0)
        return NULL;
    if (*p == 'e' || *p == 'E')
        whole = false;
    else if (*p != '\0')
        return NULL;
    char *end;
    if (whole) {
        errno = 0;
        long long i = strtoll(s, &end, 10);
        if (errno == 0 && *end == '\0')
            return json_integer(i);
    }
    double x = strtod(s, &end);
    return *end == '\0' && isfinite(x) ? json_real(x) : NULL;
}

static json_t *to_number(const json_t *v) {
    if (json_is_number(v))
        return json_copy((json_t *)(uintptr_t)v);
    if (!json_is_string(v))
        return NULL;
    char *s = trimmed(v);
    json_t *out = number_of(s);
    free(s);
    return out;
}

static json_t *to_integer(const json_t *v) {
    json_t *n = to_number(v);
    if (!json_is_real(n))
        return n;
    double x = json_real_value(n);
    json_decref(n);
    /* Beyond 2^53 a float no longer names one integer. */
    return floor(x) >= x && fabs(x) <= 0x1p53 ? json_integer((json_int_t)x) : NULL;
}

static json_t *to_boolean(const json_t *v) {
    static const struct {
        const char *word;
        int value;
    } words[] = {{"true", 1},  {"yes", 1}, {"on", 1},  {"1", 1},
                 {"false", 0}, {"no", 0},  {"off", 0}, {"0", 0}};
    json_t *out = NULL;
    if (json_is_boolean(v))
        return json_boolean(json_is_true(v));
    if (json_is_integer(v) && (json_integer_value(v) == 0 || json_integer_value(v) == 1))
        return json_boolean(json_integer_value(v) == 1);
    if (!json_is_string(v))
        return NULL;
    char *s = trimmed(v);
    for (size_t i = 0; i < SM_ARRAY_LEN(words) && !out; i++)
        if (strcasecmp(s, words[i].word) == 0)
            out = json_boolean(words[i].value);
    free(s);
    return out;
}

static json_t *to_string(const json_t *v) {
    if (json_is_string(v))
        return sm_json_text(json_string_value(v), json_string_length(v));
    if (!json_is_number(v) && !json_is_boolean(v))
        return NULL;
    char *s =
        json_is_boolean(v) ? sm_strdup(json_is_true(v) ? "true" : "false") : sm_ptype_shown(v);
    json_t *out = sm_json_text(s, strlen(s));
    free(s);
    return out;
}

static json_t *to_duration(const json_t *v) {
    double s;
    char *text = json_is_string(v) ? trimmed(v) : NULL;
    bool ok =
        text ? sm_duration_parse(text, &s, NULL) == SM_OK : sm_ptype_number(SM_P_NUMBER, v, &s);
    free(text);
    if (!ok || !(s >= 0) || !isfinite(s))
        return NULL;
    return floor(s) >= s && s <= 0x1p53 ? json_integer((json_int_t)s) : json_real(s);
}

/* Items of a form's text: JSON when it begins with "[", else its lines, else its comma-separated
 * parts; blank ones are not items. */
static json_t *list_of_text(const json_t *v) {
    char *s = trimmed(v);
    json_t *out = NULL;
    if (*s == '[') {
        if (sm_json_parse(s, strlen(s), FORM_MAX, &out, NULL) != SM_OK)
            out = NULL;
        free(s);
        return out;
    }
    const char *separator = strchr(s, '\n') ? "\n" : ",";
    out = json_array();
    for (const char *p = s; *p; p += *p != '\0') {
        size_t n = strcspn(p, separator);
        json_t *part = json_stringn(p, n);
        char *item = trimmed(part);
        if (*item)
            json_array_append_new(out, json_string(item));
        free(item);
        json_decref(part);
        p += n;
    }
    free(s);
    return out;
}

static json_t *scalar(sm_ptype t, const json_t *v) {
    switch (t) {
    case SM_P_STRING:
        return to_string(v);
    case SM_P_NUMBER:
        return to_number(v);
    case SM_P_INTEGER:
        return to_integer(v);
    case SM_P_BOOLEAN:
        return to_boolean(v);
    case SM_P_DURATION:
        return to_duration(v);
    default:
        return json_deep_copy(v);
    }
}

/* *bad is the 1-based item that does not convert. */
static json_t *to_list(const json_t *decl, const json_t *v, size_t *bad) {
    sm_ptype items = sm_ptype_parse(sm_json_str(decl, "items", NULL));
    json_t *in = NULL, *out = json_array();
    if (json_is_string(v))
        in = list_of_text(v);
    else if (json_is_array(v))
        in = json_incref((json_t *)(uintptr_t)v);
    else if (json_is_object(v) && json_object_size(v) == 0)
        in = json_array();
    bool ok = json_is_array(in);
    for (size_t i = 0; ok && i < json_array_size(in); i++) {
        const json_t *item = json_array_get(in, i);
        json_t *got = json_is_null(item) ? NULL : scalar(items, item);
        if (got) {
            json_array_append_new(out, got);
        } else {
            *bad = i + 1;
            ok = false;
        }
    }
    json_decref(in);
    if (ok)
        return out;
    json_decref(out);
    return NULL;
}

static json_t *to_table(const json_t *v) {
    json_t *out = NULL;
    if (json_is_object(v) || json_is_array(v)) {
        out = json_deep_copy(v);
    } else if (json_is_string(v)) {
        char *s = trimmed(v);
        if (sm_json_parse(s, strlen(s), FORM_MAX, &out, NULL) != SM_OK)
            out = NULL;
        free(s);
    }
    if (json_is_array(out) && json_array_size(out) == 0) {
        json_decref(out);
        return json_object();
    }
    if (json_is_object(out) || json_is_array(out))
        return out;
    json_decref(out);
    return NULL;
}

static bool same(sm_ptype t, const json_t *a, const json_t *b) {
    double x, y;
    if (sm_ptype_number(t, a, &x) && sm_ptype_number(t, b, &y))
        return !(x < y) && !(x > y);
    return json_equal(a, b);
}

static bool within(const json_t *decl, sm_ptype t, const json_t *v) {
    const json_t *min = json_object_get(decl, "min"), *max = json_object_get(decl, "max");
    const json_t *set = json_object_get(decl, "enum");
    double x, bound;
    if (min && sm_ptype_number(t, v, &x) && sm_ptype_number(t, min, &bound) && !(x >= bound))
        return false;
    if (max && sm_ptype_number(t, v, &x) && sm_ptype_number(t, max, &bound) && !(x <= bound))
        return false;
    bool found = !set;
    for (size_t i = 0; i < json_array_size(set) && !found; i++)
        found = same(t, v, json_array_get(set, i));
    return found;
}

static bool is_absent(sm_ptype t, const json_t *v) {
    if (!v || json_is_null(v))
        return true;
    if (t == SM_P_STRING || !json_is_string(v))
        return false;
    char *s = trimmed(v);
    bool empty = *s == '\0';
    free(s);
    return empty;
}

sm_rc sm_ptype_convert(const json_t *decl, const json_t *v, json_t **out, sm_err *err) {
    sm_ptype t = sm_ptype_parse(sm_json_str(decl, "type", NULL));
    size_t bad = 0;
    *out = NULL;
    if (is_absent(t, v))
        return SM_NOT_FOUND;
    json_t *got = t == SM_P_LIST    ? to_list(decl, v, &bad)
                  : t == SM_P_TABLE ? to_table(v)
                                    : scalar(t, v);
    if (got && within(decl, t, got)) {
        *out = got;
        return SM_OK;
    }
    char *rule = sm_ptype_rule(decl), *shown = sm_ptype_shown(v);
    if (bad > 0 && json_is_array(v)) {
        free(shown);
        shown = sm_ptype_shown(json_array_get(v, bad - 1));
    }
    if (bad > 0)
        sm_err_set(err, SM_INVALID, "expected %s, got %s (item %zu)", rule, shown, bad);
    else
        sm_err_set(err, SM_INVALID, "expected %s, got %s", rule, shown);
    free(rule);
    free(shown);
    json_decref(got);
    return SM_INVALID;
}
