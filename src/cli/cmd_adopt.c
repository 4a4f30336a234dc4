/* cmd_adopt: `adopt ID REFKEY`: is there an object with that association key on the platform, and
 * which line of the configuration makes it this inspection's? It changes nothing. */
#include "cli/cli.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/online.h"
#include "platform/assoc.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { KEY_MAX = 48 }; /* the platform's column */

static sm_rc check_key(const char *key, sm_err *err) {
    size_t n = strlen(key);
    for (const char *p = key; *p; p++)
        if (*p <= 0x20 || *p > 0x7e || *p == '"' || *p == '\\')
            n = 0;
    if (n == 0 || n > KEY_MAX)
        return sm_err_set(err, SM_INVALID,
                          "adopt: expected an association key of 1 to %d characters without blanks "
                          "and quotes, as the platform's refKey shows it",
                          KEY_MAX);
    return SM_OK;
}

/* The account that the script of id names; "default" when no such inspection is loaded here.
 * SM_EXISTS: the key belongs to another inspection. Caller frees. */
static sm_rc find_account(const sm_args *a, sm_config *config, const char *id, const char *key,
                          char **account, bool *loaded, sm_err *err) {
    json_t *list = NULL, *item;
    size_t i;
    sm_rc rc = config->root ? sm_cli_list(a, config, &list, err) : SM_OK;
    *account = NULL;
    json_array_foreach(list, i, item) {
        const char *have = sm_json_str(item, "id", "");
        bool same = strcasecmp(sm_json_str(item, "ref_key", ""), key) == 0;
        if (strcmp(have, id) == 0)
            *account = sm_strdup(sm_json_str(item, "account", "default"));
        else if (same && rc == SM_OK)
            rc = sm_err_set(err, SM_EXISTS, "%s is the association key of %s already", key, have);
    }
    *loaded = *account != NULL;
    if (!*account)
        *account = sm_strdup("default");
    json_decref(list);
    return rc;
}

typedef struct question {
    bool done;
    sm_rc rc;
    sm_err err;
    json_t *items;
} question;

static void listed(void *ctx, sm_rc rc, const sm_err *err, const json_t *items) {
    question *q = ctx;
    q->done = true;
    q->rc = rc;
    if (rc == SM_OK)
        q->items = json_deep_copy(items);
    else
        sm_err_set(&q->err, rc, "%s", err->msg);
}

static sm_rc list_remote(const sm_config *config, const char *account, const char *key,
                         json_t **items, sm_err *err) {
    sm_online *online = NULL;
    question q = {.err = SM_ERR_INIT};
    sm_rc rc = sm_online_open(config, &online, err);
    const sm_target *target = rc == SM_OK ? sm_accounts_target(online->accounts, account) : NULL;
    if (rc == SM_OK && !target)
        rc = sm_err_set(err, SM_NOT_FOUND, "there is no account %s in the configuration", account);
    if (rc == SM_OK) {
        json_t *keys = json_pack("[s]", key);
        target->list(target->ctx, keys, listed, &q);
        rc = sm_online_run(online, &q.done, err);
        json_decref(keys);
    }
    sm_online_close(online);
    if (rc == SM_OK && q.rc != SM_OK)
        rc = sm_err_set(err, q.rc, "%s", q.err.msg);
    if (rc == SM_OK)
        *items = q.items;
    else
        json_decref(q.items);
    return rc;
}

/* The embedded platform is in the store, whoever holds it. */
static sm_rc list_local(const sm_config *config, const char *key, json_t **items, sm_err *err) {
    sm_client *link = NULL;
    sm_rc rc = sm_client_open(config, &link, err);
    if (rc == SM_OK)
        rc = sm_client_call(link, "local_list", json_pack("{s:[s]}", "ref_keys", key), items, err);
    sm_client_close(link);
    if (rc == SM_NOT_FOUND) {
        *items = json_array();
        rc = SM_OK;
    }
    return rc;
}

/* The oldest object with that key, as the registrar takes it; borrowed. */
static const json_t *oldest(const json_t *items, const char *key) {
    size_t i;
    json_t *item;
    const json_t *found = NULL;
    json_array_foreach(items, i, item) {
        if (strcmp(sm_json_str(item, "refKey", ""), key) == 0 &&
            (!found || sm_json_int(item, "createAt", 0) < sm_json_int(found, "createAt", 0)))
            found = item;
    }
    return found;
}

static void show(const sm_args *a, const char *id, const char *key, const char *account,
                 const char *node, const json_t *item) {
    const json_t *script = json_object_get(item, "jsonScript");
    const char *title = sm_json_str(item, "title", sm_json_str(script, "title", ""));
    const char *func = sm_json_str(json_object_get(script, "refFuncInfo"), "funcId", "");
    int64_t status = sm_json_int(item, "status", 0);
    char *line = sm_asprintf("keys = { [\"%s\"] = \"%s\" }", id, key);
    if (a->json) {
        json_t *out =
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s}", "id", id, "ref_key", key,
                      "account", account, "node", node, "uuid", sm_json_str(item, "uuid", ""),
                      "title", title, "funcId", func, "enabled", status == 0, "line", line);
        sm_cli_json(out);
        json_decref(out);
    } else {
        char *shown = sm_cli_text(title, 300), *function = sm_cli_text(func, 300);
        printf("on %s: %s (%s), %s\nput this into selfmon.conf.lua:\n  %s\n", node, shown, function,
               status == 0 ? "enabled" : "disabled", line);
        free(function);
        free(shown);
    }
    free(line);
}

/* Looks the key up and shows it. SM_NOT_FOUND when the platform does not have it. */
static sm_rc look(const sm_args *a, sm_config *config, const char *id, const char *key,
                  sm_err *err) {
    char *account = NULL;
    bool loaded = false;
    json_t *items = NULL;
    sm_rc rc = find_account(a, config, id, key, &account, &loaded, err);
    char *name = sm_online_node(config, account);
    if (rc == SM_OK && strcmp(name, "local") == 0)
        rc = list_local(config, key, &items, err);
    else if (rc == SM_OK)
        rc = list_remote(config, account, key, &items, err);
    const json_t *item = rc == SM_OK ? oldest(items, key) : NULL;
    if (rc == SM_OK && !item)
        rc = sm_err_set(err, SM_NOT_FOUND,
                        "no inspection with the association key %s on node %s (account %s)", key,
                        name, account);
    if (rc == SM_OK && !loaded && !a->quiet)
        fprintf(stderr, "selfmon-lua: there is no inspection %s here yet\n", id);
    if (rc == SM_OK)
        show(a, id, key, account, name, item);
    json_decref(items);
    free(name);
    free(account);
    return rc;
}

int sm_cmd_adopt(const sm_args *a) {
    sm_config *config = NULL;
    sm_err err = SM_ERR_INIT;
    if (a->n_rest != 2)
        return sm_cli_fail(SM_EXIT_USAGE, "adopt: expected a function id and an association key, "
                                          "as in `selfmon-lua adopt demo/ssl.run a0cd79a7bfb9…`");
    if (sm_assoc_check_id(a->rest[0], &err) != SM_OK || check_key(a->rest[1], &err) != SM_OK)
        return sm_cli_fail(SM_EXIT_USAGE, err.msg);
    if (sm_cli_load(a, false, &config, &err) != SM_OK)
        return sm_cli_fail(SM_EXIT_CONFIG, err.msg);
    int code = SM_EXIT_OK;
    if (look(a, config, a->rest[0], a->rest[1], &err) != SM_OK)
        code = sm_cli_fail(SM_EXIT_FAIL, err.msg);
    sm_config_free(config);
    return code;
}
