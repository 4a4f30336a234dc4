/* config_find: where the configuration file, the inspections root and the state directory are
 * (cli.md, "Configuration").
 *
 * Paths are made absolute lexically; links are not resolved, so that what a person wrote is what
 * messages show. Called by config.c only.
 */
#include "daemon/config_parts.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include <stdlib.h>
#include <string.h>

static const char file_name[] = "selfmon.conf.lua";

/* Path as sentences name it: relative when it is below the current directory. */
static char *shown_as(const char *path) {
    char *here = sm_fsx_absolute(".");
    size_t n = strlen(here);
    bool below = strcmp(here, "/") != 0 && sm_str_starts(path, here) && path[n] == '/';
    char *out = sm_strdup(below ? path + n + 1 : path);
    free(here);
    return out;
}

/* Directory in which the search begins: the argument, or its directory, or the current one. */
static char *start_of(const char *path) {
    if (!path)
        return sm_fsx_absolute(".");
    char *abs = sm_fsx_absolute(path);
    if (sm_fsx_is_dir(abs))
        return abs;
    char *dir = sm_fsx_dirname(abs);
    free(abs);
    return dir;
}

static void use_file(sm_conf *c, char *path /* taken */, char *shown /* taken */) {
    c->made->file = path;
    c->shown = shown;
    c->dir = sm_fsx_dirname(path);
    sm_conf_add_file(c, path);
}

/* The file that was read before: when it is gone, neither defaults nor another file above it are
 * what the operator wants. */
static sm_rc find_again(sm_conf *c, sm_err *err) {
    char *shown = c->flags->config_file ? sm_strdup(c->flags->config_file) : shown_as(c->again);
    bool there = sm_fsx_exists(c->again);
    sm_conf_add_file(c, c->again);
    if (there && !sm_fsx_is_dir(c->again)) {
        use_file(c, sm_strdup(c->again), shown);
        return SM_OK;
    }
    sm_err_set(err, SM_INVALID, "%s: %s", shown,
               there ? "expected a file, it is a directory" : "the file is gone");
    free(shown);
    return SM_INVALID;
}

sm_rc sm_conf_find_file(sm_conf *c, sm_err *err) {
    if (c->again)
        return find_again(c, err);
    if (c->flags->config_file) {
        char *path = sm_fsx_absolute(c->flags->config_file);
        if (!sm_fsx_exists(path) || sm_fsx_is_dir(path)) {
            sm_err_set(err, SM_INVALID, "configuration file %s (-c): %s", c->flags->config_file,
                       sm_fsx_is_dir(path) ? "expected a file, it is a directory" : "not found");
            free(path);
            return SM_INVALID;
        }
        use_file(c, path, sm_strdup(c->flags->config_file));
        return SM_OK;
    }
    char *dir = start_of(c->flags->path);
    for (;;) {
        char *path = sm_fsx_join(dir, file_name);
        if (sm_fsx_exists(path) && !sm_fsx_is_dir(path)) {
            use_file(c, path, shown_as(path));
            break;
        }
        if (c->n_files == 0)
            sm_conf_add_file(c, path); /* where one would be found first */
        free(path);
        if (strcmp(dir, "/") == 0)
            break;
        char *up = sm_fsx_dirname(dir);
        free(dir);
        dir = up;
    }
    free(dir);
    return SM_OK;
}

/* The argument or its nearest ancestor named `inspections`; else the argument when it is a
 * directory, else its directory. */
static char *root_of_argument(const char *path) {
    char *abs = sm_fsx_absolute(path);
    char *at = sm_fsx_is_dir(abs) ? sm_strdup(abs) : sm_fsx_dirname(abs);
    char *fallback = sm_strdup(at);
    free(abs);
    while (strcmp(at, "/") != 0 && strcmp(sm_fsx_basename(at), "inspections") != 0) {
        char *up = sm_fsx_dirname(at);
        free(at);
        at = up;
    }
    if (strcmp(at, "/") == 0) {
        free(at);
        return fallback;
    }
    free(fallback);
    return at;
}

static void set_root(sm_conf *c, char *root /* taken */, const char *origin) {
    const char *name = sm_fsx_basename(root);
    c->made->root = root;
    c->made->display = sm_strdup(*name ? name : "/");
    sm_conf_put(c, "inspections", json_string(root), origin);
}

static sm_rc root_of_file(sm_conf *c, bool need_root, sm_err *err) {
    const char *given = sm_json_str(c->made->values, "inspections", "inspections");
    char *origin = sm_strdup(sm_json_str(c->made->origins, "inspections", "default"));
    char *joined = *given == '/' ? sm_strdup(given) : sm_fsx_join(c->dir, given);
    char *root = sm_fsx_absolute(joined);
    sm_rc rc = SM_OK;
    free(joined);
    if (sm_fsx_is_dir(root)) {
        set_root(c, sm_strdup(root), origin);
    } else if (strcmp(origin, "default") != 0) {
        rc = sm_conf_refuse(c, err, "inspections", "inspections: %s is not a directory", root);
    } else if (need_root) {
        rc = sm_err_set(err, SM_NOT_FOUND,
                        "no inspections: %s does not exist (%s does not name another root)", root,
                        c->shown);
    }
    free(root);
    free(origin);
    return rc;
}

sm_rc sm_conf_find_root(sm_conf *c, bool need_root, sm_err *err) {
    const char *path = c->flags->path;
    if (path && !sm_fsx_exists(path))
        return need_root ? sm_err_set(err, SM_NOT_FOUND, "%s: no such file or directory", path)
                         : SM_OK;
    if (path && !sm_fsx_is_dir(path) && !sm_str_ends(path, ".lua"))
        return need_root
                   ? sm_err_set(err, SM_NOT_FOUND,
                                "%s: expected a directory, or a script that ends in .lua", path)
                   : SM_OK;
    if (c->made->file)
        return root_of_file(c, need_root, err);
    if (path) {
        set_root(c, root_of_argument(path), "argument");
        return SM_OK;
    }
    char *root = sm_fsx_absolute("inspections");
    if (sm_fsx_is_dir(root)) {
        set_root(c, root, "default");
        return SM_OK;
    }
    free(root);
    if (!need_root)
        return SM_OK;
    return sm_err_set(err, SM_NOT_FOUND,
                      "no inspections here: name a directory or a script, or run in one that holds "
                      "inspections/ or selfmon.conf.lua; `selfmon-lua init` makes one");
}

void sm_conf_find_state(sm_conf *c) {
    const char *env = sm_conf_env("SELFMON_STATE_DIR");
    const char *given = json_string_value(json_object_get(c->made->values, "state_dir"));
    char *origin = sm_strdup(sm_json_str(c->made->origins, "state_dir", "default"));
    char *path = NULL;
    if (c->flags->state_dir || env) {
        path = sm_strdup(c->flags->state_dir ? c->flags->state_dir : env);
        free(origin);
        origin =
            sm_strdup(c->flags->state_dir ? "flag --state-dir" : "environment SELFMON_STATE_DIR");
    } else if (given) {
        path = *given == '/' ? sm_strdup(given) : sm_fsx_join(c->dir, given);
    } else if (c->dir) {
        path = sm_fsx_join(c->dir, ".selfmon");
    } else {
        /* Beside the root's parent; without a root, where ./inspections would be. */
        char *parent = c->made->root ? sm_fsx_dirname(c->made->root) : sm_strdup(".");
        path = sm_fsx_join(parent, ".selfmon");
        free(parent);
    }
    c->made->state_dir = sm_fsx_absolute(path);
    sm_conf_put(c, "state_dir", json_string(c->made->state_dir), origin);
    free(origin);
    free(path);
}
