/* serve: see serve.h. Called by cmd_run, through the listener of the app. */
#include "cli/serve.h"
#include "base/log.h"
#include "base/mem.h"
#include "web/health.h"
#include <stdlib.h>

struct sm_serve {
    const sm_app *app;
    sm_health *health;
    sm_web *web;
};

static bool alive(void *ctx) {
    const sm_serve *s = ctx;
    return sm_app_alive(s->app);
}

static bool ready(void *ctx) {
    const sm_serve *s = ctx;
    char why[SM_ERR_MAX];
    return sm_app_unready(s->app, why, sizeof why) == NULL;
}

static json_t *snapshot(void *ctx) {
    const sm_serve *s = ctx;
    return sm_app_snapshot(s->app);
}

sm_rc sm_serve_open(const sm_config *config, const sm_app *app, uv_loop_t *loop, sm_serve **out,
                    sm_err *err) {
    *out = NULL;
    if (!config->health_listen)
        return SM_OK;
    sm_serve *s = sm_calloc(1, sizeof *s);
    sm_health_from from = {.alive = alive, .ready = ready, .snapshot = snapshot, .ctx = s};
    s->app = app;
    s->health = sm_health_new(&from);
    if (sm_web_open(loop, config->health_listen, sm_health_answer, s->health, &s->web, err) !=
        SM_OK) {
        sm_serve_free(s);
        return sm_err_wrap(err, "health_listen");
    }
    sm_log(SM_LOG_INFO, "health and metrics: http://%s/healthz /ready /metrics",
           sm_web_address(s->web));
    *out = s;
    return SM_OK;
}

void sm_serve_close(sm_serve *s) {
    if (s)
        sm_web_close(s->web);
}

void sm_serve_free(sm_serve *s) {
    if (!s)
        return;
    sm_web_free(s->web);
    sm_health_free(s->health);
    free(s);
}
