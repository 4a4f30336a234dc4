/* group: runs a group of operations as one transaction and says of each what became of it.
 *
 * A failed operation takes nothing with it: when one fails half-way the transaction is begun again
 * with a savepoint around each. A commit that failed for want of room is rolled back
 * and told to every writer of the group as SM_FULL. After another I/O error the connection is
 * opened again and the number of the group, written by the commit itself, tells whether it is
 * there: only then the operations succeed. After a failed fsync nothing is written any more: the
 * kernel may have dropped the pages (PostgreSQL's "fsyncgate"), only a new start may judge.
 * Called by store, on the store's thread.
 */
#include "store/store_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { CHECKPOINT_PAGES = 1000 }; /* as SQLite's wal_autocheckpoint */

static sm_rc exec(sm_core *c, const char *sql, sm_err *err) {
    return sm_sql_run(c, err, sql, "");
}

static void rollback(sm_core *c) {
    if (c->h != NULL && sqlite3_get_autocommit(c->h) == 0)
        sqlite3_exec(c->h, "ROLLBACK", NULL, NULL, NULL);
}

static void drop_result(sm_request *r) {
    json_decref(r->result);
    r->result = NULL;
}

/* Runs the operation's function and names the operation where the mistake is the caller's. */
static void run_one(sm_core *c, sm_request *r) {
    const sm_op *op = sm_op_find(r->op);
    drop_result(r);
    r->err.code = SM_OK;
    r->err.msg[0] = '\0';
    r->rc = op->fn(c, r->args, &r->result, &r->err);
    if (r->rc != SM_OK)
        drop_result(r);
    if (r->rc == SM_INVALID)
        sm_err_wrap(&r->err, "store: %s", op->name);
}

/* True when the transaction went on without the operation, or with it. */
static bool run_in_savepoint(sm_core *c, sm_request *r, sm_err *err) {
    sm_counts before = c->counts;
    int64_t free_before = c->free_left;
    if (exec(c, "SAVEPOINT op", err) != SM_OK)
        return false;
    c->failed_rc = 0;
    run_one(c, r);
    if (r->rc == SM_OK)
        return exec(c, "RELEASE op", err) == SM_OK;
    c->counts = before;
    if (c->free_left >= 0)
        c->free_left = free_before;
    /* Some errors end the whole transaction (lang_transaction.html, 3.1). */
    if (sqlite3_get_autocommit(c->h) != 0 || (c->failed_rc & 0xff) == SQLITE_IOERR) {
        *err = r->err;
        return false;
    }
    return exec(c, "ROLLBACK TO op", err) == SM_OK && exec(c, "RELEASE op", err) == SM_OK;
}

/* As run_in_savepoint, without one: what a savepoint costs is a copy of every page that an
 * operation touches. An operation that fails after it changed something sets *again. */
static bool run_bare(sm_core *c, sm_request *r, bool *again, sm_err *err) {
    sm_counts before = c->counts;
    sqlite3_int64 changes = sqlite3_total_changes64(c->h);
    c->failed_rc = 0;
    run_one(c, r);
    if (r->rc == SM_OK)
        return true;
    c->counts = before;
    if (sqlite3_get_autocommit(c->h) != 0 || (c->failed_rc & 0xff) == SQLITE_IOERR)
        *err = r->err;
    else if (sqlite3_total_changes64(c->h) == changes)
        return true;
    else
        *again = true;
    return false;
}

/* Runs the operations of a begun transaction and numbers it when it changed something. False:
 * the transaction is of no use; *again: it would be with savepoints. */
static bool run_all(sm_core *c, sm_request **reqs, size_t n, bool savepoints, bool *again,
                    sm_err *err) {
    sqlite3_int64 changes = sqlite3_total_changes64(c->h);
    for (size_t i = 0; i < n; i++) {
        const sm_op *op = sm_op_find(reqs[i]->op);
        if (op == NULL)
            continue;
        if (!op->writes)
            run_one(c, reqs[i]);
        else if (savepoints ? !run_in_savepoint(c, reqs[i], err)
                            : !run_bare(c, reqs[i], again, err))
            return false;
    }
    if (sqlite3_total_changes64(c->h) == changes)
        return true;
    c->group++;
    return sm_sql_run(c, err, "UPDATE meta SET value = ?1 WHERE key = 'group'", "i", c->group) ==
           SM_OK;
}

static void fail_writers(sm_request **reqs, size_t n, const sm_err *err) {
    for (size_t i = 0; i < n; i++) {
        const sm_op *op = sm_op_find(reqs[i]->op);
        if (op == NULL || !op->writes || (reqs[i]->rc != SM_OK && reqs[i]->rc != SM_CLOSED))
            continue;
        drop_result(reqs[i]);
        reqs[i]->rc = err->code;
        reqs[i]->err = *err;
    }
}

static void break_off(sm_core *c, sm_err *err) {
    c->broken = true;
    sm_err_set(err, SM_IO,
               "the database %s: fsync failed (%s); nothing more is accepted until the program is "
               "started again",
               c->path, c->failed_errno != 0 ? strerror(c->failed_errno) : "I/O error");
    sm_log(SM_LOG_ERROR, "%s", err->msg);
}

/* Is the group with the present number in the database, and on the disk? */
static bool group_is_there(sm_core *c, sm_err *err) {
    int64_t found;
    return sm_sql_int(c, &found, -1, err, "SELECT value FROM meta WHERE key = 'group'", "") ==
               SM_OK &&
           found == c->group && sm_vigil_checkpoint(c, SQLITE_CHECKPOINT_FULL) == SQLITE_OK;
}

/* After a transaction that did not commit; err says why. True when it is there after all. */
static bool settle_failure(sm_core *c, const sm_counts *before, bool committing, sm_err *err) {
    int code = c->failed_rc;
    bool full = sm_sql_is_full(c);
    rollback(c);
    c->counts = *before;
    if (full) {
        /* Room in the journal comes back when its content is moved to the database. */
        sm_vigil_checkpoint(c, SQLITE_CHECKPOINT_TRUNCATE);
        return false;
    }
    if (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC) {
        break_off(c, err);
        return false;
    }
    if ((code & 0xff) != SQLITE_IOERR)
        return false;
    sm_log(SM_LOG_ERROR, "%s", err->msg);
    sm_err again = SM_ERR_INIT;
    if (sm_core_reconnect(c, &again) != SM_OK) {
        sm_log(SM_LOG_ERROR, "%s", again.msg);
        return false;
    }
    return committing && group_is_there(c, &again);
}

static bool can_read(sm_core *c, sm_err *err) {
    if (c->h != NULL)
        return true;
    if (sm_mono_ns() >= c->retry_ns)
        return sm_core_reconnect(c, err) == SM_OK;
    sm_err_set(err, SM_IO, "the database %s could not be opened again after an I/O error", c->path);
    return false;
}

static bool can_write(sm_core *c, sm_err *err) {
    if (c->read_only)
        sm_err_set(err, SM_DENIED, "the database %s is open for reading only", c->path);
    else if (c->broken)
        sm_err_set(err, SM_IO,
                   "the database %s takes nothing more since an fsync failed: start the program "
                   "again",
                   c->path);
    else
        return true;
    return false;
}

/* Readers of a group that failed may have seen what is now undone. */
static void run_readers(sm_core *c, sm_request **reqs, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const sm_op *op = sm_op_find(reqs[i]->op);
        if (op == NULL || op->writes)
            continue;
        drop_result(reqs[i]);
        if (can_read(c, &reqs[i]->err))
            run_one(c, reqs[i]);
        else
            reqs[i]->rc = reqs[i]->err.code;
    }
}

static void write_group(sm_core *c, sm_request **reqs, size_t n) {
    sm_err err = SM_ERR_INIT;
    sm_counts before = c->counts;
    bool committing = false, again = false, done;
    if (!can_write(c, &err) || sm_vigil_look(c, &err) != SM_OK) {
        fail_writers(reqs, n, &err);
        run_readers(c, reqs, n);
        return;
    }
    for (int savepoints = 0; savepoints < 2; savepoints++) {
        c->free_left = -1;
        c->failed_rc = 0;
        done = exec(c, "BEGIN IMMEDIATE", &err) == SM_OK &&
               run_all(c, reqs, n, savepoints != 0, &again, &err);
        if (done || !again)
            break;
        again = false;
        rollback(c);
        c->counts = before;
    }
    if (!done)
        goto failed;
    committing = true;
    if (exec(c, "COMMIT", &err) == SM_OK) {
        c->unwritten[0] = '\0';
        return;
    }
failed:
    if (settle_failure(c, &before, committing, &err))
        return;
    snprintf(c->unwritten, sizeof c->unwritten, "%s", err.msg);
    fail_writers(reqs, n, &err);
    run_readers(c, reqs, n);
}

void sm_group_run(sm_core *c, sm_request **reqs, size_t n) {
    sm_err err = SM_ERR_INIT;
    bool writes = false;
    bool alive = can_read(c, &err);
    for (size_t i = 0; i < n; i++) {
        const sm_op *op = sm_op_find(reqs[i]->op);
        reqs[i]->rc = SM_CLOSED; /* not decided */
        if (op == NULL)
            reqs[i]->rc =
                sm_err_set(&reqs[i]->err, SM_INTERNAL, "store: no operation %d", (int)reqs[i]->op);
        else if (!alive)
            reqs[i]->rc = sm_err_set(&reqs[i]->err, err.code, "%s", err.msg);
        else
            writes = writes || op->writes;
    }
    if (!alive)
        return;
    if (writes) {
        write_group(c, reqs, n);
        sm_vigil_note(c, false);
        if (c->h != NULL && !c->broken && c->wal_pages >= CHECKPOINT_PAGES)
            (void)sm_vigil_checkpoint(c, SQLITE_CHECKPOINT_PASSIVE);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (sm_op_find(reqs[i]->op) != NULL)
            run_one(c, reqs[i]);
    }
}
