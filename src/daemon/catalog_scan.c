/* catalog_scan: what is on disk below the root, and what of it changed.
 *
 * A file is read again when the watch told of it, when size, mtime, device or inode differ, or when
 * its mtime was so young at the last read that a further change might not show in it; it changed
 * when its hash differs. One that is being written is left alone. Names that end in `_spec.lua`,
 * base names that begin with `_`, and the configuration are no inspections. Links out of the root
 * are refused by fsx. Owned by the loop's thread.
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

/* Names left out: each is told once, and of a great many only how many there are. */
static void on_warning(void *ctx, const char *sentence) {
    sm_catalog *c = ctx;
    if (sm_map_get(&c->warned, sentence))
        return;
    if (c->warned.len >= SM_CATALOG_WARNINGS) {
        c->left_out++;
        return;
    }
    sm_map_put(&c->warned, sentence, c);
    char *full = sm_asprintf("%s/%s", c->cfg->display, sentence);
    sm_catalog_note(c, SM_LOG_WARN, full);
    free(full);
}

/* Told again only when there are ten times as many, so that a growing folder does not fill the log.
 */
static void tell_left_out(sm_catalog *c) {
    if (c->left_out == 0 || c->left_out < c->left_out_told * 10)
        return;
    char *sentence = sm_asprintf("%s: %zu more names are left out for such reasons",
                                 c->cfg->display, c->left_out);
    sm_catalog_note(c, SM_LOG_WARN, sentence);
    free(sentence);
    c->left_out_told = c->left_out;
}

static bool wanted(const char *rel) {
    return !sm_str_ends(rel, "_spec.lua") && sm_fsx_basename(rel)[0] != '_' &&
           strcmp(rel, "selfmon.conf.lua") != 0; /* the root may be the configuration's folder */
}

bool sm_catalog_blank(const sm_blob *b) {
    return strspn(b->text, " \t\r\n") == b->n;
}

static void remember(sm_catfile *f, const sm_fsx_entry *e) {
    f->size = e->size;
    f->mtime_ns = e->mtime_ns;
    f->dev = e->dev;
    f->ino = e->ino;
    f->linked = e->linked;
}

static bool as_remembered(const sm_catfile *f, const sm_fsx_entry *e) {
    return f->size == e->size && f->mtime_ns == e->mtime_ns && f->dev == e->dev && f->ino == e->ino;
}

/* The file cannot be used for what it is, not for what it says. */
static void refuse_file(sm_catalog *c, sm_catfile *f, sm_err *err) {
    sm_err_wrap(err, "%s/%s", c->cfg->display, f->rel);
    sm_blob_unref(f->disk);
    f->disk = NULL;
    f->refused = true;
    sm_catalog_fault(c, f, err->msg, 0);
}

/* Reads f again; keeps the former text in `good` or `source`. */
static void read_file(sm_catalog *c, sm_catfile *f, int root, const sm_fsx_entry *e) {
    char *text = NULL;
    size_t n;
    sm_err err = SM_ERR_INIT;
    f->late_ns = 0;
    f->racy = e->mtime_ns > sm_wall_ns() - racy_ns;
    remember(f, e);
    if (e->size > SM_CATALOG_TEXT)
        sm_err_set(&err, SM_LIMIT, "longer");
    else
        (void)sm_fsx_read_beneath(root, e->rel, SM_CATALOG_TEXT, &text, &n, &err);
    if (err.code == SM_NOT_FOUND) {
        f->seen = false; /* removed since the walk */
        return;
    }
    if (err.code != SM_OK) {
        if (err.code == SM_LIMIT)
            sm_err_set(&err, SM_LIMIT, "the file is longer than %d bytes", SM_CATALOG_TEXT);
        else
            f->racy = true; /* permissions may change without a sign in size and mtime */
        refuse_file(c, f, &err);
        return;
    }
    sm_blob *blob = sm_blob_new(text, n);
    free(text);
    f->refused = false;
    f->racy = f->racy || (int64_t)n != e->size;
    if (!f->disk) { /* never read, or not readable the last time: its fault is to be found anew */
        sm_source_unref(f->tried);
        f->tried = NULL;
    }
    if (f->disk && strcmp(f->disk->hash, blob->hash) == 0) {
        sm_blob_unref(blob);
        return;
    }
    sm_blob_unref(f->disk);
    f->disk = blob;
}

/* Whether a changed file of which the watch said nothing must wait: somebody may be writing it. */
static bool too_young(sm_catalog *c, sm_catfile *f, const sm_fsx_entry *e) {
    if (!c->scanned || !c->watched)
        return false;
    int64_t settle = c->eyes.settle_ms(c->eyes.ctx) * SM_NS_PER_MS;
    int64_t now = sm_mono_ns(), age = sm_wall_ns() - e->mtime_ns;
    if (age >= settle)
        return false;
    /* A time in the future says nothing; then it must look the same for as long. */
    if (f->late_ns && as_remembered(f, e))
        return now - f->late_ns < settle;
    f->late_ns = now;
    remember(f, e);
    return true;
}

/* Looks at a file that is there. */
static void see(sm_catalog *c, int root, const sm_fsx_entry *e) {
    sm_catfile *f = sm_map_get(&c->files, e->rel);
    sm_touch touch = sm_catalog_untouch(c, e->rel);
    if (touch == SM_TOUCH_OPEN) {
        if (f)
            f->seen = true;
        return;
    }
    if (!f)
        f = sm_catalog_file(c, e->rel);
    f->seen = true;
    f->linked = e->linked;
    f->trial = touch == SM_TOUCH_TRY;
    bool known = (f->disk || f->refused) && !f->late_ns;
    if (touch == 0 && known && !f->racy && as_remembered(f, e))
        return;
    if (touch == 0 && !(known && as_remembered(f, e)) && too_young(c, f, e))
        c->waiting++;
    else
        read_file(c, f, root, e);
}

static void root_fault(sm_catalog *c, const char *msg) {
    if (!c->root_error || strcmp(c->root_error, msg) != 0) {
        c->dirty = true;
        sm_log(SM_LOG_ERROR, "%s; what is loaded stays as it is", msg);
    }
    free(c->root_error);
    c->root_error = sm_strdup(msg);
}

/* A module beyond the limit is told and left out. */
static bool has_room(sm_catalog *c, const char *rel, size_t libs) {
    sm_err err = SM_ERR_INIT;
    if (!sm_str_starts(rel, "lib/") || libs < SM_CATALOG_LIBS || sm_map_get(&c->files, rel))
        return true;
    sm_err_set(&err, SM_LIMIT, "lib has more than %d modules", SM_CATALOG_LIBS);
    on_warning(c, err.msg);
    return false;
}

static void on_folder(void *ctx, const char *rel) {
    sm_catalog *c = ctx;
    if (c->watched)
        c->eyes.folder(c->eyes.ctx, rel);
}

/* Walks the whole. */
static bool read_all(sm_catalog *c, int root, sm_err *err) {
    sm_fsx_entry *entries = NULL;
    size_t n = 0, pos = 0, libs = 0;
    sm_catfile *f;
    int64_t began = sm_mono_ns();
    const sm_fsx_told told = {.warn = on_warning, .folder = on_folder, .ctx = c};
    c->left_out = 0;
    if (c->watched)
        c->eyes.begin(c->eyes.ctx);
    bool ok =
        sm_fsx_walk(c->cfg->root, ".lua", SM_CATALOG_FILES, &entries, &n, &told, err) == SM_OK;
    if (c->watched)
        c->eyes.end(c->eyes.ctx, ok);
    if (!ok)
        goto out;
    tell_left_out(c);
    while ((f = sm_map_next(&c->files, &pos, NULL)))
        f->seen = false;
    c->links = 0;
    for (size_t i = 0; i < n; i++) {
        const sm_fsx_entry *e = &entries[i];
        if (!wanted(e->rel) || !has_room(c, e->rel, libs))
            continue;
        libs += sm_str_starts(e->rel, "lib/");
        c->links += e->linked;
        see(c, root, e);
    }
    sm_catalog_forget_touches(c); /* of files that are not there */
out:
    sm_fsx_entries_free(entries, n);
    c->walk_ms = (double)(sm_mono_ns() - began) / (double)SM_NS_PER_MS;
    return ok;
}

/* Looks at one name that was touched. False: only a walk can tell. */
static bool see_one(sm_catalog *c, int root, const char *rel) {
    sm_fsx_entry e;
    sm_catfile *f = sm_map_get(&c->files, rel);
    if (!wanted(rel)) {
        (void)sm_catalog_untouch(c, rel);
        return true;
    }
    sm_rc rc = sm_fsx_look(root, rel, &e);
    if (rc == SM_NOT_FOUND) {
        (void)sm_catalog_untouch(c, rel);
        if (f)
            f->seen = false;
        return true;
    }
    if (rc != SM_OK)
        return false;
    /* A walk counts, and tells what is wrong with a name. */
    bool simple = f || (c->files.len < SM_CATALOG_FILES && !sm_str_starts(rel, "lib/") &&
                        sm_str_is_id_part(sm_fsx_basename(rel), strlen(sm_fsx_basename(rel))));
    if (simple)
        see(c, root, &e);
    free(e.rel);
    return simple;
}

/* Looks at what was touched, and at what was too young. False: only a walk can tell. */
static bool read_touched(sm_catalog *c, int root) {
    size_t n, pos = 0;
    bool ok = true;
    char **names = sm_catalog_touched(c, &n);
    for (size_t i = 0; i < n; i++) {
        ok = ok && see_one(c, root, names[i]);
        free(names[i]);
    }
    free(names);
    for (sm_catfile *f; ok && (f = sm_map_next(&c->files, &pos, NULL));)
        if (f->late_ns && f->seen && !sm_catalog_is_open(c, f->rel))
            ok = see_one(c, root, f->rel);
    return ok;
}

bool sm_catalog_read(sm_catalog *c) {
    sm_err err = SM_ERR_INIT;
    bool ok = false;
    int root = open(c->cfg->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        sm_err_sys(&err, errno, "%s", c->cfg->root);
        goto out;
    }
    sm_catalog_peek(c);
    c->waiting = 0;
    if (c->root_error)
        c->whole = true;
    ok = !c->whole && read_touched(c, root);
    if (!ok) {
        c->waiting = 0;
        ok = read_all(c, root, &err);
    }
    if (ok && c->root_error) {
        c->dirty = true;
        free(c->root_error);
        c->root_error = NULL;
    }
    sm_catalog_peek(c); /* what was written while we read is not believed */
    if (ok && c->waiting > 0)
        c->eyes.unsettled(c->eyes.unsettled_ctx);
out:
    if (!ok)
        root_fault(c, err.msg);
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

sm_source *sm_catalog_libs(sm_catalog *c, bool on_disk) {
    size_t n;
    sm_source *s = sm_calloc(1, sizeof *s);
    s->refs = 1;
    s->file = sm_strdup("");
    sm_catfile **files = sm_catalog_files(c, &n);
    for (size_t i = 0; i < n; i++) {
        sm_catfile *f = files[i];
        bool sound = f->trial || !sm_catalog_is_touched(c, f->rel);
        sm_blob *b = on_disk && f->disk && sound ? f->disk : f->good ? f->good : f->disk;
        if (f->lib && f->seen && b && (sound || f->good))
            add_lib(s, f->rel, b);
    }
    free(files);
    return s;
}

bool sm_catalog_same_libs(const sm_source *a, const sm_source *b) {
    if (a->n_libs != b->n_libs)
        return false;
    if (a->libs == b->libs)
        return true;
    for (size_t i = 0; i < a->n_libs; i++)
        if (strcmp(a->libs[i].name, b->libs[i].name) != 0 ||
            strcmp(a->libs[i].blob->hash, b->libs[i].blob->hash) != 0)
            return false;
    return true;
}

sm_source *sm_catalog_snapshot(const char *file, sm_blob *script, sm_source *libs) {
    sm_source *s = sm_calloc(1, sizeof *s);
    s->refs = 1;
    s->file = sm_strdup(file);
    s->script = sm_blob_ref(script);
    s->base = sm_source_ref(libs);
    s->libs = libs->libs;
    s->n_libs = libs->n_libs;
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
    if (f->error || !f->required)
        return true;
    json_array_foreach(f->required, i, name) {
        const char *s = json_is_string(name) ? json_string_value(name) : "";
        const sm_blob *then = required_lib(f->tried, s), *now = required_lib(c->libs, s);
        if (!then != !now || (then && strcmp(then->hash, now->hash) != 0))
            return true;
    }
    return false;
}
