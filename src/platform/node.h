/* node: where a workspace lives: the table of public nodes (compiled in from
 * src/platform/nodes.inc), brand-qualified names, private pairs of URLs. Pure. */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct sm_node_row { /* one public node; static */
    const char *brand;       /* "guance" or "truewatch" */
    const char *key;         /* "default", "us1" */
    const char *name;        /* "CN1(Hangzhou)" */
    const char *openapi, *openway,
        *console;     /* URLs without a trailing slash; console may be NULL */
    const char *note; /* "legacy", "disputed", "weak", or NULL: in the vendor's current documents */
} sm_node_row;

typedef struct sm_node {
    char *
        name; /* as shown: "default", "truewatch/us1", or host[:port] of a private pair's openapi */
    char *brand;             /* NULL for a private pair */
    char *openapi, *openway; /* base URLs: no trailing slash, a path is kept */
} sm_node;

const sm_node_row *sm_node_table(size_t *n);
/* `default aws cn3 cn4 cn5 cn6` (Guance), `guance/us1`, `truewatch/us1`. SM_INVALID: unknown
 * (nearest one), or a bare key that both brands have (lists both). */
sm_rc sm_node_find(const char *name, sm_node *out, sm_err *err);
/* A private deployment. SM_INVALID names which is missing, not http(s), or http:// beyond loopback
 * without `insecure`. */
sm_rc sm_node_pair(const char *openapi, const char *openway, bool insecure, sm_node *out,
                   sm_err *err);
void sm_node_fini(sm_node *n);
