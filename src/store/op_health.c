/* op_health: the operation that says how the store itself is: it reads a row, measures the files,
 * and tells why new events would be refused now. Runs on the store's thread, through the table.
 */
#include "store/store_internal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static int64_t size_of(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0 ? (int64_t)st.st_size : 0;
}

static int64_t bytes_of(const sm_core *c) {
    char *wal = sm_asprintf("%s-wal", c->path);
    int64_t n = size_of(c->path) + size_of(wal);
    free(wal);
    return n;
}

/* Why an event that came now would not be taken; false when it would. */
static bool refuses(sm_core *c, sm_err *why) {
    struct statvfs fs;
    if (c->broken)
        sm_err_set(why, SM_IO, "the database %s takes nothing more since an fsync failed", c->path);
    else if (fstatvfs(c->dirfd, &fs) == 0 && (fs.f_flag & ST_RDONLY) != 0)
        sm_err_set(why, SM_IO, "the file system of %s is read-only", c->dir);
    else if (c->unwritten[0] != '\0')
        sm_err_set(why, SM_IO, "%s", c->unwritten);
    else {
        c->free_left = -1;
        return sm_outbox_room(c, 1, why) != SM_OK;
    }
    return true;
}

/* What lies aside; looked at again when names in the directory changed. Borrowed. */
static json_t *asides(sm_core *c) {
    struct stat st;
    int64_t now = stat(c->dir, &st) == 0 ? st.st_mtim.tv_sec : 0;
    if (c->aside == NULL || now >= c->aside_s) {
        json_decref(c->aside);
        c->aside = sm_place_asides(c->path);
        c->aside_s = sm_wall_ns() / SM_NS_PER_S; /* a change within this second is seen too */
    }
    return c->aside;
}

sm_rc sm_op_health(sm_core *c, const json_t *args, json_t **result, sm_err *err) {
    (void)args;
    json_t *outbox = NULL;
    sm_err why = SM_ERR_INIT;
    sm_backup_expire(c);
    /* Among writers, the group has looked. */
    if (c->h != NULL && sqlite3_get_autocommit(c->h) != 0 && sm_vigil_look(c, err) != SM_OK)
        return SM_IO;
    sm_rc rc = sm_op_outbox_stats(c, NULL, &outbox, err);
    if (rc != SM_OK)
        return rc;
    bool full = refuses(c, &why);
    *result = json_pack("{s:i, s:I, s:I, s:o, s:o, s:O, s:s?, s:i}", "schema", c->schema, "bytes",
                        (json_int_t)bytes_of(c), "outbox_limit", (json_int_t)c->outbox_max,
                        "refuses", full ? sm_json_text(why.msg, strlen(why.msg)) : json_null(),
                        "outbox", outbox, "aside", asides(c), "alarm",
                        c->alarm[0] != '\0' ? c->alarm : NULL, "healed", c->healed);
    return SM_OK;
}
