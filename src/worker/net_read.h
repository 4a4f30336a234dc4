/* net_read: from a script's arguments to an operation of selfmon.net. Shared by bind_net.c,
 * bind_conn.c, net_args.c and net_read.c only. On the run's thread; raises for a wrong call at the
 * script's line, with the function's and the option's name. */
#pragma once
#include "worker/netops.h"
#include <lua.h>

typedef enum sm_net_option_kind {
    SM_NET_SECONDS, /* above 0, at most max */
    SM_NET_WHOLE,   /* min..max */
    SM_NET_TEXT,    /* one printable line */
    SM_NET_BYTES,   /* a string or a secret, sent */
    SM_NET_FLAG,    /* a boolean */
    SM_NET_WORD,    /* one of words */
    SM_NET_LINE,    /* "line", or a number of bytes */
    SM_NET_TLS,     /* true, or a table of TLS options */
    SM_NET_PEM,     /* SM_NET_PEM text, or the absolute path of a file of certificates */
    SM_NET_SERVER   /* "ip" or "ip:port" */
} sm_net_option_kind;

typedef struct sm_net_option {
    const char *name;
    sm_net_option_kind kind;
    double min, max;
    const char *const *words;
} sm_net_option;

/* Reads the table of options at idx (nil: none) into args, strictly; `list` ends with a NULL name.
 * [-0, +0, e] */
void sm_net_read_options(lua_State *L, int idx, const char *where, const sm_net_option *list,
                         sm_netop *op, json_t *args);
/* A whole number of min..max at idx. */
bool sm_net_whole(lua_State *L, int idx, double min, double max, lua_Integer *v);

typedef struct sm_net_kind {
    const char *what;                                                      /* "tcp" */
    void (*read)(lua_State *L, int base, const char *where, sm_netop *op); /* arguments from base */
} sm_net_kind;

extern const sm_net_kind sm_net_kinds[]; /* ends with a NULL what */

/* Options of a connection's starttls at idx (nil: none) into op->args. [-0, +0, e] */
void sm_net_read_tls(lua_State *L, int idx, const char *where, sm_netop *op);
/* A wait in seconds at idx: nil gives def. [-0, +0, e] */
double sm_net_read_timeout(lua_State *L, int idx, const char *where, double def);
