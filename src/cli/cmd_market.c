/* cmd_market: `market list|install|diff|upgrade|doc`: ready-made inspections into one's own root.
 * What sets are and how files get there: cli/market.h. Called by main on its only thread. */
#include "cli/cli.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/market.h"
#include "worker/entry.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ANSWER_MAX = 64 << 20 };

static const char usage[] =
    "market: expected list, install, diff, upgrade or doc (see `selfmon-lua "
    "market --help`)";

static bool is_address(const char *text) {
    return strstr(text, "://") != NULL;
}

/* ---- list ---------------------------------------------------------------------------------- */

/* "installed", "edited", "older" (unedited, another text is shipped), "foreign"; NULL: not there.
 */
static const char *state_of(int root, const sm_market_file *f) {
    sm_market_there t;
    sm_err err = SM_ERR_INIT;
    const char *state = NULL;
    if (root >= 0 && sm_market_look(root, f->name, &t, &err) == SM_OK && t.exists) {
        char sum[SM_MARKET_SUM];
        sm_market_sum(t.text, t.n, sum);
        state = strcmp(sum, f->sum) == 0 ? "installed"
                : !t.ours                ? "foreign"
                : t.edited               ? "edited"
                                         : "older";
        sm_market_there_fini(&t);
    }
    return state;
}

static char *joined(const json_t *list, const char *key, const char *head, char *text /* taken */) {
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(list, key), i, one) {
        char *more = sm_asprintf("%s%s%s%s", text, *text ? ", " : "", head, json_string_value(one));
        free(text);
        text = more;
    }
    return text;
}

static sm_rc list(const sm_args *a, int root, sm_err *err) {
    sm_market_set shipped;
    char *text = NULL;
    size_t n = 0, i;
    json_t *rows = NULL, *row;
    sm_market_shipped(&shipped);
    sm_rc rc = sm_market_ask("list", &shipped, &text, &n, err);
    if (rc == SM_OK)
        rc = sm_json_parse(text, n, ANSWER_MAX, &rows, err);
    json_array_foreach(rows, i, row) {
        const char *state = state_of(root, sm_market_find(&shipped, sm_json_str(row, "file", "")));
        json_object_set_new(row, "state", state ? json_string(state) : json_null());
        if (a->json)
            continue;
        char *needs = joined(row, "permissions", "", joined(row, "params", "", sm_strdup("")));
        char *title = sm_cli_text(sm_json_str(row, "title", ""), 200);
        printf("%-28s %-9s %s%s%s%s\n", sm_json_str(row, "name", ""), state ? state : "", title,
               *needs ? "  (needs " : "", needs, *needs ? ")" : "");
        free(title);
        free(needs);
    }
    if (rc == SM_OK && a->json)
        sm_cli_json(rows);
    json_decref(rows);
    free(text);
    sm_market_fini(&shipped);
    return rc;
}

/* ---- install and upgrade ------------------------------------------------------------------- */

/* Tells what was done; *kept: plus the files whose edits stayed. */
static void tell(const sm_args *a, const sm_market_set *s, json_t *actions, size_t *kept) {
    size_t i;
    json_t *one;
    json_array_foreach(actions, i, one) {
        const char *action = sm_json_str(one, "action", ""), *file = sm_json_str(one, "file", "");
        bool beside = strcmp(action, "kept") == 0;
        *kept += beside;
        if (a->json || (a->quiet && !beside))
            continue;
        if (beside)
            printf("%-10s %s: you have edited it; the new version is %s.new\n", action, file, file);
        else
            printf("%-10s %s\n", action, file);
    }
    if (s->left_out > 0 && !a->quiet)
        fprintf(stderr, "%zu other files of %s are left out\n", s->left_out, s->source);
}

static sm_rc put(const sm_args *a, const char *root, const sm_market_set *s, json_t *all,
                 size_t *kept, sm_err *err) {
    json_t *actions = NULL;
    sm_rc rc = sm_market_install(root, s, &actions, err);
    if (rc == SM_OK) {
        tell(a, s, actions, kept);
        json_array_extend(all, actions);
    }
    json_decref(actions);
    return rc;
}

static sm_rc source_of(const sm_args *a, sm_market_set *out, bool *whole, sm_err *err) {
    char **names = a->rest + 1;
    int n = a->n_rest - 1;
    *whole = n == 1 && (is_address(names[0]) || names[0][0] == '/' || names[0][0] == '.');
    if (a->sha256 && !(n == 1 && is_address(names[0])))
        return sm_err_set(err, SM_INVALID, "--sha256 is for one archive");
    if (!*whole) {
        sm_market_shipped(out);
        return SM_OK;
    }
    if (!is_address(names[0]))
        return sm_market_folder(names[0], out, err);
    if (!a->sha256)
        return sm_err_set(err, SM_INVALID,
                          "%s: an archive is installed only with the checksum that you expect: "
                          "--sha256 HEX",
                          names[0]);
    char *bytes = NULL;
    size_t size = 0;
    sm_rc rc = sm_market_fetch(names[0], &bytes, &size, err);
    if (rc == SM_OK)
        rc = sm_market_archive(names[0], a->sha256, bytes, size, out, err);
    free(bytes);
    return rc;
}

/* What is left to do for what was installed: permissions and parameters. */
static void tell_needs(const sm_args *a, const sm_market_set *s) {
    char *text = NULL;
    size_t n = 0, i;
    json_t *rows = NULL, *row;
    if (a->json || a->quiet || sm_market_ask("list", s, &text, &n, NULL) != SM_OK ||
        sm_json_parse(text, n, ANSWER_MAX, &rows, NULL) != SM_OK) {
        free(text);
        return;
    }
    json_array_foreach(rows, i, row) {
        char *params = joined(row, "params", "", sm_strdup(""));
        char *grants = joined(row, "permissions", "", sm_strdup(""));
        if (*params || *grants)
            fprintf(stderr, "%s:%s%s%s%s%s\n", sm_json_str(row, "name", ""),
                    *params ? " set the parameters " : "", params, *params && *grants ? ";" : "",
                    *grants ? " grant in selfmon.conf.lua: " : "", grants);
        free(params);
        free(grants);
    }
    json_decref(rows);
    free(text);
}

static sm_rc install(const sm_args *a, const char *root, json_t *all, size_t *kept, sm_err *err) {
    sm_market_set source = {.n = 0}, set = {.n = 0};
    bool whole = false;
    if (a->n_rest < 2)
        return sm_err_set(err, SM_INVALID,
                          "market install: expected names (`selfmon-lua market list`), a folder or "
                          "an archive's address");
    sm_rc rc = source_of(a, &source, &whole, err);
    if (rc == SM_OK)
        rc = sm_market_pick(&source, whole ? NULL : a->rest + 1, whole ? 0 : (size_t)a->n_rest - 1,
                            &set, err);
    if (rc == SM_OK)
        rc = put(a, root, &set, all, kept, err);
    if (rc == SM_OK && !whole) /* others' scripts are not run here, not even in the sandbox */
        tell_needs(a, &set);
    sm_market_fini(&set);
    sm_market_fini(&source);
    return rc;
}

/* An installed file that the arguments ask for (none: all). */
static bool chosen(const sm_args *a, const char *file) {
    for (int i = 1; i < a->n_rest; i++) {
        const char *name = a->rest[i];
        size_t n = strlen(name);
        if (strncmp(file, name, n) == 0 &&
            (file[n] == '\0' || file[n] == '/' || strcmp(file + n, ".lua") == 0 ||
             strcmp(file + n, "_spec.lua") == 0))
            return true;
    }
    return a->n_rest < 2;
}

/* What is installed: object source -> array of {file, version, sum, edited, text}. */
static sm_rc installed(const sm_args *a, const char *root, int fd, json_t **out, sm_err *err) {
    sm_fsx_entry *found = NULL;
    size_t n = 0;
    *out = json_object();
    sm_rc rc = sm_fsx_walk(root, ".lua", 20000, &found, &n, NULL, err);
    for (size_t i = 0; i < n && rc == SM_OK; i++) {
        sm_market_there t;
        sm_err skipped = SM_ERR_INIT;
        if (!chosen(a, found[i].rel) || sm_market_look(fd, found[i].rel, &t, &skipped) != SM_OK)
            continue;
        if (t.ours) {
            json_t *list = json_object_get(*out, t.source);
            if (!list) {
                list = json_array();
                json_object_set_new(*out, t.source, list);
            }
            json_array_append_new(list,
                                  json_pack("{s:s, s:s, s:s, s:b}", "file", found[i].rel, "version",
                                            t.version, "sum", t.sum, "edited", t.edited));
        }
        sm_market_there_fini(&t);
    }
    sm_fsx_entries_free(found, n);
    return rc;
}

/* The source as it is now. SM_NOT_FOUND: it cannot be looked at from here. */
static sm_rc reopen(const char *source, sm_market_set *out, sm_err *err) {
    if (strcmp(source, "selfmon-lua") == 0) {
        sm_market_shipped(out);
        return SM_OK;
    }
    if (is_address(source))
        return sm_err_set(
            err, SM_NOT_FOUND,
            "what came from %s is upgraded by `market install ADDRESS --sha256 HEX` of "
            "its next version",
            source);
    if (!sm_fsx_is_dir(source))
        return sm_err_set(err, SM_NOT_FOUND, "%s is not there any more", source);
    return sm_market_folder(source, out, err);
}

static sm_rc upgrade(const sm_args *a, const char *root, int fd, json_t *all, size_t *kept,
                     sm_err *err) {
    json_t *sources = NULL, *files, *one;
    const char *source;
    sm_rc rc = installed(a, root, fd, &sources, err);
    json_object_foreach(sources, source, files) {
        sm_market_set now = {.n = 0}, set = {.n = 0};
        char **names = sm_calloc(json_array_size(files) + 1, sizeof *names);
        size_t i, n = 0;
        if (rc != SM_OK || reopen(source, &now, err) != SM_OK) {
            if (rc == SM_OK && err->code == SM_NOT_FOUND) {
                fprintf(stderr, "%s\n", err->msg);
                *err = (sm_err)SM_ERR_INIT;
            } else {
                rc = err->code;
            }
            free(names);
            continue;
        }
        json_array_foreach(files, i, one) {
            const char *file = sm_json_str(one, "file", "");
            if (!sm_market_find(&now, file))
                fprintf(stderr, "%s: %s has it no more; it stays as it is\n", file, source);
            else if (!sm_str_ends(file, "_spec.lua"))
                names[n++] = (char *)(uintptr_t)file;
        }
        if (n > 0)
            rc = sm_market_pick(&now, names, n, &set, err);
        if (rc == SM_OK && n > 0)
            rc = put(a, root, &set, all, kept, err);
        free(names);
        sm_market_fini(&set);
        sm_market_fini(&now);
    }
    if (rc == SM_OK && json_object_size(sources) == 0)
        fprintf(stderr, "nothing here came from the market\n");
    json_decref(sources);
    return rc;
}

/* ---- diff ---------------------------------------------------------------------------------- */

static sm_rc diff_one(int fd, const sm_market_file *now, json_t *one, sm_err *err) {
    const char *file = sm_json_str(one, "file", "");
    sm_market_there t;
    char *text = NULL, *mine = NULL, *theirs = NULL;
    size_t n = 0;
    sm_rc rc = sm_market_look(fd, file, &t, err);
    if (rc != SM_OK)
        return rc;
    mine = sm_asprintf("%s (here)", file);
    theirs = sm_asprintf("%s (source)", file);
    /* From the source's text to the one here: what a person has done. */
    sm_market_file pair[2] = {
        {.name = theirs, .text = now->text, .n = now->n},
        {.name = mine, .text = t.text ? t.text : mine, .n = t.text ? t.n : 0}};
    const sm_market_set set = {.files = pair, .n = 2};
    rc = sm_market_ask("diff", &set, &text, &n, err);
    if (rc == SM_OK)
        json_object_set_new(one, "diff", sm_json_text(text, n));
    free(text);
    free(mine);
    free(theirs);
    sm_market_there_fini(&t);
    return rc;
}

/* Line by line, safe for a terminal. */
static void print_lines(const char *text) {
    while (*text) {
        size_t n = strcspn(text, "\n");
        char *shown = sm_str_printable(text, n, 4000);
        printf("%s\n", shown);
        free(shown);
        text += n + (text[n] == '\n');
    }
}

static sm_rc diff(const sm_args *a, const char *root, int fd, json_t *all, size_t *differ,
                  sm_err *err) {
    json_t *sources = NULL, *files, *one;
    const char *source;
    sm_rc rc = installed(a, root, fd, &sources, err);
    json_object_foreach(sources, source, files) {
        sm_market_set now = {.n = 0};
        sm_err gone = SM_ERR_INIT;
        bool there = rc == SM_OK && reopen(source, &now, &gone) == SM_OK;
        size_t i;
        json_array_foreach(files, i, one) {
            const char *file = sm_json_str(one, "file", "");
            const sm_market_file *f = there ? sm_market_find(&now, file) : NULL;
            bool edited = sm_json_bool(one, "edited", false);
            bool newer = f && strcmp(f->sum, sm_json_str(one, "sum", "")) != 0;
            const char *state = edited && newer ? "edited, newer"
                                : edited        ? "edited"
                                : newer         ? "newer"
                                : there && !f   ? "gone"
                                                : "same";
            json_object_set_new(one, "source", json_string(source));
            json_object_set_new(one, "state", json_string(state));
            *differ += edited || newer;
            if (rc == SM_OK && f && (edited || newer))
                rc = diff_one(fd, f, one, err);
            if (!a->json && rc == SM_OK && strcmp(state, "same") != 0) {
                printf("%s: %s (%s %s)\n", file, state, source, sm_json_str(one, "version", ""));
                print_lines(sm_json_str(one, "diff", ""));
            }
            json_object_del(one, "sum");
            json_object_del(one, "edited");
            json_array_append(all, one);
        }
        sm_market_fini(&now);
    }
    json_decref(sources);
    return rc;
}

/* ---- the command --------------------------------------------------------------------------- */

static sm_rc page(sm_err *err) {
    sm_market_set shipped;
    char *text = NULL;
    size_t n = 0;
    sm_market_shipped(&shipped);
    sm_rc rc = sm_market_ask("doc", &shipped, &text, &n, err);
    if (rc == SM_OK)
        fwrite(text, 1, n, stdout);
    free(text);
    sm_market_fini(&shipped);
    return rc;
}

static int code_of(sm_rc rc) {
    return rc == SM_OK ? SM_EXIT_OK : rc == SM_INVALID ? SM_EXIT_USAGE : SM_EXIT_FAIL;
}

int sm_cmd_market(const sm_args *a) {
    const char *what = a->n_rest > 0 ? a->rest[0] : "";
    sm_config *config = NULL;
    sm_err err = SM_ERR_INIT;
    size_t noted = 0;
    bool lists = strcmp(what, "list") == 0;
    sm_rc rc = SM_OK;
    if (strcmp(what, "doc") == 0) {
        rc = page(&err);
        return rc == SM_OK ? SM_EXIT_OK : sm_cli_fail(SM_EXIT_FAIL, err.msg);
    }
    int code = sm_cli_config(a, !lists, &config);
    if (code != SM_EXIT_OK)
        return code;
    int root = config->root ? open(config->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    json_t *all = json_array();
    if (lists)
        rc = list(a, root, &err);
    else if (root < 0)
        rc = sm_err_sys(&err, errno, "%s", config->root);
    else if (strcmp(what, "install") == 0)
        rc = install(a, config->root, all, &noted, &err);
    else if (strcmp(what, "upgrade") == 0)
        rc = upgrade(a, config->root, root, all, &noted, &err);
    else if (strcmp(what, "diff") == 0)
        rc = diff(a, config->root, root, all, &noted, &err);
    else
        rc = sm_err_set(&err, SM_INVALID, "%s", usage);
    if (rc == SM_OK && a->json && !lists)
        sm_cli_json(all);
    if (rc != SM_OK)
        code = sm_cli_fail(code_of(rc), err.msg);
    else if (noted > 0)
        code = SM_EXIT_FAIL;
    json_decref(all);
    if (root >= 0)
        close(root);
    sm_config_free(config);
    return code;
}
