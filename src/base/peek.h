/* peek: looks at files of this machine for scripts: stat, list, read, and tail with a cursor.
 *
 * Only what is granted is opened: the path as it is written must be granted, and so must the place
 * where its links lead. Nothing here blocks on a FIFO or a device; a dead network disk may, so the
 * daemon calls it on a thread of libuv (daemon/files.c). Stateless; any thread.
 */
#pragma once
#include "base/err.h"
#include "base/buf.h"
#include "base/json.h"

enum {
    SM_PEEK_READ_MAX = 8 << 20, /* bytes of one `read` or `tail` */
    SM_PEEK_READ_DEFAULT = 1 << 20,
    SM_PEEK_LINES_MAX = 10000, /* `lines` of a tail without a cursor */
    SM_PEEK_LIST_MAX = 10000   /* files in one `list` */
};

typedef struct sm_peeked {
    json_t *value; /* owned, or NULL */
    char *body;    /* malloc'd with a NUL, or NULL */
    size_t body_n;
} sm_peeked;

/* args, by `op`:
 *   stat {path}: value {type, size, mtime, atime, ctime, mode, uid, gid, inode, device, links}
 *   list {path, pattern}: value [{name, path, as stat}], by name; links are not followed
 *   read {path, offset, max}: body, value {more, size}
 *   tail {path, lines, start, bytes, cursor}: body is `count` lines joined by newlines; value
 * {count, cursor, rotated, truncated, skipped (sentence), partial (text)} grants: array of
 * permissions ("file:/var/log/app.log"); NULL: everything is granted. SM_DENIED, SM_NOT_FOUND,
 * SM_INVALID (not a regular file, wrong arguments), SM_LIMIT, SM_IO. */
sm_rc sm_peek(const json_t *args, const json_t *grants, sm_peeked *out, sm_err *err);
void sm_peeked_fini(sm_peeked *p);
/* Why this is no path that can be looked at ("expected an absolute path"), or NULL. */
const char *sm_peek_path_wrong(const char *path);
