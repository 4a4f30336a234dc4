/* inspection: from a script's specs and the configuration to inspections: ids (with instances),
 * association keys, schedules, zones, accounts, parameters, grants, limits.
 *
 * A fault is the script's (the whole file does not load) or the configuration's (that inspection
 * is refused, the others live). It reads zone files and nothing else, and compares inspections of
 * different files nowhere: that is the catalogue's. Owned by the loop's thread.
 */
#include "daemon/inspection.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/accounts.h"
#include "platform/assoc.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PINNED_MAX = 48 };

typedef struct making {
    const sm_config *cfg;
    const sm_secret *assoc;
    sm_source *source;
    const json_t *spec;
    const char *base;     /* function id without instance */
    const char *name;     /* of the instance, or NULL */
    const json_t *setup;  /* of the instance, or NULL */
    const char *conf_key; /* dotted key of the configuration that a fault belongs to, or NULL */
    char conf_key_text[600];
    bool cfg_changed; /* not the script */
    bool only_this;   /* a fault is said at the script's line, and refuses this inspection only */
} making;

/* Remembers that what is looked at comes from the configuration. */
static void from_config(making *m, const char *table, const char *id) {
    snprintf(m->conf_key_text, sizeof m->conf_key_text, "%s.%s", table, id);
    m->conf_key = m->conf_key_text;
}

/* A key in the script makes an account of its own, named after node and Key ID, so that its events
 * find it again after a restart; the Key ID itself stays out of the name. */
static char *script_account(const sm_inspection *p) {
    const json_t *given = json_object_get(p->spec, "node");
    char *node = sm_json_dump(given ? given : json_null(), NULL), digits[SM_ASSOC_LEN + 1];
    const char *id = sm_json_str(p->spec, "api_key_id", "");
    sm_assoc_key(id, strlen(id), node, digits);
    free(node);
    return sm_asprintf("script-%.12s", digits);
}

/* The node that a script brings with its key: what does not fit must not run anywhere else. */
static sm_rc check_own_node(const making *m, const sm_inspection *p, sm_err *err) {
    const json_t *conf = json_object_get(m->cfg->accounts, "default");
    sm_node node;
    sm_rc rc = sm_accounts_node(json_object_get(p->spec, "node"),
                                sm_json_bool(conf, "insecure", false), &node, err);
    if (rc != SM_OK)
        return sm_err_wrap(err, "node");
    sm_node_fini(&node);
    return SM_OK;
}

static sm_rc set_account(making *m, sm_inspection *p, sm_err *err) {
    const char *account = sm_json_str(m->spec, "account", "default");
    const char *own = sm_json_str(m->setup, "account", NULL);
    if (p->api_key && !own) {
        p->account = script_account(p);
        return check_own_node(m, p, err);
    }
    if (own) {
        account = own;
        from_config(m, "instances", p->id);
    }
    if (strcmp(account, "default") != 0 && !json_object_get(m->cfg->accounts, account)) {
        const char *names[64], *name;
        size_t n = 0;
        json_t *v;
        char hint[160];
        names[n++] = "default";
        json_object_foreach(m->cfg->accounts, name, v) if (n < SM_ARRAY_LEN(names)) names[n++] =
            name;
        sm_str_hint(account, names, n, hint, sizeof hint);
        m->only_this = m->cfg_changed && !own; /* the file is as well as it was */
        return sm_err_set(err, SM_INVALID, "account \"%s\" is not in the configuration%s", account,
                          hint);
    }
    p->account = sm_strdup(account);
    m->conf_key = NULL;
    return SM_OK;
}

static sm_rc set_key(making *m, sm_inspection *p, sm_err *err) {
    char *former = NULL;
    const char *id = p->id;
    const char *pinned = sm_json_str(m->cfg->keys, id, NULL);
    const json_t *was = json_object_get(m->spec, "was");
    if (!pinned && json_array_size(was) > 0) {
        const char *first = json_string_value(json_array_get(was, 0));
        /* An instance of a renamed script was an instance of the former one. */
        former = m->name && !strchr(first, '@') ? sm_asprintf("%s@%s", first, m->name)
                                                : sm_strdup(first);
        id = former;
        pinned = sm_json_str(m->cfg->keys, id, NULL);
    }
    sm_rc rc = SM_OK;
    if (pinned) {
        size_t n = strlen(pinned);
        from_config(m, "keys", id);
        if (n < 1 || n > PINNED_MAX || strspn(pinned, " \t\r\n") > 0)
            rc = sm_err_set(err, SM_INVALID,
                            "the association key of %s must have 1 to %d characters", id,
                            PINNED_MAX);
        else
            snprintf(p->ref_key, sizeof p->ref_key, "%s", pinned);
        if (rc == SM_OK)
            m->conf_key = NULL;
    } else if (m->assoc) {
        size_t n;
        const char *bytes = sm_secret_bytes(m->assoc, &n);
        sm_assoc_key(bytes, n, id, p->ref_key);
    }
    free(former);
    return rc;
}

static sm_rc set_zone(making *m, sm_inspection *p, sm_err *err) {
    const char *zone = sm_json_str(m->spec, "timezone", NULL);
    if (!zone) {
        zone = m->cfg->timezone ? m->cfg->timezone : "UTC";
        snprintf(m->conf_key_text, sizeof m->conf_key_text, "timezone");
        m->conf_key = m->conf_key_text;
    }
    if (strcmp(zone, "UTC") != 0) {
        sm_rc rc = sm_tz_load(NULL, zone, &p->tz, err);
        if (rc != SM_OK)
            return sm_err_wrap(err, "timezone");
    }
    json_object_set_new(p->spec, "timezone", json_string(zone));
    m->conf_key = NULL;
    return SM_OK;
}

/* The schedule that counts, as array of texts. New reference. */
static json_t *schedule_of(making *m, const sm_inspection *p) {
    json_t *v = json_object_get(m->setup, "schedule");
    if (v) {
        from_config(m, "instances", p->id);
    } else if ((v = json_object_get(m->cfg->schedule, p->id))) {
        from_config(m, "schedule", p->id);
    } else if ((v = json_object_get(m->cfg->schedule, m->base))) {
        from_config(m, "schedule", m->base);
    } else {
        return json_incref(json_object_get(m->spec, "schedule"));
    }
    if (json_is_false(v) || json_is_null(v))
        return json_array(); /* on demand only */
    return json_is_string(v) ? json_pack("[O]", v) : json_incref(v);
}

static sm_rc set_schedule(making *m, sm_inspection *p, sm_err *err) {
    json_t *list = schedule_of(m, p), *item;
    size_t i;
    sm_rc rc = SM_OK;
    if (!json_is_array(list)) {
        rc = sm_err_set(err, SM_INVALID, "schedule: expected a text or a list of texts");
        goto out;
    }
    p->crons = sm_calloc(json_array_size(list) + 1, sizeof *p->crons);
    json_array_foreach(list, i, item) {
        if (!json_is_string(item)) {
            rc = sm_err_set(err, SM_INVALID, "schedule: expected a text or a list of texts");
            goto out;
        }
        rc = sm_cron_parse(json_string_value(item), p->id, true, &p->crons[p->n_crons], err);
        if (rc != SM_OK) {
            sm_err_wrap(err, "schedule");
            goto out;
        }
        p->n_crons++;
    }
    json_object_set(p->spec, "schedule", list);
    m->conf_key = NULL;
out:
    json_decref(list);
    return rc;
}

static void merge(json_t **into, const json_t *from) {
    if (!json_is_object(from) || json_object_size(from) == 0)
        return;
    if (!*into)
        *into = json_object();
    json_object_update(*into, (json_t *)(uintptr_t)from);
}

/* "32 MiB", "1.5 MiB", "1000", "10 s": a limit as a person writes it. */
static void limit_text(const char *name, double v, char *out, size_t cap) {
    bool bytes = strcmp(name, "memory") == 0 || strcmp(name, "log") == 0;
    bool seconds = strcmp(name, "cpu") == 0 || strcmp(name, "timeout") == 0;
    if (bytes && v >= 1 << 20)
        snprintf(out, cap, "%.6g MiB", v / (1 << 20));
    else if (bytes && v >= 1 << 10)
        snprintf(out, cap, "%.6g KiB", v / (1 << 10));
    else
        snprintf(out, cap, "%.6g%s", v, bytes ? " bytes" : seconds ? " s" : "");
}

/* What the script asks for is more than the configuration allows. key: of the ceiling. An instance
 * is the same script: it says nothing more. */
static void note_ceiling(const making *m, sm_inspection *p, const char *name, double asked,
                         double most, const char *key) {
    char has[48], gets[48];
    const char *origin = sm_json_str(m->cfg->origins, key, "default");
    if (m->name)
        return;
    limit_text(name, asked, has, sizeof has);
    limit_text(name, most, gets, sizeof gets);
    char *note = sm_asprintf("%s: %s%s = %s is above the ceiling of %s (%s, %s); it gets %s", p->id,
                             strcmp(name, "timeout") == 0 ? "" : "limits.", name, has, gets, key,
                             origin, gets);
    if (!p->notes)
        p->notes = json_array();
    json_array_append_new(p->notes, sm_json_text(note, strlen(note)));
    free(note);
}

/* Takes what the script declares, at most what the configuration allows. */
static void set_limits(making *m, sm_inspection *p) {
    static const struct {
        const char *spec, *limit;
    } names[] = {{"memory", "memory"},
                 {"cpu", "cpu"},
                 {"log", "log"},
                 {"events", "events"},
                 {"http", "http_total"}};
    const json_t *own = json_object_get(m->spec, "limits");
    p->limits = json_copy(m->cfg->limits);
    for (size_t i = 0; i < SM_ARRAY_LEN(names); i++) {
        json_t *v = json_object_get(own, names[i].spec);
        const json_t *most = json_object_get(m->cfg->limits, names[i].limit);
        if (!json_is_number(v))
            continue;
        if (!json_is_number(most) || json_number_value(v) <= json_number_value(most)) {
            json_object_set(p->limits, names[i].limit, v);
            continue;
        }
        char *key = sm_asprintf("limits.%s", names[i].limit);
        note_ceiling(m, p, names[i].spec, json_number_value(v), json_number_value(most), key);
        free(key);
    }
    p->timeout = sm_json_num(m->spec, "timeout", 30);
    /* limits.wall is a default until the operator writes it; then it is a ceiling. */
    const char *origin = sm_json_str(m->cfg->origins, "limits.wall", "default");
    double wall = sm_json_num(m->cfg->limits, "wall", 30);
    if (strcmp(origin, "default") != 0 && p->timeout > wall) {
        if (json_is_number(json_object_get(m->spec, "timeout")))
            note_ceiling(m, p, "timeout", p->timeout, wall, "limits.wall");
        p->timeout = wall;
    }
    json_object_set_new(p->limits, "wall", json_real(p->timeout));
}

/* A key in the script joins the process's mask and leaves the spec, which others may show. */
static void take_api_key(sm_inspection *p) {
    const json_t *key = json_object_get(p->spec, "api_key");
    if (!json_is_string(key))
        return;
    p->api_key = sm_secret_new(json_string_value(key), json_string_length(key));
    json_object_del(p->spec, "api_key");
}

static sm_rc make_one(making *m, sm_inspection **out, sm_err *err) {
    sm_inspection *p = sm_calloc(1, sizeof *p);
    p->refs = 1;
    p->id = m->name ? sm_asprintf("%s@%s", m->base, m->name) : sm_strdup(m->base);
    if (m->name)
        from_config(m, "instances", p->id);
    sm_rc rc = sm_assoc_check_id(p->id, err);
    /* An empty table of Lua is an empty list in JSON. */
    if (rc == SM_OK && m->name && !json_is_object(m->setup) &&
        !(json_is_array(m->setup) && json_array_size(m->setup) == 0))
        rc = sm_err_set(err, SM_INVALID, "expected a table with account, schedule, params");
    if (rc != SM_OK)
        goto out;
    m->conf_key = NULL;
    p->func_id = sm_assoc_func_id(p->id);
    p->fn = sm_strdup(sm_json_str(m->spec, "fn", ""));
    p->source = sm_source_ref(m->source);
    p->spec = json_copy((json_t *)(uintptr_t)m->spec);
    p->schema = json_object_get(p->spec, "params");
    p->first_run = sm_json_bool(m->spec, "first_run", true);
    p->retry = sm_json_bool(m->spec, "retry", true);
    take_api_key(p);
    if ((rc = set_account(m, p, err)) != SM_OK || (rc = set_key(m, p, err)) != SM_OK ||
        (rc = set_zone(m, p, err)) != SM_OK || (rc = set_schedule(m, p, err)) != SM_OK)
        goto out;
    merge(&p->conf_params, json_object_get(m->cfg->params, m->base));
    if (m->name)
        merge(&p->conf_params, json_object_get(m->cfg->params, p->id));
    merge(&p->conf_params, json_object_get(m->setup, "params"));
    p->grants = sm_config_grants(m->cfg, p->id);
    p->net = json_incref(m->cfg->net);
    set_limits(m, p);
    *out = p;
    p = NULL;
out:
    sm_inspection_unref(p);
    return rc;
}

/* "selfmon.conf.lua:12: " when the origin of the key is known, else "selfmon.conf.lua: key: ". */
static char *config_sentence(const making *m, const char *msg) {
    const char *origin = sm_json_str(m->cfg->origins, m->conf_key, "");
    const char *file = m->cfg->file ? sm_fsx_basename(m->cfg->file) : "configuration";
    const char *colon = strrchr(origin, ':');
    if (colon && colon[1] >= '0' && colon[1] <= '9')
        return sm_asprintf("%s: %s: %s", sm_fsx_basename(origin), m->conf_key, msg);
    return sm_asprintf("%s: %s: %s", file, m->conf_key, msg);
}

/* Makes one and keeps it, or its refusal. Not SM_OK: the script's fault. */
static sm_rc add(making *m, sm_inspections *out, sm_err *err) {
    sm_inspection *p;
    sm_rc rc = make_one(m, &p, err);
    if (rc == SM_OK) {
        out->list = sm_realloc(out->list, (out->n + 1) * sizeof *out->list);
        out->list[out->n++] = p;
    } else if (m->conf_key || m->only_this) {
        char *sentence = m->conf_key ? config_sentence(m, err->msg)
                                     : sm_asprintf("%s/%s:%d: %s", m->cfg->display, m->source->file,
                                                   (int)sm_json_int(m->spec, "line", 0), err->msg);
        json_array_append_new(out->refused, sm_json_text(sentence, strlen(sentence)));
        free(sentence);
        rc = SM_OK;
    } else {
        out->line = (int)sm_json_int(m->spec, "line", 0);
    }
    return rc;
}

sm_rc sm_inspection_make(const sm_config *cfg, const sm_secret *assoc, sm_source *source,
                         const json_t *specs, bool cfg_changed, sm_inspections *out, sm_err *err) {
    size_t i;
    json_t *spec, *setup;
    char *base = NULL;
    const char *name;
    sm_err own = SM_ERR_INIT; /* sentences are needed even when the caller wants none */
    sm_rc rc = SM_OK;
    *out = (sm_inspections){.refused = json_array()};
    json_array_foreach(specs, i, spec) {
        const char *fn = sm_json_str(spec, "fn", "");
        out->line = (int)sm_json_int(spec, "line", 0);
        for (size_t k = 0; k < i; k++)
            if (strcmp(sm_json_str(json_array_get(specs, k), "fn", ""), fn) == 0) {
                rc = sm_err_set(&own, SM_INVALID, "monitor: function %s is registered twice", fn);
                goto out;
            }
        rc = sm_assoc_make_id(source->file, fn, &base, &own);
        if (rc != SM_OK)
            goto out;
        making m = {.cfg = cfg,
                    .assoc = assoc,
                    .source = source,
                    .spec = spec,
                    .base = base,
                    .cfg_changed = cfg_changed};
        if ((rc = add(&m, out, &own)) != SM_OK)
            goto out;
        json_object_foreach(json_object_get(cfg->instances, base), name, setup) {
            making inst = m;
            inst.conf_key = NULL;
            inst.only_this = false;
            inst.name = name;
            inst.setup = setup;
            if ((rc = add(&inst, out, &own)) != SM_OK)
                goto out;
        }
        free(base);
        base = NULL;
    }
    out->line = 0;
out:
    free(base);
    if (rc != SM_OK && err)
        *err = own;
    return rc;
}

void sm_inspections_fini(sm_inspections *s) {
    for (size_t i = 0; i < s->n; i++)
        sm_inspection_unref(s->list[i]);
    free(s->list);
    json_decref(s->refused);
    *s = (sm_inspections){0};
}

static bool same_json(const json_t *a, const json_t *b) {
    return (!a && !b) || json_equal(a, b);
}

bool sm_inspection_same(const sm_inspection *a, const sm_inspection *b) {
    return strcmp(a->id, b->id) == 0 && strcmp(a->ref_key, b->ref_key) == 0 &&
           strcmp(a->account, b->account) == 0 && a->source == b->source &&
           !(a->timeout < b->timeout) && !(a->timeout > b->timeout) &&
           same_json(a->spec, b->spec) && same_json(a->conf_params, b->conf_params) &&
           same_json(a->grants, b->grants) && same_json(a->limits, b->limits) &&
           same_json(a->net, b->net);
}
