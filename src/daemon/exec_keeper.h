/* exec_keeper: what a keeper and the daemon say to each other, and the keeper's main.
 *
 * A keeper (`selfmon-lua --exec-child`) is a small process between the daemon and one program that
 * a script runs: it starts the program confined and ends all that came of it, also when the daemon
 * is gone. One socket (SOCK_SEQPACKET, the keeper's descriptor 3) joins the two: the keeper sends
 * STARTED or FAILED, and ENDED at the last; that the daemon shuts down its side, or dies, means:
 * end it.
 */
#pragma once
#include <stdint.h>

enum {
    SM_KEEPER_GRACE_MS = 2000,  /* from SIGTERM to SIGKILL */
    SM_KEEPER_LEFT_MS = 200,    /* what a program left behind may still end by itself */
    SM_KEEPER_DEAD_MS = 3000,   /* what SIGKILL does not end within it is given up */
    SM_KEEPER_PROCESSES = 256,  /* a program and all that it starts, at once */
    SM_KEEPER_FILES = 1024,     /* descriptors of each process */
    SM_KEEPER_FILE_MB = 64,     /* the largest file it may write */
    SM_KEEPER_MEMORY_MB = 1024, /* data of each process */
    SM_KEEPER_TEXT = 480
};

typedef enum sm_keeper_kind { SM_KEEPER_STARTED, SM_KEEPER_FAILED, SM_KEEPER_ENDED } sm_keeper_kind;

typedef struct sm_keeper_news {
    int32_t kind;    /* sm_keeper_kind */
    int32_t value;   /* STARTED: pid and group of the program; FAILED: sm_rc; ENDED: its status as
                        waitpid gives it */
    int64_t ns;      /* ENDED: how long the program ran */
    int32_t left;    /* ENDED: processes it left behind, which were ended */
    int32_t crowded; /* ENDED: it had more than SM_KEEPER_PROCESSES, and was ended for that */
    char text[SM_KEEPER_TEXT]; /* FAILED: a sentence */
} sm_keeper_news;

/* `selfmon-lua --exec-child CPU_SECONDS DIRECTORY PROGRAM ARGUMENTS…`: 0, 1 and 2 are the
 * program's, its environment is the keeper's, 3 is the socket. Returns an exit code. */
int sm_exec_keeper_main(int argc, char **argv);
