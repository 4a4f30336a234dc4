/* peek_tail: the last lines of a growing file, each exactly once however it is rotated.
 *
 * A cursor says where the last reader stopped: in which file, behind which byte, and what stood
 * there. When the file at the path is another one, or was emptied, what is left of the old one is
 * read first (peek_rotated.c), then all that came after it, oldest first. The file before the
 * current one stays in the cursor, because a program goes on writing into it until it is told to
 * open its log anew. An incomplete last line is left for the next time. Stateless.
 */
#include "base/peek_internal.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LINE_MAX_BYTES = 8 << 10, /* of a line; the rest is cut */
    LINES_MAX = 50000,        /* in one answer */
    OUT_MAX = 12 << 20,       /* bytes of one answer */
    BYTES_MIN = 1 << 10,
    LINES_DEFAULT = 10
};
static const char cut_sign[] = "\xe2\x80\xa6"; /* … */

/* What one call gathers. */
typedef struct gather {
    sm_buf lines;
    json_int_t count;
    int64_t budget; /* bytes that may still be read */
    bool full;
} gather;

typedef struct line {
    char text[LINE_MAX_BYTES];
    size_t n;    /* bytes kept */
    int64_t all; /* bytes seen */
} line;

static void emit(gather *g, const line *l) {
    const char *p = l->text;
    size_t n = l->n, made_n;
    while (n > 0 && *p == '\0') { /* a file that was emptied under its writer begins with these */
        p++;
        n--;
    }
    bool cut = l->all > (int64_t)l->n;
    if (!cut && n > 0 && p[n - 1] == '\r')
        n--;
    char *made = sm_utf8_repair(p, n, &made_n, NULL);
    if (g->count > 0)
        sm_buf_addc(&g->lines, '\n');
    sm_buf_add(&g->lines, made, cut ? sm_utf8_cut(made, made_n, LINE_MAX_BYTES - 3) : made_n);
    if (cut)
        sm_buf_adds(&g->lines, cut_sign);
    free(made);
    g->count++;
    g->full = g->full || g->count >= LINES_MAX || g->lines.len >= OUT_MAX;
}

/* Adds the lines from m->offset on and moves it behind the last of them. `last`: nothing will be
 * added to the file, an incomplete line counts. */
static sm_rc read_lines(gather *g, int fd, sm_peek_mark *m, bool last, line *l, sm_err *err) {
    char chunk[64 << 10];
    int64_t at = m->offset;
    bool any = false, end = false; /* something was consumed for good; all was seen */
    l->n = 0;
    l->all = 0;
    for (;;) {
        if (g->full || g->budget <= 0) {
            g->full = true;
            break;
        }
        size_t want = g->budget < (int64_t)sizeof chunk ? (size_t)g->budget : sizeof chunk;
        ssize_t got = pread(fd, chunk, want, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return sm_err_sys(err, errno, "the file cannot be read");
        if (got == 0) {
            end = true;
            break;
        }
        g->budget -= got;
        for (ssize_t i = 0; i < got && !g->full; i++, at++) {
            if (chunk[i] != '\n') {
                if (l->n < sizeof l->text && !m->inside)
                    l->text[l->n++] = chunk[i];
                l->all += !m->inside;
                continue;
            }
            if (!m->inside)
                emit(g, l);
            m->inside = false;
            m->offset = at + 1;
            any = true;
            l->n = 0;
            l->all = 0;
        }
    }
    if (m->inside) {
        m->offset = at;
    } else if (l->all > 0 && (end ? last : !any && g->budget <= 0)) {
        /* A line longer than all that may be read at once is given cut, its rest never. */
        l->all += !end;
        emit(g, l);
        m->inside = !end;
        m->offset = at;
        l->n = 0;
        l->all = 0;
    }
    return SM_OK;
}

/* ---- the cursor ---- */

static json_t *mark_json(const sm_peek_mark *m) {
    return json_pack("{s:I, s:I, s:I, s:s, s:s, s:b}", "device", (json_int_t)m->device, "inode",
                     (json_int_t)m->inode, "offset", (json_int_t)m->offset, "head", m->head, "tail",
                     m->tail, "inside", m->inside);
}

static bool mark_read(const json_t *j, sm_peek_mark *m) {
    const char *head = sm_json_str(j, "head", NULL), *tail = sm_json_str(j, "tail", NULL);
    *m = (sm_peek_mark){.device = (uint64_t)sm_json_int(j, "device", -1),
                        .inode = (uint64_t)sm_json_int(j, "inode", -1),
                        .offset = sm_json_int(j, "offset", -1),
                        .inside = sm_json_bool(j, "inside", false),
                        .size = sm_json_int(j, "size", 0)};
    if (!json_is_object(j) || m->offset < 0 || !head || !tail || strlen(head) > 16 ||
        strlen(tail) > 16)
        return false;
    memcpy(m->head, head, strlen(head) + 1);
    memcpy(m->tail, tail, strlen(tail) + 1);
    return true;
}

/* ---- one call ---- */

typedef struct tail {
    const char *path;
    const json_t *grants;
    gather g;
    line *line;
    sm_peek_mark now;    /* where the next call goes on */
    sm_peek_mark before; /* the file before it */
    bool has_before, rotated;
    uint64_t known; /* inode of the file before, as the cursor had it; 0: none */
    char skipped[500];
    sm_peek_siblings found;
    bool looked;
} tail;

static const sm_peek_siblings *siblings(tail *t) {
    if (!t->looked)
        sm_peek_siblings_find(t->path, t->grants, &t->found);
    t->looked = true;
    return &t->found;
}

static void begin_file(sm_peek_mark *m, int fd, const struct stat *st) {
    *m = (sm_peek_mark){.device = st->st_dev, .inode = st->st_ino};
    off_t data = lseek(fd, 0, SEEK_DATA); /* the hole that an emptied file may begin with */
    m->offset = data > 0 ? data : 0;
}

static void keep_before(tail *t, const struct stat *st) {
    t->before = t->now;
    t->before.size = st->st_size;
    t->has_before = true;
}

/* What a program wrote into the file before this one since it was read. */
static void read_before(tail *t, bool last) {
    const sm_peek_siblings *s = siblings(t);
    sm_err err = SM_ERR_INIT;
    for (size_t i = 0; i < s->n; i++) {
        struct stat st;
        if (s->at[i].st.st_ino != t->before.inode || s->at[i].st.st_dev != t->before.device)
            continue;
        int fd = sm_peek_open(s->at[i].path, t->grants, &st, &err);
        if (fd < 0)
            continue;
        bool same = sm_peek_mark_fits(fd, &st, &t->before);
        if (same) {
            read_lines(&t->g, fd, &t->before, last || st.st_size == t->before.size, t->line, &err);
            sm_peek_mark_take(fd, &t->before);
            t->before.size = st.st_size;
        }
        close(fd);
        if (same)
            return;
    }
    t->has_before = false;
}

/* Reads the whole sibling i; false when there is no more room. */
static bool read_sibling(tail *t, size_t i, bool last) {
    const sm_peek_sibling *one = &siblings(t)->at[i];
    struct stat st;
    sm_err err = SM_ERR_INIT;
    int fd = sm_peek_open(one->path, t->grants, &st, &err);
    if (fd < 0)
        return true;
    begin_file(&t->now, fd, &st);
    read_lines(&t->g, fd, &t->now, last, t->line, &err);
    sm_peek_mark_take(fd, &t->now);
    keep_before(t, &st);
    close(fd);
    return !t->g.full;
}

/* Reads what was rotated away after the mark t->now: the rest of its file, then what followed.
 * False when there is no more room: the cursor stays in the file where it ended. */
static bool read_rotated(tail *t, const struct stat *current) {
    const sm_peek_siblings *s = siblings(t);
    struct stat st;
    int fd = -1;
    bool was_read;
    sm_err err = SM_ERR_INIT;
    int at = sm_peek_siblings_match(s, &t->now, t->grants, &fd, &was_read);
    if (at < 0) {
        if (was_read)
            return true;
        char *shown = sm_str_printable(t->path, strlen(t->path), 200);
        sm_err_set(&err, SM_NOT_FOUND,
                   "%s was rotated or emptied; what was written after byte %lld of the old file "
                   "was not found%s",
                   shown, (long long)t->now.offset,
                   s->refused  ? ": the rotated files beside it are not granted"
                   : s->packed ? ": the rotated files beside it are compressed"
                               : "");
        free(shown);
        memcpy(t->skipped, err.msg, sizeof t->skipped - 1);
        return true;
    }
    if (fstat(fd, &st) == 0) {
        t->now.device = st.st_dev;
        t->now.inode = st.st_ino;
    }
    size_t rest = s->n - (size_t)at - 1;
    read_lines(&t->g, fd, &t->now, rest > 0, t->line, &err);
    sm_peek_mark_take(fd, &t->now);
    close(fd);
    if (t->g.full)
        return false;
    keep_before(t, &st);
    for (size_t i = (size_t)at + 1; i < s->n; i++) {
        if ((current && s->at[i].st.st_ino == current->st_ino) || s->at[i].st.st_ino == t->known)
            continue;
        if (!read_sibling(t, i, i + 1 < s->n))
            return false;
    }
    return true;
}

static int64_t mtime_ns(const struct stat *st) {
    return (int64_t)st->st_mtim.tv_sec * SM_NS_PER_S + st->st_mtim.tv_nsec;
}

/* The current file was empty when it was last seen, the newest rotated one was of the time `seen`:
 * whole generations may have come and gone since. */
static bool read_missed(tail *t, int64_t seen, const struct stat *current) {
    const sm_peek_siblings *s = siblings(t);
    sm_peek_mark now = t->now;
    for (size_t i = 0; i < s->n; i++) {
        const struct stat *st = &s->at[i].st;
        if (mtime_ns(st) <= seen || st->st_ino == t->known || st->st_ino == current->st_ino)
            continue;
        t->rotated = true;
        if (!read_sibling(t, i, i + 1 < s->n))
            return false;
    }
    t->now = now;
    return true;
}

/* Goes on where the cursor stands. */
static sm_rc read_on(tail *t, const json_t *cursor, sm_err *err) {
    struct stat st;
    sm_rc rc = SM_OK;
    const json_t *before = json_object_get(cursor, "before");
    if (!mark_read(cursor, &t->now) || (before && !mark_read(before, &t->before)))
        return sm_err_set(err, SM_INVALID, "the cursor is not one that an earlier tail gave");
    t->has_before = before != NULL;
    t->known = before ? t->before.inode : 0;
    int fd = sm_peek_open(t->path, t->grants, &st, err);
    if (fd < 0 && err->code != SM_NOT_FOUND)
        return err->code;
    bool same = fd >= 0 && sm_peek_mark_fits(fd, &st, &t->now), room = true;
    if (t->has_before)
        read_before(t, !same);
    if (same) {
        if (t->now.offset == 0 && !t->g.full)
            room = read_missed(t, sm_json_int(cursor, "seen", INT64_MAX), &st);
    } else {
        room = !t->g.full && read_rotated(t, fd >= 0 ? &st : NULL);
        if (fd < 0 && t->skipped[0])
            return SM_NOT_FOUND; /* err says it */
        t->rotated = true;
        if (fd >= 0 && room)
            begin_file(&t->now, fd, &st);
    }
    if (fd >= 0 && room && !t->g.full) {
        rc = read_lines(&t->g, fd, &t->now, false, t->line, err);
        sm_peek_mark_take(fd, &t->now);
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

/* Where the last `want` lines begin, an incomplete one not counted; at most `budget` bytes back. */
static int64_t last_lines(int fd, int64_t size, int64_t want, int64_t budget) {
    char chunk[64 << 10];
    int64_t seen = 0, end = size, low = size > budget ? size - budget : 0, least = -1;
    while (end > low) {
        size_t n = end - low < (int64_t)sizeof chunk ? (size_t)(end - low) : sizeof chunk;
        ssize_t got = pread(fd, chunk, n, (off_t)(end - (int64_t)n));
        if (got != (ssize_t)n)
            break;
        for (size_t i = n; i-- > 0;) {
            if (chunk[i] != '\n')
                continue;
            least = end - (int64_t)n + (int64_t)i + 1;
            if (seen++ == want)
                return least;
        }
        end -= (int64_t)n;
    }
    if (low == 0)
        return 0;
    return least >= 0 ? least : size;
}

static sm_rc read_first(tail *t, bool start, int64_t lines, sm_err *err) {
    struct stat st;
    int fd = sm_peek_open(t->path, t->grants, &st, err);
    if (fd < 0)
        return err->code;
    t->now = (sm_peek_mark){.device = st.st_dev, .inode = st.st_ino};
    if (!start)
        t->now.offset = last_lines(fd, st.st_size, lines, t->g.budget);
    sm_rc rc = read_lines(&t->g, fd, &t->now, false, t->line, err);
    sm_peek_mark_take(fd, &t->now);
    close(fd);
    return rc;
}

static void answer(tail *t, sm_peeked *out) {
    json_t *cursor = mark_json(&t->now);
    if (t->before.inode == t->now.inode && t->before.device == t->now.device)
        t->has_before = false; /* the current file is missing: the older one stands for it */
    if (t->now.offset == 0) {
        const sm_peek_siblings *s = siblings(t);
        int64_t seen = s->n > 0 ? mtime_ns(&s->at[s->n - 1].st) : 0;
        json_object_set_new(cursor, "seen", json_integer(seen));
    }
    if (t->has_before) {
        json_t *before = mark_json(&t->before);
        json_object_set_new(before, "size", json_integer(t->before.size));
        json_object_set_new(cursor, "before", before);
    }
    out->value = json_pack("{s:I, s:o, s:b, s:b}", "count", t->g.count, "cursor", cursor, "rotated",
                           t->rotated, "truncated", t->g.full);
    if (t->skipped[0])
        json_object_set_new(out->value, "skipped", sm_json_text(t->skipped, strlen(t->skipped)));
    if (t->line->n > 0 && !t->g.full)
        json_object_set_new(out->value, "partial", sm_json_text(t->line->text, t->line->n));
    out->body = sm_buf_take(&t->g.lines, &out->body_n);
}

sm_rc sm_peek_tail(const json_t *args, const json_t *grants, sm_peeked *out, sm_err *err) {
    const json_t *cursor = json_object_get(args, "cursor");
    int64_t lines = sm_json_int(args, "lines", LINES_DEFAULT);
    bool start = sm_json_bool(args, "start", false);
    int64_t bytes = sm_json_int(args, "bytes", SM_PEEK_READ_DEFAULT);
    if (lines < 0 || lines > SM_PEEK_LINES_MAX || bytes < BYTES_MIN || bytes > SM_PEEK_READ_MAX)
        return sm_err_set(err, SM_INVALID, "expected at most %d lines and %d to %d bytes",
                          SM_PEEK_LINES_MAX, BYTES_MIN, SM_PEEK_READ_MAX);
    tail t = {.path = sm_json_str(args, "path", ""), .grants = grants};
    sm_buf_init(&t.g.lines, OUT_MAX + 4 * LINE_MAX_BYTES);
    t.g.budget = bytes;
    t.line = sm_calloc(1, sizeof *t.line);
    sm_rc rc = cursor ? read_on(&t, cursor, err) : read_first(&t, start, lines, err);
    if (rc == SM_OK)
        answer(&t, out);
    sm_peek_siblings_fini(&t.found);
    sm_buf_fini(&t.g.lines);
    free(t.line);
    return rc;
}
