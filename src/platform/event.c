/* event: what an event may be (script-api 4): the author's mistakes are errors here, the world's
 * data is repaired by event_repair.c.
 *
 * A pure check of one event; that a list is taken whole or not at all is the caller's loop. It is
 * used by the worker, for the script's line, and again by the daemon's intake, which never trusts
 * a worker; an event that passed once passes again unchanged. Any thread.
 */
#include "platform/event.h"
#include "base/mem.h"
#include "base/str.h"
#include "platform/event_repair.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const fields[] = {"title", "message", "status", "dimension_tags"};
static const char *const statuses[] = {"ok", "info", "warning", "error", "critical"};

typedef struct check { /* one sm_event_check under way, on its caller's stack */
    int index;
    bool clean; /* remove the author's margin from the message */
    json_t *notes;
    sm_err *err;
} check;

int sm_event_status_rank(const char *status) {
    for (size_t i = 0; status && i < SM_ARRAY_LEN(statuses); i++)
        if (strcmp(status, statuses[i]) == 0)
            return (int)i;
    return -1;
}

const char *sm_event_status_name(int rank) {
    return statuses[rank];
}

/* "a text", "a table", "an error": the type of a value as a sentence has it. */
static const char *type_of(const sm_val *v, char out[64]) {
    switch (v->type) {
    case SM_VAL_NIL:
        return "nil";
    case SM_VAL_BOOL:
        return "a boolean";
    case SM_VAL_INT:
    case SM_VAL_NUM:
        return "a number";
    case SM_VAL_STR:
        return "a text";
    case SM_VAL_TABLE:
        return "a table";
    case SM_VAL_OTHER:
        break;
    }
    char first = v->u.s.n > 0 ? v->u.s.p[0] : 'v';
    int n = v->u.s.n < 56 ? (int)v->u.s.n : 56;
    snprintf(out, 64, "%s %.*s", strchr("aeio", first) ? "an" : "a", n, v->u.s.p);
    return out;
}

static bool is_text(const sm_val *v, const char *s) {
    return v->type == SM_VAL_STR && v->u.s.n == strlen(s) && memcmp(v->u.s.p, s, v->u.s.n) == 0;
}

static const sm_val *field_of(const sm_val *event, const char *name) {
    for (size_t i = 0; i < event->u.t.n; i++)
        if (is_text(&event->u.t.p[i].key, name) && event->u.t.p[i].val.type != SM_VAL_NIL)
            return &event->u.t.p[i].val;
    return NULL;
}

/* Order of keys that does not depend on the order of a Lua table: texts by bytes, then the rest. */
static int compare_pairs(const void *a, const void *b) {
    const sm_val *x = &(*(const sm_pair *const *)a)->key, *y = &(*(const sm_pair *const *)b)->key;
    bool xs = x->type == SM_VAL_STR, ys = y->type == SM_VAL_STR;
    if (!xs || !ys)
        return xs == ys ? 0 : (xs ? -1 : 1);
    size_t n = x->u.s.n < y->u.s.n ? x->u.s.n : y->u.s.n;
    int c = n ? memcmp(x->u.s.p, y->u.s.p, n) : 0;
    return c ? c : (x->u.s.n > y->u.s.n) - (x->u.s.n < y->u.s.n);
}

/* Pairs of a table in that order; the caller frees the array. */
static const sm_pair **sorted(const sm_val *table) {
    const sm_pair **list = sm_calloc(table->u.t.n + 1, sizeof *list);
    for (size_t i = 0; i < table->u.t.n; i++)
        list[i] = &table->u.t.p[i];
    qsort(list, table->u.t.n, sizeof *list, compare_pairs);
    return list;
}

static sm_rc check_known(const check *c, const sm_val *event) {
    const sm_pair **list = sorted(event);
    sm_rc rc = SM_OK;
    for (size_t i = 0; i < event->u.t.n && rc == SM_OK; i++) {
        const sm_val *key = &list[i]->key;
        char type[64], hint[128];
        if (key->type != SM_VAL_STR) {
            rc = sm_err_set(c->err, SM_INVALID,
                            "events[%d]: expected fields title, message, status, dimension_tags; "
                            "got %s as a key",
                            c->index, type_of(key, type));
            continue;
        }
        bool known = false;
        for (size_t k = 0; k < SM_ARRAY_LEN(fields); k++)
            known = known || is_text(key, fields[k]);
        if (known)
            continue;
        char *name = sm_str_printable(key->u.s.p, key->u.s.n, 80);
        rc = sm_err_set(c->err, SM_INVALID, "events[%d].%s: unknown field \"%s\"%s", c->index, name,
                        name, sm_str_hint(name, fields, SM_ARRAY_LEN(fields), hint, sizeof hint));
        free(name);
    }
    free(list);
    return rc;
}

/* The required text field `name`, borrowed. */
static sm_rc need_text(const check *c, const sm_val *event, const char *name, const sm_val **out) {
    char type[64];
    const sm_val *v = field_of(event, name);
    if (!v)
        return sm_err_set(c->err, SM_INVALID, "events[%d].%s: missing; expected a text", c->index,
                          name);
    if (v->type != SM_VAL_STR)
        return sm_err_set(c->err, SM_INVALID, "events[%d].%s: expected a text, got %s", c->index,
                          name, type_of(v, type));
    *out = v;
    return SM_OK;
}

static sm_rc check_status(const check *c, const sm_val *v, const char **out) {
    for (size_t i = 0; i < SM_ARRAY_LEN(statuses); i++) {
        if (is_text(v, statuses[i])) {
            *out = statuses[i];
            return SM_OK;
        }
    }
    char *got = sm_str_printable(v->u.s.p, v->u.s.n, 60);
    sm_err_set(c->err, SM_INVALID,
               "events[%d].status: expected one of info, warning, error, critical, ok; got \"%s\"",
               c->index, got);
    free(got);
    return SM_INVALID;
}

static sm_rc check_tag_key(const check *c, const char *key, size_t n) {
    const char *why = NULL;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)key[i] < 0x20 || key[i] == 0x7f)
            why = "a tag name may not hold control bytes";
    if (n == 0)
        why = "a tag name may not be empty";
    else if (n > SM_EVENT_TAG_KEY_BYTES)
        why = "a tag name may have at most 256 bytes";
    else if (n >= 3 && memcmp(key, "df_", 3) == 0)
        why = "names that begin with df_ belong to the platform";
    if (!why)
        return SM_OK;
    char *name = sm_str_printable(key, n, 60);
    sm_err_set(c->err, SM_INVALID, "events[%d].dimension_tags[\"%s\"]: %s", c->index, name, why);
    free(name);
    return SM_INVALID;
}

/* Text of a tag's value, "" when it is to be left out; malloc'd. */
static sm_rc tag_text(const check *c, const sm_val *v, const char *path, char **out, size_t *len) {
    char number[40], type[64];
    switch (v->type) {
    case SM_VAL_STR:
        *out = sm_event_repair_tag(v->u.s.p, v->u.s.n, path, c->notes, len);
        return SM_OK;
    case SM_VAL_BOOL:
        *out = sm_strdup(v->u.b ? "true" : "false");
        break;
    case SM_VAL_INT:
        *out = sm_asprintf("%lld", (long long)v->u.i);
        break;
    case SM_VAL_NUM:
        if (!isfinite(v->u.n))
            return sm_err_set(c->err, SM_INVALID, "%s: expected a finite number, got %s", path,
                              isnan(v->u.n) ? "NaN" : "infinity");
        sm_event_number(v->u.n, number);
        *out = sm_strdup(number);
        break;
    default:
        return sm_err_set(c->err, SM_INVALID, "%s: expected a text, a number or a boolean, got %s",
                          path, type_of(v, type));
    }
    *len = strlen(*out);
    return SM_OK;
}

static sm_rc check_tag(const check *c, const sm_pair *pair, json_t *tags) {
    char type[64];
    char *key = NULL, *path = NULL, *text = NULL;
    size_t key_len = 0, len = 0;
    sm_rc rc;
    if (pair->key.type != SM_VAL_STR)
        return sm_err_set(c->err, SM_INVALID,
                          "events[%d].dimension_tags: expected texts as tag names, got %s",
                          c->index, type_of(&pair->key, type));
    char *shown = sm_str_printable(pair->key.u.s.p, pair->key.u.s.n, 60);
    path = sm_asprintf("events[%d].dimension_tags.%s", c->index, shown);
    free(shown);
    key = sm_event_repair_key(pair->key.u.s.p, pair->key.u.s.n, path, c->notes, &key_len);
    rc = check_tag_key(c, key, key_len);
    if (rc == SM_OK)
        rc = tag_text(c, &pair->val, path, &text, &len);
    if (rc != SM_OK || len == 0)
        goto out;
    if (json_object_get(tags, key))
        sm_event_note(c->notes, path, "left out, as another tag has the same name");
    else
        json_object_set_new(tags, key, sm_json_text(text, len));
out:
    free(text);
    free(key);
    free(path);
    return rc;
}

static sm_rc check_tags(const check *c, const sm_val *v, json_t **out) {
    char type[64];
    if (v && v->type != SM_VAL_TABLE)
        return sm_err_set(c->err, SM_INVALID, "events[%d].dimension_tags: expected a table, got %s",
                          c->index, type_of(v, type));
    if (v && v->u.t.n > SM_EVENT_TAGS)
        return sm_err_set(c->err, SM_INVALID,
                          "events[%d].dimension_tags: expected at most %d tags, got %zu", c->index,
                          SM_EVENT_TAGS, v->u.t.n);
    json_t *tags = json_object();
    sm_rc rc = SM_OK;
    if (v) {
        const sm_pair **list = sorted(v);
        for (size_t i = 0; i < v->u.t.n && rc == SM_OK; i++)
            rc = check_tag(c, list[i], tags);
        free(list);
    }
    if (rc != SM_OK) {
        json_decref(tags);
        return rc;
    }
    *out = tags;
    return SM_OK;
}

static sm_rc check_event(const check *c, const sm_val *event, json_t **out) {
    const sm_val *title = NULL, *message = NULL, *status_val = NULL;
    const char *status = NULL;
    char path[48], type[64];
    json_t *tags = NULL;
    sm_rc rc;
    *out = NULL;
    if (event->type != SM_VAL_TABLE)
        return sm_err_set(c->err, SM_INVALID, "events[%d]: expected a table, got %s", c->index,
                          type_of(event, type));
    if ((rc = check_known(c, event)) != SM_OK ||
        (rc = need_text(c, event, "title", &title)) != SM_OK ||
        (rc = need_text(c, event, "message", &message)) != SM_OK ||
        (rc = need_text(c, event, "status", &status_val)) != SM_OK ||
        (rc = check_status(c, status_val, &status)) != SM_OK ||
        (rc = check_tags(c, field_of(event, "dimension_tags"), &tags)) != SM_OK)
        return rc;

    size_t n;
    json_t *result = json_object();
    snprintf(path, sizeof path, "events[%d].title", c->index);
    char *s = sm_event_repair_title(title->u.s.p, title->u.s.n, path, c->notes, &n);
    json_object_set_new(result, "title", sm_json_text(s, n));
    free(s);
    snprintf(path, sizeof path, "events[%d].message", c->index);
    s = sm_event_repair_message(message->u.s.p, message->u.s.n, c->clean, path, c->notes, &n);
    json_object_set_new(result, "message", sm_json_text(s, n));
    free(s);
    json_object_set_new(result, "status", json_string(status));
    json_object_set_new(result, "dimension_tags", tags);
    *out = result;
    return SM_OK;
}

sm_rc sm_event_check(const sm_val *event, int index, json_t **out, json_t *notes, sm_err *err) {
    check c = {.index = index, .clean = true, .notes = notes, .err = err};
    return check_event(&c, event, out);
}

/* Borrows from j; `depth` levels of tables are read, deeper ones stay empty (they are refused by
 * their type alone). */
static sm_val val_of_json(const json_t *j, int depth) {
    sm_val v = {.type = SM_VAL_NIL};
    switch (j ? json_typeof(j) : JSON_NULL) {
    case JSON_NULL:
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        v.type = SM_VAL_BOOL;
        v.u.b = json_is_true(j);
        break;
    case JSON_INTEGER:
        v.type = SM_VAL_INT;
        v.u.i = json_integer_value(j);
        break;
    case JSON_REAL:
        v.type = SM_VAL_NUM;
        v.u.n = json_real_value(j);
        break;
    case JSON_STRING:
        v.type = SM_VAL_STR;
        v.u.s.p = json_string_value(j);
        v.u.s.n = json_string_length(j);
        break;
    case JSON_ARRAY:
        v.type = SM_VAL_TABLE;
        v.u.t.n = depth > 0 ? json_array_size(j) : 0;
        v.u.t.p = v.u.t.n ? sm_calloc(v.u.t.n, sizeof *v.u.t.p) : NULL;
        for (size_t i = 0; i < v.u.t.n; i++) {
            v.u.t.p[i].key = (sm_val){.type = SM_VAL_INT, .u.i = (int64_t)i + 1};
            v.u.t.p[i].val = val_of_json(json_array_get(j, i), depth - 1);
        }
        break;
    case JSON_OBJECT: {
        v.type = SM_VAL_TABLE;
        size_t n = depth > 0 ? json_object_size(j) : 0, i = 0;
        v.u.t.p = n ? sm_calloc(n, sizeof *v.u.t.p) : NULL;
        json_t *obj =
            (json_t *)(uintptr_t)j; /* jansson's iterators take no const; nothing is set */
        for (void *it = n ? json_object_iter(obj) : NULL; it; it = json_object_iter_next(obj, it)) {
            v.u.t.p[i].key = (sm_val){.type = SM_VAL_STR};
            v.u.t.p[i].key.u.s.p = json_object_iter_key(it);
            v.u.t.p[i].key.u.s.n = json_object_iter_key_len(it);
            v.u.t.p[i++].val = val_of_json(json_object_iter_value(it), depth - 1);
        }
        v.u.t.n = i;
        break;
    }
    }
    return v;
}

sm_rc sm_event_check_json(const json_t *event, int index, json_t **out, json_t *notes,
                          sm_err *err) {
    /* A message that came as JSON was cleaned where its margin was known, in the worker. */
    check c = {.index = index, .clean = false, .notes = notes, .err = err};
    sm_val v = val_of_json(event, 2);
    sm_rc rc = check_event(&c, &v, out);
    sm_val_fini(&v);
    return rc;
}

char *sm_event_dimension(const json_t *tags) {
    return tags ? sm_json_dump(tags, NULL) : sm_strdup("{}");
}

void sm_val_fini(sm_val *v) {
    if (v->type != SM_VAL_TABLE)
        return;
    for (size_t i = 0; i < v->u.t.n; i++) {
        sm_val_fini(&v->u.t.p[i].key);
        sm_val_fini(&v->u.t.p[i].val);
    }
    free(v->u.t.p);
    *v = (sm_val){.type = SM_VAL_NIL};
}
