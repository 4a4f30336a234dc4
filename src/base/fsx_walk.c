/* fsx_walk: lists the files of a tree whose names end in a suffix.
 *
 * Never opens a file (a FIFO or a device cannot block or be disturbed), never leaves the root,
 * never loops: a directory that is its own ancestor is left out. What is skipped is told in one
 * sentence each. A directory's own names are looked at through its descriptor without following
 * links; links are resolved from the root, beneath it. Called by the catalogue; any thread.
 */
#include "base/fsx.h"
#include "base/buf.h"
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

static const unsigned beneath = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;

typedef struct walk {
    int root;           /* descriptor of the root */
    const char *suffix; /* borrowed */
    size_t max_files;
    size_t dirs; /* directories read so far */
    sm_fsx_entry *items;
    size_t n, cap;
    const sm_fsx_told *told;
    struct {
        dev_t dev;
        ino_t ino;
    } above[WALK_DEPTH + 1]; /* the directories we are in */
    size_t depth;
} walk;

/* The length of a character that shows nothing or turns the text around, or of a control byte, at p
 * (valid UTF-8); 0 for others. Two names that look alike must not be two inspections. */
static size_t hidden_char(const unsigned char *p) {
    if (p[0] < 0x20 || p[0] == 0x7F)
        return 1;
    if (p[0] == 0xC2 && p[1] < 0xA0)
        return 2; /* U+0080-009F */
    if (p[0] == 0xE2 && p[1] == 0x80 &&
        ((p[2] >= 0x8B && p[2] <= 0x8F) || (p[2] >= 0xA8 && p[2] <= 0xAE)))
        return 3; /* U+200B-200F, U+2028-202E */
    if (p[0] == 0xE2 && p[1] == 0x81 && p[2] >= 0xA0 && p[2] <= 0xAF)
        return 3; /* U+2060-206F */
    return p[0] == 0xEF && p[1] == 0xBB && p[2] == 0xBF ? 3 : 0;
}

static bool has_hidden_char(const char *name) {
    for (const unsigned char *p = (const unsigned char *)name; *p; p++)
        if (hidden_char(p))
            return true;
    return false;
}

/* A path for a sentence: what is not seen is shown as U+FFFD or an escape. */
static char *shown_path(const char *rel) {
    char *text = sm_str_printable(rel, strlen(rel), 300);
    sm_buf b;
    sm_buf_init(&b, 1024);
    for (const char *p = text; *p;) {
        size_t n = hidden_char((const unsigned char *)p);
        sm_buf_add(&b, n ? "\xEF\xBF\xBD" : p, n ? 3 : 1);
        p += n ? n : 1;
    }
    free(text);
    return sm_buf_take(&b, NULL);
}

static void walk_warn(walk *w, const char *rel, const char *why) {
    if (w->told && w->told->warn) {
        char *shown = shown_path(rel);
        char *sentence = sm_asprintf("%s %s; it is left out", shown, why);
        w->told->warn(w->told->ctx, sentence);
        free(sentence);
        free(shown);
    }
}

static sm_rc walk_dir(walk *w, int fd, const char *rel, sm_err *err);

static sm_fsx_entry entry_of(const char *rel, const struct stat *st, bool linked) {
    return (sm_fsx_entry){
        .rel = sm_strdup(rel),
        .size = (int64_t)st->st_size,
        .mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + (int64_t)st->st_mtim.tv_nsec,
        .dev = (uint64_t)st->st_dev,
        .ino = (uint64_t)st->st_ino,
        .regular = true,
        .linked = linked,
    };
}

static sm_rc walk_file(walk *w, const char *rel, const struct stat *st, bool linked, sm_err *err) {
    if (w->n >= w->max_files) {
        return sm_err_set(err, SM_LIMIT, "there are more than %zu files ending in %s", w->max_files,
                          w->suffix);
    }
    if (w->n == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 64;
        w->items = sm_realloc(w->items, w->cap * sizeof *w->items);
    }
    w->items[w->n++] = entry_of(rel, st, linked);
    return SM_OK;
}

/* A link: what it leads to decides. */
static sm_rc walk_link(walk *w, const char *rel, bool wanted, sm_err *err) {
    struct stat st;
    sm_rc rc = SM_OK;
    int fd = sm_fsx_openat2(w->root, rel, O_PATH | O_CLOEXEC, beneath);
    if (fd < 0 || fstat(fd, &st)) {
        /* A link to a directory outside has any name, so every bad link is told. */
        if (errno == EXDEV)
            walk_warn(w, rel, "is a link that leads out of the folder");
        else if (errno == ELOOP || (wanted && (errno == ENOENT || errno == ENOTDIR)))
            walk_warn(w, rel, "is a link that leads nowhere");
        else if (wanted)
            walk_warn(w, rel, "is a link that cannot be followed");
    } else if (S_ISDIR(st.st_mode)) {
        rc = walk_dir(w, sm_fsx_openat2(w->root, rel, O_RDONLY | O_DIRECTORY | O_CLOEXEC, beneath),
                      rel, err);
    } else if (wanted && S_ISREG(st.st_mode)) {
        rc = walk_file(w, rel, &st, true, err);
    } else if (wanted) {
        walk_warn(w, rel, "is not a regular file");
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

/* One name of the directory dir (descriptor dirfd). */
static sm_rc walk_name(walk *w, int dirfd, const char *dir, const struct dirent *e, sm_err *err) {
    const char *name = e->d_name;
    bool wanted = sm_str_ends(name, w->suffix);
    if (e->d_type == DT_REG && !wanted) {
        return SM_OK;
    }
    char *rel = dir[0] ? sm_asprintf("%s/%s", dir, name) : sm_strdup(name);
    bool telling = wanted || e->d_type == DT_DIR;
    struct stat st;
    sm_rc rc = SM_OK;
    if (!sm_utf8_valid(name, strlen(name))) {
        if (telling) {
            walk_warn(w, rel, "has a name that is not UTF-8");
        }
    } else if (has_hidden_char(name)) {
        if (telling) {
            walk_warn(w, rel, "has a name with control or invisible characters");
        }
    } else if (strlen(rel) > WALK_PATH) {
        walk_warn(w, rel, "has a path longer than 1024 bytes");
    } else if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW)) {
        if (wanted && errno != ENOENT) {
            walk_warn(w, rel, "cannot be read");
        }
    } else if (S_ISLNK(st.st_mode)) {
        rc = walk_link(w, rel, wanted, err);
    } else if (S_ISDIR(st.st_mode)) {
        rc = walk_dir(w, openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), rel,
                      err);
    } else if (wanted && S_ISREG(st.st_mode)) {
        rc = walk_file(w, rel, &st, false, err);
    } else if (wanted) {
        walk_warn(w, rel, "is not a regular file");
    }
    free(rel);
    return rc;
}

/* Reads one directory and closes fd, which is -1 with errno when it could not be opened; rel is ""
 * for the root. */
static sm_rc walk_dir(walk *w, int fd, const char *rel, sm_err *err) {
    struct stat st;
    sm_rc rc = SM_OK;
    DIR *d = NULL;
    if (fd < 0 || fstat(fd, &st)) {
        if (rel[0] == '\0') {
            rc = sm_fsx_fail(err, errno, "read the folder", ".");
        } else if (errno != ENOENT) {
            walk_warn(w, rel, "is a folder that cannot be read");
        }
        goto out;
    }
    for (size_t i = 0; i < w->depth; i++) {
        if (w->above[i].dev == st.st_dev && w->above[i].ino == st.st_ino) {
            walk_warn(w, rel, "is a link to a folder above it");
            goto out;
        }
    }
    if (w->depth > WALK_DEPTH) {
        walk_warn(w, rel, "lies deeper than 32 folders");
        goto out;
    }
    if (++w->dirs > WALK_DIRS) {
        rc = sm_err_set(err, SM_LIMIT, "there are more than %d folders", WALK_DIRS);
        goto out;
    }
    if (w->told && w->told->folder) {
        w->told->folder(w->told->ctx, rel); /* first, so that nothing that comes later is missed */
    }
    d = fdopendir(fd);
    if (!d) {
        rc = sm_fsx_fail(err, errno, "read the folder", rel[0] ? rel : ".");
        goto out;
    }
    w->above[w->depth].dev = st.st_dev;
    w->above[w->depth].ino = st.st_ino;
    w->depth++;
    const struct dirent *e;
    while (rc == SM_OK && (e = readdir(d)) != NULL) {
        if (e->d_name[0] != '.') {
            rc = walk_name(w, fd, rel, e, err);
        }
    }
    w->depth--;
out:
    if (d) {
        closedir(d);
    } else if (fd >= 0) {
        close(fd);
    }
    return rc;
}

static int by_rel(const void *a, const void *b) {
    return strcmp(((const sm_fsx_entry *)a)->rel, ((const sm_fsx_entry *)b)->rel);
}

sm_rc sm_fsx_walk(const char *root, const char *suffix, size_t max_files, sm_fsx_entry **out,
                  size_t *n, const sm_fsx_told *told, sm_err *err) {
    *out = NULL;
    *n = 0;
    walk w = {.suffix = suffix, .max_files = max_files, .told = told};
    w.root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w.root < 0) {
        return sm_fsx_fail(err, errno, "read the folder", root);
    }
    sm_rc rc = walk_dir(&w, fcntl(w.root, F_DUPFD_CLOEXEC, 0), "", err);
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

sm_rc sm_fsx_look(int dirfd, const char *rel, sm_fsx_entry *out) {
    struct stat st;
    int fd = sm_fsx_openat2(dirfd, rel, O_PATH | O_NOFOLLOW | O_CLOEXEC, beneath);
    bool linked = fd >= 0 && fstat(fd, &st) == 0 && S_ISLNK(st.st_mode);
    if (linked) {
        close(fd);
        fd = sm_fsx_openat2(dirfd, rel, O_PATH | O_CLOEXEC, beneath);
    }
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? SM_NOT_FOUND : SM_DENIED;
    sm_rc rc = fstat(fd, &st) ? SM_IO : S_ISREG(st.st_mode) ? SM_OK : SM_INVALID;
    if (rc == SM_OK)
        *out = entry_of(rel, &st, linked);
    close(fd);
    return rc;
}

void sm_fsx_entries_free(sm_fsx_entry *e, size_t n) {
    for (size_t i = 0; i < n; i++) {
        free(e[i].rel);
    }
    free(e);
}
