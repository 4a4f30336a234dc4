/* hostsockets: reads /proc/net/tcp, tcp6, udp and udp6 line by line, since a busy machine has
 * hundreds of thousands of sockets. Called by bind_hostproc on a run's thread.
 */
#include "worker/hostsockets.h"
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const state_names[] = {"established", "syn_sent",  "syn_recv", "fin_wait1",
                                          "fin_wait2",   "time_wait", "close",    "close_wait",
                                          "last_ack",    "listen",    "closing",  "new_syn_recv"};

const char *const *sm_hostsockets_states(size_t *n) {
    *n = SM_ARRAY_LEN(state_names);
    return state_names;
}

typedef struct source {
    const char *file, *protocol;
    int family;
} source;
static const source sources[] = {
    {"tcp", "tcp", 4}, {"tcp6", "tcp", 6}, {"udp", "udp", 4}, {"udp6", "udp", 6}};

/* One line of such a file. */
typedef struct row {
    const source *from;
    char local[33], remote[33]; /* hex */
    unsigned local_port, remote_port, state;
    unsigned uid;
    uint64_t inode;
} row;

static const char *state_of(const row *r) {
    return r->state >= 1 && r->state <= SM_ARRAY_LEN(state_names) ? state_names[r->state - 1]
                                                                  : "close";
}

static bool parse(const char *line, row *r) {
    return sscanf(line,
                  " %*d: %32[0-9A-F]:%x %32[0-9A-F]:%x %x %*x:%*x %*x:%*x %*x %u %*d %" SCNu64,
                  r->local, &r->local_port, r->remote, &r->remote_port, &r->state, &r->uid,
                  &r->inode) == 7;
}

/* The kernel prints each 32-bit word of an address as a number of this machine. */
static json_t *address(const char *hex) {
    uint32_t words[4] = {0};
    size_t n = strlen(hex) / 8;
    char text[INET6_ADDRSTRLEN] = "";
    for (size_t i = 0; i < n && i < 4; i++) {
        char word[9];
        memcpy(word, hex + 8 * i, 8);
        word[8] = '\0';
        words[i] = (uint32_t)strtoul(word, NULL, 16);
    }
    bool mapped = n == 4 && words[0] == 0 && words[1] == 0 && words[2] == htonl(0xffff);
    if (n == 4 && !mapped)
        inet_ntop(AF_INET6, words, text, sizeof text);
    else
        inet_ntop(AF_INET, mapped ? &words[3] : words, text, sizeof text);
    return json_string(text);
}

static json_t *describe(const row *r) {
    return json_pack("{s:s, s:i, s:o, s:i, s:o, s:i, s:s, s:I, s:I}", "protocol", r->from->protocol,
                     "family", r->from->family, "local_address", address(r->local), "local_port",
                     (int)r->local_port, "remote_address", address(r->remote), "remote_port",
                     (int)r->remote_port, "state", state_of(r), "uid", (json_int_t)r->uid, "inode",
                     (json_int_t)r->inode);
}

static bool wanted(const json_t *filter, const char *protocol, const char *state, int64_t local,
                   int64_t remote) {
    const char *p = sm_json_str(filter, "protocol", protocol);
    const char *s = sm_json_str(filter, "state", state);
    return strcmp(p, protocol) == 0 && strcmp(s, state) == 0 &&
           sm_json_int(filter, "local_port", local) == local &&
           sm_json_int(filter, "remote_port", remote) == remote;
}

/* Returns false to end. */
typedef bool row_fn(void *ctx, const row *r);

static sm_rc each(const char *proc, row_fn *fn, void *ctx, sm_err *err) {
    bool any = false, go = true;
    int why = 0;
    for (size_t i = 0; i < SM_ARRAY_LEN(sources) && go; i++) {
        char path[512], line[512];
        row r = {.from = &sources[i]};
        snprintf(path, sizeof path, "%s/net/%s", proc, sources[i].file);
        FILE *f = fopen(path, "re");
        if (!f) { /* a kernel without IPv6 */
            why = errno;
            continue;
        }
        any = true;
        while (go && fgets(line, sizeof line, f))
            if (parse(line, &r))
                go = fn(ctx, &r);
        fclose(f);
    }
    return any ? SM_OK : sm_err_sys(err, why, "cannot read %s/net", proc);
}

typedef struct listing {
    const json_t *filter;
    json_t *list;
} listing;

static bool add_row(void *ctx, const row *r) {
    listing *l = ctx;
    if (wanted(l->filter, r->from->protocol, state_of(r), r->local_port, r->remote_port))
        json_array_append_new(l->list, describe(r));
    return json_array_size(l->list) <= SM_HOSTSOCKETS_MAX;
}

sm_rc sm_hostsockets_read(const char *proc, const json_t *filter, json_t **out, sm_err *err) {
    listing l = {filter, json_array()};
    *out = NULL;
    sm_rc rc = each(proc, add_row, &l, err);
    if (rc == SM_OK && json_array_size(l.list) > SM_HOSTSOCKETS_MAX)
        rc = sm_err_set(err, SM_LIMIT,
                        "more than %d sockets match; narrow them by state or port, or take "
                        "host.socket_counts",
                        SM_HOSTSOCKETS_MAX);
    if (rc != SM_OK)
        json_decref(l.list);
    else
        *out = l.list;
    return rc;
}

typedef struct tally {
    int64_t n[2][SM_ARRAY_LEN(state_names)];
} tally;

static void count(tally *t, const char *protocol, const char *state) {
    for (size_t i = 0; i < SM_ARRAY_LEN(state_names); i++)
        if (strcmp(state_names[i], state) == 0)
            t->n[strcmp(protocol, "udp") == 0][i]++;
}

static bool count_row(void *ctx, const row *r) {
    count(ctx, r->from->protocol, state_of(r));
    return true;
}

static json_t *counts_json(const tally *t) {
    json_t *both = json_object();
    for (size_t p = 0; p < 2; p++) {
        json_t *o = json_object();
        int64_t total = 0;
        for (size_t i = 0; i < SM_ARRAY_LEN(state_names); i++) {
            total += t->n[p][i];
            json_object_set_new(o, state_names[i], json_integer(t->n[p][i]));
        }
        json_object_set_new(o, "total", json_integer(total));
        json_object_set_new(both, p ? "udp" : "tcp", o);
    }
    return both;
}

sm_rc sm_hostsockets_counts(const char *proc, json_t **out, sm_err *err) {
    tally t = {0};
    sm_rc rc = each(proc, count_row, &t, err);
    *out = rc == SM_OK ? counts_json(&t) : NULL;
    return rc;
}

json_t *sm_hostsockets_select(const json_t *list, const json_t *filter) {
    json_t *made = json_array(), *o;
    size_t i;
    json_array_foreach(list, i, o) {
        if (wanted(filter, sm_json_str(o, "protocol", ""), sm_json_str(o, "state", ""),
                   sm_json_int(o, "local_port", -1), sm_json_int(o, "remote_port", -1)))
            json_array_append(made, o);
    }
    return made;
}

json_t *sm_hostsockets_counts_of(const json_t *list) {
    tally t = {0};
    size_t i;
    json_t *o;
    json_array_foreach(list, i, o) {
        count(&t, sm_json_str(o, "protocol", ""), sm_json_str(o, "state", ""));
    }
    return counts_json(&t);
}
