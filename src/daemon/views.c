/* views: what the readers show (see views.h). Composes JSON from the catalogue and from rows of the
 * store; asks nobody, keeps nothing. Called by the socket's requests and by the command line.
 */
#include "daemon/views.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include <stdlib.h>
#include <string.h>

/* What tells one platform's object from all others. Caller frees. */
static char *row_key(const char *account, const char *ref_key) {
    return sm_asprintf("%s\n%s", account, ref_key);
}

/* Rows of the nodes that the accounts talk to now, by row_key; borrowed from registry. */
static void index_rows(sm_map *rows, const json_t *nodes, const json_t *registry) {
    size_t i;
    json_t *row;
    sm_map_init(rows);
    json_array_foreach(registry, i, row) {
        const char *account = sm_json_str(row, "account", "");
        const char *node = sm_json_str(nodes, account, NULL);
        if (node && strcmp(sm_json_str(row, "node", ""), node) != 0)
            continue; /* the account talked to another one once */
        char *key = row_key(account, sm_json_str(row, "ref_key", ""));
        sm_map_put(rows, key, row);
        free(key);
    }
}

static json_t *next_of(const sm_inspection *p) {
    int64_t now = sm_wall_ns() / SM_NS_PER_S, best = 0, next;
    bool found = false;
    for (size_t i = 0; i < p->n_crons; i++) {
        if (sm_cron_next(p->crons[i], p->tz, now, &next) && (!found || next < best)) {
            best = next;
            found = true;
        }
    }
    if (!found)
        return json_null();
    char text[32];
    sm_time_rfc3339(best * SM_NS_PER_S, false, text);
    return json_string(text);
}

static bool is_stale(const sm_load_error *errors, size_t n, const char *file) {
    for (size_t i = 0; i < n; i++)
        if (errors[i].stale && strcmp(errors[i].file, file) == 0)
            return true;
    return false;
}

json_t *sm_view_list(const sm_catalog *catalog, const json_t *nodes, const json_t *registry,
                     const json_t *last) {
    size_t n, n_errors;
    sm_inspection *const *list = sm_catalog_list(catalog, &n);
    const sm_load_error *errors = sm_catalog_errors(catalog, &n_errors);
    json_t *out = json_array();
    sm_map rows;
    index_rows(&rows, nodes, registry);
    for (size_t i = 0; i < n; i++) {
        const sm_inspection *p = list[i];
        char *key = row_key(p->account, p->ref_key);
        const json_t *row = sm_map_get(&rows, key);
        const char *node = sm_json_str(nodes, p->account, sm_json_str(row, "node", ""));
        free(key);
        json_t *end = json_object_get(last, p->id);
        json_t *schedule = json_object_get(p->spec, "schedule");
        json_t *tags = json_object_get(p->spec, "tags");
        json_t *zone = json_object_get(p->spec, "timezone");
        json_t *item = json_object();
        json_object_set_new(item, "id", json_string(p->id));
        json_object_set(item, "title", json_object_get(p->spec, "title"));
        json_object_set_new(item, "file", json_string(p->source->file));
        json_object_set_new(item, "function", json_string(p->fn));
        json_object_set_new(item, "schedule", schedule ? json_incref(schedule) : json_array());
        json_object_set_new(item, "timezone",
                            json_is_string(zone) ? json_incref(zone) : json_string("UTC"));
        json_object_set_new(item, "next", next_of(p));
        json_object_set_new(item, "registered", json_boolean(row != NULL));
        json_object_set_new(item, "enabled",
                            row ? json_boolean(sm_json_int(row, "status", 0) == 0) : json_null());
        json_object_set_new(item, "uuid",
                            row ? json_string(sm_json_str(row, "uuid", "")) : json_null());
        json_object_set_new(item, "ref_key", json_string(p->ref_key));
        json_object_set_new(item, "account", json_string(p->account));
        json_object_set_new(item, "node", json_string(node));
        json_object_set_new(item, "tags", tags ? json_incref(tags) : json_array());
        json_object_set_new(item, "last", end ? json_incref(end) : json_null());
        json_object_set_new(item, "stale",
                            json_boolean(is_stale(errors, n_errors, p->source->file)));
        json_array_append_new(out, item);
    }
    sm_map_fini(&rows);
    for (size_t i = 0; i < n_errors; i++) {
        char since[32];
        sm_time_rfc3339(errors[i].since_ns, false, since);
        json_array_append_new(
            out, json_pack("{s:s, s:s, s:o, s:i, s:b, s:s?}", "file", errors[i].file, "outcome",
                           "load_error", "error",
                           sm_json_text(errors[i].sentence, strlen(errors[i].sentence)), "line",
                           errors[i].line, "stale", errors[i].stale, "since",
                           errors[i].since_ns > 0 ? since : NULL));
    }
    return out;
}

static bool has_tag(const sm_inspection *p, const json_t *tags) {
    size_t i, k;
    json_t *want, *have;
    json_array_foreach(tags, i, want) {
        json_array_foreach(json_object_get(p->spec, "tags"), k, have) {
            if (json_equal(want, have))
                return true;
        }
    }
    return json_array_size(tags) == 0;
}

static bool below_path(const char *file, const json_t *paths) {
    size_t i;
    json_t *path;
    json_array_foreach(paths, i, path) {
        const char *prefix = json_string_value(path);
        size_t n = prefix ? strlen(prefix) : 0;
        if (!prefix)
            continue;
        if (n == 0 || strcmp(prefix, file) == 0 ||
            (strncmp(prefix, file, n) == 0 && (prefix[n - 1] == '/' || file[n] == '/')))
            return true;
    }
    return json_array_size(paths) == 0;
}

bool sm_view_selected(const sm_inspection *inspection, const json_t *select) {
    const char *k = sm_json_str(select, "k", NULL), *id = sm_json_str(select, "id", NULL);
    if (id && strcmp(id, inspection->id) != 0)
        return false;
    if (k && *k) {
        bool glob = strpbrk(k, "*?") != NULL;
        if (glob ? !sm_str_glob(k, inspection->id) : !strstr(inspection->id, k))
            return false;
    }
    return has_tag(inspection, json_object_get(select, "tags")) &&
           below_path(inspection->source->file, json_object_get(select, "paths"));
}

bool sm_view_selects_file(const char *file, const json_t *select) {
    const char *k = sm_json_str(select, "k", NULL), *id = sm_json_str(select, "id", NULL);
    size_t stem = strlen(file) > 4 ? strlen(file) - 4 : 0; /* without ".lua" */
    if (id && (strncmp(id, file, stem) != 0 || id[stem] != '.' || strchr(id + stem, '/')))
        return false;
    if (json_array_size(json_object_get(select, "tags")) > 0)
        return false;
    if (k && *k && !strstr(file, k))
        return false;
    return below_path(file, json_object_get(select, "paths"));
}
