/* once_road: `run --once` for the commands that need it: in this process, or in the daemon that
 * holds the state directory. */
#pragma once
#include "daemon/app.h"

/* Runs what o selects, once (mode ONCE or DRY); o->listener.run gets each report in either case.
 * wait_s: how long another `run --once` that holds the state directory is waited for. *result: as
 * of sm_app_run. SM_INVALID: nothing was selected. */
sm_rc sm_cli_once(const sm_app_options *o, double wait_s, json_t **result, sm_err *err);
