/* store_internal: what the rooms of src/store share and nobody else sees.
 *
 * THREADS: an sm_core belongs to one thread at a time: the opener's until the store's thread
 * starts, then that one's. Nothing here locks.
 */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include "base/map.h"
#include "store/store.h"
#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Text of the conditions of the partial indexes: SQLite uses such an index only when the query
 * repeats its condition word for word. */
#define SM_SQL_UNFINISHED "state IN ('pending', 'inflight', 'held')"
#define SM_SQL_WAITS "waits = 1" /* the same, for the index by dimension */
#define SM_SQL_READY "head = 1 AND state IN ('pending', 'held')"

enum { SM_SQL_CACHE = 256 }; /* slots for prepared statements; about 80 are used */

/* States of an outbox row, in the order of sm_counts.rows. */
typedef enum sm_box_state {
    SM_BOX_PENDING,
    SM_BOX_INFLIGHT,
    SM_BOX_HELD,
    SM_BOX_REFUSED,
    SM_BOX_STATES
} sm_box_state;

/* The outbox in numbers; put back when a savepoint or a group is rolled back. */
typedef struct sm_counts {
    int64_t rows[SM_BOX_STATES];
    int64_t bytes; /* payload of pending, inflight and held rows */
    int64_t mutes; /* rows of mutes; -1: not known */
    int64_t moves; /* changes of these numbers, see tally.c */
} sm_counts;

typedef struct sm_backup sm_backup; /* backup.c */

/* The outbox of one inspection in one account. */
typedef struct sm_lane {
    char *account, *id;
    int64_t rows[SM_BOX_STATES];
    int64_t bytes; /* payload of pending, inflight and held rows */
} sm_lane;

typedef struct sm_tally {
    sm_map lanes; /* "account\nid" -> sm_lane */
    sm_lane *last;
    int64_t moves;
} sm_tally;

/* A file as we left it. */
typedef struct sm_seen {
    bool known;
    dev_t dev;
    ino_t ino;
    int64_t size, mtime_ns;
    uint64_t mark; /* of its first page */
} sm_seen;

typedef struct sm_core {
    sqlite3 *h;                 /* NULL after a failed reconnect */
    char *path;                 /* the database file; owned */
    char *dir;                  /* its directory; owned */
    int dirfd;                  /* of dir, for fstatvfs; -1 when closed */
    bool read_only;             /* query_only; no operation that writes */
    int schema;                 /* user_version */
    int64_t outbox_max;         /* limits.outbox; <= 0: none */
    int64_t min_free;           /* limits.min_free; <= 0: none */
    int64_t reserve;            /* min_free as it holds here; known with free_left */
    int64_t free_left;          /* free bytes as this group sees them; -1: not asked yet */
    sm_counts counts;           /* as the current transaction sees them */
    sm_tally tally;             /* the same by inspection; sm_tally_settle before it is read */
    int64_t group;              /* number of the last group that was begun */
    json_t *cursors;            /* account -> [account, id] where the last claim ended; a hint */
    int failed_rc;              /* extended SQLite code of the last failure, 0 when none */
    int failed_errno;           /* errno of the system call behind it */
    bool broken;                /* an fsync failed: nothing is written any more */
    char unwritten[SM_ERR_MAX]; /* why the last group could not be written; "" when it was */
    sm_backup *backup;          /* the copy that is being made, or NULL */
    sm_seen seen_db, seen_wal;  /* vigil.c */
    int wal_pages;              /* of the journal after the last commit */
    bool adrift;                /* our files are gone; the open connection still has everything */
    bool overwritten;           /* broken because somebody else wrote into the files */
    int64_t heal_ns;            /* monotonic; not before: the next try to put them back */
    int healed;                 /* how often they were put back */
    char alarm[SM_ERR_MAX];     /* what somebody did to the files since the start; "" nothing */
    json_t *aside;              /* what lies aside, see sm_place_asides; NULL: not looked yet */
    int64_t aside_s;            /* wall clock when `aside` was made */
    int64_t retry_ns;           /* monotonic time of the next reconnect when h is NULL */
    struct {
        const char *sql; /* identity is the address of the literal */
        sqlite3_stmt *st;
    } cache[SM_SQL_CACHE];
} sm_core;

/* ---- sql.c: statements. Formats of bound values, one letter each:
 *   t const char * (NULL: null)      i int64_t      r double      b int (bool)
 *   s const json_t *, text or null   j const json_t *, any value into an ANY column
 *   d const json_t *, dumped as JSON text (NULL: null)
 * Bound texts are borrowed until the statement is reset. */
/* Runs a statement that returns no row of interest. */
sm_rc sm_sql_run(sm_core *c, sm_err *err, const char *sql, const char *fmt, ...);
/* Begins a query; sm_sql_next until *row is false (or sm_sql_end) finishes it. */
sm_rc sm_sql_query(sm_core *c, sqlite3_stmt **st, sm_err *err, const char *sql, const char *fmt,
                   ...);
sm_rc sm_sql_next(sm_core *c, sqlite3_stmt *st, bool *row, sm_err *err);
void sm_sql_end(sqlite3_stmt *st); /* NULL is fine */
/* First column of the first row as an integer; def when there is no row or it is null. */
sm_rc sm_sql_int(sm_core *c, int64_t *out, int64_t def, sm_err *err, const char *sql,
                 const char *fmt, ...);
void sm_sql_forget(sm_core *c); /* finalizes every cached statement */
/* Keeps what SQLite said in failed_rc and failed_errno and turns it into a sentence. */
sm_rc sm_sql_fail(sm_core *c, sm_err *err, const char *what);
/* The failure is one of the file system having no room. */
bool sm_sql_is_full(const sm_core *c);
/* Columns; new references. */
json_t *sm_col_text(sqlite3_stmt *st, int i); /* text or null */
json_t *sm_col_int(sqlite3_stmt *st, int i);  /* integer or null */
json_t *sm_col_real(sqlite3_stmt *st, int i); /* real or null */
json_t *sm_col_any(sqlite3_stmt *st, int i);  /* as bound with j */
json_t *sm_col_doc(sqlite3_stmt *st, int i);  /* as bound with d */
json_t *sm_col_time(sqlite3_stmt *st, int i); /* RFC 3339 with ms of nanoseconds, or null */

/* ---- args.c: strict readers of an operation's arguments. */
/* Text that must be there; NULL and SM_INVALID else. */
const char *sm_arg_text(const json_t *args, const char *key, sm_err *err);
sm_rc sm_arg_int(const json_t *args, const char *key, int64_t *out, sm_err *err);
/* Array or object that must be there; NULL and SM_INVALID else. */
const json_t *sm_arg_array(const json_t *args, const char *key, sm_err *err);
const json_t *sm_arg_object(const json_t *args, const char *key, sm_err *err);
/* The member, or NULL when it is absent or null. */
const json_t *sm_arg_maybe(const json_t *args, const char *key);
/* An id with a wildcard (sm_str_glob), not a plain name. */
bool sm_arg_is_glob(const char *id);

/* ---- place.c: the file and its surroundings. */
/* Refuses links, other things than regular files and network file systems; makes the file (0600)
 * when it is missing and `create`; *made tells. SM_NOT_FOUND when missing and not `create`. */
sm_rc sm_place_check(const char *path, bool create, bool *made, sm_err *err);
/* Name of a network file system by its number (statfs), or NULL. */
const char *sm_place_network(uint32_t magic);
/* Renames file, -wal and -shm to `*.corrupt.<time>` and logs the sentence `why`. */
sm_rc sm_place_aside(const char *path, const char *why, sm_err *err);
/* Bytes that the owner of the daemon may still use on the file system. */
sm_rc sm_place_free(int dirfd, int64_t *out, sm_err *err);
/* limits.min_free as it holds: never so little that the journal could fill the file system, but at
 * most a quarter of a small one. */
int64_t sm_place_reserve(int dirfd, int64_t wanted);
/* True when path's -wal is there and not empty. */
bool sm_place_has_wal(const char *path);
/* "1024 MiB", "12 KiB", "3 bytes" into out. */
const char *sm_place_size(int64_t bytes, char *out, size_t cap);
/* "PATH.kind.TIME", a name that is free. Caller frees. */
char *sm_place_name(const char *path, const char *kind);
/* {count, bytes, newest} of databases that lie aside as corrupt; null when there is none. */
json_t *sm_place_asides(const char *path);
/* fsync of a file and of its directory. */
sm_rc sm_place_sync(const char *path, sm_err *err);
/* "file:PATH?QUERY" with what SQLite reads as more than itself escaped. Caller frees. */
char *sm_place_uri(const char *path, const char *query);

/* ---- db.c: the connection. */
sm_rc sm_core_open(sm_core *c, const sm_store_options *opt, sm_err *err);
void sm_core_close(sm_core *c);
/* After an I/O error: drops the connection and opens it again; no check, no recovery. */
sm_rc sm_core_reconnect(sm_core *c, sm_err *err);

/* Closes the connection and leaves the journal as it is. */
void sm_core_drop(sm_core *c);

/* ---- vigil.c: the files under the open connection. */
/* They are as we left them now: the journal, and the database when we wrote into it (which only
 * opening and checkpoints do). */
void sm_vigil_note(sm_core *c, bool database);
/* sqlite3_wal_checkpoint_v2 into a database that is ours; its code. */
int sm_vigil_checkpoint(sm_core *c, int mode);
/* Are they as we left them? Puts them back when they can be. Not inside a transaction; the
 * connection may be another one afterwards. SM_IO: nothing can be written any more. */
sm_rc sm_vigil_look(sm_core *c, sm_err *err);
/* Another file lies where the database was when it was opened. */
bool sm_vigil_moved(const sm_core *c);
/* Puts the whole copy `kept` in the database's place; what is there is kept as *.foreign.*. */
sm_rc sm_vigil_settle(const char *path, const char *kept, sm_err *err);

/* ---- migrate.c */
/* SM_INVALID when user_version is newer than this program or the file is another program's. */
sm_rc sm_migrate_check(sm_core *c, sm_err *err);
/* Steps not done yet, each in one transaction with its version. */
sm_rc sm_migrate_run(sm_core *c, sm_err *err);

int sm_migrate_newest(void);

/* ---- backup.c */
/* A whole, synced copy at path, replacing what is there; reserve: bytes that must stay free.
 * SM_FULL without room. */
sm_rc sm_backup_copy(sm_core *c, const char *path, int64_t reserve, sm_err *err);
/* Ends the copy that is being made and removes it; before the connection closes. */
void sm_backup_drop(sm_core *c);
/* The same when nobody asked for its next step for a while. */
void sm_backup_expire(sm_core *c);

/* ---- group.c: a group of operations as one transaction. */
typedef struct sm_request {
    struct sm_request *next;
    sm_store_op op;
    json_t *args;   /* owned; never NULL */
    json_t *result; /* owned; NULL = null */
    sm_rc rc;
    sm_err err;
    sm_store_done done; /* NULL: nobody wants to know */
    void *ctx;
    void *waiter; /* sem_t of a blocked caller; NULL else */
} sm_request;
void sm_group_run(sm_core *c, sm_request **reqs, size_t n);

/* ---- ops.c: the table of operations. *result starts as NULL and is the caller's. */
typedef sm_rc (*sm_op_fn)(sm_core *c, const json_t *args, json_t **result, sm_err *err);
typedef struct sm_op {
    sm_store_op op;
    const char *name;
    sm_op_fn fn;
    bool writes;
    bool slow; /* a read that may take long: it is not made part of a group */
} sm_op;
const sm_op *sm_op_find(sm_store_op op); /* NULL: no such operation */

/* ---- op_*.c: called through the table only. */
sm_rc sm_op_events_accept(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_failure(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_failure_move(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_outbox_claim(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_outbox_done(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_outbox_retry(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_outbox_hold(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_outbox_refuse(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_outbox_list(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_outbox_again(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_outbox_drop(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_outbox_stats(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_outbox_accounts(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_slot_plan(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_slot_gap(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_slot_unplan(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_slot_reopen(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_slot_last(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_run_start(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_run_finish(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_runs_recover(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_registry_put(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_registry_get(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_registry_delete(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_texts_put(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_texts_get(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_texts_delete(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_kv_put(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_kv_get(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_kv_list(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_memo_get(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_memo_put(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_memo_delete(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_memo_incr(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_memo_keys(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_memo_dump(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_local_list(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_local_create(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_local_modify(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_local_status(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_local_params(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_local_delete(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_local_events_put(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_local_events(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_query_events(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_query_runs(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_query_last(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_mute(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_unmute(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_mutes(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_reconcile(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_why(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_prune(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_health(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_ping(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_configure(sm_core *c, const json_t *args, json_t **result, sm_err *err);

sm_rc sm_op_backup_begin(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_backup_step(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_backup_end(sm_core *c, const json_t *args, json_t **result, sm_err *err);
sm_rc sm_op_salvage(sm_core *c, const json_t *args, json_t **result, sm_err *err);

/* ---- what one room of operations lends another. */
/* SM_FULL with its sentence when an event of so many bytes finds no room (limits.outbox,
 * limits.min_free). */
sm_rc sm_outbox_room(sm_core *c, int64_t bytes, sm_err *err);
/* At start: inflight rows are pending again; whatever waits is due at once. */
sm_rc sm_outbox_recover(sm_core *c, sm_err *err);
/* A row of the outbox. */
typedef struct sm_box_row {
    int64_t seq, dim, bytes, tries;
    sm_box_state state;
    sm_lane *lane;
} sm_box_row;
sm_rc sm_outbox_find(sm_core *c, const char *event_id, sm_box_row *r, bool *found, sm_err *err);
sm_rc sm_outbox_at(sm_core *c, int64_t seq, sm_box_row *r, bool *found, sm_err *err);
/* Puts a row into a state, with an attempt row of this verdict; args: next_ms, reason. The head of
 * its dimension may be another then: sm_outbox_promote. */
sm_rc sm_outbox_put(sm_core *c, sm_box_row *r, sm_box_state to, const char *verdict, int64_t at_ns,
                    const json_t *args, json_t *withdrawn, sm_err *err);
/* Counts from the rows themselves. */
sm_rc sm_outbox_recount(sm_core *c, sm_err *err);
/* ---- tally.c */
/* The lane, made when it is new; stays until the tally is counted anew. */
sm_lane *sm_tally_lane(sm_core *c, const char *account, const char *id);
/* A row went from one state to another; SM_BOX_STATES: it was, or is, not in the outbox. */
void sm_tally_move(sm_core *c, sm_lane *l, sm_box_state from, sm_box_state to, int64_t bytes);
sm_rc sm_tally_settle(sm_core *c, sm_err *err); /* counts anew when something was rolled back */
sm_rc sm_tally_count(sm_core *c, sm_err *err);
void sm_tally_fini(sm_core *c);
/* Takes a row that waits out of the outbox for good; its attempt says why. */
sm_rc sm_outbox_take_out(sm_core *c, int64_t seq, const char *verdict, const char *why,
                         int64_t at_ns, sm_err *err);
/* Makes the oldest unfinished row of a dimension its head. */
sm_rc sm_outbox_promote(sm_core *c, int64_t dim, sm_err *err);
/* State by its name in the table; SM_BOX_STATES when there is no such name. */
sm_box_state sm_box_parse(const char *name);
/* Answers a slot that had a run, making its row when it was never planned. */
sm_rc sm_slot_end(sm_core *c, const char *id, int64_t slot, const char *outcome, const char *run,
                  int64_t at_ns, sm_err *err);
/* A slot that did not run after all: a row without a run, or one more of the row before it when
 * that says the same. */
sm_rc sm_slot_pass(sm_core *c, const char *id, int64_t slot, const char *outcome,
                   const json_t *reason, int64_t at_ns, sm_err *err);
/* The memos' part of retention; adds to *gone. */
sm_rc sm_memo_prune(sm_core *c, const json_t *args, int64_t before_ns, int64_t batch, int64_t *gone,
                    sm_err *err);
/* The elements of `newest_first` in the opposite order; takes the reference. */
json_t *sm_rows_reverse(json_t *newest_first);
