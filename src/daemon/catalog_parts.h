/* catalog_parts: what the rooms of the catalogue share. Only catalog.c and catalog_*.c include it.
 */
#pragma once
#include "base/map.h"
#include "base/secret.h"
#include "daemon/catalog.h"
#include "daemon/dispatcher.h"
#include "daemon/inspection.h"

enum {
    SM_CATALOG_FILES = 20000,
    SM_CATALOG_TEXT = 1 << 20, /* bytes of one script or module */
    SM_CATALOG_LIBS = 1000,    /* modules below lib/ */
    SM_CATALOG_NOTES = 1000,
    SM_CATALOG_GONE = 64,      /* vanished files that a new one is compared with */
    SM_CATALOG_GONE_S = 600,   /* for so long */
    SM_CATALOG_TWIN_S = 60,    /* age of a file that may be the new name of one that vanishes */
    SM_CATALOG_PRINTS = 20,    /* lines of a main chunk's prints that the log gets */
    SM_CATALOG_WARNINGS = 100, /* names left out that are told one by one */
    SM_CATALOG_CHANCES = 5     /* loads of a file in vain because it was written meanwhile */
};

typedef struct sm_catfile { /* one file below the root */
    char *rel;
    bool lib;
    bool seen;              /* by the walk of this scan */
    bool linked;            /* its name is a link */
    bool trial;             /* read while open: nothing is said when it does not load */
    int vain;               /* loads in a row that were for nothing: it was written meanwhile */
    int64_t size, mtime_ns; /* as of the last read */
    uint64_t dev, ino;
    bool refused;        /* too long or not readable: no text, an error */
    bool racy;           /* it changed so lately that another change would not show */
    int64_t appeared_ns; /* wall */
    sm_blob *disk;       /* text as last read, NULL when it could not be read */
    int64_t late_ns;     /* monotonic: since when it looks as it does, and waits to be read; or 0 */
    sm_blob *good;       /* lib: last text that loaded */

    sm_source *source;   /* script: last snapshot that loaded; NULL when none did */
    json_t *specs;       /* of it, checked */
    json_t *required;    /* of the last attempt: names of libs, or NULL when unknown */
    sm_source *tried;    /* snapshot of the last attempt */
    sm_inspections made; /* from specs */
    bool fresh;          /* it loaded for the first time, or again, in this scan */
    bool stored;         /* the store has source */

    char *error; /* sentence of what is wrong with the text on disk, or NULL */
    int line;
    int64_t fault_ns; /* wall, since when there is one: seen, or before the start saved */
    char *told;       /* what the log was told last, or NULL */
} sm_catfile;

typedef struct sm_catgone { /* a script that vanished */
    char hash[65];
    json_t *ids; /* object function name -> id */
    int64_t at_ns;
} sm_catgone;

/* What a load or a store operation that is under way holds on to; outlives the catalogue. */
typedef struct sm_catlife {
    int refs;
    sm_catalog *c; /* NULL when it is gone */
} sm_catlife;

typedef enum sm_catphase {
    SM_CAT_IDLE,
    SM_CAT_TEXTS,  /* the store is asked for the last good texts */
    SM_CAT_LIBS,   /* changed modules load */
    SM_CAT_SCRIPTS /* changed scripts load */
} sm_catphase;

struct sm_catalog {
    const sm_config *cfg;
    const sm_secret *assoc;
    struct sm_dispatcher *d;
    struct sm_store *store;
    sm_catalog_changed changed;
    void *ctx;
    void (*idle)(void *ctx); /* waits for the end of the scan, or NULL */
    void *idle_ctx;
    sm_catlife *life;
    sm_catphase phase;
    bool again;              /* a scan was asked for meanwhile */
    bool whole, whole_again; /* it walks; the next one shall */
    bool scanned;            /* one has finished */
    bool dirty;              /* something changed in this one */
    bool stopping;           /* the dispatcher takes no more loads */
    int pending;             /* loads under way in this phase */
    int64_t began_ns;        /* monotonic */
    double scan_ms;
    json_t *load_limits;
    sm_catalog_eyes eyes;
    bool watched;
    sm_map marks;   /* rel -> one of the marks of catalog_touch.c */
    size_t waiting; /* files that are too young */
    size_t links;   /* files whose name is a link */
    double walk_ms, publish_ms;
    sm_map warned;                  /* sentences of names left out, told one by one */
    size_t left_out, left_out_told; /* names of this walk beyond those; of which the log knows */
    sm_map files;                   /* rel -> sm_catfile */
    sm_catfile **sorted;            /* by rel; NULL: not known */
    sm_map rows; /* file -> row of the store (json_t), until the first scan is done */
    bool rows_known;
    sm_source *libs; /* snapshot of the modules: a source without script; NULL before the first */
    sm_catgone gone[SM_CATALOG_GONE];
    size_t n_gone;
    char *root_error; /* the root cannot be read */
    json_t *notes;
    sm_inspection **list; /* published; sorted by id, each with a reference */
    size_t n_list;
    sm_load_error *errors;
    size_t n_errors;
};

/* catalog.c */
void sm_catalog_note(sm_catalog *c, int level, const char *sentence);
void sm_catalog_note_once(sm_catalog *c, int level, const char *sentence);
sm_catfile *sm_catalog_file(sm_catalog *c, const char *rel); /* made when it is not known */
void sm_catalog_drop_file(sm_catalog *c, sm_catfile *f);
/* Files sorted by rel; malloc'd array of borrowed pointers. */
sm_catfile **sm_catalog_files(sm_catalog *c, size_t *n);

/* catalog_touch.c */
bool sm_catalog_is_open(const sm_catalog *c, const char *rel);
/* Whether f was touched since it was read, or is open: what was read of it is not believed. */
bool sm_catalog_is_touched(const sm_catalog *c, const char *rel);
/* Takes the mark off a file that is read now. */
sm_touch sm_catalog_untouch(sm_catalog *c, const char *rel);
/* Names that were touched and are to be read; malloc'd array of malloc'd texts. */
char **sm_catalog_touched(const sm_catalog *c, size_t *n);
void sm_catalog_forget_touches(sm_catalog *c); /* but not those of open files */
/* Takes the watch's news. */
void sm_catalog_peek(sm_catalog *c);

/* catalog_scan.c */
/* Reads what changed on disk. False: the root cannot be walked (root_error is set). */
bool sm_catalog_read(sm_catalog *c);
/* Snapshot of the modules: `good` texts where there are any, or what is on disk. One reference. */
sm_source *sm_catalog_libs(sm_catalog *c, bool on_disk);
bool sm_catalog_same_libs(const sm_source *a, const sm_source *b);
/* Snapshot of a text with the modules of libs. One reference. */
sm_source *sm_catalog_snapshot(const char *file, sm_blob *script, sm_source *libs);
/* Whether f must load again under c->libs. */
bool sm_catalog_wants_load(const sm_catalog *c, const sm_catfile *f);
bool sm_catalog_blank(const sm_blob *b);

/* catalog_accept.c */
/* Takes the answer to the load of f->tried. */
void sm_catalog_accept(sm_catalog *c, sm_catfile *f, const json_t *head, const char *log,
                       size_t log_n);
/* Forgets an attempt to load f: it told nothing. */
void sm_catalog_unlearn(sm_catfile *f);
/* Puts f on the modules of c->libs without loading it. */
void sm_catalog_rebase(sm_catalog *c, sm_catfile *f);
/* Makes a version of the store the one that runs; the fault of the text on disk stays. */
bool sm_catalog_take_stored(sm_catalog *c, sm_catfile *f, sm_source *source, const json_t *specs);
/* Makes the inspections of f anew from c->cfg; those that come out the same stay what they are.
 * Returns how many are new, changed or gone. */
size_t sm_catalog_remake(sm_catalog *c, sm_catfile *f);
/* Sets or clears the fault of a file. sentence is copied; NULL clears. */
void sm_catalog_fault(sm_catalog *c, sm_catfile *f, const char *sentence, int line);

/* catalog_keep.c */
/* Asks the store for the last good texts, then calls `then` (never when the catalogue is gone). */
void sm_catalog_fetch(sm_catalog *c, void (*then)(sm_catalog *c));
/* Brings back the last good text of a file whose present one does not load. */
void sm_catalog_restore(sm_catalog *c, sm_catfile *f);
void sm_catalog_keep(sm_catalog *c, sm_catfile *f);
void sm_catalog_unkeep(sm_catalog *c, const char *file);
void sm_catalog_rows_free(sm_catalog *c);

/* catalog_publish.c */
/* Ends a scan: forgets vanished files, refuses duplicate keys, makes list and errors, tells. */
void sm_catalog_publish(sm_catalog *c);
/* Says which names of the configuration fit no inspection, once each. */
void sm_catalog_tell_unknown(sm_catalog *c);
