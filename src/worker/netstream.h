/* netstream: waiting, names and streams below HTTP, without Lua: TCP, and TLS upon it.
 *
 * Everything here blocks the calling thread, but never past sm_netwait: its deadline, or the stop
 * of the run. Every address is checked against the configuration's policy (worker/netpolicy) before
 * anything is sent to it, also one that a name resolved to. A stream belongs to one thread.
 *
 * CODES. sm_net_code names a failure for scripts: SM_NOT_FOUND dns, SM_IO connect, SM_TIMEOUT
 * timeout, SM_INVALID tls, SM_DENIED denied, SM_CLOSED closed (by the peer, or the run was
 * stopped), SM_PROTO protocol, SM_LIMIT too_large. Messages begin with "HOST:PORT: ".
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
    SM_NET_RECEIVE_MAX = 1 << 20, /* bytes that one receive may ask for, and a stream keeps */
    SM_NET_LINE_MAX = 64 << 10,   /* bytes of a line */
    SM_NET_ADDRS_MAX = 16,        /* addresses of a name that are tried */
    SM_NET_HOST_MAX = 253,        /* bytes of a name */
    SM_NET_OPEN_MAX = 64          /* connections of one run that are open at once */
};

/* Stack of a helper thread; the sanitizers' frames are larger. */
#ifdef SM_SANITIZED
enum { SM_NET_STACK = 2 << 20 };
#else
enum { SM_NET_STACK = 256 << 10 };
#endif

/* How long a wait may last, and what ends it early. */
typedef struct sm_netwait {
    int64_t deadline_ns;     /* monotonic */
    const _Atomic int *stop; /* not 0: ended */
    int wake_fd;             /* readable once stop is set; -1: a signal interrupts, else it is seen
                                within 50 ms */
} sm_netwait;

const char *sm_net_code(sm_rc rc);
/* The wait that ends seconds from now, or with w if that is earlier. */
sm_netwait sm_netwait_within(const sm_netwait *w, double seconds);
double sm_netwait_left(const sm_netwait *w);
/* Waits until fd (-1: nothing but the time) is ready for `events` of poll(2), or broken. SM_OK,
 * SM_TIMEOUT, SM_CLOSED when stopped. No message. */
sm_rc sm_netwait_fd(int fd, short events, const sm_netwait *w);
/* Sentences for a wait that ended: "HOST: did not … in time", "HOST: the run was stopped". */
sm_rc sm_netwait_say(sm_rc rc, const char *who, const char *what, sm_err *err);

/* OpenSSL writes without MSG_NOSIGNAL: around its calls SIGPIPE is held back, and what came of it
 * dropped. For processes that do not ignore it (`selfmon-lua lua`). */
typedef struct sm_netquiet {
    sigset_t before;
    bool was_pending;
} sm_netquiet;
void sm_netquiet_begin(sm_netquiet *q);
void sm_netquiet_end(const sm_netquiet *q);

typedef struct sm_netaddrs {
    struct sockaddr_storage a[SM_NET_ADDRS_MAX];
    socklen_t len[SM_NET_ADDRS_MAX];
    size_t n;
} sm_netaddrs;

/* Looks host up (files and DNS, in a thread of its own that is left alone when the wait ends) and
 * keeps the addresses that the policy `net` allows for host:port. family: AF_UNSPEC, AF_INET,
 * AF_INET6. `who` begins messages. SM_DENIED when none is allowed. */
sm_rc sm_net_resolve(const char *host, int port, int family, const json_t *net, const char *who,
                     const sm_netwait *w, sm_netaddrs *out, sm_err *err);
/* The address without its port as text. */
const char *sm_net_ip(const struct sockaddr *sa, char out[INET6_ADDRSTRLEN]);

typedef struct sm_netstream {
    int fd; /* -1: closed */
    SSL *ssl;
    char who[SM_NET_HOST_MAX + 16]; /* "db.example:5432", "[::1]:22" */
    char host[SM_NET_HOST_MAX + 1];
    char ip[INET6_ADDRSTRLEN];
    int port;
    sm_buf in; /* received, not taken */
    bool eof;
    double dns_s, connect_s, tls_s; /* lengths of these phases */
} sm_netstream;

/* "host:port", IPv6 in brackets. */
void sm_net_who(const char *host, int port, char *out, size_t cap);
void sm_netstream_init(sm_netstream *s);
/* Resolves and connects; addresses are tried one after the other, each with its share of the time.
 */
sm_rc sm_netstream_connect(sm_netstream *s, const char *host, int port, const json_t *net,
                           const sm_netwait *w, sm_err *err);
sm_rc sm_netstream_send(sm_netstream *s, const void *p, size_t n, const sm_netwait *w, sm_err *err);
/* Waits for more bytes into s->in; SM_CLOSED at the end. */
sm_rc sm_netstream_more(sm_netstream *s, const sm_netwait *w, sm_err *err);
/* Waits until s->in has n bytes, or (line) a whole line; *n is its length with the line's end.
 * The caller takes them with sm_buf_consume. */
sm_rc sm_netstream_need(sm_netstream *s, size_t n, const sm_netwait *w, sm_err *err);
sm_rc sm_netstream_line(sm_netstream *s, size_t *n, const sm_netwait *w, sm_err *err);
/* Says goodbye (TLS) and closes; fine on a closed one. */
void sm_netstream_close(sm_netstream *s);
