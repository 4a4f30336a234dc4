/* cmd_test: `test`: finds where the inspections lie, so that it works in every folder of a project
 * as `run` and `lint` do, and leaves the rest to the specs' own side (worker/testcmd). */
#include "cli/cli.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
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

/* The root that `run` would have here; NULL: said why. Specs need no configuration that is right:
 * with a wrong one it is ./inspections. */
static char *project_root(const char *self, int *code) {
    sm_flags flags = {0};
    sm_config *config = NULL;
    sm_err err = SM_ERR_INIT;
    char *root = sm_fsx_absolute("inspections");
    sm_rc rc = sm_config_load(self, &flags, true, &config, &err);
    if (rc != SM_OK && sm_fsx_is_dir(root))
        return root;
    free(root);
    root = rc == SM_OK ? sm_strdup(config->root) : NULL;
    if (rc != SM_OK)
        *code = sm_cli_fail(rc == SM_NOT_FOUND ? SM_EXIT_USAGE : SM_EXIT_CONFIG, err.msg);
    sm_config_free(config);
    return root;
}

/* The root of the configuration that is found from `path`, when `path` lies below it; else `path`
 * itself: specs may lie anywhere. A configuration that is wrong is no matter here. */
static char *root_of(const char *self, const char *path) {
    sm_flags flags = {.path = path};
    sm_config *config = NULL;
    char *root = sm_fsx_absolute(path);
    if (sm_config_load(self, &flags, true, &config, NULL) == SM_OK &&
        sm_str_starts(root, config->root) && strchr("/", root[strlen(config->root)])) {
        free(root);
        root = sm_strdup(config->root);
    }
    sm_config_free(config);
    return root;
}

int sm_cmd_test(const char *self, int argc, char **argv) {
    const char *path = first_path(argc, argv);
    int code = SM_EXIT_OK;
    char *root = path ? root_of(self, path) : project_root(self, &code);
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
