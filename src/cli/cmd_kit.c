/* cmd_kit: `types`, `doc`, `new` and `init`: the commands for authors. What they do is written in
 * Lua (lua/kit); here the arguments are checked, and `new` learns where the inspections lie. */
#include "cli/cli.h"
#include "base/fsx.h"
#include "worker/entry.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* `new` writes below the root that `run` would use, or below ./inspections where there is none. */
static int find_root(const sm_args *a, json_t *args) {
    sm_config *config = NULL;
    sm_err err = SM_ERR_INIT;
    sm_rc rc = sm_cli_load(a, true, &config, &err);
    if (rc != SM_OK && rc != SM_NOT_FOUND)
        return sm_cli_fail(SM_EXIT_CONFIG, err.msg);
    char *root = rc == SM_OK ? sm_cli_path(config->root) : NULL;
    json_object_set_new(args, "root", json_string(root ? root : "inspections"));
    free(root);
    sm_config_free(config);
    return SM_EXIT_OK;
}

int sm_cmd_kit(const sm_args *a) {
    char module[32];
    json_t *rest = json_array();
    for (int i = 0; i < a->n_rest; i++)
        json_array_append_new(rest, sm_json_text(a->rest[i], strlen(a->rest[i])));
    json_t *args = json_pack("{s:o, s:b, s:b, s:s?}", "rest", rest, "json", a->json, "color",
                             sm_cli_color(a, stdout), "from", a->from_kind);
    snprintf(module, sizeof module, "kit.%s", a->command);
    int code = strcmp(a->command, "new") == 0 ? find_root(a, args) : SM_EXIT_OK;
    if (code == SM_EXIT_OK)
        code = sm_kitcmd_main(module, args);
    json_decref(args);
    return code;
}
