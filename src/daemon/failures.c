/* failures: what is failing as seen here, what the store has reported of it, and the steps from one
 * to the other (see failures.h).
 *
 * The wish comes from runs and reloads, the truth is the store's (SM_OP_FAILURE decides and accepts
 * the event in one transaction). Whatever differs is queued and worked off at a bounded pace; what
 * is healed before its turn is never told. One operation an inspection is under way at a time.
 */
#include "daemon/failures.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rand.h"
#include "daemon/dispatcher.h"
#include "daemon/failure_event.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    GONE_MS = 10000,  /* a script that vanished may come back: git checkout, rsync */
    AGAIN_MS = 10000, /* after the store refused */
    PACE_MS = 60000 / SM_FAILURES_PER_MINUTE,
    WHAT_MAX = 500
};

typedef enum kind { RUN, LOAD, KINDS } kind;
static const char *const kind_names[KINDS] = {"run", "load"};

typedef struct entry {
    sm_failures *f;
    char *id;
    json_t *about;       /* {function, ref_key, account, title, since_ns}; of the row when there is
                          * one */
    json_t *row;         /* as the store has it; NULL: not failing there */
    char *want[KINDS];   /* what is wrong as far as is known here; NULL: nothing */
    char *sentence;      /* of the last run, or how it was healed */
    char run[33];        /* of the last run */
    bool stale;          /* LOAD: the last good version runs */
    bool busy;           /* an operation is under way */
    bool queued;         /* in the queue */
    struct entry *after; /* in the queue */
    int64_t gone_ns;     /* monotonic; 0: it is loaded */
    bool seen;           /* mark of update */
} entry;

struct sm_failures {
    sm_failures_options o;
    sm_map entries;
    entry *first, *last; /* the queue */
    int64_t tokens;      /* events that may go now */
    int64_t filled_ns;   /* monotonic; as of then */
    uv_timer_t pace, gone;
    void (*ready)(void *ctx);
    void *ready_ctx;
    char complaint[SM_ERR_MAX]; /* of the store, logged once */
    bool known;                 /* what is open was read */
    bool closed;
};

static void on_pace(uv_timer_t *timer);

static bool has(const json_t *row, kind k) {
    return sm_json_str(row, kind_names[k], NULL) != NULL;
}

/* A kind in which wish and store differ; KINDS: none. */
static kind to_do(const entry *e) {
    for (int k = 0; k < KINDS; k++)
        if (has(e->row, (kind)k) != (e->want[k] != NULL))
            return (kind)k;
    return KINDS;
}

static void entry_free(entry *e) {
    for (int k = 0; k < KINDS; k++)
        free(e->want[k]);
    json_decref(e->about);
    json_decref(e->row);
    free(e->sentence);
    free(e->id);
    free(e);
}

static void replace(char **at, const char *text) {
    char *copy = text ? sm_strdup(text) : NULL;
    free(*at);
    *at = copy;
}

static entry *find_or_make(sm_failures *f, const char *id) {
    entry *e = sm_map_get(&f->entries, id);
    if (!e) {
        e = sm_calloc(1, sizeof *e);
        e->f = f;
        e->id = sm_strdup(id);
        sm_map_put(&f->entries, id, e);
    }
    return e;
}

static void describe(entry *e, const sm_inspection *p) {
    const char *function = sm_json_str(e->about, "function", p->id);
    int64_t since = sm_json_int(e->row, "since_ns", sm_wall_ns());
    json_t *about = json_pack("{s:s, s:s, s:s, s:s, s:I}", "function", e->row ? function : p->id,
                              "ref_key", p->ref_key, "account", p->account, "title",
                              sm_json_str(p->spec, "title", p->id), "since_ns", (json_int_t)since);
    json_decref(e->about);
    e->about = about;
}

/* ---- the queue ---- */

static void drop_if_done(entry *e) {
    if (e->busy || e->queued || e->row || to_do(e) != KINDS)
        return;
    sm_map_del(&e->f->entries, e->id);
    entry_free(e);
}

static void wake_in(sm_failures *f, uint64_t ms) {
    if (!f->closed)
        uv_timer_start(&f->pace, on_pace, ms, 0);
}

static void look(entry *e) {
    sm_failures *f = e->f;
    if (e->busy || e->queued)
        return;
    if (to_do(e) == KINDS) {
        drop_if_done(e);
        return;
    }
    e->queued = true;
    e->after = NULL;
    if (f->last)
        f->last->after = e;
    else
        f->first = e;
    f->last = e;
    if (!uv_is_active((uv_handle_t *)&f->pace))
        wake_in(f, 0);
}

static void stored(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    entry *e = ctx;
    sm_failures *f = e->f;
    e->busy = false;
    if (rc != SM_OK) {
        if (strcmp(f->complaint, err->msg) != 0)
            sm_log(SM_LOG_ERROR, "that inspections do not run cannot be reported now: %s",
                   err->msg);
        snprintf(f->complaint, sizeof f->complaint, "%s", err->msg);
        look(e);
        wake_in(f, AGAIN_MS);
        return;
    }
    f->complaint[0] = '\0';
    json_t *row = json_object_get(result, "row");
    json_decref(e->row);
    e->row = json_is_object(row) ? json_deep_copy(row) : NULL;
    if (sm_json_bool(result, "accepted", false) && f->o.stored)
        f->o.stored(f->o.ctx);
    look(e);
}

static json_t *report_of(const entry *e, kind k) {
    const json_t *about = e->row ? e->row : e->about;
    const char *account = sm_json_str(about, "account", "default");
    const char *title = sm_json_str(about, "title", e->id);
    sm_view view = {0};
    char run[33];
    if (e->f->o.desks)
        sm_registrar_peek(sm_desks_registrar(e->f->o.desks, account), e->id, &view);
    sm_id_new(sm_wall_ns(), run);
    if (e->run[0])
        memcpy(run, e->run, sizeof run);
    bool bad = e->want[k] != NULL;
    sm_failure_told told = {.function = sm_json_str(about, "function", e->id),
                            .id = e->id,
                            .title = title,
                            .outcome = !bad        ? NULL
                                       : k == LOAD ? "load_error"
                                                   : e->want[k],
                            .sentence = bad && k == LOAD ? e->want[k] : e->sentence,
                            .run = bad && k == RUN ? e->run : "",
                            .stale = e->stale,
                            .since_ns = sm_json_int(about, "since_ns", sm_wall_ns()),
                            .now_ns = sm_wall_ns()};
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:[o]}", "run", run, "id",
                     e->id, "ref_key", sm_json_str(about, "ref_key", ""), "account", account,
                     "node", e->f->o.desks ? sm_desks_node(e->f->o.desks, account) : "local",
                     "checker", view.uuid ? view.uuid : "", "title", title, "attempt", 1,
                     "exec_mode", "crontab", "events", sm_failure_event(&told));
}

/* Takes the next step for an entry: its first kind that differs. */
static void step(entry *e) {
    kind k = to_do(e);
    char what[WHAT_MAX];
    if (k == KINDS) {
        drop_if_done(e);
        return;
    }
    e->f->tokens--;
    snprintf(what, sizeof what, "%s", e->want[k] ? e->want[k] : "");
    json_t *args = json_pack("{s:s, s:s, s:o, s:O, s:o}", "id", e->id, "kind", kind_names[k],
                             "what", e->want[k] ? sm_json_text(what, strlen(what)) : json_null(),
                             "about", e->about, "report", report_of(e, k));
    e->busy = true;
    sm_store_call(e->f->o.store, SM_OP_FAILURE, args, stored, e);
}

static void on_pace(uv_timer_t *timer) {
    sm_failures *f = timer->data;
    int64_t now = sm_mono_ns(), more = (now - f->filled_ns) / (PACE_MS * SM_NS_PER_MS);
    f->filled_ns += more * PACE_MS * SM_NS_PER_MS;
    f->tokens =
        f->tokens + more > SM_FAILURES_PER_MINUTE ? SM_FAILURES_PER_MINUTE : f->tokens + more;
    while (f->first && f->tokens > 0) {
        entry *e = f->first;
        f->first = e->after;
        if (!f->first)
            f->last = NULL;
        e->queued = false;
        step(e);
    }
    if (f->first)
        wake_in(f, PACE_MS);
}

/* ---- runs ---- */

static bool is_fault(const char *outcome) {
    static const char *const faults[] = {"failed", "timeout", "limit", "crashed", "bad_params"};
    for (size_t i = 0; i < SM_ARRAY_LEN(faults); i++)
        if (strcmp(outcome, faults[i]) == 0)
            return true;
    return false;
}

void sm_failures_run(sm_failures *f, const sm_inspection *p, const json_t *report) {
    const char *outcome = sm_json_str(report, "outcome", "");
    const char *trigger = sm_json_str(report, "trigger", "");
    bool by_hand = strcmp(trigger, "manual") == 0 || strcmp(trigger, "once") == 0;
    bool bad = is_fault(outcome), good = strcmp(outcome, "ok") == 0;
    entry *e = sm_map_get(&f->entries, p->id);
    if (!f->o.enabled || (!bad && !good) || (good && !e) || sm_json_bool(report, "override", false))
        return;
    /* A person who tries something out, a fault of our own, a worker that a neighbour may have
     * killed (its next run is alone and will tell): none of these is the inspection's. */
    if (bad && (by_hand || sm_json_bool(report, "blameless", false) ||
                (strcmp(outcome, "crashed") == 0 && sm_json_bool(report, "shared", false))))
        return;
    if (!e)
        e = find_or_make(f, p->id);
    describe(e, p);
    replace(&e->want[RUN], bad ? outcome : NULL);
    replace(&e->sentence, bad ? sm_json_str(report, "error", NULL) : "ran to its end again");
    snprintf(e->run, sizeof e->run, "%s", sm_json_str(report, "run", ""));
    look(e);
}

/* ---- what is loaded ---- */

/* Not the script's fault: the system did not let us look. */
static bool ours(const char *sentence) {
    return strstr(sentence, SM_NO_WORKER) || strstr(sentence, strerror(EMFILE)) ||
           strstr(sentence, strerror(ENFILE)) || strstr(sentence, strerror(ENOMEM)) ||
           strstr(sentence, strerror(EIO));
}

static bool is_disabled(const sm_failures *f, const sm_inspection *p) {
    sm_view view = {0};
    if (f->o.desks)
        sm_registrar_peek(sm_desks_registrar(f->o.desks, p->account), p->id, &view);
    return view.known && view.status != 0;
}

/* p is loaded; error: of its file, or NULL. */
static void loaded(sm_failures *f, const sm_inspection *p, const sm_load_error *error) {
    entry *e = sm_map_get(&f->entries, p->id);
    if (e)
        e->seen = true;
    if (error && ours(error->sentence))
        return; /* nothing was learned */
    if (!e && (!error || is_disabled(f, p)))
        return;
    if (!e)
        e = find_or_make(f, p->id);
    e->seen = true;
    e->gone_ns = 0;
    describe(e, p);
    if (!error && e->want[LOAD])
        replace(&e->sentence, "loads again");
    e->stale = error && error->stale;
    replace(&e->want[LOAD], error ? error->sentence : NULL);
    look(e);
}

/* "demo/x.lua" of "demo/x.run@shop"; malloc'd. */
static char *file_of(const char *id) {
    size_t n = strcspn(id, "@");
    while (n > 0 && id[n - 1] != '.')
        n--;
    return sm_asprintf("%.*s.lua", n > 0 ? (int)n - 1 : 0, id);
}

static void close_entry(entry *e, const char *how) {
    for (int k = 0; k < KINDS; k++)
        replace(&e->want[k], NULL);
    replace(&e->sentence, how);
    e->run[0] = '\0';
    look(e);
}

static void on_gone(uv_timer_t *timer) {
    sm_failures *f = timer->data;
    size_t pos = 0;
    int64_t now = sm_mono_ns();
    bool more = false;
    for (entry *e; (e = sm_map_next(&f->entries, &pos, NULL));) {
        if (!e->gone_ns)
            continue;
        if (now - e->gone_ns >= GONE_MS * SM_NS_PER_MS)
            close_entry(e, "was removed");
        else
            more = true;
    }
    if (more && !f->closed)
        uv_timer_start(&f->gone, on_gone, 1000, 0);
}

/* The inspection has another id under the same key: the fault goes with it. */
static void move(sm_failures *f, entry *e, const sm_inspection *p) {
    entry *other = sm_map_get(&f->entries, p->id);
    if (!other) {
        other = find_or_make(f, p->id);
        other->row = json_incref(e->row);
        replace(&other->want[RUN], e->want[RUN]);
        describe(other, p);
        json_object_set(other->about, "function", json_object_get(e->row, "function"));
    }
    sm_store_call(f->o.store, SM_OP_FAILURE_MOVE,
                  json_pack("{s:s, s:s}", "from", e->id, "to", p->id), NULL, NULL);
    json_decref(e->row);
    e->row = NULL;
    for (int k = 0; k < KINDS; k++)
        replace(&e->want[k], NULL);
}

void sm_failures_update(sm_failures *f, sm_inspection *const *list, size_t n,
                        const sm_load_error *errors, size_t n_errors) {
    sm_map by_file, by_key;
    size_t pos = 0;
    if (!f->known || !f->o.enabled)
        return;
    sm_map_init(&by_file);
    sm_map_init(&by_key);
    for (size_t i = 0; i < n_errors; i++)
        if (!sm_map_get(&by_file, errors[i].file))
            sm_map_put(&by_file, errors[i].file, (void *)(uintptr_t)&errors[i]);
    for (entry *e; (e = sm_map_next(&f->entries, &pos, NULL));)
        e->seen = false;
    for (size_t i = 0; f->entries.len > 0 && i < n; i++)
        sm_map_put(&by_key, list[i]->ref_key, list[i]);
    /* Renamed ones first, so that what is loaded finds its fault. */
    entry **moved = sm_calloc(f->entries.len + 1, sizeof(entry *));
    size_t n_moved = 0;
    pos = 0;
    for (entry *e; (e = sm_map_next(&f->entries, &pos, NULL));) {
        const sm_inspection *p = sm_map_get(&by_key, sm_json_str(e->row, "ref_key", ""));
        if (p && strcmp(p->id, e->id) != 0 && !e->busy)
            moved[n_moved++] = e;
    }
    for (size_t i = 0; i < n_moved; i++) {
        move(f, moved[i], sm_map_get(&by_key, sm_json_str(moved[i]->row, "ref_key", "")));
        drop_if_done(moved[i]);
    }
    free(moved);
    for (size_t i = 0; i < n; i++) {
        const sm_load_error *error = sm_map_get(&by_file, list[i]->source->file);
        loaded(f, list[i], error && error->stale ? error : NULL);
    }
    bool gone = false;
    pos = 0;
    for (entry *e; (e = sm_map_next(&f->entries, &pos, NULL));) {
        char *file = file_of(e->id);
        bool kept = e->seen || sm_map_get(&by_file, file) || sm_map_get(&by_file, "");
        free(file);
        if (kept)
            e->gone_ns = 0;
        else if (!e->gone_ns)
            e->gone_ns = sm_mono_ns();
        gone = gone || e->gone_ns;
    }
    if (gone && !uv_is_active((uv_handle_t *)&f->gone) && !f->closed)
        uv_timer_start(&f->gone, on_gone, 1000, 0);
    sm_map_fini(&by_file);
    sm_map_fini(&by_key);
}

/* ---- life ---- */

static void close_all(sm_failures *f) {
    size_t pos = 0;
    for (entry *e; (e = sm_map_next(&f->entries, &pos, NULL));)
        close_entry(e, "is not watched any more (report_failures is off)");
}

static void read_rows(void *ctx, sm_rc rc, const sm_err *err, const json_t *rows) {
    sm_failures *f = ctx;
    const char *key;
    json_t *row;
    if (rc != SM_OK)
        sm_log(SM_LOG_ERROR, "which inspections did not run could not be read: %s", err->msg);
    f->known = rc == SM_OK;
    json_object_foreach((json_t *)(uintptr_t)rows, key, row) {
        entry *e = find_or_make(f, key + strlen(SM_FAILURE_PREFIX));
        e->row = json_deep_copy(row);
        e->about = json_deep_copy(row);
        for (int k = 0; k < KINDS; k++)
            replace(&e->want[k], sm_json_str(row, kind_names[k], NULL));
    }
    if (!f->o.enabled)
        close_all(f);
    f->ready(f->ready_ctx);
}

void sm_failures_load(sm_failures *f, void (*ready)(void *ctx), void *ctx) {
    f->ready = ready;
    f->ready_ctx = ctx;
    sm_store_call(f->o.store, SM_OP_KV_LIST, json_pack("{s:s}", "prefix", SM_FAILURE_PREFIX),
                  read_rows, f);
}

void sm_failures_enable(sm_failures *f, bool enabled) {
    if (f->o.enabled && !enabled)
        close_all(f);
    f->o.enabled = enabled;
}

size_t sm_failures_open(const sm_failures *f) {
    size_t pos = 0, n = 0;
    for (const entry *e; (e = sm_map_next(&f->entries, &pos, NULL));)
        n += e->want[RUN] || e->want[LOAD];
    return n;
}

sm_failures *sm_failures_new(const sm_failures_options *opt) {
    sm_failures *f = sm_calloc(1, sizeof *f);
    f->o = *opt;
    f->tokens = SM_FAILURES_PER_MINUTE;
    f->filled_ns = sm_mono_ns();
    sm_map_init(&f->entries);
    uv_timer_init(opt->loop, &f->pace);
    uv_timer_init(opt->loop, &f->gone);
    f->pace.data = f->gone.data = f;
    return f;
}

void sm_failures_close(sm_failures *f) {
    if (!f || f->closed)
        return;
    f->closed = true;
    uv_close((uv_handle_t *)&f->pace, NULL);
    uv_close((uv_handle_t *)&f->gone, NULL);
}

void sm_failures_free(sm_failures *f) {
    if (!f)
        return;
    size_t pos = 0;
    for (entry *e; (e = sm_map_next(&f->entries, &pos, NULL));)
        entry_free(e);
    sm_map_fini(&f->entries);
    free(f);
}
