/* addr: addresses to listen on, as an operator writes them: "127.0.0.1:9090", "[::1]:9090",
 * "localhost:9090" (which is 127.0.0.1), "0.0.0.0:9090". Numbers only: no name is ever looked up.
 * Pure. */
#pragma once
#include "base/err.h"
#include <sys/socket.h>

enum { SM_ADDR_TEXT = 80 };

/* *out and *n as for bind(2). SM_INVALID with one sentence; port 0 is any free port. */
sm_rc sm_addr_parse(const char *text, struct sockaddr_storage *out, socklen_t *n, sm_err *err);
/* "127.0.0.1:9090", "[::1]:9090"; "?" for another family. Returns out. */
const char *sm_addr_text(const struct sockaddr *a, char out[SM_ADDR_TEXT]);
