/* peek_internal: what the files of the peek room share; nobody else includes it. */
#pragma once
#include "base/peek.h"
#include <sys/stat.h>

/* Opens what is at path for reading, when it is granted and a regular file; -1 with err. */
int sm_peek_open(const char *path, const json_t *grants, struct stat *st, sm_err *err);
/* "PATH why" with the code. Returns it. */
sm_rc sm_peek_refuse(sm_err *err, sm_rc code, const char *path, const char *why);
/* peek_tail.c */
sm_rc sm_peek_tail(const json_t *args, const json_t *grants, sm_peeked *out, sm_err *err);

/* Where a reader is in a file, and how the file is known again. */
typedef struct sm_peek_mark {
    uint64_t device, inode;
    int64_t offset;
    char head[17]; /* hash of its first bytes, */
    char tail[17]; /* of those before offset */
    bool inside;   /* offset is inside a line that was given already */
    int64_t size;  /* when it was looked at; of an older file only */
} sm_peek_mark;

/* Hashes what an open file holds around m->offset. */
void sm_peek_mark_take(int fd, sm_peek_mark *m);
/* Whether the open file is the one, and still holds what was read. */
bool sm_peek_mark_fits(int fd, const struct stat *st, const sm_peek_mark *m);

/* A file that looks like what a rotation made of another one (app.log.1, app.log-20261123). */
typedef struct sm_peek_sibling {
    char *path;
    struct stat st;
} sm_peek_sibling;

typedef struct sm_peek_siblings {
    sm_peek_sibling *at; /* oldest first */
    size_t n;
    int refused; /* that are not granted */
    int packed;  /* compressed ones */
} sm_peek_siblings;

/* peek_rotated.c */
void sm_peek_siblings_find(const char *path, const json_t *grants, sm_peek_siblings *out);
void sm_peek_siblings_fini(sm_peek_siblings *s);
/* The index of the file that holds what the mark saw: the same one under another name, or a copy
 * (*fd is it, open, the caller's to close). -1: there is none. *read: a copy was found that ends
 * before the mark: all of it was read. */
int sm_peek_siblings_match(const sm_peek_siblings *s, const sm_peek_mark *m, const json_t *grants,
                           int *fd, bool *read);
