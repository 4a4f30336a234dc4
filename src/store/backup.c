/* backup: a copy of the database, a few hundred pages at a time, read by the store's own
 * connection: what is accepted in between is in the copy too, and nobody waits longer than for one
 * step.
 *
 * Three operations that a command calls one after the other (BEGIN, STEP until nothing is left,
 * END); and the whole copy at once, for the start. A copy whose caller went away is dropped.
 * Runs on the store's thread. The copy is not synced: who keeps it does that.
 */
#include "store/store_internal.h"

#include "base/clock.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { STEP_PAGES = 256, PATIENCE_S = 30 };

struct sm_backup {
    char *path;
    sqlite3 *to;
    sqlite3_backup *copy;
    bool own;        /* path is ours: beside the database, removed when it is over */
    int64_t step_ns; /* monotonic; of the last step */
};

static void close_copy(sm_backup *b) {
    sqlite3_backup_finish(b->copy);
    sqlite3_close(b->to);
    b->copy = NULL;
    b->to = NULL;
}

static void drop(sm_backup *b, bool remove) {
    if (b == NULL)
        return;
    close_copy(b);
    if (remove)
        unlink(b->path);
    free(b->path);
    free(b);
}

void sm_backup_drop(sm_core *c) {
    drop(c->backup, true);
    c->backup = NULL;
}

void sm_backup_expire(sm_core *c) {
    if (c->backup != NULL && sm_mono_ns() - c->backup->step_ns > PATIENCE_S * SM_NS_PER_S)
        sm_backup_drop(c);
}

static sm_rc copy_failed(sm_backup *b, int rc, sm_err *err) {
    int errnum = sqlite3_system_errno(b->to);
    bool room = rc == SQLITE_FULL || errnum == ENOSPC || errnum == EDQUOT;
    return sm_err_set(err, room ? SM_FULL : SM_IO, "the copy %s could not be written: %s", b->path,
                      room          ? "the disk is full"
                      : errnum != 0 ? strerror(errnum)
                                    : sqlite3_errstr(rc));
}

static sm_rc open_copy(sm_core *c, sm_backup *b, sm_err *err) {
    int fd = open(b->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return sm_err_sys(err, errno, "cannot make the copy %s", b->path);
    close(fd);
    int rc = sqlite3_open_v2(b->path, &b->to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(b->to,
                          "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = OFF; "
                          "PRAGMA synchronous = OFF; PRAGMA cache_size = -1024",
                          NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        b->copy = sqlite3_backup_init(b->to, "main", c->h, "main");
        rc = b->copy != NULL ? SQLITE_OK : sqlite3_errcode(b->to);
    }
    return rc == SQLITE_OK ? SM_OK : copy_failed(b, rc, err);
}

/* Is there room for so many bytes beside path? */
static sm_rc room_for(const char *path, int64_t bytes, int64_t reserve, sm_err *err) {
    struct statvfs fs;
    char need[32], has[32];
    char *dir = sm_fsx_dirname(path);
    sm_rc rc = SM_OK;
    if (statvfs(dir, &fs) != 0)
        rc = sm_err_sys(err, errno, "the directory %s", dir);
    else if ((int64_t)fs.f_bavail * (int64_t)fs.f_frsize < bytes + reserve)
        rc = sm_err_set(err, SM_FULL, "there is no room for a copy of %s in %s: only %s are free%s",
                        sm_place_size(bytes, need, sizeof need), dir,
                        sm_place_size((int64_t)fs.f_bavail * (int64_t)fs.f_frsize, has, sizeof has),
                        reserve > 0 ? " and limits.min_free of it must stay so" : "");
    free(dir);
    return rc;
}

static sm_rc bytes_of(sm_core *c, int64_t *out, sm_err *err) {
    int64_t pages, size;
    if (sm_sql_int(c, &pages, 0, err, "PRAGMA page_count", "") != SM_OK ||
        sm_sql_int(c, &size, 0, err, "PRAGMA page_size", "") != SM_OK)
        return err->code;
    *out = pages * size;
    return SM_OK;
}

sm_rc sm_backup_copy(sm_core *c, const char *path, int64_t reserve, sm_err *err) {
    sm_backup b = {.path = (char *)(uintptr_t)path};
    int64_t bytes;
    sm_rc rc = bytes_of(c, &bytes, err);
    if (rc == SM_OK)
        rc = room_for(path, bytes, reserve, err);
    if (rc != SM_OK)
        return rc;
    unlink(path);
    rc = open_copy(c, &b, err);
    int step = rc == SM_OK ? sqlite3_backup_step(b.copy, -1) : SQLITE_OK;
    if (rc == SM_OK && step != SQLITE_DONE)
        rc = copy_failed(&b, step, err);
    close_copy(&b);
    if (rc == SM_OK)
        rc = sm_place_sync(path, err);
    if (rc != SM_OK)
        unlink(path);
    return rc;
}

sm_rc sm_op_backup_begin(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    const char *path = sm_json_str(args, "path", NULL);
    int64_t bytes;
    sm_backup_expire(c);
    if (c->backup != NULL)
        return sm_err_set(err, SM_BUSY, "another backup is being made");
    sm_rc rc = bytes_of(c, &bytes, err);
    if (rc != SM_OK)
        return rc;
    sm_backup *b = sm_calloc(1, sizeof *b);
    b->own = path == NULL;
    b->path = b->own ? sm_asprintf("%s.copy", c->path) : sm_strdup(path);
    b->step_ns = sm_mono_ns();
    rc = room_for(b->path, bytes, b->own && c->min_free > 0 ? c->min_free : 0, err);
    if (rc == SM_OK && b->own)
        unlink(b->path); /* of one that was cut short */
    bool made = rc == SM_OK;
    if (rc == SM_OK)
        rc = open_copy(c, b, err);
    if (rc != SM_OK) {
        drop(b, made && b->own);
        return rc;
    }
    c->backup = b;
    *result = json_pack("{s:s, s:I, s:i}", "path", b->path, "bytes", (json_int_t)bytes, "schema",
                        c->schema);
    return SM_OK;
}

sm_rc sm_op_backup_step(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)args;
    sm_backup *b = c->backup;
    if (b == NULL)
        return sm_err_set(err, SM_CLOSED,
                          "the backup was given up: the store had an error, or "
                          "nobody asked for its next step");
    b->step_ns = sm_mono_ns();
    sm_rc rc = SM_OK;
    int step = SQLITE_DONE;
    if (b->copy != NULL && b->own && c->min_free > 0)
        rc = room_for(b->path, 0, c->min_free, err);
    if (rc == SM_OK && b->copy != NULL)
        step = sqlite3_backup_step(b->copy, STEP_PAGES);
    if (rc == SM_OK && step != SQLITE_OK && step != SQLITE_DONE && step != SQLITE_BUSY)
        rc = copy_failed(b, step, err);
    if (rc != SM_OK) {
        sm_backup_drop(c);
        return rc;
    }
    int left = 0, pages = 0;
    if (b->copy != NULL) {
        left = sqlite3_backup_remaining(b->copy);
        pages = sqlite3_backup_pagecount(b->copy);
    }
    if (step == SQLITE_DONE)
        close_copy(b);
    *result =
        json_pack("{s:b, s:i, s:i}", "done", step == SQLITE_DONE, "left", left, "pages", pages);
    return SM_OK;
}

sm_rc sm_op_backup_end(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)args, (void)result, (void)err;
    if (c->backup != NULL) {
        drop(c->backup, c->backup->own || c->backup->copy != NULL);
        c->backup = NULL;
    }
    return SM_OK;
}

static sm_rc look(sqlite3 *h, const char *path, sm_backup_facts *out, sm_err *err) {
    static const struct {
        const char *sql;
        size_t at;
    } asked[] = {
        {"PRAGMA user_version", offsetof(sm_backup_facts, schema)},
        {"SELECT count(*) FROM events", offsetof(sm_backup_facts, events)},
        {"SELECT count(*) FROM outbox WHERE " SM_SQL_UNFINISHED,
         offsetof(sm_backup_facts, waiting)},
        {"SELECT value FROM meta WHERE key = 'group'", offsetof(sm_backup_facts, group)},
    };
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(h, "PRAGMA quick_check(1)", -1, &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    const char *said = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : NULL;
    sm_rc out_rc = SM_OK;
    if (said == NULL || strcmp(said, "ok") != 0)
        out_rc = sm_err_set(err, SM_INVALID, "%s is damaged: %s", path,
                            said != NULL ? said : sqlite3_errmsg(h));
    sqlite3_finalize(st);
    for (size_t i = 0; i < SM_ARRAY_LEN(asked) && out_rc == SM_OK; i++) {
        if (sqlite3_prepare_v2(h, asked[i].sql, -1, &st, NULL) == SQLITE_OK &&
            sqlite3_step(st) == SQLITE_ROW)
            *(int64_t *)(void *)((char *)out + asked[i].at) = sqlite3_column_int64(st, 0);
        else
            out_rc = sm_err_set(err, SM_INVALID, "%s is no database of this program: %s", path,
                                sqlite3_errmsg(h));
        sqlite3_finalize(st);
    }
    return out_rc;
}

sm_rc sm_store_backup_check(const char *path, sm_backup_facts *out, sm_err *err) {
    sqlite3 *h = NULL;
    *out = (sm_backup_facts){0};
    /* Nobody else has the copy: it is read as it lies there, without a journal. */
    char *uri = sm_place_uri(path, "immutable=1");
    sm_rc rc;
    if (sqlite3_open_v2(uri, &h, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK)
        rc = sm_err_set(err, SM_IO, "%s: %s", path, h != NULL ? sqlite3_errmsg(h) : "no memory");
    else
        rc = look(h, path, out, err);
    sqlite3_close(h);
    free(uri);
    if (rc == SM_OK && out->schema > sm_migrate_newest())
        rc = sm_err_set(err, SM_INVALID,
                        "%s was made by a newer version (its schema is %lld, this program knows up "
                        "to %d)",
                        path, (long long)out->schema, sm_migrate_newest());
    return rc;
}
