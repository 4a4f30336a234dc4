/* app_beat: whether the process does what it is for, and the heartbeat that tells it to the world.
 * Called by the beginning, the end and each change of the configuration; owned by the loop's
 * thread.
 */
#include "base/clock.h"
#include "daemon/app_parts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A fault of delivery counts when it lasts longer than so many beats (5 min at the usual pace); a
 * due run that has not started for so long is no lateness any more. */
enum { PATIENCE_BEATS = 5, BEHIND_S = 120 };

/* The sentence of an account whose calls fail for longer than that, or NULL. Borrowed from all. */
static const char *failing_account(const json_t *all, double patience_s) {
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)(uintptr_t)all, i, one) {
        if (sm_json_num(one, "failing_for", 0) > patience_s)
            return sm_json_str(one, "last_error", "its calls fail");
    }
    return NULL;
}

static const char *unwell(void *ctx, char *out, size_t cap) {
    sm_app *a = ctx;
    double patience_s = a->o.config->heartbeat_s * PATIENCE_BEATS;
    int64_t now = sm_mono_ns();
    if (sm_app_unready(a, out, cap))
        return out;
    if (sm_scheduler_behind_ns(a->scheduler) > BEHIND_S * SM_NS_PER_S) {
        snprintf(out, cap, "due runs have not started for %d s", BEHIND_S);
        return out;
    }
    json_t *troubles = sm_desks_troubles(a->desks), *accounts = sm_accounts_status(a->accounts);
    const char *trouble = json_string_value(json_array_get(troubles, 0));
    if (!trouble)
        a->trouble_ns = 0;
    else if (!a->trouble_ns)
        a->trouble_ns = now;
    bool long_enough = trouble && (double)(now - a->trouble_ns) / 1e9 > patience_s;
    const char *why = long_enough ? trouble : failing_account(accounts, patience_s);
    if (why)
        snprintf(out, cap, "%s", why);
    json_decref(troubles);
    json_decref(accounts);
    return why ? out : NULL;
}

void sm_app_beat_open(sm_app *a) {
    sm_heartbeat_options options = {.loop = &a->loop, .http = a->http, .unwell = unwell, .ctx = a};
    if (a->o.mode == SM_APP_DAEMON && a->http)
        a->heartbeat = sm_heartbeat_new(&options);
}

void sm_app_beat_configure(sm_app *a) {
    const sm_config *c = a->o.config;
    const sm_secret *url = sm_config_secret(c, "heartbeat");
    const char *shown = sm_json_str(c->values, "heartbeat", NULL);
    if (!a->heartbeat)
        return;
    char *proxy = url && shown ? sm_accounts_proxy(shown) : NULL;
    sm_heartbeat_set(a->heartbeat, url, c->heartbeat_s, proxy);
    free(proxy);
}
