/* accounts: see accounts.h. It turns configuration into targets and knows nothing of what they do.
 *
 * The proxy is the account's own, else HTTPS_PROXY unless NO_PROXY names the platform's host; it is
 * for the platform only, never for scripts.
 */
#include "daemon/accounts.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/local.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct account {
    sm_config *config; /* referenced */
    char *name;
    json_t *given; /* its node as the configuration or the script has it, or NULL */
    bool insecure;
    sm_local *local; /* one of these two */
    sm_remote *remote;
    sm_target target; /* its operations, under this account's name */
    sm_node node;
    char *proxy;
    sm_secret *script_id, *script_key; /* keys that came with a script */
} account;

struct sm_accounts {
    uv_loop_t *loop;
    sm_http *http;
    sm_store *store;
    sm_config *config; /* referenced */
    account **list;
    size_t n;
    account **left; /* out of the list, until nothing of theirs is under way */
    size_t n_left;
};

static const sm_secret *configured(const account *a, const char *field) {
    char *name = sm_asprintf("accounts.%s.%s", a->name, field);
    const sm_secret *found = sm_config_secret(a->config, name);
    free(name);
    return found;
}

static const sm_secret *key_id(void *ctx) {
    const account *a = ctx;
    return a->script_id ? a->script_id : configured(a, "api_key_id");
}

static const sm_secret *key(void *ctx) {
    const account *a = ctx;
    return a->script_key ? a->script_key : configured(a, "api_key");
}

static const sm_secret *secret_key(void *ctx) {
    return configured(ctx, "secret_key");
}

static void account_free(account *a) {
    sm_local_free(a->local);
    sm_remote_free(a->remote);
    sm_node_fini(&a->node);
    json_decref(a->given);
    sm_config_free(a->config);
    sm_secret_free(a->script_id);
    sm_secret_free(a->script_key);
    free(a->proxy);
    free(a->name);
    free(a);
}

/* Does NO_PROXY (a comma list of hosts and .suffixes, or *) name the host of url? */
static bool no_proxy_for(const char *list, const char *url) {
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    size_t n = strcspn(host, ":/");
    while (list && *list) {
        list += strspn(list, ", ");
        size_t len = strcspn(list, ", ");
        const char *word = list;
        list += len;
        if (len == 1 && *word == '*')
            return true;
        if (len > 0 && *word == '.')
            word++, len--;
        if (len > 0 && len <= n && strncasecmp(host + n - len, word, len) == 0 &&
            (len == n || host[n - len - 1] == '.'))
            return true;
    }
    return false;
}

char *sm_accounts_proxy(const char *url) {
    const char *env = getenv("HTTPS_PROXY") ? getenv("HTTPS_PROXY") : getenv("https_proxy");
    const char *not_for = getenv("NO_PROXY") ? getenv("NO_PROXY") : getenv("no_proxy");
    if (!env || !*env || strncmp(url, "https://", 8) != 0 || no_proxy_for(not_for, url))
        return NULL;
    return sm_strdup(env);
}

static char *proxy_of(const json_t *conf, const sm_node *node) {
    const char *own = sm_json_str(conf, "proxy", NULL);
    return own ? sm_strdup(own) : sm_accounts_proxy(node->openapi);
}

sm_rc sm_accounts_node(const json_t *node, bool insecure, sm_node *out, sm_err *err) {
    memset(out, 0, sizeof *out);
    if (json_is_string(node) && strcmp(json_string_value(node), "local") == 0)
        return SM_OK;
    if (json_is_object(node))
        return sm_node_pair(sm_json_str(node, "openapi", NULL), sm_json_str(node, "openway", NULL),
                            insecure, out, err);
    return sm_node_find(json_is_string(node) ? json_string_value(node) : "default", out, err);
}

/* What conf says, as remote takes it; borrowed from a and conf. */
static sm_remote_account settings_of(account *a, const json_t *conf) {
    double timeout = 10;
    const json_t *rate = json_object_get(conf, "rate");
    const json_t *given = json_object_get(conf, "timeout");
    if (json_is_number(given))
        timeout = json_number_value(given);
    else if (json_is_string(given))
        sm_duration_parse(json_string_value(given), &timeout, NULL);
    return (sm_remote_account){
        .name = a->name,
        .node = &a->node,
        .report_via = sm_json_str(conf, "report_via", "openway"),
        .datakit = sm_json_str(conf, "datakit", NULL),
        .access_key = sm_json_str(conf, "access_key", NULL),
        .dway = sm_json_str(conf, "access_key", NULL) ? sm_json_str(conf, "dway", "full") : NULL,
        .ca = sm_json_str(conf, "ca", NULL),
        .proxy = a->proxy,
        .timeout_s = timeout,
        .rate_key = (int)sm_json_int(rate, "key", 20),
        .rate_workspace = (int)sm_json_int(rate, "workspace", 200),
        .key_id = key_id,
        .key = key,
        .secret_key = secret_key,
        .ctx = a};
}

static sm_rc make_remote(sm_accounts *all, account *a, const json_t *conf, sm_err *err) {
    if (!key_id(a) && !key(a))
        return sm_err_set(
            err, SM_INVALID,
            "account %s: node %s needs api_key_id and api_key (SELFMON_API_KEY_ID and "
            "SELFMON_API_KEY for the default account)",
            a->name, a->node.name);
    sm_remote_account settings = settings_of(a, conf);
    a->remote = sm_remote_new(all->loop, all->http, all->store, &settings);
    return SM_OK;
}

/* Takes script_id and script_key. */
static sm_rc add(sm_accounts *all, const char *name, const json_t *conf, const json_t *node,
                 sm_secret *script_id, sm_secret *script_key, sm_err *err) {
    account *a = sm_calloc(1, sizeof *a);
    sm_rc rc = SM_OK;
    a->config = sm_config_ref(all->config);
    a->given = json_incref((json_t *)(uintptr_t)node);
    a->insecure = sm_json_bool(conf, "insecure", false);
    a->name = sm_strdup(name);
    a->script_id = script_id;
    a->script_key = script_key;
    rc = sm_accounts_node(node, a->insecure, &a->node, err);
    if (rc != SM_OK) {
        sm_err_wrap(err, "account %s", name);
    } else if (!a->node.name) {
        a->local = all->store ? sm_local_new(all->store) : NULL;
    } else {
        a->proxy = proxy_of(conf, &a->node);
        rc = make_remote(all, a, conf, err);
    }
    if (rc != SM_OK) {
        account_free(a);
        return rc;
    }
    if (a->remote || a->local)
        a->target = *(a->remote ? sm_remote_target(a->remote) : sm_local_target(a->local));
    a->target.account = a->name;
    all->list = sm_realloc(all->list, (all->n + 1) * sizeof(account *));
    all->list[all->n++] = a;
    return SM_OK;
}

static account *find(const sm_accounts *a, const char *name) {
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->list[i]->name, name) == 0)
            return a->list[i];
    return NULL;
}

sm_rc sm_accounts_learn(sm_accounts *a, const sm_inspection *inspection, sm_err *err) {
    account *one = find(a, inspection->account);
    if (!inspection->api_key || (one && !one->script_key))
        return SM_OK;
    const char *id = sm_json_str(inspection->spec, "api_key_id", "");
    size_t n;
    const char *bytes = sm_secret_bytes(inspection->api_key, &n);
    if (one) { /* the name holds node and Key ID: only the key can be another */
        sm_secret *former = one->script_key;
        one->script_key = sm_secret_new(bytes, n);
        sm_secret_free(former);
        return SM_OK;
    }
    const json_t *conf = json_object_get(a->config->accounts, "default");
    return add(a, inspection->account, conf, json_object_get(inspection->spec, "node"),
               *id ? sm_secret_new(id, strlen(id)) : NULL, sm_secret_new(bytes, n), err);
}

sm_rc sm_accounts_open(uv_loop_t *loop, sm_http *http, sm_store *store, const sm_config *config,
                       sm_accounts **out, sm_err *err) {
    sm_accounts *a = sm_calloc(1, sizeof *a);
    const char *name;
    json_t *conf;
    sm_rc rc = SM_OK;
    *a = (sm_accounts){.loop = loop, .http = http, .store = store, .config = sm_config_ref(config)};
    json_object_foreach(config->accounts, name, conf) {
        if (rc == SM_OK)
            rc = add(a, name, conf, json_object_get(conf, "node"), NULL, NULL, err);
    }
    /* Also after a failure: what was made must be closed before the loop ends. */
    *out = a;
    return rc;
}

/* Another workspace, perhaps: nothing of the former may be taken for it. */
static bool is_another(const account *one, const sm_config *config, const json_t *conf) {
    static const char *const keys[] = {"api_key_id", "api_key"};
    bool other = !json_equal(one->given, json_object_get(conf, "node")) ||
                 one->insecure != sm_json_bool(conf, "insecure", false);
    for (size_t i = 0; i < SM_ARRAY_LEN(keys) && !other; i++) {
        char *name = sm_asprintf("accounts.%s.%s", one->name, keys[i]);
        other = !sm_config_same_secret(one->config, config, name);
        free(name);
    }
    return other;
}

static void change(account *one, const sm_config *config, const json_t *conf) {
    sm_config *former = one->config;
    one->config = sm_config_ref(config);
    if (one->remote) {
        char *proxy = one->proxy;
        one->proxy = proxy_of(conf, &one->node);
        sm_remote_account settings = settings_of(one, conf);
        sm_remote_configure(one->remote, &settings);
        free(proxy);
    }
    sm_config_free(former);
}

static void leave(sm_accounts *a, size_t i) {
    a->left = sm_realloc(a->left, (a->n_left + 1) * sizeof(account *));
    a->left[a->n_left++] = a->list[i];
    a->list[i] = a->list[--a->n];
}

void sm_accounts_configure(sm_accounts *a, const sm_config *config) {
    const char *name;
    json_t *conf;
    sm_config *former = a->config;
    a->config = sm_config_ref(config);
    for (size_t i = a->n; i-- > 0;) {
        account *one = a->list[i];
        bool script = one->script_key != NULL; /* all but node and key as the default account */
        conf = json_object_get(config->accounts, script ? "default" : one->name);
        if (!conf || (!script && is_another(one, config, conf)))
            leave(a, i);
        else
            change(one, config, conf);
    }
    json_object_foreach(config->accounts, name, conf) {
        sm_err err = SM_ERR_INIT;
        if (!find(a, name) &&
            add(a, name, conf, json_object_get(conf, "node"), NULL, NULL, &err) != SM_OK)
            sm_log(SM_LOG_ERROR, "%s", err.msg);
    }
    sm_config_free(former);
}

static account *left_of(const sm_accounts *a, const sm_target *target, size_t *at) {
    for (*at = 0; *at < a->n_left; ++*at)
        if (&a->left[*at]->target == target)
            return a->left[*at];
    return NULL;
}

bool sm_accounts_quiet(const sm_accounts *a, const sm_target *target) {
    size_t at;
    const account *one = left_of(a, target, &at);
    return !one || !one->remote || sm_remote_quiet(one->remote);
}

void sm_accounts_retire(sm_accounts *a, const sm_target *target) {
    size_t at;
    account *one = left_of(a, target, &at);
    if (one && one->remote)
        sm_remote_close(one->remote);
}

void sm_accounts_release(sm_accounts *a, const sm_target *target) {
    size_t at;
    account *one = left_of(a, target, &at);
    if (!one)
        return;
    a->left[at] = a->left[--a->n_left];
    account_free(one);
}

size_t sm_accounts_count(const sm_accounts *a) {
    return a->n;
}

const char *sm_accounts_name(const sm_accounts *a, size_t i) {
    return a->list[i]->name;
}

const sm_target *sm_accounts_target(const sm_accounts *a, const char *name) {
    const account *one = find(a, name);
    return one && (one->remote || one->local) ? &one->target : NULL;
}

sm_remote *sm_accounts_remote(const sm_accounts *a, const char *name) {
    const account *one = find(a, name);
    return one ? one->remote : NULL;
}

json_t *sm_accounts_status(const sm_accounts *a) {
    json_t *out = json_array();
    for (size_t i = 0; i < a->n; i++) {
        json_t *one = a->list[i]->remote ? sm_remote_status(a->list[i]->remote)
                                         : json_pack("{s:s}", "node", "local");
        json_object_set_new(one, "name", json_string(a->list[i]->name));
        json_array_append_new(out, one);
    }
    return out;
}

json_t *sm_accounts_nodes(const sm_accounts *a) {
    json_t *nodes = json_object();
    for (size_t i = 0; i < a->n; i++)
        json_object_set_new(nodes, a->list[i]->name,
                            json_string(a->list[i]->remote ? a->list[i]->target.node : "local"));
    return nodes;
}

void sm_accounts_close(sm_accounts *a) {
    for (size_t i = 0; a && i < a->n; i++)
        if (a->list[i]->remote)
            sm_remote_close(a->list[i]->remote);
    for (size_t i = 0; a && i < a->n_left; i++)
        if (a->left[i]->remote)
            sm_remote_close(a->left[i]->remote);
}

void sm_accounts_free(sm_accounts *a) {
    if (!a)
        return;
    for (size_t i = 0; i < a->n; i++)
        account_free(a->list[i]);
    for (size_t i = 0; i < a->n_left; i++)
        account_free(a->left[i]);
    free(a->left);
    sm_config_free(a->config);
    free(a->list);
    free(a);
}
