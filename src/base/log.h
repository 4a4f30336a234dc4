/* log: lines of the program itself on standard error, as text or JSON; masked; one write per line;
 * control bytes escaped. One of the three places that own process-wide state. Thread-safe. */
#pragma once
#include "base/err.h"
#include <stdbool.h>

/* SM_LOG_NONE is for sm_log_setup: nothing is logged. */
typedef enum sm_level {
    SM_LOG_DEBUG,
    SM_LOG_INFO,
    SM_LOG_WARN,
    SM_LOG_ERROR,
    SM_LOG_NONE
} sm_level;

/* Called once by main, before threads. json: one JSON object a line ("time","level","msg"). */
void sm_log_setup(sm_level min, bool json, bool color);
void sm_log(sm_level level, const char *fmt, ...) SM_PRINTF(2, 3);
bool sm_log_enabled(sm_level level);
sm_rc sm_level_parse(const char *s, sm_level *out, sm_err *err);
