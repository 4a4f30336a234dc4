/* memo: see memo.h. Called by the binding (worker), by the service (daemon), which believes no
 * worker, and by the operations of the store, on any thread.
 */
#include "base/memo.h"
#include "base/str.h"
#include <math.h>
#include <string.h>

bool sm_memo_key_ok(const char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
            return false;
    return n > 0 && n <= SM_MEMO_KEY_MAX && sm_utf8_valid(p, n);
}

bool sm_memo_scope_ok(const char *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        bool letter = (p[i] >= 'a' && p[i] <= 'z') || (p[i] >= 'A' && p[i] <= 'Z');
        if (!letter && !(p[i] >= '0' && p[i] <= '9') && !memchr("_-./", p[i], 4))
            return false;
    }
    return n > 0 && n <= SM_MEMO_SCOPE_NAME_MAX;
}

sm_rc sm_memo_quota(const char *whose, int64_t keys, int64_t held, int64_t bytes, sm_err *err) {
    if (keys >= SM_MEMO_KEYS_MAX)
        return sm_err_set(err, SM_LIMIT,
                          "%s holds %lld keys, the most it can; delete some, or give them a ttl",
                          whose, (long long)keys);
    if (held + bytes > SM_MEMO_BYTES_MAX)
        return sm_err_set(err, SM_LIMIT,
                          "%s holds %lld bytes in %lld keys, and %lld more would be above the %d "
                          "that it may; delete some, or give them a ttl",
                          whose, (long long)held, (long long)keys, (long long)bytes,
                          (int)SM_MEMO_BYTES_MAX);
    return SM_OK;
}

sm_rc sm_memo_sum(const json_t *was, const json_t *by, json_t **sum, sm_err *err) {
    json_int_t whole;
    if (was == NULL) {
        *sum = json_deep_copy(by);
        return SM_OK;
    }
    if (!json_is_number(was))
        return sm_err_set(err, SM_EXISTS, "it holds something else than a number");
    if (json_is_integer(was) && json_is_integer(by)) {
        if (__builtin_add_overflow(json_integer_value(was), json_integer_value(by), &whole))
            return sm_err_set(err, SM_EXISTS, "the sum is beyond what an integer can be");
        *sum = json_integer(whole);
        return SM_OK;
    }
    double real = json_number_value(was) + json_number_value(by);
    if (!isfinite(real))
        return sm_err_set(err, SM_EXISTS, "the sum is beyond what a number can be");
    *sum = json_real(real);
    return SM_OK;
}
