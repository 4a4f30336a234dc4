/* statedir: the state directory and who holds it (one process at a time, by flock). */
#pragma once
#include "base/err.h"

typedef struct sm_statedir {
    char *path;
    int dir_fd;  /* -1 when not held */
    int lock_fd; /* -1 when not held */
} sm_statedir;

/* Creates the directory (0700) and takes the lock; writes our pid and `what` into it; waits for a
 * `reader`, which lets go at once. SM_BUSY:
 * `… is held by process 4711 (run)`. */
sm_rc sm_statedir_take(const char *path, const char *what, sm_statedir *out, sm_err *err);
/* The same, but never creates the directory: SM_NOT_FOUND when it is not there. */
sm_rc sm_statedir_take_existing(const char *path, const char *what, sm_statedir *out, sm_err *err);
void sm_statedir_release(sm_statedir *s);
/* Path of a file inside; caller frees. */
char *sm_statedir_file(const char *path, const char *name);
