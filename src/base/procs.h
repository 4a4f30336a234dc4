/* procs: the processes of this machine from /proc, as JSON. Confined workers see none, so the
 * daemon reads them (daemon/files.c). Stateless; any thread. */
#pragma once
#include "base/err.h"
#include "base/json.h"

enum { SM_PROCS_MAX = 10000 }; /* in one answer */

/* [{pid, ppid, name, cmdline?, user?, uid, state, threads, rss, cpu_seconds, started, kernel}] by
 * pid, those that the filter (object, NULL: none) lets through. Bytes and seconds; started is Unix
 * time; state is running, sleeping, waiting (for a disk), stopped, zombie, idle or dead. name is
 * the program's, longer than the kernel's 15 bytes where its first argument says so. A process that
 * ends meanwhile is left out.
 * filter: {name: pattern, user, uid, pid, ppid, state, kernel: boolean, cmdline: true to have it,
 * match: text in it}. cmdline: known secrets masked, at most 1 KiB. SM_LIMIT above SM_PROCS_MAX. */
sm_rc sm_procs_read(const char *proc, const json_t *filter, json_t **out, sm_err *err);
/* The processes of such a list that the filter lets through. New reference; SM_LIMIT as above. */
sm_rc sm_procs_select(const json_t *list, const json_t *filter, json_t **out, sm_err *err);
