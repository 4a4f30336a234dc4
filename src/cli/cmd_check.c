/* cmd_check: `selfmon-lua check`: runs one inspection and answers as a monitoring plugin does: a
 * line with the status, the worst event's title and performance data, a line for each further
 * event, and the exit code 0, 1, 2 or 3. Whatever goes wrong on the way is UNKNOWN.
 *
 * A thread ends the process when it takes too long; who takes `said` first speaks. The store can be
 * left at any instruction.
 */
#include "base/clock.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/once_road.h"
#include "platform/event.h"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { OK, WARNING, CRITICAL, UNKNOWN, DRAIN_MS = 5000, LINE_MAX_BYTES = 1024, LINES_MAX = 50 };
static const double TIMEOUT_S = 60;
static const char *const names[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};

typedef struct check {
    const sm_args *args;
    json_t *reports;
    int64_t until_ns;
    double timeout_s;
    atomic_bool said;
} check;

static int code_of(const char *status) {
    int rank = sm_event_status_rank(status);
    return rank >= sm_event_status_rank("error")     ? CRITICAL
           : rank >= sm_event_status_rank("warning") ? WARNING
                                                     : OK;
}

/* One line of a plugin: no control bytes, and `|` belongs to performance data. */
static void put_text(const char *text) {
    char *shown = sm_cli_text(text, LINE_MAX_BYTES);
    for (const char *p = shown; *p; p++) {
        if (*p == '|')
            fputs("\302\246", stdout); /* a broken bar */
        else
            putchar(*p);
    }
    free(shown);
}

static int say(check *c, int code, const char *text, size_t more, double seconds, int64_t events) {
    if (atomic_exchange(&c->said, true))
        for (;;)
            pause(); /* the other thread ends the process */
    printf("%s - ", names[code]);
    put_text(text);
    if (more > 0)
        printf(", and %zu more", more);
    if (seconds >= 0)
        printf(" | time=%.6fs;;;0 events=%lld;;;0", seconds, (long long)events);
    putchar('\n');
    return code;
}

static int unknown(check *c, const char *text) {
    return say(c, UNKNOWN, text, 0, -1, 0);
}

int sm_cmd_check_usage(const char *sentence) {
    check c = {.said = false};
    return unknown(&c, sentence);
}

static void *guard(void *arg) {
    check *c = arg;
    int64_t left;
    while ((left = (c->until_ns - sm_mono_ns()) / SM_NS_PER_MS) > 0)
        poll(NULL, 0, left < 1000 ? (int)left + 1 : 1000);
    if (atomic_exchange(&c->said, true))
        return NULL;
    printf("%s - no answer within %g s\n", names[UNKNOWN], c->timeout_s);
    fflush(stdout);
    _exit(UNKNOWN);
}

/* ---- what was run, and what it reported ---- */

static void told_run(void *ctx, const json_t *report) {
    check *c = ctx;
    json_array_append(c->reports, (json_t *)(uintptr_t)report);
    if (c->args->verbose)
        sm_cli_run_log(stderr, report, true);
}

static void told_loaded(void *ctx, const sm_app *app, bool first) {
    (void)ctx, (void)app, (void)first;
}

static void told_stopping(void *ctx, int signal) {
    (void)ctx, (void)signal;
}

/* The events of the runs: they hold them themselves (dry run), or the store does. */
static json_t *events_of(const check *c, const sm_config *config) {
    json_t *out = json_array(), *report, *event;
    size_t i, k;
    sm_client *link = NULL;
    json_array_foreach(c->reports, i, report) {
        json_t *rows = NULL;
        const char *run = sm_json_str(report, "run", "");
        sm_err err = SM_ERR_INIT;
        json_array_extend(out, json_object_get(report, "reported"));
        if (json_object_get(report, "reported") || sm_json_int(report, "events", 0) == 0)
            continue;
        if (!link && sm_client_open_reader(config, &link, &err) != SM_OK)
            break;
        json_t *ask = json_pack("{s:O, s:i}", "id", json_object_get(report, "id"), "limit", 1000);
        if (sm_client_call(link, "events", ask, &rows, &err) != SM_OK)
            continue;
        json_array_foreach(rows, k, event) {
            if (strcmp(sm_json_str(event, "run", ""), run) == 0)
                json_array_append(out, event);
        }
        json_decref(rows);
    }
    sm_client_close(link);
    return out;
}

/* Of all runs and events the one that counts; *events: worst first, new reference. */
static int judge(check *c, const sm_config *config, const json_t *result) {
    json_t *report, *event, *events = events_of(c, config), *worst = NULL;
    size_t i, at = 0, runs = json_array_size(c->reports);
    double seconds = 0;
    int64_t n = 0;
    int code = OK;
    char text[SM_ERR_MAX + 512] = "";
    const json_t *broken = json_array_get(json_object_get(result, "load_errors"), 0);
    json_array_foreach(c->reports, i, report) {
        const char *outcome = sm_json_str(report, "outcome", "?");
        const char *said = sm_json_str(report, "worst", NULL);
        seconds += sm_json_num(report, "seconds", 0);
        n += sm_json_int(report, "events", 0);
        if (strcmp(outcome, "ok") != 0 && code != UNKNOWN) {
            const char *why = sm_json_str(report, "error", NULL);
            code = UNKNOWN;
            snprintf(text, sizeof text, "%s: %s%s%s", sm_json_str(report, "id", "?"), outcome,
                     why ? ": " : "", why ? why : "");
        } else if (code != UNKNOWN && said && code_of(said) > code) {
            code = code_of(said);
        }
    }
    if (broken && code != UNKNOWN) {
        code = UNKNOWN;
        snprintf(text, sizeof text, "%s", sm_json_str(broken, "error", "it does not load"));
    }
    json_array_foreach(events, i, event) {
        if (!worst || sm_event_status_rank(sm_json_str(event, "status", "")) >
                          sm_event_status_rank(sm_json_str(worst, "status", ""))) {
            worst = event;
            at = i;
        }
    }
    size_t shown = json_array_size(events);
    if (text[0])
        worst = NULL;
    else if (worst)
        snprintf(text, sizeof text, "%s", sm_json_str(worst, "title", ""));
    else if (runs == 1)
        snprintf(text, sizeof text, "%s: nothing to report",
                 sm_json_str(json_array_get(c->reports, 0), "id", "?"));
    else
        snprintf(text, sizeof text, "%zu inspections, nothing to report", runs);
    say(c, code, text, worst ? shown - 1 : 0, seconds, n);
    size_t lines = 0;
    json_array_foreach(events, i, event) {
        if ((worst && i == at) || lines++ >= LINES_MAX)
            continue;
        printf("%s: ", names[code_of(sm_json_str(event, "status", ""))]);
        put_text(sm_json_str(event, "title", ""));
        putchar('\n');
    }
    json_decref(events);
    return code;
}

/* ---- the command ---- */

/* -p NAME=VALUE is for the inspection that is named. */
static sm_rc own_params(sm_args *a, const char *id, sm_err *err) {
    json_t *plain = json_object_get(a->override, "");
    if (!plain)
        return SM_OK;
    if (!id)
        return sm_err_set(err, SM_INVALID,
                          "-p: a file may have several inspections: expected ID:NAME=VALUE");
    json_t *named = json_object_get(a->override, id);
    if (named)
        json_object_update(plain, named);
    json_object_set(a->override, id, plain);
    json_object_del(a->override, "");
    return SM_OK;
}

static sm_rc select_one(sm_args *a, const sm_config *config, bool is_file, json_t **out,
                        sm_err *err) {
    json_t *paths = NULL;
    *out = NULL;
    if (!is_file) {
        *out = json_pack("{s:s, s:[], s:[]}", "id", a->rest[0], "tags", "paths");
        return SM_OK;
    }
    if (sm_cli_paths(a, config, &paths, err) != SM_OK)
        return err->code;
    *out = json_pack("{s:[], s:o}", "tags", "paths", paths);
    return SM_OK;
}

static int run(check *c, sm_args *a, sm_config *config, bool is_file) {
    json_t *select = NULL, *result = NULL;
    sm_err err = SM_ERR_INIT;
    int code;
    sm_rc rc = select_one(a, config, is_file, &select, &err);
    if (rc == SM_OK)
        rc = own_params(a, is_file ? NULL : a->rest[0], &err);
    if (rc == SM_OK) {
        sm_app_options options = {
            .mode = a->dry ? SM_APP_DRY : SM_APP_ONCE,
            .self = a->self,
            .config = config,
            .select = select,
            .override = a->override,
            .drain_ms = DRAIN_MS,
            .wait_ms = (int)(c->timeout_s * 1000),
            .listener = {
                .ctx = c, .loaded = told_loaded, .run = told_run, .stopping = told_stopping}};
        rc = sm_cli_once(&options, c->timeout_s, &result, &err);
    }
    if (rc != SM_OK)
        code = unknown(c, err.msg);
    else if (json_array_size(c->reports) == 0 &&
             json_array_size(json_object_get(result, "load_errors")) == 0)
        code = unknown(c, "nothing was run");
    else
        code = judge(c, config, result);
    json_decref(select);
    json_decref(result);
    return code;
}

int sm_cmd_check(const sm_args *given) {
    sm_args args = *given;
    sm_config *config = NULL;
    sm_err err = SM_ERR_INIT;
    check c = {.args = given, .timeout_s = given->timeout_s > 0 ? given->timeout_s : TIMEOUT_S};
    pthread_t thread;
    if (args.n_rest != 1)
        return unknown(&c, "expected one id or file, as in `selfmon-lua check host/disk.run`");
    bool is_file = sm_fsx_exists(args.rest[0]) && !sm_fsx_is_dir(args.rest[0]);
    if (is_file)
        args.flags.path = args.rest[0];
    c.until_ns = sm_mono_ns() + (int64_t)(c.timeout_s * 1e9);
    prctl(PR_SET_DUMPABLE, 0);
    if (pthread_create(&thread, NULL, guard, &c) != 0)
        return unknown(&c, "a thread cannot be started");
    pthread_detach(thread);
    if (sm_cli_load(&args, true, &config, &err) != SM_OK)
        return unknown(&c, err.msg);
    sm_cli_log(&args, config);
    c.reports = json_array();
    int code = run(&c, &args, config, is_file);
    json_decref(c.reports);
    sm_config_free(config);
    return code;
}
