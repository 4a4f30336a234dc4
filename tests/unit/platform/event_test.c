/* event: each sentence for an author's mistake, each repair of the world's data. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/mem.h"
#include "platform/event.h"

static sm_val text(const char *s) {
    return (sm_val){.type = SM_VAL_STR, .u.s = {s, strlen(s)}};
}
#define BYTES(lit) ((sm_val){.type = SM_VAL_STR, .u.s = {lit, sizeof(lit) - 1}})
#define INT(x) ((sm_val){.type = SM_VAL_INT, .u.i = (x)})
#define NUM(x) ((sm_val){.type = SM_VAL_NUM, .u.n = (x)})
#define BOOLEAN(x) ((sm_val){.type = SM_VAL_BOOL, .u.b = (x)})
#define OTHER(lit) ((sm_val){.type = SM_VAL_OTHER, .u.s = {lit, sizeof(lit) - 1}})
#define NIL ((sm_val){.type = SM_VAL_NIL})

static sm_val table(void) {
    return (sm_val){.type = SM_VAL_TABLE};
}

static void put(sm_val *t, sm_val key, sm_val val) {
    t->u.t.p = sm_realloc(t->u.t.p, (t->u.t.n + 1) * sizeof *t->u.t.p);
    t->u.t.p[t->u.t.n++] = (sm_pair){key, val};
}

/* A good event but for what the row adds. */
static sm_val event(const char *title, const char *message, const char *status) {
    sm_val e = table();
    if (title)
        put(&e, text("title"), text(title));
    if (message)
        put(&e, text("message"), text(message));
    if (status)
        put(&e, text("status"), text(status));
    return e;
}

static void expect_error(sm_val e, int index, const char *sentence) {
    json_t *out = NULL, *notes = json_array();
    sm_err err = SM_ERR_INIT;
    sm_rc rc = sm_event_check(&e, index, &out, notes, &err);
    if (rc != SM_INVALID || out)
        fail_msg("accepted; want %s", sentence);
    if (strcmp(err.msg, sentence) != 0)
        fail_msg("\n got %s\nwant %s", err.msg, sentence);
    json_decref(notes);
    sm_val_fini(&e);
}

/* Checks, compares the result as JSON, and the notes joined by "; ". Then the JSON check must
 * accept the result and change nothing. */
static void expect_event(const char *name, sm_val e, const char *want, const char *want_notes) {
    json_t *out = NULL, *again = NULL, *notes = json_array(), *more = json_array();
    sm_err err = SM_ERR_INIT;
    if (sm_event_check(&e, 1, &out, notes, &err) != SM_OK)
        fail_msg("%s: %s", name, err.msg);
    char *got = sm_json_dump(out, NULL);
    if (want && strcmp(got, want) != 0)
        fail_msg("%s:\n got %s\nwant %s", name, got, want);
    sm_buf b;
    sm_buf_init(&b, 1 << 20);
    for (size_t i = 0; i < json_array_size(notes); i++)
        sm_buf_addf(&b, "%s%s", i ? "; " : "", json_string_value(json_array_get(notes, i)));
    char *said = sm_buf_take(&b, NULL);
    if (strcmp(said, want_notes) != 0)
        fail_msg("%s:\n notes %s\n  want %s", name, said, want_notes);
    if (sm_event_check_json(out, 1, &again, more, &err) != SM_OK)
        fail_msg("%s, again: %s", name, err.msg);
    if (!json_equal(out, again) || json_array_size(more) != 0)
        fail_msg("%s: a second check changed it to %s", name, sm_json_dump(again, NULL));
    free(said);
    free(got);
    json_decref(more);
    json_decref(notes);
    json_decref(again);
    json_decref(out);
    sm_val_fini(&e);
}

static void mistakes(void **state) {
    (void)state;
    sm_val e;
    expect_error(event("t", "m", "crit"), 2,
                 "events[2].status: expected one of info, warning, error, critical, ok; got "
                 "\"crit\"");
    expect_error(
        event("t", "m", "OK"), 1,
        "events[1].status: expected one of info, warning, error, critical, ok; got \"OK\"");
    expect_error(event("t", "m", ""), 1,
                 "events[1].status: expected one of info, warning, error, critical, ok; got \"\"");
    e = event("t", "m", NULL);
    put(&e, text("status"), BYTES("ok\0"));
    expect_error(e, 1,
                 "events[1].status: expected one of info, warning, error, critical, ok; got "
                 "\"ok\\x00\"");
    e = event("t", "m", NULL);
    put(&e, text("status"), BOOLEAN(true));
    expect_error(e, 1, "events[1].status: expected a text, got a boolean");

    e = event("t", "m", "ok");
    put(&e, text("dimension_tag"), table());
    expect_error(e, 1,
                 "events[1].dimension_tag: unknown field \"dimension_tag\"; did you mean "
                 "\"dimension_tags\"?");
    e = event("t", "m", "ok");
    put(&e, text("severity"), text("x"));
    expect_error(e, 3, "events[3].severity: unknown field \"severity\"");
    e = event(NULL, "m", "ok"); /* a slip is named before what is missing for it */
    put(&e, text("titel"), text("x"));
    expect_error(e, 1, "events[1].titel: unknown field \"titel\"; did you mean \"title\"?");
    e = event("t", "m", "ok");
    put(&e, INT(1), text("x"));
    expect_error(e, 1,
                 "events[1]: expected fields title, message, status, dimension_tags; got a "
                 "number as a key");

    expect_error(event(NULL, "m", "ok"), 1, "events[1].title: missing; expected a text");
    expect_error(event("t", NULL, "ok"), 1, "events[1].message: missing; expected a text");
    expect_error(event("t", "m", NULL), 1, "events[1].status: missing; expected a text");
    e = event(NULL, "m", "ok");
    put(&e, text("title"), NIL);
    expect_error(e, 1, "events[1].title: missing; expected a text");
    e = event("t", NULL, "ok");
    put(&e, text("message"), table());
    expect_error(e, 1, "events[1].message: expected a text, got a table");
    e = event(NULL, "m", "ok");
    put(&e, text("title"), INT(5));
    expect_error(e, 1, "events[1].title: expected a text, got a number");
    e = event("t", NULL, "ok");
    put(&e, text("message"), OTHER("function"));
    expect_error(e, 1, "events[1].message: expected a text, got a function");
    e = event("t", NULL, "ok");
    put(&e, text("message"), OTHER("userdata"));
    expect_error(e, 1, "events[1].message: expected a text, got a userdata");

    expect_error(text("boom"), 1, "events[1]: expected a table, got a text");
    expect_error(NIL, 1, "events[1]: expected a table, got nil");
}

static sm_val tagged(sm_val key, sm_val val) {
    sm_val e = event("t", "m", "ok"), t = table();
    put(&t, key, val);
    put(&e, text("dimension_tags"), t);
    return e;
}

static void tag_mistakes(void **state) {
    (void)state;
    sm_val e = event("t", "m", "ok");
    put(&e, text("dimension_tags"), text("x"));
    expect_error(e, 1, "events[1].dimension_tags: expected a table, got a text");
    expect_error(tagged(INT(1), text("x")), 1,
                 "events[1].dimension_tags: expected texts as tag names, got a number");
    expect_error(tagged(BOOLEAN(true), text("x")), 1,
                 "events[1].dimension_tags: expected texts as tag names, got a boolean");
    expect_error(tagged(text(""), text("x")), 1,
                 "events[1].dimension_tags[\"\"]: a tag name may not be empty");
    expect_error(tagged(text("df_x"), text("x")), 1,
                 "events[1].dimension_tags[\"df_x\"]: names that begin with df_ belong to the "
                 "platform");
    expect_error(tagged(text("a\nb"), text("x")), 1,
                 "events[1].dimension_tags[\"a\\nb\"]: a tag name may not hold control bytes");
    expect_error(tagged(BYTES("a\0b"), text("x")), 1,
                 "events[1].dimension_tags[\"a\\x00b\"]: a tag name may not hold control bytes");
    expect_error(tagged(text("a"), NUM(NAN)), 1,
                 "events[1].dimension_tags.a: expected a finite number, got NaN");
    expect_error(tagged(text("a"), NUM(-INFINITY)), 1,
                 "events[1].dimension_tags.a: expected a finite number, got infinity");
    expect_error(tagged(text("a"), table()), 1,
                 "events[1].dimension_tags.a: expected a text, a number or a boolean, got a table");
    expect_error(
        tagged(text("a"), OTHER("thread")), 1,
        "events[1].dimension_tags.a: expected a text, a number or a boolean, got a thread");

    char key[258];
    memset(key, 'k', sizeof key);
    key[257] = '\0';
    json_t *out = NULL;
    sm_err err = SM_ERR_INIT;
    e = tagged(text(key), text("x"));
    assert_int_equal(sm_event_check(&e, 1, &out, NULL, &err), SM_INVALID);
    assert_non_null(strstr(err.msg, "a tag name may have at most 256 bytes"));
    sm_val_fini(&e);
    key[256] = '\0';
    expect_event("256 bytes of name", tagged(text(key), text("x")), NULL, "");

    char names[33][16];
    for (int n = 32; n <= 33; n++) {
        sm_val t = table();
        e = event("t", "m", "ok");
        for (int i = 0; i < n; i++) {
            snprintf(names[i], sizeof names[i], "k%d", i);
            put(&t, text(names[i]), INT(i));
        }
        put(&e, text("dimension_tags"), t);
        if (n == 32)
            expect_event("32 tags", e, NULL, "");
        else
            expect_error(e, 1, "events[1].dimension_tags: expected at most 32 tags, got 33");
    }
}

#define GOOD(title, message, tags)                                                                 \
    "{\"dimension_tags\":{" tags "},\"message\":\"" message                                        \
    "\",\"status\":\"ok\",\"title\":\"" title "\"}"

static void repairs(void **state) {
    (void)state;
    expect_event("nothing to repair", event("t", "m", "ok"), GOOD("t", "m", ""), "");
    expect_event("every status", event("t", "m", "critical"), NULL, "");
    expect_event("newline in a title", event("a\nb", "m", "ok"), GOOD("a b", "m", ""),
                 "events[1].title: line breaks and control bytes became spaces");
    expect_event("CRLF in a title is one break", event("a\r\nb", "m", "ok"), GOOD("a b", "m", ""),
                 "events[1].title: line breaks and control bytes became spaces");
    sm_val e = event(NULL, "m", "ok");
    put(&e, text("title"), BYTES("a\0b\x1b[1m\x7f!"));
    expect_event("control bytes in a title", e, GOOD("a b [1m !", "m", ""),
                 "events[1].title: line breaks and control bytes became spaces");
    expect_event("empty title", event("", "m", "ok"), GOOD("(no title)", "m", ""),
                 "events[1].title: empty; sent as (no title)");
    expect_event("blank title", event("\n ", "m", "ok"), GOOD("(no title)", "m", ""),
                 "events[1].title: line breaks and control bytes became spaces; "
                 "events[1].title: empty; sent as (no title)");
    expect_event("bad UTF-8 in a title", event("a\xff", "m", "ok"), GOOD("a\xef\xbf\xbd", "m", ""),
                 "events[1].title: invalid UTF-8 became U+FFFD");

    expect_event("empty message", event("t", "", "ok"), GOOD("t", "(no message)", ""),
                 "events[1].message: empty; sent as (no message)");
    expect_event("message of blank lines", event("t", "\n  \n", "ok"),
                 GOOD("t", "(no message)", ""), "events[1].message: empty; sent as (no message)");
    expect_event("a message is cleaned", event("t", "\n    a\n      b\n", "ok"),
                 GOOD("t", "a\\n  b", ""), "");
    expect_event("a margin is taken once only", event("t", "  a\n    b", "ok"),
                 GOOD("t", "a\\n  b", ""), "");
    expect_event("CRLF in a message", event("t", "a\r\nb\r\n", "ok"), GOOD("t", "a\\nb", ""), "");
    e = event("t", NULL, "ok");
    put(&e, text("message"), BYTES("a\0b\tc"));
    expect_event("control bytes in a message", e, GOOD("t", "a b\\tc", ""),
                 "events[1].message: control bytes became spaces");
    expect_event("bad UTF-8 in a message", event("t", "\xc3(", "ok"),
                 GOOD("t", "\xef\xbf\xbd(", ""), "events[1].message: invalid UTF-8 became U+FFFD");

    expect_event("empty tag", tagged(text("host"), text("")), GOOD("t", "m", ""),
                 "events[1].dimension_tags.host: left out, as its value is empty");
    expect_event("bad UTF-8 in a tag", tagged(text("host"), text("\xe4")),
                 GOOD("t", "m", "\"host\":\"\xef\xbf\xbd\""),
                 "events[1].dimension_tags.host: invalid UTF-8 became U+FFFD");
    expect_event("newline in a tag", tagged(text("host"), text("a\nb")),
                 GOOD("t", "m", "\"host\":\"a b\""),
                 "events[1].dimension_tags.host: line breaks and control bytes became spaces");
    expect_event("bad UTF-8 in a tag name", tagged(text("h\xff"), text("x")),
                 GOOD("t", "m", "\"h\xef\xbf\xbd\":\"x\""),
                 "events[1].dimension_tags.h\xef\xbf\xbd: invalid UTF-8 became U+FFFD");
    sm_val t = table();
    e = event("t", "m", "ok");
    put(&t, text("h\xfe"), text("second"));
    put(&t, text("h\xef\xbf\xbd"), text("first"));
    put(&e, text("dimension_tags"), t);
    expect_event("two names that became one", e, GOOD("t", "m", "\"h\xef\xbf\xbd\":\"first\""),
                 "events[1].dimension_tags.h\xef\xbf\xbd: invalid UTF-8 became U+FFFD; "
                 "events[1].dimension_tags.h\xef\xbf\xbd: left out, as another tag has the same "
                 "name");
    e = event("t", "m", "ok");
    put(&e, text("dimension_tags"), NIL);
    expect_event("no tags", e, GOOD("t", "m", ""), "");
}

/* `count` times `piece`; freed by the caller. */
static char *times(const char *piece, size_t count, const char *tail) {
    sm_buf b;
    sm_buf_init(&b, 1 << 20);
    for (size_t i = 0; i < count; i++)
        sm_buf_adds(&b, piece);
    sm_buf_adds(&b, tail);
    return sm_buf_take(&b, NULL);
}

static void cut_at(const char *name, const char *field, const char *in, const char *want,
                   bool is_tag) {
    sm_val e = is_tag ? tagged(text(field), text(in)) : event(NULL, NULL, "ok");
    if (!is_tag) {
        put(&e, text("title"), text(strcmp(field, "title") == 0 ? in : "t"));
        put(&e, text("message"), text(strcmp(field, "message") == 0 ? in : "m"));
    }
    json_t *out = NULL, *again = NULL, *notes = json_array();
    sm_err err = SM_ERR_INIT;
    if (sm_event_check(&e, 1, &out, notes, &err) != SM_OK)
        fail_msg("%s: %s", name, err.msg);
    const json_t *from = is_tag ? json_object_get(out, "dimension_tags") : out;
    const char *got = sm_json_str(from, field, "");
    if (strcmp(got, want) != 0)
        fail_msg("%s: got %zu bytes ending in %s, want %zu", name, strlen(got),
                 got + strlen(got) - 6, strlen(want));
    assert_int_equal(json_array_size(notes), strcmp(in, want) == 0 ? 0 : 1);
    assert_int_equal(sm_event_check_json(out, 1, &again, notes, &err), SM_OK);
    assert_true(json_equal(out, again));
    json_decref(again);
    json_decref(notes);
    json_decref(out);
    sm_val_fini(&e);
}

static void cuts(void **state) {
    (void)state;
#define ELL "\xe2\x80\xa6"
#define EURO "\xe2\x82\xac"
    static const struct {
        const char *name, *field, *piece;
        size_t in;
        const char *in_tail;
        size_t kept;
        const char *tail;
        bool tag;
    } rows[] = {
        {"title of 256", "title", "x", 256, "", 256, "", false},
        {"title of 257", "title", "x", 257, "", 255, ELL, false},
        {"title of 256 wide characters", "title", EURO, 256, "", 256, "", false},
        {"title of 300 wide characters", "title", EURO, 300, "", 255, ELL, false},
        {"short bytes before the cut of a title", "title", "\xf0\x9f\x98\x80", 257, "", 255, ELL,
         false},
        {"message of 64 KiB", "message", "x", 65536, "", 65536, "", false},
        {"message of 64 KiB and one", "message", "x", 65537, "", 65533, ELL, false},
        {"message cut on a boundary", "message", EURO, 21846, "", 21844, ELL, false},
        {"cleaned before it is cut", "message", "x", 65530, "\n\n\n\n\n\n\n\n\n\n", 65530, "",
         false},
        {"tag of 1024", "host", "x", 1024, "", 1024, "", true},
        {"tag of 1025", "host", "x", 1025, "", 1021, ELL, true},
        {"tag cut on a boundary", "host", EURO, 342, "", 340, ELL, true},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        char *in = times(rows[i].piece, rows[i].in, rows[i].in_tail);
        char *want = times(rows[i].piece, rows[i].kept, rows[i].tail);
        if (*rows[i].in_tail) { /* cleaning is no repair and leaves no note */
            sm_val e = event("t", in, "ok");
            json_t *out = NULL, *notes = json_array();
            assert_int_equal(sm_event_check(&e, 1, &out, notes, NULL), SM_OK);
            assert_string_equal(sm_json_str(out, "message", ""), want);
            assert_int_equal(json_array_size(notes), 0);
            json_decref(notes);
            json_decref(out);
            sm_val_fini(&e);
        } else {
            cut_at(rows[i].name, rows[i].field, in, want, rows[i].tag);
        }
        free(want);
        free(in);
    }
}

static void tag_values(void **state) {
    (void)state;
    static const struct {
        double x;
        const char *want;
    } numbers[] = {
        {1.0, "1"},
        {-0.0, "0"},
        {100.0, "100"},
        {1e15, "1000000000000000"},
        {9007199254740993.0, "9007199254740992"},
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {-2.5, "-2.5"},
        {1.0 / 3.0, "0.3333333333333333"},
        {5e-324, "5e-324"},
        {1e300, "1e+300"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(numbers); i++) {
        char want[200];
        snprintf(want, sizeof want, GOOD("t", "m", "\"n\":\"%s\""), numbers[i].want);
        expect_event(numbers[i].want, tagged(text("n"), NUM(numbers[i].x)), want, "");
    }
    expect_event("integer", tagged(text("n"), INT(INT64_MIN)),
                 GOOD("t", "m", "\"n\":\"-9223372036854775808\""), "");
    expect_event("true", tagged(text("n"), BOOLEAN(true)), GOOD("t", "m", "\"n\":\"true\""), "");
    expect_event("false", tagged(text("n"), BOOLEAN(false)), GOOD("t", "m", "\"n\":\"false\""), "");
}

/* Events that come as JSON follow the same rules. */
static const char *const from_json[][2] = {
    {"{\"title\":\"t\",\"message\":\"m\",\"status\":\"bad\"}",
     "events[1].status: expected one of info, warning, error, critical, ok; got \"bad\""},
    {"{\"title\":\"t\",\"message\":\"m\",\"status\":null}",
     "events[1].status: missing; expected a text"},
    {"{\"title\":\"t\",\"message\":\"m\",\"status\":\"ok\",\"x\":1}",
     "events[1].x: unknown field \"x\""},
    {"{\"title\":\"t\",\"message\":\"m\",\"status\":\"ok\",\"dimension_tags\":[1]}",
     "events[1].dimension_tags: expected texts as tag names, got a number"},
    {"{\"title\":\"t\",\"message\":\"m\",\"status\":\"ok\",\"dimension_tags\":{\"a\":{}}}",
     "events[1].dimension_tags.a: expected a text, a number or a boolean, got a table"},
    {"{\"title\":\"t\",\"message\":\"m\",\"status\":\"ok\",\"dimension_tags\":{\"a\":null}}",
     "events[1].dimension_tags.a: expected a text, a number or a boolean, got nil"},
    {"[]", "events[1].title: missing; expected a text"},
    {"\"x\"", "events[1]: expected a table, got a text"},
    {"null", "events[1]: expected a table, got nil"},
    {"[[[[1]]]]", "events[1]: expected fields title, message, status, dimension_tags; got a number "
                  "as a key"},
};

static void json_events(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(from_json); i++) {
        json_t *in = NULL, *out = NULL;
        sm_err err = SM_ERR_INIT;
        assert_int_equal(sm_json_parse(from_json[i][0], strlen(from_json[i][0]), 4096, &in, NULL),
                         SM_OK);
        if (sm_event_check_json(in, 1, &out, NULL, &err) != SM_INVALID ||
            strcmp(err.msg, from_json[i][1]) != 0)
            fail_msg("%s: %s", from_json[i][0], err.msg);
        json_decref(in);
    }
    json_t *in = json_pack("{s:s,s:s,s:s,s:[]}", "title", "t", "message", "  a\n    b", "status",
                           "ok", "dimension_tags");
    json_t *out = NULL;
    assert_int_equal(sm_event_check_json(in, 1, &out, NULL, NULL), SM_OK);
    assert_string_equal(sm_json_str(out, "message", ""), "  a\n    b");
    json_decref(out);
    json_decref(in);
}

static void ranks_and_dimensions(void **state) {
    (void)state;
    static const char *const order[] = {"ok", "info", "warning", "error", "critical"};
    for (int i = 0; i < 5; i++)
        assert_int_equal(sm_event_status_rank(order[i]), i);
    assert_int_equal(sm_event_status_rank("OK"), -1);
    assert_int_equal(sm_event_status_rank(NULL), -1);
    json_t *tags = json_pack("{s:s,s:s}", "b", "2", "a", "1");
    char *s = sm_event_dimension(tags);
    assert_string_equal(s, "{\"a\":\"1\",\"b\":\"2\"}");
    free(s);
    json_decref(tags);
    s = sm_event_dimension(NULL);
    assert_string_equal(s, "{}");
    free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(mistakes),
                                       cmocka_unit_test(tag_mistakes),
                                       cmocka_unit_test(repairs),
                                       cmocka_unit_test(cuts),
                                       cmocka_unit_test(tag_values),
                                       cmocka_unit_test(json_events),
                                       cmocka_unit_test(ranks_and_dimensions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
