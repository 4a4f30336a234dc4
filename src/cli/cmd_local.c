/* cmd_local: the embedded platform's side of an inspection: parameters, enabled state, deletion.
 * What a person would do on the remote platform's page. */
#include "cli/cli.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "platform/params.h"
#include <stdlib.h>
#include <string.h>

static const char usage[] = "local: expected set, unset, enable, disable, delete or show and an "
                            "inspection (see `selfmon-lua local --help`)";

/* Row of an inspection in the registry (borrowed), or NULL after filling err with the nearest id.
 */
static const json_t *find_row(const json_t *rows, const char *id, sm_err *err) {
    size_t i, n = 0;
    json_t *row;
    const json_t *found = NULL;
    const char **ids = sm_calloc(json_array_size(rows) + 1, sizeof *ids);
    char hint[256];
    json_array_foreach(rows, i, row) {
        const char *have = sm_json_str(row, "id", "");
        ids[n++] = have;
        if (strcmp(have, id) == 0)
            found = row;
    }
    if (!found)
        sm_err_set(err, SM_NOT_FOUND,
                   "%s is not registered here%s (an inspection is registered when it is loaded by "
                   "`selfmon-lua run`)",
                   id, sm_str_hint(id, ids, n, hint, sizeof hint));
    free(ids);
    return found;
}

/* Schema of the inspection's parameters from the last good text; new reference or NULL. */
static json_t *find_schema(sm_client *link, const char *id) {
    json_t *texts = NULL, *row, *spec, *schema = NULL;
    size_t i, k;
    if (sm_client_call(link, "texts", NULL, &texts, NULL) != SM_OK)
        return NULL;
    json_array_foreach(texts, i, row) {
        const char *file = sm_json_str(row, "file", "");
        size_t stem = strlen(file) > 4 ? strlen(file) - 4 : 0;
        if (strncmp(id, file, stem) != 0 || id[stem] != '.')
            continue;
        const char *fn = id + stem + 1;
        size_t n = strcspn(fn, "@");
        json_array_foreach(json_object_get(row, "specs"), k, spec) {
            const char *have = sm_json_str(spec, "fn", "");
            if (strlen(have) == n && strncmp(have, fn, n) == 0)
                schema = json_incref(json_object_get(spec, "params"));
        }
    }
    json_decref(texts);
    return schema;
}

/* NAME=VALUE words as {NAME: VALUE}; with unset, NAME words as {NAME: null}. */
static sm_rc read_values(char **words, int n, bool unset, json_t **out, sm_err *err) {
    json_t *set = json_object();
    *out = NULL;
    for (int i = 0; i < n; i++) {
        const char *equal = strchr(words[i], '=');
        if (unset ? equal != NULL : (!equal || equal == words[i])) {
            json_decref(set);
            return sm_err_set(err, SM_INVALID, "local: expected %s, got %s",
                              unset ? "the name of a parameter" : "NAME=VALUE", words[i]);
        }
        char *name = sm_memdup(words[i], unset ? strlen(words[i]) : (size_t)(equal - words[i]));
        json_object_set_new(set, name,
                            unset ? json_null() : sm_json_text(equal + 1, strlen(equal + 1)));
        free(name);
    }
    *out = set;
    return SM_OK;
}

/* Would the script accept these values? An unknown name or a bad value is said at once. */
static sm_rc check_values(const json_t *schema, const json_t *set, sm_err *err) {
    const char *name, *names[256];
    json_t *value, *param, *values = NULL;
    size_t i, n = 0;
    json_array_foreach(schema, i, param) {
        if (n < SM_ARRAY_LEN(names))
            names[n++] = sm_json_str(param, "name", "");
    }
    json_object_foreach((json_t *)set, name, value) {
        bool known = false;
        char hint[256];
        for (i = 0; i < n; i++)
            known = known || strcmp(names[i], name) == 0;
        if (!known)
            return sm_err_set(err, SM_INVALID, "it has no parameter %s%s", name,
                              sm_str_hint(name, names, n, hint, sizeof hint));
    }
    /* Values that other sources must give are not asked for here. */
    json_t *part = json_array();
    json_array_foreach(schema, i, param) {
        if (json_object_get(set, sm_json_str(param, "name", "")))
            json_array_append(part, param);
    }
    sm_rc rc = sm_params_resolve(part, NULL, set, NULL, &values, NULL, err);
    json_decref(part);
    json_decref(values);
    return rc;
}

static sm_rc set_params(const sm_args *a, sm_client *link, const json_t *row, bool unset,
                        sm_err *err) {
    json_t *set = NULL, *result = NULL;
    const char *id = a->rest[1];
    sm_rc rc = read_values(a->rest + 2, a->n_rest - 2, unset, &set, err);
    json_t *schema = rc == SM_OK ? find_schema(link, id) : NULL;
    if (rc == SM_OK && schema && !unset) {
        rc = check_values(schema, set, err);
        if (rc != SM_OK)
            sm_err_wrap(err, "%s", id);
    }
    if (rc == SM_OK)
        rc = sm_client_call(link, "local_params",
                            json_pack("{s:s, s:O, s:I}", "ref_key", sm_json_str(row, "ref_key", ""),
                                      "set", set, "at_ns", (json_int_t)sm_wall_ns()),
                            &result, err);
    if (rc == SM_OK && a->json)
        sm_cli_json(result);
    else if (rc == SM_OK) {
        char *text = sm_json_dump(json_object_get(result, "callKwargs"), NULL);
        printf("%s: %s (from its next run on)\n", id, text);
        free(text);
    }
    json_decref(schema);
    json_decref(set);
    json_decref(result);
    return rc;
}

static sm_rc set_status(sm_client *link, const json_t *row, int status, sm_err *err) {
    sm_rc rc =
        sm_client_call(link, "local_status",
                       json_pack("{s:s, s:i, s:I}", "ref_key", sm_json_str(row, "ref_key", ""),
                                 "status", status, "at_ns", (json_int_t)sm_wall_ns()),
                       NULL, err);
    if (rc == SM_OK)
        printf("%s: %s\n", sm_json_str(row, "id", ""), status ? "disabled" : "enabled");
    return rc;
}

static sm_rc delete_one(sm_client *link, const json_t *row, sm_err *err) {
    sm_rc rc = sm_client_call(link, "local_delete",
                              json_pack("{s:s, s:I}", "ref_key", sm_json_str(row, "ref_key", ""),
                                        "at_ns", (json_int_t)sm_wall_ns()),
                              NULL, err);
    if (rc == SM_OK)
        printf("%s: deleted; its next run registers it anew\n", sm_json_str(row, "id", ""));
    return rc;
}

static sm_rc show_items(const sm_args *a, sm_client *link, const json_t *rows, sm_err *err) {
    json_t *items = NULL, *item, *shown = json_array();
    size_t i;
    sm_rc rc = sm_client_call(link, "local_list", NULL, &items, err);
    json_array_foreach(items, i, item) {
        const char *func = sm_json_str(
            json_object_get(json_object_get(item, "jsonScript"), "refFuncInfo"), "funcId", "");
        size_t k;
        json_t *row;
        const char *id = func;
        json_array_foreach(rows, k, row) {
            if (strcmp(sm_json_str(row, "ref_key", ""), sm_json_str(item, "refKey", "-")) == 0)
                id = sm_json_str(row, "id", func);
        }
        if (a->n_rest > 1 && strcmp(a->rest[1], id) != 0)
            continue;
        json_array_append(shown, item);
        if (!a->json) {
            char *set = sm_json_dump(
                json_object_get(json_object_get(item, "jsonScript"), "callKwargs"), NULL);
            printf("%-30s  %-8s  %s\n", id, sm_json_int(item, "status", 0) ? "disabled" : "enabled",
                   set);
            free(set);
        }
    }
    if (rc == SM_OK && a->json)
        sm_cli_json(shown);
    json_decref(items);
    json_decref(shown);
    return rc;
}

static sm_rc act(const sm_args *a, sm_client *link, const json_t *rows, sm_err *err) {
    const char *verb = a->rest[0];
    sm_rc rc = SM_OK;
    bool set = strcmp(verb, "set") == 0, unset = strcmp(verb, "unset") == 0;
    if (strcmp(verb, "show") == 0)
        return show_items(a, link, rows, err);
    /* Every name is looked up before anything is changed. */
    for (int i = 1; i < (set || unset ? 2 : a->n_rest); i++)
        if (!find_row(rows, a->rest[i], err))
            return err->code;
    if (set || unset)
        return set_params(a, link, find_row(rows, a->rest[1], err), unset, err);
    for (int i = 1; i < a->n_rest && rc == SM_OK; i++) {
        const json_t *row = find_row(rows, a->rest[i], err);
        rc = strcmp(verb, "delete") == 0 ? delete_one(link, row, err)
                                         : set_status(link, row, verb[0] == 'd' ? 2 : 0, err);
    }
    return rc;
}

int sm_cmd_local(const sm_args *a) {
    static const char *const verbs[] = {"set", "unset", "enable", "disable", "delete", "show"};
    sm_config *config = NULL;
    sm_client *link = NULL;
    sm_err err = SM_ERR_INIT;
    json_t *rows = NULL;
    bool known = false;
    for (size_t i = 0; a->n_rest > 0 && i < SM_ARRAY_LEN(verbs); i++)
        known = known || strcmp(verbs[i], a->rest[0]) == 0;
    if (a->n_rest == 0)
        return sm_cli_fail(SM_EXIT_USAGE, usage);
    if (!known) {
        char text[256], hint[64];
        snprintf(text, sizeof text, "local: unknown verb %.40s%s", a->rest[0],
                 sm_str_hint(a->rest[0], verbs, SM_ARRAY_LEN(verbs), hint, sizeof hint));
        return sm_cli_fail(SM_EXIT_USAGE, text);
    }
    bool words =
        a->rest[0][0] == 's' ? strcmp(a->rest[0], "set") == 0 : strcmp(a->rest[0], "unset") == 0;
    if (a->n_rest < (words ? 3 : strcmp(a->rest[0], "show") == 0 ? 1 : 2))
        return sm_cli_fail(SM_EXIT_USAGE, usage);
    int code = sm_cli_config(a, false, &config);
    if (code != SM_EXIT_OK)
        return code;
    sm_rc rc = sm_client_open(config, &link, &err);
    if (rc == SM_OK)
        rc = sm_client_call(link, "registry", NULL, &rows, &err);
    if (rc == SM_OK)
        rc = act(a, link, rows, &err);
    if (rc != SM_OK)
        code = sm_cli_fail(rc == SM_INVALID ? SM_EXIT_USAGE : SM_EXIT_FAIL, err.msg);
    json_decref(rows);
    sm_client_close(link);
    sm_config_free(config);
    return code;
}
