/* cmd_list: `list`, `next`, `key`: what is loaded, when it is due, under which key. With a daemon
 * its own view is shown; without one the scripts are loaded here, and nothing is created. */
#include "cli/cli.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/online.h"
#include "daemon/app.h"
#include "daemon/conduct.h"
#include "daemon/views.h"
#include "platform/assoc.h"
#include "schedule/cron.h"
#include <stdlib.h>
#include <string.h>

typedef struct gather {
    json_t *nodes; /* account -> node */
    json_t *registry, *last, *conduct;
    json_t *list; /* out */
} gather;

static void told_loaded(void *ctx, const sm_app *app, bool first) {
    (void)first;
    gather *g = ctx;
    size_t n;
    sm_inspection *const *loaded = sm_catalog_list(sm_app_catalog(app), &n);
    json_t *conditions = sm_conduct_conditions_of(g->conduct, loaded, n);
    g->list = sm_view_list(sm_app_catalog(app), g->nodes, g->registry, g->last);
    sm_conduct_mark(g->list, conditions);
    json_decref(conditions);
}

/* The list without a daemon: what the store last knew, and the scripts loaded here. */
static sm_rc list_here(const sm_args *a, sm_config *config, json_t **out, sm_err *err) {
    sm_client *link = NULL;
    gather g = {.nodes = json_object()};
    const char *name;
    json_t *account;
    json_object_foreach(config->accounts, name, account) {
        char *node = sm_online_node(config, name);
        json_object_set_new(g.nodes, name, json_string(node));
        free(node);
    }
    sm_rc rc = sm_client_open(config, &link, err);
    if (rc == SM_OK)
        rc = sm_client_call(link, "registry", NULL, &g.registry, err);
    if (rc == SM_OK)
        rc = sm_client_call(link, "last", NULL, &g.last, err);
    if (rc == SM_OK)
        rc = sm_client_call(link, "kv_list", json_pack("{s:s}", "prefix", SM_CONDUCT_PREFIX),
                            &g.conduct, err);
    sm_client_close(link);
    if (rc == SM_NOT_FOUND)
        rc = SM_OK;
    sm_log_setup(SM_LOG_NONE, false, false); /* the list itself shows what does not load */
    sm_app_options options = {.mode = SM_APP_LOAD,
                              .self = a->self,
                              .config = config,
                              .listener = {.ctx = &g, .loaded = told_loaded}};
    if (rc == SM_OK)
        rc = sm_app_run(&options, NULL, err);
    json_decref(g.nodes);
    json_decref(g.registry);
    json_decref(g.last);
    json_decref(g.conduct);
    if (rc == SM_OK)
        *out = g.list ? g.list : json_array();
    else
        json_decref(g.list);
    return rc;
}

sm_rc sm_cli_list(const sm_args *a, sm_config *config, json_t **out, sm_err *err) {
    sm_client *link = NULL;
    sm_rc rc = sm_client_open(config, &link, NULL);
    bool remote = rc == SM_OK && sm_client_remote(link);
    if (remote)
        rc = sm_client_ask(link, json_pack("{s:s}", "op", "list"), NULL, NULL, out, err);
    sm_client_close(link);
    return remote ? rc : list_here(a, config, out, err);
}

static bool wanted(const sm_args *a, const json_t *item) {
    const char *id = sm_json_str(item, "id", sm_json_str(item, "file", ""));
    if (a->pattern &&
        !(strpbrk(a->pattern, "*?") ? sm_str_glob(a->pattern, id) : strstr(id, a->pattern) != NULL))
        return false;
    if (!a->tags)
        return true;
    size_t i;
    json_t *tag;
    json_array_foreach(json_object_get(item, "tags"), i, tag) {
        for (const char *t = a->tags; *t;) {
            size_t n = strcspn(t, ",");
            if (json_string_length(tag) == n && strncmp(json_string_value(tag), t, n) == 0)
                return true;
            t += n + (t[n] == ',');
        }
    }
    return false;
}

static void print_item(const json_t *item, int width, bool color) {
    if (!json_object_get(item, "id")) {
        printf("%s%-*s%s  %s%s\n", sm_cli_paint(color, "load_error"), width, "load_error",
               sm_cli_plain(color), sm_json_str(item, "error", ""),
               sm_json_bool(item, "stale", false) ? "  (its last good version keeps running)" : "");
        return;
    }
    const json_t *schedules = json_object_get(item, "schedule");
    const json_t *last = json_object_get(item, "last");
    const char *outcome = sm_json_str(last, "outcome", "never ran");
    const char *first = json_string_value(json_array_get(schedules, 0));
    const json_t *enabled = json_object_get(item, "enabled");
    char *title = sm_str_printable(sm_json_str(item, "title", ""),
                                   strlen(sm_json_str(item, "title", "")), 80);
    const char *condition = sm_json_str(item, "condition", "");
    bool stale = sm_json_bool(item, "stale", false);
    printf("%-*s  %-15s%s  %-20s  %-14s  %s%-12s%s  %s%s%s%s%s%s\n", width,
           sm_json_str(item, "id", ""), first ? first : "on demand",
           json_array_size(schedules) > 1 ? "…" : " ", sm_json_str(item, "next", "-"),
           !json_is_boolean(enabled) ? "not registered"
           : json_is_true(enabled)   ? "enabled"
                                     : "disabled",
           sm_cli_paint(color, outcome), outcome, sm_cli_plain(color), title,
           stale || *condition ? "  (" : "", stale ? "stale" : "", stale && *condition ? ", " : "",
           condition, stale || *condition ? ")" : "");
    free(title);
}

int sm_cmd_list(const sm_args *given) {
    sm_args args = *given;
    sm_config *config = NULL;
    sm_err err = SM_ERR_INIT;
    json_t *list = NULL, *shown = json_array(), *item;
    size_t i;
    if (args.n_rest > 0)
        args.flags.path = args.rest[0];
    int code = sm_cli_config(&args, true, &config);
    if (code == SM_EXIT_OK && sm_cli_list(&args, config, &list, &err) != SM_OK)
        code = sm_cli_fail(SM_EXIT_FAIL, err.msg);
    json_array_foreach(list, i, item) {
        if (wanted(&args, item))
            json_array_append(shown, item);
    }
    if (code == SM_EXIT_OK && args.json) {
        sm_cli_json(shown);
    } else if (code == SM_EXIT_OK) {
        int width = 10;
        json_array_foreach(shown, i, item) {
            int n = (int)strlen(sm_json_str(item, "id", ""));
            width = n > width && n <= 60 ? n : width;
        }
        if (json_array_size(shown) > 0)
            printf("%-*s  %-16s  %-20s  %-14s  %-12s  %s\n", width, "ID", "SCHEDULE", "NEXT (UTC)",
                   "ON THE PLATFORM", "LAST", "TITLE");
        json_array_foreach(shown, i, item) {
            print_item(item, width, sm_cli_color(&args, stdout));
        }
        if (json_array_size(shown) == 0)
            fprintf(stderr, "no inspections\n");
    }
    json_decref(list);
    json_decref(shown);
    sm_config_free(config);
    return code;
}

int sm_cmd_key(const sm_args *a) {
    sm_config *config = NULL;
    sm_err err = SM_ERR_INIT;
    const sm_secret *secret = NULL;
    json_t *out = json_array();
    if (a->n_rest == 0)
        return sm_cli_fail(SM_EXIT_USAGE, "key: expected a function id, as in `selfmon-lua key "
                                          "host/disk.run`");
    int code = sm_cli_config(a, false, &config);
    for (int i = 0; code == SM_EXIT_OK && i < a->n_rest; i++)
        if (sm_assoc_check_id(a->rest[i], &err) != SM_OK)
            code = sm_cli_fail(SM_EXIT_USAGE, err.msg);
    for (int i = 0; code == SM_EXIT_OK && i < a->n_rest; i++) {
        char made[SM_ASSOC_LEN + 1];
        const char *key = sm_json_str(config->keys, a->rest[i], NULL);
        if (!key && !secret && sm_config_assoc_secret(config, false, &secret, &err) != SM_OK) {
            code = sm_cli_fail(SM_EXIT_FAIL, err.msg);
            break;
        }
        if (!key) {
            size_t n;
            const char *bytes = sm_secret_bytes(secret, &n);
            sm_assoc_key(bytes, n, a->rest[i], made);
            key = made;
        }
        if (a->json)
            json_array_append_new(out, json_pack("{s:s, s:s}", "id", a->rest[i], "key", key));
        else
            printf("%s  %s\n", key, a->rest[i]);
    }
    if (code == SM_EXIT_OK && a->json)
        sm_cli_json(out);
    json_decref(out);
    sm_config_free(config);
    return code;
}

/* Schedules of an inspection: array of expressions and its zone, from the list. */
static int schedules_of(const sm_args *a, const char *id, json_t **exprs, char **zone) {
    sm_config *config = NULL;
    sm_err err = SM_ERR_INIT;
    json_t *list = NULL, *item;
    size_t i, n = 0;
    int code = sm_cli_config(a, true, &config);
    if (code != SM_EXIT_OK)
        return code;
    if (sm_cli_list(a, config, &list, &err) != SM_OK)
        code = sm_cli_fail(SM_EXIT_FAIL, err.msg);
    const char **ids = sm_calloc(json_array_size(list) + 1, sizeof *ids);
    json_array_foreach(list, i, item) {
        const char *have = sm_json_str(item, "id", NULL);
        if (have)
            ids[n++] = have;
        if (have && strcmp(have, id) == 0) {
            *exprs = json_incref(json_object_get(item, "schedule"));
            *zone = sm_strdup(sm_json_str(item, "timezone", "UTC"));
        }
    }
    if (code == SM_EXIT_OK && !*exprs) {
        char text[512], hint[256];
        snprintf(text, sizeof text, "next: there is no inspection %s%s", id,
                 sm_str_hint(id, ids, n, hint, sizeof hint));
        code = sm_cli_fail(SM_EXIT_USAGE, text);
    }
    free(ids);
    json_decref(list);
    sm_config_free(config);
    return code;
}

/* Prints the next n instants of several schedules, merged. */
static int print_next(const sm_args *a, const json_t *exprs, const char *id, const char *zone,
                      int64_t after) {
    sm_err err = SM_ERR_INIT;
    sm_tz *tz = NULL;
    size_t n = json_array_size(exprs), ready = 0;
    sm_cron **crons = sm_calloc(n + 1, sizeof *crons);
    json_t *out = json_array();
    int code = SM_EXIT_OK;
    if (strcmp(zone, "UTC") != 0 && sm_tz_load(NULL, zone, &tz, &err) != SM_OK)
        code = sm_cli_fail(SM_EXIT_USAGE, err.msg);
    for (; code == SM_EXIT_OK && ready < n; ready++)
        if (sm_cron_parse(json_string_value(json_array_get(exprs, ready)), id, false, &crons[ready],
                          &err) != SM_OK) {
            code = sm_cli_fail(SM_EXIT_USAGE, err.msg);
            break;
        }
    for (long k = 0; code == SM_EXIT_OK && k < (a->n ? a->n : 5); k++) {
        int64_t best = INT64_MAX, at;
        for (size_t i = 0; i < n; i++)
            if (sm_cron_next(crons[i], tz, after, &at) && at < best)
                best = at;
        if (best == INT64_MAX)
            break;
        char text[32], local[32];
        const char *abbrev = "UTC";
        sm_time_rfc3339(best * SM_NS_PER_S, false, text);
        int32_t offset = sm_tz_offset(tz, best, NULL, &abbrev);
        sm_time_rfc3339((best + offset) * SM_NS_PER_S, false, local);
        json_array_append_new(out, json_string(text));
        if (!a->json && tz)
            printf("%s  %.10s %.8s %s\n", text, local, local + 11, abbrev);
        else if (!a->json)
            printf("%s\n", text);
        after = best;
    }
    if (code == SM_EXIT_OK && a->json)
        sm_cli_json(out);
    else if (code == SM_EXIT_OK && json_array_size(out) == 0)
        fprintf(stderr, n ? "never\n" : "on demand only: it has no schedule\n");
    for (size_t i = 0; i < n; i++)
        sm_cron_free(crons[i]);
    free(crons);
    sm_tz_free(tz);
    json_decref(out);
    return code;
}

int sm_cmd_next(const sm_args *a) {
    sm_err err = SM_ERR_INIT;
    int64_t from = sm_wall_ns();
    if (a->n_rest != 1)
        return sm_cli_fail(SM_EXIT_USAGE, "next: expected one function id or one expression (in "
                                          "quotes), as in `selfmon-lua next '*/5 * * * *'`");
    if (a->from && sm_time_parse(a->from, &from, &err) != SM_OK)
        return sm_cli_fail(SM_EXIT_USAGE, err.msg);
    int64_t after = from >= 0 ? from / SM_NS_PER_S : -((-from + SM_NS_PER_S - 1) / SM_NS_PER_S);
    json_t *exprs = NULL;
    char *zone = NULL;
    int code = SM_EXIT_OK;
    bool is_expr = sm_cron_looks_like(a->rest[0]);
    if (is_expr)
        exprs = json_pack("[s]", a->rest[0]);
    else
        code = schedules_of(a, a->rest[0], &exprs, &zone);
    if (code == SM_EXIT_OK)
        code = print_next(a, exprs, is_expr ? "" : a->rest[0],
                          a->tz  ? a->tz
                          : zone ? zone
                                 : "UTC",
                          after);
    json_decref(exprs);
    free(zone);
    return code;
}
