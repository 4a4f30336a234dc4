/* intake: from a worker's `report` frame to the durable event and its acknowledgement (intake.h).
 *
 * The order that the promise rests on: checked -> ids given -> one transaction (event and outbox
 * row)
 * -> committed -> ack. Nothing is acknowledged from memory.
 */
#include "daemon/intake.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/str.h"
#include "platform/event.h"
#include <stdlib.h>
#include <string.h>

typedef struct announced {
    sm_inspection *inspection;
    char run_id[33];
    char *checker;
    int attempt;
    const char *exec_mode; /* static: how the platform calls the trigger */
    int offered;           /* events that came, for the ceiling */
    int under_way;         /* accepts not yet committed */
    int worst_rank;        /* -1: none */
    sm_intake_run seen;
    json_t *kept;
    void (*closed)(void *ctx, const sm_intake_run *run);
    void *closed_ctx;
} announced;

struct sm_intake {
    sm_store *store;
    char *node;
    const char *(*node_of)(void *desks, const char *account); /* or NULL */
    void *desks;
    sm_dispatcher *dispatcher;
    void (*stored)(void *ctx);
    void *ctx;
    sm_windows *windows; /* borrowed */
    sm_map runs;         /* run id -> announced */
};

typedef struct acceptance { /* one report on its way to the disk */
    sm_intake *intake;
    announced *run;
    int64_t seq;
    json_t *ids;
    json_t *events;
} acceptance;

static void announced_free(announced *a) {
    sm_inspection_unref(a->inspection);
    json_decref(a->kept);
    free(a->checker);
    free(a);
}

static void maybe_closed(sm_intake *i, announced *a) {
    if (!a->closed || a->under_way)
        return;
    sm_map_del(&i->runs, a->run_id);
    a->seen.kept = a->kept;
    a->closed(a->closed_ctx, &a->seen);
    announced_free(a);
}

/* Remembers what was accepted: count, worst status and its title. */
static void note_accepted(announced *a, const json_t *events) {
    size_t n;
    json_t *event;
    json_array_foreach(events, n, event) {
        int rank = sm_event_status_rank(sm_json_str(event, "status", ""));
        a->seen.events++;
        if (rank > a->worst_rank) {
            a->worst_rank = rank;
            a->seen.worst = sm_event_status_name(rank);
            const char *title = sm_json_str(event, "title", "");
            size_t cut = sm_utf8_cut(title, strlen(title), sizeof a->seen.headline - 1);
            memcpy(a->seen.headline, title, cut);
            a->seen.headline[cut] = '\0';
        }
    }
}

static void committed(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    (void)result;
    acceptance *job = ctx;
    announced *a = job->run;
    if (rc == SM_OK)
        note_accepted(a, job->events);
    else
        a->seen.refused = true;
    sm_dispatcher_answer(job->intake->dispatcher, a->run_id, job->seq,
                         rc == SM_OK ? job->ids : NULL, rc == SM_OK ? NULL : err->msg);
    a->under_way--;
    if (rc == SM_OK && job->intake->stored)
        job->intake->stored(job->intake->ctx);
    maybe_closed(job->intake, a);
    json_decref(job->ids);
    json_decref(job->events);
    free(job);
}

/* Checks every event and gives it its id. *out: array ready for the store. */
static sm_rc prepare(announced *a, const json_t *events, json_t **out, json_t *ids, sm_err *err) {
    sm_rc rc = SM_OK;
    json_t *ready = json_array();
    int64_t now = sm_wall_ns();
    int64_t most = sm_json_int(a->inspection->limits, "events", SM_EVENT_PER_RUN);
    size_t n = json_array_size(events);
    *out = NULL;
    if (!json_is_array(events) || a->offered + (int64_t)n > most) {
        rc =
            sm_err_set(err, SM_LIMIT, "at most %lld events a run (limits.events)", (long long)most);
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        json_t *event = NULL;
        char id[33], event_id[40];
        rc = sm_event_check_json(json_array_get(events, i), (int)i + 1, &event, NULL, err);
        if (rc != SM_OK)
            goto out;
        sm_id_new(now, id);
        snprintf(event_id, sizeof event_id, "event-%s", id);
        char *dimension = sm_event_dimension(json_object_get(event, "dimension_tags"));
        json_object_set_new(event, "event_id", json_string(event_id));
        json_object_set_new(event, "at_ns", json_integer(now));
        json_object_set_new(event, "dimension", json_string(dimension));
        free(dimension);
        json_array_append_new(ready, event);
        json_array_append_new(ids, json_string(event_id));
    }
    a->offered += (int)n;
    *out = ready;
    ready = NULL;
out:
    json_decref(ready);
    return rc;
}

static const char *mode_of(const char *trigger) {
    bool by_hand = strcmp(trigger, "once") == 0 || strcmp(trigger, "manual") == 0;
    return by_hand ? "manual" : "crontab";
}

static void add_policy(sm_intake *i, const sm_inspection *p, const char *mode, json_t *args) {
    json_t *policy = json_object_get(p->spec, "events");
    const char *hold =
        i->windows ? sm_windows_hold(i->windows, p->id, sm_wall_ns() / SM_NS_PER_S) : NULL;
    json_object_set_new(args, "ref_key", json_string(p->ref_key));
    json_object_set_new(args, "title", json_string(sm_json_str(p->spec, "title", "")));
    json_object_set_new(args, "exec_mode", json_string(mode));
    if (policy)
        json_object_set(args, "policy", policy);
    if (hold)
        json_object_set_new(args, "hold", sm_json_text(hold, strlen(hold)));
}

void sm_intake_policy(sm_intake *i, const sm_inspection *p, const char *trigger, json_t *args) {
    add_policy(i, p, mode_of(trigger), args);
}

void sm_intake_poke(const sm_intake *i) {
    if (i->stored)
        i->stored(i->ctx);
}

void sm_intake_windows(sm_intake *i, sm_windows *windows) {
    i->windows = windows;
}

void sm_intake_report(void *intake, const char *run_id, int64_t seq, const json_t *events) {
    sm_intake *i = intake;
    announced *a = sm_map_get(&i->runs, run_id);
    json_t *ready = NULL, *ids = json_array();
    sm_err err = SM_ERR_INIT;
    if (!a || a->closed) {
        sm_dispatcher_answer(i->dispatcher, run_id, seq, NULL, "this run has ended");
        goto out;
    }
    if (prepare(a, events, &ready, ids, &err) != SM_OK) {
        sm_dispatcher_answer(i->dispatcher, run_id, seq, NULL, err.msg);
        goto out;
    }
    if (!i->store) {
        note_accepted(a, ready);
        json_array_extend(a->kept, ready);
        sm_dispatcher_answer(i->dispatcher, run_id, seq, ids, NULL);
        goto out;
    }
    acceptance *job = sm_calloc(1, sizeof *job);
    *job = (acceptance){.intake = i,
                        .run = a,
                        .seq = seq,
                        .ids = json_incref(ids),
                        .events = json_deep_copy(ready)};
    a->under_way++;
    const sm_inspection *p = a->inspection;
    const char *node = i->node_of ? i->node_of(i->desks, p->account) : i->node;
    json_t *args = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:o}", "run", a->run_id, "id", p->id,
                             "account", p->account, "node", node, "checker", a->checker, "attempt",
                             a->attempt, "events", ready);
    add_policy(i, p, a->exec_mode, args);
    ready = NULL;
    sm_store_call(i->store, SM_OP_EVENTS_ACCEPT, args, committed, job);
out:
    json_decref(ready);
    json_decref(ids);
}

void sm_intake_open(sm_intake *i, const char *run_id, sm_inspection *inspection,
                    const char *checker, int attempt, const char *trigger) {
    announced *a = sm_calloc(1, sizeof *a);
    a->inspection = sm_inspection_ref(inspection);
    snprintf(a->run_id, sizeof a->run_id, "%s", run_id);
    a->checker = sm_strdup(checker ? checker : "");
    a->attempt = attempt;
    a->exec_mode = mode_of(trigger);
    a->worst_rank = -1;
    a->kept = i->store ? NULL : json_array();
    sm_map_put(&i->runs, run_id, a);
}

void sm_intake_close(sm_intake *i, const char *run_id,
                     void (*closed)(void *ctx, const sm_intake_run *run), void *ctx) {
    announced *a = sm_map_get(&i->runs, run_id);
    if (!a) {
        sm_intake_run nothing = {0};
        closed(ctx, &nothing);
        return;
    }
    a->closed = closed;
    a->closed_ctx = ctx;
    maybe_closed(i, a);
}

void sm_intake_nodes(sm_intake *i, const char *(*node_of)(void *desks, const char *account),
                     void *desks) {
    i->node_of = node_of;
    i->desks = desks;
}

void sm_intake_bind(sm_intake *i, sm_dispatcher *d) {
    i->dispatcher = d;
}

sm_intake *sm_intake_new(sm_store *store, const char *node, void (*stored)(void *ctx), void *ctx) {
    sm_intake *i = sm_calloc(1, sizeof *i);
    i->store = store;
    i->node = sm_strdup(node);
    i->stored = stored;
    i->ctx = ctx;
    sm_map_init(&i->runs);
    return i;
}

void sm_intake_free(sm_intake *i) {
    if (!i)
        return;
    size_t pos = 0;
    for (announced *a; (a = sm_map_next(&i->runs, &pos, NULL));)
        announced_free(a);
    sm_map_fini(&i->runs);
    free(i->node);
    free(i);
}
