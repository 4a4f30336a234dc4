/* cmd_read: `events` and `runs`: readers of the store, with or without a daemon. */
#include "cli/cli.h"
#include "base/clock.h"
#include "base/str.h"
#include "cli/client.h"
#include "daemon/runner.h"
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_ROWS = 50 };

/* --since: RFC 3339 or a duration back from now. */
static sm_rc since(const char *text, int64_t *ns, sm_err *err) {
    double seconds;
    if (strchr(text, 'T') || strchr(text, ':'))
        return sm_time_parse(text, ns, err);
    if (sm_duration_parse(text, &seconds, NULL) != SM_OK)
        return sm_err_set(
            err, SM_INVALID,
            "--since: expected a duration (2h) or a time (2026-11-22T15:00:00Z), got %s", text);
    *ns = sm_wall_ns() - (int64_t)(seconds * 1e9);
    return SM_OK;
}

/* --status: of an event, or the outcome of a run. */
static int check_status(const char *name, const char *status) {
    static const char *const statuses[] = {"info", "ok", "warning", "error", "critical"};
    static const char *const outcomes[] = {"ok",         "failed",       "timeout", "limit",
                                           "disabled",   "skipped",      "missed",  "cancelled",
                                           "bad_params", "unregistered", "crashed"};
    bool runs = strcmp(name, "runs") == 0;
    const char *const *known = runs ? outcomes : statuses;
    size_t n = runs ? SM_ARRAY_LEN(outcomes) : SM_ARRAY_LEN(statuses);
    char text[512], hint[128];
    for (size_t i = 0; i < n; i++)
        if (strcmp(known[i], status) == 0)
            return SM_EXIT_OK;
    int at = snprintf(text, sizeof text, "--status: expected one of ");
    for (size_t i = 0; i < n; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, "%s%s", i ? ", " : "", known[i]);
    snprintf(text + at, sizeof text - (size_t)at, "; got %.40s%s", status,
             sm_str_hint(status, known, n, hint, sizeof hint));
    return sm_cli_fail(SM_EXIT_USAGE, text);
}

/* Reads rows by name; a missing store is an empty one. 0 or an exit code. */
static int read_rows(const sm_args *a, const char *name, json_t **rows) {
    sm_config *config = NULL;
    sm_client *link = NULL;
    sm_err err = SM_ERR_INIT;
    int64_t from = 0;
    *rows = NULL;
    if (a->n_rest > 0 && a->id)
        return sm_cli_fail(SM_EXIT_USAGE, "an inspection is given twice: as argument and by --id");
    if (a->since && since(a->since, &from, &err) != SM_OK)
        return sm_cli_fail(SM_EXIT_USAGE, err.msg);
    int code = a->status ? check_status(name, a->status) : SM_EXIT_OK;
    if (code == SM_EXIT_OK)
        code = sm_client_config(a, &config);
    if (code != SM_EXIT_OK)
        return code;
    const char *id = a->id ? a->id : a->n_rest > 0 ? a->rest[0] : NULL;
    json_t *args = json_object();
    if (a->since)
        json_object_set_new(args, "since_ns", json_integer(from));
    if (id)
        json_object_set_new(args, "id", json_string(id));
    if (a->status)
        json_object_set_new(args, "status", json_string(a->status));
    if (a->n || !a->json)
        json_object_set_new(args, "limit", json_integer(a->n ? a->n : DEFAULT_ROWS));
    if (a->log)
        json_object_set_new(args, "log", json_true());
    if (a->gaps)
        json_object_set_new(args, "gaps", json_true());
    sm_rc rc = sm_client_open(config, &link, &err);
    if (rc == SM_OK)
        rc = sm_client_call(link, name, args, rows, &err);
    else
        json_decref(args);
    if (rc == SM_NOT_FOUND) {
        *rows = json_array();
        rc = SM_OK;
    }
    sm_client_close(link);
    sm_config_free(config);
    return rc == SM_OK ? SM_EXIT_OK : sm_cli_fail(SM_EXIT_FAIL, err.msg);
}

static void cell(const char *text, int width) {
    char *shown = sm_cli_text(text, 2000);
    int pad = width - (int)sm_utf8_count(shown, strlen(shown));
    printf("%s%*s", shown, pad > 0 ? pad : 0, "");
    free(shown);
}

static int widest(const json_t *rows, const char *key, int least) {
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        int n = (int)strlen(sm_json_str(row, key, ""));
        least = n > least && n <= 60 ? n : least;
    }
    return least;
}

int sm_cmd_events(const sm_args *a) {
    json_t *rows = NULL, *row;
    size_t i;
    int code = read_rows(a, "events", &rows);
    bool color = sm_cli_color(a, stdout);
    if (code != SM_EXIT_OK)
        return code;
    if (a->json)
        sm_cli_json(rows);
    int width = widest(rows, "id", 10);
    json_array_foreach(a->json ? NULL : rows, i, row) {
        const char *status = sm_json_str(row, "status", "");
        printf("%.19sZ  %s%-8s%s  ", sm_json_str(row, "at", ""), sm_cli_paint(color, status),
               status, sm_cli_plain(color));
        cell(sm_json_str(row, "id", ""), width + 2);
        printf("%-9s  ", sm_json_str(row, "delivery", ""));
        cell(sm_json_str(row, "title", ""), 0);
        const char *reason = sm_json_str(row, "reason", "");
        if (*reason && strcmp(sm_json_str(row, "delivery", ""), "delivered") != 0) {
            printf("  (");
            cell(reason, 0);
            printf(")");
        }
        putchar('\n');
    }
    if (!a->json && json_array_size(rows) == 0)
        fprintf(stderr, "no events\n");
    json_decref(rows);
    return SM_EXIT_OK;
}

/* The stored text of each run's log as lines; a run that goes on has none yet. */
static void unpack_logs(json_t *rows) {
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        const char *text = sm_json_str(row, "log", "");
        json_object_set_new(row, "log", sm_runner_log_json(text, strlen(text)));
    }
}

static void print_log(const json_t *row) {
    size_t i;
    json_t *line;
    json_array_foreach(json_object_get(row, "log"), i, line) {
        printf("    %8.3f %-5s ", sm_json_num(line, "t", 0), sm_json_str(line, "level", ""));
        cell(sm_json_str(line, "text", ""), 0);
        putchar('\n');
    }
}

/* "2026-…Z  missed   id   7 slots until …Z (no process was there)" */
static void print_gap(const json_t *row, bool color, int width) {
    const char *outcome = sm_json_str(row, "outcome", ""), *reason = sm_json_str(row, "reason", "");
    int64_t n = sm_json_int(row, "count", 1);
    printf("%.19sZ  %s%-12s%s  ", sm_json_str(row, "from", ""), sm_cli_paint(color, outcome),
           outcome, sm_cli_plain(color));
    cell(sm_json_str(row, "id", ""), width + 2);
    printf("%s%lld slot%s", sm_json_bool(row, "estimated", false) ? "about " : "", (long long)n,
           n == 1 ? "" : "s");
    if (n > 1)
        printf(" until %.19sZ", sm_json_str(row, "to", ""));
    if (*reason) {
        printf("  (");
        cell(reason, 0);
        printf(")");
    }
    putchar('\n');
}

int sm_cmd_runs(const sm_args *a) {
    json_t *rows = NULL, *row;
    size_t i;
    int code = read_rows(a, "runs", &rows);
    bool color = sm_cli_color(a, stdout);
    if (code != SM_EXIT_OK)
        return code;
    bool gaps =
        a->gaps ||
        (a->status && (strcmp(a->status, "missed") == 0 || strcmp(a->status, "skipped") == 0));
    if (a->log && !gaps)
        unpack_logs(rows);
    if (a->json)
        sm_cli_json(rows);
    int width = widest(rows, "id", 10);
    json_array_foreach(a->json ? NULL : rows, i, row) {
        if (gaps) {
            print_gap(row, color, width);
            continue;
        }
        const char *outcome = sm_json_str(row, "outcome", "");
        if (!*outcome)
            outcome = "running";
        printf("%.19sZ  %s%-12s%s  ", sm_json_str(row, "started", ""), sm_cli_paint(color, outcome),
               outcome, sm_cli_plain(color));
        cell(sm_json_str(row, "id", ""), width + 2);
        int64_t n = sm_json_int(row, "events", 0);
        printf("%-8s %7.3f s  %lld event%s", sm_json_str(row, "trigger", ""),
               sm_json_num(row, "seconds", 0), (long long)n, n == 1 ? " " : "s");
        const char *error = sm_json_str(row, "error", NULL);
        if (error) {
            printf("  ");
            cell(error, 0);
        }
        putchar('\n');
        print_log(row);
    }
    if (!a->json && json_array_size(rows) == 0)
        fprintf(stderr, gaps ? "no gaps\n" : "no runs\n");
    json_decref(rows);
    return SM_EXIT_OK;
}
