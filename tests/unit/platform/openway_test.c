/* openway: batches, the boundary of gzip, events that make no point. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "platform/keyevent.h"
#include "platform/openway.h"

enum { BOUNDARY = 20480, MAX = 64 << 20 };

/* A payload with a message of n bytes that hardly compress. */
static json_t *payload_of(int number, size_t n) {
    char *message = sm_malloc(n + 1), id[60];
    uint32_t x = 12345 + (uint32_t)number;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        message[i] = (char)('0' + (x >> 24) % 64);
        if (message[i] == '\\') /* would be escaped: the length is counted on */
            message[i] = '!';
    }
    message[n] = '\0';
    snprintf(id, sizeof id, "event-%032d", number);
    json_t *p = json_pack("{s:s,s:s,s:s,s:{s:s,s:s,s:s,s:s,s:I,s:{s:s}}}", "ref_key", "ref",
                          "checker", "rul_1", "title", "Inspection", "event", "event_id", id,
                          "title", "t", "message", message, "status", "error", "at_ns",
                          (json_int_t)1700000000000000000 + number, "dimension_tags", "host", "h");
    assert_non_null(p);
    free(message);
    return p;
}

static char *plain_of(const json_t *payloads, size_t *n) {
    sm_buf b;
    sm_buf_init(&b, MAX);
    for (size_t i = 0; i < json_array_size(payloads); i++) {
        if (i > 0)
            sm_buf_addc(&b, '\n');
        assert_int_equal(sm_keyevent_line(&b, json_array_get(payloads, i), NULL), SM_OK);
    }
    return sm_buf_take(&b, n);
}

static char *gunzip(const char *data, size_t n, size_t *out_n) {
    z_stream z;
    memset(&z, 0, sizeof z);
    char *out = sm_malloc(MAX);
    assert_int_equal(inflateInit2(&z, 16 + MAX_WBITS), Z_OK); /* only gzip, not bare zlib */
    z.next_in = (unsigned char *)(uintptr_t)data;
    z.avail_in = (uInt)n;
    z.next_out = (unsigned char *)out;
    z.avail_out = MAX;
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.avail_in, 0);
    *out_n = z.total_out;
    inflateEnd(&z);
    return out;
}

static const struct {
    const char *name;
    size_t length; /* of the plain body */
    bool gzip;
} sizes[] = {
    {"one below", BOUNDARY - 1, false},
    {"the boundary", BOUNDARY, false},
    {"one above", BOUNDARY + 1, true},
    {"far above", 200000, true},
};

static void gzip_boundary(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(sizes); i++) {
        json_t *list = json_pack("[o]", payload_of(1, 0));
        size_t base, n, m;
        free(plain_of(list, &base));
        json_array_set_new(list, 0, payload_of(1, sizes[i].length - base));
        char *plain = plain_of(list, &n);
        assert_int_equal(n, sizes[i].length);
        sm_openway_body body;
        sm_err err = SM_ERR_INIT;
        assert_int_equal(sm_openway_encode(list, &body, &err), SM_OK);
        if (body.gzip != sizes[i].gzip)
            fail_msg("%s: gzip %d", sizes[i].name, body.gzip);
        char *back = body.gzip ? gunzip(body.data, body.n, &m) : sm_memdup(body.data, m = body.n);
        assert_int_equal(m, n);
        assert_memory_equal(back, plain, n);
        assert_null(body.bad);
        free(back);
        free(plain);
        sm_openway_body_fini(&body);
        json_decref(list);
    }
}

static void batches(void **state) {
    (void)state;
    json_t *list = json_array();
    sm_openway_body body;
    sm_err err = SM_ERR_INIT;
    assert_int_equal(sm_openway_encode(list, &body, &err), SM_OK);
    assert_int_equal(body.n, 0);
    assert_false(body.gzip);
    sm_openway_body_fini(&body);
    for (int i = 0; i < 100; i++)
        json_array_append_new(list, payload_of(i, 10));
    assert_int_equal(sm_openway_encode(list, &body, &err), SM_OK);
    assert_true(body.gzip);
    size_t n, newlines = 0;
    char *text = gunzip(body.data, body.n, &n);
    for (size_t i = 0; i < n; i++)
        newlines += text[i] == '\n';
    assert_int_equal(newlines, 99);
    assert_int_not_equal(text[n - 1], '\n');
    free(text);
    sm_openway_body_fini(&body);
    json_array_append_new(list, payload_of(100, 10));
    assert_int_equal(sm_openway_encode(list, &body, &err), SM_LIMIT);
    assert_null(body.data);
    sm_openway_body_fini(&body);
    json_decref(list);
}

/* Bad first, in the middle and last: the others are sent as if it were not there. */
static void bad_ones_are_named(void **state) {
    (void)state;
    json_t *list = json_array(), *good = json_array();
    for (int i = 0; i < 5; i++) {
        json_t *p = payload_of(i, 5);
        if (i % 2 == 0)
            json_object_del(json_object_get(p, "event"), i == 2 ? "title" : "status");
        else
            json_array_append(good, p);
        json_array_append_new(list, p);
    }
    size_t n;
    char *want = plain_of(good, &n);
    sm_openway_body body;
    assert_int_equal(sm_openway_encode(list, &body, NULL), SM_OK);
    assert_int_equal(body.n, n);
    assert_string_equal(body.data, want);
    assert_int_equal(json_array_size(body.bad), 3);
    for (size_t i = 0; i < 3; i++) {
        const json_t *b = json_array_get(body.bad, i);
        assert_int_equal(sm_json_int(b, "index", -1), 2 * (int)i);
        assert_string_equal(sm_json_str(b, "error", ""),
                            i == 1 ? "the event has no title" : "the event has no status");
    }
    free(want);
    sm_openway_body_fini(&body);
    json_array_clear(good);
    json_array_append(good, json_array_get(list, 0));
    assert_int_equal(sm_openway_encode(good, &body, NULL), SM_OK);
    assert_int_equal(body.n, 0);
    assert_int_equal(json_array_size(body.bad), 1);
    sm_openway_body_fini(&body);
    json_decref(good);
    json_decref(list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gzip_boundary),
        cmocka_unit_test(batches),
        cmocka_unit_test(bad_ones_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
