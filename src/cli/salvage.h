/* salvage: `restore` of a damaged database: what can be read of it is added to the store. */
#pragma once
#include "cli/cli.h"

/* Might it be a database of ours, whole or damaged: by its size and its pages? */
bool sm_cli_salvageable(const char *path);
/* The caller holds the state directory. */
sm_rc sm_cli_salvage(const sm_args *a, const sm_config *config, const char *path, sm_err *err);
