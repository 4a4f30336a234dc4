/* netresolve: waiting for a descriptor, and names to addresses (see netstream.h).
 *
 * getaddrinfo cannot be interrupted, so it runs in a detached thread that shares nothing with the
 * asker but a job both hold: whoever lets go last frees it. An asker whose time is up just leaves;
 * the thread ends when the resolver's own timeouts do. Called on a run's thread, or on one of
 * net.all's.
 */
#include "worker/netstream.h"
#include "base/clock.h"
#include "base/mem.h"
#include "worker/netpolicy.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { SLICE_MS = 50 };

const char *sm_net_code(sm_rc rc) {
    switch (rc) {
    case SM_NOT_FOUND:
        return "dns";
    case SM_TIMEOUT:
        return "timeout";
    case SM_INVALID:
        return "tls";
    case SM_DENIED:
        return "denied";
    case SM_CLOSED:
        return "closed";
    case SM_PROTO:
        return "protocol";
    case SM_LIMIT:
        return "too_large";
    default:
        return "connect";
    }
}

sm_netwait sm_netwait_within(const sm_netwait *w, double seconds) {
    sm_netwait out = *w;
    int64_t until = sm_mono_ns() + (int64_t)(seconds * (double)SM_NS_PER_S);
    if (until < out.deadline_ns)
        out.deadline_ns = until;
    return out;
}

double sm_netwait_left(const sm_netwait *w) {
    double left = (double)(w->deadline_ns - sm_mono_ns()) / (double)SM_NS_PER_S;
    return left > 0 ? left : 0;
}

sm_rc sm_netwait_fd(int fd, short events, const sm_netwait *w) {
    for (;;) {
        if (atomic_load(w->stop))
            return SM_CLOSED;
        int64_t left_ns = w->deadline_ns - sm_mono_ns();
        int64_t left = left_ns > 0 ? (left_ns + SM_NS_PER_MS - 1) / SM_NS_PER_MS : 0;
        if (w->wake_fd < 0 && left > SLICE_MS)
            left = SLICE_MS;
        if (left > INT32_MAX)
            left = INT32_MAX;
        struct pollfd fds[2] = {{fd, events, 0}, {w->wake_fd, POLLIN, 0}};
        int n = poll(fds, 2, (int)left); /* a negative descriptor is passed over */
        if (n < 0 && errno != EINTR)
            return SM_IO;
        if (n > 0 && fds[0].revents)
            return atomic_load(w->stop) ? SM_CLOSED : SM_OK;
        if (sm_mono_ns() >= w->deadline_ns)
            return atomic_load(w->stop) ? SM_CLOSED : SM_TIMEOUT;
    }
}

sm_rc sm_netwait_say(sm_rc rc, const char *who, const char *what, sm_err *err) {
    if (rc == SM_TIMEOUT)
        return sm_err_set(err, rc, "%s: did not %s in time", who, what);
    if (rc == SM_CLOSED)
        return sm_err_set(err, rc, "%s: the run was stopped", who);
    return sm_err_set(err, SM_IO, "%s: the system cannot wait for it", who);
}

void sm_net_who(const char *host, int port, char *out, size_t cap) {
    snprintf(out, cap, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, port);
}

const char *sm_net_ip(const struct sockaddr *sa, char out[INET6_ADDRSTRLEN]) {
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    out[0] = '\0';
    if (sa->sa_family == AF_INET) {
        memcpy(&in, sa, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, out, INET6_ADDRSTRLEN);
    } else if (sa->sa_family == AF_INET6) {
        memcpy(&in6, sa, sizeof in6);
        inet_ntop(AF_INET6, &in6.sin6_addr, out, INET6_ADDRSTRLEN);
    }
    return out;
}

/* ---- names --------------------------------------------------------------------------------- */

typedef struct job {
    atomic_int refs; /* the asker and the thread */
    int done_fd;     /* readable when the thread has written */
    int family;
    char host[SM_NET_HOST_MAX + 1];
    char port[8];
    int rc; /* EAI_… */
    struct addrinfo *list;
} job;

static void job_unref(job *j) {
    if (atomic_fetch_sub(&j->refs, 1) != 1)
        return;
    if (j->list)
        freeaddrinfo(j->list);
    if (j->done_fd >= 0)
        close(j->done_fd);
    free(j);
}

static int look_up(job *j, int flags) {
    struct addrinfo hints = {
        .ai_family = j->family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    return getaddrinfo(j->host, j->port, &hints, &j->list);
}

static void *resolver(void *arg) {
    job *j = arg;
    uint64_t one = 1;
    j->rc = look_up(j, 0);
    if (write(j->done_fd, &one, sizeof one) < 0)
        j->rc = EAI_SYSTEM;
    job_unref(j);
    return NULL;
}

static bool start(job *j) {
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, SM_NET_STACK);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for runs' threads */
    atomic_fetch_add(&j->refs, 1);
    bool ok = pthread_create(&thread, &attr, resolver, j) == 0;
    if (!ok)
        atomic_fetch_sub(&j->refs, 1);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return ok;
}

static sm_rc say_dns(int code, const char *who, sm_err *err) {
    if (code == EAI_NONAME || code == EAI_NODATA)
        return sm_err_set(err, SM_NOT_FOUND, "%s: there is no such name", who);
    if (code == EAI_AGAIN)
        return sm_err_set(err, SM_NOT_FOUND,
                          "%s: the name cannot be looked up: no name server "
                          "answers",
                          who);
    if (code == EAI_FAMILY || code == EAI_ADDRFAMILY)
        return sm_err_set(err, SM_NOT_FOUND, "%s: has no address of the kind asked for", who);
    return sm_err_set(err, SM_NOT_FOUND, "%s: the name cannot be looked up: %s", who,
                      gai_strerror(code));
}

/* Copies the addresses that the policy allows. */
static sm_rc keep_allowed(const struct addrinfo *list, const char *host, int port,
                          const sm_netpolicy *policy, const char *who, sm_netaddrs *out,
                          sm_err *err) {
    sm_err why = SM_ERR_INIT;
    for (const struct addrinfo *a = list; a && out->n < SM_NET_ADDRS_MAX; a = a->ai_next) {
        if (a->ai_addrlen > sizeof out->a[0] ||
            sm_netpolicy_addr(policy, host, port, a->ai_addr, &why) != SM_OK)
            continue;
        memcpy(&out->a[out->n], a->ai_addr, a->ai_addrlen);
        out->len[out->n++] = a->ai_addrlen;
    }
    if (out->n == 0)
        return sm_err_set(err, SM_DENIED, "%s: %s", who, why.msg[0] ? why.msg : "no address");
    return SM_OK;
}

sm_rc sm_net_resolve(const char *host, int port, int family, const json_t *net, const char *who,
                     const sm_netwait *w, sm_netaddrs *out, sm_err *err) {
    sm_err why = SM_ERR_INIT;
    sm_netpolicy *policy = NULL;
    job *j = NULL;
    out->n = 0;
    sm_rc rc = sm_netpolicy_new(net, &policy, &why);
    if (rc == SM_OK)
        rc = sm_netpolicy_host(policy, host, port, &why);
    if (rc != SM_OK) {
        rc = sm_err_set(err, SM_DENIED, "%s: %s", who, why.msg);
        goto out;
    }
    j = sm_calloc(1, sizeof *j);
    atomic_init(&j->refs, 1);
    j->family = family;
    snprintf(j->host, sizeof j->host, "%s", host);
    snprintf(j->port, sizeof j->port, "%d", port);
    j->done_fd = -1;
    int code = look_up(j, AI_NUMERICHOST); /* an address needs no thread */
    if (code == EAI_NONAME) {
        j->done_fd = eventfd(0, EFD_CLOEXEC);
        if (j->done_fd < 0) {
            rc = sm_err_sys(err, errno, "%s: cannot be looked up", who);
            goto out;
        }
        if (!start(j)) {
            rc = sm_err_set(err, SM_IO, "%s: cannot be looked up: too many threads", who);
            goto out;
        }
        rc = sm_netwait_fd(j->done_fd, POLLIN, w);
        if (rc != SM_OK) {
            rc = rc == SM_TIMEOUT
                     ? sm_err_set(err, rc, "%s: its name was not looked up in time", who)
                     : sm_netwait_say(rc, who, "resolve", err);
            goto out;
        }
        uint64_t count;
        if (read(j->done_fd, &count, sizeof count) < 0) /* orders what the thread wrote */
            count = 0;
        code = j->rc;
    }
    rc = code == 0 ? keep_allowed(j->list, host, port, policy, who, out, err)
                   : say_dns(code, who, err);
out:
    if (j)
        job_unref(j);
    sm_netpolicy_free(policy);
    return rc;
}
