/* watch: see watch.h. This room keeps the watches: one for each folder that a walk met, and those
 * of single files; it reads the events and hands them to watch_news. Owned by the loop's thread.
 *
 * Watches belong to inodes: a folder that links reach under several paths has one watch and several
 * paths. A limit of the system is told once, with the setting to raise.
 */
#include "base/clock.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/watch_parts.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READS_MAX = 256 }; /* of 64 KiB at a time; more stays for the loop's next round */

static const uint32_t all = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY |
                            IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF |
                            IN_ONLYDIR | IN_EXCL_UNLINK;

/* For a folder above the root, where much may happen that is nobody's business; added to what is
 * asked for there already. */
static const uint32_t names = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF |
                              IN_MOVE_SELF | IN_ONLYDIR | IN_MASK_ADD;

/* ---- watches ---- */

static void key_of(int wd, char out[16]) {
    snprintf(out, 16, "%d", wd);
}

sm_watchplace *sm_watch_place(const sm_watch *w, int wd) {
    char key[16];
    key_of(wd, key);
    return sm_map_get(&w->places, key);
}

static void clear_rels(sm_watch *w, sm_watchplace *p) {
    for (size_t i = 0; i < p->n_rels; i++) {
        if (sm_map_get(&w->folders, p->rels[i]) == p)
            sm_map_del(&w->folders, p->rels[i]);
        free(p->rels[i]);
    }
    free(p->rels);
    p->rels = NULL;
    p->n_rels = 0;
}

void sm_watch_forget(sm_watch *w, sm_watchplace *p) {
    char key[16];
    key_of(p->wd, key);
    sm_map_del(&w->places, key);
    for (size_t i = 0; i < w->n_spots; i++)
        if (w->spots[i].wd == p->wd)
            w->spots[i].wd = -1;
    clear_rels(w, p);
    free(p);
}

static bool has_spot(const sm_watch *w, int wd) {
    for (size_t i = 0; i < w->n_spots; i++)
        if (w->spots[i].wd == wd)
            return true;
    return false;
}

/* Gives up a watch that nobody needs. */
static void release(sm_watch *w, sm_watchplace *p) {
    if (p->n_rels > 0 || has_spot(w, p->wd))
        return;
    (void)inotify_rm_watch(w->fd, p->wd);
    sm_watch_forget(w, p);
}

/* The watch of a folder; NULL with errno. */
static sm_watchplace *add(sm_watch *w, const char *path, uint32_t mask) {
    if (w->fd < 0) {
        errno = w->why;
        return NULL;
    }
    int wd = inotify_add_watch(w->fd, path, mask);
    if (wd < 0)
        return NULL;
    sm_watchplace *p = sm_watch_place(w, wd);
    if (p)
        return p;
    if (w->opt.max_watches > 0 && w->places.len >= (size_t)w->opt.max_watches) {
        (void)inotify_rm_watch(w->fd, wd);
        errno = ENOSPC;
        return NULL;
    }
    p = sm_calloc(1, sizeof *p);
    p->wd = wd;
    char key[16];
    key_of(wd, key);
    sm_map_put(&w->places, key, p);
    return p;
}

static void add_spot(sm_watch *w, const char *path, unsigned what) {
    char *dir = sm_fsx_dirname(path);
    const sm_watchplace *p = add(w, dir, what == SM_WATCH_CONFIG ? all : names);
    w->spots = sm_realloc(w->spots, (w->n_spots + 1) * sizeof *w->spots);
    w->spots[w->n_spots++] = (sm_watchspot){.wd = p ? p->wd : -1,
                                            .path = sm_strdup(path),
                                            .base = sm_strdup(sm_fsx_basename(path)),
                                            .what = what};
    free(dir);
}

static void free_spots(sm_watchspot *spots, size_t n) {
    for (size_t i = 0; i < n; i++) {
        free(spots[i].path);
        free(spots[i].base);
    }
    free(spots);
}

/* The root, and each folder on the way to it that is a link: one that is made anew leads elsewhere.
 */
static void add_root_spots(sm_watch *w) {
    char *path = sm_strdup(w->root);
    bool whole = true;
    while (path[0] && strcmp(path, "/") != 0 && strcmp(path, ".") != 0) {
        struct stat st;
        if (whole || (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)))
            add_spot(w, path, SM_WATCH_FOLDERS);
        whole = false;
        char *up = sm_fsx_dirname(path);
        free(path);
        path = up;
    }
    free(path);
}

void sm_watch_spots(sm_watch *w) {
    sm_watchspot *former = w->spots;
    size_t n = w->n_spots;
    w->spots = NULL;
    w->n_spots = 0;
    add_root_spots(w);
    for (size_t i = 0; i < w->n_files; i++) {
        char *end = realpath(w->files[i].path, NULL);
        add_spot(w, w->files[i].path, SM_WATCH_CONFIG);
        if (end && strcmp(end, w->files[i].path) != 0)
            add_spot(w, end, SM_WATCH_CONFIG);
        free(end);
    }
    for (size_t i = 0; i < n; i++) {
        sm_watchplace *p = former[i].wd < 0 ? NULL : sm_watch_place(w, former[i].wd);
        if (p)
            release(w, p);
    }
    free_spots(former, n);
}

/* ---- events ---- */

void sm_watch_take(sm_watch *w) {
    _Alignas(struct inotify_event) char bytes[1 << 16];
    for (int i = 0; i < READS_MAX && w->fd >= 0; i++) {
        ssize_t n = read(w->fd, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const void *)(bytes + at);
            sm_watch_event(w, e, e->len > 0 ? e->name : "");
            at += (ssize_t)(sizeof *e + e->len);
        }
    }
}

static void on_readable(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    sm_watch_take(poll->data);
}

static void free_poll(uv_handle_t *poll) {
    free(poll);
}

/* Opens inotify, unless it is open; a program without one asks again at each walk. */
static void open_inotify(sm_watch *w) {
    if (w->fd >= 0 || w->closed)
        return;
    if (w->opt.max_watches < 0) {
        w->why = ENOSYS;
        return;
    }
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0) {
        w->why = errno;
        return;
    }
    w->poll = sm_calloc(1, sizeof *w->poll);
    w->poll->data = w;
    if (uv_poll_init(w->opt.loop, w->poll, w->fd) != 0) {
        free(w->poll);
        w->poll = NULL;
        close(w->fd);
        w->fd = -1;
        w->why = EMFILE;
        return;
    }
    uv_poll_start(w->poll, UV_READABLE, on_readable);
}

/* ---- walks ---- */

void sm_watch_begin(sm_watch *w) {
    w->walk++;
    w->lacking = 0;
    open_inotify(w);
    sm_watch_spots(w);
}

void sm_watch_folder(sm_watch *w, const char *rel) {
    char *path = rel[0] ? sm_asprintf("%s/%s", w->root, rel) : sm_strdup(w->root);
    sm_watchplace *p = add(w, path, all);
    /* A folder that went meanwhile is no lack; the walk says what cannot be read. */
    if (!p && errno != ENOENT && errno != ENOTDIR && errno != EACCES && w->lacking++ == 0)
        w->why = errno;
    free(path);
    if (!p)
        return;
    if (p->walk != w->walk)
        clear_rels(w, p);
    p->walk = w->walk;
    p->rels = sm_realloc(p->rels, (p->n_rels + 1) * sizeof *p->rels);
    p->rels[p->n_rels++] = sm_strdup(rel);
    sm_map_put(&w->folders, rel, p);
}

static void tell_lack(const sm_watch *w) {
    const char *cure = "";
    if (w->why == ENOSPC)
        cure = "; raise it: sysctl fs.inotify.max_user_watches=524288";
    else if (w->why == EMFILE)
        cure = "; raise it: sysctl fs.inotify.max_user_instances=1024";
    const char *what = w->why == ENOSPC   ? "the limit of inotify watches is reached"
                       : w->why == EMFILE ? "the limit of inotify instances (or of open files) is "
                                            "reached"
                                          : strerror(w->why);
    sm_log(SM_LOG_WARN,
           "%zu folder%s of %s cannot be watched for changes and %s looked at once a second "
           "instead: %s%s",
           w->lacking, w->lacking == 1 ? "" : "s", w->root, w->lacking == 1 ? "is" : "are", what,
           cure);
}

void sm_watch_end(sm_watch *w, bool complete) {
    size_t pos = 0;
    for (sm_watchplace *p; complete && (p = sm_map_next(&w->places, &pos, NULL));) {
        if (p->walk == w->walk)
            continue;
        clear_rels(w, p);
        release(w, p);
    }
    if (w->lacking > 0 && !w->polling)
        tell_lack(w);
    else if (w->lacking == 0 && w->polling && complete)
        sm_log(SM_LOG_INFO, "every folder of %s is watched for changes again", w->root);
    if (complete || w->lacking > 0)
        w->polling = w->lacking > 0;
}

bool sm_watch_polling(const sm_watch *w) {
    return w->polling;
}

size_t sm_watch_count(const sm_watch *w) {
    return w->folders.len;
}

/* ---- single files ---- */

bool sm_watch_files_differ(sm_watch *w) {
    bool differ = false;
    int64_t now = sm_wall_ns();
    for (size_t i = 0; i < w->n_files; i++) {
        sm_watchfile *f = &w->files[i];
        struct stat st = {0};
        if (sm_map_get(&w->holds, f->path))
            continue; /* told when it is whole */
        bool there = stat(f->path, &st) == 0;
        int64_t mtime = (int64_t)st.st_mtim.tv_sec * SM_NS_PER_S + st.st_mtim.tv_nsec;
        if ((there ? (uint64_t)st.st_ino : 0) == f->ino && st.st_size == f->size &&
            mtime == f->mtime_ns)
            continue;
        f->ino = there ? (uint64_t)st.st_ino : 0;
        f->size = st.st_size;
        f->mtime_ns = mtime;
        differ = true;
        /* One written just now may not be whole: it counts as different once more. */
        if (there && mtime <= now && now - mtime < SM_WATCH_NEW_MS * SM_NS_PER_MS)
            f->mtime_ns = -1;
    }
    return differ;
}

static void free_files(sm_watch *w) {
    for (size_t i = 0; i < w->n_files; i++)
        free(w->files[i].path);
    free(w->files);
    w->files = NULL;
    w->n_files = 0;
}

void sm_watch_files(sm_watch *w, const char *const *paths, size_t n) {
    free_files(w);
    w->files = sm_calloc(n + 1, sizeof *w->files);
    for (size_t i = 0; i < n; i++)
        w->files[w->n_files++].path = sm_fsx_absolute(paths[i]);
    (void)sm_watch_files_differ(w);
    sm_watch_spots(w);
}

/* ---- life ---- */

sm_watch *sm_watch_new(const sm_watch_options *opt) {
    sm_watch *w = sm_calloc(1, sizeof *w);
    w->opt = *opt;
    w->root = sm_strdup(opt->root);
    w->suffix = sm_strdup(opt->suffix);
    w->fd = -1;
    sm_map_init(&w->places);
    sm_map_init(&w->folders);
    sm_map_init(&w->holds);
    uv_timer_init(opt->loop, &w->gather);
    uv_timer_init(opt->loop, &w->settle);
    w->gather.data = w->settle.data = w;
    open_inotify(w);
    return w;
}

void sm_watch_close(sm_watch *w) {
    if (!w || w->closed)
        return;
    w->closed = true;
    uv_close((uv_handle_t *)&w->gather, NULL);
    uv_close((uv_handle_t *)&w->settle, NULL);
    if (w->poll)
        uv_close((uv_handle_t *)w->poll, free_poll);
    w->poll = NULL;
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}

void sm_watch_free(sm_watch *w) {
    if (!w)
        return;
    size_t pos = 0;
    for (sm_watchplace *p; (p = sm_map_next(&w->places, &pos, NULL));) {
        clear_rels(w, p);
        free(p);
    }
    sm_map_fini(&w->places);
    sm_map_fini(&w->folders);
    sm_watch_drop_holds(w);
    sm_map_fini(&w->holds);
    free_spots(w->spots, w->n_spots);
    free_files(w);
    free(w->root);
    free(w->suffix);
    free(w);
}
