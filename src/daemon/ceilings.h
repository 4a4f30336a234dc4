/* ceilings: what the system lets this process have (files, threads, memory), and what follows for
 * the numbers of the configuration. Called once at the start, before there are workers. */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct sm_room { /* -1: no limit */
    int64_t files;       /* that one process may have open (RLIMIT_NOFILE) */
    int64_t tasks;       /* processes and threads that may still be made */
    int64_t memory;      /* bytes */
    bool tasks_grouped;  /* tasks is the control group's limit, not the user's */
    bool memory_grouped; /* memory is the control group's limit, not the machine's */
} sm_room;

typedef struct sm_ceilings {
    int workers, runs_per_worker, max_running; /* in: wanted; out: what fits */
    bool isolated;                             /* in: each run has a process of its own */
    int processes;                             /* out: workers of all kinds; 0: no limit */
    int peers;                                 /* out: commands that may ask at once */
} sm_ceilings;

/* Raises the soft limit of open files to the hard one, and looks at the limits of the process, its
 * user and its control group (v2 or v1). root: where /proc and /sys are, "" outside of tests. */
void sm_ceilings_measure(const char *root, sm_room *out);
/* Lowers what does not fit; *said (array, new reference) gets one sentence for each:
 * {key, text}. SM_LIMIT: not even the least fits; *said is NULL then. */
sm_rc sm_ceilings_fit(const sm_room *room, sm_ceilings *c, json_t **said, sm_err *err);
