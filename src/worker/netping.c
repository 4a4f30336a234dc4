/* netping: echo requests (ICMP v4 and v6) and SNTP for selfmon.net, both over datagram sockets that
 * need no privilege.
 *
 * The kernel gives a ping socket its own identifier and only the answers to it; it opens one only
 * for groups in net.ipv4.ping_group_range. Each request carries random bytes that its answer must
 * repeat. Times are monotonic; the offset of a clock is judged by wall time. Called by netops.c.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "worker/netops.h"
#include <errno.h>
#include <math.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ECHO_HEADER = 8, COOKIE = 8, PACKET_MAX = 65536, NTP_PACKET = 48 };

typedef struct tally {
    int sent, received;
    double min, max, sum, squares;
} tally;

static void count(tally *t, double s) {
    t->min = t->received == 0 || s < t->min ? s : t->min;
    t->max = s > t->max ? s : t->max;
    t->sum += s;
    t->squares += s * s;
    t->received++;
}

typedef struct pinger {
    const char *who;
    int fd, family;
    size_t size;
    uint8_t *packet; /* size + header */
    uint8_t *answer; /* PACKET_MAX */
    uint8_t cookie[COOKIE];
} pinger;

static double since(int64_t ns) {
    return (double)(sm_mono_ns() - ns) / (double)SM_NS_PER_S;
}

/* Whether the n bytes of p->answer are the answer to request `seq`. */
static bool is_answer(const pinger *p, size_t n, int seq) {
    int type = p->family == AF_INET ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY;
    size_t cookie = p->size < COOKIE ? p->size : COOKIE;
    return n >= ECHO_HEADER + p->size && p->answer[0] == type &&
           (p->answer[6] << 8 | p->answer[7]) == seq &&
           memcmp(p->answer + ECHO_HEADER, p->cookie, cookie) == 0;
}

/* One request. SM_OK: *rtt; SM_TIMEOUT: lost (*why, when the network said so); else err. */
static sm_rc echo(pinger *p, int seq, double seconds, const sm_netwait *w, double *rtt, int *why,
                  sm_err *err) {
    sm_netwait one = sm_netwait_within(w, seconds);
    sm_rand_bytes(p->cookie, COOKIE);
    memset(p->packet, 0, ECHO_HEADER);
    p->packet[0] = p->family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
    p->packet[6] = (uint8_t)(seq >> 8);
    p->packet[7] = (uint8_t)seq;
    for (size_t i = 0; i < p->size; i++)
        p->packet[ECHO_HEADER + i] = i < COOKIE ? p->cookie[i] : (uint8_t)i;
    int64_t begin = sm_mono_ns();
    if (send(p->fd, p->packet, ECHO_HEADER + p->size, 0) < 0) {
        *why = errno;
        if (errno == EMSGSIZE || errno == EACCES || errno == EPERM)
            return sm_err_set(err, SM_IO, "%s: cannot be pinged: %s", p->who, strerror(errno));
        return SM_TIMEOUT;
    }
    for (;;) {
        sm_rc rc = sm_netwait_fd(p->fd, POLLIN, &one);
        if (rc != SM_OK)
            return rc;
        ssize_t n = recv(p->fd, p->answer, PACKET_MAX, 0);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            *why = errno; /* such as "no route to host", told by a router */
            return SM_TIMEOUT;
        }
        if (n > 0 && is_answer(p, (size_t)n, seq)) {
            *rtt = since(begin);
            return SM_OK;
        }
    }
}

static json_t *tally_json(const tally *t, const char *ip, int why) {
    double lost = t->sent ? (double)(t->sent - t->received) / t->sent : 0;
    json_t *out = json_pack("{s:i, s:i, s:f, s:s}", "sent", t->sent, "received", t->received,
                            "loss", lost, "ip", ip);
    if (t->received) {
        double avg = t->sum / t->received, var = t->squares / t->received - avg * avg;
        json_object_set_new(out, "min", json_real(t->min));
        json_object_set_new(out, "avg", json_real(avg));
        json_object_set_new(out, "max", json_real(t->max));
        json_object_set_new(out, "stdev", json_real(var > 0 ? sqrt(var) : 0));
    }
    if (why)
        json_object_set_new(out, "reason", json_string(strerror(why)));
    return out;
}

static sm_rc open_ping(pinger *p, const struct sockaddr *sa, socklen_t len, sm_err *err) {
    p->family = sa->sa_family;
    p->fd = socket(p->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                   p->family == AF_INET ? (int)IPPROTO_ICMP : (int)IPPROTO_ICMPV6);
    if (p->fd < 0 && (errno == EACCES || errno == EPERM))
        return sm_err_set(err, SM_DENIED,
                          "%s: this system lets nobody like us ping: add the group %d of this "
                          "program to the sysctl net.ipv4.ping_group_range (\"0 2147483647\" is "
                          "everybody)",
                          p->who, (int)getegid());
    if (p->fd < 0)
        return sm_err_set(err, SM_IO, "%s: no socket for pings: %s", p->who, strerror(errno));
    if (connect(p->fd, sa, len) != 0)
        return sm_err_set(err, SM_IO, "%s: cannot be pinged: %s", p->who, strerror(errno));
    return SM_OK;
}

sm_rc sm_netop_ping(const json_t *args, const json_t *net, const sm_netwait *w, json_t **out,
                    sm_err *err) {
    const char *host = sm_json_str(args, "host", "");
    int64_t n = sm_json_int(args, "count", 3);
    double interval = sm_json_num(args, "interval", 0.2), wait = sm_json_num(args, "wait", 1);
    char ip[INET6_ADDRSTRLEN];
    sm_netaddrs addrs;
    tally t = {0};
    int why = 0;
    pinger p = {.who = host, .fd = -1, .size = (size_t)sm_json_int(args, "size", 56)};
    p.packet = sm_malloc(p.size + ECHO_HEADER);
    p.answer = sm_malloc(PACKET_MAX);
    sm_rc rc = sm_net_resolve(host, 0, AF_UNSPEC, net, host, w, &addrs, err);
    if (rc == SM_OK)
        rc = open_ping(&p, (const struct sockaddr *)&addrs.a[0], addrs.len[0], err);
    for (int seq = 1; rc == SM_OK && seq <= n; seq++) {
        int64_t begin = sm_mono_ns();
        double rtt = 0;
        if (sm_netwait_left(w) <= 0)
            break;
        t.sent++;
        rc = echo(&p, seq, wait, w, &rtt, &why, err);
        if (rc == SM_OK)
            count(&t, rtt);
        else if (rc == SM_CLOSED)
            sm_netwait_say(rc, host, "answer", err);
        else if (rc == SM_TIMEOUT)
            rc = SM_OK;
        if (rc == SM_OK && seq < n && since(begin) < interval) {
            sm_netwait pause = sm_netwait_within(w, interval - since(begin));
            if (sm_netwait_fd(-1, 0, &pause) == SM_CLOSED)
                rc = sm_netwait_say(SM_CLOSED, host, "answer", err);
        }
    }
    if (rc == SM_OK)
        *out = tally_json(&t, sm_net_ip((const struct sockaddr *)&addrs.a[0], ip), why);
    if (p.fd >= 0)
        close(p.fd);
    free(p.packet);
    free(p.answer);
    return rc;
}

/* ---- SNTP (RFC 4330) ----------------------------------------------------------------------- */

static uint32_t get32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* An NTP timestamp as Unix seconds; era 1 begins in 2036. */
static double ntp_time(const uint8_t *p) {
    double s = get32(p), fraction = (double)get32(p + 4) / 4294967296.0;
    if (s < 2208988800.0)
        s += 4294967296.0;
    return s - 2208988800.0 + fraction;
}

static double fixed16(const uint8_t *p) {
    return (double)(int32_t)get32(p) / 65536.0;
}

static sm_rc read_ntp(const uint8_t *p, const char *who, double t1, double t4, json_t **out,
                      sm_err *err) {
    int leap = p[0] >> 6, stratum = p[1];
    if (stratum == 0)
        return sm_err_set(err, SM_PROTO, "%s: refuses to tell the time (%.4s)", who, p + 12);
    if (leap == 3 || stratum > 15)
        return sm_err_set(err, SM_PROTO, "%s: is not synchronised itself", who);
    double t2 = ntp_time(p + 32), t3 = ntp_time(p + 40), delay = (t4 - t1) - (t3 - t2);
    if (get32(p + 40) == 0 && get32(p + 44) == 0)
        return sm_err_set(err, SM_PROTO, "%s: tells no time", who);
    *out = json_pack("{s:f, s:f, s:i, s:i, s:f, s:f, s:f}", "offset", ((t2 - t1) + (t3 - t4)) / 2,
                     "delay", delay > 0 ? delay : 0, "stratum", stratum, "leap", leap, "time", t3,
                     "root_delay", fixed16(p + 4), "root_dispersion", fixed16(p + 8));
    return SM_OK;
}

/* The client's transmit time is a random cookie: it tells the server nothing, and nobody who does
 * not see the question can answer it. */
sm_rc sm_netop_ntp(const json_t *args, const json_t *net, const sm_netwait *w, json_t **out,
                   sm_err *err) {
    const char *host = sm_json_str(args, "host", "");
    int port = (int)sm_json_int(args, "port", 123);
    char who[SM_NET_HOST_MAX + 16], ip[INET6_ADDRSTRLEN];
    uint8_t packet[NTP_PACKET] = {4 << 3 | 3}, answer[512];
    sm_netaddrs addrs;
    int fd = -1;
    sm_net_who(host, port, who, sizeof who);
    sm_rc rc = sm_net_resolve(host, port, AF_UNSPEC, net, who, w, &addrs, err);
    if (rc != SM_OK)
        return rc;
    fd = socket(addrs.a[0].ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP);
    if (fd < 0)
        return sm_err_sys(err, errno, "%s: no socket", who);
    sm_rand_bytes(packet + 40, 8);
    packet[40] |= 1; /* not zero */
    if (connect(fd, (const struct sockaddr *)&addrs.a[0], addrs.len[0]) != 0) {
        rc = sm_err_set(err, SM_IO, "%s: cannot be asked: %s", who, strerror(errno));
        goto out;
    }
    int64_t sent_ns = 0;
    double t1 = 0;
    for (int tries = 2; tries > 0; tries--) {
        sm_netwait share = sm_netwait_within(w, sm_netwait_left(w) / tries);
        sent_ns = sm_mono_ns();
        t1 = (double)sm_wall_ns() / (double)SM_NS_PER_S;
        if (send(fd, packet, sizeof packet, 0) < 0 && errno != ECONNREFUSED) {
            rc = sm_err_set(err, SM_IO, "%s: cannot be asked: %s", who, strerror(errno));
            goto out;
        }
        while ((rc = sm_netwait_fd(fd, POLLIN, &share)) == SM_OK) {
            ssize_t n = recv(fd, answer, sizeof answer, 0);
            if (n < 0 && errno != EAGAIN && errno != EINTR) {
                rc = sm_err_set(err, SM_IO, "%s: nothing answers there: %s", who, strerror(errno));
                goto out;
            }
            /* t4 by the monotonic clock, so that a step of ours in between does no harm. */
            if (n >= NTP_PACKET && (answer[0] & 7) == 4 &&
                memcmp(answer + 24, packet + 40, 8) == 0) {
                rc = read_ntp(answer, who, t1, t1 + since(sent_ns), out, err);
                if (rc == SM_OK)
                    json_object_set_new(
                        *out, "ip",
                        json_string(sm_net_ip((const struct sockaddr *)&addrs.a[0], ip)));
                goto out;
            }
        }
        if (rc != SM_TIMEOUT)
            break;
    }
    sm_netwait_say(rc, who, "answer", err);
out:
    close(fd);
    return rc;
}
