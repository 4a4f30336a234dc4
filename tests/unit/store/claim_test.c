/* Order and fairness of claims against a small model, with random sequences. SM_TEST_SEED repeats
 * one of them. */
#include "store_help.h"

#include "base/rand.h"

enum { IDS = 4, DIMS = 3, STEPS = 400, ROWS_MAX = 4000 };

typedef enum state { PENDING, INFLIGHT, HELD, REFUSED, GONE } state;

typedef struct row {
    char event_id[16], dim[8];
    int id, account;
    state state;
    int64_t due;
    bool now; /* in the present claim */
} row;

typedef struct model {
    row rows[ROWS_MAX]; /* in order of acceptance */
    int n;
    uint64_t random;
} model;

static int pick(model *m, int n) {
    m->random = m->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int)((m->random >> 33) % (uint64_t)n);
}

static bool unfinished(const row *r) {
    return r->state == PENDING || r->state == INFLIGHT || r->state == HELD;
}

/* The nearest unfinished row before i in its dimension; -1 when there is none. */
static int before(const model *m, int i) {
    for (int k = i - 1; k >= 0; k--) {
        if (m->rows[k].id == m->rows[i].id && strcmp(m->rows[k].dim, m->rows[i].dim) == 0 &&
            unfinished(&m->rows[k]))
            return k;
    }
    return -1;
}

/* May row i go, given what goes already? */
static bool may_go(const model *m, int i, int64_t now, int account) {
    const row *r = &m->rows[i];
    if ((r->state != PENDING && r->state != HELD) || r->due > now || r->now ||
        (account >= 0 && r->account != account))
        return false;
    int k = before(m, i);
    return k < 0 || m->rows[k].now;
}

static row *find(model *m, const char *event_id) {
    for (int i = 0; i < m->n; i++) {
        if (strcmp(m->rows[i].event_id, event_id) == 0)
            return &m->rows[i];
    }
    fail_msg("unknown event %s", event_id);
    return NULL;
}

static void accept(sm_store *s, model *m) {
    int id = pick(m, 3) == 0 ? 0 : pick(m, IDS), n = 1 + pick(m, 5); /* inspection 0 is chatty */
    int account = id % 2;
    char name[16];
    snprintf(name, sizeof name, "i/%d.run", id);
    json_t *events = json_array();
    for (int i = 0; i < n && m->n < ROWS_MAX; i++) {
        row *r = &m->rows[m->n++];
        *r = (row){.id = id, .account = account};
        snprintf(r->event_id, sizeof r->event_id, "e%d", m->n);
        snprintf(r->dim, sizeof r->dim, "d%d", pick(m, DIMS));
        json_array_append_new(events, one_event(r->event_id, m->n, r->dim, "m"));
    }
    json_t *report = report_of(name, events);
    json_object_set_new(report, "account", json_string(account == 0 ? "A" : "B"));
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report));
}

static void check_fair(const model *m, int64_t now, int account) {
    int got[IDS] = {0};
    bool more[IDS] = {false};
    for (int i = 0; i < m->n; i++) {
        got[m->rows[i].id] += m->rows[i].now;
        more[m->rows[i].id] = more[m->rows[i].id] || may_go(m, i, now, account);
    }
    for (int a = 0; a < IDS; a++) {
        for (int b = 0; b < IDS; b++) {
            if (more[a] && got[b] > got[a] + 1)
                fail_msg("inspection %d got %d, %d got %d and had more", b, got[b], a, got[a]);
        }
    }
}

static void claim(sm_store *s, model *m, int64_t now) {
    int limit = 1 + pick(m, 12), account = pick(m, 3) - 1;
    json_t *args =
        json_pack("{s:I,s:i,s:i}", "now_ms", (json_int_t)now, "limit", limit, "bytes", 1 << 20);
    if (account >= 0)
        json_object_set_new(args, "account", json_string(account == 0 ? "A" : "B"));
    json_t *got = call_json(s, SM_OP_OUTBOX_CLAIM, args);
    const row *last = NULL;
    for (size_t i = 0; i < json_array_size(got); i++) {
        row *r = find(m, sm_json_str(json_array_get(got, i), "event_id", ""));
        if (last != NULL && r <= last)
            fail_msg("%s comes after %s", r->event_id, last->event_id);
        if (!may_go(m, (int)(r - m->rows), now, account))
            fail_msg("%s must not go (state %d, due %d, now %d)", r->event_id, (int)r->state,
                     (int)r->due, (int)now);
        r->now = true;
        last = r;
    }
    assert_true(json_array_size(got) <= (size_t)limit);
    if (json_array_size(got) < (size_t)limit) {
        for (int i = 0; i < m->n; i++) {
            if (may_go(m, i, now, account))
                fail_msg("%s was left out of a claim with room", m->rows[i].event_id);
        }
    }
    check_fair(m, now, account);
    for (int i = 0; i < m->n; i++) {
        if (m->rows[i].now)
            m->rows[i].state = INFLIGHT;
        m->rows[i].now = false;
    }
    json_decref(got);
}

static void settle(sm_store *s, model *m, int64_t now) {
    static const sm_store_op ops[] = {SM_OP_OUTBOX_DONE, SM_OP_OUTBOX_DONE, SM_OP_OUTBOX_RETRY,
                                      SM_OP_OUTBOX_HOLD, SM_OP_OUTBOX_REFUSE};
    static const state to[] = {GONE, GONE, PENDING, HELD, REFUSED};
    int k = pick(m, 5), want = 1 + pick(m, 10);
    int64_t due = now + pick(m, 5);
    json_t *ids = json_array();
    for (int i = 0; i < m->n && want > 0; i++) {
        /* Mostly what is inflight; now and then a refused one is sent again by hand. */
        bool again = to[k] == PENDING && m->rows[i].state == REFUSED && pick(m, 4) == 0;
        if ((m->rows[i].state != INFLIGHT && !again) || pick(m, 3) == 0)
            continue;
        m->rows[i].state = to[k];
        m->rows[i].due = due;
        json_array_append_new(ids, json_string(m->rows[i].event_id));
        want--;
    }
    json_decref(call_json(s, ops[k],
                          json_pack("{s:o,s:I,s:s,s:i}", "ids", ids, "next_ms", (json_int_t)due,
                                    "reason", "x", "at_ns", 1)));
}

static void check_stats(sm_store *s, const model *m) {
    static const char *const names[] = {"pending", "inflight", "held", "refused"};
    json_t *stats = call(s, SM_OP_OUTBOX_STATS, NULL);
    for (int k = PENDING; k <= REFUSED; k++) {
        int n = 0;
        for (int i = 0; i < m->n; i++)
            n += (int)m->rows[i].state == k;
        if (sm_json_int(stats, names[k], -1) != n)
            fail_msg("%s: %d rows, the store says %d", names[k], n,
                     (int)sm_json_int(stats, names[k], -1));
    }
    json_decref(stats);
}

static void random_sequence(uint64_t seed) {
    place at;
    place_make(&at);
    model *m = calloc(1, sizeof *m);
    m->random = seed;
    print_message("  seed %llu\n", (unsigned long long)seed);
    sm_store *s = open_plain(at.path);
    int64_t now = 1000;
    for (int i = 0; i < STEPS; i++) {
        now += pick(m, 3);
        switch (pick(m, 8)) {
        case 0:
        case 1:
            accept(s, m);
            break;
        case 2:
        case 3:
        case 4:
            claim(s, m, now);
            break;
        default:
            settle(s, m, now);
        }
        if (i % 100 == 50)
            check_stats(s, m);
        if (i % 150 == 149) {
            sm_store_close(s);
            s = open_plain(at.path);
            for (int k = 0; k < m->n; k++) {
                m->rows[k].due = 0;
                if (m->rows[k].state == INFLIGHT)
                    m->rows[k].state = PENDING;
            }
            check_stats(s, m);
        }
    }
    sm_store_close(s);
    /* One head per dimension: its oldest unfinished row. */
    assert_int_equal(peek(at.path, "SELECT count(*) FROM outbox o WHERE state <> 'refused' AND "
                                   "head <> (seq = (SELECT min(seq) FROM outbox p WHERE "
                                   "p.dim = o.dim AND p.state <> 'refused'))"),
                     0);
    expect_intact(at.path);
    free(m);
    place_drop(&at);
}

static void claims_follow_the_model(void **unused) {
    (void)unused;
    const char *given = getenv("SM_TEST_SEED");
    if (given != NULL) {
        random_sequence(strtoull(given, NULL, 10));
        return;
    }
    for (int i = 0; i < 6; i++) {
        uint64_t seed;
        sm_rand_bytes(&seed, sizeof seed);
        random_sequence(seed);
    }
}

static void many(sm_store *s, const char *id, const char *dim, int n) {
    static int serial;
    json_t *events = json_array();
    for (int i = 0; i < n; i++) {
        char name[24];
        snprintf(name, sizeof name, "%s-%d", dim, serial++);
        json_array_append_new(events, one_event(name, i, dim, "0123456789"));
    }
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_of(id, events)));
}

static int of_id(const json_t *rows, const char *id) {
    int n = 0;
    for (size_t i = 0; i < json_array_size(rows); i++)
        n += strcmp(sm_json_str(json_object_get(json_array_get(rows, i), "payload"), "id", ""),
                    id) == 0;
    return n;
}

static void a_backlog_delays_nobody(void **unused) {
    (void)unused;
    place at;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    many(s, "chatty.run", "x", 500);
    many(s, "a.run", "a", 3);
    many(s, "b.run", "b", 1);
    json_t *got = call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1,'limit':10}");
    assert_int_equal(of_id(got, "a.run"), 3);
    assert_int_equal(of_id(got, "b.run"), 1);
    assert_int_equal(of_id(got, "chatty.run"), 6);
    json_decref(got);
    sm_store_close(s);
    place_drop(&at);
}

/* With more inspections than a claim takes, everyone has a turn before anyone has a second. */
static void turns_go_round(void **unused) {
    (void)unused;
    place at;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    int turns[20] = {0};
    for (int i = 0; i < 20; i++) {
        for (int k = 0; k < 5; k++) { /* five dimensions: none waits for another */
            char id[16], dim[8];
            snprintf(id, sizeof id, "i%02d.run", i);
            snprintf(dim, sizeof dim, "%d.%d", i, k);
            many(s, id, dim, 1);
        }
    }
    for (int claim_no = 1; claim_no <= 14; claim_no++) {
        json_t *got = call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1,'limit':7}");
        for (size_t i = 0; i < json_array_size(got); i++) {
            const json_t *payload = json_object_get(json_array_get(got, i), "payload");
            turns[atoi(sm_json_str(payload, "id", "") + 1)]++;
        }
        json_decref(got);
        for (int i = 0; i < 20; i++) {
            if (turns[i] < claim_no * 7 / 20 || turns[i] > claim_no * 7 / 20 + 1)
                fail_msg("after %d claims inspection %d had %d turns", claim_no, i, turns[i]);
        }
    }
    sm_store_close(s);
    place_drop(&at);
}

static void bytes_bound_a_claim(void **unused) {
    (void)unused;
    place at;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    many(s, "a.run", "x", 10);
    json_t *got = call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1,'limit':10,'bytes':1}");
    assert_int_equal(json_array_size(got), 1); /* always one, or it would wait for ever */
    json_decref(got);
    got = call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1,'limit':10,'bytes':200}");
    assert_int_equal(json_array_size(got), 0); /* one dimension, its head is on its way */
    json_decref(got);
    json_decref(call(s, SM_OP_OUTBOX_RETRY, "{'ids':['x-604'],'next_ms':0,'at_ns':1}"));
    sm_store_close(s);
    s = open_plain(at.path);
    got = call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1,'limit':10,'bytes':200}");
    assert_in_range(json_array_size(got), 2, 4);
    json_decref(got);
    got = call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1,'limit':0}");
    assert_int_equal(json_array_size(got), 0);
    json_decref(got);
    sm_store_close(s);
    place_drop(&at);
}

/* A due time that a later clock wrote does not park an event for years. */
static void a_clock_that_went_back_parks_nothing(void **unused) {
    (void)unused;
    place at;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_one("a.run", "e1", "d")));
    json_decref(call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1000}"));
    json_decref(call(s, SM_OP_OUTBOX_RETRY, "{'ids':['e1'],'next_ms':90000000000,'at_ns':1}"));
    json_t *got = call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1000}");
    assert_int_equal(json_array_size(got), 1);
    json_decref(got);
    json_decref(call(s, SM_OP_OUTBOX_RETRY, "{'ids':['e1'],'next_ms':3601000,'at_ns':1}"));
    got = call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1000}");
    assert_int_equal(json_array_size(got), 0);
    json_decref(got);
    /* An hour is the longest wait: further away, the clock went back by seconds or by a day. */
    got = call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':0}");
    assert_int_equal(json_array_size(got), 1);
    json_decref(got);
    sm_store_close(s);
    place_drop(&at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims_follow_the_model),
        cmocka_unit_test(a_backlog_delays_nobody),
        cmocka_unit_test(turns_go_round),
        cmocka_unit_test(bytes_bound_a_claim),
        cmocka_unit_test(a_clock_that_went_back_parks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
