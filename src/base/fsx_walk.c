/* fsx_walk: lists the files of a tree whose names end in a suffix.
 *
 * Never opens a file (O_PATH only, so a FIFO or a device cannot block or be disturbed), never
 * leaves the root, never loops: a directory that is its own ancestor is left out. What is skipped
 * is told in one sentence each. Called by the catalogue; any thread.
 */
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/fsx_internal.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    WALK_DEPTH = 32,    /* directories below each other */
    WALK_PATH = 1024,   /* bytes of a path below the root */
    WALK_DIRS = 1 << 16 /* directories read in one walk; links could repeat them without end */
};

typedef struct walk {
    int root;           /* descriptor of the root */
    const char *suffix; /* borrowed */
    size_t max_files;
    size_t dirs; /* directories read so far */
    sm_fsx_entry *items;
    size_t n, cap;
    void (*warn)(void *ctx, const char *sentence); /* may be NULL */
    void *ctx;
    struct {
        dev_t dev;
        ino_t ino;
    } above[WALK_DEPTH + 1]; /* the directories we are in */
    size_t depth;
} walk;

static void walk_warn(walk *w, const char *rel, const char *why) {
    if (w->warn) {
        char *shown = sm_str_printable(rel, strlen(rel), 300);
        char *sentence = sm_asprintf("%s %s; it is left out", shown, why);
        w->warn(w->ctx, sentence);
        free(sentence);
        free(shown);
    }
}

static sm_rc walk_dir(walk *w, const char *rel, const struct stat *st, sm_err *err);

static sm_rc walk_file(walk *w, const char *rel, const struct stat *st, sm_err *err) {
    if (w->n >= w->max_files) {
        return sm_err_set(err, SM_LIMIT, "there are more than %zu files ending in %s", w->max_files,
                          w->suffix);
    }
    if (w->n == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 64;
        w->items = sm_realloc(w->items, w->cap * sizeof *w->items);
    }
    w->items[w->n++] = (sm_fsx_entry){
        .rel = sm_strdup(rel),
        .size = (int64_t)st->st_size,
        .mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + (int64_t)st->st_mtim.tv_nsec,
        .dev = (uint64_t)st->st_dev,
        .ino = (uint64_t)st->st_ino,
        .regular = true,
    };
    return SM_OK;
}

/* One name of a directory: looks through links that stay below the root and decides. */
static sm_rc walk_name(walk *w, const char *dir, const char *name, sm_err *err) {
    bool wanted = sm_str_ends(name, w->suffix);
    char *rel = dir[0] ? sm_asprintf("%s/%s", dir, name) : sm_strdup(name);
    sm_rc rc = SM_OK;
    int fd = -1;
    if (!sm_utf8_valid(name, strlen(name))) {
        if (wanted) {
            walk_warn(w, rel, "has a name that is not UTF-8");
        }
        goto out;
    }
    if (strlen(rel) > WALK_PATH) {
        walk_warn(w, rel, "has a path longer than 1024 bytes");
        goto out;
    }
    fd = sm_fsx_openat2(w->root, rel, O_PATH | O_CLOEXEC, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) {
        int why = errno;
        struct stat link;
        bool is_link =
            fstatat(w->root, rel, &link, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(link.st_mode);
        /* A link to a directory outside has any name, so every bad link is told. */
        if (why == EXDEV || (why == ELOOP && is_link)) {
            walk_warn(w, rel,
                      why == EXDEV ? "is a link that leads out of the folder"
                                   : "is a link that leads nowhere");
        } else if (is_link && wanted) {
            walk_warn(w, rel, "is a link that leads nowhere");
        } else if (wanted && why != ENOENT) {
            walk_warn(w, rel, "cannot be read");
        }
        goto out;
    }
    if (S_ISDIR(st.st_mode)) {
        rc = walk_dir(w, rel, &st, err);
    } else if (wanted && S_ISREG(st.st_mode)) {
        rc = walk_file(w, rel, &st, err);
    } else if (wanted) {
        walk_warn(w, rel, "is not a regular file");
    }
out:
    if (fd >= 0) {
        close(fd);
    }
    free(rel);
    return rc;
}

/* Reads one directory; rel is "" for the root. */
static sm_rc walk_dir(walk *w, const char *rel, const struct stat *st, sm_err *err) {
    for (size_t i = 0; i < w->depth; i++) {
        if (w->above[i].dev == st->st_dev && w->above[i].ino == st->st_ino) {
            walk_warn(w, rel, "is a link to a folder above it");
            return SM_OK;
        }
    }
    if (w->depth > WALK_DEPTH) {
        walk_warn(w, rel, "lies deeper than 32 folders");
        return SM_OK;
    }
    if (++w->dirs > WALK_DIRS) {
        return sm_err_set(err, SM_LIMIT, "there are more than %d folders", WALK_DIRS);
    }
    int fd = sm_fsx_openat2(w->root, rel[0] ? rel : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                            RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        if (rel[0] == '\0') {
            return sm_fsx_fail(err, errno, "read the folder", ".");
        }
        walk_warn(w, rel, "is a folder that cannot be read");
        if (fd >= 0) {
            close(fd);
        }
        return SM_OK;
    }
    w->above[w->depth].dev = st->st_dev;
    w->above[w->depth].ino = st->st_ino;
    w->depth++;
    sm_rc rc = SM_OK;
    const struct dirent *e;
    while (rc == SM_OK && (e = readdir(d)) != NULL) {
        if (e->d_name[0] != '.') {
            rc = walk_name(w, rel, e->d_name, err);
        }
    }
    w->depth--;
    closedir(d);
    return rc;
}

static int by_rel(const void *a, const void *b) {
    return strcmp(((const sm_fsx_entry *)a)->rel, ((const sm_fsx_entry *)b)->rel);
}

sm_rc sm_fsx_walk(const char *root, const char *suffix, size_t max_files, sm_fsx_entry **out,
                  size_t *n, void (*warn)(void *ctx, const char *sentence), void *ctx,
                  sm_err *err) {
    *out = NULL;
    *n = 0;
    walk w = {.suffix = suffix, .max_files = max_files, .warn = warn, .ctx = ctx};
    w.root = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    if (w.root < 0 || fstat(w.root, &st)) {
        sm_rc bad = sm_fsx_fail(err, errno, "read the folder", root);
        if (w.root >= 0) {
            close(w.root);
        }
        return bad;
    }
    sm_rc rc = walk_dir(&w, "", &st, err);
    close(w.root);
    if (rc) {
        sm_fsx_entries_free(w.items, w.n);
        return rc;
    }
    if (w.n > 1) {
        qsort(w.items, w.n, sizeof *w.items, by_rel);
    }
    *out = w.items;
    *n = w.n;
    return SM_OK;
}

void sm_fsx_entries_free(sm_fsx_entry *e, size_t n) {
    for (size_t i = 0; i < n; i++) {
        free(e[i].rel);
    }
    free(e);
}
