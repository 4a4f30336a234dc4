/* program: see program.h. */
#include "base/program.h"
#include "base/str.h"
#include <limits.h>
#include <string.h>

const char *sm_program_path_wrong(const char *path, size_t n) {
    if (n == 0 || path[0] != '/')
        return "expected an absolute path such as /usr/bin/df";
    if (n >= PATH_MAX || memchr(path, '\0', n) || !sm_utf8_valid(path, n))
        return "expected a path of UTF-8 text";
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)path[i] < 0x20 || path[i] == 0x7f)
            return "expected a path without control bytes";
    for (size_t i = 1; i <= n;) {
        const char *end = memchr(path + i, '/', n - i);
        size_t part = end ? (size_t)(end - path) - i : n - i;
        if (part == 0 && n > 1)
            return "expected a path without empty parts (\"//\", or \"/\" at its end)";
        if ((part == 1 && path[i] == '.') || (part == 2 && path[i] == '.' && path[i + 1] == '.'))
            return "expected a path without \".\" and \"..\"";
        i += part + 1;
    }
    return NULL;
}

const char *sm_program_env_wrong(const char *name, size_t n) {
    static const char *const loader[] = {"LD_", "GLIBC_TUNABLES", "MALLOC_"};
    if (n == 0 || n > 256 || (name[0] >= '0' && name[0] <= '9'))
        return "expected a name of letters, digits and _";
    for (size_t i = 0; i < n; i++)
        if (!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') ||
              (name[i] >= '0' && name[i] <= '9') || name[i] == '_'))
            return "expected a name of letters, digits and _";
    if (n >= 8 && memcmp(name, "SELFMON_", 8) == 0)
        return "names that begin with SELFMON_ are this program's own";
    for (size_t i = 0; i < SM_ARRAY_LEN(loader); i++) {
        size_t len = strlen(loader[i]);
        if (n >= len && memcmp(name, loader[i], len) == 0)
            return "it tells the system's loader which code to run, and cannot be set";
    }
    return NULL;
}
