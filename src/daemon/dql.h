/* dql: the service `dql` of runs (daemon/asks.h): queries of the workspace of the run's account
 * (base/dqlask.h has question and answer). Within the account's budget of calls; a query waits for
 * it until shortly before the run's deadline. Owned by the loop's thread.
 *
 * Codes: unavailable (no workspace), limit, timeout, denied, refused, protocol, connect, too_large,
 * closed, invalid.
 */
#pragma once
#include "daemon/accounts.h"
#include "daemon/asks.h"

typedef struct sm_dql sm_dql;

/* accounts NULL: a dry run, which opens accounts of its own when they are needed. */
sm_dql *sm_dql_new(uv_loop_t *loop, sm_dispatcher *d, sm_accounts *accounts, sm_config *config);
/* Ends what is open; then free once the loop has turned. */
void sm_dql_close(sm_dql *q);
void sm_dql_free(sm_dql *q);
/* {failed: {code: queries}} since the start. New reference. */
json_t *sm_dql_status(const sm_dql *q);
