/* identity: see identity.h. The questions that came until the platform's whole list is here are
 * answered together, so that the sentence can name how many there are. */
#include "daemon/identity.h"
#include "base/buf.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

typedef struct waiting {
    struct waiting *next;
    json_t *payload; /* referenced */
    void (*done)(void *ctx, const char *refused);
    void *ctx;
} waiting;

struct sm_identity {
    const sm_target *target;
    bool asked, known;
    json_t *foreign; /* funcId -> refKey, of everything the platform held at the start */
    json_t *blocked; /* funcIds that were refused, as keys */
    char *first;     /* the first of them, as a function id */
    waiting *waiters, **end;
    char sentence[512];
};

static const char *func_id(const json_t *payload) {
    return sm_json_str(json_object_get(payload, "refFuncInfo"), "funcId", "");
}

static bool is_foreign(const sm_identity *i, const json_t *payload) {
    const char *held = sm_json_str(i->foreign, func_id(payload), NULL);
    return held && strcmp(held, sm_json_str(payload, "refKey", "")) != 0;
}

/* "demo__example.run" -> "demo/example.run" */
static char *function_id(const char *func) {
    sm_buf out;
    sm_buf_init(&out, 1024);
    for (; *func; func++) {
        bool cut = func[0] == '_' && func[1] == '_';
        sm_buf_addc(&out, cut ? '/' : *func);
        func += cut;
    }
    return sm_buf_take(&out, NULL);
}

static void block(sm_identity *i, const json_t *payload) {
    json_object_set_new(i->blocked, func_id(payload), json_true());
    if (!i->first)
        i->first = function_id(func_id(payload));
}

static void tell(const sm_identity *i, char *out, size_t cap) {
    size_t n = json_object_size(i->blocked);
    snprintf(out, cap,
             "%zu of these inspections %s registered under another secret (first: %s); set "
             "SELFMON_SECRET, or pass --new-identity",
             n, n == 1 ? "is" : "are", i->first ? i->first : "?");
}

static void answer(sm_identity *i, const char *failure) {
    waiting *list = i->waiters;
    i->waiters = NULL;
    i->end = &i->waiters;
    for (const waiting *w = list; w && !failure; w = w->next)
        if (is_foreign(i, w->payload))
            block(i, w->payload);
    tell(i, i->sentence, sizeof i->sentence);
    while (list) {
        waiting *w = list;
        list = w->next;
        w->done(w->ctx, failure ? failure : is_foreign(i, w->payload) ? i->sentence : NULL);
        json_decref(w->payload);
        free(w);
    }
}

static void listed(void *ctx, sm_rc rc, const sm_err *err, const json_t *items) {
    sm_identity *i = ctx;
    size_t n;
    json_t *item;
    i->asked = false;
    if (rc != SM_OK) {
        answer(i, err->msg);
        return;
    }
    json_array_foreach(items, n, item) {
        const json_t *info = json_object_get(json_object_get(item, "jsonScript"), "refFuncInfo");
        const char *func = sm_json_str(info, "funcId", NULL);
        if (func)
            json_object_set_new(i->foreign, func, json_string(sm_json_str(item, "refKey", "")));
    }
    i->known = true;
    answer(i, NULL);
}

void sm_identity_ask(sm_identity *i, const json_t *payload,
                     void (*done)(void *ctx, const char *refused), void *ctx) {
    waiting *w = sm_calloc(1, sizeof *w);
    *w = (waiting){.payload = json_deep_copy(payload), .done = done, .ctx = ctx};
    *i->end = w;
    i->end = &w->next;
    if (i->known) {
        answer(i, NULL);
    } else if (!i->asked) {
        i->asked = true;
        json_t *all = json_array();
        i->target->list(i->target->ctx, all, listed, i);
        json_decref(all);
    }
}

sm_identity *sm_identity_new(const sm_target *target) {
    sm_identity *i = sm_calloc(1, sizeof *i);
    i->target = target;
    i->foreign = json_object();
    i->blocked = json_object();
    i->end = &i->waiters;
    return i;
}

void sm_identity_free(sm_identity *i) {
    if (!i)
        return;
    while (i->waiters) {
        waiting *w = i->waiters;
        i->waiters = w->next;
        json_decref(w->payload);
        free(w);
    }
    json_decref(i->foreign);
    json_decref(i->blocked);
    free(i->first);
    free(i);
}
