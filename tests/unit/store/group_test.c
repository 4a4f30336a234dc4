/* The queue and the thread behind it: groups, completions, failures inside a group, closing. */
#include "store_help.h"

#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 8, EACH = 250 };

static void *reporter(void *arg) {
    sm_store *s = ((void **)arg)[0];
    long me = (long)(intptr_t)((void **)arg)[1];
    for (int i = 0; i < EACH; i++) {
        char event_id[32], id[16];
        snprintf(event_id, sizeof event_id, "e%ld-%d", me, i);
        snprintf(id, sizeof id, "i%ld.run", me);
        sm_err err = SM_ERR_INIT;
        if (sm_store_call_sync(s, SM_OP_EVENTS_ACCEPT, report_one(id, event_id, "d"), NULL, &err) !=
            SM_OK)
            return "an event was not accepted";
        /* Every tenth time a report that fails at its second event, alone. */
        if (i % 10 != 0)
            continue;
        json_t *bad = json_pack("[o,{}]", one_event("bad", i, "d", "m"));
        if (sm_store_call_sync(s, SM_OP_EVENTS_ACCEPT, report_of(id, bad), NULL, &err) !=
            SM_INVALID)
            return "a bad report was accepted";
    }
    return NULL;
}

static void threads_share_commits(void **state) {
    (void)state;
    place at;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    pthread_t t[THREADS];
    void *args[THREADS][2];
    for (long i = 0; i < THREADS; i++) {
        args[i][0] = s;
        args[i][1] = (void *)(intptr_t)i;
        pthread_create(&t[i], NULL, reporter, args[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        void *said;
        pthread_join(t[i], &said);
        if (said != NULL)
            fail_msg("%s", (const char *)said);
    }
    assert_int_equal(sm_store_pending(s), 0);
    sm_store_close(s);
    int64_t commits = peek(at.path, "SELECT value FROM meta WHERE key = 'group'");
    print_message("  %d operations, %lld commits\n", THREADS * EACH, (long long)commits);
    assert_int_equal(peek(at.path, "SELECT count(*) FROM events"), THREADS * EACH);
    assert_int_equal(peek(at.path, "SELECT count(*) FROM outbox"), THREADS * EACH);
    assert_int_equal(peek(at.path, "SELECT count(*) FROM events WHERE event_id = 'bad'"), 0);
    assert_in_range(commits, 1, THREADS * EACH - 1);
    place_drop(&at);
}

/* ---- completions ---- */

typedef struct heard {
    sm_rc rc[16];
    char msg[16][SM_ERR_MAX];
    int n;
    int64_t number[16];
} heard;

static void hear(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    heard *h = ctx;
    h->rc[h->n] = rc;
    snprintf(h->msg[h->n], sizeof h->msg[0], "%s", err->msg);
    h->number[h->n++] = json_integer_value(result);
}

static void woken(void *ctx) {
    atomic_fetch_add((atomic_int *)ctx, 1);
}

static void drain_until(sm_store *s, size_t left) {
    for (int i = 0; i < 60000 && sm_store_pending(s) > left; i++) {
        sm_store_drain(s);
        usleep(1000);
    }
    assert_int_equal(sm_store_pending(s), left);
}

static json_t *kv(const char *key, int value) {
    return json_pack("{s:s,s:i}", "key", key, "value", value);
}

static void completions_come_in_order_in_drain(void **state) {
    (void)state;
    place at;
    place_make(&at);
    atomic_int wakes = 0;
    sm_store_options opt = {.path = at.path, .wake = woken, .ctx = &wakes};
    sm_store *s = open_with(&opt);
    heard h = {.n = 0};
    sm_store_call(s, SM_OP_KV_PUT, kv("k", 1), hear, &h);
    sm_store_call(s, SM_OP_KV_GET, json_pack("{s:s}", "key", "k"), hear, &h);
    sm_store_call(s, SM_OP_KV_PUT, json_object(), hear, &h);
    sm_store_call(s, SM_OP_KV_PUT, kv("k", 2), hear, &h);
    sm_store_call(s, SM_OP_KV_GET, json_pack("{s:s}", "key", "k"), hear, &h);
    sm_store_call(s, SM_OP_KV_PUT, kv("k", 3), NULL, NULL);
    assert_int_equal(h.n, 0); /* only drain calls back */
    drain_until(s, 0);
    assert_int_equal(h.n, 5);
    static const sm_rc codes[] = {SM_OK, SM_OK, SM_INVALID, SM_OK, SM_OK};
    for (int i = 0; i < 5; i++)
        assert_int_equal(h.rc[i], codes[i]);
    assert_int_equal(h.number[1], 1);
    assert_int_equal(h.number[4], 2);
    assert_string_equal(h.msg[2], "store: kv_put: key: expected a text, got nothing");
    assert_true(atomic_load(&wakes) >= 1);
    sm_store_close(s);
    place_drop(&at);
}

/* What is queued when the store closes is done, unheard. */
static void close_finishes_the_queue(void **state) {
    (void)state;
    place at;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    heard h = {.n = 0};
    for (int i = 0; i < 300; i++) {
        char event_id[16];
        snprintf(event_id, sizeof event_id, "e%d", i);
        sm_store_call(s, SM_OP_EVENTS_ACCEPT, report_one("a.run", event_id, "d"),
                      i % 2 == 0 ? hear : NULL, &h);
    }
    sm_store_close(s);
    assert_int_equal(h.n, 0);
    assert_int_equal(peek(at.path, "SELECT count(*) FROM events"), 300);
    assert_in_range(peek(at.path, "SELECT value FROM meta WHERE key = 'group'"), 1, 299);
    expect_intact(at.path);
    place_drop(&at);
}

typedef struct tally {
    int ok, limit, other;
} tally;

static void count(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    tally *t = ctx;
    (void)result;
    t->ok += rc == SM_OK;
    t->limit += rc == SM_LIMIT && strstr(err->msg, "the store is behind by") != NULL;
    t->other += rc != SM_OK && rc != SM_LIMIT;
}

/* A caller that outruns the disk hears so; what was taken is done. */
static void the_queue_has_a_ceiling(void **state) {
    (void)state;
    enum { CALLS = (1 << 16) + 20000 };
    place at;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    json_t *big = report_of("a.run", json_array());
    for (int i = 0; i < 60000; i++) {
        char event_id[16];
        snprintf(event_id, sizeof event_id, "e%d", i);
        json_array_append_new(json_object_get(big, "events"), one_event(event_id, i, "d", "m"));
    }
    tally t = {0, 0, 0};
    json_t *none = json_object();
    sm_store_call(s, SM_OP_EVENTS_ACCEPT, big, count, &t); /* keeps the thread busy */
    for (int i = 0; i < CALLS; i++)
        sm_store_call(s, SM_OP_PING, json_incref(none), count, &t);
    drain_until(s, 0);
    json_decref(none);
    print_message("  %d done, %d refused\n", t.ok, t.limit);
    assert_int_equal(t.ok + t.limit, CALLS + 1);
    assert_int_equal(t.other, 0);
    assert_true(t.limit > 0);
    sm_store_close(s);
    assert_int_equal(peek(at.path, "SELECT count(*) FROM events"), 60000);
    place_drop(&at);
}

/* Reads that find nothing to change cost no commit. */
static void nothing_changed_nothing_written(void **state) {
    (void)state;
    place at;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    for (int i = 0; i < 20; i++) {
        json_decref(call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1}"));
        json_decref(call(s, SM_OP_PING, NULL));
        json_decref(call(s, SM_OP_OUTBOX_DONE, "{'ids':['nobody'],'at_ns':1}"));
    }
    sm_store_close(s);
    assert_int_equal(peek(at.path, "SELECT value FROM meta WHERE key = 'group'"), 0);
    place_drop(&at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_share_commits),
        cmocka_unit_test(completions_come_in_order_in_drain),
        cmocka_unit_test(close_finishes_the_queue),
        cmocka_unit_test(the_queue_has_a_ceiling),
        cmocka_unit_test(nothing_changed_nothing_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
