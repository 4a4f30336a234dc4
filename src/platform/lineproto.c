/* lineproto: points of line protocol as the vendor's client writes them (platform-facts 3.6).
 *
 * Names and tag values are normalised (each white space one blank, no backslash at the end) and
 * escaped; field texts are quoted and keep their newlines. It refuses what would make an invalid
 * line or change a value; names that normalising makes equal are written once, as a line with a
 * name twice is refused by its readers as a whole. Pure; called by keyevent; any thread.
 */
#include "platform/lineproto.h"
#include "base/mem.h"
#include "base/str.h"
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct item {    /* a tag or field, ready to be written */
    const char *raw;     /* borrowed from the object; order is by this */
    char *name;          /* normalised, owned */
    const json_t *value; /* borrowed */
} item;

typedef struct items {
    item *p;
    size_t n;
} items;

/* Is the UTF-8 sequence of n bytes at p one of the 29 code points of Python's \s? */
static bool is_space(const unsigned char *p, size_t n) {
    unsigned long c = p[0];
    if (n == 2)
        c = ((p[0] & 0x1fUL) << 6) | (p[1] & 0x3fUL);
    else if (n == 3)
        c = ((p[0] & 0x0fUL) << 12) | ((p[1] & 0x3fUL) << 6) | (p[2] & 0x3fUL);
    else if (n == 4)
        return false;
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Takes back the backslashes that end what is written so far. */
static size_t drop_backslashes(const char *s, size_t n) {
    while (n > 0 && s[n - 1] == '\\')
        n--;
    return n;
}

/* Rule 1: each white space one blank, no backslash at the end; ours: nor before a blank, where
 * readers that search the line's end (InfluxDB's scanLine) take two backslashes for a pair and
 * the blank for the end of the tags, so that a quote in a later tag swallows the next lines. */
static char *normalise(const char *p, size_t n, size_t *len) {
    char *out = sm_malloc(n + 1);
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        size_t m = sm_utf8_len(p + i, n - i);
        if (m == 0)
            m = 1;
        if (is_space((const unsigned char *)p + i, m)) {
            used = drop_backslashes(out, used);
            out[used++] = ' ';
        } else {
            memcpy(out + used, p + i, m);
            used += m;
        }
        i += m;
    }
    used = drop_backslashes(out, used);
    out[used] = '\0';
    *len = used;
    return out;
}

/* Rule 2: a backslash before each of `special`. */
static void add_escaped(sm_buf *b, const char *p, size_t n, const char *special) {
    for (size_t i = 0; i < n; i++) {
        if (p[i] && strchr(special, p[i]))
            sm_buf_addc(b, '\\');
        sm_buf_addc(b, p[i]);
    }
}

static int by_raw_name(const void *a, const void *b) {
    return strcmp(((const item *)a)->raw, ((const item *)b)->raw);
}

/* Members that are not null, sorted by raw name; of equal normalised names the first stays. */
static items collect(const json_t *obj) {
    items list = {sm_calloc(json_object_size(obj) + 1, sizeof(item)), 0};
    const char *key;
    json_t *v;
    /* jansson's iterators want a non-const object, but change nothing. */
    json_object_foreach((json_t *)(uintptr_t)obj, key, v) {
        size_t len;
        if (!json_is_null(v))
            list.p[list.n++] = (item){key, normalise(key, strlen(key), &len), v};
    }
    qsort(list.p, list.n, sizeof(item), by_raw_name);
    size_t kept = 0;
    for (size_t i = 0; i < list.n; i++) {
        size_t j = 0;
        while (j < kept && strcmp(list.p[j].name, list.p[i].name) != 0)
            j++;
        if (j < kept)
            free(list.p[i].name);
        else
            list.p[kept++] = list.p[i];
    }
    list.n = kept;
    return list;
}

static void items_fini(items *list) {
    for (size_t i = 0; i < list->n; i++)
        free(list->p[i].name);
    free(list->p);
}

static bool has_name(const items *list, const char *name) {
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->p[i].name, name) == 0)
            return true;
    return false;
}

/* As Python's repr of a float: the shortest digits that read back, always with a point or an
 * exponent, which comes below 1e-4 and from 1e16 on. */
static void real_text(double x, char out[48]) {
    int digits = 1;
    for (; digits < 17; digits++) {
        snprintf(out, 48, "%.*e", digits - 1, x);
        double back = strtod(out, NULL);
        if (!(back < x || back > x))
            break;
    }
    snprintf(out, 48, "%.*e", digits - 1, x);
    const char *e = strchr(out, 'e');
    long exponent = e ? strtol(e + 1, NULL, 10) : 0;
    if (exponent < -4 || exponent >= 16)
        return;
    long after = digits - 1 - exponent;
    snprintf(out, 48, "%.*f", after > 1 ? (int)after : 1, x);
}

static sm_rc bad_field(const char *name, const char *rule, sm_err *err) {
    char *shown = sm_str_printable(name, strlen(name), 80);
    sm_err_set(err, SM_INVALID, "field \"%s\" %s", shown, rule);
    free(shown);
    return SM_INVALID;
}

/* One text, boolean or number; *bad says why it cannot be written. */
static void add_basic(sm_buf *b, const json_t *v, const char **bad) {
    char text[48];
    switch (json_typeof(v)) {
    case JSON_STRING:
        sm_buf_addc(b, '"');
        add_escaped(b, json_string_value(v), json_string_length(v), "\"\\");
        sm_buf_addc(b, '"');
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        sm_buf_adds(b, json_is_true(v) ? "true" : "false");
        break;
    case JSON_INTEGER:
        sm_buf_addf(b, "%" JSON_INTEGER_FORMAT "i", json_integer_value(v));
        break;
    case JSON_REAL:
        if (!isfinite(json_real_value(v))) {
            *bad = "is nan or infinite, which cannot be written";
            return;
        }
        real_text(json_real_value(v), text);
        sm_buf_adds(b, text);
        break;
    case JSON_NULL:
    case JSON_ARRAY:
    case JSON_OBJECT:
        *bad = "must be a text, a number, a boolean or a list of these";
        break;
    }
}

/* Rule 5: the same type everywhere comes before the question whether the type is allowed. */
static void add_list(sm_buf *b, const json_t *list, const char **bad) {
    size_t n = json_array_size(list);
    for (size_t i = 1; i < n; i++) {
        const json_t *first = json_array_get(list, 0), *v = json_array_get(list, i);
        bool same =
            json_is_boolean(first) ? json_is_boolean(v) : json_typeof(first) == json_typeof(v);
        if (!same) {
            *bad = "is a list of mixed types";
            return;
        }
    }
    sm_buf_addc(b, '[');
    for (size_t i = 0; i < n && !*bad; i++) {
        const json_t *v = json_array_get(list, i);
        sm_buf_adds(b, i > 0 ? "," : "");
        if (json_is_array(v) || json_is_object(v) || json_is_null(v))
            *bad = "is a list with an item that is no text, number or boolean";
        else
            add_basic(b, v, bad);
    }
    sm_buf_addc(b, ']');
}

static sm_rc add_field(sm_buf *b, const item *it, sm_err *err) {
    const char *bad = NULL;
    if (!it->name[0])
        return bad_field(it->raw, "has no name that could be written", err);
    add_escaped(b, it->name, strlen(it->name), ",= ");
    sm_buf_addc(b, '=');
    if (json_is_array(it->value))
        add_list(b, it->value, &bad);
    else
        add_basic(b, it->value, &bad);
    return bad ? bad_field(it->raw, bad, err) : SM_OK;
}

/* What a tag's value is before it is normalised. malloc'd. */
static char *tag_text(const json_t *v, size_t *n) {
    if (json_is_string(v)) {
        *n = json_string_length(v);
        return sm_memdup(json_string_value(v), *n);
    }
    if (!json_is_real(v))
        return sm_json_dump(v, n);
    char text[48];
    real_text(json_real_value(v), text);
    *n = strlen(text);
    return sm_strdup(text);
}

/* Rule 3: an empty name or value drops the tag. */
static void add_tag(sm_buf *b, const item *it) {
    size_t raw_n, n;
    char *raw = tag_text(it->value, &raw_n), *text = normalise(raw, raw_n, &n);
    if (it->name[0] && n > 0) {
        sm_buf_addc(b, ',');
        add_escaped(b, it->name, strlen(it->name), ",= ");
        sm_buf_addc(b, '=');
        add_escaped(b, text, n, ",= ");
    }
    free(raw);
    free(text);
}

sm_rc sm_lineproto_add(sm_buf *out, const char *measurement, const json_t *tags,
                       const json_t *fields, int64_t time_ns, sm_err *err) {
    size_t start = out->len, n;
    char *name = normalise(measurement, strlen(measurement), &n);
    items tag_list = collect(tags), field_list = collect(fields);
    sm_rc rc = SM_OK;
    if (n == 0) {
        rc = sm_err_set(err, SM_INVALID, "a point needs a measurement");
        goto out;
    }
    if (field_list.n == 0) {
        rc = sm_err_set(err, SM_INVALID, "a point needs at least one field");
        goto out;
    }
    add_escaped(out, name, n, ", ");
    for (size_t i = 0; i < tag_list.n; i++)
        if (!has_name(&field_list, tag_list.p[i].name))
            add_tag(out, &tag_list.p[i]);
    for (size_t i = 0; i < field_list.n && rc == SM_OK; i++) {
        sm_buf_addc(out, i > 0 ? ',' : ' ');
        rc = add_field(out, &field_list.p[i], err);
    }
    sm_buf_addf(out, " %" PRId64, time_ns);
    if (rc == SM_OK && out->failed)
        rc = sm_err_set(err, SM_LIMIT, "the point does not fit into %zu bytes", out->max);
out:
    if (rc != SM_OK && out->data) {
        out->len = start;
        out->data[start] = '\0';
    }
    items_fini(&tag_list);
    items_fini(&field_list);
    free(name);
    return rc;
}
