/* client: the readers' way to the store: through the socket of the process that holds the state
 * directory, else straight to the file. The same operations, the same answers. */
#pragma once
#include "cli/cli.h"
#include "store/store.h"

typedef struct sm_client sm_client;

/* As sm_cli_config for a command that only talks to the daemon or the store: while the file is
 * wrong and a daemon works on with the former configuration, it is asked, after a word on standard
 * error.
 */
int sm_client_config(const sm_args *a, sm_config **out);
/* SM_NOT_FOUND: no store yet (nothing was created). SM_BUSY: held, and not answering. */
sm_rc sm_client_open(const sm_config *config, sm_client **out, sm_err *err);
/* The same; without a daemon the store is opened for reading only: nothing of it is changed. */
sm_rc sm_client_open_reader(const sm_config *config, sm_client **out, sm_err *err);
void sm_client_close(sm_client *l);
/* Is a daemon at the other end? */
bool sm_client_remote(const sm_client *l);
/* Calls an operation by its socket name ("events", …; daemon/control.h). args is taken. */
sm_rc sm_client_call(sm_client *l, const char *name, json_t *args, json_t **result, sm_err *err);
/* Sends any request (taken) to a daemon; frames with `progress` go to it; the last one decides. */
sm_rc sm_client_ask(sm_client *l, json_t *request,
                    void (*progress)(void *ctx, const json_t *report), void *ctx, json_t **result,
                    sm_err *err);
