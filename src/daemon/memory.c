/* memory: the service `store`: what inspections remember (see memory.h). It checks what a worker
 * says again, names the owner, and passes the store's answer on. Loop's thread.
 */
#include "daemon/memory.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/memo.h"
#include "base/str.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct pending { /* an ask that the store answers */
    struct pending *prev, *next;
    sm_memory *m;
    sm_ask *ask;
    sm_store_op op;
} pending;

struct sm_memory {
    sm_store *store; /* NULL: dry */
    sm_memory_dry dry;
    pending *first;
    json_t *calls, *refused; /* counts */
};

static const struct {
    const char *name;
    sm_store_op op;
} ops[] = {{"get", SM_OP_MEMO_GET},
           {"set", SM_OP_MEMO_PUT},
           {"delete", SM_OP_MEMO_DELETE},
           {"incr", SM_OP_MEMO_INCR},
           {"keys", SM_OP_MEMO_KEYS}};

char *sm_memory_owner(const sm_inspection *p) {
    return sm_asprintf(SM_MEMO_INSPECTION "%s", p->ref_key[0] ? p->ref_key : p->id);
}

/* ---- answers ---- */

static void refuse(sm_memory *m, sm_ask *ask, const char *code, const char *sentence) {
    sm_json_count(m->refused, code);
    sm_ask_fail(ask, code, "%s", sentence);
}

static void refuse_rc(sm_memory *m, sm_ask *ask, sm_rc rc, const char *said) {
    static const char outbox[] = "outbox is full: ", behind[] = "the store is behind";
    const char *key = sm_json_str(ask->args, "key", "");
    char text[SM_ERR_MAX];
    switch (rc) {
    case SM_LIMIT:
        refuse(m, ask, sm_str_starts(said, behind) ? "busy" : "quota", said);
        break;
    case SM_EXISTS:
        snprintf(text, sizeof text, "key \"%s\": %s", key, said);
        refuse(m, ask, "value", text);
        break;
    case SM_FULL: /* the same disk; who wanted to write does not matter to the store */
        snprintf(text, sizeof text, "the store is full: %s",
                 sm_str_starts(said, outbox) ? said + sizeof outbox - 1 : said);
        refuse(m, ask, "full", text);
        break;
    default:
        refuse(m, ask, "failed", said);
    }
}

static void answer(sm_ask *ask, sm_store_op op, const json_t *result) {
    const char *text = sm_json_str(result, "text", NULL);
    char *sum;
    size_t n;
    switch (op) {
    case SM_OP_MEMO_GET:
        sm_ask_answer(ask, text ? json_true() : NULL, text, text ? strlen(text) : 0);
        break;
    case SM_OP_MEMO_DELETE:
        sm_ask_answer(ask, json_incref(json_object_get(result, "removed")), NULL, 0);
        break;
    case SM_OP_MEMO_INCR:
        sum = sm_json_dump(json_object_get(result, "value"), &n);
        sm_ask_answer(ask, json_true(), sum, n);
        free(sum);
        break;
    case SM_OP_MEMO_KEYS:
        sm_ask_answer(ask, json_deep_copy(result), NULL, 0);
        break;
    default:
        sm_ask_answer(ask, json_true(), NULL, 0);
    }
}

static void end(pending *p) {
    if (p->prev)
        p->prev->next = p->next;
    else
        p->m->first = p->next;
    if (p->next)
        p->next->prev = p->prev;
    free(p);
}

static void stored(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    pending *p = ctx;
    if (rc == SM_OK)
        answer(p->ask, p->op, result);
    else
        refuse_rc(p->m, p->ask, rc, err->msg);
    end(p);
}

/* ---- questions ---- */

static void call(sm_memory *m, sm_ask *ask, sm_store_op op, json_t *args) {
    if (m->store) {
        pending *p = sm_calloc(1, sizeof *p);
        *p = (pending){.next = m->first, .m = m, .ask = ask, .op = op};
        if (p->next)
            p->next->prev = p;
        m->first = p;
        sm_store_call(m->store, op, args, stored, p);
        return;
    }
    json_t *result = NULL;
    sm_err err = SM_ERR_INIT;
    sm_rc rc = sm_memory_dry_call(&m->dry, op, args, &result, &err);
    if (rc == SM_OK)
        answer(ask, op, result);
    else
        refuse_rc(m, ask, rc, err.msg);
    json_decref(result);
}

/* Text member that holds no NUL, with its length; NULL when it is none. */
static const char *text_of(const json_t *args, const char *name, size_t *n) {
    const json_t *v = json_object_get(args, name);
    *n = json_string_length(v);
    const char *p = json_string_value(v);
    return p && strlen(p) == *n ? p : NULL;
}

/* Fills in what the operation needs besides owner and time; false: refused. */
static bool add_args(sm_memory *m, sm_ask *ask, sm_store_op op, json_t *args) {
    const json_t *ttl = json_object_get(ask->args, "ttl"), *by = json_object_get(ask->args, "by");
    double s = json_number_value(ttl);
    json_t *value = NULL;
    sm_err err = SM_ERR_INIT;
    if (ttl && (!isfinite(s) || s <= 0 || s > SM_MEMO_TTL_MAX)) {
        refuse(m, ask, "invalid", "the ttl is no number of seconds");
        return false;
    }
    json_object_set_new(args, "until_ms",
                        ttl ? json_integer(sm_wall_ns() / SM_NS_PER_MS + (int64_t)ceil(s * 1000))
                            : json_null());
    if (op == SM_OP_MEMO_INCR && !json_is_number(by)) {
        refuse(m, ask, "invalid", "incr without a number");
        return false;
    }
    if (op == SM_OP_MEMO_INCR)
        json_object_set(args, "by", (json_t *)(uintptr_t)by);
    if (op != SM_OP_MEMO_PUT)
        return true;
    if (ask->body_n > SM_MEMO_VALUE_MAX) {
        char text[128];
        snprintf(text, sizeof text, "the value is %zu bytes of JSON, and the most is %d",
                 ask->body_n, (int)SM_MEMO_VALUE_MAX);
        refuse(m, ask, "too_large", text);
        return false;
    }
    if (!ask->body || strlen(ask->body) != ask->body_n ||
        sm_json_parse(ask->body, ask->body_n, SM_MEMO_VALUE_MAX, &value, &err) != SM_OK) {
        refuse(m, ask, "invalid", err.msg[0] ? err.msg : "the value is no JSON");
        return false;
    }
    json_decref(value);
    json_object_set_new(args, "text", json_stringn(ask->body, ask->body_n));
    return true;
}

static void begin(void *ctx, sm_ask *ask) {
    sm_memory *m = ctx;
    size_t key_n, scope_n = 0, i = 0;
    const char *name = sm_json_str(ask->args, "op", "");
    const char *key = text_of(ask->args, "key", &key_n);
    const json_t *has_scope = json_object_get(ask->args, "scope");
    const char *scope = has_scope ? text_of(ask->args, "scope", &scope_n) : NULL;
    while (i < SM_ARRAY_LEN(ops) && strcmp(ops[i].name, name) != 0)
        i++;
    bool prefix = i < SM_ARRAY_LEN(ops) && ops[i].op == SM_OP_MEMO_KEYS;
    if (i == SM_ARRAY_LEN(ops) || !key || !(sm_memo_key_ok(key, key_n) || (prefix && !*key)) ||
        (has_scope && !(scope && sm_memo_scope_ok(scope, scope_n)))) {
        refuse(m, ask, "invalid", "no such operation, key or scope");
        return;
    }
    sm_json_count(m->calls, name);
    char *who = scope ? sm_asprintf(SM_MEMO_SCOPE "%s", scope) : sm_memory_owner(ask->inspection);
    json_t *args = json_pack("{s:s, s:s, s:I}", "who", who, prefix ? "prefix" : "key", key,
                             "now_ms", (json_int_t)(sm_wall_ns() / SM_NS_PER_MS));
    free(who);
    if (add_args(m, ask, ops[i].op, args))
        call(m, ask, ops[i].op, args);
    else
        json_decref(args);
}

/* ---- life ---- */

sm_memory *sm_memory_new(sm_dispatcher *d, sm_store *store, sm_memory_kept kept, void *kept_ctx) {
    sm_memory *m = sm_calloc(1, sizeof *m);
    *m = (sm_memory){.store = store,
                     .dry = {.kept = kept, .ctx = kept_ctx, .owners = json_object()},
                     .calls = json_pack("{s:i, s:i, s:i, s:i, s:i}", "get", 0, "set", 0, "delete",
                                        0, "incr", 0, "keys", 0),
                     .refused = json_pack("{s:i, s:i, s:i, s:i}", "quota", 0, "too_large", 0,
                                          "full", 0, "failed", 0)};
    sm_ask_service service = {.what = "store", .ctx = m, .begin = begin};
    sm_asks_serve(d, &service);
    return m;
}

void sm_memory_free(sm_memory *m) {
    if (!m)
        return;
    while (m->first) {
        sm_ask_fail(m->first->ask, "closed", "the program is stopping");
        end(m->first);
    }
    json_decref(m->dry.owners);
    json_decref(m->calls);
    json_decref(m->refused);
    free(m);
}

json_t *sm_memory_status(const sm_memory *m) {
    return json_pack("{s:o, s:o}", "calls", json_deep_copy(m->calls), "refused",
                     json_deep_copy(m->refused));
}
