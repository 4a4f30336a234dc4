/* views: what the readers show, composed from catalogue and store; the same with and without a
 * daemon. Pure. */
#pragma once
#include "daemon/catalog.h"

/* `list --json`: one object per inspection {id,title,file,function,schedule,timezone,next|null,
 * registered,enabled|null,uuid|null,ref_key,account,node,tags,last|null,stale}, then one per file
 * that does not load {file,outcome:"load_error",error,line,stale,since|null}. nodes: object account
 * -> name of its node; registry: REGISTRY_GET rows; last: QUERY_LAST. New reference. */
json_t *sm_view_list(const sm_catalog *catalog, const json_t *nodes, const json_t *registry,
                     const json_t *last);
/* Does the selection take this inspection? select: {k: pattern|null, id: id|null, tags: [..],
 * paths: [relative]} (NULL takes all). id: exactly this one. k: a substring of the id, or a glob
 * when it has `*` or `?`. */
bool sm_view_selected(const sm_inspection *inspection, const json_t *select);
/* Does the selection take this file (by its paths; with `k`, by a part of its name)? */
bool sm_view_selects_file(const char *file, const json_t *select);
