/* salvage: see salvage.h. */
#include "cli/salvage.h"
bool sm_cli_salvageable(const char *path) {
    (void)path;
    return false;
}
sm_rc sm_cli_salvage(const sm_args *a, const sm_config *config, const char *path, sm_err *err) {
    (void)a, (void)config;
    return sm_err_set(err, SM_INVALID, "%s is not a backup", path);
}
