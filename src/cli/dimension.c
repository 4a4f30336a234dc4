/* dimension: see dimension.h. Used by the commands that speak of one inspection or dimension. */
#include "cli/dimension.h"
#include "base/mem.h"
#include "base/str.h"
#include "platform/event.h"
#include <stdlib.h>
#include <string.h>

sm_rc sm_cli_dimension(const char *text, char **out, sm_err *err) {
    json_t *tags = json_object();
    sm_rc rc = SM_OK;
    for (const char *at = text; *at && rc == SM_OK;) {
        size_t n = strcspn(at, ",");
        const char *equal = memchr(at, '=', n);
        if (!equal || equal == at) {
            rc = sm_err_set(err, SM_INVALID,
                            "expected a dimension as NAME=VALUE[,NAME=VALUE], got %s", text);
            break;
        }
        char *name = sm_memdup(at, (size_t)(equal - at));
        json_object_set_new(tags, name, sm_json_text(equal + 1, n - (size_t)(equal + 1 - at)));
        free(name);
        at += n + (at[n] == ',');
    }
    if (rc == SM_OK)
        *out = sm_event_dimension(tags);
    json_decref(tags);
    return rc;
}

/* SM_NOT_FOUND with the nearest of the registered ids; unless one of them fits and it need not
 * fail. */
static sm_rc look(sm_client *link, const char *id, bool must_fail, sm_err *err) {
    json_t *rows = NULL, *row;
    char hint[256];
    bool known = false;
    size_t i, n = 0;
    sm_rc rc = sm_client_call(link, "registry", NULL, &rows, err);
    if (rc != SM_OK)
        return rc;
    const char **ids = sm_calloc(json_array_size(rows) + 1, sizeof *ids);
    json_array_foreach(rows, i, row) {
        ids[n++] = sm_json_str(row, "id", "");
        known = known || sm_str_glob(id, ids[n - 1]);
    }
    if (must_fail || !known)
        rc = sm_err_set(err, SM_NOT_FOUND, "no inspection %s is registered here%s", id,
                        sm_str_hint(id, ids, n, hint, sizeof hint));
    free(ids);
    json_decref(rows);
    return rc;
}

sm_rc sm_cli_known_id(sm_client *link, const char *id, sm_err *err) {
    return look(link, id, false, err);
}

sm_rc sm_cli_unknown_id(sm_client *link, const char *id, sm_err *err) {
    return look(link, id, true, err);
}
