/* hostinfo: readings of this machine from /proc, as JSON. No Lua, no state; any thread.
 *
 * Shapes (bytes, seconds, percent 0..100; what the kernel does not say is absent):
 *
 * - cpu {user, nice, system, idle, iowait, irq, softirq, steal, cores}: seconds since boot, summed
 *   over all cores; sm_hostinfo_cpu_usage makes shares of two of them
 * - memory {total, available, used, percent, free, buffers, cached, swap_total, swap_used,
 *   swap_percent}
 * - load {one, five, fifteen, running, threads, cores}
 * - uptime: number of seconds
 * - mounts [{mount, device, fstype, options, read_only, kind}]: everything mounted; kind is "disk",
 *   "remote" (over a network or FUSE) or "pseudo"
 * - disks [{mount, device, fstype, read_only, size, used, available, percent, inodes, inodes_used,
 *   inodes_percent}]: real local file systems, each once
 * - pressure {cpu, memory, io}: each {some, full} of {avg10, avg60, avg300, total}
 * - open_files, conntrack {used, max, percent}
 * - disk_io [{device, reads, writes, read_bytes, written_bytes, read_seconds, write_seconds,
 *   busy_seconds, in_flight}]: since boot, of devices that were ever used
 * - interfaces [{name, rx_bytes, rx_packets, rx_errors, rx_dropped, tx_…}]: since they are up
 */
#pragma once
#include "base/err.h"
#include "base/json.h"

/* One reading of this machine; new reference, or NULL with err. SM_INVALID for another word. */
json_t *sm_hostinfo_read(const char *what, sm_err *err);
/* The same below another directory than /proc (tests). */
json_t *sm_hostinfo_read_at(const char *proc, const char *what, sm_err *err);
/* {user, system, iowait, steal, idle, percent, cores} between two readings of `cpu`: percents of
 * all cores together; percent is what is neither idle nor iowait. New reference. */
json_t *sm_hostinfo_cpu_usage(const json_t *before, const json_t *after);

/* hostdisks.c: from the text of /proc/self/mountinfo. New references. */
json_t *sm_hostdisks_mounts(const char *mountinfo);
/* Asks each real local file system for its space; one that does not answer is left out. */
json_t *sm_hostdisks_list(const char *mountinfo);

/* hostcounters.c: pressure, open_files, conntrack, disk_io, interfaces; SM_NOT_FOUND: this kernel
 * has no such thing. New reference. */
json_t *sm_hostcounters_read(const char *proc, const char *what, sm_err *err);
