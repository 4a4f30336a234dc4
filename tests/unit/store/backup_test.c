/* Copies of the database: in steps while it is written, given up, without room; before a migration;
 * and what somebody else does to the files. */
#include "store_help.h"

#include <fcntl.h>
#include <sys/stat.h>

static void accept_many(sm_store *s, int from, int n) {
    for (int i = from; i < from + n; i++) {
        char event_id[16];
        snprintf(event_id, sizeof event_id, "e%d", i);
        json_decref(call_json(s, SM_OP_EVENTS_ACCEPT, report_one("a.run", event_id, "d")));
    }
}

static bool step(sm_store *s) {
    json_t *at = call(s, SM_OP_BACKUP_STEP, NULL);
    bool done = sm_json_bool(at, "done", false);
    json_decref(at);
    return done;
}

static void writes_between_steps_are_in_the_copy(void **state) {
    (void)state;
    place at;
    sm_backup_facts is;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    char big[8000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    for (int i = 0; i < 600; i++)
        json_decref(call_json(
            s, SM_OP_KV_PUT, json_pack("{s:o, s:s}", "key", json_sprintf("k%d", i), "value", big)));
    json_t *begun = call(s, SM_OP_BACKUP_BEGIN, NULL);
    const char *copy = sm_json_str(begun, "path", "");
    expect_fail(s, SM_OP_BACKUP_BEGIN, json_object(), SM_BUSY, "another backup");
    int n = 0;
    assert_false(step(s));
    do
        accept_many(s, 10 * n, 10);
    while (n++ < 1000 && !step(s));
    assert_true(n > 2);
    assert_int_equal(sm_store_backup_check(copy, &is, NULL), SM_OK);
    assert_int_equal(is.events, 10 * n);
    assert_int_equal(is.waiting, 10 * n);
    assert_int_equal(is.schema, newest_schema());
    json_decref(call(s, SM_OP_BACKUP_END, NULL));
    assert_int_equal(access(copy, F_OK), -1);
    expect_fail(s, SM_OP_BACKUP_STEP, json_object(), SM_CLOSED, "was given up");
    json_decref(begun);
    sm_store_close(s);
    place_drop(&at);
}

static void a_copy_that_is_not_ended_goes_with_the_store(void **state) {
    (void)state;
    place at;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    json_decref(call(s, SM_OP_BACKUP_BEGIN, NULL));
    assert_int_equal(place_files(at.dir, ".copy", false), 1);
    sm_store_close(s);
    assert_int_equal(place_files(at.dir, ".copy", false), 0);
    /* What a kill left goes at the next start. */
    char left[128];
    snprintf(left, sizeof left, "%s.copy", at.path);
    close(open(left, O_CREAT | O_WRONLY, 0600));
    sm_store_close(open_plain(at.path));
    assert_int_equal(place_files(at.dir, ".copy", false), 0);
    place_drop(&at);
}

static void no_room_is_said(void **state) {
    (void)state;
    place at;
    place_make(&at);
    sm_store_options opt = {.path = at.path, .min_free_bytes = INT64_MAX / 2};
    sm_store *s = open_with(&opt);
    expect_fail(s, SM_OP_BACKUP_BEGIN, json_object(), SM_FULL, "there is no room for a copy");
    expect_fail(s, SM_OP_BACKUP_BEGIN, parse("{'path':'/no/such/file'}"), SM_IO, "No such file");
    assert_int_equal(place_files(at.dir, ".copy", false), 0);
    sm_store_close(s);
    place_drop(&at);
}

static void damaged_copies_are_told(void **state) {
    (void)state;
    place at;
    sm_backup_facts is;
    sm_err err = SM_ERR_INIT;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    accept_many(s, 0, 3);
    sm_store_close(s);
    assert_int_equal(sm_store_backup_check(at.path, &is, &err), SM_OK);
    assert_int_equal(truncate(at.path, 3 * 4096), 0);
    assert_int_equal(sm_store_backup_check(at.path, &is, &err), SM_INVALID);
    unlink(at.path);
    poke(at.path, "CREATE TABLE theirs (a)");
    assert_int_equal(sm_store_backup_check(at.path, &is, &err), SM_INVALID);
    assert_non_null(strstr(err.msg, "is no database of this program"));
    place_drop(&at);
}

/* A database as the third schema had it, with two events. */
static void make_older(const char *path) {
    unlink(path);
    for (const sm_embedded *e = sm_embedded_sql; e->name != NULL; e++) {
        if (atoi(e->name) <= 3)
            poke(path, e->begin);
    }
    poke(path,
         "PRAGMA user_version = 3; INSERT INTO events (event_id, id, at_ns, run, attempt, account, "
         "status, title, dimension, dimension_tags, message) VALUES ('e1', 'a.run', 1, 'r', 1, "
         "'default', 'ok', 't', 'd', '{}', ''), ('e2', 'a.run', 2, 'r', 1, 'default', 'ok', 't', "
         "'d', '{}', '')");
}

static void a_migration_keeps_the_former(void **state) {
    (void)state;
    place at;
    place_make(&at);
    sm_store_close(open_plain(at.path));
    assert_int_equal(place_files(at.dir, ".before-", false), 0);
    char kept[128];
    snprintf(kept, sizeof kept, "%s.before-%d", at.path, newest_schema());
    for (int i = 0; i < 2; i++) {
        make_older(at.path);
        sm_store_close(open_plain(at.path));
        assert_int_equal(place_files(at.dir, ".before-", false), 1);
        assert_int_equal(peek(kept, "PRAGMA user_version"), 3);
        assert_int_equal(peek(kept, "SELECT count(*) FROM events"), 2);
        assert_int_equal(peek(at.path, "PRAGMA user_version"), newest_schema());
    }
    /* One of an upgrade that was cut off is older than what is there, and stays. */
    make_older(at.path);
    poke(kept, "PRAGMA user_version = 1; DELETE FROM events WHERE seq = 1");
    sm_store_close(open_plain(at.path));
    assert_int_equal(peek(kept, "SELECT count(*) FROM events"), 1);
    struct stat st;
    assert_int_equal(stat(kept, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    place_drop(&at);
}

static void taken_files_are_put_back(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool db, wal;
    } rows[] = {{"the database", true, false}, {"its journal", false, true}, {"both", true, true}};
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        place at;
        char wal[128];
        place_make(&at);
        print_message("  %s\n", rows[i].name);
        snprintf(wal, sizeof wal, "%s-wal", at.path);
        sm_store *s = open_plain(at.path);
        accept_many(s, 0, 5);
        if (rows[i].db)
            unlink(at.path);
        if (rows[i].wal)
            unlink(wal);
        accept_many(s, 5, 5);
        json_t *health = call(s, SM_OP_HEALTH, NULL);
        assert_int_equal(sm_json_int(health, "healed", 0), 1);
        assert_non_null(strstr(sm_json_str(health, "alarm", ""), "was put back whole"));
        json_decref(health);
        sm_store_close(s);
        assert_int_equal(peek(at.path, "SELECT count(*) FROM events"), 10);
        assert_int_equal(place_files(at.dir, ".kept", false), 0);
        expect_intact(at.path);
        place_drop(&at);
    }
}

static void an_overwritten_database_is_not_written(void **state) {
    (void)state;
    place at;
    place_make(&at);
    sm_store *s = open_plain(at.path);
    accept_many(s, 0, 5);
    assert_int_equal(truncate(at.path, 0), 0);
    expect_fail(s, SM_OP_EVENTS_ACCEPT, report_one("a.run", "e9", "d"), SM_IO, "was overwritten");
    assert_true(sm_store_broken(s));
    assert_true(sm_store_overwritten(s));
    sm_store_close(s);
    assert_int_equal(access(at.path, F_OK), -1);
    char *told = sm_store_aside_text(at.path);
    assert_non_null(strstr(told, "corrupt databases lie aside"));
    free(told);
    place_drop(&at);
}

/* A process that healed was killed before its copy was in place. */
static void a_kept_copy_is_put_in_place(void **state) {
    (void)state;
    place at;
    char kept[128];
    place_make(&at);
    sm_store *s = open_plain(at.path);
    accept_many(s, 0, 4);
    sm_store_close(s);
    snprintf(kept, sizeof kept, "%s.kept", at.path);
    assert_int_equal(rename(at.path, kept), 0);
    poke(at.path, "CREATE TABLE theirs (a)");
    sm_store_close(open_plain(at.path));
    assert_int_equal(peek(at.path, "SELECT count(*) FROM events"), 4);
    assert_int_equal(place_files(at.dir, ".foreign.", false), 1);
    place_drop(&at);
}

/* Damage of many kinds, by a row of numbers that is always the same. */
static void damage(const char *path, unsigned seed) {
    struct stat st;
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    uint32_t x = seed * 2654435761U + 1;
    for (unsigned i = 0; i < 1 + seed % 7; i++) {
        x = x * 1664525U + 1013904223U;
        long at = seed % 3 == 0 ? (long)(x % 4096) : (long)(x % (uint32_t)st.st_size);
        fseek(f, at, SEEK_SET);
        for (unsigned k = 0; k < 1U << seed % 10; k++)
            fputc((int)((x >> k % 24) + k) & 0xff, f);
    }
    fclose(f);
    if (seed % 5 == 4)
        assert_int_equal(truncate(path, (long)(x % (uint32_t)st.st_size)), 0);
}

static void salvage_survives_any_damage(void **state) {
    (void)state;
    int64_t recovered = 0;
    place at;
    char bad[128], pristine[128], work[128];
    place_make(&at);
    snprintf(pristine, sizeof pristine, "%s/pristine", at.dir);
    snprintf(bad, sizeof bad, "%s/bad", at.dir);
    snprintf(work, sizeof work, "%s/work", at.dir);
    sm_store *s = open_plain(pristine);
    accept_many(s, 0, 60);
    sm_store_close(s);
    for (unsigned seed = 0; seed < 60; seed++) {
        json_t *is = NULL;
        sm_err err = SM_ERR_INIT;
        char *copy = sm_asprintf("cp %s %s", pristine, bad);
        assert_int_equal(system(copy), 0);
        free(copy);
        damage(bad, seed);
        s = open_plain(at.path);
        sm_rc rc = sm_store_call_sync(
            s, SM_OP_SALVAGE, json_pack("{s:s, s:s}", "path", bad, "work", work), &is, &err);
        if (rc != SM_OK && rc != SM_INVALID)
            fail_msg("seed %u: %s: %s", seed, sm_rc_name(rc), err.msg);
        recovered += sm_json_int(is, "recovered", 0);
        json_decref(is);
        accept_many(s, 1000, 1);
        json_t *next = call(s, SM_OP_OUTBOX_CLAIM, "{'now_ms':1}");
        assert_true(json_array_size(next) > 0);
        json_decref(next);
        sm_store_close(s);
        expect_intact(at.path);
        assert_int_equal(place_files(at.dir, "work", false), 0);
        place_files(at.dir, "store.db", true);
    }
    print_message("  %lld of 3600 events\n", (long long)recovered);
    assert_true(recovered > 1800);
    place_drop(&at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_between_steps_are_in_the_copy),
        cmocka_unit_test(a_copy_that_is_not_ended_goes_with_the_store),
        cmocka_unit_test(no_room_is_said),
        cmocka_unit_test(damaged_copies_are_told),
        cmocka_unit_test(a_migration_keeps_the_former),
        cmocka_unit_test(taken_files_are_put_back),
        cmocka_unit_test(an_overwritten_database_is_not_written),
        cmocka_unit_test(a_kept_copy_is_put_in_place),
        cmocka_unit_test(salvage_survives_any_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
