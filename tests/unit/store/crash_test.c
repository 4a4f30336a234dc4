/* kill -9 of a process that writes, at any moment: what it heard was done is there after the next
 * start, once, with the same id; the file is sound. The writer is this program run again with
 * arguments, so that no handle crosses a fork. */
#include "store_help.h"

#include "base/rand.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

enum { ROUNDS = 15, WRITERS = 4 };

/* ---- the writer: four threads accept, one delivers; each acknowledgement goes down the pipe
 * after it was heard ---- */

static void say(char what, const char *id) {
    char line[64];
    int n = snprintf(line, sizeof line, "%c %s\n", what, id);
    if (write(STDOUT_FILENO, line, (size_t)n) != n)
        _exit(3);
}

static const char *writer_tag;

static void *accept_for_ever(void *arg) {
    static _Thread_local int serial;
    sm_store *s = ((void **)arg)[0];
    long me = (long)(intptr_t)((void **)arg)[1];
    for (;;) {
        char id[32], name[16];
        snprintf(id, sizeof id, "%s-%ld-%d", writer_tag, me, serial++);
        snprintf(name, sizeof name, "i%ld.run", me);
        say('T', id);
        if (sm_store_call_sync(s, SM_OP_EVENTS_ACCEPT, report_one(name, id, "d"), NULL, NULL) !=
            SM_OK)
            _exit(4);
        say('A', id);
    }
    return NULL;
}

static int writer(const char *path, const char *tag) {
    sm_store_options opt = {.path = path};
    sm_store *s;
    sm_err err = SM_ERR_INIT;
    writer_tag = tag;
    if (sm_store_open(&opt, &s, &err) != SM_OK) {
        fprintf(stderr, "writer: %s\n", err.msg);
        return 2;
    }
    pthread_t t[WRITERS];
    void *args[WRITERS][2];
    for (long i = 0; i < WRITERS; i++) {
        args[i][0] = s;
        args[i][1] = (void *)(intptr_t)i;
        pthread_create(&t[i], NULL, accept_for_ever, args[i]);
    }
    for (;;) {
        json_t *rows = NULL, *ids = json_array();
        if (sm_store_call_sync(s, SM_OP_OUTBOX_CLAIM, parse("{'now_ms':1,'limit':20}"), &rows,
                               NULL) != SM_OK)
            return 5;
        for (size_t i = 0; i < json_array_size(rows); i++)
            json_array_append(ids, json_object_get(json_array_get(rows, i), "event_id"));
        json_decref(rows);
        json_t *sent = json_copy(ids);
        if (sm_store_call_sync(s, SM_OP_OUTBOX_DONE, json_pack("{s:o,s:i}", "ids", ids, "at_ns", 1),
                               NULL, NULL) != SM_OK)
            return 6;
        for (size_t i = 0; i < json_array_size(sent); i++)
            say('D', json_string_value(json_array_get(sent, i)));
        json_decref(sent);
        usleep(500);
    }
}

/* ---- the judge ---- */

typedef struct book {
    json_t *tried, *acked, *delivered; /* objects used as sets */
} book;

static void note(book *b, const char *line) {
    json_t *set = line[0] == 'T' ? b->tried : line[0] == 'A' ? b->acked : b->delivered;
    json_object_set_new(set, line + 2, json_true());
}

static void read_all(int fd, book *b, pid_t child, int kill_after_reads) {
    char buf[4096], line[64];
    size_t n = 0;
    int waited = 0;
    bool killed = false;
    for (;;) {
        ssize_t got = read(fd, buf, sizeof buf);
        if (got == 0)
            return;
        for (ssize_t i = 0; i < got; i++) {
            if (buf[i] != '\n' && n < sizeof line - 1) {
                line[n++] = buf[i];
                continue;
            }
            line[n] = '\0';
            n = 0;
            note(b, line); /* a line is one write: it is whole or not there */
        }
        if (!killed && waited++ >= kill_after_reads) {
            kill(child, SIGKILL);
            killed = true;
        }
    }
}

static void one_round(const char *path, book *b, int round) {
    char self[256], tag[16];
    int fds[2], status;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = '\0';
    snprintf(tag, sizeof tag, "r%d", round);
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        execl(self, self, "writer", path, tag, (char *)NULL);
        _exit(9);
    }
    close(fds[1]);
    read_all(fds[0], b, child, (int)sm_rand_below(500));
    close(fds[0]);
    waitpid(child, &status, 0);
    if (!WIFSIGNALED(status))
        fail_msg("the writer ended by itself: %d", WEXITSTATUS(status));
}

static void compare(sm_store *s, const book *b) {
    json_t *rows = call(s, SM_OP_QUERY_EVENTS, "{}"), *stored = json_object();
    const char *id;
    json_t *value;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        id = sm_json_str(row, "event_id", "");
        if (json_object_get(b->tried, id) == NULL)
            fail_msg("%s is there, nobody sent it", id);
        if (json_object_get(stored, id) != NULL)
            fail_msg("%s is there twice", id);
        json_object_set_new(stored, id, json_string(sm_json_str(row, "delivery", "")));
    }
    json_object_foreach(b->acked, id, value) {
        if (json_object_get(stored, id) == NULL)
            fail_msg("%s was acknowledged and is lost", id);
    }
    json_object_foreach(b->delivered, id, value) {
        if (strcmp(sm_json_str(stored, id, ""), "delivered") != 0)
            fail_msg("%s was marked delivered and is %s", id, sm_json_str(stored, id, "lost"));
    }
    json_object_foreach(stored, id, value) {
        if (strcmp(json_string_value(value), "inflight") == 0)
            fail_msg("%s is inflight after a start", id);
    }
    json_decref(stored);
    json_decref(rows);
}

static void acknowledged_events_survive_kills(void **state) {
    (void)state;
    place at;
    place_make(&at);
    book b = {json_object(), json_object(), json_object()};
    for (int round = 0; round < ROUNDS; round++) {
        one_round(at.path, &b, round);
        if (round % 3 == 2) {
            sm_store *s = open_plain(at.path);
            compare(s, &b);
            sm_store_close(s);
            expect_intact(at.path);
        }
    }
    print_message("  %zu tried, %zu acknowledged, %zu delivered\n", json_object_size(b.tried),
                  json_object_size(b.acked), json_object_size(b.delivered));
    assert_true(json_object_size(b.acked) > 100);
    assert_int_equal(place_files(at.dir, "corrupt", false), 0);
    /* What is left can be delivered: the queue runs empty. */
    sm_store *s = open_plain(at.path);
    for (int i = 0; i < 10000; i++) {
        json_t *rows = call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1,'limit':500}"), *ids = json_array();
        size_t n = json_array_size(rows);
        for (size_t k = 0; k < n; k++)
            json_array_append(ids, json_object_get(json_array_get(rows, k), "event_id"));
        json_decref(rows);
        json_decref(
            call_json(s, SM_OP_OUTBOX_DONE, json_pack("{s:o,s:i}", "ids", ids, "at_ns", 1)));
        if (n == 0)
            break;
    }
    expect(s, SM_OP_OUTBOX_STATS, NULL,
           "{'pending':0,'inflight':0,'held':0,'refused':0,'bytes':0,'oldest_ns':null,"
           "'next_ms':null}");
    sm_store_close(s);
    json_decref(b.tried);
    json_decref(b.acked);
    json_decref(b.delivered);
    place_drop(&at);
}

/* A first start killed at any moment: the next one makes the schema whole. */
static void a_first_start_survives_kills(void **state) {
    (void)state;
    for (int i = 0; i < 12; i++) {
        place at;
        place_make(&at);
        char self[256];
        ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
        self[n] = '\0';
        pid_t child = fork();
        if (child == 0) {
            close(STDOUT_FILENO);
            execl(self, self, "open", at.path, (char *)NULL);
            _exit(9);
        }
        usleep((useconds_t)sm_rand_below(8000));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        sm_store *s = open_plain(at.path);
        json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_one("a.run", "e1", "d")));
        sm_store_close(s);
        assert_int_equal(peek(at.path, "PRAGMA user_version"), newest_schema());
        assert_int_equal(place_files(at.dir, "corrupt", false), 0);
        expect_intact(at.path);
        place_drop(&at);
    }
}

/* ---- a start that is killed when it is about to commit for the n-th time ---- */

static int commits_left;

static int die_at_commit(void *ctx) {
    (void)ctx;
    if (--commits_left == 0)
        kill(getpid(), SIGKILL);
    return 0;
}

static int watch_commits(sqlite3 *h, char **msg, const struct sqlite3_api_routines *api) {
    (void)msg;
    (void)api;
    sqlite3_commit_hook(h, die_at_commit, NULL);
    return SQLITE_OK;
}

static int start_and_die(const char *path, const char *commit) {
    sm_store_options opt = {.path = path};
    sm_store *s;
    commits_left = (int)strtol(commit, NULL, 10);
    sqlite3_auto_extension((void (*)(void))watch_commits);
    if (sm_store_open(&opt, &s, NULL) != SM_OK)
        return 2;
    sm_store_close(s);
    return 0;
}

/* Killed at each commit of a first start in turn, so also between two migrations and with the
 * next one written but not committed: the schema is that of a step, and the next start goes on
 * from there. */
static void migrations_survive_a_kill_at_each_commit(void **state) {
    (void)state;
    const int versions = newest_schema();
    bool seen[100] = {false};
    bool killed = true;
    for (int n = 1; killed; n++) {
        assert_in_range(n, 1, 50);
        place at;
        place_make(&at);
        char self[256], commit[16];
        int status;
        ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
        assert_true(len > 0);
        self[len] = '\0';
        snprintf(commit, sizeof commit, "%d", n);
        pid_t child = fork();
        if (child == 0) {
            execl(self, self, "die", at.path, commit, (char *)NULL);
            _exit(9);
        }
        waitpid(child, &status, 0);
        killed = WIFSIGNALED(status);
        if (!killed)
            assert_int_equal(WEXITSTATUS(status), 0);
        int64_t version = peek(at.path, "PRAGMA user_version");
        int64_t faults =
            peek(at.path, "SELECT count(*) FROM sqlite_schema WHERE name = 'faults'") +
            peek(at.path, "SELECT count(*) FROM pragma_table_info('events') WHERE name LIKE "
                          "'fault_%'");
        print_message("  commit %d: schema %lld\n", n, (long long)version);
        assert_in_range(version, 0, versions);
        assert_int_equal(faults, version >= 6 ? 2 : version >= 2 ? 3 : 0);
        assert_int_equal(
            peek(at.path, "SELECT count(*) FROM pragma_table_info('slots') WHERE name = 'until'"),
            version >= 3);
        seen[version] = true;
        sm_store *s = open_plain(at.path);
        json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_one("a.run", "e1", "d")));
        sm_store_close(s);
        assert_int_equal(peek(at.path, "PRAGMA user_version"), versions);
        assert_int_equal(peek(at.path, "SELECT count(*) FROM events"), 1);
        assert_int_equal(place_files(at.dir, "corrupt", false), 0);
        expect_intact(at.path);
        place_drop(&at);
    }
    for (int v = 0; v <= versions; v++)
        assert_true(seen[v] || v > 2); /* a number may be left out */
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "writer") == 0)
        return writer(argv[2], argv[3]);
    if (argc == 4 && strcmp(argv[1], "die") == 0)
        return start_and_die(argv[2], argv[3]);
    if (argc == 3 && strcmp(argv[1], "open") == 0) {
        sm_store *s;
        sm_store_options opt = {.path = argv[2]};
        if (sm_store_open(&opt, &s, NULL) != SM_OK)
            return 2;
        pause();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledged_events_survive_kills),
        cmocka_unit_test(a_first_start_survives_kills),
        cmocka_unit_test(migrations_survive_a_kill_at_each_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
