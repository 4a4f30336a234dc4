/* memory_dry: what inspections remember in a dry run: reads see what the store has, if there is
 * one; writes stay here and end with the process. The operations answer as the store's do
 * (store/op_memo), within the same quotas. Called by memory, on the loop's thread.
 */
#include "base/mem.h"
#include "base/memo.h"
#include "base/str.h"
#include "daemon/memory.h"
#include <stdlib.h>
#include <string.h>

static bool is_alive(const json_t *memo, int64_t now_ms) {
    const json_t *until = json_object_get(memo, "until_ms");
    return memo && (!json_is_integer(until) || json_integer_value(until) > now_ms);
}

/* What the owner has, read from the store when it is asked for the first time. Borrowed. */
static sm_rc own(sm_memory_dry *d, const char *who, json_t **out, sm_err *err) {
    json_t *kept = NULL;
    *out = json_object_get(d->owners, who);
    if (*out)
        return SM_OK;
    sm_rc rc = d->kept ? d->kept(d->ctx, who, &kept, err) : SM_NOT_FOUND;
    if (rc != SM_OK && rc != SM_NOT_FOUND)
        return rc;
    *out = kept ? json_deep_copy(kept) : json_object();
    json_object_set_new(d->owners, who, *out);
    json_decref(kept);
    return SM_OK;
}

static sm_rc put(json_t *memos, const char *who, const char *key, const char *text,
                 const json_t *until, int64_t now_ms, sm_err *err) {
    int64_t keys = 0, held = 0;
    const char *name;
    json_t *memo;
    json_object_foreach(memos, name, memo) {
        if (strcmp(name, key) == 0 || !is_alive(memo, now_ms))
            continue;
        keys++;
        held += (int64_t)(strlen(name) + strlen(sm_json_str(memo, "text", "")));
    }
    const char *whose = sm_str_starts(who, SM_MEMO_SCOPE) ? "this scope" : "this inspection";
    sm_rc rc = sm_memo_quota(whose, keys, held, (int64_t)(strlen(key) + strlen(text)), err);
    if (rc == SM_OK)
        json_object_set_new(memos, key, json_pack("{s:s, s:O?}", "text", text, "until_ms", until));
    return rc;
}

static sm_rc incr(json_t *memos, const char *who, const char *key, const json_t *args,
                  int64_t now_ms, json_t **result, sm_err *err) {
    const json_t *memo = json_object_get(memos, key);
    const char *had = is_alive(memo, now_ms) ? sm_json_str(memo, "text", "null") : NULL;
    json_t *was = NULL, *sum = NULL;
    json_t *until = json_object_get(had ? memo : args, "until_ms");
    sm_rc rc = had ? sm_json_parse(had, strlen(had), SM_MEMO_VALUE_MAX, &was, err) : SM_OK;
    if (rc == SM_OK)
        rc = sm_memo_sum(was, json_object_get(args, "by"), &sum, err);
    if (rc == SM_OK) {
        char *text = sm_json_dump(sum, NULL);
        json_incref(until);
        rc = put(memos, who, key, text, until, now_ms, err);
        json_decref(until);
        free(text);
    }
    if (rc == SM_OK)
        *result = json_pack("{s:O}", "value", sum);
    json_decref(was);
    json_decref(sum);
    return rc;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *keys(const json_t *memos, const char *prefix, int64_t now_ms) {
    size_t n = 0;
    const char *name, **names = sm_calloc(json_object_size(memos) + 1, sizeof *names);
    json_t *memo, *out = json_array();
    json_object_foreach((json_t *)(uintptr_t)memos, name, memo) {
        if (sm_str_starts(name, prefix) && is_alive(memo, now_ms))
            names[n++] = name;
    }
    qsort(names, n, sizeof *names, by_bytes);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(out, json_string(names[i]));
    free(names);
    return out;
}

sm_rc sm_memory_dry_call(sm_memory_dry *d, sm_store_op op, json_t *args, json_t **result,
                         sm_err *err) {
    const char *who = sm_json_str(args, "who", ""), *key = sm_json_str(args, "key", "");
    int64_t now_ms = sm_json_int(args, "now_ms", 0);
    json_t *memos;
    *result = NULL;
    sm_rc rc = own(d, who, &memos, err);
    if (rc != SM_OK)
        goto out;
    const json_t *memo = json_object_get(memos, key);
    bool there = is_alive(memo, now_ms);
    switch (op) {
    case SM_OP_MEMO_GET:
        if (there)
            *result = json_pack("{s:O}", "text", json_object_get(memo, "text"));
        break;
    case SM_OP_MEMO_PUT:
        rc = put(memos, who, key, sm_json_str(args, "text", ""), json_object_get(args, "until_ms"),
                 now_ms, err);
        break;
    case SM_OP_MEMO_DELETE:
        json_object_del(memos, key);
        *result = json_pack("{s:b}", "removed", there);
        break;
    case SM_OP_MEMO_INCR:
        rc = incr(memos, who, key, args, now_ms, result, err);
        break;
    case SM_OP_MEMO_KEYS:
        *result = keys(memos, sm_json_str(args, "prefix", ""), now_ms);
        break;
    default:
        rc = sm_err_set(err, SM_INTERNAL, "no operation of memos");
    }
out:
    json_decref(args);
    return rc;
}
