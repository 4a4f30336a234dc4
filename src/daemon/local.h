/* local: the embedded platform as a target; everything it holds is in the store. */
#pragma once
#include "daemon/target.h"
#include "store/store.h"

typedef struct sm_local sm_local;
sm_local *sm_local_new(sm_store *store);
void sm_local_free(sm_local *l); /* after the store was closed: no call is under way */
const sm_target *sm_local_target(const sm_local *l);
