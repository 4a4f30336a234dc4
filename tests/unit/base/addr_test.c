/* addr: what an operator may write to listen on, and what is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include "base/addr.h"

static void test_taken(void **state) {
    static const struct {
        const char *text, *back;
        int family;
    } rows[] = {
        {"127.0.0.1:9090", "127.0.0.1:9090", AF_INET},
        {"0.0.0.0:1", "0.0.0.0:1", AF_INET},
        {"127.0.0.1:0", "127.0.0.1:0", AF_INET},
        {"localhost:8080", "127.0.0.1:8080", AF_INET},
        {"[::1]:9090", "[::1]:9090", AF_INET6},
        {"[::]:65535", "[::]:65535", AF_INET6},
        {"[2001:DB8:0:0::1]:80", "[2001:db8::1]:80", AF_INET6},
        {"127.0.0.1:09090", "127.0.0.1:9090", AF_INET},
    };
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        struct sockaddr_storage a;
        socklen_t n;
        char text[SM_ADDR_TEXT];
        assert_int_equal(sm_addr_parse(rows[i].text, &a, &n, NULL), SM_OK);
        assert_int_equal(a.ss_family, rows[i].family);
        assert_string_equal(sm_addr_text((struct sockaddr *)&a, text), rows[i].back);
    }
}

static void test_refused(void **state) {
    static const char *const rows[] = {
        "",
        ":",
        "9090",
        ":9090",
        "127.0.0.1",
        "127.0.0.1:",
        "1.2.3:80",
        "1.2.3.4:x",
        "1.2.3.4:-1",
        "1.2.3.4:65536",
        "1.2.3.4:123456",
        "::1:80",
        "[::1]",
        "[::1:80",
        "::1]:80",
        "[]:80",
        "[1.2.3.4]:80",
        "example:80",
        "1.2.3.4 :80",
        "[::1%lo]:80",
        "http://1.2.3.4:80",
        "[1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111]:80"};
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        struct sockaddr_storage a;
        socklen_t n;
        sm_err err = SM_ERR_INIT;
        if (sm_addr_parse(rows[i], &a, &n, &err) != SM_INVALID)
            fail_msg("taken: %s", rows[i]);
        assert_non_null(strstr(err.msg, "expected an address and a port"));
        assert_int_equal(strstr(err.msg, "every address") != NULL, rows[i][0] == ':');
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_taken),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
