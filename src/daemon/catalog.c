/* catalog: what is loaded. This room owns the records and the order of a scan; the work is next
 * door: catalog_scan (disk), catalog_accept (what a worker answered), inspection (what it means),
 * catalog_keep (the store), catalog_publish (the result).
 *
 * A scan: the store's texts (first time only), read the disk (all of it, or what the watch named),
 * load changed modules, load changed scripts, publish. One at a time. Completions find the
 * catalogue through a `life` that knows when it is gone. Owned by the loop's thread.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/catalog_parts.h"
#include <stdlib.h>
#include <string.h>

typedef struct load {
    sm_catlife *life;
    char *rel;
} load;

static void life_unref(sm_catlife *life) {
    if (--life->refs == 0)
        free(life);
}

void sm_catalog_note(sm_catalog *c, int level, const char *sentence) {
    sm_log((sm_level)level, "%s", sentence);
    json_array_append_new(c->notes, sm_json_text(sentence, strlen(sentence)));
    if (json_array_size(c->notes) > SM_CATALOG_NOTES)
        json_array_remove(c->notes, 0);
}

void sm_catalog_note_once(sm_catalog *c, int level, const char *sentence) {
    size_t i;
    json_t *known;
    json_array_foreach(c->notes, i, known) {
        if (strcmp(json_string_value(known), sentence) == 0)
            return;
    }
    sm_catalog_note(c, level, sentence);
}

static void forget_order(sm_catalog *c) {
    free(c->sorted);
    c->sorted = NULL;
}

sm_catfile *sm_catalog_file(sm_catalog *c, const char *rel) {
    sm_catfile *f = sm_map_get(&c->files, rel);
    if (!f) {
        f = sm_calloc(1, sizeof *f);
        f->rel = sm_strdup(rel);
        f->lib = sm_str_starts(rel, "lib/");
        f->appeared_ns = sm_wall_ns();
        sm_map_put(&c->files, rel, f);
        forget_order(c);
    }
    return f;
}

static void free_file(sm_catfile *f) {
    sm_blob_unref(f->disk);
    sm_blob_unref(f->good);
    sm_source_unref(f->source);
    sm_source_unref(f->tried);
    json_decref(f->specs);
    json_decref(f->required);
    sm_inspections_fini(&f->made);
    free(f->error);
    free(f->told);
    free(f->rel);
    free(f);
}

void sm_catalog_drop_file(sm_catalog *c, sm_catfile *f) {
    sm_map_del(&c->files, f->rel);
    forget_order(c);
    free_file(f);
}

static int by_rel(const void *a, const void *b) {
    const sm_catfile *const *x = a, *const *y = b;
    return strcmp((*x)->rel, (*y)->rel);
}

sm_catfile **sm_catalog_files(sm_catalog *c, size_t *n) {
    size_t size = (c->files.len + 1) * sizeof(sm_catfile *), pos = 0;
    *n = 0;
    if (!c->sorted) {
        c->sorted = sm_malloc(size);
        for (sm_catfile *f; (f = sm_map_next(&c->files, &pos, NULL));)
            c->sorted[(*n)++] = f;
        qsort(c->sorted, *n, sizeof(sm_catfile *), by_rel);
    }
    *n = c->files.len;
    sm_catfile **all = sm_malloc(size);
    memcpy(all, c->sorted, *n * sizeof(sm_catfile *));
    return all;
}

static void scripts_phase(sm_catalog *c);
static void start(sm_catalog *c);
static void finish(sm_catalog *c);

static void next_phase(sm_catalog *c) {
    if (c->pending > 0)
        return;
    if (c->phase == SM_CAT_LIBS)
        scripts_phase(c);
    else
        finish(c);
}

/* Whether f was written while it loaded: what loaded may be a half. Not for ever. */
static bool in_vain(const sm_catalog *c, sm_catfile *f) {
    if (f->trial || !sm_catalog_is_touched(c, f->rel) || f->vain >= SM_CATALOG_CHANCES) {
        f->vain = 0;
        return false;
    }
    f->vain++;
    return true;
}

static void on_loaded(void *ctx, const json_t *head, const char *log, size_t log_n) {
    load *l = ctx;
    sm_catalog *c = l->life->c;
    if (c) {
        sm_catfile *f = sm_map_get(&c->files, l->rel);
        c->pending--;
        sm_catalog_peek(c);
        if (sm_json_bool(head, "stopping", false))
            c->stopping = true; /* nothing was learned about the file */
        else if (f && in_vain(c, f))
            sm_catalog_unlearn(f);
        else if (f)
            sm_catalog_accept(c, f, head, log, log_n);
        if (f && sm_json_bool(head, "unable", false)) {
            sm_source_unref(f->tried); /* the next scan tries again */
            f->tried = NULL;
        }
        next_phase(c);
    }
    life_unref(l->life);
    free(l->rel);
    free(l);
}

/* Sends f->disk, with the modules of libs, to be loaded. */
static void begin_load(sm_catalog *c, sm_catfile *f, sm_source *libs) {
    sm_source_unref(f->tried);
    f->tried = sm_catalog_snapshot(f->rel, f->disk, libs);
    if (sm_catalog_blank(f->disk) && f->trial) {
        sm_catalog_unlearn(f);
        return;
    }
    if (sm_catalog_blank(f->disk)) {
        char *sentence = sm_asprintf("%s/%s: the file is empty", c->cfg->display, f->rel);
        sm_catalog_fault(c, f, sentence, 0);
        if (!f->lib && !f->source)
            sm_catalog_restore(c, f);
        free(sentence);
        return;
    }
    load *l = sm_calloc(1, sizeof *l);
    l->life = c->life;
    l->life->refs++;
    l->rel = sm_strdup(f->rel);
    c->pending++;
    sm_dispatcher_load(c->d, f->tried, c->load_limits, on_loaded, l);
}

/* Whether what was read of f may be believed. */
static bool settled(const sm_catalog *c, const sm_catfile *f) {
    return f->trial || !sm_catalog_is_touched(c, f->rel);
}

static void libs_phase(sm_catalog *c) {
    size_t n;
    c->phase = SM_CAT_LIBS;
    sm_source *libs = sm_catalog_libs(c, true);
    sm_catfile **files = sm_catalog_files(c, &n);
    for (size_t i = 0; i < n; i++) {
        sm_catfile *f = files[i];
        if (!f->lib || !f->seen || !f->disk || !settled(c, f))
            continue;
        bool good = f->good && strcmp(f->good->hash, f->disk->hash) == 0;
        /* One that failed may have failed for another module's sake. */
        if (!good && !(f->tried && strcmp(f->tried->script->hash, f->disk->hash) == 0 &&
                       sm_catalog_same_libs(f->tried, libs)))
            begin_load(c, f, libs);
        else if (good && f->error)
            sm_catalog_fault(c, f, NULL, 0); /* the former text is back */
    }
    free(files);
    sm_source_unref(libs);
    next_phase(c);
}

static void scripts_phase(sm_catalog *c) {
    size_t n;
    c->phase = SM_CAT_SCRIPTS;
    sm_source_unref(c->libs);
    c->libs = sm_catalog_libs(c, false);
    sm_catfile **files = sm_catalog_files(c, &n);
    for (size_t i = 0; i < n; i++) {
        sm_catfile *f = files[i];
        if (f->lib || !f->seen)
            continue;
        if (!settled(c, f)) {
            if (f->source && !sm_catalog_same_libs(f->source, c->libs))
                sm_catalog_rebase(c, f);
        } else if (!f->disk) {
            if (!f->source)
                sm_catalog_restore(c, f);
        } else if (sm_catalog_wants_load(c, f)) {
            begin_load(c, f, c->libs);
        } else if (f->source && !sm_catalog_same_libs(f->source, c->libs)) {
            sm_catalog_rebase(c, f);
        }
    }
    free(files);
    next_phase(c);
}

static void begin(sm_catalog *c) {
    if (sm_catalog_read(c))
        libs_phase(c);
    else
        finish(c);
}

static void finish(sm_catalog *c) {
    int64_t began = sm_mono_ns();
    sm_catalog_publish(c);
    c->scan_ms = (double)(sm_mono_ns() - c->began_ns) / (double)SM_NS_PER_MS;
    c->phase = SM_CAT_IDLE;
    bool tell = c->dirty || !c->scanned;
    bool again = c->again && !c->stopping;
    c->whole = c->whole_again;
    c->whole_again = false;
    c->dirty = false;
    c->scanned = true;
    c->again = false;
    sm_catlife *life = c->life;
    life->refs++;
    if (tell && c->changed)
        c->changed(c->ctx);
    if (life->c)
        c->publish_ms = (double)(sm_mono_ns() - began) / (double)SM_NS_PER_MS;
    if (life->c && c->idle && c->phase == SM_CAT_IDLE) {
        void (*idle)(void *ctx) = c->idle;
        c->idle = NULL;
        idle(c->idle_ctx);
    }
    if (life->c && again && life->c->phase == SM_CAT_IDLE)
        start(life->c);
    life_unref(life);
}

/* One at a time; `whole` is that of the scan that begins now. */
static void start(sm_catalog *c) {
    c->began_ns = sm_mono_ns();
    c->phase = SM_CAT_TEXTS;
    if (c->store && !c->rows_known)
        sm_catalog_fetch(c, begin);
    else
        begin(c);
}

void sm_catalog_scan(sm_catalog *c) {
    if (c->phase == SM_CAT_IDLE) {
        c->whole = true;
        start(c);
    } else {
        c->again = c->whole_again = true;
    }
}

void sm_catalog_look(sm_catalog *c) {
    if (c->phase == SM_CAT_IDLE)
        start(c);
    else
        c->again = true;
}

void sm_catalog_when_idle(sm_catalog *c, void (*idle)(void *ctx), void *ctx) {
    if (c->phase == SM_CAT_IDLE) {
        idle(ctx);
        return;
    }
    c->idle = idle;
    c->idle_ctx = ctx;
}

/* The main chunk has 1 s of CPU (script-api 1.3). */
static void set_config(sm_catalog *c, const sm_config *cfg) {
    c->cfg = cfg;
    json_decref(c->load_limits);
    c->load_limits = cfg->limits ? json_copy(cfg->limits) : json_object();
    json_object_set_new(c->load_limits, "cpu", json_real(1));
    json_object_set_new(c->load_limits, "wall", json_real(2.5));
}

size_t sm_catalog_configure(sm_catalog *c, const sm_config *cfg) {
    size_t n, changed = 0;
    set_config(c, cfg);
    sm_catfile **files = sm_catalog_files(c, &n);
    for (size_t i = 0; i < n; i++)
        changed += files[i]->lib ? 0 : sm_catalog_remake(c, files[i]);
    free(files);
    sm_catalog_publish(c);
    sm_catalog_tell_unknown(c);
    c->dirty = false;
    return changed;
}

bool sm_catalog_busy(const sm_catalog *c) {
    return c->phase != SM_CAT_IDLE;
}

sm_inspection *const *sm_catalog_list(const sm_catalog *c, size_t *n) {
    *n = c->n_list;
    return c->list;
}

sm_inspection *sm_catalog_find(const sm_catalog *c, const char *id) {
    size_t lo = 0, hi = c->n_list;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int order = strcmp(c->list[mid]->id, id);
        if (order == 0)
            return c->list[mid];
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

const sm_load_error *sm_catalog_errors(const sm_catalog *c, size_t *n) {
    *n = c->n_errors;
    return c->errors;
}

double sm_catalog_scan_ms(const sm_catalog *c) {
    return c->scan_ms;
}

const json_t *sm_catalog_notes(const sm_catalog *c) {
    return c->notes;
}

sm_catalog *sm_catalog_new(const sm_config *cfg, const sm_secret *assoc, struct sm_dispatcher *d,
                           struct sm_store *store, sm_catalog_changed changed, void *ctx) {
    sm_catalog *c = sm_calloc(1, sizeof *c);
    c->assoc = assoc;
    c->d = d;
    c->store = store;
    c->changed = changed;
    c->ctx = ctx;
    c->notes = json_array();
    c->life = sm_calloc(1, sizeof *c->life);
    *c->life = (sm_catlife){.refs = 1, .c = c};
    sm_map_init(&c->files);
    sm_map_init(&c->rows);
    sm_map_init(&c->marks);
    sm_map_init(&c->warned);
    c->whole = true;
    set_config(c, cfg);
    return c;
}

void sm_catalog_free(sm_catalog *c) {
    if (!c)
        return;
    size_t pos = 0;
    sm_catfile *f;
    while ((f = sm_map_next(&c->files, &pos, NULL)))
        free_file(f);
    sm_map_fini(&c->files);
    sm_map_fini(&c->marks);
    forget_order(c);
    sm_map_fini(&c->warned);
    sm_catalog_rows_free(c);
    for (size_t i = 0; i < c->n_list; i++)
        sm_inspection_unref(c->list[i]);
    free(c->list);
    for (size_t i = 0; i < c->n_errors; i++) {
        free(c->errors[i].file);
        free(c->errors[i].sentence);
    }
    free(c->errors);
    for (size_t i = 0; i < c->n_gone; i++)
        json_decref(c->gone[i].ids);
    sm_source_unref(c->libs);
    json_decref(c->load_limits);
    json_decref(c->notes);
    free(c->root_error);
    c->life->c = NULL;
    life_unref(c->life);
    free(c);
}
