/* salvage: reads what can still be read of a damaged database, on a copy of it that is made
 * readable first, and hands it over row by row.
 *
 * The copy gets the transactions of the journal that are whole; and where its first page is lost, a
 * new one that says where the tables lie: their first pages are always the same, because they come
 * from the same migrations (auto_vacuum keeps the first page of a table where it was made). Rows
 * are read in the order of their key; behind a damaged page reading goes on at the next key that
 * can be reached. Called by op_salvage, on the store's thread.
 */
#include "store/salvage.h"

#include "base/embedded.h"
#include "base/fsx.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WAL_HEAD = 32, FRAME_HEAD = 24, PAGE_USUAL = 4096, PIECE = 1 << 18 };

static uint32_t be32(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t le32(const unsigned char *p) {
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static void put32(unsigned char *p, uint32_t x) {
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(x >> (24 - 8 * i));
}

/* Reads what is there of n bytes; the rest is zero. A page that the disk cannot read is a page of
 * zeros. */
static size_t read_some(int fd, void *out, size_t n, int64_t at) {
    size_t got = 0;
    memset(out, 0, n);
    while (got < n) {
        ssize_t k = pread(fd, (char *)out + got, n - got, at + (int64_t)got);
        if (k <= 0)
            break;
        got += (size_t)k;
    }
    return got;
}

static bool write_at(int fd, const void *p, size_t n, int64_t at) {
    return pwrite(fd, p, n, at) == (ssize_t)n;
}

/* ---- the copy ---- */

static sm_rc copy_file(const char *from, const char *to, int *out, sm_err *err) {
    struct stat st;
    char *piece = sm_malloc(PIECE);
    sm_rc rc = SM_OK;
    int in = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *out = -1;
    if (in < 0 || fstat(in, &st) != 0)
        rc = sm_err_sys(err, errno, "%s", from);
    else if ((*out = open(to, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        rc = sm_err_sys(err, errno, "%s", to);
    for (int64_t at = 0; rc == SM_OK && at < st.st_size; at += PIECE) {
        size_t n = st.st_size - at < PIECE ? (size_t)(st.st_size - at) : PIECE;
        read_some(in, piece, n, at);
        if (!write_at(*out, piece, n, at))
            rc = sm_err_sys(err, errno, "%s", to);
    }
    if (in >= 0)
        close(in);
    free(piece);
    return rc;
}

/* Of the header, or what we always use. */
static uint32_t page_size_of(int fd) {
    unsigned char head[100];
    read_some(fd, head, sizeof head, 0);
    uint32_t size = (uint32_t)head[16] << 8 | head[17];
    size = size == 1 ? 65536 : size;
    bool ours = memcmp(head, "SQLite format 3", 16) == 0;
    return ours && size >= 512 && (size & (size - 1)) == 0 ? size : PAGE_USUAL;
}

/* ---- the journal (fileformat2.html, section 4) ---- */

static void checksum(bool big, const unsigned char *p, size_t n, uint32_t s[2]) {
    for (size_t i = 0; i < n; i += 8) {
        s[0] += (big ? be32(p + i) : le32(p + i)) + s[1];
        s[1] += (big ? be32(p + i + 4) : le32(p + i + 4)) + s[0];
    }
}

/* Puts frames from..to of the journal into the copy. */
static sm_rc apply_frames(int wal, int fd, int64_t from, int64_t to, uint32_t size, sm_err *err) {
    unsigned char *frame = sm_malloc(FRAME_HEAD + size);
    sm_rc rc = SM_OK;
    for (int64_t at = from; at < to && rc == SM_OK; at += FRAME_HEAD + size) {
        read_some(wal, frame, FRAME_HEAD + size, at);
        if (!write_at(fd, frame + FRAME_HEAD, size, (int64_t)(be32(frame) - 1) * size))
            rc = sm_err_sys(err, errno, "the copy");
    }
    free(frame);
    return rc;
}

/* Every transaction that is there as a whole. */
static sm_rc apply_journal(const char *path, int fd, uint32_t size, sm_err *err) {
    unsigned char head[WAL_HEAD];
    uint32_t sum[2] = {0, 0};
    sm_rc rc = SM_OK;
    int wal = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (wal < 0)
        return SM_OK;
    bool whole = read_some(wal, head, WAL_HEAD, 0) == WAL_HEAD;
    bool big = (be32(head) & 1) != 0;
    checksum(big, head, 24, sum);
    if (!whole || (be32(head) & ~1U) != 0x377f0682 || be32(head + 8) != size ||
        sum[0] != be32(head + 24) || sum[1] != be32(head + 28)) {
        close(wal);
        return SM_OK;
    }
    unsigned char *frame = sm_malloc(FRAME_HEAD + size);
    int64_t begin = WAL_HEAD, at = WAL_HEAD;
    while (rc == SM_OK && read_some(wal, frame, FRAME_HEAD + size, at) == FRAME_HEAD + size) {
        checksum(big, frame, 8, sum);
        checksum(big, frame + FRAME_HEAD, size, sum);
        if (memcmp(frame + 8, head + 16, 8) != 0 || be32(frame) == 0 ||
            sum[0] != be32(frame + 16) || sum[1] != be32(frame + 20))
            break;
        at += FRAME_HEAD + size;
        if (be32(frame + 4) == 0)
            continue; /* not the end of a transaction */
        rc = apply_frames(wal, fd, begin, at, size, err);
        begin = at;
    }
    free(frame);
    close(wal);
    return rc;
}

/* ---- a new first page ---- */

static int exec(sqlite3 *h, const char *sql) {
    return sqlite3_exec(h, sql, NULL, NULL, NULL);
}

static sqlite3_stmt *prepare(sqlite3 *h, const char *sql) {
    sqlite3_stmt *st = NULL;
    return sqlite3_prepare_v2(h, sql, -1, &st, NULL) == SQLITE_OK ? st : NULL;
}

/* A short CREATE TABLE for a table of the model, and where its first page lies. */
static char *short_table(sqlite3 *model, const char *name) {
    char *sql =
        sqlite3_mprintf("SELECT name, type, pk, (SELECT wr FROM pragma_table_list WHERE name "
                        "= %Q) FROM pragma_table_info(%Q) ORDER BY cid",
                        name, name);
    sqlite3_stmt *st = prepare(model, sql);
    sqlite3_free(sql);
    char *columns = sqlite3_mprintf(""), *key = sqlite3_mprintf("");
    bool without = false;
    while (st != NULL && sqlite3_step(st) == SQLITE_ROW) {
        const char *column = (const char *)sqlite3_column_text(st, 0);
        int pk = sqlite3_column_int(st, 2);
        without = sqlite3_column_int(st, 3) != 0;
        bool rowid = pk == 1 && !without;
        columns = sqlite3_mprintf("%z%s\"%w\"%s", columns, *columns ? "," : "", column,
                                  rowid ? " INTEGER PRIMARY KEY" : "");
        if (pk > 0 && without)
            key = sqlite3_mprintf("%z,\"%w\"", key, column);
    }
    sqlite3_finalize(st);
    char *out = without ? sqlite3_mprintf("CREATE TABLE %s(%s,PRIMARY KEY(%s)) WITHOUT ROWID", name,
                                          columns, key + 1)
                        : sqlite3_mprintf("CREATE TABLE %s(%s)", name, columns);
    sqlite3_free(columns);
    sqlite3_free(key);
    return out;
}

/* The schema of this program in an empty database. */
static sqlite3 *make_model(void) {
    sqlite3 *h = NULL;
    int rc = sqlite3_open(":memory:", &h);
    if (rc == SQLITE_OK)
        rc = exec(h, "PRAGMA auto_vacuum = INCREMENTAL");
    for (const sm_embedded *e = sm_embedded_sql; e->name != NULL && rc == SQLITE_OK; e++)
        rc = exec(h, e->begin);
    if (rc == SQLITE_OK)
        return h;
    sqlite3_close(h);
    return NULL;
}

static int root_of(sqlite3 *model, const char *name) {
    char *sql = sqlite3_mprintf("SELECT rootpage FROM sqlite_schema WHERE name = %Q", name);
    sqlite3_stmt *st = prepare(model, sql);
    int root = st != NULL && sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int(st, 0) : 0;
    sqlite3_finalize(st);
    sqlite3_free(sql);
    return root;
}

/* Only what must not be lost has room on one page. */
static const char *const told_again[] = {"events", "outbox", "attempts", "dims"};

static bool make_page(const char *path, uint32_t size, unsigned char *page) {
    sqlite3 *model = make_model(), *h = NULL;
    bool ok = model != NULL && sqlite3_open(path, &h) == SQLITE_OK;
    char *text = sqlite3_mprintf("PRAGMA page_size = %u; PRAGMA writable_schema = ON", size);
    ok = ok && exec(h, text) == SQLITE_OK;
    sqlite3_free(text);
    for (size_t i = 0; ok && i < SM_ARRAY_LEN(told_again); i++) {
        char *sql = short_table(model, told_again[i]);
        ok = exec(h, sql) == SQLITE_OK;
        sqlite3_free(sql);
    }
    for (size_t i = 0; ok && i < SM_ARRAY_LEN(told_again); i++) {
        text = sqlite3_mprintf("UPDATE sqlite_schema SET rootpage = %d WHERE name = %Q",
                               root_of(model, told_again[i]), told_again[i]);
        ok = exec(h, text) == SQLITE_OK;
        sqlite3_free(text);
    }
    sqlite3_close(h);
    sqlite3_close(model);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ok = ok && fd >= 0 && read_some(fd, page, size, 0) == size && page[100] == 0x0d;
    if (fd >= 0)
        close(fd);
    unlink(path);
    return ok;
}

static sm_rc replace_first_page(const char *work, int fd, uint32_t size, sm_err *err) {
    struct stat st;
    unsigned char *page = sm_malloc(size);
    char *path = sm_asprintf("%s.page", work);
    sm_rc rc = SM_OK;
    unlink(path);
    if (fstat(fd, &st) != 0)
        rc = sm_err_sys(err, errno, "%s", work);
    else if (!make_page(path, size, page))
        rc = sm_err_set(err, SM_INTERNAL, "the schema does not fit on a page of %u bytes", size);
    if (rc == SM_OK) {
        put32(page + 28, (uint32_t)((st.st_size + size - 1) / size));
        if (!write_at(fd, page, size, 0))
            rc = sm_err_sys(err, errno, "%s", work);
    }
    free(path);
    free(page);
    return rc;
}

/* ---- */

static bool readable(sqlite3 *h) {
    sqlite3_stmt *st = prepare(h, "SELECT seq, event_id FROM events ORDER BY seq LIMIT 1");
    bool ok = st != NULL;
    if (ok)
        sqlite3_step(st); /* its rows may be damaged; the table is known */
    sqlite3_finalize(st);
    return ok;
}

static sqlite3 *open_copy(const char *work) {
    sqlite3 *h = NULL;
    char *uri = sm_place_uri(work, "immutable=1");
    if (sqlite3_open_v2(uri, &h, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK ||
        exec(h, "PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF") != SQLITE_OK ||
        !readable(h)) {
        sqlite3_close(h);
        h = NULL;
    }
    free(uri);
    return h;
}

sm_rc sm_salvage_open(const char *path, const char *work, sqlite3 **out, bool *rebuilt,
                      sm_err *err) {
    int fd = -1;
    char *wal = sm_asprintf("%s-wal", path);
    *out = NULL;
    *rebuilt = false;
    unlink(work);
    sm_rc rc = copy_file(path, work, &fd, err);
    uint32_t size = fd >= 0 ? page_size_of(fd) : PAGE_USUAL;
    if (rc == SM_OK)
        rc = apply_journal(wal, fd, size, err);
    if (rc == SM_OK && (*out = open_copy(work)) == NULL) {
        *rebuilt = true;
        rc = replace_first_page(work, fd, size, err);
        if (rc == SM_OK && (*out = open_copy(work)) == NULL)
            rc = sm_err_set(err, SM_INVALID, "nothing of %s can be read as a database", path);
    }
    if (fd >= 0)
        close(fd);
    free(wal);
    return rc;
}
