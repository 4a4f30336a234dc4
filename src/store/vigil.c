/* vigil: notices that somebody else moved, removed, cut or overwrote the files of the open
 * database, by what the file system says of them (inode, size, time of the last write): nobody but
 * us writes them. Looked at before each group that writes and once a second.
 *
 * The open connection still has everything when a file was moved or removed, or only the journal
 * was cut: then a whole copy is made from it, checked, and put where the database belongs; what was
 * there is kept as `*.foreign.TIME`. A database that was overwritten in place is lost in part: what
 * can be read goes aside with it as `*.corrupt.TIME`, and nothing is written any more until the
 * next start. Runs on the store's thread.
 */
#include "store/store_internal.h"

#include "base/clock.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { AGAIN_S = 10 };

typedef enum fate { SAME, GONE, CHANGED } fate;

static int64_t mtime_of(const struct stat *st) {
    return (int64_t)st->st_mtim.tv_sec * SM_NS_PER_S + st->st_mtim.tv_nsec;
}

/* A number of the first page as the file has it, 0 when it cannot be read. By the connection's own
 * descriptor: closing another one would drop the locks. */
static uint64_t mark_of(sm_core *c) {
    unsigned char page[4096];
    sqlite3_file *file = NULL;
    uint64_t h = UINT64_C(14695981039346656037);
    if (sqlite3_file_control(c->h, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
        file == NULL || file->pMethods == NULL ||
        file->pMethods->xRead(file, page, sizeof page, 0) != SQLITE_OK)
        return 0;
    for (size_t i = 0; i < sizeof page; i++)
        h = (h ^ page[i]) * UINT64_C(1099511628211);
    return h;
}

static void note(sm_seen *seen, const char *path) {
    struct stat st;
    /* Another file under the name is not taken for ours: the next look finds it. */
    if (lstat(path, &st) != 0 ||
        (seen->known && (st.st_ino != seen->ino || st.st_dev != seen->dev)))
        return;
    *seen = (sm_seen){.known = true,
                      .dev = st.st_dev,
                      .ino = st.st_ino,
                      .size = st.st_size,
                      .mtime_ns = mtime_of(&st)};
}

static fate look(const sm_seen *seen, const char *path) {
    struct stat st;
    if (!seen->known)
        return SAME;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? GONE : SAME;
    if (st.st_ino != seen->ino || st.st_dev != seen->dev)
        return GONE;
    return st.st_size == seen->size && mtime_of(&st) == seen->mtime_ns ? SAME : CHANGED;
}

/* A journal that was cut while we wrote behind the cut begins with a hole. */
static fate look_at_journal(const sm_seen *seen, const char *path) {
    unsigned char head[4] = {0};
    fate is = look(seen, path);
    if (is != SAME || !seen->known || seen->size == 0)
        return is;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return SAME;
    bool begins = pread(fd, head, sizeof head, 0) == (ssize_t)sizeof head && head[0] == 0x37 &&
                  head[1] == 0x7f;
    close(fd);
    return begins ? SAME : CHANGED;
}

void sm_vigil_note(sm_core *c, bool database) {
    if (c->read_only || c->h == NULL)
        return;
    char *wal = sm_asprintf("%s-wal", c->path);
    if (database || !c->seen_db.known) {
        note(&c->seen_db, c->path);
        c->seen_db.mark = mark_of(c);
    }
    note(&c->seen_wal, wal);
    free(wal);
}

int sm_vigil_checkpoint(sm_core *c, int mode) {
    if (!c->read_only && look(&c->seen_db, c->path) != SAME)
        return SQLITE_IOERR; /* not into a file that is not ours */
    int rc = sqlite3_wal_checkpoint_v2(c->h, NULL, mode, NULL, NULL);
    c->wal_pages = 0;
    sm_vigil_note(c, true);
    return rc;
}

bool sm_vigil_moved(const sm_core *c) {
    struct stat st;
    return c->seen_db.known && (lstat(c->path, &st) != 0 || st.st_ino != c->seen_db.ino);
}

/* ---- a copy takes the place of what was lost ---- */

/* Is the copy whole, and does as much wait in it as we know of? */
static sm_rc check_copy(const sm_core *c, const char *copy, sm_err *err) {
    sm_backup_facts is;
    int64_t waiting = c->counts.rows[SM_BOX_PENDING] + c->counts.rows[SM_BOX_INFLIGHT] +
                      c->counts.rows[SM_BOX_HELD];
    sm_rc rc = sm_store_backup_check(copy, &is, err);
    if (rc == SM_OK && is.waiting != waiting)
        rc = sm_err_set(err, SM_INVALID,
                        "%lld events wait in what can be read of it, but %lld were waiting",
                        (long long)is.waiting, (long long)waiting);
    return rc;
}

/* Keeps whatever lies at path, which is not ours, under a name of its own. */
static sm_rc put_away(const char *path, const char *base, const char *tail, sm_err *err) {
    char *to = sm_asprintf("%s%s", base, tail);
    sm_rc rc = SM_OK;
    if (rename(path, to) != 0 && errno != ENOENT)
        rc = sm_err_sys(err, errno, "cannot move %s aside", path);
    free(to);
    return rc;
}

sm_rc sm_vigil_settle(const char *path, const char *kept, sm_err *err) {
    char *base = sm_place_name(path, "foreign"), *wal = sm_asprintf("%s-wal", path);
    sm_rc rc = put_away(wal, base, "-wal", err);
    if (rc == SM_OK)
        rc = put_away(path, base, "", err);
    if (rc == SM_OK && rename(kept, path) != 0)
        rc = sm_err_sys(err, errno, "cannot put %s in its place", kept);
    if (rc == SM_OK)
        rc = sm_place_sync(path, err);
    free(base);
    free(wal);
    return rc;
}

/* SM_FULL: no room now. SM_INVALID: what can still be read is not the whole. */
static sm_rc heal(sm_core *c, sm_err *err) {
    char *fresh = sm_asprintf("%s.kept.new", c->path), *kept = sm_asprintf("%s.kept", c->path);
    sm_rc rc = sm_backup_copy(c, fresh, 0, err);
    if (rc == SM_OK)
        rc = check_copy(c, fresh, err);
    else if (rc != SM_FULL)
        err->code = rc = SM_INVALID;
    /* From this name on the next start would finish what follows. */
    if (rc == SM_OK && rename(fresh, kept) != 0)
        rc = sm_err_sys(err, errno, "%s", kept);
    if (rc == SM_OK)
        rc = sm_place_sync(kept, err);
    if (rc == SM_OK) {
        sm_core_drop(c);
        c->seen_db.known = c->seen_wal.known = false;
        rc = sm_vigil_settle(c->path, kept, err);
    }
    if (rc == SM_OK)
        rc = sm_core_reconnect(c, err);
    if (rc != SM_OK)
        unlink(fresh);
    free(fresh);
    free(kept);
    return rc;
}

/* The database's time or size is not what we left. SM_OK: the open connection still reads all that
 * was committed, so nobody wrote into it (a touch, a tool that restores times). SM_FULL: it cannot
 * be told now. SM_INVALID: it is not ours any more. */
static sm_rc check_pages(sm_core *c, sm_err *err) {
    struct stat st;
    if (lstat(c->path, &st) != 0 || st.st_size != c->seen_db.size || c->seen_db.mark == 0 ||
        mark_of(c) != c->seen_db.mark)
        return sm_err_set(err, SM_INVALID, "its pages are not ours any more");
    char *copy = sm_asprintf("%s.look", c->path);
    sm_backup_facts is;
    sm_rc rc = sm_backup_copy(c, copy, 0, err);
    if (rc == SM_OK)
        rc = check_copy(c, copy, err);
    else if (rc != SM_FULL)
        err->code = rc = SM_INVALID;
    if (rc == SM_OK)
        rc = sm_store_backup_check(copy, &is, err);
    /* A group that was begun and rolled back has a number as well. */
    if (rc == SM_OK && is.group != c->group && is.group != c->group - 1)
        rc = sm_err_set(err, SM_INVALID, "its pages are of another time");
    unlink(copy);
    free(copy);
    return rc;
}

/* ---- it is lost ---- */

static void give_up(sm_core *c, const char *what, const char *why) {
    char *image = sm_asprintf("%s.image", c->path);
    sm_err err = SM_ERR_INIT;
    bool read = sm_backup_copy(c, image, 0, &err) == SM_OK;
    sm_core_drop(c);
    c->broken = c->overwritten = true;
    snprintf(
        c->alarm, sizeof c->alarm,
        "the database %s was %s while it was open (%.400s); nothing more is accepted until the "
        "program is started again",
        c->path, what, why);
    if (sm_place_aside(c->path, c->alarm, &err) != SM_OK)
        sm_log(SM_LOG_ERROR, "%s; %s", c->alarm, err.msg);
    char *name = sm_place_name(c->path, "corrupt");
    if (read && rename(image, name) == 0)
        sm_log(SM_LOG_ERROR,
               "what the open database still had is kept as %s: `selfmon-lua restore` of both adds "
               "what can be read to the new one",
               name);
    free(name);
    free(image);
}

/* ---- */

static const char *told(fate db, fate wal) {
    return db == GONE       ? "moved, removed or replaced"
           : db == CHANGED  ? "overwritten"
           : wal == GONE    ? "robbed of its journal"
           : wal == CHANGED ? "changed in its journal"
                            : "";
}

sm_rc sm_vigil_look(sm_core *c, sm_err *err) {
    if (c->read_only || c->broken || c->h == NULL)
        return SM_OK;
    char *journal = sm_asprintf("%s-wal", c->path);
    fate db = look(&c->seen_db, c->path), wal = look_at_journal(&c->seen_wal, journal);
    free(journal);
    if (db == SAME && wal == SAME)
        return SM_OK;
    sm_err why = SM_ERR_INIT;
    const char *what = told(db, wal);
    int64_t now = sm_mono_ns();
    if (c->adrift && now < c->heal_ns)
        return SM_OK;
    sm_rc rc = db == CHANGED ? check_pages(c, &why) : heal(c, &why);
    if (db == CHANGED && rc == SM_OK) {
        sm_log(SM_LOG_WARN, "%s: somebody else set its time; what is in it is whole", c->path);
        c->adrift = false;
        sm_vigil_note(c, true);
        return SM_OK;
    }
    bool first = !c->adrift;
    c->adrift = rc != SM_OK && rc != SM_INVALID;
    c->heal_ns = now + AGAIN_S * SM_NS_PER_S;
    if (rc == SM_INVALID) {
        give_up(c, what, why.msg);
        return sm_err_set(err, SM_IO, "%s", c->alarm);
    }
    if (rc != SM_OK) {
        snprintf(c->alarm, sizeof c->alarm,
                 "the database %s was %s while it was open, and cannot be put back yet: %.400s",
                 c->path, what, why.msg);
        if (first)
            sm_log(SM_LOG_ERROR, "%s; do not stop the program: it still has all of it", c->alarm);
        return c->h != NULL ? SM_OK : sm_err_set(err, SM_IO, "%s", c->alarm);
    }
    c->healed++;
    snprintf(
        c->alarm, sizeof c->alarm,
        "the database %s was %s while it was open: it was put back whole, and what was there is "
        "kept beside it as *.foreign.*",
        c->path, what);
    sm_log(SM_LOG_ERROR, "%s", c->alarm);
    return SM_OK;
}
