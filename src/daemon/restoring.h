/* restoring: puts a database and an association secret into a state directory in place of what is
 * there, so that a crash leaves the old or the new pair, never one of each. What was there is kept
 * beside, never deleted. Only for the holder of the directory's lock. */
#pragma once
#include "base/err.h"
#include <stdbool.h>

/* Names below the state directory for what is to come: written whole and synced, then committed. */
#define SM_RESTORE_DB "selfmon.db.restore"
#define SM_RESTORE_SECRET "secret.restore"

/* Decides: from here on the new ones will be in place, whatever happens; and puts them there.
 * stamp: of digits and letters; what was there gets the tail ".replaced.STAMP". */
sm_rc sm_restoring_commit(int dir_fd, const char *stamp, sm_err *err);
/* What a process that was killed left: a decision is carried out, anything before it removed.
 * *finished: there was a decision. Called by whoever takes the directory. */
sm_rc sm_restoring_finish(int dir_fd, bool *finished, sm_err *err);
