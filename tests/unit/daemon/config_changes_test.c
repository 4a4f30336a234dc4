/* A configuration that is read again: what it is compared with, what it keeps, what ends it early.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct place {
    char dir[64], self[80], file[96];
} place;

static void write_file(const char *path, const char *text, mode_t mode) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
}

static int make_place(void **state) {
    place *p = calloc(1, sizeof *p);
    snprintf(p->dir, sizeof p->dir, "/tmp/sm-again-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    assert_int_equal(chdir(p->dir), 0);
    snprintf(p->self, sizeof p->self, "%s/child", p->dir);
    snprintf(p->file, sizeof p->file, "%s/selfmon.conf.lua", p->dir);
    write_file(p->self, "#!/bin/sh\ncat \"$2.json\" >&3\n", 0755);
    write_file(p->file, "-- evaluated by the child\n", 0644);
    assert_int_equal(mkdir("inspections", 0755), 0);
    *state = p;
    return 0;
}

static int remove_place(void **state) {
    place *p = *state;
    char command[128];
    assert_int_equal(chdir("/"), 0);
    snprintf(command, sizeof command, "rm -rf '%s'", p->dir);
    int rc = system(command);
    free(p);
    return rc;
}

static sm_rc again(const place *p, const char *table, const char *files, sm_config **out,
                   char ***watch, sm_err *err) {
    sm_flags none = {0};
    atomic_bool stop = false;
    char *text = sm_asprintf("{\"ok\":true,\"table\":%s,\"lines\":{},\"files\":%s}", table, files);
    write_file("selfmon.conf.lua.json", text, 0644);
    free(text);
    return sm_config_load_again(p->self, &none, p->file, &stop, out, watch, err);
}

static sm_config *load(const place *p, const char *table) {
    sm_config *c = NULL;
    char **files = NULL;
    sm_err err = SM_ERR_INIT;
    if (again(p, table, "[]", &c, &files, &err) != SM_OK)
        fail_msg("%s: %s", table, err.msg);
    sm_config_files_free(files);
    return c;
}

static void tells_changes(void **state) {
    static const struct {
        const char *before, *after, *names;
    } rows[] = {
        {"{}", "{}", "[]"},
        {"{\"workers\":2}", "{\"workers\":3}", "[\"workers\"]"},
        {"{\"limits\":{\"wall\":5,\"events\":3}}", "{\"limits\":{\"wall\":6,\"events\":4}}",
         "[\"limits\"]"},
        {"{\"params\":{\"a.run\":{\"x\":1}}}", "{}", "[\"params\"]"},
        {"{}", "{\"net\":\"public\"}", "[\"net\"]"},
        {"{\"accounts\":{\"default\":{\"api_key_id\":\"one-key\",\"api_key\":\"k-k-k-k\",\"node\":"
         "\"cn3\"}}}",
         "{\"accounts\":{\"default\":{\"api_key_id\":\"two-key\",\"api_key\":\"k-k-k-k\",\"node\":"
         "\"cn3\"}}}",
         "[\"accounts\"]"},
        {"{\"accounts\":{\"default\":{\"api_key_id\":\"one-key\",\"api_key\":{\"$secret\":\"a\"},"
         "\"node\":\"cn3\"}},\"secrets\":{\"a\":{\"file\":\"one\"},\"b\":{\"file\":\"two\"}}}",
         "{\"accounts\":{\"default\":{\"api_key_id\":\"one-key\",\"api_key\":{\"$secret\":\"b\"},"
         "\"node\":\"cn3\"}},\"secrets\":{\"a\":{\"file\":\"one\"},\"b\":{\"file\":\"two\"}}}",
         "[\"accounts\"]"},
        {"{\"timezone\":\"UTC\"}",
         "{\"schedule\":{\"a.run\":\"@daily\"},\"keys\":{\"a.run\":\"k\"}}",
         "[\"schedule\",\"keys\"]"},
    };
    const place *p = *state;
    write_file("one", "the same text", 0600);
    write_file("two", "the same text", 0600);
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        sm_config *a = load(p, rows[i].before), *b = load(p, rows[i].after);
        json_t *names = sm_config_changes(a, b);
        char *text = sm_json_dump(names, NULL);
        if (strcmp(text, rows[i].names) != 0)
            fail_msg("%s -> %s: got %s, want %s", rows[i].before, rows[i].after, text,
                     rows[i].names);
        free(text);
        json_decref(names);
        sm_config_free(a);
        sm_config_free(b);
    }
}

static void keeps_what_a_start_decides(void **state) {
    const place *p = *state;
    assert_int_equal(mkdir("other", 0755), 0);
    sm_config *a = load(p, "{\"secret\":\"the first secret\"}");
    sm_config *b = load(
        p, "{\"secret\":\"the second one\",\"inspections\":\"other\",\"state_dir\":\"elsewhere\"}");
    sm_config_inherit(b, a);
    assert_string_equal(b->root, a->root);
    assert_string_equal(b->state_dir, a->state_dir);
    assert_string_equal(b->display, "inspections");
    size_t n;
    assert_string_equal(sm_secret_bytes(b->assoc, &n), "the first secret");
    assert_null(a->assoc);
    assert_false(sm_mask_needed("the second one", 14)); /* gone from memory and mask */
    sm_config *more = sm_config_ref(b);
    sm_config_free(b);
    assert_true(sm_mask_needed("the first secret", 16));
    sm_config_free(more);
    sm_config_free(a);
    assert_false(sm_mask_needed("the first secret", 16));
}

static bool among(char **files, const char *dir, const char *name) {
    char *path = *name == '/' ? sm_strdup(name) : sm_asprintf("%s/%s", dir, name);
    bool found = false;
    for (size_t i = 0; files[i]; i++)
        found = found || strcmp(files[i], path) == 0;
    free(path);
    return found;
}

static void names_its_files(void **state) {
    const place *p = *state;
    sm_config *c = NULL;
    char **files = NULL;
    sm_err err = SM_ERR_INIT;
    write_file("key", "a secret of ours", 0600);
    write_file("open", "a secret of ours", 0644);
    static const char good[] = "{\"secret_file\":\"key\",\"secrets\":{\"s\":{\"file\":\"later\"}}}";
    assert_int_equal(again(p, good, "[\"/etc/one.txt\"]", &c, &files, &err), SM_OK);
    static const char *const names[] = {"selfmon.conf.lua", "/etc/one.txt", "key", "later"};
    for (size_t i = 0; i < SM_ARRAY_LEN(names); i++) {
        assert_true(among(files, p->dir, names[i]));
        assert_true(among((char **)(uintptr_t)sm_config_files(c), p->dir, names[i]));
    }
    sm_config_free(c);
    sm_config_files_free(files);
    /* Also when it is refused: what is wrong will be mended there. */
    assert_int_equal(again(p, "{\"secret_file\":\"open\"}", "[]", &c, &files, &err), SM_INVALID);
    assert_null(c);
    assert_true(among(files, p->dir, "open"));
    sm_config_files_free(files);
    /* Neither defaults nor a file further up take the place of one that is gone. */
    assert_int_equal(unlink(p->file), 0);
    assert_int_equal(again(p, "{}", "[]", &c, &files, &err), SM_INVALID);
    assert_string_equal(err.msg, "selfmon.conf.lua: the file is gone");
    assert_true(among(files, p->dir, "selfmon.conf.lua"));
    sm_config_files_free(files);
}

static void stops_early(void **state) {
    const place *p = *state;
    sm_flags none = {0};
    atomic_bool stop = true;
    sm_config *c = NULL;
    char **files = NULL;
    sm_err err = SM_ERR_INIT;
    write_file(p->self, "#!/bin/sh\nexec sleep 600\n", 0755);
    int64_t began = sm_mono_ns();
    assert_int_equal(sm_config_load_again(p->self, &none, p->file, &stop, &c, &files, &err),
                     SM_CLOSED);
    assert_true(sm_mono_ns() - began < 5 * SM_NS_PER_S);
    sm_config_files_free(files);
}

#define AT_PLACE(f) cmocka_unit_test_setup_teardown(f, make_place, remove_place)

int main(void) {
    const struct CMUnitTest tests[] = {AT_PLACE(tells_changes),
                                       AT_PLACE(keeps_what_a_start_decides),
                                       AT_PLACE(names_its_files), AT_PLACE(stops_early)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
