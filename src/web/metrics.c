/* metrics: see metrics.h. One table has the metrics that are a number of the snapshot or an object
 * of numbers; what needs more thought has a function below it. Names are a contract:
 * docs/metrics.md lists them, and a test compares the two.
 */
#include "web/metrics.h"
#include "base/buf.h"
#include "base/mem.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 4 << 20 };

typedef enum kind { GAUGE, COUNTER, HISTOGRAM } kind;

typedef struct metric {
    const char *name; /* after "selfmon_" */
    kind kind;
    const char *path;  /* of the value in the snapshot, "." between its parts */
    const char *label; /* the value is an object: one series a member, under this label; or NULL */
    const char *help;
} metric;

static const metric metrics[] = {
    {"process_start_time_seconds", GAUGE, "vitals.started", NULL,
     "When the daemon started, seconds since the epoch."},
    {"process_resident_memory_bytes", GAUGE, "process.rss", NULL,
     "Resident memory of the daemon, without its workers."},
    {"process_cpu_seconds_total", COUNTER, "process.cpu", NULL,
     "CPU time of the daemon, without its workers."},
    {"process_threads", GAUGE, "process.threads", NULL, "Threads of the daemon."},
    {"process_open_fds", GAUGE, "process.fds", NULL, "Open file descriptors of the daemon."},
    {"process_max_fds", GAUGE, "process.max_fds", NULL,
     "File descriptors the daemon may open; 0 for no limit."},
    {"healthy", GAUGE, "alive", NULL, "1 when /healthz says ok."},
    {"ready", GAUGE, "ready", NULL, "1 when /ready says ok."},
    {"runs_total", COUNTER, "vitals.runs", "outcome",
     "Slots and wanted runs by how they ended, since the start."},
    {"run_repeats_total", COUNTER, "vitals.repeats", NULL,
     "Runs whose worker died and that were repeated alone."},
    {"run_duration_seconds", HISTOGRAM, "vitals.seconds", NULL,
     "How long runs took in their worker."},
    {"run_lateness_seconds", HISTOGRAM, "vitals.lateness", NULL,
     "How long after its due time a scheduled run began."},
    {"run_cpu_seconds_total", COUNTER, "vitals.cpu", NULL, "CPU time of runs."},
    {"runs_running", GAUGE, "pool.running", NULL, "Runs in workers now."},
    {"runs_queued", GAUGE, "pool.queued", NULL, "Runs that wait for a worker now."},
    {"workers", GAUGE, "worker_states", "state", "Worker processes by state."},
    {"workers_spawned_total", COUNTER, "pool.totals.spawned", NULL, "Worker processes started."},
    {"worker_spawn_failures_total", COUNTER, "pool.totals.spawn_failed", NULL,
     "Worker processes that could not be started."},
    {"workers_killed_total", COUNTER, "pool.totals.killed", "reason",
     "Worker processes killed by the daemon, by reason."},
    {"workers_died_total", COUNTER, "pool.totals.died", NULL,
     "Worker processes that died by themselves."},
    {"runs_lost_total", COUNTER, "pool.totals.lost", NULL, "Runs whose worker died under them."},
    {"runs_stuck_total", COUNTER, "pool.totals.stuck", NULL,
     "Runs that their worker did not end at their deadline."},
    {"runs_refused_total", COUNTER, "pool.totals.refused", NULL,
     "Runs refused because too many waited."},
    {"runs_held_total", COUNTER, "conduct.held", NULL,
     "Due runs that did not start because of the penalty lane."},
    {"exec_running", GAUGE, "exec.running", NULL, "Programs of scripts that run now."},
    {"exec_waiting", GAUGE, "exec.waiting", NULL, "Programs of scripts that wait to be run now."},
    {"exec_started_total", COUNTER, "exec.started", NULL, "Programs run for scripts."},
    {"exec_failures_total", COUNTER, "exec.failed", NULL,
     "Programs of scripts that could not be run."},
    {"exec_ended_total", COUNTER, "exec.ended", "reason",
     "Programs of scripts that were ended, by the limit they reached."},
    {"inspections", GAUGE, "catalog.inspections", NULL, "Inspections loaded."},
    {"inspections_quarantined", GAUGE, "conduct.quarantined", NULL,
     "Inspections that run in a worker of their own since they crashed one."},
    {"inspections_penalised", GAUGE, "conduct.penalised", NULL, "Inspections in the penalty lane."},
    {"scripts_stale", GAUGE, "catalog.stale", NULL,
     "Files that do not load and whose last good version runs."},
    {"load_errors", GAUGE, "catalog.load_errors", NULL, "Files that do not load."},
    {"scan_duration_seconds", GAUGE, "catalog.scan", NULL,
     "How long the last look at the disk took."},
    {"walk_duration_seconds", GAUGE, "catalog.walk", NULL,
     "How long the last walk of all folders took; the daemon does nothing else meanwhile."},
    {"folders_watched", GAUGE, "catalog.folders", NULL, "Folders of scripts watched for changes."},
    {"folders_polled", GAUGE, "catalog.polling", NULL,
     "1 while some folder cannot be watched and all are looked at once a second."},
    {"reloads_total", COUNTER, "vitals.reloads", NULL, "Looks at the disk that changed something."},
    {"reload_failures_total", COUNTER, "vitals.reload_failures", NULL,
     "Files that stopped loading, or fail in another way than before."},
    {"configuration_stale", GAUGE, "configuration.stale", NULL,
     "1 while the file of the configuration is wrong and the former one holds."},
    {"configuration_reloads_total", COUNTER, "configuration.reloads", NULL,
     "Times the configuration was read again and was in order."},
    {"configuration_failures_total", COUNTER, "configuration.failures", NULL,
     "Times the configuration was read again and was wrong."},
    {"events_reported_total", COUNTER, "vitals.events", NULL, "Events that runs reported."},
    {"deliveries_total", COUNTER, "deliveries", "verdict",
     "Events sent, by what became of it; an event counts at each attempt."},
    {"outbox_events", GAUGE, "outbox_states", "state", "Events in the outbox by state."},
    {"outbox_bytes", GAUGE, "store.outbox.bytes", NULL, "Bytes of events that wait for delivery."},
    {"outbox_limit_bytes", GAUGE, "store.outbox_limit", NULL,
     "Bytes of events that may wait (limits.outbox)."},
    {"outbox_oldest_age_seconds", GAUGE, "outbox_age", NULL,
     "Age of the oldest event that waits; 0 when none does."},
    {"platform_view_age_seconds", GAUGE, "view_age", NULL,
     "Age of the oldest thing known of an inspection on its platform."},
    {"store_healthy", GAUGE, "store_takes", NULL, "1 when the store takes events."},
    {"store_ping_seconds", GAUGE, "store_ping", NULL,
     "How long the store took to answer its last read, or lets one wait now."},
    {"store_queued", GAUGE, "store.queued", NULL, "Operations that wait for the store."},
    {"store_size_bytes", GAUGE, "store.bytes", NULL, "Size of the database and its journal."},
    {"store_set_aside", GAUGE, "store.set_aside", NULL,
     "Corrupt databases that lie aside and were not looked after."},
    {"store_healed_total", COUNTER, "store.healed", NULL,
     "Times that files of the database were taken away and put back."},
    {"memory_calls_total", COUNTER, "memory.calls", "call",
     "Calls of selfmon.store by inspections."},
    {"memory_refused_total", COUNTER, "memory.refused", "code",
     "Calls of selfmon.store that were refused: quota, full disk and others."},
    {"files_calls_total", COUNTER, "files.calls", "call",
     "Files and processes that inspections looked at."},
    {"files_failed_total", COUNTER, "files.failed", "code",
     "Looks at files and processes that failed: not granted, not found and others."},
    {"files_waiting", GAUGE, "files.waiting", NULL,
     "Looks at files and processes that were not answered yet."},
    {"dql_failed_total", COUNTER, "dql.failed", "code",
     "Queries of data that got no answer: no budget, refused and others."},
    {"log_lines_dropped_total", COUNTER, "log_dropped", NULL,
     "Lines of the log that nobody read in time."},
};

static void head(sm_buf *b, const char *name, kind type, const char *help) {
    static const char *const types[] = {"gauge", "counter", "histogram"};
    sm_buf_addf(b, "# HELP selfmon_%s %s\n# TYPE selfmon_%s %s\n", name, help, name, types[type]);
}

static void number(sm_buf *b, double x) {
    if (floor(x) >= x && fabs(x) < 1e15)
        sm_buf_addf(b, " %.0f\n", x);
    else
        sm_buf_addf(b, " %.17g\n", x);
}

/* Text of a label: backslash, quote and line feed are written with a backslash. */
static void label(sm_buf *b, const char *name, const char *value) {
    sm_buf_addf(b, "%s=\"", name);
    for (; *value; value++) {
        if (*value == '\n')
            sm_buf_adds(b, "\\n");
        else if (*value == '\\' || *value == '"')
            sm_buf_addf(b, "\\%c", *value);
        else
            sm_buf_addc(b, *value);
    }
    sm_buf_addc(b, '"');
}

static const json_t *at(const json_t *snapshot, const char *path) {
    const json_t *v = snapshot;
    while (v && *path) {
        size_t n = strcspn(path, ".");
        v = json_object_getn(v, path, n);
        path += n + (path[n] == '.');
    }
    return v;
}

static bool is_value(const json_t *v) {
    return json_is_number(v) || json_is_boolean(v);
}

static double value(const json_t *v) {
    return json_is_boolean(v) ? json_is_true(v) : json_number_value(v);
}

static void histogram(sm_buf *b, const char *name, const json_t *h) {
    const json_t *le = json_object_get(h, "le"), *count = json_object_get(h, "count");
    double seen = 0;
    size_t n = json_array_size(le);
    for (size_t i = 0; i <= n; i++) {
        seen += json_number_value(json_array_get(count, i));
        if (i < n)
            sm_buf_addf(b, "selfmon_%s_bucket{le=\"%.15g\"}", name,
                        json_number_value(json_array_get(le, i)));
        else
            sm_buf_addf(b, "selfmon_%s_bucket{le=\"+Inf\"}", name);
        number(b, seen);
    }
    sm_buf_addf(b, "selfmon_%s_sum", name);
    number(b, sm_json_num(h, "sum", 0));
    sm_buf_addf(b, "selfmon_%s_count", name);
    number(b, seen);
}

static void one(sm_buf *b, const metric *m, const json_t *v) {
    const char *member;
    json_t *x;
    if (m->label || m->kind == HISTOGRAM ? !json_is_object(v) : !is_value(v))
        return;
    head(b, m->name, m->kind, m->help);
    if (m->kind == HISTOGRAM) {
        histogram(b, m->name, v);
    } else if (!m->label) {
        sm_buf_addf(b, "selfmon_%s", m->name);
        number(b, value(v));
    } else {
        json_object_foreach((json_t *)(uintptr_t)v, member, x) {
            sm_buf_addf(b, "selfmon_%s{", m->name);
            label(b, m->label, member);
            sm_buf_addc(b, '}');
            number(b, value(x));
        }
    }
}

/* ---- what is not a number of the snapshot as it is ---- */

static void build_info(sm_buf *b, const json_t *snapshot) {
    head(b, "build_info", GAUGE, "Always 1; its label is the version.");
    sm_buf_adds(b, "selfmon_build_info{");
    label(b, "version", sm_json_str(snapshot, "version", "?"));
    sm_buf_adds(b, "} 1\n");
}

/* Accounts of the platform: calls made, and calls that may be made now. */
static void platforms(sm_buf *b, const json_t *accounts) {
    static const struct {
        const char *name, *help, *path;
        kind kind;
    } parts[] = {
        {"platform_calls_total", "Calls of the platform's OpenAPI.", "calls", COUNTER},
        {"platform_queries_total", "Queries of data by inspections.", "queries", COUNTER},
        {"platform_query_calls_total", "Calls of the platform that carried queries of data.",
         "query_calls", COUNTER},
        {"platform_budget_left", "Calls that the account's key may make now.", "budget.key", GAUGE},
        {"platform_workspace_budget_left", "Calls that the account's workspace may make now.",
         "budget.workspace", GAUGE},
        {"platform_calls_waiting", "Calls that wait for the limit of calls.", "budget.waiting",
         GAUGE}};
    size_t i;
    json_t *account;
    for (size_t p = 0; p < SM_ARRAY_LEN(parts); p++) {
        bool headed = false;
        json_array_foreach((json_t *)(uintptr_t)accounts, i, account) {
            const json_t *v = at(account, parts[p].path);
            if (!json_is_number(v))
                continue;
            if (!headed)
                head(b, parts[p].name, parts[p].kind, parts[p].help);
            headed = true;
            sm_buf_addf(b, "selfmon_%s{", parts[p].name);
            label(b, "account", sm_json_str(account, "name", "?"));
            sm_buf_addc(b, '}');
            number(b, json_number_value(v));
        }
    }
}

static void breakers(sm_buf *b, const json_t *accounts) {
    size_t i;
    json_t *account;
    bool headed = false;
    json_array_foreach((json_t *)(uintptr_t)accounts, i, account) {
        const char *state = sm_json_str(json_object_get(account, "breaker"), "state", NULL);
        if (!state)
            continue;
        if (!headed)
            head(b, "breaker_open", GAUGE,
                 "1 when the account's address fails and events wait until it is tried again.");
        headed = true;
        sm_buf_adds(b, "selfmon_breaker_open{");
        label(b, "account", sm_json_str(account, "name", "?"));
        sm_buf_addc(b, '}');
        number(b, strcmp(state, "closed") != 0);
    }
}

static json_t *worker_states(const json_t *workers) {
    json_t *out = json_pack("{s:i, s:i, s:i, s:i, s:i}", "starting", 0, "ready", 0, "draining", 0,
                            "retiring", 0, "dying", 0),
           *worker;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)workers, i, worker) {
        const char *state = sm_json_str(worker, "state", "ready");
        if (json_object_get(out, state))
            sm_json_count(out, state);
    }
    return out;
}

static json_t *outbox_states(const json_t *outbox) {
    static const char *const states[] = {"pending", "inflight", "held", "refused"};
    json_t *out = json_object();
    for (size_t i = 0; i < SM_ARRAY_LEN(states); i++)
        json_object_set_new(out, states[i], json_integer(sm_json_int(outbox, states[i], 0)));
    return out;
}

/* The snapshot with what is computed from it, so that one table can name everything. */
static json_t *prepared(const json_t *snapshot) {
    json_t *s = json_copy((json_t *)(uintptr_t)snapshot);
    const json_t *vitals = json_object_get(s, "vitals"), *store = json_object_get(s, "store");
    const json_t *outbox = json_object_get(store, "outbox");
    double started = (double)sm_json_int(vitals, "started_ns", 0) / 1e9;
    if (vitals) {
        json_t *with = json_copy((json_t *)(uintptr_t)vitals);
        json_object_set_new(with, "started", json_real(started));
        json_object_set_new(s, "vitals", with);
    }
    json_object_set_new(s, "ready", json_boolean(!json_is_string(json_object_get(s, "unready"))));
    if (json_is_object(json_object_get(s, "pool")))
        json_object_set_new(s, "worker_states", worker_states(at(s, "pool.workers")));
    if (!json_is_object(store))
        return s;
    json_object_set_new(s, "store_takes",
                        json_boolean(!sm_json_bool(store, "broken", false) &&
                                     !sm_json_str(store, "refuses", NULL)));
    json_object_set_new(
        s, "store_ping",
        json_real(fmax(sm_json_num(store, "ping", 0), sm_json_num(store, "waited", 0))));
    if (!json_is_object(outbox))
        return s;
    int64_t oldest = sm_json_int(outbox, "oldest_ns", 0);
    double now = started + sm_json_num(json_object_get(s, "vitals"), "uptime", 0);
    json_object_set_new(s, "outbox_states", outbox_states(outbox));
    json_object_set_new(s, "outbox_age",
                        json_real(oldest > 0 ? fmax(now - (double)oldest / 1e9, 0) : 0));
    return s;
}

char *sm_metrics_text(const json_t *snapshot, size_t *n) {
    sm_buf b;
    json_t *s = prepared(snapshot);
    sm_buf_init(&b, TEXT_MAX);
    build_info(&b, s);
    for (size_t i = 0; i < SM_ARRAY_LEN(metrics); i++)
        one(&b, &metrics[i], at(s, metrics[i].path));
    platforms(&b, json_object_get(s, "accounts"));
    breakers(&b, json_object_get(s, "accounts"));
    json_decref(s);
    return sm_buf_take(&b, n);
}
