/* db: the connection: opening with the settings that the promise needs (EXCLUSIVE, WAL, FULL),
 * checking, moving a corrupt file aside, migrating, recovering, and opening again after an I/O
 * error.
 *
 * Refuses: a database held by another process, made by a newer version, linked or on a network
 * file system. A reader writes no row and makes nothing. Called by store (open, close) and group
 * (reconnect), on the thread that owns the sm_core.
 */
#include "store/store_internal.h"

#include "base/clock.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    OPEN_BUSY_MS = 250,       /* a reader of the command line may be passing by */
    JOURNAL_BYTES = 64 << 20, /* what a -wal keeps on disk after a checkpoint */
    CACHE_KIB = 16 << 10,
    CHECK_BYTES = 64 << 20
};

/* sm_glob(pattern, text): sm_str_glob for the readers' ids. */
static void sql_glob(sqlite3_context *ctx, int n, sqlite3_value **v) {
    (void)n;
    const char *pattern = (const char *)sqlite3_value_text(v[0]);
    const char *text = (const char *)sqlite3_value_text(v[1]);
    sqlite3_result_int(ctx, pattern != NULL && text != NULL && sm_str_glob(pattern, text));
}

static bool is_corrupt(const sm_core *c) {
    int rc = c->failed_rc & 0xff;
    return rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB;
}

/* keep_wal: a -wal that was there is left as it is, unread into the database. */
static void disconnect(sm_core *c, bool keep_wal) {
    sm_backup_drop(c);
    sm_sql_forget(c);
    if (c->h != NULL && keep_wal)
        sqlite3_db_config(c->h, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_close(c->h);
    c->h = NULL;
}

void sm_core_drop(sm_core *c) {
    disconnect(c, true);
}

/* In place of SQLite's own checkpoint at so many pages: group does it when it knows that the
 * database is still ours. */
static int on_commit(void *core, sqlite3 *h, const char *name, int pages) {
    (void)h, (void)name;
    ((sm_core *)core)->wal_pages = pages;
    return SQLITE_OK;
}

static sm_rc settings(sm_core *c, sm_err *err) {
    static const char *const first[] = {"PRAGMA synchronous = FULL", "PRAGMA foreign_keys = ON",
                                        "PRAGMA trusted_schema = OFF",
                                        "PRAGMA temp_store = MEMORY"};
    /* Counts only before the first page is written (and would write one after it): with it
     * retention can give room back to the file system. */
    if (c->schema == 0 &&
        sqlite3_exec(c->h, "PRAGMA auto_vacuum = INCREMENTAL", NULL, NULL, NULL) != SQLITE_OK)
        return sm_sql_fail(c, err, "auto_vacuum");
    sm_rc rc;
    for (size_t i = 0; i < SM_ARRAY_LEN(first); i++) {
        if (sqlite3_exec(c->h, first[i], NULL, NULL, NULL) != SQLITE_OK)
            return sm_sql_fail(c, err, first[i]);
    }
    sqlite3_stmt *st;
    bool row;
    if ((rc = sm_sql_query(c, &st, err, "PRAGMA journal_mode = WAL", "")) != SM_OK ||
        (rc = sm_sql_next(c, st, &row, err)) != SM_OK)
        return rc;
    const char *mode = row ? (const char *)sqlite3_column_text(st, 0) : NULL;
    if (mode == NULL || strcmp(mode, "wal") != 0)
        rc = sm_err_set(err, SM_IO, "the database %s cannot keep a write-ahead journal", c->path);
    sm_sql_end(st);
    if (rc != SM_OK)
        return rc;
    char text[96];
    sqlite3_snprintf(sizeof text, text, "PRAGMA journal_size_limit = %d; PRAGMA cache_size = -%d",
                     JOURNAL_BYTES, CACHE_KIB);
    if (sqlite3_exec(c->h, text, NULL, NULL, NULL) != SQLITE_OK)
        return sm_sql_fail(c, err, "settings");
    sqlite3_wal_hook(c->h, on_commit, c);
    return SM_OK;
}

static sm_rc connect(sm_core *c, sm_err *err) {
    int rc = sqlite3_open_v2(c->path, &c->h, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (c->h == NULL)
        return sm_err_set(err, SM_INTERNAL, "SQLite has no memory for a connection");
    sqlite3_extended_result_codes(c->h, 1);
    if (rc != SQLITE_OK)
        return sm_sql_fail(c, err, "open");
    sqlite3_busy_timeout(c->h, OPEN_BUSY_MS);
    sqlite3_create_function(c->h, "sm_glob", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, sql_glob,
                            NULL, NULL);
    /* Before the first access of a WAL database: then there is no -shm file and the lock on the
     * file is exclusive from the first read on (wal.html, section 8). */
    if (sqlite3_exec(c->h, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL) != SQLITE_OK)
        return sm_sql_fail(c, err, "locking_mode");
    if (!c->read_only && sqlite3_db_readonly(c->h, "main") == 1)
        return sm_err_set(err, SM_DENIED, "the database %s is not writable: chmod u+w it", c->path);
    sm_rc out = sm_migrate_check(c, err);
    if (out != SM_OK)
        return out;
    if (c->read_only) {
        if (sqlite3_exec(c->h, "PRAGMA query_only = ON", NULL, NULL, NULL) != SQLITE_OK)
            return sm_sql_fail(c, err, "query_only");
        return SM_OK;
    }
    out = settings(c, err);
    sqlite3_busy_timeout(c->h, 0);
    return out;
}

/* A great file is not read as a whole at each start: then the table that the promise hangs on. */
static const char *check_of(const sm_core *c) {
    struct stat st;
    bool great = stat(c->path, &st) == 0 && st.st_size > CHECK_BYTES;
    return great ? "PRAGMA quick_check('outbox')" : "PRAGMA quick_check(1)";
}

static sm_rc quick_check(sm_core *c, sm_err *err) {
    sqlite3_stmt *st;
    bool row;
    sm_rc rc = sm_sql_query(c, &st, err, check_of(c), "");
    if (rc != SM_OK || (rc = sm_sql_next(c, st, &row, err)) != SM_OK)
        return rc;
    const char *said = row ? (const char *)sqlite3_column_text(st, 0) : NULL;
    if (said == NULL || strcmp(said, "ok") != 0) {
        c->failed_rc = SQLITE_CORRUPT;
        rc = sm_err_set(err, SM_IO, "the database %s is corrupt: %s", c->path,
                        said != NULL ? said : "quick_check gave no answer");
    }
    sm_sql_end(st);
    return rc;
}

static sm_rc recover(sm_core *c, sm_err *err) {
    if (sqlite3_exec(c->h, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return sm_sql_fail(c, err, "begin");
    sm_rc rc = sm_outbox_recover(c, err);
    if (rc == SM_OK && sqlite3_exec(c->h, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        rc = sm_sql_fail(c, err, "commit");
    if (rc != SM_OK)
        sqlite3_exec(c->h, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

static sm_rc ready(sm_core *c, bool made, sm_err *err) {
    sm_rc rc = connect(c, err);
    if (rc == SM_OK && !c->read_only) {
        if (!made)
            rc = quick_check(c, err);
        if (rc == SM_OK)
            rc = sm_migrate_run(c, err);
        if (rc == SM_OK)
            rc = recover(c, err);
    }
    if (rc == SM_OK)
        rc = sm_outbox_recount(c, err);
    if (rc == SM_OK)
        rc = sm_sql_int(c, &c->group, 0, err, "SELECT value FROM meta WHERE key = 'group'", "");
    return rc;
}

/* A copy that a running process made of a database whose files were taken away, and that it could
 * not put in place any more: that is the database. */
static sm_rc finish_healing(sm_core *c, sm_err *err) {
    char *kept = sm_asprintf("%s.kept", c->path), *fresh = sm_asprintf("%s.kept.new", c->path);
    char *copy = sm_asprintf("%s.copy", c->path);
    sm_rc rc = SM_OK;
    if (sm_fsx_exists(kept))
        rc = sm_vigil_settle(c->path, kept, err);
    unlink(fresh);
    unlink(copy);
    free(kept);
    free(fresh);
    free(copy);
    return rc;
}

/* One try; *again asks for another. What looks corrupt is moved aside the second time only: to
 * SQLite a page that the disk fails to read once is corrupt as well (SQLITE_IOERR_CORRUPTFS). */
static sm_rc try_open(sm_core *c, bool second, bool *again, sm_err *err) {
    bool made;
    *again = false;
    sm_rc rc = c->read_only ? SM_OK : finish_healing(c, err);
    if (rc != SM_OK)
        return rc;
    if (!c->read_only && !sm_fsx_exists(c->path) && sm_place_has_wal(c->path))
        rc = sm_place_aside(c->path, "a journal was found without its database", err);
    if (rc == SM_OK)
        rc = sm_place_check(c->path, !c->read_only, &made, err);
    if (rc != SM_OK)
        return rc;
    bool had_wal = sm_place_has_wal(c->path);
    c->failed_rc = 0;
    rc = ready(c, made, err);
    if (rc == SM_OK)
        return SM_OK;
    bool corrupt = is_corrupt(c);
    disconnect(c, had_wal);
    *again = corrupt && !second;
    if (corrupt && second && !c->read_only) {
        char why[SM_ERR_MAX];
        sqlite3_snprintf(sizeof why, why, "%s", err->msg);
        rc = sm_place_aside(c->path, why, err);
        *again = rc == SM_OK;
    }
    return rc;
}

sm_rc sm_core_open(sm_core *c, const sm_store_options *opt, sm_err *err) {
    sm_err own = SM_ERR_INIT;
    sm_err *e = err != NULL ? err : &own;
    memset(c, 0, sizeof *c);
    c->path = sm_strdup(opt->path);
    c->dir = sm_fsx_dirname(opt->path);
    c->dirfd = -1;
    c->read_only = opt->read_only;
    c->outbox_max = opt->outbox_bytes;
    c->min_free = opt->min_free_bytes;
    c->free_left = -1;
    c->cursors = json_object();
    bool again;
    sm_rc rc = try_open(c, false, &again, e);
    for (int i = 0; again && i < 2; i++) /* as it is, and on a new file */
        rc = try_open(c, true, &again, e);
    if (rc == SM_OK && !c->read_only) {
        c->dirfd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (c->dirfd < 0)
            rc = sm_err_sys(e, errno, "the directory %s", c->dir);
    }
    if (rc != SM_OK)
        sm_core_close(c);
    else
        sm_vigil_note(c, true);
    return rc;
}

void sm_core_close(sm_core *c) {
    /* A reader leaves a -wal as it found it; after a failed fsync the journal is for the next
     * start to judge. An empty -wal that the connection made goes with it. */
    disconnect(c, c->broken || (c->read_only && c->path != NULL && sm_place_has_wal(c->path)));
    if (c->dirfd >= 0)
        close(c->dirfd);
    c->dirfd = -1;
    free(c->path);
    free(c->dir);
    c->path = c->dir = NULL;
    json_decref(c->cursors);
    c->cursors = NULL;
    sm_tally_fini(c);
    json_decref(c->aside);
    c->aside = NULL;
}

sm_rc sm_core_reconnect(sm_core *c, sm_err *err) {
    int rc = c->failed_rc, errnum = c->failed_errno;
    int64_t group = c->group;
    disconnect(c, true);
    sm_rc out = SM_OK;
    if (c->broken || sm_vigil_moved(c))
        out = sm_err_set(err, SM_IO, "the database %s is no longer where it was opened", c->path);
    if (out == SM_OK)
        out = connect(c, err);
    if (out == SM_OK)
        out = sm_outbox_recount(c, err);
    if (out == SM_OK)
        sm_vigil_note(c, true);
    if (out != SM_OK) {
        disconnect(c, true);
        c->retry_ns = sm_mono_ns() + SM_NS_PER_S;
    }
    /* A number is never used twice, whatever became of its group. */
    c->group = group;
    c->failed_rc = rc;
    c->failed_errno = errnum;
    return out;
}
