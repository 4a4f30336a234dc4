/* openway: the request that writes key events over OpenWay, DataWay or DataKit
 * (platform-facts 3.3). Pure. */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include <stdbool.h>

typedef struct sm_openway_body {
    char *data; /* what goes over the wire; owned */
    size_t n;
    bool gzip;   /* compressed: above 20,480 bytes */
    json_t *bad; /* [{index,error}]: payloads that make no valid point, or NULL */
} sm_openway_body;

/* payloads: array of outbox payloads (at most 100). Lines joined by newline, none at the end. n is
 * 0 when no payload makes a valid point: nothing is to be sent then. SM_LIMIT: more than 100, or
 * more than 64 MiB. */
sm_rc sm_openway_encode(const json_t *payloads, sm_openway_body *out, sm_err *err);
void sm_openway_body_fini(sm_openway_body *b);
