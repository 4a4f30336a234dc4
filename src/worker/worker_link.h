/* worker_link: the writing side of a worker's socket. */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include <stddef.h>

typedef struct sm_wlink sm_wlink;

sm_wlink *sm_wlink_new(int fd);
void sm_wlink_free(sm_wlink *w);
/* Sends one frame; any thread. Frames of one thread keep their order. Returns when the frame is on
 * its way or in the hands of another thread that writes. head is borrowed. SM_CLOSED when the
 * daemon is gone; SM_LIMIT when the frame is too long. */
sm_rc sm_wlink_send(sm_wlink *w, const json_t *head, const void *body, size_t n, sm_err *err);
