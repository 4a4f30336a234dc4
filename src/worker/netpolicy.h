/* netpolicy: which addresses a script's traffic may reach. Pure: no resolving, no I/O.
 *
 * Always denied: link-local, multicast, broadcast and cloud metadata addresses, also inside IPv6
 * (v4-mapped, v4-compatible, 6to4, NAT64). Loopback and private ones are what people monitor: they
 * are allowed unless the configuration narrows it. Checked by fetch on the URL's host, on every
 * address before connecting, and again on the connection in use (a reused one opens no socket).
 *
 * The policy as JSON: null (the default), "public" (loopback, private and reserved addresses denied
 * too), or {"allow": […], "deny": […], "public": bool} with entries `host`, `host:port`,
 * `*.example.com:443`, an address, a CIDR (`10.0.0.0/8`, `10.0.0.0/8:443`, `fd00::/8`,
 * `[fd00::/8]:443`); deny wins, and a non-empty allow list is all there is.
 * The daemon adds "own": [its own listening addresses], denied without counting as narrowed.
 */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include <stdbool.h>
#include <sys/socket.h>

typedef struct sm_netpolicy sm_netpolicy;

/* *out NULL for the default policy. SM_INVALID names the entry that does not parse. */
sm_rc sm_netpolicy_new(const json_t *net, sm_netpolicy **out, sm_err *err);
void sm_netpolicy_free(sm_netpolicy *p);
/* Before resolving: is this host (lower case, a name or an address without brackets) refused by
 * name, or as the address it is? SM_DENIED with the reason ("link-local address", …). p may be
 * NULL. */
sm_rc sm_netpolicy_host(const sm_netpolicy *p, const char *host, int port, sm_err *err);
/* Before connecting to sa for host:port. SM_DENIED with the reason and the address. */
sm_rc sm_netpolicy_addr(const sm_netpolicy *p, const char *host, int port,
                        const struct sockaddr *sa, sm_err *err);
/* True when the configuration narrows the default: a script's proxy is refused then, because what
 * is behind it cannot be checked. */
bool sm_netpolicy_narrowed(const sm_netpolicy *p);
