/* watchdog: one thread that stops runs at their wall deadline and their CPU budget. */
#pragma once
#include "worker/run.h"

typedef struct sm_watchdog sm_watchdog;

/* Starts the thread and installs the signal. nice: a run over 10 ms of CPU gets nice 19
 * (run->niced tells; its thread should end afterwards, as nice cannot be undone). */
sm_rc sm_watchdog_new(bool nice, sm_watchdog **out, sm_err *err);
/* Ends the thread; no run may be watched any more. NULL is fine. */
void sm_watchdog_free(sm_watchdog *dog);
/* Called by sm_vm_enter and sm_vm_leave on the run's own thread. After remove the watchdog never
 * touches the run again. */
void sm_watchdog_add(sm_watchdog *dog, sm_run *run);
void sm_watchdog_remove(sm_watchdog *dog, sm_run *run);
