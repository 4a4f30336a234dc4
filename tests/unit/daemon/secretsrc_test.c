/* secretsrc: each source is read, a rotated file is read again, what cannot be read is one
 * sentence. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/fsx.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/secretsrc.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct place {
    char dir[64];
} place;

static int set_up(void **state) {
    place *p = sm_calloc(1, sizeof *p);
    /* Not below /tmp, which may be a tmpfs, where modes do not count. */
    snprintf(p->dir, sizeof p->dir, "secretsrc-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    *state = p;
    return 0;
}

static int tear_down(void **state) {
    place *p = *state;
    static const char *const names[] = {"key", "new", "open"};
    for (size_t i = 0; i < SM_ARRAY_LEN(names); i++) {
        char *path = sm_fsx_join(p->dir, names[i]);
        unlink(path);
        free(path);
    }
    rmdir(p->dir);
    free(p);
    return 0;
}

static void put(const place *p, const char *name, const char *text, mode_t mode) {
    char *path = sm_fsx_join(p->dir, name);
    assert_int_equal(sm_fsx_replace(path, text, strlen(text), mode, NULL), SM_OK);
    assert_int_equal(chmod(path, mode), 0);
    free(path);
}

static void is(sm_secretsrc *s, const char *want) {
    size_t n;
    const char *bytes = sm_secret_bytes(sm_secretsrc_get(s), &n);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(bytes, want, n);
}

static sm_secretsrc *open_source(const place *p, const char *json) {
    sm_secretsrc *s = NULL;
    sm_err err = SM_ERR_INIT;
    json_t *source = json_loads(json, 0, NULL);
    if (sm_secretsrc_open(source, p->dir, NULL, &s, &err) != SM_OK)
        fail_msg("%s", err.msg);
    json_decref(source);
    return s;
}

static void test_file(void **state) {
    const place *p = *state;
    put(p, "key", "first value\n", 0600);
    sm_secretsrc *s = open_source(p, "{\"file\":\"key\"}");
    is(s, "first value");
    put(p, "key", "second value", 0600);
    is(s, "second value");
    /* One that others can read is not taken: the former value stays. */
    put(p, "key", "third value", 0644);
    is(s, "second value");
    put(p, "key", "fourth value", 0600);
    is(s, "fourth value");
    sm_secretsrc_close(s);
}

static void test_environment(void **state) {
    setenv("SECRETSRC_TEST", "from the environment", 1);
    sm_secretsrc *s = open_source(*state, "{\"env\":\"SECRETSRC_TEST\"}");
    is(s, "from the environment");
    sm_secretsrc_close(s);
    unsetenv("SECRETSRC_TEST");
}

static void test_credential(void **state) {
    const place *p = *state;
    char *dir = sm_fsx_absolute(p->dir);
    put(p, "key", "a credential", 0600);
    setenv("CREDENTIALS_DIRECTORY", dir, 1);
    sm_secretsrc *s = open_source(p, "{\"credential\":\"key\"}");
    is(s, "a credential");
    sm_secretsrc_close(s);
    unsetenv("CREDENTIALS_DIRECTORY");
    free(dir);
}

static void test_command(void **state) {
    sm_secretsrc *s =
        open_source(*state, "{\"command\":[\"/bin/sh\",\"-c\",\"echo printed by $0\",\"me\"]}");
    is(s, "printed by me");
    is(s, "printed by me");
    sm_secretsrc_close(s);
    /* Its output ends before it does, and its exit code still counts. */
    s = open_source(*state,
                    "{\"command\":[\"/bin/sh\",\"-c\",\"echo early; exec >&-; sleep 0.05\"]}");
    is(s, "early");
    sm_secretsrc_close(s);
}

static void test_refused(void **state) {
    static const struct {
        const char *name, *source;
        sm_rc rc;
        const char *word;
    } rows[] = {
        {"no file", "{\"file\":\"nothere\"}", SM_NOT_FOUND, "nothere"},
        {"others can read it", "{\"file\":\"open\"}", SM_DENIED, "chmod 600"},
        {"no variable", "{\"env\":\"SECRETSRC_NOT_SET\"}", SM_NOT_FOUND, "SECRETSRC_NOT_SET"},
        {"no credentials", "{\"credential\":\"key\"}", SM_NOT_FOUND, "credential \"key\""},
        {"a path as credential", "{\"credential\":\"../key\"}", SM_NOT_FOUND, "../key"},
        {"a command that fails", "{\"command\":[\"/bin/false\"]}", SM_INVALID, "exit code 1"},
        {"a command that prints nothing", "{\"command\":[\"/bin/true\"]}", SM_INVALID, "nothing"},
        {"no command", "{\"command\":[\"/no/such/program\"]}", SM_IO, "/no/such/program"},
        {"an empty command", "{\"command\":[]}", SM_INVALID, "list"},
        {"something else", "{\"vault\":\"x\"}", SM_INVALID, "file, env, credential, command"},
    };
    const place *p = *state;
    put(p, "open", "readable by all", 0644);
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        sm_secretsrc *s = NULL;
        sm_err err = SM_ERR_INIT;
        json_t *source = json_loads(rows[i].source, 0, NULL);
        print_message("  %s\n", rows[i].name);
        assert_int_equal(sm_secretsrc_open(source, p->dir, NULL, &s, &err), rows[i].rc);
        assert_null(s);
        assert_non_null(strstr(err.msg, rows[i].word));
        assert_null(strstr(err.msg, "readable by all"));
        json_decref(source);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_environment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_credential, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_command, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
