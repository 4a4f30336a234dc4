/* tarball: archives as tar makes them, each way to be hostile, and any bytes. */
#include "cli/tarball.h"
#include "base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
/* after the above */
#include <cmocka.h>
#include <stdio.h>

enum { BLOCK = 512, CAP = 64 << 10 };

typedef struct archive {
    unsigned char bytes[CAP];
    size_t n;
} archive;

static void seal(unsigned char *h) {
    unsigned sum = 0;
    memset(h + 148, ' ', 8);
    for (int i = 0; i < BLOCK; i++)
        sum += h[i];
    snprintf((char *)h + 148, 8, "%06o", sum);
}

static unsigned char *put(archive *a, const char *name, char type, const char *text) {
    unsigned char *h = a->bytes + a->n;
    size_t n = strlen(text);
    memset(h, 0, BLOCK);
    memcpy(h, name, strlen(name) < 100 ? strlen(name) : 100);
    snprintf((char *)h + 124, 12, "%011o", (unsigned)n);
    h[156] = (unsigned char)type;
    memcpy(h + 257,
           "ustar\0"
           "00",
           8);
    seal(h);
    memcpy(h + BLOCK, text, n);
    a->n += BLOCK + (n + BLOCK - 1) / BLOCK * BLOCK;
    return h;
}

static size_t zip(const void *p, size_t n, unsigned char *out, size_t cap) {
    z_stream z = {.next_in = (Bytef *)(uintptr_t)p, .avail_in = (uInt)n};
    assert_int_equal(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_out = out;
    z.avail_out = (uInt)cap;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t used = cap - z.avail_out;
    deflateEnd(&z);
    return used;
}

static bool lua(const char *name) {
    size_t n = strlen(name);
    return n > 4 && strcmp(name + n - 4, ".lua") == 0;
}

static sm_rc read_it(const archive *a, sm_tar_file **files, size_t *n, sm_err *err) {
    unsigned char *packed = sm_malloc(CAP * 2);
    size_t size = zip(a->bytes, a->n + 2 * BLOCK, packed, CAP * 2);
    *err = (sm_err)SM_ERR_INIT;
    sm_rc rc = sm_tarball_read(packed, size, lua, files, n, err);
    free(packed);
    return rc;
}

static archive *fresh(void) {
    return sm_calloc(1, sizeof(archive));
}

static void reads_files(void **state) {
    (void)state;
    archive *a = fresh();
    sm_tar_file *files;
    size_t n;
    sm_err err;
    put(a, "./", '5', "");
    put(a, "./a/", '5', "");
    put(a, "pax", 'g', "52 comment=0123456789012345678901234567890123456789\n");
    put(a, "./a/b.lua", '0', "return 1\n");
    put(a, "a/README", '\0', "x");
    memcpy(put(a, "c.lua", '0', "") + 345, "deep/er", 7);
    seal(a->bytes + a->n - BLOCK);
    assert_int_equal(read_it(a, &files, &n, &err), SM_OK);
    assert_int_equal(n, 2);
    assert_string_equal(files[0].name, "a/b.lua");
    assert_string_equal(files[0].text, "return 1\n");
    assert_string_equal(files[1].name, "deep/er/c.lua");
    assert_int_equal(files[1].n, 0);
    sm_tarball_free(files, n);
    free(a);
}

static void refuses(const char *name, char type, const char *text, const char *sentence) {
    archive *a = fresh();
    sm_tar_file *files;
    size_t n;
    sm_err err;
    put(a, "good.lua", '0', "x");
    put(a, name, type, text);
    assert_int_not_equal(read_it(a, &files, &n, &err), SM_OK);
    if (!strstr(err.msg, sentence))
        fail_msg("%s: %s", name, err.msg);
    assert_null(files);
    free(a);
}

static void refuses_what_leads_elsewhere(void **state) {
    (void)state;
    static const char *const names[] = {"../x.lua",  "a/../x.lua", "/x.lua",   "a//x.lua",
                                        "a/./x.lua", "..",         "a\\x.lua", "a\nx.lua",
                                        "a/..",      "\xff.lua",   "",         "//"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        refuses(names[i], '0', "x", "leads elsewhere");
    for (const char *type = "12346LKSVMD"; *type; type++)
        refuses("x.lua", *type, "", "link, a device");
    refuses("good.lua", '0', "y", "twice");
    refuses("x", 'x', "20 path=../evil.lua\n", "no plain text");
    refuses("x", 'x', "30 linkpath=/etc/passwd\n", "no plain text");
}

static void refuses_what_is_damaged(void **state) {
    (void)state;
    archive *a = fresh();
    sm_tar_file *files;
    size_t n;
    sm_err err;
    unsigned char *h = put(a, "a.lua", '0', "x");
    h[0] = 'b'; /* the sum is another now */
    assert_int_equal(read_it(a, &files, &n, &err), SM_PROTO);
    h[0] = 'a';
    memcpy(h + 124, "77777777777", 11);
    seal(h);
    assert_int_equal(read_it(a, &files, &n, &err), SM_PROTO);
    assert_non_null(strstr(err.msg, "cut off"));
    memcpy(h + 124, "\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 12);
    seal(h);
    assert_int_equal(read_it(a, &files, &n, &err), SM_PROTO);
    a->n = 0;
    memset(a->bytes, 0, BLOCK);
    assert_int_equal(read_it(a, &files, &n, &err), SM_PROTO);
    assert_non_null(strstr(err.msg, "holds nothing"));
    assert_int_equal(sm_tarball_read("", 0, lua, &files, &n, &err), SM_PROTO);
    free(a);
}

static uint64_t rng = 20261123;

static uint32_t next(uint32_t n) {
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(rng >> 33) % n;
}

/* Mutated headers (with sums that are right), mutated tars, mutated gzips: any answer, no fault. */
static void takes_any_bytes(void **state) {
    (void)state;
    unsigned char *packed = sm_malloc(CAP * 2);
    archive *a = fresh();
    int taken = 0, refused = 0;
    for (int round = 0; round < 20000; round++) {
        a->n = 0;
        unsigned char *heads[3] = {put(a, "a/x.lua", '0', "return 1\n"),
                                   put(a, "p", 'x', "12 atime=12\n"), put(a, "b.lua", '0', "y")};
        for (uint32_t k = next(3); k > 0; k--) {
            unsigned char *h = heads[next(3)];
            h[next(BLOCK)] = (unsigned char)next(256);
            if (next(4))
                seal(h);
        }
        size_t n = a->n + 2 * BLOCK, size, count = 0;
        if (next(4) == 0)
            n = next((uint32_t)n);
        size = zip(a->bytes, n, packed, CAP * 2);
        if (next(4) == 0)
            packed[next((uint32_t)size)] ^= (unsigned char)(1u << next(8));
        if (next(8) == 0)
            size = next((uint32_t)size);
        sm_tar_file *files = NULL;
        sm_err err = SM_ERR_INIT;
        if (sm_tarball_read(packed, size, lua, &files, &count, &err) == SM_OK) {
            for (size_t i = 0; i < count; i++) {
                assert_true(files[i].name[0] != '/' && !strstr(files[i].name, "../"));
                assert_int_equal(files[i].text[files[i].n], 0);
            }
            taken++;
        } else {
            assert_true(err.msg[0] != '\0' && !files && count == 0);
            refused++;
        }
        sm_tarball_free(files, count);
    }
    assert_true(taken > 1000 && refused > 1000);
    free(packed);
    free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_files),
        cmocka_unit_test(refuses_what_leads_elsewhere),
        cmocka_unit_test(refuses_what_is_damaged),
        cmocka_unit_test(takes_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
