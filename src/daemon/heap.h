/* heap: what is due, the earliest first; ties by id, so that the order is stable. The items are the
 * caller's. Used by the scheduler; owned by the loop's thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sm_due {
    int64_t at_ns;
    const char *id;
    size_t place; /* of the heap's own; SM_NOT_DUE: not in it. Set so before the first use */
} sm_due;

#define SM_NOT_DUE SIZE_MAX

typedef struct sm_heap {
    sm_due **items;
    size_t n, cap;
} sm_heap;

void sm_heap_add(sm_heap *h, sm_due *d); /* must not be in it */
void sm_heap_remove(sm_heap *h, sm_due *d);
/* The earliest, or NULL. */
sm_due *sm_heap_top(const sm_heap *h);
void sm_heap_fini(sm_heap *h);
