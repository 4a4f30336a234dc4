/* cmd_status: `status`: how the process that holds the state directory is doing, and how fresh what
 * it knows is; without one, what the store last knew, and it says so. Only reads. */
#include "cli/cli.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/online.h"
#include "cli/status.h"
#include "daemon/conduct.h"
#include "daemon/statedir.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 100 }; /* inspections in one list */

static json_t *instant(int64_t ns) {
    char text[32];
    sm_time_rfc3339(ns, false, text);
    return json_string(text);
}

/* ---- the registry's rows, by inspection and node ---- */

static char *row_key(const json_t *row) {
    return sm_asprintf("%s\n%s\n%s", sm_json_str(row, "id", ""), sm_json_str(row, "account", ""),
                       sm_json_str(row, "node", ""));
}

static void rows_init(sm_map *rows, const json_t *registry) {
    size_t i;
    json_t *row;
    sm_map_init(rows);
    json_array_foreach(registry, i, row) {
        char *key = row_key(row);
        sm_map_put(rows, key, row);
        free(key);
    }
}

static const json_t *row_of(const sm_map *rows, const json_t *item) {
    char *key = row_key(item);
    const json_t *row = sm_map_get(rows, key);
    free(key);
    return row;
}

/* ---- inspections ---- */

/* Adds seen and age: when a platform last spoke of the inspection. */
static void add_age(json_t *item, const json_t *row) {
    int64_t seen = sm_json_int(row, "seen_ns", 0), now = sm_wall_ns();
    json_object_set_new(item, "seen", seen > 0 ? instant(seen) : json_null());
    json_object_set_new(item, "age",
                        seen > 0 ? json_real(now > seen ? (double)(now - seen) / 1e9 : 0)
                                 : json_null());
}

/* From the daemon's list; files that do not load go to errors. */
static void take_list(const json_t *list, const json_t *registry, json_t *out, json_t *errors) {
    static const char *const kept[] = {"id",
                                       "title",
                                       "account",
                                       "node",
                                       "registered",
                                       "enabled",
                                       "next",
                                       "last",
                                       "stale",
                                       "condition",
                                       "condition_since",
                                       "condition_why",
                                       "condition_until"};
    size_t i;
    json_t *have;
    sm_map rows;
    rows_init(&rows, registry);
    json_array_foreach(list, i, have) {
        const char *id = sm_json_str(have, "id", NULL);
        if (!id) {
            json_t *error = json_deep_copy(have);
            json_object_del(error, "outcome");
            json_array_append_new(errors, error);
            continue;
        }
        json_t *item = json_object();
        for (size_t k = 0; k < SM_ARRAY_LEN(kept); k++) {
            json_t *v = json_object_get(have, kept[k]);
            json_object_set_new(item, kept[k], v ? json_incref(v) : json_null());
        }
        add_age(item, row_of(&rows, have));
        json_array_append_new(out, item);
    }
    sm_map_fini(&rows);
}

/* Was it registered on another node than its account has now? */
static bool elsewhere(const json_t *row, const sm_config *config) {
    char *node = sm_online_node(config, sm_json_str(row, "account", ""));
    bool other = *node && strcmp(node, sm_json_str(row, "node", "")) != 0;
    free(node);
    return other;
}

/* Without a daemon: what was registered, and how it ended last. Nothing is due. */
static void take_registry(const json_t *registry, const json_t *last, const sm_config *config,
                          json_t *out) {
    size_t i;
    json_t *row;
    json_array_foreach(registry, i, row) {
        const char *id = sm_json_str(row, "id", "");
        if (elsewhere(row, config))
            continue;
        json_t *end = json_object_get(last, id);
        json_t *item = json_object();
        json_object_set(item, "id", json_object_get(row, "id"));
        json_object_set(item, "title", json_object_get(row, "title"));
        json_object_set(item, "account", json_object_get(row, "account"));
        json_object_set(item, "node", json_object_get(row, "node"));
        json_object_set_new(item, "registered", json_true());
        json_object_set_new(item, "enabled", json_boolean(sm_json_int(row, "status", 0) == 0));
        json_object_set_new(item, "next", json_null());
        json_object_set_new(item, "last", end ? json_incref(end) : json_null());
        json_object_set_new(item, "stale", json_false());
        add_age(item, row);
        json_array_append_new(out, item);
    }
}

/* ---- accounts ---- */

/* How many inspections of an account were never registered, and how long it takes to do it: one
 * create each, and one list for every hundred before and after, at the pace of its budget. */
static void add_filling(json_t *account, const json_t *inspections) {
    const char *name = sm_json_str(account, "name", "");
    const json_t *budget = json_object_get(account, "budget");
    size_t i, missing = 0;
    json_t *item;
    json_array_foreach(inspections, i, item) {
        if (!sm_json_bool(item, "registered", true) &&
            strcmp(sm_json_str(item, "account", ""), name) == 0)
            missing++;
    }
    double calls = (double)(missing + 2 * ((missing + LIST_MAX - 1) / LIST_MAX));
    double left = fmin(sm_json_num(budget, "key", 0), sm_json_num(budget, "workspace", 0));
    double rate = sm_json_num(budget, "per_minute", 0), seconds = 0;
    if (calls > left && rate > 0)
        seconds = ceil((calls - left) * 60 / rate);
    /* What is asked already may hold more than that. */
    seconds = fmax(seconds, sm_json_num(budget, "seconds_to_fill", 0));
    json_object_set_new(account, "unregistered", json_integer((json_int_t)missing));
    json_object_set_new(account, "fill_seconds", budget ? json_real(seconds) : json_null());
}

/* Those of the configuration, for when nobody talks to them. */
static json_t *accounts_of(const sm_config *config) {
    json_t *out = json_array(), *conf;
    const char *name;
    json_object_foreach(config->accounts, name, conf) {
        char *node = sm_online_node(config, name);
        json_array_append_new(out, json_pack("{s:s, s:s}", "name", name, "node", node));
        free(node);
    }
    return out;
}

static json_t *outbox_json(const json_t *stats) {
    static const char *const counts[] = {"pending", "inflight", "held", "refused", "bytes"};
    json_t *out = json_object();
    int64_t oldest = sm_json_int(stats, "oldest_ns", 0), next = sm_json_int(stats, "next_ms", 0);
    for (size_t i = 0; i < SM_ARRAY_LEN(counts); i++)
        json_object_set_new(out, counts[i], json_integer(sm_json_int(stats, counts[i], 0)));
    json_object_set_new(out, "oldest", oldest > 0 ? instant(oldest) : json_null());
    json_object_set_new(out, "next", next > 0 ? instant(next * SM_NS_PER_MS) : json_null());
    return out;
}

/* ---- gathering ---- */

/* Everything from the process that holds the state directory. */
static sm_rc ask_daemon(sm_client *link, json_t *status, json_t **said, sm_err *err) {
    json_t *list = NULL, *registry = NULL;
    sm_rc rc = sm_client_ask(link, json_pack("{s:s}", "op", "status"), NULL, NULL, said, err);
    if (rc == SM_OK)
        rc = sm_client_ask(link, json_pack("{s:s}", "op", "list"), NULL, NULL, &list, err);
    if (rc == SM_OK)
        rc = sm_client_call(link, "registry", NULL, &registry, err);
    if (rc == SM_OK)
        take_list(list, registry, json_object_get(status, "inspections"),
                  json_object_get(status, "load_errors"));
    json_decref(list);
    json_decref(registry);
    return rc;
}

/* Events of accounts that the configuration does not know; script-… come with a script's key. */
static sm_rc add_orphans(sm_client *link, const sm_config *config, json_t *status, sm_err *err) {
    json_t *told = NULL, *row;
    size_t i;
    sm_rc rc = sm_client_call(link, "outbox_list", json_pack("{s:i}", "limit", 0), &told, err);
    json_array_foreach(json_object_get(told, "accounts"), i, row) {
        const char *name = sm_json_str(row, "account", "");
        int64_t n = sm_json_int(row, "pending", 0) + sm_json_int(row, "held", 0);
        if (n == 0 || json_object_get(config->accounts, name) || strncmp(name, "script-", 7) == 0)
            continue;
        char *text = sm_asprintf("%lld event%s of the account \"%s\", which is not in the "
                                 "configuration, wait%s until it is there again (`outbox drop "
                                 "--pending` gives them up)",
                                 (long long)n, n == 1 ? "" : "s", name, n == 1 ? "s" : "");
        json_array_append_new(json_object_get(status, "trouble"), sm_json_text(text, strlen(text)));
        free(text);
    }
    json_decref(told);
    return rc;
}

static sm_rc ask_store(sm_client *link, const sm_config *config, json_t *status, sm_err *err) {
    json_t *registry = NULL, *last = NULL, *conduct = NULL;
    sm_rc rc = sm_client_call(link, "registry", NULL, &registry, err);
    if (rc == SM_OK)
        rc = sm_client_call(link, "last", NULL, &last, err);
    if (rc == SM_OK)
        rc = sm_client_call(link, "kv_list", json_pack("{s:s}", "prefix", SM_CONDUCT_PREFIX),
                            &conduct, err);
    if (rc == SM_OK) {
        json_t *conditions = sm_conduct_conditions_of(conduct, NULL, 0);
        take_registry(registry, last, config, json_object_get(status, "inspections"));
        sm_conduct_mark(json_object_get(status, "inspections"), conditions);
        json_decref(conditions);
    }
    if (rc == SM_OK)
        rc = add_orphans(link, config, status, err);
    json_decref(conduct);
    json_decref(registry);
    json_decref(last);
    return rc;
}

/* ---- the process ---- */

static json_t *member(const json_t *o, const char *key) {
    json_t *v = json_object_get(o, key);
    return v ? json_incref(v) : json_null();
}

static json_t *process_json(const json_t *said) {
    const json_t *vitals = json_object_get(said, "vitals");
    json_t *p = json_deep_copy(json_object_get(said, "process"));
    if (!p)
        return json_null();
    json_object_set_new(p, "version", member(said, "version"));
    json_object_set_new(p, "pid", member(said, "pid"));
    json_object_set_new(p, "started", instant(sm_json_int(vitals, "started_ns", 0)));
    json_object_set_new(p, "uptime", member(vitals, "uptime"));
    json_object_set_new(p, "alive", member(said, "alive"));
    json_object_set_new(p, "not_ready", member(said, "unready"));
    return p;
}

/* What only a process knows; null without one. */
static void add_process(json_t *status, const json_t *said) {
    const json_t *vitals = json_object_get(said, "vitals");
    json_t *store = json_deep_copy(json_object_get(said, "store"));
    json_object_del(store, "outbox"); /* it has a place of its own */
    json_object_set_new(status, "process", process_json(said));
    json_object_set_new(status, "runs", member(vitals, "runs"));
    json_object_set_new(status, "lateness", member(vitals, "recent"));
    json_object_set_new(status, "deliveries", member(said, "deliveries"));
    json_object_set_new(status, "workers", member(said, "workers"));
    json_object_set_new(status, "conduct", member(said, "conduct"));
    json_object_set_new(status, "exec", member(said, "exec"));
    json_object_set_new(status, "store", store ? store : json_null());
    json_object_set_new(status, "reloads",
                        vitals ? json_pack("{s:o, s:o}", "changes", member(vitals, "reloads"),
                                           "failures", member(vitals, "reload_failures"))
                               : json_null());
}

/* Adds counts and view_age, from the inspections and files that are shown. */
static void add_counts(json_t *status) {
    static const char *const names[] = {"failing",  "stale",        "quarantined", "penalised",
                                        "disabled", "unregistered", "never_ran"};
    json_int_t n[SM_ARRAY_LEN(names)] = {0};
    const json_t *list = json_object_get(status, "inspections");
    double oldest = -1;
    size_t i;
    json_t *item, *counts = json_object();
    json_array_foreach(list, i, item) {
        const char *condition = sm_json_str(item, "condition", "");
        const json_t *enabled = json_object_get(item, "enabled");
        n[0] += sm_status_failing(item);
        n[1] += sm_json_bool(item, "stale", false);
        n[2] += strcmp(condition, "quarantined") == 0;
        n[3] += strcmp(condition, "penalised") == 0;
        n[4] += json_is_false(enabled);
        n[5] += !json_is_boolean(enabled);
        n[6] += !json_is_object(json_object_get(item, "last"));
        oldest = fmax(oldest, sm_json_num(item, "age", -1));
    }
    json_object_set_new(counts, "inspections", json_integer((json_int_t)json_array_size(list)));
    for (i = 0; i < SM_ARRAY_LEN(names); i++)
        json_object_set_new(counts, names[i], json_integer(n[i]));
    json_object_set_new(
        counts, "load_errors",
        json_integer((json_int_t)json_array_size(json_object_get(status, "load_errors"))));
    json_object_set_new(status, "counts", counts);
    json_object_set_new(status, "view_age", oldest >= 0 ? json_real(oldest) : json_null());
}

/* Without a daemon: what lies in the state directory. */
static void add_aside(const sm_config *config, json_t *out) {
    char *path = sm_statedir_file(config->state_dir, "selfmon.db");
    char *aside = sm_store_aside_text(path);
    if (aside)
        json_array_append_new(out, sm_json_text(aside, strlen(aside)));
    free(aside);
    free(path);
}

static sm_rc gather(const sm_config *config, json_t *status, sm_err *err) {
    sm_client *link = NULL;
    json_t *said = NULL, *outbox = NULL, *accounts, *one;
    size_t i;
    sm_rc rc = sm_client_open(config, &link, err);
    bool stored = rc == SM_OK, daemon = stored && sm_client_remote(link);
    if (rc == SM_NOT_FOUND)
        rc = SM_OK;
    if (daemon)
        rc = ask_daemon(link, status, &said, err);
    else if (stored)
        rc = ask_store(link, config, status, err);
    if (rc == SM_OK && stored && !json_is_object(json_object_get(said, "outbox")))
        rc = sm_client_call(link, "outbox", NULL, &outbox, err);
    sm_client_close(link);
    json_t *stats = outbox ? outbox : json_object_get(said, "outbox");
    json_t *trouble = json_object_get(said, "trouble");
    json_t *told = json_object_get(said, "accounts");
    accounts = json_is_array(told) ? json_deep_copy(told) : accounts_of(config);
    json_array_foreach(accounts, i, one) {
        add_filling(one, json_object_get(status, "inspections"));
    }
    json_object_set_new(status, "daemon", json_boolean(daemon));
    json_object_set_new(status, "outbox", outbox_json(stats));
    json_object_set_new(status, "accounts", accounts);
    add_process(status, said);
    add_counts(status);
    json_t *read = json_object_get(said, "configuration");
    json_object_set_new(status, "configuration",
                        read ? json_incref(read)
                             : json_pack("{s:s?, s:n, s:n, s:n, s:n, s:n}", "file", config->file,
                                         "loaded_at", "error", "stale", "reloads", "failures"));
    if (json_is_array(trouble))
        json_object_set(status, "trouble", trouble);
    else
        add_aside(config, json_object_get(status, "trouble"));
    json_decref(said);
    json_decref(outbox);
    return rc;
}

int sm_cmd_status(const sm_args *a) {
    sm_config *config = NULL;
    sm_err err = SM_ERR_INIT;
    if (a->n_rest > 0)
        return sm_cli_fail(SM_EXIT_USAGE, "status: it takes no argument");
    /* A daemon works on with the configuration it had, and can tell what is wrong with this one. */
    bool bare = sm_cli_load(a, false, &config, &err) != SM_OK;
    if (bare && sm_config_load_bare(&a->flags, &config, NULL) != SM_OK)
        return sm_cli_fail(SM_EXIT_CONFIG, err.msg);
    int code = SM_EXIT_OK;
    sm_err wrong = err;
    json_t *status = json_pack("{s:[], s:[], s:[]}", "inspections", "load_errors", "trouble");
    sm_rc rc = gather(config, status, &err);
    if (bare && (rc != SM_OK || !sm_json_bool(status, "daemon", false)))
        code = sm_cli_fail(SM_EXIT_CONFIG, wrong.msg);
    else if (rc != SM_OK)
        code = sm_cli_fail(SM_EXIT_FAIL, err.msg);
    else if (a->json)
        sm_cli_json(status);
    else
        sm_status_print(status, config, sm_cli_color(a, stdout));
    json_decref(status);
    sm_config_free(config);
    return code;
}
