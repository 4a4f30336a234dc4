/* market_fetch: one download over the program's own HTTP client: https only (http of loopback, for
 * tests and mirrors on the same machine), redirects to https followed at most five times, a ceiling
 * for the size and for the time. What came is judged by its checksum elsewhere. A loop of its own,
 * on the caller's thread. */
#include "base/mem.h"
#include "base/str.h"
#include "cli/market.h"
#include "daemon/accounts.h"
#include "platform/http.h"
#include <stdlib.h>
#include <string.h>

enum { REDIRECTS = 5, BODY_MAX = 32 << 20, TIMEOUT_S = 120 };

typedef struct fetch {
    bool done;
    sm_http_failure failure;
    int status;
    char *error, *location, *body;
    size_t n;
} fetch;

static void on_done(void *ctx, const sm_http_answer *a) {
    fetch *f = ctx;
    f->done = true;
    f->failure = a->failure;
    f->status = a->status;
    f->error = sm_strdup(a->error);
    f->location = sm_strdup(a->location ? a->location : "");
    f->body = sm_memdup(a->body ? a->body : "", a->body_n);
    f->n = a->body_n;
}

static void fetch_fini(fetch *f) {
    free(f->error);
    free(f->location);
    free(f->body);
    *f = (fetch){.done = false};
}

static bool may_ask(const char *address) {
    static const char *const local[] = {"http://127.0.0.1", "http://localhost", "http://[::1]"};
    if (sm_str_starts(address, "https://"))
        return true;
    for (size_t i = 0; i < SM_ARRAY_LEN(local); i++) {
        size_t n = strlen(local[i]);
        if (strncmp(address, local[i], n) == 0 && strchr(":/", address[n]) && address[n])
            return true;
    }
    return false;
}

/* Where a redirect leads: whole addresses, and paths on the same host. Caller frees. */
static char *next_address(const char *from, const char *location) {
    if (location[0] != '/' || location[1] == '/')
        return sm_strdup(location);
    const char *host = strstr(from, "://") + 3;
    return sm_asprintf("%.*s%s", (int)(host - from + (long)strcspn(host, "/?#")), from, location);
}

static sm_rc ask(const char *address, fetch *out, sm_err *err) {
    uv_loop_t loop;
    sm_http *http = NULL;
    char *proxy = sm_str_starts(address, "https://") ? sm_accounts_proxy(address) : NULL;
    if (uv_loop_init(&loop) != 0) {
        free(proxy);
        return sm_err_set(err, SM_INTERNAL, "no loop for a download");
    }
    sm_rc rc = sm_http_new(&loop, &http, err);
    const sm_http_request request = {.method = "GET",
                                     .url = address,
                                     .timeout_s = TIMEOUT_S,
                                     .ca = getenv("SSL_CERT_FILE"), /* NULL: the system's */
                                     .proxy = proxy,
                                     .max_body = BODY_MAX};
    if (rc == SM_OK) {
        sm_http_send(http, &request, on_done, out);
        while (!out->done && uv_run(&loop, UV_RUN_ONCE) != 0)
            ;
        sm_http_close(http);
        while (uv_run(&loop, UV_RUN_DEFAULT) != 0)
            ;
        sm_http_free(http);
    }
    while (uv_run(&loop, UV_RUN_DEFAULT) != 0)
        ;
    (void)uv_loop_close(&loop);
    free(proxy);
    if (rc == SM_OK && (!out->done || out->failure != SM_HTTP_ANSWERED))
        rc = sm_err_set(err, SM_IO, "%s: %s", address, out->done ? out->error : "no answer");
    return rc;
}

sm_rc sm_market_fetch(const char *address, char **bytes, size_t *n, sm_err *err) {
    char *at = sm_strdup(address);
    sm_rc rc = SM_OK;
    *bytes = NULL;
    for (int hop = 0; rc == SM_OK && !*bytes; hop++) {
        fetch f = {.done = false};
        if (!may_ask(at))
            rc = sm_err_set(err, hop ? SM_DENIED : SM_INVALID,
                            "%s: an archive is fetched over https only", at);
        else if (strchr(at, '@'))
            rc = sm_err_set(err, SM_INVALID, "an address with a name or password is not fetched");
        else if (hop > REDIRECTS)
            rc = sm_err_set(err, SM_PROTO, "%s: more than %d redirects", address, REDIRECTS);
        else
            rc = ask(at, &f, err);
        if (rc == SM_OK && f.status == 200) {
            *bytes = f.body;
            *n = f.n;
            f.body = NULL;
        } else if (rc == SM_OK && f.status >= 300 && f.status < 400 && *f.location) {
            char *next = next_address(at, f.location);
            free(at);
            at = next;
        } else if (rc == SM_OK) {
            rc = sm_err_set(err, SM_NOT_FOUND, "%s: answered %d", at, f.status);
        }
        fetch_fini(&f);
    }
    free(at);
    return rc;
}
