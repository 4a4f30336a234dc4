/* app_reload: the configuration of a daemon is read again when it changed, and takes effect between
 * two runs.
 *
 * The file is evaluated beside the loop (its own process, a thread that waits for it); what is
 * asked meanwhile is one more reading afterwards, and readings keep a distance, so that a storm of
 * signals costs a few. A configuration that is wrong changes nothing but `status`. A good one is
 * put in place in one turn of the loop, when no scan runs: the inspections are made anew from it,
 * and each run takes everything it needs from its inspection. Called by app_signals and app_disk
 * (the watch); owned by the loop's thread.
 */
#include "base/clock.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/str.h"
#include "daemon/app_parts.h"
#include <stdlib.h>
#include <string.h>

enum { DISTANCE_MS = 200 }; /* from the beginning of one reading to that of the next */

struct sm_app_reload {
    sm_app *app;
    uv_work_t work;
    uv_timer_t later;
    atomic_bool stop;
    bool under_way; /* being read, or waiting for the end of a scan */
    bool again;     /* asked for meanwhile */
    bool asked;     /* by a person: an error is said although it was said before */
    int64_t began_ns;
    /* what the thread works with, and gives */
    sm_flags flags;
    char *file;
    sm_config *fresh;
    sm_rc rc;
    sm_err err;
    char **fresh_files;

    char **files;      /* to be watched; NULL: those of the configuration */
    int64_t loaded_ns; /* wall */
    char *error;       /* of the last reading, or NULL */
    int64_t reloads, failures;
    json_t *fixed;       /* object key -> value that holds until the next start */
    json_t *asked_fixed; /* as the last good reading had them */
    sm_secret *secret;   /* association secret as the last good reading had it, or NULL */
};

/* Keys that only a start reads; the association secret is another one. */
static const char *const fixed_keys[] = {"state_dir", "inspections", "listen", "health_listen"};

static bool is_fixed(const char *name) {
    for (size_t i = 0; i < SM_ARRAY_LEN(fixed_keys); i++)
        if (strcmp(name, fixed_keys[i]) == 0)
            return true;
    return strcmp(name, "secret") == 0;
}

static json_t *fixed_of(const sm_config *c) {
    json_t *out = json_object();
    for (size_t i = 0; i < SM_ARRAY_LEN(fixed_keys); i++) {
        json_t *v = json_object_get(c->values, fixed_keys[i]);
        json_object_set(out, fixed_keys[i], v ? v : json_null());
    }
    return out;
}

static sm_secret *copy_secret(const sm_secret *s) {
    size_t n;
    const char *bytes = s ? sm_secret_bytes(s, &n) : NULL;
    return bytes ? sm_secret_new(bytes, n) : NULL;
}

static bool same_secret(const sm_secret *a, const sm_secret *b) {
    size_t n = 0, m = 0;
    const char *x = a ? sm_secret_bytes(a, &n) : "", *y = b ? sm_secret_bytes(b, &m) : "";
    return n == m && memcmp(x, y, n) == 0;
}

/* The file as sentences name it. */
static const char *name_of(const sm_config *c) {
    return c->file ? sm_fsx_basename(c->file) : "the environment";
}

static void tell_fixed(const sm_config *c, const char *key) {
    const char *origin = sm_json_str(c->origins, key, "default");
    sm_log(SM_LOG_WARN, "%s changed in %s; it takes effect at the next start", key,
           strcmp(origin, "default") == 0 ? name_of(c) : origin);
}

/* Says, once each, what changed and waits for the next start. */
static void weigh_fixed(struct sm_app_reload *r, const sm_config *fresh) {
    json_t *now = fixed_of(fresh), *v;
    const char *key;
    json_object_foreach(now, key, v) {
        if (!json_equal(v, json_object_get(r->fixed, key)) &&
            !json_equal(v, json_object_get(r->asked_fixed, key)))
            tell_fixed(fresh, key);
    }
    json_decref(r->asked_fixed);
    r->asked_fixed = now;
    /* None given: the generated one stays, unless another was given before. */
    const sm_secret *used = r->app->o.config->assoc;
    bool differs = fresh->assoc ? !same_secret(fresh->assoc, used) : r->secret != NULL;
    if (differs && !same_secret(fresh->assoc, r->secret))
        tell_fixed(fresh, "secret");
    sm_secret_free(r->secret);
    r->secret = copy_secret(fresh->assoc);
}

/* "schedule, params"; NULL when nothing changed that takes effect now. */
static char *list_changes(const json_t *changes) {
    char *list = NULL;
    size_t i;
    json_t *name;
    json_array_foreach(changes, i, name) {
        const char *s = json_string_value(name);
        if (is_fixed(s))
            continue;
        char *more = list ? sm_asprintf("%s, %s", list, s) : sm_strdup(s);
        free(list);
        list = more;
    }
    return list;
}

static void use_files(struct sm_app_reload *r, char **files /* taken */) {
    sm_config_files_free(r->files);
    r->files = files;
}

static void size_pool(sm_app *a, const sm_config *old) {
    const sm_config *now = a->o.config;
    sm_dispatcher_options pool = {0};
    sm_err err = SM_ERR_INIT;
    bool same = now->workers == old->workers && now->runs_per_worker == old->runs_per_worker &&
                now->max_running == old->max_running &&
                now->process_isolation == old->process_isolation;
    if (!same && sm_app_take_ceilings(a, &err) != SM_OK)
        sm_log(SM_LOG_ERROR, "configuration: %s; the size of the pool stays", err.msg);
    sm_app_pool_options(a, &pool);
    sm_dispatcher_configure(a->dispatcher, &pool);
}

/* Puts the new configuration in place of the old one, which ends with its last user. */
static void put_in_place(sm_app *a, sm_config *fresh, const char *list) {
    sm_config *old = a->o.config;
    sm_config_inherit(fresh, old);
    a->o.config = fresh;
    sm_accounts_configure(a->accounts, fresh);
    sm_desks_configure(a->desks, fresh->config_max_age);
    sm_desks_hurry(a->desks, NULL); /* what was held may go now */
    size_t changed = sm_catalog_configure(a->catalog, fresh);
    size_pool(a, old);
    sm_store_call(a->store, SM_OP_CONFIGURE,
                  json_pack("{s:I, s:I}", "outbox_bytes", (json_int_t)fresh->outbox_bytes,
                            "min_free_bytes", (json_int_t)fresh->min_free_bytes),
                  NULL, NULL);
    sm_app_upkeep_configure(a, old);
    sm_app_hush_configure(a);
    sm_failures_enable(a->failures, fresh->report_failures);
    if (!sm_config_same_secret(fresh, old, "heartbeat") || fresh->heartbeat_s < old->heartbeat_s ||
        fresh->heartbeat_s > old->heartbeat_s)
        sm_app_beat_configure(a);
    if (a->o.listener.configured)
        a->o.listener.configured(a->o.listener.ctx, fresh);
    if (changed == 0)
        sm_log(SM_LOG_INFO, "configuration: read again: %s", list);
    else
        sm_log(SM_LOG_INFO, "configuration: read again: %s (%zu inspection%s changed)", list,
               changed, changed == 1 ? "" : "s");
    sm_app_take_catalog(a);
    sm_catalog_look(a->catalog); /* what did not load may load now */
    sm_config_free(old);
}

static void finish(struct sm_app_reload *r) {
    r->under_way = false;
    sm_app_disk_files(r->app);
    if (r->again && !r->app->stopping) {
        r->again = false;
        sm_app_reconfigure(r->app);
    }
}

/* No scan runs. */
static void on_idle(void *ctx) {
    struct sm_app_reload *r = ctx;
    sm_app *a = r->app;
    sm_config *fresh = r->fresh;
    r->fresh = NULL;
    if (a->stopping) {
        sm_config_free(fresh);
        r->under_way = false;
        return;
    }
    json_t *changes = sm_config_changes(a->o.config, fresh);
    char *list = list_changes(changes);
    bool mended = r->error != NULL;
    json_decref(changes);
    free(r->error);
    r->error = NULL;
    r->reloads++;
    r->loaded_ns = sm_wall_ns();
    use_files(r, NULL);
    weigh_fixed(r, fresh);
    if (mended)
        sm_log(SM_LOG_INFO, "configuration: %s is in order again%s", name_of(fresh),
               list ? "" : "; nothing changed");
    if (list) {
        put_in_place(a, fresh, list);
    } else { /* only lines moved, perhaps */
        json_t *origins = a->o.config->origins;
        a->o.config->origins = fresh->origins;
        fresh->origins = origins;
        use_files(r, r->fresh_files);
        r->fresh_files = NULL;
        sm_config_free(fresh);
    }
    free(list);
    finish(r);
}

/* The old configuration stays. What is to be watched: what either was read from. */
static void fail(struct sm_app_reload *r) {
    const char *const *now = sm_config_files(r->app->o.config);
    size_t n = 0, m = 0;
    while (now[n])
        n++;
    while (r->fresh_files[m])
        m++;
    char **both = sm_calloc(n + m + 1, sizeof *both);
    for (size_t i = 0; i < n; i++)
        both[i] = sm_strdup(now[i]);
    for (size_t i = 0; i < m; i++) {
        bool known = false;
        for (size_t k = 0; k < n && !known; k++)
            known = strcmp(both[k], r->fresh_files[i]) == 0;
        if (!known)
            both[n++] = sm_strdup(r->fresh_files[i]);
    }
    use_files(r, both);
    bool said = r->error && strcmp(r->error, r->err.msg) == 0 && !r->asked;
    free(r->error);
    r->error = sm_strdup(r->err.msg);
    r->failures++;
    if (!said)
        sm_log(SM_LOG_ERROR, "configuration: %s; the former one stays", r->error);
    finish(r);
}

/* On a thread of its own. */
static void on_work(uv_work_t *work) {
    struct sm_app_reload *r = work->data;
    r->rc = sm_config_load_again(r->app->o.self, &r->flags, r->file, &r->stop, &r->fresh,
                                 &r->fresh_files, &r->err);
}

static void on_worked(uv_work_t *work, int status) {
    struct sm_app_reload *r = work->data;
    (void)status;
    if (r->app->stopping) {
        sm_config_free(r->fresh);
        r->fresh = NULL;
        r->under_way = false;
    } else if (r->rc != SM_OK) {
        fail(r);
    } else {
        sm_catalog_when_idle(r->app->catalog, on_idle, r);
    }
    r->asked = r->asked && r->under_way;
}

static void begin(struct sm_app_reload *r) {
    r->under_way = true;
    r->began_ns = sm_mono_ns();
    r->err = (sm_err)SM_ERR_INIT;
    sm_config_files_free(r->fresh_files);
    r->fresh_files = NULL;
    free(r->file);
    r->file = r->app->o.config->file ? sm_strdup(r->app->o.config->file) : NULL;
    if (uv_queue_work(&r->app->loop, &r->work, on_work, on_worked) != 0)
        r->under_way = false;
}

static void on_later(uv_timer_t *timer) {
    struct sm_app_reload *r = timer->data;
    if (!r->under_way && !r->app->stopping)
        begin(r);
}

void sm_app_reconfigure(sm_app *a) {
    struct sm_app_reload *r = a->reload;
    if (!r || a->stopping || uv_is_active((uv_handle_t *)&r->later))
        return;
    if (!a->started || r->under_way) {
        r->again = true;
        return;
    }
    int64_t passed = r->began_ns ? (sm_mono_ns() - r->began_ns) / SM_NS_PER_MS : DISTANCE_MS;
    uv_timer_start(&r->later, on_later, passed < DISTANCE_MS ? (uint64_t)(DISTANCE_MS - passed) : 0,
                   0);
}

void sm_app_reload_asked(sm_app *a) {
    if (a->reload)
        a->reload->asked = true;
    sm_app_reconfigure(a);
}

void sm_app_reload_started(sm_app *a) {
    if (a->reload && a->reload->again) {
        a->reload->again = false;
        sm_app_reconfigure(a);
    }
}

bool sm_app_reload_busy(const sm_app *a) {
    const struct sm_app_reload *r = a->reload;
    return r && (r->under_way || uv_is_active((const uv_handle_t *)&r->later));
}

const char *const *sm_app_config_files(const sm_app *a) {
    const struct sm_app_reload *r = a->reload;
    return r && r->files ? (const char *const *)r->files : sm_config_files(a->o.config);
}

json_t *sm_app_configuration(const sm_app *a) {
    const struct sm_app_reload *r = a->reload;
    const sm_config *c = a->o.config;
    char at[32];
    sm_time_rfc3339(r ? r->loaded_ns : 0, true, at);
    return json_pack("{s:o, s:o, s:o, s:b, s:I, s:I}", "file",
                     c->file ? sm_json_text(c->file, strlen(c->file)) : json_null(), "loaded_at",
                     r ? json_string(at) : json_null(), "error",
                     r && r->error ? sm_json_text(r->error, strlen(r->error)) : json_null(),
                     "stale", r && r->error, "reloads", (json_int_t)(r ? r->reloads : 0),
                     "failures", (json_int_t)(r ? r->failures : 0));
}

void sm_app_reload_open(sm_app *a) {
    struct sm_app_reload *r = sm_calloc(1, sizeof *r);
    a->reload = r;
    r->app = a;
    r->flags = a->o.flags ? *a->o.flags : (sm_flags){0};
    r->work.data = r;
    r->loaded_ns = sm_wall_ns();
    r->fixed = fixed_of(a->o.config);
    r->asked_fixed = json_incref(r->fixed);
    r->secret = copy_secret(a->o.config->assoc);
    uv_timer_init(&a->loop, &r->later);
    r->later.data = r;
}

void sm_app_reload_stop(sm_app *a) {
    if (!a->reload)
        return;
    atomic_store(&a->reload->stop, true);
    uv_timer_stop(&a->reload->later);
}

void sm_app_reload_close(sm_app *a) {
    if (a->reload)
        sm_app_close_handle((uv_handle_t *)&a->reload->later);
}

void sm_app_reload_free(sm_app *a) {
    struct sm_app_reload *r = a->reload;
    if (!r)
        return;
    sm_config_free(r->fresh);
    sm_config_files_free(r->fresh_files);
    sm_config_files_free(r->files);
    sm_secret_free(r->secret);
    json_decref(r->fixed);
    json_decref(r->asked_fixed);
    free(r->file);
    free(r->error);
    free(r);
    a->reload = NULL;
}
