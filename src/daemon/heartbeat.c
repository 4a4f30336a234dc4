/* heartbeat: see heartbeat.h. The log hears of a change only: withheld, not reached, well again. Of
 * the address it names the host, since the rest is a secret.
 */
#include "daemon/heartbeat.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_MS = 1000, TIMEOUT_S = 10, ANSWER_MAX = 64 << 10 };

struct sm_heartbeat {
    sm_heartbeat_options o;
    char *host;      /* "https://host" */
    sm_secret *path; /* what follows it */
    char *proxy;
    double every_s;
    uv_timer_t timer;
    bool asking;
    char withheld[SM_ERR_MAX], failure[SM_ERR_MAX]; /* "" when all is well */
    int64_t beats, reached_ns;                      /* monotonic, 0: never */
    bool closed;
};

static void answered(void *ctx, const sm_http_answer *answer) {
    sm_heartbeat *h = ctx;
    char text[SM_ERR_MAX] = "";
    h->asking = false;
    if (h->closed)
        return;
    if (answer->failure != SM_HTTP_ANSWERED)
        snprintf(text, sizeof text, "%s", answer->error);
    else if (answer->status < 200 || answer->status > 299)
        snprintf(text, sizeof text, "it answered %d%s", answer->status,
                 answer->status / 100 == 3 ? ", and a redirect is not followed" : "");
    if (text[0] && !h->failure[0])
        sm_log(SM_LOG_WARN, "heartbeat: %s could not be reached: %s", h->host, text);
    else if (!text[0] && h->failure[0])
        sm_log(SM_LOG_INFO, "heartbeat: %s is reached again", h->host);
    memcpy(h->failure, text, sizeof text);
    if (text[0])
        return;
    h->beats++;
    h->reached_ns = sm_mono_ns();
}

static void beat(sm_heartbeat *h) {
    sm_http_request request = {.method = "GET",
                               .url = h->host,
                               .path_secret = h->path,
                               .path_encoded = true,
                               .timeout_s = TIMEOUT_S,
                               .proxy = h->proxy,
                               .max_body = ANSWER_MAX};
    h->asking = true;
    sm_http_send(h->o.http, &request, answered, h);
}

static void on_timer(uv_timer_t *timer) {
    sm_heartbeat *h = timer->data;
    char text[SM_ERR_MAX];
    const char *why = h->o.unwell(h->o.ctx, text, sizeof text);
    if (why && !h->withheld[0])
        sm_log(SM_LOG_WARN, "heartbeat is withheld: %s", why);
    else if (!why && h->withheld[0])
        sm_log(SM_LOG_INFO, "heartbeat goes on");
    snprintf(h->withheld, sizeof h->withheld, "%s", why ? why : "");
    if (!why && !h->asking)
        beat(h);
}

static void forget(sm_heartbeat *h) {
    free(h->host);
    free(h->proxy);
    sm_secret_free(h->path);
    h->host = h->proxy = NULL;
    h->path = NULL;
}

void sm_heartbeat_set(sm_heartbeat *h, const sm_secret *url, double every_s, const char *proxy) {
    size_t n = 0;
    const char *bytes = url ? sm_secret_bytes(url, &n) : NULL;
    uv_timer_stop(&h->timer);
    forget(h);
    h->withheld[0] = h->failure[0] = '\0';
    if (n < sizeof "http://")
        return;
    size_t head = 8; /* beyond the slashes of either scheme */
    while (head < n && !memchr("/?#", bytes[head], 3))
        head++;
    h->host = sm_memdup(bytes, head);
    h->path = head < n ? sm_secret_new(bytes + head, n - head) : NULL;
    h->proxy = proxy ? sm_strdup(proxy) : NULL;
    h->every_s = every_s;
    uint64_t ms = (uint64_t)(every_s * 1000);
    uv_timer_start(&h->timer, on_timer, FIRST_MS, ms);
}

json_t *sm_heartbeat_status(const sm_heartbeat *h) {
    if (!h || !h->host)
        return json_null();
    double ago = (double)(sm_mono_ns() - h->reached_ns) / (double)SM_NS_PER_S;
    return json_pack("{s:f, s:s?, s:s?, s:I, s:o}", "every", h->every_s, "withheld",
                     h->withheld[0] ? h->withheld : NULL, "failure",
                     h->failure[0] ? h->failure : NULL, "beats", (json_int_t)h->beats,
                     "reached_ago", h->reached_ns ? json_real(ago) : json_null());
}

sm_heartbeat *sm_heartbeat_new(const sm_heartbeat_options *opt) {
    sm_heartbeat *h = sm_calloc(1, sizeof *h);
    h->o = *opt;
    uv_timer_init(opt->loop, &h->timer);
    h->timer.data = h;
    return h;
}

void sm_heartbeat_stop(sm_heartbeat *h) {
    if (h && !h->closed)
        uv_timer_stop(&h->timer);
}

void sm_heartbeat_close(sm_heartbeat *h) {
    if (!h || h->closed)
        return;
    h->closed = true;
    uv_close((uv_handle_t *)&h->timer, NULL);
}

void sm_heartbeat_free(sm_heartbeat *h) {
    if (!h)
        return;
    forget(h);
    free(h);
}
