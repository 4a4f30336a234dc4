/* desks: see desks.h. It holds them and counts their answers; it decides nothing.
 *
 * A desk whose account is gone, or talks to another workspace now, leaves: its open questions go to
 * the desk that took its place, its pump ends the batch under way, then account and desk are closed
 * and, a turn of the loop later, freed. A timer looks after that.
 */
#include "daemon/desks.h"
#include "base/clock.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

enum { LOOK_MS = 100, LEAVE_S = 60 /* what waits for budget gets so long */ };

typedef struct desk {
    const char *account;     /* borrowed from accounts */
    const sm_target *target; /* of accounts */
    sm_registrar *registrar;
    sm_pump *pump;
    int64_t left_ns; /* monotonic; of one that leaves */
    enum { ENDING, RETIRED, CLOSED } stage;
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
    desk *leaving;
    size_t n_leaving;
    uv_timer_t timer;           /* looks after those */
    uint64_t past[SM_VERDICTS]; /* of desks that are gone */
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

static bool has_desk(const sm_desks *d, const sm_target *target) {
    for (size_t i = 0; i < d->n; i++)
        if (d->list[i].target == target)
            return true;
    return false;
}

static bool add_missing(sm_desks *d) {
    size_t before = d->n;
    for (size_t i = 0; i < sm_accounts_count(d->accounts); i++) {
        const char *name = sm_accounts_name(d->accounts, i);
        const sm_target *target = sm_accounts_target(d->accounts, name);
        if (has_desk(d, target))
            continue;
        double age = sm_accounts_remote(d->accounts, name) ? d->max_age_s : 0;
        d->list = sm_realloc(d->list, (d->n + 1) * sizeof *d->list);
        d->list[d->n++] = (desk){.account = name,
                                 .target = target,
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
    sm_registrar_stop(
        d->refuser,
        "its account is not in the configuration, or could not be opened (the log says why)");
    uv_timer_init(loop, &d->timer);
    d->timer.data = d;
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

/* ---- leaving ---- */

static bool quiet(const sm_desks *d, const desk *k) {
    return sm_pump_idle(k->pump) && sm_accounts_quiet(d->accounts, k->target);
}

/* One step of a desk that leaves; true when it is gone. */
static bool step(sm_desks *d, desk *k) {
    bool late = sm_mono_ns() - k->left_ns > LEAVE_S * SM_NS_PER_S;
    switch (k->stage) {
    case ENDING:
        if (late || quiet(d, k)) {
            sm_accounts_retire(d->accounts, k->target);
            k->stage = RETIRED;
        }
        return false;
    case RETIRED:
        if (quiet(d, k) && sm_registrar_idle(k->registrar)) {
            sm_pump_close(k->pump);
            sm_registrar_close(k->registrar);
            k->stage = CLOSED;
        }
        return false;
    case CLOSED:
        break;
    }
    for (int v = 0; v < SM_VERDICTS; v++)
        d->past[v] += sm_pump_verdicts(k->pump)[v];
    sm_pump_free(k->pump);
    sm_registrar_free(k->registrar);
    sm_accounts_release(d->accounts, k->target);
    return true;
}

static void on_look(uv_timer_t *timer) {
    sm_desks *d = timer->data;
    for (size_t i = d->n_leaving; i-- > 0;)
        if (step(d, &d->leaving[i]))
            d->leaving[i] = d->leaving[--d->n_leaving];
    if (d->n_leaving == 0)
        uv_timer_stop(timer);
}

static void leave(sm_desks *d, size_t i) {
    d->leaving = sm_realloc(d->leaving, (d->n_leaving + 1) * sizeof *d->leaving);
    d->leaving[d->n_leaving] = d->list[i];
    d->leaving[d->n_leaving].left_ns = sm_mono_ns();
    d->n_leaving++;
    d->list[i] = d->list[--d->n];
    uv_timer_start(&d->timer, on_look, LOOK_MS, LOOK_MS);
}

void sm_desks_configure(sm_desks *d, double max_age_s) {
    size_t before = d->n_leaving;
    d->max_age_s = max_age_s;
    for (size_t i = d->n; i-- > 0;) {
        desk *k = &d->list[i];
        if (sm_accounts_target(d->accounts, k->account) != k->target)
            leave(d, i);
        else if (sm_accounts_remote(d->accounts, k->account))
            sm_registrar_set_max_age(k->registrar, max_age_s);
    }
    sm_desks_extend(d);
    for (size_t i = before; i < d->n_leaving; i++) {
        const desk *k = &d->leaving[i];
        sm_pump_leave(k->pump);
        sm_registrar_leave(k->registrar, sm_desks_registrar(d, k->account),
                           "its account talks to another workspace now");
    }
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

void sm_desks_hurry(sm_desks *d, const char *account) {
    for (size_t i = 0; i < d->n; i++)
        if (!account || strcmp(d->list[i].account, account) == 0)
            sm_pump_hurry(d->list[i].pump);
}

void sm_desks_breakers(const sm_desks *d, json_t *accounts) {
    size_t k;
    json_t *one;
    for (size_t i = 0; i < d->n; i++)
        json_array_foreach(accounts, k, one) {
            if (strcmp(sm_json_str(one, "name", ""), d->list[i].account) == 0)
                json_object_set_new(one, "breaker", sm_pump_breaker(d->list[i].pump));
        }
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
        uint64_t n = d->past[v];
        for (size_t i = 0; i < d->n_leaving; i++)
            n += sm_pump_verdicts(d->leaving[i].pump)[v];
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

static void close_each(const desk *list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        sm_pump_close(list[i].pump);
        sm_registrar_close(list[i].registrar);
    }
}

static void free_each(desk *list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        sm_pump_free(list[i].pump);
        sm_registrar_free(list[i].registrar);
    }
    free(list);
}

void sm_desks_close(sm_desks *d) {
    if (!d)
        return;
    sm_registrar_close(d->refuser);
    uv_close((uv_handle_t *)&d->timer, NULL);
    close_each(d->list, d->n);
    close_each(d->leaving, d->n_leaving);
}

void sm_desks_free(sm_desks *d) {
    if (!d)
        return;
    free_each(d->list, d->n);
    free_each(d->leaving, d->n_leaving);
    sm_registrar_free(d->refuser);
    free(d);
}
