/* sql: prepared statements and their values: a cache by the address of the SQL literal, binding by
 * a format, columns to JSON, and SQLite's codes turned into ours with a sentence.
 *
 * Refuses: to build SQL from data. Called by every room of src/store, on the thread that owns the
 * sm_core.
 */
#include "store/store_internal.h"

#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

bool sm_sql_is_full(const sm_core *c) {
    /* SQLite says SQLITE_FULL for ENOSPC at a write only; a quota or a limit on the size of
     * files comes as SQLITE_IOERR. */
    if ((c->failed_rc & 0xff) == SQLITE_FULL)
        return true;
    return (c->failed_rc & 0xff) == SQLITE_IOERR &&
           (c->failed_errno == ENOSPC || c->failed_errno == EDQUOT || c->failed_errno == EFBIG);
}

static sm_rc fail(sm_core *c, sm_err *err, const char *what, int errnum) {
    int rc = sqlite3_extended_errcode(c->h);
    c->failed_rc = rc;
    c->failed_errno = errnum;
    if (sm_sql_is_full(c))
        return sm_err_set(err, SM_FULL, "outbox is full: no space left on the file system of %s",
                          c->dir);
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return sm_err_set(err, SM_BUSY, "the database %s is held by another process", c->path);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return sm_err_set(err, SM_IO, "the database %s is corrupt: %s", c->path,
                          sqlite3_errmsg(c->h));
    case SQLITE_CONSTRAINT:
        return sm_err_set(err, SM_INVALID, "%s: %s", what, sqlite3_errmsg(c->h));
    case SQLITE_TOOBIG:
        return sm_err_set(err, SM_LIMIT, "%s: a text or a row is too long for the database", what);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return sm_err_set(err, SM_DENIED, "the database %s cannot be written: %s", c->path,
                          sqlite3_errmsg(c->h));
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        if (c->failed_errno == EACCES || c->failed_errno == EPERM)
            return sm_err_set(err, SM_DENIED, "the database %s cannot be opened: %s", c->path,
                              strerror(c->failed_errno));
        return sm_err_set(err, SM_IO, "the database %s: %s%s%s", c->path, sqlite3_errmsg(c->h),
                          c->failed_errno != 0 ? ": " : "",
                          c->failed_errno != 0 ? strerror(c->failed_errno) : "");
    default:
        return sm_err_set(err, SM_INTERNAL, "%s: %s", what, sqlite3_errmsg(c->h));
    }
}

sm_rc sm_sql_fail(sm_core *c, sm_err *err, const char *what) {
    return fail(c, err, what, sqlite3_system_errno(c->h));
}

static size_t slot_of(const char *sql) {
    uintptr_t p = (uintptr_t)sql;
    return (size_t)((p ^ (p >> 7) ^ (p >> 15)) % SM_SQL_CACHE);
}

/* The cached statement of a literal, prepared when it is met for the first time. */
static sqlite3_stmt *prepared(sm_core *c, const char *sql, sm_err *err) {
    size_t i = slot_of(sql), tried = 0;
    while (c->cache[i].sql != NULL && c->cache[i].sql != sql && tried < SM_SQL_CACHE) {
        i = (i + 1) % SM_SQL_CACHE;
        tried++;
    }
    if (c->cache[i].sql == sql)
        return c->cache[i].st;
    if (c->cache[i].sql != NULL) {
        sm_err_set(err, SM_INTERNAL, "more statements than the cache holds");
        return NULL;
    }
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v3(c->h, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL) != SQLITE_OK) {
        sm_sql_fail(c, err, "prepare");
        return NULL;
    }
    c->cache[i].sql = sql;
    c->cache[i].st = st;
    return st;
}

void sm_sql_forget(sm_core *c) {
    for (size_t i = 0; i < SM_SQL_CACHE; i++) {
        sqlite3_finalize(c->cache[i].st);
        c->cache[i].st = NULL;
        c->cache[i].sql = NULL;
    }
}

static int bind_any(sqlite3_stmt *st, int i, const json_t *v) {
    if (v == NULL || json_is_null(v))
        return sqlite3_bind_null(st, i);
    if (json_is_string(v))
        return sqlite3_bind_text64(st, i, json_string_value(v), json_string_length(v),
                                   SQLITE_STATIC, SQLITE_UTF8);
    if (json_is_integer(v))
        return sqlite3_bind_int64(st, i, json_integer_value(v));
    if (json_is_real(v))
        return sqlite3_bind_double(st, i, json_real_value(v));
    size_t n;
    char *text = sm_json_dump(v, &n);
    return sqlite3_bind_blob64(st, i, text, n, free);
}

static int bind_one(sqlite3_stmt *st, int i, char kind, va_list *ap) {
    switch (kind) {
    case 't':
        return sqlite3_bind_text(st, i, va_arg(*ap, const char *), -1, SQLITE_STATIC);
    case 'i':
        return sqlite3_bind_int64(st, i, va_arg(*ap, int64_t));
    case 'r':
        return sqlite3_bind_double(st, i, va_arg(*ap, double));
    case 'b':
        return sqlite3_bind_int(st, i, va_arg(*ap, int) != 0);
    case 's': {
        const json_t *v = va_arg(*ap, const json_t *);
        if (!json_is_string(v))
            return sqlite3_bind_null(st, i);
        return sqlite3_bind_text64(st, i, json_string_value(v), json_string_length(v),
                                   SQLITE_STATIC, SQLITE_UTF8);
    }
    case 'j':
        return bind_any(st, i, va_arg(*ap, const json_t *));
    case 'd': {
        const json_t *v = va_arg(*ap, const json_t *);
        if (v == NULL)
            return sqlite3_bind_null(st, i);
        size_t n;
        char *text = sm_json_dump(v, &n);
        return sqlite3_bind_text64(st, i, text, n, free, SQLITE_UTF8);
    }
    default:
        return SQLITE_MISUSE;
    }
}

static sm_rc begin(sm_core *c, sqlite3_stmt **out, sm_err *err, const char *sql, const char *fmt,
                   va_list *ap) {
    *out = NULL;
    sqlite3_stmt *st = prepared(c, sql, err);
    if (st == NULL)
        return err != NULL ? err->code : SM_INTERNAL;
    for (int i = 0; fmt[i] != '\0'; i++) {
        if (bind_one(st, i + 1, fmt[i], ap) != SQLITE_OK) {
            sm_rc rc = sm_sql_fail(c, err, "bind");
            sm_sql_end(st);
            return rc;
        }
    }
    *out = st;
    return SM_OK;
}

sm_rc sm_sql_query(sm_core *c, sqlite3_stmt **st, sm_err *err, const char *sql, const char *fmt,
                   ...) {
    va_list ap;
    va_start(ap, fmt);
    sm_rc rc = begin(c, st, err, sql, fmt, &ap);
    va_end(ap);
    return rc;
}

sm_rc sm_sql_next(sm_core *c, sqlite3_stmt *st, bool *row, sm_err *err) {
    /* SQLite keeps the system's error of a failed commit to itself; errno is what it left. */
    errno = 0;
    int rc = sqlite3_step(st);
    int errnum = errno != 0 ? errno : sqlite3_system_errno(c->h);
    *row = rc == SQLITE_ROW;
    if (rc == SQLITE_ROW)
        return SM_OK;
    sm_rc out = rc == SQLITE_DONE ? SM_OK : fail(c, err, "step", errnum);
    sm_sql_end(st);
    return out;
}

void sm_sql_end(sqlite3_stmt *st) {
    if (st == NULL)
        return;
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
}

sm_rc sm_sql_run(sm_core *c, sm_err *err, const char *sql, const char *fmt, ...) {
    va_list ap;
    sqlite3_stmt *st;
    va_start(ap, fmt);
    sm_rc rc = begin(c, &st, err, sql, fmt, &ap);
    va_end(ap);
    bool row = true;
    while (rc == SM_OK && row)
        rc = sm_sql_next(c, st, &row, err);
    return rc;
}

sm_rc sm_sql_int(sm_core *c, int64_t *out, int64_t def, sm_err *err, const char *sql,
                 const char *fmt, ...) {
    va_list ap;
    sqlite3_stmt *st;
    va_start(ap, fmt);
    sm_rc rc = begin(c, &st, err, sql, fmt, &ap);
    va_end(ap);
    *out = def;
    if (rc != SM_OK)
        return rc;
    bool row;
    rc = sm_sql_next(c, st, &row, err);
    if (rc == SM_OK && row) {
        if (sqlite3_column_type(st, 0) != SQLITE_NULL)
            *out = sqlite3_column_int64(st, 0);
        sm_sql_end(st);
    }
    return rc;
}

json_t *sm_col_text(sqlite3_stmt *st, int i) {
    if (sqlite3_column_type(st, i) == SQLITE_NULL)
        return json_null();
    const char *p = (const char *)sqlite3_column_text(st, i);
    return sm_json_text(p != NULL ? p : "", (size_t)sqlite3_column_bytes(st, i));
}

json_t *sm_col_int(sqlite3_stmt *st, int i) {
    if (sqlite3_column_type(st, i) == SQLITE_NULL)
        return json_null();
    return json_integer(sqlite3_column_int64(st, i));
}

json_t *sm_col_real(sqlite3_stmt *st, int i) {
    if (sqlite3_column_type(st, i) == SQLITE_NULL)
        return json_null();
    return json_real(sqlite3_column_double(st, i));
}

static json_t *parsed(const void *p, int n) {
    json_t *v = NULL;
    if (p == NULL || sm_json_parse(p, (size_t)n, (size_t)n, &v, NULL) != SM_OK)
        return json_null();
    return v;
}

json_t *sm_col_any(sqlite3_stmt *st, int i) {
    switch (sqlite3_column_type(st, i)) {
    case SQLITE_TEXT:
        return sm_col_text(st, i);
    case SQLITE_INTEGER:
        return sm_col_int(st, i);
    case SQLITE_FLOAT:
        return sm_col_real(st, i);
    case SQLITE_BLOB: {
        const void *p = sqlite3_column_blob(st, i);
        return parsed(p, sqlite3_column_bytes(st, i));
    }
    default:
        return json_null();
    }
}

json_t *sm_col_doc(sqlite3_stmt *st, int i) {
    const void *p = sqlite3_column_text(st, i);
    return parsed(p, sqlite3_column_bytes(st, i));
}

json_t *sm_col_time(sqlite3_stmt *st, int i) {
    if (sqlite3_column_type(st, i) == SQLITE_NULL)
        return json_null();
    char text[32];
    sm_time_rfc3339(sqlite3_column_int64(st, i), true, text);
    return json_string(text);
}
