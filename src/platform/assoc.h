/* assoc: identity of an inspection: function id, funcId and association key (script-api 1.2). */
#pragma once
#include "base/err.h"
#include <stddef.h>

enum { SM_ASSOC_LEN = 32 };

/* First 32 lower-case hex digits of HMAC-SHA256(secret, "selfmon-lua\0" .. function_id). */
void sm_assoc_key(const void *secret, size_t n, const char *function_id,
                  char out[SM_ASSOC_LEN + 1]);
/* Checks `path/to/file.func` or `path/to/file.func@instance`. SM_INVALID names the offending part.
 */
sm_rc sm_assoc_check_id(const char *function_id, sm_err *err);
/* "demo/example.run" -> "demo__example.run"; caller frees. */
char *sm_assoc_func_id(const char *function_id);
/* Function id from the script's path relative to the root ("demo/example.lua") and the function
 * name; *out is malloc'd. SM_INVALID for a path part the rule forbids. */
sm_rc sm_assoc_make_id(const char *rel, const char *func, char **out, sm_err *err);
