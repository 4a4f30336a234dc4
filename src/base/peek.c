/* peek: opens what is granted; stat, list and read (peek_tail.c has tail).
 *
 * A path is opened without reading it (O_PATH), links followed; then the kernel says where that is,
 * and this place must be granted as well. So a link that is changed meanwhile leads nowhere else.
 * Links in the fixed part of a grant (/var/run/app of "/var/run/app/app.log") are the operator's
 * own way of saying where, if they belong to root or to us.
 */
#include "base/peek_internal.h"
#include "base/fsx_internal.h"
#include "base/mem.h"
#include "base/str.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LINKS_MAX = 40,
    NAMES_MAX = 200000,
    OPEN_FLAGS = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY
};

sm_rc sm_peek_refuse(sm_err *err, sm_rc code, const char *path, const char *why) {
    char *shown = sm_str_printable(path, strlen(path), 300);
    sm_err_set(err, code, "%s %s", shown, why);
    free(shown);
    return code;
}

const char *sm_peek_path_wrong(const char *path) {
    if (path[0] != '/')
        return "expected an absolute path";
    if (strlen(path) >= PATH_MAX)
        return "the path is too long";
    char *plain = sm_fsx_absolute(path);
    bool same = strcmp(plain, path) == 0;
    free(plain);
    return same ? NULL : "expected a path without \".\", \"..\", \"//\" or a slash at its end";
}

/* ---- what is granted ---- */

/* The folder `dir` with its links resolved, as long as they belong to root or to us; malloc'd or
 * NULL. */
static char *resolve_trusted(const char *dir) {
    char done[PATH_MAX] = "", next[PATH_MAX], target[PATH_MAX], *rest = sm_strdup(dir);
    int links = 0;
    for (;;) {
        const char *p = rest + strspn(rest, "/");
        size_t n = strcspn(p, "/");
        if (n == 0)
            break;
        if (n == 1 && p[0] == '.') {
            next[0] = '\0';
        } else if (n == 2 && p[0] == '.' && p[1] == '.') {
            char *cut = strrchr(done, '/');
            if (cut)
                *cut = '\0';
            next[0] = '\0';
        } else if ((size_t)snprintf(next, sizeof next, "%s/%.*s", done, (int)n, p) >= sizeof next) {
            goto fail;
        }
        char *left = sm_strdup(p + n);
        free(rest);
        rest = left;
        if (!next[0])
            continue;
        struct stat st;
        int fd = open(next, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) != 0) {
            if (fd >= 0)
                close(fd);
            goto fail;
        }
        bool link = S_ISLNK(st.st_mode);
        ssize_t got = link ? readlinkat(fd, "", target, sizeof target - 1) : 0;
        close(fd);
        if (!link) {
            memcpy(done, next, strlen(next) + 1);
            continue;
        }
        if (got <= 0 || ++links > LINKS_MAX || (st.st_uid != 0 && st.st_uid != geteuid()))
            goto fail;
        target[got] = '\0';
        if (target[0] == '/')
            done[0] = '\0';
        left = sm_asprintf("%s/%s", target, rest);
        free(rest);
        rest = left;
    }
    free(rest);
    return sm_strdup(done);
fail:
    free(rest);
    return NULL;
}

/* Whether `pattern` covers the place when the links of its fixed part are resolved. */
static bool covers_resolved(const char *pattern, const char *place) {
    size_t fixed = strcspn(pattern, "*?");
    while (fixed > 0 && pattern[fixed] != '/')
        fixed--;
    if (fixed == 0)
        return false;
    char *dir = sm_memdup(pattern, fixed), *real = resolve_trusted(dir);
    size_t n = real ? strlen(real) : 0;
    bool yes = real && strncmp(real, place, n) == 0 && sm_str_glob(pattern + fixed, place + n);
    free(dir);
    free(real);
    return yes;
}

static bool granted(const json_t *grants, const char *place, bool resolved) {
    size_t i;
    json_t *grant;
    if (!grants)
        return true;
    json_array_foreach(grants, i, grant) {
        const char *text = json_string_value(grant);
        if (!text || strncmp(text, "file:", 5) != 0)
            continue;
        if (strcmp(text + 5, place) == 0 || sm_str_glob(text + 5, place) ||
            (resolved && covers_resolved(text + 5, place)))
            return true;
    }
    return false;
}

/* Opens path, of which `below` (a pattern of names, or NULL) will be looked at, with O_PATH. */
static int open_place(const char *path, const char *below, const json_t *grants, struct stat *st,
                      sm_err *err) {
    char self[40], real[PATH_MAX];
    const char *tail = below ? below : "", *sep = below ? "/" : "";
    const char *why = sm_peek_path_wrong(path);
    if (why) {
        sm_peek_refuse(err, SM_INVALID, path, why);
        return -1;
    }
    const char *base = strcmp(path, "/") == 0 && below ? "" : path;
    char *asked = sm_asprintf("%s%s%s", base, sep, tail);
    bool ok = granted(grants, asked, false);
    free(asked);
    if (!ok) {
        sm_peek_refuse(err, SM_DENIED, path, "is not granted");
        return -1;
    }
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0 || fstat(fd, st) != 0) {
        sm_fsx_fail(err, errno, "open", path);
        goto fail;
    }
    if (!grants)
        return fd;
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(self, real, sizeof real - 1);
    if (n <= 0) {
        sm_peek_refuse(err, SM_IO, path, "cannot be looked at: /proc does not say where it leads");
        goto fail;
    }
    real[n] = '\0';
    if (st->st_nlink == 0) {
        sm_peek_refuse(err, SM_NOT_FOUND, path, "was removed just now");
        goto fail;
    }
    if (strncmp(real, "/proc/", 6) == 0 && real[6] >= '0' && real[6] <= '9') {
        sm_peek_refuse(err, SM_DENIED, path, "belongs to a process; use host.processes");
        goto fail;
    }
    asked = sm_asprintf("%s%s%s", strcmp(real, "/") == 0 && below ? "" : real, sep, tail);
    ok = strcmp(real, path) == 0 || granted(grants, asked, true);
    free(asked);
    if (!ok) {
        char *shown = sm_str_printable(path, strlen(path), 200);
        char *leads = sm_str_printable(real, strlen(real), 200);
        sm_err_set(err, SM_DENIED, "%s leads to %s, which is not granted", shown, leads);
        free(shown);
        free(leads);
        goto fail;
    }
    return fd;
fail:
    if (fd >= 0)
        close(fd);
    return -1;
}

static const char *type_of(mode_t mode) {
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "directory";
    case S_IFLNK:
        return "link";
    case S_IFIFO:
        return "fifo";
    case S_IFSOCK:
        return "socket";
    case S_IFBLK:
    case S_IFCHR:
        return "device";
    default:
        return "other";
    }
}

/* The same file again, to be read. */
static int reopen(int place, const char *path, int more, sm_err *err) {
    char self[40];
    snprintf(self, sizeof self, "/proc/self/fd/%d", place);
    int fd = open(self, OPEN_FLAGS | more);
    if (fd < 0)
        sm_fsx_fail(err, errno, "open", path);
    return fd;
}

int sm_peek_open(const char *path, const json_t *grants, struct stat *st, sm_err *err) {
    int place = open_place(path, NULL, grants, st, err), fd = -1;
    if (place < 0)
        return -1;
    if (!S_ISREG(st->st_mode)) {
        char why[80];
        snprintf(why, sizeof why, "is a %s; only regular files are read", type_of(st->st_mode));
        sm_peek_refuse(err, SM_INVALID, path, why);
    } else {
        fd = reopen(place, path, 0, err);
    }
    close(place);
    return fd;
}

/* ---- stat, list, read ---- */

static double seconds(struct timespec t) {
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void describe(json_t *o, const struct stat *st) {
    json_object_set_new(o, "type", json_string(type_of(st->st_mode)));
    json_object_set_new(o, "size", json_integer(st->st_size));
    json_object_set_new(o, "mtime", json_real(seconds(st->st_mtim)));
    json_object_set_new(o, "atime", json_real(seconds(st->st_atim)));
    json_object_set_new(o, "ctime", json_real(seconds(st->st_ctim)));
    json_object_set_new(o, "mode", json_integer(st->st_mode & 07777));
    json_object_set_new(o, "uid", json_integer(st->st_uid));
    json_object_set_new(o, "gid", json_integer(st->st_gid));
    json_object_set_new(o, "inode", json_integer((json_int_t)st->st_ino));
    json_object_set_new(o, "device", json_integer((json_int_t)st->st_dev));
    json_object_set_new(o, "links", json_integer((json_int_t)st->st_nlink));
}

static sm_rc do_stat(const char *path, const json_t *grants, sm_peeked *out, sm_err *err) {
    struct stat st;
    int fd = open_place(path, NULL, grants, &st, err);
    if (fd < 0)
        return err->code;
    close(fd);
    out->value = json_object();
    describe(out->value, &st);
    return SM_OK;
}

static int by_name(const void *a, const void *b) {
    return strcmp(sm_json_str(*(json_t *const *)a, "name", ""),
                  sm_json_str(*(json_t *const *)b, "name", ""));
}

static json_t *sorted(json_t *list) {
    size_t n = json_array_size(list);
    json_t **at = sm_calloc(n + 1, sizeof(json_t *));
    for (size_t i = 0; i < n; i++)
        at[i] = json_array_get(list, i);
    qsort(at, n, sizeof(json_t *), by_name);
    json_t *made = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append(made, at[i]);
    free(at);
    json_decref(list);
    return made;
}

/* Adds the entry `name` of the open folder, if it is wanted and granted. */
static void add_entry(json_t *list, int dir, const char *path, const char *name,
                      const char *pattern, const json_t *grants) {
    struct stat st;
    if (name[0] == '.' && pattern[0] != '.')
        return;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || !sm_str_glob(pattern, name))
        return;
    char *full = sm_asprintf("%s/%s", strcmp(path, "/") == 0 ? "" : path, name);
    if (granted(grants, full, false) && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        json_t *o = json_object();
        json_object_set_new(o, "name", sm_json_text(name, strlen(name)));
        json_object_set_new(o, "path", sm_json_text(full, strlen(full)));
        describe(o, &st);
        json_array_append_new(list, o);
    }
    free(full);
}

static sm_rc do_list(const char *path, const json_t *args, const json_t *grants, sm_peeked *out,
                     sm_err *err) {
    const char *pattern = sm_json_str(args, "pattern", "*");
    struct stat st;
    if (!pattern[0] || strchr(pattern, '/'))
        return sm_err_set(err, SM_INVALID, "expected a pattern of names, without slashes");
    int place = open_place(path, pattern, grants, &st, err);
    if (place < 0)
        return err->code;
    int fd = -1;
    if (S_ISDIR(st.st_mode))
        fd = reopen(place, path, O_DIRECTORY, err);
    else
        sm_peek_refuse(err, SM_INVALID, path, "is not a directory");
    close(place);
    if (fd < 0)
        return err->code;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return sm_fsx_fail(err, ENOMEM, "read", path);
    }
    json_t *list = json_array();
    const struct dirent *entry;
    int names = 0;
    while ((entry = readdir(dir)) != NULL && names++ < NAMES_MAX &&
           json_array_size(list) <= SM_PEEK_LIST_MAX)
        add_entry(list, dirfd(dir), path, entry->d_name, pattern, grants);
    closedir(dir);
    if (names > NAMES_MAX || json_array_size(list) > SM_PEEK_LIST_MAX) {
        json_decref(list);
        char *shown = sm_str_printable(path, strlen(path), 300);
        if (names > NAMES_MAX)
            sm_err_set(err, SM_LIMIT, "%s holds more than %d names", shown, NAMES_MAX);
        else
            sm_err_set(err, SM_LIMIT, "%s: more than %d files match; narrow the pattern", shown,
                       SM_PEEK_LIST_MAX);
        free(shown);
        return SM_LIMIT;
    }
    out->value = sorted(list);
    return SM_OK;
}

static sm_rc do_read(const char *path, const json_t *args, const json_t *grants, sm_peeked *out,
                     sm_err *err) {
    int64_t offset = sm_json_int(args, "offset", 0);
    int64_t max = sm_json_int(args, "max", SM_PEEK_READ_DEFAULT);
    struct stat st;
    if (offset < 0 || max < 1 || max > SM_PEEK_READ_MAX)
        return sm_err_set(err, SM_INVALID, "expected an offset from 0 and at most %d bytes",
                          SM_PEEK_READ_MAX);
    int fd = sm_peek_open(path, grants, &st, err);
    if (fd < 0)
        return err->code;
    /* One byte more tells whether there is more; the files of /proc do not know their size. */
    size_t want = (size_t)max + 1, n = 0;
    sm_buf b;
    char chunk[64 << 10];
    sm_rc rc = SM_OK;
    sm_buf_init(&b, want);
    while (n < want) {
        size_t room = want - n < sizeof chunk ? want - n : sizeof chunk;
        ssize_t got = pread(fd, chunk, room, (off_t)(offset + (int64_t)n));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            rc = sm_fsx_fail(err, errno, "read", path);
        if (got <= 0)
            break;
        sm_buf_add(&b, chunk, (size_t)got);
        n += (size_t)got;
    }
    close(fd);
    if (rc == SM_OK) {
        out->body = sm_buf_take(&b, &out->body_n);
        bool more = out->body_n == want;
        out->body_n -= more;
        out->body[out->body_n] = '\0';
        out->value = json_pack("{s:b, s:I}", "more", more, "size", (json_int_t)st.st_size);
    }
    sm_buf_fini(&b);
    return rc;
}

sm_rc sm_peek(const json_t *args, const json_t *grants, sm_peeked *out, sm_err *err) {
    sm_err own = SM_ERR_INIT;
    sm_err *e = err ? err : &own;
    const char *op = sm_json_str(args, "op", ""), *path = sm_json_str(args, "path", NULL);
    memset(out, 0, sizeof *out);
    if (!path)
        return sm_err_set(e, SM_INVALID, "expected a path");
    if (strcmp(op, "stat") == 0)
        return do_stat(path, grants, out, e);
    if (strcmp(op, "list") == 0)
        return do_list(path, args, grants, out, e);
    if (strcmp(op, "read") == 0)
        return do_read(path, args, grants, out, e);
    if (strcmp(op, "tail") == 0)
        return sm_peek_tail(args, grants, out, e);
    return sm_err_set(e, SM_INVALID, "there is no way \"%.20s\" to look at a file", op);
}

void sm_peeked_fini(sm_peeked *p) {
    json_decref(p->value);
    if (p->body)
        explicit_bzero(p->body, p->body_n);
    free(p->body);
    memset(p, 0, sizeof *p);
}
