/* procs: reads /proc/PID/stat, status and cmdline of every process, and chooses among them.
 *
 * User names come from /etc/passwd itself: a name service may hang. Called on threads of libuv by
 * daemon/files.c, by bind_hostproc in the plain interpreter and for the lists of tests.
 */
#include "base/procs.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/str.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_MAX = 64 << 10, PASSWD_MAX = 4 << 20, CMDLINE_MAX = 1 << 10, SEEN_MAX = 1 << 20 };

typedef struct machine {
    const char *proc;
    char *passwd; /* or NULL */
    double boot, tick;
    int64_t page;
} machine;

static char *slurp(const machine *m, const char *pid, const char *file, size_t *n) {
    char path[512], *text = NULL;
    snprintf(path, sizeof path, "%s/%s%s%s", m->proc, pid, pid[0] ? "/" : "", file);
    sm_fsx_read(path, pid[0] ? TEXT_MAX : PASSWD_MAX, &text, n, NULL);
    return text;
}

static const char *state_word(char c) {
    switch (c) {
    case 'R':
        return "running";
    case 'S':
        return "sleeping";
    case 'D':
        return "waiting";
    case 'T':
    case 't':
        return "stopped";
    case 'Z':
        return "zombie";
    case 'I':
        return "idle";
    default:
        return "dead";
    }
}

/* The name of uid in /etc/passwd, or NULL. New reference. */
static json_t *user_of(const machine *m, long long uid) {
    for (const char *p = m->passwd; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL) {
        size_t name = strcspn(p, ":\n");
        if (p[name] != ':')
            continue;
        const char *pass = p + name + 1;
        size_t skip = strcspn(pass, ":\n");
        if (pass[skip] != ':' || pass[skip + 1] < '0' || pass[skip + 1] > '9')
            continue;
        if (strtoll(pass + skip + 1, NULL, 10) == uid)
            return sm_json_text(p, name);
    }
    return NULL;
}

/* Number behind "Key:" in the text of status. */
static long long status_number(const char *status, const char *key) {
    size_t n = strlen(key);
    for (const char *p = status; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
        if (strncmp(p, key, n) == 0 && p[n] == ':')
            return strtoll(p + n + 1, NULL, 10);
    return 0;
}

/* The first argument's program name when the kernel's name is its beginning. */
static json_t *full_name(const char *name, size_t n, const char *cmdline) {
    if (n == 15 && cmdline) {
        const char *slash = strrchr(cmdline, '/');
        const char *base = slash ? slash + 1 : cmdline;
        size_t len = strcspn(base, " :");
        if (len > n && len < 256 && strncmp(base, name, n) == 0)
            return sm_json_text(base, len);
    }
    return sm_json_text(name, n);
}

/* Arguments with blanks between them; masked, cut. */
static json_t *cmdline_text(char *text, size_t n) {
    while (n > 0 && text[n - 1] == '\0')
        n--;
    for (size_t i = 0; i < n; i++)
        if (text[i] == '\0')
            text[i] = ' ';
    size_t masked_n;
    char *masked = sm_mask(text, n, &masked_n);
    char *shown = sm_str_printable(masked, masked_n, CMDLINE_MAX);
    json_t *made = sm_json_text(shown, strlen(shown));
    free(masked);
    free(shown);
    return made;
}

/* One process; NULL when it has ended. New reference. */
static json_t *read_one(const machine *m, const char *pid, bool with_cmdline) {
    size_t n = 0, cmd_n = 0;
    char *stat = slurp(m, pid, "stat", &n), *cmd = NULL;
    char *status = stat ? slurp(m, pid, "status", &n) : NULL;
    const char *open = stat ? strchr(stat, '(') : NULL;
    const char *shut = open ? strrchr(open, ')') : NULL;
    json_t *o = NULL;
    char state;
    long long ppid, threads, rss;
    unsigned long long utime, stime, start, flags;
    if (!status || !shut ||
        sscanf(shut + 1,
               " %c %lld %*d %*d %*d %*d %llu %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %lld %*d "
               "%llu %*u %lld",
               &state, &ppid, &flags, &utime, &stime, &threads, &start, &rss) != 8)
        goto out;
    size_t name_n = (size_t)(shut - open - 1);
    if (with_cmdline || name_n == 15)
        cmd = slurp(m, pid, "cmdline", &cmd_n);
    long long uid = status_number(status, "Uid");
    o = json_object();
    json_object_set_new(o, "pid", json_integer(strtoll(pid, NULL, 10)));
    json_object_set_new(o, "ppid", json_integer(ppid));
    json_object_set_new(o, "name", full_name(open + 1, name_n, cmd));
    json_object_set_new(o, "uid", json_integer(uid));
    json_object_set_new(o, "user", user_of(m, uid));
    json_object_set_new(o, "state", json_string(state_word(state)));
    json_object_set_new(o, "threads", json_integer(threads));
    json_object_set_new(o, "rss", json_integer(rss * m->page));
    json_object_set_new(o, "cpu_seconds", json_real((double)(utime + stime) / m->tick));
    json_object_set_new(o, "started", json_real(m->boot + (double)start / m->tick));
    json_object_set_new(o, "kernel", json_boolean((flags & 0x00200000) != 0)); /* PF_KTHREAD */
    if (with_cmdline)
        json_object_set_new(o, "cmdline", cmdline_text(cmd ? cmd : stat, cmd ? cmd_n : 0));
out:
    free(cmd);
    free(status);
    free(stat);
    return o;
}

/* ---- choosing ---- */

static bool same_number(const json_t *o, const json_t *filter, const char *key) {
    const json_t *want = json_object_get(filter, key);
    return !want || sm_json_int(o, key, -1) == sm_json_int(filter, key, -2);
}

static bool same_text(const json_t *o, const json_t *filter, const char *key) {
    const char *want = sm_json_str(filter, key, NULL);
    return !want || strcmp(sm_json_str(o, key, ""), want) == 0;
}

static bool wanted(const json_t *o, const json_t *filter) {
    const char *name = sm_json_str(filter, "name", NULL);
    const char *match = sm_json_str(filter, "match", NULL);
    const json_t *kernel = json_object_get(filter, "kernel");
    return same_number(o, filter, "pid") && same_number(o, filter, "ppid") &&
           same_number(o, filter, "uid") && same_text(o, filter, "user") &&
           same_text(o, filter, "state") &&
           (!kernel || sm_json_bool(o, "kernel", false) == json_is_true(kernel)) &&
           (!name || sm_str_glob(name, sm_json_str(o, "name", ""))) &&
           (!match || strstr(sm_json_str(o, "cmdline", ""), match));
}

static bool wants_cmdline(const json_t *filter) {
    return sm_json_bool(filter, "cmdline", false) || sm_json_str(filter, "match", NULL);
}

static sm_rc too_many(json_t *list, sm_err *err) {
    json_decref(list);
    return sm_err_set(err, SM_LIMIT,
                      "more than %d processes match; narrow them by name, user or state",
                      SM_PROCS_MAX);
}

sm_rc sm_procs_select(const json_t *list, const json_t *filter, json_t **out, sm_err *err) {
    size_t i;
    json_t *o, *made = json_array();
    bool shown = wants_cmdline(filter);
    *out = NULL;
    json_array_foreach(list, i, o) {
        if (!wanted(o, filter))
            continue;
        json_t *copy = json_copy(o);
        if (!shown)
            json_object_del(copy, "cmdline");
        json_array_append_new(made, copy);
    }
    if (json_array_size(made) > SM_PROCS_MAX)
        return too_many(made, err);
    *out = made;
    return SM_OK;
}

static double boot_time(const machine *m) {
    size_t n;
    char *stat = slurp(m, "", "stat", &n);
    const char *line = stat ? strstr(stat, "\nbtime ") : NULL;
    double boot = line ? strtod(line + 7, NULL) : 0;
    free(stat);
    return boot;
}

sm_rc sm_procs_read(const char *proc, const json_t *filter, json_t **out, sm_err *err) {
    machine m = {
        .proc = proc, .tick = (double)sysconf(_SC_CLK_TCK), .page = (int64_t)sysconf(_SC_PAGESIZE)};
    size_t n;
    *out = NULL;
    DIR *dir = opendir(proc);
    if (!dir)
        return sm_err_sys(err, errno, "cannot read %s", proc);
    sm_fsx_read("/etc/passwd", PASSWD_MAX, &m.passwd, &n, NULL);
    m.boot = boot_time(&m);
    json_t *list = json_array();
    bool with_cmdline = wants_cmdline(filter);
    const struct dirent *entry;
    /* The kernel lists them by number. */
    for (int seen = 0; seen < SEEN_MAX && (entry = readdir(dir)) != NULL; seen++) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
            continue;
        json_t *o = read_one(&m, entry->d_name, with_cmdline);
        if (o && wanted(o, filter))
            json_array_append(list, o);
        json_decref(o);
        if (json_array_size(list) > SM_PROCS_MAX)
            break;
    }
    closedir(dir);
    free(m.passwd);
    if (json_array_size(list) > SM_PROCS_MAX)
        return too_many(list, err);
    *out = list;
    return SM_OK;
}
