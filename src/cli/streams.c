/* streams: the standard streams of the process: that 0, 1 and 2 are taken, and that a daemon never
 * waits for whoever reads its output.
 *
 * Called by main and by cmd_run, before there are threads. A stream that cannot be changed is left
 * as it is.
 */
#include "cli/cli.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

void sm_streams_take(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
            continue;
        /* The wrong way round, so that reading and writing still fail as on a closed one. */
        int got = open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        if (got != fd && got > STDERR_FILENO)
            close(got);
    }
}

static void unblock(int fd) {
    struct stat st;
    char path[32];
    if (fstat(fd, &st) != 0 || S_ISREG(st.st_mode))
        return;
    if (S_ISSOCK(st.st_mode)) {
        int flags = fcntl(fd, F_GETFL);
        if (flags >= 0)
            fcntl(fd, F_SETFL, flags | O_NONBLOCK);
        return;
    }
    /* Opened again, because the flag belongs to the open file, which may be the shell's as well. */
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own < 0)
        return;
    dup2(own, fd);
    close(own);
}

void sm_streams_unblock(void) {
    signal(SIGPIPE, SIG_IGN);
    unblock(STDOUT_FILENO);
    unblock(STDERR_FILENO);
}
