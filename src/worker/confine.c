/* confine: limits, capabilities and the order in which a process gives up what it does not need
 * (confine.h). Called by worker.c and evalconf.c on their only thread; keeps no state.
 *
 * A daemon that runs as root keeps its user id in the workers, but none of root's powers: all
 * capabilities go, so a worker is root as far as files owned by root are readable to their owner,
 * and Landlock leaves of these only what is listed there.
 */
#include "worker/confine_parts.h"
#include "base/err.h"
#include "worker/entry.h"
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char lacks_landlock[] =
    "this kernel has no Landlock: scripts' processes can read files that they should not need";
static const char lacks_seccomp[] = "this kernel has no seccomp filters: scripts' processes can "
                                    "make system calls that they should not need";
static const char lacks_nnp[] = "this kernel has no no_new_privs: scripts' processes could gain "
                                "powers from set-user-ID programs";

/* Lowers a limit; one that is lower already stays. */
static void lower(__rlimit_resource_t what, uint64_t most) {
    struct rlimit now;
    if (getrlimit(what, &now) != 0)
        return;
    rlim_t hard = now.rlim_max < (rlim_t)most ? now.rlim_max : (rlim_t)most;
    const struct rlimit then = {hard, hard};
    setrlimit(what, &then);
}

/* Nothing here may grow a file: write gives EFBIG instead of a signal. The sanitizers' reports need
 * files, and their shadow memory terabytes of address space. */
static void limit(uint64_t bytes, uint64_t files) {
    lower(RLIMIT_CORE, 0);
    if (files > 0)
        lower(RLIMIT_NOFILE, files);
    signal(SIGXFSZ, SIG_IGN);
#ifdef SM_SANITIZED
    (void)bytes;
#else
    lower(RLIMIT_FSIZE, 0);
    if (bytes > 0)
        lower(RLIMIT_AS, bytes);
#endif
}

/* When memory runs out, the kernel takes a worker before the daemon and anybody else. */
static void volunteer(void) {
    static const char most[] = "1000";
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)!write(fd, most, sizeof most - 1);
    close(fd);
}

static void drop_capabilities(void) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}};
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* refused unless we are privileged */
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    syscall(SYS_capset, &head, none);
}

void sm_confine_worker(uint64_t bytes, uint64_t files, sm_confined *out) {
    memset(out, 0, sizeof *out);
    limit(bytes, files);
    volunteer(); /* before it is not dumpable: then this file is root's */
    drop_capabilities();
    prctl(PR_SET_DUMPABLE, 0);
    out->no_new_privs = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
    out->landlock = sm_confine_landlock(out);
    out->seccomp = sm_confine_seccomp(true);
}

void sm_confine_config(sm_confined *out) {
    memset(out, 0, sizeof *out);
    limit(0, 0);
    prctl(PR_SET_DUMPABLE, 0);
    out->no_new_privs = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
    out->seccomp = sm_confine_seccomp(false);
}

void sm_confine_probe(sm_confined *out) {
    memset(out, 0, sizeof *out);
    out->no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) >= 0;
    out->landlock = sm_confine_landlock_abi();
    out->seccomp = sm_confine_seccomp_there();
}

const char *sm_confine_lacks(const sm_confined *c, size_t i) {
    if (c->landlock == 0 && i-- == 0)
        return lacks_landlock;
    if (!c->seccomp && i-- == 0)
        return lacks_seccomp;
    if (!c->no_new_privs && i-- == 0)
        return lacks_nnp;
    return NULL;
}

bool sm_confine_stale(const sm_confined *c) {
    for (size_t i = 0; i < c->n_pins; i++) {
        struct stat st = {0};
        if (stat(c->pins[i].path, &st) != 0)
            st = (struct stat){0};
        if (st.st_dev != c->pins[i].dev || st.st_ino != c->pins[i].ino)
            return true;
    }
    return false;
}

void sm_worker_cage_probe(sm_worker_cage *out) {
    sm_confined here;
    sm_confine_probe(&here);
    *out = (sm_worker_cage){here.landlock, here.seccomp, here.no_new_privs, {NULL}};
    for (size_t i = 0; i < SM_ARRAY_LEN(out->lacks) - 1; i++)
        out->lacks[i] = i > 0 && !out->lacks[i - 1] ? NULL : sm_confine_lacks(&here, i);
}
