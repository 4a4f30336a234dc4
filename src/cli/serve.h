/* serve: what a daemon listens on beside its control socket: health and metrics, when the
 * configuration asks for them. The bridge between daemon/app and web. Owned by the loop's thread.
 */
#pragma once
#include "daemon/app.h"

typedef struct sm_serve sm_serve;

/* *out is NULL without an address in the configuration. SM_INVALID: it cannot be listened on. */
sm_rc sm_serve_open(const sm_config *config, const sm_app *app, uv_loop_t *loop, sm_serve **out,
                    sm_err *err);
void sm_serve_close(sm_serve *s); /* NULL is fine */
void sm_serve_free(sm_serve *s);  /* once the loop has turned */
