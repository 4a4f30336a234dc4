/* The catalogue over a directory that changes, with the fake worker as the one that loads. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "fake_worker.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/mem.h"
#include "platform/assoc.h"
#include "store/store.h"
#include <sys/wait.h>

typedef struct bench {
    uv_loop_t loop;
    uv_async_t wake;
    char dir[64], self[128], root[96];
    sm_config cfg;
    sm_secret *assoc;
    sm_dispatcher *d;
    sm_store *store;
    sm_catalog *c;
    int changed, stopped;
} bench;

static void on_report(void *ctx, const char *run_id, int64_t seq, const json_t *events) {
    (void)ctx, (void)run_id, (void)seq, (void)events;
}

static void on_changed(void *ctx) {
    ((bench *)ctx)->changed++;
}

static void on_wake(void *ctx) {
    uv_async_send(&((bench *)ctx)->wake);
}

static void on_async(uv_async_t *a) {
    bench *b = a->data;
    if (b->store)
        sm_store_drain(b->store);
}

static void put(const bench *b, const char *rel, const char *text) {
    char path[200];
    sm_err err = SM_ERR_INIT;
    snprintf(path, sizeof path, "%s/%s", b->root, rel);
    if (sm_fsx_replace(path, text, strlen(text), 0600, &err) != SM_OK)
        fail_msg("%s", err.msg);
}

static void drop(const bench *b, const char *rel) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", b->root, rel);
    assert_int_equal(unlink(path), 0);
}

static void open_store(bench *b) {
    char path[128];
    sm_err err = SM_ERR_INIT;
    snprintf(path, sizeof path, "%s/store.db", b->dir);
    sm_store_options opt = {
        .path = path, .outbox_bytes = 1 << 20, .min_free_bytes = 0, .wake = on_wake, .ctx = b};
    if (sm_store_open(&opt, &b->store, &err) != SM_OK)
        fail_msg("%s", err.msg);
}

static void start(bench *b, const char *instances) {
    memset(b, 0, sizeof *b);
    fake_make(b->dir, b->self);
    snprintf(b->root, sizeof b->root, "%s/inspections", b->dir);
    mkdir(b->root, 0700);
    char sub[128];
    snprintf(sub, sizeof sub, "%s/demo", b->root);
    mkdir(sub, 0700);
    snprintf(sub, sizeof sub, "%s/lib", b->root);
    mkdir(sub, 0700);
    uv_loop_init(&b->loop);
    uv_async_init(&b->loop, &b->wake, on_async);
    b->wake.data = b;
    b->cfg = (sm_config){.root = b->root,
                         .display = "inspections",
                         .accounts = json_pack("{s:{}}", "prod"),
                         .keys = json_pack("{s:s}", "demo/pinned.run", "pinned-key"),
                         .params = json_pack("{s:{s:i, s:i}}", "demo/a.run", "x", 1, "y", 2),
                         .schedule = json_pack("{s:s}", "demo/a.run", "@every 10s"),
                         .instances = instances ? json_loads(instances, 0, NULL) : json_object(),
                         .grant = json_pack("{s:[s]}", "demo/a.run", "secret:shop"),
                         .timezone = "UTC",
                         .limits = json_pack("{s:i, s:f, s:f, s:i, s:i, s:i, s:i, s:i}", "memory",
                                             32 << 20, "wall", 30.0, "cpu", 10.0, "log", 1000,
                                             "events", 100, "http_parallel", 4, "http_total", 50,
                                             "http_body", 1000),
                         .origins = json_object()};
    b->assoc = sm_secret_new("secret", 6);
    sm_dispatcher_options opt = {.loop = &b->loop,
                                 .self = b->self,
                                 .display = "inspections",
                                 .workers = 1,
                                 .runs_per_worker = 4,
                                 .max_running = 4,
                                 .report = on_report,
                                 .ctx = b};
    assert_int_equal(sm_dispatcher_new(&opt, &b->d, NULL), SM_OK);
}

static void begin(bench *b) {
    b->c = sm_catalog_new(&b->cfg, b->assoc, b->d, b->store, on_changed, b);
}

/* Scans until nothing is left to do; returns how many times a change was told. */
static int scan(bench *b) {
    int before = b->changed;
    sm_catalog_scan(b->c);
    for (int i = 0; i < 1000 && sm_catalog_busy(b->c); i++) {
        int never = 0;
        (void)fake_wait(&b->loop, &never, 1, 10);
    }
    assert_false(sm_catalog_busy(b->c));
    return b->changed - before;
}

static void on_stopped(void *ctx) {
    ((bench *)ctx)->stopped++;
}

static void finish(bench *b) {
    if (b->store)
        sm_store_close(b->store);
    b->store = NULL;
    sm_dispatcher_stop(b->d, 0, on_stopped, b);
    assert_true(fake_wait(&b->loop, &b->stopped, 1, 5000));
    sm_catalog_free(b->c);
    sm_dispatcher_free(b->d);
    uv_close((uv_handle_t *)&b->wake, NULL);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    json_decref(b->cfg.accounts);
    json_decref(b->cfg.keys);
    json_decref(b->cfg.params);
    json_decref(b->cfg.schedule);
    json_decref(b->cfg.instances);
    json_decref(b->cfg.grant);
    json_decref(b->cfg.limits);
    json_decref(b->cfg.origins);
    sm_secret_free(b->assoc);
    fake_remove(b->dir);
}

static size_t count(const bench *b) {
    size_t n;
    sm_catalog_list(b->c, &n);
    return n;
}

/* The only error, or a failure. */
static const sm_load_error *error_of(const bench *b, const char *file) {
    size_t n;
    const sm_load_error *e = sm_catalog_errors(b->c, &n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(e[i].file, file) == 0)
            return &e[i];
    fail_msg("no error for %s", file);
    return NULL;
}

static size_t errors(const bench *b) {
    size_t n;
    sm_catalog_errors(b->c, &n);
    return n;
}

static bool noted(const bench *b, const char *part) {
    size_t i;
    json_t *s;
    json_array_foreach(sm_catalog_notes(b->c), i,
                       s) if (strstr(json_string_value(s), part)) return true;
    return false;
}

static void test_life_of_a_file(void **state) {
    bench b;
    start(&b, NULL);
    put(&b, "demo/a.lua", "-- spec {\"title\":\"one\"}\n");
    put(&b, "demo/a_spec.lua", "-- spec {}\n");
    put(&b, "demo/_part.lua", "-- spec {}\n");
    begin(&b);
    assert_int_equal(scan(&b), 1);
    assert_int_equal(count(&b), 1);
    assert_int_equal(errors(&b), 0);
    sm_inspection *p = sm_catalog_find(b.c, "demo/a.run");
    assert_non_null(p);
    assert_string_equal(p->func_id, "demo__a.run");
    char key[SM_ASSOC_LEN + 1];
    sm_assoc_key("secret", 6, "demo/a.run", key);
    assert_string_equal(p->ref_key, key);
    assert_int_equal(p->n_crons, 1); /* the configuration's */
    assert_string_equal(json_string_value(json_array_get(json_object_get(p->spec, "schedule"), 0)),
                        "@every 10s");
    assert_int_equal(sm_json_int(p->conf_params, "y", 0), 2);
    assert_string_equal(json_string_value(json_array_get(p->grants, 0)), "secret:shop");
    assert_int_equal(scan(&b), 0); /* nothing changed, nothing told */
    assert_ptr_equal(sm_catalog_find(b.c, "demo/a.run"), p);

    put(&b, "demo/a.lua", "-- spec {\"title\":\"two\"}\n"); /* same length */
    assert_int_equal(scan(&b), 1);
    assert_string_equal(sm_json_str(sm_catalog_find(b.c, "demo/a.run")->spec, "title", ""), "two");

    put(&b, "demo/a.lua", "-- spec {\"title\":\"three\"}\n-- error 4 near oh\n");
    assert_int_equal(scan(&b), 1);
    assert_string_equal(sm_json_str(sm_catalog_find(b.c, "demo/a.run")->spec, "title", ""), "two");
    assert_string_equal(error_of(&b, "demo/a.lua")->sentence, "inspections/demo/a.lua:4: near oh");
    assert_int_equal(error_of(&b, "demo/a.lua")->line, 4);
    assert_true(error_of(&b, "demo/a.lua")->stale);
    assert_int_equal(scan(&b), 0);

    put(&b, "demo/a.lua", "");
    assert_int_equal(scan(&b), 1);
    assert_string_equal(error_of(&b, "demo/a.lua")->sentence,
                        "inspections/demo/a.lua: the file is empty");
    assert_int_equal(count(&b), 1);

    put(&b, "demo/a.lua", "-- spec {\"title\":\"two\"}\n"); /* back to what runs */
    assert_int_equal(scan(&b), 1);
    assert_int_equal(errors(&b), 0);

    put(&b, "demo/b.lua", "-- spec {}\n-- spec {\"fn\":\"other\"}\n");
    assert_int_equal(scan(&b), 1);
    assert_int_equal(count(&b), 3);
    drop(&b, "demo/a.lua");
    assert_int_equal(scan(&b), 1);
    assert_int_equal(count(&b), 2);
    assert_null(sm_catalog_find(b.c, "demo/a.run"));

    char moved[128];
    snprintf(moved, sizeof moved, "%s/away", b.dir);
    assert_int_equal(rename(b.root, moved), 0); /* the root is gone: everything stays */
    assert_int_equal(scan(&b), 1);
    assert_int_equal(count(&b), 2);
    assert_int_equal(errors(&b), 1);
    assert_int_equal(rename(moved, b.root), 0);
    assert_int_equal(scan(&b), 1);
    assert_int_equal(errors(&b), 0);
    finish(&b);
    (void)state;
}

static void test_faults(void **state) {
    static const struct {
        const char *name, *text, *sentence;
    } rows[] = {
        {"nothing registered", "-- nothing\n", "inspections/demo/x.lua: registers nothing"},
        {"schedule", "\n-- spec {\"line\":2, \"schedule\":[\"61 * * * *\"]}",
         "inspections/demo/x.lua:2: schedule: "},
        {"zone", "-- spec {\"timezone\":\"Europe/Berlim\"}",
         "inspections/demo/x.lua:1: timezone: "},
        {"account", "-- spec {\"account\":\"prd\"}",
         "inspections/demo/x.lua:1: account \"prd\" is not in the configuration; did you mean "
         "\"prod\"?"},
        {"twice", "-- spec {}\n-- spec {}",
         "inspections/demo/x.lua:2: monitor: function run is registered twice"},
        {"function name", "-- spec {\"fn\":\"a b\"}", "inspections/demo/x.lua:1: "},
        {"lying: no title", "-- spec {\"title\":\"\"}",
         "inspections/demo/x.lua: inspection 1: title: expected 1 to 256 characters"},
        {"lying: title of two lines", "-- spec {\"title\":\"a\\nb\"}",
         "inspections/demo/x.lua: inspection 1: title: expected one line of text"},
        {"lying: timeout", "-- spec {\"timeout\":1e9}",
         "inspections/demo/x.lua: inspection 1: timeout: "},
        {"lying: was", "-- spec {\"was\":[\"../x\"]}",
         "inspections/demo/x.lua: inspection 1: was: "},
        {"lying: limits", "-- spec {\"limits\":{\"memory\":-1}}",
         "inspections/demo/x.lua: inspection 1: limits: "},
        {"crash", "-- load die", "inspections/demo/x.lua: loading crashed its worker (signal 11)"},
    };
    bench b;
    start(&b, NULL);
    put(&b, "demo/good.lua", "-- spec {}");
    begin(&b);
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("row: %s\n", rows[i].name);
        put(&b, "demo/x.lua", rows[i].text);
        assert_int_equal(scan(&b), 1);
        assert_int_equal(count(&b), 1);
        const sm_load_error *e = error_of(&b, "demo/x.lua");
        assert_false(e->stale);
        if (strncmp(e->sentence, rows[i].sentence, strlen(rows[i].sentence)) != 0)
            assert_string_equal(e->sentence, rows[i].sentence);
    }
    finish(&b);
    (void)state;
}

static void test_limits(void **state) {
    bench b;
    start(&b, NULL);
    json_object_set_new(b.cfg.origins, "limits.wall", json_string("selfmon.conf.lua:3"));
    put(&b, "demo/x.lua",
        "-- spec {\"timeout\":600, \"limits\":{\"memory\":1024, \"cpu\":99, \"http\":7}}");
    begin(&b);
    scan(&b);
    const sm_inspection *p = sm_catalog_find(b.c, "demo/x.run");
    assert_non_null(p);
    assert_int_equal(sm_json_int(p->limits, "memory", 0), 1024);
    assert_true(sm_json_num(p->limits, "cpu", 0) == 10); /* at most the operator's */
    assert_int_equal(sm_json_int(p->limits, "http_total", 0), 7);
    assert_true(p->timeout == 30 && sm_json_num(p->limits, "wall", 0) == 30);
    finish(&b);
    (void)state;
}

static void test_keys(void **state) {
    bench b;
    start(&b, NULL);
    put(&b, "demo/pinned.lua", "-- spec {}");
    put(&b, "demo/new.lua", "-- spec {\"was\":[\"demo/old.run\"]}");
    begin(&b);
    scan(&b);
    char key[SM_ASSOC_LEN + 1];
    sm_assoc_key("secret", 6, "demo/old.run", key);
    assert_string_equal(sm_catalog_find(b.c, "demo/pinned.run")->ref_key, "pinned-key");
    assert_string_equal(sm_catalog_find(b.c, "demo/new.run")->ref_key, key);

    /* A newcomer with a key that is in use does not push the other out. */
    put(&b, "demo/old.lua", "-- spec {}");
    assert_int_equal(scan(&b), 1);
    assert_null(sm_catalog_find(b.c, "demo/old.run"));
    assert_non_null(sm_catalog_find(b.c, "demo/new.run"));
    const char *s = error_of(&b, "demo/old.lua")->sentence;
    assert_non_null(strstr(s, "demo/old.run and demo/new.run have the same association key"));
    assert_non_null(strstr(s, key));

    /* Two newcomers: neither runs. */
    put(&b, "demo/p.lua", "-- spec {\"was\":[\"demo/z.run\"]}");
    put(&b, "demo/q.lua", "-- spec {\"was\":[\"demo/z.run\"]}");
    scan(&b);
    assert_int_equal(count(&b), 2);
    assert_non_null(strstr(error_of(&b, "demo/p.lua")->sentence, "demo/p.run and demo/q.run"));
    assert_non_null(strstr(error_of(&b, "demo/q.lua")->sentence, "demo/q.run and demo/p.run"));
    drop(&b, "demo/q.lua");
    drop(&b, "demo/old.lua");
    scan(&b);
    assert_int_equal(count(&b), 3);
    assert_int_equal(errors(&b), 0);
    finish(&b);
    (void)state;
}

static void test_instances(void **state) {
    bench b;
    start(&b, "{\"demo/a.run\":{"
              "\"shop\":{\"account\":\"prod\",\"schedule\":[\"0 1 * * *\",\"0 2 * * *\"],"
              "\"params\":{\"x\":9}},"
              "\"bad\":{\"schedule\":\"nonsense\"},"
              "\"lost\":{\"account\":\"nobody\"},"
              "\"on demand\":{}, \"quiet\":{\"schedule\":false}},"
              "\"demo/aa.run\":{\"x\":{}}}");
    put(&b, "demo/a.lua", "-- spec {}");
    begin(&b);
    scan(&b);
    assert_int_equal(count(&b), 3);
    const sm_inspection *p = sm_catalog_find(b.c, "demo/a.run@shop");
    assert_non_null(p);
    assert_string_equal(p->account, "prod");
    assert_int_equal(p->n_crons, 2);
    assert_int_equal(sm_json_int(p->conf_params, "x", 0), 9);
    assert_int_equal(sm_json_int(p->conf_params, "y", 0), 2);
    assert_string_not_equal(p->ref_key, sm_catalog_find(b.c, "demo/a.run")->ref_key);
    assert_int_equal(sm_json_int(sm_catalog_find(b.c, "demo/a.run")->conf_params, "x", 0), 1);
    assert_int_equal(sm_catalog_find(b.c, "demo/a.run@quiet")->n_crons, 0);
    assert_int_equal(errors(&b), 3); /* bad, lost, on demand */
    size_t n;
    const sm_load_error *e = sm_catalog_errors(b.c, &n);
    for (size_t i = 0; i < n; i++)
        assert_non_null(strstr(e[i].sentence, "configuration: instances.demo/a.run@"));
    finish(&b);
    (void)state;
}

static void test_modules(void **state) {
    bench b;
    start(&b, NULL);
    put(&b, "lib/util.lua", "-- fine");
    put(&b, "demo/a.lua", "-- require lib/util.lua\n-- spec {}\n-- print a loads\n");
    put(&b, "demo/b.lua", "-- spec {}\n-- print b loads\n");
    put(&b, "demo/c.lua", "-- require lib/later.lua\n-- spec {}\n");
    begin(&b);
    scan(&b);
    assert_int_equal(count(&b), 2);
    assert_non_null(error_of(&b, "demo/c.lua"));
    sm_source *before = sm_source_ref(sm_catalog_find(b.c, "demo/a.run")->source);
    assert_int_equal(before->n_libs, 1);

    put(&b, "lib/later.lua", "-- came");
    scan(&b);
    assert_int_equal(count(&b), 3);
    assert_int_equal(errors(&b), 0);

    size_t prints = json_array_size(sm_catalog_notes(b.c));
    put(&b, "lib/util.lua", "-- changed");
    scan(&b);
    assert_int_equal(json_array_size(sm_catalog_notes(b.c)), prints + 1); /* only a loads again */
    assert_string_equal(sm_catalog_find(b.c, "demo/a.run")->source->libs[1].blob->text,
                        "-- changed");
    assert_string_equal(sm_catalog_find(b.c, "demo/b.run")->source->libs[1].blob->text,
                        "-- changed");
    assert_string_equal(before->libs[0].blob->text, "-- fine"); /* a snapshot does not change */
    sm_source_unref(before);

    put(&b, "lib/util.lua", "-- error 3 oh\n");
    scan(&b);
    assert_int_equal(errors(&b), 1);
    assert_string_equal(error_of(&b, "lib/util.lua")->sentence, "inspections/lib/util.lua:3: oh");
    assert_true(error_of(&b, "lib/util.lua")->stale);
    assert_string_equal(sm_catalog_find(b.c, "demo/b.run")->source->libs[1].blob->text,
                        "-- changed");
    assert_int_equal(scan(&b), 0);

    put(&b, "lib/util.lua", "-- mended");
    scan(&b);
    assert_int_equal(errors(&b), 0);
    assert_string_equal(sm_catalog_find(b.c, "demo/b.run")->source->libs[1].blob->text,
                        "-- mended");
    drop(&b, "lib/util.lua");
    scan(&b);
    assert_int_equal(count(&b), 3);
    assert_true(error_of(&b, "demo/a.lua")->stale);
    finish(&b);
    (void)state;
}

static void test_renamed(void **state) {
    bench b;
    start(&b, NULL);
    put(&b, "demo/a.lua", "-- spec {\"events\":{\"recover\":true}}\n-- same text");
    begin(&b);
    scan(&b);
    char from[200], to[200];
    snprintf(from, sizeof from, "%s/demo/a.lua", b.root);
    snprintf(to, sizeof to, "%s/demo/b.lua", b.root);
    assert_int_equal(rename(from, to), 0);
    scan(&b);
    assert_true(noted(&b, "demo/b.run looks like the former demo/a.run and will be another "
                          "inspection there; add was = {\"demo/a.run\"}"));
    put(&b, "demo/c.lua", "-- spec {\"events\":{\"recover\":true}}\n-- same text");
    scan(&b);
    assert_false(noted(&b, "demo/c.run looks like"));
    drop(&b, "demo/b.lua");
    scan(&b);
    assert_true(noted(&b, "demo/c.run looks like the former demo/b.run"));
    drop(&b, "demo/c.lua");
    scan(&b);
    put(&b, "demo/c.lua", "-- spec {\"events\":{\"recover\":true}}\n-- same text");
    scan(&b); /* back in its place: it is itself */
    assert_false(noted(&b, "looks like the former demo/c.run"));
    finish(&b);
    (void)state;
}

static void test_store(void **state) {
    bench b;
    start(&b, NULL);
    open_store(&b);
    put(&b, "lib/util.lua", "-- fine");
    put(&b, "demo/a.lua", "-- require lib/util.lua\n-- spec {\"title\":\"kept\"}");
    put(&b, "demo/b.lua", "-- spec {}");
    put(&b, "demo/secret.lua", "-- spec {\"api_key\":\"wsak_abcdef\"}");
    begin(&b);
    scan(&b);
    assert_int_equal(count(&b), 3);
    assert_null(json_object_get(sm_catalog_find(b.c, "demo/secret.run")->spec, "api_key"));
    assert_non_null(sm_catalog_find(b.c, "demo/secret.run")->api_key);
    sm_catalog_free(b.c);
    sm_store_close(b.store);

    /* Broken, removed while the program was down. */
    put(&b, "demo/a.lua", "-- error 9 broken meanwhile");
    put(&b, "demo/secret.lua", "-- error 1 x");
    drop(&b, "demo/b.lua");
    open_store(&b);
    begin(&b);
    scan(&b);
    assert_int_equal(count(&b), 1); /* a text with a key is not kept */
    const sm_inspection *p = sm_catalog_find(b.c, "demo/a.run");
    assert_non_null(p);
    assert_string_equal(sm_json_str(p->spec, "title", ""), "kept");
    assert_int_equal(p->source->n_libs, 1);
    assert_string_equal(p->source->libs[0].blob->text, "-- fine");
    assert_true(error_of(&b, "demo/a.lua")->stale);
    assert_string_equal(error_of(&b, "demo/a.lua")->sentence,
                        "inspections/demo/a.lua:9: broken meanwhile");
    int never = 0;
    (void)fake_wait(&b.loop, &never, 1, 100);
    sm_catalog_free(b.c);
    json_t *rows = NULL;
    assert_int_equal(sm_store_call_sync(b.store, SM_OP_TEXTS_GET, NULL, &rows, NULL), SM_OK);
    assert_int_equal(json_array_size(rows), 1);
    assert_string_equal(sm_json_str(json_array_get(rows, 0), "file", ""), "demo/a.lua");
    json_decref(rows);

    /* Mended: the new text is kept. */
    put(&b, "demo/a.lua", "-- spec {\"title\":\"mended\"}");
    begin(&b);
    scan(&b);
    assert_int_equal(errors(&b), 1);
    sm_catalog_free(b.c);
    put(&b, "demo/a.lua", "-- error 1 again");
    begin(&b);
    scan(&b);
    assert_string_equal(sm_json_str(sm_catalog_find(b.c, "demo/a.run")->spec, "title", ""),
                        "mended");
    finish(&b);
    (void)state;
}

static void test_freed_while_loading(void **state) {
    bench b;
    start(&b, NULL);
    put(&b, "demo/a.lua", "-- spec {}");
    begin(&b);
    sm_catalog_scan(b.c);
    assert_true(sm_catalog_busy(b.c));
    sm_catalog_free(b.c);
    b.c = NULL;
    int never = 0;
    (void)fake_wait(&b.loop, &never, 1, 200);
    assert_int_equal(b.changed, 0);
    finish(&b);
    (void)state;
}

static const char *title_of(const bench *b, const char *id) {
    const sm_inspection *p = sm_catalog_find(b->c, id);
    return p ? sm_json_str(p->spec, "title", "") : "none";
}

/* Looks at what was touched, without a walk. */
static int look(bench *b) {
    int before = b->changed;
    sm_catalog_look(b->c);
    for (int i = 0; i < 1000 && sm_catalog_busy(b->c); i++) {
        int never = 0;
        (void)fake_wait(&b->loop, &never, 1, 10);
    }
    assert_false(sm_catalog_busy(b->c));
    return b->changed - before;
}

/* What a watch says of a file decides whether it is read, and what a text must be good for. */
static void test_touches(void **state) {
    bench b;
    (void)state;
    start(&b, NULL);
    put(&b, "demo/a.lua", "-- spec {\"title\":\"one\"}\n-- spec {\"fn\":\"two\"}\n");
    put(&b, "demo/b.lua", "-- spec {\"title\":\"b\"}\n");
    begin(&b);
    assert_int_equal(scan(&b), 1);
    sm_catalog_count n;
    sm_catalog_counts(b.c, &n);
    assert_true(n.inspections == 3 && n.errors == 0 && n.stale == 0);

    put(&b, "demo/a.lua", "-- spec {\"title\":\"half\"}\n");
    put(&b, "demo/b.lua", "-- spec {\"title\":\"b2\"}\n");
    put(&b, "demo/new.lua", "-- spec {\"title\":\"half\"}\n");
    assert_int_equal(look(&b), 0); /* nothing was touched */
    sm_catalog_touch(b.c, "demo/a.lua", SM_TOUCH_OPEN);
    sm_catalog_touch(b.c, "demo/new.lua", SM_TOUCH_OPEN);
    assert_int_equal(scan(&b), 1); /* a walk does not read them either */
    assert_string_equal(title_of(&b, "demo/a.run"), "one");
    assert_string_equal(title_of(&b, "demo/b.run"), "b2");
    assert_string_equal(title_of(&b, "demo/new.run"), "none");

    sm_catalog_touch(b.c, "demo/a.lua", SM_TOUCH_TRY);
    assert_int_equal(look(&b), 0); /* it would lose demo/a.two */
    assert_string_equal(title_of(&b, "demo/a.run"), "one");
    assert_int_equal(scan(&b), 0);
    put(&b, "demo/a.lua", "-- error 3 a half\n");
    sm_catalog_touch(b.c, "demo/a.lua", SM_TOUCH_TRY);
    assert_int_equal(look(&b), 0);
    put(&b, "demo/a.lua", "\n");
    sm_catalog_touch(b.c, "demo/a.lua", SM_TOUCH_TRY);
    assert_int_equal(look(&b), 0);
    put(&b, "lib/m.lua", "-- spec {\"title\":\"m\"}\n"); /* modules change meanwhile */
    sm_catalog_touch(b.c, "lib/m.lua", SM_TOUCH_WHOLE);
    assert_int_equal(look(&b), 1);
    assert_int_equal(errors(&b), 0);
    assert_string_equal(title_of(&b, "demo/a.run"), "one");
    put(&b, "demo/a.lua", "-- spec {\"fn\":\"two\"}\n-- spec {\"title\":\"most\"}\n");
    sm_catalog_touch(b.c, "demo/a.lua", SM_TOUCH_TRY);
    assert_int_equal(look(&b), 1);
    assert_string_equal(title_of(&b, "demo/a.run"), "most");
    put(&b, "demo/a.lua", "-- error 3 whole and wrong\n");
    sm_catalog_touch(b.c, "demo/a.lua", SM_TOUCH_WHOLE);
    assert_int_equal(look(&b), 1);
    assert_true(error_of(&b, "demo/a.lua")->stale);
    put(&b, "demo/a.lua",
        "-- spec {\"title\":\"alone\"}\n"); /* a function may go when it is meant */
    sm_catalog_touch(b.c, "demo/a.lua", SM_TOUCH_WHOLE);
    assert_int_equal(look(&b), 1);
    assert_string_equal(title_of(&b, "demo/a.run"), "alone");
    assert_null(sm_catalog_find(b.c, "demo/a.two"));
    drop(&b, "demo/b.lua");
    assert_int_equal(look(&b), 0);
    sm_catalog_touch(b.c, "demo/b.lua", SM_TOUCH_WHOLE);
    assert_int_equal(look(&b), 1);
    assert_null(sm_catalog_find(b.c, "demo/b.run"));
    sm_catalog_touch(b.c, "demo/new.lua", SM_TOUCH_WHOLE);
    sm_catalog_touch(b.c, "demo/never.lua", SM_TOUCH_WHOLE);
    sm_catalog_touch(b.c, "demo/_part.lua", SM_TOUCH_WHOLE);
    assert_int_equal(look(&b), 1);
    assert_string_equal(title_of(&b, "demo/new.run"), "half");
    finish(&b);
}

/* A thousand names that are left out are no thousand lines. */
static void test_many_warnings(void **state) {
    bench b;
    char path[200];
    (void)state;
    start(&b, NULL);
    for (int i = 0; i < 1000; i++) {
        snprintf(path, sizeof path, "%s/demo/fifo%d.lua", b.root, i);
        assert_int_equal(mkfifo(path, 0600), 0);
    }
    begin(&b);
    (void)scan(&b);
    size_t i, told = json_array_size(sm_catalog_notes(b.c)), single = 0;
    json_t *note;
    json_array_foreach(sm_catalog_notes(b.c), i, note) single +=
        strstr(json_string_value(note), "inspections/demo/fifo") != NULL;
    assert_int_equal(single, 100);
    assert_true(noted(&b, "inspections: 900 more names are left out"));
    (void)scan(&b);
    assert_int_equal(json_array_size(sm_catalog_notes(b.c)), told);
    finish(&b);
}

typedef struct eyes {
    bench *b;
    int writes;  /* how often the file is still written while it loads */
    int settled; /* ms */
    int unsettled;
} eyes;

/* News that come while a file is read or loads. */
static void on_take(void *ctx) {
    eyes *e = ctx;
    if (e->writes > 0 && e->b->c && sm_catalog_busy(e->b->c)) {
        e->writes--;
        sm_catalog_touch(e->b->c, "demo/a.lua", SM_TOUCH_OPEN);
    }
}

static void on_begin(void *ctx) {
    (void)ctx;
}

static void on_folder(void *ctx, const char *rel) {
    (void)ctx, (void)rel;
}

static void on_end(void *ctx, bool complete) {
    (void)ctx, (void)complete;
}

static int on_settle_ms(void *ctx) {
    return ((eyes *)ctx)->settled;
}

static void on_unsettled(void *ctx) {
    ((eyes *)ctx)->unsettled++;
}

static void test_written_meanwhile(void **state) {
    bench b;
    eyes e = {.b = &b};
    (void)state;
    start(&b, NULL);
    put(&b, "demo/a.lua", "-- spec {\"title\":\"one\"}\n");
    begin(&b);
    const sm_catalog_eyes watch = {.take = on_take,
                                   .begin = on_begin,
                                   .folder = on_folder,
                                   .end = on_end,
                                   .settle_ms = on_settle_ms,
                                   .ctx = &e,
                                   .unsettled = on_unsettled,
                                   .unsettled_ctx = &e};
    sm_catalog_watched(b.c, &watch);
    assert_int_equal(scan(&b), 1);
    put(&b, "demo/a.lua", "-- spec {\"title\":\"half\"}\n");
    sm_catalog_touch(b.c, "demo/a.lua", SM_TOUCH_WHOLE);
    e.writes = 3; /* before it is read, after that, and when it has loaded */
    assert_int_equal(look(&b), 0);
    e.writes = 0;
    assert_int_equal(look(&b), 0);
    assert_int_equal(scan(&b), 0);
    assert_string_equal(title_of(&b, "demo/a.run"), "one");
    sm_catalog_touch(b.c, "demo/a.lua", SM_TOUCH_WHOLE);
    assert_int_equal(look(&b), 1);
    assert_string_equal(title_of(&b, "demo/a.run"), "half");

    /* Changed, and nobody told: it is read when it is old enough. */
    e.settled = 100000;
    put(&b, "demo/a.lua", "-- spec {\"title\":\"young\"}\n");
    assert_int_equal(scan(&b), 0);
    assert_int_equal(e.unsettled, 1);
    assert_string_equal(title_of(&b, "demo/a.run"), "half");
    assert_int_equal(look(&b), 0);
    assert_int_equal(e.unsettled, 2);
    e.settled = 0;
    assert_int_equal(look(&b), 1);
    assert_int_equal(e.unsettled, 2);
    assert_string_equal(title_of(&b, "demo/a.run"), "young");
    finish(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_of_a_file),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_instances),
        cmocka_unit_test(test_modules),
        cmocka_unit_test(test_renamed),
        cmocka_unit_test(test_store),
        cmocka_unit_test(test_many_warnings),
        cmocka_unit_test(test_touches),
        cmocka_unit_test(test_written_meanwhile),
        cmocka_unit_test(test_freed_while_loading),
    };
    sm_log_setup(SM_LOG_ERROR, false, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
