/* aside: the queue of what is read on libuv's threads (aside.h). Owned by the loop. */
#include "daemon/aside.h"
#include "base/clock.h"

static void read_it(uv_work_t *work) {
    sm_aside_task *t = work->data;
    t->read(t);
}

static void unlist(sm_aside_task *t) {
    sm_aside_task **at = &t->aside->first;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
}

static void next_ones(sm_aside *a);

static void after(uv_work_t *work, int status) {
    sm_aside_task *t = work->data;
    sm_aside *a = t->aside;
    (void)status; /* never cancelled */
    if (a)
        unlist(t);
    t->end(t);
    if (a)
        next_ones(a);
}

/* Begins to read what waits, oldest first. */
static void next_ones(sm_aside *a) {
    int reading = 0;
    for (sm_aside_task *t = a->first; t && reading < a->at_once; t = t->next) {
        reading++;
        if (t->reading)
            continue;
        t->reading = true;
        t->since_ns = sm_mono_ns();
        t->work.data = t;
        uv_queue_work(a->loop, &t->work, read_it, after);
    }
}

void sm_aside_put(sm_aside *a, sm_aside_task *t) {
    sm_aside_task **last = &a->first;
    while (*last)
        last = &(*last)->next;
    *last = t;
    t->aside = a;
    next_ones(a);
}

bool sm_aside_drop(sm_aside_task *t) {
    if (t->reading)
        return false;
    unlist(t);
    return true;
}

void sm_aside_forget(sm_aside *a) {
    for (sm_aside_task *t = a->first; t; t = t->next)
        t->aside = NULL;
    a->first = NULL;
}
