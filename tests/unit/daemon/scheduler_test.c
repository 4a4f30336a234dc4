/* The scheduler with a clock of its own: it stands far in the future of the real one, so that the
 * timer never fires by itself. The runner is a fake that notes what is started. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "room_help.h"
#include "base/str.h"
#include "daemon/scheduler_parts.h"

enum { RUNS = 128 };

typedef struct noted {
    char id[32], trigger[16], slot[32], outcome[16], error[100]; /* slot as RFC 3339, or "" */
    int64_t at, due_ns;
    bool late, ended;
    sm_inspection *inspection;
    sm_runner_done done;
    void *ctx;
} noted;

typedef struct bench {
    room room;
    sm_scheduler *s;
    sm_clock clock;
    int64_t now_ns, mono_ns, slept_ns;
    noted runs[RUNS];
    int n, reports, ready;
    int64_t skipped, missed; /* slots that were told to have passed */
} bench;

static void note(bench *b, sm_inspection *p, int64_t slot, const char *trigger, noted **out) {
    assert_true(b->n < RUNS);
    noted *r = *out = &b->runs[b->n++];
    memset(r, 0, sizeof *r);
    snprintf(r->id, sizeof r->id, "%s", p->id);
    snprintf(r->trigger, sizeof r->trigger, "%s", trigger);
    r->at = slot;
    if (slot != SM_NO_SLOT)
        sm_time_rfc3339(slot * SM_NS_PER_S, false, r->slot);
}

/* Stands in for daemon/runner.c. */
void sm_runner_start(sm_runner *runner, const sm_run_want *want) {
    noted *r;
    note((bench *)(void *)runner, want->inspection, want->slot, want->trigger, &r);
    r->late = want->late;
    r->due_ns = want->due_ns;
    r->done = want->done;
    r->ctx = want->ctx;
    r->inspection = sm_inspection_ref(want->inspection);
}

static void write_row(bench *b, const noted *r) {
    char run[16];
    snprintf(run, sizeof run, "run%d", (int)(r - b->runs));
    json_t *slot = r->at == SM_NO_SLOT ? json_null() : json_integer(r->at);
    json_decref(room_ask(&b->room, SM_OP_RUN_FINISH,
                         json_pack("{s:s, s:s, s:o, s:s, s:s, s:I}", "run", run, "id", r->id,
                                   "slot", slot, "trigger", r->trigger, "outcome", r->outcome,
                                   "finished_ns", (json_int_t)b->now_ns)));
}

static void end_run(bench *b, int i) {
    noted *r = &b->runs[i];
    assert_false(r->ended);
    r->ended = true;
    snprintf(r->outcome, sizeof r->outcome, "ok");
    write_row(b, r);
    json_t *report = json_pack("{s:s}", "id", r->id);
    r->done(r->ctx, report);
    json_decref(report);
    sm_inspection_unref(r->inspection);
}

static void on_report(void *ctx, const json_t *report) {
    assert_non_null(json_object_get(report, "id"));
    ((bench *)ctx)->reports++;
}

static int64_t fake_wall(void *ctx) {
    return ((bench *)ctx)->now_ns;
}

static int64_t fake_mono(void *ctx) {
    return ((bench *)ctx)->mono_ns;
}

static int64_t fake_boot(void *ctx) {
    return ((bench *)ctx)->mono_ns + ((bench *)ctx)->slept_ns;
}

static void on_passed(void *ctx, const char *outcome, int64_t n) {
    bench *b = ctx;
    *(strcmp(outcome, "skipped") == 0 ? &b->skipped : &b->missed) += n;
}

static void on_ready(void *ctx) {
    ((bench *)ctx)->ready++;
}

/* "2036-01-31T12:00:00Z" */
static void set_clock(bench *b, const char *at) {
    assert_int_equal(sm_time_parse(at, &b->now_ns, NULL), SM_OK);
}

static void at(bench *b, const char *when) {
    set_clock(b, when);
    sm_scheduler_clock_set(b->s);
}

static void scheduler_open(bench *b) {
    sm_err err = SM_ERR_INIT;
    b->ready = 0;
    json_decref(room_ask(&b->room, SM_OP_RUNS_RECOVER,
                         json_pack("{s:I, s:s}", "at_ns", (json_int_t)b->now_ns, "reason", "r")));
    b->s = sm_scheduler_new(&b->room.loop, b->room.store, (sm_runner *)(void *)b, &b->clock,
                            on_report, b, &err);
    assert_non_null(b->s);
    sm_scheduler_watch(b->s, on_passed, b);
    sm_scheduler_load(b->s, on_ready, b);
    room_wait(&b->room, &b->ready, 1);
}

static void begin(bench *b, const char *when) {
    memset(b, 0, sizeof *b);
    room_open(&b->room);
    b->clock =
        (sm_clock){.wall_ns = fake_wall, .mono_ns = fake_mono, .boot_ns = fake_boot, .ctx = b};
    set_clock(b, when);
    scheduler_open(b);
}

static void scheduler_close(bench *b) {
    room_settle(&b->room);
    sm_scheduler_stop(b->s);
    uv_run(&b->room.loop, UV_RUN_NOWAIT);
    room_close_store(&b->room);
    sm_scheduler_free(b->s);
    for (int i = 0; i < b->n; i++)
        if (!b->runs[i].ended)
            sm_inspection_unref(b->runs[i].inspection);
    b->n = 0;
}

/* Another process, at another time. */
static void restart(bench *b, const char *when) {
    scheduler_close(b);
    set_clock(b, when);
    room_open_store(&b->room);
    scheduler_open(b);
}

static void end(bench *b) {
    scheduler_close(b);
    room_turn_out(&b->room);
    room_remove(&b->room);
}

static void update(bench *b, sm_inspection *p) {
    sm_scheduler_update(b->s, &p, p ? 1 : 0);
}

static void expect_next(bench *b, const char *id, const char *slot) {
    int64_t next;
    char text[32] = "";
    if (sm_scheduler_next(b->s, id, &next))
        sm_time_rfc3339(next * SM_NS_PER_S, false, text);
    assert_string_equal(text, slot);
}

static void expect_run(bench *b, int i, const char *slot, const char *trigger, bool late) {
    if (b->n <= i)
        fail_msg("run %d did not start", i);
    assert_string_equal(b->runs[i].slot, slot);
    assert_string_equal(b->runs[i].trigger, trigger);
    assert_int_equal(b->runs[i].late, late);
}

/* Rows of the ledger without a run, oldest first: "from..to count outcome", without the date and
 * the seconds that all times share; a single slot as "from outcome". */
static void expect_gaps(bench *b, const char *want) {
    room_settle(&b->room);
    json_t *rows = room_ask(&b->room, SM_OP_QUERY_RUNS, json_pack("{s:b}", "gaps", 1)), *row;
    char text[500] = "";
    size_t i;
    json_array_foreach(rows, i, row) {
        char count[32] = "", to[40] = "";
        const char *last = sm_json_str(row, "to", "");
        if (strcmp(sm_json_str(row, "from", ""), last) != 0) {
            snprintf(to, sizeof to, "..%.19sZ", last);
            snprintf(count, sizeof count, "%lld%s ", (long long)sm_json_int(row, "count", 0),
                     sm_json_bool(row, "estimated", false) ? "~" : "");
        }
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s%.19sZ%s %s%s", n ? ", " : "",
                 sm_json_str(row, "from", ""), to, count, sm_json_str(row, "outcome", ""));
    }
    json_decref(rows);
    assert_string_equal(text, want);
}

/* What the store would call open at the next start: "slot …" of the planned rows of an id. */
static void expect_open(bench *b, const char *id, const char *want) {
    room_settle(&b->room);
    json_t *rows = room_ask(&b->room, SM_OP_SLOT_LAST, NULL);
    int64_t slot = sm_json_int(json_object_get(rows, id), "open", SM_NO_SLOT);
    char text[32] = "";
    if (slot != SM_NO_SLOT)
        sm_time_rfc3339(slot * SM_NS_PER_S, false, text);
    json_decref(rows);
    assert_string_equal(text, want);
}

#define MINUTELY "{'title':'T','schedule':['* * * * *']}"
#define DAILY "{'title':'T','schedule':['0 3 * * *']}"
#define DAILY_SKIP "{'title':'T','schedule':['0 3 * * *'],'missed':'skip'}"

static void test_slots_in_time(void **state) {
    (void)state;
    bench b;
    begin(&b, "2036-01-31T12:00:00Z");
    sm_inspection *p = room_inspection("a.run", MINUTELY);
    update(&b, p);
    assert_int_equal(b.n, 0);
    expect_next(&b, "a.run", "2036-01-31T12:01:00Z");
    int64_t slot;
    assert_string_equal(sm_scheduler_earliest(b.s, &slot), "a.run");
    at(&b, "2036-01-31T12:00:59.999Z");
    assert_int_equal(b.n, 0);
    at(&b, "2036-01-31T12:01:00.001Z");
    assert_int_equal(b.n, 1);
    expect_run(&b, 0, "2036-01-31T12:01:00Z", "schedule", false);
    at(&b, "2036-01-31T12:01:00.002Z");
    assert_int_equal(b.n, 1);
    end_run(&b, 0);
    assert_int_equal(b.reports, 1);
    at(&b, "2036-01-31T12:02:01.500Z");
    expect_run(&b, 1, "2036-01-31T12:02:00Z", "schedule", true);
    end_run(&b, 1);
    expect_gaps(&b, "");
    sm_inspection_unref(p);
    end(&b);
}

static void test_late_but_not_missed(void **state) {
    (void)state;
    bench b;
    begin(&b, "2036-01-31T12:00:00Z");
    /* Every second, 1.5 s late: both slots are due, the first is still running. */
    sm_inspection *p = room_inspection("a.run", "{'title':'T','schedule':['* * * * * *']}");
    update(&b, p);
    at(&b, "2036-01-31T12:00:02.500Z");
    assert_int_equal(b.n, 1);
    expect_run(&b, 0, "2036-01-31T12:00:01Z", "schedule", true);
    end_run(&b, 0);
    expect_gaps(&b, "2036-01-31T12:00:02Z skipped");
    /* 10 s behind: the newest alone, and the others are one row. */
    at(&b, "2036-01-31T12:00:12.500Z");
    assert_int_equal(b.n, 2);
    expect_run(&b, 1, "2036-01-31T12:00:12Z", "schedule", true);
    expect_gaps(&b, "2036-01-31T12:00:02Z skipped, "
                    "2036-01-31T12:00:03Z..2036-01-31T12:00:11Z 9 missed");
    expect_next(&b, "a.run", "2036-01-31T12:00:13Z");
    sm_inspection_unref(p);
    end(&b);
}

/* However the clock goes, no slot runs twice: not here, and not in the next process. */
static void test_clock_back(void **state) {
    (void)state;
    bench b;
    begin(&b, "2036-01-31T12:00:00Z");
    sm_inspection *p = room_inspection("a.run", MINUTELY);
    update(&b, p);
    at(&b, "2036-01-31T12:01:00Z");
    end_run(&b, 0);
    at(&b, "2036-01-31T12:02:00Z");
    end_run(&b, 1);
    static const char *const back[] = {"2036-01-31T12:01:00Z", "2036-01-31T12:00:30Z",
                                       "2036-01-31T12:01:00Z", "2036-01-31T12:02:00Z",
                                       "2036-01-31T12:01:59Z", "2036-01-31T12:02:30Z"};
    for (size_t i = 0; i < SM_ARRAY_LEN(back); i++) {
        at(&b, back[i]);
        update(&b, p);
        room_settle(&b.room);
        assert_int_equal(b.n, 2);
    }
    expect_next(&b, "a.run", "2036-01-31T12:03:00Z");
    expect_gaps(&b, "");
    restart(&b, "2036-01-31T12:00:30Z"); /* the next process knows the slots too */
    update(&b, p);
    at(&b, "2036-01-31T12:01:00Z");
    at(&b, "2036-01-31T12:02:00Z");
    room_settle(&b.room);
    assert_int_equal(b.n, 0);
    at(&b, "2036-01-31T12:03:00Z");
    assert_int_equal(b.n, 1);
    expect_run(&b, 0, "2036-01-31T12:03:00Z", "schedule", false);
    end_run(&b, 0);
    /* Ten years back: the clock was wrong before, and nothing may wait for ten years. */
    at(&b, "2026-05-01T10:00:10Z");
    assert_int_equal(b.n, 1);
    expect_next(&b, "a.run", "2026-05-01T10:01:00Z");
    restart(&b, "2026-05-01T10:00:20Z");
    update(&b, p);
    expect_next(&b, "a.run", "2026-05-01T10:01:00Z");
    sm_inspection_unref(p);
    end(&b);
}

/* The machine began with its clock eight hours ahead and was corrected: what has not run runs at
 * its time, what ran under the wrong time does not run again. */
static void test_clock_was_ahead(void **state) {
    (void)state;
    bench b;
    begin(&b, "2036-01-31T12:00:30Z");
    sm_inspection *p = room_inspection("a.run", MINUTELY);
    update(&b, p);
    at(&b, "2036-01-31T12:01:00Z");
    end_run(&b, 0);
    at(&b, "2036-01-31T20:01:10Z"); /* forward: one catch-up */
    assert_int_equal(b.n, 2);
    expect_run(&b, 1, "2036-01-31T20:01:00Z", "schedule", true);
    end_run(&b, 1);
    expect_gaps(&b, "2036-01-31T12:02:00Z..2036-01-31T20:00:00Z 479 missed");
    at(&b, "2036-01-31T12:01:20Z"); /* back: they are not missed after all */
    expect_gaps(&b, "");
    expect_next(&b, "a.run", "2036-01-31T12:02:00Z");
    at(&b, "2036-01-31T12:02:00Z");
    room_settle(&b.room); /* the store is asked first */
    expect_run(&b, 2, "2036-01-31T12:02:00Z", "schedule", true);
    end_run(&b, 2);
    at(&b, "2036-01-31T20:00:00Z");
    room_settle(&b.room);
    expect_run(&b, 3, "2036-01-31T20:00:00Z", "schedule", true);
    end_run(&b, 3);
    at(&b, "2036-01-31T20:01:00Z");
    room_settle(&b.room);
    assert_int_equal(b.n, 4); /* it ran */
    at(&b, "2036-01-31T20:02:00Z");
    assert_int_equal(b.n, 5);
    expect_run(&b, 4, "2036-01-31T20:02:00Z", "schedule", false);
    expect_gaps(&b, "2036-01-31T12:03:00Z..2036-01-31T19:59:00Z 477 missed");
    sm_inspection_unref(p);
    end(&b);
}

static void test_clock_is_wrong(void **state) {
    (void)state;
    bench b;
    begin(&b, "1970-01-01T00:01:00Z");
    sm_inspection *p = room_inspection("a.run", MINUTELY);
    sm_inspection *q = room_inspection("a.run", "{'title':'T','schedule':['30 * * * *']}");
    p->first_run = q->first_run = true;
    update(&b, p);
    expect_next(&b, "a.run", "");
    at(&b, "1970-01-01T00:05:00Z");
    assert_int_equal(b.n, 0);
    update(&b, q);
    at(&b, "2036-01-31T12:00:30Z"); /* set right */
    assert_int_equal(b.n, 1);
    expect_run(&b, 0, "", "first", false);
    end_run(&b, 0);
    expect_next(&b, "a.run", "2036-01-31T12:30:00Z");
    expect_gaps(&b, "");
    at(&b, "1990-01-01T00:00:00Z"); /* wrong again: nothing moves, nothing runs */
    at(&b, "1990-01-01T00:31:00Z");
    update(&b, q);
    assert_int_equal(b.n, 1);
    at(&b, "2036-01-31T12:30:00Z");
    assert_int_equal(b.n, 2);
    expect_run(&b, 1, "2036-01-31T12:30:00Z", "schedule", false);
    end_run(&b, 1);
    expect_gaps(&b, "");
    /* A process that begins with a wrong clock forgets nothing of what ran. */
    restart(&b, "1970-01-01T00:00:10Z");
    update(&b, q);
    at(&b, "2036-01-31T12:20:00Z");
    at(&b, "2036-01-31T12:30:00Z");
    room_settle(&b.room);
    assert_int_equal(b.n, 0);
    at(&b, "2036-01-31T13:31:00Z");
    assert_int_equal(b.n, 1);
    expect_run(&b, 0, "2036-01-31T13:30:00Z", "schedule", true);
    sm_inspection_unref(p);
    sm_inspection_unref(q);
    end(&b);
}

static void test_clock_far_forward(void **state) {
    static const struct {
        const char *name, *spec, *start, *jump, *slot, *gaps, *next;
    } rows[] = {
        {"a day, minutely", MINUTELY, "2036-01-31T12:00:30Z", "2036-02-01T12:00:30Z",
         "2036-02-01T12:00:00Z", "2036-01-31T12:01:00Z..2036-02-01T11:59:00Z 1439 missed",
         "2036-02-01T12:01:00Z"},
        {"a day, daily", DAILY, "2036-01-31T12:00:00Z", "2036-02-01T12:00:00Z",
         "2036-02-01T03:00:00Z", "", "2036-02-02T03:00:00Z"},
        {"ten years, daily", DAILY, "2036-01-31T12:00:00Z", "2046-02-01T12:00:00Z",
         "2046-02-01T03:00:00Z", "2036-02-01T03:00:00Z..2046-01-31T03:00:00Z 3653 missed",
         "2046-02-02T03:00:00Z"},
        {"a day, daily, skip", DAILY_SKIP, "2036-01-31T12:00:00Z", "2036-02-01T12:00:00Z", NULL,
         "2036-02-01T03:00:00Z missed", "2036-02-02T03:00:00Z"},
        {"a minute, daily, skip", DAILY_SKIP, "2036-01-31T12:00:00Z", "2036-02-01T03:01:00Z",
         "2036-02-01T03:00:00Z", "", "2036-02-02T03:00:00Z"},
    };
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("  %s\n", rows[i].name);
        bench b;
        begin(&b, rows[i].start);
        sm_inspection *p = room_inspection("a.run", rows[i].spec);
        update(&b, p);
        at(&b, rows[i].jump);
        assert_int_equal(b.n, rows[i].slot ? 1 : 0);
        if (rows[i].slot) {
            expect_run(&b, 0, rows[i].slot, "schedule", true);
            end_run(&b, 0);
        }
        expect_gaps(&b, rows[i].gaps);
        expect_next(&b, "a.run", rows[i].next);
        at(&b, rows[i].jump);
        assert_int_equal(b.n, rows[i].slot ? 1 : 0);
        sm_inspection_unref(p);
        end(&b);
    }
}

static void test_down(void **state) {
    static const struct {
        const char *name, *spec, *up, *slot, *gaps;
    } rows[] = {
        {"over its only slot", DAILY, "2036-02-01T08:00:00Z", "2036-02-01T03:00:00Z", ""},
        {"over many", DAILY, "2036-02-05T08:00:00Z", "2036-02-05T03:00:00Z",
         "2036-02-01T03:00:00Z..2036-02-04T03:00:00Z 4 missed"},
        {"over none", DAILY, "2036-02-01T02:59:00Z", NULL, ""},
        {"skip", DAILY_SKIP, "2036-02-01T08:00:00Z", NULL, "2036-02-01T03:00:00Z missed"},
        {"too old", "{'title':'T','schedule':['0 3,4 * * *']}", "2036-02-01T08:00:00Z", NULL,
         "2036-01-31T04:00:00Z..2036-02-01T04:00:00Z 3 missed"},
        {"an hour old", "{'title':'T','schedule':['0 3,4 * * *']}", "2036-01-31T04:59:00Z",
         "2036-01-31T04:00:00Z", ""},
        {"two schedules", "{'title':'T','schedule':['0 3 * * *', '0 */6 * * *']}",
         "2036-02-01T08:00:00Z", "2036-02-01T06:00:00Z",
         "2036-01-31T06:00:00Z..2036-02-01T03:00:00Z 5 missed"},
    };
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("  %s\n", rows[i].name);
        bench b;
        begin(&b, "2036-01-31T02:59:50Z");
        sm_inspection *p = room_inspection("a.run", rows[i].spec);
        p->first_run = true;
        update(&b, p);
        expect_run(&b, 0, "", "first", false);
        end_run(&b, 0);
        at(&b, "2036-01-31T03:00:00Z");
        end_run(&b, 1);
        restart(&b, rows[i].up);
        update(&b, p); /* no first run again */
        assert_int_equal(b.n, rows[i].slot ? 1 : 0);
        if (b.n) {
            expect_run(&b, 0, rows[i].slot, "schedule", true);
            end_run(&b, 0);
        }
        expect_gaps(&b, rows[i].gaps);
        restart(&b, rows[i].up);
        update(&b, p);
        assert_int_equal(b.n, 0); /* caught up once */
        expect_gaps(&b, rows[i].gaps);
        sm_inspection_unref(p);
        end(&b);
    }
}

/* Killed before the catch-up ended: the next process tries again, and the gap stays one row. */
static void test_down_again(void **state) {
    (void)state;
    bench b;
    begin(&b, "2036-01-31T02:59:50Z");
    sm_inspection *p = room_inspection("a.run", DAILY);
    p->first_run = true;
    update(&b, p);
    end_run(&b, 0);
    restart(&b, "2036-02-05T08:00:00Z");
    update(&b, p);
    expect_run(&b, 0, "2036-02-05T03:00:00Z", "schedule", true); /* and does not end */
    restart(&b, "2036-02-05T08:10:00Z");
    update(&b, p);
    expect_run(&b, 0, "2036-02-05T03:00:00Z", "schedule", true);
    expect_gaps(&b, "2036-01-31T03:00:00Z..2036-02-04T03:00:00Z 5 missed");
    end_run(&b, 0);
    restart(&b, "2036-02-06T02:00:00Z");
    update(&b, p);
    assert_int_equal(b.n, 0);
    expect_gaps(&b, "2036-01-31T03:00:00Z..2036-02-04T03:00:00Z 5 missed");
    sm_inspection_unref(p);
    end(&b);
}

#define ALL "{'title':'T','schedule':['0 * * * *'],'missed':'all'}"

/* Every missed slot, one after the other; what becomes due meanwhile comes behind them. */
static void test_missed_all(void **state) {
    (void)state;
    bench b;
    begin(&b, "2036-01-31T00:00:10Z");
    sm_inspection *p = room_inspection("a.run", ALL);
    update(&b, p);
    at(&b, "2036-01-31T01:00:00Z");
    end_run(&b, 0);
    restart(&b, "2036-01-31T04:30:00Z");
    update(&b, p);
    assert_int_equal(b.n, 1);
    expect_run(&b, 0, "2036-01-31T02:00:00Z", "schedule", true);
    at(&b, "2036-01-31T05:00:00Z");
    assert_int_equal(b.n, 1);
    static const char *const slots[] = {"2036-01-31T02:00:00Z", "2036-01-31T03:00:00Z",
                                        "2036-01-31T04:00:00Z", "2036-01-31T05:00:00Z"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(b.n, i + 1);
        expect_run(&b, i, slots[i], "schedule", true);
        end_run(&b, i);
    }
    assert_int_equal(b.n, 4);
    expect_gaps(&b, "");
    /* At most a hundred, the newest; killed in the middle, the rest of them. */
    restart(&b, "2036-02-06T00:30:00Z");
    update(&b, p);
    for (int i = 0; i < 40; i++)
        end_run(&b, i);
    expect_run(&b, 0, "2036-02-01T21:00:00Z", "schedule", true);
    expect_gaps(&b, "2036-01-31T06:00:00Z..2036-02-01T20:00:00Z 39 missed");
    restart(&b, "2036-02-06T00:40:00Z");
    update(&b, p);
    for (int i = 0; i < 60; i++)
        end_run(&b, i);
    expect_run(&b, 0, "2036-02-03T13:00:00Z", "schedule", true);
    expect_run(&b, 59, "2036-02-06T00:00:00Z", "schedule", true);
    assert_int_equal(b.n, 60);
    expect_gaps(&b, "2036-01-31T06:00:00Z..2036-02-01T20:00:00Z 39 missed");
    sm_inspection_unref(p);
    end(&b);
}

/* Removed, or changed, or both while no process was there: nothing is called missed later. */
static void test_no_plan_is_left_behind(void **state) {
    (void)state;
    bench b;
    begin(&b, "2036-01-31T00:00:10Z");
    sm_inspection *p = room_inspection("a.run", DAILY);
    sm_inspection *q = room_inspection("a.run", "{'title':'T','schedule':['0 5 * * *']}");
    p->first_run = true;
    update(&b, p);
    end_run(&b, 0);
    expect_open(&b, "a.run", "2036-01-31T03:00:00Z");
    update(&b, q);
    expect_open(&b, "a.run", "2036-01-31T05:00:00Z");
    update(&b, p);
    expect_open(&b, "a.run", "2036-01-31T03:00:00Z");
    update(&b, NULL);
    expect_open(&b, "a.run", "");
    update(&b, p);
    expect_open(&b, "a.run", "2036-01-31T03:00:00Z");
    restart(&b, "2036-01-31T02:00:00Z"); /* changed while down */
    update(&b, q);
    expect_open(&b, "a.run", "2036-01-31T05:00:00Z");
    restart(&b, "2036-01-31T06:00:00Z"); /* changed while down over its slot */
    update(&b, p);
    assert_int_equal(b.n, 0);
    expect_open(&b, "a.run", "2036-02-01T03:00:00Z");
    restart(&b, "2036-01-31T07:00:00Z"); /* removed while down */
    update(&b, NULL);
    expect_open(&b, "a.run", "");
    update(&b, p);
    restart(&b, "2036-02-01T04:00:00Z"); /* removed while down over its slot, and back later */
    update(&b, NULL);
    update(&b, p);
    assert_int_equal(b.n, 0);
    expect_gaps(&b, "");
    sm_inspection_unref(p);
    sm_inspection_unref(q);
    end(&b);
}

/* Down for a moment between a slot and its delayed start: it starts as if nothing had been. */
static void test_down_within_the_spread(void **state) {
    (void)state;
    bench b;
    begin(&b, "2036-01-31T12:00:30Z");
    sm_inspection *p = room_inspection("a.run", "{'title':'T','schedule':['@every 1h']}");
    p->first_run = true;
    update(&b, p);
    end_run(&b, 0);
    int64_t spread = sm_cron_spread_ms(p->crons[0], p->id);
    assert_true(spread > 2000 && spread < 58000);
    restart(&b, "2036-01-31T13:00:01Z");
    update(&b, p);
    assert_int_equal(b.n, 0);
    expect_next(&b, "a.run", "2036-01-31T13:00:00Z");
    at(&b, "2036-01-31T13:00:59Z");
    assert_int_equal(b.n, 1);
    assert_string_equal(b.runs[0].slot, "2036-01-31T13:00:00Z");
    assert_int_equal(b.runs[0].due_ns, b.runs[0].at * SM_NS_PER_S + spread * SM_NS_PER_MS);
    expect_gaps(&b, "");
    sm_inspection_unref(p);
    end(&b);
}

static void test_missed_before_it_ever_ran_by_schedule(void **state) {
    (void)state;
    bench b;
    begin(&b, "2036-01-31T12:00:00Z");
    sm_inspection *p = room_inspection("a.run", DAILY);
    p->first_run = true;
    update(&b, p);
    end_run(&b, 0);
    restart(&b, "2036-02-01T08:00:00Z");
    update(&b, p);
    assert_int_equal(b.n, 1);
    expect_run(&b, 0, "2036-02-01T03:00:00Z", "schedule", true);
    sm_inspection_unref(p);
    end(&b);
}

static void test_removed_and_changed(void **state) {
    (void)state;
    bench b;
    begin(&b, "2036-01-31T12:00:30Z");
    sm_inspection *p = room_inspection("a.run", MINUTELY);
    sm_inspection *hourly = room_inspection("a.run", "{'title':'T','schedule':['30 * * * *']}");
    update(&b, p);
    at(&b, "2036-01-31T12:01:00Z");
    update(&b, NULL); /* removed while it runs */
    expect_next(&b, "a.run", "");
    end_run(&b, 0);
    at(&b, "2036-01-31T12:10:00Z");
    assert_int_equal(b.n, 1);
    update(&b, p); /* back: from now, nothing is caught up */
    assert_int_equal(b.n, 1);
    expect_next(&b, "a.run", "2036-01-31T12:11:00Z");

    update(&b, hourly);
    expect_next(&b, "a.run", "2036-01-31T12:30:00Z");
    at(&b, "2036-01-31T12:29:59Z");
    assert_int_equal(b.n, 1);
    at(&b, "2036-01-31T12:30:00Z");
    assert_int_equal(b.n, 2);
    end_run(&b, 1);
    sm_inspection_unref(p);
    sm_inspection_unref(hourly);
    end(&b);
}

static void test_spread_outlives_an_update(void **state) {
    (void)state;
    bench b;
    begin(&b, "2036-01-31T12:00:30Z");
    sm_inspection *p = room_inspection("a.run", "{'title':'T','schedule':['@every 1m']}");
    sm_inspection *q = room_inspection("a.run", "{'title':'U','schedule':['@every 1m']}");
    int64_t spread = sm_cron_spread_ms(p->crons[0], p->id);
    assert_true(spread > 2000 && spread < 58000);
    update(&b, p);
    expect_next(&b, "a.run", "2036-01-31T12:01:00Z");
    at(&b, "2036-01-31T12:01:01Z"); /* its slot has come, its start has not */
    assert_int_equal(b.n, 0);
    update(&b, q); /* another text, the same schedule */
    expect_next(&b, "a.run", "2036-01-31T12:01:00Z");
    at(&b, "2036-01-31T12:01:59.900Z");
    assert_int_equal(b.n, 1);
    assert_string_equal(b.runs[0].slot, "2036-01-31T12:01:00Z");
    assert_ptr_equal(b.runs[0].inspection, q);
    sm_inspection_unref(p);
    sm_inspection_unref(q);
    end(&b);
}

static void test_overlap(void **state) {
    static const char *const skip = MINUTELY;
    static const char *const queue = "{'title':'T','schedule':['* * * * *'],'overlap':'queue'}";
    (void)state;
    bench b;
    begin(&b, "2036-01-31T12:00:30Z");
    sm_inspection *p = room_inspection("a.run", skip);
    update(&b, p);
    at(&b, "2036-01-31T12:01:00Z");
    for (int m = 2; m <= 9; m++) { /* a long run: its slots are one row */
        char when[40];
        snprintf(when, sizeof when, "2036-01-31T12:%02d:00Z", m);
        at(&b, when);
    }
    assert_int_equal(b.n, 1);
    expect_gaps(&b, "2036-01-31T12:02:00Z..2036-01-31T12:09:00Z 8 skipped");
    end_run(&b, 0);
    assert_int_equal(b.n, 1);
    at(&b, "2036-01-31T12:10:00Z");
    at(&b, "2036-01-31T12:11:00Z");
    end_run(&b, 1);
    expect_gaps(&b, "2036-01-31T12:02:00Z..2036-01-31T12:09:00Z 8 skipped, "
                    "2036-01-31T12:11:00Z skipped");

    sm_inspection *q = room_inspection("a.run", queue);
    update(&b, q);
    at(&b, "2036-01-31T12:13:00Z");
    end_run(&b, 2);
    at(&b, "2036-01-31T12:14:00Z");
    at(&b, "2036-01-31T12:15:00Z"); /* waits */
    at(&b, "2036-01-31T12:16:00Z"); /* one waits already */
    at(&b, "2036-01-31T12:17:00Z");
    assert_int_equal(b.n, 4);
    end_run(&b, 3);
    assert_int_equal(b.n, 5);
    expect_run(&b, 4, "2036-01-31T12:15:00Z", "schedule", true);
    end_run(&b, 4);
    assert_int_equal(b.n, 5); /* once */

    at(&b, "2036-01-31T12:18:00Z");
    at(&b, "2036-01-31T12:19:00Z");
    assert_int_equal(b.n, 6);
    update(&b, NULL); /* what waits says so when it goes */
    update(&b, q);
    end_run(&b, 5);
    assert_int_equal(b.n, 6);
    expect_gaps(&b, "2036-01-31T12:02:00Z..2036-01-31T12:09:00Z 8 skipped, "
                    "2036-01-31T12:11:00Z skipped, 2036-01-31T12:12:00Z missed, "
                    "2036-01-31T12:16:00Z..2036-01-31T12:17:00Z 2 skipped, "
                    "2036-01-31T12:19:00Z skipped");
    assert_int_equal(b.skipped, 12);
    assert_int_equal(b.missed, 1);
    sm_inspection_unref(p);
    sm_inspection_unref(q);
    end(&b);
}

static void test_stopped(void **state) {
    (void)state;
    bench b;
    begin(&b, "2036-01-31T12:00:30Z");
    sm_inspection *q =
        room_inspection("a.run", "{'title':'T','schedule':['* * * * *'],'overlap':'queue'}");
    update(&b, q);
    at(&b, "2036-01-31T12:01:00Z");
    at(&b, "2036-01-31T12:02:00Z");
    sm_scheduler_stop(b.s);
    end_run(&b, 0);
    at(&b, "2036-01-31T12:03:00Z");
    assert_int_equal(b.n, 1);
    sm_inspection_unref(q);
    end(&b);
}

static void test_many_in_order(void **state) {
    (void)state;
    bench b;
    begin(&b, "2036-01-31T12:00:30Z");
    sm_inspection *list[40];
    for (int i = 0; i < 40; i++) {
        char id[32], spec[100];
        snprintf(id, sizeof id, "i%02d.run", (i * 7) % 40);
        snprintf(spec, sizeof spec, "{'title':'T','schedule':['%d * * * *']}", 1 + (i * 11) % 40);
        list[i] = room_inspection(id, spec);
    }
    sm_scheduler_update(b.s, list, 40);
    sm_scheduler_update(b.s, list, 20); /* half of them are removed again */
    for (int m = 1; m <= 40; m++) {
        char when[40];
        snprintf(when, sizeof when, "2036-01-31T12:%02d:00Z", m);
        at(&b, when);
    }
    assert_int_equal(b.n, 20);
    for (int i = 1; i < b.n; i++)
        assert_true(b.runs[i - 1].at < b.runs[i].at);
    for (int i = 0; i < 40; i++)
        sm_inspection_unref(list[i]);
    end(&b);
}

/* Lets the scheduler look at the clock and at zone files, as it does every 5 s. */
static void look(bench *b, int times) {
    int before = b->s->looks, *looks = &b->s->looks;
    uv_timer_set_repeat(&b->s->look, 1);
    uv_timer_again(&b->s->look);
    room_wait(&b->room, looks, before + times);
    uv_timer_set_repeat(&b->s->look, 3600 * 1000);
    uv_timer_again(&b->s->look);
    room_settle(&b->room);
}

/* The machine slept: what was due meanwhile was missed, although no timer and nobody said so. */
static void test_suspend(void **state) {
    (void)state;
    bench b;
    begin(&b, "2036-01-31T12:00:30Z");
    sm_inspection *p = room_inspection("a.run", MINUTELY);
    update(&b, p);
    set_clock(&b, "2036-01-31T15:00:40Z");
    b.slept_ns = 10810 * SM_NS_PER_S;
    look(&b, 1);
    assert_int_equal(b.n, 1);
    expect_run(&b, 0, "2036-01-31T15:00:00Z", "schedule", true);
    end_run(&b, 0);
    expect_gaps(&b, "2036-01-31T12:01:00Z..2036-01-31T14:59:00Z 179 missed");
    look(&b, 2);
    assert_int_equal(b.n, 1);
    sm_inspection_unref(p);
    end(&b);
}

/* Set, and the kernel told nobody (another clock in the process's way, a moved container). */
static void test_clock_set_unnoticed(void **state) {
    (void)state;
    bench b;
    begin(&b, "2036-01-31T12:00:30Z");
    sm_inspection *p = room_inspection("a.run", MINUTELY);
    update(&b, p);
    b.mono_ns += 5 * SM_NS_PER_S;
    b.now_ns += 5 * SM_NS_PER_S;
    look(&b, 1);
    assert_int_equal(b.n, 0);
    set_clock(&b, "2036-01-31T11:00:30Z");
    look(&b, 1);
    expect_next(&b, "a.run", "2036-01-31T11:01:00Z");
    expect_open(&b, "a.run", "2036-01-31T11:01:00Z");
    sm_inspection_unref(p);
    end(&b);
}

static void write_zone(const char *dir, const char *offset) {
    char command[400];
    snprintf(command, sizeof command,
             "cd '%s' && echo 'Zone Here %s - XXX' > x.zic && PATH=\"$PATH:/usr/sbin\" zic -d new "
             "x.zic && mv new/Here Here",
             dir, offset);
    assert_int_equal(system(command), 0);
}

static void test_zone_file_changes(void **state) {
    (void)state;
    bench b;
    begin(&b, "2036-01-31T12:00:30Z");
    assert_int_equal(setenv("TZDIR", b.room.dir, 1), 0);
    write_zone(b.room.dir, "1");
    sm_inspection *p = room_inspection("a.run", "{'title':'T','schedule':['0 20 * * *']}");
    sm_inspection *q = room_inspection("b.run", "{'title':'T','schedule':['0 20 * * *']}");
    assert_int_equal(sm_tz_load(NULL, "Here", &p->tz, NULL), SM_OK);
    sm_inspection *list[] = {p, q};
    sm_scheduler_update(b.s, list, 2);
    expect_next(&b, "a.run", "2036-01-31T19:00:00Z");
    look(&b, 6);
    expect_next(&b, "a.run", "2036-01-31T19:00:00Z");
    write_zone(b.room.dir, "3");
    look(&b, 6);
    expect_next(&b, "a.run", "2036-01-31T17:00:00Z");
    expect_next(&b, "b.run", "2036-01-31T20:00:00Z");
    expect_open(&b, "a.run", "2036-01-31T17:00:00Z");
    char path[100];
    snprintf(path, sizeof path, "%s/Here", b.room.dir);
    assert_int_equal(truncate(path, 10), 0); /* no zone file any more */
    look(&b, 6);
    expect_next(&b, "a.run", "2036-01-31T17:00:00Z");
    assert_int_equal(unlink(path), 0);
    look(&b, 6);
    expect_next(&b, "a.run", "2036-01-31T17:00:00Z");
    write_zone(b.room.dir, "4");
    look(&b, 6);
    expect_next(&b, "a.run", "2036-01-31T16:00:00Z");
    unsetenv("TZDIR");
    sm_inspection_unref(p);
    sm_inspection_unref(q);
    end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots_in_time),
        cmocka_unit_test(test_late_but_not_missed),
        cmocka_unit_test(test_clock_back),
        cmocka_unit_test(test_clock_was_ahead),
        cmocka_unit_test(test_clock_is_wrong),
        cmocka_unit_test(test_clock_set_unnoticed),
        cmocka_unit_test(test_suspend),
        cmocka_unit_test(test_zone_file_changes),
        cmocka_unit_test(test_clock_far_forward),
        cmocka_unit_test(test_down),
        cmocka_unit_test(test_down_again),
        cmocka_unit_test(test_missed_all),
        cmocka_unit_test(test_no_plan_is_left_behind),
        cmocka_unit_test(test_down_within_the_spread),
        cmocka_unit_test(test_missed_before_it_ever_ran_by_schedule),
        cmocka_unit_test(test_removed_and_changed),
        cmocka_unit_test(test_spread_outlives_an_update),
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_many_in_order),
    };
    sm_log_setup(SM_LOG_ERROR, false, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
