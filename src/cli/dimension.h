/* dimension: how a person names an inspection and one of its dimensions on the command line. */
#pragma once
#include "cli/client.h"

/* "name=value,other=value" as the identity of a dimension (platform/event.h). *out: malloc'd.
 * SM_INVALID. */
sm_rc sm_cli_dimension(const char *text, char **out, sm_err *err);
/* SM_OK when an inspection of that id (or fitting the pattern) is registered here. */
sm_rc sm_cli_known_id(sm_client *link, const char *id, sm_err *err);
/* SM_NOT_FOUND with the nearest id. */
sm_rc sm_cli_unknown_id(sm_client *link, const char *id, sm_err *err);
