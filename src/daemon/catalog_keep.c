/* catalog_keep: last good texts in the store, so that a script that was broken while the program
 * was down still runs as it last did.
 *
 * A text is kept after it loaded, unless it holds an API key (no secret goes into the database) or
 * bytes that are no text. What comes back is checked: hashes are computed again. Owned by the loop.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/catalog_parts.h"
#include "store/store.h"
#include <stdlib.h>
#include <string.h>

typedef struct fetch {
    sm_catlife *life;
    void (*then)(sm_catalog *c);
} fetch;

static void on_rows(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    fetch *q = ctx;
    sm_catalog *c = q->life->c;
    size_t i;
    json_t *row;
    if (c) {
        if (rc != SM_OK)
            sm_log(SM_LOG_WARN, "the last good texts cannot be read: %s", err->msg);
        json_array_foreach(rc == SM_OK ? result : NULL, i, row) {
            const char *file = sm_json_str(row, "file", NULL);
            if (file)
                json_decref(sm_map_put(&c->rows, file, json_deep_copy(row)));
        }
        c->rows_known = true;
        q->then(c);
    }
    if (--q->life->refs == 0)
        free(q->life);
    free(q);
}

void sm_catalog_fetch(sm_catalog *c, void (*then)(sm_catalog *c)) {
    fetch *q = sm_calloc(1, sizeof *q);
    q->life = c->life;
    q->life->refs++;
    q->then = then;
    sm_store_call(c->store, SM_OP_TEXTS_GET, NULL, on_rows, q);
}

/* A text of a row when its hash is true. */
static sm_blob *blob_of(const json_t *at) {
    const json_t *text = json_object_get(at, "text");
    if (!json_is_string(text))
        return NULL;
    sm_blob *b = sm_blob_new(json_string_value(text), json_string_length(text));
    if (strcmp(b->hash, sm_json_str(at, "hash", "")) == 0)
        return b;
    sm_blob_unref(b);
    return NULL;
}

static sm_source *source_of(const json_t *row, const char *file) {
    const json_t *libs = json_object_get(row, "libs");
    sm_source *s = sm_calloc(1, sizeof *s);
    size_t i;
    json_t *lib;
    s->refs = 1;
    s->file = sm_strdup(file);
    s->script = blob_of(row);
    s->libs = sm_calloc(json_array_size(libs) + 1, sizeof *s->libs);
    json_array_foreach(libs, i, lib) {
        s->libs[i].name = sm_strdup(sm_json_str(lib, "name", ""));
        s->libs[i].blob = blob_of(lib);
        s->n_libs = i + 1;
        if (!s->libs[i].blob)
            break;
    }
    if (s->script && s->n_libs == json_array_size(libs) &&
        (s->n_libs == 0 || s->libs[s->n_libs - 1].blob))
        return s;
    sm_source_unref(s);
    return NULL;
}

void sm_catalog_restore(sm_catalog *c, sm_catfile *f) {
    json_t *row = sm_map_del(&c->rows, f->rel);
    if (!row)
        return;
    sm_source *s = source_of(row, f->rel);
    if (!s || !sm_catalog_take_stored(c, f, s, json_object_get(row, "specs")))
        sm_log(SM_LOG_WARN, "%s/%s: the version kept in the store cannot be used", c->cfg->display,
               f->rel);
    sm_source_unref(s);
    json_decref(row);
}

static json_t *text_row(const char *key, const char *name, const sm_blob *b) {
    if (!sm_utf8_valid(b->text, b->n) || strlen(b->text) != b->n)
        return NULL;
    return json_pack("{s:s, s:s, s:s%}", key, name, "hash", b->hash, "text", b->text, b->n);
}

/* Whether the store's row, read at the start, says the same. */
static bool same_row(const sm_catalog *c, const sm_catfile *f) {
    const json_t *row = sm_map_get(&c->rows, f->rel);
    const json_t *libs = json_object_get(row, "libs");
    if (!row || strcmp(sm_json_str(row, "hash", ""), f->source->script->hash) != 0 ||
        json_array_size(libs) != f->source->n_libs ||
        !json_equal(json_object_get(row, "specs"), f->specs))
        return false;
    for (size_t i = 0; i < f->source->n_libs; i++) {
        const json_t *lib = json_array_get(libs, i);
        if (strcmp(sm_json_str(lib, "name", ""), f->source->libs[i].name) != 0 ||
            strcmp(sm_json_str(lib, "hash", ""), f->source->libs[i].blob->hash) != 0)
            return false;
    }
    return true;
}

static bool holds_key(const sm_catfile *f) {
    for (size_t i = 0; i < f->made.n; i++)
        if (f->made.list[i]->api_key)
            return true;
    return false;
}

void sm_catalog_keep(sm_catalog *c, sm_catfile *f) {
    if (!c->store || f->stored || !f->source)
        return;
    f->stored = true;
    if (same_row(c, f))
        return;
    json_t *row = holds_key(f) ? NULL : text_row("file", f->rel, f->source->script);
    json_t *libs = json_array();
    for (size_t i = 0; i < f->source->n_libs && row; i++) {
        json_t *lib = text_row("name", f->source->libs[i].name, f->source->libs[i].blob);
        if (lib) {
            json_array_append_new(libs, lib);
        } else {
            json_decref(row);
            row = NULL;
        }
    }
    if (!row) {
        json_decref(libs);
        sm_catalog_unkeep(c, f->rel); /* an older version must not come back in its place */
        return;
    }
    json_object_set_new(row, "libs", libs);
    json_object_set_new(row, "specs", json_deep_copy(f->specs));
    json_object_set_new(row, "at_ns", json_integer(sm_wall_ns()));
    sm_store_call(c->store, SM_OP_TEXTS_PUT, row, NULL, NULL);
}

void sm_catalog_unkeep(sm_catalog *c, const char *file) {
    if (c->store)
        sm_store_call(c->store, SM_OP_TEXTS_DELETE, json_pack("{s:s}", "file", file), NULL, NULL);
}

void sm_catalog_rows_free(sm_catalog *c) {
    size_t pos = 0;
    json_t *row;
    while ((row = sm_map_next(&c->rows, &pos, NULL)))
        json_decref(row);
    sm_map_fini(&c->rows);
}
