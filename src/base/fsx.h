/* fsx: files, carefully. Opens never block (O_NONBLOCK), never follow what they should not, and
 * read at most a limit; replacing a file is atomic. */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Reads a regular file of at most max bytes; *data is malloc'd and NUL-terminated. SM_NOT_FOUND,
 * SM_LIMIT (too long), SM_INVALID (not a regular file), SM_DENIED, SM_IO. */
sm_rc sm_fsx_read(const char *path, size_t max, char **data, size_t *n, sm_err *err);
/* The same for `rel` below the directory dirfd; links that stay below it are followed, others are
 * refused with SM_DENIED (openat2 RESOLVE_BENEATH). */
sm_rc sm_fsx_read_beneath(int dirfd, const char *rel, size_t max, char **data, size_t *n,
                          sm_err *err);
/* Writes a new file beside path, fsyncs it, renames it over path, fsyncs the directory. */
sm_rc sm_fsx_replace(const char *path, const void *p, size_t n, mode_t mode, sm_err *err);
/* Writes all of it, whatever is taken at a time; SM_IO leaves errno. For blocking descriptors. */
sm_rc sm_fsx_write_all(int fd, const void *bytes, size_t n);
/* Creates the directory (not its parents) with mode 0700 if missing; refuses a link, one owned by
 * another user (unless we are root) and one that everybody may write to. */
sm_rc sm_fsx_private_dir(const char *path, sm_err *err);
/* Reads a secret file: regular, owned by us or root, no permission for group or others unless on
 * tmpfs (where links inside the mount are followed too); else SM_DENIED with the cure (chmod 600).
 * One trailing newline is dropped when `trim`. */
sm_rc sm_fsx_read_secret(const char *path, size_t max, bool trim, char **data, size_t *n,
                         sm_err *err);
/* Absolute path made lexically ("." and ".." resolved, links not); caller frees. */
char *sm_fsx_absolute(const char *path);
char *sm_fsx_dirname(const char *path);          /* caller frees */
const char *sm_fsx_basename(const char *path);   /* borrowed from path */
char *sm_fsx_join(const char *a, const char *b); /* caller frees */
bool sm_fsx_is_dir(const char *path);
bool sm_fsx_exists(const char *path);

typedef struct sm_fsx_entry {
    char *rel;    /* path below the root, "/"-separated */
    int64_t size; /* bytes */
    int64_t mtime_ns;
    uint64_t dev, ino;
    bool regular; /* after following a link that stays below the root */
    bool linked;  /* its last part is a link */
} sm_fsx_entry;

/* Who is told what during a walk; each may be NULL. */
typedef struct sm_fsx_told {
    /* What is left out: one sentence of printable text. */
    void (*warn)(void *ctx, const char *sentence);
    /* Before the names of a folder are read; "" is the root. A folder that is reached by links as
     * well is told under each of its paths. */
    void (*folder)(void *ctx, const char *rel);
    void *ctx;
} sm_fsx_told;

/* Lists the files below root whose name ends in suffix, sorted by rel; hidden names (leading ".")
 * are skipped; links to files and folders below the root are followed; folder loops, links out of
 * the root, FIFOs, devices, over-long paths, names that are not UTF-8 or hold control or invisible
 * characters are told and left out. told may be NULL. SM_LIMIT above max_files. */
sm_rc sm_fsx_walk(const char *root, const char *suffix, size_t max_files, sm_fsx_entry **out,
                  size_t *n, const sm_fsx_told *told, sm_err *err);
/* What a walk would find at rel now, names not checked; out->rel is malloc'd. SM_NOT_FOUND;
 * SM_INVALID: not a regular file; SM_DENIED: it leads out, or cannot be looked at. */
sm_rc sm_fsx_look(int dirfd, const char *rel, sm_fsx_entry *out);
void sm_fsx_entries_free(sm_fsx_entry *e, size_t n);
