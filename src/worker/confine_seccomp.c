/* confine_seccomp: the system calls that a worker, or the evaluation of the configuration, keeps.
 *
 * An allow-list. What is dangerous and known is refused with EPERM (files: EACCES); whatever is not
 * listed at all answers ENOSYS, as an older kernel would: a newer libc that tries a newer call
 * falls back instead of dying. Threads yes, processes no; reading files yes, writing no; sockets to
 * the network yes, to this machine's services (AF_UNIX: D-Bus, Docker, our own control socket) no.
 * Called by confine.c.
 */
#include "worker/confine_parts.h"
#include "base/str.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <net/if.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

/* Names, since which of them a machine has differs; one that libseccomp does not know is left out.
 */
static const char *const allowed[] = {
    /* memory */
    "brk", "munmap", "mremap", "madvise", "mlock", "munlock", "mincore", "membarrier",
    /* threads and time */
    "futex", "futex_waitv", "set_robust_list", "get_robust_list", "rseq", "set_tid_address",
    "sched_yield", "sched_getaffinity", "sched_getparam", "sched_getscheduler", "getcpu", "exit",
    "exit_group", "restart_syscall", "nanosleep", "clock_nanosleep", "clock_gettime",
    "clock_getres", "gettimeofday", "time", "times", "getrusage", "getpriority",
    /* signals to itself (tgkill is below) */
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait",
    "rt_sigsuspend", "sigaltstack", "pause",
    /* descriptors */
    "read", "readv", "pread64", "preadv", "write", "writev", "lseek", "close", "close_range", "dup",
    "dup2", "dup3", "pipe", "pipe2", "eventfd", "eventfd2", "poll", "ppoll", "select", "pselect6",
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2",
    /* looking at files (open is below) */
    "stat", "lstat", "fstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat",
    "faccessat2", "readlink", "readlinkat", "getdents64", "getcwd", "fadvise64",
    /* about itself and the machine */
    "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getrlimit", "uname",
    "sysinfo", "getrandom"};

static const char *const allowed_network[] = {
    "connect", "bind",     "sendto",      "sendmsg",     "sendmmsg",   "recvfrom",
    "recvmsg", "shutdown", "getsockname", "getpeername", "setsockopt", "getsockopt"};

static const char *const refused[] = {"execve",
                                      "execveat",
                                      "fork",
                                      "vfork",
                                      "ptrace",
                                      "process_vm_readv",
                                      "process_vm_writev",
                                      "process_madvise",
                                      "pidfd_open",
                                      "pidfd_getfd",
                                      "pidfd_send_signal",
                                      "kcmp",
                                      "kill",
                                      "tkill",
                                      "rt_sigqueueinfo",
                                      "rt_tgsigqueueinfo",
                                      "mount",
                                      "umount2",
                                      "mount_setattr",
                                      "move_mount",
                                      "open_tree",
                                      "fsopen",
                                      "fsconfig",
                                      "fsmount",
                                      "fspick",
                                      "pivot_root",
                                      "chroot",
                                      "unshare",
                                      "setns",
                                      "add_key",
                                      "request_key",
                                      "keyctl",
                                      "bpf",
                                      "perf_event_open",
                                      "io_uring_setup",
                                      "io_uring_enter",
                                      "io_uring_register",
                                      "userfaultfd",
                                      "kexec_load",
                                      "kexec_file_load",
                                      "init_module",
                                      "finit_module",
                                      "delete_module",
                                      "memfd_create",
                                      "memfd_secret",
                                      "pkey_mprotect",
                                      "personality",
                                      "listen",
                                      "accept",
                                      "accept4",
                                      "name_to_handle_at",
                                      "open_by_handle_at",
                                      "setuid",
                                      "setgid",
                                      "setreuid",
                                      "setregid",
                                      "setresuid",
                                      "setresgid",
                                      "setfsuid",
                                      "setfsgid",
                                      "setgroups",
                                      "capset",
                                      "setrlimit",
                                      "setsid",
                                      "setpgid",
                                      "reboot",
                                      "swapon",
                                      "swapoff",
                                      "sethostname",
                                      "setdomainname",
                                      "settimeofday",
                                      "clock_settime",
                                      "clock_adjtime",
                                      "adjtimex",
                                      "acct",
                                      "syslog",
                                      "quotactl",
                                      "ioperm",
                                      "iopl",
                                      "modify_ldt",
                                      "seccomp",
                                      "fanotify_init",
                                      "inotify_init1",
                                      "shmget",
                                      "msgget",
                                      "semget",
                                      "mq_open",
                                      "sched_setscheduler",
                                      "sched_setparam",
                                      "sched_setattr",
                                      "sched_setaffinity",
                                      "ioprio_set",
                                      "landlock_restrict_self"};

static const char *const refused_files[] = {
    "creat",           "unlink",    "unlinkat",  "rename",      "renameat",     "renameat2",
    "mkdir",           "mkdirat",   "rmdir",     "link",        "linkat",       "symlink",
    "symlinkat",       "mknod",     "mknodat",   "truncate",    "ftruncate",    "fallocate",
    "chmod",           "fchmod",    "fchmodat",  "fchmodat2",   "chown",        "fchown",
    "lchown",          "fchownat",  "utime",     "utimes",      "utimensat",    "futimesat",
    "setxattr",        "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr",
    "copy_file_range", "sendfile",  "splice"};

static const uint32_t ALLOW = SCMP_ACT_ALLOW;

/* Adds one rule with up to two conditions. */
static bool rule(scmp_filter_ctx ctx, uint32_t action, const char *name, unsigned n,
                 struct scmp_arg_cmp a, struct scmp_arg_cmp b) {
    int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR)
        return true;
    const struct scmp_arg_cmp conditions[] = {a, b};
    return seccomp_rule_add_array(ctx, action, number, n, conditions) == 0;
}

static const struct scmp_arg_cmp nothing = {0};

static bool rule0(scmp_filter_ctx ctx, uint32_t action, const char *name) {
    return rule(ctx, action, name, 0, nothing, nothing);
}

static bool rule1(scmp_filter_ctx ctx, uint32_t action, const char *name, struct scmp_arg_cmp a) {
    return rule(ctx, action, name, 1, a, nothing);
}

static bool each(scmp_filter_ctx ctx, uint32_t action, const char *const *names, size_t n) {
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++)
        ok = rule0(ctx, action, names[i]);
    return ok;
}

/* Reading only: any way to write or make a file is EACCES, as on a read-only place. */
static bool rules_open(scmp_filter_ctx ctx, const char *name, unsigned flags_at) {
    const uint64_t writing = O_ACCMODE | O_CREAT | O_TRUNC;
    bool ok = rule1(ctx, ALLOW, name, SCMP_CMP(flags_at, SCMP_CMP_MASKED_EQ, writing, 0));
    for (uint64_t mode = 1; mode <= O_ACCMODE && ok; mode++)
        ok = rule1(ctx, SCMP_ACT_ERRNO(EACCES), name,
                   SCMP_CMP(flags_at, SCMP_CMP_MASKED_EQ, O_ACCMODE, mode));
    return ok &&
           rule1(ctx, SCMP_ACT_ERRNO(EACCES), name,
                 SCMP_CMP(flags_at, SCMP_CMP_MASKED_EQ, O_CREAT, O_CREAT)) &&
           rule1(ctx, SCMP_ACT_ERRNO(EACCES), name,
                 SCMP_CMP(flags_at, SCMP_CMP_MASKED_EQ, O_TRUNC, O_TRUNC));
}

/* No memory that is both written and executed. The sanitizers map theirs so. */
static bool rules_memory(scmp_filter_ctx ctx) {
#ifdef SM_SANITIZED
    return rule0(ctx, ALLOW, "mmap") && rule0(ctx, ALLOW, "mprotect");
#else
    const uint64_t both = PROT_WRITE | PROT_EXEC;
    return rule1(ctx, ALLOW, "mmap", SCMP_A2(SCMP_CMP_MASKED_EQ, both, 0)) &&
           rule1(ctx, ALLOW, "mmap", SCMP_A2(SCMP_CMP_MASKED_EQ, both, PROT_WRITE)) &&
           rule1(ctx, ALLOW, "mmap", SCMP_A2(SCMP_CMP_MASKED_EQ, both, PROT_EXEC)) &&
           rule1(ctx, SCMP_ACT_ERRNO(EPERM), "mmap", SCMP_A2(SCMP_CMP_MASKED_EQ, both, both)) &&
           rule1(ctx, ALLOW, "mprotect", SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) &&
           rule1(ctx, SCMP_ACT_ERRNO(EPERM), "mprotect",
                 SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
#endif
}

/* Threads of this process. clone3 hides its flags in memory and is not listed: its ENOSYS sends
 * libc back to clone. */
static bool rules_threads(scmp_filter_ctx ctx) {
    const uint64_t apart = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                           CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
    const uint64_t self = (uint64_t)getpid();
    return rule1(ctx, ALLOW, "clone",
                 SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | apart, CLONE_THREAD)) &&
           rule1(ctx, SCMP_ACT_ERRNO(EPERM), "clone",
                 SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0)) &&
           rule1(ctx, ALLOW, "tgkill", SCMP_A0(SCMP_CMP_EQ, self)) &&
           rule1(ctx, SCMP_ACT_ERRNO(EPERM), "tgkill", SCMP_A0(SCMP_CMP_NE, self)) &&
           /* The watchdog makes a busy run's thread nice, as nice as can be; that a thread is of
            * this process cannot be seen here. */
           rule(ctx, ALLOW, "setpriority", 2, SCMP_A0(SCMP_CMP_EQ, PRIO_PROCESS),
                SCMP_A2(SCMP_CMP_EQ, 19)) &&
           rule(ctx, ALLOW, "prlimit64", 2, SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0)) &&
           rule1(ctx, SCMP_ACT_ERRNO(EPERM), "prlimit64", SCMP_A2(SCMP_CMP_NE, 0));
}

/* Calls with a verb in them. */
static bool rules_verbs(scmp_filter_ctx ctx) {
    static const uint64_t fcntl_verbs[] = {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD,
                                           F_SETFD, F_GETFL,         F_SETFL};
    /* TIOCSTI, for one, would type into the terminal that the daemon writes to. */
    static const uint64_t ioctl_verbs[] = {FIONREAD, FIONBIO, TCGETS, SIOCGIFINDEX, SIOCGIFNAME};
    static const uint64_t prctl_verbs[] = {PR_SET_NAME, PR_GET_NAME, PR_SET_VMA, PR_GET_DUMPABLE,
                                           PR_GET_NO_NEW_PRIVS};
    static const uint64_t prctl_refused[] = {PR_SET_DUMPABLE, PR_SET_PDEATHSIG,  PR_SET_PTRACER,
                                             PR_CAP_AMBIENT,  PR_SET_SECUREBITS, PR_SET_SECCOMP,
                                             PR_SET_MM};
    bool ok = true;
    for (size_t i = 0; i < SM_ARRAY_LEN(fcntl_verbs) && ok; i++)
        ok = rule1(ctx, ALLOW, "fcntl", SCMP_A1(SCMP_CMP_EQ, fcntl_verbs[i]));
    for (size_t i = 0; i < SM_ARRAY_LEN(ioctl_verbs) && ok; i++)
        ok = rule1(ctx, ALLOW, "ioctl", SCMP_A1(SCMP_CMP_EQ, ioctl_verbs[i]));
    for (size_t i = 0; i < SM_ARRAY_LEN(prctl_verbs) && ok; i++)
        ok = rule1(ctx, ALLOW, "prctl", SCMP_A0(SCMP_CMP_EQ, prctl_verbs[i]));
    for (size_t i = 0; i < SM_ARRAY_LEN(prctl_refused) && ok; i++)
        ok = rule1(ctx, SCMP_ACT_ERRNO(EPERM), "prctl", SCMP_A0(SCMP_CMP_EQ, prctl_refused[i]));
    return ok;
}

/* TCP, UDP and unprivileged ping; the routing table for getaddrinfo; pairs of stream sockets for
 * waking threads (a datagram one could be sent anywhere). */
static bool rules_sockets(scmp_filter_ctx ctx) {
    static const uint64_t families[] = {AF_INET, AF_INET6}, kinds[] = {SOCK_STREAM, SOCK_DGRAM};
    static const uint64_t strangers[] = {AF_UNIX,      AF_PACKET, AF_VSOCK, AF_ALG,
                                         AF_BLUETOOTH, AF_CAN,    AF_KEY};
    const uint64_t kind_mask = 0xf;
    bool ok = each(ctx, ALLOW, allowed_network, SM_ARRAY_LEN(allowed_network));
    for (size_t f = 0; f < SM_ARRAY_LEN(families) && ok; f++) {
        for (size_t k = 0; k < SM_ARRAY_LEN(kinds) && ok; k++)
            ok = rule(ctx, ALLOW, "socket", 2, SCMP_A0(SCMP_CMP_EQ, families[f]),
                      SCMP_A1(SCMP_CMP_MASKED_EQ, kind_mask, kinds[k]));
        ok = ok && rule(ctx, SCMP_ACT_ERRNO(EPERM), "socket", 2, SCMP_A0(SCMP_CMP_EQ, families[f]),
                        SCMP_A1(SCMP_CMP_MASKED_EQ, kind_mask, SOCK_RAW));
    }
    for (size_t i = 0; i < SM_ARRAY_LEN(strangers) && ok; i++)
        ok = rule1(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", SCMP_A0(SCMP_CMP_EQ, strangers[i]));
    return ok &&
           rule(ctx, ALLOW, "socket", 2, SCMP_A0(SCMP_CMP_EQ, AF_NETLINK),
                SCMP_A2(SCMP_CMP_EQ, NETLINK_ROUTE)) &&
           rule(ctx, ALLOW, "socketpair", 2, SCMP_A0(SCMP_CMP_EQ, AF_UNIX),
                SCMP_A1(SCMP_CMP_MASKED_EQ, kind_mask, SOCK_STREAM));
}

bool sm_confine_seccomp(bool network) {
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (!ctx)
        return false;
    bool ok = each(ctx, ALLOW, allowed, SM_ARRAY_LEN(allowed)) &&
              each(ctx, SCMP_ACT_ERRNO(EPERM), refused, SM_ARRAY_LEN(refused)) &&
              each(ctx, SCMP_ACT_ERRNO(EACCES), refused_files, SM_ARRAY_LEN(refused_files)) &&
              rules_open(ctx, "open", 1) && rules_open(ctx, "openat", 2) && rules_memory(ctx) &&
              rules_threads(ctx) && rules_verbs(ctx) &&
              (network ? rules_sockets(ctx)
                       : rule0(ctx, SCMP_ACT_ERRNO(EPERM), "socket") &&
                             rule0(ctx, SCMP_ACT_ERRNO(EPERM), "connect"));
    /* A tree instead of a list: the calls that carry conditions are found in a few steps. */
    ok = ok && seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2) == 0;
    ok = ok && seccomp_load(ctx) == 0;
    seccomp_release(ctx);
    return ok;
}

bool sm_confine_seccomp_there(void) {
    const uint32_t action = SECCOMP_RET_ERRNO;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}
