/* lineproto: the vendor's own output (platform-facts 3.6) row by row, and where we deviate. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "platform/lineproto.h"

#define T " 1574243766000000000"
enum { MAX = 1 << 20 };
static const int64_t at = INT64_C(1574243766000000000);

static json_t *parse(const char *text) {
    json_error_t e;
    json_t *j = text ? json_loads(text, JSON_ALLOW_NUL | JSON_DECODE_ANY, &e) : NULL;
    if (text && !j)
        fail_msg("%s: %s", text, e.text);
    return j;
}

/* measurement, tags, fields; want NULL: refused with `word`. */
static const struct {
    const char *name, *m, *tags, *fields, *want, *word;
} rows[] = {
    {"types", "cpu", "{\"host\":\"web01\"}", "{\"usage\":1.5,\"n\":3,\"ok\":true,\"s\":\"hello\"}",
     "cpu,host=web01 n=3i,ok=true,s=\"hello\",usage=1.5" T, NULL},
    {"escapes", "my cpu,total=1", "{\"a b\":\"c d\",\"x,y\":\"z=w\"}",
     "{\"f 1\":\"a \\\"q\\\" \\\\ b\",\"g=h\":2}",
     "my\\ cpu\\,total=1,a\\ b=c\\ d,x\\,y=z\\=w f\\ 1=\"a \\\"q\\\" \\\\ b\",g\\=h=2i" T, NULL},
    {"trailing backslash: dropped in a tag, kept in a text", "m", "{\"path\":\"C:\\\\dir\\\\\"}",
     "{\"p\":\"C:\\\\dir\\\\\"}", "m,path=C:\\dir p=\"C:\\\\dir\\\\\"" T, NULL},
    {"trailing backslashes of names", "m\\", "{\"k\\\\\":\"v\"}", "{\"f\\\\\":1}", "m,k=v f=1i" T,
     NULL},
    {"empty, null, tab", "m", "{\"empty\":\"\",\"none\":null,\"tab\":\"a\\tb\\nc\"}", "{\"v\":1}",
     "m,tab=a\\ b\\ c v=1i" T, NULL},
    {"white space of Unicode", "m",
     "{\"cr\":\"a\\r\\nb\",\"ideo\":\"a\\u3000b\",\"nbsp\":\"a\\u00a0b\"}", "{\"v\":1}",
     "m,cr=a\\ \\ b,ideo=a\\ b,nbsp=a\\ b v=1i" T, NULL},
    {"arrays", "m", "{\"t\":\"v\"}",
     "{\"arr_b\":[true,false],\"arr_e\":[],\"arr_f\":[1.5,2.0],\"arr_i\":[1,2,3],"
     "\"arr_s\":[\"a\",\"b \\\"c\\\" \\\\d\"]}",
     "m,t=v arr_b=[true,false],arr_e=[],arr_f=[1.5,2.0],arr_i=[1i,2i,3i],"
     "arr_s=[\"a\",\"b \\\"c\\\" \\\\d\"]" T,
     NULL},
    {"backslash before a comma", "m", "{\"t\":\"a\\\\,b\"}", "{\"v\":\"x\\\\\\\"y\"}",
     "m,t=a\\\\,b v=\"x\\\\\\\"y\"" T, NULL},
    {"two backslashes at the end", "m", "{\"t\":\"v\\\\\\\\\"}", "{\"v\":1}", "m,t=v v=1i" T, NULL},
    {"names of a blank and of a backslash", "m", "{\" \":\"x\",\"\\\\\":\"y\"}", "{\"v\":1}",
     "m,\\ =x v=1i" T, NULL},
    {"sorted", "m", "{\"b\":\"2\",\"a\":\"1\"}", "{\"z\":1,\"y\":2}", "m,a=1,b=2 y=2i,z=1i" T,
     NULL},
    {"code-point order", "m",
     "{\"é\":\"5\",\"a\":\"4\",\"_\":\"3\",\"Z\":\"2\",\"9\":\"1\","
     "\"10\":\"0\"}",
     "{\"v\":1}", "m,10=0,9=1,Z=2,_=3,a=4,é=5 v=1i" T, NULL},
    {"specials in a tag", "m", "{\"t=1\":\"v=1,2 3\"}", "{\"a\":1}", "m,t\\=1=v\\=1\\,2\\ 3 a=1i" T,
     NULL},
    {"no tags; raw newline and tab in a text", "m", NULL, "{\"multi\":\"line1\\nline2\\ttab\"}",
     "m multi=\"line1\nline2\ttab\"" T, NULL},
    {"empty tags", "m", "{}", "{\"a\":1}", "m a=1i" T, NULL},
    {"tags that are no texts", "m", "{\"b\":true,\"n\":5}", "{\"v\":1}", "m,b=true,n=5 v=1i" T,
     NULL},
    {"a false and a real tag", "m", "{\"b\":false,\"r\":3.0}", "{\"v\":1}",
     "m,b=false,r=3.0 v=1i" T, NULL},
    {"empty text", "m", "{\"t\":\"v\"}", "{\"estr\":\"\"}", "m,t=v estr=\"\"" T, NULL},
    {"comment sign", "#c", NULL, "{\"a\":1}", "#c a=1i" T, NULL},
    {"quotes in a tag", "m", "{\"t\":\"\\\"quoted\\\"\"}", "{\"a\":1}", "m,t=\"quoted\" a=1i" T,
     NULL},
    {"Chinese", "主机", "{\"标签\":\"值 1\"}", "{\"字段\":\"内容\"}",
     "主机,标签=值\\ 1 字段=\"内容\"" T, NULL},
    {"emoji", "m", "{\"t\":\"🔥 ok\"}", "{\"f\":\"👩‍🚒\"}",
     "m,t=🔥\\ ok f=\"👩‍🚒\"" T, NULL},
    {"numbers", "m", "{\"t\":\"v\"}", "{\"fl\":1e21,\"small\":1e-7,\"whole\":3.0}",
     "m,t=v fl=1e+21,small=1e-07,whole=3.0" T, NULL},
    {"Python's reals", "m", NULL,
     "{\"a\":1e16,\"b\":0.0001,\"c\":0.00001,\"d\":-0.0,\"e\":5e-324,\"f\":0.1,\"g\":123456.789,"
     "\"h\":1e15,\"i\":0.30000000000000004,\"j\":1.7976931348623157e308,\"k\":100.0}",
     "m a=1e+16,b=0.0001,c=1e-05,d=-0.0,e=5e-324,f=0.1,g=123456.789,h=1000000000000000.0,"
     "i=0.30000000000000004,j=1.7976931348623157e+308,k=100.0" T,
     NULL},
    {"bounds of int64", "m", NULL, "{\"a\":9223372036854775807,\"b\":-9223372036854775808}",
     "m a=9223372036854775807i,b=-9223372036854775808i" T, NULL},
    {"null fields are skipped", "m", NULL, "{\"a\":null,\"b\":1}", "m b=1i" T, NULL},
    /* refused, as a line of it would be invalid */
    {"no fields", "m", "{\"t\":\"v\"}", "{}", NULL, "at least one field"},
    {"only null fields", "m", "{\"t\":\"v\"}", "{\"a\":null}", NULL, "at least one field"},
    {"no measurement", "", "{\"t\":\"v\"}", "{\"a\":1}", NULL, "measurement"},
    {"a measurement of backslashes", "\\\\", NULL, "{\"a\":1}", NULL, "measurement"},
    {"a field without name", "m", NULL, "{\"\\\\\":1}", NULL, "has no name"},
    {"list of int and real", "m", NULL, "{\"k\":[1,2.0]}", NULL, "\"k\" is a list of mixed types"},
    {"list of bool and int", "m", NULL, "{\"k\":[true,1]}", NULL, "mixed types"},
    {"list of int and text", "m", NULL, "{\"k\":[1,\"a\"]}", NULL, "mixed types"},
    {"list of int and null: mixed comes first", "m", NULL, "{\"k\":[1,null]}", NULL, "mixed types"},
    {"list of null", "m", NULL, "{\"k\":[null]}", NULL, "no text, number or boolean"},
    {"list of lists", "m", NULL, "{\"k\":[[1],[2]]}", NULL, "no text, number or boolean"},
    {"list of objects", "m", NULL, "{\"k\":[{}]}", NULL, "no text, number or boolean"},
    {"object", "m", NULL, "{\"k\":{\"a\":1}}", NULL, "\"k\" must be a text"},
    /* a reader would lose the end of the line */
    {"backslashes before a blank", "m \\ x", "{\"a\\\\ b\":\"C:\\\\\\\\\\tD:\\\\e\\\\,\"}",
     "{\"f\\\\ g\":\"h\\\\ i\"}", "m\\ \\ x,a\\ b=C:\\ D:\\e\\\\, f\\ g=\"h\\\\ i\"" T, NULL},
    /* names that normalising makes equal */
    {"the same tag twice", "m", "{\"a b\":\"1\",\"a\\u00a0b\":\"2\",\"a\\tb\":\"0\"}", "{\"v\":1}",
     "m,a\\ b=0 v=1i" T, NULL},
    {"the same field twice", "m", NULL, "{\"f\":1,\"f\\\\\":2}", "m f=1i" T, NULL},
    {"a tag with a field's name", "m", "{\"a\":\"t\",\"b\":\"t\"}", "{\"a\":1}", "m,b=t a=1i" T,
     NULL},
};

static void table(void **state) {
    (void)state;
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        sm_buf b;
        sm_err err = SM_ERR_INIT;
        json_t *tags = parse(rows[i].tags), *fields = parse(rows[i].fields);
        sm_buf_init(&b, MAX);
        sm_buf_adds(&b, "before");
        sm_rc rc = sm_lineproto_add(&b, rows[i].m, tags, fields, at, &err);
        if (rows[i].want) {
            if (rc != SM_OK || strcmp(b.data + 6, rows[i].want) != 0)
                fail_msg("%s: rc %d\nhave %s\nwant %s\n%s", rows[i].name, (int)rc, b.data + 6,
                         rows[i].want, err.msg);
        } else {
            if (rc != SM_INVALID || !strstr(err.msg, rows[i].word))
                fail_msg("%s: rc %d, \"%s\"", rows[i].name, (int)rc, err.msg);
            assert_string_equal(b.data, "before");
            assert_int_equal(b.len, 6);
        }
        json_decref(tags);
        json_decref(fields);
        sm_buf_fini(&b);
    }
}

/* All 29 code points of Python's \s, and neighbours that are none. */
static void white_space(void **state) {
    (void)state;
    static const char *const blank[] = {
        "\x09",   "\x0a",   "\x0b",     "\x0c",   "\x0d",   "\x1c",   "\x1d",   "\x1e",
        "\x1f",   " ",      "\xc2\x85", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002",
        "\u2003", "\u2004", "\u2005",   "\u2006", "\u2007", "\u2008", "\u2009", "\u200a",
        "\u2028", "\u2029", "\u202f",   "\u205f", "\u3000"};
    static const char *const other[] = {"\x08",     "\x0e",   "\x1b",   "\x7f",      "\xc2\x84",
                                        "\xc2\x86", "\u180e", "\u200b", "\u2027",    "\u202a",
                                        "\u2060",   "\u3001", "\ufeff", "\U0001f525"};
    assert_int_equal(SM_ARRAY_LEN(blank), 29);
    for (size_t i = 0; i < SM_ARRAY_LEN(blank) + SM_ARRAY_LEN(other); i++) {
        bool is_blank = i < SM_ARRAY_LEN(blank);
        const char *c = is_blank ? blank[i] : other[i - SM_ARRAY_LEN(blank)];
        char want[64];
        snprintf(want, sizeof want, "m,t=%s v=1i" T, is_blank ? "\\ " : c);
        sm_buf b;
        sm_buf_init(&b, MAX);
        json_t *tags = json_pack("{s:s}", "t", c), *fields = json_pack("{s:i}", "v", 1);
        assert_int_equal(sm_lineproto_add(&b, "m", tags, fields, at, NULL), SM_OK);
        if (strcmp(b.data, want) != 0)
            fail_msg("%zu: \"%s\"", i, b.data);
        json_decref(tags);
        json_decref(fields);
        sm_buf_fini(&b);
    }
}

static void refused(json_t *fields, const char *word) {
    sm_buf b;
    sm_err err = SM_ERR_INIT;
    sm_buf_init(&b, MAX);
    assert_int_equal(sm_lineproto_add(&b, "m", NULL, fields, at, &err), SM_INVALID);
    assert_non_null(strstr(err.msg, word));
    assert_int_equal(b.len, 0);
    json_decref(fields);
    sm_buf_fini(&b);
}

/* jansson makes no such real from text or by json_real; a program may still set one. */
static void not_finite(void **state) {
    (void)state;
    double values[] = {INFINITY, -INFINITY, NAN};
    for (size_t i = 0; i < SM_ARRAY_LEN(values); i++) {
        json_t *real = json_real(0.0);
        if (json_real_set(real, values[i]) != 0) { /* nor does this one: nothing can get in */
            json_decref(real);
            assert_null(json_real(values[i]));
            continue;
        }
        refused(json_pack("{s:o}", "f", real), "nan or infinite");
    }
    /* An integer outside int64 does not even become a JSON value. */
    json_error_t e;
    assert_null(json_loads("{\"big\":12345678901234567890}", 0, &e));
}

static void times(void **state) {
    (void)state;
    static const struct {
        int64_t ns;
        const char *want;
    } t[] = {{0, "m v=1i 0"},
             {-1, "m v=1i -1"},
             {INT64_MAX, "m v=1i 9223372036854775807"},
             {1574243766, "m v=1i 1574243766"}};
    for (size_t i = 0; i < SM_ARRAY_LEN(t); i++) {
        sm_buf b;
        sm_buf_init(&b, MAX);
        json_t *fields = json_pack("{s:i}", "v", 1);
        assert_int_equal(sm_lineproto_add(&b, "m", NULL, fields, t[i].ns, NULL), SM_OK);
        assert_string_equal(b.data, t[i].want);
        json_decref(fields);
        sm_buf_fini(&b);
    }
}

static void too_long(void **state) {
    (void)state;
    sm_buf b;
    sm_err err = SM_ERR_INIT;
    sm_buf_init(&b, 30);
    sm_buf_adds(&b, "first");
    json_t *fields = parse("{\"f\":\"a text that does not fit into so little\"}");
    assert_int_equal(sm_lineproto_add(&b, "m", NULL, fields, at, &err), SM_LIMIT);
    assert_string_equal(b.data, "first");
    json_decref(fields);
    sm_buf_fini(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table), cmocka_unit_test(white_space), cmocka_unit_test(not_finite),
        cmocka_unit_test(times), cmocka_unit_test(too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
