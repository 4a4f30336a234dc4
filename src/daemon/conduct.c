/* conduct: see conduct.h. Called by runner (before and after each run), app, requests and the
 * readers of the command line.
 *
 * A timeout that was spent waiting (under a tenth of it on the CPU) is no misbehaviour: it costs a
 * parked thread and says more about the inspected thing than about the script. The lane is there to
 * protect the others; a check whose target hangs must not become an hourly one.
 */
#include "daemon/conduct.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { WHY_MAX = 300, LEVEL_MAX = 30, PERIOD_S = 30 };

static const double waiting_share = 0.1; /* of a timeout's time on the CPU: less was waiting */

typedef enum hit { HIT_NONE, HIT_TIME, HIT_LIMIT, HIT_CRASH, HIT_MIXED } hit;

typedef struct record {
    char *id;
    char text[65]; /* what it belongs to: script, modules, limits */
    bool suspect;  /* crashed in company: its next run is alone */
    hit kind;      /* of the hits in a row */
    int hits, good;
    int level;                                   /* how often it has run into a limit in the lane */
    int64_t quarantined_ns, penalised_ns;        /* wall, 0: not */
    int64_t until_ns;                            /* wall: no due run before */
    char quarantine_why[WHY_MAX], last[WHY_MAX]; /* last: the sentence of the last hit */
} record;

struct sm_conduct {
    sm_store *store;
    sm_map records; /* id -> record */
    int64_t held, repeated;
    void (*ready)(void *ctx);
    void *ready_ctx;
};

/* ---- what a record belongs to ---- */

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A hash of everything whose change gives the inspection a new chance. */
static void text_of(const sm_inspection *p, char out[65]) {
    const sm_source *s = p->source;
    char **parts = sm_calloc(s->n_libs + 2, sizeof *parts);
    unsigned char digest[32];
    sm_buf all;
    for (size_t i = 0; i < s->n_libs; i++)
        parts[i] = sm_asprintf("%s %s", s->libs[i].name, s->libs[i].blob->hash);
    qsort(parts, s->n_libs, sizeof *parts, by_text);
    parts[s->n_libs] = sm_json_dump(p->limits, NULL);
    parts[s->n_libs + 1] = sm_strdup(s->script->hash);
    sm_buf_init(&all, 1 << 20);
    for (size_t i = 0; i < s->n_libs + 2; i++) {
        sm_buf_addf(&all, "%s\n", parts[i]);
        free(parts[i]);
    }
    free(parts);
    if (EVP_Digest(all.data, all.len, digest, NULL, EVP_sha256(), NULL) != 1)
        abort(); /* the library lacks SHA-256: nothing here can work */
    sm_hex(digest, sizeof digest, out);
    sm_buf_fini(&all);
}

/* ---- keeping ---- */

static json_t *to_json(const record *r) {
    return json_pack("{s:s, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:s, s:s}", "text", r->text, "kind",
                     (int)r->kind, "hits", r->hits, "good", r->good, "level", r->level,
                     "quarantined_ns", (json_int_t)r->quarantined_ns, "penalised_ns",
                     (json_int_t)r->penalised_ns, "until_ns", (json_int_t)r->until_ns,
                     "quarantine_why", r->quarantine_why, "last", r->last);
}

static void from_json(const json_t *row, record *r) {
    int64_t kind = sm_json_int(row, "kind", HIT_MIXED);
    snprintf(r->text, sizeof r->text, "%s", sm_json_str(row, "text", ""));
    r->kind = kind >= HIT_NONE && kind <= HIT_MIXED ? (hit)kind : HIT_MIXED;
    r->hits = (int)sm_json_int(row, "hits", 0);
    r->good = (int)sm_json_int(row, "good", 0);
    r->level = (int)sm_json_int(row, "level", 0);
    r->quarantined_ns = sm_json_int(row, "quarantined_ns", 0);
    r->penalised_ns = sm_json_int(row, "penalised_ns", 0);
    r->until_ns = sm_json_int(row, "until_ns", 0);
    snprintf(r->quarantine_why, sizeof r->quarantine_why, "%s",
             sm_json_str(row, "quarantine_why", ""));
    snprintf(r->last, sizeof r->last, "%s", sm_json_str(row, "last", ""));
}

static void keep(sm_conduct *c, const record *r) {
    char *key = sm_asprintf("%s%s", SM_CONDUCT_PREFIX, r->id);
    bool any = r->quarantined_ns || r->penalised_ns;
    if (c->store)
        sm_store_call(c->store, SM_OP_KV_PUT,
                      json_pack("{s:s, s:o}", "key", key, "value", any ? to_json(r) : json_null()),
                      NULL, NULL);
    free(key);
}

static void drop(sm_conduct *c, record *r) {
    if (r->quarantined_ns || r->penalised_ns) {
        r->quarantined_ns = r->penalised_ns = 0;
        keep(c, r);
    }
    sm_map_del(&c->records, r->id);
    free(r->id);
    free(r);
}

/* What is known of p, unless p has changed since; NULL when nothing is. */
static record *find(sm_conduct *c, const sm_inspection *p) {
    record *r = sm_map_get(&c->records, p->id);
    char text[65];
    if (!r)
        return NULL;
    text_of(p, text);
    if (strcmp(r->text, text) == 0)
        return r;
    if (r->quarantined_ns || r->penalised_ns)
        sm_log(SM_LOG_INFO, "%s has changed: it runs beside the others again", p->id);
    drop(c, r);
    return NULL;
}

static record *find_or_make(sm_conduct *c, const sm_inspection *p) {
    record *r = find(c, p);
    if (r)
        return r;
    r = sm_calloc(1, sizeof *r);
    r->id = sm_strdup(p->id);
    text_of(p, r->text);
    sm_map_put(&c->records, r->id, r);
    return r;
}

static void forget_if_idle(sm_conduct *c, record *r) {
    if (!r->suspect && r->hits == 0 && !r->quarantined_ns && !r->penalised_ns)
        drop(c, r);
}

/* ---- saying ---- */

/* "hit its time limit 3 times in a row" */
static void penalty_why(const record *r, char *out, size_t cap) {
    static const char *const did[] = {"misbehaved", "hit its time limit", "hit a limit",
                                      "crashed its worker", "hit a limit or crashed"};
    snprintf(out, cap, "%s %d times in a row", did[r->kind], r->hits);
}

static void clock_of(int64_t ns, char out[16]) {
    char text[32];
    sm_time_rfc3339(ns, false, text);
    snprintf(out, 16, "%.8s", text + 11);
}

static void cut(char *out, size_t cap, const char *text) {
    size_t n = strlen(text);
    if (n >= cap)
        n = sm_utf8_cut(text, n, cap - 1);
    memcpy(out, text, n);
    out[n] = 0;
}

static json_t *instant(int64_t ns) {
    char text[32];
    sm_time_rfc3339(ns, false, text);
    return json_string(text);
}

static json_t *condition_of(const record *r) {
    char why[3 * WHY_MAX], row[100];
    penalty_why(r, row, sizeof row);
    if (r->penalised_ns)
        snprintf(why, sizeof why, "%s; the last: %s%s%s", row, r->last,
                 r->quarantined_ns ? "; in a worker of its own: " : "", r->quarantine_why);
    else
        snprintf(why, sizeof why, "%s", r->quarantine_why);
    return json_pack("{s:s, s:o, s:o, s:o}", "condition",
                     r->penalised_ns ? "penalised" : "quarantined", "condition_since",
                     instant(r->penalised_ns ? r->penalised_ns : r->quarantined_ns),
                     "condition_why", sm_json_text(why, strlen(why)), "condition_until",
                     r->penalised_ns ? instant(r->until_ns) : json_null());
}

/* ---- deciding ---- */

static void quarantine(sm_conduct *c, record *r, const char *why, int64_t now) {
    r->suspect = false;
    if (r->quarantined_ns)
        return;
    r->quarantined_ns = now;
    cut(r->quarantine_why, sizeof r->quarantine_why, why);
    keep(c, r);
    sm_log(SM_LOG_WARN, "%s runs in a worker of its own from now on, until it is changed: %s",
           r->id, why);
}

/* Seconds between two of its slots, as a person would say; PERIOD_S when there is none. */
static int64_t period_of(const sm_inspection *p, int64_t now) {
    int64_t best = 0;
    for (size_t i = 0; i < p->n_crons; i++) {
        int64_t n = sm_cron_period(p->crons[i], p->tz, now / SM_NS_PER_S);
        if (n > 0 && (best == 0 || n < best))
            best = n;
    }
    return best > 0 ? best : PERIOD_S;
}

static void back_off(record *r, const sm_inspection *p, int64_t now) {
    int64_t wait = 2 * period_of(p, now);
    wait = wait < SM_CONDUCT_WAIT_S ? SM_CONDUCT_WAIT_S : wait;
    for (int i = 1; i < r->level && wait < SM_CONDUCT_WAIT_MAX_S; i++)
        wait *= 2;
    if (wait > SM_CONDUCT_WAIT_MAX_S)
        wait = SM_CONDUCT_WAIT_MAX_S;
    r->until_ns = now + wait * SM_NS_PER_S;
}

static hit hit_of(const sm_conduct_end *end) {
    if (strcmp(end->outcome, "limit") == 0)
        return HIT_LIMIT;
    if (strcmp(end->outcome, "crashed") == 0)
        return end->foreign ? HIT_NONE : HIT_CRASH;
    if (strcmp(end->outcome, "timeout") == 0 &&
        (end->stuck || end->cpu >= end->seconds * waiting_share))
        return HIT_TIME;
    return HIT_NONE;
}

static void took_hit(sm_conduct *c, record *r, const sm_inspection *p, const sm_conduct_end *end,
                     hit kind, int64_t now) {
    r->kind = r->hits == 0 || r->kind == kind ? kind : HIT_MIXED;
    r->hits++;
    r->good = 0;
    cut(r->last, sizeof r->last, end->error ? end->error : end->outcome);
    if (r->hits < SM_CONDUCT_HITS)
        return;
    bool first = r->penalised_ns == 0;
    if (first) {
        r->penalised_ns = now;
        r->level = 0;
    }
    if ((first || end->due) && r->level < LEVEL_MAX)
        r->level++;
    if (first || end->due)
        back_off(r, p, now);
    keep(c, r);
    if (!first)
        return;
    char why[100], at[16];
    penalty_why(r, why, sizeof why);
    clock_of(r->until_ns, at);
    sm_log(SM_LOG_WARN,
           "%s %s: it goes to the penalty lane until it is changed or ends well %d times in a row; "
           "it runs ever more rarely, next not before %s UTC; the last: %s",
           r->id, why, SM_CONDUCT_GOOD, at, r->last);
}

static void behaved(sm_conduct *c, record *r, const sm_inspection *p, int64_t now) {
    r->hits = r->penalised_ns ? r->hits : 0;
    if (r->penalised_ns && ++r->good >= SM_CONDUCT_GOOD) {
        sm_log(SM_LOG_INFO, "%s ended well %d times in a row and leaves the penalty lane", r->id,
               SM_CONDUCT_GOOD);
        r->penalised_ns = r->until_ns = 0;
        r->hits = r->good = r->level = 0;
        keep(c, r);
    } else if (r->penalised_ns) {
        r->level = 1;
        back_off(r, p, now);
        keep(c, r);
    }
    forget_if_idle(c, r);
}

void sm_conduct_ended(sm_conduct *c, const sm_inspection *p, const sm_conduct_end *end,
                      int64_t now_ns) {
    hit kind = hit_of(end);
    if (kind == HIT_NONE && !sm_map_get(&c->records, p->id))
        return; /* nearly always */
    record *r = find_or_make(c, p);
    if (kind == HIT_CRASH && end->alone)
        quarantine(c, r, end->error ? end->error : "it crashed its worker", now_ns);
    else if (kind == HIT_CRASH)
        r->suspect = true; /* a neighbour may have done it */
    else if (end->alone && !end->foreign)
        r->suspect = false;
    if (kind != HIT_NONE)
        took_hit(c, r, p, end, kind, now_ns);
    else if (strcmp(end->outcome, "ok") == 0 || strcmp(end->outcome, "failed") == 0)
        behaved(c, r, p, now_ns);
    else
        forget_if_idle(c, r);
}

void sm_conduct_stuck(sm_conduct *c, const sm_inspection *p, int64_t now_ns) {
    quarantine(c, find_or_make(c, p), "it did not return from a call, and its worker was killed",
               now_ns);
}

bool sm_conduct_alone(sm_conduct *c, const sm_inspection *p) {
    const record *r = find(c, p);
    return r && (r->suspect || r->quarantined_ns);
}

bool sm_conduct_penalised(sm_conduct *c, const sm_inspection *p) {
    const record *r = find(c, p);
    return r && r->penalised_ns;
}

bool sm_conduct_may_start(sm_conduct *c, const sm_inspection *p, int64_t now_ns, char *sentence,
                          size_t cap) {
    const record *r = find(c, p);
    /* Further ahead than any wait: the clock went back. */
    if (!r || !r->penalised_ns || now_ns >= r->until_ns ||
        r->until_ns - now_ns > (int64_t)SM_CONDUCT_WAIT_MAX_S * SM_NS_PER_S)
        return true;
    char why[100], at[16];
    penalty_why(r, why, sizeof why);
    clock_of(r->until_ns, at);
    snprintf(sentence, cap, "in the penalty lane until %s: %s", at, why);
    c->held++;
    return false;
}

void sm_conduct_repeated(sm_conduct *c) {
    c->repeated++;
}

/* ---- what is loaded, what was ---- */

void sm_conduct_update(sm_conduct *c, sm_inspection *const *list, size_t n, bool complete) {
    sm_map there;
    size_t pos = 0;
    sm_map_init(&there);
    for (size_t i = 0; i < n && c->records.len > 0; i++) {
        (void)find(c, list[i]); /* forgets what has changed */
        sm_map_put(&there, list[i]->id, list[i]);
    }
    for (record *r; complete && (r = sm_map_next(&c->records, &pos, NULL));)
        if (!sm_map_get(&there, r->id))
            drop(c, r);
    sm_map_fini(&there);
}

static void loaded(void *ctx, sm_rc rc, const sm_err *err, const json_t *rows) {
    sm_conduct *c = ctx;
    const char *key;
    json_t *row;
    if (rc != SM_OK)
        sm_log(SM_LOG_ERROR, "which inspections misbehaved earlier could not be read: %s",
               err->msg);
    json_object_foreach((json_t *)(uintptr_t)rows, key, row) {
        record *r = sm_calloc(1, sizeof *r);
        r->id = sm_strdup(key + strlen(SM_CONDUCT_PREFIX));
        from_json(row, r);
        record *old = sm_map_put(&c->records, r->id, r);
        if (old)
            free(old->id);
        free(old);
    }
    c->ready(c->ready_ctx);
}

void sm_conduct_load(sm_conduct *c, void (*ready)(void *ctx), void *ctx) {
    c->ready = ready;
    c->ready_ctx = ctx;
    sm_store_call(c->store, SM_OP_KV_LIST, json_pack("{s:s}", "prefix", SM_CONDUCT_PREFIX), loaded,
                  c);
}

void sm_conduct_count(const sm_conduct *c, sm_conduct_counts *out) {
    size_t pos = 0;
    *out = (sm_conduct_counts){.held = c->held, .repeated = c->repeated};
    for (const record *r; (r = sm_map_next(&c->records, &pos, NULL));) {
        out->quarantined += r->quarantined_ns != 0;
        out->penalised += r->penalised_ns != 0;
    }
}

json_t *sm_conduct_conditions(const sm_conduct *c) {
    json_t *out = json_object();
    size_t pos = 0;
    for (const record *r; (r = sm_map_next(&c->records, &pos, NULL));)
        if (r->quarantined_ns || r->penalised_ns)
            json_object_set_new(out, r->id, condition_of(r));
    return out;
}

json_t *sm_conduct_conditions_of(const json_t *rows, sm_inspection *const *list, size_t n) {
    json_t *out = json_object(), *row;
    const char *key;
    json_object_foreach((json_t *)(uintptr_t)rows, key, row) {
        const char *id = key + strlen(SM_CONDUCT_PREFIX);
        record r = {0};
        char text[65];
        bool holds = list == NULL;
        from_json(row, &r);
        for (size_t i = 0; i < n && !holds; i++) {
            if (strcmp(list[i]->id, id) != 0)
                continue;
            text_of(list[i], text);
            holds = strcmp(text, r.text) == 0;
        }
        if (holds)
            json_object_set_new(out, id, condition_of(&r));
    }
    return out;
}

void sm_conduct_mark(json_t *list, const json_t *conditions) {
    static const char *const names[] = {"condition", "condition_since", "condition_why",
                                        "condition_until"};
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item) {
        const char *id = sm_json_str(item, "id", NULL);
        const json_t *have = id ? json_object_get(conditions, id) : NULL;
        for (size_t k = 0; id && k < SM_ARRAY_LEN(names); k++) {
            json_t *v = json_object_get(have, names[k]);
            json_object_set_new(item, names[k], v ? json_incref(v) : json_null());
        }
    }
}

sm_conduct *sm_conduct_new(sm_store *store) {
    sm_conduct *c = sm_calloc(1, sizeof *c);
    c->store = store;
    sm_map_init(&c->records);
    return c;
}

void sm_conduct_free(sm_conduct *c) {
    if (!c)
        return;
    size_t pos = 0;
    for (record *r; (r = sm_map_next(&c->records, &pos, NULL));) {
        free(r->id);
        free(r);
    }
    sm_map_fini(&c->records);
    free(c);
}
