/* worker_link: the combining writer of a worker's socket: whoever has something to send appends it,
 * and one of them writes what has gathered while the others go on.
 *
 * Reading is worker's own. A daemon that does not read makes the senders wait once OUT_MAX bytes
 * are pending; after a write error everything that follows is SM_CLOSED.
 */
#include "worker/worker_link.h"
#include "base/fsx.h"
#include "base/buf.h"
#include "base/frame.h"
#include "base/mem.h"
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OUT_MAX = 16 << 20, OUT_CEILING = 64 << 20 };

struct sm_wlink {
    int fd; /* borrowed */
    pthread_mutex_t mu;
    pthread_cond_t drained; /* the pending bytes became fewer */
    sm_buf pending;         /* frames nobody writes yet */
    bool writing;           /* a thread is in write() */
    bool broken;
};

sm_wlink *sm_wlink_new(int fd) {
    sm_wlink *w = sm_calloc(1, sizeof *w);
    w->fd = fd;
    pthread_mutex_init(&w->mu, NULL);
    pthread_cond_init(&w->drained, NULL);
    sm_buf_init(&w->pending, OUT_CEILING);
    return w;
}

void sm_wlink_free(sm_wlink *w) {
    sm_buf_fini(&w->pending);
    pthread_cond_destroy(&w->drained);
    pthread_mutex_destroy(&w->mu);
    free(w);
}

sm_rc sm_wlink_send(sm_wlink *w, const json_t *head, const void *body, size_t n, sm_err *err) {
    sm_buf frame;
    sm_buf_init(&frame, SM_FRAME_PREFIX + SM_FRAME_HEAD_MAX + SM_FRAME_BODY_MAX);
    sm_rc rc = sm_frame_encode(&frame, head, body, n, err);
    if (rc != SM_OK) {
        sm_buf_fini(&frame);
        return rc;
    }
    pthread_mutex_lock(&w->mu);
    while (w->writing && !w->broken && w->pending.len > 0 &&
           w->pending.len + frame.len > (size_t)OUT_MAX)
        pthread_cond_wait(&w->drained, &w->mu);
    if (!w->broken)
        sm_buf_add(&w->pending, frame.data, frame.len);
    while (!w->writing && !w->broken && w->pending.len > 0) {
        sm_buf out = w->pending;
        sm_buf_init(&w->pending, OUT_CEILING);
        w->writing = true;
        pthread_mutex_unlock(&w->mu);
        bool ok = sm_fsx_write_all(w->fd, out.data, out.len) == SM_OK;
        sm_buf_fini(&out);
        pthread_mutex_lock(&w->mu);
        w->writing = false;
        w->broken = w->broken || !ok;
        pthread_cond_broadcast(&w->drained);
    }
    rc = w->broken ? sm_err_set(err, SM_CLOSED, "the daemon is gone") : SM_OK;
    pthread_mutex_unlock(&w->mu);
    sm_buf_fini(&frame);
    return rc;
}
