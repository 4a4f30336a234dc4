/* netops: what selfmon.net does in the network, without Lua: one operation is a word, its checked
 * arguments, and an answer or a sentence with a code (netstream.h has the codes). Several are done
 * at once by threads that end with the call. Called by bind_net.c on the run's thread. */
#pragma once
#include "worker/netstream.h"
#include "worker/run.h"

typedef struct sm_netop {
    const char *what; /* static: "tcp" "open" "tls" "dns" "ping" "ntp"; to a test's fake also
                         "send" "receive" "starttls" "close" of a connection */
    json_t *args;     /* object: host, port, timeout, … (bind_net_read.c says which); owned */
    char *send;       /* bytes to send first; may be a secret: wiped; or NULL */
    size_t send_n;
    char *ca; /* PEM of option ca, or NULL */

    json_t *value;        /* the answer, owned */
    char code[32];        /* set with `error` when there is none, else "" */
    char *error;          /* one sentence, owned */
    bool raise;           /* a test has no fake for it: `error` is raised at the script's line */
    sm_netstream *stream; /* of "open", owned */
} sm_netop;

/* The system's certificates for TLS of this run, read by the first call; on the run's thread. */
X509_STORE *sm_net_trust(sm_run *run);
void sm_netop_fini(sm_netop *op);
void sm_netop_fail(sm_netop *op, const char *code, const char *sentence);
/* Does n of them, at most run->limits.http_parallel at once, each within its own timeout; fills
 * value or code and error. Returns soon after the run was stopped. */
void sm_netops_perform(sm_run *run, sm_netop *ops, size_t n);

/* One of each kind; w ends no later than the op's timeout. *out new reference. */
sm_rc sm_netop_dns(const json_t *args, const json_t *net, const sm_netwait *w, json_t **out,
                   sm_err *err);
sm_rc sm_netop_ping(const json_t *args, const json_t *net, const sm_netwait *w, json_t **out,
                    sm_err *err);
sm_rc sm_netop_ntp(const json_t *args, const json_t *net, const sm_netwait *w, json_t **out,
                   sm_err *err);
