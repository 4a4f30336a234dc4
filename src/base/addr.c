/* addr: see addr.h. Called by the configuration, which refuses what does not parse, and by the
 * servers that listen.
 */
#include "base/addr.h"
#include "base/str.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_MAX = 46 };

static sm_rc refuse(sm_err *err, const char *text) {
    char *shown = sm_str_printable(text, strlen(text), 60);
    sm_err_set(err, SM_INVALID,
               "expected an address and a port such as 127.0.0.1:9090 or [::1]:9090, got \"%s\"%s",
               shown,
               *text == ':' ? "; to listen on every address write 0.0.0.0 or [::] before it" : "");
    free(shown);
    return SM_INVALID;
}

/* A port of at most five digits, or -1. */
static long port_of(const char *s) {
    size_t n = strspn(s, "0123456789");
    long port = n > 0 && n <= 5 && s[n] == '\0' ? strtol(s, NULL, 10) : -1;
    return port <= 65535 ? port : -1;
}

sm_rc sm_addr_parse(const char *text, struct sockaddr_storage *out, socklen_t *n, sm_err *err) {
    char host[HOST_MAX + 1];
    const char *colon = strrchr(text, ':');
    long port = colon ? port_of(colon + 1) : -1;
    if (port < 0)
        return refuse(err, text);
    bool v6 = text[0] == '[';
    const char *from = text + v6, *to = colon - v6;
    if (to <= from || to - from > HOST_MAX || (v6 && *to != ']'))
        return refuse(err, text);
    memcpy(host, from, (size_t)(to - from));
    host[to - from] = '\0';
    memset(out, 0, sizeof *out);
    if (v6) {
        struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
        if (inet_pton(AF_INET6, host, &a.sin6_addr) != 1)
            return refuse(err, text);
        memcpy(out, &a, sizeof a);
        *n = sizeof a;
        return SM_OK;
    }
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    const char *number = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    if (inet_pton(AF_INET, number, &a.sin_addr) != 1)
        return refuse(err, text);
    memcpy(out, &a, sizeof a);
    *n = sizeof a;
    return SM_OK;
}

const char *sm_addr_text(const struct sockaddr *a, char out[SM_ADDR_TEXT]) {
    char host[INET6_ADDRSTRLEN] = "?";
    if (a->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, a, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
        snprintf(out, SM_ADDR_TEXT, "%s:%d", host, (int)ntohs(in.sin_port));
    } else if (a->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, a, sizeof in);
        inet_ntop(AF_INET6, &in.sin6_addr, host, sizeof host);
        snprintf(out, SM_ADDR_TEXT, "[%s]:%d", host, (int)ntohs(in.sin6_port));
    } else {
        snprintf(out, SM_ADDR_TEXT, "?");
    }
    return out;
}
