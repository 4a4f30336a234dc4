/* market_pick: which files of a set belong to the names somebody gave: scripts, their specs, and
 * the modules they require. See cli/market.h. */
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/market.h"
#include "worker/entry.h"
#include <stdlib.h>
#include <string.h>

enum { ANSWER_MAX = 64 << 20 };

sm_rc sm_market_ask(const char *op, const sm_market_set *s, char **out, size_t *n, sm_err *err) {
    json_t *names = json_array(), *facts;
    sm_tool_text *texts = sm_calloc(s->n + 1, sizeof *texts);
    for (size_t i = 0; i < s->n; i++) {
        json_array_append_new(names, json_string(s->files[i].name));
        texts[i] = (sm_tool_text){s->files[i].text, s->files[i].n};
    }
    facts = json_pack("{s:s, s:o}", "op", op, "names", names);
    sm_rc rc = sm_tool_call("market", facts, texts, s->n, out, n, err);
    json_decref(facts);
    free(texts);
    return rc;
}

static bool is_spec(const char *name) {
    return sm_str_ends(name, "_spec.lua");
}

/* Does `name` ("host/disk", "host/disk.lua", "host") ask for the script `file`? */
static bool asks(const char *name, const char *file) {
    size_t n = strlen(name);
    if (is_spec(file) || strncmp(file, name, n) != 0)
        return false;
    return file[n] == '/' || strcmp(file + n, ".lua") == 0 || file[n] == '\0';
}

static void add(const sm_market_set *s, const char *name, sm_map *seen, sm_market_set *out) {
    const sm_market_file *f = sm_market_find(s, name);
    if (!f || sm_map_put(seen, name, out))
        return;
    sm_market_add(out, f->name, f->text, f->n);
    if (is_spec(name))
        return;
    char *spec = sm_asprintf("%.*s_spec.lua", (int)strlen(name) - 4, name);
    add(s, spec, seen, out);
    free(spec);
}

static sm_rc unknown(const sm_market_set *s, const char *name, sm_err *err) {
    const char **names = sm_calloc(s->n + 1, sizeof *names);
    char hint[160];
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        char *file = s->files[i].name;
        if (is_spec(file) || sm_str_starts(file, "lib/"))
            continue;
        names[n++] = sm_memdup(file, strlen(file) - 4);
    }
    sm_err_set(err, SM_NOT_FOUND, "%s has no inspection %.200s%s", s->source, name,
               sm_str_hint(name, names, n, hint, sizeof hint));
    for (size_t i = 0; i < n; i++)
        free((char *)(uintptr_t)names[i]);
    free(names);
    return SM_NOT_FOUND;
}

sm_rc sm_market_pick(const sm_market_set *s, char *const *names, size_t n_names, sm_market_set *out,
                     sm_err *err) {
    char *text = NULL;
    size_t n = 0;
    json_t *needs = NULL, *lib;
    sm_map seen;
    sm_map_init(&seen);
    *out = (sm_market_set){.source = sm_strdup(s->source), .version = sm_strdup(s->version)};
    out->left_out = s->left_out;
    sm_rc rc = sm_market_ask("needs", s, &text, &n, err);
    if (rc == SM_OK)
        rc = sm_json_parse(text, n, ANSWER_MAX, &needs, err);
    for (size_t i = 0; rc == SM_OK && !names && i < s->n; i++)
        add(s, s->files[i].name, &seen, out);
    for (size_t k = 0; rc == SM_OK && names && k < n_names; k++) {
        bool any = false;
        for (size_t i = 0; i < s->n; i++) {
            size_t j;
            if (!asks(names[k], s->files[i].name))
                continue;
            any = true;
            add(s, s->files[i].name, &seen, out);
            json_array_foreach(json_object_get(needs, s->files[i].name), j, lib)
                add(s, json_string_value(lib), &seen, out);
        }
        if (!any)
            rc = unknown(s, names[k], err);
    }
    sm_map_fini(&seen);
    json_decref(needs);
    free(text);
    if (rc != SM_OK)
        sm_market_fini(out);
    return rc;
}
