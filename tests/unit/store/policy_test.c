/* The event policy: decisions of the pure machine, and random histories of reports, runs,
 * deliveries, refusals, mutes and restarts through the store, held to what must always be true. */
#include "store_help.h"

#include "store/policy.h"

/* ---- decisions ---- */

typedef struct word {
    char kind; /* e: reported; a: absent at the end of a complete run */
    int rank;
    int64_t at_s;
    const char *want; /* rule; upper case S before it: sent */
} word;

typedef struct history {
    const char *name, *policy; /* JSON with ' for " */
    word words[10];
} history;

static const history histories[] = {
    {"nothing declared: as reported",
     "{}",
     {{'e', 2, 0, "S as_reported"},
      {'e', 2, 1, "S as_reported"},
      {'e', 0, 2, "S as_reported"},
      {'e', 0, 3, "S as_reported"}}},
    {"on_change: once a change, recovery after a problem only",
     "{'on_change': true}",
     {{'e', 0, 0, "nothing_to_recover"},
      {'e', 2, 1, "S new"},
      {'e', 2, 2, "unchanged"},
      {'e', 4, 3, "S changed"},
      {'e', 0, 4, "S recovered"},
      {'e', 0, 5, "nothing_to_recover"}}},
    {"recover alone: problems as reported, the silence of a complete run ends them",
     "{'recover': true}",
     {{'e', 3, 0, "S new"},
      {'e', 3, 1, "S as_reported"},
      {'a', 0, 2, "S recovered"},
      {'a', 0, 3, "nothing_to_recover"}}},
    {"confirm: three bad runs, two good ones",
     "{'on_change': true, 'recover': true, 'confirm': {'fail': 3, 'ok': 2}}",
     {{'e', 2, 0, "confirm"},
      {'e', 2, 1, "confirm"},
      {'e', 2, 2, "S new"},
      {'a', 0, 3, "confirm"},
      {'e', 2, 4, "unchanged"},
      {'a', 0, 5, "confirm"},
      {'a', 0, 6, "S recovered"},
      {'e', 2, 7, "confirm"}}},
    {"confirm begins anew after a good run",
     "{'confirm': {'fail': 2}, 'recover': true}",
     {{'e', 2, 0, "confirm"},
      {'a', 0, 1, "nothing_to_recover"},
      {'e', 2, 2, "confirm"},
      {'e', 2, 3, "S new"}}},
    {"remind while it is bad",
     "{'remind': '10m'}",
     {{'e', 2, 0, "S new"},
      {'e', 2, 599, "unchanged"},
      {'e', 2, 600, "S reminder"},
      {'e', 2, 700, "unchanged"},
      {'e', 0, 701, "S recovered"}}},
};

static void decisions(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(histories); i++) {
        sm_policy p;
        sm_err err = SM_ERR_INIT;
        json_t *spec = parse(histories[i].policy);
        assert_int_equal(sm_policy_read(spec, &p, &err), SM_OK);
        sm_dim d = {.sent = SM_DIM_NONE, .delivered = SM_DIM_NONE};
        for (const word *w = histories[i].words; w < histories[i].words + 10 && w->want; w++) {
            sm_decision x;
            d.counted = false;
            if (w->kind == 'e')
                sm_policy_event(&p, &d, w->rank, w->at_s * 1000000000LL, (sm_room){true, true},
                                false, &x);
            else
                (void)sm_policy_absent(&p, &d, w->at_s * 1000000000LL, false, &x);
            bool sent = w->want[0] == 'S';
            if (x.send != sent || strcmp(x.rule, w->want + (sent ? 2 : 0)) != 0)
                fail_msg("%s, word %d: got %s%s, expected %s", histories[i].name,
                         (int)(w - histories[i].words), x.send ? "S " : "", x.rule, w->want);
        }
        json_decref(spec);
    }
}

static void one_run_counts_once(void **state) {
    (void)state;
    sm_policy p = {.given = true, .confirm_fail = 2, .confirm_ok = 1};
    sm_dim d = {.sent = SM_DIM_NONE, .delivered = SM_DIM_NONE};
    sm_decision x;
    for (int i = 0; i < 3; i++)
        sm_policy_event(&p, &d, 2, 1, (sm_room){true, true}, false, &x);
    assert_false(x.send);
    assert_int_equal(x.count, 1);
    assert_int_equal(x.of, 2);
}

static void policies_are_read(void **state) {
    (void)state;
    sm_policy p;
    sm_err err = SM_ERR_INIT;
    json_t *spec = parse("{'max_events': {'1': 50, 'per': '10m'}, 'max_dimensions': 7}");
    assert_int_equal(sm_policy_read(spec, &p, &err), SM_OK);
    assert_int_equal(p.max_events, 50);
    assert_int_equal(p.per_ns, 600 * 1000000000LL);
    assert_int_equal(p.max_dimensions, 7);
    assert_int_equal(p.confirm_fail, 1);
    json_decref(spec);
    spec = parse("{'remind': 'soon'}");
    assert_int_equal(sm_policy_read(spec, &p, &err), SM_INVALID);
    assert_non_null(strstr(err.msg, "events.remind"));
    json_decref(spec);
}

/* ---- random histories ---- */

#ifdef SM_SANITIZED
enum { SEQUENCES = 100 };
#else
enum { SEQUENCES = 1000 };
#endif
enum { DIMS = 3, STEPS_MAX = 60 };

typedef struct model {
    unsigned seed;
    int number;
    place at;
    sm_store *s;
    const char *policy;
    int64_t now; /* seconds */
    int runs, events;
    int raw[DIMS];       /* what the last complete word about it was */
    bool reported[DIMS]; /* in the present run */
    bool reported_ok[DIMS];
    int delivered[DIMS]; /* newest delivered: 0, 2, or -1 */
    int out;             /* problems or recoveries delivered */
    bool muted;
    bool lossy; /* something was refused: the last word may not be told */
} model;

static unsigned roll(model *m, unsigned n) {
    m->seed = m->seed * 1103515245u + 12345u;
    return (m->seed >> 16) % n;
}

static json_t *head(model *m, const char *run) {
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:o}", "run", run, "id", "a.run", "ref_key",
                     "k1", "account", "default", "node", "local", "checker", "rul_1", "title",
                     "Title", "attempt", 1, "policy", parse(m->policy));
}

static void report(model *m, const char *run, int dim, const char *status) {
    char id[40], dimension[24];
    snprintf(id, sizeof id, "event-%d", m->events++);
    snprintf(dimension, sizeof dimension, "{\"d\":\"%d\"}", dim);
    json_t *event = one_event(id, m->now * 1000000000LL, dimension, "m");
    json_object_set_new(event, "status", json_string(status));
    json_t *args = head(m, run);
    json_object_set_new(args, "events", json_pack("[o]", event));
    json_decref(call_json(m->s, SM_OP_EVENTS_ACCEPT, args));
}

/* A run reports some dimensions and ends; an `ok` end ends the others. */
static void run_once(model *m, bool complete) {
    char run[24];
    snprintf(run, sizeof run, "r%d", m->runs++);
    bool spoken[DIMS] = {false};
    for (int d = 0; d < DIMS; d++) {
        unsigned what = roll(m, 5);
        if (what < 2) {
            report(m, run, d, "warning");
            m->raw[d] = 2;
            spoken[d] = true;
        } else if (what == 2 && complete) {
            report(m, run, d, "ok");
            m->raw[d] = 0;
            spoken[d] = true;
        }
    }
    json_t *args = head(m, run);
    json_object_set_new(args, "trigger", json_string("schedule"));
    json_object_set_new(args, "outcome", json_string(complete ? "ok" : "failed"));
    json_object_set_new(args, "finished_ns", json_integer(m->now * 1000000000LL));
    json_decref(call_json(m->s, SM_OP_RUN_FINISH, args));
    for (int d = 0; d < DIMS && complete; d++)
        if (!spoken[d])
            m->raw[d] = 0;
}

/* Takes a batch; each event is delivered, put back or refused. */
static void deliver(model *m, bool all) {
    json_t *rows = call_json(m->s, SM_OP_OUTBOX_CLAIM,
                             json_pack("{s:I,s:i}", "now_ms", (json_int_t)(m->now * 1000), "limit",
                                       all ? 1000 : 1 + (int)roll(m, 3)));
    size_t i;
    json_t *row;
    bool stopped[DIMS] = {false};
    json_t *withdrawn = json_array();
    json_array_foreach(rows, i, row) {
        size_t k;
        json_t *gone;
        bool skip = false;
        json_array_foreach(withdrawn, k, gone) skip =
            skip || json_equal(gone, json_object_get(row, "event_id"));
        if (skip)
            continue;
        const json_t *event = json_object_get(json_object_get(row, "payload"), "event");
        const char *id = sm_json_str(row, "event_id", "");
        int dim = sm_json_str(event, "dimension", "")[6] - '0';
        int rank = strcmp(sm_json_str(event, "status", ""), "ok") == 0 ? 0 : 2;
        unsigned what = all ? 9 : roll(m, 10);
        if (what == 0 || stopped[dim]) {
            stopped[dim] = true; /* what comes behind it in its dimension was put back with it */
            json_decref(call_json(m->s, SM_OP_OUTBOX_RETRY,
                                  json_pack("{s:[s],s:i,s:s,s:i}", "ids", id, "next_ms", 0,
                                            "reason", "x", "at_ns", 1)));
        } else if (what == 1) {
            m->lossy = true;
            json_t *answer =
                call_json(m->s, SM_OP_OUTBOX_REFUSE,
                          json_pack("{s:[s],s:s,s:i}", "ids", id, "reason", "x", "at_ns", 1));
            json_array_extend(withdrawn, json_object_get(answer, "withdrawn"));
            json_decref(answer);
        } else {
            if (rank == 0 && m->delivered[dim] != 2)
                fail_msg("sequence %d: an ok without a delivered problem (dimension %d)", m->number,
                         dim);
            if (rank == 2 && m->delivered[dim] == 2 && !m->lossy)
                fail_msg("sequence %d: a problem twice without an ok between (dimension %d)",
                         m->number, dim);
            m->delivered[dim] = rank;
            m->out++;
            json_decref(call_json(m->s, SM_OP_OUTBOX_DONE,
                                  json_pack("{s:[s],s:i}", "ids", id, "at_ns", 1)));
        }
    }
    json_decref(withdrawn);
    json_decref(rows);
}

static void mute(model *m, bool on) {
    if (on)
        json_decref(call_json(m->s, SM_OP_MUTE,
                              json_pack("{s:s,s:I,s:s,s:i}", "id", "a.*", "until_ns",
                                        (json_int_t)(m->now + 100000) * 1000000000LL, "reason",
                                        "test", "at_ns", 1)));
    else
        json_decref(call_json(m->s, SM_OP_UNMUTE, json_pack("{s:s}", "id", "a.*")));
    m->muted = on;
    json_decref(
        call_json(m->s, SM_OP_RECONCILE,
                  json_pack("{s:I,s:[]}", "now_ns", (json_int_t)m->now * 1000000000LL, "holding")));
}

static void reopen(model *m) {
    sm_store_close(m->s);
    m->s = open_plain(m->at.path);
}

static void sequence(int number, unsigned seed, const char *policy, int *out) {
    model m = {
        .number = number, .seed = seed, .policy = policy, .now = 1000, .delivered = {-1, -1, -1}};
    place_make_in(&m.at, "/dev/shm");
    m.s = open_plain(m.at.path);
    int steps = 5 + (int)roll(&m, STEPS_MAX);
    for (int i = 0; i < steps; i++) {
        unsigned what = roll(&m, 20);
        m.now += 60;
        if (what < 9)
            run_once(&m, roll(&m, 4) > 0);
        else if (what < 17)
            deliver(&m, false);
        else if (what == 17)
            mute(&m, !m.muted);
        else if (what == 18 && i % 3 == 0)
            reopen(&m);
    }
    /* Peace: nothing is muted, two complete runs say the same, everything is delivered. */
    if (m.muted)
        mute(&m, false);
    m.now += 60;
    deliver(&m, true);
    bool was_lossy = m.lossy;
    m.lossy = true;
    for (int i = 0; i < 3; i++) {
        m.now += 60;
        char run[24];
        snprintf(run, sizeof run, "p%d", i);
        report(&m, run, 0, "warning");
        json_t *args = head(&m, run);
        json_object_set_new(args, "trigger", json_string("schedule"));
        json_object_set_new(args, "outcome", json_string("ok"));
        json_object_set_new(args, "finished_ns", json_integer(m.now * 1000000000LL));
        json_decref(call_json(m.s, SM_OP_RUN_FINISH, args));
        m.lossy = was_lossy;
        deliver(&m, true);
    }
    /* None lost: what was delivered last is what is. (A recovery that was refused is given up.) */
    if (m.delivered[0] != 2)
        fail_msg("seed %u: the problem of dimension 0 was not delivered", seed);
    for (int d = 1; d < DIMS && !was_lossy; d++)
        if (m.delivered[d] == 2)
            fail_msg("seed %u: the recovery of dimension %d was lost", seed, d);
    *out += m.out;
    sm_store_close(m.s);
    expect_intact(m.at.path);
    place_drop(&m.at);
}

static void random_histories(void **state) {
    (void)state;
    static const char *const policies[] = {
        "{'recover': true, 'on_change': true}",
        "{'recover': true, 'on_change': true, 'confirm': {'fail': 2, 'ok': 2}}",
        "{'recover': true, 'on_change': true, 'confirm': {'fail': 3}}",
    };
    int out = 0;
    unsigned sequences = getenv("SELFMON_TEST_LONG") ? 5 * SEQUENCES : SEQUENCES;
    for (unsigned seed = 1; seed <= sequences; seed++)
        sequence((int)seed, seed * 2654435761u, policies[seed % SM_ARRAY_LEN(policies)], &out);
    print_message("# %u random histories, %d deliveries\n", sequences, out);
    assert_true(out > 2 * SEQUENCES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decisions),
        cmocka_unit_test(one_run_counts_once),
        cmocka_unit_test(policies_are_read),
        cmocka_unit_test(random_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
