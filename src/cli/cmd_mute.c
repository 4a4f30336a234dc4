/* cmd_mute: `mute` and `unmute`: hold events of an inspection, or of one of its dimensions, back
 * for a while. Runs go on; what differs at the end is sent then. */
#include "cli/cli.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/dimension.h"
#include <stdlib.h>
#include <string.h>

enum { LONGEST_S = 366 * 86400, REASON_MAX = 500 };

static const char usage[] =
    "mute: expected ID [DIMENSION] DURATION --reason TEXT (see `selfmon-lua "
    "mute --help`)";

static sm_rc list_mutes(const sm_args *a, sm_client *link, sm_err *err) {
    json_t *rows = NULL, *row;
    size_t i;
    sm_rc rc = sm_client_call(link, "mutes", json_pack("{s:I}", "now_ns", (json_int_t)sm_wall_ns()),
                              &rows, err);
    json_array_foreach(rows, i, row) {
        char until[32];
        sm_time_rfc3339(sm_json_int(row, "until_ns", 0), false, until);
        json_object_set_new(row, "until", json_string(until));
        json_object_del(row, "until_ns");
        json_object_del(row, "made_ns");
        if (a->json)
            continue;
        char *reason = sm_cli_text(sm_json_str(row, "reason", ""), 200);
        printf("%-30s  until %s  %s%s%s\n", sm_json_str(row, "id", ""), until,
               sm_json_str(row, "dimension", ""), json_object_get(row, "dimension") ? "  " : "",
               reason);
        free(reason);
    }
    if (rc == SM_OK && a->json)
        sm_cli_json(rows);
    else if (rc == SM_OK && json_array_size(rows) == 0)
        printf("nothing is muted\n");
    json_decref(rows);
    return rc;
}

static sm_rc mute(const sm_args *a, sm_client *link, sm_err *err) {
    double seconds;
    char *dimension = NULL, until[32];
    const char *id = a->rest[0], *duration = a->rest[a->n_rest - 1];
    int64_t now = sm_wall_ns();
    if (sm_duration_parse(duration, &seconds, NULL) != SM_OK || seconds < 1 || seconds > LONGEST_S)
        return sm_err_set(err, SM_INVALID,
                          "mute: expected a duration from 1s to 366d such as 2h, got %s", duration);
    sm_rc rc = a->n_rest == 3 ? sm_cli_dimension(a->rest[1], &dimension, err) : SM_OK;
    if (rc == SM_OK)
        rc = sm_cli_known_id(link, id, err);
    int64_t until_ns = now + (int64_t)(seconds * 1e9);
    if (rc == SM_OK)
        rc = sm_client_call(link, "mute",
                            json_pack("{s:s, s:s*, s:I, s:s, s:I}", "id", id, "dimension",
                                      dimension, "until_ns", (json_int_t)until_ns, "reason",
                                      a->reason, "at_ns", (json_int_t)now),
                            NULL, err);
    if (rc == SM_OK) {
        sm_time_rfc3339(until_ns, false, until);
        printf("%s%s%s: muted until %s; it goes on running\n", id, dimension ? " " : "",
               dimension ? dimension : "", until);
    }
    free(dimension);
    return rc;
}

static sm_rc unmute(const sm_args *a, sm_client *link, sm_err *err) {
    json_t *result = NULL;
    char *dimension = NULL;
    sm_rc rc = a->n_rest == 2 ? sm_cli_dimension(a->rest[1], &dimension, err) : SM_OK;
    if (rc == SM_OK)
        rc = sm_client_call(link, "unmute",
                            json_pack("{s:s, s:s*}", "id", a->rest[0], "dimension", dimension),
                            &result, err);
    if (rc == SM_OK && sm_json_int(result, "removed", 0) == 0)
        rc = sm_err_set(err, SM_NOT_FOUND, "%s is not muted (`selfmon-lua mute` lists what is)",
                        a->rest[0]);
    if (rc == SM_OK)
        printf("%s: no longer muted; what differs from what was sent is sent %s\n", a->rest[0],
               sm_client_remote(link) ? "now" : "by the next `run`");
    free(dimension);
    json_decref(result);
    return rc;
}

int sm_cmd_mute(const sm_args *a) {
    sm_config *config = NULL;
    sm_client *link = NULL;
    sm_err err = SM_ERR_INIT;
    bool off = strcmp(a->command, "unmute") == 0;
    if (off && (a->n_rest < 1 || a->n_rest > 2))
        return sm_cli_fail(SM_EXIT_USAGE, "unmute: expected ID [DIMENSION]");
    if (!off && a->n_rest > 0 && (a->n_rest < 2 || a->n_rest > 3))
        return sm_cli_fail(SM_EXIT_USAGE, usage);
    if (!off && a->n_rest > 0 && !a->reason)
        return sm_cli_fail(SM_EXIT_USAGE, "mute: --reason TEXT is missing: who finds the silence "
                                          "must find why");
    if (a->reason && strlen(a->reason) > REASON_MAX)
        return sm_cli_fail(SM_EXIT_USAGE, "mute: --reason: at most 500 bytes");
    int code = sm_client_config(a, &config);
    if (code != SM_EXIT_OK)
        return code;
    sm_rc rc = sm_client_open(config, &link, &err);
    bool empty = rc == SM_NOT_FOUND && a->n_rest == 0;
    if (empty) {
        if (a->json)
            printf("[]\n");
        else
            printf("nothing is muted\n");
        rc = SM_OK;
    } else if (rc == SM_OK) {
        rc = off              ? unmute(a, link, &err)
             : a->n_rest == 0 ? list_mutes(a, link, &err)
                              : mute(a, link, &err);
    }
    if (rc != SM_OK)
        code = sm_cli_fail(rc == SM_INVALID ? SM_EXIT_USAGE : SM_EXIT_FAIL, err.msg);
    sm_client_close(link);
    sm_config_free(config);
    return code;
}
