/* http: the daemon's own HTTP client: one libcurl multi on the libuv loop, for the platform only.
 *
 * Never follows a redirect, never falls back to unverified TLS, speaks http:// only where the
 * caller's URL says so; takes a proxy only from what it is given. Owned by the loop's thread.
 * Headers that carry credentials are sm_secret and are never formatted into anything.
 */
#pragma once
#include "base/err.h"
#include "base/secret.h"
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

typedef struct sm_http sm_http;

typedef struct sm_http_request {
    const char *method;           /* GET or POST */
    const char *url;              /* without credentials */
    const sm_secret *path_secret; /* appended to the URL, percent-encoded, or NULL */
    bool path_encoded;            /* it is already */
    const sm_secret *query_token; /* appended as ?token= / &token=, or NULL */
    const char *const *headers;   /* "Name: value", ends with NULL; may be NULL */
    const char *secret_header;    /* name of a header whose value is `secret`, or NULL */
    const sm_secret *secret;
    const void *body; /* copied */
    size_t body_n;
    double timeout_s;  /* whole request */
    const char *ca;    /* PEM file, or NULL for the system's */
    const char *proxy; /* URL, or NULL: none */
    size_t max_body;   /* of the answer, decompressed */
} sm_http_request;

typedef enum sm_http_failure {
    SM_HTTP_ANSWERED,
    SM_HTTP_DNS,
    SM_HTTP_CONNECT,
    SM_HTTP_TLS, /* the certificate could not be verified */
    SM_HTTP_TIMEOUT,
    SM_HTTP_OTHER
} sm_http_failure;

typedef struct sm_http_answer { /* borrowed during the callback */
    sm_http_failure failure;
    const char *error; /* one sentence, masked; "" when answered */
    int status;
    const char *content_type, *retry_after, *date; /* "" when absent */
    const char *location;                          /* of a redirect that was not followed */
    const char *body;
    size_t body_n;
    double seconds;
} sm_http_answer;
typedef void (*sm_http_done)(void *ctx, const sm_http_answer *answer);

sm_rc sm_http_new(uv_loop_t *loop, sm_http **out, sm_err *err);
/* done is called once, later, on the loop. */
void sm_http_send(sm_http *h, const sm_http_request *request, sm_http_done done, void *ctx);
/* Ends what is under way (done is called with SM_HTTP_OTHER), closes handles; then free once the
 * loop has turned. */
void sm_http_close(sm_http *h);
void sm_http_free(sm_http *h);
