/* The registrar against a platform that is scripted: what it is asked, and what everybody hears. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "room_help.h"
#include "daemon/registrar.h"
#include "platform/checker.h"

typedef struct answering { /* a call that the fake answers at the next turn */
    struct answering *next;
    sm_target_done done;
    void *ctx;
    sm_rc rc;
    json_t *result;
} answering;

typedef struct fake { /* the platform */
    room *r;
    json_t *items; /* refKey -> item */
    int lists, creates, modifies, keys, made;
    int most_keys;
    sm_rc list_rc, create_rc, modify_rc; /* SM_OK: does as asked */
    bool hide;                           /* takes a create and does not show it */
    bool stubborn;                       /* takes a modification and shows the former text */
    bool mute;                           /* keeps its answers until it is false again */
    char first_key[64];
    answering *queue;
    uv_timer_t timer;
    sm_target target;
} fake;

static void fake_turn(uv_timer_t *t) {
    fake *f = t->data;
    answering *list = f->queue;
    if (f->mute)
        return;
    f->queue = NULL;
    for (answering *next; list; list = next) {
        next = list->next;
        sm_err err = SM_ERR_INIT;
        if (list->rc != SM_OK)
            sm_err_set(&err, list->rc, "the platform is %s", sm_rc_name(list->rc));
        list->done(list->ctx, list->rc, &err, list->result);
        json_decref(list->result);
        free(list);
    }
}

static void fake_answer(fake *f, sm_rc rc, json_t *result, sm_target_done done, void *ctx) {
    answering *a = sm_calloc(1, sizeof *a), **at = &f->queue;
    *a = (answering){.done = done, .ctx = ctx, .rc = rc, .result = result};
    while (*at)
        at = &(*at)->next;
    *at = a;
    uv_timer_start(&f->timer, fake_turn, 0, 0);
}

static void fake_list(void *ctx, const json_t *keys, sm_target_done done, void *done_ctx) {
    fake *f = ctx;
    json_t *found = json_array(), *key;
    size_t i;
    if (f->lists++ == 0)
        snprintf(f->first_key, sizeof f->first_key, "%s",
                 json_string_value(json_array_get(keys, 0)));
    f->keys += (int)json_array_size(keys);
    f->most_keys =
        (int)json_array_size(keys) > f->most_keys ? (int)json_array_size(keys) : f->most_keys;
    json_array_foreach(keys, i, key) {
        json_t *item = json_object_get(f->items, json_string_value(key));
        if (item)
            json_array_append_new(found, json_deep_copy(item));
    }
    if (f->list_rc != SM_OK) {
        json_decref(found);
        found = NULL;
    }
    fake_answer(f, f->list_rc, found, done, done_ctx);
}

static json_t *item_of(fake *f, const json_t *payload) {
    char uuid[32];
    snprintf(uuid, sizeof uuid, "rul_%d", ++f->made);
    return json_pack("{s:s, s:O, s:i, s:{s:O, s:O, s:{}}, s:i}", "uuid", uuid, "refKey",
                     json_object_get(payload, "refKey"), "status", 0, "jsonScript", "title",
                     json_object_get(payload, "title"), "refFuncInfo",
                     json_object_get(payload, "refFuncInfo"), "callKwargs", "createAt", f->made);
}

static void fake_create(void *ctx, const json_t *payload, sm_target_done done, void *done_ctx) {
    fake *f = ctx;
    f->creates++;
    if (f->create_rc == SM_OK && !f->hide)
        json_object_set_new(f->items, sm_json_str(payload, "refKey", ""), item_of(f, payload));
    fake_answer(f, f->create_rc, NULL, done, done_ctx);
}

static void fake_modify(void *ctx, const char *ref_key, const json_t *payload, sm_target_done done,
                        void *done_ctx) {
    fake *f = ctx;
    f->modifies++;
    json_t *item = json_object_get(f->items, ref_key);
    if (f->modify_rc == SM_OK && item && !f->stubborn) {
        json_t *script = json_object_get(item, "jsonScript");
        json_object_set(script, "title", json_object_get(payload, "title"));
        json_object_set(script, "refFuncInfo", json_object_get(payload, "refFuncInfo"));
    }
    fake_answer(f, f->modify_rc, NULL, done, done_ctx);
}

typedef struct heard {
    int n;
    bool known;
    int status;
    char uuid[40], error[200];
    int64_t limit; /* parameter `limit` */
} heard;

static void on_view(void *ctx, const sm_view *v) {
    heard *h = ctx;
    h->n++;
    h->known = v->known;
    h->status = v->status;
    snprintf(h->uuid, sizeof h->uuid, "%s", v->uuid ? v->uuid : "");
    snprintf(h->error, sizeof h->error, "%s", v->error ? v->error : "");
    h->limit = sm_json_int(v->params, "limit", -1);
}

typedef struct bench {
    room room;
    fake f;
    sm_registrar *r;
    int ready;
} bench;

static void on_ready(void *ctx) {
    ((bench *)ctx)->ready++;
}

static void registrar_open(bench *b, double max_age) {
    b->r = sm_registrar_new(&b->room.loop, b->room.store, &b->f.target, max_age);
    b->ready = 0;
    sm_registrar_load(b->r, on_ready, b);
    room_wait(&b->room, &b->ready, 1);
}

static void begin(bench *b, double max_age) {
    memset(b, 0, sizeof *b);
    room_open(&b->room);
    b->f.r = &b->room;
    b->f.items = json_object();
    b->f.target = (sm_target){.ctx = &b->f,
                              .node = "fake",
                              .list = fake_list,
                              .create = fake_create,
                              .modify = fake_modify};
    uv_timer_init(&b->room.loop, &b->f.timer);
    b->f.timer.data = &b->f;
    registrar_open(b, max_age);
}

/* As a restart of the process: what is known comes from the store. */
static void restart(bench *b, double max_age) {
    room_settle(&b->room);
    sm_registrar_close(b->r);
    uv_run(&b->room.loop, UV_RUN_NOWAIT);
    room_close_store(&b->room);
    sm_registrar_free(b->r);
    room_open_store(&b->room);
    registrar_open(b, max_age);
}

static void end(bench *b) {
    room_settle(&b->room);
    assert_int_equal(sm_registrar_waiting(b->r), 0);
    sm_registrar_close(b->r);
    uv_close((uv_handle_t *)&b->f.timer, NULL);
    room_close_store(&b->room);
    room_turn_out(&b->room);
    sm_registrar_free(b->r);
    json_decref(b->f.items);
    room_remove(&b->room);
}

static void ask(bench *b, sm_inspection *p, bool must, heard *h) {
    memset(h, 0, sizeof *h);
    sm_registrar_ensure(b->r, p, must, on_view, h);
    assert_int_equal(h->n, 0); /* never from inside */
}

static void ask_wait(bench *b, sm_inspection *p, bool must, heard *h) {
    ask(b, p, must, h);
    room_wait(&b->room, &h->n, 1);
    assert_int_equal(h->n, 1);
}

static json_t *item(bench *b, const char *id) {
    char key[64];
    snprintf(key, sizeof key, "key-%s", id);
    return json_object_get(b->f.items, key);
}

static void test_250_in_one_turn(void **state) {
    (void)state;
    enum { N = 250 };
    static heard h[N];
    bench b;
    begin(&b, 60);
    sm_inspection *p[N];
    for (int i = 0; i < N; i++) {
        char id[32];
        snprintf(id, sizeof id, "demo/i%03d.run", i);
        p[i] = room_inspection(id, NULL);
        json_t *payload = sm_checker_payload(id, p[i]->ref_key, "A title", "", "general", NULL);
        json_object_set_new(b.f.items, p[i]->ref_key, item_of(&b.f, payload));
        json_decref(payload);
        ask(&b, p[i], true, &h[i]);
    }
    assert_int_equal(sm_registrar_waiting(b.r), N);
    room_wait(&b.room, &h[N - 1].n, 1);
    room_settle(&b.room);
    assert_int_equal(b.f.lists, 3);
    assert_int_equal(b.f.keys, N);
    assert_int_equal(b.f.most_keys, 100);
    assert_string_equal(b.f.first_key, "key-demo/i000.run"); /* in the order of asking */
    assert_int_equal(b.f.creates, 0);
    for (int i = 0; i < N; i++) {
        char uuid[32];
        snprintf(uuid, sizeof uuid, "rul_%d", i + 1);
        assert_int_equal(h[i].n, 1);
        assert_true(h[i].known);
        assert_string_equal(h[i].uuid, uuid);
        sm_inspection_unref(p[i]);
    }
    end(&b);
}

static void test_life(void **state) {
    (void)state;
    bench b;
    heard h;
    begin(&b, 0);
    sm_inspection *p = room_inspection("demo/a.run", NULL);
    ask_wait(&b, p, true, &h); /* not there: created, then listed again for its UUID */
    assert_true(h.known);
    assert_string_equal(h.uuid, "rul_1");
    assert_string_equal(h.error, "");
    assert_int_equal(b.f.lists, 2);
    assert_int_equal(b.f.creates, 1);

    ask_wait(&b, p, false, &h); /* there and equal: one list, nothing else */
    assert_int_equal(b.f.lists, 3);
    assert_int_equal(b.f.creates + b.f.modifies, 1);

    /* Disabled and parametrised there. */
    json_object_set_new(item(&b, p->id), "status", json_integer(2));
    json_object_set_new(json_object_get(item(&b, p->id), "jsonScript"), "callKwargs",
                        json_pack("{s:i}", "limit", 7));
    ask_wait(&b, p, false, &h);
    assert_int_equal(h.status, 2);
    assert_int_equal(h.limit, 7);
    assert_int_equal(b.f.modifies, 0);

    json_object_clear(b.f.items); /* deleted there: created again, another UUID, enabled, bare */
    ask_wait(&b, p, false, &h);
    assert_string_equal(h.uuid, "rul_2");
    assert_int_equal(h.status, 0);
    assert_int_equal(h.limit, -1);
    assert_int_equal(b.f.creates, 2);

    /* Another title: modified once. */
    sm_inspection *q = room_inspection("demo/a.run", "{'title':'Another'}");
    ask_wait(&b, q, false, &h);
    assert_int_equal(b.f.modifies, 1);
    assert_string_equal(sm_json_str(json_object_get(item(&b, p->id), "jsonScript"), "title", ""),
                        "Another");
    ask_wait(&b, q, false, &h);
    assert_int_equal(b.f.modifies, 1);

    /* Somebody else created it in between. */
    json_object_clear(b.f.items);
    b.f.create_rc = SM_EXISTS;
    b.f.hide = true;
    ask_wait(&b, q, false, &h);
    assert_string_equal(h.error, "the platform took the registration but does not show it");
    assert_true(h.known); /* the last known one */
    sm_inspection_unref(p);
    sm_inspection_unref(q);
    end(&b);
}

/* What the platform shows late is not created a second time. */
static void test_shown_late(void **state) {
    (void)state;
    bench b;
    heard h;
    begin(&b, 0);
    sm_inspection *p = room_inspection("demo/a.run", NULL);
    b.f.hide = true;
    for (int i = 0; i < 3; i++) {
        ask_wait(&b, p, true, &h);
        assert_false(h.known);
        assert_string_equal(h.error, "the platform took the registration but does not show it");
        assert_int_equal(b.f.creates, 1);
    }
    /* It comes at last; deleted by a person afterwards, it is made again at once. */
    b.f.hide = false;
    json_t *payload = sm_checker_payload(p->id, p->ref_key, "A title", "", "general", NULL);
    json_object_set_new(b.f.items, p->ref_key, item_of(&b.f, payload));
    json_decref(payload);
    ask_wait(&b, p, true, &h);
    assert_true(h.known);
    json_object_clear(b.f.items);
    ask_wait(&b, p, true, &h);
    assert_true(h.known);
    assert_int_equal(b.f.creates, 2);
    sm_inspection_unref(p);
    end(&b);
}

/* A platform that never shows what it took is not asked for ever to change it. */
static void test_stubborn(void **state) {
    (void)state;
    bench b;
    heard h;
    begin(&b, 0);
    sm_inspection *p = room_inspection("demo/a.run", NULL);
    sm_inspection *q = room_inspection("demo/a.run", "{'title':'Another'}");
    sm_inspection *s = room_inspection("demo/a.run", "{'title':'A third'}");
    ask_wait(&b, p, true, &h);
    b.f.stubborn = true;
    for (int i = 0; i < 8; i++) {
        ask_wait(&b, q, true, &h);
        assert_true(h.known);
        assert_true(h.error[0] == '\0');
    }
    assert_int_equal(b.f.modifies, 3);
    /* Another text is tried anew, and taken. */
    b.f.stubborn = false;
    ask_wait(&b, s, true, &h);
    assert_int_equal(b.f.modifies, 4);
    assert_string_equal(sm_json_str(json_object_get(item(&b, p->id), "jsonScript"), "title", ""),
                        "A third");
    sm_inspection_unref(p);
    sm_inspection_unref(q);
    sm_inspection_unref(s);
    end(&b);
}

static void test_memory(void **state) {
    (void)state;
    bench b;
    heard h;
    begin(&b, 3600);
    sm_inspection *p = room_inspection("demo/a.run", NULL);
    sm_inspection *q = room_inspection("demo/a.run", "{'title':'Another'}");
    ask_wait(&b, p, false, &h);
    assert_int_equal(b.f.lists, 2);
    ask_wait(&b, p, false, &h); /* young enough */
    assert_int_equal(b.f.lists, 2);
    assert_true(h.known);
    ask_wait(&b, p, true, &h); /* but not when it must ask */
    assert_int_equal(b.f.lists, 3);

    /* Asked for from memory and for sure in one turn: asked. */
    heard again;
    ask(&b, p, false, &h);
    ask(&b, p, true, &again);
    room_wait(&b.room, &again.n, 1);
    assert_int_equal(h.n, 1);
    assert_int_equal(b.f.lists, 4);

    /* What the platform did not take is tried again, however young the view is. */
    b.f.modify_rc = SM_IO;
    ask_wait(&b, q, false, &h);
    assert_string_equal(h.error, "the platform is io");
    assert_true(h.known);
    ask_wait(&b, q, false, &h);
    assert_int_equal(b.f.modifies, 2);
    restart(&b, 3600); /* also by the next process */
    b.f.modify_rc = SM_OK;
    ask_wait(&b, q, false, &h);
    assert_int_equal(b.f.modifies, 3);
    assert_string_equal(h.error, "");
    int lists = b.f.lists;
    restart(&b, 3600); /* and what it took is known then */
    ask_wait(&b, q, false, &h);
    assert_int_equal(b.f.lists, lists);
    assert_string_equal(h.uuid, "rul_1");
    sm_inspection_unref(p);
    sm_inspection_unref(q);
    end(&b);
}

static void test_joined(void **state) {
    (void)state;
    bench b;
    heard h[6];
    begin(&b, 0);
    sm_inspection *p = room_inspection("demo/a.run", NULL);
    sm_inspection *q = room_inspection("demo/a.run", "{'title':'Another'}");
    for (int i = 0; i < 3; i++)
        ask(&b, p, i == 2, &h[i]);
    room_wait(&b.room, &h[2].n, 1);
    assert_int_equal(h[0].n + h[1].n + h[2].n, 3);
    assert_int_equal(b.f.lists, 2);

    /* While its list is under way: the same joins; one that must ask, and one with another text,
     * are asked after it. */
    b.f.mute = true;
    ask(&b, p, false, &h[0]);
    for (int i = 0; i < 20 && b.f.lists < 3; i++)
        uv_run(&b.room.loop, UV_RUN_NOWAIT);
    assert_int_equal(b.f.lists, 3);
    ask(&b, p, false, &h[1]);
    ask(&b, p, true, &h[2]);
    ask(&b, q, false, &h[3]);
    ask(&b, q, false, &h[4]);
    assert_int_equal(sm_registrar_waiting(b.r), 5);
    sm_inspection_unref(p); /* removed from the catalogue meanwhile */
    json_object_set_new(item(&b, "demo/a.run"), "status", json_integer(2));
    b.f.mute = false;
    fake_turn(&b.f.timer);
    assert_int_equal(h[0].n, 1);
    assert_int_equal(h[1].n, 1);
    assert_int_equal(h[0].status, 0); /* the list was made before it was disabled */
    assert_int_equal(h[2].n, 0);
    room_wait(&b.room, &h[4].n, 1);
    assert_int_equal(h[2].n + h[3].n, 2);
    assert_int_equal(h[2].status, 2);
    assert_int_equal(b.f.modifies, 1);
    assert_string_equal(
        sm_json_str(json_object_get(item(&b, "demo/a.run"), "jsonScript"), "title", ""), "Another");
    sm_inspection_unref(q);
    end(&b);
}

static void test_outage(void **state) {
    (void)state;
    bench b;
    heard h;
    begin(&b, 0);
    sm_inspection *p = room_inspection("demo/a.run", NULL);
    sm_inspection *never = room_inspection("demo/never.run", NULL);
    ask_wait(&b, p, false, &h);
    json_object_set_new(json_object_get(item(&b, p->id), "jsonScript"), "callKwargs",
                        json_pack("{s:i}", "limit", 7));
    ask_wait(&b, p, false, &h);
    b.f.list_rc = SM_TIMEOUT;
    for (int i = 0; i < 2; i++) {
        ask_wait(&b, p, true, &h);
        assert_true(h.known);
        assert_string_equal(h.uuid, "rul_1");
        assert_int_equal(h.limit, 7);
        assert_string_equal(h.error, "the platform is timeout");
        ask_wait(&b, never, true, &h);
        assert_false(h.known);
        assert_string_equal(h.error, "the platform is timeout");
        restart(&b, 0); /* the store knows it too */
    }
    sm_view v;
    sm_registrar_peek(b.r, p->id, &v);
    assert_true(v.known);
    sm_registrar_peek(b.r, never->id, &v);
    assert_false(v.known);

    /* Under another association key it is another registration: nothing is known of it. */
    sm_inspection *other = room_inspection("demo/a.run", NULL);
    snprintf(other->ref_key, sizeof other->ref_key, "pinned");
    ask_wait(&b, other, false, &h);
    assert_false(h.known);
    assert_int_equal(h.limit, -1);

    /* Creating fails: not registered, asked again, then registered. */
    b.f.list_rc = SM_OK;
    b.f.create_rc = SM_DENIED;
    ask_wait(&b, never, false, &h);
    assert_false(h.known);
    assert_string_equal(h.error, "the platform is denied");
    b.f.create_rc = SM_OK;
    ask_wait(&b, never, false, &h);
    assert_true(h.known);
    sm_inspection_unref(p);
    sm_inspection_unref(never);
    sm_inspection_unref(other);
    end(&b);
}

typedef struct chain { /* asks again from inside an answer */
    bench *b;
    sm_inspection *p;
    int left, n;
} chain;

static void on_chain(void *ctx, const sm_view *v) {
    chain *c = ctx;
    assert_true(v->known);
    c->n++;
    if (c->left-- > 0)
        sm_registrar_ensure(c->b->r, c->p, false, on_chain, c);
}

static void test_asking_from_an_answer(void **state) {
    (void)state;
    static const double ages[] = {0, 3600};
    for (size_t i = 0; i < 2; i++) {
        bench b;
        begin(&b, ages[i]);
        sm_inspection *p = room_inspection("demo/a.run", NULL);
        chain one = {&b, p, 3, 0}, two = {&b, p, 3, 0};
        sm_registrar_ensure(b.r, p, false, on_chain, &one);
        sm_registrar_ensure(b.r, p, false, on_chain, &two);
        room_wait(&b.room, &one.n, 4);
        room_wait(&b.room, &two.n, 4);
        assert_int_equal(b.f.lists, i == 0 ? 5 : 2);
        sm_inspection_unref(p);
        end(&b);
    }
}

static void test_closed_with_open_questions(void **state) {
    (void)state;
    bench b;
    heard h, g;
    begin(&b, 0);
    sm_inspection *p = room_inspection("demo/a.run", NULL);
    sm_inspection *q = room_inspection("demo/b.run", NULL);
    ask(&b, p, false, &h);
    sm_registrar_close(b.r);
    ask(&b, q, false, &g);
    room_settle(&b.room);
    assert_int_equal(h.n + g.n, 0);
    uv_close((uv_handle_t *)&b.f.timer, NULL);
    room_close_store(&b.room);
    room_turn_out(&b.room);
    sm_registrar_free(b.r);
    assert_int_equal(p->refs, 1);
    assert_int_equal(q->refs, 1);
    sm_inspection_unref(p);
    sm_inspection_unref(q);
    json_decref(b.f.items);
    room_remove(&b.room);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_250_in_one_turn),
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_shown_late),
        cmocka_unit_test(test_stubborn),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_joined),
        cmocka_unit_test(test_outage),
        cmocka_unit_test(test_asking_from_an_answer),
        cmocka_unit_test(test_closed_with_open_questions),
    };
    sm_log_setup(SM_LOG_ERROR, false, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
