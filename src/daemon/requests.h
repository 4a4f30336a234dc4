/* requests: what a process that holds the state directory answers over its socket beside the
 * store's operations: `list`, `once`, `status`. Owned by the loop's thread. */
#pragma once
#include "daemon/app.h"
#include "daemon/catalog.h"
#include "daemon/control.h"
#include "daemon/dispatcher.h"
#include "daemon/desks.h"
#include "daemon/runner.h"

typedef struct sm_requests_from { /* where answers come from; all of it outlives the control socket
                                   */
    const sm_config *config;
    sm_catalog *catalog;
    sm_dispatcher *dispatcher;
    sm_runner *runner;
    sm_conduct *conduct;
    sm_desks *desks;
    sm_accounts *accounts;
    sm_store *store;
    const struct sm_app *app; /* for its snapshot */
    bool may_run;             /* a daemon; a `run --once` answers no other one */
} sm_requests_from;

/* Answers one request, now or later, with sm_control_reply. from is borrowed for the call.
 *   {op: "list"} -> views.h   {op: "status"} -> sm_app_snapshot, its pool as `workers`, and
 * outbox: OUTBOX_STATS
 *   {op: "once", root, select, override, drain_ms} -> {progress: report} for each run, then once.h;
 *   SM_INVALID when root is not the directory of inspections that is run here. */
void sm_requests_answer(const sm_requests_from *from, sm_control_peer *peer, const json_t *request);
