/* A store without room: limits.outbox, limits.min_free, a file system that is full, writes and
 * syncs that fail. Failures are made by a VFS that stands before SQLite's own, and, for root, by
 * a small tmpfs. Nothing is half taken, and what was acknowledged is there. */
#include "store_help.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

/* ---- the failing VFS: the methods of SQLite's own with xWrite and xSync replaced ---- */

static struct {
    sqlite3_io_methods wal;
    const sqlite3_io_methods *wal_real;
    sqlite3_vfs vfs;
    sqlite3_vfs *real;
    int wal_write; /* result of a write to the -wal; SQLITE_OK: passes */
    int wal_sync;  /* result of a sync of the -wal */
    bool late;     /* the failing sync is done all the same, and fails once only */
    int after;     /* so many writes still pass */
} fault;

static int wal_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at) {
    if (fault.wal_write != SQLITE_OK && fault.after-- <= 0)
        return fault.wal_write;
    return fault.wal_real->xWrite(f, p, n, at);
}

static int wal_sync(sqlite3_file *f, int flags) {
    if (fault.wal_sync == SQLITE_OK)
        return fault.wal_real->xSync(f, flags);
    int rc = fault.wal_sync;
    if (fault.late) {
        fault.wal_real->xSync(f, flags);
        fault.wal_sync = SQLITE_OK;
    }
    return rc;
}

static int fault_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out) {
    (void)vfs;
    int rc = fault.real->xOpen(fault.real, name, f, flags, out);
    if (rc == SQLITE_OK && (flags & SQLITE_OPEN_WAL) != 0) {
        fault.wal_real = f->pMethods;
        fault.wal = *f->pMethods;
        fault.wal.xWrite = wal_write;
        fault.wal.xSync = wal_sync;
        f->pMethods = &fault.wal;
    }
    return rc;
}

static int install(void **state) {
    (void)state;
    fault.real = sqlite3_vfs_find(NULL);
    fault.vfs = *fault.real;
    fault.vfs.zName = "fault";
    fault.vfs.xOpen = fault_open;
    return sqlite3_vfs_register(&fault.vfs, 1);
}

static int uninstall(void **state) {
    (void)state;
    return sqlite3_vfs_unregister(&fault.vfs);
}

static void heal(void) {
    fault.wal_write = fault.wal_sync = SQLITE_OK;
    fault.late = false;
    fault.after = 0;
}

static sm_rc accept(sm_store *s, const char *event_id, sm_err *err) {
    err->msg[0] = '\0';
    return sm_store_call_sync(s, SM_OP_EVENTS_ACCEPT, report_one("a.run", event_id, event_id), NULL,
                              err);
}

static void expect_stored(const char *path, const char *ids) {
    char got[256] = "";
    sqlite3 *h;
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(h,
                                        "SELECT coalesce(group_concat(event_id, ' '), '') FROM "
                                        "(SELECT event_id FROM events JOIN outbox USING (seq) "
                                        "ORDER BY seq)",
                                        -1, &st, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    snprintf(got, sizeof got, "%s", (const char *)sqlite3_column_text(st, 0));
    sqlite3_finalize(st);
    sqlite3_close(h);
    assert_string_equal(got, ids);
}

static void the_outbox_has_a_limit(void **state) {
    (void)state;
    place at;
    sm_err err;
    place_make(&at);
    sm_store_options opt = {.path = at.path, .outbox_bytes = 100};
    sm_store *s = open_with(&opt);
    assert_int_equal(accept(s, "e1", &err), SM_OK);
    assert_int_equal(accept(s, "e2", &err), SM_OK);
    assert_int_equal(accept(s, "e3", &err), SM_FULL);
    assert_string_equal(err.msg, "outbox is full: 88 bytes of events wait (limits.outbox)");
    assert_int_equal(accept(s, "e2", &err), SM_OK); /* is there already */
    /* A list of which one fits is refused whole. */
    json_decref(call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1,'limit':1}"));
    json_decref(call(s, SM_OP_OUTBOX_DONE, "{'ids':['e1'],'at_ns':1}"));
    json_t *two = json_pack("[o,o]", one_event("e4", 1, "d", "m"), one_event("e5", 1, "d", "m"));
    expect_fail(s, SM_OP_EVENTS_ACCEPT, report_of("a.run", two), SM_FULL, "outbox is full: ");
    json_t *stats = call(s, SM_OP_OUTBOX_STATS, NULL);
    assert_int_equal(sm_json_int(stats, "bytes", -1), 44);
    json_decref(stats);
    sm_store_close(s);
    expect_stored(at.path, "e2");
    /* A start with a limit below the backlog keeps it, refuses more, and counts on. */
    opt.outbox_bytes = 10;
    s = open_with(&opt);
    assert_int_equal(accept(s, "e6", &err), SM_FULL);
    json_decref(call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1,'limit':1}"));
    json_decref(call(s, SM_OP_OUTBOX_DONE, "{'ids':['e2'],'at_ns':1}"));
    assert_int_equal(accept(s, "e6", &err), SM_FULL); /* longer than the whole limit */
    sm_store_close(s);
    opt.outbox_bytes = 1 << 20;
    s = open_with(&opt);
    assert_int_equal(accept(s, "e6", &err), SM_OK);
    sm_store_close(s);
    expect_stored(at.path, "e6");
    place_drop(&at);
}

static void some_room_must_stay_free(void **state) {
    (void)state;
    place at;
    sm_err err;
    place_make(&at);
    sm_store_options opt = {.path = at.path, .min_free_bytes = INT64_C(1) << 60};
    sm_store *s = open_with(&opt);
    assert_int_equal(accept(s, "e1", &err), SM_FULL);
    char text[SM_ERR_MAX], dir[64];
    int n = -1;
    assert_int_equal(sscanf(err.msg,
                            "outbox is full: only %d MiB free on the file system of %63[^,], "
                            "%[^\n]",
                            &n, dir, text),
                     3);
    assert_true(n > 0);
    assert_string_equal(dir, at.dir);
    assert_string_equal(text, "1099511627776 MiB must stay free (limits.min_free)");
    /* Everything else goes on: deliveries are what frees room. */
    expect(s, SM_OP_KV_PUT, "{'key':'k','value':1}", "null");
    expect(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1}", "[]");
    sm_store_close(s);
    opt.min_free_bytes = 1;
    s = open_with(&opt);
    assert_int_equal(accept(s, "e1", &err), SM_OK);
    sm_store_close(s);
    expect_stored(at.path, "e1");
    place_drop(&at);
}

/* What SM_OP_HEALTH says of why it refuses events begins like this; NULL: it takes them. */
static void health_is(sm_store *s, const char *refuses) {
    json_t *health = call(s, SM_OP_HEALTH, NULL);
    const char *said = sm_json_str(health, "refuses", NULL);
    if ((said == NULL) != (refuses == NULL) || (refuses && strstr(said, refuses) != said))
        fail_msg("refuses: %s, not %s", said ? said : "null", refuses ? refuses : "null");
    assert_true(sm_json_int(health, "bytes", 0) > 4096);
    assert_int_equal(sm_json_int(json_object_get(health, "outbox"), "pending", -1), 1);
    json_decref(health);
}

static void a_full_disk_at_commit_refuses_the_group(void **state) {
    (void)state;
    place at;
    sm_err err;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    assert_int_equal(accept(s, "e1", &err), SM_OK);
    for (int after = 0; after < 4; after++) {
        fault.after = after;
        fault.wal_write = SQLITE_FULL;
        assert_int_equal(accept(s, "e2", &err), SM_FULL);
        if (strstr(err.msg, "outbox is full: no space left on the file system of ") != err.msg)
            fail_msg("%s", err.msg);
        expect_fail(s, SM_OP_KV_PUT, parse("{'key':'k','value':1}"), SM_FULL, "outbox is full: ");
        json_t *got = call(s, SM_OP_QUERY_EVENTS, "{}"); /* reading goes on */
        assert_int_equal(json_array_size(got), 1);
        json_decref(got);
    }
    json_t *stats = call(s, SM_OP_OUTBOX_STATS, NULL);
    assert_int_equal(sm_json_int(stats, "pending", -1), 1);
    json_decref(stats);
    health_is(s, "outbox is full: no space left on the file system of ");
    heal();
    expect(s, SM_OP_KV_PUT, "{'key':'k','value':1}", "null");
    health_is(s, NULL);
    assert_int_equal(accept(s, "e3", &err), SM_OK);
    json_decref(call(s, SM_OP_PING, NULL));
    sm_store_close(s);
    expect_stored(at.path, "e1 e3");
    expect_intact(at.path);
    place_drop(&at);
}

static void a_failed_write_is_not_acknowledged(void **state) {
    (void)state;
    place at;
    sm_err err;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    assert_int_equal(accept(s, "e1", &err), SM_OK);
    json_decref(call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1}"));
    for (int after = 0; after < 4; after++) {
        fault.after = after;
        fault.wal_write = SQLITE_IOERR_WRITE;
        assert_int_equal(accept(s, "e2", &err), SM_IO);
        heal();
        /* The connection was opened again; what was inflight still is. */
        json_t *stats = call(s, SM_OP_OUTBOX_STATS, NULL);
        assert_int_equal(sm_json_int(stats, "inflight", -1), 1);
        assert_int_equal(sm_json_int(stats, "pending", -1), 0);
        json_decref(stats);
    }
    assert_int_equal(accept(s, "e3", &err), SM_OK);
    sm_store_close(s);
    expect_stored(at.path, "e1 e3");
    expect_intact(at.path);
    place_drop(&at);
}

/* The commit reached the disk although the call says it failed: the ids are there after opening
 * again, so the caller hears what is true. */
static void a_commit_that_is_there_is_acknowledged(void **state) {
    (void)state;
    place at;
    sm_err err;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    assert_int_equal(accept(s, "e1", &err), SM_OK);
    fault.late = true;
    fault.wal_sync = SQLITE_IOERR; /* not the code of a failed fsync */
    assert_int_equal(accept(s, "e2", &err), SM_OK);
    json_t *stats = call(s, SM_OP_OUTBOX_STATS, NULL);
    assert_int_equal(sm_json_int(stats, "pending", -1), 2);
    json_decref(stats);
    heal();
    assert_int_equal(accept(s, "e3", &err), SM_OK);
    sm_store_close(s);
    expect_stored(at.path, "e1 e2 e3");
    place_drop(&at);
}

static void after_a_failed_fsync_nothing_is_written(void **state) {
    (void)state;
    place at;
    sm_err err;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    assert_int_equal(accept(s, "e1", &err), SM_OK);
    fault.wal_sync = SQLITE_IOERR_FSYNC;
    assert_int_equal(accept(s, "e2", &err), SM_IO);
    assert_non_null(strstr(err.msg, "fsync failed"));
    heal();
    assert_int_equal(accept(s, "e3", &err), SM_IO);
    assert_non_null(strstr(err.msg, "start the program again"));
    expect_fail(s, SM_OP_PING, NULL, SM_IO, "takes nothing more");
    json_t *got = call(s, SM_OP_QUERY_EVENTS, "{'limit':1}");
    assert_int_equal(json_array_size(got), 1);
    json_decref(got);
    sm_store_close(s);
    s = open_plain(at.path);
    assert_int_equal(accept(s, "e4", &err), SM_OK);
    json_decref(call(s, SM_OP_PING, NULL));
    sm_store_close(s);
    expect_intact(at.path);
    /* e1 and e4 were acknowledged; e2 was not, and may be there or not. */
    assert_int_equal(peek(at.path, "SELECT count(*) FROM events WHERE event_id IN ('e1', 'e4')"),
                     2);
    assert_int_equal(peek(at.path, "SELECT count(*) FROM events WHERE event_id = 'e3'"), 0);
    place_drop(&at);
}

/* A real file system that fills up: every acknowledged event is there, no other, and the store
 * goes on when there is room again. */
static void a_real_disk_fills_up(void **state) {
    (void)state;
    place at;
    sm_err err;
    place_make(&at);
    if (mount("tmpfs", at.dir, "tmpfs", 0, "size=2m,mode=0700") != 0) {
        print_message("  no tmpfs here: %s\n", strerror(errno));
        place_drop(&at);
        skip();
    }
    char filler[128], big[8001];
    snprintf(filler, sizeof filler, "%s/filler", at.dir);
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    FILE *f = fopen(filler, "w");
    /* More than the database needs to take over what its journal holds, so that removing it makes
     * room for that. */
    for (int i = 0; i < 90; i++)
        fwrite(big, 1, sizeof big - 1, f);
    fclose(f);
    sm_store *s = open_plain(at.path);
    int acked = 0, refused = 0;
    for (int i = 0; i < 400; i++) {
        char event_id[16];
        snprintf(event_id, sizeof event_id, "e%d", i);
        sm_rc rc = sm_store_call_sync(
            s, SM_OP_EVENTS_ACCEPT,
            report_of("a.run", json_pack("[o]", one_event(event_id, i, "d", big))), NULL, &err);
        if (rc == SM_FULL && strncmp(err.msg, "outbox is full: ", 16) == 0)
            refused++;
        else if (rc == SM_OK)
            acked++;
        else
            fail_msg("%s: %s", sm_rc_name(rc), err.msg);
    }
    print_message("  %d accepted, %d refused\n", acked, refused);
    assert_true(acked > 0 && refused > 0);
    json_t *stats = call(s, SM_OP_OUTBOX_STATS, NULL);
    assert_int_equal(sm_json_int(stats, "pending", -1), acked);
    json_decref(stats);
    unlink(filler);
    assert_int_equal(accept(s, "after", &err), SM_OK);
    sm_store_close(s);
    assert_int_equal(peek(at.path, "SELECT count(*) FROM events"), acked + 1);
    assert_int_equal(peek(at.path, "SELECT count(*) FROM outbox"), acked + 1);
    expect_intact(at.path);
    umount(at.dir);
    place_drop(&at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_outbox_has_a_limit),
        cmocka_unit_test(some_room_must_stay_free),
        cmocka_unit_test(a_full_disk_at_commit_refuses_the_group),
        cmocka_unit_test(a_failed_write_is_not_acknowledged),
        cmocka_unit_test(a_commit_that_is_there_is_acknowledged),
        cmocka_unit_test(after_a_failed_fsync_nothing_is_written),
        cmocka_unit_test(a_real_disk_fills_up),
    };
    return cmocka_run_group_tests(tests, install, uninstall);
}
