/* main: chooses the command. The only place that ends the process.
 *
 * `--worker`, `--exec-child` and `--eval-config` are the program's own doors for its child
 * processes; they come first, so that a worker starts without touching anything else.
 */
#include "cli/cli.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/exec_keeper.h"
#include "store/store.h"
#include "worker/entry.h"
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *name;
    int (*run)(const sm_args *a);
} commands[] = {
    {"check", sm_cmd_check},   {"run", sm_cmd_run},       {"list", sm_cmd_list},
    {"key", sm_cmd_key},       {"next", sm_cmd_next},     {"events", sm_cmd_events},
    {"runs", sm_cmd_runs},     {"local", sm_cmd_local},   {"mute", sm_cmd_mute},
    {"why", sm_cmd_why},       {"unmute", sm_cmd_mute},   {"lint", sm_cmd_lint},
    {"nodes", sm_cmd_nodes},   {"status", sm_cmd_status}, {"doctor", sm_cmd_doctor},
    {"adopt", sm_cmd_adopt},   {"backup", sm_cmd_backup}, {"restore", sm_cmd_backup},
    {"outbox", sm_cmd_outbox}, {"types", sm_cmd_kit},     {"doc", sm_cmd_kit},
    {"new", sm_cmd_kit},       {"init", sm_cmd_kit},      {"completion", sm_cmd_complete},
    {"market", sm_cmd_market}};

static void print_version(void) {
    char text[256];
    sm_worker_versions(text, sizeof text);
    printf("selfmon-lua %s\n%s\nSQLite %s\n", SM_VERSION, text, sm_store_engine());
}

static int unknown_command(const char *word) {
    char text[256], hint[128];
    size_t n = 0;
    while (sm_commands[n])
        n++;
    snprintf(text, sizeof text, "unknown command %.60s%s (see `selfmon-lua --help`)", word,
             sm_str_hint(word, sm_commands, n, hint, sizeof hint));
    return sm_cli_fail(SM_EXIT_USAGE, text);
}

static bool wants_help(int argc, char **argv) {
    return argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0);
}

/* Output that did not arrive is a failure, also for a caller who only looks at the exit code. */
static int written(int code) {
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == SM_EXIT_OK)
        return sm_cli_fail(SM_EXIT_FAIL, "standard output: it could not be written");
    return code;
}

static int dispatch(const char *self, int argc, char **argv) {
    const char *command = argv[1];
    if (strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0 ||
        strcmp(command, "help") == 0) {
        const char *page = argc > 2 ? argv[2] : NULL;
        return sm_help_print(stdout, page) ? SM_EXIT_OK : unknown_command(page);
    }
    if (strcmp(command, "--version") == 0) {
        print_version();
        return SM_EXIT_OK;
    }
    if (strcmp(command, "lua") == 0 || strcmp(command, "test") == 0) {
        if (wants_help(argc - 2, argv + 2))
            return sm_help_print(stdout, command) ? SM_EXIT_OK : SM_EXIT_FAIL;
        return strcmp(command, "lua") == 0 ? sm_luacmd_main(argc - 1, argv + 1)
                                           : sm_cmd_test(self, argc - 2, argv + 2);
    }
    for (size_t i = 0; i < SM_ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, command) != 0)
            continue;
        sm_err err = SM_ERR_INIT;
        sm_args args = {.self = self, .command = command, .wait_s = 60, .drain_s = 30};
        int code;
        if (sm_args_parse(argc - 2, argv + 2, &args, &err) != SM_OK)
            code = strcmp(command, "check") == 0 ? sm_cmd_check_usage(err.msg)
                                                 : sm_cli_fail(SM_EXIT_USAGE, err.msg);
        else if (args.help)
            code = sm_help_print(stdout, command) ? SM_EXIT_OK : SM_EXIT_FAIL;
        else
            code = commands[i].run(&args);
        if (strcmp(command, "run") != 0 || args.once || args.dry)
            code = written(code); /* a daemon drops what its reader does not take */
        sm_args_fini(&args);
        return code;
    }
    return unknown_command(command);
}

/* A HUP before the daemon's loop handles it must not end the program: it waits (app_signals). */
static void hold_hup(void) {
    sigset_t hup;
    sigemptyset(&hup);
    sigaddset(&hup, SIGHUP);
    sigprocmask(SIG_BLOCK, &hup, NULL);
}

int main(int argc, char **argv) {
    if (argc >= 2 && strcmp(argv[1], "run") == 0)
        hold_hup();
    sm_streams_take();
    if (argc >= 2 && strcmp(argv[1], "--exec-child") == 0)
        return sm_exec_keeper_main(argc, argv);
    if (argc >= 2 && strcmp(argv[1], "--worker") == 0)
        return sm_worker_main(argc, argv);
    if (argc >= 2 && strcmp(argv[1], "--eval-config") == 0)
        return sm_evalconf_main(argc, argv);
    static char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return sm_cli_fail(SM_EXIT_FAIL, "cannot find my own executable (/proc/self/exe)");
    self[n] = '\0';
    if (argc < 2) {
        sm_help_print(stderr, NULL);
        return SM_EXIT_USAGE;
    }
    return dispatch(self, argc, argv);
}
