/* fsx_path: paths as texts, and two small questions to the file system.
 *
 * Paths are made absolute lexically: a link in the middle stays what the operator wrote, so that
 * messages and ids keep it. Pure but for getcwd and stat; any thread.
 */
#include "base/fsx.h"
#include "base/buf.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *sm_fsx_absolute(const char *path) {
    char *full;
    if (path[0] == '/') {
        full = sm_strdup(path);
    } else {
        char *cwd = getcwd(NULL, 0);
        /* A working directory that was removed has no name; the root is the honest base. */
        full = sm_asprintf("%s/%s", cwd ? cwd : "", path);
        free(cwd);
    }
    /* Rewrites in place: the result is never longer than what was read so far. */
    char *out = sm_malloc(strlen(full) + 2);
    size_t o = 0;
    for (const char *p = full; *p;) {
        while (*p == '/') {
            p++;
        }
        size_t len = strcspn(p, "/");
        if (len == 2 && p[0] == '.' && p[1] == '.') {
            while (o > 0 && out[--o] != '/') {
            }
        } else if (len > 0 && !(len == 1 && p[0] == '.')) {
            out[o++] = '/';
            memcpy(out + o, p, len);
            o += len;
        }
        p += len;
    }
    if (o == 0) {
        out[o++] = '/';
    }
    out[o] = '\0';
    free(full);
    return out;
}

char *sm_fsx_dirname(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) {
        return sm_strdup(".");
    }
    while (slash > path && slash[-1] == '/') {
        slash--;
    }
    return slash == path ? sm_strdup("/") : sm_memdup(path, (size_t)(slash - path));
}

const char *sm_fsx_basename(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *sm_fsx_join(const char *a, const char *b) {
    if (b[0] == '/' || a[0] == '\0') {
        return sm_strdup(b);
    }
    size_t n = strlen(a);
    return sm_asprintf("%s%s%s", a, a[n - 1] == '/' || b[0] == '\0' ? "" : "/", b);
}

bool sm_fsx_is_dir(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool sm_fsx_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}
