/* pump: outbox -> platform (see pump.h).
 *
 * A claimed batch is sent whole; a verdict `split` sends its halves one after the other, in order,
 * down to the single event that the platform refuses. Retry and hold put events back with a due
 * time: full jitter from 1 s to 5 min by attempt, or what the platform asked for. The breaker says
 * whether anything may go to the address at all, and how much at once; when it closes, what was put
 * back before is due. The store knows the rest, so a pump that is killed at any instruction loses
 * nothing. What the store cannot write down about a piece (a full disk) is offered again until it
 * can: nothing stays claimed.
 */
#include "daemon/pump.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/str.h"
#include "daemon/breaker.h"
#include <stdlib.h>
#include <string.h>

enum {
    BATCH_EVENTS = 100,
    BATCH_BYTES = 4 << 20,
    BACKOFF_MS = 1000,
    BACKOFF_CAP_MS = 300000,
    HOLD_MS = 30000,
    IDLE_MS = 30000 /* looks again although nobody poked: a clock may have jumped */
};

typedef struct piece { /* a part of the claimed batch, still to be sent */
    struct piece *next;
    json_t *rows; /* array of claimed rows */
} piece;

typedef struct drain {
    struct drain *next;
    sm_pump *pump;
    void (*idle)(void *ctx);
    void *ctx;
    uv_timer_t timer;
} drain;

struct sm_pump {
    uv_loop_t *loop;
    sm_store *store;
    const sm_target *target;
    uv_timer_t wake;
    piece *pieces; /* front is under way */
    bool busy;     /* a claim, a delivery or its bookkeeping is under way */
    bool poked;    /* look again when not busy */
    bool closed;
    bool leaving; /* nothing more is claimed */
    drain *drains;
    sm_breaker breaker;
    int64_t since_ns;    /* wall: when the breaker changed its state */
    int64_t worked_ns;   /* wall: what was put back before is due; INT64_MIN: as it says */
    bool eager;          /* the present claim takes what is not due yet */
    bool patient;        /* they wait for what is to be tried again */
    bool held;           /* the last answer was a hold */
    sm_store_op book_op; /* what `book` is for */
    json_t *book;        /* bookkeeping of the piece that was answered, until it is durable */
    uint64_t verdicts[SM_VERDICTS]; /* events by verdict */
    char trouble[SM_ERR_MAX];       /* "" when all is well */
    char complaint[SM_ERR_MAX]; /* of the store, so that it is logged once; "" when all is well */
};

static void claim(sm_pump *p);
static void send_next(sm_pump *p);

static void on_wake(uv_timer_t *timer) {
    sm_pump_poke(timer->data);
}

static void wake_in(sm_pump *p, int64_t ms) {
    if (!p->closed)
        uv_timer_start(&p->wake, on_wake, ms > 0 ? (uint64_t)ms : 0, 0);
}

static void drain_closed(uv_handle_t *handle) {
    free(handle->data);
}

/* Ends one waiting drain. */
static void drain_end(drain *d) {
    drain **at = &d->pump->drains;
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    uv_close((uv_handle_t *)&d->timer, drain_closed);
    d->pump->patient = d->pump->patient && d->pump->drains;
    d->idle(d->ctx);
}

static void on_drain_late(uv_timer_t *timer) {
    drain_end(timer->data);
}

static void idle(sm_pump *p) {
    size_t n = 0; /* those that an end begins anew wait for their own look */
    for (const drain *d = p->drains; d; d = d->next)
        n++;
    for (; n > 0 && p->drains; n--) {
        drain *oldest = p->drains;
        while (oldest->next)
            oldest = oldest->next;
        drain_end(oldest);
    }
}

static void piece_drop(sm_pump *p) {
    piece *first = p->pieces;
    p->pieces = first->next;
    json_decref(first->rows);
    free(first);
}

/* Drops the front piece, or all, and gives their event ids. What is put back takes the rest of its
 * batch along: it was sent with it, and events of one dimension must stay in order. */
static json_t *take_ids(sm_pump *p, bool all) {
    json_t *ids = json_array();
    do {
        size_t i;
        json_t *row;
        json_array_foreach(p->pieces->rows, i, row)
            json_array_append_new(ids, json_string(sm_json_str(row, "event_id", "")));
        piece_drop(p);
    } while (all && p->pieces);
    return ids;
}

static void complain(sm_pump *p, const char *what, const sm_err *err) {
    if (strcmp(p->complaint, err->msg) == 0)
        return;
    snprintf(p->complaint, sizeof p->complaint, "%s", err->msg);
    sm_log(SM_LOG_ERROR, "%s: %s", what, err->msg);
}

static const char *account_of(const sm_pump *p) {
    return p->target->account ? p->target->account : "";
}

static void settle(sm_pump *p);

static void on_settle_again(uv_timer_t *timer) {
    settle(timer->data);
}

/* Takes recoveries out of what is still to be sent: their problem was refused, nobody saw it. */
static void withdraw(sm_pump *p, const json_t *ids) {
    size_t i, k;
    json_t *id;
    json_array_foreach(ids, i, id) {
        for (piece *at = p->pieces; at; at = at->next)
            for (k = json_array_size(at->rows); k > 0; k--)
                if (json_equal(json_object_get(json_array_get(at->rows, k - 1), "event_id"), id))
                    json_array_remove(at->rows, k - 1);
    }
    for (piece **at = &p->pieces; *at;) {
        piece *empty = *at;
        if (json_array_size(empty->rows) > 0) {
            at = &empty->next;
            continue;
        }
        *at = empty->next;
        json_decref(empty->rows);
        free(empty);
    }
}

/* Bookkeeping of a piece is durable: on with the next. */
static void settled(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    sm_pump *p = ctx;
    if (rc == SM_OK)
        withdraw(p, json_object_get(result, "withdrawn"));
    if (rc != SM_OK)
        complain(p, "the outbox could not be updated", err);
    /* What is wrong in itself is not repeated; the next start puts the rows back. */
    if (rc != SM_OK && rc != SM_INVALID && !p->closed) {
        uv_timer_start(&p->wake, on_settle_again, BACKOFF_MS, 0);
        return;
    }
    json_decref(p->book);
    p->book = NULL;
    send_next(p);
}

/* Writes down what became of a piece; busy until it is durable. */
static void settle(sm_pump *p) {
    sm_store_call(p->store, p->book_op, json_deep_copy(p->book), settled, p);
}

static int64_t attempts_of(const json_t *rows) {
    int64_t most = 0;
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        int64_t n = sm_json_int(row, "attempt", 0);
        most = n > most ? n : most;
    }
    return most;
}

static void split(sm_pump *p, piece *whole) {
    size_t n = json_array_size(whole->rows), half = n / 2;
    piece *second = sm_calloc(1, sizeof *second);
    second->rows = json_array();
    for (size_t i = half; i < n; i++)
        json_array_append(second->rows, json_array_get(whole->rows, i));
    for (size_t i = n; i > half; i--)
        json_array_remove(whole->rows, i - 1);
    second->next = whole->next;
    whole->next = second;
    send_next(p);
}

static void remember_trouble(sm_pump *p, sm_verdict verdict, const char *reason,
                             const char *detail) {
    char text[SM_ERR_MAX];
    snprintf(text, sizeof text, "%s: %s%s%s", p->target->node, reason, *detail ? ": " : "", detail);
    if (strcmp(text, p->trouble) != 0)
        sm_log(verdict == SM_REFUSED ? SM_LOG_ERROR : SM_LOG_WARN,
               verdict == SM_HOLD      ? "deliveries are held, nothing is lost: %s"
               : verdict == SM_REFUSED ? "an event was refused and is kept: %s"
                                       : "delivery failed and will be repeated: %s",
               text);
    if (verdict != SM_REFUSED)
        memcpy(p->trouble, text, sizeof text);
}

/* Tells the breaker what the answer says of the address. */
static void judge(sm_pump *p, sm_verdict verdict, const sm_answer *answer) {
    int64_t mono = sm_mono_ns(), wall = sm_wall_ns();
    int64_t after_ms = answer->retry_after_s > 0 ? answer->retry_after_s * 1000 : 0;
    uint64_t r = sm_rand_below(UINT64_MAX);
    sm_breaker_state was = p->breaker.state;
    p->held = verdict == SM_HOLD;
    if (verdict == SM_DELIVERED || verdict == SM_REFUSED) {
        if (sm_breaker_worked(&p->breaker)) {
            p->worked_ns = wall;
            sm_log(SM_LOG_INFO, "%s%s%s: deliveries work again", account_of(p),
                   *account_of(p) ? ", " : "", p->target->node);
        }
    } else if (verdict == SM_HOLD) {
        sm_breaker_held(&p->breaker, mono, after_ms > HOLD_MS ? after_ms : HOLD_MS, r);
    } else if (sm_breaker_failed(&p->breaker, mono, after_ms, r)) {
        sm_log(SM_LOG_WARN,
               "%s%s%s: %u failures in a row; nothing is sent for a while, events wait and nothing "
               "is lost",
               account_of(p), *account_of(p) ? ", " : "", p->target->node, p->breaker.failures);
    }
    if (p->breaker.state != was)
        p->since_ns = wall;
}

static void answered(void *ctx, const sm_answer *answer, const char *detail) {
    sm_pump *p = ctx;
    piece *sent = p->pieces;
    const char *reason = "";
    sm_answer of = *answer;
    of.batch = (int)json_array_size(sent->rows); /* known here, whatever the target says */
    sm_verdict verdict = sm_verdict_of(&of, &reason);
    int64_t now_ns = sm_wall_ns(), attempt = attempts_of(sent->rows);
    p->verdicts[verdict] += (uint64_t)of.batch;
    if (verdict == SM_SPLIT) {
        split(p, sent);
        return;
    }
    judge(p, verdict, &of);
    json_t *ids = take_ids(p, verdict == SM_RETRY || verdict == SM_HOLD);
    json_t *args = json_pack("{s:o, s:I}", "ids", ids, "at_ns", (json_int_t)now_ns);
    char text[SM_ERR_MAX];
    snprintf(text, sizeof text, "%s%s%s", reason, *reason && *detail ? ": " : "", detail);
    sm_store_op op = SM_OP_OUTBOX_DONE;
    if (verdict == SM_DELIVERED) {
        json_object_set_new(args, "answer", sm_json_text(text, strlen(text)));
        p->trouble[0] = '\0';
    } else {
        int64_t wait = sm_jitter(BACKOFF_MS, BACKOFF_CAP_MS, attempt > 30 ? 30 : (unsigned)attempt,
                                 sm_rand_below(UINT64_MAX));
        if (verdict == SM_HOLD && wait < HOLD_MS)
            wait = HOLD_MS;
        if (answer->retry_after_s >= 0 && answer->retry_after_s * 1000 > wait)
            wait = answer->retry_after_s * 1000;
        op = verdict == SM_HOLD      ? SM_OP_OUTBOX_HOLD
             : verdict == SM_REFUSED ? SM_OP_OUTBOX_REFUSE
                                     : SM_OP_OUTBOX_RETRY;
        json_object_set_new(args, "reason", sm_json_text(text, strlen(text)));
        json_object_set_new(args, "next_ms", json_integer(now_ns / SM_NS_PER_MS + wait));
        remember_trouble(p, verdict, reason, detail);
    }
    p->book_op = op;
    p->book = args;
    settle(p);
}

/* Sends the front piece, or claims again when the batch is done. */
static void send_next(sm_pump *p) {
    if (p->closed) {
        p->busy = false;
        return;
    }
    if (!p->pieces) {
        claim(p);
        return;
    }
    json_t *events = json_array(), *row;
    size_t i;
    json_array_foreach(p->pieces->rows, i, row)
        json_array_append(events, json_object_get(row, "payload"));
    p->target->deliver(p->target->ctx, events, answered, p);
    json_decref(events);
}

/* Nothing was due: sleep until something is. */
static void looked_ahead(void *ctx, sm_rc rc, const sm_err *err, const json_t *stats) {
    (void)err;
    sm_pump *p = ctx;
    p->busy = false;
    if (p->poked) {
        sm_pump_poke(p);
        return;
    }
    int64_t wait = IDLE_MS, now_ms = sm_wall_ns() / SM_NS_PER_MS;
    const json_t *next = rc == SM_OK ? json_object_get(stats, "next_ms") : NULL;
    if (json_is_integer(next)) {
        int64_t left = json_integer_value(next) - now_ms;
        wait = left < 100 ? 100 : left < IDLE_MS ? left : IDLE_MS;
    }
    wake_in(p, wait);
    if (p->patient && !p->held && json_is_integer(next))
        return; /* their own timers end the drains */
    idle(p);
}

static void claimed(void *ctx, sm_rc rc, const sm_err *err, const json_t *rows) {
    sm_pump *p = ctx;
    if (rc != SM_OK) {
        complain(p, "the outbox could not be read", err);
        p->busy = false;
        wake_in(p, BACKOFF_MS);
        idle(p);
        return;
    }
    p->complaint[0] = '\0';
    if (json_array_size(rows) == 0 && p->breaker.state == SM_BREAKER_HALF_OPEN && !p->eager) {
        /* It is time to see whether it works: with the oldest event, due or not. */
        p->eager = true;
        claim(p);
        return;
    }
    p->eager = false;
    if (json_array_size(rows) == 0) {
        sm_store_call(p->store, SM_OP_OUTBOX_STATS,
                      json_pack("{s:s*}", "account", p->target->account), looked_ahead, p);
        return;
    }
    piece *whole = sm_calloc(1, sizeof *whole);
    whole->rows = json_deep_copy(rows);
    p->pieces = whole;
    send_next(p);
}

/* The breaker lets nothing through now. Drains end later: this may be the call that began one. */
static void rest(sm_pump *p) {
    p->busy = false;
    wake_in(p, sm_breaker_wait_ms(&p->breaker, sm_mono_ns()));
    for (drain *d = p->drains; d && (!p->patient || p->held); d = d->next)
        uv_timer_start(&d->timer, on_drain_late, 0, 0);
}

static void claim(sm_pump *p) {
    int64_t wall = sm_wall_ns();
    sm_breaker_state was = p->breaker.state;
    int limit = sm_breaker_allow(&p->breaker, sm_mono_ns());
    p->poked = false;
    if (p->leaving) {
        p->busy = false;
        idle(p);
        return;
    }
    if (p->breaker.state != was)
        p->since_ns = wall;
    if (limit == 0) {
        rest(p);
        return;
    }
    int64_t past = p->eager ? wall : p->worked_ns;
    json_t *args = json_pack("{s:I, s:i, s:i, s:s*}", "now_ms", (json_int_t)(wall / SM_NS_PER_MS),
                             "limit", limit, "bytes", BATCH_BYTES, "account", p->target->account);
    if (past > INT64_MIN)
        json_object_set_new(args, "past_ns", json_integer(past));
    sm_store_call(p->store, SM_OP_OUTBOX_CLAIM, args, claimed, p);
}

void sm_pump_poke(sm_pump *p) {
    p->poked = true;
    if (p->busy || p->closed || p->leaving)
        return;
    p->busy = true;
    uv_timer_stop(&p->wake);
    claim(p);
}

void sm_pump_drain(sm_pump *p, int timeout_ms, void (*done)(void *ctx), void *ctx) {
    drain *d = sm_calloc(1, sizeof *d);
    d->pump = p;
    d->idle = done;
    d->ctx = ctx;
    d->next = p->drains;
    p->drains = d;
    uv_timer_init(p->loop, &d->timer);
    d->timer.data = d;
    uv_timer_start(&d->timer, on_drain_late, timeout_ms > 0 ? (uint64_t)timeout_ms : 0, 0);
    sm_pump_poke(p);
}

void sm_pump_patient(sm_pump *p) {
    p->patient = p->drains != NULL;
}

void sm_pump_hurry(sm_pump *p) {
    sm_breaker_hurry(&p->breaker);
    p->worked_ns = sm_wall_ns(); /* whatever was put back is due */
    sm_pump_poke(p);
}

static json_t *time_json(int64_t wall_ns) {
    char text[32];
    sm_time_rfc3339(wall_ns, true, text);
    return json_string(text);
}

json_t *sm_pump_breaker(const sm_pump *p) {
    const sm_breaker *b = &p->breaker;
    int64_t wait = sm_breaker_wait_ms(b, sm_mono_ns());
    return json_pack("{s:s, s:o, s:I, s:o, s:i}", "state", sm_breaker_name(b->state), "since",
                     time_json(p->since_ns), "failures", (json_int_t)b->failures, "next",
                     wait > 0 ? time_json(sm_wall_ns() + wait * SM_NS_PER_MS) : json_null(),
                     "batch", b->limit);
}

const uint64_t *sm_pump_verdicts(const sm_pump *p) {
    return p->verdicts;
}

const char *sm_pump_trouble(const sm_pump *p) {
    return p->trouble[0] ? p->trouble : NULL;
}

/* A great backlog at the start is not sent all at once to an address nobody has heard of yet. */
static void looked(void *ctx, sm_rc rc, const sm_err *err, const json_t *stats) {
    (void)err;
    sm_pump *p = ctx;
    if (rc == SM_OK && sm_json_int(stats, "pending", 0) > BATCH_EVENTS)
        sm_breaker_careful(&p->breaker);
}

sm_pump *sm_pump_new(uv_loop_t *loop, sm_store *store, const sm_target *target) {
    sm_pump *p = sm_calloc(1, sizeof *p);
    p->loop = loop;
    p->store = store;
    p->target = target;
    p->worked_ns = INT64_MIN;
    p->since_ns = sm_wall_ns();
    sm_breaker_init(&p->breaker, BATCH_EVENTS);
    uv_timer_init(loop, &p->wake);
    p->wake.data = p;
    sm_store_call(store, SM_OP_OUTBOX_STATS, NULL, looked, p);
    return p;
}

void sm_pump_leave(sm_pump *p) {
    p->leaving = true;
    if (!p->busy)
        idle(p);
}

bool sm_pump_idle(const sm_pump *p) {
    return !p->busy && !p->drains;
}

void sm_pump_close(sm_pump *p) {
    if (p->closed)
        return;
    p->closed = true;
    idle(p);
    uv_close((uv_handle_t *)&p->wake, NULL);
}

void sm_pump_free(sm_pump *p) {
    if (!p)
        return;
    while (p->pieces)
        piece_drop(p);
    json_decref(p->book);
    free(p);
}
