/* config: discovery, strict reading, precedence, secrets; the child is a shell script that gives
 * the JSON beside the configuration file. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "daemon/config.h"
#include "daemon/config_parts.h"

typedef struct place { /* a project in a temporary directory, which is the current one */
    char dir[64];      /* as getcwd has it */
    char self[80];     /* the fake child */
} place;

static void write_file(const char *path, const char *text, mode_t mode) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
}

static const char *const variables[] = {
    "SELFMON_API_KEY_ID",   "SELFMON_API_KEY",       "SELFMON_API_KEY_FILE",
    "SELFMON_NODE",         "SELFMON_OPENAPI_URL",   "SELFMON_OPENWAY_URL",
    "SELFMON_SECRET",       "SELFMON_SECRET_FILE",   "SELFMON_STATE_DIR",
    "SELFMON_LISTEN",       "SELFMON_INSECURE_HTTP", "SELFMON_API_KEY_ID_FILE",
    "CREDENTIALS_DIRECTORY"};

static void clean_env(void) {
    for (size_t i = 0; i < SM_ARRAY_LEN(variables); i++)
        unsetenv(variables[i]);
}

static int make_place(void **state) {
    place *p = calloc(1, sizeof *p);
    const char *tmp = getenv("TMPDIR");
    snprintf(p->dir, sizeof p->dir, "%s/sm-config-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    assert_non_null(mkdtemp(p->dir));
    assert_int_equal(chdir(p->dir), 0);
    snprintf(p->self, sizeof p->self, "%s/child", p->dir);
    write_file(p->self,
               "#!/bin/sh\n[ \"$1\" = --eval-config ] && [ -f \"$2\" ] || exit 9\n"
               "cat \"$2.json\" >&3\n",
               0755);
    assert_int_equal(mkdir("inspections", 0755), 0);
    clean_env();
    *state = p;
    return 0;
}

static int remove_place(void **state) {
    place *p = *state;
    char command[128];
    assert_int_equal(chdir("/"), 0);
    snprintf(command, sizeof command, "rm -rf '%s'", p->dir);
    int rc = system(command);
    free(p);
    clean_env();
    return rc;
}

/* Makes the configuration file; table and lines are JSON. */
static void configure(const char *dir, const char *table, const char *lines) {
    char *path = sm_asprintf("%s/selfmon.conf.lua", dir);
    char *answer = sm_asprintf("%s.json", path);
    char *text =
        sm_asprintf("{\"ok\":true,\"table\":%s,\"lines\":%s}", table, lines ? lines : "{}");
    write_file(path, "-- evaluated by the child\n", 0644);
    write_file(answer, text, 0644);
    free(text);
    free(answer);
    free(path);
}

static sm_config *load(const place *p, const sm_flags *flags) {
    static const sm_flags none = {0};
    sm_config *c = NULL;
    sm_err err = SM_ERR_INIT;
    if (sm_config_load(p->self, flags ? flags : &none, true, &c, &err) != SM_OK)
        fail_msg("%s", err.msg);
    return c;
}

static void refuse(const place *p, const char *name, const char *sentence) {
    sm_flags none = {0};
    sm_config *c = NULL;
    sm_err err = SM_ERR_INIT;
    sm_rc rc = sm_config_load(p->self, &none, true, &c, &err);
    if (rc != SM_INVALID || c || strcmp(err.msg, sentence) != 0)
        fail_msg("%s (rc %d):\n got %s\nwant %s", name, rc, err.msg, sentence);
}

/* A path below the place. */
static char *below(const place *p, const char *rel) {
    return *rel ? sm_asprintf("%s/%s", p->dir, rel) : sm_strdup(p->dir);
}

static void is_below(const char *name, const char *got, const place *p, const char *rel) {
    char *want = below(p, rel);
    if (!got || strcmp(got, want) != 0)
        fail_msg("%s: got %s, want %s", name, got ? got : "NULL", want);
    free(want);
}

static void origin_is(const sm_config *c, const char *key, const char *want) {
    const char *got = sm_json_str(c->origins, key, "-");
    if (strcmp(got, want) != 0)
        fail_msg("origin of %s: got %s, want %s", key, got, want);
}

/* ------------------------------------------------------------------ */

static void defaults(void **state) {
    const place *p = *state;
    sm_config *c = load(p, NULL);
    assert_null(c->file);
    is_below("root", c->root, p, "inspections");
    assert_string_equal(c->display, "inspections");
    is_below("state", c->state_dir, p, ".selfmon");
    assert_string_equal(c->node, "local");
    assert_true(c->local);
    assert_null(c->assoc);
    assert_null(c->net);
    assert_string_equal(c->timezone, "UTC");
    assert_true(c->config_max_age > 4.9 && c->config_max_age < 5.1);
    assert_true(c->workers >= 1);
    assert_int_equal(c->runs_per_worker, 64);
    assert_int_equal(c->max_running, 4096);
    assert_false(c->process_isolation);
    assert_int_equal(c->outbox_bytes, INT64_C(1) << 30);
    assert_int_equal(c->min_free_bytes, 256 << 20);
    assert_int_equal((int)c->keep_runs_s, 90 * 86400);
    assert_true(c->report_failures);
    assert_string_equal(c->log_level, "info");
    assert_string_equal(c->log_format, "auto");
    char *limits = sm_json_dump(c->limits, NULL);
    assert_string_equal(limits, "{\"cpu\":10,\"events\":1000,\"http_body\":8388608,"
                                "\"http_parallel\":64,\"http_total\":1000,\"log\":262144,"
                                "\"memory\":33554432,\"wall\":30}");
    free(limits);
    origin_is(c, "limits.memory", "default");
    origin_is(c, "accounts.default.node", "default");
    sm_config_free(c);
    sm_config_free(NULL);
}

static void reads_everything(void **state) {
    const place *p = *state;
    assert_int_equal(mkdir("checks", 0755), 0);
    configure(".",
              "{\"inspections\":\"checks\",\"state_dir\":\"state\",\"timezone\":\"UTC\","
              "\"config_max_age\":\"2s\",\"workers\":3,\"runs_per_worker\":8.0,\"max_running\":100,"
              "\"isolation\":\"process\",\"report_failures\":false,"
              "\"limits\":{\"memory\":\"64MiB\",\"wall\":\"1m\",\"cpu\":2.5,\"log\":\"10kB\","
              "\"events\":7,\"http_parallel\":2,\"http_total\":3,\"http_body\":2048,"
              "\"outbox\":\"2GiB\",\"min_free\":0},"
              "\"retention\":{\"runs\":\"30d\",\"events\":\"1w\",\"size\":\"1.5GiB\"},"
              "\"log\":{\"level\":\"warn\",\"format\":\"json\"},\"listen\":\"[::1]:9000\","
              "\"heartbeat\":\"https://hc.example/x\",\"net\":{\"allow\":[\"10.0.0.0/8\"]},"
              "\"params\":{\"host/disk.run\":{\"threshold\":95}},"
              "\"schedule\":{\"host/disk.run\":[\"*/5 * * * *\",\"@every 1h\"]},"
              "\"instances\":{\"http/endpoint.run\":{\"shop\":{\"params\":{\"url\":\"x\"},"
              "\"schedule\":\"@hourly\",\"account\":\"default\"}}},"
              "\"keys\":{\"host/disk.run\":\"a0cd\"},\"secrets\":{\"db\":{\"env\":\"DB\"}},"
              "\"maintenance\":[{\"match\":\"host/*\",\"cron\":\"0 2 * * 0\",\"duration\":\"2h\"}],"
              "\"grant\":[],\"accounts\":[]}",
              "{\"limits\":4,\"limits.memory\":5}");
    sm_config *c = load(p, NULL);
    is_below("file", c->file, p, "selfmon.conf.lua");
    is_below("root", c->root, p, "checks");
    assert_string_equal(c->display, "checks");
    is_below("state", c->state_dir, p, "state");
    assert_int_equal((int)c->config_max_age, 2);
    assert_int_equal(c->workers, 3);
    assert_int_equal(c->runs_per_worker, 8);
    assert_int_equal(c->max_running, 100);
    assert_true(c->process_isolation);
    assert_false(c->report_failures);
    char *limits = sm_json_dump(c->limits, NULL);
    assert_string_equal(limits, "{\"cpu\":2.5,\"events\":7,\"http_body\":2048,\"http_parallel\":2,"
                                "\"http_total\":3,\"log\":10000,\"memory\":67108864,\"wall\":60}");
    free(limits);
    assert_int_equal(c->outbox_bytes, INT64_C(2) << 30);
    assert_int_equal(c->min_free_bytes, 0);
    assert_int_equal((int)c->keep_runs_s, 30 * 86400);
    assert_int_equal((int)c->keep_events_s, 7 * 86400);
    assert_string_equal(c->log_level, "warn");
    assert_string_equal(c->log_format, "json");
    assert_int_equal(sm_json_int(json_object_get(c->params, "host/disk.run"), "threshold", 0), 95);
    assert_int_equal(json_array_size(json_object_get(c->schedule, "host/disk.run")), 2);
    assert_non_null(json_object_get(json_object_get(c->instances, "http/endpoint.run"), "shop"));
    assert_string_equal(sm_json_str(c->keys, "host/disk.run", ""), "a0cd");
    assert_int_equal(json_object_size(c->grant), 0);
    assert_int_equal(json_array_size(c->maintenance), 1);
    assert_non_null(c->net);
    assert_string_equal(sm_json_str(c->values, "listen", ""), "[::1]:9000");
    assert_int_equal(sm_json_int(c->values, "retention.size", 0), 3 * (INT64_C(1) << 29));
    origin_is(c, "limits.memory", "selfmon.conf.lua:5");
    origin_is(c, "limits.cpu", "selfmon.conf.lua:4");
    origin_is(c, "workers", "selfmon.conf.lua");
    sm_config_free(c);
}

/* Tables with one thing wrong, and the sentence. "L" stands for lines {"…": 12} of the row. */
static const struct {
    const char *table, *lines, *sentence;
} wrong[] = {
    {"{\"acounts\":{}}", "{\"acounts\":12}",
     "selfmon.conf.lua:12: unknown key \"acounts\"; did you mean \"accounts\"?"},
    {"{\"zzz\":1}", NULL, "selfmon.conf.lua: unknown key \"zzz\""},
    {"{\"limits\":{\"memry\":1}}", "{\"limits\":7}",
     "selfmon.conf.lua:7: limits: unknown key \"memry\"; did you mean \"memory\"?"},
    {"{\"log\":{\"colour\":1}}", NULL,
     "selfmon.conf.lua: log: unknown key \"colour\"; it may have level, format"},
    {"{\"limits\":5}", NULL, "selfmon.conf.lua: limits: expected a table with names, got 5"},
    {"{\"limits\":{\"memory\":\"64 MiB\"}}", NULL,
     "selfmon.conf.lua: limits.memory: expected a size from 1MiB to 16GiB, got \"64 MiB\""},
    {"{\"limits\":{\"memory\":\"1.2.3MiB\"}}", NULL,
     "selfmon.conf.lua: limits.memory: expected a size from 1MiB to 16GiB, got \"1.2.3MiB\""},
    {"{\"limits\":{\"memory\":\"-5MiB\"}}", NULL,
     "selfmon.conf.lua: limits.memory: expected a size from 1MiB to 16GiB, got \"-5MiB\""},
    {"{\"limits\":{\"memory\":1000}}", NULL,
     "selfmon.conf.lua: limits.memory: expected a size from 1MiB to 16GiB, got 1000"},
    {"{\"limits\":{\"wall\":\"2h\"}}", NULL,
     "selfmon.conf.lua: limits.wall: expected a duration from 1s to 1h, got \"2h\""},
    {"{\"limits\":{\"events\":1.5}}", NULL,
     "selfmon.conf.lua: limits.events: expected a whole number from 1 to 100000, got 1.5"},
    {"{\"retention\":{\"runs\":\"soon\"}}", NULL,
     "selfmon.conf.lua: retention.runs: expected a duration from 1h to 3650d, got \"soon\""},
    {"{\"workers\":0}", NULL,
     "selfmon.conf.lua: workers: expected a whole number from 1 to 256, got 0"},
    {"{\"workers\":\"4\"}", NULL,
     "selfmon.conf.lua: workers: expected a whole number from 1 to 256, got \"4\""},
    {"{\"isolation\":\"none\"}", NULL,
     "selfmon.conf.lua: isolation: expected \"shared\" or \"process\", got \"none\""},
    {"{\"isolation\":\"shared, process\"}", NULL,
     "selfmon.conf.lua: isolation: expected \"shared\" or \"process\", got \"shared, process\""},
    {"{\"report_failures\":\"yes\"}", NULL,
     "selfmon.conf.lua: report_failures: expected true or false, got \"yes\""},
    {"{\"heartbeat\":\"hc.example\"}", NULL,
     "selfmon.conf.lua: heartbeat: expected an http:// or https:// address, got \"hc.example\""},
    {"{\"listen\":\"8787\"}", NULL,
     "selfmon.conf.lua: listen: expected an address such as 127.0.0.1:8787, got \"8787\""},
    {"{\"listen\":\"127.0.0.1:99999\"}", NULL,
     "selfmon.conf.lua: listen: expected an address such as 127.0.0.1:8787, got "
     "\"127.0.0.1:99999\""},
    {"{\"log\":{\"level\":\"loud\"}}", NULL,
     "selfmon.conf.lua: log.level: expected one of debug, info, warn, error, got \"loud\""},
    {"{\"inspections\":\"nowhere\"}", "{\"inspections\":2}",
     "selfmon.conf.lua:2: inspections: @/nowhere is not a directory"},
    {"[1]", NULL, "selfmon.conf.lua: expected a table with names, got a list"},
    {"5", NULL, "selfmon.conf.lua: expected it to return a table"},

    {"{\"params\":{\"nodot\":{}}}", "{\"params\":3}",
     "selfmon.conf.lua:3: params: function id \"nodot\": expected path and function, such as "
     "demo/example.run"},
    {"{\"params\":{\"a.run\":5}}", NULL,
     "selfmon.conf.lua: params.a.run: expected a table with names, got 5"},
    {"{\"params\":{\"a.run\":{\"x\":[{\"$secret\":\"k\"}]}}}", NULL,
     "selfmon.conf.lua: params.a.run: a parameter is no place for a secret; grant "
     "\"secret:name\" and use selfmon.secret in the script"},
    {"{\"schedule\":{\"a.run\":\"every day\"}}", NULL, NULL},
    {"{\"schedule\":{\"a.run\":5}}", NULL,
     "selfmon.conf.lua: schedule.a.run: expected a schedule or a list of schedules, got 5"},
    {"{\"instances\":{\"a.run\":{\"x\":{\"param\":{}}}}}", NULL,
     "selfmon.conf.lua: instances.a.run.x: unknown key \"param\"; did you mean \"params\"?"},
    {"{\"instances\":{\"a.run\":{\"x\":{\"account\":\"eu\"}}}}", NULL,
     "selfmon.conf.lua: instances.a.run.x.account: there is no account \"eu\" in accounts"},
    {"{\"instances\":{\"a.run@b\":{}}}", NULL,
     "selfmon.conf.lua: instances: \"a.run@b\" is an instance already; expected the function id "
     "before the @"},
    {"{\"keys\":{\"a.run\":\"\"}}", NULL,
     "selfmon.conf.lua: keys.a.run: expected an association key of 1 to 48 characters without "
     "blanks, got \"\""},
    {"{\"keys\":{\"a.run\":\"0123456789012345678901234567890123456789012345678\"}}", NULL,
     "selfmon.conf.lua: keys.a.run: expected an association key of 1 to 48 characters without "
     "blanks, got \"0123456789012345678901234567890123456789012345678\""},
    {"{\"keys\":{\"a.run\":\"k1\",\"b.run\":\"K1\"}}", NULL, NULL},
    {"{\"grant\":{\"host/*\":[\"df\"]}}", NULL,
     "selfmon.conf.lua: grant.host/*: expected permissions such as \"secret:name\", "
     "\"exec:/path\" or \"file:/path/**\", got \"df\""},
    {"{\"secrets\":{\"db\":\"hunter22\"}}", NULL,
     "selfmon.conf.lua: secrets.db: expected {file=…}, {env=…}, {credential=…} or {command={…}}"},
    {"{\"secrets\":{\"db\":{\"file\":\"a\",\"env\":\"b\"}}}", NULL,
     "selfmon.conf.lua: secrets.db: expected exactly one of file, env, credential, command"},
    {"{\"secrets\":{\"db\":{\"path\":\"a\"}}}", NULL,
     "selfmon.conf.lua: secrets.db: unknown key \"path\"; it may have file, env, credential, "
     "command"},
    {"{\"secrets\":{\"db\":{\"command\":\"pass db\"}}}", NULL,
     "selfmon.conf.lua: secrets.db.command: expected a list of texts"},
    {"{\"net\":\"private\"}", NULL,
     "selfmon.conf.lua: net: expected \"public\" or {allow={…}, deny={…}}, got \"private\""},
    {"{\"net\":{\"alow\":[]}}", NULL,
     "selfmon.conf.lua: net: unknown key \"alow\"; did you mean \"allow\"?"},
    {"{\"net\":{\"deny\":[5]}}", NULL,
     "selfmon.conf.lua: net.deny: expected hosts, host:port or address ranges, got 5"},
    {"{\"maintenance\":{\"a\":1}}", NULL,
     "selfmon.conf.lua: maintenance: expected a list of windows, got a table"},
    {"{\"maintenance\":[{\"match\":\"*\",\"cron\":\"@daily\",\"duration\":\"x\"}]}", NULL,
     "selfmon.conf.lua: maintenance.1.duration: expected a duration such as 2h"},
    {"{\"timezone\":\"Mars/Base\"}", NULL, NULL},

    {"{\"accounts\":{\"default\":{\"nod\":\"x\"}}}", "{\"accounts\":1,\"accounts.default\":2}",
     "selfmon.conf.lua:2: accounts.default: unknown key \"nod\"; did you mean \"node\"?"},
    {"{\"accounts\":{\"default\":{\"node\":\"US 1\"}}}", NULL,
     "selfmon.conf.lua: accounts.default.node: expected a node such as truewatch/us1, local or "
     "{openapi=URL, openway=URL}, got \"US 1\""},
    {"{\"accounts\":{\"x\":{\"node\":{\"openapi\":\"https://a\"}}}}", NULL,
     "selfmon.conf.lua: accounts.x.node.openway: a private deployment needs both openapi and "
     "openway"},
    {"{\"accounts\":{\"x\":{\"node\":{\"openapi\":\"http://a\",\"openway\":\"https://b\"}}}}", NULL,
     "selfmon.conf.lua: accounts.x.node.openapi: http:// is only for this machine; use https://, "
     "or set insecure = true (SELFMON_INSECURE_HTTP=1)"},
    {"{\"accounts\":{\"x\":{\"api_key\":5}}}", NULL,
     "selfmon.conf.lua: accounts.x.api_key: expected a text"},
    {"{\"accounts\":{\"x\":{\"api_key\":{\"$secret\":\"gone\"}}}}", NULL,
     "selfmon.conf.lua: accounts.x.api_key: there is no secret \"gone\" in secrets"},
    {"{\"accounts\":{\"x\":{\"report_via\":\"mail\"}}}", NULL,
     "selfmon.conf.lua: accounts.x.report_via: expected one of openway, report_event, datakit, "
     "got \"mail\""},
    {"{\"accounts\":{\"x\":{\"timeout\":\"1h\"}}}", NULL,
     "selfmon.conf.lua: accounts.x.timeout: expected a duration from 1s to 5m, got \"1h\""},
    {"{\"accounts\":{\"x\":{\"rate\":{\"key\":0}}}}", NULL,
     "selfmon.conf.lua: accounts.x.rate.key: expected a whole number of calls a minute, got 0"},
    {"{\"accounts\":{\"x y\":{}}}", NULL,
     "selfmon.conf.lua: accounts.x y: the name of an account is letters, digits, \"_\", \"-\" and "
     "\".\""},
    {"{\"secret\":\"s\",\"secret_file\":\"f\"}", NULL,
     "selfmon.conf.lua: secret and secret_file are both set; keep one"},
    {"{\"secret_file\":5}", NULL, "selfmon.conf.lua: secret_file: expected the path of a file"},
    {"{\"secret\":\"\"}", NULL, "selfmon.conf.lua: secret: it is empty"},
};

static void refuses(void **state) {
    const place *p = *state;
    for (size_t i = 0; i < SM_ARRAY_LEN(wrong); i++) {
        configure(".", wrong[i].table, wrong[i].lines);
        if (wrong[i].sentence) {
            const char *at = strchr(wrong[i].sentence, '@');
            bool placed = at && at[1] == '/'; /* "@/" is the place */
            char *want = placed ? sm_asprintf("%.*s%s%s", (int)(at - wrong[i].sentence),
                                              wrong[i].sentence, p->dir, at + 1)
                                : sm_strdup(wrong[i].sentence);
            refuse(p, wrong[i].table, want);
            free(want);
            continue;
        }
        /* A sentence of another room, or one of two orders: only that it is refused, and where. */
        sm_flags none = {0};
        sm_config *c = NULL;
        sm_err err = SM_ERR_INIT;
        assert_int_equal(sm_config_load(p->self, &none, true, &c, &err), SM_INVALID);
        if (strncmp(err.msg, "selfmon.conf.lua: ", 18) != 0)
            fail_msg("%s: %s", wrong[i].table, err.msg);
        if (strstr(wrong[i].table, "keys") &&
            !strstr(err.msg, "keys: a.run and b.run have one association key"))
            fail_msg("%s", err.msg);
    }
}

static void child_failures(void **state) {
    const place *p = *state;
    write_file("selfmon.conf.lua", "x", 0644);
    write_file("selfmon.conf.lua.json",
               "{\"ok\":false,\"error\":\"selfmon.conf.lua:3: unexpected symbol\"}", 0644);
    refuse(p, "its own error", "selfmon.conf.lua:3: unexpected symbol");
    write_file("selfmon.conf.lua.json", "", 0644);
    refuse(p, "nothing", "selfmon.conf.lua: its evaluation gave nothing (exit code 0)");
    write_file("selfmon.conf.lua.json", "[]", 0644);
    refuse(p, "no object", "selfmon.conf.lua: its evaluation gave no JSON object");
    write_file(p->self, "#!/bin/sh\nkill -SEGV $$\n", 0755);
    refuse(p, "signal", "selfmon.conf.lua: its evaluation ended by signal 11 (Segmentation fault)");
    write_file(p->self, "#!/bin/sh\nhead -c 9000000 /dev/zero >&3\n", 0755);
    refuse(p, "too much", "selfmon.conf.lua: it gives more than 8 MiB");

    write_file(p->self, "#!/bin/sh\nexec sleep 60\n", 0755);
    json_t *out;
    sm_err err = SM_ERR_INIT;
    int64_t before = sm_mono_ns();
    assert_int_equal(sm_conf_eval(p->self, "f", 50 * SM_NS_PER_MS, NULL, &out, &err), SM_TIMEOUT);
    assert_string_equal(err.msg, "f: its evaluation did not end within 0.05 s");
    assert_true(sm_mono_ns() - before < 5 * SM_NS_PER_S);
    /* It gave its answer but does not end: the answer counts, and the child is ended. */
    write_file(p->self, "#!/bin/sh\necho '{\"ok\":true}' >&3\nexec 3>&-\nexec sleep 60\n", 0755);
    assert_int_equal(sm_conf_eval(p->self, "f", 300 * SM_NS_PER_MS, NULL, &out, &err), SM_OK);
    assert_true(sm_json_bool(out, "ok", false));
    json_decref(out);
    assert_int_equal(sm_conf_eval("/nonexistent", "f", SM_NS_PER_S, NULL, &out, &err), SM_IO);
}

/* ------------------------------------------------------------------ discovery */

static const struct {
    const char *name;
    const char *conf;         /* directory that holds a configuration file, NULL: none */
    const char *table;        /* its table */
    const char *here;         /* current directory */
    const char *argument;     /* NULL: none */
    const char *root, *state; /* below the place */
    const char *display;
} found[] = {
    {"argument is the root", NULL, NULL, "", "inspections", "inspections", ".selfmon",
     "inspections"},
    {"argument below the root", NULL, NULL, "", "inspections/demo", "inspections", ".selfmon",
     "inspections"},
    {"script below the root", NULL, NULL, "", "inspections/demo/a.lua", "inspections", ".selfmon",
     "inspections"},
    {"from inside", NULL, NULL, "inspections/demo", "a.lua", "inspections", ".selfmon",
     "inspections"},
    {"dots are resolved lexically", NULL, NULL, "inspections/demo", "../../inspections/./demo",
     "inspections", ".selfmon", "inspections"},
    {"another directory", NULL, NULL, "", "other", "other", ".selfmon", "other"},
    {"script in another directory", NULL, NULL, "", "other/b.lua", "other", ".selfmon", "other"},
    {"nearest of two", NULL, NULL, "", "inspections/inspections/c.lua", "inspections/inspections",
     "inspections/.selfmon", "inspections"},
    {"no argument", NULL, NULL, "", NULL, "inspections", ".selfmon", "inspections"},
    {"file in the current directory", "", "{}", "", NULL, "inspections", ".selfmon", "inspections"},
    {"file in a parent", "", "{}", "inspections/demo", NULL, "inspections", ".selfmon",
     "inspections"},
    {"file above the argument", "", "{}", "", "inspections/demo/a.lua", "inspections", ".selfmon",
     "inspections"},
    {"the file's root wins over the argument's", "", "{\"inspections\":\"other\"}", "",
     "inspections/demo", "other", ".selfmon", "other"},
    {"state beside the file", "", "{\"inspections\":\"deep/er/root\"}", "", NULL, "deep/er/root",
     ".selfmon", "root"},
    {"state of the file is relative to it", "", "{\"state_dir\":\"var/x\"}", "inspections", NULL,
     "inspections", "var/x", "inspections"},
    {"the argument's own file wins", "deep", "{\"inspections\":\"er\"}", "", "deep/er/root",
     "deep/er", "deep/.selfmon", "er"},
};

static void finds(void **state) {
    const place *p = *state;
    static const char *const dirs[] = {
        "inspections/demo", "inspections/inspections", "other", "deep", "deep/er", "deep/er/root"};
    for (size_t i = 0; i < SM_ARRAY_LEN(dirs); i++)
        assert_int_equal(mkdir(dirs[i], 0755), 0);
    write_file("inspections/demo/a.lua", "", 0644);
    write_file("inspections/inspections/c.lua", "", 0644);
    write_file("other/b.lua", "", 0644);
    for (size_t i = 0; i < SM_ARRAY_LEN(found); i++) {
        char *conf = found[i].conf ? below(p, found[i].conf) : NULL,
             *here = below(p, found[i].here);
        if (conf)
            configure(conf, found[i].table, NULL);
        assert_int_equal(chdir(here), 0);
        sm_flags flags = {.path = found[i].argument};
        sm_config *c = load(p, &flags);
        is_below(found[i].name, c->root, p, found[i].root);
        is_below(found[i].name, c->state_dir, p, found[i].state);
        if (strcmp(c->display, found[i].display) != 0)
            fail_msg("%s: display %s", found[i].name, c->display);
        sm_config_free(c);
        if (conf) {
            assert_int_equal(chdir(conf), 0);
            unlink("selfmon.conf.lua");
        }
        free(conf);
        free(here);
    }
}

static void finds_nothing(void **state) {
    const place *p = *state;
    sm_config *c = NULL;
    sm_err err = SM_ERR_INIT;
    sm_flags flags = {.path = "inspections/none.lua"};
    assert_int_equal(sm_config_load(p->self, &flags, true, &c, &err), SM_NOT_FOUND);
    assert_string_equal(err.msg, "inspections/none.lua: no such file or directory");
    assert_int_equal(rmdir("inspections"), 0);
    flags.path = NULL;
    assert_int_equal(sm_config_load(p->self, &flags, true, &c, &err), SM_NOT_FOUND);
    assert_string_equal(err.msg, "no inspections here: name a directory or a script, or run in one "
                                 "that holds inspections/ or selfmon.conf.lua; `selfmon-lua "
                                 "init` makes one");
    assert_null(c);
    assert_int_equal(sm_config_load(p->self, &flags, false, &c, &err), SM_OK);
    assert_null(c->root);
    is_below("state without a root", c->state_dir, p, ".selfmon");
    sm_config_free(c);
    configure(".", "{}", NULL);
    assert_int_equal(sm_config_load(p->self, &flags, true, &c, &err), SM_NOT_FOUND);
    assert_non_null(strstr(err.msg, "/inspections does not exist"));
    flags.config_file = "missing.lua";
    assert_int_equal(sm_config_load(p->self, &flags, true, &c, &err), SM_INVALID);
    assert_string_equal(err.msg, "configuration file missing.lua (-c): not found");
}

static void named_file(void **state) {
    const place *p = *state;
    assert_int_equal(mkdir("etc", 0755), 0);
    assert_int_equal(mkdir("etc/inspections", 0755), 0);
    configure("etc", "{\"workers\":99999}", "{\"workers\":3}");
    sm_flags flags = {.config_file = "etc/selfmon.conf.lua"};
    sm_config *c = NULL;
    sm_err err = SM_ERR_INIT;
    assert_int_equal(sm_config_load(p->self, &flags, true, &c, &err), SM_INVALID);
    assert_string_equal(err.msg, "etc/selfmon.conf.lua:3: workers: expected a whole number from 1 "
                                 "to 256, got 99999");
    configure("etc", "{\"workers\":2}", NULL);
    c = load(p, &flags);
    is_below("root", c->root, p, "etc/inspections");
    is_below("state", c->state_dir, p, "etc/.selfmon");
    sm_config_free(c);
}

/* ------------------------------------------------------------------ precedence and environment */

static void precedence(void **state) {
    const place *p = *state;
    configure(".",
              "{\"state_dir\":\"a\",\"accounts\":{\"default\":{\"node\":\"truewatch/us1\","
              "\"api_key_id\":\"wsak_1\",\"api_key\":\"some key\"}}}",
              "{\"state_dir\":2,\"accounts.default\":3}");
    sm_config *c = load(p, NULL);
    is_below("file", c->state_dir, p, "a");
    assert_string_equal(c->node, "truewatch/us1");
    assert_false(c->local);
    origin_is(c, "state_dir", "selfmon.conf.lua:2");
    origin_is(c, "accounts.default.node", "selfmon.conf.lua:3");
    sm_config_free(c);

    setenv("SELFMON_STATE_DIR", "b", 1);
    setenv("SELFMON_NODE", "cn3", 1);
    setenv("SELFMON_LISTEN", "0.0.0.0:80", 1);
    c = load(p, NULL);
    is_below("environment", c->state_dir, p, "b");
    assert_string_equal(c->node, "cn3");
    origin_is(c, "state_dir", "environment SELFMON_STATE_DIR");
    origin_is(c, "accounts.default.node", "environment SELFMON_NODE");
    origin_is(c, "listen", "environment SELFMON_LISTEN");
    assert_string_equal(sm_json_str(c->values, "listen", ""), "0.0.0.0:80");
    sm_config_free(c);

    sm_flags flags = {.state_dir = "c", .node = "local"};
    c = load(p, &flags);
    is_below("flag", c->state_dir, p, "c");
    assert_string_equal(c->node, "local");
    assert_true(c->local);
    origin_is(c, "state_dir", "flag --state-dir");
    origin_is(c, "accounts.default.node", "flag --node");
    sm_config_free(c);

    setenv("SELFMON_LISTEN", "here", 1);
    refuse(p, "bad variable",
           "SELFMON_LISTEN: expected an address such as 127.0.0.1:8787, got \"here\"");
}

static void nodes(void **state) {
    const place *p = *state;
    setenv("SELFMON_API_KEY_ID", "wsak_0123456789", 1);
    setenv("SELFMON_API_KEY", "the key of it", 1);
    sm_config *c = load(p, NULL);
    assert_string_equal(c->node, "default");
    assert_false(c->local);
    sm_config_free(c);
    setenv("SELFMON_NODE", "local", 1);
    c = load(p, NULL);
    assert_true(c->local);
    sm_config_free(c);
    clean_env();

    setenv("SELFMON_OPENAPI_URL", "https://openapi.example/", 1);
    refuse(p, "one of two",
           "SELFMON_OPENAPI_URL is set but SELFMON_OPENWAY_URL is not; a private deployment needs "
           "both");
    setenv("SELFMON_OPENWAY_URL", "http://openway.example/base/", 1);
    refuse(p, "plain HTTP",
           "SELFMON_OPENWAY_URL: http:// is only for this machine; use https://, or set insecure = "
           "true (SELFMON_INSECURE_HTTP=1)");
    setenv("SELFMON_INSECURE_HTTP", "1", 1);
    refuse(p, "no key",
           "SELFMON_OPENAPI_URL, SELFMON_OPENWAY_URL: a node other than local needs both "
           "api_key_id and "
           "api_key "
           "(SELFMON_API_KEY_ID and SELFMON_API_KEY)");
    setenv("SELFMON_API_KEY_ID", "wsak_1", 1);
    refuse(
        p, "half a key",
        "SELFMON_OPENAPI_URL, SELFMON_OPENWAY_URL: a node other than local needs both api_key_id "
        "and api_key (SELFMON_API_KEY_ID and SELFMON_API_KEY); missing is api_key");
    setenv("SELFMON_API_KEY", "some key", 1);
    c = load(p, NULL);
    const json_t *node = json_object_get(json_object_get(c->accounts, "default"), "node");
    assert_string_equal(sm_json_str(node, "openapi", ""), "https://openapi.example");
    assert_string_equal(sm_json_str(node, "openway", ""), "http://openway.example/base");
    assert_string_equal(c->node, "https://openapi.example");
    assert_false(c->local);
    sm_config_free(c);
    setenv("SELFMON_INSECURE_HTTP", "0", 1);
    setenv("SELFMON_OPENWAY_URL", "http://127.0.0.1:9", 1);
    sm_config_free(load(p, NULL));
    setenv("SELFMON_OPENWAY_URL", "https://user@host", 1);
    refuse(p, "user in the address",
           "SELFMON_OPENWAY_URL: blanks and \"@\" have no place in the address");
    setenv("SELFMON_OPENWAY_URL", "https://host", 1);
    setenv("SELFMON_NODE", "cn3", 1);
    refuse(p, "two of one", "SELFMON_NODE and SELFMON_OPENAPI_URL are both set; keep one");
    clean_env();
    setenv("SELFMON_INSECURE_HTTP", "yes", 1);
    refuse(p, "a word", "SELFMON_INSECURE_HTTP: expected 1 or 0");
    clean_env();
    setenv("SELFMON_NODE", "", 1); /* empty is unset */
    c = load(p, NULL);
    assert_true(c->local);
    sm_config_free(c);

    /* The environment sets single fields; another remote account makes the whole not local. */
    configure(
        ".",
        "{\"accounts\":{\"default\":{\"rate\":{\"key\":5}},"
        "\"eu\":{\"node\":\"guance/eu1\",\"api_key_id\":\"wsak_2\",\"api_key\":\"some key\"}}}",
        NULL);
    setenv("SELFMON_NODE", "local", 1);
    c = load(p, NULL);
    assert_string_equal(c->node, "local");
    assert_false(c->local);
    assert_non_null(json_object_get(json_object_get(c->accounts, "default"), "rate"));
    sm_config_free(c);
}

/* ------------------------------------------------------------------ secrets */

static bool holds(const sm_secret *s, const char *want) {
    size_t n;
    const char *bytes = s ? sm_secret_bytes(s, &n) : NULL;
    return bytes && n == strlen(want) && memcmp(bytes, want, n) == 0;
}

static void secrets(void **state) {
    const place *p = *state;
    configure(".",
              "{\"secret\":\"association-secret\",\"secrets\":{\"k\":{\"file\":\"key\"}},"
              "\"accounts\":{\"default\":{\"node\":\"local\",\"api_key\":\"in-the-file-key\","
              "\"secret_key\":{\"$secret\":\"k\"}}}}",
              "{\"accounts.default\":4,\"secret\":2}");
    write_file("key", "key-from-file\n", 0600);
    setenv("SELFMON_API_KEY_ID", "wsak_environment", 1);
    sm_config *c = load(p, NULL);
    assert_true(holds(c->assoc, "association-secret"));
    assert_true(holds(sm_config_secret(c, "accounts.default.api_key"), "in-the-file-key"));
    assert_true(holds(sm_config_secret(c, "accounts.default.api_key_id"), "wsak_environment"));
    assert_true(holds(sm_config_secret(c, "accounts.default.secret_key"), "key-from-file"));
    assert_null(sm_config_secret(c, "accounts.default.node"));
    json_t *explained = sm_config_explain(c);
    char *all = sm_json_dump(explained, NULL), *accounts = sm_json_dump(c->accounts, NULL);
    const char *const hidden[] = {"association-secret", "in-the-file-key", "wsak_environment",
                                  "key-from-file"};
    for (size_t i = 0; i < SM_ARRAY_LEN(hidden); i++)
        if (strstr(all, hidden[i]) || strstr(accounts, hidden[i]))
            fail_msg("%s is shown", hidden[i]);
    const json_t *one = json_object_get(explained, "accounts.default.api_key");
    assert_string_equal(sm_json_str(one, "value", ""), "***");
    assert_string_equal(sm_json_str(one, "origin", ""), "selfmon.conf.lua:4");
    one = json_object_get(explained, "accounts.default.api_key_id");
    assert_string_equal(sm_json_str(one, "origin", ""), "environment SELFMON_API_KEY_ID");
    free(accounts);
    free(all);
    json_decref(explained);
    sm_config_free(c);

    setenv("SELFMON_SECRET", "from-environment\n", 1); /* bytes as given */
    c = load(p, NULL);
    assert_true(holds(c->assoc, "from-environment\n"));
    origin_is(c, "secret", "environment SELFMON_SECRET");
    sm_config_free(c);
    setenv("SELFMON_SECRET_FILE", "key", 1);
    refuse(p, "both", "SELFMON_SECRET and SELFMON_SECRET_FILE are both set; keep one");
    unsetenv("SELFMON_SECRET");
    c = load(p, NULL);
    assert_true(holds(c->assoc, "key-from-file"));
    origin_is(c, "secret", "environment SELFMON_SECRET_FILE");
    sm_config_free(c);
    setenv("SELFMON_API_KEY_FILE", "key", 1);
    c = load(p, NULL);
    assert_true(holds(sm_config_secret(c, "accounts.default.api_key"), "key-from-file"));
    sm_config_free(c);

    configure(".", "{\"secret_file\":\"key\"}", NULL);
    clean_env();
    c = load(p, NULL);
    assert_true(holds(c->assoc, "key-from-file"));
    sm_config_free(c);
}

/* The directory of the tests is on a disk, or these files may be on tmpfs, where modes do not
 * matter: then there is nothing to see. */
static void readable_secrets_are_refused(void **state) {
    const place *p = *state;
    char *data = NULL;
    size_t n;
    write_file("open", "key-that-others-read", 0644);
    sm_rc rc = sm_fsx_read_secret("open", 100, true, &data, &n, NULL);
    free(data);
    if (rc == SM_OK)
        skip();
    char *want = sm_asprintf("SELFMON_API_KEY_FILE: %s/open can be read by others (mode 0644); "
                             "run: chmod 600 %s/open",
                             p->dir, p->dir);
    setenv("SELFMON_API_KEY_FILE", "open", 1);
    refuse(p, "key file", want);
    clean_env();
    free(want);
    configure(".", "{\"secrets\":{\"db\":{\"file\":\"open\"}}}", "{\"secrets\":5}");
    want = sm_asprintf("selfmon.conf.lua:5: secrets.db: %s/open can be read by others (mode 0644); "
                       "run: chmod 600 %s/open",
                       p->dir, p->dir);
    refuse(p, "secrets", want);
    free(want);
    configure(".", "{\"secret_file\":\"open\"}", NULL);
    want = sm_asprintf("selfmon.conf.lua: secret_file: %s/open can be read by others (mode 0644); "
                       "run: chmod 600 %s/open",
                       p->dir, p->dir);
    refuse(p, "secret_file", want);
    free(want);
    configure(".", "{\"secrets\":{\"db\":{\"file\":\"not-there-yet\"}}}", NULL);
    sm_config_free(load(p, NULL));
}

static void generated_secret(void **state) {
    const place *p = *state;
    const sm_secret *s;
    size_t n;
    char first[32];
    sm_err err = SM_ERR_INIT;
    sm_config *c = load(p, NULL);
    assert_int_equal(sm_config_assoc_secret(c, false, &s, &err), SM_NOT_FOUND);
    assert_null(s);
    assert_non_null(strstr(err.msg, "set SELFMON_SECRET"));
    assert_false(sm_fsx_exists(".selfmon"));
    assert_int_equal(sm_config_assoc_secret(c, true, &s, &err), SM_OK);
    const char *bytes = sm_secret_bytes(s, &n);
    assert_int_equal(n, 32);
    memcpy(first, bytes, 32);
    sm_config_free(c);
    struct stat st;
    assert_int_equal(stat(".selfmon/secret", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, 32);
    c = load(p, NULL);
    assert_int_equal(sm_config_assoc_secret(c, true, &s, &err), SM_OK);
    assert_memory_equal(sm_secret_bytes(s, &n), first, 32);
    sm_config_free(c);
    write_file(".selfmon/secret", "", 0600);
    c = load(p, NULL);
    assert_int_equal(sm_config_assoc_secret(c, true, &s, &err), SM_INVALID);
    assert_non_null(strstr(err.msg, "is empty"));
    sm_config_free(c);
}

static const struct {
    const char *id, *want;
} grants[] = {
    {"host/disk.run", "[\"exec:/usr/bin/df\",\"secret:all\"]"},
    {"host/memory.run", "[\"exec:/usr/bin/df\",\"secret:all\"]"},
    {"host/deep/x.run", "[\"secret:all\"]"},
    {"http/endpoint.run", "[\"secret:all\",\"secret:shop\"]"},
    {"http/endpoint.run@eu", "[\"secret:all\",\"secret:eu\",\"secret:shop\"]"},
};

static int compare_texts(const void *a, const void *b) {
    return strcmp(json_string_value(*(json_t *const *)a), json_string_value(*(json_t *const *)b));
}

static void grants_match(void **state) {
    const place *p = *state;
    configure(
        ".",
        "{\"grant\":{\"host/*\":[\"exec:/usr/bin/df\"],\"host/disk.run\":"
        "[\"exec:/usr/bin/df\"],\"**\":\"secret:all\",\"http/endpoint.run\":[\"secret:shop\"],"
        "\"http/endpoint.run@eu\":[\"secret:eu\"],\"other/*\":[\"secret:no\"]}}",
        NULL);
    sm_config *c = load(p, NULL);
    for (size_t i = 0; i < SM_ARRAY_LEN(grants); i++) {
        json_t *got = sm_config_grants(c, grants[i].id), *sorted = json_array();
        json_t *list[8];
        size_t n = json_array_size(got);
        assert_true(n <= 8);
        for (size_t k = 0; k < n; k++)
            list[k] = json_array_get(got, k);
        qsort(list, n, sizeof list[0], compare_texts);
        for (size_t k = 0; k < n; k++)
            json_array_append(sorted, list[k]);
        char *text = sm_json_dump(sorted, NULL);
        if (strcmp(text, grants[i].want) != 0)
            fail_msg("%s: %s", grants[i].id, text);
        free(text);
        json_decref(sorted);
        json_decref(got);
    }
    sm_config_free(c);
}

#define AT_PLACE(f) cmocka_unit_test_setup_teardown(f, make_place, remove_place)

int main(void) {
    const struct CMUnitTest tests[] = {AT_PLACE(defaults),
                                       AT_PLACE(reads_everything),
                                       AT_PLACE(refuses),
                                       AT_PLACE(child_failures),
                                       AT_PLACE(finds),
                                       AT_PLACE(finds_nothing),
                                       AT_PLACE(named_file),
                                       AT_PLACE(precedence),
                                       AT_PLACE(nodes),
                                       AT_PLACE(secrets),
                                       AT_PLACE(readable_secrets_are_refused),
                                       AT_PLACE(generated_secret),
                                       AT_PLACE(grants_match)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
