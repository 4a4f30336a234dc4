/* breaker: when, and how much at once, an account's address may be sent to. Pure: it is told what
 * happened and at what monotonic time; it only delays, it never drops. Owned by a pump. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Closed: events flow, after a failure in growing batches. Open: nothing is sent until a time.
 * Half open: one event is under way to see whether it works again. */
typedef enum sm_breaker_state {
    SM_BREAKER_CLOSED,
    SM_BREAKER_OPEN,
    SM_BREAKER_HALF_OPEN
} sm_breaker_state;

typedef struct sm_breaker {
    sm_breaker_state state;
    int full;          /* events of a whole batch */
    int limit;         /* events that may go at once now */
    unsigned failures; /* in a row */
    unsigned opened;   /* times in a row that it opened */
    uint32_t last;     /* the last answers, newest in bit 0; 1: a failure */
    int n_last;
    int64_t until_ns; /* monotonic: open until then */
} sm_breaker;

void sm_breaker_init(sm_breaker *b, int full);
/* There is a backlog of which nobody knows whether it is wanted: begin with one event. */
void sm_breaker_careful(sm_breaker *b);
/* How many events may be sent now, 0: none before sm_breaker_wait_ms has passed. When the time of
 * an open breaker is over it becomes half open. */
int sm_breaker_allow(sm_breaker *b, int64_t now_ns);
/* Milliseconds until something may be sent; 0: now. */
int64_t sm_breaker_wait_ms(const sm_breaker *b, int64_t now_ns);
/* The address took what it got, or refused an event for the event's own fault: it works. True when
 * this closed it: what was put back meanwhile need not wait any longer. */
bool sm_breaker_worked(sm_breaker *b);
/* A failure that passes: opens after 5 in a row, or when 10 of the last 20 failed; at once when it
 * was half open, or the address itself said how long to wait (after_ms, else 0). r: random bits.
 * True when this opened it. */
bool sm_breaker_failed(sm_breaker *b, int64_t now_ns, int64_t after_ms, uint64_t r);
/* Nothing will go until somebody puts it right: opens at once, for at least least_ms. True when it
 * was not open for that already. */
bool sm_breaker_held(sm_breaker *b, int64_t now_ns, int64_t least_ms, uint64_t r);
/* Something changed (a key, by hand): try at once. */
void sm_breaker_hurry(sm_breaker *b);
const char *sm_breaker_name(sm_breaker_state state); /* "closed", "open", "half-open" */
