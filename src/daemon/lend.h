/* lend: the service `pem`: gives runs the PEM files they name. */
#pragma once
#include "daemon/asks.h"

typedef struct sm_lend sm_lend;

/* Makes the service and adds it to d. */
sm_lend *sm_lend_new(uv_loop_t *loop, sm_dispatcher *d);
/* What is being read is let go of; after the last run. NULL is fine. */
void sm_lend_free(sm_lend *l);
