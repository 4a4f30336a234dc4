/* watch_news: what an inotify event means, and when a file that is being written counts as whole.
 *
 * The order of events is the order of what happened, so a write without a close after it means that
 * a writer has the file open. Links are not looked through here: their coming and going makes the
 * whole be walked. Owned by the loop's thread.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/watch_parts.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { HOLDS_MAX = 20000 };

static const unsigned came = IN_CREATE | IN_MOVED_TO, went = IN_DELETE | IN_MOVED_FROM;

void sm_watch_news(sm_watch *w, unsigned what) {
    int64_t now = sm_mono_ns();
    if (w->news == 0)
        w->news_ns = now;
    w->news |= what;
    int64_t left = SM_WATCH_GATHER_MAX_MS - (now - w->news_ns) / SM_NS_PER_MS;
    int64_t wait = left < SM_WATCH_GATHER_MS ? left : SM_WATCH_GATHER_MS;
    if (!w->closed)
        uv_timer_start(&w->gather, sm_watch_on_gather, wait > 0 ? (uint64_t)wait : 0, 0);
}

void sm_watch_on_gather(uv_timer_t *t) {
    sm_watch *w = t->data;
    unsigned what = w->news;
    w->news = 0;
    if (what & SM_WATCH_CONFIG) {
        sm_watch_spots(w); /* a link may lead elsewhere now */
        (void)sm_watch_files_differ(w);
    }
    if (what)
        w->opt.changed(w->opt.ctx, what);
}

static void touch(sm_watch *w, const char *path, bool config, sm_touch how) {
    if (!config)
        w->opt.touched(w->opt.ctx, path, how);
    if (how != SM_TOUCH_OPEN)
        sm_watch_news(w, config ? SM_WATCH_CONFIG : SM_WATCH_ROOT);
}

/* ---- files that are being written ---- */

void sm_watch_drop_holds(sm_watch *w) {
    size_t pos = 0;
    for (sm_watchhold *h; (h = sm_map_next(&w->holds, &pos, NULL));)
        free(h);
    sm_map_fini(&w->holds);
    sm_map_init(&w->holds);
}

static void hold(sm_watch *w, const char *path, bool config, bool written) {
    int64_t now = sm_mono_ns();
    sm_watchhold *h = sm_map_get(&w->holds, path);
    if (!h) {
        if (w->holds.len >= HOLDS_MAX)
            return; /* looked at when it is closed, or by the next walk */
        h = sm_calloc(1, sizeof *h);
        h->first_ns = now;
        h->config = config;
        sm_map_put(&w->holds, path, h);
        touch(w, path, config, SM_TOUCH_OPEN);
    }
    if (h->tried)
        h->first_ns = now;
    h->tried = false;
    h->last_ns = now;
    h->written = h->written || written;
    if (!w->closed && !uv_is_active((uv_handle_t *)&w->settle))
        uv_timer_start(&w->settle, sm_watch_on_settle, SM_WATCH_NEW_MS, SM_WATCH_NEW_MS);
}

static void whole(sm_watch *w, const char *path, bool config) {
    free(sm_map_del(&w->holds, path));
    touch(w, path, config, SM_TOUCH_WHOLE);
}

void sm_watch_on_settle(uv_timer_t *t) {
    sm_watch *w = t->data;
    int64_t now = sm_mono_ns();
    size_t pos = 0;
    const char *path;
    for (sm_watchhold *h; (h = sm_map_next(&w->holds, &pos, &path));) {
        int64_t quiet = (now - h->last_ns) / SM_NS_PER_MS;
        int64_t since = (now - h->first_ns) / SM_NS_PER_MS;
        bool pause = quiet >= (h->written ? SM_WATCH_QUIET_MS : SM_WATCH_NEW_MS);
        if (quiet >= SM_WATCH_WHOLE_MS || (h->config && pause)) {
            touch(w, path, h->config, SM_TOUCH_WHOLE);
            free(sm_map_del(&w->holds, path));
        } else if (!h->tried && (pause || since >= SM_WATCH_TRICKLE_MS)) {
            h->tried = true;
            touch(w, path, h->config, SM_TOUCH_TRY);
        }
    }
    if (w->holds.len == 0)
        uv_timer_stop(t);
}

/* ---- events ---- */

typedef struct happening {
    sm_watch *w;
    unsigned mask;
    const char *name;
    const char *rel; /* of the name, below the root */
    bool config;
} happening;

/* What is at the path now: its type, 0 when nothing is there. */
static mode_t type_of(const happening *e, nlink_t *links) {
    struct stat st;
    char *path = e->config ? sm_strdup(e->rel) : sm_asprintf("%s/%s", e->w->root, e->rel);
    bool there = lstat(path, &st) == 0;
    free(path);
    *links = there ? st.st_nlink : 0;
    return there ? st.st_mode & S_IFMT : 0;
}

/* A script or a watched file. */
static void on_file(const happening *e) {
    nlink_t links = 1;
    mode_t type = e->mask & came ? type_of(e, &links) : S_IFREG;
    if (type == S_IFREG && (e->mask & IN_CREATE) && links < 2)
        hold(e->w, e->rel, e->config, false);
    else if (e->mask & IN_MODIFY)
        hold(e->w, e->rel, e->config, true);
    else if (!(e->mask & IN_ATTRIB) || !sm_map_get(&e->w->holds, e->rel))
        whole(e->w, e->rel, e->config);
    if (!e->config && type != S_IFREG && type != 0)
        sm_watch_news(e->w,
                      SM_WATCH_FOLDERS); /* a link may be a folder; others get their warning */
}

/* Any other name in a folder below the root. */
static void on_other(const happening *e) {
    nlink_t links;
    bool there = (e->mask & came) && type_of(e, &links) == S_IFLNK;
    /* `..data` is how Kubernetes flips a whole folder; the links through it have other names. */
    bool hub = e->name[0] == '.' && e->name[1] == '.' && (e->mask & (came | went));
    if (there || hub)
        sm_watch_news(e->w, SM_WATCH_FOLDERS);
    else if (e->name[0] != '.' && (e->mask & (IN_CLOSE_WRITE | came | went)))
        sm_watch_news(e->w, SM_WATCH_OTHER);
}

static void below_root(sm_watch *w, const sm_watchplace *p, unsigned mask, const char *name) {
    if (mask & IN_ISDIR) {
        if (name[0] != '.' && (mask & (came | went | IN_ATTRIB)))
            sm_watch_news(w, SM_WATCH_FOLDERS);
        return;
    }
    for (size_t i = 0; i < p->n_rels; i++) {
        char *rel = p->rels[i][0] ? sm_asprintf("%s/%s", p->rels[i], name) : sm_strdup(name);
        happening e = {.w = w, .mask = mask, .name = name, .rel = rel};
        bool folder_link = (mask & went) && sm_map_get(&w->folders, rel);
        if (folder_link)
            sm_watch_news(w, SM_WATCH_FOLDERS);
        if (name[0] != '.' && sm_str_ends(name, w->suffix))
            on_file(&e);
        else if (!folder_link)
            on_other(&e);
        free(rel);
    }
}

static void at_spots(sm_watch *w, const sm_watchplace *p, unsigned mask, const char *name) {
    bool hub = name[0] == '.' && name[1] == '.' && (mask & (came | went));
    for (size_t i = 0; i < w->n_spots; i++) {
        const sm_watchspot *s = &w->spots[i];
        bool mine = s->wd == p->wd && strcmp(s->base, name) == 0;
        if (s->wd != p->wd || !(mine || hub))
            continue;
        if (s->what == SM_WATCH_FOLDERS || hub) {
            if (mask & (came | went))
                sm_watch_news(w, s->what);
            continue;
        }
        happening e = {.w = w, .mask = mask, .name = name, .rel = s->path, .config = true};
        on_file(&e);
    }
}

void sm_watch_event(sm_watch *w, const struct inotify_event *e, const char *name) {
    if (e->mask & IN_Q_OVERFLOW) {
        /* A close may have been lost with the rest; what is held is tried when it stays quiet. */
        sm_log(SM_LOG_INFO, "%s changed faster than could be followed; all of it is read again",
               w->root);
        sm_watch_news(w, SM_WATCH_FOLDERS | SM_WATCH_CONFIG);
        return;
    }
    sm_watchplace *p = sm_watch_place(w, e->wd);
    if (!p)
        return; /* of a watch that was given up */
    if (e->mask & IN_IGNORED) {
        bool below = p->n_rels > 0;
        sm_watch_forget(w, p);
        sm_watch_news(w, below ? SM_WATCH_FOLDERS : SM_WATCH_CONFIG);
        return;
    }
    if (e->mask & (IN_MOVE_SELF | IN_UNMOUNT))
        sm_watch_news(w, SM_WATCH_FOLDERS);
    if (!name[0])
        return;
    at_spots(w, p, e->mask, name);
    if (p->n_rels > 0)
        below_root(w, p, e->mask, name);
}
