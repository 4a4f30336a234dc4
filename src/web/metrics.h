/* metrics: a snapshot of the process (daemon/app.h) as text for Prometheus, exposition format
 * 0.0.4. Pure. The number of series depends on the configuration (accounts, states, outcomes),
 * never on inspections. */
#pragma once
#include "base/json.h"

/* malloc'd text; *n its length. What the snapshot does not have is left out. */
char *sm_metrics_text(const json_t *snapshot, size_t *n);
