/* config_keys: the keys of the configuration that have one value, each with its type, range and
 * default in one table, and the helpers by which every room reads strictly.
 *
 * A wrong value is one sentence with file and line. Called by config.c and its other rooms.
 */
#include "daemon/config_parts.h"
#include "base/addr.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum kind { TEXT, BOOLEAN, COUNT, SECONDS, BYTES, WORD, ADDRESS } kind;

typedef struct key {
    const char *name; /* dotted: the part before the dot is a table */
    kind kind;
    double min, max;    /* of COUNT, SECONDS (seconds), BYTES */
    const char *def;    /* as a person would write it; NULL: none, or computed */
    const char *words;  /* of WORD: "a, b" */
    const char *phrase; /* what was expected */
} key;

#define KIB 1024.0
#define MIB (1024.0 * KIB)
#define GIB (1024.0 * MIB)
#define TIB (1024.0 * GIB)
#define DAY 86400.0
#define YEARS (3650 * DAY)

static const key keys[] = {
    {"inspections", TEXT, 0, 0, "inspections", NULL, "a directory"},
    {"state_dir", TEXT, 0, 0, NULL, NULL, "a directory"},
    {"timezone", TEXT, 0, 0, "UTC", NULL, "the name of a time zone such as Europe/Berlin"},
    {"config_max_age", SECONDS, 0, 3600, "5", NULL, "a duration from 0 to 1h"},
    {"workers", COUNT, 1, 256, NULL, NULL, "a whole number from 1 to 256"},
    {"runs_per_worker", COUNT, 1, 1024, "64", NULL, "a whole number from 1 to 1024"},
    {"max_running", COUNT, 1, 65536, "4096", NULL, "a whole number from 1 to 65536"},
    {"isolation", WORD, 0, 0, "shared", "shared, process", "\"shared\" or \"process\""},
    {"limits.memory", BYTES, MIB, 16 * GIB, "32MiB", NULL, "a size from 1MiB to 16GiB"},
    {"limits.wall", SECONDS, 1, 3600, "30", NULL, "a duration from 1s to 1h"},
    {"limits.cpu", SECONDS, 0.01, 3600, "10", NULL, "a duration from 10ms to 1h"},
    {"limits.log", BYTES, KIB, GIB, "256KiB", NULL, "a size from 1KiB to 1GiB"},
    {"limits.events", COUNT, 1, 100000, "1000", NULL, "a whole number from 1 to 100000"},
    {"limits.http_parallel", COUNT, 1, 1024, "64", NULL, "a whole number from 1 to 1024"},
    {"limits.http_total", COUNT, 1, 1e6, "1000", NULL, "a whole number from 1 to 1000000"},
    {"limits.http_body", BYTES, KIB, GIB, "8MiB", NULL, "a size from 1KiB to 1GiB"},
    {"limits.outbox", BYTES, MIB, TIB, "1GiB", NULL, "a size from 1MiB to 1TiB"},
    {"limits.min_free", BYTES, 0, TIB, "256MiB", NULL, "a size from 0 to 1TiB"},
    {"retention.runs", SECONDS, 3600, YEARS, "90d", NULL, "a duration from 1h to 3650d"},
    {"retention.events", SECONDS, 3600, YEARS, "90d", NULL, "a duration from 1h to 3650d"},
    {"retention.size", BYTES, MIB, 1024 * TIB, "2GiB", NULL, "a size from 1MiB to 1024TiB"},
    {"report_failures", BOOLEAN, 0, 0, "true", NULL, "true or false"},
    {"listen", ADDRESS, 0, 0, "127.0.0.1:8787", NULL, "an address such as 127.0.0.1:8787"},
    {"health_listen", ADDRESS, 0, 0, NULL, NULL,
     "an address such as 127.0.0.1:9090, [::1]:9090 or 0.0.0.0:9090"},
    {"log.level", WORD, 0, 0, "info", "debug, info, warn, error",
     "one of debug, info, warn, error"},
    {"log.format", WORD, 0, 0, "auto", "auto, text, json", "one of auto, text, json"},
};

/* Keys that are tables or secrets, read by the other rooms. */
static const char *const others[] = {"accounts", "secret", "secret_file", "keys",
                                     "secrets",  "params", "schedule",    "instances",
                                     "grant",    "net",    "maintenance", "heartbeat"};

/* ------------------------------------------------------------------ sentences and lookups */

/* Line of a dotted key, or of the nearest part above it; 0 when none is known. */
static int line_of(const sm_conf *c, const char *dotted) {
    char *at = sm_strdup(dotted);
    int line = 0;
    for (;;) {
        line = (int)sm_json_int(c->lines, at, 0);
        char *dot = strrchr(at, '.');
        if (line > 0 || !dot)
            break;
        *dot = '\0';
    }
    free(at);
    return line;
}

char *sm_conf_origin(const sm_conf *c, const char *dotted) {
    int line = line_of(c, dotted);
    return line > 0 ? sm_asprintf("%s:%d", c->shown, line) : sm_strdup(c->shown ? c->shown : "-");
}

sm_rc sm_conf_refuse(const sm_conf *c, sm_err *err, const char *dotted, const char *fmt, ...) {
    char sentence[SM_ERR_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(sentence, sizeof sentence, fmt, ap);
    va_end(ap);
    char *where = sm_conf_origin(c, dotted);
    sm_err_set(err, SM_INVALID, "%s: %s", where, sentence);
    free(where);
    return SM_INVALID;
}

/* A value in a sentence, short; malloc'd. */
static char *shown_value(const json_t *v) {
    if (json_is_array(v))
        return sm_strdup("a list");
    if (json_is_object(v))
        return sm_strdup("a table");
    if (!json_is_string(v))
        return v ? sm_json_dump(v, NULL) : sm_strdup("nothing");
    char *text = sm_str_printable(json_string_value(v), json_string_length(v), 60);
    char *quoted = sm_asprintf("\"%s\"", text);
    free(text);
    return quoted;
}

sm_rc sm_conf_expected(const sm_conf *c, sm_err *err, const char *dotted, const char *what,
                       const json_t *got) {
    char *value = shown_value(got);
    sm_conf_refuse(c, err, dotted, "%s: expected %s, got %s", dotted, what, value);
    free(value);
    return SM_INVALID;
}

sm_rc sm_conf_known(const sm_conf *c, const char *at, const json_t *obj, const char *const *names,
                    size_t n, sm_err *err) {
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)obj, name, v) {
        bool known = false;
        for (size_t i = 0; i < n; i++)
            known = known || strcmp(name, names[i]) == 0;
        if (known)
            continue;
        char hint[512];
        sm_str_hint(name, names, n, hint, sizeof hint);
        if (!*hint && *at) { /* a small table: say what it may hold */
            sm_buf b;
            sm_buf_init(&b, sizeof hint - 1);
            for (size_t i = 0; i < n; i++)
                sm_buf_addf(&b, "%s%s", i > 0 ? ", " : "; it may have ", names[i]);
            char *list = sm_buf_take(&b, NULL);
            snprintf(hint, sizeof hint, "%s", list);
            free(list);
        }
        char *word = sm_str_printable(name, strlen(name), 60);
        char *dotted = sm_asprintf("%s%s%s", at, *at ? "." : "", name);
        sm_conf_refuse(c, err, dotted, "%s%sunknown key \"%s\"%s", at, *at ? ": " : "", word, hint);
        free(dotted);
        free(word);
        return SM_INVALID;
    }
    return SM_OK;
}

sm_rc sm_conf_object(const sm_conf *c, const char *dotted, const json_t *v, const json_t **out,
                     sm_err *err) {
    *out = NULL;
    if (!v || json_is_null(v) || (json_is_array(v) && json_array_size(v) == 0))
        return SM_OK;
    if (!json_is_object(v))
        return sm_conf_expected(c, err, dotted, "a table with names", v);
    *out = v;
    return SM_OK;
}

void sm_conf_put(sm_conf *c, const char *dotted, json_t *value, const char *origin) {
    json_object_set_new(c->made->values, dotted, value);
    json_object_set_new(c->made->origins, dotted, sm_json_text(origin, strlen(origin)));
}

/* ------------------------------------------------------------------ single values */

bool sm_conf_seconds(const json_t *v, double *out) {
    if (json_is_number(v)) {
        *out = json_number_value(v);
        return true;
    }
    return json_is_string(v) && sm_duration_parse(json_string_value(v), out, NULL) == SM_OK;
}

/* "2GiB", "256MiB", "10kB", "1000"; binary and decimal units by their own names. */
static bool size_of(const json_t *v, double *out) {
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"", 1},      {"B", 1},     {"kB", 1e3},  {"KB", 1e3},  {"MB", 1e6}, {"GB", 1e9},
                 {"TB", 1e12}, {"KiB", KIB}, {"MiB", MIB}, {"GiB", GIB}, {"TiB", TIB}};
    if (json_is_number(v)) {
        *out = json_number_value(v);
        return true;
    }
    const char *s = json_string_value(v);
    if (!s || *s < '0' || *s > '9')
        return false;
    size_t n = strspn(s, "0123456789.");
    char *end, *digits = sm_memdup(s, n);
    double x = strtod(digits, &end);
    bool ok = *end == '\0';
    free(digits);
    for (size_t i = 0; ok && i < SM_ARRAY_LEN(units); i++) {
        if (strcmp(s + n, units[i].name) == 0) {
            *out = x * units[i].factor;
            return true;
        }
    }
    return false;
}

static json_t *number(double x) {
    return floor(x) >= x && fabs(x) < 0x1p53 ? json_integer((json_int_t)x) : json_real(x);
}

/* A text of one line. */
static const char *line_text(const json_t *v) {
    const char *s = json_string_value(v);
    if (!s || !*s || strlen(s) != json_string_length(v) || strlen(s) > 4096)
        return NULL;
    for (const char *p = s; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return NULL;
    return s;
}

static bool is_address(const char *s) {
    struct sockaddr_storage at;
    socklen_t n;
    return s && sm_addr_parse(s, &at, &n, NULL) == SM_OK;
}

/* Is word one of a ", "-separated list? */
static bool among(const char *word, const char *list) {
    size_t n = word ? strlen(word) : 0;
    for (const char *p = list; n > 0 && *p;) {
        size_t len = strcspn(p, ",");
        if (len == n && memcmp(p, word, n) == 0)
            return true;
        p += len;
        p += strspn(p, ", ");
    }
    return false;
}

/* What v means for k, as a new reference; NULL when it does not fit. */
static json_t *value_of(const key *k, const json_t *v) {
    const char *s = line_text(v);
    double x = 0;
    switch (k->kind) {
    case TEXT:
        return s ? json_string(s) : NULL;
    case BOOLEAN:
        return json_is_boolean(v) ? json_boolean(json_is_true(v)) : NULL;
    case COUNT:
        x = json_is_number(v) ? json_number_value(v) : 0.5;
        return floor(x) >= x && x >= k->min && x <= k->max ? number(x) : NULL;
    case SECONDS:
        return sm_conf_seconds(v, &x) && x >= k->min && x <= k->max ? number(x) : NULL;
    case BYTES:
        return size_of(v, &x) && x >= k->min && x <= k->max ? number(floor(x)) : NULL;
    case WORD:
        return among(s, k->words) ? json_string(s) : NULL;
    case ADDRESS:
        return is_address(s) ? json_string(s) : NULL;
    }
    return NULL;
}

static void put_default(sm_conf *c, const key *k) {
    json_t *v = NULL;
    if (strcmp(k->name, "workers") == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        v = json_integer(cores < 1 ? 1 : cores > (long)k->max ? (long)k->max : cores);
    } else if (k->kind == BOOLEAN) {
        v = json_boolean(strcmp(k->def, "true") == 0);
    } else if (k->def) {
        json_t *written =
            k->kind == COUNT ? json_integer(strtol(k->def, NULL, 10)) : json_string(k->def);
        v = value_of(k, written);
        json_decref(written);
    }
    sm_conf_put(c, k->name, v ? v : json_null(), "default");
}

static sm_rc read_key(sm_conf *c, const key *k, sm_err *err) {
    const char *dot = strchr(k->name, '.');
    const json_t *from = c->table, *v;
    if (dot) {
        char *table = sm_memdup(k->name, (size_t)(dot - k->name));
        from = json_object_get(c->table, table);
        free(table);
    }
    v = json_object_get(from, dot ? dot + 1 : k->name);
    if (!v || json_is_null(v))
        return SM_OK;
    json_t *value = value_of(k, v);
    if (!value)
        return sm_conf_expected(c, err, k->name, k->phrase, v);
    char *origin = sm_conf_origin(c, k->name);
    sm_conf_put(c, k->name, value, origin);
    free(origin);
    return SM_OK;
}

/* Only these two; the other variables belong to accounts, secrets and the state directory. */
static sm_rc read_env(sm_conf *c, const key *k, sm_err *err) {
    const char *name = strcmp(k->name, "listen") == 0          ? "SELFMON_LISTEN"
                       : strcmp(k->name, "health_listen") == 0 ? "SELFMON_HEALTH_LISTEN"
                                                               : NULL;
    const char *env = name ? sm_conf_env(name) : NULL;
    if (!env)
        return SM_OK;
    json_t *written = sm_json_text(env, strlen(env)), *value = value_of(k, written);
    sm_rc rc = SM_OK;
    char *text = value ? sm_asprintf("environment %s", name) : shown_value(written);
    if (value)
        sm_conf_put(c, k->name, value, text);
    else
        rc = sm_err_set(err, SM_INVALID, "%s: expected %s, got %s", name, k->phrase, text);
    free(text);
    json_decref(written);
    return rc;
}

/* Unknown keys at the top and in the small tables that the table of keys describes. */
static sm_rc check_unknown(sm_conf *c, sm_err *err) {
    static const char *const tables[] = {"limits", "retention", "log"};
    const char *names[SM_ARRAY_LEN(keys) + SM_ARRAY_LEN(others) + SM_ARRAY_LEN(tables)];
    size_t n = 0;
    for (size_t i = 0; i < SM_ARRAY_LEN(keys); i++)
        if (!strchr(keys[i].name, '.'))
            names[n++] = keys[i].name;
    for (size_t i = 0; i < SM_ARRAY_LEN(others); i++)
        names[n++] = others[i];
    for (size_t i = 0; i < SM_ARRAY_LEN(tables); i++)
        names[n++] = tables[i];
    sm_rc rc = sm_conf_known(c, "", c->table, names, n, err);
    for (size_t t = 0; rc == SM_OK && t < SM_ARRAY_LEN(tables); t++) {
        const json_t *obj;
        rc = sm_conf_object(c, tables[t], json_object_get(c->table, tables[t]), &obj, err);
        size_t len = strlen(tables[t]);
        n = 0;
        for (size_t i = 0; i < SM_ARRAY_LEN(keys); i++)
            if (strncmp(keys[i].name, tables[t], len) == 0 && keys[i].name[len] == '.')
                names[n++] = keys[i].name + len + 1;
        if (rc == SM_OK && obj)
            rc = sm_conf_known(c, tables[t], obj, names, n, err);
    }
    return rc;
}

sm_rc sm_conf_keys(sm_conf *c, sm_err *err) {
    sm_rc rc = check_unknown(c, err);
    for (size_t i = 0; rc == SM_OK && i < SM_ARRAY_LEN(keys); i++) {
        put_default(c, &keys[i]);
        rc = read_key(c, &keys[i], err);
        if (rc == SM_OK)
            rc = read_env(c, &keys[i], err);
    }
    return rc;
}

void sm_conf_fill(sm_conf *c) {
    static const char *const limits[] = {"memory", "wall",          "cpu",        "log",
                                         "events", "http_parallel", "http_total", "http_body"};
    sm_config *m = c->made;
    const json_t *v = m->values;
    m->timezone = sm_strdup(sm_json_str(v, "timezone", "UTC"));
    m->config_max_age = sm_json_num(v, "config_max_age", 5);
    m->workers = (int)sm_json_int(v, "workers", 1);
    m->runs_per_worker = (int)sm_json_int(v, "runs_per_worker", 64);
    m->max_running = (int)sm_json_int(v, "max_running", 4096);
    m->process_isolation = strcmp(sm_json_str(v, "isolation", "shared"), "process") == 0;
    m->outbox_bytes = sm_json_int(v, "limits.outbox", 0);
    m->min_free_bytes = sm_json_int(v, "limits.min_free", 0);
    m->keep_runs_s = sm_json_num(v, "retention.runs", 0);
    m->keep_events_s = sm_json_num(v, "retention.events", 0);
    m->report_failures = sm_json_bool(v, "report_failures", true);
    const char *health = sm_json_str(v, "health_listen", NULL);
    m->health_listen = health ? sm_strdup(health) : NULL;
    m->log_level = sm_strdup(sm_json_str(v, "log.level", "info"));
    m->log_format = sm_strdup(sm_json_str(v, "log.format", "auto"));
    m->limits = json_object();
    for (size_t i = 0; i < SM_ARRAY_LEN(limits); i++) {
        char name[64];
        snprintf(name, sizeof name, "limits.%s", limits[i]);
        json_object_set(m->limits, limits[i], json_object_get(v, name));
    }
}
