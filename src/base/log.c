/* log: lines of the program itself on standard error.
 *
 * Text for a person (`warning: …`, `error: …`, information as it is) or one JSON object a line.
 * Every line is masked, its control bytes are escaped, it is cut at 16 KiB and written with one
 * write(2), so lines of several threads and processes do not mix. Any thread may log; the settings
 * are process-wide; main sets them, and the daemon's loop when the configuration changes. A
 * daemon's lines go through queues, so that nobody waits for their reader; standard output and
 * standard error share one when they are the same file. A failing write is only counted: there is
 * no other place to complain.
 */
#include "base/log.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/outq.h"
#include "base/secret.h"
#include "base/str.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 16 << 10 };

static struct {
    atomic_int min;
    atomic_bool json;
    atomic_bool color;
    sm_outq *out, *err; /* NULL: written directly */
    size_t dropped;     /* by queues that are gone */
} settings = {.min = SM_LOG_INFO};

static const char *const level_names[] = {"debug", "info", "warning", "error"};

void sm_log_setup(sm_level min, bool json, bool color) {
    settings.min = (int)min;
    settings.json = json;
    settings.color = color;
}

bool sm_log_enabled(sm_level level) {
    return (int)level >= settings.min;
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

static void write_line(sm_outq *q, int fd, const char *p, size_t n) {
    if (q) {
        sm_outq_put(q, fd, p, n);
        return;
    }
    while (n > 0) {
        ssize_t done = write(fd, p, n);
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

/* Members of an object as they stand between braces, with a comma in front, masked; malloc'd. */
static char *members_text(const json_t *fields) {
    if (json_object_size(fields) == 0)
        return sm_strdup("");
    size_t n, len;
    char *dumped = sm_json_dump(fields, &n);
    char *masked = sm_mask(dumped, n, &len);
    char *text = sm_asprintf(",%.*s", (int)(len - 2), masked + 1);
    free(masked);
    free(dumped);
    return text;
}

static char *line_json(sm_level level, const char *msg, const json_t *fields) {
    char when[32];
    sm_time_rfc3339(sm_wall_ns(), true, when);
    /* By hand, because a person reads the time first and sorted keys would put it last. */
    json_t *text = sm_json_text(msg, strlen(msg));
    char *quoted = sm_json_dump(text, NULL);
    char *members = members_text(fields);
    char *line = sm_asprintf("{\"time\":\"%s\",\"level\":\"%s\",\"msg\":%s%s}\n", when,
                             level_names[level], quoted, members);
    free(members);
    free(quoted);
    json_decref(text);
    return line;
}

static void log_message(sm_level level, const json_t *fields, char *msg, size_t n) {
    size_t len;
    char *masked = sm_mask(msg, n, &len);
    char *shown = sm_str_printable(masked, len, LINE_MAX_BYTES);
    char *line = settings.json ? line_json(level, shown, fields) : line_text(level, shown);
    write_line(settings.err, STDERR_FILENO, line, strlen(line));
    free(line);
    free(shown);
    free(masked);
    explicit_bzero(msg, n);
}

static void SM_PRINTF(3, 0)
    log_va(sm_level level, const json_t *fields, const char *fmt, va_list ap) {
    int saved = errno;
    char *msg = NULL;
    int n = vasprintf(&msg, fmt, ap);
    if (n >= 0) {
        log_message(level, fields, msg, (size_t)n);
        free(msg);
    }
    errno = saved;
}

void sm_log(sm_level level, const char *fmt, ...) {
    if (!sm_log_enabled(level))
        return;
    va_list ap;
    va_start(ap, fmt);
    log_va(level, NULL, fmt, ap);
    va_end(ap);
}

void sm_log_fields(sm_level level, const json_t *fields, const char *fmt, ...) {
    if (!sm_log_enabled(level))
        return;
    va_list ap;
    va_start(ap, fmt);
    log_va(level, fields, fmt, ap);
    va_end(ap);
}

/* ---- a daemon's road ---- */

static size_t lost_text(size_t dropped, char *out, size_t cap) {
    int n =
        snprintf(out, cap, "warning: %zu log lines were dropped while nobody read them\n", dropped);
    return n < 0 ? 0 : (size_t)n;
}

static size_t lost_line(size_t dropped, char *out, size_t cap) {
    if (!settings.json)
        return lost_text(dropped, out, cap);
    char when[32];
    sm_time_rfc3339(sm_wall_ns(), true, when);
    int n = snprintf(out, cap,
                     "{\"time\":\"%s\",\"level\":\"warning\",\"msg\":\"%zu log lines were "
                     "dropped while nobody read them\",\"dropped\":%zu}\n",
                     when, dropped, dropped);
    return n < 0 ? 0 : (size_t)n;
}

static bool one_file(void) {
    struct stat a, b;
    return fstat(STDOUT_FILENO, &a) == 0 && fstat(STDERR_FILENO, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

void sm_log_begin(void) {
    settings.err = sm_outq_new(lost_line);
    settings.out = one_file() ? settings.err : sm_outq_new(lost_text);
}

void sm_log_out(const char *text, size_t n) {
    size_t len;
    if (n == 0)
        return;
    char *masked = sm_mask(text, n, &len);
    write_line(settings.out, STDOUT_FILENO, masked, len);
    free(masked);
}

size_t sm_log_dropped(void) {
    size_t n = settings.dropped;
    if (settings.err)
        n += sm_outq_dropped(settings.err);
    if (settings.out && settings.out != settings.err)
        n += sm_outq_dropped(settings.out);
    return n;
}

void sm_log_end(int ms) {
    sm_outq *out = settings.out, *err = settings.err;
    settings.dropped = sm_log_dropped();
    settings.out = settings.err = NULL;
    if (err)
        sm_outq_end(err, ms);
    if (out && out != err)
        sm_outq_end(out, ms);
}
