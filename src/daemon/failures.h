/* failures: the runner's own events for inspections that do not run (report_failures): one when the
 * fault begins, an `ok` when it is healed, also across restarts, reloads and renames.
 *
 * A fault is a run that ended as failed, timeout, limit, crashed or bad_params, or a file that no
 * longer loads. What the runner itself is to blame for is none. Owned by the loop's thread.
 */
#pragma once
#include "daemon/catalog.h"
#include "daemon/desks.h"
#include "store/store.h"
#include <uv.h>

typedef struct sm_failures sm_failures;

enum { SM_FAILURES_PER_MINUTE = 100 }; /* events; the others follow */

typedef struct sm_failures_options {
    uv_loop_t *loop;
    sm_store *store;
    sm_desks *desks;
    bool enabled;              /* false: what is open is closed, nothing new is reported */
    void (*stored)(void *ctx); /* an event became durable */
    void *ctx;
} sm_failures_options;

sm_failures *sm_failures_new(const sm_failures_options *opt);
/* Reads what is open from earlier processes, then ready(ctx). */
void sm_failures_load(sm_failures *f, void (*ready)(void *ctx), void *ctx);
void sm_failures_enable(sm_failures *f, bool enabled);
/* A run ended (daemon/runner.h). */
void sm_failures_run(sm_failures *f, const sm_inspection *p, const json_t *report);
/* What is loaded now, and which files do not load. */
void sm_failures_update(sm_failures *f, sm_inspection *const *list, size_t n,
                        const sm_load_error *errors, size_t n_errors);
/* Inspections that do not run, as far as is known. */
size_t sm_failures_open(const sm_failures *f);
void sm_failures_close(sm_failures *f);
void sm_failures_free(sm_failures *f); /* once the loop has turned and the store is closed */
