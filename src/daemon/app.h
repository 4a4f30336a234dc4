/* app: the wiring of one process: store, dispatcher, catalogue, registrar, pump, runner, scheduler,
 * control socket, signals, and the order in which they start and stop. Nothing else lives here.
 *
 * It prints nothing: what a person sees goes through the listener.
 */
#pragma once
#include "daemon/catalog.h"
#include "daemon/config.h"
#include "daemon/scheduler.h"
#include <stdbool.h>

typedef enum sm_app_mode {
    SM_APP_DAEMON, /* until SIGINT or SIGTERM */
    SM_APP_ONCE,   /* every selected inspection once, drain, end */
    SM_APP_DRY,    /* the same with nothing registered, stored or sent */
    SM_APP_LOAD    /* load the catalogue, tell, end */
} sm_app_mode;

typedef struct sm_app sm_app;

typedef struct sm_app_listener {
    void *ctx;
    /* After the first scan, and (daemon) after each later one that changed something. */
    void (*loaded)(void *ctx, const sm_app *app, bool first);
    void (*run)(void *ctx, const json_t *report); /* daemon/runner.h */
    void (*stopping)(void *ctx, int signal);
} sm_app_listener;

typedef struct sm_app_options {
    sm_app_mode mode;
    const char *self; /* path of this executable */
    sm_config *config;
    const json_t *select, *override; /* daemon/once.h; ONCE and DRY */
    int drain_ms;
    int wait_ms;       /* ONCE: how long to wait for the platform's budget of calls */
    bool new_identity; /* create although the platform knows these under another secret */
    sm_app_listener listener;
} sm_app_options;

/* Runs to the end. result (ONCE, DRY; new reference): daemon/once.h, finished. SM_BUSY: the state
 * directory is held. */
sm_rc sm_app_run(const sm_app_options *opt, json_t **result, sm_err *err);

const sm_catalog *sm_app_catalog(const sm_app *app);
const sm_scheduler *sm_app_scheduler(const sm_app *app); /* NULL unless a daemon */
