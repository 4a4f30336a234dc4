/* netpolicy: every built-in rule in every spelling, the configuration's lists, and what does not
 * parse. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/json.h"
#include "worker/netpolicy.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static sm_netpolicy *policy(const char *json) {
    json_t *j = NULL;
    sm_netpolicy *p = NULL;
    sm_err err = SM_ERR_INIT;
    if (!json)
        return NULL;
    assert_int_equal(sm_json_parse(json, strlen(json), 65536, &j, &err), SM_OK);
    if (sm_netpolicy_new(j, &p, &err) != SM_OK)
        fail_msg("%s: %s", json, err.msg);
    json_decref(j);
    return p;
}

#define PUBLIC "\"public\""
#define ALLOW                                                                                      \
    "{\"allow\":[\"10.0.0.0/8\",\"192.0.2.1:8080\",\"fd00::/8\",\"[2001:db8::1]:443\","            \
    "\"Shop.example:443\",\"*.corp.example\",\"169.254.0.0/16\"]}"
#define DENY                                                                                       \
    "{\"deny\":[\"10.1.0.0/16\",\"127.0.0.1:8686\",\"bad.example\",\"[fd00::/8]:443\",\"*:25\"]}"

static const struct {
    const char *name, *net, *host;
    int port;
    bool ok;
    const char *reason; /* part of the sentence */
} rows[] = {
    {"loopback by default", NULL, "127.0.0.1", 80, true, ""},
    {"private by default", NULL, "192.168.1.1", 80, true, ""},
    {"v6 loopback by default", NULL, "::1", 80, true, ""},
    {"unique local by default", NULL, "fd00::1", 80, true, ""},
    {"public by default", NULL, "8.8.8.8", 443, true, ""},
    {"a name by default", NULL, "shop.example", 443, true, ""},
    {"null policy", "null", "10.0.0.1", 80, true, ""},
    {"metadata", NULL, "169.254.169.254", 80, false, "link-local"},
    {"link-local first", NULL, "169.254.0.0", 80, false, "link-local"},
    {"just below link-local", NULL, "169.253.255.255", 80, true, ""},
    {"just above link-local", NULL, "169.255.0.0", 80, true, ""},
    {"multicast", NULL, "224.0.0.1", 80, false, "multicast"},
    {"multicast last", NULL, "239.255.255.255", 80, false, "multicast"},
    {"broadcast", NULL, "255.255.255.255", 80, false, "broadcast"},
    {"Alibaba metadata", NULL, "100.100.100.200", 80, false, "metadata"},
    {"beside Alibaba metadata", NULL, "100.100.100.201", 80, true, ""},
    {"Oracle metadata", NULL, "192.0.0.192", 80, false, "metadata"},
    {"Azure metadata", NULL, "168.63.129.16", 80, false, "metadata"},
    {"AWS v6 metadata", NULL, "fd00:ec2::254", 80, false, "metadata"},
    {"GCP v6 metadata", NULL, "fd20:ce::254", 80, false, "metadata"},
    {"v6 link-local", NULL, "fe80::1", 80, false, "link-local"},
    {"v6 link-local with zone", NULL, "fe80::1%eth0", 80, false, "link-local"},
    {"v6 link-local last", NULL, "febf::1", 80, false, "link-local"},
    {"v6 multicast", NULL, "ff02::1", 80, false, "multicast"},
    {"v4-mapped metadata", NULL, "::ffff:169.254.169.254", 80, false, "link-local"},
    {"v4-compatible metadata", NULL, "::169.254.169.254", 80, false, "link-local"},
    {"6to4 metadata", NULL, "2002:a9fe:a9fe::1", 80, false, "link-local"},
    {"NAT64 metadata", NULL, "64:ff9b::a9fe:a9fe", 80, false, "link-local"},
    {"local NAT64 /96 metadata", NULL, "64:ff9b:1::a9fe:a9fe", 80, false, "link-local"},
    {"local NAT64 /48 metadata", NULL, "64:ff9b:1:a9fe:a9:fe00::", 80, false, "link-local"},
    {"local NAT64 /64 metadata", NULL, "64:ff9b:1:0:a9:fea9:fe00:0", 80, false, "link-local"},
    {"v4-mapped loopback by default", NULL, "::ffff:127.0.0.1", 80, true, ""},

    {"public: loopback", PUBLIC, "127.0.0.1", 80, false, "loopback"},
    {"public: loopback elsewhere in /8", PUBLIC, "127.8.9.1", 80, false, "loopback"},
    {"public: zero", PUBLIC, "0.0.0.0", 80, false, "unspecified"},
    {"public: v6 zero", PUBLIC, "::", 80, false, "loopback"},
    {"public: v6 loopback", PUBLIC, "::1", 80, false, "loopback"},
    {"public: ten", PUBLIC, "10.0.0.1", 80, false, "private"},
    {"public: 172.16", PUBLIC, "172.31.255.255", 80, false, "private"},
    {"public: beside 172.16", PUBLIC, "172.32.0.0", 80, true, ""},
    {"public: 192.168", PUBLIC, "192.168.0.1", 80, false, "private"},
    {"public: carrier", PUBLIC, "100.64.0.1", 80, false, "shared"},
    {"public: unique local", PUBLIC, "fc00::1", 80, false, "private"},
    {"public: mapped loopback", PUBLIC, "::ffff:127.0.0.1", 80, false, "loopback"},
    {"public: 6to4 private", PUBLIC, "2002:0a00:0001::", 80, false, "private"},
    {"public: NAT64 private", PUBLIC, "64:ff9b::10.0.0.1", 80, false, "private"},
    {"public: a public one", PUBLIC, "93.184.216.34", 80, true, ""},
    {"public: a public v6 one", PUBLIC, "2606:2800:220::1", 80, true, ""},
    {"public: metadata stays", PUBLIC, "169.254.169.254", 80, false, "link-local"},
    {"public: a name waits for its address", PUBLIC, "localhost", 80, true, ""},

    {"allow: in the CIDR", ALLOW, "10.2.3.4", 1, true, ""},
    {"allow: mapped into the CIDR", ALLOW, "::ffff:10.2.3.4", 1, true, ""},
    {"allow: beside the CIDR", ALLOW, "11.0.0.0", 1, false, "allow list"},
    {"allow: address and port", ALLOW, "192.0.2.1", 8080, true, ""},
    {"allow: address, other port", ALLOW, "192.0.2.1", 8081, false, "allow list"},
    {"allow: v6 CIDR", ALLOW, "fd12::1", 9, true, ""},
    {"allow: v6 with port", ALLOW, "2001:db8::1", 443, true, ""},
    {"allow: v6 other port", ALLOW, "2001:db8::1", 80, false, "allow list"},
    {"allow: never what is never", ALLOW, "169.254.1.1", 80, false, "link-local"},
    {"deny: in the CIDR", DENY, "10.1.9.9", 80, false, "denied by net"},
    {"deny: beside the CIDR", DENY, "10.2.0.1", 80, true, ""},
    {"deny: with port", DENY, "127.0.0.1", 8686, false, "denied by net"},
    {"deny: other port", DENY, "127.0.0.1", 8687, true, ""},
    {"deny: v6 with port", DENY, "fd00::9", 443, false, "denied by net"},
    {"deny: by name", DENY, "bad.example", 80, false, "denied by net"},
    {"deny: other name", DENY, "good.example", 80, true, ""},
    {"deny: a port everywhere", DENY, "mail.example", 25, false, "denied by net"},
    {"both: deny wins", "{\"allow\":[\"10.0.0.0/8\"],\"deny\":[\"10.0.0.1\"]}", "10.0.0.1", 80,
     false, "denied by net"},
    {"own", "{\"own\":[\"127.0.0.1:9\"]}", "127.0.0.1", 9, false, "own"},
};

static void test_hosts(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        sm_netpolicy *p = policy(rows[i].net);
        sm_err err = SM_ERR_INIT;
        sm_rc rc = sm_netpolicy_host(p, rows[i].host, rows[i].port, &err);
        if ((rc == SM_OK) != rows[i].ok || !strstr(err.msg, rows[i].reason))
            fail_msg("%s: got %s \"%s\"", rows[i].name, sm_rc_name(rc), err.msg);
        sm_netpolicy_free(p);
    }
}

/* Names are decided with the address they gave. */
static const struct {
    const char *name, *net, *host;
    int port;
    const char *address;
    bool host_ok, addr_ok;
} named[] = {
    {"default", NULL, "x.example", 80, "10.0.0.1", true, true},
    {"rebinding to metadata", NULL, "x.example", 80, "169.254.169.254", true, false},
    {"public name, private address", PUBLIC, "x.example", 80, "10.0.0.1", true, false},
    {"allowed name", ALLOW, "shop.example", 443, "93.184.216.34", true, true},
    {"allowed name, other port", ALLOW, "shop.example", 80, "93.184.216.34", true, false},
    {"allowed by pattern", ALLOW, "a.b.corp.example", 80, "172.16.0.1", true, true},
    {"pattern is not a suffix", ALLOW, "evilcorp.example", 80, "172.16.0.1", true, false},
    {"allowed name to metadata", ALLOW, "shop.example", 443, "169.254.169.254", true, false},
    {"unlisted name, allowed address", ALLOW, "y.example", 80, "10.9.9.9", true, true},
    {"only names: other name", "{\"allow\":[\"shop.example\"]}", "y.example", 80, "10.0.0.1", false,
     false},
    {"denied name", DENY, "bad.example", 80, "10.9.9.9", false, false},
    {"name to denied address", DENY, "fine.example", 80, "10.1.1.1", true, false},
};

static void test_names(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(named); i++) {
        sm_netpolicy *p = policy(named[i].net);
        struct sockaddr_in sa = {.sin_family = AF_INET};
        assert_int_equal(inet_pton(AF_INET, named[i].address, &sa.sin_addr), 1);
        sm_rc host = sm_netpolicy_host(p, named[i].host, named[i].port, NULL);
        sm_rc addr =
            sm_netpolicy_addr(p, named[i].host, named[i].port, (const struct sockaddr *)&sa, NULL);
        if ((host == SM_OK) != named[i].host_ok || (addr == SM_OK) != named[i].addr_ok)
            fail_msg("%s: host %s, address %s", named[i].name, sm_rc_name(host), sm_rc_name(addr));
        sm_netpolicy_free(p);
    }
}

static void test_family(void **state) {
    (void)state;
    struct sockaddr sa = {.sa_family = AF_UNIX};
    assert_int_equal(sm_netpolicy_addr(NULL, "x", 80, &sa, NULL), SM_DENIED);
}

static const struct {
    const char *name, *json, *says;
} bad[] = {
    {"a number", "3", "expected \"public\""},
    {"another word", "\"private\"", "expected \"public\""},
    {"unknown key", "{\"alow\":[]}", "unknown key \"alow\""},
    {"not a list", "{\"allow\":\"10.0.0.1\"}", "net.allow: expected a list"},
    {"not a string", "{\"deny\":[1]}", "net.deny[1]"},
    {"empty", "{\"deny\":[\"\"]}", "net.deny[1]"},
    {"prefix too long", "{\"allow\":[\"10.0.0.0/33\"]}", "10.0.0.0/33"},
    {"prefix of a name", "{\"allow\":[\"shop.example/8\"]}", "shop.example/8"},
    {"port 0", "{\"allow\":[\"shop.example:0\"]}", "shop.example:0"},
    {"port too big", "{\"allow\":[\"shop.example:65536\"]}", "65536"},
    {"port words", "{\"allow\":[\"ok\",\"shop.example:http\"]}", "net.allow[2]"},
    {"a URL", "{\"allow\":[\"https://shop.example\"]}", "https"},
    {"open bracket", "{\"allow\":[\"[::1\"]}", "[::1"},
    {"bracketed v4", "{\"allow\":[\"[10.0.0.1]\"]}", "[10.0.0.1]"},
    {"after bracket", "{\"allow\":[\"[::1]x\"]}", "[::1]x"},
    {"blank in a name", "{\"allow\":[\"a b\"]}", "a b"},
};

static void test_bad(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(bad); i++) {
        json_t *j = NULL;
        sm_netpolicy *p = NULL;
        sm_err err = SM_ERR_INIT;
        assert_int_equal(sm_json_parse(bad[i].json, strlen(bad[i].json), 65536, &j, &err), SM_OK);
        if (sm_netpolicy_new(j, &p, &err) == SM_OK || p || !strstr(err.msg, bad[i].says))
            fail_msg("%s: \"%s\"", bad[i].name, err.msg);
        json_decref(j);
    }
}

static void test_narrowed(void **state) {
    (void)state;
    static const struct {
        const char *net;
        bool narrowed;
    } cases[] = {{NULL, false}, {PUBLIC, true}, {ALLOW, true},
                 {DENY, true},  {"{}", false},  {"{\"own\":[\"127.0.0.1:9\"]}", false}};
    for (size_t i = 0; i < SM_ARRAY_LEN(cases); i++) {
        sm_netpolicy *p = policy(cases[i].net);
        if (sm_netpolicy_narrowed(p) != cases[i].narrowed)
            fail_msg("narrowed: %s", cases[i].net ? cases[i].net : "default");
        sm_netpolicy_free(p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),    cmocka_unit_test(test_names),
        cmocka_unit_test(test_family),   cmocka_unit_test(test_bad),
        cmocka_unit_test(test_narrowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
