/* err: fills the caller-owned error value.
 *
 * Every layer calls this; nothing here allocates, blocks or logs. A sentence is always valid UTF-8
 * without a line end, whatever bytes came in through %s: it may be stored, sent and printed.
 * Thread-safe: the only state is the caller's.
 */
#include "base/err.h"
#include "base/str.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Makes the n bytes of s valid UTF-8 in place ('?' for a bad byte), drops a half character left by
 * a cut and line ends at the end. */
static void sentence_clean(char *s, size_t n, bool cut) {
    for (size_t i = 0; i < n;) {
        size_t len = sm_utf8_len(s + i, n - i);
        if (len == 0) {
            if (cut && n - i < 4 && ((unsigned char)s[i] & 0xC0u) == 0xC0u) {
                n = i;
                break;
            }
            s[i] = '?';
            len = 1;
        }
        i += len;
    }
    while (n > 0 && (s[n - 1] == '\n' || s[n - 1] == '\r')) {
        n--;
    }
    s[n] = '\0';
}

/* Formats prefix and tail into err. The text is built aside because arguments may point into
 * err->msg. */
static void err_format(sm_err *err, const char *tail, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));

static void err_format(sm_err *err, const char *tail, const char *fmt, va_list ap) {
    char text[SM_ERR_MAX];
    int n = vsnprintf(text, sizeof text, fmt, ap);
    size_t len = n < 0 ? 0 : (size_t)n;
    bool cut = len >= sizeof text;
    if (cut) {
        len = sizeof text - 1;
    }
    text[len] = '\0';
    if (tail && !cut) {
        const char *parts[] = {": ", tail};
        for (size_t i = 0; i < SM_ARRAY_LEN(parts); i++) {
            size_t m = strlen(parts[i]);
            if (m > sizeof text - 1 - len) {
                m = sizeof text - 1 - len;
                cut = true;
            }
            memcpy(text + len, parts[i], m);
            len += m;
        }
        text[len] = '\0';
    }
    sentence_clean(text, len, cut);
    if (cut) {
        static const char ellipsis[] = "\xe2\x80\xa6";
        size_t keep = sm_utf8_cut(text, strlen(text), sizeof text - sizeof ellipsis);
        memcpy(text + keep, ellipsis, sizeof ellipsis);
    }
    memcpy(err->msg, text, strlen(text) + 1);
}

sm_rc sm_err_set(sm_err *err, sm_rc code, const char *fmt, ...) {
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        err_format(err, NULL, fmt, ap);
        va_end(ap);
        err->code = code;
    }
    return code;
}

sm_rc sm_err_sys(sm_err *err, int errnum, const char *fmt, ...) {
    sm_rc code = errnum == ENOSPC || errnum == EDQUOT ? SM_FULL : SM_IO;
    if (err) {
        char buf[128];
        va_list ap;
        va_start(ap, fmt);
        /* The GNU strerror_r: returns the text, which need not be in buf. */
        err_format(err, strerror_r(errnum, buf, sizeof buf), fmt, ap);
        va_end(ap);
        err->code = code;
    }
    return code;
}

sm_rc sm_err_wrap(sm_err *err, const char *fmt, ...) {
    if (!err) {
        return SM_INTERNAL;
    }
    char old[SM_ERR_MAX];
    memcpy(old, err->msg, sizeof old);
    old[sizeof old - 1] = '\0';
    va_list ap;
    va_start(ap, fmt);
    err_format(err, old, fmt, ap);
    va_end(ap);
    return err->code;
}

const char *sm_rc_name(sm_rc rc) {
    switch (rc) {
    case SM_OK:
        return "ok";
    case SM_INVALID:
        return "invalid";
    case SM_NOT_FOUND:
        return "not_found";
    case SM_EXISTS:
        return "exists";
    case SM_DENIED:
        return "denied";
    case SM_LIMIT:
        return "limit";
    case SM_FULL:
        return "full";
    case SM_BUSY:
        return "busy";
    case SM_TIMEOUT:
        return "timeout";
    case SM_IO:
        return "io";
    case SM_PROTO:
        return "proto";
    case SM_CLOSED:
        return "closed";
    case SM_INTERNAL:
        return "internal";
    }
    return "unknown";
}
