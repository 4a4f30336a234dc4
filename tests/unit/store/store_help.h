/* store_help: what the tests of the store share: a private directory, opening with defaults,
 * calling with arguments written as JSON, and reports to accept. */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/embedded.h"
#include "base/json.h"
#include "base/mem.h"
#include "store/store.h"

#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct place {
    char dir[64];
    char path[96];
} place;

static inline void place_make_in(place *p, const char *folder) {
    snprintf(p->dir, sizeof p->dir, "%s/store_test.XXXXXX", folder);
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->path, sizeof p->path, "%s/store.db", p->dir);
}

static inline void place_make(place *p) {
    place_make_in(p, "/tmp");
}

/* The number of the last migration. */
static inline int newest_schema(void) {
    int newest = 0;
    for (const sm_embedded *e = sm_embedded_sql; e->name != NULL; e++)
        newest = atoi(e->name) > newest ? atoi(e->name) : newest;
    return newest;
}

/* Number of files whose name holds `part`; removes them when `remove`. */
static inline int place_files(const char *dir, const char *part, bool remove) {
    int n = 0;
    DIR *d = opendir(dir);
    if (d == NULL)
        return 0;
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            strstr(e->d_name, part) == NULL)
            continue;
        n++;
        if (remove)
            unlinkat(dirfd(d), e->d_name, 0);
    }
    closedir(d);
    return n;
}

static inline void place_drop(place *p) {
    place_files(p->dir, "", true);
    rmdir(p->dir);
}

static inline sm_store *open_with(const sm_store_options *opt) {
    sm_store *s = NULL;
    sm_err err = SM_ERR_INIT;
    sm_rc rc = sm_store_open(opt, &s, &err);
    if (rc != SM_OK)
        fail_msg("open: %s: %s", sm_rc_name(rc), err.msg);
    return s;
}

static inline sm_store *open_plain(const char *path) {
    sm_store_options opt = {.path = path};
    return open_with(&opt);
}

/* JSON written with ' for ". */
static inline json_t *parse(const char *text) {
    char *copy = sm_strdup(text);
    for (char *p = copy; *p != '\0'; p++)
        *p = *p == '\'' ? '"' : *p;
    json_error_t e;
    json_t *v = json_loads(copy, JSON_DECODE_ANY, &e);
    if (v == NULL)
        fail_msg("test JSON: %s in %s", e.text, copy);
    free(copy);
    return v;
}

static inline json_t *call_json(sm_store *s, sm_store_op op, json_t *args) {
    json_t *out = NULL;
    sm_err err = SM_ERR_INIT;
    sm_rc rc = sm_store_call_sync(s, op, args, &out, &err);
    if (rc != SM_OK)
        fail_msg("operation %d: %s: %s", (int)op, sm_rc_name(rc), err.msg);
    return out;
}

static inline json_t *call(sm_store *s, sm_store_op op, const char *args) {
    return call_json(s, op, args != NULL ? parse(args) : NULL);
}

/* Calls and compares the answer. */
static inline void expect(sm_store *s, sm_store_op op, const char *args, const char *answer) {
    json_t *got = call(s, op, args), *want = parse(answer);
    if (!json_equal(got, want)) {
        char *text = sm_json_dump(got, NULL);
        fail_msg("operation %d: got %s, expected %s", (int)op, text, answer);
    }
    json_decref(got);
    json_decref(want);
}

static inline void expect_newest_schema(sm_store *s) {
    json_t *got = call(s, SM_OP_PING, NULL);
    assert_int_equal(sm_json_int(got, "schema", -1), newest_schema());
    json_decref(got);
}

/* Calls and expects a failure whose sentence holds `part`. */
static inline void expect_fail(sm_store *s, sm_store_op op, json_t *args, sm_rc rc,
                               const char *part) {
    json_t *out = NULL;
    sm_err err = SM_ERR_INIT;
    sm_rc got = sm_store_call_sync(s, op, args, &out, &err);
    if (got != rc || strstr(err.msg, part) == NULL || out != NULL)
        fail_msg("operation %d: got %s: %s; expected %s: %s", (int)op, sm_rc_name(got), err.msg,
                 sm_rc_name(rc), part);
}

static inline json_t *one_event(const char *event_id, int64_t at_ns, const char *dimension,
                                const char *message) {
    return json_pack("{s:s,s:I,s:s,s:s,s:s,s:{s:s},s:s}", "event_id", event_id, "at_ns",
                     (json_int_t)at_ns, "title", "T", "message", message, "status", "warning",
                     "dimension_tags", "d", dimension, "dimension", dimension);
}

static inline json_t *report_of(const char *id, json_t *events) {
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:o}", "run", "r1", "id", id, "ref_key",
                     "k1", "account", "default", "node", "local", "checker", "rul_1", "title",
                     "Title", "attempt", 1, "events", events);
}

static inline json_t *report_one(const char *id, const char *event_id, const char *dimension) {
    return report_of(id, json_pack("[o]", one_event(event_id, 1000000000, dimension, "m")));
}

/* One integer of the closed database. */
static inline int64_t peek(const char *path, const char *sql) {
    sqlite3 *h = NULL;
    sqlite3_stmt *st = NULL;
    assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
    if (sqlite3_prepare_v2(h, sql, -1, &st, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(h));
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t v = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(h);
    return v;
}

static inline void poke(const char *path, const char *sql) {
    sqlite3 *h = NULL;
    char *msg = NULL;
    assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
    if (sqlite3_exec(h, sql, NULL, NULL, &msg) != SQLITE_OK)
        fail_msg("%s: %s", sql, msg);
    sqlite3_close(h);
}

static inline void expect_intact(const char *path) {
    sqlite3 *h = NULL;
    sqlite3_stmt *st = NULL;
    assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(h, "PRAGMA integrity_check", -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(st, 0), "ok");
    sqlite3_finalize(st);
    sqlite3_close(h);
}
