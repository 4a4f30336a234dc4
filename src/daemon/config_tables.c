/* config_tables: the parts of the configuration that are tables by function id, pattern or name:
 * params, schedule, instances, grant, keys, secrets, net, maintenance.
 *
 * Only their shape is judged here: whether an inspection of that id exists, whether a schedule or
 * a parameter fits it, is known when scripts are loaded. Called by config.c.
 */
#include "daemon/config_parts.h"
#include "base/mem.h"
#include "base/str.h"
#include "platform/assoc.h"
#include "schedule/cron.h"
#include "schedule/tz.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { KEY_MAX = 48 };

typedef sm_rc check_entry(sm_conf *c, const char *dotted, const char *name, const json_t *v,
                          sm_err *err);

/* Reads the table `key`, checks every entry, and gives it (or {}) as a new reference. */
static sm_rc read_table(sm_conf *c, const char *key, check_entry *check, json_t **out,
                        sm_err *err) {
    const json_t *obj;
    const char *name;
    json_t *v;
    sm_rc rc = sm_conf_object(c, key, json_object_get(c->table, key), &obj, err);
    json_object_foreach((json_t *)(uintptr_t)obj, name, v) {
        char *dotted = sm_asprintf("%s.%s", key, name);
        rc = check(c, dotted, name, v, err);
        free(dotted);
        if (rc != SM_OK)
            return rc;
    }
    if (rc != SM_OK)
        return rc;
    *out = obj ? json_deep_copy(obj) : json_object();
    if (obj) {
        char *origin = sm_conf_origin(c, key);
        sm_conf_put(c, key, json_incref(*out), origin);
        free(origin);
    }
    return SM_OK;
}

static sm_rc check_id(sm_conf *c, const char *dotted, const char *id, sm_err *err) {
    sm_err why = SM_ERR_INIT;
    if (sm_assoc_check_id(id, &why) == SM_OK)
        return SM_OK;
    return sm_conf_refuse(c, err, dotted, "%.*s: %s", (int)strcspn(dotted, "."), dotted, why.msg);
}

/* Does v hold what `secret "name"` gives? (The parser bounds the depth.) */
static bool holds_secret(const json_t *v) {
    const char *key;
    json_t *member;
    if (json_object_get(v, "$secret"))
        return true;
    for (size_t i = 0; i < json_array_size(v); i++)
        if (holds_secret(json_array_get(v, i)))
            return true;
    json_object_foreach((json_t *)(uintptr_t)v, key, member) {
        if (holds_secret(member))
            return true;
    }
    return false;
}

/* Values for a script: shown, stored and registered, so no place for secrets. */
static sm_rc check_values(const sm_conf *c, const char *dotted, const json_t *v, sm_err *err) {
    const json_t *obj;
    sm_rc rc = sm_conf_object(c, dotted, v, &obj, err);
    if (rc == SM_OK && holds_secret(obj))
        rc = sm_conf_refuse(c, err, dotted,
                            "%s: a parameter is no place for a secret; grant \"secret:name\" and "
                            "use selfmon.secret in the script",
                            dotted);
    return rc;
}

static sm_rc check_params(sm_conf *c, const char *dotted, const char *id, const json_t *v,
                          sm_err *err) {
    sm_rc rc = check_id(c, dotted, id, err);
    return rc == SM_OK ? check_values(c, dotted, v, err) : rc;
}

static sm_rc check_expression(sm_conf *c, const char *dotted, const char *id, const json_t *v,
                              sm_err *err) {
    sm_cron *cron = NULL;
    sm_err why = SM_ERR_INIT;
    if (!json_is_string(v))
        return sm_conf_expected(c, err, dotted, "a schedule or a list of schedules", v);
    if (sm_cron_parse(json_string_value(v), id, false, &cron, &why) != SM_OK)
        return sm_conf_refuse(c, err, dotted, "%s: %s", dotted, why.msg);
    sm_cron_free(cron);
    return SM_OK;
}

static sm_rc check_when(sm_conf *c, const char *dotted, const char *id, const json_t *v,
                        sm_err *err) {
    if (!json_is_array(v))
        return check_expression(c, dotted, id, v, err);
    sm_rc rc = SM_OK;
    for (size_t i = 0; rc == SM_OK && i < json_array_size(v); i++)
        rc = check_expression(c, dotted, id, json_array_get(v, i), err);
    return rc;
}

static sm_rc check_schedule(sm_conf *c, const char *dotted, const char *id, const json_t *v,
                            sm_err *err) {
    sm_rc rc = check_id(c, dotted, id, err);
    return rc == SM_OK ? check_when(c, dotted, id, v, err) : rc;
}

static sm_rc check_instance(sm_conf *c, const char *at, const char *id, const char *name,
                            const json_t *v, sm_err *err) {
    static const char *const names[] = {"account", "schedule", "params"};
    const json_t *obj;
    if (!sm_str_is_id_part(name, strlen(name)))
        return sm_conf_refuse(c, err, at,
                              "%s: the name of an instance is letters, digits, \"_\", \"-\" and "
                              "\".\"",
                              at);
    sm_rc rc = sm_conf_object(c, at, v, &obj, err);
    if (rc != SM_OK || !obj)
        return rc;
    if ((rc = sm_conf_known(c, at, obj, names, SM_ARRAY_LEN(names), err)) != SM_OK)
        return rc;
    const json_t *account = json_object_get(obj, "account");
    const json_t *when = json_object_get(obj, "schedule");
    const json_t *accounts = json_object_get(c->table, "accounts");
    char *key = sm_asprintf("%s.account", at);
    const char *who = json_string_value(account);
    if (account && !who)
        rc = sm_conf_expected(c, err, key, "the name of an account", account);
    else if (who && strcmp(who, "default") != 0 && !json_object_get(accounts, who))
        rc = sm_conf_refuse(c, err, key, "%s: there is no account \"%s\" in accounts", key, who);
    free(key);
    key = sm_asprintf("%s.schedule", at);
    if (rc == SM_OK && when)
        rc = check_when(c, key, id, when, err);
    free(key);
    key = sm_asprintf("%s.params", at);
    if (rc == SM_OK)
        rc = check_values(c, key, json_object_get(obj, "params"), err);
    free(key);
    return rc;
}

static sm_rc check_instances(sm_conf *c, const char *dotted, const char *id, const json_t *v,
                             sm_err *err) {
    const json_t *obj;
    const char *name;
    json_t *one;
    sm_rc rc = check_id(c, dotted, id, err);
    if (rc == SM_OK && strchr(id, '@'))
        rc = sm_conf_refuse(c, err, dotted,
                            "instances: \"%s\" is an instance already; expected "
                            "the function id before the @",
                            id);
    if (rc == SM_OK)
        rc = sm_conf_object(c, dotted, v, &obj, err);
    if (rc != SM_OK || !obj)
        return rc;
    json_object_foreach((json_t *)(uintptr_t)obj, name, one) {
        char *at = sm_asprintf("%s.%s", dotted, name);
        rc = check_instance(c, at, id, name, one, err);
        free(at);
        if (rc != SM_OK)
            return rc;
    }
    return SM_OK;
}

static sm_rc check_permission(sm_conf *c, const char *dotted, const json_t *v, sm_err *err) {
    static const char *const kinds[] = {"file:", "exec:", "secret:", "processes:"};
    const char *s = json_string_value(v);
    for (size_t i = 0; s && i < SM_ARRAY_LEN(kinds); i++)
        if (sm_str_starts(s, kinds[i]) && s[strlen(kinds[i])] != '\0')
            return SM_OK;
    return sm_conf_expected(
        c, err, dotted, "permissions such as \"secret:name\", \"exec:/path\" or \"file:/path/**\"",
        v);
}

static sm_rc check_grant(sm_conf *c, const char *dotted, const char *pattern, const json_t *v,
                         sm_err *err) {
    if (!*pattern)
        return sm_conf_refuse(c, err, dotted, "grant: expected a pattern such as host/*, got \"\"");
    if (!json_is_array(v))
        return check_permission(c, dotted, v, err);
    sm_rc rc = SM_OK;
    for (size_t i = 0; rc == SM_OK && i < json_array_size(v); i++)
        rc = check_permission(c, dotted, json_array_get(v, i), err);
    return rc;
}

static sm_rc check_key(sm_conf *c, const char *dotted, const char *id, const json_t *v,
                       sm_err *err) {
    sm_rc rc = check_id(c, dotted, id, err);
    if (rc != SM_OK)
        return rc;
    const char *s = json_string_value(v), *other;
    size_t n = s ? strlen(s) : 0;
    for (size_t i = 0; i < n; i++)
        if (s[i] <= 0x20 || s[i] > 0x7e)
            n = 0;
    if (n == 0 || n > KEY_MAX || n != json_string_length(v))
        return sm_conf_expected(c, err, dotted,
                                "an association key of 1 to 48 characters without blanks", v);
    json_t *peer;
    json_object_foreach(json_object_get(c->table, "keys"), other, peer) {
        /* The platform's column ignores case (platform-facts 2.8). */
        if (strcmp(other, id) != 0 && json_is_string(peer) &&
            strcasecmp(json_string_value(peer), s) == 0)
            return sm_conf_refuse(c, err, dotted, "keys: %s and %s have one association key, %s",
                                  strcmp(id, other) < 0 ? id : other,
                                  strcmp(id, other) < 0 ? other : id, s);
    }
    return SM_OK;
}

static sm_rc check_secret(sm_conf *c, const char *dotted, const char *name, const json_t *v,
                          sm_err *err) {
    static const char *const sources[] = {"file", "env", "credential", "command"};
    const json_t *obj;
    if (!sm_str_is_id_part(name, strlen(name)))
        return sm_conf_refuse(c, err, dotted,
                              "%s: the name of a secret is letters, digits, \"_\", \"-\" and \".\"",
                              dotted);
    if (!json_is_object(v)) /* not shown: it may be the secret itself */
        return sm_conf_refuse(c, err, dotted,
                              "%s: expected {file=…}, {env=…}, {credential=…} or {command={…}}",
                              dotted);
    sm_rc rc = sm_conf_object(c, dotted, v, &obj, err);
    if (rc == SM_OK)
        rc = sm_conf_known(c, dotted, obj, sources, SM_ARRAY_LEN(sources), err);
    if (rc != SM_OK)
        return rc;
    if (json_object_size(obj) != 1)
        return sm_conf_refuse(c, err, dotted,
                              "%s: expected exactly one of file, env, credential, command", dotted);
    const json_t *command = json_object_get(obj, "command");
    bool ok = command ? json_is_array(command) && json_array_size(command) > 0 : true;
    for (size_t i = 0; i < json_array_size(command); i++)
        ok = ok && json_is_string(json_array_get(command, i));
    if (!ok)
        return sm_conf_refuse(c, err, dotted, "%s.command: expected a list of texts", dotted);
    for (size_t i = 0; i < 3; i++) {
        const json_t *source = json_object_get(obj, sources[i]);
        if (source && (!json_is_string(source) || json_string_length(source) == 0))
            return sm_conf_refuse(c, err, dotted, "%s.%s: expected a text", dotted, sources[i]);
    }
    return SM_OK;
}

static sm_rc check_texts(sm_conf *c, const char *key, const json_t *v, sm_err *err) {
    if (!v || (json_is_object(v) && json_object_size(v) == 0))
        return SM_OK;
    if (!json_is_array(v))
        return sm_conf_expected(c, err, key, "a list of texts", v);
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!json_is_string(json_array_get(v, i)) || json_string_length(json_array_get(v, i)) == 0)
            return sm_conf_expected(c, err, key, "hosts, host:port or address ranges",
                                    json_array_get(v, i));
    return SM_OK;
}

/* What the entries mean is judged where they are used (worker/netpolicy). */
static sm_rc read_net(sm_conf *c, sm_err *err) {
    static const char *const names[] = {"allow", "deny", "public"};
    const json_t *v = json_object_get(c->table, "net"), *obj;
    if (!v || json_is_null(v))
        return SM_OK;
    bool word = json_is_string(v) && strcmp(json_string_value(v), "public") == 0;
    if (json_is_string(v) && !word)
        return sm_conf_expected(c, err, "net", "\"public\" or {allow={…}, deny={…}}", v);
    sm_rc rc = word ? SM_OK : sm_conf_object(c, "net", v, &obj, err);
    if (rc == SM_OK && !word && obj) {
        const json_t *public = json_object_get(obj, "public");
        rc = sm_conf_known(c, "net", obj, names, SM_ARRAY_LEN(names), err);
        if (rc == SM_OK)
            rc = check_texts(c, "net.allow", json_object_get(obj, "allow"), err);
        if (rc == SM_OK)
            rc = check_texts(c, "net.deny", json_object_get(obj, "deny"), err);
        if (rc == SM_OK && public && !json_is_boolean(public))
            rc = sm_conf_expected(c, err, "net.public", "true or false", public);
    }
    if (rc != SM_OK || (!word && !obj))
        return rc;
    char *origin = sm_conf_origin(c, "net");
    c->made->net = json_deep_copy(v);
    sm_conf_put(c, "net", json_incref(c->made->net), origin);
    free(origin);
    return SM_OK;
}

static sm_rc check_window(sm_conf *c, const char *at, const json_t *v, sm_err *err) {
    static const char *const names[] = {"match", "cron", "duration", "timezone", "reason"};
    double seconds;
    const json_t *obj;
    sm_rc rc = sm_conf_object(c, at, v, &obj, err);
    if (rc == SM_OK && !obj)
        rc = sm_conf_expected(c, err, at, "{match=…, cron=…, duration=…}", v);
    if (rc == SM_OK)
        rc = sm_conf_known(c, at, obj, names, SM_ARRAY_LEN(names), err);
    for (size_t i = 0; rc == SM_OK && i < SM_ARRAY_LEN(names); i++) {
        const json_t *field = json_object_get(obj, names[i]);
        if (i == 2 && !(sm_conf_seconds(field, &seconds) && seconds > 0))
            rc = sm_conf_refuse(c, err, at, "%s.duration: expected a duration such as 2h", at);
        else if (i != 2 && (field || i < 2) && !json_is_string(field))
            rc = sm_conf_refuse(c, err, at, "%s.%s: expected a text", at, names[i]);
    }
    if (rc == SM_OK)
        rc = check_when(c, at, NULL, json_object_get(obj, "cron"), err);
    return rc;
}

static sm_rc read_maintenance(sm_conf *c, sm_err *err) {
    const json_t *v = json_object_get(c->table, "maintenance");
    c->made->maintenance = json_array();
    if (!v || json_is_null(v) || (json_is_object(v) && json_object_size(v) == 0))
        return SM_OK;
    if (!json_is_array(v))
        return sm_conf_expected(c, err, "maintenance", "a list of windows", v);
    for (size_t i = 0; i < json_array_size(v); i++) {
        char *at = sm_asprintf("maintenance.%zu", i + 1);
        sm_rc rc = check_window(c, at, json_array_get(v, i), err);
        free(at);
        if (rc != SM_OK)
            return rc;
        json_array_append_new(c->made->maintenance, json_deep_copy(json_array_get(v, i)));
    }
    char *origin = sm_conf_origin(c, "maintenance");
    sm_conf_put(c, "maintenance", json_incref(c->made->maintenance), origin);
    free(origin);
    return SM_OK;
}

static sm_rc check_timezone(sm_conf *c, sm_err *err) {
    sm_tz *tz = NULL;
    sm_err why = SM_ERR_INIT;
    const char *name = sm_json_str(c->made->values, "timezone", "UTC");
    if (sm_tz_load(NULL, name, &tz, &why) != SM_OK)
        return sm_conf_refuse(c, err, "timezone", "timezone: %s", why.msg);
    sm_tz_free(tz);
    return SM_OK;
}

sm_rc sm_conf_tables(sm_conf *c, sm_err *err) {
    sm_config *m = c->made;
    sm_rc rc = check_timezone(c, err);
    if (rc == SM_OK)
        rc = read_table(c, "params", check_params, &m->params, err);
    if (rc == SM_OK)
        rc = read_table(c, "schedule", check_schedule, &m->schedule, err);
    if (rc == SM_OK)
        rc = read_table(c, "instances", check_instances, &m->instances, err);
    if (rc == SM_OK)
        rc = read_table(c, "grant", check_grant, &m->grant, err);
    if (rc == SM_OK)
        rc = read_table(c, "keys", check_key, &m->keys, err);
    if (rc == SM_OK)
        rc = read_table(c, "secrets", check_secret, &m->secrets, err);
    if (rc == SM_OK)
        rc = read_net(c, err);
    if (rc == SM_OK)
        rc = read_maintenance(c, err);
    return rc;
}
