/* monitor_policy: the tables `limits` and `events` of a `monitor` call (script-api 1.1, 5): shapes,
 * types and ranges. What the operator allows and what a policy does is decided in the daemon.
 * Called by worker/monitor_check. Pure. */
#include "worker/monitor.h"
#include "worker/luaval.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { COUNT_MAX = 1000000, CONFIRM_MAX = 1000 };

static const double day = 86400;

/* `64 MiB`, `64MiB`, `64M`, `1024`: bytes; units are powers of 1024. */
static bool parse_size(const char *s, size_t n, double *out) {
    static const struct {
        const char *unit;
        double factor;
    } units[] = {{"", 1},         {"B", 1},       {"K", 0x1p10},  {"KB", 0x1p10},
                 {"KiB", 0x1p10}, {"M", 0x1p20},  {"MB", 0x1p20}, {"MiB", 0x1p20},
                 {"G", 0x1p30},   {"GB", 0x1p30}, {"GiB", 0x1p30}};
    double v = 0;
    size_t i = 0;
    for (; i < n && s[i] >= '0' && s[i] <= '9' && i < 15; i++)
        v = v * 10 + (s[i] - '0');
    if (i == 0)
        return false;
    while (i < n && s[i] == ' ')
        i++;
    for (size_t u = 0; u < SM_ARRAY_LEN(units); u++) {
        if (strlen(units[u].unit) == n - i && memcmp(units[u].unit, s + i, n - i) == 0) {
            *out = v * units[u].factor;
            return true;
        }
    }
    return false;
}

static sm_rc bytes(const sm_val *v, const char *path, json_t **out, sm_err *err) {
    double n = -1;
    if (v->type == SM_VAL_INT)
        n = (double)v->u.i;
    else if (v->type == SM_VAL_NUM)
        n = v->u.n;
    else if (v->type != SM_VAL_STR || !parse_size(v->u.s.p, v->u.s.n, &n))
        return sm_monitor_expected(v, path, "bytes or a size such as \"32MiB\"", err);
    if (!(n >= 1 && n <= 0x1p40))
        return sm_monitor_expected(v, path, "1 byte to 1024 GiB", err);
    *out = json_integer((json_int_t)n);
    return SM_OK;
}

/* A whole number lo..hi; 5.0 counts as 5. */
static sm_rc whole(const sm_val *v, const char *path, int lo, int hi, json_t **out, sm_err *err) {
    double n = NAN;
    char what[64];
    if (v->type == SM_VAL_INT)
        n = (double)v->u.i;
    else if (v->type == SM_VAL_NUM)
        n = v->u.n;
    snprintf(what, sizeof what, "a whole number from %d to %d", lo, hi);
    if (!(n >= lo && n <= hi) || floor(n) < n)
        return sm_monitor_expected(v, path, what, err);
    *out = json_integer((json_int_t)n);
    return SM_OK;
}

sm_rc sm_monitor_limits(const sm_val *v, json_t **out, sm_err *err) {
    static const char *const names[] = {"memory", "cpu", "events", "log", "http"};
    json_t *limits = json_object();
    sm_rc rc = SM_OK;
    if (v->type != SM_VAL_TABLE)
        rc = sm_monitor_expected(v, "limits", "a table", err);
    else
        rc = sm_monitor_known(v, "limits", names, SM_ARRAY_LEN(names), err);
    for (size_t i = 0; i < SM_ARRAY_LEN(names) && rc == SM_OK; i++) {
        const sm_val *m = sm_monitor_field(v, names[i]);
        json_t *value = NULL;
        char path[40];
        double s = 0;
        if (!m)
            continue;
        snprintf(path, sizeof path, "limits.%s", names[i]);
        if (strcmp(names[i], "memory") == 0 || strcmp(names[i], "log") == 0) {
            rc = bytes(m, path, &value, err);
        } else if (strcmp(names[i], "cpu") == 0) {
            rc = sm_monitor_seconds(m, path, 0.001, SM_MONITOR_TIMEOUT_MAX, "0.001 s to 3600 s", &s,
                                    err);
            value = json_real(s);
        } else {
            rc = whole(m, path, 0, COUNT_MAX, &value, err);
        }
        if (rc == SM_OK)
            json_object_set(limits, names[i], value);
        json_decref(value);
    }
    if (rc == SM_OK)
        *out = limits;
    else
        json_decref(limits);
    return rc;
}

static sm_rc check_whole(const sm_val *v, const char *path, int lo, int hi, sm_err *err) {
    json_t *n = NULL;
    sm_rc rc = whole(v, path, lo, hi, &n, err);
    json_decref(n);
    return rc;
}

static sm_rc check_flag(const sm_val *v, const char *path, sm_err *err) {
    return v->type == SM_VAL_BOOL ? SM_OK : sm_monitor_expected(v, path, "true or false", err);
}

static sm_rc check_confirm(const sm_val *v, sm_err *err) {
    static const char *const names[] = {"fail", "ok"};
    static const char *const paths[] = {"events.confirm.fail", "events.confirm.ok"};
    if (v->type != SM_VAL_TABLE)
        return sm_monitor_expected(v, "events.confirm", "a table such as { fail = 3, ok = 2 }",
                                   err);
    sm_rc rc = sm_monitor_known(v, "events.confirm", names, 2, err);
    for (size_t i = 0; i < 2 && rc == SM_OK; i++) {
        const sm_val *m = sm_monitor_field(v, names[i]);
        if (m)
            rc = check_whole(m, paths[i], 1, CONFIRM_MAX, err);
    }
    return rc;
}

/* { 50, per = "10m" } */
static sm_rc check_max_events(const sm_val *v, sm_err *err) {
    static const char what[] = "a table such as { 50, per = \"10m\" }";
    const sm_val *count = NULL, *per = NULL;
    double s;
    if (v->type != SM_VAL_TABLE)
        return sm_monitor_expected(v, "events.max_events", what, err);
    for (size_t i = 0; i < v->u.t.n; i++) {
        const sm_pair *p = &v->u.t.p[i];
        if (p->key.type == SM_VAL_INT && p->key.u.i == 1)
            count = &p->val;
    }
    per = sm_monitor_field(v, "per");
    if (!count || !per || v->u.t.n != 2)
        return sm_err_set(err, SM_INVALID, "monitor: events.max_events: expected %s", what);
    sm_rc rc = check_whole(count, "events.max_events[1]", 1, COUNT_MAX, err);
    if (rc == SM_OK)
        rc = sm_monitor_seconds(per, "events.max_events.per", 1, 366 * day, "1 s to 366 days", &s,
                                err);
    return rc;
}

sm_rc sm_monitor_events(const sm_val *v, json_t **out, sm_err *err) {
    static const char *const names[] = {"recover", "on_change",      "confirm",
                                        "remind",  "max_dimensions", "max_events"};
    const sm_val *m;
    double s;
    if (v->type != SM_VAL_TABLE)
        return sm_monitor_expected(v, "events", "a table", err);
    sm_rc rc = sm_monitor_known(v, "events", names, SM_ARRAY_LEN(names), err);
    if (rc == SM_OK && (m = sm_monitor_field(v, "recover")))
        rc = check_flag(m, "events.recover", err);
    if (rc == SM_OK && (m = sm_monitor_field(v, "on_change")))
        rc = check_flag(m, "events.on_change", err);
    if (rc == SM_OK && (m = sm_monitor_field(v, "confirm")))
        rc = check_confirm(m, err);
    if (rc == SM_OK && (m = sm_monitor_field(v, "remind")))
        rc = sm_monitor_seconds(m, "events.remind", 300, 366 * day, "5 minutes to 366 days", &s,
                                err);
    if (rc == SM_OK && (m = sm_monitor_field(v, "max_dimensions")))
        rc = check_whole(m, "events.max_dimensions", 1, COUNT_MAX, err);
    if (rc == SM_OK && (m = sm_monitor_field(v, "max_events")))
        rc = check_max_events(m, err);
    if (rc != SM_OK)
        return rc;
    if (v->u.t.n == 0) {
        *out = json_object();
        return SM_OK;
    }
    return sm_luaval_json(v, "monitor: events", out, err);
}
