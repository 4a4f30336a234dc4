/* log: lines of the program itself on standard error.
 *
 * Text for a person (`warning: …`, `error: …`, information as it is) or one JSON object a line.
 * Every line is masked, its control bytes are escaped, it is cut at 16 KiB and written with one
 * write(2), so lines of several threads and processes do not mix. Any thread may log; the settings
 * are process-wide and set once by main before there are threads. A failing write is ignored:
 * there is no other place to complain.
 */
#include "base/log.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/str.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 16 << 10 };

static struct {
    sm_level min;
    bool json;
    bool color;
} settings = {SM_LOG_INFO, false, false};

static const char *const level_names[] = {"debug", "info", "warning", "error"};

void sm_log_setup(sm_level min, bool json, bool color) {
    settings.min = min;
    settings.json = json;
    settings.color = color;
}

bool sm_log_enabled(sm_level level) {
    return level >= settings.min;
}

sm_rc sm_level_parse(const char *s, sm_level *out, sm_err *err) {
    static const struct {
        const char *name;
        sm_level level;
    } table[] = {{"debug", SM_LOG_DEBUG},
                 {"info", SM_LOG_INFO},
                 {"warn", SM_LOG_WARN},
                 {"warning", SM_LOG_WARN},
                 {"error", SM_LOG_ERROR}};
    const char *names[SM_ARRAY_LEN(table)];
    for (size_t i = 0; i < SM_ARRAY_LEN(table); i++) {
        names[i] = table[i].name;
        if (strcmp(s, table[i].name) == 0) {
            *out = table[i].level;
            return SM_OK;
        }
    }
    char hint[64];
    char *text = sm_str_printable(s, strlen(s), 80);
    sm_err_set(err, SM_INVALID, "\"%s\" is not a log level: expected debug, info, warn or error%s",
               text, sm_str_hint(s, names, SM_ARRAY_LEN(names), hint, sizeof hint));
    free(text);
    return SM_INVALID;
}

static void write_line(const char *p, size_t n) {
    while (n > 0) {
        ssize_t done = write(STDERR_FILENO, p, n);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return;
        }
        p += done;
        n -= (size_t)done;
    }
}

static char *line_text(sm_level level, const char *msg) {
    static const char *const colors[] = {"\033[2m", "", "\033[33m", "\033[31m"};
    const char *name = level == SM_LOG_INFO ? "" : level_names[level];
    const char *colon = level == SM_LOG_INFO ? "" : ": ";
    const char *on = settings.color ? colors[level] : "";
    const char *off = on[0] ? "\033[0m" : "";
    return sm_asprintf("%s%s%s%s%s\n", on, name, colon, off, msg);
}

static char *line_json(sm_level level, const char *msg) {
    char when[32];
    sm_time_rfc3339(sm_wall_ns(), true, when);
    /* By hand, because a person reads the time first and sorted keys would put it last. */
    json_t *text = sm_json_text(msg, strlen(msg));
    char *quoted = sm_json_dump(text, NULL);
    char *line = sm_asprintf("{\"time\":\"%s\",\"level\":\"%s\",\"msg\":%s}\n", when,
                             level_names[level], quoted);
    free(quoted);
    json_decref(text);
    return line;
}

void sm_log(sm_level level, const char *fmt, ...) {
    if (!sm_log_enabled(level)) {
        return;
    }
    int saved = errno;
    char *msg = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&msg, fmt, ap);
    va_end(ap);
    if (n < 0) {
        goto out;
    }
    size_t len;
    char *masked = sm_mask(msg, (size_t)n, &len);
    char *shown = sm_str_printable(masked, len, LINE_MAX_BYTES);
    char *line = settings.json ? line_json(level, shown) : line_text(level, shown);
    write_line(line, strlen(line));
    free(line);
    free(shown);
    free(masked);
    explicit_bzero(msg, (size_t)n);
    free(msg);
out:
    errno = saved;
}
