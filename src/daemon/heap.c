/* heap: a binary heap whose items know their place, so that any of them can be taken out (see
 * heap.h). Owned by the loop's thread. */
#include "daemon/heap.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

static bool before(const sm_due *a, const sm_due *b) {
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : strcmp(a->id, b->id) < 0;
}

static void put(sm_heap *h, size_t i, sm_due *d) {
    h->items[i] = d;
    d->place = i;
}

static void sift_up(sm_heap *h, size_t i) {
    sm_due *d = h->items[i];
    while (i > 0 && before(d, h->items[(i - 1) / 2])) {
        put(h, i, h->items[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(h, i, d);
}

static void sift_down(sm_heap *h, size_t i) {
    sm_due *d = h->items[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->n)
            break;
        if (child + 1 < h->n && before(h->items[child + 1], h->items[child]))
            child++;
        if (!before(h->items[child], d))
            break;
        put(h, i, h->items[child]);
        i = child;
    }
    put(h, i, d);
}

void sm_heap_remove(sm_heap *h, sm_due *d) {
    if (d->place == SM_NOT_DUE)
        return;
    size_t i = d->place;
    sm_due *last = h->items[--h->n];
    d->place = SM_NOT_DUE;
    if (last != d) {
        put(h, i, last);
        sift_up(h, i);
        sift_down(h, last->place);
    }
}

void sm_heap_add(sm_heap *h, sm_due *d) {
    if (h->n == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 64;
        h->items = sm_realloc(h->items, h->cap * sizeof(sm_due *));
    }
    h->n++;
    put(h, h->n - 1, d);
    sift_up(h, h->n - 1);
}

sm_due *sm_heap_top(const sm_heap *h) {
    return h->n > 0 ? h->items[0] : NULL;
}

void sm_heap_fini(sm_heap *h) {
    free(h->items);
    *h = (sm_heap){0};
}
