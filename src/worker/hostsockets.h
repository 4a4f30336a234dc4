/* hostsockets: TCP and UDP sockets of this machine (of this network namespace) from /proc/net, as
 * JSON. No Lua, no state; any thread. */
#pragma once
#include "base/err.h"
#include "base/json.h"

enum { SM_HOSTSOCKETS_MAX = 10000 }; /* in one list */

/* The words for states: TCP's; a UDP socket is "established" when it is connected, else "close". */
const char *const *sm_hostsockets_states(size_t *n);
/* [{protocol "tcp" | "udp", family 4 | 6, local_address, local_port, remote_address, remote_port,
 * state, uid, inode}] that the filter {protocol, state, local_port, remote_port} lets through.
 * IPv4 addresses in IPv6 ones are written as IPv4. SM_LIMIT above SM_HOSTSOCKETS_MAX. */
sm_rc sm_hostsockets_read(const char *proc, const json_t *filter, json_t **out, sm_err *err);
/* {tcp = {state = n, …, total}, udp = {…}}: every state, also with 0; any number of sockets. */
sm_rc sm_hostsockets_counts(const char *proc, json_t **out, sm_err *err);
/* The same of a list as read gives it. New references. */
json_t *sm_hostsockets_select(const json_t *list, const json_t *filter);
json_t *sm_hostsockets_counts_of(const json_t *list);
