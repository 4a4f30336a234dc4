/* fsx: reading and replacing files, carefully.
 *
 * Opens never block (a FIFO or a device in a scripts folder must not stop the program), reads stop
 * at the caller's limit, replacing is atomic and durable. Refuses what is not a regular file, and
 * below a directory everything that leads out of it (fsx_beneath.c). Walking is in fsx_walk.c,
 * paths are in fsx_path.c. Stateless; any thread.
 */
#include "base/fsx.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/str.h"
#include "base/fsx_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { OPEN_FLAGS = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY };

sm_rc sm_fsx_fail(sm_err *err, int errnum, const char *what, const char *path) {
    char *shown = sm_str_printable(path, strlen(path), 300);
    sm_rc rc = sm_err_sys(err, errnum, "cannot %s %s", what, shown);
    free(shown);
    if (errnum == ENOENT || errnum == ENOTDIR) {
        rc = SM_NOT_FOUND;
    } else if (errnum == EACCES || errnum == EPERM) {
        rc = SM_DENIED;
    } else if (errnum == ENXIO || errnum == ENODEV) {
        rc = SM_INVALID; /* a socket, or a device without a driver */
    }
    if (err) {
        err->code = rc;
    }
    return rc;
}

/* One sentence about a path that is not a system error. */
static sm_rc refuse(sm_err *err, sm_rc code, const char *path, const char *why) {
    char *shown = sm_str_printable(path, strlen(path), 300);
    sm_err_set(err, code, "%s %s", shown, why);
    free(shown);
    return code;
}

/* Reads the open descriptor to its end; at most max bytes. */
static sm_rc read_fd(int fd, const char *path, size_t max, char **data, size_t *n, sm_err *err) {
    struct stat st;
    if (fstat(fd, &st)) {
        return sm_fsx_fail(err, errno, "read", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return refuse(err, SM_INVALID, path,
                      S_ISDIR(st.st_mode) ? "is a directory, not a file" : "is not a regular file");
    }
    sm_rc rc = SM_OK;
    /* One byte more than allowed tells a file that is too long, also one that grows meanwhile. */
    size_t room = (uint64_t)st.st_size < max ? (size_t)st.st_size + 1 : max + 1;
    size_t len = 0;
    char *p = sm_malloc(room + 1);
    for (;;) {
        if (len == room) {
            if (len > max) {
                break;
            }
            room = room > max / 2 ? max + 1 : room * 2 + 64;
            p = sm_realloc(p, room + 1);
        }
        ssize_t got = read(fd, p + len, room - len);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            rc = sm_fsx_fail(err, errno, "read", path);
            goto out;
        }
        if (got == 0) {
            break;
        }
        len += (size_t)got;
    }
    if (len > max) {
        char *shown = sm_str_printable(path, strlen(path), 300);
        rc = sm_err_set(err, SM_LIMIT, "%s is longer than the limit of %zu bytes", shown, max);
        free(shown);
        goto out;
    }
    p[len] = '\0';
    *data = p;
    *n = len;
    p = NULL;
out:
    free(p);
    return rc;
}

sm_rc sm_fsx_read(const char *path, size_t max, char **data, size_t *n, sm_err *err) {
    *data = NULL;
    *n = 0;
    int fd = open(path, OPEN_FLAGS);
    if (fd < 0) {
        return sm_fsx_fail(err, errno, "open", path);
    }
    sm_rc rc = read_fd(fd, path, max, data, n, err);
    close(fd);
    return rc;
}

sm_rc sm_fsx_read_beneath(int dirfd, const char *rel, size_t max, char **data, size_t *n,
                          sm_err *err) {
    *data = NULL;
    *n = 0;
    int fd = sm_fsx_openat2(dirfd, rel, OPEN_FLAGS, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
    if (fd < 0) {
        if (errno == EXDEV || errno == ELOOP) {
            return refuse(err, SM_DENIED, rel, "leads out of its directory; it is not read");
        }
        return sm_fsx_fail(err, errno, "open", rel);
    }
    sm_rc rc = read_fd(fd, rel, max, data, n, err);
    close(fd);
    return rc;
}

sm_rc sm_fsx_write_all(int fd, const void *bytes, size_t n) {
    const char *p = bytes;
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done < 0) {
            return SM_IO;
        }
        p += done;
        n -= (size_t)done;
    }
    return SM_OK;
}

sm_rc sm_fsx_replace(const char *path, const void *p, size_t n, mode_t mode, sm_err *err) {
    sm_rc rc = SM_OK;
    char *dir = sm_fsx_dirname(path);
    const char *base = sm_fsx_basename(path);
    unsigned char salt[8];
    char hex[2 * sizeof salt + 1];
    sm_rand_bytes(salt, sizeof salt);
    sm_hex(salt, sizeof salt, hex);
    /* A long name plus ours could pass NAME_MAX, so only its beginning is used. */
    char *temp = sm_asprintf(".%.100s.%s.tmp", base, hex);
    int fd = -1;
    bool made = false;
    int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0) {
        rc = sm_fsx_fail(err, errno, "write", path);
        goto out;
    }
    fd = openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        rc = sm_fsx_fail(err, errno, "write", path);
        goto out;
    }
    made = true;
    if (sm_fsx_write_all(fd, p, n) || fchmod(fd, mode) || fsync(fd)) {
        rc = sm_fsx_fail(err, errno, "write", path);
        goto out;
    }
    int closed = close(fd);
    fd = -1;
    if (closed || renameat(dirfd, temp, dirfd, base)) {
        rc = sm_fsx_fail(err, errno, "write", path);
        goto out;
    }
    made = false;
    if (fsync(dirfd)) {
        rc = sm_fsx_fail(err, errno, "write", path);
    }
out:
    if (fd >= 0) {
        close(fd);
    }
    if (made) {
        unlinkat(dirfd, temp, 0);
    }
    if (dirfd >= 0) {
        close(dirfd);
    }
    free(temp);
    free(dir);
    return rc;
}

sm_rc sm_fsx_private_dir(const char *path, sm_err *err) {
    if (mkdir(path, 0700) == 0) {
        return SM_OK;
    }
    if (errno != EEXIST) {
        return sm_fsx_fail(err, errno, "create the directory", path);
    }
    struct stat st;
    if (lstat(path, &st)) {
        return sm_fsx_fail(err, errno, "read", path);
    }
    if (S_ISLNK(st.st_mode)) {
        return refuse(err, SM_DENIED, path, "is a symbolic link; expected a directory of our own");
    }
    if (!S_ISDIR(st.st_mode)) {
        return refuse(err, SM_EXISTS, path, "is not a directory");
    }
    if (geteuid() != 0 && st.st_uid != geteuid()) {
        return refuse(err, SM_DENIED, path, "belongs to another user");
    }
    if (st.st_mode & S_IWOTH) {
        return refuse(err, SM_DENIED, path,
                      "can be written by everybody; expected a directory of our own");
    }
    return SM_OK;
}

static bool on_tmpfs(int fd) {
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

/* Opens a secret. The last part may be a link only on tmpfs and only within that mount (which is
 * how Kubernetes lays out its secrets). Returns -1 with errno. */
static int open_secret(const char *path) {
    int fd = open(path, OPEN_FLAGS | O_NOFOLLOW);
    if (fd >= 0 || errno != ELOOP) {
        return fd;
    }
    char *dir = sm_fsx_dirname(path);
    int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    free(dir);
    if (dirfd < 0) {
        return -1;
    }
    errno = ELOOP;
    if (on_tmpfs(dirfd)) {
        fd = sm_fsx_openat2(dirfd, sm_fsx_basename(path), OPEN_FLAGS,
                            RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);
    }
    int saved = errno;
    close(dirfd);
    errno = saved;
    return fd;
}

sm_rc sm_fsx_read_secret(const char *path, size_t max, bool trim, char **data, size_t *n,
                         sm_err *err) {
    *data = NULL;
    *n = 0;
    sm_rc rc = SM_OK;
    char *shown = sm_str_printable(path, strlen(path), 300);
    int fd = open_secret(path);
    if (fd < 0) {
        rc = errno == ELOOP || errno == EXDEV
                 ? refuse(err, SM_DENIED, path,
                          "is a symbolic link; a secret file must be a regular file")
                 : sm_fsx_fail(err, errno, "open", path);
        goto out;
    }
    struct stat st;
    if (fstat(fd, &st)) {
        rc = sm_fsx_fail(err, errno, "read", path);
        goto out;
    }
    if (S_ISREG(st.st_mode) && st.st_uid != geteuid() && st.st_uid != 0) {
        rc = sm_err_set(err, SM_DENIED,
                        "%s belongs to another user (uid %u); a secret file must be ours or root's",
                        shown, (unsigned)st.st_uid);
        goto out;
    }
    if (S_ISREG(st.st_mode) && (st.st_mode & 077) && !on_tmpfs(fd)) {
        rc = sm_err_set(err, SM_DENIED, "%s can be read by others (mode %04o); run: chmod 600 %s",
                        shown, (unsigned)(st.st_mode & 07777), shown);
        goto out;
    }
    rc = read_fd(fd, path, max, data, n, err);
    if (rc == SM_OK && trim && *n > 0 && (*data)[*n - 1] == '\n') {
        (*n)--;
        if (*n > 0 && (*data)[*n - 1] == '\r') {
            (*n)--;
        }
        (*data)[*n] = '\0';
    }
out:
    if (fd >= 0) {
        close(fd);
    }
    free(shown);
    return rc;
}
