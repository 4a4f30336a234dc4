/* watch_parts: what the rooms of the watch share. Only watch.c and watch_*.c include it. Owned by
 * the loop's thread.
 */
#pragma once
#include "base/map.h"
#include "daemon/watch.h"
#include <stdint.h>
#include <sys/inotify.h>

typedef struct sm_watchplace { /* one watched folder */
    int wd;
    unsigned walk; /* the last one that met it */
    char **rels;   /* its paths below the root; links may give it several. None: not below it */
    size_t n_rels;
} sm_watchplace;

typedef struct sm_watchfile { /* one of sm_watch_files */
    char *path;
    int64_t size, mtime_ns; /* as last told */
    uint64_t ino;           /* 0: there was none */
} sm_watchfile;

typedef struct sm_watchspot { /* a name in a folder that means something although it is no script */
    int wd;                   /* of the folder, -1: not watched */
    char *path, *base;
    unsigned what; /* SM_WATCH_CONFIG, or SM_WATCH_FOLDERS for the root itself */
} sm_watchspot;

typedef struct sm_watchhold {  /* a file that somebody writes to */
    int64_t first_ns, last_ns; /* writes since it was last told */
    bool written;              /* not only made */
    bool tried;                /* told SM_TOUCH_TRY since the last write */
    bool config;
} sm_watchhold;

struct sm_watch {
    sm_watch_options opt;
    char *root, *suffix;
    int fd;          /* -1: no inotify */
    uv_poll_t *poll; /* on it; freed by its close */
    uv_timer_t gather, settle;
    bool closed;
    sm_map places;  /* "wd" -> sm_watchplace */
    sm_map folders; /* paths below the root -> sm_watchplace */
    unsigned walk;  /* number of the present or last walk */
    size_t lacking; /* folders of this walk that are not watched */
    int why;        /* errno of the first of them */
    bool polling;   /* after the last walk */
    sm_map holds;   /* path below the root, or absolute one of a file -> sm_watchhold */
    sm_watchfile *files;
    size_t n_files;
    sm_watchspot *spots;
    size_t n_spots;
    unsigned news; /* not told yet */
    int64_t news_ns;
};

/* watch.c */
sm_watchplace *sm_watch_place(const sm_watch *w, int wd); /* NULL: not known */
void sm_watch_forget(sm_watch *w, sm_watchplace *p);      /* the kernel's watch has gone already */
/* Finds anew in which folders the files and the root lie. */
void sm_watch_spots(sm_watch *w);

/* watch_news.c */
void sm_watch_event(sm_watch *w, const struct inotify_event *e, const char *name);
/* Tells `what` soon. */
void sm_watch_news(sm_watch *w, unsigned what);
void sm_watch_on_gather(uv_timer_t *t);
void sm_watch_on_settle(uv_timer_t *t);
void sm_watch_drop_holds(sm_watch *w);
