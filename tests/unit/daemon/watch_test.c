/* The watch over a real directory: which change is told as what. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/watch_parts.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct bench {
    uv_loop_t loop;
    char top[64], root[96];
    sm_watch *w;
    char told[4096]; /* "rel:WHOLE " … */
    unsigned what;
} bench;

static void on_touched(void *ctx, const char *rel, sm_touch how) {
    bench *b = ctx;
    static const char *const names[] = {"", "whole", "open", "try"};
    size_t n = strlen(b->told);
    snprintf(b->told + n, sizeof b->told - n, "%s:%s ", rel, names[how]);
}

static void on_changed(void *ctx, unsigned what) {
    ((bench *)ctx)->what |= what;
}

static const char *at(const bench *b, const char *rel) {
    static char paths[4][256];
    static int i;
    i = (i + 1) % 4;
    snprintf(paths[i], sizeof paths[i], "%s/%s", b->top, rel);
    return paths[i];
}

static void put(const bench *b, const char *rel, const char *text) {
    int fd = open(at(b, rel), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

/* A walk that meets these folders. */
static void walk(const bench *b, const char *const *folders, size_t n) {
    sm_watch_begin(b->w);
    for (size_t i = 0; i < n; i++)
        sm_watch_folder(b->w, folders[i]);
    sm_watch_end(b->w, true);
}

static void start(bench *b, int max_watches) {
    memset(b, 0, sizeof *b);
    snprintf(b->top, sizeof b->top, "/tmp/selfmon-watch-XXXXXX");
    assert_non_null(mkdtemp(b->top));
    snprintf(b->root, sizeof b->root, "%s/inspections", b->top);
    assert_int_equal(mkdir(b->root, 0700), 0);
    assert_int_equal(mkdir(at(b, "inspections/d"), 0700), 0);
    uv_loop_init(&b->loop);
    const sm_watch_options opt = {.loop = &b->loop,
                                  .root = b->root,
                                  .suffix = ".lua",
                                  .max_watches = max_watches,
                                  .touched = on_touched,
                                  .changed = on_changed,
                                  .ctx = b};
    b->w = sm_watch_new(&opt);
}

static void finish(bench *b) {
    sm_watch_close(b->w);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    sm_watch_free(b->w);
    char *command = sm_asprintf("rm -rf '%s'", b->top);
    assert_int_equal(system(command), 0);
    free(command);
}

static void on_late(uv_timer_t *t) {
    *(bool *)t->data = true;
}

/* Runs the loop until these bits were told and nothing waits; then what was told must be just this.
 */
static void expect(bench *b, unsigned what, const char *told) {
    bool late = false;
    uv_timer_t timer;
    uv_timer_init(&b->loop, &timer);
    timer.data = &late;
    uv_timer_start(&timer, on_late, 20000, 0);
    while (!late && ((b->what & what) != what || b->w->news))
        uv_run(&b->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&b->loop, UV_RUN_NOWAIT);
    if (b->what != what || strcmp(b->told, told) != 0)
        fail_msg("bits %u, told \"%s\"; expected %u, \"%s\"", b->what, b->told, what, told);
    b->what = 0;
    b->told[0] = 0;
}

static void test_what_is_told(void **state) {
    bench b;
    (void)state;
    start(&b, 0);
    const char *const folders[] = {"", "d"};
    walk(&b, folders, 2);
    assert_false(sm_watch_polling(b.w));
    assert_int_equal(sm_watch_count(b.w), 2);

    put(&b, "inspections/a.lua", "x");
    expect(&b, SM_WATCH_ROOT, "a.lua:open a.lua:whole ");
    put(&b, "inspections/d/a.lua", "y"); /* made, written, closed */
    expect(&b, SM_WATCH_ROOT, "d/a.lua:open d/a.lua:whole ");
    put(&b, "inspections/.new", "z");
    assert_int_equal(rename(at(&b, "inspections/.new"), at(&b, "inspections/a.lua")), 0);
    expect(&b, SM_WATCH_ROOT, "a.lua:whole ");
    assert_int_equal(link(at(&b, "inspections/a.lua"), at(&b, "inspections/b.lua")), 0);
    expect(&b, SM_WATCH_ROOT, "b.lua:whole ");
    assert_int_equal(chmod(at(&b, "inspections/a.lua"), 0644), 0);
    expect(&b, SM_WATCH_ROOT, "a.lua:whole ");
    assert_int_equal(unlink(at(&b, "inspections/b.lua")), 0);
    expect(&b, SM_WATCH_ROOT, "b.lua:whole ");
    put(&b, "inspections/note.txt", "z");
    expect(&b, SM_WATCH_OTHER, "");
    assert_int_equal(symlink("d", at(&b, "inspections/link")), 0);
    expect(&b, SM_WATCH_FOLDERS, "");
    assert_int_equal(symlink("d/a.lua", at(&b, "inspections/l.lua")), 0);
    expect(&b, SM_WATCH_ROOT | SM_WATCH_FOLDERS, "l.lua:whole ");
    assert_int_equal(mkfifo(at(&b, "inspections/f.lua"), 0600), 0);
    expect(&b, SM_WATCH_ROOT | SM_WATCH_FOLDERS, "f.lua:whole ");
    assert_int_equal(symlink("d", at(&b, "inspections/..data")), 0);
    expect(&b, SM_WATCH_FOLDERS, "");
    assert_int_equal(mkdir(at(&b, "inspections/e"), 0700), 0);
    expect(&b, SM_WATCH_FOLDERS, "");
    assert_int_equal(rmdir(at(&b, "inspections/e")), 0);
    expect(&b, SM_WATCH_FOLDERS, "");

    put(&b, "inspections/.a.lua.swp", "z"); /* nothing of this is news */
    assert_int_equal(mkdir(at(&b, "inspections/.hidden"), 0700), 0);
    put(&b, "beside.txt", "z");
    put(&b, "inspections/a.lua", "end");
    expect(&b, SM_WATCH_ROOT, "a.lua:open a.lua:whole ");

    /* A folder under two paths. */
    const char *const twice[] = {"", "d", "link"};
    walk(&b, twice, 3);
    put(&b, "inspections/d/a.lua", "y");
    expect(&b, SM_WATCH_ROOT, "d/a.lua:open link/a.lua:open d/a.lua:whole link/a.lua:whole ");
    assert_int_equal(unlink(at(&b, "inspections/link")), 0);
    expect(&b, SM_WATCH_FOLDERS, "");
    walk(&b, folders, 2);
    put(&b, "inspections/d/a.lua", "y");
    expect(&b, SM_WATCH_ROOT, "d/a.lua:open d/a.lua:whole ");

    /* A folder that goes: its watch goes; one that no walk meets: likewise. */
    assert_int_equal(rename(at(&b, "inspections/d"), at(&b, "away")), 0);
    expect(&b, SM_WATCH_FOLDERS, "");
    walk(&b, folders, 1);
    assert_int_equal(sm_watch_count(b.w), 1);
    put(&b, "away/a.lua", "y");
    put(&b, "inspections/a.lua", "y");
    expect(&b, SM_WATCH_ROOT, "a.lua:open a.lua:whole ");

    /* The root itself. */
    assert_int_equal(rename(b.root, at(&b, "former")), 0);
    expect(&b, SM_WATCH_FOLDERS, "");
    assert_int_equal(mkdir(b.root, 0700), 0);
    expect(&b, SM_WATCH_FOLDERS, "");
    walk(&b, folders, 1);
    put(&b, "former/a.lua", "y");
    put(&b, "inspections/n.lua", "y");
    expect(&b, SM_WATCH_ROOT, "n.lua:open n.lua:whole ");
    finish(&b);
}

/* Lets so many milliseconds pass for the file that is held. */
static void pass(const bench *b, const char *key, int quiet_ms, int since_ms) {
    sm_watchhold *h = sm_map_get(&b->w->holds, key);
    assert_non_null(h);
    h->last_ns = sm_mono_ns() - quiet_ms * SM_NS_PER_MS;
    h->first_ns = sm_mono_ns() - since_ms * SM_NS_PER_MS;
    sm_watch_on_settle(&b->w->settle);
}

static void test_files_that_stay_open(void **state) {
    bench b;
    (void)state;
    start(&b, 0);
    const char *const folders[] = {""};
    walk(&b, folders, 1);
    int fd = open(at(&b, "inspections/a.lua"), O_WRONLY | O_CREAT, 0600);
    while (b.w->holds.len == 0)
        uv_run(&b.loop, UV_RUN_ONCE);
    assert_string_equal(b.told, "a.lua:open ");
    pass(&b, "a.lua", SM_WATCH_NEW_MS - 100, SM_WATCH_NEW_MS - 100);
    assert_string_equal(b.told, "a.lua:open ");
    pass(&b, "a.lua", SM_WATCH_NEW_MS, SM_WATCH_NEW_MS); /* made without a write, as a link is */
    expect(&b, SM_WATCH_ROOT, "a.lua:open a.lua:try ");
    assert_int_equal(write(fd, "x", 1), 1);
    while (!((sm_watchhold *)sm_map_get(&b.w->holds, "a.lua"))->written)
        uv_run(&b.loop, UV_RUN_ONCE);
    pass(&b, "a.lua", SM_WATCH_QUIET_MS - 500, SM_WATCH_QUIET_MS);
    assert_string_equal(b.told, "");
    pass(&b, "a.lua", SM_WATCH_QUIET_MS, SM_WATCH_QUIET_MS);
    expect(&b, SM_WATCH_ROOT, "a.lua:try ");
    pass(&b, "a.lua", SM_WATCH_QUIET_MS + 1000, SM_WATCH_TRICKLE_MS); /* once */
    assert_string_equal(b.told, "");
    assert_int_equal(write(fd, "x", 1), 1);
    while (((sm_watchhold *)sm_map_get(&b.w->holds, "a.lua"))->tried)
        uv_run(&b.loop, UV_RUN_ONCE);
    pass(&b, "a.lua", 50, SM_WATCH_TRICKLE_MS); /* writes that never pause */
    expect(&b, SM_WATCH_ROOT, "a.lua:try ");
    pass(&b, "a.lua", SM_WATCH_WHOLE_MS, SM_WATCH_WHOLE_MS);
    expect(&b, SM_WATCH_ROOT, "a.lua:whole ");
    assert_int_equal(b.w->holds.len, 0);
    assert_int_equal(write(fd, "x", 1), 1);
    while (b.w->holds.len == 0)
        uv_run(&b.loop, UV_RUN_ONCE);
    close(fd);
    expect(&b, SM_WATCH_ROOT, "a.lua:open a.lua:whole ");
    fd = open(at(&b, "inspections/a.lua"), O_WRONLY | O_TRUNC);
    while (b.w->holds.len == 0)
        uv_run(&b.loop, UV_RUN_ONCE);
    assert_int_equal(unlink(at(&b, "inspections/a.lua")), 0);
    expect(&b, SM_WATCH_ROOT, "a.lua:open a.lua:whole ");
    assert_int_equal(b.w->holds.len, 0);
    close(fd);
    finish(&b);
}

static void test_too_few_watches(void **state) {
    bench b;
    (void)state;
    start(&b, 3); /* the root, the folder that it lies in, one more */
    const char *const folders[] = {"", "d", "e"};
    assert_int_equal(mkdir(at(&b, "inspections/e"), 0700), 0);
    walk(&b, folders, 3);
    assert_true(sm_watch_polling(b.w));
    assert_int_equal(sm_watch_count(b.w), 2);
    put(&b, "inspections/d/a.lua", "y"); /* what is watched is still told at once */
    expect(&b, SM_WATCH_ROOT, "d/a.lua:open d/a.lua:whole ");
    walk(&b, folders, 2);
    assert_false(sm_watch_polling(b.w));
    walk(&b, folders, 3);
    assert_true(sm_watch_polling(b.w));
    b.w->opt.max_watches = 4;
    walk(&b, folders, 3);
    assert_false(sm_watch_polling(b.w));
    finish(&b);

    start(&b, -1);
    walk(&b, folders, 1);
    assert_true(sm_watch_polling(b.w));
    sm_watch_take(b.w);
    const char *const files[] = {at(&b, "selfmon.conf.lua")};
    sm_watch_files(b.w, files, 1);
    assert_false(sm_watch_files_differ(b.w));
    put(&b, "selfmon.conf.lua", "return {}");
    assert_true(sm_watch_files_differ(b.w));
    finish(&b);
}

static void test_single_files(void **state) {
    bench b;
    (void)state;
    start(&b, 0);
    char conf[160];
    snprintf(conf, sizeof conf, "%s/selfmon.conf.lua", b.top);
    const char *const files[] = {conf};
    const char *const folders[] = {"", "d"};
    sm_watch_files(b.w, files, 1);
    walk(&b, folders, 2);
    assert_false(sm_watch_files_differ(b.w));
    put(&b, "selfmon.conf.lua", "return {}");
    expect(&b, SM_WATCH_CONFIG, "");
    put(&b, "other.conf.lua", "return {}");
    assert_int_equal(rename(at(&b, "other.conf.lua"), conf), 0);
    expect(&b, SM_WATCH_CONFIG, "");
    int fd = open(conf, O_WRONLY | O_TRUNC);
    while (b.w->holds.len == 0)
        uv_run(&b.loop, UV_RUN_ONCE);
    assert_false(sm_watch_files_differ(b.w)); /* half of it is no change */
    assert_int_equal(b.what, 0);
    close(fd);
    expect(&b, SM_WATCH_CONFIG, "");
    assert_int_equal(unlink(conf), 0);
    expect(&b, SM_WATCH_CONFIG, "");

    /* A link: both ends, and the hidden link of a ConfigMap. */
    assert_int_equal(mkdir(at(&b, "..one"), 0700), 0);
    assert_int_equal(mkdir(at(&b, "..two"), 0700), 0);
    put(&b, "..one/c", "1");
    put(&b, "..two/c", "2");
    assert_int_equal(symlink("..one", at(&b, "..data")), 0);
    assert_int_equal(symlink("..data/c", conf), 0);
    expect(&b, SM_WATCH_CONFIG | SM_WATCH_FOLDERS, ""); /* the root lies there as well */
    put(&b, "..one/c", "1b");
    expect(&b, SM_WATCH_CONFIG, "");
    assert_int_equal(symlink("..two", at(&b, "..next")), 0);
    assert_int_equal(rename(at(&b, "..next"), at(&b, "..data")), 0);
    expect(&b, SM_WATCH_CONFIG | SM_WATCH_FOLDERS, "");
    put(&b, "..two/c", "2b");
    expect(&b, SM_WATCH_CONFIG, "");

    /* Others instead; none. */
    const char *const more[] = {at(&b, "inspections/d/local.lua")};
    sm_watch_files(b.w, more, 1);
    put(&b, "..two/c", "2c");
    put(&b, "inspections/d/local.lua", "x"); /* a script as well */
    expect(&b, SM_WATCH_CONFIG | SM_WATCH_ROOT, "d/local.lua:open d/local.lua:whole ");
    sm_watch_files(b.w, NULL, 0);
    put(&b, "inspections/d/local.lua", "x");
    expect(&b, SM_WATCH_ROOT, "d/local.lua:open d/local.lua:whole ");
    finish(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_told),
        cmocka_unit_test(test_files_that_stay_open),
        cmocka_unit_test(test_too_few_watches),
        cmocka_unit_test(test_single_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
