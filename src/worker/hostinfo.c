/* hostinfo: cpu, memory, load, uptime and name of this machine from /proc (shapes in the header).
 *
 * Called by bind_host on a run's thread, and by tests with a directory of their own. Reads files
 * that the kernel answers at once; what may wait (disks) is in hostdisks.c. Keeps no state.
 */
#include "worker/hostinfo.h"
#include "base/fsx.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROC_MAX = 4 << 20 };

static char *slurp(const char *proc, const char *file, sm_err *err) {
    char path[512], *text = NULL;
    size_t n;
    snprintf(path, sizeof path, "%s/%s", proc, file);
    sm_fsx_read(path, PROC_MAX, &text, &n, err);
    return text;
}

/* Number of cores by /proc/stat's "cpuN" lines. */
static int count_cores(const char *stat) {
    int n = 0;
    for (const char *p = stat; (p = strstr(p, "\ncpu")) != NULL; p += 4) {
        n += p[4] >= '0' && p[4] <= '9';
    }
    return n > 0 ? n : 1;
}

static void set_real(json_t *o, const char *key, double v) {
    json_object_set_new(o, key, json_real(v));
}

static json_t *read_cpu(const char *proc, sm_err *err) {
    static const char *const names[] = {"user",   "nice", "system",  "idle",
                                        "iowait", "irq",  "softirq", "steal"};
    char *text = slurp(proc, "stat", err);
    if (!text) {
        return NULL;
    }
    json_t *o = NULL;
    double tick = (double)sysconf(_SC_CLK_TCK);
    if (strncmp(text, "cpu ", 4) != 0) {
        sm_err_set(err, SM_PROTO, "%s/stat has no line for cpu", proc);
    } else {
        o = json_object();
        char *p = text + 4;
        for (size_t i = 0; i < SM_ARRAY_LEN(names); i++) {
            set_real(o, names[i], (double)strtoull(p, &p, 10) / tick);
        }
        json_object_set_new(o, "cores", json_integer(count_cores(text)));
    }
    free(text);
    return o;
}

json_t *sm_hostinfo_cpu_usage(const json_t *before, const json_t *after) {
    static const char *const names[] = {"user",   "nice", "system",  "idle",
                                        "iowait", "irq",  "softirq", "steal"};
    double d[SM_ARRAY_LEN(names)], total = 0;
    for (size_t i = 0; i < SM_ARRAY_LEN(names); i++) {
        d[i] = sm_json_num(after, names[i], 0) - sm_json_num(before, names[i], 0);
        d[i] = d[i] > 0 ? d[i] : 0; /* iowait may go back (man 5 proc) */
        total += d[i];
    }
    for (size_t i = 0; i < SM_ARRAY_LEN(names); i++) {
        d[i] = total > 0 ? 100 * d[i] / total : 0;
    }
    json_t *o = json_object();
    set_real(o, "user", d[0] + d[1]);
    set_real(o, "system", d[2] + d[5] + d[6]);
    set_real(o, "iowait", d[4]);
    set_real(o, "steal", d[7]);
    set_real(o, "idle", total > 0 ? d[3] : 100);
    set_real(o, "percent", total > 0 ? d[0] + d[1] + d[2] + d[5] + d[6] + d[7] : 0);
    json_object_set_new(o, "cores", json_integer(sm_json_int(after, "cores", 1)));
    return o;
}

/* Bytes of `Name: N kB`; -1 when the line is missing. */
static int64_t mem_field(const char *text, const char *name) {
    size_t n = strlen(name);
    for (const char *p = text; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL) {
        if (strncmp(p, name, n) == 0 && p[n] == ':') {
            return (int64_t)strtoll(p + n + 1, NULL, 10) * 1024;
        }
    }
    return -1;
}

static double percent(int64_t part, int64_t whole) {
    return whole > 0 ? 100 * (double)part / (double)whole : 0;
}

static json_t *read_memory(const char *proc, sm_err *err) {
    char *text = slurp(proc, "meminfo", err);
    if (!text) {
        return NULL;
    }
    json_t *o = NULL;
    int64_t total = mem_field(text, "MemTotal"), avail = mem_field(text, "MemAvailable");
    int64_t swap = mem_field(text, "SwapTotal"), swap_free = mem_field(text, "SwapFree");
    int64_t kept_free = mem_field(text, "MemFree");
    if (total <= 0) {
        sm_err_set(err, SM_PROTO, "%s/meminfo has no MemTotal", proc);
        goto out;
    }
    if (avail < 0) { /* kernels before 3.14 */
        avail = kept_free + mem_field(text, "Buffers") + mem_field(text, "Cached");
    }
    avail = avail > total ? total : avail;
    swap = swap > 0 ? swap : 0;
    swap_free = swap_free > 0 && swap_free <= swap ? swap_free : 0;
    o = json_object();
    json_object_set_new(o, "total", json_integer(total));
    json_object_set_new(o, "available", json_integer(avail));
    json_object_set_new(o, "used", json_integer(total - avail));
    set_real(o, "percent", percent(total - avail, total));
    json_object_set_new(o, "free", json_integer(kept_free));
    json_object_set_new(o, "buffers", json_integer(mem_field(text, "Buffers")));
    json_object_set_new(o, "cached", json_integer(mem_field(text, "Cached")));
    json_object_set_new(o, "swap_total", json_integer(swap));
    json_object_set_new(o, "swap_used", json_integer(swap - swap_free));
    set_real(o, "swap_percent", percent(swap - swap_free, swap));
out:
    free(text);
    return o;
}

static json_t *read_load(const char *proc, sm_err *err) {
    char *text = slurp(proc, "loadavg", err);
    if (!text) {
        return NULL;
    }
    char *stat = slurp(proc, "stat", NULL);
    json_t *o = json_object();
    char *p = text;
    set_real(o, "one", strtod(p, &p));
    set_real(o, "five", strtod(p, &p));
    set_real(o, "fifteen", strtod(p, &p));
    json_object_set_new(o, "running", json_integer(strtoll(p, &p, 10)));
    p += *p == '/';
    json_object_set_new(o, "threads", json_integer(strtoll(p, &p, 10)));
    json_object_set_new(o, "cores", json_integer(stat ? count_cores(stat) : 1));
    free(stat);
    free(text);
    return o;
}

static json_t *read_uptime(const char *proc, sm_err *err) {
    char *text = slurp(proc, "uptime", err);
    json_t *o = text ? json_real(strtod(text, NULL)) : NULL;
    free(text);
    return o;
}

static json_t *read_name(sm_err *err) {
    char name[256] = "";
    if (gethostname(name, sizeof name - 1) != 0) {
        sm_err_sys(err, errno, "cannot read the host name");
        return NULL;
    }
    return sm_json_text(name, strlen(name));
}

json_t *sm_hostinfo_read_at(const char *proc, const char *what, sm_err *err) {
    if (strcmp(what, "cpu") == 0) {
        return read_cpu(proc, err);
    }
    if (strcmp(what, "memory") == 0) {
        return read_memory(proc, err);
    }
    if (strcmp(what, "load") == 0) {
        return read_load(proc, err);
    }
    if (strcmp(what, "uptime") == 0) {
        return read_uptime(proc, err);
    }
    if (strcmp(what, "name") == 0) {
        return read_name(err);
    }
    bool disks = strcmp(what, "disks") == 0;
    if (!disks && strcmp(what, "mounts") != 0) {
        return sm_hostcounters_read(proc, what, err);
    }
    char *text = slurp(proc, "self/mountinfo", err);
    if (!text) {
        return NULL;
    }
    json_t *o = disks ? sm_hostdisks_list(text) : sm_hostdisks_mounts(text);
    free(text);
    return o;
}

json_t *sm_hostinfo_read(const char *what, sm_err *err) {
    return sm_hostinfo_read_at("/proc", what, err);
}
