/* peek_rotated: finds a log file again after a rotation: by its inode under another name
 * (app.log.1), or by what it holds, in a copy (copytruncate).
 *
 * A file is known by a hash of its first bytes and one of the bytes before the place where the last
 * reader stopped. Called by peek_tail; stateless.
 */
#include "base/peek_internal.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MARK_BYTES = 256, SIBLINGS_MAX = 1000, COPIES_MAX = 32, NAMES_MAX = 200000 };

/* FNV-1a of up to MARK_BYTES at `from`, as text; "" when they cannot be read. */
static void hash_at(int fd, int64_t from, int64_t to, char out[17]) {
    unsigned char bytes[MARK_BYTES];
    size_t want = (size_t)(to - from), n = 0;
    uint64_t h = UINT64_C(14695981039346656037);
    out[0] = '\0';
    while (n < want) {
        ssize_t got = pread(fd, bytes + n, want - n, (off_t)(from + (int64_t)n));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return;
        n += (size_t)got;
    }
    for (size_t i = 0; i < n; i++)
        h = (h ^ bytes[i]) * UINT64_C(1099511628211);
    snprintf(out, 17, "%016llx", (unsigned long long)h);
}

static void hash_head(int fd, int64_t offset, char out[17]) {
    hash_at(fd, 0, offset < MARK_BYTES ? offset : MARK_BYTES, out);
}

void sm_peek_mark_take(int fd, sm_peek_mark *m) {
    hash_head(fd, m->offset, m->head);
    hash_at(fd, m->offset > MARK_BYTES ? m->offset - MARK_BYTES : 0, m->offset, m->tail);
}

static bool same_head(int fd, const sm_peek_mark *m) {
    char head[17];
    hash_head(fd, m->offset, head);
    return head[0] && strcmp(head, m->head) == 0;
}

static bool holds(int fd, const struct stat *st, const sm_peek_mark *m) {
    sm_peek_mark now = {.offset = m->offset};
    if (st->st_size < m->offset)
        return false;
    sm_peek_mark_take(fd, &now);
    return now.head[0] && strcmp(now.head, m->head) == 0 && strcmp(now.tail, m->tail) == 0;
}

bool sm_peek_mark_fits(int fd, const struct stat *st, const sm_peek_mark *m) {
    return st->st_ino == m->inode && st->st_dev == m->device && holds(fd, st, m);
}

/* Whether text is what rotations put into a name: a dot or dash and a number or date. */
static bool is_stamp(const char *text, size_t n) {
    bool digit = false;
    if (n < 2 || (text[0] != '.' && text[0] != '-'))
        return false;
    for (size_t i = 1; i < n; i++) {
        if (text[i] >= '0' && text[i] <= '9')
            digit = true;
        else if (!strchr(".-_T:", text[i]))
            return false;
    }
    return digit;
}

static bool is_packed(const char *name, size_t *n) {
    static const char *const ends[] = {".gz", ".bz2", ".xz", ".zst", ".lz4"};
    for (size_t i = 0; i < SM_ARRAY_LEN(ends); i++) {
        if (sm_str_ends(name, ends[i])) {
            *n -= strlen(ends[i]);
            return true;
        }
    }
    return false;
}

/* app.log.1, app.log-20261123; and with the date before the ending: app-20261123.log */
static bool is_rotated(const char *base, const char *name, size_t n) {
    size_t all = strlen(base);
    const char *dot = strrchr(base, '.');
    if (n > all && strncmp(name, base, all) == 0 && is_stamp(name + all, n - all))
        return true;
    if (!dot || dot == base)
        return false;
    size_t stem = (size_t)(dot - base), ending = all - stem;
    return n > all && strncmp(name, base, stem) == 0 &&
           strncmp(name + n - ending, dot, ending) == 0 && is_stamp(name + stem, n - all);
}

static int by_age(const void *a, const void *b) {
    const struct timespec x = ((const sm_peek_sibling *)a)->st.st_mtim;
    const struct timespec y = ((const sm_peek_sibling *)b)->st.st_mtim;
    if (x.tv_sec != y.tv_sec)
        return x.tv_sec < y.tv_sec ? -1 : 1;
    return x.tv_nsec < y.tv_nsec ? -1 : x.tv_nsec > y.tv_nsec;
}

static void add(sm_peek_siblings *s, char *path, const json_t *grants) {
    struct stat st;
    sm_err err = SM_ERR_INIT;
    int fd = sm_peek_open(path, grants, &st, &err);
    if (fd < 0) {
        s->refused += err.code == SM_DENIED;
        free(path);
        return;
    }
    close(fd);
    s->at = sm_realloc(s->at, (s->n + 1) * sizeof *s->at);
    s->at[s->n++] = (sm_peek_sibling){path, st};
}

void sm_peek_siblings_find(const char *path, const json_t *grants, sm_peek_siblings *out) {
    char *folder = sm_fsx_dirname(path);
    const char *base = sm_fsx_basename(path);
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    memset(out, 0, sizeof *out);
    for (int i = 0; dir && i < NAMES_MAX && (entry = readdir(dir)) != NULL; i++) {
        const char *name = entry->d_name;
        size_t n = strlen(name);
        bool packed = is_packed(name, &n);
        if (!is_rotated(base, name, n))
            continue;
        if (packed)
            out->packed++;
        else if (out->n < SIBLINGS_MAX)
            add(out, sm_asprintf("%s/%s", strcmp(folder, "/") == 0 ? "" : folder, name), grants);
    }
    if (dir)
        closedir(dir);
    free(folder);
    if (out->n > 1)
        qsort(out->at, out->n, sizeof *out->at, by_age);
}

void sm_peek_siblings_fini(sm_peek_siblings *s) {
    for (size_t i = 0; i < s->n; i++)
        free(s->at[i].path);
    free(s->at);
    memset(s, 0, sizeof *s);
}

int sm_peek_siblings_match(const sm_peek_siblings *s, const sm_peek_mark *m, const json_t *grants,
                           int *fd, bool *read) {
    int looked = 0;
    sm_err err = SM_ERR_INIT;
    *read = false;
    for (int pass = 0; pass < 2; pass++) { /* the file itself first, then copies, newest first */
        for (size_t i = s->n; i-- > 0;) {
            struct stat st;
            const struct stat *seen = &s->at[i].st;
            bool itself = seen->st_ino == m->inode && seen->st_dev == m->device;
            if (itself != (pass == 0) || (!itself && (m->offset == 0 || looked++ >= COPIES_MAX)))
                continue;
            int one = sm_peek_open(s->at[i].path, grants, &st, &err);
            if (one < 0)
                continue;
            if (holds(one, &st, m)) {
                *fd = one;
                return (int)i;
            }
            *read =
                *read || (!itself && st.st_size > 0 && st.st_size < m->offset &&
                          m->offset >= MARK_BYTES && st.st_size >= MARK_BYTES && same_head(one, m));
            close(one);
        }
    }
    return -1;
}
