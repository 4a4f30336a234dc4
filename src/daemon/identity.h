/* identity: the guard before the first creation on a platform: does it hold inspections with our
 * funcIds under other association keys? Then the secret is not the one they were registered with
 * (script-api 1.2). Owned by the loop's thread. */
#pragma once
#include "daemon/target.h"

typedef struct sm_identity sm_identity;

sm_identity *sm_identity_new(const sm_target *target);
/* May this payload be created? refused is NULL, or the sentence to show. Everything the platform
 * holds is asked for once; a failure of that question refuses for now and is asked again. Answers
 * at once or later, once. */
void sm_identity_ask(sm_identity *i, const json_t *payload,
                     void (*done)(void *ctx, const char *refused), void *ctx);
void sm_identity_free(sm_identity *i);
