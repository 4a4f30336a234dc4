/* heartbeat: an address that is fetched at a pace while the process is well, so that somebody else
 * notices when it is not: a dead man's switch. Owned by the loop's thread. */
#pragma once
#include "base/json.h"
#include "platform/http.h"

typedef struct sm_heartbeat sm_heartbeat;

typedef struct sm_heartbeat_options {
    uv_loop_t *loop;
    sm_http *http;
    /* Why the process is not well, one sentence into out; NULL when it is. Asked at each beat. */
    const char *(*unwell)(void *ctx, char *out, size_t cap);
    void *ctx;
} sm_heartbeat_options;

sm_heartbeat *sm_heartbeat_new(const sm_heartbeat_options *opt);
/* Beats at this address from now on (both are copied); url NULL: not any more. proxy: URL or NULL.
 * A redirect is not followed; what does not answer 2xx within 10 s is not reached. */
void sm_heartbeat_set(sm_heartbeat *h, const sm_secret *url, double every_s, const char *proxy);
void sm_heartbeat_stop(sm_heartbeat *h);
/* {every, withheld: sentence|null, failure: sentence|null, beats, reached_ago: seconds|null}; null
 * without an address. New reference. */
json_t *sm_heartbeat_status(const sm_heartbeat *h);
void sm_heartbeat_close(sm_heartbeat *h);
void sm_heartbeat_free(sm_heartbeat *h); /* once the loop has turned and http is freed */
