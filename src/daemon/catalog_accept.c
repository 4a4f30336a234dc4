/* catalog_accept: takes what a worker says of a script, checks it, and makes it the one that runs.
 *
 * Only a text that loads, and whose inspections can be made, replaces the former; until then the
 * last good version stays (from memory, or at the start from the store). Nothing a worker says is
 * believed. Owned by the loop's thread.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/catalog_parts.h"
#include "daemon/spec.h"
#include <stdlib.h>
#include <string.h>

void sm_catalog_fault(sm_catalog *c, sm_catfile *f, const char *sentence, int line) {
    if (!sentence && !f->error)
        return;
    if (!sentence || !f->error || strcmp(sentence, f->error) != 0)
        c->dirty = true;
    if (!f->error)
        f->fault_ns = c->scanned ? sm_wall_ns() : f->mtime_ns;
    char *copy = sentence ? sm_strdup(sentence) : NULL;
    free(f->error);
    f->error = copy;
    f->line = line;
}

/* Sends the lines of a load log (`ms TAB level TAB text`) to the log. */
static void tell_prints(sm_catalog *c, const sm_catfile *f, const char *log, size_t n) {
    int told = 0;
    while (n > 0 && told < SM_CATALOG_PRINTS) {
        const char *end = memchr(log, '\n', n);
        size_t len = end ? (size_t)(end - log) : n;
        const char *level = memchr(log, '\t', len);
        const char *text = level ? memchr(level + 1, '\t', len - (size_t)(level + 1 - log)) : NULL;
        if (text) {
            char *shown = sm_str_printable(text + 1, len - (size_t)(text + 1 - log), 1000);
            bool loud =
                strncmp(level + 1, "warn\t", 5) == 0 || strncmp(level + 1, "error\t", 6) == 0;
            char *sentence = sm_asprintf("%s/%s: %s", c->cfg->display, f->rel, shown);
            sm_catalog_note(c, loud ? SM_LOG_WARN : SM_LOG_INFO, sentence);
            free(sentence);
            free(shown);
            told++;
        }
        n -= end ? len + 1 : len;
        log += end ? len + 1 : len;
    }
}

/* Checks an array of specs. New reference, or NULL with err. */
static json_t *check_specs(const json_t *specs, sm_err *err) {
    json_t *out = json_array(), *spec;
    size_t i;
    if (!json_is_array(specs) || json_array_size(specs) > SM_SPECS_MAX) {
        sm_err_set(err, SM_INVALID, "expected at most %d inspections", SM_SPECS_MAX);
        goto fail;
    }
    json_array_foreach(specs, i, spec) {
        json_t *clean;
        if (sm_spec_check(spec, &clean, err) != SM_OK) {
            sm_err_wrap(err, "inspection %zu", i + 1);
            goto fail;
        }
        json_array_append_new(out, clean);
    }
    return out;
fail:
    json_decref(out);
    return NULL;
}

/* "inspections/demo/x.lua:5: msg"; caller frees. */
static char *sentence_at(const sm_catalog *c, const sm_catfile *f, int line, const char *msg) {
    return line > 0 ? sm_asprintf("%s/%s:%d: %s", c->cfg->display, f->rel, line, msg)
                    : sm_asprintf("%s/%s: %s", c->cfg->display, f->rel, msg);
}

static void tell_notes(sm_catalog *c, const sm_catfile *f, const sm_inspections *made) {
    for (size_t i = 0; i < made->n; i++) {
        const sm_inspection *p = made->list[i];
        for (size_t k = 0; k < json_array_size(p->notes); k++) {
            char *sentence = sentence_at(c, f, (int)sm_json_int(p->spec, "line", 0),
                                         json_string_value(json_array_get(p->notes, k)));
            sm_catalog_note_once(c, SM_LOG_WARN, sentence);
            free(sentence);
        }
    }
}

/* Makes source with specs (checked; taken) the version of f that runs. On a fault of the script
 * nothing changes, and the sentence is set. */
static bool take(sm_catalog *c, sm_catfile *f, sm_source *source, json_t *specs) {
    sm_inspections made;
    sm_err err = SM_ERR_INIT;
    if (sm_inspection_make(c->cfg, c->assoc, source, specs, false, &made, &err) != SM_OK) {
        char *sentence = sentence_at(c, f, made.line, err.msg);
        sm_catalog_fault(c, f, sentence, made.line);
        free(sentence);
        sm_inspections_fini(&made);
        json_decref(specs);
        return false;
    }
    tell_notes(c, f, &made);
    sm_inspections_fini(&f->made);
    f->made = made;
    sm_source_ref(source);
    sm_source_unref(f->source);
    f->source = source;
    json_decref(f->specs);
    f->specs = specs;
    f->stored = false;
    c->dirty = true;
    return true;
}

void sm_catalog_unlearn(sm_catfile *f) {
    sm_source_unref(f->tried);
    f->tried = NULL;
    f->trial = false;
}

/* Whether a text that was read while it was open does not do what the former did. */
static bool falls_short(const sm_catfile *f, const json_t *head) {
    size_t i, k;
    json_t *former, *spec;
    if (json_object_get(head, "error"))
        return true;
    json_array_foreach(f->specs, i, former) {
        bool found = false;
        json_array_foreach(json_object_get(head, "inspections"), k, spec) found =
            found || strcmp(sm_json_str(spec, "fn", ""), sm_json_str(former, "fn", "")) == 0;
        if (!found)
            return true;
    }
    return false;
}

static void accept_lib(sm_catalog *c, sm_catfile *f) {
    sm_blob_unref(f->good);
    f->good = sm_blob_ref(f->tried->script);
    sm_catalog_fault(c, f, NULL, 0);
    c->dirty = true;
}

void sm_catalog_accept(sm_catalog *c, sm_catfile *f, const json_t *head, const char *log,
                       size_t log_n) {
    const char *error = sm_json_str(head, "error", NULL);
    json_t *libs = json_object_get(head, "libs");
    sm_err err = SM_ERR_INIT;
    if (f->trial && falls_short(f, head)) {
        sm_catalog_unlearn(f);
        return;
    }
    f->trial = false;
    tell_prints(c, f, log, log_n);
    json_decref(f->required);
    f->required = json_is_array(libs) ? json_deep_copy(libs) : NULL;
    if (error) {
        char *shown = sm_str_printable(error, strlen(error), 4096);
        sm_catalog_fault(c, f, shown, (int)sm_json_int(head, "line", 0));
        free(shown);
        goto out;
    }
    if (f->lib) {
        accept_lib(c, f);
        return;
    }
    json_t *specs = check_specs(json_object_get(head, "inspections"), &err);
    if (!specs) {
        char *sentence = sentence_at(c, f, 0, err.msg);
        sm_catalog_fault(c, f, sentence, 0);
        free(sentence);
        goto out;
    }
    if (take(c, f, f->tried, specs)) {
        sm_catalog_fault(c, f, NULL, 0);
        f->fresh = true;
    }
out:
    if (f->error && !f->lib && !f->source)
        sm_catalog_restore(c, f);
}

void sm_catalog_rebase(sm_catalog *c, sm_catfile *f) {
    bool current = f->tried && f->tried->script == f->source->script;
    if (f->error)
        return; /* the last good version keeps the modules it loaded with */
    sm_source *s = sm_catalog_snapshot(f->rel, f->source->script, c->libs);
    /* A run holds the snapshot it began with; the next one finds this. What the store has of f is
     * as good: the modules that it needs to load are the same. */
    for (size_t i = 0; i < f->made.n; i++) {
        sm_source_unref(f->made.list[i]->source);
        f->made.list[i]->source = sm_source_ref(s);
    }
    sm_source_unref(f->source);
    f->source = sm_source_ref(s);
    if (current) {
        sm_source_unref(f->tried);
        f->tried = sm_source_ref(s);
    }
    sm_source_unref(s);
}

static sm_inspection *made_of(const sm_inspections *made, const char *id) {
    for (size_t i = 0; i < made->n; i++)
        if (strcmp(made->list[i]->id, id) == 0)
            return made->list[i];
    return NULL;
}

/* Puts former inspections in the place of new ones that are the same; returns how many are not. */
static size_t keep_same(const sm_inspections *former, sm_inspections *fresh) {
    size_t kept = 0, known = 0;
    for (size_t i = 0; i < fresh->n; i++) {
        sm_inspection *old = made_of(former, fresh->list[i]->id);
        known += old != NULL;
        if (!old || !sm_inspection_same(old, fresh->list[i]))
            continue;
        sm_inspection_unref(fresh->list[i]);
        fresh->list[i] = sm_inspection_ref(old);
        kept++;
    }
    return fresh->n - kept + (former->n - known);
}

size_t sm_catalog_remake(sm_catalog *c, sm_catfile *f) {
    sm_inspections made;
    sm_err err = SM_ERR_INIT;
    if (f->error) { /* what was wrong may have been the configuration */
        sm_source_unref(f->tried);
        f->tried = NULL;
    }
    if (!f->source)
        return 0;
    if (sm_inspection_make(c->cfg, c->assoc, f->source, f->specs, true, &made, &err) != SM_OK) {
        /* Nothing may run under a configuration that is no longer there. */
        char *sentence = sentence_at(c, f, made.line, err.msg);
        size_t gone = f->made.n;
        sm_catalog_fault(c, f, sentence, made.line);
        free(sentence);
        sm_inspections_fini(&made);
        sm_inspections_fini(&f->made);
        sm_source_unref(f->source);
        f->source = NULL;
        sm_source_unref(f->tried);
        f->tried = NULL;
        return gone;
    }
    tell_notes(c, f, &made);
    size_t changed = keep_same(&f->made, &made);
    sm_inspections_fini(&f->made);
    f->made = made;
    return changed;
}

bool sm_catalog_take_stored(sm_catalog *c, sm_catfile *f, sm_source *source, const json_t *specs) {
    json_t *clean = check_specs(specs, NULL);
    char *error = f->error ? sm_strdup(f->error) : NULL;
    int line = f->line;
    bool taken = clean && take(c, f, source, clean);
    /* What is wrong is the text on disk, whatever became of the stored one. */
    sm_catalog_fault(c, f, error, line);
    free(error);
    f->stored = taken;
    return taken;
}
