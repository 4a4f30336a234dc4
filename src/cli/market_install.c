/* market_install: puts a set of files into an inspections root, whole or not at all, and never over
 * an edit. See cli/market.h for what a header line is.
 *
 * All new texts are first written beside their places under hidden names, which no scan looks at,
 * and synced; then renamed, modules before specs before scripts, so that whoever looks, or comes up
 * after a kill, finds no script without what it requires. A lock on the root keeps two apart. */
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/market.h"
#include "cli/tarball.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char mark[] = "-- from market: ";

typedef enum step { STAY, WRITE, BESIDE } step;

typedef struct item {
    const sm_market_file *file;
    step step;
    const char *action;
    char *place;                /* below the root: the name, or NAME.new */
    char *staged;               /* hidden name beside it, once written */
    char before[SM_MARKET_SUM]; /* of the whole file that is replaced, "" when there was none */
    bool done;
} item;

/* The value behind `key` in the header line, up to a blank. */
static bool word_of(const char *line, size_t n, const char *key, char *out, size_t cap) {
    char *text = sm_memdup(line, n);
    char *at = strstr(text, key);
    size_t len = at ? strcspn(at + strlen(key), " ") : 0;
    bool ok = at && len > 0 && len < cap;
    if (ok) {
        memcpy(out, at + strlen(key), len);
        out[len] = '\0';
    }
    free(text);
    return ok;
}

/* Blanks and what no line should hold, as %XX. Caller frees. */
static char *word(const char *text) {
    char *out = sm_malloc(strlen(text) * 3 + 1), *o = out;
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c <= ' ' || *c == 0x7f || *c == '%')
            o += sprintf(o, "%%%02X", (unsigned char)*c);
        else
            *o++ = *c;
    }
    *o = '\0';
    return out;
}

/* The folder of rel, opened without following any link; made when `make`. -1 and errno. */
static int open_folder(int root, const char *rel, bool make) {
    int fd = dup(root);
    while (fd >= 0) {
        size_t n = strcspn(rel, "/");
        if (rel[n] == '\0')
            return fd;
        char *part = sm_memdup(rel, n);
        int next = openat(fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0 && errno == ENOENT && make &&
            (mkdirat(fd, part, 0755) == 0 || errno == EEXIST))
            next = openat(fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int kept = errno;
        free(part);
        close(fd);
        errno = kept;
        fd = next;
        rel += n + 1;
    }
    return fd;
}

/* The whole file, NULL when there is none. */
static sm_rc read_whole(int root, const char *rel, char **text, size_t *n, sm_err *err) {
    *text = NULL;
    *n = 0;
    int folder = open_folder(root, rel, false);
    if (folder < 0)
        return errno == ENOENT ? SM_OK : sm_err_sys(err, errno, "%s: its folder", rel);
    struct stat st;
    sm_rc rc = SM_OK;
    if (fstatat(folder, sm_fsx_basename(rel), &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT)
            rc = sm_err_sys(err, errno, "%s", rel);
    } else if (!S_ISREG(st.st_mode)) {
        rc = sm_err_set(err, SM_EXISTS, "%s is there and is no file", rel);
    } else {
        rc = sm_fsx_read_beneath(folder, sm_fsx_basename(rel), SM_TAR_FILE * 2, text, n, err);
    }
    close(folder);
    return rc;
}

sm_rc sm_market_look(int root, const char *rel, sm_market_there *out, sm_err *err) {
    *out = (sm_market_there){.exists = false};
    sm_rc rc = read_whole(root, rel, &out->text, &out->n, err);
    if (rc != SM_OK || !out->text)
        return rc;
    out->exists = true;
    size_t line = strcspn(out->text, "\n");
    if (!sm_str_starts(out->text, mark) || out->text[line] != '\n')
        return SM_OK;
    const char *words = out->text + sizeof mark - 1;
    size_t n = line - (sizeof mark - 1);
    char sum[SM_MARKET_SUM];
    out->ours = word_of(words, n, "source=", out->source, sizeof out->source) &&
                word_of(words, n, "version=", out->version, sizeof out->version) &&
                word_of(words, n, "sha256=", out->sum, sizeof out->sum) && strlen(out->sum) == 64;
    if (!out->ours)
        return SM_OK;
    out->n -= line + 1;
    memmove(out->text, out->text + line + 1, out->n + 1);
    sm_market_sum(out->text, out->n, sum);
    out->edited = strcmp(sum, out->sum) != 0;
    return SM_OK;
}

void sm_market_there_fini(sm_market_there *t) {
    free(t->text);
    t->text = NULL;
}

/* What is to be done about one file. */
static sm_rc decide(int root, item *it, sm_err *err) {
    sm_market_there there;
    char sum[SM_MARKET_SUM], *whole = NULL;
    size_t n = 0;
    const sm_market_file *f = it->file;
    sm_rc rc = sm_market_look(root, f->name, &there, err);
    if (rc != SM_OK)
        return rc;
    if (there.exists)
        rc = read_whole(root, f->name, &whole, &n, err);
    if (whole)
        sm_market_sum(whole, n, it->before);
    free(whole);
    sm_market_sum(there.text ? there.text : "", there.n, sum);
    it->step = STAY;
    it->action = "same";
    if (!there.exists) {
        it->step = WRITE;
        it->action = "installed";
    } else if (strcmp(sum, f->sum) == 0) {
        it->action = "same";
    } else if (!there.ours) {
        rc = sm_err_set(err, SM_EXISTS,
                        "%s is there already and did not come from the market; "
                        "nothing was written",
                        f->name);
    } else if (!there.edited) {
        it->step = WRITE;
        it->action = "upgraded";
    } else if (strcmp(there.sum, f->sum) == 0) {
        it->action = "edited";
    } else {
        it->step = BESIDE;
        it->action = "kept";
    }
    it->place = sm_asprintf("%s%s", f->name, it->step == BESIDE ? ".new" : "");
    sm_market_there_fini(&there);
    return rc;
}

/* Writes the text under a hidden name beside its place. */
static sm_rc stage(int root, const sm_market_set *s, item *it, sm_err *err) {
    sm_rc rc = SM_OK;
    int folder = open_folder(root, it->place, true), fd = -1;
    char *source = word(s->source), *version = word(s->version);
    char *name = sm_asprintf(".%s.market", sm_fsx_basename(it->place));
    char *head =
        sm_asprintf("%ssource=%s version=%s sha256=%s\n", mark, source, version, it->file->sum);
    if (folder < 0)
        rc = sm_err_sys(err, errno, "%s: its folder (links are not followed)", it->place);
    else if ((fd = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
                          0644)) < 0)
        rc = sm_err_sys(err, errno, "%s: cannot be written", it->place);
    else
        it->staged = sm_strdup(name);
    if (rc == SM_OK &&
        (sm_fsx_write_all(fd, head, strlen(head)) != SM_OK ||
         sm_fsx_write_all(fd, it->file->text, it->file->n) != SM_OK || fsync(fd) != 0))
        rc = sm_err_sys(err, errno, "%s: cannot be written", it->place);
    if (fd >= 0)
        close(fd);
    if (folder >= 0)
        close(folder);
    free(source);
    free(version);
    free(name);
    free(head);
    return rc;
}

/* Puts a staged text in its place; one that was saved anew meanwhile is left as it is. */
static sm_rc place(int root, item *it, sm_err *err) {
    char *whole = NULL, sum[SM_MARKET_SUM] = "";
    size_t n = 0;
    sm_rc rc = it->step == WRITE ? read_whole(root, it->place, &whole, &n, err) : SM_OK;
    if (whole)
        sm_market_sum(whole, n, sum);
    free(whole);
    if (rc == SM_OK && it->step == WRITE && strcmp(sum, it->before) != 0)
        rc = sm_err_set(err, SM_BUSY, "%s was changed at this moment: try again", it->place);
    int folder = rc == SM_OK ? open_folder(root, it->place, false) : -1;
    if (rc == SM_OK &&
        (folder < 0 || renameat(folder, it->staged, folder, sm_fsx_basename(it->place)) != 0))
        rc = sm_err_sys(err, errno, "%s: cannot be put in its place", it->place);
    if (rc == SM_OK) {
        it->done = true;
        (void)fsync(folder);
    }
    if (folder >= 0)
        close(folder);
    return rc;
}

/* Removes what was staged, and after a failure new files that are in place already. */
static void clear_away(int root, item *items, size_t n, bool failed) {
    for (size_t i = 0; i < n; i++) {
        item *it = &items[i];
        int folder = it->staged ? open_folder(root, it->place, false) : -1;
        if (folder >= 0 && !it->done)
            (void)unlinkat(folder, it->staged, 0);
        else if (folder >= 0 && failed && it->step == WRITE && !it->before[0])
            (void)unlinkat(folder, sm_fsx_basename(it->place), 0);
        if (folder >= 0)
            close(folder);
        free(it->staged);
        free(it->place);
    }
}

/* Modules first, then specs, then scripts. */
static int rank(const item *it) {
    return sm_str_starts(it->file->name, "lib/")      ? 0
           : sm_str_ends(it->file->name, "_spec.lua") ? 1
                                                      : 2;
}

static int by_rank(const void *a, const void *b) {
    const item *x = a, *y = b;
    int d = rank(x) - rank(y);
    return d ? d : strcmp(x->file->name, y->file->name);
}

sm_rc sm_market_install(const char *root, const sm_market_set *s, json_t **actions, sm_err *err) {
    item *items = sm_calloc(s->n + 1, sizeof *items);
    sm_rc rc = SM_OK;
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *actions = NULL;
    for (size_t i = 0; i < s->n; i++)
        items[i].file = &s->files[i];
    qsort(items, s->n, sizeof *items, by_rank);
    if (fd < 0 || flock(fd, LOCK_EX) != 0)
        rc = sm_err_sys(err, errno, "%s", root);
    for (size_t i = 0; i < s->n && rc == SM_OK; i++)
        rc = decide(fd, &items[i], err);
    for (size_t i = 0; i < s->n && rc == SM_OK; i++)
        if (items[i].step != STAY)
            rc = stage(fd, s, &items[i], err);
    for (size_t i = 0; i < s->n && rc == SM_OK; i++)
        if (items[i].step != STAY)
            rc = place(fd, &items[i], err);
    if (rc == SM_OK) {
        *actions = json_array();
        for (size_t i = 0; i < s->n; i++)
            json_array_append_new(*actions, json_pack("{s:s, s:s}", "file", items[i].file->name,
                                                      "action", items[i].action));
    }
    clear_away(fd, items, s->n, rc != SM_OK);
    if (fd >= 0)
        close(fd);
    free(items);
    return rc;
}
