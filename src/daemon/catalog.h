/* catalog: what is loaded: scripts found below the root, their last good texts, the inspections
 * they register, with ids, association keys and schedules. Owned by the loop's thread.
 *
 * It reads files, asks the dispatcher to load them in a worker (the daemon never runs Lua), checks
 * what came back (ids, duplicate keys, schedules, zones, accounts) and keeps the result. It does
 * not schedule, register or run anything; it tells a listener what changed.
 */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include "daemon/config.h"
#include "daemon/watch.h"
#include "schedule/cron.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct sm_catalog sm_catalog;
struct sm_dispatcher;
struct sm_store;

/* A text of one moment, shared by reference count. */
typedef struct sm_blob {
    int refs;
    char hash[65]; /* SHA-256 of text, hex */
    size_t n;
    char text[];
} sm_blob;

/* A blob with one reference; hashes the text. */
sm_blob *sm_blob_new(const char *text, size_t n);
sm_blob *sm_blob_ref(sm_blob *b);
void sm_blob_unref(sm_blob *b); /* NULL is fine */

typedef struct sm_source { /* one snapshot: script and everything below lib/ */
    int refs;
    char *file; /* "demo/example.lua" */
    sm_blob *script;
    struct {
        char *name;
        sm_blob *blob;
    } * libs;
    size_t n_libs;
    struct sm_source *base; /* whose libs these are, referenced; NULL: its own */
} sm_source;
sm_source *sm_source_ref(sm_source *s);
void sm_source_unref(sm_source *s);

typedef struct sm_inspection {
    int refs;
    char *id;              /* function id, with @instance when there is one */
    char *func_id;         /* "demo__example.run" */
    char ref_key[33 + 16]; /* association key (pinned ones may have up to 48 characters) */
    char *fn;              /* function name in the script */
    char *account;
    sm_source *source;
    json_t *spec;        /* docs/internals/frames.md */
    json_t *schema;      /* borrowed from spec: params */
    json_t *conf_params; /* from the configuration (and its instance), may be NULL */
    json_t *grants;      /* array */
    json_t *limits;      /* effective limits for the run frame (wall = timeout) */
    json_t *net;         /* policy of the configuration it was made with, or NULL */
    json_t *notes;       /* array of sentences: limits it asks for and does not get; or NULL */
    sm_cron **crons;
    size_t n_crons;
    sm_tz *tz; /* NULL = UTC; owned */
    double timeout;
    sm_secret *api_key; /* given in the script, or NULL; never in spec; owned */
    bool first_run, retry;
} sm_inspection;
sm_inspection *sm_inspection_ref(sm_inspection *i);
void sm_inspection_unref(sm_inspection *i);

typedef struct sm_load_error { /* a file that does not load */
    char *file;                /* relative to the root */
    char *sentence;            /* "inspections/demo/x.lua:5: …" */
    int line;
    bool stale;       /* its last good version keeps running */
    int64_t since_ns; /* wall; 0: not known */
} sm_load_error;

/* Called on the loop after a scan changed something (and once after the first). */
typedef void (*sm_catalog_changed)(void *ctx);

sm_catalog *sm_catalog_new(const sm_config *cfg, const sm_secret *assoc, struct sm_dispatcher *d,
                           struct sm_store *store /* NULL: dry run, list */,
                           sm_catalog_changed changed, void *ctx);
void sm_catalog_free(sm_catalog *c);
/* Begins a scan (reads what changed on disk by size, mtime, inode, then hash; loads it in workers).
 * A scan while one runs is remembered and done after it. */
void sm_catalog_scan(sm_catalog *c);
bool sm_catalog_busy(const sm_catalog *c);
/* The same for the files of sm_catalog_touch only, without a walk. */
void sm_catalog_look(sm_catalog *c);
/* What a watch knows of a file: it will be read although nothing of it seems to have changed
 * (WHOLE), it will not be read until another word of it comes (OPEN), or it will be read, and taken
 * only when it loads and registers every function that the former text did (TRY). */
void sm_catalog_touch(sm_catalog *c, const char *rel, sm_touch how);

/* Who watches the disk. All are called from inside of a scan. */
typedef struct sm_catalog_eyes {
    /* Before files are read, after that, and when one has loaded: sm_catalog_touch is called for
     * all that has happened. */
    void (*take)(void *ctx);
    /* Around a walk, and each folder on its way before its names are read. */
    void (*begin)(void *ctx);
    void (*folder)(void *ctx, const char *rel);
    void (*end)(void *ctx, bool complete);
    /* A changed file of which nobody told is read when it is as old as this. */
    int (*settle_ms)(void *ctx);
    void *ctx;
    /* Some are younger: sm_catalog_look is to be called soon. */
    void (*unsettled)(void *ctx);
    void *unsettled_ctx;
} sm_catalog_eyes;
/* Copied; every function is set. Until then the disk is believed as it is. */
void sm_catalog_watched(sm_catalog *c, const sm_catalog_eyes *eyes);
/* Whether some files are links, whose change shows elsewhere. */
bool sm_catalog_links(const sm_catalog *c);
/* Wall milliseconds the last walk took, for which the loop stood still. */
double sm_catalog_walk_ms(const sm_catalog *c);
/* The same for the end of the last scan: making the list, and telling who listens. */
double sm_catalog_publish_ms(const sm_catalog *c);

typedef struct sm_catalog_count { /* now */
    size_t inspections;
    size_t errors, stale; /* files that do not load; of these, with a last good version */
} sm_catalog_count;
void sm_catalog_counts(const sm_catalog *c, sm_catalog_count *out);
/* Current inspections, sorted by id. Borrowed array; elements live while in the catalogue. */
sm_inspection *const *sm_catalog_list(const sm_catalog *c, size_t *n);
sm_inspection *sm_catalog_find(const sm_catalog *c, const char *id); /* NULL when there is none */
const sm_load_error *sm_catalog_errors(const sm_catalog *c, size_t *n);
/* Makes every inspection anew from a configuration (borrowed until the next one), keeps those that
 * come out the same, and publishes; nothing loads. Files with a fault are loaded again by the next
 * scan. Not while a scan runs. Returns how many inspections are new, changed or gone. `changed` is
 * not called. */
size_t sm_catalog_configure(sm_catalog *c, const sm_config *cfg);
/* Calls idle(ctx) once, from inside when no scan runs, else at the end of the one that does. */
void sm_catalog_when_idle(sm_catalog *c, void (*idle)(void *ctx), void *ctx);
/* Wall milliseconds the last finished scan took. */
double sm_catalog_scan_ms(const sm_catalog *c);
/* Sentences that are no errors (warnings of the walk, of renamed files, prints of main chunks), the
 * newest last, at most 1,000; each is told once to the log as well. Array, borrowed. */
const json_t *sm_catalog_notes(const sm_catalog *c);
