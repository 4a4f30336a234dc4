/* aside: what services read for runs on libuv's threads, a few at a time, oldest first, so that a
 * dead network disk holds up neither the loop nor the other users of these threads. Owned by the
 * loop's thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

typedef struct sm_aside sm_aside;
typedef struct sm_aside_task sm_aside_task;

/* The first member of what a service reads. */
struct sm_aside_task {
    void (*read)(sm_aside_task *t); /* on a thread of libuv */
    void (*end)(sm_aside_task *t);  /* on the loop, once: tells and frees it */
    /* aside's own, readable by the service */
    sm_aside *aside; /* NULL: it is gone */
    bool reading;
    int64_t since_ns; /* monotonic, when the reading began */
    uv_work_t work;
    sm_aside_task *next;
};

struct sm_aside {
    uv_loop_t *loop;
    int at_once;
    sm_aside_task *first; /* those that are read or wait for that, oldest first */
};

void sm_aside_put(sm_aside *a, sm_aside_task *t);
/* Nobody wants it any more: true when it had not begun; it is not listed any more then, and the
 * caller ends it. Otherwise it ends when its thread is through. */
bool sm_aside_drop(sm_aside_task *t);
/* After the last run: what is on a thread is let go of. */
void sm_aside_forget(sm_aside *a);
