/* once_road: see once_road.h. Called by cmd_run and cmd_check on the only thread. */
#include "cli/once_road.h"
#include "base/clock.h"
#include "cli/client.h"
#include <poll.h>

enum { BUSY_MS = 100 };

typedef struct told {
    const sm_app_listener *listener;
    int runs;
} told;

static void told_run(void *ctx, const json_t *report) {
    told *t = ctx;
    t->runs++;
    t->listener->run(t->listener->ctx, report);
}

/* While a daemon holds the state directory: it does the work. */
static sm_rc once_remote(const sm_app_options *o, told *t, json_t **result, sm_err *err) {
    sm_client *link = NULL;
    sm_rc rc = sm_client_open(o->config, &link, err);
    if (rc == SM_OK && sm_client_remote(link)) {
        json_t *request =
            json_pack("{s:s, s:s, s:O, s:O?, s:I}", "op", "once", "root", o->config->root, "select",
                      o->select, "override", o->override, "drain_ms", (json_int_t)o->drain_ms);
        rc = sm_client_ask(link, request, told_run, t, result, err);
    } else if (rc == SM_OK) {
        rc = sm_err_set(err, SM_NOT_FOUND, "nobody holds the state directory");
    }
    sm_client_close(link);
    return rc;
}

sm_rc sm_cli_once(const sm_app_options *o, double wait_s, json_t **result, sm_err *err) {
    told t = {.listener = &o->listener};
    sm_rc rc = sm_app_run(o, result, err);
    /* Held: by a daemon that runs it for us, or by another --once that ends soon. */
    int64_t until = sm_mono_ns() + (int64_t)(wait_s * 1e9);
    for (bool waited = false; rc == SM_BUSY && (!waited || sm_mono_ns() < until); waited = true) {
        if (waited)
            poll(NULL, 0, BUSY_MS);
        rc = once_remote(o, &t, result, err);
        if (rc == SM_NOT_FOUND)
            rc = sm_app_run(o, result, err);
        else if (rc == SM_CLOSED && t.runs == 0)
            rc = SM_BUSY; /* it ended while it was asked, and had run nothing for us */
    }
    return rc;
}
