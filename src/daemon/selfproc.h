/* selfproc: what the kernel says of this process, from /proc/self. */
#pragma once
#include "base/json.h"

/* {rss (bytes), cpu (seconds), threads, fds, max_fds}; 0 for what cannot be read. New reference. */
json_t *sm_selfproc(void);
