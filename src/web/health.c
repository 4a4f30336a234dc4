/* health: see health.h. A snapshot costs about a millisecond with thousands of inspections, and
 * anybody may ask, so the text of one is kept for a second. Owned by the loop's thread.
 */
#include "web/health.h"
#include "base/clock.h"
#include "base/mem.h"
#include "web/metrics.h"
#include <stdlib.h>
#include <string.h>

#define KEEP_NS SM_NS_PER_S

struct sm_health {
    sm_health_from from;
    char *text; /* of the last snapshot, or NULL */
    size_t n;
    int64_t made_ns;
};

sm_health *sm_health_new(const sm_health_from *from) {
    sm_health *h = sm_calloc(1, sizeof *h);
    h->from = *from;
    return h;
}

void sm_health_free(sm_health *h) {
    if (!h)
        return;
    free(h->text);
    free(h);
}

static void say(sm_web_answer *out, bool ok) {
    out->status = ok ? 200 : 503;
    out->body = sm_strdup(ok ? "ok\n" : "not ok\n");
    out->n = strlen(out->body);
}

static void measure(sm_health *h, sm_web_answer *out) {
    int64_t now = sm_mono_ns();
    if (!h->text || now - h->made_ns >= KEEP_NS) {
        json_t *snapshot = h->from.snapshot(h->from.ctx);
        free(h->text);
        h->text = snapshot ? sm_metrics_text(snapshot, &h->n) : NULL;
        h->made_ns = now;
        json_decref(snapshot);
    }
    if (!h->text) {
        say(out, false);
        return;
    }
    out->status = 200;
    out->type = "text/plain; version=0.0.4; charset=utf-8";
    out->body = sm_memdup(h->text, h->n);
    out->n = h->n;
}

void sm_health_answer(void *health, const char *path, sm_web_answer *out) {
    sm_health *h = health;
    if (strcmp(path, "/healthz") == 0)
        say(out, h->from.alive(h->from.ctx));
    else if (strcmp(path, "/ready") == 0)
        say(out, h->from.ready(h->from.ctx));
    else if (strcmp(path, "/metrics") == 0)
        measure(h, out);
}
