/* attribute: rewrites `monitor< … >` to `monitor{ … }`, one character for one, on tokens, and finds
 * for each `monitor` statement the function that follows it directly (script-api 1.1). Pure. */
#pragma once
#include "base/err.h"
#include <stddef.h>

typedef struct sm_follow {
    int line;      /* of the word `monitor` */
    int end_line;  /* of the closing `}` or `>` */
    char func[64]; /* name of the global function that follows directly, "" if none */
    int func_line;
    char found[64]; /* what stands there instead: "local function", "(", "function M.run", ... */
} sm_follow;

/* Rewrites text in place (same length). *follows: malloc'd array of every statement `monitor{…}` or
 * `monitor<…>` (and `monitor(` … `)`), in order. SM_INVALID with `line` for an unclosed one. */
sm_rc sm_attribute_rewrite(char *text, size_t n, sm_follow **follows, size_t *n_follows, int *line,
                           sm_err *err);
