/* market_source: where sets come from: the executable, a folder, an archive. See cli/market.h. */
#include "base/embedded.h"
#include "base/fsx.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/market.h"
#include "cli/tarball.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { FOLDER_FILES = 5000 };

void sm_market_sum(const void *p, size_t n, char out[SM_MARKET_SUM]) {
    unsigned char digest[32];
    if (EVP_Digest(p, n, digest, NULL, EVP_sha256(), NULL) != 1)
        abort(); /* the library lacks SHA-256: nothing here can work */
    sm_hex(digest, sizeof digest, out);
}

void sm_market_add(sm_market_set *s, const char *name, const char *text, size_t n) {
    s->files = sm_realloc(s->files, (s->n + 1) * sizeof *s->files);
    sm_market_file *f = &s->files[s->n++];
    *f = (sm_market_file){.name = sm_strdup(name), .text = sm_memdup(text, n), .n = n};
    sm_market_sum(text, n, f->sum);
}

const sm_market_file *sm_market_find(const sm_market_set *s, const char *name) {
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->files[i].name, name) == 0)
            return &s->files[i];
    return NULL;
}

void sm_market_fini(sm_market_set *s) {
    for (size_t i = 0; i < s->n; i++) {
        free(s->files[i].name);
        free(s->files[i].text);
    }
    free(s->files);
    free(s->source);
    free(s->version);
    *s = (sm_market_set){.n = 0};
}

/* A Lua file whose every part may stand in the root. */
static bool wanted(const char *name) {
    if (!sm_str_ends(name, ".lua") || sm_str_ends(name, ".conf.lua"))
        return false;
    for (const char *part = name; part;) {
        size_t n = strcspn(part, "/");
        if (!sm_str_is_id_part(part, n))
            return false;
        part = part[n] ? part + n + 1 : NULL;
    }
    return true;
}

void sm_market_shipped(sm_market_set *out) {
    *out = (sm_market_set){.source = sm_strdup("selfmon-lua"), .version = sm_strdup(SM_VERSION)};
    for (const sm_embedded *e = sm_embedded_market; e->name; e++)
        if (wanted(e->name))
            sm_market_add(out, e->name, e->begin, (size_t)(e->end - e->begin));
}

sm_rc sm_market_folder(const char *path, sm_market_set *out, sm_err *err) {
    sm_fsx_entry *found = NULL;
    size_t n = 0;
    char *root = sm_fsx_absolute(path), *inner = sm_fsx_join(root, "inspections");
    bool has = sm_fsx_is_dir(inner);
    const char *from = has ? inner : root;
    *out = (sm_market_set){.source = sm_strdup(root), .version = sm_strdup("-")};
    sm_rc rc = sm_fsx_walk(from, "", FOLDER_FILES, &found, &n, NULL, err);
    int fd = rc == SM_OK ? open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (rc == SM_OK && fd < 0)
        rc = sm_err_sys(err, errno, "%s", from);
    for (size_t i = 0; i < n && rc == SM_OK; i++) {
        char *text = NULL;
        size_t len = 0;
        if (!wanted(found[i].rel)) {
            out->left_out++;
            continue;
        }
        rc = sm_fsx_read_beneath(fd, found[i].rel, SM_TAR_FILE, &text, &len, err);
        if (rc == SM_OK)
            sm_market_add(out, found[i].rel, text, len);
        else
            sm_err_wrap(err, "%s/%s", from, found[i].rel);
        free(text);
    }
    if (rc == SM_OK && out->n == 0)
        rc = sm_err_set(err, SM_NOT_FOUND, "%s: there is no Lua file below it", from);
    if (fd >= 0)
        close(fd);
    sm_fsx_entries_free(found, n);
    free(inner);
    free(root);
    if (rc != SM_OK)
        sm_market_fini(out);
    return rc;
}

static bool any_below(const sm_tar_file *files, size_t n, const char *prefix) {
    for (size_t i = 0; i < n; i++)
        if (sm_str_starts(files[i].name, prefix))
            return true;
    return false;
}

/* What stands before the names that count: "inspections/", "repo-1.2/inspections/", "repo-1.2/"
 * when everything lies in that folder and it has folders of its own, else "". Caller frees. */
static char *prefix_of(const sm_tar_file *files, size_t n) {
    if (n == 0 || any_below(files, n, "inspections/"))
        return sm_strdup(n ? "inspections/" : "");
    size_t cut = strcspn(files[0].name, "/");
    char *top = sm_asprintf("%.*s/", (int)cut, files[0].name);
    char *inner = sm_asprintf("%sinspections/", top);
    bool shared = true, deeper = false;
    for (size_t i = 0; i < n && shared; i++) {
        shared = sm_str_starts(files[i].name, top);
        deeper = deeper || (shared && strchr(files[i].name + cut + 1, '/'));
    }
    if (shared && any_below(files, n, inner)) {
        free(top);
        return inner;
    }
    free(inner);
    if (!shared || !deeper)
        top[0] = '\0';
    return top;
}

static bool any_name(const char *name) {
    return sm_str_ends(name, ".lua");
}

sm_rc sm_market_archive(const char *address, const char *sum, const void *bytes, size_t n,
                        sm_market_set *out, sm_err *err) {
    sm_tar_file *files = NULL;
    size_t count = 0;
    char real[SM_MARKET_SUM];
    sm_market_sum(bytes, n, real);
    *out = (sm_market_set){.n = 0};
    if (strcasecmp(sum, real) != 0)
        return sm_err_set(err, SM_DENIED,
                          "%s: its sha256 is %s, not the one that was given; "
                          "nothing is installed",
                          address, real);
    if (sm_tarball_read(bytes, n, any_name, &files, &count, err) != SM_OK)
        return sm_err_wrap(err, "%s", address);
    out->source = sm_strdup(address);
    out->version = sm_memdup(real, 12);
    char *prefix = prefix_of(files, count);
    for (size_t i = 0; i < count; i++) {
        const char *name = files[i].name + strlen(prefix);
        if (sm_str_starts(files[i].name, prefix) && wanted(name))
            sm_market_add(out, name, files[i].text, files[i].n);
        else
            out->left_out++;
    }
    free(prefix);
    sm_tarball_free(files, count);
    if (out->n > 0)
        return SM_OK;
    sm_market_fini(out);
    return sm_err_set(err, SM_NOT_FOUND, "%s: there is no inspection in it", address);
}
