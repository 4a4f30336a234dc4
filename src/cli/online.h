/* online: the accounts of a configuration on a loop of their own, for the commands that talk to the
 * platform themselves (`doctor`, `adopt`). Local accounts have no target here: nobody opens the
 * store. */
#pragma once
#include "daemon/accounts.h"

/* Name of the node of an account of the configuration, as targets and the store have it: "local",
 * "truewatch/us1", the host of a private deployment. "" when there is no such account. Caller
 * frees. */
char *sm_online_node(const sm_config *config, const char *account);

typedef struct sm_online {
    uv_loop_t loop;
    sm_http *http; /* NULL when every account is local */
    sm_accounts *accounts;
} sm_online;

/* *out is set also after a failure (SM_INVALID: an account whose node or keys do not fit; those
 * before it are there), and closed in any case. */
sm_rc sm_online_open(const sm_config *config, sm_online **out, sm_err *err);
/* Turns the loop until *done. SM_INTERNAL when nothing is left that could set it. */
sm_rc sm_online_run(sm_online *o, const bool *done, sm_err *err);
void sm_online_close(sm_online *o); /* NULL is fine */
