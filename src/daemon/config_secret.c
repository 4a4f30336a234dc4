/* config_secret: secrets of the configuration: out of the JSON, out of files, into sm_secret.
 *
 * A secret's text is wiped where it was found and never appears in a sentence. Files that group or
 * others can read are refused with the cure (base/fsx). Also makes and reads the generated
 * association secret of the state directory. Called by config.c and config_account.c.
 */
#include "daemon/config_parts.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/str.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { GENERATED = 32 };

const char *sm_conf_env(const char *name) {
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

/* Keeps a secret under its dotted key: a value, or a source that is read again when it changes;
 * with its text; all are taken. */
static void hold(sm_conf *c, const char *name, sm_secret *value, sm_secretsrc *source, char *spec) {
    sm_config *m = c->made;
    size_t i = 0;
    while (i < m->n_held && strcmp(m->held[i].name, name) != 0)
        i++;
    if (i == m->n_held) {
        m->held = sm_realloc(m->held, (m->n_held + 1) * sizeof *m->held);
        m->held[m->n_held++] = (struct sm_config_held){.name = sm_strdup(name)};
    }
    sm_secret_free(m->held[i].value);
    sm_secretsrc_close(m->held[i].source);
    m->held[i].value = value;
    m->held[i].source = source;
    free(m->held[i].spec);
    m->held[i].spec = spec;
    if (source && sm_secretsrc_path(source))
        sm_conf_add_file(c, sm_secretsrc_path(source));
}

const sm_secret *sm_config_secret(const sm_config *c, const char *name) {
    for (size_t i = 0; i < c->n_held; i++)
        if (strcmp(c->held[i].name, name) == 0)
            return c->held[i].source ? sm_secretsrc_get(c->held[i].source) : c->held[i].value;
    return NULL;
}

/* The bytes of a secret file, relative to the configuration's directory. */
static sm_rc from_file(sm_conf *c, const char *path, sm_secret **out, sm_err *err) {
    char *data = NULL,
         *full = *path == '/' || !c->dir ? sm_strdup(path) : sm_fsx_join(c->dir, path);
    size_t n = 0;
    sm_conf_add_file(c, full);
    sm_rc rc = sm_fsx_read_secret(full, SM_CONF_SECRET_MAX, true, &data, &n, err);
    if (rc == SM_OK && n == 0)
        rc = sm_err_set(err, SM_INVALID, "%s is empty", full);
    if (rc == SM_OK)
        *out = sm_secret_new(data, n);
    if (data)
        explicit_bzero(data, n);
    free(data);
    free(full);
    return rc;
}

/* `secret "NAME"` in the configuration: {"$secret": NAME}, which points into `secrets`. */
static sm_rc from_reference(const sm_conf *c, const char *at, const char *name, sm_secretsrc **out,
                            char **spec, sm_err *err) {
    const json_t *source = json_object_get(json_object_get(c->table, "secrets"), name);
    sm_err why = SM_ERR_INIT;
    if (!source)
        return sm_conf_refuse(c, err, at, "%s: there is no secret \"%s\" in secrets", at, name);
    if (sm_secretsrc_open(source, c->dir, c->stop, out, &why) != SM_OK)
        return sm_conf_refuse(c, err, at, "%s: secret \"%s\": %s", at, name, why.msg);
    *spec = sm_json_dump(source, NULL);
    return SM_OK;
}

/* Takes the secret at obj[key] out of the JSON, as a value or as its source; both NULL without it.
 */
static sm_rc take(sm_conf *c, json_t *obj, const char *key, const char *at, sm_secret **value,
                  sm_secretsrc **source, char **spec, sm_err *err) {
    json_t *v = json_object_get(obj, key);
    *value = NULL;
    *source = NULL;
    *spec = NULL;
    if (!v || json_is_null(v))
        return SM_OK;
    sm_rc rc = SM_OK;
    const char *reference = json_object_size(v) == 1 ? sm_json_str(v, "$secret", NULL) : NULL;
    if (reference)
        rc = from_reference(c, at, reference, source, spec, err);
    else if (!json_is_string(v))
        rc = sm_conf_refuse(c, err, at, "%s: expected a text", at);
    else if (json_string_length(v) == 0)
        rc = sm_conf_refuse(c, err, at, "%s: it is empty", at);
    else
        *value = sm_secret_new(json_string_value(v), json_string_length(v));
    if (json_is_string(v)) /* jansson frees without wiping */
        explicit_bzero((void *)(uintptr_t)json_string_value(v), json_string_length(v));
    json_object_del(obj, key);
    return rc;
}

static void put_hidden(sm_conf *c, const char *name, const char *origin) {
    sm_conf_put(c, name, json_string("***"), origin);
}

sm_rc sm_conf_take_secret(sm_conf *c, json_t *obj, const char *key, const char *name, sm_err *err) {
    sm_secret *value;
    sm_secretsrc *source;
    char *spec;
    sm_rc rc = take(c, obj, key, name, &value, &source, &spec, err);
    if (!value && !source)
        return rc;
    hold(c, name, value, source, spec);
    char *origin = sm_conf_origin(c, name);
    put_hidden(c, name, origin);
    free(origin);
    return SM_OK;
}

/* From the variable, or the file that var_FILE names; *out NULL without either. */
static sm_rc from_env(sm_conf *c, const char *var, sm_secret **out, char **origin, sm_err *err) {
    char *file_var = sm_asprintf("%s_FILE", var);
    const char *v = sm_conf_env(var), *file = sm_conf_env(file_var);
    sm_rc rc = SM_OK;
    *out = NULL;
    *origin = NULL;
    if (v && file) {
        rc = sm_err_set(err, SM_INVALID, "%s and %s are both set; keep one", var, file_var);
    } else if (v) {
        *out = sm_secret_new(v, strlen(v));
        *origin = sm_asprintf("environment %s", var);
    } else if (file) {
        char *abs = sm_fsx_absolute(file);
        sm_err why = SM_ERR_INIT;
        if (from_file(c, abs, out, &why) != SM_OK)
            rc = sm_err_set(err, SM_INVALID, "%s: %s", file_var, why.msg);
        else
            *origin = sm_asprintf("environment %s", file_var);
        free(abs);
    }
    free(file_var);
    return rc;
}

sm_rc sm_conf_env_secret(sm_conf *c, const char *var, const char *name, bool *found, sm_err *err) {
    sm_secret *value;
    sm_secretsrc *source = NULL;
    char *origin;
    sm_rc rc = from_env(c, var, &value, &origin, err);
    *found = value != NULL;
    if (value) {
        char *file_var = sm_asprintf("%s_FILE", var);
        const char *file = sm_conf_env(file_var);
        /* A file is read again when it is rotated. */
        json_t *where = file ? json_pack("{s:s}", "file", file) : NULL;
        if (where)
            sm_secretsrc_open(where, NULL, c->stop, &source, NULL);
        char *spec = where ? sm_json_dump(where, NULL) : NULL;
        json_decref(where);
        free(file_var);
        hold(c, name, value, source, spec);
        put_hidden(c, name, origin);
    }
    free(origin);
    return rc;
}

/* A secret file that others can read is refused before anything uses it; one that is not there yet
 * may still come. */
static sm_rc check_files(sm_conf *c, sm_err *err) {
    const char *name;
    json_t *source;
    json_object_foreach(c->made->secrets, name, source) {
        const char *file = sm_json_str(source, "file", NULL);
        sm_secret *value = NULL;
        sm_err why = SM_ERR_INIT;
        if (!file)
            continue;
        if (from_file(c, file, &value, &why) == SM_DENIED) {
            char *at = sm_asprintf("secrets.%s", name);
            sm_conf_refuse(c, err, at, "%s: %s", at, why.msg);
            free(at);
            return SM_INVALID;
        }
        sm_secret_free(value);
    }
    return SM_OK;
}

/* Secrets that a script may use: those that are granted to some pattern. One that cannot be read
 * now is the script's to notice. */
void sm_conf_open_granted(sm_conf *c) {
    const char *pattern;
    json_t *list, *one;
    size_t i;
    json_object_foreach(c->made->grant, pattern, list) {
        json_t *all = json_is_array(list) ? json_incref(list) : json_pack("[O]", list);
        json_array_foreach(all, i, one) {
            const char *name = json_is_string(one) ? json_string_value(one) : "";
            sm_secretsrc *source = NULL;
            sm_err why = SM_ERR_INIT;
            if (strncmp(name, "secret:", 7) != 0)
                continue;
            name += 7;
            const json_t *from = json_object_get(c->made->secrets, name);
            char *key = sm_asprintf("secrets.%s", name);
            if (from && !sm_config_secret(c->made, key)) {
                if (sm_secretsrc_open(from, c->dir, c->stop, &source, &why) == SM_OK)
                    hold(c, key, NULL, source, sm_json_dump(from, NULL));
                else
                    sm_log(SM_LOG_WARN, "%s: %s; scripts do not get it", key, why.msg);
            }
            free(key);
        }
        json_decref(all);
    }
}

sm_rc sm_conf_secrets(sm_conf *c, sm_err *err) {
    sm_secret *value = NULL, *env = NULL;
    char *origin = NULL;
    json_t *file = json_object_get(c->table, "secret_file");
    sm_rc rc = check_files(c, err);
    if (rc != SM_OK)
        return rc;
    if (file && json_object_get(c->table, "secret"))
        rc = sm_conf_refuse(c, err, "secret_file", "secret and secret_file are both set; keep one");
    if (rc == SM_OK && file && !json_is_null(file)) {
        sm_err why = SM_ERR_INIT;
        if (!json_is_string(file) || json_string_length(file) == 0)
            rc = sm_conf_refuse(c, err, "secret_file", "secret_file: expected the path of a file");
        else if (from_file(c, json_string_value(file), &value, &why) != SM_OK)
            rc = sm_conf_refuse(c, err, "secret_file", "secret_file: %s", why.msg);
    } else if (rc == SM_OK) {
        sm_secretsrc *source;
        char *spec;
        rc = take(c, c->table, "secret", "secret", &value, &source, &spec, err);
        free(spec);
        if (source) { /* the association secret stays what it was at the start */
            size_t n;
            const char *bytes = sm_secret_bytes(sm_secretsrc_get(source), &n);
            value = sm_secret_new(bytes, n);
            sm_secretsrc_close(source);
        }
    }
    if (rc == SM_OK && value) {
        origin = sm_conf_origin(c, file ? "secret_file" : "secret");
        put_hidden(c, "secret", origin);
        free(origin);
        origin = NULL;
    }
    if (rc == SM_OK)
        rc = from_env(c, "SELFMON_SECRET", &env, &origin, err);
    if (env) {
        put_hidden(c, "secret", origin);
        sm_secret_free(value);
        value = env;
    }
    free(origin);
    c->made->assoc = value;
    return rc;
}

sm_rc sm_config_assoc_secret(sm_config *c, bool create, const sm_secret **out, sm_err *err) {
    *out = c->assoc;
    if (c->assoc)
        return SM_OK;
    char *path = sm_fsx_join(c->state_dir, "secret"), *data = NULL;
    size_t n = 0;
    sm_err why = SM_ERR_INIT;
    /* Its 32 bytes are random: a newline at the end is one of them. */
    sm_rc rc = sm_fsx_read_secret(path, SM_CONF_SECRET_MAX, false, &data, &n, &why);
    if (rc == SM_OK && n == 0)
        rc = sm_err_set(&why, SM_INVALID, "%s is empty; restore it, or remove it to make a new one",
                        path);
    if (rc == SM_NOT_FOUND && create) {
        unsigned char fresh[GENERATED];
        sm_rand_bytes(fresh, sizeof fresh);
        rc = sm_fsx_private_dir(c->state_dir, &why);
        if (rc == SM_OK)
            rc = sm_fsx_replace(path, fresh, sizeof fresh, 0600, &why);
        if (rc == SM_OK)
            c->assoc = sm_secret_new(fresh, sizeof fresh);
        explicit_bzero(fresh, sizeof fresh);
    } else if (rc == SM_OK) {
        c->assoc = sm_secret_new(data, n);
    } else if (rc == SM_NOT_FOUND) {
        rc = sm_err_set(&why, SM_NOT_FOUND,
                        "there is no association secret yet: set SELFMON_SECRET, or start the "
                        "runner once, which makes %s",
                        path);
    }
    if (rc != SM_OK)
        sm_err_set(err, rc, "%s", why.msg);
    if (data)
        explicit_bzero(data, n);
    free(data);
    free(path);
    *out = c->assoc;
    return rc;
}
