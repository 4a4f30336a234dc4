/* place: the database file and where it lies: what may be opened, making it with mode 0600, moving
 * a corrupt one aside, and how much room the file system has.
 *
 * Refuses symbolic links (two names of one file are two journals) and network file systems (their
 * locks and syncs do not hold). It never opens an existing database: closing that descriptor would
 * drop the locks of a connection in this process (POSIX record locks). Called by db and by the
 * outbox, on the thread that owns the sm_core.
 */
#include "store/store_internal.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

/* What the journal grows to between two checkpoints, with the largest group behind it. */
enum { JOURNAL_NEEDS = 8 << 20 };

/* Magic numbers of linux/magic.h and statfs(2). */
static const struct {
    uint32_t magic;
    const char *name;
} network_types[] = {
    {0x6969, "NFS"},      {0x517b, "SMB"},        {0xff534d42, "CIFS"}, {0xfe534d42, "SMB2"},
    {0x5346414f, "AFS"},  {0x6b414653, "AFS"},    {0x73757245, "Coda"}, {0x564c, "NCP"},
    {0x00c36400, "Ceph"}, {0x0bd00bd0, "Lustre"}, {0x01021997, "9P"},
};

const char *sm_place_network(uint32_t magic) {
    for (size_t i = 0; i < SM_ARRAY_LEN(network_types); i++) {
        if (magic == network_types[i].magic)
            return network_types[i].name;
    }
    return NULL;
}

static sm_rc refuse_network(const char *path, const char *dir, sm_err *err) {
    struct statfs fs;
    if (statfs(dir, &fs) != 0)
        return sm_err_sys(err, errno, "the directory %s", dir);
    const char *name = sm_place_network((uint32_t)fs.f_type);
    if (name != NULL)
        return sm_err_set(err, SM_INVALID,
                          "the database %s lies on a network file system (%s), where its locks do "
                          "not hold: set state_dir to a local disk",
                          path, name);
    return SM_OK;
}

static sm_rc sync_dir(const char *dir, sm_err *err) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return sm_err_sys(err, errno, "the directory %s", dir);
    sm_rc rc = fsync(fd) == 0 ? SM_OK : sm_err_sys(err, errno, "the directory %s: fsync", dir);
    close(fd);
    return rc;
}

static sm_rc make_file(const char *path, const char *dir, sm_err *err) {
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return sm_err_sys(err, errno, "cannot make the database %s", path);
    close(fd);
    return sync_dir(dir, err);
}

sm_rc sm_place_check(const char *path, bool create, bool *made, sm_err *err) {
    char *dir = sm_fsx_dirname(path);
    struct stat st;
    *made = false;
    sm_rc rc = SM_OK;
    if (lstat(path, &st) != 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            rc = sm_err_sys(err, errno, "the database %s", path);
        else if (!create)
            rc = sm_err_set(err, SM_NOT_FOUND, "there is no database %s", path);
        else if ((rc = refuse_network(path, dir, err)) == SM_OK)
            rc = make_file(path, dir, err);
        *made = rc == SM_OK;
        goto out;
    }
    if (S_ISLNK(st.st_mode)) {
        rc = sm_err_set(err, SM_INVALID,
                        "the database %s is a symbolic link: a second name would give it a second "
                        "journal; name the file itself",
                        path);
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        rc = sm_err_set(err, SM_INVALID, "the database %s is not a regular file", path);
        goto out;
    }
    if ((rc = refuse_network(path, dir, err)) != SM_OK)
        goto out;
    if (create && st.st_uid != geteuid() && geteuid() != 0)
        rc = sm_err_set(
            err, SM_DENIED,
            "the database %s belongs to another user (uid %u): run as that user, or chown "
            "it",
            path, (unsigned)st.st_uid);
    else if (create && (st.st_mode & 077) != 0 && chmod(path, 0600) != 0)
        rc = sm_err_sys(err, errno, "the database %s: cannot set its mode to 0600", path);
out:
    free(dir);
    return rc;
}

char *sm_place_name(const char *path, const char *kind) {
    char text[32], stamp[32];
    sm_time_rfc3339(sm_wall_ns(), false, text);
    size_t n = 0;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p != '-' && *p != ':')
            stamp[n++] = *p;
    }
    stamp[n] = '\0';
    char *base = sm_asprintf("%s.%s.%s", path, kind, stamp);
    for (int k = 2;; k++) {
        char *wal = sm_asprintf("%s-wal", base);
        bool taken = sm_fsx_exists(base) || sm_fsx_exists(wal);
        free(wal);
        if (!taken)
            return base;
        free(base);
        base = sm_asprintf("%s.%s.%s.%d", path, kind, stamp, k);
    }
}

sm_rc sm_place_aside(const char *path, const char *why, sm_err *err) {
    /* The database first: a -wal left behind by a kill in between is found alone at the next
     * start and follows. The names keep the pair together, so that sqlite3 opens both. */
    static const char *const tails[] = {"", "-wal", "-shm"};
    char *base = sm_place_name(path, "corrupt");
    char *dir = sm_fsx_dirname(path);
    sm_rc rc = SM_OK;
    for (size_t i = 0; i < SM_ARRAY_LEN(tails) && rc == SM_OK; i++) {
        char *from = sm_asprintf("%s%s", path, tails[i]);
        char *to = sm_asprintf("%s%s", base, tails[i]);
        if (rename(from, to) != 0 && errno != ENOENT)
            rc = sm_err_sys(err, errno, "cannot move the corrupt database %s aside", from);
        free(from);
        free(to);
    }
    if (rc == SM_OK)
        rc = sync_dir(dir, err);
    if (rc == SM_OK)
        sm_log(SM_LOG_ERROR,
               "%s: it was moved aside as %s and a new one is begun; events that were not "
               "delivered may still be in it",
               why, base);
    free(dir);
    free(base);
    return rc;
}

sm_rc sm_place_free(int dirfd, int64_t *out, sm_err *err) {
    struct statvfs fs;
    if (fstatvfs(dirfd, &fs) != 0)
        return sm_err_sys(err, errno, "cannot ask for the free space of the file system");
    *out = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
    return SM_OK;
}

json_t *sm_place_asides(const char *path) {
    char *dir = sm_fsx_dirname(path), newest[256] = "";
    char *prefix = sm_asprintf("%s.corrupt.", sm_fsx_basename(path));
    int64_t count = 0, bytes = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        struct stat st;
        if (!sm_str_starts(e->d_name, prefix) ||
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        bytes += st.st_size;
        if (sm_str_ends(e->d_name, "-wal") || sm_str_ends(e->d_name, "-shm"))
            continue;
        count++;
        if (strcmp(e->d_name, newest) > 0)
            snprintf(newest, sizeof newest, "%s", e->d_name);
    }
    if (d != NULL)
        closedir(d);
    free(prefix);
    free(dir);
    return count == 0 && bytes == 0 ? json_null()
                                    : json_pack("{s:I, s:I, s:s}", "count", (json_int_t)count,
                                                "bytes", (json_int_t)bytes, "newest", newest);
}

char *sm_store_aside_text(const char *path) {
    json_t *is = sm_place_asides(path);
    char *text = sm_store_aside_sentence(is);
    json_decref(is);
    return text;
}

char *sm_store_aside_sentence(const json_t *is) {
    char bytes[32];
    int64_t n = sm_json_int(is, "count", 0);
    if (!json_is_object(is))
        return NULL;
    return sm_asprintf(
        "%s lie%s aside (%s%s, %s): `selfmon-lua restore FILE` adds what can be read "
        "to the store and ends this message; so does moving the files away",
        n == 1 ? "a corrupt database" : "corrupt databases", n == 1 ? "s" : "",
        n > 1 ? "newest: " : "", sm_json_str(is, "newest", "only a journal"),
        sm_place_size(sm_json_int(is, "bytes", 0), bytes, sizeof bytes));
}

int64_t sm_place_reserve(int dirfd, int64_t wanted) {
    struct statvfs fs;
    if (fstatvfs(dirfd, &fs) != 0)
        return wanted;
    int64_t all = (int64_t)fs.f_blocks * (int64_t)fs.f_frsize, least = JOURNAL_NEEDS;
    least = least > all / 4 ? all / 4 : least;
    return wanted > least ? wanted : least;
}

bool sm_place_has_wal(const char *path) {
    char *wal = sm_asprintf("%s-wal", path);
    struct stat st;
    bool has = lstat(wal, &st) == 0 && st.st_size > 0;
    free(wal);
    return has;
}

sm_rc sm_place_sync(const char *path, sm_err *err) {
    char *dir = sm_fsx_dirname(path);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    sm_rc rc = fd >= 0 && fsync(fd) == 0 ? SM_OK : sm_err_sys(err, errno, "%s: fsync", path);
    if (fd >= 0)
        close(fd);
    if (rc == SM_OK)
        rc = sync_dir(dir, err);
    free(dir);
    return rc;
}

char *sm_place_uri(const char *path, const char *query) {
    sm_buf out;
    size_t n;
    sm_buf_init(&out, 64 << 10);
    sm_buf_adds(&out, "file:");
    for (; *path; path++) {
        if (strchr("?#%", *path) != NULL)
            sm_buf_addf(&out, "%%%02x", (unsigned char)*path);
        else
            sm_buf_addc(&out, *path);
    }
    sm_buf_addf(&out, "?%s", query);
    return sm_buf_take(&out, &n);
}

const char *sm_place_size(int64_t bytes, char *out, size_t cap) {
    if (bytes >= 1 << 20)
        snprintf(out, cap, "%lld MiB", (long long)(bytes >> 20));
    else if (bytes >= 1 << 10)
        snprintf(out, cap, "%lld KiB", (long long)(bytes >> 10));
    else
        snprintf(out, cap, "%lld bytes", (long long)bytes);
    return out;
}
