/* dnsmsg: questions to bytes, and answers of every type and of every falsehood from bytes. */
#include "base/mem.h"
#include "worker/dnsmsg.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

/* A question for foo.test and an answer to it that a test puts together. */
typedef struct talk {
    uint8_t question[SM_DNS_QUESTION_MAX];
    size_t question_n;
    uint8_t answer[4096];
    size_t n;
} talk;

static talk ask(const char *type) {
    talk t = {.n = 0};
    sm_err err = SM_ERR_INIT;
    assert_int_equal(
        sm_dns_question("foo.test", sm_dns_type(type), 0xabcd, t.question, &t.question_n, &err),
        SM_OK);
    memcpy(t.answer, t.question, t.question_n);
    t.answer[2] = 0x84;
    t.n = t.question_n;
    return t;
}

static void put(talk *t, const void *p, size_t n) {
    memcpy(t->answer + t->n, p, n);
    t->n += n;
}

/* One record of the name asked for. */
static void record(talk *t, int type, uint32_t ttl, const void *data, size_t n) {
    uint8_t head[12] = {0xc0,
                        12,
                        (uint8_t)(type >> 8),
                        (uint8_t)type,
                        0,
                        1,
                        (uint8_t)(ttl >> 24),
                        (uint8_t)(ttl >> 16),
                        (uint8_t)(ttl >> 8),
                        (uint8_t)ttl,
                        (uint8_t)(n >> 8),
                        (uint8_t)n};
    put(t, head, sizeof head);
    put(t, data, n);
    t->answer[7]++;
}

static sm_rc read(const talk *t, json_t **out) {
    sm_err err = SM_ERR_INIT;
    return sm_dns_read(t->answer, t->n, t->question, t->question_n, out, &err);
}

static void gives(const char *type, const void *data, size_t n, const char *value) {
    json_t *out;
    talk t = ask(type);
    record(&t, sm_dns_type(type), 300, data, n);
    assert_int_equal(read(&t, &out), SM_OK);
    const json_t *r = json_array_get(json_object_get(out, "records"), 0);
    assert_string_equal(sm_json_str(r, "name", ""), "foo.test");
    assert_string_equal(sm_json_str(r, "type", ""), type);
    assert_string_equal(sm_json_str(r, "value", ""), value);
    assert_string_equal(json_string_value(json_array_get(json_object_get(out, "values"), 0)),
                        value);
    assert_int_equal(sm_json_int(out, "ttl", 0), 300);
    json_decref(out);
    for (size_t cut = 0; cut < n; cut++) { /* a length that lies */
        t = ask(type);
        record(&t, sm_dns_type(type), 300, data, n);
        t.answer[t.n - n - 1] = (uint8_t)cut;
        sm_rc rc = read(&t, &out);
        assert_true(rc == SM_PROTO || strcmp(type, "TXT") == 0 || strcmp(type, "CAA") == 0);
        json_decref(out);
    }
}

static void every_type(void **state) {
    (void)state;
    gives("A", "\300\0\2\7", 4, "192.0.2.7");
    gives("AAAA", " \1\r\270\0\0\0\0\0\0\0\0\0\0\0\7", 16, "2001:db8::7");
    gives("CNAME", "\3bar\300\20", 6, "bar.test");
    gives("NS", "\2ns\0", 4, "ns");
    gives("PTR", "\300\14", 2, "foo.test");
    gives("MX", "\0\12\4mail\300\20", 9, "10 mail.test");
    gives("SRV", "\0\1\0\2\0\120\1s\300\20", 10, "1 2 80 s.test");
    gives("TXT", "\2a \3\"\\\1", 7, "a \"\\\\\\001");
    gives("CAA", "\200\5issueca.example", 17, "128 issue \"ca.example\"");
    gives("SOA", "\300\14\1x\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\377\377\377\377", 25,
          "foo.test x 1 2 3 4 4294967295");
}

static void falsehoods(void **state) {
    (void)state;
    json_t *out;
    talk t = ask("A");
    record(&t, 1, 60, "\1\2\3\4", 4);
    t.answer[1] ^= 1; /* another id */
    assert_int_equal(read(&t, &out), SM_NOT_FOUND);
    t.answer[1] ^= 1;
    t.answer[14] ^= 1; /* another question */
    assert_int_equal(read(&t, &out), SM_NOT_FOUND);
    t.answer[14] ^= 1 ^ 0x20; /* in capitals it is the same */
    assert_int_equal(read(&t, &out), SM_OK);
    json_decref(out);
    t.answer[2] = 0x04; /* a question is no answer */
    assert_int_equal(read(&t, &out), SM_NOT_FOUND);
    t.n = 11;
    assert_int_equal(read(&t, &out), SM_NOT_FOUND);

    t = ask("CNAME"); /* a name that points to itself, forward, and beyond the end */
    for (int to = (int)t.question_n; to < 0x4000; to = to < 300 ? to + 1 : to * 2) {
        talk u = t;
        uint8_t data[2] = {(uint8_t)(0xc0 | to >> 8), (uint8_t)to};
        record(&u, 5, 60, data, 2);
        sm_rc rc = read(&u, &out);
        assert_true(rc == SM_PROTO || (to < (int)t.question_n + 12 && rc == SM_OK));
        json_decref(out);
    }
    t = ask("A"); /* more records than there are */
    t.answer[6] = t.answer[7] = 0xff;
    assert_int_equal(read(&t, &out), SM_PROTO);
    t.answer[2] |= 2; /* but a cut answer may end anywhere */
    t.answer[6] = 0;
    t.answer[7] = 9;
    assert_int_equal(read(&t, &out), SM_OK);
    assert_true(sm_json_bool(out, "truncated", false));
    json_decref(out);
}

static void limits_of_what_grows(void **state) {
    (void)state;
    json_t *out;
    talk t = ask("A");
    uint8_t *big = sm_malloc(SM_DNS_MESSAGE_MAX);
    memcpy(big, t.answer, t.n);
    size_t n = t.n, name = t.n; /* one long name; then many records that point to it */
    const uint8_t cname[] = {0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 1, 0, 254};
    memcpy(big + n, cname, sizeof cname);
    n += sizeof cname;
    name = n;
    for (int i = 0; i < 4; i++) {
        big[n] = i < 3 ? 63 : 60;
        memset(big + n + 1, 1, 63);
        n += (size_t)big[n] + 1;
    }
    big[n++] = 0;
    unsigned count = 1;
    while (n + 14 < SM_DNS_MESSAGE_MAX && count < SM_DNS_RECORDS_MAX) {
        const uint8_t r[14] = {
            (uint8_t)(0xc0 | name >> 8), (uint8_t)name, 0, 5, 0, 1, 0, 0, 0, 1, 0, 2,
            (uint8_t)(0xc0 | name >> 8), (uint8_t)name};
        memcpy(big + n, r, sizeof r);
        n += sizeof r;
        count++;
    }
    sm_err err = SM_ERR_INIT;
    big[6] = 0;
    big[7] = 3;
    assert_int_equal(sm_dns_read(big, n, t.question, t.question_n, &out, &err), SM_OK);
    json_decref(out);
    big[6] = (uint8_t)(count >> 8);
    big[7] = (uint8_t)count;
    assert_int_equal(sm_dns_read(big, n, t.question, t.question_n, &out, &err), SM_PROTO);
    free(big);
}

static void other_facts(void **state) {
    (void)state;
    json_t *out;
    char reverse[80];
    talk t = ask("A");
    record(&t, 1, 0x80000000U, "\1\2\3\4", 4); /* RFC 2181: counts as 0 */
    record(&t, 999, 60, "abc", 3);             /* a type of the future */
    t.answer[3] = 3;
    assert_int_equal(read(&t, &out), SM_OK);
    assert_string_equal(sm_json_str(out, "rcode", ""), "NXDOMAIN");
    assert_true(sm_json_bool(out, "authoritative", false));
    assert_int_equal(sm_json_int(out, "ttl", -1), 0);
    const json_t *r = json_array_get(json_object_get(out, "records"), 1);
    assert_string_equal(sm_json_str(r, "type", ""), "TYPE999");
    assert_int_equal(json_array_size(json_object_get(out, "values")), 1);
    json_decref(out);
    assert_true(sm_dns_reverse("192.0.2.7", reverse));
    assert_string_equal(reverse, "7.2.0.192.in-addr.arpa");
    assert_true(sm_dns_reverse("2001:db8::1", reverse));
    assert_string_equal(reverse,
                        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
    assert_false(sm_dns_reverse("x", reverse));
}

static void names_that_do_not_fit(void **state) {
    (void)state;
    uint8_t out[SM_DNS_QUESTION_MAX];
    size_t n;
    sm_err err;
    char label[65], name[300] = "";
    memset(label, 'a', 64);
    label[64] = 0;
    assert_int_equal(sm_dns_question(label, 1, 1, out, &n, &err), SM_INVALID);
    assert_int_equal(sm_dns_question("a..b", 1, 1, out, &n, &err), SM_INVALID);
    assert_int_equal(sm_dns_question(".a", 1, 1, out, &n, &err), SM_INVALID);
    assert_int_equal(sm_dns_question("", 1, 1, out, &n, &err), SM_OK);
    assert_int_equal(n, 17);
    label[63] = 0;
    for (int i = 0; i < 3; i++) {
        strcat(name, label);
        strcat(name, ".");
    }
    label[61] = 0;
    strcat(name, label); /* 253 bytes: the longest there is */
    assert_int_equal(strlen(name), 253);
    assert_int_equal(sm_dns_question(name, 1, 1, out, &n, &err), SM_OK);
    assert_int_equal(n, SM_DNS_QUESTION_MAX);
    strcat(name, "a");
    assert_int_equal(sm_dns_question(name, 1, 1, out, &n, &err), SM_INVALID);
    assert_int_equal(sm_dns_type("cname"), 5);
    assert_int_equal(sm_dns_type("ANY"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type),
        cmocka_unit_test(falsehoods),
        cmocka_unit_test(limits_of_what_grows),
        cmocka_unit_test(other_facts),
        cmocka_unit_test(names_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
