/* monitor: the registrations of one main chunk. Decides for each `monitor` call which function it
 * means (the one that follows, or run = …), refuses a name twice, and keeps the specs. The table's
 * own rules are monitor_check's. Called by bind_monitor and worker/script, on the loading thread.
 */
#include "worker/monitor.h"
#include "base/mem.h"
#include "base/str.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sm_monitor_init(sm_monitor *m, const char *chunk, const char *want, sm_follow *follows,
                     size_t n_follows) {
    *m = (sm_monitor){.chunk = chunk, .want = want, .follows = follows, .n_follows = n_follows};
    m->used = sm_calloc(n_follows + 1, sizeof *m->used);
    m->specs = json_array();
}

void sm_monitor_fini(sm_monitor *m) {
    free(m->follows);
    free(m->used);
    free(m->fns);
    json_decref(m->specs);
    memset(m, 0, sizeof *m);
}

/* The global function that follows the statement directly. */
static sm_rc name_that_follows(const sm_follow *follow, char *name, sm_err *err) {
    if (follow && follow->func[0]) {
        snprintf(name, SM_MONITOR_NAME, "%s", follow->func);
        return SM_OK;
    }
    char *found = follow ? sm_str_printable(follow->found, strlen(follow->found), 60) : NULL;
    bool place = follow && (strcmp(follow->found, "the end of the file") == 0 ||
                            strcmp(follow->found, "a string") == 0);
    const char *quote = place ? "" : "`";
    sm_err_set(err, SM_INVALID,
               "monitor: the function must follow directly%s%s%s%s: write `function run(params)` "
               "there, not `local function` or `function M.run`; or give `name =` and `run =`",
               found ? ", found " : "", found ? quote : "", found ? found : "", found ? quote : "");
    free(found);
    return SM_INVALID;
}

static sm_rc name_of(const sm_val *table, const sm_follow *follow, sm_monitor_fn *fn, sm_err *err) {
    const sm_val *run = sm_monitor_field(table, "run");
    const sm_val *name = sm_monitor_field(table, "name");
    fn->by_name = !run;
    if (run) {
        snprintf(fn->name, sizeof fn->name, "%s", name ? name->u.s.p : "run");
        return SM_OK;
    }
    sm_rc rc = name_that_follows(follow, fn->name, err);
    if (rc == SM_OK && name && strcmp(name->u.s.p, fn->name) != 0)
        rc = sm_err_set(err, SM_INVALID,
                        "monitor: name: goes with run = function; without it the name is that of "
                        "the function that follows, \"%s\"",
                        fn->name);
    return rc;
}

sm_rc sm_monitor_add(sm_monitor *m, const sm_val *table, const sm_follow *follow, int line,
                     sm_err *err) {
    sm_monitor_fn fn = {.line = line};
    json_t *spec = NULL;

    if (follow && strcmp(follow->found, "(") == 0)
        return sm_err_set(err, SM_INVALID,
                          "monitor: what follows begins with `(`, so Lua takes it as a call of the "
                          "result; put `;` after `monitor{…}`");
    sm_rc rc = sm_monitor_check(table, &spec, err);
    if (rc == SM_OK)
        rc = name_of(table, follow, &fn, err);
    for (size_t i = 0; i < m->n_fns && rc == SM_OK; i++)
        if (strcmp(m->fns[i].name, fn.name) == 0)
            rc = sm_err_set(err, SM_EXISTS,
                            "monitor: the name \"%s\" is taken by the inspection in line %d; each "
                            "in a file needs its own",
                            fn.name, m->fns[i].line);
    if (rc == SM_OK && m->n_fns == SM_MONITOR_MAX)
        rc = sm_err_set(err, SM_LIMIT, "monitor: a file may hold at most %d inspections",
                        SM_MONITOR_MAX);
    if (rc == SM_OK) {
        json_object_set_new(spec, "fn", json_string(fn.name));
        json_object_set_new(spec, "line", json_integer(line));
        json_array_append(m->specs, spec);
        m->fns = sm_realloc(m->fns, (m->n_fns + 1) * sizeof *m->fns);
        m->fns[m->n_fns++] = fn;
    }
    json_decref(spec);
    return rc;
}
