/* verdict: what an answer to a delivery means (the table "Answer classes" of the design). Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef enum sm_verdict {
    SM_DELIVERED,
    SM_RETRY,  /* later, with backoff or after retry_after */
    SM_HOLD,   /* our fault and fixable (key, address, TLS): keep everything, say so, try again */
    SM_SPLIT,  /* perhaps one bad event: halve the batch */
    SM_REFUSED /* a single event the platform will never take: kept visible */
} sm_verdict;
enum { SM_VERDICTS = SM_REFUSED + 1 };

typedef enum sm_road { SM_ROAD_WRITE, SM_ROAD_OPENAPI } sm_road;
typedef enum sm_transport {
    SM_TRANSPORT_ANSWERED,
    SM_TRANSPORT_FAILED /* DNS, connect, reset, timeout: transient */,
    SM_TRANSPORT_TLS /* verification failed */
} sm_transport;

typedef struct sm_answer {
    sm_road road;
    sm_transport transport;
    int http;          /* status, 0 when none */
    bool html;         /* content type text/html */
    bool body_ok;      /* OpenAPI: parsed and success */
    bool body_known;   /* OpenAPI: parsed at all */
    bool func_failed;  /* OpenAPI: the function there raised: perhaps one bad event, perhaps a fault
                          that passes; halved down to one event, which is tried again */
    bool rate_limited; /* OpenAPI 401 whose errorCode is a limit, not a bad key */
    int64_t retry_after_s; /* -1 when none; already clamped to 0..3600 */
    int batch;             /* events in the request */
} sm_answer;

/* reason: static sentence for people ("the API key was refused"). */
sm_verdict sm_verdict_of(const sm_answer *a, const char **reason);
/* Retry-After header (seconds or HTTP date) against now; clamped to 0..3600; -1 for garbage. */
int64_t sm_retry_after(const char *header, int64_t now_s);
const char *sm_verdict_name(sm_verdict v);
