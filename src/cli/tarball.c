/* tarball: reads the files of a .tar.gz, which anybody may have made.
 *
 * Unpacks into memory under a ceiling, then goes through the headers: ustar and GNU, pax headers
 * that give no name. What could lead out of a folder, or is anything but a file or a folder,
 * refuses the whole archive. Called by cli/market_source; pure. */
#include "cli/tarball.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { BLOCK = 512, PIECE = 1 << 16, NAME_MAX_BYTES = 256 };

/* The fields of a header, as POSIX has them. */
typedef struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[6],
        version[2], user[32], group[32], major[8], minor[8], prefix[155], pad[12];
} header;

static sm_rc unpack(const void *data, size_t n, sm_buf *out, sm_err *err) {
    z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)n};
    char *piece = sm_malloc(PIECE);
    sm_rc rc = SM_OK;
    int zr = n > UINT32_MAX / 2 ? Z_MEM_ERROR : inflateInit2(&z, 15 + 16); /* gzip only */
    if (zr != Z_OK) {
        free(piece);
        return sm_err_set(err, SM_PROTO, "the archive cannot be unpacked");
    }
    while (rc == SM_OK) {
        z.next_out = (Bytef *)piece;
        z.avail_out = PIECE;
        zr = inflate(&z, Z_NO_FLUSH);
        if (zr != Z_OK && zr != Z_STREAM_END) {
            rc = sm_err_set(err, SM_PROTO, "it is no .tar.gz, or a damaged one");
        } else if (sm_buf_add(out, piece, PIECE - z.avail_out) != SM_OK) {
            rc = sm_err_set(err, SM_LIMIT, "it unpacks to more than %d MiB", SM_TAR_BYTES >> 20);
        } else if (zr == Z_STREAM_END && z.avail_in == 0) {
            break;
        } else if (zr == Z_STREAM_END && inflateReset(&z) != Z_OK) {
            rc = sm_err_set(err, SM_PROTO, "it is no .tar.gz, or a damaged one");
        }
    }
    inflateEnd(&z);
    free(piece);
    return rc;
}

/* An octal number of up to w digits, ended by a blank or NUL; false for anything else. */
static bool octal(const char *p, size_t w, uint64_t *out) {
    size_t i = 0;
    *out = 0;
    while (i < w && p[i] == ' ')
        i++;
    for (; i < w && p[i] >= '0' && p[i] <= '7'; i++)
        *out = *out * 8 + (uint64_t)(p[i] - '0');
    for (; i < w; i++)
        if (p[i] != ' ' && p[i] != '\0')
            return false;
    return true;
}

static bool sum_ok(const unsigned char *p) {
    uint64_t sum = 0, said;
    for (size_t i = 0; i < BLOCK; i++)
        sum += i >= offsetof(header, sum) && i < offsetof(header, type) ? ' ' : p[i];
    return octal((const char *)p + offsetof(header, sum), sizeof((header *)0)->sum, &said) &&
           said == sum;
}

static bool blank(const char *p) {
    for (size_t i = 0; i < BLOCK; i++)
        if (p[i])
            return false;
    return true;
}

/* Relative, and no part of it leads up; no bytes that no name should have. */
static bool name_ok(const char *name) {
    if (!*name || *name == '/' || !sm_utf8_valid(name, strlen(name)))
        return false;
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f || *c == '\\')
            return false;
    for (const char *part = name; part;) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        part = part[n] ? part + n + 1 : NULL;
    }
    return true;
}

/* The member's name without "./" in front and "/" behind; "" is the folder itself. */
static void name_of(const header *h, char out[NAME_MAX_BYTES + 2]) {
    size_t n = strnlen(h->name, sizeof h->name);
    bool posix = memcmp(h->magic, "ustar", sizeof h->magic) == 0; /* with its NUL */
    size_t before = posix ? strnlen(h->prefix, sizeof h->prefix) : 0;
    char *at = out;
    memcpy(out, h->prefix, before);
    if (before > 0)
        out[before++] = '/';
    memcpy(out + before, h->name, n);
    out[before + n] = '\0';
    while (at[0] == '.' && at[1] == '/')
        at += 2;
    memmove(out, at, strlen(at) + 1);
    n = strlen(out);
    if (n > 1 && out[n - 1] == '/')
        out[n - 1] = '\0';
    if (strcmp(out, ".") == 0 || strcmp(out, "./") == 0)
        out[0] = '\0';
}

/* Does a pax header give a name, a link or a size, which would overrule the next member's? */
static bool overrules(const char *p, size_t n) {
    static const char *const keys[] = {"path=", "linkpath=", "size=", "GNU.sparse"};
    char *text = sm_memdup(p, n); /* ends in NUL; a NUL inside hides nothing that matters */
    bool found = memchr(p, '\0', n) != NULL;
    for (size_t i = 0; i < SM_ARRAY_LEN(keys) && !found; i++)
        for (const char *at = text; (at = strstr(at, keys[i])) && !found; at++)
            found = at > text && at[-1] == ' ';
    free(text);
    return found;
}

typedef struct scan {
    bool (*want)(const char *name);
    sm_map seen;
    sm_tar_file *files;
    size_t n, cap;
} scan;

static sm_rc take(scan *s, const char *name, const char *text, size_t n, sm_err *err) {
    if (sm_map_put(&s->seen, name, s))
        return sm_err_set(err, SM_PROTO, "it holds %s twice", name);
    if (!s->want(name))
        return SM_OK;
    if (n > SM_TAR_FILE)
        return sm_err_set(err, SM_LIMIT, "%s in it is longer than %d bytes", name, SM_TAR_FILE);
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 16;
        s->files = sm_realloc(s->files, s->cap * sizeof *s->files);
    }
    s->files[s->n++] = (sm_tar_file){sm_strdup(name), sm_memdup(text, n), n};
    return SM_OK;
}

/* One member with its n bytes at text. */
static sm_rc member(scan *s, const header *h, const char *text, size_t n, sm_err *err) {
    char name[NAME_MAX_BYTES + 2];
    name_of(h, name);
    switch (h->type) {
    case 'g':
    case 'x':
        if (!overrules(text, n))
            return SM_OK;
        return sm_err_set(err, SM_PROTO,
                          "it holds a name of more than 255 bytes, or one that is "
                          "no plain text");
    case '0':
    case '\0':
    case '5':
        break;
    default: {
        char *shown = sm_str_printable(name, strlen(name), 200);
        sm_err_set(err, SM_PROTO, "%s in it is a link, a device or another thing that is no file",
                   shown);
        free(shown);
        return SM_PROTO;
    }
    }
    if (h->type == '5' && !*name)
        return SM_OK;
    if (!name_ok(name)) {
        char *shown = sm_str_printable(name, strlen(name), 200);
        sm_err_set(err, SM_PROTO, "the name %s in it leads elsewhere", shown);
        free(shown);
        return SM_PROTO;
    }
    return h->type == '5' ? SM_OK : take(s, name, text, n, err);
}

sm_rc sm_tarball_read(const void *data, size_t n, bool (*want)(const char *name),
                      sm_tar_file **files, size_t *count, sm_err *err) {
    sm_buf all;
    scan s = {.want = want};
    size_t at = 0, members = 0;
    sm_buf_init(&all, SM_TAR_BYTES);
    sm_map_init(&s.seen);
    sm_rc rc = unpack(data, n, &all, err);
    while (rc == SM_OK && at + BLOCK <= all.len && !blank(all.data + at)) {
        header h;
        uint64_t size = 0;
        memcpy(&h, all.data + at, sizeof h);
        at += BLOCK;
        if (!sum_ok((const unsigned char *)&h) || !octal(h.size, sizeof h.size, &size))
            rc = sm_err_set(err, SM_PROTO, "it is no .tar.gz, or a damaged one");
        else if (size > all.len - at)
            rc = sm_err_set(err, SM_PROTO, "it was cut off");
        else if (++members > SM_TAR_MEMBERS)
            rc = sm_err_set(err, SM_LIMIT, "it holds more than %d members", SM_TAR_MEMBERS);
        else
            rc = member(&s, &h, all.data + at, (size_t)size, err);
        size_t whole = ((size_t)size + BLOCK - 1) / BLOCK * BLOCK;
        at = whole > all.len - at ? all.len : at + whole;
    }
    if (rc == SM_OK && members == 0)
        rc = sm_err_set(err, SM_PROTO, "it holds nothing");
    sm_map_fini(&s.seen);
    sm_buf_fini(&all);
    *files = s.files;
    *count = s.n;
    if (rc != SM_OK) {
        sm_tarball_free(s.files, s.n);
        *files = NULL;
        *count = 0;
    }
    return rc;
}

void sm_tarball_free(sm_tar_file *files, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free(files[i].name);
        free(files[i].text);
    }
    free(files);
}
