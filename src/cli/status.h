/* status: what `status` prints for a person, from its JSON (docs/json.md). */
#pragma once
#include "cli/cli.h"

/* An inspection that somebody should look at: 0 for one that is fine, the more the worse. */
int sm_status_trouble(const json_t *inspection);
/* Its last run did not end well. */
bool sm_status_failing(const json_t *inspection);
/* At most 100 columns. Sorted, trouble first; of many inspections only the troubled ones. */
void sm_status_print(const json_t *status, const sm_config *config, bool color);
