/* app_parts: what the rooms of the app share: its one struct. Only app.c and app_*.c include it.
 * Owned by the loop's thread.
 */
#pragma once
#include "base/mem.h"
#include "daemon/accounts.h"
#include "daemon/ahead.h"
#include "daemon/app.h"
#include "daemon/ceilings.h"
#include "daemon/control.h"
#include "daemon/desks.h"
#include "daemon/dispatcher.h"
#include "daemon/exec.h"
#include "daemon/dql.h"
#include "daemon/failures.h"
#include "daemon/files.h"
#include "daemon/heartbeat.h"
#include "daemon/intake.h"
#include "daemon/lend.h"
#include "daemon/memory.h"
#include "daemon/storewatch.h"
#include "daemon/runner.h"
#include "daemon/statedir.h"
#include "daemon/vitals.h"
#include "daemon/watch.h"
#include "daemon/windows.h"

struct sm_app {
    sm_app_options o;
    uv_loop_t loop;
    sm_statedir dir;
    sm_ceilings ceilings;
    sm_room room; /* of the system, as it was at the start */
    sm_store *store;
    sm_http *http;
    sm_accounts *accounts;
    sm_desks *desks;
    sm_dispatcher *dispatcher;
    sm_catalog *catalog;
    sm_intake *intake;
    sm_windows *windows; /* maintenance */
    sm_conduct *conduct;
    sm_failures *failures;   /* a daemon */
    sm_heartbeat *heartbeat; /* a daemon */
    int64_t trouble_ns;      /* monotonic: since when deliveries have a trouble; 0: none */
    sm_runner *runner;
    sm_lend *lend;
    sm_memory *memory;
    sm_exec *exec; /* programs of scripts */
    sm_files *files;
    sm_dql *dql;
    sm_scheduler *scheduler;
    sm_ahead *ahead; /* a daemon with a remote platform */
    sm_control *control;
    sm_vitals *vitals;
    sm_storewatch *storewatch;    /* a daemon */
    struct sm_app_reload *reload; /* a daemon */
    uv_async_t wake;              /* the store has completions */
    uv_signal_t on_int, on_term, on_hup, on_quit;
    sm_watch *watch;              /* a daemon */
    int64_t walked_ns, looked_ns; /* monotonic: when all folders, touched files were looked at */
    uv_timer_t rescan, look, prune, settle, hush;
    int loading; /* what must be read before the first scan counts */
    bool scanned, started, stopping, store_ready;
    bool at_once, draining, closing; /* phases of the end */
    int64_t give_up_ns;              /* at_once: no run's word is awaited any longer */
    json_t *result;
    sm_rc rc;
    sm_err err;
};

/* app.c */
/* Ends the process with this sentence, unless it already ends with another. */
void sm_app_fail(sm_app *a, sm_rc rc, const char *sentence);
/* Begins the clean end. */
void sm_app_stop(sm_app *a);
/* Makes an end that has begun a short one: workers are killed, nothing more is sent. Asked for a
 * third time, it does not even close what is open. */
void sm_app_stop_now(sm_app *a);
void sm_app_close_handle(uv_handle_t *handle); /* unless it closes already */

/* app_beat.c */
void sm_app_beat_open(sm_app *a);
void sm_app_beat_configure(sm_app *a); /* begins, ends or changes as the configuration says */

/* app_reload.c */
void sm_app_reload_open(sm_app *a);
void sm_app_reload_asked(sm_app *a); /* sm_app_reconfigure, for a person who waits for an answer */
void sm_app_reload_started(sm_app *a);    /* what was asked before the start is done now */
bool sm_app_reload_busy(const sm_app *a); /* it is being read, or soon will be */
void sm_app_reload_stop(sm_app *a);
void sm_app_reload_close(sm_app *a);
void sm_app_reload_free(sm_app *a);

/* app_signals.c */
void sm_app_signals_open(sm_app *a);
void sm_app_signals_close(sm_app *a);

/* app_disk.c: makes the watch, before the first scan; then begins to look by itself. */
void sm_app_disk_files(sm_app *a); /* watches the files of the configuration as it is now */
void sm_app_disk_watch(sm_app *a);
void sm_app_disk_start(sm_app *a);

/* app_upkeep.c: what a daemon does now and then. */
void sm_app_upkeep_open(sm_app *a);
void sm_app_upkeep_start(sm_app *a);
void sm_app_upkeep_stop(sm_app *a);
void sm_app_upkeep_configure(sm_app *a, const sm_config *old); /* a->o.config is the new one */
void sm_app_upkeep_close(sm_app *a);

/* app_vitals.c */
void sm_app_run_ended(void *app, const json_t *report, bool repeat); /* runner.h */
void sm_app_slots_passed(void *app, const char *outcome, int64_t n); /* scheduler.h */
/* A scan changed something. */
void sm_app_reloaded(sm_app *a);
/* app_hush.c: events that are held back. */
void sm_app_hush_open(sm_app *a);
/* Takes the maintenance windows of the configuration. */
void sm_app_hush_configure(sm_app *a);
void sm_app_hush_start(sm_app *a);
void sm_app_hush_close(sm_app *a);

/* app_services.c: what runs ask of the daemon (daemon/asks.h). */
void sm_app_services_open(sm_app *a);  /* once there is a dispatcher */
void sm_app_services_close(sm_app *a); /* their handles */
void sm_app_services_free(sm_app *a);  /* once there is none */

/* app_build.c */
/* Makes the parts, in order; what was made before an error is freed by the end. */
sm_rc sm_app_build(sm_app *a, sm_err *err);
/* What the system lets us have of what the configuration wants; a number that somebody asked for is
 * lowered with a warning. SM_LIMIT: not even the least fits; nothing changes then. */
sm_rc sm_app_take_ceilings(sm_app *a, sm_err *err);
/* The numbers of the pool. */
void sm_app_pool_options(const sm_app *a, sm_dispatcher_options *out);

/* app_start.c */
/* Begins, once everything that must be known is known. */
void sm_app_maybe_start(sm_app *a);
void sm_app_catalog_changed(void *app); /* catalog.h */
void sm_app_take_catalog(sm_app *a);    /* accounts and schedules of what is published now */
void sm_app_reported(void *app, const json_t *report); /* runner.h */
/* A request over the socket (control.h). */
void sm_app_answer(void *app, sm_control_peer *peer, const json_t *request);
