/* salvage: see salvage.h. A file *.corrupt.TIME of the state directory is called *.recovered.TIME
 * afterwards, so that nobody is told of it any more; it is not removed.
 */
#include "cli/salvage.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/statedir.h"
#include "store/store.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool sm_cli_salvageable(const char *path) {
    struct stat st;
    char head[16];
    const char *name = sm_fsx_basename(path);
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
        return false;
    if (sm_str_starts(name, "selfmon.db"))
        return true;
    FILE *f = fopen(path, "re");
    bool ours = f && fread(head, 1, sizeof head, f) == sizeof head &&
                memcmp(head, "SQLite format 3", sizeof head) == 0;
    if (f)
        fclose(f);
    return ours;
}

/* The new name; NULL when it keeps its own. */
static char *done_with(const char *path) {
    static const char *const tails[] = {"", "-wal", "-shm"};
    const char *mark = strstr(sm_fsx_basename(path), ".corrupt.");
    if (!mark)
        return NULL;
    char *base = sm_asprintf("%.*s.recovered.%s", (int)(mark - path), path, mark + 9);
    for (size_t i = 0; i < SM_ARRAY_LEN(tails); i++) {
        char *from = sm_asprintf("%s%s", path, tails[i]), *to = sm_asprintf("%s%s", base, tails[i]);
        bool moved = rename(from, to) == 0;
        free(from);
        free(to);
        if (!moved && i == 0) {
            free(base);
            return NULL;
        }
    }
    return base;
}

static void tell(const sm_args *a, const char *path, const char *kept, json_t *is) {
    long long n = sm_json_int(is, "recovered", 0), known = sm_json_int(is, "known", 0),
              gaps = sm_json_int(is, "gaps", 0);
    if (a->json) {
        json_object_set_new(is, "file", json_string(path));
        json_object_set_new(is, "kept", json_string(kept ? kept : path));
        sm_cli_json(is);
        return;
    }
    printf("%s: %lld event%s recovered, of them %lld wait for delivery", path, n, n == 1 ? "" : "s",
           (long long)sm_json_int(is, "waiting", 0));
    if (known > 0)
        printf("; %lld were there already", known);
    putchar('\n');
    if (gaps > 0 || sm_json_bool(is, "rebuilt", false))
        printf("%s%lld stretch%s of it could not be read\n",
               sm_json_bool(is, "rebuilt", false) ? "its first page is lost; " : "", gaps,
               gaps == 1 ? "" : "es");
    if (kept)
        printf("the file is kept as %s\n", kept);
}

sm_rc sm_cli_salvage(const sm_args *a, const sm_config *config, const char *path, sm_err *err) {
    char *db = sm_statedir_file(config->state_dir, "selfmon.db");
    char *work = sm_asprintf("%s.salvage", db);
    sm_store *store = NULL;
    json_t *is = NULL;
    sm_store_options options = {.path = db};
    sm_rc rc = SM_OK;
    if (strcmp(db, path) == 0)
        rc = sm_err_set(err, SM_INVALID,
                        "%s is the store itself: a start finds out whether it is whole", path);
    if (rc == SM_OK)
        rc = sm_store_open(&options, &store, err);
    if (rc == SM_OK)
        rc = sm_store_call_sync(store, SM_OP_SALVAGE,
                                json_pack("{s:s, s:s}", "path", path, "work", work), &is, err);
    if (store)
        sm_store_close(store);
    if (rc == SM_OK) {
        char *kept = done_with(path);
        tell(a, path, kept, is);
        free(kept);
    }
    json_decref(is);
    free(work);
    free(db);
    return rc;
}
