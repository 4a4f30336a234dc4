/* status_text: see status.h. First whether all is well and how much there is, then what is not, by
 * how bad it is; whoever has few inspections sees them all. Called by cmd_status.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/status.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    COLUMNS = 100,
    ALL_MAX = 30,   /* so many inspections are shown whatever they do */
    SHOWN_MAX = 50, /* rows otherwise */
    ID_MAX = 36
};

/* "3 s", "5 min", "2 h", "4 d". */
static const char *ago(double seconds, char out[32]) {
    static const struct {
        double unit, until;
        const char *name;
    } units[] = {{1, 100, "s"}, {60, 6000, "min"}, {3600, 172800, "h"}, {86400, HUGE_VAL, "d"}};
    size_t i = 0;
    while (seconds >= units[i].until)
        i++;
    snprintf(out, 32, "%.0f %s", seconds / units[i].unit, units[i].name);
    return out;
}

/* "0.3 ms", "12 ms", "1.2 s": short times. */
static const char *shortly(double s, char out[32]) {
    if (s < 0.00995)
        snprintf(out, 32, "%.1f ms", s * 1000);
    else if (s < 0.9995)
        snprintf(out, 32, "%.0f ms", s * 1000);
    else
        snprintf(out, 32, "%.1f s", s);
    return out;
}

static const char *size(double bytes, char out[32]) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;
    for (; bytes >= 1024 && i + 1 < SM_ARRAY_LEN(units); i++)
        bytes /= 1024;
    snprintf(out, 32, i ? "%.1f %s" : "%.0f %s", bytes, units[i]);
    return out;
}

/* A text from elsewhere, cut to what is left of the line after `used` columns. */
static void print_cut(const char *text, size_t used) {
    char *shown = sm_cli_text(text, COLUMNS - used);
    size_t n = strlen(shown), cut = sm_utf8_cut(shown, n, COLUMNS - used);
    printf("%.*s\n", (int)cut, shown);
    free(shown);
}

/* A word and a text that must be read whole: continued below the text, at blanks. */
static void print_told(bool color, const char *paint, const char *word, const char *text) {
    char *shown = sm_cli_text(text, 2000);
    size_t indent = strlen(word) + 2, room = COLUMNS - indent;
    printf("%s%s%s  ", sm_cli_paint(color, paint), word, sm_cli_plain(color));
    for (const char *p = shown;;) {
        size_t n = strlen(p), cut = sm_utf8_cut(p, n, room), blank = cut;
        while (cut < n && blank > room / 2 && p[blank] != ' ')
            blank--;
        if (cut < n && p[blank] == ' ')
            cut = blank;
        printf("%.*s\n", (int)cut, p);
        p += cut;
        p += *p == ' ';
        if (!*p)
            break;
        printf("%*s", (int)indent, "");
    }
    free(shown);
}

/* ---- inspections ---- */

/* How bad the end of its last run is, from 1; 0: it is not. */
static int last_trouble(const json_t *item) {
    static const char *const bad[] = {"skipped", "missed", "unregistered", "bad_params",
                                      "limit",   "failed", "timeout",      "crashed"};
    const char *last = sm_json_str(json_object_get(item, "last"), "outcome", "");
    for (size_t i = 0; i < SM_ARRAY_LEN(bad); i++)
        if (strcmp(bad[i], last) == 0)
            return (int)i + 1;
    return 0;
}

bool sm_status_failing(const json_t *item) {
    return last_trouble(item) > 0;
}

int sm_status_trouble(const json_t *item) {
    return last_trouble(item) + (sm_json_bool(item, "stale", false) ? 10 : 0) +
           (sm_json_str(item, "condition", NULL) ? 20 : 0);
}

static int by_trouble(const void *a, const void *b) {
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    int order = sm_status_trouble(y) - sm_status_trouble(x);
    return order ? order : strcmp(sm_json_str(x, "id", ""), sm_json_str(y, "id", ""));
}

/* Why it is listed among the troubled ones, in the lines below it. */
static void print_why(const json_t *item, bool color) {
    const char *condition = sm_json_str(item, "condition", NULL);
    const char *until = sm_json_str(item, "condition_until", NULL);
    const char *error = sm_json_str(json_object_get(item, "last"), "error", NULL);
    if (error) {
        printf("    ");
        print_cut(error, 4);
    }
    if (sm_json_bool(item, "stale", false))
        printf("    its file does not load; its last good version runs\n");
    if (!condition)
        return;
    char *text = sm_asprintf("since %s%s%s: %s", sm_json_str(item, "condition_since", "?"),
                             until ? ", next run not before " : "", until ? until : "",
                             sm_json_str(item, "condition_why", ""));
    printf("    ");
    print_told(color, "missed", condition, text);
    free(text);
}

static void print_row(const json_t *item, int width, bool color) {
    const char *id = sm_json_str(item, "id", "");
    const char *outcome = sm_json_str(json_object_get(item, "last"), "outcome", "never ran");
    const json_t *enabled = json_object_get(item, "enabled");
    char seen[32] = "never";
    if (json_is_number(json_object_get(item, "age")))
        ago(sm_json_num(item, "age", 0), seen);
    if ((int)strlen(id) > width)
        printf("%s\n%*s", id, width, "");
    else
        printf("%-*s", width, id);
    printf("  %s%-12s%s  %-20s  %-15s  %s\n", sm_cli_paint(color, outcome), outcome,
           sm_cli_plain(color), sm_json_str(item, "next", "-"),
           !json_is_boolean(enabled) ? "not registered"
           : json_is_true(enabled)   ? "enabled"
                                     : "disabled",
           seen);
    if (sm_status_trouble(item) > 0)
        print_why(item, color);
}

static void print_inspections(const json_t *list, bool color) {
    size_t n = json_array_size(list), shown = 0, troubled = 0;
    int width = 10;
    json_t **sorted = sm_calloc(n + 1, sizeof(json_t *));
    for (size_t i = 0; i < n; i++) {
        sorted[i] = json_array_get(list, i);
        troubled += sm_status_trouble(sorted[i]) > 0;
    }
    if (n > 0)
        qsort(sorted, n, sizeof(json_t *), by_trouble);
    shown = n <= ALL_MAX ? n : troubled < SHOWN_MAX ? troubled : SHOWN_MAX;
    for (size_t i = 0; i < shown; i++) {
        int len = (int)strlen(sm_json_str(sorted[i], "id", ""));
        width = len > width ? len : width;
    }
    width = width > ID_MAX ? ID_MAX : width;
    if (shown > 0)
        printf("%-*s  %-12s  %-20s  %-15s  %s\n", width, "ID", "LAST", "NEXT (UTC)",
               "ON THE PLATFORM", "SEEN");
    for (size_t i = 0; i < shown; i++)
        print_row(sorted[i], width, color);
    if (shown < troubled)
        printf("and %zu more like these (`status --json` has all)\n", troubled - shown);
    else if (shown < n)
        printf("%s%zu more are fine (`list` shows them)\n", shown ? "and " : "", n - shown);
    free(sorted);
}

static void print_counts(const json_t *c) {
    static const struct {
        const char *key, *text;
    } parts[] = {{"failing", "did not end well"}, {"stale", "stale"},
                 {"quarantined", "quarantined"},  {"penalised", "penalised"},
                 {"disabled", "disabled"},        {"unregistered", "not registered"},
                 {"never_ran", "never ran"},      {"load_errors", "files do not load"}};
    printf("inspections: %lld", (long long)sm_json_int(c, "inspections", 0));
    for (size_t i = 0; i < SM_ARRAY_LEN(parts); i++) {
        int64_t n = sm_json_int(c, parts[i].key, 0);
        if (n > 0)
            printf(", %lld %s", (long long)n,
                   n == 1 && i + 1 == SM_ARRAY_LEN(parts) ? "file does not load" : parts[i].text);
    }
    putchar('\n');
}

/* ---- the process ---- */

static void print_process(const json_t *p, bool color) {
    char up[32], rss[32];
    const char *why = sm_json_str(p, "not_ready", NULL);
    printf("daemon: pid %lld, up %s, %s; %s%s%s\n", (long long)sm_json_int(p, "pid", 0),
           ago(sm_json_num(p, "uptime", 0), up), size(sm_json_num(p, "rss", 0), rss),
           sm_cli_paint(color, why ? "failed" : "ok"), why ? "not ready" : "ready",
           sm_cli_plain(color));
    if (why)
        print_told(color, "failed", "not ready:", why);
}

/* "  5 ok, 2 failed", broken at the width. */
static void print_runs(const json_t *runs, const json_t *late, double uptime) {
    char up[32], p50[32], p99[32], max[32], over[32];
    const char *outcome;
    json_t *n;
    int64_t all = 0;
    json_object_foreach((json_t *)(uintptr_t)runs, outcome, n) all += json_integer_value(n);
    int at = printf("runs: %lld in %s", (long long)all, ago(uptime, up));
    json_object_foreach((json_t *)(uintptr_t)runs, outcome, n) {
        char part[64];
        if (json_integer_value(n) == 0)
            continue;
        int len =
            snprintf(part, sizeof part, ", %lld %s", (long long)json_integer_value(n), outcome);
        if (at + len > COLUMNS)
            at = printf("\n     ") - 1;
        at += printf("%s", part);
    }
    putchar('\n');
    if (sm_json_int(late, "n", 0) > 0)
        printf(
            "late: half at most %s, 99 %% at most %s, all at most %s (%lld runs of the last %s)\n",
            shortly(sm_json_num(late, "p50", 0), p50), shortly(sm_json_num(late, "p99", 0), p99),
            shortly(sm_json_num(late, "max", 0), max), (long long)sm_json_int(late, "n", 0),
            ago(sm_json_num(late, "seconds", 0), over));
}

static void print_workers(const json_t *pool) {
    const json_t *totals = json_object_get(pool, "totals");
    const char *why;
    json_t *n;
    int64_t killed = 0;
    json_object_foreach(json_object_get(totals, "killed"), why, n) killed += json_integer_value(n);
    printf("workers: %zu, %lld running, %lld queued; %lld started, %lld died, %lld killed\n",
           json_array_size(json_object_get(pool, "workers")),
           (long long)sm_json_int(pool, "running", 0), (long long)sm_json_int(pool, "queued", 0),
           (long long)sm_json_int(totals, "spawned", 0), (long long)sm_json_int(totals, "died", 0),
           (long long)killed);
}

/* Programs of scripts, once there was one. */
static void print_programs(const json_t *exec) {
    const char *why;
    json_t *n;
    int64_t ended = 0;
    json_object_foreach(json_object_get(exec, "ended"), why, n) ended += json_integer_value(n);
    if (sm_json_int(exec, "started", 0) + sm_json_int(exec, "failed", 0) > 0)
        printf("programs: %lld running, %lld waiting; %lld started, %lld failed, %lld ended at a "
               "limit\n",
               (long long)sm_json_int(exec, "running", 0),
               (long long)sm_json_int(exec, "waiting", 0),
               (long long)sm_json_int(exec, "started", 0),
               (long long)sm_json_int(exec, "failed", 0), (long long)ended);
}

static void print_store(const json_t *store, bool color) {
    char bytes[32], ping[32];
    const char *refuses = sm_json_str(store, "refuses", NULL);
    printf("store: %s, answered in %s\n", size(sm_json_num(store, "bytes", 0), bytes),
           shortly(sm_json_num(store, "ping", 0), ping));
    if (refuses)
        print_told(color, "failed", "store refuses events:", refuses);
}

/* ---- platform and outbox ---- */

static void print_outbox(const json_t *outbox) {
    char oldest[64] = "", bytes[32];
    int64_t at = 0;
    if (sm_time_parse(sm_json_str(outbox, "oldest", ""), &at, NULL) == SM_OK) {
        char text[32];
        snprintf(oldest, sizeof oldest, "; the oldest since %s",
                 ago((double)(sm_wall_ns() - at) / 1e9, text));
    }
    printf("outbox: %lld pending, %lld in flight, %lld held, %lld refused, %s%s\n",
           (long long)sm_json_int(outbox, "pending", 0),
           (long long)sm_json_int(outbox, "inflight", 0), (long long)sm_json_int(outbox, "held", 0),
           (long long)sm_json_int(outbox, "refused", 0),
           size(sm_json_num(outbox, "bytes", 0), bytes), oldest);
}

/* Only while it does not let everything through. */
static void print_breaker(const json_t *b, bool color) {
    const char *state = sm_json_str(b, "state", "closed"), *next = sm_json_str(b, "next", NULL);
    if (strcmp(state, "closed") == 0)
        return;
    int64_t n = sm_json_int(b, "failures", 0);
    char *text = sm_asprintf("%lld failure%s in a row, since %s; %s%s", (long long)n,
                             n == 1 ? "" : "s", sm_json_str(b, "since", "?"),
                             next ? "events wait, one is tried at " : "one event is tried now",
                             next ? next : "");
    print_told(color, "failed", "  deliveries pause:", text);
    free(text);
}

static void print_account(const json_t *a, bool color) {
    const json_t *budget = json_object_get(a, "budget");
    int64_t missing = sm_json_int(a, "unregistered", 0);
    const char *error = sm_json_str(a, "last_error", NULL);
    printf("account %s: node %s", sm_json_str(a, "name", "?"), sm_json_str(a, "node", "?"));
    if (budget)
        printf(", %.0f of %.0f calls a minute left, %lld wait", sm_json_num(budget, "key", 0),
               sm_json_num(budget, "per_minute", 0), (long long)sm_json_int(budget, "waiting", 0));
    putchar('\n');
    if (missing > 0 && budget) {
        char text[32];
        printf("  %lld not registered yet: about %s\n", (long long)missing,
               ago(sm_json_num(a, "fill_seconds", 0), text));
    }
    if (error)
        print_told(color, "failed", "  last error:", error);
    print_breaker(json_object_get(a, "breaker"), color);
}

/* Only when the daemon works with another one than the file has. */
static void print_configuration(const json_t *c, bool color) {
    const char *error = sm_json_str(c, "error", NULL);
    if (!error)
        return;
    char *text =
        sm_asprintf("%s; the one of %s stays", error, sm_json_str(c, "loaded_at", "the start"));
    print_told(color, "load_error", "configuration:", text);
    free(text);
}

static void print_load_error(const json_t *e, bool color) {
    const char *since = sm_json_str(e, "since", NULL);
    char *text =
        sm_json_bool(e, "stale", false)
            ? sm_asprintf("%s  (its last good version keeps running%s%s)",
                          sm_json_str(e, "error", ""), since ? ", since " : "", since ? since : "")
            : sm_strdup(sm_json_str(e, "error", ""));
    print_told(color, "load_error", "load_error", text);
    free(text);
}

void sm_status_print(const json_t *status, const sm_config *config, bool color) {
    size_t i;
    json_t *one;
    const json_t *process = json_object_get(status, "process");
    char *state = sm_cli_path(config->state_dir), age[32];
    printf("selfmon-lua %s   node %s   state %s\n", sm_json_str(process, "version", SM_VERSION),
           config->node, state);
    free(state);
    if (!sm_json_bool(status, "daemon", false))
        printf("no daemon runs: this is what the store last knew\n");
    else
        print_process(process, color);
    print_counts(json_object_get(status, "counts"));
    print_configuration(json_object_get(status, "configuration"), color);
    json_array_foreach(json_object_get(status, "trouble"), i, one) {
        print_told(color, "failed", "trouble:", json_is_string(one) ? json_string_value(one) : "?");
    }
    json_array_foreach(json_object_get(status, "load_errors"), i, one) {
        print_load_error(one, color);
    }
    print_inspections(json_object_get(status, "inspections"), color);
    if (json_is_object(json_object_get(status, "runs")))
        print_runs(json_object_get(status, "runs"), json_object_get(status, "lateness"),
                   sm_json_num(process, "uptime", 0));
    if (json_is_object(json_object_get(status, "workers")))
        print_workers(json_object_get(status, "workers"));
    print_programs(json_object_get(status, "exec"));
    print_outbox(json_object_get(status, "outbox"));
    if (json_is_object(json_object_get(status, "store")))
        print_store(json_object_get(status, "store"), color);
    json_array_foreach(json_object_get(status, "accounts"), i, one) {
        print_account(one, color);
    }
    if (json_is_number(json_object_get(status, "view_age")))
        printf("the platform's view: the oldest was seen %s ago\n",
               ago(sm_json_num(status, "view_age", 0), age));
}
