/* config_parts: what the rooms of the configuration share while one is being loaded. Inner header
 * of config*.c; nobody else includes it (but for its tests). */
#pragma once
#include "daemon/config.h"

enum { SM_CONF_JSON_MAX = 8 << 20, SM_CONF_SECRET_MAX = 64 << 10 };

typedef struct sm_conf { /* one loading, on its caller's stack */
    const sm_flags *flags;
    const char *again;       /* the file that must still be there, or NULL */
    const atomic_bool *stop; /* ends it early; or NULL */
    bool bare;               /* the file is found and not read */
    char *shown;     /* the file as sentences name it (below the current directory: relative) */
    char *dir;       /* directory of the file; NULL without one */
    json_t *table;   /* the file's table; never NULL */
    json_t *lines;   /* object dotted key -> line; never NULL */
    sm_config *made; /* what is being filled */
    char **files;    /* ended by NULL */
    size_t n_files;
} sm_conf;

/* Adds a path (copied) to what the configuration was read from. */
void sm_conf_add_file(sm_conf *c, const char *path);

/* Opens the secrets that scripts may use; for who runs them. */
void sm_conf_open_granted(sm_conf *c);

/* config_find: where things are. */
/* Fills made->file, shown and dir; leaves them NULL when there is no file. */
sm_rc sm_conf_find_file(sm_conf *c, sm_err *err);
/* Fills made->root and display once the file is read. Root stays NULL when there is none and it is
 * not needed. */
sm_rc sm_conf_find_root(sm_conf *c, bool need_root, sm_err *err);
/* Fills made->state_dir from flag, environment, file or default. */
void sm_conf_find_state(sm_conf *c);

/* config_eval: runs `self --eval-config file` and gives the object it wrote; SM_TIMEOUT, SM_LIMIT,
 * SM_PROTO or SM_IO with a sentence that begins with `file`; SM_CLOSED when *stop (may be NULL). */
sm_rc sm_conf_eval(const char *self, const char *file, int64_t timeout_ns, const atomic_bool *stop,
                   json_t **out, sm_err *err);

/* config_keys: the keys with a single value, and the strict reading of tables. */
/* Fills err with "FILE:LINE: sentence", the line of the nearest known part of key. SM_INVALID. */
sm_rc sm_conf_refuse(const sm_conf *c, sm_err *err, const char *key, const char *fmt, ...)
    SM_PRINTF(4, 5);
/* "KEY: expected WHAT, got VALUE". */
sm_rc sm_conf_expected(const sm_conf *c, sm_err *err, const char *key, const char *what,
                       const json_t *got);
/* Every key of obj is one of names (n of them); `at` is obj's dotted key, "" at the top. */
sm_rc sm_conf_known(const sm_conf *c, const char *at, const json_t *obj, const char *const *names,
                    size_t n, sm_err *err);
/* *out borrowed: the object at the top-level key (an empty Lua table may be an array), or NULL. */
sm_rc sm_conf_object(const sm_conf *c, const char *key, const json_t *v, const json_t **out,
                     sm_err *err);
/* Sets values[key] (value taken) and origins[key]. */
void sm_conf_put(sm_conf *c, const char *key, json_t *value, const char *origin);
/* "selfmon.conf.lua:12" or "selfmon.conf.lua"; caller frees. */
char *sm_conf_origin(const sm_conf *c, const char *key);
/* Checks the top level, and reads every single-valued key into values and origins. */
sm_rc sm_conf_keys(sm_conf *c, sm_err *err);
/* Copies values into the members of made. */
void sm_conf_fill(sm_conf *c);
/* A duration in seconds from a number or a text; false when it is neither. */
bool sm_conf_seconds(const json_t *v, double *out);

/* config_tables: params, schedule, instances, grant, keys, secrets, net, maintenance. */
sm_rc sm_conf_tables(sm_conf *c, sm_err *err);

/* config_heartbeat: the key `heartbeat`, with its address as a held secret. */
sm_rc sm_conf_heartbeat(sm_conf *c, sm_err *err);

/* config_account: accounts, their node and keys; environment and --node for accounts.default. */
sm_rc sm_conf_accounts(sm_conf *c, sm_err *err);

/* config_secret: secrets leave the JSON at once. */
/* Takes the text at obj[key] out of the JSON into a held secret named `name`; nothing without it.
 * SM_INVALID when it is no text. */
sm_rc sm_conf_take_secret(sm_conf *c, json_t *obj, const char *key, const char *name, sm_err *err);
/* As that, from the environment variable `var` or the file named by var_FILE; *found tells. */
sm_rc sm_conf_env_secret(sm_conf *c, const char *var, const char *name, bool *found, sm_err *err);
/* Reads secret, secret_file and SELFMON_SECRET into made->assoc; checks the files of `secrets`. */
sm_rc sm_conf_secrets(sm_conf *c, sm_err *err);
/* getenv, with "" as unset. */
const char *sm_conf_env(const char *name);
