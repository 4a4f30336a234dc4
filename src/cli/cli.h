/* cli: what the commands share: parsed arguments, exit codes, output. */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include "daemon/config.h"
#include <stdbool.h>
#include <stdio.h>

/* Exit codes (cli.md): 0 fine, 1 failure, 2 event of --fail-on, 5 no specs, 64 usage, 78
 * configuration. */
enum {
    SM_EXIT_OK = 0,
    SM_EXIT_FAIL = 1,
    SM_EXIT_EVENT = 2,
    SM_EXIT_USAGE = 64,
    SM_EXIT_CONFIG = 78
};

typedef struct sm_args {
    const char *self;    /* path of this executable */
    const char *command; /* "run" */
    sm_flags flags;
    bool new_identity; /* --new-identity */
    bool help, version, once, dry, json, quiet, verbose, no_color, log, gaps;
    bool show_config, send_event; /* doctor */
    bool force;                   /* backup */
    bool yes, pending;            /* outbox */
    bool rules;                   /* lint */
    const char *log_format, *format, *pattern, *tags, *since, *id, *status, *fail_on, *tz, *from,
        *brand, *reason, *from_kind, *sha256, *trace;
    double wait_s, drain_s, timeout_s;
    long n;           /* -n, 0 when not given */
    json_t *override; /* {id: {name: text}} from -p, NULL when none */
    char **rest;      /* positional arguments, borrowed from argv */
    int n_rest;
} sm_args;

/* Parses argv after the command. SM_INVALID: one sentence with the nearest option. */
sm_rc sm_args_parse(int argc, char **argv, sm_args *out, sm_err *err);
void sm_args_fini(sm_args *a);
/* Calls one for each option of a command: its name, its short form or NULL, whether a value
 * follows. Commands that read their own arguments (test, lua) have none here. */
void sm_args_options(const char *command,
                     void (*one)(void *ctx, const char *name, const char *brief, bool value),
                     void *ctx);

/* Prints help of a command (NULL: the overview); false when there is no such command. */
bool sm_help_print(FILE *to, const char *command);
/* Names of the commands, ended by NULL. */
extern const char *const sm_commands[];

/* Takes 0, 1 and 2 where they are closed, so that no file of ours gets such a number. */
void sm_streams_take(void);
/* For a daemon: a write to 1 and 2 never blocks, what a full pipe does not take is dropped; a
 * reader that is gone does not end the process (SIGPIPE is ignored). */
void sm_streams_unblock(void);

/* `selfmon-lua: SENTENCE` on standard error; returns code. */
int sm_cli_fail(int code, const char *sentence);
/* Loads the configuration and sets up the log. 0, or the exit code after saying why. */
int sm_cli_config(const sm_args *a, bool need_root, sm_config **out);
/* Sets up the log as arguments and configuration say. */
void sm_cli_log(const sm_args *a, const sm_config *config);
/* The same for those who only look: any node will do. *err has the sentence, nothing is printed. */
sm_rc sm_cli_load(const sm_args *a, bool need_root, sm_config **out, sm_err *err);
/* Calls line for each value of the configuration, sorted by key: secrets as ***. */
void sm_cli_explain(const sm_config *config,
                    void (*line)(void *ctx, const char *key, const char *value, const char *origin),
                    void *ctx);
/* What `list` shows (daemon/views.h), from the process that holds the state directory, else from
 * the scripts loaded here. New reference. */
sm_rc sm_cli_list(const sm_args *a, sm_config *config, json_t **out, sm_err *err);

/* Output. Colours only on a terminal and unless --no-color or NO_COLOR. */
bool sm_cli_color(const sm_args *a, FILE *to);
const char *sm_cli_paint(bool color, const char *word); /* escape for a status or outcome, "" */
const char *sm_cli_plain(bool color);
void sm_cli_json(const json_t *j); /* one document and a newline on standard output */
/* One line for a finished run, as in the first run's output. id_width: column of the id. */
void sm_cli_run_line(FILE *to, bool color, int id_width, const json_t *report);
/* Its log: `id: text`, warnings with their level; debug lines when verbose. */
void sm_cli_run_log(FILE *to, const json_t *report, bool verbose);
/* Text safe for a terminal, tabs as blanks, at most max bytes. Caller frees. */
char *sm_cli_text(const char *text, size_t max);
/* Path as a person would type it: relative when below the current directory. Caller frees. */
char *sm_cli_path(const char *path);

/* Paths of the command line relative to the root ("" is the root): array, new reference. SM_INVALID
 * for one that is not there or lies outside of it. */
sm_rc sm_cli_paths(const sm_args *a, const sm_config *c, json_t **out, sm_err *err);

/* The commands; each returns an exit code. */
int sm_cmd_run(const sm_args *a);
int sm_cmd_list(const sm_args *a);
int sm_cmd_key(const sm_args *a);
int sm_cmd_next(const sm_args *a);
int sm_cmd_events(const sm_args *a);
int sm_cmd_runs(const sm_args *a);
int sm_cmd_local(const sm_args *a);
int sm_cmd_lint(const sm_args *a);
int sm_cmd_market(const sm_args *a);
int sm_cmd_nodes(const sm_args *a);
int sm_cmd_status(const sm_args *a);
int sm_cmd_doctor(const sm_args *a);
int sm_cmd_mute(const sm_args *a); /* and unmute */
int sm_cmd_why(const sm_args *a);
int sm_cmd_outbox(const sm_args *a);
int sm_cmd_adopt(const sm_args *a);
int sm_cmd_backup(const sm_args *a); /* and restore */
int sm_cmd_kit(const sm_args *a);    /* types, doc, new, init */
int sm_cmd_complete(const sm_args *a);
/* `test`: argv holds the arguments only; self is the path of this executable. */
int sm_cmd_test(const char *self, int argc, char **argv);
int sm_cmd_check(const sm_args *a);
/* `check` with arguments that cannot be read: a line of a plugin, and its exit code. */
int sm_cmd_check_usage(const char *sentence);
