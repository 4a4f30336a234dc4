/* event: what an event may be (script-api 4): the author's mistakes are errors, the world's data
 * is repaired. Pure: no Lua, no I/O. Used by the worker (for the script's line) and again by the
 * daemon's intake, which never trusts a worker.
 *
 * Input is a tree of sm_val that borrows the script's bytes (which may hold NUL or bad UTF-8);
 * output is JSON: {"title","message","status","dimension_tags":{name:text}}.
 */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum sm_val_type {
    SM_VAL_NIL,
    SM_VAL_BOOL,
    SM_VAL_INT,
    SM_VAL_NUM,
    SM_VAL_STR,
    SM_VAL_TABLE,
    SM_VAL_OTHER /* function, userdata, thread: `name` in s.p is its type */
} sm_val_type;

typedef struct sm_val sm_val;
typedef struct sm_pair sm_pair;
struct sm_val {
    sm_val_type type;
    union {
        bool b;
        int64_t i;
        double n;
        struct {
            const char *p;
            size_t n;
        } s; /* borrowed bytes */
        struct {
            sm_pair *p;
            size_t n;
        } t; /* pairs in any order */
    } u;
};
struct sm_pair {
    sm_val key, val;
};

enum {
    SM_EVENT_TITLE_CHARS = 256,
    SM_EVENT_MESSAGE_BYTES = 64 << 10,
    SM_EVENT_TAGS = 32,
    SM_EVENT_TAG_KEY_BYTES = 256,
    SM_EVENT_TAG_VALUE_BYTES = 1024,
    SM_EVENT_PER_RUN = 1000
};

/* Checks one event; `index` is 1-based and appears in sentences as events[index].
 * *out: new reference. notes: array to which one sentence per repair is appended (may be NULL).
 * SM_INVALID: the author's mistake; err->msg is e.g.
 *   events[2].status: expected one of info, warning, error, critical, ok; got "crit"
 *   events[1].dimension_tag: unknown field "dimension_tag"; did you mean "dimension_tags"? */
sm_rc sm_event_check(const sm_val *event, int index, json_t **out, json_t *notes, sm_err *err);
/* The same for an event that came as JSON (from a worker, over HTTP), except that the message's
 * margin is left alone: what passed once passes again unchanged. */
sm_rc sm_event_check_json(const json_t *event, int index, json_t **out, json_t *notes, sm_err *err);
/* Rank of a status: ok 0, info 1, warning 2, error 3, critical 4; -1 if unknown. */
int sm_event_status_rank(const char *status);
/* Name of a rank from 0 to 4. Static. */
const char *sm_event_status_name(int rank);
/* Text of dimension tags as JSON with sorted keys: the identity of a dimension. malloc'd. */
char *sm_event_dimension(const json_t *tags);
/* Frees what a reader (worker/luaval) allocated for the tables of a tree, not the bytes. */
void sm_val_fini(sm_val *v);
