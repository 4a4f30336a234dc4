/* map: text -> pointer by open addressing with linear probing (see map.h).
 *
 * FNV-1a with a per-process seed would add nothing here: keys are run ids, function ids and hashes
 * that the daemon made or checked itself, and their number is bounded by its limits.
 */
#include "base/map.h"
#include "base/mem.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static size_t hash_of(const char *key) {
    uint64_t h = UINT64_C(14695981039346656037);
    for (; *key; key++) {
        h ^= (unsigned char)*key;
        h *= UINT64_C(1099511628211);
    }
    return (size_t)(h ^ (h >> 32));
}

void sm_map_init(sm_map *m) {
    memset(m, 0, sizeof *m);
}

void sm_map_fini(sm_map *m) {
    for (size_t i = 0; i < m->cap; i++)
        free(m->slots[i].key);
    free(m->slots);
    sm_map_init(m);
}

/* The slot of key, or the first never used one on its way. cap > 0. */
static sm_map_slot *find(const sm_map *m, const char *key) {
    size_t i = hash_of(key) & (m->cap - 1);
    while (m->slots[i].key && strcmp(m->slots[i].key, key) != 0)
        i = (i + 1) & (m->cap - 1);
    return &m->slots[i];
}

/* Makes room for one more; drops removed slots on the way. */
static void grow(sm_map *m) {
    size_t cap = m->cap ? m->cap : 16;
    while (m->len * 2 >= cap)
        cap *= 2;
    sm_map old = *m;
    m->slots = sm_calloc(cap, sizeof *m->slots);
    m->cap = cap;
    m->used = m->len;
    for (size_t i = 0; i < old.cap; i++) {
        if (old.slots[i].value)
            *find(m, old.slots[i].key) = old.slots[i];
        else
            free(old.slots[i].key);
    }
    free(old.slots);
}

void *sm_map_get(const sm_map *m, const char *key) {
    return m->cap ? find(m, key)->value : NULL;
}

void *sm_map_put(sm_map *m, const char *key, void *value) {
    if ((m->used + 1) * 4 >= m->cap * 3)
        grow(m);
    sm_map_slot *slot = find(m, key);
    void *former = slot->value;
    if (!slot->key) {
        slot->key = sm_strdup(key);
        m->used++;
    }
    if (!former)
        m->len++;
    slot->value = value;
    return former;
}

void *sm_map_del(sm_map *m, const char *key) {
    sm_map_slot *slot = m->cap ? find(m, key) : NULL;
    void *former = slot ? slot->value : NULL;
    if (former) {
        slot->value = NULL;
        m->len--;
    }
    return former;
}

void *sm_map_next(const sm_map *m, size_t *pos, const char **key) {
    while (*pos < m->cap) {
        const sm_map_slot *slot = &m->slots[(*pos)++];
        if (slot->value) {
            if (key)
                *key = slot->key;
            return slot->value;
        }
    }
    return NULL;
}
