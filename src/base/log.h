/* log: lines of the program itself on standard error, as text or JSON; masked; one write per line;
 * control bytes escaped. One of the three places that own process-wide state. Thread-safe. */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include <stdbool.h>

/* SM_LOG_NONE is for sm_log_setup: nothing is logged. */
typedef enum sm_level {
    SM_LOG_DEBUG,
    SM_LOG_INFO,
    SM_LOG_WARN,
    SM_LOG_ERROR,
    SM_LOG_NONE
} sm_level;

/* From now on; any thread. json: one JSON object a line ("time","level","msg"). */
void sm_log_setup(sm_level min, bool json, bool color);
void sm_log(sm_level level, const char *fmt, ...) SM_PRINTF(2, 3);
/* The same; `fields` (an object, borrowed, without "time", "level", "msg") become members of a JSON
 * line and do not show in text. */
void sm_log_fields(sm_level level, const json_t *fields, const char *fmt, ...) SM_PRINTF(3, 4);
bool sm_log_enabled(sm_level level);
sm_rc sm_level_parse(const char *s, sm_level *out, sm_err *err);

/* For a daemon: from now on a line waits for its reader in a queue (base/outq.h) instead of making
 * the caller wait. Before other threads log. */
void sm_log_begin(void);
/* Whole lines for standard output, on the same road; masked. */
void sm_log_out(const char *text, size_t n);
/* Lines that nobody read and that were therefore dropped, since sm_log_begin. */
size_t sm_log_dropped(void);
/* Gives what waits at most ms to be read; then lines are written directly again. When no other
 * thread logs any more. */
void sm_log_end(int ms);
