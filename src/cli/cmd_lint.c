/* cmd_lint: `lint`: loads the scripts in the real sandbox, without running them, and tells what is
 * wrong or unwise in them. Each rule has an id; `-- selfmon: ignore SM010` in a script silences it.
 */
#include "cli/cli.h"
#include "base/log.h"
#include "base/str.h"
#include "daemon/app.h"
#include <stdlib.h>
#include <string.h>

enum { SENTENCE = 512 };

typedef struct findings {
    const char *display;
    json_t *list;
} findings;

/* Is the rule silenced in this script? */
static bool ignored(const sm_inspection *p, const char *rule) {
    static const char mark[] = "selfmon: ignore";
    for (const char *at = p->source->script->text; (at = strstr(at, mark));) {
        at += sizeof mark - 1;
        size_t n = strcspn(at, "\n");
        const char *found = strstr(at, rule);
        if (found && (size_t)(found - at) < n)
            return true;
    }
    return false;
}

static void add(findings *f, const char *rule, const char *level, const char *file, int64_t line,
                const char *sentence) {
    json_array_append_new(f->list, json_pack("{s:s, s:s, s:s, s:I, s:o}", "rule", rule, "level",
                                             level, "file", file, "line", (json_int_t)line,
                                             "message", sm_json_text(sentence, strlen(sentence))));
}

static void check(findings *f, const sm_inspection *p) {
    int64_t line = sm_json_int(p->spec, "line", 0);
    const char *file = p->source->file;
    char text[SENTENCE];
    if ((p->api_key || json_object_get(p->spec, "api_key_id")) && !ignored(p, "SM010")) {
        snprintf(text, sizeof text,
                 "%s: api_key_id and api_key do not belong in a script; put them in accounts of "
                 "selfmon.conf.lua and name the account here",
                 p->id);
        add(f, "SM010", "warning", file, line, text);
    }
    for (size_t i = 0; i < json_array_size(p->notes) && !ignored(p, "SM012"); i++)
        add(f, "SM012", "warning", file, line, json_string_value(json_array_get(p->notes, i)));
    if (p->n_crons == 0 && !ignored(p, "SM011")) {
        snprintf(text, sizeof text, "%s: it has no schedule and runs on demand only", p->id);
        add(f, "SM011", "warning", file, line, text);
    }
}

static void told_loaded(void *ctx, const sm_app *app, bool first) {
    (void)first;
    findings *f = ctx;
    size_t n, n_errors;
    sm_inspection *const *list = sm_catalog_list(sm_app_catalog(app), &n);
    const sm_load_error *errors = sm_catalog_errors(sm_app_catalog(app), &n_errors);
    for (size_t i = 0; i < n_errors; i++)
        add(f, "SM001", "error", errors[i].file, errors[i].line, errors[i].sentence);
    for (size_t i = 0; i < n; i++)
        if (!strchr(list[i]->id, '@')) /* an instance is the same script */
            check(f, list[i]);
}

static void print_finding(const findings *f, const json_t *one, bool color) {
    const char *level = sm_json_str(one, "level", ""), *rule = sm_json_str(one, "rule", "");
    char *text = sm_cli_text(sm_json_str(one, "message", ""), 2000);
    if (strcmp(rule, "SM001") == 0) /* its sentence begins with the place */
        printf("%s%s%s: %s (%s)\n", sm_cli_paint(color, level), level, sm_cli_plain(color), text,
               rule);
    else
        printf("%s/%s:%lld: %s%s%s: %s (%s)\n", f->display, sm_json_str(one, "file", ""),
               (long long)sm_json_int(one, "line", 0), sm_cli_paint(color, level), level,
               sm_cli_plain(color), text, rule);
    free(text);
}

int sm_cmd_lint(const sm_args *given) {
    sm_args args = *given;
    sm_config *config = NULL;
    sm_err err = SM_ERR_INIT;
    size_t i;
    json_t *one;
    if (args.n_rest > 0)
        args.flags.path = args.rest[0];
    int code = sm_cli_config(&args, true, &config);
    if (code != SM_EXIT_OK)
        return code;
    sm_log_setup(SM_LOG_NONE, false, false); /* the findings say what the log would */
    findings f = {.display = config->display, .list = json_array()};
    sm_app_options options = {.mode = SM_APP_LOAD,
                              .self = args.self,
                              .config = config,
                              .listener = {.ctx = &f, .loaded = told_loaded}};
    if (sm_app_run(&options, NULL, &err) != SM_OK)
        code = sm_cli_fail(SM_EXIT_FAIL, err.msg);
    else if (json_array_size(f.list) > 0)
        code = SM_EXIT_FAIL;
    if (err.code == SM_OK && args.json) {
        sm_cli_json(f.list);
    } else if (err.code == SM_OK) {
        json_array_foreach(f.list, i, one) {
            print_finding(&f, one, sm_cli_color(&args, stdout));
        }
        if (code == SM_EXIT_OK)
            fprintf(stderr, "nothing to say\n");
    }
    json_decref(f.list);
    sm_config_free(config);
    return code;
}
