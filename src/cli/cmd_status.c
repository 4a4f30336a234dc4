/* cmd_status: `status`: how the process that holds the state directory is doing, and how fresh what
 * it knows is; without one, what the store last knew, and it says so. Only reads. */
#include "cli/cli.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/online.h"
#include "daemon/conduct.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 100 }; /* inspections in one list */

static json_t *instant(int64_t ns) {
    char text[32];
    sm_time_rfc3339(ns, false, text);
    return json_string(text);
}

static bool same(const json_t *a, const json_t *b, const char *key) {
    return strcmp(sm_json_str(a, key, ""), sm_json_str(b, key, "")) == 0;
}

/* The registry's row of an item of the list: the same inspection on the same node. */
static const json_t *row_of(const json_t *rows, const json_t *item) {
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        if (same(row, item, "id") && same(row, item, "account") && same(row, item, "node"))
            return row;
    }
    return NULL;
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
        add_age(item, row_of(registry, have));
        json_array_append_new(out, item);
    }
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
    json_decref(conduct);
    json_decref(registry);
    json_decref(last);
    return rc;
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
    json_t *workers = json_object_get(said, "workers"), *trouble = json_object_get(said, "trouble");
    json_t *told = json_object_get(said, "accounts");
    accounts = json_is_array(told) ? json_deep_copy(told) : accounts_of(config);
    json_array_foreach(accounts, i, one) {
        add_filling(one, json_object_get(status, "inspections"));
    }
    json_object_set_new(status, "daemon", json_boolean(daemon));
    json_object_set_new(status, "outbox", outbox_json(stats));
    json_object_set_new(status, "accounts", accounts);
    json_object_set_new(status, "workers", workers ? json_incref(workers) : json_null());
    json_t *conduct = json_object_get(said, "conduct");
    json_object_set_new(status, "conduct", conduct ? json_incref(conduct) : json_null());
    json_object_set_new(status, "trouble",
                        json_is_array(trouble) ? json_incref(trouble) : json_array());
    json_decref(said);
    json_decref(outbox);
    return rc;
}

/* ---- what a person reads ---- */

/* "3 s", "5 min", "2 h", "4 d". */
static void ago(double seconds, char out[32]) {
    static const struct {
        double unit, until;
        const char *name;
    } units[] = {{1, 100, "s"}, {60, 6000, "min"}, {3600, 172800, "h"}, {86400, HUGE_VAL, "d"}};
    size_t i = 0;
    while (seconds >= units[i].until)
        i++;
    snprintf(out, 32, "%.0f %s", seconds / units[i].unit, units[i].name);
}

/* What keeps it from running beside the others. */
static void print_condition(const json_t *item) {
    const char *condition = sm_json_str(item, "condition", NULL);
    if (!condition)
        return;
    char *why = sm_cli_text(sm_json_str(item, "condition_why", ""), 1000);
    const char *until = sm_json_str(item, "condition_until", NULL);
    printf("  %s since %s%s%s: %s\n", condition, sm_json_str(item, "condition_since", "?"),
           until ? ", next run not before " : "", until ? until : "", why);
    free(why);
}

static void print_inspections(const json_t *list, bool color) {
    size_t i;
    json_t *item;
    int width = 10;
    json_array_foreach(list, i, item) {
        int n = (int)strlen(sm_json_str(item, "id", ""));
        width = n > width && n <= 60 ? n : width;
    }
    if (json_array_size(list) > 0)
        printf("%-*s  %-12s  %-20s  %-14s  %s\n", width, "ID", "LAST", "NEXT (UTC)",
               "ON THE PLATFORM", "SEEN THERE");
    json_array_foreach(list, i, item) {
        const char *outcome = sm_json_str(json_object_get(item, "last"), "outcome", "never ran");
        const json_t *enabled = json_object_get(item, "enabled");
        char seen[32] = "never";
        if (json_is_number(json_object_get(item, "age")))
            ago(sm_json_num(item, "age", 0), seen);
        printf("%-*s  %s%-12s%s  %-20s  %-14s   %s%s%s\n", width, sm_json_str(item, "id", ""),
               sm_cli_paint(color, outcome), outcome, sm_cli_plain(color),
               sm_json_str(item, "next", "-"),
               !json_is_boolean(enabled) ? "not registered"
               : json_is_true(enabled)   ? "enabled"
                                         : "disabled",
               seen, strcmp(seen, "never") == 0 ? "" : " ago",
               sm_json_bool(item, "stale", false) ? "  its last good version runs" : "");
        print_condition(item);
    }
}

static void print_outbox(const json_t *outbox) {
    char oldest[64] = "";
    int64_t at = 0;
    if (sm_time_parse(sm_json_str(outbox, "oldest", ""), &at, NULL) == SM_OK) {
        char text[32];
        ago((double)(sm_wall_ns() - at) / 1e9, text);
        snprintf(oldest, sizeof oldest, "; the oldest since %s", text);
    }
    printf("outbox: %lld pending, %lld in flight, %lld held, %lld refused%s\n",
           (long long)sm_json_int(outbox, "pending", 0),
           (long long)sm_json_int(outbox, "inflight", 0), (long long)sm_json_int(outbox, "held", 0),
           (long long)sm_json_int(outbox, "refused", 0), oldest);
}

static void print_account(const json_t *a) {
    const json_t *budget = json_object_get(a, "budget");
    printf("account %s: node %s", sm_json_str(a, "name", "?"), sm_json_str(a, "node", "?"));
    if (budget)
        printf(", %.0f of %.0f calls a minute left, %lld wait", sm_json_num(budget, "key", 0),
               sm_json_num(budget, "per_minute", 0), (long long)sm_json_int(budget, "waiting", 0));
    int64_t missing = sm_json_int(a, "unregistered", 0);
    if (missing > 0 && budget) {
        char text[32];
        ago(sm_json_num(a, "fill_seconds", 0), text);
        printf(", %lld not registered yet: about %s", (long long)missing, text);
    }
    putchar('\n');
    const char *error = sm_json_str(a, "last_error", NULL);
    if (error) {
        char *shown = sm_cli_text(error, 1000);
        printf("  last error: %s\n", shown);
        free(shown);
    }
}

static void print_status(const json_t *status, const sm_config *config, bool color) {
    size_t i;
    json_t *one;
    const json_t *workers = json_object_get(status, "workers");
    char *state = sm_cli_path(config->state_dir);
    printf("selfmon-lua %s   node %s   state %s\n", SM_VERSION, config->node, state);
    free(state);
    if (!sm_json_bool(status, "daemon", false))
        printf("no daemon runs: this is what the store last knew\n");
    print_inspections(json_object_get(status, "inspections"), color);
    json_array_foreach(json_object_get(status, "load_errors"), i, one) {
        char *shown = sm_cli_text(sm_json_str(one, "error", ""), 1000);
        printf("%sload_error%s  %s%s\n", sm_cli_paint(color, "load_error"), sm_cli_plain(color),
               shown,
               sm_json_bool(one, "stale", false) ? "  (its last good version keeps running)" : "");
        free(shown);
    }
    print_outbox(json_object_get(status, "outbox"));
    json_array_foreach(json_object_get(status, "accounts"), i, one) {
        print_account(one);
    }
    if (json_is_object(workers))
        printf("workers: %zu, %lld running, %lld queued\n",
               json_array_size(json_object_get(workers, "workers")),
               (long long)sm_json_int(workers, "running", 0),
               (long long)sm_json_int(workers, "queued", 0));
    json_array_foreach(json_object_get(status, "trouble"), i, one) {
        char *shown = sm_cli_text(json_is_string(one) ? json_string_value(one) : "?", 1000);
        printf("trouble: %s\n", shown);
        free(shown);
    }
}

int sm_cmd_status(const sm_args *a) {
    sm_config *config = NULL;
    sm_err err = SM_ERR_INIT;
    if (a->n_rest > 0)
        return sm_cli_fail(SM_EXIT_USAGE, "status: it takes no argument");
    if (sm_cli_load(a, false, &config, &err) != SM_OK)
        return sm_cli_fail(SM_EXIT_CONFIG, err.msg);
    int code = SM_EXIT_OK;
    json_t *status = json_pack("{s:[], s:[]}", "inspections", "load_errors");
    if (gather(config, status, &err) != SM_OK)
        code = sm_cli_fail(SM_EXIT_FAIL, err.msg);
    else if (a->json)
        sm_cli_json(status);
    else
        print_status(status, config, sm_cli_color(a, stdout));
    json_decref(status);
    sm_config_free(config);
    return code;
}
