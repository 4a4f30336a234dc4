/* What the store does with the file it is given: missing, held, linked, newer, foreign, corrupt,
 * half migrated, left by a killed process; and how a reader opens it. */
#include "store_help.h"
#include "store/store_internal.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static sm_rc try_open(const char *path, bool read_only, sm_store **s, sm_err *err) {
    sm_store_options opt = {.path = path, .read_only = read_only};
    return sm_store_open(&opt, s, err);
}

static void expect_open(const char *path, bool read_only, sm_rc rc, const char *part) {
    sm_store *s = NULL;
    sm_err err = SM_ERR_INIT;
    sm_rc got = try_open(path, read_only, &s, &err);
    if (got != rc || strstr(err.msg, part) == NULL || s != NULL)
        fail_msg("open: got %s: %s; expected %s: %s", sm_rc_name(got), err.msg, sm_rc_name(rc),
                 part);
}

/* A store with one event, closed. */
static void fill(const char *path) {
    sm_store *s = open_plain(path);
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_one("a.run", "e1", "d")));
    sm_store_close(s);
}

static char *bytes_of(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *data = malloc(1 << 20);
    *n = fread(data, 1, 1 << 20, f);
    fclose(f);
    return data;
}

static void a_new_file_is_private(void **state) {
    (void)state;
    place at;
    struct stat st;
    place_make(&at);
    mode_t old = umask(0);
    sm_store *s = open_plain(at.path);
    umask(old);
    assert_int_equal(stat(at.path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    char wal[128];
    snprintf(wal, sizeof wal, "%s-wal", at.path);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(place_files(at.dir, "-shm", false), 0);
    sm_store_close(s);
    assert_int_equal(chmod(at.path, 0644), 0);
    sm_store_close(open_plain(at.path));
    assert_int_equal(stat(at.path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    place_drop(&at);
}

static void settings_are_the_promised_ones(void **state) {
    (void)state;
    place at;
    place_make(&at);
    fill(at.path);
    static const struct {
        const char *sql;
        int64_t value;
    } rows[] = {
        {"PRAGMA application_id", 1397574705},
        {"PRAGMA auto_vacuum", 2},
        {"SELECT journal_mode = 'wal' FROM pragma_journal_mode", 1},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("  %s\n", rows[i].sql);
        assert_int_equal(peek(at.path, rows[i].sql), rows[i].value);
    }
    assert_int_equal(peek(at.path, "PRAGMA user_version"), newest_schema());
    place_drop(&at);
}

static void a_held_database_is_busy(void **state) {
    (void)state;
    place at;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    expect_open(at.path, false, SM_BUSY, "is held by another process");
    expect_open(at.path, true, SM_BUSY, "is held by another process");
    /* Another process, another way round the locks. */
    pid_t child = fork();
    if (child == 0) {
        sqlite3 *h;
        bool busy = sqlite3_open(at.path, &h) == SQLITE_OK &&
                    sqlite3_exec(h, "SELECT * FROM events", NULL, NULL, NULL) == SQLITE_BUSY;
        _exit(busy ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_one("a.run", "e1", "d")));
    sm_store_close(s);
    assert_int_equal(peek(at.path, "SELECT count(*) FROM events"), 1);
    place_drop(&at);
}

static void readers_write_nothing(void **state) {
    (void)state;
    place at;
    sm_store *s;
    sm_err err = SM_ERR_INIT;
    place_make(&at);
    expect_open(at.path, true, SM_NOT_FOUND, "there is no database");
    assert_int_equal(place_files(at.dir, "store", false), 0);
    char none[128];
    snprintf(none, sizeof none, "%s/no/such/store.db", at.dir);
    expect_open(none, true, SM_NOT_FOUND, "there is no database");
    fill(at.path);
    size_t n, m;
    char *before = bytes_of(at.path, &n);
    assert_int_equal(try_open(at.path, true, &s, &err), SM_OK);
    json_t *got = call(s, SM_OP_QUERY_EVENTS, "{}");
    assert_int_equal(json_array_size(got), 1);
    json_decref(got);
    expect_fail(s, SM_OP_KV_PUT, parse("{'key':'k','value':1}"), SM_DENIED, "for reading only");
    expect_fail(s, SM_OP_OUTBOX_CLAIM, parse("{'now_ms':1}"), SM_DENIED, "for reading only");
    json_decref(call(s, SM_OP_PING, NULL));
    sm_store_close(s);
    char *after = bytes_of(at.path, &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    assert_int_equal(place_files(at.dir, "store", false), 1);
    free(before);
    free(after);
    place_drop(&at);
}

/* Leaves a database with a -wal behind, as a killed daemon does. */
static void die_with(const char *path, const char *event_id) {
    pid_t child = fork();
    if (child == 0) {
        sm_store_options opt = {.path = path};
        sm_store *s;
        if (sm_store_open(&opt, &s, NULL) != SM_OK ||
            sm_store_call_sync(s, SM_OP_EVENTS_ACCEPT, report_one("a.run", event_id, "d"), NULL,
                               NULL) != SM_OK ||
            sm_store_call_sync(s, SM_OP_OUTBOX_CLAIM, parse("{'now_ms':1}"), NULL, NULL) != SM_OK)
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
}

static void readers_see_the_journal_of_a_killed_daemon(void **state) {
    (void)state;
    place at;
    sm_store *s;
    sm_err err = SM_ERR_INIT;
    place_make(&at);
    die_with(at.path, "e7");
    char wal[128];
    size_t n, m;
    snprintf(wal, sizeof wal, "%s-wal", at.path);
    char *before = bytes_of(wal, &n);
    assert_true(n > 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(try_open(at.path, true, &s, &err), SM_OK);
        json_t *got = call(s, SM_OP_QUERY_EVENTS, "{}");
        assert_string_equal(sm_json_str(json_array_get(got, 0), "event_id", ""), "e7");
        assert_string_equal(sm_json_str(json_array_get(got, 0), "delivery", ""), "inflight");
        json_decref(got);
        sm_store_close(s);
    }
    char *after = bytes_of(wal, &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    free(before);
    free(after);
    s = open_plain(at.path);
    json_t *got = call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':0}");
    assert_string_equal(sm_json_str(json_array_get(got, 0), "event_id", ""), "e7");
    json_decref(got);
    sm_store_close(s);
    place_drop(&at);
}

static void strange_files_are_refused(void **state) {
    (void)state;
    place at;
    place_make(&at);
    fill(at.path);
    char other[128];
    snprintf(other, sizeof other, "%s/link.db", at.dir);
    assert_int_equal(symlink(at.path, other), 0);
    expect_open(other, false, SM_INVALID, "is a symbolic link");
    expect_open(other, true, SM_INVALID, "is a symbolic link");
    unlink(other);
    assert_int_equal(mkfifo(other, 0600), 0);
    expect_open(other, false, SM_INVALID, "is not a regular file");
    unlink(other);
    poke(other, "CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)");
    expect_open(other, false, SM_INVALID, "is a database of another program");
    assert_int_equal(peek(other, "SELECT count(*) FROM theirs"), 1);
    snprintf(other, sizeof other, "%s/missing/store.db", at.dir);
    expect_open(other, false, SM_IO, "missing: No such file or directory");
    place_drop(&at);
}

static void a_newer_schema_is_left_alone(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool killed, read_only;
    } rows[] = {{"closed", false, false},
                {"closed, reader", false, true},
                {"with a journal", true, false},
                {"with a journal, reader", true, true}};
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        place at;
        size_t n, m;
        place_make(&at);
        print_message("  %s\n", rows[i].name);
        fill(at.path);
        char *newer = sm_asprintf("PRAGMA user_version = %d", newest_schema() + 1);
        poke(at.path, newer);
        free(newer);
        if (rows[i].killed) {
            pid_t child = fork();
            if (child == 0) {
                sqlite3 *h;
                sqlite3_open(at.path, &h);
                sqlite3_exec(h, "INSERT INTO kv VALUES ('k', 1)", NULL, NULL, NULL);
                kill(getpid(), SIGKILL);
            }
            waitpid(child, NULL, 0);
        }
        char *before = bytes_of(at.path, &n);
        char *sentence = sm_asprintf("was made by a newer version (its schema is %d, this program "
                                     "knows up to %d): nothing was changed",
                                     newest_schema() + 1, newest_schema());
        expect_open(at.path, rows[i].read_only, SM_INVALID, sentence);
        free(sentence);
        char *after = bytes_of(at.path, &m);
        assert_int_equal(n, m);
        assert_memory_equal(before, after, n);
        assert_int_equal(place_files(at.dir, "corrupt", false), 0);
        assert_int_equal(peek(at.path, "SELECT count(*) FROM kv"), rows[i].killed);
        free(before);
        free(after);
        place_drop(&at);
    }
}

/* A start that was killed before its first migration left an empty file, or only settings. */
static void a_start_that_was_cut_short_goes_on(void **state) {
    (void)state;
    place at;
    place_make(&at);
    close(open(at.path, O_CREAT | O_WRONLY, 0600));
    expect_open(at.path, true, SM_NOT_FOUND, "is empty");
    fill(at.path);
    assert_int_equal(peek(at.path, "SELECT count(*) FROM events"), 1);
    place_drop(&at);
    place_make(&at);
    poke(at.path, "PRAGMA auto_vacuum = 2; PRAGMA journal_mode = WAL");
    fill(at.path);
    assert_int_equal(peek(at.path, "PRAGMA user_version"), newest_schema());
    place_drop(&at);
}

static void damage(const char *path, long at, size_t n) {
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, at, SEEK_SET);
    for (size_t i = 0; i < n; i++)
        fputc((int)(i * 31 + 7) & 0xff, f);
    fclose(f);
}

static void corrupt_files_are_moved_aside(void **state) {
    (void)state;
    static const struct {
        const char *name;
        long from;
        size_t n;
        bool journal;
    } rows[] = {{"the header", 0, 100, false},
                {"the schema", 100, 3000, false},
                {"pages of tables", 3 * 4096, 12 * 4096, false},
                {"the header, with a journal", 0, 100, true}};
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        place at;
        place_make(&at);
        print_message("  %s\n", rows[i].name);
        fill(at.path);
        damage(at.path, rows[i].from, rows[i].n);
        if (rows[i].journal) {
            char wal[128];
            snprintf(wal, sizeof wal, "%s-wal", at.path);
            poke(wal, "CREATE TABLE x (a)"); /* any bytes will do */
        }
        sm_store *s;
        sm_err err = SM_ERR_INIT;
        assert_int_not_equal(try_open(at.path, true, &s, &err), SM_OK);
        assert_int_equal(place_files(at.dir, "corrupt", false), 0);
        s = open_plain(at.path);
        expect(s, SM_OP_QUERY_EVENTS, "{}", "[]");
        json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_one("a.run", "e2", "d")));
        sm_store_close(s);
        assert_int_equal(place_files(at.dir, ".corrupt.", false), rows[i].journal ? 2 : 1);
        expect_intact(at.path);
        place_drop(&at);
    }
}

/* A kill between the two renames leaves a journal without its database: it is kept, not eaten. */
static void an_orphaned_journal_is_kept(void **state) {
    (void)state;
    place at;
    place_make(&at);
    die_with(at.path, "e1");
    unlink(at.path);
    sm_store_close(open_plain(at.path));
    assert_int_equal(place_files(at.dir, ".corrupt.", false), 1);
    expect_intact(at.path);
    place_drop(&at);
}

static void what_was_inflight_is_pending_after_a_start(void **state) {
    (void)state;
    place at;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    for (int i = 0; i < 4; i++) {
        char event_id[8], dim[8];
        snprintf(event_id, sizeof event_id, "e%d", i);
        snprintf(dim, sizeof dim, "d%d", i);
        json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_one("a.run", event_id, dim)));
    }
    json_decref(call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1}"));
    json_decref(call(s, SM_OP_OUTBOX_RETRY, "{'ids':['e0'],'next_ms':99999,'at_ns':1}"));
    json_decref(call(s, SM_OP_OUTBOX_HOLD, "{'ids':['e1'],'next_ms':99999,'at_ns':1}"));
    json_decref(call(s, SM_OP_OUTBOX_REFUSE, "{'ids':['e2'],'at_ns':1}"));
    json_t *before = call(s, SM_OP_OUTBOX_STATS, NULL);
    sm_store_close(s);
    s = open_plain(at.path);
    json_t *after = call(s, SM_OP_OUTBOX_STATS, NULL);
    assert_int_equal(sm_json_int(after, "bytes", -1), sm_json_int(before, "bytes", -2));
    assert_int_equal(sm_json_int(after, "pending", -1), 2);
    assert_int_equal(sm_json_int(after, "inflight", -1), 0);
    assert_int_equal(sm_json_int(after, "held", -1), 1);
    assert_int_equal(sm_json_int(after, "refused", -1), 1);
    json_decref(before);
    json_decref(after);
    json_t *got = call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':0}");
    assert_int_equal(json_array_size(got), 3);
    assert_string_equal(sm_json_str(json_array_get(got, 2), "event_id", ""), "e3");
    json_decref(got);
    sm_store_close(s);
    place_drop(&at);
}

/* The rest of a test as another user, in a process of its own; needs root. */
static void as_another_user(const char *path, void (*then)(const char *path)) {
    pid_t child = fork();
    if (child == 0) {
        if (seteuid(12345) != 0)
            _exit(1);
        then(path);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

static void it_is_anothers(const char *path) {
    expect_open(path, false, SM_DENIED, "belongs to another user (uid 0)");
}

static void it_is_not_writable(const char *path) {
    expect_open(path, false, SM_DENIED, "is not writable");
}

static void it_cannot_be_made(const char *path) {
    expect_open(path, false, SM_IO, "cannot make the database");
}

static void what_is_not_ours_to_write_is_refused(void **state) {
    (void)state;
    place at;
    size_t n, m;
    if (geteuid() != 0)
        skip();
    place_make(&at);
    assert_int_equal(chmod(at.dir, 0755), 0);
    as_another_user(at.path, it_cannot_be_made);
    assert_int_equal(place_files(at.dir, "store", false), 0);
    fill(at.path);
    char *before = bytes_of(at.path, &n);
    assert_int_equal(chown(at.dir, 12345, 12345), 0);
    assert_int_equal(chmod(at.path, 0644), 0);
    as_another_user(at.path, it_is_anothers);
    assert_int_equal(chown(at.path, 12345, 12345), 0);
    assert_int_equal(chmod(at.path, 0400), 0);
    as_another_user(at.path, it_is_not_writable);
    char *after = bytes_of(at.path, &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    assert_int_equal(place_files(at.dir, "store", false), 1);
    free(before);
    free(after);
    place_drop(&at);
}

static void network_file_systems_are_known(void **state) {
    (void)state;
    static const struct {
        uint32_t magic;
        const char *name;
    } rows[] = {{0x6969, "NFS"},      {0xff534d42, "CIFS"}, {0xfe534d42, "SMB2"},
                {0x00c36400, "Ceph"}, {0x01021997, "9P"},   {0xef53, NULL},
                {0x01021994, NULL},   {0x9123683e, NULL},   {0x58465342, NULL},
                {0x794c7630, NULL}};
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        const char *name = sm_place_network(rows[i].magic);
        if (rows[i].name == NULL)
            assert_null(name);
        else
            assert_string_equal(name, rows[i].name);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_file_is_private),
        cmocka_unit_test(what_is_not_ours_to_write_is_refused),
        cmocka_unit_test(network_file_systems_are_known),
        cmocka_unit_test(settings_are_the_promised_ones),
        cmocka_unit_test(a_held_database_is_busy),
        cmocka_unit_test(readers_write_nothing),
        cmocka_unit_test(readers_see_the_journal_of_a_killed_daemon),
        cmocka_unit_test(strange_files_are_refused),
        cmocka_unit_test(a_newer_schema_is_left_alone),
        cmocka_unit_test(a_start_that_was_cut_short_goes_on),
        cmocka_unit_test(corrupt_files_are_moved_aside),
        cmocka_unit_test(an_orphaned_journal_is_kept),
        cmocka_unit_test(what_was_inflight_is_pending_after_a_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
