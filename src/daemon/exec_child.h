/* exec_child: one program that runs for a script: its keeper, its pipes, its time. What is run, for
 * whom and how many at once is exec's work. Owned by the loop.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum {
    SM_EXEC_OUT_MAX = 1 << 20,    /* kept of standard output, and of standard error */
    SM_EXEC_FLOOD_MAX = 64 << 20, /* of a stream; a program that writes more is ended */
    SM_EXEC_EOF_MS = 1000,        /* for the pipes to end when everybody has */
    SM_EXEC_STOP_MS = 10000       /* for a keeper to end what it was told to */
};

typedef struct sm_exec_child sm_exec_child;

typedef enum sm_exec_end {
    SM_EXEC_EXITED,  /* status says how */
    SM_EXEC_FAILED,  /* it never ran: err */
    SM_EXEC_TIMEOUT, /* it was ended at its time */
    SM_EXEC_FLOOD,   /* it was ended, as it wrote too much */
    SM_EXEC_CROWD,   /* it was ended, as it had too many processes */
    SM_EXEC_STOPPED, /* sm_exec_child_stop */
    SM_EXEC_LOST     /* its keeper died */
} sm_exec_end;

typedef struct sm_exec_result {
    sm_exec_end end;
    int status; /* as waitpid gives it */
    double seconds;
    int left; /* processes it left behind, which were ended */
    bool out_cut, err_cut;
    sm_buf out, err_out; /* SM_EXEC_OUT_MAX each */
    sm_err err;
} sm_exec_result;

typedef struct sm_exec_order {
    uv_loop_t *loop;
    const char *self; /* this executable: the keeper */
    const char *cwd;
    char *const *argv; /* argv[0] is the program's absolute path; NULL at the end */
    char *const *env;
    const char *input; /* what it reads, copied; n 0: /dev/null */
    size_t input_n;
    double timeout_s;
    /* Called once, from the loop, never from within start, stop or abandon; *r is the child's and
     * may be taken from. The child is freed after it. */
    void (*ended)(void *ctx, sm_exec_result *r);
    void *ctx;
} sm_exec_order;

/* What the order points to is not needed after it. NULL: err says why. */
sm_exec_child *sm_exec_child_start(const sm_exec_order *order, sm_err *err);
/* Ends it: SIGTERM, later SIGKILL, for all that came of it; `ended` tells when. */
void sm_exec_child_stop(sm_exec_child *c);
/* Lets go of it at the end of the program: its keeper ends it; `ended` is not called. */
void sm_exec_child_abandon(sm_exec_child *c);
