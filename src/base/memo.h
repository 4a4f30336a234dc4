/* memo: the rules of what inspections remember (selfmon.store), which worker, daemon and store
 * share: limits, names, sums. Pure. */
#pragma once
#include "base/err.h"
#include "base/json.h"

enum {
    SM_MEMO_KEYS_MAX = 1000,           /* of one owner: an inspection, or a scope */
    SM_MEMO_BYTES_MAX = 1 << 20,       /* of its keys and values */
    SM_MEMO_KEY_MAX = 256,             /* bytes */
    SM_MEMO_VALUE_MAX = 64 << 10,      /* bytes of JSON */
    SM_MEMO_SCOPES_MAX = 256,          /* in all */
    SM_MEMO_SCOPE_NAME_MAX = 64,       /* bytes */
    SM_MEMO_TTL_MAX = 10 * 366 * 86400 /* seconds */
};

/* 1..256 bytes of UTF-8 without control characters. */
bool sm_memo_key_ok(const char *p, size_t n);
/* A name of letters, digits, _ - . and /. */
bool sm_memo_scope_ok(const char *p, size_t n);
/* SM_LIMIT with a sentence when `bytes` in one more key are too much for an owner that holds so
 * much besides. `whose`: "this inspection". */
sm_rc sm_memo_quota(const char *whose, int64_t keys, int64_t held, int64_t bytes, sm_err *err);
/* by added to was (NULL: 0), exact for integers. SM_EXISTS: `was` is no number, or the sum is none.
 * *sum: new reference. */
sm_rc sm_memo_sum(const json_t *was, const json_t *by, json_t **sum, sm_err *err);
