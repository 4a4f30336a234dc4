/* files: the services `file` and `processes`: what runs may see of this machine's files and
 * processes, which their confined workers cannot look at. */
#pragma once
#include "daemon/asks.h"

typedef struct sm_files sm_files;

/* Makes the services and adds them to d. */
sm_files *sm_files_new(uv_loop_t *loop, sm_dispatcher *d);
/* What is being read is let go of; after the last run. NULL is fine. */
void sm_files_free(sm_files *f);
/* {calls: {"stat" | "read" | …: n}, failed: {code: n}, waiting: questions that are not answered}.
 * New reference. */
json_t *sm_files_status(const sm_files *f);
