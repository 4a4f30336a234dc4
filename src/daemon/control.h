/* control: the socket in the state directory through which the command line talks to the process
 * that holds it. Same frames as the workers' (base/frame.h); one request at a time per connection;
 * only our own user and root are answered. Owned by the loop's thread.
 *
 * Request {op: "store", call: NAME, args} -> {ok, result} | {ok:false, code, error} for the store's
 * reading operations and those of the embedded platform; any other op goes to the handler.
 */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include "store/store.h"
#include <uv.h>

typedef struct sm_control sm_control;
typedef struct sm_control_peer sm_control_peer; /* one connection's open request */

/* Answers now or later with sm_control_send … sm_control_reply. request is borrowed. */
typedef void (*sm_control_handler)(void *ctx, sm_control_peer *peer, const json_t *request);

/* Name of a store operation that the socket offers ("events", "runs", …) -> op; SM_OP_COUNT_ when
 * there is none. */
sm_store_op sm_control_op(const char *name);

sm_rc sm_control_open(uv_loop_t *loop, int state_dir_fd, sm_store *store,
                      sm_control_handler handler, void *ctx, sm_control **out, sm_err *err);
/* An intermediate frame (head is taken). Nothing happens when the other side is gone. */
void sm_control_send(sm_control_peer *peer, json_t *head);
/* The last frame of the request (taken); peer is invalid afterwards. */
void sm_control_reply(sm_control_peer *peer, json_t *head);
/* {ok:false, code, error} for sm_control_reply. */
json_t *sm_control_error(sm_rc rc, const char *sentence);
/* How many may ask at once; 64 unless told. */
void sm_control_limit(sm_control *c, size_t peers);
void sm_control_close(sm_control *c); /* then free once the loop has turned */
void sm_control_free(sm_control *c);
