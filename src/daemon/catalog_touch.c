/* catalog_touch: what the watch said of files since they were last read.
 *
 * A mark is one of sm_touch. An open file keeps its mark while it is tried; the watch's next word
 * replaces it. Owned by the loop's thread.
 */
#include "base/mem.h"
#include "daemon/catalog_parts.h"
#include <stdlib.h>

/* Values of the map; only their addresses count. */
static const char mark_of[SM_TOUCH_TRY + 1];

static void set(sm_catalog *c, const char *rel, sm_touch how) {
    sm_map_put(&c->marks, rel, (void *)(uintptr_t)&mark_of[how]);
}

static sm_touch mark(const sm_catalog *c, const char *rel) {
    const char *m = sm_map_get(&c->marks, rel);
    return m ? (sm_touch)(m - mark_of) : 0;
}

void sm_catalog_touch(sm_catalog *c, const char *rel, sm_touch how) {
    set(c, rel, how);
}

bool sm_catalog_is_open(const sm_catalog *c, const char *rel) {
    return mark(c, rel) == SM_TOUCH_OPEN;
}

bool sm_catalog_is_touched(const sm_catalog *c, const char *rel) {
    return mark(c, rel) != 0;
}

sm_touch sm_catalog_untouch(sm_catalog *c, const char *rel) {
    sm_touch how = mark(c, rel);
    if (how == SM_TOUCH_TRY)
        set(c, rel, SM_TOUCH_OPEN);
    else if (how == SM_TOUCH_WHOLE)
        sm_map_del(&c->marks, rel);
    return how;
}

char **sm_catalog_touched(const sm_catalog *c, size_t *n) {
    char **names = sm_calloc(c->marks.len + 1, sizeof *names);
    size_t pos = 0;
    const char *rel;
    *n = 0;
    while (sm_map_next(&c->marks, &pos, &rel))
        if (mark(c, rel) != SM_TOUCH_OPEN)
            names[(*n)++] = sm_strdup(rel);
    return names;
}

void sm_catalog_forget_touches(sm_catalog *c) {
    size_t pos = 0;
    const char *rel;
    while (sm_map_next(&c->marks, &pos, &rel))
        if (mark(c, rel) == SM_TOUCH_WHOLE)
            sm_map_del(&c->marks, rel);
}

void sm_catalog_peek(sm_catalog *c) {
    if (c->watched)
        c->eyes.take(c->eyes.ctx);
}

void sm_catalog_watched(sm_catalog *c, const sm_catalog_eyes *eyes) {
    c->eyes = *eyes;
    c->watched = true;
}

bool sm_catalog_links(const sm_catalog *c) {
    return c->links > 0;
}

double sm_catalog_publish_ms(const sm_catalog *c) {
    return c->publish_ms;
}

double sm_catalog_walk_ms(const sm_catalog *c) {
    return c->walk_ms;
}

void sm_catalog_counts(const sm_catalog *c, sm_catalog_count *out) {
    *out = (sm_catalog_count){.inspections = c->n_list, .errors = c->n_errors};
    for (size_t i = 0; i < c->n_errors; i++)
        out->stale += c->errors[i].stale;
}
