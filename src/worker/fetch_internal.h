/* fetch_internal: what the files of fetch share: one transfer, that is one request on its way,
 * hop after hop. Belongs to the engine's thread. Not for other rooms. */
#pragma once
#include "base/buf.h"
#include "worker/fetch.h"
#include "worker/netpolicy.h"
#include <curl/curl.h>
#include <openssl/x509.h>

typedef struct fetch_job fetch_job;

typedef struct sm_transfer {
    CURL *easy;                   /* lives as long as the transfer, which is pooled */
    struct curl_slist *lines;     /* request headers as curl wants them */
    char detail[CURL_ERROR_SIZE]; /* curl's own words */

    fetch_job *job;
    const sm_fetch_req *first; /* the caller's request */
    const sm_fetch_req *req;   /* of this hop: first or &hop */
    sm_fetch_req hop;          /* owned, from the second hop on */
    sm_fetch_res *res;         /* the caller's */
    sm_netpolicy *policy;      /* owned; NULL: the default */
    sm_fetch_url url;          /* of this hop */
    size_t *budget;            /* body bytes all answers of the job may still take */

    sm_buf body;
    size_t header_bytes; /* received so far in this hop */
    int status;          /* of the last status line */
    bool headers_done;   /* the block of a final answer is complete: what follows are trailers */

    bool asked; /* a connection is up and the request goes out */

    const char *why_code; /* set by a callback that stopped the transfer; static */
    char why[512];
    int verify_error; /* X509_V_…: first failure seen by the verify callback */

    int64_t start_ns;                /* of the first hop, monotonic */
    int64_t hop_ns;                  /* of this hop */
    int64_t deadline_ns;             /* of all hops */
    struct sm_transfer *prev, *next; /* in the job's list, or the pool */
} sm_transfer;

/* fetch_easy: sets up the easy handle for t->req. False when it must not start: t->res is an error
 * then. */
bool sm_transfer_prepare(sm_transfer *t, int64_t now_ns);
/* Frees what a hop held; the easy handle stays for the next one. */
void sm_transfer_clean(sm_transfer *t);
/* fetch_result: writes the ended hop into t->res: an answer or an error. */
void sm_transfer_collect(sm_transfer *t, CURLcode code);
/* Notes why a callback stops the transfer; the first reason counts. */
void sm_transfer_refuse(sm_transfer *t, const char *code, const char *fmt, ...) SM_PRINTF(3, 4);
/* fetch_tls: installs the observer of verification. */
CURLcode sm_fetch_tls_setup(CURL *easy, void *ssl_ctx, void *transfer);
/* Reads the certificate of the connection in use into t->res->tls unless it is there already. */
void sm_fetch_tls_peer(sm_transfer *t);
/* Facts of one certificate; out is empty before. wall_ns: now. */
void sm_fetch_tls_read(X509 *cert, int64_t wall_ns, sm_fetch_tls *out);
