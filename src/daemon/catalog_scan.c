/* catalog_scan: what is on disk below the root, and what of it changed.
 *
 * A file is read again when size, mtime, device or inode differ, or when its mtime was so young at
 * the last read that a further change might not show in it; it changed when its hash differs. Names
 * that end in `_spec.lua`, and base names that begin with `_`, are no inspections. Links out of the
 * root are refused by fsx. Owned by the loop's thread.
 */
#include "base/clock.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/catalog_parts.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Coarsest timestamps of file systems in use (FAT, old NFS): 2 s. */
static const int64_t racy_ns = 2 * SM_NS_PER_S;

static void on_warning(void *ctx, const char *sentence) {
    sm_catalog *c = ctx;
    size_t i;
    json_t *known;
    json_array_foreach(c->notes, i, known) if (strcmp(json_string_value(known), sentence) ==
                                               0) return; /* told once */
    sm_catalog_note(c, SM_LOG_WARN, sentence);
}

static bool wanted(const sm_fsx_entry *e) {
    return e->regular && !sm_str_ends(e->rel, "_spec.lua") && sm_fsx_basename(e->rel)[0] != '_';
}

bool sm_catalog_blank(const sm_blob *b) {
    return strspn(b->text, " \t\r\n") == b->n;
}

/* Reads f again; keeps the former text in `good` or `source`. */
static void read_file(sm_catalog *c, sm_catfile *f, int root, const sm_fsx_entry *e, int64_t now) {
    char *text = NULL;
    size_t n;
    sm_err err = SM_ERR_INIT;
    sm_blob *blob = NULL;
    if (sm_fsx_read_beneath(root, e->rel, SM_CATALOG_TEXT, &text, &n, &err) != SM_OK) {
        if (err.code == SM_NOT_FOUND) {
            f->seen = false; /* removed since the walk */
            return;
        }
        if (err.code == SM_LIMIT)
            sm_err_set(&err, SM_LIMIT, "the file is longer than %d bytes", SM_CATALOG_TEXT);
        sm_err_wrap(&err, "%s/%s", c->cfg->display, e->rel);
        sm_blob_unref(f->disk);
        f->disk = NULL;
        sm_catalog_fault(c, f, err.msg, 0);
        f->racy = true; /* permissions may change without a sign in size and mtime */
        return;
    }
    blob = sm_blob_new(text, n);
    free(text);
    if (!f->disk) { /* never read, or not readable the last time: its fault is to be found anew */
        sm_source_unref(f->tried);
        f->tried = NULL;
    }
    f->size = e->size;
    f->mtime_ns = e->mtime_ns;
    f->dev = e->dev;
    f->ino = e->ino;
    f->racy = e->mtime_ns > now - racy_ns || (int64_t)n != e->size;
    if (f->disk && strcmp(f->disk->hash, blob->hash) == 0) {
        sm_blob_unref(blob);
        return;
    }
    sm_blob_unref(f->disk);
    f->disk = blob;
}

static bool unchanged(const sm_catfile *f, const sm_fsx_entry *e) {
    return f->disk && !f->racy && f->size == e->size && f->mtime_ns == e->mtime_ns &&
           f->dev == e->dev && f->ino == e->ino;
}

static void root_fault(sm_catalog *c, const char *msg) {
    if (!c->root_error || strcmp(c->root_error, msg) != 0) {
        c->dirty = true;
        sm_log(SM_LOG_ERROR, "%s; what is loaded stays as it is", msg);
    }
    free(c->root_error);
    c->root_error = sm_strdup(msg);
}

bool sm_catalog_read(sm_catalog *c) {
    sm_fsx_entry *entries = NULL;
    size_t n = 0, pos = 0, libs = 0;
    sm_err err = SM_ERR_INIT;
    sm_catfile *f;
    bool ok = false;
    int64_t now = sm_wall_ns();
    const sm_fsx_told told = {.warn = on_warning, .ctx = c};
    int root = open(c->cfg->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        sm_err_sys(&err, errno, "%s", c->cfg->root);
        goto out;
    }
    if (sm_fsx_walk(c->cfg->root, ".lua", SM_CATALOG_FILES, &entries, &n, &told, &err) !=
        SM_OK)
        goto out;
    while ((f = sm_map_next(&c->files, &pos, NULL)))
        f->seen = false;
    for (size_t i = 0; i < n; i++) {
        const sm_fsx_entry *e = &entries[i];
        if (!wanted(e))
            continue;
        if (sm_str_starts(e->rel, "lib/") && ++libs > SM_CATALOG_LIBS) {
            sm_err_set(&err, SM_LIMIT, "%s/lib has more than %d modules", c->cfg->display,
                       SM_CATALOG_LIBS);
            on_warning(c, err.msg);
            continue;
        }
        f = sm_catalog_file(c, e->rel);
        f->seen = true;
        if (!unchanged(f, e))
            read_file(c, f, root, e, now);
    }
    if (c->root_error) {
        c->dirty = true;
        free(c->root_error);
        c->root_error = NULL;
    }
    ok = true;
out:
    if (!ok)
        root_fault(c, err.msg);
    sm_fsx_entries_free(entries, n);
    if (root >= 0)
        close(root);
    return ok;
}

static void add_lib(sm_source *s, const char *name, sm_blob *b) {
    s->libs = sm_realloc(s->libs, (s->n_libs + 1) * sizeof *s->libs);
    s->libs[s->n_libs].name = sm_strdup(name);
    s->libs[s->n_libs].blob = sm_blob_ref(b);
    s->n_libs++;
}

sm_source *sm_catalog_libs(const sm_catalog *c, bool on_disk) {
    size_t n;
    sm_source *s = sm_calloc(1, sizeof *s);
    s->refs = 1;
    s->file = sm_strdup("");
    sm_catfile **files = sm_catalog_files(c, &n);
    for (size_t i = 0; i < n; i++) {
        sm_catfile *f = files[i];
        sm_blob *b = on_disk && f->disk ? f->disk : f->good ? f->good : f->disk;
        if (f->lib && f->seen && b)
            add_lib(s, f->rel, b);
    }
    free(files);
    return s;
}

bool sm_catalog_same_libs(const sm_source *a, const sm_source *b) {
    if (a->n_libs != b->n_libs)
        return false;
    for (size_t i = 0; i < a->n_libs; i++)
        if (strcmp(a->libs[i].name, b->libs[i].name) != 0 ||
            strcmp(a->libs[i].blob->hash, b->libs[i].blob->hash) != 0)
            return false;
    return true;
}

sm_source *sm_catalog_snapshot(const char *file, sm_blob *script, const sm_source *libs) {
    sm_source *s = sm_calloc(1, sizeof *s);
    s->refs = 1;
    s->file = sm_strdup(file);
    s->script = sm_blob_ref(script);
    for (size_t i = 0; i < libs->n_libs; i++)
        add_lib(s, libs->libs[i].name, libs->libs[i].blob);
    return s;
}

static const sm_blob *lib_of(const sm_source *s, const char *name) {
    for (size_t i = 0; i < s->n_libs; i++)
        if (strcmp(s->libs[i].name, name) == 0)
            return s->libs[i].blob;
    return NULL;
}

/* A module as a worker names it: "lib/a/b.lua" or as in require, "a.b", "lib.a.b" or "a/b". */
static const sm_blob *required_lib(const sm_source *s, const char *name) {
    char path[600];
    size_t at = 4;
    const sm_blob *b = lib_of(s, name);
    if (b || strlen(name) > 500)
        return b;
    if (sm_str_starts(name, "lib.") || sm_str_starts(name, "lib/"))
        name += 4;
    memcpy(path, "lib/", 4);
    for (; *name; name++)
        path[at++] = *name == '.' ? '/' : *name;
    memcpy(path + at, ".lua", 5);
    return lib_of(s, path);
}

bool sm_catalog_wants_load(const sm_catalog *c, const sm_catfile *f) {
    size_t i;
    json_t *name;
    if (!f->tried || strcmp(f->tried->script->hash, f->disk->hash) != 0)
        return true;
    if (sm_catalog_same_libs(f->tried, c->libs))
        return false;
    /* One that does not load may miss what has just come. */
    if (f->error || !f->required || f->tried->n_libs != c->libs->n_libs)
        return true;
    json_array_foreach(f->required, i, name) {
        const char *s = json_is_string(name) ? json_string_value(name) : "";
        const sm_blob *then = required_lib(f->tried, s), *now = required_lib(c->libs, s);
        if (!then != !now || (then && strcmp(then->hash, now->hash) != 0))
            return true;
    }
    return false;
}
