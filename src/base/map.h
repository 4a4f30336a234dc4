/* map: text -> pointer, open addressing, keys copied. Not thread-safe; values are the caller's.
 * While sm_map_next walks, entries may be removed but not added. */
#pragma once
#include <stddef.h>

typedef struct sm_map_slot {
    char *key;   /* owned; NULL: never used */
    void *value; /* NULL with a key: removed */
} sm_map_slot;

typedef struct sm_map {
    sm_map_slot *slots;
    size_t cap;  /* power of two, or 0 */
    size_t used; /* slots with a key, removed ones too */
    size_t len;  /* live entries */
} sm_map;

void sm_map_init(sm_map *m);
void sm_map_fini(sm_map *m); /* values are not freed */
void *sm_map_get(const sm_map *m, const char *key);
/* Stores a value (not NULL); returns the former one, or NULL. */
void *sm_map_put(sm_map *m, const char *key, void *value);
/* Removes and returns the value, or NULL. */
void *sm_map_del(sm_map *m, const char *key);
/* Walks in no order: *pos starts at 0; NULL at the end; key may be NULL. */
void *sm_map_next(const sm_map *m, size_t *pos, const char **key);
