/* market: sets of inspections, where they come from, and how they get into an inspections root.
 *
 * A file that was installed begins with one line,
 *   -- from market: source=SOURCE version=VERSION sha256=HEX
 * HEX being the checksum of the text behind that line as it came. So an edit shows, and no edit is
 * ever overwritten. Used by cli/cmd_market on its only thread.
 */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include "daemon/config.h"
#include <stdbool.h>
#include <stddef.h>

enum { SM_MARKET_SUM = 65 };

typedef struct sm_market_file {
    char *name; /* below the root: "host/disk.lua", "host/disk_spec.lua", "lib/x.lua" */
    char *text;
    size_t n;
    char sum[SM_MARKET_SUM]; /* SHA-256 of text */
} sm_market_file;

typedef struct sm_market_set {
    char *source;  /* "selfmon-lua", a folder's absolute path, an archive's address */
    char *version; /* of the program; of an archive its checksum's first 12 digits; "-" */
    sm_market_file *files;
    size_t n;
    size_t left_out; /* files of the source that are no Lua */
} sm_market_set;

void sm_market_sum(const void *p, size_t n, char out[SM_MARKET_SUM]);
void sm_market_add(sm_market_set *s, const char *name, const char *text, size_t n);
const sm_market_file *sm_market_find(const sm_market_set *s, const char *name);
void sm_market_fini(sm_market_set *s);

/* What the executable carries. */
void sm_market_shipped(sm_market_set *out);
/* A folder: its `inspections`, when it has one. */
sm_rc sm_market_folder(const char *path, sm_market_set *out, sm_err *err);
/* An archive whose bytes have the checksum; a folder around everything, and `inspections` in it,
 * are left out of the names. */
sm_rc sm_market_archive(const char *address, const char *sum, const void *bytes, size_t n,
                        sm_market_set *out, sm_err *err);
/* Fetches https:// (http:// of loopback only); redirects to https are followed. *bytes: malloc'd.
 */
sm_rc sm_market_fetch(const char *address, char **bytes, size_t *n, sm_err *err);

/* Runs lua/tools/market on the scripts of a set (op: "list", "needs", "doc"). *out: text. */
sm_rc sm_market_ask(const char *op, const sm_market_set *s, char **out, size_t *n, sm_err *err);
/* The files of a set that `names` ask for ("host/disk", "host/disk.lua", "host"), with their specs
 * and the modules they require; NULL names: everything. SM_NOT_FOUND with the nearest name. *out's
 * files are copies. */
sm_rc sm_market_pick(const sm_market_set *s, char *const *names, size_t n_names, sm_market_set *out,
                     sm_err *err);

/* A file as it stands in the root. */
typedef struct sm_market_there {
    bool exists, ours; /* ours: it has the line above */
    bool edited;
    char source[1024], version[128];
    char sum[SM_MARKET_SUM]; /* as it came */
    char *text;              /* behind the line; whole when not ours */
    size_t n;
} sm_market_there;
/* rel is looked at without following links. */
sm_rc sm_market_look(int root, const char *rel, sm_market_there *out, sm_err *err);
void sm_market_there_fini(sm_market_there *t);

/* Puts a set into the root: new files and unedited older ones are written, edited ones stay and the
 * new text lies beside as NAME.new. Either everything that can be written is, or nothing: files
 * appear whole, scripts after the modules they require. One at a time per root. *actions: array of
 * {file, action: "installed" "upgraded" "same" "kept" "current"}, new reference; a file that did
 * not come from the market and differs is SM_EXISTS, and nothing is written. */
sm_rc sm_market_install(const char *root, const sm_market_set *s, json_t **actions, sm_err *err);
