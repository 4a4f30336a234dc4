/* online: see online.h. */
#include "cli/online.h"
#include "base/mem.h"
#include <signal.h>
#include <stdlib.h>

char *sm_online_node(const sm_config *config, const char *account) {
    const json_t *node = json_object_get(json_object_get(config->accounts, account), "node");
    sm_node found;
    sm_rc rc = SM_INVALID;
    if (json_is_object(node))
        rc = sm_node_pair(sm_json_str(node, "openapi", NULL), sm_json_str(node, "openway", NULL),
                          true, &found, NULL);
    else if (json_is_string(node))
        rc = sm_node_find(json_string_value(node), &found, NULL);
    if (rc != SM_OK)
        return sm_strdup(json_is_string(node) ? json_string_value(node) : "");
    char *name = sm_strdup(found.name);
    sm_node_fini(&found);
    return name;
}

sm_rc sm_online_open(const sm_config *config, sm_online **out, sm_err *err) {
    sm_online *o = sm_calloc(1, sizeof *o);
    sm_rc rc = SM_OK;
    *out = o;
    uv_loop_init(&o->loop);
    signal(SIGPIPE, SIG_IGN); /* a platform that hangs up is an answer, not our end */
    if (!config->local)
        rc = sm_http_new(&o->loop, &o->http, err);
    if (rc == SM_OK)
        rc = sm_accounts_open(&o->loop, o->http, NULL, config, &o->accounts, err);
    return rc;
}

sm_rc sm_online_run(sm_online *o, const bool *done, sm_err *err) {
    while (!*done)
        if (uv_run(&o->loop, UV_RUN_ONCE) == 0 && !*done)
            return sm_err_set(err, SM_INTERNAL, "the platform's client did not answer");
    return SM_OK;
}

void sm_online_close(sm_online *o) {
    if (!o)
        return;
    sm_accounts_close(o->accounts);
    if (o->http)
        sm_http_close(o->http);
    uv_run(&o->loop, UV_RUN_DEFAULT);
    sm_accounts_free(o->accounts);
    if (o->http)
        sm_http_free(o->http);
    uv_loop_close(&o->loop);
    free(o);
}
