/* cmd_nodes: `nodes`: the table of public nodes, as compiled in. Reads neither configuration nor
 * store, and asks nobody. */
#include "cli/cli.h"
#include "base/mem.h"
#include "platform/node.h"
#include <stdlib.h>
#include <string.h>

/* The name to write in a configuration: a key that only Guance Cloud has stands alone. */
static char *written(const sm_node_row *table, size_t n, const sm_node_row *row) {
    bool alone = strcmp(row->brand, "guance") == 0;
    for (size_t i = 0; i < n; i++)
        alone = alone &&
                (strcmp(table[i].brand, row->brand) == 0 || strcmp(table[i].key, row->key) != 0);
    return alone ? sm_strdup(row->key) : sm_asprintf("%s/%s", row->brand, row->key);
}

static json_t *text_or_null(const char *s) {
    return s ? json_string(s) : json_null();
}

static json_t *row_json(const char *node, const sm_node_row *row) {
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "node", node, "brand", row->brand,
                     "key", row->key, "name", row->name, "openapi", row->openapi, "openway",
                     row->openway, "console", text_or_null(row->console), "note",
                     text_or_null(row->note));
}

int sm_cmd_nodes(const sm_args *a) {
    size_t n;
    const sm_node_row *table = sm_node_table(&n);
    if (a->n_rest > 0)
        return sm_cli_fail(SM_EXIT_USAGE, "nodes: it takes no argument; --brand chooses a brand");
    if (a->brand && strcmp(a->brand, "guance") != 0 && strcmp(a->brand, "truewatch") != 0)
        return sm_cli_fail(SM_EXIT_USAGE, "--brand: expected guance or truewatch");
    json_t *out = json_array();
    if (!a->json)
        printf("%-13s  %-28s  %-34s  %s\n", "NODE", "PLACE", "OPENAPI", "OPENWAY");
    for (size_t i = 0; i < n; i++) {
        const sm_node_row *row = &table[i];
        if (a->brand && strcmp(a->brand, row->brand) != 0)
            continue;
        char *node = written(table, n, row);
        if (a->json)
            json_array_append_new(out, row_json(node, row));
        else
            printf("%-13s  %-28s  %-34s  %s%s%s%s\n", node, row->name, row->openapi, row->openway,
                   row->note ? "  (" : "", row->note ? row->note : "", row->note ? ")" : "");
        free(node);
    }
    if (a->json)
        sm_cli_json(out);
    json_decref(out);
    return SM_EXIT_OK;
}
