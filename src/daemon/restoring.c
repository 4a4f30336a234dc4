/* restoring: see restoring.h. The decision is a file, `restore.plan`, that holds the stamp; each
 * step after it can be done again: a new file that is no longer there has been moved already.
 */
#include "daemon/restoring.h"
#include "base/fsx.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char plan[] = "restore.plan", fresh_plan[] = "restore.plan.new";

enum { STAMP_MAX = 40 };

static bool is_there(int dir, const char *name) {
    struct stat st;
    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static sm_rc move(int dir, const char *from, const char *to, bool must, sm_err *err) {
    if (renameat(dir, from, dir, to) == 0 || (errno == ENOENT && !must))
        return SM_OK;
    return sm_err_sys(err, errno, "state directory: cannot move %s to %s", from, to);
}

static sm_rc sync_dir(int dir, sm_err *err) {
    return fsync(dir) == 0 ? SM_OK : sm_err_sys(err, errno, "state directory: fsync");
}

/* What is there goes aside, the new one comes in its place. */
static sm_rc put(int dir, const char *fresh, const char *name, const char *const *tails,
                 const char *stamp, sm_err *err) {
    char from[64], to[128];
    if (!is_there(dir, fresh))
        return SM_OK;
    for (; *tails; tails++) {
        snprintf(from, sizeof from, "%s%s", name, *tails);
        snprintf(to, sizeof to, "%s.replaced.%s%s", name, stamp, *tails);
        if (move(dir, from, to, false, err) != SM_OK)
            return err->code;
    }
    return move(dir, fresh, name, true, err);
}

static sm_rc carry_out(int dir, const char *stamp, sm_err *err) {
    static const char *const database[] = {"", "-wal", "-shm", NULL}, *const one[] = {"", NULL};
    sm_rc rc = put(dir, SM_RESTORE_DB, "selfmon.db", database, stamp, err);
    if (rc == SM_OK)
        rc = put(dir, SM_RESTORE_SECRET, "secret", one, stamp, err);
    if (rc == SM_OK)
        rc = sync_dir(dir, err);
    if (rc == SM_OK && unlinkat(dir, plan, 0) != 0 && errno != ENOENT)
        rc = sm_err_sys(err, errno, "state directory: %s", plan);
    return rc == SM_OK ? sync_dir(dir, err) : rc;
}

sm_rc sm_restoring_commit(int dir, const char *stamp, sm_err *err) {
    sm_rc rc = SM_OK;
    int fd = openat(dir, fresh_plan, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || sm_fsx_write_all(fd, stamp, strlen(stamp)) != SM_OK || fsync(fd) != 0)
        rc = sm_err_sys(err, errno, "state directory: %s", plan);
    if (fd >= 0)
        close(fd);
    if (rc == SM_OK)
        rc = sync_dir(dir, err);
    if (rc == SM_OK)
        rc = move(dir, fresh_plan, plan, true, err);
    if (rc == SM_OK)
        rc = sync_dir(dir, err);
    return rc == SM_OK ? carry_out(dir, stamp, err) : rc;
}

sm_rc sm_restoring_finish(int dir, bool *finished, sm_err *err) {
    char stamp[STAMP_MAX + 1] = "";
    *finished = false;
    int fd = openat(dir, plan, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        static const char *const begun[] = {SM_RESTORE_DB, SM_RESTORE_SECRET, fresh_plan};
        for (size_t i = 0; i < sizeof begun / sizeof *begun; i++)
            unlinkat(dir, begun[i], 0);
        return SM_OK;
    }
    ssize_t n = fd >= 0 ? read(fd, stamp, STAMP_MAX) : -1;
    int failed = errno;
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return sm_err_sys(err, failed, "state directory: %s", plan);
    if (n == 0 || stamp[strspn(stamp, "0123456789TZ.")] != '\0')
        return sm_err_set(err, SM_INVALID,
                          "state directory: %s is damaged; a restore was cut off: remove it, and "
                          "restore again",
                          plan);
    *finished = true;
    return carry_out(dir, stamp, err);
}
