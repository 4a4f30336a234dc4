/* config: what the operator wants: flag > environment > file > default.
 *
 * Here is only the order of things; finding, evaluating, reading and secrets have rooms of their
 * own (config_parts.h). Whatever is wrong is one sentence and nothing is half loaded. Called by
 * main before the loop starts, and by app_reload on a thread beside it; what it gives is immutable
 * (but for the association secret that may be made later).
 */
#include "daemon/config_parts.h"
#include "base/clock.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const int64_t eval_timeout_ns = 10 * SM_NS_PER_S;

/* Fills c->table and c->lines from the file. */
static sm_rc read_file(sm_conf *c, const char *self, sm_err *err) {
    json_t *answer = NULL;
    /* The path as people see it, so that the file's own errors name it the same way. */
    sm_rc rc = sm_conf_eval(self, c->shown, eval_timeout_ns, c->stop, &answer, err);
    if (rc == SM_CLOSED)
        return rc;
    if (rc != SM_OK)
        return err->code = SM_INVALID; /* to the operator it is the file that is wrong */
    const json_t *files = json_object_get(answer, "files");
    for (size_t i = 0; i < json_array_size(files); i++)
        if (json_is_string(json_array_get(files, i)))
            sm_conf_add_file(c, json_string_value(json_array_get(files, i)));
    json_t *table = json_object_get(answer, "table"), *lines = json_object_get(answer, "lines");
    if (!sm_json_bool(answer, "ok", false)) {
        rc = sm_err_set(err, SM_INVALID, "%s",
                        sm_json_str(answer, "error", "the configuration could not be evaluated"));
    } else if (!json_is_object(table) && json_array_size(table) > 0) {
        rc = sm_err_set(err, SM_INVALID, "%s: expected a table with names, got a list", c->shown);
    } else if (!json_is_object(table) && !json_is_array(table)) {
        rc = sm_err_set(err, SM_INVALID, "%s: expected it to return a table", c->shown);
    } else {
        json_decref(c->table);
        c->table = json_is_object(table) ? json_incref(table) : json_object();
        if (json_is_object(lines)) {
            json_decref(c->lines);
            c->lines = json_incref(lines);
        }
    }
    json_decref(answer);
    return rc;
}

void sm_conf_add_file(sm_conf *c, const char *path) {
    char *absolute = sm_fsx_absolute(path);
    for (size_t i = 0; i < c->n_files; i++) {
        if (strcmp(c->files[i], absolute) == 0) {
            free(absolute);
            return;
        }
    }
    c->files = sm_realloc(c->files, (c->n_files + 2) * sizeof *c->files);
    c->files[c->n_files++] = absolute;
    c->files[c->n_files] = NULL;
}

static char **copy_files(const sm_conf *c) {
    char **copy = sm_calloc(c->n_files + 1, sizeof *copy);
    for (size_t i = 0; i < c->n_files; i++)
        copy[i] = sm_strdup(c->files[i]);
    return copy;
}

static sm_rc load(sm_conf *c, const char *self, bool need_root, sm_config **out, sm_err *err) {
    sm_err own = SM_ERR_INIT;
    sm_err *why = err ? err : &own;
    c->table = json_object();
    c->lines = json_object();
    c->made = sm_calloc(1, sizeof *c->made);
    c->made->refs = 1;
    *out = NULL;
    c->made->values = json_object();
    c->made->origins = json_object();
    sm_rc rc = sm_conf_find_file(c, why);
    if (rc == SM_OK && c->made->file && !c->bare)
        rc = read_file(c, self, why);
    if (rc == SM_OK)
        rc = sm_conf_keys(c, why);
    if (rc == SM_OK)
        rc = sm_conf_heartbeat(c, why);
    if (rc == SM_OK)
        rc = sm_conf_tables(c, why);
    if (rc == SM_OK)
        rc = sm_conf_accounts(c, why);
    if (rc == SM_OK)
        rc = sm_conf_secrets(c, why);
    if (rc == SM_OK)
        rc = sm_conf_find_root(c, need_root, why);
    if (rc == SM_OK && need_root)
        sm_conf_open_granted(c);
    if (rc == SM_OK) {
        sm_conf_find_state(c);
        sm_conf_fill(c);
        c->made->files = copy_files(c);
        *out = c->made;
    } else {
        sm_config_free(c->made);
    }
    json_decref(c->lines);
    json_decref(c->table);
    free(c->shown);
    free(c->dir);
    return rc;
}

sm_rc sm_config_load(const char *self, const sm_flags *flags, bool need_root, sm_config **out,
                     sm_err *err) {
    sm_conf c = {.flags = flags};
    sm_rc rc = load(&c, self, need_root, out, err);
    sm_config_files_free(c.files);
    return rc;
}

sm_rc sm_config_load_again(const char *self, const sm_flags *flags, const char *file,
                           const atomic_bool *stop, sm_config **out, char ***files, sm_err *err) {
    sm_conf c = {.flags = flags, .again = file, .stop = stop};
    sm_rc rc = load(&c, self, true, out, err);
    *files = c.files ? c.files : sm_calloc(1, sizeof **files);
    return rc;
}

sm_rc sm_config_load_bare(const sm_flags *flags, sm_config **out, sm_err *err) {
    sm_conf c = {.flags = flags, .bare = true};
    sm_rc rc = load(&c, "", false, out, err);
    sm_config_files_free(c.files);
    return rc;
}

void sm_config_files_free(char **files) {
    for (size_t i = 0; files && files[i]; i++)
        free(files[i]);
    free(files);
}

const char *const *sm_config_files(const sm_config *c) {
    return (const char *const *)c->files;
}

sm_config *sm_config_ref(const sm_config *c) {
    sm_config *mine = (sm_config *)(uintptr_t)c;
    mine->refs++;
    return mine;
}

void sm_config_free(sm_config *c) {
    if (!c || --c->refs > 0)
        return;
    char *const texts[] = {c->file,     c->root,      c->display,    c->state_dir,    c->node,
                           c->timezone, c->log_level, c->log_format, c->health_listen};
    json_t *const tables[] = {c->accounts, c->keys,        c->secrets, c->params,
                              c->schedule, c->instances,   c->grant,   c->net,
                              c->limits,   c->maintenance, c->values,  c->origins};
    for (size_t i = 0; i < SM_ARRAY_LEN(texts); i++)
        free(texts[i]);
    for (size_t i = 0; i < SM_ARRAY_LEN(tables); i++)
        json_decref(tables[i]);
    for (size_t i = 0; i < c->n_held; i++) {
        free(c->held[i].name);
        sm_secret_free(c->held[i].value);
        sm_secretsrc_close(c->held[i].source);
        free(c->held[i].spec);
    }
    free(c->held);
    sm_config_files_free(c->files);
    sm_secret_free(c->assoc);
    free(c);
}

static void add_grant(json_t *all, const json_t *permission) {
    for (size_t i = 0; i < json_array_size(all); i++)
        if (json_equal(json_array_get(all, i), permission))
            return;
    json_array_append_new(all, json_deep_copy(permission));
}

json_t *sm_config_grants(const sm_config *c, const char *function_id) {
    json_t *all = json_array(), *v;
    const char *pattern;
    /* What is granted to an inspection is granted to its instances. */
    char *base = sm_memdup(function_id, strcspn(function_id, "@"));
    json_object_foreach(c->grant, pattern, v) {
        if (!sm_str_glob(pattern, function_id) && !sm_str_glob(pattern, base))
            continue;
        if (json_is_string(v))
            add_grant(all, v);
        for (size_t i = 0; i < json_array_size(v); i++)
            add_grant(all, json_array_get(v, i));
    }
    free(base);
    return all;
}

json_t *sm_config_explain(const sm_config *c) {
    json_t *out = json_object(), *v;
    const char *key;
    json_object_foreach(c->values, key, v) {
        json_t *one = json_object();
        json_object_set(one, "value", v);
        json_object_set(one, "origin", json_object_get(c->origins, key));
        json_object_set_new(out, key, one);
    }
    if (!json_object_get(out, "secret"))
        json_object_set_new(out, "secret",
                            json_pack("{s:s,s:s}", "value", "***", "origin", "generated"));
    return out;
}
