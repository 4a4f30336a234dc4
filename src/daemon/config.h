/* config: what the operator wants: flag > environment > file > default, each value with its origin.
 *
 * The file is Lua, evaluated by `selfmon-lua --eval-config` in a process of its own; here its JSON
 * is checked strictly (unknown key: nearest known one, file and line). Immutable after loading; a
 * program that runs replaces it by another (app_reload.c), and the last user of the former frees
 * it.
 */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include "base/secret.h"
#include "daemon/secretsrc.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sm_flags {    /* from the command line; NULL = not given */
    const char *config_file; /* -c */
    const char *state_dir;   /* --state-dir */
    const char *node;        /* --node */
    const char *path;        /* the PATH argument that decides the root, NULL when none */
} sm_flags;

typedef struct sm_config {
    int refs;
    char **files;     /* what it was read from; ended by NULL */
    char *file;       /* absolute path of the configuration file, NULL when there is none */
    char *root;       /* absolute inspections root; NULL when there is none and none was needed */
    char *display;    /* prefix of chunk names: the root's last path part ("inspections") */
    char *state_dir;  /* absolute */
    char *node;       /* node of accounts.default: "local", or a remote one's name */
    bool local;       /* every account talks to the embedded platform */
    json_t *accounts; /* object name -> object, secrets taken out */
    sm_secret *assoc; /* secret of the association keys, NULL when it must be generated */
    json_t *keys;     /* object function id -> pinned association key */
    json_t *secrets;  /* object name -> source table */
    json_t *params, *schedule, *instances, *grant; /* objects, {} when absent */
    json_t *net;                                   /* policy or NULL */
    char *timezone;                                /* "UTC" */
    double config_max_age;
    int workers, runs_per_worker, max_running;
    bool process_isolation;
    json_t *limits; /* {memory,wall,cpu,log,events,http_parallel,http_total,http_body} ceilings and
                       defaults */
    int64_t outbox_bytes, min_free_bytes;
    double keep_runs_s, keep_events_s;
    bool report_failures;
    double heartbeat_s;  /* between two beats; the address is the secret "heartbeat" */
    char *health_listen; /* as base/addr takes it, or NULL */
    char *log_level, *log_format;
    json_t *maintenance; /* array, [] when absent */
    json_t *values;      /* object dotted key -> effective value, secrets as "***" */
    json_t *origins;     /* dotted key -> "default" | "flag --x" | "environment X" | "file:line" */
    struct sm_config_held { /* secrets of accounts, e.g. "accounts.default.api_key" */
        char *name;
        sm_secret *value;
        sm_secretsrc *source; /* then value may be NULL: it is read again when it changes */
        char *spec;           /* of the source, as text; NULL without one */
    } * held;
    size_t n_held;
} sm_config;

/* Finds, evaluates, merges, checks. `self` is the path of this executable. need_root: SM_NOT_FOUND
 * when there is no inspections root (exit 64). Other failures are SM_INVALID (exit 78) with one
 * sentence. */
sm_rc sm_config_load(const char *self, const sm_flags *flags, bool need_root, sm_config **out,
                     sm_err *err);
/* The same for a program that runs. file: the configuration file it had, which must still be there;
 * NULL: it had none, one is searched for. *stop ends it early (SM_CLOSED). *files (never NULL, free
 * with sm_config_files_free): as sm_config_files, also after a failure. Any thread. */
sm_rc sm_config_load_again(const char *self, const sm_flags *flags, const char *file,
                           const atomic_bool *stop, sm_config **out, char ***files, sm_err *err);
void sm_config_files_free(char **files);
/* As if the file were empty: for a reader that looks for the state directory of a daemon while the
 * file is wrong. */
sm_rc sm_config_load_bare(const sm_flags *flags, sm_config **out, sm_err *err);
/* One more reference, and one less: with the last one its memory is freed, secrets are zeroed. */
sm_config *sm_config_ref(const sm_config *c);
void sm_config_free(sm_config *c);
/* The files whose change may change the configuration: its own (or where one would be found first),
 * those that it reads with file(), those of secrets. Absolute paths, ended by NULL; borrowed. */
const char *const *sm_config_files(const sm_config *c);
/* Names of the top-level keys in which two configurations differ, in the order of b. New array. */
json_t *sm_config_changes(const sm_config *a, const sm_config *b);
/* Whether a held secret comes from the same place in both, or is the same value. */
bool sm_config_same_secret(const sm_config *a, const sm_config *b, const char *name);
/* What only a start decides (root, state directory, association secret) stays as `old` has it; the
 * secret moves over. */
void sm_config_inherit(sm_config *c, sm_config *old);
/* The association secret: the configured one, else the state directory's `secret` file, which is
 * made (32 random bytes, 0600) when `create`. SM_NOT_FOUND when there is none and !create. *out
 * belongs to the config. */
sm_rc sm_config_assoc_secret(sm_config *c, bool create, const sm_secret **out, sm_err *err);
/* A secret of an account by its dotted key ("accounts.default.api_key", also api_key_id and
 * secret_key), borrowed; NULL when it is not configured. */
const sm_secret *sm_config_secret(const sm_config *c, const char *name);
/* Granted permissions of a function id: array, new reference (from `grant` by path pattern). */
json_t *sm_config_grants(const sm_config *c, const char *function_id);
/* Every value with its origin, secrets as "***": what `doctor --config` and -v show. New reference.
 */
json_t *sm_config_explain(const sm_config *c);
