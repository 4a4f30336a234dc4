/* config_changes: in what two configurations differ, and what a later one takes over from the one
 * it replaces. Pure but for secret files, which their sources read again when they changed. Called
 * by app_reload on the loop's thread.
 */
#include "base/mem.h"
#include "daemon/config.h"
#include <stdlib.h>
#include <string.h>

/* Adds the part of a dotted key before the first dot, once. */
static void add(json_t *names, const char *dotted) {
    size_t i, n = strcspn(dotted, ".");
    json_t *name;
    json_array_foreach(names, i, name) {
        if (strncmp(json_string_value(name), dotted, n) == 0 && !json_string_value(name)[n])
            return;
    }
    json_array_append_new(names, json_stringn(dotted, n));
}

static const struct sm_config_held *held_of(const sm_config *c, const char *name) {
    for (size_t i = 0; i < c->n_held; i++)
        if (strcmp(c->held[i].name, name) == 0)
            return &c->held[i];
    return NULL;
}

static bool same_bytes(const sm_secret *a, const sm_secret *b) {
    size_t n = 0, m = 0;
    const char *x = a ? sm_secret_bytes(a, &n) : "", *y = b ? sm_secret_bytes(b, &m) : "";
    return !a == !b && n == m && memcmp(x, y, n) == 0;
}

/* From the same place, or without a place the same value. */
static bool same_held(const struct sm_config_held *a, const struct sm_config_held *b) {
    if (!a || !b || !a->spec != !b->spec)
        return false;
    return a->spec ? strcmp(a->spec, b->spec) == 0 : same_bytes(a->value, b->value);
}

bool sm_config_same_secret(const sm_config *a, const sm_config *b, const char *name) {
    const struct sm_config_held *x = held_of(a, name), *y = held_of(b, name);
    return x && y ? same_held(x, y) : x == y;
}

json_t *sm_config_changes(const sm_config *a, const sm_config *b) {
    json_t *names = json_array(), *v;
    const char *key;
    json_object_foreach(b->values, key, v) {
        const struct sm_config_held *held = held_of(b, key);
        if (!json_equal(v, json_object_get(a->values, key)) ||
            (held && !same_held(held_of(a, key), held)))
            add(names, key);
    }
    json_object_foreach(a->values, key, v) {
        if (!json_object_get(b->values, key))
            add(names, key);
    }
    return names;
}

static void replace(char **at, const char *text) {
    free(*at);
    *at = text ? sm_strdup(text) : NULL;
}

void sm_config_inherit(sm_config *c, sm_config *old) {
    replace(&c->root, old->root);
    replace(&c->display, old->display);
    replace(&c->state_dir, old->state_dir);
    sm_secret_free(c->assoc);
    c->assoc = old->assoc;
    old->assoc = NULL;
}
