/* exec: the service that runs programs for scripts (`selfmon.exec`): who may run what, how many at
 * once, and what a script is told. One program is exec_child's work. Owned by the loop.
 *
 * Arguments of an ask: {cmd, args: [text], timeout (seconds), cwd?, stdin (bytes), env: [[name,
 * bytes]]}; its body is standard input followed by the values of env, so that secrets stay out of
 * JSON. The answer: {code | signal, seconds, truncated, stdout (bytes), left}; its body is standard
 * output followed by standard error. Codes of failures: not_found, denied, invalid, io, timeout,
 * too_large, limit, busy, cancelled, failed.
 */
#pragma once
#include "daemon/asks.h"

enum {
    SM_EXEC_CHILDREN = 32,  /* programs at once; more wait */
    SM_EXEC_WAITING = 1024, /* one beyond that is refused */
};

typedef struct sm_exec sm_exec;

/* Serves the dispatcher's runs. self: this executable, for the keepers; copied. */
sm_exec *sm_exec_new(uv_loop_t *loop, sm_dispatcher *d, const char *self);
/* {running, waiting, started, failed, ended: {timeout, too_large, limit}}: now, and since the
 * start. New reference. */
json_t *sm_exec_status(const sm_exec *e);
/* Ends every program and every ask; the loop must turn once more for the handles. */
void sm_exec_close(sm_exec *e);
void sm_exec_free(sm_exec *e);
