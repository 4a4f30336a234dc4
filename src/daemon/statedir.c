/* statedir: takes and releases the state directory (see statedir.h).
 *
 * The lock is the kernel's (flock on `lock`), so it ends with its holder, also after kill -9; the
 * pid in the file only serves the sentence for people.
 */
#include "daemon/statedir.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/restoring.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

char *sm_statedir_file(const char *path, const char *name) {
    return sm_fsx_join(path, name);
}

enum { NAME_TRIES = 25, NAME_TRY_MS = 20, READER_TRIES = 100, READER_TRY_MS = 50 };

/* What a command that only reads calls itself: it lets go at once. */
static const char reader[] = "(reader)";

/* Who holds the lock. Between taking it and writing its name a holder leaves the name of the last
 * one there, which has ended: then it is read again. */
static void read_holder(int fd, char *out, size_t cap) {
    for (int i = 0; i < NAME_TRIES; i++) {
        ssize_t n = pread(fd, out, cap - 1, 0);
        out[n > 0 ? n : 0] = '\0';
        out[strcspn(out, "\n")] = '\0';
        long pid = strtol(out, NULL, 10);
        if (pid > 0 && (kill((pid_t)pid, 0) == 0 || errno == EPERM))
            return;
        poll(NULL, 0, NAME_TRY_MS);
    }
}

static sm_rc take(const char *path, const char *what, bool *by_reader, sm_statedir *out,
                  sm_err *err) {
    sm_rc rc = SM_OK;
    char holder[128] = "", mine[128];
    *by_reader = false;
    char *file = NULL;
    *out = (sm_statedir){.path = sm_strdup(path), .dir_fd = -1, .lock_fd = -1};
    out->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (out->dir_fd < 0) {
        rc = sm_err_sys(err, errno, "state directory %s", path);
        goto out;
    }
    file = sm_statedir_file(path, "lock");
    out->lock_fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (out->lock_fd < 0) {
        rc = sm_err_sys(err, errno, "state directory %s: lock", path);
        goto out;
    }
    if (flock(out->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        read_holder(out->lock_fd, holder, sizeof holder);
        *by_reader = sm_str_ends(holder, reader);
        rc = sm_err_set(err, SM_BUSY,
                        "state directory %s is held by process %s; stop it, or choose another one "
                        "with --state-dir",
                        path, holder[0] ? holder : "?");
        goto out;
    }
    int n = snprintf(mine, sizeof mine, "%ld (%s)\n", (long)getpid(), what);
    if (ftruncate(out->lock_fd, 0) != 0 || pwrite(out->lock_fd, mine, (size_t)n, 0) != n)
        rc = sm_err_sys(err, errno, "state directory %s: lock", path);
    bool finished = false;
    if (rc == SM_OK)
        rc = sm_restoring_finish(out->dir_fd, &finished, err);
    if (finished && rc == SM_OK)
        sm_log(SM_LOG_WARN, "state directory %s: a restore that was cut off is finished", path);
out:
    free(file);
    if (rc != SM_OK)
        sm_statedir_release(out);
    return rc;
}

sm_rc sm_statedir_take(const char *path, const char *what, sm_statedir *out, sm_err *err) {
    *out = (sm_statedir){.dir_fd = -1, .lock_fd = -1};
    sm_rc rc = sm_fsx_private_dir(path, err);
    if (rc != SM_OK) {
        sm_err_wrap(err, "state directory");
        return rc;
    }
    sm_err why = SM_ERR_INIT;
    bool by_reader = true;
    for (int i = 0; i < READER_TRIES && by_reader; i++) {
        if (i > 0)
            poll(NULL, 0, READER_TRY_MS);
        rc = take(path, what, &by_reader, out, &why);
    }
    if (rc != SM_OK)
        sm_err_set(err, rc, "%s", why.msg);
    return rc;
}

sm_rc sm_statedir_take_existing(const char *path, const char *what, sm_statedir *out, sm_err *err) {
    *out = (sm_statedir){.dir_fd = -1, .lock_fd = -1};
    if (!sm_fsx_is_dir(path))
        return sm_err_set(err, SM_NOT_FOUND, "no state directory %s", path);
    bool by_reader;
    return take(path, what, &by_reader, out, err);
}

void sm_statedir_release(sm_statedir *s) {
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    if (s->dir_fd >= 0)
        close(s->dir_fd);
    free(s->path);
    *s = (sm_statedir){.dir_fd = -1, .lock_fd = -1};
}
