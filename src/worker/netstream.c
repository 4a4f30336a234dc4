/* netstream: a TCP connection with an optional TLS layer, in plain blocking calls that end at the
 * wait's deadline or with the run (see netstream.h). TLS is put upon it by nettls.c.
 *
 * The socket is non-blocking; every wait is poll(2). What was received and not yet taken stays in
 * a bounded buffer. Called by netops.c and bind_conn.c on the thread that owns the stream.
 */
#include "worker/netstream.h"
#include "base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 16 << 10 };

void sm_netquiet_begin(sm_netquiet *q) {
    sigset_t pipe, pending;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigpending(&pending);
    q->was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe, &q->before);
}

void sm_netquiet_end(const sm_netquiet *q) {
    static const struct timespec now = {0, 0};
    int saved = errno;
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    while (!q->was_pending && sigtimedwait(&pipe, NULL, &now) < 0 && errno == EINTR)
        ;
    pthread_sigmask(SIG_SETMASK, &q->before, NULL);
    errno = saved;
}

void sm_netstream_init(sm_netstream *s) {
    memset(s, 0, sizeof *s);
    s->fd = -1;
    sm_buf_init(&s->in, SM_NET_RECEIVE_MAX + CHUNK);
}

void sm_netstream_close(sm_netstream *s) {
    if (s->ssl) {
        sm_netquiet quiet;
        ERR_clear_error();
        sm_netquiet_begin(&quiet);
        if (SSL_is_init_finished(s->ssl))
            (void)SSL_shutdown(s->ssl);
        sm_netquiet_end(&quiet);
        SSL_free(s->ssl);
        s->ssl = NULL;
    }
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    if (s->in.data)
        explicit_bzero(s->in.data, s->in.cap);
    sm_buf_fini(&s->in);
}

/* ---- connecting ---------------------------------------------------------------------------- */

/* One address. The socket, or -1 with err. */
static sm_rc connect_one(const struct sockaddr *sa, socklen_t len, const sm_netwait *w,
                         const char *who, int *out, sm_err *err) {
    char ip[INET6_ADDRSTRLEN];
    int on = 1, error = 0;
    socklen_t size = sizeof error;
    sm_rc rc = SM_OK;
    sm_net_ip(sa, ip);
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (fd < 0)
        return sm_err_set(err, SM_IO, "%s: no socket for %s: %s", who, ip, strerror(errno));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, sa, len) != 0) {
        error = errno;
        if (error == EINPROGRESS || error == EINTR) {
            rc = sm_netwait_fd(fd, POLLOUT, w);
            if (rc == SM_OK && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
                error = errno;
        }
        if (rc == SM_TIMEOUT)
            sm_err_set(err, rc, "%s: no connection to %s in time", who, ip);
        else if (rc != SM_OK)
            sm_netwait_say(rc, who, "connect", err);
        else if (error)
            rc = sm_err_set(err, error == ETIMEDOUT ? SM_TIMEOUT : SM_IO,
                            "%s: no connection to %s: %s", who, ip, strerror(error));
    }
    if (rc != SM_OK) {
        close(fd);
        fd = -1;
    }
    *out = fd;
    return rc;
}

sm_rc sm_netstream_connect(sm_netstream *s, const char *host, int port, const json_t *net,
                           const sm_netwait *w, sm_err *err) {
    sm_netaddrs addrs;
    int64_t begin = sm_mono_ns();
    snprintf(s->host, sizeof s->host, "%s", host);
    sm_net_who(host, port, s->who, sizeof s->who);
    s->port = port;
    sm_rc rc = sm_net_resolve(host, port, AF_UNSPEC, net, s->who, w, &addrs, err);
    int64_t found = sm_mono_ns();
    s->dns_s = (double)(found - begin) / (double)SM_NS_PER_S;
    if (rc != SM_OK)
        return rc;
    for (size_t i = 0; i < addrs.n; i++) {
        const struct sockaddr *sa = (const struct sockaddr *)&addrs.a[i];
        sm_netwait share = sm_netwait_within(w, sm_netwait_left(w) / (double)(addrs.n - i));
        rc = connect_one(sa, addrs.len[i], &share, s->who, &s->fd, err);
        if (rc == SM_OK)
            sm_net_ip(sa, s->ip);
        if (rc == SM_OK || rc == SM_CLOSED)
            break;
    }
    s->connect_s = (double)(sm_mono_ns() - found) / (double)SM_NS_PER_S;
    return rc;
}

/* ---- bytes --------------------------------------------------------------------------------- */

/* After an SSL call that did not succeed: waits for what it wants; SM_PROTO when it failed. */
static sm_rc ssl_wait(sm_netstream *s, int result, const char *what, const sm_netwait *w,
                      sm_err *err) {
    int saved = errno, kind = SSL_get_error(s->ssl, result);
    sm_rc rc;
    if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) {
        rc = sm_netwait_fd(s->fd, kind == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, w);
        return rc == SM_OK ? rc : sm_netwait_say(rc, s->who, what, err);
    }
    if (kind == SSL_ERROR_ZERO_RETURN || (kind == SSL_ERROR_SYSCALL && saved == 0))
        return sm_err_set(err, SM_CLOSED, "%s: closed the connection", s->who);
    if (kind == SSL_ERROR_SYSCALL)
        return sm_err_set(err, SM_CLOSED, "%s: the connection broke: %s", s->who, strerror(saved));
    unsigned long code = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(code);
    if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return sm_err_set(err, SM_CLOSED, "%s: closed the connection", s->who);
    return sm_err_set(err, SM_PROTO, "%s: TLS: %s", s->who, reason ? reason : "failed");
}

static sm_rc broken(const sm_netstream *s, int error, sm_err *err) {
    return sm_err_set(err, SM_CLOSED, "%s: the connection broke: %s", s->who, strerror(error));
}

sm_rc sm_netstream_send(sm_netstream *s, const void *p, size_t n, const sm_netwait *w,
                        sm_err *err) {
    const char *at = p;
    sm_rc rc = SM_OK;
    if (s->fd < 0)
        return sm_err_set(err, SM_CLOSED, "%s: the connection is closed", s->who);
    while (n > 0 && rc == SM_OK) {
        ssize_t sent;
        if (s->ssl) {
            ERR_clear_error();
            errno = 0;
            sm_netquiet quiet;
            sm_netquiet_begin(&quiet);
            sent = SSL_write(s->ssl, at, n > CHUNK ? CHUNK : (int)n);
            sm_netquiet_end(&quiet);
            if (sent <= 0) {
                rc = ssl_wait(s, (int)sent, "take what was sent", w, err);
                continue;
            }
        } else {
            sent = send(s->fd, at, n, MSG_NOSIGNAL);
            if (sent < 0 && errno != EAGAIN && errno != EINTR)
                return broken(s, errno, err);
            if (sent < 0) {
                rc = sm_netwait_fd(s->fd, POLLOUT, w);
                if (rc != SM_OK)
                    sm_netwait_say(rc, s->who, "take what was sent", err);
                continue;
            }
        }
        at += sent;
        n -= (size_t)sent;
    }
    return rc;
}

sm_rc sm_netstream_more(sm_netstream *s, const sm_netwait *w, sm_err *err) {
    char chunk[CHUNK];
    sm_rc rc = SM_OK;
    if (s->fd < 0)
        return sm_err_set(err, SM_CLOSED, "%s: the connection is closed", s->who);
    while (rc == SM_OK && !s->eof) {
        ssize_t got;
        if (s->ssl) {
            ERR_clear_error();
            errno = 0;
            sm_netquiet quiet;
            sm_netquiet_begin(&quiet);
            got = SSL_read(s->ssl, chunk, sizeof chunk);
            sm_netquiet_end(&quiet);
            if (got <= 0) {
                rc = ssl_wait(s, (int)got, "answer", w, err);
                continue;
            }
        } else {
            got = recv(s->fd, chunk, sizeof chunk, 0);
            if (got < 0 && errno != EAGAIN && errno != EINTR)
                return broken(s, errno, err);
            if (got < 0) {
                rc = sm_netwait_fd(s->fd, POLLIN, w);
                if (rc != SM_OK)
                    sm_netwait_say(rc, s->who, "answer", err);
                continue;
            }
            if (got == 0)
                s->eof = true;
        }
        if (got > 0) {
            rc = sm_buf_add(&s->in, chunk, (size_t)got);
            explicit_bzero(chunk, (size_t)got);
            return rc == SM_OK ? rc
                               : sm_err_set(err, SM_LIMIT, "%s: sent more than %d KiB at once",
                                            s->who, (int)SM_NET_RECEIVE_MAX >> 10);
        }
    }
    if (rc == SM_OK)
        rc = sm_err_set(err, SM_CLOSED, "%s: closed the connection", s->who);
    return rc;
}

sm_rc sm_netstream_need(sm_netstream *s, size_t n, const sm_netwait *w, sm_err *err) {
    sm_rc rc = SM_OK;
    while (rc == SM_OK && s->in.len < n)
        rc = sm_netstream_more(s, w, err);
    return rc;
}

sm_rc sm_netstream_line(sm_netstream *s, size_t *n, const sm_netwait *w, sm_err *err) {
    size_t seen = 0;
    for (;;) {
        const char *end = s->in.len > seen ? memchr(s->in.data + seen, '\n', s->in.len - seen) : 0;
        if (end) {
            *n = (size_t)(end - s->in.data) + 1;
            return SM_OK;
        }
        seen = s->in.len;
        if (seen > SM_NET_LINE_MAX)
            return sm_err_set(err, SM_LIMIT, "%s: sent a line of more than %d KiB", s->who,
                              (int)SM_NET_LINE_MAX >> 10);
        sm_rc rc = sm_netstream_more(s, w, err);
        if (rc != SM_OK)
            return rc;
    }
}
