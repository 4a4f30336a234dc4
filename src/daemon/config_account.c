/* config_account: the accounts: which node each talks to, with which keys.
 *
 * The environment and --node set single fields of accounts.default; its other fields stay as the
 * file says. Keys go into sm_secret at once. Called by config.c.
 */
#include "daemon/config_parts.h"
#include "base/mem.h"
#include "base/str.h"
#include "platform/node.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const fields[] = {"node",       "api_key_id", "api_key", "report_via", "datakit",
                                     "access_key", "secret_key", "dway",    "ca",         "proxy",
                                     "timeout",    "insecure",   "rate"};
static const char *const secret_fields[] = {"api_key_id", "api_key", "secret_key"};

/* "http://" is for the loopback only, unless the account says insecure. NULL, or what is wrong. */
static const char *url_fault(const char *url, bool insecure) {
    bool plain = sm_str_starts(url, "http://");
    if (!plain && !sm_str_starts(url, "https://"))
        return "expected an address that begins with https://";
    const char *host = url + (plain ? 7 : 8);
    size_t n = strcspn(host, "/:?#");
    if (*host == '[')
        n = strcspn(host, "]") + 1;
    for (const char *p = url; *p; p++)
        if ((unsigned char)*p <= 0x20 || *p == 0x7f || *p == '@')
            return "blanks and \"@\" have no place in the address";
    if (n == 0 || strpbrk(url, "?#"))
        return "expected an address with a host and without \"?\" and \"#\"";
    bool loopback = (n == 9 && strncasecmp(host, "localhost", 9) == 0) ||
                    strncmp(host, "127.", 4) == 0 || strncmp(host, "[::1]", 5) == 0;
    if (plain && !loopback && !insecure)
        return "http:// is only for this machine; use https://, or set insecure = true "
               "(SELFMON_INSECURE_HTTP=1)";
    return NULL;
}

static json_t *without_slashes(const char *url) {
    size_t n = strlen(url);
    while (n > 0 && url[n - 1] == '/')
        n--;
    return json_stringn(url, n);
}

static bool is_node_name(const char *s) {
    size_t n = s ? strlen(s) : 0;
    return n > 0 && n <= 64 && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789/_-") == n;
}

/* Where a sentence points: a place in the file, or a variable. */
static sm_rc refuse(const sm_conf *c, const char *var, const char *at, const char *what,
                    sm_err *err) {
    if (var)
        return sm_err_set(err, SM_INVALID, "%s: %s", var, what);
    return sm_conf_refuse(c, err, at, "%s: %s", at, what);
}

static sm_rc check_pair(const sm_conf *c, const char *at, const json_t *pair, bool insecure,
                        const char *const vars[2], json_t **out, sm_err *err) {
    static const char *const names[] = {"openapi", "openway"};
    json_t *made = json_object();
    for (int i = 0; i < 2; i++) {
        const char *url = sm_json_str(pair, names[i], NULL), *fault = NULL;
        char *key = sm_asprintf("%s.%s", at, names[i]);
        if (!url)
            fault = "a private deployment needs both openapi and openway";
        else
            fault = url_fault(url, insecure);
        if (fault)
            refuse(c, vars ? vars[i] : NULL, key, fault, err);
        else
            json_object_set_new(made, names[i], without_slashes(url));
        free(key);
        if (fault) {
            json_decref(made);
            return SM_INVALID;
        }
    }
    *out = made;
    return SM_OK;
}

/* The account's node as the file has it; NULL when it says nothing. */
static sm_rc read_node(const sm_conf *c, const char *at, const json_t *v, bool insecure,
                       json_t **out, sm_err *err) {
    static const char *const names[] = {"openapi", "openway"};
    *out = NULL;
    if (!v || json_is_null(v))
        return SM_OK;
    if (json_is_object(v)) {
        sm_rc rc = sm_conf_known(c, at, v, names, 2, err);
        return rc == SM_OK ? check_pair(c, at, v, insecure, NULL, out, err) : rc;
    }
    if (!is_node_name(json_string_value(v)))
        return sm_conf_expected(
            c, err, at, "a node such as truewatch/us1, local or {openapi=URL, openway=URL}", v);
    *out = json_deep_copy(v);
    return SM_OK;
}

static sm_rc check_word(const sm_conf *c, const char *at, const json_t *v, const char *what,
                        const char *const *words, size_t n, sm_err *err) {
    for (size_t i = 0; i < n; i++)
        if (json_is_string(v) && strcmp(json_string_value(v), words[i]) == 0)
            return SM_OK;
    return sm_conf_expected(c, err, at, what, v);
}

static sm_rc check_rate(const sm_conf *c, const char *at, const json_t *v, sm_err *err) {
    static const char *const names[] = {"key", "workspace"};
    const json_t *obj;
    sm_rc rc = sm_conf_object(c, at, v, &obj, err);
    if (rc == SM_OK && obj)
        rc = sm_conf_known(c, at, obj, names, 2, err);
    for (int i = 0; rc == SM_OK && obj && i < 2; i++) {
        const json_t *n = json_object_get(obj, names[i]);
        char *key = sm_asprintf("%s.%s", at, names[i]);
        if (n &&
            (!json_is_integer(n) || json_integer_value(n) < 1 || json_integer_value(n) > 100000))
            rc = sm_conf_expected(c, err, key, "a whole number of calls a minute", n);
        free(key);
    }
    return rc;
}

static sm_rc check_field(const sm_conf *c, const char *at, const char *name, const json_t *v,
                         bool insecure, sm_err *err) {
    static const char *const roads[] = {"openway", "report_event", "datakit"};
    static const char *const modes[] = {"full", "empty"};
    double seconds;
    if (strcmp(name, "report_via") == 0)
        return check_word(c, at, v, "one of openway, report_event, datakit", roads, 3, err);
    if (strcmp(name, "dway") == 0)
        return check_word(c, at, v, "\"full\" or \"empty\"", modes, 2, err);
    if (strcmp(name, "timeout") == 0)
        return sm_conf_seconds(v, &seconds) && seconds >= 1 && seconds <= 300
                   ? SM_OK
                   : sm_conf_expected(c, err, at, "a duration from 1s to 5m", v);
    if (strcmp(name, "insecure") == 0)
        return json_is_boolean(v) ? SM_OK : sm_conf_expected(c, err, at, "true or false", v);
    if (strcmp(name, "rate") == 0)
        return check_rate(c, at, v, err);
    if (!json_is_string(v) || json_string_length(v) == 0)
        return sm_conf_expected(c, err, at, "a text", v);
    if (strcmp(name, "datakit") == 0) {
        const char *fault = url_fault(json_string_value(v), insecure);
        return fault ? refuse(c, NULL, at, fault, err) : SM_OK;
    }
    return SM_OK;
}

/* Reads one account of the file; *out is a new object without secrets, with `node` only if given.
 */
static sm_rc read_account(sm_conf *c, const char *name, json_t *v, json_t **out, sm_err *err) {
    char *at = sm_asprintf("accounts.%s", name), *key = NULL;
    json_t *made = json_object(), *node = NULL, *field;
    const char *field_name;
    const json_t *obj;
    sm_rc rc = SM_OK;
    if (!sm_str_is_id_part(name, strlen(name)))
        rc = sm_conf_refuse(c, err, at,
                            "%s: the name of an account is letters, digits, \"_\", "
                            "\"-\" and \".\"",
                            at);
    if (rc == SM_OK)
        rc = sm_conf_object(c, at, v, &obj, err);
    if (rc == SM_OK && obj)
        rc = sm_conf_known(c, at, obj, fields, SM_ARRAY_LEN(fields), err);
    for (size_t i = 0; rc == SM_OK && obj && i < SM_ARRAY_LEN(secret_fields); i++) {
        key = sm_asprintf("%s.%s", at, secret_fields[i]);
        rc = sm_conf_take_secret(c, v, secret_fields[i], key, err);
        free(key);
    }
    const char *env = strcmp(name, "default") == 0 ? sm_conf_env("SELFMON_INSECURE_HTTP") : NULL;
    bool insecure = env ? strcmp(env, "1") == 0 : sm_json_bool(v, "insecure", false);
    json_object_foreach(rc == SM_OK && obj ? v : NULL, field_name, field) {
        if (json_is_null(field))
            continue;
        key = sm_asprintf("%s.%s", at, field_name);
        if (strcmp(field_name, "node") == 0)
            rc = read_node(c, key, field, insecure, &node, err);
        else
            rc = check_field(c, key, field_name, field, insecure, err);
        if (rc == SM_OK) {
            json_t *value = node && strcmp(field_name, "node") == 0 ? node : json_deep_copy(field);
            char *origin = sm_conf_origin(c, key);
            json_object_set(made, field_name, value);
            sm_conf_put(c, key, value, origin);
            free(origin);
        }
        free(key);
        if (rc != SM_OK)
            break;
    }
    free(at);
    if (rc != SM_OK)
        json_decref(made);
    else
        *out = made;
    return rc;
}

static void set_field(sm_conf *c, json_t *account, const char *field, json_t *value /* taken */,
                      const char *origin) {
    char *key = sm_asprintf("accounts.default.%s", field);
    json_object_set(account, field, value);
    sm_conf_put(c, key, value, origin);
    free(key);
}

/* SELFMON_NODE, or the pair of addresses. */
static sm_rc node_of_env(sm_conf *c, json_t *account, sm_err *err) {
    static const char *const vars[2] = {"SELFMON_OPENAPI_URL", "SELFMON_OPENWAY_URL"};
    const char *node = sm_conf_env("SELFMON_NODE");
    const char *openapi = sm_conf_env(vars[0]), *openway = sm_conf_env(vars[1]);
    if ((openapi != NULL) != (openway != NULL))
        return sm_err_set(err, SM_INVALID,
                          "%s is set but %s is not; a private deployment needs both",
                          openapi ? vars[0] : vars[1], openapi ? vars[1] : vars[0]);
    if (node && openapi)
        return sm_err_set(err, SM_INVALID, "SELFMON_NODE and %s are both set; keep one", vars[0]);
    if (node && !is_node_name(node)) {
        char *shown = sm_str_printable(node, strlen(node), 60);
        sm_err_set(err, SM_INVALID,
                   "SELFMON_NODE: expected a node such as truewatch/us1 or local, got \"%s\"",
                   shown);
        free(shown);
        return SM_INVALID;
    }
    if (node)
        set_field(c, account, "node", json_string(node), "environment SELFMON_NODE");
    if (!openapi)
        return SM_OK;
    json_t *pair = json_pack("{s:s,s:s}", "openapi", openapi, "openway", openway), *made = NULL;
    if (!pair)
        return sm_err_set(err, SM_INVALID, "%s: expected UTF-8", vars[0]);
    sm_rc rc = check_pair(c, "accounts.default.node", pair,
                          sm_json_bool(account, "insecure", false), vars, &made, err);
    if (made)
        set_field(c, account, "node", made, "environment SELFMON_OPENAPI_URL, SELFMON_OPENWAY_URL");
    json_decref(pair);
    return rc;
}

static sm_rc apply_environment(sm_conf *c, json_t *account, sm_err *err) {
    static const struct {
        const char *var, *name;
    } keys[] = {{"SELFMON_API_KEY_ID", "accounts.default.api_key_id"},
                {"SELFMON_API_KEY", "accounts.default.api_key"}};
    const char *insecure = sm_conf_env("SELFMON_INSECURE_HTTP");
    sm_rc rc = SM_OK;
    if (insecure && strcmp(insecure, "1") != 0 && strcmp(insecure, "0") != 0)
        return sm_err_set(err, SM_INVALID, "SELFMON_INSECURE_HTTP: expected 1 or 0");
    if (insecure)
        set_field(c, account, "insecure", json_boolean(*insecure == '1'),
                  "environment SELFMON_INSECURE_HTTP");
    for (size_t i = 0; rc == SM_OK && i < SM_ARRAY_LEN(keys); i++) {
        bool found;
        rc = sm_conf_env_secret(c, keys[i].var, keys[i].name, &found, err);
    }
    if (rc == SM_OK)
        rc = node_of_env(c, account, err);
    if (rc == SM_OK && c->flags->node) {
        if (!is_node_name(c->flags->node))
            return sm_err_set(err, SM_INVALID,
                              "--node: expected a node such as truewatch/us1 or local");
        set_field(c, account, "node", json_string(c->flags->node), "flag --node");
    }
    return rc;
}

/* Points to where the node was given: a place in the file, a variable, a flag, or nowhere. */
static sm_rc refuse_node(const sm_conf *c, const char *key, const char *sentence, sm_err *err) {
    const char *origin = sm_json_str(c->made->origins, key, "default");
    if (sm_str_starts(origin, "environment "))
        return sm_err_set(err, SM_INVALID, "%s: %s", origin + strlen("environment "), sentence);
    if (sm_str_starts(origin, "flag "))
        return sm_err_set(err, SM_INVALID, "%s: %s", origin + strlen("flag "), sentence);
    if (strcmp(origin, "default") == 0)
        return sm_err_set(err, SM_INVALID, "%s: %s", key, sentence);
    return sm_conf_refuse(c, err, key, "%s: %s", key, sentence);
}

/* A node by name must be one of the table. */
static sm_rc check_name(const sm_conf *c, const char *key, const json_t *node, sm_err *err) {
    sm_node found = {0};
    sm_err why = SM_ERR_INIT;
    if (!json_is_string(node) || strcmp(json_string_value(node), "local") == 0)
        return SM_OK;
    if (sm_node_find(json_string_value(node), &found, &why) != SM_OK)
        return refuse_node(c, key, why.msg, err);
    sm_node_fini(&found);
    return SM_OK;
}

/* No key and no node: the embedded platform; a key and no node: the original's default. A node
 * other than the embedded one needs a key. */
static sm_rc complete(sm_conf *c, const char *name, json_t *account, sm_err *err) {
    char *node = sm_asprintf("accounts.%s.node", name);
    char *id = sm_asprintf("accounts.%s.api_key_id", name);
    char *key = sm_asprintf("accounts.%s.api_key", name);
    bool has_id = sm_config_secret(c->made, id) != NULL;
    bool has_key = sm_config_secret(c->made, key) != NULL, keyed = has_id || has_key;
    if (!json_object_get(account, "node")) {
        json_t *v = json_string(keyed ? "default" : "local");
        json_object_set(account, "node", v);
        sm_conf_put(c, node, v, "default");
    }
    sm_rc rc = check_name(c, node, json_object_get(account, "node"), err);
    bool remote = strcmp(sm_json_str(account, "node", ""), "local") != 0;
    if (remote)
        c->made->local = false;
    if (rc == SM_OK && remote && !(has_id && has_key)) {
        bool first = strcmp(name, "default") == 0;
        sm_err_set(
            err, SM_INVALID, "a node other than local needs both api_key_id and api_key%s%s%s",
            first ? " (SELFMON_API_KEY_ID and SELFMON_API_KEY)" : "", keyed ? "; missing is " : "",
            !keyed   ? ""
            : has_id ? "api_key"
                     : "api_key_id");
        char *sentence = sm_strdup(err ? err->msg : "");
        rc = refuse_node(c, node, sentence, err);
        free(sentence);
    }
    free(key);
    free(id);
    free(node);
    return rc;
}

sm_rc sm_conf_accounts(sm_conf *c, sm_err *err) {
    json_t *v, *accounts = json_object();
    const json_t *obj;
    const char *name;
    sm_config *m = c->made;
    m->accounts = accounts;
    m->local = true;
    sm_rc rc = sm_conf_object(c, "accounts", json_object_get(c->table, "accounts"), &obj, err);
    json_object_foreach((json_t *)(uintptr_t)obj, name, v) {
        json_t *account = NULL;
        rc = read_account(c, name, v, &account, err);
        if (rc != SM_OK)
            return rc;
        json_object_set_new(accounts, name, account);
    }
    if (!json_object_get(accounts, "default"))
        json_object_set_new(accounts, "default", json_object());
    if (rc == SM_OK)
        rc = apply_environment(c, json_object_get(accounts, "default"), err);
    if (rc != SM_OK)
        return rc;
    json_object_foreach(accounts, name, v) {
        rc = complete(c, name, v, err);
        if (rc != SM_OK)
            return rc;
    }
    const json_t *node = json_object_get(json_object_get(accounts, "default"), "node");
    m->node = sm_strdup(json_is_string(node) ? json_string_value(node)
                                             : sm_json_str(node, "openapi", "private"));
    return SM_OK;
}
