/* The intake: what a worker's report becomes, with the real store; the dispatcher is a fake that
 * notes the answers. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "room_help.h"
#include "daemon/intake.h"

typedef struct bench {
    room room;
    sm_intake *i;
    int answers, acks, closed, stored, events;
    int64_t seq;
    char error[300], worst[16], headline[200], kept[500];
    json_t *ids;
} bench;

/* Stands in for daemon/dispatcher.c. */
bool sm_dispatcher_answer(sm_dispatcher *d, const char *run_id, int64_t seq, const json_t *ids,
                          const char *error) {
    bench *b = (bench *)(void *)d;
    (void)run_id;
    b->answers++;
    b->acks += ids != NULL;
    b->seq = seq;
    json_decref(b->ids);
    b->ids = ids ? json_deep_copy(ids) : NULL;
    snprintf(b->error, sizeof b->error, "%s", error ? error : "");
    return true;
}

static void on_stored(void *ctx) {
    ((bench *)ctx)->stored++;
}

static void on_closed(void *ctx, const sm_intake_run *run) {
    bench *b = ctx;
    b->closed++;
    b->events = run->events;
    snprintf(b->worst, sizeof b->worst, "%s", run->worst ? run->worst : "");
    snprintf(b->headline, sizeof b->headline, "%s", run->headline);
    char *text = run->kept ? sm_json_dump(run->kept, NULL) : NULL;
    snprintf(b->kept, sizeof b->kept, "%s", text ? text : "");
    free(text);
}

static void begin(bench *b, bool dry) {
    memset(b, 0, sizeof *b);
    room_open(&b->room);
    b->i = sm_intake_new(dry ? NULL : b->room.store, "local", on_stored, b);
    sm_intake_bind(b->i, (sm_dispatcher *)(void *)b);
}

static void end(bench *b) {
    if (b->room.store) {
        room_settle(&b->room);
        room_close_store(&b->room);
    }
    room_turn_out(&b->room);
    sm_intake_free(b->i);
    json_decref(b->ids);
    room_remove(&b->room);
}

static void open_run_by(bench *b, const char *run, const char *spec, const char *trigger) {
    sm_inspection *p = room_inspection("a.run", spec);
    if (json_object_get(p->spec, "limits"))
        json_object_update(p->limits, json_object_get(p->spec, "limits"));
    sm_intake_open(b->i, run, p, "rul_1", 1, trigger);
    sm_inspection_unref(p);
}

static void open_run(bench *b, const char *run, const char *spec) {
    open_run_by(b, run, spec, "schedule");
}

static json_t *event(const char *title, const char *status) {
    return json_pack("{s:s, s:s, s:s, s:{s:s}}", "title", title, "message", "M", "status", status,
                     "dimension_tags", "d", "x");
}

static void report(bench *b, const char *run, int64_t seq, json_t *events) {
    sm_intake_report(b->i, run, seq, events);
    json_decref(events);
}

static int64_t waiting(bench *b) {
    json_t *s = room_ask(&b->room, SM_OP_OUTBOX_STATS, NULL);
    int64_t n = sm_json_int(s, "pending", -1);
    json_decref(s);
    return n;
}

static void test_accepted(void **state) {
    (void)state;
    bench b;
    begin(&b, false);
    open_run(&b, "run1", NULL);
    report(&b, "run1", 1, json_pack("[o, o]", event("One", "warning"), event("Two", "critical")));
    assert_int_equal(b.answers, 0); /* never from memory */
    room_wait(&b.room, &b.answers, 1);
    assert_int_equal(b.acks, 1);
    assert_int_equal(b.seq, 1);
    assert_int_equal(b.stored, 1);
    assert_int_equal(json_array_size(b.ids), 2);
    const char *id = json_string_value(json_array_get(b.ids, 0));
    assert_int_equal(strlen(id), 6 + 32);
    assert_memory_equal(id, "event-", 6);
    assert_true(strcmp(id, json_string_value(json_array_get(b.ids, 1))) < 0);
    assert_int_equal(waiting(&b), 2);
    report(&b, "run1", 2, json_pack("[o]", event("Three", "error")));
    room_wait(&b.room, &b.answers, 2);
    report(&b, "run1", 3, json_array()); /* an empty list is allowed */
    room_wait(&b.room, &b.answers, 3);
    assert_int_equal(b.acks, 3);
    sm_intake_close(b.i, "run1", on_closed, &b);
    assert_int_equal(b.closed, 1);
    assert_int_equal(b.events, 3);
    assert_string_equal(b.worst, "critical");
    assert_string_equal(b.headline, "Two");
    end(&b);
}

/* How the run was started reaches the platform in its own words. */
static void test_exec_mode(void **state) {
    static const struct {
        const char *trigger, *mode;
    } rows[] = {{"schedule", "crontab"},
                {"first", "crontab"},
                {"retry", "crontab"},
                {"manual", "manual"},
                {"once", "manual"}};
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("  %s\n", rows[i].trigger);
        bench b;
        begin(&b, false);
        open_run_by(&b, "run1", NULL, rows[i].trigger);
        report(&b, "run1", 1, json_pack("[o]", event("One", "error")));
        room_wait(&b.room, &b.answers, 1);
        json_t *claimed = room_ask(&b.room, SM_OP_OUTBOX_CLAIM, json_pack("{s:i}", "now_ms", 1));
        const json_t *payload = json_object_get(json_array_get(claimed, 0), "payload");
        assert_string_equal(sm_json_str(payload, "exec_mode", ""), rows[i].mode);
        json_decref(claimed);
        end(&b);
    }
}

static void test_refused(void **state) {
    static const struct {
        const char *name, *run, *spec, *part;
        int bad; /* which event of two is broken: 1, 2; 0: none */
    } rows[] = {
        {"unknown run", "other", NULL, "this run has ended", 0},
        {"bad event", "run1", NULL, "events[1].status: expected one of", 1},
        {"second bad: nothing of it", "run1", NULL, "events[2].status: expected one of", 2},
        {"too many", "run1", "{'title':'T','limits':{'events':1}}",
         "at most 1 events a run (limits.events)", 0},
    };
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("  %s\n", rows[i].name);
        bench b;
        begin(&b, false);
        open_run(&b, "run1", rows[i].spec);
        report(&b, rows[i].run, 1,
               json_pack("[o, o]", event("A", rows[i].bad == 1 ? "crit" : "info"),
                         event("B", rows[i].bad == 2 ? "crit" : "info")));
        assert_int_equal(b.answers, 1);
        assert_int_equal(b.acks, 0);
        if (!strstr(b.error, rows[i].part))
            fail_msg("%s", b.error);
        assert_int_equal(waiting(&b), 0);
        report(&b, "run1", 2, json_pack("[o]", event("A", "info"))); /* the run goes on */
        room_wait(&b.room, &b.answers, 2);
        assert_int_equal(b.acks, 1);
        sm_intake_close(b.i, "run1", on_closed, &b);
        assert_int_equal(b.events, 1);
        end(&b);
    }
}

static void test_not_a_list(void **state) {
    (void)state;
    bench b;
    begin(&b, false);
    open_run(&b, "run1", NULL);
    json_t *bad[] = {NULL, json_null(), json_object(), json_pack("[n]"), json_pack("[i]", 1)};
    for (size_t i = 0; i < SM_ARRAY_LEN(bad); i++) {
        sm_intake_report(b.i, "run1", 1, bad[i]);
        assert_int_equal(b.answers, (int)i + 1);
        json_decref(bad[i]);
    }
    assert_int_equal(b.acks, 0);
    end(&b);
}

static void test_closed_while_accepting(void **state) {
    (void)state;
    bench b;
    begin(&b, false);
    open_run(&b, "run1", NULL);
    report(&b, "run1", 1, json_pack("[o]", event("One", "error")));
    sm_intake_close(b.i, "run1", on_closed, &b);
    assert_int_equal(b.closed, 0); /* the event is on its way: its run waits for it */
    report(&b, "run1", 2, json_pack("[o]", event("Late", "error")));
    assert_int_equal(b.answers, 1);
    assert_string_equal(b.error, "this run has ended");
    room_wait(&b.room, &b.closed, 1);
    assert_int_equal(b.events, 1);
    assert_int_equal(waiting(&b), 1);
    sm_intake_close(b.i, "run1", on_closed, &b); /* forgotten */
    assert_int_equal(b.closed, 2);
    assert_int_equal(b.events, 0);
    end(&b);
}

static void test_store_that_cannot(void **state) {
    (void)state;
    bench b;
    begin(&b, false);
    room_close_store(&b.room);
    char path[96];
    snprintf(path, sizeof path, "%s/selfmon.db", b.room.dir);
    sm_store_options opt = {
        .path = path, .outbox_bytes = 3000, .wake = room_on_store, .ctx = &b.room};
    assert_int_equal(sm_store_open(&opt, &b.room.store, NULL), SM_OK);
    sm_intake_free(b.i);
    b.i = sm_intake_new(b.room.store, "local", on_stored, &b);
    sm_intake_bind(b.i, (sm_dispatcher *)(void *)&b);
    open_run(&b, "run1", NULL);
    json_t *big = json_array();
    for (int i = 0; i < 100; i++)
        json_array_append_new(big, event("A title of some length that needs its room", "info"));
    report(&b, "run1", 1, big);
    room_wait(&b.room, &b.answers, 1);
    assert_int_equal(b.acks, 0);
    assert_memory_equal(b.error, "outbox is full: ", 16);
    assert_int_equal(waiting(&b), 0);
    assert_int_equal(b.stored, 0);
    sm_intake_close(b.i, "run1", on_closed, &b);
    assert_int_equal(b.events, 0);
    assert_string_equal(b.worst, "");
    end(&b);
}

static void test_dry(void **state) {
    (void)state;
    bench b;
    begin(&b, true);
    open_run(&b, "run1", NULL);
    report(&b, "run1", 1, json_pack("[o]", event("One", "ok")));
    assert_int_equal(b.acks, 1);
    sm_intake_close(b.i, "run1", on_closed, &b);
    assert_int_equal(b.events, 1);
    assert_string_equal(b.worst, "ok");
    assert_non_null(strstr(b.kept, "\"event_id\":\"event-"));
    assert_int_equal(waiting(&b), 0);
    end(&b);
}

static void test_long_headline(void **state) {
    (void)state;
    bench b;
    begin(&b, true);
    open_run(&b, "run1", NULL);
    char title[300] = "";
    for (int i = 0; i < 90; i++)
        strcat(title, "\xE2\x82\xAC"); /* 270 bytes */
    report(&b, "run1", 1, json_pack("[o]", event(title, "info")));
    sm_intake_close(b.i, "run1", on_closed, &b);
    assert_int_equal(strlen(b.headline), 159); /* whole characters */
    end(&b);
}

static void test_freed_with_runs(void **state) {
    (void)state;
    bench b;
    begin(&b, false);
    for (int i = 0; i < 20; i++) {
        char run[16];
        snprintf(run, sizeof run, "run%d", i);
        open_run(&b, run, NULL);
    }
    end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_exec_mode),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_not_a_list),
        cmocka_unit_test(test_closed_while_accepting),
        cmocka_unit_test(test_store_that_cannot),
        cmocka_unit_test(test_dry),
        cmocka_unit_test(test_long_headline),
        cmocka_unit_test(test_freed_with_runs),
    };
    sm_log_setup(SM_LOG_ERROR, false, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
