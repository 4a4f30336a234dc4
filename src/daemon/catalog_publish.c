/* catalog_publish: the end of a scan: what vanished goes, inspections with one key are refused,
 * list and errors are made anew, and the log is told once of each change.
 *
 * An inspection that already runs under its key keeps it; newcomers with the same key are refused,
 * and when none runs yet, all of them are. Owned by the loop's thread.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/catalog_parts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct publishing {
    sm_catalog *c;
    sm_inspection **list;
    size_t n;
    sm_load_error *errors;
    size_t n_errors;
} publishing;

static void add_error(publishing *p, const char *file, const char *sentence, int line, bool stale,
                      int64_t since_ns) {
    p->errors = sm_realloc(p->errors, (p->n_errors + 1) * sizeof *p->errors);
    p->errors[p->n_errors++] = (sm_load_error){.file = sm_strdup(file),
                                               .sentence = sm_strdup(sentence),
                                               .line = line,
                                               .stale = stale,
                                               .since_ns = since_ns};
}

/* "demo/b.run looks like the former demo/a.run …", for each function the two share. */
static void tell_twin(sm_catalog *c, const sm_catfile *f, const json_t *ids) {
    for (size_t i = 0; i < f->made.n; i++) {
        const sm_inspection *p = f->made.list[i];
        const char *former = sm_json_str(ids, p->fn, NULL);
        const json_t *was = json_object_get(p->spec, "was");
        if (!former || strcmp(former, p->id) == 0 || strchr(p->id, '@') ||
            json_array_size(was) > 0 || json_object_get(c->cfg->keys, p->id))
            continue;
        char *sentence = sm_asprintf("%s looks like the former %s and will be another inspection "
                                     "there; add was = {\"%s\"}",
                                     p->id, former, former);
        sm_catalog_note(c, SM_LOG_WARN, sentence);
        free(sentence);
    }
}

static void remember_gone(sm_catalog *c, const char *hash, json_t *ids) {
    if (c->n_gone == SM_CATALOG_GONE) {
        json_decref(c->gone[0].ids);
        memmove(c->gone, c->gone + 1, sizeof c->gone[0] * --c->n_gone);
    }
    sm_catgone *g = &c->gone[c->n_gone++];
    snprintf(g->hash, sizeof g->hash, "%s", hash);
    g->ids = ids;
    g->at_ns = sm_mono_ns();
}

/* A script that is no longer there. */
static void vanish(sm_catalog *c, sm_catfile *f) {
    sm_log(SM_LOG_INFO, "%s/%s: removed", c->cfg->display, f->rel);
    sm_catalog_unkeep(c, f->rel);
    if (f->source) {
        json_t *ids = json_object();
        for (size_t i = 0; i < f->made.n; i++)
            if (!strchr(f->made.list[i]->id, '@'))
                json_object_set_new(ids, f->made.list[i]->fn, json_string(f->made.list[i]->id));
        remember_gone(c, f->source->script->hash, ids);
        /* Copied first, removed later. */
        size_t pos = 0;
        sm_catfile *other;
        while ((other = sm_map_next(&c->files, &pos, NULL)))
            if (other != f && other->seen && !other->fresh && other->source &&
                other->appeared_ns > sm_wall_ns() - SM_CATALOG_TWIN_S * SM_NS_PER_S &&
                strcmp(other->source->script->hash, f->source->script->hash) == 0)
                tell_twin(c, other, ids);
    }
    c->dirty = true;
    sm_catalog_drop_file(c, f);
}

/* Rows of the store whose file went while the program was down. */
static void vanish_rows(sm_catalog *c) {
    size_t pos = 0, i;
    const char *file;
    json_t *row, *spec;
    while ((row = sm_map_next(&c->rows, &pos, &file))) {
        if (sm_map_get(&c->files, file))
            continue;
        sm_catalog_unkeep(c, file);
        json_t *ids = json_object();
        int stem = (int)(strlen(file) - (sm_str_ends(file, ".lua") ? 4 : 0));
        json_array_foreach(json_object_get(row, "specs"), i, spec) {
            const char *fn = sm_json_str(spec, "fn", "");
            char *id = sm_asprintf("%.*s.%s", stem, file, fn);
            json_object_set_new(ids, fn, json_string(id));
            free(id);
        }
        remember_gone(c, sm_json_str(row, "hash", ""), ids);
    }
}

static void match_gone(sm_catalog *c, const sm_catfile *f) {
    for (size_t i = 0; i < c->n_gone; i++) {
        sm_catgone *g = &c->gone[i];
        bool young = sm_mono_ns() - g->at_ns < SM_CATALOG_GONE_S * SM_NS_PER_S;
        if (young && strcmp(g->hash, f->source->script->hash) != 0)
            continue;
        if (young)
            tell_twin(c, f, g->ids);
        json_decref(g->ids);
        memmove(g, g + 1, sizeof *g * (--c->n_gone - i));
        i--;
    }
}

/* Tells the log what is new about f. */
static void tell(sm_catalog *c, sm_catfile *f) {
    if (f->fresh && !f->error && c->scanned)
        sm_log(SM_LOG_INFO, "%s/%s: loaded, %zu %s", c->cfg->display, f->rel, f->made.n,
               f->made.n == 1 ? "inspection" : "inspections");
    if (f->error && (!f->told || strcmp(f->told, f->error) != 0))
        sm_log(SM_LOG_ERROR, "%s%s", f->error,
               f->source || f->good ? "; the last good version stays" : "");
    free(f->told);
    f->told = f->error ? sm_strdup(f->error) : NULL;
}

static int by_id(const void *a, const void *b) {
    const sm_inspection *const *x = a, *const *y = b;
    return strcmp((*x)->id, (*y)->id);
}

static int by_key(const void *a, const void *b) {
    const sm_inspection *const *x = a, *const *y = b;
    int order = strcmp((*x)->ref_key, (*y)->ref_key);
    return order ? order : by_id(a, b);
}

static bool runs_already(const sm_catalog *c, const sm_inspection *p) {
    const sm_inspection *now = sm_catalog_find(c, p->id);
    return now && strcmp(now->ref_key, p->ref_key) == 0;
}

/* Files in order mostly give inspections in order. */
static bool in_order(const publishing *pub) {
    for (size_t i = 1; i < pub->n; i++)
        if (by_id(&pub->list[i - 1], &pub->list[i]) > 0)
            return false;
    return true;
}

/* Whether two inspections have one key, which is rare: it saves two sorts of all. */
static bool shares_keys(const publishing *pub) {
    sm_map keys;
    bool found = false;
    sm_map_init(&keys);
    for (size_t i = 0; i < pub->n && !found; i++)
        found = pub->list[i]->ref_key[0] && sm_map_put(&keys, pub->list[i]->ref_key, pub->list[i]);
    sm_map_fini(&keys);
    return found;
}

/* Refuses inspections that share a key; the list is sorted by key. */
static void refuse_twins(publishing *pub) {
    size_t kept = 0;
    for (size_t i = 0, end; i < pub->n; i = end) {
        for (end = i + 1; end < pub->n && pub->list[i]->ref_key[0] &&
                          strcmp(pub->list[end]->ref_key, pub->list[i]->ref_key) == 0;)
            end++;
        size_t holder = i;
        while (end - i > 1 && holder < end && !runs_already(pub->c, pub->list[holder]))
            holder++;
        for (size_t k = i; k < end; k++) {
            sm_inspection *p = pub->list[k];
            if (end - i == 1 || k == holder) {
                pub->list[kept++] = p;
                continue;
            }
            const sm_inspection *other = pub->list[holder < end ? holder : k == i ? i + 1 : i];
            int line = (int)sm_json_int(p->spec, "line", 0);
            char *sentence = sm_asprintf(
                "%s/%s:%d: %s and %s have the same association key %s; %s", pub->c->cfg->display,
                p->source->file, line, p->id, other->id, p->ref_key,
                holder < end ? "the first does not run" : "neither of them runs");
            add_error(pub, p->source->file, sentence, line, false, 0);
            free(sentence);
            sm_inspection_unref(p);
        }
    }
    pub->n = kept;
}

/* Logs errors that were not there after the last scan, of refused inspections only. */
static void tell_refused(const publishing *p) {
    const sm_catalog *c = p->c;
    for (size_t i = 0; i < p->n_errors; i++) {
        if (!p->errors[i].file[0])
            continue; /* the root; told when it was found */
        const sm_catfile *f = sm_map_get(&c->files, p->errors[i].file);
        bool known = f && f->error && strcmp(f->error, p->errors[i].sentence) == 0;
        for (size_t k = 0; k < c->n_errors && !known; k++)
            known = strcmp(c->errors[k].sentence, p->errors[i].sentence) == 0;
        if (!known)
            sm_log(SM_LOG_ERROR, "%s", p->errors[i].sentence);
    }
}

void sm_catalog_tell_unknown(sm_catalog *c) {
    const struct {
        const char *table;
        const json_t *object;
    } tables[] = {{"params", c->cfg->params},
                  {"schedule", c->cfg->schedule},
                  {"instances", c->cfg->instances}};
    const char **names = sm_malloc((c->n_list + 1) * sizeof *names);
    for (size_t i = 0; i < c->n_list; i++)
        names[i] = c->list[i]->id;
    for (size_t t = 0; t < SM_ARRAY_LEN(tables); t++) {
        const char *id;
        json_t *v;
        json_object_foreach((json_t *)(uintptr_t)tables[t].object, id, v) {
            char hint[300];
            if (sm_catalog_find(c, id) || c->n_errors > 0)
                continue; /* a file that does not load may hold it */
            sm_str_hint(id, names, c->n_list, hint, sizeof hint);
            char *sentence = sm_asprintf("configuration: %s[\"%s\"] fits no inspection%s",
                                         tables[t].table, id, hint);
            sm_catalog_note_once(c, SM_LOG_WARN, sentence);
            free(sentence);
        }
    }
    free(names);
}

static void swap_in(publishing *p) {
    sm_catalog *c = p->c;
    for (size_t i = 0; i < c->n_list; i++)
        sm_inspection_unref(c->list[i]);
    free(c->list);
    for (size_t i = 0; i < c->n_errors; i++) {
        free(c->errors[i].file);
        free(c->errors[i].sentence);
    }
    free(c->errors);
    c->list = p->list;
    c->n_list = p->n;
    c->errors = p->errors;
    c->n_errors = p->n_errors;
}

void sm_catalog_publish(sm_catalog *c) {
    publishing p = {.c = c};
    size_t n;
    sm_catfile **files = sm_catalog_files(c, &n);
    if (c->root_error)
        add_error(&p, "", c->root_error, 0, c->n_list > 0, 0);
    for (size_t i = 0; i < n; i++) {
        sm_catfile *f = files[i];
        if (!f->seen && !c->root_error) {
            vanish(c, f);
            files[i] = NULL;
        }
    }
    if (!c->root_error)
        vanish_rows(c);
    for (size_t i = 0; i < n; i++) {
        sm_catfile *f = files[i];
        if (!f)
            continue;
        tell(c, f);
        if (f->error)
            add_error(&p, f->rel, f->error, f->line, f->source || f->good, f->fault_ns);
        size_t k;
        json_t *sentence;
        json_array_foreach(f->made.refused, k, sentence)
            add_error(&p, f->rel, json_string_value(sentence), 0, false, 0);
        if (f->fresh)
            match_gone(c, f);
        f->fresh = false;
        sm_catalog_keep(c, f);
        p.list = sm_realloc(p.list, (p.n + f->made.n + 1) * sizeof(sm_inspection *));
        for (size_t m = 0; m < f->made.n; m++)
            p.list[p.n++] = sm_inspection_ref(f->made.list[m]);
    }
    free(files);
    if (!c->root_error)
        sm_catalog_rows_free(c); /* each has been used, compared or deleted */
    if (shares_keys(&p)) {
        qsort(p.list, p.n, sizeof(sm_inspection *), by_key);
        refuse_twins(&p);
    }
    if (!in_order(&p))
        qsort(p.list, p.n, sizeof(sm_inspection *), by_id);
    tell_refused(&p);
    swap_in(&p);
    if (!c->scanned)
        sm_catalog_tell_unknown(c);
}
