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
/* Current inspections, sorted by id. Borrowed array; elements live while in the catalogue. */
sm_inspection *const *sm_catalog_list(const sm_catalog *c, size_t *n);
sm_inspection *sm_catalog_find(const sm_catalog *c, const char *id); /* NULL when there is none */
const sm_load_error *sm_catalog_errors(const sm_catalog *c, size_t *n);
/* Wall milliseconds the last finished scan took. */
double sm_catalog_scan_ms(const sm_catalog *c);
/* Sentences that are no errors (warnings of the walk, of renamed files, prints of main chunks), the
 * newest last, at most 1,000; each is told once to the log as well. Array, borrowed. */
const json_t *sm_catalog_notes(const sm_catalog *c);
