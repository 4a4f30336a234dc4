/* archive: see archive.h. Everything is read in pieces; only the last line is held in memory. */
#include "cli/archive.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 18, LINE_MAX_BYTES = 64 << 10, TAIL = 1 + 64 + 1 /* " hex\n" */ };

static sm_rc open_read(const char *path, int *fd, int64_t *size, sm_err *err) {
    struct stat st;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0)
        return sm_err_sys(err, errno, "%s", path);
    if (fstat(*fd, &st) != 0)
        return sm_err_sys(err, errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return sm_err_set(err, SM_INVALID, "%s is not a regular file", path);
    *size = st.st_size;
    return SM_OK;
}

static void hex_of(const unsigned char *p, size_t n, char *out) {
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", p[i]);
}

sm_rc sm_archive_copy(const char *from, const char *to, int64_t n, sm_err *err) {
    int in = -1, out = -1;
    int64_t size = 0, at = 0;
    char *piece = sm_malloc(PIECE);
    sm_rc rc = open_read(from, &in, &size, err);
    if (rc == SM_OK && (out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        rc = sm_err_sys(err, errno, "cannot make %s", to);
    int64_t end = n < 0 ? size : n;
    while (rc == SM_OK && at < end) {
        size_t want = end - at < PIECE ? (size_t)(end - at) : PIECE;
        ssize_t got = pread(in, piece, want, at);
        if (got <= 0)
            rc = sm_err_sys(err, got < 0 ? errno : EIO, "%s: read", from);
        else if (sm_fsx_write_all(out, piece, (size_t)got) != SM_OK)
            rc = sm_err_sys(err, errno, "%s: write", to);
        at += got > 0 ? got : 0;
    }
    if (rc == SM_OK && fsync(out) != 0)
        rc = sm_err_sys(err, errno, "%s: fsync", to);
    if (out >= 0) {
        close(out);
        if (rc != SM_OK)
            unlink(to);
    }
    if (in >= 0)
        close(in);
    free(piece);
    return rc;
}

/* Checksum of the first n bytes. */
static sm_rc sum_of(int fd, const char *path, int64_t n, char sum[SM_ARCHIVE_SUM], sm_err *err) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_n = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char *piece = sm_malloc(PIECE);
    sm_rc rc = SM_OK;
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
    for (int64_t at = 0; ok && rc == SM_OK && at < n;) {
        size_t want = n - at < PIECE ? (size_t)(n - at) : PIECE;
        ssize_t got = pread(fd, piece, want, at);
        if (got <= 0)
            rc = sm_err_sys(err, got < 0 ? errno : EIO, "%s: read", path);
        else
            ok = EVP_DigestUpdate(ctx, piece, (size_t)got);
        at += got > 0 ? got : 0;
    }
    if (rc == SM_OK && (!ok || !EVP_DigestFinal_ex(ctx, digest, &digest_n) || digest_n != 32))
        rc = sm_err_set(err, SM_INTERNAL, "SHA-256 is not available in OpenSSL");
    if (rc == SM_OK)
        hex_of(digest, 32, sum);
    EVP_MD_CTX_free(ctx);
    free(piece);
    return rc;
}

sm_rc sm_archive_seal(const char *path, const json_t *manifest, char sum[SM_ARCHIVE_SUM],
                      sm_err *err) {
    size_t n;
    struct stat st;
    char *text = sm_json_dump(manifest, &n);
    int fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    sm_rc rc = SM_OK;
    if (fd < 0 || fsync(fd) != 0)
        rc = sm_err_sys(err, errno, "%s", path);
    else if (sm_fsx_write_all(fd, "\n", 1) != SM_OK || sm_fsx_write_all(fd, text, n) != SM_OK ||
             fstat(fd, &st) != 0)
        rc = sm_err_sys(err, errno, "%s: write", path);
    if (rc == SM_OK)
        rc = sum_of(fd, path, st.st_size, sum, err);
    if (rc == SM_OK &&
        (sm_fsx_write_all(fd, " ", 1) != SM_OK || sm_fsx_write_all(fd, sum, 64) != SM_OK ||
         sm_fsx_write_all(fd, "\n", 1) != SM_OK || fsync(fd) != 0))
        rc = sm_err_sys(err, errno, "%s: write", path);
    if (fd >= 0)
        close(fd);
    explicit_bzero(text, n);
    free(text);
    return rc;
}

/* The last line without its newline; NULL when the file does not end in one of ours. */
static char *last_line(int fd, int64_t size, size_t *n) {
    size_t want = size < LINE_MAX_BYTES ? (size_t)size : LINE_MAX_BYTES;
    char *tail = sm_malloc(want + 1), *line = NULL;
    if (pread(fd, tail, want, size - (int64_t)want) == (ssize_t)want && want > TAIL &&
        tail[want - 1] == '\n') {
        char *before = memrchr(tail, '\n', want - 1);
        *n = before ? want - 1 - (size_t)(before + 1 - tail) : 0;
        if (before && *n > TAIL)
            line = sm_memdup(before + 1, *n);
    }
    explicit_bzero(tail, want);
    free(tail);
    return line;
}

sm_rc sm_archive_read(const char *path, json_t **manifest, sm_err *err) {
    int fd = -1;
    int64_t size = 0;
    size_t n = 0;
    char *line = NULL, sum[SM_ARCHIVE_SUM];
    *manifest = NULL;
    sm_rc rc = open_read(path, &fd, &size, err);
    if (rc == SM_OK)
        line = last_line(fd, size, &n);
    if (line) {
        line[n - 65] = '\0'; /* between the manifest and its checksum */
        *manifest = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    }
    int64_t bytes = sm_json_int(*manifest, "database_bytes", -1);
    if (rc == SM_OK &&
        (sm_json_int(*manifest, "selfmon_backup", 0) != 1 || bytes + 1 + (int64_t)n + 1 != size))
        rc = sm_err_set(err, SM_NOT_FOUND,
                        "%s is not a whole backup: the line with its checksum is missing at the "
                        "end",
                        path);
    if (rc == SM_OK)
        rc = sum_of(fd, path, size - TAIL, sum, err);
    if (rc == SM_OK && memcmp(sum, line + n - 64, 64) != 0)
        rc = sm_err_set(err, SM_INVALID,
                        "%s was changed since it was made: its checksum is not that of what it "
                        "holds",
                        path);
    if (rc != SM_OK) {
        json_decref(*manifest);
        *manifest = NULL;
    }
    if (line)
        explicit_bzero(line, n);
    free(line);
    if (fd >= 0)
        close(fd);
    return rc;
}
