/* cmd_backup: `backup FILE` and `restore FILE`. A backup is made by the process that holds the
 * store, a step at a time, and checked as a whole before it gets its name; a restore is checked
 * before anything is changed. What a restore takes the place of is kept.
 */
#include "base/clock.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/archive.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/salvage.h"
#include "daemon/restoring.h"
#include "daemon/statedir.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECRET_MAX = 8 << 10, STAMP = 32 };

static char *size_text(int64_t bytes) {
    return bytes >= 1 << 20 ? sm_asprintf("%.1f MiB", (double)bytes / (1 << 20))
                            : sm_asprintf("%.0f KiB", (double)bytes / (1 << 10));
}

static const char *plural(int64_t n) {
    return n == 1 ? "" : "s";
}

/* "20261122T101500Z" */
static void stamp_now(char out[STAMP]) {
    char text[32];
    size_t n = 0;
    sm_time_rfc3339(sm_wall_ns(), false, text);
    for (const char *p = text; *p; p++) {
        if (*p != '-' && *p != ':')
            out[n++] = *p;
    }
    out[n] = '\0';
}

/* ---- the secret, as hex ---- */

/* new reference: text, or null when the state directory has none. */
static sm_rc read_secret(const char *state_dir, json_t **out, sm_err *err) {
    char *path = sm_fsx_join(state_dir, "secret"), *data = NULL;
    size_t n = 0;
    *out = NULL;
    sm_rc rc = sm_fsx_read(path, SECRET_MAX, &data, &n, err);
    if (rc == SM_NOT_FOUND) {
        *out = json_null();
        rc = SM_OK;
    } else if (rc == SM_OK) {
        char *hex = sm_malloc(2 * n + 1);
        for (size_t i = 0; i < n; i++)
            snprintf(hex + 2 * i, 3, "%02x", (unsigned char)data[i]);
        hex[2 * n] = '\0';
        *out = json_string(hex);
        explicit_bzero(hex, 2 * n);
        free(hex);
    }
    if (data)
        explicit_bzero(data, n);
    free(data);
    free(path);
    return rc;
}

/* Bytes of a hex text; NULL when it is none. */
static unsigned char *from_hex(const char *hex, size_t *n) {
    size_t len = strlen(hex);
    unsigned char *out = sm_malloc(len / 2 + 1);
    if (len == 0 || len % 2 || strspn(hex, "0123456789abcdef") != len) {
        free(out);
        return NULL;
    }
    for (size_t i = 0; i < len; i += 2) {
        char two[3] = {hex[i], hex[i + 1], '\0'};
        out[i / 2] = (unsigned char)strtoul(two, NULL, 16);
    }
    *n = len / 2;
    return out;
}

/* ---- backup ---- */

/* Steps until the copy is whole; *path: where the store has put it. */
static sm_rc make_copy(sm_client *link, const char *partial, sm_err *err) {
    bool remote = sm_client_remote(link), done = false;
    json_t *args = remote ? NULL : json_pack("{s:s}", "path", partial), *at = NULL;
    sm_rc rc = sm_client_call(link, "backup_begin", args, NULL, err);
    while (rc == SM_OK && !done) {
        rc = sm_client_call(link, "backup_step", NULL, &at, err);
        done = sm_json_bool(at, "done", false);
        json_decref(at);
        at = NULL;
    }
    return rc;
}

static sm_rc fetch(sm_client *link, const sm_config *config, const char *partial, sm_err *err) {
    char *copy = sm_fsx_join(config->state_dir, "selfmon.db.copy");
    sm_rc rc = make_copy(link, partial, err);
    if (rc == SM_OK && sm_client_remote(link))
        rc = sm_archive_copy(copy, partial, -1, err);
    if (rc != SM_BUSY)
        (void)sm_client_call(link, "backup_end", NULL, NULL, NULL);
    if (rc == SM_FULL && sm_client_remote(link))
        sm_err_wrap(err, "the daemon makes the copy beside the store first; stopped, it is written "
                         "to its place at once");
    free(copy);
    return rc;
}

/* Not every file system knows how to rename without replacing. */
static sm_rc give_name(const char *partial, const char *path, bool force, sm_err *err) {
    int failed = renameat2(AT_FDCWD, partial, AT_FDCWD, path, force ? 0 : RENAME_NOREPLACE);
    if (failed && !force && (errno == EINVAL || errno == ENOSYS) && !sm_fsx_exists(path))
        failed = rename(partial, path);
    if (failed && errno == EEXIST)
        return sm_err_set(err, SM_DENIED, "%s is there already; --force replaces it", path);
    return failed ? sm_err_sys(err, errno, "%s", path) : SM_OK;
}

/* Checks the copy, adds the line and gives it its name. *facts: what to say. */
static sm_rc finish(const sm_config *config, const char *partial, const char *path, bool force,
                    json_t **facts, sm_err *err) {
    struct stat st;
    sm_backup_facts is;
    char at[32], sum[SM_ARCHIVE_SUM];
    json_t *secret = NULL;
    sm_rc rc = sm_store_backup_check(partial, &is, err);
    if (rc == SM_OK)
        rc = read_secret(config->state_dir, &secret, err);
    if (rc == SM_OK && stat(partial, &st) != 0)
        rc = sm_err_sys(err, errno, "%s", partial);
    if (rc != SM_OK)
        goto out;
    sm_time_rfc3339(sm_wall_ns(), false, at);
    json_t *manifest = json_pack("{s:i, s:s, s:I, s:s, s:I, s:O}", "selfmon_backup", 1, "version",
                                 SM_VERSION, "schema", (json_int_t)is.schema, "at", at,
                                 "database_bytes", (json_int_t)st.st_size, "secret", secret);
    rc = sm_archive_seal(partial, manifest, sum, err);
    json_decref(manifest);
    if (rc == SM_OK)
        rc = give_name(partial, path, force, err);
    if (rc == SM_OK) {
        char *dir = sm_fsx_dirname(path);
        int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) != 0)
            rc = sm_err_sys(err, errno, "%s: fsync", dir);
        if (fd >= 0)
            close(fd);
        free(dir);
    }
    *facts = json_pack("{s:s, s:I, s:I, s:s, s:s, s:I, s:I, s:b, s:s}", "file", path, "bytes",
                       (json_int_t)st.st_size, "schema", (json_int_t)is.schema, "version",
                       SM_VERSION, "at", at, "events", (json_int_t)is.events, "waiting",
                       (json_int_t)is.waiting, "secret", json_is_string(secret), "sha256", sum);
out:
    json_decref(secret);
    return rc;
}

static sm_rc backup(const sm_args *a, const sm_config *config, sm_err *err) {
    char *path = sm_fsx_absolute(a->rest[0]);
    char *partial = sm_asprintf("%s.partial", path);
    sm_client *link = NULL;
    json_t *facts = NULL;
    struct stat st;
    sm_rc rc = SM_OK;
    if (lstat(path, &st) == 0 && (!a->force || !S_ISREG(st.st_mode)))
        rc = sm_err_set(err, SM_DENIED,
                        a->force ? "%s is there and is not a regular file"
                                 : "%s is there already; --force replaces it",
                        path);
    if (rc == SM_OK)
        rc = sm_client_open_reader(config, &link, err);
    if (rc == SM_OK) {
        unlink(partial); /* of one that was cut short */
        rc = fetch(link, config, partial, err);
        if (rc == SM_OK)
            rc = finish(config, partial, path, a->force, &facts, err);
        if (rc != SM_OK)
            unlink(partial);
    }
    sm_client_close(link);
    if (rc == SM_OK && a->json) {
        sm_cli_json(facts);
    } else if (rc == SM_OK) {
        char *size = size_text(sm_json_int(facts, "bytes", 0));
        int64_t events = sm_json_int(facts, "events", 0);
        printf("%s: %s, %lld event%s, %lld wait for delivery; schema %lld, checked\n", path, size,
               (long long)events, plural(events), (long long)sm_json_int(facts, "waiting", 0),
               (long long)sm_json_int(facts, "schema", 0));
        printf(sm_json_bool(facts, "secret", false)
                   ? "it holds the association secret: keep it like a key\n"
                   : "the association secret is not in it: the state directory has none, the "
                     "configuration does\n");
        free(size);
    }
    json_decref(facts);
    free(partial);
    free(path);
    return rc;
}

/* ---- restore ---- */

/* A file that root stages belongs to whom the state directory belongs to. */
static sm_rc own(const sm_statedir *dir, const char *name, sm_err *err) {
    struct stat st;
    if (geteuid() == 0 && fstat(dir->dir_fd, &st) == 0 && st.st_uid != 0 &&
        fchownat(dir->dir_fd, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) != 0)
        return sm_err_sys(err, errno, "%s in the state directory", name);
    return SM_OK;
}

/* Is the secret in the state directory another one? */
static bool differs(const char *state_dir, const char *hex) {
    json_t *now = NULL;
    sm_err err = SM_ERR_INIT;
    bool same = read_secret(state_dir, &now, &err) == SM_OK && json_is_string(now) &&
                strcmp(json_string_value(now), hex) == 0;
    json_decref(now);
    return !same;
}

static sm_rc write_new(const char *path, const void *bytes, size_t n, sm_err *err) {
    sm_rc rc = SM_OK;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || sm_fsx_write_all(fd, bytes, n) != SM_OK || fsync(fd) != 0)
        rc = sm_err_sys(err, errno, "%s", path);
    if (fd >= 0)
        close(fd);
    return rc;
}

static sm_rc stage(const sm_statedir *dir, const char *file, const json_t *manifest,
                   sm_backup_facts *is, bool *secret_too, sm_err *err) {
    char *db = sm_fsx_join(dir->path, SM_RESTORE_DB);
    char *secret = sm_fsx_join(dir->path, SM_RESTORE_SECRET);
    const char *hex = sm_json_str(manifest, "secret", NULL);
    sm_rc rc = sm_archive_copy(file, db, sm_json_int(manifest, "database_bytes", 0), err);
    if (rc == SM_OK)
        rc = sm_store_backup_check(db, is, err);
    if (rc == SM_OK)
        rc = own(dir, SM_RESTORE_DB, err);
    *secret_too = hex && differs(dir->path, hex);
    if (rc == SM_OK && *secret_too) {
        size_t n = 0;
        unsigned char *bytes = from_hex(hex, &n);
        rc = bytes ? write_new(secret, bytes, n, err)
                   : sm_err_set(err, SM_INVALID, "%s: the secret in it is no hex text", file);
        if (bytes)
            explicit_bzero(bytes, n);
        free(bytes);
        if (rc == SM_OK)
            rc = own(dir, SM_RESTORE_SECRET, err);
    }
    if (rc != SM_OK) {
        unlink(db);
        unlink(secret);
    }
    free(db);
    free(secret);
    return rc;
}

static void tell_restored(const sm_args *a, const char *file, const json_t *manifest,
                          const sm_backup_facts *is, const json_t *kept, bool configured) {
    const char *at = sm_json_str(manifest, "at", "?"),
               *version = sm_json_str(manifest, "version", "?");
    size_t i;
    json_t *one;
    if (a->json) {
        json_t *out =
            json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:O}", "file", file, "at", at, "version",
                      version, "schema", (json_int_t)is->schema, "events", (json_int_t)is->events,
                      "waiting", (json_int_t)is->waiting, "kept", kept);
        sm_cli_json(out);
        json_decref(out);
        return;
    }
    printf("restored %s, made %s by version %s: %lld event%s, %lld wait for delivery\n", file, at,
           version, (long long)is->events, plural(is->events), (long long)is->waiting);
    json_array_foreach(kept, i, one) {
        printf("what was there is kept as %s\n", json_string_value(one));
    }
    if (configured && json_is_string(json_object_get(manifest, "secret")))
        printf("the configuration has an association secret of its own, which is used\n");
}

static json_t *kept_names(const sm_statedir *dir, const char *stamp) {
    static const char *const names[] = {"selfmon.db", "secret"};
    json_t *out = json_array();
    for (size_t i = 0; i < SM_ARRAY_LEN(names); i++) {
        char *name = sm_asprintf("%s.replaced.%s", names[i], stamp);
        char *path = sm_fsx_join(dir->path, name);
        if (sm_fsx_exists(path))
            json_array_append_new(out, json_string(path));
        free(path);
        free(name);
    }
    return out;
}

/* A second restore within the second gets another stamp. */
static void free_stamp(const sm_statedir *dir, char stamp[STAMP]) {
    stamp_now(stamp);
    size_t n = strlen(stamp);
    for (int k = 2; k < 100; k++) {
        json_t *kept = kept_names(dir, stamp);
        bool taken = json_array_size(kept) > 0;
        json_decref(kept);
        if (!taken)
            return;
        snprintf(stamp + n, STAMP - n, ".%d", k);
    }
}

static sm_rc restore(const sm_args *a, const sm_config *config, sm_err *err) {
    char *file = sm_fsx_absolute(a->rest[0]);
    json_t *manifest = NULL;
    sm_statedir dir = {.dir_fd = -1, .lock_fd = -1};
    sm_backup_facts is;
    bool secret_too, salvage = false;
    char stamp[STAMP];
    sm_err why = SM_ERR_INIT;
    sm_rc rc = sm_archive_read(file, &manifest, &why);
    if (rc == SM_NOT_FOUND && sm_fsx_exists(file))
        salvage = sm_cli_salvageable(file);
    if (rc != SM_OK && !salvage)
        sm_err_set(err, rc, "%s", why.msg);
    else
        rc = sm_statedir_take(config->state_dir, "restore", &dir, err);
    if (rc == SM_OK && salvage) {
        rc = sm_cli_salvage(a, config, file, err);
    } else if (rc == SM_OK) {
        rc = stage(&dir, file, manifest, &is, &secret_too, err);
        free_stamp(&dir, stamp);
        if (rc == SM_OK)
            rc = sm_restoring_commit(dir.dir_fd, stamp, err);
        if (rc == SM_OK) {
            json_t *kept = kept_names(&dir, stamp);
            tell_restored(a, file, manifest, &is, kept, config->assoc != NULL);
            json_decref(kept);
        }
    }
    sm_statedir_release(&dir);
    json_decref(manifest);
    free(file);
    return rc;
}

int sm_cmd_backup(const sm_args *a) {
    sm_config *config = NULL;
    sm_err err = SM_ERR_INIT;
    bool back = strcmp(a->command, "restore") == 0;
    if (a->n_rest != 1)
        return sm_cli_fail(SM_EXIT_USAGE, back ? "restore: expected FILE (see `selfmon-lua restore "
                                                 "--help`)"
                                               : "backup: expected FILE (see `selfmon-lua backup "
                                                 "--help`)");
    int code = sm_cli_config(a, false, &config);
    if (code != SM_EXIT_OK)
        return code;
    sm_rc rc = back ? restore(a, config, &err) : backup(a, config, &err);
    if (rc != SM_OK)
        code = sm_cli_fail(SM_EXIT_FAIL, err.msg);
    sm_config_free(config);
    return code;
}
