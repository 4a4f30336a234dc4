/* grant: the one comparison of what is granted with what is needed. The worker asks it for the
 * script's line, the daemon's services because a worker is not believed. Pure, any thread.
 */
#include "base/grant.h"
#include "base/str.h"
#include <string.h>

bool sm_grant_covers(const json_t *grants, const char *permission) {
    for (size_t i = 0; i < json_array_size(grants); i++) {
        const char *text = json_string_value(json_array_get(grants, i));
        if (text && (strcmp(text, permission) == 0 || sm_str_glob(text, permission)))
            return true;
    }
    return false;
}
