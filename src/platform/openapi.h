/* openapi: envelopes of the platform's OpenAPI: reads answers, tells what they mean. Pure. */
#pragma once
#include "base/json.h"
#include "platform/http.h"
#include "platform/verdict.h"

typedef enum sm_openapi_kind {
    SM_OPENAPI_OK,
    SM_OPENAPI_BAD_KEY, /* ft.InvalidAPIKey: try the other credential once */
    SM_OPENAPI_LIMIT,   /* a rate limit, whatever the status */
    SM_OPENAPI_NOT_FOUND,
    SM_OPENAPI_REFUSED, /* the request is wrong and will stay so */
    SM_OPENAPI_UNKNOWN, /* empty, HTML, garbage, truncated: nothing is known */
    SM_OPENAPI_DOWN     /* no answer, 5xx */
} sm_openapi_kind;

typedef struct sm_openapi_answer {
    sm_openapi_kind kind;
    json_t *content;    /* owned; NULL unless OK */
    json_t *page;       /* pageInfo, owned, or NULL */
    char sentence[512]; /* for people: what, errorCode, traceId; "" when OK */
    bool timed_out;     /* no answer within the time; kind is DOWN */
    sm_answer verdict;  /* for deliveries over the OpenAPI */
} sm_openapi_answer;

void sm_openapi_read(const sm_http_answer *http, sm_openapi_answer *out);
/* The inner envelope of outer_function/execute: content.error > 200 (a double) is a failure inside
 * a 200; adjusts kind, sentence and verdict. */
void sm_openapi_inner(sm_openapi_answer *a);
void sm_openapi_answer_fini(sm_openapi_answer *a);
