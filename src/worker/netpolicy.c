/* netpolicy: decides whether a script's traffic may reach an address (see netpolicy.h).
 *
 * Pure: it parses the configuration's `net` and compares bytes. It never resolves a name, and it
 * refuses to be lenient: an address family it does not know is denied. Called by fetch in the
 * engine's thread, and by whoever checks a configuration.
 */
#include "worker/netpolicy.h"
#include "base/mem.h"
#include "base/str.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRIES_MAX = 1000, HOST_MAX = 255 };

typedef struct entry {
    char *host;       /* pattern of a name, lower case; NULL for an address */
    int family;       /* of addr */
    uint8_t addr[16]; /* network order; 4 bytes for AF_INET */
    int bits;         /* prefix length */
    int port;         /* 0: any */
} entry;

struct sm_netpolicy {
    entry *allow, *deny, *own;
    size_t n_allow, n_deny, n_own;
    bool public_only;
};

/* One rule of the built-in tables. */
typedef struct range {
    uint8_t addr[16];
    int bits;
    const char *what;
} range;

/* Nobody inspects these: they give away credentials or reach many hosts at once. */
static const range never4[] = {
    {{169, 254}, 16, "link-local"},
    {{224}, 4, "multicast"},
    {{255, 255, 255, 255}, 32, "broadcast"},
    {{100, 100, 100, 200}, 32, "cloud metadata"}, /* Alibaba */
    {{192, 0, 0, 192}, 32, "cloud metadata"},     /* Oracle */
    {{168, 63, 129, 16}, 32, "cloud metadata"},   /* Azure */
};
static const range never6[] = {
    {{0xfe, 0x80}, 10, "link-local"},
    {{0xff}, 8, "multicast"},
    {{0xfd, 0, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x54}, 128, "cloud metadata"},
    {{0xfd, 0x20, 0, 0xce, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x54}, 128, "cloud metadata"},
};
/* What `net = "public"` denies besides. */
static const range inner4[] = {
    {{0}, 8, "unspecified"},         {{10}, 8, "private"},
    {{100, 64}, 10, "shared"},       {{127}, 8, "loopback"},
    {{172, 16}, 12, "private"},      {{192, 0, 0}, 24, "reserved"},
    {{192, 0, 2}, 24, "reserved"},   {{192, 168}, 16, "private"},
    {{198, 18}, 15, "reserved"},     {{198, 51, 100}, 24, "reserved"},
    {{203, 0, 113}, 24, "reserved"}, {{240}, 4, "reserved"},
};
static const range inner6[] = {
    {{0}, 127, "loopback"}, /* :: and ::1 */
    {{0xfc}, 7, "private"},
    {{0xfe, 0xc0}, 10, "site-local"},
    {{0x20, 0x01, 0x0d, 0xb8}, 32, "reserved"},
    {{0x01, 0}, 64, "reserved"},
};

static bool prefix_eq(const uint8_t *a, const uint8_t *b, int bits) {
    size_t whole = (size_t)bits / 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    int rest = bits % 8;
    if (rest == 0)
        return true;
    uint8_t mask = (uint8_t)(0xff << (8 - rest));
    return (a[whole] & mask) == (b[whole] & mask);
}

static const char *find_range(const range *r, size_t n, const uint8_t *addr) {
    for (size_t i = 0; i < n; i++)
        if (prefix_eq(addr, r[i].addr, r[i].bits))
            return r[i].what;
    return NULL;
}

/* An address with the IPv4 addresses that a translator or tunnel on the way may make of it. */
typedef struct addr_set {
    int family;
    uint8_t addr[16];
    uint8_t v4[4][4];
    size_t n_v4;
} addr_set;

static void add_v4(addr_set *s, uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    uint8_t v[4] = {a, b, c, d};
    memcpy(s->v4[s->n_v4++], v, 4);
}

static void embedded_v4(addr_set *s) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    static const uint8_t zero[12] = {0};
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};
    static const uint8_t nat64_local[6] = {0, 0x64, 0xff, 0x9b, 0, 1};
    const uint8_t *a = s->addr;
    if (s->family == AF_INET) {
        add_v4(s, a[0], a[1], a[2], a[3]);
    } else if (memcmp(a, mapped, 12) == 0 || memcmp(a, nat64, 12) == 0) {
        add_v4(s, a[12], a[13], a[14], a[15]);
    } else if (memcmp(a, zero, 12) == 0) {
        if (a[12] || a[13] || a[14] || a[15] > 1) /* :: and ::1 are addresses of their own */
            add_v4(s, a[12], a[13], a[14], a[15]);
    } else if (a[0] == 0x20 && a[1] == 0x02) {
        add_v4(s, a[2], a[3], a[4], a[5]);
    } else if (memcmp(a, nat64_local, 6) == 0) {
        /* RFC 8215 leaves the prefix length to the operator; RFC 6052 says where the bytes are. */
        add_v4(s, a[6], a[7], a[9], a[10]);
        add_v4(s, a[7], a[9], a[10], a[11]);
        add_v4(s, a[9], a[10], a[11], a[12]);
        add_v4(s, a[12], a[13], a[14], a[15]);
    }
}

static bool addr_set_of(const struct sockaddr *sa, addr_set *s) {
    memset(s, 0, sizeof(*s));
    s->family = sa->sa_family;
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof(in));
        memcpy(s->addr, &in.sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof(in6));
        memcpy(s->addr, &in6.sin6_addr, 16);
    } else {
        return false;
    }
    embedded_v4(s);
    return true;
}

static const char *never(const addr_set *s) {
    const char *what = NULL;
    if (s->family == AF_INET6)
        what = find_range(never6, SM_ARRAY_LEN(never6), s->addr);
    for (size_t i = 0; i < s->n_v4 && !what; i++)
        what = find_range(never4, SM_ARRAY_LEN(never4), s->v4[i]);
    return what;
}

static const char *inner(const addr_set *s) {
    const char *what = NULL;
    if (s->family == AF_INET6)
        what = find_range(inner6, SM_ARRAY_LEN(inner6), s->addr);
    for (size_t i = 0; i < s->n_v4 && !what; i++)
        what = find_range(inner4, SM_ARRAY_LEN(inner4), s->v4[i]);
    return what;
}

static bool matches_name(const entry *e, const char *host, int port) {
    return e->host && (e->port == 0 || e->port == port) && sm_str_glob(e->host, host);
}

static bool matches_addr(const entry *e, const addr_set *s, int port) {
    if (e->host || (e->port != 0 && e->port != port))
        return false;
    if (e->family == AF_INET6)
        return s->family == AF_INET6 && prefix_eq(s->addr, e->addr, e->bits);
    for (size_t i = 0; i < s->n_v4; i++)
        if (prefix_eq(s->v4[i], e->addr, e->bits))
            return true;
    return false;
}

/* set NULL: only the name is known so far. */
static bool any_match(const entry *e, size_t n, const char *host, const addr_set *set, int port) {
    for (size_t i = 0; i < n; i++)
        if (matches_name(&e[i], host, port) || (set && matches_addr(&e[i], set, port)))
            return true;
    return false;
}

static bool has_addr_entry(const entry *e, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!e[i].host)
            return true;
    return false;
}

sm_rc sm_netpolicy_addr(const sm_netpolicy *p, const char *host, int port,
                        const struct sockaddr *sa, sm_err *err) {
    addr_set s;
    if (!addr_set_of(sa, &s))
        return sm_err_set(err, SM_DENIED, "this kind of address is not allowed for scripts");
    char text[INET6_ADDRSTRLEN] = "";
    inet_ntop(s.family, s.addr, text, sizeof(text));
    const char *what = never(&s);
    if (what)
        return sm_err_set(err, SM_DENIED, "%s is a %s address, never allowed for scripts", text,
                          what);
    if (!p)
        return SM_OK;
    if (any_match(p->own, p->n_own, host, &s, port))
        return sm_err_set(err, SM_DENIED, "%s port %d is this program's own", text, port);
    if (any_match(p->deny, p->n_deny, host, &s, port))
        return sm_err_set(err, SM_DENIED, "%s port %d is denied by net in the configuration", text,
                          port);
    if (p->n_allow > 0) {
        if (any_match(p->allow, p->n_allow, host, &s, port))
            return SM_OK;
        return sm_err_set(err, SM_DENIED,
                          "%s port %d is not in the allow list of net in the configuration", text,
                          port);
    }
    what = p->public_only ? inner(&s) : NULL;
    if (what)
        return sm_err_set(err, SM_DENIED, "%s is a %s address, denied by net = \"public\"", text,
                          what);
    return SM_OK;
}

/* Reads an address without brackets or prefix. */
static bool literal(const char *host, struct sockaddr_storage *ss) {
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    memset(ss, 0, sizeof(*ss));
    if (inet_pton(AF_INET, host, &in.sin_addr) == 1) {
        memcpy(ss, &in, sizeof(in));
        return true;
    }
    char bare[INET6_ADDRSTRLEN + 1];
    size_t n = strcspn(host, "%"); /* a zone does not change what kind of address it is */
    if (n >= sizeof(bare))
        return false;
    memcpy(bare, host, n);
    bare[n] = '\0';
    if (inet_pton(AF_INET6, bare, &in6.sin6_addr) != 1)
        return false;
    memcpy(ss, &in6, sizeof(in6));
    return true;
}

sm_rc sm_netpolicy_host(const sm_netpolicy *p, const char *host, int port, sm_err *err) {
    struct sockaddr_storage ss;
    if (literal(host, &ss))
        return sm_netpolicy_addr(p, host, port, (const struct sockaddr *)&ss, err);
    if (!p)
        return SM_OK;
    if (any_match(p->deny, p->n_deny, host, NULL, port))
        return sm_err_set(err, SM_DENIED, "%s port %d is denied by net in the configuration", host,
                          port);
    if (p->n_allow > 0 && !any_match(p->allow, p->n_allow, host, NULL, port) &&
        !has_addr_entry(p->allow, p->n_allow))
        return sm_err_set(err, SM_DENIED,
                          "%s port %d is not in the allow list of net in the configuration", host,
                          port);
    return SM_OK;
}

bool sm_netpolicy_narrowed(const sm_netpolicy *p) {
    return p && (p->public_only || p->n_allow > 0 || p->n_deny > 0);
}

/* ---- reading the configuration's value ----------------------------------------------------- */

static bool read_number(const char *s, int min, int max, int *out) {
    if (*s < '0' || *s > '9')
        return false;
    char *end = NULL;
    long v = strtol(s, &end, 10);
    if (*end != '\0' || v < min || v > max)
        return false;
    *out = (int)v;
    return true;
}

static bool read_port(const char *s, int *out) {
    if (strcmp(s, "*") == 0) {
        *out = 0;
        return true;
    }
    return read_number(s, 1, 65535, out);
}

static bool name_ok(const char *s) {
    size_t n = strlen(s);
    return n > 0 && n <= HOST_MAX && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.*") == n;
}

/* host, address or CIDR without port, already cut out and lower case. */
static bool read_where(char *s, entry *e) {
    char *slash = strchr(s, '/');
    int bits = -1;
    if (slash) {
        *slash = '\0';
        if (!read_number(slash + 1, 0, 128, &bits))
            return false;
    }
    if (inet_pton(AF_INET, s, e->addr) == 1) {
        e->family = AF_INET;
        e->bits = bits < 0 ? 32 : bits;
        return e->bits <= 32;
    }
    if (inet_pton(AF_INET6, s, e->addr) == 1) {
        e->family = AF_INET6;
        e->bits = bits < 0 ? 128 : bits;
        return true;
    }
    if (slash || !name_ok(s))
        return false;
    e->host = sm_strdup(s);
    return true;
}

static bool read_entry(const char *text, entry *e) {
    char s[HOST_MAX + 64];
    size_t n = strlen(text);
    if (n == 0 || n >= sizeof(s))
        return false;
    for (size_t i = 0; i <= n; i++)
        s[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    char *where = s, *port = NULL;
    if (s[0] == '[') {
        char *close = strchr(s, ']');
        if (!close)
            return false;
        where = s + 1;
        *close = '\0';
        if (close[1] == ':')
            port = close + 2;
        else if (close[1] != '\0')
            return false;
        if (!strchr(where, ':'))
            return false; /* brackets are for IPv6 */
    } else {
        char *colon = strchr(s, ':');
        if (colon && !strchr(colon + 1, ':')) { /* one colon: a port; more: a bare IPv6 */
            *colon = '\0';
            port = colon + 1;
        }
    }
    if (port && !read_port(port, &e->port))
        return false;
    return read_where(where, e);
}

static sm_rc read_list(const json_t *list, const char *name, entry **out, size_t *n, sm_err *err) {
    if (!list)
        return SM_OK;
    if (!json_is_array(list))
        return sm_err_set(err, SM_INVALID, "net.%s: expected a list of host:port and CIDR", name);
    size_t count = json_array_size(list);
    if (count > ENTRIES_MAX)
        return sm_err_set(err, SM_LIMIT, "net.%s: at most %d entries", name, ENTRIES_MAX);
    *out = sm_calloc(count + 1, sizeof(entry));
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        const char *text = json_is_string(item) ? json_string_value(item) : "";
        if (!read_entry(text, &(*out)[i]))
            return sm_err_set(err, SM_INVALID,
                              "net.%s[%zu]: expected a host, host:port, address or CIDR; got "
                              "\"%.80s\"",
                              name, i + 1, text);
        *n = i + 1;
    }
    return SM_OK;
}

static void entries_free(entry *e, size_t n) {
    for (size_t i = 0; i < n; i++)
        free(e[i].host);
    free(e);
}

void sm_netpolicy_free(sm_netpolicy *p) {
    if (!p)
        return;
    entries_free(p->allow, p->n_allow);
    entries_free(p->deny, p->n_deny);
    entries_free(p->own, p->n_own);
    free(p);
}

sm_rc sm_netpolicy_new(const json_t *net, sm_netpolicy **out, sm_err *err) {
    *out = NULL;
    if (!net || json_is_null(net))
        return SM_OK;
    sm_rc rc = SM_OK;
    sm_netpolicy *p = sm_calloc(1, sizeof(*p));
    if (json_is_string(net) && strcmp(json_string_value(net), "public") == 0) {
        p->public_only = true;
    } else if (json_is_object(net)) {
        const char *key = NULL;
        json_t *value = NULL;
        json_object_foreach((json_t *)(uintptr_t)net, key, value) {
            if (strcmp(key, "public") == 0 && json_is_boolean(value)) {
                p->public_only = json_is_true(value);
            } else if (strcmp(key, "allow") != 0 && strcmp(key, "deny") != 0 &&
                       strcmp(key, "own") != 0) {
                rc = sm_err_set(err, SM_INVALID,
                                "net: unknown key \"%.80s\"; known are allow and "
                                "deny",
                                key);
                goto out;
            }
        }
        rc = read_list(json_object_get(net, "allow"), "allow", &p->allow, &p->n_allow, err);
        if (rc == SM_OK)
            rc = read_list(json_object_get(net, "deny"), "deny", &p->deny, &p->n_deny, err);
        if (rc == SM_OK)
            rc = read_list(json_object_get(net, "own"), "own", &p->own, &p->n_own, err);
    } else {
        rc = sm_err_set(err, SM_INVALID, "net: expected \"public\" or {allow = {…}, deny = {…}}");
    }
out:
    if (rc == SM_OK)
        *out = p;
    else
        sm_netpolicy_free(p);
    return rc;
}
