/* peek: what is opened and what is not; a tail's cursor through every kind of rotation. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/peek.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

typedef struct place {
    char dir[64], app[80], log[96];
    json_t *grants, *cursor;
} place;

static int setup(void **state) {
    place *p = calloc(1, sizeof *p);
    snprintf(p->dir, sizeof p->dir, "/tmp/peek-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->app, sizeof p->app, "%s/app", p->dir);
    snprintf(p->log, sizeof p->log, "%s/app.log", p->app);
    assert_int_equal(mkdir(p->app, 0700), 0);
    char *grant = sm_asprintf("file:%s/**", p->app);
    p->grants = json_pack("[s]", grant);
    free(grant);
    *state = p;
    return 0;
}

static int teardown(void **state) {
    place *p = *state;
    char *line = sm_asprintf("rm -rf %s", p->dir);
    assert_int_equal(system(line), 0);
    free(line);
    json_decref(p->grants);
    json_decref(p->cursor);
    free(p);
    return 0;
}

static char *at(const place *p, const char *name) {
    return sm_asprintf("%s/%s", p->dir, name);
}

static void put(const char *path, const char *text, const char *mode) {
    FILE *f = fopen(path, mode);
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void put_in(const place *p, const char *name, const char *text) {
    char *path = at(p, name);
    put(path, text, "w");
    free(path);
}

static sm_rc look(const place *p, const char *op, const char *name, const char *more,
                  sm_peeked *out, sm_err *err) {
    char *path = at(p, name);
    json_t *args = more ? json_loads(more, 0, NULL) : json_object();
    assert_non_null(args);
    json_object_set_new(args, "op", json_string(op));
    json_object_set_new(args, "path", json_string(path));
    sm_rc rc = sm_peek(args, p->grants, out, err);
    json_decref(args);
    free(path);
    return rc;
}

static void refused(const place *p, const char *op, const char *name, sm_rc code,
                    const char *words) {
    sm_peeked out;
    sm_err err = SM_ERR_INIT;
    assert_int_equal(look(p, op, name, NULL, &out, &err), code);
    if (!strstr(err.msg, words))
        fail_msg("%s: \"%s\" does not say \"%s\"", name, err.msg, words);
    assert_null(out.value);
    assert_null(out.body);
}

static void test_stat_and_read(void **state) {
    place *p = *state;
    sm_peeked out;
    put(p->log, "hello world", "w");
    assert_int_equal(chmod(p->log, 0640), 0);
    assert_int_equal(look(p, "stat", "app/app.log", NULL, &out, NULL), SM_OK);
    assert_string_equal(sm_json_str(out.value, "type", ""), "file");
    assert_int_equal(sm_json_int(out.value, "size", 0), 11);
    assert_int_equal(sm_json_int(out.value, "mode", 0), 0640);
    assert_int_equal(sm_json_int(out.value, "uid", -1), getuid());
    assert_true(sm_json_num(out.value, "mtime", 0) > (double)time(NULL) - 3600);
    sm_peeked_fini(&out);
    assert_int_equal(look(p, "read", "app/app.log", NULL, &out, NULL), SM_OK);
    assert_string_equal(out.body, "hello world");
    assert_false(sm_json_bool(out.value, "more", true));
    sm_peeked_fini(&out);
    assert_int_equal(look(p, "read", "app/app.log", "{\"offset\":6,\"max\":3}", &out, NULL), SM_OK);
    assert_string_equal(out.body, "wor");
    assert_true(sm_json_bool(out.value, "more", false));
    sm_peeked_fini(&out);
    assert_int_equal(look(p, "read", "app/app.log", "{\"offset\":99}", &out, NULL), SM_OK);
    assert_int_equal(out.body_n, 0);
    sm_peeked_fini(&out);
    sm_err err = SM_ERR_INIT;
    assert_int_equal(look(p, "read", "app/app.log", "{\"max\":99999999}", &out, &err), SM_INVALID);
    assert_int_equal(look(p, "read", "app/app.log", "{\"offset\":-1}", &out, &err), SM_INVALID);
}

static void test_what_is_not_granted(void **state) {
    place *p = *state;
    put_in(p, "secret", "x");
    put_in(p, "app/real", "y");
    refused(p, "read", "secret", SM_DENIED, "is not granted");
    refused(p, "stat", "app", SM_DENIED, "is not granted");
    refused(p, "stat", "app/../secret", SM_INVALID, "without");
    refused(p, "stat", "app//real", SM_INVALID, "without");
    refused(p, "read", "app/none", SM_NOT_FOUND, "No such file");
    refused(p, "read", "app/real/x", SM_NOT_FOUND, "cannot open");
    refused(p, "nonsense", "app/real", SM_INVALID, "no way");
    /* links */
    char *link = at(p, "app/out"), *in = at(p, "app/in"), *folder = at(p, "app/folder");
    char *loop = at(p, "app/loop");
    assert_int_equal(symlink("../secret", link), 0);
    assert_int_equal(symlink("real", in), 0);
    assert_int_equal(symlink("..", folder), 0);
    assert_int_equal(symlink("loop", loop), 0);
    refused(p, "read", "app/out", SM_DENIED, "secret, which is not granted");
    refused(p, "stat", "app/out", SM_DENIED, "which is not granted");
    refused(p, "read", "app/folder/secret", SM_DENIED, "which is not granted");
    refused(p, "tail", "app/out", SM_DENIED, "which is not granted");
    refused(p, "list", "app/folder", SM_DENIED, "which is not granted");
    refused(p, "read", "app/loop", SM_IO, "symbolic links");
    sm_peeked out;
    assert_int_equal(look(p, "read", "app/in", NULL, &out, NULL), SM_OK);
    assert_string_equal(out.body, "y");
    sm_peeked_fini(&out);
    free(link);
    free(in);
    free(folder);
    free(loop);
}

/* A grant whose fixed part goes through a link of ours holds for where it leads; not through one of
 * somebody else, and not for the last part. */
static void test_links_of_the_grant(void **state) {
    place *p = *state;
    sm_peeked out;
    char *run = at(p, "run"), *grant = sm_asprintf("file:%s/run/*", p->dir);
    put_in(p, "app/x", "x");
    assert_int_equal(symlink("app", run), 0);
    json_t *narrow = json_pack("[s]", grant), *was = p->grants;
    p->grants = narrow;
    assert_int_equal(look(p, "read", "run/x", NULL, &out, NULL), SM_OK);
    sm_peeked_fini(&out);
    assert_int_equal(look(p, "list", "run", NULL, &out, NULL), SM_OK);
    assert_int_equal(json_array_size(out.value), 1);
    sm_peeked_fini(&out);
    if (geteuid() == 0) {
        assert_int_equal(lchown(run, 12345, 12345), 0);
        refused(p, "read", "run/x", SM_DENIED, "which is not granted");
    }
    p->grants = was;
    json_decref(narrow);
    free(grant);
    free(run);
}

typedef struct swapper {
    const place *p;
    atomic_bool stop;
} swapper;

/* Lets a link lead by turns to what is granted and to what is not. */
static void *swap_links(void *arg) {
    swapper *w = arg;
    char *in = at(w->p, "app/swap"), *next = at(w->p, "app/next");
    for (int i = 0; !atomic_load(&w->stop); i++) {
        if (symlink(i % 2 ? "real" : "../secret", next) == 0)
            rename(next, in);
    }
    free(in);
    free(next);
    return NULL;
}

static void test_links_that_change(void **state) {
    place *p = *state;
    swapper w = {.p = p};
    pthread_t thread;
    put_in(p, "secret", "x");
    put_in(p, "app/real", "y");
    assert_int_equal(pthread_create(&thread, NULL, swap_links, &w), 0);
    int given = 0, denied = 0;
    for (int i = 0; i < 200000 && (i < 20000 || given == 0 || denied == 0); i++) {
        sm_peeked out;
        sm_err err = SM_ERR_INIT;
        sm_rc rc = look(p, "read", "app/swap", NULL, &out, &err);
        if (rc == SM_OK) {
            assert_string_equal(out.body, "y");
            given++;
        } else {
            denied += rc == SM_DENIED;
        }
        sm_peeked_fini(&out);
    }
    atomic_store(&w.stop, true);
    pthread_join(thread, NULL);
    print_message("%d given, %d denied\n", given, denied);
    assert_true(given > 0 && denied > 0);
}

static void test_no_files(void **state) {
    place *p = *state;
    char *fifo = at(p, "app/fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    refused(p, "read", "app/fifo", SM_INVALID, "is a fifo; only regular files are read");
    refused(p, "tail", "app/fifo", SM_INVALID, "is a fifo");
    refused(p, "list", "app/fifo", SM_INVALID, "is not a directory");
    json_t *was = p->grants;
    p->grants = json_pack("[s]", "file:/**");
    json_t *args = json_pack("{s:s, s:s}", "op", "read", "path", "/dev/zero");
    sm_peeked out;
    sm_err err = SM_ERR_INIT;
    assert_int_equal(sm_peek(args, p->grants, &out, &err), SM_INVALID);
    assert_non_null(strstr(err.msg, "is a device"));
    json_object_set_new(args, "path", json_string("/proc/self/environ"));
    assert_int_equal(sm_peek(args, p->grants, &out, &err), SM_DENIED);
    json_object_set_new(args, "path", json_string("/proc/loadavg"));
    assert_int_equal(sm_peek(args, p->grants, &out, &err), SM_OK);
    assert_true(out.body_n > 5);
    sm_peeked_fini(&out);
    json_decref(args);
    json_decref(p->grants);
    p->grants = was;
    free(fifo);
}

static void test_list(void **state) {
    place *p = *state;
    sm_peeked out;
    put_in(p, "app/b.tar", "22");
    put_in(p, "app/a.tar", "1");
    put_in(p, "app/c.txt", "1");
    put_in(p, "app/.hidden.tar", "1");
    assert_int_equal(look(p, "list", "app", "{\"pattern\":\"*.tar\"}", &out, NULL), SM_OK);
    assert_int_equal(json_array_size(out.value), 2);
    assert_string_equal(sm_json_str(json_array_get(out.value, 0), "name", ""), "a.tar");
    assert_int_equal(sm_json_int(json_array_get(out.value, 1), "size", 0), 2);
    sm_peeked_fini(&out);
    sm_err err = SM_ERR_INIT;
    assert_int_equal(look(p, "list", "app", "{\"pattern\":\"../*\"}", &out, &err), SM_INVALID);
    /* A narrower grant shows no more than it covers. */
    json_t *was = p->grants;
    char *grant = sm_asprintf("file:%s/?.tar", p->app);
    p->grants = json_pack("[s]", grant);
    put_in(p, "app/long.tar", "1");
    assert_int_equal(look(p, "list", "app", "{\"pattern\":\"*.tar\"}", &out, NULL), SM_OK);
    assert_int_equal(json_array_size(out.value), 2);
    sm_peeked_fini(&out);
    assert_int_equal(look(p, "list", "app", NULL, &out, &err), SM_DENIED);
    json_decref(p->grants);
    p->grants = was;
    free(grant);
}

/* ---- tail ---- */

/* One call with the cursor of the last one; its lines joined by "|". */
static char *tail(place *p, const char *more, json_t **value) {
    json_t *args = more ? json_loads(more, 0, NULL) : json_object();
    json_object_set_new(args, "op", json_string("tail"));
    json_object_set_new(args, "path", json_string(p->log));
    if (p->cursor)
        json_object_set(args, "cursor", p->cursor);
    sm_peeked out;
    sm_err err = SM_ERR_INIT;
    if (sm_peek(args, p->grants, &out, &err) != SM_OK)
        fail_msg("%s", err.msg);
    json_decref(p->cursor);
    p->cursor = json_incref(json_object_get(out.value, "cursor"));
    for (size_t i = 0; i < out.body_n; i++)
        if (out.body[i] == '\n')
            out.body[i] = '|';
    char *lines = sm_strdup(out.body);
    if (value)
        *value = json_incref(out.value);
    sm_peeked_fini(&out);
    json_decref(args);
    return lines;
}

static void reads(place *p, const char *want) {
    char *got = tail(p, NULL, NULL);
    assert_string_equal(got, want);
    free(got);
}

static void move(const place *p, const char *from, const char *to) {
    char *a = at(p, from), *b = at(p, to);
    assert_int_equal(rename(a, b), 0);
    free(a);
    free(b);
}

static void test_first_lines(void **state) {
    place *p = *state;
    json_t *value;
    put(p->log, "one\ntwo\r\n\nthree\nhalf", "w");
    char *got = tail(p, "{\"lines\":3}", &value);
    assert_string_equal(got, "two||three");
    assert_int_equal(sm_json_int(value, "count", 0), 3);
    assert_string_equal(sm_json_str(value, "partial", ""), "half");
    assert_false(sm_json_bool(value, "rotated", true));
    assert_false(sm_json_bool(value, "truncated", true));
    json_decref(value);
    free(got);
    reads(p, "");
    put(p->log, " whole\nfour\n", "a");
    reads(p, "half whole|four");
    reads(p, "");
    json_decref(p->cursor);
    p->cursor = NULL;
    got = tail(p, "{\"lines\":0}", NULL);
    assert_string_equal(got, "");
    free(got);
    put(p->log, "five\n", "a");
    reads(p, "five");
    json_decref(p->cursor);
    p->cursor = NULL;
    reads(p, "one|two||three|half whole|four|five");
    json_decref(p->cursor);
    p->cursor = NULL;
    got = tail(p, "{\"lines\":1,\"start\":true}", NULL);
    assert_string_equal(got, "one|two||three|half whole|four|five");
    free(got);
}

static void test_renamed(void **state) {
    place *p = *state;
    put(p->log, "1\n2\n", "w");
    reads(p, "1|2");
    put(p->log, "3\n", "a");
    move(p, "app/app.log", "app/app.log.1");
    put(p->log, "4\n", "w");
    json_t *value;
    char *got = tail(p, NULL, &value);
    assert_string_equal(got, "3|4");
    assert_true(sm_json_bool(value, "rotated", false));
    assert_null(json_object_get(value, "skipped"));
    json_decref(value);
    free(got);
    /* The program still has the old one open. */
    put_in(p, "app/unrelated.log.2", "no\n");
    char *old = at(p, "app/app.log.1");
    put(old, "late\nla", "a");
    put(p->log, "5\n", "a");
    reads(p, "late|5");
    put(old, "ter\n", "a");
    reads(p, "later");
    reads(p, "");
    put(old, "end without newline", "a");
    reads(p, "");
    reads(p, "end without newline"); /* it did not grow meanwhile */
    reads(p, "");
    free(old);
    /* Twice between two calls, and the new one not made yet. */
    move(p, "app/app.log.1", "app/app.log.2");
    move(p, "app/app.log", "app/app.log.1");
    put(p->log, "6\n", "w");
    move(p, "app/app.log.2", "app/app.log.3");
    move(p, "app/app.log.1", "app/app.log.2");
    move(p, "app/app.log", "app/app.log.1");
    reads(p, "6");
    reads(p, "");
    put(p->log, "7\n", "w");
    reads(p, "7");
    reads(p, "");
}

static void copy_truncate(place *p, const char *to) {
    char *line = sm_asprintf("cp %s %s/%s && : > %s", p->log, p->app, to, p->log);
    assert_int_equal(system(line), 0);
    free(line);
}

static void test_copied_and_emptied(void **state) {
    place *p = *state;
    put(p->log, "1\n2\n", "w");
    reads(p, "1|2");
    put(p->log, "3\n", "a");
    copy_truncate(p, "app.log-20261123");
    put(p->log, "4\n", "a");
    reads(p, "3|4");
    reads(p, "");
    /* Grown beyond the old offset again. */
    copy_truncate(p, "app.log-20261124");
    put(p->log, "5\n6\n7\n8\n9\n", "a");
    reads(p, "5|6|7|8|9");
    /* Empty when it was last seen. */
    copy_truncate(p, "app.log-20261125");
    reads(p, "");
    put(p->log, "10\n", "a");
    copy_truncate(p, "app.log-20261126");
    reads(p, "10");
    put(p->log, "11\n", "a");
    reads(p, "11");
    reads(p, "");
}

static void test_emptied_without_a_copy(void **state) {
    place *p = *state;
    json_t *value;
    put(p->log, "1\n2\n", "w");
    reads(p, "1|2");
    put(p->log, "3\n", "w");
    char *got = tail(p, NULL, &value);
    assert_string_equal(got, "3");
    assert_true(sm_json_bool(value, "rotated", false));
    assert_non_null(
        strstr(sm_json_str(value, "skipped", ""), "after byte 4 of the old file was not"));
    json_decref(value);
    free(got);
    move(p, "app/app.log", "app/app.log.1.gz");
    put(p->log, "4\n", "w");
    got = tail(p, NULL, &value);
    assert_string_equal(got, "4");
    assert_non_null(strstr(sm_json_str(value, "skipped", ""), "are compressed"));
    json_decref(value);
    free(got);
    /* A writer that goes on behind the hole: only what it wrote counts. */
    int fd = open(p->log, O_WRONLY);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, "5\n", 2, 1 << 20), 2);
    close(fd);
    reads(p, "5");
    put(p->log, "6\n", "a");
    reads(p, "6");
}

static void test_rotated_out_of_the_grant(void **state) {
    place *p = *state;
    json_t *value, *was = p->grants;
    char *grant = sm_asprintf("file:%s", p->log);
    p->grants = json_pack("[s]", grant);
    put(p->log, "1\n", "w");
    reads(p, "1");
    put(p->log, "2\n", "a");
    move(p, "app/app.log", "app/app.log.1");
    put(p->log, "3\n", "w");
    char *got = tail(p, NULL, &value);
    assert_string_equal(got, "3");
    assert_non_null(strstr(sm_json_str(value, "skipped", ""), "are not granted"));
    json_decref(value);
    free(got);
    json_decref(p->grants);
    p->grants = was;
    free(grant);
}

static void test_much_and_long(void **state) {
    place *p = *state;
    json_t *value;
    char *big = malloc(40001);
    put(p->log, "", "w");
    reads(p, "");
    for (int i = 0; i < 20000; i += 2)
        memcpy(big + i, "x\n", 3);
    put(p->log, big, "a");
    memset(big, 'y', 40000);
    memcpy(big + 40000, "", 1);
    put(p->log, big, "a");
    put(p->log, "\nnext\n", "a");
    int x = 0, calls = 0;
    bool more = true;
    char last[32] = "";
    for (; more; calls++) {
        char *got = tail(p, "{\"bytes\":4096}", &value), *rest = got, *one;
        more = sm_json_bool(value, "truncated", false);
        bool any = sm_json_int(value, "count", 0) > 0;
        while (any && (one = strsep(&rest, "|")) != NULL) {
            if (strcmp(one, "x") == 0) {
                x++;
            } else if (one[0] == 'y') {
                assert_int_equal(strlen(one), 4096 + 3); /* as much as could be read, and … */
                assert_string_equal(last, "");
                strcpy(last, "y");
            } else {
                assert_string_equal(one, "next");
                assert_string_equal(last, "y");
                strcpy(last, "next");
            }
        }
        json_decref(value);
        free(got);
        assert_true(calls < 100);
    }
    assert_int_equal(x, 10000);
    assert_string_equal(last, "next");
    free(big);
    put(p->log, "a\xff\xfe z\n", "a");
    reads(p, "a\xef\xbf\xbd\xef\xbf\xbd z");
}

static void test_strange_cursors(void **state) {
    static const char *const cursors[] = {
        "{}", "[]", "{\"inode\":1,\"device\":1,\"offset\":-5,\"head\":\"\",\"tail\":\"\"}",
        "{\"inode\":1,\"device\":1,\"offset\":5,\"head\":\"0123456789abcdef0\",\"tail\":\"\"}",
        "{\"inode\":1,\"device\":1,\"offset\":5,\"head\":\"x\",\"tail\":\"x\",\"before\":{}}"};
    place *p = *state;
    put(p->log, "1\n", "w");
    for (size_t i = 0; i < SM_ARRAY_LEN(cursors); i++) {
        char *more = sm_asprintf("{\"cursor\":%s}", cursors[i]);
        sm_peeked out;
        sm_err err = SM_ERR_INIT;
        assert_int_equal(look(p, "tail", "app/app.log", more, &out, &err), SM_INVALID);
        assert_non_null(strstr(err.msg, "the cursor is not one"));
        free(more);
    }
    json_t *value;
    p->cursor =
        json_loads("{\"inode\":1,\"device\":1,\"offset\":9223372036854775807,\"head\":\"x\","
                   "\"tail\":\"x\",\"before\":{\"inode\":1,\"device\":1,\"offset\":7,"
                   "\"head\":\"\",\"tail\":\"\"}}",
                   0, NULL);
    char *got = tail(p, NULL, &value);
    assert_string_equal(got, "1");
    assert_non_null(json_object_get(value, "skipped"));
    json_decref(value);
    free(got);
    assert_int_equal(unlink(p->log), 0);
    sm_peeked out;
    sm_err err = SM_ERR_INIT;
    assert_int_equal(look(p, "tail", "app/app.log", NULL, &out, &err), SM_NOT_FOUND);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_stat_and_read),
        T(test_what_is_not_granted),
        T(test_links_of_the_grant),
        T(test_links_that_change),
        T(test_no_files),
        T(test_list),
        T(test_first_lines),
        T(test_renamed),
        T(test_copied_and_emptied),
        T(test_emptied_without_a_copy),
        T(test_rotated_out_of_the_grant),
        T(test_much_and_long),
        T(test_strange_cursors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
