/* program: the rules for what a script may have run, which its worker keeps for the sake of the
 * script's line and the daemon keeps because it does not believe a worker. Pure. */
#pragma once
#include <stddef.h>

enum {
    SM_PROGRAM_ARGS_MAX = 256,
    SM_PROGRAM_ARGS_BYTES = 64 << 10, /* of all arguments, the path included */
    SM_PROGRAM_ENV_MAX = 64,
    SM_PROGRAM_ENV_BYTES = 64 << 10, /* of all values */
    SM_PROGRAM_STDIN_BYTES = 1 << 20,
    SM_PROGRAM_TIMEOUT_MAX = 3600 /* seconds */
};

/* What is wrong with the path of a program or a directory, "expected …", or NULL. It must be
 * absolute and plain: no "..", no ".", no empty part, so that what a grant says is what is run.
 * Static. */
const char *sm_program_path_wrong(const char *path, size_t n);
/* What is wrong with an environment variable's name, or NULL. Names that change which code a
 * program is made of (LD_…), and the daemon's own (SELFMON_…), are refused. Static. */
const char *sm_program_env_wrong(const char *name, size_t n);
