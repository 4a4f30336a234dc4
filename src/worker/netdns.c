/* netdns: asks name servers: UDP with a random id and a port of its own each time, again when no
 * answer comes, TCP when one is cut short (see dnsmsg.h for the messages).
 *
 * A server that the script names is checked as every address is. The system's own, from
 * /etc/resolv.conf, is what every other look-up uses too, so it is checked only where the
 * configuration narrows what scripts may reach. Called by netops.c.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/str.h"
#include "worker/dnsmsg.h"
#include "worker/netops.h"
#include "worker/netpolicy.h"
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SERVERS_MAX = 3, TRIES = 3, UDP_MAX = 4096 };

typedef struct asking {
    const char *name;
    int type;
    bool tcp; /* from the start */
    const json_t *net;
    uint8_t question[SM_DNS_QUESTION_MAX];
    size_t question_n;
} asking;

typedef struct servers {
    char host[SERVERS_MAX][SM_NET_HOST_MAX + 1];
    int port;
    size_t n;
    bool system;
} servers;

/* The nameserver lines of resolv.conf; without any, this machine, as resolv.conf(5) says. */
static void system_servers(servers *s) {
    char line[512], word[32], value[SM_NET_HOST_MAX + 1];
    FILE *f = fopen("/etc/resolv.conf", "re");
    while (f && s->n < SERVERS_MAX && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%31s %253s", word, value) == 2 && strcmp(word, "nameserver") == 0)
            snprintf(s->host[s->n++], sizeof s->host[0], "%s", value);
    }
    if (f)
        fclose(f);
    if (s->n == 0)
        snprintf(s->host[s->n++], sizeof s->host[0], "127.0.0.1");
    s->system = true;
    s->port = 53;
}

static sm_rc new_question(asking *a, sm_err *err) {
    uint16_t id;
    sm_rand_bytes(&id, sizeof id);
    return sm_dns_question(a->name, a->type, id, a->question, &a->question_n, err);
}

/* One question by UDP to a connected socket: only the asked server's packets arrive there. */
static sm_rc ask_udp(asking *a, const struct sockaddr *sa, socklen_t len, const char *who,
                     const sm_netwait *w, json_t **out, sm_err *err) {
    uint8_t packet[UDP_MAX];
    int fd = socket(sa->sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP);
    sm_rc rc = SM_OK;
    if (fd < 0)
        return sm_err_sys(err, errno, "%s: no socket", who);
    if (connect(fd, sa, len) != 0 || send(fd, a->question, a->question_n, 0) < 0) {
        rc = sm_err_set(err, SM_IO, "%s: cannot be asked: %s", who, strerror(errno));
        goto out;
    }
    for (;;) {
        rc = sm_netwait_fd(fd, POLLIN, w);
        if (rc != SM_OK) {
            sm_netwait_say(rc, who, "answer", err);
            break;
        }
        ssize_t n = recv(fd, packet, sizeof packet, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n < 0) {
            rc = sm_err_set(err, SM_IO, "%s: nothing answers there: %s", who, strerror(errno));
            break;
        }
        sm_err why = SM_ERR_INIT;
        rc = sm_dns_read(packet, (size_t)n, a->question, a->question_n, out, &why);
        if (rc == SM_NOT_FOUND)
            continue; /* late, or forged */
        if (rc != SM_OK)
            sm_err_set(err, rc, "%s: %s", who, why.msg);
        break;
    }
out:
    close(fd);
    return rc;
}

static sm_rc ask_tcp(asking *a, const char *host, int port, const json_t *net, const sm_netwait *w,
                     json_t **out, sm_err *err) {
    sm_netstream s;
    sm_err why = SM_ERR_INIT;
    uint8_t packet[2 + SM_DNS_QUESTION_MAX] = {(uint8_t)(a->question_n >> 8),
                                               (uint8_t)a->question_n};
    memcpy(packet + 2, a->question, a->question_n);
    sm_netstream_init(&s);
    sm_rc rc = sm_netstream_connect(&s, host, port, net, w, err);
    if (rc == SM_OK)
        rc = sm_netstream_send(&s, packet, a->question_n + 2, w, err);
    if (rc == SM_OK)
        rc = sm_netstream_need(&s, 2, w, err);
    if (rc == SM_OK) {
        size_t n = (size_t)(uint8_t)s.in.data[0] << 8 | (uint8_t)s.in.data[1];
        rc = sm_netstream_need(&s, n + 2, w, err);
        if (rc == SM_OK) {
            rc = sm_dns_read((const uint8_t *)s.in.data + 2, n, a->question, a->question_n, out,
                             &why);
            if (rc != SM_OK)
                rc = sm_err_set(err, SM_PROTO, "%s: %s", s.who, why.msg);
        }
    }
    sm_netstream_close(&s);
    return rc;
}

/* One server, one try. */
static sm_rc ask(asking *a, const servers *list, size_t i, const sm_netwait *w, json_t **out,
                 sm_err *err) {
    const char *host = list->host[i];
    char who[SM_NET_HOST_MAX + 16];
    sm_netaddrs addrs;
    sm_netpolicy *policy = NULL;
    const json_t *net = a->net;
    sm_net_who(host, list->port, who, sizeof who);
    if (list->system && sm_netpolicy_new(net, &policy, NULL) == SM_OK &&
        !sm_netpolicy_narrowed(policy)) {
        struct sockaddr_storage sa = {0};
        socklen_t len = 0;
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(53)};
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(53)};
        if (inet_pton(AF_INET, host, &in.sin_addr) == 1)
            memcpy(&sa, &in, len = sizeof in);
        else if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1)
            memcpy(&sa, &in6, len = sizeof in6);
        addrs.n = len > 0;
        addrs.a[0] = sa;
        addrs.len[0] = len;
    } else {
        addrs.n = 0;
    }
    sm_netpolicy_free(policy);
    sm_rc rc =
        addrs.n ? SM_OK : sm_net_resolve(host, list->port, AF_UNSPEC, net, who, w, &addrs, err);
    if (rc == SM_OK)
        rc = new_question(a, err);
    if (rc == SM_OK && !a->tcp)
        rc = ask_udp(a, (const struct sockaddr *)&addrs.a[0], addrs.len[0], who, w, out, err);
    bool cut = rc == SM_OK && !a->tcp && sm_json_bool(*out, "truncated", false);
    if (rc == SM_OK && (a->tcp || cut)) {
        char ip[INET6_ADDRSTRLEN];
        json_decref(*out);
        *out = NULL;
        rc = new_question(a, err);
        if (rc == SM_OK)
            rc = ask_tcp(a, sm_net_ip((const struct sockaddr *)&addrs.a[0], ip), list->port, net, w,
                         out, err);
    }
    if (rc == SM_OK) {
        json_object_set_new(*out, "server", json_string(who));
        json_object_set_new(*out, "protocol", json_string(a->tcp || cut ? "tcp" : "udp"));
    }
    return rc;
}

static bool good_answer(const json_t *answer) {
    const char *rcode = sm_json_str(answer, "rcode", "");
    return strcmp(rcode, "NOERROR") == 0 || strcmp(rcode, "NXDOMAIN") == 0;
}

sm_rc sm_netop_dns(const json_t *args, const json_t *net, const sm_netwait *w, json_t **out,
                   sm_err *err) {
    servers list = {.port = (int)sm_json_int(args, "port", 53)};
    const char *server = sm_json_str(args, "server", NULL);
    asking a = {.name = sm_json_str(args, "name", ""),
                .type = sm_dns_type(sm_json_str(args, "type", "A")),
                .tcp = strcmp(sm_json_str(args, "protocol", "udp"), "tcp") == 0,
                .net = net};
    int64_t begin = sm_mono_ns();
    sm_rc rc = SM_IO;
    if (server) {
        snprintf(list.host[0], sizeof list.host[0], "%s", server);
        list.n = 1;
    } else {
        system_servers(&list);
    }
    size_t tries = list.n * TRIES;
    for (size_t i = 0; i < tries; i++) {
        json_t *answer = NULL;
        sm_netwait share = sm_netwait_within(w, sm_netwait_left(w) / (double)(tries - i));
        rc = ask(&a, &list, i % list.n, a.tcp && list.n == 1 ? w : &share, &answer, err);
        if (rc == SM_OK) {
            json_decref(*out);
            *out = answer;
            /* A server that failed may have a neighbour that does not; its word stands if not. */
            if (good_answer(answer) || i + 1 >= list.n)
                break;
        }
        if (rc == SM_CLOSED || rc == SM_DENIED || rc == SM_NOT_FOUND ||
            (rc == SM_TIMEOUT && sm_netwait_left(w) <= 0))
            break;
        if (rc == SM_IO && i + 1 >= list.n)
            break; /* refused at once: asking again will not help */
    }
    if (*out) {
        double total = (double)(sm_mono_ns() - begin) / (double)SM_NS_PER_S;
        json_object_set_new(*out, "timings", json_pack("{s:f}", "total", total));
        return SM_OK;
    }
    return rc;
}
