/* app_services: what the daemon does for runs whose confined workers cannot: one line each. Owned
 * by the loop's thread.
 */
#include "daemon/app_parts.h"

void sm_app_services_open(sm_app *a) {
    a->lend = sm_lend_new(&a->loop, a->dispatcher);
    a->memory = sm_memory_new(a->dispatcher, a->store, a->o.memos_kept, a->o.memos_ctx);
    a->dql = sm_dql_new(&a->loop, a->dispatcher, a->accounts, a->o.config);
    a->exec = sm_exec_new(&a->loop, a->dispatcher, a->o.self);
    a->files = sm_files_new(&a->loop, a->dispatcher);
}

void sm_app_services_close(sm_app *a) {
    sm_dql_close(a->dql);
    sm_exec_close(a->exec);
}

void sm_app_services_free(sm_app *a) {
    sm_exec_free(a->exec);
    sm_lend_free(a->lend);
    sm_memory_free(a->memory);
    sm_files_free(a->files);
    sm_dql_free(a->dql);
}
