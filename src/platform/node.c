/* node: where a workspace lives: the table of public nodes, brand-qualified names, private pairs.
 *
 * Refuses what would send a key to the wrong place: a bare key that both brands have, half a pair,
 * credentials or queries inside an address, plain http beyond the own machine. Resolves no name and
 * opens no connection. Called by the configuration and by `nodes`; any thread.
 */
#include "platform/node.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

static const sm_node_row nodes[] = {
#include "platform/nodes.inc"
};
enum { NODES = SM_ARRAY_LEN(nodes), NAMES_MAX = 900, URL_MAX = 2048 };

const sm_node_row *sm_node_table(size_t *n) {
    *n = NODES;
    return nodes;
}

static bool is_shared(const char *key) {
    size_t found = 0;
    for (size_t i = 0; i < NODES; i++)
        found += strcmp(nodes[i].key, key) == 0;
    return found > 1;
}

/* Guance's own keys stand alone, as its users write them; all others carry their brand. */
static char *name_of(const sm_node_row *row) {
    if (strcmp(row->brand, "guance") == 0 && !is_shared(row->key))
        return sm_strdup(row->key);
    return sm_asprintf("%s/%s", row->brand, row->key);
}

/* Names of the rows with this key (NULL: all), as `"a" or "b"` or `a, b`. malloc'd. */
static char *list_names(const char *key, const char *quote, const char *between) {
    sm_buf b;
    sm_buf_init(&b, NAMES_MAX);
    for (size_t i = 0; i < NODES; i++) {
        if (key && strcmp(nodes[i].key, key) != 0)
            continue;
        char *name = name_of(&nodes[i]);
        sm_buf_addf(&b, "%s%s%s%s", b.len ? between : "", quote, name, quote);
        free(name);
    }
    return sm_buf_take(&b, NULL);
}

static sm_rc fail_shared(const char *name, sm_err *err) {
    char *both = list_names(name, "\"", " or ");
    sm_err_set(err, SM_INVALID, "node \"%s\" exists for both brands: write %s", name, both);
    free(both);
    return SM_INVALID;
}

static sm_rc fail_unknown(const char *name, sm_err *err) {
    char *shown = sm_str_printable(name, strlen(name), 80);
    const char *words[2 * NODES];
    char *full[NODES];
    for (size_t i = 0; i < NODES; i++) {
        full[i] = sm_asprintf("%s/%s", nodes[i].brand, nodes[i].key);
        words[2 * i] = nodes[i].key;
        words[2 * i + 1] = full[i];
    }
    const char *near = sm_str_nearest(name, words, SM_ARRAY_LEN(words));
    const char *slash = near ? strchr(near, '/') : NULL;
    char *names;
    if (strstr(name, "://")) {
        sm_err_set(
            err, SM_INVALID,
            "node \"%s\" is an address: a private deployment is given by its OpenAPI and its "
            "OpenWay address instead of a node",
            shown);
    } else if (near && !slash) {
        names = list_names(near, "\"", " or ");
        sm_err_set(err, SM_INVALID, "unknown node \"%s\"; did you mean %s?", shown, names);
        free(names);
    } else if (near) {
        sm_err_set(err, SM_INVALID, "unknown node \"%s\"; did you mean \"%s\"?", shown, near);
    } else {
        names = list_names(NULL, "", ", ");
        sm_err_set(err, SM_INVALID, "unknown node \"%s\": expected local or one of %s", shown,
                   names);
        free(names);
    }
    for (size_t i = 0; i < NODES; i++)
        free(full[i]);
    free(shown);
    return SM_INVALID;
}

sm_rc sm_node_find(const char *name, sm_node *out, sm_err *err) {
    memset(out, 0, sizeof *out);
    const char *slash = strchr(name, '/');
    const char *key = slash ? slash + 1 : name;
    size_t brand = slash ? (size_t)(slash - name) : 0;
    if (!slash && is_shared(name))
        return fail_shared(name, err);
    for (size_t i = 0; i < NODES; i++) {
        const sm_node_row *row = &nodes[i];
        if (strcmp(row->key, key) != 0)
            continue;
        if (slash && (strlen(row->brand) != brand || memcmp(row->brand, name, brand) != 0))
            continue;
        out->name = name_of(row);
        out->brand = sm_strdup(row->brand);
        out->openapi = sm_strdup(row->openapi);
        out->openway = sm_strdup(row->openway);
        return SM_OK;
    }
    return fail_unknown(name, err);
}

/* localhost, 127.0.0.0/8, ::1; host is lower-case, IPv6 without brackets. */
static bool is_loopback(const char *host) {
    struct in_addr v4;
    struct in6_addr v6;
    if (strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* What libcurl says of one part of a URL; "" when it is not there. malloc'd. */
static char *part_of(CURLU *u, CURLUPart part) {
    char *text = NULL;
    char *copy = sm_strdup(curl_url_get(u, part, &text, 0) == CURLUE_OK && text ? text : "");
    curl_free(text);
    return copy;
}

static void lower(char *s) {
    for (; *s; s++)
        if (*s >= 'A' && *s <= 'Z')
            *s = (char)(*s - 'A' + 'a');
}

/* Why an address is refused before it is taken apart, or NULL. */
static const char *bad_shape(const char *url) {
    const char *scheme = strstr(url, "://");
    for (const char *p = url; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f || *p == '\\')
            return "must have no blanks, control characters or backslashes";
    if (strlen(url) > URL_MAX)
        return "is longer than 2048 bytes";
    if (!scheme || (strncasecmp(url, "https://", 8) != 0 && strncasecmp(url, "http://", 7) != 0))
        return "must begin with https://";
    if (memchr(scheme + 3, '@', strcspn(scheme + 3, "/?#")))
        return "must not hold a user name or password";
    if (strchr(url, '?'))
        return "must not have a query (?…)";
    if (strchr(url, '#'))
        return "must not have a fragment (#…)";
    return NULL;
}

/* One address of a pair, tidied: *out without trailing slash, *host with its port when written. */
static sm_rc read_address(const char *what, const char *url, bool insecure, char **out, char **host,
                          sm_err *err) {
    const char *why = bad_shape(url);
    /* Only the part before a query or a user is shown: those may be secrets. */
    size_t safe = strcspn(url, "?#@");
    char *shown = sm_str_printable(url, url[safe] == '@' ? 0 : safe, 200);
    CURLU *u = curl_url();
    if (!u)
        abort();
    char *scheme = NULL, *name = NULL, *port = NULL, *path = NULL;
    sm_rc rc = SM_OK;
    if (!why && curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK)
        why = "is not a URL";
    if (why) {
        rc = sm_err_set(err, SM_INVALID, "the %s address \"%s\" %s", what, shown, why);
        goto out;
    }
    scheme = part_of(u, CURLUPART_SCHEME);
    name = part_of(u, CURLUPART_HOST);
    port = part_of(u, CURLUPART_PORT);
    path = part_of(u, CURLUPART_PATH);
    lower(scheme);
    lower(name);
    size_t n = strlen(name), m = strlen(path);
    char *bare = name[0] == '[' && n > 2 ? sm_memdup(name + 1, n - 2) : sm_strdup(name);
    bool near = is_loopback(bare);
    free(bare);
    if (strcmp(scheme, "http") == 0 && !near && !insecure) {
        rc = sm_err_set(err, SM_INVALID,
                        "the %s address \"%s\" would send the key unencrypted: use https://, or "
                        "insecure = true (SELFMON_INSECURE_HTTP=1)",
                        what, shown);
        goto out;
    }
    while (m > 0 && path[m - 1] == '/')
        path[--m] = '\0';
    *host = sm_asprintf("%s%s%s", name, port[0] ? ":" : "", port);
    *out = sm_asprintf("%s://%s%s", scheme, *host, path);
out:
    free(scheme);
    free(name);
    free(port);
    free(path);
    free(shown);
    curl_url_cleanup(u);
    return rc;
}

sm_rc sm_node_pair(const char *openapi, const char *openway, bool insecure, sm_node *out,
                   sm_err *err) {
    memset(out, 0, sizeof *out);
    bool api = openapi && openapi[0], way = openway && openway[0];
    if (!api || !way)
        return sm_err_set(err, SM_INVALID,
                          "a private deployment needs its OpenAPI and its OpenWay address: the %s "
                          "address is missing",
                          !api && way ? "OpenAPI"
                          : api       ? "OpenWay"
                                      : "OpenAPI (and the OpenWay)");
    char *host = NULL, *other = NULL;
    sm_rc rc = read_address("OpenAPI", openapi, insecure, &out->openapi, &host, err);
    if (rc == SM_OK)
        rc = read_address("OpenWay", openway, insecure, &out->openway, &other, err);
    if (rc == SM_OK)
        out->name = sm_strdup(host);
    else
        sm_node_fini(out);
    free(host);
    free(other);
    return rc;
}

void sm_node_fini(sm_node *n) {
    free(n->name);
    free(n->brand);
    free(n->openapi);
    free(n->openway);
    memset(n, 0, sizeof *n);
}
