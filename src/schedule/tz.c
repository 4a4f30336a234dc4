/* tz: time zones from TZif files (RFC 8536), our own reader.
 *
 * Parses version 2 and later (64-bit times and the POSIX footer), answers offsets for any instant
 * and finds the next change. Refuses version 1 files, files that count leap seconds ("right/") and
 * every inconsistency; arbitrary bytes are safe. Never touches TZ or libc's zone state. A zone is
 * immutable after loading: cron, the Lua time module and any thread may share it.
 */
#include "schedule/tz.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include "schedule/tz_internal.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    TZ_FILE_MAX = 1 << 20,
    TZ_TIMES_MAX = 20000, /* changes in one file; the largest real one has some 250 */
    TZ_CHARS_MAX = 4096,
    TZ_NAME_MAX = 128,
    TZ_NAMES_MAX = 20000, /* files looked at for a nearest name */
    TZ_HEADER = 44
};

/* Instants further away than this are answered as if they were here (some 30 million years). */
#define TZ_FAR INT64_C(1000000000000000)

typedef struct tz_type {
    int32_t offset; /* seconds east */
    bool dst;
    const char *abbrev; /* into the zone's chars */
} tz_type;

typedef struct tz_file { /* which file it was */
    uint64_t dev, ino;
    int64_t size, s, ns; /* bytes; time of the last change */
} tz_file;

struct sm_tz {
    char *name;
    char *path; /* NULL: not from a file */
    tz_file file;
    size_t times_n; /* changes */
    int64_t *times; /* strictly ascending, UTC */
    uint8_t *kinds; /* type that begins at times[i] */
    tz_type *types; /* at least one */
    char *chars;    /* abbreviations, NUL-terminated */
    bool has_rule;  /* the rule holds from the last change on (or always) */
    tz_rule rule;
};

/* Counts of one header of a TZif file. */
typedef struct tz_counts {
    uint32_t isut, isstd, leap, time, type, chars;
} tz_counts;

typedef struct tz_reader {
    const unsigned char *p;
    size_t n;
} tz_reader;

static const unsigned char *take(tz_reader *r, size_t n) {
    if (n > r->n) {
        return NULL;
    }
    const unsigned char *p = r->p;
    r->p += n;
    r->n -= n;
    return p;
}

static uint32_t be32(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t be64(const unsigned char *p) {
    return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

/* Reads a header; returns what is wrong with it, or NULL. */
static const char *read_header(tz_reader *r, tz_counts *c) {
    const unsigned char *p = take(r, TZ_HEADER);
    if (!p || memcmp(p, "TZif", 4) != 0) {
        return "it is not a TZif file";
    }
    if (p[4] < '2') {
        return "it has version 1 (32-bit times); expected version 2 or later";
    }
    c->isut = be32(p + 20);
    c->isstd = be32(p + 24);
    c->leap = be32(p + 28);
    c->time = be32(p + 32);
    c->type = be32(p + 36);
    c->chars = be32(p + 40);
    if (c->time > TZ_TIMES_MAX || c->type > 256 || c->chars > TZ_CHARS_MAX || c->leap > 1000 ||
        c->isut > 256 || c->isstd > 256) {
        return "its counts are out of range";
    }
    return NULL;
}

/* The types and their names; returns what is wrong, or NULL. */
static const char *read_types(sm_tz *z, const tz_counts *c, const unsigned char *types,
                              const unsigned char *chars) {
    z->chars = sm_memdup(chars, c->chars); /* adds a NUL, so every index is a string */
    z->types = sm_calloc(c->type, sizeof *z->types);
    for (uint32_t i = 0; i < c->type; i++) {
        const unsigned char *p = types + 6 * (size_t)i;
        int32_t offset = (int32_t)be32(p);
        /* RFC 8536, 3.2: utoff SHOULD be from -89999 to 93599. */
        if (offset < -89999 || offset > 93599 || p[4] > 1 || p[5] >= c->chars) {
            return "one of its local time types is out of range";
        }
        z->types[i] = (tz_type){offset, p[4] == 1, z->chars + p[5]};
    }
    return NULL;
}

static const char *read_times(sm_tz *z, const tz_counts *c, const unsigned char *times,
                              const unsigned char *kinds) {
    z->times_n = c->time;
    z->times = sm_calloc(c->time, sizeof *z->times);
    z->kinds = (uint8_t *)sm_memdup(kinds, c->time);
    for (uint32_t i = 0; i < c->time; i++) {
        z->times[i] = be64(times + 8 * (size_t)i);
        if (i > 0 && z->times[i] <= z->times[i - 1]) {
            return "its changes are not in ascending order";
        }
        if (kinds[i] >= c->type) {
            return "a change names a local time type that is not there";
        }
    }
    return NULL;
}

/* The footer: a line end, the rule (may be empty), a line end. */
static const char *read_footer(sm_tz *z, tz_reader *r) {
    const unsigned char *p = take(r, 1);
    const unsigned char *end = p && *p == '\n' ? memchr(r->p, '\n', r->n) : NULL;
    if (!end) {
        return "its footer is missing";
    }
    size_t n = (size_t)(end - r->p);
    if (n == 0) {
        return NULL;
    }
    z->has_rule = true;
    return tz_rule_parse((const char *)r->p, n, &z->rule) ? NULL
                                                          : "the rule in its footer is invalid";
}

/* Fills the zone from the bytes; returns what is wrong with them, or NULL. */
static const char *read_zone(sm_tz *z, tz_reader *r) {
    tz_counts c;
    const char *why = read_header(r, &c);
    if (why) {
        return why;
    }
    /* The first block repeats the data with 32-bit times for old readers. */
    if (!take(r, (size_t)c.time * 5 + (size_t)c.type * 6 + c.chars + (size_t)c.leap * 8 + c.isstd +
                     c.isut)) {
        return "it is cut off";
    }
    why = read_header(r, &c);
    if (why) {
        return why;
    }
    if (c.leap > 0) {
        return "it counts leap seconds; expected a zone of Unix time";
    }
    if (c.type == 0 || c.chars == 0 || (c.isut && c.isut != c.type) ||
        (c.isstd && c.isstd != c.type)) {
        return "its counts do not fit together";
    }
    const unsigned char *times = take(r, (size_t)c.time * 8);
    const unsigned char *kinds = take(r, c.time);
    const unsigned char *types = take(r, (size_t)c.type * 6);
    const unsigned char *chars = take(r, c.chars);
    const unsigned char *marks = take(r, c.isstd + (size_t)c.isut);
    if (!times || !kinds || !types || !chars || !marks) {
        return "it is cut off";
    }
    why = read_types(z, &c, types, chars);
    if (!why) {
        why = read_times(z, &c, times, kinds);
    }
    return why ? why : read_footer(z, r);
}

sm_rc sm_tz_parse(const void *p, size_t n, const char *name, sm_tz **out, sm_err *err) {
    *out = NULL;
    sm_tz *z = sm_calloc(1, sizeof *z);
    z->name = sm_strdup(name);
    tz_reader r = {p, n};
    const char *why = read_zone(z, &r);
    if (why) {
        sm_tz_free(z);
        return sm_err_set(err, SM_INVALID, "the file of time zone \"%s\" cannot be used: %s", name,
                          why);
    }
    *out = z;
    return SM_OK;
}

static sm_tz *utc_new(void) {
    sm_tz *z = sm_calloc(1, sizeof *z);
    z->name = sm_strdup("UTC");
    z->chars = sm_strdup("UTC");
    z->types = sm_calloc(1, sizeof *z->types);
    z->types[0].abbrev = z->chars;
    return z;
}

void sm_tz_free(sm_tz *z) {
    if (z) {
        free(z->name);
        free(z->path);
        free(z->times);
        free(z->kinds);
        free(z->types);
        free(z->chars);
        free(z);
    }
}

const char *sm_tz_name(const sm_tz *z) {
    return z ? z->name : "UTC";
}

/* A name is relative, without "." parts: it must not lead out of the zone folder. */
static bool name_is_sane(const char *name) {
    size_t n = strlen(name);
    if (n == 0 || n > TZ_NAME_MAX || name[0] == '/' || name[n - 1] == '/') {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '+' || c == '-' || c == '/';
        if (!good) {
            return false;
        }
    }
    return true;
}

/* The zone a person may have meant, by the whole name or by its last part ("Berlin"); "" if none.
 */
static void nearest_zone(const char *dir, const char *name, char *hint, size_t cap) {
    sm_fsx_entry *e = NULL;
    size_t n = 0;
    hint[0] = '\0';
    if (sm_fsx_walk(dir, "", TZ_NAMES_MAX, &e, &n, NULL, NULL)) {
        return;
    }
    const char **full = sm_calloc(n, sizeof *full);
    const char **last = sm_calloc(n, sizeof *last);
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        const char *rel = e[i].rel;
        if (rel[0] >= 'A' && rel[0] <= 'Z' && name_is_sane(rel)) {
            full[count] = rel;
            last[count] = sm_fsx_basename(rel);
            count++;
        }
    }
    sm_str_hint(name, full, count, hint, cap);
    const char *part = hint[0] ? NULL : sm_str_nearest(sm_fsx_basename(name), last, count);
    for (size_t i = 0; part && i < count; i++) {
        if (last[i] == part) {
            sm_str_hint(full[i], &full[i], 1, hint, cap);
            break;
        }
    }
    free(full);
    free(last);
    sm_fsx_entries_free(e, n);
}

static bool file_of(const char *path, tz_file *out) {
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode)) {
        return false;
    }
    *out = (tz_file){.dev = st.st_dev,
                     .ino = st.st_ino,
                     .size = st.st_size,
                     .s = st.st_mtim.tv_sec,
                     .ns = st.st_mtim.tv_nsec};
    return true;
}

sm_tz_state sm_tz_look(const sm_tz *z) {
    tz_file now;
    if (!z || !z->path) {
        return SM_TZ_SAME;
    }
    if (!file_of(z->path, &now)) {
        return SM_TZ_GONE;
    }
    const tz_file *f = &z->file;
    bool same = now.dev == f->dev && now.ino == f->ino && now.size == f->size && now.s == f->s &&
                now.ns == f->ns;
    return same ? SM_TZ_SAME : SM_TZ_CHANGED;
}

const char *sm_tz_path(const sm_tz *z) {
    return z && z->path ? z->path : "";
}

sm_rc sm_tz_load(const char *dir, const char *name, sm_tz **out, sm_err *err) {
    *out = NULL;
    if (strcmp(name, "UTC") == 0) {
        *out = utc_new();
        return SM_OK;
    }
    if (!dir) {
        dir = getenv("TZDIR");
        dir = dir && dir[0] == '/' ? dir : "/usr/share/zoneinfo";
    }
    char *path = sm_fsx_join(dir, name);
    char *shown = sm_str_printable(name, strlen(name), TZ_NAME_MAX);
    char *data = NULL;
    size_t n = 0;
    sm_rc rc = SM_INVALID;
    tz_file file = {0};
    if (name_is_sane(name)) {
        file_of(path, &file); /* before it is read: a change in between is seen later */
        rc = sm_fsx_read(path, TZ_FILE_MAX, &data, &n, err);
    }
    if (rc == SM_OK) {
        rc = sm_tz_parse(data, n, name, out, err);
        if (rc == SM_OK) {
            (*out)->path = path;
            (*out)->file = file;
            path = NULL;
        }
    } else if (!sm_fsx_is_dir(dir)) {
        rc = sm_err_set(err, SM_INVALID,
                        "unknown time zone \"%s\": this machine has no zone files in %s (package "
                        "tzdata)",
                        shown, dir);
    } else if (rc == SM_INVALID || rc == SM_NOT_FOUND) {
        char hint[TZ_NAME_MAX + 32];
        nearest_zone(dir, name, hint, sizeof hint);
        rc = sm_err_set(err, SM_INVALID,
                        "unknown time zone \"%s\": expected an IANA name like Europe/Berlin%s",
                        shown, hint);
    }
    free(shown);
    free(data);
    free(path);
    return rc;
}

/* Index of the last change at or before utc, or times_n when there is none. */
static size_t last_change(const sm_tz *z, int64_t utc) {
    size_t low = 0;
    size_t high = z->times_n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (z->times[mid] <= utc) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low > 0 ? low - 1 : z->times_n;
}

static int64_t near(int64_t utc) {
    return utc > TZ_FAR ? TZ_FAR : utc < -TZ_FAR ? -TZ_FAR : utc;
}

int32_t sm_tz_offset(const sm_tz *z, int64_t utc, int *is_dst, const char **abbrev) {
    int32_t offset = 0;
    bool dst = false;
    const char *name = "UTC";
    if (z) {
        utc = near(utc);
        size_t i = last_change(z, utc);
        /* RFC 8536, 3.2: type 0 holds before the first change, the footer from the last one on. */
        bool ruled = z->has_rule && (z->times_n == 0 || i == z->times_n - 1);
        if (ruled) {
            dst = tz_rule_is_dst(&z->rule, utc);
            offset = dst ? z->rule.dst_offset : z->rule.std_offset;
            name = dst ? z->rule.dst_name : z->rule.std_name;
        } else {
            const tz_type *t = &z->types[i < z->times_n ? z->kinds[i] : 0];
            offset = t->offset;
            dst = t->dst;
            name = t->abbrev;
        }
    }
    if (is_dst) {
        *is_dst = dst;
    }
    if (abbrev) {
        *abbrev = name;
    }
    return offset;
}

static bool changes_at(const sm_tz *z, int64_t at) {
    return sm_tz_offset(z, at, NULL, NULL) != sm_tz_offset(z, at - 1, NULL, NULL);
}

bool sm_tz_next_change(const sm_tz *z, int64_t utc, int64_t *at) {
    if (!z || utc >= TZ_FAR) {
        return false;
    }
    utc = near(utc);
    size_t i = last_change(z, utc);
    for (i = i < z->times_n ? i + 1 : 0; i < z->times_n; i++) {
        if (z->times[i] > utc && changes_at(z, z->times[i])) {
            *at = z->times[i];
            return true;
        }
    }
    if (!z->has_rule) {
        return false;
    }
    int64_t from = z->times_n && z->times[z->times_n - 1] > utc ? z->times[z->times_n - 1] : utc;
    tz_event events[TZ_RULE_EVENTS];
    size_t n = tz_rule_events(&z->rule, near(from), events);
    for (i = 0; i < n; i++) {
        if (events[i].at > from && changes_at(z, events[i].at)) {
            *at = events[i].at;
            return true;
        }
    }
    return false;
}
