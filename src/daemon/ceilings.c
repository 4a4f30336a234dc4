/* ceilings: see ceilings.h. The costs below were measured: a daemon at rest has 24 files open, a
 * worker 8 and four threads, a run that waits 80 KiB, one connection and one thread. */
#include "daemon/ceilings.h"
#include "base/fsx.h"
#include "base/mem.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    DAEMON_FILES = 40, /* with those of a scan, of the database, and a few spare ones */
    WORKER_FILES = 32,
    RUN_FILES = 4,
    LEAST_FILES = DAEMON_FILES + 16,
    PEERS = 64,
    PEERS_MIN = 4,
    DAEMON_TASKS = 16,
    WORKER_TASKS = 4,
    FILE_MAX = 64 << 10
};
#define DAEMON_BYTES (INT64_C(48) << 20)
#define WORKER_BYTES (INT64_C(12) << 20)
#define RUN_BYTES (INT64_C(80) << 10)

/* ---- what there is ---- */

/* First number of a small file; -1: there is none ("max" too). */
static int64_t number_in(const char *path) {
    char *text = NULL, *end;
    size_t n;
    if (sm_fsx_read(path, FILE_MAX, &text, &n, NULL) != SM_OK)
        return -1;
    long long v = strtoll(text, &end, 10);
    bool found = end != text && v >= 0;
    free(text);
    return found ? v : -1;
}

static void lower_to(int64_t *room, int64_t limit) {
    if (limit >= 0 && (*room < 0 || limit < *room))
        *room = limit;
}

/* The limits of one group: pids.max, memory.max or, in v1, memory.limit_in_bytes. */
static void look_at_group(const char *dir, sm_room *r) {
    static const char *const memory[] = {"memory.max", "memory.limit_in_bytes"};
    int64_t before = r->tasks;
    char *path = sm_asprintf("%s/pids.max", dir);
    int64_t most = number_in(path);
    free(path);
    if (most >= 0) {
        path = sm_asprintf("%s/pids.current", dir);
        int64_t now = number_in(path);
        free(path);
        lower_to(&r->tasks, now > most ? 0 : most - (now > 0 ? now : 0));
        r->tasks_grouped = r->tasks_grouped || r->tasks != before;
    }
    for (size_t i = 0; i < SM_ARRAY_LEN(memory); i++) {
        path = sm_asprintf("%s/%s", dir, memory[i]);
        most = number_in(path);
        free(path);
        /* Without a limit v1 shows a number near 2^63. */
        if (most >= 0 && most < INT64_C(1) << 60 && (r->memory < 0 || most < r->memory)) {
            r->memory = most;
            r->memory_grouped = true;
        }
    }
}

/* The group of a line "7:memory:/a/b" or "0::/a/b", and all above it. */
static void look_at_line(const char *root, char *line, sm_room *r) {
    char *kinds = strchr(line, ':');
    char *path = kinds ? strchr(kinds + 1, ':') : NULL;
    if (!path)
        return;
    *path++ = '\0';
    kinds++;
    const char *mount = *kinds == '\0'                 ? ""
                        : strcmp(kinds, "memory") == 0 ? "/memory"
                        : strcmp(kinds, "pids") == 0   ? "/pids"
                                                       : NULL;
    if (!mount || strstr(path, ".."))
        return;
    for (;;) {
        char *dir = sm_asprintf("%s/sys/fs/cgroup%s%s", root, mount, path);
        look_at_group(dir, r);
        free(dir);
        char *slash = strrchr(path, '/');
        if (!slash || (slash == path && path[1] == '\0'))
            return;
        slash[slash == path] = '\0';
    }
}

static void look_at_groups(const char *root, sm_room *r) {
    char *path = sm_asprintf("%s/proc/self/cgroup", root), *text = NULL, *rest;
    size_t n;
    if (sm_fsx_read(path, FILE_MAX, &text, &n, NULL) == SM_OK)
        for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
            look_at_line(root, line, r);
    free(text);
    free(path);
}

/* Tasks that this user has now. */
static int64_t own_tasks(void) {
    DIR *proc = opendir("/proc");
    int64_t n = 0;
    for (const struct dirent *e; proc && (e = readdir(proc));) {
        if (e->d_name[0] < '0' || e->d_name[0] > '9')
            continue;
        char path[300], want[32], *text = NULL;
        size_t len;
        snprintf(path, sizeof path, "/proc/%.200s/status", e->d_name);
        if (sm_fsx_read(path, FILE_MAX, &text, &len, NULL) != SM_OK)
            continue;
        snprintf(want, sizeof want, "\nUid:\t%u\t", (unsigned)getuid());
        const char *threads = strstr(text, "\nThreads:");
        if (strstr(text, want) && threads)
            n += strtoll(threads + 9, NULL, 10);
        free(text);
    }
    if (proc)
        closedir(proc);
    return n;
}

void sm_ceilings_measure(const char *root, sm_room *out) {
    struct rlimit files, tasks;
    *out = (sm_room){.files = -1, .tasks = -1, .memory = -1};
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        if (files.rlim_cur < files.rlim_max) {
            struct rlimit more = {files.rlim_max, files.rlim_max};
            if (setrlimit(RLIMIT_NOFILE, &more) == 0)
                files = more;
        }
        if (files.rlim_cur != RLIM_INFINITY)
            out->files = (int64_t)files.rlim_cur;
    }
    /* The limit of root's processes is not enforced. */
    if (geteuid() != 0 && getrlimit(RLIMIT_NPROC, &tasks) == 0 && tasks.rlim_cur != RLIM_INFINITY) {
        int64_t now = own_tasks();
        out->tasks = (int64_t)tasks.rlim_cur > now ? (int64_t)tasks.rlim_cur - now : 0;
    }
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGE_SIZE);
    if (pages > 0 && size > 0)
        out->memory = (int64_t)pages * size;
    look_at_groups(root, out);
}

/* ---- what fits ---- */

static void lower(int *value, const char *key, int64_t most, json_t *said, const char *why) {
    if (*value <= most)
        return;
    char *text = sm_asprintf("%s is lowered from %d to %d: %s", key, *value, (int)most, why);
    json_array_append_new(said, json_pack("{s:s, s:s}", "key", key, "text", text));
    free(text);
    *value = (int)most;
}

static const char file_cure[] = "raise LimitNOFILE= of the service, or ulimit -n";

static sm_rc fit_files(const sm_room *r, sm_ceilings *c, json_t *said, sm_err *err) {
    char why[200];
    if (r->files < 0)
        return SM_OK;
    if (r->files < LEAST_FILES)
        return sm_err_set(err, SM_LIMIT,
                          "at most %lld files may be open at once, at least %d are needed; %s",
                          (long long)r->files, (int)LEAST_FILES, file_cure);
    snprintf(why, sizeof why, "at most %lld files may be open at once (RLIMIT_NOFILE); %s",
             (long long)r->files, file_cure);
    int64_t left = r->files - DAEMON_FILES;
    lower(&c->workers, "workers", left / 4, said, why);
    lower(&c->runs_per_worker, "runs_per_worker",
          r->files > WORKER_FILES + RUN_FILES ? (r->files - WORKER_FILES) / RUN_FILES : 1, said,
          why);
    left -= c->workers;
    if (left / 4 < PEERS)
        c->peers = left / 4 < PEERS_MIN ? PEERS_MIN : (int)(left / 4);
    left -= c->peers;
    /* Half of the rest for processes, half for connections. */
    int64_t most = c->workers + left / 2;
    c->processes = most > INT32_MAX ? 0 : (int)most;
    if (c->isolated)
        lower(&c->max_running, "max_running", most - c->workers, said, why);
    return SM_OK;
}

static sm_rc fit_tasks(const sm_room *r, sm_ceilings *c, json_t *said, sm_err *err) {
    const char *which = r->tasks_grouped ? "pids.max of the control group" : "RLIMIT_NPROC";
    const char *cure = r->tasks_grouped ? "raise TasksMax= of the service, or the container's "
                                          "limit of processes"
                                        : "raise LimitNPROC= of the service, or ulimit -u";
    char why[260];
    if (r->tasks < 0)
        return SM_OK;
    int64_t left = r->tasks - DAEMON_TASKS;
    if (left < 2 * WORKER_TASKS)
        return sm_err_set(
            err, SM_LIMIT,
            "%lld processes and threads may still be made (%s), at least %d are needed; %s",
            (long long)r->tasks, which, DAEMON_TASKS + 2 * WORKER_TASKS, cure);
    snprintf(why, sizeof why, "%lld processes and threads may still be made (%s); %s",
             (long long)r->tasks, which, cure);
    lower(&c->workers, "workers", left / (2 * WORKER_TASKS), said, why);
    /* A quarter for threads that look up names, and for workers that are replaced. */
    int64_t runs = (left - (int64_t)c->workers * WORKER_TASKS) * 3 / 4;
    if (c->isolated)
        runs /= WORKER_TASKS;
    lower(&c->max_running, "max_running", runs < 1 ? 1 : runs, said, why);
    int64_t processes = c->workers + left / (2 * WORKER_TASKS);
    if (processes < INT32_MAX && (c->processes == 0 || processes < c->processes))
        c->processes = (int)processes;
    return SM_OK;
}

static void fit_memory(const sm_room *r, sm_ceilings *c, json_t *said) {
    char why[260];
    if (r->memory < 0)
        return;
    snprintf(why, sizeof why, "there are %lld MiB of memory (%s)", (long long)(r->memory >> 20),
             r->memory_grouped ? "memory.max of the control group; raise MemoryMax= of the "
                                 "service, or the container's limit"
                               : "of the machine");
    int64_t left = r->memory / 4 * 3 - DAEMON_BYTES;
    int64_t workers = left / 2 / WORKER_BYTES;
    lower(&c->workers, "workers", workers < 1 ? 1 : workers, said, why);
    int64_t runs = (left - c->workers * WORKER_BYTES) / (c->isolated ? WORKER_BYTES : RUN_BYTES);
    lower(&c->max_running, "max_running", runs < 4 ? 4 : runs, said, why);
}

sm_rc sm_ceilings_fit(const sm_room *room, sm_ceilings *c, json_t **said, sm_err *err) {
    json_t *list = json_array();
    c->peers = PEERS;
    c->processes = 0;
    sm_rc rc = fit_files(room, c, list, err);
    if (rc == SM_OK)
        rc = fit_tasks(room, c, list, err);
    if (rc == SM_OK)
        fit_memory(room, c, list);
    /* Room for one in the lane and one alone beside the shared ones. */
    if (c->processes > 0 && c->processes < c->workers + 2)
        c->processes = c->workers + 2;
    *said = rc == SM_OK ? json_incref(list) : NULL;
    json_decref(list);
    return rc;
}
