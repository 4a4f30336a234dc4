/* once: every selected inspection once, now, in parallel; then the outbox is drained. The same in a
 * process of its own and inside a daemon that was asked over its socket. Owned by the loop's
 * thread. */
#pragma once
#include "daemon/catalog.h"
#include "daemon/desks.h"
#include "daemon/runner.h"
#include "store/store.h"

typedef struct sm_once_options {
    sm_catalog *catalog;
    sm_runner *runner;
    sm_desks *desks;        /* NULL: dry run */
    sm_store *store;        /* NULL: dry run */
    const json_t *select;   /* views.h, and `trace` (bool); borrowed during start */
    const json_t *override; /* {id: {name: text}}; borrowed during start */
    int drain_ms;
    void (*progress)(void *ctx, const json_t *report); /* runner.h */
    /* {runs: [reports without log], load_errors: [{file,outcome,error}], waiting: n|0,
     * trouble|null} */
    void (*finished)(void *ctx, const json_t *result);
    void *ctx;
} sm_once_options;

/* SM_INVALID when an -p names an inspection that is not selected or there is nothing to run (no
 * inspection and no load error); then finished is not called. */
sm_rc sm_once_start(const sm_once_options *opt, sm_err *err);
