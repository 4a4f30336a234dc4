/* config: what the operator wants: flag > environment > file > default, each value with its origin.
 *
 * The file is Lua, evaluated by `selfmon-lua --eval-config` in a process of its own; here its JSON
 * is checked strictly (unknown key: nearest known one, file and line). Immutable after loading.
 */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include "base/secret.h"
#include "daemon/secretsrc.h"
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
    char *health_listen; /* as base/addr takes it, or NULL */
    char *log_level, *log_format;
    json_t *maintenance; /* array, [] when absent */
    json_t *values;      /* object dotted key -> effective value, secrets as "***" */
    json_t *origins;     /* dotted key -> "default" | "flag --x" | "environment X" | "file:line" */
    struct sm_config_held { /* secrets of accounts, e.g. "accounts.default.api_key" */
        char *name;
        sm_secret *value;
        sm_secretsrc *source; /* then value may be NULL: it is read again when it changes */
    } * held;
    size_t n_held;
} sm_config;

/* Finds, evaluates, merges, checks. `self` is the path of this executable. need_root: SM_NOT_FOUND
 * when there is no inspections root (exit 64). Other failures are SM_INVALID (exit 78) with one
 * sentence. */
sm_rc sm_config_load(const char *self, const sm_flags *flags, bool need_root, sm_config **out,
                     sm_err *err);
void sm_config_free(sm_config *c);
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
