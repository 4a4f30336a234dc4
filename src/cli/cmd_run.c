/* cmd_run: `selfmon-lua run`: the daemon, --once, --dry-run. It prints; daemon/app does the work.
 */
#include "cli/cli.h"
#include "base/clock.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/once_road.h"
#include "cli/serve.h"
#include "daemon/app.h"
#include "platform/event.h"
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

enum { LAST_LINES_MS = 1000 };

typedef struct show {
    const sm_args *args;
    sm_config *config; /* referenced */
    FILE *to;          /* where a person reads; a text in memory for the log of a daemon */
    char *lines;       /* that text, and its length */
    size_t lines_n;
    bool json; /* the daemon's log is JSON */
    bool color;
    int id_width;
    json_t *disabled; /* daemon: ids whose `disabled` was told already */
    json_t *events;   /* dry run: what was reported */
    json_t *summary;  /* --once: objects of --json */
    const char *worst;
    sm_serve *serve;
    bool refused; /* what was asked for cannot be listened on */
} show;

/* Ends what was written to s->to: to the person, or as a whole into the daemon's log. */
static void told(show *s) {
    fflush(s->to);
    if (!s->lines)
        return;
    if (!s->json)
        sm_log_out(s->lines, s->lines_n);
    for (char *line = s->lines, *end;
         s->json && (end = memchr(line, '\n', (size_t)(s->lines + s->lines_n - line)));
         line = end + 1)
        sm_log(SM_LOG_INFO, "%.*s", (int)(end - line), line);
    fseeko(s->to, 0, SEEK_SET);
}

static void header(show *s) {
    char *state = sm_cli_path(s->config->state_dir);
    if (!s->args->quiet)
        fprintf(s->to, "selfmon-lua %s   node %s   state %s\n", SM_VERSION, s->config->node,
                s->args->dry ? "none (dry run)" : state);
    free(state);
    const char *origin = sm_json_str(s->config->origins, "accounts.default.node", "");
    if (strcmp(s->config->node, "default") == 0 && strcmp(origin, "default") == 0)
        fprintf(s->to,
                "a key and no node: this is Guance Cloud, Hangzhou; for another one set, for "
                "example, SELFMON_NODE=truewatch/us1\n");
    told(s);
}

static void told_loaded(void *ctx, const sm_app *app, bool first) {
    show *s = ctx;
    size_t n, bad;
    sm_inspection *const *list = sm_catalog_list(sm_app_catalog(app), &n);
    sm_catalog_errors(sm_app_catalog(app), &bad);
    for (size_t i = 0; i < n; i++) {
        int width = (int)strlen(list[i]->id);
        s->id_width = width > s->id_width && width <= 60 ? width : s->id_width;
    }
    if (s->args->quiet)
        return;
    fprintf(s->to, "%s %zu inspection%s in %.0f ms", first ? "loaded" : "reloaded:", n,
            n == 1 ? "" : "s", sm_catalog_scan_ms(sm_app_catalog(app)));
    if (bad)
        fprintf(s->to, "; %zu file%s not load", bad, bad == 1 ? " does" : "s do");
    fputc('\n', s->to);
    const sm_scheduler *scheduler = sm_app_scheduler(app);
    int64_t slot = 0;
    const char *next = scheduler && first ? sm_scheduler_earliest(scheduler, &slot) : NULL;
    if (next) {
        char at[32];
        sm_time_rfc3339(slot * SM_NS_PER_S, false, at);
        fprintf(s->to, "next: %s at %s; stop with Ctrl-C\n", next, at);
    }
    told(s);
}

static void told_stopping(void *ctx, int signal) {
    (void)signal;
    show *s = ctx;
    if (!s->args->quiet)
        fprintf(s->to, "stopping: running inspections get 10 s (again to stop now)\n");
    told(s);
}

static sm_rc begin_serving(void *ctx, const sm_app *app, uv_loop_t *loop, sm_err *err) {
    show *s = ctx;
    sm_rc rc = sm_serve_open(s->config, app, loop, &s->serve, err);
    s->refused = rc != SM_OK;
    return rc;
}

static void end_serving(void *ctx) {
    show *s = ctx;
    sm_serve_close(s->serve);
}

/* For a person, or as JSON into the log of a daemon. */
static void choose_format(show *s) {
    const char *format = s->args->log_format ? s->args->log_format : s->config->log_format;
    s->json = !s->args->once && strcmp(format, "json") == 0;
    s->color = !s->json && sm_cli_color(s->args, s->args->once ? s->to : stdout);
}

static void told_configured(void *ctx, const sm_config *now) {
    show *s = ctx;
    sm_config_free(s->config);
    s->config = sm_config_ref(now);
    sm_cli_log(s->args, now);
    choose_format(s);
}

/* `disabled` is told when it begins, not at each slot. */
static bool is_news(show *s, const json_t *report) {
    const char *id = sm_json_str(report, "id", "");
    bool disabled = strcmp(sm_json_str(report, "outcome", ""), "disabled") == 0;
    bool told = json_object_get(s->disabled, id) != NULL;
    if (disabled)
        json_object_set_new(s->disabled, id, json_true());
    else
        json_object_del(s->disabled, id);
    /* That an inspection went to the penalty lane is told by the log, once. */
    return (!disabled || !told) && !sm_json_bool(report, "held", false);
}

/* A run as one line of the JSON log. */
static void log_run(const json_t *report) {
    static const char *const members[] = {"id",      "run",     "outcome", "seconds", "events",
                                          "trigger", "attempt", "slot",    "worst"};
    const char *outcome = sm_json_str(report, "outcome", "?");
    const char *detail = sm_json_str(report, "error", sm_json_str(report, "headline", NULL));
    json_t *fields = json_object();
    for (size_t i = 0; i < SM_ARRAY_LEN(members); i++)
        json_object_set(fields, members[i], json_object_get(report, members[i]));
    sm_log_fields(SM_LOG_INFO, fields, "%s %s%s%s", outcome, sm_json_str(report, "id", "?"),
                  detail ? ": " : "", detail ? detail : "");
    json_decref(fields);
}

static void told_run(void *ctx, const json_t *report) {
    show *s = ctx;
    const char *outcome = sm_json_str(report, "outcome", "?");
    const char *worst = sm_json_str(report, "worst", NULL);
    if (worst && (!s->worst || sm_event_status_rank(worst) > sm_event_status_rank(s->worst)))
        s->worst = sm_event_status_name(sm_event_status_rank(worst));
    if (s->args->once) {
        size_t i;
        json_t *event;
        json_t *item =
            json_pack("{s:O, s:O, s:O, s:O, s:O}", "id", json_object_get(report, "id"), "outcome",
                      json_object_get(report, "outcome"), "events",
                      json_object_get(report, "events"), "error", json_object_get(report, "error"),
                      "seconds", json_object_get(report, "seconds"));
        json_array_foreach(json_object_get(report, "reported"), i, event) {
            json_t *shown = json_deep_copy(event);
            json_object_del(shown, "dimension");
            json_object_del(shown, "at_ns");
            json_object_set(shown, "id", json_object_get(report, "id"));
            json_array_append_new(s->events, shown);
        }
        json_array_append_new(s->summary, item);
        sm_cli_run_log(stderr, report, s->args->verbose);
    }
    if (s->args->quiet && strcmp(outcome, "ok") == 0)
        return;
    bool news = is_news(s, report);
    if (news && s->json)
        log_run(report);
    else if (news)
        sm_cli_run_line(s->to, s->color, s->id_width, report);
    const char *trace = sm_json_str(report, "traceback", NULL);
    if (s->args->once && trace && !s->args->verbose)
        fprintf(s->to, "%s\n", trace);
    told(s);
}

static sm_rc selection(const sm_args *a, const sm_config *c, json_t **out, sm_err *err) {
    json_t *paths, *tags;
    *out = NULL;
    sm_rc rc = sm_cli_paths(a, c, &paths, err);
    if (rc != SM_OK)
        return rc;
    tags = json_array();
    for (const char *t = a->tags; t && *t;) {
        size_t n = strcspn(t, ",");
        if (n > 0)
            json_array_append_new(tags, sm_json_text(t, n));
        t += n + (t[n] == ',');
    }
    *out = json_pack("{s:s?, s:o, s:o, s:b}", "k", a->pattern, "tags", tags, "paths", paths,
                     "trace", a->trace != NULL);
    return SM_OK;
}

/* Counts what did not run to an end; counts: object outcome -> number. */
static size_t unfinished(const json_t *runs, json_t *counts) {
    size_t i, bad = 0;
    json_t *run;
    json_array_foreach(runs, i, run) {
        const char *o = sm_json_str(run, "outcome", "");
        bad += strcmp(o, "ok") != 0 && strcmp(o, "disabled") != 0 && strcmp(o, "skipped") != 0;
        sm_json_count(counts, o);
    }
    return bad;
}

/* Prints what --once ends with; its exit code. */
static int sum_up(show *s, const json_t *result) {
    const json_t *errors = json_object_get(result, "load_errors");
    json_t *counts = json_object(), *count;
    const char *outcome;
    size_t bad = unfinished(s->summary, counts), ran = json_array_size(s->summary);
    size_t broken = json_array_size(errors), i;
    int64_t waiting = sm_json_int(result, "waiting", 0), events = 0;
    json_t *item;
    json_array_foreach(s->summary, i, item) {
        events += sm_json_int(item, "events", 0);
    }
    if (!s->args->quiet) {
        fprintf(s->to, "%zu inspection%s", ran, ran == 1 ? "" : "s");
        json_object_foreach(counts, outcome, count) {
            fprintf(s->to, ", %lld %s", (long long)json_integer_value(count), outcome);
        }
        fprintf(s->to, "; %lld event%s", (long long)events, events == 1 ? "" : "s");
        if (broken)
            fprintf(s->to, "; %zu file%s not load", broken, broken == 1 ? " does" : "s do");
        if (waiting)
            fprintf(s->to, "; %lld still wait for delivery: %s", (long long)waiting,
                    sm_json_str(result, "trouble", "the time to deliver is over"));
        if (s->args->override)
            fprintf(s->to, "; parameters of -p held for these runs only");
        fputc('\n', s->to);
    }
    json_decref(counts);
    json_array_foreach(errors, i, item) {
        json_array_append(s->summary, item);
    }
    if (s->args->json)
        sm_cli_json(s->summary);
    else if (s->args->dry)
        sm_cli_json(s->events);
    if (bad || broken || waiting)
        return SM_EXIT_FAIL;
    if (s->args->fail_on && s->worst &&
        sm_event_status_rank(s->worst) >= sm_event_status_rank(s->args->fail_on))
        return SM_EXIT_EVENT;
    return SM_EXIT_OK;
}

/* Dry run: what inspections remember, as the store or the daemon has it. */
static sm_rc memos_kept(void *ctx, const char *who, json_t **out, sm_err *err) {
    const show *s = ctx;
    sm_client *link = NULL;
    sm_rc rc = sm_client_open_reader(s->config, &link, err);
    if (rc == SM_OK)
        rc = sm_client_call(link, "memos",
                            json_pack("{s:s, s:I}", "who", who, "now_ms",
                                      (json_int_t)(sm_wall_ns() / SM_NS_PER_MS)),
                            out, err);
    sm_client_close(link);
    return rc;
}

static int run_once(show *s, const sm_app_options *options) {
    sm_err err = SM_ERR_INIT;
    json_t *result = NULL;
    sm_rc rc = sm_cli_once(options, s->args->wait_s, &result, &err);
    int code = rc == SM_OK ? sum_up(s, result)
                           : sm_cli_fail(rc == SM_INVALID ? SM_EXIT_USAGE : SM_EXIT_FAIL, err.msg);
    json_decref(result);
    return code;
}

static int check_args(const sm_args *a) {
    if (a->dry && !a->once)
        return sm_cli_fail(SM_EXIT_USAGE, "--dry-run goes with --once");
    if (a->override && !a->once)
        return sm_cli_fail(SM_EXIT_USAGE, "-p goes with --once; for good, use `selfmon-lua local "
                                          "set` or the configuration");
    if (a->json && !a->once)
        return sm_cli_fail(SM_EXIT_USAGE, "--json goes with --once; the daemon's log has "
                                          "--log-format json");
    if ((a->pattern || a->tags || a->fail_on) && !a->once)
        return sm_cli_fail(SM_EXIT_USAGE, "-k, --tags and --fail-on go with --once");
    if (a->trace && !a->once)
        return sm_cli_fail(SM_EXIT_USAGE, "--trace goes with --once");
    if (a->trace && strcmp(a->trace, "http") != 0)
        return sm_cli_fail(SM_EXIT_USAGE, "--trace: expected http");
    if (a->fail_on && sm_event_status_rank(a->fail_on) < 1)
        return sm_cli_fail(SM_EXIT_USAGE, "--fail-on: expected info, warning, error or critical");
    return SM_EXIT_OK;
}

int sm_cmd_run(const sm_args *given) {
    sm_args args = *given;
    sm_config *config = NULL;
    json_t *select = NULL;
    sm_err err = SM_ERR_INIT;
    if (args.n_rest > 0)
        args.flags.path = args.rest[0];
    /* `--dry-run` alone reads well enough to mean `--once --dry-run`. */
    args.once = args.once || args.dry;
    /* Keys and secrets are in its memory and environment: no core, no look through /proc. */
    prctl(PR_SET_DUMPABLE, 0);
    sm_notify *notify = args.once ? NULL : sm_notify_new(); /* before there are children */
    int code = check_args(&args);
    if (code == SM_EXIT_OK)
        code = sm_cli_config(&args, true, &config);
    if (code == SM_EXIT_OK && selection(&args, config, &select, &err) != SM_OK)
        code = sm_cli_fail(SM_EXIT_USAGE, err.msg);
    if (code != SM_EXIT_OK) {
        sm_notify_free(notify);
        sm_config_free(config);
        return code;
    }
    show s = {.args = &args,
              .config = config,
              .to = args.once && (args.json || args.dry) ? stderr : stdout,
              .id_width = 20,
              .disabled = json_object(),
              .events = json_array(),
              .summary = json_array()};
    choose_format(&s);
    if (!args.once) {
        s.to = open_memstream(&s.lines, &s.lines_n);
        sm_streams_unblock();
        sm_log_begin();
    }
    sm_app_options options = {.mode = args.dry    ? SM_APP_DRY
                                      : args.once ? SM_APP_ONCE
                                                  : SM_APP_DAEMON,
                              .self = args.self,
                              .config = config,
                              .flags = args.once ? NULL : &args.flags,
                              .select = select,
                              .override = args.override,
                              .drain_ms = (int)(args.drain_s * 1000),
                              .wait_ms = (int)(args.wait_s * 1000),
                              .new_identity = args.new_identity,
                              .listener = {.ctx = &s,
                                           .loaded = told_loaded,
                                           .run = told_run,
                                           .stopping = told_stopping,
                                           .configured = told_configured,
                                           .serving = begin_serving,
                                           .closing = end_serving},
                              .notify = notify,
                              .memos_kept = memos_kept,
                              .memos_ctx = &s};
    header(&s);
    if (args.once) {
        code = run_once(&s, &options);
    } else {
        sm_rc rc = sm_app_run(&options, NULL, &err);
        sm_log_end(LAST_LINES_MS);
        code = rc == SM_OK ? SM_EXIT_OK
                           : sm_cli_fail(s.refused ? SM_EXIT_CONFIG : SM_EXIT_FAIL, err.msg);
    }
    sm_serve_free(s.serve);
    if (s.lines)
        fclose(s.to);
    free(s.lines);
    json_decref(s.disabled);
    json_decref(s.events);
    json_decref(s.summary);
    json_decref(select);
    sm_notify_free(notify);
    sm_config_free(s.config);
    return code;
}
