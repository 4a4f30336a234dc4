/* watch: notices changes below the scripts folder, and of single files elsewhere (configuration),
 * by inotify: one watch for each folder. Owned by the loop's thread.
 *
 * It reads no file and decides nothing about scripts. Whoever walks the folder tells it the folders
 * on the way (sm_watch_begin, _folder, _end), so that one walk serves both. A file that is being
 * written is told as such; where inotify cannot be had, sm_watch_polling says so, and the caller
 * walks once a second instead.
 *
 * When a written file counts as whole: closed after writing, renamed, linked, or touched: at once.
 * While a writer still holds it open: to be tried when it was quiet for SM_WATCH_QUIET_MS, or is
 * written to for SM_WATCH_TRICKLE_MS without a pause; as whole when quiet for SM_WATCH_WHOLE_MS.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

typedef struct sm_watch sm_watch;

enum {
    SM_WATCH_ROOT = 1,    /* files of which `touched` told */
    SM_WATCH_FOLDERS = 2, /* folders or links, or news were lost: walk the whole */
    SM_WATCH_OTHER = 4,   /* a file that is no script; links may lead to it */
    SM_WATCH_CONFIG = 8
};

enum {
    SM_WATCH_NEW_MS = 200, /* a file made, and not yet written to */
    SM_WATCH_QUIET_MS = 2000,
    SM_WATCH_TRICKLE_MS = 10000,
    SM_WATCH_WHOLE_MS = 10000,
    SM_WATCH_GATHER_MS = 20,     /* news that follow each other closely are told together */
    SM_WATCH_GATHER_MAX_MS = 200 /* but not later than this after the first */
};

typedef enum sm_touch {
    SM_TOUCH_WHOLE = 1, /* it changed, and nobody writes to it */
    SM_TOUCH_OPEN,      /* it is being written: not to be read until told otherwise */
    SM_TOUCH_TRY        /* still open, but quiet: worth a careful look */
} sm_touch;

typedef struct sm_watch_options {
    uv_loop_t *loop;
    const char *root, *suffix; /* of script files; copied */
    int max_watches;           /* 0: as many as the system allows; less than 0: none */
    /* At once, for each path below the root of a file that changes. */
    void (*touched)(void *ctx, const char *rel, sm_touch how);
    /* After that, when the news are gathered: bits SM_WATCH_. */
    void (*changed)(void *ctx, unsigned what);
    void *ctx;
} sm_watch_options;

sm_watch *sm_watch_new(const sm_watch_options *opt);
/* Watches these files, and no longer others, for SM_WATCH_CONFIG; copied. A file that is a link is
 * watched at both ends; one that does not exist is noticed when it comes. */
void sm_watch_files(sm_watch *w, const char *const *paths, size_t n);
/* Takes the news that are there without waiting for the loop; `touched` is called, `changed` is not
 * called from inside. */
void sm_watch_take(sm_watch *w);
/* Around a walk: begin, each folder (before its names are read; rel is "" for the root), end. After
 * a walk that came to its end, folders that it did not meet are no longer watched. */
void sm_watch_begin(sm_watch *w);
void sm_watch_folder(sm_watch *w, const char *rel);
void sm_watch_end(sm_watch *w, bool complete);
/* Whether some folder is not watched, so that only looking tells. Known after a walk. */
bool sm_watch_polling(const sm_watch *w);
/* Whether the files of sm_watch_files differ from when that was last asked (or they were set, or a
 * change of them was told): for the times when no news come. */
bool sm_watch_files_differ(sm_watch *w);
/* Folders below the root that are watched. */
size_t sm_watch_count(const sm_watch *w);
void sm_watch_close(sm_watch *w); /* NULL is fine; nothing is told any more */
void sm_watch_free(sm_watch *w);  /* after the loop has closed its handles */
