/* archive: the file that `backup` makes: the database as SQLite wrote it, which any tool can open,
 * and behind it one line: a manifest in JSON, a blank, and the SHA-256 of everything before it.
 *
 * manifest: {selfmon_backup: 1, version, schema, at, database_bytes, secret (hex; null: the
 * configuration has it)}. Plain functions; any thread. */
#pragma once
#include "base/err.h"
#include "base/json.h"

enum { SM_ARCHIVE_SUM = 65 }; /* hex digits of a checksum and a NUL */

/* Copies the first n bytes (-1: all) of `from` to a new file `to` (0600) and syncs it. */
sm_rc sm_archive_copy(const char *from, const char *to, int64_t n, sm_err *err);
/* Adds the line behind the database at path and syncs the file. */
sm_rc sm_archive_seal(const char *path, const json_t *manifest, char sum[SM_ARCHIVE_SUM],
                      sm_err *err);
/* Reads the manifest (new reference) and compares the checksum of the whole. SM_NOT_FOUND: there
 * is none, so it is no backup, or one that was cut off. SM_INVALID: what it holds was changed. */
sm_rc sm_archive_read(const char *path, json_t **manifest, sm_err *err);
