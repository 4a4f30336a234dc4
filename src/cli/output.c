/* output: what a person sees: run lines, colours, paths, failures (see cli.h). */
#include "cli/cli.h"
#include "base/clock.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SENTENCE_MAX = 4000 };

int sm_cli_fail(int code, const char *sentence) {
    char *shown = sm_str_printable(sentence, strlen(sentence), SENTENCE_MAX);
    fprintf(stderr, "selfmon-lua: %s\n", shown);
    free(shown);
    return code;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void sm_cli_explain(const sm_config *config,
                    void (*line)(void *ctx, const char *key, const char *value, const char *origin),
                    void *ctx) {
    json_t *all = sm_config_explain(config), *one;
    const char **keys = sm_calloc(json_object_size(all) + 1, sizeof *keys), *key;
    size_t n = 0;
    json_object_foreach(all, key, one) keys[n++] = key;
    qsort(keys, n, sizeof *keys, by_name);
    for (size_t i = 0; i < n; i++) {
        one = json_object_get(all, keys[i]);
        const json_t *v = json_object_get(one, "value");
        char *value = json_is_string(v) ? sm_cli_text(json_string_value(v), 1000)
                                        : sm_json_dump(v ? v : json_null(), NULL);
        line(ctx, keys[i], value, sm_json_str(one, "origin", "default"));
        free(value);
    }
    free(keys);
    json_decref(all);
}

static void log_value(void *ctx, const char *key, const char *value, const char *origin) {
    (void)ctx;
    sm_log(SM_LOG_DEBUG, "configuration: %s = %s (%s)", key, value, origin);
}

void sm_cli_log(const sm_args *a, const sm_config *config) {
    sm_level level = SM_LOG_INFO;
    const char *format = a->log_format ? a->log_format : config->log_format;
    if (sm_level_parse(config->log_level, &level, NULL) != SM_OK)
        level = SM_LOG_INFO;
    if (a->verbose)
        level = SM_LOG_DEBUG;
    else if (a->quiet)
        level = SM_LOG_WARN;
    sm_log_setup(level, strcmp(format, "json") == 0, sm_cli_color(a, stderr));
}

sm_rc sm_cli_load(const sm_args *a, bool need_root, sm_config **out, sm_err *err) {
    sm_rc rc = sm_config_load(a->self, &a->flags, need_root, out, err);
    if (rc != SM_OK)
        return rc;
    sm_cli_log(a, *out);
    if (a->verbose)
        sm_cli_explain(*out, log_value, NULL);
    return SM_OK;
}

int sm_cli_config(const sm_args *a, bool need_root, sm_config **out) {
    sm_err err = SM_ERR_INIT;
    sm_rc rc = sm_cli_load(a, need_root, out, &err);
    if (rc != SM_OK)
        return sm_cli_fail(rc == SM_NOT_FOUND ? SM_EXIT_USAGE : SM_EXIT_CONFIG, err.msg);
    return SM_EXIT_OK;
}

bool sm_cli_color(const sm_args *a, FILE *to) {
    const char *no = getenv("NO_COLOR");
    return !a->no_color && !(no && *no) && isatty(fileno(to));
}

const char *sm_cli_paint(bool color, const char *word) {
    static const struct {
        const char *word, *escape;
    } paints[] = {
        {"ok", "\033[32m"},         {"info", "\033[36m"},         {"warning", "\033[33m"},
        {"error", "\033[31m"},      {"critical", "\033[1;31m"},   {"failed", "\033[31m"},
        {"timeout", "\033[31m"},    {"limit", "\033[31m"},        {"crashed", "\033[1;31m"},
        {"bad_params", "\033[31m"}, {"unregistered", "\033[31m"}, {"load_error", "\033[31m"},
        {"disabled", "\033[2m"},    {"skipped", "\033[2m"},       {"missed", "\033[33m"},
        {"cancelled", "\033[33m"}};
    for (size_t i = 0; color && i < SM_ARRAY_LEN(paints); i++)
        if (strcmp(paints[i].word, word) == 0)
            return paints[i].escape;
    return "";
}

const char *sm_cli_plain(bool color) {
    return color ? "\033[0m" : "";
}

void sm_cli_json(const json_t *j) {
    char *text = sm_json_pretty(j, NULL);
    puts(text);
    free(text);
}

static void duration(double seconds, char out[32]) {
    if (seconds < 1)
        snprintf(out, 32, "%.0f ms", seconds * 1000);
    else if (seconds < 100)
        snprintf(out, 32, "%.1f s", seconds);
    else
        snprintf(out, 32, "%.0f s", seconds);
}

void sm_cli_run_line(FILE *to, bool color, int id_width, const json_t *report) {
    char now[32], took[32], events[32] = "";
    const char *outcome = sm_json_str(report, "outcome", "?");
    const char *error = sm_json_str(report, "error", NULL);
    const char *worst = sm_json_str(report, "worst", NULL);
    int64_t n = sm_json_int(report, "events", 0);
    sm_time_rfc3339(sm_wall_ns(), false, now);
    duration(sm_json_num(report, "seconds", 0), took);
    snprintf(events, sizeof events, "%lld event%s", (long long)n, n == 1 ? "" : "s");
    fprintf(to, "%.8s %s%-9s%s %-*s %8s   ", now + 11, sm_cli_paint(color, outcome), outcome,
            sm_cli_plain(color), id_width, sm_json_str(report, "id", "?"), took);
    if (error) {
        char *shown = sm_str_printable(error, strlen(error), 500);
        fprintf(to, "%s\n", shown);
        free(shown);
    } else if (worst) {
        const char *headline = sm_json_str(report, "headline", "");
        char *shown = sm_str_printable(headline, strlen(headline), 200);
        fprintf(to, "%-9s  %s%-8s%s  %s\n", events, sm_cli_paint(color, worst), worst,
                sm_cli_plain(color), shown);
        free(shown);
    } else {
        fprintf(to, "%s\n", events);
    }
    fflush(to);
}

char *sm_cli_text(const char *text, size_t max) {
    char *copy = sm_strdup(text);
    for (char *tab = copy; (tab = strchr(tab, '\t'));)
        *tab = ' ';
    char *shown = sm_str_printable(copy, strlen(copy), max);
    free(copy);
    return shown;
}

void sm_cli_run_log(FILE *to, const json_t *report, bool verbose) {
    size_t i;
    json_t *line;
    const char *id = sm_json_str(report, "id", "?");
    json_array_foreach(json_object_get(report, "log"), i, line) {
        const char *level = sm_json_str(line, "level", "");
        const char *text = sm_json_str(line, "text", "");
        if (strcmp(level, "debug") == 0 && !verbose)
            continue;
        char *shown = sm_cli_text(text, 8192);
        if (strcmp(level, "print") == 0 || strcmp(level, "info") == 0)
            fprintf(to, "%s: %s\n", id, shown);
        else
            fprintf(to, "%s: %s: %s\n", id, level, shown);
        free(shown);
    }
    const char *trace = sm_json_str(report, "traceback", NULL);
    if (trace && verbose)
        fprintf(to, "%s: %s\n", id, trace);
}

char *sm_cli_path(const char *path) {
    char *here = getcwd(NULL, 0);
    char *out = NULL;
    size_t n = here ? strlen(here) : 0;
    if (n > 1 && strncmp(path, here, n) == 0 && path[n] == '/')
        out = sm_strdup(path + n + 1);
    free(here);
    return out ? out : sm_strdup(path);
}

sm_rc sm_cli_paths(const sm_args *a, const sm_config *c, json_t **out, sm_err *err) {
    size_t root = strlen(c->root);
    *out = json_array();
    for (int i = 0; i < a->n_rest && err->code == SM_OK; i++) {
        char *path = sm_fsx_absolute(a->rest[i]);
        if (!sm_fsx_exists(path))
            sm_err_set(err, SM_INVALID, "%s: no such file or directory", a->rest[i]);
        else if (strncmp(path, c->root, root) != 0 || (path[root] && path[root] != '/'))
            sm_err_set(err, SM_INVALID, "%s lies outside the inspections root %s", a->rest[i],
                       c->root);
        else
            json_array_append_new(*out, json_string(path[root] ? path + root + 1 : ""));
        free(path);
    }
    if (err->code == SM_OK)
        return SM_OK;
    json_decref(*out);
    *out = NULL;
    return err->code;
}
