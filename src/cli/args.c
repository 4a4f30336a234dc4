/* args: turns argv into sm_args. One table of options; each says which commands take it. Options
 * may stand anywhere, `--` ends them, `--name=value` and `--name value` are the same. */
#include "cli/cli.h"
#include "base/mem.h"
#include "base/str.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
    RUN = 1,
    LIST = 2,
    KEY = 4,
    NEXT = 8,
    EVENTS = 16,
    RUNS = 32,
    LOCAL = 64,
    NODES = 128,
    STATUS = 256,
    DOCTOR = 512,
    ADOPT = 1024,
    LINT = 2048,
    MUTE = 4096,
    UNMUTE = 8192,
    WHY = 16384,
    BACKUP = 32768,
    RESTORE = 65536,
    OUTBOX = 131072,
    TYPES = 262144,
    DOC = 524288,
    NEW = 1048576,
    INIT = 2097152,
    COMPLETION = 4194304,
    CHECK = 8388608,
    MARKET = 16777216,
    ALL = 33554431,
    CONFIG = ALL & ~DOCTOR /* `doctor --config` shows the configuration; its -c names the file */
};

typedef enum kind { FLAG, TEXT, SECONDS, COUNT, PARAM } kind;

static const struct option {
    const char *name;  /* with its dashes */
    const char *brief; /* "-k", or NULL */
    kind kind;
    size_t at; /* offset in sm_args */
    int commands;
} options[] = {
    {"--help", "-h", FLAG, offsetof(sm_args, help), ALL},
    {"--config", "-c", TEXT, offsetof(sm_args, flags.config_file), CONFIG},
    {"--config", NULL, FLAG, offsetof(sm_args, show_config), DOCTOR},
    {"-c", NULL, TEXT, offsetof(sm_args, flags.config_file), DOCTOR},
    {"--state-dir", NULL, TEXT, offsetof(sm_args, flags.state_dir), ALL},
    {"--node", NULL, TEXT, offsetof(sm_args, flags.node), ALL},
    {"--quiet", "-q", FLAG, offsetof(sm_args, quiet), ALL},
    {"--verbose", "-v", FLAG, offsetof(sm_args, verbose), ALL},
    {"--json", NULL, FLAG, offsetof(sm_args, json), ALL},
    {"--log-format", NULL, TEXT, offsetof(sm_args, log_format), ALL},
    {"--no-color", NULL, FLAG, offsetof(sm_args, no_color), ALL},
    {"--once", NULL, FLAG, offsetof(sm_args, once), RUN},
    {"--dry-run", NULL, FLAG, offsetof(sm_args, dry), RUN | CHECK},
    {"--param", "-p", PARAM, offsetof(sm_args, override), RUN | CHECK},
    {"--pattern", "-k", TEXT, offsetof(sm_args, pattern), RUN | LIST},
    {"--tags", NULL, TEXT, offsetof(sm_args, tags), RUN | LIST},
    {"--fail-on", NULL, TEXT, offsetof(sm_args, fail_on), RUN},
    {"--trace", NULL, TEXT, offsetof(sm_args, trace), RUN},
    {"--new-identity", NULL, FLAG, offsetof(sm_args, new_identity), RUN},
    {"--wait", NULL, SECONDS, offsetof(sm_args, wait_s), RUN},
    {"--timeout", NULL, SECONDS, offsetof(sm_args, timeout_s), CHECK},
    {"--drain", NULL, SECONDS, offsetof(sm_args, drain_s), RUN},
    {"--since", NULL, TEXT, offsetof(sm_args, since), EVENTS | RUNS},
    {"--id", NULL, TEXT, offsetof(sm_args, id), EVENTS | RUNS | OUTBOX},
    {"--status", NULL, TEXT, offsetof(sm_args, status), EVENTS | RUNS | OUTBOX},
    {"--log", NULL, FLAG, offsetof(sm_args, log), RUNS},
    {"--gaps", NULL, FLAG, offsetof(sm_args, gaps), RUNS},
    {"--number", "-n", COUNT, offsetof(sm_args, n), NEXT | EVENTS | RUNS | OUTBOX},
    {"--tz", NULL, TEXT, offsetof(sm_args, tz), NEXT},
    {"--from", NULL, TEXT, offsetof(sm_args, from), NEXT},
    {"--from", NULL, TEXT, offsetof(sm_args, from_kind), NEW},
    {"--reason", NULL, TEXT, offsetof(sm_args, reason), MUTE},
    {"--yes", NULL, FLAG, offsetof(sm_args, yes), OUTBOX},
    {"--pending", NULL, FLAG, offsetof(sm_args, pending), OUTBOX},
    {"--brand", NULL, TEXT, offsetof(sm_args, brand), NODES},
    {"--force", NULL, FLAG, offsetof(sm_args, force), BACKUP},
    {"--format", NULL, TEXT, offsetof(sm_args, format), LINT},
    {"--sha256", NULL, TEXT, offsetof(sm_args, sha256), MARKET},
    {"--root", NULL, TEXT, offsetof(sm_args, flags.path), MARKET},
    {"--rules", NULL, FLAG, offsetof(sm_args, rules), LINT},
    {"--send-event", NULL, FLAG, offsetof(sm_args, send_event), DOCTOR},
};

static int command_bit(const char *command) {
    static const struct {
        const char *name;
        int bit;
    } bits[] = {{"run", RUN},
                {"list", LIST},
                {"key", KEY},
                {"next", NEXT},
                {"events", EVENTS},
                {"runs", RUNS},
                {"local", LOCAL},
                {"nodes", NODES},
                {"status", STATUS},
                {"doctor", DOCTOR},
                {"adopt", ADOPT},
                {"lint", LINT},
                {"mute", MUTE},
                {"unmute", UNMUTE},
                {"why", WHY},
                {"backup", BACKUP},
                {"restore", RESTORE},
                {"outbox", OUTBOX},
                {"types", TYPES},
                {"doc", DOC},
                {"new", NEW},
                {"init", INIT},
                {"completion", COMPLETION},
                {"check", CHECK},
                {"market", MARKET}};
    for (size_t i = 0; i < SM_ARRAY_LEN(bits); i++)
        if (strcmp(bits[i].name, command) == 0)
            return bits[i].bit;
    return 0;
}

static sm_rc unknown(const char *word, const char *command, int bit, sm_err *err) {
    const char *names[SM_ARRAY_LEN(options)];
    size_t n = 0;
    char name[64], hint[128];
    for (size_t i = 0; i < SM_ARRAY_LEN(options); i++)
        if (options[i].commands & bit)
            names[n++] = options[i].name;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
    return sm_err_set(err, SM_INVALID, "unknown option %s of `%s`%s (see `selfmon-lua %s --help`)",
                      name, command, sm_str_hint(name, names, n, hint, sizeof hint), command);
}

/* -p ID:NAME=VALUE; of `check` also NAME=VALUE, kept under the id "". */
static sm_rc add_param(sm_args *out, const char *text, sm_err *err) {
    const char *equal = strchr(text, '='), *colon = strchr(text, ':');
    bool own =
        strcmp(out->command, "check") == 0 && equal && equal > text && (!colon || colon > equal);
    const char *name_at = own ? text : colon ? colon + 1 : NULL;
    if (!own)
        equal = colon ? strchr(colon, '=') : NULL;
    if (!name_at || !equal || colon == text || equal == name_at)
        return sm_err_set(err, SM_INVALID,
                          "-p: expected ID:NAME=VALUE, as in -p host/disk.run:warning=80; got %s",
                          text);
    char *id = sm_memdup(text, own ? 0 : (size_t)(colon - text));
    char *name = sm_memdup(name_at, (size_t)(equal - name_at));
    if (!out->override)
        out->override = json_object();
    json_t *values = json_object_get(out->override, id);
    if (!values) {
        values = json_object();
        json_object_set_new(out->override, id, values);
    }
    json_object_set_new(values, name, sm_json_text(equal + 1, strlen(equal + 1)));
    free(id);
    free(name);
    return SM_OK;
}

static sm_rc set_value(sm_args *out, const struct option *o, const char *value, sm_err *err) {
    char *field = (char *)out + o->at;
    char *end = NULL;
    switch (o->kind) {
    case TEXT:
        if (!*value)
            return sm_err_set(err, SM_INVALID, "%s: a value is missing", o->name);
        *(const char **)field = value;
        return SM_OK;
    case SECONDS:
        if (sm_duration_parse(value, (double *)field, err) != SM_OK)
            return sm_err_wrap(err, "%s", o->name);
        return SM_OK;
    case COUNT:
        errno = 0;
        *(long *)field = strtol(value, &end, 10);
        if (errno || !end || *end || end == value || *(long *)field < 1 || *(long *)field > 1000000)
            return sm_err_set(err, SM_INVALID, "%s: expected a number from 1 to 1000000, got %s",
                              o->name, value);
        return SM_OK;
    case PARAM:
        return add_param(out, value, err);
    case FLAG:
        break;
    }
    return SM_OK;
}

static const struct option *find(const char *word, int bit) {
    size_t n = strcspn(word, "=");
    for (size_t i = 0; i < SM_ARRAY_LEN(options); i++) {
        const struct option *o = &options[i];
        if (!(o->commands & bit))
            continue;
        if ((strncmp(word, o->name, n) == 0 && o->name[n] == '\0') ||
            (o->brief && strcmp(word, o->brief) == 0))
            return o;
    }
    return NULL;
}

sm_rc sm_args_parse(int argc, char **argv, sm_args *out, sm_err *err) {
    int bit = command_bit(out->command);
    out->rest = sm_calloc((size_t)argc + 1, sizeof *out->rest);
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--") == 0) {
            while (++i < argc)
                out->rest[out->n_rest++] = argv[i];
            break;
        }
        if (word[0] != '-' || word[1] == '\0') {
            out->rest[out->n_rest++] = argv[i];
            continue;
        }
        const struct option *o = find(word, bit);
        if (!o)
            return unknown(word, out->command, bit, err);
        const char *equal = word[1] == '-' ? strchr(word, '=') : NULL;
        if (o->kind == FLAG) {
            if (equal)
                return sm_err_set(err, SM_INVALID, "%s takes no value", o->name);
            *((bool *)((char *)out + o->at)) = true;
            continue;
        }
        const char *value = equal ? equal + 1 : i + 1 < argc ? argv[++i] : NULL;
        if (!value)
            return sm_err_set(err, SM_INVALID, "%s: a value is missing", o->name);
        if (set_value(out, o, value, err) != SM_OK)
            return err->code;
    }
    const char *format = out->log_format;
    if (format && strcmp(format, "text") != 0 && strcmp(format, "json") != 0)
        return sm_err_set(err, SM_INVALID, "--log-format: expected text or json, got %s", format);
    return SM_OK;
}

void sm_args_options(const char *command,
                     void (*one)(void *ctx, const char *name, const char *brief, bool value),
                     void *ctx) {
    int bit = command_bit(command);
    for (size_t i = 0; i < SM_ARRAY_LEN(options); i++)
        if (options[i].commands & bit)
            one(ctx, options[i].name, options[i].brief, options[i].kind != FLAG);
}

void sm_args_fini(sm_args *a) {
    free(a->rest);
    json_decref(a->override);
}
