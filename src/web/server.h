/* server: answers GET and HEAD over HTTP on one address, strictly and within limits: 16 KiB of
 * header, no body, 64 connections, 10 s for a header, 30 s of idleness or of an answer that is not
 * read, 100 requests on a connection. When all connections are taken, the one that has been waiting
 * longest for its header makes room: slow clients hold up nobody but themselves.
 *
 * libmicrohttpd without threads of its own: its epoll descriptor is nested in the loop. Accepting
 * is done here. Owned by the loop's thread.
 */
#pragma once
#include "base/err.h"
#include <stddef.h>
#include <uv.h>

typedef struct sm_web sm_web;

typedef struct sm_web_answer {
    int status;       /* 200 */
    const char *type; /* content type; static */
    char *body;       /* malloc'd; taken */
    size_t n;
} sm_web_answer;

/* path: as sent, without the query. Fills *out; status 0: there is no such page. */
typedef void (*sm_web_handler)(void *ctx, const char *path, sm_web_answer *out);

/* address: base/addr. SM_INVALID: it cannot be listened on; one sentence that names it. */
sm_rc sm_web_open(uv_loop_t *loop, const char *address, sm_web_handler handler, void *ctx,
                  sm_web **out, sm_err *err);
/* "127.0.0.1:9090", with the port that was found. Borrowed. */
const char *sm_web_address(const sm_web *w);
/* Connections that are open now. */
size_t sm_web_connections(const sm_web *w);
/* Closes everything; nothing is answered any more. NULL is fine. */
void sm_web_close(sm_web *w);
void sm_web_free(sm_web *w); /* once the loop has turned */
