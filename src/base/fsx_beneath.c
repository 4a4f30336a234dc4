/* fsx_beneath: opens a path below a directory without ever leaving it.
 *
 * openat2(2) does it in the kernel (Linux 5.6). Older kernels do not know the call, and the filters
 * of some container runtimes refuse it; there the path is walked here, one part at a time, each
 * opened without following links, links read and walked in turn. Stateless; any thread.
 */
#include "base/fsx_internal.h"
#include "base/mem.h"
#include "base/str.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    STEPS_DEPTH = 64, /* folders below each other, links looked through */
    STEPS_LINKS = 40, /* links on one path; the kernel's own limit */
    STEPS_TEXT = 8192 /* bytes that are left to walk; a link may add to them */
};

typedef struct steps {
    int at[STEPS_DEPTH]; /* the folders above; at[0] is the caller's */
    int depth;           /* of the last one */
    char rest[STEPS_TEXT];
    int links;
} steps;

static int here(const steps *s) {
    return s->at[s->depth];
}

static int fail(int errnum) {
    errno = errnum;
    return -1;
}

/* Puts the target of a link before what is left. */
static int enter_link(steps *s, const char *name, const char *left) {
    char text[STEPS_TEXT], target[PATH_MAX];
    ssize_t n = readlinkat(here(s), name, target, sizeof target);
    if (n < 0)
        return -1;
    if (++s->links > STEPS_LINKS)
        return fail(ELOOP);
    if (n > 0 && target[0] == '/')
        return fail(EXDEV);
    if (n == 0 || (size_t)n + strlen(left) + 2 > sizeof text)
        return fail(n == 0 ? ENOENT : ENAMETOOLONG);
    memcpy(text, target, (size_t)n);
    text[n] = '/';
    memcpy(text + n + 1, left, strlen(left) + 1);
    if (left[0] == '\0')
        text[n] = '\0'; /* a slash there would ask for a folder */
    memcpy(s->rest, text, sizeof text);
    return 0;
}

static int enter_folder(steps *s, int fd) {
    if (s->depth + 1 == STEPS_DEPTH) {
        close(fd);
        return fail(ENAMETOOLONG);
    }
    s->at[++s->depth] = fd;
    return 0;
}

/* The last part: opens it as asked, unless it is a link to follow; then its target is put in its
 * place and -2 returned. */
static int open_last(steps *s, const char *name, int flags) {
    if (flags & O_NOFOLLOW)
        return openat(here(s), name, flags | O_CLOEXEC);
    int fd = openat(here(s), name, flags | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    /* O_PATH opens the link itself; the others refuse it. */
    if (fd >= 0 && (flags & O_PATH) && fstat(fd, &st) == 0 && S_ISLNK(st.st_mode)) {
        close(fd);
        fd = fail(ELOOP);
    }
    if (fd >= 0 || (errno != ELOOP && errno != ENOTDIR))
        return fd;
    int why = errno;
    if (fstatat(here(s), name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISLNK(st.st_mode))
        return fail(why);
    return enter_link(s, name, "") ? -1 : -2;
}

/* Takes the next part off what is left; false at the end. */
static bool next_part(char *rest, char *part, size_t cap, const char **left) {
    char *p = rest + strspn(rest, "/");
    size_t n = strcspn(p, "/");
    if (n == 0 || n >= cap)
        return false;
    memcpy(part, p, n);
    part[n] = '\0';
    p += n;
    *left = p + strspn(p, "/");
    return true;
}

static int walk_steps(steps *s, int flags) {
    char part[NAME_MAX + 1];
    const char *left;
    for (;;) {
        if (!next_part(s->rest, part, sizeof part, &left))
            return s->rest[strspn(s->rest, "/")] ? fail(ENAMETOOLONG)
                                                 : openat(here(s), ".", flags | O_CLOEXEC);
        bool last = left[0] == '\0';
        int fd = -2;
        if (strcmp(part, "..") == 0) {
            if (s->depth == 0)
                return fail(EXDEV);
            close(s->at[s->depth--]);
        } else if (strcmp(part, ".") != 0 && last) {
            fd = open_last(s, part, flags);
            if (fd != -2)
                return fd;
            continue; /* what is left is the link's target */
        } else if (strcmp(part, ".") != 0) {
            struct stat st;
            fd = openat(here(s), part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
            if (fd < 0)
                return -1;
            if (fstat(fd, &st) == 0 && S_ISLNK(st.st_mode)) {
                close(fd);
                if (enter_link(s, part, left))
                    return -1;
                continue;
            }
            if (!S_ISDIR(st.st_mode)) {
                close(fd);
                return fail(ENOTDIR);
            }
            if (enter_folder(s, fd))
                return -1;
        }
        memmove(s->rest, left, strlen(left) + 1);
    }
}

int sm_fsx_open_steps(int dirfd, const char *path, int flags) {
    if (path[0] == '/')
        return fail(EXDEV);
    if (path[0] == '\0')
        return fail(ENOENT);
    if (strlen(path) >= STEPS_TEXT)
        return fail(ENAMETOOLONG);
    steps *s = sm_calloc(1, sizeof *s);
    s->at[0] = dirfd;
    memcpy(s->rest, path, strlen(path) + 1);
    int fd = walk_steps(s, flags);
    int saved = errno;
    while (s->depth > 0)
        close(s->at[s->depth--]);
    free(s);
    errno = saved;
    return fd;
}

int sm_fsx_openat2(int dirfd, const char *path, int flags, unsigned resolve) {
    struct open_how how = {.flags = (unsigned)flags, .resolve = resolve};
    /* EAGAIN: a rename somewhere raced with the look-up of ".."; the man page says to try again. */
    for (int i = 0; i < 64; i++) {
        long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
        if (fd >= 0)
            return (int)fd;
        /* Filters of before 2020 answer EPERM to calls they do not know. */
        if (errno == ENOSYS || errno == EPERM)
            return sm_fsx_open_steps(dirfd, path, flags);
        if (errno != EAGAIN && errno != EINTR)
            return -1;
    }
    return -1;
}
