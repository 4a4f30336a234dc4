/* once: starts the runs, collects their reports, drains, sums up (see once.h). */
#include "daemon/once.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/views.h"
#include <stdlib.h>
#include <string.h>

typedef struct once {
    sm_once_options o;
    json_t *load_errors;
    json_t *reports;
    size_t left;
} once;

static void once_free(once *o) {
    json_decref(o->load_errors);
    json_decref(o->reports);
    free(o);
}

/* Errors of the files that the selection takes: {file, outcome, error} each. */
static json_t *load_errors_of(const sm_once_options *opt) {
    size_t n;
    const sm_load_error *errors = sm_catalog_errors(opt->catalog, &n);
    json_t *bad = json_array();
    for (size_t i = 0; i < n; i++)
        if (sm_view_selects_file(errors[i].file, opt->select))
            json_array_append_new(
                bad,
                json_pack("{s:s, s:s, s:o}", "file", errors[i].file, "outcome", "load_error",
                          "error", sm_json_text(errors[i].sentence, strlen(errors[i].sentence))));
    return bad;
}

static void finish(once *o, int64_t waiting) {
    json_t *troubles = o->o.desks ? sm_desks_troubles(o->o.desks) : json_array();
    json_t *result =
        json_pack("{s:O, s:O, s:I, s:O?}", "runs", o->reports, "load_errors", o->load_errors,
                  "waiting", (json_int_t)waiting, "trouble", json_array_get(troubles, 0));
    o->o.finished(o->o.ctx, result);
    json_decref(result);
    json_decref(troubles);
    once_free(o);
}

static void counted(void *ctx, sm_rc rc, const sm_err *err, const json_t *stats) {
    (void)err;
    int64_t waiting = 0;
    if (rc == SM_OK)
        waiting = sm_json_int(stats, "pending", 0) + sm_json_int(stats, "inflight", 0) +
                  sm_json_int(stats, "held", 0);
    finish(ctx, waiting);
}

static void drained(void *ctx) {
    once *o = ctx;
    sm_store_call(o->o.store, SM_OP_OUTBOX_STATS, NULL, counted, o);
}

static void all_ended(once *o) {
    if (o->o.desks)
        sm_desks_drain(o->o.desks, o->o.drain_ms, true, drained, o);
    else
        finish(o, 0);
}

static void one_ended(void *ctx, const json_t *report) {
    once *o = ctx;
    json_array_append(o->reports, (json_t *)report);
    o->o.progress(o->o.ctx, report);
    if (--o->left == 0)
        all_ended(o);
}

static sm_rc check_override(const sm_once_options *opt, sm_err *err) {
    size_t n;
    sm_inspection *const *list = sm_catalog_list(opt->catalog, &n);
    const char *id;
    json_t *values;
    json_object_foreach((json_t *)opt->override, id, values) {
        const sm_inspection *p = sm_catalog_find(opt->catalog, id);
        if (p && !sm_view_selected(p, opt->select))
            return sm_err_set(err, SM_INVALID, "-p %s: that inspection is not selected", id);
        if (!p) {
            const char **ids = sm_calloc(n + 1, sizeof *ids);
            char hint[256];
            for (size_t i = 0; i < n; i++)
                ids[i] = list[i]->id;
            sm_err_set(err, SM_INVALID, "-p %s: there is no such inspection%s", id,
                       sm_str_hint(id, ids, n, hint, sizeof hint));
            free(ids);
            return SM_INVALID;
        }
        const char *name;
        json_t *value;
        json_object_foreach(values, name, value) {
            size_t i;
            json_t *param;
            bool known = false;
            const char *names[64];
            size_t count = 0;
            json_array_foreach(p->schema, i, param) {
                const char *have = sm_json_str(param, "name", "");
                known = known || strcmp(have, name) == 0;
                if (count < SM_ARRAY_LEN(names))
                    names[count++] = have;
            }
            char hint[256];
            if (!known)
                return sm_err_set(err, SM_INVALID, "-p %s:%s: it has no such parameter%s", id, name,
                                  sm_str_hint(name, names, count, hint, sizeof hint));
        }
    }
    return SM_OK;
}

sm_rc sm_once_start(const sm_once_options *opt, sm_err *err) {
    size_t n;
    sm_inspection *const *list = sm_catalog_list(opt->catalog, &n);
    if (check_override(opt, err) != SM_OK)
        return SM_INVALID;
    once *o = sm_calloc(1, sizeof *o);
    o->o = *opt;
    o->reports = json_array();
    o->load_errors = load_errors_of(opt);
    for (size_t i = 0; i < n; i++)
        o->left += sm_view_selected(list[i], opt->select);
    if (o->left == 0 && json_array_size(o->load_errors) == 0) {
        once_free(o);
        return sm_err_set(err, SM_INVALID,
                          n ? "no inspection is selected (%zu are loaded; see `selfmon-lua list`)"
                            : "there is no inspection to run (%zu are loaded)",
                          n);
    }
    if (o->left == 0) {
        all_ended(o);
        return SM_OK;
    }
    sm_inspection **chosen = sm_calloc(o->left, sizeof(sm_inspection *));
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (sm_view_selected(list[i], opt->select))
            chosen[count++] = sm_inspection_ref(list[i]);
    for (size_t i = 0; i < count; i++) {
        sm_run_want want = {.inspection = chosen[i],
                            .slot = SM_NO_SLOT,
                            .trigger = "once",
                            .ask = true,
                            .override = json_object_get(opt->override, chosen[i]->id),
                            .trace = sm_json_bool(opt->select, "trace", false),
                            .done = one_ended,
                            .ctx = o};
        sm_runner_start(opt->runner, &want);
        sm_inspection_unref(chosen[i]);
    }
    free(chosen);
    return SM_OK;
}
