/* monitor_check: reads the table of one `monitor` call strictly (script-api 1.1): an unknown key is
 * an error that names the nearest known one, each wrong type or range has its own sentence, and the
 * defaults are filled in. It works on a tree that was read raw and knows no Lua; schedules and
 * zones are parsed by the catalogue, which also knows the configuration's defaults. Called by
 * worker/monitor. Pure. */
#include "worker/monitor.h"
#include "worker/luaval.h"
#include "base/mem.h"
#include "base/str.h"
#include "platform/params.h"
#include "platform/text.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DOC_MAX = 256 << 10 }; /* as in daemon/spec.c */

typedef struct field field;
struct field {
    const char *key;
    /* v is NULL when the key is absent */
    sm_rc (*check)(const field *f, const sm_val *v, json_t *spec, sm_err *err);
    const char *const *choices; /* for check_choice: NULL-terminated, the first is the default */
    const char *def;            /* for check_text: default, NULL when there is none */
};

static bool is_text(const sm_val *v, const char *s) {
    return v->type == SM_VAL_STR && v->u.s.n == strlen(s) && memcmp(v->u.s.p, s, v->u.s.n) == 0;
}

const sm_val *sm_monitor_field(const sm_val *table, const char *key) {
    for (size_t i = 0; i < table->u.t.n; i++)
        if (is_text(&table->u.t.p[i].key, key))
            return &table->u.t.p[i].val;
    return NULL;
}

/* What was given, as a sentence says it: short texts and numbers as they are, else the type. */
static void describe(const sm_val *v, char *out, size_t cap) {
    char *text;
    switch (v ? v->type : SM_VAL_NIL) {
    case SM_VAL_NIL:
        snprintf(out, cap, "nothing");
        break;
    case SM_VAL_BOOL:
        snprintf(out, cap, "%s", v->u.b ? "true" : "false");
        break;
    case SM_VAL_INT:
        snprintf(out, cap, "%lld", (long long)v->u.i);
        break;
    case SM_VAL_NUM:
        if (isfinite(v->u.n))
            snprintf(out, cap, "%.14g", v->u.n);
        else
            snprintf(out, cap, "%s", isnan(v->u.n) ? "NaN" : "infinity");
        break;
    case SM_VAL_STR:
        text = sm_str_printable(v->u.s.p, v->u.s.n, 60);
        snprintf(out, cap, "\"%s\"", text);
        free(text);
        break;
    case SM_VAL_TABLE:
        snprintf(out, cap, "a table");
        break;
    case SM_VAL_OTHER:
    default:
        snprintf(out, cap, "a %.60s", v->u.s.p);
        break;
    }
}

sm_rc sm_monitor_expected(const sm_val *v, const char *path, const char *what, sm_err *err) {
    char got[128];
    describe(v, got, sizeof got);
    return sm_err_set(err, SM_INVALID, "monitor: %s: expected %s, got %s", path, what, got);
}

sm_rc sm_monitor_known(const sm_val *table, const char *path, const char *const *names, size_t n,
                       sm_err *err) {
    const sm_val *first = NULL; /* of several the first in byte order, whatever Lua's order is */
    char where[80] = "", hint[128];
    if (path)
        snprintf(where, sizeof where, " %s:", path);
    for (size_t i = 0; i < table->u.t.n; i++) {
        const sm_val *k = &table->u.t.p[i].key;
        bool known = false;
        if (k->type != SM_VAL_STR)
            return sm_err_set(
                err, SM_INVALID, "monitor:%s expected only named values such as %s = …, got one %s",
                where, names[0],
                k->type == SM_VAL_INT ? "without a name" : "whose name is not a text");
        for (size_t j = 0; j < n && !known; j++)
            known = is_text(k, names[j]);
        if (!known && (!first || strcmp(k->u.s.p, first->u.s.p) < 0))
            first = k;
    }
    if (!first)
        return SM_OK;
    char *word = sm_str_printable(first->u.s.p, first->u.s.n, 60);
    sm_err_set(err, SM_INVALID, "monitor:%s unknown key \"%s\"%s", where, word,
               sm_str_hint(word, names, n, hint, sizeof hint));
    free(word);
    return SM_INVALID;
}

sm_rc sm_monitor_seconds(const sm_val *v, const char *path, double lo, double hi, const char *what,
                         double *out, sm_err *err) {
    double s = 0;
    if (v->type == SM_VAL_INT) {
        s = (double)v->u.i;
    } else if (v->type == SM_VAL_NUM) {
        s = v->u.n;
    } else if (v->type != SM_VAL_STR || strlen(v->u.s.p) != v->u.s.n ||
               sm_duration_parse(v->u.s.p, &s, NULL) != SM_OK) {
        return sm_monitor_expected(v, path, "seconds or a duration such as \"30s\"", err);
    }
    if (!(s >= lo && s <= hi)) /* refuses NaN too */
        return sm_monitor_expected(v, path, what, err);
    *out = s;
    return SM_OK;
}

/* A text of one line without control bytes, at most max bytes; the sentence never shows it, as it
 * may be a key. */
static sm_rc one_line(const sm_val *v, const char *path, size_t max, sm_err *err) {
    if (v->type != SM_VAL_STR)
        return sm_monitor_expected(v, path, "a text", err);
    if (v->u.s.n == 0)
        return sm_err_set(err, SM_INVALID, "monitor: %s: expected a text, got an empty one", path);
    if (!sm_utf8_valid(v->u.s.p, v->u.s.n))
        return sm_err_set(err, SM_INVALID, "monitor: %s: expected UTF-8 text", path);
    for (size_t i = 0; i < v->u.s.n; i++) {
        unsigned char c = (unsigned char)v->u.s.p[i];
        if (c == '\n' || c == '\r')
            return sm_err_set(err, SM_INVALID, "monitor: %s: expected one line, got a line break",
                              path);
        if (c < 0x20 || c == 0x7f)
            return sm_err_set(err, SM_INVALID,
                              "monitor: %s: expected plain text, got the control byte 0x%02X", path,
                              c);
    }
    if (v->u.s.n > max)
        return sm_err_set(err, SM_INVALID, "monitor: %s: expected at most %zu bytes, got %zu", path,
                          max, v->u.s.n);
    return SM_OK;
}

static json_t *text_of(const sm_val *v) {
    return json_stringn(v->u.s.p, v->u.s.n);
}

static sm_rc check_title(const field *f, const sm_val *v, json_t *spec, sm_err *err) {
    if (!v)
        return sm_err_set(err, SM_INVALID,
                          "monitor: title: expected one line of 1 to 256 characters, got nothing");
    if (v->type == SM_VAL_STR && v->u.s.n == 0)
        return sm_err_set(err, SM_INVALID,
                          "monitor: title: expected 1 to 256 characters, got an empty text");
    sm_rc rc = one_line(v, f->key, SIZE_MAX, err);
    if (rc != SM_OK)
        return rc;
    size_t chars = sm_utf8_count(v->u.s.p, v->u.s.n);
    if (chars > SM_EVENT_TITLE_CHARS)
        return sm_err_set(err, SM_INVALID, "monitor: title: expected 1 to 256 characters, got %zu",
                          chars);
    json_object_set_new(spec, f->key, text_of(v));
    return SM_OK;
}

static sm_rc check_doc(const field *f, const sm_val *v, json_t *spec, sm_err *err) {
    if (v && v->type != SM_VAL_STR)
        return sm_monitor_expected(v, f->key, "a text", err);
    if (v && !sm_utf8_valid(v->u.s.p, v->u.s.n))
        return sm_err_set(err, SM_INVALID, "monitor: doc: expected UTF-8 text");
    if (v && memchr(v->u.s.p, 0, v->u.s.n))
        return sm_err_set(err, SM_INVALID,
                          "monitor: doc: expected text, got the control byte 0x00");
    size_t n = 0;
    char *clean = v ? sm_text_clean(v->u.s.p, v->u.s.n, &n) : sm_strdup("");
    sm_rc rc = SM_OK;
    if (n > DOC_MAX)
        rc = sm_err_set(err, SM_INVALID, "monitor: doc: expected at most %d bytes, got %zu",
                        DOC_MAX, n);
    else
        json_object_set_new(spec, f->key, json_stringn(clean, n));
    free(clean);
    return rc;
}

static sm_rc check_text(const field *f, const sm_val *v, json_t *spec, sm_err *err) {
    if (!v) {
        if (f->def)
            json_object_set_new(spec, f->key, json_string(f->def));
        return SM_OK;
    }
    sm_rc rc = one_line(v, f->key, SM_MONITOR_TEXT, err);
    if (rc == SM_OK)
        json_object_set_new(spec, f->key, text_of(v));
    return rc;
}

static sm_rc check_texts(const field *f, const sm_val *v, json_t *spec, sm_err *err) {
    const sm_val **items = NULL;
    json_t *list = json_array();
    sm_rc rc = SM_OK;
    if (v && (v->type != SM_VAL_TABLE || !sm_luaval_list(v, &items)))
        rc = sm_monitor_expected(v, f->key, "a list of texts", err);
    else if (v && v->u.t.n > SM_MONITOR_LIST)
        rc = sm_err_set(err, SM_INVALID, "monitor: %s: expected at most %d texts, got %zu", f->key,
                        SM_MONITOR_LIST, v->u.t.n);
    for (size_t i = 0; v && rc == SM_OK && i < v->u.t.n; i++) {
        char path[80];
        snprintf(path, sizeof path, "%s[%zu]", f->key, i + 1);
        rc = one_line(items[i], path, SM_MONITOR_TEXT, err);
        if (rc == SM_OK)
            json_array_append_new(list, text_of(items[i]));
    }
    free(items);
    if (rc == SM_OK)
        json_object_set(spec, f->key, list);
    json_decref(list);
    return rc;
}

static sm_rc check_schedule(const field *f, const sm_val *v, json_t *spec, sm_err *err) {
    if (v && v->type == SM_VAL_STR) {
        sm_rc rc = one_line(v, f->key, SM_MONITOR_TEXT, err);
        if (rc == SM_OK)
            json_object_set_new(spec, f->key, json_pack("[o]", text_of(v)));
        return rc;
    }
    if (v && v->type != SM_VAL_TABLE)
        return sm_monitor_expected(v, f->key, "a cron expression or a list of them", err);
    return check_texts(f, v, spec, err);
}

static sm_rc check_timeout(const field *f, const sm_val *v, json_t *spec, sm_err *err) {
    double s = 30;
    if (v) {
        sm_rc rc =
            sm_monitor_seconds(v, f->key, 1, SM_MONITOR_TIMEOUT_MAX, "1 s to 3600 s", &s, err);
        if (rc != SM_OK)
            return rc;
    }
    json_object_set_new(spec, f->key, json_real(s));
    return SM_OK;
}

static sm_rc check_params(const field *f, const sm_val *v, json_t *spec, sm_err *err) {
    json_t *table = NULL, *schema = NULL;
    sm_rc rc = SM_OK;
    if (v && v->type != SM_VAL_TABLE)
        return sm_monitor_expected(v, f->key, "a table", err);
    if (v && v->u.t.n > 0) {
        rc = sm_luaval_json(v, f->key, &table, err);
        if (rc != SM_OK)
            sm_err_wrap(err, "monitor");
    } else {
        table = json_object();
    }
    if (rc == SM_OK) {
        rc = sm_params_declare(table, &schema, err);
        if (rc != SM_OK)
            sm_err_wrap(err, "monitor");
    }
    if (rc == SM_OK)
        json_object_set(spec, f->key, schema);
    json_decref(schema);
    json_decref(table);
    return rc;
}

static sm_rc check_node(const field *f, const sm_val *v, json_t *spec, sm_err *err) {
    static const field parts[] = {{"node.openapi", NULL, NULL, NULL},
                                  {"node.openway", NULL, NULL, NULL}};
    static const char *const names[] = {"openapi", "openway"};
    sm_rc rc = SM_OK;
    if (!v || v->type == SM_VAL_STR)
        return check_text(f, v, spec, err);
    if (v->type != SM_VAL_TABLE)
        return sm_monitor_expected(v, f->key, "a node's name or {openapi = URL, openway = URL}",
                                   err);
    rc = sm_monitor_known(v, f->key, names, 2, err);
    json_t *node = json_object();
    for (size_t i = 0; i < 2 && rc == SM_OK; i++) {
        const sm_val *url = sm_monitor_field(v, names[i]);
        if (!url)
            rc = sm_monitor_expected(url, parts[i].key, "a URL", err);
        else
            rc = one_line(url, parts[i].key, SM_MONITOR_TEXT, err);
        if (rc == SM_OK)
            json_object_set_new(node, names[i], text_of(url));
    }
    if (rc == SM_OK)
        json_object_set(spec, f->key, node);
    json_decref(node);
    return rc;
}

static sm_rc check_limits(const field *f, const sm_val *v, json_t *spec, sm_err *err) {
    json_t *limits = NULL;
    sm_rc rc = SM_OK;
    if (v)
        rc = sm_monitor_limits(v, &limits, err);
    else
        limits = json_object();
    if (rc == SM_OK)
        json_object_set_new(spec, f->key, limits);
    return rc;
}

static sm_rc check_events(const field *f, const sm_val *v, json_t *spec, sm_err *err) {
    json_t *events = NULL;
    sm_rc rc = v ? sm_monitor_events(v, &events, err) : SM_OK;
    if (events)
        json_object_set_new(spec, f->key, events);
    return rc;
}

static sm_rc check_choice(const field *f, const sm_val *v, json_t *spec, sm_err *err) {
    const char *chosen = v ? NULL : f->choices[0];
    char what[80] = "one of";
    for (size_t i = 0; f->choices[i]; i++) {
        size_t used = strlen(what);
        if (v && is_text(v, f->choices[i]))
            chosen = f->choices[i];
        snprintf(what + used, sizeof what - used, "%s %s", i ? "," : "", f->choices[i]);
    }
    if (!chosen)
        return sm_monitor_expected(v, f->key, what, err);
    json_object_set_new(spec, f->key, json_string(chosen));
    return SM_OK;
}

static sm_rc check_true(const field *f, const sm_val *v, json_t *spec, sm_err *err) {
    if (v && v->type != SM_VAL_BOOL)
        return sm_monitor_expected(v, f->key, "true or false", err);
    json_object_set_new(spec, f->key, json_boolean(v ? v->u.b : true));
    return SM_OK;
}

static sm_rc check_name(const field *f, const sm_val *v, json_t *spec, sm_err *err) {
    (void)spec;
    if (!v)
        return SM_OK;
    bool good = v->type == SM_VAL_STR && v->u.s.n > 0 && v->u.s.n < SM_MONITOR_NAME;
    for (size_t i = 0; good && i < v->u.s.n; i++) {
        char c = v->u.s.p[i];
        good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
               (c >= '0' && c <= '9' && i > 0);
    }
    return good ? SM_OK
                : sm_monitor_expected(v, f->key, "a name as of a function, at most 63 bytes", err);
}

static sm_rc check_run(const field *f, const sm_val *v, json_t *spec, sm_err *err) {
    (void)spec;
    if (!v || (v->type == SM_VAL_OTHER && strcmp(v->u.s.p, "function") == 0))
        return SM_OK;
    return sm_monitor_expected(v, f->key, "a function", err);
}

static const char *const overlaps[] = {"skip", "queue", NULL};
static const char *const misses[] = {"last", "skip", "all", NULL};

static const field fields[] = {
    {"title", check_title, NULL, NULL},        {"doc", check_doc, NULL, NULL},
    {"schedule", check_schedule, NULL, NULL},  {"timezone", check_text, NULL, NULL},
    {"timeout", check_timeout, NULL, NULL},    {"params", check_params, NULL, NULL},
    {"account", check_text, NULL, "default"},  {"api_key_id", check_text, NULL, NULL},
    {"api_key", check_text, NULL, NULL},       {"node", check_node, NULL, NULL},
    {"category", check_text, NULL, "general"}, {"tags", check_texts, NULL, NULL},
    {"permissions", check_texts, NULL, NULL},  {"limits", check_limits, NULL, NULL},
    {"events", check_events, NULL, NULL},      {"overlap", check_choice, overlaps, NULL},
    {"missed", check_choice, misses, NULL},    {"first_run", check_true, NULL, NULL},
    {"retry", check_true, NULL, NULL},         {"was", check_texts, NULL, NULL},
    {"name", check_name, NULL, NULL},          {"run", check_run, NULL, NULL},
};

sm_rc sm_monitor_check(const sm_val *table, json_t **spec, sm_err *err) {
    const char *names[SM_ARRAY_LEN(fields)];
    for (size_t i = 0; i < SM_ARRAY_LEN(fields); i++)
        names[i] = fields[i].key;
    *spec = NULL;
    sm_rc rc = sm_monitor_known(table, NULL, names, SM_ARRAY_LEN(fields), err);
    json_t *out = json_object();
    for (size_t i = 0; i < SM_ARRAY_LEN(fields) && rc == SM_OK; i++)
        rc = fields[i].check(&fields[i], sm_monitor_field(table, fields[i].key), out, err);
    if (rc == SM_OK)
        *spec = out;
    else
        json_decref(out);
    return rc;
}
