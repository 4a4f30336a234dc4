/* tarball: reads the files of a .tar.gz in memory. Nothing is written anywhere; pure. */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct sm_tar_file {
    char *name; /* "a/b.lua": relative, no part is empty, "." or ".." */
    char *text;
    size_t n;
} sm_tar_file;

enum {
    SM_TAR_BYTES = 64 << 20, /* of the whole, unpacked */
    SM_TAR_MEMBERS = 10000,
    SM_TAR_FILE = 1 << 20 /* bytes of one file that is wanted */
};

/* *files: malloc'd array of the regular files that want(name) asks for. SM_INVALID: no such
 * archive, a damaged one, or one with links, devices, absolute or climbing names, or a name twice;
 * SM_LIMIT: above a ceiling. Every sentence names what it is. */
sm_rc sm_tarball_read(const void *data, size_t n, bool (*want)(const char *name),
                      sm_tar_file **files, size_t *count, sm_err *err);
void sm_tarball_free(sm_tar_file *files, size_t count);
