/* cmd_kit: `types` and `doc`: commands for authors. What they do is written in Lua (lua/kit). */
#include "cli/cli.h"
#include "worker/entry.h"
#include <string.h>

int sm_cmd_kit(const sm_args *a) {
    char module[32];
    json_t *rest = json_array();
    for (int i = 0; i < a->n_rest; i++)
        json_array_append_new(rest, sm_json_text(a->rest[i], strlen(a->rest[i])));
    json_t *args = json_pack("{s:o, s:b, s:b}", "rest", rest, "json", a->json, "color",
                             sm_cli_color(a, stdout));
    snprintf(module, sizeof module, "kit.%s", a->command);
    int code = sm_kitcmd_main(module, args);
    json_decref(args);
    return code;
}
