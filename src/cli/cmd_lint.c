/* cmd_lint: `lint`: loads the scripts in the real sandbox, without running them, and tells what is
 * wrong or unwise in them.
 *
 * What loading told (schedules, permissions, parameters, faults) is gathered here, as facts, with
 * the texts; lua/tools/lint judges both and answers the findings. Called by main on its only
 * thread.
 */
#include "cli/cli.h"
#include "base/clock.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/app.h"
#include "schedule/slot.h"
#include "worker/entry.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILES_MAX = 20000, TEXT_MAX = 1 << 20, PERIODS = 200, FINDINGS_MAX = 256 << 20 };

typedef struct lint {
    sm_config *config;
    json_t *paths; /* relative to the root, of the command line */
    json_t *files; /* array of {name, wanted, …}, as lua/tools/lint/main.lua wants them */
    sm_map by_name;
    sm_tool_text *texts; /* parallel to files; owned */
    size_t n, cap;
    size_t loaded; /* inspections */
} lint;

/* Does a path of the command line name this file or a folder above it? */
static bool wanted(const lint *l, const char *rel) {
    size_t i;
    json_t *one;
    json_array_foreach(l->paths, i, one) {
        const char *path = json_string_value(one);
        size_t n = strlen(path);
        if (n == 0 || (strncmp(rel, path, n) == 0 && (rel[n] == '\0' || rel[n] == '/')))
            return true;
    }
    return json_array_size(l->paths) == 0;
}

/* The file's entry; new without a text when it was not on disk. */
static json_t *entry(lint *l, const char *name) {
    json_t *file = sm_map_get(&l->by_name, name);
    if (file)
        return file;
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 64;
        l->texts = sm_realloc(l->texts, l->cap * sizeof *l->texts);
    }
    l->texts[l->n++] = (sm_tool_text){sm_strdup(""), 0};
    file = json_pack("{s:s, s:b, s:[]}", "name", name, "wanted", wanted(l, name), "inspections");
    json_array_append_new(l->files, file);
    sm_map_put(&l->by_name, name, file);
    return file;
}

/* Reads every script and module below the root; what cannot be read has its load error. */
static sm_rc read_texts(lint *l, sm_err *err) {
    sm_fsx_entry *found = NULL;
    size_t n = 0;
    sm_rc rc = sm_fsx_walk(l->config->root, ".lua", FILES_MAX, &found, &n, NULL, err);
    int root = rc == SM_OK ? open(l->config->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (rc == SM_OK && root < 0)
        rc = sm_err_set(err, SM_IO, "%s: %s", l->config->root, strerror(errno));
    for (size_t i = 0; rc == SM_OK && i < n; i++) {
        char *text = NULL;
        size_t len = 0;
        sm_err skipped = SM_ERR_INIT;
        if (sm_str_ends(found[i].rel, "_spec.lua") ||
            strcmp(found[i].rel, "selfmon.conf.lua") == 0 ||
            sm_fsx_read_beneath(root, found[i].rel, TEXT_MAX, &text, &len, &skipped) != SM_OK)
            continue;
        (void)entry(l, found[i].rel);
        free((char *)(uintptr_t)l->texts[l->n - 1].text);
        l->texts[l->n - 1] = (sm_tool_text){text, len};
    }
    if (root >= 0)
        close(root);
    sm_fsx_entries_free(found, n);
    return rc;
}

/* The shortest distance between two due instants in a row, in seconds; 0: there are no two. */
static int64_t shortest(const sm_inspection *p) {
    const sm_slots slots = {.crons = p->crons, .n = p->n_crons, .tz = p->tz, .id = p->id};
    int64_t least = 0, at = sm_slots_next(&slots, sm_wall_ns() / SM_NS_PER_S);
    for (int i = 0; i < PERIODS && at != SM_NO_SLOT; i++) {
        int64_t next = sm_slots_next(&slots, at);
        if (next != SM_NO_SLOT && (least == 0 || next - at < least))
            least = next - at;
        at = next;
    }
    return least;
}

/* An instance is the same script: the first one speaks for all. */
static bool has(const json_t *list, const char *fn) {
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one) {
        if (strcmp(sm_json_str(one, "fn", ""), fn) == 0)
            return true;
    }
    return false;
}

static void add_inspection(lint *l, const sm_inspection *p) {
    json_t *params = json_array(), *one = json_object(), *schema;
    const char *name;
    json_t *list = json_object_get(entry(l, p->source->file), "inspections");
    size_t i;
    if (has(list, p->fn)) {
        json_decref(params);
        json_decref(one);
        return;
    }
    int64_t period = shortest(p);
    if (json_is_array(p->schema))
        json_array_foreach(p->schema, i, schema)
            json_array_append_new(params, json_string(sm_json_str(schema, "name", "")));
    else
        json_object_foreach(p->schema, name, schema)
            json_array_append_new(params, json_string(name));
    json_object_set_new(one, "id", json_stringn(p->id, strcspn(p->id, "@")));
    json_object_set_new(one, "fn", json_string(p->fn));
    json_object_set_new(one, "line", json_integer(sm_json_int(p->spec, "line", 0)));
    json_object_set_new(one, "params", params);
    json_object_set_new(one, "timeout", json_real(p->timeout));
    json_object_set_new(one, "schedules", json_integer((json_int_t)p->n_crons));
    json_object_set_new(one, "key",
                        json_boolean(p->api_key || json_object_get(p->spec, "api_key_id")));
    if (period > 0)
        json_object_set_new(one, "period", json_integer(period));
    if (p->notes)
        json_object_set(one, "notes", p->notes);
    if (json_object_get(p->spec, "permissions"))
        json_object_set(one, "permissions", json_object_get(p->spec, "permissions"));
    json_array_append_new(list, one);
}

static void told_loaded(void *ctx, const sm_app *app, bool first) {
    (void)first;
    lint *l = ctx;
    size_t n, n_errors;
    sm_inspection *const *list = sm_catalog_list(sm_app_catalog(app), &n);
    const sm_load_error *errors = sm_catalog_errors(sm_app_catalog(app), &n_errors);
    for (size_t i = 0; i < n_errors; i++) {
        const sm_load_error *e = &errors[i];
        char *place = sm_asprintf("%s/%s:%d: ", l->config->display, e->file, e->line);
        const char *text = e->sentence + (sm_str_starts(e->sentence, place) ? strlen(place) : 0);
        json_object_set_new(
            entry(l, e->file), "error",
            json_pack("{s:i, s:o}", "line", e->line, "message", sm_json_text(text, strlen(text))));
        free(place);
    }
    for (size_t i = 0; i < n; i++)
        add_inspection(l, list[i]);
    l->loaded = n;
}

static void print_finding(const sm_config *config, const json_t *one, bool color) {
    const char *level = sm_json_str(one, "level", "");
    char *text = sm_cli_text(sm_json_str(one, "message", ""), 2000);
    printf("%s/%s:%lld:%lld: %s%s%s: %s: %s\n", config->display, sm_json_str(one, "file", ""),
           (long long)sm_json_int(one, "line", 0), (long long)sm_json_int(one, "col", 1),
           sm_cli_paint(color, level), level, sm_cli_plain(color), sm_json_str(one, "rule", ""),
           text);
    free(text);
}

static void print_sum(size_t loaded, size_t found) {
    fprintf(stderr, "%zu inspection%s, ", loaded, loaded == 1 ? "" : "s");
    if (found == 0)
        fprintf(stderr, "nothing to say\n");
    else
        fprintf(stderr, "%zu finding%s\n", found, found == 1 ? "" : "s");
}

/* Loads, gathers, judges. *findings: array, new reference. */
static sm_rc judge(const sm_args *args, lint *l, json_t **findings, sm_err *err) {
    char *text = NULL;
    size_t n = 0;
    sm_app_options options = {.mode = SM_APP_LOAD,
                              .self = args->self,
                              .config = l->config,
                              .listener = {.ctx = l, .loaded = told_loaded}};
    sm_rc rc = read_texts(l, err);
    if (rc == SM_OK)
        rc = sm_app_run(&options, NULL, err);
    if (rc != SM_OK)
        return rc;
    json_t *facts = json_pack("{s:O}", "files", l->files);
    rc = sm_tool_call("lint", facts, l->texts, l->n, &text, &n, err);
    if (rc == SM_OK)
        rc = sm_json_parse(text, n, FINDINGS_MAX, findings, err);
    json_decref(facts);
    free(text);
    return rc;
}

/* `lint --rules`: the table of docs/lint.md, or the same as JSON. */
static int print_rules(bool as_json) {
    sm_err err = SM_ERR_INIT;
    char *text = NULL;
    size_t n = 0;
    json_t *facts = json_pack("{s:s}", "rules", as_json ? "json" : "text"), *rules = NULL;
    sm_rc rc = sm_tool_call("lint", facts, NULL, 0, &text, &n, &err);
    if (rc == SM_OK && as_json)
        rc = sm_json_parse(text, n, FINDINGS_MAX, &rules, &err);
    if (rc == SM_OK && as_json)
        sm_cli_json(rules);
    else if (rc == SM_OK)
        fwrite(text, 1, n, stdout);
    free(text);
    json_decref(facts);
    json_decref(rules);
    return rc == SM_OK ? SM_EXIT_OK : sm_cli_fail(SM_EXIT_FAIL, err.msg);
}

int sm_cmd_lint(const sm_args *given) {
    sm_args args = *given;
    sm_config *config = NULL;
    sm_err err = SM_ERR_INIT;
    json_t *findings = NULL, *one;
    lint l = {.config = NULL};
    size_t i;
    bool as_json = args.json;
    if (args.format && strcmp(args.format, "json") != 0 && strcmp(args.format, "text") != 0)
        return sm_cli_fail(SM_EXIT_USAGE, "--format: expected text or json");
    if (args.format)
        as_json = strcmp(args.format, "json") == 0;
    if (args.rules)
        return print_rules(as_json);
    if (args.n_rest > 0)
        args.flags.path = args.rest[0];
    int code = sm_cli_config(&args, true, &config);
    if (code != SM_EXIT_OK)
        return code;
    sm_log_setup(SM_LOG_NONE, false, false); /* the findings say what the log would */
    l.config = config;
    sm_map_init(&l.by_name);
    l.files = json_array();
    sm_rc rc = sm_cli_paths(&args, config, &l.paths, &err);
    if (rc != SM_OK) {
        code = sm_cli_fail(SM_EXIT_USAGE, err.msg);
    } else if (judge(&args, &l, &findings, &err) != SM_OK) {
        code = sm_cli_fail(SM_EXIT_FAIL, err.msg);
    } else {
        code = json_array_size(findings) > 0 ? SM_EXIT_FAIL : SM_EXIT_OK;
        if (as_json)
            sm_cli_json(findings);
        else
            json_array_foreach(findings, i, one)
                print_finding(config, one, sm_cli_color(&args, stdout));
        if (!as_json && !args.quiet)
            print_sum(l.loaded, json_array_size(findings));
    }
    for (i = 0; i < l.n; i++)
        free((char *)(uintptr_t)l.texts[i].text);
    free(l.texts);
    sm_map_fini(&l.by_name);
    json_decref(l.files);
    json_decref(l.paths);
    json_decref(findings);
    sm_config_free(config);
    return code;
}
