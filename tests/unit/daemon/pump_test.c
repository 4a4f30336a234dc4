/* The pump against a platform whose answers are scripted, with the real outbox. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "room_help.h"
#include "daemon/pump.h"

typedef struct said { /* one scripted answer */
    int http;
    int64_t retry_after_s; /* -1: none */
    sm_transport transport;
} said;

typedef struct bench {
    room room;
    sm_pump *p;
    sm_target target;
    said script[32];
    int n_script, at;
    const char *poison; /* 400 while this event is in the batch */
    bool hold_answers;  /* keeps the answer until let_go */
    sm_target_delivered done;
    void *ctx;
    uv_timer_t timer;
    int batches, sizes[64];
    char sent[500][40]; /* ids in the order of successful delivery */
    int n_sent, idle;
    json_t *under_way;
} bench;

static bool has(const json_t *events, const char *id) {
    size_t i;
    json_t *e;
    json_array_foreach(events, i,
                       e) if (strcmp(sm_json_str(json_object_get(e, "event"), "event_id", ""),
                                     id) == 0) return true;
    return false;
}

static void let_go(uv_timer_t *t) {
    bench *b = t->data;
    if (b->hold_answers || !b->done)
        return;
    said what = b->at < b->n_script ? b->script[b->at] : (said){200, -1, SM_TRANSPORT_ANSWERED};
    b->at++;
    if (b->poison && has(b->under_way, b->poison))
        what = (said){400, -1, SM_TRANSPORT_ANSWERED};
    size_t i;
    json_t *e;
    if (what.http == 200)
        json_array_foreach(b->under_way, i, e)
            snprintf(b->sent[b->n_sent++], 40, "%s",
                     sm_json_str(json_object_get(e, "event"), "event_id", ""));
    json_decref(b->under_way);
    b->under_way = NULL;
    /* batch is left 0: the pump knows best what it sent */
    sm_answer answer = {.road = SM_ROAD_WRITE,
                        .transport = what.transport,
                        .http = what.http,
                        .body_known = true,
                        .body_ok = what.http == 200,
                        .retry_after_s = what.retry_after_s};
    sm_target_delivered done = b->done;
    b->done = NULL;
    done(b->ctx, &answer, what.http == 200 ? "" : "so it says");
}

static void deliver(void *ctx, const json_t *events, sm_target_delivered done, void *done_ctx) {
    bench *b = ctx;
    assert_null(b->done); /* one batch at a time */
    b->sizes[b->batches++] = (int)json_array_size(events);
    b->under_way = json_deep_copy(events);
    b->done = done;
    b->ctx = done_ctx;
    uv_timer_start(&b->timer, let_go, 0, 0);
}

static void open_bench(bench *b) {
    memset(b, 0, sizeof *b);
    room_open(&b->room);
    b->target = (sm_target){.ctx = b, .node = "fake", .deliver = deliver};
    uv_timer_init(&b->room.loop, &b->timer);
    b->timer.data = b;
}

static void begin(bench *b) {
    open_bench(b);
    b->p = sm_pump_new(&b->room.loop, b->room.store, &b->target);
}

static void end(bench *b) {
    room_settle(&b->room);
    sm_pump_close(b->p);
    uv_close((uv_handle_t *)&b->timer, NULL);
    room_close_store(&b->room);
    room_turn_out(&b->room);
    sm_pump_free(b->p);
    json_decref(b->under_way);
    room_remove(&b->room);
}

static void on_idle(void *ctx) {
    ++*(int *)ctx;
}

static void drain(bench *b) {
    b->idle = 0;
    sm_pump_drain(b->p, 4000, on_idle, &b->idle);
    assert_int_equal(b->idle, 0);
    room_wait(&b->room, &b->idle, 1);
    assert_int_equal(b->idle, 1);
}

/* Events e<from>..e<to>, each of its own dimension unless `one`. */
static void put(bench *b, int from, int to, bool one) {
    json_t *events = json_array();
    for (int i = from; i <= to; i++) {
        char id[16], dim[32];
        snprintf(id, sizeof id, "e%02d", i);
        snprintf(dim, sizeof dim, "{\"d\":\"%d\"}", one ? 0 : i);
        json_array_append_new(events, json_pack("{s:s, s:I, s:s, s:s, s:s, s:{}, s:s}", "event_id",
                                                id, "at_ns", (json_int_t)sm_wall_ns(), "title", "T",
                                                "message", "M", "status", "error", "dimension_tags",
                                                "dimension", dim));
    }
    json_decref(
        room_ask(&b->room, SM_OP_EVENTS_ACCEPT,
                 json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:o}", "run", "r", "id",
                           "a.run", "ref_key", "k", "account", "default", "node", "fake", "checker",
                           "u", "title", "T", "attempt", 1, "events", events)));
}

static void say(bench *b, int http, int64_t retry_after_s) {
    b->script[b->n_script++] = (said){http, retry_after_s, SM_TRANSPORT_ANSWERED};
}

/* "pending inflight held refused" */
static void expect_outbox(bench *b, int pending, int inflight, int held, int refused) {
    json_t *s = room_ask(&b->room, SM_OP_OUTBOX_STATS, NULL);
    assert_int_equal(sm_json_int(s, "pending", -1), pending);
    assert_int_equal(sm_json_int(s, "inflight", -1), inflight);
    assert_int_equal(sm_json_int(s, "held", -1), held);
    assert_int_equal(sm_json_int(s, "refused", -1), refused);
    json_decref(s);
}

/* How far ahead the outbox is due, in ms. */
static int64_t due_in(bench *b) {
    json_t *s = room_ask(&b->room, SM_OP_OUTBOX_STATS, NULL);
    int64_t next = sm_json_int(s, "next_ms", INT64_MIN);
    json_decref(s);
    return next - sm_wall_ns() / SM_NS_PER_MS;
}

static void expect_sent(bench *b, const char *ids) {
    char text[4000] = "";
    for (int i = 0; i < b->n_sent; i++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s%s", n ? " " : "", b->sent[i]);
    }
    assert_string_equal(text, ids);
}

static void expect_breaker(bench *b, const char *state, int failures, int batch) {
    json_t *is = sm_pump_breaker(b->p);
    assert_string_equal(sm_json_str(is, "state", ""), state);
    assert_int_equal(sm_json_int(is, "failures", -1), failures);
    assert_int_equal(sm_json_int(is, "batch", -1), batch);
    assert_int_equal(json_is_string(json_object_get(is, "next")), strcmp(state, "open") == 0);
    json_decref(is);
}

/* What was answered is written down a moment later. */
static void expect_outbox_soon(bench *b, int pending, int inflight, int held, int refused) {
    room_settle(&b->room);
    expect_outbox(b, pending, inflight, held, refused);
}

static void test_delivered(void **state) {
    (void)state;
    bench b;
    begin(&b);
    drain(&b); /* an empty outbox is idle */
    assert_int_equal(b.batches, 0);
    put(&b, 1, 5, true);
    drain(&b);
    assert_int_equal(b.batches, 1);
    expect_sent(&b, "e01 e02 e03 e04 e05");
    expect_outbox(&b, 0, 0, 0, 0);
    assert_null(sm_pump_trouble(b.p));
    end(&b);
}

static void test_500_then_200(void **state) {
    (void)state;
    bench b;
    begin(&b);
    put(&b, 1, 3, false);
    say(&b, 500, -1);
    drain(&b); /* what waits for a later time does not count, unless it came due meanwhile */
    room_wait(&b.room, &b.n_sent, 3);
    room_settle(&b.room);
    expect_outbox(&b, 0, 0, 0, 0);
    assert_int_equal(b.batches, 3);    /* after a failure first one, then more */
    assert_null(sm_pump_trouble(b.p)); /* healed */
    expect_sent(&b, "e01 e02 e03");
    end(&b);
}

static void test_hold(void **state) {
    static const struct {
        const char *name, *trouble;
        int http;
        sm_transport transport;
    } rows[] = {
        {"key refused", "fake: the API key was refused: so it says", 401, SM_TRANSPORT_ANSWERED},
        {"forbidden", "fake: the API key was refused: so it says", 403, SM_TRANSPORT_ANSWERED},
        {"TLS", "fake: the platform's TLS certificate could not be verified: so it says", 0,
         SM_TRANSPORT_TLS},
    };
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("  %s\n", rows[i].name);
        bench b;
        begin(&b);
        put(&b, 1, 4, false);
        b.script[b.n_script++] = (said){rows[i].http, -1, rows[i].transport};
        drain(&b);
        expect_outbox(&b, 0, 0, 4, 0);
        assert_in_range(due_in(&b), 25000, 60000);
        assert_string_equal(sm_pump_trouble(b.p), rows[i].trouble);
        end(&b);
    }
}

static void test_poison(void **state) {
    (void)state;
    static const char *const which[] = {"e01", "e04", "e08"};
    for (size_t i = 0; i < 3; i++) {
        bench b;
        begin(&b);
        put(&b, 1, 8, true); /* of one dimension: the others go on, in order */
        b.poison = which[i];
        drain(&b);
        expect_outbox(&b, 0, 0, 0, 1);
        assert_int_equal(b.n_sent, 7);
        for (int k = 1; k < 7; k++)
            assert_true(strcmp(b.sent[k - 1], b.sent[k]) < 0);
        assert_int_equal(b.sizes[0], 8);
        assert_int_equal(b.batches, 7); /* 8, then two of 4, 2, 1 each */
        assert_null(sm_pump_trouble(b.p));
        json_t *rows = room_ask(&b.room, SM_OP_QUERY_EVENTS, NULL), *row;
        size_t k;
        json_array_foreach(rows, k, row) {
            bool bad = strcmp(sm_json_str(row, "event_id", ""), which[i]) == 0;
            assert_string_equal(sm_json_str(row, "delivery", ""), bad ? "refused" : "delivered");
            if (bad)
                assert_string_equal(sm_json_str(row, "reason", ""),
                                    "the platform refused this event: so it says");
        }
        json_decref(rows);
        end(&b);
    }
}

/* Five failures in a row and nothing more is sent; the store keeps everything; afterwards the
 * batches grow: 1, 4, 16, 64. */
static void test_breaker(void **state) {
    (void)state;
    bench b;
    begin(&b);
    for (int i = 0; i < 5; i++)
        say(&b, 500, -1);
    put(&b, 0, 99, false);
    put(&b, 100, 199, false);
    drain(&b);
    for (int i = 0; i < 2000 && b.batches < 5; i++) {
        uv_run(&b.room.loop, UV_RUN_NOWAIT);
        usleep(500);
    }
    room_settle(&b.room);
    assert_int_equal(b.batches, 5);
    assert_int_equal(b.sizes[0], 100);
    for (int i = 1; i < 5; i++)
        assert_int_equal(b.sizes[i], 1);
    room_wait(&b.room, &b.n_sent, 200); /* the first time it is open for at most a second */
    static const int grown[] = {1, 4, 16, 64, 100};
    for (int i = 0; i < 5; i++)
        assert_int_equal(b.sizes[5 + i], grown[i]);
    expect_outbox_soon(&b, 0, 0, 0, 0);
    expect_breaker(&b, "closed", 0, 100);
    end(&b);
}

/* A refused key: one request, not one for each batch of the backlog; another key is tried at once
 * and takes everything along. */
static void test_hold_holds_all(void **state) {
    (void)state;
    bench b;
    begin(&b);
    put(&b, 0, 99, false);
    put(&b, 100, 199, false);
    say(&b, 401, -1);
    say(&b, 403, -1);
    drain(&b);
    assert_int_equal(b.batches, 1);
    expect_outbox(&b, 100, 0, 100, 0);
    drain(&b); /* new events are no reason to ask again */
    assert_int_equal(b.batches, 1);
    expect_breaker(&b, "open", 1, 1);
    sm_pump_hurry(b.p);
    drain(&b);
    assert_int_equal(b.batches, 2);
    assert_int_equal(b.sizes[1], 1);
    expect_breaker(&b, "open", 2, 1);
    sm_pump_hurry(b.p);
    room_wait(&b.room, &b.n_sent, 200);
    expect_outbox_soon(&b, 0, 0, 0, 0);
    assert_null(sm_pump_trouble(b.p));
    end(&b);
}

/* What was there before the start: the first answer is awaited with one event. */
static void test_backlog_at_the_start(void **state) {
    (void)state;
    bench b;
    open_bench(&b);
    put(&b, 0, 99, false);
    put(&b, 100, 199, false);
    put(&b, 200, 209, false);
    b.p = sm_pump_new(&b.room.loop, b.room.store, &b.target);
    room_settle(&b.room);
    drain(&b);
    assert_int_equal(b.sizes[0], 1);
    assert_int_equal(b.sizes[1], 4);
    assert_int_equal(b.n_sent, 210);
    end(&b);
}

static void test_order_when_a_half_fails(void **state) {
    (void)state;
    bench b;
    begin(&b);
    put(&b, 1, 8, true);
    say(&b, 400, -1); /* halves */
    say(&b, 503, 2);  /* the first half: later */
    drain(&b);
    assert_int_equal(b.batches, 2); /* the second half did not overtake it */
    expect_sent(&b, "");
    expect_outbox(&b, 8, 0, 0, 0);
    assert_in_range(due_in(&b), 500, 3000);
    room_wait(&b.room, &b.n_sent, 8);
    expect_sent(&b, "e01 e02 e03 e04 e05 e06 e07 e08");
    end(&b);
}

static void test_retry_after(void **state) {
    (void)state;
    bench b;
    begin(&b);
    put(&b, 1, 1, false);
    say(&b, 429, 1800);
    drain(&b);
    assert_in_range(due_in(&b), 1790000, 1801000);
    expect_outbox(&b, 1, 0, 0, 0);
    assert_string_equal(sm_pump_trouble(b.p), "fake: the platform is busy: so it says");
    put(&b, 2, 2, false); /* the address asked for peace: others wait too, and nobody is lost */
    drain(&b);
    expect_sent(&b, "");
    expect_breaker(&b, "open", 1, 1);
    sm_pump_hurry(b.p); /* by hand: a probe of one, then what was put back as well */
    room_wait(&b.room, &b.n_sent, 2);
    expect_outbox_soon(&b, 0, 0, 0, 0);
    expect_breaker(&b, "closed", 0, 16);
    expect_sent(&b, "e01 e02");
    put(&b, 1, 1, false); /* accepted again without effect */
    drain(&b);
    expect_sent(&b, "e01 e02");
    end(&b);
}

static void test_drain_late(void **state) {
    (void)state;
    bench b;
    begin(&b);
    put(&b, 1, 2, false);
    b.hold_answers = true;
    int late = 0, patient = 0;
    sm_pump_drain(b.p, 30, on_idle, &late);
    sm_pump_drain(b.p, 4000, on_idle, &patient);
    room_wait(&b.room, &late, 1);
    assert_int_equal(patient, 0);
    room_wait(&b.room, &b.batches, 1);
    expect_outbox(&b, 0, 2, 0, 0);
    put(&b, 3, 3, false); /* comes while a batch is under way: not forgotten */
    sm_pump_poke(b.p);
    b.hold_answers = false;
    let_go(&b.timer);
    room_wait(&b.room, &patient, 1);
    expect_outbox(&b, 0, 0, 0, 0);
    assert_int_equal(late, 1);
    assert_int_equal(patient, 1);
    end(&b);
}

typedef struct again {
    bench *b;
    int left, n;
} again;

static void on_idle_again(void *ctx) {
    again *a = ctx;
    a->n++;
    if (a->left-- > 0)
        sm_pump_drain(a->b->p, 4000, on_idle_again, a);
}

static void test_drain_from_a_drain(void **state) {
    (void)state;
    bench b;
    begin(&b);
    put(&b, 1, 1, false);
    again a = {&b, 2, 0};
    sm_pump_drain(b.p, 4000, on_idle_again, &a);
    room_wait(&b.room, &a.n, 3);
    expect_sent(&b, "e01");
    end(&b);
}

static void test_closed_under_way(void **state) {
    (void)state;
    bench b;
    begin(&b);
    put(&b, 1, 2, false);
    b.hold_answers = true;
    int idle = 0;
    sm_pump_drain(b.p, 4000, on_idle, &idle);
    for (int i = 0; i < 1000 && !b.done; i++) {
        uv_run(&b.room.loop, UV_RUN_NOWAIT);
        usleep(500);
    }
    assert_non_null(b.done);
    sm_pump_close(b.p); /* ends the drain, at once */
    assert_int_equal(idle, 1);
    b.hold_answers = false;
    let_go(&b.timer); /* the answer still counts */
    sm_pump_poke(b.p);
    room_settle(&b.room);
    expect_outbox(&b, 0, 0, 0, 0);
    assert_int_equal(b.batches, 1);
    end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delivered),
        cmocka_unit_test(test_500_then_200),
        cmocka_unit_test(test_hold),
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_breaker),
        cmocka_unit_test(test_hold_holds_all),
        cmocka_unit_test(test_backlog_at_the_start),
        cmocka_unit_test(test_order_when_a_half_fails),
        cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_drain_late),
        cmocka_unit_test(test_drain_from_a_drain),
        cmocka_unit_test(test_closed_under_way),
    };
    sm_log_setup(SM_LOG_ERROR, false, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
