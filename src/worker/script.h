/* script: loads a script, and runs one function of it, each in a fresh Lua state.
 *
 * A snapshot holds the texts of one moment: the script and everything below lib/ it may require.
 * Called by the worker process (worker/worker), the dry run's worker and selfmon.testing.
 */
#pragma once
#include "worker/run.h"
#include <stddef.h>

typedef struct sm_text {
    const char *name; /* relative to the root: "demo/example.lua", "lib/util.lua" */
    const char *text;
    size_t n;
} sm_text;

typedef struct sm_snapshot {
    const char *display; /* prefix for chunk names: "inspections" gives inspections/demo/x.lua:3: */
    sm_text script;
    const sm_text *libs;
    size_t n_libs;
} sm_snapshot;

/* What loading found. */
typedef struct sm_loaded {
    json_t *inspections; /* array of specs (docs/internals/frames.md), or NULL when it failed */
    json_t *libs;        /* array of lib names it required, directly or not */
    char *error;         /* one sentence with file:line, or NULL */
    int line;            /* of the error, 0 unknown */
    char *log;           /* runlog text */
    size_t log_n;
    bool niced; /* the watchdog made its thread nice: it ends afterwards */
} sm_loaded;
void sm_script_load(const sm_snapshot *snap, const sm_limits *limits, sm_loaded *out);
void sm_loaded_fini(sm_loaded *l);

typedef struct sm_result {
    const char *outcome; /* static: "ok" "failed" "timeout" "limit" "cancelled" */
    char *error;         /* one sentence with file:line, or NULL */
    char *traceback;     /* script frames only, at most ten, or NULL */
    double seconds, cpu;
    size_t peak; /* bytes of Lua heap */
    int events;
} sm_result;
/* Runs snap's function fn as `run` says; its log is in run->log. */
void sm_script_run(const sm_snapshot *snap, const char *fn, sm_run *run, sm_result *out);
void sm_result_fini(sm_result *r);
