/* doctor_host: what `doctor` looks at on this machine: the configuration file, the inspections, the
 * state directory with its files, the association secret, the store, limits of the system. It
 * creates nothing. */
#include "cli/doctor.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "daemon/statedir.h"
#include "worker/entry.h"
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { FILES_MIN = 1024, WATCHES_MIN = 8192, INSTANCES_MIN = 16 };

/* Is a key or secret written into the file itself? */
static bool holds_key(const sm_config *config) {
    const char *key;
    json_t *value;
    const char *name = config->file ? sm_fsx_basename(config->file) : "";
    json_object_foreach(config->values, key, value) {
        const char *origin = sm_json_str(config->origins, key, "");
        if (json_is_string(value) && strcmp(json_string_value(value), "***") == 0 &&
            strstr(origin, name) && !sm_str_starts(origin, "environment"))
            return true;
    }
    return false;
}

static void look_at_configuration(sm_doctor *d, const sm_config *config) {
    struct stat st;
    char *shown = config->file ? sm_cli_path(config->file) : NULL;
    if (!shown)
        sm_doctor_say(d, SM_WELL, "configuration", "no file; environment and defaults");
    else if (stat(config->file, &st) != 0 || (st.st_mode & S_IWOTH))
        sm_doctor_say(d, SM_BAD, "configuration",
                      "%s decides which programs may run, and everybody may write to it: chmod o-w "
                      "%s",
                      shown, shown);
    else if ((st.st_mode & (S_IRGRP | S_IROTH)) && holds_key(config))
        sm_doctor_say(d, SM_WARN, "configuration",
                      "%s holds a key, and others can read it: chmod 600 %s, or use secrets = {…}",
                      shown, shown);
    else
        sm_doctor_say(d, SM_WELL, "configuration", "%s", shown);
    free(shown);
    if (!config->root) {
        sm_doctor_say(d, SM_WARN, "inspections", "there is no folder of inspections here");
        return;
    }
    shown = sm_cli_path(config->root);
    if (access(config->root, R_OK | X_OK) != 0)
        sm_doctor_say(d, SM_BAD, "inspections", "%s cannot be read", shown);
    else
        sm_doctor_say(d, SM_WELL, "inspections", "%s", shown);
    free(shown);
}

/* Nobody else may read what is in the state directory. */
static void look_at_file(sm_doctor *d, const char *path, mode_t most) {
    struct stat st;
    if (lstat(path, &st) != 0)
        return;
    char *shown = sm_cli_path(path);
    unsigned mode = st.st_mode & 07777;
    if (st.st_uid != geteuid() && geteuid() != 0)
        sm_doctor_say(d, SM_BAD, "file modes", "%s belongs to another user", shown);
    else if (mode & ~most)
        sm_doctor_say(d, SM_BAD, "file modes", "%s has mode %04o: chmod %o %s", shown, mode,
                      (unsigned)most, shown);
    free(shown);
}

/* False when there is no state directory. */
static bool look_at_state(sm_doctor *d, const sm_config *config) {
    static const char *const files[] = {"secret", "selfmon.db", "selfmon.db-wal", "selfmon.db-shm",
                                        "lock"};
    struct statvfs fs;
    char *shown = sm_cli_path(config->state_dir);
    bool sick = d->sick, there = sm_fsx_is_dir(config->state_dir);
    if (!there) {
        char *parent = sm_fsx_dirname(config->state_dir);
        if (access(parent, W_OK | X_OK) == 0)
            sm_doctor_say(d, SM_WELL, "state directory", "%s: the first run makes it", shown);
        else
            sm_doctor_say(d, SM_BAD, "state directory", "%s cannot be made: %s is not writable",
                          shown, parent);
        free(parent);
        free(shown);
        return false;
    }
    d->sick = false;
    look_at_file(d, config->state_dir, 0700);
    for (size_t i = 0; i < SM_ARRAY_LEN(files); i++) {
        char *path = sm_statedir_file(config->state_dir, files[i]);
        look_at_file(d, path, 0600);
        free(path);
    }
    if (!d->sick)
        sm_doctor_say(d, SM_WELL, "file modes", "%s and its files are private", shown);
    if (access(config->state_dir, R_OK | W_OK | X_OK) != 0)
        sm_doctor_say(d, SM_BAD, "state directory", "%s is not writable", shown);
    else if (statvfs(config->state_dir, &fs) != 0)
        sm_doctor_say(d, SM_BAD, "state directory", "%s: its file system does not answer", shown);
    else {
        double free_mib = (double)fs.f_bavail * (double)fs.f_frsize / (1 << 20);
        double least_mib = (double)config->min_free_bytes / (1 << 20);
        sm_doctor_say(d, free_mib < least_mib ? SM_BAD : SM_WELL, "state directory",
                      free_mib < least_mib
                          ? "%s: %.0f MiB are free; below %.0f MiB (limits.min_free) no event is "
                            "taken"
                          : "%s: %.0f MiB are free (limits.min_free: %.0f MiB)",
                      shown, free_mib, least_mib);
    }
    d->sick = d->sick || sick;
    free(shown);
    return true;
}

static void look_at_secret(sm_doctor *d, sm_config *config) {
    const sm_secret *secret = NULL;
    sm_err err = SM_ERR_INIT;
    bool configured = config->assoc != NULL;
    sm_rc rc = sm_config_assoc_secret(config, false, &secret, &err);
    if (configured)
        sm_doctor_say(d, SM_WELL, "association secret", "set by %s",
                      sm_json_str(config->origins, "secret", "the configuration"));
    else if (rc == SM_NOT_FOUND)
        sm_doctor_say(d, config->local ? SM_WELL : SM_WARN, "association secret",
                      "none yet; the first run makes one in the state directory%s",
                      config->local ? "" : "; set SELFMON_SECRET to keep it with your keys");
    else if (rc != SM_OK)
        sm_doctor_say(d, SM_BAD, "association secret", "%s", err.msg);
    else
        sm_doctor_say(d, config->local ? SM_WELL : SM_WARN, "association secret",
                      "generated, in the state directory%s",
                      config->local
                          ? ""
                          : "; when that is lost these inspections become others: keep a copy, or "
                            "set SELFMON_SECRET");
}

static void look_at_outbox(sm_doctor *d, sm_client *link) {
    json_t *stats = NULL;
    sm_err err = SM_ERR_INIT;
    if (sm_client_call(link, "outbox", NULL, &stats, &err) != SM_OK) {
        sm_doctor_say(d, SM_BAD, "outbox", "%s", err.msg);
        return;
    }
    long long held = sm_json_int(stats, "held", 0), refused = sm_json_int(stats, "refused", 0);
    long long waiting = sm_json_int(stats, "pending", 0) + sm_json_int(stats, "inflight", 0);
    if (held > 0 || refused > 0)
        sm_doctor_say(d, SM_WARN, "outbox",
                      "%lld events wait, %lld are held, %lld were refused; `selfmon-lua events` "
                      "tells why",
                      waiting, held, refused);
    else
        sm_doctor_say(d, SM_WELL, "outbox", "%lld events wait", waiting);
    json_decref(stats);
}

static void look_at_trouble(sm_doctor *d, sm_client *link) {
    json_t *status = NULL, *one;
    size_t i;
    sm_err err = SM_ERR_INIT;
    if (sm_client_ask(link, json_pack("{s:s}", "op", "status"), NULL, NULL, &status, &err) !=
        SM_OK) {
        sm_doctor_say(d, SM_WARN, "daemon", "%s", err.msg);
        return;
    }
    const json_t *trouble = json_object_get(status, "trouble");
    json_array_foreach(trouble, i, one) {
        sm_doctor_say(d, SM_WARN, "daemon", "%s",
                      json_is_string(one) ? json_string_value(one) : "?");
    }
    if (json_array_size(trouble) == 0)
        sm_doctor_say(d, SM_WELL, "daemon", "it runs and answers");
    json_decref(status);
}

static void look_at_store(sm_doctor *d, const sm_config *config) {
    sm_client *link = NULL;
    json_t *answer = NULL;
    sm_err err = SM_ERR_INIT;
    sm_rc rc = sm_client_open(config, &link, &err);
    if (rc == SM_OK)
        rc = sm_client_call(link, "ping", NULL, &answer, &err);
    if (rc == SM_NOT_FOUND)
        sm_doctor_say(d, SM_WELL, "store", "none yet; the first run makes it");
    else if (rc != SM_OK)
        sm_doctor_say(d, SM_BAD, "store", "%s", err.msg);
    else
        sm_doctor_say(d, SM_WELL, "store", "it opens and answers (schema %lld, SQLite %s)",
                      (long long)sm_json_int(answer, "schema", 0), sm_store_engine());
    if (rc == SM_OK)
        look_at_outbox(d, link);
    char *path = sm_statedir_file(config->state_dir, "selfmon.db");
    char *aside = sm_store_aside_text(path);
    if (aside)
        sm_doctor_say(d, SM_WARN, "store", "%s", aside);
    free(aside);
    free(path);
    if (rc == SM_OK && sm_client_remote(link))
        look_at_trouble(d, link);
    json_decref(answer);
    sm_client_close(link);
}

/* A number in /proc/sys, or -1. */
static long long kernel_number(const char *path) {
    char text[64] = "";
    FILE *f = fopen(path, "re");
    if (!f)
        return -1;
    bool read = fgets(text, sizeof text, f) != NULL;
    fclose(f);
    return read ? strtoll(text, NULL, 10) : -1;
}

static void look_at_limits(sm_doctor *d) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur < FILES_MIN)
        sm_doctor_say(d, SM_WARN, "open files",
                      "the limit is %llu; many inspections that wait at once need more than %d: "
                      "ulimit -n, or LimitNOFILE= of the service",
                      (unsigned long long)files.rlim_cur, FILES_MIN);
    else
        sm_doctor_say(d, SM_WELL, "open files", "the limit is %llu",
                      (unsigned long long)files.rlim_cur);
    long long watches = kernel_number("/proc/sys/fs/inotify/max_user_watches");
    long long instances = kernel_number("/proc/sys/fs/inotify/max_user_instances");
    if (watches < WATCHES_MIN || instances < INSTANCES_MIN)
        sm_doctor_say(d, SM_WARN, "inotify",
                      "%lld watches and %lld instances a user; raise fs.inotify.max_user_watches "
                      "and max_user_instances, or changes are seen only by looking again",
                      watches, instances);
    else
        sm_doctor_say(d, SM_WELL, "inotify", "%lld watches and %lld instances a user", watches,
                      instances);
}

/* What this kernel has to keep scripts' processes in. */
static void look_at_confinement(sm_doctor *d) {
    sm_worker_cage here;
    sm_worker_cage_probe(&here);
    if (here.landlock > 0)
        sm_doctor_say(d, SM_WELL, "Landlock", "ABI %d: worker processes read only what they need",
                      here.landlock);
    if (here.seccomp)
        sm_doctor_say(d, SM_WELL, "seccomp", "worker processes keep the system calls they need");
    if (here.no_new_privs)
        sm_doctor_say(d, SM_WELL, "no_new_privs", "worker processes cannot gain powers");
    for (size_t i = 0; here.lacks[i]; i++)
        sm_doctor_say(d, SM_WARN, "confinement", "%s", here.lacks[i]);
}

void sm_doctor_host(sm_doctor *d, sm_config *config) {
    look_at_configuration(d, config);
    bool there = look_at_state(d, config);
    look_at_secret(d, config);
    if (there)
        look_at_store(d, config);
    look_at_limits(d);
    look_at_confinement(d);
}
