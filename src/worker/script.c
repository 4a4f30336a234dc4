/* script: the two things that are done with a script: loading it, which tells what it registers,
 * and running one function of it. Each gets a fresh Lua state, which is gone afterwards.
 *
 * A text is rewritten (worker/attribute), compiled and its main chunk run in phase LOADING; a run
 * then enters phase RUNNING and calls the function with fresh parameters and a read-only ctx. All
 * Lua happens behind the one door of worker/vm; what C owns meanwhile stands on this file's stack.
 * Called by worker/worker and selfmon.testing, on the thread that owns the run.
 */
#include "worker/script.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "worker/luaval.h"
#include "worker/monitor.h"
#include "worker/runclock.h"
#include "worker/sandbox.h"
#include "worker/vm.h"
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const double load_cpu_s = 1; /* script-api 1.3 */

typedef struct job {
    const sm_snapshot *snap;
    char *chunk; /* "@inspections/demo/x.lua" */
    char *copy;  /* rewritten text, NULL when the snapshot's own can be compiled */
    sm_monitor monitor;
} job;

static void job_fini(job *j) {
    sm_monitor_fini(&j->monitor);
    free(j->chunk);
    free(j->copy);
}

/* May the text hold a `monitor<`? Cheap and never wrong when it says no, which spares the runs of
 * most scripts the rewriting. */
static bool maybe_attribute(const char *text, size_t n) {
    static const char word[] = "monitor";
    const char *end = text + n;
    const char *p = text;
    while ((p = memmem(p, (size_t)(end - p), word, sizeof word - 1))) {
        p += sizeof word - 1;
        const char *q = p;
        while (q < end && *q && strchr(" \t\v\f\r\n", *q))
            q++;
        if (q < end && (*q == '<' || *q == '-'))
            return true;
    }
    return false;
}

/* Prepares the text. want: the function of a run, NULL at load. SM_INVALID: an attribute is not
 * closed, with a sentence that names file and line. */
static sm_rc job_init(job *j, const sm_snapshot *snap, const char *want, int *line, char **error) {
    const sm_text *script = &snap->script;
    sm_follow *follows = NULL;
    size_t n_follows = 0;
    sm_err err = SM_ERR_INIT;
    sm_rc rc = SM_OK;

    *j = (job){.snap = snap};
    j->chunk = sm_asprintf("@%s/%s", snap->display, script->name);
    /* Longer ones are refused by sm_sandbox_load, which has the sentence. */
    if (script->n <= SM_SANDBOX_TEXT_MAX && (!want || maybe_attribute(script->text, script->n))) {
        j->copy = sm_memdup(script->text, script->n);
        rc = sm_attribute_rewrite(j->copy, script->n, &follows, &n_follows, line, &err);
        if (rc != SM_OK)
            *error = sm_asprintf("%s:%d: %s", j->chunk + 1, *line, err.msg);
    }
    sm_monitor_init(&j->monitor, j->chunk, want, follows, n_follows);
    return rc;
}

/* The main chunk, in phase LOADING. [-1, +0, e] */
static job *main_chunk(lua_State *L) {
    job *j = lua_touserdata(L, 1);
    const sm_snapshot *snap = j->snap;
    lua_settop(L, 0);
    sm_sandbox_open(L, snap);
    sm_monitor_bind(L, &j->monitor);
    if (sm_sandbox_load(L, snap->display, snap->script.name, j->copy ? j->copy : snap->script.text,
                        snap->script.n) != LUA_OK)
        lua_error(L);
    lua_call(L, 0, 0);
    return j;
}

static int protected_load(lua_State *L) {
    const job *j = main_chunk(L);
    sm_monitor_finish(L, &j->monitor);
    return 0;
}

static int ctx_newindex(lua_State *L) {
    return luaL_error(L, "ctx is read-only");
}

static int ctx_next(lua_State *L) {
    lua_settop(L, 2);
    if (lua_next(L, lua_upvalueindex(1)))
        return 2;
    lua_pushnil(L);
    return 1;
}

static int ctx_pairs(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushcclosure(L, ctx_next, 1);
    lua_pushnil(L);
    lua_pushnil(L);
    return 3;
}

/* An empty table in front of the values, so that every write meets __newindex. [-0, +1, e] */
static void push_ctx(lua_State *L, const json_t *ctx) {
    lua_newtable(L);
    lua_createtable(L, 0, 4);
    if (json_is_object(ctx))
        sm_luaval_push(L, ctx);
    else
        lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "__index");
    lua_pushcclosure(L, ctx_pairs, 1);
    lua_setfield(L, -2, "__pairs");
    lua_pushcfunction(L, ctx_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}

static int protected_run(lua_State *L) {
    const job *j = main_chunk(L);
    sm_run *run = sm_run_of(L);
    sm_monitor_push(L, &j->monitor);
    run->phase = SM_PHASE_RUNNING;
    if (json_is_object(run->params))
        sm_luaval_push(L, run->params);
    else
        lua_newtable(L);
    push_ctx(L, run->ctx);
    lua_call(L, 2, 0);
    return 0;
}

/* Enters the run, makes its state and calls fn(j) in it. *libs may be NULL. */
static sm_rc enter(sm_run *run, lua_CFunction fn, job *j, json_t **libs, char **error,
                   char **traceback) {
    char text[256];
    sm_rc rc = SM_LIMIT;
    run->phase = SM_PHASE_LOADING;
    sm_vm_enter(run);
    lua_State *L = sm_vm_new(run);
    if (L) {
        /* Neither push allocates, so both may stand before the door. */
        lua_pushcfunction(L, fn);
        lua_pushlightuserdata(L, j);
        rc = sm_vm_call(L, 1, 0, error, traceback);
        if (libs)
            *libs = sm_sandbox_required(L);
        sm_vm_close(L);
    } else {
        sm_run_stop(run, SM_STOP_MEMORY);
        sm_run_stop_text(run, text, sizeof text);
        *error = sm_strdup(text);
    }
    sm_vm_leave();
    return rc;
}

/* lib/, _x.lua and x_spec.lua need not register anything. */
static bool may_be_silent(const char *name) {
    const char *base = strrchr(name, '/');
    base = base ? base + 1 : name;
    return sm_str_starts(name, "lib/") || base[0] == '_' || sm_str_ends(name, "_spec.lua");
}

/* Line of a sentence that begins with this chunk's `file:line:`, 0 when it does not. */
static int line_of(const char *sentence, const char *chunk) {
    size_t n = strlen(chunk + 1);
    if (strncmp(sentence, chunk + 1, n) != 0 || sentence[n] != ':')
        return 0;
    long line = strtol(sentence + n + 1, NULL, 10);
    return line > 0 && line <= INT32_MAX ? (int)line : 0;
}

void sm_script_load(const sm_snapshot *snap, const sm_limits *limits, sm_loaded *out) {
    sm_limits lim;
    sm_run run;
    job j;

    memset(out, 0, sizeof *out);
    sm_limits_default(&lim);
    if (limits)
        lim = *limits;
    if (lim.cpu_s > load_cpu_s)
        lim.cpu_s = load_cpu_s;
    sm_run_init(&run, snap->script.name, "", &lim, NULL);
    if (job_init(&j, snap, NULL, &out->line, &out->error) != SM_OK)
        goto out;
    if (enter(&run, protected_load, &j, &out->libs, &out->error, NULL) != SM_OK) {
        if (atomic_load(&run.stop) == SM_STOP_CPU) {
            free(out->error);
            out->error = sm_asprintf("%s: loading took more than %g s of CPU; put the work inside "
                                     "the function",
                                     run.where[0] ? run.where : j.chunk + 1, lim.cpu_s);
        }
        out->line = line_of(out->error, j.chunk);
        goto out;
    }
    if (j.monitor.n_fns == 0 && !may_be_silent(snap->script.name)) {
        out->error =
            sm_asprintf("%s: the file registers no inspection: put monitor{ title = \"…\" } before "
                        "a global function; helpers go below lib/ or into a file whose name begins "
                        "with _",
                        j.chunk + 1);
        goto out;
    }
    out->inspections = json_incref(j.monitor.specs);
out:
    if (!out->libs)
        out->libs = json_array();
    out->log = sm_runlog_text(&run.log, &out->log_n);
    out->niced = atomic_load(&run.niced);
    job_fini(&j);
    sm_run_fini(&run);
}

void sm_loaded_fini(sm_loaded *l) {
    json_decref(l->inspections);
    json_decref(l->libs);
    free(l->error);
    free(l->log);
    memset(l, 0, sizeof *l);
}

/* From what the door said, not from the run's stop flag: a deadline that passes while the state of
 * an ended run is closed changes nothing. */
static const char *outcome_of(sm_rc rc) {
    switch (rc) {
    case SM_OK:
        return "ok";
    case SM_TIMEOUT:
        return "timeout";
    case SM_CLOSED:
        return "cancelled";
    case SM_LIMIT:
        return "limit";
    default:
        return "failed";
    }
}

void sm_script_run(const sm_snapshot *snap, const char *fn, sm_run *run, sm_result *out) {
    job j;
    int line = 0;
    memset(out, 0, sizeof *out);
    sm_rc rc = job_init(&j, snap, fn, &line, &out->error);
    int64_t started = sm_run_mono_ns(run), cpu = sm_thread_cpu_ns();
    if (rc == SM_OK)
        rc = enter(run, protected_run, &j, NULL, &out->error, &out->traceback);
    out->outcome = outcome_of(rc);
    out->seconds = (double)(sm_run_mono_ns(run) - started) / (double)SM_NS_PER_S;
    out->cpu = (double)(sm_thread_cpu_ns() - cpu) / (double)SM_NS_PER_S;
    out->peak = run->mem_peak;
    out->events = run->events;
    job_fini(&j);
}

void sm_result_fini(sm_result *r) {
    free(r->error);
    free(r->traceback);
    memset(r, 0, sizeof *r);
}
