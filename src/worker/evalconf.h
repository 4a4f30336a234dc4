/* evalconf: parts of the evaluation of the configuration file. */
#pragma once
#include "base/json.h"
#include <stddef.h>

/* Object from dotted keys of the tables in a Lua text ("accounts.default.node") to the lines where
 * they stand: a scan of tokens, good enough for messages; list items are not in it. New reference.
 */
json_t *sm_evalconf_lines(const char *text, size_t n);
