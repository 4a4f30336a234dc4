/* desks: see desks.h. It holds them and counts their answers; it decides nothing. */
#include "daemon/desks.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

typedef struct desk {
    const char *account; /* borrowed from accounts */
    sm_registrar *registrar;
    sm_pump *pump;
} desk;

struct sm_desks {
    uv_loop_t *loop;
    sm_store *store;
    sm_accounts *accounts;
    double max_age_s;
    bool guarded;
    sm_target nowhere; /* of accounts that do not exist: it is never asked */
    sm_registrar *refuser;
    desk *list;
    size_t n;
};

typedef struct gather { /* waits for several answers */
    size_t left;
    void (*done)(void *ctx);
    void *ctx;
} gather;

static void one_came(void *ctx) {
    gather *g = ctx;
    if (--g->left > 0)
        return;
    g->done(g->ctx);
    free(g);
}

static gather *gather_new(size_t n, void (*done)(void *ctx), void *ctx) {
    gather *g = sm_calloc(1, sizeof *g);
    *g = (gather){.left = n, .done = done, .ctx = ctx};
    return g;
}

static void nothing(void *ctx) {
    (void)ctx;
}

static bool add_missing(sm_desks *d) {
    size_t before = d->n;
    for (size_t i = d->n; i < sm_accounts_count(d->accounts); i++) {
        const char *name = sm_accounts_name(d->accounts, i);
        const sm_target *target = sm_accounts_target(d->accounts, name);
        double age = sm_accounts_remote(d->accounts, name) ? d->max_age_s : 0;
        d->list = sm_realloc(d->list, (d->n + 1) * sizeof *d->list);
        d->list[d->n++] = (desk){.account = name,
                                 .registrar = sm_registrar_new(d->loop, d->store, target, age),
                                 .pump = sm_pump_new(d->loop, d->store, target)};
    }
    return d->n > before;
}

sm_desks *sm_desks_new(uv_loop_t *loop, sm_store *store, sm_accounts *accounts, double max_age_s) {
    sm_desks *d = sm_calloc(1, sizeof *d);
    *d = (sm_desks){.loop = loop, .store = store, .accounts = accounts, .max_age_s = max_age_s};
    d->nowhere = (sm_target){.node = "local", .account = ""};
    d->refuser = sm_registrar_new(loop, store, &d->nowhere, 0);
    sm_registrar_stop(d->refuser, "its account could not be opened, the log says why");
    add_missing(d);
    return d;
}

void sm_desks_extend(sm_desks *d) {
    size_t before = d->n;
    if (!add_missing(d))
        return;
    for (size_t i = before; i < d->n; i++) {
        if (d->guarded && sm_accounts_remote(d->accounts, d->list[i].account))
            sm_registrar_guard(d->list[i].registrar);
        sm_registrar_load(d->list[i].registrar, nothing, NULL);
        sm_pump_poke(d->list[i].pump);
    }
}

void sm_desks_configure(sm_desks *d, double max_age_s) {
    d->max_age_s = max_age_s;
    for (size_t i = 0; i < d->n; i++)
        if (sm_accounts_remote(d->accounts, d->list[i].account))
            sm_registrar_set_max_age(d->list[i].registrar, max_age_s);
}

void sm_desks_load(sm_desks *d, void (*ready)(void *ctx), void *ctx) {
    gather *g = gather_new(d->n, ready, ctx);
    for (size_t i = 0; i < d->n; i++)
        sm_registrar_load(d->list[i].registrar, one_came, g);
}

sm_registrar *sm_desks_registrar(void *desks, const char *account) {
    sm_desks *d = desks;
    for (size_t i = 0; i < d->n; i++)
        if (strcmp(d->list[i].account, account) == 0)
            return d->list[i].registrar;
    return d->refuser; /* never another account's: that is somebody else's workspace */
}

const char *sm_desks_node(void *desks, const char *account) {
    const sm_desks *d = desks;
    const sm_target *target = sm_accounts_target(d->accounts, account);
    return target ? target->node : "local";
}

void sm_desks_poke(sm_desks *d) {
    for (size_t i = 0; i < d->n; i++)
        sm_pump_poke(d->list[i].pump);
}

void sm_desks_drain(sm_desks *d, int timeout_ms, bool patient, void (*done)(void *ctx), void *ctx) {
    gather *g = gather_new(d->n, done, ctx);
    size_t n = d->n;
    for (size_t i = 0; i < n; i++)
        sm_pump_drain(d->list[i].pump, timeout_ms, one_came, g);
    for (size_t i = 0; patient && i < n; i++)
        sm_pump_patient(d->list[i].pump);
}

json_t *sm_desks_troubles(const sm_desks *d) {
    json_t *out = json_array();
    for (size_t i = 0; i < d->n; i++) {
        const char *text = sm_pump_trouble(d->list[i].pump);
        if (text)
            json_array_append_new(out, sm_json_text(text, strlen(text)));
    }
    return out;
}

json_t *sm_desks_verdicts(const sm_desks *d) {
    json_t *out = json_object();
    for (int v = 0; v < SM_VERDICTS; v++) {
        uint64_t n = 0;
        for (size_t i = 0; i < d->n; i++)
            n += sm_pump_verdicts(d->list[i].pump)[v];
        json_object_set_new(out, sm_verdict_name((sm_verdict)v), json_integer((json_int_t)n));
    }
    return out;
}

bool sm_desks_remote(const sm_desks *d) {
    for (size_t i = 0; i < d->n; i++)
        if (sm_accounts_remote(d->accounts, d->list[i].account))
            return true;
    return false;
}

void sm_desks_guard(sm_desks *d) {
    d->guarded = true;
    for (size_t i = 0; i < d->n; i++)
        if (sm_accounts_remote(d->accounts, d->list[i].account))
            sm_registrar_guard(d->list[i].registrar);
}

void sm_desks_stop(sm_desks *d, const char *why) {
    for (size_t i = 0; i < d->n; i++)
        sm_registrar_stop(d->list[i].registrar, why);
}

void sm_desks_close(sm_desks *d) {
    if (d)
        sm_registrar_close(d->refuser);
    for (size_t i = 0; d && i < d->n; i++) {
        sm_pump_close(d->list[i].pump);
        sm_registrar_close(d->list[i].registrar);
    }
}

void sm_desks_free(sm_desks *d) {
    if (!d)
        return;
    for (size_t i = 0; i < d->n; i++) {
        sm_pump_free(d->list[i].pump);
        sm_registrar_free(d->list[i].registrar);
    }
    sm_registrar_free(d->refuser);
    free(d->list);
    free(d);
}
