/* store: the one door to what survives (SQLite behind it).
 *
 * One connection, owned by one writer thread; callers hand over JSON and get JSON back. Writes that
 * are queued together are committed together (at most 512 operations, never waiting to fill a
 * group); one that fails takes nothing with it. A
 * completion is delivered only after the commit that made it durable (synchronous=FULL).
 *
 * THREADS: sm_store_call from any thread; completions run in sm_store_drain, on the thread that
 * calls it (the daemon's loop). `wake` is called from the store's thread when there is something
 * to drain. JSON passes by ownership: after sm_store_call the caller must not touch args.
 */
#pragma once
#include "base/err.h"
#include "base/json.h"

typedef struct sm_store sm_store;

typedef struct sm_store_options {
    const char *path;        /* database file; its directory exists with mode 0700 */
    bool read_only;          /* a reader without a daemon: open what is there, write nothing */
    int64_t outbox_bytes;    /* limits.outbox; payload bytes that may wait */
    int64_t min_free_bytes;  /* limits.min_free of the file system */
    void (*wake)(void *ctx); /* NULL when only sm_store_call_sync is used */
    void *ctx;
} sm_store_options;

#define SM_FAILURE_PREFIX "failure:"
/* Owners of memos. */
#define SM_MEMO_INSPECTION "i/"
#define SM_MEMO_SCOPE "s/"

/* Operations: arguments -> result. Times: *_ns wall nanoseconds, *_ms wall milliseconds, slot in
 * Unix seconds. "id" is a function id. Absent result = null. */
typedef enum sm_store_op {
    /* Events, their outbox rows and the state of their dimensions in one transaction; SM_FULL
     * "outbox is full: ...".
     * {run,id,ref_key,account,node,checker, title(of the inspection), attempt,
     *  exec_mode?("crontab", "manual"), policy?(store/policy.h: the spec's `events`),
     *  hold?(why a maintenance window holds them back),
     *  events:[{event_id,at_ns,title,message,status,dimension_tags,dimension}]} -> null.
     * An event_id that is already there is accepted again without effect. The first event of (id,
     * dimension) that is not `ok` opens a fault with its event_id and at_ns, which the next ones
     * continue and an `ok` ends; a checker other than the fault's begins anew. */
    SM_OP_EVENTS_ACCEPT,
    /* An inspection does not run, or does again, in one respect. {id, kind("run", "load"),
     * what(text)|null: it is fine, about(object: kept with the first fault), report(ACCEPT's
     * arguments)} -> {accepted, row|null}. report is accepted when this is the inspection's first
     * fault, or the end of its last; so it must fit to `what`. Rows: KV_LIST of SM_FAILURE_PREFIX,
     * about's members and those of the kinds that are open. */
    SM_OP_FAILURE,
    /* {from, to} -> null: the inspection has another id now, and the same key */
    SM_OP_FAILURE_MOVE,
    /* {now_ms, account|null, limit, bytes, past_ns?} -> [{event_id, attempt, payload:{all of
     * ACCEPT's fields, one event}}]; payload is {run,id,ref_key,account,node,checker,title,attempt,
     * exec_mode|null,event:{event_id,at_ns,title,message,status,dimension_tags,dimension,
     * fault_id|null,fault_start_ns|null}}: an `ok` names the fault it ends, null when there was
     * none. The outer attempt counts RETRYs from
     * 0; limit defaults to 100 (most 10,000), bytes to 4 MiB (one event always fits); oldest first,
     * in order per (id, dimension): a row is not claimed while an older row of its dimension is
     * unfinished, unless both go in this claim; fair between inspections. A due time more than
     * an hour ahead (the clock went back) counts as due, and so does what was put back at or before
     * past_ns. Claimed rows are `inflight` until one of
     * the next four (or the next start) says otherwise. */
    SM_OP_OUTBOX_CLAIM,
    /* The next four take unknown and already delivered ids without effect; RETRY also takes refused
     * ones (sent again by hand). Attempt rows: the first 20 of an event, and its last. */
    SM_OP_OUTBOX_DONE,  /* {ids:[event_id], at_ns, answer} -> {done} ; writes an attempt row each */
    SM_OP_OUTBOX_RETRY, /* {ids, next_ms, reason, at_ns} -> null ; attempt + 1 */
    SM_OP_OUTBOX_HOLD,  /* {ids, next_ms, reason, at_ns} -> null ; state `held`, due at next_ms */
    /* {ids, reason, at_ns} -> {withdrawn:[event_id]} ; state `refused`, kept visible. Withdrawn are
     * recoveries of a problem that was refused, so that nobody saw it: they left the outbox, also
     * when they were claimed, and must not be sent. */
    SM_OP_OUTBOX_REFUSE,
    /* What waits or was refused, and why. {id?(glob), state?, limit(100)} ->
     * {accounts:[{account,pending,inflight,held,refused,bytes}], inspections:[the same with id,
     * those with most events first, at most 100], reasons:[{account,state,reason,events}],
     *  events:[{event_id,account,id,dimension,status,title,state,attempts,next_ms|null,reason|null,
     *  at}] oldest first} */
    SM_OP_OUTBOX_LIST,
    /* What was refused or held, or waits for its time, is due now. {ids:[..]} or {id?(glob),
     * after?, batch?(1000)}; at_ns, by(for people) -> {n, unknown, after|null: ask again behind it}
     */
    SM_OP_OUTBOX_AGAIN,
    /* Out of the outbox by hand; the event stays, its last attempt has the verdict `dropped`. Of
     * what still waits only with pending; never what is inflight. Arguments as AGAIN,
     * pending?(bool)
     * -> {n, waiting, inflight, unknown, after|null} */
    SM_OP_OUTBOX_DROP,
    /* {account?} -> as follows; next_ms is that of the account when one is given */
    SM_OP_OUTBOX_STATS, /* {} -> {pending,inflight,held,refused,bytes,oldest_ns|null,next_ms|null}
                         */
    /* The ledger: one row per inspection and due instant, planned ahead and answered once; a
     * stretch of instants that had no run is one row. A row is open while it is planned, or passed
     * while no process was there. rule: a number for the schedule that planned it. {id, slot,
     * trigger, planned_ns, rule?} -> {created, outcome}: the outcome of the row that is there now;
     * what has its answer keeps it. */
    SM_OP_SLOT_PLAN,
    /* {id, from, to, count, outcome, at_ns, about?(bool), reason?, grows?} -> null: the instants
     * from..to had no run; open rows among them go into the one row. Those with an answer of their
     * own are taken off the count. grows: the same stretch as before, longer. */
    SM_OP_SLOT_GAP,
    /* {id, from?, keep?, rule?} -> {removed}: open rows at or after `from` but `keep` go, because
     * the schedule changed; with rule only those of another one. */
    SM_OP_SLOT_UNPLAN,
    /* {now} -> {removed, cut}: the clock went back: what had no run after now is open once more. */
    SM_OP_SLOT_REOPEN,
    /* {} -> {id: {slot, outcome, done?, open?, rule?, other?}} newest slot of each inspection;
     * done: the newest instant that has an answer; open: the oldest open row, rule and other: the
     * largest and smallest rule of the open ones */
    SM_OP_SLOT_LAST,
    /* {run,id,slot|null,trigger,attempt,account,node,worker,started_ns,params,hash} -> null */
    SM_OP_RUN_START,
    /* {run,id,slot|null,trigger,attempt,outcome,error|null,traceback|null,finished_ns,seconds,cpu,
     *  peak,events,late,lateness?,log(text)} -> null ; makes the row when RUN_START never came;
     * finishes the slot when slot is not null and final is not false; may also carry RUN_START's
     * members, and for the end of a complete run what EVENTS_ACCEPT takes of the inspection
     * (ref_key, title, checker, exec_mode, policy, hold): then recoveries and the digest are made
     * in the same transaction. A slot that was skipped or missed is no run: it goes to the ledger
     * only. */
    SM_OP_RUN_FINISH,
    /* At start: rows of runs that a killed daemon left open get outcome `cancelled` with the
     * reason; planned slots older than now become `missed`. {at_ns, reason} -> {runs, slots} */
    SM_OP_RUNS_RECOVER,
    /* What a platform last said of one inspection.
     * {node,account,id,ref_key,uuid,title,status,params,payload,seen_ns} -> null */
    SM_OP_REGISTRY_PUT,
    SM_OP_REGISTRY_GET,    /* {node?,account?,id?} -> [rows] */
    SM_OP_REGISTRY_DELETE, /* {node,account,id} -> null */
    /* Last good texts of a script. {file,hash,text,libs:[{name,hash,text}],specs,at_ns} -> null */
    SM_OP_TEXTS_PUT,
    SM_OP_TEXTS_GET,    /* {} -> [rows] */
    SM_OP_TEXTS_DELETE, /* {file} -> null */
    SM_OP_KV_PUT,       /* {key,value} -> null ; a null value removes the key */
    SM_OP_KV_GET,       /* {key} -> value|null */
    SM_OP_KV_LIST,      /* {prefix} -> {key: value} of the first 20,000 keys that begin so */
    /* What inspections remember (selfmon.store). who: SM_MEMO_INSPECTION and an association key, or
     * SM_MEMO_SCOPE and the name of a scope; text: JSON of the value, checked by the caller. A
     * value whose until_ms (null: none) is over is not there. {who,key,now_ms} -> {text}|null */
    SM_OP_MEMO_GET,
    /* {who,key,text,until_ms|null,now_ms} -> null ; SM_LIMIT above a quota, SM_FULL */
    SM_OP_MEMO_PUT,
    SM_OP_MEMO_DELETE, /* {who,key,now_ms} -> {removed(bool)} */
    /* {who,key,by,until_ms|null(of a key that is not there yet),now_ms} -> {value} ; SM_EXISTS when
     * it holds something else than a number, or the sum is none; and as MEMO_PUT */
    SM_OP_MEMO_INCR,
    SM_OP_MEMO_KEYS, /* {who,prefix,now_ms} -> [keys] sorted */
    SM_OP_MEMO_DUMP, /* {who,now_ms} -> {key: {text,until_ms|null}} */
    /* The embedded platform `local`. An item is what the remote list shows:
     * {uuid, refKey, title, status(0 enabled, 2 disabled), jsonScript:{refFuncInfo, callKwargs},
     *  createAt, updateAt}. */
    SM_OP_LOCAL_LIST,   /* {ref_keys:[..]|null} -> [items] not deleted */
    SM_OP_LOCAL_CREATE, /* {payload, at_ns} -> {uuid} ; SM_EXISTS when the refKey lives */
    SM_OP_LOCAL_MODIFY, /* {ref_key, payload, at_ns} -> null ; title and refFuncInfo but funcId */
    SM_OP_LOCAL_STATUS, /* {ref_key, status, at_ns} -> null ; SM_NOT_FOUND */
    SM_OP_LOCAL_PARAMS, /* {ref_key, set:{name:value|null removes}, at_ns} -> {callKwargs} */
    SM_OP_LOCAL_DELETE, /* {ref_key, at_ns} -> null */
    SM_OP_LOCAL_EVENTS_PUT, /* {events:[payload rows], at_ns} -> {stored} ; idempotent by event_id
                             */
    SM_OP_LOCAL_EVENTS,     /* {since_ns?, ref_key?, limit?} -> [events] */
    /* Readers of the command line; newest first where limit > 0, then returned oldest first.
     * {since_ns?, id?(glob), status?, limit?} -> [{event_id,id,run,at,status,title,message,
     *  dimension_tags,account,node,delivery(also held_back),attempts,reason,
     *  policy({send,rule,was?,status,count?,of?,why?}|null)}] with "at" RFC 3339 ms */
    SM_OP_QUERY_EVENTS,
    /* {since_ns?, id?, status?(outcome), limit?, log?(bool), gaps?(bool)} ->
     * [{run,id,slot,trigger,attempt,outcome,error,traceback,started,finished,seconds,cpu,peak,events,
     *   late,lateness,account,node,log?}] with "started", "finished" RFC 3339 ms. gaps (or status
     * missed, skipped): only slots that had no run:
     * {id,slot,outcome,from,to,count,estimated,reason, at}, count of the instants from..to that
     * they stand for; open ones and those that are answered alike */
    SM_OP_QUERY_RUNS,
    SM_OP_QUERY_LAST, /* {} -> {id: {outcome,error,at,seconds,events,run}} last finished run of each
                       */
    /* Events of an inspection (id may hold wildcards), or of one of its dimensions, are kept and
     * not sent until then. {id, dimension?, until_ns, reason, at_ns} -> null */
    SM_OP_MUTE,
    SM_OP_UNMUTE, /* {id, dimension? (absent: all)} -> {removed} */
    SM_OP_MUTES,  /* {now_ns?} -> [{id,dimension|null,until_ns,reason,made_ns}] */
    /* Forgets mutes that are over; where nothing holds events back any more (no mute, id not in
     * holding) each dimension whose state differs from what was let out last gets one event.
     * {now_ns, holding:[ids], after?} -> {made, held, more} */
    SM_OP_RECONCILE,
    /* The chain of the latest decision about an inspection, or one of its dimensions: {id,
     * dimension?, now_ns} -> {id, slot|null, run|null, event|null, state|null, outbox|null,
     * attempts:[{n,at,verdict,answer}], mute:text|null} (docs/json.md, `why`) */
    SM_OP_WHY,
    /* Retention: {runs_before_ns, events_before_ns, batch, now_ms?, memos_of?} -> {runs, events,
     * slots, memos}; never what is pending, held, inflight or refused, nor the newest slot of an
     * inspection. events includes those of the embedded platform. memos: those whose time is over
     * at now_ms, and, with memos_of (object of every `who` of an inspection that is there), those
     * of others that did not change since runs_before_ns. At most `batch` (1,000) rows of a kind,
     * memos a thousand more: call until 0. */
    SM_OP_PRUNE,
    /* {} -> {schema, bytes (of the files), outbox_limit, refuses: sentence|null (why an event that
     * came now would not be taken), outbox: OUTBOX_STATS}; reads rows */
    SM_OP_HEALTH,
    SM_OP_PING,      /* {} -> {schema} ; reads one row */
    SM_OP_CONFIGURE, /* {outbox_bytes, min_free_bytes} -> null ; as sm_store_options, from now on */
    SM_OP_OUTBOX_ACCOUNTS, /* {} -> {account: events that wait for delivery} */
    /* A copy of the database as it is at the last step. BEGIN {path?(none: beside the database, and
     * ours)} -> {path, bytes, schema}; SM_BUSY while another is made, SM_FULL without room. STEP {}
     * -> {done, left, pages}: about a MiB each time; done: the copy is closed and whole, not
     * synced. END {} -> null: what lies beside the database is removed, and any copy that is not
     * done. One that is not asked on for 30 s is given up. */
    SM_OP_BACKUP_BEGIN,
    SM_OP_BACKUP_STEP,
    SM_OP_BACKUP_END,
    /* Adds what can be read of a damaged database: {path, work: a file that may be made and is
     * removed} -> {recovered, waiting, known, gaps, rebuilt}: events that were added, of them those
     * that wait for delivery, events that were there already, stretches that could not be read,
     * whether its first page was lost. What is added counts as older than what is there. Where it
     * is not known whether an event was delivered, it is sent again under its id. limits do not
     * count. */
    SM_OP_SALVAGE,
    SM_OP_COUNT_
} sm_store_op;

typedef void (*sm_store_done)(void *ctx, sm_rc rc, const sm_err *err, const json_t *result);

/* Opens or creates (0600), migrates, checks, recovers inflight rows to pending and due at once.
 * SM_BUSY: another process holds it. SM_INVALID: made by a newer version; nothing was written.
 * A corrupt file is moved aside together with its -wal as `*.corrupt.<time>`, a new one is begun
 * and the sentence goes to the log as an error. */
sm_rc sm_store_open(const sm_store_options *opt, sm_store **out, sm_err *err);
/* Finishes what is queued (their completions are not called), closes, joins the thread. */
void sm_store_close(sm_store *s);

/* Queues an operation; args (taken; NULL = {}) and later the completion. done may be NULL. */
void sm_store_call(sm_store *s, sm_store_op op, json_t *args, sm_store_done done, void *ctx);
/* Calls the completions that are ready; returns how many. */
int sm_store_drain(sm_store *s);
/* Operations whose completion has not been delivered. */
size_t sm_store_pending(const sm_store *s);
/* True once an fsync failed: nothing more is written, only the next start may judge what is there.
 * From any thread; already true when the completions of the failed group are delivered. */
bool sm_store_broken(const sm_store *s);
/* Blocks for the answer; *result (may be NULL) is a new reference. Not from the loop's thread. */
sm_rc sm_store_call_sync(sm_store *s, sm_store_op op, json_t *args, json_t **result, sm_err *err);

typedef struct sm_backup_facts {
    int64_t schema, events, waiting; /* rows of events, and of those that wait for delivery */
    int64_t group;                   /* number of the last group of operations in it */
} sm_backup_facts;

/* Looks at a copy that nobody has open, as a whole (quick_check). SM_INVALID: damaged, another
 * program's, or newer than this one. */
sm_rc sm_store_backup_check(const char *path, sm_backup_facts *out, sm_err *err);
/* One sentence about corrupt databases that lie beside the one at path, or NULL; malloc'd. */
char *sm_store_aside_text(const char *path);
/* The same from SM_OP_HEALTH's `aside`. */
char *sm_store_aside_sentence(const json_t *aside);
/* The store is broken (see above) because somebody else wrote into its files. Any thread. */
bool sm_store_overwritten(const sm_store *s);
/* Version of the database library, "3.40.1". Static. */
const char *sm_store_engine(void);
