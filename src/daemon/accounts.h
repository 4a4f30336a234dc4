/* accounts: every account of the configuration (and those that scripts bring) as a target: the
 * embedded platform, or a workspace over HTTP. Owned by the loop's thread. */
#pragma once
#include "daemon/catalog.h"
#include "daemon/remote.h"

typedef struct sm_accounts sm_accounts;

/* store may be NULL (doctor without a store): then local accounts have no target. http may be NULL
 * when config->local. SM_INVALID: an account whose node or keys do not fit. */
sm_rc sm_accounts_open(uv_loop_t *loop, sm_http *http, sm_store *store, const sm_config *config,
                       sm_accounts **out, sm_err *err);
/* node: a name, {openapi, openway}, or NULL for the default one; out->name NULL: the embedded
 * platform. SM_INVALID: it does not fit. */
sm_rc sm_accounts_node(const json_t *node, bool insecure, sm_node *out, sm_err *err);
/* The proxy of the environment (HTTPS_PROXY, NO_PROXY) for an address; NULL: none. malloc'd. */
char *sm_accounts_proxy(const char *url);
/* Makes the account of an inspection that has its key in the script (its `account` is
 * `script-…`), if there is none yet, or gives it the script's key; nothing for others. */
sm_rc sm_accounts_learn(sm_accounts *a, const sm_inspection *inspection, sm_err *err);
/* Another configuration holds from now on: accounts are changed in place, opened, or taken out of
 * the list; those with another node or key are taken out and opened anew. What is out of the list
 * lives on for its desk, which names it by its target: retire, when it is quiet or has had its
 * time, ends what waits; release, once it is quiet, frees it. */
void sm_accounts_configure(sm_accounts *a, const sm_config *config);
bool sm_accounts_quiet(const sm_accounts *a, const sm_target *target);
void sm_accounts_retire(sm_accounts *a, const sm_target *target);
/* At a later turn of the loop than retire. */
void sm_accounts_release(sm_accounts *a, const sm_target *target);
size_t sm_accounts_count(const sm_accounts *a);
const char *sm_accounts_name(const sm_accounts *a, size_t i);
/* By name; NULL when there is no such account. */
const sm_target *sm_accounts_target(const sm_accounts *a, const char *account);
sm_remote *sm_accounts_remote(const sm_accounts *a, const char *account); /* NULL: local */
/* One object per account: sm_remote_status, or {name, node: "local"}. New reference. */
json_t *sm_accounts_status(const sm_accounts *a);
/* Object account -> name of its node. New reference. */
json_t *sm_accounts_nodes(const sm_accounts *a);
void sm_accounts_close(sm_accounts *a); /* then free once the loop has turned */
void sm_accounts_free(sm_accounts *a);
