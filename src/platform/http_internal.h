/* http_internal: what the files of http share: one request on its way. Loop's thread. Not for other
 * rooms. */
#pragma once
#include "base/buf.h"
#include "platform/http.h"
#include <curl/curl.h>

typedef struct sm_http_call {
    struct sm_http_call *next, *prev; /* in the client's list */
    CURL *easy;
    struct curl_slist *lines; /* request headers; wiped when freed, one holds a credential */
    char *origin;             /* "https://host:port", for sentences */
    char *body;               /* copy of the request's; wiped when freed */
    size_t body_n;
    size_t max_body;
    double timeout_s;
    bool proxied;
    int64_t start_ns; /* monotonic */
    sm_http_done done;
    void *ctx;

    sm_buf answer; /* body received */
    size_t header_bytes;
    char *content_type, *retry_after, *date, *location;
    char detail[CURL_ERROR_SIZE]; /* curl's own words */
    char why[256];                /* set by a callback that stopped the transfer; "" otherwise */
    sm_http_failure failure;      /* decided before anything was sent: `why` says what */
} sm_http_call;

/* http_call: copies the request and sets up its easy handle. Never NULL; with `failure` set when it
 * must not be sent. */
sm_http_call *sm_http_call_new(const sm_http_request *request, sm_http_done done, void *ctx);
void sm_http_call_free(sm_http_call *c);
/* Calls done with what curl's code and the received bytes mean. */
void sm_http_call_finish(sm_http_call *c, CURLcode code);
/* Calls done with SM_HTTP_OTHER and this sentence, or with what made the call unfit. */
void sm_http_call_fail(sm_http_call *c, const char *sentence);
