/* grant: whether permissions that an operator granted cover one that a script needs. */
#pragma once
#include "base/json.h"

/* `grants` is an array of permissions, plain or with wildcards (sm_str_glob), or NULL for none;
 * what is no text in it grants nothing. `permission` is a plain one, such as "exec:/usr/bin/df". */
bool sm_grant_covers(const json_t *grants, const char *permission);
