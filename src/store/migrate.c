/* migrate: brings the schema to the version of this program: numbered SQL files embedded in the
 * executable (src/store/sql/NNN_name.sql), each in one transaction together with its number in
 * PRAGMA user_version, so that a kill leaves the old or the new schema, never one between.
 *
 * Refuses a database of a newer version or of another program, without writing. Called by db at
 * open.
 */
#include "store/store_internal.h"

#include "base/embedded.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { APPLICATION_ID = 1397574705 }; /* "SML1", set by 001_init.sql */

static int step_number(const sm_embedded *e) {
    return (int)strtol(e->name, NULL, 10);
}

int sm_migrate_newest(void) {
    int n = 0;
    for (const sm_embedded *e = sm_embedded_sql; e->name != NULL; e++)
        n = step_number(e) > n ? step_number(e) : n;
    return n;
}

sm_rc sm_migrate_check(sm_core *c, sm_err *err) {
    int64_t version, app, tables;
    sm_rc rc;
    if ((rc = sm_sql_int(c, &version, 0, err, "PRAGMA user_version", "")) != SM_OK ||
        (rc = sm_sql_int(c, &app, 0, err, "PRAGMA application_id", "")) != SM_OK ||
        (rc = sm_sql_int(c, &tables, 0, err, "SELECT count(*) FROM sqlite_schema", "")) != SM_OK)
        return rc;
    if (app != APPLICATION_ID && (app != 0 || tables != 0 || version != 0))
        return sm_err_set(err, SM_INVALID, "%s is a database of another program", c->path);
    if (version > sm_migrate_newest())
        return sm_err_set(err, SM_INVALID,
                          "the database %s was made by a newer version (its schema is %lld, this "
                          "program knows up to %d): nothing was changed",
                          c->path, (long long)version, sm_migrate_newest());
    if (c->read_only && version == 0)
        return sm_err_set(err, SM_NOT_FOUND, "the database %s is empty", c->path);
    if (c->read_only && version < sm_migrate_newest())
        return sm_err_set(err, SM_INVALID,
                          "the database %s was made by an older version (its schema is %lld, this "
                          "program needs %d): start the daemon once to bring it up to date",
                          c->path, (long long)version, sm_migrate_newest());
    c->schema = (int)version;
    return SM_OK;
}

static sm_rc apply(sm_core *c, const sm_embedded *e, sm_err *err) {
    char version[64];
    snprintf(version, sizeof version, "PRAGMA user_version = %d", step_number(e));
    /* begin is NUL-terminated: one NUL follows the bytes. */
    if (sqlite3_exec(c->h, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(c->h, e->begin, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(c->h, version, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(c->h, "COMMIT", NULL, NULL, NULL) != SQLITE_OK) {
        sm_rc rc = sm_sql_fail(c, err, e->name);
        sqlite3_exec(c->h, "ROLLBACK", NULL, NULL, NULL);
        return rc;
    }
    c->schema = step_number(e);
    return SM_OK;
}

/* user_version of the file at path, 0 when it is none of ours. */
static int64_t schema_of(const char *path) {
    sm_backup_facts is;
    return sm_store_backup_check(path, &is, NULL) == SM_OK ? is.schema : 0;
}

/* Keeps the database as it is before its schema changes. One that is there already and older is
 * from an upgrade that was cut off: that is the one to keep. */
static sm_rc keep_former(sm_core *c, sm_err *err) {
    char *kept = sm_asprintf("%s.before-%d", c->path, sm_migrate_newest());
    char *fresh = sm_asprintf("%s.new", kept);
    sm_err why = SM_ERR_INIT;
    int64_t there = sm_fsx_exists(kept) ? schema_of(kept) : 0;
    sm_rc rc = SM_OK;
    if (there > 0 && there < c->schema)
        goto out;
    rc = sm_backup_copy(c, fresh, 0, &why);
    if (rc == SM_OK && rename(fresh, kept) != 0)
        rc = sm_err_sys(&why, errno, "%s", kept);
    if (rc == SM_OK)
        rc = sm_place_sync(kept, &why);
    if (rc == SM_OK) {
        sm_log(SM_LOG_INFO,
               "the database is brought from schema %d to %d; as it was it is kept as %s",
               c->schema, sm_migrate_newest(), kept);
    } else if (rc == SM_FULL) {
        /* The steps themselves are safe; only the way back to an older program is missing. */
        sm_log(SM_LOG_WARN,
               "the database is brought from schema %d to %d without keeping it as it was: %s",
               c->schema, sm_migrate_newest(), why.msg);
        rc = SM_OK;
    } else {
        sm_err_set(err, rc, "%s", why.msg);
    }
out:
    free(kept);
    free(fresh);
    return rc;
}

sm_rc sm_migrate_run(sm_core *c, sm_err *err) {
    if (c->schema > 0 && c->schema < sm_migrate_newest() && keep_former(c, err) != SM_OK)
        return err->code;
    for (const sm_embedded *e = sm_embedded_sql; e->name != NULL; e++) {
        if (step_number(e) <= c->schema)
            continue;
        sm_rc rc = apply(c, e, err);
        if (rc != SM_OK)
            return rc;
    }
    return SM_OK;
}
