/* without: runs a command as on a kernel, or in a container, that lacks something:
 * tool_without ENOSYS|EPERM landlock|seccomp COMMAND… makes its system calls fail so. */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv) {
    static const char *const landlock[] = {"landlock_create_ruleset", "landlock_add_rule",
                                           "landlock_restrict_self", NULL};
    static const char *const seccomp[] = {"seccomp", NULL};
    if (argc < 4) {
        fprintf(stderr, "usage: tool_without ENOSYS|EPERM landlock|seccomp COMMAND…\n");
        return 64;
    }
    uint32_t action = SCMP_ACT_ERRNO(strcmp(argv[1], "EPERM") == 0 ? EPERM : ENOSYS);
    const char *const *names = strcmp(argv[2], "landlock") == 0 ? landlock : seccomp;
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    int rc = 0;
    for (; *names; names++)
        rc |= seccomp_rule_add(ctx, action, seccomp_syscall_resolve_name(*names), 0);
    if (names[-1] == seccomp[0])
        rc |= seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(prctl), 1,
                               SCMP_A0(SCMP_CMP_EQ, PR_SET_SECCOMP));
    if (rc != 0 || seccomp_load(ctx) != 0) {
        fprintf(stderr, "tool_without: cannot load the filter\n");
        return 1;
    }
    seccomp_release(ctx);
    execvp(argv[3], argv + 3);
    perror(argv[3]);
    return 127;
}
