/* sign: the vendor's vectors (platform-facts 4.1), also by openssl's command line; dates. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "platform/sign.h"

static const char date[] = "Wed, 20 Nov 2019 09:56:06 GMT";
static const char line[] = "cpu,host=web01 usage=1.5 1574243766000000000";
static const char chinese[] = "主机,host=甲 使用率=1i 1574243766000000000";

static const struct {
    const char *name, *ak, *sk, *method, *type, *body, *md5, *signature;
} vectors[] = {
    {"GET, empty", "ak_test", "sk_test", "GET", "", "",
     "1B2M2Y8AsgTpgAmY7PhCfg==", "iybt17iFj836Or6BuHUYQTJF55E="},
    {"POST, empty", "ak_test", "sk_test", "POST", "", "",
     "1B2M2Y8AsgTpgAmY7PhCfg==", "/9N9uqQyCwbczR4dGSzaVBvLFqM="},
    {"POST, a line", "ak_test", "sk_test", "POST", "text/plain", line,
     "jWiLbsaJw2tLRvkQwMSzzA==", "p8izRFDW+rGPE4jVQdRgO1ZypjM="},
    {"POST, JSON", "ak_test", "sk_test", "POST", "application/json", "{\"a\":1}",
     "u2y1xo30ZSlByvZSo2by2A==", "8LlDxOsWncdGpiiV39FNwazjvAQ="},
    {"POST, Chinese", "ak_test", "sk_test", "POST", "text/plain", chinese,
     "/3IkLz8f5Wa02LMKE/Mlzg==", "xKpm6UQrNJg5HQUSoRdiFhFNn3o="},
    {"other key, GET", "AKID0001", "s3cr3t/+=KEY", "GET", "", "",
     "1B2M2Y8AsgTpgAmY7PhCfg==", "gBXtPexnMbmDzwb4ofIE86q0CtE="},
    {"other key, POST", "AKID0001", "s3cr3t/+=KEY", "POST", "", "",
     "1B2M2Y8AsgTpgAmY7PhCfg==", "50hRoHFXxiSZpwpMgySkPfyVm/U="},
    {"other key, a line", "AKID0001", "s3cr3t/+=KEY", "POST", "text/plain", line,
     "jWiLbsaJw2tLRvkQwMSzzA==", "CD6d29xSg584EvSt+T7ceaA1EHg="},
};
enum { VECTORS = sizeof vectors / sizeof vectors[0] };

static char *sign(size_t i) {
    return sm_sign_dway(vectors[i].ak, vectors[i].sk, strlen(vectors[i].sk), vectors[i].method,
                        vectors[i].type, vectors[i].body, strlen(vectors[i].body), date);
}

static void vendors_vectors(void **state) {
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        char want[200], *have = sign(i);
        snprintf(want, sizeof want, "DWAY %s:%s", vectors[i].ak, vectors[i].signature);
        if (!have || strcmp(have, want) != 0)
            fail_msg("%s: %s", vectors[i].name, have ? have : "NULL");
        free(have);
    }
}

/* Base64 of what `openssl dgst ... -binary` makes of text, with the text as a file. */
static void by_openssl(const char *arguments, const char *text, char out[64]) {
    char path[] = "/tmp/sm-sign-XXXXXX", command[400];
    unsigned char digest[64];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    snprintf(command, sizeof command, "openssl dgst %s -binary %s", arguments, path);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t n = fread(digest, 1, sizeof digest, p);
    assert_int_equal(pclose(p), 0);
    unlink(path);
    assert_true(n >= 16);
    EVP_EncodeBlock((unsigned char *)out, digest, (int)n);
}

/* An independent judge: the same formula, computed by the command line. */
static void command_line_agrees(void **state) {
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        char md5[64], mac[64], arguments[100], text[400];
        by_openssl("-md5", vectors[i].body, md5);
        if (strcmp(md5, vectors[i].md5) != 0)
            fail_msg("%s: openssl says MD5 %s", vectors[i].name, md5);
        snprintf(text, sizeof text, "%s\n%s\n%s\n%s", vectors[i].method, md5, vectors[i].type,
                 date);
        snprintf(arguments, sizeof arguments, "-sha1 -hmac '%s'", vectors[i].sk);
        by_openssl(arguments, text, mac);
        char *have = sign(i);
        if (strcmp(strchr(have, ':') + 1, mac) != 0)
            fail_msg("%s: %s, openssl says %s", vectors[i].name, have, mac);
        free(have);
    }
}

static void edges(void **state) {
    (void)state;
    static const unsigned char bytes[] = {0x1f, 0x8b, 0, 0xff, 0, '\n'};
    char *none = sm_sign_dway("ak", NULL, 0, "POST", NULL, NULL, 0, date);
    char *empty = sm_sign_dway("ak", "", 0, "POST", "", "", 0, date);
    char *whole = sm_sign_dway("ak", "k", 1, "POST", "", bytes, sizeof bytes, date);
    char *part = sm_sign_dway("ak", "k", 1, "POST", "", bytes, 2, date);
    assert_string_equal(none, empty);
    assert_string_not_equal(whole, part); /* a NUL does not end the body */
    free(none);
    free(empty);
    free(whole);
    free(part);
}

static const struct {
    int64_t at;
    const char *want;
} dates[] = {
    {1574243766, "Wed, 20 Nov 2019 09:56:06 GMT"}, {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
    {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},  {1735689599, "Tue, 31 Dec 2024 23:59:59 GMT"},
    {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"}, {-1, "Wed, 31 Dec 1969 23:59:59 GMT"},
};

static void rfc1123(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof dates / sizeof dates[0]; i++) {
        char out[32];
        sm_sign_date(dates[i].at, out);
        assert_string_equal(out, dates[i].want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vendors_vectors),
        cmocka_unit_test(command_line_agrees),
        cmocka_unit_test(edges),
        cmocka_unit_test(rfc1123),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
