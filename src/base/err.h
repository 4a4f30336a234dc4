/* err: status codes and a caller-owned error value.
 *
 * Every fallible function of the core returns an sm_rc and takes `sm_err *err` as its last
 * parameter. The caller owns the value (usually on its stack); nothing in it is allocated. err may
 * be NULL where the caller wants only the code. A layer adds context once, with sm_err_wrap.
 */
#pragma once
#include <stdarg.h>

typedef enum sm_rc {
    SM_OK = 0,
    SM_INVALID,   /* input that breaks a rule; msg says what, where, what was expected */
    SM_NOT_FOUND, /* no such thing */
    SM_EXISTS,    /* already there */
    SM_DENIED,    /* a permission or policy forbids it */
    SM_LIMIT,     /* a ceiling was hit; msg names it */
    SM_FULL,      /* disk or outbox cannot take it now */
    SM_BUSY,      /* held by somebody else */
    SM_TIMEOUT,
    SM_IO,     /* a system call failed; msg has strerror */
    SM_PROTO,  /* the peer broke the protocol */
    SM_CLOSED, /* the other end is gone, or we are stopping */
    SM_INTERNAL
} sm_rc;

enum { SM_ERR_MAX = 1024 };

typedef struct sm_err {
    sm_rc code;           /* SM_OK when nothing happened */
    char msg[SM_ERR_MAX]; /* one sentence, UTF-8, no trailing newline; "" when SM_OK */
} sm_err;

#define SM_ERR_INIT                                                                                \
    { SM_OK, "" }
#define SM_PRINTF(a, b) __attribute__((format(printf, a, b)))
#define SM_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Fills err (may be NULL) with code and sentence (cut at a UTF-8 boundary), and returns code. */
sm_rc sm_err_set(sm_err *err, sm_rc code, const char *fmt, ...) SM_PRINTF(3, 4);
/* As sm_err_set with SM_IO, appending ": " and strerror(errnum). ENOSPC and EDQUOT give SM_FULL. */
sm_rc sm_err_sys(sm_err *err, int errnum, const char *fmt, ...) SM_PRINTF(3, 4);
/* Puts "context: " before err's sentence, keeps its code, and returns it (SM_INTERNAL when err is
 * NULL: a caller that may pass NULL returns its own code). */
sm_rc sm_err_wrap(sm_err *err, const char *fmt, ...) SM_PRINTF(2, 3);
/* Name of a code for logs: "invalid", "not_found", ... Static string. */
const char *sm_rc_name(sm_rc rc);
