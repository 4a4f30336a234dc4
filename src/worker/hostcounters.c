/* hostcounters: what the kernel counts: pressure, open files, tracked connections, disks' transfers
 * and network interfaces (shapes in hostinfo.h). Called by hostinfo; keeps no state.
 */
#include "worker/hostinfo.h"
#include "base/buf.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_MAX = 1 << 20, SECTOR = 512 };

/* Whole chunks at a time: a file of /proc/sys gives nothing more to a second read. */
static char *slurp(const char *proc, const char *file, sm_err *err) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", proc, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    sm_buf text;
    sm_buf_init(&text, TEXT_MAX);
    ssize_t got = -1;
    while (fd >= 0) {
        char chunk[16 << 10];
        got = read(fd, chunk, sizeof chunk);
        if (got <= 0 || sm_buf_add(&text, chunk, (size_t)got) != SM_OK)
            break;
    }
    if (got < 0)
        sm_err_sys(err, errno, "cannot read %s", path);
    if (fd >= 0)
        close(fd);
    char *made = got < 0 ? NULL : sm_buf_take(&text, NULL);
    sm_buf_fini(&text);
    return made;
}

static json_t *pressure_line(const char *text, const char *kind) {
    double ten, minute, five;
    unsigned long long total;
    const char *p = strstr(text, kind);
    size_t skip = strlen(kind);
    if (!p || sscanf(p + skip, " avg10=%lf avg60=%lf avg300=%lf total=%llu", &ten, &minute, &five,
                     &total) != 4)
        return NULL;
    return json_pack("{s:f, s:f, s:f, s:f}", "avg10", ten, "avg60", minute, "avg300", five, "total",
                     (double)total / 1e6);
}

static json_t *read_pressure(const char *proc, sm_err *err) {
    static const char *const names[] = {"cpu", "memory", "io"};
    json_t *o = json_object();
    for (size_t i = 0; i < SM_ARRAY_LEN(names); i++) {
        char file[40];
        snprintf(file, sizeof file, "pressure/%s", names[i]);
        char *text = slurp(proc, file, err);
        if (!text) {
            json_decref(o);
            if (err)
                sm_err_set(err, SM_NOT_FOUND, "this kernel does not measure pressure (PSI)");
            return NULL;
        }
        json_t *one = json_object();
        json_object_set_new(one, "some", pressure_line(text, "some"));
        json_object_set_new(one, "full", pressure_line(text, "full"));
        json_object_set_new(o, names[i], one);
        free(text);
    }
    return o;
}

static json_t *used_of(int64_t used, int64_t max) {
    return json_pack("{s:I, s:I, s:f}", "used", (json_int_t)used, "max", (json_int_t)max, "percent",
                     max > 0 ? 100 * (double)used / (double)max : 0.0);
}

static json_t *read_open_files(const char *proc, sm_err *err) {
    long long used, free_ones, max;
    char *text = slurp(proc, "sys/fs/file-nr", err);
    json_t *o = NULL;
    if (text && sscanf(text, "%lld %lld %lld", &used, &free_ones, &max) == 3)
        o = used_of(used - free_ones, max);
    else if (text)
        sm_err_set(err, SM_PROTO, "%s/sys/fs/file-nr has no three numbers", proc);
    free(text);
    return o;
}

static json_t *read_conntrack(const char *proc, sm_err *err) {
    char *count = slurp(proc, "sys/net/netfilter/nf_conntrack_count", NULL);
    char *max = slurp(proc, "sys/net/netfilter/nf_conntrack_max", NULL);
    json_t *o = NULL;
    if (count && max)
        o = used_of(strtoll(count, NULL, 10), strtoll(max, NULL, 10));
    else
        sm_err_set(err, SM_NOT_FOUND, "this machine does not track connections");
    free(count);
    free(max);
    return o;
}

/* What `read` makes of each line; NULL leaves it out. */
static json_t *each_line(const char *text, json_t *(*read)(const char *line)) {
    json_t *list = json_array();
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        char line[512];
        if (n < sizeof line) {
            memcpy(line, p, n);
            line[n] = '\0';
            json_t *o = read(line);
            if (o)
                json_array_append_new(list, o);
        }
        p += n + (p[n] == '\n');
    }
    return list;
}

static json_t *disk_line(const char *line) {
    char name[64];
    unsigned long long r, rs, rms, w, ws, wms, flight, busy;
    if (sscanf(line, " %*u %*u %63s %llu %*u %llu %llu %llu %*u %llu %llu %llu %llu", name, &r, &rs,
               &rms, &w, &ws, &wms, &flight, &busy) != 9)
        return NULL;
    if (strncmp(name, "loop", 4) == 0 || strncmp(name, "ram", 3) == 0 || r + w == 0)
        return NULL;
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:I}", "device", name, "reads",
                     (json_int_t)r, "writes", (json_int_t)w, "read_bytes",
                     (json_int_t)(rs * SECTOR), "written_bytes", (json_int_t)(ws * SECTOR),
                     "read_seconds", (double)rms / 1e3, "write_seconds", (double)wms / 1e3,
                     "busy_seconds", (double)busy / 1e3, "in_flight", (json_int_t)flight);
}

static json_t *interface_line(const char *line) {
    char name[64];
    unsigned long long n[8];
    const char *colon = strrchr(line, ':');
    const char *from = line + strspn(line, " ");
    if (!colon || colon - from >= (long)sizeof name ||
        sscanf(colon + 1, "%llu %llu %llu %llu %*u %*u %*u %*u %llu %llu %llu %llu", &n[0], &n[1],
               &n[2], &n[3], &n[4], &n[5], &n[6], &n[7]) != 8)
        return NULL;
    memcpy(name, from, (size_t)(colon - from));
    name[colon - from] = '\0';
    return json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name",
                     sm_json_text(name, strlen(name)), "rx_bytes", (json_int_t)n[0], "rx_packets",
                     (json_int_t)n[1], "rx_errors", (json_int_t)n[2], "rx_dropped",
                     (json_int_t)n[3], "tx_bytes", (json_int_t)n[4], "tx_packets", (json_int_t)n[5],
                     "tx_errors", (json_int_t)n[6], "tx_dropped", (json_int_t)n[7]);
}

static json_t *read_lines(const char *proc, const char *file, json_t *(*read)(const char *line),
                          sm_err *err) {
    char *text = slurp(proc, file, err);
    json_t *list = text ? each_line(text, read) : NULL;
    free(text);
    return list;
}

json_t *sm_hostcounters_read(const char *proc, const char *what, sm_err *err) {
    if (strcmp(what, "pressure") == 0)
        return read_pressure(proc, err);
    if (strcmp(what, "open_files") == 0)
        return read_open_files(proc, err);
    if (strcmp(what, "conntrack") == 0)
        return read_conntrack(proc, err);
    if (strcmp(what, "disk_io") == 0)
        return read_lines(proc, "diskstats", disk_line, err);
    if (strcmp(what, "interfaces") == 0)
        return read_lines(proc, "net/dev", interface_line, err);
    sm_err_set(err, SM_INVALID, "there is no reading \"%s\" of a machine", what);
    return NULL;
}
