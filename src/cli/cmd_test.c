/* cmd_test: `test`: finds where the inspections lie, so that it works in every folder of a project
 * as `run` and `lint` do, and leaves the rest to the specs' own side (worker/testcmd). */
#include "cli/cli.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "worker/entry.h"
#include <stdlib.h>
#include <string.h>

/* The first argument that is no option; NULL: none. */
static const char *first_path(int argc, char **argv) {
    static const char *const with_value[] = {"-k", "--junit"};
    for (int i = 0; i < argc; i++) {
        bool value = false;
        for (size_t k = 0; k < SM_ARRAY_LEN(with_value); k++)
            value = value || strcmp(argv[i], with_value[k]) == 0;
        if (value)
            i++;
        else if (argv[i][0] != '-')
            return argv[i];
    }
    return NULL;
}

/* ./inspections, else the root of the configuration that is found from here; NULL: said why. Specs
 * need no configuration that is right, so ./inspections goes first. */
static char *project_root(const char *self, int *code) {
    sm_args a = {.self = self, .command = "test", .quiet = true};
    sm_config *config = NULL;
    char *root = sm_fsx_absolute("inspections");
    if (sm_fsx_is_dir(root))
        return root;
    free(root);
    *code = sm_cli_config(&a, true, &config);
    root = *code == SM_EXIT_OK ? sm_strdup(config->root) : NULL;
    sm_config_free(config);
    return root;
}

int sm_cmd_test(const char *self, int argc, char **argv) {
    const char *path = first_path(argc, argv);
    int code = SM_EXIT_OK;
    char *root = path ? sm_fsx_absolute(path) : project_root(self, &code);
    if (!root)
        return code;
    char *shown = path ? NULL : sm_cli_path(root);
    char **words = sm_calloc((size_t)argc + 2, sizeof *words);
    int n = 0;
    if (shown) /* first: the last option may want a value that is missing */
        words[n++] = shown;
    for (int i = 0; i < argc; i++)
        words[n++] = argv[i];
    code = sm_testcmd_main(root, n, words);
    free(words);
    free(shown);
    free(root);
    return code;
}
