/* assoc: keys against vectors and against openssl on the command line; ids good and bad. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"
#include "platform/assoc.h"

/* Vectors made with Python's hmac. */
static const struct {
    const char *name;
    const char *secret;
    size_t n;
    const char *id, *key;
} vectors[] = {
    {"plain", "s3cret", 6, "demo/example.run", "431ec69058169126f26041f48a7bbc39"},
    {"instance", "s3cret", 6, "http/endpoint.run@shop", "c3458b42b79008b40150d5ab3b461abb"},
    {"secret with NUL", "a\0b", 3, "demo/example.run", "ac068402a00c311427a8cb6b813dcdca"},
    {"empty secret", "", 0, "demo/example.run", "fe7079e52b41f180b1a3d5f0bf0b3b6f"},
};

static void vectors_hold(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        char key[SM_ASSOC_LEN + 1];
        sm_assoc_key(vectors[i].secret, vectors[i].n, vectors[i].id, key);
        if (strcmp(key, vectors[i].key) != 0)
            fail_msg("%s: got %s", vectors[i].name, key);
    }
}

static void agrees_with_openssl(void **state) {
    (void)state;
    static const char *const ids[] = {"host/disk.run", "a.b", "x-y/z_1.check_2@eu-1"};
    unsigned char secret[32];
    for (size_t i = 0; i < sizeof secret; i++)
        secret[i] = (unsigned char)(i * 37 + 1);
    char hex[65], command[512], line[256] = "", key[SM_ASSOC_LEN + 1];
    sm_hex(secret, sizeof secret, hex);
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        snprintf(command, sizeof command,
                 "printf 'selfmon-lua\\0%%s' '%s' | openssl dgst -sha256 -mac HMAC -macopt "
                 "hexkey:%s -r 2>/dev/null",
                 ids[i], hex);
        FILE *p = popen(command, "r");
        assert_non_null(p);
        if (!fgets(line, sizeof line, p))
            line[0] = '\0';
        if (pclose(p) != 0 || strlen(line) < 64)
            skip(); /* no openssl command here */
        line[SM_ASSOC_LEN] = '\0';
        sm_assoc_key(secret, sizeof secret, ids[i], key);
        assert_string_equal(key, line);
    }
}

static const struct {
    const char *id;
    const char *error; /* NULL: good; else a piece of the sentence */
} ids[] = {
    {"demo/example.run", NULL},
    {"example.run", NULL},
    {"a/b/c/d.check_2", NULL},
    {"a.b.c.run", NULL},
    {"9/-x._f", NULL},
    {"http/endpoint.run@shop", NULL},
    {"http/endpoint.run@eu-1.a", NULL},
    {"", "expected path and function"},
    {"run", "expected path and function"},
    {"demo/example", "expected path and function"},
    {"a.b/c", "expected path and function"},
    {".run", "part \"\""},
    {"demo//x.run", "part \"\""},
    {"/demo/x.run", "part \"\""},
    {"demo/../x.run", "part \"..\""},
    {"demo/.x.run", "part \".x\""},
    {"de mo/x.run", "part \"de mo\""},
    {"demo/x.", "\"\" is not the name of a Lua function"},
    {"demo/x.1run", "\"1run\" is not the name"},
    {"demo/x.r-n", "\"r-n\" is not the name"},
    {"demo/x.run@", "instance \"\""},
    {"demo/x.run@a b", "instance \"a b\""},
    {"demo/x.run@.a", "instance \".a\""},
    {"demo/x.run@a@b", "instance \"a@b\""},
    {"d\xc3\xa4mo/x.run", "must be letters"},
};

static void ids_are_checked(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        sm_err err = SM_ERR_INIT;
        sm_rc rc = sm_assoc_check_id(ids[i].id, &err);
        if (!ids[i].error && rc != SM_OK)
            fail_msg("%s: %s", ids[i].id, err.msg);
        if (ids[i].error && (rc != SM_INVALID || !strstr(err.msg, ids[i].error)))
            fail_msg("%s: rc %d, \"%s\"", ids[i].id, rc, err.msg);
    }
    char longer[400];
    memset(longer, 'a', sizeof longer);
    memcpy(longer + 290, ".run", 5);
    sm_err err = SM_ERR_INIT;
    assert_int_equal(sm_assoc_check_id(longer, &err), SM_INVALID);
    assert_non_null(strstr(err.msg, "longer than 255 bytes"));
}

static void func_ids(void **state) {
    (void)state;
    static const char *const rows[][2] = {{"demo/example.run", "demo__example.run"},
                                          {"run.run", "run.run"},
                                          {"a/b/c.d@e", "a__b__c.d@e"}};
    for (size_t i = 0; i < 3; i++) {
        char *s = sm_assoc_func_id(rows[i][0]);
        assert_string_equal(s, rows[i][1]);
        free(s);
    }
}

static void ids_are_made(void **state) {
    (void)state;
    char *id;
    sm_err err = SM_ERR_INIT;
    assert_int_equal(sm_assoc_make_id("demo/example.lua", "run", &id, &err), SM_OK);
    assert_string_equal(id, "demo/example.run");
    free(id);
    assert_int_equal(sm_assoc_make_id("demo/example.txt", "run", &id, &err), SM_INVALID);
    assert_null(id);
    assert_non_null(strstr(err.msg, "ends in .lua"));
    assert_int_equal(sm_assoc_make_id("de mo/example.lua", "run", &id, &err), SM_INVALID);
    assert_non_null(strstr(err.msg, "\"de mo\""));
    assert_int_equal(sm_assoc_make_id("demo/.lua", "run", &id, &err), SM_INVALID);
    assert_int_equal(sm_assoc_make_id("demo/x.lua", "M.run", &id, &err), SM_INVALID);
    assert_non_null(strstr(err.msg, "\"M.run\""));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(vectors_hold),
                                       cmocka_unit_test(agrees_with_openssl),
                                       cmocka_unit_test(ids_are_checked),
                                       cmocka_unit_test(func_ids), cmocka_unit_test(ids_are_made)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
