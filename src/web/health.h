/* health: /healthz, /ready and /metrics: what a server (web/server.h) answers for a process. */
#pragma once
#include "base/json.h"
#include "web/server.h"
#include <stdbool.h>

typedef struct sm_health_from { /* where the answers come from; called on the loop's thread */
    bool (*alive)(void *ctx);
    bool (*ready)(void *ctx);
    json_t *(*snapshot)(void *ctx); /* daemon/app.h; new reference, or NULL */
    void *ctx;
} sm_health_from;

typedef struct sm_health sm_health;

sm_health *sm_health_new(const sm_health_from *from);
void sm_health_free(sm_health *h);
/* An sm_web_handler; ctx is the sm_health. /healthz and /ready say "ok" or "not ok" and no more:
 * anybody may ask. The text of /metrics is at most a second old. */
void sm_health_answer(void *health, const char *path, sm_web_answer *out);
