/* Memos: what inspections remember: time to live, quotas, exact sums, retention, restart. */
#include "store_help.h"
#include "base/memo.h"

typedef struct fixture {
    place at;
    sm_store *s;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    place_make(&f->at);
    f->s = open_plain(f->at.path);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    sm_store_close(f->s);
    place_drop(&f->at);
    free(f);
    return 0;
}

static json_t *put_args(const char *who, const char *key, const char *text, json_int_t until,
                        json_int_t now) {
    return json_pack("{s:s, s:s, s:s, s:o, s:I}", "who", who, "key", key, "text", text, "until_ms",
                     until ? json_integer(until) : json_null(), "now_ms", now);
}

static void put(sm_store *s, const char *who, const char *key, const char *text, json_int_t until,
                json_int_t now) {
    json_decref(call_json(s, SM_OP_MEMO_PUT, put_args(who, key, text, until, now)));
}

static void a_value_is_read_back_until_its_time(void **state) {
    sm_store *s = ((fixture *)*state)->s;
    put(s, "i/a", "k", "{\"n\":9007199254740993}", 0, 1000);
    expect(s, SM_OP_MEMO_GET, "{'who':'i/a','key':'k','now_ms':1000}",
           "{'text':'{\\'n\\':9007199254740993}'}");
    expect(s, SM_OP_MEMO_GET, "{'who':'i/b','key':'k','now_ms':1000}", "null");
    put(s, "i/a", "k", "2", 5000, 1000); /* another value, with a time */
    put(s, "i/a", "k2", "true", 0, 1000);
    expect(s, SM_OP_MEMO_GET, "{'who':'i/a','key':'k','now_ms':4999}", "{'text':'2'}");
    expect(s, SM_OP_MEMO_GET, "{'who':'i/a','key':'k','now_ms':5000}", "null");
    expect(s, SM_OP_MEMO_KEYS, "{'who':'i/a','prefix':'','now_ms':4999}", "['k','k2']");
    expect(s, SM_OP_MEMO_KEYS, "{'who':'i/a','prefix':'','now_ms':5000}", "['k2']");
    expect(s, SM_OP_MEMO_DUMP, "{'who':'i/a','now_ms':4999}",
           "{'k':{'text':'2','until_ms':5000},'k2':{'text':'true','until_ms':null}}");
    put(s, "i/a", "k", "3", 0, 6000); /* again, for good */
    expect(s, SM_OP_MEMO_DELETE, "{'who':'i/a','key':'k','now_ms':9000}", "{'removed':true}");
    expect(s, SM_OP_MEMO_DELETE, "{'who':'i/a','key':'k','now_ms':9000}", "{'removed':false}");
}

static void keys_begin_with_the_prefix(void **state) {
    sm_store *s = ((fixture *)*state)->s;
    const char *names[] = {"file/b", "file/a", "filx", "file", "fil", "file\xf4\x8f\xbf\xbd"};
    for (size_t i = 0; i < SM_ARRAY_LEN(names); i++)
        put(s, "s/x", names[i], "1", 0, 1);
    expect(s, SM_OP_MEMO_KEYS, "{'who':'s/x','prefix':'file','now_ms':1}",
           "['file','file/a','file/b','file\xf4\x8f\xbf\xbd']");
    expect(s, SM_OP_MEMO_KEYS, "{'who':'s/x','prefix':'file/','now_ms':1}", "['file/a','file/b']");
    expect(s, SM_OP_MEMO_KEYS, "{'who':'s/y','prefix':'','now_ms':1}", "[]");
}

static void sums_are_exact(void **state) {
    sm_store *s = ((fixture *)*state)->s;
    expect(s, SM_OP_MEMO_INCR, "{'who':'i/a','key':'n','by':1,'now_ms':1,'until_ms':100}",
           "{'value':1}");
    expect(s, SM_OP_MEMO_INCR, "{'who':'i/a','key':'n','by':9007199254740992,'now_ms':2}",
           "{'value':9007199254740993}");
    /* It kept the time it was made with, and begins anew after that. */
    expect(s, SM_OP_MEMO_INCR, "{'who':'i/a','key':'n','by':-2,'now_ms':100}", "{'value':-2}");
    expect(s, SM_OP_MEMO_INCR, "{'who':'i/a','key':'n','by':0.5,'now_ms':101}", "{'value':-1.5}");
    put(s, "i/a", "t", "\"7\"", 0, 1);
    expect_fail(s, SM_OP_MEMO_INCR, parse("{'who':'i/a','key':'t','by':1,'now_ms':1}"), SM_EXISTS,
                "something else than a number");
    put(s, "i/a", "m", "9223372036854775807", 0, 1);
    expect_fail(s, SM_OP_MEMO_INCR, parse("{'who':'i/a','key':'m','by':1,'now_ms':1}"), SM_EXISTS,
                "beyond what an integer can be");
    put(s, "i/a", "r", "1.7e308", 0, 1);
    expect_fail(s, SM_OP_MEMO_INCR, parse("{'who':'i/a','key':'r','by':1e308,'now_ms':1}"),
                SM_EXISTS, "beyond what a number can be");
    expect(s, SM_OP_MEMO_GET, "{'who':'i/a','key':'m','now_ms':1}",
           "{'text':'9223372036854775807'}");
}

static void an_owner_has_a_quota_of_keys(void **state) {
    sm_store *s = ((fixture *)*state)->s;
    char key[32];
    for (int i = 0; i < SM_MEMO_KEYS_MAX; i++) {
        snprintf(key, sizeof key, "k%d", i);
        put(s, "i/a", key, "1", i < 2 ? 500 : 0, 1);
    }
    expect_fail(s, SM_OP_MEMO_PUT, put_args("i/a", "more", "1", 0, 499), SM_LIMIT,
                "this inspection holds 1000 keys, the most it can; delete some, or give them a "
                "ttl");
    expect_fail(s, SM_OP_MEMO_INCR, parse("{'who':'i/a','key':'n','by':1,'now_ms':499}"), SM_LIMIT,
                "1000 keys");
    put(s, "i/a", "k7", "2", 0, 499);   /* one that is there */
    put(s, "i/b", "more", "1", 0, 499); /* another owner */
    put(s, "i/a", "more", "1", 0, 500); /* two have ended */
    put(s, "i/a", "more2", "1", 0, 500);
    expect_fail(s, SM_OP_MEMO_PUT, put_args("i/a", "more3", "1", 0, 500), SM_LIMIT, "1000 keys");
}

static void an_owner_has_a_quota_of_bytes(void **state) {
    sm_store *s = ((fixture *)*state)->s;
    char *text = calloc(1, SM_MEMO_VALUE_MAX + 1), key[32];
    memset(text, 'x', SM_MEMO_VALUE_MAX);
    text[0] = text[SM_MEMO_VALUE_MAX - 1] = '"';
    for (int i = 0; i < 15; i++) {
        snprintf(key, sizeof key, "k%d", i);
        put(s, "s/x", key, text, 0, 1);
    }
    expect_fail(s, SM_OP_MEMO_PUT, put_args("s/x", "k15", text, 0, 1), SM_LIMIT,
                "this scope holds 983075 bytes in 15 keys, and 65539 more would be above the "
                "1048576 that it may");
    put(s, "s/x", "k14", text, 0, 1); /* in place of the same */
    put(s, "s/x", "k15", "1", 0, 1);
    free(text);
}

static void there_are_so_many_scopes(void **state) {
    sm_store *s = ((fixture *)*state)->s;
    char who[32];
    for (int i = 0; i < SM_MEMO_SCOPES_MAX; i++) {
        snprintf(who, sizeof who, "s/%d", i);
        put(s, who, "k", "1", 0, 1);
    }
    expect_fail(s, SM_OP_MEMO_PUT, put_args("s/more", "k", "1", 0, 1), SM_LIMIT,
                "there are 256 scopes already");
    put(s, "s/7", "k", "2", 0, 1); /* the only key of one that is there */
    put(s, "i/a", "k", "1", 0, 1);
    json_decref(call(s, SM_OP_MEMO_DELETE, "{'who':'s/3','key':'k','now_ms':1}"));
    put(s, "s/more", "k", "1", 0, 1);
}

/* 100,000 keys of 200 inspections, pruned: what ended, and what belongs to inspections that are
 * gone and did not change lately. */
static void retention_takes_what_is_over_or_orphaned(void **state) {
    fixture *f = *state;
    char who[32], key[32];
    enum { OWNERS = 200, EACH = 500 };
    for (int i = 0; i < OWNERS; i++) {
        snprintf(who, sizeof who, "i/%03d", i);
        for (int k = 0; k < EACH; k++) {
            snprintf(key, sizeof key, "k%d", k);
            /* Every fifth key ends at 50,000; those of odd owners changed at 1,000, else at 9,000.
             */
            sm_store_call(
                f->s, SM_OP_MEMO_PUT,
                put_args(who, key, "\"value\"", k % 5 == 0 ? 50000 : 0, i % 2 ? 1000 : 9000), NULL,
                NULL);
        }
        expect(f->s, SM_OP_MEMO_GET, "{'who':'i/a','key':'k','now_ms':1}", "null"); /* done */
    }
    put(f->s, "s/shared", "k", "1", 0, 1000);
    sm_store_close(f->s);
    f->s = open_plain(f->at.path);
    json_t *keep = json_object();
    for (int i = 0; i < OWNERS; i += 3) { /* those that are still there */
        snprintf(who, sizeof who, "i/%03d", i);
        json_object_set_new(keep, who, json_true());
    }
    int64_t gone = -1, all = 0;
    while (gone != 0) {
        json_t *got = call_json(f->s, SM_OP_PRUNE,
                                json_pack("{s:I, s:i, s:i, s:i, s:O}", "runs_before_ns",
                                          (json_int_t)5000 * 1000000, "events_before_ns", 0,
                                          "batch", 1000, "now_ms", 50000, "memos_of", keep));
        gone = sm_json_int(got, "memos", -1);
        all += gone;
        assert_in_range(gone, 0, 2 * 1000);
        json_decref(got);
    }
    json_decref(keep);
    /* Of 200 owners 100 are odd, 33 of these are kept: 67 lose all their keys. */
    assert_int_equal(all, OWNERS * EACH / 5 + 67 * EACH * 4 / 5);
    expect(f->s, SM_OP_MEMO_KEYS, "{'who':'i/001','prefix':'','now_ms':1}", "[]");
    json_t *left = call(f->s, SM_OP_MEMO_KEYS, "{'who':'i/003','prefix':'','now_ms':1}");
    assert_int_equal(json_array_size(left), EACH * 4 / 5);
    json_decref(left);
    left = call(f->s, SM_OP_MEMO_KEYS, "{'who':'i/002','prefix':'','now_ms':1}");
    assert_int_equal(json_array_size(left), EACH * 4 / 5);
    json_decref(left);
    expect(f->s, SM_OP_MEMO_GET, "{'who':'s/shared','key':'k','now_ms':1}", "{'text':'1'}");
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_value_is_read_back_until_its_time),
        TEST(keys_begin_with_the_prefix),
        TEST(sums_are_exact),
        TEST(an_owner_has_a_quota_of_keys),
        TEST(an_owner_has_a_quota_of_bytes),
        TEST(there_are_so_many_scopes),
        TEST(retention_takes_what_is_over_or_orphaned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
