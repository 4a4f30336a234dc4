/* notify: tells the service manager how the daemon is (sd_notify(3)): ready, reloading, stopping,
 * and that it is alive. Owned by the loop's thread; made by main before there are others. */
#pragma once
#include "store/store.h"
#include <uv.h>

typedef struct sm_notify sm_notify;

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and takes them out of the environment, so
 * that no child speaks for us. Without a service manager everything below does nothing. Never NULL.
 */
sm_notify *sm_notify_new(void);
/* Works on this loop until close. */
void sm_notify_open(sm_notify *n, uv_loop_t *loop);
/* Feeds the watchdog from now on, at half of its time, each time only after this store has answered
 * a read: a loop or a store that hangs lets the service manager start us again. */
void sm_notify_watch(sm_notify *n, sm_store *store);
/* status: one line for `systemctl status`. */
void sm_notify_ready(sm_notify *n, const char *status);
/* A reload began; ready when busy(ctx) is false, which is looked at soon and again. */
void sm_notify_reloading(sm_notify *n, bool (*busy)(const void *ctx), const void *ctx);
void sm_notify_stopping(sm_notify *n);
void sm_notify_close(sm_notify *n);
void sm_notify_free(sm_notify *n); /* once the loop has turned and the store is closed */
