/* secretsrc: where a secret comes from (file, environment, systemd credential, command), and when
 * it is read again: a file when it changed, a command in the background every five minutes. */
#pragma once
#include "base/json.h"
#include "base/secret.h"
#include <stdatomic.h>

typedef struct sm_secretsrc sm_secretsrc;

/* source: {file=} | {env=} | {credential=} | {command={…}}; dir: what a relative file is relative
 * to (NULL: the current directory). Reads it once: SM_NOT_FOUND, SM_DENIED (others can read the
 * file), SM_INVALID (empty, command failed) with a sentence that never holds the secret. A command
 * may take 10 s; *stop (may be NULL) ends it early. */
sm_rc sm_secretsrc_open(const json_t *source, const char *dir, const atomic_bool *stop,
                        sm_secretsrc **out, sm_err *err);
/* The file it is read from, or NULL. */
const char *sm_secretsrc_path(const sm_secretsrc *s);
/* The value as it is now, borrowed until the next call; the former one as long as a new one cannot
 * be read. One thread at a time. */
const sm_secret *sm_secretsrc_get(sm_secretsrc *s);
/* NULL is fine. A command that is under way is ended. */
void sm_secretsrc_close(sm_secretsrc *s);
